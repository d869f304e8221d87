/* bench.c - what this machine can do, and how much of that dual does. One function per section:
 *
 *   machine    multiply-adds per second and memory bandwidth: the two limits all else is held to
 *   matmul     the three products of a linear layer; built with peers, beside theirs
 *   step       ordinary training steps, and the share of matmuls in them
 *   exchange   steps of the method's systems beside a plain one
 *   decode     tokens per second with the cache
 *   memory     counted, and as the system saw it; how it grows
 *   growth     speed against width, layers, T, N_L and M
 *   threads    speed against their number
 *
 *   build/bench [--only SECTION] [--quick] [--json]       OMP_NUM_THREADS sets the threads
 *
 * Every figure is a median unless it says otherwise, and comes with its share of the limit that
 * holds for it. dual.c is included, not linked: matmul is measured through the very function that
 * training calls. Refuses: judging. Which share is good enough is said in README.md. */
#define _DEFAULT_SOURCE                /* madvise */
#include "../dual.c"
#include <time.h>
#include "../data/files/system.h"
#include "../data/runs/platform.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef PEER_OPENBLAS
#include <cblas.h>
#endif
#ifdef PEER_ONEDNN
#include <dnnl.h>
#endif

static int quick, json;
static double peak;                    /* of all threads, FLOP/s; 0 until measured */

static size_t workers(void) {
    return (size_t)omp_get_max_threads();
}

static void fail(const char *message) {
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

/* ---- Figures: one line of the table and one object of the JSON document each ----------------- */

typedef struct {
    const char *section;
    char name[64], unit[16], of[40];
    double value, share;
} figure;
static figure figures[512];
static size_t n_figures;
static const char *section;

static FILE *table(void) {
    return json ? stderr : stdout;
}

static void head(const char *what) {
    fprintf(table(), "\n%s: %s\n", section, what);
}

/* Only into the JSON document. share < 0: there is no limit to hold it to. */
static void keep(const char *name, double value, const char *unit, double share, const char *of) {
    if (n_figures == sizeof figures / sizeof *figures) fail("more figures than there is room for");
    figure *f = &figures[n_figures++];
    f->section = section;
    f->value = value;
    f->share = share;
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->unit, sizeof f->unit, "%s", unit);
    snprintf(f->of, sizeof f->of, "%s", of);
}

/* The same, and the beginning of a line of the table. */
static void begin_line(const char *name, double value, const char *unit, double share,
                       const char *of) {
    keep(name, value, unit, share, of);
    fprintf(table(), "  %-38s %9.*f %-8s", name, value < 100 ? 2 : 0, value, unit);
    if (share >= 0) fprintf(table(), " %5.1f %% of %s", 100 * share, of);
}

static void end_line(void) {
    fprintf(table(), "\n");
    fflush(table());
}

static void report(const char *name, double value, const char *unit, double share,
                   const char *of) {
    begin_line(name, value, unit, share, of);
    end_line();
}

static void print_json(void) {
    printf("[\n");
    for (size_t i = 0; i < n_figures; i++) {
        const figure *f = &figures[i];
        printf("  {\"section\": \"%s\", \"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"",
               f->section, f->name, f->value, f->unit);
        if (f->share >= 0) printf(", \"share\": %.4f, \"of\": \"%s\"", f->share, f->of);
        printf("}%s\n", i + 1 < n_figures ? "," : "");
    }
    printf("]\n");
}

/* ---- Time and memory ------------------------------------------------------------------------- */

enum { ROUNDS_MAX = 25 };

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, size_t n) {
    qsort(value, n, sizeof *value, ascending);
    return n % 2 ? value[n / 2] : 0.5 * (value[n / 2 - 1] + value[n / 2]);
}

/* One block for all sections, grown when one needs more. Its pages are touched before any clock
 * runs: the first touch of a page costs more than all else that happens to it. */
static struct { void *at; size_t size; } block;

static void drop_block(void) {
    free(block.at);
    block.at = NULL;
    block.size = 0;
}

static void *take_block(size_t size) {
    const size_t huge = (size_t)2 << 20, rounded = (size + huge - 1) / huge * huge;
    if (rounded <= block.size) return block.at;
    drop_block();
    if (posix_memalign(&block.at, huge, rounded) != 0) fail("not enough memory for this section");
#ifdef MADV_HUGEPAGE
    madvise(block.at, rounded, MADV_HUGEPAGE);
#endif
    block.size = rounded;
    OMP(omp parallel for schedule(static))
    for (size_t i = 0; i < rounded / huge; i++) memset((char *)block.at + i * huge, 0, huge);
    return block.at;
}

static void fill_random(dual_real *to, size_t n, double std) {
    dual_rng rng = dual_rng_seed(n, 5);
    const double width = 3.4641016 * std;  /* a uniform number of that width has this deviation */
    for (size_t i = 0; i < n; i++) to[i] = (dual_real)(width * (dual_rng_uniform(&rng) - 0.5));
}

/* ---- machine: the two limits -----------------------------------------------------------------
 * Both are the best of some short runs, not medians: a limit is what the machine can do when
 * nobody disturbs it. But where others share a machine, it can do half as much for seconds on end;
 * steps and decoding are therefore held to a limit taken again before each timed run ("the peak
 * beside it"), and a share is the median of these ratios.
 *
 * Peak: SUMS running sums in vector registers, none waiting for another, nothing loaded or stored.
 * A sum can go on only when its last multiply-add is through (4 cycles), two may start per cycle,
 * so 8 sums hide the wait; more do no harm as long as the registers suffice. Left to themselves
 * compilers see through such a loop or vectorise it across the sums, hence the vector type where
 * there is one (GNU C: gcc, clang), and calls through pointers nobody can see through. */
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, SUMS = 16 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, SUMS = 12 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, SUMS = 16 };
#else
enum { VECTOR_BYTES = 16, SUMS = 12 };
#endif
#ifdef __GNUC__
typedef dual_real lanes __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef dual_real lanes;
#endif

/* s = s x + y, `rounds` times for each of SUMS vectors; io: the sums, then x, then y. */
static void multiply_adds(lanes *io, size_t rounds) {
    lanes s[SUMS];
    const lanes x = io[SUMS], y = io[SUMS + 1];
    memcpy(s, io, sizeof s);
    for (size_t k = 0; k < rounds; k++)
        for (int i = 0; i < SUMS; i++) s[i] = s[i] * x + y;
    memcpy(io, s, sizeof s);
}
static void (*volatile call_multiply_adds)(lanes *, size_t) = multiply_adds;

/* FLOP/s of all threads together, or of one; a run takes about 2 ms. */
static double measure_peak(int all, int runs) {
    const size_t rounds = 400000, width = sizeof(lanes) / sizeof(dual_real);
    const double flops = 2.0 * (double)(SUMS * width * rounds);
    double best = 0;
    (void)all;
    for (int i = 0; i < runs; i++) {
        const double begin = data_seconds();
        OMP(omp parallel if (all))
        {
            lanes io[SUMS + 2];
            fill_random((dual_real *)io, (SUMS + 2) * width, 0.2);
            call_multiply_adds(io, rounds);
        }
        const double rate = (all ? (double)workers() : 1) * flops / (data_seconds() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

/* Bandwidth: each thread adds up its part of a buffer far larger than any cache, READERS places of
 * it in turn. One stream alone waits for its prefetcher, several keep the memory busy. */
enum { READERS = 8 };

static void read_streams(const lanes *from, size_t each, lanes *out) {
    lanes s[READERS];
    memset(s, 0, sizeof s);
    for (size_t i = 0; i < each; i++)
        for (size_t r = 0; r < READERS; r++) s[r] += from[r * each + i];
    memcpy(out, s, sizeof s);
}
static void (*volatile call_read_streams)(const lanes *, size_t, lanes *) = read_streams;

static double measure_bandwidth(const void *at, size_t bytes, int runs) {
    const size_t parts = workers(), each = bytes / sizeof(lanes) / parts / READERS;
    const lanes *buffer = at;
    double best = 0;
    for (int i = 0; i < runs; i++) {
        const double begin = data_seconds();
        OMP(omp parallel for schedule(static))
        for (size_t p = 0; p < parts; p++) {
            lanes out[READERS];
            call_read_streams(buffer + p * READERS * each, each, out);
        }
        const double rate = (double)(parts * READERS * each * sizeof(lanes)) /
                            (data_seconds() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

static const char *const vector =
#if defined(__AVX512F__)
    "AVX-512";
#elif defined(__FMA__)
    "AVX2 and FMA";
#elif defined(__AVX__)
    "AVX";
#elif defined(__ARM_NEON)
    "NEON";
#else
    "no wide vectors";
#endif
static const char *const compiler =
#if defined(__clang__)
    "clang " __clang_version__;
#elif defined(__GNUC__)
    "gcc " __VERSION__;
#else
    "unknown";
#endif

static void bench_machine(void) {
    head("the limits, best of many short runs");
    fprintf(table(), "  %s, %s, %zu threads, numbers of %zu bytes\n", compiler, vector, workers(),
            sizeof(dual_real));
    const size_t bytes = (size_t)512 << 20;
    const double one = measure_peak(0, 60), read = measure_bandwidth(take_block(bytes), bytes, 30);
    peak = measure_peak(1, 60);
    report("multiply-adds, one thread", one * 1e-9, "GFLOP/s", -1, "");
    report("multiply-adds, all threads: the peak", peak * 1e-9, "GFLOP/s", -1, "");
    report("memory read, all threads", read * 1e-9, "GB/s", -1, "");
}

/* ---- matmul: Y = X W, dX = dY W^T, dW = X^T dY at the shapes of models -----------------------
 * W is [in,out] as in GPT-2's layers or [out,in] as in heads and Qwen-3. The forward product is
 * measured in both; backward in the one that a model of that shape has. Gradients are added to
 * what is there, in dual as in the peers (beta = 1). */

enum { X_WT, X_W, DX, DW, FORMS };
static const char *const FORM[FORMS] = {"Y = X W^T", "Y = X W", "dX", "dW"};
static const struct { size_t rows, in, out; } SHAPE[] = {
    {256, 768, 768}, {256, 768, 2304}, {256, 768, 3072}, {256, 3072, 768}, {256, 768, 50257},
    {1024, 128, 128}, {1024, 128, 512}, {1024, 256, 256}, {1024, 256, 1024},
    {2, 768, 768}, {7, 768, 768}, {16, 768, 768}, {33, 768, 768}, {64, 768, 768},  /* few rows: */
    {2, 768, 3072}, {7, 768, 3072}, {16, 768, 3072}, {33, 768, 3072}, {64, 768, 3072},
    {1, 768, 768},                                                 /* a mean of their own; none */
};
enum { SHAPES = sizeof SHAPE / sizeof *SHAPE, MANY_ROWS = 9, FEW_ROWS = 10 };

/* C [m,n] (+)= A B as a BLAS wants it, all row-major. */
typedef struct {
    int a_turned, b_turned;
    size_t m, n, k, a_step, b_step;
    const dual_real *a, *b;
    dual_real beta, *c;
} blas_call;

typedef struct {
    dual_ctx c;
    dual_tensor *x, *w;
    node *linear;                      /* backward forms: the recorded dual_linear */
    int layout;
    blas_call g;
} product_job;

/* Tensors, and for the backward forms a recorded layer whose output has a gradient, of which
 * exactly one flows on. Works while counting too. */
static void job_make(product_job *j, size_t rows, size_t in, size_t out, int form) {
    dual_ctx *c = &j->c;
    const int out_in = form == X_WT || (form != X_W && out > 10000);   /* a head, or a layer */
    j->layout = out_in ? DUAL_OUT_IN : DUAL_IN_OUT;
    j->x = dual_tensor_new(c, rows, in);
    j->w = dual_tensor_new(c, out_in ? out : in, out_in ? in : out);
    if (form == DX) dual_need_grad(c, j->x);
    if (form == DW) dual_need_grad(c, j->w);
    const dual_mark before = dual_mark_here(c);
    dual_tensor *y = dual_linear(c, j->x, j->w, NULL, j->layout);
    if (form < DX) dual_release(c, before);            /* ours() makes it anew, at the same place */
    else gradient(c, y);
    j->linear = c->tape;
    if (!c->memory) return;
    fill_random(j->x->data, rows * in, 1);
    fill_random(j->w->data, in * out, 0.05);
    if (form >= DX) fill_random(y->grad, rows * out, 1);
    blas_call *g = &j->g;
    memset(g, 0, sizeof *g);
    if (form == DW) {                  /* [in,out] = X^T dY, or [out,in] = dY^T X */
        g->a_turned = 1;
        g->m = out_in ? out : in;
        g->n = out_in ? in : out;
        g->k = rows;
        g->a = out_in ? y->grad : j->x->data;
        g->a_step = g->m;
        g->b = out_in ? j->x->data : y->grad;
        g->b_step = g->n;
        g->c = j->w->grad;
    } else {                           /* X W, or dY W^T */
        g->b_turned = form == DX ? !out_in : out_in;
        g->m = rows;
        g->n = form == DX ? in : out;
        g->k = form == DX ? out : in;
        g->a = form == DX ? y->grad : j->x->data;
        g->a_step = g->k;
        g->b = j->w->data;
        g->b_step = out_in ? in : out;
        g->c = form == DX ? j->x->grad : y->data;
    }
    g->beta = form >= DX;
}

static void run_dual(product_job *j) {
    if (j->linear) {
        j->linear->backward(&j->c, j->linear);
        return;
    }
    const dual_mark before = dual_mark_here(&j->c);
    dual_linear(&j->c, j->x, j->w, NULL, j->layout);
    dual_release(&j->c, before);
}

#ifdef PEER_OPENBLAS
static void run_openblas(product_job *j) {
    const blas_call *g = &j->g;
    cblas_sgemm(CblasRowMajor, g->a_turned ? CblasTrans : CblasNoTrans,
                g->b_turned ? CblasTrans : CblasNoTrans, (int)g->m, (int)g->n, (int)g->k, 1, g->a,
                (int)g->a_step, g->b, (int)g->b_step, g->beta, g->c, (int)g->n);
}
#endif
#ifdef PEER_ONEDNN
static void run_onednn(product_job *j) {
    const blas_call *g = &j->g;
    dnnl_sgemm(g->a_turned ? 'T' : 'N', g->b_turned ? 'T' : 'N', (dnnl_dim_t)g->m, (dnnl_dim_t)g->n,
               (dnnl_dim_t)g->k, 1, g->a, (dnnl_dim_t)g->a_step, g->b, (dnnl_dim_t)g->b_step,
               g->beta, g->c, (dnnl_dim_t)g->n);
}
#endif

static const struct { const char *name; void (*run)(product_job *); } LIBRARY[] = {
    {"dual", run_dual},
#ifdef PEER_OPENBLAS
    {"OpenBLAS", run_openblas},
#endif
#ifdef PEER_ONEDNN
    {"oneDNN", run_onednn},
#endif
};
enum { LIBRARIES = sizeof LIBRARY / sizeof *LIBRARY };

/* All libraries must have computed the same thing, or the comparison is worth nothing. */
static void check_peers(product_job *j) {
    const blas_call *g = &j->g;
    const size_t n = g->m * g->n, step = n / 97 + 1;
    double ours[97], apart = 0, large = 0;
    for (size_t l = 0; l < LIBRARIES; l++) {
        memset(g->c, 0, n * sizeof *g->c);
        LIBRARY[l].run(j);
        for (size_t i = 0; i * step < n; i++) {
            const double value = (double)g->c[i * step];
            if (l == 0) ours[i] = value;
            if (fabs(value) > large) large = fabs(value);
            if (!(fabs(value - ours[i]) <= apart)) apart = fabs(value - ours[i]);
        }
    }
    if (!(apart <= 1e-3 * large)) fail("matmul: a peer computed something else than dual");
}

/* Waiting threads of one library may still spin when the next begins: let them fall asleep, and
 * wake the next one's with a call that is not timed. */
static double time_library(product_job *j, size_t which, size_t calls) {
    if (LIBRARIES > 1) {
        const struct timespec nap = {0, 3000000};
        nanosleep(&nap, NULL);
        LIBRARY[which].run(j);
    }
    const double begin = data_seconds();
    for (size_t i = 0; i < calls; i++) LIBRARY[which].run(j);
    return (data_seconds() - begin) / (double)calls;
}

/* A peer's speed, and dual's share of it, on the line that is begun. */
static void keep_peer(const char *name, double rate, double share, const char *peer) {
    char full[64];
    snprintf(full, sizeof full, "%.40s, %s", name, peer);
    keep(full, rate * 1e-9, "GFLOP/s", share, peer);
    fprintf(table(), "  %5.1f %% of %s", 100 * share, peer);
}

/* One product of one shape, timed; ratio: of the better peer's time to dual's. */
typedef struct { double rate, ratio; } product_speed;

static product_speed measure_product(size_t rows, size_t in, size_t out, int form,
                                     const char *name) {
    enum { ROUNDS = 9 };
    const size_t rounds = quick ? 3 : ROUNDS;
    double seconds[LIBRARIES][ROUNDS], pair[LIBRARIES][ROUNDS];
    product_job j;
    dual_init(&j.c, NULL, 0);
    job_make(&j, rows, in, out, form);
    run_dual(&j);
    const size_t size = j.c.peak;
    dual_done(&j.c);
    dual_init(&j.c, take_block(size), size);
    job_make(&j, rows, in, out, form);
    check_peers(&j);
    const double enough = quick ? 0.002 : 0.01;    /* seconds that one timing shall take */
    const size_t calls = (size_t)(enough / time_library(&j, 0, 1)) + 1;
    for (size_t r = 0; r < rounds; r++) {
        for (size_t l = 0; l < LIBRARIES; l++) {   /* there and back */
            const size_t which = r % 2 ? LIBRARIES - 1 - l : l;
            seconds[which][r] = time_library(&j, which, calls);
        }
        for (size_t l = 0; l < LIBRARIES; l++) pair[l][r] = seconds[l][r] / seconds[0][r];
    }
    const double flops = 2.0 * (double)rows * (double)in * (double)out;
    product_speed speed = {.rate = flops / median(seconds[0], rounds), .ratio = HUGE_VAL};
    begin_line(name, speed.rate * 1e-9, "GFLOP/s", speed.rate / peak, "peak");
    for (size_t l = 1; l < LIBRARIES; l++) {
        const double m = median(pair[l], rounds);
        keep_peer(name, flops / median(seconds[l], rounds), m, LIBRARY[l].name);
        if (m < speed.ratio) speed.ratio = m;
    }
    end_line();
    return speed;
}

static void mean_line(const char *of, product_speed mean) {
    char name[64];
    snprintf(name, sizeof name, "mean of %.50s", of);
    begin_line(name, mean.rate * 1e-9, "GFLOP/s", mean.rate / peak, "peak");
    if (LIBRARIES > 1) keep_peer(name, mean.rate / mean.ratio, mean.ratio, "the better peer");
    end_line();
}

/* Geometric means over shapes, by form and of all; the worst of them beside a peer. */
typedef struct {
    const char *of;
    double log_rate[FORMS], log_ratio[FORMS], least;
    char least_name[64];
} matmul_mean;

static void mean_lines(const matmul_mean *m) {
    char name[64];
    double rate = 0, ratio = 0;
    for (int form = 0; form < FORMS; form++) {
        snprintf(name, sizeof name, "%s%s", m->of, FORM[form]);
        mean_line(name, (product_speed){exp(m->log_rate[form]), exp(m->log_ratio[form])});
        rate += m->log_rate[form] / FORMS;
        ratio += m->log_ratio[form] / FORMS;
    }
    snprintf(name, sizeof name, "%sall", m->of);
    mean_line(name, (product_speed){exp(rate), exp(ratio)});
    if (LIBRARIES == 1) return;
    fprintf(table(), "  least: %s, %.1f %% of the better peer\n", m->least_name, 100 * m->least);
    snprintf(name, sizeof name, "%sleast", m->of);
    keep(name, m->least, "", m->least, "the better peer");
}

static void bench_matmul(void) {
    matmul_mean many = {.of = "", .least = HUGE_VAL}, few = {.of = "few rows, ", .least = HUGE_VAL};
    char name[64];
    head("dual_linear forward and backward; rows x in x out");
    for (size_t s = 0; s < SHAPES; s++)
        for (int form = 0; form < FORMS; form++) {
            const size_t rows = SHAPE[s].rows, in = SHAPE[s].in, out = SHAPE[s].out;
            snprintf(name, sizeof name, "%-9s %4zu x %4zu x %5zu", FORM[form], rows, in, out);
            const product_speed speed = measure_product(rows, in, out, form, name);
            if (s >= MANY_ROWS + FEW_ROWS) continue;
            matmul_mean *const m = s < MANY_ROWS ? &many : &few;
            const double n = s < MANY_ROWS ? MANY_ROWS : FEW_ROWS;
            m->log_rate[form] += log(speed.rate) / n;
            m->log_ratio[form] += log(speed.ratio) / n;
            if (speed.ratio >= m->least) continue;
            m->least = speed.ratio;
            snprintf(m->least_name, sizeof m->least_name, "%s", name);
        }
    mean_lines(&many);
    mean_lines(&few);
}

/* ---- What is run: a model, a system, a batch of equal sequences ------------------------------ */

typedef struct {
    const char *system;
    dual_config shape;
    int base_type;                     /* DUAL_BF16: weights in 16 bits */
    size_t sequences, text;            /* text: tokens read before the latents */
    size_t groups, latents, targets;   /* groups: augmentations per sequence, at equal distances */
} plan;

typedef struct {
    dual_exchange e;
    dual_adamw adamw;
    dual_batch batch;
} setup;

static dual_config gpt2_shape(size_t layers, size_t width, size_t heads, size_t vocab) {
    dual_config f = {.family = DUAL_GPT2, .tied = 1, .vocab = vocab, .positions = 1024,
                     .layers = layers, .hidden = width, .heads = heads, .kv_heads = heads,
                     .head_dim = width / heads, .mlp = 4 * width, .norm_eps = 1e-5};
    return f;
}

static dual_config qwen3_shape(size_t layers, size_t width, size_t heads, size_t kv_heads,
                               size_t head_dim, size_t mlp, size_t vocab) {
    dual_config f = {.family = DUAL_QWEN3, .tied = 1, .vocab = vocab, .positions = 1024,
                     .layers = layers, .hidden = width, .heads = heads, .kv_heads = kv_heads,
                     .head_dim = head_dim, .mlp = mlp, .norm_eps = 1e-6, .rope_theta = 1e6};
    return f;
}

static dual_config gpt2_124m(void) {
    return gpt2_shape(12, 768, 12, 50257);
}

/* The ordinary language model step, as ./train --objective lm makes it: no text before, one group
 * whose targets are the whole sequence. */
static plan language_model(dual_config shape, size_t sequences, size_t length) {
    plan p = {.system = "none", .shape = shape, .sequences = sequences, .groups = 1,
              .targets = length};
    return p;
}

/* dual_model_init draws normal numbers, which takes longer than all that is measured here. */
static void random_weights(dual_model *m) {
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_param *p = &m->param[i];
        const size_t n = p->tensor->rows * p->tensor->cols;
        if (p->tensor->half) {             /* a few numbers, again and again */
            dual_real few[4096];
            fill_random(few, 4096, p->start.std);
            for (size_t j = 0; j < n; j++) set_number(p->tensor, j, few[j % 4096]);
        } else if (p->start.kind == DUAL_NORMAL) {
            fill_random(p->tensor->data, n, p->start.std);
        } else {
            const dual_real value = p->start.kind == DUAL_ONES ? 1 : 0;
            for (size_t j = 0; j < n; j++) p->tensor->data[j] = value;
        }
    }
}

/* Models, exchange and batch of a plan, in ctx (works while counting too): everything that stays
 * while steps come and go. */
static void setup_make(dual_ctx *c, const plan *p, setup *s, int train) {
    dual_system system = dual_system_preset(p->system);
    dual_model *base = dual_model_kept(c, &p->shape, p->base_type), *coprocessor = NULL;
    const size_t length = p->text + p->targets + 1, n = p->sequences * p->groups;
    system.latents = p->latents;
    if (dual_system_needs_coprocessor(&system)) coprocessor = dual_model_new(c, &p->shape);
    if (!dual_exchange_new(c, &s->e, &system, base, coprocessor)) fail(c->error);
    if (c->memory) {
        random_weights(base);
        dual_exchange_init(&s->e, 1);
    }
    if (train) {
        dual_exchange_train(c, &s->e);
        dual_adamw_new(c, &s->adamw, &s->e);
    }
    int32_t *token = describe(c, p->sequences * length, sizeof *token);
    const int32_t **text = describe(c, p->sequences, sizeof *text);
    size_t *lengths = describe(c, p->sequences, sizeof *lengths);
    dual_group *group = describe(c, n, sizeof *group);
    dual_rng rng = dual_rng_seed(1, 2);
    for (size_t i = 0; i < p->sequences * length; i++)
        token[i] = (int32_t)dual_rng_below(&rng, p->shape.vocab);
    for (size_t i = 0; i < p->sequences; i++) {
        text[i] = token + i * length;
        lengths[i] = p->text;
        for (size_t g = 0; g < p->groups; g++) {
            dual_group *q = &group[i * p->groups + g];
            q->sequence = i;
            q->prefix = p->text * (g + 1) / p->groups;
            q->cue = text[i] + p->text;
            q->n_cue = 1;
            q->target = q->cue + 1;
            q->n_target = p->targets;
        }
    }
    memset(&s->batch, 0, sizeof s->batch);
    s->batch.n_sequences = p->sequences;
    s->batch.text = text;
    s->batch.length = lengths;
    s->batch.n_groups = n;
    s->batch.group = group;
}

/* The seconds that a step's linear layers take. Their backward functions are wrapped where the tape
 * names them, their forward is run once more: the step itself gets slower and is not timed then. */
static double matmul_seconds;

static void timed_backward(dual_ctx *c, node *n) {
    const double begin = data_seconds();
    linear_backward(c, n);
    matmul_seconds += data_seconds() - begin;
}

static void time_matmuls(dual_ctx *c) {
    matmul_seconds = 0;
    c->inference = 1;
    for (node *n = c->tape; n; n = n->earlier) {
        if (n->backward != linear_backward) continue;
        const dual_mark m = dual_mark_here(c);
        const double begin = data_seconds();
        dual_linear(c, n->in[0], n->in[1], n->in[2], n->args.linear.layout);
        matmul_seconds += data_seconds() - begin;
        c->used = m.used;
        n->backward = timed_backward;
    }
    c->inference = 0;
}

static void step(dual_ctx *c, setup *s, int apart) {
    const dual_mark m = dual_mark_here(c);
    dual_outcome out;
    dual_run(c, &s->e, &s->batch, &out);
    if (apart) time_matmuls(c);
    dual_backward(c, out.loss);
    dual_adamw_step(c, &s->adamw, 1e-4);
    dual_release(c, m);
}

typedef struct {
    double seconds;                    /* median of a step */
    double share;                      /* of the peak beside it: median of the steps' */
    double flops, weight_grad_flops;   /* of a step, counted */
    double matmul;                     /* seconds of a step in the linear layers; 0: not asked */
    size_t kept, peak;                 /* bytes before and within a step, counted */
} cost;

/* Counts a plan's training step; times it too, at least `steps` times, if steps > 0. */
static cost train_cost(const plan *p, size_t steps, int apart) {
    dual_ctx c;
    setup s;
    cost r = {0};
    double seconds[ROUNDS_MAX], share[ROUNDS_MAX];
    dual_init(&c, NULL, 0);
    setup_make(&c, p, &s, 1);
    r.kept = c.used;
    step(&c, &s, 0);
    r.flops = c.flops;
    r.weight_grad_flops = c.weight_grad_flops;
    r.peak = c.peak;
    if (apart) step(&c, &s, 1);        /* may take more */
    const size_t size = c.peak;
    dual_done(&c);
    if (!steps) return r;
    dual_init(&c, take_block(size), size);
    setup_make(&c, p, &s, 1);
    step(&c, &s, 0);                   /* the first one pays for what all share */
    for (size_t i = 0; i < steps; i++) {
        const double limit = measure_peak(1, 5), begin = data_seconds();
        step(&c, &s, 0);
        seconds[i] = data_seconds() - begin;
        share[i] = r.flops / seconds[i] / limit;
    }
    r.seconds = median(seconds, steps);
    r.share = median(share, steps);
    if (!apart) return r;
    for (size_t i = 0; i < 3; i++) {
        step(&c, &s, 1);
        seconds[i] = matmul_seconds;
    }
    r.matmul = median(seconds, 3);
    return r;
}

/* ---- step: an ordinary training step, AdamW included ------------------------------------------
 * The limit is the time that the step's FLOPs take at the peak. */

static void step_line(const char *name, dual_config shape, size_t sequences, size_t length,
                      size_t steps) {
    char line[64];
    const plan p = language_model(shape, sequences, length);
    const cost r = train_cost(&p, quick ? 2 : steps, 1);
    const double tokens = (double)(sequences * length);
    snprintf(line, sizeof line, "%s, %zu x %zu", name, sequences, length);
    report(line, tokens / r.seconds, "tokens/s", r.share, "the peak beside it");
    snprintf(line, sizeof line, "  in matmuls, of %.3f s", r.seconds);
    report(line, r.matmul, "s", r.matmul / r.seconds, "the step");
}

static void bench_step(void) {
    head("whole training steps; sequences x tokens");
    step_line("GPT-2 124M", gpt2_124m(), 4, 64, 5);
    step_line("4 layers, width 256", gpt2_shape(4, 256, 8, 512), 16, 256, 9);
}

/* ---- decode: generating with the cache ---------------------------------------------------------
 * One stream has to read all weights once per token, so the limit is the bandwidth over their
 * bytes. Tables of which a token takes one row (position embeddings) are not counted. */

static size_t bytes_per_token(const dual_model *m) {
    size_t bytes = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        if (t != m->wpe && (t != m->wte || m->head == m->wte))
            bytes += t->rows * t->cols * size_of(t->type);
    }
    return bytes;
}

static void generate(dual_ctx *c, setup *s, size_t tokens) {
    enum { STREAMS_MAX = 16, TOKENS_MAX = 128 };
    static int32_t out[STREAMS_MAX * TOKENS_MAX];
    size_t length[STREAMS_MAX];
    dual_sampling how = {.max_new = tokens, .end = -1};
    dual_generate(c, &s->e, &s->batch, &how, out, length);
}

/* Tokens of all streams together, the prompts' reading (16 tokens each) taken out. */
typedef struct { double per_second, per_byte; size_t bytes; } decode_rate;

/* per_byte: tokens in the time that the memory takes for a byte, both measured in turn. */
static decode_rate decode(dual_config shape, int type, size_t streams, size_t tokens) {
    const plan p = {.system = "none", .shape = shape, .base_type = type, .sequences = streams,
                    .text = 15, .groups = 1};
    const size_t rounds = quick ? 1 : 5;
    dual_ctx c;
    setup s;
    double rate[ROUNDS_MAX], per_byte[ROUNDS_MAX];
    decode_rate r;
    dual_init(&c, NULL, 0);
    setup_make(&c, &p, &s, 0);
    generate(&c, &s, tokens + 1);
    const size_t size = c.peak;
    dual_done(&c);
    dual_init(&c, take_block(size), size);
    setup_make(&c, &p, &s, 0);
    r.bytes = bytes_per_token(s.e.base);
    for (size_t i = 0; i < rounds; i++) {
        const double bandwidth = measure_bandwidth(c.memory, c.used, 3);
        double at[3];
        at[0] = data_seconds();
        generate(&c, &s, 1);
        at[1] = data_seconds();
        generate(&c, &s, tokens + 1);
        at[2] = data_seconds();
        rate[i] = (double)(streams * tokens) / ((at[2] - at[1]) - (at[1] - at[0]));
        per_byte[i] = rate[i] / bandwidth;
    }
    r.per_second = median(rate, rounds);
    r.per_byte = median(per_byte, rounds);
    return r;
}

static void decode_line(const char *name, dual_config shape, size_t tokens, int kept) {
    char line[64];
    if (quick) tokens = 8;
    const decode_rate one = decode(shape, DUAL_FULL, 1, tokens);
    snprintf(line, sizeof line, "%s, one stream", name);
    report(line, one.per_second, "tokens/s", one.per_byte * (double)one.bytes,
           "the bandwidth beside it");
    if (kept) {                        /* the same Base frozen, its weights half as large */
        const decode_rate half = decode(shape, DUAL_BF16, 1, tokens);
        snprintf(line, sizeof line, "%s, BF16 weights", name);
        report(line, half.per_second, "tokens/s", half.per_byte / one.per_byte, "F32 weights");
    }
    const decode_rate many = decode(shape, DUAL_FULL, 16, tokens / 2);
    snprintf(line, sizeof line, "%s, 16 prompts", name);
    report(line, many.per_second, "tokens/s", many.per_byte / one.per_byte, "one stream");
}

static void bench_decode(void) {
    head("greedy, random weights");
    decode_line("GPT-2 124M", gpt2_124m(), 64, 1);
    decode_line("110M, llama2.c's", qwen3_shape(12, 768, 12, 12, 64, 2048, 32000), 64, 0);
    decode_line("Qwen3-0.6B", qwen3_shape(28, 1024, 16, 8, 128, 3072, 151936), 24, 1);
}

/* ---- exchange: does a step of every system run as fast as its FLOPs say? -----------------------
 * `none` is timed again beside each system, so that a change of the machine's load hits both. */

static const struct { const char *name; plan p; } EXCHANGE[] = { /* shape: filled in below */
    {"none: 2048, again", {.system = "none", .sequences = 16, .text = 64, .groups = 1,
                           .targets = 64}},
    {"soft: 3072", {.system = "soft", .sequences = 16, .text = 64, .groups = 1, .latents = 64,
                    .targets = 64}},
    {"liu: 1024 + 1024 + 2048", {.system = "liu", .sequences = 16, .text = 64, .groups = 1,
                                 .latents = 64, .targets = 64}},
    {"h1: 1024 + 1024 + 1024", {.system = "h1", .sequences = 16, .text = 64, .groups = 1,
                                .latents = 64, .targets = 64}},
    {"h2: 1024 + 1024 + 2048", {.system = "h2", .sequences = 16, .text = 64, .groups = 1,
                                .latents = 64, .targets = 64}},
    {"h2, M = 16: 1024 + 1024 + 2048", {.system = "h2", .sequences = 4, .text = 256, .groups = 16,
                                        .latents = 16, .targets = 16}},
    {"h2, small passes: 256 + 32 + 160", {.system = "h2", .sequences = 8, .text = 32, .groups = 1,
                                          .latents = 4, .targets = 16}},
};

/* Weight gradients of a frozen Base: those of the whole step without the Coprocessor's, which are
 * two FLOPs per weight and row it thinks. In h1 its last layer ends with keys and values. */
static void frozen_line(const char *system, dual_config f) {
    const plan p = {.system = system, .shape = f, .sequences = 4, .text = 16, .groups = 1,
                    .latents = 4, .targets = 8};
    const double per_layer = (double)(4 * f.hidden * f.hidden + 2 * f.hidden * f.mlp);
    const double last = !strcmp(system, "h1") ? (double)(2 * f.hidden * f.hidden) : per_layer;
    const double weights = ((double)f.layers - 1) * per_layer + last;
    const double thought = !strcmp(system, "prompt") ? 0 : weights;
    const double rows = (double)(p.sequences * p.latents);
    char name[64];
    snprintf(name, sizeof name, "frozen Base's weight gradients, %s", system);
    report(name, train_cost(&p, 0, 0).weight_grad_flops - 2 * rows * thought, "FLOP", -1, "");
}

static void bench_exchange(void) {
    const dual_config f = gpt2_shape(4, 256, 8, 512);
    head("training steps, width 256, 4 layers; rows of read + think + speak");
    for (size_t i = 0; i < sizeof EXCHANGE / sizeof *EXCHANGE; i++) {
        plan none = EXCHANGE[0].p, p = EXCHANGE[i].p;
        none.shape = p.shape = f;
        const cost beside = train_cost(&none, quick ? 1 : 5, 0);
        const cost r = train_cost(&p, quick ? 1 : 5, 0);
        const double rate = r.flops / r.seconds;
        report(EXCHANGE[i].name, rate * 1e-9, "GFLOP/s", r.share / beside.share, "none");
    }
    frozen_line("prompt", f);
    frozen_line("liu", f);
    frozen_line("h1", f);
}

/* ---- memory: what was counted, what the system saw, how it grows -------------------------------
 * Counting (no memory, no arithmetic) says how large the block must be. A child process that runs
 * the step and nothing else shows what the system thinks of that. */

static const char *program;

static void first_row(void) {
    const plan p = language_model(gpt2_124m(), 4, 64);
    head("one step of GPT-2 124M, 4 x 64");
    report("a step", train_cost(&p, 1, 0).seconds, "s", -1, "");
}

static double resident_of_child(void) {
    struct rusage used;
    int status;
    drop_block();                      /* a child's peak begins with what its parent holds */
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0) fail("no child process for the memory section");
    if (child == 0) {
        if (!freopen("/dev/null", "w", stdout)) _exit(1);
        execlp(program, program, "--only", "first-row", (char *)NULL);
        _exit(1);
    }
    if (waitpid(child, &status, 0) != child || status) fail("the memory section's child failed");
    getrusage(RUSAGE_CHILDREN, &used);
#ifdef __APPLE__
    return (double)used.ru_maxrss;
#else
    return 1024.0 * (double)used.ru_maxrss;
#endif
}

/* Doubles *number, a size in *p. Where memory is linear in it, what one further unit takes stays
 * the same: 100 %. */
static void growth_of_memory(const char *what, plan *p, size_t *number, size_t first) {
    char name[64];
    double before = 0, slope = 0;
    for (size_t n = first; n <= 8 * first; n *= 2) {
        *number = n;
        const cost r = train_cost(p, 0, 0);
        const double bytes = (double)(r.peak - r.kept);
        const double now = (bytes - before) / (double)(n - n / 2);
        snprintf(name, sizeof name, "%s = %zu", what, n);
        report(name, bytes / 1048576, "MiB", n > 2 * first ? now / slope : -1, "growth before");
        before = bytes;
        slope = now;
    }
}

/* What a step holds beyond what is kept between steps, without and with recomputed blocks; then its
 * time: steps of both kinds in turn, the median of the rounds' own ratios. */
static void recompute_lines(const char *name, dual_config shape, size_t sequences, size_t length,
                            size_t rounds) {
    const plan p = language_model(shape, sequences, length);
    double step_bytes[2], time[2], seconds[ROUNDS_MAX], ratio[ROUNDS_MAX];
    size_t size = 0;
    char line[64];
    dual_ctx c;
    setup s;
    for (int on = 0; on < 2; on++) {
        dual_init(&c, NULL, 0);
        c.recompute = on;
        setup_make(&c, &p, &s, 1);
        const size_t kept = c.used;
        step(&c, &s, 0);
        step_bytes[on] = (double)(c.peak - kept);
        if (c.peak > size) size = c.peak;
        dual_done(&c);
    }
    dual_init(&c, take_block(size), size);
    setup_make(&c, &p, &s, 1);
    step(&c, &s, 0);
    for (size_t i = 0; i < rounds; i++) {
        for (int on = 0; on < 2; on++) {
            const double begin = data_seconds();
            c.recompute = on;
            step(&c, &s, 0);
            time[on] = data_seconds() - begin;
        }
        seconds[i] = time[1];
        ratio[i] = time[1] / time[0];
    }
    snprintf(line, sizeof line, "%s, %zu x %zu, recomputed", name, sequences, length);
    report(line, step_bytes[1] / 1048576, "MiB", step_bytes[1] / step_bytes[0], "all kept");
    snprintf(line, sizeof line, "  its time, %zu x %zu", sequences, length);
    report(line, median(seconds, rounds), "s", median(ratio, rounds), "all kept");
}

static void bench_memory(void) {
    const dual_config f = gpt2_shape(4, 256, 8, 512);
    plan p = language_model(gpt2_124m(), 4, 64);
    const cost r = train_cost(&p, 0, 0);
    head("of training steps");
    report("GPT-2 124M, 4 x 64: kept between steps", (double)r.kept / 1048576, "MiB", -1, "");
    report("  and in a step, counted", (double)r.peak / 1048576, "MiB", -1, "");
    const double resident = resident_of_child();
    report("  the process, as the system saw it", resident / 1048576, "MiB",
           resident / (double)r.peak, "counted");
    fprintf(table(), "  a step's activations and their gradients, width 256, 4 layers:\n");
    p = language_model(f, 4, 64);
    growth_of_memory("none, T", &p, &p.targets, 64);
    p = (plan){.system = "h2", .shape = f, .sequences = 4, .text = 64, .groups = 1, .targets = 16};
    growth_of_memory("h2, N_L", &p, &p.latents, 16);
    p = (plan){.system = "h2", .shape = f, .sequences = 4, .text = 256, .latents = 8,
               .targets = 8};
    growth_of_memory("h2, M", &p, &p.groups, 4);
    fprintf(table(), "  the same with blocks recomputed in backward:\n");
    recompute_lines("GPT-2 124M", gpt2_124m(), 4, 64, quick ? 1 : 5);
    recompute_lines("4 layers, width 256", f, 16, 256, quick ? 3 : 9);
}

/* ---- growth: speed against every size, one at a time -------------------------------------------
 * About 1,024 rows a step. GFLOP/s should be flat but for small matrices, tokens/s fall as the
 * FLOPs of a token rise: in proportion to layers and to the square of the width, hardly with T.
 * Tokens are those of the text and the targets; latents and the cue are work, not tokens. */

static void growth_line(const char *name, const plan *p) {
    char part[64];
    const cost r = train_cost(p, quick ? 1 : 3, 0);
    const double rate = r.flops / r.seconds;
    const double tokens = (double)(p->sequences * (p->text + p->groups * p->targets)) / r.seconds;
    snprintf(part, sizeof part, "%.50s, tokens/s", name);
    keep(part, tokens, "tokens/s", -1, "");
    begin_line(name, rate * 1e-9, "GFLOP/s", r.share, "the peak beside it");
    fprintf(table(), "  %8.0f tokens/s  %6.1f MFLOP per token", tokens, rate / tokens * 1e-6);
    end_line();
}

static void bench_growth(void) {
    char name[64];
    head("training steps, about 1,024 rows each");
    for (size_t w = 64; w <= 512; w *= 2) {
        const plan p = language_model(gpt2_shape(4, w, w / 32, 512), 8, 128);
        snprintf(name, sizeof name, "none, width %zu", w);
        growth_line(name, &p);
    }
    for (size_t layers = 2; layers <= 8; layers *= 2) {
        const plan p = language_model(gpt2_shape(layers, 256, 8, 512), 8, 128);
        snprintf(name, sizeof name, "none, %zu layers", layers);
        growth_line(name, &p);
    }
    for (size_t t = 64; t <= 512; t *= 2) {
        const plan p = language_model(gpt2_shape(4, 256, 8, 512), 1024 / t, t);
        snprintf(name, sizeof name, "none, T = %zu", t);
        growth_line(name, &p);
    }
    for (size_t n = 4; n <= 64; n *= 4) {
        const plan p = {.system = "h2", .shape = gpt2_shape(4, 256, 8, 512), .sequences = 16,
                        .text = 64, .groups = 1, .latents = n, .targets = 32};
        snprintf(name, sizeof name, "h2, N_L = %zu", n);
        growth_line(name, &p);
    }
    for (size_t m = 1; m <= 16; m *= 4) {
        const plan p = {.system = "h2", .shape = gpt2_shape(4, 256, 8, 512), .sequences = 4,
                        .text = 256, .groups = m, .latents = 16, .targets = 16};
        snprintf(name, sizeof name, "h2, M = %zu", m);
        growth_line(name, &p);
    }
}

/* ---- threads: a step's rate by their number ---------------------------------------------------
 * Where the rate per thread falls, either the peak per thread does so as well (a clock that goes
 * down, two threads of one core), and the share of the peak stays; or threads wait. */

static void threads_lines(const char *name, dual_config shape, size_t sequences, size_t length) {
    const size_t all = workers();
    const plan p = language_model(shape, sequences, length);
    double alone = 0;
    for (size_t n = 1; n <= all; n = n < all && 2 * n > all ? all : 2 * n) {
        char line[64];
        dual_threads((int)n);
        const cost r = train_cost(&p, quick ? 2 : 5, 0);
        const double each = (double)(sequences * length) / r.seconds / (double)n;
        if (n == 1) alone = each;
        snprintf(line, sizeof line, "%s, %zu threads", name, n);
        begin_line(line, each * (double)n, "tokens/s", r.share, "the peak beside it");
        snprintf(line, sizeof line, "%s, %zu threads, each", name, n);
        keep(line, each, "tokens/s", each / alone, "one alone");
        fprintf(table(), "  %5.1f %% of one alone, each", 100 * each / alone);
        end_line();
    }
}

static void bench_threads(void) {
    head("training steps by the number of threads");
    threads_lines("GPT-2 124M, 4 x 64", gpt2_124m(), 4, 64);
    threads_lines("width 256, 16 x 256", gpt2_shape(4, 256, 8, 512), 16, 256);
}

/* ---- This machine in one line: a row of the table of machines in tests/README.md ------------- */

static const struct { const char *section, *name; } COLUMN[] = {
    {"matmul", "mean of all"}, {"matmul", "mean of few rows, all"},
    {"step", "GPT-2 124M"}, {"step", "4 layers, width 256"}, {"exchange", "h2: 1024"},
    {"exchange", "h2, small passes"}, {"decode", "GPT-2 124M, one stream"},
    {"decode", "Qwen3-0.6B, one stream"},
};

static const figure *find_figure(const char *of, const char *beginning) {
    for (const figure *f = figures; f < figures + n_figures; f++)
        if (!strcmp(f->section, of) && !strncmp(f->name, beginning, strlen(beginning))) return f;
    return NULL;
}

static void one_line(void) {
    fprintf(table(), "\nthis machine, a row for tests/README.md:\n| %s, %s, %zu threads |", vector,
            compiler, workers());
    fprintf(table(), " %.0f | %.0f |", figures[1].value, figures[2].value);   /* peak, bandwidth */
    for (size_t i = 0; i < sizeof COLUMN / sizeof *COLUMN; i++) {
        const figure *f = find_figure(COLUMN[i].section, COLUMN[i].name);
        if (f) fprintf(table(), " %.0f %% |", 100 * f->share);
    }
    end_line();
}

/* ---- Options --------------------------------------------------------------------------------- */

static const struct { const char *name; void (*run)(void); } SECTION[] = {
    {"machine", bench_machine},   {"matmul", bench_matmul}, {"step", bench_step},
    {"exchange", bench_exchange}, {"decode", bench_decode}, {"memory", bench_memory},
    {"growth", bench_growth},     {"threads", bench_threads},
    {"first-row", first_row},          /* only when asked for */
};
enum { SECTIONS = sizeof SECTION / sizeof *SECTION, ALL = SECTIONS };

/* SECTIONS: no such. */
static size_t find_section(const char *name) {
    size_t i = 0;
    while (i < SECTIONS && strcmp(name, SECTION[i].name)) i++;
    return i;
}

static int usage(void) {
    fprintf(stderr, "usage: bench [--only SECTION] [--quick] [--json]; sections:");
    for (size_t i = 0; i < SECTIONS; i++) fprintf(stderr, " %s", SECTION[i].name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv) {
    size_t only = ALL;
    program = argv[0];
    run_spin_briefly(argv);            /* as ./train does: its figures shall be these */
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) {
            quick = 1;
        } else if (!strcmp(argv[i], "--json")) {
            json = 1;
        } else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
            i++;
            only = find_section(argv[i]);
            if (only == SECTIONS) return usage();
        } else {
            return usage();
        }
    }
    for (size_t i = 0; i < SECTIONS; i++) {
        const int is_last = i == SECTIONS - 1;
        const int limits = i == 0 && only != SECTIONS - 1;  /* which every other section needs */
        if (!limits && i != only && (only != ALL || is_last)) continue;
        section = SECTION[i].name;
        SECTION[i].run();
    }
    if (only == ALL) one_line();
    if (json) print_json();
    drop_block();
    return 0;
}
