/* contrasts.c: see contrasts.h. */
#include "contrasts.h"
#include "families.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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
    {"better at equal FLOPs", "h2 - soft@flops", {PLUS("h2"), MINUS("soft@flops")}},
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

static void leave_out(findings *f, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(f->left_out[f->n_left_out++], sizeof f->left_out[0], format, list);
    va_end(list);
}

/* ---- The value of a sum -------------------------------------------------------------------- */

static const run_entry *run_of_seed(const comparison *k, const arm *a, size_t seed) {
    for (const run_entry *e = arm_first(k, a); e < arm_first(k, a) + a->n; e++)
        if (e->set.seed == seed) return e;
    return NULL;
}

/* The Base that the other arms of that seed were started from; where that is not known, the Base
 * of the seed, or the only one. */
static const run_entry *base_of_seed(const comparison *k, const finding *f, const arm *bases,
                                     size_t seed) {
    const run_entry *start = NULL;
    for (size_t t = 0; t < f->n_terms && !start; t++)
        if (f->terms[t].arm != bases) start = run_of_seed(k, f->terms[t].arm, seed);
    for (const run_entry *b = arm_first(k, bases); start && b < arm_first(k, bases) + bases->n; b++)
        if (entries_share_base(b, start) == 1) return b;
    const run_entry *own = run_of_seed(k, bases, seed);
    if (own) return own;
    return bases->n == 1 ? arm_first(k, bases) : NULL;
}

static const run_entry *run_of_term(const comparison *k, const finding *f, size_t term,
                                    size_t seed) {
    const arm *a = f->terms[term].arm;
    if (f->n_terms > 1 && entry_is_base(arm_first(k, a))) return base_of_seed(k, f, a, seed);
    return run_of_seed(k, a, seed);
}

/* Of every problem, from one seed. 0: an arm has not this seed. */
static int value_of_seed(const comparison *k, const finding *f, size_t seed, double *value) {
    const size_t problems = comparison_problems(k, f->terms[0].arm)->n;
    for (size_t t = 0; t < f->n_terms; t++)
        if (!run_of_term(k, f, t, seed)) return 0;
    for (size_t i = 0; i < problems; i++) value[i] = 0;
    for (size_t t = 0; t < f->n_terms; t++) {
        const run_entry *e = run_of_term(k, f, t, seed);
        const unsigned char *solved = f->terms[t].swapped && e->swapped ? e->swapped : e->right;
        for (size_t i = 0; i < problems; i++) value[i] += f->terms[t].sign * solved[i];
    }
    return 1;
}

/* The arm whose seeds are tried: not the Base, which may be one for all. */
static const arm *seeds_of(const comparison *k, const finding *f) {
    for (size_t t = 0; t < f->n_terms; t++)
        if (!entry_is_base(arm_first(k, f->terms[t].arm))) return f->terms[t].arm;
    return f->terms[0].arm;
}

static size_t count_agreeing(const double *value, size_t seeds, size_t problems, double mean) {
    size_t agree = 0;
    for (size_t s = 0; s < seeds; s++) {
        double sum = 0;
        for (size_t i = 0; i < problems; i++) sum += value[s * problems + i];
        agree += sum * mean > 0;
    }
    return agree;
}

static int measure(dual_ctx *c, const comparison *k, finding *f) {
    const size_t problems = comparison_problems(k, f->terms[0].arm)->n;
    const arm *a = seeds_of(k, f);
    double *value = room_for(c, a->n * problems, sizeof *value);
    size_t seeds = 0;
    if (!value) return 0;
    for (const run_entry *e = arm_first(k, a); e < arm_first(k, a) + a->n; e++)
        seeds += value_of_seed(k, f, e->set.seed, value + seeds * problems) != 0;
    memset(&f->share, 0, sizeof f->share);
    f->share.p = NAN;
    if (seeds) f->share = estimate_mean(value, seeds, problems);
    f->agree = count_agreeing(value, seeds, problems, f->share.mean);
    free(value);
    return 1;
}

/* ---- Sentences ----------------------------------------------------------------------------- */

static int is_swapped_for_nothing(const comparison *k, const finding *f) {
    for (size_t t = 0; t < f->n_terms; t++)
        if (f->terms[t].swapped && !arm_first(k, f->terms[t].arm)->swapped) return 1;
    return 0;
}

/* 0: an arm is missing, the one that is named. */
static int find_terms(const comparison *k, const contrast *about, finding *f,
                      const char **missing) {
    size_t found = 0;
    *missing = NULL;
    f->n_terms = 0;
    for (size_t t = 0; t < CONTRAST_TERMS && about->terms[t].arm; t++) {
        const contrast_term *term = &about->terms[t];
        const arm *a = family_arm(k, f->family, term->arm);
        const sum_term is = {a, term->sign, term->swapped};
        f->terms[f->n_terms++] = is;
        found += a != NULL && strcmp(term->arm, "Base") != 0;
        if (!a && !*missing) *missing = term->arm;
    }
    if (!found) *missing = NULL;       /* it was not asked */
    return found && !*missing;
}

/* The same arms stand in more than one family where nothing of them varies. */
static int is_told_already(const findings *all, const finding *f) {
    for (size_t i = 0; i < all->n_sentences; i++) {
        const finding *other = &all->sentences[i];
        size_t same = 0;
        if (strcmp(other->formula, f->formula) != 0) continue;
        while (same < f->n_terms && other->terms[same].arm == f->terms[same].arm) same++;
        if (same == f->n_terms) return 1;
    }
    return 0;
}

/* One line for every arm that is missing: the sentences that need it. */
static void tell_missing(findings *f, const family *of, const char *const *missing) {
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        char list[220] = "";
        size_t before = 0;
        if (!missing[i]) continue;
        while (before < i && (!missing[before] || strcmp(missing[before], missing[i]) != 0))
            before++;
        if (before < i) continue;
        for (size_t j = i; j < N_CONTRASTS; j++) {
            const size_t used = strlen(list);
            if (!missing[j] || strcmp(missing[j], missing[i]) != 0) continue;
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                     CONTRASTS[j].formula);
        }
        leave_out(f, "%s%s%s, no run of it: %s", of->title, *of->title ? ": " : "", missing[i],
                  list);
    }
}

static void add_sentences(const comparison *k, const family *of, findings *all) {
    const char *missing[sizeof CONTRASTS / sizeof *CONTRASTS];
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        finding *f = &all->sentences[all->n_sentences];
        f->claim = CONTRASTS[i].claim;
        f->family = of;
        snprintf(f->formula, sizeof f->formula, "%s", CONTRASTS[i].formula);
        if (!find_terms(k, &CONTRASTS[i], f, &missing[i])) continue;
        if (is_swapped_for_nothing(k, f) || is_told_already(all, f)) continue;
        all->n_sentences++;
    }
    tell_missing(all, of, missing);
}

/* ---- Pairs --------------------------------------------------------------------------------- */

static const family *family_of_both(const comparison *k, const arm *a, const arm *b) {
    for (const family *f = k->families; f < k->families + k->n_families; f++)
        if (family_has(k, f, a) && family_has(k, f, b)) return f;
    return NULL;
}

static void add_pair(const comparison *k, const arm *a, const arm *less, findings *all) {
    finding *f = &all->pairs[all->n_pairs++];
    const sum_term plus = {a, 1, RIGHT_LATENTS}, minus = {less, -1, RIGHT_LATENTS};
    f->claim = "";
    f->family = family_of_both(k, a, less);
    f->terms[0] = plus;
    f->terms[1] = minus;
    f->n_terms = 2;
    snprintf(f->formula, sizeof f->formula, "%s - %s", arm_first(k, a)->label,
             arm_first(k, less)->label);
}

static void add_pairs(const comparison *k, const arm *against, findings *all) {
    size_t others = 0, far = 0;
    int implied = 0;
    for (const arm *b = k->arms; b < k->arms + k->n_arms; b++) {
        const int is_implied = arm_first(k, b)->implied && b != against;
        implied |= is_implied;
        for (const arm *a = k->arms; a < b && !is_implied; a++) {
            if (arm_first(k, a)->implied && a != against) continue;
            if (against && a != against && b != against) continue;
            if (arm_first(k, a)->group != arm_first(k, b)->group) others++;
            else if (!against && !arms_are_close(k, a, b)) far++;
            else if (b == against) add_pair(k, a, b, all);
            else add_pair(k, b, a, all);
        }
    }
    if (implied)
        leave_out(all, "pairs with the untouched Base, which was not given itself: add its run");
    if (others)
        leave_out(all, "%zu pair%s of arms that answer different problems", others,
                  others == 1 ? "" : "s");
    if (far)
        leave_out(all, "%zu pair%s of arms that differ in the system and in another option; "
                  "--against ARM tells them", far, far == 1 ? "" : "s");
}

/* ---- All ----------------------------------------------------------------------------------- */

enum { LINES_OF_A_KIND = 3 };

/* Differences of arms without a seed in common are no differences of runs. */
static int measure_all(dual_ctx *c, const comparison *k, finding *at, size_t *n, findings *all) {
    size_t kept = 0, apart = 0;
    for (size_t i = 0; i < *n; i++) {
        if (!measure(c, k, &at[i])) return 0;
        apart += !at[i].share.seeds;
    }
    for (size_t i = 0; i < *n; i++) {
        if (at[i].share.seeds) at[kept++] = at[i];
        else if (apart <= LINES_OF_A_KIND)
            leave_out(all, "%s: the arms have no seed in common", at[i].formula);
    }
    if (apart > LINES_OF_A_KIND)
        leave_out(all, "%zu differences of arms that have no seed in common", apart);
    *n = kept;
    return 1;
}

static int judge_all(dual_ctx *c, finding *at, size_t n) {
    double *p = room_for(c, 2 * n, sizeof *p), *corrected = p ? p + n : NULL;
    if (!p) return 0;
    for (size_t i = 0; i < n; i++) p[i] = at[i].share.p;
    holm_correct(p, n, corrected);
    for (size_t i = 0; i < n; i++) {
        at[i].corrected = corrected[i];
        at[i].verdict = verdict_of(&at[i].share, corrected[i], &at[i].why);
    }
    free(p);
    return 1;
}

/* " 1-5 8" */
static void add_seeds(char *line, size_t room, const run_entry *runs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t from = runs[i].set.seed, begin = i;
        while (i + 1 < n && runs[i + 1].set.seed == runs[i].set.seed + 1) i++;
        const size_t at = strlen(line);
        if (i == begin) snprintf(line + at, room - at, " %zu", from);
        else snprintf(line + at, room - at, " %zu-%zu", from, (size_t)runs[i].set.seed);
    }
}

/* Where arms have other seeds than others: a difference uses those that its arms share. */
static void tell_seeds(const comparison *k, findings *all) {
    char line[260] = "";
    int differ = 0;
    const arm *first = NULL;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        if (run_is_lm(&arm_first(k, a)->set)) continue;
        if (!first) first = a;
        differ |= a->n != first->n;
        for (size_t i = 0; i < a->n && a->n == first->n; i++)
            differ |= arm_first(k, a)[i].set.seed != arm_first(k, first)[i].set.seed;
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s %s", a == first ? "" : ",",
                 arm_first(k, a)->label);
        add_seeds(line, sizeof line, arm_first(k, a), a->n);
    }
    if (differ) leave_out(all, "seeds that not all arms of a difference have:%s", line);
}

/* Lines but for those of missing arms: of pairs 3, of seeds 1 + 2 x 3, of the analysis. */
enum { LEFT_OUT_BESIDE = 11 };

int findings_make(dual_ctx *c, const comparison *k, const char *against, findings *all) {
    const run_entry *one = *against ? entry_labelled(k, against) : NULL;
    const arm *less = NULL;
    memset(all, 0, sizeof *all);
    for (const arm *a = k->arms; a < k->arms + k->n_arms && one; a++)
        if (!strcmp(arm_first(k, a)->label, one->label)) less = a;
    all->sentences = room_for(c, k->n_families * N_CONTRASTS + 1, sizeof *all->sentences);
    all->pairs = room_for(c, k->n_arms * k->n_arms, sizeof *all->pairs);
    all->left_out = room_for(c, k->n_families * N_CONTRASTS + LEFT_OUT_BESIDE,
                             sizeof *all->left_out);
    if (!all->sentences || !all->pairs || !all->left_out) return 0;
    for (const family *f = k->families; f < k->families + k->n_families; f++)
        add_sentences(k, f, all);
    add_pairs(k, less, all);
    if (!k->analyse) leave_out(all, "the analysis of the latents (--no-analysis)");
    tell_seeds(k, all);
    return measure_all(c, k, all->sentences, &all->n_sentences, all) &&
           measure_all(c, k, all->pairs, &all->n_pairs, all) &&
           judge_all(c, all->sentences, all->n_sentences) &&
           judge_all(c, all->pairs, all->n_pairs);
}

void findings_free(findings *all) {
    free(all->sentences);
    free(all->pairs);
    free(all->left_out);
    memset(all, 0, sizeof *all);
}
