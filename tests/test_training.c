/* test_training.c - from the start to a model that has learnt something: what an exchange begins
 * with, AdamW's first step by its formula, training steps that are the same bits with any number of
 * threads and with recomputed blocks, a batch in parts, and eight problems learnt by heart by
 * every system.
 *
 *   cc -std=c99 -O2 -fopenmp tests/test_training.c dual.c data/runs/gradients.c -lm -o t && ./t */
#include "exchange.h"
#include "../data/runs/gradients.h"

/* ---- what an exchange starts from ------------------------------------------------------------ */

static size_t count_unequal_tensors(const dual_model *a, const dual_model *b) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_params; i++) {
        const dual_tensor *s = a->param[i].tensor, *t = b->param[i].tensor;
        n += memcmp(s->data, t->data, elements(s) * sizeof *s->data) != 0;
    }
    return n;
}

/* The largest distance of a number of S from its column's mean over the embedding. */
static double distance_from_mean(const dual_tensor *soft, const dual_tensor *wte) {
    double most = 0;
    for (size_t c = 0; c < soft->cols; c++) {
        double mean = 0;
        for (size_t v = 0; v < wte->rows; v++)
            mean += (double)wte->data[v * wte->stride + c] / (double)wte->rows;
        for (size_t r = 0; r < soft->rows; r++)
            most = fmax(most, fabs((double)soft->data[r * soft->stride + c] - mean));
    }
    return most;
}

/* The Coprocessor is the Base, S is near the mean embedding and no two slots are equal. */
static void test_start(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        fixture f;
        fixture_open_preset(&f, shape, "h2");
        dual_exchange_init(&f.e, 4);
        check_size(count_unequal_tensors(f.base, f.coprocessor), 0,
                   "start: tensors in which the Coprocessor is not the Base");
        const dual_tensor *soft = f.e.soft.tensor;
        const double far = distance_from_mean(soft, f.base->wte);
        size_t equal = 0;
        for (size_t c = 0; c < soft->cols; c++)
            equal += soft->data[c] == soft->data[soft->stride + c];
        check_that(far > 0 && far < 0.12 && equal == 0, "start: expected S within 6 x 0.02 of the"
                   " mean embedding and distinct slots, got %g and %d equal", far, (int)equal);
        fixture_close(&f);
    }
}

/* ---- the first step of AdamW ----------------------------------------------------------------- */

/* Both moments hold one gradient then, so the step is its sign: at the given rate for the models,
 * with decay for matrices, and at ten times that for S, which never decays. Returns the largest
 * error; gradients of 1e-7 and below are left out, where eps still counts. */
static double first_step_error(dual_exchange *e, const double *before, const double *gradient,
                               const double *after, double rate) {
    double worst = 0;
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        const int decays = p->tensor->rows > 1 && owner != 'S';
        const double step = rate * (owner == 'S' ? 10 : 1);
        for (size_t j = 0; j < elements(p->tensor); j++, n++) {
            if (!p->tensor->needs_grad || fabs(gradient[n]) <= 1e-7) continue;
            const double kept = before[n] * (decays ? 1 - rate * 0.1 : 1);
            const double expected = kept - (gradient[n] > 0 ? step : -step);
            worst = fmax(worst, fabs(expected - after[n]));
        }
    }
    return worst;
}

static size_t count_nonzero(const double *a, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += a[i] != 0;
    return count;
}

static void test_first_step(void) {
    const double rate = 1e-3;
    fixture f;
    fixture_open_preset(&f, GPT2_TIED, "h2");
    ragged data;
    ragged_init(&data, 1);
    dual_adamw adamw;
    dual_adamw_new(&f.c, &adamw, &f.e);
    check_that(adamw.beta1 == 0.9 && adamw.beta2 == 0.95 && adamw.eps == 1e-8 &&
               adamw.decay == 0.1 && adamw.clip == 1.0, "AdamW: expected method's constants");
    adamw.eps = 1e-30;
    double *before = exchange_values(&f.e);
    const dual_mark mark = dual_mark_here(&f.c);
    dual_outcome out;
    dual_run(&f.c, &f.e, &data.batch, &out);
    dual_backward(&f.c, out.loss);
    dual_release(&f.c, mark);
    const size_t n = exchange_elements(&f.e);
    double *gradients = exchange_gradients(&f.e);
    const double before_clip = dual_adamw_step(&f.c, &adamw, rate);
    check_close(before_clip, l2_norm(gradients, n), before_clip * check_limit(1e-12, 1e-5),
                "AdamW: norm of all gradients before clipping");
    check_that(before_clip > 1, "AdamW: expected a gradient that is clipped, got norm %g",
               before_clip);
    double *after = exchange_values(&f.e), *left = exchange_gradients(&f.e);
    check_close(first_step_error(&f.e, before, gradients, after, rate), 0,
                check_limit(1e-12, 1e-6), "AdamW: the first step");
    check_size(count_nonzero(left, n), 0, "AdamW: gradients that are not 0 after the step");
    free(before);
    free(after);
    free(gradients);
    free(left);
    fixture_close(&f);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { MANY = 14, LONG = 12, LARGE_VOCAB = 131 };

/* Two groups in each of many sequences: sizes at which every kernel has several tiles. */
typedef struct {
    int32_t text[MANY][LONG], target[MANY * 2][LONG];
    const int32_t *texts[MANY];
    size_t length[MANY];
    dual_group group[MANY * 2];
    dual_batch batch;
} large_batch;

static void large_batch_init(large_batch *b) {
    static const int32_t cue[] = {5};
    dual_rng rng = dual_rng_seed(3, 3);
    for (size_t i = 0; i < MANY; i++) {
        for (size_t j = 0; j < LONG; j++)
            b->text[i][j] = (int32_t)dual_rng_below(&rng, LARGE_VOCAB);
        b->texts[i] = b->text[i];
        b->length[i] = LONG - i % 4;
    }
    for (size_t g = 0; g < MANY * 2; g++) {
        for (size_t j = 0; j < LONG; j++)
            b->target[g][j] = (int32_t)dual_rng_below(&rng, LARGE_VOCAB);
        b->group[g] = (dual_group){
            .sequence = g / 2, .prefix = g % 2 ? b->length[g / 2] : 5, .cue = cue, .n_cue = 1,
            .target = b->target[g], .n_target = 4 + g % 3};
    }
    b->batch = (dual_batch){.n_sequences = MANY, .text = b->texts, .length = b->length,
                            .n_groups = MANY * 2, .group = b->group};
}

static dual_config large_config(int family) {
    static const dual_config gpt2 = {
        .family = DUAL_GPT2, .tied = 1, .vocab = LARGE_VOCAB, .positions = 64, .layers = 2,
        .hidden = 64, .heads = 4, .kv_heads = 4, .head_dim = 16, .mlp = 256, .norm_eps = 1e-5};
    static const dual_config qwen3 = {
        .family = DUAL_QWEN3, .vocab = LARGE_VOCAB, .positions = 64, .layers = 2, .hidden = 64,
        .heads = 4, .kv_heads = 2, .head_dim = 24, .mlp = 192, .norm_eps = 1e-6, .rope_theta = 1e4};
    return family == DUAL_GPT2 ? gpt2 : qwen3;
}

enum { STEPS = 2, NEVER = 3 };

typedef struct {
    size_t n;
    double *values, *gradients;    /* after the steps */
    double loss[STEPS], norm[STEPS];
} training;

/* Blocks are recomputed from step `recompute` on. A third run is only for its gradients. */
static training train_twice(int threads, int recompute, int family, const char *name) {
    const dual_config config = large_config(family);
    const dual_system system = preset(name);
    static large_batch data;
    large_batch_init(&data);
    dual_threads(threads);
    fixture f;
    fixture_open_config(&f, &config, &system);
    randomize_model(f.base, 4, 0.08);
    dual_adamw adamw;
    dual_adamw_new(&f.c, &adamw, &f.e);
    training t = {.n = exchange_elements(&f.e)};
    for (int step = 0; step <= STEPS; step++) {
        const dual_mark mark = dual_mark_here(&f.c);
        dual_outcome out;
        f.c.recompute = step >= recompute;
        dual_run(&f.c, &f.e, &data.batch, &out);
        if (step < STEPS) t.loss[step] = loss_value(out.loss);
        dual_backward(&f.c, out.loss);
        if (step < STEPS) t.norm[step] = dual_adamw_step(&f.c, &adamw, 1e-3);
        else t.gradients = take_gradients(&f.e);
        dual_release(&f.c, mark);
    }
    t.values = exchange_values(&f.e);
    fixture_close(&f);
    return t;
}

static int same_training(const training *a, const training *b) {
    return a->n == b->n && same_bits(a->values, b->values, a->n) &&
           same_bits(a->gradients, b->gradients, a->n) && same_bits(a->loss, b->loss, STEPS) &&
           same_bits(a->norm, b->norm, STEPS);
}

static void training_free(training *t) {
    free(t->values);
    free(t->gradients);
}

static void same_with_threads(int family, const char *name) {
    const char *shape = shape_name[family == DUAL_GPT2 ? GPT2_TIED : QWEN3_UNTIED];
    training one = train_twice(1, NEVER, family, name);
    training four = train_twice(4, NEVER, family, name);
    training three = train_twice(3, NEVER, family, name);
    training again = train_twice(1, 0, family, name), later = train_twice(2, 1, family, name);
    check_that(same_training(&one, &four) && one.loss[0] > 0,
               "%s, %s: expected the same bits with 1 and with 4 threads", shape, name);
    check_that(same_training(&one, &three),
               "%s, %s: expected the same bits with 1 and with 3 threads", shape, name);
    check_that(same_training(&one, &again) && same_training(&one, &later),
               "%s, %s: expected the same bits recomputed, with 1 thread or 2 and from the second"
               " step on", shape, name);
    training_free(&one);
    training_free(&four);
    training_free(&three);
    training_free(&again);
    training_free(&later);
}

static void test_threads(void) {
    same_with_threads(DUAL_GPT2, "h2");
    same_with_threads(DUAL_GPT2, "coconut");
    same_with_threads(DUAL_QWEN3, "h1h2");
    same_with_threads(DUAL_QWEN3, "liu");
    dual_threads(1);
}

/* ---- a batch in parts ------------------------------------------------------------------------ */

/* Of one system's loss on one batch, at once and in parts. */
typedef struct {
    double loss, penalty, *gradients;
    size_t peak;
} divided;

static divided in_parts(fixture *f, const dual_batch *batch, size_t parts) {
    batch_means m;
    f->c.peak = f->c.used;
    const batch_share all = {0, parts, parts, NULL};
    if (!run_gradients(&f->c, &f->e, batch, &all, &m)) check_fatal(f->c.error);
    return (divided){m.loss, m.penalty, take_gradients(&f->e), f->c.peak};
}

static void same_in_parts(fixture *f, const dual_batch *batch, const char *what) {
    const dual_mark mark = dual_mark_here(&f->c);
    const size_t before = f->c.used;
    dual_outcome out;
    dual_run(&f->c, &f->e, batch, &out);
    const double loss = loss_value(out.target_loss), penalty = loss_value(out.penalty);
    dual_backward(&f->c, out.loss);
    double *expected = take_gradients(&f->e);
    dual_release(&f->c, mark);
    for (size_t parts = 1; parts <= batch->n_sequences; parts++) {
        const char *worst;
        divided d = in_parts(f, batch, parts);
        const double apart = gradient_distance(&f->e, d.gradients, expected, "BCS", &worst);
        check_that(apart <= check_limit(1e-12, 1e-3), "%s: %d parts: gradients %.3g apart at %s",
                   what, (int)parts, apart, worst);
        check_close(d.loss, loss, check_limit(1e-12, 1e-5), "%s: loss of %d parts", what,
                    (int)parts);
        if (f->e.system.orthogonality > 0)
            check_close(d.penalty, penalty, check_limit(1e-12, 1e-5), "%s: penalty of %d parts",
                        what, (int)parts);
        else check_that(isnan(d.penalty), "%s: no penalty", what);
        check_that(parts > 1 || same_bits(d.gradients, expected, exchange_elements(&f->e)),
                   "%s: the bits of a batch that is not divided", what);
        check_size(f->c.used, before, "%s: memory that is not given back", what);
        free(d.gradients);
    }
    free(expected);
}

/* Sequences of unequal length, with one to three groups of one to six targets. */
static void divide(int shape, const dual_system *system, int recompute) {
    ragged data;
    ragged_init(&data, 1);
    fixture f;
    fixture_open_layers(&f, shape, 3, system);
    f.c.recompute = recompute;
    same_in_parts(&f, &data.batch, label(shape, system_title(system), "divided"));
    fixture_close(&f);
}

static void test_parts(void) {
    for (size_t i = 0; i < SYSTEMS; i++)
        for (int shape = 0; shape < SHAPES; shape++) {
            dual_system s = preset(all_systems[i]);
            divide(shape, &s, 0);
            divide(shape, &s, 1);
            if (!s.base_trained) continue;
            s.text_loss = 0.7;
            divide(shape, &s, 0);
            if (!dual_system_needs_coprocessor(&s)) continue;
            s.fused = 1;
            divide(shape, &s, 0);
            s.detach = !(s.fused = 0);
            divide(shape, &s, 1);
        }
}

static void test_penalties_in_parts(void) {
    static const char *const names[] = {"liu", "h2", "h1", "h1h2"};
    for (int k = 0; k < 4 * 2 * 2 * SHAPES; k++) {
        const int shape = k % SHAPES, centred = k / SHAPES % 2, values = k / SHAPES / 2 % 2;
        dual_system s = preset(names[k / SHAPES / 4]);
        if (values && s.inject != DUAL_KV) continue;
        s.orthogonality = 3;
        s.centred = centred;
        s.values = values;
        divide(shape, &s, 0);
        s.gain = s.inject == DUAL_EMBED;
        if (values) s.kv_layers = 5;   /* layers 0 and 2 */
        divide(shape, &s, 1);
    }
}

/* The same bits with any number of threads, and the less memory the more parts. */
static void test_parts_and_threads(void) {
    static large_batch data;
    large_batch_init(&data);
    dual_system system = preset("h2");
    const dual_config config = large_config(DUAL_GPT2);
    system.orthogonality = 0.5;
    divided d[3];
    for (int k = 0; k < 3; k++) {
        fixture f;
        dual_threads(k ? 4 : 1);
        fixture_open_config(&f, &config, &system);
        if (k == 2) dual_threads(1);   /* counted with 4: the same work space */
        d[k] = in_parts(&f, &data.batch, k == 2 ? 1 : 5);
        if (k == 1)
            check_that(same_bits(d[0].gradients, d[1].gradients, exchange_elements(&f.e)) &&
                       d[0].loss > 0 && d[0].loss == d[1].loss && d[0].penalty == d[1].penalty,
                       "parts: expected the same bits with 1 and with 4 threads");
        fixture_close(&f);
    }
    dual_threads(1);
    check_that(d[0].peak < d[2].peak, "parts: expected less memory, got %lu and %lu at once",
               (unsigned long)d[0].peak, (unsigned long)d[2].peak);
    for (int k = 0; k < 3; k++) free(d[k].gradients);
}

/* ---- eight problems by heart ----------------------------------------------------------------- */

enum { EIGHT = 8, QUESTION = 5, ANSWER = 3 };
enum { BY_HEART, COPY };

typedef struct {
    int32_t text[EIGHT][QUESTION], target[EIGHT][ANSWER];
    const int32_t *texts[EIGHT];
    size_t length[EIGHT];
    dual_group group[EIGHT];
    dual_batch batch;
} problems;

/* Questions of five tokens, answers of three: the first three again (COPY), or a choice that
 * differs from problem to problem and can only be learnt by heart. */
static void problems_init(problems *p, uint64_t seed, int rule) {
    static const int32_t cue[] = {0};
    dual_rng rng = dual_rng_seed(seed, 6);
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < EIGHT; i++) {
        for (size_t j = 0; j < QUESTION; j++)
            p->text[i][j] = 1 + (int32_t)dual_rng_below(&rng, VOCAB - 1);
        for (size_t j = 0; j < ANSWER; j++)
            p->target[i][j] = p->text[i][rule == COPY ? j : (i + j * 2) % QUESTION];
        p->texts[i] = p->text[i];
        p->length[i] = QUESTION;
        p->group[i] = (dual_group){.sequence = i, .prefix = QUESTION, .cue = cue, .n_cue = 1,
                                   .target = p->target[i], .n_target = ANSWER};
    }
    p->batch = (dual_batch){.n_sequences = EIGHT, .text = p->texts, .length = p->length,
                            .n_groups = EIGHT, .group = p->group};
}

/* Returns the last loss; *first: the one before training. `sets` sets of eight take turns. */
static double train(fixture *f, uint64_t sets, int rule, uint64_t steps, double *first) {
    double loss = 0;
    dual_adamw adamw;
    dual_adamw_new(&f->c, &adamw, &f->e);
    adamw.decay = 0;
    for (uint64_t step = 0; step <= steps; step++) {
        const dual_mark mark = dual_mark_here(&f->c);
        problems p;
        problems_init(&p, step % sets, rule);
        dual_outcome out;
        dual_run(&f->c, &f->e, &p.batch, &out);
        loss = loss_value(out.loss);
        if (step == 0) *first = loss;
        if (step < steps) {
            dual_backward(&f->c, out.loss);
            dual_adamw_step(&f->c, &adamw, dual_schedule(step, steps, 0.1, 1e-2));
        }
        dual_release(&f->c, mark);
    }
    return loss;
}

/* Starts from a Base that knows how to copy. */
static void overfit(const dual_config *config, const dual_model *copier, const char *name,
                    const char *shape) {
    dual_system system = preset(name);
    if (system.inject != DUAL_NONE)    /* prompt has nothing but its slots */
        system.latents = system.inject == DUAL_SOFT && !system.base_trained ? 16 : 4;
    fixture f;
    fixture_open_config(&f, config, &system);
    dual_model_copy(f.base, copier);
    dual_exchange_init(&f.e, 1);
    double start = 0;
    const double end = train(&f, 1, BY_HEART, system.base_trained ? 100 : 200, &start);
    if (system.base_trained)
        check_that(end < 0.05, "%s, %s: expected eight problems overfitted to a loss below 0.05,"
                   " got %.4f from %.4f", shape, name, end, start);
    else
        check_that(end < start / 3, "%s, %s: expected a loss below a third of %.4f, got %.4f",
                   shape, name, start, end);
    fixture_close(&f);
}

static void test_overfit(void) {
    static const dual_config configs[] = {
        {.family = DUAL_GPT2, .tied = 1, .vocab = VOCAB, .positions = 32, .layers = 2, .hidden = 16,
         .heads = 4, .kv_heads = 4, .head_dim = 4, .mlp = 48, .norm_eps = 1e-5},
        {.family = DUAL_QWEN3, .tied = 1, .vocab = VOCAB, .positions = 32, .layers = 2,
         .hidden = 16, .heads = 4, .kv_heads = 2, .head_dim = 6, .mlp = 32, .norm_eps = 1e-6,
         .rope_theta = 1e4}};
    const dual_system none = preset("none");
    for (size_t k = 0; k < 2; k++) {
        fixture copier;
        double start;
        fixture_open_config(&copier, &configs[k], &none);
        dual_model_init(copier.base, dual_rng_seed(5, 5));
        train(&copier, 64, COPY, 400, &start);
        for (size_t i = 0; i < SYSTEMS; i++)
            overfit(&configs[k], copier.base, all_systems[i], k == 0 ? "gpt2" : "qwen3");
        fixture_close(&copier);
    }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_start();
    test_first_step();
    test_threads();
    test_parts();
    test_penalties_in_parts();
    test_parts_and_threads();
    test_overfit();
    return check_done();
}
