/* contrasts.h: what is asked of the arms: the method's sentences about its systems, and the pairs
 * of arms. Each is a sum of arms, paired seed by seed and problem by problem.
 *
 * Owns: the table of sentences; which pairs; the seeds that a sum can use; its estimate, Holm's
 * correction over all sentences and, by itself, over all pairs; a line for whatever could not be
 * told or was left out. The rule of a verdict is that of statistics.h. */
#ifndef CONTRASTS_H
#define CONTRASTS_H
#include "compare.h"

enum { CONTRAST_TERMS = 4 };
typedef struct { const char *arm; int sign, swapped; } contrast_term;  /* arm NULL: no more terms */
typedef struct {
    const char *claim, *formula;
    contrast_term terms[CONTRAST_TERMS];
} contrast;
extern const contrast CONTRASTS[];
extern const size_t N_CONTRASTS;

typedef struct { const arm *arm; int sign, swapped; } sum_term;
typedef struct {                   /* a sum of arms, and what came of it */
    const char *claim;             /* "": a pair */
    char formula[420];
    const family *family;          /* NULL: of arms from different families */
    sum_term terms[CONTRAST_TERMS];
    size_t n_terms;
    estimate share;                /* of its seeds; 0 seeds: the arms have none in common */
    size_t agree;                  /* seeds with the sign of the mean */
    double corrected;              /* p, by Holm */
    const char *verdict, *why;     /* yes, no, cannot tell; "" or the reason for that */
} finding;

typedef struct {
    finding *sentences, *pairs;
    size_t n_sentences, n_pairs, n_left_out;
    char (*left_out)[300];         /* lines */
} findings;

/* Every pair of the arms given, later less earlier; against (not ""): every arm less that one. */
int findings_make(dual_ctx *, const comparison *, const char *against, findings *);
void findings_free(findings *);

#endif
