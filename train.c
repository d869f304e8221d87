/* train.c: trains a Base on text (--objective lm), a system on text with M groups of latents in
 * each sequence (pretrain), or a system on a task's questions and answers (answer).
 *
 *     ./train --objective lm --out runs/base
 *     ./train --system h2 --base runs/base --latents 8 --out runs/h2
 *
 * Owns the command line, the loop, checkpoints and what is printed: results on stdout, the rest on
 * stderr. No arithmetic beyond norms for the eye: that is dual.c. Exit 2: usage, 1: the run failed,
 * 130: stopped by Ctrl-C after saving. */
#include "data/files/files.h"
#include "data/runs/run.h"
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 128 };
static volatile sig_atomic_t stopped;      /* the one thing a signal handler may touch */

static void on_signal(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static void fail(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "train: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(status);
}

/* Everything of one invocation. */
typedef struct {
    run r;
    run_task task;
    dual_ctx c;
    dual_adamw adamw;
    example *test;                         /* scored at equal shares of the steps: problems, */
    size_t n_test;                         /* or sequences of */
    token_block held_out;                  /* text, from held_first on */
    size_t held_first;
    double flops[RUN_STAGES + 2];          /* of a step in each stage */
    double best;                           /* --keep-best: the best score yet, of the stage */
    size_t best_stage;
    int scored;
    char *log;                             /* log.csv as it stands, rewritten at every checkpoint */
    size_t log_length, log_room;
    unsigned char given[OPTIONS_MAX];      /* which options stood on the command line */
} job;

/* A fatal error of the library is a failed run like any other. */
static void stop(const char *message) { fail(1, "%s", message); }

/* ---- Settings --------------------------------------------------------------------------------
 * A resumed run takes every option that moves a number from its run.json; giving one again is fine
 * as long as it says the same. */

static void take_saved_settings(run_settings *set, const unsigned char *given) {
    dual_ctx c;
    run_settings saved;
    char now[RUN_PATH], then[RUN_PATH];
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    if (!run_load_settings(&c, set->out, &saved)) fail(1, "%s", c.error);
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!*o->name || !o->saved) continue;
        option_print(o, set, now, sizeof now);
        option_print(o, &saved, then, sizeof then);
        if (given[o - RUN_OPTIONS]) {
            /* 0 may stand for what was worked out when the run began; so may --match-flops */
            const int derived = (!strcmp(now, "0") && !strcmp(o->otherwise, "0")) ||
                                (!strcmp(o->name, "steps") && *saved.match_flops);
            if (o->saved == 2) continue;
            if (strcmp(now, then) && !derived)
                fail(2, "--resume: %s was begun with --%s %s, not %s; choose another --out to "
                     "change it", set->out, o->name, *then ? then : "\"\"", now);
        }
        char ignored[80];
        option_set(o, set, then, ignored, sizeof ignored);
    }
    dual_done(&c);
}

/* A single model whose parameters come nearest the Base's and Coprocessor's together: same layers
 * and head width, more heads (system `wide`). */
static void widen(dual_ctx *c, run_settings *set, dual_config *shape) {
    char folder[RUN_PATH + 8];
    dual_config base, best;
    double wanted, nearest = HUGE_VAL;
    snprintf(folder, sizeof folder, "%s/base", set->wide_of);
    if (!dual_config_read(c, folder, &base)) fail(1, "--wide-of: %s", c->error);
    wanted = 2.0 * (double)dual_model_params(dual_model_new(c, &base));
    best = base;
    for (size_t times = 1; times <= 4 * base.heads; times++) {
        dual_config f = base;
        const size_t group = base.heads / base.kv_heads;
        f.heads = base.heads + times * group;
        f.kv_heads = f.heads / group;
        f.hidden = base.hidden * f.heads / base.heads;
        f.mlp = base.mlp * f.heads / base.heads;
        if (base.hidden * f.heads % base.heads || base.mlp * f.heads % base.heads) continue;
        const double off = fabs((double)dual_model_params(dual_model_new(c, &f)) - wanted);
        if (off < nearest) {
            nearest = off;
            best = f;
        }
    }
    *shape = best;
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

/* The Base's shape, from --base, --init, --wide-of or the size options; settings follow it. */
static void find_shape(job *j) {
    run_settings *set = &j->r.set;
    dual_config *f = &j->r.shape;
    dual_ctx c;
    char folder[RUN_PATH + 8];
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    if (!!*set->base + !!*set->from + !!*set->init + !!*set->wide_of > 1)
        fail(2, "--base, --from, --init and --wide-of: one of them");
    base_folder(set, folder, sizeof folder);
    if (*folder) {
        if (!dual_config_read(&c, folder, f) || !run_find_type(&c, &j->r, folder))
            fail(1, "%s", c.error);
    } else if (*set->wide_of) {
        widen(&c, set, f);
    } else {
        const int qwen = !strcmp(set->arch, "qwen3");
        if (!qwen && strcmp(set->arch, "gpt2")) fail(2, "--arch: gpt2 or qwen3, not %s", set->arch);
        if (!set->heads) fail(2, "--heads must be above 0");
        f->family = qwen ? DUAL_QWEN3 : DUAL_GPT2;
        f->tied = 1;
        f->vocab = tokenizer_size(j->task.tokens);
        f->positions = set->context;
        f->layers = set->layers;
        f->hidden = set->width;
        f->heads = set->heads;
        f->kv_heads = !qwen ? set->heads : set->kv_heads ? set->kv_heads : (set->heads + 1) / 2;
        f->head_dim = qwen && set->head_dim ? set->head_dim : set->width / set->heads;
        f->mlp = set->mlp ? set->mlp : (qwen ? 3 : 4) * set->width;
        f->norm_eps = qwen ? 1e-6 : 1e-5;
        f->rope_theta = 1e6;
        if (!dual_config_check(&c, f)) fail(2, "%s", c.error);
    }
    if (f->vocab < tokenizer_size(j->task.tokens))
        fail(1, "the Base knows %zu tokens, the task needs %zu: it was not made for it", f->vocab,
             tokenizer_size(j->task.tokens));
    if (*set->init && !*set->tokenizer && !bpe_in(set->init) && !data_has(set->init, "vocab.txt"))
        fprintf(stderr, "train: warning: %s has no tokenizer.json (nor vocab.json and merges.txt): "
                "its ids are taken for %s\n", set->init, run_tokenizer_name(&j->task));
    const run_settings asked = *set;
    snprintf(set->arch, sizeof set->arch, f->family == DUAL_QWEN3 ? "qwen3" : "gpt2");
    set->layers = f->layers;
    set->width = f->hidden;
    set->heads = f->heads;
    set->kv_heads = f->kv_heads;
    set->head_dim = f->head_dim;
    set->mlp = f->mlp;
    set->context = f->positions;
    for (const option *o = RUN_OPTIONS; o->name; o++) { /* a size that was asked for must hold */
        char want[RUN_PATH], is[RUN_PATH];
        if (!*o->name || !j->given[o - RUN_OPTIONS]) continue;
        option_print(o, &asked, want, sizeof want);
        option_print(o, set, is, sizeof is);
        if (strcmp(want, is) && strcmp(want, "0"))
            fail(2, "--%s %s: the Base has %s", o->name, want, is);
    }
    dual_done(&c);
}

/* `wide` is a control by its size: any other Base would make it `soft` under another name. */
static void check_wide(const run_settings *set) {
    dual_ctx c;
    run_settings base;
    dual_init(&c, NULL, 0);
    if (!*set->wide_of && !(*set->base && run_load_settings(&c, set->base, &base) &&
                            *base.wide_of))
        fail(2, "wide wants a Base of its size: ./train --objective lm --wide-of RUN --out WIDE, "
             "then --base WIDE");
    dual_done(&c);
}

/* Options that would do nothing: an experiment must not be named after them. */
static void check_effect(const run_settings *set, const unsigned char *given) {
    static const struct { const char *names, *wants; } only[] = {
        {" stages stage-steps stage-epochs latents-per-stage uniform-stage reset-optimizer ",
         "--steps-shown curriculum"},
        {" groups ahead ", "--objective pretrain"},
        {" sequence held-out ", "--task text, or --objective pretrain"},
    };
    const int holds[] = {!run_on_text(set) && !strcmp(set->steps_shown, "curriculum"),
                         run_is_pretrain(set), run_is_pretrain(set) || !strcmp(set->task, "text")};
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        char word[40];
        snprintf(word, sizeof word, " %s ", o->name);
        if (!*o->name || !given[o - RUN_OPTIONS]) continue;
        for (size_t i = 0; i < sizeof only / sizeof *only; i++)
            if (strstr(only[i].names, word) && !holds[i])
                fail(2, "--%s is for %s: here it would do nothing", o->name, only[i].wants);
    }
    if (set->stage_steps && set->stage_epochs > 0 && !set->resume)
        fail(2, "--stage-steps and --stage-epochs: one of them");
}

/* What each objective and task can do, and what of it makes no sense together. */
static void check_objective(const run_settings *set, const dual_system *y) {
    const int lm = run_is_lm(set), pretrain = run_is_pretrain(set);
    const int text = !strcmp(set->task, "text"), countdown = !strcmp(set->task, "countdown");
    if (!lm && !pretrain && strcmp(set->objective, "answer"))
        fail(2, "--objective: answer, lm or pretrain, not %s", set->objective);
    if (lm && (y->inject != DUAL_NONE || !y->base_trained))
        fail(2, "--objective lm trains a Base: leave --system at none");
    if ((lm || pretrain) && !text && !countdown)
        fail(2, "--objective %s is for --task text, or for the text that --task countdown makes",
             set->objective);
    if ((lm || pretrain) && countdown && *set->data)
        fail(2, "--data holds problems with answers; --objective %s makes its own text",
             set->objective);
    if (text && !*set->data) fail(2, "--task text wants --data, a file or a folder");
    if (text && !lm && !pretrain)
        fail(2, "--task text has no questions: --objective lm or pretrain");
    if (!strcmp(set->task, "gsm8k") && !*set->data)
        fail(2, "--task gsm8k wants --data: a file of its rows");
    if (y->inject == DUAL_NONE && !y->base_trained)
        fail(2, "no latents and a frozen Base: nothing would be trained");
    const int real = !strcmp(set->base_stored, "real");
    if (!real && strcmp(set->base_stored, "file") && strcmp(set->base_stored, "bf16"))
        fail(2, "--base-stored: real, file or bf16, not %s", set->base_stored);
    if (!real && y->base_trained)
        fail(2, "--base-stored %s: weights of 16 bits cannot be trained; it is for a frozen Base "
             "(liu, h1, prompt)", set->base_stored);
    if (strcmp(set->broken, "fatal") && strcmp(set->broken, "skip"))
        fail(2, "--broken: fatal or skip, not %s", set->broken);
    if (strcmp(set->schedule, "cosine") && strcmp(set->schedule, "constant"))
        fail(2, "--schedule: cosine or constant, not %s", set->schedule);
    if (strcmp(set->steps_shown, "none") && strcmp(set->steps_shown, "all") &&
        strcmp(set->steps_shown, "curriculum"))
        fail(2, "--steps-shown: none, all or curriculum, not %s", set->steps_shown);
    if (set->warmup > 1 || set->facts > 1 || set->uniform_stage > 1 || set->held_out > 0.9)
        fail(2, "--warmup, --facts and --uniform-stage are shares: 0 to 1, --held-out 0 to 0.9");
    if (*set->from && y->inject == DUAL_NONE && !lm)
        fail(2, "--from takes Coprocessor and soft tokens too; --system none has neither: --base");
    if (set->stages > RUN_STAGES) fail(2, "--stages: at most %d", RUN_STAGES);
    if (set->score_points > 1000) fail(2, "--score-points: at most 1000");
    if (!set->batch || set->context < 2)
        fail(2, "--batch must be above 0, --context above 1");
    if (!set->log_every || !set->save_every)
        fail(2, "--log-every and --save-every must be above 0");
}

/* How many steps a stage has, once the rows are read and the steps known. */
static void settle_stages(run_settings *set, const run_task *t) {
    if (strcmp(set->steps_shown, "curriculum")) return;
    if (set->stage_epochs > 0) {
        if (!t->n_rows) fail(2, "--stage-epochs: epochs are of --data; use --stage-steps");
        set->stage_steps = (size_t)ceil(set->stage_epochs * (double)t->n_rows /
                                        (double)set->batch);
    }
    if (!set->stage_steps) set->stage_steps = set->steps / (set->stages + 2);
    if (!set->stage_steps)
        fail(2, "--stages %zu: %zu steps are too few for %zu stages", set->stages, set->steps,
             set->stages + 2);
    if (set->steps <= set->stage_steps * (set->stages + 1))
        fprintf(stderr, "train: warning: %zu steps end before the last stage, which begins at step "
                "%zu: the steps are never all left out\n", set->steps,
                set->stage_steps * (set->stages + 1));
}

/* M and the sequence's length, once the Base's positions are known. */
static void settle_groups(run_settings *set, const dual_system *y) {
    if (!run_is_pretrain(set)) return;
    if (!set->ahead) fail(2, "--ahead must be above 0");
    const size_t slots = dual_latent_positions(y), n = set->sequence = run_sequence(set);
    if (n + slots > set->context || n < set->ahead + 2)
        fail(2, "a sequence of %zu with %zu latents and %zu tokens ahead does not fit a context of "
             "%zu", n, slots, set->ahead, set->context);
    if (!set->groups) set->groups = n / set->ahead;
    if (set->groups > n - 1 - set->ahead)
        fail(2, "--groups: %zu places, a sequence of %zu has %zu", set->groups, n,
             n - 1 - set->ahead);
}

static void check_settings(job *j) {
    run_settings *set = &j->r.set;
    char error[300];
    const int lm = run_is_lm(set);
    if (!*set->out && !set->describe) fail(2, "--out DIR is wanted: where the run is kept");
    if (!run_system(set, &j->r.system, error, sizeof error)) fail(2, "%s", error);
    if (!set->describe) check_objective(set, &j->r.system);
    if (!set->describe) check_effect(set, j->given);
    if (*set->match_flops && set->steps && !set->resume)
        fail(2, "--steps and --match-flops: one of them");
    if (!set->steps) set->steps = lm ? 800 : 600;
    if (!run_task_open(set, goes_on(set) ? set->out : NULL, !set->describe, &j->task, error,
                       sizeof error))
        fail(*error == '-' ? 2 : 1, "%s", error);  /* an option is at fault, or a file */
    if (set->describe) return;
    if (!set->stages && !strcmp(set->steps_shown, "curriculum"))
        set->stages = j->task.kind == TASK_COUNTDOWN ? (size_t)j->task.countdown.count_max - 1
                                                     : task_stages(j->task.kind);
    run_system(set, &j->r.system, error, sizeof error);        /* its latents follow the stages */
    find_shape(j);
    if (!run_fit_rows(set, &j->task, run_room(set, &j->r.system), error, sizeof error))
        fail(1, "%s", error);
    fputs(j->task.report, stderr);
    set->max_new = run_max_new(set, &j->task);
    if (!strcmp(j->r.system.name, "wide")) check_wide(set);
    if (!j->r.system.base_trained && !*set->base && !*set->from && !*set->init)
        fail(2, "%s trains nothing of the Base, and a Base of random weights knows nothing. %s%s",
             j->r.system.name, j->task.kind == TASK_COUNTDOWN
             ? "Make one first:\n  ./train --objective lm --out runs/base\nthen add "
             : "Give it one that has learned: --init FOLDER, or a run on this task or on text: ",
             "--base RUN");
    if (!lm && !*set->base && !*set->from && !*set->init && !set->quiet)
        fprintf(stderr, "train: warning: the Base starts from random weights; --base RUN gives it "
                "one that has learned\n");
    if (!(set->rate > 0)) set->rate = run_default_rate(lm, set->width);
    settle_groups(set, &j->r.system);
    settle_stages(set, &j->task);
    run_stage_flops(&j->r, &j->task, j->flops);
    if (*set->match_flops && !set->resume) {
        double flops[RUN_STAGES + 2];
        dual_ctx c;
        run other;
        run_task task;
        dual_init(&c, NULL, 0);
        c.fatal = stop;
        if (!run_open(&c, set->match_flops, &other)) fail(1, "--match-flops: %s", c.error);
        if (!run_task_open(&other.set, set->match_flops, 1, &task, error, sizeof error) ||
            !run_fit_rows(&other.set, &task, run_room(&other.set, &other.system), error,
                          sizeof error))
            fail(1, "%s", error);
        if (j->r.set.stage_steps && run_stage_of(set, UINT64_MAX))
            fail(2, "--match-flops: not with a curriculum, whose steps differ in cost");
        run_stage_flops(&other, &task, flops);
        set->steps = (size_t)(run_flops(&other.set, flops, other.set.steps) / j->flops[0] + 0.5);
        if (!set->steps) fail(2, "--match-flops: less than one step of this system costs as much");
        run_task_close(&task);
        dual_done(&c);
    }
}

/* ---- What is scored while training -----------------------------------------------------------
 * Test problems at equal shares of the steps, as a curve to look at; with --keep-best or --valid
 * validation problems instead, since what chooses a state must not be what it is judged by. Text:
 * the loss on sequences that were held out. */

static void open_scored(job *j) {
    run_settings *set = &j->r.set;
    char error[300], report[1200];
    const int valid = set->keep_best || *set->valid;
    const int countdown = j->task.kind == TASK_COUNTDOWN;
    if (set->keep_best && !set->score_points)
        fail(2, "--keep-best: --score-points 0 leaves nothing to judge a state by");
    if (!set->score_points && !(run_is_lm(set) && countdown)) return;
    if (j->task.kind == TASK_TEXT) {
        j->held_out = j->task.ids;
        j->held_first = j->task.n_train;
        *report = 0;
        if (*set->valid && !run_text_open(set, &j->task, set->valid, 0, &j->held_out,
                                          &j->held_first, report, sizeof report, error,
                                          sizeof error))
            fail(1, "%s", error);
        fputs(report, stderr);
        const size_t windows = (j->held_out.used - j->held_first) / run_sequence(set);
        j->n_test = windows < set->score_count ? windows : set->score_count;
        if (set->keep_best && !j->n_test)
            fail(2, "--keep-best: less than one sequence of text is held out; more with "
                 "--held-out");
    } else if ((j->task.generated || *set->valid) && !run_is_pretrain(set)) {
        j->n_test = set->score_count;
        j->test = run_test_set(set, &j->task, set->stages + 1,
                               valid ? COUNTDOWN_VALID : COUNTDOWN_TEST, set->valid, &j->n_test,
                               report, sizeof report, error, sizeof error);
        if (!j->test || (*set->valid && !run_fit_examples(set, set->valid, j->test, &j->n_test,
                                                          j->task.room, report, sizeof report,
                                                          error, sizeof error)))
            fail(1, "%s", error);
        fputs(report, stderr);
    } else if (set->keep_best && !run_on_text(set))
        fail(2, "--keep-best wants --valid, a file to judge by");
    j->scored = j->n_test > 0 && set->score_points > 0 && !(run_on_text(set) && countdown);
    if (set->keep_best && !j->scored)
        fail(2, "--keep-best: nothing is scored in this run that a state could be judged by");
}

/* ---- Memory: counted by running the very code, printed before it is taken -------------------- */

static void megabytes(const char *what, size_t bytes) {
    fprintf(stderr, "  %-34s %10.2f MiB\n", what, (double)bytes / 1048576);
}

/* More than --memory, or than the machine has, is refused with what would help most. */
static void refuse_too_much(const run *r, const size_t at[4], size_t step) {
    const double has = r->set.memory > 0 ? r->set.memory * 1073741824.0 : run_machine_memory();
    if (!(has > 0) || (double)at[3] <= has) return;
    fail(1, "it takes %.2f GiB and %s %.2f: %s", (double)at[3] / 1073741824.0,
         r->set.memory > 0 ? "--memory says" : "the machine has", has / 1073741824.0,
         step - at[2] > at[3] / 2
             ? r->set.recompute ? "most of it is the tape, which a smaller --batch (or --groups, "
                                  "--sequence) makes smaller in proportion"
                                : "most of it is the tape, which --recompute halves or better and "
                                  "a smaller --batch (or --groups, --sequence) makes smaller"
         : at[3] - step > at[3] / 2 ? "most of it is for scoring: a smaller --max-new"
         : r->system.base_trained ? "most of it is parameters with gradients and moments: a frozen "
                                    "Base (liu, h1, prompt) or a smaller model takes less"
         : "most of it is parameters: a smaller model takes less, or a Base in 16 bits "
           "(--base-stored)");
}

/* Counts one step on the longest batch and one round of scoring; prints the table. */
static size_t count_memory(const job *j) {
    dual_ctx c;
    run copy = j->r;
    run_batch b;
    dual_outcome out;
    dual_adamw adamw;
    size_t at[4], step;
    char error[300];
    dual_init(&c, NULL, 0);
    c.fatal = stop;
    c.recompute = j->r.set.recompute;
    if (!run_build(&c, &copy)) fail(2, "%s", c.error);
    at[0] = c.used;
    dual_exchange_train(&c, &copy.exchange);
    at[1] = c.used;
    dual_adamw_new(&c, &adamw, &copy.exchange);
    at[2] = c.used;
    if (!run_batch_longest(&j->r.set, &j->task, &b, error, sizeof error)) fail(1, "%s", error);
    if (!dual_batch_check(&c, &copy.exchange, &b.batch)) fail(2, "%s", c.error);
    dual_mark m = dual_mark_here(&c);
    dual_run(&c, &copy.exchange, &b.batch, &out);
    dual_backward(&c, out.loss);
    step = c.peak;
    dual_release(&c, m);
    run_batch_free(&b);
    dual_control right = {DUAL_RIGHT, 0, 0};
    if (j->test)
        run_score(&c, &copy.exchange, &j->task, j->test, j->n_test, right, 0, 1,
                  run_max_new(&j->r.set, &j->task), NULL, NULL);
    else if (j->n_test)
        run_text_loss(&c, &copy.exchange, &j->r.set, &j->held_out, j->held_first, 1);
    at[3] = c.peak;
    if (!j->r.set.quiet) {
        fprintf(stderr, "memory\n");
        megabytes(j->r.base_type == DUAL_FULL ? "parameters" : "parameters (Base in 16 bits)",
                  at[0]);
        megabytes("gradients of what is trained", at[1] - at[0]);
        megabytes("AdamW moments", at[2] - at[1]);
        megabytes(j->r.set.recompute ? "tape of one step, recomputing"
                                     : "tape of one step, longest batch", step - at[2]);
        megabytes("more for scoring (decoding)", at[3] - step);
        megabytes("in all", at[3]);
    }
    dual_done(&c);
    refuse_too_much(&j->r, at, step);
    return at[3];
}

/* ---- Header ---------------------------------------------------------------------------------- */

static double mean_norm(const dual_tensor *t) {
    double sum = 0;
    for (size_t r = 0; t && r < t->rows; r++) {
        double square = 0;
        for (size_t k = 0; k < t->cols; k++) {
            const double x = (double)dual_number(t, r * t->stride + k);
            square += x * x;
        }
        sum += sqrt(square) / (double)t->rows;
    }
    return sum;
}

/* What is learnt from, and how the steps are shown. */
static void print_task(const job *j) {
    const run_settings *set = &j->r.set;
    const run_task *t = &j->task;
    char rows[RUN_PATH + 60] = "generated";
    if (*set->data && t->kind == TASK_TEXT)
        snprintf(rows, sizeof rows, "%zu of %zu tokens of %s", t->n_train, t->ids.used, set->data);
    else if (*set->data) snprintf(rows, sizeof rows, "%zu rows of %s", t->n_rows, set->data);
    fprintf(stderr, "task        %s, %s; %s, %zu tokens\n", set->task, rows,
            run_tokenizer_name(t), tokenizer_size(t->tokens));
    if (run_on_text(set) || !strcmp(set->steps_shown, "none")) return;
    fprintf(stderr, "steps       %s", set->steps_shown);
    if (!strcmp(set->steps_shown, "curriculum"))
        fprintf(stderr, ": %zu steps in each stage, 0..%zu steps dropped, then all; %zu latents "
                "%s; a stage is drawn with probability %g%s", set->stage_steps, set->stages,
                set->latents_per_stage ? set->latents_per_stage : j->r.system.latents,
                set->latents_per_stage ? "more in each" : "in every stage", set->uniform_stage,
                set->reset_optimizer ? "; AdamW starts anew at each" : "");
    fprintf(stderr, "\n");
}

static void print_header(job *j) {
    const run *r = &j->r;
    const dual_system *s = &r->system;
    const dual_config *f = &r->shape;
    char what[400], flops[16], trained[16], all[16], cop[16] = "-", error[300];
    run_batch b;
    dual_outcome out;
    run_describe_system(s, what, sizeof what);
    run_human(j->flops[run_stage_of(&r->set, r->set.steps)], flops, sizeof flops);
    run_human((double)dual_exchange_trained(&j->r.exchange), trained, sizeof trained);
    run_human((double)dual_model_params(r->base), all, sizeof all);
    if (r->coprocessor) run_human((double)dual_model_params(r->coprocessor), cop, sizeof cop);
    if (!run_batch_make(&r->set, &j->task, 0, &b, error, sizeof error)) fail(1, "%s", error);
    const dual_mark m = dual_mark_here(&j->c);
    j->c.inference = 1;
    dual_exchange e = run_exchange(&j->c, r, run_latents_of(&r->set, s, b.stage));
    dual_run(&j->c, &e, &b.batch, &out);
    j->c.inference = 0;
    print_task(j);
    const dual_group *g = &b.group[0];
    fprintf(stderr, "system      %s\n", what);
    fprintf(stderr, "Base        %s, %zu layers, width %zu, %zu heads, %zu positions, %s "
            "parameters, %s, stored as %s\n", r->set.arch, f->layers, f->hidden, f->heads,
            f->positions, all, s->base_trained ? "trained" : "frozen",
            run_type_name(r->base_type));
    fprintf(stderr, "Coprocessor %s parameters%s\n", cop,
            !r->coprocessor        ? ""
            : s->inject == DUAL_KV ? ", trained up to its last layer's keys and values"
                                   : ", trained");
    fprintf(stderr, "gradient    %s\n",
            !s->base_trained ? "through the frozen Base to the latents; "
                               "its cache is read untaped"
            : s->detach      ? "Base trained, its cache detached"
            : r->coprocessor ? "Base trained, also through its cache"
                             : "Base trained");
    const size_t slots = dual_latent_positions(&e.system);
    if (run_is_pretrain(&r->set))
        fprintf(stderr, "positions   sequences of %zu, %zu groups of %zu latents, cue and %zu "
                "tokens ahead in each\n", r->set.sequence, r->set.groups, slots, r->set.ahead);
    else if (!run_is_lm(&r->set))
        fprintf(stderr, "positions   prompt 0..%ld, %zu latents, cue at %ld, targets after it "
                "(first example)\n", (long)g->prefix - 1, slots, (long)(g->prefix + slots));
    else fprintf(stderr, "positions   0..%zu, every token but the first is a target\n",
                 run_sequence(&r->set) - 1);
    fprintf(stderr,
            "trained     %s parameters; %zu passes, %s FLOPs per step; %zu steps, peak rate "
            "%g\n",
            trained, out.n_passes, flops, r->set.steps, r->set.rate);
    fprintf(stderr, "optimiser   batch %zu, %s schedule after a warm-up of %g of the steps, weight "
            "decay %g, clip %g, seed %zu\n", r->set.batch, r->set.schedule, r->set.warmup,
            r->set.decay, r->set.clip, r->set.seed);
    fprintf(stderr, "scoring     %s%s, answers of at most %zu tokens%s; broken rows: %s\n",
            !j->scored ? "nothing" : *r->set.valid ? r->set.valid : j->test ? "generated problems"
            : "the text held out", !j->scored || *r->set.valid || !j->test ? "" :
            r->set.keep_best ? " (validation)" : " (test)", r->set.max_new,
            r->set.keep_best ? "; the best state is kept" : "", r->set.broken);
    fprintf(stderr, "options    ");
    for (const option *o = RUN_OPTIONS; o->name; o++) {    /* what else is not as usual */
        char now[RUN_PATH];
        if (!*o->name || !o->saved) continue;
        option_print(o, &r->set, now, sizeof now);
        if (o->kind == OPTION_FLAG && !strcmp(now, "1")) fprintf(stderr, " --%s", o->name);
        else if (strcmp(now, o->otherwise)) fprintf(stderr, " --%s %s", o->name, now);
    }
    fprintf(stderr, "\nrow norms   wte %.3f", mean_norm(r->base->wte));
    if (r->exchange.soft.tensor)
        fprintf(stderr, ", S %.3f, %s %.3f", mean_norm(r->exchange.soft.tensor),
                s->inject == DUAL_KV ? "the last layer's values" : r->coprocessor ? "Z" :
                "states at the slots", mean_norm(out.latents));
    fprintf(stderr, "\n");
    dual_release(&j->c, m);
    run_batch_free(&b);
}

/* ---- log.csv ------------------------------------------------------------------------------------
 * step,loss,grad_norm,rate,accuracy,tflop,seconds: accuracy (on text held_out_loss) is empty where
 * nothing was scored. */

/* Text is scored by its loss, the lower the better; problems by the share that is right. */
static int lower_is_better(const job *j) { return j->task.kind == TASK_TEXT; }

/* Whether the score after `step` steps is the best yet. A curriculum's stage that shows less is
 * harder, so each has a best of its own. */
static int note_score(job *j, uint64_t step, double score) {
    const size_t stage = run_stage_of(&j->r.set, step - 1);
    const int better = isnan(j->best) || stage != j->best_stage ||
                       (lower_is_better(j) ? score < j->best : score > j->best);
    if (better) j->best = score;
    j->best_stage = stage;
    return better;
}

static void log_add(job *j, const char *line) {
    const size_t n = strlen(line);
    if (j->log_length + n + 1 > j->log_room) {
        j->log_room = 2 * j->log_room + n + 4096;
        char *more = realloc(j->log, j->log_room);
        if (!more) fail(1, "out of memory for the log");
        j->log = more;
    }
    memcpy(j->log + j->log_length, line, n + 1);
    j->log_length += n;
}

/* Starts the log, or takes over what a resumed run had logged up to its checkpoint. Returns the
 * seconds it had run. */
static double log_begin(job *j) {
    char path[RUN_PATH + 16];
    size_t length;
    double seconds = 0;
    log_add(j, lower_is_better(j) ? "step,loss,grad_norm,rate,held_out_loss,tflop,seconds\n"
                                  : "step,loss,grad_norm,rate,accuracy,tflop,seconds\n");
    if (!j->r.step) return 0;
    snprintf(path, sizeof path, "%s/log.csv", j->r.set.out);
    char *old = dual_text_read(&j->c, path, &length), *line = old;
    while (line && *line) {
        char *end = strchr(line, '\n'), *comma;
        if (!end) break;
        *end = 0;
        const uint64_t step = strtoull(line, NULL, 10);
        if (step && step <= j->r.step) {
            log_add(j, line);
            log_add(j, "\n");
            if ((comma = strrchr(line, ',')) != NULL) seconds = strtod(comma + 1, NULL);
            comma = line;
            for (int i = 0; comma && i < 4; i++) comma = strchr(comma + (i > 0), ',');
            if (comma && comma[1] != ',') note_score(j, step, strtod(comma + 1, NULL));
        }
        line = end + 1;
    }
    free(old);
    return seconds;
}

static int log_has_rows(job *j) {
    char path[RUN_PATH + 16];
    size_t length = 0;
    snprintf(path, sizeof path, "%s/log.csv", j->r.set.out);
    char *text = dual_text_read(&j->c, path, &length), *line = text ? strchr(text, '\n') : NULL;
    const int rows = line && line[1];
    free(text);
    return rows;
}

static void checkpoint(job *j) {
    char path[RUN_PATH + 16];
    snprintf(path, sizeof path, "%s/log.csv", j->r.set.out);
    /* the log first: rows past the saved step are dropped on resuming, missing ones are lost */
    if (!dual_text_save(&j->c, path, j->log, j->log_length) ||
        !run_save(&j->c, &j->r, &j->adamw))
        fail(1, "%s; then: ./train --resume --out %s", j->c.error, j->r.set.out);
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* Whether one of the equal shares of the steps ends here. */
static int is_score_step(const run_settings *set, uint64_t step) {
    for (size_t i = 1; i <= set->score_points; i++)
        if (step == (set->steps * i + set->score_points / 2) / set->score_points) return 1;
    return 0;
}

static double accuracy(job *j, double temperature, double *each_once) {
    const run_settings *set = &j->r.set;
    const dual_control right = {DUAL_RIGHT, 0, 0};
    const size_t stage = run_stage_of(set, j->r.step ? j->r.step - 1 : 0);
    const dual_mark m = dual_mark_here(&j->c);
    answer *a = calloc(j->n_test, sizeof *a);
    double hits = 0, once = 0;
    if (!a) fail(1, "out of memory for %zu answers", j->n_test);
    dual_exchange e = run_exchange(&j->c, &j->r, run_latents_of(set, &j->r.system, stage));
    run_score(&j->c, &e, &j->task, j->test, j->n_test, right, temperature, 1,
              run_max_new(set, &j->task), a, NULL);
    for (size_t i = 0; i < j->n_test; i++) {
        hits += a[i].verdict == 0;
        once += a[i].each_once;
    }
    dual_release(&j->c, m);
    free(a);
    if (each_once) *each_once = once / (double)j->n_test;
    return hits / (double)j->n_test;
}

/* The best state yet is a whole run of its own in OUT/best: ./eval score OUT/best. */
static void keep_best(job *j, double score) {
    char path[RUN_PATH + 8], error[300];
    run best = j->r;
    if (!note_score(j, j->r.step, score) || !j->r.set.keep_best) return;
    if ((size_t)snprintf(path, sizeof path, "%s/best", j->r.set.out) >= sizeof best.set.out)
        fail(1, "%s: path too long for its best/", j->r.set.out);
    strcpy(best.set.out, path);
    if (!dual_make_folder(path) || !run_save_settings(&j->c, &best.set) ||
        !run_save(&j->c, &best, &j->adamw))
        fail(1, "%s: %s", path, *j->c.error ? j->c.error : "this folder cannot be made");
    if (!tokenizer_save(j->task.tokens, path, error, sizeof error)) fail(1, "%s", error);
}

static void left(double seconds, char *out, size_t size) {
    const unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600) snprintf(out, size, "%luh%02lum", s / 3600, s / 60 % 60);
    else snprintf(out, size, "%lum%02lus", s / 60, s % 60);
}

/* The warm-up is the same in both; constant is Coconut's (with --warmup 0: from the first step). */
static double rate_at(const run_settings *set, uint64_t step) {
    const int rising = (double)step + 1 < floor(set->warmup * (double)set->steps);
    if (!rising && !strcmp(set->schedule, "constant")) return set->rate;
    return dual_schedule(step, set->steps, set->warmup, set->rate);
}

static void forget_moments(dual_adamw *o) {
    for (size_t i = 0; i < o->n; i++) {
        const dual_tensor *t = o->param[i]->tensor;
        memset(o->m[i], 0, t->rows * t->cols * sizeof **o->m);
        memset(o->v[i], 0, t->rows * t->cols * sizeof **o->v);
    }
    o->step = 0;
}

static void train(job *j) {
    const run_settings *set = &j->r.set;
    const int terminal = run_is_terminal(2);
    const double before = log_begin(j), begun = dual_seconds();
    const uint64_t first = j->r.step;
    double shown = begun;
    char error[300], line[300], eta[32];
    if (!first) checkpoint(j);             /* a full disk shows now, not after an hour */
    size_t stage = run_stage_of(set, first ? first - 1 : 0);
    while (j->r.step < set->steps && !stopped) {
        run_batch b;
        dual_outcome out;
        const dual_mark m = dual_mark_here(&j->c);
        if (!run_batch_make(set, &j->task, j->r.step, &b, error, sizeof error))
            fail(1, "%s", error);
        if (run_stage_of(set, j->r.step) != stage) {
            stage = run_stage_of(set, j->r.step);
            if (set->reset_optimizer) forget_moments(&j->adamw);
        }
        dual_exchange e = run_exchange(&j->c, &j->r, run_latents_of(set, &j->r.system, b.stage));
        const double rate = rate_at(set, j->r.step);
        dual_run(&j->c, &e, &b.batch, &out);
        const double loss = (double)out.target_loss->data[0];          /* of the targets alone */
        const double penalty = out.penalty ? (double)out.penalty->data[0] : NAN;
        dual_backward(&j->c, out.loss);
        const double norm = dual_adamw_step(&j->c, &j->adamw, rate);
        dual_release(&j->c, m);
        run_batch_free(&b);
        if (!(loss < 1e30) || !(norm < 1e30))
            fail(1,
                 "step %llu: loss %g, gradient norm %g: it diverged; a smaller --lr may help. The "
                 "last checkpoint in %s is whole",
                 (unsigned long long)j->r.step, loss, norm, set->out);
        j->r.step++;
        j->r.loss_sum += loss;
        j->r.loss_steps++;
        const double now = dual_seconds(),
                     speed = (double)(j->r.step - first) / (now - begun + 1e-9);
        left((double)(set->steps - j->r.step) / speed, eta, sizeof eta);
        if (terminal && !set->quiet && now - shown > 0.3) {
            fprintf(stderr, "\r%s step %llu/%zu  loss %.4f  %.1f steps/s  %s left \033[K",
                    j->r.system.name, (unsigned long long)j->r.step, set->steps, loss, speed, eta);
            shown = now;
        }
        const int score = j->scored && is_score_step(set, j->r.step);
        if (score || j->r.step % set->log_every == 0 || j->r.step == set->steps) {
            const double tflop = run_flops(set, j->flops, j->r.step) * 1e-12;
            const double hits = !score ? -1 : j->test ? accuracy(j, 0, NULL)
                : run_text_loss(&j->c, &j->r.exchange, set, &j->held_out, j->held_first, j->n_test);
            const double mean = j->r.loss_sum / (double)j->r.loss_steps;
            char scored[24] = "";
            if (score) snprintf(scored, sizeof scored, "%.6g", hits);
            if (terminal && !set->quiet) fprintf(stderr, "\r\033[K");
            char beside[40] = "";
            if (!isnan(penalty)) snprintf(beside, sizeof beside, " orthogonality=%.5f", penalty);
            printf("step=%llu loss=%.5f%s grad_norm=%.4f lr=%.3e tflop=%.4f steps_per_s=%.2f "
                   "left=%s%s%s\n",
                   (unsigned long long)j->r.step, mean, beside, norm, rate, tflop, speed, eta,
                   !score ? "" : j->test ? " accuracy=" : " held_out_loss=", scored);
            if (fflush(stdout)) fail(1, "the metrics cannot be written to standard output");
            snprintf(line, sizeof line, "%llu,%.9g,%.9g,%.9g,%s,%.9g,%.1f\n",
                     (unsigned long long)j->r.step, mean, norm, rate, scored, tflop,
                     before + dual_seconds() - begun);
            log_add(j, line);
            j->r.loss_sum = 0;
            j->r.loss_steps = 0;
            if (score) keep_best(j, strtod(scored, NULL));     /* as the log has it */
        }
        if (j->r.step % set->save_every == 0 && j->r.step < set->steps) checkpoint(j);
    }
    if (terminal && !set->quiet) fprintf(stderr, "\r\033[K");
    checkpoint(j);
}

/* A Base that is to be frozen must know the form and the arithmetic, not the task. */
static void print_gate(job *j) {
    if (!run_is_lm(&j->r.set) || !j->test) return;
    double once, sampled = accuracy(j, 1, &once), floor_sum = 0;
    dual_rng rng = dual_rng_seed(1, 77);
    for (size_t i = 0; i < j->n_test; i++) {
        countdown_problem p;
        if (countdown_parse(j->test[i].row.question, &p))
            floor_sum += countdown_floor(&p, &rng, 200) / (double)j->n_test;
    }
    char line[300], path[RUN_PATH + 16];
    const int n = snprintf(line, sizeof line, "gate: of %zu samples %.1f %% use each number once "
           "(90 wanted), %.1f %% are right (random: %.1f): %s\n", j->n_test, 100 * once,
           100 * sampled, 100 * floor_sum,
           once < 0.9 ? "NOT passed, train another one longer (--steps)" :
           sampled > 2 * floor_sum ? "NOT passed, it has learned the task" : "passed");
    printf("%s", line);
    snprintf(path, sizeof path, "%s/gate.txt", j->r.set.out);
    if (!dual_text_save(&j->c, path, line, (size_t)n)) fail(1, "%s", j->c.error);
}

/* A frozen Base that did not pass its gate is used, but not without a word. */
static void warn_of_gate(const run_settings *set) {
    dual_ctx c;
    size_t n;
    const char *folder = *set->base ? set->base : set->from;
    char path[RUN_PATH + 16];
    dual_init(&c, NULL, 0);
    snprintf(path, sizeof path, "%s/gate.txt", folder);
    char *text = dual_text_read(&c, path, &n);
    if (text && strstr(text, "NOT passed"))
        fprintf(stderr, "train: warning: the Base in %s failed its gate: %s", folder, text);
    free(text);
    dual_done(&c);
}

/* ---- --describe ------------------------------------------------------------------------------ */

/* Rows of the file, or 2,000 generated ones, with all their steps: how many, how long. */
static int describe(job *j) {
    run_settings all = j->r.set;
    size_t n = *all.data ? SIZE_MAX : 2000, most = 0, least = SIZE_MAX, steps[9] = {0};
    double x = 0, y = 0, answer = 0;
    char error[300], report[4000];
    if (j->task.kind == TASK_TEXT) fail(2, "--describe: for tasks with rows, not for text");
    if (j->task.kind == TASK_PROSQA) {
        prosqa_stats s;
        if (*all.data) {
            if (!prosqa_measure_file(&s, all.data, error, sizeof error)) fail(1, "%s", error);
        } else {
            dual_rng rng = dual_rng_seed(all.seed, 0);
            prosqa_graph g;
            task_set set;
            memset(&s, 0, sizeof s);
            memset(&set, 0, sizeof set);
            for (size_t i = 0; i < n; i++) {
                set.used = set.open = set.count = 0;
                if (!prosqa_draw(&j->task.prosqa, PROSQA_TRAIN, &rng, &g, &set))
                    fail(1, "no problem can be drawn with these options");
                const task_row row = task_get(&set, 0);
                prosqa_measure(&s, &g, &row);
            }
            task_free(&set);
        }
        prosqa_report(&s, report, sizeof report);
        printf("%s", report);
    }
    snprintf(all.steps_shown, sizeof all.steps_shown, "all");
    example *rows = run_test_set(&all, &j->task, 0, COUNTDOWN_TRAIN, all.data, &n, report,
                                 sizeof report, error, sizeof error);
    if (!rows) fail(1, "%s", error);
    fputs(report, stderr);
    for (size_t i = 0; i < n; i++) {
        const double r = (double)n;
        x += (double)rows[i].n_x / r;
        y += (double)rows[i].n_y / r;
        answer += (double)run_count_tokens(&j->task, rows[i].row.answer) / r;
        steps[rows[i].row.n_steps < 8 ? rows[i].row.n_steps : 8]++;
        if (rows[i].n_x > most) most = rows[i].n_x;
        if (rows[i].n_x < least) least = rows[i].n_x;
    }
    printf("%zu rows, %s; tokens (%s): question %.1f (%zu..%zu), steps and answer %.1f, answer "
           "%.1f\nsteps in a row:", n, *all.data ? all.data : "generated",
           run_tokenizer_name(&j->task), x, least, most, y, answer);
    for (int i = 0; i < 9; i++)
        if (steps[i]) printf(" %d%s: %.3f", i, i == 8 ? "+" : "", (double)steps[i] / (double)n);
    printf("\n");
    examples_free(rows, n);
    run_task_close(&j->task);
    return 0;
}

int main(int argc, char **argv) {
    static job j;
    const char *rest[1];
    size_t n_rest, bytes;
    char error[400];
    run_settings *set = &j.r.set;
    run_spin_briefly(argv);
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            printf(
                "usage: ./train --out DIR [options]\nTrains a Base (--objective lm), or a system "
                "on the task, and keeps it in DIR.\n");
            options_help(RUN_OPTIONS);
            return 0;
        }
    options_defaults(RUN_OPTIONS, set);
    if (!options_parse(RUN_OPTIONS, set, argc, argv, rest, &n_rest, 0, j.given, error,
                       sizeof error))
        fail(2, "%s", error);
    if (*set->out && !run_exists(set->out) &&
        (data_has(set->out, "state.safetensors") || data_has(set->out, "base/config.json")))
        fail(1, "%s holds a run without its run.json: nothing was changed, choose another --out",
             set->out);
    if (*set->out && run_exists(set->out)) {
        if (set->resume) take_saved_settings(set, j.given);
        else if (!set->dry_run)
            fail(2, "%s holds a run already: --resume goes on with it, another --out starts anew",
                 set->out);
    } else if (set->resume) {
        int told = 0;
        for (const option *o = RUN_OPTIONS; o->name; o++)
            told |= *o->name && o->saved && j.given[o - RUN_OPTIONS];
        if (!told) fail(2, "--resume: there is no run in \"%s\"", set->out);
        set->resume = 0;               /* the same command starts a run and goes on with it */
    }
    check_settings(&j);
    dual_threads((int)set->threads);
    if (set->describe) return describe(&j);
    open_scored(&j);
    j.best = NAN;
    bytes = count_memory(&j);
    void *memory = malloc(bytes + 64);
    if (!memory)
        fail(1, "this machine does not give %zu MiB; a smaller --batch, --width or --context takes "
             "less", bytes >> 20);
    dual_init(&j.c, memory, bytes + 64);
    j.c.fatal = stop;
    j.c.recompute = set->recompute;
    if (!run_build(&j.c, &j.r)) fail(2, "%s", j.c.error);
    char folder[RUN_PATH + 8];
    if (!goes_on(set)) {               /* else run_load below fills everything */
        base_folder(set, folder, sizeof folder);
        if (!*folder) dual_model_init(j.r.base, dual_rng_seed(set->seed, 0xBA5E));
        else if (!dual_model_load(&j.c, j.r.base, folder)) fail(1, "%s", j.c.error);
        dual_exchange_init(&j.r.exchange, set->seed);
        if (*set->from && !run_load_latents(&j.c, &j.r, set->from))
            fail(1, "--from: %s", j.c.error);
    }
    dual_exchange_train(&j.c, &j.r.exchange);
    dual_adamw_new(&j.c, &j.adamw, &j.r.exchange);
    j.adamw.decay = set->decay;
    j.adamw.clip = set->clip;
    if (goes_on(set) && !run_load(&j.c, &j.r, set->out, &j.adamw))
        fail(1, "%s; nothing was changed", j.c.error);
    /* No state and no row in the log: stopped before checkpoint 0, so begin again. */
    if (set->resume && !goes_on(set) && log_has_rows(&j))
        fail(1, "%s/state.safetensors is gone, so it cannot go on; nothing was changed", set->out);
    if (set->resume && j.r.step >= set->steps && !set->dry_run) {
        fprintf(stderr, "train: %s is finished (%zu steps)\n", set->out, set->steps);
        print_gate(&j);
        return 0;
    }
    if (!j.r.system.base_trained && (*set->base || *set->from)) warn_of_gate(set);
    run_settings begun;
    if (*set->from && run_load_settings(&j.c, set->from, &begun) && strcmp(begun.gain, set->gain))
        fprintf(stderr, "train: warning: %s has --latent-gain %s, this run %s\n", set->from,
                begun.gain, set->gain);
    if (!set->quiet) print_header(&j);
    if (set->dry_run) return 0;
    if (!dual_make_folder(set->out)) fail(1, "%s: this folder cannot be made", set->out);
    if (!run_save_settings(&j.c, set)) fail(1, "%s", j.c.error);
    if (!tokenizer_save(j.task.tokens, set->out, error, sizeof error)) fail(1, "%s", error);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
#ifdef SIGHUP
    signal(SIGHUP, on_signal);
#endif
    train(&j);
    if (stopped) {
        fprintf(stderr,
                "train: stopped at step %llu of %zu, saved; go on with: ./train --resume --out "
                "%s\n",
                (unsigned long long)j.r.step, set->steps, set->out);
        return 130;
    }
    print_gate(&j);
    examples_free(j.test, j.n_test);
    if (*set->valid) free(j.held_out.at);
    run_task_close(&j.task);
    free(j.log);
    free(memory);
    return 0;
}
