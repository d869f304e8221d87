/* report.c: see report.h. */
#include "report.h"
#include "../runs/cli.h"
#include <math.h>
#include <string.h>

void report_tally(FILE *to, const char *label, tally t) {
    if (!t.of) return;
    const double percent = 100 * (double)t.hits / (double)t.of;
    fprintf(to, "%-32s %6.1f %%  [%5.1f, %5.1f]   %zu of %zu\n", label, percent,
            100 * tally_low(t), 100 * tally_high(t), t.hits, t.of);
}

/* Every share looks like this; NaN, which is written null: not known. */
static void share_json(json_writer *j, const char *key, double hits, double of, double share,
                       double low, double high) {
    json_open(j, key, '{');
    json_number(j, "hits", hits);
    json_number(j, "of", of);
    json_number(j, "share", share);
    json_number(j, "low", low);
    json_number(j, "high", high);
    json_close(j, '}');
}

void report_tally_json(json_writer *j, const char *key, tally t) {
    share_json(j, key, (double)t.hits, (double)t.of, tally_share(t), tally_low(t), tally_high(t));
}

void report_mean(FILE *to, const char *label, double share, size_t problems) {
    const double n = (double)problems, hits = share * n;
    fprintf(to, "%-32s %6.1f %%  [%5.1f, %5.1f]\n", label, 100 * share, 100 * wilson_low(hits, n),
            100 * wilson_high(hits, n));
}

void report_mean_json(json_writer *j, const char *key, double hits, double of, double share,
                      size_t problems) {
    const double n = (double)problems;
    share_json(j, key, hits, of, share, wilson_low(share * n, n), wilson_high(share * n, n));
}

/* ---- What every document begins with --------------------------------------------------------- */

void report_key(const char *name, char *out, size_t size) {
    snprintf(out, size, "%s", name);
    for (; *out; out++)
        if (*out == ' ' || *out == '-') *out = '_';
}

static void option_json(json_writer *j, const option *o, const void *settings) {
    const char *at = (const char *)settings + o->offset, *argument;
    char key[40];
    report_key(o->name, key, sizeof key);
    switch (o->kind) {
    case OPTION_TEXT:
        json_text(j, key, at);
        break;
    case OPTION_ARGUMENT:
        memcpy(&argument, at, sizeof argument);
        if (argument) json_text(j, key, argument);
        else json_number(j, key, NAN);
        break;
    case OPTION_SIZE:
        json_number(j, key, (double)*(const size_t *)(const void *)at);
        break;
    case OPTION_REAL:
        json_number(j, key, *(const double *)(const void *)at);
        break;
    case OPTION_FLAG:
        json_flag(j, key, *(const int *)(const void *)at);
        break;
    }
}

json_writer report_begin(FILE *to, const char *command, const option *table,
                         const void *settings) {
    json_writer j = json_begin(to);
    double seed = NAN;
    json_open(&j, NULL, '{');
    json_number(&j, "version", REPORT_VERSION);
    json_text(&j, "program", "dual " CLI_VERSION);
    json_text(&j, "command", command);
    json_open(&j, "options", '{');
    for (const option *o = table; o->name; o++) {
        if (!*o->name || options_word(o->name, "help json threads") >= 0) continue;
        option_json(&j, o, settings);
        if (!strcmp(o->name, "seed"))
            seed = (double)*(const size_t *)(const void *)((const char *)settings + o->offset);
    }
    json_close(&j, '}');
    json_number(&j, "seed", seed);
    return j;
}

static void system_json(json_writer *j, const dual_system *s) {
    char label[400];
    run_describe_system(s, label, sizeof label);
    json_open(j, "system", '{');
    json_text(j, "label", label);
    json_text(j, "name", s->name);
    json_text(j, "inject", dual_injection_name(s->inject));
    json_flag(j, "base_trained", s->base_trained);
    json_number(j, "latents", s->inject == DUAL_NONE ? 0 : (double)s->latents);
    json_flag(j, "detach", s->detach);
    json_flag(j, "gain", s->gain);
    json_flag(j, "fused", s->fused);
    json_open(j, "kv_layers", '[');    /* none named: all */
    for (int l = 0; l < 64; l++)
        if (s->kv_layers >> l & 1) json_number(j, NULL, l);
    json_close(j, ']');
    json_number(j, "text_loss", s->text_loss);
    json_number(j, "orthogonality", s->orthogonality);
    json_flag(j, "orthogonality_centred", s->centred);
    json_flag(j, "orthogonality_of_values", s->values);
    json_close(j, '}');
}

void report_run_json(json_writer *j, const char *key, const char *folder, const run_settings *set,
                     const dual_system *system, uint64_t step) {
    const double stage = step ? (double)run_stage_of(set, step - 1) : 0;
    json_open(j, key, '{');
    json_text(j, "folder", folder);
    json_text(j, "task", set->task);
    json_text(j, "objective", set->objective);
    system_json(j, system);
    json_number(j, "seed", (double)set->seed);
    json_number(j, "step", (double)step);
    json_number(j, "steps", (double)set->steps);
    json_number(j, "stage", run_is_curriculum(set) ? stage : NAN);
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

/* The accuracies have the shape of every share: of n problems where it is known how many, with
 * Wilson's interval. Those on the way are of the log. */
static void numbers_json(json_writer *j, const double *number, size_t problems) {
    const double n = (double)problems;
    for (int x = 0; x < NUMBERS; x++) {
        const int counted = (x == ACCURACY || x == SWAPPED) && isfinite(number[x]);
        const int share = counted || x == SWAPPED || (x >= AT_25 && x <= AT_100);
        if (counted) report_mean_json(j, NUMBER_NAMES[x], number[x] * n, n, number[x], problems);
        else if (share) share_json(j, NUMBER_NAMES[x], NAN, NAN, number[x], NAN, NAN);
        else json_number(j, NUMBER_NAMES[x], number[x]);
    }
}

static void arm_json(json_writer *j, const comparison *k, const arm *a) {
    const run_entry *first = &k->entries[a->first];
    json_open(j, NULL, '{');
    json_text(j, "name", first->label);
    json_number(j, "seeds", (double)a->n);
    numbers_json(j, a->number, k->problems.n);
    json_open(j, "runs", '[');
    for (const run_entry *e = first; e < first + a->n; e++) {
        json_open(j, NULL, '{');
        report_run_json(j, "run", e->folder, &e->set, &e->system, e->step);
        numbers_json(j, e->number, k->problems.n);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void contrast_json(json_writer *j, const contrast *about, const contrast_result *r) {
    json_open(j, NULL, '{');
    json_text(j, "claim", about->claim + strspn(about->claim, " "));
    json_text(j, "formula", about->formula);
    json_open(j, "difference", '{');   /* of shares */
    json_number(j, "share", r->points / 100);
    json_number(j, "low", r->low / 100);
    json_number(j, "high", r->high / 100);
    json_close(j, '}');
    json_number(j, "seeds", (double)r->seeds);
    json_number(j, "seeds_of_this_sign", (double)r->agree);
    json_text(j, "verdict", r->verdict);
    json_close(j, '}');
}

static void warning_json(void *j, const char *line) { json_text(j, NULL, line); }

void report_comparison_json(json_writer *j, const comparison *k) {
    json_text(j, "problems", k->problems.source);
    json_number(j, "count", (double)k->problems.n);
    json_number(j, "of", k->problems.all.problems > 0 ? k->problems.all.problems : NAN);
    if (k->kind == TASK_COUNTDOWN)
        share_json(j, "accuracy_random_expressions", NAN, NAN, k->floor, NAN, NAN);
    json_open(j, "arms", '[');
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) arm_json(j, k, a);
    json_close(j, ']');
    json_open(j, "contrasts", '[');
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        contrast_result r;
        if (test_contrast(k, &CONTRASTS[i], &r)) contrast_json(j, &CONTRASTS[i], &r);
    }
    json_close(j, ']');
    json_open(j, "warnings", '[');
    comparison_warnings(k, warning_json, j);
    json_close(j, ']');
}
