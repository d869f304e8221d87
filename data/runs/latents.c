/* latents.c: what the N_L slots look like over many prompts.
 * Formulas: tests/reference/README.md.
 * Z [n, slots, d]; C_i = slot i's rows minus their mean; V_j = the top k_j right singular vectors
 * of C_j.
 *     H_ij = ||C_i V_j V_j^T||^2 / ||C_i||^2
 * is the share of slot i's variance that lies in slot j's subspace. All in double. Singular vectors
 * come from the eigenvectors of the covariance C^T C [d,d] (cyclic Jacobi), since
 *     ||C_i V_j||^2 = sum over v in V_j of v^T (C_i^T C_i) v. */

#include "latents.h"
#include <math.h>
#include <string.h>

enum { LANES = 16 };               /* partial sums, so that a compiler may use vectors */

/* Eigenvalues (falling) and eigenvectors (columns of v) of a symmetric [d,d]; a is destroyed. */
static void eigen(double *a, double *v, double *value, size_t d) {
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) v[i * d + j] = i == j;
    for (int sweep = 0; sweep < 60; sweep++) {
        double off = 0, all = 0;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                all += a[i * d + j] * a[i * d + j];
                if (i != j) off += a[i * d + j] * a[i * d + j];
            }
        if (off <= 1e-30 * all) break;
        for (size_t p = 0; p < d; p++)
            for (size_t q = p + 1; q < d; q++) {
                const double apq = a[p * d + q];
                if (apq == 0) continue;
                const double theta = (a[q * d + q] - a[p * d + p]) / (2 * apq);
                const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                const double co = 1 / sqrt(t * t + 1), si = t * co;
                for (size_t k = 0; k < d; k++) {   /* rows, which are contiguous */
                    const double x = a[p * d + k], y = a[q * d + k];
                    a[p * d + k] = co * x - si * y;
                    a[q * d + k] = si * x + co * y;
                }
                for (size_t k = 0; k < d; k++) {
                    const double x = a[k * d + p], y = a[k * d + q];
                    a[k * d + p] = co * x - si * y;
                    a[k * d + q] = si * x + co * y;
                    const double f = v[k * d + p], g = v[k * d + q];
                    v[k * d + p] = co * f - si * g;
                    v[k * d + q] = si * f + co * g;
                }
            }
    }
    for (size_t i = 0; i < d; i++) value[i] = a[i * d + i];
    for (size_t i = 0; i < d; i++) {               /* selection sort, columns move along */
        size_t best = i;
        for (size_t j = i + 1; j < d; j++)
            if (value[j] > value[best]) best = j;
        const double keep = value[i];
        value[i] = value[best];
        value[best] = keep;
        for (size_t k = 0; best != i && k < d; k++) {
            const double x = v[k * d + i];
            v[k * d + i] = v[k * d + best];
            v[k * d + best] = x;
        }
    }
}

/* cov = sum over rows r = first, first+step, .. of (row - mean)(row - mean)^T; slot(r) picks the
 * row of prompt r. Returns the number of rows. */
static size_t covariance(const double *z, size_t n, size_t slots, size_t d, const size_t *slot,
                         size_t first, size_t step, double *mean, double *row, double *cov) {
    size_t count = 0;
    memset(mean, 0, d * sizeof *mean);
    memset(cov, 0, d * d * sizeof *cov);
    for (size_t r = first; r < n; r += step) {
        for (size_t j = 0; j < d; j++) mean[j] += z[(r * slots + slot[r]) * d + j];
        count++;
    }
    for (size_t j = 0; j < d; j++) mean[j] /= count ? (double)count : 1;
    for (size_t r = first; r < n; r += step) {
        for (size_t j = 0; j < d; j++) row[j] = z[(r * slots + slot[r]) * d + j] - mean[j];
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) cov[i * d + j] += row[i] * row[j];
    }
    return count;
}

/* sum over the first k eigenvectors of v^T cov v, over the trace of cov */
static double captured(const double *cov, const double *v, size_t k, size_t d) {
    double sum = 0, trace = 0;
    for (size_t i = 0; i < d; i++) {
        trace += cov[i * d + i];
        for (size_t j = 0; j < d; j++) {
            double vv = 0;
            for (size_t e = 0; e < k; e++) vv += v[i * d + e] * v[j * d + e];
            sum += vv * cov[i * d + j];
        }
    }
    return trace > 0 ? sum / trace : 0;
}

/* H of two families of rows, once for each of the n_k sizes k: subspaces from `from`, variance from
 * `of` (first row, step). slot [slots, n] says which row of prompt r belongs to family i. H: of the
 * first size. */
typedef struct { double off, diag, k_mean; size_t k_min, k_max; } overlap;
static void cross_capture(dual_ctx *c, const double *z, size_t n, size_t slots, size_t d,
                          size_t n_k, const size_t *k, const size_t *slot, size_t from, size_t of,
                          size_t step, overlap *o, double *H) {
    const dual_mark start = dual_mark_here(c);
    double *mean = dual_alloc(c, d, sizeof *mean), *row = dual_alloc(c, d, sizeof *row);
    double *value = dual_alloc(c, d, sizeof *value), *work = dual_alloc(c, d * d, sizeof *work);
    double *v = dual_alloc(c, slots * d, d * sizeof *v);
    size_t *top = dual_alloc(c, n_k * slots, sizeof *top);     /* k_j of every size */
    for (size_t s = 0; c->memory && s < n_k; s++) {
        memset(&o[s], 0, sizeof o[s]);
        o[s].k_min = d;
    }
    for (size_t j = 0; c->memory && j < slots; j++) {
        double all = 0;
        covariance(z, n, slots, d, slot + j * n, from, step, mean, row, work);
        eigen(work, v + j * d * d, value, d);
        for (size_t i = 0; i < d; i++) all += value[i] > 0 ? value[i] : 0;
        for (size_t s = 0; s < n_k; s++) {
            double kept = 0;
            size_t i = 0;
            for (; i < d && (k[s] ? i < k[s] : kept < 0.99 * all); i++)
                kept += value[i] > 0 ? value[i] : 0;
            if (i < o[s].k_min) o[s].k_min = i;
            if (i > o[s].k_max) o[s].k_max = i;
            o[s].k_mean += (double)i / (double)slots;
            top[s * slots + j] = i;
        }
    }
    for (size_t i = 0; c->memory && i < slots; i++) {
        covariance(z, n, slots, d, slot + i * n, of, step, mean, row, work);
        for (size_t s = 0; s < n_k; s++)
            for (size_t j = 0; j < slots; j++) {
                const double h = captured(work, v + j * d * d, top[s * slots + j], d);
                if (H && !s) H[i * slots + j] = h;
                if (i == j) o[s].diag += h / (double)slots;
                else o[s].off += h / (double)(slots * (slots - 1));
            }
    }
    dual_release(c, start);
}

static double squared_distance(const double *x, const double *y, size_t d) {
    double s[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t j = 0; j < LANES; j++) s[j] += (x[i + j] - y[i + j]) * (x[i + j] - y[i + j]);
    for (size_t j = 0; i < d; i++, j++) s[j] += (x[i] - y[i]) * (x[i] - y[i]);
    for (size_t j = 0; j < LANES; j++) sum += s[j];
    return sum;
}

/* PCA of all rows about their common mean; the axes' signs are arbitrary. */
static void principal_axes(const double *z, size_t rows, size_t d, double *mean, double *cov,
                           double *v, double *value, double *pca, double *ratio) {
    double trace = 0;
    memset(cov, 0, d * d * sizeof *cov);
    memset(mean, 0, d * sizeof *mean);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < d; j++) mean[j] += z[r * d + j] / (double)rows;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                cov[i * d + j] += (z[r * d + i] - mean[i]) * (z[r * d + j] - mean[j]);
    for (size_t j = 0; j < d; j++) trace += cov[j * d + j];
    eigen(cov, v, value, d);
    for (size_t r = 0; pca && r < rows; r++)
        for (size_t a = 0; a < 2; a++) {
            pca[r * 2 + a] = 0;
            for (size_t j = 0; a < d && j < d; j++)
                pca[r * 2 + a] += (z[r * d + j] - mean[j]) * v[j * d + a];
        }
    for (size_t a = 0; ratio && a < 2; a++) ratio[a] = a < d && trace > 0 ? value[a] / trace : 0;
}

/* norms[i]: mean length of slot i's rows. */
static void slot_norms(const double *z, size_t n, size_t slots, size_t d, double *norms) {
    for (size_t i = 0; i < slots; i++) {
        norms[i] = 0;
        for (size_t r = 0; r < n; r++) {
            const double *row = z + (r * slots + i) * d;
            double square = 0;
            for (size_t j = 0; j < d; j++) square += row[j] * row[j];
            norms[i] += sqrt(square) / (double)n;
        }
    }
}

/* exp(entropy) of a spectrum: how many directions there would be, were all equally strong. */
static double effective_rank(const double *value, size_t d) {
    double trace = 0, entropy = 0;
    for (size_t j = 0; j < d; j++)
        if (value[j] > 0) trace += value[j];
    for (size_t j = 0; j < d; j++)
        if (value[j] > 0) entropy -= value[j] / trace * log(value[j] / trace);
    return trace > 0 ? exp(entropy) : 0;
}

/* Row r belongs to slot r % slots. own: mean distance to the own slot's other rows; nearest: to the
 * rows of the nearest other slot. */
static double silhouette_of(const double *z, size_t r, size_t n, size_t slots, size_t d) {
    double own = 0, nearest = HUGE_VAL;
    for (size_t i = 0; i < slots; i++) {
        double distance = 0;
        for (size_t q = 0; q < n; q++)
            distance += sqrt(squared_distance(z + r * d, z + (q * slots + i) * d, d));
        if (i == r % slots) own = distance / (double)(n - 1);
        else if (distance / (double)n < nearest) nearest = distance / (double)n;
    }
    const double larger = own > nearest ? own : nearest;
    return slots > 1 && larger > 0 ? (nearest - own) / larger : 0;
}

/* Fills sil [n,slots]; returns the mean. */
static double silhouettes(const double *z, size_t n, size_t slots, size_t d, double *sil) {
    double mean = 0;
#ifdef _OPENMP
#pragma omp parallel for schedule(static)
#endif
    for (size_t r = 0; r < n * slots; r++) sil[r] = silhouette_of(z, r, n, slots, d);
    for (size_t r = 0; r < n * slots; r++) mean += sil[r] / (double)(n * slots);
    return mean;
}

/* Control: each prompt's slots are shuffled; what is left of H_off is not the slots' doing. */
static void shuffle_slots(size_t *slot, size_t n, size_t slots) {
    dual_rng rng = dual_rng_seed(1, 0x5107);
    for (size_t r = 0; r < n; r++)
        for (size_t i = slots; i > 1; i--) {
            const size_t j = dual_rng_below(&rng, i), keep = slot[(i - 1) * n + r];
            slot[(i - 1) * n + r] = slot[j * n + r];
            slot[j * n + r] = keep;
        }
}

static void fill_view(latents_view *out, const overlap *all, const overlap *half,
                      const overlap *shuffled, size_t d) {
    out->h_off = all->off;
    out->h_diag = all->diag;
    out->floor = all->k_mean / (double)d;
    out->k_min = all->k_min;
    out->k_max = all->k_max;
    out->h_half = half->off;
    out->h_half_diag = half->diag;
    out->h_shuffled = shuffled->off;
}

int latents_analyse(dual_ctx *c, const double *z, size_t n, size_t slots, size_t d, size_t n_k,
                    const size_t *k, latents_view *out, double *H, double *norms, double *sil,
                    double *pca, double *ratio) {
    memset(out, 0, n_k * sizeof *out);
    if (n < 2 || slots < 1 || d < 1)
        return dual_failed(c, "latents: %zu prompts, %zu slots, width %zu: too few", n, slots, d);
    const dual_mark start = dual_mark_here(c);
    size_t *slot = dual_alloc(c, slots * n, sizeof *slot);
    overlap *const all = dual_alloc(c, 3 * n_k, sizeof *all);
    overlap *const half = all ? all + n_k : NULL;
    overlap *const shuffled = all ? half + n_k : NULL;
    double *mean = dual_alloc(c, d, sizeof *mean), *row = dual_alloc(c, d, sizeof *row);
    double *value = dual_alloc(c, d, sizeof *value), *cov = dual_alloc(c, d * d, sizeof *cov);
    double *sum = dual_alloc(c, d * d, sizeof *sum), *v = dual_alloc(c, d * d, sizeof *v);
    for (size_t i = 0; c->memory && i < slots * n; i++) slot[i] = i / n;
    cross_capture(c, z, n, slots, d, n_k, k, slot, 0, 0, 1, all, H);
    cross_capture(c, z, n, slots, d, n_k, k, slot, 0, 1, 2, half, NULL);
    if (c->memory) {
        memset(sum, 0, d * d * sizeof *sum);   /* the spectrum of all per-slot centred rows */
        for (size_t i = 0; i < slots; i++) {
            covariance(z, n, slots, d, slot + i * n, 0, 1, mean, row, cov);
            for (size_t j = 0; j < d * d; j++) sum[j] += cov[j];
        }
        eigen(sum, v, value, d);
        out->rank = effective_rank(value, d);
        if (norms) slot_norms(z, n, slots, d, norms);
        if (pca || ratio) principal_axes(z, n * slots, d, mean, sum, v, value, pca, ratio);
        if (sil) out->silhouette = silhouettes(z, n, slots, d, sil);
        shuffle_slots(slot, n, slots);
    }
    cross_capture(c, z, n, slots, d, n_k, k, slot, 0, 0, 1, shuffled, NULL);
    for (size_t s = 0; c->memory && s < n_k; s++) {
        fill_view(&out[s], &all[s], &half[s], &shuffled[s], d);
        out[s].silhouette = out->silhouette;
        out[s].rank = out->rank;
    }
    dual_release(c, start);
    return 1;
}
