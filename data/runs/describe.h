/* describe.h: statistics of a task's rows, as ./train --describe prints them. */
#ifndef DESCRIBE_H
#define DESCRIBE_H
#include "header.h"

/* Rows of --data, or 2,000 generated ones, with all their steps: how many, how long, and the first
 * three; of ProsQA also its graphs. left_out: what was wrong with rows that are left out. 0:
 * failed; error begins with "-" where an option is at fault. */
int run_describe_rows(const run_settings *, const run_task *, note *, note *left_out, char *error,
                      size_t size);

#endif
