/* compare.c: see compare.h. */
#include "compare.h"
#include "latents_report.h"
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
    k->entries = room_for(c, runs + 1, sizeof *k->entries);      /* and the untouched Base */
    return k->entries != NULL;
}

static void add_entry(comparison *k, const loaded_run *loaded, const char *folder,
                      const char *opened) {
    run_entry *e = &k->entries[k->n_entries++];
    snprintf(e->folder, sizeof e->folder, "%s", folder);
    e->set = loaded->r.set;
    e->system = loaded->r.system;
    e->implied = *loaded->untouched != 0;
    e->opened = opened;
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
    add_entry(k, loaded, folder, folder);
    k->has_base |= run_is_lm(&loaded->r.set) && !*loaded->r.set.wide_of;
    return 1;
}

/* A wide arm was started from another Base than all others. */
static int add_untouched(dual_ctx *c, comparison *k) {
    const size_t given = k->n_entries;
    for (size_t i = 0; i < given && !k->has_base; i++) {
        const run_entry *e = &k->entries[i];
        loaded_run loaded;
        if (run_is_lm(&e->set) || !strcmp(e->system.name, "wide")) continue;
        if (!loaded_run_open(c, e->opened, k->broken, AS_TRAINED, &loaded)) return 0;
        k->has_base = loaded_run_to_base(&loaded);
        if (k->has_base) add_entry(k, &loaded, loaded.r.set.out, e->opened);
        loaded_run_close(&loaded);
    }
    return 1;
}

/* ---- Labels and order ---------------------------------------------------------------------- */

static void append(char *out, size_t size, const char *more) {
    const size_t n = strlen(out);
    snprintf(out + n, size - n, "%s", more);
}

void run_label(const run_settings *set, const dual_system *system, size_t usual_latents, char *out,
               size_t size) {
    const int lm = run_is_lm(set);
    char latents[24], name[40];
    if (lm) snprintf(name, sizeof name, *set->wide_of ? "wide Base" : "Base");
    else if (strcmp(system->name, "custom")) snprintf(name, sizeof name, "%s", system->name);
    else snprintf(name, sizeof name, "%s/%s", dual_injection_name(system->inject),
                  system->base_trained ? "trained" : "frozen");
    snprintf(out, size, "%.14s", name);
    if (!lm && system->latents && system->latents != usual_latents) {
        snprintf(latents, sizeof latents, ":%zu", system->latents);
        append(out, size, latents);
    }
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

static int by_arm(const void *a, const void *b) {
    const run_entry *x = a, *y = b;
    const int order = rank(x) - rank(y), label = strcmp(x->label, y->label);
    if (order) return order;
    if (label) return label;
    return (x->set.seed > y->set.seed) - (x->set.seed < y->set.seed);
}

static int of_one_arm(const run_entry *x, const run_entry *y) {
    return !strcmp(x->label, y->label);
}

int comparison_gather(dual_ctx *c, comparison *k) {
    size_t usual = 0;
    for (size_t i = 0; i < k->n_entries && !usual; i++) usual = k->entries[i].system.latents;
    if (!add_untouched(c, k)) return 0;
    for (size_t i = 0; i < k->n_entries; i++) {
        run_entry *e = &k->entries[i];
        run_label(&e->set, &e->system, usual, e->label, sizeof e->label);
    }
    qsort(k->entries, k->n_entries, sizeof *k->entries, by_arm);
    for (size_t i = 1; i < k->n_entries; i++) {
        const run_entry *e = &k->entries[i], *before = e - 1;
        if (of_one_arm(before, e) && before->set.seed == e->set.seed)
            return dual_failed(c, "%s and %s are both %s with seed %zu: leave one out",
                               before->folder, e->folder, e->label, e->set.seed);
    }
    return 1;
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
    const example *problems;           /* y as this run learns it */
} entry_job;

/* Accuracy, and for each problem whether it was solved. */
static int score_entry(dual_ctx *c, loaded_run *loaded, const entry_job *j, dual_source from,
                       unsigned char *solved, double *accuracy, double *loss) {
    const size_t n = j->k->problems.n;
    const score_options how = {.ablation = {.from = from}, .seed = 1,
                               .max_new = run_max_new(&loaded->r.set, &loaded->task)};
    answer *answers = work_room(c, n, sizeof *answers);
    double hits = 0;
    const int ok = score_answers(c, loaded, j->problems, n, j->k->problems.source, &how, answers,
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

static int analyse_latents(dual_ctx *c, loaded_run *loaded, const problem_set *fresh,
                           double *number) {
    latents_report report;
    const int ok = latents_measure(c, loaded, fresh->at, fresh->n, BY_VARIANCE, 1, &report);
    number[FLOOR] = report.at[0].floor;
    if (loaded->latents > 1) {
        number[H_OFF] = report.at[0].h_off;
        number[SILHOUETTE] = report.at[0].silhouette;
    }
    latents_report_free(&report);
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
    number[PASSES] = count_passes(c, loaded, j->problems);
    if (!e->implied) number[TRAINED] = (double)dual_exchange_trained(&loaded->r.exchange);
    if (!loaded->latents || !j->k->analyse) return 1;
    return analyse_latents(c, loaded, &j->k->fresh, number);
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

void read_curve(const char *log, double steps, double *at) {
    double off[4] = {0.05, 0.05, 0.05, 0.05};
    while (*log) {
        const char *field = log;
        const double step = strtod(log, NULL);
        int comma = 0;
        for (; comma < 4 && *field && *field != '\n'; field++) comma += *field == ',';
        const int scored = comma == 4 && (*field == '.' || (*field >= '0' && *field <= '9'));
        for (int q = 0; scored && q < 4; q++) {
            const double apart = fabs(step / steps - 0.25 * (q + 1));
            if (!(apart < off[q])) continue;
            off[q] = apart;
            at[q] = strtod(field, NULL);
        }
        log += strcspn(log, "\n");
        log += *log == '\n';
    }
}

static void add_curve(run_entry *e) {
    char path[RUN_PATH + 16];
    dual_ctx c;                        /* for its line about an error: there need not be a log */
    size_t length;
    dual_init(&c, NULL, 0);
    snprintf(path, sizeof path, "%s/log.csv", e->folder);
    char *log = dual_text_read(&c, path, &length);
    if (log) read_curve(log, (double)e->set.steps, &e->number[AT_25]);
    free(log);
    dual_done(&c);
}

/* With the run open: scores, then what its training took. */
static int measure_opened(dual_ctx *c, const comparison *k, run_entry *e, loaded_run *loaded) {
    const size_t n = k->problems.n;
    for (int x = 0; x < NUMBERS; x++) e->number[x] = NAN;
    const int swaps = e->system.latents && !latents_are_fixed(&e->system);
    e->right = room_for(c, n, sizeof *e->right);
    if (e->right && swaps) e->swapped = room_for(c, n, sizeof *e->swapped);
    if (!e->right || (swaps && !e->swapped)) return 0;
    example *own = own_rows(c, loaded, &k->problems, e->folder);
    entry_job job = {k, e, own};
    const int ok = own && loaded_run_do(c, loaded, entry_work, &job);
    examples_free(own, n);
    if (!ok || e->implied) return ok;
    e->step = loaded->r.step;
    training_flops(&loaded->r, &e->number[FLOPS], &e->number[STEP_FLOPS]);
    add_curve(e);
    return 1;
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

static void add_to_arm(arm *a, const run_entry *e, size_t problems) {
    const double n = (double)a->n;
    for (int x = 0; x < NUMBERS; x++) a->number[x] += e->number[x] / n;
    for (size_t r = 0; r < problems; r++) {
        a->right[r] += e->right[r] / n;
        a->swapped[r] += (e->swapped ? e->swapped : e->right)[r] / n;
    }
}

int comparison_make_arms(dual_ctx *c, comparison *k) {
    const size_t n = k->problems.n;
    k->arms = room_for(c, k->n_entries, sizeof *k->arms);
    if (!k->arms) return 0;
    for (size_t i = 0; i < k->n_entries; i++) {
        const run_entry *e = &k->entries[i];
        if (i && of_one_arm(e - 1, e)) {
            k->arms[k->n_arms - 1].n++;
            continue;
        }
        arm *a = &k->arms[k->n_arms++];
        a->first = i;
        a->n = 1;
        a->right = room_for(c, n, sizeof *a->right);
        a->swapped = room_for(c, n, sizeof *a->swapped);
        if (!a->right || !a->swapped) return 0;
    }
    for (arm *a = k->arms; a < k->arms + k->n_arms; a++)
        for (size_t i = 0; i < a->n; i++) add_to_arm(a, &k->entries[a->first + i], n);
    return 1;
}

const arm *comparison_arm(const comparison *k, const char *label) {
    for (size_t i = 0; i < k->n_arms; i++)
        if (!strcmp(k->entries[k->arms[i].first].label, label)) return &k->arms[i];
    return NULL;
}

void comparison_free(comparison *k) {
    for (size_t i = 0; i < k->n_entries; i++) {
        free(k->entries[i].right);
        free(k->entries[i].swapped);
    }
    for (size_t i = 0; i < k->n_arms; i++) {
        free(k->arms[i].right);
        free(k->arms[i].swapped);
    }
    free(k->arms);
    free(k->entries);
    problems_free(&k->problems);
    problems_free(&k->fresh);
    memset(k, 0, sizeof *k);
}

/* ---- What must be equal, and is not -------------------------------------------------------- */

#define IS(o, field) ((o)->offset == offsetof(run_settings, field))

static int must_be_equal(const option *o, const run_entry *e) {
    const int wide = !strcmp(e->system.name, "wide");
    if (IS(o, task) || IS(o, numbers) || IS(o, range) || IS(o, targets) || IS(o, nodes) ||
        IS(o, path) || IS(o, concepts) || IS(o, names))
        return 1;
    if (run_is_lm(&e->set)) return 0;
    if (IS(o, steps)) return !*e->set.match_flops;
    if (IS(o, latents)) return e->system.inject != DUAL_NONE;
    if (IS(o, max_new)) return !strcmp(e->set.steps_shown, "none");
    if (IS(o, base) || IS(o, from) || IS(o, init)) return !wide;
    return IS(o, batch) || IS(o, data) || IS(o, schedule);
}

/* A line about one option of two runs; 0: it is the same in both. */
static int tell_difference(const option *o, const run_entry *e, const run_entry *other, char *line,
                           size_t size) {
    char mine[RUN_PATH], theirs[RUN_PATH];
    option_print(o, &e->set, mine, sizeof mine);
    option_print(o, &other->set, theirs, sizeof theirs);
    if (!strcmp(mine, theirs)) return 0;
    snprintf(line, size, "%s: --%s is %s, that of %s is %s", e->folder, o->name,
             *mine ? mine : "\"\"", other->folder, *theirs ? theirs : "\"\"");
    return 1;
}

void comparison_warnings(const comparison *k, void (*say)(void *to, const char *line), void *to) {
    char line[5 * RUN_PATH];
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        const run_entry *first = NULL;         /* of those that must all be equal */
        if (!*o->name || !o->saved || IS(o, seed)) continue;
        for (size_t i = 0; i < k->n_entries; i++) {
            const run_entry *e = &k->entries[i], *other = NULL;
            if (e->implied) continue;
            if (must_be_equal(o, e)) {
                if (!first) first = e;
                other = first;
            } else if (i && of_one_arm(e - 1, e)) other = e - 1;
            if (other && other != e && tell_difference(o, e, other, line, sizeof line))
                say(to, line);
        }
    }
    for (const run_entry *e = k->entries; e < k->entries + k->n_entries; e++) {
        if (e->implied || e->step >= e->set.steps) continue;
        snprintf(line, sizeof line, "%s: at step %llu of %zu", e->folder,
                 (unsigned long long)e->step, e->set.steps);
        say(to, line);
    }
}
