/* test_options.c - what a system's options change, and all that they must leave alone: the latent
 * gain, the cut cache (detach), H1 on some layers only, the loss on plain text, the orthogonality
 * penalty in four forms, read and speak fused into one pass. Each against the exchange by hand, its
 * own formula, or the bits of the same system without it; and which options no system may have.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_options.c dual.c -lm -o t && ./t */
#include "by_hand.h"

static void option_by_hand(int shape, size_t layers, const dual_system *system) {
    fixture f;
    fixture_open_layers(&f, shape, layers, system);
    ragged data;
    ragged_init(&data, 1);
    compare_by_hand(&f, &data.batch, label(shape, system_title(system), "by hand"));
    fixture_close(&f);
}

/* ---- gain and detach ------------------------------------------------------------------------- */

/* A gain of 1 changes nothing; another gain scales what is injected. */
static void gain(int shape, const char *name) {
    dual_system system = preset(name);
    ragged data;
    ragged_init(&data, 1);
    fixture plain, with;
    fixture_open(&plain, shape, &system);
    system.gain = 1;
    fixture_open(&with, shape, &system);
    result without = run_batch(&plain, &data.batch, FORWARD_ONLY);
    result one = run_batch(&with, &data.batch, FORWARD_ONLY);
    check_that(logits_distance(&without, &one) <= check_limit(1e-14, 1e-6),
               "%s: expected no change by a gain of 1", label(shape, name, "gain"));
    check_that(with.e.gain.tensor && (double)with.e.gain.tensor->data[0] == 1,
               "%s: expected a gain that starts at 1", name);
    with.e.gain.tensor->data[0] = (dual_real)1.75;
    result larger = run_batch(&with, &data.batch, BACKWARD);
    result hand = by_hand(&with, &data.batch, &unchanged, BACKWARD);
    same_results(&with, &larger, &hand, label(shape, name, "gain 1.75"));
    check_that(logits_distance(&without, &larger) > 1e-3, "%s: expected a gain of 1.75 to matter",
               name);
    result_free(&without);
    result_free(&one);
    result_free(&larger);
    result_free(&hand);
    fixture_close(&plain);
    fixture_close(&with);
}

/* Detach leaves the logits alone and cuts the gradient through KV_theta. */
static void detach(int shape, const char *name) {
    dual_system system = preset(name);
    ragged data;
    ragged_init(&data, 1);
    fixture flows, cut;
    fixture_open(&flows, shape, &system);
    system.detach = 1;
    fixture_open(&cut, shape, &system);
    result whole = run_batch(&flows, &data.batch, BACKWARD);
    result less = run_batch(&cut, &data.batch, BACKWARD);
    result hand = by_hand(&cut, &data.batch, &unchanged, BACKWARD);
    same_logits(&whole, &less, label(shape, name, "detached or not"));
    same_results(&cut, &less, &hand, label(shape, name, "detached"));
    check_that(base_gradient_distance(&cut.e, whole.gradients, less.gradients) > 0.01,
               "%s: expected detach to change the Base's gradient", name);
    result_free(&whole);
    result_free(&less);
    result_free(&hand);
    fixture_close(&flows);
    fixture_close(&cut);
}

static void test_gain_and_detach(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        gain(shape, "liu");
        gain(shape, "h2");
        gain(shape, "coconut");
        detach(shape, "h2");
        detach(shape, "h1h2");
    }
}

/* ---- H1 on some of three layers -------------------------------------------------------------- */

enum { LAYERS = 3, ALL_LAYERS = 7 };

/* Whether two runs left the same keys at one layer of their speak passes. */
static int same_keys(const dual_outcome *a, const dual_outcome *b, size_t l) {
    double *keys = tensor_values(last_pass(a)->cache.k[l]);
    const double distance = tensor_distance(last_pass(b)->cache.k[l], keys);
    free(keys);
    return distance <= check_limit(1e-13, 1e-5);
}

/* What the Base's layer l sees shows in its keys of layer l + 1: they are those of H1 on all layers
 * as long as no layer before is left out, and those of H1 on the last layer alone as long as none
 * before is in. */
static void each_layer_sees_its_own(int shape, const dual_system *system, const dual_batch *batch,
                                    const dual_outcome *on_all, const dual_outcome *on_last) {
    fixture f;
    dual_outcome out;
    fixture_open_layers(&f, shape, LAYERS, system);
    dual_run(&f.c, &f.e, batch, &out);
    int all_before = 1, none_before = 1, wrong = 0;
    for (size_t l = 0; l < LAYERS; l++) {
        const int listed = system->kv_layers >> l & 1;
        wrong += same_keys(&out, on_all, l) != all_before;
        wrong += same_keys(&out, on_last, l) != none_before;
        wrong += (out.pass[2].seen[1].cache->k[l] != NULL) != listed;
        all_before = all_before && listed;
        none_before = none_before && !listed;
    }
    check_that(wrong == 0, "%s: expected each layer to see its own list's entries",
               label(shape, system_title(system), "layers"));
    fixture_close(&f);
}

/* A list of all layers is no list. */
static void all_layers_listed(int shape, fixture *unlisted, const dual_batch *batch,
                              const char *name) {
    dual_system system = preset(name);
    system.kv_layers = ALL_LAYERS;
    fixture f;
    fixture_open_layers(&f, shape, LAYERS, &system);
    result a = run_batch(unlisted, batch, BACKWARD), b = run_batch(&f, batch, BACKWARD);
    check_that(same_logit_bits(&a, &b) &&
               same_bits(a.gradients, b.gradients, exchange_elements(&f.e)),
               "%s: expected the bits of no list", label(shape, system_title(&system), "all"));
    result_free(&a);
    result_free(&b);
    fixture_close(&f);
}

static void kv_layers(int shape, const char *name) {
    dual_system system = preset(name);
    ragged data;
    ragged_init(&data, 1);
    fixture all, last;
    dual_outcome on_all, on_last;
    fixture_open_layers(&all, shape, LAYERS, &system);
    dual_run(&all.c, &all.e, &data.batch, &on_all);
    system.kv_layers = (uint64_t)1 << (LAYERS - 1);
    fixture_open_layers(&last, shape, LAYERS, &system);
    dual_run(&last.c, &last.e, &data.batch, &on_last);
    for (system.kv_layers = 1; system.kv_layers <= ALL_LAYERS; system.kv_layers++) {
        option_by_hand(shape, LAYERS, &system);
        each_layer_sees_its_own(shape, &system, &data.batch, &on_all, &on_last);
    }
    all_layers_listed(shape, &all, &data.batch, name);
    fixture_close(&last);
    fixture_close(&all);
}

static void test_kv_layers(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        kv_layers(shape, "h1");
        kv_layers(shape, "h1h2");
    }
}

/* ---- the loss on plain text ------------------------------------------------------------------ */

static void no_text_loss(fixture *f, ragged *data, size_t length, const char *what) {
    dual_outcome out;
    ragged_cut(data, length);
    dual_run(&f->c, &f->e, &data->batch, &out);
    check_that(!out.text_loss && out.loss == out.target_loss, "%s: expected no text loss %s",
               f->e.system.name, what);
}

/* By hand; the sum of its parts; and gone in inference, where it would change no number. */
static void text_loss(int shape, const char *name) {
    dual_system system = preset(name);
    system.text_loss = 0.6;
    option_by_hand(shape, 2, &system);
    if (dual_system_needs_coprocessor(&system)) {
        system.detach = 1;         /* the cache is cut, the text's own loss not */
        option_by_hand(shape, 2, &system);
    }
    ragged data;
    ragged_init(&data, 1);
    fixture f;
    fixture_open(&f, shape, &system);
    result trained = run_batch(&f, &data.batch, FORWARD_ONLY);
    dual_outcome out;
    dual_run(&f.c, &f.e, &data.batch, &out);
    const double parts = loss_value(out.target_loss) + 0.6 * loss_value(out.text_loss);
    check_close(loss_value(out.loss), parts, check_limit(1e-14, 1e-6),
                "%s: the loss is the sum of its parts", label(shape, name, "text"));
    check_that(out.text_loss && !out.penalty, "%s: text loss alone", name);
    f.c.inference = 1;
    result inferred = run_batch(&f, &data.batch, FORWARD_ONLY);
    f.c.inference = 0;
    check_that(same_logit_bits(&trained, &inferred) && inferred.loss == loss_value(out.target_loss),
               "%s: expected the targets' loss alone in inference", name);
    no_text_loss(&f, &data, 1, "on texts of one token");
    no_text_loss(&f, &data, 0, "without text");
    result_free(&trained);
    result_free(&inferred);
    fixture_close(&f);
}

static void test_text_loss(void) {
    static const char *const names[] = {"none", "pause", "soft", "coconut", "h2", "h1h2"};
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) text_loss(shape, names[i]);
}

/* ---- the orthogonality penalty --------------------------------------------------------------- */

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Minus, slot by slot, the mean over the groups. */
static void centre(double *x, size_t d) {
    for (size_t i = 0; i < SLOTS * d; i++) {
        double mean = 0;
        for (size_t g = 0; g < GROUPS; g++) mean += x[g * SLOTS * d + i] / GROUPS;
        for (size_t g = 0; g < GROUPS; g++) x[g * SLOTS * d + i] -= mean;
    }
}

/* Mean of squared cosines between two latents of a group, from the latents of all groups; x is
 * overwritten. What is alike in all groups is, centred, nothing: Qwen-3's first values, which know
 * no position. */
static double squared_cosines(double *x, size_t d, int centred) {
    const double least = centred ? 1e-10 : 0;
    double sum = 0;
    if (centred) centre(x, d);
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t i = 0; i < SLOTS; i++)
            for (size_t j = 0; j < SLOTS; j++) {
                const double *a = x + (g * SLOTS + i) * d, *b = x + (g * SLOTS + j) * d;
                const double aa = dot(a, a, d), bb = dot(b, b, d), ab = dot(a, b, d);
                if (i != j && aa > least && bb > least) sum += ab * ab / (aa * bb);
            }
    return sum / (GROUPS * SLOTS * (SLOTS - 1));
}

/* The penalty's own value from what the think pass left: of its final states, or the mean over the
 * layers that are handed over of their values. */
static double expected_penalty(const dual_system *system, const dual_outcome *out) {
    const dual_pass *think = find_pass(out, "think");
    double sum = 0;
    size_t n = 0;
    for (size_t l = 0; l < (system->values ? LAYERS : 1); l++) {
        if (system->values && system->kv_layers && !(system->kv_layers >> l & 1)) continue;
        const dual_tensor *z = system->values ? think->cache.v[l] : think->hidden;
        double *x = tensor_values(z);
        sum += squared_cosines(x, z->cols, system->centred);
        free(x);
        n++;
    }
    return sum / (double)n;
}

/* The gradient at weight 1/2 lies half way between those at 0 and at 1. */
static void linear_in_weight(dual_exchange *e, const result r[3], const char *what) {
    const size_t n = exchange_elements(e);
    double *middle = new_array(n), moved = 0;
    for (size_t i = 0; i < n; i++) {
        middle[i] = (r[0].gradients[i] + r[2].gradients[i]) / 2;
        moved += fabs(r[2].gradients[i] - r[0].gradients[i]);
    }
    check_that(moved > 1e-3, "%s: expected a gradient of the penalty", what);
    same_gradients(e, r[1].gradients, middle, "BCS", what);
    free(middle);
}

static void penalty_value(fixture *f, const dual_batch *batch, const char *what) {
    dual_outcome out;
    dual_run(&f->c, &f->e, batch, &out);
    const double expected = expected_penalty(&f->e.system, &out);
    check_close(loss_value(out.penalty), expected, check_limit(1e-13, 1e-6), "%s: its value", what);
    check_close(loss_value(out.loss), loss_value(out.target_loss) + expected,
                check_limit(1e-13, 1e-5), "%s: the loss is the sum", what);
    check_that(expected > 1e-3 && !out.text_loss, "%s: a penalty alone", what);
}

/* The number by hand, the logits untouched, linear in its weight. The gradient itself is under
 * finite differences (test_gradients.c). */
static void orthogonality(int shape, dual_system system) {
    static const double weight[] = {0, 0.5, 1};
    const int centred = system.centred, values = system.values;
    result r[3];
    ragged data;
    ragged_init(&data, 1);
    fixture f;
    for (int k = 0; k < 3; k++) {
        system.orthogonality = weight[k];
        system.centred = k > 0 && centred;
        system.values = k > 0 && values;
        fixture_open_layers(&f, shape, LAYERS, &system);
        r[k] = run_batch(&f, &data.batch, BACKWARD);
        if (k < 2) fixture_close(&f);
    }
    const char *what = label(shape, system_title(&system), "penalty");
    penalty_value(&f, &data.batch, what);
    check_that(same_logit_bits(&r[0], &r[1]) && same_logit_bits(&r[0], &r[2]),
               "%s: expected the logits of no penalty", what);
    linear_in_weight(&f.e, r, what);
    f.c.inference = 1;
    dual_outcome out;
    dual_run(&f.c, &f.e, &data.batch, &out);
    check_that(!out.penalty && out.loss == out.target_loss, "%s: expected none in inference", what);
    for (int k = 0; k < 3; k++) result_free(&r[k]);
    fixture_close(&f);
}

/* Both forms on Z, on H1's final states and on the values it hands over. */
static void test_orthogonality(void) {
    static const char *const names[] = {"liu", "h2", "h1", "h1h2"};
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < 4; i++) {
            dual_system system = preset(names[i]);
            orthogonality(shape, system);
            system.centred = 1;
            orthogonality(shape, system);
            if (system.inject != DUAL_KV) continue;
            system.centred = 0;
            system.values = 1;
            orthogonality(shape, system);
            system.centred = 1;
            system.kv_layers = 5;  /* layers 0 and 2 */
            orthogonality(shape, system);
        }
}

/* ---- read and speak in one pass -------------------------------------------------------------- */

static void same_decoding(fixture *a, fixture *b, const dual_batch *batch, const char *what) {
    enum { NEW_TOKENS = 4 };
    fixture *const each[] = {a, b};
    int32_t token[2][GROUPS * NEW_TOKENS];
    size_t length[GROUPS];
    for (int i = 0; i < 2; i++) {
        dual_sampling greedy = {.max_new = NEW_TOKENS, .end = -1};
        dual_generate(&each[i]->c, &each[i]->e, batch, &greedy, token[i], length);
    }
    check_that(!memcmp(token[0], token[1], sizeof token[0]), "%s: decoding", what);
}

/* The numbers and gradients of two passes. */
static void fused(int shape, dual_system system) {
    ragged data;
    ragged_init(&data, 1);
    fixture apart, together;
    fixture_open(&apart, shape, &system);
    system.fused = 1;
    fixture_open(&together, shape, &system);
    const char *what = label(shape, system_title(&system), "against separate passes");
    result a = run_batch(&apart, &data.batch, BACKWARD);
    result b = run_batch(&together, &data.batch, BACKWARD);
    same_results(&together, &b, &a, what);
    check_size(b.n_latents, a.n_latents, "%s: latents", what);
    dual_outcome out;
    dual_run(&together.c, &together.e, &data.batch, &out);
    check_size(out.n_passes, system.inject == DUAL_SOFT ? 1 : 3, "%s: passes", what);
    check_that(last_pass(&out)->rows >= text_length[0] + text_length[1] + text_length[2] + GROUPS,
               "%s: expected the text in the speak pass", what);
    same_decoding(&apart, &together, &data.batch, what);
    result_free(&a);
    result_free(&b);
    ragged_cut(&data, 0);          /* no text at all: nothing to fuse or drop */
    a = run_batch(&apart, &data.batch, FORWARD_ONLY);
    b = run_batch(&together, &data.batch, FORWARD_ONLY);
    same_logits(&b, &a, what);
    result_free(&a);
    result_free(&b);
    fixture_close(&apart);
    fixture_close(&together);
}

/* Fused, cutting the cache leaves the Base's own text its gradient: only what think reads is cut.
 * In two passes the Base speaks over the cut cache too. */
static void fused_and_cut(int shape, const char *name) {
    dual_system system = preset(name);
    ragged data;
    ragged_init(&data, 1);
    fixture whole, cut, both;
    fixture_open(&whole, shape, &system);
    system.detach = 1;
    fixture_open(&cut, shape, &system);
    system.fused = 1;
    fixture_open(&both, shape, &system);
    const char *what = label(shape, system_title(&system), "a cut cache");
    result a = run_batch(&whole, &data.batch, BACKWARD);
    result b = run_batch(&cut, &data.batch, BACKWARD);
    result c = run_batch(&both, &data.batch, BACKWARD);
    same_logits(&c, &a, what);
    same_gradients(&both.e, c.gradients, b.gradients, "CS", what);
    check_that(base_gradient_distance(&both.e, c.gradients, a.gradients) > 0.01 &&
               base_gradient_distance(&both.e, c.gradients, b.gradients) > 0.01,
               "%s: expected less gradient than without a cut, more than in two passes", what);
    if (system.inject == DUAL_EMBED) compare_by_hand(&both, &data.batch, what);
    result_free(&a);
    result_free(&b);
    result_free(&c);
    fixture_close(&whole);
    fixture_close(&cut);
    fixture_close(&both);
}

static void test_fused(void) {
    static const char *const names[] = {"liu", "h1", "h2", "h1h2", "prompt"};
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < 5; i++) {
            const dual_system plain = preset(names[i]);
            dual_system system = plain;
            fused(shape, system);
            system.text_loss = 0.6;
            if (plain.base_trained) fused(shape, system);
            system = plain;
            system.kv_layers = 1;
            if (plain.inject == DUAL_KV) fused(shape, system);
            system = plain;
            system.orthogonality = 0.5;
            if (dual_system_needs_coprocessor(&plain)) fused(shape, system);
        }
    for (int shape = 0; shape < SHAPES; shape++) {
        fused_and_cut(shape, "h2");
        fused_and_cut(shape, "h1h2");
    }
}

/* ---- options that no system may have --------------------------------------------------------- */

/* `word` is in the reason. The models have three layers. */
static void refuse_option(const dual_system *system, const char *word) {
    dual_config config = shape_config(GPT2_TIED);
    config.layers = LAYERS;
    dual_ctx c;
    dual_exchange e;
    void *memory = check_begin(&c, (size_t)8 << 20);
    const int accepted = dual_exchange_new(&c, &e, system, dual_model_new(&c, &config),
                                           dual_model_new(&c, &config));
    check_that(accepted || strstr(c.error, word), "%s: expected \"%s\" in the reason, got \"%s\"",
               system_title(system), word, c.error);
    check_refused(&c, accepted, system_title(system));
    check_end(&c, memory);
}

static void refuse_options_of(const dual_system *plain) {
    const int coprocessor = dual_system_needs_coprocessor(plain), kv = plain->inject == DUAL_KV;
    dual_system s = *plain;
    s.kv_layers = kv ? (uint64_t)1 << LAYERS : 1;  /* a layer too many, or not for this system */
    refuse_option(&s, "layers");
    s.kv_layers = (uint64_t)1 << 63;
    refuse_option(&s, "layers");
    s = *plain;
    s.orthogonality = 0.1;
    s.latents = coprocessor ? 1 : 4;
    refuse_option(&s, "2 latents");
    s = *plain;
    s.centred = 1;
    refuse_option(&s, "centred");
    s = *plain;
    s.values = 1;
    refuse_option(&s, "values");
    if (coprocessor && !kv) {
        s.orthogonality = 0.1;
        refuse_option(&s, "of kv only");
    }
    s = *plain;
    s.text_loss = 1;
    if (!plain->base_trained) refuse_option(&s, "frozen");
    s = *plain;
    s.fused = 1;
    if (plain->inject == DUAL_CHAIN || (plain->base_trained && !coprocessor))
        refuse_option(&s, "fused");
}

static void test_option_refusals(void) {
    for (size_t i = 0; i < SYSTEMS; i++) {
        const dual_system plain = preset(all_systems[i]);
        refuse_options_of(&plain);
    }
    static const double no_weight[] = {-0.1, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 3; i++) {
        dual_system s = preset("h2");
        s.text_loss = no_weight[i];
        refuse_option(&s, "numbers");
        s = preset("h2");
        s.orthogonality = no_weight[i];
        refuse_option(&s, "numbers");
    }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_gain_and_detach();
    test_kv_layers();
    test_text_loss();
    test_orthogonality();
    test_fused();
    test_option_refusals();
    return check_done();
}
