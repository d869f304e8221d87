/* unicode.c: see unicode.h. No library and no locale is asked: a letter here must be a letter on
 * every machine, or the same text would have other tokens. */
#include "unicode.h"
#include <stdlib.h>
#include <string.h>
#include "unicode_tables.h"

/* ---- Tables --------------------------------------------------------------------------------
 * unicode_tables.h holds them as text, to be small in the source. They are unpacked once, to be
 * plain look-ups here. */

enum { OTHER, LETTER, NUMBER, SPACE };

typedef struct { uint32_t whole, first, second; } pair;   /* second 0: a character of one other */

struct unicode {
    unsigned char kind[UNICODE_END];     /* OTHER .. SPACE */
    unsigned char order[UNICODE_END];    /* canonical combining class; 0: a starter */
    pair parts[UNICODE_PAIRS];           /* decompositions, sorted by whole */
    pair composite[UNICODE_PAIRS];       /* those that compose, sorted by (first, second) */
    size_t composites;
};

typedef struct { const char *const *line; const char *at; } stream;

/* Base 32, the highest digit first; 32 is added to every digit but the last. */
static uint32_t next_number(stream *s) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";
    uint32_t n = 0, digit;
    do {
        while (!*s->at) s->at = *++s->line;
        digit = (uint32_t)(strchr(digits, *s->at++) - digits);
        n = 32 * n + digit % 32;
    } while (digit >= 32);
    return n;
}

/* `before` plus a difference d that is written 2d, or -2d-1 where it is negative. */
static uint32_t moved(uint32_t before, uint32_t written) {
    return written % 2 ? before - written / 2 - 1 : before + written / 2;
}

static int by_whole(const void *a, const void *b) {
    const pair *x = a, *y = b;
    return (x->whole > y->whole) - (x->whole < y->whole);
}

static int by_parts(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

unicode *unicode_new(void) {
    stream kinds = {unicode_classes, unicode_classes[0]};
    stream orders = {unicode_orders, unicode_orders[0]};
    stream pairs = {unicode_pairs, unicode_pairs[0]};
    pair p = {0, 0, 0};
    unicode *u = malloc(sizeof *u);
    if (!u) return NULL;
    for (uint32_t c = 0, run; c < UNICODE_END; c += run / 4) {
        run = next_number(&kinds);
        memset(u->kind + c, (int)(run % 4), run / 4);
    }
    for (uint32_t c = 0, n; c < UNICODE_END; c += n) {
        n = next_number(&orders);
        memset(u->order + c, (int)next_number(&orders), n);
    }
    u->composites = 0;
    for (size_t i = 0; i < UNICODE_PAIRS; i++) {
        const uint32_t step = next_number(&pairs);
        p.whole += step / 2;
        p.first = moved(p.first, next_number(&pairs));
        p.second = moved(p.second, next_number(&pairs));
        u->parts[i] = p;
        if (step % 2) u->composite[u->composites++] = p;
    }
    qsort(u->composite, u->composites, sizeof *u->composite, by_parts);
    return u;
}

/* ---- UTF-8 --------------------------------------------------------------------------------- */

/* How many bytes a character has that starts with this one; 0: none does. */
static size_t bytes_from(unsigned char first) {
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    if (first < 0xE0) return 2;
    return first < 0xF0 ? 3 : 4;
}

size_t unicode_next(const char *at, const char *end, uint32_t *c) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)at;
    size_t n = bytes_from(p[0]);
    uint32_t u = n > 1 ? p[0] & (0x7Fu >> n) : p[0];
    if (n > (size_t)(end - at)) n = 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) n = 0;
        else u = u << 6 | (p[i] & 0x3Fu);
    }
    if (!n || u > 0x10FFFF || (n > 1 && u < least[n]) || (u >= 0xD800 && u < 0xE000)) {
        *c = UNICODE_BAD + p[0];
        return 1;
    }
    *c = u;
    return n;
}

static size_t bytes_of(uint32_t c) {
    if (c < 0x80 || c >= UNICODE_BAD) return 1;
    if (c < 0x800) return 2;
    return c < 0x10000 ? 3 : 4;
}

/* The other way; out has room for 4 bytes. */
static size_t put_char(uint32_t c, char *out) {
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    const size_t n = bytes_of(c);
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = n == 1 ? (char)(c & 0xFF) : (char)(lead[n] | c);
    return n;
}

/* ---- NFC -----------------------------------------------------------------------------------
 * Unicode's normalisation form C: take every character apart, sort the marks behind each starter
 * by their class, put together what a single character exists for. Hangul syllables are arithmetic
 * (The Unicode Standard, 3.12).
 *
 * A character is held in 64 bits as class (8) | place in the text (35) | code point (21). Sorting
 * the plain numbers then sorts by class and leaves equals in their order, in n log n steps however
 * many marks someone piles up. */

enum {
    HANGUL = 0xAC00, LEADING = 0x1100, VOWEL = 0x1161, TRAILING = 0x11A7,
    LEADINGS = 19, VOWELS = 21, TRAILINGS = 28, SYLLABLES = LEADINGS * VOWELS * TRAILINGS,
    PARTS_MAX = 4                        /* characters in the longest full decomposition */
};

static uint32_t char_of(uint64_t held) { return (uint32_t)(held & 0x1FFFFF); }
static uint32_t order_of(uint64_t held) { return (uint32_t)(held >> 56); }

/* Full decomposition of c; returns its length. */
static size_t decompose(const unicode *u, uint32_t c, uint32_t out[PARTS_MAX]) {
    const pair key = {c, 0, 0};
    if (c - HANGUL < SYLLABLES) {
        out[0] = LEADING + (c - HANGUL) / (VOWELS * TRAILINGS);
        out[1] = VOWEL + (c - HANGUL) / TRAILINGS % VOWELS;
        out[2] = TRAILING + (c - HANGUL) % TRAILINGS;
        return out[2] == TRAILING ? 2 : 3;
    }
    const pair *found = bsearch(&key, u->parts, UNICODE_PAIRS, sizeof key, by_whole);
    if (!found) {
        out[0] = c;
        return 1;
    }
    size_t n = decompose(u, found->first, out);      /* second parts are whole: unicode.py checks */
    if (found->second) out[n++] = found->second;
    return n;
}

/* The one character for two, or 0. */
static uint32_t compose(const unicode *u, uint32_t first, uint32_t second) {
    const pair key = {0, first, second};
    if (first - LEADING < LEADINGS && second - VOWEL < VOWELS)
        return HANGUL + ((first - LEADING) * VOWELS + second - VOWEL) * TRAILINGS;
    if (first - HANGUL < SYLLABLES && (first - HANGUL) % TRAILINGS == 0 &&
        second > TRAILING && second < TRAILING + TRAILINGS)
        return first + second - TRAILING;
    const pair *found = bsearch(&key, u->composite, u->composites, sizeof key, by_parts);
    return found ? found->whole : 0;
}

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort_marks(uint64_t *text, size_t n) {
    for (size_t i = 0, from; i < n; i++) {
        for (from = i; i < n && order_of(text[i]); i++) {}
        if (i > from + 1) qsort(text + from, i - from, sizeof *text, by_value);
    }
}

/* Puts together what can be, in place; returns the new length. A character joins the last starter
 * unless one of the same or a higher class stands between them. */
static size_t compose_all(const unicode *u, uint64_t *text, size_t n) {
    size_t starter = SIZE_MAX, kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t whole = 0;
        if (starter != SIZE_MAX &&
            (kept == starter + 1 || order_of(text[kept - 1]) < order_of(text[i])))
            whole = compose(u, char_of(text[starter]), char_of(text[i]));
        if (whole) {
            text[starter] = whole;
            continue;
        }
        if (!order_of(text[i])) starter = kept;
        text[kept++] = text[i];
    }
    return kept;
}

char *unicode_nfc(const unicode *u, const char *text, size_t length, size_t *out_length) {
    const char *end = text + length;
    uint64_t *held = NULL;
    size_t n = 0, room = 0, bytes = 0;
    char unused[4];
    for (const char *at = text; at < end; ) {
        uint32_t c, part[PARTS_MAX];
        if (n + PARTS_MAX > room) {
            const size_t more = room ? 2 * room : length + PARTS_MAX;
            uint64_t *grown = more > room && more < SIZE_MAX / sizeof *held ?
                              realloc(held, more * sizeof *held) : NULL;
            if (!grown) {
                free(held);
                return NULL;
            }
            held = grown;
            room = more;
        }
        at += unicode_next(at, end, &c);
        const size_t parts = decompose(u, c, part);
        for (size_t k = 0; k < parts; k++) {
            const uint64_t order = part[k] < UNICODE_END ? u->order[part[k]] : 0;
            held[n] = order << 56 | (uint64_t)n << 21 | part[k];
            n++;
        }
    }
    sort_marks(held, n);
    n = compose_all(u, held, n);
    for (size_t i = 0; i < n; i++) bytes += put_char(char_of(held[i]), unused);
    char *out = malloc(bytes + 1);
    *out_length = bytes;
    bytes = 0;
    for (size_t i = 0; out && i < n; i++) bytes += put_char(char_of(held[i]), out + bytes);
    free(held);
    return out;
}

/* Characters below U+0300 are in NFC however they stand, and in UTF-8 are bytes below 0xCC. */
int unicode_may_need_nfc(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0xCC) return 1;
    return 0;
}

/* ---- Pieces --------------------------------------------------------------------------------
 * The two patterns of bpe.h, alternative by alternative. */

/* Class of the character at `at`, its bytes in *n; -1 at the end. */
static int kind_at(const unicode *u, const char *at, const char *end, size_t *n) {
    uint32_t c;
    *n = 0;
    if (at == end) return -1;
    *n = unicode_next(at, end, &c);
    return c < UNICODE_END ? u->kind[c] : OTHER;
}

/* Behind the characters of one class; *last, unless NULL, is where the last of them starts. */
static const char *run_end(const unicode *u, const char *at, const char *end, int kind,
                           const char **last) {
    for (size_t n; kind_at(u, at, end, &n) == kind; at += n)
        if (last) *last = at;
    return at;
}

/* Bytes of 's 't 'm 'd 're 've 'll at `at`, or 0. */
static size_t contraction(const char *at, const char *end, int any_case) {
    char next[2] = {0, 0};
    for (size_t i = 0; i < 2 && (size_t)(end - at) > i + 1; i++) {
        next[i] = at[i + 1];
        if (any_case && next[i] >= 'A' && next[i] <= 'Z') next[i] = (char)(next[i] + 'a' - 'A');
    }
    if (*at != '\'' || !next[0]) return 0;
    if (strchr("stmd", next[0])) return 2;
    if (next[1] == 'e' && (next[0] == 'r' || next[0] == 'v')) return 3;
    if (next[0] == 'l' && next[1] == 'l') return 3;
    return any_case && next[0] == '\xC5' && next[1] == '\xBF' ? 3 : 0;     /* U+017F, a long s */
}

/* \s+(?!\S)|\s+ : all of the white space at the end of the text; before something else all but its
 * last character, which is left to what follows, if that is not the only one. */
static const char *space_end(const unicode *u, const char *at, const char *end) {
    const char *last = at, *to = run_end(u, at, end, SPACE, &last);
    return to == end || last == at ? to : last;
}

static const char *gpt2_piece(const unicode *u, const char *at, const char *end) {
    size_t n = contraction(at, end, 0);
    if (n) return at + n;
    const char *from = *at == ' ' ? at + 1 : at;     /* the blank of ` ?\p{L}+` and its like */
    int kind = kind_at(u, from, end, &n);
    if (kind < 0 || kind == SPACE) {
        from = at;
        kind = kind_at(u, from, end, &n);
    }
    return kind == SPACE ? space_end(u, at, end) : run_end(u, from, end, kind, NULL);
}

static const char *qwen3_piece(const unicode *u, const char *at, const char *end) {
    size_t n = contraction(at, end, 1), unused;
    if (n) return at + n;
    const int kind = kind_at(u, at, end, &n), next = kind_at(u, at + n, end, &unused);
    const int breaks = *at == '\r' || *at == '\n';
    /* [^\r\n\p{L}\p{N}]?\p{L}+ */
    if (kind == LETTER) return run_end(u, at, end, LETTER, NULL);
    if (next == LETTER && kind != NUMBER && !breaks) return run_end(u, at + n, end, LETTER, NULL);
    /* \p{N} */
    if (kind == NUMBER) return at + n;
    /*  ?[^\s\p{L}\p{N}]+[\r\n]* */
    if (kind == OTHER || (*at == ' ' && next == OTHER)) {
        const char *to = run_end(u, kind == OTHER ? at : at + 1, end, OTHER, NULL);
        while (to < end && (*to == '\r' || *to == '\n')) to++;
        return to;
    }
    /* \s*[\r\n]+ : up to the last line break of the white space */
    for (const char *to = run_end(u, at, end, SPACE, NULL); to > at; to--)
        if (to[-1] == '\r' || to[-1] == '\n') return to;
    return space_end(u, at, end);
}

const char *unicode_piece(const unicode *u, bpe_family f, const char *at, const char *end) {
    return f == BPE_GPT2 ? gpt2_piece(u, at, end) : qwen3_piece(u, at, end);
}
