/* bpe.c: the byte-level BPE of bpe.h. In the order in which a text meets it: characters and their
 * classes, NFC, pieces, merges, added tokens; then the files. Everything lives in one struct that
 * no function but the loader changes. */
#include "bpe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "unicode.h"

static int failed(char *error, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return 0;
}

/* ---- Characters ---------------------------------------------------------------------------
 * UTF-8 to code points and back, and what Unicode says of them. unicode.h holds its tables as
 * text, to be small in the source; they are unpacked once, to be plain look-ups here. A byte that
 * is no part of UTF-8 is the character BAD_BYTE + byte, which is in no table: OTHER. */

enum { OTHER, LETTER, NUMBER, SPACE };
enum { BAD_BYTE = 0x110000, CHAR_MAX_BYTES = 4 };

struct pair { uint32_t whole, first, second; };      /* second 0: a character of one other */

struct unicode {
    unsigned char kind[UNICODE_END];                 /* OTHER .. SPACE */
    unsigned char order[UNICODE_END];                /* canonical combining class, 0: a starter */
    struct pair pair[UNICODE_PAIRS];                 /* decompositions, sorted by whole */
    struct pair composite[UNICODE_PAIRS];            /* those that compose, by (first, second) */
    size_t composites;
};

struct stream { const char *const *line; const char *at; };

static uint32_t next_number(struct stream *s)
{
    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";
    uint32_t n = 0, digit;

    do {
        while (*s->at == 0)
            s->at = *++s->line;
        digit = (uint32_t)(strchr(digits, *s->at++) - digits);
        n = 32 * n + digit % 32;
    } while (digit >= 32);
    return n;
}

/* The number before, moved by a difference d that is written 2d or -2d-1. */
static uint32_t moved(uint32_t before, uint32_t written)
{
    return written % 2 ? before - written / 2 - 1 : before + written / 2;
}

static int by_whole(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    return (x->whole > y->whole) - (x->whole < y->whole);
}

static int by_parts(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

static void unicode_unpack(struct unicode *u)
{
    struct stream kinds = { unicode_classes, unicode_classes[0] };
    struct stream orders = { unicode_orders, unicode_orders[0] };
    struct stream pairs = { unicode_pairs, unicode_pairs[0] };
    struct pair p = { 0, 0, 0 };
    uint32_t c, n, i;

    for (c = 0; c < UNICODE_END; c += n) {
        const uint32_t run = next_number(&kinds);

        n = run / 4;
        memset(u->kind + c, (int)(run % 4), n);
    }
    for (c = 0; c < UNICODE_END; c += n) {
        n = next_number(&orders);
        memset(u->order + c, (int)next_number(&orders), n);
    }
    for (i = 0; i < UNICODE_PAIRS; i++) {
        const uint32_t step = next_number(&pairs);

        p.whole += step / 2;
        p.first = moved(p.first, next_number(&pairs));
        p.second = moved(p.second, next_number(&pairs));
        u->pair[i] = p;
        if (step % 2)
            u->composite[u->composites++] = p;
    }
    qsort(u->composite, u->composites, sizeof *u->composite, by_parts);
}

/* The character at `at` < end; returns how many bytes it has. Not UTF-8 (stray and missing bytes,
 * overlong forms, surrogates, beyond U+10FFFF): one byte, on its own. */
static size_t next_char(const char *at, const char *end, uint32_t *c)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)at;
    size_t n = p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0, i;
    uint32_t u = p[0] & (0x7Fu >> n);

    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    if (n > (size_t)(end - at))
        n = 0;
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            n = 0;
        else
            u = u << 6 | (p[i] & 0x3Fu);
    }
    if (n == 0 || u < least[n] || (u >= 0xD800 && u < 0xE000) || u > 0x10FFFF) {
        *c = BAD_BYTE + p[0];
        return 1;
    }
    *c = u;
    return n;
}

/* The other way; out has CHAR_MAX_BYTES. */
static size_t put_char(uint32_t c, char *out)
{
    static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    const size_t n = c < 0x80 || c >= BAD_BYTE ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    size_t i;

    for (i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n == 1 ? 0 : n] | (c & 0xFF));
    return n;
}

/* Class of the character at `at`, its bytes in *n; -1 at the end. */
static int kind_at(const struct unicode *u, const char *at, const char *end, size_t *n)
{
    uint32_t c;

    *n = 0;
    if (at == end)
        return -1;
    *n = next_char(at, end, &c);
    return c < UNICODE_END ? u->kind[c] : OTHER;
}

/* ---- NFC ----------------------------------------------------------------------------------
 * Unicode's normalisation form C: take every character apart, sort the marks behind each starter
 * by their combining class, put together what a single character exists for. Hangul syllables
 * are arithmetic (The Unicode Standard, 3.12).
 *
 * A character is held in 64 bits as class (8) | place in the text (35) | code point (21): sorting
 * the plain numbers sorts by class and keeps equal ones in their order, in n log n steps however
 * many marks someone piles up. */

enum {
    HANGUL_S = 0xAC00, HANGUL_L = 0x1100, HANGUL_V = 0x1161, HANGUL_T = 0x11A7,
    HANGUL_LS = 19, HANGUL_VS = 21, HANGUL_TS = 28, HANGUL_SS = HANGUL_LS * HANGUL_VS * HANGUL_TS,
    PARTS_MAX = 4                        /* characters in the longest full decomposition */
};

static uint32_t char_of(uint64_t held)
{
    return (uint32_t)(held & 0x1FFFFF);
}

static unsigned order_of(uint64_t held)
{
    return (unsigned)(held >> 56);
}

/* Full decomposition of c; returns its length. */
static size_t decompose(const struct unicode *u, uint32_t c, uint32_t out[PARTS_MAX])
{
    struct pair key, *found;
    size_t n;

    if (c - HANGUL_S < HANGUL_SS) {
        const uint32_t s = c - HANGUL_S;

        out[0] = HANGUL_L + s / (HANGUL_VS * HANGUL_TS);
        out[1] = HANGUL_V + s / HANGUL_TS % HANGUL_VS;
        out[2] = HANGUL_T + s % HANGUL_TS;
        return s % HANGUL_TS ? 3 : 2;
    }
    key.whole = c;
    found = bsearch(&key, u->pair, UNICODE_PAIRS, sizeof key, by_whole);
    if (!found) {
        out[0] = c;
        return 1;
    }
    n = decompose(u, found->first, out);
    if (found->second)
        out[n++] = found->second;
    return n;
}

/* The one character for two, or 0. */
static uint32_t compose(const struct unicode *u, uint32_t first, uint32_t second)
{
    struct pair key, *found;

    if (first - HANGUL_L < HANGUL_LS && second - HANGUL_V < HANGUL_VS)
        return HANGUL_S + ((first - HANGUL_L) * HANGUL_VS + second - HANGUL_V) * HANGUL_TS;
    if (first - HANGUL_S < HANGUL_SS && (first - HANGUL_S) % HANGUL_TS == 0
        && second - HANGUL_T - 1 < HANGUL_TS - 1)
        return first + second - HANGUL_T;
    key.first = first;
    key.second = second;
    found = bsearch(&key, u->composite, u->composites, sizeof key, by_parts);
    return found ? found->whole : 0;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Marks behind one starter, from i on, into their canonical order; returns the next starter. */
static size_t sort_marks(uint64_t *text, size_t n, size_t i)
{
    size_t from = i, sorted = 1;

    for (; i < n && order_of(text[i]); i++)
        sorted &= i == from || text[i - 1] < text[i];
    if (!sorted)
        qsort(text + from, i - from, sizeof *text, by_value);
    return i;
}

/* Puts together what can be, in place; returns the new length. A mark joins the last starter
 * unless another of the same or a higher class stands between them. */
static size_t compose_all(const struct unicode *u, uint64_t *text, size_t n)
{
    size_t starter = SIZE_MAX, kept = 0, i;

    for (i = 0; i < n; i++) {
        if (starter != SIZE_MAX
            && (kept == starter + 1 || order_of(text[kept - 1]) < order_of(text[i]))) {
            const uint32_t whole = compose(u, char_of(text[starter]), char_of(text[i]));

            if (whole) {
                text[starter] = whole;
                continue;
            }
        }
        if (order_of(text[i]) == 0)
            starter = kept;
        text[kept++] = text[i];
    }
    return kept;
}

/* The text in NFC, malloc'ed; NULL: out of memory. */
static char *nfc(const struct unicode *u, const char *text, size_t length, size_t *out_length)
{
    const char *at = text, *end = text + length;
    uint64_t *held = NULL;
    size_t n = 0, room = 0, bytes = 0, i, k;
    char *out, unused[CHAR_MAX_BYTES];

    while (at < end) {
        uint32_t c, part[PARTS_MAX];
        size_t parts;

        if (n + PARTS_MAX > room) {
            const size_t more = room ? 2 * room : length + PARTS_MAX;
            uint64_t *grown = more > room && more < SIZE_MAX / sizeof *held
                              ? realloc(held, more * sizeof *held) : NULL;

            if (!grown) {
                free(held);
                return NULL;
            }
            held = grown;
            room = more;
        }
        at += next_char(at, end, &c);
        parts = decompose(u, c, part);
        for (k = 0; k < parts; k++, n++) {
            const unsigned order = part[k] < UNICODE_END ? u->order[part[k]] : 0;

            held[n] = (uint64_t)order << 56 | (uint64_t)n << 21 | part[k];
        }
    }
    for (i = 0; i < n; i++)
        i = sort_marks(held, n, i);
    n = compose_all(u, held, n);
    for (i = 0; i < n; i++)
        bytes += put_char(char_of(held[i]), unused);
    out = malloc(bytes + 1);
    for (bytes = 0, i = 0; out && i < n; i++)
        bytes += put_char(char_of(held[i]), out + bytes);
    free(held);
    *out_length = bytes;
    return out;
}

/* Characters below U+0300 are in NFC however they stand; in UTF-8 they are bytes below 0xCC. */
static int may_need_nfc(const char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0xCC)
            return 1;
    return 0;
}

/* ---- Pieces -------------------------------------------------------------------------------
 * The two patterns of bpe.h, alternative by alternative. Each function returns the end of the
 * piece that starts at `at` < end, always beyond it. */

/* Behind the characters of one class; *last, unless NULL, is where the last of them starts. */
static const char *run_end(const struct unicode *u, const char *at, const char *end, int kind,
                           const char **last)
{
    size_t n;

    while (kind_at(u, at, end, &n) == kind) {
        if (last)
            *last = at;
        at += n;
    }
    return at;
}

/* Bytes of 's 't 'm 'd 're 've 'll at `at`, or 0. */
static size_t contraction(const char *at, const char *end, int any_case)
{
    char next[2] = { 0, 0 };
    size_t i;

    for (i = 0; i < 2 && (size_t)(end - at) > i + 1; i++) {
        next[i] = at[i + 1];
        if (any_case && next[i] >= 'A' && next[i] <= 'Z')
            next[i] = (char)(next[i] + 'a' - 'A');
    }
    if (*at != '\'' || !next[0])
        return 0;
    if (strchr("stmd", next[0]))
        return 2;
    if ((next[1] == 'e' && (next[0] == 'r' || next[0] == 'v'))
        || (next[0] == 'l' && next[1] == 'l'))
        return 3;
    return any_case && next[0] == '\xC5' && next[1] == '\xBF' ? 3 : 0;     /* U+017F, long s */
}

/* \s+(?!\S)|\s+: white space up to the end of the text; before something else its last character
 * is left to that, if it is not the only one. */
static const char *space_end(const struct unicode *u, const char *at, const char *end)
{
    const char *last = at, *to = run_end(u, at, end, SPACE, &last);

    return to == end || last == at ? to : last;
}

static const char *gpt2_piece(const struct unicode *u, const char *at, const char *end)
{
    size_t n = contraction(at, end, 0);
    const char *from = at;
    int kind;

    if (n)
        return at + n;
    if (*at == ' ')                                  /* ` ?` of the three alternatives */
        from++;
    kind = kind_at(u, from, end, &n);
    if (kind < 0 || kind == SPACE)
        kind = kind_at(u, from = at, end, &n);
    return kind == SPACE ? space_end(u, at, end) : run_end(u, from, end, kind, NULL);
}

static const char *qwen3_piece(const struct unicode *u, const char *at, const char *end)
{
    size_t n = contraction(at, end, 1), unused;
    const char *to;
    int kind, next;

    if (n)
        return at + n;
    kind = kind_at(u, at, end, &n);
    next = kind_at(u, at + n, end, &unused);
    if (kind == LETTER)                              /* [^\r\n\p{L}\p{N}]?\p{L}+ */
        return run_end(u, at, end, LETTER, NULL);
    if (next == LETTER && kind != NUMBER && *at != '\r' && *at != '\n')
        return run_end(u, at + n, end, LETTER, NULL);
    if (kind == NUMBER)                              /* \p{N} */
        return at + n;
    if (kind == OTHER || (*at == ' ' && next == OTHER)) {
        to = run_end(u, kind == OTHER ? at : at + 1, end, OTHER, NULL);
        while (to < end && (*to == '\r' || *to == '\n'))
            to++;                                    /*  ?[^\s\p{L}\p{N}]+[\r\n]* */
        return to;
    }
    to = run_end(u, at, end, SPACE, NULL);           /* \s*[\r\n]+: up to the last line break */
    for (; to > at; to--)
        if (to[-1] == '\r' || to[-1] == '\n')
            return to;
    return space_end(u, at, end);
}

/* ---- Tokens and merges --------------------------------------------------------------------
 * The tokens' bytes lie in one pool; two hash tables (open addressing, at most half full) lead
 * from bytes to a token's id and from two ids to their merge. */

enum { IDS_MAX = 1000000, ADDED_MAX = 4096, FILES_MAX = 3, PATH_ROOM = 1024 };
#define NONE UINT32_MAX

struct token { const char *bytes; size_t length; };  /* bytes NULL: no such id */
struct merge { int32_t left, right, to; };           /* its index is its rank: low ones go first */

struct bpe {
    bpe_family family;
    int nfc;
    struct unicode unicode;
    char *pool;
    struct token *token;                 /* [size] */
    size_t size;
    int32_t *token_slot;                 /* [token_slots], a power of two: id, or -1 for free */
    size_t token_slots;
    struct merge *merge;                 /* [merges] */
    size_t merges;
    uint32_t *merge_slot;                /* [merge_slots], a power of two: rank, or NONE */
    size_t merge_slots;
    int32_t byte[256];                   /* ids of the single bytes */
    int32_t added[ADDED_MAX];            /* ids of the added tokens */
    size_t n_added;
    unsigned char starts[256];           /* 1: an added token starts with this byte */
    int32_t end;
    char folder[PATH_ROOM];              /* and the files in it that were read */
    const char *file[FILES_MAX];
};

/* The slot that holds these bytes, or the free one where they would go. */
static size_t token_slot(const bpe *b, const char *bytes, size_t length)
{
    uint32_t hash = 2166136261u;                     /* FNV-1a */
    size_t i;

    for (i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    i = hash & (b->token_slots - 1);
    for (; b->token_slot[i] >= 0; i = (i + 1) & (b->token_slots - 1)) {
        const struct token *t = &b->token[b->token_slot[i]];

        if (t->length == length && memcmp(t->bytes, bytes, length) == 0)
            break;
    }
    return i;
}

static size_t merge_slot(const bpe *b, int32_t left, int32_t right)
{
    const uint64_t key = (uint64_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & (b->merge_slots - 1);

    for (; b->merge_slot[i] != NONE; i = (i + 1) & (b->merge_slots - 1)) {
        const struct merge *m = &b->merge[b->merge_slot[i]];

        if (m->left == left && m->right == right)
            break;
    }
    return i;
}

/* ---- One piece ----------------------------------------------------------------------------
 * Its tokens are a linked list, at first one for each byte. A heap holds every pair that has a
 * merge as rank << 32 | place, so that the lowest number is the merge to do: lowest rank, leftmost
 * among equals. Pairs that a merge has changed stay in the heap and are passed over when they
 * come up. A piece of n bytes makes n - 1 merges at most and takes n log n steps. */

struct node { int32_t id; uint32_t before, after, rank; };    /* rank: of the pair with `after` */

struct work {                            /* grows to the longest piece met */
    struct node *node;
    uint64_t *heap;
    size_t room, heaped;
};

static int work_for(struct work *w, size_t n)
{
    if (n > w->room) {
        const size_t room = n > 256 ? 2 * n : 256;

        if (n > NONE / 4)
            return 0;
        free(w->node);
        free(w->heap);
        w->node = malloc(room * sizeof *w->node);
        w->heap = malloc(3 * room * sizeof *w->heap);     /* n - 1 pairs, two more per merge */
        w->room = w->node && w->heap ? room : 0;
    }
    return w->room != 0;
}

static void heap_push(struct work *w, uint64_t x)
{
    size_t i = w->heaped++;

    for (; i > 0 && w->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = x;
}

static uint64_t heap_pop(struct work *w)
{
    const uint64_t top = w->heap[0], x = w->heap[--w->heaped];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < w->heaped) {
        if (child + 1 < w->heaped && w->heap[child + 1] < w->heap[child])
            child++;
        if (w->heap[child] >= x)
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = x;
    return top;
}

/* Looks up the pair that starts at node i. */
static void rank_pair(const bpe *b, struct work *w, uint32_t i)
{
    struct node *node = &w->node[i];

    node->rank = NONE;
    if (node->after != NONE)
        node->rank = b->merge_slot[merge_slot(b, node->id, w->node[node->after].id)];
    if (node->rank != NONE)
        heap_push(w, (uint64_t)node->rank << 32 | i);
}

struct ids { int32_t *id; size_t max, n; };

static void put_id(struct ids *out, int32_t id)
{
    if (out->n < out->max)
        out->id[out->n] = id;
    out->n++;
}

/* 0: out of memory. */
static int encode_piece(const bpe *b, struct work *w, const char *piece, size_t length,
                        struct ids *out)
{
    const uint32_t n = (uint32_t)length;
    uint32_t i;

    if (!work_for(w, length))
        return 0;
    for (i = 0; i < n; i++) {
        w->node[i].id = b->byte[(unsigned char)piece[i]];
        w->node[i].before = i ? i - 1 : NONE;
        w->node[i].after = i + 1 < n ? i + 1 : NONE;
    }
    w->heaped = 0;
    for (i = 0; i < n; i++)
        rank_pair(b, w, i);
    while (w->heaped) {
        const uint64_t top = heap_pop(w);
        const uint32_t rank = (uint32_t)(top >> 32), at = (uint32_t)top;
        struct node *left = &w->node[at];

        if (left->rank != rank)
            continue;
        w->node[left->after].rank = NONE;            /* swallowed: no pair starts there any more */
        left->id = b->merge[rank].to;
        left->after = w->node[left->after].after;
        if (left->after != NONE)
            w->node[left->after].before = at;
        rank_pair(b, w, at);
        if (left->before != NONE)
            rank_pair(b, w, left->before);
    }
    for (i = 0; i != NONE; i = w->node[i].after)
        put_id(out, w->node[i].id);
    return 1;
}

/* ---- A text -------------------------------------------------------------------------------
 * Added tokens are looked for in the text as it came, before NFC. */

/* Text without added tokens. 0: out of memory. */
static int encode_plain(const bpe *b, struct work *w, const char *text, size_t length,
                        struct ids *out)
{
    char *normal = NULL;
    const char *at, *end;
    int fine = 1;

    if (b->nfc && may_need_nfc(text, length)) {
        normal = nfc(&b->unicode, text, length, &length);
        if (!normal)
            return 0;
        text = normal;
    }
    for (at = text; fine && at < text + length; at = end) {
        end = b->family == BPE_GPT2 ? gpt2_piece(&b->unicode, at, text + length)
                                    : qwen3_piece(&b->unicode, at, text + length);
        fine = encode_piece(b, w, at, (size_t)(end - at), out);
    }
    free(normal);
    return fine;
}

/* Id of the longest added token at `at`, or -1. */
static int32_t added_at(const bpe *b, const char *at, const char *end)
{
    int32_t best = -1;
    size_t i;

    if (!b->starts[(unsigned char)*at])
        return -1;
    for (i = 0; i < b->n_added; i++) {
        const struct token *t = &b->token[b->added[i]];

        if (t->length <= (size_t)(end - at) && memcmp(t->bytes, at, t->length) == 0
            && (best < 0 || t->length > b->token[best].length))
            best = b->added[i];
    }
    return best;
}

size_t bpe_encode(const bpe *b, const char *text, size_t length, int added, int32_t *ids,
                  size_t max, char *error, size_t size)
{
    const char *end = text + length, *from = text, *at;
    struct ids out = { NULL, 0, 0 };
    struct work w = { NULL, NULL, 0, 0 };
    int fine = 1;

    out.id = ids;
    out.max = max;
    for (at = text; fine && added && at < end; ) {
        const int32_t id = added_at(b, at, end);

        if (id < 0) {
            at++;
            continue;
        }
        fine = encode_plain(b, &w, from, (size_t)(at - from), &out);
        put_id(&out, id);
        from = at += b->token[id].length;
    }
    fine = fine && encode_plain(b, &w, from, (size_t)(end - from), &out);
    free(w.node);
    free(w.heap);
    if (!fine) {
        failed(error, size, "out of memory for a text of %lu bytes", (unsigned long)length);
        return (size_t)-1;
    }
    return out.n;
}

size_t bpe_decode(const bpe *b, const int32_t *ids, size_t n, char *out, size_t size)
{
    size_t used = 0, i, k;

    for (i = 0; i < n; i++) {
        size_t length = 3;
        const char *bytes = bpe_token(b, ids[i], &length);

        if (!bytes)
            bytes = "<?>";
        for (k = 0; k < length; k++, used++)
            if (used + 1 < size)
                out[used] = bytes[k];
    }
    if (size > 0)
        out[used < size ? used : size - 1] = 0;
    return used;
}

bpe_family bpe_family_of(const bpe *b)
{
    return b->family;
}

size_t bpe_size(const bpe *b)
{
    return b->size;
}

int32_t bpe_end(const bpe *b)
{
    return b->end;
}

const char *bpe_token(const bpe *b, int32_t id, size_t *length)
{
    if (id < 0 || (size_t)id >= b->size || !b->token[id].bytes)
        return NULL;
    if (length)
        *length = b->token[id].length;
    return b->token[id].bytes;
}

int32_t bpe_id(const bpe *b, const char *token)
{
    const size_t length = strlen(token);
    size_t i;

    for (i = 0; i < b->n_added; i++) {
        const struct token *t = &b->token[b->added[i]];

        if (t->length == length && memcmp(t->bytes, token, length) == 0)
            return b->added[i];
    }
    return b->token_slot[token_slot(b, token, length)];
}

/* ---- Reading a vocabulary -----------------------------------------------------------------
 * Files spell a byte as a visible character: itself where it is one, else U+0100 and on. */

struct loader {
    bpe *b;
    const char *file;                    /* the one being read, for messages */
    char *error;
    size_t size;
    size_t used, token_room;             /* of the pool and of the token table */
    int16_t byte_of[0x144];              /* by code point: the byte it stands for, or -1 */
};

/* One line: where, what. Returns 0. */
static int refused(struct loader *l, const char *format, ...)
{
    char what[200];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return failed(l->error, l->size, "%s/%s: %s", l->b->folder, l->file, what);
}

static void spell_bytes(struct loader *l)
{
    int next = 0x100, i;

    memset(l->byte_of, -1, sizeof l->byte_of);
    for (i = 0; i < 256; i++) {
        const int visible = (i > 32 && i < 127) || (i > 160 && i != 173);

        l->byte_of[visible ? i : next++] = (int16_t)i;
    }
}

/* Turns spelled bytes into themselves, in place; returns how many, or SIZE_MAX: not so spelled. */
static size_t unspell(const struct loader *l, char *text, size_t length)
{
    const char *at = text, *end = text + length;
    size_t n = 0;
    uint32_t c;

    while (at < end) {
        at += next_char(at, end, &c);
        if (c >= 0x144 || l->byte_of[c] < 0)
            return SIZE_MAX;
        text[n++] = (char)l->byte_of[c];
    }
    return n;
}

/* Any bytes as messages show them: one line. */
static const char *shown(const char *bytes, size_t length, char out[41])
{
    size_t i;

    for (i = 0; i < length && i < 40; i++)
        out[i] = (unsigned char)bytes[i] < 32 || (unsigned char)bytes[i] == 127 ? '?' : bytes[i];
    out[i] = 0;
    return out;
}

/* A JSON string at the end of the pool, which has room for all strings of the files. */
static char *pool_string(struct loader *l, dual_json string, size_t *length)
{
    char *at = l->b->pool + l->used;

    *length = dual_json_string(string, at, (size_t)(string.end - string.begin));
    return at;
}

/* Makes the `length` bytes at the end of the pool the token `id`. */
static int put_token(struct loader *l, double id, size_t length)
{
    bpe *b = l->b;
    char *bytes = b->pool + l->used, name[41];

    if (!(id >= 0 && id < IDS_MAX && id == (double)(int32_t)id))
        return refused(l, "the id of \"%s\" is no whole number below %d",
                       shown(bytes, length, name), IDS_MAX);
    if ((size_t)id >= l->token_room) {
        const size_t room = 2 * (size_t)id + 1024;
        struct token *grown = realloc(b->token, room * sizeof *grown);

        if (!grown)
            return refused(l, "out of memory");
        memset(grown + l->token_room, 0, (room - l->token_room) * sizeof *grown);
        b->token = grown;
        l->token_room = room;
    }
    if (b->token[(size_t)id].bytes)
        return refused(l, "id %.0f is there twice, the second time for \"%s\"", id,
                       shown(bytes, length, name));
    b->token[(size_t)id].bytes = bytes;
    b->token[(size_t)id].length = length;
    bytes[length] = 0;
    l->used += length + 1;
    if ((size_t)id >= b->size)
        b->size = (size_t)id + 1;
    return 1;
}

/* {"token": id, ...} */
static int read_vocabulary(struct loader *l, dual_json object)
{
    bpe *b = l->b;
    dual_json key, value = { NULL, NULL };
    size_t n = 0, i;
    char byte, name[41];

    if (dual_json_type(object) != '{')
        return refused(l, "no vocabulary, expected an object of tokens and their ids");
    while (dual_json_each(object, &key, &value))
        n++;
    if (n > IDS_MAX)
        return refused(l, "%lu tokens, expected at most %d", (unsigned long)n, IDS_MAX);
    for (b->token_slots = 2; b->token_slots < 2 * n; )
        b->token_slots *= 2;
    b->token_slot = malloc(b->token_slots * sizeof *b->token_slot);
    if (!b->token_slot)
        return refused(l, "out of memory for %lu tokens", (unsigned long)n);
    for (i = 0; i < b->token_slots; i++)
        b->token_slot[i] = -1;

    value.begin = NULL;
    while (dual_json_each(object, &key, &value)) {
        const double id = dual_json_number(value, -1);
        size_t length, slot;
        char *text = pool_string(l, key, &length);

        length = unspell(l, text, length);
        if (length == SIZE_MAX || length == 0)
            return refused(l, "%.*s is not a token of bytes, expected only the characters that "
                           "stand for one", (int)(key.end - key.begin < 60 ? key.end - key.begin
                                                  : 60), key.begin);
        slot = token_slot(b, text, length);
        if (b->token_slot[slot] >= 0)
            return refused(l, "\"%s\" is there twice", shown(text, length, name));
        if (!put_token(l, id, length))
            return 0;
        b->token_slot[slot] = (int32_t)id;
    }
    for (i = 0; i < 256; i++) {
        byte = (char)i;
        b->byte[i] = b->token_slot[token_slot(b, &byte, 1)];
        if (b->byte[i] < 0)
            return refused(l, "no token for byte %lu, expected one for each of the 256",
                           (unsigned long)i);
    }
    return 1;
}

static int start_merges(struct loader *l, size_t n)
{
    bpe *b = l->b;
    size_t i;

    if (n > IDS_MAX)
        return refused(l, "%lu merges, expected at most %d", (unsigned long)n, IDS_MAX);
    for (b->merge_slots = 2; b->merge_slots < 2 * n; )
        b->merge_slots *= 2;
    b->merge = malloc((n + 1) * sizeof *b->merge);
    b->merge_slot = malloc(b->merge_slots * sizeof *b->merge_slot);
    if (!b->merge || !b->merge_slot)
        return refused(l, "out of memory for %lu merges", (unsigned long)n);
    for (i = 0; i < b->merge_slots; i++)
        b->merge_slot[i] = NONE;
    return 1;
}

/* The next merge, spelled as the file has it: text[0..left) and text[left+1..length), which is
 * overwritten. place: its line or number, for messages. */
static int read_merge(struct loader *l, char *text, size_t left, size_t length, size_t place)
{
    bpe *b = l->b;
    char name[41];
    const char *part[3];
    size_t bytes[3], i, slot;
    struct merge m;
    int32_t *id[3] = { &m.left, &m.right, &m.to };

    shown(text, length, name);
    part[0] = part[2] = text;
    part[1] = text + left + 1;
    bytes[0] = unspell(l, text, left);
    bytes[1] = left < length ? unspell(l, text + left + 1, length - left - 1) : SIZE_MAX;
    if (bytes[0] == SIZE_MAX || bytes[1] == SIZE_MAX || !bytes[0] || !bytes[1])
        return refused(l, "merge %lu: \"%s\", expected two tokens with one blank between them",
                       (unsigned long)place, name);
    for (i = 0; i < 3; i++) {
        if (i == 2) {                                /* both in one */
            memmove(text + bytes[0], part[1], bytes[1]);
            bytes[2] = bytes[0] + bytes[1];
        }
        *id[i] = b->token_slot[token_slot(b, part[i], bytes[i])];
        if (*id[i] < 0)
            return refused(l, "merge %lu: \"%s\", but its %s is no token of the vocabulary",
                           (unsigned long)place, name,
                           i == 0 ? "left part" : i == 1 ? "right part" : "result");
    }
    slot = merge_slot(b, m.left, m.right);
    if (b->merge_slot[slot] != NONE)
        return refused(l, "merge %lu: \"%s\" is there twice", (unsigned long)place, name);
    b->merge_slot[slot] = (uint32_t)b->merges;
    b->merge[b->merges++] = m;
    return 1;
}

/* "a b" or ["a", "b"]; text: room for the longer of the array's strings. */
static int read_json_merge(struct loader *l, dual_json merge, char *text, size_t place)
{
    dual_json none, part = { NULL, NULL };
    size_t length = 0, left = 0, n = 0;

    if (dual_json_type(merge) == '"') {
        length = dual_json_string(merge, text, (size_t)(merge.end - merge.begin));
        left = strcspn(text, " ");
        return read_merge(l, text, left < length ? left : length, length, place);
    }
    while (dual_json_each(merge, &none, &part)) {
        if (dual_json_type(part) != '"' || n++ == 2)
            return refused(l, "merge %lu: expected [\"left\", \"right\"]", (unsigned long)place);
        if (n == 2) {
            left = length;
            text[length++] = ' ';
        }
        length += dual_json_string(part, text + length, (size_t)(part.end - part.begin));
    }
    if (n != 2)
        return refused(l, "merge %lu: expected \"left right\" or [\"left\", \"right\"]",
                       (unsigned long)place);
    return read_merge(l, text, left, length, place);
}

static int read_json_merges(struct loader *l, dual_json array)
{
    dual_json none, value = { NULL, NULL };
    size_t n = 0, i, longest = 0;
    char *text;
    int fine;

    if (dual_json_type(array) != '[')
        return refused(l, "no merges, expected an array of them");
    for (; dual_json_each(array, &none, &value); n++)
        if ((size_t)(value.end - value.begin) > longest)
            longest = (size_t)(value.end - value.begin);
    text = malloc(longest + 1);
    fine = text ? start_merges(l, n) : refused(l, "out of memory");
    value.begin = NULL;
    for (i = 1; fine && dual_json_each(array, &none, &value); i++)
        fine = read_json_merge(l, value, text, i);
    free(text);
    return fine;
}

/* merges.txt: one merge a line. Later lines that start with # are merges too: `# #`. */
static int read_merge_lines(struct loader *l, char *text, size_t length)
{
    char *at, *next;
    size_t n = 1, line = 1;

    for (at = text; at < text + length; at++)
        n += *at == '\n';
    if (!start_merges(l, n))
        return 0;
    for (at = text; at < text + length; at = next, line++) {
        char *end = at + strcspn(at, "\n");

        next = *end ? end + 1 : end;
        if (end > at && end[-1] == '\r')
            end--;
        *end = 0;
        if (end == at || (line == 1 && strncmp(at, "#version", 8) == 0))
            continue;
        if (!read_merge(l, at, strcspn(at, " "), (size_t)(end - at), line))
            return 0;
    }
    return 1;
}

/* ---- Added tokens ------------------------------------------------------------------------- */

/* The token of `length` bytes at the end of the pool. */
static int put_added(struct loader *l, double id, size_t length)
{
    bpe *b = l->b;
    char *bytes = b->pool + l->used, name[41];
    const int32_t known = b->token_slot[token_slot(b, bytes, length)];
    size_t i;

    if (length == 0)
        return refused(l, "an added token is empty");
    if (b->n_added == ADDED_MAX)
        return refused(l, "more than %d added tokens", ADDED_MAX);
    for (i = 0; i < b->n_added; i++)
        if (b->token[b->added[i]].length == length
            && memcmp(b->token[b->added[i]].bytes, bytes, length) == 0)
            return refused(l, "the added token \"%s\" is there twice", shown(bytes, length, name));
    b->starts[(unsigned char)*bytes] = 1;
    if (known >= 0 && (double)known != id)
        return refused(l, "the added token \"%s\" has id %.0f, but %ld in the vocabulary",
                       shown(bytes, length, name), id, (long)known);
    if (known < 0 && !put_token(l, id, length))
        return 0;
    b->added[b->n_added++] = (int32_t)id;
    return 1;
}

static int read_added(struct loader *l, double id, dual_json token)
{
    static const char *const unknown[] = { "lstrip", "rstrip", "single_word" };
    dual_json content = dual_json_get(token, "content");
    size_t length, i;
    char name[41];

    if (dual_json_type(content) != '"')
        return refused(l, "an added token without its content");
    pool_string(l, content, &length);
    for (i = 0; i < 3; i++)
        if (dual_json_type(dual_json_get(token, unknown[i])) == 't')
            return refused(l, "the added token \"%s\" has %s, which GPT-2 and Qwen-3 do not use",
                           shown(l->b->pool + l->used, length, name), unknown[i]);
    return put_added(l, id, length);
}

/* Qwen-3's own, for a vocabulary that comes without any list. */
static int put_qwen3_added(struct loader *l)
{
    static const char *const names[] = {
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
        "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
        "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
        "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
        "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
        "<think>", "</think>"
    };
    size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++) {
        strcpy(l->b->pool + l->used, names[i]);
        if (!put_added(l, (double)l->b->size, strlen(names[i])))
            return 0;
    }
    return 1;
}

/* ---- Folders ------------------------------------------------------------------------------ */

enum { OWN_NAMES = 1024 };               /* room for the names of put_qwen3_added */

static const char qwen3_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* 1: a JSON string with this text. */
static int string_is(dual_json string, const char *text)
{
    char value[sizeof qwen3_pattern + 1];

    return dual_json_type(string) == '"'
           && dual_json_string(string, value, sizeof value) < sizeof value
           && strcmp(value, text) == 0;
}

/* 1: nothing is asked for: absent, null, false, "" or 0. */
static int is_off(dual_json value)
{
    const int type = dual_json_type(value);

    return type == 0 || type == 'n' || type == 'f' || string_is(value, "")
           || (type == '0' && dual_json_number(value, 1) == 0);
}

static int byte_level(dual_json step, int with_pattern)
{
    dual_json pattern = dual_json_get(step, "use_regex");      /* absent: true */

    return string_is(dual_json_get(step, "type"), "ByteLevel")
           && is_off(dual_json_get(step, "add_prefix_space"))
           && (dual_json_type(pattern) != 'f') == with_pattern;
}

/* Family and normaliser from tokenizer.json. */
static int read_family(struct loader *l, dual_json root)
{
    static const char *const unknown[] = {
        "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
        "ignore_merges"
    };
    bpe *b = l->b;
    dual_json normalizer = dual_json_get(root, "normalizer"), model = dual_json_get(root, "model");
    dual_json before = dual_json_get(root, "pre_tokenizer"), type = dual_json_get(model, "type");
    dual_json steps = dual_json_get(before, "pretokenizers"), none, first = { NULL, NULL }, second;
    size_t i;

    if (dual_json_type(type) && !string_is(type, "BPE"))
        return refused(l, "the model's type is not BPE");
    for (i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (!is_off(dual_json_get(model, unknown[i])))
            return refused(l, "the model has %s, which GPT-2 and Qwen-3 do not use", unknown[i]);
    b->nfc = string_is(dual_json_get(normalizer, "type"), "NFC");
    if (!b->nfc && !is_off(normalizer))
        return refused(l, "the normalizer is neither null nor NFC");
    b->family = BPE_GPT2;
    if (byte_level(before, 1))
        return 1;
    b->family = BPE_QWEN3;
    if (string_is(dual_json_get(before, "type"), "Sequence")
        && dual_json_each(steps, &none, &first)
        && string_is(dual_json_get(first, "type"), "Split")
        && string_is(dual_json_get(first, "behavior"), "Isolated")
        && is_off(dual_json_get(first, "invert"))
        && string_is(dual_json_get(dual_json_get(first, "pattern"), "Regex"), qwen3_pattern)) {
        second = first;
        if (dual_json_each(steps, &none, &second) && byte_level(second, 0)
            && !dual_json_each(steps, &none, &second))
            return 1;
    }
    return refused(l, "the pre_tokenizer is neither GPT-2's nor Qwen-3's");
}

/* A file of the folder, its name kept for bpe_copy. NULL: failed. */
static char *read_file(struct loader *l, const char *name, size_t *length)
{
    bpe *b = l->b;
    char path[PATH_ROOM + 40];
    size_t i = 0;

    while (b->file[i])
        i++;
    b->file[i] = l->file = name;
    snprintf(path, sizeof path, "%s/%s", b->folder, name);
    return data_read(path, length, l->error, l->size);
}

static int make_pool(struct loader *l, size_t bytes)
{
    l->b->pool = malloc(bytes);
    return l->b->pool || refused(l, "out of memory");
}

static int load_json(struct loader *l)
{
    size_t length;
    char *text = read_file(l, "tokenizer.json", &length);
    dual_json root, none, token = { NULL, NULL }, model, list;
    int fine;

    if (!text)
        return 0;
    root = dual_json_text(text, length);
    model = dual_json_get(root, "model");
    list = dual_json_get(root, "added_tokens");
    fine = dual_json_type(root) == '{' || refused(l, "not a JSON object, or broken off");
    fine = fine && make_pool(l, length + 1) && read_family(l, root)
           && read_vocabulary(l, dual_json_get(model, "vocab"))
           && read_json_merges(l, dual_json_get(model, "merges"));
    while (fine && dual_json_each(list, &none, &token))
        fine = read_added(l, dual_json_number(dual_json_get(token, "id"), -1), token);
    free(text);
    return fine;
}

/* tokenizer_config.json, where there is one: family and added tokens, if it tells them. */
static int read_config(struct loader *l, dual_json root)
{
    dual_json name = dual_json_get(root, "tokenizer_class"), key, token = { NULL, NULL };
    dual_json list = dual_json_get(root, "added_tokens_decoder");
    bpe *b = l->b;
    char word[40], *end;

    dual_json_string(name, word, sizeof word);
    b->family = bpe_id(b, "<|endoftext|>") >= 0 ? BPE_GPT2 : BPE_QWEN3;
    if (dual_json_type(name) == '"') {
        b->family = strncmp(word, "Qwen", 4) == 0 ? BPE_QWEN3 : BPE_GPT2;
        if (b->family == BPE_GPT2 && strncmp(word, "GPT2", 4) != 0)
            return refused(l, "tokenizer_class \"%s\" is neither GPT2.. nor Qwen..",
                           word);
    }
    b->nfc = b->family == BPE_QWEN3;
    while (dual_json_each(list, &key, &token)) {
        double id;

        dual_json_string(key, word, sizeof word);
        id = strtod(word, &end);
        if (end == word || *end)
            return refused(l, "added_tokens_decoder: a key is not an id");
        if (!read_added(l, id, token))
            return 0;
    }
    if (b->n_added)
        return 1;
    if (b->family == BPE_QWEN3)
        return put_qwen3_added(l);
    strcpy(b->pool + l->used, "<|endoftext|>");
    return put_added(l, bpe_id(b, "<|endoftext|>"), strlen("<|endoftext|>"));
}

static int load_pair(struct loader *l, const char *vocabulary, const char *merges, int has_config)
{
    size_t vocabulary_length, merges_length, config_length = 0;
    char *config_text = NULL, *merges_text = NULL;
    char *vocabulary_text = read_file(l, vocabulary, &vocabulary_length);
    dual_json config = { NULL, NULL };
    int fine = vocabulary_text != NULL;

    if (fine && has_config) {
        config_text = read_file(l, "tokenizer_config.json", &config_length);
        fine = config_text != NULL;
    }
    if (fine && has_config) {
        config = dual_json_text(config_text, config_length);
        fine = dual_json_type(config) == '{' || refused(l, "not a JSON object, or broken off");
    }
    l->file = vocabulary;
    fine = fine && make_pool(l, vocabulary_length + config_length + OWN_NAMES)
           && read_vocabulary(l, dual_json_text(vocabulary_text, vocabulary_length));
    if (fine)
        merges_text = read_file(l, merges, &merges_length);
    fine = fine && merges_text && read_merge_lines(l, merges_text, merges_length);
    if (has_config)
        l->file = "tokenizer_config.json";
    fine = fine && read_config(l, config);
    free(config_text);
    free(merges_text);
    free(vocabulary_text);
    return fine;
}

static int has(const char *folder, const char *name)
{
    char path[PATH_ROOM + 40];
    FILE *stream;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return 0;
    stream = fopen(path, "rb");
    if (stream)
        fclose(stream);
    return stream != NULL;
}

/* The pair's names, Qwen-3's and the hub's before OpenAI's. */
static const char *vocabulary_in(const char *folder)
{
    return has(folder, "vocab.json") ? "vocab.json" : "encoder.json";
}

static const char *merges_in(const char *folder)
{
    return has(folder, "merges.txt") ? "merges.txt" : "vocab.bpe";
}

int bpe_in(const char *folder)
{
    return has(folder, "tokenizer.json")
           || (has(folder, vocabulary_in(folder)) && has(folder, merges_in(folder)));
}

bpe *bpe_open(const char *folder, char *error, size_t size)
{
    struct loader l;
    int fine;

    memset(&l, 0, sizeof l);
    l.error = error;
    l.size = size;
    if (strlen(folder) >= PATH_ROOM) {
        failed(error, size, "%.60s..: path too long", folder);
        return NULL;
    }
    l.b = calloc(1, sizeof *l.b);
    if (!l.b) {
        failed(error, size, "%s: out of memory", folder);
        return NULL;
    }
    strcpy(l.b->folder, folder);
    unicode_unpack(&l.b->unicode);
    spell_bytes(&l);
    if (has(folder, "tokenizer.json"))
        fine = load_json(&l);
    else if (bpe_in(folder))
        fine = load_pair(&l, vocabulary_in(folder), merges_in(folder),
                         has(folder, "tokenizer_config.json"));
    else
        fine = failed(error, size, "%s: no tokenizer there, expected tokenizer.json, or vocab.json "
                      "(encoder.json) and merges.txt (vocab.bpe)", folder);
    l.b->end = fine ? bpe_id(l.b, "<|endoftext|>") : -1;
    if (fine && l.b->end < 0)
        fine = refused(&l, "no token <|endoftext|>, expected one");
    if (!fine) {
        bpe_free(l.b);
        return NULL;
    }
    return l.b;
}

int bpe_copy(const bpe *b, const char *folder, char *error, size_t size)
{
    char path[PATH_ROOM + 40];
    size_t length, i;
    dual_ctx c;

    dual_init(&c, NULL, 0);              /* only its line about an error is used */
    for (i = 0; i < FILES_MAX && b->file[i]; i++) {
        char *text;
        int fine;

        snprintf(path, sizeof path, "%s/%s", b->folder, b->file[i]);
        text = data_read(path, &length, error, size);
        if (!text)
            return 0;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, b->file[i]) >= sizeof path)
            fine = dual_failed(&c, "%.60s..: path too long", folder);
        else
            fine = dual_text_save(&c, path, text, length);
        free(text);
        if (!fine)
            return failed(error, size, "%s", c.error);
    }
    return 1;
}

void bpe_free(bpe *b)
{
    if (!b)
        return;
    free(b->pool);
    free(b->token);
    free(b->token_slot);
    free(b->merge);
    free(b->merge_slot);
    free(b);
}
