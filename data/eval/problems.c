/* problems.c: see problems.h. */
#include "problems.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRESH_SEED = 20260102, PLACES_SEED = 20260105 };

static int read_rows(dual_ctx *c, const loaded_run *loaded, countdown_split split, const char *file,
                     problem_set *rows) {
    char error[300];
    rows->at = run_test_set(&loaded->r.set, &loaded->task, loaded->stage, (int)split, file,
                            &rows->n, &rows->all, rows->report, sizeof rows->report, error,
                            sizeof error);
    if (!rows->at) {
        rows->n = 0;
        *rows->report = 0;
        return dual_failed(c, "%s%s", error, *file ? "" : " with --data");
    }
    if (!*file) return 1;
    if (run_fit_examples(&loaded->r.set, file, rows->at, &rows->n, loaded_run_positions(loaded, 0),
                         rows->report, sizeof rows->report, error, sizeof error))
        return 1;
    *rows->report = 0;                 /* the failure says it */
    problems_free(rows);
    return dual_failed(c, "%s", error);
}

int problems_read(dual_ctx *c, const loaded_run *loaded, countdown_split split, const char *file,
                  size_t count, problem_set *rows) {
    memset(rows, 0, sizeof *rows);
    rows->n = count;
    rows->from_split = !*file;
    if (*file) snprintf(rows->source, sizeof rows->source, "problems of %s", file);
    else snprintf(rows->source, sizeof rows->source, "%s problems", countdown_split_name(split));
    return read_rows(c, loaded, split, file, rows);
}

static int are_all(const problem_set *rows) {
    const double all = rows->all.problems;
    return all > 0 && rows->all.known == SPLIT_HAS && (double)rows->n >= all;
}

const char *problems_note(const problem_set *rows) {
    if (!rows->from_split || !are_all(rows)) return "";
    return "(The whole split: an accuracy is exact for these problems. Its interval speaks of the\n"
           "population they stand for, all problems from which such a split is made.)\n";
}

void problems_title(const problem_set *rows, char *out, size_t size) {
    char all[40];
    task_population_print(rows->all, all);
    if (are_all(rows)) snprintf(out, size, "all %s %s", all, rows->source);
    else if (!(rows->all.problems > 0)) snprintf(out, size, "%zu %s", rows->n, rows->source);
    else snprintf(out, size, "%zu of %s %s", rows->n, all, rows->source);
}

void problems_free(problem_set *rows) {
    if (rows->at) examples_free(rows->at, rows->n);
    rows->at = NULL;
    rows->n = 0;
}

int problems_check(dual_ctx *c, loaded_run *loaded, const example *rows, size_t n,
                   const char *source, dual_ablation ablation) {
    const dual_exchange e = loaded_run_exchange(c, loaded);
    for (size_t i = 0; i < n; i++) {
        char error[sizeof c->error];
        run_prompts p;
        run_prompts_fill(&p, &loaded->task, &rows[i], 1, WITH_TARGETS);
        p.batch.ablation = ablation;
        if (dual_batch_check(c, &e, &p.batch)) continue;
        memcpy(error, c->error, sizeof error);
        return dual_failed(c, "%s, row %zu: %s", source, i + 1, error);
    }
    return 1;
}

/* ---- Text ---------------------------------------------------------------------------------- */

int32_t *text_ids(dual_ctx *c, const run_task *task, const char *text, size_t *n) {
    char error[300];
    const size_t length = strlen(text), most = 3 * length + 1;     /* NFC makes some text longer */
    int32_t *ids = room_for(c, most + 1, sizeof *ids);
    if (!ids) return NULL;
    *n = tokenizer_encode(task->tokens, text, length, PLAIN_TEXT, ids, most, error, sizeof error);
    if (*n != SIZE_MAX) return ids;
    free(ids);
    dual_failed(c, "%s", error);
    return NULL;
}

int text_open(dual_ctx *c, const loaded_run *loaded, const run_settings *how, const char *file,
              text_source *text) {
    char error[300];
    memset(text, 0, sizeof *text);
    text->held_out = !*file && !*how->valid;       /* with --valid all of --data was trained on */
    if (!*file) file = text->held_out ? how->data : how->valid;
    snprintf(text->name, sizeof text->name, "%s", file);
    if (run_text_open(how, &loaded->task, file, text->held_out, &text->ids, &text->first,
                      text->report, sizeof text->report, error, sizeof error))
        return 1;
    text->ids.at = NULL;               /* freed where it failed */
    *text->report = 0;
    return dual_failed(c, "%s", error);
}

/* Text up to a random place of each sequence; each has a copy of its own. The token at the place is
 * the cue. */
static int cut_text(dual_ctx *c, const run_settings *how, const text_source *text, size_t count,
                    problem_set *rows) {
    const size_t length = run_sequence(how), all = (text->ids.used - text->first) / length;
    if (count > all) count = all;
    if (count < 2)
        return dual_failed(c, "%s: %zu sequences of %zu tokens, expected at least 2; another "
                           "text: --data", text->name, all, length);
    rows->at = room_for(c, count, sizeof *rows->at);
    for (; rows->at && rows->n < count; rows->n++) {
        const int32_t *sequence = text->ids.at + text->first + rows->n * length;
        example *row = &rows->at[rows->n];
        size_t place;
        run_group_places(how, rows->n, &place);
        row->packed = room_for(c, place + 1, sizeof *row->packed);
        if (!row->packed) break;
        memcpy(row->packed, sequence, (place + 1) * sizeof *row->packed);
        row->x = row->packed;
        row->n_x = place + 1;
    }
    if (rows->n == count) return 1;
    problems_free(rows);
    return 0;
}

static int fresh_text(dual_ctx *c, const loaded_run *loaded, const char *file, size_t count,
                      problem_set *rows) {
    run_settings how = loaded->r.set;
    text_source text;
    snprintf(how.objective, sizeof how.objective, "pretrain");
    how.seed = PLACES_SEED;
    how.groups = how.ahead = 1;
    if (!text_open(c, loaded, &how, file, &text)) return 0;
    snprintf(rows->report, sizeof rows->report, "%s", text.report);
    const int ok = cut_text(c, &how, &text, count, rows);
    free(text.ids.at);
    return ok;
}

/* ---- Fresh prompts ------------------------------------------------------------------------- */

static int fresh_problem(dual_ctx *c, const loaded_run *loaded, const countdown_options *o,
                         dual_rng *rng, task_set *set, example *out) {
    char error[300] = "";
    countdown_problem p;
    set->used = set->open = set->count = 0;
    if (!countdown_draw(o, rng, &p)) return dual_failed(c, "these options leave no test problem");
    if (!countdown_put(&p, set)) return dual_failed(c, "out of memory for a problem");
    const task_row row = task_get(set, 0);
    if (run_example(&loaded->r.set, &loaded->task, loaded->stage, &row, out, error, sizeof error))
        return 1;
    return dual_failed(c, "%s", error);
}

int problems_fresh(dual_ctx *c, const loaded_run *loaded, const char *file, size_t count,
               problem_set *rows) {
    memset(rows, 0, sizeof *rows);
    snprintf(rows->source, sizeof rows->source, "fresh prompts");
    if (loaded->task.kind == TASK_TEXT) return fresh_text(c, loaded, file, count, rows);
    if (*file || loaded->task.kind != TASK_COUNTDOWN) {
        rows->n = count;
        return read_rows(c, loaded, COUNTDOWN_TEST, file, rows);
    }
    countdown_options o = loaded->task.countdown;
    dual_rng rng = dual_rng_seed(FRESH_SEED, 0);
    task_set set;
    o.split = COUNTDOWN_TEST;
    memset(&set, 0, sizeof set);
    rows->at = room_for(c, count, sizeof *rows->at);
    while (rows->at && rows->n < count &&
           fresh_problem(c, loaded, &o, &rng, &set, &rows->at[rows->n]))
        rows->n++;
    task_free(&set);
    if (rows->n == count && rows->at) return 1;
    problems_free(rows);
    return 0;
}
