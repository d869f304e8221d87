/* comparison_report.h: a comparison and what follows from it, printed: a table a family as text or
 * Markdown, all of it as one CSV table, JSON, or part of a page. data/README.md, "Comparing", says
 * what the columns are.
 *
 * Owns: the layout. Everything printed was computed before. */
#ifndef COMPARISON_REPORT_H
#define COMPARISON_REPORT_H
#include "contrasts.h"
#include "report.h"
#include "table.h"

/* 0: out of memory. */
int report_comparison(dual_ctx *, FILE *, const comparison *, const findings *, int markdown);
void report_comparison_csv(FILE *, const comparison *, const findings *);
/* Within an open document. */
void report_comparison_json(json_writer *, const comparison *, const findings *);
/* The tables alone, for table_end: of a family its accuracies and its costs; the findings of a
 * family, of NULL those between families. */
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
void families_into_page(page *, const comparison *);
void findings_into_page(page *, const comparison *, const findings *);
void runs_into_page(page *, const comparison *);
void report_warnings(FILE *, const comparison *);

#endif
