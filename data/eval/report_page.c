/* report_page.c: see report_page.h. */
#include "report_page.h"
#include "comparison_tables.h"
#include "families.h"
#include "svg.h"
#include <math.h>
#include <string.h>

typedef struct picture {
    const char *name, *title, *says, *across;
    const char *missing;               /* said where no arm has it */
    int (*has)(const comparison *, const arm *);
    table (*numbers)(const comparison *);          /* NULL: a family's own tables have them */
    double (*draw)(markup *, const comparison *, const struct picture *); /* its height */
    void (*panel)(markup *, const comparison *, const arm *, const struct picture *,
                  const svg_panel *);
    /* Of a line; 0: there are no more. */
    int (*point)(const comparison *, const arm *, size_t i, arm_point *);
} picture;

static size_t index_of(const comparison *k, const arm *a) { return (size_t)(a - k->arms); }

static size_t count_arms(const comparison *k, const picture *it) {
    size_t n = 0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) n += it->has(k, a) != 0;
    return n;
}

/* ---- A row for each arm: accuracies, right against swapped latents --------------------------- */

enum { ROW = 22, EDGE = 16 };

static int has_accuracy(const comparison *k, const arm *a) { return k && a; }

static void draw_row(markup *p, const comparison *k, const arm *a, const svg_axis *x, double y,
                     int swaps) {
    const double right = svg_at(x, 100 * a->accuracy.mean);
    const double from = svg_at(x, 100 * (swaps ? a->number[SWAPPED] : a->accuracy.low));
    svg_words(p, "e", x->from - 10, y + 4, x->from - 14, arm_first(k, a)->label);
    svg_begin(p, index_of(k, a));
    svg_line(p, "l", from, y, swaps ? right : svg_at(x, 100 * a->accuracy.high), y);
    if (swaps) svg_mark(p, index_of(k, a), 1, from, y);
    svg_mark(p, index_of(k, a), 0, right, y);
    svg_end(p);
}

static double draw_rows(markup *p, const comparison *k, const picture *it) {
    const double bottom = ROW * (double)count_arms(k, it) + 8, end = SVG_WIDTH - EDGE;
    const int random = k->kind == TASK_COUNTDOWN && k->n_groups == 1;
    double longest = 0, most = random ? k->groups->floor : 0.01, y = 8 - ROW / 2.0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (!it->has(k, a)) continue;
        longest = fmax(longest, (double)strlen(arm_first(k, a)->label));
        most = fmax(most, fmax(a->accuracy.high, a->number[SWAPPED]));
    }
    const svg_axis x = svg_axis_to(100 * most, fmin(140, 7 * longest + EDGE), end);
    for (double at = 0; at <= x.high * 1.001; at += x.step) {
        svg_line(p, "g", svg_at(&x, at), 4, svg_at(&x, at), bottom);
        svg_number(p, "t m", svg_at(&x, at), bottom + 14, at);
    }
    svg_words(p, "t m", (x.from + end) / 2, bottom + 29, SVG_WIDTH, it->across);
    if (random) {
        const double floor = svg_at(&x, 100 * k->groups->floor);
        svg_line(p, "r", floor, 4, floor, bottom);
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
    const arm_point p = {(double)arm_first(k, b)->system.latents, e->mean, e->low, e->high, b->n};
    *out = p;
    return 1;
}

/* Along the means, or dots there; as a band, there along the upper values and back along the lower
 * ones. */
static void draw_line(markup *p, const comparison *k, const arm *a, const picture *it,
                      const svg_axis *x, const svg_axis *y, const char *class) {
    const int band = *class == 'b', dots = *class == 'k';
    arm_point at;
    size_t n = 0;
    while (it->point(k, a, n, &at)) n++;
    markup_add(p, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < (band ? 2 * n : n); i++) {
        it->point(k, a, i < n ? i : 2 * n - 1 - i, &at);
        if (band) at.mean = i < n ? at.high : at.low;
        markup_add(p, "%c%.1f %.1f%s", i && !dots ? 'L' : 'M', svg_at(x, at.x),
                   svg_at(y, 100 * at.mean), dots ? "h0" : "");
    }
    markup_add(p, "\"/>\n");
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

static void line_panel(markup *p, const comparison *k, const arm *a, const picture *it,
                       const svg_panel *at) {
    const int curve = it->point == curve_point;
    char name[200], title[240];
    svg_axis x, y;
    entry_label(k, arm_first(k, a), curve ? NULL : "latents", name, sizeof name);
    snprintf(title, sizeof title, "%s%s", name, curve && a->n == 1 ? " (1 seed)" : "");
    svg_panel_frame(p, at, index_of(k, a), title, it->across, "% right");
    find_axes(k, it, &x, &y);
    svg_panel_axes(p, at, &x, &y);
    for (const arm *b = k->arms; b < k->arms + k->n_arms; b++)
        if (it->has(k, b) && b != a) draw_line(p, k, b, it, &x, &y, "o");
    svg_begin(p, index_of(k, a));
    if (!curve || a->n > 1) draw_line(p, k, a, it, &x, &y, "b");
    draw_line(p, k, a, it, &x, &y, "l");
    draw_line(p, k, a, it, &x, &y, "k");
    svg_end(p);
}

static double draw_panels(markup *p, const comparison *k, const picture *it) {
    const size_t n = count_arms(k, it);
    svg_panel at = {0, 0, 0, 0, 0};
    size_t panel = 0;
    double longest = 0;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++)
        longest = fmax(longest, (double)strlen(arm_first(k, a)->label));
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (!it->has(k, a)) continue;
        at = svg_panel_of(panel++, n, n > 4 && longest < 12 ? 3 : 2, it->point ? 0.8 : 1);
        it->panel(p, k, a, it, &at);
    }
    return at.height;
}

/* ---- A panel for each arm with latents: how its slots overlap, its latents on two axes ------- */

static void overlap_panel(markup *p, const comparison *k, const arm *a, const picture *it,
                          const svg_panel *at) {
    const double side = at->w / (double)a->slots;
    svg_panel_frame(p, at, index_of(k, a), arm_first(k, a)->label, it->across, "variance of slot");
    for (size_t i = 0; i < a->slots; i++) {
        const double middle = ((double)i + 0.5) * side;
        for (size_t j = 0; j < a->slots; j++) {
            const double h = a->H[i * a->slots + j], x = at->x + (double)j * side;
            markup_add(p, "<rect class=\"q\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                       "fill-opacity=\"%.3f\"/>\n", x, at->y + (double)i * side, side, side, h);
            if (side > 16)
                markup_add(p, "<text class=\"v%s\" x=\"%.1f\" y=\"%.1f\">%.0f</text>\n",
                           h > 0.6 ? " w" : "", x + side / 2, at->y + middle + 3.5, 100 * h);
        }
        if (side < 11 && i && i + 1 < a->slots) continue;
        svg_number(p, "t e", at->x - 4, at->y + middle + 4, (double)(i + 1));
        svg_number(p, "t m", at->x + middle, at->y + at->h + 12, (double)(i + 1));
    }
}

static double draw_overlap(markup *p, const comparison *k, const picture *it) {
    const double y = draw_panels(p, k, it);
    for (int i = 0; i <= 10; i++)
        markup_add(p, "<rect class=\"q\" x=\"%d\" y=\"%.1f\" width=\"12\" height=\"10\" "
                   "fill-opacity=\"%.1f\"/>\n", 44 + 12 * i, y + 4, 0.1 * i);
    svg_words(p, "t s", 182, y + 13, 190, "0 to 100 % of the variance");
    return y + 22;
}

enum { POINTS = 200 };                 /* of a panel, about */

static void slots_panel(markup *p, const comparison *k, const arm *a, const picture *it,
                        const svg_panel *at) {
    const latents_report *r = &arm_first(k, a)->latents;
    const size_t most = POINTS / r->slots + 1, n = r->prompts < most ? r->prompts : most;
    char across[40], up[40];
    double reach = 1e-9;
    snprintf(across, sizeof across, "%s 1, %.0f %%", it->across, 100 * r->part[0]);
    snprintf(up, sizeof up, "%s 2, %.0f %%", it->across, 100 * r->part[1]);
    svg_panel_frame(p, at, index_of(k, a), arm_first(k, a)->label, across, up);
    for (size_t i = 0; i < 2 * n * r->slots; i++) reach = fmax(reach, fabs(r->plane[i]));
    svg_axis x = svg_axis_to(reach, 0, 1);
    x.low = -x.high;
    svg_axis y = x;
    svg_panel_axes(p, at, &x, &y);
    for (size_t s = 0; s < r->slots; s++) {
        svg_begin(p, s);
        markup_add(p, "<path class=\"f\" fill-opacity=\".75\" d=\"");
        for (size_t i = s; i < n * r->slots; i += r->slots)
            markup_add(p, "M%.1f %.1f%s", svg_at(&x, r->plane[2 * i]),
                       svg_at(&y, r->plane[2 * i + 1]), svg_mark_path(s));
        markup_add(p, "\"/>");
        svg_end(p);
    }
}

static double draw_slots(markup *p, const comparison *k, const picture *it) {
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
    {"accuracy", "Accuracy", "A row for each arm: the mean of its seeds and the 95 % interval. "
     "Dashed: random expressions.", "right answers, % of the problems", "", has_accuracy, NULL,
     draw_rows, NULL, NULL},
    {"curves", "Learning curves", "A panel for each arm, the others in grey: right answers while "
     "training, the mean of its seeds. The band goes from the lowest seed to the highest; one seed "
     "has none.", "steps", "no run was scored twice while it trained (--score-points)",
     arm_has_curve, curves_table, draw_panels, line_panel, curve_point},
    {"budget", "Accuracy against N_L", "A panel for each system, the others in grey: right answers "
     "by the number of latents. The band is the 95 % interval.", "N_L, latents",
     "no two arms differ in N_L alone", arm_has_budget, budget_table, draw_panels, line_panel,
     budget_point},
    {"overlap", "Overlap of the slots", "H, the mean of the seeds: how much of a slot's variance "
     "(row), in %, lies in the subspace of another (column). 100 everywhere: all slots move in one "
     "subspace.", "subspace of slot", "no arm has two slots that were analysed", arm_has_overlap,
     overlap_table, draw_overlap, overlap_panel, NULL},
    {"latents", "Latents on two axes", "Latents of the first seed, for some of the prompts, on the "
     "first two principal axes of all slots together. %: the axis's part of the variance.", "axis",
     "no arm has latents that were analysed", arm_has_slots, slots_table, draw_slots, slots_panel,
     NULL},
    {"swapped", "Right and swapped latents", "Filled: right answers with a problem's own latents. "
     "Hollow: with those of another problem. Dashed: random expressions.",
     "right answers, % of the problems", "no arm has latents that depend on the problem",
     arm_has_swapped, swapped_table, draw_rows, NULL, NULL},
};
enum { N_PICTURES = sizeof PICTURES / sizeof *PICTURES };

/* ---- The page ------------------------------------------------------------------------------- */

static const char PAGE_STYLE[] =
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:60rem;margin:auto;padding:1rem}h1{line-height:1.2}h2{margin-top:2.5rem}\n"
    "h3{margin:1.5rem 0 .5rem;font-size:1rem}figure{margin:0;max-width:34rem}figure svg{display:"
    "block;width:100%}figcaption{color:var(--pale);font-size:.9rem;margin-top:.5rem}"
    "h3,p,li,dt,code{overflow-wrap:anywhere}dd{margin:0 0 .5rem}code{display:inline-block;"
    "margin-right:.8em;max-width:100%}\n"
    ".wide{overflow:auto;max-height:24rem}table{border-collapse:collapse;"
    "font-size:14px;font-variant-numeric:tabular-nums}th,td{padding:.2rem .6rem;text-align:right;"
    "white-space:nowrap;border-bottom:1px solid var(--grid)}th{font-weight:600}"
    "th.left,td.left{text-align:left;padding-left:0}th.left{white-space:normal;min-width:7em}\n";

static void draw(markup *p, const comparison *k, const picture *it, int alone) {
    markup drawn = {NULL, 0, 0, 0};
    const double height = it->draw(&drawn, k, it);
    svg_whole(p, it->name, it->title, it->says, height, &drawn, alone);
    markup_free(&drawn);
}

static void add_picture(markup *p, const comparison *k, const picture *it) {
    markup_line(p, "h2", it->title);
    if (!count_arms(k, it)) {
        markup_add(p, "<p>Left out: %s.</p>\n", it->missing);
        return;
    }
    markup_add(p, "<figure>\n");
    draw(p, k, it, 0);
    markup_line(p, "figcaption", it->says);
    markup_add(p, "</figure>\n");
    if (!it->numbers) {
        families_into_page(p, k);
        return;
    }
    table t = it->numbers(k);
    table_into_page(&t, p, "In numbers");
}

static void fill_page(markup *p, const comparison *k, const findings *all) {
    markup_add(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta "
               "name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n<title>Runs "
               "compared</title>\n<style>\n%s%s</style>\n</head>\n<body>\n<main>\n<h1>Runs "
               "compared</h1>\n<p>Runs: %zu. Arms: %zu; runs that differ in their seed alone are "
               "one arm.</p>\n", SVG_STYLE, PAGE_STYLE, k->n_entries, k->n_arms);
    for (int i = 0; i < N_PICTURES; i++) add_picture(p, k, &PICTURES[i]);
    findings_into_page(p, k, all);
    runs_into_page(p, k);
    markup_add(p, "</main>\n</body>\n</html>\n");
}

/* Ends the page. */
static int save(dual_ctx *c, markup *p, const char *file) {
    const int ok = p->failed ? dual_failed(c, "%s: out of memory for a page", file)
                             : dual_text_save(c, file, p->text, p->length);
    markup_free(p);
    return ok;
}

int report_page_save(dual_ctx *c, const comparison *k, const findings *all, const char *file,
                     const char *folder) {
    markup p = {NULL, 0, 0, 0};
    char path[RUN_PATH + 40];
    for (const picture *it = PICTURES; *folder && it < PICTURES + N_PICTURES; it++) {
        if (!count_arms(k, it)) continue;
        draw(&p, k, it, 1);
        snprintf(path, sizeof path, "%s/%s.svg", folder, it->name);
        if (!save(c, &p, path)) return 0;
    }
    fill_page(&p, k, all);
    return save(c, &p, file);
}
