/* unicode.h: what a text goes through before byte-pair encoding: characters and their classes,
 * NFC, and the two patterns that cut it into pieces. Versions of Unicode: unicode_tables.h. */
#ifndef UNICODE_H
#define UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "bpe.h"

typedef struct unicode unicode;

unicode *unicode_new(void);              /* the tables, unpacked; free() it. NULL: out of memory */

/* The character at `at` < end; returns how many bytes it has. What is not UTF-8 (stray and missing
 * bytes, overlong forms, surrogates, beyond U+10FFFF) is one byte and the character UNICODE_BAD +
 * byte, which is in no class and never changes. */
enum { UNICODE_BAD = 0x110000 };
size_t unicode_next(const char *at, const char *end, uint32_t *c);

/* The text in NFC, malloc'ed. NULL: out of memory. */
char *unicode_nfc(const unicode *, const char *text, size_t length, size_t *out_length);
/* 0: it surely is in NFC already. */
int unicode_may_need_nfc(const char *text, size_t length);

/* The end of the piece that starts at `at` < end, always beyond it. end: of the text, which the
 * patterns look ahead to. */
const char *unicode_piece(const unicode *, bpe_family, const char *at, const char *end);

#endif
