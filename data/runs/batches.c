/* batches.c: see batches.h. */
#include "batches.h"
#include "ranks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Where a step's sequences come from ------------------------------------------------------ */

/* The order of n things in one epoch; kept, since a batch asks for a few of the same epoch. */
static const size_t *shuffled(run_task *t, size_t n, uint64_t seed, uint64_t epoch, char *error,
                              size_t size) {
    if (t->order && t->order_epoch == epoch && t->n_order == n) return t->order;
    size_t *order = realloc(t->order, n * sizeof *order);
    if (!order) {
        snprintf(error, size, "out of memory for the order of %zu rows", n);
        return NULL;
    }
    dual_rng rng = dual_rng_seed(seed, run_stream(STREAM_SHUFFLE, epoch));
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        const size_t j = dual_rng_below(&rng, i), keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
    t->order = order;
    t->order_epoch = epoch;
    t->n_order = n;
    return order;
}

/* Packs Countdown's Base samples, each with its end token, until n ids are full; the last is
 * cut. */
static int pack_samples(const run_task *t, const run_settings *set, uint64_t number, int32_t *to,
                        size_t n_ids, char *error, size_t size) {
    dual_rng rng = dual_rng_seed(set->seed, run_stream(STREAM_TEXT, number));
    char text[COUNTDOWN_TEXT];
    for (size_t n = 0; n < n_ids;) {
        if (!countdown_base(&t->countdown, set->facts, set->solved, &rng, text, sizeof text)) {
            snprintf(error, size, "no Base text can be drawn with these options");
            return 0;
        }
        const size_t got = tokenizer_encode(t->tokens, text, strlen(text), 0, to + n, n_ids - n,
                                            error, size);
        if (got == SIZE_MAX) return 0;
        n += got;
        if (n < n_ids) to[n++] = t->end;
    }
    return 1;
}

/* Sequence `number` of a text: windows of n ids, in an order and from an offset of their own in
 * every epoch. */
static const int32_t *text_window(run_task *t, const run_settings *set, uint64_t number, size_t n,
                                  char *error, size_t size) {
    const size_t windows = t->n_train / n ? t->n_train / n - 1 : 0;
    if (!windows) {
        snprintf(error, size, "%s: %zu tokens to train on, expected at least two sequences of %zu",
                 set->data, t->n_train, n);
        return NULL;
    }
    const uint64_t epoch = number / windows;
    dual_rng rng = dual_rng_seed(set->seed, run_stream(STREAM_TEXT, epoch));
    const size_t *order = shuffled(t, windows, set->seed, epoch, error, size);
    return order ? t->ids.at + dual_rng_below(&rng, n) + order[number % windows] * n : NULL;
}

/* ---- Groups and batches ---------------------------------------------------------------------- */

/* M places in 1 .. n-1-N_A, in order, every choice equally likely (Knuth's algorithm S). */
void run_group_places(const run_settings *set, uint64_t number, size_t *place) {
    dual_rng rng = dual_rng_seed(set->seed, run_stream(STREAM_GROUPS, number));
    const size_t last = run_sequence(set) - 1 - set->ahead, m = set->groups;
    for (size_t p = 1, k = 0; p <= last && k < m; p++)
        if (dual_rng_below(&rng, last - p + 1) < m - k) place[k++] = p;
}

void run_text_group(const int32_t *text, size_t sequence, size_t place, size_t ahead,
                    dual_group *g) {
    g->sequence = sequence;
    g->prefix = place;
    g->cue = text + place;
    g->n_cue = 1;
    g->target = text + place + 1;
    g->n_target = ahead;
}

static size_t groups_of(const run_settings *set) { return run_is_pretrain(set) ? set->groups : 1; }

static int batch_begin(const run_settings *set, size_t n, run_batch *b, char *error, size_t size) {
    memset(b, 0, sizeof *b);
    b->group = calloc(n * groups_of(set), sizeof *b->group);
    b->text = calloc(n, sizeof *b->text);
    b->length = calloc(n, sizeof *b->length);
    b->place = calloc(set->groups + 1, sizeof *b->place);
    if (!b->group || !b->text || !b->length || !b->place) {
        snprintf(error, size, "out of memory for a batch of %zu", n);
        run_batch_free(b);
        return 0;
    }
    b->batch.n_sequences = n;
    b->batch.n_groups = n * groups_of(set);
    b->batch.text = b->text;
    b->batch.length = b->length;
    b->batch.group = b->group;
    return 1;
}

void run_batch_free(run_batch *b) {
    free(b->group);
    free(b->text);
    free(b->length);
    free(b->place);
    free(b->own.at);
    memset(b, 0, sizeof *b);
}

/* lm: an empty prompt, the first token as the cue, all others as targets. */
static void set_text(run_batch *b, const run_settings *set, size_t i, const int32_t *text) {
    const size_t n = run_sequence(set), m = groups_of(set);
    b->text[i] = text;
    b->length[i] = run_is_lm(set) ? 0 : n;
    if (run_is_lm(set)) {
        run_text_group(text, i, 0, n - 1, &b->group[i]);
        return;
    }
    for (size_t k = 0; k < m; k++)
        run_text_group(text, i, b->place[k], set->ahead, &b->group[i * m + k]);
}

int run_text_batch(const run_settings *set, const int32_t *text, uint64_t number, run_batch *b,
                   char *error, size_t size) {
    if (!batch_begin(set, 1, b, error, size)) return 0;
    if (run_is_pretrain(set)) run_group_places(set, number, b->place);
    set_text(b, set, 0, text);
    return 1;
}

void run_answer_group(const run_task *t, const example *e, size_t sequence, dual_group *g) {
    const int own = t->kind == TASK_TEXT && e->n_x > 0;
    g->sequence = sequence;
    g->prefix = e->n_x - (size_t)own;
    g->cue = own ? e->x + g->prefix : &t->cue;
    g->n_cue = 1;
    g->target = e->y;
    g->n_target = e->n_y;
}

static void set_answer(run_batch *b, const run_task *t, size_t i, const example *e) {
    b->text[i] = e->x;
    b->length[i] = e->n_x;
    run_answer_group(t, e, i, &b->group[i]);
}

static int make_text(const run_settings *set, run_task *t, uint64_t step, run_batch *b, char *error,
                     size_t size) {
    const size_t n = run_sequence(set);
    int ok = t->kind == TASK_TEXT || token_block_reserve(&b->own, set->batch * n, error, size);
    for (size_t i = 0; ok && i < set->batch; i++) {
        const uint64_t number = step * set->batch + i;
        int32_t *own = t->kind == TASK_TEXT ? NULL : b->own.at + i * n;
        const int32_t *text = own ? own : text_window(t, set, number, n, error, size);
        ok = text != NULL && (!own || pack_samples(t, set, number, own, n, error, size));
        if (ok && run_is_pretrain(set)) run_group_places(set, number, b->place);
        if (ok) set_text(b, set, i, text);
    }
    return ok;
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* The stage of row i of a step. With --uniform-stage P a row is, with probability P, of a stage
 * drawn from 0..its steps. Where the number of latents follows the stage, a batch can have only
 * one: then the draw is made once a step, from 0..all stages. */
enum { PER_ROW, PER_STEP };
static size_t row_stage(const run_settings *set, size_t stage, int per, size_t n_steps,
                        dual_rng *rng) {
    const int wanted = set->latents_per_stage ? PER_STEP : PER_ROW;
    if (!run_is_curriculum(set) || !(set->uniform_stage > 0) || per != wanted) return stage;
    const double u = dual_rng_uniform(rng);
    const size_t drawn = dual_rng_below(rng, (per == PER_STEP ? set->stages : n_steps) + 1);
    return u < set->uniform_stage ? drawn : stage;
}

/* Where the packed row of every example begins: drawn by the generator into b->own. */
static int draw_rows(const run_settings *set, const run_task *t, dual_rng *rng, run_batch *b,
                     size_t *begin, char *error, size_t size) {
    task_set drawn;
    int ok = 1;
    memset(&drawn, 0, sizeof drawn);
    for (size_t i = 0; ok && i < set->batch; i++) {
        begin[i] = b->own.used;
        ok = run_draw(t, COUNTDOWN_TRAIN, rng, &drawn);
        if (!ok) snprintf(error, size, "no problem can be drawn with these options");
        if (!ok) break;
        const task_row row = task_get(&drawn, 0);
        ok = run_pack(t, &row, &b->own, error, size);
    }
    task_free(&drawn);
    return ok;
}

/* The packed row of a file that stands at place `number` of an endless, shuffled sequence. */
static const int32_t *file_row(const run_settings *set, run_task *t, uint64_t number, char *error,
                               size_t size) {
    const size_t *order = shuffled(t, t->n_rows, set->seed, number / t->n_rows, error, size);
    return order ? t->ids.at + t->begin[order[number % t->n_rows]] : NULL;
}

static int make_answers(const run_settings *set, run_task *t, uint64_t step, run_batch *b,
                        char *error, size_t size) {
    dual_rng rng = dual_rng_seed(set->seed, run_stream(STREAM_TRAIN, step));
    dual_rng mix = dual_rng_seed(set->seed, run_stream(STREAM_STAGE, step));
    const size_t stage = b->stage = row_stage(set, run_stage_of(set, step), PER_STEP, 0, &mix);
    size_t *begin = calloc(set->batch, sizeof *begin);
    int ok = begin != NULL;
    if (!ok) snprintf(error, size, "out of memory for a batch of %zu", set->batch);
    if (ok && !t->n_rows) ok = draw_rows(set, t, &rng, b, begin, error, size);
    for (size_t i = 0; ok && i < set->batch; i++) {
        const int32_t *packed = t->n_rows ? file_row(set, t, step * set->batch + i, error, size)
                                          : b->own.at + begin[i];
        example e;
        ok = packed != NULL;
        if (!ok) break;
        run_unpack(set, row_stage(set, stage, PER_ROW, run_packed_steps(packed), &mix), packed, &e);
        set_answer(b, t, i, &e);
    }
    free(begin);
    return ok;
}

int run_batch_make(const run_settings *set, run_task *t, uint64_t step, run_batch *b, char *error,
                   size_t size) {
    if (!batch_begin(set, set->batch, b, error, size)) return 0;
    const int ok = run_on_text(set) ? make_text(set, t, step, b, error, size)
                                    : make_answers(set, t, step, b, error, size);
    if (!ok) run_batch_free(b);
    return ok;
}

batch_share run_share(const run_settings *set) {
    const size_t n = set->accumulate, before = ranks_own() * n;
    return (batch_share){before, before + n, ranks_count() * n,
                         ranks_count() > 1 ? ranks_sum_reals : NULL};
}

/* All sequences share the same zeros, only lengths count; groups stand as late as they can. The
 * longest x and y of a file may be of two rows that do not fit together: no row is longer than the
 * room. */
int run_batch_longest(const run_settings *set, const run_task *t, run_batch *b, char *error,
                      size_t size) {
    const int text = run_on_text(set);
    const size_t n = text ? run_sequence(set) : t->max_x + t->max_y;
    if (!batch_begin(set, set->batch, b, error, size)) return 0;
    if (!token_block_reserve(&b->own, n, error, size)) {
        run_batch_free(b);
        return 0;
    }
    memset(b->own.at, 0, n * sizeof *b->own.at);
    for (size_t k = 0; run_is_pretrain(set) && k < set->groups; k++)
        b->place[k] = n - 1 - set->ahead - (set->groups - 1 - k);
    for (size_t i = 0; i < set->batch; i++) {
        example e;
        memset(&e, 0, sizeof e);
        e.x = b->own.at;
        e.n_x = t->n_rows && t->max_x + t->max_y > t->room ? t->room - t->max_y : t->max_x;
        e.y = e.x + e.n_x;
        e.n_y = t->max_y;
        if (text) set_text(b, set, i, b->own.at);
        else set_answer(b, t, i, &e);
    }
    if (!text) b->stage = run_is_curriculum(set) ? set->stages : 0;
    return 1;
}

/* ---- Prompts as a batch ---------------------------------------------------------------------- */

/* How many of the rows go into one batch: at most PROMPTS_MAX, 16,384 rows of a pass and 2^25
 * logits, but always two where there are: a lone row, also the last, has no other to swap latents
 * with. */
size_t run_prompts_count(const example *rows, size_t n, size_t vocab, size_t more) {
    size_t count = 0, ids = 0, targets = 0;
    while (count < n && count < PROMPTS_MAX) {
        ids += rows[count].n_x + rows[count].n_y + more;
        targets += rows[count].n_y;
        if (count > 1 && (ids > 16384 || targets > ((size_t)1 << 25) / vocab)) break;
        count++;
    }
    if (n - count == 1) count = count > 2 ? count - 1 : n;
    return count;
}

void run_prompts_fill(run_prompts *p, const run_task *t, const example *rows, size_t n,
                      int targets) {
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        run_answer_group(t, &rows[i], i, &p->group[i]);
        p->text[i] = rows[i].x;
        p->length[i] = p->group[i].prefix;
        if (!targets) p->group[i].n_target = 0;
    }
    p->batch.n_sequences = p->batch.n_groups = n;
    p->batch.text = p->text;
    p->batch.length = p->length;
    p->batch.group = p->group;
}
