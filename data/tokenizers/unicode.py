#!/usr/bin/env python3
"""Makes data/tokenizers/unicode_tables.h from the Unicode Character Database; not needed to build.

    python3 data/tokenizers/unicode.py /usr/share/unicode > data/tokenizers/unicode_tables.h

The folder (Debian: package unicode-data) holds UnicodeData.txt, PropList.txt, DerivedAge.txt and
CompositionExclusions.txt as unicode.org publishes them. Three streams of numbers come out,
described in the header itself.

Two versions of Unicode, because Hugging Face's tokenizers, whose ids are the measure, have two: the
letters, numbers and white space of their regex engine are those of 16.0 (give that folder), their
normaliser knows the characters of 9.0. A newer mark is no mark to it and stays where it stands.
"""
import re
import sys

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"
OTHER, LETTER, NUMBER, SPACE = range(4)
NFC_VERSION = 9.0
HANGUL = range(0xAC00, 0xD7A4)          # composed by arithmetic, not by table

folder = sys.argv[1]


def lines(name):
    for line in open(f"{folder}/{name}", encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line:
            yield [field.strip() for field in line.split(";")]


def code_range(field):
    first, _, last = field.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


version = re.search(r"PropList-([\d.]+)\.txt", open(f"{folder}/PropList.txt").readline()).group(1)

age = {c: float(field[1]) for field in lines("DerivedAge.txt") for c in code_range(field[0])}
kind, order, parts = {}, {}, {}         # by code point: class, combining class, decomposition
first = 0
for field in lines("UnicodeData.txt"):
    code = int(field[0], 16)
    if field[1].endswith(", Last>"):    # a pair of lines stands for a range
        codes = range(first, code + 1)
    else:
        codes = [code]
    first = code
    for c in codes:
        kind[c] = {"L": LETTER, "N": NUMBER}.get(field[2][0], OTHER)
        order[c] = int(field[3]) if age[c] <= NFC_VERSION else 0
    if field[5] and age[code] <= NFC_VERSION and not field[5].startswith("<"):
        parts[code] = [int(part, 16) for part in field[5].split()]
for field in lines("PropList.txt"):
    if field[1] == "White_Space":
        for c in code_range(field[0]):
            kind[c] = SPACE
excluded = {c for field in lines("CompositionExclusions.txt") for c in code_range(field[0])}


def composes(code):
    """Primary composites: a pair, not excluded, both it and its first part are starters."""
    return (len(parts[code]) == 2 and code not in excluded
            and order[code] == 0 and order[parts[code][0]] == 0)


def number(n):
    text = DIGITS[n % 32]
    while n >= 32:
        n //= 32
        text = DIGITS[32 + n % 32] + text
    return text


def runs(value, end):
    """[length, value] of each run of equal values up to `end`."""
    out = []
    for c in range(end):
        if not out or out[-1][1] != value.get(c, 0):
            out.append([0, value.get(c, 0)])
        out[-1][0] += 1
    return out


def signed(n):
    return 2 * n if n >= 0 else -2 * n - 1


def stream(name, comment, numbers):
    text = "".join(map(number, numbers))
    print(f"/* {comment} */\nstatic const char *const unicode_{name}[] = {{")
    for i in range(0, len(text), 94):
        print(f'"{text[i:i + 94]}",')
    print("};\n")


end = 1 + max(c for c in kind if kind[c] != OTHER or order[c])
classes = [4 * n + k for n, k in runs(kind, end)]
orders = [x for run in runs(order, end) for x in run]
pieces, last, head, tail = [], 0, 0, 0
table = [c for c in sorted(parts) if c not in HANGUL]
assert all(c < end and len(parts[c]) < 3 and not set(parts[c][1:]) & set(parts) for c in table)
for c in table:
    a, b = (parts[c] + [0])[:2]
    pieces += [2 * (c - last) + composes(c), signed(a - head), signed(b - tail)]
    last, head, tail = c, a, b

print(f"""/* unicode_tables.h: classes of Unicode {version}, NFC of Unicode {NFC_VERSION}.
 * Made by data/tokenizers/unicode.py, which tells why there are two; not to be edited.
 *
 * Streams of numbers as text, lines of any length one after another. Base 32, most significant
 * digit first, 32 added to every digit but the last; digits 0-9 A-Z a-z + -. */
#ifndef UNICODE_TABLES_H
#define UNICODE_TABLES_H

enum {{ UNICODE_END = {hex(end)}, UNICODE_PAIRS = {len(table)} }};
""")
stream("classes", "Runs of code points from 0 to UNICODE_END: 4 x length + class (0 other, "
       "1 letter, 2 number,\n * 3 white space). Beyond: other.", classes)
stream("orders", "The same for the canonical combining class: length, class. Beyond: 0.", orders)
stream("pairs", "Canonical decompositions by code point, UNICODE_PAIRS of them: 2 x (code point - "
       "that of the\n * one before) + (1: composes), first part, second part (0: none), both as "
       "the difference d to the\n * one before, written 2d or -2d-1. Second parts have no "
       "decomposition.", pieces)
print("#endif")
