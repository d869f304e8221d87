/* multiple_choice.c: see multiple_choice.h. */
#include "multiple_choice.h"
#include "../tokenizers/unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- White space between a context and a choice --------------------------------------------- */

/* As Python's isspace has it, by which lm-evaluation-harness cuts. */
static int is_white(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x09, 0x0D}, {0x1C, 0x20}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return 1;
    return 0;
}

/* Bytes of a text without the white space at its end. */
static size_t without_end(const char *text) {
    const char *at = text, *end = text + strlen(text);
    size_t kept = 0;
    uint32_t c;
    while (at < end) {
        at += unicode_next(at, end, &c);
        if (!is_white(c)) kept = (size_t)(at - text);
    }
    return kept;
}

/* Bytes that a choice counts as: without the white space before it, of which only some may stand in
 * the choice's own text. Where there is nothing else, that white space is the choice. */
static size_t bytes_of(const char *context, const char *choice) {
    const char *at = choice, *end = choice + strlen(choice);
    while (at < end) {
        uint32_t c;
        const size_t n = unicode_next(at, end, &c);
        if (!is_white(c)) return (size_t)(end - at);
        at += n;
    }
    return (size_t)(end - choice) + strlen(context) - without_end(context);
}

/* ---- Rows as ids --------------------------------------------------------------------------- */

/* What each of two texts is as ids; the caller frees both. */
typedef struct { int32_t *x, *y; size_t n_x, n_y; } id_pair;

/* The ids of `joined`, a context and a choice as one text, and of its first n_context bytes. The
 * choice's are those behind as many as the context has. Where none is left, because the choice's
 * beginning merged with the context's end, the choice is encoded alone; n_y 0: to nothing. */
static int encode_pair(dual_ctx *c, const run_task *task, char *joined, size_t n_context,
                       id_pair *ids) {
    size_t n = 0;
    int32_t *whole = text_ids(c, task, joined, &n);
    if (!whole) return 0;
    const char first = joined[n_context];
    joined[n_context] = 0;
    ids->x = text_ids(c, task, joined, &ids->n_x);
    joined[n_context] = first;
    if (ids->x && n > ids->n_x) {
        ids->n_y = n - ids->n_x;
        memmove(whole, whole + ids->n_x, ids->n_y * sizeof *whole);
        ids->y = whole;
        return 1;
    }
    free(whole);
    if (ids->x) ids->y = text_ids(c, task, joined + n_context, &ids->n_y);
    return ids->y != NULL;
}

/* Context and choice side by side, the context's last white space being the choice's. On text the
 * context's last id is not x but the cue. n_y 0: the choice has no tokens. */
static int open_choice(dual_ctx *c, const loaded_run *loaded, const char *context,
                       const char *choice, example *e) {
    const size_t on_text = run_on_text(&loaded->r.set) != 0, length = strlen(context);
    id_pair ids = {NULL, NULL, 0, 0};
    char *joined = room_for(c, length + strlen(choice) + 1, 1);
    if (joined) {
        strcpy(joined, context);
        strcpy(joined + length, choice);
    }
    if (joined && encode_pair(c, &loaded->task, joined, without_end(context), &ids)) {
        if (on_text && !ids.n_x) ids.x[ids.n_x++] = loaded->task.end;     /* nothing before it */
        e->n_x = ids.n_x - on_text;
        e->n_y = ids.n_y;
        e->packed = room_for(c, ids.n_x + ids.n_y, sizeof *e->packed);
    }
    if (e->packed) {
        e->x = e->packed;
        e->y = e->packed + ids.n_x;
        memcpy(e->packed, ids.x, ids.n_x * sizeof *ids.x);
        memcpy(e->packed + ids.n_x, ids.y, ids.n_y * sizeof *ids.y);
    }
    free(joined);
    free(ids.x);
    free(ids.y);
    return e->packed != NULL;
}

/* Cuts a row's contexts to what fits `room`, all alike. 0: not even without any context. */
static int fit_row(example *e, size_t n, size_t room, size_t *cut) {
    size_t shortest = SIZE_MAX;
    *cut = 0;
    for (size_t k = 0; k < n; k++) {
        const size_t needed = e[k].n_x + e[k].n_y;
        if (needed > room && needed - room > *cut) *cut = needed - room;
        if (e[k].n_x < shortest) shortest = e[k].n_x;
    }
    if (*cut && *cut >= shortest) return 0;
    for (size_t k = 0; k < n; k++) {
        e[k].x += *cut;
        e[k].n_x -= *cut;
    }
    return 1;
}

/* Adds one row behind those that fit. */
static int open_row(dual_ctx *c, const loaded_run *loaded, const task_row *row, choice_set *set) {
    const size_t n = row->n_steps / 2;
    example *e = &set->choice[set->begin[set->n]], *most = &set->longest[set->n];
    size_t cut;
    int has_tokens = 1;
    for (size_t k = 0; k < n; k++) {
        const char *context = task_step(row, 2 * k), *choice = task_step(row, 2 * k + 1);
        if (!open_choice(c, loaded, context, choice, &e[k])) return 0;
        e[k].row = *row;
        has_tokens = has_tokens && e[k].n_y > 0;
    }
    if (!has_tokens || !fit_row(e, n, loaded_run_positions(loaded, 0), &cut)) {
        for (size_t k = 0; k < n; k++) free(e[k].packed);
        memset(e, 0, n * sizeof *e);
        set->left_out++;
        return 1;
    }
    set->cut += cut > 0;
    for (size_t k = 0; k < n; k++) {
        if (e[k].n_x > most->n_x) most->n_x = e[k].n_x;
        if (e[k].n_y > most->n_y) most->n_y = e[k].n_y;
    }
    set->n++;
    set->begin[set->n] = set->begin[set->n - 1] + n;
    return 1;
}

static int same_context(const example *a, const example *b) {
    return a->n_x == b->n_x && !memcmp(a->x, b->x, a->n_x * sizeof *a->x);
}

static size_t choices_of(const choice_set *set, size_t r) {
    return set->begin[r + 1] - set->begin[r];
}

static int share_a_context(const choice_set *set, size_t r, size_t s) {
    for (size_t a = set->begin[r]; a < set->begin[r + 1]; a++)
        for (size_t b = set->begin[s]; b < set->begin[s + 1]; b++)
            if (same_context(&set->choice[a], &set->choice[b])) return 1;
    return 0;
}

size_t choices_another_row(const choice_set *set, size_t r) {
    for (size_t i = 1; i < set->n; i++) {
        const size_t other = (r + i) % set->n;
        if (!share_a_context(set, r, other)) return other;
    }
    return r;
}

static int find_other_rows(dual_ctx *c, choice_set *set, const char *file) {
    set->other = room_for(c, set->n, sizeof *set->other);
    if (!set->other) return 0;
    for (size_t r = 0; r < set->n; r++) {
        set->other[r] = choices_another_row(set, r);
        if (set->other[r] == r)
            return dual_failed(c, "%s: --latents-from %s needs, for each row, another row "
                               "with a different context", file, ablation_name(set->ablation.from));
    }
    return 1;
}

int choices_open(dual_ctx *c, const loaded_run *loaded, const task_set *rows, size_t count,
                 const char *file, dual_ablation ablation, choice_set *set) {
    memset(set, 0, sizeof *set);
    set->ablation = ablation;
    for (size_t i = 0; i < count; i++) set->room += task_get(rows, i).n_steps / 2;
    set->choice = room_for(c, set->room, sizeof *set->choice);
    set->likelihood = room_for(c, set->room, sizeof *set->likelihood);
    set->begin = room_for(c, count + 1, sizeof *set->begin);
    set->longest = room_for(c, count, sizeof *set->longest);
    int ok = set->choice && set->likelihood && set->begin && set->longest &&
             loaded_run_check_ablation(c, loaded, ablation);
    for (size_t i = 0; ok && i < count; i++) {
        const task_row row = task_get(rows, i);
        ok = open_row(c, loaded, &row, set);
    }
    if (ok && !set->n)
        ok = dual_failed(c, "%s: every row has a choice too long for the model, or without a "
                         "token", file);
    if (ok && ablation_mixes(ablation.from)) ok = find_other_rows(c, set, file);
    if (!ok) choices_close(set);
    return ok;
}

void choices_close(choice_set *set) {
    examples_free(set->choice, set->room);
    free(set->longest);
    free(set->begin);
    free(set->other);
    free(set->likelihood);
    memset(set, 0, sizeof *set);
}

/* ---- Likelihoods --------------------------------------------------------------------------- */

/* A group of a batch; likelihood NULL: it only lends its context's latents. */
typedef struct { const example *choice; double *likelihood; } query;
enum { LENDS, SCORED };

/* Choice k of row r; of a row with fewer choices the last one's context. */
static query query_of(const choice_set *set, size_t r, size_t k, int scored) {
    const size_t n = choices_of(set, r), i = set->begin[r] + (k < n ? k : n - 1);
    const query q = {&set->choice[i], scored && k < n ? &set->likelihood[i] : NULL};
    return q;
}

static void read_likelihoods(dual_ctx *c, const dual_tensor *logits, const query *list,
                             const dual_group *group, size_t n) {
    size_t row = 0;
    for (size_t i = 0; i < n; i++) {
        double *each = work_room(c, group[i].n_target, sizeof *each);
        row += log_likelihoods(logits, row, &group[i], each);
        for (size_t k = 0; k < group[i].n_target; k++) *list[i].likelihood += each[k];
        free(each);
    }
}

/* Neighbours with one context share it as one sequence, read once. */
static void run_queries(dual_ctx *c, loaded_run *loaded, dual_ablation ablation, const query *list,
                        size_t n) {
    const dual_mark start = dual_mark_here(c);
    dual_exchange e = loaded_run_exchange(c, loaded);
    dual_group *group = work_room(c, n, sizeof *group);
    const int32_t **text = work_room(c, n, sizeof *text);
    size_t *length = work_room(c, n, sizeof *length);
    dual_batch b;
    dual_outcome out;
    memset(&b, 0, sizeof b);
    for (size_t i = 0; i < n; i++) {
        const example *x = list[i].choice;
        if (!i || !same_context(x, list[i - 1].choice)) {
            text[b.n_sequences] = x->x;
            length[b.n_sequences] = x->n_x;
            b.n_sequences++;
        }
        if (run_on_text(&loaded->r.set))
            run_text_group(x->x, b.n_sequences - 1, x->n_x, x->n_y, &group[i]);
        else run_answer_group(&loaded->task, x, b.n_sequences - 1, &group[i]);
        if (!list[i].likelihood) group[i].n_target = 0;
    }
    b.n_groups = n;
    b.text = text;
    b.length = length;
    b.group = group;
    b.ablation = ablation;
    dual_run(c, &e, &b, &out);
    if (c->memory) read_likelihoods(c, out.logits, list, group, n);
    dual_release(c, start);
    free(group);
    free((void *)text);
    free(length);
}

/* One choice of each of `count` rows. Swapped latents are the next group's: so behind a row stands
 * the row that lends its latents, without a likelihood, unless it is the next row itself. */
static size_t query_across(const choice_set *set, size_t first, size_t count, size_t k,
                           query *list) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t other = set->other[first + i], next = first + (i + 1) % count;
        list[n++] = query_of(set, first + i, k, SCORED);
        if (set->ablation.from == DUAL_SWAPPED && other != next)
            list[n++] = query_of(set, other, k, LENDS);
    }
    return n;
}

/* Where latents come from other rows, a batch is one choice of each of many rows: its mean counts
 * every row once, and all choices of a row get the latents of the same other row. */
static void score_across(dual_ctx *c, loaded_run *loaded, choice_set *set, query *list) {
    const size_t vocab = loaded->r.shape.vocab;
    for (size_t first = 0, count; first < set->n; first += count) {
        size_t most = 0;
        count = run_prompts_count(set->longest + first, set->n - first, vocab, 0);
        for (size_t i = 0; i < count; i++)
            if (choices_of(set, first + i) > most) most = choices_of(set, first + i);
        for (size_t k = 0; k < most; k++)
            run_queries(c, loaded, set->ablation, list, query_across(set, first, count, k, list));
    }
}

static int choices_work(dual_ctx *c, loaded_run *loaded, void *job) {
    choice_set *set = job;
    query *list = work_room(c, set->begin[set->n] + 2 * PROMPTS_MAX, sizeof *list);
    c->inference = 1;
    if (set->other) score_across(c, loaded, set, list);
    for (size_t r = 0; !set->other && r < set->n; r++) {       /* a row's choices are one batch */
        for (size_t k = 0; k < choices_of(set, r); k++) list[k] = query_of(set, r, k, SCORED);
        run_queries(c, loaded, set->ablation, list, choices_of(set, r));
    }
    free(list);
    return 1;
}

int choices_score(dual_ctx *c, loaded_run *loaded, choice_set *set) {
    return loaded_run_do(c, loaded, choices_work, set);
}

/* ---- Counting ------------------------------------------------------------------------------ */

static void apply_rules(const example *e, size_t i, double likelihood,
                        double score[CHOICE_RULES]) {
    const size_t bytes = bytes_of(task_step(&e->row, 2 * i), task_step(&e->row, 2 * i + 1));
    score[CHOICE_SUM] = likelihood;
    score[CHOICE_PER_BYTE] = likelihood / (double)bytes;
    score[CHOICE_PER_TOKEN] = likelihood / (double)e->n_y;
}

choices_result choices_count(const choice_set *set) {
    choices_result out;
    double targets = 0;
    memset(&out, 0, sizeof out);
    for (size_t r = 0; r < set->n; r++) {
        const example *e = &set->choice[set->begin[r]];
        const double *likelihood = &set->likelihood[set->begin[r]];
        const size_t n = choices_of(set, r);
        const size_t right = (size_t)strtoul(e->row.answer, NULL, 10);
        size_t best[CHOICE_RULES] = {0};
        double top[CHOICE_RULES] = {0}, score[CHOICE_RULES];
        for (size_t i = 0; i < n; i++) {
            apply_rules(&e[i], i, likelihood[i], score);
            for (int k = 0; k < CHOICE_RULES; k++)
                if (!i || score[k] > top[k]) {
                    top[k] = score[k];
                    best[k] = i;
                }
        }
        for (int k = 0; k < CHOICE_RULES; k++) tally_add(&out.hit[k], best[k] == right);
        out.chance += 1 / (double)n;
        out.loss -= likelihood[right];
        targets += (double)e[right].n_y;
    }
    out.chance /= (double)set->n;
    out.loss /= targets;
    return out;
}
