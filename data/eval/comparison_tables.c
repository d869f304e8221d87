/* comparison_tables.c: see comparison_tables.h. */
#include "comparison_tables.h"
#include "doubts.h"
#include "families.h"
#include <math.h>
#include <string.h>

const char *interval_over(const estimate *e) {
    return e->over_seeds ? "seeds" : "problems";
}

/* ---- Of families --------------------------------------------------------------------------- */

static void human_cell(table *t, double x) {
    char text[24] = "-";
    if (isfinite(x)) run_human(x, text, sizeof text);
    table_cell(t, "%s", text);
}

/* In a table "problems" goes without saying: most intervals are, where there are few seeds. */
static void over_cell(table *t, const estimate *e) {
    const char *over = interval_over(e);
    table_cell(t, "%s", strcmp(over, "problems") ? over : "-");
}

static void accuracy_row(table *t, const comparison *k, const arm *a) {
    const dual_system *system = &arm_first(k, a)->system;
    const int same = system->latents && latents_are_fixed(system);
    table_cell(t, "%s", arm_first(k, a)->label);
    table_cell(t, "%zu", a->n);
    table_number(t, "%.1f", 100 * a->accuracy.mean);
    table_number(t, "%.1f", 100 * a->accuracy.spread);
    table_cell(t, "[%5.1f, %5.1f]", 100 * a->accuracy.low, 100 * a->accuracy.high);
    over_cell(t, &a->accuracy);
    if (same) table_cell(t, "=");
    else table_number(t, "%.1f", 100 * a->number[SWAPPED]);
    table_number(t, "%.4f", a->number[LOSS]);
    for (int quarter = 0; quarter < 4; quarter++)
        table_number(t, "%.1f", 100 * a->number[AT_25 + quarter]);
}

static void cost_row(table *t, const comparison *k, const arm *a) {
    table_cell(t, "%s", arm_first(k, a)->label);
    human_cell(t, a->number[TRAINED]);
    table_number(t, "%.0f", a->number[PASSES]);
    human_cell(t, a->number[STEP_FLOPS]);
    human_cell(t, a->number[FLOPS]);
    table_number(t, "%.4f", a->number[H_OFF]);
    table_number(t, "%.3f", a->number[FLOOR]);
    table_number(t, "%+.3f", a->number[SILHOUETTE]);
}

static void finding_row(table *t, const finding *f, int is_pair) {
    const estimate *e = &f->share;
    char half[16] = "?";
    if (isfinite(e->low)) snprintf(half, sizeof half, "%.1f", 50 * (e->high - e->low));
    if (!is_pair) table_cell(t, "%s", f->claim);
    table_cell(t, "%s", f->formula);
    table_cell(t, "%+.1f +- %s", 100 * e->mean, half);
    over_cell(t, e);
    table_number(t, "%.1f", 100 * e->spread);
    table_number(t, "%.2g", e->p);
    table_number(t, "%.2g", f->corrected);
    if (strstr(f->why, "seed")) table_cell(t, "%s (%s)", f->verdict, f->why);
    else if (*f->why) table_cell(t, "%s (%s; %zu seeds)", f->verdict, f->why, e->seeds);
    else table_cell(t, "%s (%zu seeds)", f->verdict, e->seeds);
}

table findings_table(const finding *at, size_t n, const family *of, int is_pair) {
    table t = table_begin(is_pair ? "|points, 95 %|over|spread|p|Holm|above 0?"
                                  : "||points, 95 %|over|spread|p|Holm|true?",
                          is_pair ? 1 | 1 << 6 : 3 | 1 << 7);
    for (size_t i = 0; i < n; i++)
        if (at[i].family == of) finding_row(&t, &at[i], is_pair);
    return t;
}

static int is_row(const comparison *k, const family *f, const arm *a) {
    return family_has(k, f, a) && arm_first(k, a)->group == k->entries[f->like].group;
}

table accuracy_table(const comparison *k, const family *f) {
    table t = table_begin("|seeds|right|spread|95 %|over|swapped|loss|at 25|50|75|100", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        if (is_row(k, f, a)) accuracy_row(&t, k, a);
    return t;
}

table cost_table(const comparison *k, const family *f) {
    table t = table_begin("|trained|passes|FLOPs/step|FLOPs|H_off|floor|silhouette", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        if (is_row(k, f, a)) cost_row(&t, k, a);
    return t;
}

/* ---- Of arms ------------------------------------------------------------------------------- */

int arm_has_curve(const comparison *k, const arm *a) { return k && a->n_curve > 1; }

int arm_has_budget(const comparison *k, const arm *a) { return series_arm(k, a, 1) != NULL; }

int arm_has_overlap(const comparison *k, const arm *a) { return k && a->H && a->slots > 1; }

int arm_has_slots(const comparison *k, const arm *a) { return k && a->H; }

int arm_has_swapped(const comparison *k, const arm *a) {
    return isfinite(a->number[SWAPPED]) && !latents_are_fixed(&arm_first(k, a)->system);
}

table curves_table(const comparison *k) {
    table t = table_begin("|steps|seeds|right|lowest seed|highest seed", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t i = 0; i < a->n_curve && arm_has_curve(k, a); i++) {
            table_cell(&t, "%s", arm_first(k, a)->label);
            table_number(&t, "%.0f", a->curve[i].x);
            table_cell(&t, "%zu", a->curve[i].seeds);
            table_number(&t, "%.1f", 100 * a->curve[i].mean);
            table_number(&t, "%.1f", 100 * a->curve[i].low);
            table_number(&t, "%.1f", 100 * a->curve[i].high);
        }
    return t;
}

table budget_table(const comparison *k) {
    table t = table_begin("|N_L|seeds|right|95 %", 1);
    const arm *b;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t i = 0; arm_has_budget(k, a) && (b = series_arm(k, a, i)) != NULL; i++) {
            table_cell(&t, "%s", arm_first(k, b)->label);
            table_cell(&t, "%zu", arm_first(k, b)->system.latents);
            table_cell(&t, "%zu", b->n);
            table_number(&t, "%.1f", 100 * b->accuracy.mean);
            table_cell(&t, "[%5.1f, %5.1f]", 100 * b->accuracy.low, 100 * b->accuracy.high);
        }
    return t;
}

table overlap_table(const comparison *k) {
    table t = table_begin("|variance of slot|subspace of slot|share", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t i = 0; i < a->slots * a->slots && arm_has_overlap(k, a); i++) {
            table_cell(&t, "%s", arm_first(k, a)->label);
            table_cell(&t, "%zu", i / a->slots + 1);
            table_cell(&t, "%zu", i % a->slots + 1);
            table_number(&t, "%.4f", a->H[i]);
        }
    return t;
}

/* Of a slot on an axis, over all prompts: the mean and the standard deviation. */
static void slot_cells(table *t, const latents_report *r, size_t slot, size_t axis) {
    const double n = (double)r->prompts;
    double mean = 0, square = 0;
    for (size_t i = 0; i < r->prompts; i++) mean += r->plane[2 * (i * r->slots + slot) + axis] / n;
    for (size_t i = 0; i < r->prompts; i++) {
        const double off = r->plane[2 * (i * r->slots + slot) + axis] - mean;
        square += off * off / (n - 1);
    }
    table_number(t, "%.3f", mean);
    table_number(t, "%.3f", sqrt(square));
}

table slots_table(const comparison *k) {
    table t = table_begin("|slot|axis 1, mean|spread|axis 2, mean|spread", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t s = 0; s < a->slots; s++) {
            table_cell(&t, "%s", arm_first(k, a)->label);
            table_cell(&t, "%zu", s + 1);
            slot_cells(&t, &arm_first(k, a)->latents, s, 0);
            slot_cells(&t, &arm_first(k, a)->latents, s, 1);
        }
    return t;
}

table swapped_table(const comparison *k) {
    table t = table_begin("|seeds|right|swapped|right - swapped, points", 1);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (!arm_has_swapped(k, a)) continue;
        table_cell(&t, "%s", arm_first(k, a)->label);
        table_cell(&t, "%zu", a->n);
        table_number(&t, "%.1f", 100 * a->accuracy.mean);
        table_number(&t, "%.1f", 100 * a->number[SWAPPED]);
        table_number(&t, "%+.1f", 100 * (a->accuracy.mean - a->number[SWAPPED]));
    }
    return t;
}

/* ---- A page -------------------------------------------------------------------------------- */

void families_into_page(markup *p, const comparison *k) {
    char of[RUN_PATH + 120], heading[RUN_PATH + 400];
    for (const family *f = k->families; f < k->families + k->n_families; f++) {
        const problem_group *g = &k->groups[k->entries[f->like].group];
        table right = accuracy_table(k, f), cost = cost_table(k, f);
        problems_title(&g->problems, of, sizeof of);
        snprintf(heading, sizeof heading, "%s%s%s; accuracies in %%", f->title,
                 *f->title ? ": " : "", of);
        table_into_page(&right, p, heading);
        if (k->kind == TASK_COUNTDOWN)
            markup_add(p, "<p>Random expressions are right in %.1f %%.</p>\n", 100 * g->floor);
        table_into_page(&cost, p, "What the training took, and what the latents hold");
    }
}

static void begin_list(markup *p, const char *heading) {
    markup_line(p, "h2", heading);
    markup_add(p, "<ul>\n");
}

static void list_item(void *to, const char *line) { markup_line(to, "li", line); }

void findings_into_page(markup *p, const comparison *k, const findings *all) {
    markup_line(p, "h2", "What follows");
    markup_line(p, "p", "In points, with half of the 95 % interval: over seeds and problems where "
                "it says so, else over problems alone. Yes or no from 5 seeds on, after Holm's "
                "correction.");
    for (const family *f = k->families; f < k->families + k->n_families; f++) {
        table t = findings_table(all->sentences, all->n_sentences, f, 0);
        table_into_page(&t, p, *f->title ? f->title : "The method's sentences");
        t = findings_table(all->pairs, all->n_pairs, f, 1);
        table_into_page(&t, p, "Pairs of arms");
    }
    table t = findings_table(all->pairs, all->n_pairs, NULL, 1);
    table_into_page(&t, p, "Pairs of arms of different families");
    begin_list(p, "What could not be asked");
    if (!all->n_left_out) list_item(p, "nothing");
    for (size_t i = 0; i < all->n_left_out; i++) list_item(p, all->left_out[i]);
    markup_add(p, "</ul>\n");
}

static int same_in_all(const comparison *k, const option *o) {
    char first[RUN_PATH], other[RUN_PATH];
    option_print(o, &k->entries->set, first, sizeof first);
    for (size_t i = 1; i < k->n_entries; i++) {
        option_print(o, &k->entries[i].set, other, sizeof other);
        if (strcmp(first, other)) return 0;
    }
    return 1;
}

/* Those that are the same in all runs, or those that are not. */
static void add_options(markup *p, const comparison *k, const run_entry *e, int same) {
    char value[RUN_PATH];
    markup_add(p, "<dd>\n");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!*o->name || o->saved == UNSAVED || same_in_all(k, o) != same) continue;
        option_print(o, &e->set, value, sizeof value);
        markup_add(p, "<code>--%s ", o->name);
        markup_text(p, *value ? value : "\"\"");
        markup_add(p, "</code>\n");
    }
    markup_add(p, "</dd>\n");
}

void runs_into_page(markup *p, const comparison *k) {
    char name[RUN_PATH + 220];
    begin_list(p, "Warnings");
    const size_t before = p->length;
    comparison_warnings(k, list_item, p);
    if (p->length == before) list_item(p, "none");
    markup_add(p, "</ul>\n");
    markup_line(p, "h2", "Options of the runs");
    markup_add(p, "<dl>\n<dt>all runs</dt>\n");
    add_options(p, k, k->entries, 1);
    for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
        snprintf(name, sizeof name, "%s: %s", e->label, e->folder);
        markup_line(p, "dt", name);
        add_options(p, k, e, 0);
    }
    markup_add(p, "</dl>\n");
}
