/* perplexity.c: see perplexity.h. */
#include "perplexity.h"
#include "multiple_choice.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 20260105 };            /* seeds the places, the same for every run */

/* ---- What is asked for --------------------------------------------------------------------- */

static int plan_sequence(dual_ctx *c, const loaded_run *loaded, const perplexity_options *o,
                         run_settings *how) {
    const size_t others = loaded->latents + 1;        /* the latents and the cue */
    how->latents = loaded->latents;
    if (o->ahead) how->ahead = o->ahead;
    if (o->sequence || how->context < how->sequence + others) how->sequence = o->sequence;
    how->sequence = run_sequence(how);
    if (how->context < how->sequence + others)
        return dual_failed(c, "--sequence %zu: with %zu latents and a cue it does not fit a "
                           "context of %zu", how->sequence, loaded->latents, how->context);
    if (how->sequence < how->ahead + 2)
        return dual_failed(c, "--ahead %zu: sequences of %zu tokens are too short", how->ahead,
                           how->sequence);
    return 1;
}

static int plan_places(dual_ctx *c, const perplexity_options *o, run_settings *how) {
    const size_t places = how->sequence - 1 - how->ahead;
    if (o->groups) how->groups = o->groups;
    if (!how->groups) how->groups = how->sequence / how->ahead;
    if (how->groups > places)
        return dual_failed(c, "--groups: %zu places, a sequence has %zu", how->groups, places);
    how->seed = PLACES;
    return 1;
}

static int plan_text(dual_ctx *c, const loaded_run *loaded, const perplexity_options *o,
                     const char *file, perplexity_result *p) {
    if (!text_open(c, loaded, &p->how, file, &p->text)) return 0;
    const size_t ids = p->text.ids.used - p->text.first;
    p->sequences = ids / p->how.sequence;
    if (!p->sequences)
        return dual_failed(c, "%s: %zu tokens, expected at least one sequence of %zu",
                           p->text.name, ids, p->how.sequence);
    if (p->sequences > o->sequences) p->sequences = o->sequences;
    return p->sequences || dual_failed(c, "--sequences must be above 0");
}

int perplexity_plan(dual_ctx *c, const loaded_run *loaded, const perplexity_options *o,
                    const char *file, perplexity_result *p) {
    memset(p, 0, sizeof *p);
    p->how = loaded->r.set;
    p->ablation = o->ablation;
    p->has_latents = loaded->latents > 0;
    snprintf(p->how.objective, sizeof p->how.objective, "pretrain");
    if (plan_sequence(c, loaded, o, &p->how) && plan_places(c, o, &p->how) &&
        plan_text(c, loaded, o, file, p)) {
        p->with = room_for(c, p->how.ahead + 1, sizeof *p->with);
        p->without = room_for(c, p->how.ahead + 1, sizeof *p->without);
        if (p->with && p->without) return 1;
    }
    free(p->text.ids.at);              /* not perplexity_free: the text's report may be printed */
    free(p->with);
    free(p->without);
    p->text.ids.at = NULL;
    p->with = p->without = NULL;
    return 0;
}

void perplexity_free(perplexity_result *p) {
    free(p->text.ids.at);
    free(p->with);
    free(p->without);
    memset(p, 0, sizeof *p);
}

/* ---- Measuring ----------------------------------------------------------------------------- */

/* Adds -log p of each token ahead, summed over the places of one sequence. */
static void add_sequence(dual_ctx *c, dual_exchange *e, const dual_batch *batch, size_t ahead,
                         double *each, double *sum) {
    const dual_mark start = dual_mark_here(c);
    dual_outcome out;
    dual_run(c, e, batch, &out);
    for (size_t g = 0; c->memory && g < batch->n_groups; g++) {
        log_likelihoods(out.logits, g * ahead, &batch->group[g], each);
        for (size_t a = 0; a < ahead; a++) sum[a] -= each[a];
    }
    dual_release(c, start);
}

static int perplexity_work(dual_ctx *c, loaded_run *loaded, void *job) {
    perplexity_result *p = job;
    const size_t ahead = p->how.ahead;
    dual_exchange with = loaded_run_exchange(c, loaded), without;
    dual_system none = dual_system_preset("none");
    char error[160];
    none.base_trained = loaded->r.system.base_trained;
    if (!dual_exchange_new(c, &without, &none, loaded->r.base, NULL)) return 0;
    double *each = work_room(c, ahead, sizeof *each);
    int ok = 1;
    c->inference = 1;
    for (size_t i = 0; ok && i < p->sequences; i++) {
        const int32_t *text = p->text.ids.at + p->text.first + i * p->how.sequence;
        run_batch b;
        if (!run_text_batch(&p->how, text, i, &b, error, sizeof error)) {
            ok = dual_failed(c, "%s", error);
            break;
        }
        add_sequence(c, &without, &b.batch, ahead, each, p->without);
        b.batch.ablation = p->ablation;
        if (p->has_latents) add_sequence(c, &with, &b.batch, ahead, each, p->with);
        run_batch_free(&b);
    }
    free(each);
    return ok;
}

/* Sums become perplexities. */
static void finish(double *sum, size_t ahead, double places) {
    double all = 0;
    for (size_t a = 0; a < ahead; a++) {
        all += sum[a];
        sum[a] = exp(sum[a] / places);
    }
    sum[ahead] = exp(all / (places * (double)ahead));
}

int perplexity_measure(dual_ctx *c, loaded_run *loaded, perplexity_result *p) {
    const size_t ahead = p->how.ahead;
    const double places = (double)(p->sequences * p->how.groups);
    if (!loaded_run_do(c, loaded, perplexity_work, p)) return 0;
    finish(p->without, ahead, places);
    finish(p->with, ahead, places);
    for (size_t a = 0; !p->has_latents && a <= ahead; a++) p->with[a] = NAN;
    return 1;
}
