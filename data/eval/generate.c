/* generate.c: see generate.h. */
#include "generate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The prompt as a row whose answer is not known. */
static int encode_prompt(dual_ctx *c, const loaded_run *loaded, const char *text, example *out) {
    char error[300];
    task_set given;
    memset(&given, 0, sizeof given);
    int ok = task_put(&given, text, strlen(text)) && task_put(&given, "", 0) &&
             task_close(&given, 0);
    if (!ok) dual_failed(c, "out of memory for the prompt");
    else {
        const task_row row = task_get(&given, 0);
        ok = run_example(&loaded->r.set, &loaded->task, loaded->stage, &row, out, error,
                         sizeof error);
        if (!ok) dual_failed(c, "%s", error);
    }
    task_free(&given);
    return ok;
}

/* Another prompt, to take latents from. */
static int add_another(dual_ctx *c, const loaded_run *loaded, prompt_answer *p) {
    problem_set other;
    const char *given = p->how.other;
    if (given && *given) return encode_prompt(c, loaded, given, &p->rows[p->n_rows++]);
    if (!loaded->task.generated)
        return dual_failed(c, "--latents-from %s: --task %s has no generator to take another "
                           "prompt from; eval score and choices mix the rows of a file",
                           ablation_name(p->how.ablation.from), task_name(loaded->task.kind));
    if (!problems_fresh(c, loaded, "", 1, &other)) return 0;
    p->rows[p->n_rows++] = *other.at;
    free(other.at);
    return 1;
}

int prompt_open(dual_ctx *c, const loaded_run *loaded, const prompt_options *how,
                prompt_answer *p) {
    memset(p, 0, sizeof *p);
    p->how = *how;
    p->rows = room_for(c, 2, sizeof *p->rows);
    p->n_rows = 1;
    int ok = p->rows && loaded_run_check_ablation(c, loaded, how->ablation) &&
             encode_prompt(c, loaded, how->text, p->rows);
    if (ok && ablation_mixes(how->ablation.from)) ok = add_another(c, loaded, p);
    size_t *most = &p->how.max_new;
    if (!*most) *most = run_max_new(&loaded->r.set, &loaded->task);
    for (size_t i = 0; ok && i < p->n_rows; i++) {     /* the newest token needs no position */
        const size_t left = loaded_run_positions(loaded, p->rows[i].n_x) + 1;
        if (left < *most) *most = left;
    }
    if (ok) p->tokens = room_for(c, p->n_rows * *most, sizeof *p->tokens);
    p->is_problem = loaded->task.kind == TASK_COUNTDOWN && countdown_parse(how->text, &p->problem);
    p->solvable = p->is_problem && countdown_solvable(&p->problem);
    if (p->tokens) return 1;
    prompt_close(p);
    return 0;
}

void prompt_close(prompt_answer *p) {
    examples_free(p->rows, p->n_rows);
    free(p->tokens);
    memset(p, 0, sizeof *p);
}

int prompt_generate(dual_ctx *c, loaded_run *loaded, void *prompt) {
    prompt_answer *p = prompt;
    run_prompts batch;
    dual_sampling sampling;
    dual_exchange e = loaded_run_exchange(c, loaded);
    memset(&sampling, 0, sizeof sampling);
    run_prompts_fill(&batch, &loaded->task, p->rows, p->n_rows, WITHOUT_TARGETS);
    batch.batch.ablation = p->how.ablation;
    sampling.max_new = p->how.max_new;
    sampling.end = loaded->task.end;
    sampling.temperature = p->how.temperature;
    sampling.rng = dual_rng_seed(p->how.seed, 0);
    dual_generate(c, &e, &batch.batch, &sampling, p->tokens, p->length);
    return 1;
}

typedef struct { prompt_answer *list; size_t n; } prompts_job;

static int prompts_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const prompts_job *j = job;
    for (size_t i = 0; i < j->n; i++) {
        const dual_mark start = dual_mark_here(c);
        if (!prompt_generate(c, loaded, &j->list[i])) return 0;
        dual_release(c, start);
    }
    return 1;
}

int prompts_generate(dual_ctx *c, loaded_run *loaded, prompt_answer *list, size_t n) {
    prompts_job job = {list, n};
    return loaded_run_do(c, loaded, prompts_work, &job);
}

int prompt_ended(const prompt_answer *p) { return p->length[0] <= p->how.max_new; }

char *tokens_text(dual_ctx *c, const run_task *t, const int32_t *tokens, size_t n,
                  size_t *length) {
    char *text = run_spell(t, tokens, n, length);
    if (!text) dual_failed(c, "out of memory for an answer of %lu tokens", (unsigned long)n);
    return text;
}

size_t text_shown(const char *text, size_t length, char *out, size_t size) {
    size_t used = 0;
    for (const char *at = text; at < text + length; at++) {
        const char itself[2] = {*at, 0};
        for (const char *from = *at ? itself : "\\0"; *from; from++, used++)
            if (used + 1 < size) out[used] = *from;
    }
    if (size) out[used < size ? used : size - 1] = 0;
    return used;
}

char *tokens_shown(dual_ctx *c, const run_task *t, const int32_t *tokens, size_t n) {
    size_t length;
    char *text = tokens_text(c, t, tokens, n, &length);
    if (!text) return NULL;
    const size_t room = text_shown(text, length, NULL, 0) + 1;
    char *shown = room_for(c, room, 1);
    if (shown) text_shown(text, length, shown, room);
    free(text);
    return shown;
}

void prompt_judge(const prompt_answer *p, const char *y, size_t length, int ended,
                  prompt_judgement *out) {
    char value[64] = "";
    memset(out, 0, sizeof *out);
    if (!p->is_problem) return;
    const int verdict = run_verdict(TASK_COUNTDOWN, &p->rows->row, y, length, ended);
    if (!memchr(y, 0, length)) countdown_value(task_final(y), out->value, sizeof out->value);
    out->verdict = ended ? task_verdict_name(TASK_COUNTDOWN, verdict) : "no end token";
    out->target = p->problem.target;
    out->solvable = p->solvable;
    if (*out->value) snprintf(value, sizeof value, " it is %s", out->value);
    if (ended && verdict == COUNTDOWN_CORRECT)
        snprintf(out->words, sizeof out->words, "%s:%s", out->verdict, value);
    else
        snprintf(out->words, sizeof out->words, "%s:%s%s %d is wanted%s", out->verdict, value,
                 *value ? "," : "", out->target,
                 p->solvable ? "" : "; the problem has no solution");
}
