/* bpe.c: see bpe.h. Merging comes first, then whole texts, then the files. Everything lives in one
 * struct that only the loader changes. It refuses, naming file and place, whatever would give other
 * ids than the makers of the files meant. No text is refused. */
#include "bpe.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../dual.h"
#include "../files/files.h"
#include "unicode.h"

/* ---- Tokens and merges ---------------------------------------------------------------------
 * The tokens' bytes lie in one pool. Two hash tables (open addressing, at most half full) lead from
 * bytes to a token's id and from two ids to their merge. */

enum { IDS_MAX = 1000000, ADDED_MAX = 4096, FILES_MAX = 5, PATH_ROOM = 1024 };
#define NONE UINT32_MAX

typedef struct { const char *bytes; size_t length; } token;   /* bytes NULL: no such id */
typedef struct { int32_t left, right, to; } merge;            /* its index is its rank: low first */

/* pattern: the bytes that it is looked for as; normalized: in normalised text, so normalised too */
typedef struct { int32_t id; int normalized; char *pattern; size_t length; } added_token;
typedef struct { const char *name; char *text; size_t length; } kept;

struct bpe {
    bpe_family family;
    int nfc;
    unicode *unicode;
    char *pool;
    token *tokens;                       /* [size] */
    size_t size;
    int32_t *token_slot;                 /* [token_slots], a power of two: id, or -1 for free */
    size_t token_slots;
    merge *merges;                       /* [n_merges] */
    size_t n_merges;
    uint32_t *merge_slot;                /* [merge_slots], a power of two: rank, or NONE */
    size_t merge_slots;
    int32_t byte[256];                   /* ids of the single bytes */
    added_token added[ADDED_MAX];
    size_t n_added;
    unsigned char starts[2][256];        /* by normalized; 1: a pattern starts with this byte */
    int32_t end;
    char folder[PATH_ROOM];
    kept file[FILES_MAX];                /* those in it that were read */
};

static int token_is(const bpe *b, int32_t id, const char *bytes, size_t length) {
    return b->tokens[id].length == length && !memcmp(b->tokens[id].bytes, bytes, length);
}

/* The slot that holds these bytes, or the free one where they would go. */
static size_t find_token(const bpe *b, const char *bytes, size_t length) {
    uint32_t hash = 2166136261u;                     /* FNV-1a */
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    size_t at = hash & (b->token_slots - 1);
    while (b->token_slot[at] >= 0 && !token_is(b, b->token_slot[at], bytes, length))
        at = (at + 1) & (b->token_slots - 1);
    return at;
}

static size_t find_merge(const bpe *b, int32_t left, int32_t right) {
    const uint64_t key = (uint64_t)left << 32 | (uint32_t)right;
    size_t at = (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & (b->merge_slots - 1);
    for (; b->merge_slot[at] != NONE; at = (at + 1) & (b->merge_slots - 1)) {
        const merge *m = &b->merges[b->merge_slot[at]];
        if (m->left == left && m->right == right) break;
    }
    return at;
}

/* ---- One piece -----------------------------------------------------------------------------
 * Its tokens are a linked list, at first one for each byte. A heap holds every pair that has a
 * merge as rank << 32 | place, so that the lowest number is the merge to do: lowest rank, leftmost
 * among equals. Pairs that another merge has changed stay in the heap and are passed over when they
 * come up. A piece of n bytes takes n - 1 merges at most, n log n steps. */

typedef struct { int32_t id; uint32_t before, after, rank; } node; /* rank: of it and `after` */
typedef struct {                         /* grows to the longest piece met */
    node *nodes;
    uint64_t *heap;
    size_t room, heaped;
} work;

static int work_for(work *w, size_t n) {
    if (n <= w->room) return 1;
    const size_t room = n > 256 ? 2 * n : 256;
    free(w->nodes);
    free(w->heap);
    memset(w, 0, sizeof *w);
    if (n >= NONE / 2 || room > SIZE_MAX / (3 * sizeof *w->heap)) return 0;
    w->nodes = malloc(room * sizeof *w->nodes);
    w->heap = malloc(3 * room * sizeof *w->heap);    /* n - 1 pairs, and two more for each merge */
    w->room = w->nodes && w->heap ? room : 0;
    return w->room != 0;
}

static void heap_push(work *w, uint64_t x) {
    size_t i = w->heaped++;
    for (; i > 0 && w->heap[(i - 1) / 2] > x; i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = x;
}

static uint64_t heap_pop(work *w) {
    const uint64_t top = w->heap[0], x = w->heap[--w->heaped];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->heaped) {
        if (child + 1 < w->heaped && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= x) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = x;
    return top;
}

static void rank_pair(const bpe *b, work *w, uint32_t at) {
    node *left = &w->nodes[at];
    left->rank = NONE;
    if (left->after != NONE)
        left->rank = b->merge_slot[find_merge(b, left->id, w->nodes[left->after].id)];
    if (left->rank != NONE) heap_push(w, (uint64_t)left->rank << 32 | at);
}

typedef struct { int32_t *id; size_t max, n; } ids_out;

static void put_id(ids_out *out, int32_t id) {
    if (out->n < out->max) out->id[out->n] = id;
    out->n++;
}

/* 0: out of memory. */
static int encode_piece(const bpe *b, work *w, const char *piece, size_t length, ids_out *out) {
    if (!work_for(w, length)) return 0;
    const uint32_t n = (uint32_t)length;
    w->heaped = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->nodes[i].id = b->byte[(unsigned char)piece[i]];
        w->nodes[i].before = i ? i - 1 : NONE;
        w->nodes[i].after = i + 1 < n ? i + 1 : NONE;
    }
    for (uint32_t i = 0; i < n; i++) rank_pair(b, w, i);
    while (w->heaped) {
        const uint64_t top = heap_pop(w);
        const uint32_t rank = (uint32_t)(top >> 32), at = (uint32_t)top;
        node *left = &w->nodes[at];
        if (left->rank != rank) continue;
        node *right = &w->nodes[left->after];
        right->rank = NONE;                          /* swallowed: no pair starts there any more */
        left->id = b->merges[rank].to;
        left->after = right->after;
        if (left->after != NONE) w->nodes[left->after].before = at;
        rank_pair(b, w, at);
        if (left->before != NONE) rank_pair(b, w, left->before);
    }
    for (uint32_t i = 0; i != NONE; i = w->nodes[i].after) put_id(out, w->nodes[i].id);
    return 1;
}

/* ---- A text --------------------------------------------------------------------------------
 * Added tokens without `normalized` are cut out of the text as it came. What lies between them is
 * normalised, each part for itself, and those with `normalized` are cut out of that. What is left
 * is cut into pieces, each part as a text of its own. */

/* Each encodes a part of a text. 0: out of memory. */
typedef int encoder(const bpe *, work *, const char *text, size_t length, ids_out *);

static int encode_pieces(const bpe *b, work *w, const char *text, size_t length, ids_out *out) {
    int fine = 1;
    for (const char *at = text, *to; fine && at < text + length; at = to) {
        to = unicode_piece(b->unicode, b->family, at, text + length);
        fine = encode_piece(b, w, at, (size_t)(to - at), out);
    }
    return fine;
}

/* The longest added token at `at`, or NULL. */
static const added_token *added_at(const bpe *b, const char *at, const char *end, int normalized) {
    const added_token *best = NULL;
    if (!b->starts[normalized][(unsigned char)*at]) return NULL;
    for (const added_token *t = b->added; t < b->added + b->n_added; t++)
        if (t->normalized == normalized && t->length <= (size_t)(end - at) &&
            !memcmp(t->pattern, at, t->length) && (!best || t->length > best->length))
            best = t;
    return best;
}

/* Added tokens of one kind, and by `between` what lies between them. */
static int encode_added(const bpe *b, work *w, const char *text, size_t length, int normalized,
                        encoder *between, ids_out *out) {
    const char *end = text + length, *from = text;
    int fine = 1;
    for (const char *at = text; fine && at < end; ) {
        const added_token *t = added_at(b, at, end, normalized);
        if (!t) {
            at++;
            continue;
        }
        fine = between(b, w, from, (size_t)(at - from), out);
        put_id(out, t->id);
        at += t->length;
        from = at;
    }
    return fine && between(b, w, from, (size_t)(end - from), out);
}

static int encode_normalized(const bpe *b, work *w, const char *text, size_t length, int added,
                             ids_out *out) {
    char *normal = NULL;
    if (b->nfc && unicode_may_need_nfc(text, length)) {
        normal = unicode_nfc(b->unicode, text, length, &length);
        if (!normal) return 0;
        text = normal;
    }
    const int fine = added ? encode_added(b, w, text, length, 1, encode_pieces, out)
                           : encode_pieces(b, w, text, length, out);
    free(normal);
    return fine;
}

static int encode_between(const bpe *b, work *w, const char *text, size_t length, ids_out *out) {
    return encode_normalized(b, w, text, length, 1, out);
}

size_t bpe_encode(const bpe *b, const char *text, size_t length, int added, int32_t *ids,
                  size_t max, char *error, size_t size) {
    ids_out out = {ids, max, 0};
    work w = {NULL, NULL, 0, 0};
    const int fine = added ? encode_added(b, &w, text, length, 0, encode_between, &out)
                           : encode_normalized(b, &w, text, length, 0, &out);
    free(w.nodes);
    free(w.heap);
    if (fine) return out.n;
    snprintf(error, size, "out of memory for a text of %zu bytes", length);
    return SIZE_MAX;
}

size_t bpe_decode(const bpe *b, const int32_t *ids, size_t n, char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = 3;
        const char *bytes = bpe_token(b, ids[i], &length);
        if (!bytes) bytes = "<?>";
        for (size_t k = 0; k < length; k++) {
            if (used + 1 < size) out[used] = bytes[k];
            used++;
        }
    }
    if (size) out[used < size ? used : size - 1] = 0;
    return used;
}

bpe_family bpe_family_of(const bpe *b) { return b->family; }
size_t bpe_size(const bpe *b) { return b->size; }
int32_t bpe_end(const bpe *b) { return b->end; }

const char *bpe_token(const bpe *b, int32_t id, size_t *length) {
    if (id < 0 || (size_t)id >= b->size || !b->tokens[id].bytes) return NULL;
    if (length) *length = b->tokens[id].length;
    return b->tokens[id].bytes;
}

int32_t bpe_id(const bpe *b, const char *name) {
    const size_t length = strlen(name);
    for (size_t i = 0; i < b->n_added; i++)
        if (token_is(b, b->added[i].id, name, length)) return b->added[i].id;
    return b->token_slot[find_token(b, name, length)];
}

/* ---- Reading a vocabulary ------------------------------------------------------------------
 * Files spell a byte as a visible character: itself where it is one, else U+0100 and on. */

enum { SPELLINGS = 0x144 };

typedef struct {
    bpe *b;
    const char *file;                    /* the one being read, for messages */
    char *error;
    size_t size;
    size_t used, room;                   /* bytes of the pool; places in the table of tokens */
    size_t complete;                     /* added tokens of tokenizer.json, once it is read */
    int byte_of[SPELLINGS];              /* by code point: the byte it stands for, or -1 */
} loader;

/* One line: which file, what. Returns 0. */
static int refused(loader *l, const char *format, ...) {
    char what[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(l->error, l->size, "%s/%s: %s", l->b->folder, l->file, what);
    return 0;
}

static void learn_spelling(loader *l) {
    int next = 0x100;
    for (int i = 0; i < SPELLINGS; i++) l->byte_of[i] = -1;
    for (int i = 0; i < 256; i++) {
        const int visible = (i > 32 && i < 127) || (i > 160 && i != 173);
        l->byte_of[visible ? i : next++] = i;
    }
}

/* Turns spelled bytes into themselves, in place; returns how many, 0: not so spelled. */
static size_t unspell(const loader *l, char *text, size_t length) {
    size_t n = 0;
    uint32_t c;
    for (const char *at = text, *end = text + length; at < end; ) {
        at += unicode_next(at, end, &c);
        if (c >= SPELLINGS || l->byte_of[c] < 0) return 0;
        text[n++] = (char)l->byte_of[c];
    }
    return n;
}

/* A JSON string at the end of the pool, which has room for all strings of the files. */
static char *to_pool(loader *l, dual_json string, size_t *length) {
    char *at = l->b->pool + l->used;
    *length = dual_json_string(string, at, (size_t)(string.end - string.begin));
    return at;
}

/* Makes the `length` bytes at the end of the pool the token `id`. */
static int put_token(loader *l, double id, size_t length) {
    bpe *b = l->b;
    char *bytes = b->pool + l->used, name[41];
    data_shown(bytes, length, name);
    if (!(id >= 0 && id < IDS_MAX && id == (double)(size_t)id))
        return refused(l, "the id of \"%s\" is no whole number below %d", name, IDS_MAX);
    const size_t i = (size_t)id;
    if (i >= l->room) {
        const size_t room = 2 * i + 1024;
        token *grown = realloc(b->tokens, room * sizeof *grown);
        if (!grown) return refused(l, "out of memory");
        memset(grown + l->room, 0, (room - l->room) * sizeof *grown);
        b->tokens = grown;
        l->room = room;
    }
    if (b->tokens[i].bytes)
        return refused(l, "id %zu is there twice, the second time for \"%s\"", i, name);
    b->tokens[i].bytes = bytes;
    b->tokens[i].length = length;
    bytes[length] = 0;
    l->used += length + 1;
    if (i >= b->size) b->size = i + 1;
    return 1;
}

/* {"token": id, ...} */
static int read_vocabulary(loader *l, dual_json object) {
    bpe *b = l->b;
    dual_json key, value = {NULL, NULL};
    size_t n = 0, length;
    char name[41];
    if (dual_json_type(object) != '{')
        return refused(l, "no vocabulary, expected an object of tokens and their ids");
    while (dual_json_each(object, &key, &value)) n++;
    if (n > IDS_MAX) return refused(l, "%zu tokens, expected at most %d", n, IDS_MAX);
    for (b->token_slots = 2; b->token_slots < 2 * n; ) b->token_slots *= 2;
    b->token_slot = malloc(b->token_slots * sizeof *b->token_slot);
    if (!b->token_slot) return refused(l, "out of memory for %zu tokens", n);
    for (size_t i = 0; i < b->token_slots; i++) b->token_slot[i] = -1;

    value.begin = NULL;
    while (dual_json_each(object, &key, &value)) {
        char *text = to_pool(l, key, &length);
        data_shown(text, length, name);
        length = unspell(l, text, length);
        if (!length)
            return refused(l, "\"%s\" is no token, expected the characters that stand for bytes",
                           name);
        const size_t slot = find_token(b, text, length);
        if (b->token_slot[slot] >= 0) return refused(l, "\"%s\" is there twice", name);
        if (!put_token(l, dual_json_number(value, -1), length)) return 0;
        b->token_slot[slot] = (int32_t)dual_json_number(value, -1);
    }
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        b->byte[i] = b->token_slot[find_token(b, &byte, 1)];
        if (b->byte[i] < 0)
            return refused(l, "no token for byte %d, expected one for each of the 256", i);
    }
    return 1;
}

static int start_merges(loader *l, size_t n) {
    bpe *b = l->b;
    if (n > IDS_MAX) return refused(l, "%zu merges, expected at most %d", n, IDS_MAX);
    for (b->merge_slots = 2; b->merge_slots < 2 * n; ) b->merge_slots *= 2;
    b->merges = malloc((n + 1) * sizeof *b->merges);
    b->merge_slot = malloc(b->merge_slots * sizeof *b->merge_slot);
    if (!b->merges || !b->merge_slot) return refused(l, "out of memory for %zu merges", n);
    for (size_t i = 0; i < b->merge_slots; i++) b->merge_slot[i] = NONE;
    return 1;
}

/* The next merge as files spell it, left part, one blank, right part; the text is overwritten.
 * place: its line or number, for messages. */
static int read_merge(loader *l, char *text, size_t length, size_t place) {
    static const char *const names[] = {"left part", "right part", "result"};
    bpe *b = l->b;
    char name[41];
    const char *blank = memchr(text, ' ', length);
    const size_t left = blank ? (size_t)(blank - text) : 0;
    size_t n[3];
    int32_t id[3];
    data_shown(text, length, name);
    n[0] = unspell(l, text, left);
    n[1] = blank ? unspell(l, text + left + 1, length - left - 1) : 0;
    n[2] = n[0] + n[1];
    if (!n[0] || !n[1])
        return refused(l, "merge %zu: \"%s\", expected two tokens with one blank between them",
                       place, name);
    for (int i = 0; i < 3; i++) {
        char *part = i == 1 ? text + left + 1 : text;
        if (i == 2) memmove(text + n[0], text + left + 1, n[1]);
        id[i] = b->token_slot[find_token(b, part, n[i])];
        if (id[i] < 0)
            return refused(l, "merge %zu: \"%s\", but its %s is no token of the vocabulary", place,
                           name, names[i]);
    }
    const size_t slot = find_merge(b, id[0], id[1]);
    if (b->merge_slot[slot] != NONE)
        return refused(l, "merge %zu: \"%s\" is there twice", place, name);
    b->merge_slot[slot] = (uint32_t)b->n_merges;
    merge *m = &b->merges[b->n_merges++];
    m->left = id[0];
    m->right = id[1];
    m->to = id[2];
    return 1;
}

/* [merge, ...], each "left right" or ["left", "right"]. */
static int read_json_merges(loader *l, dual_json array) {
    dual_json none, value = {NULL, NULL};
    size_t n = 0, longest = 0;
    if (dual_json_type(array) != '[') return refused(l, "no merges, expected an array of them");
    for (; dual_json_each(array, &none, &value); n++)
        if ((size_t)(value.end - value.begin) > longest)
            longest = (size_t)(value.end - value.begin);
    char *text = malloc(longest + 1);
    int fine = text ? start_merges(l, n) : refused(l, "out of memory");
    value.begin = NULL;
    for (size_t i = 1; fine && dual_json_each(array, &none, &value); i++) {
        dual_json part = {NULL, NULL};
        size_t length = dual_json_string(value, text, longest + 1), parts = 0;
        while (fine && dual_json_each(value, &none, &part)) {
            if (parts++) text[length++] = ' ';
            fine = dual_json_type(part) == '"' && parts <= 2;
            length += dual_json_string(part, text + length, longest + 1 - length);
        }
        if (!fine || parts == 1)
            fine = refused(l, "merge %zu: expected \"left right\" or [\"left\", \"right\"]", i);
        fine = fine && read_merge(l, text, length, i);
    }
    free(text);
    return fine;
}

/* merges.txt: one merge a line. Only the first can be a comment: `# #` is a merge. */
static int read_merge_lines(loader *l, const char *text, size_t length) {
    size_t n = 0, line = 0, longest = 0;
    for (size_t at = 0, bytes; at < length; at += bytes + 1, n++) {
        bytes = strcspn(text + at, "\n");
        if (bytes > longest) longest = bytes;
    }
    char *merge_text = malloc(longest + 1);
    int fine = merge_text ? start_merges(l, n) : refused(l, "out of memory");
    for (const char *at = text, *next; fine && at < text + length; at = next) {
        const char *end = at + strcspn(at, "\n");
        next = end + 1;
        line++;
        if (end > at && end[-1] == '\r') end--;
        if (end == at || (line == 1 && !strncmp(at, "#version", 8))) continue;
        memcpy(merge_text, at, (size_t)(end - at));
        fine = read_merge(l, merge_text, (size_t)(end - at), line);
    }
    free(merge_text);
    return fine;
}

/* ---- Added tokens -------------------------------------------------------------------------- */

/* The bytes that a token is looked for as. 0: out of memory. */
static int make_pattern(const bpe *b, added_token *t, const char *bytes, size_t length) {
    if (t->normalized && b->nfc) t->pattern = unicode_nfc(b->unicode, bytes, length, &t->length);
    else {
        t->pattern = malloc(length);
        t->length = length;
        if (t->pattern) memcpy(t->pattern, bytes, length);
    }
    return t->pattern != NULL;
}

/* The token of `length` bytes at the end of the pool. It may be one of the vocabulary's. Where
 * other files repeat tokenizer.json's tokens nothing is new; what they add comes behind. */
static int put_added(loader *l, double id, size_t length, int normalized) {
    bpe *b = l->b;
    char *bytes = b->pool + l->used, name[41];
    data_shown(bytes, length, name);
    if (!length) return refused(l, "an added token is empty");
    for (size_t i = 0; i < b->n_added; i++)
        if (token_is(b, b->added[i].id, bytes, length))
            return i < l->complete || refused(l, "the added token \"%s\" is there twice", name);
    if (b->n_added == ADDED_MAX) return refused(l, "more than %d added tokens", ADDED_MAX);
    const int32_t known = b->token_slot[find_token(b, bytes, length)];
    if (known >= 0 && (double)known != id)
        return refused(l, "the added token \"%s\" has id %.0f, but %ld in the vocabulary", name, id,
                       (long)known);
    if (known < 0 && l->complete && id != (double)b->size)
        return refused(l, "the added token \"%s\" has id %.0f, tokenizer.json leaves %zu for it",
                       name, id, b->size);
    added_token *t = &b->added[b->n_added];
    t->normalized = normalized;
    if (!make_pattern(b, t, bytes, length)) return refused(l, "out of memory");
    b->n_added++;
    b->starts[normalized][(unsigned char)*t->pattern] = 1;
    if (known < 0 && !put_token(l, id, length)) return 0;
    t->id = (int32_t)id;
    return 1;
}

static int is_true(dual_json object, const char *key) {
    return dual_json_type(dual_json_get(object, key)) == 't';
}

/* One as an object, as tokenizer.json and tokenizer_config.json have it. */
static int read_added(loader *l, double id, dual_json object) {
    static const char *const unknown[] = {"lstrip", "rstrip", "single_word"};
    size_t length;
    char name[41];
    const char *bytes = to_pool(l, dual_json_get(object, "content"), &length);
    for (int i = 0; i < 3; i++)
        if (is_true(object, unknown[i]))
            return refused(l, "the added token \"%s\" has %s, which GPT-2 and Qwen-3 do not use",
                           data_shown(bytes, length, name), unknown[i]);
    const int said = dual_json_type(dual_json_get(object, "normalized"));
    const int normalized = said == 't' || (said != 'f' && !is_true(object, "special"));
    return put_added(l, id, length, normalized);
}

enum { OWN_NAMES = 1024 };               /* room in the pool for these */

/* Qwen-3's, for a vocabulary that comes without any list. */
static int put_qwen3_added(loader *l) {
    static const char *const names[] = {
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
        "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
        "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
        "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
        "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
        "<think>", "</think>"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        strcpy(l->b->pool + l->used, names[i]);
        if (!put_added(l, (double)l->b->size, strlen(names[i]), 0)) return 0;
    }
    return 1;
}

/* ---- tokenizer.json ------------------------------------------------------------------------ */

static const char qwen3_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static int string_is(dual_json string, const char *text) {
    char value[sizeof qwen3_pattern + 1];
    return dual_json_type(string) == '"' &&
           dual_json_string(string, value, sizeof value) < sizeof value && !strcmp(value, text);
}

/* 1: nothing is asked for: absent, null, false, "" or 0. */
static int is_off(dual_json value) {
    const int type = dual_json_type(value);
    return !type || type == 'n' || type == 'f' || string_is(value, "") ||
           (type == '0' && dual_json_number(value, 1) == 0);
}

/* A ByteLevel step, with GPT-2's pattern or (use_regex false) without one. */
static int is_byte_level(dual_json step, int with_pattern) {
    return string_is(dual_json_get(step, "type"), "ByteLevel") &&
           is_off(dual_json_get(step, "add_prefix_space")) &&
           (dual_json_type(dual_json_get(step, "use_regex")) != 'f') == with_pattern;
}

static int is_qwen3_split(dual_json step) {
    return string_is(dual_json_get(step, "type"), "Split") &&
           string_is(dual_json_get(step, "behavior"), "Isolated") &&
           is_off(dual_json_get(step, "invert")) &&
           string_is(dual_json_get(dual_json_get(step, "pattern"), "Regex"), qwen3_pattern);
}

static int read_family(loader *l, dual_json root) {
    static const char *const unknown[] = {
        "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
        "ignore_merges"
    };
    bpe *b = l->b;
    const dual_json normalizer = dual_json_get(root, "normalizer");
    const dual_json model = dual_json_get(root, "model"), type = dual_json_get(model, "type");
    const dual_json cut = dual_json_get(root, "pre_tokenizer");
    const dual_json steps = dual_json_get(cut, "pretokenizers");
    dual_json none, step = {NULL, NULL};
    if (dual_json_type(type) && !string_is(type, "BPE"))
        return refused(l, "the model's type is not BPE");
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (!is_off(dual_json_get(model, unknown[i])))
            return refused(l, "the model has %s, which GPT-2 and Qwen-3 do not use", unknown[i]);
    b->nfc = string_is(dual_json_get(normalizer, "type"), "NFC");
    if (!b->nfc && !is_off(normalizer))
        return refused(l, "the normalizer is neither null nor NFC");
    dual_json last = cut;                /* the ByteLevel, alone or behind the Split */
    while (dual_json_each(steps, &none, &step)) last = step;
    if (is_true(last, "add_prefix_space"))
        return refused(l, "the pre_tokenizer has add_prefix_space, which GPT-2 and Qwen-3 do not "
                       "use");
    step.begin = NULL;
    b->family = BPE_GPT2;
    if (is_byte_level(cut, 1)) return 1;
    b->family = BPE_QWEN3;
    if (string_is(dual_json_get(cut, "type"), "Sequence") &&
        dual_json_each(steps, &none, &step) && is_qwen3_split(step) &&
        dual_json_each(steps, &none, &step) && is_byte_level(step, 0) &&
        !dual_json_each(steps, &none, &step))
        return 1;
    return refused(l, "the pre_tokenizer is neither GPT-2's nor Qwen-3's");
}

/* A file of the folder, whose text is kept for bpe_copy. NULL: failed. */
static const kept *read_file(loader *l, const char *name) {
    char path[PATH_ROOM + 40];
    kept *file = l->b->file;
    while (file->name) file++;
    file->name = l->file = name;
    snprintf(path, sizeof path, "%s/%s", l->b->folder, name);
    file->text = data_read(path, &file->length, l->error, l->size);
    return file->text ? file : NULL;
}

static int make_pool(loader *l, size_t bytes) {
    l->b->pool = malloc(bytes);
    return l->b->pool || refused(l, "out of memory");
}

/* The JSON object that a file is. Absent: failed. */
static dual_json read_object(loader *l, const char *name) {
    dual_json root = {NULL, NULL};
    const kept *file = read_file(l, name);
    if (!file) return root;
    root = dual_json_text(file->text, file->length);
    if (dual_json_type(root) == '{') return root;
    refused(l, "no JSON object, or one that is broken off");
    root.begin = NULL;
    return root;
}

static size_t bytes_of(dual_json value) { return (size_t)(value.end - value.begin); }

/* ---- What stands beside ---------------------------------------------------------------------
 * tokenizer_config.json; and where that has no list of added tokens, as in older folders,
 * added_tokens.json, with special_tokens_map.json to say which of them are special. */

typedef struct { dual_json config, added, special; } beside;     /* absent: no such file */

/* 1: it is not there, or read. */
static int read_if_there(loader *l, const char *name, dual_json *object) {
    if (!data_has(l->b->folder, name)) return 1;
    *object = read_object(l, name);
    return object->begin != NULL;
}

static int read_beside(loader *l, beside *files) {
    static const char *const unknown[] = {"add_prefix_space", "split_special_tokens"};
    memset(files, 0, sizeof *files);
    if (!read_if_there(l, "tokenizer_config.json", &files->config)) return 0;
    for (int i = 0; i < 2; i++)
        if (is_true(files->config, unknown[i]))
            return refused(l, "it has %s, which GPT-2 and Qwen-3 do not use", unknown[i]);
    if (dual_json_get(files->config, "added_tokens_decoder").begin ||
        !data_has(l->b->folder, "added_tokens.json"))
        return 1;
    return read_if_there(l, "special_tokens_map.json", &files->special) &&
           read_if_there(l, "added_tokens.json", &files->added);
}

static size_t bytes_beside(const beside *files) {
    return bytes_of(files->config) + bytes_of(files->added) + bytes_of(files->special);
}

/* Whether the value, a text or an object with "content", is the token at the end of the pool. */
static int names_token(const loader *l, dual_json value, size_t length) {
    if (dual_json_type(value) == '{') value = dual_json_get(value, "content");
    if (dual_json_type(value) != '"') return 0;
    const char *bytes = l->b->pool + l->used;
    char *text = l->b->pool + l->used + length + 1;  /* the pool has room for both */
    return dual_json_string(value, text, bytes_of(value)) == length && !memcmp(text, bytes, length);
}

static int is_special(const loader *l, const beside *files, size_t length) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const dual_json object[2] = {files->config, files->special};
    for (int k = 0; k < 2; k++) {
        const dual_json more = dual_json_get(object[k], "additional_special_tokens");
        dual_json none, value = {NULL, NULL};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (names_token(l, dual_json_get(object[k], names[i]), length)) return 1;
        while (dual_json_each(more, &none, &value))
            if (names_token(l, value, length)) return 1;
    }
    return 0;
}

/* The added tokens of these files. In added_tokens.json they are {"token": id, ...}. */
static int read_added_beside(loader *l, const beside *files) {
    const dual_json list = dual_json_get(files->config, "added_tokens_decoder");
    dual_json key, value = {NULL, NULL};
    char number[40], *end;
    size_t length;
    if (files->config.begin) l->file = "tokenizer_config.json";
    while (dual_json_each(list, &key, &value)) {
        dual_json_string(key, number, sizeof number);
        const double id = strtod(number, &end);
        if (!read_added(l, end > number && !*end ? id : -1, value)) return 0;
    }
    if (files->added.begin) l->file = "added_tokens.json";
    value.begin = NULL;
    while (dual_json_each(files->added, &key, &value)) {
        to_pool(l, key, &length);
        if (!put_added(l, dual_json_number(value, -1), length, !is_special(l, files, length)))
            return 0;
    }
    return 1;
}

/* ---- The two forms ------------------------------------------------------------------------- */

static int load_json(loader *l) {
    beside files;
    const dual_json root = read_object(l, "tokenizer.json"), model = dual_json_get(root, "model");
    const dual_json list = dual_json_get(root, "added_tokens");
    dual_json none, object = {NULL, NULL};
    if (!root.begin || !read_beside(l, &files)) return 0;
    l->file = "tokenizer.json";
    int fine = make_pool(l, bytes_of(root) + bytes_beside(&files) + 1) && read_family(l, root) &&
               read_vocabulary(l, dual_json_get(model, "vocab")) &&
               read_json_merges(l, dual_json_get(model, "merges"));
    while (fine && dual_json_each(list, &none, &object))
        fine = read_added(l, dual_json_number(dual_json_get(object, "id"), -1), object);
    l->complete = l->b->n_added;
    return fine && read_added_beside(l, &files);
}

/* The family as tokenizer_config.json has it, or else as bpe.h says. */
static int read_class(loader *l, dual_json config) {
    bpe *b = l->b;
    const dual_json class = dual_json_get(config, "tokenizer_class");
    char word[40];
    b->family = bpe_id(b, "<|endoftext|>") >= 0 ? BPE_GPT2 : BPE_QWEN3;
    if (dual_json_type(class) == '"') {
        dual_json_string(class, word, sizeof word);
        b->family = strncmp(word, "GPT2", 4) ? BPE_QWEN3 : BPE_GPT2;
        if (b->family == BPE_QWEN3 && strncmp(word, "Qwen", 4))
            return refused(l, "the tokenizer_class is neither GPT2.. nor Qwen..");
    }
    b->nfc = b->family == BPE_QWEN3;
    return 1;
}

/* Added tokens that no file names: the end of a text, and Qwen-3's where there is no list. */
static int put_own_added(loader *l) {
    static const char end[] = "<|endoftext|>";
    bpe *b = l->b;
    const int32_t own = bpe_id(b, end);
    if (!b->n_added && own < 0) return b->family == BPE_GPT2 || put_qwen3_added(l);
    for (size_t i = 0; i < b->n_added; i++)
        if (b->added[i].id == own) return 1;
    strcpy(b->pool + l->used, end);
    return own < 0 || put_added(l, own, strlen(end), 0);
}

static int load_pair(loader *l, const char *vocabulary, const char *merges) {
    beside files;
    const dual_json root = read_object(l, vocabulary);
    const kept *lines = NULL;
    if (!root.begin || !read_beside(l, &files)) return 0;
    l->file = vocabulary;
    int fine = make_pool(l, bytes_of(root) + bytes_beside(&files) + OWN_NAMES) &&
               read_vocabulary(l, root);
    if (fine) lines = read_file(l, merges);
    fine = lines && read_merge_lines(l, lines->text, lines->length);
    if (files.config.begin) l->file = "tokenizer_config.json";    /* what a refusal is about */
    return fine && read_class(l, files.config) && read_added_beside(l, &files) && put_own_added(l);
}

/* ---- Folders ------------------------------------------------------------------------------- */

static const char *vocabulary_in(const char *folder) {
    return data_has(folder, "vocab.json") ? "vocab.json" : "encoder.json";
}

static const char *merges_in(const char *folder) {
    return data_has(folder, "merges.txt") ? "merges.txt" : "vocab.bpe";
}

int bpe_in(const char *folder) {
    return data_has(folder, "tokenizer.json") ||
           (data_has(folder, vocabulary_in(folder)) && data_has(folder, merges_in(folder)));
}

bpe *bpe_open(const char *folder, char *error, size_t size) {
    loader l;
    int fine = 0;
    memset(&l, 0, sizeof l);
    l.error = error;
    l.size = size;
    learn_spelling(&l);
    if (strlen(folder) >= PATH_ROOM) {
        snprintf(error, size, "%.60s..: path too long", folder);
        return NULL;
    }
    bpe *b = calloc(1, sizeof *b);
    l.b = b;
    if (b) b->unicode = unicode_new();
    if (!b || !b->unicode) {
        snprintf(error, size, "%s: out of memory", folder);
        bpe_free(b);
        return NULL;
    }
    strcpy(b->folder, folder);
    if (data_has(folder, "tokenizer.json"))
        fine = load_json(&l);
    else if (bpe_in(folder))
        fine = load_pair(&l, vocabulary_in(folder), merges_in(folder));
    else
        snprintf(error, size, "%s: no tokenizer there, expected tokenizer.json, or vocab.json "
                 "(encoder.json) and merges.txt (vocab.bpe)", folder);
    if (fine) {
        b->end = bpe_id(b, "<|endoftext|>");
        fine = b->end >= 0 || refused(&l, "no token <|endoftext|>, expected one");
    }
    if (fine) return b;
    bpe_free(b);
    return NULL;
}

int bpe_copy(const bpe *b, const char *folder, char *error, size_t size) {
    char path[PATH_ROOM + 40];
    dual_ctx c;                          /* for its line about an error */
    dual_init(&c, NULL, 0);
    int fine = 1;
    for (const kept *file = b->file; fine && file < b->file + FILES_MAX && file->name; file++) {
        fine = (size_t)snprintf(path, sizeof path, "%s/%s", folder, file->name) < sizeof path ||
               dual_failed(&c, "%.60s..: path too long", folder);
        fine = fine && dual_text_save(&c, path, file->text, file->length);
    }
    if (!fine) snprintf(error, size, "%s", c.error);
    return fine;
}

void bpe_free(bpe *b) {
    if (!b) return;
    for (size_t i = 0; i < FILES_MAX; i++) free(b->file[i].text);
    for (size_t i = 0; i < b->n_added; i++) free(b->added[i].pattern);
    free(b->unicode);
    free(b->pool);
    free(b->tokens);
    free(b->token_slot);
    free(b->merges);
    free(b->merge_slot);
    free(b);
}
