/* test_ops.c - every operation of dual.h by itself: gradients against central differences (in the
 * double build), values against naive loops, odd inputs; then RNG, JSON, schedule and arena.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_ops.c dual.c -lm -o test_ops && ./test_ops */
#include <setjmp.h>
#include "check.h"

static dual_ctx lab;

/* ---- the gradient harness -------------------------------------------------------------------- */

enum { MOST = 80, CLASSES = 7, PAD_ROWS = 2, PAD_COLS = 3 };

static int32_t wanted[MOST];       /* targets of the objective */

typedef struct { size_t rows, cols; } extent;
typedef dual_tensor *(*builder)(dual_ctx *, dual_tensor *const *in);

/* A fixed random projection onto a few logits, then cross-entropy: every element of `out` gets
 * its own upstream gradient, so every entry of the op's Jacobian counts. */
static dual_tensor *objective(dual_ctx *c, dual_tensor *out) {
    dual_tensor *w;
    if (out->rows == 1 && out->cols == 1)
        return out;
    w = check_random(c, out->cols, CLASSES, 5);
    return dual_cross_entropy(c, dual_linear(c, out, w, NULL, DUAL_IN_OUT), wanted);
}

/* The inputs are the owners themselves, or views into wider owners. */
static dual_tensor *evaluate(builder make, size_t n, dual_tensor *const *owner, const extent *size,
                             int padded) {
    dual_tensor *in[8];
    size_t i;
    for (i = 0; i < n; i++)
        in[i] = padded ? dual_view(&lab, owner[i], 1, size[i].rows, 2, size[i].cols) : owner[i];
    return objective(&lab, make(&lab, in));
}

static double loss_of(builder make, size_t n, dual_tensor *const *owner, const extent *size,
                      int padded) {
    dual_mark mark = dual_mark_here(&lab);
    double loss = (double)evaluate(make, n, owner, size, padded)->data[0];
    dual_release(&lab, mark);
    return loss;
}

static void differences(const char *name, builder make, size_t n, const extent *size, int padded) {
    dual_mark all = dual_mark_here(&lab), mark;
    dual_tensor *owner[8];
    double *found, *expected;
    size_t i, e, r, c;

    for (i = 0; i < n; i++) {
        owner[i] = check_random(&lab, size[i].rows + (padded ? PAD_ROWS : 0),
                                size[i].cols + (padded ? PAD_COLS : 0), 100 + i);
        dual_need_grad(&lab, owner[i]);
    }
    mark = dual_mark_here(&lab);
    dual_backward(&lab, evaluate(make, n, owner, size, padded));
    dual_release(&lab, mark);

    for (i = 0; i < n; i++) {
        dual_tensor *t = owner[i];
        size_t count = t->rows * t->cols;
        double distance;
        found = malloc(count * sizeof *found);
        expected = malloc(count * sizeof *expected);
        for (e = 0, r = 0; r < t->rows; r++)
            for (c = 0; c < t->cols; c++, e++) {
                dual_real *x = &t->data[r * t->stride + c], kept = *x;
                double h = 1e-5, up, down;
                found[e] = (double)t->grad[r * t->stride + c];
                *x = (dual_real)((double)kept + h);
                up = loss_of(make, n, owner, size, padded);
                *x = (dual_real)((double)kept - h);
                down = loss_of(make, n, owner, size, padded);
                *x = kept;
                expected[e] = (up - down) / (2 * h);
            }
        distance = check_distance(found, expected, count, 0);
        check_that(distance <= 1e-6, "%s%s, input %d: expected the central differences within 1e-6,"
                   " got relative distance %.3g", name, padded ? " on views" : "", (int)i,
                   distance);
        free(found);
        free(expected);
    }
    dual_release(&lab, all);
}

static void gradient(const char *name, builder make, size_t n, const extent *size) {
    if (!check_in_double())
        return;
    differences(name, make, n, size, 0);
    differences(name, make, n, size, 1);
}

/* ---- one builder per case -------------------------------------------------------------------- */

static dual_tensor *make_gather(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t which[] = { 2, 0, 1, 1, 0, 2, 0, 1, 2, 2, 0 };
    static const int32_t index[] = { 0, 4, 2, 2, 0, 0, 4, 1, 1, 0, 3 };
    return dual_gather(c, 3, in, 11, which, index);
}

static dual_tensor *make_lookup(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t index[] = { 3, 3, 0, 4, 3, 1, 0 };
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
    static const int32_t position[] = { 0, 1, 5, 5, 400, 2, 1023 };
    return dual_rotary(c, in[0], 6, position, 10000.0);
}

/* The logits are an intermediate result because backward overwrites them. */
static dual_tensor *make_cross_entropy(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t target[] = { 12, 0, 7, 7, 3, 12, 1 };
    return dual_cross_entropy(c, dual_add(c, in[0], in[1]), target);
}

/* Three lists: a prefix cut differently per row, own rows causally, one that is sometimes empty.
 * Six query heads share three key heads; two parts of unequal length. */
static dual_tensor *make_attention(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin0[] = { 0, 0, 0, 0, 5, 5, 6 }, end0[] = { 4, 5, 5, 3, 11, 9, 8 };
    static const int32_t begin1[] = { 0, 0, 0, 0, 4, 4, 4 }, end1[] = { 1, 2, 3, 4, 5, 6, 7 };
    static const int32_t begin2[] = { 0, 0, 3, 1, 4, 3, 3 }, end2[] = { 2, 0, 3, 3, 4, 5, 4 };
    static const int32_t border[] = { 0, 4, 7 };
    dual_keys *keys = dual_alloc(c, 3, sizeof *keys);
    keys[0].k = in[1]; keys[0].v = in[2]; keys[0].begin = begin0; keys[0].end = end0;
    keys[1].k = in[3]; keys[1].v = in[4]; keys[1].begin = begin1; keys[1].end = end1;
    keys[2].k = in[5]; keys[2].v = in[6]; keys[2].begin = begin2; keys[2].end = end2;
    return dual_attention(c, in[0], 6, 3, 3, keys, 2, border);
}

/* GPT-2's way: q, k and v are columns of one tensor. */
static dual_tensor *make_fused(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const int32_t end[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }, border[] = { 0, 11 };
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    keys->k = dual_view(c, in[0], 0, 11, 15, 15);
    keys->v = dual_view(c, in[0], 0, 11, 30, 15);
    keys->begin = begin;
    keys->end = end;
    return dual_attention(c, dual_view(c, in[0], 0, 11, 0, 15), 3, 3, 1, keys, 1, border);
}

/* The same keys twice in the list: five rows of text, then two groups that see a prefix of the
 * text and themselves - the merged pass. */
static dual_tensor *make_merged(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin0[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const int32_t end0[] = { 1, 2, 3, 4, 5, 3, 3, 3, 3, 5, 5, 5, 5 };
    static const int32_t begin1[] = { 5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9, 9, 9 };
    static const int32_t end1[] = { 5, 5, 5, 5, 5, 6, 7, 8, 9, 10, 11, 12, 13 };
    static const int32_t border[] = { 0, 13 };
    dual_keys *keys = dual_alloc(c, 2, sizeof *keys);
    keys[0].k = keys[1].k = in[1];
    keys[0].v = keys[1].v = in[2];
    keys[0].begin = begin0; keys[0].end = end0;
    keys[1].begin = begin1; keys[1].end = end1;
    return dual_attention(c, in[0], 2, 1, 2, keys, 1, border);
}

static int32_t zeros[MOST], upto[MOST];

/* More rows than any tile is high; an empty part at the end. */
static dual_tensor *make_long(dual_ctx *c, dual_tensor *const *in) {
    static int32_t border[] = { 0, 67, 67 };
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    keys->k = in[1];
    keys->v = in[2];
    keys->begin = zeros;
    keys->end = upto;
    return dual_attention(c, in[0], 4, 2, 1, keys, 2, border);
}

static dual_tensor *make_one_query(dual_ctx *c, dual_tensor *const *in) {
    static const int32_t begin[] = { 3 }, end[] = { 37 }, border[] = { 0, 1 };
    dual_keys *keys = dual_alloc(c, 1, sizeof *keys);
    keys->k = in[1];
    keys->v = in[2];
    keys->begin = begin;
    keys->end = end;
    return dual_attention(c, in[0], 3, 1, 1, keys, 1, border);
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
    static const extent gather[] = { { 5, 13 }, { 3, 13 }, { 2, 13 } }, lookup[] = { { 5, 13 } };
    static const extent linear[] = { { 7, 5 }, { 5, 13 }, { 1, 13 } };
    static const extent rilnea[] = { { 7, 5 }, { 13, 5 }, { 1, 13 } };
    static const extent wide[] = { { 37, 41 }, { 41, 29 }, { 1, 29 } };
    static const extent ediw[] = { { 37, 41 }, { 29, 41 }, { 1, 29 } };
    static const extent pair[] = { { 7, 13 }, { 7, 13 } }, gain[] = { { 7, 13 }, { 1, 1 } };
    static const extent norm[] = { { 7, 13 }, { 1, 13 }, { 1, 13 } };
    static const extent heads[] = { { 7, 15 }, { 1, 5 } }, square[] = { { 7, 13 }, { 13, 13 } };
    static const extent rotary[] = { { 7, 18 } }, fused[] = { { 11, 45 } };
    static const extent attention[] = { { 7, 30 }, { 11, 15 }, { 11, 15 }, { 7, 15 }, { 7, 15 },
                                        { 5, 15 }, { 5, 15 } };
    static const extent merged[] = { { 13, 14 }, { 13, 7 }, { 13, 7 } };
    static const extent longer[] = { { 67, 16 }, { 67, 8 }, { 67, 8 } };
    static const extent slots[] = { { 12, 7 } }, penalised[] = { { 6, 5 }, { 1, 1 } };
    static const extent single[] = { { 1, 3 }, { 41, 1 }, { 41, 1 } };

    if (!check_in_double())
        printf("float build: finite differences skipped, they need -DDUAL_REAL=double\n");
    gradient("cross_entropy", make_cross_entropy, 2, pair);
    gradient("linear [in,out]", make_in_out, 2, linear);
    gradient("linear [in,out] with bias", make_in_out_bias, 3, linear);
    gradient("linear [out,in]", make_out_in, 2, rilnea);
    gradient("linear [out,in] with bias", make_out_in_bias, 3, rilnea);
    gradient("larger linear [in,out]", make_in_out_bias, 3, wide);
    gradient("larger linear [out,in]", make_out_in_bias, 3, ediw);
    gradient("gather from three", make_gather, 3, gather);
    gradient("gather from one", make_lookup, 1, lookup);
    gradient("add", make_add, 2, pair);
    gradient("add to itself", make_add_self, 1, pair);
    gradient("residual", make_residual, 2, square);
    gradient("gain", make_gain, 2, gain);
    gradient("layernorm", make_layernorm, 3, norm);
    gradient("rmsnorm", make_rmsnorm, 2, norm);
    gradient("rmsnorm per head", make_rmsnorm, 2, heads);
    gradient("gelu", make_gelu, 1, pair);
    gradient("swiglu", make_swiglu, 2, pair);
    gradient("rotary", make_rotary, 1, rotary);
    gradient("attention, three key lists", make_attention, 7, attention);
    gradient("attention, fused q k v", make_fused, 1, fused);
    gradient("attention, merged groups", make_merged, 3, merged);
    gradient("attention, 67 rows", make_long, 3, longer);
    gradient("attention, one query", make_one_query, 3, single);
    gradient("views", make_views, 1, pair);
    gradient("orthogonality", make_orthogonality, 1, slots);
    gradient("orthogonality, centred", make_centred, 1, slots);
    gradient("orthogonality as a penalty", make_penalised, 2, penalised);
}

/* ---- gradients: who gets one ----------------------------------------------------------------- */

static double grad_size(const dual_tensor *t) {
    double sum = 0;
    size_t r, c;
    for (r = 0; t->grad && r < t->rows; r++)
        for (c = 0; c < t->cols; c++)
            sum += fabs((double)t->grad[r * t->stride + c]);
    return sum;
}

static void test_flow(void) {
    dual_mark mark = dual_mark_here(&lab);
    dual_tensor *x = check_random(&lab, 7, 13, 1), *y = check_random(&lab, 7, 13, 2);
    dual_tensor *frozen = check_random(&lab, 13, 5, 3), *again;
    double once, worst = 0;
    size_t i;

    dual_need_grad(&lab, x);
    dual_need_grad(&lab, y);
    check_that(x->grad && grad_size(x) == 0, "need_grad: expected a zero gradient array");

    dual_backward(&lab, objective(&lab, dual_linear(&lab, x, frozen, NULL, DUAL_IN_OUT)));
    check_that(grad_size(x) > 0, "gradient through a frozen weight: expected some, got none");
    check_that(!frozen->grad, "frozen weight: expected no gradient array, got one");
    check_that(!frozen->needs_grad, "frozen weight: expected needs_grad 0");

    /* backward adds: a second identical run doubles every element, and what the first has left
     * on the tape takes no part in it */
    again = dual_tensor_new(&lab, 7, 13);
    for (i = 0; i < 7 * 13; i++)
        again->data[i] = x->grad[i];
    dual_backward(&lab, objective(&lab, dual_linear(&lab, x, frozen, NULL, DUAL_IN_OUT)));
    for (i = 0; i < 7 * 13; i++)
        worst = fmax(worst, fabs((double)x->grad[i] - 2 * (double)again->data[i]));
    check_close(worst, 0, check_limit(1e-15, 1e-7), "two backward runs: twice the gradient");

    /* detach: the same value, no gradient */
    once = grad_size(x);
    {
        dual_tensor *d = dual_detach(&lab, x);
        dual_tensor *sum = dual_add(&lab, d, y);
        check_that(d->rows == 7 && d->cols == 13 && d->data[20] == x->data[20] && !d->needs_grad,
                   "detach: expected the same data and needs_grad 0");
        dual_backward(&lab, objective(&lab, sum));
    }
    check_close(grad_size(x), once, 0, "detach: no gradient reaches the tensor behind it");
    check_that(grad_size(y) > 0, "detach: expected the other summand to get its gradient");

    /* nothing trained: nothing recorded, and backward of it is harmless */
    {
        dual_tensor *q = check_random(&lab, 7, 13, 4), *loss;
        struct dual_node *tape = lab.tape;
        loss = objective(&lab, dual_gelu(&lab, q));
        check_that(lab.tape == tape, "untrained inputs: expected nothing on the tape");
        check_that(!loss->needs_grad, "untrained inputs: expected a loss without needs_grad");
    }
    dual_release(&lab, mark);
    check_that(lab.used == mark.used && lab.tape == mark.tape,
               "release: expected the mark's state");
}

/* ---- values ---------------------------------------------------------------------------------- */

static int all_finite(const dual_tensor *t, const dual_real *a) {
    size_t r, c;
    for (r = 0; r < t->rows; r++)
        for (c = 0; c < t->cols; c++)
            if (!isfinite((double)a[r * t->stride + c]))
                return 0;
    return 1;
}

/* Mean of squared cosines, written out: [groups, slots, d], every pair of a group twice. */
static double squared_cosines(const dual_tensor *z, size_t slots, int centred) {
    size_t g, i, j, k, groups = z->rows / slots, d = z->cols;
    double *x = malloc(z->rows * d * sizeof *x), sum = 0;
    for (i = 0; i < z->rows; i++)
        for (k = 0; k < d; k++) {
            double mean = 0;
            for (g = 0; g < groups; g++)
                mean += (double)z->data[(g * slots + i % slots) * d + k] / (double)groups;
            x[i * d + k] = (double)z->data[i * d + k] - (centred ? mean : 0);
        }
    for (g = 0; g < groups; g++)
        for (i = 0; i < slots; i++)
            for (j = 0; j < slots; j++) {
                const double *a = x + (g * slots + i) * d, *b = x + (g * slots + j) * d;
                double ab = 0, aa = 0, bb = 0;
                for (k = 0; k < d; k++) {
                    ab += a[k] * b[k];
                    aa += a[k] * a[k];
                    bb += b[k] * b[k];
                }
                if (i != j)
                    sum += ab * ab / (aa * bb);
            }
    free(x);
    return sum / (double)(groups * slots * (slots - 1));
}

static void test_orthogonality(void) {
    dual_mark mark = dual_mark_here(&lab);
    dual_tensor *z = check_random(&lab, 12, 7, 8), *one = check_random(&lab, 3, 7, 9), *loss;
    double limit = check_limit(1e-14, 1e-6);
    size_t r, c;
    int centred;
    for (centred = 0; centred < 2; centred++) {
        loss = dual_orthogonality(&lab, z, 4, centred);
        check_close((double)loss->data[0], squared_cosines(z, 4, centred), limit,
                    "orthogonality of three groups, centred %d", centred);
    }
    check_that(fabs(squared_cosines(z, 4, 1) - squared_cosines(z, 4, 0)) > 1e-3,
               "orthogonality: expected the forms to differ");
    /* one group less its own mean is nothing: no penalty, and no gradient that is not a number */
    dual_need_grad(&lab, one);
    loss = dual_orthogonality(&lab, one, 3, 1);
    dual_backward(&lab, loss);
    check_close((double)loss->data[0], 0, 0, "orthogonality of one group, centred");
    check_close(grad_size(one), 0, 0, "orthogonality of one group, centred: gradient");
    /* nor of three groups that are the same, whose mean is theirs but for rounding */
    dual_need_grad(&lab, z);
    for (r = 4; r < 12; r++)
        for (c = 0; c < 7; c++)
            z->data[r * 7 + c] = z->data[(r - 4) * 7 + c];
    loss = dual_orthogonality(&lab, z, 4, 1);
    dual_backward(&lab, loss);
    check_close((double)loss->data[0], 0, 0, "orthogonality of equal groups, centred");
    check_close(grad_size(z), 0, 0, "orthogonality of equal groups, centred: gradient");
    for (r = 0; r < 3; r++)                        /* parallel and opposite rows, any length */
        for (c = 0; c < 7; c++)
            one->data[r * 7 + c] = (dual_real)(r == 1 ? -2 : 1) * one->data[c];
    loss = dual_orthogonality(&lab, one, 3, 0);
    check_close((double)loss->data[0], 1, limit, "orthogonality of one direction");
    for (r = 0; r < 3; r++)
        for (c = 0; c < 7; c++)
            one->data[r * 7 + c] = (dual_real)(c == r ? 3 : 0);
    loss = dual_orthogonality(&lab, one, 3, 0);
    check_close((double)loss->data[0], 0, 0, "orthogonality of three axes");
    dual_release(&lab, mark);
}

static void test_activations(void) {
    dual_mark mark = dual_mark_here(&lab);
    dual_tensor *x = dual_tensor_new(&lab, 401, 2), *ones = dual_tensor_new(&lab, 401, 2), *y, *z;
    double worst_gelu = 0, worst_silu = 0, limit = check_limit(1e-13, 2e-5);
    static int32_t target[401];
    int i;

    for (i = 0; i <= 400; i++) {
        x->data[2 * i] = (dual_real)((i - 200) * 0.5);
        x->data[2 * i + 1] = (dual_real)((i - 200) * 0.013);
        ones->data[2 * i] = ones->data[2 * i + 1] = 1;
    }
    dual_need_grad(&lab, x);
    y = dual_gelu(&lab, x);
    z = dual_swiglu(&lab, x, ones);
    for (i = 0; i < 802; i++) {
        double v = (double)x->data[i];
        double gelu = 0.5 * v * (1 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
        worst_gelu = fmax(worst_gelu, fabs((double)y->data[i] - gelu));
        worst_silu = fmax(worst_silu, fabs((double)z->data[i] - v / (1 + exp(-v))));
    }
    check_close(worst_gelu, 0, limit, "gelu, |x| <= 100");
    check_close(worst_silu, 0, limit, "swiglu with up = 1, |x| <= 100");
    check_that(all_finite(y, y->data), "gelu, |x| <= 100: expected finite values");
    check_that(all_finite(z, z->data), "swiglu, |x| <= 100: expected finite values");
    dual_backward(&lab, dual_cross_entropy(&lab, dual_add(&lab, y, z), target));
    check_that(all_finite(x, x->grad), "gelu and swiglu, |x| <= 100: expected finite gradients");
    dual_release(&lab, mark);
}

static void test_norms_and_rotary(void) {
    dual_mark mark = dual_mark_here(&lab);
    static const int32_t position[] = { 0, 3, 1021 };
    dual_tensor *x = check_random(&lab, 3, 12, 1), *w = check_random(&lab, 1, 12, 2);
    dual_tensor *b = check_random(&lab, 1, 12, 3), *wh = check_random(&lab, 1, 6, 4), *t;
    double worst = 0, limit = check_limit(1e-13, 1e-5), eps = 0.01;
    size_t r, c, h;

    t = dual_layernorm(&lab, x, w, b, eps);
    for (r = 0; r < 3; r++) {
        double mean = 0, var = 0;
        for (c = 0; c < 12; c++)
            mean += (double)x->data[r * 12 + c] / 12;
        for (c = 0; c < 12; c++)
            var += pow((double)x->data[r * 12 + c] - mean, 2) / 12;
        for (c = 0; c < 12; c++) {
            double y = ((double)x->data[r * 12 + c] - mean) / sqrt(var + eps);
            y = y * (double)w->data[c] + (double)b->data[c];
            worst = fmax(worst, fabs(y - (double)t->data[r * t->stride + c]));
        }
    }
    check_close(worst, 0, limit, "layernorm: biased variance, eps inside the root");

    t = dual_rmsnorm(&lab, x, wh, eps);
    for (worst = 0, r = 0; r < 3; r++)
        for (h = 0; h < 2; h++) {
            const dual_real *v = x->data + r * 12 + h * 6;
            double square = 0;
            for (c = 0; c < 6; c++)
                square += (double)v[c] * (double)v[c] / 6;
            for (c = 0; c < 6; c++) {
                double y = (double)v[c] / sqrt(square + eps) * (double)wh->data[c];
                worst = fmax(worst, fabs(y - (double)t->data[r * t->stride + h * 6 + c]));
            }
        }
    check_close(worst, 0, limit, "rmsnorm per head");

    t = dual_rotary(&lab, x, 6, position, 10000.0);
    for (worst = 0, r = 0; r < 3; r++)
        for (h = 0; h < 2; h++)
            for (c = 0; c < 3; c++) {
                const dual_real *v = x->data + r * 12 + h * 6, *y = t->data + r * t->stride + h * 6;
                double angle = position[r] * pow(10000.0, -2.0 * (double)c / 6), a, d;
                a = (double)v[c] * cos(angle) - (double)v[c + 3] * sin(angle);
                d = (double)v[c + 3] * cos(angle) + (double)v[c] * sin(angle);
                worst = fmax(worst, fmax(fabs(a - (double)y[c]), fabs(d - (double)y[c + 3])));
            }
    /* a float program may keep the angle in float: 1021 radians are then known to 6e-5 */
    check_close(worst, 0, check_limit(1e-11, 4e-4), "rotary: half-split pairs");
    dual_release(&lab, mark);
}

/* One head at a time, all keys of all lists in one softmax. */
static double attend(const dual_tensor *q, size_t r, size_t head, size_t share, size_t hd,
                     size_t n, const dual_keys *keys, size_t col) {
    double top = 0, sum = 0, value = 0, score;
    int first = 1, pass;
    size_t i, c, kv = head / share;
    int32_t row;
    for (pass = 0; pass < 2; pass++)
        for (i = 0; i < n; i++)
            for (row = keys[i].begin[r]; row < keys[i].end[r]; row++) {
                const dual_real *k = keys[i].k->data + (size_t)row * keys[i].k->stride + kv * hd;
                for (score = 0, c = 0; c < hd; c++)
                    score += (double)q->data[r * q->stride + head * hd + c] * (double)k[c];
                score /= sqrt((double)hd);
                if (pass == 0) {
                    top = first || score > top ? score : top;
                    first = 0;
                } else {
                    const dual_real *v = keys[i].v->data + (size_t)row * keys[i].v->stride;
                    sum += exp(score - top);
                    value += exp(score - top) * (double)v[kv * hd + col];
                }
            }
    return value / sum;
}

static void test_attention_values(void) {
    static const int32_t b0[] = { 0, 1, 0, 2, 0 }, e0[] = { 3, 4, 0, 6, 6 };
    static const int32_t b1[] = { 2, 0, 0, 5, 0 }, e1[] = { 9, 1, 9, 5, 0 }, border[] = { 0, 5 };
    dual_mark mark = dual_mark_here(&lab);
    dual_tensor *q = check_random(&lab, 5, 24, 1), *out;
    dual_keys keys[2];
    double worst = 0;
    size_t r, h, c, i;
    int big;

    keys[0].k = check_random(&lab, 6, 12, 2);
    keys[0].v = check_random(&lab, 6, 12, 3);
    keys[0].begin = b0;
    keys[0].end = e0;
    keys[1].k = check_random(&lab, 9, 12, 4);
    keys[1].v = check_random(&lab, 9, 12, 5);
    keys[1].begin = b1;
    keys[1].end = e1;
    out = dual_attention(&lab, q, 4, 2, 2, keys, 1, border);
    for (r = 0; r < 5; r++)
        for (h = 0; h < 4; h++)
            for (c = 0; c < 6; c++)
                worst = fmax(worst, fabs(attend(q, r, h, 2, 6, 2, keys, c) -
                                         (double)out->data[r * out->stride + h * 6 + c]));
    check_close(worst, 0, check_limit(1e-13, 1e-5), "attention against a naive loop");

    /* all scores hugely negative, or hugely positive, and equal: the mean of the values seen */
    for (big = -1; big <= 1; big += 2) {
        dual_tensor *trained = dual_tensor_new(&lab, 5, 24);
        for (i = 0; i < 5 * 24; i++)
            trained->data[i] = (dual_real)1e12;
        for (i = 0; i < 6 * 12; i++)
            keys[0].k->data[i] = (dual_real)(big * 1e12);
        for (i = 0; i < 9 * 12; i++)
            keys[1].k->data[i] = (dual_real)(big * 1e12);
        dual_need_grad(&lab, trained);
        out = dual_attention(&lab, trained, 4, 2, 2, keys, 1, border);
        check_that(all_finite(out, out->data), "attention, scores %de24: expected finite values",
                   big);
        check_close((double)out->data[4 * out->stride],
                    ((double)keys[0].v->data[0] + (double)keys[0].v->data[12] +
                     (double)keys[0].v->data[24] + (double)keys[0].v->data[36] +
                     (double)keys[0].v->data[48] + (double)keys[0].v->data[60]) / 6,
                    check_limit(1e-13, 1e-5), "attention, equal scores %de24: the mean", big);
        dual_backward(&lab, objective(&lab, out));
        check_that(all_finite(trained, trained->grad),
                   "attention, scores %de24: expected finite gradients", big);
    }
    dual_release(&lab, mark);
}

/* heads as wide as may be, more rows and keys than a block: a product there is many strips wide */
static void test_attention_wide(void) {
    enum { ROWS = 70, WIDE = 256 };
    int32_t begin[ROWS], end[ROWS];
    const int32_t border[] = { 0, ROWS };
    dual_mark mark = dual_mark_here(&lab);
    dual_tensor *q = check_random(&lab, ROWS, WIDE, 1), *out;
    dual_keys keys;
    double worst = 0;
    size_t r, c;

    keys.k = check_random(&lab, ROWS, WIDE, 2);
    keys.v = check_random(&lab, ROWS, WIDE, 3);
    keys.begin = begin;
    keys.end = end;
    for (r = 0; r < ROWS; r++) {
        begin[r] = 0;
        end[r] = (int32_t)r + 1;
    }
    out = dual_attention(&lab, q, 1, 1, 1, &keys, 1, border);
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < WIDE; c++)
            worst = fmax(worst, fabs(attend(q, r, 0, 1, WIDE, 1, &keys, c) -
                                     (double)out->data[r * out->stride + c]));
    check_close(worst, 0, check_limit(1e-13, 1e-5), "attention, heads of 256, by a naive loop");
    dual_release(&lab, mark);
}

static void test_cross_entropy(void) {
    static const int32_t target[] = { 2, 0, 4, 1 };
    static const double level[] = { -700, 0, 40, 600 }, extreme[] = { -1e30, 1e30, -1e4, 0 };
    dual_mark mark = dual_mark_here(&lab);
    int absurd;
    for (absurd = 0; absurd < 2; absurd++) {       /* equal logits, then too large to be exact */
        dual_tensor *x = dual_tensor_new(&lab, 4, 5), *z = dual_tensor_new(&lab, 4, 5), *loss;
        size_t i;
        for (i = 0; i < 20; i++) {
            x->data[i] = (dual_real)(absurd ? extreme : level)[i / 5];
            z->data[i] = 0;
        }
        dual_need_grad(&lab, x);
        loss = dual_cross_entropy(&lab, dual_add(&lab, x, z), target);
        check_that(loss->rows == 1 && loss->cols == 1, "cross_entropy: expected a [1,1] loss");
        if (!absurd)
            check_close((double)loss->data[0], log(5.0), check_limit(1e-12, 1e-4),
                        "cross_entropy of equal logits");
        check_that(all_finite(loss, loss->data), "cross_entropy: expected a finite loss");
        dual_backward(&lab, loss);
        check_that(all_finite(x, x->grad), "cross_entropy: expected finite gradients");
        if (!absurd) {
            check_close((double)x->grad[2], (0.2 - 1) / 4, check_limit(1e-13, 1e-5),
                        "cross_entropy: gradient at the target is (p - 1) / rows");
            check_close((double)x->grad[3], 0.2 / 4, check_limit(1e-13, 1e-5),
                        "cross_entropy: gradient elsewhere is p / rows");
        }
        dual_release(&lab, mark);
    }
}

/* ---- matmul at awkward sizes ----------------------------------------------------------------- */

static double relative(const double *want, const dual_real *got, size_t rows, size_t cols,
                       size_t stride) {
    double apart = 0, size = 0;
    size_t r, c;
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c++) {
            double w = want[r * cols + c], g = (double)got[r * stride + c];
            apart += (w - g) * (w - g);
            size += w * w + g * g;
        }
    return size > 0 ? sqrt(apart / size) : sqrt(apart);
}

typedef struct { double y, dx, dw, db; } matmul_error;

static double *clear(size_t n) {
    double *a = calloc(n ? n : 1, sizeof *a);
    if (!a)
        check_fatal("out of memory");
    return a;
}

/* Y = X W + b and its gradients against triple loops. X, W and the gradients' owners have wider
 * rows than the views, so every kernel runs with strides. */
static matmul_error matmul_case(size_t m, size_t n, size_t k, int layout) {
    dual_mark mark = dual_mark_here(&lab);
    size_t wr = layout == DUAL_IN_OUT ? k : n, wc = layout == DUAL_IN_OUT ? n : k, i, j, p;
    dual_tensor *ox = check_random(&lab, m + 1, k + 3, 1);
    dual_tensor *ow = check_random(&lab, wr + 1, wc + 5, 2);
    dual_tensor *b = check_random(&lab, 1, n, 3), *v = check_random(&lab, n, 3, 4), *x, *w, *y;
    dual_tensor *bare, *logits, *loss;
    double *ny = clear(m * n), *dy = clear(m * n), *dx = clear(m * k), *dw = clear(wr * wc);
    double *db = clear(n);
    size_t step_in = layout == DUAL_IN_OUT ? ow->stride : 1;    /* W(p, j) strides */
    size_t step_out = layout == DUAL_IN_OUT ? 1 : ow->stride;
    static int32_t target[300];
    const dual_real *wd;
    matmul_error e;

    for (i = 0; i < 3 * n; i++)                    /* logits of size 1: no softmax saturates */
        v->data[i] /= (dual_real)sqrt((double)(n * k));
    bare = dual_linear(&lab, dual_view(&lab, ox, 1, m, 2, k), dual_view(&lab, ow, 1, wr, 4, wc),
                       NULL, layout);              /* nothing to add to: C = A B, not C += A B */
    dual_need_grad(&lab, ox);
    dual_need_grad(&lab, ow);
    dual_need_grad(&lab, b);
    x = dual_view(&lab, ox, 1, m, 2, k);
    w = dual_view(&lab, ow, 1, wr, 4, wc);
    wd = w->data;
    y = dual_linear(&lab, x, w, b, layout);
    logits = dual_linear(&lab, y, v, NULL, DUAL_IN_OUT);
    for (i = 0; i < m; i++) {
        double p3[3], sum = 0;
        for (j = 0; j < 3; j++)
            sum += exp((double)logits->data[i * logits->stride + j] -
                       (double)logits->data[i * logits->stride]);
        for (j = 0; j < 3; j++)
            p3[j] = (exp((double)logits->data[i * logits->stride + j] -
                         (double)logits->data[i * logits->stride]) / sum - (j == 0)) / (double)m;
        for (j = 0; j < n; j++) {
            for (p = 0; p < 3; p++)
                dy[i * n + j] += p3[p] * (double)v->data[j * v->stride + p];
            for (p = 0; p < k; p++)
                ny[i * n + j] += (double)x->data[i * x->stride + p] *
                                 (double)wd[p * step_in + j * step_out];
            db[j] += dy[i * n + j];
        }
        for (p = 0; p < k; p++)
            for (j = 0; j < n; j++) {
                dx[i * k + p] += dy[i * n + j] * (double)wd[p * step_in + j * step_out];
                dw[layout == DUAL_IN_OUT ? p * n + j : j * k + p] +=
                    dy[i * n + j] * (double)x->data[i * x->stride + p];
            }
    }
    e.y = relative(ny, bare->data, m, n, bare->stride);
    for (i = 0; i < m * n; i++)
        ny[i] += (double)b->data[i % n];
    e.y = fmax(e.y, relative(ny, y->data, m, n, y->stride));
    loss = dual_cross_entropy(&lab, logits, target);
    dual_backward(&lab, loss);
    e.dx = relative(dx, ox->grad + ox->stride + 2, m, k, ox->stride);
    e.dw = relative(dw, ow->grad + ow->stride + 4, wr, wc, ow->stride);
    e.db = relative(db, b->grad, 1, n, b->stride);
    for (i = 0; i < ox->stride; i++)               /* outside of the view nothing is written */
        if (ox->grad[i] != 0)
            e.dx = 1;
    for (i = 0; i < ow->rows; i++)
        if (ow->grad[i * ow->stride + 3] != 0 || ow->grad[i * ow->stride + 4 + wc] != 0)
            e.dw = 1;
    free(ny);
    free(dy);
    free(dx);
    free(dw);
    free(db);
    dual_release(&lab, mark);
    return e;
}

/* Cancellation in the softmax can leave few digits of a single small gradient in float. */
static void matmul_judge(size_t m, size_t n, size_t k, int layout) {
    matmul_error e = matmul_case(m, n, k, layout);
    double limit = check_limit(1e-12, 2e-5), worst = 0;
    double all[4];
    int i, bad = 0;
    all[0] = e.y;
    all[1] = e.dx;
    all[2] = e.dw;
    all[3] = e.db;
    for (i = 0; i < 4; i++) {
        worst = fmax(worst, all[i]);
        bad |= !(all[i] <= limit);
    }
    check_that(!bad, "matmul rows %d, cols %d, K %d, layout %d: expected within %g,"
               " got y %.2g dX %.2g dW %.2g db %.2g", (int)m, (int)n, (int)k, layout, limit,
               e.y, e.dx, e.dw, e.db);
}

static void test_matmul(void) {
    static const size_t rows[] = { 1, 7, 33 }, depth[] = { 1, 5, 64, 130, 300 };
    size_t m, n, k;
    int layout;
    for (layout = DUAL_IN_OUT; layout <= DUAL_OUT_IN; layout++) {
        for (m = 0; m < 3; m++)
            for (k = 0; k < 5; k++)
                for (n = 1; n <= 70; n++)
                    matmul_judge(rows[m], n, depth[k], layout);
        dual_threads(4);                           /* large enough to be shared out */
        matmul_judge(257, 133, 271, layout);
        matmul_judge(64, 1031, 67, layout);
        matmul_judge(5, 3, 1037, layout);
        matmul_judge(33, 20, 8, layout);    /* dX: one whole strip of columns, added to */
        matmul_judge(33, 20, 16, layout);
        dual_threads(1);
        matmul_judge(33, 300, 300, layout); /* few rows: columns packed in three goes, twice */
    }
}

/* ---- random numbers -------------------------------------------------------------------------- */

static void test_rng(void) {
    static const uint64_t from_zero[] = { 0xE220A8397B1DCDAFull, 0x6E789E6AA1B965F4ull,
                                          0x06C45D188009454Full, 0xF88BB8A8724C81ECull };
    static const uint64_t other[] = { 6457827717110365317ull, 3203168211198807973ull,
                                      9817491932198370423ull, 4593380528125082431ull,
                                      16408922859458223821ull };
    enum { DRAWS = 200000 };
    dual_rng a, b;
    double sum = 0, square = 0, cube = 0, fourth = 0, low = 1, high = 0;
    size_t i, count[7] = { 0 }, bucket[16] = { 0 }, same = 0;

    a.state = 0;
    for (i = 0; i < 4; i++)
        check_that(dual_rng_next(&a) == from_zero[i], "splitmix64 from 0: number %d", (int)i);
    a.state = 1234567;
    for (i = 0; i < 5; i++)
        check_that(dual_rng_next(&a) == other[i], "splitmix64 from 1234567: number %d", (int)i);

    a = dual_rng_seed(1, 2);
    for (i = 0; i < DRAWS; i++) {
        double u = dual_rng_uniform(&a);
        low = fmin(low, u);
        high = fmax(high, u);
        sum += u;
        square += u * u;
        bucket[(size_t)(u * 16) & 15]++;
    }
    check_that(low >= 0 && high < 1, "uniform: expected [0, 1), got %g .. %.17g", low, high);
    check_close(sum / DRAWS, 0.5, 0.004, "uniform: mean");
    check_close(square / DRAWS, 1.0 / 3, 0.004, "uniform: mean square");
    for (i = 0; i < 16; i++)
        check_close((double)bucket[i] / DRAWS, 1.0 / 16, 0.003, "uniform: bucket %d", (int)i);

    for (sum = square = 0, i = 0; i < DRAWS; i++) {
        double z = dual_rng_normal(&a);
        sum += z;
        square += z * z;
        cube += z * z * z;
        fourth += z * z * z * z;
    }
    check_close(sum / DRAWS, 0, 0.012, "normal: mean");
    check_close(square / DRAWS, 1, 0.02, "normal: variance");
    check_close(cube / DRAWS, 0, 0.05, "normal: third moment");
    check_close(fourth / DRAWS, 3, 0.15, "normal: fourth moment");

    for (i = 0; i < DRAWS; i++) {
        size_t k = dual_rng_below(&a, 7);
        if (k < 7)
            count[k]++;
    }
    for (i = 0; i < 7; i++)
        check_close((double)count[i] / DRAWS, 1.0 / 7, 0.004, "below 7: share of %d", (int)i);
    check_size(dual_rng_below(&a, 1), 0, "below 1");
    /* three quarters of all words: a mere remainder would hit the first third half of the time */
    for (same = 0, i = 0; i < 20000; i++)
        same += dual_rng_below(&a, SIZE_MAX / 4 * 3) < SIZE_MAX / 4;
    check_close((double)same / 20000, 1.0 / 3, 0.02, "below 3/4 of SIZE_MAX: share of a third");
    same = 0;

    a = dual_rng_seed(5, 1);
    b = dual_rng_seed(5, 1);
    for (i = 0; i < 100; i++)
        same += dual_rng_next(&a) == dual_rng_next(&b);
    check_size(same, 100, "the same seed and stream: the same numbers");
    a = dual_rng_seed(5, 1);
    b = dual_rng_seed(5, 2);
    /* streams must not be the same sequence shifted by a few draws either */
    {
        uint64_t first[64];
        for (i = 0; i < 64; i++)
            first[i] = dual_rng_next(&a);
        for (same = 0, i = 0; i < 64; i++) {
            uint64_t draw = dual_rng_next(&b);
            size_t j;
            for (j = 0; j < 64; j++)
                same += draw == first[j];
        }
    }
    check_size(same, 0, "two streams: no number in common");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A copy that ends exactly where the text ends, so that a sanitizer sees any read beyond it. */
static int json_valid(const char *text, size_t length) {
    char *copy = malloc(length ? length : 1);
    int ok;
    if (!copy)
        check_fatal("out of memory");
    memcpy(copy, text, length);
    ok = dual_json_text(copy, length).begin != NULL;
    free(copy);
    return ok;
}

static const char sample[] =
    " {\"name\": \"a\\\"b\\\\c\\/\\n\\t\\u00e9\\ud83d\\ude00\", \"empty\": {}, \"none\": null,\n"
    "  \"list\": [1, -2.5e3, 0.25, 1E+2, [], [true, false]], \"deep\": {\"x\": {\"y\": 7}},"
    " \"\": \"\", \"big\": 123456789012}";

static void test_json_values(void) {
    dual_json all = dual_json_text(sample, sizeof sample - 1), key, value, list;
    char out[64], tiny[4];
    double expected[] = { 1, -2500, 0.25, 100 };
    size_t n;

    check_that(dual_json_type(all) == '{', "json: expected an object");
    n = dual_json_string(dual_json_get(all, "name"), out, sizeof out);
    check_that(!strcmp(out, "a\"b\\c/\n\t\xc3\xa9\xf0\x9f\x98\x80"),
               "json string: expected escapes and a surrogate pair decoded, got \"%s\"", out);
    check_size(n, 14, "json string: its full length");
    n = dual_json_string(dual_json_get(all, "name"), tiny, sizeof tiny);
    check_that(n == 14 && !strcmp(tiny, "a\"b"), "json string: expected a cut copy, got \"%s\"",
               tiny);
    check_size(dual_json_string(dual_json_get(all, ""), out, sizeof out), 0, "json: empty key");
    check_that(dual_json_type(dual_json_get(all, "")) == '"', "json: expected an empty string");
    check_that(dual_json_type(dual_json_get(all, "none")) == 'n', "json: expected null");
    check_that(dual_json_type(dual_json_get(all, "nothing")) == 0, "json: expected absent");
    check_that(dual_json_type(dual_json_get(all, "nam")) == 0, "json: a key's start is no key");
    check_close(dual_json_number(dual_json_get(all, "big"), 0), 123456789012.0, 0, "json: big");
    check_close(dual_json_number(dual_json_get(all, "nothing"), 4.5), 4.5, 0, "json: otherwise");
    check_close(dual_json_number(dual_json_get(all, "name"), 4.5), 4.5, 0, "json: not a number");
    check_close(dual_json_number(dual_json_get(dual_json_get(dual_json_get(all, "deep"), "x"),
                "y"), 0), 7, 0, "json: nested get");

    list = dual_json_get(all, "list");
    value.begin = value.end = NULL;
    key = value;
    for (n = 0; dual_json_each(list, &key, &value); n++) {
        if (n < 4)
            check_close(dual_json_number(value, 99), expected[n], 0, "json list, %d", (int)n);
        else
            check_that(dual_json_type(value) == '[', "json list, %d: expected a list", (int)n);
    }
    check_size(n, 6, "json list: elements");
    value.begin = value.end = NULL;
    for (n = 0; dual_json_each(all, &key, &value); n++)
        if (n == 4) {
            dual_json_string(key, out, sizeof out);
            check_that(!strcmp(out, "deep") && dual_json_type(value) == '{',
                       "json object, member 4: expected deep, got \"%s\"", out);
        }
    check_size(n, 7, "json object: members");
    value.begin = value.end = NULL;
    check_that(!dual_json_each(dual_json_get(all, "empty"), &key, &value),
               "json: expected nothing in {}");
    value.begin = value.end = NULL;
    check_that(!dual_json_each(dual_json_get(all, "name"), &key, &value),
               "json: expected nothing in a string");
}

static void test_json_syntax(void) {
    static const char *const good[] = { "0", "-0", "1.5", "1e5", "-1.25E-3", "\"\"", "true",
        "false", "null", "[]", "{}", " [ 1 , 2 ] ", "\t{\"a\":\r\n1}", "[[[[]]]]",
        "{\"a\":{\"a\":[{}]}}", "\"\\u0041\\b\\f\\r\"", "\"\xc3\xa9\"" };
    static const char *const bad[] = { "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "[1 2]",
        "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:2}", "{\"a\":1 \"b\":2}", "[1}", "{]",
        "01", "1.", ".5", "-", "+1", "1e", "1e+", "0x10", "--1", "1.e5", "nan", "NaN", "inf",
        "Infinity", "tru", "truee", "nul", "True", "'a'", "\"", "\"a", "\"\\\"", "\"\\x\"",
        "\"\\u12\"", "\"\\u12g4\"", "\"\n\"", "1 2", "[] []", "{} x", "[1]]", "/* */ 1", "[1,,2]",
        "\"\\" };
    char *deep;
    size_t i, refused = 0;

    for (i = 0; i < sizeof good / sizeof *good; i++)
        check_that(json_valid(good[i], strlen(good[i])), "json: expected %s accepted", good[i]);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        check_that(!json_valid(bad[i], strlen(bad[i])), "json: expected %s refused", bad[i]);
    check_that(!json_valid("[1,\0 2]", 7), "json: expected a NUL byte refused");
    for (i = 0; i < sizeof sample - 1; i++)
        refused += !json_valid(sample, i);
    check_size(refused, sizeof sample - 1, "json: the sample cut at every byte is refused");
    check_that(json_valid(sample, sizeof sample - 1), "json: expected the sample accepted");

    deep = malloc(20001);
    memset(deep, '[', 10000);
    check_that(!json_valid(deep, 10000), "json: expected 10,000 open brackets refused");
    memset(deep + 10000, ']', 10000);
    check_that(!json_valid(deep, 20000), "json: expected 10,000 nested lists refused");
    for (i = 0; i + 5 <= 20000; i += 5)
        memcpy(deep + i, "{\"a\":", 5);
    check_that(!json_valid(deep, 20000), "json: expected 4,000 open objects refused");
    free(deep);
    {                                              /* half a pair: any answer but a crash */
        static const char *const half[] = { "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"",
                                            "\"\\ud83d\\\"", "\"\\ud83dx\"" };
        for (i = 0; i < sizeof half / sizeof *half; i++) {
            char out[16] = "";
            dual_json j = dual_json_text(half[i], strlen(half[i]));
            if (j.begin)
                dual_json_string(j, out, sizeof out);
            check_that(strlen(out) < 16, "json: half a surrogate pair");
        }
    }
}

/* ---- schedule -------------------------------------------------------------------------------- */

static void test_schedule(void) {
    static const double factor[] = { 0.5, 1, 1, 0.75, 0.25 };
    int i, rising = 1, falling = 1;
    for (i = 0; i < 5; i++)
        check_close(dual_schedule((uint64_t)i, 5, 0.4, 1e-3), factor[i] * 1e-3, 1e-15,
                    "schedule of 5 steps with 2 warm-up, step %d", i);
    check_close(dual_schedule(0, 600, 0.02, 3), 3.0 / 12, 1e-12, "600 steps, 2 %%: step 0");
    check_close(dual_schedule(11, 600, 0.02, 3), 3, 1e-12, "600 steps, 2 %%: end of warm-up");
    check_close(dual_schedule(12, 600, 0.02, 3), 3, 1e-12, "600 steps, 2 %%: start of the cosine");
    check_close(dual_schedule(306, 600, 0.02, 3), 1.5, 1e-12, "600 steps, 2 %%: half way");
    check_close(dual_schedule(600, 600, 0.02, 3), 0, 1e-12, "600 steps, 2 %%: the end");
    for (i = 1; i <= 600; i++) {
        double before = dual_schedule((uint64_t)i - 1, 600, 0.02, 3);
        double here = dual_schedule((uint64_t)i, 600, 0.02, 3);
        rising &= i > 11 || here > before;
        falling &= i <= 12 || here < before;
    }
    check_that(rising && falling, "schedule: expected it to rise to the peak and then to fall");
    check_close(dual_schedule(0, 10, 0, 1), 1, 1e-12, "no warm-up: step 0 is already the peak");
    check_close(dual_schedule(0, 1, 0.5, 1), 1, 1e-12, "one step: it is the peak");
}

/* ---- arena ----------------------------------------------------------------------------------- */

static const int32_t story[] = { 1, 5, 9, 2, 2, 11, 3 };
static const int32_t *const stories[] = { story };

/* A training step and some decoding, the way a driver sizes its memory: first with no memory. */
static size_t a_step(dual_ctx *c, const char *name, int options) {
    static const size_t length[] = { 7 };
    static const int32_t cue[] = { 4 }, target[] = { 6, 7, 8 };
    dual_config shape = { DUAL_GPT2, 1, 13, 32, 2, 10, 2, 2, 5, 21, 1e-5, 0 };
    dual_system system = dual_system_preset(name);
    dual_group group[2];
    dual_exchange e;
    dual_batch batch;
    dual_outcome out;
    dual_adamw adamw;
    dual_sampling sampling;
    dual_model *base, *coprocessor = NULL;
    int32_t token[2 * 6];
    size_t made[2];

    memset(group, 0, sizeof group);
    memset(&batch, 0, sizeof batch);
    group[0].prefix = 4;
    group[1].prefix = 7;
    group[0].cue = group[1].cue = cue;
    group[0].n_cue = group[1].n_cue = 1;
    group[0].target = group[1].target = target;
    group[0].n_target = group[1].n_target = 3;
    batch.n_sequences = 1;
    batch.text = stories;
    batch.length = length;
    batch.n_groups = 2;
    batch.group = group;
    if (strcmp(name, "none"))
        system.latents = 3;
    if (options) {
        system.fused = dual_system_needs_coprocessor(&system);
        system.orthogonality = dual_system_needs_coprocessor(&system) ? 0.1 : 0;
        system.centred = system.values = system.inject == DUAL_KV;
        system.kv_layers = system.inject == DUAL_KV ? 1 : 0;
        system.text_loss = system.base_trained ? 0.5 : 0;
    }
    base = dual_model_new(c, &shape);
    if (dual_system_needs_coprocessor(&system))
        coprocessor = dual_model_new(c, &shape);
    check_that(dual_exchange_new(c, &e, &system, base, coprocessor), "exchange %s: %s", name,
               c->error);
    if (c->memory) {
        dual_model_init(base, dual_rng_seed(1, 1));
        dual_exchange_init(&e, 1);
    }
    dual_exchange_train(c, &e);
    dual_adamw_new(c, &adamw, &e);
    dual_run(c, &e, &batch, &out);
    dual_backward(c, out.loss);
    if (c->memory)
        dual_adamw_step(c, &adamw, 1e-3);
    memset(&sampling, 0, sizeof sampling);
    sampling.max_new = 6;
    sampling.end = -1;
    dual_generate(c, &e, &batch, &sampling, token, made);     /* above the step's tape */
    return c->peak;
}

static jmp_buf way_out;
static char last_words[500];

static void remember(const char *message) {
    strncpy(last_words, message, sizeof last_words - 1);
    longjmp(way_out, 1);
}

static int numbers_in(const char *text) {
    int n = 0, inside = 0;
    for (; *text; text++) {
        int digit = *text >= '0' && *text <= '9';
        n += digit && !inside;
        inside = digit || (inside && (*text == '.' || *text == ','));
    }
    return n;
}

static void test_arena(void) {
    static const char *const names[] = { "none", "pause", "soft", "prompt", "coconut", "liu", "h1",
                                         "h2", "h1h2" };
    dual_ctx c;
    dual_tensor *t;
    size_t i, need, peak;

    for (i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        const char *name = names[i / 2];
        const int options = (int)(i % 2);
        void *memory;
        dual_init(&c, NULL, 0);
        c.fatal = check_fatal;
        need = a_step(&c, name, options);
        dual_done(&c);
        memory = malloc(need);
        dual_init(&c, memory, need);               /* exactly what was counted must do */
        c.fatal = check_fatal;
        peak = a_step(&c, name, options);
        check_that(peak <= need && need - peak <= 64, "%s%s: expected the peak that counting said"
                   " up to alignment, %lu, got %lu", name, options ? " with options" : "",
                   (unsigned long)need, (unsigned long)peak);
        free(memory);
    }
    {
        enum { SMALL = 4 << 20 };
        void *memory = malloc(SMALL);
        dual_init(&c, memory, SMALL);
        c.fatal = remember;
        if (!setjmp(way_out)) {
            (void)dual_tensor_new(&c, 3000, 1000);
            check_that(0, "4 MiB: expected three million numbers to end in fatal");
        } else {
            check_that(numbers_in(last_words) >= 2, "exhausted memory: expected a message with"
                       " the needed and the available size, got \"%s\"", last_words);
        }
        free(memory);
    }
    t = dual_tensor_new(&lab, 3, 5);
    check_that((uintptr_t)t->data % 64 == 0, "tensor: expected 64-byte alignment");
    check_that((uintptr_t)dual_alloc(&lab, 3, 1) % 64 == 0 &&
               (uintptr_t)dual_alloc(&lab, 3, 1) % 64 == 0, "alloc: expected 64-byte alignment");
    /* a size whose product does not fit a size_t must not wrap round to a small one */
    {
        void (*kept)(const char *) = lab.fatal;
        lab.fatal = remember;
        if (!setjmp(way_out)) {
            (void)dual_alloc(&lab, SIZE_MAX / 2, 16);
            check_that(0, "alloc of SIZE_MAX / 2 x 16: expected fatal");
        } else {
            check_that(1, "alloc of SIZE_MAX / 2 x 16");
        }
        lab.fatal = kept;
    }
}

/* ---- weights of 16 bits ---------------------------------------------------------------------- */

/* A [rows, cols] table of arbitrary normal 16-bit numbers, and in `full` the same as reals. */
static dual_tensor *sixteen(size_t rows, size_t cols, int type, dual_tensor **full) {
    dual_tensor *t = dual_alloc(&lab, 1, sizeof *t);
    dual_rng rng = dual_rng_seed(rows, (uint64_t)type);
    size_t i;
    memset(t, 0, sizeof *t);
    t->rows = rows;
    t->cols = t->stride = cols;
    t->type = type;
    t->half = dual_alloc(&lab, rows * cols, sizeof *t->half);
    *full = dual_tensor_new(&lab, rows, cols);
    for (i = 0; i < rows * cols; i++) {          /* 1/16 to 2, either sign */
        unsigned mantissa = type == DUAL_F16 ? 10 : 7, bias = type == DUAL_F16 ? 15 : 127;
        unsigned down = (unsigned)dual_rng_below(&rng, 5), sign = (unsigned)dual_rng_below(&rng, 2);
        unsigned m = (unsigned)dual_rng_below(&rng, (size_t)1 << mantissa);
        t->half[i] = (uint16_t)(sign << 15 | (bias - down) << mantissa | m);
        (*full)->data[i] = (dual_real)((sign ? -1 : 1) *
                                       ldexp(1 + ldexp(m, -(int)mantissa), -(int)down));
    }
    return t;
}

static dual_tensor *the_weight;
static int the_layout;

static dual_tensor *make_with_weight(dual_ctx *c, dual_tensor *const *in) {
    return dual_linear(c, in[0], the_weight, in[1], the_layout);
}

/* Equal but for rounding: a compiler may fuse multiply and add in one loop and not in the other. */
static int nearly(const dual_real *a, const dual_real *b, size_t n) {
    const double most = check_limit(1e-12, 1e-5);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= most * (1 + fabs((double)b[i])))) return 0;
    return 1;
}

/* y and dX through x W of `rows` rows: those of the same numbers as reals. */
static void same_as_full(dual_tensor *half, dual_tensor *full, size_t rows, int layout) {
    const size_t in = layout == DUAL_OUT_IN ? full->cols : full->rows;
    dual_tensor *x = check_random(&lab, rows, in, 6), *y[2];
    dual_real *grad[2];
    int i;
    for (i = 0; i < 2; i++) {
        dual_tensor *own = dual_detach(&lab, x);
        dual_need_grad(&lab, own);
        y[i] = dual_linear(&lab, own, i ? half : full, NULL, layout);
        dual_backward(&lab, objective(&lab, y[i]));
        grad[i] = own->grad;
    }
    check_that(nearly(y[0]->data, y[1]->data, rows * y[0]->cols),
               "type %d, layout %d, %d rows: expected the outputs of the same reals", half->type,
               layout, (int)rows);
    check_that(nearly(grad[0], grad[1], rows * in),
               "type %d, layout %d, %d rows: expected dX of the same reals", half->type, layout,
               (int)rows);
}

static void test_sixteen_bits(void) {
    static const extent narrow[] = { { 7, 37 }, { 1, 29 } }, wide[] = { { 7, 29 }, { 1, 37 } };
    static const int32_t which[] = { 0, 1, 0, 1, 1 }, index[] = { 3, 0, 36, 2, 2 };
    int type;
    for (type = DUAL_F16; type <= DUAL_BF16; type++) {
        dual_mark mark = dual_mark_here(&lab);
        dual_tensor *full, *half = sixteen(37, 29, type, &full), *source[2], *rows;
        size_t n, r, wrong = 0;
        the_weight = half;
        the_layout = DUAL_IN_OUT;
        gradient("linear [in,out], 16-bit weight", make_with_weight, 2, narrow);
        the_layout = DUAL_OUT_IN;
        gradient("linear [out,in], 16-bit weight", make_with_weight, 2, wide);
        for (n = 1; n < 80; n += 26)               /* one row and two go their own way */
            for (the_layout = 0; the_layout < 2; the_layout++) {
                same_as_full(half, full, n, the_layout);
                same_as_full(dual_view(&lab, half, 2, 33, 3, 20),
                             dual_view(&lab, full, 2, 33, 3, 20), n + 1, the_layout);
            }
        source[0] = half;
        source[1] = check_random(&lab, 3, 29, 8);
        rows = dual_gather(&lab, 2, source, 5, which, index);
        for (r = 0; r < 5; r++)
            for (n = 0; n < 29; n++)
                wrong += rows->data[r * 29 + n] !=
                         (which[r] ? source[1] : full)->data[(size_t)index[r] * 29 + n];
        check_size(wrong, 0, "type %d: gathered numbers that differ", type);
        dual_release(&lab, mark);
        lab.fatal = remember;
        if (!setjmp(way_out)) {
            dual_need_grad(&lab, half);
            check_that(0, "type %d: expected training it to be fatal", type);
        } else {
            check_that(strstr(last_words, "16 bits") != NULL, "type %d: expected the reason, got "
                       "\"%s\"", type, last_words);
        }
        lab.fatal = check_fatal;
        dual_release(&lab, mark);
    }
}

static void wrong_shapes(int which) {
    dual_tensor *a = check_random(&lab, 3, 5, 1), *b = check_random(&lab, 3, 4, 2);
    if (which == 0)
        (void)dual_add(&lab, a, b);
    else if (which == 1)
        (void)dual_linear(&lab, a, b, NULL, DUAL_IN_OUT);
    else if (which == 2)
        (void)dual_layernorm(&lab, a, b, b, 1e-5);
    else if (which == 3)
        (void)dual_view(&lab, a, 2, 2, 0, 5);
    else
        (void)dual_orthogonality(&lab, a, which == 4 ? 2 : 1, 0);
}

static void test_misuse(void) {
    volatile int which;
    dual_mark mark = dual_mark_here(&lab);
    for (which = 0; which < 6; which++) {
        lab.fatal = remember;
        if (!setjmp(way_out)) {
            wrong_shapes(which);
            lab.fatal = check_fatal;
            check_that(0, "wrong shapes %d: expected fatal", which);
        } else {
            lab.fatal = check_fatal;
            check_that(last_words[0] != 0, "wrong shapes %d: expected a message", which);
        }
        dual_release(&lab, mark);
    }
}

int main(void) {
    void *memory = check_begin(&lab, (size_t)64 << 20);
    int i;
    for (i = 0; i < MOST; i++) {
        wanted[i] = i * 3 % CLASSES;
        upto[i] = i + 1;
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
    test_rng();
    test_json_values();
    test_json_syntax();
    test_schedule();
    test_arena();
    test_sixteen_bits();
    test_misuse();
    check_end(&lab, memory);
    return check_done();
}
