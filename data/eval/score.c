/* score.c: see score.h. */
#include "score.h"
#include "answers.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tallies ------------------------------------------------------------------------------- */

void tally_add(tally *t, int hit) {
    t->hits += hit != 0;
    t->of++;
}

double tally_share(tally t) { return t.of ? (double)t.hits / (double)t.of : NAN; }

double tally_low(tally t) { return t.of ? wilson_low((double)t.hits, (double)t.of) : NAN; }

double tally_high(tally t) { return t.of ? wilson_high((double)t.hits, (double)t.of) : NAN; }

void score_count(score_tallies *t, task_kind kind, const example *rows, const answer *answers,
                 size_t n, const unsigned char *seen) {
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        const answer *a = &answers[i];
        const size_t steps = task_steps(kind, &rows[i].row);
        const int hit = a->verdict == 0;
        tally_add(&t->all, hit);
        tally_add(&t->by_steps[steps < STEPS_SHOWN ? steps : STEPS_SHOWN - 1], hit);
        tally_add(&t->no_end, !a->ended);
        if (!seen[i]) tally_add(&t->unseen, hit);
        if (kind == TASK_COUNTDOWN) {
            tally_add(a->simple ? &t->simple : &t->other, hit);
            tally_add(&t->once, a->each_once);
        }
        if (kind == TASK_PROSQA)
            tally_add(&t->option,
                      a->verdict == PROSQA_CORRECT || a->verdict == PROSQA_RIGHT_OPTION);
        t->verdict[a->verdict]++;
    }
}

/* ---- Which rows training can have seen ----------------------------------------------------- */

static void seen_generated(const loaded_run *loaded, const problem_set *rows, unsigned char *seen,
                           char *how, size_t size) {
    const run_settings *set = &loaded->r.set;
    countdown_options o = loaded->task.countdown;
    o.split = COUNTDOWN_TRAIN;
    if (loaded->task.kind != TASK_COUNTDOWN) {
        snprintf(how, size, "it was trained on generated problems, which meet a given one by "
                 "chance only");
        return;
    }
    for (size_t i = 0; i < rows->n; i++) {
        countdown_problem p;
        /* a Base's text has numbers and targets that no expression need join */
        seen[i] = countdown_parse(rows->at[i].row.question, &p) &&
                  (run_on_text(set) ? countdown_in_range(&o, &p) : countdown_can_draw(&o, &p));
    }
    snprintf(how, size, "it was trained on generated problems: the train split of --numbers %s "
             "--range %s --targets %s", set->numbers, set->range, set->targets);
}

static int seen_in_file(dual_ctx *c, task_kind kind, const char *file, const problem_set *rows,
                        unsigned char *seen, char *how, size_t size) {
    char error[300];
    task_set train;
    if (!task_read(kind, file, 1, &train, error, sizeof error)) {
        snprintf(how, size, "unknown: the file it was trained on cannot be read: %s", error);
        return 1;
    }
    snprintf(how, size, "it was trained on %s", file);
    task_row *test = room_for(c, rows->n, sizeof *test);
    int ok = test != NULL;
    for (size_t i = 0; ok && i < rows->n; i++) test[i] = rows->at[i].row;
    if (ok && task_overlap(kind, test, rows->n, &train, seen) == SIZE_MAX)
        ok = dual_failed(c, "out of memory for %zu problems", train.count);
    free(test);
    task_free(&train);
    return ok;
}

/* ---- Scoring ------------------------------------------------------------------------------- */

int score_answers(dual_ctx *c, loaded_run *loaded, const example *rows, size_t n,
                  const char *source, const score_options *how, answer *answers, double *loss) {
    const int counting = !c->memory;
    if (counting && !problems_check(c, loaded, rows, n, source, how->ablation)) return 0;
    dual_exchange e = loaded_run_exchange(c, loaded);
    run_score(c, &e, &loaded->task, rows, n, how->ablation, how->temperature, how->seed,
              how->max_new, answers, loss);
    return 1;
}

typedef struct {
    const problem_set *rows;
    const score_options *how;
    score_result *out;
} score_job;

enum { SAMPLE_STREAM = 9000 };

/* Of sample s: the first has the seed that was given. */
static uint64_t sample_seed(uint64_t seed, size_t s) {
    dual_rng rng = dual_rng_seed(seed, SAMPLE_STREAM + s);
    return s ? dual_rng_next(&rng) : seed;
}

static int score_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const score_job *j = job;
    const example *rows = j->rows->at;
    const size_t n = j->rows->n, samples = c->memory ? j->how->samples : 1;
    score_result *out = j->out;
    for (size_t s = 0; s < samples; s++) {
        score_options how = *j->how;
        how.seed = sample_seed(how.seed, s);
        if (!score_answers(c, loaded, rows, n, j->rows->source, &how, out->answers + s * n,
                           s ? NULL : &out->loss))
            return 0;
        if (out->likelihood)
            answers_likelihood(c, loaded, rows, n, how.ablation, how.seed, how.max_new,
                               out->answers + s * n, out->likelihood + s * n);
    }
    return 1;
}

/* Room for all answers and their tokens. */
static int make_room(dual_ctx *c, size_t n, const score_options *how, score_result *out) {
    const size_t all = n * how->samples;
    out->answers = room_for(c, all, sizeof *out->answers);
    if (out->answers) out->tokens = room_for(c, all * how->max_new, sizeof *out->tokens);
    if (out->tokens && how->likelihood)
        out->likelihood = room_for(c, all, sizeof *out->likelihood);
    for (size_t i = 0; out->tokens && i < all; i++)
        out->answers[i].tokens = out->tokens + i * how->max_new;
    return out->tokens && (out->likelihood || !how->likelihood);
}

int score_run(dual_ctx *c, loaded_run *loaded, const problem_set *rows, const score_options *how,
              score_result *out) {
    const task_kind kind = loaded->task.kind;
    const char *file = loaded->r.set.data;
    unsigned char *seen = room_for(c, rows->n, 1);
    score_job job = {rows, how, out};
    memset(out, 0, sizeof *out);
    int ok = seen && make_room(c, rows->n, how, out) &&
             loaded_run_check_ablation(c, loaded, how->ablation) &&
             loaded_run_do(c, loaded, score_work, &job);
    if (ok && !*file) seen_generated(loaded, rows, seen, out->seen_how, sizeof out->seen_how);
    else if (ok)
        ok = seen_in_file(c, kind, file, rows, seen, out->seen_how, sizeof out->seen_how);
    if (ok) score_count(&out->count, kind, rows->at, out->answers, rows->n, seen);
    free(seen);
    if (!ok) score_free(out);
    return ok;
}

void score_free(score_result *out) {
    free(out->answers);
    free(out->likelihood);
    free(out->tokens);
    out->answers = NULL;
    out->likelihood = NULL;
    out->tokens = NULL;
}
