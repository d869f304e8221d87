/* eval.c: what a trained run can do and what its latents hold.
 *
 *   eval score RUN          accuracy with its interval, and what the wrong answers look like
 *   eval choices RUN FILE   multiple choice by log-likelihood
 *   eval perplexity RUN FILE   of each token ahead, with the latents and without
 *   eval compare RUN...     all runs on the same problems: every pair, and the method's sentences
 *   eval report RUN...      that comparison as a page of pictures, report.html
 *   eval generate RUN       the answer to a prompt, or to each of a file
 *   eval latents RUN        do the slots hold different things? (overlap of their subspaces)
 *   eval trace RUN          every row of every pass: what it is, where it stands, what it sees
 *   eval page RUN           a web page that holds the run: trace and its latents, to look at
 *   eval tokens DIR FILE    token ids of a text, and back
 *
 * Commands only: options are read, data/eval/ computes, the result is printed. Results go to
 * stdout, one line about a failure to stderr; exit 0: done, 1: the run failed, 2: the command line
 * was not understood. */
#include "data/eval/comparison_report.h"
#include "data/eval/families.h"
#include "data/eval/multiple_choice.h"
#include "data/eval/latents_report.h"
#include "data/eval/perplexity.h"
#include "data/eval/report_page.h"
#include "data/eval/samples.h"
#include "data/eval/trace.h"
#include "data/files/files.h"
#include "data/files/system.h"
#include "data/page/embed.h"
#include "data/runs/cli.h"
#include "data/runs/platform.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program where a function of data/eval failed. */
static void must(int ok, const dual_ctx *c) {
    if (!ok) cli_fail(1, "%s", c->error);
}

static void *must_room(dual_ctx *c, size_t count, size_t size) {
    void *p = room_for(c, count, size);
    must(p != NULL, c);
    return p;
}

/* ==== COMMAND LINE ===============================================================================
 * One struct for all commands; each command has the options it knows. */

typedef struct {
    char split[16], data[RUN_PATH], file[RUN_PATH], answers[RUN_PATH], dump[RUN_PATH];
    char broken[8], from[24], against[200], prompt[8192], answer[1024], other[8192];
    char page[RUN_PATH], out[RUN_PATH], svg[RUN_PATH];
    size_t count, samples, sequences, prompts, k, max_new, latents, groups, ahead, sequence, seed;
    size_t threads;
    double temperature;
    int json, csv, markdown, no_analysis, attention, tables, help;
    const char *text;              /* of tokens; NULL: not given */
    int whole, plain, decode;
} settings;

#define ENTRY(name, kind, field, otherwise, help) \
    {name, OPTION_AT(kind, settings, field), otherwise, help, UNSAVED}
#define COUNT ENTRY("count", OPTION_SIZE, count, "1000", "problems, at most")
#define SPLIT ENTRY("split", OPTION_TEXT, split, "test", "test, valid, heldout or train")
#define DATA ENTRY("data", OPTION_TEXT, data, "", "file of the task's rows instead of a split")
#define BROKEN ENTRY("broken", OPTION_TEXT, broken, "fatal", \
                "rows that cannot be used: fatal, or skip")
#define AT_TEST ENTRY("latents", OPTION_SIZE, latents, "0", \
                 "N_L at test; 0: as trained; more than trained: pause and coconut only")
#define MAX_NEW ENTRY("max-new", OPTION_SIZE, max_new, "0", \
                 "tokens of an answer, at most; 0: as trained")
#define FROM ENTRY("latents-from", OPTION_TEXT, from, "right", \
              "right swapped (the next one's) mean (of a batch) noise zero, or drop:I (without " \
              "slot I)")
#define TEMPERATURE ENTRY("temperature", OPTION_REAL, temperature, "0", "0: greedy")
#define SEED ENTRY("seed", OPTION_SIZE, seed, "1", "of sampling and of noise latents")
#define PROMPTS ENTRY("prompts", OPTION_SIZE, prompts, "2048", \
                 "fresh prompts for the analysis of the latents")
#define PROMPT ENTRY("prompt", OPTION_TEXT, prompt, "", \
                "the question, like \"numbers: 3 7 12 target: 57\"")
#define JSON ENTRY("json", OPTION_FLAG, json, "0", "one JSON document instead of tables")
#define COMMON ENTRY("threads", OPTION_SIZE, threads, "0", \
                "0: as many as there are; does not change any result"), \
               ENTRY("help", OPTION_FLAG, help, "0", "this list"), \
               {NULL, OPTION_TEXT, 0, 0, NULL, NULL, UNSAVED}

static const option SCORE[] = {
    SPLIT, DATA, BROKEN, COUNT, FROM, AT_TEST, MAX_NEW, TEMPERATURE,
    ENTRY("samples", OPTION_SIZE, samples, "1",
          "answers to each problem, with --temperature: pass@k and majority vote"),
    SEED, ENTRY("answers", OPTION_TEXT, answers, "", "file for each answer, a JSON object a line"),
    JSON, COMMON
};
static const option CHOICES[] = {BROKEN, COUNT, FROM, AT_TEST, SEED, JSON, COMMON};
static const option PERPLEXITY[] = {
    ENTRY("sequences", OPTION_SIZE, sequences, "64", "sequences of the text, at most"),
    ENTRY("groups", OPTION_SIZE, groups, "0", "M per sequence; 0: as trained"),
    ENTRY("ahead", OPTION_SIZE, ahead, "0", "N_A; 0: as trained"),
    ENTRY("sequence", OPTION_SIZE, sequence, "0", "tokens per sequence; 0: as trained"),
    BROKEN, FROM, AT_TEST, SEED, JSON, COMMON
};
#define COMPARING SPLIT, DATA, BROKEN, COUNT, PROMPTS, \
    ENTRY("no-analysis", OPTION_FLAG, no_analysis, "0", "leave the latents' analysis out"), \
    ENTRY("against", OPTION_TEXT, against, "", \
          "an arm: all others less that one; empty: every pair of arms")
static const option COMPARE[] = {
    COMPARING,
    ENTRY("markdown", OPTION_FLAG, markdown, "0", "tables as Markdown"),
    ENTRY("csv", OPTION_FLAG, csv, "0", "one CSV table of arms, runs, sentences and pairs"),
    JSON, COMMON
};
static const option REPORT[] = {
    COMPARING, ENTRY("out", OPTION_TEXT, out, "report.html", "the page"),
    ENTRY("svg", OPTION_TEXT, svg, "", "folder for each picture alone, NAME.svg"),
    ENTRY("tables", OPTION_FLAG, tables, "0", "print what compare prints, too"), COMMON
};
static const option GENERATE[] = {
    PROMPT, ENTRY("file", OPTION_TEXT, file, "", "or a file of questions, one a line"),
    MAX_NEW, FROM, AT_TEST, TEMPERATURE, SEED, JSON, COMMON
};
static const option LATENTS[] = {
    PROMPTS, DATA, BROKEN, AT_TEST,
    ENTRY("k", OPTION_SIZE, k, "0", "size of each slot's subspace; 0: 99 % of variance"),
    ENTRY("dump", OPTION_TEXT, dump, "", "CSV file for the latents themselves, a row a slot"),
    JSON, COMMON
};
static const option TRACE[] = {
    PROMPT, ENTRY("answer", OPTION_TEXT, answer, "", "y; without it the run's own greedy answer"),
    FROM, ENTRY("other", OPTION_TEXT, other, "",
                "the prompt whose latents swapped and mean take; empty: a fresh problem"),
    AT_TEST, SEED,
    ENTRY("attention", OPTION_FLAG, attention, "0", "with --json: every head's weights too"),
    JSON, COMMON
};

static const option PAGE[] = {
    ENTRY("out", OPTION_TEXT, out, "", "the file to write (required)"),
    ENTRY("page", OPTION_TEXT, page, "build/dual.html", "the page that make page wrote"),
    ENTRY("prompt", OPTION_TEXT, prompt, "", "the question it begins with; empty: a test problem"),
    ENTRY("other", OPTION_TEXT, other, "", "the one that lends its latents; empty: the next one"),
    COMMON
};

static const option TOKENS[] = {
    ENTRY("text", OPTION_ARGUMENT, text, NULL, "instead of FILE, one text"),
    ENTRY("whole", OPTION_FLAG, whole, "0", "all of FILE is one text, not each of its lines"),
    ENTRY("plain", OPTION_FLAG, plain, "0", "added tokens such as <|endoftext|> are plain text"),
    ENTRY("decode", OPTION_FLAG, decode, "0", "FILE or --text holds ids; print their text"),
    COMMON
};

static countdown_split parse_split(const settings *set) {
    for (int i = COUNTDOWN_TRAIN; i <= COUNTDOWN_HELDOUT; i++)
        if (!strcmp(set->split, countdown_split_name((countdown_split)i)))
            return (countdown_split)i;
    cli_fail(2, "--split: \"%s\" is not one of test valid heldout train", set->split);
    return COUNTDOWN_TEST;
}

static dual_ablation parse_ablation(const settings *set) {
    dual_ablation ablation = {.seed = set->seed};
    if (!ablation_parse(set->from, &ablation))
        cli_fail(2, "--latents-from: \"%s\" is not one of right swapped mean noise zero drop:I",
                 set->from);
    return ablation;
}

static size_t parse_count(const settings *set) {
    if (!set->count) cli_fail(2, "--count must be above 0");
    return set->count;
}

static size_t parse_prompts(const settings *set) {
    if (set->prompts < 2) cli_fail(2, "--prompts: at least 2 are needed");
    return set->prompts;
}

static void open_run(dual_ctx *c, const settings *set, const char *folder, loaded_run *loaded) {
    const char *broken = set->broken;
    if (*broken && options_word(broken, "fatal skip") < 0)
        cli_fail(2, "--broken: fatal or skip, not %s", broken);
    must(loaded_run_open(c, folder, broken, set->latents, loaded), c);
}

/* A text in a block of its own, without NUL bytes. */
static char *read_text(const char *file, size_t *length) {
    char error[300];
    char *text = data_read(file, length, error, sizeof error);
    if (!text) cli_fail(1, "%s", error);
    return text;
}

static void text_or_null(json_writer *j, const char *key, const char *text) {
    if (text) json_text(j, key, text);
    else json_number(j, key, NAN);
}

static void refuse_text(const loaded_run *loaded, const char *folder) {
    if (loaded->task.kind == TASK_TEXT)
        cli_fail(2, "%s: a run on text has no answers to grade: use eval perplexity or eval "
                 "choices",
             folder);
}

/* What --split, --data and --count ask for. */
static void read_problems(dual_ctx *c, const settings *set, const loaded_run *loaded,
                          problem_set *rows) {
    const countdown_split split = parse_split(set);
    const int ok = problems_read(c, loaded, split, set->data, parse_count(set), rows);
    fputs(rows->report, stderr);
    must(ok, c);
}

static void read_fresh(dual_ctx *c, const settings *set, const loaded_run *loaded,
                       problem_set *rows) {
    const int ok = problems_fresh(c, loaded, set->data, parse_prompts(set), rows);
    fputs(rows->report, stderr);
    must(ok, c);
}

/* ==== SCORE =================================================================================== */

/* Countdown's problems are told apart by their numbers, one more than steps. */
static void steps_label(task_kind kind, int steps, char *out, size_t size) {
    const int more = steps == STEPS_SHOWN - 1, n = steps + (kind == TASK_COUNTDOWN);
    snprintf(out, size, "%d%s", n, more ? "+" : "");
}

static void score_counts_json(json_writer *j, task_kind kind, const score_tallies *t) {
    char key[40];
    if (kind == TASK_COUNTDOWN) {
        report_tally_json(j, "plus_minus_suffice", t->simple);
        report_tally_json(j, "needs_times_or_divide", t->other);
    }
    if (kind == TASK_PROSQA) report_tally_json(j, "right_option", t->option);
    json_open(j, kind == TASK_COUNTDOWN ? "numbers" : "steps", '{');
    for (int i = 0; i < STEPS_SHOWN; i++) {
        if (!t->by_steps[i].of) continue;
        steps_label(kind, i, key, sizeof key);
        report_tally_json(j, key, t->by_steps[i]);
    }
    json_close(j, '}');
    if (kind == TASK_COUNTDOWN) report_tally_json(j, "each_number_once", t->once);
    report_tally_json(j, "no_end_token", t->no_end);
}

/* A document about one run, open. */
static json_writer begin_json(const char *command, const option *table, const settings *set,
                              const loaded_run *loaded, const char *folder) {
    json_writer j = report_begin(stdout, command, table, set);
    report_run_json(&j, "run", folder, &loaded->r.set, &loaded->r.system, loaded->r.step);
    json_number(&j, "latents", (double)loaded->latents);
    return j;
}

static void verdicts_json(json_writer *j, task_kind kind, const size_t *verdict) {
    char key[40];
    json_open(j, "verdicts", '{');
    for (int i = 0; i < TASK_VERDICTS && task_verdict_name(kind, i); i++) {
        report_key(task_verdict_name(kind, i), key, sizeof key);
        json_number(j, key, (double)verdict[i]);
    }
    json_close(j, '}');
}

/* Of several answers to each problem. */
static void samples_json(json_writer *j, const samples_result *of) {
    const double all = (double)(of->problems * of->samples), right = (double)of->right;
    report_mean_json(j, "accuracy", right, all, right / all, of->problems);
    json_open(j, "pass_at", '[');
    for (size_t i = 0; i < of->n_passes; i++) {
        json_open(j, NULL, '{');
        json_number(j, "k", (double)of->k[i]);
        report_mean_json(j, "accuracy", NAN, NAN, of->pass[i], of->problems);
        json_close(j, '}');
    }
    json_close(j, ']');
    report_tally_json(j, "accuracy_majority", of->majority);
}

static void score_json(const settings *set, const loaded_run *loaded, const char *folder,
                       const problem_set *rows, const score_result *result,
                       const samples_result *of) {
    const score_tallies *t = &result->count;
    json_writer j = begin_json("score", SCORE, set, loaded, folder);
    json_text(&j, "problems", rows->source);
    json_number(&j, "count", (double)rows->n);
    json_number(&j, "of", rows->all.problems > 0 ? rows->all.problems : NAN);
    if (of->samples > 1) samples_json(&j, of);
    else report_tally_json(&j, "accuracy", t->all);
    json_number(&j, "loss", result->loss);
    verdicts_json(&j, loaded->task.kind, of->verdict);
    if (of->samples == 1) score_counts_json(&j, loaded->task.kind, t);
    if (*set->data) {
        json_text(&j, "seen_in_training", result->seen_how);
        json_number(&j, "problems_seen", (double)(t->all.of - t->unseen.of));
        if (of->samples == 1) report_tally_json(&j, "accuracy_unseen", t->unseen);
    }
    json_close(&j, '}');
}

static void score_heading(const settings *set, const loaded_run *loaded, const char *folder,
                          const problem_set *rows) {
    char system[400], problems[RUN_PATH + 120];
    run_describe_system(&loaded->r.system, system, sizeof system);
    problems_title(rows, problems, sizeof problems);
    printf("%s: %s; step %llu", folder, system, (unsigned long long)loaded->r.step);
    if (!strcmp(loaded->r.set.steps_shown, "curriculum"))
        printf(", stage %zu of 0..%zu", loaded->stage, loaded->r.set.stages + 1);
    printf("\n%s, %s, latents %s", problems, set->temperature > 0 ? "sampled" : "greedy",
           set->from);
    if (loaded->latents != loaded->r.system.latents) printf(", %zu of them", loaded->latents);
    printf("\n\n");
    printf("%s", problems_note(rows));
    if ((double)set->count < rows->all.problems && *set->data)
        printf("(--count: the first rows of the file)\n");
}

static const char *steps_word(task_kind kind, int steps) {
    if (kind == TASK_COUNTDOWN) return "numbers";
    return steps == 1 ? "step" : "steps";
}

static void samples_table(const samples_result *of) {
    const double all = (double)(of->problems * of->samples);
    char label[40];
    printf("%zu answers to each problem; intervals (95 %%) over the problems\n\n", of->samples);
    report_mean(stdout, "accuracy, mean", (double)of->right / all, of->problems);
    for (size_t i = 0; i < of->n_passes; i++) {
        snprintf(label, sizeof label, "pass@%zu", of->k[i]);
        report_mean(stdout, label, of->pass[i], of->problems);
    }
    report_tally(stdout, "majority vote", of->majority);
}

static void score_tallies_table(const settings *set, task_kind kind, const score_tallies *t) {
    char label[40], key[16];
    report_tally(stdout, "accuracy [95 %]", t->all);
    report_tally(stdout, "  + and - suffice", t->simple);
    report_tally(stdout, "  needs * or /", t->other);
    for (int i = 0; i < STEPS_SHOWN; i++) {
        steps_label(kind, i, key, sizeof key);
        snprintf(label, sizeof label, "  %s %s", key, steps_word(kind, i));
        report_tally(stdout, label, t->by_steps[i]);
    }
    if (*set->data) report_tally(stdout, "  of those not seen in training", t->unseen);
    report_tally(stdout, "which option (chance 50 %)", t->option);
    report_tally(stdout, "uses each number once", t->once);
    report_tally(stdout, "no end token (counted wrong)", t->no_end);
}

static void score_table(const settings *set, task_kind kind, const score_result *result,
                        const samples_result *of) {
    const score_tallies *t = &result->count;
    if (of->samples > 1) samples_table(of);
    else score_tallies_table(set, kind, t);
    if (isnan(result->loss)) printf("loss per target: the rows have no answers\n\nverdicts:");
    else printf("loss per target, teacher-forced  %8.4f\n\nverdicts:", result->loss);
    for (int i = 0; i < TASK_VERDICTS && task_verdict_name(kind, i); i++)
        printf("%s %s %zu", i ? "," : "", task_verdict_name(kind, i), of->verdict[i]);
    printf("\n");
    if (*set->data)
        printf("problems that training can have seen: %zu of %zu; %s\n", t->all.of - t->unseen.of,
               t->all.of, result->seen_how);
}

static void score(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    loaded_run loaded;
    problem_set rows;
    score_result result;
    samples_result samples;
    (void)n_runs;
    if (!set->samples) cli_fail(2, "--samples must be above 0");
    if (set->samples > 1 && !(set->temperature > 0))
        cli_fail(2, "--samples %zu: greedy answers are all the same; --temperature 1 draws them",
                 set->samples);
    open_run(c, set, folder[0], &loaded);
    refuse_text(&loaded, folder[0]);
    read_problems(c, set, &loaded, &rows);
    score_options how = {parse_ablation(set), set->temperature, set->seed, set->max_new,
                         set->samples, *set->answers != 0};
    if (!how.max_new) how.max_new = run_max_new(&loaded.r.set, &loaded.task);
    if (*set->answers) must(output_check(c, "--answers", set->answers), c);
    must(score_run(c, &loaded, &rows, &how, &result), c);
    must(samples_count(c, &loaded.task, result.answers, rows.n, how.samples, &samples), c);
    if (*set->answers)
        must(answers_write(c, set->answers, &loaded.task, &rows, how.samples, result.answers,
                           result.likelihood), c);
    if (set->json) score_json(set, &loaded, folder[0], &rows, &result, &samples);
    else {
        score_heading(set, &loaded, folder[0], &rows);
        score_table(set, loaded.task.kind, &result, &samples);
    }
    score_free(&result);
    problems_free(&rows);
    loaded_run_close(&loaded);
}

/* ==== CHOICES ================================================================================= */

typedef struct {
    const char *folder, *file, *system;
    size_t rows;                   /* of the file */
} choices_heading;

static void choices_json(const settings *set, const loaded_run *loaded, const choices_heading *of,
                         const choice_set *choices, const choices_result *result) {
    json_writer j = begin_json("choices", CHOICES, set, loaded, of->folder);
    json_text(&j, "problems", of->file);
    json_number(&j, "count", (double)choices->n);
    json_number(&j, "chance", result->chance);
    report_tally_json(&j, "accuracy", result->hit[CHOICE_SUM]);
    report_tally_json(&j, "accuracy_per_byte", result->hit[CHOICE_PER_BYTE]);
    report_tally_json(&j, "accuracy_per_token", result->hit[CHOICE_PER_TOKEN]);
    json_number(&j, "loss", result->loss);
    json_number(&j, "contexts_cut", (double)choices->cut);
    json_number(&j, "rows_left_out", (double)choices->left_out);
    json_close(&j, '}');
}

static void choices_table(const settings *set, const loaded_run *loaded, const choices_heading *of,
                          const choice_set *choices, const choices_result *result) {
    printf("%s: %s\n%zu of %zu rows of %s, %zu latents, %s; chance %.1f %%\n\n", of->folder,
           of->system, choices->n, of->rows, of->file, loaded->latents, set->from,
           100 * result->chance);
    report_tally(stdout, "by log-likelihood, sum", result->hit[CHOICE_SUM]);
    report_tally(stdout, "by log-likelihood, per byte", result->hit[CHOICE_PER_BYTE]);
    report_tally(stdout, "by log-likelihood, per token", result->hit[CHOICE_PER_TOKEN]);
    printf("loss per target, right choices   %8.4f\n", result->loss);
    if (choices->cut)
        printf("(%zu contexts lost their beginning: too long)\n", choices->cut);
    if (choices->left_out)
        printf("(%zu rows left out: a choice too long, or without a token)\n",
               choices->left_out);
}

static void choices(dual_ctx *c, const settings *set, size_t n_words, const char **word) {
    loaded_run loaded;
    task_set rows;
    choice_set list;
    char error[300], system[400];
    if (n_words < 2) cli_fail(2, "choices needs a run and a file: ./eval choices RUN FILE");
    size_t count = parse_count(set);
    open_run(c, set, word[0], &loaded);
    const dual_ablation ablation = parse_ablation(set);
    if (!task_read(TASK_CHOICES, word[1], !strcmp(set->broken, "skip"), &rows, error, sizeof error))
        cli_fail(1, "%s", error);
    if (rows.broken)
        fprintf(stderr, "%s: %zu broken rows left out; the first:\n%s", word[1], rows.broken,
                rows.complaints);
    if (count > rows.count) count = rows.count;
    must(choices_open(c, &loaded, &rows, count, word[1], ablation, &list), c);
    must(choices_score(c, &loaded, &list), c);
    const choices_result result = choices_count(&list);
    run_describe_system(&loaded.r.system, system, sizeof system);
    const choices_heading heading = {word[0], word[1], system, rows.count};
    if (set->json) choices_json(set, &loaded, &heading, &list, &result);
    else choices_table(set, &loaded, &heading, &list, &result);
    choices_close(&list);
    task_free(&rows);
    loaded_run_close(&loaded);
}

/* ==== PERPLEXITY ============================================================================== */

static void perplexity_json(const settings *set, const loaded_run *loaded, const char *folder,
                            const perplexity_result *p) {
    const size_t ahead = p->how.ahead;
    json_writer j = begin_json("perplexity", PERPLEXITY, set, loaded, folder);
    json_text(&j, "text", p->text.name);
    json_flag(&j, "held_out", p->text.held_out);
    json_number(&j, "sequences", (double)p->sequences);
    json_number(&j, "groups", (double)p->how.groups);
    json_number(&j, "sequence", (double)p->how.sequence);
    json_open(&j, "ahead", '[');
    for (size_t a = 0; a <= ahead; a++) {
        if (a == ahead) json_close(&j, ']');
        json_open(&j, a == ahead ? "all" : NULL, '{');
        json_number(&j, "without", p->without[a]);
        json_number(&j, "with", p->with[a]);
        json_close(&j, '}');
    }
    json_close(&j, '}');
}

static void perplexity_table(const settings *set, const loaded_run *loaded, const char *folder,
                             const perplexity_result *p) {
    const size_t ahead = p->how.ahead;
    char system[400];
    run_describe_system(&loaded->r.system, system, sizeof system);
    printf("%s: %s\n%s%s: %zu sequences of %zu tokens, %zu places in each, %zu latents, %s\n\n",
           folder, system, p->text.name, p->text.held_out ? ", held out" : "", p->sequences,
           p->how.sequence, p->how.groups, loaded->latents, p->has_latents ? set->from : "none");
    printf("%8s %12s %12s %9s\n", "ahead", "without", "with", "change");
    for (size_t a = 0; a <= ahead; a++) {
        char label[24] = "all", with[16] = "-", change[16] = "-";
        if (a < ahead) snprintf(label, sizeof label, "%zu", a + 1);
        if (p->has_latents) {
            snprintf(with, sizeof with, "%.3f", p->with[a]);
            snprintf(change, sizeof change, "%+.2f %%", 100 * (p->with[a] / p->without[a] - 1));
        }
        printf("%8s %12.3f %12s %9s\n", label, p->without[a], with, change);
    }
    printf("\nwithout: the same Base, no latents: the cue follows the text.\n");
}

static void perplexity(dual_ctx *c, const settings *set, size_t n_words, const char **word) {
    loaded_run loaded;
    perplexity_result result;
    open_run(c, set, word[0], &loaded);
    if (n_words < 2 && strcmp(loaded.r.set.task, "text"))
        cli_fail(2, "perplexity needs a text: ./eval perplexity RUN FILE (only a run on text has a "
             "held-out part of its own)");
    const perplexity_options how = {set->sequences, set->groups, set->ahead, set->sequence,
                                    parse_ablation(set)};
    const int ok = perplexity_plan(c, &loaded, &how, n_words > 1 ? word[1] : "", &result);
    fputs(result.text.report, stderr);
    if (!ok) cli_refuse(c->error);
    must(perplexity_measure(c, &loaded, &result), c);
    if (set->json) perplexity_json(set, &loaded, word[0], &result);
    else perplexity_table(set, &loaded, word[0], &result);
    perplexity_free(&result);
    loaded_run_close(&loaded);
}

/* ==== LATENTS ====================================================================================
 * H_ij is the share of slot i's variance that lies in slot j's subspace; 1 everywhere off the
 * diagonal: all slots move in one subspace. */

static void subspaces_json(json_writer *j, const settings *set, const latents_report *report) {
    const int many = report->slots > 1;
    json_open(j, "subspaces", '[');
    for (size_t i = 0; i < report->sizes; i++) {
        const latents_view *a = &report->at[i];
        json_open(j, NULL, '{');
        json_text(j, "rule", i || set->k ? "k" : "variance_99");
        json_number(j, "k_min", (double)a->k_min);
        json_number(j, "k_max", (double)a->k_max);
        json_number(j, "h_off", many ? a->h_off : NAN);
        json_number(j, "h_diag", a->h_diag);
        json_number(j, "floor", a->floor);
        json_number(j, "h_off_shuffled", many ? a->h_shuffled : NAN);
        json_number(j, "h_off_halves", many ? a->h_half : NAN);
        json_number(j, "h_diag_halves", a->h_half_diag);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void latents_json(const settings *set, const loaded_run *loaded,
                         const latents_report *report, const char *folder) {
    const size_t slots = report->slots;
    json_writer j = begin_json("latents", LATENTS, set, loaded, folder);
    if (slots) {
        json_number(&j, "prompts", (double)report->prompts);
        json_number(&j, "width", (double)report->width);
        json_number(&j, "effective_rank", report->at[0].rank);
        json_number(&j, "silhouette", slots > 1 ? report->at[0].silhouette : NAN);
        subspaces_json(&j, set, report);
        json_open(&j, "norms", '[');
        for (size_t i = 0; i < slots; i++) json_number(&j, NULL, report->norms[i]);
        json_close(&j, ']');
        json_open(&j, "H", '[');
        for (size_t i = 0; i < slots; i++) {
            json_open(&j, NULL, '[');
            for (size_t k = 0; k < slots; k++) json_number(&j, NULL, report->H[i * slots + k]);
            json_close(&j, ']');
        }
        json_close(&j, ']');
    }
    json_close(&j, '}');
}

/* "-" where there is one slot only: nothing lies off the diagonal. */
static const char *off_diagonal(char cell[16], size_t slots, double x) {
    if (slots > 1) snprintf(cell, 16, "%.4f", x);
    else snprintf(cell, 16, "-");
    return cell;
}

static void subspaces_table(const settings *set, const latents_report *report) {
    printf("H: the share of slot i's variance that lies in slot j's subspace, every slot "
           "centred.\n\n%-16s %10s %8s %8s %10s %10s %8s %8s\n", "", "k", "H_off", "H_diag",
           "floor k/d", "shuffled", "halves", "diag");
    for (size_t i = 0; i < report->sizes; i++) {
        const latents_view *a = &report->at[i];
        const size_t slots = report->slots;
        char k[48], off[16], shuffled[16], half[16];
        snprintf(k, sizeof k, a->k_min < a->k_max ? "%zu..%zu" : "%zu", a->k_min, a->k_max);
        printf("%-16s %10s %8s %8.4f %10.4f %10s %8s %8.4f\n",
               i || set->k ? "fixed k" : "99 % of variance", k,
               off_diagonal(off, slots, a->h_off), a->h_diag, a->floor,
               off_diagonal(shuffled, slots, a->h_shuffled),
               off_diagonal(half, slots, a->h_half), a->h_half_diag);
    }
    printf("\nfloor: what unrelated directions would give. shuffled: slots mixed within each "
           "prompt.\nhalves: subspaces from one half of the prompts, variance of the other.\n");
}

static void latents_table(const settings *set, const latents_report *report) {
    const size_t slots = report->slots, width = report->width;
    subspaces_table(set, report);
    if (report->prompts < 10 * width && report->prompts < 2000)
        printf("Few prompts for this width (10 x %zu would do): H_off comes out too high.\n",
               width);
    printf("\neffective rank %.1f of %zu", report->at[0].rank, width);
    if (slots > 1)
        printf("; silhouette %+.4f\nSilhouette: 1 = slots in clusters apart, about 0 = one "
               "cloud. Equal overlapping slots give about\n-0.02; clearly below that the slots "
               "differ in scale, see their norms.", report->at[0].silhouette);
    printf("\n\nmean norm of each slot:");
    for (size_t i = 0; i < slots; i++)
        printf("%s%8.2f", i % 10 == 0 ? "\n " : " ", report->norms[i]);
    printf("\n\nH, row: whose variance, column: whose subspace\n");
    for (size_t i = 0; i < slots; i++)
        for (size_t k = 0; k < slots; k++)
            printf("%s%.2f%s", k % 18 == 0 && k ? "\n       " : " ", report->H[i * slots + k],
                   k + 1 == slots ? "\n" : "");
}

static void latents(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    loaded_run loaded;
    latents_report report;
    char system[400];
    (void)n_runs;
    open_run(c, set, folder[0], &loaded);
    run_describe_system(&loaded.r.system, system, sizeof system);
    memset(&report, 0, sizeof report);
    parse_prompts(set);
    if (*set->dump && !loaded.latents) cli_fail(1, "--dump: this run has no latents");
    if (*set->dump) must(output_check(c, "--dump", set->dump), c);
    if (loaded.latents) {
        problem_set rows;
        read_fresh(c, set, &loaded, &rows);
        must(latents_report_run(c, &loaded, &rows, set->k, &report), c);
        if (*set->dump) must(latents_dump(c, set->dump, &report), c);
        problems_free(&rows);
    }
    if (set->json) latents_json(set, &loaded, &report, folder[0]);
    else if (!report.slots) {
        printf("%s: %s: no latents, nothing to analyse\n", folder[0], system);
    } else {
        printf("%s: %s\n%zu fresh prompts x %zu slots of width %zu: %s\n\n", folder[0], system,
               report.prompts, report.slots, report.width, latents_meaning(&loaded.r.system));
        latents_table(set, &report);
    }
    latents_report_free(&report);
    loaded_run_close(&loaded);
}

/* ==== COMPARE ================================================================================= */

/* What a group of runs answers: the first run's task makes the problems. */
static void read_group(dual_ctx *c, const settings *set, comparison *k, problem_group *g) {
    loaded_run loaded;
    open_run(c, set, k->entries[g->first].opened, &loaded);
    read_problems(c, set, &loaded, &g->problems);
    if (k->analyse) read_fresh(c, set, &loaded, &g->fresh);
    loaded_run_close(&loaded);
    if (k->kind == TASK_COUNTDOWN) g->floor = comparison_floor(&g->problems);
}

static void refuse_against(const comparison *k, const char *name) {
    note arms = {0, ""};
    for (size_t i = 0; i < k->n_entries; i++)
        if (!i || strcmp(k->entries[i - 1].label, k->entries[i].label))
            note_add(&arms, " %s", k->entries[i].label);
    if (*name && !entry_labelled(k, name))
        cli_fail(2, "--against: \"%s\" is not one of the arms:%s", name, arms.text);
}

/* Every folder, before any work is done. */
static void open_all(dual_ctx *c, const settings *set, comparison *k, size_t n_runs,
                     const char **folder) {
    loaded_run loaded;
    must(comparison_begin(c, k, n_runs, set->broken, !set->no_analysis), c);
    k->one_file = *set->data != 0;
    for (size_t i = 0; i < n_runs; i++) {
        open_run(c, set, folder[i], &loaded);
        must(comparison_add(c, k, &loaded, folder[i]), c);
        refuse_text(&loaded, folder[i]);
        loaded_run_close(&loaded);
    }
    must(comparison_gather(c, k), c);
    refuse_against(k, set->against);
}

static void measure_all(dual_ctx *c, const settings *set, comparison *k, findings *all,
                        size_t n_runs, const char **folder) {
    parse_prompts(set);
    open_all(c, set, k, n_runs, folder);
    for (size_t i = 0; i < k->n_groups; i++) read_group(c, set, k, &k->groups[i]);
    const int terminal = run_is_terminal(2);
    for (size_t i = 0; i < k->n_entries; i++) {
        fprintf(stderr, terminal ? "\r%s\033[K" : "%s\n", k->entries[i].folder);
        must(comparison_measure(c, k, &k->entries[i]), c);
    }
    if (terminal) fprintf(stderr, "\r\033[K");
    must(comparison_make_arms(c, k) && findings_make(c, k, set->against, all), c);
}

static void compare(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    comparison k;
    findings all;
    if (set->csv + set->markdown + set->json > 1)
        cli_fail(2, "--csv, --markdown and --json: one of them");
    measure_all(c, set, &k, &all, n_runs, folder);
    if (set->json) {
        json_writer j = report_begin(stdout, "compare", COMPARE, set);
        report_comparison_json(&j, &k, &all);
        json_close(&j, '}');
    } else if (set->csv) report_comparison_csv(stdout, &k, &all);
    else must(report_comparison(c, stdout, &k, &all, set->markdown), c);
    fflush(stdout);                    /* the warnings stand below, where both go to one place */
    if (!set->json) report_warnings(stderr, &k);
    findings_free(&all);
    comparison_free(&k);
}

/* ==== REPORT ================================================================================== */

/* Before any work; what is there stays as it is, and what was not there is not left behind. */
static void check_page(dual_ctx *c, const char *file, const char *svg) {
    FILE *there = fopen(file, "rb");
    if (!*file) cli_fail(2, "--out: the name of a page is required");
    if (data_is_special(file)) cli_fail(1, "--out: %s is there and no file, it stays", file);
    must(output_check(c, "--out", file), c);
    if (there) fclose(there);
    else remove(file);
    if (*svg && !data_make_folder(svg)) cli_fail(1, "--svg: the folder %s cannot be made", svg);
}

static void report(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    comparison k;
    findings all;
    check_page(c, set->out, set->svg);
    measure_all(c, set, &k, &all, n_runs, folder);
    if (set->tables) must(report_comparison(c, stdout, &k, &all, 0), c);
    fflush(stdout);
    report_warnings(stderr, &k);
    must(report_page_save(c, &k, &all, set->out, set->svg), c);
    printf("%sThe page with %zu run%s: %s\n", set->tables ? "\n" : "", k.n_entries,
           k.n_entries == 1 ? "" : "s", set->out);
    findings_free(&all);
    comparison_free(&k);
}

/* ==== GENERATE ================================================================================ */

static void open_prompt(dual_ctx *c, const loaded_run *loaded, const prompt_options *how,
                        const char *file, prompt_answer *prompt) {
    if (prompt_open(c, loaded, how, prompt)) return;
    if (how->line) cli_fail(1, "%s:%zu: %s", file, how->line, c->error);
    cli_fail(1, "--prompt: %s", c->error);
}

/* What is asked: --prompt, or the lines of --file that are not empty. The text is cut in place. */
static prompt_answer *open_prompts(dual_ctx *c, const settings *set, const loaded_run *loaded,
                                   char *text, size_t *n) {
    prompt_options how = {set->prompt, parse_ablation(set), set->temperature, set->seed,
                          set->max_new, 0, NULL};
    size_t lines = 1;
    for (const char *at = text; at && *at; at++) lines += *at == '\n';
    prompt_answer *list = must_room(c, lines, sizeof *list);
    *n = 0;
    if (!text) open_prompt(c, loaded, &how, NULL, &list[(*n)++]);
    for (char *line = text, *next; line; line = next) {
        const size_t length = strcspn(line, "\r\n");
        how.line++;
        how.text = line;
        next = strchr(line, '\n');
        if (next) next++;
        line[length] = 0;
        if (length) open_prompt(c, loaded, &how, set->file, &list[(*n)++]);
    }
    if (!*n) cli_fail(1, "%s: no prompt in it, expected one a line", set->file);
    return list;
}

/* An answer as it is printed and as the bytes it has. */
typedef struct {
    char *text, *shown;
    size_t length;
    int ended;
    prompt_judgement worth;
} answer_text;

static answer_text spell_answer(dual_ctx *c, const loaded_run *loaded, const prompt_answer *p) {
    answer_text a;
    a.ended = prompt_ended(p);
    const size_t n = a.ended ? p->length[0] : p->how.max_new;
    a.text = tokens_text(c, &loaded->task, p->tokens, n, &a.length);
    a.shown = tokens_shown(c, &loaded->task, p->tokens, n);
    must(a.text && a.shown, c);
    prompt_judge(p, a.text, a.length, a.ended, &a.worth);
    return a;
}

static void answer_json(json_writer *j, const prompt_answer *p, const answer_text *a) {
    const prompt_judgement *w = &a->worth;
    json_open(j, NULL, '{');
    json_text(j, "prompt", p->how.text);
    json_bytes(j, "answer", a->text, a->length);
    json_flag(j, "ended", a->ended);
    text_or_null(j, "verdict", w->verdict);
    text_or_null(j, "value", *w->value ? w->value : NULL);
    if (p->is_problem) {
        json_number(j, "target", w->target);
        json_flag(j, "solvable", w->solvable);
    }
    json_close(j, '}');
}

static void print_answer(const settings *set, const prompt_answer *p, const answer_text *a) {
    if (*set->file) printf("%s\n", p->how.text);
    printf("%s%s%s\n", a->shown, *a->worth.words ? "    " : "", a->worth.words);
    if (p->n_rows == 2)
        printf("(latents of \"%s\" %s)\n", p->rows[1].row.question,
               p->how.ablation.from == DUAL_MEAN ? "averaged with its own"
                                                 : "instead of its own");
}

static void generate(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    loaded_run loaded;
    json_writer j;
    size_t length, n;
    (void)n_runs;
    if (!*set->prompt == !*set->file)
        cli_fail(2, "one of --prompt and --file is required: --prompt \"numbers: 3 7 12 target: "
                 "57\"");
    open_run(c, set, folder[0], &loaded);
    char *text = *set->file ? read_text(set->file, &length) : NULL;
    prompt_answer *list = open_prompts(c, set, &loaded, text, &n);
    must(prompts_generate(c, &loaded, list, n), c);
    if (set->json) {
        j = begin_json("generate", GENERATE, set, &loaded, folder[0]);
        json_open(&j, "answers", '[');
    }
    for (size_t i = 0; i < n; i++) {
        answer_text a = spell_answer(c, &loaded, &list[i]);
        if (set->json) answer_json(&j, &list[i], &a);
        else print_answer(set, &list[i], &a);
        free(a.text);
        free(a.shown);
        prompt_close(&list[i]);
    }
    if (set->json) {
        json_close(&j, ']');
        json_close(&j, '}');
    }
    free(list);
    free(text);
    loaded_run_close(&loaded);
}

/* ==== TRACE =================================================================================== */

static void print_pass(const trace_view *v, size_t which) {
    const loaded_run *loaded = v->loaded;
    const dual_pass *p = &v->out->pass[which];
    const size_t rows = trace_rows(p);
    char what[40], sees[160], state[16], likeliest[80];
    printf("\n%zu. %s: %s, %zu row%s", which + 1, p->name,
           p->model == loaded->r.coprocessor ? "Coprocessor" : "Base", rows, rows == 1 ? "" : "s");
    if (p->cache_only) printf(" up to the last K and V");
    printf("; %s\n", trace_recorded(loaded, p));
    printf("   hands over %s\n", trace_hands_over(loaded, v->out, which));
    printf("%4s %-10s %4s  %-31s %7s %7s%s\n", "row", "what", "pos", "sees", "|input|", "|state|",
           p->hidden ? "  likeliest next" : "");
    for (size_t r = 0; r < rows; r++) {
        trace_row(loaded, p, r, v->n_x, what, sizeof what);
        trace_sees(loaded, v->out, p, r, sees, sizeof sees);
        snprintf(state, sizeof state, "-");
        if (p->hidden) snprintf(state, sizeof state, "%.2f", trace_norm(p->hidden, r));
        *likeliest = 0;
        if (trace_predicts(p, r, v->n_x))
            trace_likeliest(&loaded->task, v->logits[which], r, likeliest, sizeof likeliest);
        printf("%4zu %-10s %4ld  %-31s %7.2f %7s%s\n", r, what, (long)p->position[r], sees,
               trace_norm(p->input, r), state, likeliest);
    }
}

/* The latents, where they are not the prompt's own. */
static void print_replaced(const prompt_answer *p) {
    const dual_ablation *a = &p->how.ablation;
    if (a->from == DUAL_RIGHT) return;
    printf("latents: %s", ablation_name(a->from));
    if (a->from == DUAL_DROP) printf(", without slot %zu", a->slot);
    if (p->n_rows > 1) printf(", with those of \"%s\"", p->rows[1].row.question);
    printf("\n");
}

typedef struct {
    const settings *set;
    const char *folder;
} trace_output;

static void print_trace(const trace_view *v, void *to) {
    char system[400], gradient[160];
    (void)to;
    run_describe_system(&v->loaded->r.system, system, sizeof system);
    printf("%s: %s\nx: %s\ny: %s%s\n", v->loaded->r.set.out, system, v->prompt->how.text, v->y,
           v->given ? "" : "    (its own greedy answer)");
    print_replaced(v->prompt);
    printf("\n"
           "row      number within its pass          S, s  trained vectors; Z the Coprocessor's "
           "answer\npos      position                        Base  cached rows of the Base's read\n"
           "sees     keys this row attends to        Cop   cached rows of the Coprocessor\n"
           "|input|  norm, before any position       own   rows of this very pass\n"
           "|state|  norm after the final norm; -    det.  a copy that lets no gradient back\n"
           "         where the pass stops at K and V other what replaces the Coprocessor's rows\n");
    for (size_t i = 0; i < v->out->n_passes; i++) print_pass(v, i);
    trace_gradient(&v->loaded->r.system, gradient, sizeof gradient);
    printf("\ngradient: %s\nloss of y, mean over its %zu tokens: %.4f\n", gradient, v->row->n_y,
           v->loss);
    if (*v->grade) printf("grade of y: %s\n", v->grade);
}

static void print_trace_json(const trace_view *v, void *to) {
    const trace_output *output = to;
    json_writer j = begin_json("trace", TRACE, output->set, v->loaded, output->folder);
    trace_json(&j, v);
    json_close(&j, '}');
}

static void trace(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    loaded_run loaded;
    prompt_answer prompt;
    trace_output output = {set, folder[0]};
    const prompt_options how = {.text = set->prompt, .ablation = parse_ablation(set),
                                .seed = set->seed, .other = set->other};
    const trace_options shown = {set->answer, set->attention};
    (void)n_runs;
    if (!*set->prompt) cli_fail(2, "--prompt \"numbers: 3 7 12 target: 57\" is required");
    if (set->attention && !set->json) cli_fail(2, "--attention is for --json: it fits no table");
    if (*set->other && !ablation_mixes(how.ablation.from))
        cli_fail(2, "--other is for --latents-from swapped and mean, not %s", set->from);
    open_run(c, set, folder[0], &loaded);
    open_prompt(c, &loaded, &how, NULL, &prompt);
    must(trace_run(c, &loaded, &prompt, &shown, set->json ? print_trace_json : print_trace,
                   &output), c);
    prompt_close(&prompt);
    loaded_run_close(&loaded);
}

/* ==== PAGE ==================================================================================== */

/* The prompts that were not given are the first test problems. */
static void choose_prompts(dual_ctx *c, const loaded_run *loaded, settings *set) {
    problem_set rows;
    if (*set->prompt && *set->other) return;
    if (!loaded->task.generated)
        cli_fail(2, "--prompt and --other are required: --task %s makes no problems of its own",
                 task_name(loaded->task.kind));
    must(problems_read(c, loaded, COUNTDOWN_TEST, "", 2, &rows), c);
    if (!*set->prompt) snprintf(set->prompt, sizeof set->prompt, "%s", rows.at[0].row.question);
    if (!*set->other)
        snprintf(set->other, sizeof set->other, "%s", rows.at[rows.n - 1].row.question);
    problems_free(&rows);
}

static void page(dual_ctx *c, const settings *set, size_t n_runs, const char **folder) {
    loaded_run loaded;
    settings asked = *set;
    (void)n_runs;
    if (!*set->out) cli_fail(2, "--out FILE.html is required: where the page is written");
    open_run(c, set, folder[0], &loaded);
    choose_prompts(c, &loaded, &asked);
    must(page_embed(c, &loaded, asked.prompt, asked.other, asked.page, asked.out), c);
    printf("%s: %s, step %llu; open it in a browser\n", set->out, folder[0],
           (unsigned long long)loaded.r.step);
    loaded_run_close(&loaded);
}

/* ==== TOKENS =====================================================================================
 * One line out for each line in, of any bytes; only \n ends a line, and the last line needs none.
 * Ids are read and written with blanks between them. Decoding --whole writes the text's bytes and
 * nothing more, so that encoding --whole and back gives the very file. */

typedef struct {
    dual_ctx *c;
    tokenizer *t;
    const char *source;            /* for messages: the file, or --text */
    size_t line;                   /* the one that starts at the text being worked on */
    int added;                     /* added tokens are recognised in the text */
    int32_t *ids;                  /* grows to the longest text */
    size_t room;
} token_job;

static void grow_ids(token_job *j, size_t n) {
    if (n <= j->room) return;
    free(j->ids);
    j->ids = must_room(j->c, n, sizeof *j->ids);
    j->room = n;
}

static void print_ids(token_job *j, const char *text, size_t length) {
    char error[300];
    size_t n;
    grow_ids(j, length);           /* enough but for text that NFC makes longer */
    for (;;) {
        n = tokenizer_encode(j->t, text, length, j->added, j->ids, j->room, error, sizeof error);
        if (n == SIZE_MAX) cli_fail(1, "%s:%zu: %s", j->source, j->line, error);
        if (n <= j->room) break;
        grow_ids(j, n);
    }
    for (size_t i = 0; i < n; i++) printf(i ? " %ld" : "%ld", (long)j->ids[i]);
    putchar('\n');
}

/* The id that begins at `at`; returns where it ends. */
static const char *read_id(const token_job *j, const char *at, const char *end, size_t line,
                           int32_t *id) {
    const char *from = at;
    long value = 0;
    while (at < end && *at >= '0' && *at <= '9' && value < INT32_MAX / 10)
        value = 10 * value + (*at++ - '0');
    if (at == from || (at < end && !strchr(" \t\r\n", *at)))
        cli_fail(1, "%s:%zu: \"%.*s\" is no id, expected whole numbers with blanks between them",
             j->source, line, (int)strcspn(from, " \t\r\n") % 40, from);
    *id = (int32_t)value;
    if (!tokenizer_token(j->t, *id, NULL))
        cli_fail(1, "%s:%zu: there is no token %ld, this tokenizer has ids below %zu", j->source,
                 line,
             value, tokenizer_size(j->t));
    return at;
}

static void print_text(token_job *j, const char *text, size_t length) {
    const char *at = text, *end = text + length;
    size_t n = 0, line = j->line;
    grow_ids(j, length / 2 + 1);   /* a digit and a blank each */
    for (;;) {
        while (at < end && strchr(" \t\r\n", *at) && *at) {
            line += *at == '\n';
            at++;
        }
        if (at == end) break;
        at = read_id(j, at, end, line, &j->ids[n]);
        n++;
    }
    const size_t bytes = tokenizer_decode(j->t, j->ids, n, NULL, 0);
    char *out = must_room(j->c, bytes + 1, 1);
    tokenizer_decode(j->t, j->ids, n, out, bytes + 1);
    fwrite(out, 1, bytes, stdout);
    free(out);
}

static void tokens(dual_ctx *c, const settings *set, size_t n_words, const char **word) {
    token_job j = {c, NULL, "--text", 1, !set->plain, NULL, 0};
    char error[300];
    char *file = NULL;
    const char *text = set->text;
    size_t length = text ? strlen(text) : 0;
    if ((n_words == 2) == (text != NULL)) cli_fail(2, "tokens: one of FILE and --text is required");
    j.t = tokenizer_open(word[0], error, sizeof error);
    if (!j.t) cli_fail(1, "%s", error);
    if (!text) {
        j.source = word[1];
        text = file = dual_text_read(c, word[1], &length);
        must(text != NULL, c);
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
}

/* ==== MAIN ==================================================================================== */

typedef struct {
    const char *name, *words, *help;
    const option *options;
    size_t most;                   /* words it takes: runs, files */
    void (*run)(dual_ctx *, const settings *, size_t n_words, const char **word);
} command;

static const command COMMANDS[] = {
    {"score", "RUN", "accuracy of a run, and what its wrong answers look like", SCORE, 1, score},
    {"choices", "RUN FILE", "multiple choice by log-likelihood", CHOICES, 2, choices},
    {"perplexity", "RUN [FILE]", "of each token ahead, with the latents and without; no FILE: what "
     "the run held out", PERPLEXITY, 2, perplexity},
    {"compare", "RUN...", "runs on the same problems: every pair, and the method's sentences; "
     "intervals over seeds from 3 seeds on, verdicts from 5", COMPARE,
     SIZE_MAX, compare},
    {"report", "RUN...", "what compare finds as one page of pictures, tables and sentences", REPORT,
     SIZE_MAX, report},
    {"generate", "RUN --prompt TEXT", "the answer to a prompt, or to each of a file", GENERATE, 1,
     generate},
    {"latents", "RUN", "do the latents hold different things?", LATENTS, 1, latents},
    {"trace", "RUN --prompt TEXT", "every row of every pass, and what it sees", TRACE, 1, trace},
    {"page", "RUN --out FILE", "a web page that shows the run's passes and latents", PAGE, 1, page},
    {"tokens", "DIR FILE", "token ids of a text, line by line; DIR holds a tokenizer", TOKENS, 2,
     tokens},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void help(const command *c) {
    printf("\neval %s %s: %s\n", c->name, c->words, c->help);
    options_help(c->options);
}

/* NULL: there is no such command, which was said. */
static const command *find_command(const char *name) {
    option names[N_COMMANDS + 1];
    if (!name) {
        fprintf(stderr, "usage: eval score|choices|perplexity|compare|report|generate|latents|"
                "trace|page|tokens RUN [options], or eval --help\n");
        return NULL;
    }
    memset(names, 0, sizeof names);
    for (int i = 0; i < N_COMMANDS; i++) {
        if (!strcmp(name, COMMANDS[i].name)) return &COMMANDS[i];
        names[i].name = COMMANDS[i].name;
    }
    fprintf(stderr, "eval: unknown command \"%.60s\"; did you mean %s?\n", name,
            options_nearest(names, name));
    return NULL;
}

/* argv[1] is the command's name. Returns the exit status. */
static int run_command(const command *it, int argc, char **argv) {
    settings set;
    dual_ctx c;
    char error[300];
    size_t n = 0;
    const size_t room = (size_t)argc;
    int status = 0;
    dual_init(&c, NULL, 0);            /* for lines about errors: work has contexts of its own */
    c.fatal = cli_stop;
    memset(&set, 0, sizeof set);
    options_defaults(it->options, &set);
    const char **word = must_room(&c, room, sizeof *word);
    if (!options_parse(it->options, &set, argc - 1, argv + 1, word, &n,
                       it->most < room ? it->most : room, NULL, error, sizeof error)) {
        fprintf(stderr, "eval %s: %s\n", it->name, error);
        status = 2;
    } else if (set.help) help(it);
    else if (!n) {
        fprintf(stderr, "eval %s: no %.3s given; usage: eval %s %s [options]\n", it->name,
                it->words, it->name, it->words);
        status = 2;
    } else {
        dual_threads((int)(set.threads < 4096 ? set.threads : 4096));
        it->run(&c, &set, n, word);
    }
    free(word);
    dual_done(&c);
    return status;
}

int main(int argc, char **argv) {
    int status = 0;
    cli_program = "eval";
    run_hold_streams();
    run_spin_briefly(argv);
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        printf("usage: eval COMMAND RUN [options]; RUN is a folder made by train\n");
        for (int i = 0; i < N_COMMANDS; i++) help(&COMMANDS[i]);
        printf("\neval --version: of this program\n");
    } else if (argc > 1 && !strcmp(argv[1], "--version")) cli_print_version();
    else {
        const command *it = find_command(argc > 1 ? argv[1] : NULL);
        status = it ? run_command(it, argc, argv) : 2;
    }
    cli_flush();
    return status;
}
