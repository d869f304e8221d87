/* loaded.c: see loaded.h. */
#include "loaded.h"
#include "../files/models.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *room_for(dual_ctx *c, size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) dual_failed(c, "out of memory: %zu x %zu bytes", count, size);
    return p;
}

void *work_room(dual_ctx *c, size_t count, size_t size) {
    void *p = room_for(c, count, size);
    if (!p) c->fatal(c->error);
    return p;
}

int output_check(dual_ctx *c, const char *name, const char *file) {
    return output_end(c, name, file, fopen(file, "ab"));
}

int output_end(dual_ctx *c, const char *name, const char *file, FILE *to) {
    int ok = to && !fflush(to) && !ferror(to);
    if (to && fclose(to)) ok = 0;
    return ok ? 1 : dual_failed(c, "%s: %s cannot be written", name, file);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static int set_latents(dual_ctx *c, loaded_run *loaded, size_t latents) {
    const dual_system *trained = &loaded->r.system;
    const int one_vector = trained->inject == DUAL_PAUSE || trained->inject == DUAL_CHAIN;
    if (!latents) return 1;
    if (trained->inject == DUAL_NONE)
        return dual_failed(c, "--latents: this run has no latents");
    if (latents > trained->latents && !one_vector)
        return dual_failed(c, "--latents %zu: it was trained with %zu soft tokens, and there are "
                           "no more", latents, trained->latents);
    loaded->latents = latents;
    return 1;
}

int loaded_run_open(dual_ctx *c, const char *folder, const char *broken, size_t latents,
                    loaded_run *loaded) {
    char error[300];
    memset(loaded, 0, sizeof *loaded);
    if (!run_open(c, folder, &loaded->r)) return 0;
    run_settings *trained = &loaded->r.set;
    if (*broken) snprintf(trained->broken, sizeof trained->broken, "%s", broken);
    if (!run_task_open(trained, folder, WITHOUT_ROWS, &loaded->task, error, sizeof error))
        return dual_failed(c, "%s: %s", folder, error);
    const size_t needed = tokenizer_size(loaded->task.tokens);
    int ok = 1;
    if (loaded->r.shape.vocab < needed)
        ok = dual_failed(c, "%s: a vocabulary of %zu words, the task needs %zu", folder,
                         loaded->r.shape.vocab, needed);
    loaded->stage = run_stage(&loaded->r);
    loaded->latents = run_latents_of(trained, &loaded->r.system, loaded->stage);
    ok = ok && set_latents(c, loaded, latents);
    if (!ok) loaded_run_close(loaded);
    return ok;
}

void loaded_run_close(loaded_run *loaded) { run_task_close(&loaded->task); }

int loaded_run_to_base(loaded_run *loaded) {
    run_settings *set = &loaded->r.set;
    char *at = loaded->untouched, source[RUN_PATH];
    const size_t size = sizeof loaded->untouched;
    dual_ctx c;                        /* for its line about an error, which is not asked for */
    if (*set->base) snprintf(source, sizeof source, "%s", set->base);
    else if (*set->from) snprintf(source, sizeof source, "%s", set->from);
    else snprintf(source, sizeof source, "%s", set->init);
    snprintf(at, size, *set->base || *set->from ? "%s/base" : "%s", source);
    dual_init(&c, NULL, 0);
    const int found = *at && dual_config_read(&c, at, &loaded->r.shape);
    dual_done(&c);
    loaded->r.system = dual_system_preset("none");
    loaded->latents = 0;
    snprintf(set->objective, sizeof set->objective, "lm");
    snprintf(set->out, sizeof set->out, "%s", source);
    return found;
}

/* ---- Working with it ----------------------------------------------------------------------- */

/* Of a run of the same shape, tensor by tensor. */
static void copy_weights(dual_exchange *to, dual_exchange *from) {
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(to, i, &owner)) != NULL; i++) {
        const dual_param *q = dual_exchange_param(from, i, &owner);
        memcpy(p->tensor->data, q->tensor->data,
               p->tensor->rows * p->tensor->cols * sizeof *p->tensor->data);
    }
}

static int load_weights(dual_ctx *c, loaded_run *loaded) {
    if (loaded->weights) copy_weights(&loaded->r.exchange, loaded->weights);
    if (loaded->weights) return 1;
    if (*loaded->untouched) return models_load(c, loaded->r.base, loaded->untouched);
    return run_load(c, &loaded->r, loaded->r.set.out, NULL);
}

/* How many bytes the models and the work take. */
static int measure(dual_ctx *c, loaded_run *loaded, run_work *work, void *job, size_t *size) {
    dual_ctx count;
    dual_init(&count, NULL, 0);
    count.fatal = c->fatal;
    int ok = 1;
    if (!run_build(&count, &loaded->r))
        ok = dual_failed(c, "%s: %s", loaded->r.set.out, count.error);
    else if (!work(&count, loaded, job)) ok = dual_failed(c, "%s", count.error);
    *size = count.peak + 4096;
    dual_done(&count);
    return ok;
}

int loaded_run_do(dual_ctx *c, loaded_run *loaded, run_work *work, void *job) {
    const char *folder = loaded->r.set.out;
    size_t size;
    dual_ctx real;
    if (!measure(c, loaded, work, job, &size)) return 0;
    void *block = malloc(size);
    if (!block) return dual_failed(c, "%s: no memory for %.1f MB", folder, (double)size / 1e6);
    dual_init(&real, block, size);
    real.fatal = c->fatal;
    int ok = 1;
    if (!run_build(&real, &loaded->r) || !load_weights(&real, loaded))
        ok = dual_failed(c, "%s: %s", folder, real.error);
    else if (!work(&real, loaded, job)) ok = dual_failed(c, "%s", real.error);
    free(block);
    return ok;
}

dual_exchange loaded_run_exchange(dual_ctx *c, const loaded_run *loaded) {
    return run_exchange(c, &loaded->r, loaded->latents);
}

size_t loaded_run_positions(const loaded_run *loaded, size_t n_x) {
    dual_system at_test = loaded->r.system;
    at_test.latents = loaded->latents;
    const size_t used = n_x + dual_latent_positions(&at_test) + 1;
    return used < loaded->r.shape.positions ? loaded->r.shape.positions - used : 0;
}

int loaded_run_check_ablation(dual_ctx *c, const loaded_run *loaded, dual_ablation ablation) {
    if (ablation.from == DUAL_RIGHT || loaded->r.system.inject != DUAL_NONE) return 1;
    return dual_failed(c, "--latents-from: this run has no latents");
}

const char *ablation_name(dual_source from) {
    static const char *const names[] = {"right", "swapped", "mean", "noise", "zero", "drop"};
    return names[from];
}

int ablation_parse(const char *text, dual_ablation *ablation) {
    const uint64_t seed = ablation->seed;
    char *end = NULL;
    *ablation = (dual_ablation){DUAL_RIGHT, 0, seed};
    for (int i = DUAL_RIGHT; i < DUAL_DROP; i++)
        if (!strcmp(text, ablation_name((dual_source)i))) {
            ablation->from = (dual_source)i;
            return 1;
        }
    if (strncmp(text, "drop:", 5) || text[5] < '0' || text[5] > '9') return 0;
    ablation->from = DUAL_DROP;
    ablation->slot = (size_t)strtoull(text + 5, &end, 10);
    return !*end;
}

int ablation_mixes(dual_source from) { return from == DUAL_SWAPPED || from == DUAL_MEAN; }
