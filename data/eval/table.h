/* table.h: a table that grows cell by cell and is printed when its widths are known: as text, or as
 * Markdown, or into a page. */
#ifndef TABLE_H
#define TABLE_H
#include "../runs/markup.h"
#include <stdio.h>

enum { TABLE_CELL = 424 };
typedef struct {
    size_t columns, cells, room;
    unsigned left;                 /* bit i: column i is set to the left */
    char (*cell)[TABLE_CELL];      /* the first row holds the titles */
    int failed;                    /* out of memory: nothing is printed */
} table;

/* Titles with a | between them. */
table table_begin(const char *titles, unsigned left);
void table_cell(table *, const char *format, ...);
void table_number(table *, const char *format, double);        /* "-" where it is not finite */
/* Prints and frees it, nothing if it has no row; as text without columns that hold "-" alone. 0: it
 * had no memory. */
int table_end(table *, FILE *, int markdown);
void table_into_page(table *, markup *, const char *heading);

#endif
