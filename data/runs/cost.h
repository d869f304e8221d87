/* cost.h: what a run costs, counted by running its very code without memory: FLOPs of a training
 * step of all ranks, bytes of a step and of scoring of one. */
#ifndef COST_H
#define COST_H
#include "run.h"
#include "scoring.h"

/* FLOPs of one training step in each stage, and of the first `steps` steps then. */
void run_stage_flops(const run *, run_task *, double flops[RUN_STAGES + 2]);
double run_flops(const run_settings *, const double flops[RUN_STAGES + 2], uint64_t steps);

/* Bytes of the block that a run takes, each part on top of those before it. */
typedef struct { size_t parameters, gradients, moments, tape, scoring, all; } run_memory;
/* In a counting context: one step on the longest batch, then one round of scoring, of n_test
 * examples or (test NULL, n_test > 0) of one sequence of held-out text. 0: the run cannot be built,
 * or a batch does not fit it; ctx->error says why. */
int run_count_memory(dual_ctx *, const run *, const run_task *, const example *test, size_t n_test,
                     const token_block *held_out, size_t held_first, run_memory *);
/* 0: all ranks of this machine take more than --memory, or than the machine or the cgroup has
 * (below `root`, "" but in tests; see platform.h); ctx->error says what would take less. */
int run_memory_check(dual_ctx *, const run *, const run_memory *, const char *root);

#endif
