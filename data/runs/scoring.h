/* scoring.h: how good a run is: answers that are generated and graded, and losses. */
#ifndef SCORING_H
#define SCORING_H
#include "batches.h"

typedef struct {
    int verdict;                   /* task_grade's; without an end token: not correct */
    int ended;                     /* came to the end token */
    int each_once, simple;         /* countdown: uses each number once; + and - alone can do it */
    size_t length;                 /* tokens before the end token */
    int32_t *tokens;               /* the caller's room for max_new of them; NULL: not kept */
} answer;

/* Greedy (temperature 0) answers of at most max_new tokens for n examples; loss: teacher-forced
 * mean over their targets (may be NULL). ctx holds the run; memory above its mark is used and
 * released. */
void run_score(dual_ctx *, dual_exchange *, const run_task *, const example *, size_t n,
               dual_ablation, double temperature, uint64_t seed, size_t max_new, answer *out,
               double *loss);
/* Teacher-forced mean loss on `count` sequences of held-out text. */
double run_text_loss(dual_ctx *, dual_exchange *, const run_settings *, const token_block *,
                     size_t first, size_t count);
/* --max-new, or the task's limit; where steps are shown, as many as the longest y has. */
size_t run_max_new(const run_settings *, const run_task *);
/* The text of n tokens, for the caller to free: with a BPE any bytes, NULs too. NULL: out of
 * memory. */
char *run_spell(const run_task *, const int32_t *tokens, size_t n, size_t *length);
/* task_grade of a whole generated text. Without its end token it is unfinished; no task asks for a
 * NUL, so with one it counts as malformed. */
int run_verdict(task_kind, const task_row *, const char *text, size_t length, int ended);

/* An answer of n tokens to an example. */
void run_grade(const run_task *, const example *, const int32_t *tokens, size_t n, int ended,
               answer *);

/* 95 % Wilson score interval of a share. */
double wilson_low(double hits, double n), wilson_high(double hits, double n);

#endif
