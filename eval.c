/* eval.c: what a trained run can do and what its latents hold.
 *
 *   eval score RUN          accuracy with its interval, and what the wrong answers look like
 *   eval compare RUN...     all runs on the same problems, and the method's sentences about them
 *   eval generate RUN       the answer to one prompt
 *   eval latents RUN        do the slots hold different things? (overlap of their subspaces)
 *   eval trace RUN          every row of every pass: what it is, where it stands, what it sees
 *   eval tokens DIR FILE    token ids of a text, and back
 *
 * Nothing here computes with tensors: the library runs, this file reads numbers out and counts.
 * Every command does its work twice with the same code: first in a context without memory, which
 * only measures the bytes, then for real. Results go to stdout, one line about a failure to stderr;
 * exit 0: done, 1: the run failed, 2: the command line was not understood. */
#include "data/latents.h"
#include "data/run.h"
#include "data/tokenizer.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("eval: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(status);
}

static void stop(const char *message) { fail(1, "%s", message); }    /* the library's last word */

static void *room_for(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) fail(1, "out of memory: %zu x %zu bytes", count, size);
    return p;
}

/* ==== COMMAND LINE ===============================================================================
 * One struct for all commands; each command has the options it knows. */

typedef struct {
    char split[16], data[RUN_PATH], from[24], prompt[400], answer[256];
    size_t count, prompts, k, max_new, seed, threads;
    double temperature;
    int json, no_analysis, help;
    const char *text;              /* of tokens; NULL: not given */
    int whole, plain, decode;
} settings;

#define AT(kind, field) kind, offsetof(settings, field), sizeof ((settings *)0)->field
#define COUNT {"count", AT(OPTION_SIZE, count), "1000", "problems, at most", 0}
#define SPLIT {"split", AT(OPTION_TEXT, split), "test", "test valid heldout train", 0}
#define DATA {"data", AT(OPTION_TEXT, data), "", "JSONL file of problems instead of a split", 0}
#define FROM {"latents-from", AT(OPTION_TEXT, from), "right", \
              "right swapped mean noise zero, or drop:I (slot I is left out)", 0}
#define TEMPERATURE {"temperature", AT(OPTION_REAL, temperature), "0", "0: greedy", 0}
#define SEED {"seed", AT(OPTION_SIZE, seed), "1", "of sampling and of noise latents", 0}
#define PROMPTS {"prompts", AT(OPTION_SIZE, prompts), "2048", \
                 "fresh prompts for the analysis of the latents", 0}
#define PROMPT {"prompt", AT(OPTION_TEXT, prompt), "", \
                "the question, as \"numbers: 3 7 12 target: 60\" (wanted)", 0}
#define JSON {"json", AT(OPTION_FLAG, json), "0", "one JSON document instead of tables", 0}
#define COMMON {"threads", AT(OPTION_SIZE, threads), "0", \
                "0: as many as there are; never moves a number", 0}, \
               {"help", AT(OPTION_FLAG, help), "0", "this list", 0}, {NULL, 0, 0, 0, NULL, NULL, 0}

static const option SCORE[] = {SPLIT, DATA, COUNT, FROM, TEMPERATURE, SEED, JSON, COMMON};
static const option COMPARE[] = {
    SPLIT, DATA, COUNT, PROMPTS,
    {"no-analysis", AT(OPTION_FLAG, no_analysis), "0", "leave the latents' analysis out", 0},
    JSON, COMMON
};
static const option GENERATE[] = {
    PROMPT, {"max-new", AT(OPTION_SIZE, max_new), "32", "tokens, at most", 0},
    FROM, TEMPERATURE, SEED, JSON, COMMON
};
static const option LATENTS[] = {
    PROMPTS, {"k", AT(OPTION_SIZE, k), "0", "size of each slot's subspace; 0: 99 % of variance", 0},
    JSON, COMMON
};
static const option TRACE[] = {
    PROMPT, {"answer", AT(OPTION_TEXT, answer), "", "y; without it the run's own greedy answer", 0},
    COMMON
};

static const option TOKENS[] = {
    {"text", AT(OPTION_ARGUMENT, text), NULL, "instead of FILE, one text", 0},
    {"whole", AT(OPTION_FLAG, whole), "0", "all of FILE is one text, not each of its lines", 0},
    {"plain", AT(OPTION_FLAG, plain), "0", "added tokens such as <|endoftext|> are plain text", 0},
    {"decode", AT(OPTION_FLAG, decode), "0", "FILE or --text holds ids, the text is wanted", 0},
    COMMON
};

static countdown_split parse_split(const char *name) {
    static const char *const names[] = {"train", "valid", "test", "heldout"};
    for (int i = COUNTDOWN_TRAIN; i <= COUNTDOWN_HELDOUT; i++)
        if (!strcmp(name, names[i])) return (countdown_split)i;
    fail(2, "--split: \"%s\" is not one of test valid heldout train", name);
    return COUNTDOWN_TEST;
}

static dual_control parse_control(const settings *s) {
    static const char *const names[] = {"right", "swapped", "mean", "noise", "zero"};
    dual_control k;
    char *end;
    memset(&k, 0, sizeof k);
    k.seed = s->seed;
    for (int i = 0; i < 5; i++)
        if (!strcmp(s->from, names[i])) {
            k.from = (dual_source)i;
            return k;
        }
    if (!strncmp(s->from, "drop:", 5) && s->from[5] >= '0' && s->from[5] <= '9') {
        k.from = DUAL_DROP;
        k.slot = (size_t)strtoull(s->from + 5, &end, 10);
        if (!*end) return k;
    }
    fail(2, "--latents-from: \"%s\" is not one of right swapped mean noise zero drop:I", s->from);
    return k;
}

/* ==== JSON OUT ===================================================================================
 * Values are written as they come; only the commas need a memory. key NULL: inside an array. */

typedef struct { int depth, first; } json;

static void json_quote(const char *s) {
    putchar('"');
    for (; *s; s++)
        if ((unsigned char)*s < 0x20) printf("\\u%04x", (unsigned char)*s);
        else if (*s == '"' || *s == '\\') printf("\\%c", *s);
        else putchar(*s);
    putchar('"');
}

static void json_key(json *j, const char *key) {
    if (j->depth) printf(j->first ? "\n%*s" : ",\n%*s", 2 * j->depth, "");
    j->first = 0;
    if (!key) return;
    json_quote(key);
    fputs(": ", stdout);
}

static void json_open(json *j, const char *key, char bracket) {
    json_key(j, key);
    putchar(bracket);
    j->depth++;
    j->first = 1;
}

static void json_close(json *j, char bracket) {
    j->depth--;
    if (!j->first) printf("\n%*s", 2 * j->depth, "");
    j->first = 0;
    putchar(bracket);
    if (!j->depth) putchar('\n');
}

static void json_number(json *j, const char *key, double x) {
    json_key(j, key);
    if (isfinite(x)) printf("%.10g", x);
    else fputs("null", stdout);
}

static void json_text(json *j, const char *key, const char *s) {
    json_key(j, key);
    json_quote(s);
}

static void json_flag(json *j, const char *key, int x) {
    json_key(j, key);
    fputs(x ? "true" : "false", stdout);
}

/* ==== A RUN IN MEMORY ============================================================================
 * Opened: settings, shapes and vocabulary. Loaded: one block that holds the models and has room for
 * `work`, which is called twice: while counting (c->memory NULL) and for real. */

typedef struct {
    run r;
    run_task task;                 /* without the file it was trained on: not needed to evaluate */
    char base_only[RUN_PATH + 16]; /* not "": the untouched Base a run was started from */
} subject;


static void subject_open(subject *s, const char *folder) {
    dual_ctx c;
    char error[300];
    memset(s, 0, sizeof *s);
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    if (!run_open(&c, folder, &s->r)) fail(1, "%s", c.error);
    dual_done(&c);
    run_settings set = s->r.set;
    *set.data = 0;
    if (!run_task_open(&set, &s->task, error, sizeof error)) fail(1, "%s: %s", folder, error);
    if (s->r.shape.vocab < words_size(s->task.vocabulary))
        fail(1, "%s: a model of %zu words, the task needs %zu", folder, s->r.shape.vocab,
             words_size(s->task.vocabulary));
}

/* Turns an opened run into the Base it was started from. 0: there is none to be found. */
static int subject_untouched(subject *s) {
    const run_settings *set = &s->r.set;
    dual_ctx c;
    if (*set->base) snprintf(s->base_only, sizeof s->base_only, "%s/base", set->base);
    else snprintf(s->base_only, sizeof s->base_only, "%s", set->init);
    dual_init(&c, NULL, 0);
    const int found = *s->base_only && dual_config_read(&c, s->base_only, &s->r.shape);
    dual_done(&c);
    s->r.system = dual_system_preset("none");
    strcpy(s->r.set.objective, "lm");
    snprintf(s->r.set.out, sizeof s->r.set.out, "%s", *set->base ? set->base : set->init);
    return found;
}

static void subject_close(subject *s) { run_task_close(&s->task); }

static void subject_work(subject *s, void (*work)(dual_ctx *, subject *, void *), void *what) {
    const char *folder = s->r.set.out;
    dual_ctx c;
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    if (!run_build(&c, &s->r)) fail(1, "%s: %s", folder, c.error);
    work(&c, s, what);
    const size_t size = c.peak + 4096;
    dual_done(&c);
    void *block = malloc(size);
    if (!block) fail(1, "%s: no memory for %.1f MB", folder, (double)size / 1e6);
    dual_init(&c, block, size);
    c.fatal = stop;
    if (!run_build(&c, &s->r)) fail(1, "%s: %s", folder, c.error);
    if (*s->base_only ? !dual_model_load(&c, s->r.base, s->base_only)
                      : !run_load(&c, &s->r, folder, NULL))
        fail(1, "%s: %s", folder, c.error);
    work(&c, s, what);
    free(block);
}

/* n prompts without targets as one batch; the arrays belong to the caller's frame. */
typedef struct {
    dual_batch batch;
    dual_group group[SCORE_BATCH];
    const int32_t *text[SCORE_BATCH];
    size_t length[SCORE_BATCH];
} prompts;

static void prompts_fill(prompts *p, const run_task *t, const example *rows, size_t n) {
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        p->text[i] = rows[i].x;
        p->length[i] = p->group[i].prefix = rows[i].n_x;
        p->group[i].sequence = i;
        p->group[i].cue = &t->cue;
        p->group[i].n_cue = 1;
    }
    p->batch.n_sequences = p->batch.n_groups = n;
    p->batch.text = p->text;
    p->batch.length = p->length;
    p->batch.group = p->group;
}

/* Positions that are left for y after x, the latents and the cue. */
static size_t positions_left(const run *r, size_t n_x) {
    const size_t used = n_x + dual_latent_positions(&r->system) + 1;
    return used < r->shape.positions ? r->shape.positions - used : 0;
}

/* Rows whose prompt and answer do not fit are named before anything is computed. */
static void check_rows(dual_ctx *c, subject *s, const example *rows, size_t n, const char *source,
                       dual_control control) {
    for (size_t i = 0; i < n; i++) {
        prompts p;
        prompts_fill(&p, &s->task, &rows[i], 1);
        p.group[0].target = rows[i].y;
        p.group[0].n_target = rows[i].n_y;
        p.batch.control = control;
        if (!dual_batch_check(c, &s->r.exchange, &p.batch))
            fail(1, "%s, row %zu: %s", source, i + 1, c->error);
    }
}

/* What --split, --data and --count ask for, and its name. */
static example *problems(const settings *set, const run_task *t, size_t *n, char *name,
                         size_t size) {
    char error[300];
    const countdown_split split = parse_split(set->split);
    *n = set->count;
    if (!*n) fail(2, "--count must be above 0");
    example *rows = run_test_set(t, split, set->data, n, error, sizeof error);
    if (!rows) fail(1, "%s", error);
    snprintf(name, size, *set->data ? "problems of %s" : "%s problems",
             *set->data ? set->data : set->split);
    return rows;
}

/* Problems that no run was trained on, for the analysis of latents. Drawn without looking for
 * repeats: small tasks do not have thousands of different ones. */
static example *fresh_prompts(const run_task *t, size_t n) {
    countdown_options o = t->options;
    dual_rng rng = dual_rng_seed(20260102, 0);
    example *rows = room_for(n, sizeof *rows);
    char error[300] = "";
    o.split = COUNTDOWN_TEST;
    for (size_t i = 0; i < n; i++) {
        countdown_problem p;
        if (!countdown_draw(&o, &rng, &p)) fail(1, "these options leave no test problem");
        if (!run_example(t, &p, &rows[i], error, sizeof error)) fail(1, "%s", error);
    }
    return rows;
}

/* ==== SCORE =================================================================================== */

typedef struct { size_t hits, of; } tally;

static void tally_add(tally *t, int hit) {
    t->hits += hit != 0;
    t->of++;
}

static double share(tally t) { return t.of ? (double)t.hits / (double)t.of : NAN; }

static void tally_print(const char *label, tally t) {
    if (!t.of) return;
    const double hits = (double)t.hits, of = (double)t.of;
    printf("%-32s %6.1f %%  [%5.1f, %5.1f]   %zu of %zu\n", label, 100 * hits / of,
           100 * wilson_low(hits, of), 100 * wilson_high(hits, of), t.hits, t.of);
}

static void tally_json(json *j, const char *key, tally t) {
    json_open(j, key, '{');
    json_number(j, "hits", (double)t.hits);
    json_number(j, "of", (double)t.of);
    json_number(j, "share", share(t));
    json_number(j, "low", t.of ? wilson_low((double)t.hits, (double)t.of) : NAN);
    json_number(j, "high", t.of ? wilson_high((double)t.hits, (double)t.of) : NAN);
    json_close(j, '}');
}

typedef struct {
    const settings *set;
    const char *source;
    const example *rows;
    size_t n;
    answer *answers;
    double loss;
} score_job;

static void score_work(dual_ctx *c, subject *s, void *what) {
    score_job *j = what;
    const dual_control control = parse_control(j->set);
    if (control.from != DUAL_RIGHT && s->r.system.inject == DUAL_NONE)
        fail(1, "--latents-from: this run has no latents");
    if (!c->memory) check_rows(c, s, j->rows, j->n, j->source, control);
    run_score(c, &s->r, &s->task, j->rows, j->n, control, j->set->temperature, j->set->seed,
              j->answers, &j->loss);
}

/* Which rows of a file have a key that training can have seen. Returns how that is known. */
static const char *seen_in_training(const run_settings *trained, const example *rows, size_t n,
                                    unsigned char *seen, char *room, size_t size) {
    char error[300];
    if (!*trained->data) {
        for (size_t i = 0; i < n; i++) {
            const countdown_problem *p = &rows[i].problem;
            seen[i] = countdown_split_of(p->numbers, p->count, p->target) == COUNTDOWN_TRAIN;
        }
        return "it was trained on generated problems: every key of the train split";
    }
    countdown_set test, train;
    test.count = n;
    test.items = room_for(n, sizeof *test.items);
    for (size_t i = 0; i < n; i++) test.items[i] = rows[i].problem;
    if (!countdown_read(trained->data, &train, error, sizeof error))
        snprintf(room, size, "unknown: the file it was trained on cannot be read: %s", error);
    else if (countdown_overlap(&test, &train, seen) == SIZE_MAX)
        fail(1, "out of memory for %zu keys", train.count);
    else {
        snprintf(room, size, "it was trained on %s", trained->data);
        countdown_free(&train);
    }
    free(test.items);
    return room;
}

enum { VERDICTS = COUNTDOWN_OVERFLOW + 1 };

static int score(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    score_job job;
    char source[RUN_PATH + 40], known[2 * RUN_PATH], system[200];
    tally all = {0, 0}, kind[2] = {{0, 0}, {0, 0}}, by_count[COUNTDOWN_MAX + 1] = {{0, 0}};
    tally once = {0, 0}, no_end = {0, 0}, unseen = {0, 0};
    size_t verdict[VERDICTS] = {0};
    (void)n_runs;
    subject_open(&s, folder[0]);
    memset(&job, 0, sizeof job);
    job.set = set;
    example *rows = problems(set, &s.task, &job.n, source, sizeof source);
    job.source = source;
    job.rows = rows;
    job.answers = room_for(job.n, sizeof *job.answers);
    subject_work(&s, score_work, &job);

    unsigned char *seen = room_for(job.n, 1);
    const char *how = seen_in_training(&s.r.set, rows, job.n, seen, known, sizeof known);
    for (size_t i = 0; i < job.n; i++) {
        const answer *a = &job.answers[i];
        const int hit = a->verdict == COUNTDOWN_CORRECT;
        tally_add(&all, hit);
        tally_add(&kind[a->simple != 0], hit);
        tally_add(&by_count[rows[i].problem.count], hit);
        tally_add(&once, a->each_once);
        tally_add(&no_end, !a->ended);
        if (!seen[i]) tally_add(&unseen, hit);
        verdict[a->verdict]++;
    }
    run_describe_system(&s.r.system, system, sizeof system);
    if (set->json) {
        json j = {0, 0};
        json_open(&j, NULL, '{');
        json_text(&j, "command", "score");
        json_text(&j, "run", folder[0]);
        json_text(&j, "system", system);
        json_number(&j, "step", (double)s.r.step);
        json_text(&j, "problems", source);
        json_text(&j, "latents_from", set->from);
        tally_json(&j, "accuracy", all);
        json_number(&j, "loss", job.loss);
        tally_json(&j, "plus_minus_suffice", kind[1]);
        tally_json(&j, "needs_times_or_divide", kind[0]);
        json_open(&j, "numbers", '{');
        for (int i = COUNTDOWN_MIN; i <= COUNTDOWN_MAX; i++)
            if (by_count[i].of) {
                char key[8];
                snprintf(key, sizeof key, "%d", i);
                tally_json(&j, key, by_count[i]);
            }
        json_close(&j, '}');
        json_open(&j, "verdicts", '{');
        for (int i = 0; i < VERDICTS; i++)
            json_number(&j, countdown_verdict_name((countdown_verdict)i), (double)verdict[i]);
        json_close(&j, '}');
        tally_json(&j, "each_number_once", once);
        tally_json(&j, "no_end_token", no_end);
        if (*set->data) {
            json_text(&j, "seen_in_training", how);
            json_number(&j, "keys_seen", (double)(all.of - unseen.of));
            tally_json(&j, "accuracy_unseen", unseen);
        }
        json_close(&j, '}');
    } else {
        printf("%s: %s; step %llu\n%zu %s, %s, latents %s\n\n", folder[0], system,
               (unsigned long long)s.r.step, job.n, source,
               set->temperature > 0 ? "sampled" : "greedy", set->from);
        if (job.n < set->count && !*set->data)
            printf("(the split has no more than %zu different problems)\n", job.n);
        tally_print("accuracy [95 %]", all);
        tally_print("  + and - suffice", kind[1]);
        tally_print("  needs * or /", kind[0]);
        for (int i = COUNTDOWN_MIN; i <= COUNTDOWN_MAX; i++) {
            char label[24];
            snprintf(label, sizeof label, "  %d numbers", i);
            tally_print(label, by_count[i]);
        }
        if (*set->data) tally_print("  of keys not seen in training", unseen);
        tally_print("uses each number once", once);
        tally_print("no end token (counted wrong)", no_end);
        printf("loss per target, teacher-forced  %8.4f\n\nverdicts:", job.loss);
        for (int i = 0; i < VERDICTS; i++)
            printf("%s %s %zu", i ? "," : "", countdown_verdict_name((countdown_verdict)i),
                   verdict[i]);
        printf("\n");
        if (*set->data)
            printf("keys that training can have seen: %zu of %zu; %s\n", all.of - unseen.of, all.of,
                   how);
    }
    free(seen);
    free(job.answers);
    examples_free(rows, job.n);
    subject_close(&s);
    return 0;
}

/* ==== LATENTS ====================================================================================
 * Over many prompts, do the N_L slots hold different things? H_ij is the share of slot i's variance
 * that lies in slot j's subspace; 1 everywhere off the diagonal: all slots move in one subspace. */

enum { SIZES = 4 };                /* 99 % of the variance (or --k), then k = 1, 8, 32 */
typedef struct {
    const example *rows;
    size_t n, k, slots, width, sizes;
    latents_view at[SIZES];
    double *H, *norms;             /* of at[0], malloc'ed */
} latents_job;

static void latents_work(dual_ctx *c, subject *s, void *what) {
    latents_job *j = what;
    const size_t N = j->slots = s->r.system.latents;
    const dual_mark start = dual_mark_here(c);
    const int recorded = c->inference;
    const size_t ks[SIZES] = {j->k, 1, 8, 32};
    dual_control right;
    double *z = NULL;
    memset(&right, 0, sizeof right);
    if (!c->memory) check_rows(c, s, j->rows, j->n, "fresh prompts", right);
    c->inference = 1;
    for (size_t first = 0; first < j->n; first += SCORE_BATCH) {
        const size_t n = j->n - first < SCORE_BATCH ? j->n - first : SCORE_BATCH;
        prompts p;
        dual_outcome out;
        prompts_fill(&p, &s->task, j->rows + first, n);
        dual_run(c, &s->r.exchange, &p.batch, &out);
        const dual_tensor *t = out.latents;
        j->width = t->cols;
        if (c->memory && !z) z = room_for(j->n * N, t->cols * sizeof *z);
        for (size_t r = 0; z && r < n * N; r++)
            for (size_t i = 0; i < t->cols; i++)
                z[(first * N + r) * t->cols + i] = (double)t->data[r * t->stride + i];
        dual_release(c, start);
    }
    c->inference = recorded;
    if (z) {
        j->H = room_for(N * N, sizeof *j->H);
        j->norms = room_for(N, sizeof *j->norms);
    }
    double *sil = room_for(j->n * N, sizeof *sil);
    for (size_t i = 0; i < j->sizes; i++)    /* the silhouette does not depend on k: once */
        if (!latents_analyse(c, z, j->n, N, j->width, ks[i], &j->at[i], i ? NULL : j->H,
                                  i ? NULL : j->norms, i ? NULL : sil, NULL, NULL))
            fail(1, "%s", c->error);
    free(sil);
    free(z);
}

static void latents_json(const settings *set, const latents_job *job, const char *folder,
                         const char *system) {
    json j = {0, 0};
    json_open(&j, NULL, '{');
    json_text(&j, "command", "latents");
    json_text(&j, "run", folder);
    json_text(&j, "system", system);
    json_number(&j, "slots", (double)job->slots);
    if (job->slots) {
        const int many = job->slots > 1;
        json_number(&j, "prompts", (double)job->n);
        json_number(&j, "width", (double)job->width);
        json_number(&j, "effective_rank", job->at[0].rank);
        json_number(&j, "silhouette", many ? job->at[0].silhouette : NAN);
        json_open(&j, "subspaces", '[');
        for (size_t i = 0; i < job->sizes; i++) {
            const latents_view *a = &job->at[i];
            json_open(&j, NULL, '{');
            json_text(&j, "rule", i || set->k ? "k" : "99 % of variance");
            json_number(&j, "k_min", (double)a->k_min);
            json_number(&j, "k_max", (double)a->k_max);
            json_number(&j, "h_off", many ? a->h_off : NAN);
            json_number(&j, "h_diag", a->h_diag);
            json_number(&j, "floor", a->floor);
            json_number(&j, "h_off_shuffled", many ? a->h_shuffled : NAN);
            json_number(&j, "h_off_halves", many ? a->h_half : NAN);
            json_number(&j, "h_diag_halves", a->h_half_diag);
            json_close(&j, '}');
        }
        json_close(&j, ']');
        json_open(&j, "norms", '[');
        for (size_t i = 0; i < job->slots; i++) json_number(&j, NULL, job->norms[i]);
        json_close(&j, ']');
        json_open(&j, "H", '[');
        for (size_t i = 0; i < job->slots; i++) {
            json_open(&j, NULL, '[');
            for (size_t k = 0; k < job->slots; k++)
                json_number(&j, NULL, job->H[i * job->slots + k]);
            json_close(&j, ']');
        }
        json_close(&j, ']');
    }
    json_close(&j, '}');
}

static const char *what_latents_are(const dual_system *s) {
    return s->inject == DUAL_EMBED ? "Z, the Coprocessor's states after its final norm"
         : s->inject == DUAL_KV ? "values of the Coprocessor's last layer at its soft tokens"
         : "the Base's states after its final norm at the slots";
}

static int latents(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    latents_job job;
    char system[200];
    (void)n_runs;
    subject_open(&s, folder[0]);
    run_describe_system(&s.r.system, system, sizeof system);
    memset(&job, 0, sizeof job);
    job.n = set->prompts;
    job.k = set->k;
    job.sizes = set->k ? 1 : SIZES;
    if (job.n < 2) fail(2, "--prompts: at least 2 are needed");
    if (s.r.system.latents) {
        example *rows = fresh_prompts(&s.task, job.n);
        job.rows = rows;
        subject_work(&s, latents_work, &job);
        examples_free(rows, job.n);
    }
    if (set->json) {
        latents_json(set, &job, folder[0], system);
    } else if (!job.slots) {
        printf("%s: %s: no latents, nothing to analyse\n", folder[0], system);
    } else {
        printf("%s: %s\n%zu fresh prompts x %zu slots of width %zu: %s\n\n", folder[0], system,
               job.n, job.slots, job.width, what_latents_are(&s.r.system));
        printf("H: the share of slot i's variance that lies in slot j's subspace, every slot "
               "centred.\n\n%-16s %10s %8s %8s %10s %10s %8s %8s\n", "", "k", "H_off", "H_diag",
               "floor k/d", "shuffled", "halves", "diag");
        for (size_t i = 0; i < job.sizes; i++) {
            const latents_view *a = &job.at[i];
            char k[48], off[3][16];
            const double offs[3] = {a->h_off, a->h_shuffled, a->h_half};
            snprintf(k, sizeof k, a->k_min < a->k_max ? "%zu..%zu" : "%zu", a->k_min, a->k_max);
            for (int o = 0; o < 3; o++) {
                if (job.slots > 1) snprintf(off[o], sizeof off[o], "%.4f", offs[o]);
                else strcpy(off[o], "-");
            }
            printf("%-16s %10s %8s %8.4f %10.4f %10s %8s %8.4f\n",
                   i || set->k ? "fixed k" : "99 % of variance", k, off[0], a->h_diag, a->floor,
                   off[1], off[2], a->h_half_diag);
        }
        printf("\nfloor: what unrelated directions would give. shuffled: slots mixed within each "
               "prompt.\nhalves: subspaces from one half of the prompts, variance of the other.\n");
        if (job.n < 10 * job.width && job.n < 2000)
            printf("Few prompts for this width (10 x %zu would do): H_off comes out too high.\n",
                   job.width);
        printf("\neffective rank %.1f of %zu", job.at[0].rank, job.width);
        if (job.slots > 1)
            printf("; silhouette %+.4f\nSilhouette: 1 = slots in clusters apart, about 0 = one "
                   "cloud. Equal overlapping slots give about\n-0.02; clearly below that the slots "
                   "differ in scale, see their norms.", job.at[0].silhouette);
        printf("\n\nmean norm of each slot:");
        for (size_t i = 0; i < job.slots; i++)
            printf("%s%8.2f", i % 10 == 0 ? "\n " : " ", job.norms[i]);
        printf("\n\nH, row: whose variance, column: whose subspace\n");
        for (size_t i = 0; i < job.slots; i++)
            for (size_t k = 0; k < job.slots; k++)
                printf("%s%.2f%s", k % 18 == 0 && k ? "\n       " : " ",
                       job.H[i * job.slots + k], k + 1 == job.slots ? "\n" : "");
    }
    free(job.H);
    free(job.norms);
    subject_close(&s);
    return 0;
}

/* ==== COMPARE ====================================================================================
 * Runs of one label are seeds of one arm. Every problem gives an arm the mean of its seeds' 0 or 1,
 * so differences between arms are paired problem by problem. */

enum {
    ACCURACY, SWAPPED, LOSS, AT_25, AT_50, AT_75, AT_100, TRAINED, PASSES, STEP_FLOPS, FLOPS, H_OFF,
    FLOOR, SILHOUETTE, NUMBERS
};
static const char *const NUMBER_NAMES[NUMBERS] = {
    "accuracy", "accuracy_swapped", "loss", "accuracy_at_25", "accuracy_at_50", "accuracy_at_75",
    "accuracy_at_100", "trained", "passes", "step_flops", "flops", "h_off", "h_floor", "silhouette"
};

typedef struct {                   /* one run */
    char folder[RUN_PATH], label[48];
    run_settings set;
    dual_system system;
    uint64_t step;
    int implied;                   /* the untouched Base, not itself given: */
    const char *started;           /* a run that was started from it */
    double number[NUMBERS];        /* NAN: does not apply */
    unsigned char *right, *swapped;         /* [problems] 1: solved; swapped may be NULL */
} member;

typedef struct {                   /* all runs of one label: member first .. first + n - 1 */
    size_t first, n;
    double number[NUMBERS];
    double *right, *swapped;       /* [problems] mean over the runs */
} arm;

typedef struct {
    const settings *set;
    const char *source;
    const example *rows, *fresh;
    size_t n_rows, n_fresh, n_members, n_arms;
    member *members, *now;
    arm *arms;
    double floor;
} comparison;

/* Swapping changes nothing where the latents do not depend on x. */
static int latents_are_fixed(const dual_system *s) {
    return s->inject == DUAL_SOFT || s->inject == DUAL_PAUSE;
}

static double score_into(dual_ctx *c, subject *s, comparison *k, dual_source from,
                         unsigned char *hit, double *loss) {
    answer *answers = room_for(k->n_rows, sizeof *answers);
    double hits = 0;
    dual_control control;
    memset(&control, 0, sizeof control);
    control.from = from;
    run_score(c, &s->r, &s->task, k->rows, k->n_rows, control, 0, 1, answers, loss);
    for (size_t i = 0; c->memory && i < k->n_rows; i++)
        hits += hit[i] = answers[i].verdict == COUNTDOWN_CORRECT;
    free(answers);
    return hits / (double)k->n_rows;
}

static void compare_work(dual_ctx *c, subject *s, void *what) {
    comparison *k = what;
    member *m = k->now;
    const dual_mark start = dual_mark_here(c);
    const dual_control right = {DUAL_RIGHT, 0, 0};
    const size_t N = s->r.system.latents;
    prompts p;
    dual_outcome out;
    if (!c->memory) check_rows(c, s, k->rows, k->n_rows, k->source, right);
    m->number[ACCURACY] = score_into(c, s, k, DUAL_RIGHT, m->right, &m->number[LOSS]);
    if (m->swapped)
        m->number[SWAPPED] = score_into(c, s, k, DUAL_SWAPPED, m->swapped, NULL);
    else if (N) m->number[SWAPPED] = m->number[ACCURACY];
    prompts_fill(&p, &s->task, k->rows, 1);
    dual_run(c, &s->r.exchange, &p.batch, &out);
    m->number[PASSES] = (double)out.n_passes;
    dual_release(c, start);
    if (!m->implied) m->number[TRAINED] = (double)dual_exchange_trained(&s->r.exchange);
    if (!N || k->set->no_analysis) return;
    latents_job job;
    memset(&job, 0, sizeof job);
    job.rows = k->fresh;
    job.n = k->n_fresh;
    job.sizes = 1;
    latents_work(c, s, &job);
    if (N > 1) {
        m->number[H_OFF] = job.at[0].h_off;
        m->number[SILHOUETTE] = job.at[0].silhouette;
    }
    m->number[FLOOR] = job.at[0].floor;
    free(job.H);
    free(job.norms);
}

/* FLOPs of one step, on the data the run was trained on: lengths of prompts differ. */
static double training_flops(const run *r) {
    run_task task;
    char error[300];
    if (!run_task_open(&r->set, &task, error, sizeof error)) return NAN;
    const double flops = run_step_flops(r, &task);
    run_task_close(&task);
    return flops > 0 ? flops : NAN;
}

/* Accuracies that were measured while training: the scored row of log.csv nearest to each quarter
 * of the steps, if it is within a twentieth of the run. */
static void read_curve(const char *folder, double steps, double *at) {
    char path[RUN_PATH + 16];
    double off[4] = {0.05, 0.05, 0.05, 0.05};
    dual_ctx c;
    size_t length;
    dual_init(&c, NULL, 0);
    snprintf(path, sizeof path, "%s/log.csv", folder);
    char *text = dual_text_read(&c, path, &length), *line = text;
    for (; line && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *field = line;
        const double step = strtod(line, NULL);
        int comma = 0;
        for (; comma < 4 && *field && *field != '\n'; field++) comma += *field == ',';
        if (comma < 4 || (*field != '.' && (*field < '0' || *field > '9'))) continue;
        for (int q = 0; q < 4; q++)
            if (fabs(step / steps - 0.25 * (q + 1)) < off[q]) {
                off[q] = fabs(step / steps - 0.25 * (q + 1));
                at[q] = strtod(field, NULL);
            }
    }
    free(text);
    dual_done(&c);
}

/* The arm a run belongs to: its system, and whatever makes it another experiment. */
static void label_run(member *m, size_t usual_latents) {
    const int lm = run_is_lm(&m->set);
    char name[40], latents[24] = "";
    if (lm) snprintf(name, sizeof name, *m->set.wide_of ? "wide Base" : "Base");
    else if (strcmp(m->system.name, "custom")) snprintf(name, sizeof name, "%s", m->system.name);
    else snprintf(name, sizeof name, "%s/%s", dual_injection_name(m->system.inject),
                  m->system.base_trained ? "trained" : "frozen");
    if (!lm && m->system.latents && m->system.latents != usual_latents)
        snprintf(latents, sizeof latents, ":%zu", m->system.latents);
    snprintf(m->label, sizeof m->label, "%.14s%s%s%s%s", name, latents,
             m->system.detach ? "+detach" : "", m->system.gain ? "+gain" : "",
             *m->set.match_flops && !lm ? "@flops" : "");
}

/* The method's order, the Base first; qsort gets the seeds of an arm side by side. */
static int rank(const member *m) {
    static const char *const order[] = {"none", "pause", "soft", "prompt", "wide", "coconut", "liu",
                                        "h1", "h2", "h1h2", "custom"};
    int i = 0;
    if (run_is_lm(&m->set)) return *m->set.wide_of ? -1 : -2;
    while (i < 10 && strcmp(order[i], m->system.name)) i++;
    return i;
}

static int by_arm(const void *a, const void *b) {
    const member *x = a, *y = b;
    const int order = rank(x) - rank(y), label = strcmp(x->label, y->label);
    if (order || label) return order ? order : label;
    return (x->set.seed > y->set.seed) - (x->set.seed < y->set.seed);
}

static void make_arms(comparison *k) {
    k->arms = room_for(k->n_members, sizeof *k->arms);
    for (size_t i = 0; i < k->n_members; i++) {
        member *m = &k->members[i];
        arm *a = &k->arms[k->n_arms];
        if (i && !strcmp(m[-1].label, m->label)) a--;
        else {
            k->n_arms++;
            a->first = i;
            a->right = room_for(k->n_rows, sizeof *a->right);
            a->swapped = room_for(k->n_rows, sizeof *a->swapped);
        }
        a->n++;
    }
    for (size_t i = 0; i < k->n_arms; i++) {
        arm *a = &k->arms[i];
        const double n = (double)a->n;
        for (const member *m = k->members + a->first; m < k->members + a->first + a->n; m++) {
            for (int x = 0; x < NUMBERS; x++) a->number[x] += m->number[x] / n;
            for (size_t r = 0; r < k->n_rows; r++) {
                a->right[r] += m->right[r] / n;
                a->swapped[r] += (m->swapped ? m->swapped : m->right)[r] / n;
            }
        }
    }
}

/* ---- The sentences: sums of arms, paired problem by problem ---- */

typedef struct { const char *arm; int sign, swapped; } term;
static const struct { const char *claim, *formula; term terms[4]; } SENTENCES[] = {
    {"joint training helps", "(h2 - none) - (liu - Base)",
     {{"h2", 1, 0}, {"none", -1, 0}, {"liu", -1, 0}, {"Base", 1, 0}}},
    {"  beside it", "h2 - liu", {{"h2", 1, 0}, {"liu", -1, 0}}},
    {"wider channel, frozen", "h1 - liu", {{"h1", 1, 0}, {"liu", -1, 0}}},
    {"wider channel, trained", "h1h2 - h2", {{"h1h2", 1, 0}, {"h2", -1, 0}}},
    {"single model is better", "soft - h2", {{"soft", 1, 0}, {"h2", -1, 0}}},
    {"Coprocessor helps", "liu - prompt", {{"liu", 1, 0}, {"prompt", -1, 0}}},
    {"better at equal FLOPs", "h2 - none@flops", {{"h2", 1, 0}, {"none@flops", -1, 0}}},
    {"content matters", "liu - liu swapped", {{"liu", 1, 0}, {"liu", -1, 1}}},
    {"content matters", "h1 - h1 swapped", {{"h1", 1, 0}, {"h1", -1, 1}}},
    {"content matters", "h2 - h2 swapped", {{"h2", 1, 0}, {"h2", -1, 1}}},
    {"content matters", "h1h2 - h1h2 swapped", {{"h1h2", 1, 0}, {"h1h2", -1, 1}}},
    {"content matters", "coconut - coconut swapped", {{"coconut", 1, 0}, {"coconut", -1, 1}}},
    {"training helps", "none - Base", {{"none", 1, 0}, {"Base", -1, 0}}},
    {"training helps", "soft - Base", {{"soft", 1, 0}, {"Base", -1, 0}}},
    {"training helps", "h2 - Base", {{"h2", 1, 0}, {"Base", -1, 0}}},
    {"training helps", "h1h2 - Base", {{"h1h2", 1, 0}, {"Base", -1, 0}}},
};
enum { N_SENTENCES = sizeof SENTENCES / sizeof *SENTENCES };

typedef struct {
    double points, low, high;      /* percentage points, 95 % interval */
    size_t seeds, agree;           /* seeds that all arms have; those with the sign of `points` */
    const char *verdict;
} finding;

static const arm *find_arm(const comparison *k, const char *label) {
    for (size_t i = 0; i < k->n_arms; i++)
        if (!strcmp(k->members[k->arms[i].first].label, label)) return &k->arms[i];
    return NULL;
}

/* One seed's value of a sentence. The Base is one for all seeds unless it has this seed too. */
static int seed_value(const comparison *k, const term *terms, size_t seed, double *value) {
    *value = 0;
    for (int t = 0; t < 4 && terms[t].arm; t++) {
        const int which = terms[t].swapped ? SWAPPED : ACCURACY;
        const arm *a = find_arm(k, terms[t].arm);
        const member *m = k->members + a->first, *end = m + a->n;
        while (m < end && m->set.seed != seed) m++;
        if (m == end && strcmp(terms[t].arm, "Base")) return 0;
        *value += terms[t].sign * (m < end ? m->number[which] : a->number[which]);
    }
    return 1;
}

static int find_out(const comparison *k, const term *terms, finding *f) {
    const double n = (double)k->n_rows;
    double mean = 0, square = 0, value;
    memset(f, 0, sizeof *f);
    for (int t = 0; t < 4 && terms[t].arm; t++) if (!find_arm(k, terms[t].arm)) return 0;
    for (int second = 0; second < 2; second++)
        for (size_t r = 0; r < k->n_rows; r++) {
            double d = 0;
            for (int t = 0; t < 4 && terms[t].arm; t++) {
                const arm *a = find_arm(k, terms[t].arm);
                d += terms[t].sign * (terms[t].swapped ? a->swapped : a->right)[r];
            }
            if (second) square += (d - mean) * (d - mean);
            else mean += d / n;
        }
    const double half = n > 1 ? 1.959964 * sqrt(square / (n - 1) / n) : NAN;
    f->points = 100 * mean;
    f->low = 100 * (mean - half);
    f->high = 100 * (mean + half);
    const arm *first = find_arm(k, terms[0].arm);
    for (size_t i = 0; i < first->n; i++)
        if (seed_value(k, terms, k->members[first->first + i].set.seed, &value)) {
            f->seeds++;
            f->agree += value * mean > 0;
        }
    const int excludes_zero = f->low > 0 || f->high < 0;
    f->verdict = !excludes_zero || f->agree < 3 ? "cannot tell" : mean > 0 ? "yes" : "no";
    return 1;
}

/* ---- What must be equal, and is not ---- */

#define IS(o, field) ((o)->offset == offsetof(run_settings, field))

static int must_be_equal(const option *o, const member *m) {
    const int lm = run_is_lm(&m->set), wide = !strcmp(m->system.name, "wide");
    if (IS(o, task) || IS(o, numbers) || IS(o, range) || IS(o, targets)) return 1;
    if (lm) return 0;
    if (IS(o, steps)) return !*m->set.match_flops;
    if (IS(o, latents)) return m->system.inject != DUAL_NONE;
    return IS(o, batch) || IS(o, data) || (IS(o, base) && !wide) || (IS(o, init) && !wide);
}

static void warn(json *j, const char *line) {
    if (j) json_text(j, NULL, line);
    else printf("warning: %s\n", line);
}

/* Every difference that puts a comparison in doubt, one line each; j NULL: as text. */
static void warnings(const comparison *k, json *j) {
    char line[5 * RUN_PATH], mine[RUN_PATH], theirs[RUN_PATH];
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!*o->name || !o->saved || IS(o, seed)) continue;
        const member *all = NULL;
        for (size_t i = 0; i < k->n_members; i++) {
            const member *m = &k->members[i], *other = NULL;
            if (m->implied) continue;
            if (must_be_equal(o, m)) {
                if (!all) all = m;
                other = all;
            } else if (i && !strcmp(m[-1].label, m->label)) other = m - 1;
            if (!other || other == m) continue;
            option_print(o, &m->set, mine, sizeof mine);
            option_print(o, &other->set, theirs, sizeof theirs);
            if (!strcmp(mine, theirs)) continue;
            snprintf(line, sizeof line, "%s: --%s is %s, that of %s is %s", m->folder, o->name,
                     *mine ? mine : "\"\"", other->folder, *theirs ? theirs : "\"\"");
            warn(j, line);
        }
    }
    for (const member *m = k->members; m < k->members + k->n_members; m++)
        if (!m->implied && m->step < m->set.steps) {
            snprintf(line, sizeof line, "%s: at step %llu of %zu", m->folder,
                     (unsigned long long)m->step, m->set.steps);
            warn(j, line);
        }
}

/* ---- What is printed ---- */

static const char *cell(char room[16], const char *format, double x) {
    if (isfinite(x)) snprintf(room, 16, format, x);
    else strcpy(room, "-");
    return room;
}

static void compare_print(const comparison *k) {
    char room[8][16];
    printf("%zu %s, the same for all; accuracies in %%, intervals 95 %%\n\n%-18s %5s %8s %15s %8s "
           "%7s   %s\n", k->n_rows, k->source, "", "seeds", "accuracy", "", "swapped", "loss",
           "at 25 %   50 %   75 %  100 %");
    printf("%-18s %5s %8.1f\n", "random expression", "", 100 * k->floor);
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        const member *m = &k->members[a->first];
        const double n = (double)k->n_rows, hits = a->number[ACCURACY] * n;
        const int same = m->system.latents && latents_are_fixed(&m->system);
        char interval[24];
        snprintf(interval, sizeof interval, "[%5.1f, %5.1f]", 100 * wilson_low(hits, n),
                 100 * wilson_high(hits, n));
        printf("%-18s %5zu %8.1f %15s %8s %7s  ", m->label, a->n, 100 * a->number[ACCURACY],
               interval, same ? "=" : cell(room[0], "%.1f", 100 * a->number[SWAPPED]),
               cell(room[1], "%.4f", a->number[LOSS]));
        for (int q = 0; q < 4; q++)
            printf(" %6s", cell(room[2], "%.1f", 100 * a->number[AT_25 + q]));
        printf("\n");
    }
    printf("\nswapped: latents of another problem; =: they do not depend on the problem.\n"
           "at 25 %% ...: on the problems that were scored while training.\n\n"
           "%-18s %8s %6s %11s %9s %7s %7s %10s\n", "", "trained", "passes", "FLOPs/step", "FLOPs",
           "H_off", "floor", "silhouette");
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        for (int i = 0; i < 3; i++) {
            const double x = a->number[i == 0 ? TRAINED : i == 1 ? STEP_FLOPS : FLOPS];
            if (isfinite(x)) run_human(x, room[i], sizeof room[i]);
            else strcpy(room[i], "-");
        }
        printf("%-18s %8s %6s %11s %9s %7s %7s %10s\n", k->members[a->first].label, room[0],
               cell(room[3], "%.0f", a->number[PASSES]), room[1], room[2],
               cell(room[4], "%.4f", a->number[H_OFF]), cell(room[5], "%.3f", a->number[FLOOR]),
               cell(room[6], "%+.3f", a->number[SILHOUETTE]));
    }
    printf("\nFLOPs: of the run's own training, without what made the Base it started from.\n"
           "floor: H_off of unrelated directions.\n");
    for (int i = 0, said = 0; i < N_SENTENCES; i++) {
        finding f;
        if (!find_out(k, SENTENCES[i].terms, &f)) continue;
        if (!said++) printf("\n%-24s %-27s %8s\n", "", "", "points");
        printf("%-24s %-27s %+7.1f [%+6.1f, %+6.1f]  %s (%zu seed%s)\n", SENTENCES[i].claim,
               SENTENCES[i].formula, f.points, f.low, f.high, f.verdict, f.seeds,
               f.seeds == 1 ? "" : "s");
    }
    printf("\n");
    warnings(k, NULL);
}

static void compare_json(const comparison *k) {
    json j = {0, 0};
    json_open(&j, NULL, '{');
    json_text(&j, "command", "compare");
    json_text(&j, "problems", k->source);
    json_number(&j, "count", (double)k->n_rows);
    json_number(&j, "random_expression", k->floor);
    json_open(&j, "arms", '[');
    for (const arm *a = k->arms; a < k->arms + k->n_arms; a++) {
        const member *m = k->members + a->first;
        const double n = (double)k->n_rows, hits = a->number[ACCURACY] * n;
        json_open(&j, NULL, '{');
        json_text(&j, "name", m->label);
        json_number(&j, "seeds", (double)a->n);
        json_number(&j, "latents", (double)m->system.latents);
        for (int x = 0; x < NUMBERS; x++) json_number(&j, NUMBER_NAMES[x], a->number[x]);
        json_number(&j, "accuracy_low", wilson_low(hits, n));
        json_number(&j, "accuracy_high", wilson_high(hits, n));
        json_open(&j, "runs", '[');
        for (; m < k->members + a->first + a->n; m++) {
            json_open(&j, NULL, '{');
            json_text(&j, "run", m->folder);
            json_number(&j, "seed", (double)m->set.seed);
            json_number(&j, "step", (double)m->step);
            for (int x = 0; x < NUMBERS; x++) json_number(&j, NUMBER_NAMES[x], m->number[x]);
            json_close(&j, '}');
        }
        json_close(&j, ']');
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_open(&j, "sentences", '[');
    for (int i = 0; i < N_SENTENCES; i++) {
        finding f;
        if (!find_out(k, SENTENCES[i].terms, &f)) continue;
        json_open(&j, NULL, '{');
        json_text(&j, "claim", SENTENCES[i].claim + strspn(SENTENCES[i].claim, " "));
        json_text(&j, "formula", SENTENCES[i].formula);
        json_number(&j, "points", f.points);
        json_number(&j, "low", f.low);
        json_number(&j, "high", f.high);
        json_number(&j, "seeds", (double)f.seeds);
        json_number(&j, "seeds_of_this_sign", (double)f.agree);
        json_text(&j, "verdict", f.verdict);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_open(&j, "warnings", '[');
    warnings(k, &j);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* ---- The command ---- */

static void add_member(comparison *k, const subject *s, const char *folder) {
    member *m = &k->members[k->n_members++];
    snprintf(m->folder, sizeof m->folder, "%s", folder);
    m->set = s->r.set;
    m->system = s->r.system;
    m->implied = *s->base_only != 0;
}

static void measure(comparison *k, member *m) {
    subject s;
    fprintf(stderr, "%s\n", m->folder);
    subject_open(&s, m->implied ? m->started : m->folder);
    if (m->implied) subject_untouched(&s);
    for (int x = 0; x < NUMBERS; x++) m->number[x] = NAN;
    m->right = room_for(k->n_rows, 1);
    if (m->system.latents && !latents_are_fixed(&m->system)) m->swapped = room_for(k->n_rows, 1);
    k->now = m;
    subject_work(&s, compare_work, k);
    if (!m->implied) {
        m->step = s.r.step;
        m->number[STEP_FLOPS] = training_flops(&s.r);
        m->number[FLOPS] = m->number[STEP_FLOPS] * (double)m->step;
        read_curve(m->folder, (double)m->set.steps, &m->number[AT_25]);
    }
    subject_close(&s);
}

/* Looks at every folder before any work is done. Without a Base among them, the one that the first
 * arm was started from joins (a wide arm has another). Returns 1 if there is a Base then. */
static int gather(comparison *k, size_t n_runs, const char **folder) {
    subject s;
    int has_base = 0;
    size_t usual = 0;
    for (size_t i = 0; i < n_runs; i++) {
        subject_open(&s, folder[i]);
        add_member(k, &s, folder[i]);
        has_base |= run_is_lm(&s.r.set) && !*s.r.set.wide_of;
        if (!usual) usual = s.r.system.latents;
        subject_close(&s);
    }
    for (size_t i = 0; i < n_runs && !has_base; i++) {
        if (run_is_lm(&k->members[i].set) || !strcmp(k->members[i].system.name, "wide")) continue;
        subject_open(&s, folder[i]);
        has_base = subject_untouched(&s);
        if (has_base) {
            add_member(k, &s, s.r.set.out);
            k->members[n_runs].started = folder[i];
        }
        subject_close(&s);
    }
    for (size_t i = 0; i < k->n_members; i++) label_run(&k->members[i], usual);
    qsort(k->members, k->n_members, sizeof *k->members, by_arm);
    for (const member *m = k->members + 1; m < k->members + k->n_members; m++)
        if (!strcmp(m[-1].label, m->label) && m[-1].set.seed == m->set.seed)
            fail(1, "%s and %s are both %s with seed %zu: leave one out", m[-1].folder, m->folder,
                 m->label, m->set.seed);
    return has_base;
}

static int compare(const settings *set, size_t n_runs, const char **folder) {
    comparison k;
    subject s;
    char source[RUN_PATH + 40];
    memset(&k, 0, sizeof k);
    k.set = set;
    k.n_fresh = set->prompts;
    k.members = room_for(n_runs + 1, sizeof *k.members);
    k.source = source;
    if (k.n_fresh < 2) fail(2, "--prompts: at least 2 are needed");
    const int has_base = gather(&k, n_runs, folder);
    subject_open(&s, folder[0]);       /* the first run's task makes the problems */
    example *rows = problems(set, &s.task, &k.n_rows, source, sizeof source);
    example *fresh = set->no_analysis ? NULL : fresh_prompts(&s.task, k.n_fresh);
    subject_close(&s);
    k.rows = rows;
    k.fresh = fresh;
    dual_rng rng = dual_rng_seed(20260103, 0);
    for (size_t i = 0; i < k.n_rows; i++)
        k.floor += countdown_floor(&rows[i].problem, &rng, 1000) / (double)k.n_rows;
    for (size_t i = 0; i < k.n_members; i++) measure(&k, &k.members[i]);
    make_arms(&k);
    if (set->json) compare_json(&k);
    else {
        compare_print(&k);
        if (!has_base) printf("warning: the untouched Base was not found; add its run\n");
    }
    for (size_t i = 0; i < k.n_members; i++) {
        free(k.members[i].right);
        free(k.members[i].swapped);
    }
    for (size_t i = 0; i < k.n_arms; i++) {
        free(k.arms[i].right);
        free(k.arms[i].swapped);
    }
    free(k.arms);
    free(k.members);
    examples_free(rows, k.n_rows);
    if (fresh) examples_free(fresh, k.n_fresh);
    return 0;
}

/* ==== GENERATE ================================================================================ */

enum { PROMPT_TOKENS = 1024 };

/* Reads back what countdown_prompt writes. 0: the text is not such a prompt. */
static int parse_problem(const char *text, countdown_problem *p) {
    char *end;
    memset(p, 0, sizeof *p);
    text += strspn(text, " ");
    if (strncmp(text, "numbers:", 8)) return 0;
    for (text += 8;; text = end) {
        const long x = strtol(text, &end, 10);
        if (end == text) break;
        if (p->count == COUNTDOWN_MAX || x < 0 || x > COUNTDOWN_NUMBER_MAX) return 0;
        p->numbers[p->count++] = (int)x;
    }
    text += strspn(text, " ");
    if (p->count < COUNTDOWN_MIN || strncmp(text, "target:", 7)) return 0;
    const long target = strtol(text + 7, &end, 10);
    if (end == text + 7 || end[strspn(end, " ")] || target < 0 || target > COUNTDOWN_NUMBER_MAX)
        return 0;
    p->target = (int)target;
    return 1;
}

typedef struct {
    const settings *set;
    example *rows;                 /* the prompt; another one for a control that mixes prompts */
    size_t n_rows, max_new;
    int32_t *tokens;               /* [n_rows, max_new] */
    size_t length[2];
    int graded, given;             /* the prompt is a problem; y came from --answer */
} prompt_job;

static void prompt_open(prompt_job *j, subject *s, const settings *set) {
    char error[300];
    memset(j, 0, sizeof *j);
    if (!*set->prompt) fail(2, "--prompt \"numbers: 3 7 12 target: 60\" is wanted");
    j->set = set;
    const int mixes = !strcmp(set->from, "swapped") || !strcmp(set->from, "mean");
    j->rows = fresh_prompts(&s->task, 2);
    j->n_rows = mixes ? 2 : 1;
    example *e = &j->rows[0];
    j->graded = parse_problem(set->prompt, &e->problem);
    free(e->x);
    e->x = room_for(PROMPT_TOKENS, sizeof *e->x);
    e->y = NULL;
    e->n_x = words_encode(s->task.vocabulary, set->prompt, e->x, PROMPT_TOKENS, error,
                          sizeof error);
    if (e->n_x == SIZE_MAX) fail(1, "--prompt: %s", error);
    if (!e->n_x || e->n_x > PROMPT_TOKENS) fail(1, "--prompt: %zu tokens", e->n_x);
    j->max_new = positions_left(&s->r, e->n_x) + 1; /* the newest token needs no position */
    if (j->n_rows == 2 && positions_left(&s->r, j->rows[1].n_x) + 1 < j->max_new)
        j->max_new = positions_left(&s->r, j->rows[1].n_x) + 1;
    if (set->max_new < j->max_new) j->max_new = set->max_new;
    if (!j->max_new) fail(2, "--max-new must be above 0");
    j->tokens = room_for(j->n_rows * j->max_new, sizeof *j->tokens);
}

static void prompt_close(prompt_job *j) {
    examples_free(j->rows, 2);
    free(j->tokens);
}

static void generate_work(dual_ctx *c, subject *s, void *what) {
    prompt_job *j = what;
    prompts p;
    dual_sampling sampling;
    memset(&sampling, 0, sizeof sampling);
    prompts_fill(&p, &s->task, j->rows, j->n_rows);
    if (*j->set->from) p.batch.control = parse_control(j->set);
    if (p.batch.control.from != DUAL_RIGHT && s->r.system.inject == DUAL_NONE)
        fail(1, "--latents-from: this run has no latents");
    if (!dual_batch_check(c, &s->r.exchange, &p.batch)) fail(1, "%s", c->error);
    sampling.max_new = j->max_new;
    sampling.end = s->task.end;
    sampling.temperature = j->set->temperature;
    sampling.rng = dual_rng_seed(j->set->seed, 0);
    dual_generate(c, &s->r.exchange, &p.batch, &sampling, j->tokens, j->length);
}

static int generate(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    prompt_job j;
    char text[1024], other[COUNTDOWN_TEXT];
    const char *verdict = NULL;
    (void)n_runs;
    subject_open(&s, folder[0]);
    prompt_open(&j, &s, set);
    subject_work(&s, generate_work, &j);
    const int ended = j.length[0] <= j.max_new;
    words_decode(s.task.vocabulary, j.tokens, ended ? j.length[0] : j.max_new, text, sizeof text);
    if (j.graded && ended)
        verdict = countdown_verdict_name(
            countdown_grade(&j.rows[0].problem, countdown_final(text)));
    else if (j.graded) verdict = "no end token";
    if (set->json) {
        json out = {0, 0};
        json_open(&out, NULL, '{');
        json_text(&out, "command", "generate");
        json_text(&out, "prompt", set->prompt);
        json_text(&out, "answer", text);
        json_flag(&out, "ended", ended);
        if (verdict) json_text(&out, "verdict", verdict);
        else json_number(&out, "verdict", NAN);
        json_close(&out, '}');
    } else {
        printf("%s%s%s\n", text, verdict ? "    " : "", verdict ? verdict : "");
        if (j.n_rows == 2) {
            countdown_prompt(&j.rows[1].problem, other, sizeof other);
            printf("(latents of \"%s\" %s)\n", other,
                   !strcmp(set->from, "mean") ? "averaged with its own" : "instead of its own");
        }
    }
    prompt_close(&j);
    subject_close(&s);
    return 0;
}

/* ==== TRACE ======================================================================================
 * dual_outcome keeps every pass as it was run; this only puts it into words. One prompt, so every
 * pass has one part and row numbers are its own. */

static const char *spell(const run_task *t, int32_t id, char room[16]) {
    const char *word = words_word(t->vocabulary, id);
    if (!word) snprintf(room, 16, "#%ld", (long)id);
    else snprintf(room, 16, "%s", strcmp(word, "\n") ? word : "\\n");
    return room;
}

/* What a row is. In the Base's pass a latent row holds what the system injects. */
static void describe_row(const subject *s, const dual_pass *p, size_t r, size_t n_x, char *out,
                         size_t size) {
    const dual_injection inject = s->r.system.inject;
    const long slot = -1 - (long)p->token[r];
    const int after = (size_t)p->position[r] >= n_x;
    char word[16];
    if (slot < 0) {
        /* the cue is the first token row that stands after the prompt */
        const int cue = after && (!r || p->token[r - 1] < 0 || (size_t)p->position[r - 1] < n_x);
        snprintf(out, size, "%s%s", spell(&s->task, p->token[r], word),
                 cue ? " (cue)" : after ? " (y)" : "");
    } else if (p->model == s->r.coprocessor || inject == DUAL_SOFT)
        snprintf(out, size, "S[%ld]", slot);
    else if (inject == DUAL_EMBED) snprintf(out, size, "Z[%ld]", slot);
    else if (inject == DUAL_PAUSE || !slot) snprintf(out, size, "s");
    else snprintf(out, size, "thought %ld", slot);
}

static const char *how_recorded(const subject *s, const dual_pass *p) {
    const dual_system *y = &s->r.system;
    if (p->model == s->r.coprocessor) return "recorded: trains the Coprocessor and S";
    if (!y->base_trained)
        return strcmp(p->name, "read") ? "recorded: frozen, but gradient passes through it"
                                       : "not recorded: the Base is frozen";
    if (y->detach && !strcmp(p->name, "read")) return "detached: no gradient comes back to it";
    return "recorded: trains the Base";
}

/* The way the loss takes back through the passes, and in brackets what it trains on that way. */
static void print_gradient(const dual_system *y) {
    static const char *const middle[] = {"", "", "", " -> every thought", " -> Z", " -> KV_phi"};
    const int cop = dual_system_needs_coprocessor(y), base = y->base_trained;
    const int learned = y->inject != DUAL_NONE && !cop;
    printf("\ngradient: loss -> speak (%s)%s%s", base ? "Base" : "frozen", middle[y->inject],
           cop ? " -> think (Coprocessor, S)" : learned ? " -> the learned vectors" : "");
    if (cop && base)
        printf(y->detach ? "; KV_theta is detached" : "; both -> KV_theta -> read (Base)");
}

/* Appends "LABEL a-b" for the rows that row r of pass p sees; neighbours of one cache join. */
static void describe_seen(const dual_outcome *out, const subject *s, const dual_pass *p, size_t r,
                          char *text, size_t size) {
    const char *shown = NULL;
    long from = 0, to = -1;
    size_t n = 0;
    *text = 0;
    for (size_t i = 0; i <= p->n_seen; i++) {
        const char *label = NULL;
        long begin = 0, end = 0;
        if (i < p->n_seen) {
            const dual_seen *seen = &p->seen[i];
            begin = seen->begin[r];
            end = seen->end[r];
            if (begin == end) continue;
            label = "det. Base";           /* no pass owns this cache: it is the detached copy */
            if (!seen->cache) label = "own";
            for (size_t k = 0; k < out->n_passes; k++) {
                const dual_pass *q = &out->pass[k];
                if (seen->cache != &q->cache) continue;
                label = q->model == s->r.coprocessor ? "Cop" : "Base";
                if (q->model != s->r.coprocessor && !strcmp(q->name, "think")) {
                    label = "thought";     /* a pass of one row: name it by the thought's number */
                    begin += -1 - (long)q->token[0];
                    end += -1 - (long)q->token[0];
                }
            }
            if (shown && !strcmp(shown, label) && begin == to) {
                to = end;
                continue;
            }
        }
        if (shown && n < size)
            n += (size_t)snprintf(text + n, size - n, to - from > 1 ? "%s%s %ld-%ld" : "%s%s %ld",
                                  n ? ", " : "", shown, from, to - 1);
        shown = label;
        from = begin;
        to = end;
    }
}

static double row_norm(const dual_tensor *t, size_t r) {
    double square = 0;
    for (size_t i = 0; i < t->cols; i++)
        square += (double)t->data[r * t->stride + i] * (double)t->data[r * t->stride + i];
    return sqrt(square);
}

/* The three likeliest next tokens in percent, without those that round to 0. */
static void describe_top(const run_task *task, const dual_tensor *logits, size_t r, char *text,
                         size_t size) {
    const dual_real *x = logits->data + r * logits->stride;
    size_t top[3] = {0, 0, 0}, n = 0, found = 0;
    double sum = 0;
    char word[16];
    for (; found < 3 && found < logits->cols; found++) {
        size_t best = SIZE_MAX;
        for (size_t v = 0; v < logits->cols; v++) {
            if ((found > 0 && v == top[0]) || (found > 1 && v == top[1])) continue;
            if (best == SIZE_MAX || x[v] > x[best]) best = v;
        }
        top[found] = best;
    }
    for (size_t v = 0; v < logits->cols; v++) sum += exp((double)(x[v] - x[top[0]]));
    *text = 0;
    for (size_t i = 0; i < found && n < size; i++) {
        const double percent = 100 * exp((double)(x[top[i]] - x[top[0]])) / sum;
        if (percent < 0.5) break;
        n += (size_t)snprintf(text + n, size - n, "%s%s %.0f%%", i ? ", " : "  ",
                              spell(task, (int32_t)top[i], word), percent);
    }
}

/* What a pass leaves for the next ones. */
static const char *hands_over(const subject *s, const dual_outcome *out, size_t which) {
    const dual_injection i = s->r.system.inject;
    if (which + 1 == out->n_passes) return "the answer";
    if (out->pass[which].model == s->r.coprocessor)
        return i == DUAL_KV ? "KV_phi, its keys and values of every layer"
                            : "Z, its final states (|state|), as the Base's next input";
    return i != DUAL_CHAIN ? "KV_theta, its keys and values of every layer"
                           : "its cache, and the last row's state as the next input: a thought";
}

static void print_pass(const subject *s, const dual_outcome *out, size_t which, size_t n_x,
                       const dual_tensor *logits) {
    const dual_pass *p = &out->pass[which];
    char what[40], seen[160], state[16], top[80];
    printf("\n%zu. %s: %s, %zu row%s%s; %s\n", which + 1, p->name,
           p->model == s->r.coprocessor ? "Coprocessor" : "Base", p->rows, p->rows == 1 ? "" : "s",
           p->cache_only ? " up to the last K and V" : "", how_recorded(s, p));
    printf("   hands over %s\n", hands_over(s, out, which));
    printf("%4s %-10s %4s  %-31s %7s %7s%s\n", "row", "what", "pos", "sees", "|input|", "|state|",
           logits ? "  likeliest next" : "");
    for (size_t r = 0; r < p->rows; r++) {
        /* a row is asked for the next token from the last latent (or else the cue) on */
        const int predicts = logits && (size_t)p->position[r] >= n_x &&
                             (p->token[r] >= 0 || (r + 1 < p->rows && p->token[r + 1] >= 0));
        describe_row(s, p, r, n_x, what, sizeof what);
        describe_seen(out, s, p, r, seen, sizeof seen);
        strcpy(state, "-");
        if (p->hidden) snprintf(state, sizeof state, "%.2f", row_norm(p->hidden, r));
        *top = 0;
        if (predicts) describe_top(&s->task, logits, r, top, sizeof top);
        printf("%4zu %-10s %4ld  %-31s %7.2f %7s%s\n", r, what, (long)p->position[r], seen,
               row_norm(p->input, r), state, top);
    }
}

static void trace_work(dual_ctx *c, subject *s, void *what) {
    prompt_job *j = what;
    example *e = &j->rows[0];
    prompts p;
    dual_outcome out;
    if (!j->given) {                   /* y is its own greedy answer, with the end token if any */
        generate_work(c, s, j);
        e->y = j->tokens;
        e->n_y = j->length[0] < j->max_new ? j->length[0] + 1 : j->max_new;
        if (j->length[0] < j->max_new) j->tokens[j->length[0]] = s->task.end;
    }
    prompts_fill(&p, &s->task, e, 1);
    p.group[0].target = e->y;
    p.group[0].n_target = e->n_y;
    if (!dual_batch_check(c, &s->r.exchange, &p.batch)) fail(1, "%s", c->error);
    c->inference = 1;
    dual_run(c, &s->r.exchange, &p.batch, &out);
    dual_tensor *logits = dual_logits(c, s->r.base, out.pass[out.n_passes - 1].hidden);
    if (!c->memory) return;
    char system[200], y[1024];
    run_describe_system(&s->r.system, system, sizeof system);
    words_decode(s->task.vocabulary, e->y, e->n_y, y, sizeof y);
    printf("%s: %s\nx: %s\ny: %s%s\n\n", s->r.set.out, system, j->set->prompt, y,
           j->given ? "" : "    (its own greedy answer)");
    printf("row      number within its pass          S, s  trained vectors; Z the Coprocessor's "
           "answer\npos      position                        Base  cached rows of the Base's read\n"
           "sees     keys this row attends to        Cop   cached rows of the Coprocessor\n"
           "|input|  norm, before any position       own   rows of this very pass\n"
           "|state|  norm after the final norm; -    det.  a copy that lets no gradient back\n"
           "         where the pass stops at K and V\n");
    for (size_t i = 0; i < out.n_passes; i++)
        print_pass(s, &out, i, e->n_x, i + 1 == out.n_passes ? logits : NULL);
    print_gradient(&s->r.system);
    printf("\nloss of y, mean over its %zu tokens: %.4f\n", e->n_y, (double)out.loss->data[0]);
    if (j->graded) {
        size_t n = e->n_y;
        if (e->y[n - 1] == s->task.end) n--;
        words_decode(s->task.vocabulary, e->y, n, y, sizeof y);
        printf("grade of y: %s\n", n == e->n_y ? "no end token" : countdown_verdict_name(
               countdown_grade(&e->problem, countdown_final(y))));
    }
}

static int trace(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    prompt_job j;
    settings greedy = *set;
    char error[300];
    (void)n_runs;
    greedy.max_new = SCORE_TOKENS;
    subject_open(&s, folder[0]);
    prompt_open(&j, &s, &greedy);
    if (j.max_new > 1 && j.max_new > positions_left(&s.r, j.rows[0].n_x)) j.max_new--;
    if (*set->answer) {
        example *e = &j.rows[0];
        j.given = 1;
        e->y = room_for(PROMPT_TOKENS + 1, sizeof *e->y);
        e->n_y = words_encode(s.task.vocabulary, set->answer, e->y, PROMPT_TOKENS, error,
                              sizeof error);
        if (e->n_y == SIZE_MAX) fail(1, "--answer: %s", error);
        if (e->n_y > PROMPT_TOKENS) fail(1, "--answer: %zu tokens", e->n_y);
        e->y[e->n_y++] = s.task.end;
    }
    subject_work(&s, trace_work, &j);
    if (j.given) free(j.rows[0].y);
    prompt_close(&j);
    subject_close(&s);
    return 0;
}

/* ==== TOKENS =====================================================================================
 * One line out for each line in, of any bytes; only \n ends a line, and the last line needs none.
 * Ids are read and written with blanks between them. Decoding --whole writes the text's bytes and
 * nothing more, so that encoding --whole and back gives the very file. */

typedef struct {
    tokenizer *t;
    const char *source;            /* for messages: the file, or --text */
    size_t line;                   /* the one that starts at the text being worked on */
    int added;
    int32_t *ids;                  /* grows to the longest text */
    size_t room;
} token_job;

static void grow_ids(token_job *j, size_t n) {
    if (n <= j->room) return;
    free(j->ids);
    j->ids = room_for(n, sizeof *j->ids);
    j->room = n;
}

static void print_ids(token_job *j, const char *text, size_t length) {
    char error[300];
    size_t n;
    grow_ids(j, length);           /* enough but for text that NFC makes longer */
    for (;;) {
        n = tokenizer_encode(j->t, text, length, j->added, j->ids, j->room, error, sizeof error);
        if (n == SIZE_MAX) fail(1, "%s:%zu: %s", j->source, j->line, error);
        if (n <= j->room) break;
        grow_ids(j, n);
    }
    for (size_t i = 0; i < n; i++) printf(i ? " %ld" : "%ld", (long)j->ids[i]);
    putchar('\n');
}

static void print_text(token_job *j, const char *text, size_t length) {
    const char *at = text, *end = text + length;
    size_t n = 0, line = j->line;
    grow_ids(j, length / 2 + 1);   /* a digit and a blank each */
    for (;;) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
            line += *at++ == '\n';
        if (at == end) break;
        const char *from = at;
        long id = 0;
        while (at < end && *at >= '0' && *at <= '9' && id < INT32_MAX / 10)
            id = 10 * id + (*at++ - '0');
        if (at == from || (at < end && !strchr(" \t\r\n", *at)))
            fail(1, "%s:%zu: \"%.*s\" is no id, expected whole numbers with blanks between them",
                 j->source, line, (int)strcspn(from, " \t\r\n") % 40, from);
        if (!tokenizer_token(j->t, (int32_t)id, NULL))
            fail(1, "%s:%zu: there is no token %ld, this tokenizer has ids below %zu", j->source,
                 line, id, tokenizer_size(j->t));
        j->ids[n++] = (int32_t)id;
    }
    const size_t bytes = tokenizer_decode(j->t, j->ids, n, NULL, 0);
    char *out = room_for(bytes + 1, 1);
    tokenizer_decode(j->t, j->ids, n, out, bytes + 1);
    fwrite(out, 1, bytes, stdout);
    free(out);
}

static int tokens(const settings *set, size_t n_words, const char **word) {
    token_job j = {NULL, "--text", 1, !set->plain, NULL, 0};
    dual_ctx c;
    char error[300];
    char *file = NULL;
    const char *text = set->text;
    size_t length = text ? strlen(text) : 0;
    if (n_words > 2) fail(2, "tokens: \"%.60s\" is one word too many", word[2]);
    if ((n_words == 2) == (text != NULL)) fail(2, "tokens: one of FILE and --text is wanted");
    j.t = tokenizer_open(word[0], error, sizeof error);
    if (!j.t) fail(1, "%s", error);
    if (!text) {
        dual_init(&c, NULL, 0);
        j.source = word[1];
        text = file = dual_text_read(&c, word[1], &length);
        if (!text) fail(1, "%s", c.error);
    }
    const int one = set->whole || set->text;
    for (size_t from = 0; from < length || (one && j.line == 1); j.line++) {
        const char *end = one ? NULL : memchr(text + from, '\n', length - from);
        const size_t n = (end ? (size_t)(end - text) : length) - from;
        if (set->decode) print_text(&j, text + from, n);
        else print_ids(&j, text + from, n);
        if (set->decode && !set->whole) putchar('\n');
        from += n + (end != NULL);
    }
    free(file);
    free(j.ids);
    tokenizer_free(j.t);
    return 0;
}

/* ==== MAIN ==================================================================================== */

typedef struct {
    const char *name, *words, *help;
    const option *options;
    int several;                   /* takes more than one run */
    int (*run)(const settings *, size_t n_runs, const char **folder);
} command;

static const command COMMANDS[] = {
    {"score", "RUN", "accuracy of a run, and what its wrong answers look like", SCORE, 0, score},
    {"compare", "RUN...", "runs on the same problems, and what follows for the method", COMPARE,
     1, compare},
    {"generate", "RUN --prompt TEXT", "the answer to one prompt", GENERATE, 0, generate},
    {"latents", "RUN", "do the latents hold different things?", LATENTS, 0, latents},
    {"trace", "RUN --prompt TEXT", "every row of every pass, and what it sees", TRACE, 0, trace},
    {"tokens", "DIR FILE", "token ids of a text, line by line; DIR holds a tokenizer", TOKENS, 1,
     tokens},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void help(const command *c) {
    printf("\neval %s %s: %s\n", c->name, c->words, c->help);
    options_help(c->options);
}

int main(int argc, char **argv) {
    settings set;
    char error[300];
    size_t n = 0;
    const command *c = NULL;
    run_spin_briefly(argv);
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        printf("usage: eval COMMAND RUN [options]; RUN is a folder made by train\n");
        for (int i = 0; i < N_COMMANDS; i++) help(&COMMANDS[i]);
        return 0;
    }
    for (int i = 0; argc > 1 && i < N_COMMANDS; i++)
        if (!strcmp(argv[1], COMMANDS[i].name)) c = &COMMANDS[i];
    if (!c) {
        if (argc > 1) {
            option names[N_COMMANDS + 1];
            memset(names, 0, sizeof names);
            for (int i = 0; i < N_COMMANDS; i++) names[i].name = COMMANDS[i].name;
            fprintf(stderr, "eval: unknown command \"%.60s\"; did you mean %s?\n", argv[1],
                    options_nearest(names, argv[1]));
        } else fprintf(stderr, "usage: eval score|compare|generate|latents|trace|tokens RUN "
                       "[options], or eval --help\n");
        return 2;
    }
    memset(&set, 0, sizeof set);
    options_defaults(c->options, &set);
    const char **folder = room_for((size_t)argc, sizeof *folder);
    if (!options_parse(c->options, &set, argc - 1, argv + 1, folder, &n,
                       c->several ? (size_t)argc : 1, NULL, error, sizeof error)) {
        fprintf(stderr, "eval %s: %s\n", c->name, error);
        free(folder);
        return 2;
    }
    int status = 0;
    if (set.help) help(c);
    else if (!n) {
        fprintf(stderr, "eval %s: no %.3s given; usage: eval %s %s [options]\n", c->name, c->words,
                c->name, c->words);
        status = 2;
    } else {
        dual_threads((int)(set.threads < 4096 ? set.threads : 4096));
        status = c->run(&set, n, folder);
    }
    free(folder);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "eval: cannot write the result\n");
        return 1;
    }
    return status;
}
