/* gradients.h: the gradients of a training step, of its batch at once or in parts: one after
 * another, so that only one part's tape is in memory, and by several processes side by side. */
#ifndef RUN_GRADIENTS_H
#define RUN_GRADIENTS_H
#include "../../dual.h"

/* A batch is cut into n parts, of which this process takes first .. end-1. */
typedef struct {
    size_t first, end, n;
    void (*sum)(dual_real *, size_t);      /* over all processes; NULL: this one takes all parts */
} batch_share;

/* Means over the whole batch; of a share, what it adds to them. */
typedef struct {
    double loss;                   /* of the targets alone */
    double penalty;                /* of the orthogonality penalty; NAN if it is off */
} batch_means;

/* Part i of n of a batch: whole sequences with their groups, which are put into `group` (room for
 * all of the batch's). Parts differ by one sequence at most; n is at most n_sequences. */
dual_batch run_batch_part(const dual_batch *, size_t i, size_t n, dual_group *group);

/* Adds the gradients of the whole batch's loss into what is trained, of a share its addend of them.
 * Each part's target loss, text loss and penalty count by their share of the batch's targets, text
 * tokens and groups, so but for rounding the sum does not depend on the parts, nor on who takes
 * them. A centred penalty takes means over all groups: in parts it first runs the batch once for
 * these. 0: a batch that does not fit, or no memory for a list of groups; ctx->error says why. */
int run_gradients(dual_ctx *, dual_exchange *, const dual_batch *, const batch_share *,
                  batch_means *);

#endif
