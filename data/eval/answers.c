/* answers.c: see answers.h. */
#include "answers.h"
#include "../runs/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t log_likelihoods(const dual_tensor *logits, size_t row, const dual_group *g, double *out) {
    for (size_t i = 0; i < g->n_target; i++) {
        const dual_real *x = logits->data + (row + i) * logits->stride;
        double most = (double)x[0], sum = 0;
        for (size_t v = 1; v < logits->cols; v++)
            if ((double)x[v] > most) most = (double)x[v];
        for (size_t v = 0; v < logits->cols; v++) sum += exp((double)x[v] - most);
        out[i] = (double)x[g->target[i]] - most - log(sum);
    }
    return g->n_target;
}

/* ---- How likely an answer was ---------------------------------------------------------------- */

enum { LOGITS_MOST = 1 << 25 };        /* of one pass */

/* An answer as a row's y, in tokens of the caller's, at most max_new. While counting any of the
 * greatest length stands for it. */
static void put_answer(const loaded_run *loaded, const answer *a, int counting, size_t max_new,
                       int32_t *y, example *row) {
    const size_t left = loaded_run_positions(loaded, row->n_x);
    row->y = y;
    row->n_y = left < max_new ? left : max_new;
    for (size_t i = 0; i < row->n_y; i++) y[i] = loaded->task.end;
    if (counting) return;
    memcpy(y, a->tokens, a->length * sizeof *y);
    row->n_y = a->length + (size_t)(a->ended != 0);
}

/* Rows from .. to - 1 of a batch: only they are asked for their targets. */
static void read_rows(dual_ctx *c, loaded_run *loaded, run_prompts *p, size_t from, size_t to,
                      double *out) {
    const dual_mark start = dual_mark_here(c);
    dual_exchange e = loaded_run_exchange(c, loaded);
    dual_outcome outcome;
    size_t row = 0;
    for (size_t i = 0; i < p->batch.n_groups; i++)
        if (i < from || i >= to) p->group[i].n_target = 0;
    dual_run(c, &e, &p->batch, &outcome);
    for (size_t i = from; c->memory && i < to; i++) {
        double *each = work_room(c, p->group[i].n_target, sizeof *each);
        row += log_likelihoods(outcome.logits, row, &p->group[i], each);
        out[i] = 0;
        for (size_t k = 0; k < p->group[i].n_target; k++) out[i] += each[k];
        free(each);
    }
    dual_release(c, start);
}

/* The batches are those that the answers came from, since latents can come from the others in it;
 * each is read in parts whose logits are not too many. */
void answers_likelihood(dual_ctx *c, loaded_run *loaded, const example *rows, size_t n,
                        dual_ablation ablation, uint64_t seed, size_t max_new, const answer *a,
                        double *out) {
    const size_t vocab = loaded->r.shape.vocab;
    int32_t *y = work_room(c, PROMPTS_MAX * max_new, sizeof *y);
    const int recorded = c->inference;
    size_t part = LOGITS_MOST / vocab / max_new;
    if (!part) part = 1;
    c->inference = 1;
    for (size_t first = 0, count; first < n; first += count) {
        example batch[PROMPTS_MAX];
        count = run_prompts_count(rows + first, n - first, vocab, max_new);
        for (size_t i = 0; i < count; i++) {
            batch[i] = rows[first + i];
            put_answer(loaded, &a[first + i], !c->memory, max_new, y + i * max_new, &batch[i]);
        }
        for (size_t from = 0; from < count; from += part) {
            run_prompts p;
            run_prompts_fill(&p, &loaded->task, batch, count, WITH_TARGETS);
            p.batch.ablation = ablation;
            p.batch.ablation.seed = seed + first;
            read_rows(c, loaded, &p, from, from + part < count ? from + part : count, out + first);
        }
    }
    c->inference = recorded;
    free(y);
}

/* ---- The file -------------------------------------------------------------------------------- */

static int write_answer(FILE *to, const run_task *task, const example *row, size_t sample,
                        const answer *a, double likelihood) {
    size_t length;
    char *text = run_spell(task, a->tokens, a->length, &length);
    json_writer j = json_begin_line(to);
    if (!text) return 0;
    json_open(&j, NULL, '{');
    json_text(&j, "question", row->row.question);
    json_text(&j, "gold", row->row.answer);
    json_bytes(&j, "answer", text, length);
    json_text(&j, "verdict", task_verdict_name(task->kind, a->verdict));
    json_flag(&j, "ended", a->ended);
    json_number(&j, "steps", (double)task_steps(task->kind, &row->row));
    json_number(&j, "tokens", (double)(a->length + (size_t)(a->ended != 0)));
    json_number(&j, "log_likelihood", likelihood);
    json_number(&j, "sample", (double)sample);
    json_close(&j, '}');
    free(text);
    return 1;
}

int answers_write(dual_ctx *c, const char *file, const run_task *task, const problem_set *rows,
                  size_t samples, const answer *a, const double *likelihood) {
    FILE *to = fopen(file, "wb");
    int ok = to != NULL;
    for (size_t i = 0; ok && i < rows->n; i++)
        for (size_t k = 0; ok && k < samples; k++) {
            const size_t at = k * rows->n + i;
            ok = write_answer(to, task, &rows->at[i], k, &a[at], likelihood[at]) ||
                 dual_failed(c, "out of memory for an answer");
        }
    return output_end(c, "--answers", file, to) && ok;
}
