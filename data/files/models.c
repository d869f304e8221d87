/* models.c: see models.h. */
#include "models.h"
#include "files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char index_name[] = "model.safetensors.index.json";

/* ---- What is not used ------------------------------------------------------------------------ */

/* The tensors of a folder that the model has no place for; the first few by name. */
typedef struct {
    size_t n;
    char first[160];
} unused;

/* Names are compared without the prefix that some exports lack. */
static const char *bare(const char *name) {
    if (!strncmp(name, "transformer.", 12)) return name + 12;
    return strncmp(name, "model.", 6) ? name : name + 6;
}

static int ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

/* Causal masks and rotary frequencies, which older files hold; a tied head is the embedding. */
static int is_buffer(const dual_model *m, const char *name) {
    return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias") ||
           ends_with(name, "rotary_emb.inv_freq") ||
           (m->config.tied && !strcmp(name, "lm_head.weight"));
}

static int is_used(const dual_model *m, const char *name) {
    for (size_t i = 0; i < m->n_params; i++)
        if (!strcmp(bare(m->param[i].name), bare(name))) return 1;
    return 0;
}

static void add_unused(unused *u, const char *name) {
    const size_t used = strlen(u->first);
    if (u->n++ < 3)
        snprintf(u->first + used, sizeof u->first - used, "%s%.48s", used ? ", " : "", name);
}

/* What models_warnings fills. */
typedef struct { char *text; size_t size; } lines;

static void warn_of_tensors(const lines *to, const char *path, const unused *u) {
    const size_t used = strlen(to->text);
    if (u->n)
        snprintf(to->text + used, to->size - used, "%s: %zu tensors are not used, the model has no "
                 "place for them: %s%s\n", path, u->n, u->first, u->n > 3 ? ", .." : "");
}

static void warn_of_file(const lines *to, dual_ctx *c, const dual_model *m, const char *path) {
    unused u = {0, ""};
    dual_file *f = dual_file_open(c, path);
    for (size_t i = 0; f && i < dual_file_count(f); i++) {
        const dual_entry e = dual_file_entry(f, i);
        if (!is_used(m, e.name) && !is_buffer(m, e.name)) add_unused(&u, e.name);
    }
    dual_file_close(f);
    warn_of_tensors(to, path, &u);
}

/* Whether some tensor that the index has in this file is the model's. */
static int is_opened(dual_json map, const dual_model *m, const char *file) {
    dual_json key, value = {NULL, NULL};
    char name[256], where[512];
    while (dual_json_each(map, &key, &value)) {
        dual_json_string(key, name, sizeof name);
        dual_json_string(value, where, sizeof where);
        if (!strcmp(where, file) && is_used(m, name)) return 1;
    }
    return 0;
}

static void warn_of_index(const lines *to, const char *path, dual_json map, const dual_model *m) {
    dual_json key, value = {NULL, NULL};
    char name[256], file[512], last[512] = "";
    unused tensors = {0, ""}, files = {0, ""};
    while (dual_json_each(map, &key, &value)) {
        dual_json_string(key, name, sizeof name);
        dual_json_string(value, file, sizeof file);
        if (is_used(m, name) || is_buffer(m, name)) continue;
        add_unused(&tensors, name);
        if (strcmp(file, last) != 0 && !strstr(files.first, file) && !is_opened(map, m, file))
            add_unused(&files, file);
        snprintf(last, sizeof last, "%s", file);
    }
    warn_of_tensors(to, path, &tensors);
    const size_t used = strlen(to->text);
    if (files.n)
        snprintf(to->text + used, to->size - used, "%s: never opened: %s%s\n", path, files.first,
                 files.n > 3 ? ", .." : "");
}

void models_warnings(dual_ctx *c, const dual_model *m, const char *folder, char *text,
                     size_t size) {
    const lines to = {text, size};
    char path[1100];
    size_t length;
    *text = 0;
    const int whole = data_has(folder, "model.safetensors"), parts = data_has(folder, index_name);
    snprintf(path, sizeof path, "%s/%s", folder, whole ? "model.safetensors" : index_name);
    if (whole && parts)
        snprintf(text, size, "%s was read, %s beside it was not\n", path, index_name);
    if (whole) {
        warn_of_file(&to, c, m, path);
        return;
    }
    char *index = dual_text_read(c, path, &length);
    if (!index) return;
    const dual_json all = dual_json_text(index, length, NULL, 0);
    warn_of_index(&to, path, dual_json_get(all, "weight_map"), m);
    free(index);
}

/* ---- What stands there instead --------------------------------------------------------------- */

/* What the folder holds that is no model of this program's; NULL: nothing that it knows. */
static const char *instead(const char *folder) {
    char part[64];
    if (data_has(folder, "model.safetensors")) return NULL;
    if (data_has(folder, index_name))
        return "is the index of another download, or one of its files missing?";
    for (int n = 2; n < 200; n++) {
        snprintf(part, sizeof part, "model-00001-of-%05d.safetensors", n);
        if (data_has(folder, part))
            return "its parts need model.safetensors.index.json beside them";
    }
    if (data_has(folder, "pytorch_model.bin") || data_has(folder, "pytorch_model.bin.index.json"))
        return "pytorch_model.bin is a pickle, which is not read; save_pretrained of transformers "
               "writes safetensors";
    return NULL;
}

int models_load(dual_ctx *c, dual_model *m, const char *folder) {
    char said[sizeof c->error], warnings[4096];
    if (dual_model_load(c, m, folder)) {
        models_warnings(c, m, folder, warnings, sizeof warnings);
        if (!c->memory) return 1;      /* counting says nothing: the load itself comes later */
        for (const char *line = strtok(warnings, "\n"); line; line = strtok(NULL, "\n"))
            fprintf(stderr, "warning: %s\n", line);
        return 1;
    }
    const char *hint = instead(folder);
    snprintf(said, sizeof said, "%s", c->error);
    return hint ? dual_failed(c, "%s; %s", said, hint) : 0;
}
