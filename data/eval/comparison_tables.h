/* comparison_tables.h: the tables of a comparison, as cells, and all of them in a page.
 *
 * Owns: rows and columns; data/README.md, "Comparing" and "The report", says what they are.
 * Everything in them was computed before, but for the means of a slot. */
#ifndef COMPARISON_TABLES_H
#define COMPARISON_TABLES_H
#include "contrasts.h"
#include "table.h"

const char *interval_over(const estimate *);       /* what it speaks of */
/* Of a family its accuracies and its costs; the findings of a family, of NULL those between
 * families. */
table accuracy_table(const comparison *, const family *);
table cost_table(const comparison *, const family *);
table findings_table(const finding *, size_t n, const family *, int are_pairs);
/* Of all arms that have it: the curve of a training, other N_L, H, latents, latents that another
 * problem's can stand in for. */
table curves_table(const comparison *), budget_table(const comparison *);
table overlap_table(const comparison *), slots_table(const comparison *);
table swapped_table(const comparison *);
int arm_has_curve(const comparison *, const arm *), arm_has_budget(const comparison *, const arm *);
int arm_has_overlap(const comparison *, const arm *);
int arm_has_slots(const comparison *, const arm *);
int arm_has_swapped(const comparison *, const arm *);
/* Into a page: those tables; the findings; warnings and every run's options. */
void families_into_page(markup *, const comparison *);
void findings_into_page(markup *, const comparison *, const findings *);
void runs_into_page(markup *, const comparison *);

#endif
