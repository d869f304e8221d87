/* progress.h: what stderr shows of a training run. VERBOSE: on a terminal one line that changes
 * until the next metrics line. BRIEF: one line with a bar that grows and stays; where stderr is no
 * terminal a plain line at every quarter and at every score. */
#ifndef PROGRESS_H
#define PROGRESS_H
#include <stddef.h>
#include <stdint.h>

typedef enum { PROGRESS_QUIET, PROGRESS_VERBOSE, PROGRESS_BRIEF } progress_style;
typedef struct {
    progress_style style;
    int terminal;
    char name[32];                 /* the run's folder, without what stands before it */
    uint64_t first, steps;         /* the step this session began at; all */
    double begun, shown;           /* seconds */
    char score[40];                /* "accuracy 41.8 %", the last one */
} progress;

progress progress_begin(progress_style, const char *folder, uint64_t first, uint64_t steps);
double progress_speed(const progress *, uint64_t step);             /* steps per second */
void progress_left(const progress *, uint64_t step, char *out, size_t size);    /* "1m05s" */
/* score: "" or one that has just been made. */
void progress_step(progress *, uint64_t step, double loss, const char *score);
void progress_clear(const progress *); /* before other output */

#endif
