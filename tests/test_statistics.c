/* test_statistics.c: Student's distribution against tables, the interval of a crossed mean by hand
 * and by simulation, Holm's correction, verdicts.
 */
#include "check.h"
#include "../data/eval/statistics.h"

/* Two-sided 5 % and 1 % points, to the digits of the usual tables. */
static void test_student(void) {
    static const struct { double df, at_5, at_1; } table[] = {
        {1, 12.7062047, 63.6567412}, {2, 4.30265273, 9.92484320}, {3, 3.18244631, 5.84090931},
        {4, 2.77644511, 4.60409487}, {7, 2.36462425, 3.49948330}, {30, 2.04227246, 2.74999565},
        {999, 1.96234146, 2.58075971}, {1e6, 1.95996636, 2.57583422}
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double df = table[i].df;
        check_close(student_quantile(0.05, df), table[i].at_5, 1e-6, "5 %%, df %g", df);
        check_close(student_quantile(0.01, df), table[i].at_1, 1e-6, "1 %%, df %g", df);
        check_close(student_tail(table[i].at_5, df), 0.05, 1e-8, "tail, df %g", df);
        for (double p = 1e-12; p < 1; p *= 37) {
            const double t = student_quantile(p, df);
            check_close(student_tail(t, df) / p, 1, 1e-7, "there and back, p %g, df %g", p, df);
        }
    }
    check_close(student_tail(0, 4), 1, 1e-15, "the tail from 0 on is all");
    check_close(student_tail(1, 1), 0.5, 1e-14, "Cauchy's quartiles");
    check_close(student_tail(-1, 1), 0.5, 1e-14, "both tails, whatever the sign");
}

/* Seeds that differ and problems that do not: Student's interval of the seeds' means. */
static void test_seeds_only(void) {
    static const double mean[4] = {-1.5, -1.7, -4.3, -0.8};
    double value[40];
    for (size_t i = 0; i < 40; i++) value[i] = mean[i / 10];
    estimate e = estimate_mean(value, 4, 10);
    /* mean -2.075, sd 1.533, / 2, t with 3 degrees of freedom 3.18245 */
    check_close(e.mean, -2.075, 1e-12, "mean");
    check_close(e.spread, 1.5326991, 1e-6, "spread over seeds");
    check_close(e.low, -4.5138606, 1e-5, "low");
    check_close(e.high, 0.3638606, 1e-5, "high");
    check_close(e.p, student_tail(2.075 / (1.5326991 / 2), 3), 1e-6, "p");
    check_that(e.over_seeds, "an interval over seeds");
    e = estimate_mean(value, 2, 10);
    check_that(!e.over_seeds && isnan(e.p), "two seeds: an interval over problems, no p");
}

/* One seed: Student's interval over the problems. */
static void test_one_seed(void) {
    static const double value[8] = {1, 1, 1, 1, 1, 1, 1, 0};
    const estimate e = estimate_mean(value, 1, 8);
    check_close(e.mean, 0.875, 1e-15, "mean");
    check_close(e.high - e.mean, 2.36462425 / 8, 1e-8, "the mean's variance is 1/64");
    check_that(!e.over_seeds && isnan(e.p) && isnan(e.spread), "nothing is said of seeds");
    const estimate one = estimate_mean(value, 1, 1);
    check_that(isnan(one.low) && isnan(one.high), "one problem has no interval");
}

/* Both vary: seeds of means 1, 2, 6, problems of means 0, 2, 4, 6, and a rest. */
static void test_both(void) {
    static const double value[12] = {-2, 1, 1, 4, -1, -1, 5, 5, 3, 6, 6, 9};
    const estimate e = estimate_mean(value, 3, 4);
    /* MS(seeds) = 28, MS(problems) = 20, MS(rest) = 2 */
    const double of_seeds = 28 / 12.0, of_problems = (20 - 2) / 12.0;
    const double half = sqrt(4.30265273 * 4.30265273 * of_seeds +
                             3.18244631 * 3.18244631 * of_problems);
    check_close(e.mean, 3, 1e-14, "mean");
    check_close(e.high - 3, half, 1e-6, "half: squares of both halves");
    check_close(e.spread, sqrt(7), 1e-12, "spread: of 1, 2, 6");
    const double t_2 = student_quantile(e.p, 2), t_3 = student_quantile(e.p, 3);
    check_close(t_2 * t_2 * of_seeds + t_3 * t_3 * of_problems, 9, 1e-6,
                "p: its interval just reaches 0");
}

/* Equal means of seeds are chance where their answers differ, and none where they do not. */
static void test_degenerate(void) {
    double value[40];
    for (size_t i = 0; i < 40; i++) value[i] = i % 8 == i / 8;
    estimate e = estimate_mean(value, 5, 8);
    check_close(e.mean, 0.125, 1e-14, "one problem of 8, another one for each seed");
    check_that(e.high - e.low > 0.1 && e.p > 0.05, "which is not certain: %g..%g", e.low, e.high);
    for (size_t i = 0; i < 40; i++) value[i] = i % 8 == 0;
    e = estimate_mean(value, 5, 8);
    check_close(e.high - 0.125, 2.36462425 / 8, 1e-8, "all seeds alike: the problems' interval");
    for (size_t i = 0; i < 40; i++) value[i] = 0;
    e = estimate_mean(value, 5, 8);
    check_that(e.low == 0 && e.high == 0 && e.p == 1, "no difference at all");
    for (size_t i = 0; i < 40; i++) value[i] = 1;
    e = estimate_mean(value, 5, 8);
    check_that(e.low == 1 && e.high == 1 && e.p == 0, "the same difference everywhere");
}

static void test_holm(void) {
    static const double p[] = {0.04, NAN, 0.01, 0.03, 0.005, 0.01};
    static const double expected[] = {0.06, NAN, 0.04, 0.06, 0.025, 0.04};
    double got[6];
    holm_correct(p, 6, got);
    for (size_t i = 0; i < 6; i++)
        if (isnan(p[i])) check_that(isnan(got[i]), "no test stays none");
        else check_close(got[i], expected[i], 1e-15, "corrected p, %zu", i);
    holm_correct(p, 1, got);
    check_close(got[0], 0.04, 0, "one alone is as it was");
    static const double large[] = {0.6, 0.9};
    holm_correct(large, 2, got);
    check_close(got[0], 1, 0, "no p is above 1");
}

static void verdict_is(estimate e, double corrected, const char *verdict, const char *why) {
    const char *reason;
    const char *got = verdict_of(&e, corrected, &reason);
    check_that(!strcmp(got, verdict) && !strcmp(reason, why), "expected %s (%s), got %s (%s)",
               verdict, why, got, reason);
}

static void test_verdicts(void) {
    estimate e = {5, 100, 0.5, 0.1, 0.9, 1, 0.1, 0.01};
    verdict_is(e, 0.01, "yes", "");
    verdict_is(e, 0.05, "cannot tell", "not after Holm's correction");
    e.mean = -0.5;
    e.low = -0.9;
    e.high = -0.1;
    verdict_is(e, 0.049, "no", "");
    e.high = 0;
    verdict_is(e, 0.05, "cannot tell", "interval holds 0");
    e.seeds = 4;
    verdict_is(e, 0.001, "cannot tell", "4 seeds, 5 are needed");
    e.seeds = 1;
    verdict_is(e, NAN, "cannot tell", "1 seed");
    e.seeds = 0;
    verdict_is(e, NAN, "cannot tell", "no seed in common");
}

/* ---- Simulation ------------------------------------------------------------------------------ */

enum { DRAWS = 2000, SEEDS_MOST = 8, PROBLEMS_MOST = 300 };
typedef struct {
    const char *what;
    size_t seeds, problems;
    double effect, of_seeds, of_problems, rest;        /* standard deviations; rest 0: see below */
} world;

/* Problems and seeds are drawn anew, and the rest. */
static void draw_normal(const world *w, dual_rng *rng, double *value) {
    double problem[PROBLEMS_MOST];
    for (size_t i = 0; i < w->problems; i++) problem[i] = w->of_problems * dual_rng_normal(rng);
    for (size_t s = 0; s < w->seeds; s++) {
        const double seed = w->effect + w->of_seeds * dual_rng_normal(rng);
        for (size_t i = 0; i < w->problems; i++)
            value[s * w->problems + i] = seed + problem[i] + w->rest * dual_rng_normal(rng);
    }
}

/* As runs are: two arms solve a problem or not. Each problem has its difficulty and an advantage of
 * one arm, each run its luck; no probability leaves 0..1, so the effect is exact. */
static void draw_solved(const world *w, dual_rng *rng, double *value) {
    double hard[PROBLEMS_MOST], gain[PROBLEMS_MOST];
    for (size_t i = 0; i < w->problems; i++) {
        hard[i] = 0.25 + 0.5 * dual_rng_uniform(rng);
        gain[i] = w->effect + w->of_problems * (2 * dual_rng_uniform(rng) - 1);
    }
    for (size_t s = 0; s < w->seeds; s++) {
        const double a = w->of_seeds * (2 * dual_rng_uniform(rng) - 1);
        const double b = w->of_seeds * (2 * dual_rng_uniform(rng) - 1);
        for (size_t i = 0; i < w->problems; i++) {
            const int first = dual_rng_uniform(rng) < hard[i] + gain[i] / 2 + a;
            const int second = dual_rng_uniform(rng) < hard[i] - gain[i] / 2 + b;
            value[s * w->problems + i] = first - second;
        }
    }
}

static void simulate(const world *w, uint64_t stream) {
    static double value[SEEDS_MOST * PROBLEMS_MOST];
    dual_rng rng = dual_rng_seed(20261127, stream);
    size_t covered = 0, wrong = 0, contrary = 0;
    for (int i = 0; i < DRAWS; i++) {
        const char *why;
        if (w->rest > 0) draw_normal(w, &rng, value);
        else draw_solved(w, &rng, value);
        const estimate e = estimate_mean(value, w->seeds, w->problems);
        covered += e.low <= w->effect && w->effect <= e.high;
        wrong += strcmp(verdict_of(&e, e.p, &why), "cannot tell") != 0;
        contrary += (e.p < 0.05) != (e.low > 0 || e.high < 0);
    }
    const double share = 100 * (double)covered / DRAWS, told = 100 * (double)wrong / DRAWS;
    printf("%-44s covered %5.1f %%, told %5.1f %%\n", w->what, share, told);
    check_that(share >= 93 && share <= 97, "%s: %.1f %% of the intervals cover", w->what, share);
    check_size(contrary, 0, "%s: p and interval agree", w->what);
    if (w->effect == 0)
        check_that(told <= 6, "%s: %.1f %% of the verdicts tell", w->what, told);
}

static void test_coverage(void) {
    static const world worlds[] = {
        {"3 seeds, both vary", 3, 100, 1, 1, 3, 8},
        {"5 seeds, both vary", 5, 100, 0, 1, 8, 8},
        {"5 seeds, an effect", 5, 100, 2, 1, 8, 8},
        {"8 seeds, both vary", 8, 100, 0, 1, 10, 8},
        {"5 seeds, only seeds vary", 5, 50, 0, 1, 0, 0.1},
        {"5 seeds, mostly problems vary", 5, 100, 0, 0.05, 10, 4},
        {"5 seeds, only a rest", 5, 100, 0, 0, 0, 1},
        {"solved or not, 5 seeds, no effect", 5, 300, 0, 0.04, 0.1, 0},
        {"solved or not, 5 seeds, 5 points", 5, 300, 0.05, 0.04, 0.1, 0},
        {"solved or not, 3 seeds, no luck", 3, 300, 0, 0, 0.2, 0},
        {"solved or not, 8 seeds, few problems", 8, 40, 0, 0.04, 0.1, 0},
    };
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) simulate(&worlds[i], i);
}

/* Ten sentences at once, none of them true. */
static void test_family(void) {
    enum { FAMILY = 10 };
    static double value[SEEDS_MOST * PROBLEMS_MOST];
    const world w = {"", 5, 50, 0, 1, 4, 4};
    dual_rng rng = dual_rng_seed(20261127, 100);
    size_t wrong = 0;
    for (int i = 0; i < DRAWS; i++) {
        estimate e[FAMILY];
        double p[FAMILY], corrected[FAMILY];
        const char *why;
        int any = 0;
        for (int k = 0; k < FAMILY; k++) {
            draw_normal(&w, &rng, value);
            e[k] = estimate_mean(value, w.seeds, w.problems);
            p[k] = e[k].p;
        }
        holm_correct(p, FAMILY, corrected);
        for (int k = 0; k < FAMILY; k++)
            any |= strcmp(verdict_of(&e[k], corrected[k], &why), "cannot tell") != 0;
        wrong += any != 0;
    }
    const double share = 100 * (double)wrong / DRAWS;
    printf("%-44s %5.1f %% with a verdict\n", "ten sentences, no effect", share);
    check_that(share <= 6, "ten sentences without effect: %.1f %% of families tell", share);
}

int main(void) {
    test_student();
    test_seeds_only();
    test_one_seed();
    test_both();
    test_degenerate();
    test_holm();
    test_verdicts();
    test_coverage();
    test_family();
    return check_done();
}
