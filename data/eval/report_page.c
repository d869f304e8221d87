/* report_page.c: see report_page.h. */
#include "report_page.h"
#include "../files/system.h"
#include "comparison_report.h"
#include "doubts.h"
#include "families.h"
#include <math.h>
#include <string.h>

typedef struct picture picture;
struct picture {
    const char *name, *title, *says, *across;
    const char *missing;               /* said where no arm has it */
    int (*has)(const comparison *, const arm *);
    table (*numbers)(const comparison *);          /* NULL: a family's own tables have them */
    double (*draw)(page *, const comparison *, const picture *);       /* returns its height */
    void (*panel)(page *, const comparison *, const arm *, const picture *, const svg_panel *);
    /* Of a line; 0: there are no more. */
    int (*point)(const comparison *, const arm *, size_t i, arm_point *);
};

static const run_entry *first_of(const comparison *k, const arm *a) {
    return &k->entries[a->first];
}

static size_t index_of(const comparison *k, const arm *a) { return (size_t)(a - k->arms); }

static size_t count_arms(const comparison *k, const picture *it) {
    size_t n = 0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) n += it->has(k, a) != 0;
    return n;
}

/* ---- A row for each arm: accuracies, right against swapped latents --------------------------- */

enum { ROW = 22, EDGE = 16 };

static int has_accuracy(const comparison *k, const arm *a) { return k && a; }

static void draw_row(page *p, const comparison *k, const arm *a, const svg_axis *x, double y,
                     int swaps) {
    const double right = svg_at(x, 100 * a->accuracy.mean);
    svg_words(p, "e", x->from - 10, y + 4, x->from - 14, first_of(k, a)->label);
    svg_begin(p, index_of(k, a));
    if (swaps) {
        const double swapped = svg_at(x, 100 * a->number[SWAPPED]);
        svg_line(p, "l", swapped, y, right, y);
        svg_mark(p, index_of(k, a), 1, swapped, y);
    } else
        svg_line(p, "l", svg_at(x, 100 * a->accuracy.low), y, svg_at(x, 100 * a->accuracy.high), y);
    svg_mark(p, index_of(k, a), 0, right, y);
    svg_end(p);
}

static double draw_rows(page *p, const comparison *k, const picture *it) {
    const double bottom = ROW * (double)count_arms(k, it) + 8, end = SVG_WIDTH - EDGE;
    double longest = 0, most = 0.01, y = 8 - ROW / 2.0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (!it->has(k, a)) continue;
        longest = fmax(longest, (double)strlen(first_of(k, a)->label));
        most = fmax(most, fmax(a->accuracy.high, a->number[SWAPPED]));
    }
    const svg_axis x = svg_axis_to(100 * most, fmin(140, 7 * longest + EDGE), end);
    for (double at = 0; at <= x.high * 1.001; at += x.step) {
        svg_line(p, "g", svg_at(&x, at), 4, svg_at(&x, at), bottom);
        svg_number(p, "t m", svg_at(&x, at), bottom + 14, at);
    }
    svg_words(p, "t m", (x.from + end) / 2, bottom + 29, SVG_WIDTH, it->across);
    if (k->kind == TASK_COUNTDOWN && k->n_groups == 1) {
        const double floor = svg_at(&x, 100 * k->groups->floor);
        svg_line(p, "r d", floor, 4, floor, bottom);
    }
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        if (it->has(k, a)) draw_row(p, k, a, &x, y += ROW, it->numbers != NULL);
    return bottom + 37;
}

/* ---- A panel for each line, all others behind it: accuracy against steps, against N_L -------- */

static int curve_point(const comparison *k, const arm *a, size_t i, arm_point *out) {
    if (k && i < a->n_curve) *out = a->curve[i];
    return i < a->n_curve;
}

static int budget_point(const comparison *k, const arm *a, size_t i, arm_point *out) {
    const arm *b = series_arm(k, a, i);
    if (!b) return 0;
    const estimate *e = &b->accuracy;
    const arm_point p = {(double)first_of(k, b)->system.latents, e->mean, e->low, e->high, b->n};
    *out = p;
    return 1;
}

/* Along the means; as a band, there along the upper values and back along the lower ones. */
static void draw_line(page *p, const comparison *k, const arm *a, const picture *it,
                      const svg_axis *x, const svg_axis *y, const char *class) {
    const int band = *class == 'b';
    arm_point at;
    size_t n = 0;
    while (it->point(k, a, n, &at)) n++;
    page_add(p, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < (band ? 2 * n : n); i++) {
        it->point(k, a, i < n ? i : 2 * n - 1 - i, &at);
        if (band) at.mean = i < n ? at.high : at.low;
        page_add(p, "%c%.1f %.1f", i ? 'L' : 'M', svg_at(x, at.x), svg_at(y, 100 * at.mean));
    }
    page_add(p, "\"/>\n");
}

/* All lines of a picture have the same axes. */
static void find_axes(const comparison *k, const picture *it, svg_axis *x, svg_axis *y) {
    double widest = 0, most = 0.01;
    arm_point at;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t i = 0; it->has(k, a) && it->point(k, a, i, &at); i++) {
            widest = fmax(widest, at.x);
            most = fmax(most, at.high);
        }
    *x = svg_axis_to(widest, 0, 1);
    *y = svg_axis_to(100 * most, 0, 1);
}

static void line_panel(page *p, const comparison *k, const arm *a, const picture *it,
                       const svg_panel *at) {
    const int curve = it->point == curve_point;
    char name[200], title[240];
    arm_point point;
    svg_axis x, y;
    entry_label(k, first_of(k, a), curve ? NULL : "latents", name, sizeof name);
    snprintf(title, sizeof title, "%s%s", name, a->n > 1 ? "" : " (1 seed)");
    svg_panel_frame(p, at, index_of(k, a), title, it->across, "% right");
    find_axes(k, it, &x, &y);
    svg_panel_axes(p, at, &x, &y);
    for (const arm *b = k->arms; b < k->arms + k->n_arms; b++)
        if (it->has(k, b) && b != a) draw_line(p, k, b, it, &x, &y, "o");
    svg_begin(p, index_of(k, a));
    if (!curve || a->n > 1) draw_line(p, k, a, it, &x, &y, "b");
    draw_line(p, k, a, it, &x, &y, "l");
    for (size_t i = 0; it->point(k, a, i, &point); i++) {
        const double px = svg_at(&x, point.x), py = svg_at(&y, 100 * point.mean);
        svg_line(p, "l k", px, py, px, py);
    }
    svg_end(p);
}

static double draw_panels(page *p, const comparison *k, const picture *it) {
    svg_panel at = {0, 0, 0, 0, 0};
    size_t panel = 0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (!it->has(k, a)) continue;
        at = svg_panel_of(panel++, count_arms(k, it), it->point ? 0.7 : 1);
        it->panel(p, k, a, it, &at);
    }
    return at.height;
}

/* ---- A panel for each arm with latents: the overlap of its slots, its latents on two axes ----- */

static void overlap_panel(page *p, const comparison *k, const arm *a, const picture *it,
                          const svg_panel *at) {
    const double side = at->w / (double)a->slots;
    svg_panel_frame(p, at, index_of(k, a), first_of(k, a)->label, it->across, "variance of slot");
    for (size_t i = 0; i < a->slots; i++) {
        const double middle = ((double)i + 0.5) * side;
        for (size_t j = 0; j < a->slots; j++) {
            const double h = a->H[i * a->slots + j], x = at->x + (double)j * side;
            page_add(p, "<rect class=\"q\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                     "fill-opacity=\"%.3f\"/>\n", x, at->y + (double)i * side, side, side, h);
            if (side > 20)
                page_add(p, "<text class=\"v%s\" x=\"%.1f\" y=\"%.1f\">%.2f</text>\n",
                         h > 0.6 ? " w" : "", x + side / 2, at->y + middle + 3, h);
        }
        if (side < 11 && i && i + 1 < a->slots) continue;
        svg_number(p, "t e", at->x - 4, at->y + middle + 4, (double)(i + 1));
        svg_number(p, "t m", at->x + middle, at->y + at->h + 12, (double)(i + 1));
    }
}

static double draw_overlap(page *p, const comparison *k, const picture *it) {
    const double y = draw_panels(p, k, it);
    for (int i = 0; i <= 10; i++)
        page_add(p, "<rect class=\"q\" x=\"%d\" y=\"%.1f\" width=\"12\" height=\"10\" "
                 "fill-opacity=\"%.1f\"/>\n", 44 + 12 * i, y + 4, 0.1 * i);
    svg_words(p, "t e", 40, y + 13, 30, "0");
    svg_words(p, "t s", 180, y + 13, 200, "1, share of the variance");
    return y + 22;
}

enum { POINTS = 200 };                 /* of a panel, about */

static void slots_panel(page *p, const comparison *k, const arm *a, const picture *it,
                        const svg_panel *at) {
    const latents_report *r = &first_of(k, a)->latents;
    const size_t most = POINTS / r->slots + 1, n = r->prompts < most ? r->prompts : most;
    char across[40], up[40];
    double reach = 1e-9;
    snprintf(across, sizeof across, "%s 1, %.0f %%", it->across, 100 * r->part[0]);
    snprintf(up, sizeof up, "%s 2, %.0f %%", it->across, 100 * r->part[1]);
    svg_panel_frame(p, at, index_of(k, a), first_of(k, a)->label, across, up);
    for (size_t i = 0; i < 2 * n * r->slots; i++) reach = fmax(reach, fabs(r->plane[i]));
    svg_axis x = svg_axis_to(reach, 0, 1);
    x.low = -x.high;
    svg_axis y = x;
    svg_panel_axes(p, at, &x, &y);
    for (size_t s = 0; s < r->slots; s++) {
        svg_begin(p, s);
        page_add(p, "<path class=\"f\" fill-opacity=\".75\" d=\"");
        for (size_t i = s; i < n * r->slots; i += r->slots)
            page_add(p, "M%.1f %.1f%s", svg_at(&x, r->plane[2 * i]), svg_at(&y, r->plane[2 * i + 1]),
                     svg_mark_path(s));
        page_add(p, "\"/>");
        svg_end(p);
    }
}

static double draw_slots(page *p, const comparison *k, const picture *it) {
    const double top = draw_panels(p, k, it);
    size_t slots = 0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        slots = a->slots > slots ? a->slots : slots;
    for (size_t s = 0; s < slots; s++) {
        const double x = 74 + 38 * (double)(s % 8), y = top + 12 + 16 * (double)(s / 8);
        svg_begin(p, s);
        svg_mark(p, s, 0, x, y - 4);
        svg_number(p, "s", x + 9, y, (double)(s + 1));
        svg_end(p);
    }
    svg_words(p, "s", 34, top + 12, 40, "slot");
    return top + 20 + 16 * (double)((slots - 1) / 8);
}

static const picture PICTURES[] = {
    {"accuracy", "Accuracy", "A row for each arm: the mean over its seeds and the 95 % interval. A "
     "dashed rule: random expressions.", "right answers, % of the problems", "", has_accuracy, NULL,
     draw_rows, NULL, NULL},
    {"curves", "Learning curves", "A panel for each arm, the others in grey: right answers while "
     "training, mean of the seeds; the band goes from the lowest seed to the highest. One seed has "
     "no band.", "steps", "no run was scored twice while it trained (--score-points)", arm_has_curve,
     curves_table, draw_panels, line_panel, curve_point},
    {"budget", "Accuracy against N_L", "A panel for each system, the others in grey: right answers "
     "by the number of latents; the band is the 95 % interval.", "N_L, latents", "no two arms differ "
     "in N_L alone", arm_has_budget, budget_table, draw_panels, line_panel, budget_point},
    {"overlap", "Overlap of the slots", "H, mean of the seeds: how much of a slot's variance (row) "
     "lies in the subspace of another (column). 1 everywhere: all slots hold the same.",
     "subspace of slot", "no arm has two slots that were analysed", arm_has_overlap, overlap_table,
     draw_overlap, overlap_panel, NULL},
    {"latents", "Latents on two axes", "Latents of the first seed, on the first two principal axes "
     "of all its slots, some prompts of many. %: the axis's part of the variance.", "axis",
     "no arm has latents that were analysed", arm_has_slots, slots_table, draw_slots, slots_panel,
     NULL},
    {"swapped", "Right and swapped latents", "Filled: right answers with the latents of the problem. "
     "Hollow: with those of another one. A dashed rule: random expressions.",
     "right answers, % of the problems", "no arm has latents that depend on the problem",
     arm_has_swapped, swapped_table, draw_rows, NULL, NULL},
};
enum { N_PICTURES = sizeof PICTURES / sizeof *PICTURES };

/* ---- The page ------------------------------------------------------------------------------- */

static const char PAGE_STYLE[] =
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:60rem;margin:auto;padding:1rem}h1{line-height:1.2}h2{margin-top:2.5rem}\n"
    "figure{margin:0}figure svg{display:block;width:100%;max-width:34rem}"
    "figcaption,caption{color:var(--pale);text-align:left}caption{padding:.5rem 0}"
    "p,li,dt,dd,code{overflow-wrap:anywhere}dd{margin:0 0 .5rem}\n"
    ".wide{overflow:auto;max-height:24rem;margin:1rem 0}table{border-collapse:collapse;"
    "font-size:14px;font-variant-numeric:tabular-nums}th,td{padding:.2rem .6rem;text-align:right;"
    "white-space:nowrap;border-bottom:1px solid var(--grid)}th{font-weight:600}"
    "th.left,td.left{text-align:left;padding-left:0}\n";

static int draw(page *p, const comparison *k, const picture *it, int alone) {
    page drawn = {NULL, 0, 0, 0};
    const svg_frame f = {it->name, it->title, it->says, it->draw(&drawn, k, it)};
    svg_whole(p, &f, &drawn, alone);
    page_free(&drawn);
    return !p->failed;
}

static void add_line(page *p, const char *tag, const char *text) {
    page_add(p, "<%s>", tag);
    page_text(p, text);
    page_add(p, "</%s>\n", tag);
}

/* What a family's arms were asked, their accuracies, what they cost. */
static void add_families(page *p, const comparison *k) {
    char of[RUN_PATH + 120], caption[RUN_PATH + 700];
    for (const family *f = k->families; f < k->families + k->n_families; f++) {
        const problem_group *g = &k->groups[k->entries[f->like].group];
        table right = accuracy_table(k, f), cost = cost_table(k, f);
        problems_title(&g->problems, of, sizeof of);
        snprintf(caption, sizeof caption, "%s%s%s; accuracies in %%", f->title,
                 *f->title ? ": " : "", of);
        table_into_page(&right, p, caption);
        table_into_page(&cost, p, "What the training took, and what the latents hold");
    }
}

static void add_picture(page *p, const comparison *k, const picture *it) {
    add_line(p, "h2", it->title);
    if (!count_arms(k, it)) {
        page_add(p, "<p>Left out: %s.</p>\n", it->missing);
        return;
    }
    page_add(p, "<figure>\n");
    draw(p, k, it, 0);
    add_line(p, "figcaption", it->says);
    page_add(p, "</figure>\n");
    if (!it->numbers) {
        add_families(p, k);
        return;
    }
    table t = it->numbers(k);
    table_into_page(&t, p, it->title);
}

static void add_findings(page *p, const comparison *k, const findings *all) {
    add_line(p, "h2", "What follows");
    add_line(p, "p", "In points, with half of the 95 % interval: over seeds and problems where it "
             "says so, else over problems alone. Yes or no from 5 seeds on, after Holm's correction.");
    for (const family *f = k->families; f < k->families + k->n_families; f++) {
        table t = findings_table(all->sentences, all->n_sentences, f, 0);
        table_into_page(&t, p, *f->title ? f->title : "The method's sentences");
        t = findings_table(all->pairs, all->n_pairs, f, 1);
        table_into_page(&t, p, "Pairs of arms");
    }
    table t = findings_table(all->pairs, all->n_pairs, NULL, 1);
    table_into_page(&t, p, "Pairs of arms of different families");
    page_add(p, "<ul>\n");
    for (size_t i = 0; i < all->n_left_out; i++) add_line(p, "li", all->left_out[i]);
    page_add(p, "</ul>\n");
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
static void add_options(page *p, const comparison *k, const run_entry *e, int same) {
    char value[RUN_PATH];
    page_add(p, "<dd><code>");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!*o->name || o->saved == UNSAVED || same_in_all(k, o) != same) continue;
        option_print(o, &e->set, value, sizeof value);
        page_add(p, "--%s ", o->name);
        page_text(p, *value ? value : "\"\"");
        page_add(p, " ");
    }
    page_add(p, "</code></dd>\n");
}

static void warning_item(void *to, const char *line) { add_line(to, "li", line); }

static void add_runs(page *p, const comparison *k) {
    char name[RUN_PATH + 220];
    add_line(p, "h2", "Warnings");
    page_add(p, "<ul>\n");
    comparison_warnings(k, warning_item, p);
    page_add(p, "</ul>\n");
    add_line(p, "h2", "Options of the runs");
    page_add(p, "<dl>\n<dt>all runs</dt>\n");
    add_options(p, k, k->entries, 1);
    for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
        snprintf(name, sizeof name, "%s: %s", e->label, e->folder);
        add_line(p, "dt", name);
        add_options(p, k, e, 0);
    }
    page_add(p, "</dl>\n");
}

static void fill_page(page *p, const comparison *k, const findings *all) {
    page_add(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta "
             "name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n<title>%zu runs "
             "compared</title>\n<style>\n", k->n_entries);
    page_add(p, "%s%s</style>\n</head>\n<body>\n<main>\n<h1>%zu runs compared</h1>\n", SVG_STYLE,
             PAGE_STYLE, k->n_entries);
    for (int i = 0; i < N_PICTURES; i++) add_picture(p, k, &PICTURES[i]);
    add_findings(p, k, all);
    add_runs(p, k);
    page_add(p, "</main>\n</body>\n</html>\n");
}

/* Ends the page. */
static int save(dual_ctx *c, page *p, const char *file) {
    const int ok = p->failed ? dual_failed(c, "%s: out of memory for a page", file)
                             : dual_text_save(c, file, p->text, p->length);
    page_free(p);
    return ok;
}

int report_page_save(dual_ctx *c, const comparison *k, const findings *all, const char *file,
                     const char *folder) {
    page p = {NULL, 0, 0, 0};
    char path[RUN_PATH + 40];
    int n = 0;
    if (*folder && !data_make_folder(folder)) {
        dual_failed(c, "--svg: %s cannot be made", folder);
        return -1;
    }
    for (const picture *it = PICTURES; it < PICTURES + N_PICTURES; it++) {
        if (!count_arms(k, it)) continue;
        n++;
        if (!*folder) continue;
        snprintf(path, sizeof path, "%s/%s.svg", folder, it->name);
        draw(&p, k, it, 1);
        if (!save(c, &p, path)) return -1;
    }
    fill_page(&p, k, all);
    return save(c, &p, file) ? n : -1;
}
