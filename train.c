/* train.c: trains a Base on text (--objective lm), a system on text with M groups of latents in
 * each sequence (pretrain), or a system on a task's questions and answers (answer).
 *
 *     ./train --objective lm --out runs/base
 *     ./train --system h2 --base runs/base --latents 8 --out runs/h2
 *
 * Owns the command line, the loop, checkpoints and what is printed: metrics on stdout, the rest on
 * stderr. No arithmetic beyond means for the eye: that is dual.c. Exit 2: usage, 1: the run failed,
 * 130: stopped by Ctrl-C after saving. */
#include "data/files/files.h"
#include "data/files/models.h"
#include "data/files/system.h"
#include "data/runs/batches.h"
#include "data/runs/checks.h"
#include "data/runs/cli.h"
#include "data/runs/cost.h"
#include "data/runs/dataset.h"
#include "data/runs/describe.h"
#include "data/runs/gradients.h"
#include "data/runs/lock.h"
#include "data/runs/log.h"
#include "data/runs/platform.h"
#include "data/runs/progress.h"
#include "data/runs/ranks.h"
#include "data/runs/header.h"
#include "data/runs/run.h"
#include "data/runs/scoring.h"
#include "data/runs/shape.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 128 };
static volatile sig_atomic_t stopped;      /* the one thing a signal handler may touch */

static void on_signal(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* Everything of one invocation. */
typedef struct {
    run r;
    run_task task;
    void *block;                           /* the memory of */
    dual_ctx c;
    dual_adamw adamw;
    example *test;                         /* scored at equal shares of the steps: problems, */
    size_t n_test;                         /* or sequences of */
    token_block held_out;                  /* text, from held_first on */
    size_t held_first;
    run_scoring scoring;
    run_memory memory;
    double flops[RUN_STAGES + 2];          /* of a step in each stage */
    int stopped;                           /* on any rank: all leave the loop at the same step */
    double best;                           /* --keep-best: the best score yet, of the stage */
    size_t best_stage;
    run_log log;                           /* log.csv as it stands, rewritten at every checkpoint */
    unsigned char given[OPTIONS_MAX];      /* which options stood on the command line */
} job;

/* ---- Settings --------------------------------------------------------------------------------
 * A resumed run takes every option that moves a number from its run.json; giving one again is fine
 * as long as it says the same. */

static int was_given(const job *j, const option *o) {
    return *o->name && j->given[o - RUN_OPTIONS];
}

/* One option of a resumed run, as it was when the run began. */
static void take_saved(const option *o, run_settings *set, const run_settings *saved, int given) {
    char now[RUN_PATH], then[RUN_PATH], ignored[80];
    option_print(o, set, now, sizeof now);
    option_print(o, saved, then, sizeof then);
    if (given && o->saved == FREE) return;
    /* 0 may stand for what was worked out when the run began; so may --match-flops */
    const int derived = (!strcmp(now, "0") && !strcmp(o->otherwise, "0")) ||
                        (!strcmp(o->name, "steps") && *saved->match_flops);
    if (given && strcmp(now, then) && !derived)
        cli_fail(2, "--resume: %s was begun with --%s %s, not %s; choose another --out to change "
                 "it", set->out, o->name, *then ? then : "\"\"", now);
    option_set(o, set, then, ignored, sizeof ignored);
}

static void take_saved_settings(job *j) {
    run_settings *set = &j->r.set, saved;
    dual_ctx c;
    dual_init(&c, NULL, 0);
    c.fatal = cli_stop;
    if (!run_load_settings(&c, set->out, &saved)) cli_fail(1, "%s", c.error);
    for (const option *o = RUN_OPTIONS; o->name; o++)
        if (*o->name && o->saved != UNSAVED) take_saved(o, set, &saved, was_given(j, o));
    strcpy(set->data_held, saved.data_held);
    strcpy(set->valid_held, saved.valid_held);
    dual_done(&c);
}

/* Whether there is a checkpoint to go on from. */
static int goes_on(const run_settings *set) {
    return set->resume && data_has(set->out, "state.safetensors");
}

/* Where the Base comes from, "" if from nowhere: a run that goes on holds it itself. */
static void base_folder(const run_settings *set, char *out, size_t size) {
    if (goes_on(set)) snprintf(out, size, "%s/base", set->out);
    else if (*set->base) snprintf(out, size, "%s/base", set->base);
    else if (*set->from) snprintf(out, size, "%s/base", set->from);
    else snprintf(out, size, "%s", set->init);
}

/* Settings follow the shape; a size that was asked for must hold. */
static void settings_of_shape(job *j) {
    run_settings *set = &j->r.set;
    const dual_config *f = &j->r.shape;
    const run_settings asked = *set;
    snprintf(set->arch, sizeof set->arch, f->family == DUAL_QWEN3 ? "qwen3" : "gpt2");
    set->layers = f->layers;
    set->width = f->hidden;
    set->heads = f->heads;
    set->kv_heads = f->kv_heads;
    set->head_dim = f->head_dim;
    set->mlp = f->mlp;
    set->context = f->positions;
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        char want[RUN_PATH], is[RUN_PATH];
        if (!was_given(j, o)) continue;
        option_print(o, &asked, want, sizeof want);
        option_print(o, set, is, sizeof is);
        if (strcmp(want, is) && strcmp(want, "0"))
            cli_fail(2, "--%s %s: the Base has %s", o->name, want, is);
    }
}

/* The Base's shape, from --base, --from, --init, --wide-of or the size options. */
static void find_shape(job *j) {
    run_settings *set = &j->r.set;
    dual_config *f = &j->r.shape;
    dual_ctx c;
    char folder[RUN_PATH + 8];
    dual_init(&c, NULL, 0);
    c.fatal = cli_stop;
    if (!!*set->base + !!*set->from + !!*set->init + !!*set->wide_of > 1)
        cli_fail(2, "--base, --from, --init and --wide-of: one of them");
    base_folder(set, folder, sizeof folder);
    if (*folder) {
        if (!dual_config_read(&c, folder, f) || !run_find_type(&c, &j->r, folder))
            cli_fail(1, "%s", c.error);
    } else if (*set->wide_of) {
        if (!run_shape_wide(&c, set->wide_of, f)) cli_fail(1, "--wide-of: %s", c.error);
    } else if (!run_shape_of_options(&c, set, tokenizer_size(j->task.tokens), f))
        cli_fail(2, "%s", c.error);
    if (f->vocab < tokenizer_size(j->task.tokens))
        cli_fail(1, "the Base knows %zu tokens, the task needs %zu: it was not made for it",
                 f->vocab, tokenizer_size(j->task.tokens));
    if (!goes_on(set) && *set->init && !*set->tokenizer && !bpe_in(set->init) &&
        !data_has(set->init, "vocab.txt"))
        fprintf(stderr, "train: warning: %s has no tokenizer.json (nor vocab.json and merges.txt): "
                "its ids are taken for %s\n", set->init, run_tokenizer_name(&j->task));
    settings_of_shape(j);
    dual_done(&c);
}

/* `wide` is a control by its size: any other Base would make it `soft` under another name. */
static void check_wide(const run_settings *set) {
    dual_ctx c;
    run_settings base;
    dual_init(&c, NULL, 0);
    if (!*set->wide_of && !(*set->base && run_load_settings(&c, set->base, &base) &&
                            *base.wide_of))
        cli_fail(2, "wide wants a Base of its size: ./train --objective lm --wide-of RUN --out "
                 "WIDE, then --base WIDE");
    dual_done(&c);
}

/* Options that would do nothing: an experiment must not be named after them. */
static void check_effect(const job *j) {
    const run_settings *set = &j->r.set;
    const int text = run_is_pretrain(set) || !strcmp(set->task, "text");
    const int made = run_on_text(set) && !strcmp(set->task, "countdown");
    const struct { const char *names, *needs; int holds; } only[] = {
        {" facts solved ", "--objective lm or pretrain, on the text that --task countdown makes",
         made},
        {" stages stage-steps stage-epochs latents-per-stage uniform-stage reset-optimizer ",
         "--steps-shown curriculum", run_is_curriculum(set)},
        {" groups ahead ", "--objective pretrain", run_is_pretrain(set)},
        {" sequence ", "--objective lm or pretrain", run_on_text(set)},
        {" held-out ", "--task text, or --objective pretrain", text},
    };
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        char word[40];
        snprintf(word, sizeof word, " %s ", o->name);
        if (!was_given(j, o)) continue;
        for (size_t i = 0; i < sizeof only / sizeof *only; i++)
            if (strstr(only[i].names, word) && !only[i].holds)
                cli_fail(2, "--%s is for %s: here it would do nothing", o->name, only[i].needs);
    }
    if (set->stage_steps && set->stage_epochs > 0 && !set->resume)
        cli_fail(2, "--stage-steps and --stage-epochs: one of them");
}

/* How many steps a stage has, once the rows are read and the steps known. */
static void settle_stages(run_settings *set, const run_task *t) {
    if (!run_is_curriculum(set)) return;
    if (set->stage_epochs > 0) {
        if (!t->n_rows) cli_fail(2, "--stage-epochs: epochs are of --data; use --stage-steps");
        set->stage_steps = (size_t)ceil(set->stage_epochs * (double)t->n_rows /
                                        (double)set->batch);
    }
    if (!set->stage_steps) set->stage_steps = set->steps / (set->stages + 2);
    if (!set->stage_steps)
        cli_fail(2, "--stages %zu: %zu steps are too few for %zu stages", set->stages, set->steps,
             set->stages + 2);
    if (set->steps <= set->stage_steps * (set->stages + 1))
        fprintf(stderr, "train: warning: %zu steps end before the last stage, which begins at step "
                "%zu: the steps are never all left out\n", set->steps,
                set->stage_steps * (set->stages + 1));
}

/* M and the sequence's length, once the Base's positions are known. */
static void settle_groups(run_settings *set, const dual_system *system) {
    if (!run_is_pretrain(set)) return;
    if (!set->ahead) cli_fail(2, "--ahead must be above 0");
    set->sequence = run_sequence(set);
    const size_t slots = dual_latent_positions(system), n = set->sequence;
    if (n + slots > set->context || n < set->ahead + 2)
        cli_fail(2, "a sequence of %zu with %zu latents and %zu tokens ahead does not fit a "
                 "context of %zu", n, slots, set->ahead, set->context);
    if (!set->groups) set->groups = n / set->ahead;
    if (set->groups > n - 1 - set->ahead)
        cli_fail(2, "--groups: %zu places, a sequence of %zu has %zu", set->groups, n,
             n - 1 - set->ahead);
}

/* As many steps as cost what another run's training costs. */
static void match_flops(job *j) {
    run_settings *set = &j->r.set;
    double flops[RUN_STAGES + 2];
    char error[300];
    dual_ctx c;
    run other;
    run_task task;
    dual_init(&c, NULL, 0);
    c.fatal = cli_stop;
    if (!run_open(&c, set->match_flops, &other)) cli_fail(1, "--match-flops: %s", c.error);
    if (!run_task_open(&other.set, set->match_flops, 1, &task, error, sizeof error) ||
        !run_fit_rows(&other.set, &task, run_room(&other.set, &other.system), error, sizeof error))
        cli_fail(1, "%s", error);
    if (set->stage_steps && run_stage_of(set, UINT64_MAX))
        cli_fail(2, "--match-flops: not with a curriculum, whose steps differ in cost");
    run_stage_flops(&other, &task, flops);
    set->steps = (size_t)(run_flops(&other.set, flops, other.set.steps) / j->flops[0] + 0.5);
    if (!set->steps) cli_fail(2, "--match-flops: less than one step of this system costs as much");
    run_task_close(&task);
    dual_done(&c);
}

/* What a frozen system needs, and a warning where a Base starts from nothing. */
static void check_base(const job *j) {
    const run_settings *set = &j->r.set;
    const int has_base = *set->base || *set->from || *set->init;
    const char *advice = "Give it one that has learned: --init FOLDER, or a run on this task or on "
                         "text: ";
    if (j->task.kind == TASK_COUNTDOWN)
        advice = "Make one first:\n  ./train --objective lm --out runs/base\nthen add ";
    if (!strcmp(j->r.system.name, "wide") && !goes_on(set)) check_wide(set);
    if (!j->r.system.base_trained && !has_base)
        cli_fail(2, "%s trains nothing of the Base, and a Base of random weights knows nothing. "
                 "%s--base RUN", j->r.system.name, advice);
    if (!run_is_lm(set) && !has_base && !set->quiet)
        fprintf(stderr, "train: warning: the Base starts from random weights; --base RUN gives it "
                "one that has learned\n");
}

/* The options alone, before any file is read. */
static void check_options(job *j) {
    run_settings *set = &j->r.set;
    char error[300];
    if (!*set->out && !set->describe)
        cli_fail(2, "--out DIR is required: where the run is kept");
    if (!run_system(set, &j->r.system, error, sizeof error)) cli_fail(2, "%s", error);
    if (!set->describe) {
        dual_ctx c;
        dual_init(&c, NULL, 0);
        if (!run_check_settings(&c, set, &j->r.system)) cli_fail(2, "%s", c.error);
        check_effect(j);
    }
    if (*set->match_flops && set->steps && !set->resume)
        cli_fail(2, "--steps and --match-flops: one of them");
    if (!set->steps) set->steps = run_is_lm(set) ? 1200 : 600;
}

static void hold_data(const run_settings *set, const char *file, char held[80], const char *now) {
    char error[300];
    if (!run_hold_data(set, goes_on(set), file, held, now, error, sizeof error))
        cli_fail(1, "%s", error);
}

/* Reads the task and settles what options of 0 stand for. */
static void settle(job *j) {
    run_settings *set = &j->r.set;
    char error[300], held[80];
    if (!run_task_open(set, goes_on(set) ? set->out : NULL, !set->describe, &j->task, error,
                       sizeof error))
        cli_refuse(error);
    if (set->describe) return;
    run_held(j->task.n_rows, &j->task.ids, held);
    hold_data(set, set->data, set->data_held, held);
    if (!set->stages && run_is_curriculum(set))
        set->stages = j->task.kind == TASK_COUNTDOWN ? (size_t)j->task.countdown.count_max - 1
                                                     : task_stages(j->task.kind);
    run_system(set, &j->r.system, error, sizeof error);        /* its latents follow the stages */
    find_shape(j);
    if (!run_fit_rows(set, &j->task, run_room(set, &j->r.system), error, sizeof error))
        cli_fail(1, "%s", error);
    fputs(j->task.report, stderr);
    set->max_new = run_max_new(set, &j->task);
    check_base(j);
    if (!(set->rate > 0)) set->rate = run_default_rate(run_is_lm(set), set->width);
    settle_groups(set, &j->r.system);
    settle_stages(set, &j->task);
    run_stage_flops(&j->r, &j->task, j->flops);
    if (*set->match_flops && !set->resume) match_flops(j);
}

/* ---- What is scored while training -----------------------------------------------------------
 * Test problems at equal shares of the steps, as a curve to look at; with --keep-best or --valid
 * validation problems instead, since what chooses a state must not be what it is judged by. Text:
 * the loss on sequences that were held out. */

static void open_scored_text(job *j) {
    run_settings *set = &j->r.set;
    char error[300], report[1200] = "", held[80];
    j->held_out = j->task.ids;
    j->held_first = j->task.n_train;
    if (*set->valid && !run_text_open(set, &j->task, set->valid, 0, &j->held_out, &j->held_first,
                                      report, sizeof report, error, sizeof error))
        cli_fail(1, "%s", error);
    fputs(report, stderr);
    if (*set->valid) {
        run_held(0, &j->held_out, held);
        hold_data(set, set->valid, set->valid_held, held);
    }
    const size_t windows = (j->held_out.used - j->held_first) / run_sequence(set);
    j->n_test = windows < set->score_count ? windows : set->score_count;
    if (set->keep_best && !j->n_test)
        cli_fail(2, "--keep-best: less than one sequence of text is held out; more with "
                 "--held-out");
}

static void open_scored_problems(job *j) {
    run_settings *set = &j->r.set;
    const int valid = set->keep_best || *set->valid;
    char error[300], report[1200], held[80];
    j->n_test = set->score_count;
    j->test = run_test_set(set, &j->task, set->stages + 1,
                           valid ? COUNTDOWN_VALID : COUNTDOWN_TEST, set->valid, &j->n_test, NULL,
                           report, sizeof report, error, sizeof error);
    if (!j->test) cli_fail(1, "%s", error);
    if (*set->valid && !run_fit_examples(set, set->valid, j->test, &j->n_test, j->task.room, report,
                                         sizeof report, error, sizeof error))
        cli_fail(1, "%s", error);
    fputs(report, stderr);
    if (!*set->valid) return;
    run_held_examples(j->test, j->n_test, held);
    hold_data(set, set->valid, set->valid_held, held);
}

/* The problems of a Base on Countdown's text are for its gate alone. */
static void open_scored(job *j) {
    const run_settings *set = &j->r.set;
    const int countdown = j->task.kind == TASK_COUNTDOWN, text = j->task.kind == TASK_TEXT;
    const int for_gate = run_is_lm(set) && countdown;
    if (set->keep_best && !set->score_points)
        cli_fail(2, "--keep-best: --score-points 0 leaves nothing to judge a state by");
    if (!set->score_points && !for_gate) return;
    const int has_problems = (j->task.generated || *set->valid) && !run_is_pretrain(set);
    if (text) open_scored_text(j);
    else if (has_problems) open_scored_problems(j);
    else if (set->keep_best && !run_on_text(set))
        cli_fail(2, "--keep-best wants --valid, a file to judge by");
    if (j->n_test && set->score_points && !(run_on_text(set) && countdown))
        j->scoring = text ? SCORES_TEXT : SCORES_PROBLEMS;
    if (set->keep_best && j->scoring == SCORES_NOTHING)
        cli_fail(2, "--keep-best: nothing is scored in this run that a state could be judged by");
}

/* ---- Memory: counted by running the very code, before it is taken ---------------------------- */

static void take_memory(job *j) {
    dual_ctx counting;
    dual_init(&counting, NULL, 0);
    counting.fatal = cli_stop;
    if (!run_count_memory(&counting, &j->r, &j->task, j->test, j->n_test, &j->held_out,
                          j->held_first, &j->memory))
        cli_fail(2, "%s", counting.error);
    dual_done(&counting);
    if (!j->r.set.quiet && !j->r.set.brief) {
        note n = {0, ""};
        run_memory_report(&j->r, &j->memory, &n);
        fputs(n.text, stderr);
    }
    if (!run_memory_check(&j->c, &j->r, &j->memory, "")) cli_fail(1, "%s", j->c.error);
    j->block = malloc(j->memory.all + 64);
    if (!j->block)
        cli_fail(1, "this machine does not give %zu MiB; a smaller --batch, --width or --context "
                 "takes less", j->memory.all >> 20);
    dual_init(&j->c, j->block, j->memory.all + 64);
    j->c.fatal = cli_stop;
    j->c.recompute = j->r.set.recompute;
}

/* ---- Scores and checkpoints ------------------------------------------------------------------
 * Text is scored by its loss, the lower the better; problems by the share that is right. */

/* Whether the score after `step` steps is the best yet. A curriculum's stage that shows less is
 * harder, so each has a best of its own. */
static int note_score(job *j, uint64_t step, double score) {
    const size_t stage = run_stage_of(&j->r.set, step - 1);
    const int lower_is_better = j->task.kind == TASK_TEXT;
    const int better = isnan(j->best) || stage != j->best_stage ||
                       (lower_is_better ? score < j->best : score > j->best);
    if (better) j->best = score;
    j->best_stage = stage;
    return better;
}

static void note_old_score(void *what, uint64_t step, double score) {
    note_score(what, step, score);
}

static void check_ranks(const job *j) {
    if (ranks_count() > 1)
        ranks_same(run_fingerprint(&j->r), "its options, data or weights are not rank 0's: all "
                   "ranks need the same files, program and kind of processor");
}

static void checkpoint(job *j) {
    check_ranks(j);
    if (ranks_own()) return;
    /* the log first: rows past the saved step are dropped on resuming, missing ones are lost */
    if (!run_log_save(&j->c, &j->log, j->r.set.out) || !run_save(&j->c, &j->r, &j->adamw))
        cli_fail(1, "%s; then: ./train --resume --out %s", j->c.error, j->r.set.out);
}

/* Shares of the test problems: answered right, and (Countdown) with each number used once. */
typedef struct { double right, each_once; } shares;

enum { GREEDY = 0, SAMPLED = 1 };        /* temperatures */

static shares score_problems(job *j, double temperature) {
    const run_settings *set = &j->r.set;
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    const size_t stage = run_stage(&j->r);
    const dual_mark m = dual_mark_here(&j->c);
    answer *a = calloc(j->n_test, sizeof *a);
    shares out = {0, 0};
    if (!a) cli_fail(1, "out of memory for %zu answers", j->n_test);
    dual_exchange e = run_exchange(&j->c, &j->r, run_latents_of(set, &j->r.system, stage));
    run_score(&j->c, &e, &j->task, j->test, j->n_test, right, temperature, 1,
              run_max_new(set, &j->task), a, NULL);
    for (size_t i = 0; i < j->n_test; i++) {
        out.right += a[i].verdict == 0;
        out.each_once += a[i].each_once;
    }
    dual_release(&j->c, m);
    free(a);
    out.right /= (double)j->n_test;
    out.each_once /= (double)j->n_test;
    return out;
}

static double score_now(job *j) {
    if (j->scoring == SCORES_PROBLEMS) return score_problems(j, GREEDY).right;
    return run_text_loss(&j->c, &j->r.exchange, &j->r.set, &j->held_out, j->held_first, j->n_test);
}

/* The best state yet is a whole run of its own in OUT/best: ./eval score OUT/best. */
static void keep_best(job *j, double score) {
    char path[RUN_PATH + 8], error[300];
    run best = j->r;
    if (!note_score(j, j->r.step, score) || !j->r.set.keep_best) return;
    if ((size_t)snprintf(path, sizeof path, "%s/best", j->r.set.out) >= sizeof best.set.out)
        cli_fail(1, "%s: path too long for its best/", j->r.set.out);
    strcpy(best.set.out, path);
    if (!run_exists(j->r.set.out) || !data_make_folder(path) || !run_lock(&j->c, path) ||
        !run_save_settings(&j->c, &best.set) || !run_save(&j->c, &best, &j->adamw))
        cli_fail(1, "%s: %s", path, *j->c.error ? j->c.error : "its folder is gone, or read-only");
    if (!tokenizer_save(j->task.tokens, path, error, sizeof error)) cli_fail(1, "%s", error);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void forget_moments(dual_adamw *o) {
    for (size_t i = 0; i < o->n; i++) {
        const dual_tensor *t = o->param[i]->tensor;
        memset(o->m[i], 0, t->rows * t->cols * sizeof **o->m);
        memset(o->v[i], 0, t->rows * t->cols * sizeof **o->v);
    }
    o->step = 0;
}

/* What one optimiser step came to. */
typedef struct { double loss, penalty, norm, rate; } step_result;

/* Of the whole batch, from what each rank's share adds to them. */
static void sum_over_ranks(job *j, batch_means *m) {
    double means[] = {m->loss, m->penalty};
    ranks_sum(means, 2);
    *m = (batch_means){means[0], means[1]};
    for (size_t i = 0; i < j->adamw.n; i++) {
        const dual_tensor *t = j->adamw.param[i]->tensor;
        ranks_sum_reals(t->grad, t->rows * t->cols);
    }
}

static step_result train_step(job *j) {
    const run_settings *set = &j->r.set;
    const dual_mark m = dual_mark_here(&j->c);
    step_result s;
    batch_means means;
    run_batch b;
    char error[300];
    if (!run_batch_make(set, &j->task, j->r.step, &b, error, sizeof error))
        cli_fail(1, "%s", error);
    dual_exchange e = run_exchange(&j->c, &j->r, run_latents_of(set, &j->r.system, b.stage));
    const batch_share share = run_share(set);
    if (!run_gradients(&j->c, &e, &b.batch, &share, &means)) cli_fail(1, "%s", j->c.error);
    sum_over_ranks(j, &means);
    s.loss = means.loss;
    s.penalty = means.penalty;
    s.rate = run_rate_at(set, j->r.step);
    s.norm = dual_adamw_step(&j->c, &j->adamw, s.rate);
    dual_release(&j->c, m);
    run_batch_free(&b);
    if (!(s.loss < 1e30) || !(s.norm < 1e30))  /* fabs: no C library then prints -nan */
        cli_fail(1, "step %llu: loss %g, gradient norm %g: it diverged; a smaller --lr may help. "
                 "The last checkpoint in %s is whole", (unsigned long long)j->r.step,
                 fabs(s.loss), fabs(s.norm), set->out);
    j->r.step++;
    j->r.loss_sum += s.loss;
    j->r.loss_steps++;
    return s;
}

/* A line on stdout. scored: "" or the score. */
static void print_metrics(const job *j, const progress *p, const step_result *s, double mean,
                          double tflop, const char *scored) {
    const char *label = "";
    char left[16], beside[40] = "";
    if (*scored) label = j->scoring == SCORES_TEXT ? " held_out_loss=" : " accuracy=";
    if (!isnan(s->penalty)) snprintf(beside, sizeof beside, " orthogonality=%.5f", s->penalty);
    progress_left(p, j->r.step, left, sizeof left);
    progress_clear(p);
    printf("step=%llu loss=%.5f%s grad_norm=%.4f lr=%.3e tflop=%.4f steps_per_s=%.2f left=%s%s%s\n",
           (unsigned long long)j->r.step, mean, beside, s->norm, s->rate, tflop,
           progress_speed(p, j->r.step), left, label, scored);
    cli_flush();
}

/* Scores where a share of the steps ends; a row of the log and a line of metrics where one is due.
 * before: seconds that earlier sessions took. Returns the score in words, or "". */
static void report_step(job *j, const progress *p, const step_result *s, double before,
                        char *said, size_t size) {
    const run_settings *set = &j->r.set;
    const int score = j->scoring != SCORES_NOTHING && run_is_score_step(set, j->r.step);
    const int last = j->r.step == set->steps;
    *said = 0;
    if (ranks_own() || (!score && !last && j->r.step % set->log_every)) return;
    const double tflop = run_flops(set, j->flops, j->r.step) * 1e-12;
    const double mean = j->r.loss_sum / (double)j->r.loss_steps;
    char scored[24] = "";
    if (score) snprintf(scored, sizeof scored, "%.6g", score_now(j));
    if (!set->brief) print_metrics(j, p, s, mean, tflop, scored);
    const run_log_row row = {j->r.step, mean, s->norm, s->rate, tflop,
                             before + data_seconds() - p->begun, scored};
    if (!run_log_add(&j->log, set, &row)) cli_fail(1, "out of memory for the log");
    j->r.loss_sum = 0;
    j->r.loss_steps = 0;
    if (!score) return;
    const double value = strtod(scored, NULL);         /* as the log has it */
    if (j->scoring == SCORES_TEXT) snprintf(said, size, "held-out loss %.4f", value);
    else snprintf(said, size, "accuracy %.1f %%", 100 * value);
    keep_best(j, value);
}

static void train(job *j) {
    const run_settings *set = &j->r.set;
    const uint64_t first = j->r.step;
    progress_style style = set->quiet ? PROGRESS_QUIET : PROGRESS_VERBOSE;
    if (set->brief) style = PROGRESS_BRIEF;
    const double before = run_log_begin(&j->c, &j->log, set->out, first, j->task.kind == TASK_TEXT,
                                        note_old_score, j);
    if (before < 0) cli_fail(1, "out of memory for the log");
    progress p = progress_begin(style, set->out, first, set->steps);
    check_ranks(j);
    if (!first) checkpoint(j);             /* a full disk shows now, not after an hour */
    size_t stage = run_stage(&j->r);
    while (j->r.step < set->steps && !(j->stopped = ranks_any(stopped))) {
        char said[40];
        if (run_stage_of(set, j->r.step) != stage && set->reset_optimizer)
            forget_moments(&j->adamw);
        stage = run_stage_of(set, j->r.step);
        const step_result s = train_step(j);
        report_step(j, &p, &s, before, said, sizeof said);
        progress_step(&p, j->r.step, s.loss, said);
        if (j->r.step % set->save_every == 0 && j->r.step < set->steps) checkpoint(j);
    }
    if (style == PROGRESS_VERBOSE || j->stopped) progress_clear(&p);
    checkpoint(j);
}

/* ---- How long it will take: --dry-run -------------------------------------------------------- */

/* The next step, of which nothing is kept. Returns its seconds. */
static double try_step(job *j) {
    const double begun = data_seconds();
    train_step(j);
    j->r.step--;
    return data_seconds() - begun;
}

/* Seconds of one FLOP. A short step is done again and again, without the first, which also touches
 * the memory. */
static double time_step(job *j) {
    const double enough = 0.3;
    double took = try_step(j);
    size_t done = 1;
    if (took < enough) {
        took = 0;
        done = 0;
    }
    while (ranks_any(took < enough)) {
        took += try_step(j);
        done++;
    }
    return took / ((double)done * j->flops[run_stage_of(&j->r.set, j->r.step)]);
}

/* Seconds of one scoring, from a part of it. */
static double time_scoring(job *j) {
    const size_t all = j->n_test, some = all < PROMPTS_MAX ? all : PROMPTS_MAX;
    const double begun = data_seconds();
    j->n_test = some;
    if (j->test) score_problems(j, GREEDY);
    else score_now(j);
    j->n_test = all;
    return (data_seconds() - begun) * (double)all / (double)some;
}

static void print_duration(job *j) {
    const run_settings *set = &j->r.set;
    const uint64_t first = j->r.step, left = set->steps - first;
    size_t scorings = run_is_lm(set) && j->test && j->n_test;     /* its gate */
    char in_all[16], work[16];
    for (size_t i = 1; j->scoring != SCORES_NOTHING && i <= set->score_points; i++)
        if (run_score_step(set, i) > run_score_step(set, i - 1))
            scorings += run_score_step(set, i) > first;
    const double flops = run_flops(set, j->flops, set->steps) - run_flops(set, j->flops, first);
    const double each = left ? time_step(j) * flops / (double)left : 0;
    const double scoring = scorings ? time_scoring(j) : 0;
    run_duration(each * (double)left + scoring * (double)scorings, in_all, sizeof in_all);
    printf("time        about %s: %llu steps of %.3g s", in_all, (unsigned long long)left, each);
    run_human(flops, work, sizeof work);
    if (left) printf(" (%sFLOP, %.3g GFLOP/s)", work, 1e-9 * flops / (each * (double)left));
    if (scorings) printf(", %zu scoring%s of %.3g s", scorings, scorings > 1 ? "s" : "", scoring);
    printf("\n");
}

/* ---- The gate of a Base: header.c ------------------------------------------------------------ */

static void print_gate(job *j) {
    if (!run_is_lm(&j->r.set) || !j->test || ranks_own()) return;
    const shares sampled = score_problems(j, SAMPLED);
    const double by_chance = run_gate_floor(j->test, j->n_test);
    note n = {0, ""};
    char path[RUN_PATH + 16];
    run_gate(j->r.set.solved, j->n_test, sampled.right, sampled.each_once, by_chance, &n);
    fputs(n.text, stdout);
    snprintf(path, sizeof path, "%s/gate.txt", j->r.set.out);
    if (!dual_text_save(&j->c, path, n.text, n.used)) cli_fail(1, "%s", j->c.error);
    cli_flush();
}

/* A frozen Base that did not pass its gate is used, but not without a word. */
static void warn_of_gate(const run_settings *set) {
    dual_ctx c;
    size_t n;
    const char *folder = *set->base ? set->base : set->from;
    char path[RUN_PATH + 16];
    if (!*folder) return;
    dual_init(&c, NULL, 0);
    snprintf(path, sizeof path, "%s/gate.txt", folder);
    char *text = dual_text_read(&c, path, &n);
    const char *said = text && !strncmp(text, "gate: ", 6) ? text + 6 : text;
    if (text && strstr(text, "NOT passed"))
        fprintf(stderr, "train: warning: the Base in %s failed its gate: %.*s\n", folder,
                (int)strcspn(said, "\n"), said);
    free(text);
    dual_done(&c);
}

static void warn_of_gain(job *j) {
    const run_settings *set = &j->r.set;
    run_settings begun;
    if (*set->from && run_load_settings(&j->c, set->from, &begun) && strcmp(begun.gain, set->gain))
        fprintf(stderr, "train: warning: %s has --latent-gain %s, this run %s\n", set->from,
                begun.gain, set->gain);
}

/* ---- From the command line to the first step ------------------------------------------------- */

/* Nothing is changed in a folder that another process trains into. */
static void hold_folder(const char *folder) {
    dual_ctx c;
    if (ranks_own()) return;
    dual_init(&c, NULL, 0);
    if (!run_lock(&c, folder)) cli_fail(1, "%s", c.error);
    if (*c.error) fprintf(stderr, "train: warning: %s\n", c.error);
}

/* Whether the folder holds a run, and whether it may be gone on with. */
static void check_folder(job *j) {
    run_settings *set = &j->r.set;
    if (!*set->out) return;
    if (!set->dry_run && !set->describe) hold_folder(set->out);
    if (run_exists(set->out)) {
        if (set->resume) take_saved_settings(j);
        else if (!set->dry_run)
            cli_fail(2, "%s holds a run already: --resume goes on with it, another --out starts "
                     "anew", set->out);
        return;
    }
    if (data_has(set->out, "state.safetensors") || data_has(set->out, "base/config.json"))
        cli_fail(1, "%s holds a run without its run.json: nothing was changed, choose another "
                 "--out", set->out);
}

/* The same command starts a run and goes on with it: --resume without a run starts one, if the
 * command says what. */
static void allow_resume_to_start(job *j) {
    run_settings *set = &j->r.set;
    int told = 0;
    if (!set->resume || (*set->out && run_exists(set->out))) return;
    for (const option *o = RUN_OPTIONS; o->name; o++)
        if (o->saved != UNSAVED && was_given(j, o)) told = 1;
    if (!told) cli_fail(2, "--resume: there is no run in \"%s\"", set->out);
    set->resume = 0;
}

static void read_command_line(job *j, int argc, char **argv) {
    const char *rest[1];
    size_t n_rest;
    char error[400];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            printf("usage: ./train --out DIR [options]\nTrains a Base (--objective lm), or a "
                   "system on the task, and keeps it in DIR. --version: of this program.\n");
            options_help(RUN_OPTIONS);
        } else if (!strcmp(argv[i], "--version")) cli_print_version();
        else continue;
        cli_flush();
        exit(0);
    }
    options_defaults(RUN_OPTIONS, &j->r.set);
    if (!options_parse(RUN_OPTIONS, &j->r.set, argc, argv, rest, &n_rest, 0, j->given, error,
                       sizeof error))
        cli_fail(2, "%s", error);
    check_folder(j);
    allow_resume_to_start(j);
    check_options(j);
}

static void describe(job *j) {
    static note out, left_out;
    char error[300];
    if (!run_describe_rows(&j->r.set, &j->task, &out, &left_out, error, sizeof error))
        cli_refuse(error);
    fputs(left_out.text, stderr);
    fputs(out.text, stdout);
    cli_flush();
    run_task_close(&j->task);
}

/* Models, soft tokens and optimiser: new, from other folders, or as the run left them. */
static void fill_run(job *j) {
    const run_settings *set = &j->r.set;
    char folder[RUN_PATH + 8];
    if (!run_build(&j->c, &j->r)) cli_fail(2, "%s", j->c.error);
    if (!goes_on(set)) {               /* else run_load below fills everything */
        base_folder(set, folder, sizeof folder);
        if (!*folder) dual_model_init(j->r.base, dual_rng_seed(set->seed, 0xBA5E));
        else if (!models_load(&j->c, j->r.base, folder)) cli_fail(1, "%s", j->c.error);
        dual_exchange_init(&j->r.exchange, set->seed);
        if (*set->from && !run_load_latents(&j->c, &j->r, set->from))
            cli_fail(1, "--from: %s", j->c.error);
    }
    dual_exchange_train(&j->c, &j->r.exchange);
    dual_adamw_new(&j->c, &j->adamw, &j->r.exchange);
    j->adamw.decay = set->decay;
    j->adamw.clip = set->clip;
    if (goes_on(set) && !run_load(&j->c, &j->r, set->out, &j->adamw))
        cli_fail(1, "%s; nothing was changed", j->c.error);
    /* No state and no row in the log: stopped before checkpoint 0, so begin again. */
    if (set->resume && !goes_on(set) && run_log_has_rows(&j->c, set->out))
        cli_fail(1, "%s/state.safetensors is gone, so it cannot go on; nothing was changed",
                 set->out);
}

/* The header: on stderr, and in OUT/train.txt as it was when the run began. */
static void print_header(job *j) {
    const run_settings *set = &j->r.set;
    static note header;
    char error[300], path[RUN_PATH + 16];
    const int show = !set->quiet && (!set->brief || set->dry_run);
    const int keep = !set->dry_run && !goes_on(set) && !ranks_own();
    if (!show && !keep) return;
    run_memory_report(&j->r, &j->memory, &header);
    const size_t memory = header.used; /* which stands on stderr already */
    if (!run_header(&j->c, &j->r, &j->task, j->flops, j->scoring, &header, error, sizeof error))
        cli_fail(1, "%s", error);
    if (show) fputs(header.text + memory, stderr);
    if (!keep) return;
    snprintf(path, sizeof path, "%s/train.txt", set->out);
    if (!dual_text_save(&j->c, path, header.text, header.used)) cli_fail(1, "%s", j->c.error);
}

static void open_folder(job *j) {
    const run_settings *set = &j->r.set;
    char error[300];
    ranks_any(0);                      /* until now all read what there is, and refuse alike */
    if (ranks_own()) return;
    if (!data_make_folder(set->out)) cli_fail(1, "%s: this folder cannot be made", set->out);
    hold_folder(set->out);             /* one that was new until now */
    if (!set->resume && run_exists(set->out))
        cli_fail(1, "%s: another run was begun in it meanwhile; choose another --out", set->out);
    if (!run_save_settings(&j->c, set)) cli_fail(1, "%s", j->c.error);
    if (!tokenizer_save(j->task.tokens, set->out, error, sizeof error)) cli_fail(1, "%s", error);
}

/* A signal that was ignored when the program began stays ignored (nohup, trap ''). */
static void catch_signal(int number) {
    if (signal(number, SIG_IGN) != SIG_IGN) signal(number, on_signal);
}

static void close_job(job *j) {
    examples_free(j->test, j->n_test);
    if (*j->r.set.valid) free(j->held_out.at);
    run_task_close(&j->task);
    free(j->log.text);
    free(j->block);
}

int main(int argc, char **argv) {
    static job j;
    const run_settings *set = &j.r.set;
    cli_program = "train";
    run_hold_streams();
    run_spin_briefly(argv);
    ranks_begin(&argc, &argv);
    j.best = NAN;
    read_command_line(&j, argc, argv);
    settle(&j);
    dual_threads((int)set->threads);
    if (set->describe) {
        describe(&j);
        return 0;
    }
    open_scored(&j);
    take_memory(&j);
    fill_run(&j);
    if (set->resume && j.r.step >= set->steps && !set->dry_run) {
        fprintf(stderr, "train: %s is finished (%zu steps)\n", set->out, set->steps);
        print_gate(&j);
        return 0;
    }
    if (!j.r.system.base_trained) warn_of_gate(set);
    warn_of_gain(&j);
    if (!set->dry_run) open_folder(&j);
    print_header(&j);
    if (set->dry_run) {
        print_duration(&j);
        return 0;
    }
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
#ifdef SIGHUP
    catch_signal(SIGHUP);
#endif
    train(&j);
    if (j.stopped) {
        fprintf(stderr, "train: stopped at step %llu of %zu, saved; go on with: ./train --resume "
                "--out %s\n", (unsigned long long)j.r.step, set->steps, set->out);
        return 130;
    }
    print_gate(&j);
    close_job(&j);
    return 0;
}
