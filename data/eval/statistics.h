/* statistics.h: what seeds and problems allow one to say of a mean. Every seed has answered the
 * same problems, so the values are a crossed table; both a seed and a problem are draws from a
 * larger population, and an interval has to speak of both.
 *
 * Owns: Student's distribution, the interval and p of a crossed mean, Holm's correction, the rule
 * of a verdict. Knows nothing of runs. */
#ifndef STATISTICS_H
#define STATISTICS_H
#include <stddef.h>

/* Below 3 seeds nothing can be said of seeds; from 5 on a verdict is given. */
enum { INTERVAL_SEEDS = 3, VERDICT_SEEDS = 5 };

double student_tail(double t, double df);          /* P(|T| > t) */
double student_quantile(double p, double df);      /* the t with that tail */

typedef struct {
    size_t seeds, problems;
    double mean, low, high;        /* 95 % interval; NAN: of one problem there is none */
    int over_seeds;                /* 0: the interval is over the problems only */
    double spread;                 /* standard deviation of the seeds' means; NAN: one seed */
    double p;                      /* two-sided, of a mean of 0; NAN: not over seeds */
} estimate;

/* value [seeds, problems] */
estimate estimate_mean(const double *value, size_t seeds, size_t problems);

/* Of n hypotheses tested together: p corrected, in place of nothing; NAN is no test and stays. */
void holm_correct(const double *p, size_t n, double *corrected);

/* yes, no, or cannot tell: from 5 seeds on, where the corrected p is below 0.05. why is "" or the
 * reason for cannot tell. */
const char *verdict_of(const estimate *, double corrected, const char **why);

#endif
