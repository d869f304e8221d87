/* report.c: see report.h. */
#include "report.h"
#include <math.h>
#include <string.h>

void report_tally(FILE *to, const char *label, tally t) {
    if (!t.of) return;
    const double percent = 100 * (double)t.hits / (double)t.of;
    fprintf(to, "%-32s %6.1f %%  [%5.1f, %5.1f]   %zu of %zu\n", label, percent,
            100 * tally_low(t), 100 * tally_high(t), t.hits, t.of);
}

void report_tally_json(json_writer *j, const char *key, tally t) {
    json_open(j, key, '{');
    json_number(j, "hits", (double)t.hits);
    json_number(j, "of", (double)t.of);
    json_number(j, "share", tally_share(t));
    json_number(j, "low", tally_low(t));
    json_number(j, "high", tally_high(t));
    json_close(j, '}');
}

/* ---- Tables -------------------------------------------------------------------------------- */

typedef char cell[16];

/* "-" where it does not apply. */
static const char *fill(cell out, const char *format, double x) {
    if (isfinite(x)) snprintf(out, sizeof(cell), format, x);
    else snprintf(out, sizeof(cell), "-");
    return out;
}

static const char *fill_human(cell out, double x) {
    if (isfinite(x)) run_human(x, out, sizeof(cell));
    else snprintf(out, sizeof(cell), "-");
    return out;
}

static const char *label_of(const comparison *k, const arm *a) {
    return k->entries[a->first].label;
}

static void accuracy_line(FILE *to, const comparison *k, const arm *a) {
    const dual_system *system = &k->entries[a->first].system;
    const double n = (double)k->problems.n, hits = a->number[ACCURACY] * n;
    const int same = system->latents && latents_are_fixed(system);
    char interval[24];
    cell swapped, loss, accuracy;
    snprintf(interval, sizeof interval, "[%5.1f, %5.1f]", 100 * wilson_low(hits, n),
             100 * wilson_high(hits, n));
    fill(swapped, "%.1f", 100 * a->number[SWAPPED]);
    fprintf(to, "%-11s %5zu %6.1f %s %7s %7s", label_of(k, a), a->n, 100 * a->number[ACCURACY],
            interval, same ? "=" : swapped, fill(loss, "%.4f", a->number[LOSS]));
    for (int quarter = 0; quarter < 4; quarter++)
        fprintf(to, " %5s", fill(accuracy, "%.1f", 100 * a->number[AT_25 + quarter]));
    fprintf(to, "\n");
}

static void cost_line(FILE *to, const comparison *k, const arm *a) {
    cell trained, passes, step, flops, h_off, floor, silhouette;
    fprintf(to, "%-11s %8s %6s %11s %9s %7s %7s %10s\n", label_of(k, a),
            fill_human(trained, a->number[TRAINED]), fill(passes, "%.0f", a->number[PASSES]),
            fill_human(step, a->number[STEP_FLOPS]), fill_human(flops, a->number[FLOPS]),
            fill(h_off, "%.4f", a->number[H_OFF]), fill(floor, "%.3f", a->number[FLOOR]),
            fill(silhouette, "%+.3f", a->number[SILHOUETTE]));
}

static void contrast_lines(FILE *to, const comparison *k) {
    int lines = 0;
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        const contrast *about = &CONTRASTS[i];
        contrast_result r;
        if (!test_contrast(k, about, &r)) continue;
        if (!lines) fprintf(to, "\n%-21s %-22s points, 95 %%\n", "", "");
        lines++;
        fprintf(to, "%-21s %-22s %+5.1f +- %-4.1f %s (%zu seed%s)\n", about->claim, about->formula,
                r.points, (r.high - r.low) / 2, r.verdict, r.seeds, r.seeds == 1 ? "" : "s");
    }
}

static void warning_line(void *to, const char *line) { fprintf(to, "warning: %s\n", line); }

void report_comparison(FILE *to, const comparison *k) {
    const arm *end = k->arms + k->n_arms;
    char problems[RUN_PATH + 120];
    problems_title(&k->problems, problems, sizeof problems);
    fprintf(to, "%s, the same for all; accuracies in %%\n%s\n", problems,
            problems_note(&k->problems));
    fprintf(to, "%-11s seeds  right    95 %%        swapped    loss at 25    50    75   100\n", "");
    for (const arm *a = k->arms; a < end; a++) accuracy_line(to, k, a);
    if (k->kind == TASK_COUNTDOWN)
        fprintf(to, "\nRandom expressions are right in %.1f %%.\n", 100 * k->floor);
    fprintf(to, "\nswapped: with latents of another problem; =: they do not depend on it.\n"
            "at 25 ..: after so many %% of the steps, on the problems scored while training.\n\n");
    fprintf(to, "%-11s %8s %6s %11s %9s %7s %7s %10s\n", "", "trained", "passes", "FLOPs/step",
            "FLOPs", "H_off", "floor", "silhouette");
    for (const arm *a = k->arms; a < end; a++) cost_line(to, k, a);
    fprintf(to, "\nFLOPs: of the run's own training, without what made the Base it started from.\n"
            "floor: H_off of unrelated directions.\n");
    contrast_lines(to, k);
    fprintf(to, "\n");
    comparison_warnings(k, warning_line, to);
    if (!k->has_base) fprintf(to, "warning: the untouched Base was not found; add its run\n");
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void numbers_json(json_writer *j, const double *number) {
    for (int x = 0; x < NUMBERS; x++) json_number(j, NUMBER_NAMES[x], number[x]);
}

static void arm_json(json_writer *j, const comparison *k, const arm *a) {
    const run_entry *first = &k->entries[a->first];
    const double n = (double)k->problems.n, hits = a->number[ACCURACY] * n;
    json_open(j, NULL, '{');
    json_text(j, "name", first->label);
    json_number(j, "seeds", (double)a->n);
    json_number(j, "latents", (double)first->system.latents);
    numbers_json(j, a->number);
    json_number(j, "accuracy_low", wilson_low(hits, n));
    json_number(j, "accuracy_high", wilson_high(hits, n));
    json_open(j, "runs", '[');
    for (const run_entry *e = first; e < first + a->n; e++) {
        json_open(j, NULL, '{');
        json_text(j, "run", e->folder);
        json_number(j, "seed", (double)e->set.seed);
        json_number(j, "step", (double)e->step);
        numbers_json(j, e->number);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void contrast_json(json_writer *j, const contrast *about, const contrast_result *r) {
    json_open(j, NULL, '{');
    json_text(j, "claim", about->claim + strspn(about->claim, " "));
    json_text(j, "formula", about->formula);
    json_number(j, "points", r->points);
    json_number(j, "low", r->low);
    json_number(j, "high", r->high);
    json_number(j, "seeds", (double)r->seeds);
    json_number(j, "seeds_of_this_sign", (double)r->agree);
    json_text(j, "verdict", r->verdict);
    json_close(j, '}');
}

static void warning_json(void *j, const char *line) { json_text(j, NULL, line); }

void report_comparison_json(FILE *to, const comparison *k) {
    json_writer j = json_begin(to);
    json_open(&j, NULL, '{');
    json_text(&j, "command", "compare");
    json_text(&j, "problems", k->problems.source);
    json_number(&j, "count", (double)k->problems.n);
    json_number(&j, "of", k->problems.all.problems);
    if (k->kind == TASK_COUNTDOWN) json_number(&j, "random_expression", k->floor);
    json_open(&j, "arms", '[');
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) arm_json(&j, k, a);
    json_close(&j, ']');
    json_open(&j, "sentences", '[');
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        contrast_result r;
        if (test_contrast(k, &CONTRASTS[i], &r)) contrast_json(&j, &CONTRASTS[i], &r);
    }
    json_close(&j, ']');
    json_open(&j, "warnings", '[');
    comparison_warnings(k, warning_json, &j);
    json_close(&j, ']');
    json_close(&j, '}');
}
