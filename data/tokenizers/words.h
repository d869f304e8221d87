/* words.h: a tokenizer whose vocabulary is a list of words, or the 256 bytes.
 *
 *     words *w = words_new_countdown();
 *     size_t n = words_encode(w, "44+(19", ids, max, error, sizeof error);     // 4: 44 + ( 19
 *     words_decode(w, ids, n, text, sizeof text);                              // 44+(19
 *
 * A function that writes text works as snprintf does: it writes at most size bytes, always
 * terminated, and returns the length of the whole text. One with (error, size) that fails writes
 * one line there. */
#ifndef WORDS_H
#define WORDS_H
#include <stddef.h>
#include <stdint.h>

/* Reading: blanks and tabs separate words and are dropped. At each place the longest word wins that
 * covers a run of digits, or a letter and the letters, digits, `_` and non-ASCII bytes behind it,
 * or one other character, and then any punctuation behind that. So `target:` and `###` are words,
 * and `44+(19` is four. "\n" is a word of its own.
 * No text can spell a word <like this>. <end> ends every sample and must exist. <1_> starts a
 * number that is no word, <_5> continues it: 150 is <1_> <_5> <_0>.
 * Writing: one blank between words, but none around + - * / = and "\n", inside parentheses, or
 * before . , ? Such pieces of numbers as encode never makes stay visible: <_5>. */

typedef struct words words;

/* n words, word i gets id i; all copied. NULL: failed. Refused: no <end>, a word twice, a word
 * that no text can spell. */
words *words_new(const char *const *list, size_t n, char *error, size_t size);

/* <end> "\n" numbers: target: + - * / ( ) = ### 0..100 <1_>..<9_> <_0>..<_9>: 132 words.
 * NULL: out of memory. */
words *words_new_countdown(void);

/* <end> and <byte 0>..<byte 255>: 257 words. Every byte of a text is a word, nothing is dropped or
 * added. Any vocabulary that holds those 256 words in order works like this. NULL: out of memory.
 */
words *words_new_bytes(void);

/* A file has one word a line in the order of ids, "\n" written \n and a backslash \\. */
words *words_load(const char *file, char *error, size_t size);
int words_save(const words *, const char *file, char *error, size_t size);  /* 0: failed */
void words_free(words *);

size_t words_size(const words *);
int32_t words_id(const words *, const char *word);   /* -1: no such word */
int32_t words_end(const words *);                    /* id of <end> */
const char *words_word(const words *, int32_t id);   /* NULL: no such id */

/* Writes the first max ids; returns how many the whole text has. SIZE_MAX: a word is unknown, the
 * error names it. */
size_t words_encode(const words *, const char *text, int32_t *ids, size_t max, char *error,
                    size_t size);
size_t words_decode(const words *, const int32_t *ids, size_t n, char *out, size_t size);

#endif
