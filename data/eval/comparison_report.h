/* comparison_report.h: a comparison and what follows from it, printed: a table a family as text or
 * Markdown, all of it as one CSV table, or JSON. data/README.md, "Comparing", says what the columns
 * are.
 *
 * Owns: the layout. Everything printed was computed before. */
#ifndef COMPARISON_REPORT_H
#define COMPARISON_REPORT_H
#include "contrasts.h"
#include "report.h"

/* 0: out of memory. */
int report_comparison(dual_ctx *, FILE *, const comparison *, const findings *, int markdown);
void report_comparison_csv(FILE *, const comparison *, const findings *);
/* Within an open document. */
void report_comparison_json(json_writer *, const comparison *, const findings *);
void report_warnings(FILE *, const comparison *);

#endif
