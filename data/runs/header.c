/* header.c: see header.h. */
#include "header.h"
#include "gradients.h"
#include "ranks.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void note_add(note *n, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const size_t room = sizeof n->text - n->used;
    const int wanted = vsnprintf(n->text + n->used, room, format, args);
    va_end(args);
    if (wanted < 0) return;
    n->used += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

void run_describe_system(const dual_system *s, char *out, size_t size) {
    note n;
    n.used = 0;
    note_add(&n, "%s = inject %s, Base %s", s->name, dual_injection_name(s->inject),
             s->base_trained ? "trained" : "frozen");
    if (s->inject != DUAL_NONE) note_add(&n, ", N_L %zu", s->latents);
    if (s->detach) note_add(&n, ", cache detached");
    if (s->gain) note_add(&n, ", trained gain");
    if (s->fused) note_add(&n, ", fused");
    int said = 0;
    for (int l = 0; l < 64; l++)
        if (s->kv_layers >> l & 1) note_add(&n, said++ ? ",%d" : ", layers %d", l);
    if (s->text_loss > 0) note_add(&n, ", %g x text loss", s->text_loss);
    if (s->orthogonality > 0)
        note_add(&n, ", %g x orthogonality%s%s", s->orthogonality, s->centred ? ", centred" : "",
                 s->values ? ", of values" : "");
    snprintf(out, size, "%s", n.text);
}

void run_human(double x, char *out, size_t size) {
    static const char unit[] = " kMGTP";
    int i = 0;
    while (x >= 999.5 && i < 5) {
        x /= 1000;
        i++;
    }
    int decimals = 0;
    if (i && x < 99.95) decimals = x < 9.995 ? 2 : 1;
    if (i) snprintf(out, size, "%.*f%c", decimals, x, unit[i]);
    else snprintf(out, size, "%.0f", x);
}

void run_duration(double seconds, char *out, size_t size) {
    const double shown = fmax(0, fmin(seconds + 0.5, 1e15));
    const unsigned long long s = (unsigned long long)shown;
    if (s >= 172800) snprintf(out, size, "%llud%02lluh", s / 86400, s / 3600 % 24);
    else if (s >= 3600) snprintf(out, size, "%lluh%02llum", s / 3600, s / 60 % 60);
    else snprintf(out, size, "%llum%02llus", s / 60, s % 60);
}

/* ---- The gate --------------------------------------------------------------------------------
 * A Base that is to be frozen must know the form and the arithmetic. Whether it may know the task
 * is its text's matter: without solved problems it must not, with them it must. */

static const char *gate_verdict(double solved, double right, double each_once, double floor) {
    const int learned = right > 2 * floor;
    if (each_once < 0.9)
        return "NOT passed: it does not know the form; train another one longer (--steps)";
    if (solved > 0 && !learned)
        return "NOT passed: it read solved problems and cannot do the task; train another one "
               "longer (--steps), or on more of them (--solved)";
    if (solved > 0) return "passed: it knows the form and can do part of the task";
    return learned ? "NOT passed: it has learned the task"
                   : "passed: it knows the form, not the task";
}

double run_gate_floor(const example *rows, size_t n) {
    double sum = 0;
    dual_rng rng = dual_rng_seed(1, 77);
    for (size_t i = 0; i < n; i++) {
        countdown_problem p;
        if (countdown_parse(rows[i].row.question, &p))
            sum += countdown_floor(&p, &rng, 200) / (double)n;
    }
    return sum;
}

void run_gate(double solved, size_t n, double right, double each_once, double floor, note *to) {
    note_add(to, "gate: %s\n", gate_verdict(solved, right, each_once, floor));
    note_add(to, "  of %zu samples %.1f %% use each number once (at least 90 are needed),\n", n,
             100 * each_once);
    note_add(to, "  %.1f %% are right (random expressions: %.1f %%)\n", 100 * right, 100 * floor);
}

/* ---- The header ------------------------------------------------------------------------------ */

static void megabytes(note *n, const char *what, size_t bytes) {
    note_add(n, "  %-34s %10.2f MiB\n", what, (double)bytes / 1048576);
}

void run_memory_report(const run *r, const run_memory *m, note *n) {
    char tape[48];
    note_add(n, "memory\n");
    megabytes(n, r->base_type == DUAL_FULL ? "parameters" : "parameters (Base in 16 bits)",
              m->parameters);
    megabytes(n, "gradients of what is trained", m->gradients);
    megabytes(n, "AdamW moments", m->moments);
    snprintf(tape, sizeof tape, "tape of one %s, %s", r->set.accumulate > 1 ? "part" : "step",
             r->set.recompute ? "recomputing" : "longest batch");
    megabytes(n, tape, m->tape);
    megabytes(n, "more for scoring (decoding)", m->scoring);
    megabytes(n, "in all", m->all);
}

static double mean_norm(const dual_tensor *t) {
    double sum = 0;
    for (size_t r = 0; t && r < t->rows; r++) {
        double squares = 0;
        for (size_t k = 0; k < t->cols; k++) {
            const double x = (double)dual_number(t, r * t->stride + k);
            squares += x * x;
        }
        sum += sqrt(squares) / (double)t->rows;
    }
    return sum;
}

/* What is learnt from, and how the steps are shown. */
static void add_task(const run *r, const run_task *t, note *n) {
    const run_settings *set = &r->set;
    char rows[RUN_PATH + 60] = "generated";
    if (*set->data && t->kind == TASK_TEXT)
        snprintf(rows, sizeof rows, "%zu of %zu tokens of %s", t->n_train, t->ids.used, set->data);
    else if (*set->data) snprintf(rows, sizeof rows, "%zu rows of %s", t->n_rows, set->data);
    note_add(n, "task        %s, %s; %s, %zu tokens\n", set->task, rows, run_tokenizer_name(t),
             tokenizer_size(t->tokens));
    if (run_on_text(set) || !strcmp(set->steps_shown, "none")) return;
    note_add(n, "steps       %s", set->steps_shown);
    if (run_is_curriculum(set)) {
        note_add(n, ": %zu steps in each stage, 0..%zu steps dropped, then all", set->stage_steps,
                 set->stages);
        if (set->latents_per_stage)
            note_add(n, "; %zu latents more in each", set->latents_per_stage);
        else note_add(n, "; %zu latents in every stage", r->system.latents);
        note_add(n, "; a stage is drawn with probability %g%s", set->uniform_stage,
                 set->reset_optimizer ? "; AdamW starts anew at each" : "");
    }
    note_add(n, "\n");
}

static const char *gradient_words(const run *r) {
    if (!r->system.base_trained)
        return "through the frozen Base to the latents; its cache is read untaped";
    if (r->system.detach) return "Base trained, its cache detached";
    return r->coprocessor ? "Base trained, also through its cache" : "Base trained";
}

static void add_models(const run *r, note *n) {
    const dual_config *f = &r->shape;
    const char *trained = r->system.inject == DUAL_KV
                              ? ", trained up to its last layer's keys and values" : ", trained";
    char what[400], size[16];
    run_describe_system(&r->system, what, sizeof what);
    run_human((double)dual_model_params(r->base), size, sizeof size);
    note_add(n, "system      %s\n", what);
    note_add(n, "Base        %s, %zu layers, width %zu, %zu heads, %zu positions, %s parameters, "
             "%s, stored as %s\n", r->set.arch, f->layers, f->hidden, f->heads, f->positions, size,
             r->system.base_trained ? "trained" : "frozen", run_type_name(r->base_type));
    if (r->coprocessor) {
        run_human((double)dual_model_params(r->coprocessor), size, sizeof size);
        note_add(n, "Coprocessor %s parameters%s\n", size, trained);
    } else note_add(n, "Coprocessor none\n");
    note_add(n, "gradient    %s\n", gradient_words(r));
}

static void add_positions(const run *r, const dual_group *g, size_t slots, note *n) {
    if (run_is_pretrain(&r->set))
        note_add(n, "positions   sequences of %zu, %zu groups of %zu latents, cue and %zu tokens "
                 "ahead in each\n", r->set.sequence, r->set.groups, slots, r->set.ahead);
    else if (run_is_lm(&r->set))
        note_add(n, "positions   0..%zu, every token but the first is a target\n",
                 run_sequence(&r->set) - 1);
    else
        note_add(n, "positions   prompt 0..%ld, %zu latents, cue at %ld, targets after it (first "
                 "example)\n", (long)g->prefix - 1, slots, (long)(g->prefix + slots));
}

/* What is missing, or was asked for. */
static void add_nothing_scored(const run_settings *set, const run_task *t, note *n) {
    note_add(n, "scoring     nothing: ");
    if (!set->score_points) note_add(n, "--score-points 0\n");
    else if (!set->score_count) note_add(n, "--score-count 0\n");
    else if (t->kind == TASK_TEXT)
        note_add(n, "less than one sequence of text is held out; more with --held-out, or another "
                 "text with --valid\n");
    else if (run_on_text(set))
        note_add(n, "there are no answers to grade on the text that --task %s makes\n", set->task);
    else
        note_add(n, "--task %s is not generated, --valid FILE names rows to score on\n",
                 set->task);
}

static void add_scoring(const run_settings *set, const run_task *t, run_scoring scoring, note *n) {
    const char *what = "the text held out";
    if (scoring == SCORES_NOTHING) {
        add_nothing_scored(set, t, n);
        return;
    }
    if (scoring == SCORES_PROBLEMS)
        what = set->keep_best ? "generated problems (validation)" : "generated problems (test)";
    if (*set->valid) what = set->valid;
    note_add(n, "scoring     %s, answers of at most %zu tokens%s; broken rows: %s\n", what,
             set->max_new, set->keep_best ? "; the best state is kept" : "", set->broken);
}

/* Every option that is not its default. */
static void add_options(const run_settings *set, note *n) {
    note_add(n, "options    ");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        char now[RUN_PATH];
        if (!*o->name || o->saved == UNSAVED) continue;
        option_print(o, set, now, sizeof now);
        if (o->kind == OPTION_FLAG && !strcmp(now, "1")) note_add(n, " --%s", o->name);
        else if (strcmp(now, o->otherwise)) note_add(n, " --%s %s", o->name, now);
    }
    note_add(n, "\n");
}

int run_header(dual_ctx *c, run *r, run_task *t, const double flops[RUN_STAGES + 2],
               run_scoring scoring, note *n, char *error, size_t size) {
    const run_settings *set = &r->set;
    const dual_mark mark = dual_mark_here(c);
    char step[16], trained[16], parts[40] = "", ranks[40] = "";
    const size_t n_parts = run_share(set).n;
    run_batch b;
    dual_outcome out;
    if (!run_batch_make(set, t, 0, &b, error, size)) return 0;
    c->inference = 1;
    dual_exchange e = run_exchange(c, r, run_latents_of(set, &r->system, b.stage));
    const dual_batch part = run_batch_part(&b.batch, 0, n_parts, b.group);
    dual_run(c, &e, &part, &out);
    c->inference = 0;
    if (n_parts > 1) snprintf(parts, sizeof parts, " in %zu parts", n_parts);
    if (ranks_count() > 1) snprintf(ranks, sizeof ranks, " by %zu ranks", ranks_count());
    run_human(flops[run_stage_of(set, set->steps)], step, sizeof step);
    run_human((double)dual_exchange_trained(&r->exchange), trained, sizeof trained);
    add_task(r, t, n);
    add_models(r, n);
    add_positions(r, &b.group[0], dual_latent_positions(&e.system), n);
    note_add(n, "trained     %s parameters; %zu pass%s, %s FLOPs per step; %zu steps, peak rate "
             "%g\n", trained, out.n_passes, out.n_passes == 1 ? "" : "es", step, set->steps,
             set->rate);
    note_add(n, "optimiser   batch %zu%s%s, %s schedule after a warm-up of %g of the steps, weight "
             "decay %g, clip %g, seed %zu\n", set->batch, parts, ranks, set->schedule, set->warmup,
             set->decay, set->clip, set->seed);
    add_scoring(set, t, scoring, n);
    add_options(set, n);
    note_add(n, "row norms   wte %.3f", mean_norm(r->base->wte));
    if (r->exchange.soft.tensor) {
        const char *what = r->coprocessor ? "Z" : "states at the slots";
        if (r->system.inject == DUAL_KV) what = "the last layer's values";
        note_add(n, ", S %.3f, %s %.3f", mean_norm(r->exchange.soft.tensor), what,
                 mean_norm(out.latents));
    }
    note_add(n, "\n");
    dual_release(c, mark);
    run_batch_free(&b);
    return 1;
}
