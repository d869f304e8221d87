/* by_hand.h - the exchange laid out by hand: one group of one sequence at a time, its rows in plain
 * order, each system as its description reads, with nothing but dual_forward. What dual_run lays
 * out for a whole ragged batch must give the same logits, loss and gradients.
 *
 *   read     the Base reads x: KV_theta                                     liu h1 h2 h1h2
 *   think    the Coprocessor reads S at positions n .. over KV_theta: Z     liu h1 h2 h1h2
 *   speak    the Base reads [x; latents; cue; y]                            embeddings
 *            or [cue; y] at n + N_L over KV_theta and the Coprocessor's     h1 h1h2 */
#ifndef DUAL_TEST_BY_HAND_H
#define DUAL_TEST_BY_HAND_H
#include "exchange.h"

/* ---- index arrays and rows ------------------------------------------------------------------- */

static inline int32_t *count_from(dual_ctx *c, size_t n, int32_t first) {
    int32_t *a = dual_alloc(c, n + 1, sizeof *a);
    for (size_t i = 0; i < n; i++) a[i] = first + (int32_t)i;
    return a;
}

static inline int32_t *constant(dual_ctx *c, size_t n, int32_t value) {
    int32_t *a = count_from(c, n, 0);
    for (size_t i = 0; i < n; i++) a[i] = value;
    return a;
}

static inline dual_tensor *embed(dual_ctx *c, dual_model *m, const int32_t *token, size_t n) {
    return n ? dual_gather(c, 1, &m->wte, n, NULL, token) : NULL;
}

static inline dual_tensor *repeat_row(dual_ctx *c, dual_tensor *row, size_t n) {
    return dual_gather(c, 1, &row, n, NULL, constant(c, n, 0));
}

static inline dual_tensor *slice_rows(dual_ctx *c, dual_tensor *t, size_t first, size_t n) {
    return dual_gather(c, 1, &t, n, NULL, count_from(c, n, (int32_t)first));
}

/* The blocks one below the other; NULL is an empty block. */
static inline dual_tensor *stack(dual_ctx *c, size_t n, dual_tensor *const *block) {
    dual_tensor **source = dual_alloc(c, n, sizeof *source);
    size_t n_sources = 0, rows = 0;
    for (size_t i = 0; i < n; i++)
        if (block[i]) {
            source[n_sources++] = block[i];
            rows += block[i]->rows;
        }
    int32_t *which = count_from(c, rows, 0), *index = count_from(c, rows, 0);
    size_t row = 0;
    for (size_t i = 0; i < n_sources; i++)
        for (size_t r = 0; r < source[i]->rows; r++, row++) {
            which[row] = (int32_t)i;
            index[row] = (int32_t)r;
        }
    return dual_gather(c, n_sources, source, rows, which, index);
}

/* ---- passes and caches ----------------------------------------------------------------------- */

/* Rows at consecutive positions; each sees all of the past caches and, causally, its own pass. */
static inline dual_pass *hand_pass(dual_ctx *c, dual_model *m, dual_tensor *input, size_t position,
                                   size_t n_past, const dual_cache *const *past) {
    const size_t rows = input->rows;
    dual_seen *seen = dual_alloc(c, n_past + 1, sizeof *seen);
    for (size_t i = 0; i < n_past; i++) {
        const int32_t end = (int32_t)past[i]->v[0]->rows;
        seen[i] = (dual_seen){past[i], constant(c, rows, 0), constant(c, rows, end)};
    }
    seen[n_past] = (dual_seen){NULL, constant(c, rows, 0), count_from(c, rows, 1)};
    int32_t *segment_start = dual_alloc(c, 2, sizeof *segment_start);
    segment_start[0] = 0;
    segment_start[1] = (int32_t)rows;
    dual_pass *p = dual_alloc(c, 1, sizeof *p);
    *p = (dual_pass){
        .name = "hand", .model = m, .rows = rows, .segments = 1, .n_seen = n_past + 1,
        .input = input, .token = constant(c, rows, 0),
        .position = count_from(c, rows, (int32_t)position), .segment_start = segment_start,
        .seen = seen};
    dual_forward(c, p);
    return p;
}

static inline dual_cache *detached_cache(dual_ctx *c, const dual_cache *cache, size_t layers) {
    dual_cache *copy = dual_alloc(c, 1, sizeof *copy);
    copy->k = dual_alloc(c, layers, sizeof *copy->k);
    copy->v = dual_alloc(c, layers, sizeof *copy->v);
    for (size_t l = 0; l < layers; l++) {
        copy->k[l] = dual_detach(c, cache->k[l]);
        copy->v[l] = dual_detach(c, cache->v[l]);
    }
    return copy;
}

/* The same cache without the layers that kv_layers leaves out: their k is NULL. 0: all layers. */
static inline dual_cache *layers_of_cache(dual_ctx *c, const dual_cache *cache, size_t layers,
                                          uint64_t kv_layers) {
    dual_cache *copy = dual_alloc(c, 1, sizeof *copy);
    copy->k = dual_alloc(c, layers, sizeof *copy->k);
    copy->v = cache->v;
    for (size_t l = 0; l < layers; l++)
        copy->k[l] = !kv_layers || kv_layers >> l & 1 ? cache->k[l] : NULL;
    return copy;
}

/* ---- one group ------------------------------------------------------------------------------- */

/* What a test wants done differently from the system. */
typedef struct {
    dual_tensor *cue_rows;         /* rows in the cue's place */
    int detach_latents;            /* Z is a constant */
    int hide_entries;              /* H1: the Coprocessor's entries are not seen */
} hand_changes;

static const hand_changes unchanged = {.cue_rows = NULL};

/* Coconut without a cache: the whole sequence again for every thought. */
static inline dual_tensor *hand_chain(dual_ctx *c, dual_exchange *e, dual_tensor *text) {
    const size_t n = e->system.latents;
    dual_tensor **row = dual_alloc(c, n + 2, sizeof *row);
    row[0] = text;
    row[1] = e->soft.tensor;
    for (size_t i = 0; i < n; i++) {
        dual_pass *p = hand_pass(c, e->base, stack(c, i + 2, row), 0, 0, NULL);
        row[i + 2] = slice_rows(c, p->hidden, p->rows - 1, 1);
        if (e->gain.tensor) row[i + 2] = dual_gain(c, row[i + 2], e->gain.tensor);
    }
    return stack(c, n + 1, row + 1);
}

/* The rows that stand between text and cue; NULL where the system puts none there. */
static inline dual_tensor *hand_latents(dual_ctx *c, dual_exchange *e, dual_tensor *text,
                                        dual_tensor *thought, const hand_changes *changes) {
    dual_tensor *z = thought;
    switch (e->system.inject) {
    case DUAL_PAUSE:
        return repeat_row(c, e->soft.tensor, e->system.latents);
    case DUAL_SOFT:
        return e->soft.tensor;
    case DUAL_CHAIN:
        return hand_chain(c, e, text);
    case DUAL_EMBED:
        if (changes->detach_latents) z = dual_detach(c, z);
        return e->gain.tensor ? dual_gain(c, z, e->gain.tensor) : z;
    case DUAL_NONE:
    case DUAL_KV:
        break;
    }
    return NULL;
}

/* [m, vocab]: the logits of one group's targets. */
static inline dual_tensor *hand_logits(dual_ctx *c, dual_exchange *e, const int32_t *x,
                                       const dual_group *g, const hand_changes *changes) {
    dual_model *base = e->base;
    dual_tensor *text = embed(c, base, x, g->prefix);
    const dual_cache *past[2];
    dual_pass *think = NULL;
    if (e->coprocessor) {
        past[0] = &hand_pass(c, base, text, 0, 0, NULL)->cache;
        if (e->system.detach) past[0] = detached_cache(c, past[0], base->config.layers);
        think = hand_pass(c, e->coprocessor, e->soft.tensor, g->prefix, 1, past);
    }
    dual_tensor *block[4] = {text};
    block[1] = hand_latents(c, e, text, think ? think->hidden : NULL, changes);
    block[2] = changes->cue_rows ? changes->cue_rows : embed(c, base, g->cue, g->n_cue);
    block[3] = embed(c, base, g->target, g->n_target);

    size_t position = 0, n_past = 0;
    if (e->system.inject == DUAL_KV) {
        past[1] = layers_of_cache(c, &think->cache, base->config.layers, e->system.kv_layers);
        n_past = changes->hide_entries ? 1 : 2;
        position = g->prefix + e->system.latents;
    } else if (e->system.inject == DUAL_EMBED && e->system.detach && !e->system.fused) {
        n_past = 1;                /* the cut cache stands for the text here too */
        position = g->prefix;
    }
    if (n_past) block[0] = NULL;
    dual_pass *speak = hand_pass(c, base, stack(c, 4, block), position, n_past, past);
    const size_t first = speak->rows - g->n_target - 1;    /* y_0 comes from the row before it */
    return dual_logits(c, base, slice_rows(c, speak->hidden, first, g->n_target));
}

/* ---- the whole batch, group after group ------------------------------------------------------ */

/* Every text alone, each token from the one before. */
static inline dual_tensor *hand_text_loss(dual_ctx *c, dual_model *m, const dual_batch *b) {
    dual_tensor **block = dual_alloc(c, b->n_sequences, sizeof *block);
    int32_t *target = dual_alloc(c, SEQUENCES * TEXT_MOST, sizeof *target);
    size_t n = 0;
    for (size_t i = 0; i < b->n_sequences; i++) {
        dual_tensor *text = embed(c, m, b->text[i], b->length[i]);
        const size_t predicted = b->length[i] - 1;
        block[i] = slice_rows(c, hand_pass(c, m, text, 0, 0, NULL)->hidden, 0, predicted);
        memcpy(target + n, b->text[i] + 1, predicted * sizeof *target);
        n += predicted;
    }
    return dual_cross_entropy(c, dual_logits(c, m, stack(c, b->n_sequences, block)), target);
}

static inline result by_hand(fixture *f, const dual_batch *batch, const hand_changes *changes,
                             int backward) {
    dual_ctx *c = &f->c;
    const dual_mark mark = dual_mark_here(c);
    dual_tensor **block = dual_alloc(c, batch->n_groups, sizeof *block);
    int32_t *target = dual_alloc(c, count_targets(batch) + 1, sizeof *target);
    size_t n = 0;
    for (size_t g = 0; g < batch->n_groups; g++) {
        const dual_group *group = &batch->group[g];
        block[g] = hand_logits(c, &f->e, batch->text[group->sequence], group, changes);
        memcpy(target + n, group->target, group->n_target * sizeof *target);
        n += group->n_target;
    }
    dual_tensor *logits = stack(c, batch->n_groups, block);
    result r = {.logits = tensor_values(logits), .n_logits = elements(logits)};
    dual_tensor *loss = dual_cross_entropy(c, logits, target);
    if (f->e.system.text_loss > 0) {
        dual_tensor *weight = dual_tensor_new(c, 1, 1);
        weight->data[0] = (dual_real)f->e.system.text_loss;
        loss = dual_add(c, loss, dual_gain(c, hand_text_loss(c, f->base, batch), weight));
    }
    r.loss = loss_value(loss);
    if (backward) {
        dual_backward(c, loss);
        r.gradients = take_gradients(&f->e);
    }
    dual_release(c, mark);
    return r;
}

static inline void compare_by_hand(fixture *f, const dual_batch *batch, const char *what) {
    result got = run_batch(f, batch, BACKWARD), expected = by_hand(f, batch, &unchanged, BACKWARD);
    same_results(f, &got, &expected, what);
    result_free(&got);
    result_free(&expected);
}
#endif
