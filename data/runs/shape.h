/* shape.h: the shape of a Base from random weights. */
#ifndef SHAPE_H
#define SHAPE_H
#include "settings.h"

/* What --arch and the size options ask for. 0: no such model, ctx->error says why. */
int run_shape_of_options(dual_ctx *, const run_settings *, size_t vocab, dual_config *);
/* System `wide`: the single model whose parameters come nearest those of a run's Base and
 * Coprocessor together: same layers and head width, more heads. In a counting context; 0: the run's
 * base/ cannot be read. */
int run_shape_wide(dual_ctx *, const char *folder, dual_config *);

#endif
