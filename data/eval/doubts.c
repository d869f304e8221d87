/* doubts.c: see doubts.h. */
#include "doubts.h"
#include "families.h"
#include <stdio.h>
#include <string.h>

enum { LINES = 3, LINE = 4 * RUN_PATH };

/* The lines of one kind: kept until it is known how many there are. */
typedef struct {
    void (*say)(void *to, const char *line);
    void *to;
    const char *kind;
    size_t n;
    char line[LINES][LINE];
} doubt;

static void doubt_begin(doubt *d, const char *kind) {
    d->kind = kind;
    d->n = 0;
}

static void doubt_add(doubt *d, const char *line) {
    if (d->n < LINES) snprintf(d->line[d->n], LINE, "%s", line);
    d->n++;
}

static void doubt_end(doubt *d) {
    char all[LINE + 100];
    const size_t lines = d->n > LINES ? 0 : d->n;
    for (size_t i = 0; i < lines; i++) d->say(d->to, d->line[i]);
    if (d->n <= LINES) return;
    snprintf(all, sizeof all, "%s: so in %zu runs, the first: %s", d->kind, d->n, d->line[0]);
    d->say(d->to, all);
}

/* ---- Options ------------------------------------------------------------------------------- */

/* Of all arms of a family. */
static int must_be_equal(const option *o, const run_entry *e) {
    if (run_is_lm(&e->set) || !*o->name || o->saved != FIXED) return 0;
    if (option_is(o, "max-new")) return !strcmp(e->set.steps_shown, "none");
    return option_is(o, "steps latents batch schedule data") && option_applies(o, e);
}

static const char *shown(const char *value) { return *value ? value : "\"\""; }

static void compare_values(const option *o, const run_entry *e, const run_entry *other, doubt *d) {
    char mine[RUN_PATH], theirs[RUN_PATH], line[LINE];
    entry_value(o, e, mine, sizeof mine);
    entry_value(o, other, theirs, sizeof theirs);
    if (!strcmp(mine, theirs)) return;
    if (option_is(o, "data")) {        /* named, not as what it holds */
        option_print(o, &e->set, mine, sizeof mine);
        option_print(o, &other->set, theirs, sizeof theirs);
    }
    snprintf(line, sizeof line, "%s: --%s is %s, that of %s is %s", e->folder, o->name,
             shown(mine), other->folder, shown(theirs));
    doubt_add(d, line);
}

static void doubt_options(const comparison *k, doubt *d) {
    char kind[40];
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        snprintf(kind, sizeof kind, "--%s", o->name);
        doubt_begin(d, kind);
        for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
            const run_entry *other = k->entries;
            if (!must_be_equal(o, e)) continue;
            while (other < e && !(must_be_equal(o, other) && entries_are_family(k, other, e)))
                other++;
            if (other < e) compare_values(o, e, other, d);
        }
        doubt_end(d);
    }
}

/* ---- Bases --------------------------------------------------------------------------------- */

/* Runs that should start from the same Base as the others of their seed. */
static int has_start(const run_entry *e) {
    return !run_is_lm(&e->set) && strcmp(e->system.name, "wide") && *e->base;
}

static void doubt_starts(const comparison *k, doubt *d) {
    char line[LINE];
    doubt_begin(d, "--base");
    for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
        const run_entry *other = k->entries;
        if (!has_start(e)) continue;
        while (other < e && !(has_start(other) && other->set.seed == e->set.seed &&
                              entries_are_family(k, other, e)))
            other++;
        const int same = other < e ? entries_share_base(other, e) : 1;
        if (same == 0)
            snprintf(line, sizeof line, "%s: started from %s, which is another Base than %s of %s",
                     e->folder, e->base, other->base, other->folder);
        if (same < 0)
            snprintf(line, sizeof line, "%s: started from %s, that of %s from %s, and one of the "
                     "two cannot be read: they may differ", e->folder, e->base, other->folder,
                     other->base);
        if (same != 1) doubt_add(d, line);
    }
    doubt_end(d);
}

static int starts_from(const run_entry *e, const run_entry *other) {
    return has_start(e) && has_start(other) && entries_share_base(e, other) == 1;
}

/* Each Base that more than one seed was started from is one draw. */
static void doubt_one_base(const comparison *k, doubt *d) {
    const run_entry *end = k->entries + k->n_entries;
    char line[LINE];
    doubt_begin(d, "one Base");
    for (const run_entry *e = k->entries; e < end; e++) {
        const run_entry *earlier = k->entries;
        size_t seeds = 0;
        while (earlier < e && !starts_from(earlier, e)) earlier++;
        if (earlier < e) continue;
        for (const run_entry *x = e; x < end; x++) {
            const run_entry *y = e;
            if (!starts_from(x, e)) continue;
            while (y < x && !(starts_from(y, e) && y->set.seed == x->set.seed)) y++;
            seeds += y == x;
        }
        if (seeds < 2) continue;
        snprintf(line, sizeof line, "%s: one Base for %zu seeds: no interval speaks of "
                 "another Base", e->base, seeds);
        doubt_add(d, line);
    }
    doubt_end(d);
}

static void doubt_strangers(const comparison *k, doubt *d) {
    const run_entry *end = k->entries + k->n_entries;
    char line[LINE];
    doubt_begin(d, "another Base");
    for (const run_entry *b = k->entries; b < end; b++) {
        size_t starts = 0, strange = 0;
        if (!entry_is_base(b)) continue;
        for (const run_entry *e = k->entries; e < end; e++) {
            if (!has_start(e)) continue;
            starts++;
            strange += entries_share_base(b, e) == 0;
        }
        if (!starts || strange < starts) continue;
        snprintf(line, sizeof line, "%s: no other run was started from this Base", b->folder);
        doubt_add(d, line);
    }
    doubt_end(d);
}

/* ---- All ----------------------------------------------------------------------------------- */

static void doubt_unfinished(const comparison *k, doubt *d) {
    char line[LINE];
    doubt_begin(d, "not finished");
    for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
        if (e->implied || e->step >= e->set.steps) continue;
        snprintf(line, sizeof line, "%s: at step %llu of %zu", e->folder,
                 (unsigned long long)e->step, e->set.steps);
        doubt_add(d, line);
    }
    doubt_end(d);
}

void comparison_warnings(const comparison *k, void (*say)(void *to, const char *line), void *to) {
    int trained = 0;
    doubt d;
    d.say = say;
    d.to = to;
    doubt_options(k, &d);
    doubt_starts(k, &d);
    doubt_one_base(k, &d);
    doubt_strangers(k, &d);
    doubt_unfinished(k, &d);
    for (size_t i = 0; i < k->n_entries; i++) trained |= !run_is_lm(&k->entries[i].set);
    if (trained && !k->has_base) say(to, "the untouched Base was not found; add its run");
}
