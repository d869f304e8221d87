/* sample.c: samples of a split in which every problem is as likely as any other, and how many
 * problems the split has. See tasks.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

const char *task_population_print(task_population p, char out[40]) {
    static const char *const word[] = {"", "about ", "over "};
    char digits[32];
    double shown = p.problems;
    if (p.known != SPLIT_HAS && shown >= 100) {        /* two digits of an estimate */
        const double unit = pow(10, floor(log10(shown)) - 1);
        shown = floor(shown / unit + (p.known == SPLIT_HAS_ABOUT ? 0.5 : 0)) * unit;
    }
    snprintf(digits, sizeof digits, "%.0f", shown < 1e24 ? shown : 1e24);
    size_t n = (size_t)snprintf(out, 40, "%s", word[p.known]);
    for (const char *c = digits; *c && n < 38; c++) {
        out[n++] = *c;
        if (c[1] && strlen(c + 1) % 3 == 0) out[n++] = ',';
    }
    out[n] = 0;
    return out;
}

/* ---- Which problems were met already -------------------------------------------------------- */

typedef struct { uint64_t *hash; size_t n, room; } hash_set;       /* in ascending order */

/* 1: it is new, 0: it is not, -1: out of memory. */
static int add_hash(hash_set *met, uint64_t hash) {
    size_t low = 0, high = met->n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (met->hash[middle] < hash) low = middle + 1;
        else high = middle;
    }
    if (low < met->n && met->hash[low] == hash) return 0;
    if (met->n == met->room) {
        const size_t room = met->room ? 2 * met->room : 256;
        uint64_t *grown = realloc(met->hash, room * sizeof *grown);
        if (!grown) return -1;
        met->hash = grown;
        met->room = room;
    }
    memmove(met->hash + low + 1, met->hash + low, (met->n - low) * sizeof *met->hash);
    met->hash[low] = hash;
    met->n++;
    return 1;
}

/* ---- Countdown ---------------------------------------------------------------------------------
 * The problems of one count of numbers are all pairs of sorted numbers and a target that the
 * generator can make of them. */

typedef struct { uint64_t order; int numbers[COUNTDOWN_MAX], target; } candidate;

typedef struct {
    const countdown_options *o;
    int count;
    size_t wanted;
    candidate *at;                 /* the first n in order; while gathering up to 2 wanted */
    size_t n, room;
    double all;                    /* problems of the split */
    int exact;
} stratum;

enum {
    ENUMERATED = 100000000,        /* expressions at most, half a second */
    DRAWN = 1000,                  /* problems at least, for the estimate of all */
    DRAW = 10                      /* what a draw takes, in expressions */
};
#define MOST_WORK 4e9              /* expressions, some seconds: then what was found must do */

/* How many sets of `count` numbers there are, repeats allowed: so many of range + count - 1. */
static double number_sets(const countdown_options *o, int count) {
    double n = 1;
    for (int i = 0; i < count; i++)
        n = n * (o->number_max - o->number_min + 1 + i) / (i + 1);
    return n;
}

/* Ways to make one value of `count`: pairs times operators, again and again. */
static double expressions(int count) {
    double n = 1;
    for (int left = count; left > 1; left--) n *= 4 * left * (left - 1) / 2.0;
    return n;
}

static int compare_orders(const void *a, const void *b) {
    const uint64_t x = ((const candidate *)a)->order, y = ((const candidate *)b)->order;
    return (x > y) - (x < y);
}

static void keep_first(stratum *s) {
    if (s->n) qsort(s->at, s->n, sizeof *s->at, compare_orders);
    if (s->n > s->wanted) s->n = s->wanted;
}

/* 0: out of memory. */
static int add_candidate(stratum *s, const int *numbers, int target) {
    if (s->n == s->room) {
        const size_t room = s->room ? 2 * s->room : 256;
        candidate *grown = realloc(s->at, room * sizeof *grown);
        if (!grown) return 0;
        s->at = grown;
        s->room = room;
    }
    candidate *c = &s->at[s->n++];
    memset(c, 0, sizeof *c);
    memcpy(c->numbers, numbers, (size_t)s->count * sizeof *numbers);
    c->target = target;
    c->order = countdown_order(numbers, s->count, target);
    if (s->n / 2 > s->wanted) keep_first(s);
    return 1;
}

/* The next set of numbers in ascending order. 0: that was the last. */
static int next_numbers(const stratum *s, int *numbers) {
    int at = s->count - 1;
    while (at >= 0 && numbers[at] == s->o->number_max) at--;
    if (at < 0) return 0;
    const int value = numbers[at] + 1;
    for (; at < s->count; at++) numbers[at] = value;
    return 1;
}

/* seen: zeros, found: room, for every target there is. 0: out of memory. */
static int enumerate(stratum *s, unsigned char *seen, int *found) {
    const countdown_options *o = s->o;
    int numbers[COUNTDOWN_MAX];
    for (int i = 0; i < s->count; i++) numbers[i] = o->number_min;
    s->exact = 1;
    do {
        const size_t n = countdown_targets(numbers, s->count, o->target_min, o->target_max, seen,
                                           found);
        for (size_t i = 0; i < n; i++) {
            seen[found[i] - o->target_min] = 0;
            if (countdown_split_of(numbers, s->count, found[i]) != o->split) continue;
            s->all++;
            if (!add_candidate(s, numbers, found[i])) return 0;
        }
    } while (next_numbers(s, numbers));
    keep_first(s);
    return 1;
}

/* Every set of numbers equally likely: `count` different places of range + count - 1, in order; the
 * places before one are numbers passed over or taken. */
static void draw_numbers(const stratum *s, dual_rng *rng, int *numbers) {
    const size_t places = (size_t)(s->o->number_max - s->o->number_min) + (size_t)s->count;
    int n = 0;
    while (n < s->count) {
        const int place = (int)dual_rng_below(rng, places);
        int at = 0;
        while (at < n && numbers[at] < place) at++;
        if (at < n && numbers[at] == place) {          /* not different: all anew */
            n = 0;
            continue;
        }
        for (int i = n; i > at; i--) numbers[i] = numbers[i - 1];
        numbers[at] = place;
        n++;
    }
    for (int i = 0; i < n; i++) numbers[i] += s->o->number_min - i;
}

/* Numbers and a target, all equally likely. Whether they are a problem of the split; work grows by
 * the expressions that this took to tell. */
static int draw_one(const stratum *s, dual_rng *rng, countdown_problem *p, double *work) {
    const countdown_options *o = s->o;
    const size_t targets = (size_t)(o->target_max - o->target_min) + 1;
    unsigned char seen = 0;
    p->count = s->count;
    draw_numbers(s, rng, p->numbers);
    p->target = o->target_min + (int)dual_rng_below(rng, targets);
    *work += DRAW;
    if (!countdown_in_range(o, p)) return 0;
    *work += expressions(s->count);
    return countdown_targets(p->numbers, p->count, p->target, p->target, &seen, NULL) > 0;
}

/* Draws until there are enough. The share of draws that are problems says how many problems there
 * are. 0: out of memory. */
static int draw_uniformly(stratum *s, dual_rng rng) {
    const countdown_options *o = s->o;
    const size_t most = s->wanted > DRAWN ? s->wanted : DRAWN;
    double tries = 0, hits = 0, work = 0;
    hash_set met = {NULL, 0, 0};
    int fine = 1;
    while (fine && met.n < most && work < MOST_WORK) {
        countdown_problem p;
        tries++;
        if (!draw_one(s, &rng, &p, &work)) continue;
        hits++;
        const int added = add_hash(&met, countdown_order(p.numbers, p.count, p.target));
        if (!added) continue;
        fine = added > 0;
        if (fine && s->n < s->wanted) fine = add_candidate(s, p.numbers, p.target);
    }
    free(met.hash);
    s->all = hits / tries * number_sets(o, s->count) * (o->target_max - o->target_min + 1.0);
    return fine;
}

static int gather(stratum *s, dual_rng rng) {
    const countdown_options *o = s->o;
    const size_t targets = (size_t)(o->target_max - o->target_min) + 1;
    if (number_sets(o, s->count) * expressions(s->count) > ENUMERATED)
        return draw_uniformly(s, rng);
    unsigned char *seen = calloc(targets, 1);
    int *found = malloc(targets * sizeof *found);
    const int fine = seen && found && enumerate(s, seen, found);
    free(seen);
    free(found);
    return fine;
}

/* Takes from each stratum in turn, while it lasts. */
static int put_in_turn(const stratum *part, int parts, size_t n, task_set *set) {
    int fine = 1, left = 1;
    for (size_t round = 0; fine && left; round++) {
        left = 0;
        for (int i = 0; fine && i < parts && set->count < n; i++) {
            if (round >= part[i].n) continue;
            const candidate *c = &part[i].at[round];
            dual_rng rng = dual_rng_seed(c->order, 0);
            countdown_problem p;
            memset(&p, 0, sizeof p);
            p.count = part[i].count;
            p.target = c->target;
            memcpy(p.numbers, c->numbers, sizeof p.numbers);
            countdown_explain(&p, &rng);
            fine = countdown_put(&p, set);
            left = 1;
        }
    }
    return fine;
}

int countdown_sample(const countdown_options *o, dual_rng rng, size_t n, task_set *set,
                     task_population *all) {
    stratum part[COUNTDOWN_MAX];
    const int parts = o->count_max - o->count_min + 1;
    const size_t share = n / (size_t)parts + 1;
    int fine = countdown_check(o) == NULL, short_of = 0;
    memset(part, 0, sizeof part);
    for (int round = 0; fine && round < 2; round++)    /* again, where others have too few */
        for (int i = 0; fine && i < parts; i++) {
            stratum *s = &part[i];
            if (round && (!short_of || s->n < share)) continue;
            free(s->at);
            *s = (stratum){.o = o, .count = o->count_min + i, .wanted = round ? n : share};
            fine = gather(s, rng);
            short_of = short_of || s->n < share;
        }
    *all = (task_population){0, SPLIT_HAS};
    for (int i = 0; i < parts; i++) {
        all->problems += part[i].all;
        if (!part[i].exact) all->known = SPLIT_HAS_ABOUT;
    }
    fine = fine && put_in_turn(part, parts, set->count + n, set);
    for (int i = 0; i < parts; i++) free(part[i].at);
    return fine;
}

/* ---- ProsQA --------------------------------------------------------------------------------- */

enum {
    PROBED = 2000,                 /* draws at least: a small split shows by its repeats */
    REPEATED = 10,                 /* one draw in so many: the split is exhausted */
    PROSQA_MISSES = 20000          /* draws in a row without a new problem: there are no more */
};

typedef struct { uint64_t hash; size_t row; } ordered_row;

static int compare_ordered(const void *a, const void *b) {
    const uint64_t x = ((const ordered_row *)a)->hash, y = ((const ordered_row *)b)->hash;
    return (x > y) - (x < y);
}

/* Appends the first n rows, in the order of their hashes or in their own. 0: out of memory. */
static int put_first(const task_set *rows, int by_hash, size_t n, task_set *set) {
    ordered_row *order = malloc((rows->count + 1) * sizeof *order);
    int fine = order != NULL;
    for (size_t i = 0; fine && i < rows->count; i++) {
        const task_row row = task_get(rows, i);
        order[i] = (ordered_row){task_hash(TASK_PROSQA, &row), i};
    }
    if (fine && by_hash && rows->count)
        qsort(order, rows->count, sizeof *order, compare_ordered);
    for (size_t i = 0; fine && i < rows->count && i < n; i++) {
        const task_row row = task_get(rows, order[i].row);
        fine = task_put_row(set, &row);
    }
    free(order);
    return fine;
}

typedef struct {
    size_t draws, repeats;
    int exhausted;
} draw_count;

/* Draws different problems into rows: all of the split where it is small, else n or more. 0: out of
 * memory. */
static int draw_different(const prosqa_options *o, prosqa_split split, dual_rng *rng, size_t n,
                          task_set *rows, draw_count *count) {
    hash_set met = {NULL, 0, 0};
    size_t misses = 0;
    int small = 0, added = 1;
    while (added >= 0 && misses < PROSQA_MISSES &&
           (small || rows->count < n || count->draws < PROBED)) {
        const size_t used = rows->used;
        prosqa_graph g;
        if (!prosqa_draw(o, split, rng, &g, rows)) break;
        const task_row row = task_get(rows, rows->count - 1);
        added = add_hash(&met, task_hash(TASK_PROSQA, &row));
        if (added == 0) {                              /* takes it back */
            rows->count--;
            rows->used = rows->open = used;
        }
        misses = added ? 0 : misses + 1;
        count->draws++;
        count->repeats += !added;
        small = small || (count->draws >= PROBED && count->repeats > count->draws / REPEATED);
    }
    free(met.hash);
    count->exhausted = small && misses == PROSQA_MISSES;
    return added >= 0;
}

int prosqa_sample(const prosqa_options *o, prosqa_split split, dual_rng rng, size_t n,
                  task_set *set, task_population *all) {
    task_set rows;
    draw_count count = {0, 0, 0};
    memset(&rows, 0, sizeof rows);
    int fine = draw_different(o, split, &rng, n, &rows, &count);
    const double draws = (double)count.draws;
    *all = (task_population){(double)rows.count, SPLIT_HAS};
    if (!count.exhausted && count.draws) {
        /* so many equally likely ones give as many pairs that repeat; 3: of none seen, in 95 % */
        const double pairs = count.repeats > 3 ? (double)count.repeats : 3;
        *all = (task_population){draws * draws / 2 / pairs, SPLIT_HAS_OVER};
    }
    fine = fine && put_first(&rows, count.exhausted, n, set);
    task_free(&rows);
    return fine;
}
