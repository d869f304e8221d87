/* report.c: see report.h. */
#include "report.h"
#include "../runs/cli.h"
#include <math.h>
#include <string.h>

void report_tally(FILE *to, const char *label, tally t) {
    if (!t.of) return;
    const double percent = 100 * (double)t.hits / (double)t.of;
    fprintf(to, "%-32s %6.1f %%  [%5.1f, %5.1f]   %zu of %zu\n", label, percent,
            100 * tally_low(t), 100 * tally_high(t), t.hits, t.of);
}

void report_share_json(json_writer *j, const char *key, double hits, double of, double share,
                       double low, double high) {
    json_open(j, key, '{');
    json_number(j, "hits", hits);
    json_number(j, "of", of);
    json_number(j, "share", share);
    json_number(j, "low", low);
    json_number(j, "high", high);
    json_close(j, '}');
}

void report_tally_json(json_writer *j, const char *key, tally t) {
    report_share_json(j, key, (double)t.hits, (double)t.of, tally_share(t), tally_low(t),
                      tally_high(t));
}

void report_mean(FILE *to, const char *label, double share, size_t problems) {
    const double n = (double)problems, hits = share * n;
    fprintf(to, "%-32s %6.1f %%  [%5.1f, %5.1f]\n", label, 100 * share, 100 * wilson_low(hits, n),
            100 * wilson_high(hits, n));
}

void report_mean_json(json_writer *j, const char *key, double hits, double of, double share,
                      size_t problems) {
    const double n = (double)problems;
    report_share_json(j, key, hits, of, share, wilson_low(share * n, n), wilson_high(share * n, n));
}

/* ---- What every document begins with --------------------------------------------------------- */

void report_key(const char *name, char *out, size_t size) {
    snprintf(out, size, "%s", name);
    for (; *out; out++)
        if (*out == ' ' || *out == '-') *out = '_';
}

static void option_json(json_writer *j, const option *o, const void *settings) {
    const char *at = (const char *)settings + o->offset, *argument;
    char key[40];
    report_key(o->name, key, sizeof key);
    switch (o->kind) {
    case OPTION_TEXT:
        json_text(j, key, at);
        break;
    case OPTION_ARGUMENT:
        memcpy(&argument, at, sizeof argument);
        if (argument) json_text(j, key, argument);
        else json_number(j, key, NAN);
        break;
    case OPTION_SIZE:
        json_number(j, key, (double)*(const size_t *)(const void *)at);
        break;
    case OPTION_REAL:
        json_number(j, key, *(const double *)(const void *)at);
        break;
    case OPTION_FLAG:
        json_flag(j, key, *(const int *)(const void *)at);
        break;
    }
}

json_writer report_begin(FILE *to, const char *command, const option *table,
                         const void *settings) {
    json_writer j = json_begin(to);
    double seed = NAN;
    json_open(&j, NULL, '{');
    json_number(&j, "version", REPORT_VERSION);
    json_text(&j, "program", "dual " CLI_VERSION);
    json_text(&j, "command", command);
    json_open(&j, "options", '{');
    for (const option *o = table; o->name; o++) {
        if (!*o->name || options_word(o->name, "help json threads") >= 0) continue;
        option_json(&j, o, settings);
        if (!strcmp(o->name, "seed"))
            seed = (double)*(const size_t *)(const void *)((const char *)settings + o->offset);
    }
    json_close(&j, '}');
    json_number(&j, "seed", seed);
    return j;
}

static void system_json(json_writer *j, const dual_system *s) {
    char label[400];
    run_describe_system(s, label, sizeof label);
    json_open(j, "system", '{');
    json_text(j, "label", label);
    json_text(j, "name", s->name);
    json_text(j, "inject", dual_injection_name(s->inject));
    json_flag(j, "base_trained", s->base_trained);
    json_number(j, "latents", s->inject == DUAL_NONE ? 0 : (double)s->latents);
    json_flag(j, "detach", s->detach);
    json_flag(j, "gain", s->gain);
    json_flag(j, "fused", s->fused);
    json_open(j, "kv_layers", '[');    /* none named: all */
    for (int l = 0; l < 64; l++)
        if (s->kv_layers >> l & 1) json_number(j, NULL, l);
    json_close(j, ']');
    json_number(j, "text_loss", s->text_loss);
    json_number(j, "orthogonality", s->orthogonality);
    json_flag(j, "orthogonality_centred", s->centred);
    json_flag(j, "orthogonality_of_values", s->values);
    json_close(j, '}');
}

void report_run_json(json_writer *j, const char *key, const char *folder, const run_settings *set,
                     const dual_system *system, uint64_t step) {
    const double stage = step ? (double)run_stage_of(set, step - 1) : 0;
    json_open(j, key, '{');
    json_text(j, "folder", folder);
    json_text(j, "task", set->task);
    json_text(j, "objective", set->objective);
    system_json(j, system);
    json_number(j, "seed", (double)set->seed);
    json_number(j, "step", (double)step);
    json_number(j, "steps", (double)set->steps);
    json_number(j, "stage", run_is_curriculum(set) ? stage : NAN);
    json_close(j, '}');
}
