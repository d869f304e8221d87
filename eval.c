/* eval.c: what a trained run can do and what its latents hold.
 *
 *   eval score RUN          accuracy with its interval, and what the wrong answers look like
 *   eval choices RUN FILE   multiple choice by log-likelihood
 *   eval perplexity RUN FILE   of each token ahead, with the latents and without
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
#include "data/runs/latents.h"
#include "data/runs/cli.h"
#include "data/runs/platform.h"
#include "data/runs/report.h"
#include "data/runs/run.h"
#include "data/runs/score.h"
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
    char split[16], data[RUN_PATH], broken[8], from[24], prompt[8192], answer[1024];
    size_t count, sequences, prompts, k, max_new, latents, groups, ahead, sequence, seed, threads;
    double temperature;
    int json, no_analysis, help;
    const char *text;              /* of tokens; NULL: not given */
    int whole, plain, decode;
} settings;

#define AT(kind, field) kind, offsetof(settings, field), sizeof ((settings *)0)->field
#define COUNT {"count", AT(OPTION_SIZE, count), "1000", "problems, at most", 0}
#define SPLIT {"split", AT(OPTION_TEXT, split), "test", "test valid heldout train", 0}
#define DATA {"data", AT(OPTION_TEXT, data), "", "file of the task's rows instead of a split", 0}
#define BROKEN {"broken", AT(OPTION_TEXT, broken), "fatal", \
                "rows that cannot be used: fatal, or skip", 0}
#define AT_TEST {"latents", AT(OPTION_SIZE, latents), "0", \
                 "N_L at test; 0: as trained; more than trained: pause and coconut only", 0}
#define MAX_NEW {"max-new", AT(OPTION_SIZE, max_new), "0", "tokens, at most; 0: as trained", 0}
#define FROM {"latents-from", AT(OPTION_TEXT, from), "right", \
              "right swapped (the next one's) mean (of a batch) noise zero, or drop:I (without " \
              "slot I)", 0}
#define TEMPERATURE {"temperature", AT(OPTION_REAL, temperature), "0", "0: greedy", 0}
#define SEED {"seed", AT(OPTION_SIZE, seed), "1", "of sampling and of noise latents", 0}
#define PROMPTS {"prompts", AT(OPTION_SIZE, prompts), "2048", \
                 "fresh prompts for the analysis of the latents", 0}
#define PROMPT {"prompt", AT(OPTION_TEXT, prompt), "", \
                "the question, like \"numbers: 3 7 12 target: 60\" (wanted)", 0}
#define JSON {"json", AT(OPTION_FLAG, json), "0", "one JSON document instead of tables", 0}
#define COMMON {"threads", AT(OPTION_SIZE, threads), "0", \
                "0: as many as there are; never moves a number", 0}, \
               {"help", AT(OPTION_FLAG, help), "0", "this list", 0}, {NULL, 0, 0, 0, NULL, NULL, 0}

static const option SCORE[] = {
    SPLIT, DATA, BROKEN, COUNT, FROM, AT_TEST, MAX_NEW, TEMPERATURE, SEED, JSON, COMMON
};
static const option CHOICES[] = {BROKEN, COUNT, FROM, AT_TEST, SEED, JSON, COMMON};
static const option PERPLEXITY[] = {
    {"sequences", AT(OPTION_SIZE, sequences), "64", "sequences of the text, at most", 0},
    {"groups", AT(OPTION_SIZE, groups), "0", "M per sequence; 0: as trained", 0},
    {"ahead", AT(OPTION_SIZE, ahead), "0", "N_A; 0: as trained", 0},
    {"sequence", AT(OPTION_SIZE, sequence), "0", "tokens per sequence; 0: as trained", 0},
    BROKEN, FROM, AT_TEST, SEED, JSON, COMMON
};
static const option COMPARE[] = {
    SPLIT, DATA, BROKEN, COUNT, PROMPTS,
    {"no-analysis", AT(OPTION_FLAG, no_analysis), "0", "leave the latents' analysis out", 0},
    JSON, COMMON
};
static const option GENERATE[] = {
    PROMPT, MAX_NEW, FROM, AT_TEST, TEMPERATURE, SEED, JSON, COMMON
};
static const option LATENTS[] = {
    PROMPTS, DATA, BROKEN, AT_TEST,
    {"k", AT(OPTION_SIZE, k), "0", "size of each slot's subspace; 0: 99 % of variance", 0},
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
    for (int i = COUNTDOWN_TRAIN; i <= COUNTDOWN_HELDOUT; i++)
        if (!strcmp(name, countdown_split_name((countdown_split)i))) return (countdown_split)i;
    fail(2, "--split: \"%s\" is not one of test valid heldout train", name);
    return COUNTDOWN_TEST;
}

static dual_ablation parse_control(const settings *s) {
    static const char *const names[] = {"right", "swapped", "mean", "noise", "zero"};
    dual_ablation k;
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

/* These two take the latents of other prompts. */
static int mixes_prompts(const settings *s) {
    return !strcmp(s->from, "swapped") || !strcmp(s->from, "mean");
}

/* ==== JSON OUT ===================================================================================
 * Values are written as they come; only the commas need a memory. key NULL: inside an array. */

typedef struct { int depth, first; } json;

static void json_quote(const char *s) {
    const size_t room = 6 * strlen(s) + 9;
    char *quoted = room_for(room, 1);
    dual_json_quote(s, quoted, room);
    printf("\"%s\"", quoted);
    free(quoted);
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
    size_t stage, latents;         /* of the curriculum where it stands; N_L to evaluate with */
    char base_only[RUN_PATH + 16]; /* not "": the untouched Base a run was started from */
} subject;

static void subject_open(subject *s, const settings *set, const char *folder) {
    dual_ctx c;
    char error[300];
    memset(s, 0, sizeof *s);
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    if (!run_open(&c, folder, &s->r)) fail(1, "%s", c.error);
    dual_done(&c);
    run_settings *own = &s->r.set;
    const dual_injection inject = s->r.system.inject;
    if (strcmp(set->broken, "fatal") && strcmp(set->broken, "skip") && *set->broken)
        fail(2, "--broken: fatal or skip, not %s", set->broken);
    if (*set->broken) strcpy(own->broken, set->broken);
    if (!run_task_open(own, folder, 0, &s->task, error, sizeof error))
        fail(1, "%s: %s", folder, error);
    if (s->r.shape.vocab < tokenizer_size(s->task.tokens))
        fail(1, "%s: a model of %zu words, the task needs %zu", folder, s->r.shape.vocab,
             tokenizer_size(s->task.tokens));
    s->stage = run_stage_of(own, s->r.step ? s->r.step - 1 : 0);
    s->latents = run_latents_of(own, &s->r.system, s->stage);
    if (!set->latents) return;
    if (inject == DUAL_NONE) fail(1, "--latents: this run has no latents");
    if (set->latents > s->r.system.latents && inject != DUAL_PAUSE && inject != DUAL_CHAIN)
        fail(1, "--latents %zu: it was trained with %zu soft tokens, and there are no more",
             set->latents, s->r.system.latents);
    s->latents = set->latents;
}

/* Turns an opened run into the Base it was started from. 0: there is none to be found. */
static int subject_untouched(subject *s) {
    const run_settings *set = &s->r.set;
    dual_ctx c;
    if (*set->base) snprintf(s->base_only, sizeof s->base_only, "%s/base", set->base);
    else if (*set->from) snprintf(s->base_only, sizeof s->base_only, "%s/base", set->from);
    else snprintf(s->base_only, sizeof s->base_only, "%s", set->init);
    dual_init(&c, NULL, 0);
    const int found = *s->base_only && dual_config_read(&c, s->base_only, &s->r.shape);
    dual_done(&c);
    s->r.system = dual_system_preset("none");
    s->latents = 0;
    strcpy(s->r.set.objective, "lm");
    snprintf(s->r.set.out, sizeof s->r.set.out, "%s", *set->base ? set->base :
             *set->from ? set->from : set->init);
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

/* Positions that are left for y after x, the latents and the cue. */
static size_t positions_left(const subject *s, size_t n_x) {
    dual_system at_test = s->r.system;
    at_test.latents = s->latents;
    const size_t used = n_x + dual_latent_positions(&at_test) + 1;
    return used < s->r.shape.positions ? s->r.shape.positions - used : 0;
}

static dual_exchange exchange_of(dual_ctx *c, const subject *s) {
    return run_exchange(c, &s->r, s->latents);
}

static dual_ablation control_of(const settings *set, const subject *s) {
    const dual_ablation k = parse_control(set);
    if (k.from != DUAL_RIGHT && s->r.system.inject == DUAL_NONE)
        fail(1, "--latents-from: this run has no latents");
    return k;
}

/* Rows whose prompt and answer do not fit are named before anything is computed. */
static void check_rows(dual_ctx *c, subject *s, const example *rows, size_t n, const char *source,
                       dual_ablation control) {
    const dual_exchange e = exchange_of(c, s);
    for (size_t i = 0; i < n; i++) {
        run_prompts p;
        run_prompts_fill(&p, &s->task, &rows[i], 1, 1);
        p.batch.ablation = control;
        if (!dual_batch_check(c, &e, &p.batch))
            fail(1, "%s, row %zu: %s", source, i + 1, c->error);
    }
}

static void refuse_text(const subject *s, const char *folder) {
    if (s->task.kind == TASK_TEXT)
        fail(2, "%s: a run on text has no answers to grade: eval perplexity, eval choices", folder);
}

/* The rows of a file, or problems of a split. */
static example *read_rows(const subject *s, int split, const char *file, size_t *n) {
    char error[300], report[1200];
    example *rows = run_test_set(&s->r.set, &s->task, s->stage, split, file, n, report,
                                 sizeof report, error, sizeof error);
    if (!rows) fail(1, "%s%s", error, *file ? "" : " with --data");
    if (*file && !run_fit_examples(&s->r.set, file, rows, n, positions_left(s, 0), report,
                                   sizeof report, error, sizeof error))
        fail(1, "%s", error);
    fputs(report, stderr);
    return rows;
}

/* What --split, --data and --count ask for, and its name. */
static example *problems(const settings *set, const subject *s, size_t *n, char *name,
                         size_t size) {
    const countdown_split split = parse_split(set->split);
    *n = set->count;
    if (!*n) fail(2, "--count must be above 0");
    example *rows = read_rows(s, split, set->data, n);
    snprintf(name, size, *set->data ? "problems of %s" : "%s problems",
             *set->data ? set->data : set->split);
    return rows;
}

/* The ids of a text, from *first on: of the file, if one is named, else what the run did not train
 * on. Returns its name. */
static const char *open_text(const subject *s, const run_settings *how, const char *file,
                             token_block *ids, size_t *first) {
    char error[300], report[1200];
    const int held_out = !*file && !*how->valid;   /* with --valid all of --data was trained on */
    if (!*file) file = held_out ? how->data : how->valid;
    if (!run_text_open(how, &s->task, file, held_out, ids, first, report, sizeof report, error,
                       sizeof error))
        fail(1, "%s", error);
    fputs(report, stderr);
    return file;
}

/* Text up to a random place of each of n sequences, of a file or of what the run did not train on;
 * each has a copy of its own. The token at the place is the cue. */
static example *text_prompts(const subject *s, const char *file, size_t *n) {
    run_settings how = s->r.set;
    token_block ids;
    size_t first;
    strcpy(how.objective, "pretrain");
    how.seed = 20260105;
    how.groups = how.ahead = 1;
    file = open_text(s, &how, file, &ids, &first);
    const size_t length = run_sequence(&how), all = (ids.used - first) / length;
    if (*n > all) *n = all;
    if (*n < 2)
        fail(1, "%s: %zu sequences of %zu tokens, expected at least 2; another text: --data", file,
             all, length);
    example *rows = room_for(*n, sizeof *rows);
    for (size_t i = 0; i < *n; i++) {
        size_t place;
        run_group_places(&how, i, &place);
        rows[i].n_x = place + 1;
        rows[i].x = rows[i].packed = room_for(place + 1, sizeof *rows[i].packed);
        memcpy(rows[i].packed, ids.at + first + i * length, (place + 1) * sizeof *rows[i].packed);
    }
    free(ids.at);
    return rows;
}

/* Prompts that no run was trained on, for the analysis of latents: a file's rows, else problems
 * drawn without looking for repeats (small tasks do not have thousands of different ones). */
static example *fresh_prompts(const subject *s, const char *file, size_t *n) {
    if (s->task.kind == TASK_TEXT) return text_prompts(s, file, n);
    if (*file || s->task.kind != TASK_COUNTDOWN) return read_rows(s, COUNTDOWN_TEST, file, n);
    countdown_options o = s->task.countdown;
    dual_rng rng = dual_rng_seed(20260102, 0);
    example *rows = room_for(*n, sizeof *rows);
    char error[300] = "";
    task_set set;
    o.split = COUNTDOWN_TEST;
    memset(&set, 0, sizeof set);
    for (size_t i = 0; i < *n; i++) {
        countdown_problem p;
        set.used = set.open = set.count = 0;
        if (!countdown_draw(&o, &rng, &p)) fail(1, "these options leave no test problem");
        if (!countdown_put(&p, &set)) fail(1, "out of memory for a problem");
        const task_row row = task_get(&set, 0);
        if (!run_example(&s->r.set, &s->task, s->stage, &row, &rows[i], error, sizeof error))
            fail(1, "%s", error);
    }
    task_free(&set);
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

static size_t max_new_of(const settings *set, const subject *s) {
    return set->max_new ? set->max_new : run_max_new(&s->r.set, &s->task);
}

static void score_work(dual_ctx *c, subject *s, void *what) {
    score_job *j = what;
    const dual_ablation control = control_of(j->set, s);
    if (!c->memory) check_rows(c, s, j->rows, j->n, j->source, control);
    dual_exchange e = exchange_of(c, s);
    run_score(c, &e, &s->task, j->rows, j->n, control, j->set->temperature, j->set->seed,
              max_new_of(j->set, s), j->answers, &j->loss);
}

/* Which rows of a file have a key that training can have seen. Returns how that is known. */
static const char *seen_in_training(const subject *s, const example *rows, size_t n,
                                    unsigned char *seen, char *room, size_t size) {
    const run_settings *trained = &s->r.set;
    char error[300];
    task_set train;
    if (!*trained->data) {
        for (size_t i = 0; i < n; i++) {
            countdown_problem p;
            seen[i] = s->task.kind == TASK_COUNTDOWN && countdown_parse(rows[i].row.question, &p) &&
                      countdown_split_of(p.numbers, p.count, p.target) == COUNTDOWN_TRAIN;
        }
        return s->task.kind == TASK_COUNTDOWN
             ? "it was trained on generated problems: every key of the train split"
             : "it was trained on generated problems, which meet a given one by chance only";
    }
    task_row *test = room_for(n, sizeof *test);
    for (size_t i = 0; i < n; i++) test[i] = rows[i].row;
    if (!task_read(s->task.kind, trained->data, 1, &train, error, sizeof error))
        snprintf(room, size, "unknown: the file it was trained on cannot be read: %s", error);
    else if (task_overlap(s->task.kind, test, n, &train, seen) == SIZE_MAX)
        fail(1, "out of memory for %zu keys", train.count);
    else {
        snprintf(room, size, "it was trained on %s", trained->data);
        task_free(&train);
    }
    free(test);
    return room;
}

enum { STEPS_SHOWN = 9 };          /* tallies by number of steps: 0..7, 8 and more */
typedef struct {
    tally all, simple, other;      /* Countdown: + and - suffice; it needs * or / */
    tally by_steps[STEPS_SHOWN], once, option, no_end, unseen;
    size_t verdict[TASK_VERDICTS];
} tallies;

static void count_answers(tallies *t, task_kind kind, const example *rows, const answer *answers,
                          size_t n, const unsigned char *seen) {
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        const answer *a = &answers[i];
        const size_t steps = rows[i].row.n_steps;
        const int hit = a->verdict == 0;
        tally_add(&t->all, hit);
        tally_add(&t->by_steps[steps < STEPS_SHOWN ? steps : STEPS_SHOWN - 1], hit);
        tally_add(&t->no_end, !a->ended);
        if (!seen[i]) tally_add(&t->unseen, hit);
        if (kind == TASK_COUNTDOWN) {
            tally_add(a->simple ? &t->simple : &t->other, hit);
            tally_add(&t->once, a->each_once);
        }
        if (kind == TASK_PROSQA)
            tally_add(&t->option,
                      a->verdict == PROSQA_CORRECT || a->verdict == PROSQA_RIGHT_OPTION);
        t->verdict[a->verdict]++;
    }
}

/* Countdown's problems are told apart by their numbers, one more than steps. */
static void steps_label(task_kind kind, int steps, char *out, size_t size) {
    const int more = steps == STEPS_SHOWN - 1, n = steps + (kind == TASK_COUNTDOWN);
    snprintf(out, size, "%d%s", n, more ? "+" : "");
}

static int score(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    score_job job;
    tallies t;
    char source[RUN_PATH + 40], known[2 * RUN_PATH], system[400], label[40], key[8];
    (void)n_runs;
    subject_open(&s, set, folder[0]);
    refuse_text(&s, folder[0]);
    memset(&job, 0, sizeof job);
    job.set = set;
    example *rows = problems(set, &s, &job.n, source, sizeof source);
    const task_kind kind = s.task.kind;
    job.source = source;
    job.rows = rows;
    job.answers = room_for(job.n, sizeof *job.answers);
    subject_work(&s, score_work, &job);

    unsigned char *seen = room_for(job.n, 1);
    const char *how = seen_in_training(&s, rows, job.n, seen, known, sizeof known);
    count_answers(&t, kind, rows, job.answers, job.n, seen);
    run_describe_system(&s.r.system, system, sizeof system);
    if (set->json) {
        json j = {0, 0};
        json_open(&j, NULL, '{');
        json_text(&j, "command", "score");
        json_text(&j, "run", folder[0]);
        json_text(&j, "task", task_name(kind));
        json_text(&j, "system", system);
        json_number(&j, "step", (double)s.r.step);
        json_number(&j, "stage", (double)s.stage);
        json_text(&j, "problems", source);
        json_text(&j, "latents_from", set->from);
        json_number(&j, "latents", (double)s.latents);
        tally_json(&j, "accuracy", t.all);
        json_number(&j, "loss", job.loss);
        if (kind == TASK_COUNTDOWN) {
            tally_json(&j, "plus_minus_suffice", t.simple);
            tally_json(&j, "needs_times_or_divide", t.other);
        }
        if (kind == TASK_PROSQA) tally_json(&j, "right_option", t.option);
        json_open(&j, kind == TASK_COUNTDOWN ? "numbers" : "steps", '{');
        for (int i = 0; i < STEPS_SHOWN; i++)
            if (t.by_steps[i].of) {
                steps_label(kind, i, key, sizeof key);
                tally_json(&j, key, t.by_steps[i]);
            }
        json_close(&j, '}');
        json_open(&j, "verdicts", '{');
        for (int i = 0; i < TASK_VERDICTS && task_verdict_name(kind, i); i++)
            json_number(&j, task_verdict_name(kind, i), (double)t.verdict[i]);
        json_close(&j, '}');
        if (kind == TASK_COUNTDOWN) tally_json(&j, "each_number_once", t.once);
        tally_json(&j, "no_end_token", t.no_end);
        if (*set->data) {
            json_text(&j, "seen_in_training", how);
            json_number(&j, "keys_seen", (double)(t.all.of - t.unseen.of));
            tally_json(&j, "accuracy_unseen", t.unseen);
        }
        json_close(&j, '}');
    } else {
        if (strcmp(s.r.set.steps_shown, "curriculum")) *label = 0;
        else snprintf(label, sizeof label, ", stage %zu of 0..%zu", s.stage, s.r.set.stages + 1);
        printf("%s: %s; step %llu%s\n%zu %s, %s, latents %s", folder[0], system,
               (unsigned long long)s.r.step, label, job.n, source,
               set->temperature > 0 ? "sampled" : "greedy", set->from);
        if (s.latents != s.r.system.latents) printf(", %zu of them", s.latents);
        printf("\n\n");
        if (job.n < set->count && !*set->data)
            printf("(the split has no more than %zu different problems)\n", job.n);
        if (job.n == set->count && *set->data)
            printf("(--count %zu: the file may hold more)\n", job.n);
        tally_print("accuracy [95 %]", t.all);
        tally_print("  + and - suffice", t.simple);
        tally_print("  needs * or /", t.other);
        for (int i = 0; i < STEPS_SHOWN; i++) {
            steps_label(kind, i, key, sizeof key);
            snprintf(label, sizeof label, "  %s %s", key, kind == TASK_COUNTDOWN ? "numbers" :
                     i == 1 ? "step" : "steps");
            tally_print(label, t.by_steps[i]);
        }
        if (*set->data) tally_print("  of keys not seen in training", t.unseen);
        tally_print("which option (chance 50 %)", t.option);
        tally_print("uses each number once", t.once);
        tally_print("no end token (counted wrong)", t.no_end);
        printf("loss per target, teacher-forced  %8.4f\n\nverdicts:", job.loss);
        for (int i = 0; i < TASK_VERDICTS && task_verdict_name(kind, i); i++)
            printf("%s %s %zu", i ? "," : "", task_verdict_name(kind, i), t.verdict[i]);
        printf("\n");
        if (*set->data)
            printf("keys that training can have seen: %zu of %zu; %s\n", t.all.of - t.unseen.of,
                   t.all.of, how);
    }
    free(seen);
    free(job.answers);
    examples_free(rows, job.n);
    subject_close(&s);
    return 0;
}

/* ==== CHOICES AND PERPLEXITY =====================================================================
 * Both read likelihoods of given text. Where the run answers questions, the context is the prompt
 * and its line break the cue; where it was trained on text, the context's last token is the cue. */

/* log p of each target of group g, from the logits' rows on; returns how many. */
static size_t log_likelihoods(const dual_tensor *logits, size_t row, const dual_group *g,
                              double *out) {
    for (size_t i = 0; i < g->n_target; i++) {
        const dual_real *x = logits->data + (row + i) * logits->stride;
        double most = (double)x[0], sum = 0;
        for (size_t v = 1; v < logits->cols; v++) if ((double)x[v] > most) most = (double)x[v];
        for (size_t v = 0; v < logits->cols; v++) sum += exp((double)x[v] - most);
        out[i] = (double)x[g->target[i]] - most - log(sum);
    }
    return g->n_target;
}

enum { SUM, PER_BYTE, PER_TOKEN, RULES };
static const char *const RULE_NAMES[RULES] = {"sum", "per byte", "per token"};

typedef struct {
    dual_ablation control;
    size_t n, *begin;              /* rows that fit the model; [n+1] where their choices begin */
    example *choice, *longest;     /* choices behind their contexts; [n] most n_x, n_y of a row's */
    size_t *other;                 /* swapped, mean: [n] a row with another context; else NULL */
    double *likelihood;            /* log p of each choice */
    size_t cut, left_out;          /* rows cut from the left; with a choice too long */
} choices_job;

static size_t ids_of(const subject *s, const char *text, int32_t **ids) {
    char error[300];
    const size_t length = strlen(text);
    *ids = room_for(3 * length + 1, sizeof **ids);
    const size_t n = tokenizer_encode(s->task.tokens, text, length, 0, *ids, 3 * length + 1, error,
                                      sizeof error);
    if (n == SIZE_MAX) fail(1, "%s", error);
    return n;
}

/* Context and choice side by side. On text the context's last id is not x but the cue. */
static void open_choice(const subject *s, const char *context, const char *choice, example *e) {
    const size_t on_text = run_on_text(&s->r.set) != 0;
    int32_t *x, *y;
    size_t n_x = ids_of(s, context, &x);
    if (on_text && !n_x) x[n_x++] = s->task.end;      /* nothing before it */
    e->n_x = n_x - on_text;
    e->n_y = ids_of(s, choice, &y);
    if (!e->n_y) fail(1, "a choice has no tokens");
    e->x = e->packed = room_for(n_x + e->n_y, sizeof *e->packed);
    e->y = e->packed + n_x;
    memcpy(e->packed, x, n_x * sizeof *x);
    memcpy(e->packed + n_x, y, e->n_y * sizeof *y);
    free(x);
    free(y);
}

/* The first `count` rows as ids. What does not fit loses its context's beginning, all choices of a
 * row alike; a row with a choice too long for that is left out. */
static void choices_open(const subject *s, const task_set *rows, size_t count, choices_job *j) {
    const size_t room = positions_left(s, 0);
    size_t all = 0;
    for (size_t i = 0; i < count; i++) all += task_get(rows, i).n_steps / 2;
    j->choice = room_for(all, sizeof *j->choice);
    j->likelihood = room_for(all, sizeof *j->likelihood);
    j->begin = room_for(count + 1, sizeof *j->begin);
    j->longest = room_for(count, sizeof *j->longest);
    for (size_t i = 0; i < count; i++) {
        const task_row row = task_get(rows, i);
        const size_t n = row.n_steps / 2;
        example *e = &j->choice[j->begin[j->n]], *most = &j->longest[j->n];
        size_t cut = 0, shortest = SIZE_MAX;
        for (size_t k = 0; k < n; k++) {
            open_choice(s, task_step(&row, 2 * k), task_step(&row, 2 * k + 1), &e[k]);
            e[k].row = row;
            const size_t needed = e[k].n_x + e[k].n_y;
            if (needed > room && needed - room > cut) cut = needed - room;
            if (e[k].n_x < shortest) shortest = e[k].n_x;
        }
        if (cut && cut >= shortest) {
            for (size_t k = 0; k < n; k++) free(e[k].packed);
            j->left_out++;
            continue;
        }
        j->cut += cut > 0;
        for (size_t k = 0; k < n; k++) {
            e[k].x += cut;
            e[k].n_x -= cut;
            if (e[k].n_x > most->n_x) most->n_x = e[k].n_x;
            if (e[k].n_y > most->n_y) most->n_y = e[k].n_y;
        }
        j->n++;
        j->begin[j->n] = j->begin[j->n - 1] + n;
    }
}

static int same_context(const example *a, const example *b) {
    return a->n_x == b->n_x && !memcmp(a->x, b->x, a->n_x * sizeof *a->x);
}

/* The next row that shares no context with row r (files have twins side by side); r: there is
 * none. */
static size_t another_row(const choices_job *j, size_t r) {
    size_t other = r;
    int shared;
    do {
        other = (other + 1) % j->n;
        shared = 0;
        for (size_t a = j->begin[r]; a < j->begin[r + 1]; a++)
            for (size_t b = j->begin[other]; b < j->begin[other + 1]; b++)
                shared = shared || same_context(&j->choice[a], &j->choice[b]);
    } while (shared && other != r);
    return other;
}

/* A group of a batch; likelihood NULL: only its context's latents are wanted. */
typedef struct { const example *e; double *likelihood; } asked;

static size_t choices_of(const choices_job *j, size_t r) { return j->begin[r + 1] - j->begin[r]; }

/* Choice k of row r; of a row with fewer choices the last one's context. */
static asked ask(const choices_job *j, size_t r, size_t k, int wanted) {
    const size_t n = choices_of(j, r), i = j->begin[r] + (k < n ? k : n - 1);
    const asked a = {&j->choice[i], wanted && k < n ? &j->likelihood[i] : NULL};
    return a;
}

/* Neighbours with one context share it as one sequence, read once. */
static void run_choices(dual_ctx *c, subject *s, dual_ablation control, const asked *list,
                        size_t n) {
    const dual_mark start = dual_mark_here(c);
    dual_exchange e = exchange_of(c, s);
    dual_group *group = room_for(n, sizeof *group);
    const int32_t **text = room_for(n, sizeof *text);
    size_t *length = room_for(n, sizeof *length), row = 0;
    dual_batch b;
    dual_outcome out;
    memset(&b, 0, sizeof b);
    for (size_t i = 0; i < n; i++) {
        const example *x = list[i].e;
        if (!i || !same_context(x, list[i - 1].e)) {
            text[b.n_sequences] = x->x;
            length[b.n_sequences++] = x->n_x;
        }
        if (run_on_text(&s->r.set))
            run_text_group(x->x, b.n_sequences - 1, x->n_x, x->n_y, &group[i]);
        else run_answer_group(&s->task, x, b.n_sequences - 1, &group[i]);
        if (!list[i].likelihood) group[i].n_target = 0;
    }
    b.n_groups = n;
    b.text = text;
    b.length = length;
    b.group = group;
    b.ablation = control;
    dual_run(c, &e, &b, &out);
    for (size_t i = 0; c->memory && i < n; i++) {
        double *each = room_for(group[i].n_target, sizeof *each);
        row += log_likelihoods(out.logits, row, &group[i], each);
        for (size_t k = 0; k < group[i].n_target; k++) *list[i].likelihood += each[k];
        free(each);
    }
    dual_release(c, start);
    free(group);
    free((void *)text);
    free(length);
}

/* A row's choices are one batch. Where latents come from other rows, a batch is one choice of each
 * of many rows: its mean counts every row once. Swapped latents are the next group's: so behind a
 * row stands the other one, asked for nothing unless it is the next row itself. All choices of a
 * row get the same other row. */
static void choices_work(dual_ctx *c, subject *s, void *what) {
    choices_job *j = what;
    asked *list = room_for(j->begin[j->n] + 2 * PROMPTS_MAX, sizeof *list);
    c->inference = 1;
    for (size_t r = 0; !j->other && r < j->n; r++) {
        for (size_t k = 0; k < choices_of(j, r); k++) list[k] = ask(j, r, k, 1);
        run_choices(c, s, j->control, list, choices_of(j, r));
    }
    for (size_t first = 0, count; j->other && first < j->n; first += count) {
        size_t most = 0;
        count = run_prompts_count(j->longest + first, j->n - first, s->r.shape.vocab, 0);
        for (size_t i = 0; i < count; i++)
            if (choices_of(j, first + i) > most) most = choices_of(j, first + i);
        for (size_t k = 0; k < most; k++) {
            size_t n = 0;
            for (size_t i = 0; i < count; i++) {
                const size_t other = j->other[first + i], next = first + (i + 1) % count;
                list[n++] = ask(j, first + i, k, 1);
                if (j->control.from == DUAL_SWAPPED && other != next)
                    list[n++] = ask(j, other, k, 0);
            }
            run_choices(c, s, j->control, list, n);
        }
    }
    free(list);
}

typedef struct {
    tally hit[RULES];
    double chance, loss;           /* mean 1 / choices; per target of the right choices */
} choices_result;

/* Which choice each rule prefers: the first of the best. */
static choices_result count_choices(const choices_job *j) {
    choices_result out;
    double targets = 0;
    memset(&out, 0, sizeof out);
    for (size_t r = 0; r < j->n; r++) {
        const example *e = &j->choice[j->begin[r]];
        const double *likelihood = &j->likelihood[j->begin[r]];
        const size_t n = choices_of(j, r);
        const size_t right = (size_t)strtoul(e->row.answer, NULL, 10);
        size_t best[RULES] = {0};
        double top[RULES] = {0};
        for (size_t i = 0; i < n; i++) {
            const char *choice = task_step(&e->row, 2 * i + 1);
            double score[RULES];
            score[SUM] = likelihood[i];
            score[PER_BYTE] = score[SUM] / (double)strlen(choice + (*choice == ' '));
            score[PER_TOKEN] = score[SUM] / (double)e[i].n_y;
            for (int k = 0; k < RULES; k++)
                if (!i || score[k] > top[k]) {
                    top[k] = score[k];
                    best[k] = i;
                }
        }
        for (int k = 0; k < RULES; k++) tally_add(&out.hit[k], best[k] == right);
        out.chance += 1 / (double)n;
        out.loss -= likelihood[right];
        targets += (double)e[right].n_y;
    }
    out.chance /= (double)j->n;
    out.loss /= targets;
    return out;
}

static int choices(const settings *set, size_t n_words, const char **word) {
    subject s;
    task_set rows;
    choices_job j;
    char error[300], system[400], label[40];
    if (n_words < 2) fail(2, "choices wants a run and a file: ./eval choices RUN FILE");
    if (!set->count) fail(2, "--count must be above 0");
    memset(&j, 0, sizeof j);
    subject_open(&s, set, word[0]);
    j.control = control_of(set, &s);
    if (!task_read(TASK_CHOICES, word[1], !strcmp(set->broken, "skip"), &rows, error, sizeof error))
        fail(1, "%s", error);
    if (rows.broken)
        fprintf(stderr, "%s: %zu broken rows left out; the first:\n%s", word[1], rows.broken,
                rows.complaints);
    choices_open(&s, &rows, set->count < rows.count ? set->count : rows.count, &j);
    if (!j.n) fail(1, "%s: every row has a choice too long for the model", word[1]);
    if (mixes_prompts(set)) j.other = room_for(j.n, sizeof *j.other);
    for (size_t r = 0; j.other && r < j.n; r++) {
        j.other[r] = another_row(&j, r);
        if (j.other[r] == r)
            fail(1, "%s: --latents-from %s wants, for each row, one with another context", word[1],
                 set->from);
    }
    subject_work(&s, choices_work, &j);
    const choices_result t = count_choices(&j);
    run_describe_system(&s.r.system, system, sizeof system);
    if (set->json) {
        json out = {0, 0};
        json_open(&out, NULL, '{');
        json_text(&out, "command", "choices");
        json_text(&out, "run", word[0]);
        json_text(&out, "file", word[1]);
        json_text(&out, "system", system);
        json_text(&out, "latents_from", set->from);
        json_number(&out, "chance", t.chance);
        tally_json(&out, "accuracy", t.hit[SUM]);
        tally_json(&out, "accuracy_per_byte", t.hit[PER_BYTE]);
        tally_json(&out, "accuracy_per_token", t.hit[PER_TOKEN]);
        json_number(&out, "loss", t.loss);
        json_number(&out, "contexts_cut", (double)j.cut);
        json_number(&out, "rows_too_long", (double)j.left_out);
        json_close(&out, '}');
    } else {
        printf("%s: %s\n%zu of %zu rows of %s, %zu latents, %s; chance %.1f %%\n\n", word[0],
               system, j.n, rows.count, word[1], s.latents, set->from, 100 * t.chance);
        for (int k = 0; k < RULES; k++) {
            snprintf(label, sizeof label, "by log-likelihood, %s", RULE_NAMES[k]);
            tally_print(label, t.hit[k]);
        }
        printf("loss per target, right choices   %8.4f\n", t.loss);
        if (j.cut) printf("(%zu contexts lost their beginning: too long)\n", j.cut);
        if (j.left_out) printf("(%zu rows left out: a choice too long)\n", j.left_out);
    }
    examples_free(j.choice, j.begin[j.n]);
    free(j.longest);
    free(j.begin);
    free(j.other);
    free(j.likelihood);
    task_free(&rows);
    subject_close(&s);
    return 0;
}

typedef struct {
    const settings *set;
    run_settings how;              /* M, N_A and the sequence's length */
    token_block ids;
    size_t first, n;               /* from which id on; sequences */
    double *with, *without;        /* [N_A] sums of -log p */
    int latents;                   /* it has any */
} perplexity_job;

static void perplexity_work(dual_ctx *c, subject *s, void *what) {
    perplexity_job *j = what;
    const size_t m = j->how.groups, n = j->how.sequence, ahead = j->how.ahead;
    dual_exchange with = exchange_of(c, s), without;
    dual_system none = dual_system_preset("none");
    double *each = room_for(ahead, sizeof *each);
    char error[160];
    none.base_trained = s->r.system.base_trained;
    if (!dual_exchange_new(c, &without, &none, s->r.base, NULL)) fail(1, "%s", c->error);
    c->inference = 1;
    for (size_t i = 0; i < j->n; i++) {
        const int32_t *text = j->ids.at + j->first + i * n;
        run_batch b;
        if (!run_text_batch(&j->how, text, i, &b, error, sizeof error)) fail(1, "%s", error);
        for (int k = 0; k < 1 + j->latents; k++) {
            const dual_mark start = dual_mark_here(c);
            dual_outcome out;
            if (k) b.batch.ablation = control_of(j->set, s);
            dual_run(c, k ? &with : &without, &b.batch, &out);
            for (size_t g = 0; c->memory && g < m; g++) {
                log_likelihoods(out.logits, g * ahead, &b.group[g], each);
                for (size_t a = 0; a < ahead; a++) (k ? j->with : j->without)[a] -= each[a];
            }
            dual_release(c, start);
        }
        run_batch_free(&b);
    }
    free(each);
}

static int perplexity(const settings *set, size_t n_words, const char **word) {
    subject s;
    perplexity_job j;
    char system[400];
    memset(&j, 0, sizeof j);
    subject_open(&s, set, word[0]);
    run_settings *how = &j.how;
    *how = s.r.set;
    j.set = set;
    j.latents = s.latents > 0;
    if (n_words < 2 && strcmp(how->task, "text"))
        fail(2, "perplexity wants a text: ./eval perplexity RUN FILE (only a run on text has a "
             "part of its own that was held out)");
    strcpy(how->objective, "pretrain");
    if (set->ahead) how->ahead = set->ahead;
    how->latents = s.latents;
    if (set->sequence || how->context < how->sequence + s.latents + 1)
        how->sequence = set->sequence;
    how->sequence = run_sequence(how);
    if (how->context < how->sequence + s.latents + 1)
        fail(2, "--sequence %zu: with %zu latents and a cue it does not fit a context of %zu",
             how->sequence, s.latents, how->context);
    if (how->sequence < how->ahead + 2)
        fail(2, "--ahead %zu: sequences of %zu tokens are too short", how->ahead, how->sequence);
    how->groups = set->groups ? set->groups : how->groups ? how->groups
                                            : how->sequence / how->ahead;
    if (how->groups > how->sequence - 1 - how->ahead)
        fail(2, "--groups: %zu places, a sequence has %zu", how->groups,
             how->sequence - 1 - how->ahead);
    how->seed = 20260105;              /* the same places for every run */
    const char *file = open_text(&s, how, n_words > 1 ? word[1] : "", &j.ids, &j.first);
    j.n = (j.ids.used - j.first) / how->sequence;
    if (!j.n) fail(1, "%s: %zu tokens, expected at least one sequence of %zu", file,
                   j.ids.used - j.first, how->sequence);
    if (j.n > set->sequences) j.n = set->sequences;
    if (!j.n) fail(2, "--sequences must be above 0");
    j.with = room_for(how->ahead, sizeof *j.with);
    j.without = room_for(how->ahead, sizeof *j.without);
    subject_work(&s, perplexity_work, &j);
    run_describe_system(&s.r.system, system, sizeof system);
    const double each = (double)(j.n * how->groups), all = each * (double)how->ahead;
    double sum[2] = {0, 0};
    json out = {0, 0};
    if (set->json) {
        json_open(&out, NULL, '{');
        json_text(&out, "command", "perplexity");
        json_text(&out, "run", word[0]);
        json_text(&out, "text", file);
        json_text(&out, "system", system);
        json_text(&out, "latents_from", set->from);
        json_number(&out, "latents", (double)s.latents);
        json_number(&out, "sequences", (double)j.n);
        json_number(&out, "groups", (double)how->groups);
        json_open(&out, "ahead", '[');
    } else {
        printf("%s: %s\n%s%s: %zu sequences of %zu tokens, %zu places in each, %zu latents, %s\n\n"
               "%8s %12s %12s %9s\n", word[0], system, file,
               file == how->data ? ", held out" : "", j.n, how->sequence, how->groups,
               s.latents, j.latents ? set->from : "none", "ahead", "without", "with", "change");
    }
    for (size_t a = 0; a <= how->ahead; a++) {
        const int mean = a == how->ahead;
        const double plain = exp(mean ? sum[0] / all : j.without[a] / each);
        const double full = !j.latents ? NAN : exp(mean ? sum[1] / all : j.with[a] / each);
        if (!mean) {
            sum[0] += j.without[a];
            sum[1] += j.with[a];
        }
        if (set->json) {
            if (mean) json_close(&out, ']');
            json_open(&out, mean ? "all" : NULL, '{');
            json_number(&out, "without", plain);
            json_number(&out, "with", full);
            json_close(&out, '}');
        } else {
            char label[24] = "all", cells[2][16] = {"-", "-"};
            if (!mean) snprintf(label, sizeof label, "%zu", a + 1);
            if (j.latents) {
                snprintf(cells[0], sizeof cells[0], "%.3f", full);
                snprintf(cells[1], sizeof cells[1], "%+.2f %%", 100 * (full / plain - 1));
            }
            printf("%8s %12.3f %12s %9s\n", label, plain, cells[0], cells[1]);
        }
    }
    if (set->json) json_close(&out, '}');
    else printf("\nwithout: the same Base, no latents: the cue follows the text.\n");
    free(j.with);
    free(j.without);
    free(j.ids.at);
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
    dual_exchange e = exchange_of(c, s);
    const size_t N = j->slots = e.system.latents;
    const dual_mark start = dual_mark_here(c);
    const int recorded = c->inference;
    const size_t ks[SIZES] = {j->k, 1, 8, 32};
    dual_ablation right;
    double *z = NULL;
    memset(&right, 0, sizeof right);
    if (!c->memory) check_rows(c, s, j->rows, j->n, "fresh prompts", right);
    c->inference = 1;
    for (size_t first = 0, n; first < j->n; first += n) {
        run_prompts p;
        dual_outcome out;
        n = run_prompts_count(j->rows + first, j->n - first, s->r.shape.vocab, N);
        run_prompts_fill(&p, &s->task, j->rows + first, n, 0);
        dual_run(c, &e, &p.batch, &out);
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
    if (!latents_analyse(c, z, j->n, N, j->width, j->sizes, ks, j->at, j->H, j->norms, sil, NULL,
                         NULL))
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
    char system[400];
    (void)n_runs;
    subject_open(&s, set, folder[0]);
    run_describe_system(&s.r.system, system, sizeof system);
    memset(&job, 0, sizeof job);
    job.n = set->prompts;
    job.k = set->k;
    job.sizes = set->k ? 1 : SIZES;
    if (job.n < 2) fail(2, "--prompts: at least 2 are needed");
    if (s.latents) {
        example *rows = fresh_prompts(&s, set->data, &job.n);
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
    char folder[RUN_PATH], label[80];
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
    task_kind kind;
    size_t vocab, n_rows, n_fresh, n_members, n_arms;
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
    dual_ablation control;
    memset(&control, 0, sizeof control);
    control.from = from;
    dual_exchange e = exchange_of(c, s);
    run_score(c, &e, &s->task, k->rows, k->n_rows, control, 0, 1, run_max_new(&s->r.set, &s->task),
              answers, loss);
    for (size_t i = 0; c->memory && i < k->n_rows; i++)
        hits += hit[i] = answers[i].verdict == 0;
    free(answers);
    return hits / (double)k->n_rows;
}

static void compare_work(dual_ctx *c, subject *s, void *what) {
    comparison *k = what;
    member *m = k->now;
    const dual_mark start = dual_mark_here(c);
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    const size_t N = s->latents;
    run_prompts p;
    dual_outcome out;
    if (!c->memory) check_rows(c, s, k->rows, k->n_rows, k->source, right);
    m->number[ACCURACY] = score_into(c, s, k, DUAL_RIGHT, m->right, &m->number[LOSS]);
    if (m->swapped)
        m->number[SWAPPED] = score_into(c, s, k, DUAL_SWAPPED, m->swapped, NULL);
    else if (N) m->number[SWAPPED] = m->number[ACCURACY];
    run_prompts_fill(&p, &s->task, k->rows, 1, 0);
    dual_exchange e = exchange_of(c, s);
    dual_run(c, &e, &p.batch, &out);
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

/* FLOPs of the training so far, on the data the run was trained on (lengths of prompts differ), and
 * of one step of its last stage. */
static void training_flops(const run *r, double *all, double *step) {
    run_task task;
    double flops[RUN_STAGES + 2];
    char error[300];
    *all = *step = NAN;
    if (!run_task_open(&r->set, r->set.out, 1, &task, error, sizeof error)) return;
    const size_t room = run_room(&r->set, &r->system);
    const int fit = run_fit_rows(&r->set, &task, room, error, sizeof error);
    if (fit) run_stage_flops(r, &task, flops);
    run_task_close(&task);
    if (!fit) return;
    *all = run_flops(&r->set, flops, r->step);
    *step = flops[run_stage_of(&r->set, r->set.steps)];
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
    snprintf(m->label, sizeof m->label, "%.14s%s%s%s%s%s%s%s%s%s", name, latents,
             m->system.kv_layers ? "+layers" : "", m->system.fused ? "+fused" : "",
             m->system.text_loss > 0 ? "+text" : "", m->system.orthogonality > 0 ? "+orth" : "",
             lm || !strcmp(m->set.steps_shown, "none") ? "" :
             !strcmp(m->set.steps_shown, "all") ? "+steps" : "+stages",
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
    if (IS(o, task) || IS(o, numbers) || IS(o, range) || IS(o, targets) || IS(o, nodes) ||
        IS(o, path) || IS(o, concepts) || IS(o, names))
        return 1;
    if (lm) return 0;
    if (IS(o, steps)) return !*m->set.match_flops;
    if (IS(o, latents)) return m->system.inject != DUAL_NONE;
    if (IS(o, max_new)) return !strcmp(m->set.steps_shown, "none");
    return IS(o, batch) || IS(o, data) || IS(o, schedule) ||
           (IS(o, base) && !wide) || (IS(o, from) && !wide) || (IS(o, init) && !wide);
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
    if (k->kind == TASK_COUNTDOWN)
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
    if (k->kind == TASK_COUNTDOWN) json_number(&j, "random_expression", k->floor);
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
    subject_open(&s, k->set, m->implied ? m->started : m->folder);
    if (m->implied) subject_untouched(&s);
    for (int x = 0; x < NUMBERS; x++) m->number[x] = NAN;
    m->right = room_for(k->n_rows, 1);
    if (m->system.latents && !latents_are_fixed(&m->system)) m->swapped = room_for(k->n_rows, 1);
    k->now = m;
    const example *given = k->rows;    /* its y is the first run's; each run has its own */
    example *own = room_for(k->n_rows, sizeof *own);
    char error[300];
    for (size_t i = 0; i < k->n_rows; i++)
        if (!run_example(&s.r.set, &s.task, s.stage, &given[i].row, &own[i], error, sizeof error))
            fail(1, "%s: %s", m->folder, error);
    k->rows = own;
    subject_work(&s, compare_work, k);
    examples_free(own, k->n_rows);
    k->rows = given;
    if (!m->implied) {
        m->step = s.r.step;
        training_flops(&s.r, &m->number[FLOPS], &m->number[STEP_FLOPS]);
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
        subject_open(&s, k->set, folder[i]);
        if (i && (s.task.kind != k->kind || tokenizer_size(s.task.tokens) != k->vocab))
            fail(1, "%s: another task or tokenizer than %s: they have no problem in common",
                 folder[i], folder[0]);
        k->kind = s.task.kind;
        k->vocab = tokenizer_size(s.task.tokens);
        if (run_is_pretrain(&s.r.set))
            fail(1, "%s was pretrained on text: eval perplexity", folder[i]);
        refuse_text(&s, folder[i]);
        add_member(k, &s, folder[i]);
        has_base |= run_is_lm(&s.r.set) && !*s.r.set.wide_of;
        if (!usual) usual = s.r.system.latents;
        subject_close(&s);
    }
    for (size_t i = 0; i < n_runs && !has_base; i++) {
        if (run_is_lm(&k->members[i].set) || !strcmp(k->members[i].system.name, "wide")) continue;
        subject_open(&s, k->set, folder[i]);
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
    subject_open(&s, set, folder[0]);  /* the first run's task makes the problems */
    example *rows = problems(set, &s, &k.n_rows, source, sizeof source);
    example *fresh = set->no_analysis ? NULL : fresh_prompts(&s, set->data, &k.n_fresh);
    subject_close(&s);
    k.rows = rows;
    k.fresh = fresh;
    dual_rng rng = dual_rng_seed(20260103, 0);
    for (size_t i = 0; i < k.n_rows; i++) {
        countdown_problem p;
        if (k.kind == TASK_COUNTDOWN && countdown_parse(rows[i].row.question, &p))
            k.floor += countdown_floor(&p, &rng, 1000) / (double)k.n_rows;
    }
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
    countdown_problem p;
    size_t another = 1;
    task_set given;
    memset(&given, 0, sizeof given);
    memset(j, 0, sizeof *j);
    if (!*set->prompt) fail(2, "--prompt \"numbers: 3 7 12 target: 60\" is wanted");
    j->set = set;
    j->max_new = max_new_of(set, s);
    const int mixes = mixes_prompts(set);
    j->n_rows = mixes ? 2 : 1;
    j->rows = room_for(2, sizeof *j->rows);
    if (!task_put(&given, set->prompt, strlen(set->prompt)) || !task_put(&given, "", 0) ||
        !task_close(&given, 0))
        fail(1, "out of memory for the prompt");
    const task_row row = task_get(&given, 0);
    if (!run_example(&s->r.set, &s->task, s->stage, &row, &j->rows[0], error, sizeof error))
        fail(1, "--prompt: %s", error);
    task_free(&given);
    if (mixes) {
        if (!s->task.generated)
            fail(1, "--latents-from %s: --task %s has no generator to take another prompt from; "
                 "eval score and choices mix the rows of a file", set->from,
                 task_name(s->task.kind));
        example *other = fresh_prompts(s, "", &another);
        j->rows[1] = *other;
        free(other);
    }
    j->graded = s->task.kind == TASK_COUNTDOWN && countdown_parse(set->prompt, &p);
    for (size_t i = 0; i < j->n_rows; i++) { /* the newest token needs no position */
        const size_t left = positions_left(s, j->rows[i].n_x) + 1;
        if (left < j->max_new) j->max_new = left;
    }
    j->tokens = room_for(j->n_rows * j->max_new, sizeof *j->tokens);
}

static void prompt_close(prompt_job *j) {
    examples_free(j->rows, 2);
    free(j->tokens);
}

static void generate_work(dual_ctx *c, subject *s, void *what) {
    prompt_job *j = what;
    run_prompts p;
    dual_sampling sampling;
    dual_exchange e = exchange_of(c, s);
    memset(&sampling, 0, sizeof sampling);
    run_prompts_fill(&p, &s->task, j->rows, j->n_rows, 0);
    if (*j->set->from) p.batch.ablation = control_of(j->set, s);
    sampling.max_new = j->max_new;
    sampling.end = s->task.end;
    sampling.temperature = j->set->temperature;
    sampling.rng = dual_rng_seed(j->set->seed, 0);
    dual_generate(c, &e, &p.batch, &sampling, j->tokens, j->length);
}

/* The text of n tokens, for the caller to free. */
static char *spell_out(const run_task *t, const int32_t *tokens, size_t n) {
    const size_t length = tokenizer_decode(t->tokens, tokens, n, NULL, 0);
    char *text = room_for(length + 1, 1);
    tokenizer_decode(t->tokens, tokens, n, text, length + 1);
    return text;
}

/* What a prompt's answer is worth; NULL: the prompt is no problem that could be graded. */
static const char *grade_of(const prompt_job *j, const char *text, int ended) {
    if (!j->graded) return NULL;
    if (!ended) return "no end token";
    return task_verdict_name(TASK_COUNTDOWN, task_grade(TASK_COUNTDOWN, &j->rows[0].row, text));
}

static int generate(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    prompt_job j;
    (void)n_runs;
    subject_open(&s, set, folder[0]);
    prompt_open(&j, &s, set);
    subject_work(&s, generate_work, &j);
    const int ended = j.length[0] <= j.max_new;
    char *text = spell_out(&s.task, j.tokens, ended ? j.length[0] : j.max_new);
    const char *verdict = grade_of(&j, text, ended);
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
        if (j.n_rows == 2)
            printf("(latents of \"%s\" %s)\n", j.rows[1].row.question,
                   !strcmp(set->from, "mean") ? "averaged with its own" : "instead of its own");
    }
    free(text);
    prompt_close(&j);
    subject_close(&s);
    return 0;
}

/* ==== TRACE ======================================================================================
 * dual_outcome keeps every pass as it was run; this only puts it into words. One prompt, so every
 * pass has one part and row numbers are its own. */

static const char *spell(const run_task *t, int32_t id, char room[16]) {
    const char *word = tokenizer_token(t->tokens, id, NULL);
    if (!word) snprintf(room, 16, "#%ld", (long)id);
    else snprintf(room, 16, "%.15s", strcmp(word, "\n") ? word : "\\n");
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
    run_prompts p;
    dual_outcome out;
    dual_exchange at_test = exchange_of(c, s);
    if (!j->given) {                   /* y is its own greedy answer, with the end token if any */
        generate_work(c, s, j);
        e->y = j->tokens;
        e->n_y = j->length[0] < j->max_new ? j->length[0] + 1 : j->max_new;
        if (j->length[0] < j->max_new) j->tokens[j->length[0]] = s->task.end;
    }
    run_prompts_fill(&p, &s->task, e, 1, 1);
    c->inference = 1;
    dual_run(c, &at_test, &p.batch, &out);
    dual_tensor *logits = dual_logits(c, s->r.base, out.pass[out.n_passes - 1].hidden);
    if (!c->memory) return;
    char system[400];
    run_describe_system(&s->r.system, system, sizeof system);
    char *y = spell_out(&s->task, e->y, e->n_y);
    printf("%s: %s\nx: %s\ny: %s%s\n\n", s->r.set.out, system, j->set->prompt, y,
           j->given ? "" : "    (its own greedy answer)");
    printf("row      number within its pass          S, s  trained vectors; Z the Coprocessor's "
           "answer\npos      position                        Base  cached rows of the Base's read\n"
           "sees     keys this row attends to        Cop   cached rows of the Coprocessor\n"
           "|input|  norm, before any position       own   rows of this very pass\n"
           "|state|  norm after the final norm; -    det.  a copy that lets no gradient back\n"
           "         where the pass stops at K and V\n");
    for (size_t i = 0; i < out.n_passes; i++)
        print_pass(s, &out, i, p.group[0].prefix, i + 1 == out.n_passes ? logits : NULL);
    print_gradient(&s->r.system);
    printf("\nloss of y, mean over its %zu tokens: %.4f\n", e->n_y, (double)out.loss->data[0]);
    free(y);
    const int ended = e->n_y > 0 && e->y[e->n_y - 1] == s->task.end;
    y = spell_out(&s->task, e->y, e->n_y - (size_t)ended);
    if (j->graded) printf("grade of y: %s\n", grade_of(j, y, ended));
    free(y);
}

static int trace(const settings *set, size_t n_runs, const char **folder) {
    subject s;
    prompt_job j;
    example given;
    char error[300];
    (void)n_runs;
    memset(&given, 0, sizeof given);
    subject_open(&s, set, folder[0]);
    prompt_open(&j, &s, set);
    if (j.max_new > 1 && j.max_new > positions_left(&s, j.rows[0].n_x)) j.max_new--;
    if (*set->answer) {                /* the answer as the x of a row of its own */
        const size_t n = strlen(set->answer) + 2;
        int32_t *y = room_for(3 * n, sizeof *y);
        size_t ids = tokenizer_encode(s.task.tokens, set->answer, n - 2, 0, y, 3 * n - 1, error,
                                      sizeof error);
        if (ids == SIZE_MAX) fail(1, "--answer: %s", error);
        y[ids++] = s.task.end;
        j.given = 1;
        j.rows[0].y = given.packed = y;
        j.rows[0].n_y = ids;
    }
    subject_work(&s, trace_work, &j);
    free(given.packed);
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
    size_t most;                   /* words it takes: runs, files */
    int (*run)(const settings *, size_t n_runs, const char **folder);
} command;

static const command COMMANDS[] = {
    {"score", "RUN", "accuracy of a run, and what its wrong answers look like", SCORE, 1, score},
    {"choices", "RUN FILE", "multiple choice by log-likelihood", CHOICES, 2, choices},
    {"perplexity", "RUN [FILE]", "of each token ahead, with the latents and without; no FILE: what "
     "the run held out", PERPLEXITY, 2, perplexity},
    {"compare", "RUN...", "runs on the same problems, and what follows for the method", COMPARE,
     SIZE_MAX, compare},
    {"generate", "RUN --prompt TEXT", "the answer to one prompt", GENERATE, 1, generate},
    {"latents", "RUN", "do the latents hold different things?", LATENTS, 1, latents},
    {"trace", "RUN --prompt TEXT", "every row of every pass, and what it sees", TRACE, 1, trace},
    {"tokens", "DIR FILE", "token ids of a text, line by line; DIR holds a tokenizer", TOKENS, 2,
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
        } else fprintf(stderr, "usage: eval score|choices|perplexity|compare|generate|latents|"
                       "trace|tokens RUN [options], or eval --help\n");
        return 2;
    }
    memset(&set, 0, sizeof set);
    options_defaults(c->options, &set);
    const char **folder = room_for((size_t)argc, sizeof *folder);
    if (!options_parse(c->options, &set, argc - 1, argv + 1, folder, &n,
                       c->most < (size_t)argc ? c->most : (size_t)argc, NULL, error,
                       sizeof error)) {
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
