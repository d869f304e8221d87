/* latents.h: latent analysis, method section 7.9, always in double (formulas:
 * tests/reference/README.md). Scratch memory comes from the context, above its mark. */
#ifndef LATENTS_H
#define LATENTS_H
#include "../../dual.h"

typedef struct {
    double h_off, h_diag, floor;   /* mean off-diagonal, mean diagonal, mean k_j/d */
    double silhouette, rank;       /* rank: exp of the entropy of the centred spectrum */
    double h_shuffled;             /* H_off after each prompt's slots were shuffled */
    double h_half, h_half_diag;    /* subspaces from one half, variance of the other */
    size_t k_min, k_max;
} latents_view;
/* z [n,slots,d]; out [n_k], one for each size k of subspaces; k = 0: the smallest k_j that keeps
 * 99 % of slot j's variance. H [slots,slots], of the first size, and norms [slots] may be NULL; sil
 * [n,slots] and pca [n,slots,2], ratio[2] too. The silhouette takes (n slots)^2 d steps and is made
 * only when sil is given. */
int latents_analyse(dual_ctx *, const double *z, size_t n, size_t slots, size_t d, size_t n_k,
                    const size_t *k, latents_view *out, double *H, double *norms, double *sil,
                    double *pca, double *ratio);

#endif
