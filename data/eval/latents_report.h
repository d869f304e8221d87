/* latents_report.h: over many prompts, do the N_L slots of a run hold different things?
 *
 * Owns: the latents of all prompts as doubles, the sizes of subspaces that are looked at, and what
 * data/runs/latents.h says of them. Refuses: prompts that do not fit the model. */
#ifndef LATENTS_REPORT_H
#define LATENTS_REPORT_H
#include "../runs/latents.h"
#include "problems.h"

enum { LATENTS_SIZES = 4 };            /* 99 % of the variance (or k), then k = 1, 8, 32 */
enum { BY_VARIANCE };                  /* for k: what keeps 99 % of each slot's variance */
typedef struct {
    size_t prompts, slots, width, sizes;
    latents_view at[LATENTS_SIZES];
    double *H, *norms;                 /* [slots,slots] of at[0]; [slots] */
    double *states;                    /* [prompts,slots,width] what was analysed */
    double *plane, part[2];            /* [prompts,slots,2] on the first two principal axes, about
                                        * the mean of all; their parts of the variance */
} latents_report;

/* Within work. k: size of each slot's subspace, or BY_VARIANCE; sizes: how many of at[]. While
 * counting the report stays empty. */
int latents_measure(dual_ctx *, loaded_run *, const example *rows, size_t n, size_t k,
                    size_t sizes, latents_report *);
int latents_report_run(dual_ctx *, loaded_run *, const problem_set *, size_t k, latents_report *);
void latents_report_free(latents_report *);
/* The states as CSV: prompt, slot, then width numbers. */
int latents_dump(dual_ctx *, const char *file, const latents_report *);
const char *latents_meaning(const dual_system *);      /* which states they are */

#endif
