/* report.h: how tallies and a comparison are printed, as tables and as JSON.
 *
 * Owns: the layout. Everything printed was computed before, but for Wilson intervals and verdicts,
 * which are asked for line by line. */
#ifndef REPORT_H
#define REPORT_H
#include "../runs/json.h"
#include "contrasts.h"

void report_tally(FILE *, const char *label, tally);           /* nothing where none was counted */
void report_tally_json(json_writer *, const char *key, tally);

void report_comparison(FILE *, const comparison *);
void report_comparison_json(FILE *, const comparison *);

#endif
