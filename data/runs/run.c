/* run.c: see run.h. */
#include "run.h"
#include "../files/files.h"
#include "../files/models.h"
#include "../files/system.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The state's note: steps done, steps and sum of losses since the last metrics line. */
static int read_note(dual_ctx *c, dual_file *f, const char *path, run *r) {
    char note[96], *end;
    if (dual_file_note(f, "note", note, sizeof note) >= sizeof note || strncmp(note, "step ", 5))
        return dual_failed(c, "%s: it does not say its step", path);
    r->step = strtoull(note + 5, &end, 10);
    r->loss_steps = strtoull(end, &end, 10);
    r->loss_sum = strtod(end, NULL);
    return 1;
}

int run_open(dual_ctx *c, const char *folder, run *r) {
    char path[RUN_PATH + 32], error[300];
    memset(r, 0, sizeof *r);
    if (!run_load_settings(c, folder, &r->set)) return 0;
    if (!run_system(&r->set, &r->system, error, sizeof error))
        return dual_failed(c, "%s/run.json: %s", folder, error);
    snprintf(path, sizeof path, "%s/base", folder);
    if (!dual_config_read(c, path, &r->shape))
        return dual_failed(c, "%s: no checkpoint in it yet: let `train` run until its first save",
                           folder);
    if (r->shape.layers != r->set.layers || r->shape.hidden != r->set.width ||
        r->shape.heads != r->set.heads || r->shape.positions != r->set.context)
        return dual_failed(c, "%s: base/config.json and run.json tell of different shapes", folder);
    if (!run_find_type(c, r, path)) return 0;
    snprintf(path, sizeof path, "%s/state.safetensors", folder);
    dual_file *f = dual_file_open(c, path);
    if (!f) return 0;
    const int ok = read_note(c, f, path, r);
    dual_file_close(f);
    return ok;
}

/* A counted model has room for no number: loading it reads the headers. */
int run_find_type(dual_ctx *c, run *r, const char *folder) {
    dual_ctx count;
    r->base_type = strcmp(r->set.base_stored, "bf16") ? DUAL_FULL : DUAL_BF16;
    if (strcmp(r->set.base_stored, "file")) return 1;
    dual_init(&count, NULL, 0);
    dual_model *m = dual_model_new(&count, &r->shape);
    const int ok = models_load(&count, m, folder) || dual_failed(c, "%s", count.error);
    r->base_type = m->file_type;
    dual_done(&count);
    return ok;
}

const char *run_type_name(int type) {
    if (type == DUAL_BF16) return "BF16";
    return type == DUAL_F16 ? "F16" : "real";
}

int run_build(dual_ctx *c, run *r) {
    r->base = dual_model_kept(c, &r->shape, r->base_type);
    r->coprocessor = NULL;
    if (dual_system_needs_coprocessor(&r->system)) r->coprocessor = dual_model_new(c, &r->shape);
    return dual_exchange_new(c, &r->exchange, &r->system, r->base, r->coprocessor);
}

/* Entries of a checkpoint: every trained tensor as OWNER.name, then its moments m. and v. */
static int state_entry(dual_ctx *c, dual_file *f, const char *prefix, char owner,
                       const dual_param *p, dual_real *to, int needed) {
    char name[128];
    snprintf(name, sizeof name, "%s%c.%s", prefix, owner, p->name);
    const size_t i = dual_file_find(f, name);
    if (i == SIZE_MAX)
        return needed ? dual_failed(c, "state.safetensors: no %s in it", name) : 1;
    if (dual_file_entry(f, i).count != p->tensor->rows * p->tensor->cols)
        return dual_failed(c, "state.safetensors: %s has another shape than the model", name);
    if (!dual_file_read(c, f, i, to)) return 0;
    const dual_tensor values = {.rows = p->tensor->rows, .cols = p->tensor->cols, .data = to};
    size_t first;
    const size_t bad = dual_not_finite(&values, &first);
    return !bad || dual_failed(c, "state.safetensors: %s: %zu of %zu numbers are NaN or infinite, "
                               "the first at index %zu", name, bad, dual_file_entry(f, i).count,
                               first);
}

size_t run_stage(const run *r) { return run_stage_of(&r->set, r->step ? r->step - 1 : 0); }

static int load_coprocessor(dual_ctx *c, run *r, const char *folder) {
    char path[RUN_PATH + 32];
    snprintf(path, sizeof path, "%s/coprocessor", folder);
    return !r->coprocessor || models_load(c, r->coprocessor, path);
}

int run_load(dual_ctx *c, run *r, const char *folder, dual_adamw *moments) {
    char path[RUN_PATH + 32], owner;
    dual_param *p;
    size_t k = 0;                      /* moments stand in the order of the trained tensors */
    snprintf(path, sizeof path, "%s/base", folder);
    if (!models_load(c, r->base, path) || !load_coprocessor(c, r, folder)) return 0;
    snprintf(path, sizeof path, "%s/state.safetensors", folder);
    dual_file *f = dual_file_open(c, path);
    if (!f) return 0;
    int ok = 1;
    for (size_t i = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL; i++) {
        if (p->tensor->half) continue; /* frozen, and loaded from base/ */
        ok = state_entry(c, f, "", owner, p, p->tensor->data, owner == 'S');
        if (!moments || !p->tensor->needs_grad) continue;
        ok = ok && state_entry(c, f, "m.", owner, p, moments->m[k], 1) &&
             state_entry(c, f, "v.", owner, p, moments->v[k], 1);
        k++;
    }
    ok = ok && read_note(c, f, path, r);
    if (ok && moments) {               /* with --reset-optimizer it counts from its stage's start */
        const size_t before = run_stage(r) * r->set.stage_steps;
        moments->step = r->step - (r->set.reset_optimizer ? before : 0);
    }
    dual_file_close(f);
    return ok;
}

static int save_model(dual_ctx *c, const dual_model *m, const char *folder) {
    if (!data_make_folder(folder))
        return dual_failed(c, "%s: this folder cannot be created", folder);
    return dual_model_save(c, m, folder, NULL);
}

/* base/ and coprocessor/ as Hugging Face folders. A frozen Base is written once. */
static int save_models(dual_ctx *c, const run *r) {
    char path[RUN_PATH + 40];
    snprintf(path, sizeof path, "%s/base", r->set.out);
    const int wanted = r->system.base_trained || !data_has(path, "config.json");
    if (wanted && !save_model(c, r->base, path)) return 0;
    snprintf(path, sizeof path, "%s/coprocessor", r->set.out);
    return !r->coprocessor || save_model(c, r->coprocessor, path);
}

/* latents.safetensors: soft tokens and gain. */
static int save_latents(dual_ctx *c, const run *r) {
    char path[RUN_PATH + 40];
    const dual_param *list[2];
    size_t n = 0;
    if (r->exchange.soft.tensor) list[n++] = &r->exchange.soft;
    if (r->exchange.gain.tensor) list[n++] = &r->exchange.gain;
    snprintf(path, sizeof path, "%s/latents.safetensors", r->set.out);
    return !n || dual_file_save(c, path, n, list, NULL);
}

/* The entries of state.safetensors: each trained tensor, its moments m. and v., side by side. */
typedef struct {
    dual_param *entry;
    dual_tensor *tensor;
    const dual_param **list;
    size_t n;
} state_entries;

static void list_entries(run *r, const dual_adamw *o, state_entries *s) {
    static const char *const prefix[3] = {"", "m.", "v."};
    dual_param *p;
    char owner;
    for (size_t i = 0, k = 0; (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL; i++) {
        if (!p->tensor->needs_grad) continue;
        dual_real *const part[3] = {p->tensor->data, o->m[k], o->v[k]};
        for (int j = 0; j < 3; j++, s->n++) {
            dual_param *entry = &s->entry[s->n];
            *entry = *p;
            entry->tensor = &s->tensor[s->n];
            *entry->tensor = *p->tensor;
            entry->tensor->data = part[j];
            snprintf(entry->name, sizeof entry->name, "%s%c.%.70s", prefix[j], owner, p->name);
            s->list[s->n] = entry;
        }
        k++;
    }
}

static int save_state(dual_ctx *c, run *r, const dual_adamw *o) {
    char path[RUN_PATH + 40], note[96], owner;
    size_t all = 0;
    while (dual_exchange_param(&r->exchange, all, &owner)) all++;
    state_entries s = {calloc(3 * all + 1, sizeof *s.entry), calloc(3 * all + 1, sizeof *s.tensor),
                       calloc(3 * all + 1, sizeof *s.list), 0};
    int ok = s.entry && s.tensor && s.list;
    if (ok) {
        list_entries(r, o, &s);
        snprintf(note, sizeof note, "step %llu %llu %.17g", (unsigned long long)r->step,
                 (unsigned long long)r->loss_steps, r->loss_sum);
        snprintf(path, sizeof path, "%s/state.safetensors", r->set.out);
        ok = dual_file_save(c, path, s.n, s.list, note);
    } else dual_failed(c, "%s: no memory to write the checkpoint", r->set.out);
    free(s.entry);
    free(s.tensor);
    free(s.list);
    return ok;
}

/* Exports first, the state last: until it is renamed the old state still tells everything. Without
 * its run.json nobody could go on with it: then the folder is no longer what it was. */
int run_save(dual_ctx *c, run *r, dual_adamw *o) {
    if (!run_exists(r->set.out))
        return dual_failed(c, "%s/run.json is gone: was the folder removed or emptied?",
                           r->set.out);
    return save_models(c, r) && save_latents(c, r) && save_state(c, r, o);
}

/* FNV-1a */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

uint64_t run_fingerprint(const run *r) {
    uint64_t hash = UINT64_C(14695981039346656037);
    dual_exchange e = r->exchange;
    dual_param *p;
    char owner, value[RUN_PATH];
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (o->saved == UNSAVED) continue;
        option_print(o, &r->set, value, sizeof value);
        hash = hash_bytes(hash, value, strlen(value) + 1);
    }
    hash = hash_bytes(hash, r->set.data_held, strlen(r->set.data_held));
    hash = hash_bytes(hash, &r->step, sizeof r->step);
    for (size_t i = 0; (p = dual_exchange_param(&e, i, &owner)) != NULL; i++) {
        const dual_tensor *t = p->tensor;
        const size_t n = t->rows * t->cols;
        hash = t->half ? hash_bytes(hash, t->half, n * sizeof *t->half)
                       : hash_bytes(hash, t->data, n * sizeof *t->data);
    }
    return hash;
}

int run_load_latents(dual_ctx *c, run *r, const char *folder) {
    char path[RUN_PATH + 32];
    dual_exchange *e = &r->exchange;
    const dual_param *const part[2] = {&e->soft, &e->gain};
    if (!load_coprocessor(c, r, folder)) return 0;
    snprintf(path, sizeof path, "%s/latents.safetensors", folder);
    dual_file *f = dual_file_open(c, path);
    if (!f) return 0;
    int ok = 1;
    for (int k = 0; ok && k < 2; k++) {
        const dual_tensor *t = part[k]->tensor;
        const size_t i = t ? dual_file_find(f, part[k]->name) : SIZE_MAX;
        if (!t || (i == SIZE_MAX && k)) continue;     /* a gain it never had starts at 1 */
        dual_entry entry = {.rows = 0};
        if (i != SIZE_MAX) entry = dual_file_entry(f, i);
        if (entry.rows != t->rows || entry.cols != t->cols)
            ok = dual_failed(c, "%s: %s is %zu x %zu, this system has %zu x %zu", path,
                             part[k]->name, entry.rows, entry.cols, t->rows, t->cols);
        else ok = dual_file_read(c, f, i, t->data);
    }
    dual_file_close(f);
    return ok;
}

dual_exchange run_exchange(dual_ctx *c, const run *r, size_t latents) {
    dual_exchange e = r->exchange;
    dual_tensor *s = e.soft.tensor;
    /* pause and chain have one vector for any number */
    if (s && e.system.inject != DUAL_PAUSE && e.system.inject != DUAL_CHAIN && latents < s->rows)
        e.soft.tensor = dual_view(c, s, 0, latents, 0, s->cols);
    e.system.latents = latents;
    if (latents < 2) e.system.orthogonality = 0;      /* one alone points where it likes */
    return e;
}
