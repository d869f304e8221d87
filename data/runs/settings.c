/* settings.c: see settings.h. */
#include "settings.h"
#include "../files/files.h"
#include "json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The options ---------------------------------------------------------------------------
 * One table makes --help, the parser, run.json and its reader. */

#define AT(kind, field) OPTION_AT(kind, run_settings, field)
#define HEADING(title) {"", OPTION_TEXT, 0, 0, "", title, UNSAVED}
const option RUN_OPTIONS[] = {
    HEADING("What is trained"),
    {"task", AT(OPTION_TEXT, task), "countdown", "countdown gsm8k prosqa text", FIXED},
    {"data", AT(OPTION_TEXT, data), "",
     "file of rows; text: or a folder; empty: generated (countdown, prosqa)", FIXED},
    {"valid", AT(OPTION_TEXT, valid), "",
     "file to score on while training; empty: generated, or the text held out", FIXED},
    {"broken", AT(OPTION_TEXT, broken), "fatal", "rows that cannot be used: fatal, or skip", FIXED},
    {"tokenizer", AT(OPTION_TEXT, tokenizer), "",
     "words, bytes or a folder; empty: the Base's or the task's", FIXED},
    {"objective", AT(OPTION_TEXT, objective), "answer",
     "answer: a system on rows; lm: a Base, pretrain: a system on text", FIXED},
    {"system", AT(OPTION_TEXT, system), "none",
     "none pause soft prompt wide coconut liu h1 h2 h1h2", FIXED},
    {"inject", AT(OPTION_TEXT, inject), "",
     "instead of the system's: none pause soft chain embed kv", FIXED},
    {"base-frozen", AT(OPTION_FLAG, base_frozen), "0",
     "freeze the Base, whatever the system", FIXED},
    {"base-trained", AT(OPTION_FLAG, base_trained), "0",
     "train the Base, whatever the system", FIXED},
    {"latents", AT(OPTION_SIZE, latents), "4", "N_L, latents per augmentation", FIXED},
    {"latent-gain", AT(OPTION_TEXT, gain), "none",
     "none, or trained: one scalar on the latents", FIXED},
    {"detach-cache", AT(OPTION_FLAG, detach), "0", "no gradient through the Base's cache", FIXED},
    {"kv-layers", AT(OPTION_TEXT, kv_layers), "",
     "kv: layers whose keys and values join, from 0 on, like 0-5,8; empty: all", FIXED},
    {"fused", AT(OPTION_FLAG, fused), "0",
     "the text is read once more, in the speak pass itself", FIXED},
    {"text-loss", AT(OPTION_REAL, text_loss), "0", "weight of a loss on the plain text", FIXED},
    {"orthogonality", AT(OPTION_REAL, orthogonality), "0",
     "weight of the penalty on latents that point the same way", FIXED},
    {"orthogonality-form", AT(OPTION_TEXT, orthogonality_form), "plain",
     "plain centred values centred-values", FIXED},
    HEADING("Steps and curriculum (--objective answer)"),
    {"steps-shown", AT(OPTION_TEXT, steps_shown), "none",
     "in y: none (no-CoT), all (CoT), curriculum (Coconut's)", FIXED},
    {"stages", AT(OPTION_SIZE, stages), "0",
     "that drop one more step; 0: gsm8k 3, prosqa 6, countdown all", FIXED},
    {"stage-steps", AT(OPTION_SIZE, stage_steps), "0",
     "optimiser steps in each; 0: steps / (stages + 2)", FIXED},
    {"stage-epochs", AT(OPTION_REAL, stage_epochs), "0", "the same in epochs of --data", FIXED},
    {"latents-per-stage", AT(OPTION_SIZE, latents_per_stage), "0",
     "c: stage s has s x c latents; 0: --latents in every stage", FIXED},
    {"uniform-stage", AT(OPTION_REAL, uniform_stage), "0",
     "probability that a row's stage is drawn at random", FIXED},
    {"reset-optimizer", AT(OPTION_FLAG, reset_optimizer), "0",
     "AdamW starts anew at every stage", FIXED},
    HEADING("Pretraining on text (--objective pretrain)"),
    {"groups", AT(OPTION_SIZE, groups), "0",
     "M, insertion places per sequence; 0: sequence / ahead", FIXED},
    {"ahead", AT(OPTION_SIZE, ahead), "16", "N_A, targets after each place's cue", FIXED},
    {"sequence", AT(OPTION_SIZE, sequence), "0",
     "tokens per sequence; 0: the context (pretrain: less latents and 1), 1024 at most", FIXED},
    {"held-out", AT(OPTION_REAL, held_out), "0.05",
     "share of the text that is never trained on, its last part", FIXED},
    HEADING("Where the Base comes from"),
    {"base", AT(OPTION_TEXT, base), "", "a run folder: its base/ only", FIXED},
    {"from", AT(OPTION_TEXT, from), "",
     "a run folder: its Base, Coprocessor, soft tokens and gain", FIXED},
    {"init", AT(OPTION_TEXT, init), "", "a Hugging Face folder with the task's vocabulary", FIXED},
    {"wide-of", AT(OPTION_TEXT, wide_of), "",
     "a run: one model of the size of its Base and Coprocessor together", FIXED},
    {"base-stored", AT(OPTION_TEXT, base_stored), "real",
     "a frozen Base's weights: real; file: as its files are; bf16: rounded", FIXED},
    {"arch", AT(OPTION_TEXT, arch), "gpt2", "gpt2 or qwen3, for a Base from random weights", FIXED},
    {"layers", AT(OPTION_SIZE, layers), "4", "layers", FIXED},
    {"width", AT(OPTION_SIZE, width), "64", "hidden size", FIXED},
    {"heads", AT(OPTION_SIZE, heads), "4", "attention heads", FIXED},
    {"kv-heads", AT(OPTION_SIZE, kv_heads), "0", "qwen3: key heads; 0: half of the heads", FIXED},
    {"head-dim", AT(OPTION_SIZE, head_dim), "0", "qwen3: width of a head; 0: width / heads", FIXED},
    {"mlp", AT(OPTION_SIZE, mlp), "0",
     "inner width; 0: 4 x width (gpt2), 3 x width (qwen3)", FIXED},
    {"context", AT(OPTION_SIZE, context), "32", "positions of the model", FIXED},
    HEADING("The generated problems"),
    {"numbers", AT(OPTION_TEXT, numbers), "3", "how many numbers: 3, or 3-5", FIXED},
    {"range", AT(OPTION_TEXT, range), "1-30", "the numbers' range", FIXED},
    {"targets", AT(OPTION_TEXT, targets), "10-100", "the targets' range", FIXED},
    {"facts", AT(OPTION_REAL, facts), "0.15", "lm: share of samples that are facts a+b=c", FIXED},
    {"solved", AT(OPTION_REAL, solved), "0",
     "lm: share of samples that are problems with a solution; facts and these at most 1", FIXED},
    {"nodes", AT(OPTION_TEXT, nodes), "14-28", "prosqa: nodes of a graph", FIXED},
    {"path", AT(OPTION_TEXT, path), "3-6", "prosqa: steps to the answer", FIXED},
    {"concepts", AT(OPTION_SIZE, concepts), "38", "prosqa: words for what things are", FIXED},
    {"names", AT(OPTION_SIZE, names), "17", "prosqa: names", FIXED},
    HEADING("Training"),
    {"steps", AT(OPTION_SIZE, steps), "0", "optimiser steps; 0: 1200 for lm, else 600", FIXED},
    {"match-flops", AT(OPTION_TEXT, match_flops), "",
     "a run: as many steps as cost its training FLOPs", FIXED},
    {"batch", AT(OPTION_SIZE, batch), "128", "sequences per step", FIXED},
    {"accumulate", AT(OPTION_SIZE, accumulate), "1",
     "take the batch in N parts: less memory, the same mean over the whole batch", FIXED},
    {"lr", AT(OPTION_REAL, rate), "0", "peak learning rate; 0: the documented table's", FIXED},
    {"schedule", AT(OPTION_TEXT, schedule), "cosine",
     "after the warm-up: cosine to 0, or constant", FIXED},
    {"warmup", AT(OPTION_REAL, warmup), "0.02", "share of the steps", FIXED},
    {"weight-decay", AT(OPTION_REAL, decay), "0.1", "AdamW's, matrices only", FIXED},
    {"clip", AT(OPTION_REAL, clip), "1", "largest global gradient norm; 0: none", FIXED},
    {"seed", AT(OPTION_SIZE, seed), "1", "of weights, soft tokens and data", FIXED},
    {"max-new", AT(OPTION_SIZE, max_new), "0", "tokens of an answer; 0: the task's", FIXED},
    {"keep-best", AT(OPTION_FLAG, keep_best), "0",
     "keep the best state on validation problems in OUT/best", FIXED},
    HEADING("The run"),
    {"out", AT(OPTION_TEXT, out), "", "folder of this run (required)", UNSAVED},
    {"resume", AT(OPTION_FLAG, resume), "0",
     "go on from the last checkpoint, if there is one", UNSAVED},
    {"dry-run", AT(OPTION_FLAG, dry_run), "0",
     "print memory, FLOPs, header and how long it will take, then stop", UNSAVED},
    {"describe", AT(OPTION_FLAG, describe), "0",
     "print statistics of the task's rows and three of them, then stop", UNSAVED},
    {"recompute", AT(OPTION_FLAG, recompute), "0",
     "keep half of the tape or less, a third more time; same results", FREE},
    {"memory", AT(OPTION_REAL, memory), "0", "GiB it may take; 0: what the machine has", UNSAVED},
    {"brief", AT(OPTION_FLAG, brief), "0",
     "one line that grows, in place of header and metrics", UNSAVED},
    {"quiet", AT(OPTION_FLAG, quiet), "0",
     "no header, no progress; the header is in OUT/train.txt", UNSAVED},
    {"threads", AT(OPTION_SIZE, threads), "0",
     "0: as many as there are; same results", UNSAVED},
    {"log-every", AT(OPTION_SIZE, log_every), "50", "steps between two metrics lines", FREE},
    {"save-every", AT(OPTION_SIZE, save_every), "100", "steps between two checkpoints", FREE},
    {"score-points", AT(OPTION_SIZE, score_points), "4",
     "accuracy at so many equal shares of the steps", FREE},
    {"score-count", AT(OPTION_SIZE, score_count), "1000", "test problems for those", FREE},
    {NULL, OPTION_TEXT, 0, 0, NULL, NULL, UNSAVED},
};

/* ---- Objectives and stages ------------------------------------------------------------------ */

int run_is_lm(const run_settings *set) { return !strcmp(set->objective, "lm"); }
int run_is_pretrain(const run_settings *set) { return !strcmp(set->objective, "pretrain"); }
int run_on_text(const run_settings *set) { return run_is_lm(set) || run_is_pretrain(set); }
int run_skips_broken(const run_settings *set) { return !strcmp(set->broken, "skip"); }

int run_is_curriculum(const run_settings *set) {
    return !run_on_text(set) && !strcmp(set->steps_shown, "curriculum");
}

size_t run_stage_of(const run_settings *set, uint64_t step) {
    if (!run_is_curriculum(set) || !set->stage_steps) return 0;
    const uint64_t stage = step / set->stage_steps;
    return stage > set->stages ? set->stages + 1 : (size_t)stage;
}

/* Coconut's chain grows by c thoughts per dropped step and then stays at the most. */
size_t run_latents_of(const run_settings *set, const dual_system *s, size_t stage) {
    const int grows = run_is_curriculum(set) && set->latents_per_stage;
    if (!grows || s->inject == DUAL_NONE) return s->latents;
    return (stage < set->stages ? stage : set->stages) * set->latents_per_stage;
}

size_t run_steps_dropped(const run_settings *set, size_t stage, size_t n_steps) {
    if (!strcmp(set->steps_shown, "all")) return 0;
    if (!run_is_curriculum(set) || stage > set->stages || stage > n_steps) return n_steps;
    return stage;
}

/* The warm-up is the same in both; constant is Coconut's (with --warmup 0: from the first step). */
double run_rate_at(const run_settings *set, uint64_t step) {
    const int rising = (double)step + 1 < floor(set->warmup * (double)set->steps);
    if (!rising && !strcmp(set->schedule, "constant")) return set->rate;
    return dual_schedule(step, set->steps, set->warmup, set->rate);
}

uint64_t run_score_step(const run_settings *set, size_t i) {
    return (set->steps * i + set->score_points / 2) / set->score_points;
}

int run_is_score_step(const run_settings *set, uint64_t step) {
    for (size_t i = 1; i <= set->score_points; i++)
        if (step == run_score_step(set, i)) return 1;
    return 0;
}

/* For lm the whole context. Groups need room for the latents behind the last one and for its cue;
 * every system gets the same length. The limit is for contexts of tens of thousands. */
size_t run_sequence(const run_settings *set) {
    const size_t others = run_is_lm(set) ? 0 : set->latents + 1;
    const size_t most = set->context > others ? set->context - others : 0;
    if (set->sequence) return set->sequence;
    return most < 1024 ? most : 1024;
}

size_t run_room(const run_settings *set, const dual_system *s) {
    const size_t others = dual_latent_positions(s) + 1;         /* the latents and the cue */
    return set->context > others ? set->context - others : 0;
}

/* Swept from 1e-3 to 3e-2 at width 64 (data/results/rates.csv): 3e-3 was best for every system that
 * trains its Base, 1e-2 for liu and h1. Wider models were not swept; their rates are smaller. */
double run_default_rate(int lm, size_t width) {
    if (width >= 512) return lm ? 3e-4 : 1e-4;
    if (width > 64) return lm ? 2e-3 : 1e-3;
    return lm ? 5e-3 : 3e-3;
}

/* ---- run.json ------------------------------------------------------------------------------ */

int run_save_settings(dual_ctx *c, const run_settings *set) {
    char path[RUN_PATH + 16], text[32768], value[RUN_PATH], quoted[6 * RUN_PATH + 9];
    size_t n = (size_t)snprintf(text, sizeof text, "{\n  \"format\": \"dual run 1\"");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (o->saved == UNSAVED) continue;
        option_print(o, set, value, sizeof value);
        json_quote(value, strlen(value), quoted, sizeof quoted);
        n += (size_t)snprintf(text + n, sizeof text - n,
                              o->kind == OPTION_TEXT ? ",\n  \"%s\": \"%s\"" : ",\n  \"%s\": %s",
                              o->name, quoted);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, ",\n  \"data_held\": \"%s\",\n"
                          "  \"valid_held\": \"%s\"\n}\n", set->data_held, set->valid_held);
    snprintf(path, sizeof path, "%s/run.json", set->out);
    return dual_text_save(c, path, text, n);
}

int run_exists(const char *folder) { return data_has(folder, "run.json"); }

/* One value of run.json as an option's text. 0: it is of another kind, or too long. */
static int value_text(const option *o, dual_json v, char *out, size_t size) {
    const size_t length = (size_t)(v.end - v.begin);
    if (o->kind == OPTION_TEXT)
        return json_unquote(v, out, size) < size;
    if (dual_json_type(v) != '0' || length >= size) return 0;
    snprintf(out, size, "%.*s", (int)length, v.begin);
    return 1;
}

/* An option that run.json does not hold keeps its default: an older run was made without it. */
static int read_options(dual_ctx *c, const char *path, dual_json j, run_settings *set) {
    char value[RUN_PATH], error[200];
    dual_json_string(dual_json_get(j, "format"), value, sizeof value);
    if (strcmp(value, "dual run 1"))
        return dual_failed(c, "%s: format \"%.40s\", this program reads \"dual run 1\"", path,
                           value);
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        const dual_json v = dual_json_get(j, o->name);
        if (o->saved == UNSAVED || !dual_json_type(v)) continue;
        if (!value_text(o, v, value, sizeof value))
            return dual_failed(c, "%s: %s is of the wrong kind", path, o->name);
        if (!option_set(o, set, value, error, sizeof error))
            return dual_failed(c, "%s: %s", path, error);
    }
    dual_json_string(dual_json_get(j, "data_held"), set->data_held, sizeof set->data_held);
    dual_json_string(dual_json_get(j, "valid_held"), set->valid_held, sizeof set->valid_held);
    return 1;
}

int run_load_settings(dual_ctx *c, const char *folder, run_settings *set) {
    char path[RUN_PATH + 16];
    size_t length;
    options_defaults(RUN_OPTIONS, set);
    *set->data_held = *set->valid_held = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/run.json", folder) >= sizeof path)
        return dual_failed(c, "%.60s..: path too long", folder);
    char *text = dual_text_read(c, path, &length);
    if (!text) return dual_failed(c, "%s: no run there (no readable run.json)", folder);
    char why[160] = "another value";
    const dual_json j = dual_json_text(text, length, why, sizeof why);
    int ok = dual_json_type(j) == '{' || dual_failed(c, "%s: not a JSON object: %s", path, why);
    ok = ok && read_options(c, path, j, set);
    free(text);
    snprintf(set->out, sizeof set->out, "%s", folder);
    return ok;
}

/* ---- The system ------------------------------------------------------------------------------ */

/* "0-5,8" as bits; 0: it does not read like that. */
static uint64_t layer_bits(const char *text) {
    uint64_t bits = 0;
    while (*text) {
        char *end;
        const unsigned long first = strtoul(text, &end, 10);
        unsigned long last = first;
        if (end == text || *text == '-' || *text == '+') return 0;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text || *text == '-' || *text == '+') return 0;
        }
        const int more = *end == ',' && end[1];
        if (last < first || last > 63 || (*end && !more)) return 0;
        for (unsigned long l = first; l <= last; l++) bits |= UINT64_C(1) << l;
        text = end + more;
    }
    return bits;
}

/* --inject, --base-frozen and --base-trained in place of what the preset says. */
static int override_preset(const run_settings *set, dual_system *s, char *error, size_t size) {
    if (*set->inject) {
        int i = 0;
        while (i <= DUAL_KV && strcmp(set->inject, dual_injection_name((dual_injection)i))) i++;
        if (i > DUAL_KV) {
            snprintf(error, size, "--inject: \"%.20s\" is not one of none pause soft chain embed "
                     "kv", set->inject);
            return 0;
        }
        s->inject = (dual_injection)i;
    }
    if (set->base_frozen && set->base_trained) {
        snprintf(error, size, "--base-frozen and --base-trained: one of them");
        return 0;
    }
    if (set->base_frozen || set->base_trained) s->base_trained = set->base_trained;
    if (*set->inject || set->base_frozen || set->base_trained)
        snprintf(s->name, sizeof s->name, "%s/%s", dual_injection_name(s->inject),
                 s->base_trained ? "trained" : "frozen");
    return 1;
}

/* N_L. A chain that grows with the stages is built at its longest. */
static int choose_latents(const run_settings *set, dual_system *s, char *error, size_t size) {
    const int grows = run_is_curriculum(set) && set->latents_per_stage && set->stages;
    s->latents = 0;
    if (s->inject == DUAL_NONE) return 1;
    if (set->latents) s->latents = grows ? set->stages * set->latents_per_stage : set->latents;
    if (s->latents) return 1;
    snprintf(error, size, "--latents must be above 0; --system none is the one without");
    return 0;
}

static int choose_extras(const run_settings *set, dual_system *s, char *error, size_t size) {
    const int form = options_word(set->orthogonality_form, "plain centred values centred-values");
    const int gain = options_word(set->gain, "none trained");
    if (gain < 0) {
        snprintf(error, size, "--latent-gain: none or trained, not \"%.20s\"", set->gain);
        return 0;
    }
    if (form < 0) {
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
    s->gain = gain;
    s->detach = set->detach;
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
        snprintf(error, size, "--system: \"%.20s\" is not one of none pause soft prompt wide "
                 "coconut liu h1 h2 h1h2", set->system);
        return 0;
    }
    return override_preset(set, s, error, size) && choose_latents(set, s, error, size) &&
           choose_extras(set, s, error, size);
}
