/* doubts.h: every difference between runs that puts their comparison in doubt.
 *
 * Owns: what must be equal (compared by content, so that a copy of a Base or of a file is the same
 * one), what is said of it, and that more than three lines of a kind become one. */
#ifndef DOUBTS_H
#define DOUBTS_H
#include "compare.h"

/* One line each. */
void comparison_warnings(const comparison *, void (*say)(void *to, const char *line), void *to);

#endif
