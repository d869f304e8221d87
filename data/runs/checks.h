/* checks.h: what the options of a training run cannot ask for, before any file is read. */
#ifndef CHECKS_H
#define CHECKS_H
#include "settings.h"

/* Words and numbers that an option cannot have, and what makes no sense together. 0: ctx->error
 * says which. */
int run_check_settings(dual_ctx *, const run_settings *, const dual_system *);

#endif
