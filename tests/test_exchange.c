/* test_exchange.c - the method against itself: every system laid out by hand, one group at a time
 * and with nothing but dual_forward, must give the logits, the loss and the gradients of dual_run;
 * then leaks, frozen arms, finite differences, controls, decoding, threads and refusals.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_exchange.c dual.c -lm -o t && ./t */
#include "check.h"

static const char *const all_systems[] = { "none", "pause", "soft", "prompt", "coconut", "liu",
                                           "h1", "h2", "h1h2" };
enum { SYSTEMS = 9, SHAPES = 4, VOCAB = 23, SLOTS = 3 };
static const char *const shape_name[] = { "gpt2", "gpt2 untied", "qwen3", "qwen3 tied" };

/* ---- small models ---------------------------------------------------------------------------- */

static dual_config shape_of(int which) {
    static const dual_config gpt2 = { DUAL_GPT2, 1, VOCAB, 61, 2, 10, 2, 2, 5, 19, 1e-5, 0 };
    static const dual_config qwen = { DUAL_QWEN3, 0, VOCAB, 61, 2, 14, 4, 2, 6, 17, 1e-6, 1e4 };
    dual_config c = which < 2 ? gpt2 : qwen;
    c.tied = which == 0 || which == 3;
    return c;
}

/* Large weights everywhere, norms included: a missing norm weight or bias must show. */
static void shake(dual_model *m, uint64_t seed, double scale) {
    dual_rng rng = dual_rng_seed(seed, 3);
    size_t i;
    for (i = 0; i < m->n_params; i++)
        check_fill(m->param[i].tensor, &rng, m->param[i].start.kind == DUAL_ONES, scale);
}

static void add_noise(dual_tensor *t, dual_rng *rng, double scale) {
    size_t i;
    for (i = 0; t && i < t->rows * t->cols; i++)
        t->data[i] += (dual_real)(scale * dual_rng_normal(rng));
}

typedef struct {
    dual_ctx c;
    void *memory;
    dual_exchange e;
    dual_model *base, *coprocessor;
} desk;

static void open_pair(desk *d, const dual_config *shape, const dual_config *other,
                      const dual_system *system) {
    dual_rng rng = dual_rng_seed(9, 9);
    size_t i;
    d->memory = check_begin(&d->c, (size_t)48 << 20);
    d->base = dual_model_new(&d->c, shape);
    d->coprocessor = dual_system_needs_coprocessor(system) ? dual_model_new(&d->c, other) : NULL;
    if (d->coprocessor)
        shake(d->coprocessor, 2, 0.3);
    if (!check_that(dual_exchange_new(&d->c, &d->e, system, d->base, d->coprocessor),
                    "exchange %s: %s", system->name, d->c.error))
        check_fatal("no exchange to test");
    shake(d->base, 1, 0.3);
    dual_exchange_init(&d->e, 2);
    if (d->coprocessor)                            /* a Coprocessor unlike the Base */
        for (i = 0; i < d->coprocessor->n_params; i++)
            add_noise(d->coprocessor->param[i].tensor, &rng, 0.15);
    add_noise(d->e.soft.tensor, &rng, 0.5);
    dual_exchange_train(&d->c, &d->e);
}

static void open_with(desk *d, const dual_config *shape, const dual_system *system) {
    open_pair(d, shape, shape, system);
}

static dual_system preset(const char *name) {
    dual_system s = dual_system_preset(name);
    if (s.inject != DUAL_NONE)
        s.latents = SLOTS;
    return s;
}

/* The preset's name and every option that is on. */
static const char *title(const dual_system *s) {
    static char text[160];
    snprintf(text, sizeof text, "%s%s%s%s", s->name, s->gain ? " gain" : "",
             s->detach ? " detached" : "", s->fused ? " fused" : "");
    if (s->kv_layers)
        sprintf(text + strlen(text), " layers %x", (unsigned)s->kv_layers);
    if (s->text_loss > 0)
        sprintf(text + strlen(text), " text %g", s->text_loss);
    if (s->orthogonality > 0)
        sprintf(text + strlen(text), " orthogonality %g%s%s", s->orthogonality,
                s->centred ? " centred" : "", s->values ? " of values" : "");
    return text;
}

static void open_desk(desk *d, int shape, const char *name) {
    dual_config config = shape_of(shape);
    dual_system system = preset(name);
    open_with(d, &config, &system);
}

static void close_desk(desk *d) {
    check_end(&d->c, d->memory);
}

/* ---- a batch with everything unequal --------------------------------------------------------- */

enum { SEQUENCES = 3, GROUPS = 6 };
typedef struct {
    int32_t text[SEQUENCES][9], cue[GROUPS][3], target[GROUPS][6];
    const int32_t *texts[SEQUENCES];
    size_t length[SEQUENCES];
    dual_group group[GROUPS];
    dual_batch batch;
} scene;

static void set_scene(scene *s, size_t n_cue) {
    static const size_t length[] = { 9, 4, 7 }, sequence[] = { 0, 0, 0, 1, 2, 2 };
    static const size_t prefix[] = { 3, 9, 5, 4, 2, 6 }, targets[] = { 4, 1, 6, 3, 5, 2 };
    dual_rng rng = dual_rng_seed(17, 4);
    size_t i, j;
    memset(s, 0, sizeof *s);
    for (i = 0; i < SEQUENCES; i++) {
        for (j = 0; j < 9; j++)
            s->text[i][j] = (int32_t)dual_rng_below(&rng, VOCAB);
        s->texts[i] = s->text[i];
        s->length[i] = length[i];
    }
    for (i = 0; i < GROUPS; i++) {
        for (j = 0; j < 3; j++)
            s->cue[i][j] = (int32_t)dual_rng_below(&rng, VOCAB);
        for (j = 0; j < 6; j++)
            s->target[i][j] = (int32_t)dual_rng_below(&rng, VOCAB);
        s->group[i].sequence = sequence[i];
        s->group[i].prefix = prefix[i];
        s->group[i].cue = s->cue[i];
        s->group[i].n_cue = n_cue;
        s->group[i].target = s->target[i];
        s->group[i].n_target = targets[i];
    }
    s->batch.n_sequences = SEQUENCES;
    s->batch.text = s->texts;
    s->batch.length = s->length;
    s->batch.n_groups = GROUPS;
    s->batch.group = s->group;
}

/* One group of a batch as a batch of its own. */
typedef struct {
    dual_group group;
    dual_batch batch;
} lonely;

static void set_alone(lonely *l, const dual_batch *all, size_t g) {
    l->group = all->group[g];
    l->batch = *all;
    l->batch.n_sequences = 1;
    l->batch.text = all->text + l->group.sequence;
    l->batch.length = all->length + l->group.sequence;
    l->group.sequence = 0;
    l->batch.n_groups = 1;
    l->batch.group = &l->group;
}

static size_t targets_of(const dual_batch *b) {
    size_t g, n = 0;
    for (g = 0; g < b->n_groups; g++)
        n += b->group[g].n_target;
    return n;
}

/* ---- reading results ------------------------------------------------------------------------- */

static double *numbers(size_t n) {
    double *a = calloc(n ? n : 1, sizeof *a);
    if (!a)
        check_fatal("out of memory");
    return a;
}

static double *values_of(const dual_tensor *t) {
    double *a = numbers(t->rows * t->cols);
    size_t r, c;
    for (r = 0; r < t->rows; r++)
        for (c = 0; c < t->cols; c++)
            a[r * t->cols + c] = (double)t->data[r * t->stride + c];
    return a;
}

static double distance_of(const dual_tensor *t, const double *a) {
    double *b = values_of(t), d = check_distance(a, b, t->rows * t->cols, 0);
    free(b);
    return d;
}

static size_t exchange_size(dual_exchange *e) {
    size_t i, n = 0;
    dual_param *p;
    char owner;
    for (i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        n += p->tensor->rows * p->tensor->cols;
    return n;
}

/* Every gradient of the exchange in one array, zeros where nothing is trained; then zeroed. */
static double *take_gradients(dual_exchange *e) {
    double *all = numbers(exchange_size(e));
    size_t i, j, n = 0;
    dual_param *p;
    char owner;
    for (i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        for (j = 0; j < p->tensor->rows * p->tensor->cols; j++, n++)
            if (p->tensor->needs_grad) {
                all[n] = (double)p->tensor->grad[j];
                p->tensor->grad[j] = 0;
            }
    return all;
}

static double *take_values(dual_exchange *e) {
    double *all = numbers(exchange_size(e));
    size_t i, j, n = 0;
    dual_param *p;
    char owner;
    for (i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++)
        for (j = 0; j < p->tensor->rows * p->tensor->cols; j++, n++)
            all[n] = (double)p->tensor->data[j];
    return all;
}

static double length_of(const double *a, size_t n) {
    double sum = 0;
    size_t i;
    for (i = 0; i < n; i++)
        sum += a[i] * a[i];
    return sqrt(sum);
}

/* Worst tensor of two gradient arrays; differences of 1e-12 of the whole gradient (1e-6 in float)
 * are rounding: GPT-2's key bias has none but that where one model's keys fill the softmax. */
static double gradient_distance(dual_exchange *e, const double *a, const double *b,
                                const char *owners, const char **worst) {
    double most = 0, whole = length_of(a, exchange_size(e));
    size_t i, n = 0;
    dual_param *p;
    char owner;
    *worst = "none";
    for (i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        size_t count = p->tensor->rows * p->tensor->cols;
        double d = check_distance(a + n, b + n, count, whole * check_limit(1e-12, 1e-6));
        if (strchr(owners, owner) && !(d <= most)) {
            most = d;
            *worst = p->name;
        }
        n += count;
    }
    return most;
}

static void same_gradients(dual_exchange *e, const double *got, const double *expected,
                           const char *owners, const char *what) {
    const char *worst;
    double d = gradient_distance(e, got, expected, owners, &worst);
    check_that(d <= check_limit(1e-9, 2e-3) && length_of(expected, exchange_size(e)) > 0,
               "%s: expected equal gradients, got distance %.3g at %s", what, d, worst);
}

typedef struct { double loss, *logits, *latents, *gradients; size_t n_logits, n_latents; } result;

static double size_of_loss(const dual_tensor *loss) {
    return loss ? (double)loss->data[0] : -1;
}

/* dual_run, kept beyond the release of its tape; gradients only if asked for. */
static result run(desk *d, const dual_batch *batch, int backward) {
    dual_mark mark = dual_mark_here(&d->c);
    dual_outcome out;
    result r;
    memset(&r, 0, sizeof r);
    if (!check_that(dual_batch_check(&d->c, &d->e, batch), "%s: batch refused: %s",
                    d->e.system.name, d->c.error))
        check_fatal("a good batch was refused");
    dual_run(&d->c, &d->e, batch, &out);
    r.loss = size_of_loss(out.loss);
    r.logits = values_of(out.logits);
    r.n_logits = out.logits->rows * out.logits->cols;
    if (out.latents) {
        r.latents = values_of(out.latents);
        r.n_latents = out.latents->rows * out.latents->cols;
    }
    if (backward) {
        dual_backward(&d->c, out.loss);
        r.gradients = take_gradients(&d->e);
    }
    dual_release(&d->c, mark);
    return r;
}

static void drop(result *r) {
    free(r->logits);
    free(r->latents);
    free(r->gradients);
}

/* ---- the exchange by hand: one group, one sequence, rows in plain order ---------------------- */

static int32_t *count_up(dual_ctx *c, size_t n, int32_t first) {
    int32_t *a = dual_alloc(c, n + 1, sizeof *a);
    size_t i;
    for (i = 0; i < n; i++)
        a[i] = first + (int32_t)i;
    return a;
}

static int32_t *constant(dual_ctx *c, size_t n, int32_t value) {
    int32_t *a = count_up(c, n, 0);
    size_t i;
    for (i = 0; i < n; i++)
        a[i] = value;
    return a;
}

static dual_tensor *embed(dual_ctx *c, dual_model *m, const int32_t *token, size_t n) {
    return n ? dual_gather(c, 1, &m->wte, n, NULL, token) : NULL;
}

static dual_tensor *repeat(dual_ctx *c, dual_tensor *row, size_t n) {
    return dual_gather(c, 1, &row, n, NULL, constant(c, n, 0));
}

static dual_tensor *rows_of(dual_ctx *c, dual_tensor *t, size_t first, size_t n) {
    return dual_gather(c, 1, &t, n, NULL, count_up(c, n, (int32_t)first));
}

/* The blocks one below the other; NULL is an empty block. */
static dual_tensor *stack(dual_ctx *c, size_t n, dual_tensor *const *block) {
    dual_tensor **kept = dual_alloc(c, n, sizeof *kept);
    int32_t *which, *index;
    size_t i, r, rows = 0, used = 0;
    for (i = 0; i < n; i++)
        if (block[i]) {
            kept[used++] = block[i];
            rows += block[i]->rows;
        }
    which = count_up(c, rows, 0);
    index = count_up(c, rows, 0);
    for (rows = 0, i = 0; i < used; i++)
        for (r = 0; r < kept[i]->rows; r++, rows++) {
            which[rows] = (int32_t)i;
            index[rows] = (int32_t)r;
        }
    return dual_gather(c, used, kept, rows, which, index);
}

/* Rows at consecutive positions; each sees all of the past caches and, causally, its own pass. */
static dual_pass *hand_pass(dual_ctx *c, dual_model *m, dual_tensor *input, size_t position,
                            size_t n_past, const dual_cache *const *past) {
    dual_pass *p = dual_alloc(c, 1, sizeof *p);
    dual_seen *seen = dual_alloc(c, n_past + 1, sizeof *seen);
    int32_t *border = dual_alloc(c, 2, sizeof *border);
    size_t i;
    memset(p, 0, sizeof *p);
    border[0] = 0;
    border[1] = (int32_t)input->rows;
    for (i = 0; i < n_past; i++) {
        seen[i].cache = past[i];
        seen[i].begin = constant(c, input->rows, 0);
        seen[i].end = constant(c, input->rows, (int32_t)past[i]->v[0]->rows);
    }
    seen[n_past].cache = NULL;
    seen[n_past].begin = constant(c, input->rows, 0);
    seen[n_past].end = count_up(c, input->rows, 1);
    p->name = "hand";
    p->model = m;
    p->rows = input->rows;
    p->segments = 1;
    p->n_seen = n_past + 1;
    p->input = input;
    p->token = constant(c, input->rows, 0);
    p->position = count_up(c, input->rows, (int32_t)position);
    p->segment_start = border;
    p->seen = seen;
    dual_forward(c, p);
    return p;
}

static dual_cache *detached(dual_ctx *c, const dual_cache *cache, size_t layers) {
    dual_cache *copy = dual_alloc(c, 1, sizeof *copy);
    size_t l;
    copy->k = dual_alloc(c, layers, sizeof *copy->k);
    copy->v = dual_alloc(c, layers, sizeof *copy->v);
    for (l = 0; l < layers; l++) {
        copy->k[l] = dual_detach(c, cache->k[l]);
        copy->v[l] = dual_detach(c, cache->v[l]);
    }
    return copy;
}

/* The same cache without the layers that are not in the list. */
static dual_cache *listed(dual_ctx *c, const dual_cache *cache, size_t layers, uint64_t list) {
    dual_cache *copy = detached(c, cache, 0);
    size_t l;
    copy->k = dual_alloc(c, layers, sizeof *copy->k);
    copy->v = cache->v;
    for (l = 0; l < layers; l++)
        copy->k[l] = !list || list >> l & 1 ? cache->k[l] : NULL;
    return copy;
}

/* Coconut without a cache: the whole sequence again for every thought. */
static dual_tensor *hand_chain(dual_ctx *c, dual_exchange *e, dual_tensor *text) {
    size_t i, n = e->system.latents;
    dual_tensor **row = dual_alloc(c, n + 2, sizeof *row);
    row[0] = text;
    row[1] = e->soft.tensor;
    for (i = 0; i < n; i++) {
        dual_pass *p = hand_pass(c, e->base, stack(c, i + 2, row), 0, 0, NULL);
        row[i + 2] = rows_of(c, p->hidden, p->rows - 1, 1);
        if (e->gain.tensor)
            row[i + 2] = dual_gain(c, row[i + 2], e->gain.tensor);
    }
    return stack(c, n + 1, row + 1);
}

/* What a test wants done differently from the system. */
typedef struct {
    dual_tensor *cue_rows;         /* rows in the cue's place */
    int detach_latents;            /* Z is a constant */
    int hide_entries;              /* H1: the Coprocessor's entries are not seen */
} twist;

/* [m, vocab]: the logits of one group's targets. */
static dual_tensor *hand_logits(dual_ctx *c, dual_exchange *e, const int32_t *x,
                                const dual_group *g, const twist *t) {
    dual_model *base = e->base, *cop = e->coprocessor;
    dual_tensor *text = embed(c, base, x, g->prefix), *soft = e->soft.tensor, *part[4], *out;
    size_t n = g->prefix, slots = e->system.latents, first = 0, n_past = 0, i;
    const dual_cache *past[2];
    dual_cache *read = NULL;
    dual_pass *think = NULL, *speak;

    part[0] = text;
    part[1] = NULL;
    part[2] = t->cue_rows ? t->cue_rows : embed(c, base, g->cue, g->n_cue);
    part[3] = embed(c, base, g->target, g->n_target);
    if (cop) {
        read = &hand_pass(c, base, text, 0, 0, NULL)->cache;
        if (e->system.detach)
            read = detached(c, read, base->config.layers);
        past[0] = read;
        think = hand_pass(c, cop, soft, n, 1, past);
    }
    switch (e->system.inject) {
    case DUAL_NONE:
        break;
    case DUAL_PAUSE:
        part[1] = repeat(c, soft, slots);
        break;
    case DUAL_SOFT:
        part[1] = soft;
        break;
    case DUAL_CHAIN:
        part[1] = hand_chain(c, e, text);
        break;
    case DUAL_EMBED:
        part[1] = t->detach_latents ? dual_detach(c, think->hidden) : think->hidden;
        if (e->gain.tensor)
            part[1] = dual_gain(c, part[1], e->gain.tensor);
        if (e->system.detach && !e->system.fused) { /* the cut cache needs a pass of its own */
            n_past = 1;
            part[0] = NULL;
            first = n;
        }
        break;
    case DUAL_KV:
        n_past = t->hide_entries ? 1 : 2;
        past[1] = listed(c, &think->cache, base->config.layers, e->system.kv_layers);
        part[0] = NULL;
        first = n + slots;
        break;
    }
    speak = hand_pass(c, base, stack(c, 4, part), first, n_past, past);
    i = speak->rows - g->n_target - 1;             /* y_0 comes from the row before it */
    out = rows_of(c, speak->hidden, i, g->n_target);
    return dual_logits(c, base, out);
}

/* Every text alone, each token from the one before. */
static dual_tensor *hand_text_loss(dual_ctx *c, dual_model *m, const dual_batch *b) {
    dual_tensor **part = dual_alloc(c, b->n_sequences, sizeof *part);
    int32_t *target = dual_alloc(c, 64, sizeof *target);
    size_t i, n = 0;
    for (i = 0; i < b->n_sequences; i++) {
        dual_tensor *text = embed(c, m, b->text[i], b->length[i]);
        part[i] = rows_of(c, hand_pass(c, m, text, 0, 0, NULL)->hidden, 0, b->length[i] - 1);
        memcpy(target + n, b->text[i] + 1, (b->length[i] - 1) * sizeof *target);
        n += b->length[i] - 1;
    }
    return dual_cross_entropy(c, dual_logits(c, m, stack(c, b->n_sequences, part)), target);
}

/* The whole batch by hand, group after group. */
static result by_hand(desk *d, const dual_batch *batch, const twist *t, int backward) {
    dual_mark mark = dual_mark_here(&d->c);
    dual_tensor **part = dual_alloc(&d->c, batch->n_groups, sizeof *part), *logits, *loss;
    int32_t *target = dual_alloc(&d->c, targets_of(batch) + 1, sizeof *target);
    size_t g, n = 0;
    result r;
    memset(&r, 0, sizeof r);
    for (g = 0; g < batch->n_groups; g++) {
        const dual_group *group = &batch->group[g];
        part[g] = hand_logits(&d->c, &d->e, batch->text[group->sequence], group, t);
        memcpy(target + n, group->target, group->n_target * sizeof *target);
        n += group->n_target;
    }
    logits = stack(&d->c, batch->n_groups, part);
    r.logits = values_of(logits);
    r.n_logits = logits->rows * logits->cols;
    loss = dual_cross_entropy(&d->c, logits, target);
    if (d->e.system.text_loss > 0) {
        dual_tensor *weight = dual_tensor_new(&d->c, 1, 1);
        weight->data[0] = (dual_real)d->e.system.text_loss;
        loss = dual_add(&d->c, loss, dual_gain(&d->c, hand_text_loss(&d->c, d->base, batch),
                                               weight));
    }
    r.loss = size_of_loss(loss);
    if (backward) {
        dual_backward(&d->c, loss);
        r.gradients = take_gradients(&d->e);
    }
    dual_release(&d->c, mark);
    return r;
}

static const twist as_is = { NULL, 0, 0 };

static void same_logits(const result *got, const result *expected, const char *what) {
    double d = got->n_logits == expected->n_logits
        ? check_distance(got->logits, expected->logits, got->n_logits, 0) : NAN;
    check_that(d <= check_limit(1e-12, 5e-5), "%s: expected equal logits, got distance %.3g",
               what, d);
}

static void same_results(desk *d, const result *got, const result *expected, const char *what) {
    same_logits(got, expected, what);
    check_close(got->loss, expected->loss, check_limit(1e-12, 5e-5), "%s: loss", what);
    same_gradients(&d->e, got->gradients, expected->gradients, "BCS", what);
}

static double change(const result *a, const result *b) {
    return check_distance(a->logits, b->logits, a->n_logits, 0);
}

/* ---- every system, every shape: by hand, and group by group ---------------------------------- */

static const char *label(int shape, const char *system, const char *what) {
    static char text[200];
    snprintf(text, sizeof text, "%s, %s, %s", shape_name[shape], system, what);
    return text;
}

/* M groups at once are M runs of one: the loss is the mean over all targets. */
static void compare_alone(desk *d, const dual_batch *batch, const result *whole, const char *what) {
    double *sum = numbers(exchange_size(&d->e)), loss = 0;
    size_t g, i, done = 0, all = targets_of(batch), wrong = 0, z = 0;
    for (g = 0; g < batch->n_groups; g++) {
        double share = (double)batch->group[g].n_target / (double)all;
        lonely one;
        result r;
        set_alone(&one, batch, g);
        r = run(d, &one.batch, 1);
        loss += share * r.loss;
        for (i = 0; i < exchange_size(&d->e); i++)
            sum[i] += share * r.gradients[i];
        wrong += !(check_distance(r.logits, whole->logits + done * VOCAB, r.n_logits, 0) <=
                   check_limit(1e-12, 5e-5));
        if (r.n_latents)
            wrong += !(check_distance(r.latents, whole->latents + z, r.n_latents, 0) <=
                       check_limit(1e-12, 5e-5));
        z += r.n_latents;
        done += batch->group[g].n_target;
        drop(&r);
    }
    check_size(wrong, 0, "%s: every group alone gives the batch's logits and latents", what);
    check_close(whole->loss, loss, check_limit(1e-12, 2e-5), "%s: mean loss", what);
    same_gradients(&d->e, whole->gradients, sum, "BCS", what);
    free(sum);
}

static void test_systems(void) {
    static const size_t cues[] = { 1, 3, 0 };
    static const char *const cue_name[] = { "one cue token", "three cue tokens", "empty cue" };
    int shape, system, c;
    for (shape = 0; shape < SHAPES; shape++)
        for (system = 0; system < SYSTEMS; system++)
            for (c = 0; c < 3; c++) {
                const char *name = all_systems[system];
                scene s;
                desk d;
                result got, expected;
                char what[200];
                open_desk(&d, shape, name);
                set_scene(&s, cues[c]);
                strcpy(what, label(shape, name, cue_name[c]));
                if (cues[c] == 0 && (d.e.system.inject == DUAL_KV ||
                                     d.e.system.inject == DUAL_NONE)) {
                    if (d.e.system.inject == DUAL_KV ||
                        !dual_batch_check(&d.c, &d.e, &s.batch)) {
                        check_refused(&d.c, dual_batch_check(&d.c, &d.e, &s.batch), what);
                        close_desk(&d);
                        continue;
                    }
                }
                got = run(&d, &s.batch, 1);
                expected = by_hand(&d, &s.batch, &as_is, 1);
                same_results(&d, &got, &expected, what);
                compare_alone(&d, &s.batch, &got, what);
                drop(&got);
                drop(&expected);
                close_desk(&d);
            }
}

static void by_hand_too(desk *d, const dual_batch *batch, const char *what) {
    result got = run(d, batch, 1), expected = by_hand(d, batch, &as_is, 1);
    same_results(d, &got, &expected, what);
    drop(&got);
    drop(&expected);
}

/* Texts without a group, two groups at one place, other numbers of latents; for H1, whose message
 * has the Base's key size and not its width, also a Coprocessor of another width. */
static void test_odd_batches(void) {
    static const size_t slots[] = { 1, 2, 7 };
    int shape, system, i;
    for (shape = 0; shape < SHAPES; shape += 2)
        for (system = 0; system < SYSTEMS; system++)
            for (i = 0; i < 3; i++) {
                dual_config config = shape_of(shape), other = config;
                dual_system choice = preset(all_systems[system]);
                desk d;
                scene s;
                if (choice.inject != DUAL_NONE)
                    choice.latents = slots[i];
                if (choice.inject == DUAL_KV && shape == 2) {
                    other.hidden = 9;
                    other.heads = 2;
                    other.mlp = 5;
                }
                open_pair(&d, &config, &other, &choice);
                set_scene(&s, 1);
                s.group[1].prefix = 5;
                if (i == 0)                        /* the first and the last text have none */
                    s.batch.group = s.group + 3, s.batch.n_groups = 1;
                if (i == 1)
                    s.group[3].sequence = 2;
                by_hand_too(&d, &s.batch, label(shape, all_systems[system], "odd batches"));
                close_desk(&d);
            }
}

/* What an exchange starts from: the Coprocessor is the Base, S is near the mean embedding and no
 * two slots are equal. */
static void test_start(void) {
    int shape;
    for (shape = 0; shape < SHAPES; shape++) {
        desk d;
        size_t i, j, v, same = 0, differ = 0;
        double far = 0;
        dual_tensor *s, *wte;
        open_desk(&d, shape, "h2");
        dual_exchange_init(&d.e, 4);
        s = d.e.soft.tensor;
        wte = d.base->wte;
        for (i = 0; i < d.base->n_params; i++)
            differ += memcmp(d.base->param[i].tensor->data, d.coprocessor->param[i].tensor->data,
                             d.base->param[i].tensor->rows * d.base->param[i].tensor->cols *
                             sizeof(dual_real)) != 0;
        check_size(differ, 0, "start: tensors in which the Coprocessor is not the Base");
        for (j = 0; j < s->cols; j++) {
            double mean = 0;
            for (v = 0; v < wte->rows; v++)
                mean += (double)wte->data[v * wte->stride + j] / (double)wte->rows;
            for (i = 0; i < s->rows; i++)
                far = fmax(far, fabs((double)s->data[i * s->stride + j] - mean));
            same += s->data[j] == s->data[s->stride + j];
        }
        check_that(far > 0 && far < 0.12 && same == 0, "start: expected S within 6 x 0.02 of the"
                   " mean embedding and distinct slots, got %g and %d equal", far, (int)same);
        close_desk(&d);
    }
}

/* The first step of AdamW is the sign of the gradient: rate for the Base, with decay where the
 * table says so, and ten times that for S, which never decays. */
static void test_first_step(void) {
    desk d;
    scene s;
    dual_adamw adamw;
    dual_mark mark;
    dual_outcome out;
    double *before, *after, *gradients, norm, worst = 0, rate = 1e-3;
    dual_param *p;
    size_t i, j, n = 0, left = 0;
    char owner;
    open_desk(&d, 0, "h2");
    set_scene(&s, 1);
    dual_adamw_new(&d.c, &adamw, &d.e);
    check_that(adamw.beta1 == 0.9 && adamw.beta2 == 0.95 && adamw.eps == 1e-8 &&
               adamw.decay == 0.1 && adamw.clip == 1.0, "AdamW: expected method's constants");
    adamw.eps = 1e-30;
    before = take_values(&d.e);
    mark = dual_mark_here(&d.c);
    dual_run(&d.c, &d.e, &s.batch, &out);
    dual_backward(&d.c, out.loss);
    dual_release(&d.c, mark);
    gradients = numbers(exchange_size(&d.e));
    for (i = 0; (p = dual_exchange_param(&d.e, i, &owner)) != NULL; i++)
        for (j = 0; j < p->tensor->rows * p->tensor->cols; j++, n++)
            gradients[n] = p->tensor->needs_grad ? (double)p->tensor->grad[j] : 0;
    norm = dual_adamw_step(&d.c, &adamw, rate);
    check_close(norm, length_of(gradients, n), norm * check_limit(1e-12, 1e-5),
                "AdamW: norm of all gradients before clipping");
    check_that(norm > 1, "AdamW: expected a gradient that is clipped, got norm %g", norm);
    after = take_values(&d.e);
    for (n = 0, i = 0; (p = dual_exchange_param(&d.e, i, &owner)) != NULL; i++)
        for (j = 0; j < p->tensor->rows * p->tensor->cols; j++, n++) {
            int matrix = p->tensor->rows > 1 && owner != 'S';
            double step = rate * (owner == 'S' ? 10 : 1);
            double want = before[n] * (matrix ? 1 - rate * 0.1 : 1);
            if (p->tensor->needs_grad && fabs(gradients[n]) > 1e-7) {
                want -= gradients[n] > 0 ? step : -step;
                worst = fmax(worst, fabs(want - after[n]));
            }
            left += p->tensor->needs_grad && p->tensor->grad[j] != 0;
        }
    check_close(worst, 0, check_limit(1e-12, 1e-6), "AdamW: the first step");
    check_size(left, 0, "AdamW: gradients that are not 0 after the step");
    free(before);
    free(after);
    free(gradients);
    close_desk(&d);
}

/* A gain of 1 changes nothing; another gain scales what is injected; detach cuts KV_theta. */
static void test_flags(void) {
    static const char *const gained[] = { "liu", "h2", "coconut" };
    static const char *const trained[] = { "h2", "h1h2" };
    int shape, i;
    for (shape = 0; shape < SHAPES; shape++) {
        for (i = 0; i < 3; i++) {
            dual_config config = shape_of(shape);
            dual_system system = preset(gained[i]);
            scene s;
            desk plain, with;
            result a, b, hand;
            set_scene(&s, 1);
            open_with(&plain, &config, &system);
            system.gain = 1;
            open_with(&with, &config, &system);
            a = run(&plain, &s.batch, 0);
            b = run(&with, &s.batch, 0);
            check_that(change(&a, &b) <= check_limit(1e-14, 1e-6),
                       "%s: expected no change by a gain of 1", label(shape, gained[i], "gain"));
            check_that(with.e.gain.tensor && (double)with.e.gain.tensor->data[0] == 1,
                       "%s: expected a gain that starts at 1", gained[i]);
            drop(&b);
            with.e.gain.tensor->data[0] = (dual_real)1.75;
            b = run(&with, &s.batch, 1);
            hand = by_hand(&with, &s.batch, &as_is, 1);
            same_results(&with, &b, &hand, label(shape, gained[i], "gain 1.75"));
            check_that(change(&a, &b) > 1e-3, "%s: expected a gain of 1.75 to matter", gained[i]);
            drop(&a);
            drop(&b);
            drop(&hand);
            close_desk(&plain);
            close_desk(&with);
        }
        for (i = 0; i < 2; i++) {
            dual_config config = shape_of(shape);
            dual_system system = preset(trained[i]);
            const char *worst;
            scene s;
            desk flows, cut;
            result a, b, hand;
            set_scene(&s, 1);
            open_with(&flows, &config, &system);
            system.detach = 1;
            open_with(&cut, &config, &system);
            a = run(&flows, &s.batch, 1);
            b = run(&cut, &s.batch, 1);
            hand = by_hand(&cut, &s.batch, &as_is, 1);
            same_logits(&a, &b, label(shape, trained[i], "detached or not"));
            same_results(&cut, &b, &hand, label(shape, trained[i], "detached"));
            check_that(gradient_distance(&cut.e, a.gradients, b.gradients, "B", &worst) > 0.01,
                       "%s: expected detach to change the Base's gradient", trained[i]);
            drop(&a);
            drop(&b);
            drop(&hand);
            close_desk(&flows);
            close_desk(&cut);
        }
    }
}

/* ---- passes 1 + 3 are one extended pass ------------------------------------------------------ */

static const dual_pass *pass_named(const dual_outcome *out, const char *name) {
    size_t i;
    for (i = 0; i < out->n_passes; i++)
        if (!strcmp(out->pass[i].name, name))
            return &out->pass[i];
    return NULL;
}

/* Sequence 0 and its three groups in one pass of the Base: text rows causal; a group's rows see
 * the text up to their prefix, (H1) their Coprocessor's entries, and causally their own group. */
static void merged(int shape, const char *name) {
    enum { MAX = 64 };
    desk d;
    scene s;
    dual_outcome out;
    dual_pass p;
    dual_seen seen[3];
    dual_tensor *source[2], *logits;
    int32_t which[MAX], index[MAX], position[MAX], token[MAX], border[2], where[MAX];
    int32_t begin[3][MAX], end[3][MAX];
    size_t g, i, rows = 0, predicted = 0, total;
    double *expected;
    int kv;

    open_desk(&d, shape, name);
    set_scene(&s, 1);
    s.batch.n_sequences = 1;
    s.batch.n_groups = 3;
    kv = d.e.system.inject == DUAL_KV;
    dual_run(&d.c, &d.e, &s.batch, &out);

    for (i = 0; i < s.length[0]; i++, rows++) {
        which[rows] = 0;
        index[rows] = s.text[0][i];
        position[rows] = (int32_t)i;
        begin[0][rows] = begin[1][rows] = end[1][rows] = begin[2][rows] = end[2][rows] = 0;
        end[0][rows] = (int32_t)rows + 1;
    }
    for (g = 0; g < 3; g++) {
        const dual_group *group = &s.group[g];
        size_t own = rows, slots = kv ? 0 : SLOTS, n = slots + 1 + group->n_target;
        for (i = 0; i < n; i++, rows++) {
            which[rows] = i < slots;
            index[rows] = i < slots ? (int32_t)(g * SLOTS + i)
                                    : i == slots ? group->cue[0] : group->target[i - slots - 1];
            position[rows] = (int32_t)(group->prefix + (kv ? SLOTS : 0) + i);
            begin[0][rows] = 0;
            end[0][rows] = (int32_t)group->prefix;
            begin[1][rows] = (int32_t)own;
            end[1][rows] = (int32_t)rows + 1;
            begin[2][rows] = (int32_t)(g * SLOTS);
            end[2][rows] = (int32_t)((g + 1) * SLOTS);
            if (i >= slots && i < slots + group->n_target)
                where[predicted++] = (int32_t)rows;
        }
    }
    memset(&p, 0, sizeof p);
    memset(seen, 0, sizeof seen);
    for (i = 0; i < 3; i++) {
        seen[i].begin = begin[i];
        seen[i].end = end[i];
    }
    if (kv)
        seen[2].cache = &pass_named(&out, "think")->cache;
    for (i = 0; i < rows; i++)
        token[i] = 0;
    border[0] = 0;
    border[1] = (int32_t)rows;
    source[0] = d.base->wte;
    source[1] = kv ? d.base->wte : out.latents;
    p.name = "merged";
    p.model = d.base;
    p.rows = rows;
    p.segments = 1;
    p.n_seen = kv ? 3 : 2;
    p.input = dual_gather(&d.c, 2, source, rows, which, index);
    p.token = token;
    p.position = position;
    p.segment_start = border;
    p.seen = seen;
    dual_forward(&d.c, &p);
    total = targets_of(&s.batch);
    check_size(predicted, total, "merged pass: rows that predict");
    logits = dual_logits(&d.c, d.base, dual_gather(&d.c, 1, &p.hidden, total, NULL, where));
    expected = values_of(logits);
    check_that(distance_of(out.logits, expected) <= check_limit(1e-12, 5e-5),
               "%s: expected the merged pass's logits, got distance %.3g",
               label(shape, name, "read + speak"), distance_of(out.logits, expected));
    free(expected);
    close_desk(&d);
}

static void test_merged(void) {
    int shape;
    for (shape = 0; shape < SHAPES; shape++) {
        merged(shape, "liu");
        merged(shape, "h1");
        merged(shape, "h2");
        merged(shape, "h1h2");
    }
}

/* ---- options --------------------------------------------------------------------------------- */

static void open_option(desk *d, int shape, size_t layers, const dual_system *system) {
    dual_config config = shape_of(shape);
    config.layers = layers;
    open_with(d, &config, system);
}

static void option_by_hand(int shape, size_t layers, const dual_system *system) {
    desk d;
    scene s;
    open_option(&d, shape, layers, system);
    set_scene(&s, 1);
    by_hand_too(&d, &s.batch, label(shape, title(system), "by hand"));
    close_desk(&d);
}

/* Whether two runs left the same keys at one layer of their speak passes. */
static int same_keys(const dual_outcome *a, const dual_outcome *b, size_t l) {
    double *keys = values_of(a->pass[a->n_passes - 1].cache.k[l]);
    double apart = distance_of(b->pass[b->n_passes - 1].cache.k[l], keys);
    free(keys);
    return apart <= check_limit(1e-13, 1e-5);
}

/* H1 on some of three layers. What the Base's layer l sees shows in its keys of layer l + 1: they
 * are those of H1 on all layers where no layer before is left out, and those of H1 on the last
 * layer alone where none before is in. */
static void test_kv_layers(void) {
    enum { LAYERS = 3, ALL = 7 };
    int shape, list, i;
    for (shape = 0; shape < SHAPES; shape++)
        for (i = 0; i < 2; i++) {
            dual_system system = preset(i ? "h1h2" : "h1");
            dual_outcome with, without, some;
            desk full, last, d;
            result a, b;
            scene s;
            size_t l;
            set_scene(&s, 1);
            open_option(&full, shape, LAYERS, &system);
            dual_run(&full.c, &full.e, &s.batch, &with);
            system.kv_layers = (uint64_t)1 << (LAYERS - 1);
            open_option(&last, shape, LAYERS, &system);
            dual_run(&last.c, &last.e, &s.batch, &without);
            for (list = 1; list <= ALL; list++) {
                int whole = 1, none = 1, wrong = 0;
                system.kv_layers = (uint64_t)list;
                option_by_hand(shape, LAYERS, &system);
                open_option(&d, shape, LAYERS, &system);
                dual_run(&d.c, &d.e, &s.batch, &some);
                for (l = 0; l < LAYERS; l++) {
                    wrong += same_keys(&some, &with, l) != whole;
                    wrong += same_keys(&some, &without, l) != none;
                    wrong += (some.pass[2].seen[1].cache->k[l] != NULL) != (list >> l & 1);
                    whole &= list >> l & 1;
                    none &= !(list >> l & 1);
                }
                check_that(wrong == 0, "%s: expected each layer to see its own list's entries",
                           label(shape, title(&system), "layers"));
                close_desk(&d);
            }
            /* a list of all layers is no list */
            open_option(&d, shape, LAYERS, &system);
            a = run(&full, &s.batch, 1);
            b = run(&d, &s.batch, 1);
            check_that(!memcmp(a.logits, b.logits, a.n_logits * sizeof *a.logits) &&
                       !memcmp(a.gradients, b.gradients,
                               exchange_size(&d.e) * sizeof *a.gradients),
                       "%s: expected the bits of no list", label(shape, title(&system), "all"));
            drop(&a);
            drop(&b);
            close_desk(&d);
            close_desk(&last);
            close_desk(&full);
        }
}

/* The loss on plain text: by hand, and gone in inference, where it would change no number. */
static void test_text_loss(void) {
    static const char *const names[] = { "none", "pause", "soft", "coconut", "h2", "h1h2" };
    int shape, i;
    for (shape = 0; shape < SHAPES; shape++)
        for (i = 0; i < 6; i++) {
            dual_system system = preset(names[i]);
            dual_outcome out;
            scene s;
            desk d;
            result a, b;
            double parts;
            size_t g;
            system.text_loss = 0.6;
            option_by_hand(shape, 2, &system);
            if (i >= 4) {
                system.detach = 1;                 /* the cache is cut, the text's own loss not */
                option_by_hand(shape, 2, &system);
            }
            set_scene(&s, 1);
            open_option(&d, shape, 2, &system);
            a = run(&d, &s.batch, 0);
            dual_run(&d.c, &d.e, &s.batch, &out);
            parts = size_of_loss(out.target_loss) + 0.6 * size_of_loss(out.text_loss);
            check_close(size_of_loss(out.loss), parts, check_limit(1e-14, 1e-6),
                        "%s: the loss is the sum of its parts", label(shape, names[i], "text"));
            check_that(out.text_loss && !out.penalty, "%s: text loss alone", names[i]);
            d.c.inference = 1;
            b = run(&d, &s.batch, 0);
            check_that(!memcmp(a.logits, b.logits, a.n_logits * sizeof *a.logits) &&
                       b.loss == size_of_loss(out.target_loss),
                       "%s: expected the targets' loss alone in inference", names[i]);
            d.c.inference = 0;
            drop(&a);
            drop(&b);
            for (g = 0; g < GROUPS; g++)           /* texts of one token have nothing to predict */
                s.group[g].prefix = 1;
            for (g = 0; g < SEQUENCES; g++)
                s.length[g] = 1;
            dual_run(&d.c, &d.e, &s.batch, &out);
            check_that(!out.text_loss && out.loss == out.target_loss,
                       "%s: expected no text loss on texts of one token", names[i]);
            for (g = 0; g < GROUPS; g++)
                s.group[g].prefix = 0;
            for (g = 0; g < SEQUENCES; g++)
                s.length[g] = 0;
            dual_run(&d.c, &d.e, &s.batch, &out);
            check_that(!out.text_loss && out.loss == out.target_loss,
                       "%s: expected no text loss without text", names[i]);
            close_desk(&d);
        }
}

/* Mean of squared cosines between two latents of a group, from the latents of all groups; x is
 * overwritten. What is alike in all groups is, centred, nothing: Qwen-3's first values, which know
 * no position. */
static double squared_cosines(double *x, size_t d, int centred) {
    size_t g, h, i, j, k;
    double sum = 0, mean, least = centred ? 1e-10 : 0;
    for (i = 0; centred && i < SLOTS * d; i++) {
        for (mean = 0, g = 0; g < GROUPS; g++)
            mean += x[g * SLOTS * d + i] / GROUPS;
        for (g = 0; g < GROUPS; g++)
            x[g * SLOTS * d + i] -= mean;
    }
    for (g = 0; g < GROUPS; g++)
        for (i = 0; i < SLOTS; i++)
            for (j = 0; j < SLOTS; j++) {
                double ab = 0, aa = 0, bb = 0;
                for (h = (g * SLOTS + i) * d, k = (g * SLOTS + j) * d; h < (g * SLOTS + i + 1) * d;
                     h++, k++) {
                    ab += x[h] * x[k];
                    aa += x[h] * x[h];
                    bb += x[k] * x[k];
                }
                sum += i == j || aa <= least || bb <= least ? 0 : ab * ab / (aa * bb);
            }
    return sum / (GROUPS * SLOTS * (SLOTS - 1));
}

/* Both forms on Z, on H1's final states and on the values it hands over: the number by hand, the
 * logits untouched, linear in its weight. The gradient itself is under finite differences below. */
static void test_orthogonality(void) {
    static const char *const names[] = { "liu", "h2", "h1", "h1h2" };
    int shape, i, form;
    for (shape = 0; shape < SHAPES; shape++)
        for (i = 0; i < 4; i++)
            for (form = 0; form < (i < 2 ? 2 : 4); form++) {
                dual_system system = preset(names[i]);
                dual_outcome out;
                const dual_pass *think;
                const char *what;
                const double weight[] = { 0, 0.5, 1 };
                double expected = 0, *x, bend = 0, *g;
                result r[3];
                scene s;
                desk d;
                size_t l, n;
                int k;
                set_scene(&s, 1);
                for (k = 0; k < 3; k++) {
                    system.orthogonality = weight[k];
                    system.centred = k && form % 2;
                    system.values = k && form / 2;
                    system.kv_layers = form == 3 ? 5 : 0;
                    open_option(&d, shape, 3, &system);
                    r[k] = run(&d, &s.batch, 1);
                    if (k < 2)
                        close_desk(&d);
                }
                what = label(shape, title(&system), "penalty");
                dual_run(&d.c, &d.e, &s.batch, &out);
                think = pass_named(&out, "think");
                for (l = 0; l < (system.values ? 3 : 1); l++)
                    if (form < 3 || l != 1) {      /* mean over three layers, or over 0 and 2 */
                        dual_tensor *z = system.values ? think->cache.v[l] : think->hidden;
                        x = values_of(z);
                        expected += squared_cosines(x, z->cols, system.centred) /
                                    (system.values ? 5 - form : 1);
                        free(x);
                    }
                check_close(size_of_loss(out.penalty), expected, check_limit(1e-13, 1e-6),
                            "%s: its value", what);
                check_close(size_of_loss(out.loss), size_of_loss(out.target_loss) + expected,
                            check_limit(1e-13, 1e-5), "%s: the loss is the sum", what);
                check_that(expected > 1e-3 && !out.text_loss, "%s: a penalty alone", what);
                check_that(!memcmp(r[0].logits, r[1].logits, r[0].n_logits * sizeof(double)) &&
                           !memcmp(r[0].logits, r[2].logits, r[0].n_logits * sizeof(double)),
                           "%s: expected the logits of no penalty", what);
                n = exchange_size(&d.e);
                g = numbers(n);
                for (l = 0; l < n; l++) {
                    g[l] = (r[0].gradients[l] + r[2].gradients[l]) / 2;
                    bend += fabs(r[2].gradients[l] - r[0].gradients[l]);
                }
                check_that(bend > 1e-3, "%s: expected a gradient of the penalty", what);
                same_gradients(&d.e, r[1].gradients, g, "BCS", what);
                d.c.inference = 1;
                dual_run(&d.c, &d.e, &s.batch, &out);
                check_that(!out.penalty && out.loss == out.target_loss,
                           "%s: expected none in inference", what);
                free(g);
                for (k = 0; k < 3; k++)
                    drop(&r[k]);
                close_desk(&d);
            }
}

/* Read and speak in one pass: the numbers and gradients of two. Cutting the cache then leaves the
 * Base's own text its gradient: only what think reads is cut. */
static void test_fused(void) {
    static const char *const names[] = { "liu", "h1", "h2", "h1h2", "prompt" };
    enum { NEW_TOKENS = 4 };
    int shape, i, option;
    for (shape = 0; shape < SHAPES; shape++)
        for (i = 0; i < 5; i++)
            for (option = 0; option < 4; option++) {
                dual_system system = preset(names[i]);
                const int kv = system.inject == DUAL_KV;
                dual_sampling greedy_one;
                dual_outcome out;
                scene s;
                desk apart, fused;
                result a, b;
                int32_t said[2][GROUPS * NEW_TOKENS];
                size_t length[2][GROUPS], g, text = 0;
                const char *what;
                if ((option == 1 && !system.base_trained) || (option == 2 && !kv) ||
                    (option == 3 && i == 4))
                    continue;
                system.text_loss = option == 1 ? 0.6 : 0;
                system.kv_layers = option == 2 ? 1 : 0;
                system.orthogonality = option == 3 ? 0.5 : 0;
                set_scene(&s, 1);
                open_option(&apart, shape, 2, &system);
                system.fused = 1;
                open_option(&fused, shape, 2, &system);
                what = label(shape, title(&system), "against separate passes");
                a = run(&apart, &s.batch, 1);
                b = run(&fused, &s.batch, 1);
                same_results(&fused, &b, &a, what);
                check_size(b.n_latents, a.n_latents, "%s: latents", what);
                dual_run(&fused.c, &fused.e, &s.batch, &out);
                for (g = 0; g < SEQUENCES; g++)
                    text += s.length[g];
                check_size(out.n_passes, i == 4 ? 1 : 3, "%s: passes", what);
                check_that(out.pass[out.n_passes - 1].rows >= text + GROUPS,
                           "%s: expected the text in the speak pass", what);
                for (g = 0; g < 2; g++) {
                    memset(&greedy_one, 0, sizeof greedy_one);
                    greedy_one.max_new = NEW_TOKENS;
                    greedy_one.end = -1;
                    dual_generate(g ? &fused.c : &apart.c, g ? &fused.e : &apart.e, &s.batch,
                                  &greedy_one, said[g], length[g]);
                }
                check_that(!memcmp(said[0], said[1], sizeof said[0]), "%s: decoding", what);
                for (g = 0; g < GROUPS; g++)       /* no text at all: nothing to fuse or drop */
                    s.group[g].prefix = 0;
                for (g = 0; g < SEQUENCES; g++)
                    s.length[g] = 0;
                drop(&a);
                drop(&b);
                a = run(&apart, &s.batch, 0);
                b = run(&fused, &s.batch, 0);
                same_logits(&b, &a, what);
                drop(&a);
                drop(&b);
                close_desk(&apart);
                close_desk(&fused);
            }
    for (shape = 0; shape < SHAPES; shape++)
        for (i = 2; i < 4; i++) {
            dual_system system = preset(names[i]);
            desk whole, cut, both;
            result a, b, c;
            const char *worst, *what;
            scene s;
            set_scene(&s, 1);
            open_option(&whole, shape, 2, &system);
            system.detach = 1;
            open_option(&cut, shape, 2, &system);
            system.fused = 1;
            open_option(&both, shape, 2, &system);
            what = label(shape, title(&system), "a cut cache");
            a = run(&whole, &s.batch, 1);
            b = run(&cut, &s.batch, 1);
            c = run(&both, &s.batch, 1);
            same_logits(&c, &a, what);
            same_gradients(&both.e, c.gradients, b.gradients, "CS", what);
            check_that(gradient_distance(&both.e, c.gradients, a.gradients, "B", &worst) > 0.01 &&
                       gradient_distance(&both.e, c.gradients, b.gradients, "B", &worst) > 0.01,
                       "%s: expected less gradient than without a cut, more than in two passes",
                       what);
            if (system.inject == DUAL_EMBED)
                by_hand_too(&both, &s.batch, what);
            drop(&a);
            drop(&b);
            drop(&c);
            close_desk(&whole);
            close_desk(&cut);
            close_desk(&both);
        }
}

static void refuse_option(const dual_system *system, const char *word) {
    dual_config config = shape_of(0);
    dual_ctx c;
    dual_exchange e;
    void *memory = check_begin(&c, (size_t)8 << 20);
    int accepted;
    config.layers = 3;
    accepted = dual_exchange_new(&c, &e, system, dual_model_new(&c, &config),
                                 dual_model_new(&c, &config));
    check_that(accepted || strstr(c.error, word), "%s: expected \"%s\" in the reason, got \"%s\"",
               title(system), word, c.error);
    check_refused(&c, accepted, title(system));
    check_end(&c, memory);
}

static void test_option_refusals(void) {
    static const double bad[] = { -0.1, NAN, INFINITY };
    int i;
    for (i = 0; i < SYSTEMS; i++) {
        dual_system plain = preset(all_systems[i]), s = plain;
        const int cop = dual_system_needs_coprocessor(&plain), kv = plain.inject == DUAL_KV;
        s.kv_layers = kv ? 8 : 1;                  /* layer 3 of 0..2 */
        refuse_option(&s, "layers");
        s.kv_layers = (uint64_t)1 << 63;
        refuse_option(&s, "layers");
        s = plain;
        s.orthogonality = 0.1;
        s.latents = cop ? 1 : 4;
        refuse_option(&s, "2 latents");
        s = plain;
        s.centred = 1;
        refuse_option(&s, "centred");
        s = plain;
        s.values = 1;
        refuse_option(&s, "values");
        if (cop && !kv) {
            s.orthogonality = 0.1;
            refuse_option(&s, "of kv only");
        }
        if (!plain.base_trained) {
            s = plain;
            s.text_loss = 1;
            refuse_option(&s, "frozen");
        }
        if (plain.inject == DUAL_CHAIN || (plain.base_trained && !cop)) {
            s = plain;
            s.fused = 1;
            refuse_option(&s, "fused");
        }
    }
    for (i = 0; i < 3; i++) {
        dual_system s = preset("h2");
        s.text_loss = bad[i];
        refuse_option(&s, "numbers");
        s = preset("h2");
        s.orthogonality = bad[i];
        refuse_option(&s, "numbers");
    }
}

/* ---- nothing leaks --------------------------------------------------------------------------- */

static void test_leaks(void) {
    int shape, system;
    for (shape = 0; shape < SHAPES; shape += 2)
        for (system = 0; system < SYSTEMS; system++) {
            const char *name = all_systems[system];
            const char *what = label(shape, name, "leaks");
            desk d;
            scene s;
            result a, b;
            size_t i, z;
            open_desk(&d, shape, name);
            set_scene(&s, 1);
            a = run(&d, &s.batch, 0);
            /* what follows group 0's prefix of 3: groups 1 and 2 read it, group 0 must not */
            for (i = 3; i < 9; i++)
                s.text[0][i] = (s.text[0][i] + 7) % VOCAB;
            b = run(&d, &s.batch, 0);
            z = a.n_latents / GROUPS;
            check_that(z == 0 || !memcmp(a.latents, b.latents, z * sizeof *a.latents),
                       "%s: later text changed the latents", what);
            check_that(!memcmp(a.logits, b.logits, 4 * VOCAB * sizeof *a.logits),
                       "%s: later text, or another group's latents, changed the logits", what);
            check_that(memcmp(a.logits + 4 * VOCAB, b.logits + 4 * VOCAB, VOCAB * sizeof(double)),
                       "%s: expected a group that reads the changed text to change", what);
            check_that(z == 0 || d.e.system.inject == DUAL_SOFT || d.e.system.inject == DUAL_PAUSE
                       || memcmp(a.latents + z, b.latents + z, z * sizeof *a.latents),
                       "%s: expected other groups' latents to change", what);
            check_that(!memcmp(a.logits + 11 * VOCAB, b.logits + 11 * VOCAB,
                               10 * VOCAB * sizeof *a.logits),
                       "%s: another sequence's text changed the logits", what);
            drop(&b);
            set_scene(&s, 1);
            for (i = 0; i < 6; i++)
                s.target[1][i] = s.target[2][i] = (s.target[2][i] + 5) % VOCAB;
            s.cue[1][0] = (s.cue[1][0] + 3) % VOCAB;
            s.cue[2][0] = (s.cue[2][0] + 3) % VOCAB;
            b = run(&d, &s.batch, 0);
            check_that(a.n_latents == b.n_latents && (!z ||
                       !memcmp(a.latents, b.latents, z * sizeof *a.latents)),
                       "%s: another group's targets changed the latents", what);
            check_that(!memcmp(a.logits, b.logits, 4 * VOCAB * sizeof *a.logits),
                       "%s: another group's targets or cue changed the logits", what);
            drop(&b);
            /* the last target is never fed: it moves the loss and not one logit */
            set_scene(&s, 1);
            s.target[0][3] = (s.target[0][3] + 1) % VOCAB;
            b = run(&d, &s.batch, 0);
            check_that(!memcmp(a.logits, b.logits, a.n_logits * sizeof *a.logits) &&
                       a.loss != b.loss, "%s: the last target must only move the loss", what);
            drop(&a);
            drop(&b);
            close_desk(&d);
        }
}

/* ---- nothing injected is the Base itself ----------------------------------------------------- */

static void test_empty_injection(void) {
    static const twist hidden = { NULL, 0, 1 };
    int shape, system;
    for (shape = 0; shape < SHAPES; shape++) {
        desk none;
        scene s;
        result own;
        set_scene(&s, 1);
        open_desk(&none, shape, "none");
        own = by_hand(&none, &s.batch, &as_is, 0);
        for (system = 1; system < SYSTEMS; system++) {
            dual_config config = shape_of(shape);
            dual_system zero = preset(all_systems[system]);
            dual_exchange e;
            desk d;
            zero.latents = 0;
            d.memory = check_begin(&d.c, (size_t)16 << 20);
            d.base = dual_model_new(&d.c, &config);
            d.coprocessor = dual_system_needs_coprocessor(&zero) ? dual_model_new(&d.c, &config)
                                                                 : NULL;
            if (zero.inject == DUAL_CHAIN || /* its s is a row even without a thought */
                !dual_exchange_new(&d.c, &e, &zero, d.base, d.coprocessor)) {
                if (zero.inject != DUAL_CHAIN)
                    check_refused(&d.c, 0, label(shape, zero.name, "no latents"));
            } else {
                result r;
                close_desk(&d);
                open_with(&d, &config, &zero);
                r = run(&d, &s.batch, 0);
                same_logits(&r, &own, label(shape, zero.name, "no latents"));
                drop(&r);
            }
            close_desk(&d);
        }
        {
            /* H1 whose entries are hidden: the Base on [cue; y] at n + N_L over KV_theta alone */
            desk d;
            result with, without, dropped;
            dual_config config = shape_of(shape);
            dual_system single = preset("h1");
            single.latents = 1;
            open_with(&d, &config, &single);
            with = run(&d, &s.batch, 0);
            without = by_hand(&d, &s.batch, &hidden, 0);
            check_that(change(&with, &without) > 1e-3,
                       "%s: expected the Coprocessor's entries to matter", shape_name[shape]);
            s.batch.ablation.from = DUAL_DROP;
            dropped = run(&d, &s.batch, 0);
            same_logits(&dropped, &without, label(shape, "h1", "its only slot dropped"));
            drop(&with);
            drop(&without);
            drop(&dropped);
            close_desk(&d);
        }
        drop(&own);
        close_desk(&none);
    }
}

/* ---- frozen is frozen ------------------------------------------------------------------------ */

/* The Coprocessor's last layer whose keys and values alone are used; none (all of it is used): the
 * number of layers. */
static int last_keys(const dual_exchange *e) {
    int l = (int)e->base->config.layers;
    if (e->system.inject != DUAL_KV || (e->system.orthogonality > 0 && !e->system.values))
        return l;
    for (l--; e->system.kv_layers && !(e->system.kv_layers & (uint64_t)1 << l); l--)
        ;
    return l;
}

/* Above the last used layer's keys and values H1 trains nothing of the Coprocessor. */
static int above_last_keys(const char *name, int last) {
    static const char *const dead[] = { "attn.c_proj", "ln_2", "mlp", "self_attn.q_", "o_proj",
                                        "post_attention" };
    const char *number = strpbrk(name, "0123456789");
    size_t i;
    if (strstr(name, "ln_f") || !strcmp(name, "model.norm.weight"))
        return 1;
    for (i = 0; number && atoi(number) == last && i < sizeof dead / sizeof *dead; i++)
        if (strstr(name, dead[i]))
            return 1;
    return number && atoi(number) > last;
}

static int is_vocabulary(const char *name) {
    return strstr(name, "wte") || strstr(name, "embed_tokens") || strstr(name, "lm_head");
}

static int should_train(const desk *d, const dual_param *p, char owner) {
    if (owner == 'B')
        return d->e.system.base_trained;
    if (owner == 'C')
        return !is_vocabulary(p->name) && (last_keys(&d->e) == (int)d->base->config.layers ||
                                           !above_last_keys(p->name, last_keys(&d->e)));
    return 1;
}

/* 2 multiply-adds per row and weight of every matrix of the Coprocessor that is trained; of GPT-2's
 * joint q, k and v matrix in H1's last layer only k and v. */
static double coprocessor_flops(desk *d, size_t rows) {
    double flops = 0;
    size_t i;
    dual_param *p;
    char owner, last[32];
    sprintf(last, ".%d.attn.c_attn", last_keys(&d->e));
    for (i = 0; (p = dual_exchange_param(&d->e, i, &owner)) != NULL; i++)
        if (owner == 'C' && p->tensor->needs_grad && p->tensor->rows > 1 &&
            !strstr(p->name, "wpe")) {
            double work = 2.0 * (double)rows * (double)p->tensor->rows * (double)p->tensor->cols;
            flops += strstr(p->name, last) ? work * 2 / 3 : work;
        }
    return flops;
}

static void frozen(int shape, const dual_system *system, size_t layers) {
    dual_config config = shape_of(shape);
    const char *what = label(shape, title(system), "frozen");
    desk d;
    scene s;
    dual_outcome out;
    dual_adamw adamw;
    double *before, *after, spent;
    size_t i, j, n = 0, moved[3] = { 0 }, still = 0, wrong = 0, trained = 0;
    dual_param *p;
    char owner;
    int step;
    config.layers = layers;
    open_with(&d, &config, system);
    set_scene(&s, 1);
    dual_adamw_new(&d.c, &adamw, &d.e);
    adamw.decay = 0;               /* what moves has a gradient */
    before = take_values(&d.e);
    spent = d.c.weight_grad_flops;
    for (step = 0; step < 3; step++) {
        dual_mark mark = dual_mark_here(&d.c);
        dual_run(&d.c, &d.e, &s.batch, &out);
        dual_backward(&d.c, out.loss);
        dual_release(&d.c, mark);
        if (step == 0)
            spent = d.c.weight_grad_flops - spent;
        if (step == 2)
            check_that(d.e.soft.tensor == NULL || d.e.soft.tensor->grad[0] != 0,
                       "%s: expected a gradient for S", what);
        check_that(dual_adamw_step(&d.c, &adamw, 1e-2) > 0,
                   "%s: expected a gradient norm above 0", what);
    }
    after = take_values(&d.e);
    for (i = 0; (p = dual_exchange_param(&d.e, i, &owner)) != NULL; i++) {
        size_t count = p->tensor->rows * p->tensor->cols, changed = 0;
        for (j = 0; j < count; j++, n++)
            changed += before[n] != after[n];
        moved[owner == 'B' ? 0 : owner == 'C' ? 1 : 2] += changed;
        trained += p->tensor->needs_grad ? count : 0;
        if (!p->tensor->needs_grad)
            still += changed;
        if (!p->tensor->needs_grad != !should_train(&d, p, owner)) {
            wrong++;
            printf("       %s, %c %s: needs_grad %d\n", what, owner, p->name,
                   p->tensor->needs_grad);
        }
        if (p->tensor->needs_grad && changed == 0)
            printf("       %s, %c %s: trained, never moved\n", what, owner, p->name);
        wrong += p->tensor->needs_grad && changed == 0;
    }
    check_size(wrong, 0, "%s: tensors that should train and do, and no others", what);
    check_size(still, 0, "%s: untrained numbers that changed", what);
    check_that(d.e.system.base_trained ? moved[0] > 0 : moved[0] == 0,
               "%s: Base numbers moved: %d", what, (int)moved[0]);
    check_that(!d.coprocessor || moved[1] > 0, "%s: the Coprocessor never moved", what);
    check_that(!d.e.soft.tensor || moved[2] > 0, "%s: S never moved", what);
    /* the query third of the Coprocessor's last c_attn is not counted under H1 */
    if (d.coprocessor && config.family == DUAL_GPT2 && last_keys(&d.e) < (int)layers)
        trained -= d.coprocessor->config.hidden * (d.coprocessor->config.hidden + 1);
    check_size(dual_exchange_trained(&d.e), trained, "%s: trained elements", what);
    check_size(adamw.step, 3, "%s: optimiser steps", what);
    if (!d.e.system.base_trained)
        check_close(spent, coprocessor_flops(&d, GROUPS * SLOTS), 0.5,
                    "%s: weight gradient work holds nothing of the Base", what);
    else
        check_that(spent > 2 * coprocessor_flops(&d, GROUPS * SLOTS) || !d.coprocessor,
                   "%s: expected weight gradient work of the Base", what);
    free(before);
    free(after);
    close_desk(&d);
}

static void test_frozen(void) {
    int shape, i;
    for (shape = 0; shape < SHAPES; shape++) {
        dual_system s;
        for (i = 0; i < SYSTEMS; i++) {
            s = preset(all_systems[i]);
            frozen(shape, &s, 2);
        }
        for (i = 1; i < 8; i++) {                  /* every list of three layers */
            s = preset(i % 2 ? "h1" : "h1h2");
            s.kv_layers = (uint64_t)i;
            frozen(shape, &s, 3);
            s.orthogonality = 0.1;                 /* the final states are used after all */
            frozen(shape, &s, 3);
            s.values = 1;
            frozen(shape, &s, 3);
        }
        for (i = 0; i < 3; i++) {
            s = preset(i == 0 ? "liu" : i == 1 ? "h1" : "prompt");
            s.fused = 1;
            frozen(shape, &s, 2);
        }
    }
}

/* ---- latents as given rows ------------------------------------------------------------------- */

/* H2 whose latents are constants is `none` with the latents as its cue. Rows given as a cue are
 * for every group, hence one group. */
static void test_given_rows(void) {
    static const twist fixed = { NULL, 1, 0 };
    int shape;
    for (shape = 0; shape < SHAPES; shape++) {
        desk h2, none;
        scene s;
        lonely one;
        result r, hand, given, two;
        dual_tensor *rows, *mine;
        double *of_rows;
        size_t i, base = 0;
        const char *what;

        set_scene(&s, 0);
        set_alone(&one, &s.batch, 2);
        open_desk(&h2, shape, "h2");
        open_desk(&none, shape, "none");
        r = run(&h2, &one.batch, 1);
        hand = by_hand(&h2, &one.batch, &fixed, 1);
        rows = dual_tensor_new(&none.c, SLOTS, h2.base->config.hidden);
        for (i = 0; i < r.n_latents; i++)
            rows->data[i] = (dual_real)r.latents[i];
        one.batch.cue_rows = rows;
        given = run(&none, &one.batch, 1);
        what = label(shape, "h2", "latents as a constant cue");
        same_logits(&given, &r, what);
        for (i = 0; i < h2.base->n_params; i++)
            base += h2.base->param[i].tensor->rows * h2.base->param[i].tensor->cols;
        check_that(check_distance(given.gradients, hand.gradients, base, 0) <=
                   check_limit(1e-12, 1e-4), "%s: expected the Base's gradients of H2 with"
                   " constant latents, got distance %.3g", what,
                   check_distance(given.gradients, hand.gradients, base, 0));
        check_that(check_distance(given.gradients, r.gradients, base, 0) > 1e-3,
                   "%s: expected H2's own gradient to differ", what);
        drop(&r);
        drop(&hand);
        drop(&given);

        /* trained rows, several groups: by hand too, and tokens' rows are those tokens */
        set_scene(&s, 1);
        dual_need_grad(&none.c, rows);
        s.batch.cue_rows = rows;
        given = run(&none, &s.batch, 1);
        mine = dual_tensor_new(&none.c, SLOTS, rows->cols);
        of_rows = numbers(rows->rows * rows->cols);
        for (i = 0; i < rows->rows * rows->cols; i++) {
            of_rows[i] = (double)rows->grad[i];
            rows->grad[i] = 0;
        }
        {
            twist t;
            memset(&t, 0, sizeof t);
            t.cue_rows = rows;
            hand = by_hand(&none, &s.batch, &t, 1);
        }
        same_results(&none, &given, &hand, label(shape, "none", "trained cue rows"));
        for (i = 0; i < rows->rows * rows->cols; i++)
            mine->data[i] = rows->grad[i];
        check_that(distance_of(mine, of_rows) <= check_limit(1e-12, 1e-4) &&
                   length_of(of_rows, rows->rows * rows->cols) > 0,
                   "%s: expected the gradient of the rows laid out by hand",
                   label(shape, "none", "trained cue rows"));
        drop(&given);
        drop(&hand);
        free(of_rows);

        /* for H2 and H1 a cue given as rows is the same cue */
        for (i = 0; i < 2; i++) {
            desk d;
            size_t g, c;
            open_desk(&d, shape, i ? "h1" : "h2");
            set_scene(&s, 1);
            for (g = 0; g < GROUPS; g++)
                s.cue[g][0] = 11;
            r = run(&d, &s.batch, 0);
            rows = dual_tensor_new(&d.c, 1, d.base->config.hidden);
            for (c = 0; c < rows->cols; c++)
                rows->data[c] = d.base->wte->data[11 * d.base->wte->stride + c];
            s.batch.cue_rows = rows;
            two = run(&d, &s.batch, 0);
            same_logits(&two, &r, label(shape, i ? "h1" : "h2", "a token's row as the cue"));
            drop(&r);
            drop(&two);
            close_desk(&d);
        }
        close_desk(&h2);
        close_desk(&none);
    }
}

/* ---- finite differences through read, think and speak ---------------------------------------- */

static double loss_now(desk *d, const dual_batch *batch) {
    dual_mark mark = dual_mark_here(&d->c);
    dual_outcome out;
    double loss;
    dual_run(&d->c, &d->e, batch, &out);
    loss = size_of_loss(out.loss);
    dual_release(&d->c, mark);
    return loss;
}

/* Four points: the error of the plain two-point formula would be near the limit at this depth. */
static double slope(desk *d, const dual_batch *batch, dual_real *x) {
    const double h = 4e-4;
    double kept = (double)*x, f[4];
    int i;
    for (i = 0; i < 4; i++) {
        *x = (dual_real)(kept + h * (double)(i < 2 ? i - 2 : i - 1));
        f[i] = loss_now(d, batch);
    }
    *x = (dual_real)kept;
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

static void exchange_differences(int shape, const dual_system *system, int other_width) {
    enum { PROBES = 6 };
    desk d;
    scene s;
    dual_param *p;
    dual_rng rng = dual_rng_seed(31, 1);
    dual_config config = shape_of(shape), other = config;
    double *gradients;
    size_t i, j, n = 0, count;
    char owner;

    if (other_width) {
        other.hidden = 9;
        other.heads = 2;
    }
    open_pair(&d, &config, &other, system);
    set_scene(&s, 1);
    s.batch.n_sequences = 1;
    s.batch.n_groups = 2;
    s.length[0] = 5;
    s.group[0].prefix = 3;
    s.group[1].prefix = 5;
    s.group[0].n_target = 2;
    s.group[1].n_target = 3;
    {
        result r = run(&d, &s.batch, 1);
        gradients = r.gradients;
        r.gradients = NULL;
        drop(&r);
    }
    for (i = 0; (p = dual_exchange_param(&d.e, i, &owner)) != NULL; i++, n += count) {
        double found[PROBES], expected[PROBES], distance;
        size_t top = 0;
        count = p->tensor->rows * p->tensor->cols;
        if (!p->tensor->needs_grad)
            continue;
        for (j = 0; j < count; j++)                /* one probe where it matters most */
            if (fabs(gradients[n + j]) > fabs(gradients[n + top]))
                top = j;
        for (j = 0; j < PROBES; j++) {
            size_t at = j ? dual_rng_below(&rng, count) : top;
            found[j] = gradients[n + at];
            expected[j] = slope(&d, &s.batch, &p->tensor->data[at]);
        }
        distance = check_distance(found, expected, PROBES, 1e-11);
        check_that(distance <= 1e-6, "%s, %s, %c %s: expected the differences within 1e-6,"
                   " got %.3g (largest: %.6g by differences, %.6g by backward)",
                   shape_name[shape], title(system), owner, p->name, distance, expected[0],
                   found[0]);
    }
    free(gradients);
    close_desk(&d);
}

static void test_differences(void) {
    int shape, i;
    if (!check_in_double()) {
        printf("float build: finite differences skipped, they need -DDUAL_REAL=double\n");
        return;
    }
    for (shape = 0; shape < SHAPES; shape++) {
        dual_system s;
        for (i = 0; i < SYSTEMS; i++) {
            s = preset(all_systems[i]);
            exchange_differences(shape, &s, shape == 3 && s.inject == DUAL_KV);
        }
        s = preset("h2");
        s.gain = 1;
        exchange_differences(shape, &s, 0);
        s.text_loss = 0.6;
        s.orthogonality = 0.7;
        exchange_differences(shape, &s, 0);
        s.fused = s.centred = 1;
        exchange_differences(shape, &s, 0);
        for (i = 1; i < 3; i++) {                  /* one layer of two, both forms, both kinds */
            s = preset(i == 1 ? "h1h2" : "h1");
            s.kv_layers = (uint64_t)i;
            exchange_differences(shape, &s, 0);
            s.orthogonality = 0.7;
            s.centred = i == 1;
            exchange_differences(shape, &s, 0);
            s.values = s.fused = 1;
            exchange_differences(shape, &s, 0);
        }
        for (i = 0; i < 3; i++) {
            s = preset(i == 0 ? "soft" : i == 1 ? "coconut" : "h1h2");
            s.text_loss = 0.6;
            exchange_differences(shape, &s, 0);
        }
    }
}

/* ---- decoding -------------------------------------------------------------------------------- */

enum { NEW = 5 };

static size_t best_of(const double *logits) {
    size_t i, best = 0;
    for (i = 1; i < VOCAB; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static dual_sampling greedy(dual_real *logits) {
    dual_sampling s;
    memset(&s, 0, sizeof s);
    s.max_new = NEW;
    s.end = -1;
    s.rng = dual_rng_seed(1, 1);
    s.logits = logits;
    return s;
}

/* Teacher forced with what was generated, dual_run must have chosen the same from the same. */
static void decode(int shape, const char *name, size_t n_cue, int by_rows, dual_source from) {
    desk d;
    scene s;
    int32_t token[GROUPS * NEW], again[GROUPS * NEW];
    size_t length[GROUPS], i, g, wrong = 0, apart = 0;
    dual_real *logits = malloc(GROUPS * NEW * VOCAB * sizeof *logits);
    const char *what = label(shape, name, n_cue ? "decoding" : "decoding, empty cue");
    dual_sampling how = greedy(logits);
    result forced;

    open_desk(&d, shape, name);
    set_scene(&s, n_cue);
    if (by_rows)
        s.batch.cue_rows = check_random(&d.c, 2, d.base->config.hidden, 3);
    s.batch.ablation.from = from;
    s.batch.ablation.slot = 1;
    dual_generate(&d.c, &d.e, &s.batch, &how, token, length);
    for (g = 0; g < GROUPS; g++) {
        check_size(length[g], NEW + 1, "%s: length without an end token", what);
        s.group[g].target = token + g * NEW;
        s.group[g].n_target = NEW;
    }
    forced = run(&d, &s.batch, 0);
    for (i = 0; i < GROUPS * NEW; i++) {
        double row[VOCAB];
        size_t v;
        for (v = 0; v < VOCAB; v++)
            row[v] = (double)logits[i * VOCAB + v];
        wrong += best_of(row) != (size_t)token[i];
        wrong += best_of(forced.logits + i * VOCAB) != (size_t)token[i];
        apart += !(check_distance(row, forced.logits + i * VOCAB, VOCAB, 0) <=
                   check_limit(1e-12, 1e-4));
    }
    check_size(wrong, 0, "%s: tokens that are not the argmax", what);
    check_size(apart, 0, "%s: logits unlike teacher forcing's", what);
    drop(&forced);

    for (g = 0; g < GROUPS; g++) {
        lonely one;
        size_t own;
        how = greedy(NULL);
        set_alone(&one, &s.batch, g);
        dual_generate(&d.c, &d.e, &one.batch, &how, again, &own);
        check_that(!memcmp(again, token + g * NEW, NEW * sizeof *again),
                   "%s: group %d alone continues differently", what, (int)g);
    }
    /* the end token stops a group where it first comes, and no other group earlier */
    how = greedy(NULL);
    how.end = token[2];
    dual_generate(&d.c, &d.e, &s.batch, &how, again, length);
    for (g = 0; g < GROUPS; g++) {
        size_t first = 0;
        while (first < NEW && token[g * NEW + first] != how.end)
            first++;
        check_size(length[g], first < NEW ? first : NEW + 1, "%s: length to the end token", what);
        check_that(!memcmp(again + g * NEW, token + g * NEW, first * sizeof *again),
                   "%s: tokens before the end token", what);
    }
    free(logits);
    close_desk(&d);
}

static void test_decoding(void) {
    int shape, system;
    for (shape = 0; shape < SHAPES; shape++)
        for (system = 0; system < SYSTEMS; system++) {
            dual_system s = dual_system_preset(all_systems[system]);
            decode(shape, all_systems[system], 1, 0, DUAL_RIGHT);
            decode(shape, all_systems[system], 2, 0, DUAL_RIGHT);
            decode(shape, all_systems[system], 1, 1, DUAL_RIGHT);
            if (s.inject != DUAL_KV && s.inject != DUAL_NONE)
                decode(shape, all_systems[system], 0, 0, DUAL_RIGHT);
            if (s.inject == DUAL_NONE)
                continue;
            decode(shape, all_systems[system], 1, 0, DUAL_ZERO);
            decode(shape, all_systems[system], 1, 0, DUAL_DROP);
        }
}

static void test_sampling(void) {
    desk d;
    scene s;
    int32_t a[GROUPS * NEW], b[GROUPS * NEW], c[GROUPS * NEW];
    size_t length[GROUPS], i, hits = 0, draws = 400;
    dual_sampling how;
    double share, *p, sum = 0;
    result forced;
    lonely one;

    open_desk(&d, 2, "h2");
    set_scene(&s, 1);
    how = greedy(NULL);
    how.temperature = 1.5;
    dual_generate(&d.c, &d.e, &s.batch, &how, a, length);
    how.rng = dual_rng_seed(1, 1);
    dual_generate(&d.c, &d.e, &s.batch, &how, b, length);
    how.rng = dual_rng_seed(2, 1);
    dual_generate(&d.c, &d.e, &s.batch, &how, c, length);
    check_that(!memcmp(a, b, sizeof a), "sampling: expected the same tokens for the same seed");
    check_that(memcmp(a, c, sizeof a), "sampling: expected other tokens for another seed");

    /* the first token's share is softmax(logits / temperature) */
    set_alone(&one, &s.batch, 0);
    forced = run(&d, &one.batch, 0);
    p = forced.logits;
    for (i = 0; i < VOCAB; i++)
        sum += exp((p[i] - p[best_of(p)]) / 1.5);
    share = 1 / sum;
    how.rng = dual_rng_seed(3, 1);
    how.max_new = 1;
    for (i = 0; i < draws; i++) {
        dual_generate(&d.c, &d.e, &one.batch, &how, a, length);
        hits += (size_t)a[0] == best_of(p);
        sum = a[0];
        check_that(a[0] >= 0 && a[0] < VOCAB, "sampling: token %g", sum);
    }
    check_close((double)hits / (double)draws, share, 4 * sqrt(share * (1 - share) / (double)draws),
                "sampling: share of the likeliest token at temperature 1.5");
    drop(&forced);
    close_desk(&d);
}

/* ---- recomputation --------------------------------------------------------------------------- */

/* Bytes before a step, held between forward and backward, and at most; FLOPs of forward and all. */
typedef struct { size_t start, held, peak; double forward, flops, weight_grad_flops; } expense;

/* A step in exactly `size` bytes, or (0) counted; what it took. */
static expense step_in(size_t size, const dual_config *shape, const dual_system *system,
                       const dual_batch *batch, int recompute) {
    void *memory = size ? malloc(size) : NULL;
    dual_ctx c;
    dual_exchange e;
    dual_outcome out;
    dual_model *base, *cop = NULL;
    expense x;
    dual_init(&c, memory, size);
    c.fatal = check_fatal;
    c.recompute = recompute;
    base = dual_model_new(&c, shape);
    if (dual_system_needs_coprocessor(system))
        cop = dual_model_new(&c, shape);
    check_that(dual_exchange_new(&c, &e, system, base, cop), "%s: %s", system->name, c.error);
    dual_model_init(base, dual_rng_seed(5, 5));
    dual_exchange_init(&e, 5);
    dual_exchange_train(&c, &e);
    x.start = c.used;
    dual_run(&c, &e, batch, &out);
    x.held = c.used;
    x.forward = c.flops;
    dual_backward(&c, out.loss);
    x.peak = c.peak;
    x.flops = c.flops;
    x.weight_grad_flops = c.weight_grad_flops;
    dual_done(&c);
    free(memory);
    return x;
}

/* Loss, logits, latents and every gradient bit for bit; a step fits into just what was counted and
 * costs no more FLOPs than one forward on top, none of them for weight gradients. */
static void recomputed(int shape, size_t layers, const dual_system *system) {
    dual_config config = shape_of(shape);
    const char *what = label(shape, title(system), "recomputed");
    expense plain, again, real;
    dual_tensor *keys[32];
    dual_outcome out;
    double more;
    size_t i;
    scene s;
    desk d;
    result a, b, c;
    config.layers = layers;
    set_scene(&s, 2);
    open_with(&d, &config, system);
    a = run(&d, &s.batch, 1);
    d.c.recompute = 1;
    b = run(&d, &s.batch, 1);
    d.c.inference = 1;
    c = run(&d, &s.batch, 0);
    d.c.inference = 0;
    dual_run(&d.c, &d.e, &s.batch, &out);
    for (i = 0; i < out.n_passes; i++)
        memcpy(keys + i * layers, out.pass[i].cache.k, layers * sizeof *keys);
    dual_backward(&d.c, out.loss);
    for (i = 0; i < out.n_passes; i++)
        check_that(!memcmp(keys + i * layers, out.pass[i].cache.k, layers * sizeof *keys),
                   "%s: expected backward to leave the caches of pass %lu", what, (unsigned long)i);
    check_that(a.n_latents == b.n_latents && !memcmp(&a.loss, &b.loss, sizeof a.loss) &&
               !memcmp(a.logits, b.logits, a.n_logits * sizeof *a.logits) &&
               !memcmp(a.logits, c.logits, a.n_logits * sizeof *a.logits) &&
               (!a.n_latents || !memcmp(a.latents, b.latents, a.n_latents * sizeof *a.latents)),
               "%s: expected the same loss, logits and latents to the bit", what);
    check_that(!memcmp(a.gradients, b.gradients, exchange_size(&d.e) * sizeof *a.gradients) &&
               length_of(a.gradients, exchange_size(&d.e)) > 0,
               "%s: expected the same gradients to the bit, got distance %.3g", what,
               check_distance(a.gradients, b.gradients, exchange_size(&d.e), 0));
    plain = step_in(0, &config, system, &s.batch, 0);
    again = step_in(0, &config, system, &s.batch, 1);
    real = step_in(again.peak, &config, system, &s.batch, 1);
    check_size(real.peak + 64, again.peak, "%s: bytes counted (64 to align)", what);
    check_that(again.held < plain.held, "%s: expected less to be kept", what);
    more = again.flops - plain.flops;
    check_that(real.flops == again.flops && more > 0 && more < plain.forward &&
               again.weight_grad_flops == plain.weight_grad_flops,
               "%s: expected at most a forward's FLOPs on top, got %g on %g", what, more,
               plain.flops);
    drop(&a);
    drop(&b);
    drop(&c);
    close_desk(&d);
}

/* The batch of one long sequence without a prompt: all blocks and the head, forward and back. */
static void recomputed_share(int shape) {
    enum { LENGTH = 48 };
    static const int32_t token[LENGTH] = { 1, 2, 3 };
    dual_config config = shape_of(shape);
    dual_system system = preset("none");
    dual_group group;
    dual_batch batch;
    expense plain, again;
    const int32_t *text = token;
    const size_t none = 0;
    double forward, rows = LENGTH, pairs = rows * (rows + 1) / 2, d, q, kv, mlp;
    config.layers = 8;
    config.hidden = config.head_dim * config.heads * 8;
    config.head_dim = config.hidden / config.heads;
    config.mlp = 4 * config.hidden;
    memset(&group, 0, sizeof group);
    memset(&batch, 0, sizeof batch);
    group.cue = group.target = token;
    group.n_cue = 1;
    group.n_target = LENGTH;
    batch.n_sequences = batch.n_groups = 1;
    batch.text = &text;
    batch.length = &none;
    batch.group = &group;
    plain = step_in(0, &config, &system, &batch, 0);
    again = step_in(0, &config, &system, &batch, 1);
    d = (double)config.hidden;
    q = (double)(config.heads * config.head_dim);
    kv = (double)(config.kv_heads * config.head_dim);
    mlp = (double)config.mlp;
    forward = 8 * (2 * rows * d * (2 * q + 2 * kv + (shape < 2 ? 2 : 3) * mlp) + 4 * pairs * q);
    check_close(again.flops - plain.flops, forward, 0, "%s: FLOPs of eight blocks recomputed",
                shape_name[shape]);
    check_that(again.held - again.start < (plain.held - plain.start) / 2,
               "%s: expected half to be kept for backward, or less: %lu of %lu", shape_name[shape],
               (unsigned long)(again.held - again.start),
               (unsigned long)(plain.held - plain.start));
}

static void test_recomputation(void) {
    int shape, i, option;
    for (shape = 0; shape < SHAPES; shape++) {
        for (i = 0; i < SYSTEMS; i++)
            for (option = 0; option < 7; option++) {
                dual_system system = preset(all_systems[i]);
                const int kv = system.inject == DUAL_KV, cop = kv || system.inject == DUAL_EMBED;
                if ((option && option < 4 && !cop) || (option == 3 && !kv) ||
                    (option == 4 && !system.base_trained) ||
                    (option == 5 && !(system.base_trained && cop)) ||
                    (option == 6 && (kv || !(cop || system.inject == DUAL_CHAIN))))
                    continue;
                system.fused = option == 1;
                system.orthogonality = option == 2 || option == 3 ? 0.5 : 0;
                system.values = option == 3;
                system.kv_layers = option == 3 ? 5 : 0;
                system.text_loss = option == 4 ? 0.6 : 0;
                system.detach = option == 5;
                system.gain = option == 6;
                recomputed(shape, 3, &system);
            }
        recomputed_share(shape);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { MANY = 14, LONG = 12 };

/* Two steps at a size where every kernel has several tiles; returns parameters, then losses. Blocks
 * are recomputed from step `recompute` on. */
static double *two_steps(int threads, int recompute, int family, const char *name, size_t *size) {
    dual_config gpt2 = { DUAL_GPT2, 1, 131, 64, 2, 64, 4, 4, 16, 256, 1e-5, 0 };
    dual_config qwen = { DUAL_QWEN3, 0, 131, 64, 2, 64, 4, 2, 24, 192, 1e-6, 1e4 };
    dual_system system = preset(name);
    int32_t text[MANY][LONG], cue[1] = { 5 }, target[MANY * 2][LONG];
    const int32_t *texts[MANY];
    size_t length[MANY], i, j, n;
    dual_group group[MANY * 2];
    dual_batch batch;
    dual_adamw adamw;
    dual_rng rng = dual_rng_seed(3, 3);
    double *values, *gradients, loss[2], norm[2];
    desk d;
    int step;

    dual_threads(threads);
    memset(&batch, 0, sizeof batch);
    for (i = 0; i < MANY; i++) {
        for (j = 0; j < LONG; j++)
            text[i][j] = (int32_t)dual_rng_below(&rng, 131);
        texts[i] = text[i];
        length[i] = LONG - i % 4;
    }
    for (i = 0; i < MANY * 2; i++) {
        memset(&group[i], 0, sizeof group[i]);
        for (j = 0; j < LONG; j++)
            target[i][j] = (int32_t)dual_rng_below(&rng, 131);
        group[i].sequence = i / 2;
        group[i].prefix = i % 2 ? length[i / 2] : 5;
        group[i].cue = cue;
        group[i].n_cue = 1;
        group[i].target = target[i];
        group[i].n_target = 4 + i % 3;
    }
    batch.n_sequences = MANY;
    batch.text = texts;
    batch.length = length;
    batch.n_groups = MANY * 2;
    batch.group = group;
    open_with(&d, family == DUAL_GPT2 ? &gpt2 : &qwen, &system);
    shake(d.base, 4, 0.08);
    dual_adamw_new(&d.c, &adamw, &d.e);
    n = exchange_size(&d.e);
    gradients = NULL;
    for (step = 0; step < 3; step++) {             /* the third only for its gradients */
        dual_mark mark = dual_mark_here(&d.c);
        dual_outcome out;
        d.c.recompute = step >= recompute;
        dual_run(&d.c, &d.e, &batch, &out);
        if (step < 2)
            loss[step] = size_of_loss(out.loss);
        dual_backward(&d.c, out.loss);
        if (step < 2)
            norm[step] = dual_adamw_step(&d.c, &adamw, 1e-3);
        else
            gradients = take_gradients(&d.e);
        dual_release(&d.c, mark);
    }
    values = take_values(&d.e);
    *size = 2 * n + 4;
    values = realloc(values, *size * sizeof *values);
    memcpy(values + n, gradients, n * sizeof *values);
    for (i = 0; i < 2; i++) {
        values[2 * n + i] = loss[i];
        values[2 * n + 2 + i] = norm[i];
    }
    free(gradients);
    close_desk(&d);
    return values;
}

static void test_threads(void) {
    static const char *const names[] = { "h2", "coconut", "h1h2", "liu" };
    int family, i;
    for (family = DUAL_GPT2; family <= DUAL_QWEN3; family++)
        for (i = 2 * family; i < 2 * family + 2; i++) {
            enum { NEVER = 3 };
            size_t one, four, three, two;
            double *a = two_steps(1, NEVER, family, names[i], &one);
            double *b = two_steps(4, NEVER, family, names[i], &four);
            double *c = two_steps(3, NEVER, family, names[i], &three);
            double *e = two_steps(1, 0, family, names[i], &two);
            double *f = two_steps(2, 1, family, names[i], &two);
            check_that(one == four && !memcmp(a, b, one * sizeof *a) && a[one - 4] > 0,
                       "%s, %s: expected the same bits with 1 and with 4 threads",
                       shape_name[2 * family], names[i]);
            check_that(one == three && !memcmp(a, c, one * sizeof *a),
                       "%s, %s: expected the same bits with 1 and with 3 threads",
                       shape_name[2 * family], names[i]);
            check_that(one == two && !memcmp(a, e, one * sizeof *a) &&
                       !memcmp(a, f, one * sizeof *a),
                       "%s, %s: expected the same bits recomputed, with 1 thread or 2 and from "
                       "the second step on", shape_name[2 * family], names[i]);
            free(a);
            free(b);
            free(c);
            free(e);
            free(f);
        }
    dual_threads(1);
}

/* ---- eight problems by heart ----------------------------------------------------------------- */

enum { EIGHT = 8, QUESTION = 5, ANSWER = 3 };

typedef struct {
    int32_t text[EIGHT][QUESTION], target[EIGHT][ANSWER];
    const int32_t *texts[EIGHT];
    size_t length[EIGHT];
    dual_group group[EIGHT];
    dual_batch batch;
} lesson;

/* Questions of five tokens, answers of three: the first three again (rule 1), or a choice that
 * differs from problem to problem and can only be learned by heart (rule 0). */
static void set_lesson(lesson *l, uint64_t seed, int rule) {
    static const int32_t cue[] = { 0 };
    dual_rng rng = dual_rng_seed(seed, 6);
    size_t i, j;
    memset(l, 0, sizeof *l);
    for (i = 0; i < EIGHT; i++) {
        for (j = 0; j < QUESTION; j++)
            l->text[i][j] = 1 + (int32_t)dual_rng_below(&rng, VOCAB - 1);
        for (j = 0; j < ANSWER; j++)
            l->target[i][j] = rule ? l->text[i][j] : l->text[i][(i + j * 2) % QUESTION];
        l->texts[i] = l->text[i];
        l->length[i] = QUESTION;
        l->group[i].sequence = i;
        l->group[i].prefix = QUESTION;
        l->group[i].cue = cue;
        l->group[i].n_cue = 1;
        l->group[i].target = l->target[i];
        l->group[i].n_target = ANSWER;
    }
    l->batch.n_sequences = EIGHT;
    l->batch.text = l->texts;
    l->batch.length = l->length;
    l->batch.n_groups = EIGHT;
    l->batch.group = l->group;
}

static double learn(desk *d, uint64_t lessons, int rule, int steps, double rate, double *first) {
    dual_adamw adamw;
    double loss = 0;
    int step;
    dual_adamw_new(&d->c, &adamw, &d->e);
    adamw.decay = 0;
    for (step = 0; step <= steps; step++) {
        dual_mark mark = dual_mark_here(&d->c);
        dual_outcome out;
        lesson l;
        set_lesson(&l, (uint64_t)step % lessons, rule);
        dual_run(&d->c, &d->e, &l.batch, &out);
        loss = size_of_loss(out.loss);
        if (step == 0)
            *first = loss;
        if (step < steps) {
            dual_backward(&d->c, out.loss);
            dual_adamw_step(&d->c, &adamw, dual_schedule((uint64_t)step, (uint64_t)steps, 0.1,
                                                         rate));
        }
        dual_release(&d->c, mark);
    }
    return loss;
}

static void test_overfit(void) {
    dual_config gpt2 = { DUAL_GPT2, 1, VOCAB, 32, 2, 16, 4, 4, 4, 48, 1e-5, 0 };
    dual_config qwen = { DUAL_QWEN3, 1, VOCAB, 32, 2, 16, 4, 2, 6, 32, 1e-6, 1e4 };
    int family, i;
    for (family = DUAL_GPT2; family <= DUAL_QWEN3; family++) {
        const dual_config *config = family == DUAL_GPT2 ? &gpt2 : &qwen;
        dual_system plain = preset("none");
        desk school;
        double start, end;
        open_with(&school, config, &plain);
        dual_model_init(school.base, dual_rng_seed(5, 5));
        learn(&school, 64, 1, 400, 1e-2, &start);  /* a Base that knows how to copy */
        for (i = 0; i < SYSTEMS; i++) {
            dual_system system = preset(all_systems[i]);
            desk d;
            if (system.inject != DUAL_NONE)        /* prompt has nothing but its slots */
                system.latents = system.inject == DUAL_SOFT && !system.base_trained ? 16 : 4;
            open_with(&d, config, &system);
            dual_model_copy(d.base, school.base);
            dual_exchange_init(&d.e, 1);
            if (system.base_trained) {
                end = learn(&d, 1, 0, 100, 1e-2, &start);
                check_that(end < 0.05, "%s, %s: expected eight problems overfitted to a loss below"
                           " 0.05, got %.4f from %.4f", shape_name[2 * family], system.name, end,
                           start);
            } else {
                end = learn(&d, 1, 0, 200, 1e-2, &start);
                check_that(end < start / 3, "%s, %s: expected a loss below a third of %.4f,"
                           " got %.4f", shape_name[2 * family], system.name, start, end);
            }
            close_desk(&d);
        }
        close_desk(&school);
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refuse_pair(const char *system_name, const dual_config *base, const dual_config *cop,
                        const char *field) {
    dual_ctx c;
    dual_exchange e;
    dual_system system = preset(system_name);
    void *memory = check_begin(&c, (size_t)8 << 20);
    int accepted;
    accepted = dual_exchange_new(&c, &e, &system, dual_model_new(&c, base),
                                 dual_model_new(&c, cop));
    check_that(accepted || strstr(c.error, field), "%s, other %s: expected it named, got \"%s\"",
               system_name, field, c.error);
    check_refused(&c, accepted, field);
    check_end(&c, memory);
}

static void test_refusals(void) {
    static const char *const two[] = { "h2", "h1" };
    int i;
    for (i = 0; i < 2; i++) {
        dual_config gpt2 = shape_of(0), qwen = shape_of(2), other;
        refuse_pair(two[i], &gpt2, &qwen, "family");
        other = gpt2;
        other.layers = 3;
        refuse_pair(two[i], &gpt2, &other, "layers");
        other = qwen;
        other.kv_heads = 4;
        refuse_pair(two[i], &qwen, &other, "kv");
        other = qwen;
        other.head_dim = 8;
        refuse_pair(two[i], &qwen, &other, "head_dim");
        other = qwen;
        other.rope_theta = 5e4;
        refuse_pair(two[i], &qwen, &other, "rope_theta");
        other = qwen;
        other.hidden = 16;
        if (i == 0)
            refuse_pair(two[i], &qwen, &other, "hidden");
    }
    {
        /* 61 positions: 40 of text, 3 latents, 1 cue, so 17 targets fit and 19 do not */
        static int32_t text[60], cue[1];
        const int32_t *texts[1];
        size_t length[1] = { 40 };
        dual_group group;
        dual_batch batch;
        desk d;
        memset(&group, 0, sizeof group);
        memset(&batch, 0, sizeof batch);
        texts[0] = text;
        group.prefix = 40;
        group.cue = cue;
        group.n_cue = 1;
        group.target = text;
        group.n_target = 17;
        batch.n_sequences = 1;
        batch.text = texts;
        batch.length = length;
        batch.n_groups = 1;
        batch.group = &group;
        for (i = 0; i < SYSTEMS; i++) {
            open_desk(&d, 0, all_systems[i]);
            group.n_target = d.e.system.inject == DUAL_CHAIN ? 16 : 17;
            check_that(dual_batch_check(&d.c, &d.e, &batch), "%s: expected %d targets to fit: %s",
                       all_systems[i], (int)group.n_target, d.c.error);
            group.n_target = 23;                   /* too many even without latents */
            check_that(!dual_batch_check(&d.c, &d.e, &batch) && strstr(d.c.error, "61"),
                       "%s: expected a refusal that names 61 positions, got \"%s\"",
                       all_systems[i], d.c.error);
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "too many targets");
            group.n_target = 3;
            group.prefix = 41;
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "prefix beyond its text");
            group.prefix = 40;
            group.sequence = 1;
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "no such sequence");
            group.sequence = 0;
            text[3] = VOCAB;
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "token too large");
            text[3] = -1;
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "negative token");
            text[3] = 0;
            cue[0] = VOCAB;
            check_refused(&d.c, dual_batch_check(&d.c, &d.e, &batch), "cue beyond the vocabulary");
            cue[0] = 0;
            close_desk(&d);
        }
    }
    {
        dual_system unknown = dual_system_preset("h3");
        check_size(unknown.latents, SIZE_MAX, "an unknown preset");
        unknown = dual_system_preset("wide");
        check_that(unknown.inject == DUAL_SOFT && unknown.base_trained, "wide is a soft system");
    }
    {                                              /* flags that would mean nothing */
        static const char *const gainless[] = { "none", "pause", "soft", "prompt", "h1", "h1h2" };
        static const char *const cutless[] = { "none", "soft", "coconut", "liu", "h1", "prompt" };
        dual_config config = shape_of(0);
        dual_ctx c;
        void *memory = check_begin(&c, (size_t)16 << 20);
        dual_model *base = dual_model_new(&c, &config), *cop = dual_model_new(&c, &config);
        dual_exchange e;
        for (i = 0; i < 6; i++) {
            dual_system s = preset(gainless[i]);
            s.gain = 1;
            check_refused(&c, dual_exchange_new(&c, &e, &s, base, cop), "a gain on no state");
            s = preset(cutless[i]);
            s.detach = 1;
            check_refused(&c, dual_exchange_new(&c, &e, &s, base, cop), "detach of nothing");
        }
        {
            dual_system s = preset("h2");
            check_refused(&c, dual_exchange_new(&c, &e, &s, base, NULL), "no Coprocessor");
        }
        check_end(&c, memory);
    }
    {                                              /* a batch without targets has no loss */
        desk d;
        scene s;
        dual_outcome out;
        size_t g;
        open_desk(&d, 0, "h2");
        set_scene(&s, 1);
        for (g = 0; g < GROUPS; g++)
            s.group[g].n_target = 0;
        dual_run(&d.c, &d.e, &s.batch, &out);
        check_that(out.loss == NULL && out.latents && out.latents->rows == GROUPS * SLOTS,
                   "no targets: expected latents and no loss");
        close_desk(&d);
    }
}

/* ---- controls -------------------------------------------------------------------------------- */

/* The rows of the speak pass that stand for latents, as they were fed. */
static double *fed_latents(desk *d, const dual_batch *batch, size_t *rows) {
    dual_mark mark = dual_mark_here(&d->c);
    size_t r, c, n = 0, cols = d->base->config.hidden;
    const dual_pass *speak;
    dual_outcome out;
    double *fed;
    dual_run(&d->c, &d->e, batch, &out);
    speak = &out.pass[out.n_passes - 1];
    fed = numbers(speak->rows * cols);
    for (r = 0; r < speak->rows; r++)
        if (speak->token[r] < 0) {
            for (c = 0; c < cols; c++)
                fed[n * cols + c] = (double)speak->input->data[r * speak->input->stride + c];
            n++;
        }
    *rows = n;
    dual_release(&d->c, mark);
    return fed;
}

static void test_controls(void) {
    static const char *const names[] = { "liu", "h2", "h1", "h1h2" };
    static const dual_source sources[] = { DUAL_SWAPPED, DUAL_MEAN, DUAL_NOISE, DUAL_ZERO,
                                           DUAL_DROP };
    static const char *const source_name[] = { "swapped", "mean", "noise", "zero", "drop" };
    int shape, i, j;
    for (shape = 0; shape < SHAPES; shape++) {
        for (i = 0; i < 4; i++) {
            desk d;
            scene s;
            result plain, other;
            open_desk(&d, shape, names[i]);
            set_scene(&s, 1);
            plain = run(&d, &s.batch, 0);
            for (j = 0; j < 5; j++) {
                s.batch.ablation.from = sources[j];
                s.batch.ablation.slot = 1;
                s.batch.ablation.seed = 5;
                other = run(&d, &s.batch, 0);
                check_that(change(&plain, &other) > 1e-4, "%s: expected other logits with %s"
                           " latents", label(shape, names[i], "controls"), source_name[j]);
                drop(&other);
            }
            s.batch.ablation.from = DUAL_RIGHT;
            other = run(&d, &s.batch, 0);
            check_that(!memcmp(plain.logits, other.logits, plain.n_logits * sizeof(double)),
                       "%s: expected nothing to change with right latents", names[i]);
            drop(&plain);
            drop(&other);
            close_desk(&d);
        }
        {
            desk d;
            scene s;
            size_t n, m, g, r, c, cols, wrong = 0, same = 0;
            double *right, *noise, *swapped, *mean;
            open_desk(&d, shape, "h2");
            cols = d.base->config.hidden;
            set_scene(&s, 1);
            s.batch.n_sequences = 2;
            s.batch.n_groups = 2;
            s.group[1] = s.group[3];
            right = fed_latents(&d, &s.batch, &n);
            check_size(n, 2 * SLOTS, "rows of the speak pass that are latents");
            s.batch.ablation.seed = 5;
            s.batch.ablation.from = DUAL_NOISE;
            noise = fed_latents(&d, &s.batch, &m);
            for (r = 0; r < n; r++) {
                double a = length_of(right + r * cols, cols), b = length_of(noise + r * cols, cols);
                wrong += !(fabs(a - b) <= a * check_limit(1e-12, 1e-5));
                same += !memcmp(right + r * cols, noise + r * cols, cols * sizeof *noise);
            }
            check_that(m == n && wrong == 0 && same == 0,
                       "%s: expected noise with each slot's own norm", shape_name[shape]);
            s.batch.ablation.from = DUAL_SWAPPED;
            swapped = fed_latents(&d, &s.batch, &m);
            for (wrong = 0, g = 0; g < 2; g++)     /* with two groups each gets the other's */
                wrong += memcmp(swapped + g * SLOTS * cols, right + (1 - g) * SLOTS * cols,
                                SLOTS * cols * sizeof *right) != 0;
            check_that(m == n && wrong == 0, "%s: expected two groups to swap their latents",
                       shape_name[shape]);
            s.batch.ablation.from = DUAL_MEAN;
            mean = fed_latents(&d, &s.batch, &m);
            for (wrong = 0, g = 0; g < 2; g++)
                for (c = 0; c < SLOTS * cols; c++) {
                    double want = (right[c] + right[SLOTS * cols + c]) / 2;
                    wrong += !(fabs(mean[g * SLOTS * cols + c] - want) <= check_limit(1e-13, 1e-6));
                }
            check_that(m == n && wrong == 0, "%s: expected each slot's mean over the groups",
                       shape_name[shape]);
            free(right);
            free(noise);
            free(swapped);
            free(mean);
            close_desk(&d);
        }
        {
            desk d;
            scene s;
            result plain, other;
            open_desk(&d, shape, "soft");          /* the same vectors for every prompt */
            set_scene(&s, 1);
            plain = run(&d, &s.batch, 0);
            s.batch.ablation.from = DUAL_SWAPPED;
            other = run(&d, &s.batch, 0);
            check_that(change(&plain, &other) <= check_limit(1e-14, 1e-6),
                       "%s: expected swapped soft vectors to be the right ones",
                       shape_name[shape]);
            drop(&plain);
            drop(&other);
            close_desk(&d);
        }
    }
}

/* ---- a Base of 16-bit weights ---------------------------------------------------------------- */

/* Logits and tokens of greedy decoding of every group, logits first. */
static double *decoded(desk *d, const dual_batch *batch, size_t *n) {
    enum { NEW = 4 };
    static dual_real logits[GROUPS * NEW * VOCAB];
    int32_t tokens[GROUPS * NEW];
    size_t length[GROUPS], i;
    dual_sampling how = greedy(logits);
    double *all;
    how.max_new = NEW;
    dual_generate(&d->c, &d->e, batch, &how, tokens, length);
    *n = GROUPS * NEW * (VOCAB + 1);
    all = numbers(*n);
    for (i = 0; i < GROUPS * NEW * VOCAB; i++)
        all[i] = (double)logits[i];
    for (i = 0; i < GROUPS * NEW; i++)
        all[GROUPS * NEW * VOCAB + i] = tokens[i];
    return all;
}

static int same_bits(const double *a, const double *b, size_t n) {
    return !memcmp(a, b, n * sizeof *a);
}

/* The real Base gets the kept one's rounded numbers; then nothing may tell the two apart. */
static void kept_base(int shape, const char *name, int type) {
    dual_config config = shape_of(shape);
    dual_system system = preset(name);
    desk d;
    scene s;
    dual_model *real_base, *kept;
    result full, half;
    double *full_tokens, *half_tokens;
    size_t n, i, wrong = 0;
    char what[100];

    sprintf(what, "%s, %s, %s", shape_name[shape], name, type == DUAL_F16 ? "F16" : "BF16");
    open_with(&d, &config, &system);
    set_scene(&s, 1);
    real_base = d.base;
    kept = dual_model_kept(&d.c, &config, type);
    full = run(&d, &s.batch, 0);
    dual_model_copy(kept, real_base);
    dual_model_copy(real_base, kept);
    half = run(&d, &s.batch, 0);
    check_that(change(&full, &half) > 1e-5, "%s: expected 16 bits to round something", what);
    drop(&full);
    drop(&half);

    full = run(&d, &s.batch, 1);
    full_tokens = decoded(&d, &s.batch, &n);
    d.e.base = kept;
    half = run(&d, &s.batch, 1);
    half_tokens = decoded(&d, &s.batch, &n);
    check_that(half.loss == full.loss && same_bits(half.logits, full.logits, full.n_logits) &&
               same_bits(half.latents, full.latents, full.n_latents),
               "%s: expected loss, logits and latents of the same reals", what);
    check_that(same_bits(half.gradients, full.gradients, exchange_size(&d.e)) &&
               length_of(full.gradients, exchange_size(&d.e)) > 0,
               "%s: expected the gradients of the same reals", what);
    check_that(same_bits(half_tokens, full_tokens, n), "%s: expected the same decoding", what);
    drop(&full);
    drop(&half);
    free(full_tokens);
    free(half_tokens);

    /* a Coprocessor of full weights starts as the copy of the kept Base, S from its embedding */
    dual_exchange_init(&d.e, 5);
    for (i = 0; i < kept->n_params; i++)
        wrong += !!memcmp(d.coprocessor->param[i].tensor->data, real_base->param[i].tensor->data,
                          real_base->param[i].tensor->rows * real_base->param[i].tensor->cols *
                          sizeof(dual_real));
    check_size(wrong, 0, "%s: tensors of the Coprocessor unlike the Base's", what);
    half_tokens = values_of(d.e.soft.tensor);
    d.e.base = real_base;
    dual_exchange_init(&d.e, 5);
    check_that(distance_of(d.e.soft.tensor, half_tokens) == 0, "%s: soft tokens", what);
    free(half_tokens);
    close_desk(&d);
}

static void test_kept_base(void) {
    int shape, type;
    for (shape = 0; shape < SHAPES; shape++)
        for (type = DUAL_F16; type <= DUAL_BF16; type++) {
            kept_base(shape, "liu", type);
            kept_base(shape, "h1", type);
        }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_systems();
    test_odd_batches();
    test_start();
    test_first_step();
    test_flags();
    test_merged();
    test_kv_layers();
    test_text_loss();
    test_orthogonality();
    test_fused();
    test_option_refusals();
    test_leaks();
    test_empty_injection();
    test_frozen();
    test_given_rows();
    test_differences();
    test_decoding();
    test_sampling();
    test_recomputation();
    test_threads();
    test_overfit();
    test_refusals();
    test_controls();
    test_kept_base();
    return check_done();
}
