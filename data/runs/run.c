/* run.c: see run.h. Settings and option tables, run folders, scoring. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>
#endif
#include "run.h"
#include "../files/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The options ---------------------------------------------------------------------------
 * One table makes --help, the parser, run.json and its reader. */

#define AT(kind, field) kind, offsetof(run_settings, field), sizeof ((run_settings *)0)->field
const option RUN_OPTIONS[] = {
    {"", OPTION_TEXT, 0, 0, "", "What is trained", 0},
    {"task", AT(OPTION_TEXT, task), "countdown", "countdown gsm8k prosqa text", 1},
    {"data", AT(OPTION_TEXT, data), "",
     "file of rows; text: or a folder; empty: generated (countdown, prosqa)", 1},
    {"valid", AT(OPTION_TEXT, valid), "",
     "file to score on while training; empty: generated, or the text held out", 1},
    {"broken", AT(OPTION_TEXT, broken), "fatal", "rows that cannot be used: fatal, or skip", 1},
    {"tokenizer", AT(OPTION_TEXT, tokenizer), "",
     "words, bytes or a folder; empty: the Base's or the task's", 1},
    {"objective", AT(OPTION_TEXT, objective), "answer",
     "answer: a system on rows; lm: a Base, pretrain: a system on text", 1},
    {"system", AT(OPTION_TEXT, system), "none",
     "none pause soft prompt wide coconut liu h1 h2 h1h2", 1},
    {"inject", AT(OPTION_TEXT, inject), "",
     "instead of the system's: none pause soft chain embed kv", 1},
    {"base-frozen", AT(OPTION_FLAG, base_frozen), "0", "freeze the Base, whatever the system", 1},
    {"base-trained", AT(OPTION_FLAG, base_trained), "0", "train the Base, whatever the system", 1},
    {"latents", AT(OPTION_SIZE, latents), "4", "N_L, latents per augmentation", 1},
    {"latent-gain", AT(OPTION_TEXT, gain), "none", "none, or trained: one scalar on the latents",
     1},
    {"detach-cache", AT(OPTION_FLAG, detach), "0", "no gradient through the Base's cache", 1},
    {"kv-layers", AT(OPTION_TEXT, kv_layers), "",
     "kv: layers whose keys and values join, from 0 on, like 0-5,8; empty: all", 1},
    {"fused", AT(OPTION_FLAG, fused), "0", "the text is read once more, in the speak pass itself",
     1},
    {"text-loss", AT(OPTION_REAL, text_loss), "0", "weight of a loss on the plain text", 1},
    {"orthogonality", AT(OPTION_REAL, orthogonality), "0",
     "weight of the penalty on latents that point the same way", 1},
    {"orthogonality-form", AT(OPTION_TEXT, orthogonality_form), "plain",
     "plain centred values centred-values", 1},
    {"", OPTION_TEXT, 0, 0, "", "Steps and curriculum (--objective answer)", 0},
    {"steps-shown", AT(OPTION_TEXT, steps_shown), "none",
     "in y: none (no-CoT), all (CoT), curriculum (Coconut's)", 1},
    {"stages", AT(OPTION_SIZE, stages), "0",
     "that drop one more step; 0: gsm8k 3, prosqa 6, countdown all", 1},
    {"stage-steps", AT(OPTION_SIZE, stage_steps), "0",
     "optimiser steps in each; 0: steps / (stages + 2)", 1},
    {"stage-epochs", AT(OPTION_REAL, stage_epochs), "0", "the same in epochs of --data", 1},
    {"latents-per-stage", AT(OPTION_SIZE, latents_per_stage), "0",
     "c: stage s has s x c latents; 0: --latents in every stage", 1},
    {"uniform-stage", AT(OPTION_REAL, uniform_stage), "0",
     "probability that a row's stage is drawn at random", 1},
    {"reset-optimizer", AT(OPTION_FLAG, reset_optimizer), "0",
     "AdamW starts anew at every stage", 1},
    {"", OPTION_TEXT, 0, 0, "", "Pretraining on text (--objective pretrain)", 0},
    {"groups", AT(OPTION_SIZE, groups), "0",
     "M, insertion places per sequence; 0: sequence / ahead", 1},
    {"ahead", AT(OPTION_SIZE, ahead), "16", "N_A, targets after each place's cue", 1},
    {"sequence", AT(OPTION_SIZE, sequence), "0",
     "tokens per sequence; 0: the context (pretrain: less latents and 1), 1024 at most", 1},
    {"held-out", AT(OPTION_REAL, held_out), "0.05",
     "share of the text that is never trained on, its last part", 1},
    {"", OPTION_TEXT, 0, 0, "", "Where the Base comes from", 0},
    {"base", AT(OPTION_TEXT, base), "", "a run folder: its base/ only", 1},
    {"from", AT(OPTION_TEXT, from), "",
     "a run folder: its Base, Coprocessor, soft tokens and gain", 1},
    {"init", AT(OPTION_TEXT, init), "", "a Hugging Face folder with the task's vocabulary", 1},
    {"wide-of", AT(OPTION_TEXT, wide_of), "",
     "a run: one model of the size of its Base and Coprocessor together", 1},
    {"base-stored", AT(OPTION_TEXT, base_stored), "real",
     "a frozen Base's weights: real; file: as its files are; bf16: rounded", 1},
    {"arch", AT(OPTION_TEXT, arch), "gpt2", "gpt2 or qwen3, for a Base from random weights", 1},
    {"layers", AT(OPTION_SIZE, layers), "4", "layers", 1},
    {"width", AT(OPTION_SIZE, width), "64", "hidden size", 1},
    {"heads", AT(OPTION_SIZE, heads), "4", "attention heads", 1},
    {"kv-heads", AT(OPTION_SIZE, kv_heads), "0", "qwen3: key heads; 0: half of the heads", 1},
    {"head-dim", AT(OPTION_SIZE, head_dim), "0", "qwen3: width of a head; 0: width / heads", 1},
    {"mlp", AT(OPTION_SIZE, mlp), "0", "inner width; 0: 4 x width (gpt2), 3 x width (qwen3)", 1},
    {"context", AT(OPTION_SIZE, context), "32", "positions of the model", 1},
    {"", OPTION_TEXT, 0, 0, "", "The generated problems", 0},
    {"numbers", AT(OPTION_TEXT, numbers), "3", "how many numbers: 3, or 3-5", 1},
    {"range", AT(OPTION_TEXT, range), "1-20", "the numbers' range", 1},
    {"targets", AT(OPTION_TEXT, targets), "10-100", "the targets' range", 1},
    {"facts", AT(OPTION_REAL, facts), "0.15", "lm: share of samples that are facts a+b=c", 1},
    {"nodes", AT(OPTION_TEXT, nodes), "14-28", "prosqa: nodes of a graph", 1},
    {"path", AT(OPTION_TEXT, path), "3-6", "prosqa: steps to the answer", 1},
    {"concepts", AT(OPTION_SIZE, concepts), "38", "prosqa: words for what things are", 1},
    {"names", AT(OPTION_SIZE, names), "17", "prosqa: names", 1},
    {"", OPTION_TEXT, 0, 0, "", "Training", 0},
    {"steps", AT(OPTION_SIZE, steps), "0", "optimiser steps; 0: 800 for lm, else 600", 1},
    {"match-flops", AT(OPTION_TEXT, match_flops), "",
     "a run: as many steps as cost its training FLOPs", 1},
    {"batch", AT(OPTION_SIZE, batch), "128", "sequences per step", 1},
    {"lr", AT(OPTION_REAL, rate), "0", "peak learning rate; 0: the documented table's", 1},
    {"schedule", AT(OPTION_TEXT, schedule), "cosine", "after the warm-up: cosine to 0, or constant",
     1},
    {"warmup", AT(OPTION_REAL, warmup), "0.02", "share of the steps", 1},
    {"weight-decay", AT(OPTION_REAL, decay), "0.1", "AdamW's, matrices only", 1},
    {"clip", AT(OPTION_REAL, clip), "1", "largest global gradient norm; 0: none", 1},
    {"seed", AT(OPTION_SIZE, seed), "1", "of weights, soft tokens and data", 1},
    {"max-new", AT(OPTION_SIZE, max_new), "0",
     "tokens of an answer; 0: the task's", 1},
    {"keep-best", AT(OPTION_FLAG, keep_best), "0",
     "keep the best state on validation problems in OUT/best", 1},
    {"", OPTION_TEXT, 0, 0, "", "The run", 0},
    {"out", AT(OPTION_TEXT, out), "", "folder of this run (wanted)", 0},
    {"resume", AT(OPTION_FLAG, resume), "0", "go on from the last checkpoint, if there is one", 0},
    {"dry-run", AT(OPTION_FLAG, dry_run), "0", "print memory, FLOPs and header, then stop", 0},
    {"describe", AT(OPTION_FLAG, describe), "0", "print statistics of the task's rows, then stop",
     0},
    {"recompute", AT(OPTION_FLAG, recompute), "0",
     "keep half of the tape or less, a third more time; never moves a number", 2},
    {"memory", AT(OPTION_REAL, memory), "0", "GiB it may take; 0: what the machine has", 0},
    {"quiet", AT(OPTION_FLAG, quiet), "0", "no header and no progress on stderr", 0},
    {"threads", AT(OPTION_SIZE, threads), "0", "0: as many as there are; never moves a number", 0},
    {"log-every", AT(OPTION_SIZE, log_every), "50", "steps between two metrics lines", 2},
    {"save-every", AT(OPTION_SIZE, save_every), "100", "steps between two checkpoints", 2},
    {"score-points", AT(OPTION_SIZE, score_points), "4",
     "accuracy at so many equal shares of the steps", 2},
    {"score-count", AT(OPTION_SIZE, score_count), "1000", "test problems for those", 2},
    {NULL, 0, 0, 0, NULL, NULL, 0},
};

static void *field_of(const option *o, void *settings) { return (char *)settings + o->offset; }

int option_set(const option *o, void *settings, const char *value, char *error, size_t size) {
    char *end;
    void *at = field_of(o, settings);
    if (o->kind == OPTION_TEXT) {
        if ((size_t)snprintf(at, o->room, "%s", value) < o->room) return 1;
        snprintf(error, size, "--%s: longer than %zu characters", o->name, o->room - 1);
        return 0;
    }
    if (o->kind == OPTION_ARGUMENT) {
        *(const char **)at = value;
        return 1;
    }
    const double x = strtod(value, &end);
    int good = end != value && *end == 0 && x >= 0 && x <= 1e15;
    if (o->kind != OPTION_REAL) good = good && x == floor(x);
    if (o->kind == OPTION_FLAG) good = good && x <= 1;
    if (!good) {
        snprintf(error, size, "--%s: \"%.40s\" is not a %s from 0 on", o->name, value,
                 o->kind == OPTION_REAL ? "number" : "whole number");
        return 0;
    }
    if (o->kind == OPTION_SIZE) *(size_t *)at = (size_t)x;
    else if (o->kind == OPTION_FLAG) *(int *)at = (int)x;
    else *(double *)at = x;
    return 1;
}

void option_print(const option *o, const void *settings, char *out, size_t size) {
    const void *at = (const char *)settings + o->offset;
    if (o->kind == OPTION_TEXT) snprintf(out, size, "%s", (const char *)at);
    else if (o->kind == OPTION_SIZE) snprintf(out, size, "%zu", *(const size_t *)at);
    else if (o->kind == OPTION_FLAG) snprintf(out, size, "%d", *(const int *)at);
    else {                             /* the shortest that reads back as the same number */
        snprintf(out, size, "%.15g", *(const double *)at);
        if (strtod(out, NULL) != *(const double *)at)
            snprintf(out, size, "%.17g", *(const double *)at);
    }
}

void options_defaults(const option *table, void *settings) {
    char error[80];
    for (const option *o = table; o->name; o++)
        if (*o->name) option_set(o, settings, o->otherwise, error, sizeof error);
}

/* Levenshtein distance of two short words, for "did you mean". */
static size_t distance(const char *a, const char *b) {
    size_t row[40], n = strlen(b);
    if (n >= 40) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (*a != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static const option *find_option(const option *table, const char *name, size_t length,
                                 const char **nearest) {
    char word[64];
    size_t best = SIZE_MAX;
    *nearest = "help";
    snprintf(word, sizeof word, "%.*s", (int)(length < 60 ? length : 60), name);
    for (const option *o = table; o->name; o++) {
        if (!*o->name) continue;
        if (!strcmp(o->name, word)) return o;
        if (distance(word, o->name) < best) {
            best = distance(word, o->name);
            *nearest = o->name;
        }
    }
    return NULL;
}

const char *options_nearest(const option *table, const char *word) {
    const char *nearest;
    const option *o = find_option(table, word, strlen(word), &nearest);
    return o ? o->name : nearest;
}

int options_parse(const option *table, void *settings, int argc, char **argv, const char **rest,
                  size_t *n_rest, size_t max_rest, unsigned char *given, char *error, size_t size) {
    *n_rest = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *nearest;
        if (strncmp(a, "--", 2)) {
            if (*n_rest == max_rest) {
                snprintf(error, size, "\"%.60s\" is one word too many; options start with --", a);
                return 0;
            }
            rest[(*n_rest)++] = a;
            continue;
        }
        const char *equals = strchr(a, '=');
        const option *o = find_option(table, a + 2, equals ? (size_t)(equals - a - 2)
                                                           : strlen(a + 2), &nearest);
        if (!o) {
            snprintf(error, size, "unknown option %.60s; did you mean --%s? (--help lists all)", a,
                     nearest);
            return 0;
        }
        const char *value = equals ? equals + 1 : o->kind == OPTION_FLAG ? "1" :
                            i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            snprintf(error, size, "--%s wants a value: %s", o->name, o->help);
            return 0;
        }
        if (!option_set(o, settings, value, error, size)) return 0;
        if (given) given[o - table] = 1;
    }
    return 1;
}

void options_help(const option *table) {
    for (const option *o = table; o->name; o++) {
        char word[40];
        if (!*o->name) {
            printf("\n%s\n", o->help);
            continue;
        }
        snprintf(word, sizeof word, "--%s%s", o->name, o->kind == OPTION_FLAG ? "" :
                 o->kind == OPTION_TEXT || o->kind == OPTION_ARGUMENT ? " TEXT" :
                 o->kind == OPTION_REAL ? " X" : " N");
        printf("  %-22s %s", word, o->help);
        if (o->kind != OPTION_FLAG && o->otherwise) printf(" [%s]", o->otherwise);
        printf("\n");
    }
}

/* ---- run.json ------------------------------------------------------------------------------ */

int run_save_settings(dual_ctx *c, const run_settings *set) {
    char path[RUN_PATH + 16], text[32768], value[RUN_PATH], quoted[6 * RUN_PATH + 9];
    size_t n = (size_t)snprintf(text, sizeof text, "{\n  \"format\": \"dual run 1\"");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!o->saved) continue;
        option_print(o, set, value, sizeof value);
        dual_json_quote(value, quoted, sizeof quoted);
        n += (size_t)snprintf(text + n, sizeof text - n,
                              o->kind == OPTION_TEXT ? ",\n  \"%s\": \"%s\"" : ",\n  \"%s\": %s",
                              o->name, quoted);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "\n}\n");
    snprintf(path, sizeof path, "%s/run.json", set->out);
    return dual_text_save(c, path, text, n);
}

int run_exists(const char *folder) { return data_has(folder, "run.json"); }

int run_load_settings(dual_ctx *c, const char *folder, run_settings *set) {
    char path[RUN_PATH + 16], value[RUN_PATH], error[200];
    size_t length;
    options_defaults(RUN_OPTIONS, set);
    if ((size_t)snprintf(path, sizeof path, "%s/run.json", folder) >= sizeof path)
        return dual_failed(c, "%.60s..: path too long", folder);
    char *text = dual_text_read(c, path, &length);
    if (!text) return dual_failed(c, "%s: no run there (no readable run.json)", folder);
    dual_json j = dual_json_text(text, length);
    int ok = dual_json_type(j) == '{' || dual_failed(c, "%s: not a JSON object", path);
    dual_json_string(dual_json_get(j, "format"), value, sizeof value);
    if (ok && strcmp(value, "dual run 1"))
        ok = dual_failed(c, "%s: format \"%.40s\", this program reads \"dual run 1\"", path, value);
    for (const option *o = RUN_OPTIONS; ok && o->name; o++) {
        dual_json v = dual_json_get(j, o->name);
        if (!o->saved || !dual_json_type(v)) continue; /* an older run: as it was without it */
        if (dual_json_type(v) != (o->kind == OPTION_TEXT ? '"' : '0') ||
            (o->kind == OPTION_TEXT ? dual_json_string(v, value, sizeof value)
                                    : (size_t)(v.end - v.begin)) >= sizeof value) {
            ok = dual_failed(c, "%s: %s is of the wrong kind", path, o->name);
            break;
        }
        if (o->kind != OPTION_TEXT) snprintf(value, sizeof value, "%.*s", (int)(v.end - v.begin),
                                             v.begin);
        if (!option_set(o, set, value, error, sizeof error))
            ok = dual_failed(c, "%s: %s", path, error);
    }
    free(text);
    snprintf(set->out, sizeof set->out, "%s", folder);
    return ok;
}

/* ---- A run in memory ------------------------------------------------------------------------ */

/* "0-5,8" as bits; 0: it does not read like that. */
static uint64_t layer_bits(const char *text) {
    uint64_t bits = 0;
    while (*text) {
        char *end;
        const unsigned long a = strtoul(text, &end, 10);
        unsigned long b = a;
        if (end == text || *text == '-' || *text == '+') return 0;
        if (*end == '-') {
            text = end + 1;
            b = strtoul(text, &end, 10);
            if (end == text || *text == '-' || *text == '+') return 0;
        }
        if (b < a || b > 63 || (*end && (*end != ',' || !end[1]))) return 0;
        for (unsigned long l = a; l <= b; l++) bits |= UINT64_C(1) << l;
        text = end + (*end == ',');
    }
    return bits;
}

static int options_of_exchange(const run_settings *set, dual_system *s, char *error, size_t size) {
    static const char *const forms[] = {"plain", "centred", "values", "centred-values"};
    int form = 0;
    while (form < 4 && strcmp(set->orthogonality_form, forms[form])) form++;
    if (form == 4) {
        snprintf(error, size, "--orthogonality-form: \"%.20s\" is not one of plain centred values "
                 "centred-values", set->orthogonality_form);
        return 0;
    }
    s->kv_layers = layer_bits(set->kv_layers);
    if (*set->kv_layers && !s->kv_layers) {
        snprintf(error, size, "--kv-layers: \"%.40s\" should read like 0-5,8, layers below 64",
                 set->kv_layers);
        return 0;
    }
    s->fused = set->fused;
    s->text_loss = set->text_loss;
    s->orthogonality = set->orthogonality;
    s->centred = form & 1;
    s->values = form >> 1;
    return 1;
}

int run_system(const run_settings *set, dual_system *s, char *error, size_t size) {
    *s = dual_system_preset(set->system);
    if (s->latents == SIZE_MAX) {
        snprintf(error, size,
                 "--system: \"%.20s\" is not one of none pause soft prompt wide coconut "
                 "liu h1 h2 h1h2",
                 set->system);
        return 0;
    }
    s->latents = s->inject == DUAL_NONE && !*set->inject ? 0 : set->latents;
    /* a chain that grows with the stages is built at its longest */
    if (s->latents && set->latents_per_stage && set->stages && !run_on_text(set) &&
        !strcmp(set->steps_shown, "curriculum"))
        s->latents = set->stages * set->latents_per_stage;
    if (*set->inject) {
        int i = 0;
        while (i <= DUAL_KV && strcmp(set->inject, dual_injection_name((dual_injection)i))) i++;
        if (i > DUAL_KV) {
            snprintf(error, size,
                     "--inject: \"%.20s\" is not one of none pause soft chain embed kv",
                     set->inject);
            return 0;
        }
        s->inject = (dual_injection)i;
        if (s->inject == DUAL_NONE) s->latents = 0;
    }
    if (set->base_frozen && set->base_trained) {
        snprintf(error, size, "--base-frozen and --base-trained: one of them");
        return 0;
    }
    if (set->base_frozen || set->base_trained) s->base_trained = set->base_trained;
    if (*set->inject || set->base_frozen || set->base_trained)
        snprintf(s->name, sizeof s->name, "%s/%s", dual_injection_name(s->inject),
                 s->base_trained ? "trained" : "frozen");
    if (strcmp(set->gain, "none") && strcmp(set->gain, "trained")) {
        snprintf(error, size, "--latent-gain: none or trained, not \"%.20s\"", set->gain);
        return 0;
    }
    if (s->inject != DUAL_NONE && !s->latents) {
        snprintf(error, size, "--latents must be above 0; --system none is the one without");
        return 0;
    }
    s->gain = !strcmp(set->gain, "trained");
    s->detach = set->detach;
    return options_of_exchange(set, s, error, size);
}

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
    const int ok = dual_model_load(&count, m, folder) || dual_failed(c, "%s", count.error);
    r->base_type = m->file_type;
    dual_done(&count);
    return ok;
}

const char *run_type_name(int type) {
    return type == DUAL_BF16 ? "BF16" : type == DUAL_F16 ? "F16" : "real";
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
    for (size_t k = 0; k < p->tensor->rows * p->tensor->cols; k++)
        if (!(to[k] - to[k] == 0))     /* neither infinite nor not a number */
            return dual_failed(c, "state.safetensors: %s holds values that are no numbers", name);
    return 1;
}

int run_load(dual_ctx *c, run *r, const char *folder, dual_adamw *moments) {
    char path[RUN_PATH + 32], owner;
    dual_param *p;
    size_t k = 0;                      /* moments stand in the order of the trained tensors */
    snprintf(path, sizeof path, "%s/base", folder);
    if (!dual_model_load(c, r->base, path)) return 0;
    snprintf(path, sizeof path, "%s/coprocessor", folder);
    if (r->coprocessor && !dual_model_load(c, r->coprocessor, path)) return 0;
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
        const size_t stage = run_stage_of(&r->set, r->step ? r->step - 1 : 0);
        moments->step = r->step - (r->set.reset_optimizer ? stage * r->set.stage_steps : 0);
    }
    dual_file_close(f);
    return ok;
}

int run_save(dual_ctx *c, run *r, dual_adamw *o) {
    char path[RUN_PATH + 40], note[96], owner;
    dual_param *p;
    size_t n = 0, all = 0;
    snprintf(note, sizeof note, "step %llu %llu %.17g", (unsigned long long)r->step,
             (unsigned long long)r->loss_steps, r->loss_sum);
    /* Exports first, state last: until it is renamed the old state still tells everything. */
    snprintf(path, sizeof path, "%s/base", r->set.out);
    if ((r->system.base_trained || !data_has(path, "config.json")) && /* a frozen one is there */
        !dual_model_save(c, r->base, path, NULL))
        return 0;
    snprintf(path, sizeof path, "%s/coprocessor", r->set.out);
    if (r->coprocessor && !dual_model_save(c, r->coprocessor, path, NULL)) return 0;
    while (dual_exchange_param(&r->exchange, all, &owner)) all++;
    dual_param *entry = calloc(3 * all + 1, sizeof *entry);
    dual_tensor *tensor = calloc(3 * all + 1, sizeof *tensor);
    const dual_param **list = calloc(3 * all + 1, sizeof *list);
    int ok = entry && tensor && list;
    if (!ok) dual_failed(c, "%s: no memory to write the checkpoint", r->set.out);
    for (size_t i = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL; i++)
        if (owner == 'S') list[n++] = p;
    snprintf(path, sizeof path, "%s/latents.safetensors", r->set.out);
    if (ok && n) ok = dual_file_save(c, path, n, list, NULL);
    n = 0;
    for (size_t i = 0, k = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL;
         i++) {
        if (!p->tensor->needs_grad) continue;
        dual_real *const part[3] = {p->tensor->data, o->m[k], o->v[k]};
        static const char *const prefix[3] = {"", "m.", "v."};
        for (int j = 0; j < 3; j++, n++) {
            tensor[n] = *p->tensor;
            tensor[n].data = part[j];
            entry[n] = *p;
            entry[n].tensor = &tensor[n];
            snprintf(entry[n].name, sizeof entry[n].name, "%s%c.%.70s", prefix[j],
                     owner, p->name);
            list[n] = &entry[n];
        }
        k++;
    }
    snprintf(path, sizeof path, "%s/state.safetensors", r->set.out);
    ok = ok && dual_file_save(c, path, n, list, note);
    free(entry);
    free(tensor);
    free(list);
    return ok;
}

int run_load_latents(dual_ctx *c, run *r, const char *folder) {
    char path[RUN_PATH + 32];
    dual_exchange *e = &r->exchange;
    const dual_param *const part[2] = {&e->soft, &e->gain};
    snprintf(path, sizeof path, "%s/coprocessor", folder);
    if (r->coprocessor && !dual_model_load(c, r->coprocessor, path)) return 0;
    snprintf(path, sizeof path, "%s/latents.safetensors", folder);
    dual_file *f = dual_file_open(c, path);
    if (!f) return 0;
    int ok = 1;
    for (int k = 0; ok && k < 2; k++) {
        const dual_tensor *t = part[k]->tensor;
        const size_t i = t ? dual_file_find(f, part[k]->name) : SIZE_MAX;
        if (!t || (i == SIZE_MAX && k)) continue;     /* a gain it never had starts at 1 */
        const dual_entry entry = i == SIZE_MAX ? (dual_entry){.rows = 0} : dual_file_entry(f, i);
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

/* ---- Scoring -------------------------------------------------------------------------------- */

/* Bytes take about four times as many tokens as the tasks' limits are meant for. */
size_t run_max_new(const run_settings *set, const run_task *t) {
    if (set->max_new) return set->max_new;
    const int bytes = !strcmp(run_tokenizer_name(t), "bytes");
    const size_t usual = task_max_new(t->kind) * (bytes && t->kind != TASK_COUNTDOWN ? 4 : 1);
    return strcmp(set->steps_shown, "none") && t->max_y > usual ? t->max_y : usual;
}

static void grade(const run_task *t, const example *e, const int32_t *tokens, size_t n, int ended,
                  answer *a) {
    countdown_problem p;
    const size_t length = tokenizer_decode(t->tokens, tokens, n, NULL, 0);
    char *text = malloc(length + 1);
    memset(a, 0, sizeof *a);
    a->ended = ended;
    a->verdict = task_unfinished(t->kind);
    if (text) {
        tokenizer_decode(t->tokens, tokens, n, text, length + 1);
        if (ended) a->verdict = task_grade(t->kind, &e->row, text);
        if (t->kind == TASK_COUNTDOWN && countdown_parse(e->row.question, &p)) {
            a->each_once = ended && countdown_uses_each_once(&p, countdown_final(text));
            a->simple = countdown_plus_minus_suffice(&p);
        }
    }
    free(text);
}

void run_score(dual_ctx *c, dual_exchange *e, const run_task *t, const example *rows, size_t n,
               dual_control control, double temperature, uint64_t seed, size_t max_new, answer *out,
               double *loss) {
    const size_t positions = e->base->config.positions, slots = dual_latent_positions(&e->system);
    double sum = 0, targets = 0;
    const dual_mark start = dual_mark_here(c);
    int32_t *tokens = malloc(PROMPTS_MAX * max_new * sizeof *tokens);
    if (!tokens) c->fatal("out of memory for the answers");
    for (size_t first = 0, count; first < n; first += count) {
        size_t came[PROMPTS_MAX], used = 0, all = 0;
        run_prompts p;
        dual_outcome o;
        dual_sampling s;
        count = run_prompts_count(rows + first, n - first, e->base->config.vocab, max_new);
        run_prompts_fill(&p, t, rows + first, count, 1);
        memset(&s, 0, sizeof s);
        for (size_t i = 0; i < count; i++) {
            all += rows[first + i].n_y;
            if (rows[first + i].n_x > used) used = rows[first + i].n_x;
        }
        p.batch.control = control;
        p.batch.control.seed = seed + first;
        if (loss) {
            const int recorded = c->inference;
            c->inference = 1;
            dual_run(c, e, &p.batch, &o);
            c->inference = recorded;
            if (c->memory) sum += (double)o.target_loss->data[0] * (double)all;
            targets += (double)all;
            dual_release(c, start);
        }
        /* prompt, latents, cue; the last position stays unread: no Base text has trained it */
        used += slots + 1;
        if (used >= positions) c->fatal("a prompt leaves no position for an answer");
        s.max_new = positions - used < max_new ? positions - used : max_new;
        s.end = t->end;
        s.temperature = temperature;
        s.rng = dual_rng_seed(seed, first);
        dual_generate(c, e, &p.batch, &s, tokens, came);
        for (size_t i = 0; c->memory && out && i < count; i++) {
            const int ended = came[i] <= s.max_new;
            grade(t, &rows[first + i], tokens + i * s.max_new, ended ? came[i] : s.max_new, ended,
                  &out[first + i]);
        }
    }
    free(tokens);
    if (loss) *loss = targets > 0 ? sum / targets : 0;
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
    return x < 0 ? 0 : x > 1 ? 1 : x;
}
double wilson_low(double hits, double n) { return wilson(hits, n, -1); }
double wilson_high(double hits, double n) { return wilson(hits, n, 1); }

/* ---- What both print ------------------------------------------------------------------------ */

void run_describe_system(const dual_system *s, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s = inject %s, Base %s", s->name,
                                dual_injection_name(s->inject),
                                s->base_trained ? "trained" : "frozen");
    if (s->inject != DUAL_NONE && n < size)
        n += (size_t)snprintf(out + n, size - n, ", N_L %zu", s->latents);
    const char *const on[] = {s->detach ? ", cache detached" : "", s->gain ? ", trained gain" : "",
                              s->fused ? ", fused" : ""};
    for (int i = 0; i < 3; i++)
        if (n < size) n += (size_t)snprintf(out + n, size - n, "%s", on[i]);
    for (int l = 0, said = 0; l < 64 && s->kv_layers; l++)
        if (n < size && s->kv_layers >> l & 1)
            n += (size_t)snprintf(out + n, size - n, said++ ? ",%d" : ", layers %d", l);
    if (s->text_loss > 0 && n < size)
        n += (size_t)snprintf(out + n, size - n, ", %g x text loss", s->text_loss);
    if (s->orthogonality > 0 && n < size)
        snprintf(out + n, size - n, ", %g x orthogonality%s%s", s->orthogonality,
                 s->centred ? ", centred" : "", s->values ? ", of values" : "");
}

void run_stage_flops(const run *r, run_task *t, double flops[RUN_STAGES + 2]) {
    const size_t last = run_stage_of(&r->set, r->set.steps);
    for (size_t stage = 0; stage <= last; stage++) {
        run copy = *r;
        run_batch b;
        dual_ctx c;
        dual_outcome out;
        char error[300];
        flops[stage] = 0;
        dual_init(&c, NULL, 0);
        if (run_batch_make(&r->set, t, stage * r->set.stage_steps, &b, error, sizeof error)) {
            if (run_build(&c, &copy)) {
                dual_exchange_train(&c, &copy.exchange);
                dual_exchange e = run_exchange(&c, &copy,
                                               run_latents_of(&r->set, &r->system, b.stage));
                if (dual_batch_check(&c, &e, &b.batch)) {
                    dual_run(&c, &e, &b.batch, &out);
                    dual_backward(&c, out.loss);
                    flops[stage] = c.flops;
                }
            }
            run_batch_free(&b);
        }
        dual_done(&c);
    }
}

double run_flops(const run_settings *set, const double flops[RUN_STAGES + 2], uint64_t steps) {
    const size_t last = run_stage_of(set, steps);
    double sum = 0;
    for (size_t stage = 0; stage < last; stage++) sum += flops[stage] * (double)set->stage_steps;
    return sum + flops[last] * (double)(steps - last * set->stage_steps);
}

/* How long a waiting OpenMP thread spins before it sleeps. Without end (the runtimes' default) it
 * takes the core another thread needs: on a machine with anything else to do a step took 15 times
 * as long. Not at all, and waking costs as much as the work: half the speed on an idle machine. The
 * runtime (gcc's, clang's) reads this when it is loaded, so setting it means starting over once. */
void run_spin_briefly(char **argv) {
#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (!strchr(argv[0], '/')) return; /* found by PATH: who knows which one it would find now */
    if (setenv("GOMP_SPINCOUNT", "5000", 0) == 0 && setenv("KMP_BLOCKTIME", "1", 0) == 0)
        execvp(argv[0], argv);         /* returns only if it failed: then simply go on */
#else
    (void)argv;
#endif
}

double run_machine_memory(void) {
#if (defined(__unix__) || defined(__APPLE__)) && defined(_SC_PHYS_PAGES)
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
#else
    return 0;
#endif
}

int run_is_terminal(int fd) {
#if defined(__unix__) || defined(__APPLE__)
    return isatty(fd);
#else
    (void)fd;
    return 0;
#endif
}

void run_human(double x, char *out, size_t size) {
    static const char unit[] = " kMGTP";
    int i = 0;
    while (x >= 999.5 && i < 5) {
        x /= 1000;
        i++;
    }
    if (i) snprintf(out, size, x < 9.995 ? "%.2f%c" : x < 99.95 ? "%.1f%c" : "%.0f%c", x, unit[i]);
    else snprintf(out, size, "%.0f", x);
}

/* Swept over 3e-4, 1e-3, 3e-3 at width 64, one trial per system and rate: 3e-3 was best for every
 * system (README has the scores; data/sweep.sh repeats it). Wider models: not swept, smaller. */
double run_default_rate(int lm, size_t width) {
    if (lm) return width >= 512 ? 3e-4 : width > 64 ? 2e-3 : 5e-3;
    return width >= 512 ? 1e-4 : width > 64 ? 1e-3 : 3e-3;
}
