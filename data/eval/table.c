/* table.c: see table.h. */
#include "table.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *new_cell(table *t) {
    if (t->cells == t->room && !t->failed) {
        const size_t room = t->room ? 2 * t->room : 64;
        char (*grown)[TABLE_CELL] = realloc(t->cell, room * sizeof *grown);
        if (grown) {
            t->cell = grown;
            t->room = room;
        } else t->failed = 1;
    }
    return t->failed ? NULL : t->cell[t->cells++];
}

table table_begin(const char *titles, unsigned left) {
    table t;
    memset(&t, 0, sizeof t);
    t.left = left;
    for (const char *at = titles;; at++) {
        const size_t n = strcspn(at, "|");
        table_cell(&t, "%.*s", (int)n, at);
        t.columns++;
        at += n;
        if (!*at) return t;
    }
}

void table_cell(table *t, const char *format, ...) {
    char *cell = new_cell(t);
    va_list list;
    if (!cell) return;
    va_start(list, format);
    vsnprintf(cell, TABLE_CELL, format, list);
    va_end(list);
}

void table_number(table *t, const char *format, double x) {
    char text[40];
    snprintf(text, sizeof text, format, x);
    table_cell(t, "%s", isfinite(x) ? text : "-");
}

static size_t width_of(const table *t, size_t column) {
    size_t width = 0;
    for (size_t i = column; i < t->cells; i += t->columns) {
        const size_t n = strlen(t->cell[i]);
        if (n > width) width = n;
    }
    return width;
}

static int is_left(const table *t, size_t column) {
    return column < 8 * sizeof t->left && (t->left >> column & 1);
}

/* A column that has "-" in every row says nothing, and a screen has 80 of them. */
static int is_empty(const table *t, size_t column) {
    for (size_t i = t->columns + column; i < t->cells; i += t->columns)
        if (strcmp(t->cell[i], "-") != 0) return 0;
    return 1;
}

/* The last column has nothing behind it to be kept apart from. */
static void print_text(const table *t, FILE *to, size_t row) {
    for (size_t i = 0; i < t->columns; i++) {
        const char *cell = t->cell[row * t->columns + i];
        const int width = (int)width_of(t, i), last = i + 1 == t->columns;
        if (is_empty(t, i)) continue;
        fputs(i ? "  " : "", to);
        if (is_left(t, i)) fprintf(to, "%-*s", last ? 0 : width, cell);
        else fprintf(to, "%*s", width, cell);
    }
    fprintf(to, "\n");
}

static void print_markdown(const table *t, FILE *to, size_t row) {
    for (size_t i = 0; i < t->columns; i++) fprintf(to, "| %s ", t->cell[row * t->columns + i]);
    fprintf(to, "|\n");
    for (size_t i = 0; i < t->columns && !row; i++) fputs(is_left(t, i) ? "|---" : "|--:", to);
    if (!row) fprintf(to, "|\n");
}

int table_end(table *t, FILE *to, int markdown) {
    const int ok = !t->failed;
    for (size_t row = 0; ok && t->cells > t->columns && row < t->cells / t->columns; row++) {
        if (markdown) print_markdown(t, to, row);
        else print_text(t, to, row);
    }
    free(t->cell);
    memset(t, 0, sizeof *t);
    return ok;
}

/* The corner above the names holds nothing. */
static const char *tag_of(const char *cell, size_t row, size_t column) {
    if (!row && *cell) return "th scope=\"col\"";
    return row && !column ? "th scope=\"row\"" : "td";
}

static void add_row(const table *t, markup *p, size_t row) {
    markup_add(p, "<tr>");
    for (size_t i = 0; i < t->columns; i++) {
        const char *cell = t->cell[row * t->columns + i], *tag = tag_of(cell, row, i);
        if (is_empty(t, i)) continue;
        markup_add(p, "<%s%s>", tag, is_left(t, i) ? " class=\"left\"" : "");
        markup_text(p, cell);
        markup_add(p, "</%.2s>", tag);
    }
    markup_add(p, "</tr>\n");
}

void table_into_page(table *t, markup *p, const char *heading) {
    p->failed |= t->failed;
    if (!t->failed && t->cells > t->columns) {
        markup_line(p, "h3", heading);
        markup_add(p, "<div class=\"wide\" tabindex=\"0\"><table>\n");
        for (size_t row = 0; row < t->cells / t->columns; row++) add_row(t, p, row);
        markup_add(p, "</table></div>\n");
    }
    free(t->cell);
    memset(t, 0, sizeof *t);
}
