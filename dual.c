/* dual.c - dual-model latent reasoning in one file of C99.
 *
 * WHAT IT IS. Two language models of the same shape talk through their KV caches. The Base reads a
 * prompt. The Coprocessor receives the Base's keys and values of every layer, runs once over N_L
 * learned soft tokens, and hands latents back: as input embeddings (liu, h2) or as keys and values
 * (h1, h1h2). The Base, frozen or trained, then answers. `soft` is the baseline, one model with as
 * many learned embeddings and no Coprocessor. arXiv 2510.00494 asks which of these reasons better.
 *
 * CONTENTS, by section name (each opens with a banner that says what it owns and refuses):
 *   PLATFORM         compiler and system; FILES has the rest of the #ifdefs
 *   MEMORY           one block, marks, counting mode; errors
 *   RANDOM NUMBERS   splitmix64, one word of state
 *   TENSOR AND TAPE  what an activation is, and how gradients are recorded and computed
 *   ONE ROW TIMES A MATRIX  decoding's kernel: as fast as memory
 *   MATMUL           training's kernel: as fast as the multipliers
 *   OPERATIONS       formula, forward, backward, constructor: one screen each
 *   MODELS           GPT-2 and Qwen-3 blocks side by side, one forward pass with a KV cache
 *   THE EXCHANGE     read, think, speak: every system of the method
 *   DECODING         greedy and temperature sampling with the cache
 *   OPTIMISER        AdamW, clipping, schedule
 *   JSON             read in place; like FILES it is left out by DUAL_NO_STDIO
 *   FILES            safetensors, config.json, whole models
 *
 * READING PATHS. Only autograd: TENSOR AND TAPE, then dual_add and dual_linear. Only the models:
 * MODELS, looking up operations as needed. Only the method: THE EXCHANGE, top to bottom; it needs
 * dual_gather, which picks rows, and dual_pass (dual.h), which describes one forward pass.
 *
 * LETTERS. d hidden width, V vocabulary, L layers, H query heads, hd head_dim, N_L latents per
 * augmentation, n prompt length, m number of targets, S [N_L,d] soft tokens, Z [N_L,d] the
 * Coprocessor's last-layer states, theta and phi the parameters of Base and Coprocessor, KV_theta
 * and KV_phi their caches. A shape like [rows, d] is always row-major; each row of an activation
 * belongs to one token or latent. In the code c is the context and e the exchange. */

/* ==== PLATFORM ===================================================================================
 * Everything that depends on compiler or system. The system is asked for files only: those above
 * 2 GiB, flushing them to the disk, replacing one by another.
 * BARE METAL. With DUAL_NO_STDIO all that is called is memcpy, memset, memcmp, strlen and libm.
 *   no files    JSON and FILES are left out; dual_model_view takes weights from where they lie
 *   no heap     only counting needs one: count on a host (its pointers are wider: an upper bound)
 *   no threads  none are made without OpenMP
 *   no double   float still sums losses, norms and FLOPs in double: the compiler's library does it
 *   no console  set ctx.fatal; where it returns, or is the default, the program stays in HALT
 *   small       DUAL_BLOCK 16 for the stack; ctx.recompute, in inference too, for the block */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "dual.c cannot be built with -ffast-math or -ffinite-math-only: it must see a NaN"
#endif
#if (defined(__unix__) || defined(__APPLE__) || defined(__wasi__)) && !defined(DUAL_NO_STDIO)
#define DUAL_POSIX
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#define _FILE_OFFSET_BITS 64           /* files above 2 GiB where a long has 32 bits */
#endif
#include "dual.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>
#ifdef DUAL_NO_STDIO
#define CLAIM(bytes) NULL              /* for descriptions, while counting */
#define YIELD(memory) ((void)(memory))
static void fatal_default(const char *message) { (void)message; }
#define HALT for (;;) {}
#else
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#define CLAIM(bytes) malloc(bytes)
#define YIELD(memory) free(memory)
static void fatal_default(const char *message) { fprintf(stderr, "dual: %s\n", message); }
#define HALT abort()
#endif
#ifdef DUAL_POSIX
#include <unistd.h>
#define SEEK(f, at, whence) fseeko(f, (off_t)(at), whence)
#define TELL(f) ftello(f)
#define SYNC(f) fsync(fileno(f))
#define REPLACE(from, to) (rename(from, to) == 0)
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>                   /* its rename does not replace a file */
#include <io.h>
#define SEEK(f, at, whence) _fseeki64(f, (__int64)(at), whence)
#define TELL(f) _ftelli64(f)
#define SYNC(f) _commit(_fileno(f))
#define REPLACE(from, to) MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING)
#else
#define SEEK(f, at, whence) fseek(f, (long)(at), whence)
#define TELL(f) ftell(f)
#define SYNC(f) 0
#define REPLACE(from, to) (rename(from, to) == 0)
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

/* The matmul's micro-kernel keeps MR x NR sums, about as many as the vector registers hold, or MR x
 * SLIM for up to FEW columns; a VECTOR is one register. PACK_A: beyond FEW columns A is packed too,
 * unless a multiply-add can take one number from memory into all lanes (AVX-512). MC_TILES tiles
 * of MR rows stay in the cache. */
#if defined(__AVX512F__)
enum { VECTOR = 64 / sizeof(real), MR = 8, PACK_A = 0, MC_TILES = 64 };
#elif defined(__AVX__)
enum { VECTOR = 32 / sizeof(real), MR = 6, PACK_A = 1, MC_TILES = 32 };
#elif defined(__aarch64__)
enum { VECTOR = 16 / sizeof(real), MR = 8, PACK_A = 1, MC_TILES = 24 };
#else
enum { VECTOR = 16 / sizeof(real), MR = 6, PACK_A = 1, MC_TILES = 32 };
#endif
#if defined(__clang__)                 /* keeps the tile's sums in memory unless told otherwise */
#define UNROLL _Pragma("clang loop unroll(full)")
#define WHOLE UNROLL
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)                /* once unrolled, a loop of one vector is not vectorised */
#define UNROLL
#define WHOLE _Pragma("GCC unroll 1")
#define ROLLED
#endif
/* A panel of B is KC steps deep (a single narrow one DUAL_DEEP); NC_PANELS of them make a part.
 * Up to TURNED rows of A may become the columns of B. */
#ifndef DUAL_PACK_K
#define DUAL_PACK_K 256
#endif
enum { NR = 2 * VECTOR, SLIM = PACK_A ? NR : VECTOR, FEW = PACK_A ? 4 * NR : SLIM,
       TURNED = PACK_A ? FEW : 2 * NR, KC = DUAL_PACK_K, NC_PANELS = 512 / NR };
#ifndef DUAL_DEEP                      /* what is narrow depends on VECTOR: KC makes sums equal */
#define DUAL_DEEP (KC * NC_PANELS)
#endif
#ifdef __GNUC__                        /* inlined, so that a constant `type` is one in the loops */
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define UNROLL
#define WHOLE
#define ROLLED
#define INLINE static inline
#define PREFETCH(address) ((void)(address))
#endif
/* BLOCK: queries, keys, numbers of a sum at a time: attention's stack, 57 KB, or 8 KB with 16.
 * PARTS: ranges of a row times a matrix. */
#ifndef DUAL_BLOCK
#define DUAL_BLOCK 64
#endif
enum { MAX_HEAD_DIM = 256, BLOCK = DUAL_BLOCK, LANES = 8, PARTS = 8 };

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

void dual_threads(int n) {
    if (n > 0) omp_set_num_threads((int)least((size_t)n, 256));
}

/* ==== MEMORY =====================================================================================
 * Owns one block handed in by the caller, used as a stack: parameters at the bottom, then gradients
 * and the optimiser's moments, then, above a mark, the activations and the tape of one step.
 * Refuses: freeing a single object; memory goes back by marks only.
 * The block holds numbers (dual_alloc: tensors' data) and descriptions (describe: tensor headers,
 * tape nodes, index arrays). In counting mode (memory NULL) descriptions are real, from malloc, and
 * numbers do not exist: running a training step then tells how many bytes it needs. */

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct dual_chunk { struct dual_chunk *next; };

/* The caller's fatal may jump away; if it returns, there is nothing to go on with. */
static void stop(dual_ctx *c) {
    c->fatal(c->error);
    HALT;
}

/* printf's work where there is none, or one that knows no size_t: %s is a string, %d an int, %z a
 * size_t. What does not fit is cut; returns the full length. */
static size_t put(char *to, size_t size, const char *format, ...) {
    size_t n = 0;
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        char own[24] = {*format}, *digit = own + 23;
        const char *part = own;
        if (*format == '%' && *++format == 's') part = va_arg(args, const char *);
        else if (*part == '%') {
            const int whole = *format == 'd' ? va_arg(args, int) : 0, minus = whole < 0;
            size_t left = minus ? 0 - (size_t)whole : (size_t)whole;
            if (*format == 'z') left = va_arg(args, size_t);
            do *--digit = (char)('0' + left % 10); while (left /= 10);
            if (minus) *--digit = '-';
            part = digit;
        }
        for (; *part; part++, n++)
            if (n + 1 < size) to[n] = *part;
    }
    va_end(args);
    if (size) to[least(n, size - 1)] = 0;
    return n;
}

/* A line into the context's error; refuse is 0, for a function to return. */
#define refuse(c, ...) (put((c)->error, sizeof (c)->error, __VA_ARGS__), 0)
#define die(c, ...) do { (void)refuse(c, __VA_ARGS__); stop(c); } while (0)

static int same(const char *a, const char *b) {
    return strlen(a) == strlen(b) && !memcmp(a, b, strlen(a));
}

static size_t product(dual_ctx *c, size_t a, size_t b) {
    if (b && a > SIZE_MAX / 4 / b) die(c, "a size of %z x %z does not fit this machine", a, b);
    return a * b;
}

/* The next bytes of the block, from a 64-byte line on; NULL in counting mode. */
static void *push_bytes(dual_ctx *c, size_t bytes) {
    size_t at = (c->used + 63) & ~(size_t)63;
    if (at > c->size || bytes > c->size - at)
        die(c, "memory: %z bytes needed on top of %z, %z available", bytes, at, c->size);
    c->used = at + bytes;
    if (c->used > c->peak) c->peak = c->used;
    return c->memory ? c->memory + at : NULL;
}

void *dual_alloc(dual_ctx *c, size_t count, size_t size) {
    return push_bytes(c, product(c, count, size));
}

/* A zeroed array that exists in counting mode too. */
static void *describe(dual_ctx *c, size_t count, size_t size) {
    const size_t bytes = product(c, count, size);
    void *p = push_bytes(c, bytes);
    if (!p) {
        struct dual_chunk *chunk = CLAIM(sizeof *chunk + 64 + bytes);
        if (!chunk) die(c, "memory: no room for %z bytes of descriptions", bytes);
        chunk->next = c->chunks;
        c->chunks = chunk;
        p = (unsigned char *)chunk + 64;
    }
    memset(p, 0, bytes);
    return p;
}

static int32_t *integers(dual_ctx *c, size_t n) { return describe(c, n, sizeof(int32_t)); }

void dual_init(dual_ctx *c, void *memory, size_t size) {
    /* From a cache line of 64 bytes on: no two threads share one. Counting: what that may cost. */
    const size_t skip = least((64 - (uintptr_t)memory % 64) % 64, size);
    *c = (dual_ctx){.size = SIZE_MAX - 63, .used = 64, .fatal = fatal_default};
    if (memory)
        *c = (dual_ctx){.memory = (unsigned char *)memory + skip, .size = size - skip,
                        .fatal = fatal_default};
}

void dual_done(dual_ctx *c) {
    while (c->chunks) {
        struct dual_chunk *next = c->chunks->next;
        YIELD(c->chunks);
        c->chunks = next;
    }
}

dual_mark dual_mark_here(const dual_ctx *c) { return (dual_mark){c->used, c->tape}; }

void dual_release(dual_ctx *c, dual_mark m) {
    c->used = m.used;
    c->tape = m.tape;
}

/* ==== RANDOM NUMBERS =============================================================================
 * splitmix64 (Steele, Lea, Flood 2014). One word of state: a generator is saved as one number, and
 * a stream of its own per (seed, step) makes a step's data independent of the steps before it. */

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
    if (n < 2) return 0;
    const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do x = dual_rng_next(r); while (x >= limit);
    return (size_t)(x % n);
}

/* ==== TENSOR AND TAPE ============================================================================
 * A tensor is a matrix of reals, [rows, cols]. An operation computes its output at once. If any
 * input wants a gradient, it also records a node on the tape: output, inputs, backward function.
 * Every input exists before its output does, so the tape, read from the newest node to the oldest,
 * is in topological order. Backward walks it once; each node adds (+=) to its inputs' gradients.
 * A gradient array is made when a gradient first reaches its tensor. A branch that does not lead to
 * the loss costs nothing, and its `grad` stays NULL.
 * A view shares the data and the gradient of its owner, so it needs no node.
 * A weight that is never trained may be kept in 16 bits, as its file has it. dual_linear and
 * dual_gather widen such numbers as they read them; there is no second copy.
 * Refuses: second derivatives, and broadcasting (dual_gather repeats rows instead). */

typedef struct dual_node node;
struct dual_node {
    node *earlier;
    void (*backward)(dual_ctx *, node *);
    dual_tensor *out, **in;        /* in[i] may be NULL */
    dual_tensor *more_out[2];      /* a recomputed block's other outputs, or NULL */
    size_t n_in;
    int in_place;                  /* in[0]'s gradient overwrites its data (cross-entropy) */
    int can_overwrite;             /* backward may assign in[0]'s gradient instead of adding */
    int overwrite_now;             /* and must: the array is new, its contents undefined */
    real *saved;                   /* numbers that forward leaves for backward */
    union {                        /* and the arguments that backward needs again, by operation */
        struct { const int32_t *which, *index; } gather;
        struct { int layout; } linear;
        struct { size_t head_dim; } rotary;
        struct attention_args {
            const dual_keys *keys;
            const int32_t *segment_start;
            size_t n_keys, segments, kv_heads, head_dim;
            double flops;          /* of the forward */
        } attention;
        struct { const int32_t *target; } cross_entropy;
        struct { dual_pass *pass; size_t layer; } block;
    } args;
};

enum { NO_GRAD, GRAD_WANTED, GRAD_MADE };  /* dual_tensor.needs_grad; WANTED: no array yet */

static inline size_t size_of(int type) { return type == DUAL_FULL ? sizeof(real) : 2; }
static inline size_t elements(const dual_tensor *t) { return t->rows * t->cols; }

/* Element i of an array of the given type. Where speed matters the type is a constant, and the
 * compiler keeps one branch. */
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

/* The 16-bit number nearest to `value`; a tie goes to the even one. */
static uint16_t rounded(real value, int type) {
    union { uint32_t bits; float f; } t;
    t.f = (float)value;
    const uint32_t sign = t.bits >> 16 & 0x8000;
    t.bits &= 0x7fffffff;
    if (t.bits > 0x7f800000) return (uint16_t)(sign | 0x7fff); /* NaN */
    if (type == DUAL_BF16) return (uint16_t)(sign | (t.bits + 0x7fff + (t.bits >> 16 & 1)) >> 16);
    if (t.bits >= 0x47800000) return (uint16_t)(sign | 0x7c00);         /* from 2^16 on: infinity */
    if (t.bits < 0x38800000) {           /* F16 subnormal: adding 0.5 rounds to steps of 2^-24 */
        t.f += 0.5f;
        return (uint16_t)(sign | (t.bits - 0x3f000000));
    }
    return (uint16_t)(sign | (t.bits - 0x38000000 + 0xfff + (t.bits >> 13 & 1)) >> 13);
}

static const void *numbers(const dual_tensor *t) {
    return t->type == DUAL_FULL ? (const void *)t->data : t->half;
}

/* Reading and writing one number of either width, where speed does not matter. */
real dual_number(const dual_tensor *t, size_t i) { return element(numbers(t), i, t->type); }

size_t dual_not_finite(const dual_tensor *t, size_t *first) {
    size_t n = 0;
    for (size_t i = 0; numbers(t) && i < elements(t); i++)
        if (!isfinite((double)dual_number(t, i)) && !n++) *first = i;
    return n;
}

static inline void set_number(dual_tensor *t, size_t i, real value) {
    if (t->constant) return;
    if (t->type == DUAL_FULL) t->data[i] = value;
    else t->half[i] = rounded(value, t->type);
}

/* place: where its numbers are and stay, or NULL: in the block. */
static dual_tensor *tensor_of(dual_ctx *c, size_t rows, size_t cols, int type, const void *place) {
    dual_tensor *t = describe(c, 1, sizeof *t);
    t->rows = rows;
    t->cols = t->stride = cols;
    t->type = type;
    t->constant = place != NULL;
    void *at = (void *)(uintptr_t)place;
    if (!place) at = dual_alloc(c, product(c, rows, cols), size_of(type));
    if (type == DUAL_FULL) t->data = at;
    else t->half = at;
    return t;
}

dual_tensor *dual_tensor_new(dual_ctx *c, size_t rows, size_t cols) {
    return tensor_of(c, rows, cols, DUAL_FULL, NULL);
}

dual_tensor *dual_view(dual_ctx *c, dual_tensor *t, size_t row, size_t rows, size_t col,
                       size_t cols) {
    if (rows > t->rows || row > t->rows - rows || cols > t->cols || col > t->cols - cols)
        die(c, "view: rows %z+%z of %z, columns %z+%z of %z", row, rows, t->rows, col, cols,
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
    dual_tensor *v = dual_view(c, t, 0, t->rows, 0, t->cols);
    v->base = NULL;
    v->needs_grad = NO_GRAD;
    return v;
}

static void make_gradient(dual_ctx *c, dual_tensor *t) { /* not cleared */
    t->grad = dual_alloc(c, product(c, t->rows, t->cols), sizeof(real));
    t->needs_grad = GRAD_MADE;
}

/* The gradient array of t, made and cleared on first use; NULL when none is wanted. */
static real *gradient(dual_ctx *c, dual_tensor *t) {
    if (!t || !t->needs_grad) return NULL;
    if (t->base) {
        real *owner = gradient(c, t->base);
        t->needs_grad = GRAD_MADE;
        t->grad = owner ? owner + t->offset : NULL;
    } else if (t->needs_grad == GRAD_WANTED) {
        make_gradient(c, t);
        const size_t n = t->grad ? elements(t) : 0;
        OMP(omp parallel for schedule(static) if (n > 20000))
        for (size_t i = 0; i < n; i++) t->grad[i] = 0;
    }
    return t->grad;
}

void dual_need_grad(dual_ctx *c, dual_tensor *t) {
    if (t->needs_grad == GRAD_MADE) return;
    if (t->type != DUAL_FULL || t->constant)
        die(c, "need_grad: a weight of 16 bits or of a view cannot be trained: copy the model");
    t->needs_grad = GRAD_WANTED;
    gradient(c, t);
}

/* Records an operation and returns its node for the caller to fill in. Where no input wants a
 * gradient, or in inference, that node is not on the tape and good until the next allocation. */
static node *record(dual_ctx *c, dual_tensor *out, void (*backward)(dual_ctx *, node *),
                    size_t n_in, dual_tensor *const *in) {
    int wanted = 0;
    for (size_t i = 0; i < n_in; i++) wanted |= in[i] && in[i]->needs_grad;
    wanted = wanted && !c->inference;
    const dual_mark before = dual_mark_here(c);
    node *n = describe(c, 1, sizeof *n);
    *n = (node){.earlier = c->tape, .backward = backward, .out = out, .n_in = n_in};
    n->in = describe(c, n_in, sizeof *n->in);
    memcpy(n->in, in, n_in * sizeof *n->in);
    if (!wanted) dual_release(c, before);
    else c->tape = n;
    if (wanted && !out->needs_grad) out->needs_grad = GRAD_WANTED;
    return n;
}

/* Whether a gradient has reached any output of this node. */
static int is_reached(const node *n) {
    int reached = n->out->needs_grad == GRAD_MADE;
    for (int i = 0; i < 2; i++)
        reached |= n->more_out[i] && n->more_out[i]->needs_grad == GRAD_MADE;
    return reached;
}

/* Runs the tape backwards, from newest to oldest, wherever a gradient has arrived. */
static void scan(dual_ctx *c) {
    for (node *n = c->tape; n; n = n->earlier) {
        if (!is_reached(n)) continue;
        dual_tensor *const first = n->in[0];
        if (n->in_place) {
            first->grad = first->data;
            first->needs_grad = GRAD_MADE;
        }
        n->overwrite_now = n->can_overwrite && first->needs_grad == GRAD_WANTED && !first->base;
        if (n->overwrite_now) make_gradient(c, first);
        for (size_t i = 0; i < n->n_in; i++) gradient(c, n->in[i]);
        n->backward(c, n);
        n->out->needs_grad = GRAD_WANTED;   /* used up: a second loss on this tape starts afresh */
        n->out->grad = NULL;
    }
}

void dual_backward(dual_ctx *c, dual_tensor *loss) {
    if (!loss) die(c, "backward: no loss; a batch without targets has none");
    const node *n = c->tape;
    while (n && n->out != loss) n = n->earlier;
    if (loss->rows != 1 || loss->cols != 1) die(c, "backward: the loss must be [1,1]");
    if (!loss->needs_grad) die(c, "backward: nothing on the way to the loss is trained");
    if (!n) die(c, "backward: the loss is not on the tape; was it released, or a tensor of yours?");
    gradient(c, loss);
    if (c->memory) loss->grad[0] = 1;
    scan(c);
}

/* ==== ONE ROW TIMES A MATRIX =====================================================================
 * C(i,j) (+)= sum_k A(i,k) B(k,j). Matrices are given by a row and a column step, so one routine
 * serves X W, X W^T, dX = dY W^T and dW = X^T dY. B, where weights stand, may be 16-bit numbers.
 * This section has what decoding needs, A of one row; the next one has all the rest. */

typedef struct { const void *at; size_t row, col; int type; } matrix; /* (i,j): [i*row + j*col] */

/* The part of m that begins at (i, j). */
static matrix corner(matrix m, size_t i, size_t j) {
    const char *at = m.at;
    return (matrix){at + (i * m.row + j * m.col) * size_of(m.type), m.row, m.col, m.type};
}

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
 * Four ranges of B are read side by side: so memory is fastest. Where B's columns are contiguous,
 * each c[j] is a dot product; where its rows are, c is a weighted sum of rows. */
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

/* Memory for one call, valid until the next allocation: it is released already. */
static real *scratch(dual_ctx *ctx, size_t count, size_t each) {
    const dual_mark before = dual_mark_here(ctx);
    real *const room = dual_alloc(ctx, product(ctx, count, each), sizeof(real));
    dual_release(ctx, before);
    return room;
}

/* c = from + a B. In up to PARTS parts: ranges of columns, or of rows whose sums are then added.
 * Their number does not depend on the threads, so neither does a sum. from NULL: 0. */
static void matmul_row(dual_ctx *ctx, const real *a, matrix B, size_t N, size_t K, real *c,
                       const real *from) {
    const int dots = B.row == 1;
    const size_t length = dots ? N : K, part = (length + PARTS - 1) / PARTS;
    real *const room = scratch(ctx, PARTS, dots ? 0 : N);
    if (!ctx->memory) return;
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
 * Three plain loops would wait for memory. Here numbers are copied once and used many times:
 *     for each stretch of KC steps of k:                                          matmul
 *       for each part of B, nc columns, and each block of A, mc rows:             run_piece
 *         for each panel of the part, NR columns wide and KC deep:
 *           pack it, unless it was left there, or A has so few rows that it
 *           is read where it stands in B                                      pack, panel_use
 *           for each tile of MR rows of A: MR x NR sums in registers              run_tile
 * Each k takes NR numbers of B and MR of A for MR*NR multiply-adds. The NR must lie side by side,
 * step after step; in B itself the next row may be far away. A panel is
 *     [KC][NR]:  b(0,j) b(0,j+1) .. b(0,j+NR-1) | b(1,j) b(1,j+1) .. | ..
 * With PACK_A, A's rows are packed likewise, [KC][MR]: far apart, they would evict each other from
 * the cache. One thread sums a C(i,j), in the order of k, so the threads do not change its bits. */

/* c = from + sums over `depth` steps of NR columns of B, whose rows are b_step apart: a panel's, or
 * B's own, of which the next columns are prefetched. a[i]: row i of A, its numbers `step` apart;
 * with PACK_A a[0] is a packed panel. Only in so small a function do all sums stay in registers. */
static void kernel_wide(size_t depth, const real *const *a, size_t step, const real *b,
                        size_t b_step, const real *from, size_t from_row, real *c, size_t c_row) {
    real s[MR][NR] = {{0}};
    for (size_t k = 0, at = 0; k < depth; k++, at += PACK_A ? MR : step, b += b_step) {
        UNROLL for (size_t j = NR; j < 2 * NR; j += 64 / sizeof(real)) PREFETCH(b + j);
        UNROLL for (int i = 0; i < MR; i++)
            UNROLL for (int j = 0; j < NR; j += VECTOR)
                WHOLE for (int l = j; l < j + VECTOR; l++)
                    s[i][l] += (PACK_A ? a[0][at + (size_t)i] : a[i][at]) * b[l];
    }
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < NR; j++) s[i][j] += from[i * from_row + j];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < NR; j++) c[i * c_row + j] = s[i][j];
}

static void kernel_few(size_t depth, const real *const *a, size_t step, const real *b,
                       size_t b_step, const real *from, size_t from_row, real *c, size_t c_row) {
    real s[MR][SLIM] = {{0}};
    ROLLED for (size_t k = 0; k < depth; k++, b += b_step)
        UNROLL for (int i = 0; i < MR; i++)
            UNROLL for (int j = 0; j < SLIM; j += VECTOR)
                WHOLE for (int l = j; l < j + VECTOR; l++) s[i][l] += a[i][k * step] * b[l];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < SLIM; j++) s[i][j] += from[i * from_row + j];
    UNROLL for (size_t i = 0; i < MR; i++)
        UNROLL for (size_t j = 0; j < SLIM; j++) c[i * c_row + j] = s[i][j];
}

/* to[panel][k][j] = B(k, panel*width + j), 0 for columns from `count` on. Where B's rows are
 * contiguous, a row is copied at a time, into all panels. */
INLINE void pack_rows(real *to, matrix B, size_t depth, size_t count, size_t width, int type) {
    const size_t size = size_of(type);
    const char *at = B.at;
    for (size_t k = 0; k < depth; k++, at += B.row * size) {
        for (size_t j = 0; j < count; j += 64 / size) PREFETCH(at + (16 * B.row + j) * size);
        real *row = to + k * width;
        for (size_t j = 0; j < count; j += width, row += depth * width) {
            const int whole = j + width <= count;
            if (type == DUAL_FULL && whole) memcpy(row, at + j * size, width * sizeof(real));
            else for (size_t l = 0; l < width; l++)
                row[l] = whole || j + l < count ? element(at, j + l, type) : 0;
        }
    }
}

/* Where B's columns are, packing is a transposition: 16 steps of k, a cache line, of two columns at
 * once; those of the next panel are prefetched. */
INLINE void pack_columns(real *to, matrix B, size_t depth, size_t count, size_t width, int type) {
    const size_t size = size_of(type);
    const char *at = B.at;
    for (size_t s = 0; s < count; s += width, to += depth * width)
        for (size_t k = 0; k < depth; k += 16) {
            const size_t steps = least(depth - k, 16), wide = least(count - s, width);
            size_t j = 0;
            for (; steps == 16 && B.row == 1 && j + 2 <= wide; j += 2) {
                const char *line = at + (k + (s + j) * B.col) * size, *next = line + B.col * size;
                for (size_t l = 0; l < 2; l++) PREFETCH(line + (width + l) * B.col * size);
                for (size_t i = 0; i < 16; i++) {
                    to[(k + i) * width + j] = element(line, i, type);
                    to[(k + i) * width + j + 1] = element(next, i, type);
                }
            }
            for (; j < width; j++)
                for (size_t i = k, l = (s + j) * B.col; i < k + steps; i++)
                    to[i * width + j] = j < wide ? element(at, i * B.row + l, type) : 0;
        }
}

INLINE void pack(real *to, matrix B, size_t depth, size_t count, size_t width, int type) {
    if (B.col == 1) pack_rows(to, B, depth, count, width, type);
    else pack_columns(to, B, depth, count, width, type);
}

/* Prefetches n of the contiguous rows, or columns, that packing will read, from the r-th on. */
static void prefetch_next(matrix B, size_t depth, size_t count, size_t r, size_t n) {
    const size_t size = size_of(B.type), apart = (B.col == 1 ? B.row : B.col) * size;
    const size_t runs = B.col == 1 ? depth : count, length = (depth + count - runs) * size;
    for (const size_t end = least(r + n, runs); r < end; r++)
        for (size_t l = 0; l < length; l += 64) PREFETCH((const char *)B.at + r * apart + l);
}

/* C[M,N] (+)= A[M,K] B[K,N]; C(i,j): [i*c_row + j*c_col]. Sums start from C itself (add), or from a
 * bias, a number for each column (for each row where c_col > 1), or from 0 (bias NULL). */
typedef struct {
    size_t M, N, K, c_row, c_col;
    matrix A, B;
    real *C;
    const real *bias;
    int add;
} gemm;

/* How it is cut up. few_columns: at most FEW, in panels of SLIM; packing A would not pay. streams:
 * one such panel; a tile takes MR rows far apart, so that each is a read stream of its own.
 * in_place: so few tiles that packing B, whose rows are contiguous, would not pay. */
typedef struct {
    int few_columns, streams, in_place;
    size_t kc, mc, nc;             /* depth of a panel; rows, columns of a piece, itself a gemm */
} gemm_plan;

static inline size_t panel_width(const gemm_plan *p) { return p->few_columns ? SLIM : NR; }

static gemm_plan plan_panels(const gemm *g) {
    gemm_plan p = {.few_columns = g->N <= FEW, .streams = g->N <= SLIM && g->A.col == 1};
    p.in_place = g->M <= 8 * MR && !p.few_columns && g->B.col == 1 && g->B.type == DUAL_FULL;
    p.kc = least(g->K, p.streams ? DUAL_DEEP : KC);           /* a single panel is deep */
    return p;
}

/* Equal blocks of rows; parts of columns that share out evenly among threads, or are one panel. */
static void plan_pieces(gemm_plan *p, size_t tiles, size_t panels, size_t threads) {
    const size_t most = least((tiles * panels + threads - 1) / threads, MC_TILES);
    const size_t blocks = (tiles + most - 1) / most;
    size_t parts = (panels + NC_PANELS - 1) / NC_PANELS;
    while (parts < panels && blocks * parts % threads) parts++;
    p->mc = MR * ((tiles + blocks - 1) / blocks);
    p->nc = panel_width(p) * ((panels + parts - 1) / parts);
}

static gemm piece_of(const gemm *g, const gemm_plan *p, size_t i, size_t j, size_t k) {
    const size_t b = g->c_col > 1 ? i : j;                 /* the piece's first bias */
    return (gemm){least(g->M - i, p->mc), least(g->N - j, p->nc), least(g->K - k, p->kc), g->c_row,
                  g->c_col, corner(g->A, i, k), corner(g->B, k, j),
                  g->C + i * g->c_row + j * g->c_col, g->bias ? g->bias + b : NULL, g->add || k};
}

/* A tile that an edge cuts, or whose columns lie apart in C: each sum is stored by itself. */
static void store_edge(const gemm *w, real sum[MR][NR], size_t i, size_t apart, size_t m, size_t j,
                       size_t n) {
    for (size_t l = 0; l < m; l++)
        for (size_t h = 0; h < n; h++) {
            const size_t row = i + l * apart, col = j + h;
            real *c = w->C + row * w->c_row + col * w->c_col, start = w->add ? *c : 0;
            if (!w->add && w->bias) start = w->bias[w->c_col > 1 ? row : col];
            *c = start + sum[l][h];
        }
}

/* Tile t of the panel b, whose columns begin at j: rows i, i + apart, .. of the piece. */
INLINE void run_tile(const gemm *w, const gemm_plan *p, size_t tiles, size_t t, size_t j,
                     const real *a, const real *b, size_t b_step) {
    static const real zero[NR];
    const int packed = PACK_A && !p->few_columns;
    const size_t apart = p->streams ? tiles : 1;
    const size_t i = p->streams ? t : t * MR;
    const size_t m = p->streams ? (w->M - i + apart - 1) / apart : least(w->M - i, MR);
    const size_t width = panel_width(p), n = least(w->N - j, width), down = apart * w->c_row;
    real *const at = w->C + i * w->c_row + j * w->c_col, sum[MR][NR];
    const real *row[MR], *from = zero; /* past the last row: the last, and its sums are dropped */
    for (size_t l = 0; l < MR; l++)
        row[l] = packed ? a + i * w->K
                        : (const real *)w->A.at + least(i + l * apart, w->M - 1) * w->A.row;
    for (size_t l = 0; l < m; l++)
        for (size_t h = 0; h < n; h += 16) PREFETCH(at + l * down + h * w->c_col);
    const int whole = m == MR && n == width && w->c_col == 1;
    if (whole && w->add) from = at;
    else if (whole && w->bias) from = w->bias + j;
    (p->few_columns ? kernel_few : kernel_wide)(w->K, row, w->A.col, b, b_step, from,
                            from == at ? down : 0, whole ? at : sum[0], whole ? down : NR);
    if (!whole) store_edge(w, sum, i, apart, m, j, n);
}

/* A panel of B is overwritten by the next; or has its own place; or stands there already. */
typedef enum { PACK_ONCE, PACK_AND_KEEP, REUSE } panel_use;

static void run_piece(const gemm *w, const gemm_plan *p, real *a, real *b, panel_use use) {
    const size_t tiles = (w->M + MR - 1) / MR, width = panel_width(p), K = w->K;
    const size_t share = (w->B.col == 1 ? K : width) / tiles + 1;  /* of what a tile prefetches */
    for (size_t i = 0; PACK_A && !p->few_columns && i < w->M; i += 8 * MR)  /* more would compete */
        pack(a + i * K, transposed(corner(w->A, i, 0)), K, least(w->M - i, 8 * MR), MR, DUAL_FULL);
    for (size_t j = 0; j < w->N; j += width) {
        const matrix B = corner(w->B, 0, j);
        const size_t one = least(w->N - j, width);
        const int there = p->in_place && one == width;         /* where it stands in B */
        if (!there && use != REUSE) {  /* for one panel a call whose loop over panels vanishes */
            if (p->few_columns) TYPED(pack, B.type, b, B, K, one, SLIM);
            else TYPED(pack, B.type, b, B, K, one, NR);
        }
        const size_t ahead = there || use == REUSE ? 0 : least(w->N - j - one, width);
        for (size_t t = 0; t < tiles; t++) {
            if (ahead) prefetch_next(corner(B, 0, one), K, ahead, t * share, share);
            run_tile(w, p, tiles, t, j, a, there ? B.at : b, there ? B.row : width);
        }
        if (use != PACK_ONCE) b += K * width;
    }
}

/* from: what sums start from. NULL: 0; C: itself, which is added to; else one row for every row. */
static void matmul(dual_ctx *ctx, size_t M, size_t N, size_t K, matrix A, matrix B, real *C,
                   size_t c_row, const real *from) {
    const int add = from == C;
    gemm g = {M, N, K, c_row, 1, A, B, C, add ? NULL : from, add};
    ctx->flops += 2.0 * (double)M * (double)N * (double)K;
    const int row_by_row = M <= 2 && A.col == 1;
    for (size_t i = 0; row_by_row && i < M; i++)
        matmul_row(ctx, corner(A, i, 0).at, B, N, K, C + i * c_row, add ? C + i * c_row : from);
    if (row_by_row) return;
    /* Up to TURNED rows would not pay for packing all of B: C^T = B^T A^T packs A^T instead. */
    if (M <= TURNED && M < N && B.row == 1 && B.type == DUAL_FULL && A.col == 1)
        g = (gemm){N, M, K, 1, c_row, transposed(B), transposed(A), C, g.bias, add};
    gemm_plan p = plan_panels(&g);
    const size_t width = panel_width(&p), threads = (size_t)omp_get_max_threads();
    const size_t panels = (g.N + width - 1) / width, tiles = (g.M + MR - 1) / MR;
    const size_t b_room = p.kc * width * least(panels, NC_PANELS);
    const size_t a_room = PACK_A && !p.few_columns ? p.kc * MR * least(tiles, MC_TILES) : 0;
    const size_t each = (b_room + a_room + 63) / 64 * 64;      /* whole lines of the cache */
    real *const room = scratch(ctx, threads, each);
    if (!ctx->memory || !M || !N) return;
    plan_pieces(&p, tiles, panels, threads);
    /* A thread takes neighbours, part by part, and packs a part once for several blocks of rows. */
    const size_t blocks = (g.M + p.mc - 1) / p.mc, pieces = blocks * ((g.N + p.nc - 1) / p.nc);
    OMP(omp parallel for schedule(static) if (M * N * K > 50000))
    for (size_t t = 0; t < threads; t++)
        for (size_t k0 = 0; k0 < K; k0 += p.kc)
            for (size_t l = t * pieces / threads; l < (t + 1) * pieces / threads; l++) {
                const int fresh = l % blocks == 0 || l == t * pieces / threads;
                const gemm w = piece_of(&g, &p, l % blocks * p.mc, l / blocks * p.nc, k0);
                real *const b = room + t * each;
                run_piece(&w, &p, b + b_room, b, fresh ? PACK_AND_KEEP : REUSE);
            }
}

/* The same for a small product within one thread, M <= BLOCK, as attention needs them. */
static void matmul_small(size_t M, size_t N, size_t K, matrix A, matrix B, real *C, size_t c_row,
                         int add) {
    real room[BLOCK * (NR + PACK_A * (BLOCK + MR)) + 64];
    real *const b = room + (64 - (uintptr_t)room % 64) / sizeof(real);
    const int row = M == 1 && A.col == 1;
    if (row && B.row == 1) row_dots(A.at, B, K, 0, N, C, add ? C : NULL, DUAL_FULL);
    else if (row) row_sums(A.at, B, 0, K, N, C, add, DUAL_FULL);
    if (row) return;
    gemm w = {M, N, K, c_row, 1, A, B, C, NULL, add};
    const gemm_plan p = plan_panels(&w);
    for (size_t k0 = 0; k0 < K; k0 += BLOCK) {
        w.K = least(K - k0, BLOCK);
        w.A = corner(A, 0, k0);
        w.B = corner(B, k0, 0);
        w.add = add || k0;
        run_piece(&w, &p, b + BLOCK * NR, b, PACK_ONCE);
    }
}

/* ==== OPERATIONS =================================================================================
 * Each fits one screen, in this order: formula and shapes, forward loops, backward with the same
 * loops, tape constructor with its checks. In comments dx is the gradient of x. Loops are
 * parallel over what they write, never over what they sum, so results do not depend on the number
 * of threads. An operation enters only together with its backward and a row in tests/test_ops.c. */

/* Ends a function with the sum of `term` over k = 0 .. n-1, in LANES partial sums. */
#define RETURN_SUM(n, term) do {                                          \
        real s[LANES] = {0};                                              \
        const size_t even = (n) / LANES * LANES;                          \
        for (size_t i = 0; i < even; i += LANES)                          \
            for (size_t j = 0, k = i; j < LANES; j++, k++) s[j] += term;  \
        for (size_t j = 0, k = even; k < (n); j++, k++) s[j] += term;     \
        return fold(s);                                                   \
    } while (0)

static inline real dot(const real *a, const real *b, size_t n) { RETURN_SUM(n, a[k] * b[k]); }

static real total(const real *a, size_t n) { RETURN_SUM(n, a[k]); }

/* sum of a b (x - shift), what the norms' backward needs */
static real dot3(const real *a, const real *b, const real *x, real shift, size_t n) {
    RETURN_SUM(n, a[k] * b[k] * (x[k] - shift));
}

static real largest(const real *a, size_t n) {
    real most[LANES], top = a[0];      /* starts from an element: a 0 could exceed them all */
    for (size_t j = 0; j < LANES; j++) most[j] = top;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        WHOLE for (size_t j = 0; j < LANES; j++) most[j] = a[i + j] > most[j] ? a[i + j] : most[j];
    for (size_t j = 0; i + j < n; j++) most[j] = a[i + j] > most[j] ? a[i + j] : most[j];
    for (size_t j = 0; j < LANES; j++) top = most[j] > top ? most[j] : top;
    return top;
}

/* e^x without a call or a branch, so that loops over it vectorise: e^x = 2^n e^r, |r| <= ln 2 / 2.
 * Adding 1.5 * 2^23 rounds x / ln 2 to a whole number n and leaves it in the low bits. Read from
 * there it is that n even where floats are kept wider; it becomes the exponent of 2^n. e^r is the
 * minimax polynomial of Cephes' expf: a relative error of 1e-7. x is clamped to -87..88, where 2^n
 * is a normal number; e^-87 may stand for 0 here. In double, libm is called. */
static inline real exponential(real value) {
    if (sizeof(real) != sizeof(float)) return (real)exp((double)value);
    union { float f; uint32_t bits; } t;
    float x = (float)value;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    t.f = x * 1.44269504f + 12582912.0f;
    const float n = (float)(int32_t)(t.bits - 0x4b400000);
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

/* ---- gather: out[r] = row index[r] of source[which[r]] ----
 * Backward: dsource[which[r]][index[r]] += dout[r]. Several r may name the same row, so threads
 * divide the columns. */
enum { COLUMN_TILE = 64 };

static void gather_backward(dual_ctx *c, node *n) {
    const int32_t *which = n->args.gather.which, *index = n->args.gather.index;
    if (!c->memory) return;
    const size_t cols = n->out->cols, tiles = (cols + COLUMN_TILE - 1) / COLUMN_TILE;
    OMP(omp parallel for schedule(static) if (n->out->rows * cols > 20000))
    for (size_t t = 0; t < tiles; t++) {
        const size_t first = t * COLUMN_TILE, width = least(cols - first, COLUMN_TILE);
        for (size_t r = 0; r < n->out->rows; r++) {
            const dual_tensor *s = n->in[which ? which[r] : 0];
            if (!s->grad) continue;
            real *to = s->grad + (size_t)index[r] * s->stride + first;
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
                die(c, "gather: sources of %z and %z columns", cols, source[i]->cols);
            cols = source[i]->cols;
        }
    for (size_t r = 0; r < rows; r++) {
        size_t s = which ? (size_t)which[r] : 0;
        if (s >= n_sources || !source[s] || index[r] < 0 || (size_t)index[r] >= source[s]->rows)
            die(c, "gather: row %z asks for row %d of source %z", r, (int)index[r], s);
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
    n->args.gather.which = which;
    n->args.gather.index = index;
    return out;
}

/* ---- linear: y = x W + b; W is [in,out] (DUAL_IN_OUT) or [out,in] (DUAL_OUT_IN, W^T is used) ----
 * dx += dy W^T, dW += x^T dy, db += column sums of dy. No dW is computed for a frozen W. */
static void linear_backward(dual_ctx *c, node *n) {
    dual_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *y = n->out;
    const matrix dy = rows_of(y, y->grad), weight = rows_of(w, numbers(w));
    const int out_in = n->args.linear.layout == DUAL_OUT_IN;
    if (x->needs_grad)
        matmul(c, x->rows, x->cols, y->cols, dy, out_in ? weight : transposed(weight), x->grad,
               x->stride, n->overwrite_now ? NULL : x->grad);
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
        die(c, "linear: x [%z,%z] does not fit a weight %z -> %z", x->rows, x->cols, in, out);
    dual_tensor *y = dual_tensor_new(c, x->rows, out);
    const matrix weight = rows_of(w, numbers(w));
    matmul(c, x->rows, out, in, rows_of(x, x->data), out_in ? transposed(weight) : weight, y->data,
           y->stride, b ? b->data : NULL);
    node *n = record(c, y, linear_backward, 3, (dual_tensor *[]){x, w, b});
    n->args.linear.layout = layout;
    n->can_overwrite = 1;
    return y;
}

/* ---- add: y = a + b (the residual stream). da += dy, db += dy. ----
 * A block that is recomputed (MODELS) records the same backward with in[1] NULL: y is a copy. */
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
        die(c, "add: [%z,%z] and [%z,%z]", a->rows, a->cols, b->rows, b->cols);
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

/* ---- layernorm, rmsnorm: y = (x - mean) rstd w + b, rstd = 1 / sqrt(var + eps), biased var ----
 * RMSNorm has no b and takes the mean as 0, so that its var is mean(x^2). w may be shorter than a
 * row: then each run of w->cols columns is normed on its own (Qwen-3's norm of q and k, per head).
 * With xh = (x - mean) rstd and g = dy * w, mean(g) only in LayerNorm, which subtracts a mean:
 * dx += rstd (g - mean(g) - xh mean(g xh)), dw += sum_r dy xh, db += sum_r dy.
 * saved: mean and rstd of each run. */
static void norm_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *y = n->out;
    const size_t d = w->cols, in_row = x->cols / d, runs = x->rows * in_row;
    if (!c->memory) return;
    if (x->grad) {
        OMP(omp parallel for schedule(static) if (runs * d > 20000))
        for (size_t i = 0; i < runs; i++) {
            const size_t at = i / in_row * x->stride + i % in_row * d;
            const real mean = n->saved[2 * i], rstd = n->saved[2 * i + 1];
            const real *xr = x->data + at, *dy = y->grad + i * d;
            real *dx = x->grad + at;
            const real mg = b ? dot(dy, w->data, d) / (real)d : 0;
            const real mgx = rstd * dot3(dy, w->data, xr, mean, d) / (real)d;
            for (size_t j = 0; j < d; j++)
                dx[j] += rstd * (dy[j] * w->data[j] - mg - (xr[j] - mean) * rstd * mgx);
        }
    }
    real *const dw = w->grad, *const db = b ? b->grad : NULL;
    if (!dw && !db) return;
    OMP(omp parallel for schedule(static) if (runs * d > 20000))
    for (size_t first = 0; first < d; first += COLUMN_TILE) {
        const size_t end = least(first + COLUMN_TILE, d);
        for (size_t i = 0; i < runs; i++) {
            const real mean = n->saved[2 * i], rstd = n->saved[2 * i + 1];
            const real *xr = x->data + i / in_row * x->stride + i % in_row * d;
            const real *dy = y->grad + i * d;
            for (size_t j = first; j < end && dw; j++) dw[j] += dy[j] * (xr[j] - mean) * rstd;
            for (size_t j = first; j < end && db; j++) db[j] += dy[j];
        }
    }
}

static dual_tensor *norm(dual_ctx *c, dual_tensor *x, dual_tensor *w, dual_tensor *b, double eps) {
    const size_t d = w->cols, in_row = d ? x->cols / d : 0;
    if (w->rows != 1 || in_row * d != x->cols || (b && (b->cols != d || in_row != 1)))
        die(c, "norm: a weight of %z for rows of %z", d, x->cols);
    dual_tensor *y = dual_tensor_new(c, x->rows, x->cols);
    const size_t runs = product(c, x->rows, in_row);
    real *saved = dual_alloc(c, product(c, runs, 2), sizeof(real));
    if (c->memory) {
        OMP(omp parallel for schedule(static) if (runs * d > 20000))
        for (size_t i = 0; i < runs; i++) {
            const real *xr = x->data + i / in_row * x->stride + i % in_row * d;
            real *yr = y->data + i * d;
            const real mean = b ? total(xr, d) / (real)d : 0;
            for (size_t j = 0; j < d; j++) yr[j] = xr[j] - mean;
            const real var = dot(yr, yr, d) / (real)d, rstd = (real)(1.0 / sqrt((double)var + eps));
            for (size_t j = 0; j < d; j++) yr[j] = yr[j] * rstd * w->data[j] + (b ? b->data[j] : 0);
            saved[2 * i] = mean;
            saved[2 * i + 1] = rstd;
        }
    }
    node *n = record(c, y, norm_backward, 3, (dual_tensor *[]){x, w, b});
    n->saved = saved;
    return y;
}

dual_tensor *dual_layernorm(dual_ctx *c, dual_tensor *x, dual_tensor *w, dual_tensor *b,
                            double eps) {
    return norm(c, x, w, b, eps);
}

dual_tensor *dual_rmsnorm(dual_ctx *c, dual_tensor *x, dual_tensor *w, double eps) {
    return norm(c, x, w, NULL, eps);
}

/* ---- gelu, tanh form: y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3) ----
 * dx += dy (1/2 (1 + t) + x/2 (1 - t^2) u'), t = tanh u = 1 - 2 / (1 + e^2u). GPT-2 was trained
 * with this form, not with the one of erf. */
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
            dx[j] = n->overwrite_now ? g : dx[j] + g;
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
    record(c, y, gelu_backward, 1, &x)->can_overwrite = 1;
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

/* ---- rotary: within each head, element i and element hd/2 + i form a pair (a,b) that turns ----
 * (a,b) -> (a cos - b sin, b cos + a sin) by the angle position * theta^(-2i/hd). Pairs are halves
 * apart, as in Hugging Face's Qwen-3, not neighbours. Backward turns dy by the opposite angle and
 * adds it to dx. saved: cos and sin, [rows, hd]. */
enum { FORWARD, BACKWARD };

static void rotate(const real *from, real *to, const real *turn, size_t half, int direction) {
    for (size_t i = 0; i < half; i++) {
        const real co = turn[i], si = direction == BACKWARD ? -turn[half + i] : turn[half + i];
        const real a = from[i] * co - from[half + i] * si, b = from[half + i] * co + from[i] * si;
        to[i] = direction == BACKWARD ? to[i] + a : a;
        to[half + i] = direction == BACKWARD ? to[half + i] + b : b;
    }
}

static void rotary_backward(dual_ctx *c, node *n) {
    const dual_tensor *x = n->in[0], *y = n->out;
    const size_t hd = n->args.rotary.head_dim;
    if (!x->grad || !c->memory) return;
    OMP(omp parallel for schedule(static) if (x->rows * x->cols > 20000))
    for (size_t r = 0; r < x->rows; r++)
        for (size_t h = 0; h < x->cols; h += hd)
            rotate(y->grad + r * y->stride + h, x->grad + r * x->stride + h, n->saved + r * hd,
                   hd / 2, BACKWARD);
}

dual_tensor *dual_rotary(dual_ctx *c, dual_tensor *x, size_t head_dim, const int32_t *position,
                         double theta) {
    if (head_dim == 0 || head_dim % 2 || x->cols % head_dim)
        die(c, "rotary: rows of %z in heads of %z", x->cols, head_dim);
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
                       turn + r * head_dim, half, FORWARD);
        }
    }
    node *n = record(c, y, rotary_backward, 1, &x);
    n->saved = turn;
    n->args.rotary.head_dim = head_dim;
    return y;
}

/* ---- attention: o = sum_k p_k v_k, p = softmax over the visible keys of q.k / sqrt(hd) ----
 * Query head h reads key head h / (H / kv_heads): grouped-query attention. Which keys a query sees
 * is given by integers, one range of rows per key list. Plain causal attention, a prompt's cache,
 * another model's cache and a group of its own all follow this one rule; no mask exists.
 * The work is cut into blocks of BLOCK queries by BLOCK keys, at most, and each block is a product
 * of small matrices: S = Q K^T, then P within each query's range and 0 outside, then O += P V. A
 * running maximum and sum per query (as in FlashAttention, Dao et al. 2022) make an array [rows,
 * keys] unnecessary. saved: log-sum-exp (lse) per query and head.
 * Backward recomputes P = exp(S - lse). With D = do.o and T = dO V^T: dV += P^T dO,
 * dS = P (T - D) / sqrt(hd), dQ += dS K, dK += dS^T Q.
 * Threads divide the pairs (segment, key head). Two segments never see the same key row, so two
 * threads never write to the same row. */
typedef struct {
    const node *n;
    const dual_keys *list;                 /* one key list */
    size_t row, rows, head;                /* queries row .. row+rows-1 of one head, */
    size_t key, keys, kv_head;             /* keys key .. key+keys-1 of its key head */
    real s[BLOCK][BLOCK];                  /* S, then P */
    real t[BLOCK][BLOCK];                  /* backward: T, then dS */
    real top[BLOCK], sum[BLOCK];           /* forward: running maximum, and sum of exp(S - top) */
    real lse[BLOCK], D[BLOCK];             /* backward */
} attention_block;

enum { OVERWRITE, ADD };                   /* what matmul_small does with its output */

static matrix block_of(const dual_tensor *t, const real *at, size_t row, size_t col) {
    return rows_of(t, at + row * t->stride + col);
}

static matrix score_matrix(const real *s) { return (matrix){s, BLOCK, 1, DUAL_FULL}; }

/* The keys of this block that its query i sees: *from .. *to-1, counted from the block's first. The
 * two rows become 0 at all others. */
static void visible(const attention_block *b, size_t i, real *p, real *q, size_t *from,
                    size_t *to) {
    const size_t begin = (size_t)b->list->begin[b->row + i];
    const size_t end = (size_t)b->list->end[b->row + i];
    *from = begin < b->key ? 0 : least(begin - b->key, b->keys);
    *to = end < b->key ? 0 : least(end - b->key, b->keys);
    if (*to < *from) *to = *from;
    for (size_t j = 0; j < *from; j++) p[j] = q[j] = 0;
    for (size_t j = *to; j < b->keys; j++) p[j] = q[j] = 0;
}

/* Forward of one block: scores, running softmax, weighted values. */
static void attend(attention_block *b) {
    const dual_tensor *q = b->n->in[0], *y = b->n->out, *k = b->list->k, *v = b->list->v;
    const size_t hd = b->n->args.attention.head_dim, col = b->head * hd, kv_col = b->kv_head * hd;
    const real scale = (real)(1 / sqrt((double)hd));
    matmul_small(b->rows, b->keys, hd, block_of(q, q->data, b->row, col),
                 transposed(block_of(k, k->data, b->key, kv_col)), b->s[0], BLOCK, OVERWRITE);
    for (size_t i = 0; i < b->rows; i++) {
        real *p = b->s[i], *o = y->data + (b->row + i) * y->stride + col;
        size_t from, to;
        visible(b, i, p, p, &from, &to);
        if (from == to) continue;
        for (size_t j = from; j < to; j++) p[j] *= scale;
        real most = largest(p + from, to - from);
        if (b->sum[i] > 0 && b->top[i] > most) most = b->top[i];
        const real shrink = b->sum[i] > 0 ? exponential(b->top[i] - most) : 0;
        for (size_t j = from; j < to; j++) p[j] = exponential(p[j] - most);
        b->sum[i] = b->sum[i] * shrink + total(p + from, to - from);
        for (size_t j = 0; j < hd; j++) o[j] *= shrink;
        b->top[i] = most;
    }
    matmul_small(b->rows, hd, b->keys, score_matrix(b->s[0]), block_of(v, v->data, b->key, kv_col),
                 y->data + b->row * y->stride + col, y->stride, ADD);
}

static void attend_backward(attention_block *b) {
    const dual_tensor *q = b->n->in[0], *y = b->n->out, *k = b->list->k, *v = b->list->v;
    const size_t hd = b->n->args.attention.head_dim, col = b->head * hd, kv_col = b->kv_head * hd;
    const real scale = (real)(1 / sqrt((double)hd));
    const matrix query = block_of(q, q->data, b->row, col);
    const matrix key = block_of(k, k->data, b->key, kv_col);
    const matrix value = block_of(v, v->data, b->key, kv_col);
    const matrix dout = block_of(y, y->grad, b->row, col);
    matmul_small(b->rows, b->keys, hd, query, transposed(key), b->s[0], BLOCK, OVERWRITE);
    matmul_small(b->rows, b->keys, hd, dout, transposed(value), b->t[0], BLOCK, OVERWRITE);
    for (size_t i = 0; i < b->rows; i++) {
        real *p = b->s[i], *ds = b->t[i];
        size_t from, to;
        visible(b, i, p, ds, &from, &to);
        for (size_t j = from; j < to; j++) {
            const real x = scale * p[j] - b->lse[i];
            p[j] = exponential(x < 0 ? x : 0);     /* rounding may leave x > 0, that is p > 1 */
            ds[j] = scale * p[j] * (ds[j] - b->D[i]);
        }
    }
    const matrix P = score_matrix(b->s[0]), dS = score_matrix(b->t[0]);
    if (v->grad)
        matmul_small(b->keys, hd, b->rows, transposed(P), dout,
                     v->grad + b->key * v->stride + kv_col, v->stride, ADD);
    if (k->grad)
        matmul_small(b->keys, hd, b->rows, transposed(dS), query,
                     k->grad + b->key * k->stride + kv_col, k->stride, ADD);
    if (q->grad)
        matmul_small(b->rows, hd, b->keys, dS, key, q->grad + b->row * q->stride + col, q->stride,
                     ADD);
}

/* All lists, from the first key that any of the block's queries sees to the last. */
static void attend_all(attention_block *b, int direction) {
    for (size_t l = 0; l < b->n->args.attention.n_keys; l++) {
        b->list = &b->n->args.attention.keys[l];
        size_t begin = SIZE_MAX, end = 0;
        for (size_t r = b->row; r < b->row + b->rows; r++) {
            if (b->list->begin[r] == b->list->end[r]) continue;
            begin = least(begin, (size_t)b->list->begin[r]);
            if ((size_t)b->list->end[r] > end) end = (size_t)b->list->end[r];
        }
        for (b->key = begin; b->key < end; b->key += BLOCK) {
            b->keys = least(end - b->key, BLOCK);
            if (direction == FORWARD) attend(b);
            else attend_backward(b);
        }
    }
}

/* Queries row .. row+rows-1 of one head, from nothing to their output or their gradients. */
static void attention_rows(const node *n, size_t row, size_t rows, size_t head, int direction) {
    const dual_tensor *y = n->out;
    const size_t hd = n->args.attention.head_dim, heads = y->cols / hd;
    attention_block b;
    b.n = n;
    b.row = row;
    b.rows = rows;
    b.head = head;
    b.kv_head = head / (heads / n->args.attention.kv_heads);
    for (size_t i = 0; i < rows; i++) {
        const size_t at = (row + i) * y->stride + head * hd;
        if (direction == FORWARD) {
            b.sum[i] = 0;
            memset(y->data + at, 0, hd * sizeof(real));
        } else {
            b.lse[i] = n->saved[(row + i) * heads + head];
            b.D[i] = dot(y->grad + at, y->data + at, hd);
        }
    }
    attend_all(&b, direction);
    if (direction == BACKWARD) return;
    for (size_t i = 0; i < rows; i++) {
        real *o = y->data + (row + i) * y->stride + head * hd;
        for (size_t j = 0; j < hd; j++) o[j] /= b.sum[i];
        n->saved[(row + i) * heads + head] = b.top[i] + (real)log((double)b.sum[i]);
    }
}

static void attention_run(const node *n, int direction) {
    const size_t kv_heads = n->args.attention.kv_heads, segments = n->args.attention.segments;
    const size_t group = n->out->cols / n->args.attention.head_dim / kv_heads;
    const int32_t *start = n->args.attention.segment_start;
    OMP(omp parallel for schedule(dynamic) if (n->out->rows > 8))
    for (size_t task = 0; task < segments * kv_heads; task++) {
        const size_t segment = task / kv_heads, kv = task % kv_heads;
        const size_t end = (size_t)start[segment + 1];
        for (size_t r = (size_t)start[segment]; r < end; r += BLOCK)
            for (size_t h = kv * group; h < (kv + 1) * group; h++)
                attention_rows(n, r, least(end - r, BLOCK), h, direction);
    }
}

static void attention_backward(dual_ctx *c, node *n) {
    c->flops += 2.5 * n->args.attention.flops;     /* five products: S, T, dV, dK, dQ; forward: 2 */
    if (c->memory) attention_run(n, BACKWARD);
}

/* The number of pairs of a query and a visible key. Every row must see some key. */
static double count_pairs(dual_ctx *c, size_t rows, size_t n_keys, const dual_keys *keys) {
    double pairs = 0;
    for (size_t r = 0; r < rows; r++) {
        double seen = 0;
        for (size_t l = 0; l < n_keys; l++) {
            const int32_t begin = keys[l].begin[r], end = keys[l].end[r];
            if (begin < 0 || begin > end || (size_t)end > keys[l].k->rows)
                die(c, "attention: row %z sees keys %d..%d of %z", r, (int)begin, (int)end,
                    keys[l].k->rows);
            seen += end - begin;
        }
        if (seen == 0) die(c, "attention: row %z sees no key", r);
        pairs += seen;
    }
    return pairs;
}

dual_tensor *dual_attention(dual_ctx *c, dual_tensor *q, size_t heads, size_t kv_heads,
                            size_t n_keys, const dual_keys *keys, size_t segments,
                            const int32_t *segment_start) {
    const size_t hd = heads ? q->cols / heads : 0;
    if (!hd || hd * heads != q->cols || hd > MAX_HEAD_DIM || !kv_heads || heads % kv_heads)
        die(c, "attention: %z columns, %z heads, %z key heads", q->cols, heads, kv_heads);
    if ((size_t)segment_start[segments] != q->rows)
        die(c, "attention: the segments do not cover the rows");
    dual_tensor **ins = describe(c, 1 + 2 * n_keys, sizeof *ins);
    ins[0] = q;
    const double pairs = count_pairs(c, q->rows, n_keys, keys);
    for (size_t l = 0; l < n_keys; l++) {
        if (keys[l].k->cols != kv_heads * hd || keys[l].v->cols != kv_heads * hd)
            die(c, "attention: keys of %z columns, expected %z", keys[l].k->cols, kv_heads * hd);
        ins[1 + 2 * l] = keys[l].k;
        ins[2 + 2 * l] = keys[l].v;
    }
    dual_tensor *y = dual_tensor_new(c, q->rows, q->cols);
    real *saved = dual_alloc(c, product(c, q->rows, heads), sizeof(real));
    node *n = record(c, y, attention_backward, 1 + 2 * n_keys, ins);
    n->saved = saved;
    n->args.attention = (struct attention_args){
        .keys = keys, .n_keys = n_keys, .segments = segments, .segment_start = segment_start,
        .kv_heads = kv_heads, .head_dim = hd,
        .flops = 4.0 * pairs * (double)(heads * hd)};      /* q.k and p v, 2 FLOPs each */
    c->flops += n->args.attention.flops;
    if (c->memory) attention_run(n, FORWARD);
    return y;
}

/* ---- cross-entropy: mean over rows of lse(logits) - logits[target], as [1,1] ----
 * dlogits = (softmax - onehot) dloss / rows is written over the logits, the largest array of a
 * step: no second [rows, V] is needed. saved: log-sum-exp (lse) per row. */
static void cross_entropy_backward(dual_ctx *c, node *n) {
    dual_tensor *z = n->in[0];
    const int32_t *target = n->args.cross_entropy.target;
    if (!c->memory) return;
    const real scale = n->out->grad[0] / (real)z->rows;
    OMP(omp parallel for schedule(static) if (z->rows * z->cols > 5000))
    for (size_t r = 0; r < z->rows; r++) {
        real *zr = z->data + r * z->stride;
        const real lse = n->saved[r];
        for (size_t j = 0; j < z->cols; j++) zr[j] = scale * exponential(zr[j] - lse);
        zr[target[r]] -= scale;
    }
}

dual_tensor *dual_cross_entropy(dual_ctx *c, dual_tensor *z, const int32_t *target) {
    dual_tensor *loss = dual_tensor_new(c, 1, 1);
    if (!z->rows || z->base) die(c, "cross-entropy: no rows, or logits that are a view");
    for (size_t r = 0; r < z->rows; r++)
        if (target[r] < 0 || (size_t)target[r] >= z->cols)
            die(c, "cross-entropy: target %d of %z", (int)target[r], z->cols);
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
    n->saved = saved;
    n->args.cross_entropy.target = target;
    n->in_place = 1;
    return loss;
}

/* ---- orthogonality: mean over groups and slots i != j of c_ij^2, c_ij = u_i . u_j, as [1,1] ----
 * Every `slots` rows of z form a group. u_i = x_i / |x_i|, where x is z, or, if centred, z minus
 * each slot's mean over the groups. dx_i = 4 dloss / (rows (slots-1) |x_i|) sum_j c_ij
 * (u_j - c_ij u_i) needs the same cosines, so forward computes it too. saved: dx for dloss = 1.
 * A slot that is equal in all groups (or a single group) leaves only rounding error after
 * centring; such a row is skipped: it adds no cosine and gets no gradient. */
static void orthogonality_backward(dual_ctx *c, node *n) {
    const dual_tensor *z = n->in[0];
    for (size_t r = 0; c->memory && r < z->rows; r++)
        for (size_t j = 0; j < z->cols; j++)
            z->grad[r * z->stride + j] += n->out->grad[0] * n->saved[r * z->cols + j];
}

/* x [groups, slots * d] minus its column means. This is an orthogonal projection, so backward is
 * the same function applied to the gradient. */
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
    if (slots < 2 || rows % slots) die(c, "orthogonality: %z rows by %z slots", rows, slots);
    dual_tensor *loss = dual_tensor_new(c, 1, 1), *inverse = dual_tensor_new(c, rows, 1);
    dual_tensor *u = dual_tensor_new(c, rows, d), *dx = dual_tensor_new(c, rows, d);
    record(c, loss, orthogonality_backward, 1, &z)->saved = dx->data;
    if (!c->memory) return loss;
    for (size_t r = 0; r < rows; r++) { /* inverse: first |z_i|^2, then 1 / |x_i| */
        memcpy(u->data + r * d, z->data + r * z->stride, d * sizeof(real));
        inverse->data[r] = dot(u->data + r * d, u->data + r * d, d);
    }
    if (centred) centre(u->data, rows / slots, slots * d);
    for (size_t r = 0; r < rows; r++) {
        real *own = u->data + r * d;
        const double norm2 = (double)dot(own, own, d), cutoff = 1e-12 * (double)inverse->data[r];
        inverse->data[r] = (real)(norm2 > cutoff ? 1 / sqrt(norm2) : 0);
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
 * Owns: one table of parameters per model (with Hugging Face's names), the GPT-2 and Qwen-3 blocks,
 * and the forward pass over a batch of rows. A pass is given embeddings, explicit positions and
 * what each row sees. Its keys and values stay behind as tape tensors, so a cache is handed to
 * another model by passing those tensors, and gradients flow back the same way.
 * Refuses: dropout, padding, masks, implied positions. */

/* A block's weights, a row of WEIGHTS pointers, those that a family lacks NULL. The first FOR_KEYS
 * suffice for keys and values. qkv: GPT-2, [d, 3d]; q, k, v and their norms: Qwen-3. */
struct dual_layer {
    dual_tensor *norm1_w, *norm1_b, *qkv_w, *qkv_b, *k_w, *v_w, *k_norm;
    dual_tensor *q_w, *q_norm, *o_w, *o_b, *norm2_w, *norm2_b;
    dual_tensor *gate_w, *up_w, *up_b, *down_w, *down_b;
};
enum { FOR_KEYS = 7, WEIGHTS = sizeof(struct dual_layer) / sizeof(dual_tensor *) };

int dual_config_check(dual_ctx *c, const dual_config *f) {
    const size_t most = (size_t)1 << 24;
    const int zero = !f->vocab || !f->layers || !f->hidden || !f->heads || !f->kv_heads ||
                     !f->head_dim || !f->mlp || !f->positions;
    const int large = f->vocab > most || f->layers > 4096 || f->hidden > most ||
                      f->heads > 65536 || f->mlp > most || f->positions > ((size_t)1 << 30);
    if (f->family != DUAL_GPT2 && f->family != DUAL_QWEN3)
        return refuse(c, "config: family must be gpt2 or qwen3");
    if (zero || large)
        return refuse(c, "config: vocab %z, positions %z, layers %z, hidden %z, heads %z, key "
                      "heads %z, head_dim %z, mlp %z: zero or out of range", f->vocab, f->positions,
                      f->layers, f->hidden, f->heads, f->kv_heads, f->head_dim, f->mlp);
    if (f->heads % f->kv_heads)
        return refuse(c, "config: %z heads cannot share %z key heads", f->heads, f->kv_heads);
    if (f->head_dim > MAX_HEAD_DIM)
        return refuse(c, "config: head_dim %z, at most %d here", f->head_dim, MAX_HEAD_DIM);
    if (f->family == DUAL_GPT2 && (f->heads * f->head_dim != f->hidden || f->heads != f->kv_heads))
        return refuse(c, "GPT-2: hidden %z must be heads %z x head_dim", f->hidden, f->heads);
    if (f->family == DUAL_QWEN3 && f->head_dim % 2)
        return refuse(c, "config: head_dim %z must be even to rotate", f->head_dim);
    if (!(f->norm_eps > 0) || (f->family == DUAL_QWEN3 && !(f->rope_theta > 0)))
        return refuse(c, "config: norm eps and rope theta must be above 0");
    return 1;
}

static dual_cache cache_new(dual_ctx *c, size_t layers) {
    dual_cache cache;
    cache.k = describe(c, layers, sizeof *cache.k);
    cache.v = describe(c, layers, sizeof *cache.v);
    return cache;
}

/* Adds one row to the parameter table. `name` may hold %z for the layer. */
static void param(dual_ctx *c, dual_model *m, dual_tensor **slot, const char *name, size_t layer,
                  size_t rows, size_t cols, dual_start start) {
    const void *const place = m->place ? m->place[m->n_params] : NULL;
    dual_param *p = &m->param[m->n_params++];
    put(p->name, sizeof p->name, name, layer);
    p->vector = start.kind != DUAL_NORMAL;     /* norm weights and biases; matrices start random */
    *slot = p->tensor = tensor_of(c, rows, cols, p->vector ? DUAL_FULL : m->type, place);
    p->decay = !p->vector;
    p->start = start;
    p->rate = 1;
}

dual_model *dual_model_new(dual_ctx *c, const dual_config *f) {
    return dual_model_view(c, f, DUAL_FULL, NULL);
}

dual_model *dual_model_kept(dual_ctx *c, const dual_config *f, int type) {
    return dual_model_view(c, f, type, NULL);
}

dual_model *dual_model_view(dual_ctx *c, const dual_config *f, int type, const void *const *place) {
    dual_model *m = describe(c, 1, sizeof *m);
    const size_t d = f->hidden, q = f->heads * f->head_dim, kv = f->kv_heads * f->head_dim;
    /* GPT-2's 0.02 is 0.55 / sqrt(d) at its width of 768; narrow models learn faster with theirs.
     * What is added to the residual stream starts smaller, by the number of such additions. */
    const double std = 0.55 / sqrt((double)d);
    const dual_start normal = {DUAL_NORMAL, std};
    const dual_start residual = {DUAL_NORMAL, std / sqrt(2.0 * (double)f->layers)};
    const dual_start ones = {DUAL_ONES, 0}, zeros = {DUAL_ZEROS, 0};
    m->config = *f;
    m->type = type;
    m->place = place;
    m->param = describe(c, 5 + 12 * f->layers, sizeof *m->param);
    m->layer = describe(c, f->layers, sizeof *m->layer);
    if (f->family == DUAL_GPT2) {
        param(c, m, &m->wte, "transformer.wte.weight", 0, f->vocab, d, normal);
        param(c, m, &m->wpe, "transformer.wpe.weight", 0, f->positions, d, normal);
        for (size_t l = 0; l < f->layers; l++) {
            struct dual_layer *w = &m->layer[l];
#define LAYER(slot, name, rows, cols, how) param(c, m, &w->slot, PREFIX name, l, rows, cols, how)
#define PREFIX "transformer.h.%z."
            LAYER(norm1_w, "ln_1.weight", 1, d, ones);
            LAYER(norm1_b, "ln_1.bias", 1, d, zeros);
            LAYER(qkv_w, "attn.c_attn.weight", d, 3 * d, normal);    /* Conv1D: [in, out] */
            LAYER(qkv_b, "attn.c_attn.bias", 1, 3 * d, zeros);
            LAYER(o_w, "attn.c_proj.weight", d, d, residual);
            LAYER(o_b, "attn.c_proj.bias", 1, d, zeros);
            LAYER(norm2_w, "ln_2.weight", 1, d, ones);
            LAYER(norm2_b, "ln_2.bias", 1, d, zeros);
            LAYER(up_w, "mlp.c_fc.weight", d, f->mlp, normal);
            LAYER(up_b, "mlp.c_fc.bias", 1, f->mlp, zeros);
            LAYER(down_w, "mlp.c_proj.weight", f->mlp, d, residual);
            LAYER(down_b, "mlp.c_proj.bias", 1, d, zeros);
#undef PREFIX
        }
        param(c, m, &m->norm_w, "transformer.ln_f.weight", 0, 1, d, ones);
        param(c, m, &m->norm_b, "transformer.ln_f.bias", 0, 1, d, zeros);
    } else {
        param(c, m, &m->wte, "model.embed_tokens.weight", 0, f->vocab, d, normal);
        for (size_t l = 0; l < f->layers; l++) {
            struct dual_layer *w = &m->layer[l];
#define PREFIX "model.layers.%z."
            LAYER(norm1_w, "input_layernorm.weight", 1, d, ones);
            LAYER(q_w, "self_attn.q_proj.weight", q, d, normal);     /* Linear: [out, in] */
            LAYER(k_w, "self_attn.k_proj.weight", kv, d, normal);
            LAYER(v_w, "self_attn.v_proj.weight", kv, d, normal);
            LAYER(q_norm, "self_attn.q_norm.weight", 1, f->head_dim, ones);
            LAYER(k_norm, "self_attn.k_norm.weight", 1, f->head_dim, ones);
            LAYER(o_w, "self_attn.o_proj.weight", d, q, residual);
            LAYER(norm2_w, "post_attention_layernorm.weight", 1, d, ones);
            LAYER(gate_w, "mlp.gate_proj.weight", f->mlp, d, normal);
            LAYER(up_w, "mlp.up_proj.weight", f->mlp, d, normal);
            LAYER(down_w, "mlp.down_proj.weight", d, f->mlp, residual);
#undef PREFIX
#undef LAYER
        }
        param(c, m, &m->norm_w, "model.norm.weight", 0, 1, d, ones);
    }
    if (f->tied) m->head = m->wte;     /* one tensor, two uses: their gradients add up in it */
    else param(c, m, &m->head, "lm_head.weight", 0, f->vocab, d, normal);
    return m;
}

/* Zeros are drawn as normal numbers of std 0, so that every tensor but the ones' advances the
 * generator: a model's weights then depend on its seed and its table alone. */
static void fill(dual_param *p, dual_rng *rng) {
    const size_t n = numbers(p->tensor) ? elements(p->tensor) : 0;     /* counting: 0 */
    for (size_t i = 0; i < n; i++) {
        double value = 1;
        if (p->start.kind != DUAL_ONES) value = p->start.std * dual_rng_normal(rng);
        set_number(p->tensor, i, (real)value);
    }
}

void dual_model_init(dual_model *m, dual_rng rng) {
    for (size_t i = 0; i < m->n_params; i++) fill(&m->param[i], &rng);
}

void dual_model_copy(dual_model *to, const dual_model *from) {
    for (size_t i = 0; i < to->n_params; i++) {
        dual_tensor *t = to->param[i].tensor;
        const dual_tensor *source = from->param[i].tensor;
        const size_t n = numbers(t) ? elements(t) : 0;
        for (size_t j = 0; j < n; j++) set_number(t, j, dual_number(source, j));
    }
}

size_t dual_model_params(const dual_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_params; i++) n += elements(m->param[i].tensor);
    return n;
}

/* Attention of layer l: the visible caches, this pass's own among them, become key lists. */
static dual_tensor *layer_attention(dual_ctx *c, const dual_pass *p, size_t l, dual_tensor *q) {
    const dual_config *f = &p->model->config;
    dual_keys *keys = describe(c, p->n_seen, sizeof *keys);
    size_t n = 0;
    for (size_t i = 0; i < p->n_seen; i++) {
        const dual_seen *seen = &p->seen[i];
        const dual_cache *cache = seen->cache ? seen->cache : &p->cache;
        if (!cache->k[l]) continue;    /* h1 on some layers only: nothing joins at this one */
        keys[n++] = (dual_keys){cache->k[l], cache->v[l], seen->begin, seen->end};
    }
    return dual_attention(c, q, f->heads, f->kv_heads, n, keys, p->segments, p->segment_start);
}

/* How much of a block is computed. KEYS_ONLY stops at the layer's keys and values, returns NULL. */
enum { WHOLE_BLOCK, KEYS_ONLY };

/* x += attention(ln_1(x)), then x += mlp(ln_2(x)). With KEYS_ONLY two thirds of c_attn suffice. */
static dual_tensor *gpt2_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int extent) {
    const struct dual_layer *w = &p->model->layer[l];
    const size_t d = p->model->config.hidden, q_cols = extent == KEYS_ONLY ? 0 : d;
    const double eps = p->model->config.norm_eps;

    dual_tensor *h = dual_layernorm(c, x, w->norm1_w, w->norm1_b, eps);    /* [rows, d], as x */
    dual_tensor *qkv_w = dual_view(c, w->qkv_w, 0, d, d - q_cols, q_cols + 2 * d);
    dual_tensor *qkv_b = dual_view(c, w->qkv_b, 0, 1, d - q_cols, q_cols + 2 * d);
    dual_tensor *qkv = dual_linear(c, h, qkv_w, qkv_b, DUAL_IN_OUT);       /* q, k, v: d each */
    p->cache.k[l] = dual_view(c, qkv, 0, p->rows, q_cols, d);
    p->cache.v[l] = dual_view(c, qkv, 0, p->rows, q_cols + d, d);
    if (extent == KEYS_ONLY) return NULL;
    h = layer_attention(c, p, l, dual_view(c, qkv, 0, p->rows, 0, d));
    x = dual_add(c, x, dual_linear(c, h, w->o_w, w->o_b, DUAL_IN_OUT));

    h = dual_layernorm(c, x, w->norm2_w, w->norm2_b, eps);
    h = dual_gelu(c, dual_linear(c, h, w->up_w, w->up_b, DUAL_IN_OUT));    /* [rows, mlp] */
    return dual_add(c, x, dual_linear(c, h, w->down_w, w->down_b, DUAL_IN_OUT));
}

/* The same with RMSNorm, no biases, weights [out,in] and a gated MLP. q [rows, H*hd] and k [rows,
 * kv_heads*hd] are normed per head and then rotated: the cache holds rotated keys. */
static dual_tensor *qwen3_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int extent) {
    const struct dual_layer *w = &p->model->layer[l];
    const dual_config *f = &p->model->config;

    dual_tensor *h = dual_rmsnorm(c, x, w->norm1_w, f->norm_eps);
    dual_tensor *k = dual_linear(c, h, w->k_w, NULL, DUAL_OUT_IN);
    k = dual_rmsnorm(c, k, w->k_norm, f->norm_eps);
    p->cache.k[l] = dual_rotary(c, k, f->head_dim, p->position, f->rope_theta);
    p->cache.v[l] = dual_linear(c, h, w->v_w, NULL, DUAL_OUT_IN);
    if (extent == KEYS_ONLY) return NULL;
    dual_tensor *q = dual_linear(c, h, w->q_w, NULL, DUAL_OUT_IN);
    q = dual_rmsnorm(c, q, w->q_norm, f->norm_eps);
    q = dual_rotary(c, q, f->head_dim, p->position, f->rope_theta);
    h = layer_attention(c, p, l, q);
    x = dual_add(c, x, dual_linear(c, h, w->o_w, NULL, DUAL_OUT_IN));

    h = dual_rmsnorm(c, x, w->norm2_w, f->norm_eps);
    dual_tensor *const up = dual_linear(c, h, w->up_w, NULL, DUAL_OUT_IN); /* always first */
    h = dual_swiglu(c, dual_linear(c, h, w->gate_w, NULL, DUAL_OUT_IN), up);
    return dual_add(c, x, dual_linear(c, h, w->down_w, NULL, DUAL_OUT_IN));
}

static dual_tensor *one_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x, int extent) {
    return p->model->config.family == DUAL_GPT2 ? gpt2_block(c, p, l, x, extent)
                                                : qwen3_block(c, p, l, x, extent);
}

/* Gradient checkpointing (ctx->recompute). Of a block only the input is kept and the outputs that
 * others read: keys, values and y, unless the pass stops at K and V. Backward runs the block again
 * on a tape of its own, scans that tape and forgets it. The gradients it must not forget belong to
 * the node's inputs (x, weights, other passes' keys); those arrays lie below the mark. The same
 * kernels run in the same order, so the gradients are the same to the last bit.
 * run_block_into copies the block's outputs into `kept`: keys, values, y or NULL. */
static void run_block_into(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x,
                           dual_tensor **kept) {
    dual_tensor *const y = one_block(c, p, l, x, kept[2] ? WHOLE_BLOCK : KEYS_ONLY);
    dual_tensor *const made[3][2] = {{p->cache.k[l]}, {p->cache.v[l]}, {y}};
    for (int i = 0; i < 3 && kept[i]; i++) {
        const dual_tensor *from = made[i][0], *to = kept[i];
        const int first_time = !to->needs_grad;    /* in backward the copy is there already */
        const size_t rows = c->memory && first_time ? to->rows : 0;
        OMP(omp parallel for schedule(static) if (rows * to->cols > 20000))
        for (size_t r = 0; r < rows; r++)
            memcpy(to->data + r * to->cols, from->data + r * from->stride, to->cols * sizeof(real));
        record(c, kept[i], add_backward, 2, made[i]);      /* dual_add's, with one input */
    }
    p->cache.k[l] = kept[0];
    p->cache.v[l] = kept[1];
}

static void recomputed_block_backward(dual_ctx *c, node *n) {
    dual_tensor *kept[] = {n->out, n->more_out[0], n->more_out[1]};
    const dual_mark mark = dual_mark_here(c);
    if (c->inference) die(c, "backward: blocks cannot be recomputed in inference");
    c->tape = NULL;
    run_block_into(c, n->args.block.pass, n->args.block.layer, n->in[0], kept);
    scan(c);
    dual_release(c, mark);
}

static dual_tensor *recomputed_block(dual_ctx *c, dual_pass *p, size_t l, dual_tensor *x,
                                     int extent) {
    const size_t kv = p->model->config.kv_heads * p->model->config.head_dim;
    dual_tensor **in = describe(c, 1 + WEIGHTS + 2 * p->n_seen, sizeof *in);
    size_t n_in = 1 + WEIGHTS;
    in[0] = x;
    memcpy(in + 1, &p->model->layer[l], WEIGHTS * sizeof *in);
    for (size_t i = 0; i < p->n_seen && extent == WHOLE_BLOCK; i++)
        if (p->seen[i].cache) {
            in[n_in++] = p->seen[i].cache->k[l];
            in[n_in++] = p->seen[i].cache->v[l];
        }
    dual_tensor *kept[3] = {NULL};
    kept[0] = dual_tensor_new(c, p->rows, kv);
    kept[1] = dual_tensor_new(c, p->rows, kv);
    if (extent == WHOLE_BLOCK) kept[2] = dual_tensor_new(c, p->rows, x->cols);
    const dual_mark mark = dual_mark_here(c);
    run_block_into(c, p, l, x, kept);
    dual_release(c, mark);
    node *n = record(c, kept[0], recomputed_block_backward, n_in, in);
    n->args.block.pass = p;
    n->args.block.layer = l;
    n->more_out[0] = kept[1];
    n->more_out[1] = kept[2];
    return kept[2];
}

dual_tensor *dual_forward(dual_ctx *c, dual_pass *p) {
    const dual_model *m = p->model;
    const dual_config *f = &m->config;
    dual_tensor *x = p->input;
    p->hidden = NULL;
    p->cache = cache_new(c, f->layers);
    for (size_t r = 0; r < p->rows; r++)
        if (p->position[r] < 0 || (size_t)p->position[r] >= f->positions)
            die(c, "%s: position %d of %z", p->name, (int)p->position[r], f->positions);
    if (m->wpe) x = dual_add(c, x, dual_gather(c, 1, &p->model->wpe, p->rows, NULL, p->position));
    const size_t layers = p->layers ? p->layers : f->layers;
    for (size_t l = 0; l < layers; l++) {
        const int extent = p->cache_only && l + 1 == layers ? KEYS_ONLY : WHOLE_BLOCK;
        if (p->trace) p->trace[l] = x;
        x = c->recompute ? recomputed_block(c, p, l, x, extent) : one_block(c, p, l, x, extent);
    }
    if (!x) return NULL;
    if (p->trace) p->trace[layers] = x;
    p->hidden = norm(c, x, m->norm_w, m->norm_b, f->norm_eps);
    return p->hidden;
}

dual_tensor *dual_logits(dual_ctx *c, dual_model *m, dual_tensor *hidden) {
    return dual_linear(c, hidden, m->head, NULL, DUAL_OUT_IN);
}

/* ==== THE EXCHANGE ===============================================================================
 * Owns the method: its systems, what each of them trains, the rows, positions and visibility of
 * every pass, and the loss. Refuses: words, tasks, schedules; it is given token ids.
 *
 * FOUR SYSTEMS. x is the prompt (n tokens), y the answer (m tokens). Between them stands the cue, a
 * given token that every system reads and no loss scores, such as the line break after a question.
 * S is N_L soft tokens: learned embeddings, the same for every prompt. theta and phi are the
 * parameters of Base and Coprocessor, KV_theta is the Base's KV cache of x.
 *   soft  One model, one pass: the Base is trained on [x; S; cue; y]. S gives it N_L more input
 *         rows after the prompt; all the thinking there is done by its own layers.
 *   liu   The frozen Base reads x. The Coprocessor, a second model that starts as a copy of the
 *         Base, reads S with KV_theta as its past. Its final states Z, which depend on x, become
 *         N_L input rows of the Base, and cue and y follow them. The loss trains the Coprocessor
 *         and S; on its way to Z the gradient passes through the frozen Base.
 *   h2    liu with a Base that is trained too: it learns to use Z and, since gradient also flows
 *         back through KV_theta, to write a cache that is worth reading.
 *   h1    liu with a wider channel: no Z. The Coprocessor's own keys and values at S join the
 *         Base's cache, layer by layer, so every layer of the Base attends to the Coprocessor's
 *         state at its own depth. The Base computes nothing at the latent positions.
 *
 * THREE PASSES. A system with a Coprocessor runs, positions at the right:
 *   read    Base on x                                      -> KV_theta       0 .. n-1
 *   think   Coprocessor on S, past KV_theta                -> Z, KV_phi      n .. n+N_L-1
 *   speak   Base on [Z; cue; y], past KV_theta             (liu, h2)         Z at n, cue at n+N_L
 *           Base on [cue; y], past KV_theta and KV_phi     (h1, h1h2)        cue at n+N_L
 * Without one, read is part of speak, the Base on [x; S; cue; y], or comes before it if the Base is
 * frozen. The cue is at n+N_L in every system that has latents, rows of the Base or not.
 *
 * ALL SYSTEMS
 *   system    at the latent positions                  Base     Coprocessor  trains         passes
 *   none      nothing: the cue is at n                 trained  -            theta          1
 *   pause     one learned vector s, N_L times          trained  -            theta, s       1
 *   soft      N_L learned vectors S                    trained  -            theta, S       1
 *   prompt    as soft: prompt tuning                   frozen   -            S              2
 *   wide      as soft, in one larger model             trained  -            theta, S       1
 *   coconut   s, then N_L states fed back in turn      trained  -            theta, s       N_L+1
 *   liu       Z as input embeddings                    frozen   yes          phi, S         3
 *   h2        Z as input embeddings                    trained  yes          theta, phi, S  3
 *   h1        no row; KV_phi joins the Base's cache    frozen   yes          phi, S         3
 *   h1h2      no row; KV_phi joins the Base's cache    trained  yes          theta, phi, S  3
 * Before training the Coprocessor is a copy of the Base, and each soft token is the mean token
 * embedding plus noise. coconut's s takes a position of its own: its cue is at n+N_L+1.
 *
 * A FROZEN BASE IS STILL RECORDED in speak. In liu and h1 the loss reaches Z or KV_phi only through
 * that pass, so the gradient runs through weights that receive none. Its read pass alone is not on
 * the tape: nothing before it is trained.
 *
 * WHY A CUE. In soft, liu and h2 the last latent's row could predict y_0 itself; an empty cue asks
 * for that, as in Liu et al. In h1 the Base has no row at the latents and must read something given
 * first. If only h1 had a cue, channel width would not be its sole difference from liu.
 *
 * SEVERAL GROUPS IN ONE SEQUENCE (pretraining on text). A group is one augmentation: latents, cue
 * and targets at some insertion point. It sees the text before that point and itself, nothing of
 * later text or of other groups. Visibility is row ranges, so all groups share one pass per model.
 *
 * TO READ THE CODE, begin with exchange() near the chapter's end, then READ, THINK, EMBED, KV. */

static const struct { const char *name; dual_injection inject; int base_trained; } SYSTEMS[] = {
    {"none", DUAL_NONE, 1},   {"pause", DUAL_PAUSE, 1},   {"soft", DUAL_SOFT, 1},
    {"prompt", DUAL_SOFT, 0}, {"wide", DUAL_SOFT, 1},     {"coconut", DUAL_CHAIN, 1},
    {"liu", DUAL_EMBED, 0},   {"h1", DUAL_KV, 0},         {"h2", DUAL_EMBED, 1},
    {"h1h2", DUAL_KV, 1},
};

dual_system dual_system_preset(const char *name) {
    dual_system s = {.inject = (dual_injection)(DUAL_KV + 1), .latents = SIZE_MAX};
    put(s.name, sizeof s.name, "%s", name);
    for (size_t i = 0; i < COUNT(SYSTEMS); i++)
        if (same(name, SYSTEMS[i].name)) {
            s.inject = SYSTEMS[i].inject;
            s.base_trained = SYSTEMS[i].base_trained;
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

size_t dual_latent_positions(const dual_system *s) {
    if (s->inject == DUAL_NONE) return 0;
    return s->latents + (s->inject == DUAL_CHAIN);     /* coconut's s stands before its thoughts */
}

/* kv: whether layer l's entries join the Base's cache. */
static int hands_over(const dual_system *s, size_t l) {
    return !s->kv_layers || (l < 64 && s->kv_layers >> l & 1);
}

/* kv: how many layers there are up to the last one that is handed over. */
static size_t layers_used(const dual_system *s, size_t layers) {
    while (!hands_over(s, layers - 1)) layers--;
    return layers;
}

/* Whether the Coprocessor's final states are used: as Z, or, under kv, only by the penalty. */
static int uses_states(const dual_system *s) {
    const int penalised = s->orthogonality > 0 && !s->values;
    return s->inject == DUAL_EMBED || (s->inject == DUAL_KV && penalised);
}

/* Whether the Base's speak pass has a row at the last latent, which could predict y_0. */
static int has_latent_rows(const dual_system *s) {
    return s->inject != DUAL_NONE && s->inject != DUAL_KV && s->latents > 0;
}

/* The first option that is impossible or would have no effect: the reason, else NULL. */
static const char *option_error(const dual_system *s, size_t layers) {
    const int coprocessor = dual_system_needs_coprocessor(s), trained = s->base_trained;
    const int kv = s->inject == DUAL_KV, chain = s->inject == DUAL_CHAIN;
    const int penalised = s->orthogonality > 0;
    const int missing_layer = layers < 64 && s->kv_layers >> layers;
    if (s->detach && !(coprocessor && trained))
        return "detach needs a trained Base and a Coprocessor: it cuts the gradient between them";
    if (s->gain && s->inject != DUAL_EMBED && !chain)
        return "a latent gain scales injected states: it needs embed or chain injection";
    if ((s->kv_layers && !kv) || missing_layer)
        return "a list of layers needs kv injection, and layers that the model has";
    if (!(s->orthogonality >= 0 && s->text_loss >= 0 && s->orthogonality + s->text_loss < 1e9))
        return "the weights of orthogonality and text loss must be numbers of at least 0";
    if (penalised && !(coprocessor && s->latents > 1))
        return "orthogonality needs embed or kv injection and at least 2 latents";
    if ((s->centred || s->values) && !penalised)
        return "centred and values are forms of the orthogonality penalty, which is off";
    if (s->values && !kv)
        return "a penalty on values is an option of kv only";
    if (s->text_loss > 0 && !trained)
        return "a loss on plain text needs a trained Base, and this one is frozen";
    if (s->fused && chain)
        return "fused cannot work with a chain, which needs its passes";
    if (s->fused && trained && !coprocessor)
        return "fused changes nothing without a Coprocessor: a trained Base reads all in one pass";
    return NULL;
}

/* What keeps the two models from reading each other's cache, else NULL. */
static const char *shape_mismatch(const dual_config *base, const dual_config *cop, int embed) {
    if (cop->family != base->family) return "family";
    if (cop->layers != base->layers) return "layers";
    if (cop->kv_heads != base->kv_heads) return "kv heads";
    if (cop->head_dim != base->head_dim) return "head_dim";
    if (base->family == DUAL_QWEN3 && cop->rope_theta != base->rope_theta) return "rope_theta";
    if (embed && cop->hidden != base->hidden) return "hidden size";
    return NULL;
}

int dual_exchange_new(dual_ctx *c, dual_exchange *e, const dual_system *s, dual_model *base,
                      dual_model *coprocessor) {
    *e = (dual_exchange){.system = *s, .base = base};
    if (s->inject > DUAL_KV) return refuse(c, "no system is called %s", s->name);
    if (dual_system_needs_coprocessor(s)) {
        if (!coprocessor)
            return refuse(c, "%s injection needs a Coprocessor", dual_injection_name(s->inject));
        const char *what = shape_mismatch(&base->config, &coprocessor->config,
                                          s->inject == DUAL_EMBED);
        if (what)
            return refuse(c, "Base and Coprocessor differ in %s: the Coprocessor could not read "
                          "the Base's cache, or the Base its answer", what);
        e->coprocessor = coprocessor;
    }
    const char *why = option_error(s, base->config.layers);
    if (why) return refuse(c, "%s", why);
    const dual_model *reader = e->coprocessor ? e->coprocessor : base;     /* of the soft tokens */
    const int one_vector = s->inject == DUAL_PAUSE || s->inject == DUAL_CHAIN;
    if (s->inject != DUAL_NONE) {
        e->soft = (dual_param){.name = "soft_tokens", .start = {DUAL_NORMAL, 0.02}, .rate = 10};
        e->soft.tensor = dual_tensor_new(c, one_vector ? 1 : s->latents, reader->config.hidden);
    }
    if (s->gain) {
        e->gain = (dual_param){.name = "latent_gain", .start = {DUAL_ONES, 0}, .rate = 1};
        e->gain.tensor = dual_tensor_new(c, 1, 1);
    }
    return 1;
}

static int same_shapes(const dual_model *a, const dual_model *b) {
    int same = a->n_params == b->n_params;
    for (size_t i = 0; same && i < a->n_params; i++)
        same = a->param[i].tensor->rows == b->param[i].tensor->rows &&
               a->param[i].tensor->cols == b->param[i].tensor->cols;
    return same;
}

static void add_mean_row(dual_tensor *s, const dual_tensor *embedding) {
    for (size_t j = 0; j < s->cols; j++) {
        double sum = 0;
        for (size_t v = 0; v < embedding->rows; v++)
            sum += (double)dual_number(embedding, v * embedding->cols + j);
        for (size_t i = 0; i < s->rows; i++)
            s->data[i * s->cols + j] += (real)(sum / (double)embedding->rows);
    }
}

/* The Coprocessor starts as a copy of the Base. S starts as the mean token embedding plus noise:
 * the noise differs by slot, since equal soft tokens could stay equal. */
void dual_exchange_init(dual_exchange *e, uint64_t seed) {
    dual_rng rng = dual_rng_seed(seed, 0x50F7);
    if (e->coprocessor && same_shapes(e->coprocessor, e->base))
        dual_model_copy(e->coprocessor, e->base);
    if (e->gain.tensor) fill(&e->gain, &rng);
    if (!e->soft.tensor) return;
    fill(&e->soft, &rng);
    const dual_model *reader = e->coprocessor ? e->coprocessor : e->base;
    if (e->soft.tensor->data) add_mean_row(e->soft.tensor, reader->wte);
}

dual_param *dual_exchange_param(dual_exchange *e, size_t i, char *owner) {
    const size_t in_base = e->base->n_params;
    const size_t in_coprocessor = e->coprocessor ? e->coprocessor->n_params : 0;
    *owner = 'B';
    if (i < in_base) return &e->base->param[i];
    i -= in_base;
    *owner = 'C';
    if (i < in_coprocessor) return &e->coprocessor->param[i];
    i -= in_coprocessor;
    *owner = 'S';
    if (e->soft.tensor && i-- == 0) return &e->soft;
    if (e->gain.tensor && i-- == 0) return &e->gain;
    return NULL;
}

/* What is trained. Parameters that by structure get no gradient are left out of the optimiser and
 * of the count. The Coprocessor reads soft tokens, not text, and predicts no token: its embedding
 * and its head are unused. Under h1 the last layer that is handed over is used up to its keys and
 * values only, and nothing above it. */
static int is_trained(const dual_exchange *e, char owner, const dual_tensor *t) {
    if (owner == 'B') return e->system.base_trained;
    if (owner == 'S') return 1;
    const dual_model *m = e->coprocessor;
    if (t == m->wte || t == m->head) return 0;
    if (uses_states(&e->system)) return 1;
    if (t == m->norm_w || t == m->norm_b) return 0;
    const size_t used = layers_used(&e->system, m->config.layers);
    for (size_t l = used - 1; l < m->config.layers; l++) {
        dual_tensor *const *weight = (dual_tensor *const *)(const void *)&m->layer[l];
        for (size_t i = l < used ? FOR_KEYS : 0; i < WEIGHTS; i++)
            if (weight[i] == t) return 0;
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
        if (is_trained(e, owner, p->tensor)) n += elements(p->tensor);
    /* GPT-2's c_attn is one tensor. Under h1 the query third of the last one gets no gradient and
     * is not counted, though weight decay reaches it. */
    if (e->coprocessor && e->base->config.family == DUAL_GPT2 && !uses_states(&e->system))
        n -= e->coprocessor->config.hidden * (e->coprocessor->config.hidden + 1);
    return n;
}

static size_t cue_length(const dual_batch *b, const dual_group *group) {
    return b->cue_rows ? b->cue_rows->rows : group->n_cue;
}

static int check_tokens(dual_ctx *c, size_t vocab, const int32_t *token, size_t n,
                        const char *where, size_t i) {
    for (size_t j = 0; j < n; j++)
        if (token[j] < 0 || (size_t)token[j] >= vocab)
            return refuse(c, "batch: token %d of %s %z is not in the vocabulary of %z",
                          (int)token[j], where, i, vocab);
    return 1;
}

static int check_group(dual_ctx *c, const dual_exchange *e, const dual_batch *b, size_t g) {
    const dual_config *f = &e->base->config;
    const dual_group *group = &b->group[g];
    const size_t N = e->system.latents, slots = dual_latent_positions(&e->system);
    const size_t cue = cue_length(b, group);
    const size_t positions = group->prefix + slots + cue + group->n_target;
    const int unsorted = g > 0 && group->sequence < b->group[g - 1].sequence;
    if (group->sequence >= b->n_sequences || group->prefix > b->length[group->sequence] || unsorted)
        return refuse(c, "batch: group %z: sequence %z, prefix %z: out of range or order", g,
                      group->sequence, group->prefix);
    const int all_dropped = b->ablation.from == DUAL_DROP && N == 1;
    if (!cue && (!has_latent_rows(&e->system) || all_dropped))
        return refuse(c, "batch: an empty cue asks the last latent's row to predict the first "
                      "target, and the Base has none (kv injection never); give a cue");
    if (positions > f->positions)
        return refuse(c, "batch: prompt %z + latents %z + cue %z + targets %z = %z positions, the "
                      "model has %z", group->prefix, slots, cue, group->n_target, positions,
                      f->positions);
    if (e->coprocessor && group->prefix + N > e->coprocessor->config.positions)
        return refuse(c, "batch: prompt %z + latents %z, the Coprocessor has %z positions",
                      group->prefix, N, e->coprocessor->config.positions);
    return check_tokens(c, f->vocab, group->cue, group->n_cue, "group", g) &&
           check_tokens(c, f->vocab, group->target, group->n_target, "group", g);
}

int dual_batch_check(dual_ctx *c, const dual_exchange *e, const dual_batch *b) {
    const dual_config *f = &e->base->config;
    if (b->ablation.from == DUAL_DROP && b->ablation.slot >= e->system.latents)
        return refuse(c, "batch: cannot drop latent %z of %z", b->ablation.slot, e->system.latents);
    if (!b->n_groups) return refuse(c, "batch: no group");
    for (size_t i = 0; i < b->n_sequences; i++) {
        if (b->length[i] > f->positions)
            return refuse(c, "batch: sequence %z has %z tokens, the model %z positions", i,
                          b->length[i], f->positions);
        if (!check_tokens(c, f->vocab, b->text[i], b->length[i], "sequence", i)) return 0;
    }
    if (b->cue_rows && b->cue_rows->cols != f->hidden)
        return refuse(c, "batch: cue rows of %z columns, width %z", b->cue_rows->cols, f->hidden);
    for (size_t g = 0; g < b->n_groups; g++)
        if (!check_group(c, e, b, g)) return 0;
    return 1;
}

/* ---- passes: who sees what ---- */

/* What one batch carries through its passes. `past` is the exchange in short: the caches that the
 * groups see so far, each with a range of rows per group. Read pushes KV_theta, think pushes KV_phi
 * (h1), each coconut thought pushes itself, and speak pushes its own rows, for decoding. */
typedef struct {
    dual_ctx *c;
    dual_exchange *e;
    const dual_batch *batch;
    dual_outcome *out;
    dual_seen *past;               /* begin, end: [groups] */
    size_t n_past, first_visible;  /* speak and decoding see past[first_visible .. n_past-1] */
    int32_t *last_row;             /* [groups] the speak row that predicts the first target */
} exchange_state;

enum { FROM_TOKENS, FROM_LATENTS, FROM_CUE };      /* where an input row comes from */
/* The row of its source that latent i of group g reads: i (S), 0 (s), or one of its own (Z). */
enum { ROW_OF_SLOT, ROW_ZERO, ROW_OF_LATENT };
enum { NO_GROUP = -1 };

/* The rows of one pass: for every sequence its text, then for each of its groups the latent rows,
 * the cue and the targets but the last; any of these may be absent. A row sees its group's past,
 * the group's text prefix if that is in the same pass, and its own group up to itself. */
typedef struct {
    int text, tail;                /* whether the texts, and cues and targets, are in this pass */
    size_t slots, first_slot;      /* latent rows per group, at positions n + first_slot on */
    int latent_row;                /* ROW_OF_.. */
    /* plan_rows fills in the rest */
    size_t rows, segments;
    int32_t *label, *source, *source_row, *position, *group;               /* [rows] */
    int32_t *text_begin, *text_end, *own_begin, *own_end;                  /* [rows] */
    int32_t *segment_start, *text_start, *group_start, *group_end;     /* sequences + 1; groups */
} pass_plan;

/* label: what dual_pass.token shows. source_row: a token id, a latent's row or a cue row. */
static void add_row(pass_plan *p, int source, size_t source_row, int32_t label, size_t position,
                    int32_t group) {
    const size_t r = p->rows++;
    p->source[r] = source;
    p->source_row[r] = (int32_t)source_row;
    p->label[r] = label;
    p->position[r] = (int32_t)position;
    p->group[r] = group;
    p->own_end[r] = (int32_t)r + 1;
}

static void plan_text(const dual_batch *b, pass_plan *p, size_t sequence) {
    const size_t start = p->rows;
    for (size_t j = 0; j < b->length[sequence]; j++) {
        const int32_t token = b->text[sequence][j];
        p->own_begin[p->rows] = (int32_t)start;
        add_row(p, FROM_TOKENS, (size_t)token, token, j, NO_GROUP);
    }
}

/* Slot i of an augmentation stands at position n + i, also when another slot is dropped. */
static void plan_latents(const dual_batch *b, pass_plan *p, size_t g) {
    for (size_t i = 0; i < p->slots; i++) {
        const size_t slot = p->first_slot + i;
        size_t row = 0;
        if (p->latent_row == ROW_OF_SLOT) row = i;
        if (p->latent_row == ROW_OF_LATENT) row = g * p->slots + i;
        if (p->tail && b->ablation.from == DUAL_DROP && b->ablation.slot == i) continue;
        add_row(p, FROM_LATENTS, row, -1 - (int32_t)slot, b->group[g].prefix + slot, (int32_t)g);
    }
}

/* Cue and targets. The last target is predicted, never read. */
static void plan_tail(exchange_state *s, pass_plan *p, size_t g) {
    const dual_batch *b = s->batch;
    const dual_group *group = &b->group[g];
    size_t position = group->prefix + dual_latent_positions(&s->e->system);
    for (size_t j = 0; j < cue_length(b, group); j++, position++) {
        if (b->cue_rows) add_row(p, FROM_CUE, j, INT32_MIN, position, (int32_t)g);
        else add_row(p, FROM_TOKENS, (size_t)group->cue[j], group->cue[j], position, (int32_t)g);
    }
    s->last_row[g] = (int32_t)p->rows - 1;
    for (size_t j = 0; j + 1 < group->n_target; j++, position++)
        add_row(p, FROM_TOKENS, (size_t)group->target[j], group->target[j], position, (int32_t)g);
}

static void plan_group(exchange_state *s, pass_plan *p, size_t g, size_t text_start) {
    const size_t start = p->rows, prefix = s->batch->group[g].prefix;
    plan_latents(s->batch, p, g);
    if (p->tail) plan_tail(s, p, g);
    p->text_start[g] = (int32_t)text_start;
    p->group_start[g] = (int32_t)start;
    p->group_end[g] = (int32_t)p->rows;
    for (size_t r = start; r < p->rows; r++) {
        p->own_begin[r] = (int32_t)start;
        p->text_begin[r] = (int32_t)text_start;
        p->text_end[r] = (int32_t)(text_start + (p->text ? prefix : 0));
    }
}

static size_t most_rows(const dual_batch *b, const pass_plan *p) {
    size_t rows = b->n_groups * p->slots;
    for (size_t i = 0; p->text && i < b->n_sequences; i++) rows += b->length[i];
    for (size_t g = 0; p->tail && g < b->n_groups; g++)
        rows += cue_length(b, &b->group[g]) + b->group[g].n_target;
    return rows;
}

static void plan_rows(exchange_state *s, pass_plan *p) {
    const dual_batch *b = s->batch;
    const size_t rows = most_rows(b, p);
    int32_t **const per_row[] = {&p->label, &p->source, &p->source_row, &p->position, &p->group,
        &p->text_begin, &p->text_end, &p->own_begin, &p->own_end};
    int32_t **const per_group[] = {&p->text_start, &p->group_start, &p->group_end};
    for (size_t i = 0; i < COUNT(per_row); i++) *per_row[i] = integers(s->c, rows);
    for (size_t i = 0; i < COUNT(per_group); i++) *per_group[i] = integers(s->c, b->n_groups);
    p->segment_start = integers(s->c, b->n_sequences + 1);
    size_t g = 0;
    for (size_t i = 0; i < b->n_sequences; i++) {
        const size_t text_start = p->rows;
        if (p->text) plan_text(b, p, i);
        for (; g < b->n_groups && b->group[g].sequence == i; g++) plan_group(s, p, g, text_start);
        p->segments++;
        p->segment_start[p->segments] = (int32_t)p->rows;
    }
}

static void push_past(exchange_state *s, const dual_cache *cache, const int32_t *begin,
                      const int32_t *end) {
    s->past[s->n_past++] = (dual_seen){cache, begin, end};
}

/* From a range per group to a range per row: row r belongs to group[r]. Rows of a text belong to no
 * group and see none of it. */
static dual_seen past_of_rows(dual_ctx *c, const dual_seen *past, const int32_t *group, size_t n) {
    int32_t *begin = integers(c, n), *end = integers(c, n);
    for (size_t r = 0; r < n; r++) {
        if (group[r] == NO_GROUP) continue;
        begin[r] = past->begin[group[r]];
        end[r] = past->end[group[r]];
    }
    return (dual_seen){past->cache, begin, end};
}

enum { FULL_PASS = 0 };
/* Plans a pass, runs it and returns it. `latents` holds what its latent rows read. Unless it is a
 * FULL_PASS, it ends at the keys and values of the last of `key_layers` layers. */
static dual_pass *run_pass(exchange_state *s, const char *name, dual_model *m, pass_plan *plan,
                           dual_tensor *latents, size_t key_layers) {
    dual_ctx *c = s->c;
    plan_rows(s, plan);
    dual_pass *p = &s->out->pass[s->out->n_passes++];
    dual_seen *seen = describe(c, s->n_past + 2, sizeof *seen);
    size_t n = 0;
    for (size_t i = s->first_visible; i < s->n_past; i++)
        seen[n++] = past_of_rows(c, &s->past[i], plan->group, plan->rows);
    if (plan->text) seen[n++] = (dual_seen){NULL, plan->text_begin, plan->text_end};
    seen[n++] = (dual_seen){NULL, plan->own_begin, plan->own_end};
    dual_tensor *source[3];
    source[FROM_TOKENS] = m->wte;
    source[FROM_LATENTS] = plan->slots ? latents : NULL;
    source[FROM_CUE] = plan->tail ? s->batch->cue_rows : NULL;
    *p = (dual_pass){.name = name, .model = m, .rows = plan->rows, .segments = plan->segments,
                     .n_seen = n, .seen = seen, .token = plan->label, .position = plan->position,
                     .segment_start = plan->segment_start, .layers = key_layers,
                     .cache_only = key_layers != FULL_PASS};
    p->input = dual_gather(c, 3, source, plan->rows, plan->source, plan->source_row);
    dual_forward(c, p);
    return p;
}

/* ---- helpers: caches, ablations, choosing rows ---- */

/* A new cache: the keys and values of `from` after `change`. `stream` numbers the tensors. */
static const dual_cache *map_cache(exchange_state *s, const dual_cache *from,
                                   dual_tensor *(*change)(exchange_state *, dual_tensor *,
                                                          size_t stream)) {
    const size_t layers = s->e->base->config.layers;
    dual_cache *to = describe(s->c, 1, sizeof *to);
    *to = cache_new(s->c, layers);
    for (size_t l = 0; l < layers; l++) {
        if (!from->k[l]) continue;
        to->k[l] = change(s, from->k[l], 2 * l);
        to->v[l] = change(s, from->v[l], 2 * l + 1);
    }
    return to;
}

static dual_tensor *without_gradient(exchange_state *s, dual_tensor *x, size_t stream) {
    (void)stream;
    return dual_detach(s->c, x);
}

static dual_tensor *if_handed_over(exchange_state *s, dual_tensor *x, size_t stream) {
    return hands_over(&s->e->system, stream / 2) ? x : NULL;
}

static void matched_noise(real *row, const real *own, size_t w, dual_rng rng) {
    for (size_t j = 0; j < w; j++) row[j] = (real)dual_rng_normal(&rng);
    const real scale = (real)sqrt((double)dot(own, own, w) / (double)dot(row, row, w));
    for (size_t j = 0; j < w; j++) row[j] *= scale;
}

/* Evaluation only: z [groups*N_L, w] with every row replaced as the ablation asks: by the same slot
 * of the next group, the slot's mean, noise of the row's own norm, or zeros. */
static dual_tensor *apply_ablation(exchange_state *s, dual_tensor *z, size_t stream) {
    const dual_ablation *a = &s->batch->ablation;
    const size_t slots = s->e->system.latents, groups = s->batch->n_groups, w = z->cols;
    if (a->from == DUAL_RIGHT || a->from == DUAL_DROP) return z;
    dual_tensor *out = dual_tensor_new(s->c, z->rows, w);
    for (size_t r = 0; s->c->memory && r < groups * slots; r++) {
        const size_t g = r / slots, i = r % slots, next = (g + 1) % groups * slots + i;
        real *row = out->data + r * w;
        memset(row, 0, w * sizeof *row);
        if (a->from == DUAL_SWAPPED) memcpy(row, z->data + next * z->stride, w * sizeof *row);
        for (size_t h = 0; a->from == DUAL_MEAN && h < groups; h++)
            for (size_t j = 0; j < w; j++)
                row[j] += z->data[(h * slots + i) * z->stride + j] / (real)groups;
        if (a->from == DUAL_NOISE)
            matched_noise(row, z->data + r * z->stride, w,
                          dual_rng_seed(a->seed, (uint64_t)stream * 1000003u + r));
    }
    return out;
}

/* [groups*count, w]: for every group g, the rows first[g] .. first[g]+count-1 of x. */
static dual_tensor *rows_per_group(exchange_state *s, dual_tensor *x, size_t count,
                                   const int32_t *first) {
    const size_t groups = s->batch->n_groups;
    int32_t *index = integers(s->c, groups * count);
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < count; i++) index[g * count + i] = first[g] + (int32_t)i;
    return dual_gather(s->c, 1, &x, groups * count, NULL, index);
}

/* [groups*n, w] from n tensors [groups, w]: the n rows of a group one after another. */
static dual_tensor *interleave(exchange_state *s, dual_tensor **part, size_t n) {
    const size_t rows = s->batch->n_groups * n;
    int32_t *which = integers(s->c, rows), *index = integers(s->c, rows);
    for (size_t r = 0; r < rows; r++) {
        which[r] = (int32_t)(r % n);
        index[r] = (int32_t)(r / n);
    }
    return dual_gather(s->c, n, part, rows, which, index);
}

/* start[g] + offset for every group g */
static int32_t *shifted(exchange_state *s, const int32_t *start, size_t offset) {
    int32_t *to = integers(s->c, s->batch->n_groups);
    for (size_t g = 0; g < s->batch->n_groups; g++) to[g] = start[g] + (int32_t)offset;
    return to;
}

/* Each group's text prefix, rows of a pass that read the texts, becomes its past. */
static void push_past_text(exchange_state *s, const dual_cache *cache, const pass_plan *plan) {
    int32_t *end = shifted(s, plan->text_start, 0);
    for (size_t g = 0; g < s->batch->n_groups; g++) end[g] += (int32_t)s->batch->group[g].prefix;
    push_past(s, cache, plan->text_start, end);
}

static dual_tensor *with_gain(exchange_state *s, dual_tensor *z) {
    return s->e->gain.tensor ? dual_gain(s->c, z, s->e->gain.tensor) : z;
}

/* ---- the method ---- */

/* READ: the Base on every text, for its cache alone: the last layer stops at its keys and values,
 * unless text_loss needs the final states. With a frozen Base nothing here wants a gradient, so
 * nothing is recorded. A trained Base receives gradient through this cache, from think and from
 * speak, unless the cache is detached. */
static void read_texts(exchange_state *s) {
    const dual_system *system = &s->e->system;
    const int needs_states = system->text_loss > 0 && !system->fused;
    pass_plan plan = {.text = 1};
    size_t tokens = 0;
    for (size_t i = 0; i < s->batch->n_sequences; i++) tokens += s->batch->length[i];
    if (!tokens) return;               /* every prompt is empty */
    const dual_pass *p = run_pass(s, "read", s->e->base, &plan, NULL,
                                  needs_states ? FULL_PASS : s->e->base->config.layers);
    const dual_cache *cache = &p->cache;
    if (system->detach) cache = map_cache(s, cache, without_gradient);
    push_past_text(s, cache, &plan);
}

/* THINK: the Coprocessor on S for every group, with KV_theta up to the insertion point as its past.
 * Soft tokens are causal among themselves. */
static dual_pass *think(exchange_state *s, pass_plan *plan, size_t key_layers) {
    plan->slots = s->e->system.latents;
    plan->latent_row = ROW_OF_SLOT;
    return run_pass(s, "think", s->e->coprocessor, plan, s->e->soft.tensor, key_layers);
}

/* EMBED (liu, h2): the message is Z, the Coprocessor's states after the final norm, not projected.
 * The Base reads them as N_L input rows. */
static dual_tensor *message_embed(exchange_state *s, pass_plan *speak) {
    pass_plan plan = {0};
    if (!s->e->system.latents) return NULL;
    s->out->latents = think(s, &plan, FULL_PASS)->hidden;
    speak->slots = s->e->system.latents;
    speak->latent_row = ROW_OF_LATENT;
    return apply_ablation(s, with_gain(s, s->out->latents), 0);
}

/* KV (h1, h1h2): the message is the N_L new entries of the Coprocessor's cache, layer by layer; its
 * keys are rotated already. They join every group's past, and speak has no latent rows. Nothing
 * above the keys and values of the last layer handed over is computed, unless the penalty needs the
 * final states. */
static dual_tensor *message_kv(exchange_state *s) {
    const dual_system *system = &s->e->system;
    const dual_ablation *ablation = &s->batch->ablation;
    if (!system->latents) return NULL;
    const size_t used = layers_used(system, s->e->base->config.layers);
    pass_plan plan = {0};
    const dual_pass *p = think(s, &plan, uses_states(system) ? FULL_PASS : used);
    const dual_cache *message = map_cache(s, &p->cache, if_handed_over);
    s->out->latents = message->v[used - 1];
    if (ablation->from == DUAL_DROP) { /* the slots before the dropped one, and those after it */
        push_past(s, message, plan.group_start, shifted(s, plan.group_start, ablation->slot));
        push_past(s, message, shifted(s, plan.group_start, ablation->slot + 1), plan.group_end);
    } else {
        if (ablation->from != DUAL_RIGHT) message = map_cache(s, message, apply_ablation);
        push_past(s, message, plan.group_start, plan.group_end);
    }
    return NULL;
}

/* PAUSE, SOFT: learned vectors at the latent positions, shared by all groups. An ablation needs a
 * copy for each group. */
static dual_tensor *message_learned(exchange_state *s, pass_plan *speak) {
    const size_t N = s->e->system.latents, rows = N * s->batch->n_groups;
    dual_tensor *learned = s->e->soft.tensor;
    if (!N) return NULL;
    const int one_vector = learned->rows != N;
    speak->slots = N;
    speak->latent_row = one_vector ? ROW_ZERO : ROW_OF_SLOT;
    if (s->batch->ablation.from == DUAL_RIGHT) return learned;
    int32_t *index = integers(s->c, rows);
    for (size_t r = 0; r < rows; r++) index[r] = one_vector ? 0 : (int32_t)(r % N);
    speak->latent_row = ROW_OF_LATENT;
    return apply_ablation(s, dual_gather(s->c, 1, &learned, rows, NULL, index), 0);
}

/* CHAIN (coconut): the Base itself thinks, one position a pass. The first pass reads [x; s], s at
 * position n. Thought i, at n+i, is the final-norm state of position n+i-1. Speak reads the last
 * thought, with cue and targets, which makes N_L + 1 passes. Under an ablation speak reads all
 * thoughts, replaced, and does not see the passes that made them. */
static dual_tensor *message_chain(exchange_state *s, pass_plan *speak) {
    const size_t N = s->e->system.latents;
    dual_tensor **thought = describe(s->c, N + 1, sizeof *thought);
    pass_plan plan = {.text = 1, .slots = 1, .latent_row = ROW_ZERO};
    dual_pass *p = run_pass(s, "read", s->e->base, &plan, s->e->soft.tensor, FULL_PASS);
    push_past_text(s, &p->cache, &plan);
    push_past(s, &p->cache, plan.group_start, plan.group_end);
    const size_t past_without_thoughts = s->n_past;
    for (size_t i = 1; i <= N; i++) {
        thought[i - 1] = with_gain(s, rows_per_group(s, p->hidden, 1, plan.group_start));
        if (i == N) break;
        plan = (pass_plan){.slots = 1, .first_slot = i, .latent_row = ROW_OF_LATENT};
        p = run_pass(s, "think", s->e->base, &plan, thought[i - 1], FULL_PASS);
        push_past(s, &p->cache, plan.group_start, plan.group_end);
    }
    if (!N) return NULL;
    speak->latent_row = ROW_OF_LATENT;
    speak->slots = 1;
    speak->first_slot = N;
    if (s->batch->ablation.from == DUAL_RIGHT) return thought[N - 1];
    speak->slots = N;
    speak->first_slot = 1;
    s->n_past = past_without_thoughts;
    return apply_ablation(s, interleave(s, thought, N), 0);
}

/* For analysis only, off the tape: the final-norm states at the slots of pause, soft, coconut. */
static void keep_slot_states(exchange_state *s, const pass_plan *speak, const dual_pass *p) {
    const size_t N = s->e->system.latents;
    const int inference = s->c->inference;
    if (s->out->latents || !speak->slots || s->batch->ablation.from == DUAL_DROP) return;
    s->c->inference = 1;
    s->out->latents = rows_per_group(s, p->hidden, speak->slots, speak->group_start);
    if (speak->slots < N) {            /* coconut: passes 1 .. N-1 hold the earlier thoughts */
        dual_tensor **state = describe(s->c, N, sizeof *state);
        for (size_t i = 1; i < N; i++) state[i - 1] = s->out->pass[i].hidden;
        state[N - 1] = s->out->latents;
        s->out->latents = interleave(s, state, N);
    }
    s->c->inference = inference;
}

/* Plans the latent rows of speak and returns what they read, or pushes a past for speak to see. */
static dual_tensor *message(exchange_state *s, pass_plan *speak) {
    switch (s->e->system.inject) {
    case DUAL_PAUSE:
    case DUAL_SOFT: return message_learned(s, speak);
    case DUAL_CHAIN: return message_chain(s, speak);
    case DUAL_EMBED: return message_embed(s, speak);
    case DUAL_KV: return message_kv(s);
    default: return NULL;
    }
}

/* The whole exchange; returns the SPEAK pass: the Base on [latents?; cue; targets] of every group.
 * With a trained Base and no Coprocessor, no pass needs the text first: speak reads it too, as
 * [x; S; cue; y]. With `fused`, speak rereads the text in the other systems as well, and the cache
 * of read serves think alone. Numbers and gradients are the same, except that detach cannot cut
 * what happens within speak. */
static dual_pass *exchange(exchange_state *s) {
    const dual_system *system = &s->e->system;
    const int thinks = dual_system_needs_coprocessor(system);
    const int chain = system->inject == DUAL_CHAIN;
    const int one_pass = !thinks && !chain && system->base_trained;
    pass_plan speak = {.text = one_pass || system->fused, .tail = 1};
    s->past = describe(s->c, system->latents + 6, sizeof *s->past);    /* upper bounds: a chain's */
    s->out->pass = describe(s->c, system->latents + 3, sizeof *s->out->pass);
    s->last_row = integers(s->c, s->batch->n_groups);
    if (thinks || (!chain && !speak.text)) read_texts(s);
    const size_t read_pasts = s->n_past;
    dual_tensor *latents = message(s, &speak);
    if (system->fused) s->first_visible = read_pasts;
    dual_pass *p = run_pass(s, "speak", s->e->base, &speak, latents, FULL_PASS);
    if (speak.text) push_past_text(s, &p->cache, &speak);
    push_past(s, &p->cache, speak.group_start, speak.group_end);       /* for decoding */
    keep_slot_states(s, &speak, p);
    return p;
}

/* Next-token loss on the plain texts: one mean over all their tokens but each text's first; NULL if
 * there are none. The texts' states are in the first pass, or, fused, in the last one, where a text
 * opens its sequence's segment. */
static dual_tensor *text_loss(const exchange_state *s) {
    const dual_batch *b = s->batch;
    const dual_pass *p = &s->out->pass[s->e->system.fused ? s->out->n_passes - 1 : 0];
    int32_t *row = integers(s->c, p->rows), *target = integers(s->c, p->rows);
    size_t n = 0;
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t j = 1; j < b->length[i]; j++) {
            row[n] = p->segment_start[i] + (int32_t)j - 1;
            target[n++] = b->text[i][j];
        }
    if (!n) return NULL;
    dual_tensor *states = dual_gather(s->c, 1, &p->hidden, n, NULL, row);
    return dual_cross_entropy(s->c, dual_logits(s->c, p->model, states), target);
}

/* sum + weight * term, either of which may be NULL */
static dual_tensor *add_weighted(dual_ctx *c, dual_tensor *sum, double weight, dual_tensor *term) {
    if (!term) return sum;
    dual_tensor *w = dual_tensor_new(c, 1, 1);
    if (c->memory) w->data[0] = (real)weight;
    term = dual_gain(c, term, w);
    return sum ? dual_add(c, sum, term) : term;
}

/* Orthogonality of the Coprocessor's final states (embed: Z itself), or of the values that it hands
 * over, as a mean over their layers. Think is the pass before speak. */
static dual_tensor *penalty(const exchange_state *s) {
    const dual_system *system = &s->e->system;
    const dual_pass *think_pass = &s->out->pass[s->out->n_passes - 2];
    const size_t slots = system->latents, layers = think_pass->model->config.layers;
    dual_tensor *sum = NULL;
    double n = 0;
    if (!system->values)
        return dual_orthogonality(s->c, think_pass->hidden, slots, system->centred);
    for (size_t l = 0; l < layers; l++) n += hands_over(system, l);
    for (size_t l = 0; l < layers; l++) {
        if (!hands_over(system, l)) continue;
        dual_tensor *values = think_pass->cache.v[l];
        sum = add_weighted(s->c, sum, 1 / n,
                           dual_orthogonality(s->c, values, slots, system->centred));
    }
    return sum;
}

/* Whether nobody gave the model weights: in memory that was zeroed, its last norm has none. */
static int is_blank(const dual_model *m) {
    return dot(m->norm_w->data, m->norm_w->data, m->norm_w->cols) == 0;
}

void dual_run(dual_ctx *c, dual_exchange *e, const dual_batch *b, dual_outcome *out) {
    memset(out, 0, sizeof *out);
    if (!dual_batch_check(c, e, b)) stop(c);
    if (c->memory && (is_blank(e->base) || (e->coprocessor && is_blank(e->coprocessor))))
        die(c, "run: a model's weights are 0; dual_model_init or _load, dual_exchange_init first");
    exchange_state s = {.c = c, .e = e, .batch = b, .out = out};
    dual_pass *p = exchange(&s);
    int32_t *row = integers(c, p->rows), *target = integers(c, p->rows);
    size_t n = 0;
    for (size_t g = 0; g < b->n_groups; g++)
        for (size_t j = 0; j < b->group[g].n_target; j++) {
            row[n] = s.last_row[g] + (int32_t)j;       /* the cue's last row predicts y_0 */
            target[n++] = b->group[g].target[j];
        }
    if (!n) return;
    out->logits = dual_logits(c, e->base, dual_gather(c, 1, &p->hidden, n, NULL, row));
    /* one mean over all targets of the batch, not a mean of each group's mean */
    out->target_loss = dual_cross_entropy(c, out->logits, target);
    out->loss = out->target_loss;
    if (c->inference) return;
    if (e->system.text_loss > 0) out->text_loss = text_loss(&s);
    if (e->system.orthogonality > 0) out->penalty = penalty(&s);
    out->loss = add_weighted(c, out->loss, e->system.text_loss, out->text_loss);
    out->loss = add_weighted(c, out->loss, e->system.orthogonality, out->penalty);
}

/* ==== DECODING ===================================================================================
 * Owns: continuing every group token by token. The exchange runs once. After it, each new token is
 * one row, which sees its group's past and the tokens generated so far; their keys and values stay
 * in one buffer per layer. The Coprocessor is not called again, as in Liu et al. 2024.
 * Refuses: beam search, top-k, penalties. */

typedef struct {
    exchange_state *s;
    size_t max_new, n_active;
    int32_t *active;               /* [n_active] groups that have not ended */
    int32_t *newest, *position;    /* [groups] last token; the position of the first new one */
    dual_cache generated;          /* [groups * max_new, kv_heads * head_dim] per layer */
} decoder;

/* Greedy, or sampled from softmax(logits / temperature). */
static int32_t choose(const real *logits, size_t vocab, dual_sampling *s) {
    size_t best = 0;
    for (size_t v = 1; v < vocab; v++)
        if (logits[v] > logits[best]) best = v;
    if (s->temperature <= 0) return (int32_t)best;
    double sum = 0;
    for (size_t v = 0; v < vocab; v++)
        sum += exp(((double)logits[v] - (double)logits[best]) / s->temperature);
    double left = dual_rng_uniform(&s->rng) * sum;
    for (size_t v = 0; v < vocab; v++) {
        left -= exp(((double)logits[v] - (double)logits[best]) / s->temperature);
        if (left < 0) return (int32_t)v;
    }
    return (int32_t)best;
}

static decoder start_decoding(exchange_state *s, const dual_pass *speak, size_t max_new) {
    dual_ctx *c = s->c;
    const dual_config *f = &s->e->base->config;
    const size_t groups = s->batch->n_groups, kv = f->kv_heads * f->head_dim;
    decoder d = {.s = s, .max_new = max_new, .n_active = groups, .active = integers(c, groups),
                 .newest = integers(c, groups), .position = integers(c, groups),
                 .generated = cache_new(c, f->layers)};
    for (size_t l = 0; l < f->layers; l++) {
        d.generated.k[l] = dual_tensor_new(c, product(c, groups, max_new), kv);
        d.generated.v[l] = dual_tensor_new(c, product(c, groups, max_new), kv);
    }
    for (size_t g = 0; g < groups; g++) {
        d.active[g] = (int32_t)g;
        d.position[g] = speak->position[s->last_row[g]] + 1;
        if ((size_t)d.position[g] + max_new > f->positions + 1)
            die(c, "generate: %z tokens from position %d on, the model has %z", max_new,
                (int)d.position[g], f->positions);
    }
    return d;
}

/* Chooses token number `done` of every active group; those that end are no longer active. */
static void sample_step(decoder *d, const dual_tensor *logits, size_t done, dual_sampling *sampling,
                        int32_t *tokens, size_t *length) {
    const size_t vocab = logits->cols;
    size_t left = 0;
    for (size_t r = 0; r < d->n_active; r++) {
        const size_t g = (size_t)d->active[r], at = g * d->max_new + done;
        int32_t token = 0;
        if (d->s->c->memory) {
            const real *row = logits->data + r * vocab;
            if (sampling->logits) memcpy(sampling->logits + at * vocab, row, vocab * sizeof *row);
            token = choose(row, vocab, sampling);
            if (token == sampling->end) {
                length[g] = done;
                continue;
            }
        }
        d->newest[g] = token;
        tokens[at] = token;
        d->active[left++] = (int32_t)g;
    }
    d->n_active = left;
}

/* One decoding pass: a row for the newest token of every active group. `done`: how many of the
 * group's tokens are in the buffer. */
static dual_pass *decode_pass(decoder *d, size_t done) {
    exchange_state *s = d->s;
    dual_ctx *c = s->c;
    const size_t n = d->n_active, n_past = s->n_past - s->first_visible;
    dual_pass *p = describe(c, 1, sizeof *p);
    dual_seen *seen = describe(c, n_past + 2, sizeof *seen);
    int32_t *token = integers(c, n), *position = integers(c, n);
    int32_t *begin = integers(c, n), *end = integers(c, n), *start = integers(c, n + 1);
    for (size_t r = 0; r < n; r++) {
        const size_t g = (size_t)d->active[r];
        token[r] = d->newest[g];
        position[r] = d->position[g] + (int32_t)done;
        begin[r] = (int32_t)(g * d->max_new);
        end[r] = (int32_t)(g * d->max_new + done);
        start[r + 1] = (int32_t)r + 1;
    }
    for (size_t i = 0; i < n_past; i++)
        seen[i] = past_of_rows(c, &s->past[s->first_visible + i], d->active, n);
    seen[n_past] = (dual_seen){&d->generated, begin, end};
    seen[n_past + 1] = (dual_seen){NULL, start, start + 1};    /* each row is a segment: itself */
    *p = (dual_pass){.name = "decode", .model = s->e->base, .rows = n, .segments = n,
                     .n_seen = n_past + 2, .seen = seen, .token = token, .position = position,
                     .segment_start = start};
    p->input = dual_gather(c, 1, &s->e->base->wte, n, NULL, token);
    dual_forward(c, p);
    return p;
}

/* The pass's keys and values go to place `done` of each group's buffer. */
static void append_cache(decoder *d, const dual_pass *p, size_t done) {
    for (size_t l = 0; d->s->c->memory && l < p->model->config.layers; l++) {
        const dual_tensor *k = p->cache.k[l], *v = p->cache.v[l];
        for (size_t r = 0; r < p->rows; r++) {
            const size_t to = ((size_t)d->active[r] * d->max_new + done) * k->cols;
            memcpy(d->generated.k[l]->data + to, k->data + r * k->stride, k->cols * sizeof(real));
            memcpy(d->generated.v[l]->data + to, v->data + r * v->stride, v->cols * sizeof(real));
        }
    }
}

void dual_generate(dual_ctx *c, dual_exchange *e, const dual_batch *batch, dual_sampling *sampling,
                   int32_t *tokens, size_t *length) {
    const size_t groups = batch->n_groups, max_new = sampling->max_new;
    const int inference = c->inference;
    const dual_mark start = dual_mark_here(c);
    if (!max_new) die(c, "generate: max_new is 0");
    c->inference = 1;
    dual_batch b = *batch;             /* the same batch without targets */
    dual_group *group = describe(c, groups, sizeof *group);
    for (size_t g = 0; g < groups; g++) {
        group[g] = batch->group[g];
        group[g].n_target = 0;
        length[g] = max_new + 1;
    }
    b.group = group;
    if (!dual_batch_check(c, e, &b)) stop(c);
    dual_outcome out = {0};
    exchange_state s = {.c = c, .e = e, .batch = &b, .out = &out};
    dual_pass *p = exchange(&s);
    dual_tensor *states = dual_gather(c, 1, &p->hidden, groups, NULL, s.last_row);
    dual_tensor *logits = dual_logits(c, e->base, states);
    decoder d = start_decoding(&s, p, max_new);
    const dual_mark kept = dual_mark_here(c);
    for (size_t done = 0;; done++) {
        sample_step(&d, logits, done, sampling, tokens, length);
        if (!d.n_active || done + 1 == max_new) break;
        if (!c->memory && done) break; /* counting: no later pass is larger */
        dual_release(c, kept);
        p = decode_pass(&d, done);
        logits = dual_logits(c, e->base, p->hidden);
        append_cache(&d, p, done);
    }
    dual_release(c, start);
    c->inference = inference;
}

/* ==== OPTIMISER ==================================================================================
 * Owns: AdamW (Loshchilov and Hutter 2019) over everything that is trained, and the learning rate's
 * schedule. All gradients together have one norm; it is clipped at `clip` and reported as it was.
 * Weight decay reaches matrices, embeddings too, but not biases, norms and soft tokens. Sums run
 * over chunks of fixed size, so they do not depend on the number of threads. */
enum { CHUNK = 8192 };

static inline real square_root(real x) {
    return sizeof(real) == sizeof(float) ? (real)sqrtf((float)x) : (real)sqrt((double)x);
}

void dual_adamw_new(dual_ctx *c, dual_adamw *o, dual_exchange *e) {
    char owner;
    dual_param *p;
    size_t total_params = 0;
    *o = (dual_adamw){.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .clip = 1.0};
    while (dual_exchange_param(e, total_params, &owner)) total_params++;
    o->param = describe(c, total_params, sizeof *o->param);
    o->m = describe(c, total_params, sizeof *o->m);
    o->v = describe(c, total_params, sizeof *o->v);
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        if (!p->tensor->needs_grad) continue;
        const size_t n = elements(p->tensor);
        o->m[o->n] = dual_alloc(c, n, sizeof(real));
        o->v[o->n] = dual_alloc(c, n, sizeof(real));
        for (size_t j = 0; c->memory && j < n; j++) o->m[o->n][j] = o->v[o->n][j] = 0;
        o->param[o->n++] = p;
    }
    if (!o->n) die(c, "adamw: nothing is trained; dual_exchange_train comes first");
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

/* m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - lr (m' / (sqrt(v') + eps) + decay w).
 * m' = m / (1 - b1^t) and v' = v / (1 - b2^t) make up for their start at 0. */
double dual_adamw_step(dual_ctx *c, dual_adamw *o, double rate) {
    double norm = 0;
    o->step++;
    if (!c->memory) return 0;
    for (size_t i = 0; i < o->n; i++)
        norm += square_sum(o->param[i]->tensor->grad, elements(o->param[i]->tensor));
    norm = sqrt(norm);
    const double scale = o->clip > 0 && o->clip < norm + 1e-6 ? o->clip / (norm + 1e-6) : 1;
    const double fix1 = 1 - pow(o->beta1, (double)o->step);
    const double fix2 = 1 - pow(o->beta2, (double)o->step);
    for (size_t i = 0; i < o->n; i++) {
        const dual_param *p = o->param[i];
        const size_t n = elements(p->tensor);
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

#ifndef DUAL_NO_STDIO
/* ==== JSON =======================================================================================
 * A value is a slice of the text. dual_json_text checks the whole text once: RFC 8259, at most
 * JSON_DEPTH deep, no key twice in an object (readers differ on which of the two counts). All other
 * functions rely on that. check_string, _digits, _number return the end of what they accepted. */
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

/* wrong: what is wrong at `at`. trusted: the text was checked before. */
typedef struct { const char *at, *end, *wrong; int trusted; } checker;

static int wrong(checker *k, const char *what) {
    k->wrong = k->at == k->end ? "the text ends too early" : what;
    return 0;
}

static dual_json slice(const char *begin, const char *end) { return (dual_json){begin, end}; }

/* Of keys above 1 KB it compares the first KB and the lengths. */
static int by_key(const void *a, const void *b) {
    char x[1024], y[1024];
    const size_t n = dual_json_string(*(const dual_json *)a, x, sizeof x);
    const size_t m = dual_json_string(*(const dual_json *)b, y, sizeof y);
    const int order = strcmp(x, y);
    return order ? order : (n > m) - (n < m);
}

static int keys_differ(checker *k, dual_json object) {
    dual_json key, value = slice(NULL, NULL);
    size_t n = 0;
    while (dual_json_each(object, &key, &value)) n++;
    dual_json *all = malloc((n + 1) * sizeof *all);
    if (!all) return wrong(k, "no memory to compare the keys of this object");
    for (n = 0, value = slice(NULL, NULL); dual_json_each(object, &key, &value);) all[n++] = key;
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 1; i < n && !k->wrong; i++) {
        if (by_key(&all[i - 1], &all[i]) != 0) continue;
        k->at = all[i].begin > all[i - 1].begin ? all[i].begin : all[i - 1].begin;
        wrong(k, "this key stands twice");
    }
    free(all);
    return !k->wrong;
}

static int check_value(checker *k, int depth);

static int check_key(checker *k) {
    const char *to = k->at < k->end && *k->at == '"' ? check_string(k->at, k->end) : NULL;
    if (!to) return wrong(k, "not a key in double quotes");
    k->at = skip_blank(to, k->end);
    if (k->at == k->end || *k->at != ':') return wrong(k, "no colon after the key");
    k->at = skip_blank(k->at + 1, k->end);
    return 1;
}

static int check_container(checker *k, int depth) {
    const char *const begin = k->at, close = *begin == '{' ? '}' : ']';
    k->at = skip_blank(begin + 1, k->end);
    for (size_t n = 0; k->at == k->end || *k->at != close; n++) {
        if (n && (k->at == k->end || *k->at != ',')) return wrong(k, "no comma after the value");
        if (n) k->at = skip_blank(k->at + 1, k->end);
        if (n && k->at < k->end && *k->at == close) return wrong(k, "a comma before the end");
        if (close == '}' && !check_key(k)) return 0;
        if (!check_value(k, depth + 1)) return 0;
        k->at = skip_blank(k->at, k->end);
    }
    k->at++;
    return close == ']' || k->trusted || keys_differ(k, slice(begin, k->at));
}

static int check_value(checker *k, int depth) {
    static const char *const words[] = {"true", "false", "null"};
    const char *const p = k->at, *to = NULL;
    if (depth > JSON_DEPTH) return wrong(k, "nested too deep");
    if (p < k->end && (*p == '{' || *p == '[')) return check_container(k, depth);
    if (p < k->end && *p == '"') to = check_string(p, k->end);
    else if (p < k->end) to = check_number(p, k->end);
    for (int i = 0; i < 3 && !to; i++)
        if ((size_t)(k->end - p) >= strlen(words[i]) && !memcmp(p, words[i], strlen(words[i])))
            to = p + strlen(words[i]);
    if (!to) return wrong(k, "no JSON value, or a string without its end");
    k->at = to;
    return 1;
}

/* "line 3, column 7: a comma before the end, at: }" */
static void explain(const char *text, const checker *k, char *why, size_t size) {
    size_t line = 1, column = 1, n = 0;
    char here[25] = "";
    for (const char *p = text; p < k->at; p++) {
        column += ((unsigned char)*p & 0xC0) != 0x80;      /* characters, not bytes */
        if (*p != '\n') continue;
        line++;
        column = 1;
    }
    for (; k->at + n < k->end && n < 24 && (unsigned char)k->at[n] >= 32; n++) here[n] = k->at[n];
    put(why, size, "line %z, column %z: %s%s%s", line, column, k->wrong, n ? ", at: " : "", here);
}

dual_json dual_json_text(const char *text, size_t length, char *why, size_t size) {
    checker k = {.at = skip_blank(text, text + length), .end = text + length};
    const char *const from = k.at;
    if (length >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        wrong(&k, "a byte order mark: save it as UTF-8 without one");
    else if (check_value(&k, 0)) {
        const char *const to = k.at;
        k.at = skip_blank(to, k.end);
        if (k.at == k.end) return slice(from, to);
        wrong(&k, "more text after the end of the value");
    }
    explain(text, &k, why, size);
    return slice(NULL, NULL);
}

int dual_json_type(dual_json j) {
    if (!j.begin || j.begin >= j.end) return 0;
    return *j.begin == '-' || (*j.begin >= '0' && *j.begin <= '9') ? '0' : *j.begin;
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
    checker k = {.at = p, .end = end, .trusted = 1};
    check_value(&k, 0);                /* goes to the value's end */
    *value = slice(p, k.at);
    return 1;
}

static size_t put_utf8(char *out, size_t size, size_t at, uint32_t u) {
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    unsigned char b[4];
    const size_t n = 1u + (u >= 0x80) + (u >= 0x800) + (u >= 0x10000);
    for (size_t i = n - 1; i > 0; i--, u >>= 6) b[i] = (unsigned char)(0x80 | (u & 0x3F));
    b[0] = (unsigned char)(lead[n] | u);
    for (size_t i = 0; i < n && at + i + 1 < size; i++) out[at + i] = (char)b[i];
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
    for (; *text && n + 8 < size; text++) {
        if ((unsigned char)*text < 0x20) {
            n += (size_t)sprintf(out + n, "\\u%04x", (unsigned)*text);
            continue;
        }
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
            if (dual_json_string(k, name, sizeof name) < sizeof name && same(name, key))
                return v;
    return slice(NULL, NULL);
}

/* Numbers in files have a point; libc's have what the host program's locale says, a comma maybe. */
static char *replaced(char *text, char from, char to) {
    char *const at = strchr(text, from);
    if (at) *at = to;
    return text;
}

double dual_json_number(dual_json j, double fallback) {
    char text[64];
    const size_t n = (size_t)(j.end - j.begin);
    if (dual_json_type(j) != '0' || n >= sizeof text) return fallback;
    memcpy(text, j.begin, n);
    text[n] = 0;
    return strtod(replaced(text, '.', *localeconv()->decimal_point), NULL);
}

/* ==== FILES ======================================================================================
 * Owns: safetensors in and out, config.json, whole Hugging Face folders. Numbers are assembled byte
 * by byte, whatever the machine's byte order and alignment, and converted in small chunks, so no
 * second copy of a file is held. Files are written under a temporary name, flushed and renamed:
 * after a crash a file is whole, old or new.
 * Refuses: pickles, types other than F64, F32, F16, BF16 and I64, headers that do not add up. */

int dual_failed(dual_ctx *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->error, sizeof c->error, format, args);
    va_end(args);
    return 0;
}

char *dual_text_read(dual_ctx *c, const char *path, size_t *length) {
    FILE *f = fopen(path, "rb");
    size_t n = 0, room = 65536;
    char *text = f ? malloc(room) : NULL;
    while (text) {
        n += fread(text + n, 1, room - 1 - n, f);
        if (n + 1 < room) break;
        room *= 2;                     /* 0 after an overflow */
        char *more = room ? realloc(text, room) : NULL;
        if (!more) free(text);
        text = more;
    }
    const char *why = text ? NULL : "does not fit in memory";
    if (!f) why = "cannot be opened: is the path right?";
    else if (ferror(f)) why = "cannot be read; is it a folder?";
    if (f) fclose(f);
    if (text) text[n] = 0;
    *length = n;
    if (!why) return text;
    free(text);
    (void)refuse(c, "%s: %s", path, why);
    return NULL;
}

/* Opens path.tmp for writing; save_end flushes and renames it, or removes it when `good` is 0. */
static FILE *save_begin(dual_ctx *c, const char *path, char *temporary, size_t size) {
    FILE *f = NULL;
    if (put(temporary, size, "%s.tmp", path) < size) f = fopen(temporary, "wb");
    if (!f)
        (void)refuse(c, "%s: cannot be written: does the folder exist, may you write to it?", path);
    return f;
}

static int save_end(dual_ctx *c, FILE *f, const char *path, const char *temporary, int good) {
    good = good && fflush(f) == 0 && SYNC(f) == 0;
    good = fclose(f) == 0 && good;
    if (good && REPLACE(temporary, path)) return 1;
    remove(temporary);
    return refuse(c, "%s: could not be written completely (is the disk full?); the file that was "
                  "there before is unchanged", path);
}

int dual_text_save(dual_ctx *c, const char *path, const char *text, size_t length) {
    char temporary[1100];
    FILE *f = save_begin(c, path, temporary, sizeof temporary);
    return f && save_end(c, f, path, temporary, fwrite(text, 1, length, f) == length);
}

/* ---- safetensors: the header's length in 8 bytes, little-endian; a JSON header; the data ---- */
static const struct { const char *name; size_t size; } TYPES[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},
};
enum { F32 = DUAL_FULL, F16 = DUAL_F16, BF16 = DUAL_BF16, F64, I64, OTHER };

typedef struct {
    dual_entry e;
    int type;                          /* F32 and so on */
    uint64_t begin, end;               /* bytes within the data */
} entry;

struct dual_file {
    FILE *f;
    char path[1024], why[160];         /* why: what is wrong with the header */
    char *header;
    dual_json json;
    entry *tensor;                     /* in the order of their data */
    size_t n;
    uint64_t data;                     /* where it starts in f */
};

static uint64_t little(const unsigned char *b, int n) {
    uint64_t x = 0;
    while (n--) x = x << 8 | b[n];
    return x;
}

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* One header entry; returns what is wrong with it, or NULL. */
static const char *read_entry(entry *t, dual_json key, dual_json value, uint64_t data_bytes) {
    dual_json shape = dual_json_get(value, "shape"), offsets = dual_json_get(value, "data_offsets");
    dual_json k, v = slice(NULL, NULL);
    double bound[2] = {-1, -1}, dim;
    size_t i = 0;
    const size_t length = dual_json_string(key, t->e.name, sizeof t->e.name);
    if (length >= sizeof t->e.name) return "name too long";
    dual_json_string(dual_json_get(value, "dtype"), t->e.type, sizeof t->e.type);
    if (!t->e.type[0]) return "no dtype";
    if (dual_json_type(shape) != '[' || dual_json_type(offsets) != '[')
        return "no shape or offsets";
    t->e.rows = t->e.cols = t->e.count = 1;
    while (dual_json_each(shape, &k, &v)) {
        dim = dual_json_number(v, -1);
        if (!(dim >= 0 && dim <= 4294967295.0) || dim != floor(dim)) return "bad shape";
        if (dim > 0 && t->e.count > SIZE_MAX / 16 / (size_t)dim) return "shape too large";
        t->e.rows = t->e.rows * t->e.cols;
        t->e.cols = (size_t)dim;
        t->e.count = t->e.rows * t->e.cols;
    }
    for (v = slice(NULL, NULL); dual_json_each(offsets, &k, &v); i++)
        if (i < 2) bound[i] = dual_json_number(v, -1);
    const int whole = bound[0] == floor(bound[0]) && bound[1] == floor(bound[1]);
    const int inside = bound[0] >= 0 && bound[0] <= bound[1] && bound[1] <= (double)data_bytes;
    if (i != 2 || !whole || !inside) return "data_offsets outside the file (is it cut short?)";
    t->begin = (uint64_t)bound[0];
    t->end = (uint64_t)bound[1];
    for (t->type = 0; t->type < OTHER; t->type++)
        if (same(t->e.type, TYPES[t->type].name)) break;
    if (t->type < OTHER && t->end - t->begin != (uint64_t)t->e.count * TYPES[t->type].size)
        return "shape and data_offsets disagree";
    return NULL;
}

/* Fills s->tensor from the header; returns what is wrong, or NULL. */
static const char *read_header(dual_file *s, uint64_t header_bytes, uint64_t data_bytes) {
    dual_json k, v = slice(NULL, NULL);
    s->json = dual_json_text(s->header, (size_t)header_bytes, s->why, sizeof s->why);
    if (!dual_json_type(s->json)) return s->why;
    if (dual_json_type(s->json) != '{') return "header is not a JSON object";
    size_t n = 0;
    while (dual_json_each(s->json, &k, &v)) n++;
    s->tensor = calloc(n + 1, sizeof *s->tensor);
    if (!s->tensor) return "header does not fit in memory";
    for (v = slice(NULL, NULL); dual_json_each(s->json, &k, &v);) {
        char name[16];
        if (dual_json_string(k, name, sizeof name) == 12 && same(name, "__metadata__")) continue;
        const char *why = read_entry(&s->tensor[s->n], k, v, data_bytes);
        if (why) return why;
        s->n++;
    }
    uint64_t covered = 0;
    qsort(s->tensor, s->n, sizeof *s->tensor, by_place);
    for (size_t i = 0; i < s->n; covered = s->tensor[i++].end) {
        if (s->tensor[i].begin < covered) return "tensors overlap";
        if (s->tensor[i].begin > covered) return "bytes between tensors belong to none";
    }
    if (covered != data_bytes) return "bytes after the last tensor belong to none";
    return NULL;
}

static const char *open_file(dual_file *s, const char *path) {
    static const char broken[] = "is cut short, or not a safetensors file";
    unsigned char word[8];
    put(s->path, sizeof s->path, "%s", path);
    s->f = fopen(path, "rb");
    if (!s->f) return "cannot be opened: is the path right?";
    const int64_t size = SEEK(s->f, 0, SEEK_END) == 0 ? (int64_t)TELL(s->f) : -1;
    if (size < 8 || SEEK(s->f, 0, SEEK_SET) != 0 || fread(word, 1, 8, s->f) != 8) return broken;
    if (!memcmp(word, "version ", 8)) return "is a pointer of Git LFS: get the file (git lfs pull)";
    const uint64_t n = little(word, 8), rest = (uint64_t)size - 8;
    if (n > rest || n > 100000000) return broken;
    s->header = malloc((size_t)n + 1);
    if (!s->header || fread(s->header, 1, (size_t)n, s->f) != n) return broken;
    s->data = 8 + n;
    return read_header(s, n, rest - n);
}

dual_file *dual_file_open(dual_ctx *c, const char *path) {
    dual_file *s = calloc(1, sizeof *s);
    const char *why = s ? open_file(s, path) : "does not fit in memory";
    if (!why) return s;
    (void)refuse(c, "%s: %s", path, why);
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

dual_entry dual_file_entry(const dual_file *s, size_t i) { return s->tensor[i].e; }

size_t dual_file_find(const dual_file *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (same(s->tensor[i].e.name, name)) return i;
    return SIZE_MAX;
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

/* Reads entry i into a tensor: 16 bits of the same type bit for bit, all else converted. */
static int read_tensor(dual_ctx *c, dual_file *s, size_t i, dual_tensor *out) {
    const entry *t = &s->tensor[i];
    unsigned char chunk[8192];
    if (t->type == OTHER)
        return refuse(c, "%s: %s has type %s; only F32 F16 BF16 F64 I64 can be read", s->path,
                      t->e.name, t->e.type);
    const int there = SEEK(s->f, s->data + t->begin, SEEK_SET) == 0;
    const size_t width = TYPES[t->type].size, most = sizeof chunk / width;
    for (size_t done = 0; done < t->e.count;) {
        const size_t n = least(t->e.count - done, most);
        if (!there || fread(chunk, width, n, s->f) != n)
            return refuse(c, "%s: %s is cut short", s->path, t->e.name);
        for (size_t k = 0; k < n; k++) {
            const unsigned char *at = chunk + k * width;
            if (out->half && t->type == out->type) out->half[done + k] = (uint16_t)little(at, 2);
            else set_number(out, done + k, (real)number_from(at, t->type));
        }
        done += n;
    }
    return 1;
}

int dual_file_read(dual_ctx *c, dual_file *s, size_t i, real *out) {
    dual_tensor t = {.data = out};
    return read_tensor(c, s, i, &t);
}

/* Writes the header, tensors in the order of the table. */
static int write_header(FILE *f, size_t n, const dual_param *const *p, const char *note) {
    char shape[64];
    unsigned char length[8];
    const size_t size = 256 + 6 * strlen(note) + n * 400;
    char *header = malloc(size);
    if (!header) return 0;
    size_t offset = 0, at = put(header, size, "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"");
    at += dual_json_quote(note, header + at, size - at);
    at += put(header + at, size - at, "\"}");
    for (size_t i = 0; i < n; i++) {
        const dual_tensor *t = p[i]->tensor;
        const size_t from = offset;
        offset += elements(t) * TYPES[t->type].size;
        if (p[i]->vector) put(shape, sizeof shape, "%z", t->cols);
        else put(shape, sizeof shape, "%z,%z", t->rows, t->cols);
        at += put(header + at, size - at, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                  "\"data_offsets\":[%z,%z]}", p[i]->name, TYPES[t->type].name, shape, from,
                  offset);
    }
    header[at++] = '}';
    while (at % 8) header[at++] = ' '; /* the format asks that data start aligned */
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)at >> (8 * i));
    const int good = fwrite(length, 1, 8, f) == 8 && fwrite(header, 1, at, f) == at;
    free(header);
    return good;
}

/* Writes the numbers, little-endian: F32, or 16 bits as they are kept. */
static int write_tensor(FILE *f, const dual_tensor *t) {
    unsigned char chunk[4096];
    const size_t count = elements(t), width = TYPES[t->type].size;
    for (size_t done = 0; done < count;) {
        const size_t k = least(count - done, sizeof chunk / width);
        for (size_t j = 0; j < k; j++) {
            union { uint32_t bits; float f; } x;
            if (t->half) x.bits = t->half[done + j];
            else x.f = (float)t->data[done + j];
            for (size_t b = 0; b < width; b++)
                chunk[width * j + b] = (unsigned char)(x.bits >> (8 * b));
        }
        if (fwrite(chunk, width, k, f) != k) return 0;
        done += k;
    }
    return 1;
}

int dual_file_save(dual_ctx *c, const char *path, size_t n, const dual_param *const *p,
                   const char *note) {
    char temporary[1100];
    FILE *f = save_begin(c, path, temporary, sizeof temporary);
    if (!f) return 0;
    int good = write_header(f, n, p, note ? note : "");
    for (size_t i = 0; good && i < n; i++) good = write_tensor(f, p[i]->tensor);
    return save_end(c, f, path, temporary, good);
}

/* ---- config.json: sizes and epsilon, read and written ---- */
/* Of two names for one size the later one counts. */
typedef struct { const char *name; int optional; size_t at; } config_size;
#define SIZE(name, optional, member) {name, optional, offsetof(dual_config, member)}
static const struct {
    const char *type, *class, *fixed, *eps_name;           /* fixed: what else is written */
    double usual_eps;
    config_size size[8];
} FAMILIES[] = {
    {"gpt2", "GPT2LMHeadModel",
     "  \"activation_function\": \"gelu_new\",\n  \"attn_pdrop\": 0.0,\n  \"embd_pdrop\": 0.0,\n"
     "  \"resid_pdrop\": 0.0,\n", "layer_norm_epsilon", 1e-5,
     {SIZE("vocab_size", 0, vocab), SIZE("n_ctx", 1, positions), SIZE("n_positions", 1, positions),
      SIZE("n_embd", 0, hidden), SIZE("n_layer", 0, layers), SIZE("n_head", 0, heads),
      SIZE("n_inner", 1, mlp)}},
    {"qwen3", "Qwen3ForCausalLM",
     "  \"hidden_act\": \"silu\",\n  \"rope_scaling\": null,\n  \"attention_bias\": false,\n"
     "  \"attention_dropout\": 0.0,\n  \"use_sliding_window\": false,\n", "rms_norm_eps", 1e-6,
     {SIZE("vocab_size", 0, vocab), SIZE("max_position_embeddings", 0, positions),
      SIZE("hidden_size", 0, hidden), SIZE("intermediate_size", 0, mlp),
      SIZE("num_hidden_layers", 0, layers), SIZE("num_attention_heads", 0, heads),
      SIZE("num_key_value_heads", 1, kv_heads), SIZE("head_dim", 1, head_dim)}},
};
#undef SIZE

/* A member of the config; null is as good as none. */
static dual_json setting(dual_json j, const char *name) {
    const dual_json v = dual_json_get(j, name);
    return dual_json_type(v) == 'n' ? slice(NULL, NULL) : v;
}

static int setting_is(dual_json j, const char *name, const char *a, const char *b) {
    char word[64];
    dual_json_string(setting(j, name), word, sizeof word);
    return !dual_json_type(setting(j, name)) || same(word, a) || same(word, b);
}

static int is_true(dual_json j, const char *name) {
    return dual_json_type(dual_json_get(j, name)) == 't';
}

static int read_real(dual_ctx *c, dual_json v, const char *path, const char *name, double usual,
                     double *out) {
    *out = dual_json_type(v) ? dual_json_number(v, -1) : usual;
    return *out > 0 || refuse(c, "%s: %s must be a number above 0", path, name);
}

static int read_numbers(dual_ctx *c, dual_json j, const char *path, dual_config *f) {
    const config_size *s = FAMILIES[f->family].size;
    for (size_t i = 0; i < COUNT(FAMILIES[0].size) && s[i].name; i++) {
        const dual_json v = setting(j, s[i].name);
        if (!dual_json_type(v) && s[i].optional) continue;
        const double x = dual_json_number(v, -1);
        if (!(x >= 1 && x <= 1e9) || x != floor(x))
            return refuse(c, "%s: %s must be a whole number above 0", path, s[i].name);
        *(size_t *)(void *)((char *)f + s[i].at) = (size_t)x;
    }
    const char *const eps = FAMILIES[f->family].eps_name;
    return read_real(c, setting(j, eps), path, eps, FAMILIES[f->family].usual_eps, &f->norm_eps);
}

static int read_gpt2_config(dual_ctx *c, dual_json j, const char *path, dual_config *f) {
    f->tied = dual_json_type(dual_json_get(j, "tie_word_embeddings")) != 'f';
    f->kv_heads = f->heads;
    f->head_dim = f->hidden / f->heads;
    if (!f->mlp) f->mlp = 4 * f->hidden;
    if (!setting_is(j, "activation_function", "gelu_new", "gelu_pytorch_tanh"))
        return refuse(c, "%s: activation_function must be gelu_new", path);
    if (is_true(j, "scale_attn_by_inverse_layer_idx") ||
        dual_json_type(dual_json_get(j, "scale_attn_weights")) == 'f')
        return refuse(c, "%s: attention must be scaled by 1/sqrt(head_dim)", path);
    return 1;
}

/* Rotary settings stand in rope_parameters, there perhaps by the layers' type; in older files in
 * rope_scaling and rope_theta. The inner rope_theta goes before the outer one. */
static int read_rope(dual_ctx *c, dual_json j, const char *path, dual_config *f) {
    dual_json rope = setting(j, "rope_parameters");
    if (dual_json_type(setting(rope, "full_attention"))) rope = setting(rope, "full_attention");
    const dual_json both[2] = {rope, setting(j, "rope_scaling")};
    dual_json theta = slice(NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        if (!dual_json_type(theta)) theta = setting(both[i], "rope_theta");
        const dual_json part = setting(both[i], "partial_rotary_factor");
        if (!setting_is(both[i], "rope_type", "default", "") || dual_json_number(part, 1) != 1 ||
            !setting_is(both[i], "type", "default", ""))
            return refuse(c, "%s: scaled rotary positions are not supported", path);
    }
    if (!dual_json_type(theta)) theta = setting(j, "rope_theta");
    return read_real(c, theta, path, "rope_theta", 10000, &f->rope_theta);
}

static int read_qwen3_config(dual_ctx *c, dual_json j, const char *path, dual_config *f) {
    f->tied = is_true(j, "tie_word_embeddings");
    if (!f->kv_heads) f->kv_heads = f->heads;
    if (!f->head_dim) f->head_dim = f->hidden / f->heads;
    if (is_true(j, "use_sliding_window") || is_true(j, "attention_bias"))
        return refuse(c, "%s: sliding windows and attention biases are not supported", path);
    if (!setting_is(j, "hidden_act", "silu", "swish"))
        return refuse(c, "%s: hidden_act must be silu", path);
    return read_rope(c, j, path, f);
}

int dual_config_read(dual_ctx *c, const char *folder, dual_config *f) {
    char path[1024], family[32], why[160] = "not an object";
    size_t n;
    int ok;
    memset(f, 0, sizeof *f);
    put(path, sizeof path, "%s/config.json", folder);
    char *text = dual_text_read(c, path, &n);
    if (!text) return 0;
    const dual_json j = dual_json_text(text, n, why, sizeof why);
    dual_json_string(dual_json_get(j, "model_type"), family, sizeof family);
    f->family = same(family, FAMILIES[DUAL_GPT2].type) ? DUAL_GPT2 : DUAL_QWEN3;
    if (dual_json_type(j) != '{') ok = refuse(c, "%s: not a JSON object: %s", path, why);
    else if (!same(family, FAMILIES[f->family].type))
        ok = refuse(c, "%s: model_type \"%s\": must be gpt2 or qwen3", path, family);
    else ok = read_numbers(c, j, path, f);
    if (ok) ok = (f->family == DUAL_GPT2 ? read_gpt2_config : read_qwen3_config)(c, j, path, f);
    free(text);
    return ok && dual_config_check(c, f);
}

static int config_save(dual_ctx *c, const dual_config *f, const char *type, const char *folder) {
    char path[1024], text[2048], theta[32], eps[32];
    const char point = *localeconv()->decimal_point;
    const config_size *s = FAMILIES[f->family].size;
    /* GPT-2's end token, Hugging Face's default, which a smaller vocabulary does not have */
    const char *const end = f->family == DUAL_GPT2 && f->vocab > 50256 ? "50256" : "null";
    put(path, sizeof path, "%s/config.json", folder);
    snprintf(theta, sizeof theta, "%.17g", f->rope_theta);
    snprintf(eps, sizeof eps, "%.9g", f->norm_eps);
    size_t n = put(text, sizeof text,
                   "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n%s",
                   FAMILIES[f->family].class, FAMILIES[f->family].type, FAMILIES[f->family].fixed);
    for (size_t i = 0; i < COUNT(FAMILIES[0].size) && s[i].name; i++)
        n += put(text + n, sizeof text - n, "  \"%s\": %z,\n", s[i].name,
                 *(const size_t *)(const void *)((const char *)f + s[i].at));
    if (f->family == DUAL_QWEN3)
        n += put(text + n, sizeof text - n, "  \"rope_theta\": %s,\n", replaced(theta, point, '.'));
    n += put(text + n, sizeof text - n, "  \"%s\": %s,\n  \"tie_word_embeddings\": %s,\n"
             "  \"bos_token_id\": %s,\n  \"eos_token_id\": %s,\n  \"torch_dtype\": \"%s\",\n"
             "  \"use_cache\": true\n}\n", FAMILIES[f->family].eps_name,
             replaced(eps, point, '.'), f->tied ? "true" : "false", end, end, type);
    return dual_text_save(c, path, text, n);
}

/* The hub's gpt2, and exports of bare models, have no "transformer." or "model." before a name. */
static const char *bare(const char *name) {
    if (!strncmp(name, "transformer.", 12)) return name + 12;
    return strncmp(name, "model.", 6) ? name : name + 6;
}

/* Opens the file of `folder` that holds `name`: model.safetensors, or the one that the index names.
 * The last file stays open, since neighbours usually share one. */
static int open_shard(dual_ctx *c, const char *folder, dual_json map, const char *name,
                      dual_file **open) {
    char file[512] = "model.safetensors", path[1024];
    if (dual_json_type(map)) {
        dual_json v = dual_json_get(map, name);
        if (!dual_json_type(v)) v = dual_json_get(map, bare(name));
        if (!dual_json_type(v) || dual_json_string(v, file, sizeof file) >= sizeof file ||
            strchr(file, '/') || strchr(file, '\\'))
            return refuse(c, "%s: the index names no file for %s", folder, name);
    }
    put(path, sizeof path, "%s/%s", folder, file);
    if (*open && same((*open)->path, path)) return 1;
    dual_file_close(*open);
    *open = dual_file_open(c, path);
    return *open != NULL;
}

int dual_model_load(dual_ctx *c, dual_model *m, const char *folder) {
    char path[1024], why[160] = "no weight_map";
    dual_file *file = NULL;
    size_t length, first;
    unsigned types = 0;                /* of the matrices, a bit each */
    int ok = 1;
    dual_json map = slice(NULL, NULL);
    if (m->place) return refuse(c, "%s: cannot be loaded into a view of other weights", folder);
    put(path, sizeof path, "%s/model.safetensors", folder);
    FILE *whole = fopen(path, "rb");   /* goes before an index, as in transformers */
    put(path, sizeof path, "%s/model.safetensors.index.json", folder);
    FILE *parts = whole ? NULL : fopen(path, "rb");
    if (whole) fclose(whole);
    if (parts) fclose(parts);
    char *index = parts ? dual_text_read(c, path, &length) : NULL;
    if (parts && !index) return 0;
    if (index) map = dual_json_get(dual_json_text(index, length, why, sizeof why), "weight_map");
    if (index && !dual_json_type(map)) ok = refuse(c, "%s: %s", path, why);
    for (size_t i = 0; ok && i < m->n_params; i++) {
        const dual_param *p = &m->param[i];
        ok = open_shard(c, folder, map, p->name, &file);
        if (!ok) break;
        size_t at = dual_file_find(file, p->name);
        if (at == SIZE_MAX) at = dual_file_find(file, bare(p->name));
        if (at == SIZE_MAX) {
            ok = refuse(c, "%s: no tensor %s%s", file->path, p->name,
                        index ? ", though the index names it there" : "");
            break;
        }
        const dual_entry t = dual_file_entry(file, at);
        if (t.rows != p->tensor->rows || t.cols != p->tensor->cols)
            ok = refuse(c, "%s: %s is [%z,%z], the config says [%z,%z]", file->path, p->name,
                        t.rows, t.cols, p->tensor->rows, p->tensor->cols);
        else if (numbers(p->tensor)) ok = read_tensor(c, file, at, p->tensor);
        const size_t bad = ok ? dual_not_finite(p->tensor, &first) : 0;
        if (bad)
            ok = refuse(c, "%s: %s: %z of %z numbers are NaN or infinite, the first at index %z",
                        file->path, p->name, bad, t.count, first);
        if (!p->vector) types |= 1u << file->tensor[at].type;
    }
    m->file_type = DUAL_FULL;
    if (types == 1u << F16) m->file_type = DUAL_F16;
    if (types == 1u << BF16) m->file_type = DUAL_BF16;
    dual_file_close(file);
    free(index);
    return ok;
}

int dual_model_save(dual_ctx *c, const dual_model *m, const char *folder, const char *note) {
    char path[1024];
    static const char *const torch_dtype[] = {"float32", "float16", "bfloat16"};   /* by type */
    const dual_param **all = calloc(m->n_params, sizeof *all);
    if (!all) return refuse(c, "%s: no memory to write it", folder);
    for (size_t i = 0; i < m->n_params; i++) all[i] = &m->param[i];
    put(path, sizeof path, "%s/model.safetensors", folder);
    const int ok = dual_file_save(c, path, m->n_params, all, note) &&
                   config_save(c, &m->config, torch_dtype[m->type], folder);
    free(all);
    return ok;
}
#endif
