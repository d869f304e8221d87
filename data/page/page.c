/* page.c: see page.h. */
#include "page.h"
#include "../eval/score.h"
#include "../eval/trace.h"
#include "../runs/checks.h"
#include "../runs/cli.h"
#include "../runs/gradients.h"
#include "../runs/shape.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int used;
    run r;
    run_task task;
    dual_ctx c;                    /* holds models, gradients and moments in */
    void *block;
    dual_adamw adamw;
    problem_set problems;          /* the test problems that were asked for last */
} slot_run;

static slot_run slots[PAGE_SLOTS];
static char failure[400];

char *page_room(size_t size) { return malloc(size); }
void page_free(char *text) { free(text); }
const char *page_failure(void) { return failure; }

static int fail(const char *why) {
    snprintf(failure, sizeof failure, "%s", why);
    return 0;
}

static slot_run *slot_at(int slot) {
    slot_run *s = slot >= 0 && slot < PAGE_SLOTS ? &slots[slot] : NULL;
    if (s && s->used) return s;
    fail("there is no run in this slot");
    return NULL;
}

/* ---- Making a run ---------------------------------------------------------------------------- */

enum { WORDS_MAX = 100 };

/* Cuts words, one a line, in place. Returns how many. */
static int cut_lines(char *lines, char **argv) {
    int n = 1;                         /* argv[0] is a program's name */
    for (char *at = lines; *at && n < WORDS_MAX; n++) {
        argv[n] = at;
        at += strcspn(at, "\n");
        if (*at) *at++ = 0;
    }
    return n;
}

static int read_options(run_settings *set, const char *lines, char *error, size_t size) {
    char *argv[WORDS_MAX], *copy = malloc(strlen(lines) + 1);
    const char *rest[1];
    size_t n_rest;
    if (!copy) return 0;
    strcpy(copy, lines);
    options_defaults(RUN_OPTIONS, set);
    const int n = cut_lines(copy, argv);
    const int ok = options_parse(RUN_OPTIONS, set, n, argv, rest, &n_rest, 0, NULL, error, size);
    free(copy);
    return ok;
}

/* What options of 0 stand for, as train.c settles it. */
static int settle(slot_run *s, const run *base, char *error, size_t size) {
    run_settings *set = &s->r.set;
    if (!run_system(set, &s->r.system, error, size) ||
        !run_check_settings(&s->c, set, &s->r.system) ||
        !run_task_open(set, NULL, WITH_ROWS, &s->task, error, size))
        return 0;
    const size_t vocab = tokenizer_size(s->task.tokens);
    if (base) s->r.shape = base->shape;
    else if (!run_shape_of_options(&s->c, set, vocab, &s->r.shape)) return 0;
    set->layers = s->r.shape.layers;
    set->width = s->r.shape.hidden;
    set->heads = s->r.shape.heads;
    set->context = s->r.shape.positions;
    if (!run_fit_rows(set, &s->task, run_room(set, &s->r.system), error, size)) return 0;
    set->max_new = run_max_new(set, &s->task);
    if (!set->steps) set->steps = run_is_lm(set) ? 1200 : 600;
    if (!(set->rate > 0)) set->rate = run_default_rate(run_is_lm(set), set->width);
    return 1;
}

static int take_memory(slot_run *s) {
    dual_ctx counting;
    run_memory memory;
    dual_init(&counting, NULL, 0);
    counting.fatal = cli_stop;
    int ok = run_count_memory(&counting, &s->r, &s->task, NULL, 0, NULL, 0, &memory);
    if (!ok) dual_failed(&s->c, "%s", counting.error);
    dual_done(&counting);
    if (ok) s->block = malloc(memory.all + 64);
    if (ok && !s->block)
        ok = dual_failed(&s->c, "no memory for %lu MiB: a smaller batch or width takes less",
                         (unsigned long)(memory.all >> 20));
    if (!ok) return 0;
    dual_init(&s->c, s->block, memory.all + 64);
    s->c.fatal = cli_stop;
    return run_build(&s->c, &s->r);
}

static void forget(slot_run *s) {
    problems_free(&s->problems);
    run_task_close(&s->task);
    free(s->block);
    memset(s, 0, sizeof *s);
}

/* An empty slot to make a run in: the optimiser points into the run, so it cannot move later. */
static slot_run *begin_slot(int slot) {
    slot_run *s = slot >= 0 && slot < PAGE_SLOTS ? &slots[slot] : NULL;
    if (!s) fail("there is no such slot");
    if (!s) return NULL;
    forget(s);
    dual_init(&s->c, NULL, 0);
    return s;
}

/* error "": the context has the line. */
static int end_slot(slot_run *s, int ok, const char *error) {
    if (!ok) fail(*error ? error : s->c.error);
    if (!ok) forget(s);
    s->used = ok;
    return ok;
}

void page_close(int slot) {
    slot_run *s = slot_at(slot);
    if (s) forget(s);
}

/* Weights, soft tokens and optimiser, as train.c fills them. */
static void fill(slot_run *s, const run *base) {
    run *r = &s->r;
    if (base) dual_model_copy(r->base, base->base);
    else dual_model_init(r->base, dual_rng_seed(r->set.seed, 0xBA5E));
    dual_exchange_init(&r->exchange, r->set.seed);
    dual_exchange_train(&s->c, &r->exchange);
    dual_adamw_new(&s->c, &s->adamw, &r->exchange);
    s->adamw.decay = r->set.decay;
    s->adamw.clip = r->set.clip;
}

int page_open(int slot, int base, const char *options) {
    const slot_run *from = base >= 0 ? slot_at(base) : NULL;
    char error[300] = "";
    if (base >= 0 && !from) return 0;
    if (slot == base) return fail("a run cannot start from itself");
    slot_run *s = begin_slot(slot);
    if (!s) return 0;
    const int ok = read_options(&s->r.set, options, error, sizeof error) &&
                   settle(s, from ? &from->r : NULL, error, sizeof error) && take_memory(s);
    if (ok) fill(s, from ? &from->r : NULL);
    return end_slot(s, ok, error);
}

/* ---- A run that was trained elsewhere -------------------------------------------------------- */

static int read_run(slot_run *s, const char *folder, char *error, size_t size) {
    char path[RUN_PATH + 8];
    run *r = &s->r;
    snprintf(path, sizeof path, "%s/base", folder);
    return run_load_settings(&s->c, folder, &r->set) &&
           run_system(&r->set, &r->system, error, size) &&
           dual_config_read(&s->c, path, &r->shape) &&
           run_task_open(&r->set, folder, WITHOUT_ROWS, &s->task, error, size);
}

/* Only weights: such a run is not trained on. */
static int make_room(slot_run *s) {
    dual_ctx counting;
    run copy = s->r;
    dual_init(&counting, NULL, 0);
    counting.fatal = cli_stop;
    int ok = run_build(&counting, &copy) || dual_failed(&s->c, "%s", counting.error);
    const size_t size = counting.peak + 64;
    dual_done(&counting);
    if (ok) s->block = malloc(size);
    if (ok && !s->block) ok = dual_failed(&s->c, "no memory for its weights");
    if (!ok) return 0;
    dual_init(&s->c, s->block, size);
    s->c.fatal = cli_stop;
    return run_build(&s->c, &s->r);
}

int page_load(int slot, const char *folder, unsigned step) {
    char error[300] = "";
    slot_run *s = begin_slot(slot);
    if (!s) return 0;
    const int ok = read_run(s, folder, error, sizeof error) && make_room(s);
    s->r.step = step;
    return end_slot(s, ok, error);
}

static dual_param *param_of(int slot, unsigned i) {
    slot_run *s = slot_at(slot);
    char owner;
    return s ? dual_exchange_param(&s->r.exchange, i, &owner) : NULL;
}

dual_real *page_weights(int slot, unsigned i) {
    const dual_param *p = param_of(slot, i);
    return p ? p->tensor->data : NULL;
}

size_t page_weights_count(int slot, unsigned i) {
    const dual_param *p = param_of(slot, i);
    return p ? p->tensor->rows * p->tensor->cols : 0;
}

/* ---- Training -------------------------------------------------------------------------------- */

/* One optimiser step, as train.c takes it. */
static double train_step(slot_run *s) {
    const run_settings *set = &s->r.set;
    const dual_mark mark = dual_mark_here(&s->c);
    char error[300];
    batch_means means;
    run_batch b;
    if (!run_batch_make(set, &s->task, s->r.step, &b, error, sizeof error)) {
        fail(error);
        return NAN;
    }
    dual_exchange e = run_exchange(&s->c, &s->r, s->r.system.latents);
    const batch_share share = run_share(set);
    const int ok = run_gradients(&s->c, &e, &b.batch, &share, &means);
    if (ok)
        dual_adamw_step(&s->c, &s->adamw,
                        dual_schedule(s->r.step, set->steps, set->warmup, set->rate));
    else fail(s->c.error);
    dual_release(&s->c, mark);
    run_batch_free(&b);
    s->r.step += (uint64_t)ok;
    return ok ? means.loss : (double)NAN;
}

double page_train(int slot, unsigned n) {
    slot_run *s = slot_at(slot);
    double sum = 0;
    unsigned done = 0;
    if (!s) return NAN;
    for (; done < n && s->r.step < s->r.set.steps; done++) {
        const double loss = train_step(s);
        if (!isfinite(loss)) {
            if (isinf(loss)) fail("it diverged: a smaller rate may help");
            return NAN;
        }
        sum += loss;
    }
    return done ? sum / done : 0;
}

unsigned page_step(int slot) {
    const slot_run *s = slot_at(slot);
    return s ? (unsigned)s->r.step : 0;
}

/* ---- Looking --------------------------------------------------------------------------------- */

/* The run as eval's functions know it. */
static loaded_run loaded_of(slot_run *s) {
    loaded_run it;
    memset(&it, 0, sizeof it);
    it.r = s->r;
    it.task = s->task;
    it.stage = run_stage(&s->r);
    it.latents = run_latents_of(&s->r.set, &s->r.system, it.stage);
    it.weights = &s->r.exchange;
    return it;
}

/* One document on stdout. */
static json_writer begin_document(void) {
    json_writer j = json_begin_line(stdout);
    json_open(&j, NULL, '{');
    return j;
}

static int end_document(json_writer *j) {
    json_close(j, '}');
    return !fflush(stdout) || fail("the page took no answer");
}

static int read_problems(dual_ctx *c, slot_run *s, const loaded_run *it, size_t count) {
    if (s->problems.at && s->problems.n == count) return 1;
    problems_free(&s->problems);
    return problems_read(c, it, COUNTDOWN_TEST, "", count, &s->problems);
}

int page_score(int slot, unsigned count, const char *from) {
    slot_run *s = slot_at(slot);
    dual_ctx c;
    score_result result;
    if (!s) return 0;
    loaded_run it = loaded_of(s);
    score_options how = {.max_new = run_max_new(&s->r.set, &s->task), .samples = 1, .seed = 1};
    dual_init(&c, NULL, 0);
    c.fatal = cli_stop;
    if (!ablation_parse(from, &how.ablation)) return fail("latents from where?");
    if (!read_problems(&c, s, &it, count) || !score_run(&c, &it, &s->problems, &how, &result))
        return fail(c.error);
    json_writer j = begin_document();
    json_number(&j, "hits", (double)result.count.all.hits);
    json_number(&j, "of", (double)result.count.all.of);
    json_number(&j, "loss", result.loss);
    score_free(&result);
    return end_document(&j);
}

static void write_trace(const trace_view *v, void *to) {
    json_writer j = begin_document();
    trace_json(&j, v);
    *(int *)to = end_document(&j);
}

int page_trace(int slot, const char *prompt, const char *y, const char *from,
               const char *other) {
    slot_run *s = slot_at(slot);
    dual_ctx c;
    prompt_answer p;
    if (!s) return 0;
    loaded_run it = loaded_of(s);
    prompt_options asked = {.text = prompt, .seed = 1, .other = other};
    const trace_options how = {y, 1};
    dual_init(&c, NULL, 0);
    c.fatal = cli_stop;
    asked.ablation.seed = 1;
    if (!ablation_parse(from, &asked.ablation)) return fail("latents from where?");
    if (!prompt_open(&c, &it, &asked, &p)) return fail(c.error);
    int written = 0;
    const int ok = trace_run(&c, &it, &p, &how, write_trace, &written);
    prompt_close(&p);
    return ok ? written : fail(c.error);
}

int page_facts(int slot) {
    slot_run *s = slot_at(slot);
    char label[400];
    if (!s) return 0;
    const dual_config *f = &s->r.shape;
    const dual_system *system = &s->r.system;
    run_describe_system(system, label, sizeof label);
    json_writer j = begin_document();
    json_text(&j, "label", label);
    json_text(&j, "name", system->name);
    json_text(&j, "inject", dual_injection_name(system->inject));
    json_text(&j, "task", s->r.set.task);
    json_flag(&j, "base_trained", system->base_trained);
    json_number(&j, "latents", system->inject == DUAL_NONE ? 0 : (double)system->latents);
    json_number(&j, "trained", (double)dual_exchange_trained(&s->r.exchange));
    json_number(&j, "layers", (double)f->layers);
    json_number(&j, "heads", (double)f->heads);
    json_number(&j, "width", (double)f->hidden);
    json_number(&j, "step", (double)s->r.step);
    json_number(&j, "steps", (double)s->r.set.steps);
    return end_document(&j);
}
