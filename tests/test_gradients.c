/* test_gradients.c - the gradients of the exchange: every trained tensor of every system against
 * finite differences of the loss (in the double build, within 1e-6); exactly what a system trains
 * moves, and work is spent on nothing else; blocks recomputed in backward give the same bits.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_gradients.c dual.c -lm -o t && ./t */
#include "exchange.h"

/* ---- finite differences through read, think and speak ---------------------------------------- */

static double loss_now(fixture *f, const dual_batch *batch) {
    const dual_mark mark = dual_mark_here(&f->c);
    dual_outcome out;
    dual_run(&f->c, &f->e, batch, &out);
    const double loss = loss_value(out.loss);
    dual_release(&f->c, mark);
    return loss;
}

/* (f(x-2h) - 8 f(x-h) + 8 f(x+h) - f(x+2h)) / 12h: its error is of order h^4. That of the plain
 * two-point formula would be near the limit at this depth. */
static double slope(fixture *f, const dual_batch *batch, dual_real *x) {
    static const double step[] = {-2, -1, 1, 2};
    const double h = 4e-4, kept = (double)*x;
    double loss[4];
    for (int i = 0; i < 4; i++) {
        *x = (dual_real)(kept + h * step[i]);
        loss[i] = loss_now(f, batch);
    }
    *x = (dual_real)kept;
    return (loss[0] - 8 * loss[1] + 8 * loss[2] - loss[3]) / (12 * h);
}

/* One probe where the gradient is largest, the others anywhere. Returns the relative distance. */
static double probe(fixture *f, const dual_batch *batch, dual_tensor *t, const double *gradient,
                    dual_rng *rng, double largest[2]) {
    enum { PROBES = 6 };
    double found[PROBES], expected[PROBES];
    size_t top = 0;
    for (size_t i = 0; i < elements(t); i++)
        if (fabs(gradient[i]) > fabs(gradient[top])) top = i;
    for (size_t i = 0; i < PROBES; i++) {
        const size_t at = i ? dual_rng_below(rng, elements(t)) : top;
        found[i] = gradient[at];
        expected[i] = slope(f, batch, &t->data[at]);
    }
    largest[0] = expected[0];
    largest[1] = found[0];
    return check_distance(found, expected, PROBES, 1e-11);
}

/* Two groups of one short text: six losses of four points for every tensor are many runs. */
static void short_batch(ragged *data) {
    ragged_init(data, 1);
    data->batch.n_sequences = 1;
    data->batch.n_groups = 2;
    data->length[0] = 5;
    data->group[0].prefix = 3;
    data->group[1].prefix = 5;
    data->group[0].n_target = 2;
    data->group[1].n_target = 3;
}

static void differences_of_pair(int shape, const dual_config *other, const dual_system *system) {
    const dual_config config = shape_config(shape);
    fixture f;
    fixture_open_pair(&f, &config, other, system);
    ragged data;
    short_batch(&data);
    result r = run_batch(&f, &data.batch, BACKWARD);
    dual_rng rng = dual_rng_seed(31, 1);
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(&f.e, i, &owner)) != NULL; i++) {
        if (p->tensor->needs_grad) {
            double largest[2];
            const double distance = probe(&f, &data.batch, p->tensor, r.gradients + n, &rng,
                                          largest);
            check_that(distance <= 1e-6, "%s, %s, %c %s: expected the differences within 1e-6,"
                       " got %.3g (largest: %.6g by differences, %.6g by backward)",
                       shape_name[shape], system_title(system), owner, p->name, distance,
                       largest[0], largest[1]);
        }
        n += elements(p->tensor);
    }
    result_free(&r);
    fixture_close(&f);
}

static void differences(int shape, const dual_system *system) {
    const dual_config config = shape_config(shape);
    differences_of_pair(shape, &config, system);
}

/* On one shape H1's Coprocessor has another width than the Base. */
static void differences_of_presets(int shape) {
    for (size_t i = 0; i < SYSTEMS; i++) {
        const dual_system s = preset(all_systems[i]);
        dual_config other = shape_config(shape);
        if (shape == QWEN3_TIED && s.inject == DUAL_KV) {
            other.hidden = 9;
            other.heads = 2;
        }
        differences_of_pair(shape, &other, &s);
    }
}

static void differences_of_h2_options(int shape) {
    dual_system s = preset("h2");
    s.gain = 1;
    differences(shape, &s);
    s.text_loss = 0.6;
    s.orthogonality = 0.7;
    differences(shape, &s);
    s.fused = 1;
    s.centred = 1;
    differences(shape, &s);
}

/* One layer of two, both forms of the penalty, on both kinds of latents. */
static void differences_of_h1_options(int shape, const char *name, uint64_t kv_layers,
                                      int centred) {
    dual_system s = preset(name);
    s.kv_layers = kv_layers;
    differences(shape, &s);
    s.orthogonality = 0.7;
    s.centred = centred;
    differences(shape, &s);
    s.values = 1;
    s.fused = 1;
    differences(shape, &s);
}

static void test_differences(void) {
    static const char *const with_text_loss[] = {"soft", "coconut", "h1h2"};
    if (!check_in_double()) {
        printf("float build: finite differences skipped, they need -DDUAL_REAL=double\n");
        return;
    }
    for (int shape = 0; shape < SHAPES; shape++) {
        differences_of_presets(shape);
        differences_of_h2_options(shape);
        differences_of_h1_options(shape, "h1h2", 1, 1);
        differences_of_h1_options(shape, "h1", 2, 0);
        for (size_t i = 0; i < 3; i++) {
            dual_system s = preset(with_text_loss[i]);
            s.text_loss = 0.6;
            differences(shape, &s);
        }
    }
}

/* ---- frozen is frozen ------------------------------------------------------------------------ */

/* The layer of the Coprocessor of which only keys and values are used, with nothing above it. All
 * of the model is used: the number of layers. */
static int last_keys(const dual_exchange *e) {
    const int layers = (int)e->base->config.layers;
    const uint64_t list = e->system.kv_layers;
    if (e->system.inject != DUAL_KV || (e->system.orthogonality > 0 && !e->system.values))
        return layers;
    int l = layers - 1;
    while (list && !(list & (uint64_t)1 << l)) l--;
    return l;
}

/* Above the last used layer's keys and values H1 trains nothing of the Coprocessor. */
static int is_above_last_keys(const char *name, int last) {
    static const char *const unused[] = {"attn.c_proj", "ln_2", "mlp", "self_attn.q_", "o_proj",
                                         "post_attention"};
    const char *number = strpbrk(name, "0123456789");
    if (strstr(name, "ln_f") || !strcmp(name, "model.norm.weight")) return 1;
    if (!number) return 0;
    const int layer = atoi(number);
    for (size_t i = 0; layer == last && i < sizeof unused / sizeof *unused; i++)
        if (strstr(name, unused[i])) return 1;
    return layer > last;
}

static int is_vocabulary(const char *name) {
    return strstr(name, "wte") || strstr(name, "embed_tokens") || strstr(name, "lm_head");
}

static int should_train(const fixture *f, const dual_param *p, char owner) {
    const int last = last_keys(&f->e), all = last == (int)f->base->config.layers;
    if (owner == 'B') return f->e.system.base_trained;
    if (owner == 'C') return !is_vocabulary(p->name) && (all || !is_above_last_keys(p->name, last));
    return 1;
}

/* 2 multiply-adds per row and weight of every matrix of the Coprocessor that is trained; of GPT-2's
 * joint q, k and v matrix in H1's last layer only k and v. */
static double coprocessor_flops(fixture *f, size_t rows) {
    double flops = 0;
    char owner, joint[32];
    dual_param *p;
    snprintf(joint, sizeof joint, ".%d.attn.c_attn", last_keys(&f->e));
    for (size_t i = 0; (p = dual_exchange_param(&f->e, i, &owner)) != NULL; i++) {
        const int matrix = p->tensor->rows > 1 && !strstr(p->name, "wpe");
        if (owner != 'C' || !p->tensor->needs_grad || !matrix) continue;
        const double work = 2.0 * (double)rows * (double)elements(p->tensor);
        flops += strstr(p->name, joint) ? work * 2 / 3 : work;
    }
    return flops;
}

/* Three steps; returns the FLOPs of the first that went into weight gradients. */
static double three_steps(fixture *f, const dual_batch *batch, dual_adamw *adamw,
                          const char *what) {
    double flops = 0;
    for (int step = 0; step < 3; step++) {
        const dual_mark mark = dual_mark_here(&f->c);
        const double before = f->c.weight_grad_flops;
        dual_outcome out;
        dual_run(&f->c, &f->e, batch, &out);
        dual_backward(&f->c, out.loss);
        dual_release(&f->c, mark);
        if (step == 0) flops = f->c.weight_grad_flops - before;
        if (step == 2)
            check_that(f->e.soft.tensor == NULL || f->e.soft.tensor->grad[0] != 0,
                       "%s: expected a gradient for S", what);
        check_that(dual_adamw_step(&f->c, adamw, 1e-2) > 0,
                   "%s: expected a gradient norm above 0", what);
    }
    return flops;
}

/* Numbers that changed, by owner; among tensors that are not trained; tensors that are trained and
 * should not be, or the other way, or are and never moved; trained numbers. */
typedef struct { size_t base, coprocessor, soft, untrained, wrong, trained; } movement;

static movement compare_values(fixture *f, const double *before, const double *after,
                               const char *what) {
    movement m = {.wrong = 0};
    size_t n = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(&f->e, i, &owner)) != NULL; i++) {
        const int trained = p->tensor->needs_grad != 0;
        size_t changed = 0;
        for (size_t j = 0; j < elements(p->tensor); j++, n++) changed += before[n] != after[n];
        if (owner == 'B') m.base += changed;
        else if (owner == 'C') m.coprocessor += changed;
        else m.soft += changed;
        m.trained += trained ? elements(p->tensor) : 0;
        m.untrained += trained ? 0 : changed;
        if (trained != (should_train(f, p, owner) != 0)) {
            m.wrong++;
            printf("       %s, %c %s: needs_grad %d\n", what, owner, p->name, trained);
        }
        if (trained && changed == 0) {
            m.wrong++;
            printf("       %s, %c %s: trained, never moved\n", what, owner, p->name);
        }
    }
    return m;
}

static void check_flops(fixture *f, double spent, const char *what) {
    const double expected = coprocessor_flops(f, GROUPS * SLOTS);
    if (!f->e.system.base_trained)
        check_close(spent, expected, 0.5, "%s: weight gradient work holds nothing of the Base",
                    what);
    else
        check_that(spent > 2 * expected || !f->coprocessor,
                   "%s: expected weight gradient work of the Base", what);
}

static void frozen(int shape, const dual_system *system, size_t layers) {
    const char *what = label(shape, system_title(system), "frozen");
    fixture f;
    fixture_open_layers(&f, shape, layers, system);
    ragged data;
    ragged_init(&data, 1);
    dual_adamw adamw;
    dual_adamw_new(&f.c, &adamw, &f.e);
    adamw.decay = 0;               /* what moves has a gradient */
    double *before = exchange_values(&f.e);
    const double spent = three_steps(&f, &data.batch, &adamw, what);
    double *after = exchange_values(&f.e);
    movement m = compare_values(&f, before, after, what);
    check_size(m.wrong, 0, "%s: tensors that should train and do, and no others", what);
    check_size(m.untrained, 0, "%s: untrained numbers that changed", what);
    check_that((m.base > 0) == (f.e.system.base_trained != 0), "%s: Base numbers moved: %d", what,
               (int)m.base);
    check_that(!f.coprocessor || m.coprocessor > 0, "%s: the Coprocessor never moved", what);
    check_that(!f.e.soft.tensor || m.soft > 0, "%s: S never moved", what);
    /* the query third of the Coprocessor's last c_attn is not counted under H1 */
    if (f.coprocessor && f.base->config.family == DUAL_GPT2 && last_keys(&f.e) < (int)layers)
        m.trained -= f.coprocessor->config.hidden * (f.coprocessor->config.hidden + 1);
    check_size(dual_exchange_trained(&f.e), m.trained, "%s: trained elements", what);
    check_size(adamw.step, 3, "%s: optimiser steps", what);
    check_flops(&f, spent, what);
    free(before);
    free(after);
    fixture_close(&f);
}

/* H1 under every list of three layers; its final states are used after all where the penalty is on
 * them, and not where it is on the values. */
static void frozen_by_layers(int shape) {
    for (int list = 1; list <= 7; list++) {
        dual_system s = preset(list % 2 ? "h1" : "h1h2");
        s.kv_layers = (uint64_t)list;
        frozen(shape, &s, 3);
        s.orthogonality = 0.1;
        frozen(shape, &s, 3);
        s.values = 1;
        frozen(shape, &s, 3);
    }
}

static void test_frozen(void) {
    static const char *const can_be_fused[] = {"liu", "h1", "prompt"};
    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t i = 0; i < SYSTEMS; i++) {
            const dual_system s = preset(all_systems[i]);
            frozen(shape, &s, 2);
        }
        frozen_by_layers(shape);
        for (size_t i = 0; i < 3; i++) {
            dual_system s = preset(can_be_fused[i]);
            s.fused = 1;
            frozen(shape, &s, 2);
        }
    }
}

/* ---- recomputation --------------------------------------------------------------------------- */

/* Bytes before a step, held between forward and backward, and at most; FLOPs of forward and all. */
typedef struct {
    size_t start, held, peak;
    double forward_flops, flops, weight_grad_flops;
} step_cost;

/* A step in exactly `size` bytes, or (0) counted; what it took. */
static step_cost step_in(size_t size, const dual_config *shape, const dual_system *system,
                         const dual_batch *batch, int recompute) {
    void *memory = size ? malloc(size) : NULL;
    dual_ctx c;
    dual_init(&c, memory, size);
    c.fatal = check_fatal;
    c.recompute = recompute;
    dual_model *base = dual_model_new(&c, shape), *coprocessor = NULL;
    if (dual_system_needs_coprocessor(system)) coprocessor = dual_model_new(&c, shape);
    dual_exchange e;
    check_that(dual_exchange_new(&c, &e, system, base, coprocessor), "%s: %s", system->name,
               c.error);
    dual_model_init(base, dual_rng_seed(5, 5));
    dual_exchange_init(&e, 5);
    dual_exchange_train(&c, &e);
    step_cost cost = {.start = c.used};
    dual_outcome out;
    dual_run(&c, &e, batch, &out);
    cost.held = c.used;
    cost.forward_flops = c.flops;
    dual_backward(&c, out.loss);
    cost.peak = c.peak;
    cost.flops = c.flops;
    cost.weight_grad_flops = c.weight_grad_flops;
    dual_done(&c);
    free(memory);
    return cost;
}

/* Backward makes the blocks' keys and values again, and must not touch those a caller may read. */
static void caches_stay(fixture *f, const dual_batch *batch, size_t layers, const char *what) {
    dual_tensor *keys[32];
    dual_outcome out;
    dual_run(&f->c, &f->e, batch, &out);
    for (size_t i = 0; i < out.n_passes; i++)
        memcpy(keys + i * layers, out.pass[i].cache.k, layers * sizeof *keys);
    dual_backward(&f->c, out.loss);
    for (size_t i = 0; i < out.n_passes; i++)
        check_that(!memcmp(keys + i * layers, out.pass[i].cache.k, layers * sizeof *keys),
                   "%s: expected backward to leave the caches of pass %lu", what, (unsigned long)i);
}

/* A step fits into just what was counted and costs no more FLOPs than one forward on top, none of
 * them for weight gradients. */
static void cost_of_recomputing(const dual_config *config, const dual_system *system,
                                const dual_batch *batch, const char *what) {
    const step_cost plain = step_in(0, config, system, batch, 0);
    const step_cost again = step_in(0, config, system, batch, 1);
    const step_cost real = step_in(again.peak, config, system, batch, 1);
    const double more = again.flops - plain.flops;
    check_size(real.peak + 64, again.peak, "%s: bytes counted (64 to align)", what);
    check_that(again.held < plain.held, "%s: expected less to be kept", what);
    check_that(real.flops == again.flops && more > 0 && more < plain.forward_flops &&
               again.weight_grad_flops == plain.weight_grad_flops,
               "%s: expected at most a forward's FLOPs on top, got %g on %g", what, more,
               plain.flops);
}

/* Loss, logits, latents and every gradient bit for bit, and what it costs. */
static void recomputed(int shape, const dual_system *system) {
    enum { LAYERS = 3 };
    const char *what = label(shape, system_title(system), "recomputed");
    dual_config config = shape_config(shape);
    config.layers = LAYERS;
    ragged data;
    ragged_init(&data, 2);
    fixture f;
    fixture_open_config(&f, &config, system);
    result kept = run_batch(&f, &data.batch, BACKWARD);
    f.c.recompute = 1;
    result again = run_batch(&f, &data.batch, BACKWARD);
    f.c.inference = 1;
    result inferred = run_batch(&f, &data.batch, FORWARD_ONLY);
    f.c.inference = 0;
    caches_stay(&f, &data.batch, LAYERS, what);
    const size_t n = exchange_elements(&f.e);
    check_that(kept.n_latents == again.n_latents && same_bits(&kept.loss, &again.loss, 1) &&
               same_logit_bits(&kept, &again) && same_logit_bits(&kept, &inferred) &&
               same_bits(kept.latents, again.latents, kept.n_latents),
               "%s: expected the same loss, logits and latents to the bit", what);
    check_that(same_bits(kept.gradients, again.gradients, n) && l2_norm(kept.gradients, n) > 0,
               "%s: expected the same gradients to the bit, got distance %.3g", what,
               check_distance(kept.gradients, again.gradients, n, 0));
    cost_of_recomputing(&config, system, &data.batch, what);
    result_free(&kept);
    result_free(&again);
    result_free(&inferred);
    fixture_close(&f);
}

/* Whether a system can have the option; if so, with it. */
enum { PLAIN, FUSED, PENALISED, PENALISED_VALUES, TEXT_LOSS, DETACHED, GAIN, OPTIONS };

static int with_option(dual_system *s, int option) {
    const int kv = s->inject == DUAL_KV, coprocessor = dual_system_needs_coprocessor(s);
    const int gain = s->inject == DUAL_EMBED || s->inject == DUAL_CHAIN;
    s->fused = option == FUSED;
    s->orthogonality = option == PENALISED || option == PENALISED_VALUES ? 0.5 : 0;
    s->values = option == PENALISED_VALUES;
    s->kv_layers = option == PENALISED_VALUES ? 5 : 0;
    s->text_loss = option == TEXT_LOSS ? 0.6 : 0;
    s->detach = option == DETACHED;
    s->gain = option == GAIN;
    const int possible[OPTIONS] = {1, coprocessor, coprocessor, kv, s->base_trained,
                                   s->base_trained && coprocessor, gain};
    return possible[option];
}

/* FLOPs of the blocks of one long sequence: per row and weight 2, and 4 per number of a query for
 * each key it sees. */
static double block_flops(const dual_config *config, size_t length) {
    const double rows = (double)length, pairs = rows * (rows + 1) / 2, d = (double)config->hidden;
    const double q = (double)(config->heads * config->head_dim);
    const double kv = (double)(config->kv_heads * config->head_dim);
    const double mlp = (config->family == DUAL_GPT2 ? 2 : 3) * (double)config->mlp;
    return (double)config->layers * (2 * rows * d * (2 * q + 2 * kv + mlp) + 4 * pairs * q);
}

/* One long sequence without a prompt: exactly the blocks are run once more, and at most half of the
 * bytes are kept. */
static void recomputed_share(int shape) {
    enum { LENGTH = 48 };
    static const int32_t token[LENGTH] = {1, 2, 3};
    static const int32_t *const text = token;
    static const size_t no_text = 0;
    dual_config config = shape_config(shape);
    config.layers = 8;
    config.hidden = config.head_dim * config.heads * 8;
    config.head_dim = config.hidden / config.heads;
    config.mlp = 4 * config.hidden;
    const dual_group group = {.cue = token, .n_cue = 1, .target = token, .n_target = LENGTH};
    const dual_batch batch = {.n_sequences = 1, .text = &text, .length = &no_text, .n_groups = 1,
                              .group = &group};
    const dual_system system = preset("none");
    const step_cost plain = step_in(0, &config, &system, &batch, 0);
    const step_cost again = step_in(0, &config, &system, &batch, 1);
    check_close(again.flops - plain.flops, block_flops(&config, LENGTH), 0,
                "%s: FLOPs of eight blocks recomputed", shape_name[shape]);
    check_that(again.held - again.start < (plain.held - plain.start) / 2,
               "%s: expected half to be kept for backward, or less: %lu of %lu", shape_name[shape],
               (unsigned long)(again.held - again.start),
               (unsigned long)(plain.held - plain.start));
}

static void test_recomputation(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t i = 0; i < SYSTEMS; i++)
            for (int option = PLAIN; option < OPTIONS; option++) {
                dual_system system = preset(all_systems[i]);
                if (with_option(&system, option)) recomputed(shape, &system);
            }
        recomputed_share(shape);
    }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_differences();
    test_frozen();
    test_recomputation();
    return check_done();
}
