/* tokenizer.c: words or BPE behind one interface, see tokenizer.h. */
#include "tokenizer.h"
#include "../files/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tokenizer { words *words; bpe *bpe; };        /* one of the two is NULL */

/* Takes over the one that is given; both NULL: the line is in error already. */
static tokenizer *tokenizer_of(words *w, bpe *b, char *error, size_t size) {
    if (!w && !b) return NULL;
    tokenizer *t = malloc(sizeof *t);
    if (!t) {
        snprintf(error, size, "out of memory");
        words_free(w);
        bpe_free(b);
        return NULL;
    }
    t->words = w;
    t->bpe = b;
    return t;
}

tokenizer *tokenizer_of_words(words *w, char *error, size_t size) {
    return tokenizer_of(w, NULL, error, size);
}

static int vocabulary_file(const char *folder, char *path, size_t size) {
    return (size_t)snprintf(path, size, "%s/vocab.txt", folder) < size;
}

tokenizer *tokenizer_open(const char *folder, char *error, size_t size) {
    char path[1024];
    if (bpe_in(folder)) return tokenizer_of(NULL, bpe_open(folder, error, size), error, size);
    if (!data_has(folder, "vocab.txt") || !vocabulary_file(folder, path, sizeof path)) {
        snprintf(error, size, "%s: no tokenizer there, expected tokenizer.json, or vocab.json "
                 "(encoder.json) and merges.txt (vocab.bpe), or vocab.txt", folder);
        return NULL;
    }
    return tokenizer_of(words_load(path, error, size), NULL, error, size);
}

int tokenizer_save(const tokenizer *t, const char *folder, char *error, size_t size) {
    char path[1024];
    if (t->bpe) return bpe_copy(t->bpe, folder, error, size);
    if (vocabulary_file(folder, path, sizeof path)) return words_save(t->words, path, error, size);
    snprintf(error, size, "%.60s..: path too long", folder);
    return 0;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    words_free(t->words);
    bpe_free(t->bpe);
    free(t);
}

const char *tokenizer_kind(const tokenizer *t) {
    if (t->words) return "words";
    return bpe_family_of(t->bpe) == BPE_GPT2 ? "gpt2" : "qwen3";
}

size_t tokenizer_size(const tokenizer *t) {
    return t->words ? words_size(t->words) : bpe_size(t->bpe);
}

int32_t tokenizer_end(const tokenizer *t) {
    return t->words ? words_end(t->words) : bpe_end(t->bpe);
}

int32_t tokenizer_id(const tokenizer *t, const char *token) {
    return t->words ? words_id(t->words, token) : bpe_id(t->bpe, token);
}

const char *tokenizer_token(const tokenizer *t, int32_t id, size_t *length) {
    if (t->bpe) return bpe_token(t->bpe, id, length);
    const char *word = words_word(t->words, id);
    if (word && length) *length = strlen(word);
    return word;
}

size_t tokenizer_encode(const tokenizer *t, const char *text, size_t length, int added,
                        int32_t *ids, size_t max, char *error, size_t size) {
    if (t->bpe) return bpe_encode(t->bpe, text, length, added, ids, max, error, size);
    if (memchr(text, 0, length)) {
        snprintf(error, size, "the text holds a NUL, expected words");
        return SIZE_MAX;
    }
    char *copy = malloc(length + 1);                 /* words_encode goes on to a NUL */
    if (!copy) {
        snprintf(error, size, "out of memory for a text of %zu bytes", length);
        return SIZE_MAX;
    }
    memcpy(copy, text, length);
    copy[length] = 0;
    const size_t n = words_encode(t->words, copy, ids, max, error, size);
    free(copy);
    return n;
}

size_t tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, char *out, size_t size) {
    return t->words ? words_decode(t->words, ids, n, out, size)
                    : bpe_decode(t->bpe, ids, n, out, size);
}
