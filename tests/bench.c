/* bench.c - what this machine can do, and how much of that dual does. One function per section:
 *
 *   machine    multiply-adds per second and memory bandwidth: the two limits all else is held to
 *   matmul     the three products of a linear layer; built with peers, beside theirs
 *
 *   build/bench [--only SECTION] [--quick] [--json]       OMP_NUM_THREADS sets the threads
 *
 * Every figure is a median unless it says otherwise, and comes with its share of the limit that
 * holds for it. dual.c is included, not linked: matmul is measured through the very function that
 * training calls. Refuses: judging. Which share is good enough is said in README.md. */
#define _DEFAULT_SOURCE                /* madvise */
#include "../dual.c"
#include "../data/run.h"
#include <sys/mman.h>
#ifdef PEER_OPENBLAS
#include <cblas.h>
#endif
#ifdef PEER_ONEDNN
#include <dnnl.h>
#endif

static int quick, json;
static double peak, bandwidth;         /* of all threads: FLOP/s, bytes/s; 0 until measured */

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

static FILE *table(void) { return json ? stderr : stdout; }

static void head(const char *what) { fprintf(table(), "\n%s: %s\n", section, what); }

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

static size_t threads(void) {
    size_t n = 1;
#ifdef _OPENMP
    n = (size_t)omp_get_max_threads();
#endif
    return n;
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
 * Both are the best of many short runs, not medians: a limit is what the machine can do when
 * nobody disturbs it.
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

/* FLOP/s of all threads together, or of one. */
static double measure_peak(int all) {
    const size_t rounds = 400000, width = sizeof(lanes) / sizeof(dual_real);
    const double flops = 2.0 * (double)(SUMS * width * rounds);
    double best = 0;
    (void)all;
    for (int run = 0; run < 60; run++) {
        const double begin = dual_seconds();
        OMP(omp parallel if (all))
        {
            lanes io[SUMS + 2];
            fill_random((dual_real *)io, (SUMS + 2) * width, 0.2);
            call_multiply_adds(io, rounds);
        }
        const double rate = (all ? (double)threads() : 1) * flops / (dual_seconds() - begin);
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

static double measure_bandwidth(void) {
    const size_t bytes = (size_t)512 << 20, parts = threads();
    const size_t each = bytes / sizeof(lanes) / parts / READERS;
    const lanes *buffer = take_block(bytes);
    double best = 0;
    for (int run = 0; run < (quick ? 10 : 30); run++) {
        const double begin = dual_seconds();
        OMP(omp parallel for schedule(static))
        for (size_t p = 0; p < parts; p++) {
            lanes out[READERS];
            call_read_streams(buffer + p * READERS * each, each, out);
        }
        const double rate = (double)(parts * READERS * each * sizeof(lanes)) /
                            (dual_seconds() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

static void bench_machine(void) {
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
    head("the limits, best of many short runs");
    fprintf(table(), "  %s, %s, %zu threads, numbers of %zu bytes\n", compiler, vector, threads(),
            sizeof(dual_real));
    const double one = measure_peak(0);
    peak = measure_peak(1);
    bandwidth = measure_bandwidth();
    report("multiply-adds, one thread", one * 1e-9, "GFLOP/s", -1, "");
    report("multiply-adds, all threads: the peak", peak * 1e-9, "GFLOP/s", -1, "");
    report("memory read, all threads", bandwidth * 1e-9, "GB/s", -1, "");
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
    {1, 768, 768}, {7, 768, 768}, {33, 768, 768},          /* odd heights: not in the mean */
};
enum { SHAPES = sizeof SHAPE / sizeof *SHAPE, MEAN_SHAPES = 9 };

/* C [m,n] (+)= A B as a BLAS wants it, all row-major. */
typedef struct {
    int a_turned, b_turned;
    size_t m, n, k, a_step, b_step;
    const dual_real *a, *b;
    dual_real beta, *c;
} gemm;

typedef struct {
    dual_ctx c;
    dual_tensor *x, *w;
    node *linear;                      /* backward forms: the recorded dual_linear */
    int layout;
    gemm g;
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
    gemm *g = &j->g;
    memset(g, 0, sizeof *g);
    if (form == DW) {                  /* [in,out] = X^T dY, or [out,in] = dY^T X */
        g->a_turned = 1;
        g->m = out_in ? out : in; g->n = out_in ? in : out; g->k = rows;
        g->a = out_in ? y->grad : j->x->data; g->a_step = g->m;
        g->b = out_in ? j->x->data : y->grad; g->b_step = g->n;
        g->c = j->w->grad;
    } else {                           /* X W, or dY W^T */
        g->b_turned = form == DX ? !out_in : out_in;
        g->m = rows; g->n = form == DX ? in : out; g->k = form == DX ? out : in;
        g->a = form == DX ? y->grad : j->x->data; g->a_step = g->k;
        g->b = j->w->data; g->b_step = out_in ? in : out;
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
    const gemm *g = &j->g;
    cblas_sgemm(CblasRowMajor, g->a_turned ? CblasTrans : CblasNoTrans,
                g->b_turned ? CblasTrans : CblasNoTrans, (int)g->m, (int)g->n, (int)g->k, 1, g->a,
                (int)g->a_step, g->b, (int)g->b_step, g->beta, g->c, (int)g->n);
}
#endif
#ifdef PEER_ONEDNN
static void run_onednn(product_job *j) {
    const gemm *g = &j->g;
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
    const gemm *g = &j->g;
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
    const double begin = dual_seconds();
    for (size_t i = 0; i < calls; i++) LIBRARY[which].run(j);
    return (dual_seconds() - begin) / (double)calls;
}

/* A peer's speed, and dual's share of it, on the line that is begun. */
static void keep_peer(const char *name, double rate, double share, const char *peer) {
    char full[64];
    snprintf(full, sizeof full, "%.40s, %s", name, peer);
    keep(full, rate * 1e-9, "GFLOP/s", share, peer);
    fprintf(table(), "  %5.1f %% of %s", 100 * share, peer);
}

static void bench_matmul(void) {
    enum { ROUNDS = 9 };
    double log_rate[FORMS] = {0}, log_ratio[FORMS] = {0}, least = HUGE_VAL;
    char name[64], least_name[64] = "";
    head("dual_linear forward and backward; rows x in x out");
    for (size_t s = 0; s < SHAPES; s++)
        for (int form = 0; form < FORMS; form++) {
            const size_t rows = SHAPE[s].rows, in = SHAPE[s].in, out = SHAPE[s].out;
            const double flops = 2.0 * (double)rows * (double)in * (double)out;
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
            double seconds[LIBRARIES][ROUNDS], pair[LIBRARIES][ROUNDS], ratio = HUGE_VAL;
            const size_t rounds = quick ? 3 : ROUNDS;
            for (size_t r = 0; r < rounds; r++) {
                for (size_t l = 0; l < LIBRARIES; l++) { /* there and back */
                    const size_t which = r % 2 ? LIBRARIES - 1 - l : l;
                    seconds[which][r] = time_library(&j, which, calls);
                }
                for (size_t l = 0; l < LIBRARIES; l++) pair[l][r] = seconds[l][r] / seconds[0][r];
            }
            snprintf(name, sizeof name, "%-9s %4zu x %4zu x %5zu", FORM[form], rows, in, out);
            const double rate = flops / median(seconds[0], rounds);
            begin_line(name, rate * 1e-9, "GFLOP/s", rate / peak, "peak");
            for (size_t l = 1; l < LIBRARIES; l++) {
                const double m = median(pair[l], rounds);
                keep_peer(name, flops / median(seconds[l], rounds), m, LIBRARY[l].name);
                if (m < ratio) ratio = m;
            }
            end_line();
            if (s >= MEAN_SHAPES) continue;
            log_rate[form] += log(rate) / MEAN_SHAPES;
            log_ratio[form] += log(ratio) / MEAN_SHAPES;
            if (ratio < least) {
                least = ratio;
                snprintf(least_name, sizeof least_name, "%s", name);
            }
        }
    double rate = 0, ratio = 0;
    for (int form = 0; form <= FORMS; form++) {    /* the last line is the mean of all forms */
        const double r = form < FORMS ? log_rate[form] : rate;
        const double q = form < FORMS ? log_ratio[form] : ratio;
        snprintf(name, sizeof name, "mean of %s", form < FORMS ? FORM[form] : "all");
        begin_line(name, exp(r) * 1e-9, "GFLOP/s", exp(r) / peak, "peak");
        if (LIBRARIES > 1) keep_peer(name, exp(r) / exp(q), exp(q), "the better peer");
        end_line();
        if (form == FORMS) break;
        rate += r / FORMS;
        ratio += q / FORMS;
    }
    if (LIBRARIES > 1) {
        fprintf(table(), "  least: %s, %.1f %% of the better peer\n", least_name,
                100 * least);
        keep("least", least, "", least, "the better peer");
    }
}

/* ---- Options --------------------------------------------------------------------------------- */

static const struct { const char *name; void (*run)(void); } SECTION[] = {
    {"machine", bench_machine}, {"matmul", bench_matmul},
};
enum { SECTIONS = sizeof SECTION / sizeof *SECTION };

static int usage(void) {
    fprintf(stderr, "usage: bench [--only SECTION] [--quick] [--json]; sections:");
    for (size_t i = 0; i < SECTIONS; i++) fprintf(stderr, " %s", SECTION[i].name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv) {
    size_t only = SECTIONS;
    run_spin_briefly(argv);            /* as ./train does: its figures shall be these */
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) quick = 1;
        else if (!strcmp(argv[i], "--json")) json = 1;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
            for (only = 0, i++; only < SECTIONS && strcmp(argv[i], SECTION[only].name);) only++;
            if (only == SECTIONS) return usage();
        } else return usage();
    }
    for (size_t i = 0; i < SECTIONS; i++) {        /* the limits are needed by every section */
        if (only != SECTIONS && i != 0 && i != only) continue;
        section = SECTION[i].name;
        SECTION[i].run();
    }
    if (json) print_json();
    drop_block();
    return 0;
}
