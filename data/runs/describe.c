/* describe.c: see describe.h. */
#include "describe.h"
#include <stdio.h>
#include <string.h>

enum { GENERATED = 2000, STEPS_MOST = 8, ROWS_SHOWN = 3 };

/* Of n generated problems. */
static int measure_generated(const run_settings *set, const run_task *t, prosqa_stats *s) {
    dual_rng rng = dual_rng_seed(set->seed, 0);
    task_set rows;
    int ok = 1;
    memset(s, 0, sizeof *s);
    memset(&rows, 0, sizeof rows);
    for (size_t i = 0; ok && i < GENERATED; i++) {
        prosqa_graph g;
        rows.used = rows.open = rows.count = 0;
        ok = prosqa_draw(&t->prosqa, PROSQA_TRAIN, &rng, &g, &rows);
        if (!ok) break;
        const task_row row = task_get(&rows, 0);
        prosqa_measure(s, &g, &row);
    }
    task_free(&rows);
    return ok;
}

static int describe_graphs(const run_settings *set, const run_task *t, note *n, char *error,
                           size_t size) {
    prosqa_stats s;
    char report[4000];
    if (*set->data) {
        if (!prosqa_measure_file(&s, set->data, error, size)) return 0;
    } else if (!measure_generated(set, t, &s)) {
        snprintf(error, size, "no problem can be drawn with these options");
        return 0;
    }
    prosqa_report(&s, report, sizeof report);
    note_add(n, "%s", report);
    return 1;
}

static void describe_lengths(const run_settings *set, const run_task *t, const example *rows,
                             size_t n_rows, note *n) {
    size_t most = 0, least = SIZE_MAX, steps[STEPS_MOST + 1] = {0};
    double x = 0, y = 0, answers = 0;
    const double r = (double)n_rows;
    for (size_t i = 0; i < n_rows; i++) {
        const size_t n_steps = rows[i].row.n_steps;
        x += (double)rows[i].n_x / r;
        y += (double)rows[i].n_y / r;
        answers += (double)run_count_tokens(t, rows[i].row.answer) / r;
        steps[n_steps < STEPS_MOST ? n_steps : STEPS_MOST]++;
        if (rows[i].n_x > most) most = rows[i].n_x;
        if (rows[i].n_x < least) least = rows[i].n_x;
    }
    note_add(n, "%zu rows, %s; tokens (%s): question %.1f (%zu..%zu), steps and answer %.1f, "
             "answer %.1f\nsteps in a row:", n_rows, *set->data ? set->data : "generated",
             run_tokenizer_name(t), x, least, most, y, answers);
    for (size_t i = 0; i <= STEPS_MOST; i++)
        if (steps[i])
            note_add(n, " %zu%s: %.3f", i, i == STEPS_MOST ? "+" : "", (double)steps[i] / r);
    note_add(n, "\n");
}

static void show_row(const task_row *row, size_t number, note *n) {
    note_add(n, "\nrow %zu\n  question  %s\n", number, row->question);
    for (size_t i = 0; i < row->n_steps; i++) note_add(n, "  step      %s\n", task_step(row, i));
    if (*row->answer) note_add(n, "  answer    %s\n", row->answer);
}

int run_describe_rows(const run_settings *set, const run_task *t, note *n, note *left_out,
                      char *error, size_t size) {
    run_settings all = *set;
    size_t n_rows = *set->data ? SIZE_MAX : GENERATED;
    char report[4000];
    if (t->kind == TASK_TEXT) {
        snprintf(error, size, "--describe: for tasks with rows, not for text");
        return 0;
    }
    if (t->kind == TASK_PROSQA && !describe_graphs(set, t, n, error, size)) return 0;
    snprintf(all.steps_shown, sizeof all.steps_shown, "all");
    example *rows = run_test_set(&all, t, 0, COUNTDOWN_TRAIN, all.data, &n_rows, NULL, report,
                                 sizeof report, error, size);
    if (!rows) return 0;
    note_add(left_out, "%s", report);
    describe_lengths(set, t, rows, n_rows, n);
    for (size_t i = 0; i < n_rows && i < ROWS_SHOWN; i++) show_row(&rows[i].row, i + 1, n);
    examples_free(rows, n_rows);
    return 1;
}
