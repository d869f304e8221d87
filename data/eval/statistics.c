/* statistics.c: see statistics.h. */
#include "statistics.h"
#include <float.h>
#include <math.h>

static const double ALPHA = 0.05;

/* ---- Student's distribution ------------------------------------------------------------------ */

/* The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), from the
 * front by Lentz's method. Converges fast for x below (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), product = d;
    for (int m = 1; m < 500; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        product *= c * d;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        product *= c * d;
        if (fabs(c * d - 1) < 1e-14) break;
    }
    return product;
}

/* I_x(a, b); y is 1 - x, which may be too small to be found by subtracting. */
static double beta_share(double a, double b, double x, double y) {
    if (!(x > 0)) return 0;
    if (!(y > 0)) return 1;
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double student_tail(double t, double df) {
    const double square = t * t;
    if (isinf(square)) return 0;
    return beta_share(df / 2, 0.5, df / (df + square), square / (df + square));
}

static double student_density(double t, double df) {
    const double pi = 3.14159265358979323846;
    return exp(lgamma((df + 1) / 2) - lgamma(df / 2) - (df + 1) / 2 * log(1 + t * t / df)) /
           sqrt(df * pi);
}

/* Newton's method on the tail's logarithm, kept within a bracket. */
double student_quantile(double p, double df) {
    double low = 0, high = 1, t = 1;
    if (!(p > 0)) return HUGE_VAL;
    if (p >= 1) return 0;
    while (student_tail(high, df) > p && high < 1e150) high *= 2;
    for (int i = 0; i < 200; i++) {
        const double tail = student_tail(t, df), before = t;
        if (tail > p) low = t;
        else high = t;
        t += log(tail / p) * tail / (2 * student_density(t, df));
        if (!(t > low && t < high)) t = (low + high) / 2;
        if (fabs(t - before) <= 1e-13 * t) break;
    }
    return t;
}

/* ---- A crossed mean -------------------------------------------------------------------------- */

/* Mean squares of a two-way table with one value in a cell. */
typedef struct { double mean, seeds, problems, rest; } mean_squares;

static double mean_of_seed(const double *value, size_t seed, size_t problems) {
    double sum = 0;
    for (size_t i = 0; i < problems; i++) sum += value[seed * problems + i];
    return sum / (double)problems;
}

static double mean_of_problem(const double *value, size_t problem, size_t seeds, size_t problems) {
    double sum = 0;
    for (size_t s = 0; s < seeds; s++) sum += value[s * problems + problem];
    return sum / (double)seeds;
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static mean_squares find_squares(const double *value, size_t seeds, size_t problems) {
    const double s = (double)seeds, n = (double)problems;
    mean_squares m = {0, 0, 0, 0};
    double all = 0;
    for (size_t i = 0; i < seeds; i++) m.mean += mean_of_seed(value, i, problems) / s;
    for (size_t i = 0; i < seeds; i++) {
        const double off = mean_of_seed(value, i, problems) - m.mean;
        m.seeds += n * off * off;
    }
    for (size_t i = 0; i < problems; i++) {
        const double off = mean_of_problem(value, i, seeds, problems) - m.mean;
        m.problems += s * off * off;
    }
    for (size_t i = 0; i < seeds * problems; i++) all += (value[i] - m.mean) * (value[i] - m.mean);
    m.rest = all - m.seeds - m.problems;
    if (m.rest < 1e-12 * all) m.rest = 0;          /* but for rounding */
    if (m.seeds < 1e-12 * all) m.seeds = 0;
    m.seeds = ratio(m.seeds, s - 1);
    m.problems = ratio(m.problems, n - 1);
    m.rest = ratio(m.rest, (s - 1) * (n - 1));
    return m;
}

/* The variance of the mean in two parts, each with its degrees of freedom. */
typedef struct { double seeds, problems, df_seeds, df_problems; } variance_parts;

/* Of S seeds crossed with n problems, value = mean + seed + problem + rest, the mean's variance is
 *     V(seed) / S + V(problem) / n + V(rest) / (S n),
 * and the mean squares expect (Cornfield and Tukey 1956, Annals of Mathematical Statistics 27; in
 * use for subjects crossed with items: Clark 1973, Journal of Verbal Learning 12)
 *     MS(seeds): V(rest) + n V(seed),   MS(problems): V(rest) + S V(problem),   MS(rest): V(rest).
 * So MS(seeds) / (S n), which is the squared standard error of the seeds' own means with S - 1
 * degrees of freedom, holds all but the problems, which (MS(problems) - MS(rest)) / (S n) adds. */
static variance_parts find_parts(const mean_squares *m, size_t seeds, size_t problems) {
    const double s = (double)seeds, n = (double)problems;
    /* seeds of equal means, by chance, are not certain: the rest alone would make them differ */
    const double of_seeds = m->seeds > 0 ? m->seeds : m->rest;
    const double more = m->problems > m->rest ? m->problems - m->rest : 0;
    const variance_parts v = {of_seeds / (s * n), more / (s * n), s - 1, n - 1};
    return v;
}

/* Half of the interval that misses with probability p: the halves of two independent parts add up
 * as squares (Howe 1974, Journal of the American Statistical Association 69, 789-794). It is never
 * narrower than Student's interval of the seeds' means. By simulation, whatever the shares of the
 * two, it covers 95 to 96.7 % with 5 seeds; with 3 up to 97.7 % where both are alike. */
static double half_width(const variance_parts *v, double p) {
    double square = 0, t;
    if (v->seeds > 0) {
        t = student_quantile(p, v->df_seeds);
        square += t * t * v->seeds;
    }
    if (v->problems > 0) {
        t = student_quantile(p, v->df_problems);
        square += t * t * v->problems;
    }
    return sqrt(square);
}

/* The p whose interval just reaches 0. It lies between those of the two distributions. */
static double p_of_mean(const variance_parts *v, double mean) {
    const double all = sqrt(v->seeds + v->problems), t = fabs(mean) / all;
    if (!(all > 0)) return mean == 0 ? 1 : 0;
    const double of_seeds = student_tail(t, v->df_seeds);
    const double of_problems = student_tail(t, v->df_problems);
    double low = fmin(of_seeds, of_problems), high = fmax(of_seeds, of_problems);
    if (!(v->problems > 0)) return of_seeds;
    if (!(v->seeds > 0)) return of_problems;
    if (low < DBL_MIN) low = DBL_MIN;
    for (int i = 0; i < 60 && high > low * (1 + 1e-9); i++) {
        const double p = sqrt(low * high);
        if (half_width(v, p) > fabs(mean)) low = p;
        else high = p;
    }
    return high;
}

/* The problems alone, each with the mean of its seeds: of fewer seeds than can tell of seeds. */
static double half_over_problems(const mean_squares *m, size_t seeds, size_t problems) {
    const double n = (double)problems;
    return student_quantile(ALPHA, n - 1) * sqrt(m->problems / ((double)seeds * n));
}

estimate estimate_mean(const double *value, size_t seeds, size_t problems) {
    const mean_squares m = find_squares(value, seeds, problems);
    estimate e = {seeds, problems, m.mean, NAN, NAN, seeds >= INTERVAL_SEEDS, NAN, NAN};
    if (seeds > 1) e.spread = sqrt(m.seeds / (double)problems);
    if (problems < 2) return e;
    double half = half_over_problems(&m, seeds, problems);
    if (e.over_seeds) {
        const variance_parts v = find_parts(&m, seeds, problems);
        half = half_width(&v, ALPHA);
        e.p = p_of_mean(&v, m.mean);
    }
    e.low = m.mean - half;
    e.high = m.mean + half;
    return e;
}

/* ---- Several at once ------------------------------------------------------------------------- */

/* Holm 1979, Scandinavian Journal of Statistics 6: the k-th smallest of n is multiplied by
 * n - k + 1, and none may fall below one before it. n is a page of lines at most. */
void holm_correct(const double *p, size_t n, double *corrected) {
    size_t tests = 0;
    for (size_t i = 0; i < n; i++) tests += isnan(p[i]) ? 0 : 1;
    for (size_t i = 0; i < n; i++) {
        corrected[i] = p[i];
        for (size_t k = 0; k < n; k++) {       /* the largest of all that are no larger */
            size_t smaller = 0;
            if (isnan(p[i]) || !(p[k] <= p[i])) continue;
            for (size_t j = 0; j < n; j++) smaller += p[j] < p[k];
            corrected[i] = fmax(corrected[i], fmin(1, (double)(tests - smaller) * p[k]));
        }
    }
}

const char *verdict_of(const estimate *e, double corrected, const char **why) {
    static const char *const few[] = {"no seed in common", "1 seed", "2 seeds, 5 are needed",
                                      "3 seeds, 5 are needed", "4 seeds, 5 are needed"};
    *why = "";
    if (e->seeds < VERDICT_SEEDS) *why = few[e->seeds];
    else if (isnan(e->low)) *why = "one problem";
    else if (e->low <= 0 && e->high >= 0) *why = "interval holds 0";
    else if (!(corrected < ALPHA)) *why = "not after Holm's correction";
    if (**why) return "cannot tell";
    return e->mean > 0 ? "yes" : "no";
}
