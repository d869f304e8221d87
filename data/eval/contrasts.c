/* contrasts.c: see contrasts.h. */
#include "contrasts.h"
#include <math.h>
#include <string.h>

enum { RIGHT_LATENTS, SWAPPED_LATENTS };
#define PLUS(arm) {arm, 1, RIGHT_LATENTS}
#define MINUS(arm) {arm, -1, RIGHT_LATENTS}
#define MINUS_SWAPPED(arm) {arm, -1, SWAPPED_LATENTS}

const contrast CONTRASTS[] = {
    {"joint training helps", "h2 - none - liu + Base",
     {PLUS("h2"), MINUS("none"), MINUS("liu"), PLUS("Base")}},
    {"  beside it", "h2 - liu", {PLUS("h2"), MINUS("liu")}},
    {"wider channel helps", "h1 - liu", {PLUS("h1"), MINUS("liu")}},
    {"wider channel helps", "h1h2 - h2", {PLUS("h1h2"), MINUS("h2")}},
    {"one model is better", "soft - h2", {PLUS("soft"), MINUS("h2")}},
    {"Coprocessor helps", "liu - prompt", {PLUS("liu"), MINUS("prompt")}},
    {"better at equal FLOPs", "h2 - none@flops", {PLUS("h2"), MINUS("none@flops")}},
    {"content matters", "liu - liu swapped", {PLUS("liu"), MINUS_SWAPPED("liu")}},
    {"content matters", "h1 - h1 swapped", {PLUS("h1"), MINUS_SWAPPED("h1")}},
    {"content matters", "h2 - h2 swapped", {PLUS("h2"), MINUS_SWAPPED("h2")}},
    {"content matters", "h1h2 - h1h2 swapped", {PLUS("h1h2"), MINUS_SWAPPED("h1h2")}},
    {"content matters", "coconut - coconut swapped", {PLUS("coconut"), MINUS_SWAPPED("coconut")}},
    {"training helps", "none - Base", {PLUS("none"), MINUS("Base")}},
    {"training helps", "soft - Base", {PLUS("soft"), MINUS("Base")}},
    {"training helps", "h2 - Base", {PLUS("h2"), MINUS("Base")}},
    {"training helps", "h1h2 - Base", {PLUS("h1h2"), MINUS("Base")}},
};
const size_t N_CONTRASTS = sizeof CONTRASTS / sizeof *CONTRASTS;

/* The arms of a contrast's terms. */
typedef struct {
    const comparison *k;
    const contrast_term *terms;
    const arm *arms[CONTRAST_TERMS];
    int n;
} sum_of_arms;

static int find_arms(const comparison *k, const contrast *about, sum_of_arms *sum) {
    memset(sum, 0, sizeof *sum);
    sum->k = k;
    sum->terms = about->terms;
    for (int t = 0; t < CONTRAST_TERMS && about->terms[t].arm; t++) {
        sum->arms[t] = comparison_arm(k, about->terms[t].arm);
        if (!sum->arms[t]) return 0;
        sum->n++;
    }
    return sum->n > 0;
}

static double value_of_problem(const sum_of_arms *sum, size_t problem) {
    double value = 0;
    for (int t = 0; t < sum->n; t++) {
        const arm *a = sum->arms[t];
        value += sum->terms[t].sign * (sum->terms[t].swapped ? a->swapped : a->right)[problem];
    }
    return value;
}

/* 0: an arm has not this seed. The Base is one for all seeds unless it has this seed too. */
static int value_of_seed(const sum_of_arms *sum, size_t seed, double *value) {
    *value = 0;
    for (int t = 0; t < sum->n; t++) {
        const int which = sum->terms[t].swapped ? SWAPPED : ACCURACY;
        const arm *a = sum->arms[t];
        const run_entry *e = sum->k->entries + a->first, *end = e + a->n;
        while (e < end && e->set.seed != seed) e++;
        if (e == end && strcmp(sum->terms[t].arm, "Base")) return 0;
        *value += sum->terms[t].sign * (e < end ? e->number[which] : a->number[which]);
    }
    return 1;
}

static const char *verdict_of(const contrast_result *r) {
    const int excludes_zero = r->low > 0 || r->high < 0;
    if (!excludes_zero || r->agree < CONTRAST_SEEDS) return "cannot tell";
    return r->points > 0 ? "yes" : "no";
}

int test_contrast(const comparison *k, const contrast *about, contrast_result *r) {
    const size_t problems = k->problems.n;
    const double n = (double)problems;
    sum_of_arms sum;
    double mean = 0, square = 0, value;
    memset(r, 0, sizeof *r);
    if (!find_arms(k, about, &sum)) return 0;
    for (size_t i = 0; i < problems; i++) mean += value_of_problem(&sum, i) / n;
    for (size_t i = 0; i < problems; i++) {
        const double off = value_of_problem(&sum, i) - mean;
        square += off * off;
    }
    const double half = n > 1 ? 1.959964 * sqrt(square / (n - 1) / n) : NAN;
    r->points = 100 * mean;
    r->low = 100 * (mean - half);
    r->high = 100 * (mean + half);
    const arm *first = sum.arms[0];
    for (size_t i = 0; i < first->n; i++) {
        if (!value_of_seed(&sum, k->entries[first->first + i].set.seed, &value)) continue;
        r->seeds++;
        r->agree += value * mean > 0;
    }
    r->verdict = verdict_of(r);
    return 1;
}
