/* compare.c: see compare.h. */
#include "compare.h"
#include "../files/files.h"
#include "families.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOOR_SEED = 20260103, FLOOR_DRAWS = 1000 };

const char *const NUMBER_NAMES[NUMBERS] = {
    "accuracy", "accuracy_swapped", "loss", "accuracy_at_25", "accuracy_at_50", "accuracy_at_75",
    "accuracy_at_100", "trained", "passes", "step_flops", "flops", "h_off", "h_floor", "silhouette"
};

/* ---- Which runs ---------------------------------------------------------------------------- */

int comparison_begin(dual_ctx *c, comparison *k, size_t runs, const char *broken, int analyse) {
    memset(k, 0, sizeof *k);
    k->broken = broken;
    k->analyse = analyse;
    k->entries = room_for(c, 2 * runs, sizeof *k->entries);      /* and their Bases */
    return k->entries != NULL;
}

/* FNV-1a of a file's bytes, going on from hash. 0: it cannot be read. */
static int hash_file(const char *path, uint64_t *hash) {
    unsigned char part[16384];
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f) return 0;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        for (size_t i = 0; i < n; i++) *hash = (*hash ^ part[i]) * UINT64_C(1099511628211);
    const int ok = !ferror(f);
    fclose(f);
    return ok;
}

/* The weights of a model folder in few characters; "" where they cannot be read whole. */
static void hold_base(const char *folder, char *out, size_t size) {
    char path[RUN_PATH + 64], error[300];
    uint64_t hash = UINT64_C(14695981039346656037);
    size_t length;
    unsigned parts = 0;
    *out = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int whole = hash_file(path, &hash);
    if (!whole) {                      /* its index names as many files as it has parts */
        snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
        char *index = data_read(path, &length, error, sizeof error);
        const char *of = index ? strstr(index, "-of-") : NULL;
        whole = of && sscanf(of, "-of-%5u", &parts) == 1 && parts;
        free(index);
    }
    for (unsigned i = 1; i <= parts && whole; i++) {
        snprintf(path, sizeof path, "%s/model-%05u-of-%05u.safetensors", folder, i, parts);
        whole = hash_file(path, &hash);
    }
    if (whole)
        snprintf(out, size, "%08lx%08lx", (unsigned long)(hash >> 32),
                 (unsigned long)(hash & UINT32_MAX));
}

/* Which Base, and what it holds. One that has gone from its place is still in a run that froze
 * it. */
static void find_base(const comparison *k, run_entry *e) {
    const run_settings *set = &e->set;
    char own[RUN_PATH + 8];
    snprintf(own, sizeof own, "%s/base", e->folder);
    if (run_is_lm(set)) snprintf(e->base, sizeof e->base, "%.500s/base", e->folder);
    else if (*set->base) snprintf(e->base, sizeof e->base, "%.500s/base", set->base);
    else if (*set->from) snprintf(e->base, sizeof e->base, "%.500s/base", set->from);
    else snprintf(e->base, sizeof e->base, "%s", set->init);
    for (const run_entry *other = k->entries; other < e && *e->base; other++)
        if (!strcmp(other->base, e->base))
            snprintf(e->base_held, sizeof e->base_held, "%s", other->base_held);
    if (*e->base && !*e->base_held) hold_base(e->base, e->base_held, sizeof e->base_held);
    if (!*e->base_held && !run_is_lm(set) && !e->system.base_trained)
        hold_base(own, e->base_held, sizeof e->base_held);
}

int entry_is_base(const run_entry *e) { return run_is_lm(&e->set) && !*e->set.wide_of; }

int entries_share_base(const run_entry *x, const run_entry *y) {
    if (*x->base_held && *y->base_held) return !strcmp(x->base_held, y->base_held);
    if (!*x->base || !*y->base) return *x->base || *y->base ? 0 : -1;
    return strcmp(x->base, y->base) ? -1 : 1;
}

static run_entry *add_entry(comparison *k, const loaded_run *loaded, const char *folder,
                            const char *opened) {
    run_entry *e = &k->entries[k->n_entries++];
    snprintf(e->folder, sizeof e->folder, "%s", folder);
    e->set = loaded->r.set;
    e->system = loaded->r.system;
    e->opened = opened;
    find_base(k, e);
    return e;
}

int comparison_add(dual_ctx *c, comparison *k, const loaded_run *loaded, const char *folder) {
    const size_t vocab = tokenizer_size(loaded->task.tokens);
    if (k->n_entries && (loaded->task.kind != k->kind || vocab != k->vocab))
        return dual_failed(c, "%s: another task or tokenizer than %s: they have no problem in "
                           "common", folder, k->entries->folder);
    k->kind = loaded->task.kind;
    k->vocab = vocab;
    if (run_is_pretrain(&loaded->r.set))
        return dual_failed(c, "%s was pretrained on text: use eval perplexity", folder);
    k->has_base |= entry_is_base(add_entry(k, loaded, folder, folder));
    return 1;
}

/* As its own run.json tells of it, where it has one; it answers the problems of the run that was
 * started from it. */
static void settle_untouched(run_entry *e) {
    const run_settings of_run = e->set;
    run_settings own;
    dual_ctx c;                        /* for its line about an error, which is not asked for */
    dual_init(&c, NULL, 0);
    options_defaults(RUN_OPTIONS, &own);
    own.seed = of_run.seed;
    run_load_settings(&c, e->folder, &own);
    dual_done(&c);
    e->set = own;
    snprintf(e->set.objective, sizeof e->set.objective, "lm");
    families_adopt(e, &of_run, 1);
}

static int base_is_there(const comparison *k, const run_entry *e) {
    for (const run_entry *b = k->entries; b < k->entries + k->n_entries; b++)
        if (entry_is_base(b) && entries_share_base(b, e) != 0 && problems_agree(b, e)) return 1;
    return 0;
}

/* A Base's own text says nothing of the problems it is asked, where all others have the same. */
static void adopt_problems(comparison *k) {
    const run_entry *first = NULL, *end = k->entries + k->n_entries;
    for (const run_entry *e = k->entries; e < end; e++) {
        if (run_is_lm(&e->set)) continue;
        if (first && !problems_agree(first, e)) return;
        if (!first) first = e;
    }
    for (run_entry *e = k->entries; e < end && first; e++)
        if (run_is_lm(&e->set)) families_adopt(e, &first->set, 0);
}

/* Every Base that a run was started from, but for the wide ones. */
static int add_untouched(dual_ctx *c, comparison *k) {
    const size_t given = k->n_entries;
    for (size_t i = 0; i < given; i++) {
        const run_entry *e = &k->entries[i];
        loaded_run loaded;
        if (run_is_lm(&e->set) || !strcmp(e->system.name, "wide") || !*e->base) continue;
        if (base_is_there(k, e)) continue;
        if (!loaded_run_open(c, e->opened, k->broken, AS_TRAINED, &loaded)) return 0;
        if (loaded_run_to_base(&loaded)) {
            run_entry *base = add_entry(k, &loaded, loaded.r.set.out, e->opened);
            base->implied = k->has_base = 1;
            snprintf(base->base, sizeof base->base, "%s", e->base);
            snprintf(base->base_held, sizeof base->base_held, "%s", e->base_held);
            settle_untouched(base);
        }
        loaded_run_close(&loaded);
    }
    return 1;
}

int comparison_gather(dual_ctx *c, comparison *k) {
    adopt_problems(k);
    return add_untouched(c, k) && families_arrange(c, k);
}

/* ---- Measuring one run --------------------------------------------------------------------- */

int latents_are_fixed(const dual_system *s) {
    return s->inject == DUAL_SOFT || s->inject == DUAL_PAUSE;
}

double comparison_floor(const problem_set *problems) {
    dual_rng rng = dual_rng_seed(FLOOR_SEED, 0);
    double floor = 0;
    for (size_t i = 0; i < problems->n; i++) {
        countdown_problem p;
        if (countdown_parse(problems->at[i].row.question, &p))
            floor += countdown_floor(&p, &rng, FLOOR_DRAWS) / (double)problems->n;
    }
    return floor;
}

typedef struct {
    const comparison *k;
    run_entry *entry;
    const problem_set *problems, *fresh;
    const example *own;                /* the problems, with y as this run learns it */
} entry_job;

/* Accuracy, and for each problem whether it was solved. */
static int score_entry(dual_ctx *c, loaded_run *loaded, const entry_job *j, dual_source from,
                       unsigned char *solved, double *accuracy, double *loss) {
    const size_t n = j->problems->n;
    const score_options how = {.ablation = {.from = from}, .seed = 1,
                               .max_new = run_max_new(&loaded->r.set, &loaded->task)};
    answer *answers = work_room(c, n, sizeof *answers);
    double hits = 0;
    const int ok = score_answers(c, loaded, j->own, n, j->problems->source, &how, answers,
                                 loss);
    for (size_t i = 0; ok && c->memory && i < n; i++) {
        solved[i] = answers[i].verdict == 0;
        hits += solved[i];
    }
    free(answers);
    *accuracy = hits / (double)n;
    return ok;
}

static double count_passes(dual_ctx *c, const loaded_run *loaded, const example *problem) {
    const dual_mark start = dual_mark_here(c);
    dual_exchange e = loaded_run_exchange(c, loaded);
    run_prompts p;
    dual_outcome out;
    run_prompts_fill(&p, &loaded->task, problem, 1, WITHOUT_TARGETS);
    dual_run(c, &e, &p.batch, &out);
    dual_release(c, start);
    return (double)out.n_passes;
}

/* Done twice, like all work: what counting left is freed. */
static int analyse_latents(dual_ctx *c, loaded_run *loaded, const problem_set *fresh,
                           run_entry *e) {
    latents_report *report = &e->latents;
    latents_report_free(report);
    const int ok = latents_measure(c, loaded, fresh->at, fresh->n, BY_VARIANCE, 1, report);
    free(report->states);
    report->states = NULL;
    e->number[FLOOR] = report->at[0].floor;
    if (loaded->latents > 1) {
        e->number[H_OFF] = report->at[0].h_off;
        e->number[SILHOUETTE] = report->at[0].silhouette;
    }
    return ok;
}

static int entry_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const entry_job *j = job;
    run_entry *e = j->entry;
    double *number = e->number;
    if (!score_entry(c, loaded, j, DUAL_RIGHT, e->right, &number[ACCURACY], &number[LOSS]))
        return 0;
    if (loaded->latents) number[SWAPPED] = number[ACCURACY];
    if (e->swapped && !score_entry(c, loaded, j, DUAL_SWAPPED, e->swapped, &number[SWAPPED], NULL))
        return 0;
    number[PASSES] = count_passes(c, loaded, j->own);
    if (!e->implied) number[TRAINED] = (double)dual_exchange_trained(&loaded->r.exchange);
    if (!loaded->latents || !j->k->analyse) return 1;
    return analyse_latents(c, loaded, j->fresh, e);
}

/* The problems with y as the run learns it: steps shown or not, its own stage. */
static example *own_rows(dual_ctx *c, const loaded_run *loaded, const problem_set *problems,
                         const char *folder) {
    example *own = room_for(c, problems->n, sizeof *own);
    char error[300];
    for (size_t i = 0; own && i < problems->n; i++) {
        if (run_example(&loaded->r.set, &loaded->task, loaded->stage, &problems->at[i].row, &own[i],
                        error, sizeof error))
            continue;
        dual_failed(c, "%s: %s", folder, error);
        examples_free(own, i);
        own = NULL;
    }
    return own;
}

/* FLOPs of the training so far, on the data the run was trained on (lengths of prompts differ), and
 * of one step of its last stage. */
static void training_flops(const run *r, double *all, double *step) {
    run_task task;
    double flops[RUN_STAGES + 2];
    char error[300];
    if (!run_task_open(&r->set, r->set.out, WITH_ROWS, &task, error, sizeof error)) return;
    const size_t room = run_room(&r->set, &r->system);
    const int fit = run_fit_rows(&r->set, &task, room, error, sizeof error);
    if (fit) run_stage_flops(r, &task, flops);
    run_task_close(&task);
    if (!fit) return;
    *all = run_flops(&r->set, flops, r->step);
    *step = flops[run_stage_of(&r->set, r->set.steps)];
}

/* The next scored row of a log.csv; returns what follows it. NULL: there is none. */
static const char *next_scored(const char *log, scored_point *out) {
    while (*log) {
        const char *field = log;
        int comma = 0;
        out->step = strtod(log, NULL);
        for (; comma < 4 && *field && *field != '\n'; field++) comma += *field == ',';
        log += strcspn(log, "\n");
        log += *log == '\n';
        if (comma < 4 || !(*field == '.' || (*field >= '0' && *field <= '9'))) continue;
        out->accuracy = strtod(field, NULL);
        return log;
    }
    return NULL;
}

void read_curve(const char *log, double steps, double *at) {
    double off[4] = {0.05, 0.05, 0.05, 0.05};
    scored_point p;
    while ((log = next_scored(log, &p)) != NULL)
        for (int q = 0; q < 4; q++) {
            const double apart = fabs(p.step / steps - 0.25 * (q + 1));
            if (!(apart < off[q])) continue;
            off[q] = apart;
            at[q] = p.accuracy;
        }
}

/* There need not be a log. */
static int add_curve(dual_ctx *c, run_entry *e) {
    char path[RUN_PATH + 16];
    dual_ctx own;                      /* for its line about an error */
    scored_point p;
    size_t length, n = 0;
    dual_init(&own, NULL, 0);
    snprintf(path, sizeof path, "%s/log.csv", e->folder);
    char *log = dual_text_read(&own, path, &length);
    dual_done(&own);
    if (!log) return 1;
    read_curve(log, (double)e->set.steps, &e->number[AT_25]);
    for (const char *at = log; (at = next_scored(at, &p)) != NULL;) n++;
    e->curve = room_for(c, n, sizeof *e->curve);
    for (const char *at = log; e->curve && e->n_curve < n;)
        at = next_scored(at, &e->curve[e->n_curve++]);
    free(log);
    return e->curve != NULL;
}

/* With the run open: scores, then what its training took. */
static int measure_opened(dual_ctx *c, const comparison *k, run_entry *e, loaded_run *loaded) {
    const problem_group *g = &k->groups[e->group];
    const size_t n = g->problems.n;
    for (int x = 0; x < NUMBERS; x++) e->number[x] = NAN;
    const int swaps = e->system.latents && !latents_are_fixed(&e->system);
    e->right = room_for(c, n, sizeof *e->right);
    if (e->right && swaps) e->swapped = room_for(c, n, sizeof *e->swapped);
    if (!e->right || (swaps && !e->swapped)) return 0;
    example *own = own_rows(c, loaded, &g->problems, e->folder);
    entry_job job = {k, e, &g->problems, &g->fresh, own};
    const int ok = own && loaded_run_do(c, loaded, entry_work, &job);
    examples_free(own, n);
    if (!ok || e->implied) return ok;
    e->step = loaded->r.step;
    training_flops(&loaded->r, &e->number[FLOPS], &e->number[STEP_FLOPS]);
    return add_curve(c, e);
}

int comparison_measure(dual_ctx *c, comparison *k, run_entry *e) {
    loaded_run loaded;
    if (!loaded_run_open(c, e->opened, k->broken, AS_TRAINED, &loaded)) return 0;
    if (e->implied) loaded_run_to_base(&loaded);
    const int ok = measure_opened(c, k, e, &loaded);
    loaded_run_close(&loaded);
    return ok;
}

/* ---- Arms ---------------------------------------------------------------------------------- */

const run_entry *arm_first(const comparison *k, const arm *a) { return &k->entries[a->first]; }

const problem_set *comparison_problems(const comparison *k, const arm *a) {
    return &k->groups[arm_first(k, a)->group].problems;
}

/* Within 0..1. Over the problems, and where no run solved any or all solved every one, it is
 * Wilson's. */
static estimate estimate_share(const double *value, size_t seeds, size_t problems) {
    estimate e = estimate_mean(value, seeds, problems);
    const double n = (double)problems;
    if (e.mean <= 0 || e.mean >= 1) e.over_seeds = 0;
    e.low = e.over_seeds ? fmax(0, e.low) : wilson_low(e.mean * n, n);
    e.high = e.over_seeds ? fmin(1, e.high) : wilson_high(e.mean * n, n);
    return e;
}

/* Where a run was scored nearest to that step, within 2 % of it: runs of equal FLOPs differ by some
 * steps from seed to seed. */
static const scored_point *scored_near(const run_entry *e, double step) {
    const scored_point *nearest = NULL;
    double off = 0.02 * step + 0.5;
    for (const scored_point *s = e->curve; s < e->curve + e->n_curve; s++) {
        if (fabs(s->step - step) > off) continue;
        off = fabs(s->step - step);
        nearest = s;
    }
    return nearest;
}

static arm_point point_at(const comparison *k, const arm *a, double step) {
    arm_point p = {step, 0, 1, 0, 0};
    for (const run_entry *e = arm_first(k, a); e < arm_first(k, a) + a->n; e++) {
        const scored_point *s = scored_near(e, step);
        if (!s) continue;
        p.seeds++;
        p.mean += (s->accuracy - p.mean) / (double)p.seeds;
        p.low = fmin(p.low, s->accuracy);
        p.high = fmax(p.high, s->accuracy);
    }
    return p;
}

/* A run that stopped at an earlier stage of a curriculum has other slots. */
static void mean_overlap(const comparison *k, arm *a) {
    double n = 0;
    for (const run_entry *e = arm_first(k, a); e < arm_first(k, a) + a->n; e++) {
        if (!e->latents.H || e->latents.slots != a->slots) continue;
        n++;
        for (size_t i = 0; i < a->slots * a->slots; i++)
            a->H[i] += (e->latents.H[i] - a->H[i]) / n;
    }
}

/* What pictures show of an arm. */
static int settle_pictures(dual_ctx *c, const comparison *k, arm *a) {
    const run_entry *first = arm_first(k, a);
    a->n_curve = first->n_curve;
    a->curve = room_for(c, a->n_curve, sizeof *a->curve);
    for (size_t i = 0; a->curve && i < a->n_curve; i++)
        a->curve[i] = point_at(k, a, first->curve[i].step);
    if (!a->curve || !first->latents.H) return a->curve != NULL;
    a->slots = first->latents.slots;
    a->H = room_for(c, a->slots * a->slots, sizeof *a->H);
    if (a->H) mean_overlap(k, a);
    return a->H != NULL;
}

/* The means, and the accuracy with its interval. */
static int settle_arm(dual_ctx *c, const comparison *k, arm *a) {
    const size_t problems = comparison_problems(k, a)->n;
    double *solved = room_for(c, a->n * problems, sizeof *solved);
    if (!solved) return 0;
    for (size_t i = 0; i < a->n; i++) {
        const run_entry *e = &k->entries[a->first + i];
        for (int x = 0; x < NUMBERS; x++) a->number[x] += e->number[x] / (double)a->n;
        for (size_t r = 0; r < problems; r++) solved[i * problems + r] = e->right[r];
    }
    a->accuracy = estimate_share(solved, a->n, problems);
    free(solved);
    return 1;
}

int comparison_make_arms(dual_ctx *c, comparison *k) {
    k->arms = room_for(c, k->n_entries, sizeof *k->arms);
    if (!k->arms) return 0;
    for (size_t i = 0; i < k->n_entries; i++) {
        if (i && !strcmp(k->entries[i - 1].label, k->entries[i].label)) {
            k->arms[k->n_arms - 1].n++;
            continue;
        }
        arm *a = &k->arms[k->n_arms++];
        a->first = i;
        a->n = 1;
    }
    for (arm *a = k->arms; a < k->arms + k->n_arms; a++)
        if (!settle_arm(c, k, a) || !settle_pictures(c, k, a)) return 0;
    return 1;
}

void comparison_free(comparison *k) {
    for (size_t i = 0; i < k->n_entries; i++) {
        free(k->entries[i].right);
        free(k->entries[i].swapped);
        free(k->entries[i].curve);
        latents_report_free(&k->entries[i].latents);
    }
    for (size_t i = 0; i < k->n_arms; i++) {
        free(k->arms[i].curve);
        free(k->arms[i].H);
    }
    for (size_t i = 0; i < k->n_groups; i++) {
        problems_free(&k->groups[i].problems);
        problems_free(&k->groups[i].fresh);
    }
    free(k->groups);
    free(k->families);
    free(k->arms);
    free(k->entries);
    memset(k, 0, sizeof *k);
}
