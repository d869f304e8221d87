/* svg.h: what pictures are drawn with.
 *
 * A picture is 380 units wide, so that on a telephone its text has about the size it says. Colours
 * are CSS variables: SVG_STYLE holds them for light and dark, in a page once, in each .svg of its
 * own. They have about the hues of Okabe and Ito, 22 apart at least (CIE 76) to eyes without red,
 * green or blue, and 3:1 against the page; what a colour tells apart, a mark or a title does too.
 *
 * Owns: colours, marks, axes, the grid of small panels. Knows nothing of runs. */
#ifndef SVG_H
#define SVG_H
#include "../runs/markup.h"

extern const char SVG_STYLE[];
enum { SVG_WIDTH = 380, SVG_COLOURS = 7, SVG_MARKS = 5 };

/* A whole picture; alone: it is a file, with a style of its own. name makes its ids; title and what
 * it says hold none of < & >. */
void svg_whole(markup *, const char *name, const char *title, const char *says, double height,
               const markup *drawn, int alone);

/* What is drawn until svg_end has colour `which` (of any number: they come again). */
void svg_begin(markup *, size_t which), svg_end(markup *);
/* class: l line, g grid, r dashed rule; of paths also o others, b band, k dots, f filled. */
void svg_line(markup *, const char *class, double x1, double y1, double x2, double y2);
/* class: s starts there, m middle, e ends there, with t small; cut with an ellipsis to `room`. */
void svg_words(markup *, const char *class, double x, double y, double room, const char *words);
void svg_number(markup *, const char *class, double x, double y, double number);
void svg_mark(markup *, size_t which, int hollow, double x, double y);
const char *svg_mark_path(size_t which);           /* the same, from where a path stands */

typedef struct { double low, high, from, to, step; } svg_axis;     /* values, where they stand */
svg_axis svg_axis_to(double high, double from, double to);     /* from 0 to a round number */
double svg_at(const svg_axis *, double value);

typedef struct { double x, y, w, h, height; } svg_panel;       /* inner part; of all of them */
svg_panel svg_panel_of(size_t i, size_t n, size_t columns, double shape);  /* height by width */
/* The name of what it shows, its two lines and what they are. */
void svg_panel_frame(markup *, const svg_panel *, size_t which, const char *title,
                     const char *across, const char *up);
/* The axes are laid on it, with numbers at their ends. */
void svg_panel_axes(markup *, const svg_panel *, svg_axis *x, svg_axis *y);

#endif
