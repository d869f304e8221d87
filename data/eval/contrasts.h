/* contrasts.h: the method's sentences about its systems, each a sum of arms, paired problem by
 * problem.
 *
 * Owns: the table of sentences and the rule of a verdict: yes or no only if the 95 % interval
 * excludes 0 and at least three seeds agree in sign, else "cannot tell". A contrast is not tested
 * if one of its arms is missing. */
#ifndef CONTRASTS_H
#define CONTRASTS_H
#include "compare.h"

enum { CONTRAST_TERMS = 4, CONTRAST_SEEDS = 3 };       /* seeds that must agree */
typedef struct { const char *arm; int sign, swapped; } contrast_term;  /* arm NULL: no more terms */
typedef struct {
    const char *claim, *formula;
    contrast_term terms[CONTRAST_TERMS];
} contrast;
extern const contrast CONTRASTS[];
extern const size_t N_CONTRASTS;

typedef struct {
    double points, low, high;      /* percentage points, 95 % interval */
    size_t seeds, agree;           /* seeds that all arms have; those with the sign of `points` */
    const char *verdict;           /* yes, no, cannot tell */
} contrast_result;
/* 0: an arm is missing. */
int test_contrast(const comparison *, const contrast *, contrast_result *);

#endif
