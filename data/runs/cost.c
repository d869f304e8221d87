/* cost.c: see cost.h. */
#include "cost.h"
#include "gradients.h"
#include "platform.h"
#include "ranks.h"
#include <stdio.h>

/* One training step of a batch, of all ranks, in a counting context. 0: the batch does not fit. */
static int count_step(const run *r, const run_batch *b, double *flops) {
    run copy = *r;
    dual_ctx c;
    batch_means m;
    batch_share all = run_share(&r->set);
    all.first = 0;
    all.end = all.n;
    dual_init(&c, NULL, 0);
    int ok = run_build(&c, &copy);
    if (ok) {
        dual_exchange_train(&c, &copy.exchange);
        dual_exchange e = run_exchange(&c, &copy, run_latents_of(&r->set, &r->system, b->stage));
        ok = run_gradients(&c, &e, &b->batch, &all, &m);
    }
    *flops = ok ? c.flops : 0;
    dual_done(&c);
    return ok;
}

void run_stage_flops(const run *r, run_task *t, double flops[RUN_STAGES + 2]) {
    const size_t last = run_stage_of(&r->set, r->set.steps);
    for (size_t stage = 0; stage <= last; stage++) {
        run_batch b;
        char error[300];
        flops[stage] = 0;
        if (!run_batch_make(&r->set, t, stage * r->set.stage_steps, &b, error, sizeof error))
            continue;
        count_step(r, &b, &flops[stage]);
        run_batch_free(&b);
    }
}

double run_flops(const run_settings *set, const double flops[RUN_STAGES + 2], uint64_t steps) {
    const size_t last = run_stage_of(set, steps);
    double sum = 0;
    for (size_t stage = 0; stage < last; stage++) sum += flops[stage] * (double)set->stage_steps;
    return sum + flops[last] * (double)(steps - last * set->stage_steps);
}

/* Backward of one step on the longest batch that can come. */
static int count_longest(dual_ctx *c, const run *r, const run_task *t, dual_exchange *e) {
    run_batch b;
    batch_means m;
    const batch_share own = run_share(&r->set);
    char error[300];
    if (!run_batch_longest(&r->set, t, &b, error, sizeof error)) c->fatal(error);
    const int fits = run_gradients(c, e, &b.batch, &own, &m);
    run_batch_free(&b);
    return fits;
}

int run_count_memory(dual_ctx *c, const run *r, const run_task *t, const example *test,
                     size_t n_test, const token_block *held_out, size_t held_first,
                     run_memory *m) {
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    run copy = *r;
    dual_adamw adamw;
    c->recompute = r->set.recompute;
    if (!run_build(c, &copy)) return 0;
    m->parameters = c->used;
    dual_exchange_train(c, &copy.exchange);
    m->gradients = c->used - m->parameters;
    dual_adamw_new(c, &adamw, &copy.exchange);
    m->moments = c->used - m->parameters - m->gradients;
    const size_t kept = c->used;
    if (!count_longest(c, r, t, &copy.exchange)) return 0;
    m->tape = c->peak - kept;
    if (test)
        run_score(c, &copy.exchange, t, test, n_test, right, 0, 1, run_max_new(&r->set, t), NULL,
                  NULL);
    else if (n_test) run_text_loss(c, &copy.exchange, &r->set, held_out, held_first, 1);
    m->all = c->peak;
    m->scoring = m->all - m->tape - kept;
    return 1;
}

/* What would make a run take less, by what most of it is. */
static const char *how_to_save_memory(const run *r, const run_memory *m) {
    if (m->tape > m->all / 2 && r->set.recompute)
        return "most of it is the tape, which a larger --accumulate or a smaller --batch (or "
               "--groups, --sequence) makes smaller in proportion";
    if (m->tape > m->all / 2)
        return "most of it is the tape, which --recompute halves or better; --accumulate 2 halves "
               "it again, as a smaller --batch (or --groups, --sequence) does";
    if (m->scoring > m->all / 2) return "most of it is for scoring: a smaller --max-new";
    if (r->system.base_trained)
        return "most of it is parameters with gradients and moments: a frozen Base (liu, h1, "
               "prompt) or a smaller model takes less";
    return "most of it is parameters: a smaller model takes less, or a Base in 16 bits "
           "(--base-stored)";
}

int run_memory_check(dual_ctx *c, const run *r, const run_memory *m, const char *root) {
    const double gib = 1073741824.0, all = (double)m->all * (double)ranks_here();
    const char *whose = "--memory says";
    double has = r->set.memory * gib;
    if (!(has > 0)) has = run_memory_limit(root, &whose);
    if (!(has > 0) || all <= has) return 1;
    return dual_failed(c, "it takes %.2f GiB and %s %.2f: %s", all / gib, whose, has / gib,
                       how_to_save_memory(r, m));
}
