/* families.c: see families.h. */
#include "families.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_OPTIONS "numbers range targets nodes path concepts names"
#define SHAPE_OPTIONS "arch layers width heads kv-heads head-dim mlp context"

int option_is(const option *o, const char *names) { return options_word(o->name, names) >= 0; }

/* ---- Names --------------------------------------------------------------------------------- */

static void append(char *out, size_t size, const char *more) {
    const size_t n = strlen(out);
    snprintf(out + n, size - n, "%s", more);
}

void run_name(const run_settings *set, const dual_system *system, char *out, size_t size) {
    const int lm = run_is_lm(set);
    if (lm) snprintf(out, size, *set->wide_of ? "wide Base" : "Base");
    else if (strcmp(system->name, "custom")) snprintf(out, size, "%s", system->name);
    else snprintf(out, size, "%s/%s", dual_injection_name(system->inject),
                  system->base_trained ? "trained" : "frozen");
    if (system->kv_layers) append(out, size, "+layers");
    if (system->fused) append(out, size, "+fused");
    if (system->text_loss > 0) append(out, size, "+text");
    if (system->orthogonality > 0) append(out, size, "+orth");
    if (!lm && !strcmp(set->steps_shown, "all")) append(out, size, "+steps");
    if (!lm && !strcmp(set->steps_shown, "curriculum")) append(out, size, "+stages");
    if (system->detach) append(out, size, "+detach");
    if (system->gain) append(out, size, "+gain");
    if (!lm && *set->match_flops) append(out, size, "@flops");
}

/* ---- What varies --------------------------------------------------------------------------- */

/* Whether a difference in this option makes another arm. What is left out: what a name says, what
 * seeds have of their own, which Base (doubts.c), and what moves no number. */
static int makes_arms(const option *o) {
    return *o->name && o->saved == FIXED &&
           !option_is(o, "seed system inject base-frozen base-trained latent-gain detach-cache "
                         "fused steps-shown objective base from init wide-of match-flops valid "
                         "broken tokenizer keep-best max-new accumulate");
}

int option_applies(const option *o, const run_entry *e) {
    if (option_is(o, SHAPE_OPTIONS)) return strcmp(e->system.name, "wide") && !*e->set.wide_of;
    if (option_is(o, "latents")) return e->system.inject != DUAL_NONE && !run_is_lm(&e->set);
    if (option_is(o, "steps")) return !*e->set.match_flops;
    if (option_is(o, "facts")) return run_is_lm(&e->set);
    return 1;
}

/* Whether it says to which family a run belongs. How a Base was trained does not. */
static int places(const option *o, const run_entry *e) {
    const int of_all = option_is(o, PROBLEM_OPTIONS) || option_is(o, SHAPE_OPTIONS);
    return option_applies(o, e) && (of_all || !run_is_lm(&e->set));
}

void entry_value(const option *o, const run_entry *e, char *out, size_t size) {
    if (option_is(o, "latents")) snprintf(out, size, "%zu", e->system.latents);
    else if (option_is(o, "data") && *e->set.data_held) snprintf(out, size, "%s", e->set.data_held);
    else option_print(o, &e->set, out, size);
}

static int same_value(const option *o, const run_entry *x, const run_entry *y) {
    char a[RUN_PATH], b[RUN_PATH];
    entry_value(o, x, a, sizeof a);
    entry_value(o, y, b, sizeof b);
    return !strcmp(a, b);
}

/* Runs of one system differ in it; what the problems are, and N_L, may differ between any two. */
static int varies(const comparison *k, const option *o) {
    const int any = option_is(o, PROBLEM_OPTIONS) || option_is(o, "latents");
    if (!makes_arms(o)) return 0;
    for (size_t i = 0; i < k->n_entries; i++) {
        const run_entry *x = &k->entries[i];
        for (const run_entry *y = k->entries; y < x && option_applies(o, x); y++)
            if ((any || !strcmp(x->name, y->name)) && option_applies(o, y) && !same_value(o, x, y))
                return 1;
    }
    return 0;
}

/* It tells arms of one system apart, so that there is a family for each of its values. */
static int divides(const comparison *k, const option *o) {
    if (option_is(o, PROBLEM_OPTIONS)) return 1;
    for (size_t i = 0; i < k->n_entries; i++) {
        const run_entry *x = &k->entries[i];
        for (const run_entry *y = k->entries; y < x && places(o, x); y++)
            if (!strcmp(x->name, y->name) && places(o, y) && !same_value(o, x, y)) return 1;
    }
    return 0;
}

int problems_agree(const run_entry *x, const run_entry *y) {
    for (const option *o = RUN_OPTIONS; o->name; o++)
        if (option_is(o, PROBLEM_OPTIONS) && !same_value(o, x, y)) return 0;
    return 1;
}

void families_adopt(run_entry *e, const run_settings *of, int shape) {
    char value[RUN_PATH], error[200];
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!option_is(o, PROBLEM_OPTIONS) && !(shape && option_is(o, SHAPE_OPTIONS))) continue;
        option_print(o, of, value, sizeof value);
        option_set(o, &e->set, value, error, sizeof error);
    }
}

/* ---- Labels and order ---------------------------------------------------------------------- */

/* As a word of a label: of a file its last part, N_L alone. */
static void shown_value(const option *o, const run_entry *e, char *out, size_t size) {
    char value[RUN_PATH];
    option_print(o, &e->set, value, sizeof value);
    const char *last = strrchr(value, '/');
    if (option_is(o, "latents")) entry_value(o, e, out, size);
    else snprintf(out, size, "%s=%.60s", o->name, option_is(o, "data") && last ? last + 1 : value);
}

void entry_label(const comparison *k, const run_entry *e, const char *without, char *out,
                 size_t size) {
    char value[120];
    snprintf(out, size, "%s", e->name);
    for (size_t i = 0; i < k->n_varying; i++) {
        const option *o = k->varying[i];
        if (!option_applies(o, e) || (without && option_is(o, without))) continue;
        shown_value(o, e, value, sizeof value);
        append(out, size, ":");
        append(out, size, value);
    }
}

/* The method's order, the Base first. */
static int rank(const run_entry *e) {
    static const char *const order[] = {"none", "pause", "soft", "prompt", "wide", "coconut", "liu",
                                        "h1", "h2", "h1h2"};
    enum { N = sizeof order / sizeof *order };
    int i = 0;
    if (run_is_lm(&e->set)) return *e->set.wide_of ? -1 : -2;
    while (i < N && strcmp(order[i], e->system.name)) i++;
    return i;
}

/* By what varies: as numbers, where they are. */
static int by_values(const comparison *k, const run_entry *x, const run_entry *y) {
    char a[RUN_PATH], b[RUN_PATH];
    for (size_t i = 0; i < k->n_varying; i++) {
        const option *o = k->varying[i];
        if (!option_applies(o, x) || !option_applies(o, y)) continue;
        entry_value(o, x, a, sizeof a);
        entry_value(o, y, b, sizeof b);
        const double p = strtod(a, NULL), q = strtod(b, NULL);
        if (p < q || p > q) return p < q ? -1 : 1;
        if (strcmp(a, b)) return strcmp(a, b);
    }
    return 0;
}

static int is_before(const comparison *k, const run_entry *x, const run_entry *y) {
    const int order = rank(x) - rank(y), name = strcmp(x->name, y->name);
    if (order) return order < 0;
    if (name) return name < 0;
    const int values = by_values(k, x, y);
    if (values) return values < 0;
    return x->set.seed < y->set.seed;
}

static void sort_entries(comparison *k) {
    for (size_t i = 1; i < k->n_entries; i++) {
        const run_entry e = k->entries[i];
        size_t at = i;
        for (; at && is_before(k, &e, &k->entries[at - 1]); at--)
            k->entries[at] = k->entries[at - 1];
        k->entries[at] = e;
    }
}

static int refuse_twice(dual_ctx *c, const comparison *k) {
    for (size_t i = 1; i < k->n_entries; i++) {
        const run_entry *e = &k->entries[i], *before = e - 1;
        if (strcmp(before->label, e->label) || before->set.seed != e->set.seed) continue;
        return dual_failed(c, "%s and %s are both %s with seed %zu%s: leave one out",
                           before->folder, e->folder, e->label, e->set.seed,
                           entries_share_base(before, e) ? "" : ", from different Bases");
    }
    return 1;
}

/* ---- Families ------------------------------------------------------------------------------ */

int entries_are_family(const comparison *k, const run_entry *x, const run_entry *y) {
    for (size_t i = 0; i < k->n_varying; i++) {
        const option *o = k->varying[i];
        if (divides(k, o) && places(o, x) && places(o, y) && !same_value(o, x, y)) return 0;
    }
    return 1;
}

static size_t count_placing(const comparison *k, const run_entry *e) {
    size_t n = 0;
    for (size_t i = 0; i < k->n_varying; i++)
        n += divides(k, k->varying[i]) && places(k->varying[i], e);
    return n;
}

static void make_title(const comparison *k, family *f) {
    const run_entry *e = &k->entries[f->like];
    char value[120];
    *f->title = 0;
    for (size_t i = 0; i < k->n_varying; i++) {
        const option *o = k->varying[i];
        if (!divides(k, o) || !places(o, e)) continue;
        shown_value(o, e, value, sizeof value);
        if (*f->title) append(f->title, sizeof f->title, ", ");
        if (option_is(o, "latents")) append(f->title, sizeof f->title, "latents=");
        append(f->title, sizeof f->title, value);
    }
}

/* Runs that every such option places come first: the others join them. */
static int find_families(dual_ctx *c, comparison *k) {
    k->families = room_for(c, k->n_entries, sizeof *k->families);
    if (!k->families) return 0;
    for (size_t placing = k->n_varying + 1; placing-- > 0;)
        for (size_t i = 0; i < k->n_entries; i++) {
            const run_entry *e = &k->entries[i];
            const family *f = k->families, *end = f + k->n_families;
            if (count_placing(k, e) != placing) continue;
            while (f < end && !entries_are_family(k, e, &k->entries[f->like])) f++;
            if (f == end) k->families[k->n_families++].like = i;
        }
    for (size_t i = 1; i < k->n_families; i++) {
        const family f = k->families[i];
        size_t at = i;
        for (; at && by_values(k, &k->entries[f.like], &k->entries[k->families[at - 1].like]) < 0;
             at--)
            k->families[at] = k->families[at - 1];
        k->families[at] = f;
    }
    for (size_t i = 0; i < k->n_families; i++) make_title(k, &k->families[i]);
    return 1;
}

static int find_groups(dual_ctx *c, comparison *k) {
    k->groups = room_for(c, k->n_entries, sizeof *k->groups);
    if (!k->groups) return 0;
    for (size_t i = 0; i < k->n_entries; i++) {
        run_entry *e = &k->entries[i];
        e->group = 0;
        while (e->group < k->n_groups && !k->one_file &&
               !problems_agree(e, &k->entries[k->groups[e->group].first]))
            e->group++;
        if (e->group == k->n_groups) k->groups[k->n_groups++].first = i;
    }
    return 1;
}

int families_arrange(dual_ctx *c, comparison *k) {
    for (size_t i = 0; i < k->n_entries; i++)
        run_name(&k->entries[i].set, &k->entries[i].system, k->entries[i].name,
                 sizeof k->entries[i].name);
    k->n_varying = 0;
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!varies(k, o)) continue;
        if (k->n_varying == VARYING_MOST)
            return dual_failed(c, "the runs differ in more than %d options: too many to be "
                               "compared", VARYING_MOST);
        k->varying[k->n_varying++] = o;
    }
    for (run_entry *e = k->entries; e < k->entries + k->n_entries; e++)
        entry_label(k, e, NULL, e->label, sizeof e->label);
    sort_entries(k);
    return refuse_twice(c, k) && find_groups(c, k) && find_families(c, k);
}

/* ---- Looking up ---------------------------------------------------------------------------- */

int family_has(const comparison *k, const family *f, const arm *a) {
    return entries_are_family(k, arm_first(k, a), &k->entries[f->like]);
}

const arm *family_arm(const comparison *k, const family *f, const char *name) {
    const arm *found = NULL;
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        const run_entry *e = arm_first(k, a);
        if (!family_has(k, f, a)) continue;
        if (!strcmp(e->label, name)) return a;
        if (strcmp(e->name, name)) continue;
        if (found) return NULL;
        found = a;
    }
    return found;
}

const run_entry *entry_labelled(const comparison *k, const char *label) {
    const run_entry *found = NULL, *end = k->entries + k->n_entries;
    for (const run_entry *e = k->entries; e < end; e++)
        if (!strcmp(e->label, label)) return e;
    for (const run_entry *e = k->entries; e < end; e++) {
        if (strcmp(e->name, label)) continue;
        if (found && strcmp(found->label, e->label)) return NULL;
        found = e;
    }
    return found;
}

const arm *series_arm(const comparison *k, const arm *a, size_t i) {
    char name[200], other[200];
    entry_label(k, arm_first(k, a), "latents", name, sizeof name);
    for (const arm *b = k->arms; b < k->arms + k->n_arms; b++) {
        entry_label(k, arm_first(k, b), "latents", other, sizeof other);
        if (strcmp(name, other)) continue;
        if (b < a) return NULL;
        if (!i--) return b;
    }
    return NULL;
}

int arms_are_close(const comparison *k, const arm *a, const arm *b) {
    const run_entry *x = arm_first(k, a), *y = arm_first(k, b);
    return x->group == y->group && (!strcmp(x->name, y->name) || entries_are_family(k, x, y));
}
