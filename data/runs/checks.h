/* checks.h: what the options of a training run cannot ask for, before any file is read. */
#ifndef CHECKS_H
#define CHECKS_H
#include "settings.h"

/* Words and numbers that an option cannot have, and what makes no sense together. 0: ctx->error
 * says which. */
int run_check_settings(dual_ctx *, const run_settings *, const dual_system *);
/* A run that goes on must find the data it began with, told by `held`; a new one notes `now`. */
int run_hold_data(const run_settings *, int goes_on, const char *file, char held[80],
                  const char *now, char *error, size_t size);

#endif
