/* exchange.h - what the tests of the exchange share: small models with large random weights, one
 * batch in which everything is unequal, results that outlive their tape, and the comparisons of two
 * results. by_hand.h lays out the same exchange without dual_run. */
#ifndef DUAL_TEST_EXCHANGE_H
#define DUAL_TEST_EXCHANGE_H
#include "check.h"

static const char *const all_systems[] = {"none", "pause", "soft", "prompt", "coconut", "liu",
                                          "h1", "h2", "h1h2"};
enum { SYSTEMS = sizeof all_systems / sizeof *all_systems, VOCAB = 23, SLOTS = 3 };

/* ---- small models ---------------------------------------------------------------------------- */

enum { GPT2_TIED, GPT2_UNTIED, QWEN3_UNTIED, QWEN3_TIED, SHAPES };
static const char *const shape_name[] = {"gpt2", "gpt2 untied", "qwen3", "qwen3 tied"};

/* All sizes differ from one another, so that no mix-up of two of them goes unseen. */
static inline dual_config shape_config(int shape) {
    static const dual_config gpt2 = {
        .family = DUAL_GPT2, .vocab = VOCAB, .positions = 61, .layers = 2, .hidden = 10, .heads = 2,
        .kv_heads = 2, .head_dim = 5, .mlp = 19, .norm_eps = 1e-5};
    static const dual_config qwen3 = {
        .family = DUAL_QWEN3, .vocab = VOCAB, .positions = 61, .layers = 2, .hidden = 14,
        .heads = 4, .kv_heads = 2, .head_dim = 6, .mlp = 17, .norm_eps = 1e-6, .rope_theta = 1e4};
    dual_config config = shape <= GPT2_UNTIED ? gpt2 : qwen3;
    config.tied = shape == GPT2_TIED || shape == QWEN3_TIED;
    return config;
}

/* Large weights everywhere, norms included: a missing norm weight or bias must show. */
static inline void randomize_model(dual_model *m, uint64_t seed, double std) {
    dual_rng rng = dual_rng_seed(seed, 3);
    for (size_t i = 0; i < m->n_params; i++) {
        const double mean = m->param[i].start.kind == DUAL_ONES ? 1 : 0;
        check_fill(m->param[i].tensor, &rng, mean, std);
    }
}

static inline void add_noise(dual_tensor *t, dual_rng *rng, double std) {
    for (size_t i = 0; t && i < t->rows * t->cols; i++)
        t->data[i] += (dual_real)(std * dual_rng_normal(rng));
}

static inline size_t elements(const dual_tensor *t) {
    return t->rows * t->cols;
}

/* ---- fixture: an exchange of two random models, ready to run and to train -------------------- */

typedef struct {
    dual_ctx c;
    void *memory;
    dual_exchange e;
    dual_model *base, *coprocessor;
} fixture;

/* A Coprocessor of its own shape where the system needs one. Its weights are unlike the Base's: a
 * mix-up of the two models must show. */
static inline void fixture_open_pair(fixture *f, const dual_config *base,
                                     const dual_config *coprocessor, const dual_system *system) {
    f->memory = check_begin(&f->c, (size_t)48 << 20);
    f->base = dual_model_new(&f->c, base);
    f->coprocessor = NULL;
    if (dual_system_needs_coprocessor(system)) {
        f->coprocessor = dual_model_new(&f->c, coprocessor);
        randomize_model(f->coprocessor, 2, 0.3);
    }
    if (!check_that(dual_exchange_new(&f->c, &f->e, system, f->base, f->coprocessor),
                    "exchange %s: %s", system->name, f->c.error))
        check_fatal("no exchange to test");
    randomize_model(f->base, 1, 0.3);
    dual_exchange_init(&f->e, 2);
    dual_rng rng = dual_rng_seed(9, 9);
    for (size_t i = 0; f->coprocessor && i < f->coprocessor->n_params; i++)
        add_noise(f->coprocessor->param[i].tensor, &rng, 0.15);
    add_noise(f->e.soft.tensor, &rng, 0.5);
    dual_exchange_train(&f->c, &f->e);
}

static inline void fixture_open_config(fixture *f, const dual_config *config,
                                       const dual_system *system) {
    fixture_open_pair(f, config, config, system);
}

static inline void fixture_open_layers(fixture *f, int shape, size_t layers,
                                       const dual_system *system) {
    dual_config config = shape_config(shape);
    config.layers = layers;
    fixture_open_config(f, &config, system);
}

static inline void fixture_open(fixture *f, int shape, const dual_system *system) {
    fixture_open_layers(f, shape, 2, system);
}

static inline dual_system preset(const char *name) {
    dual_system s = dual_system_preset(name);
    if (s.inject != DUAL_NONE) s.latents = SLOTS;
    return s;
}

static inline void fixture_open_preset(fixture *f, int shape, const char *name) {
    const dual_system system = preset(name);
    fixture_open(f, shape, &system);
}

static inline void fixture_close(fixture *f) {
    check_end(&f->c, f->memory);
}

/* ---- names for messages ---------------------------------------------------------------------- */

/* The preset's name and every option that is on. */
static inline const char *system_title(const dual_system *s) {
    static char text[160];
    snprintf(text, sizeof text, "%s%s%s%s", s->name, s->gain ? " gain" : "",
             s->detach ? " detached" : "", s->fused ? " fused" : "");
    if (s->kv_layers) check_append(text, sizeof text, " layers %x", (unsigned)s->kv_layers);
    if (s->text_loss > 0) check_append(text, sizeof text, " text %g", s->text_loss);
    if (s->orthogonality > 0)
        check_append(text, sizeof text, " orthogonality %g%s%s", s->orthogonality,
                     s->centred ? " centred" : "", s->values ? " of values" : "");
    return text;
}

static inline const char *label(int shape, const char *system, const char *what) {
    static char text[300];
    snprintf(text, sizeof text, "%s, %s, %s", shape_name[shape], system, what);
    return text;
}

/* ---- a batch with everything unequal --------------------------------------------------------- */

enum { SEQUENCES = 3, GROUPS = 6, TEXT_MOST = 9, CUE_MOST = 3, TARGETS_MOST = 6 };
static const size_t text_length[SEQUENCES] = {9, 4, 7};
static const size_t group_sequence[GROUPS] = {0, 0, 0, 1, 2, 2};
static const size_t group_prefix[GROUPS] = {3, 9, 5, 4, 2, 6};
static const size_t group_targets[GROUPS] = {4, 1, 6, 3, 5, 2};

typedef struct {
    int32_t text[SEQUENCES][TEXT_MOST], cue[GROUPS][CUE_MOST], target[GROUPS][TARGETS_MOST];
    const int32_t *texts[SEQUENCES];
    size_t length[SEQUENCES];
    dual_group group[GROUPS];
    dual_batch batch;
} ragged;

static inline void random_tokens(int32_t *token, size_t n, dual_rng *rng) {
    for (size_t i = 0; i < n; i++) token[i] = (int32_t)dual_rng_below(rng, VOCAB);
}

static inline void ragged_init(ragged *r, size_t n_cue) {
    dual_rng rng = dual_rng_seed(17, 4);
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < SEQUENCES; i++) {
        random_tokens(r->text[i], TEXT_MOST, &rng);
        r->texts[i] = r->text[i];
        r->length[i] = text_length[i];
    }
    for (size_t g = 0; g < GROUPS; g++) {
        random_tokens(r->cue[g], CUE_MOST, &rng);
        random_tokens(r->target[g], TARGETS_MOST, &rng);
        r->group[g] = (dual_group){
            .sequence = group_sequence[g], .prefix = group_prefix[g], .cue = r->cue[g],
            .n_cue = n_cue, .target = r->target[g], .n_target = group_targets[g]};
    }
    r->batch = (dual_batch){.n_sequences = SEQUENCES, .text = r->texts, .length = r->length,
                            .n_groups = GROUPS, .group = r->group};
}

/* Every text cut to `length` tokens, and every group behind all of it. */
static inline void ragged_cut(ragged *r, size_t length) {
    for (size_t i = 0; i < SEQUENCES; i++) r->length[i] = length;
    for (size_t g = 0; g < GROUPS; g++) r->group[g].prefix = length;
}

/* One group of a batch as a batch of its own. */
typedef struct {
    dual_group group;
    dual_batch batch;
} single;

static inline void single_init(single *s, const dual_batch *all, size_t g) {
    s->group = all->group[g];
    s->batch = *all;
    s->batch.n_sequences = 1;
    s->batch.text = all->text + s->group.sequence;
    s->batch.length = all->length + s->group.sequence;
    s->group.sequence = 0;
    s->batch.n_groups = 1;
    s->batch.group = &s->group;
}

static inline size_t count_targets(const dual_batch *b) {
    size_t n = 0;
    for (size_t g = 0; g < b->n_groups; g++) n += b->group[g].n_target;
    return n;
}

/* ---- numbers as arrays of doubles; the caller frees them ------------------------------------- */

static inline double *new_array(size_t n) {
    double *a = calloc(n ? n : 1, sizeof *a);
    if (!a) check_fatal("out of memory");
    return a;
}

static inline double *tensor_values(const dual_tensor *t) {
    double *a = new_array(elements(t));
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            a[r * t->cols + c] = (double)t->data[r * t->stride + c];
    return a;
}

static inline double tensor_distance(const dual_tensor *t, const double *a) {
    double *b = tensor_values(t);
    const double distance = check_distance(a, b, elements(t), 0);
    free(b);
    return distance;
}

static inline double l2_norm(const double *a, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * a[i];
    return sqrt(sum);
}

static inline int same_bits(const double *a, const double *b, size_t n) {
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static inline size_t exchange_elements(dual_exchange *e) {
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        n += elements(p->tensor);
    return n;
}

static inline double *exchange_values(dual_exchange *e) {
    double *all = new_array(exchange_elements(e));
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        for (size_t j = 0; j < elements(p->tensor); j++) all[n++] = (double)p->tensor->data[j];
    return all;
}

/* Every gradient of the exchange, zeros where nothing is trained. */
static inline double *exchange_gradients(dual_exchange *e) {
    double *all = new_array(exchange_elements(e));
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        for (size_t j = 0; p->tensor->needs_grad && j < elements(p->tensor); j++)
            all[n + j] = (double)p->tensor->grad[j];
        n += elements(p->tensor);
    }
    return all;
}

static inline void zero_gradients(dual_exchange *e) {
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        if (p->tensor->needs_grad)
            memset(p->tensor->grad, 0, elements(p->tensor) * sizeof *p->tensor->grad);
}

static inline double *take_gradients(dual_exchange *e) {
    double *all = exchange_gradients(e);
    zero_gradients(e);
    return all;
}

/* ---- results of a run, kept beyond the release of its tape ----------------------------------- */

typedef struct {
    double loss, *logits, *latents, *gradients;
    size_t n_logits, n_latents;
} result;

enum { FORWARD_ONLY, BACKWARD };

/* -1 where there is no loss. */
static inline double loss_value(const dual_tensor *loss) {
    return loss ? (double)loss->data[0] : -1;
}

static inline result run_batch(fixture *f, const dual_batch *batch, int backward) {
    const dual_mark mark = dual_mark_here(&f->c);
    if (!check_that(dual_batch_check(&f->c, &f->e, batch), "%s: batch refused: %s",
                    f->e.system.name, f->c.error))
        check_fatal("a good batch was refused");
    dual_outcome out;
    dual_run(&f->c, &f->e, batch, &out);
    result r = {.loss = loss_value(out.loss), .logits = tensor_values(out.logits),
                .n_logits = elements(out.logits)};
    if (out.latents) {
        r.latents = tensor_values(out.latents);
        r.n_latents = elements(out.latents);
    }
    if (backward) {
        dual_backward(&f->c, out.loss);
        r.gradients = take_gradients(&f->e);
    }
    dual_release(&f->c, mark);
    return r;
}

static inline void result_free(result *r) {
    free(r->logits);
    free(r->latents);
    free(r->gradients);
}

static inline const dual_pass *find_pass(const dual_outcome *out, const char *name) {
    for (size_t i = 0; i < out->n_passes; i++)
        if (!strcmp(out->pass[i].name, name)) return &out->pass[i];
    return NULL;
}

static inline const dual_pass *last_pass(const dual_outcome *out) {
    return &out->pass[out->n_passes - 1];
}

/* ---- comparisons of two results -------------------------------------------------------------- */

/* The tensor in which two arrays of gradients differ most. Differences of 1e-12 of the whole
 * gradient (1e-6 in float) are rounding: the true gradient of GPT-2's key bias is zero except where
 * the keys of two models share a softmax. */
static inline double gradient_distance(dual_exchange *e, const double *a, const double *b,
                                       const char *owners, const char **worst) {
    const double floor = l2_norm(a, exchange_elements(e)) * check_limit(1e-12, 1e-6);
    double most = 0;
    size_t n = 0;
    dual_param *p;
    char owner;
    *worst = "none";
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        const size_t count = elements(p->tensor);
        const double distance = check_distance(a + n, b + n, count, floor);
        if (strchr(owners, owner) && !(distance <= most)) {
            most = distance;
            *worst = p->name;
        }
        n += count;
    }
    return most;
}

static inline double base_gradient_distance(dual_exchange *e, const double *a, const double *b) {
    const char *worst;
    return gradient_distance(e, a, b, "B", &worst);
}

static inline void same_gradients(dual_exchange *e, const double *got, const double *expected,
                                  const char *owners, const char *what) {
    const char *worst;
    const double distance = gradient_distance(e, got, expected, owners, &worst);
    check_that(distance <= check_limit(1e-9, 2e-3) && l2_norm(expected, exchange_elements(e)) > 0,
               "%s: expected equal gradients, got distance %.3g at %s", what, distance, worst);
}

static inline double logits_distance(const result *a, const result *b) {
    return check_distance(a->logits, b->logits, a->n_logits, 0);
}

static inline void same_logits(const result *got, const result *expected, const char *what) {
    const double distance = got->n_logits == expected->n_logits ? logits_distance(got, expected)
                                                                : (double)NAN;
    check_that(distance <= check_limit(1e-12, 5e-5), "%s: expected equal logits, got distance %.3g",
               what, distance);
}

static inline int same_logit_bits(const result *a, const result *b) {
    return same_bits(a->logits, b->logits, a->n_logits);
}

static inline void same_results(fixture *f, const result *got, const result *expected,
                                const char *what) {
    same_logits(got, expected, what);
    check_close(got->loss, expected->loss, check_limit(1e-12, 5e-5), "%s: loss", what);
    same_gradients(&f->e, got->gradients, expected->gradients, "BCS", what);
}
#endif
