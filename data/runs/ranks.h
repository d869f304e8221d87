/* ranks.h: processes that train one run together, each on its share of every batch. They do the
 * same steps with the same weights and differ in the sequences they take; rank 0 alone scores and
 * writes.
 *
 * ranks.c is one process: nothing to wait for, nothing to add. tests/mpi/ranks.c has the same
 * functions over MPI, and a program linked with it is many. */
#ifndef RUN_RANKS_H
#define RUN_RANKS_H
#include "../../dual.h"

/* Early in main: may take words of its own from the command line. */
void ranks_begin(int *argc, char ***argv);
size_t ranks_count(void);
size_t ranks_own(void);                /* 0 .. count - 1 */
size_t ranks_here(void);               /* how many share this machine and its memory */

/* Where all ranks come together. Whether `flag` is set on any of them. */
int ranks_any(int flag);
/* Every number becomes its sum over all ranks, added in the order of ranks. */
void ranks_sum(double *, size_t n);
void ranks_sum_reals(dual_real *, size_t n);
/* Ends the run where a rank has another number than rank 0; why: what that would mean. */
void ranks_same(uint64_t number, const char *why);

/* This rank fails and is about to say why. Returns on the first rank that fails; all others end
 * without a word, at the next place where they come together. */
void ranks_failing(int status);

#endif
