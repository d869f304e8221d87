/* dual.c - dual-model latent reasoning in one file of C99.
 *
 * WHAT IT IS. Two language models of the same shape talk through their caches. The Base reads a
 * prompt; the Coprocessor gets the Base's keys and values of every layer plus N_L learned soft
 * tokens, thinks once over them, and hands latents back; the Base then answers. How the latents
 * come back (as embeddings, as keys and values) and whether the Base is trained along are the two
 * choices that make the systems liu, h1, h2 and h1h2; `soft` gives a single model the same number
 * of learned embeddings and no Coprocessor. arXiv 2510.00494 asks which of these thinks better.
 *
 * CONTENTS, by section name (each opens with a banner that says what it owns and refuses):
 *   PLATFORM         compiler and system; FILES has the rest of the #ifdefs
 *   MEMORY           one block, marks, counting mode; errors
 *   RANDOM NUMBERS
 *   TENSOR AND TAPE  what an activation is, how gradients find their way back
 *   ONE ROW TIMES A MATRIX  decoding's kernel: as fast as memory
 *   MATMUL           training's kernel: as fast as the multipliers
 *   OPERATIONS       formula, forward, backward, constructor: one screen each
 *   MODELS           GPT-2 and Qwen-3 blocks side by side, one pass over rows with a cache
 *   THE EXCHANGE     read, think, speak: every system of the method
 *   DECODING         greedy and temperature sampling with the cache
 *   OPTIMISER        AdamW, clipping, schedule
 *   JSON             read in place
 *   FILES            safetensors, config.json, whole models
 *
 * READING PATHS. Only autograd: TENSOR AND TAPE, then dual_add and dual_linear. Only the models:
 * MODELS, looking up operations as needed. Only the method: THE EXCHANGE, top to bottom.
 *
 * LETTERS. d hidden width, V vocabulary, L layers, H query heads, hd head_dim, N_L latents per
 * augmentation, n prompt length, m targets, S [N_L,d] soft tokens, Z [N_L,d] the Coprocessor's
 * last-layer states, KV_theta the Base's cache, KV_phi the Coprocessor's, theta and phi their
 * parameters. A shape like [rows, d] is always row-major. */

/* ==== PLATFORM ===================================================================================
 * Everything that depends on compiler or system. POSIX is used for three things only: a wall clock,
 * making a folder, flushing a file to the disk. DUAL_NO_STDIO leaves files and clock out: then only
 * memory, arithmetic and vsnprintf are asked of the machine. */
#if (defined(__unix__) || defined(__APPLE__)) && !defined(DUAL_NO_STDIO)
#define DUAL_POSIX
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#endif
#include "dual.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef DUAL_POSIX
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <direct.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#define OMP(directive) _Pragma(#directive)
#else
#define OMP(directive)
#define omp_get_max_threads() 1
#define omp_set_num_threads(n) ((void)(n))
#endif

typedef dual_real real;

/* A matmul tile is MR x NR sums, about as many as the vector registers hold, or MR x SLIM for up to
 * FEW columns. A VECTOR is one register. PACK_A: beyond FEW columns A is packed too, unless a
 * multiply-add takes a number straight from memory for all its lanes. GROUP tiles stay in cache. */
#if defined(__AVX512F__)
enum { VECTOR = 64 / sizeof(real), MR = 8, PACK_A = 0, GROUP = 64 };
#elif defined(__AVX__)
enum { VECTOR = 32 / sizeof(real), MR = 6, PACK_A = 1, GROUP = 32 };
#elif defined(__aarch64__)
enum { VECTOR = 16 / sizeof(real), MR = 8, PACK_A = 1, GROUP = 24 };
#else
enum { VECTOR = 16 / sizeof(real), MR = 6, PACK_A = 1, GROUP = 32 };
#endif
#if defined(__clang__)                 /* keeps the tile's sums in memory unless told otherwise */
#define UNROLL _Pragma("clang loop unroll(full)")
#define WHOLE UNROLL
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)                /* makes no vectors of a loop of one, once it is unrolled */
#define UNROLL
#define WHOLE _Pragma("GCC unroll 1")
#define ROLLED
#else
#define UNROLL
#define WHOLE
#define ROLLED
#endif
/* B is packed PACK_K x NR at a time (one slim strip: deeper); GROUP tiles of A meet STRIPS such. */
#ifndef DUAL_PACK_K
#define DUAL_PACK_K 256
#endif
enum { NR = 2 * VECTOR, SLIM = PACK_A ? NR : VECTOR, FEW = PACK_A ? 4 * NR : SLIM,
       PACK_K = DUAL_PACK_K, STRIPS = 512 / NR };
#ifdef __GNUC__                        /* a type that is a constant must stay one */
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INLINE static inline
#define PREFETCH(address) ((void)(address))
#endif
/* BLOCK: queries, keys, numbers of a sum at a time; PARTS: pieces of a row times a matrix. */
enum { MAX_HEAD_DIM = 256, BLOCK = 64, LANES = 8, PARTS = 8 };

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

void dual_threads(int n) {
    if (n > 0) omp_set_num_threads((int)least((size_t)n, 256));
}

static size_t workers(void) { return (size_t)omp_get_max_threads(); }

double dual_seconds(void) {
#ifdef DUAL_POSIX
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#elif !defined(DUAL_NO_STDIO)
    return (double)time(NULL);
#else
    return 0;
#endif
}

#ifndef DUAL_NO_STDIO
static int make_one_folder(const char *path) {
#ifdef DUAL_POSIX
    struct stat s;
    return mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &s) == 0 && S_ISDIR(s.st_mode));
#elif defined(_WIN32)
    return _mkdir(path) == 0 || errno == EEXIST;
#else
    (void)path;                    /* no way to make one: the first file written there will tell */
    return 1;
#endif
}

int dual_make_folder(const char *path) {
    char part[1024];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return 0;
    for (size_t i = 1; i < n; i++)
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            make_one_folder(part);
        }
    return make_one_folder(path);
}

static int flush_to_disk(FILE *f) {
    if (fflush(f) != 0) return 0;
#ifdef DUAL_POSIX
    return fsync(fileno(f)) == 0;
#else
    return 1;
#endif
}
#endif

static void fatal_default(const char *message) {
#ifndef DUAL_NO_STDIO
    fprintf(stderr, "dual: %s\n", message);
#else
    (void)message;
#endif
    abort();
}

/* ==== MEMORY =====================================================================================
 * Owns one block handed in by the caller, used as a stack: parameters at the bottom, then gradients
 * and moments, then the tape of one step above a mark. Nothing is freed alone.
 * Two kinds of bytes: numbers (`dual_alloc`, tensors' data) and descriptions (`describe`: tensor
 * headers, tape nodes, index arrays). Counting mode (memory NULL) makes real descriptions, from
 * malloc, and no numbers: the very code of a step can be run to learn how many bytes it needs. */

struct dual_chunk { struct dual_chunk *next; };

static void die(dual_ctx *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->error, sizeof c->error, format, args);
    va_end(args);
    c->fatal(c->error);
}

int dual_failed(dual_ctx *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->error, sizeof c->error, format, args);
    va_end(args);
    return 0;
}

static size_t product(dual_ctx *c, size_t a, size_t b) {
    if (b && a > SIZE_MAX / 4 / b) die(c, "a size of %zu x %zu does not fit this machine", a, b);
    return a * b;
}

static void *take(dual_ctx *c, size_t bytes) {
    size_t at = (c->used + 63) & ~(size_t)63;
    if (c->memory && (at > c->size || bytes > c->size - at))
        die(c, "memory: %zu bytes needed on top of %zu, %zu available", bytes, at, c->size);
    c->used = at + bytes;
    if (c->used > c->peak) c->peak = c->used;
    return c->memory ? c->memory + at : NULL;
}

void *dual_alloc(dual_ctx *c, size_t count, size_t n) { return take(c, product(c, count, n)); }

static void *describe(dual_ctx *c, size_t count, size_t size) {
    size_t bytes = product(c, count, size);
    void *p = take(c, bytes);
    if (!p) {
        struct dual_chunk *k = malloc(sizeof *k + 64 + bytes);
        if (!k) die(c, "memory: no room for %zu bytes of descriptions", bytes);
        k->next = c->chunks;
        c->chunks = k;
        p = (unsigned char *)k + 64;
    }
    memset(p, 0, bytes);
    return p;
}

void dual_init(dual_ctx *c, void *memory, size_t size) {
    memset(c, 0, sizeof *c);
    c->fatal = fatal_default;
    c->memory = memory;
    if (memory) {                  /* start on a 64-byte line: vectors and threads like it */
        size_t skip = (64 - (uintptr_t)memory % 64) % 64;
        if (size < skip) skip = size;
        c->memory += skip;
        c->size = size - skip;
    } else {
        c->used = 64;              /* room for that alignment */
    }
}

void dual_done(dual_ctx *c) {
    while (c->chunks) {
        struct dual_chunk *next = c->chunks->next;
        free(c->chunks);
        c->chunks = next;
    }
}

dual_mark dual_mark_here(const dual_ctx *c) { return (dual_mark){c->used, c->tape}; }

void dual_release(dual_ctx *c, dual_mark m) {
    c->used = m.used;
    c->tape = m.tape;
}

/* ==== RANDOM NUMBERS =============================================================================
 * splitmix64 (Steele, Lea, Flood 2014): one word of state, so a generator is saved as one number
 * and a stream per (seed, step) makes every step's data independent of what ran before it. */

uint64_t dual_rng_next(dual_rng *r) {
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

dual_rng dual_rng_seed(uint64_t seed, uint64_t stream) {
    dual_rng a, b;
    a.state = stream;
    b.state = seed ^ dual_rng_next(&a);
    b.state = dual_rng_next(&b);
    return b;
}

double dual_rng_uniform(dual_rng *r) {
    return (double)(dual_rng_next(r) >> 11) * (1.0 / 9007199254740992.0);
}

double dual_rng_normal(dual_rng *r) { /* Box-Muller; 1 - u keeps the logarithm's argument > 0 */
    double u = 1.0 - dual_rng_uniform(r), v = dual_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

size_t dual_rng_below(dual_rng *r, size_t n) { /* rejection: no modulo bias */
    uint64_t limit = n ? UINT64_MAX - UINT64_MAX % n : 0, x;
    if (n < 2) return 0;
    do x = dual_rng_next(r); while (x >= limit);
    return (size_t)(x % n);
}

/* ==== TENSOR AND TAPE ============================================================================
 * A tensor is rows of reals. An operation computes its output at once and, if any input wants a
 * gradient, records a node: output, inputs, backward function. Nodes are made in an order in which
 * every input precedes its output, so the reverse of that order is already topological: backward
 * walks the list from the newest node, and each node adds (+=) into its inputs' gradients. A
 * gradient array is made when something first flows into it: a branch that leads nowhere costs
 * nothing, and its gradient is exactly absent, not zero by luck.
 * A view shares its owner's numbers and gradients; it needs no node.
 * A weight that is never trained may be kept in 16 bits, as files have it: dual_linear and
 * dual_gather then widen its numbers as they read them, and there is no other copy. Refuses: second
 * derivatives, broadcasting (dual_gather repeats rows instead). */

typedef struct dual_node node;
struct dual_node {
    node *earlier;
    void (*backward)(dual_ctx *, node *);
    dual_tensor *out, **in;        /* in[i] may be NULL */
    dual_tensor *also[2];          /* or NULL: a recomputed block's further outputs */
    size_t n_in;
    int in_place;                  /* in[0]'s gradient overwrites its data (cross-entropy) */
    int sets;                      /* backward can set in[0]'s gradient instead of adding to it */
    int first;                     /* and now must: the gradient was just made, and not cleared */
    /* what some backward functions keep from forward */
    const int32_t *which, *index;
    const dual_keys *keys;
    dual_pass *pass;
    real *saved;
    size_t a, b, c, d;
    double x;
};

enum { NO_GRAD, WANTED, MADE };    /* dual_tensor.needs_grad */

static inline size_t size_of(int type) { return type == DUAL_FULL ? sizeof(real) : 2; }

/* Element i of an array of that type; type is a constant wherever speed matters. */
INLINE real element(const void *at, size_t i, int type) {
    union { uint32_t bits; float f; } t;
    if (type == DUAL_FULL) return ((const real *)at)[i];
    const uint32_t half = ((const uint16_t *)at)[i];
    if (type == DUAL_BF16) {
        t.bits = half << 16;
        return (real)t.f;
    }
    t.bits = (half & 0x7fff) << 13;      /* F16: the exponent's bias differs by 112 */
    t.f *= 5.192296858534828e33f;        /* 2^112; right for subnormals too */
    if ((half & 0x7c00) == 0x7c00) t.bits |= 0x7f800000;       /* infinity, NaN */
    return (real)(half & 0x8000 ? -t.f : t.f);
}

/* The 16-bit number nearest to `value`, of two equally near the even one. */
static uint16_t rounded(real value, int type) {
    union { uint32_t bits; float f; } t;
    t.f = (float)value;
    const uint32_t sign = t.bits >> 16 & 0x8000;
    t.bits &= 0x7fffffff;
    if (t.bits > 0x7f800000) return (uint16_t)(sign | 0x7fff); /* NaN */
    if (type == DUAL_BF16) return (uint16_t)(sign | (t.bits + 0x7fff + (t.bits >> 16 & 1)) >> 16);
    if (t.bits >= 0x47800000) return (uint16_t)(sign | 0x7c00);         /* from 2^16 on: infinity */
    if (t.bits < 0x38800000) {           /* below 2^-14, steps of 2^-24: those of 0.5 and above */
        t.f += 0.5f;
        return (uint16_t)(sign | (t.bits - 0x3f000000));
    }
    return (uint16_t)(sign | (t.bits - 0x38000000 + 0xfff + (t.bits >> 13 & 1)) >> 13);
}

static const void *numbers(const dual_tensor *t) {
    return t->type == DUAL_FULL ? (const void *)t->data : t->half;
}

/* Reading and writing one number of either kind, where speed does not matter. */
real dual_number(const dual_tensor *t, size_t i) { return element(numbers(t), i, t->type); }

static inline void set(dual_tensor *t, size_t i, real value) {
    if (t->type == DUAL_FULL) t->data[i] = value;
    else t->half[i] = rounded(value, t->type);
}

static dual_tensor *tensor_of(dual_ctx *c, size_t rows, size_t cols, int type) {
    dual_tensor *t = describe(c, 1, sizeof *t);
    t->rows = rows;
    t->cols = t->stride = cols;
    t->type = type;
    void *at = dual_alloc(c, product(c, rows, cols), size_of(type));
    if (type == DUAL_FULL) t->data = at;
    else t->half = at;
    return t;
}

dual_tensor *dual_tensor_new(dual_ctx *c, size_t rows, size_t cols) {
    return tensor_of(c, rows, cols, DUAL_FULL);
}

dual_tensor *dual_view(dual_ctx *c, dual_tensor *t, size_t row, size_t rows, size_t col,
                       size_t cols) {
    if (rows > t->rows || row > t->rows - rows || cols > t->cols || col > t->cols - cols)
        die(c, "view: rows %zu+%zu of %zu, columns %zu+%zu of %zu", row, rows, t->rows, col, cols,
            t->cols);
    dual_tensor *v = describe(c, 1, sizeof *v);
    *v = *t;
    v->rows = rows;
    v->cols = cols;
    v->offset = t->offset + row * t->stride + col;
    v->base = t->base ? t->base : t;
    if (t->data) v->data = t->data + row * t->stride + col;
    if (t->half) v->half = t->half + row * t->stride + col;
    v->grad = NULL;
    return v;
}

dual_tensor *dual_detach(dual_ctx *c, dual_tensor *t) {
    dual_tensor *v = describe(c, 1, sizeof *v);
    *v = *t;
    v->grad = NULL;
    v->base = NULL;
    v->needs_grad = NO_GRAD;
    return v;
}

static void make_gradient(dual_ctx *c, dual_tensor *t) {
    t->grad = dual_alloc(c, product(c, t->rows, t->cols), sizeof(real));
    t->needs_grad = MADE;
}

/* The gradient array of t, made and cleared on first use; NULL when none is wanted. */
static real *gradient(dual_ctx *c, dual_tensor *t) {
    if (!t || !t->needs_grad) return NULL;
    if (t->base) {
        real *owner = gradient(c, t->base);
        t->needs_grad = MADE;
        t->grad = owner ? owner + t->offset : NULL;
    } else if (t->needs_grad == WANTED) {
        make_gradient(c, t);
        if (t->grad) {
            OMP(omp parallel for schedule(static) if (t->rows * t->cols > 20000))
            for (size_t r = 0; r < t->rows; r++)
                memset(t->grad + r * t->cols, 0, t->cols * sizeof(real));
        }
    }
    return t->grad;
}

void dual_need_grad(dual_ctx *c, dual_tensor *t) {
    if (t->needs_grad == MADE) return;
    if (t->type != DUAL_FULL)
        die(c, "need_grad: a weight of 16 bits cannot be trained: keep this model in full");
    t->needs_grad = WANTED;
    gradient(c, t);
}

/* Records an operation. Returns its node to be filled in, or NULL when nothing wants a gradient. */
static node *record(dual_ctx *c, dual_tensor *out, void (*backward)(dual_ctx *, node *),
                    size_t n_in, dual_tensor *const *in) {
    int wanted = 0;
    for (size_t i = 0; i < n_in; i++) wanted |= in[i] && in[i]->needs_grad;
    if (!wanted || c->inference) return NULL;
    node *n = describe(c, 1, sizeof *n);
    n->in = describe(c, n_in, sizeof *n->in);
    memcpy(n->in, in, n_in * sizeof *n->in);
    n->n_in = n_in;
    n->out = out;
    n->backward = backward;
    n->earlier = c->tape;
    c->tape = n;
    if (!out->needs_grad) out->needs_grad = WANTED;
    return n;
}

/* The reverse scan, for whatever outputs have got a gradient by now. */
static void scan(dual_ctx *c) {
    for (node *n = c->tape; n; n = n->earlier) {
        int reached = n->out->needs_grad == MADE;
        for (int i = 0; i < 2; i++) reached |= n->also[i] && n->also[i]->needs_grad == MADE;
        if (!reached) continue;
        if (n->in_place) {
            n->in[0]->grad = n->in[0]->data;
            n->in[0]->needs_grad = MADE;
        }
        n->first = n->sets && n->in[0]->needs_grad == WANTED && !n->in[0]->base;
        if (n->first) make_gradient(c, n->in[0]);
        for (size_t i = 0; i < n->n_in; i++) gradient(c, n->in[i]);
        n->backward(c, n);
        n->out->needs_grad = WANTED;   /* spent: a second loss on this tape starts anew */
        n->out->grad = NULL;
    }
}

void dual_backward(dual_ctx *c, dual_tensor *loss) {
    if (loss->rows != 1 || loss->cols != 1) die(c, "backward: the loss must be [1,1]");
    if (!loss->needs_grad) die(c, "backward: nothing on the way to the loss is trained");
    gradient(c, loss);
    if (c->memory) loss->grad[0] = 1;
    scan(c);
}

/* ==== ONE ROW TIMES A MATRIX =====================================================================
 * C(i,j) (+)= sum_k A(i,k) B(k,j). Matrices are given by a row and a column step, so one routine
 * serves X W, X W^T, dX = dY W^T and dW = X^T dY. B, where weights stand, may be 16-bit numbers.
 * This section has what decoding needs, A of one row; the next one has all the rest. */

typedef struct { const void *at; size_t row, col; int type; } matrix; /* (i,j): [i*row + j*col] */

static matrix transposed(matrix m) { return (matrix){m.at, m.col, m.row, m.type}; }

static matrix rows_of(const dual_tensor *t, const void *at) {
    return (matrix){at, t->stride, 1, t->type};
}

/* A call with the type of its numbers as a constant, so that loops have no test in them. */
#define TYPED(call, type, ...) do {                                       \
        if ((type) == DUAL_FULL) call(__VA_ARGS__, DUAL_FULL);            \
        else if ((type) == DUAL_BF16) call(__VA_ARGS__, DUAL_BF16);       \
        else call(__VA_ARGS__, DUAL_F16);                                 \
    } while (0)

/* Sums keep LANES partial sums, so that a compiler may use vectors without reordering anything. */
static inline real fold(real *s) { /* all 8 of them, in halves: the loop is one vector addition */
    for (int j = 0; j < 4; j++) s[j] += s[j + 4];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* One row times B (decoding): every weight is used once, so packing would cost more than it saves.
 * B is read where it is, from several places at once: so memory is fastest. Where a column of B
 * lies in one piece, each c[j] is a dot product; where a row does, c is a weighted sum of rows. */
INLINE void row_dots(const real *a, matrix B, size_t K, size_t first, size_t end, real *c,
                     const real *from, int type) {
    const size_t size = size_of(type), apart = (end - first + 3) / 4;
    for (size_t j = first; j < first + apart; j++) {
        const char *w[4];              /* past the last column: the last, and its sum is dropped */
        real s[4][LANES] = {{0}};
        for (size_t q = 0; q < 4; q++)
            w[q] = (const char *)B.at + least(j + q * apart, end - 1) * B.col * size;
        for (size_t k = 0; k + LANES <= K; k += LANES)
            WHOLE for (size_t l = 0; l < LANES; l++) {
                s[0][l] += a[k + l] * element(w[0], k + l, type);
                s[1][l] += a[k + l] * element(w[1], k + l, type);
                s[2][l] += a[k + l] * element(w[2], k + l, type);
                s[3][l] += a[k + l] * element(w[3], k + l, type);
            }
        for (size_t q = 0, at = j; q < 4; q++, at += apart) {
            real rest = 0;
            for (size_t k = K / LANES * LANES; k < K; k++) rest += a[k] * element(w[q], k, type);
            if (at < end) c[at] = (from ? from[at] : 0) + rest + fold(s[q]);
        }
    }
}

INLINE void row_sums(const real *a, matrix B, size_t first, size_t end, size_t N, real *c,
                     int add, int type) {
    const size_t size = size_of(type), apart = (end - first + 3) / 4;
    for (size_t j = 0; j < N && !add; j++) c[j] = 0;
    for (size_t k = first; k < first + apart; k++) {
        const char *w[4];
        real x[4];
        for (size_t l = 0; l < 4; l++) { /* past the last row: the last, times 0 */
            const size_t i = k + l * apart;
            w[l] = (const char *)B.at + least(i, end - 1) * B.row * size;
            x[l] = i < end ? a[i] : 0;
        }
        for (size_t j = 0; j < N; j++)
            c[j] = c[j] + x[0] * element(w[0], j, type) + x[1] * element(w[1], j, type)
                 + x[2] * element(w[2], j, type) + x[3] * element(w[3], j, type);
    }
}

/* In up to PARTS parts: ranges of columns, or of rows whose sums, in `room`, are then added. How
 * many parts does not depend on the threads, so neither does a sum. */
static void matmul_row(const real *a, matrix B, size_t N, size_t K, real *c, const real *from,
                       real *room) {
    const int dots = B.row == 1;
    const size_t length = dots ? N : K, part = (length + PARTS - 1) / PARTS;
    OMP(omp parallel if (N * K > 50000)) {
        OMP(omp for schedule(static))
        for (size_t p = 0; p < PARTS; p++) {
            const size_t first = least(p * part, length), end = least(first + part, length);
            if (dots) TYPED(row_dots, B.type, a, B, K, first, end, c, from);
            else TYPED(row_sums, B.type, a, B, first, end, N, room + p * N, 0);
        }
        OMP(omp for schedule(static))
        for (size_t j = 0; j < (dots ? 0 : N); j++) {
            real sum = from ? from[j] : 0;
            for (size_t p = 0; p < PARTS; p++) sum += room[p * N + j];
            c[j] = sum;
        }
    }
}

/* ==== MATMUL =====================================================================================
 * Why this is not three loops: memory is slow and registers are few. The inner loop (a tile) keeps
 * MR x NR sums in vector registers; one step of k then costs NR numbers of B and MR of A, and gives
 * MR*NR multiply-adds. The NR of B are whole vectors, so must lie side by side, k after k; in B the
 * next may be a row away. So a strip, NR columns wide and PACK_K deep, is packed into that order:
 *     B, columns j..j+NR-1:  b(0,j) b(0,j+1) .. | b(1,j) b(1,j+1) .. | ..      [k][NR]
 * That is one copy for hundreds of uses, as a group of A's rows passes by the strip while it is in
 * the cache. With PACK_A the MR numbers of A are packed too, [k][MR] for a tile: one address does
 * for MR rows, and no two rows meet in one place of the cache. Up to FEW columns do not pay for it.
 * With up to 8 tiles of rows memory is the limit, fastest in long runs: 128 columns of B's rows are
 * packed at a time. One slim strip is deep, and a tile's rows of A lie far apart, so that each goes
 * on as a stream. One thread sums a C(i,j), in the order of k: the same for any number of them. */

/* c = from + the sums over k < depth, a tile of them. a: MR rows, `step` from k to k + 1; packed,
 * all at a[0]. b: a packed strip. from: rows, may be c. A function of its own: only in so small a
 * text do compilers keep all sums and addresses in registers. */
static void tile_whole(size_t depth, const real *const *a, size_t step, const real *b,
                       const real *from, size_t from_row, real *c, size_t c_row) {
    real s[MR][NR] = {{0}};
    for (size_t k = 0, at = 0; k < depth; k++, at += PACK_A ? MR : step, b += NR)
        UNROLL for (int i = 0; i < MR; i++)
            UNROLL for (int j = 0; j < NR; j += VECTOR)
                WHOLE for (int l = j; l < j + VECTOR; l++)
                    s[i][l] += (PACK_A ? a[0][at + i] : a[i][at]) * b[l];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < NR; j++) s[i][j] += from[i * from_row + j];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < NR; j++) c[i * c_row + j] = s[i][j];
}

static void tile_slim(size_t depth, const real *const *a, size_t step, const real *b,
                      const real *from, size_t from_row, real *c, size_t c_row) {
    real s[MR][SLIM] = {{0}};
    ROLLED for (size_t k = 0; k < depth; k++, b += SLIM)
        UNROLL for (int i = 0; i < MR; i++)
            UNROLL for (int j = 0; j < SLIM; j += VECTOR)
                WHOLE for (int l = j; l < j + VECTOR; l++) s[i][l] += a[i][k * step] * b[l];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < SLIM; j++) s[i][j] += from[i * from_row + j];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < SLIM; j++) c[i * c_row + j] = s[i][j];
}

/* to[s][k][j] = B(k0+k, j0 + s*width + j), strip after strip of `width` columns; 0 for columns from
 * `count` on. Where B's rows lie in one piece that is a copy, through all strips, else a
 * transposition: of two columns at a time, a cache line each, the next strip's asked for. */
INLINE void pack(real *to, matrix B, size_t k0, size_t j0, size_t depth, size_t count,
                 size_t width, int type) {
    const size_t size = size_of(type);
    const char *at = (const char *)B.at + (k0 * B.row + j0 * B.col) * size;
    for (size_t k = 0; B.col == 1 && k < depth; k++, at += B.row * size) {
        for (size_t j = 0; j < count; j += 64 / size) PREFETCH(at + (16 * B.row + j) * size);
        real *row = to + k * width;
        for (size_t j = 0; j < count; j += width, row += depth * width) {
            if (type == DUAL_FULL && j + width <= count)
                memcpy(row, at + j * size, width * sizeof(real));
            else for (size_t l = 0; l < width; l++)        /* the first test leaves the loop */
                row[l] = j + width <= count || j + l < count ? element(at, j + l, type) : 0;
        }
    }
    for (size_t s = 0; B.col != 1 && s < count; s += width, to += depth * width)
        for (size_t k = 0; k < depth; k += 16) {
            const size_t few = least(depth - k, 16), wide = least(count - s, width);
            size_t j = 0;
            for (; few == 16 && B.row == 1 && j + 2 <= wide; j += 2) {
                const char *line = at + (k + (s + j) * B.col) * size, *next = line + B.col * size;
                for (size_t l = 0; l < 2; l++) PREFETCH(line + (width + l) * B.col * size);
                for (size_t i = 0; i < 16; i++) {
                    to[(k + i) * width + j] = element(line, i, type);
                    to[(k + i) * width + j + 1] = element(next, i, type);
                }
            }
            for (; j < width; j++)
                for (size_t i = k, l = (s + j) * B.col; i < k + few; i++)
                    to[i * width + j] = j < wide ? element(at, i * B.row + l, type) : 0;
        }
}

/* Asks the cache for n of the runs, from run r on, that packing `width` columns will read next. */
static void fetch(matrix B, size_t k0, size_t j0, size_t depth, size_t width, size_t r, size_t n) {
    const size_t size = size_of(B.type), apart = (B.col == 1 ? B.row : B.col) * size;
    const size_t runs = B.col == 1 ? depth : width, length = (B.col == 1 ? width : depth) * size;
    const char *const at = (const char *)B.at + (k0 * B.row + j0 * B.col) * size;
    for (const size_t end = least(r + n, runs); r < end; r++)
        for (size_t l = 0; l < length; l += 64) PREFETCH(at + r * apart + l);
}

/* C[M, N] (+)= A[M, K] B[K, N]. C(i,j): [i*c_row + j*c_col]. bias, or NULL: what sums start from,
 * a number for each column, or for each row where c_col > 1. */
typedef struct {
    size_t M, N, K, c_row, c_col;
    matrix A, B;
    real *C;
    const real *bias;
    int add;
} job;

/* A piece of it: rows from i0, columns from j0, `deep` steps of k from k0 on. a: room for A's rows;
 * b: for strips, packed if fresh, else left by the piece before, which kept each in its place. */
static void piece(const job *p, size_t i0, size_t rows, size_t j0, size_t cols, size_t k0,
                  size_t deep, real *a, real *b, int fresh, int kept) {
    static const real zero[NR];
    const size_t M = least(p->M - i0, rows), N = least(p->N - j0, cols);
    const size_t depth = least(p->K - k0, deep), c_row = p->c_row, c_col = p->c_col;
    const int whole = p->N > FEW, pack_a = PACK_A && whole, add = p->add || k0;
    const size_t tiles = (M + MR - 1) / MR, apart = p->N <= SLIM && p->A.col == 1 ? tiles : 1;
    const size_t width = whole ? NR : SLIM, down = apart * c_row, some = 8 * MR;
    const size_t wide = kept && whole && p->B.col == 1 && tiles <= 8 ? STRIPS / 4 * width : width;
    const size_t share = (p->B.col == 1 ? depth : width) * width / (wide * tiles) + 1;
    size_t asked = 0, next = fresh ? 0 : N;    /* packed up to next; asked: runs of what follows */
    for (size_t i = 0; pack_a && i < M; i += some)             /* more of them would collide */
        pack(a + i * depth, transposed(p->A), k0, i0 + i, depth, least(M - i, some), MR, DUAL_FULL);
    for (size_t j = 0; j < N; j += width, b += kept ? depth * width : 0) {
        const size_t n = least(N - j, width), many = least(N - j, wide);
        if (j == next && wide > width) TYPED(pack, p->B.type, b, p->B, k0, j0 + j, depth, many, NR);
        else if (j == next && whole) TYPED(pack, p->B.type, b, p->B, k0, j0 + j, depth, n, NR);
        else if (j == next) TYPED(pack, p->B.type, b, p->B, k0, j0 + j, depth, n, SLIM);
        if (j == next) next += many, asked = 0;
        for (size_t t = 0; t < tiles; t++, asked += share) {
            const size_t i = apart > 1 ? t : t * MR;   /* a tile: rows i, i + apart, .. */
            const size_t m = apart > 1 ? (M - i + apart - 1) / apart : least(M - i, MR);
            const int direct = m == MR && n == width && c_col == 1;
            real *const at = p->C + (i0 + i) * c_row + (j0 + j) * c_col, sum[MR][NR];
            const real *from = direct && add ? at : direct && p->bias ? p->bias + j0 + j : zero;
            const real *row[MR];       /* past the last: the last, whose sums are dropped there */
            for (size_t l = 0; l < MR; l++)
                row[l] = pack_a ? a + i * depth : (const real *)p->A.at + k0 * p->A.col
                                                + (i0 + least(i + l * apart, M - 1)) * p->A.row;
            for (size_t l = 0; l < m; l++)
                for (size_t h = 0; h < n; h += 16) PREFETCH(at + l * down + h * c_col);
            if (next < N) fetch(p->B, k0, j0 + next, depth, least(N - next, wide), asked, share);
            (whole ? tile_whole : tile_slim)(depth, row, p->A.col, b, from,
                                             direct && add ? down : 0, direct ? at : sum[0],
                                             direct ? down : NR);
            for (size_t l = direct ? m : 0; l < m; l++)
                for (size_t h = 0; h < n; h++) {
                    real *c = at + l * down + h * c_col;
                    const size_t which = c_col > 1 ? i0 + i + l * apart : j0 + j + h;
                    *c = (add ? *c : p->bias ? p->bias[which] : 0) + sum[l][h];
                }
        }
    }
}

/* from: what sums start from. NULL: 0; C: itself, which is added to; else one row for every row. */
static void matmul(dual_ctx *ctx, size_t M, size_t N, size_t K, matrix A, matrix B, real *C,
                   size_t c_row, const real *from) {
    const int one = M <= 2 && A.col == 1, add = from == C; /* or two, one after the other */
    job p = {M, N, K, c_row, 1, A, B, C, add ? NULL : from, add};
    ctx->flops += 2.0 * (double)M * (double)N * (double)K;
    if (!M || !N) return;
    /* Few rows would not pay for packing all of B: there it is C^T = B^T A^T, packing A^T. */
    if (!one && M <= SLIM && M < N && B.row == 1 && B.type == DUAL_FULL && A.col == 1)
        p = (job){N, M, K, 1, c_row, transposed(B), transposed(A), C, p.bias, add};
    /* Pieces of work, at least one for every thread: a group of rows and some strips of B, a part.
     * A thread takes neighbours, part by part: so it packs a part once for several groups. */
    const size_t width = p.N > FEW ? NR : SLIM, all = (p.N + width - 1) / width;
    const size_t tiles = (p.M + MR - 1) / MR, threads = workers();
    const size_t most = least((tiles * all + threads - 1) / threads, GROUP);
    const size_t groups = (tiles + most - 1) / most, group = MR * ((tiles + groups - 1) / groups);
    size_t parts = (all + STRIPS - 1) / STRIPS;
    while (parts < all && groups * parts % threads) parts++;
    const size_t part = width * ((all + parts - 1) / parts), pieces = groups * parts;
    const size_t deep = least(K, p.N <= SLIM && p.A.col == 1 ? PACK_K * STRIPS : PACK_K);
    const size_t b_room = deep * width * least(all, STRIPS);
    const size_t a_room = PACK_A && p.N > FEW ? deep * MR * least(tiles, GROUP) : 0;
    const size_t each = one ? product(ctx, PARTS, B.row == 1 ? 0 : N)
                            : (b_room + a_room + 63) / 64 * 64;    /* whole lines of the cache */
    const dual_mark before = dual_mark_here(ctx);
    real *const room = dual_alloc(ctx, product(ctx, one ? 1 : threads, each), sizeof(real));
    dual_release(ctx, before);         /* only this call uses it */
    if (!ctx->memory) return;
    for (size_t i = 0; i < (one ? M : 0); i++)
        matmul_row((const real *)A.at + i * A.row, B, N, K, C + i * c_row,
                   add ? C + i * c_row : from, room);
    OMP(omp parallel for schedule(static) if (!one && M * N * K > 50000))
    for (size_t t = 0; t < (one ? 0 : threads); t++)
        for (size_t k0 = 0; k0 < K; k0 += deep)
            for (size_t l = t * pieces / threads; l < (t + 1) * pieces / threads; l++) {
                real *const b = room + t * each;
                const size_t i = l % groups, j = l / groups * part;
                if (j < p.N) piece(&p, i * group, group, j, part, k0, deep, b + b_room, b,
                                   i == 0 || l == t * pieces / threads, 1);
            }
}

/* The same for a small product within one thread, M <= BLOCK, as attention needs them. */
static void matmul_small(size_t M, size_t N, size_t K, matrix A, matrix B, real *C, size_t c_row,
                         int add) {
    real room[BLOCK * (NR + PACK_A * (BLOCK + MR)) + 64];
    real *const b = room + (64 - (uintptr_t)room % 64) / sizeof(real);
    const job p = {M, N, K, c_row, 1, A, B, C, NULL, add};
    const int one = M == 1 && A.col == 1;
    if (one && B.row == 1) row_dots(A.at, B, K, 0, N, C, add ? C : NULL, DUAL_FULL);
    else if (one) row_sums(A.at, B, 0, K, N, C, add, DUAL_FULL);
    else for (size_t k0 = 0; k0 < K; k0 += BLOCK)
        piece(&p, 0, M, 0, N, k0, BLOCK, b + BLOCK * NR, b, 1, 0);
}

/* ==== OPERATIONS =================================================================================
 * Each is one screen: formula and shapes, forward loops, backward with the same loops, constructor
 * with its checks. Loops are parallel over what they write, never over what they sum. An operation
 * enters only together with its backward and a row in tests/test_ops.c. */

static inline real dot(const real *a, const real *b, size_t n) {
    real s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += a[i + j] * b[i + j];
    for (int j = 0; i < n; i++, j++) s[j] += a[i] * b[i];
    return fold(s);
}

/* sum of a b (x - shift), what the norms' backward needs */
static real dot3(const real *a, const real *b, const real *x, real shift, size_t n) {
    real s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += a[i + j] * b[i + j] * (x[i + j] - shift);
    for (int j = 0; i < n; i++, j++) s[j] += a[i] * b[i] * (x[i] - shift);
    return fold(s);
}

static real total(const real *a, size_t n) {
    real s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += a[i + j];
    for (int j = 0; i < n; i++, j++) s[j] += a[i];
    return fold(s);
}

static real largest(const real *a, size_t n) {
    real most[LANES], top = a[0];      /* seeded with a real number, never with a guess */
    for (int j = 0; j < LANES; j++) most[j] = top;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        WHOLE for (int j = 0; j < LANES; j++) most[j] = a[i + j] > most[j] ? a[i + j] : most[j];
    for (int j = 0; i < n; i++, j++) most[j] = a[i] > most[j] ? a[i] : most[j];
    for (int j = 0; j < LANES; j++) top = most[j] > top ? most[j] : top;
    return top;
}

/* e^x without a call or a branch, so that loops over it vectorise: 2^n e^r with |r| <= ln 2 / 2.
 * Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits, which make 2^n's
 * exponent; e^r is the minimax polynomial of Cephes' expf. Relative error 1e-7; x is held within
 * -87..88, where 2^n is a normal number: e^-87 is small enough here. Doubles call libm. */
static inline real exponential(real value) {
    if (sizeof(real) != sizeof(float)) return (real)exp((double)value);
    union { float f; uint32_t bits; } t;
    float x = (float)value;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    t.f = x * 1.44269504f + 12582912.0f;
    const float n = t.f - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    t.bits = (t.bits + 127) << 23;
    return (real)(p * t.f);
}

/* ---- gather: out[r] = source[which[r]] row index[r] ----
 * Backward: dsource[which[r]][index[r]] += dout[r], by columns, as many r may name one row. */
enum { COLUMN_TILE = 64 };

static void gather_backward(dual_ctx *c, node *n) {
    if (!c->memory) return;
    const size_t cols = n->out->cols, tiles = (cols + COLUMN_TILE - 1) / COLUMN_TILE;
    OMP(omp parallel for schedule(static) if (n->out->rows * cols > 20000))
    for (size_t t = 0; t < tiles; t++) {
        const size_t first = t * COLUMN_TILE, width = least(cols - first, COLUMN_TILE);
        for (size_t r = 0; r < n->out->rows; r++) {
            const dual_tensor *s = n->in[n->which ? n->which[r] : 0];
            if (!s->grad) continue;
            real *to = s->grad + (size_t)n->index[r] * s->stride + first;
            const real *from = n->out->grad + r * cols + first;
            for (size_t j = 0; j < width; j++) to[j] += from[j];
        }
    }
}

dual_tensor *dual_gather(dual_ctx *c, size_t n_sources, dual_tensor *const *source, size_t rows,
                         const int32_t *which, const int32_t *index) {
    size_t cols = 0;
    for (size_t i = 0; i < n_sources; i++)
        if (source[i]) {
            if (cols && source[i]->cols != cols)
                die(c, "gather: sources of %zu and %zu columns", cols, source[i]->cols);
            cols = source[i]->cols;
        }
    for (size_t r = 0; r < rows; r++) {
        size_t s = which ? (size_t)which[r] : 0;
        if (s >= n_sources || !source[s] || index[r] < 0 || (size_t)index[r] >= source[s]->rows)
            die(c, "gather: row %zu asks for row %ld of source %zu", r, (long)index[r], s);
    }
    dual_tensor *out = dual_tensor_new(c, rows, cols);
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (rows * cols > 20000))
        for (size_t r = 0; r < rows; r++) {
            const dual_tensor *s = source[which ? which[r] : 0];
            const size_t at = (size_t)index[r] * s->stride;
            if (s->type == DUAL_FULL)
                memcpy(out->data + r * cols, s->data + at, cols * sizeof(real));
            else for (size_t j = 0; j < cols; j++) out->data[r * cols + j] = dual_number(s, at + j);
        }
    }
    node *n = record(c, out, gather_backward, n_sources, source);
    if (n) {
        n->which = which;
        n->index = index;
    }
    return out;
}

/* ---- linear: y = x W + b; W is [in,out] (IN_OUT) or [out,in] (OUT_IN) ----
 * dx = dy W^T, dW = x^T dy, db = column sums of dy. A frozen W costs no dW. */
static void linear_backward(dual_ctx *c, node *n) {
    dual_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *y = n->out;
    const matrix dy = rows_of(y, y->grad), weight = rows_of(w, numbers(w));
    const int out_in = n->a == DUAL_OUT_IN;
    if (x->needs_grad)
        matmul(c, x->rows, x->cols, y->cols, dy, out_in ? weight : transposed(weight), x->grad,
               x->stride, n->first ? NULL : x->grad);
    if (w->needs_grad) {
        const double before = c->flops;
        const matrix rows = rows_of(x, x->data);
        matmul(c, w->rows, w->cols, x->rows, transposed(out_in ? dy : rows), out_in ? rows : dy,
               w->grad, w->stride, w->grad);
        c->weight_grad_flops += c->flops - before;
    }
    if (b && b->grad && c->memory) {
        OMP(omp parallel for schedule(static) if (y->rows * y->cols > 20000))
        for (size_t first = 0; first < y->cols; first += COLUMN_TILE) {
            const size_t end = least(first + COLUMN_TILE, y->cols);
            for (size_t r = 0; r < y->rows; r++)
                for (size_t j = first; j < end; j++) b->grad[j] += y->grad[r * y->stride + j];
        }
    }
}

dual_tensor *dual_linear(dual_ctx *c, dual_tensor *x, dual_tensor *w, dual_tensor *b, int layout) {
    const int out_in = layout == DUAL_OUT_IN;
    const size_t in = out_in ? w->cols : w->rows, out = out_in ? w->rows : w->cols;
    if (x->cols != in || !in || !out || (b && (b->rows != 1 || b->cols != out)))
        die(c, "linear: x [%zu,%zu] does not fit a weight %zu -> %zu", x->rows, x->cols, in, out);
    dual_tensor *y = dual_tensor_new(c, x->rows, out);
    const matrix weight = rows_of(w, numbers(w));
    matmul(c, x->rows, out, in, rows_of(x, x->data), out_in ? transposed(weight) : weight, y->data,
           y->stride, b ? b->data : NULL);
    node *n = record(c, y, linear_backward, 3, (dual_tensor *[]){x, w, b});
    if (n) {
        n->a = (size_t)layout;
        n->sets = 1;
    }
    return y;
}

/* ---- add: y = a + b (the residual stream); da += dy, db += dy; without b (NULL): a copy ---- */
static void add_backward(dual_ctx *c, node *n) {
    const dual_tensor *y = n->out;
    for (int i = 0; i < 2; i++) {
        const dual_tensor *t = n->in[i];
        if (!t || !t->grad || !c->memory) continue;
        OMP(omp parallel for schedule(static) if (y->rows * y->cols > 20000))
        for (size_t r = 0; r < y->rows; r++)
            for (size_t j = 0; j < y->cols; j++)
                t->grad[r * t->stride + j] += y->grad[r * y->stride + j];
    }
}

dual_tensor *dual_add(dual_ctx *c, dual_tensor *a, dual_tensor *b) {
    if (a->rows != b->rows || a->cols != b->cols)
        die(c, "add: [%zu,%zu] and [%zu,%zu]", a->rows, a->cols, b->rows, b->cols);
    dual_tensor *y = dual_tensor_new(c, a->rows, a->cols);
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (y->rows * y->cols > 20000))
        for (size_t r = 0; r < y->rows; r++)
            for (size_t j = 0; j < y->cols; j++)
                y->data[r * y->cols + j] = a->data[r * a->stride + j] + b->data[r * b->stride + j];
    }
    record(c, y, add_backward, 2, (dual_tensor *[]){a, b});
    return y;
}

/* ---- gain: y = g x with one scalar g [1,1]; dx += g dy, dg += sum x dy ---- */
static void gain_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *g = n->in[1], *y = n->out;
    if (!c->memory) return;
    double dg = 0;
    for (size_t r = 0; r < y->rows; r++) {
        dg += (double)dot(x->data + r * x->stride, y->grad + r * y->stride, y->cols);
        if (x->grad)
            for (size_t j = 0; j < y->cols; j++)
                x->grad[r * x->stride + j] += g->data[0] * y->grad[r * y->stride + j];
    }
    if (g->grad) g->grad[0] += (real)dg;
}

dual_tensor *dual_gain(dual_ctx *c, dual_tensor *x, dual_tensor *g) {
    if (g->rows != 1 || g->cols != 1) die(c, "gain: must be [1,1]");
    dual_tensor *y = dual_tensor_new(c, x->rows, x->cols);
    if (c->memory)
        for (size_t r = 0; r < y->rows; r++)
            for (size_t j = 0; j < y->cols; j++)
                y->data[r * y->stride + j] = g->data[0] * x->data[r * x->stride + j];
    record(c, y, gain_backward, 2, (dual_tensor *[]){x, g});
    return y;
}

/* ---- layernorm: y = (x - mean) rstd * w + b, rstd = 1 / sqrt(var + eps), biased var ----
 * With xh = (x - mean) rstd and g = dy * w:
 * dx += rstd (g - mean(g) - xh mean(g xh)), dw += sum_r dy xh, db += sum_r dy.
 * saved: mean, rstd. */
static void layernorm_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *y = n->out;
    const size_t rows = x->rows, d = x->cols;
    if (!c->memory) return;
    if (x->grad) {
        OMP(omp parallel for schedule(static) if (rows * d > 20000))
        for (size_t r = 0; r < rows; r++) {
            const real mean = n->saved[2 * r], rstd = n->saved[2 * r + 1];
            const real *xr = x->data + r * x->stride, *dy = y->grad + r * d;
            real *dx = x->grad + r * x->stride;
            const real mg = dot(dy, w->data, d) / (real)d;
            const real mgx = rstd * dot3(dy, w->data, xr, mean, d) / (real)d;
            for (size_t j = 0; j < d; j++)
                dx[j] += rstd * (dy[j] * w->data[j] - mg - (xr[j] - mean) * rstd * mgx);
        }
    }
    if (!w->grad && !b->grad) return;
    OMP(omp parallel for schedule(static) if (rows * d > 20000))
    for (size_t first = 0; first < d; first += COLUMN_TILE) {
        const size_t end = least(first + COLUMN_TILE, d);
        for (size_t r = 0; r < rows; r++) {
            const real mean = n->saved[2 * r], rstd = n->saved[2 * r + 1];
            const real *dy = y->grad + r * d, *xr = x->data + r * x->stride;
            for (size_t j = first; j < end && w->grad; j++)
                w->grad[j] += dy[j] * (xr[j] - mean) * rstd;
            for (size_t j = first; j < end && b->grad; j++) b->grad[j] += dy[j];
        }
    }
}

dual_tensor *dual_layernorm(dual_ctx *c, dual_tensor *x, dual_tensor *w, dual_tensor *b,
                            double eps) {
    const size_t rows = x->rows, d = x->cols;
    if (w->cols != d || b->cols != d) die(c, "layernorm: weight of %zu for %zu", w->cols, d);
    dual_tensor *y = dual_tensor_new(c, rows, d);
    real *saved = dual_alloc(c, product(c, rows, 2), sizeof(real));
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (rows * d > 20000))
        for (size_t r = 0; r < rows; r++) {
            const real *xr = x->data + r * x->stride;
            real *yr = y->data + r * d;
            const real mean = total(xr, d) / (real)d;
            for (size_t j = 0; j < d; j++) yr[j] = xr[j] - mean;
            const real var = dot(yr, yr, d) / (real)d, rstd = (real)(1.0 / sqrt((double)var + eps));
            for (size_t j = 0; j < d; j++) yr[j] = yr[j] * rstd * w->data[j] + b->data[j];
            saved[2 * r] = mean;
            saved[2 * r + 1] = rstd;
        }
    }
    node *n = record(c, y, layernorm_backward, 3, (dual_tensor *[]){x, w, b});
    if (n) n->saved = saved;
    return y;
}

/* ---- rmsnorm: y = x rstd * w, rstd = 1 / sqrt(mean(x^2) + eps), per run of w's width ----
 * With g = dy * w: dx += rstd (g - x rstd^2 mean(g x)), dw += sum dy x rstd. saved: rstd. */
static void rmsnorm_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *w = n->in[1], *y = n->out;
    const size_t d = w->cols, runs = x->cols / d;
    if (!c->memory) return;
    if (x->grad) {
        OMP(omp parallel for schedule(static) if (x->rows * x->cols > 20000))
        for (size_t i = 0; i < x->rows * runs; i++) {
            const size_t at = i / runs * x->stride + i % runs * d;
            const real rstd = n->saved[i], *xr = x->data + at, *dy = y->grad + i * d;
            real *dx = x->grad + at;
            const real m = dot3(dy, w->data, xr, 0, d) / (real)d * rstd * rstd;
            for (size_t j = 0; j < d; j++) dx[j] += rstd * (dy[j] * w->data[j] - xr[j] * m);
        }
    }
    if (!w->grad) return;
    OMP(omp parallel for schedule(static) if (x->rows * x->cols > 20000))
    for (size_t first = 0; first < d; first += COLUMN_TILE) {
        const size_t end = least(first + COLUMN_TILE, d);
        for (size_t i = 0; i < x->rows * runs; i++) {
            const real *xr = x->data + i / runs * x->stride + i % runs * d, *dy = y->grad + i * d;
            for (size_t j = first; j < end; j++) w->grad[j] += dy[j] * xr[j] * n->saved[i];
        }
    }
}

dual_tensor *dual_rmsnorm(dual_ctx *c, dual_tensor *x, dual_tensor *w, double eps) {
    const size_t d = w->cols, runs = d ? x->cols / d : 0;
    if (w->rows != 1 || runs * d != x->cols)
        die(c, "rmsnorm: weight of %zu for rows of %zu", d, x->cols);
    dual_tensor *y = dual_tensor_new(c, x->rows, x->cols);
    real *saved = dual_alloc(c, product(c, x->rows, runs), sizeof(real));
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (x->rows * x->cols > 20000))
        for (size_t i = 0; i < x->rows * runs; i++) {
            const real *xr = x->data + i / runs * x->stride + i % runs * d;
            const real mean = dot(xr, xr, d) / (real)d,
                       rstd = (real)(1.0 / sqrt((double)mean + eps));
            for (size_t j = 0; j < d; j++) y->data[i * d + j] = xr[j] * rstd * w->data[j];
            saved[i] = rstd;
        }
    }
    node *n = record(c, y, rmsnorm_backward, 2, (dual_tensor *[]){x, w});
    if (n) n->saved = saved;
    return y;
}

/* ---- gelu, tanh form: y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3) ----
 * dx += dy (1/2 (1 + t) + x/2 (1 - t^2) u'), t = tanh u = 1 - 2 / (1 + e^2u). Not the erf form. */
static const double GELU_A = 0.7978845608028654, GELU_B = 0.044715;

static inline real gelu_tanh(real x) {
    return 1 - 2 / (1 + exponential(2 * (real)GELU_A * (x + (real)GELU_B * x * x * x)));
}

static void gelu_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *y = n->out;
    if (!x->grad || !c->memory) return;
    OMP(omp parallel for schedule(static) if (x->rows * x->cols > 5000))
    for (size_t r = 0; r < x->rows; r++) {
        const real *xr = x->data + r * x->stride, *dy = y->grad + r * y->stride;
        real *dx = x->grad + r * x->stride;
        for (size_t j = 0; j < x->cols; j++) {
            const real v = xr[j], t = gelu_tanh(v);
            const real slope = (real)GELU_A * (1 + 3 * (real)GELU_B * v * v);
            const real g = dy[j] * ((real)0.5 * (1 + t) + (real)0.5 * v * (1 - t * t) * slope);
            dx[j] = n->first ? g : dx[j] + g;
        }
    }
}

dual_tensor *dual_gelu(dual_ctx *c, dual_tensor *x) {
    dual_tensor *y = dual_tensor_new(c, x->rows, x->cols);
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (x->rows * x->cols > 5000))
        for (size_t r = 0; r < x->rows; r++) {
            const real *xr = x->data + r * x->stride;
            real *yr = y->data + r * y->stride;
            for (size_t j = 0; j < x->cols; j++) yr[j] = (real)0.5 * xr[j] * (1 + gelu_tanh(xr[j]));
        }
    }
    node *n = record(c, y, gelu_backward, 1, &x);
    if (n) n->sets = 1;
    return y;
}

/* ---- swiglu: y = g s(g) u with s(g) = 1 / (1 + e^-g) ----
 * du += dy g s, dg += dy u s (1 + g (1 - s)). */
static void swiglu_backward(dual_ctx *c, node *n) {
    const dual_tensor *g = n->in[0], *u = n->in[1], *y = n->out;
    if (!c->memory) return;
    OMP(omp parallel for schedule(static) if (y->rows * y->cols > 5000))
    for (size_t r = 0; r < y->rows; r++) {
        const real *gr = g->data + r * g->stride, *ur = u->data + r * u->stride;
        const real *dy = y->grad + r * y->stride;
        for (size_t j = 0; j < y->cols; j++) {
            const real s = 1 / (1 + exponential(-gr[j]));
            if (u->grad) u->grad[r * u->stride + j] += dy[j] * gr[j] * s;
            if (g->grad) g->grad[r * g->stride + j] += dy[j] * ur[j] * s * (1 + gr[j] * (1 - s));
        }
    }
}

dual_tensor *dual_swiglu(dual_ctx *c, dual_tensor *g, dual_tensor *u) {
    if (g->rows != u->rows || g->cols != u->cols) die(c, "swiglu: gate and up differ in shape");
    dual_tensor *y = dual_tensor_new(c, g->rows, g->cols);
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (y->rows * y->cols > 5000))
        for (size_t r = 0; r < y->rows; r++) {
            const real *gr = g->data + r * g->stride, *ur = u->data + r * u->stride;
            real *yr = y->data + r * y->stride;
            for (size_t j = 0; j < y->cols; j++)
                yr[j] = gr[j] / (1 + exponential(-gr[j])) * ur[j];
        }
    }
    record(c, y, swiglu_backward, 2, (dual_tensor *[]){g, u});
    return y;
}

/* ---- rotary: per head, element i of the first half turns with element i of the second ----
 * angle = position * theta^(-2i/hd); (a,b) -> (a cos - b sin, b cos + a sin). The backward is the
 * rotation by the opposite angle. saved: cos and sin, [rows, hd]. */
static void rotate(const real *from, real *to, const real *turn, size_t half, int back, int add) {
    for (size_t i = 0; i < half; i++) {
        const real co = turn[i], si = back ? -turn[half + i] : turn[half + i];
        const real a = from[i] * co - from[half + i] * si, b = from[half + i] * co + from[i] * si;
        to[i] = add ? to[i] + a : a;
        to[half + i] = add ? to[half + i] + b : b;
    }
}

static void rotary_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *y = n->out;
    if (!x->grad || !c->memory) return;
    OMP(omp parallel for schedule(static) if (x->rows * x->cols > 20000))
    for (size_t r = 0; r < x->rows; r++)
        for (size_t h = 0; h < x->cols; h += n->a)
            rotate(y->grad + r * y->stride + h, x->grad + r * x->stride + h, n->saved + r * n->a,
                   n->a / 2, 1, 1);
}

dual_tensor *dual_rotary(dual_ctx *c, dual_tensor *x, size_t head_dim, const int32_t *position,
                         double theta) {
    if (head_dim == 0 || head_dim % 2 || x->cols % head_dim)
        die(c, "rotary: rows of %zu in heads of %zu", x->cols, head_dim);
    const size_t half = head_dim / 2;
    dual_tensor *y = dual_tensor_new(c, x->rows, x->cols);
    real *turn = dual_alloc(c, product(c, x->rows, head_dim), sizeof(real));
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (x->rows * x->cols > 5000))
        for (size_t r = 0; r < x->rows; r++) {
            for (size_t i = 0; i < half; i++) {
                const double frequency = pow(theta, -2.0 * (double)i / (double)head_dim);
                turn[r * head_dim + i] = (real)cos(position[r] * frequency);
                turn[r * head_dim + half + i] = (real)sin(position[r] * frequency);
            }
            for (size_t h = 0; h < x->cols; h += head_dim)
                rotate(x->data + r * x->stride + h, y->data + r * y->stride + h,
                       turn + r * head_dim, half, 0, 0);
        }
    }
    node *n = record(c, y, rotary_backward, 1, &x);
    if (n) {
        n->saved = turn;
        n->a = head_dim;
    }
    return y;
}

/* ---- attention: o = sum_k p_k v_k, p = softmax over the visible keys of q.k / sqrt(hd) ----
 * Query head h reads key head h / (H / kv_heads). Which keys a query sees is integers, one range
 * per key list: plain causal attention, a prompt's cache, another model's entries and a group of
 * its own are all the same rule, and no mask exists.
 * Work goes by blocks of at most BLOCK queries and BLOCK keys, all products of small matrices:
 * S = Q K^T, then p within every row's range and 0 outside, then O += P V, with a running maximum
 * and sum per row (so no [rows, keys] array). saved: log-sum-exp per query and head.
 * Backward, with p = exp(s - lse) again, D = do.o and T = dO V^T: dV += P^T dO,
 * dS = P (T - D) / sqrt(hd), dQ += dS K, dK += dS^T Q.
 * Threads take (part, key head): parts share no keys, so no two of them write the same row. */
typedef struct { real s[BLOCK][BLOCK], t[BLOCK][BLOCK], lse[BLOCK]; } scores;

static matrix block_of(const dual_tensor *t, const real *at, size_t row, size_t col) {
    return rows_of(t, at + row * t->stride + col);
}

static matrix square(const real *s) { return (matrix){s, BLOCK, 1, DUAL_FULL}; }

/* The keys of list K within k0 .. k0+count-1 that row r sees: *from .. *to-1, counted from k0. */
static void visible(const dual_keys *K, size_t r, size_t k0, size_t count, size_t *from,
                    size_t *to) {
    const size_t begin = (size_t)K->begin[r], end = (size_t)K->end[r];
    *from = begin < k0 ? 0 : least(begin - k0, count);
    *to = end < k0 ? 0 : least(end - k0, count);
    if (*to < *from) *to = *from;
}

/* A block of keys for rows r0 .. r0+rows-1 of head h: scores, running softmax, weighted values. */
static void attend(const node *n, const dual_keys *K, size_t r0, size_t rows, size_t h, size_t kv,
                   size_t k0, size_t count, scores *b, real *top, real *sum) {
    const dual_tensor *q = n->in[0], *y = n->out;
    const size_t hd = n->c;
    const real scale = (real)(1 / sqrt((double)hd));
    matmul_small(rows, count, hd, block_of(q, q->data, r0, h * hd),
                 transposed(block_of(K->k, K->k->data, k0, kv * hd)), b->s[0], BLOCK, 0);
    for (size_t i = 0; i < rows; i++) {
        real *p = b->s[i], *o = y->data + (r0 + i) * y->stride + h * hd, most;
        size_t from, to;
        visible(K, r0 + i, k0, count, &from, &to);
        for (size_t k = 0; k < from; k++) p[k] = 0;
        for (size_t k = to; k < count; k++) p[k] = 0;
        if (from == to) continue;
        for (size_t k = from; k < to; k++) p[k] *= scale;
        most = largest(p + from, to - from);
        if (sum[i] > 0 && top[i] > most) most = top[i];
        const real shrink = sum[i] > 0 ? exponential(top[i] - most) : 0;
        for (size_t k = from; k < to; k++) p[k] = exponential(p[k] - most);
        sum[i] = sum[i] * shrink + total(p + from, to - from);
        for (size_t j = 0; j < hd; j++) o[j] *= shrink;
        top[i] = most;
    }
    matmul_small(rows, hd, count, square(b->s[0]), block_of(K->v, K->v->data, k0, kv * hd),
                 y->data + r0 * y->stride + h * hd, y->stride, 1);
}

static void attend_backward(const node *n, const dual_keys *K, size_t r0, size_t rows, size_t h,
                            size_t kv, size_t k0, size_t count, scores *b, const real *D) {
    const dual_tensor *q = n->in[0], *y = n->out, *k = K->k, *v = K->v;
    const size_t hd = n->c, at = h * hd, at_k = kv * hd;
    const real scale = (real)(1 / sqrt((double)hd));
    const matrix dout = block_of(y, y->grad, r0, at), query = block_of(q, q->data, r0, at);
    matmul_small(rows, count, hd, query, transposed(block_of(k, k->data, k0, at_k)), b->s[0],
                 BLOCK, 0);
    matmul_small(rows, count, hd, dout, transposed(block_of(v, v->data, k0, at_k)), b->t[0],
                 BLOCK, 0);
    for (size_t i = 0; i < rows; i++) {
        real *p = b->s[i], *ds = b->t[i];
        size_t from, to;
        visible(K, r0 + i, k0, count, &from, &to);
        for (size_t j = 0; j < from; j++) p[j] = ds[j] = 0;
        for (size_t j = to; j < count; j++) p[j] = ds[j] = 0;
        for (size_t j = from; j < to; j++) { /* rounded otherwise than in forward, p may pass 1 */
            const real x = scale * p[j] - b->lse[i];
            p[j] = exponential(x < 0 ? x : 0);
            ds[j] = scale * p[j] * (ds[j] - D[i]);
        }
    }
    if (v->grad)
        matmul_small(count, hd, rows, transposed(square(b->s[0])), dout,
                     v->grad + k0 * v->stride + at_k, v->stride, 1);
    if (k->grad)
        matmul_small(count, hd, rows, transposed(square(b->t[0])), query,
                     k->grad + k0 * k->stride + at_k, k->stride, 1);
    if (q->grad)
        matmul_small(rows, hd, count, square(b->t[0]), block_of(k, k->data, k0, at_k),
                     q->grad + r0 * q->stride + at, q->stride, 1);
}

/* All keys for rows r0 .. r0+rows-1 of head h, block by block; back: 0 forward, 1 backward. */
static void attention_block(const node *n, size_t r0, size_t rows, size_t h, size_t kv, int back) {
    const dual_tensor *y = n->out;
    const size_t hd = n->c, heads = y->cols / hd;
    scores b;
    real top[BLOCK], sum[BLOCK] = {0};               /* in backward, top is D = do.o */
    for (size_t i = 0; i < rows; i++) {
        const size_t at = (r0 + i) * y->stride + h * hd;
        if (back) {
            b.lse[i] = n->saved[(r0 + i) * heads + h];
            top[i] = dot(y->grad + at, y->data + at, hd);
        } else {
            memset(y->data + at, 0, hd * sizeof(real));
        }
    }
    for (size_t l = 0; l < n->b; l++) {
        const dual_keys *K = &n->keys[l];
        size_t begin = SIZE_MAX, end = 0;
        for (size_t r = r0; r < r0 + rows; r++) {
            if (K->begin[r] == K->end[r]) continue;
            if ((size_t)K->begin[r] < begin) begin = (size_t)K->begin[r];
            if ((size_t)K->end[r] > end) end = (size_t)K->end[r];
        }
        for (size_t k0 = begin; k0 < end; k0 += BLOCK) {
            const size_t count = least(end - k0, BLOCK);
            if (back) attend_backward(n, K, r0, rows, h, kv, k0, count, &b, top);
            else attend(n, K, r0, rows, h, kv, k0, count, &b, top, sum);
        }
    }
    for (size_t i = 0; i < rows && !back; i++) {
        real *o = y->data + (r0 + i) * y->stride + h * hd;
        for (size_t j = 0; j < hd; j++) o[j] /= sum[i];
        n->saved[(r0 + i) * heads + h] = top[i] + (real)log((double)sum[i]);
    }
}

static void attention_run(const node *n, int back) {
    const size_t kv_heads = n->a, parts = n->d, group = n->out->cols / n->c / kv_heads;
    const int32_t *border = n->index;
    OMP(omp parallel for schedule(dynamic) if (n->out->rows > 8))
    for (size_t piece = 0; piece < parts * kv_heads; piece++) {
        const size_t part = piece / kv_heads, kv = piece % kv_heads;
        const size_t end = (size_t)border[part + 1];
        for (size_t r = (size_t)border[part]; r < end; r += BLOCK)
            for (size_t h = kv * group; h < (kv + 1) * group; h++)
                attention_block(n, r, least(end - r, BLOCK), h, kv, back);
    }
}

static void attention_backward(dual_ctx *c, node *n) {
    c->flops += 2.5 * n->x;            /* five products of the forward's two: s, do.v, dq, dk, dv */
    if (c->memory) attention_run(n, 1);
}

dual_tensor *dual_attention(dual_ctx *c, dual_tensor *q, size_t heads, size_t kv_heads,
                            size_t n_keys, const dual_keys *keys, size_t parts,
                            const int32_t *border) {
    const size_t hd = heads ? q->cols / heads : 0;
    if (!hd || hd * heads != q->cols || hd > MAX_HEAD_DIM || !kv_heads || heads % kv_heads)
        die(c, "attention: %zu columns, %zu heads, %zu key heads", q->cols, heads, kv_heads);
    if ((size_t)border[parts] != q->rows) die(c, "attention: parts do not cover the rows");
    double pairs = 0;
    dual_tensor **ins = describe(c, 1 + 2 * n_keys, sizeof *ins);
    ins[0] = q;
    for (size_t r = 0; r < q->rows; r++) {
        double seen = 0;
        for (size_t l = 0; l < n_keys; l++) {
            if (keys[l].begin[r] < 0 || keys[l].begin[r] > keys[l].end[r] ||
                (size_t)keys[l].end[r] > keys[l].k->rows)
                die(c, "attention: row %zu sees keys %ld..%ld of %zu", r, (long)keys[l].begin[r],
                    (long)keys[l].end[r], keys[l].k->rows);
            seen += keys[l].end[r] - keys[l].begin[r];
        }
        if (seen == 0) die(c, "attention: row %zu sees no key", r);
        pairs += seen;
    }
    for (size_t l = 0; l < n_keys; l++) {
        if (keys[l].k->cols != kv_heads * hd || keys[l].v->cols != kv_heads * hd)
            die(c, "attention: keys of %zu columns, wanted %zu", keys[l].k->cols, kv_heads * hd);
        ins[1 + 2 * l] = keys[l].k;
        ins[2 + 2 * l] = keys[l].v;
    }
    dual_tensor *y = dual_tensor_new(c, q->rows, q->cols);
    node work = {0}, *n = record(c, y, attention_backward, 1 + 2 * n_keys, ins);
    if (!n) {                          /* nothing to record, but the loops want the same facts */
        n = &work;
        n->in = ins;
        n->out = y;
    }
    n->keys = keys;
    n->index = border;
    n->d = parts;
    n->a = kv_heads;
    n->b = n_keys;
    n->c = hd;
    n->x = 4.0 * pairs * (double)(heads * hd);   /* q.k and p v: 2 multiply-adds per pair */
    n->saved = dual_alloc(c, product(c, q->rows, heads), sizeof(real));
    c->flops += n->x;
    if (c->memory) attention_run(n, 0);
    return y;
}

/* ---- cross-entropy: mean over rows of lse(logits) - logits[target], as [1,1] ----
 * dlogits = (softmax - onehot) dloss / rows, written over the logits: no second [rows, V] array.
 * saved: log-sum-exp per row. */
static void cross_entropy_backward(dual_ctx *c, node *n) {
    dual_tensor *z = n->in[0];
    if (!c->memory) return;
    const real scale = n->out->grad[0] / (real)z->rows;
    OMP(omp parallel for schedule(static) if (z->rows * z->cols > 5000))
    for (size_t r = 0; r < z->rows; r++) {
        real *zr = z->data + r * z->stride;
        const real lse = n->saved[r];
        for (size_t j = 0; j < z->cols; j++) zr[j] = scale * exponential(zr[j] - lse);
        zr[n->index[r]] -= scale;
    }
}

dual_tensor *dual_cross_entropy(dual_ctx *c, dual_tensor *z, const int32_t *target) {
    dual_tensor *loss = dual_tensor_new(c, 1, 1);
    if (!z->rows || z->base) die(c, "cross-entropy: wants rows, and logits of their own");
    for (size_t r = 0; r < z->rows; r++)
        if (target[r] < 0 || (size_t)target[r] >= z->cols)
            die(c, "cross-entropy: target %ld of %zu", (long)target[r], z->cols);
    real *saved = dual_alloc(c, z->rows, sizeof(real));
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (z->rows * z->cols > 5000))
        for (size_t r = 0; r < z->rows; r++) {
            const real *zr = z->data + r * z->stride;
            const real top = largest(zr, z->cols);
            real part[BLOCK], sum = 0;
            for (size_t j = 0; j < z->cols; j += BLOCK) {
                const size_t count = least(z->cols - j, BLOCK);
                for (size_t i = 0; i < count; i++) part[i] = exponential(zr[j + i] - top);
                sum += total(part, count);
            }
            saved[r] = top + (real)log((double)sum);
        }
        double sum = 0;
        for (size_t r = 0; r < z->rows; r++)
            sum += (double)(saved[r] - z->data[r * z->stride + (size_t)target[r]]);
        loss->data[0] = (real)(sum / (double)z->rows);
    }
    node *n = record(c, loss, cross_entropy_backward, 1, &z);
    if (n) {
        n->saved = saved;
        n->index = target;
        n->in_place = 1;
    }
    return loss;
}

/* ---- orthogonality: mean over groups and slots i != j of c_ij^2, c_ij = u_i . u_j, as [1,1] ----
 * Every `slots` rows of z are one group; u_i = x_i / |x_i| with x = z, or centred: z less each
 * slot's mean over the groups. dx_i = 4 dloss / (rows (slots-1) |x_i|) sum_j c_ij (u_j - c_ij u_i)
 * wants the same cosines: forward leaves it in saved. A row equal in all groups (or one group) is,
 * centred, nothing but rounding and has no direction: it adds nothing and gets nothing. */
static void orthogonality_backward(dual_ctx *c, node *n) {
    const dual_tensor *z = n->in[0];
    for (size_t r = 0; c->memory && r < z->rows; r++)
        for (size_t j = 0; j < z->cols; j++)
            z->grad[r * z->stride + j] += n->out->grad[0] * n->saved[r * z->cols + j];
}

/* x [groups, slots * d] less its column means: a projection, so its backward is itself. */
static void centre(real *x, size_t groups, size_t cols) {
    for (size_t j = 0; j < cols; j++) {
        double mean = 0;
        for (size_t g = 0; g < groups; g++) mean += (double)x[g * cols + j] / (double)groups;
        for (size_t g = 0; g < groups; g++) x[g * cols + j] -= (real)mean;
    }
}

dual_tensor *dual_orthogonality(dual_ctx *c, dual_tensor *z, size_t slots, int centred) {
    const size_t rows = z->rows, d = z->cols, pairs = rows * (slots - 1);
    double sum = 0;
    if (slots < 2 || rows % slots) die(c, "orthogonality: %zu rows by %zu slots", rows, slots);
    dual_tensor *loss = dual_tensor_new(c, 1, 1), *inverse = dual_tensor_new(c, rows, 1);
    dual_tensor *u = dual_tensor_new(c, rows, d), *dx = dual_tensor_new(c, rows, d);
    node *n = record(c, loss, orthogonality_backward, 1, &z);
    if (n) n->saved = dx->data;
    if (!c->memory) return loss;
    for (size_t r = 0; r < rows; r++) {
        memcpy(u->data + r * d, z->data + r * z->stride, d * sizeof(real));
        inverse->data[r] = dot(u->data + r * d, u->data + r * d, d);
    }
    if (centred) centre(u->data, rows / slots, slots * d);
    for (size_t r = 0; r < rows; r++) {
        real *own = u->data + r * d;
        const double square = (double)dot(own, own, d), least = 1e-12 * (double)inverse->data[r];
        inverse->data[r] = (real)(square > least ? 1 / sqrt(square) : 0);
        for (size_t j = 0; j < d; j++) own[j] *= inverse->data[r];
    }
    memset(dx->data, 0, rows * d * sizeof(real));
    for (size_t r = 0; r < rows; r++)
        for (size_t i = r / slots * slots; i < (r / slots + 1) * slots; i++) {
            const real *own = u->data + r * d, *other = u->data + i * d;
            const real cosine = i == r ? 0 : dot(own, other, d);
            const real scale = 4 * cosine * inverse->data[r] / (real)pairs;
            sum += (double)(cosine * cosine);
            real *to = dx->data + r * d;
            for (size_t j = 0; j < d; j++) to[j] += scale * (other[j] - cosine * own[j]);
        }
    if (centred) centre(dx->data, rows / slots, slots * d);
    loss->data[0] = (real)(sum / (double)pairs);
    return loss;
}

/* ==== MODELS =====================================================================================
 * Owns: the one table of parameters per model (names as Hugging Face has them), GPT-2 and Qwen-3
 * blocks, and one pass over rows. A pass takes embeddings, explicit positions and what each row
 * sees; it leaves its keys and values behind as tape tensors, so handing a cache to another model
 * is handing it those tensors. Refuses: dropout, padding, masks, implied positions. */

struct dual_layer {
    dual_tensor *norm1_w, *norm1_b, *norm2_w, *norm2_b;
    dual_tensor *qkv_w, *qkv_b;                                  /* GPT-2: [d, 3d] */
    dual_tensor *q_w, *k_w, *v_w, *q_norm, *k_norm;              /* Qwen-3 */
    dual_tensor *o_w, *o_b, *gate_w, *up_w, *up_b, *down_w, *down_b;
};

int dual_config_check(dual_ctx *c, const dual_config *f) {
    const size_t most = (size_t)1 << 24;
    if (f->family != DUAL_GPT2 && f->family != DUAL_QWEN3)
        return dual_failed(c, "config: family must be gpt2 or qwen3");
    if (!f->vocab || !f->layers || !f->hidden || !f->heads || !f->kv_heads || !f->head_dim ||
        !f->mlp || !f->positions || f->vocab > most || f->layers > 4096 || f->hidden > most ||
        f->heads > 65536 || f->mlp > most || f->positions > ((size_t)1 << 30))
        return dual_failed(c,
                           "config: vocab %zu, positions %zu, layers %zu, hidden %zu, heads %zu, "
                           "key heads %zu, head_dim %zu, mlp %zu: zero or out of range",
                           f->vocab, f->positions, f->layers, f->hidden, f->heads, f->kv_heads,
                           f->head_dim, f->mlp);
    if (f->heads % f->kv_heads)
        return dual_failed(c, "config: %zu heads do not share %zu key heads", f->heads,
                           f->kv_heads);
    if (f->head_dim > MAX_HEAD_DIM)
        return dual_failed(c, "config: head_dim %zu, at most %d here", f->head_dim, MAX_HEAD_DIM);
    if (f->family == DUAL_GPT2 && (f->heads * f->head_dim != f->hidden || f->heads != f->kv_heads))
        return dual_failed(c, "config: GPT-2 wants hidden %zu = heads %zu x head_dim", f->hidden,
                           f->heads);
    if (f->family == DUAL_QWEN3 && f->head_dim % 2)
        return dual_failed(c, "config: head_dim %zu must be even to rotate", f->head_dim);
    if (!(f->norm_eps > 0) || (f->family == DUAL_QWEN3 && !(f->rope_theta > 0)))
        return dual_failed(c, "config: norm eps and rope theta must be above 0");
    return 1;
}

/* Adds one row to the parameter table. `name` may hold %zu for the layer. */
static void param(dual_ctx *c, dual_model *m, dual_tensor **slot, const char *name, size_t layer,
                  size_t rows, size_t cols, double init) {
    dual_param *p = &m->param[m->n_params++];
    snprintf(p->name, sizeof p->name, name, layer);
    p->vector = init <= 0;             /* norm weights and biases; every matrix starts random */
    *slot = p->tensor = tensor_of(c, rows, cols, p->vector ? DUAL_FULL : m->type);
    p->decay = !p->vector;
    p->init = init;
    p->rate = 1;
}

dual_model *dual_model_new(dual_ctx *c, const dual_config *f) {
    return dual_model_kept(c, f, DUAL_FULL);
}

dual_model *dual_model_kept(dual_ctx *c, const dual_config *f, int type) {
    dual_model *m = describe(c, 1, sizeof *m);
    const size_t d = f->hidden, q = f->heads * f->head_dim, kv = f->kv_heads * f->head_dim;
    /* GPT-2's 0.02 is 0.55 / sqrt(d) at its width 768; a narrow model learns faster with its own */
    const double std = 0.55 / sqrt((double)d), out = std / sqrt(2.0 * (double)f->layers);
    const double one = -1, zero = 0;
    m->config = *f;
    m->type = type;
    m->param = describe(c, 5 + 12 * f->layers, sizeof *m->param);
    m->layer = describe(c, f->layers, sizeof *m->layer);
    if (f->family == DUAL_GPT2) {
        param(c, m, &m->wte, "transformer.wte.weight", 0, f->vocab, d, std);
        param(c, m, &m->wpe, "transformer.wpe.weight", 0, f->positions, d, std);
        for (size_t l = 0; l < f->layers; l++) {
            struct dual_layer *y = &m->layer[l];
#define LAYER(slot, name, rows, cols, init) param(c, m, &y->slot, PREFIX name, l, rows, cols, init)
#define PREFIX "transformer.h.%zu."
            LAYER(norm1_w, "ln_1.weight", 1, d, one);
            LAYER(norm1_b, "ln_1.bias", 1, d, zero);
            LAYER(qkv_w, "attn.c_attn.weight", d, 3 * d, std);
            LAYER(qkv_b, "attn.c_attn.bias", 1, 3 * d, zero);
            LAYER(o_w, "attn.c_proj.weight", d, d, out);
            LAYER(o_b, "attn.c_proj.bias", 1, d, zero);
            LAYER(norm2_w, "ln_2.weight", 1, d, one);
            LAYER(norm2_b, "ln_2.bias", 1, d, zero);
            LAYER(up_w, "mlp.c_fc.weight", d, f->mlp, std);
            LAYER(up_b, "mlp.c_fc.bias", 1, f->mlp, zero);
            LAYER(down_w, "mlp.c_proj.weight", f->mlp, d, out);
            LAYER(down_b, "mlp.c_proj.bias", 1, d, zero);
#undef PREFIX
        }
        param(c, m, &m->norm_w, "transformer.ln_f.weight", 0, 1, d, one);
        param(c, m, &m->norm_b, "transformer.ln_f.bias", 0, 1, d, zero);
    } else {
        param(c, m, &m->wte, "model.embed_tokens.weight", 0, f->vocab, d, std);
        for (size_t l = 0; l < f->layers; l++) {
            struct dual_layer *y = &m->layer[l];
#define PREFIX "model.layers.%zu."
            LAYER(norm1_w, "input_layernorm.weight", 1, d, one);
            LAYER(q_w, "self_attn.q_proj.weight", q, d, std);
            LAYER(k_w, "self_attn.k_proj.weight", kv, d, std);
            LAYER(v_w, "self_attn.v_proj.weight", kv, d, std);
            LAYER(q_norm, "self_attn.q_norm.weight", 1, f->head_dim, one);
            LAYER(k_norm, "self_attn.k_norm.weight", 1, f->head_dim, one);
            LAYER(o_w, "self_attn.o_proj.weight", d, q, out);
            LAYER(norm2_w, "post_attention_layernorm.weight", 1, d, one);
            LAYER(gate_w, "mlp.gate_proj.weight", f->mlp, d, std);
            LAYER(up_w, "mlp.up_proj.weight", f->mlp, d, std);
            LAYER(down_w, "mlp.down_proj.weight", d, f->mlp, out);
#undef PREFIX
#undef LAYER
        }
        param(c, m, &m->norm_w, "model.norm.weight", 0, 1, d, one);
    }
    if (f->tied) m->head = m->wte;     /* one tensor, two uses: their gradients add up in it */
    else param(c, m, &m->head, "lm_head.weight", 0, f->vocab, d, std);
    return m;
}

static void fill(dual_param *p, dual_rng *rng) {
    const size_t n = p->tensor->rows * p->tensor->cols;
    for (size_t i = 0; numbers(p->tensor) && i < n; i++)
        set(p->tensor, i, (real)(p->init < 0 ? -p->init : p->init * dual_rng_normal(rng)));
}

void dual_model_init(dual_model *m, dual_rng rng) {
    for (size_t i = 0; i < m->n_params; i++) fill(&m->param[i], &rng);
}

void dual_model_copy(dual_model *to, const dual_model *from) {
    for (size_t i = 0; i < to->n_params; i++) {
        dual_tensor *t = to->param[i].tensor;
        const dual_tensor *s = from->param[i].tensor;
        for (size_t j = 0; numbers(t) && j < t->rows * t->cols; j++) set(t, j, dual_number(s, j));
    }
}

size_t dual_model_params(const dual_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_params; i++)
        n += m->param[i].tensor->rows * m->param[i].tensor->cols;
    return n;
}

/* Attention of one layer: this pass's own keys and values and the earlier caches, as key lists. */
static dual_tensor *look(dual_ctx *c, const dual_pass *p, size_t l, dual_tensor *q) {
    const dual_config *f = &p->model->config;
    dual_keys *keys = describe(c, p->n_seen, sizeof *keys);
    size_t n = 0;
    for (size_t i = 0; i < p->n_seen; i++) {
        const dual_cache *cache = p->seen[i].cache ? p->seen[i].cache : &p->cache;
        if (!cache->k[l]) continue;    /* nothing handed over at this layer */
        keys[n].k = cache->k[l];
        keys[n].v = cache->v[l];
        keys[n].begin = p->seen[i].begin;
        keys[n++].end = p->seen[i].end;
    }
    return dual_attention(c, q, f->heads, f->kv_heads, n, keys, p->parts, p->border);
}

/* x + attention(ln(x)), then + mlp(ln(.)). `last_keys`: only this layer's K and V are wanted, so
 * only their two thirds of c_attn are computed. */
static dual_tensor *gpt2_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int last_keys) {
    const struct dual_layer *y = &p->model->layer[l];
    const size_t d = p->model->config.hidden, q = last_keys ? 0 : d;
    const double eps = p->model->config.norm_eps;

    dual_tensor *h = dual_layernorm(c, x, y->norm1_w, y->norm1_b, eps);
    dual_tensor *qkv = dual_linear(c, h, dual_view(c, y->qkv_w, 0, d, d - q, 2 * d + q),
                                   dual_view(c, y->qkv_b, 0, 1, d - q, 2 * d + q), DUAL_IN_OUT);
    p->cache.k[l] = dual_view(c, qkv, 0, p->rows, q, d);
    p->cache.v[l] = dual_view(c, qkv, 0, p->rows, q + d, d);
    if (last_keys) return NULL;
    h = look(c, p, l, dual_view(c, qkv, 0, p->rows, 0, d));
    x = dual_add(c, x, dual_linear(c, h, y->o_w, y->o_b, DUAL_IN_OUT));

    h = dual_layernorm(c, x, y->norm2_w, y->norm2_b, eps);
    h = dual_gelu(c, dual_linear(c, h, y->up_w, y->up_b, DUAL_IN_OUT));
    return dual_add(c, x, dual_linear(c, h, y->down_w, y->down_b, DUAL_IN_OUT));
}

/* The same with RMSNorm, q and k normed per head and then rotated (the cache holds rotated keys),
 * no biases, weights [out,in], and a gated MLP. */
static dual_tensor *qwen3_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x,
                                int last_keys) {
    const struct dual_layer *y = &p->model->layer[l];
    const dual_config *f = &p->model->config;

    dual_tensor *h = dual_rmsnorm(c, x, y->norm1_w, f->norm_eps), *q, *k;
    k = dual_rmsnorm(c, dual_linear(c, h, y->k_w, NULL, DUAL_OUT_IN), y->k_norm, f->norm_eps);
    p->cache.k[l] = dual_rotary(c, k, f->head_dim, p->position, f->rope_theta);
    p->cache.v[l] = dual_linear(c, h, y->v_w, NULL, DUAL_OUT_IN);
    if (last_keys) return NULL;
    q = dual_rmsnorm(c, dual_linear(c, h, y->q_w, NULL, DUAL_OUT_IN), y->q_norm, f->norm_eps);
    h = look(c, p, l, dual_rotary(c, q, f->head_dim, p->position, f->rope_theta));
    x = dual_add(c, x, dual_linear(c, h, y->o_w, NULL, DUAL_OUT_IN));

    h = dual_rmsnorm(c, x, y->norm2_w, f->norm_eps);
    h = dual_swiglu(c, dual_linear(c, h, y->gate_w, NULL, DUAL_OUT_IN),
                    dual_linear(c, h, y->up_w, NULL, DUAL_OUT_IN));
    return dual_add(c, x, dual_linear(c, h, y->down_w, NULL, DUAL_OUT_IN));
}

static dual_tensor *one_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int last_keys) {
    return p->model->config.family == DUAL_GPT2 ? gpt2_block(c, p, l, x, last_keys)
                                                : qwen3_block(c, p, l, x, last_keys);
}

/* Recomputation (ctx->recompute): of a block nothing is kept but its input and the three outputs
 * that others read: keys, values and, but after the last keys, y. Backward runs the block again on
 * a tape of its own, scans that tape and forgets it. What it adds into and must not forget (x,
 * other passes' keys, weights) is among the node's inputs: those gradients lie below the mark. The
 * same kernels in the same order: not a bit differs.
 * block_into copies the outputs to where they are kept; its backward is a sum's of one term. */
static void block_into(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, dual_tensor **kept) {
    dual_tensor *const y = one_block(c, p, l, x, !kept[2]);
    dual_tensor *const made[3][2] = {{p->cache.k[l]}, {p->cache.v[l]}, {y}};
    for (int i = 0; i < 3 && kept[i]; i++) {
        const dual_tensor *from = made[i][0], *to = kept[i];
        const size_t rows = c->memory && !to->needs_grad ? to->rows : 0; /* not in backward */
        OMP(omp parallel for schedule(static) if (rows * to->cols > 20000))
        for (size_t r = 0; r < rows; r++)
            memcpy(to->data + r * to->cols, from->data + r * from->stride, to->cols * sizeof(real));
        record(c, kept[i], add_backward, 2, made[i]);
    }
    p->cache.k[l] = kept[0];
    p->cache.v[l] = kept[1];
}

static void block_backward(dual_ctx *c, node *n) {
    dual_tensor *kept[] = {n->out, n->also[0], n->also[1]}, *const k = n->pass->cache.k[n->a];
    const dual_mark mark = dual_mark_here(c);
    if (c->inference) die(c, "backward: blocks cannot be recomputed in inference");
    c->tape = NULL;
    block_into(c, n->pass, n->a, n->in[0], kept);
    n->pass->cache.k[n->a] = k;        /* NULL if this layer is not handed over */
    scan(c);
    dual_release(c, mark);
}

static dual_tensor *kept_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int last_keys) {
    enum { WEIGHTS = sizeof(struct dual_layer) / sizeof(dual_tensor *) };
    const size_t kv = p->model->config.kv_heads * p->model->config.head_dim;
    dual_tensor **in = describe(c, 1 + WEIGHTS + 2 * p->n_seen, sizeof *in), *kept[3] = {NULL};
    size_t n_in = 1 + WEIGHTS;
    in[0] = x;
    memcpy(in + 1, &p->model->layer[l], WEIGHTS * sizeof *in);
    for (size_t i = 0; i < p->n_seen && !last_keys; i++)
        if (p->seen[i].cache) {
            in[n_in++] = p->seen[i].cache->k[l];
            in[n_in++] = p->seen[i].cache->v[l];
        }
    for (int i = 0; i < 3 - last_keys; i++)
        kept[i] = dual_tensor_new(c, p->rows, i < 2 ? kv : x->cols);
    const dual_mark mark = dual_mark_here(c);
    block_into(c, p, l, x, kept);
    dual_release(c, mark);
    node *n = record(c, kept[0], block_backward, n_in, in);
    if (n) {
        n->pass = p;
        n->a = l;
        memcpy(n->also, kept + 1, sizeof n->also);
    }
    return kept[2];
}

dual_tensor *dual_forward(dual_ctx *c, dual_pass *p) {
    const dual_model *m = p->model;
    const dual_config *f = &m->config;
    dual_tensor *x = p->input;
    p->hidden = NULL;
    p->cache.k = describe(c, f->layers, sizeof *p->cache.k);
    p->cache.v = describe(c, f->layers, sizeof *p->cache.v);
    for (size_t r = 0; r < p->rows; r++)
        if (p->position[r] < 0 || (size_t)p->position[r] >= f->positions)
            die(c, "%s: position %ld of %zu", p->name, (long)p->position[r], f->positions);
    if (m->wpe) x = dual_add(c, x, dual_gather(c, 1, &p->model->wpe, p->rows, NULL, p->position));
    const size_t layers = p->layers ? p->layers : f->layers;
    for (size_t l = 0; l < layers; l++) {
        const int last_keys = p->cache_only && l + 1 == layers;
        if (p->trace) p->trace[l] = x;
        x = c->recompute ? kept_block(c, p, l, x, last_keys) : one_block(c, p, l, x, last_keys);
    }
    if (!x) return NULL;
    if (p->trace) p->trace[layers] = x;
    p->hidden = f->family == DUAL_GPT2 ? dual_layernorm(c, x, m->norm_w, m->norm_b, f->norm_eps)
                                       : dual_rmsnorm(c, x, m->norm_w, f->norm_eps);
    return p->hidden;
}

dual_tensor *dual_logits(dual_ctx *c, dual_model *m, dual_tensor *hidden) {
    return dual_linear(c, hidden, m->head, NULL, DUAL_OUT_IN);
}

/* ==== THE EXCHANGE ===============================================================================
 * One data flow serves every system:
 *
 *   read    Base on x                                  -> KV_theta            positions 0..n-1
 *   think   Coprocessor on S, past = KV_theta          -> Z, KV_phi           positions n..n+N_L-1
 *   speak   Base on [latents?; cue; y], past = KV_theta (+ KV_phi)            positions from n on
 *
 *   system    at the latent positions                       Base     Coprocessor  passes
 *   none      nothing: the cue follows x                    trained  -            1
 *   pause     one learned vector s, N_L times               trained  -            1
 *   soft      N_L learned vectors S                         trained  -            1
 *   prompt    as soft                                       frozen   -            2 (read untaped)
 *   wide      as soft, in one larger model                  trained  -            1
 *   coconut   s, then N_L states fed back one by one        trained  -            N_L+1
 *   liu       Z as input embeddings                         frozen   yes          3
 *   h2        Z as input embeddings                         trained  yes          3
 *   h1        nothing: KV_phi joins the Base's cache        frozen   yes          3
 *   h1h2      nothing: KV_phi joins the Base's cache        trained  yes          3
 *
 * Four of them side by side, each adding one thing:
 *   soft  the message is the same for every prompt: N_L trained vectors follow x, and whatever is
 *         thought about x is thought by the Base's own layers while it reads those rows.
 *   liu   the message depends on x: a second model reads the Base's cache and writes Z, which
 *         enters at the bottom, as if N_L more words had been read. The Base's weights never move,
 *         so the Coprocessor must write what the Base already understands.
 *   h1    same models, wider message: no Z; the Coprocessor's keys and values of every layer stand
 *         beside the Base's own, so each layer's attention reads the Coprocessor's state at its own
 *         depth. The Base computes nothing at the latents' positions.
 *   h2    liu with a Base that learns too: to use Z and, since gradient runs back through KV_theta,
 *         to write a cache worth thinking about.
 * Frozen does not mean untaped: in liu and h1 the loss reaches Z or KV_phi only through the Base's
 * speak pass, so its activations are recorded and gradient runs through weights that get none. Only
 * read, which nothing trained precedes, costs no tape.
 *
 * The cue is read after the latents and never scored. In liu, h2 and soft the last latent could
 * predict y_0 itself; in h1 there is no Base state at the latents, so something given must be read
 * there. Were it read there only, h1 would differ from liu in what it reads and not only in how
 * wide its message is: so every system reads the same cue, the question's line break.
 *
 * Several groups in one sequence (pretraining): each group has its own latents, cue and targets,
 * sees the text before its insertion point and itself, and nothing of the others. That is only row
 * ranges, so M groups are one pass per model.
 *
 * EASY TO GET WRONG, each said again beside its line: latents stand at n..n+N_L-1 and everything
 * after continues from there; Z is taken after the final norm; cached keys are already rotated; H1
 * hands over the N_L new entries only, the rest of the Coprocessor's past is KV_theta itself; a
 * trained Base gets gradient through KV_theta from think and from speak; under H1 nothing above the
 * Coprocessor's last keys and values is used, so nothing there is trained; the loss is one mean
 * over all targets of the batch; a tied embedding has one gradient from two uses.
 *
 * For the method read exchange() near this chapter's end first, then READ, THINK, EMBED, KV, each a
 * few lines; talk, layout and run_pass are where rows, positions and visibility become arrays. */

static const struct { const char *name; dual_injection inject; int trained; } SYSTEMS[] = {
    {"none", DUAL_NONE, 1},   {"pause", DUAL_PAUSE, 1},   {"soft", DUAL_SOFT, 1},
    {"prompt", DUAL_SOFT, 0}, {"wide", DUAL_SOFT, 1},     {"coconut", DUAL_CHAIN, 1},
    {"liu", DUAL_EMBED, 0},   {"h1", DUAL_KV, 0},         {"h2", DUAL_EMBED, 1},
    {"h1h2", DUAL_KV, 1},
};

dual_system dual_system_preset(const char *name) {
    dual_system s;
    memset(&s, 0, sizeof s);
    s.latents = SIZE_MAX;
    for (size_t i = 0; i < sizeof SYSTEMS / sizeof *SYSTEMS; i++)
        if (strcmp(name, SYSTEMS[i].name) == 0) {
            snprintf(s.name, sizeof s.name, "%s", name);
            s.inject = SYSTEMS[i].inject;
            s.base_trained = SYSTEMS[i].trained;
            s.latents = 0;
        }
    return s;
}

const char *dual_injection_name(dual_injection i) {
    static const char *const names[] = {"none", "pause", "soft", "chain", "embed", "kv"};
    return names[i];
}

int dual_system_needs_coprocessor(const dual_system *s) {
    return s->inject == DUAL_EMBED || s->inject == DUAL_KV;
}

/* Coconut's s stands before its N_L thoughts. */
size_t dual_latent_positions(const dual_system *s) {
    return s->inject == DUAL_NONE ? 0 : s->latents + (s->inject == DUAL_CHAIN);
}

/* kv: whether the Base sees layer l's entries; how many layers there are up to the last it sees. */
static int hands_over(const dual_system *s, size_t l) {
    return !s->kv_layers || (l < 64 && s->kv_layers >> l & 1);
}

static size_t layers_used(const dual_system *s, size_t layers) {
    while (!hands_over(s, layers - 1)) layers--;
    return layers;
}

/* Whether the Coprocessor's final states are used: as Z, or (kv) by the penalty on them alone. */
static int uses_states(const dual_system *s) {
    return s->inject == DUAL_EMBED || (s->inject == DUAL_KV && s->orthogonality > 0 && !s->values);
}

/* What cannot be or would mean nothing: the reason, else NULL. */
static const char *wrong_option(const dual_system *s, size_t layers) {
    const int cop = dual_system_needs_coprocessor(s), trained = s->base_trained;
    const int kv = s->inject == DUAL_KV, chain = s->inject == DUAL_CHAIN, on = s->orthogonality > 0;
    const struct { int wrong; const char *why; } rule[] = {
        {s->detach && !(cop && trained), "detach cuts a trained Base's cache from a Coprocessor"},
        {s->gain && !chain && (kv || !cop), "a latent gain scales injected states: embed or chain"},
        {(s->kv_layers && !kv) || (layers < 64 && s->kv_layers >> layers),
         "a list of layers says whose keys and values join: kv only, and layers that there are"},
        {!(s->orthogonality >= 0 && s->text_loss >= 0 && s->orthogonality + s->text_loss < 1e9),
         "the weights of orthogonality and text loss are numbers from 0 on"},
        {on && !(cop && s->latents > 1), "orthogonality wants embed or kv, and 2 latents or more"},
        {((s->centred || s->values) && !on) || (s->values && !kv),
         "centred and values are forms of an orthogonality above 0, values of kv only"},
        {s->text_loss > 0 && !trained, "a loss on plain text would train a Base that is frozen"},
        {s->fused && (chain || (trained && !cop)),
         "fused: a chain needs its passes, and a trained Base without a Coprocessor has but one"}};
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) if (rule[i].wrong) return rule[i].why;
    return NULL;
}

/* Whether the Base's speak pass has a row at the last latent, which could predict y_0. */
static int has_latent_rows(const dual_system *s) {
    return s->inject != DUAL_NONE && s->inject != DUAL_KV && s->latents > 0;
}

static void vector_param(dual_ctx *c, dual_param *p, const char *name, size_t rows, size_t cols,
                         double init, double rate) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->tensor = dual_tensor_new(c, rows, cols);
    p->init = init;
    p->rate = rate;
}

int dual_exchange_new(dual_ctx *c, dual_exchange *e, const dual_system *s, dual_model *base,
                      dual_model *cop) {
    memset(e, 0, sizeof *e);
    e->system = *s;
    e->base = base;
    const dual_config *b = &base->config;
    size_t width = b->hidden;
    if (dual_system_needs_coprocessor(s)) {
        if (!cop) return dual_failed(c, "%s injection needs a Coprocessor",
                                     dual_injection_name(s->inject));
        const dual_config *f = &cop->config;
        const char *why = f->family != b->family ? "family" : f->layers != b->layers ? "layers" :
            f->kv_heads != b->kv_heads ? "kv heads" : f->head_dim != b->head_dim ? "head_dim" :
            b->family == DUAL_QWEN3 && f->rope_theta != b->rope_theta ? "rope_theta" :
            s->inject == DUAL_EMBED && f->hidden != b->hidden ? "hidden size" : NULL;
        if (why) return dual_failed(c, "Base and Coprocessor differ in %s: the Coprocessor could "
                                    "not read the Base's cache, or the Base its answer", why);
        e->coprocessor = cop;
        width = f->hidden;
    }
    if (wrong_option(s, b->layers)) return dual_failed(c, "%s", wrong_option(s, b->layers));
    if (s->inject != DUAL_NONE)
        vector_param(c, &e->soft, "soft_tokens",
                     s->inject == DUAL_PAUSE || s->inject == DUAL_CHAIN ? 1 : s->latents, width,
                     0.02, 10);        /* soft tokens learn at 10 times the rate */
    if (s->gain) vector_param(c, &e->gain, "latent_gain", 1, 1, -1, 1);
    return 1;
}

static int same_shapes(const dual_model *a, const dual_model *b) {
    int same = a->n_params == b->n_params;
    for (size_t i = 0; same && i < a->n_params; i++)
        same = a->param[i].tensor->rows == b->param[i].tensor->rows &&
               a->param[i].tensor->cols == b->param[i].tensor->cols;
    return same;
}

/* The Coprocessor starts as a copy of the Base; S as the mean token embedding plus noise, distinct
 * per slot since equal slots would stay equal. */
void dual_exchange_init(dual_exchange *e, uint64_t seed) {
    dual_rng rng = dual_rng_seed(seed, 0x50F7);
    if (e->coprocessor && same_shapes(e->coprocessor, e->base))
        dual_model_copy(e->coprocessor, e->base);
    dual_tensor *s = e->soft.tensor, *wte = (e->coprocessor ? e->coprocessor : e->base)->wte;
    if (e->gain.tensor) fill(&e->gain, &rng);
    if (!s) return;
    fill(&e->soft, &rng);
    if (!s->data) return;
    for (size_t j = 0; j < s->cols; j++) {
        double mean = 0;
        for (size_t v = 0; v < wte->rows; v++) mean += (double)dual_number(wte, v * wte->cols + j);
        for (size_t i = 0; i < s->rows; i++)
            s->data[i * s->cols + j] += (real)(mean / (double)wte->rows);
    }
}

dual_param *dual_exchange_param(dual_exchange *e, size_t i, char *owner) {
    const size_t nb = e->base->n_params, nc = e->coprocessor ? e->coprocessor->n_params : 0;
    *owner = i < nb ? 'B' : i < nb + nc ? 'C' : 'S';
    if (i < nb) return &e->base->param[i];
    if (i < nb + nc) return &e->coprocessor->param[i - nb];
    i -= nb + nc;
    if (e->soft.tensor && i-- == 0) return &e->soft;
    if (e->gain.tensor && i-- == 0) return &e->gain;
    return NULL;
}

/* What is trained. Parameters that by structure get no gradient are left out of optimiser and
 * count: the Coprocessor reads soft tokens, not text, and has no head; under H1 the last layer that
 * the Base sees is used up to its keys and values only, and nothing above it. */
static int is_trained(const dual_exchange *e, char owner, const dual_tensor *t) {
    if (owner == 'B') return e->system.base_trained;
    if (owner == 'S') return 1;
    const dual_model *m = e->coprocessor;
    if (t == m->wte || t == m->head) return 0;
    if (uses_states(&e->system)) return 1;
    const size_t used = layers_used(&e->system, m->config.layers);
    for (size_t l = used - 1; l < m->config.layers; l++) {
        const struct dual_layer *y = &m->layer[l];
        const dual_tensor *unused[] = {y->q_w, y->q_norm, y->o_w, y->o_b, y->norm2_w, y->norm2_b,
            y->gate_w, y->up_w, y->up_b, y->down_w, y->down_b, m->norm_w, m->norm_b, /* keys: */
            y->norm1_w, y->norm1_b, y->qkv_w, y->qkv_b, y->k_w, y->v_w, y->k_norm};
        for (size_t i = 0; i < (l < used ? 13 : sizeof unused / sizeof *unused); i++)
            if (t == unused[i]) return 0;
    }
    return 1;
}

void dual_exchange_train(dual_ctx *c, dual_exchange *e) {
    char owner;
    dual_param *p;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        if (is_trained(e, owner, p->tensor)) dual_need_grad(c, p->tensor);
}

size_t dual_exchange_trained(dual_exchange *e) {
    char owner;
    dual_param *p;
    size_t n = 0;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        if (is_trained(e, owner, p->tensor)) n += p->tensor->rows * p->tensor->cols;
    /* GPT-2's c_attn is one tensor: under H1 the query third of the last gets no gradient (weight
     * decay still reaches it) and is not counted */
    if (e->coprocessor && e->base->config.family == DUAL_GPT2 && !uses_states(&e->system))
        n -= e->coprocessor->config.hidden * (e->coprocessor->config.hidden + 1);
    return n;
}

int dual_batch_check(dual_ctx *c, const dual_exchange *e, const dual_batch *b) {
    const dual_config *f = &e->base->config;
    const size_t slots = dual_latent_positions(&e->system), N = e->system.latents;
    const int drop = b->control.from == DUAL_DROP;
    if (drop && b->control.slot >= N)
        return dual_failed(c, "batch: cannot drop latent %zu of %zu", b->control.slot, N);
    if (!b->n_groups) return dual_failed(c, "batch: no group");
    for (size_t i = 0; i < b->n_sequences; i++) {
        if (b->length[i] > f->positions)
            return dual_failed(c, "batch: sequence %zu has %zu tokens, the model %zu positions", i,
                               b->length[i], f->positions);
        for (size_t j = 0; j < b->length[i]; j++)
            if (b->text[i][j] < 0 || (size_t)b->text[i][j] >= f->vocab)
                return dual_failed(c, "batch: token %ld of sequence %zu is not in the vocabulary "
                                   "of %zu", (long)b->text[i][j], i, f->vocab);
    }
    if (b->cue_rows && b->cue_rows->cols != f->hidden)
        return dual_failed(c, "batch: cue rows of %zu columns for a width of %zu",
                           b->cue_rows->cols, f->hidden);
    for (size_t g = 0; g < b->n_groups; g++) {
        const dual_group *q = &b->group[g];
        const size_t cue = b->cue_rows ? b->cue_rows->rows : q->n_cue;
        if (q->sequence >= b->n_sequences || q->prefix > b->length[q->sequence] ||
            (g && q->sequence < b->group[g - 1].sequence))
            return dual_failed(c, "batch: group %zu: sequence %zu, prefix %zu: out of range or "
                               "order", g, q->sequence, q->prefix);
        if (!cue && (!has_latent_rows(&e->system) || (drop && N == 1)))
            return dual_failed(c, e->system.inject == DUAL_KV
                ? "batch: an empty cue cannot work with kv injection: the Base has no state at the "
                  "latents that could predict the first target; give a cue"
                : "batch: an empty cue without latents leaves nothing to predict the first target "
                  "from; give a cue");
        if (q->prefix + slots + cue + q->n_target > f->positions)
            return dual_failed(c, "batch: prompt %zu + latents %zu + cue %zu + targets %zu = %zu "
                               "positions, the model has %zu", q->prefix, slots, cue, q->n_target,
                               q->prefix + slots + cue + q->n_target, f->positions);
        if (e->coprocessor && q->prefix + N > e->coprocessor->config.positions)
            return dual_failed(c, "batch: prompt %zu + latents %zu, the Coprocessor has %zu "
                               "positions", q->prefix, N, e->coprocessor->config.positions);
        for (size_t j = 0; j < q->n_cue + q->n_target; j++) {
            const int32_t t = j < q->n_cue ? q->cue[j] : q->target[j - q->n_cue];
            if (t < 0 || (size_t)t >= f->vocab)
                return dual_failed(c, "batch: token %ld of group %zu is not in the vocabulary of "
                                   "%zu", (long)t, g, f->vocab);
        }
    }
    return 1;
}

/* What one batch carries through its passes. A message is what stands at, or is seen from, the
 * latent positions. `past` is the exchange in one line: the caches that a group sees so far, each
 * as a range of rows per group. Read adds KV_theta, think adds KV_phi (H1), every coconut thought
 * adds itself, speak adds its own rows for decoding to go on from. */
typedef struct {
    dual_ctx *c;
    dual_exchange *e;
    const dual_batch *b;
    dual_outcome *out;
    size_t n_past;
    dual_seen *past;               /* begin, end: [groups] */
    int32_t *last;                 /* [groups] speak row that predicts the first target */
} talk;

/* The rows of one pass: per sequence its text (if here), then per group its latent rows, cue and
 * targets. A row sees the past of its group, its text prefix if that is in the same pass, and its
 * own group up to itself. */
enum { FROM_TOKENS, FROM_LATENTS, FROM_CUE };
enum { SLOT_ROW, ROW_ZERO, NEXT_ROW }; /* a latent row's source: slot i of S; s; one row each */
typedef struct {
    int text, latents_from, tail;  /* text and tail (cue, targets) are in this pass */
    size_t slots, shift;           /* latent rows per group; the first one's place after n */
    size_t rows, parts;
    int32_t *token, *which, *index, *position, *group, *prefix, *prefix_end, *own, *own_end;
    int32_t *border, *text_at, *first, *end;               /* [sequences+1], then [groups] */
} layout;

/* `index`: token id, latent row or cue row; `label`: what a reader is shown (dual_pass.token). */
static void add_row(layout *y, int which, size_t index, int32_t label, size_t position, int32_t g) {
    const size_t r = y->rows++;
    y->which[r] = which;
    y->index[r] = (int32_t)index;
    y->token[r] = label;
    y->position[r] = (int32_t)position;
    y->group[r] = g;
    y->own_end[r] = (int32_t)r + 1;
}

static void lay_out(talk *t, layout *y) {
    const dual_batch *b = t->b;
    const dual_control *k = &b->control;
    const size_t slots = dual_latent_positions(&t->e->system), G = b->n_groups;
    size_t room = 0;
    int32_t **const arrays[] = {&y->token, &y->which, &y->index, &y->position, &y->group,
                                &y->prefix, &y->prefix_end, &y->own, &y->own_end};
    for (size_t i = 0; y->text && i < b->n_sequences; i++) room += b->length[i];
    for (size_t g = 0; g < G; g++)
        room += y->slots + (y->tail ? (b->cue_rows ? b->cue_rows->rows : b->group[g].n_cue) +
                                          b->group[g].n_target : 0);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = describe(t->c, room, sizeof **arrays[i]);
    y->border = describe(t->c, b->n_sequences + 1, sizeof *y->border);
    y->text_at = describe(t->c, G, sizeof *y->text_at);
    y->first = describe(t->c, G, sizeof *y->first);
    y->end = describe(t->c, G, sizeof *y->end);
    for (size_t i = 0, g = 0; i < b->n_sequences; i++) {
        const size_t text = y->rows;
        for (size_t j = 0; y->text && j < b->length[i]; j++) {
            y->own[y->rows] = (int32_t)text;
            add_row(y, FROM_TOKENS, (size_t)b->text[i][j], b->text[i][j], j, -1);
        }
        for (; g < G && b->group[g].sequence == i; g++) {
            const dual_group *q = &b->group[g];
            const size_t n_cue = b->cue_rows ? b->cue_rows->rows : q->n_cue;
            size_t position = q->prefix + slots;
            y->text_at[g] = (int32_t)text;
            y->first[g] = (int32_t)y->rows;
            for (size_t s = 0; s < y->slots; s++) { /* latents stand at n.., whatever follows */
                const size_t row = y->latents_from == SLOT_ROW ? s :
                                   y->latents_from == ROW_ZERO ? 0 : g * y->slots + s;
                if (y->tail && k->from == DUAL_DROP && s == k->slot) continue;
                add_row(y, FROM_LATENTS, row, -1 - (int32_t)(y->shift + s),
                        q->prefix + y->shift + s, (int32_t)g);
            }
            for (size_t j = 0; y->tail && j < n_cue; j++)
                add_row(y, b->cue_rows ? FROM_CUE : FROM_TOKENS,
                        b->cue_rows ? j : (size_t)q->cue[j], b->cue_rows ? INT32_MIN : q->cue[j],
                        position++, (int32_t)g);
            if (t->last && y->tail) t->last[g] = (int32_t)y->rows - 1;
            for (size_t j = 0; y->tail && j + 1 < q->n_target; j++)
                add_row(y, FROM_TOKENS, (size_t)q->target[j], q->target[j], position++, (int32_t)g);
            y->end[g] = (int32_t)y->rows;
            for (size_t r = (size_t)y->first[g]; r < y->rows; r++) {
                y->own[r] = y->first[g];
                y->prefix[r] = (int32_t)text;
                y->prefix_end[r] = (int32_t)(text + (y->text ? q->prefix : 0));
            }
        }
        y->border[++y->parts] = (int32_t)y->rows;
    }
}

static void remember(talk *t, const dual_cache *cache, const int32_t *begin, const int32_t *end) {
    dual_seen *s = &t->past[t->n_past++];
    s->cache = cache;
    s->begin = begin;
    s->end = end;
}

/* Lays out a pass, runs it over `latents` (the source of its latent rows) and returns it. With
 * key_layers it ends at the keys and values of the last of so many layers. */
static dual_pass *run_pass(talk *t, const char *name, dual_model *m, layout *y,
                           dual_tensor *latents, size_t key_layers) {
    dual_ctx *c = t->c;
    lay_out(t, y);
    dual_pass *p = &t->out->pass[t->out->n_passes++];
    dual_seen *seen = describe(c, t->n_past + 2, sizeof *seen);
    for (size_t i = 0; i < t->n_past; i++) {
        int32_t *begin = describe(c, y->rows, sizeof *begin);
        int32_t *end = describe(c, y->rows, sizeof *end);
        for (size_t r = 0; r < y->rows; r++)
            if (y->group[r] >= 0) {
                begin[r] = t->past[i].begin[y->group[r]];
                end[r] = t->past[i].end[y->group[r]];
            }
        seen[i].cache = t->past[i].cache;
        seen[i].begin = begin;
        seen[i].end = end;
    }
    p->n_seen = t->n_past;
    if (y->text) {
        seen[p->n_seen].begin = y->prefix;
        seen[p->n_seen++].end = y->prefix_end;
    }
    seen[p->n_seen].begin = y->own;
    seen[p->n_seen++].end = y->own_end;
    dual_tensor *source[3];
    source[FROM_TOKENS] = m->wte;
    source[FROM_LATENTS] = y->slots ? latents : NULL;
    source[FROM_CUE] = y->tail ? t->b->cue_rows : NULL;
    p->name = name;
    p->model = m;
    p->rows = y->rows;
    p->parts = y->parts;
    p->token = y->token;
    p->position = y->position;
    p->border = y->border;
    p->seen = seen;
    p->cache_only = key_layers > 0;
    p->layers = key_layers;
    p->input = dual_gather(c, 3, source, y->rows, y->which, y->index);
    dual_forward(c, p);
    return p;
}

/* A cache whose keys and values went through `change`, layer by layer. */
static const dual_cache *changed(talk *t, const dual_cache *from,
                                 dual_tensor *(*change)(talk *, dual_tensor *, size_t)) {
    const size_t layers = t->e->base->config.layers;
    dual_cache *to = describe(t->c, 1, sizeof *to);
    to->k = describe(t->c, layers, sizeof *to->k);
    to->v = describe(t->c, layers, sizeof *to->v);
    for (size_t l = 0; l < layers; l++) {
        if (!from->k[l]) continue;
        to->k[l] = change(t, from->k[l], 2 * l);
        to->v[l] = change(t, from->v[l], 2 * l + 1);
    }
    return to;
}

static dual_tensor *without_gradient(talk *t, dual_tensor *x, size_t which) {
    (void)which;
    return dual_detach(t->c, x);
}

/* Evaluation only: [groups*N_L, w] rows replaced as the control says; slots stay in place. */
static dual_tensor *controlled(talk *t, dual_tensor *z, size_t stream) {
    const dual_control *k = &t->b->control;
    const size_t slots = t->e->system.latents, groups = t->b->n_groups, w = z->cols;
    if (k->from == DUAL_RIGHT || k->from == DUAL_DROP) return z;
    dual_tensor *to = dual_tensor_new(t->c, z->rows, w);
    for (size_t r = 0; t->c->memory && r < groups * slots; r++) {
        const size_t g = r / slots, i = r % slots;
        const real *own = z->data + r * z->stride;
        real *row = to->data + r * w;
        memset(row, 0, w * sizeof *row);
        if (k->from == DUAL_SWAPPED)
            memcpy(row, z->data + ((g + 1) % groups * slots + i) * z->stride, w * sizeof *row);
        for (size_t h = 0; k->from == DUAL_MEAN && h < groups; h++)
            for (size_t j = 0; j < w; j++)
                row[j] += z->data[(h * slots + i) * z->stride + j] / (real)groups;
        if (k->from == DUAL_NOISE) {
            dual_rng rng = dual_rng_seed(k->seed, (uint64_t)stream * 1000003u + r);
            for (size_t j = 0; j < w; j++) row[j] = (real)dual_rng_normal(&rng);
            const real norm = (real)sqrt((double)dot(own, own, w) / (double)dot(row, row, w));
            for (size_t j = 0; j < w; j++) row[j] *= norm;
        }
    }
    return to;
}

/* `per_group` rows of x for every group g, from row first[g] on. */
static dual_tensor *pick(talk *t, dual_tensor *x, size_t per_group, const int32_t *first) {
    int32_t *index = describe(t->c, t->b->n_groups * per_group, sizeof *index);
    for (size_t g = 0; g < t->b->n_groups; g++)
        for (size_t i = 0; i < per_group; i++)
            index[g * per_group + i] = first[g] + (int32_t)i;
    return dual_gather(t->c, 1, &x, t->b->n_groups * per_group, NULL, index);
}

/* [groups*n, w] from n tensors [groups, w]: group g's n rows side by side. */
static dual_tensor *interleave(talk *t, dual_tensor **part, size_t n) {
    const size_t rows = t->b->n_groups * n;
    int32_t *which = describe(t->c, rows, sizeof *which);
    int32_t *index = describe(t->c, rows, sizeof *index);
    for (size_t r = 0; r < rows; r++) {
        which[r] = (int32_t)(r % n);
        index[r] = (int32_t)(r / n);
    }
    return dual_gather(t->c, n, part, rows, which, index);
}

/* first[g] + plus for every group g */
static int32_t *shifted(talk *t, const int32_t *first, size_t plus) {
    int32_t *to = describe(t->c, t->b->n_groups, sizeof *to);
    for (size_t g = 0; g < t->b->n_groups; g++) to[g] = first[g] + (int32_t)plus;
    return to;
}

/* The texts of a pass as past: rows text_at .. text_at + prefix of each group. */
static void remember_text(talk *t, const dual_cache *cache, const layout *y) {
    int32_t *end = shifted(t, y->text_at, 0);
    for (size_t g = 0; g < t->b->n_groups; g++) end[g] += (int32_t)t->b->group[g].prefix;
    remember(t, cache, y->text_at, end);
}

/* READ: the Base on every text. Only its cache is wanted, so the last layer stops at K and V, but
 * for a loss on the text. With a frozen Base nothing here wants a gradient and nothing is recorded.
 * A trained Base gets gradient through this cache from think and speak, unless it is detached. */
static void read_texts(talk *t) {
    const dual_system *s = &t->e->system;
    const int states = s->text_loss > 0 && !s->fused;
    layout y = {.text = 1};
    size_t tokens = 0;
    for (size_t i = 0; i < t->b->n_sequences; i++) tokens += t->b->length[i];
    if (!tokens) return;
    dual_pass *p = run_pass(t, "read", t->e->base, &y, NULL,
                            states ? 0 : t->e->base->config.layers);
    remember_text(t, s->detach ? changed(t, &p->cache, without_gradient) : &p->cache, &y);
}

/* THINK: the Coprocessor on S for every group, past KV_theta up to its insertion point, soft tokens
 * causal among themselves. */
static dual_pass *think(talk *t, layout *y, size_t key_layers) {
    y->slots = t->e->system.latents;
    y->latents_from = SLOT_ROW;
    return run_pass(t, "think", t->e->coprocessor, y, t->e->soft.tensor, key_layers);
}

static dual_tensor *with_gain(talk *t, dual_tensor *z) {
    return t->e->gain.tensor ? dual_gain(t->c, z, t->e->gain.tensor) : z;
}

/* EMBED (liu, h2): the message is Z, after the final norm, no projection; the Base reads it as
 * N_L input rows of its own. */
static dual_tensor *message_embed(talk *t, layout *y) {
    layout thinking = {0};
    t->out->latents = think(t, &thinking, 0)->hidden;
    y->slots = t->e->system.latents;
    y->latents_from = NEXT_ROW;
    return controlled(t, with_gain(t, t->out->latents), 0);
}

/* KV (h1, h1h2): the message is the N_L new entries of the Coprocessor's cache, layer by layer;
 * they join what every group sees. Nothing above the keys and values of the last layer handed over
 * is computed, unless the penalty wants the final states. */
static void message_kv(talk *t) {
    const dual_system *s = &t->e->system;
    const size_t layers = t->e->base->config.layers, used = layers_used(s, layers);
    const size_t drop = t->b->control.slot;
    layout y = {0};
    const dual_cache *message = &think(t, &y, uses_states(s) ? 0 : used)->cache;
    for (size_t l = 0; l < layers; l++) if (!hands_over(s, l)) message->k[l] = NULL;
    t->out->latents = message->v[used - 1];
    if (t->b->control.from == DUAL_DROP) {
        remember(t, message, y.first, shifted(t, y.first, drop));
        remember(t, message, shifted(t, y.first, drop + 1), y.end);
    } else {
        if (t->b->control.from != DUAL_RIGHT) message = changed(t, message, controlled);
        remember(t, message, y.first, y.end);
    }
}

/* PAUSE, SOFT: learned vectors at the latents' positions; a control replaces each group's copy. */
static dual_tensor *message_learned(talk *t, layout *y) {
    const size_t N = t->e->system.latents, rows = N * t->b->n_groups;
    dual_tensor *s = t->e->soft.tensor;
    y->slots = N;
    y->latents_from = s->rows == N ? SLOT_ROW : ROW_ZERO;
    if (t->b->control.from == DUAL_RIGHT) return s;
    int32_t *index = describe(t->c, rows, sizeof *index);
    for (size_t r = 0; r < rows; r++) index[r] = s->rows == N ? (int32_t)(r % N) : 0;
    y->latents_from = NEXT_ROW;
    return controlled(t, dual_gather(t->c, 1, &s, rows, NULL, index), 0);
}

/* CHAIN (coconut): the Base itself thinks. First pass [x; s] with s at position n; thought i, at
 * n+i, is the final-norm state of position n+i-1. The last thought is fed by speak, with cue and
 * targets: N_L + 1 passes in all. A control replaces every thought: speak feeds them all anew. */
static dual_tensor *message_chain(talk *t, layout *y) {
    const size_t N = t->e->system.latents;
    dual_tensor **thought = describe(t->c, N + 1, sizeof *thought);
    layout first = {.text = 1, .slots = 1, .latents_from = ROW_ZERO}, one = first;
    dual_pass *p = run_pass(t, "read", t->e->base, &one, t->e->soft.tensor, 0);
    remember_text(t, &p->cache, &one);
    remember(t, &p->cache, one.first, one.end);
    const size_t past = t->n_past;
    for (size_t i = 1; i <= N; i++) {
        thought[i - 1] = with_gain(t, pick(t, p->hidden, 1, one.first));
        if (i == N) break;
        layout next = {.slots = 1, .shift = i, .latents_from = NEXT_ROW};
        one = next;
        p = run_pass(t, "think", t->e->base, &one, thought[i - 1], 0);
        remember(t, &p->cache, one.first, one.end);
    }
    if (!N) return NULL;
    y->latents_from = NEXT_ROW;
    y->slots = 1;
    y->shift = N;
    if (t->b->control.from == DUAL_RIGHT) return thought[N - 1];
    y->slots = N;
    y->shift = 1;
    t->n_past = past;
    return controlled(t, interleave(t, thought, N), 0);
}

/* For analysis only: the final-norm states at the slots of pause, soft, coconut, off the tape. */
static void slot_states(talk *t, const layout *y, const dual_pass *speech) {
    const size_t N = t->e->system.latents;
    const int inference = t->c->inference;
    if (t->out->latents || !y->slots || t->b->control.from == DUAL_DROP) return;
    t->c->inference = 1;
    t->out->latents = pick(t, speech->hidden, y->slots, y->first);
    if (y->slots < N) {                /* coconut: passes 1 .. N-1 hold the earlier thoughts */
        dual_tensor **state = describe(t->c, N, sizeof *state);
        for (size_t i = 1; i < N; i++) state[i - 1] = t->out->pass[i].hidden;
        state[N - 1] = t->out->latents;
        t->out->latents = interleave(t, state, N);
    }
    t->c->inference = inference;
}

/* The whole exchange; returns the speak pass. Systems that send no message from another pass have
 * their text in the speak pass itself when the Base is trained ([x; S; cue; y], fused); a frozen
 * Base reads it first, untaped. SPEAK is the Base on [latents?; cue; targets] of every group.
 * With `fused` so does every other system's text: think still reads KV_theta from a pass before,
 * which speak then does not see. Same numbers; the same gradients too, but that detach cannot cut
 * within speak. */
static dual_pass *exchange(talk *t) {
    const dual_system *s = &t->e->system;
    const int thinks = dual_system_needs_coprocessor(s), chain = s->inject == DUAL_CHAIN;
    dual_tensor *latents = NULL;
    layout y = {.tail = 1};
    t->past = describe(t->c, s->latents + 6, sizeof *t->past);
    t->last = describe(t->c, t->b->n_groups, sizeof *t->last);
    t->out->pass = describe(t->c, s->latents + 3, sizeof *t->out->pass);
    y.text = s->fused || (!thinks && !chain && s->base_trained);
    if ((thinks || !y.text) && !chain) read_texts(t);
    const size_t drop = s->fused ? t->n_past : 0;
    if (chain) latents = message_chain(t, &y);
    else if (s->latents) switch (s->inject) {
        case DUAL_EMBED: latents = message_embed(t, &y); break;
        case DUAL_KV: message_kv(t); break;
        case DUAL_PAUSE: case DUAL_SOFT: latents = message_learned(t, &y); break;
        default: break;
    }
    t->past += drop;
    t->n_past -= drop;
    dual_pass *p = run_pass(t, "speak", t->e->base, &y, latents, 0);
    if (y.text) remember_text(t, &p->cache, &y);
    remember(t, &p->cache, y.first, y.end);   /* for decoding, which goes on from here */
    slot_states(t, &y, p);
    return p;
}

/* Next-token loss on plain text: one mean over all texts' tokens but each one's first (none: NULL).
 * The texts' states are in the first pass, fused in the last, where each opens its sequence. */
static dual_tensor *text_loss(const talk *t) {
    const dual_batch *b = t->b;
    const dual_pass *p = &t->out->pass[t->e->system.fused ? t->out->n_passes - 1 : 0];
    int32_t *row = describe(t->c, 2 * p->rows, sizeof *row), *target = row + p->rows;
    dual_tensor *x = p->hidden;
    size_t n = 0;
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t j = 1; j < b->length[i]; j++) {
            row[n] = p->border[i] + (int32_t)j - 1;
            target[n++] = b->text[i][j];
        }
    if (!n) return NULL;
    x = dual_logits(t->c, p->model, dual_gather(t->c, 1, &x, n, NULL, row));
    return dual_cross_entropy(t->c, x, target);
}

static dual_tensor *plus(dual_ctx *c, dual_tensor *sum, double weight, dual_tensor *term) {
    dual_tensor *w = dual_tensor_new(c, 1, 1);
    if (c->memory) w->data[0] = (real)weight;
    term = dual_gain(c, term, w);
    return sum ? dual_add(c, sum, term) : term;
}

/* Orthogonality of the Coprocessor's final states (embed: Z itself), or, mean over layers, of the
 * values it hands over. Think is the pass before speak. */
static dual_tensor *penalty(const talk *t) {
    const dual_system *s = &t->e->system;
    const dual_pass *p = &t->out->pass[t->out->n_passes - 2];
    dual_tensor *sum = NULL;
    double n = 0;
    if (!s->values) return dual_orthogonality(t->c, p->hidden, s->latents, s->centred);
    for (size_t l = 0; l < p->model->config.layers; l++) n += hands_over(s, l);
    for (size_t l = 0; l < p->model->config.layers; l++)
        if (hands_over(s, l))
            sum = plus(t->c, sum, 1 / n,
                       dual_orthogonality(t->c, p->cache.v[l], s->latents, s->centred));
    return sum;
}

void dual_run(dual_ctx *c, dual_exchange *e, const dual_batch *b, dual_outcome *out) {
    talk t = {0};
    size_t m = 0;
    memset(out, 0, sizeof *out);
    if (!dual_batch_check(c, e, b)) c->fatal(c->error);
    t.c = c; t.e = e; t.b = b; t.out = out;
    dual_pass *p = exchange(&t);
    for (size_t g = 0; g < b->n_groups; g++) m += b->group[g].n_target;
    if (!m) return;
    int32_t *row = describe(c, m, sizeof *row), *target = describe(c, m, sizeof *target);
    m = 0;
    for (size_t g = 0; g < b->n_groups; g++)
        for (size_t j = 0; j < b->group[g].n_target; j++) {
            row[m] = t.last[g] + (int32_t)j;
            target[m++] = b->group[g].target[j];
        }
    out->logits = dual_logits(c, e->base, dual_gather(c, 1, &p->hidden, m, NULL, row));
    out->loss = out->target_loss = dual_cross_entropy(c, out->logits, target);
    if (c->inference) return;
    if (e->system.text_loss > 0) out->text_loss = text_loss(&t);
    if (e->system.orthogonality > 0) out->penalty = penalty(&t);
    if (out->text_loss) out->loss = plus(c, out->loss, e->system.text_loss, out->text_loss);
    if (out->penalty) out->loss = plus(c, out->loss, e->system.orthogonality, out->penalty);
}

/* ==== DECODING ===================================================================================
 * Owns: continuing every group token by token. The exchange runs once; each new token is one row
 * that sees its group's past and the tokens generated so far, kept in one buffer per layer. The
 * Coprocessor is not called again (Liu et al. 2024). Refuses: beam search, penalties. */

static int32_t choose(const real *logits, size_t vocab, dual_sampling *s) {
    size_t best = 0;
    for (size_t v = 1; v < vocab; v++) if (logits[v] > logits[best]) best = v;
    if (s->temperature <= 0) return (int32_t)best;
    double sum = 0, target;
    for (size_t v = 0; v < vocab; v++)
        sum += exp(((double)logits[v] - (double)logits[best]) / s->temperature);
    target = dual_rng_uniform(&s->rng) * sum;
    for (size_t v = 0; v < vocab; v++) {
        target -= exp(((double)logits[v] - (double)logits[best]) / s->temperature);
        if (target < 0) return (int32_t)v;
    }
    return (int32_t)best;
}

/* One decoding pass: a row for each of the n active groups, whose newest token is token[g]. */
static dual_pass *decode_pass(talk *t, const size_t *active, size_t n, const int32_t *token,
                              const int32_t *position, const dual_cache *buffer, size_t stride,
                              size_t done) {
    dual_ctx *c = t->c;
    dual_pass *p = describe(c, 1, sizeof *p);
    dual_seen *seen = describe(c, t->n_past + 2, sizeof *seen);
    int32_t *ids = describe(c, n, sizeof *ids), *at = describe(c, n, sizeof *at);
    int32_t *border = describe(c, n + 1, sizeof *border);
    for (size_t i = 0; i < t->n_past + 2; i++) {
        int32_t *begin = describe(c, n, sizeof *begin), *end = describe(c, n, sizeof *end);
        for (size_t r = 0; r < n; r++) {
            const size_t g = active[r];
            begin[r] = i < t->n_past ? t->past[i].begin[g]
                     : i == t->n_past ? (int32_t)(g * stride) : (int32_t)r;
            end[r] = i < t->n_past ? t->past[i].end[g]
                   : i == t->n_past ? (int32_t)(g * stride + done) : (int32_t)r + 1;
        }
        seen[i].cache = i < t->n_past ? t->past[i].cache : i == t->n_past ? buffer : NULL;
        seen[i].begin = begin;
        seen[i].end = end;
    }
    for (size_t r = 0; r < n; r++) {
        ids[r] = token[active[r]];
        at[r] = position[active[r]] + (int32_t)done;
        border[r + 1] = (int32_t)r + 1;
    }
    p->name = "decode";
    p->model = t->e->base;
    p->rows = p->parts = n;
    p->token = ids;
    p->position = at;
    p->border = border;
    p->n_seen = t->n_past + 2;
    p->seen = seen;
    p->input = dual_gather(c, 1, &t->e->base->wte, n, NULL, ids);
    dual_forward(c, p);
    return p;
}

void dual_generate(dual_ctx *c, dual_exchange *e, const dual_batch *batch, dual_sampling *s,
                   int32_t *tokens, size_t *length) {
    const dual_config *f = &e->base->config;
    const size_t G = batch->n_groups, stride = s->max_new, kv = f->kv_heads * f->head_dim;
    const int recorded = c->inference;
    const dual_mark start = dual_mark_here(c);
    dual_outcome out;
    dual_batch b = *batch;
    talk t = {0};
    c->inference = 1;
    if (!stride) die(c, "generate: max_new is 0");
    dual_group *group = describe(c, G, sizeof *group);
    for (size_t g = 0; g < G; g++) {
        group[g] = batch->group[g];
        group[g].n_target = 0;
    }
    b.group = group;
    if (!dual_batch_check(c, e, &b)) c->fatal(c->error);
    memset(&out, 0, sizeof out);
    t.c = c; t.e = e; t.b = &b; t.out = &out;
    dual_pass *p = exchange(&t);
    dual_tensor *logits = dual_logits(c, e->base, dual_gather(c, 1, &p->hidden, G, NULL, t.last));
    int32_t *position = describe(c, G, sizeof *position), *newest = describe(c, G, sizeof *newest);
    size_t *active = describe(c, G, sizeof *active), n = G;
    dual_cache buffer;
    buffer.k = describe(c, f->layers, sizeof *buffer.k);
    buffer.v = describe(c, f->layers, sizeof *buffer.v);
    for (size_t l = 0; l < f->layers; l++) {
        buffer.k[l] = dual_tensor_new(c, product(c, G, stride), kv);
        buffer.v[l] = dual_tensor_new(c, product(c, G, stride), kv);
    }
    for (size_t g = 0; g < G; g++) {
        active[g] = g;
        position[g] = p->position[t.last[g]] + 1;
        if ((size_t)position[g] + stride > f->positions + 1)
            die(c, "generate: %zu tokens from position %ld on, the model has %zu", stride,
                (long)position[g], f->positions);
        length[g] = stride + 1;
    }
    const dual_mark kept = dual_mark_here(c);
    for (size_t done = 0;; done++) {
        size_t left = 0;
        for (size_t r = 0; r < n; r++) {
            const size_t g = active[r];
            const real *row = c->memory ? logits->data + r * f->vocab : NULL;
            if (row && s->logits)
                memcpy(s->logits + (g * stride + done) * f->vocab, row, f->vocab * sizeof *row);
            newest[g] = row ? choose(row, f->vocab, s) : 0;
            if (row && newest[g] == s->end) {
                length[g] = done;
                continue;
            }
            tokens[g * stride + done] = newest[g];
            active[left++] = g;
        }
        n = left;
        if (!n || done + 1 == stride) break;
        if (!c->memory && done) break; /* counting: no later pass is larger */
        if (done) dual_release(c, kept);
        p = decode_pass(&t, active, n, newest, position, &buffer, stride, done);
        logits = dual_logits(c, e->base, p->hidden);
        for (size_t l = 0; c->memory && l < f->layers; l++)
            for (size_t r = 0; r < n; r++) {
                const size_t to = (active[r] * stride + done) * kv;
                memcpy(buffer.k[l]->data + to, p->cache.k[l]->data + r * p->cache.k[l]->stride,
                       kv * sizeof(real));
                memcpy(buffer.v[l]->data + to, p->cache.v[l]->data + r * p->cache.v[l]->stride,
                       kv * sizeof(real));
            }
    }
    dual_release(c, start);
    c->inference = recorded;
}

/* ==== OPTIMISER ==================================================================================
 * AdamW (Loshchilov and Hutter 2019) in one pass over everything trained. One global norm over all
 * gradients, clipped at `clip`, reported before clipping. Matrices are decayed (embeddings too);
 * biases, norms, soft tokens are not. Sums run over fixed chunks: the same bits for any threads. */
enum { CHUNK = 8192 };

static inline real square_root(real x) {
    return sizeof(real) == sizeof(float) ? (real)sqrtf((float)x) : (real)sqrt((double)x);
}

void dual_adamw_new(dual_ctx *c, dual_adamw *o, dual_exchange *e) {
    char owner;
    dual_param *p;
    size_t total_params = 0;
    memset(o, 0, sizeof *o);
    o->beta1 = 0.9; o->beta2 = 0.95; o->eps = 1e-8; o->decay = 0.1; o->clip = 1.0;
    while (dual_exchange_param(e, total_params, &owner)) total_params++;
    o->param = describe(c, total_params, sizeof *o->param);
    o->m = describe(c, total_params, sizeof *o->m);
    o->v = describe(c, total_params, sizeof *o->v);
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        if (!p->tensor->needs_grad) continue;
        const size_t n = p->tensor->rows * p->tensor->cols;
        o->m[o->n] = dual_alloc(c, n, sizeof(real));
        o->v[o->n] = dual_alloc(c, n, sizeof(real));
        if (c->memory) {
            memset(o->m[o->n], 0, n * sizeof(real));
            memset(o->v[o->n], 0, n * sizeof(real));
        }
        o->param[o->n++] = p;
    }
}

static double square_sum(const real *g, size_t n) {
    const size_t chunks = (n + CHUNK - 1) / CHUNK;
    double sum = 0;
    OMP(omp parallel for ordered schedule(static, 1) if (n > 4 * CHUNK))
    for (size_t k = 0; k < chunks; k++) {
        const size_t first = k * CHUNK, count = least(n - first, CHUNK);
        double part = 0;
        for (size_t i = 0; i < count; i += BLOCK) {
            const size_t w = least(count - i, BLOCK);
            part += (double)dot(g + first + i, g + first + i, w);
        }
        OMP(omp ordered)
        sum += part;                   /* in the order of the chunks */
    }
    return sum;
}

double dual_adamw_step(dual_ctx *c, dual_adamw *o, double rate) {
    double norm = 0;
    o->step++;
    if (!c->memory) return 0;
    for (size_t i = 0; i < o->n; i++)
        norm += square_sum(o->param[i]->tensor->grad,
                           o->param[i]->tensor->rows * o->param[i]->tensor->cols);
    norm = sqrt(norm);
    const double scale = o->clip > 0 && o->clip < norm + 1e-6 ? o->clip / (norm + 1e-6) : 1;
    const double fix1 = 1 - pow(o->beta1, (double)o->step),
                 fix2 = 1 - pow(o->beta2, (double)o->step);
    for (size_t i = 0; i < o->n; i++) {
        const dual_param *p = o->param[i];
        const size_t n = p->tensor->rows * p->tensor->cols;
        const double lr = rate * p->rate;
        const real keep = (real)(p->decay ? 1 - lr * o->decay : 1), s = (real)scale;
        const real b1 = (real)o->beta1, b2 = (real)o->beta2, eps = (real)o->eps;
        const real step = (real)(lr / fix1), fix = (real)(1 / sqrt(fix2));
        real *w = p->tensor->data, *g = p->tensor->grad, *m = o->m[i], *v = o->v[i];
        OMP(omp parallel for schedule(static) if (n > 4 * CHUNK))
        for (size_t j = 0; j < n; j++) {
            const real d = g[j] * s;
            m[j] = b1 * m[j] + (1 - b1) * d;
            v[j] = b2 * v[j] + (1 - b2) * d * d;
            w[j] = w[j] * keep - step * m[j] / (square_root(v[j]) * fix + eps);
            g[j] = 0;
        }
    }
    return norm;
}

double dual_schedule(uint64_t step, uint64_t steps, double warmup, double peak) {
    double warm = floor(warmup * (double)steps);
    if (warm < 1) warm = 1;
    if ((double)step < warm) return peak * ((double)step + 1) / warm;
    const double rest = (double)steps - warm;
    if (rest <= 0) return peak;
    return peak * 0.5 * (1 + cos(3.141592653589793 * ((double)step - warm) / rest));
}

/* ==== JSON =======================================================================================
 * A value is a slice of the text: nothing is allocated. dual_json_text checks the whole text once
 * (RFC 8259, nesting up to JSON_DEPTH); the others may then trust it. */
enum { JSON_DEPTH = 64 };

static const char *skip_blank(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

static const char *check_string(const char *p, const char *end) { /* p at the opening quote */
    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) return NULL;
        if (*p != '\\') continue;
        if (++p == end) return NULL;
        if (*p == 'u') {
            for (int i = 0; i < 4; i++)
                if (++p >= end || !strchr("0123456789abcdefABCDEF", *p) || !*p) return NULL;
        } else if (!strchr("\"\\/bfnrt", *p) || !*p) return NULL;
    }
    return p < end ? p + 1 : NULL;
}

static const char *check_digits(const char *p, const char *end) {
    const char *from = p;
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p > from ? p : NULL;
}

static const char *check_number(const char *p, const char *end) {
    if (p < end && *p == '-') p++;
    if (p + 1 < end && p[0] == '0' && p[1] >= '0' && p[1] <= '9') return NULL;
    p = check_digits(p, end);
    if (p && p < end && *p == '.') p = check_digits(p + 1, end);
    if (p && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        p = check_digits(p, end);
    }
    return p;
}

/* The end of the value at p, or NULL if it is not one. */
static const char *check_value(const char *p, const char *end, int depth) {
    static const char *const words[] = {"true", "false", "null"};
    if (p == end || depth > JSON_DEPTH) return NULL;
    if (*p == '"') return check_string(p, end);
    if (*p == '-' || (*p >= '0' && *p <= '9')) return check_number(p, end);
    for (int i = 0; i < 3; i++)
        if ((size_t)(end - p) >= strlen(words[i]) && !memcmp(p, words[i], strlen(words[i])))
            return p + strlen(words[i]);
    if (*p != '{' && *p != '[') return NULL;
    const char close = *p == '{' ? '}' : ']';
    p = skip_blank(p + 1, end);
    if (p < end && *p == close) return p + 1;
    for (;;) {
        if (close == '}') {
            if (p == end || *p != '"' || !(p = check_string(p, end))) return NULL;
            p = skip_blank(p, end);
            if (p == end || *p != ':') return NULL;
            p = skip_blank(p + 1, end);
        }
        if (!(p = check_value(p, end, depth + 1))) return NULL;
        p = skip_blank(p, end);
        if (p == end) return NULL;
        if (*p == close) return p + 1;
        if (*p != ',') return NULL;
        p = skip_blank(p + 1, end);
    }
}

static dual_json slice(const char *begin, const char *end) {
    dual_json j;
    j.begin = begin;
    j.end = end;
    return j;
}

dual_json dual_json_text(const char *text, size_t length) {
    const char *end = text + length, *from = skip_blank(text, end);
    const char *to = check_value(from, end, 0);
    return to && skip_blank(to, end) == end ? slice(from, to) : slice(NULL, NULL);
}

int dual_json_type(dual_json j) {
    if (!j.begin || j.begin >= j.end) return 0;
    return *j.begin == '-' || (*j.begin >= '0' && *j.begin <= '9') ? '0' : *j.begin;
}

/* The end of a value known to be well formed: strings skipped, brackets counted. */
static const char *value_end(const char *p, const char *end) {
    int open = 0;
    if (*p != '{' && *p != '[' && *p != '"') {
        while (p < end && !strchr(",]} \t\r\n", *p)) p++;
        return p;
    }
    do {
        if (*p == '"') p = check_string(p, end);
        else {
            open += *p == '{' || *p == '[';
            open -= *p == '}' || *p == ']';
            p++;
        }
    } while (open && p && p < end);
    return p;
}

int dual_json_each(dual_json container, dual_json *key, dual_json *value) {
    const int type = dual_json_type(container);
    const char *end = container.end;
    if (type != '{' && type != '[') return 0;
    const char *p = skip_blank(value->begin ? value->end : container.begin + 1, end);
    if (p < end && value->begin && *p == ',') p = skip_blank(p + 1, end);
    if (p >= end || *p == '}' || *p == ']') return 0;
    *key = slice(NULL, NULL);
    if (type == '{') {
        *key = slice(p, check_string(p, end));
        p = skip_blank(skip_blank(key->end, end) + 1, end);
    }
    *value = slice(p, value_end(p, end));
    return 1;
}

static size_t put_utf8(char *out, size_t size, size_t at, uint32_t u) {
    unsigned char b[4];
    size_t n = u < 0x80 ? 1 : u < 0x800 ? 2 : u < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, u >>= 6) b[i] = (unsigned char)(0x80 | (u & 0x3F));
    b[0] = (unsigned char)(lead[n] | u);
    for (size_t i = 0; i < n; i++) if (at + i + 1 < size) out[at + i] = (char)b[i];
    return n;
}

static uint32_t hex4(const char *p) {
    uint32_t u = 0;
    for (int i = 0; i < 4; i++) {
        const char ch = p[i];
        u = u * 16 + (uint32_t)(ch <= '9' ? ch - '0' : (ch | 32) - 'a' + 10);
    }
    return u;
}

size_t dual_json_string(dual_json j, char *out, size_t size) {
    size_t n = 0;
    if (size) out[0] = 0;
    if (dual_json_type(j) != '"') return 0;
    for (const char *p = j.begin + 1; p < j.end - 1; p++) {
        uint32_t u = (unsigned char)*p;
        if (*p == '\\') {
            static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
            const char *k = strchr(from, *++p);
            u = k ? (unsigned char)to[k - from] : (unsigned char)*p;
            if (*p == 'u') {
                u = hex4(p + 1);
                p += 4;
                if (u >= 0xD800 && u < 0xDC00 && p + 6 < j.end && p[1] == '\\' && p[2] == 'u') {
                    const uint32_t low = hex4(p + 3);
                    if (low >= 0xDC00 && low < 0xE000) {
                        u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
                        p += 6;
                    }
                }
                if (u >= 0xD800 && u < 0xE000) u = 0xFFFD; /* half a pair */
                n += put_utf8(out, size, n, u);
                continue;
            }
        }
        if (n + 1 < size) out[n] = (char)u;
        n++;
    }
    if (size) out[n < size ? n : size - 1] = 0;
    return n;
}

size_t dual_json_quote(const char *text, char *out, size_t size) {
    size_t n = 0;
    for (; *text && n + 8 < size; text++)
        if ((unsigned char)*text < 0x20)
            n += (size_t)sprintf(out + n, "\\u%04x", (unsigned)*text);
        else {
            if (*text == '"' || *text == '\\') out[n++] = '\\';
            out[n++] = *text;
        }
    out[n] = 0;
    return n;
}

dual_json dual_json_get(dual_json object, const char *key) {
    dual_json k, v = slice(NULL, NULL);
    char name[256];
    if (dual_json_type(object) == '{')
        while (dual_json_each(object, &k, &v))
            if (dual_json_string(k, name, sizeof name) < sizeof name && !strcmp(name, key))
                return v;
    return slice(NULL, NULL);
}

double dual_json_number(dual_json j, double otherwise) {
    char text[64];
    const size_t n = (size_t)(j.end - j.begin);
    if (dual_json_type(j) != '0' || n >= sizeof text) return otherwise;
    memcpy(text, j.begin, n);
    text[n] = 0;
    return strtod(text, NULL);
}

#ifndef DUAL_NO_STDIO
/* ==== FILES ======================================================================================
 * Owns: safetensors in and out, config.json, whole Hugging Face folders. Bytes are assembled one by
 * one, so any byte order and alignment will do; numbers are converted in small chunks, no second
 * copy of a file is held. Everything is written under a temporary name, flushed and renamed.
 * Refuses: pickles, types other than F64, F32, F16, BF16 and I64, headers that do not add up. */

char *dual_text_read(dual_ctx *c, const char *path, size_t *length) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        dual_failed(c, "%s: cannot be opened: is the path right?", path);
        return NULL;
    }
    size_t n = 0, room = 65536;
    char *text = malloc(room);
    while (text) {
        n += fread(text + n, 1, room - 1 - n, f);
        if (n + 1 < room) break;
        char *more = room > SIZE_MAX / 2 ? NULL : realloc(text, room *= 2);
        if (!more) free(text);
        text = more;
    }
    const int bad = ferror(f);
    fclose(f);
    if (!text || bad) {
        free(text);
        dual_failed(c, text ? "%s: cannot be read (a folder?)" : "%s: too large for the memory",
                    path);
        return NULL;
    }
    text[n] = 0;
    *length = n;
    return text;
}

/* Opens path.tmp for writing; save_end flushes and renames it, or removes it when `good` is 0. */
static FILE *save_begin(dual_ctx *c, const char *path, char *temporary, size_t size) {
    FILE *f = NULL;
    if ((size_t)snprintf(temporary, size, "%s.tmp", path) < size) f = fopen(temporary, "wb");
    if (!f)
        dual_failed(c, "%s: cannot be written: does the folder exist, may you write there?", path);
    return f;
}

static int save_end(dual_ctx *c, FILE *f, const char *path, const char *temporary, int good) {
    good = good && flush_to_disk(f);
    good = fclose(f) == 0 && good;
#ifdef _WIN32
    if (good) remove(path);            /* rename does not replace there */
#endif
    if (good && rename(temporary, path) == 0) return 1;
    remove(temporary);
    return dual_failed(c, "%s: could not be written whole (disk full?); what was there before is "
                       "untouched", path);
}

int dual_text_save(dual_ctx *c, const char *path, const char *text, size_t length) {
    char temporary[1100];
    FILE *f = save_begin(c, path, temporary, sizeof temporary);
    return f && save_end(c, f, path, temporary, fwrite(text, 1, length, f) == length);
}

/* ---- safetensors: 8 bytes header length, little-endian; JSON header; data ---- */
static const struct { const char *name; size_t size; } TYPES[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},
};
enum { F32 = DUAL_FULL, F16 = DUAL_F16, BF16 = DUAL_BF16, F64, I64, OTHER };

typedef struct {
    char name[128], type_name[8];
    int type;
    size_t rows, cols, count;
    uint64_t begin, end;               /* bytes within the data */
} entry;

struct dual_file {
    FILE *f;
    char path[1024];
    char *header;
    dual_json json;
    entry *tensor;                     /* sorted by name */
    size_t n;
    uint64_t data, at;                 /* where the data starts, where the file stands */
};

static uint64_t little(const unsigned char *b, int n) {
    uint64_t x = 0;
    while (n--) x = x << 8 | b[n];
    return x;
}

static int by_place(const void *a, const void *b) {
    const uint64_t x = ((const entry *)a)->begin, y = ((const entry *)b)->begin;
    return x < y ? -1 : x > y;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* One header entry; returns what is wrong with it, or NULL. */
static const char *read_entry(entry *t, dual_json key, dual_json value, uint64_t data_bytes) {
    dual_json shape = dual_json_get(value, "shape"), offsets = dual_json_get(value, "data_offsets");
    dual_json k, v = slice(NULL, NULL);
    double bound[2] = {-1, -1}, dim;
    size_t i = 0;
    if (dual_json_string(key, t->name, sizeof t->name) >= sizeof t->name) return "name too long";
    if (dual_json_string(dual_json_get(value, "dtype"), t->type_name, sizeof t->type_name) >=
        sizeof t->type_name || !t->type_name[0]) return "no dtype";
    if (dual_json_type(shape) != '[' || dual_json_type(offsets) != '[')
        return "no shape or offsets";
    t->rows = t->cols = t->count = 1;
    while (dual_json_each(shape, &k, &v)) {
        dim = dual_json_number(v, -1);
        if (!(dim >= 0 && dim <= 4294967295.0) || dim != floor(dim)) return "bad shape";
        if (dim > 0 && t->count > SIZE_MAX / 16 / (size_t)dim) return "shape too large";
        t->rows = t->rows * t->cols;
        t->cols = (size_t)dim;
        t->count = t->rows * t->cols;
    }
    for (v = slice(NULL, NULL); dual_json_each(offsets, &k, &v); i++)
        if (i < 2) bound[i] = dual_json_number(v, -1);
    if (i != 2 || !(bound[0] >= 0 && bound[0] <= bound[1] && bound[1] <= (double)data_bytes) ||
        bound[0] != floor(bound[0]) || bound[1] != floor(bound[1]))
        return "data_offsets outside the file (is it cut short?)";
    t->begin = (uint64_t)bound[0];
    t->end = (uint64_t)bound[1];
    for (t->type = 0; t->type < OTHER; t->type++)
        if (!strcmp(t->type_name, TYPES[t->type].name)) break;
    if (t->type < OTHER && t->end - t->begin != (uint64_t)t->count * TYPES[t->type].size)
        return "shape and data_offsets disagree";
    return NULL;
}

/* Fills s->tensor from the header; returns what is wrong, or NULL. */
static const char *read_header(dual_file *s, uint64_t header_bytes, uint64_t data_bytes) {
    dual_json k, v = slice(NULL, NULL);
    s->json = dual_json_text(s->header, (size_t)header_bytes);
    if (dual_json_type(s->json) != '{') return "header is not a JSON object";
    size_t n = 0;
    while (dual_json_each(s->json, &k, &v)) n++;
    s->tensor = calloc(n + 1, sizeof *s->tensor);
    if (!s->tensor) return "header too large for the memory";
    for (v = slice(NULL, NULL); dual_json_each(s->json, &k, &v);) {
        char name[16];
        if (dual_json_string(k, name, sizeof name) == 12 && !strcmp(name, "__metadata__")) continue;
        const char *why = read_entry(&s->tensor[s->n], k, v, data_bytes);
        if (why) return why;
        s->n++;
    }
    qsort(s->tensor, s->n, sizeof *s->tensor, by_place);
    for (size_t i = 1; i < s->n; i++)
        if (s->tensor[i].begin < s->tensor[i - 1].end) return "tensors overlap";
    qsort(s->tensor, s->n, sizeof *s->tensor, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (!strcmp(s->tensor[i].name, s->tensor[i - 1].name)) return "a name stands twice";
    return NULL;
}

dual_file *dual_file_open(dual_ctx *c, const char *path) {
    unsigned char word[8];
    const char *why = "cannot be opened: is the path right?";
    dual_file *s = calloc(1, sizeof *s);
    long size = -1;
    if (s) s->f = fopen(path, "rb");
    if (s && s->f) {
        snprintf(s->path, sizeof s->path, "%s", path);
        why = "is cut short or no safetensors file";
        if (fseek(s->f, 0, SEEK_END) == 0) size = ftell(s->f);
        const uint64_t bytes = size < 0 ? 0 : (uint64_t)size;
        if (bytes >= 8 && fseek(s->f, 0, SEEK_SET) == 0 && fread(word, 1, 8, s->f) == 8) {
            const uint64_t n = little(word, 8);
            if (n <= bytes - 8 && n <= 100000000 && (s->header = malloc((size_t)n + 1)) != NULL &&
                fread(s->header, 1, (size_t)n, s->f) == n) {
                s->data = s->at = 8 + n;
                why = read_header(s, n, bytes - 8 - n);
                if (!why) return s;
            }
        }
    }
    dual_failed(c, "%s: %s", path, why);
    dual_file_close(s);
    return NULL;
}

void dual_file_close(dual_file *s) {
    if (!s) return;
    if (s->f) fclose(s->f);
    free(s->header);
    free(s->tensor);
    free(s);
}

size_t dual_file_count(const dual_file *s) { return s->n; }

dual_entry dual_file_entry(const dual_file *s, size_t i) {
    dual_entry e;
    memcpy(e.name, s->tensor[i].name, sizeof e.name);
    memcpy(e.type, s->tensor[i].type_name, sizeof e.type);
    e.rows = s->tensor[i].rows;
    e.cols = s->tensor[i].cols;
    e.count = s->tensor[i].count;
    return e;
}

size_t dual_file_find(const dual_file *s, const char *name) {
    entry wanted, *found;
    if (strlen(name) >= sizeof wanted.name) return SIZE_MAX;
    strcpy(wanted.name, name);
    found = bsearch(&wanted, s->tensor, s->n, sizeof wanted, by_name);
    return found ? (size_t)(found - s->tensor) : SIZE_MAX;
}

size_t dual_file_note(const dual_file *s, const char *key, char *out, size_t size) {
    return dual_json_string(dual_json_get(dual_json_get(s->json, "__metadata__"), key), out, size);
}

static double number_from(const unsigned char *b, int type) {
    union { uint32_t i; float f; } single;
    union { uint64_t i; double f; } wide;
    const uint16_t half = (uint16_t)little(b, 2);
    if (type == F16 || type == BF16) return (double)element(&half, 0, type);
    if (type == F32) {
        single.i = (uint32_t)little(b, 4);
        return (double)single.f;
    }
    wide.i = little(b, 8);
    return type == F64 ? wide.f : (double)(int64_t)wide.i;
}

/* Entry i into a tensor of either kind: 16 bits of the same type bit for bit, others rounded. */
static int read_tensor(dual_ctx *c, dual_file *s, size_t i, dual_tensor *out) {
    const entry *t = &s->tensor[i];
    unsigned char chunk[8192];
    if (t->type == OTHER)
        return dual_failed(c, "%s: %s has type %s, readable are F32 F16 BF16 F64 I64", s->path,
                           t->name, t->type_name);
    /* forward in steps a 32-bit long can hold; the next tensor is usually right here */
    if (s->data + t->begin < s->at) {
        rewind(s->f);
        s->at = 0;
    }
    while (s->at < s->data + t->begin) {
        const uint64_t far = s->data + t->begin - s->at, step = far < 1 << 30 ? far : 1 << 30;
        if (fseek(s->f, (long)step, SEEK_CUR) != 0) break;
        s->at += step;
    }
    const size_t width = TYPES[t->type].size, most = sizeof chunk / width;
    for (size_t done = 0; done < t->count;) {
        const size_t n = least(t->count - done, most);
        if (fread(chunk, width, n, s->f) != n) {
            s->at = UINT64_MAX;        /* wherever it stands now, start over next time */
            return dual_failed(c, "%s: %s is cut short", s->path, t->name);
        }
        s->at += n * width;
        for (size_t k = 0; k < n; k++) {
            const unsigned char *at = chunk + k * width;
            if (out->half && t->type == out->type) out->half[done + k] = (uint16_t)little(at, 2);
            else set(out, done + k, (real)number_from(at, t->type));
        }
        done += n;
    }
    return 1;
}

int dual_file_read(dual_ctx *c, dual_file *s, size_t i, real *out) {
    dual_tensor t = {.data = out};
    return read_tensor(c, s, i, &t);
}

/* The header in the order of the table, then every tensor, little-endian: F32, or 16 bits kept. */
int dual_file_save(dual_ctx *c, const char *path, size_t n, const dual_param *const *p,
                   const char *note) {
    char temporary[1100], line[400];
    unsigned char chunk[4096];
    FILE *f = save_begin(c, path, temporary, sizeof temporary);
    if (!f) return 0;
    size_t room = 256 + 6 * (note ? strlen(note) : 0) + n * sizeof line, at, good = 1;
    char *header = malloc(room);
    if (!header) return save_end(c, f, path, temporary, 0);
    uint64_t offset = 0;
    at = (size_t)sprintf(header, "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"");
    at += dual_json_quote(note ? note : "", header + at, room - at);
    at += (size_t)sprintf(header + at, "\"}");
    for (size_t i = 0; i < n; i++) {
        const dual_tensor *t = p[i]->tensor;
        const uint64_t bytes = (uint64_t)t->rows * t->cols * TYPES[t->type].size;
        if (p[i]->vector) snprintf(line, sizeof line, "%zu", t->cols);
        else snprintf(line, sizeof line, "%zu,%zu", t->rows, t->cols);
        at += (size_t)snprintf(header + at, room - at, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                               "\"data_offsets\":[%llu,%llu]}", p[i]->name,
                               TYPES[t->type].name, line, (unsigned long long)offset,
                               (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    header[at++] = '}';
    while (at % 8) header[at++] = ' '; /* data starts aligned, as the format asks of writers */
    for (int i = 0; i < 8; i++) chunk[i] = (unsigned char)((uint64_t)at >> (8 * i));
    good = fwrite(chunk, 1, 8, f) == 8 && fwrite(header, 1, at, f) == at;
    free(header);
    for (size_t i = 0; good && i < n; i++) {
        const dual_tensor *t = p[i]->tensor;
        const size_t count = t->rows * t->cols, width = TYPES[t->type].size;
        const size_t most = sizeof chunk / width;
        for (size_t done = 0; good && done < count;) {
            const size_t k = least(count - done, most);
            for (size_t j = 0; j < k; j++) {
                union { uint32_t i; float f; } x;
                if (t->half) x.i = t->half[done + j];
                else x.f = (float)t->data[done + j];
                for (size_t b = 0; b < width; b++)
                    chunk[width * j + b] = (unsigned char)(x.i >> (8 * b));
            }
            good = fwrite(chunk, width, k, f) == k;
            done += k;
        }
    }
    return save_end(c, f, path, temporary, (int)good);
}

/* ---- config.json ---- */

/* A whole number of the config; several names may say the same thing. */
static int config_size(dual_ctx *c, dual_json j, const char *folder, const char *name,
                       const char *other, double otherwise, size_t *out) {
    dual_json v = dual_json_get(j, name);
    if (!dual_json_type(v) && other) v = dual_json_get(j, other);
    const int missing = dual_json_type(v) == 0 || dual_json_type(v) == 'n';
    const double x = missing ? otherwise : dual_json_number(v, -1);
    if (!(x >= 1 && x <= 1e9) || x != floor(x))
        return dual_failed(c, "%s/config.json: %s must be a whole number above 0", folder, name);
    *out = (size_t)x;
    return 1;
}

static int config_real(dual_ctx *c, dual_json v, const char *folder, const char *name,
                       double otherwise, double *out) {
    *out = dual_json_type(v) ? dual_json_number(v, -1) : otherwise;
    return *out > 0 || dual_failed(c, "%s/config.json: %s must be a number above 0", folder, name);
}

static int config_word_is(dual_json j, const char *name, const char *a, const char *b) {
    char word[64];
    if (!dual_json_type(dual_json_get(j, name))) return 1;
    dual_json_string(dual_json_get(j, name), word, sizeof word);
    return !strcmp(word, a) || !strcmp(word, b);
}

static int config_true(dual_json j, const char *name) {
    return dual_json_type(dual_json_get(j, name)) == 't';
}

int dual_config_read(dual_ctx *c, const char *folder, dual_config *f) {
    char path[1024], family[32];
    size_t n;
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, "%s/config.json", folder);
    char *text = dual_text_read(c, path, &n);
    if (!text) return 0;
    dual_json j = dual_json_text(text, n), v;
    int ok = dual_json_type(j) == '{' || dual_failed(c, "%s: not a JSON object", path);
    dual_json_string(dual_json_get(j, "model_type"), family, sizeof family);
    if (ok && !strcmp(family, "gpt2")) {
        f->family = DUAL_GPT2;
        f->tied = dual_json_type(dual_json_get(j, "tie_word_embeddings")) != 'f';
        ok = config_real(c, dual_json_get(j, "layer_norm_epsilon"), folder, "layer_norm_epsilon",
                         1e-5, &f->norm_eps) &&
             config_size(c, j, folder, "vocab_size", NULL, 0, &f->vocab) &&
             config_size(c, j, folder, "n_positions", "n_ctx", 0, &f->positions) &&
             config_size(c, j, folder, "n_layer", NULL, 0, &f->layers) &&
             config_size(c, j, folder, "n_embd", NULL, 0, &f->hidden) &&
             config_size(c, j, folder, "n_head", NULL, 0, &f->heads) &&
             config_size(c, j, folder, "n_inner", NULL, 4.0 * (double)f->hidden, &f->mlp);
        f->kv_heads = f->heads;
        f->head_dim = f->heads ? f->hidden / f->heads : 0;
        if (ok && !config_word_is(j, "activation_function", "gelu_new", "gelu_pytorch_tanh"))
            ok = dual_failed(c, "%s: activation_function must be gelu_new", path);
        if (ok && (config_true(j, "scale_attn_by_inverse_layer_idx") ||
                   dual_json_type(dual_json_get(j, "scale_attn_weights")) == 'f'))
            ok = dual_failed(c, "%s: only attention scaled by 1/sqrt(head_dim) is known", path);
    } else if (ok && !strcmp(family, "qwen3")) {
        f->family = DUAL_QWEN3;
        f->tied = config_true(j, "tie_word_embeddings");
        v = dual_json_get(j, "rope_theta");
        if (!dual_json_type(v))
            v = dual_json_get(dual_json_get(j, "rope_parameters"), "rope_theta");
        ok = config_real(c, dual_json_get(j, "rms_norm_eps"), folder, "rms_norm_eps", 1e-6,
                         &f->norm_eps) &&
             config_real(c, v, folder, "rope_theta", 10000, &f->rope_theta) &&
             (config_word_is(dual_json_get(j, "rope_parameters"), "rope_type", "default", "") ||
              dual_failed(c, "%s: only plain rotary positions are known here", path)) &&
             config_size(c, j, folder, "vocab_size", NULL, 0, &f->vocab) &&
             config_size(c, j, folder, "max_position_embeddings", NULL, 0, &f->positions) &&
             config_size(c, j, folder, "num_hidden_layers", NULL, 0, &f->layers) &&
             config_size(c, j, folder, "hidden_size", NULL, 0, &f->hidden) &&
             config_size(c, j, folder, "num_attention_heads", NULL, 0, &f->heads) &&
             config_size(c, j, folder, "num_key_value_heads", NULL, (double)f->heads,
                         &f->kv_heads) &&
             config_size(c, j, folder, "head_dim", NULL, (double)(f->hidden / f->heads),
                         &f->head_dim) && /* not hidden / heads in the released models */
             config_size(c, j, folder, "intermediate_size", NULL, 0, &f->mlp);
        v = dual_json_get(j, "rope_scaling");
        if (ok && dual_json_type(v) && dual_json_type(v) != 'n')
            ok = dual_failed(c, "%s: rope_scaling is not known here, must be null", path);
        if (ok && (config_true(j, "use_sliding_window") || config_true(j, "attention_bias")))
            ok = dual_failed(c, "%s: sliding windows and attention biases are unknown here", path);
        if (ok && !config_word_is(j, "hidden_act", "silu", "swish"))
            ok = dual_failed(c, "%s: hidden_act must be silu", path);
    } else if (ok)
        ok = dual_failed(c, "%s: model_type \"%s\": must be gpt2 or qwen3", path, family);
    free(text);
    return ok && dual_config_check(c, f);
}

static int config_save(dual_ctx *c, const dual_config *f, const char *type, const char *folder) {
    char path[1024], text[2048];
    /* GPT-2's end token, Hugging Face's default: not one of a smaller vocabulary */
    const char *end = f->family == DUAL_GPT2 && f->vocab > 50256 ? "50256" : "null";
    int n;
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (f->family == DUAL_GPT2)
        n = snprintf(text, sizeof text, "{\n  \"architectures\": [\"GPT2LMHeadModel\"],\n"
            "  \"model_type\": \"gpt2\",\n  \"activation_function\": \"gelu_new\",\n"
            "  \"vocab_size\": %zu,\n  \"n_positions\": %zu,\n  \"n_ctx\": %zu,\n"
            "  \"n_embd\": %zu,\n  \"n_layer\": %zu,\n  \"n_head\": %zu,\n  \"n_inner\": %zu,\n"
            "  \"layer_norm_epsilon\": %.9g,\n  \"attn_pdrop\": 0.0,\n  \"embd_pdrop\": 0.0,\n"
            "  \"resid_pdrop\": 0.0,\n", f->vocab, f->positions, f->positions, f->hidden, f->layers,
            f->heads, f->mlp, f->norm_eps);
    else
        n = snprintf(text, sizeof text, "{\n  \"architectures\": [\"Qwen3ForCausalLM\"],\n"
            "  \"model_type\": \"qwen3\",\n  \"hidden_act\": \"silu\",\n  \"vocab_size\": %zu,\n"
            "  \"max_position_embeddings\": %zu,\n  \"hidden_size\": %zu,\n"
            "  \"intermediate_size\": %zu,\n  \"num_hidden_layers\": %zu,\n"
            "  \"num_attention_heads\": %zu,\n  \"num_key_value_heads\": %zu,\n"
            "  \"head_dim\": %zu,\n  \"rms_norm_eps\": %.9g,\n  \"rope_theta\": %.17g,\n"
            "  \"rope_scaling\": null,\n  \"attention_bias\": false,\n"
            "  \"attention_dropout\": 0.0,\n  \"use_sliding_window\": false,\n", f->vocab,
            f->positions, f->hidden, f->mlp, f->layers, f->heads, f->kv_heads, f->head_dim,
            f->norm_eps, f->rope_theta);
    n += snprintf(text + n, sizeof text - (size_t)n, "  \"tie_word_embeddings\": %s,\n"
                  "  \"bos_token_id\": %s,\n  \"eos_token_id\": %s,\n"
                  "  \"torch_dtype\": \"%s\",\n  \"use_cache\": true\n}\n",
                  f->tied ? "true" : "false", end, end, type);
    return dual_text_save(c, path, text, (size_t)n);
}

/* ---- whole models ---- */

/* The file of `folder` that holds `name`: model.safetensors, or what the index says. Keeps the last
 * file open, since neighbours usually share one. */
static int open_shard(dual_ctx *c, const char *folder, dual_json map, const char *name,
                      dual_file **open, char *current, size_t size) {
    char file[512] = "model.safetensors", path[1024];
    if (dual_json_type(map)) {
        const char *bare = strncmp(name, "transformer.", 12) ? name : name + 12;
        dual_json v = dual_json_get(map, name);
        if (!dual_json_type(v)) v = dual_json_get(map, bare);
        if (!dual_json_type(v) || dual_json_string(v, file, sizeof file) >= sizeof file ||
            strchr(file, '/') || strchr(file, '\\'))
            return dual_failed(c, "%s/model.safetensors.index.json: no file named for %s", folder,
                               name);
    }
    if (*open && !strcmp(current, file)) return 1;
    dual_file_close(*open);
    snprintf(current, size, "%s", file);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    *open = dual_file_open(c, path);
    return *open != NULL;
}

int dual_model_load(dual_ctx *c, dual_model *m, const char *folder) {
    char path[1024], current[512] = "";
    dual_file *file = NULL;
    size_t length;
    unsigned types = 0;                /* of the matrices, a bit each */
    int ok = 1;
    dual_json map = slice(NULL, NULL);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    FILE *probe = fopen(path, "rb");
    if (probe) fclose(probe);
    char *index = probe ? dual_text_read(c, path, &length) : NULL;
    if (probe && !index) return 0;
    if (index) {
        map = dual_json_get(dual_json_text(index, length), "weight_map");
        if (!dual_json_type(map)) ok = dual_failed(c, "%s: no weight_map in it", path);
    }
    for (size_t i = 0; ok && i < m->n_params; i++) {
        const dual_param *p = &m->param[i];
        ok = open_shard(c, folder, map, p->name, &file, current, sizeof current);
        if (!ok) break;
        size_t at = dual_file_find(file, p->name);
        if (at == SIZE_MAX && !strncmp(p->name, "transformer.", 12))
            at = dual_file_find(file, p->name + 12); /* the hub's gpt2 has no prefix */
        if (at == SIZE_MAX) {
            ok = dual_failed(c, "%s/%s: no tensor %s", folder, current, p->name);
            break;
        }
        const dual_entry t = dual_file_entry(file, at);
        if (t.rows != p->tensor->rows || t.cols != p->tensor->cols)
            ok = dual_failed(c, "%s/%s: %s is [%zu,%zu], the config wants [%zu,%zu]", folder,
                             current, p->name, t.rows, t.cols, p->tensor->rows, p->tensor->cols);
        else if (numbers(p->tensor)) ok = read_tensor(c, file, at, p->tensor);
        if (!p->vector) types |= 1u << file->tensor[at].type;
    }
    m->file_type = types == 1u << F16 ? DUAL_F16 : types == 1u << BF16 ? DUAL_BF16 : DUAL_FULL;
    dual_file_close(file);
    free(index);
    return ok;
}

int dual_model_save(dual_ctx *c, const dual_model *m, const char *folder, const char *note) {
    char path[1024];
    if (!dual_make_folder(folder)) return dual_failed(c, "%s: this folder cannot be made", folder);
    const dual_param **all = calloc(m->n_params, sizeof *all);
    if (!all) return dual_failed(c, "%s: no memory to write it", folder);
    for (size_t i = 0; i < m->n_params; i++) all[i] = &m->param[i];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    const char *type = m->type == DUAL_F16 ? "float16" : m->type ? "bfloat16" : "float32";
    const int ok = dual_file_save(c, path, m->n_params, all, note) &&
                   config_save(c, &m->config, type, folder);
    free(all);
    return ok;
}
#endif
