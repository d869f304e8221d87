/* comparison_report.c: see comparison_report.h. */
#include "comparison_report.h"
#include "comparison_tables.h"
#include "doubts.h"
#include "families.h"
#include <math.h>
#include <string.h>

/* ---- Tables -------------------------------------------------------------------------------- */

static int print_findings(FILE *to, const finding *at, size_t n, const family *of, int is_pair,
                          int markdown) {
    table t = findings_table(at, n, of, is_pair);
    if (t.cells > t.columns) fprintf(to, "\n");
    return table_end(&t, to, markdown);
}

static int family_tables(FILE *to, const comparison *k, const family *f, int markdown) {
    table right = accuracy_table(k, f), cost = cost_table(k, f);
    const problem_group *g = &k->groups[k->entries[f->like].group];
    char problems[RUN_PATH + 120];
    problems_title(&g->problems, problems, sizeof problems);
    if (*f->title) fprintf(to, "%s%s: ", markdown ? "## " : "", f->title);
    fprintf(to, "%s, the same for all; accuracies in %%\n%s\n", problems,
            problems_note(&g->problems));
    int ok = table_end(&right, to, markdown);
    if (k->kind == TASK_COUNTDOWN)
        fprintf(to, "\nRandom expressions are right in %.1f %%.\n", 100 * g->floor);
    fprintf(to, "\n");
    ok &= table_end(&cost, to, markdown);
    return ok;
}

static void explain(FILE *to) {
    fprintf(to, "\n"
            "Intervals: over seeds and problems where `over` says so, else over problems alone;\n"
            "spread: standard deviation over seeds. swapped: with latents of another problem;\n"
            "=: they do not depend on it. at 25 ..: after so many %% of the steps, on the\n"
            "problems scored while training. FLOPs: of the run's own training, without what\n"
            "made the Base it started from. floor: H_off of unrelated directions.\n");
}

int report_comparison(dual_ctx *c, FILE *to, const comparison *k, const findings *all,
                      int markdown) {
    const family *end = k->families + k->n_families;
    int ok = 1;
    for (const family *f = k->families; f < end; f++) {
        if (f > k->families) fprintf(to, "\n");
        ok &= family_tables(to, k, f, markdown);
        ok &= print_findings(to, all->sentences, all->n_sentences, f, 0, markdown);
        ok &= print_findings(to, all->pairs, all->n_pairs, f, 1, markdown);
    }
    ok &= print_findings(to, all->pairs, all->n_pairs, NULL, 1, markdown);
    explain(to);
    if (all->n_sentences + all->n_pairs)
        fprintf(to, "A yes or no needs 5 seeds and a p below 0.05 after Holm's correction, "
                "over\nall sentences (%zu) or all pairs (%zu).\n", all->n_sentences,
                all->n_pairs);
    if (all->n_left_out) fprintf(to, "\n");
    for (size_t i = 0; i < all->n_left_out; i++)
        fprintf(to, "%sleft out: %s\n", markdown ? "- " : "", all->left_out[i]);
    return ok || dual_failed(c, "out of memory for a table");
}

static void warning_line(void *to, const char *line) { fprintf(to, "warning: %s\n", line); }

void report_warnings(FILE *to, const comparison *k) { comparison_warnings(k, warning_line, to); }

/* ---- CSV ----------------------------------------------------------------------------------- */

/* A cell behind another: with quotes, doubled within, where it holds what would end it. */
static void csv_text(FILE *to, const char *text) {
    const int plain = !strpbrk(text, ",\"\n\r");
    fputs(plain ? "," : ",\"", to);
    for (; *text; text++) {
        if (*text == '"') fputc('"', to);
        fputc(*text, to);
    }
    if (!plain) fputc('"', to);
}

static void csv_number(FILE *to, double x) {
    fputc(',', to);
    if (isfinite(x)) fprintf(to, "%.9g", x);
}

static void csv_numbers(FILE *to, const double *number) {
    for (int x = SWAPPED; x < NUMBERS; x++) csv_number(to, number ? number[x] : NAN);
}

static void csv_begin(FILE *to, const char *kind, const char *of, const char *name,
                      const char *claim) {
    fputs(kind, to);
    csv_text(to, of);
    csv_text(to, name);
    csv_text(to, claim);
}

static void csv_estimate(FILE *to, const estimate *e) {
    csv_number(to, (double)e->seeds);
    csv_number(to, (double)e->problems);
    csv_number(to, e->mean);
    csv_number(to, e->spread);
    csv_number(to, e->low);
    csv_number(to, e->high);
    csv_text(to, interval_over(e));
}

static void csv_run(FILE *to, const comparison *k, const char *of, const run_entry *e) {
    const double hits = e->number[ACCURACY], n = (double)k->groups[e->group].problems.n;
    const estimate one = {1, k->groups[e->group].problems.n, hits, wilson_low(hits * n, n),
                          wilson_high(hits * n, n), 0, NAN, NAN};
    csv_begin(to, "run", of, e->label, "");
    csv_estimate(to, &one);
    csv_numbers(to, e->number);
    fprintf(to, ",,,,,%zu", e->set.seed);
    csv_text(to, e->folder);
    fprintf(to, "\n");
}

static void csv_findings(FILE *to, const char *kind, const finding *at, size_t n) {
    for (const finding *f = at; f < at + n; f++) {
        csv_begin(to, kind, f->family ? f->family->title : "", f->formula,
                  f->claim + strspn(f->claim, " "));
        csv_estimate(to, &f->share);
        csv_numbers(to, NULL);
        csv_number(to, f->share.p);
        csv_number(to, f->corrected);
        csv_text(to, f->verdict);
        csv_text(to, f->why);
        fprintf(to, ",,\n");
    }
}

void report_comparison_csv(FILE *to, const comparison *k, const findings *all) {
    fprintf(to, "row,family,name,claim,seeds,problems,share,spread,low,high,over");
    for (int x = SWAPPED; x < NUMBERS; x++) fprintf(to, ",%s", NUMBER_NAMES[x]);
    fprintf(to, ",p,p_holm,verdict,why,seed,folder\n");
    for (const family *f = k->families; f < k->families + k->n_families; f++)
        for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
            if (!family_has(k, f, a)) continue;
            csv_begin(to, "arm", f->title, arm_first(k, a)->label, "");
            csv_estimate(to, &a->accuracy);
            csv_numbers(to, a->number);
            fprintf(to, ",,,,,,\n");
            for (size_t i = 0; i < a->n; i++) csv_run(to, k, f->title, arm_first(k, a) + i);
        }
    csv_findings(to, "sentence", all->sentences, all->n_sentences);
    csv_findings(to, "pair", all->pairs, all->n_pairs);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* The accuracies have the shape of every share: of n problems where it is known how many, with
 * their interval. Those on the way are of the log. */
static void numbers_json(json_writer *j, const double *number, const estimate *accuracy,
                         size_t problems) {
    const double n = (double)problems;
    report_share_json(j, NUMBER_NAMES[ACCURACY], number[ACCURACY] * n, n, number[ACCURACY],
                      accuracy->low, accuracy->high);
    for (int x = SWAPPED; x < NUMBERS; x++) {
        const int counted = x == SWAPPED && isfinite(number[x]);
        const int share = x == SWAPPED || (x >= AT_25 && x <= AT_100);
        if (counted) report_mean_json(j, NUMBER_NAMES[x], number[x] * n, n, number[x], problems);
        else if (share) report_share_json(j, NUMBER_NAMES[x], NAN, NAN, number[x], NAN, NAN);
        else json_number(j, NUMBER_NAMES[x], number[x]);
    }
}

static void arm_json(json_writer *j, const comparison *k, const arm *a) {
    const run_entry *first = arm_first(k, a);
    const size_t problems = comparison_problems(k, a)->n;
    json_open(j, NULL, '{');
    json_text(j, "name", first->label);
    json_text(j, "system", first->name);
    json_number(j, "seeds", (double)a->n);
    json_number(j, "spread", a->accuracy.spread);
    json_text(j, "interval_over", interval_over(&a->accuracy));
    numbers_json(j, a->number, &a->accuracy, problems);
    json_open(j, "runs", '[');
    for (const run_entry *e = first; e < first + a->n; e++) {
        const double n = (double)problems, hits = e->number[ACCURACY] * n;
        estimate one;
        memset(&one, 0, sizeof one);
        one.low = wilson_low(hits, n);
        one.high = wilson_high(hits, n);
        json_open(j, NULL, '{');
        report_run_json(j, "run", e->folder, &e->set, &e->system, e->step);
        numbers_json(j, e->number, &one, problems);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void finding_json(json_writer *j, const finding *f) {
    json_open(j, NULL, '{');
    if (*f->claim) json_text(j, "claim", f->claim + strspn(f->claim, " "));
    json_text(j, "formula", f->formula);
    json_text(j, "family", f->family ? f->family->title : "");
    json_open(j, "difference", '{');   /* of shares */
    json_number(j, "share", f->share.mean);
    json_number(j, "low", f->share.low);
    json_number(j, "high", f->share.high);
    json_close(j, '}');
    json_text(j, "interval_over", interval_over(&f->share));
    json_number(j, "seeds", (double)f->share.seeds);
    json_number(j, "seeds_of_this_sign", (double)f->agree);
    json_number(j, "spread", f->share.spread);
    json_number(j, "p", f->share.p);
    json_number(j, "p_holm", f->corrected);
    json_text(j, "verdict", f->verdict);
    json_text(j, "why", f->why);
    json_close(j, '}');
}

static void findings_json(json_writer *j, const char *key, const finding *at, size_t n) {
    json_open(j, key, '[');
    for (size_t i = 0; i < n; i++) finding_json(j, &at[i]);
    json_close(j, ']');
}

static void group_json(json_writer *j, const comparison *k, const problem_group *g) {
    json_text(j, "problems", g->problems.source);
    json_number(j, "count", (double)g->problems.n);
    json_number(j, "of", g->problems.all.problems > 0 ? g->problems.all.problems : NAN);
    if (k->kind == TASK_COUNTDOWN)
        report_share_json(j, "accuracy_random_expressions", NAN, NAN, g->floor, NAN, NAN);
}

static void family_json(json_writer *j, const comparison *k, const family *f) {
    json_open(j, NULL, '{');
    json_text(j, "title", f->title);
    group_json(j, k, &k->groups[k->entries[f->like].group]);
    json_open(j, "arms", '[');
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        if (family_has(k, f, a)) json_text(j, NULL, arm_first(k, a)->label);
    json_close(j, ']');
    json_close(j, '}');
}

static void warning_json(void *j, const char *line) { json_text(j, NULL, line); }

void report_comparison_json(json_writer *j, const comparison *k, const findings *all) {
    group_json(j, k, k->groups);
    json_open(j, "families", '[');
    for (size_t i = 0; i < k->n_families; i++) family_json(j, k, &k->families[i]);
    json_close(j, ']');
    json_open(j, "arms", '[');
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) arm_json(j, k, a);
    json_close(j, ']');
    findings_json(j, "contrasts", all->sentences, all->n_sentences);
    findings_json(j, "pairs", all->pairs, all->n_pairs);
    json_open(j, "left_out", '[');
    for (size_t i = 0; i < all->n_left_out; i++) json_text(j, NULL, all->left_out[i]);
    json_close(j, ']');
    json_open(j, "warnings", '[');
    comparison_warnings(k, warning_json, j);
    json_close(j, ']');
}
