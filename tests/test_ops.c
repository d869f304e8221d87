/* test_ops.c - every operation of dual.h by itself: gradients against central differences (in the
 * double build, within 1e-6), values against naive loops, odd sizes and numbers, weights of 16
 * bits, wrong shapes.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_ops.c dual.c -lm -o test_ops && ./test_ops */
#include "check.h"

static dual_ctx ctx;

/* ---- the gradient harness -------------------------------------------------------------------- */

enum { MOST = 80, CLASSES = 7, MOST_INPUTS = 8, PAD_ROWS = 2, PAD_COLS = 3 };
enum { WHOLE, ON_VIEWS };          /* inputs: the owners themselves, or views into wider ones */

static int32_t class_of_row[MOST]; /* targets of the objective */

typedef struct { size_t rows, cols; } extent;
typedef dual_tensor *(*builder)(dual_ctx *, dual_tensor *const *in);
typedef struct {
    const char *name;
    builder make;
    size_t n;                      /* inputs */
    extent size[MOST_INPUTS];
} operation;

/* A fixed random projection onto a few logits, then cross-entropy: every element of `out` gets
 * its own upstream gradient, so every entry of the op's Jacobian counts. */
static dual_tensor *objective(dual_ctx *c, dual_tensor *out) {
    if (out->rows == 1 && out->cols == 1) return out;
    dual_tensor *w = check_random(c, out->cols, CLASSES, 5);
    return dual_cross_entropy(c, dual_linear(c, out, w, NULL, DUAL_IN_OUT), class_of_row);
}

static dual_tensor *evaluate(const operation *op, dual_tensor *const *owner, int views) {
    dual_tensor *in[MOST_INPUTS];
    for (size_t i = 0; i < op->n; i++) {
        const extent size = op->size[i];
        in[i] = views ? dual_view(&ctx, owner[i], 1, size.rows, 2, size.cols) : owner[i];
    }
    return objective(&ctx, op->make(&ctx, in));
}

static double loss_of(const operation *op, dual_tensor *const *owner, int views) {
    const dual_mark mark = dual_mark_here(&ctx);
    const double loss = (double)evaluate(op, owner, views)->data[0];
    dual_release(&ctx, mark);
    return loss;
}

/* (f(x+h) - f(x-h)) / 2h for one number of one input. */
static double slope(const operation *op, dual_tensor *const *owner, int views, dual_real *x) {
    const double h = 1e-5;
    const dual_real kept = *x;
    *x = (dual_real)((double)kept + h);
    const double up = loss_of(op, owner, views);
    *x = (dual_real)((double)kept - h);
    const double down = loss_of(op, owner, views);
    *x = kept;
    return (up - down) / (2 * h);
}

static double *new_array(size_t n) {
    double *a = calloc(n ? n : 1, sizeof *a);
    if (!a) check_fatal("out of memory");
    return a;
}

/* Every element of every input, those outside of a view included: their gradient is 0. */
static void differences(const operation *op, int views) {
    const dual_mark start = dual_mark_here(&ctx);
    dual_tensor *owner[MOST_INPUTS] = {NULL};
    for (size_t i = 0; i < op->n; i++) {
        owner[i] = check_random(&ctx, op->size[i].rows + (views ? PAD_ROWS : 0),
                                op->size[i].cols + (views ? PAD_COLS : 0), 100 + i);
        dual_need_grad(&ctx, owner[i]);
    }
    const dual_mark mark = dual_mark_here(&ctx);
    dual_backward(&ctx, evaluate(op, owner, views));
    dual_release(&ctx, mark);
    for (size_t i = 0; i < op->n; i++) {
        dual_tensor *t = owner[i];
        const size_t count = t->rows * t->cols;
        double *found = new_array(count), *expected = new_array(count);
        for (size_t j = 0; j < count; j++) {
            const size_t at = j / t->cols * t->stride + j % t->cols;
            found[j] = (double)t->grad[at];
            expected[j] = slope(op, owner, views, &t->data[at]);
        }
        const double distance = check_distance(found, expected, count, 0);
        check_that(distance <= 1e-6, "%s%s, input %d: expected the central differences within 1e-6,"
                   " got relative distance %.3g", op->name, views ? " on views" : "", (int)i,
                   distance);
        free(found);
        free(expected);
    }
    dual_release(&ctx, start);
}

static void check_gradient(const operation *op) {
    if (!check_in_double()) return;
    differences(op, WHOLE);
    differences(op, ON_VIEWS);
}

/* ---- one builder per case -------------------------------------------------------------------- */

static dual_tensor *make_gather(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t which[] = {2, 0, 1, 1, 0, 2, 0, 1, 2, 2, 0};
    static const int32_t index[] = {0, 4, 2, 2, 0, 0, 4, 1, 1, 0, 3};
    return dual_gather(c, 3, in, 11, which, index);
}

static dual_tensor *make_lookup(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t index[] = {3, 3, 0, 4, 3, 1, 0};
    return dual_gather(c, 1, in, 7, NULL, index);
}

static dual_tensor *make_in_out(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], in[1], NULL, DUAL_IN_OUT);
}

static dual_tensor *make_in_out_bias(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], in[1], in[2], DUAL_IN_OUT);
}

static dual_tensor *make_out_in(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], in[1], NULL, DUAL_OUT_IN);
}

static dual_tensor *make_out_in_bias(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], in[1], in[2], DUAL_OUT_IN);
}

static dual_tensor *make_add(dual_ctx *c, dual_tensor *const *in) {
    return dual_add(c, in[0], in[1]);
}

static dual_tensor *make_add_self(dual_ctx *c, dual_tensor *const *in) {
    return dual_add(c, in[0], in[0]);
}

static dual_tensor *make_residual(dual_ctx *c, dual_tensor *const *in) {
    dual_tensor *x = dual_gelu(c, in[0]);          /* used twice, and not a leaf */
    return dual_add(c, x, dual_linear(c, x, in[1], NULL, DUAL_OUT_IN));
}

static dual_tensor *make_gain(dual_ctx *c, dual_tensor *const *in) {
    return dual_gain(c, in[0], in[1]);
}

static dual_tensor *make_layernorm(dual_ctx *c, dual_tensor *const *in) {
    return dual_layernorm(c, in[0], in[1], in[2], 1e-5);
}

static dual_tensor *make_rmsnorm(dual_ctx *c, dual_tensor *const *in) {
    return dual_rmsnorm(c, in[0], in[1], 1e-6);
}

static dual_tensor *make_gelu(dual_ctx *c, dual_tensor *const *in) {
    return dual_gelu(c, in[0]);
}

static dual_tensor *make_swiglu(dual_ctx *c, dual_tensor *const *in) {
    return dual_swiglu(c, in[0], in[1]);
}

static dual_tensor *make_rotary(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t position[] = {0, 1, 5, 5, 400, 2, 1023};
    return dual_rotary(c, in[0], 6, position, 10000.0);
}

/* The logits are an intermediate result because backward overwrites them. */
static dual_tensor *make_cross_entropy(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t target[] = {12, 0, 7, 7, 3, 12, 1};
    return dual_cross_entropy(c, dual_add(c, in[0], in[1]), target);
}

/* Three lists: a prefix cut differently per row, own rows causally, one that is sometimes empty.
 * Six query heads share three key heads; two segments of unequal length. */
static dual_tensor *make_attention(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin0[] = {0, 0, 0, 0, 5, 5, 6}, end0[] = {4, 5, 5, 3, 11, 9, 8};
    static const int32_t begin1[] = {0, 0, 0, 0, 4, 4, 4}, end1[] = {1, 2, 3, 4, 5, 6, 7};
    static const int32_t begin2[] = {0, 0, 3, 1, 4, 3, 3}, end2[] = {2, 0, 3, 3, 4, 5, 4};
    static const int32_t segment_start[] = {0, 4, 7};
    dual_keys *keys = dual_alloc(c, 3, sizeof *keys);
    keys[0] = (dual_keys){in[1], in[2], begin0, end0};
    keys[1] = (dual_keys){in[3], in[4], begin1, end1};
    keys[2] = (dual_keys){in[5], in[6], begin2, end2};
    return dual_attention(c, in[0], 6, 3, 3, keys, 2, segment_start);
}

/* GPT-2's way: q, k and v are columns of one tensor. */
static dual_tensor *make_fused(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const int32_t end[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, segment_start[] = {0, 11};
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    dual_tensor *k = dual_view(c, in[0], 0, 11, 15, 15), *v = dual_view(c, in[0], 0, 11, 30, 15);
    *keys = (dual_keys){k, v, begin, end};
    return dual_attention(c, dual_view(c, in[0], 0, 11, 0, 15), 3, 3, 1, keys, 1, segment_start);
}

/* The same keys twice in the list: five rows of text, then two groups that see a prefix of the
 * text and themselves - the merged pass. */
static dual_tensor *make_merged(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin0[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const int32_t end0[] = {1, 2, 3, 4, 5, 3, 3, 3, 3, 5, 5, 5, 5};
    static const int32_t begin1[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9, 9, 9};
    static const int32_t end1[] = {5, 5, 5, 5, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    static const int32_t segment_start[] = {0, 13};
    dual_keys *keys = dual_alloc(c, 2, sizeof *keys);
    keys[0] = (dual_keys){in[1], in[2], begin0, end0};
    keys[1] = (dual_keys){in[1], in[2], begin1, end1};
    return dual_attention(c, in[0], 2, 1, 2, keys, 1, segment_start);
}

static int32_t zeros[MOST], causal_end[MOST];

/* More rows than any tile is high; an empty segment at the end. */
static dual_tensor *make_long(dual_ctx *c, dual_tensor *const *in) {
    static int32_t segment_start[] = {0, 67, 67};
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    *keys = (dual_keys){in[1], in[2], zeros, causal_end};
    return dual_attention(c, in[0], 4, 2, 1, keys, 2, segment_start);
}

static dual_tensor *make_one_query(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin[] = {3}, end[] = {37}, segment_start[] = {0, 1};
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    *keys = (dual_keys){in[1], in[2], begin, end};
    return dual_attention(c, in[0], 3, 1, 1, keys, 1, segment_start);
}

/* Views of a leaf that overlap, a view of a view, a view of an intermediate result. */
static dual_tensor *make_views(dual_ctx *c, dual_tensor *const *in) {
    dual_tensor *left = dual_view(c, in[0], 0, 7, 0, 8), *right = dual_view(c, in[0], 0, 7, 5, 8);
    dual_tensor *sum = dual_add(c, left, right);
    dual_tensor *inner = dual_view(c, dual_view(c, sum, 1, 5, 1, 6), 1, 3, 2, 3);
    return dual_add(c, dual_view(c, sum, 0, 3, 0, 3), inner);
}

static dual_tensor *make_orthogonality(dual_ctx *c, dual_tensor *const *in) {
    return dual_orthogonality(c, in[0], 4, 0);
}

static dual_tensor *make_centred(dual_ctx *c, dual_tensor *const *in) {
    return dual_orthogonality(c, in[0], 3, 1);
}

/* An intermediate result with another use: its gradient is added to, and scaled. */
static dual_tensor *make_penalised(dual_ctx *c, dual_tensor *const *in) {
    dual_tensor *z = dual_gelu(c, in[0]), *sum = dual_orthogonality(c, z, 2, 0);
    return dual_add(c, objective(c, z), dual_gain(c, sum, in[1]));
}

static void test_gradients(void) {
    static const operation operations[] = {
        {"cross_entropy", make_cross_entropy, 2, {{7, 13}, {7, 13}}},
        {"linear [in,out]", make_in_out, 2, {{7, 5}, {5, 13}}},
        {"linear [in,out] with bias", make_in_out_bias, 3, {{7, 5}, {5, 13}, {1, 13}}},
        {"linear [out,in]", make_out_in, 2, {{7, 5}, {13, 5}}},
        {"linear [out,in] with bias", make_out_in_bias, 3, {{7, 5}, {13, 5}, {1, 13}}},
        {"larger linear [in,out]", make_in_out_bias, 3, {{37, 41}, {41, 29}, {1, 29}}},
        {"larger linear [out,in]", make_out_in_bias, 3, {{37, 41}, {29, 41}, {1, 29}}},
        {"gather from three", make_gather, 3, {{5, 13}, {3, 13}, {2, 13}}},
        {"gather from one", make_lookup, 1, {{5, 13}}},
        {"add", make_add, 2, {{7, 13}, {7, 13}}},
        {"add to itself", make_add_self, 1, {{7, 13}}},
        {"residual", make_residual, 2, {{7, 13}, {13, 13}}},
        {"gain", make_gain, 2, {{7, 13}, {1, 1}}},
        {"layernorm", make_layernorm, 3, {{7, 13}, {1, 13}, {1, 13}}},
        {"rmsnorm", make_rmsnorm, 2, {{7, 13}, {1, 13}}},
        {"rmsnorm per head", make_rmsnorm, 2, {{7, 15}, {1, 5}}},
        {"gelu", make_gelu, 1, {{7, 13}}},
        {"swiglu", make_swiglu, 2, {{7, 13}, {7, 13}}},
        {"rotary", make_rotary, 1, {{7, 18}}},
        {"attention, three key lists", make_attention, 7,
         {{7, 30}, {11, 15}, {11, 15}, {7, 15}, {7, 15}, {5, 15}, {5, 15}}},
        {"attention, fused q k v", make_fused, 1, {{11, 45}}},
        {"attention, merged groups", make_merged, 3, {{13, 14}, {13, 7}, {13, 7}}},
        {"attention, 67 rows", make_long, 3, {{67, 16}, {67, 8}, {67, 8}}},
        {"attention, one query", make_one_query, 3, {{1, 3}, {41, 1}, {41, 1}}},
        {"views", make_views, 1, {{7, 13}}},
        {"orthogonality", make_orthogonality, 1, {{12, 7}}},
        {"orthogonality, centred", make_centred, 1, {{12, 7}}},
        {"orthogonality as a penalty", make_penalised, 2, {{6, 5}, {1, 1}}}};
    if (!check_in_double())
        printf("float build: finite differences skipped, they need -DDUAL_REAL=double\n");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        check_gradient(&operations[i]);
}

/* ---- gradients: who gets one ----------------------------------------------------------------- */

/* The sum of absolute values. */
static double gradient_size(const dual_tensor *t) {
    double sum = 0;
    for (size_t r = 0; t->grad && r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++) sum += fabs((double)t->grad[r * t->stride + c]);
    return sum;
}

static void through_weight(dual_tensor *x, dual_tensor *weight) {
    dual_backward(&ctx, objective(&ctx, dual_linear(&ctx, x, weight, NULL, DUAL_IN_OUT)));
}

static void frozen_weight(dual_tensor *x, dual_tensor *frozen) {
    through_weight(x, frozen);
    check_that(gradient_size(x) > 0, "gradient through a frozen weight: expected some, got none");
    check_that(!frozen->grad, "frozen weight: expected no gradient array, got one");
    check_that(!frozen->needs_grad, "frozen weight: expected needs_grad 0");
}

/* Backward adds: a second identical run doubles every element, and what the first has left on the
 * tape takes no part in it. */
static void backward_adds(dual_tensor *x, dual_tensor *frozen) {
    const size_t n = x->rows * x->cols;
    double *once = new_array(n), worst = 0;
    for (size_t i = 0; i < n; i++) once[i] = (double)x->grad[i];
    through_weight(x, frozen);
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)x->grad[i] - 2 * once[i]));
    check_close(worst, 0, check_limit(1e-15, 1e-7), "two backward runs: twice the gradient");
    free(once);
}

/* Detach: the same value, no gradient. */
static void detached(dual_tensor *x, dual_tensor *y) {
    const double before = gradient_size(x);
    dual_tensor *d = dual_detach(&ctx, x), *sum = dual_add(&ctx, d, y);
    check_that(d->rows == 7 && d->cols == 13 && d->data[20] == x->data[20] && !d->needs_grad,
               "detach: expected the same data and needs_grad 0");
    dual_backward(&ctx, objective(&ctx, sum));
    check_close(gradient_size(x), before, 0, "detach: no gradient reaches the tensor behind it");
    check_that(gradient_size(y) > 0, "detach: expected the other summand to get its gradient");
}

static void test_flow(void) {
    const dual_mark mark = dual_mark_here(&ctx);
    dual_tensor *x = check_random(&ctx, 7, 13, 1), *y = check_random(&ctx, 7, 13, 2);
    dual_tensor *frozen = check_random(&ctx, 13, 5, 3);
    dual_need_grad(&ctx, x);
    dual_need_grad(&ctx, y);
    check_that(x->grad && gradient_size(x) == 0, "need_grad: expected a zero gradient array");
    frozen_weight(x, frozen);
    backward_adds(x, frozen);
    detached(x, y);

    dual_tensor *untrained = check_random(&ctx, 7, 13, 4);
    struct dual_node *tape = ctx.tape;
    dual_tensor *loss = objective(&ctx, dual_gelu(&ctx, untrained));
    check_that(ctx.tape == tape, "untrained inputs: expected nothing on the tape");
    check_that(!loss->needs_grad, "untrained inputs: expected a loss without needs_grad");
    dual_release(&ctx, mark);
    check_that(ctx.used == mark.used && ctx.tape == mark.tape,
               "release: expected the mark's state");
}

/* ---- values: orthogonality ------------------------------------------------------------------- */

static int all_finite(const dual_tensor *t, const dual_real *a) {
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            if (!isfinite((double)a[r * t->stride + c])) return 0;
    return 1;
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The numbers of [groups, slots, d]; centred: minus, slot by slot, the mean over the groups. */
static double *latents_of(const dual_tensor *z, size_t slots, int centred) {
    const size_t d = z->cols, groups = z->rows / slots;
    double *x = new_array(z->rows * d);
    for (size_t i = 0; i < z->rows; i++)
        for (size_t k = 0; k < d; k++) {
            double mean = 0;
            for (size_t g = 0; g < groups; g++)
                mean += (double)z->data[(g * slots + i % slots) * d + k] / (double)groups;
            x[i * d + k] = (double)z->data[i * d + k] - (centred ? mean : 0);
        }
    return x;
}

/* Mean of squared cosines, written out: every pair of a group twice. */
static double squared_cosines(const dual_tensor *z, size_t slots, int centred) {
    const size_t groups = z->rows / slots, d = z->cols;
    double *x = latents_of(z, slots, centred), sum = 0;
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < slots; i++)
            for (size_t j = 0; j < slots; j++) {
                const double *a = x + (g * slots + i) * d, *b = x + (g * slots + j) * d;
                const double ab = dot(a, b, d);
                if (i != j) sum += ab * ab / (dot(a, a, d) * dot(b, b, d));
            }
    free(x);
    return sum / (double)(groups * slots * (slots - 1));
}

/* What is nothing once it is centred has no penalty, and no gradient that is not a number. */
static void centred_to_nothing(dual_tensor *z, size_t slots, const char *what) {
    dual_need_grad(&ctx, z);
    dual_tensor *loss = dual_orthogonality(&ctx, z, slots, 1);
    dual_backward(&ctx, loss);
    check_close((double)loss->data[0], 0, 0, "orthogonality of %s, centred", what);
    check_close(gradient_size(z), 0, 0, "orthogonality of %s, centred: gradient", what);
}

static double orthogonality_of(dual_tensor *z, size_t slots, int centred) {
    return (double)dual_orthogonality(&ctx, z, slots, centred)->data[0];
}

static void test_orthogonality(void) {
    const dual_mark mark = dual_mark_here(&ctx);
    const double limit = check_limit(1e-14, 1e-6);
    dual_tensor *z = check_random(&ctx, 12, 7, 8), *one = check_random(&ctx, 3, 7, 9);
    for (int centred = 0; centred < 2; centred++)
        check_close(orthogonality_of(z, 4, centred), squared_cosines(z, 4, centred), limit,
                    "orthogonality of three groups, centred %d", centred);
    check_that(fabs(squared_cosines(z, 4, 1) - squared_cosines(z, 4, 0)) > 1e-3,
               "orthogonality: expected the forms to differ");
    centred_to_nothing(one, 3, "one group");
    for (size_t r = 4; r < 12; r++)                /* their mean is theirs but for rounding */
        memcpy(z->data + r * 7, z->data + (r - 4) * 7, 7 * sizeof *z->data);
    centred_to_nothing(z, 4, "equal groups");
    for (size_t r = 0; r < 3; r++)                 /* parallel and opposite rows, any length */
        for (size_t c = 0; c < 7; c++)
            one->data[r * 7 + c] = (dual_real)(r == 1 ? -2 : 1) * one->data[c];
    check_close(orthogonality_of(one, 3, 0), 1, limit, "orthogonality of one direction");
    for (size_t r = 0; r < 3; r++)
        for (size_t c = 0; c < 7; c++) one->data[r * 7 + c] = (dual_real)(c == r ? 3 : 0);
    check_close(orthogonality_of(one, 3, 0), 0, 0, "orthogonality of three axes");
    dual_release(&ctx, mark);
}

/* ---- values: activations, norms, rotary ------------------------------------------------------ */

static void test_activations(void) {
    enum { ROWS = 401 };
    static const int32_t target[ROWS];
    const dual_mark mark = dual_mark_here(&ctx);
    const double limit = check_limit(1e-13, 2e-5);
    dual_tensor *x = dual_tensor_new(&ctx, ROWS, 2), *ones = dual_tensor_new(&ctx, ROWS, 2);
    for (int i = 0; i < ROWS; i++) {
        x->data[2 * i] = (dual_real)((i - 200) * 0.5);
        x->data[2 * i + 1] = (dual_real)((i - 200) * 0.013);
        ones->data[2 * i] = 1;
        ones->data[2 * i + 1] = 1;
    }
    dual_need_grad(&ctx, x);
    dual_tensor *y = dual_gelu(&ctx, x), *z = dual_swiglu(&ctx, x, ones);
    double worst_gelu = 0, worst_silu = 0;
    for (int i = 0; i < 2 * ROWS; i++) {
        const double v = (double)x->data[i], sqrt_2_over_pi = 0.79788456080286535588;
        const double gelu = 0.5 * v * (1 + tanh(sqrt_2_over_pi * (v + 0.044715 * v * v * v)));
        worst_gelu = fmax(worst_gelu, fabs((double)y->data[i] - gelu));
        worst_silu = fmax(worst_silu, fabs((double)z->data[i] - v / (1 + exp(-v))));
    }
    check_close(worst_gelu, 0, limit, "gelu, |x| <= 100");
    check_close(worst_silu, 0, limit, "swiglu with up = 1, |x| <= 100");
    check_that(all_finite(y, y->data), "gelu, |x| <= 100: expected finite values");
    check_that(all_finite(z, z->data), "swiglu, |x| <= 100: expected finite values");
    dual_backward(&ctx, dual_cross_entropy(&ctx, dual_add(&ctx, y, z), target));
    check_that(all_finite(x, x->grad), "gelu and swiglu, |x| <= 100: expected finite gradients");
    dual_release(&ctx, mark);
}

/* Three rows of twelve: for rmsnorm and rotary two heads of six. */
enum { NORM_ROWS = 3, NORM_COLS = 12, NORM_HEADS = 2, NORM_HEAD_DIM = 6 };
static const double norm_eps = 0.01;

static double layernorm_error(const dual_tensor *x, const dual_tensor *w, const dual_tensor *b,
                              const dual_tensor *y) {
    double worst = 0;
    for (size_t r = 0; r < NORM_ROWS; r++) {
        const dual_real *v = x->data + r * NORM_COLS;
        double mean = 0, variance = 0;
        for (size_t c = 0; c < NORM_COLS; c++) mean += (double)v[c] / NORM_COLS;
        for (size_t c = 0; c < NORM_COLS; c++) variance += pow((double)v[c] - mean, 2) / NORM_COLS;
        for (size_t c = 0; c < NORM_COLS; c++) {
            const double normed = ((double)v[c] - mean) / sqrt(variance + norm_eps);
            const double expected = normed * (double)w->data[c] + (double)b->data[c];
            worst = fmax(worst, fabs(expected - (double)y->data[r * y->stride + c]));
        }
    }
    return worst;
}

static double rmsnorm_error(const dual_tensor *x, const dual_tensor *w, const dual_tensor *y) {
    double worst = 0;
    for (size_t r = 0; r < NORM_ROWS; r++)
        for (size_t h = 0; h < NORM_HEADS; h++) {
            const dual_real *v = x->data + r * NORM_COLS + h * NORM_HEAD_DIM;
            const dual_real *got = y->data + r * y->stride + h * NORM_HEAD_DIM;
            double square = 0;
            for (size_t c = 0; c < NORM_HEAD_DIM; c++)
                square += (double)v[c] * (double)v[c] / NORM_HEAD_DIM;
            for (size_t c = 0; c < NORM_HEAD_DIM; c++) {
                const double expected = (double)v[c] / sqrt(square + norm_eps) * (double)w->data[c];
                worst = fmax(worst, fabs(expected - (double)got[c]));
            }
        }
    return worst;
}

/* Numbers c and c + half of a head are turned by position theta^(-2c / head_dim). */
static double rotary_error(const dual_tensor *x, const int32_t *position, double theta,
                           const dual_tensor *y) {
    const size_t half = NORM_HEAD_DIM / 2;
    double worst = 0;
    for (size_t r = 0; r < NORM_ROWS; r++)
        for (size_t h = 0; h < NORM_HEADS; h++)
            for (size_t c = 0; c < half; c++) {
                const dual_real *v = x->data + r * NORM_COLS + h * NORM_HEAD_DIM;
                const dual_real *got = y->data + r * y->stride + h * NORM_HEAD_DIM;
                const double low = (double)v[c], high = (double)v[c + half];
                const double angle = position[r] * pow(theta, -2.0 * (double)c / NORM_HEAD_DIM);
                const double a = low * cos(angle) - high * sin(angle);
                const double b = high * cos(angle) + low * sin(angle);
                worst = fmax(worst, fabs(a - (double)got[c]));
                worst = fmax(worst, fabs(b - (double)got[c + half]));
            }
    return worst;
}

static void test_norms_and_rotary(void) {
    static const int32_t position[NORM_ROWS] = {0, 3, 1021};
    const dual_mark mark = dual_mark_here(&ctx);
    const double limit = check_limit(1e-13, 1e-5), theta = 10000;
    dual_tensor *x = check_random(&ctx, NORM_ROWS, NORM_COLS, 1);
    dual_tensor *w = check_random(&ctx, 1, NORM_COLS, 2), *b = check_random(&ctx, 1, NORM_COLS, 3);
    dual_tensor *per_head = check_random(&ctx, 1, NORM_HEAD_DIM, 4);
    check_close(layernorm_error(x, w, b, dual_layernorm(&ctx, x, w, b, norm_eps)), 0, limit,
                "layernorm: biased variance, eps inside the root");
    check_close(rmsnorm_error(x, per_head, dual_rmsnorm(&ctx, x, per_head, norm_eps)), 0, limit,
                "rmsnorm per head");
    /* a float program may keep the angle in float: 1021 radians are then known to 6e-5 */
    dual_tensor *turned = dual_rotary(&ctx, x, NORM_HEAD_DIM, position, theta);
    check_close(rotary_error(x, position, theta, turned), 0, check_limit(1e-11, 4e-4),
                "rotary: half-split pairs");
    dual_release(&ctx, mark);
}

/* ---- values: attention ----------------------------------------------------------------------- */

/* Heads of a query, how many of them share one key head, numbers of a head. */
typedef struct { size_t heads, share, head_dim; } head_layout;

static double score(const dual_tensor *q, size_t r, const dual_tensor *k, size_t row, size_t head,
                    head_layout layout) {
    const dual_real *a = q->data + r * q->stride + head * layout.head_dim;
    const dual_real *b = k->data + row * k->stride + head / layout.share * layout.head_dim;
    double sum = 0;
    for (size_t c = 0; c < layout.head_dim; c++) sum += (double)a[c] * (double)b[c];
    return sum / sqrt((double)layout.head_dim);
}

/* One number of one row's output: all keys of all lists in one softmax. */
static double attend(const dual_tensor *q, size_t r, size_t head, head_layout layout, size_t n,
                     const dual_keys *keys, size_t col) {
    double top = -HUGE_VAL, sum = 0, value = 0;
    for (size_t i = 0; i < n; i++)
        for (int32_t row = keys[i].begin[r]; row < keys[i].end[r]; row++)
            top = fmax(top, score(q, r, keys[i].k, (size_t)row, head, layout));
    for (size_t i = 0; i < n; i++)
        for (int32_t row = keys[i].begin[r]; row < keys[i].end[r]; row++) {
            const dual_tensor *v = keys[i].v;
            const size_t at = head / layout.share * layout.head_dim + col;
            const double weight = exp(score(q, r, keys[i].k, (size_t)row, head, layout) - top);
            sum += weight;
            value += weight * (double)v->data[(size_t)row * v->stride + at];
        }
    return value / sum;
}

static double attention_error(const dual_tensor *q, head_layout layout, size_t n,
                              const dual_keys *keys, const dual_tensor *out) {
    double worst = 0;
    for (size_t r = 0; r < q->rows; r++)
        for (size_t h = 0; h < layout.heads; h++)
            for (size_t c = 0; c < layout.head_dim; c++) {
                const double got = (double)out->data[r * out->stride + h * layout.head_dim + c];
                worst = fmax(worst, fabs(attend(q, r, h, layout, n, keys, c) - got));
            }
    return worst;
}

static void set_all(dual_tensor *t, double value) {
    for (size_t i = 0; i < t->rows * t->cols; i++) t->data[i] = (dual_real)value;
}

/* All scores hugely negative (sign -1), or hugely positive, and equal: the mean of the values seen.
 * The last query sees the six rows of the first list. */
static void huge_scores(const dual_keys keys[2], const int32_t *segment_start, int sign) {
    dual_tensor *q = dual_tensor_new(&ctx, 5, 24);
    set_all(q, 1e12);
    set_all(keys[0].k, sign * 1e12);
    set_all(keys[1].k, sign * 1e12);
    dual_need_grad(&ctx, q);
    dual_tensor *out = dual_attention(&ctx, q, 4, 2, 2, keys, 1, segment_start);
    check_that(all_finite(out, out->data), "attention, scores %de24: expected finite values", sign);
    double mean = 0;
    for (size_t row = 0; row < 6; row++)
        mean += (double)keys[0].v->data[row * keys[0].v->stride] / 6;
    check_close((double)out->data[4 * out->stride], mean, check_limit(1e-13, 1e-5),
                "attention, equal scores %de24: the mean", sign);
    dual_backward(&ctx, objective(&ctx, out));
    check_that(all_finite(q, q->grad), "attention, scores %de24: expected finite gradients", sign);
}

static void test_attention_values(void) {
    static const int32_t begin0[] = {0, 1, 0, 2, 0}, end0[] = {3, 4, 0, 6, 6};
    static const int32_t begin1[] = {2, 0, 0, 5, 0}, end1[] = {9, 1, 9, 5, 0};
    static const int32_t segment_start[] = {0, 5};
    const head_layout layout = {.heads = 4, .share = 2, .head_dim = 6};
    const dual_mark mark = dual_mark_here(&ctx);
    dual_tensor *q = check_random(&ctx, 5, 24, 1);
    dual_tensor *k0 = check_random(&ctx, 6, 12, 2), *v0 = check_random(&ctx, 6, 12, 3);
    dual_tensor *k1 = check_random(&ctx, 9, 12, 4), *v1 = check_random(&ctx, 9, 12, 5);
    const dual_keys keys[2] = {{k0, v0, begin0, end0}, {k1, v1, begin1, end1}};
    dual_tensor *out = dual_attention(&ctx, q, 4, 2, 2, keys, 1, segment_start);
    check_close(attention_error(q, layout, 2, keys, out), 0, check_limit(1e-13, 1e-5),
                "attention against a naive loop");
    huge_scores(keys, segment_start, -1);
    huge_scores(keys, segment_start, 1);
    dual_release(&ctx, mark);
}

/* Heads as wide as may be, more rows and keys than a block: a product there is many strips wide. */
static void test_attention_wide(void) {
    enum { ROWS = 70, WIDE = 256 };
    static const int32_t segment_start[] = {0, ROWS};
    const head_layout layout = {.heads = 1, .share = 1, .head_dim = WIDE};
    const dual_mark mark = dual_mark_here(&ctx);
    dual_tensor *q = check_random(&ctx, ROWS, WIDE, 1);
    dual_tensor *k = check_random(&ctx, ROWS, WIDE, 2), *v = check_random(&ctx, ROWS, WIDE, 3);
    const dual_keys keys = {k, v, zeros, causal_end};
    dual_tensor *out = dual_attention(&ctx, q, 1, 1, 1, &keys, 1, segment_start);
    check_close(attention_error(q, layout, 1, &keys, out), 0, check_limit(1e-13, 1e-5),
                "attention, heads of 256, by a naive loop");
    dual_release(&ctx, mark);
}

/* ---- values: cross-entropy ------------------------------------------------------------------- */

/* Four rows of five logits, each row at one level; backward through it. */
static dual_tensor *loss_at_levels(const double level[4], dual_tensor *x) {
    static const int32_t target[] = {2, 0, 4, 1};
    dual_tensor *zero = dual_tensor_new(&ctx, 4, 5);
    set_all(zero, 0);
    for (size_t i = 0; i < 20; i++) x->data[i] = (dual_real)level[i / 5];
    dual_need_grad(&ctx, x);
    dual_tensor *loss = dual_cross_entropy(&ctx, dual_add(&ctx, x, zero), target);
    check_that(loss->rows == 1 && loss->cols == 1, "cross_entropy: expected a [1,1] loss");
    check_that(all_finite(loss, loss->data), "cross_entropy: expected a finite loss");
    dual_backward(&ctx, loss);
    check_that(all_finite(x, x->grad), "cross_entropy: expected finite gradients");
    return loss;
}

static void test_cross_entropy(void) {
    static const double large[] = {-700, 0, 40, 600}, absurd[] = {-1e30, 1e30, -1e4, 0};
    const dual_mark mark = dual_mark_here(&ctx);
    dual_tensor *x = dual_tensor_new(&ctx, 4, 5), *loss = loss_at_levels(large, x);
    check_close((double)loss->data[0], log(5.0), check_limit(1e-12, 1e-4),
                "cross_entropy of equal logits");
    check_close((double)x->grad[2], (0.2 - 1) / 4, check_limit(1e-13, 1e-5),
                "cross_entropy: gradient at the target is (p - 1) / rows");
    check_close((double)x->grad[3], 0.2 / 4, check_limit(1e-13, 1e-5),
                "cross_entropy: gradient elsewhere is p / rows");
    loss_at_levels(absurd, dual_tensor_new(&ctx, 4, 5));   /* too large to be exact */
    dual_release(&ctx, mark);
}

/* ---- matmul at awkward sizes ----------------------------------------------------------------- */

/* |want - got| over the size of both. */
static double relative(const double *want, const dual_real *got, size_t rows, size_t cols,
                       size_t stride) {
    double apart = 0, size = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            const double w = want[r * cols + c], g = (double)got[r * stride + c];
            apart += (w - g) * (w - g);
            size += w * w + g * g;
        }
    return size > 0 ? sqrt(apart / size) : sqrt(apart);
}

/* Y [m,n] = X [m,k] W + b, then three logits of Y through V, whose first is the target. X, W and
 * their gradients are views of owners with wider rows, so every kernel runs with strides. */
enum { LOGITS = 3 };
typedef struct {
    size_t m, n, k, w_rows, w_cols;
    int layout;
    dual_tensor *x_owner, *w_owner, *x, *w, *b, *v, *bare, *y, *logits;
} product;

static double weight_at(const product *p, size_t in, size_t out) {
    const size_t at = p->layout == DUAL_IN_OUT ? in * p->w->stride + out : out * p->w->stride + in;
    return (double)p->w->data[at];
}

static void product_make(product *p, size_t m, size_t n, size_t k, int layout) {
    const int in_out = layout == DUAL_IN_OUT;
    *p = (product){.m = m, .n = n, .k = k, .w_rows = in_out ? k : n, .w_cols = in_out ? n : k,
                   .layout = layout};
    p->x_owner = check_random(&ctx, m + 1, k + 3, 1);
    p->w_owner = check_random(&ctx, p->w_rows + 1, p->w_cols + 5, 2);
    p->b = check_random(&ctx, 1, n, 3);
    p->v = check_random(&ctx, n, LOGITS, 4);
    for (size_t i = 0; i < LOGITS * n; i++)        /* logits of size 1: no softmax saturates */
        p->v->data[i] /= (dual_real)sqrt((double)(n * k));
    p->x = dual_view(&ctx, p->x_owner, 1, m, 2, k);
    p->w = dual_view(&ctx, p->w_owner, 1, p->w_rows, 4, p->w_cols);
    p->bare = dual_linear(&ctx, p->x, p->w, NULL, layout); /* C = A B, not C += A B */
    dual_need_grad(&ctx, p->x_owner);
    dual_need_grad(&ctx, p->w_owner);
    dual_need_grad(&ctx, p->b);
    p->x = dual_view(&ctx, p->x_owner, 1, m, 2, k);
    p->w = dual_view(&ctx, p->w_owner, 1, p->w_rows, 4, p->w_cols);
    p->y = dual_linear(&ctx, p->x, p->w, p->b, layout);
    p->logits = dual_linear(&ctx, p->y, p->v, NULL, DUAL_IN_OUT);
}

/* dY by the formula of cross-entropy: (softmax - one-hot) / rows, through V. */
static double *product_dy(const product *p) {
    double *dy = new_array(p->m * p->n);
    for (size_t i = 0; i < p->m; i++) {
        const dual_real *logit = p->logits->data + i * p->logits->stride;
        double sum = 0;
        for (size_t l = 0; l < LOGITS; l++) sum += exp((double)logit[l] - (double)logit[0]);
        for (size_t l = 0; l < LOGITS; l++) {
            const double softmax = exp((double)logit[l] - (double)logit[0]) / sum;
            const double d = (softmax - (l == 0)) / (double)p->m;
            for (size_t j = 0; j < p->n; j++)
                dy[i * p->n + j] += d * (double)p->v->data[j * p->v->stride + l];
        }
    }
    return dy;
}

/* The larger error of Y without its bias and with it. */
static double error_of_y(const product *p) {
    double *y = new_array(p->m * p->n);
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++)
            for (size_t q = 0; q < p->k; q++)
                y[i * p->n + j] += (double)p->x->data[i * p->x->stride + q] * weight_at(p, q, j);
    const double bare = relative(y, p->bare->data, p->m, p->n, p->bare->stride);
    for (size_t i = 0; i < p->m * p->n; i++) y[i] += (double)p->b->data[i % p->n];
    const double error = fmax(bare, relative(y, p->y->data, p->m, p->n, p->y->stride));
    free(y);
    return error;
}

static double error_of_dx(const product *p, const double *dy) {
    const dual_tensor *owner = p->x_owner;
    double *dx = new_array(p->m * p->k);
    for (size_t i = 0; i < p->m; i++)
        for (size_t q = 0; q < p->k; q++)
            for (size_t j = 0; j < p->n; j++)
                dx[i * p->k + q] += dy[i * p->n + j] * weight_at(p, q, j);
    double error = relative(dx, owner->grad + owner->stride + 2, p->m, p->k, owner->stride);
    for (size_t i = 0; i < owner->stride; i++)     /* outside of the view nothing is written */
        if (owner->grad[i] != 0) error = 1;
    free(dx);
    return error;
}

static double error_of_dw(const product *p, const double *dy) {
    const dual_tensor *owner = p->w_owner;
    double *dw = new_array(p->w_rows * p->w_cols);
    for (size_t i = 0; i < p->m; i++)
        for (size_t q = 0; q < p->k; q++)
            for (size_t j = 0; j < p->n; j++)
                dw[p->layout == DUAL_IN_OUT ? q * p->n + j : j * p->k + q] +=
                    dy[i * p->n + j] * (double)p->x->data[i * p->x->stride + q];
    double error = relative(dw, owner->grad + owner->stride + 4, p->w_rows, p->w_cols,
                            owner->stride);
    for (size_t i = 0; i < owner->rows; i++) {     /* beside the view nothing is written */
        const dual_real *row = owner->grad + i * owner->stride;
        if (row[3] != 0 || row[4 + p->w_cols] != 0) error = 1;
    }
    free(dw);
    return error;
}

static double error_of_db(const product *p, const double *dy) {
    double *db = new_array(p->n);
    for (size_t i = 0; i < p->m * p->n; i++) db[i % p->n] += dy[i];
    const double error = relative(db, p->b->grad, 1, p->n, p->b->stride);
    free(db);
    return error;
}

/* Y = X W + b and its gradients against triple loops. Cancellation in the softmax can leave few
 * digits of a single small gradient in float. */
static void check_product(size_t m, size_t n, size_t k, int layout) {
    static const int32_t target[300];
    const dual_mark mark = dual_mark_here(&ctx);
    const double limit = check_limit(1e-12, 2e-5);
    product p;
    product_make(&p, m, n, k, layout);
    double *dy = product_dy(&p);
    const double y = error_of_y(&p);
    dual_backward(&ctx, dual_cross_entropy(&ctx, p.logits, target));
    const double dx = error_of_dx(&p, dy), dw = error_of_dw(&p, dy), db = error_of_db(&p, dy);
    check_that(y <= limit && dx <= limit && dw <= limit && db <= limit,
               "matmul rows %d, cols %d, K %d, layout %d: expected within %g,"
               " got y %.2g dX %.2g dW %.2g db %.2g", (int)m, (int)n, (int)k, layout, limit,
               y, dx, dw, db);
    free(dy);
    dual_release(&ctx, mark);
}

static void test_matmul(void) {
    static const size_t rows[] = {1, 7, 33}, depth[] = {1, 5, 64, 130, 300};
    for (int layout = DUAL_IN_OUT; layout <= DUAL_OUT_IN; layout++) {
        for (size_t m = 0; m < 3; m++)
            for (size_t k = 0; k < 5; k++)
                for (size_t n = 1; n <= 70; n++) check_product(rows[m], n, depth[k], layout);
        dual_threads(4);                           /* large enough to be shared out */
        check_product(257, 133, 271, layout);
        check_product(64, 1031, 67, layout);
        check_product(5, 3, 1037, layout);
        check_product(33, 20, 8, layout);  /* dX: one whole strip of columns, added to */
        check_product(33, 20, 16, layout);
        dual_threads(1);
        check_product(33, 300, 300, layout); /* few rows: columns packed in three goes, twice */
    }
}

/* ---- weights of 16 bits ---------------------------------------------------------------------- */

/* A [rows, cols] table of arbitrary normal 16-bit numbers, and in `full` the same as reals. */
static dual_tensor *sixteen_bit_table(size_t rows, size_t cols, int type, dual_tensor **full) {
    const unsigned mantissa_bits = type == DUAL_F16 ? 10 : 7, bias = type == DUAL_F16 ? 15 : 127;
    dual_tensor *t = dual_alloc(&ctx, 1, sizeof *t);
    *t = (dual_tensor){.rows = rows, .cols = cols, .stride = cols, .type = type};
    t->half = dual_alloc(&ctx, rows * cols, sizeof *t->half);
    *full = dual_tensor_new(&ctx, rows, cols);
    dual_rng rng = dual_rng_seed(rows, (uint64_t)type);
    for (size_t i = 0; i < rows * cols; i++) {     /* 1/16 to 2, either sign */
        const unsigned down = (unsigned)dual_rng_below(&rng, 5);
        const unsigned sign = (unsigned)dual_rng_below(&rng, 2);
        const unsigned mantissa = (unsigned)dual_rng_below(&rng, (size_t)1 << mantissa_bits);
        t->half[i] = (uint16_t)(sign << 15 | (bias - down) << mantissa_bits | mantissa);
        const double size = ldexp(1 + ldexp(mantissa, -(int)mantissa_bits), -(int)down);
        (*full)->data[i] = (dual_real)(sign ? -size : size);
    }
    return t;
}

/* The weight is no input of the operation: it cannot be trained. */
static dual_tensor *kept_weight;
static int kept_layout;

static dual_tensor *make_with_kept_weight(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], kept_weight, in[1], kept_layout);
}

/* Equal but for rounding: a compiler may fuse multiply and add in one loop and not in the other. */
static int nearly_equal(const dual_real *a, const dual_real *b, size_t n) {
    const double most = check_limit(1e-12, 1e-5);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= most * (1 + fabs((double)b[i])))) return 0;
    return 1;
}

/* y and dX through x W of `rows` rows: those of the same numbers as reals. */
static void same_as_full(dual_tensor *half, dual_tensor *full, size_t rows, int layout) {
    const size_t in = layout == DUAL_OUT_IN ? full->cols : full->rows;
    dual_tensor *x = check_random(&ctx, rows, in, 6), *own[2], *y[2];
    dual_tensor *const weight[2] = {full, half};
    for (int i = 0; i < 2; i++) {
        own[i] = dual_detach(&ctx, x);
        dual_need_grad(&ctx, own[i]);
        y[i] = dual_linear(&ctx, own[i], weight[i], NULL, layout);
        dual_backward(&ctx, objective(&ctx, y[i]));
    }
    check_that(nearly_equal(y[0]->data, y[1]->data, rows * y[0]->cols),
               "type %d, layout %d, %d rows: expected the outputs of the same reals", half->type,
               layout, (int)rows);
    check_that(nearly_equal(own[0]->grad, own[1]->grad, rows * in),
               "type %d, layout %d, %d rows: expected dX of the same reals", half->type, layout,
               (int)rows);
}

static void gather_kept(dual_tensor *half, const dual_tensor *full) {
    static const int32_t which[] = {0, 1, 0, 1, 1}, index[] = {3, 0, 36, 2, 2};
    dual_tensor *other = check_random(&ctx, 3, 29, 8), *const source[2] = {half, other};
    dual_tensor *rows = dual_gather(&ctx, 2, source, 5, which, index);
    size_t wrong = 0;
    for (size_t r = 0; r < 5; r++)
        for (size_t c = 0; c < 29; c++) {
            const dual_tensor *from = which[r] ? other : full;
            wrong += rows->data[r * 29 + c] != from->data[(size_t)index[r] * 29 + c];
        }
    check_size(wrong, 0, "type %d: gathered numbers that differ", half->type);
}

static void train_kept(dual_ctx *c, int unused) {
    (void)unused;
    dual_need_grad(c, kept_weight);
}

static void sixteen_bits(int type) {
    static const operation in_out = {"linear [in,out], 16-bit weight", make_with_kept_weight, 2,
                                     {{7, 37}, {1, 29}}};
    static const operation out_in = {"linear [out,in], 16-bit weight", make_with_kept_weight, 2,
                                     {{7, 29}, {1, 37}}};
    const dual_mark mark = dual_mark_here(&ctx);
    dual_tensor *full, *half = sixteen_bit_table(37, 29, type, &full);
    kept_weight = half;
    kept_layout = DUAL_IN_OUT;
    check_gradient(&in_out);
    kept_layout = DUAL_OUT_IN;
    check_gradient(&out_in);
    for (size_t n = 1; n < 80; n += 26)            /* one row and two go their own way */
        for (int layout = DUAL_IN_OUT; layout <= DUAL_OUT_IN; layout++) {
            same_as_full(half, full, n, layout);
            same_as_full(dual_view(&ctx, half, 2, 33, 3, 20), dual_view(&ctx, full, 2, 33, 3, 20),
                         n + 1, layout);
        }
    gather_kept(half, full);
    check_that(check_ends(&ctx, train_kept, 0) && strstr(check_last_words, "16 bits"),
               "type %d: expected training it to be fatal, with the reason, got \"%s\"", type,
               check_last_words);
    dual_release(&ctx, mark);
}

static void test_sixteen_bits(void) {
    sixteen_bits(DUAL_F16);
    sixteen_bits(DUAL_BF16);
}

/* ---- wrong shapes are the caller's bug and end in ctx->fatal --------------------------------- */

enum { ADD, LINEAR, LAYERNORM, VIEW, ORTHOGONALITY, ONE_SLOT, WRONG_SHAPES };

static void wrong_shapes(dual_ctx *c, int which) {
    dual_tensor *a = check_random(c, 3, 5, 1), *b = check_random(c, 3, 4, 2);
    switch (which) {
    case ADD:
        (void)dual_add(c, a, b);
        break;
    case LINEAR:
        (void)dual_linear(c, a, b, NULL, DUAL_IN_OUT);
        break;
    case LAYERNORM:
        (void)dual_layernorm(c, a, b, b, 1e-5);
        break;
    case VIEW:
        (void)dual_view(c, a, 2, 2, 0, 5);
        break;
    case ORTHOGONALITY:
        (void)dual_orthogonality(c, a, 2, 0);      /* three rows are no groups of two */
        break;
    case ONE_SLOT:
        (void)dual_orthogonality(c, a, 1, 0);
        break;
    }
}

static void test_misuse(void) {
    for (int which = 0; which < WRONG_SHAPES; which++) {
        const dual_mark mark = dual_mark_here(&ctx);
        check_that(check_ends(&ctx, wrong_shapes, which) && check_last_words[0] != 0,
                   "wrong shapes %d: expected fatal, with a message", which);
        dual_release(&ctx, mark);
    }
}

int main(void) {
    void *memory = check_begin(&ctx, (size_t)64 << 20);
    for (int i = 0; i < MOST; i++) {
        class_of_row[i] = i * 3 % CLASSES;
        causal_end[i] = i + 1;
    }
    dual_threads(1);               /* most sizes here only lose time to threads */
    test_gradients();
    test_flow();
    test_orthogonality();
    test_activations();
    test_norms_and_rotary();
    test_attention_values();
    test_attention_wide();
    test_cross_entropy();
    test_matmul();
    test_sixteen_bits();
    test_misuse();
    check_end(&ctx, memory);
    return check_done();
}
