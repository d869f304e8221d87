/* words.c: see words.h. For tasks whose whole language is a few hundred words. The vocabulary is a
 * list that travels with a trained model as vocab.txt; the only task known here is the one whose
 * words words_new_countdown lists. */
#include "words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../dual.h"
#include "../files/files.h"

/* ---- The vocabulary -----------------------------------------------------------------------
 * Owns one copy of the words and a hash table over them (open addressing, at most half full).
 * Refuses lists that could not be read back from text. */

struct words {
    char *text;            /* all words, each NUL-terminated */
    const char **word;     /* [size], into text */
    size_t size;
    int32_t *slot;         /* [slots], a power of two: id, or -1 for free */
    size_t slots;
    size_t longest;        /* bytes of the longest word: no text beyond it needs a look */
    int32_t end;
    int32_t bytes;         /* id of <byte 0>, if the words are the 256 bytes; else -1 */
};

enum { WORDS_MAX = 1000000 };   /* ids stay far inside an int */

static size_t first_slot(const words *w, const char *word, size_t length) {
    uint32_t hash = 2166136261u;                      /* FNV-1a */
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)word[i]) * 16777619u;
    return hash & (w->slots - 1);
}

/* The slot that holds the word, or the free one where it would go. */
static size_t find_slot(const words *w, const char *word, size_t length) {
    size_t at = first_slot(w, word, length);
    while (w->slot[at] >= 0) {
        const char *there = w->word[w->slot[at]];
        if (!strncmp(there, word, length) && there[length] == 0) break;
        at = (at + 1) & (w->slots - 1);
    }
    return at;
}

/* <like this>: reserved, never matched in text. */
static int is_special(const char *word) {
    const size_t length = strlen(word);
    return length > 2 && word[0] == '<' && word[length - 1] == '>';
}

static const char *byte_word(size_t byte, char out[41]) {
    snprintf(out, 41, "<byte %u>", (unsigned)byte % 256);
    return out;
}

/* An empty vocabulary with room for the n words. NULL: out of memory. */
static words *make_room(const char *const *list, size_t n) {
    words *w = calloc(1, sizeof *w);
    size_t bytes = 1;
    if (!w) return NULL;
    for (size_t i = 0; i < n; i++) bytes += strlen(list[i]) + 1;
    for (w->slots = 2; w->slots < 2 * n; ) w->slots *= 2;
    w->text = malloc(bytes);
    w->word = malloc((n + 1) * sizeof *w->word);
    w->slot = malloc(w->slots * sizeof *w->slot);
    if (!w->text || !w->word || !w->slot) {
        words_free(w);
        return NULL;
    }
    for (size_t i = 0; i < w->slots; i++) w->slot[i] = -1;
    return w;
}

/* These return 1, or 0 with a line in error. */
static int put_words(words *w, const char *const *list, size_t n, char *error, size_t size) {
    char name[41], *to = w->text;
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(list[i]), at = find_slot(w, list[i], length);
        if (w->slot[at] >= 0) {
            snprintf(error, size, "word %zu \"%s\" is there twice, expected once", i + 1,
                     data_shown(list[i], length, name));
            return 0;
        }
        w->slot[at] = (int32_t)i;
        w->word[i] = memcpy(to, list[i], length + 1);
        w->size = i + 1;
        to += length + 1;
        if (length > w->longest) w->longest = length;
    }
    return 1;
}

static int has_all_bytes(const words *w, char *error, size_t size) {
    char name[41];
    for (size_t i = 1; i < 256; i++)
        if (words_id(w, byte_word(i, name)) != w->bytes + (int32_t)i) {
            snprintf(error, size, "no word %s behind the one before it, expected <byte 0> to "
                     "<byte 255> in order", name);
            return 0;
        }
    return 1;
}

/* A word that its own spelling does not give back would silently never be used. */
static int can_be_spelled(const words *w, char *error, size_t size) {
    char name[41];
    for (size_t i = 0; i < w->size; i++) {
        const char *word = w->word[i];
        int32_t id = -1;
        if (is_special(word)) continue;
        if (words_encode(w, word, &id, 1, NULL, 0) == 1 && id == (int32_t)i) continue;
        snprintf(error, size, "word %zu \"%s\" is never read from a text, expected letters and "
                 "digits, or punctuation", i + 1, data_shown(word, strlen(word), name));
        return 0;
    }
    return 1;
}

static int is_complete(words *w, char *error, size_t size) {
    w->end = words_id(w, "<end>");
    w->bytes = words_id(w, "<byte 0>");
    if (w->end >= 0)
        return w->bytes >= 0 ? has_all_bytes(w, error, size) : can_be_spelled(w, error, size);
    snprintf(error, size, "no word <end>, expected one");
    return 0;
}

words *words_new(const char *const *list, size_t n, char *error, size_t size) {
    if (n > WORDS_MAX) {
        snprintf(error, size, "%zu words, expected at most %d", n, WORDS_MAX);
        return NULL;
    }
    words *w = make_room(list, n);
    if (!w) snprintf(error, size, "out of memory for %zu words", n);
    if (w && put_words(w, list, n, error, size) && is_complete(w, error, size)) return w;
    words_free(w);
    return NULL;
}

words *words_new_countdown(void) {
    static const char *const fixed[] = {
        "<end>", "\n", "numbers:", "target:", "+", "-", "*", "/", "(", ")", "=", "###"
    };
    enum { FIXED = sizeof fixed / sizeof *fixed, NUMBERS = 101, FIRST = 9, NEXT = 10 };
    const char *list[FIXED + NUMBERS + FIRST + NEXT];
    char text[NUMBERS + FIRST + NEXT][8];
    char error[80];
    size_t n = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        snprintf(text[n++], sizeof text[0], "%u", (unsigned)i % 1000);
    for (size_t i = 1; i <= FIRST; i++)
        snprintf(text[n++], sizeof text[0], "<%u_>", (unsigned)i % 10);
    for (size_t i = 0; i < NEXT; i++)
        snprintf(text[n++], sizeof text[0], "<_%u>", (unsigned)i % 10);
    for (size_t i = 0; i < FIXED; i++) list[i] = fixed[i];
    for (size_t i = 0; i < n; i++) list[FIXED + i] = text[i];
    return words_new(list, FIXED + n, error, sizeof error);
}

words *words_new_bytes(void) {
    const char *list[257];
    char text[256][41], error[160];
    list[0] = "<end>";
    for (size_t i = 0; i < 256; i++) list[i + 1] = byte_word(i, text[i]);
    return words_new(list, 257, error, sizeof error);
}

void words_free(words *w) {
    if (!w) return;
    free(w->text);
    free((void *)w->word);
    free(w->slot);
    free(w);
}

size_t words_size(const words *w) { return w->size; }

int32_t words_id(const words *w, const char *word) {
    return w->slot[find_slot(w, word, strlen(word))];
}

int32_t words_end(const words *w) { return w->end; }

const char *words_word(const words *w, int32_t id) {
    return id >= 0 && (size_t)id < w->size ? w->word[id] : NULL;
}

/* ---- vocab.txt ----------------------------------------------------------------------------
 * One word a line, so that any editor and any language reads it. Refuses what an editor may
 * have done to it by accident (empty lines, an unknown escape). */

/* Undoes \n and \\ in place. 0: another escape. */
static int unescape(char *word) {
    char *to = word;
    for (; *word; word++) {
        if (*word == '\\') {
            word++;
            if (*word != 'n' && *word != '\\') return 0;
            *to++ = *word == 'n' ? '\n' : '\\';
        } else {
            *to++ = *word;
        }
    }
    *to = 0;
    return 1;
}

/* Cuts the text into words, in place. 0: line *n + 1 is no word. */
static int split_lines(char *text, size_t length, const char **list, size_t *n) {
    *n = 0;
    for (char *at = text, *next; at < text + length; at = next) {
        char *end = at + strcspn(at, "\n");
        next = *end ? end + 1 : end;
        if (end > at && end[-1] == '\r') end--;
        *end = 0;
        if (end == at || !unescape(at)) return 0;
        list[(*n)++] = at;
    }
    return 1;
}

words *words_load(const char *file, char *error, size_t size) {
    size_t length, lines = 1, n;
    char *text = data_read(file, &length, error, size), why[160];
    if (!text) return NULL;
    for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
    const char **list = malloc(lines * sizeof *list);
    words *w = NULL;
    if (!list) {
        snprintf(error, size, "%s: out of memory for %zu words", file, lines);
    } else if (!split_lines(text, length, list, &n)) {
        snprintf(error, size, "%s:%zu: expected one word, with \\n for the line break and \\\\ for "
                 "a backslash", file, n + 1);
    } else {
        w = words_new(list, n, why, sizeof why);
        if (!w) snprintf(error, size, "%s: %s", file, why);
    }
    free((void *)list);
    free(text);
    return w;
}

int words_save(const words *w, const char *file, char *error, size_t size) {
    size_t used = 0, room = 1;
    for (size_t i = 0; i < w->size; i++) room += 2 * strlen(w->word[i]) + 1;
    char *text = malloc(room);
    dual_ctx c;                        /* for its line about an error */
    dual_init(&c, NULL, 0);
    for (size_t i = 0; text && i < w->size; i++) {
        for (const char *at = w->word[i]; *at; at++) {
            if (*at == '\n' || *at == '\\') text[used++] = '\\';
            text[used++] = *at == '\n' ? 'n' : *at;
        }
        text[used++] = '\n';
    }
    const int fine = text ? dual_text_save(&c, file, text, used)
                          : dual_failed(&c, "%s: out of memory for its words", file);
    if (!fine) snprintf(error, size, "%s", c.error);
    free(text);
    return fine;
}

/* ---- Reading text -------------------------------------------------------------------------
 * With character classes of its own: those of <ctype.h> change with the locale, and a vocabulary
 * must not. */

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static int is_punctuation(char c) {
    return c && c != '\n' && !is_blank(c) && !is_digit(c) && !is_letter(c);
}

/* Bytes at `at` that belong together whatever the vocabulary says. */
static size_t run_length(const char *at) {
    const int letters = is_letter(*at);
    size_t n = 1;
    if (letters || is_digit(*at))
        while (is_digit(at[n]) || (letters && is_letter(at[n]))) n++;
    return n;
}

/* Id of piece <d_> (first) or <_d>, or -1. */
static int32_t piece_id(const words *w, char digit, int first) {
    char piece[8];
    snprintf(piece, sizeof piece, first ? "<%c_>" : "<_%c>", digit);
    return words_id(w, piece);
}

typedef struct { int32_t *id; size_t max, n; } ids_out;

static void put_id(ids_out *out, int32_t id) {
    if (out->n < out->max) out->id[out->n] = id;
    out->n++;
}

/* A number that is no word, digit by digit. 0: it is none: one digit is a word or nothing, and as
 * there is no <0_>, no number starts with 0. */
static int put_number(const words *w, const char *digits, size_t n, ids_out *out) {
    if (n < 2 || !is_digit(*digits)) return 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t id = piece_id(w, digits[i], i == 0);
        if (id < 0) return 0;
        put_id(out, id);
    }
    return 1;
}

/* Length of the longest word at `at` that covers all of its run; 0: none. */
static size_t word_length(const words *w, const char *at, size_t run, int32_t *id) {
    size_t length = run;
    while (*at != '\n' && length < w->longest && is_punctuation(at[length])) length++;
    for (; length >= run; length--) {
        *id = w->slot[find_slot(w, at, length)];
        if (*id >= 0) return length;
    }
    return 0;
}

static size_t encode_bytes(const words *w, const char *text, ids_out *out) {
    for (; *text; text++) put_id(out, w->bytes + (unsigned char)*text);
    return out->n;
}

size_t words_encode(const words *w, const char *text, int32_t *ids, size_t max, char *error,
                    size_t size) {
    ids_out out = {ids, max, 0};
    if (w->bytes >= 0) return encode_bytes(w, text, &out);
    for (const char *at = text; *at; ) {
        if (is_blank(*at)) {
            at++;
            continue;
        }
        const size_t run = run_length(at);
        int32_t id;
        size_t length = word_length(w, at, run, &id);
        if (length) {
            put_id(&out, id);
        } else if (put_number(w, at, run, &out)) {
            length = run;
        } else {
            char name[41];
            snprintf(error, size, "byte %zu: unknown word \"%s\", expected one of the %zu words of "
                     "the vocabulary", (size_t)(at - text) + 1, data_shown(at, run, name), w->size);
            return SIZE_MAX;
        }
        at += length;
    }
    return out.n;
}

/* ---- Writing text -------------------------------------------------------------------------
 * One canonical spelling: encode(decode(ids)) = ids whenever the text shows no <..>. */

/* Whether `word` is a single character, one of `set`. */
static int one_of(const char *word, const char *set) {
    return word[0] && !word[1] && strchr(set, word[0]);
}

static int blank_between(const char *left, const char *right) {
    return left && !one_of(left, "\n(+-*/=") && !one_of(right, "\n)+-*/=.,?");
}

/* Digit of a piece <d_> (first) or <_d>; 0: the word is no such piece. */
static char piece_digit(const char *word, int first) {
    char digit = 0;
    if (word && strlen(word) == 4 && is_special(word) && word[first ? 2 : 1] == '_')
        digit = word[first ? 1 : 2];
    return is_digit(digit) ? digit : 0;
}

/* How many of the n ids, from the first on, are the pieces of one number as encode would cut
 * it; 0: none. A number that is a word (35) is never cut, so <3_> <_5> does not count as 35. */
static size_t number_length(const words *w, const int32_t *ids, size_t n) {
    char digits[16];
    size_t k = 0;
    while (k < n && piece_digit(words_word(w, ids[k]), k == 0)) {
        if (k < sizeof digits - 1) digits[k] = piece_digit(words_word(w, ids[k]), k == 0);
        k++;
    }
    digits[k < sizeof digits ? k : sizeof digits - 1] = 0;
    return k > 1 && words_id(w, digits) < 0 ? k : 0;
}

static void put(char *out, size_t size, size_t *used, const char *text) {
    for (; *text; text++) {
        if (*used + 1 < size) out[*used] = *text;
        ++*used;
    }
}

static size_t decode_bytes(const words *w, const int32_t *ids, size_t n, char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t byte = (int64_t)ids[i] - w->bytes;     /* an id may be any number */
        const char one[2] = {(char)byte, 0};
        put(out, size, &used, byte > 0 && byte < 256 ? one : "<?>");
    }
    return used;
}

static size_t decode_words(const words *w, const int32_t *ids, size_t n, char *out, size_t size) {
    const char *left = NULL;           /* the word before, for the blank */
    size_t used = 0, i = 0;
    while (i < n) {
        const size_t pieces = number_length(w, ids + i, n - i);
        const char *word = words_word(w, ids[i]);
        if (!word) word = "<?>";
        if (blank_between(left, word)) put(out, size, &used, " ");
        if (pieces == 0) put(out, size, &used, word);
        for (size_t k = 0; k < pieces; k++) {
            const char digit[2] = {piece_digit(w->word[ids[i + k]], k == 0), 0};
            put(out, size, &used, digit);
        }
        left = word;
        i += pieces ? pieces : 1;
    }
    return used;
}

size_t words_decode(const words *w, const int32_t *ids, size_t n, char *out, size_t size) {
    const size_t used = w->bytes >= 0 ? decode_bytes(w, ids, n, out, size)
                                      : decode_words(w, ids, n, out, size);
    if (size > 0) out[used < size ? used : size - 1] = 0;
    return used;
}
