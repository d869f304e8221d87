/* test_decoding.c - what evaluation relies on. Decoding with the cache chooses from the logits that
 * dual_run gives when it is fed the same tokens; sampling draws from softmax(logits / temperature);
 * ablations feed what they say instead of a group's own latents; a Base kept in 16 bits cannot be
 * told from one that holds the same numbers as reals, nor a view from what it views.
 *
 *   cc -std=c99 -O2 tests/test_decoding.c dual.c -lm -o t && ./t */
#include "exchange.h"

/* ---- decoding -------------------------------------------------------------------------------- */

enum { NEW = 5, NO_END = -1 };

static size_t argmax(const double *logits) {
    size_t best = 0;
    for (size_t i = 1; i < VOCAB; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static dual_sampling greedy(dual_real *logits) {
    return (dual_sampling){.max_new = NEW, .end = NO_END, .rng = dual_rng_seed(1, 1),
                           .logits = logits};
}

/* Teacher forced with what was generated, dual_run must have chosen the same from the same. */
static void compare_forced(fixture *f, ragged *data, const int32_t *token, const dual_real *logits,
                           const char *what) {
    size_t wrong = 0, apart = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        data->group[g].target = token + g * NEW;
        data->group[g].n_target = NEW;
    }
    result forced = run_batch(f, &data->batch, FORWARD_ONLY);
    for (size_t i = 0; i < GROUPS * NEW; i++) {
        const double *expected = forced.logits + i * VOCAB;
        double row[VOCAB];
        for (size_t v = 0; v < VOCAB; v++) row[v] = (double)logits[i * VOCAB + v];
        wrong += argmax(row) != (size_t)token[i];
        wrong += argmax(expected) != (size_t)token[i];
        apart += !(check_distance(row, expected, VOCAB, 0) <= check_limit(1e-12, 1e-4));
    }
    check_size(wrong, 0, "%s: tokens that are not the argmax", what);
    check_size(apart, 0, "%s: logits unlike teacher forcing's", what);
    result_free(&forced);
}

static void decode_alone(fixture *f, const dual_batch *batch, const int32_t *token,
                         const char *what) {
    for (size_t g = 0; g < GROUPS; g++) {
        int32_t own[NEW];
        size_t length;
        dual_sampling how = greedy(NULL);
        single one;
        single_init(&one, batch, g);
        dual_generate(&f->c, &f->e, &one.batch, &how, own, &length);
        check_that(!memcmp(own, token + g * NEW, sizeof own),
                   "%s: group %d alone continues differently", what, (int)g);
    }
}

/* The end token stops a group where it first comes, and no other group earlier. */
static void decode_to_end(fixture *f, const dual_batch *batch, const int32_t *token,
                          const char *what) {
    int32_t again[GROUPS * NEW];
    size_t length[GROUPS];
    dual_sampling how = greedy(NULL);
    how.end = token[2];
    dual_generate(&f->c, &f->e, batch, &how, again, length);
    for (size_t g = 0; g < GROUPS; g++) {
        size_t first = 0;
        while (first < NEW && token[g * NEW + first] != how.end) first++;
        check_size(length[g], first < NEW ? first : NEW + 1, "%s: length to the end token", what);
        check_that(!memcmp(again + g * NEW, token + g * NEW, first * sizeof *again),
                   "%s: tokens before the end token", what);
    }
}

enum { TOKENS, ROWS };             /* what the cue is given as */

static void decode(int shape, const char *name, size_t n_cue, int cue_as, dual_source from) {
    static dual_real logits[GROUPS * NEW * VOCAB];
    const char *what = label(shape, name, n_cue ? "decoding" : "decoding, empty cue");
    fixture f;
    fixture_open_preset(&f, shape, name);
    ragged data;
    ragged_init(&data, n_cue);
    if (cue_as == ROWS) data.batch.cue_rows = check_random(&f.c, 2, f.base->config.hidden, 3);
    data.batch.ablation.from = from;
    data.batch.ablation.slot = 1;
    int32_t token[GROUPS * NEW];
    size_t length[GROUPS];
    dual_sampling how = greedy(logits);
    dual_generate(&f.c, &f.e, &data.batch, &how, token, length);
    for (size_t g = 0; g < GROUPS; g++)
        check_size(length[g], NEW + 1, "%s: length without an end token", what);
    compare_forced(&f, &data, token, logits, what);
    decode_alone(&f, &data.batch, token, what);
    decode_to_end(&f, &data.batch, token, what);
    fixture_close(&f);
}

static void test_decoding(void) {
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < SYSTEMS; i++) {
            const dual_system s = dual_system_preset(all_systems[i]);
            decode(shape, all_systems[i], 1, TOKENS, DUAL_RIGHT);
            decode(shape, all_systems[i], 2, TOKENS, DUAL_RIGHT);
            decode(shape, all_systems[i], 1, ROWS, DUAL_RIGHT);
            if (s.inject != DUAL_KV && s.inject != DUAL_NONE)
                decode(shape, all_systems[i], 0, TOKENS, DUAL_RIGHT);
            if (s.inject == DUAL_NONE) continue;
            decode(shape, all_systems[i], 1, TOKENS, DUAL_ZERO);
            decode(shape, all_systems[i], 1, TOKENS, DUAL_DROP);
        }
}

/* ---- sampling -------------------------------------------------------------------------------- */

static const double temperature = 1.5;

static void sample(fixture *f, const dual_batch *batch, uint64_t seed, int32_t *token) {
    size_t length[GROUPS];
    dual_sampling how = greedy(NULL);
    how.temperature = temperature;
    how.rng = dual_rng_seed(seed, 1);
    dual_generate(&f->c, &f->e, batch, &how, token, length);
}

/* The first token's share is softmax(logits / temperature), within four standard deviations. */
static void share_of_likeliest(fixture *f, const dual_batch *batch) {
    enum { DRAWS = 400 };
    single one;
    single_init(&one, batch, 0);
    result forced = run_batch(f, &one.batch, FORWARD_ONLY);
    const size_t likeliest = argmax(forced.logits);
    double sum = 0;
    for (size_t i = 0; i < VOCAB; i++)
        sum += exp((forced.logits[i] - forced.logits[likeliest]) / temperature);
    const double share = 1 / sum;
    dual_sampling how = greedy(NULL);
    how.temperature = temperature;
    how.rng = dual_rng_seed(3, 1);
    how.max_new = 1;
    size_t hits = 0;
    for (int i = 0; i < DRAWS; i++) {
        int32_t token;
        size_t length;
        dual_generate(&f->c, &f->e, &one.batch, &how, &token, &length);
        hits += (size_t)token == likeliest;
        check_that(token >= 0 && token < VOCAB, "sampling: token %d", (int)token);
    }
    check_close((double)hits / DRAWS, share, 4 * sqrt(share * (1 - share) / DRAWS),
                "sampling: share of the likeliest token at temperature 1.5");
    result_free(&forced);
}

static void test_sampling(void) {
    int32_t first[GROUPS * NEW], again[GROUPS * NEW], other[GROUPS * NEW];
    fixture f;
    fixture_open_preset(&f, QWEN3_UNTIED, "h2");
    ragged data;
    ragged_init(&data, 1);
    sample(&f, &data.batch, 1, first);
    sample(&f, &data.batch, 1, again);
    sample(&f, &data.batch, 2, other);
    check_that(!memcmp(first, again, sizeof first),
               "sampling: expected the same tokens for the same seed");
    check_that(memcmp(first, other, sizeof first),
               "sampling: expected other tokens for another seed");
    share_of_likeliest(&f, &data.batch);
    fixture_close(&f);
}

/* ---- ablations ------------------------------------------------------------------------------- */

/* Every ablation changes the logits, the right latents do not. */
static void ablations_matter(int shape, const char *name) {
    static const struct { dual_source from; const char *name; } ablations[] = {
        {DUAL_SWAPPED, "swapped"}, {DUAL_MEAN, "mean"}, {DUAL_NOISE, "noise"}, {DUAL_ZERO, "zero"},
        {DUAL_DROP, "drop"}};
    fixture f;
    fixture_open_preset(&f, shape, name);
    ragged data;
    ragged_init(&data, 1);
    result right = run_batch(&f, &data.batch, FORWARD_ONLY);
    for (size_t i = 0; i < sizeof ablations / sizeof *ablations; i++) {
        data.batch.ablation = (dual_ablation){.from = ablations[i].from, .slot = 1, .seed = 5};
        result other = run_batch(&f, &data.batch, FORWARD_ONLY);
        check_that(logits_distance(&right, &other) > 1e-4, "%s: expected other logits with %s"
                   " latents", label(shape, name, "ablations"), ablations[i].name);
        result_free(&other);
    }
    data.batch.ablation.from = DUAL_RIGHT;
    result again = run_batch(&f, &data.batch, FORWARD_ONLY);
    check_that(same_logit_bits(&right, &again),
               "%s: expected nothing to change with right latents", name);
    result_free(&right);
    result_free(&again);
    fixture_close(&f);
}

/* The rows of the speak pass that stand for latents, as they were fed. */
static double *fed_latents(fixture *f, const dual_batch *batch, dual_source from, size_t *rows) {
    const dual_mark mark = dual_mark_here(&f->c);
    const size_t cols = f->base->config.hidden;
    dual_batch ablated = *batch;
    dual_outcome out;
    ablated.ablation = (dual_ablation){.from = from, .seed = 5};
    dual_run(&f->c, &f->e, &ablated, &out);
    const dual_pass *speak = last_pass(&out);
    const dual_tensor *input = speak->input;
    double *fed = new_array(speak->rows * cols);
    *rows = 0;
    for (size_t r = 0; r < speak->rows; r++) {
        if (speak->token[r] >= 0) continue;
        for (size_t c = 0; c < cols; c++)
            fed[*rows * cols + c] = (double)input->data[r * input->stride + c];
        ++*rows;
    }
    dual_release(&f->c, mark);
    return fed;
}

/* Noise has each latent's own norm, and nothing else of it. */
static size_t count_wrong_noise(const double *right, const double *noise, size_t rows,
                                size_t cols) {
    size_t wrong = 0;
    for (size_t r = 0; r < rows; r++) {
        const double *z = right + r * cols, *n = noise + r * cols;
        const double length = l2_norm(z, cols);
        wrong += !(fabs(length - l2_norm(n, cols)) <= length * check_limit(1e-12, 1e-5));
        wrong += same_bits(z, n, cols) != 0;
    }
    return wrong;
}

/* With two groups each gets the other's. */
static size_t count_not_swapped(const double *right, const double *swapped, size_t per_group) {
    return (size_t)!same_bits(swapped, right + per_group, per_group) +
           (size_t)!same_bits(swapped + per_group, right, per_group);
}

static size_t count_not_mean(const double *right, const double *mean, size_t per_group) {
    size_t wrong = 0;
    for (size_t i = 0; i < 2 * per_group; i++) {
        const size_t slot = i % per_group;
        const double expected = (right[slot] + right[per_group + slot]) / 2;
        wrong += !(fabs(mean[i] - expected) <= check_limit(1e-13, 1e-6));
    }
    return wrong;
}

/* What H2's speak pass is fed for the latents of two groups. */
static void what_ablations_feed(int shape) {
    fixture f;
    fixture_open_preset(&f, shape, "h2");
    ragged data;
    ragged_init(&data, 1);
    data.batch.n_sequences = 2;
    data.batch.n_groups = 2;
    data.group[1] = data.group[3];
    const size_t cols = f.base->config.hidden;
    size_t rows, noise_rows, swapped_rows, mean_rows;
    double *right = fed_latents(&f, &data.batch, DUAL_RIGHT, &rows);
    double *noise = fed_latents(&f, &data.batch, DUAL_NOISE, &noise_rows);
    double *swapped = fed_latents(&f, &data.batch, DUAL_SWAPPED, &swapped_rows);
    double *mean = fed_latents(&f, &data.batch, DUAL_MEAN, &mean_rows);
    check_size(rows, 2 * SLOTS, "rows of the speak pass that are latents");
    check_that(noise_rows == rows && count_wrong_noise(right, noise, rows, cols) == 0,
               "%s: expected noise with each slot's own norm", shape_name[shape]);
    check_that(swapped_rows == rows && count_not_swapped(right, swapped, SLOTS * cols) == 0,
               "%s: expected two groups to swap their latents", shape_name[shape]);
    check_that(mean_rows == rows && count_not_mean(right, mean, SLOTS * cols) == 0,
               "%s: expected each slot's mean over the groups", shape_name[shape]);
    free(right);
    free(noise);
    free(swapped);
    free(mean);
    fixture_close(&f);
}

/* Soft vectors are the same for every prompt: swapped, they are the right ones. */
static void swapped_soft_vectors(int shape) {
    fixture f;
    fixture_open_preset(&f, shape, "soft");
    ragged data;
    ragged_init(&data, 1);
    result right = run_batch(&f, &data.batch, FORWARD_ONLY);
    data.batch.ablation.from = DUAL_SWAPPED;
    result swapped = run_batch(&f, &data.batch, FORWARD_ONLY);
    check_that(logits_distance(&right, &swapped) <= check_limit(1e-14, 1e-6),
               "%s: expected swapped soft vectors to be the right ones", shape_name[shape]);
    result_free(&right);
    result_free(&swapped);
    fixture_close(&f);
}

static void test_ablations(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        ablations_matter(shape, "liu");
        ablations_matter(shape, "h2");
        ablations_matter(shape, "h1");
        ablations_matter(shape, "h1h2");
        what_ablations_feed(shape);
        swapped_soft_vectors(shape);
    }
}

/* ---- a Base of 16-bit weights, and a view ---------------------------------------------------- */

enum { KEPT_NEW = 4, KEPT_TOKENS = GROUPS * KEPT_NEW, KEPT_NUMBERS = KEPT_TOKENS * (VOCAB + 1) };

/* Logits, then tokens of greedy decoding of every group. */
static double *decoded(fixture *f, const dual_batch *batch) {
    static dual_real logits[KEPT_TOKENS * VOCAB];
    int32_t tokens[KEPT_TOKENS];
    size_t length[GROUPS];
    dual_sampling how = greedy(logits);
    how.max_new = KEPT_NEW;
    dual_generate(&f->c, &f->e, batch, &how, tokens, length);
    double *all = new_array(KEPT_NUMBERS);
    for (size_t i = 0; i < KEPT_TOKENS * VOCAB; i++) all[i] = (double)logits[i];
    for (size_t i = 0; i < KEPT_TOKENS; i++) all[KEPT_TOKENS * VOCAB + i] = tokens[i];
    return all;
}

/* The real Base gets the kept one's rounded numbers: they differ from what it had. */
static void round_base(fixture *f, dual_model *kept, const dual_batch *batch, const char *what) {
    result full = run_batch(f, batch, FORWARD_ONLY);
    dual_model_copy(kept, f->base);
    dual_model_copy(f->base, kept);
    result rounded = run_batch(f, batch, FORWARD_ONLY);
    check_that(logits_distance(&full, &rounded) > 1e-5, "%s: expected 16 bits to round something",
               what);
    result_free(&full);
    result_free(&rounded);
}

/* Then nothing may tell the two apart. */
static void compare_kept(fixture *f, dual_model *kept, const dual_batch *batch, const char *what) {
    const size_t n = exchange_elements(&f->e);
    result full = run_batch(f, batch, BACKWARD);
    double *full_decoded = decoded(f, batch);
    f->e.base = kept;
    result half = run_batch(f, batch, BACKWARD);
    double *half_decoded = decoded(f, batch);
    f->e.base = f->base;
    check_that(half.loss == full.loss && same_logit_bits(&half, &full) &&
               same_bits(half.latents, full.latents, full.n_latents),
               "%s: expected loss, logits and latents of the same reals", what);
    check_that(same_bits(half.gradients, full.gradients, n) && l2_norm(full.gradients, n) > 0,
               "%s: expected the gradients of the same reals", what);
    check_that(same_bits(half_decoded, full_decoded, KEPT_NUMBERS),
               "%s: expected the same decoding", what);
    result_free(&full);
    result_free(&half);
    free(full_decoded);
    free(half_decoded);
}

/* A Coprocessor of full weights starts as the copy of the kept Base, S from its embedding. */
static void start_from_kept(fixture *f, dual_model *kept, const char *what) {
    size_t wrong = 0;
    f->e.base = kept;
    dual_exchange_init(&f->e, 5);
    for (size_t i = 0; i < kept->n_params; i++) {
        const dual_tensor *base = f->base->param[i].tensor, *own = f->coprocessor->param[i].tensor;
        wrong += memcmp(own->data, base->data, elements(base) * sizeof *base->data) != 0;
    }
    check_size(wrong, 0, "%s: tensors of the Coprocessor unlike the Base's", what);
    double *soft = tensor_values(f->e.soft.tensor);
    f->e.base = f->base;
    dual_exchange_init(&f->e, 5);
    check_that(tensor_distance(f->e.soft.tensor, soft) == 0, "%s: soft tokens", what);
    free(soft);
}

static dual_model *viewed;
/* A model that reads another's numbers where they lie. */
static dual_model *view_of(dual_ctx *c, const dual_model *m) {
    const void **place = dual_alloc(c, m->n_params, sizeof *place);
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        place[i] = t->type == DUAL_FULL ? (const void *)t->data : t->half;
    }
    return dual_model_view(c, &m->config, m->type, place);
}

static void train_first(dual_ctx *c, int unused) {
    (void)unused;
    dual_need_grad(c, viewed->param[0].tensor);
}

/* Nothing may change a view's numbers. */
static void leave_view(fixture *f, dual_model *view, const char *what) {
    dual_tensor *const t = view->param[0].tensor;
    const dual_real before = dual_number(t, 1);
    dual_model_init(view, dual_rng_seed(4, 4));
    check_that(dual_number(t, 1) == before, "%s: init has written into a view", what);
    dual_model_copy(view, f->coprocessor);
    check_that(dual_number(t, 1) == before, "%s: copy has written into a view", what);
    check_that(!dual_model_load(&f->c, view, ".") && strstr(f->c.error, "view"),
               "%s: expected no loading into a view, got \"%s\"", what, f->c.error);
    viewed = view;
    check_that(check_ends(&f->c, train_first, 0) && strstr(check_last_words, "view"),
               "%s: expected no gradient for a view, got \"%s\"", what, check_last_words);
}

static void kept_base(int shape, const char *name, int type) {
    const dual_config config = shape_config(shape);
    const char *what = label(shape, name, type == DUAL_F16 ? "F16" : "BF16");
    fixture f;
    fixture_open_preset(&f, shape, name);
    ragged data;
    ragged_init(&data, 1);
    dual_model *kept = dual_model_kept(&f.c, &config, type);
    round_base(&f, kept, &data.batch, what);
    compare_kept(&f, kept, &data.batch, what);
    start_from_kept(&f, kept, what);
    compare_kept(&f, view_of(&f.c, kept), &data.batch, what);
    compare_kept(&f, view_of(&f.c, f.base), &data.batch, what);
    leave_view(&f, view_of(&f.c, kept), what);
    leave_view(&f, view_of(&f.c, f.base), what);
    fixture_close(&f);
}

static void test_kept_base(void) {
    for (int shape = 0; shape < SHAPES; shape++)
        for (int type = DUAL_F16; type <= DUAL_BF16; type++) {
            kept_base(shape, "liu", type);
            kept_base(shape, "h1", type);
        }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_decoding();
    test_sampling();
    test_ablations();
    test_kept_base();
    return check_done();
}
