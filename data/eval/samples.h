/* samples.h: several answers to each problem, drawn from the model: how many are right, how often
 * one of k is, and what most of them say.
 *
 * Owns: pass@k by the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), the majority vote,
 * and their intervals, which are over problems: the answers to one problem do not count as many. */
#ifndef SAMPLES_H
#define SAMPLES_H
#include "score.h"

/* The share of all choices of k of n answers, c of them right, that hold a right one:
 * 1 - C(n-c, k) / C(n, k). */
double pass_at(size_t n, size_t c, size_t k);

enum { PASSES_MOST = 64 };
typedef struct {
    size_t problems, samples, right;       /* right: of problems * samples answers */
    size_t verdict[TASK_VERDICTS];         /* of all of them */
    size_t n_passes, k[PASSES_MOST];       /* 1 2 4 8 .., and the number of samples */
    double pass[PASSES_MOST];              /* means over the problems */
    tally majority;
} samples_result;

/* answers[s * n + i]: answer s to row i, its tokens kept. The majority are the most answers that
 * are alike, of equally many the first; a text that no answer can be read from has no vote. */
int samples_count(dual_ctx *, const run_task *, const answer *, size_t n, size_t samples,
                  samples_result *);
/* Whether two texts give the same answer: the same but for blanks; GSM8K's: the same number. */
int samples_agree(task_kind, const char *a, const char *b);

#endif
