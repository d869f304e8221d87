/* tokenizer.h: one interface to both kinds of tokenizer, so that a run may have either: words, or
 * the bytes (words.h), or byte-level BPE (bpe.h).
 *
 *     tokenizer *t = tokenizer_open("gpt2", error, sizeof error);   // or a run folder
 *     size_t n = tokenizer_encode(t, text, length, 0, ids, max, error, sizeof error);
 *     ids[n++] = tokenizer_end(t);
 *     tokenizer_save(t, "runs/mine", error, sizeof error);          // what tokenizer_open reads
 *
 * A function with (error, size) that fails writes one line there. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "bpe.h"
#include "words.h"

typedef struct tokenizer tokenizer;

/* A folder with tokenizer.json, or a vocabulary and its merges (bpe.h): BPE; with vocab.txt: words.
 * The first of these that is there decides. NULL: failed. */
tokenizer *tokenizer_open(const char *folder, char *error, size_t size);
/* The words are the tokenizer's from here on; they are freed even when it fails (NULL). */
tokenizer *tokenizer_of_words(words *, char *error, size_t size);
/* Writes vocab.txt, or the BPE's files byte for byte as they were when it was opened, into a folder
 * that exists. It may be the one they came from. 0: failed. */
int tokenizer_save(const tokenizer *, const char *folder, char *error, size_t size);
void tokenizer_free(tokenizer *);

const char *tokenizer_kind(const tokenizer *);       /* "words", "gpt2", "qwen3" */
size_t tokenizer_size(const tokenizer *);            /* every id is below this */
int32_t tokenizer_end(const tokenizer *);            /* <end>; <|endoftext|> */
int32_t tokenizer_id(const tokenizer *, const char *token);       /* -1: no such token */
const char *tokenizer_token(const tokenizer *, int32_t id, size_t *length);    /* as bpe_token */

/* Writes the first max ids; returns how many the whole text has. added: 1 recognises BPE's added
 * tokens in the text, 0 (right for data) takes them as plain text; no text can spell <end>.
 * SIZE_MAX: an unknown word, or out of memory. */
size_t tokenizer_encode(const tokenizer *, const char *text, size_t length, int added, int32_t *ids,
                        size_t max, char *error, size_t size);
/* As snprintf; an unknown id is written <?>. */
size_t tokenizer_decode(const tokenizer *, const int32_t *ids, size_t n, char *out, size_t size);

#endif
