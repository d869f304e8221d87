/* scoring.c: see scoring.h. */
#include "scoring.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes take about four times as many tokens as the tasks' limits are meant for. */
size_t run_max_new(const run_settings *set, const run_task *t) {
    if (set->max_new) return set->max_new;
    const int bytes = !strcmp(run_tokenizer_name(t), "bytes");
    const size_t usual = task_max_new(t->kind) * (bytes && t->kind != TASK_COUNTDOWN ? 4 : 1);
    return strcmp(set->steps_shown, "none") && t->max_y > usual ? t->max_y : usual;
}

char *run_spell(const run_task *t, const int32_t *tokens, size_t n, size_t *length) {
    *length = tokenizer_decode(t->tokens, tokens, n, NULL, 0);
    char *text = malloc(*length + 1);
    if (text) tokenizer_decode(t->tokens, tokens, n, text, *length + 1);
    return text;
}

int run_verdict(task_kind kind, const task_row *row, const char *text, size_t length, int ended) {
    if (!ended || memchr(text, 0, length)) return task_unfinished(kind);
    return task_grade(kind, row, text);
}

void run_grade(const run_task *t, const example *e, const int32_t *tokens, size_t n, int ended,
               answer *a) {
    countdown_problem p;
    size_t length;
    char *text = run_spell(t, tokens, n, &length);
    a->each_once = a->simple = 0;
    a->ended = ended;
    a->length = n;
    a->verdict = task_unfinished(t->kind);
    if (text) a->verdict = run_verdict(t->kind, &e->row, text, length, ended);
    if (text && t->kind == TASK_COUNTDOWN && countdown_parse(e->row.question, &p)) {
        a->each_once = ended && !memchr(text, 0, length) &&
                       countdown_uses_each_once(&p, task_final(text));
        a->simple = countdown_plus_minus_suffice(&p);
    }
    free(text);
}

/* Sum of the losses of a batch's targets, teacher-forced: the mean is over all targets at once. */
static double forced_loss(dual_ctx *c, dual_exchange *e, const dual_batch *b, size_t targets) {
    const dual_mark start = dual_mark_here(c);
    const int recorded = c->inference;
    dual_outcome out;
    c->inference = 1;
    dual_run(c, e, b, &out);
    c->inference = recorded;
    const double sum = c->memory ? (double)out.target_loss->data[0] * (double)targets : 0;
    dual_release(c, start);
    return sum;
}

/* Tokens that an answer may have: what the positions leave after the longest prompt, the latents
 * and the cue. The last position stays unread: no Base text has trained it. */
static size_t room_for_answer(dual_ctx *c, const dual_exchange *e, const example *rows, size_t n,
                              size_t max_new) {
    const size_t positions = e->base->config.positions;
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].n_x > used) used = rows[i].n_x;
    used += dual_latent_positions(&e->system) + 1;
    if (used >= positions) c->fatal("a prompt leaves no position for an answer");
    return positions - used < max_new ? positions - used : max_new;
}

void run_score(dual_ctx *c, dual_exchange *e, const run_task *t, const example *rows, size_t n,
               dual_ablation ablation, double temperature, uint64_t seed, size_t max_new,
               answer *out, double *loss) {
    double sum = 0, targets = 0;
    int32_t *tokens = malloc(PROMPTS_MAX * max_new * sizeof *tokens);
    if (!tokens) c->fatal("out of memory for the answers");
    for (size_t first = 0, count; first < n; first += count) {
        size_t length[PROMPTS_MAX], all = 0;
        run_prompts p;
        dual_sampling s;
        count = run_prompts_count(rows + first, n - first, e->base->config.vocab, max_new);
        run_prompts_fill(&p, t, rows + first, count, 1);
        p.batch.ablation = ablation;
        p.batch.ablation.seed = seed + first;
        for (size_t i = 0; i < count; i++) all += rows[first + i].n_y;
        if (loss && all) sum += forced_loss(c, e, &p.batch, all);
        targets += (double)all;
        memset(&s, 0, sizeof s);
        s.max_new = room_for_answer(c, e, rows + first, count, max_new);
        s.end = t->end;
        s.temperature = temperature;
        s.rng = dual_rng_seed(seed, first);
        dual_generate(c, e, &p.batch, &s, tokens, length);
        for (size_t i = 0; c->memory && out && i < count; i++) {
            const int ended = length[i] <= s.max_new;
            answer *a = &out[first + i];
            const int32_t *y = tokens + i * s.max_new;
            run_grade(t, &rows[first + i], y, ended ? length[i] : s.max_new, ended, a);
            if (a->tokens) memcpy(a->tokens, y, a->length * sizeof *y);
        }
    }
    free(tokens);
    if (loss) *loss = targets > 0 ? sum / targets : NAN;       /* no answer is known */
}

/* The sequences and places are the same for every run with these options. */
double run_text_loss(dual_ctx *c, dual_exchange *e, const run_settings *set, const token_block *ids,
                     size_t first, size_t count) {
    const size_t n = run_sequence(set);
    const dual_mark start = dual_mark_here(c);
    const int recorded = c->inference;
    size_t done = 0;
    run_settings fixed = *set;
    double sum = 0;
    fixed.seed = 20260104;             /* places do not depend on the run's seed */
    c->inference = 1;
    for (; done < count && first + (done + 1) * n <= ids->used; done++) {
        const int32_t *text = ids->at + first + done * n;
        char error[160];
        dual_outcome o;
        run_batch b;
        if (!run_text_batch(&fixed, text, done, &b, error, sizeof error)) c->fatal(error);
        dual_run(c, e, &b.batch, &o);
        run_batch_free(&b);
        if (c->memory) sum += (double)o.target_loss->data[0];
        dual_release(c, start);
        if (!c->memory) break;
    }
    c->inference = recorded;
    return done ? sum / (double)done : 0;
}

/* 95 % Wilson score interval of a share. */
static double wilson(double hits, double n, double sign) {
    const double z = 1.959964, p = n > 0 ? hits / n : 0;
    if (n <= 0) return sign < 0 ? 0 : 1;
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    const double x = (p + z * z / (2 * n) + sign * half) / (1 + z * z / n);
    if (x < 0) return 0;
    return x > 1 ? 1 : x;
}
double wilson_low(double hits, double n) { return wilson(hits, n, -1); }
double wilson_high(double hits, double n) { return wilson(hits, n, 1); }
