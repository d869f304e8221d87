/* log.h: log.csv of a run: step,loss,grad_norm,lr,accuracy,tflop,seconds,stage. loss: the mean
 * since the row before; accuracy (on text held_out_loss): empty where nothing was scored; stage: a
 * curriculum's, else empty. */
#ifndef LOG_H
#define LOG_H
#include "markup.h"
#include "settings.h"

typedef markup run_log;

typedef struct {
    uint64_t step;
    double loss, norm, rate, tflop, seconds;
    const char *scored;            /* the score in words, or "" */
} run_log_row;
/* 0: out of memory. */
int run_log_add(run_log *, const run_settings *, const run_log_row *);
/* Starts the log, or takes over what a resumed run had logged up to `step`: each row with a score
 * is told to `seen`. Returns the seconds the run had taken; -1: out of memory. */
double run_log_begin(dual_ctx *, run_log *, const char *folder, uint64_t step, int on_text,
                     void (*seen)(void *, uint64_t step, double score), void *what);
int run_log_save(dual_ctx *, const run_log *, const char *folder);
int run_log_has_rows(dual_ctx *, const char *folder);

#endif
