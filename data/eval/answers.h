/* answers.h: generated answers one by one: how likely each was, and the file that shows them.
 *
 * Owns: the log-likelihood of an answer under the model that gave it, and the layout of a row.
 * Refuses: a file that cannot be written. */
#ifndef ANSWERS_H
#define ANSWERS_H
#include "problems.h"

/* log p of each target of a group, from logits' row on; returns how many. */
size_t log_likelihoods(const dual_tensor *logits, size_t row, const dual_group *, double *out);

/* Within work, and only with answers whose tokens were kept: log p of each one's tokens and its end
 * token, at temperature 1, with the latents it was given. ablation, seed, max_new: as in
 * run_score. */
void answers_likelihood(dual_ctx *, loaded_run *, const example *rows, size_t n, dual_ablation,
                        uint64_t seed, size_t max_new, const answer *, double *out);

/* One JSON object a line for each answer: those of all rows, `samples` times. */
int answers_write(dual_ctx *, const char *file, const run_task *, const problem_set *,
                  size_t samples, const answer *, const double *likelihood);

#endif
