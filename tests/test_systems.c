/* test_systems.c - the method against itself. Every system laid out by hand (by_hand.h) must give
 * the logits, the loss and the gradients of dual_run: in double 1e-12, gradients 1e-9. So must
 * every group run alone, and read and speak merged into one pass. Then what may not reach a row:
 * later text, other groups, targets; and that nothing injected is the Base itself.
 *
 *   cc -std=c99 -O2 -DDUAL_REAL=double tests/test_systems.c dual.c -lm -o t && ./t */
#include "by_hand.h"

/* ---- every system, every shape: by hand, and group by group ---------------------------------- */

static size_t count_apart(const double *a, const double *b, size_t n) {
    return !(check_distance(a, b, n, 0) <= check_limit(1e-12, 5e-5));
}

/* M groups at once are M runs of one: the loss is the mean over all targets. */
static void compare_alone(fixture *f, const dual_batch *batch, const result *whole,
                          const char *what) {
    const size_t n = exchange_elements(&f->e), n_targets = count_targets(batch);
    double *sum = new_array(n), loss = 0;
    size_t row = 0, latent = 0, wrong = 0;
    for (size_t g = 0; g < batch->n_groups; g++) {
        const double share = (double)batch->group[g].n_target / (double)n_targets;
        single one;
        single_init(&one, batch, g);
        result r = run_batch(f, &one.batch, BACKWARD);
        loss += share * r.loss;
        for (size_t i = 0; i < n; i++) sum[i] += share * r.gradients[i];
        wrong += count_apart(r.logits, whole->logits + row * VOCAB, r.n_logits);
        if (r.n_latents) wrong += count_apart(r.latents, whole->latents + latent, r.n_latents);
        latent += r.n_latents;
        row += batch->group[g].n_target;
        result_free(&r);
    }
    check_size(wrong, 0, "%s: every group alone gives the batch's logits and latents", what);
    check_close(whole->loss, loss, check_limit(1e-12, 2e-5), "%s: mean loss", what);
    same_gradients(&f->e, whole->gradients, sum, "BCS", what);
    free(sum);
}

/* Without a cue the row of the last latent predicts y_0. kv and none have no row there: they refuse
 * the batch. Says whether this was such a system. */
static int refuses_empty_cue(fixture *f, const dual_batch *batch, const char *what) {
    if (f->e.system.inject != DUAL_KV && f->e.system.inject != DUAL_NONE) return 0;
    check_refused(&f->c, dual_batch_check(&f->c, &f->e, batch), what);
    return 1;
}

static void system_by_hand(int shape, const char *system, size_t n_cue, const char *cue) {
    char what[300];
    snprintf(what, sizeof what, "%s", label(shape, system, cue));
    fixture f;
    fixture_open_preset(&f, shape, system);
    ragged data;
    ragged_init(&data, n_cue);
    if (n_cue > 0 || !refuses_empty_cue(&f, &data.batch, what)) {
        result got = run_batch(&f, &data.batch, BACKWARD);
        result expected = by_hand(&f, &data.batch, &unchanged, BACKWARD);
        same_results(&f, &got, &expected, what);
        compare_alone(&f, &data.batch, &got, what);
        result_free(&got);
        result_free(&expected);
    }
    fixture_close(&f);
}

static void test_systems(void) {
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < SYSTEMS; i++) {
            system_by_hand(shape, all_systems[i], 1, "one cue token");
            system_by_hand(shape, all_systems[i], 3, "three cue tokens");
            system_by_hand(shape, all_systems[i], 0, "empty cue");
        }
}

/* Texts without a group, two groups at one place, other numbers of latents; for H1, whose message
 * has the Base's key size and not its width, also a Coprocessor of another width. */
static void odd_batch(int shape, const char *name, size_t latents) {
    const dual_config config = shape_config(shape);
    dual_config other = config;
    dual_system system = preset(name);
    if (system.inject != DUAL_NONE) system.latents = latents;
    if (system.inject == DUAL_KV && shape == QWEN3_UNTIED) {
        other.hidden = 9;
        other.heads = 2;
        other.mlp = 5;
    }
    fixture f;
    fixture_open_pair(&f, &config, &other, &system);
    ragged data;
    ragged_init(&data, 1);
    data.group[1].prefix = 5;      /* where group 2 is too */
    if (latents == 1) {            /* the first and the last text have no group */
        data.batch.group = data.group + 3;
        data.batch.n_groups = 1;
    }
    if (latents == 2)              /* the second text has none */
        data.group[3].sequence = 2;
    compare_by_hand(&f, &data.batch, label(shape, name, "odd batches"));
    fixture_close(&f);
}

static void test_odd_batches(void) {
    static const int shapes[] = {GPT2_TIED, QWEN3_UNTIED};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < SYSTEMS; i++) {
            odd_batch(shapes[s], all_systems[i], 1);
            odd_batch(shapes[s], all_systems[i], 2);
            odd_batch(shapes[s], all_systems[i], 7);
        }
}

/* ---- passes 1 + 3 are one extended pass ------------------------------------------------------ */

/* Row by row: what it reads, where it stands, what it sees of its own pass (twice: the text, its
 * own group) and of the Coprocessor's entries. */
enum { MERGED_ROWS = 64, TEXT_ROWS = 0, OWN_ROWS, ENTRIES, LISTS };
typedef struct {
    size_t rows, n_predicting;
    int32_t which[MERGED_ROWS], index[MERGED_ROWS], position[MERGED_ROWS], token[MERGED_ROWS];
    int32_t begin[LISTS][MERGED_ROWS], end[LISTS][MERGED_ROWS];
    int32_t predicting[MERGED_ROWS];
} merged_rows;

static void merged_text(merged_rows *m, const int32_t *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        m->index[i] = text[i];
        m->position[i] = (int32_t)i;
        m->end[TEXT_ROWS][i] = (int32_t)i + 1;
    }
    m->rows = length;
}

/* Latents (as rows: which 1), cue, targets of group g; kv: no latent rows, entries instead. */
static void merged_group(merged_rows *m, const dual_group *group, size_t g, int kv) {
    const size_t own = m->rows, latents = kv ? 0 : SLOTS;
    for (size_t i = 0; i < latents + 1 + group->n_target; i++) {
        const size_t row = m->rows++;
        m->which[row] = i < latents;
        if (i < latents) m->index[row] = (int32_t)(g * SLOTS + i);
        else if (i == latents) m->index[row] = group->cue[0];
        else m->index[row] = group->target[i - latents - 1];
        m->position[row] = (int32_t)(group->prefix + (kv ? SLOTS : 0) + i);
        m->end[TEXT_ROWS][row] = (int32_t)group->prefix;
        m->begin[OWN_ROWS][row] = (int32_t)own;
        m->end[OWN_ROWS][row] = (int32_t)row + 1;
        m->begin[ENTRIES][row] = (int32_t)(g * SLOTS);
        m->end[ENTRIES][row] = (int32_t)((g + 1) * SLOTS);
        if (i >= latents && i < latents + group->n_target)
            m->predicting[m->n_predicting++] = (int32_t)row;
    }
}

/* Sequence 0 and its three groups in one pass of the Base: text rows causal; a group's rows see
 * the text up to their prefix, (H1) their Coprocessor's entries, and causally their own group. */
static void merged(int shape, const char *name) {
    fixture f;
    fixture_open_preset(&f, shape, name);
    const int kv = f.e.system.inject == DUAL_KV;
    ragged data;
    ragged_init(&data, 1);
    data.batch.n_sequences = 1;
    data.batch.n_groups = 3;
    dual_outcome out;
    dual_run(&f.c, &f.e, &data.batch, &out);

    merged_rows m;
    memset(&m, 0, sizeof m);
    merged_text(&m, data.text[0], data.length[0]);
    for (size_t g = 0; g < 3; g++) merged_group(&m, &data.group[g], g, kv);
    dual_seen seen[LISTS];
    for (size_t i = 0; i < LISTS; i++) seen[i] = (dual_seen){NULL, m.begin[i], m.end[i]};
    if (kv) seen[ENTRIES].cache = &find_pass(&out, "think")->cache;
    dual_tensor *source[2] = {f.base->wte, kv ? f.base->wte : out.latents};
    const int32_t segment_start[2] = {0, (int32_t)m.rows};
    dual_pass p = {
        .name = "merged", .model = f.base, .rows = m.rows, .segments = 1, .n_seen = kv ? 3 : 2,
        .input = dual_gather(&f.c, 2, source, m.rows, m.which, m.index), .token = m.token,
        .position = m.position, .segment_start = segment_start, .seen = seen};
    dual_forward(&f.c, &p);

    const size_t n_targets = count_targets(&data.batch);
    check_size(m.n_predicting, n_targets, "merged pass: rows that predict");
    dual_tensor *rows = dual_gather(&f.c, 1, &p.hidden, n_targets, NULL, m.predicting);
    double *expected = tensor_values(dual_logits(&f.c, f.base, rows));
    const double distance = tensor_distance(out.logits, expected);
    check_that(distance <= check_limit(1e-12, 5e-5),
               "%s: expected the merged pass's logits, got distance %.3g",
               label(shape, name, "read + speak"), distance);
    free(expected);
    fixture_close(&f);
}

static void test_merged(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        merged(shape, "liu");
        merged(shape, "h1");
        merged(shape, "h2");
        merged(shape, "h1h2");
    }
}

/* ---- latents as given rows ------------------------------------------------------------------- */

static size_t model_elements(const dual_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_params; i++) n += elements(m->param[i].tensor);
    return n;
}

/* H2 whose latents are constants is `none` with the latents as its cue. Rows given as a cue are
 * for every group, hence one group. The rows live in none's context. */
static dual_tensor *latents_as_cue(int shape, fixture *none) {
    const hand_changes constant_latents = {.detach_latents = 1};
    const char *what = label(shape, "h2", "latents as a constant cue");
    fixture h2;
    fixture_open_preset(&h2, shape, "h2");
    ragged data;
    ragged_init(&data, 0);
    single one;
    single_init(&one, &data.batch, 2);
    result own = run_batch(&h2, &one.batch, BACKWARD);
    result hand = by_hand(&h2, &one.batch, &constant_latents, BACKWARD);
    dual_tensor *rows = dual_tensor_new(&none->c, SLOTS, h2.base->config.hidden);
    for (size_t i = 0; i < own.n_latents; i++) rows->data[i] = (dual_real)own.latents[i];
    one.batch.cue_rows = rows;
    result given = run_batch(none, &one.batch, BACKWARD);
    same_logits(&given, &own, what);
    const size_t n = model_elements(h2.base);      /* the Base's gradients come first */
    const double distance = check_distance(given.gradients, hand.gradients, n, 0);
    check_that(distance <= check_limit(1e-12, 1e-4), "%s: expected the Base's gradients of H2 with"
               " constant latents, got distance %.3g", what, distance);
    check_that(check_distance(given.gradients, own.gradients, n, 0) > 1e-3,
               "%s: expected H2's own gradient to differ", what);
    result_free(&own);
    result_free(&hand);
    result_free(&given);
    fixture_close(&h2);
    return rows;
}

/* The gradient of rows that are trained, then zeroed. */
static double *take_gradient(dual_tensor *t) {
    double *a = new_array(elements(t));
    for (size_t i = 0; i < elements(t); i++) {
        a[i] = (double)t->grad[i];
        t->grad[i] = 0;
    }
    return a;
}

/* Trained rows as the cue of several groups: by hand too. */
static void trained_cue_rows(int shape, fixture *none, dual_tensor *rows) {
    const char *what = label(shape, "none", "trained cue rows");
    const size_t n = elements(rows);
    ragged data;
    ragged_init(&data, 1);
    dual_need_grad(&none->c, rows);
    data.batch.cue_rows = rows;
    result given = run_batch(none, &data.batch, BACKWARD);
    double *gradient = take_gradient(rows);
    const hand_changes with_rows = {.cue_rows = rows};
    result hand = by_hand(none, &data.batch, &with_rows, BACKWARD);
    double *expected = take_gradient(rows);
    same_results(none, &given, &hand, what);
    check_that(check_distance(gradient, expected, n, 0) <= check_limit(1e-12, 1e-4) &&
               l2_norm(gradient, n) > 0,
               "%s: expected the gradient of the rows laid out by hand", what);
    result_free(&given);
    result_free(&hand);
    free(gradient);
    free(expected);
}

/* For H2 and H1 a cue given as rows of the embedding is the same cue. */
static void token_row_as_cue(int shape, const char *name) {
    enum { TOKEN = 11 };
    fixture f;
    fixture_open_preset(&f, shape, name);
    ragged data;
    ragged_init(&data, 1);
    for (size_t g = 0; g < GROUPS; g++) data.cue[g][0] = TOKEN;
    result as_token = run_batch(&f, &data.batch, FORWARD_ONLY);
    const dual_tensor *wte = f.base->wte;
    dual_tensor *row = dual_tensor_new(&f.c, 1, wte->cols);
    memcpy(row->data, wte->data + TOKEN * wte->stride, wte->cols * sizeof *row->data);
    data.batch.cue_rows = row;
    result as_row = run_batch(&f, &data.batch, FORWARD_ONLY);
    same_logits(&as_row, &as_token, label(shape, name, "a token's row as the cue"));
    result_free(&as_token);
    result_free(&as_row);
    fixture_close(&f);
}

static void test_given_rows(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        fixture none;
        fixture_open_preset(&none, shape, "none");
        dual_tensor *rows = latents_as_cue(shape, &none);
        trained_cue_rows(shape, &none, rows);
        token_row_as_cue(shape, "h2");
        token_row_as_cue(shape, "h1");
        fixture_close(&none);
    }
}

/* ---- nothing leaks --------------------------------------------------------------------------- */

/* Rows of the logits: group 0's are 0 .. 3, group 1's is 4, those of the other two sequences 11 ..
 * 20 (group_targets). */
enum { GROUP_1 = 4, OTHER_TEXTS = 11, OTHER_ROWS = 10 };

static int same_rows(const result *a, const result *b, size_t first, size_t n) {
    return same_bits(a->logits + first * VOCAB, b->logits + first * VOCAB, n * VOCAB);
}

/* What follows group 0's prefix of 3: groups 1 and 2 read it, group 0 must not. */
static void later_text(fixture *f, const result *before, const char *what) {
    const size_t z = before->n_latents / GROUPS;   /* numbers of one group's latents */
    const dual_injection inject = f->e.system.inject;
    ragged data;
    ragged_init(&data, 1);
    for (size_t i = data.group[0].prefix; i < TEXT_MOST; i++)
        data.text[0][i] = (data.text[0][i] + 7) % VOCAB;
    result after = run_batch(f, &data.batch, FORWARD_ONLY);
    check_that(same_bits(before->latents, after.latents, z), "%s: later text changed the latents",
               what);
    check_that(same_rows(before, &after, 0, GROUP_1),
               "%s: later text, or another group's latents, changed the logits", what);
    check_that(!same_rows(before, &after, GROUP_1, 1),
               "%s: expected a group that reads the changed text to change", what);
    check_that(z == 0 || inject == DUAL_SOFT || inject == DUAL_PAUSE ||
               !same_bits(before->latents + z, after.latents + z, z),
               "%s: expected other groups' latents to change", what);
    check_that(same_rows(before, &after, OTHER_TEXTS, OTHER_ROWS),
               "%s: another sequence's text changed the logits", what);
    result_free(&after);
}

static void other_groups(fixture *f, const result *before, const char *what) {
    const size_t z = before->n_latents / GROUPS;
    ragged data;
    ragged_init(&data, 1);
    for (size_t i = 0; i < TARGETS_MOST; i++) {
        data.target[2][i] = (data.target[2][i] + 5) % VOCAB;
        data.target[1][i] = data.target[2][i];
    }
    data.cue[1][0] = (data.cue[1][0] + 3) % VOCAB;
    data.cue[2][0] = (data.cue[2][0] + 3) % VOCAB;
    result after = run_batch(f, &data.batch, FORWARD_ONLY);
    check_that(before->n_latents == after.n_latents && same_bits(before->latents, after.latents, z),
               "%s: another group's targets changed the latents", what);
    check_that(same_rows(before, &after, 0, GROUP_1),
               "%s: another group's targets or cue changed the logits", what);
    result_free(&after);
}

/* The last target is never fed: it moves the loss and not one logit. */
static void last_target(fixture *f, const result *before, const char *what) {
    ragged data;
    ragged_init(&data, 1);
    data.target[0][3] = (data.target[0][3] + 1) % VOCAB;
    result after = run_batch(f, &data.batch, FORWARD_ONLY);
    check_that(same_logit_bits(before, &after) && before->loss != after.loss,
               "%s: the last target must only move the loss", what);
    result_free(&after);
}

static void test_leaks(void) {
    for (int shape = 0; shape < SHAPES; shape += 2)
        for (size_t i = 0; i < SYSTEMS; i++) {
            const char *what = label(shape, all_systems[i], "leaks");
            fixture f;
            fixture_open_preset(&f, shape, all_systems[i]);
            ragged data;
            ragged_init(&data, 1);
            result before = run_batch(&f, &data.batch, FORWARD_ONLY);
            later_text(&f, &before, what);
            other_groups(&f, &before, what);
            last_target(&f, &before, what);
            result_free(&before);
            fixture_close(&f);
        }
}

/* ---- nothing injected is the Base itself ----------------------------------------------------- */

/* Whether a system without latents is accepted. coconut's s is a row even without a thought. */
static int can_be_empty(int shape, const dual_system *system) {
    if (system->inject == DUAL_CHAIN) return 0;
    const dual_config config = shape_config(shape);
    dual_ctx c;
    void *memory = check_begin(&c, (size_t)16 << 20);
    dual_model *base = dual_model_new(&c, &config), *coprocessor = NULL;
    if (dual_system_needs_coprocessor(system)) coprocessor = dual_model_new(&c, &config);
    dual_exchange e;
    const int accepted = dual_exchange_new(&c, &e, system, base, coprocessor);
    if (!accepted) check_refused(&c, accepted, label(shape, system->name, "no latents"));
    check_end(&c, memory);
    return accepted;
}

/* H1 whose entries are hidden: the Base on [cue; y] at n + N_L over KV_theta alone. */
static void hidden_entries(int shape) {
    const hand_changes hidden = {.hide_entries = 1};
    dual_system system = preset("h1");
    system.latents = 1;
    fixture f;
    fixture_open(&f, shape, &system);
    ragged data;
    ragged_init(&data, 1);
    result with = run_batch(&f, &data.batch, FORWARD_ONLY);
    result without = by_hand(&f, &data.batch, &hidden, FORWARD_ONLY);
    check_that(logits_distance(&with, &without) > 1e-3,
               "%s: expected the Coprocessor's entries to matter", shape_name[shape]);
    data.batch.ablation.from = DUAL_DROP;
    result dropped = run_batch(&f, &data.batch, FORWARD_ONLY);
    same_logits(&dropped, &without, label(shape, "h1", "its only slot dropped"));
    result_free(&with);
    result_free(&without);
    result_free(&dropped);
    fixture_close(&f);
}

static void test_empty_injection(void) {
    for (int shape = 0; shape < SHAPES; shape++) {
        ragged data;
        ragged_init(&data, 1);
        fixture none;
        fixture_open_preset(&none, shape, "none");
        result plain = by_hand(&none, &data.batch, &unchanged, FORWARD_ONLY);
        for (size_t i = 1; i < SYSTEMS; i++) {
            dual_system empty = preset(all_systems[i]);
            empty.latents = 0;
            if (!can_be_empty(shape, &empty)) continue;
            fixture f;
            fixture_open(&f, shape, &empty);
            result r = run_batch(&f, &data.batch, FORWARD_ONLY);
            same_logits(&r, &plain, label(shape, empty.name, "no latents"));
            result_free(&r);
            fixture_close(&f);
        }
        hidden_entries(shape);
        result_free(&plain);
        fixture_close(&none);
    }
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_systems();
    test_odd_batches();
    test_merged();
    test_given_rows();
    test_leaks();
    test_empty_injection();
    return check_done();
}
