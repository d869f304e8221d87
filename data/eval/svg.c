/* svg.c: see svg.h. */
#include "svg.h"
#include <math.h>
#include <string.h>

const char SVG_STYLE[] =
    ":root{--paper:#fff;--ink:#1b2025;--pale:#59636e;--grid:#dde2e7;--heat:#05448e;--k0:#1b2025;"
    "--k1:#05448e;--k2:#9a3700;--k3:#077e4c;--k4:#802b60;--k5:#ba8000;--k6:#2796f5}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e8ecf0;--pale:#a3adb8;"
    "--grid:#333b44;--heat:#97c9fb;--k0:#e8ecf0;--k1:#3580d2;--k2:#ec5f14;--k3:#35e6a0;"
    "--k4:#cf5590;--k5:#ffd24a;--k6:#97c9fb}}\n"
    "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .t{font-size:10.5px;"
    "fill:var(--pale)}svg .v{font-size:9.5px;text-anchor:middle}svg .w{fill:var(--paper)}"
    ".m{text-anchor:middle}.e{text-anchor:end}.n{fill:var(--paper)}.g{stroke:var(--grid)}"
    ".l{stroke:var(--c);stroke-width:2;fill:none}.k{stroke:var(--c);stroke-width:5;"
    "stroke-linecap:round}.o{stroke:var(--pale);stroke-opacity:.35;fill:none}"
    ".b{fill:var(--c);fill-opacity:.2}.f{fill:var(--c)}.h{fill:var(--paper);stroke:var(--c);"
    "stroke-width:1.1}.q{fill:var(--heat)}.r{stroke:var(--pale);stroke-width:1.2;"
    "stroke-dasharray:2 3}\n"
    ".c0{--c:var(--k0)}.c1{--c:var(--k1)}.c2{--c:var(--k2)}.c3{--c:var(--k3)}"
    ".c4{--c:var(--k4)}.c5{--c:var(--k5)}.c6{--c:var(--k6)}\n";

/* ---- Shapes -------------------------------------------------------------------------------- */

void svg_whole(markup *p, const char *name, const char *title, const char *says, double height,
               const markup *drawn, int alone) {
    markup_add(p, "<svg%s viewBox=\"0 0 %d %.0f\" role=\"img\" "
               "aria-labelledby=\"%s-title %s-says\"",
               alone ? " xmlns=\"http://www.w3.org/2000/svg\"" : "", SVG_WIDTH, height, name, name);
    if (alone) markup_add(p, " width=\"%d\" height=\"%.0f\"", SVG_WIDTH, height);
    markup_add(p, ">\n<title id=\"%s-title\">%s</title>\n<desc id=\"%s-says\">%s</desc>\n", name,
               title, name, says);
    if (alone) markup_add(p, "<style>\n%s</style>\n", SVG_STYLE);
    p->failed |= drawn->failed;
    markup_add(p, "<rect class=\"n\" width=\"%d\" height=\"%.0f\"/>\n%s</svg>\n", SVG_WIDTH, height,
               p->failed ? "" : drawn->text);
}

void svg_begin(markup *p, size_t which) {
    markup_add(p, "<g class=\"c%zu\">", which % SVG_COLOURS);
}

void svg_end(markup *p) { markup_add(p, "</g>\n"); }

void svg_line(markup *p, const char *class, double x1, double y1, double x2, double y2) {
    markup_add(p, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>", class, x1, y1, x2, y2);
}

/* A letter is taken for 0.55 of the size it has. */
void svg_words(markup *p, const char *class, double x, double y, double room, const char *words) {
    const double letter = strchr(class, 't') ? 5.8 : 6.6;
    const char *at = words, *end = words + strlen(words);
    markup_add(p, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
    for (double left = room / letter; at < end && (left >= 2 || end - at == 1); left--)
        at = markup_next(p, at, end);
    markup_add(p, "%s</text>\n", at < end ? "&#8230;" : "");
}

void svg_number(markup *p, const char *class, double x, double y, double number) {
    markup_add(p, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%g</text>\n", class, x, y, number);
}

const char *svg_mark_path(size_t which) {
    static const char *const path[SVG_MARKS] = {
        "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z", "m-1.8-1.8h3.6v3.6h-3.6z", "m0-2.4l2.3 4h-4.6z",
        "m0-2.6l2.6 2.6-2.6 2.6-2.6-2.6z", "m0 2.4l2.3-4h-4.6z"};
    return path[which % SVG_MARKS];
}

void svg_mark(markup *p, size_t which, int hollow, double x, double y) {
    markup_add(p, "<path class=\"%c\" transform=\"translate(%.1f %.1f) scale(2)\" d=\"M0 0%s\"/>",
               hollow ? 'h' : 'f', x, y, svg_mark_path(which));
}

/* ---- Axes and panels ----------------------------------------------------------------------- */

svg_axis svg_axis_to(double high, double from, double to) {
    svg_axis a = {0, 1, from, to, 1};
    const double power = pow(10, floor(log10(high / 4))), few = high / 4 / power;
    const double round[] = {1, 2, 5, 10};
    size_t i = 0;
    while (i < 3 && few > round[i]) i++;
    a.step = power * round[i];
    a.high = a.step * ceil(high / a.step - 1e-9);
    return a;
}

double svg_at(const svg_axis *a, double value) {
    return a->from + (a->to - a->from) * (value - a->low) / (a->high - a->low);
}

enum { PANEL_LEFT = 30, PANEL_RIGHT = 8, PANEL_TOP = 24, PANEL_BELOW = 32 };

svg_panel svg_panel_of(size_t i, size_t n, size_t columns, double shape) {
    const double w = (double)SVG_WIDTH / (double)columns, inner = w - PANEL_LEFT - PANEL_RIGHT;
    const double h = shape * inner + PANEL_TOP + PANEL_BELOW;
    const svg_panel p = {w * (double)(i % columns) + PANEL_LEFT, h * (double)(i / columns) +
                         PANEL_TOP, inner, shape * inner, h * (double)((n - 1) / columns + 1)};
    return p;
}

void svg_panel_frame(markup *p, const svg_panel *at, size_t which, const char *title,
                     const char *across, const char *up) {
    svg_begin(p, which);
    svg_mark(p, which, 0, at->x - 15, at->y - 10);
    svg_words(p, "s", at->x - 6, at->y - 6, at->w + 10, title);
    svg_end(p);
    svg_line(p, "g", at->x, at->y + at->h, at->x + at->w, at->y + at->h);
    svg_line(p, "g", at->x, at->y, at->x, at->y + at->h);
    svg_words(p, "t m", at->x + at->w / 2, at->y + at->h + 23, at->w + PANEL_LEFT, across);
    markup_add(p, "<g transform=\"translate(%.1f %.1f) rotate(-90)\">", at->x - 18,
               at->y + at->h / 2);
    svg_words(p, "t m", 0, 0, at->h + PANEL_TOP, up);
    svg_end(p);
}

void svg_panel_axes(markup *p, const svg_panel *at, svg_axis *x, svg_axis *y) {
    x->from = at->x;
    x->to = at->x + at->w;
    y->from = at->y + at->h;
    y->to = at->y;
    svg_number(p, "t s", x->from, y->from + 12, x->low);
    svg_number(p, "t e", x->to, y->from + 12, x->high);
    svg_number(p, "t e", x->from - 3, y->from, y->low);
    svg_number(p, "t e", x->from - 3, y->to + 8, y->high);
}
