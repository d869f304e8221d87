/* log.c: see log.h. */
#include "log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void log_path(const char *folder, char path[RUN_PATH + 16]) {
    snprintf(path, RUN_PATH + 16, "%s/log.csv", folder);
}

static int add_text(run_log *l, const char *text) {
    markup_add(l, "%s", text);
    return !l->failed;
}

int run_log_add(run_log *l, const run_settings *set, const run_log_row *row) {
    char line[300], stage[24] = "";
    if (run_is_curriculum(set))
        snprintf(stage, sizeof stage, "%lu", (unsigned long)run_stage_of(set, row->step - 1));
    snprintf(line, sizeof line, "%llu,%.9g,%.9g,%.9g,%s,%.9g,%.1f,%s\n",
             (unsigned long long)row->step, row->loss, row->norm, row->rate, row->scored,
             row->tflop, row->seconds, stage);
    return add_text(l, line);
}

/* Field `i` of a row, from 0 on. NULL: the row has fewer. */
static const char *field(const char *row, int i) {
    for (; row && i > 0; i--) {
        row = strchr(row, ',');
        if (row) row++;
    }
    return row;
}

/* One old row, up to the checkpoint that the run goes on from; later ones are dropped. */
static int keep_row(run_log *l, const char *row, uint64_t last, double *seconds,
                    void (*seen)(void *, uint64_t, double), void *what) {
    enum { STEP, SCORE = 4, SECONDS = 6 };
    const uint64_t step = strtoull(row, NULL, 10);
    if (!step || step > last) return 1;
    if (!add_text(l, row) || !add_text(l, "\n")) return 0;
    const char *score = field(row, SCORE), *time = field(row, SECONDS);
    const double took = time ? strtod(time, NULL) : 0;
    if (took >= 0 && took < 1e15) *seconds = took;     /* else somebody wrote in it */
    if (score && *score != ',') seen(what, step, strtod(score, NULL));
    return 1;
}

double run_log_begin(dual_ctx *c, run_log *l, const char *folder, uint64_t step, int on_text,
                     void (*seen)(void *, uint64_t step, double score), void *what) {
    char path[RUN_PATH + 16];
    size_t length;
    double seconds = 0;
    int ok = add_text(l, on_text ? "step,loss,grad_norm,lr,held_out_loss,tflop,seconds,stage\n"
                                 : "step,loss,grad_norm,lr,accuracy,tflop,seconds,stage\n");
    if (!step) return ok ? 0 : -1;
    log_path(folder, path);
    char *old = dual_text_read(c, path, &length);
    for (char *row = old; ok && row && *row;) {
        char *end = strchr(row, '\n');
        if (!end) break;                   /* cut short: no whole row */
        *end = 0;
        ok = keep_row(l, row, step, &seconds, seen, what);
        row = end + 1;
    }
    free(old);
    return ok ? seconds : -1;
}

int run_log_save(dual_ctx *c, const run_log *l, const char *folder) {
    char path[RUN_PATH + 16];
    log_path(folder, path);
    return dual_text_save(c, path, l->text, l->length);
}

int run_log_has_rows(dual_ctx *c, const char *folder) {
    char path[RUN_PATH + 16];
    size_t length = 0;
    log_path(folder, path);
    char *text = dual_text_read(c, path, &length);
    const char *line = text ? strchr(text, '\n') : NULL;
    const int rows = line && line[1];
    free(text);
    return rows;
}
