/* score.h: accuracy by generating and grading, and what the wrong answers look like.
 *
 * Owns: the one way answers are scored (eval score and eval compare), tallies, and which rows of a
 * file training can have seen. Refuses: rows that do not fit the model, latents from elsewhere for
 * a run that has none. */
#ifndef SCORE_H
#define SCORE_H
#include "problems.h"

typedef struct { size_t hits, of; } tally;
void tally_add(tally *, int hit);
double tally_share(tally);             /* NaN where nothing was counted */
double tally_low(tally), tally_high(tally);        /* 95 % Wilson interval */

typedef struct {
    dual_ablation ablation;
    double temperature;
    uint64_t seed;
    size_t max_new;
    size_t samples;                /* answers to each problem */
    int likelihood;                /* how likely each answer was is asked for */
} score_options;

/* Within work: the answers of a loaded run to n rows, and its teacher-forced loss (may be NULL). */
int score_answers(dual_ctx *, loaded_run *, const example *rows, size_t n, const char *source,
                  const score_options *, answer *, double *loss);

enum { STEPS_SHOWN = 9 };              /* tallies by number of steps: 0..7, 8 and more */
typedef struct {
    tally all, simple, other;          /* Countdown: + and - suffice; it needs * or / */
    tally by_steps[STEPS_SHOWN], once, option, no_end, unseen;
    size_t verdict[TASK_VERDICTS];
} score_tallies;
void score_count(score_tallies *, task_kind, const example *rows, const answer *, size_t n,
                 const unsigned char *seen);

typedef struct {
    score_tallies count;               /* of the first answer to each problem */
    double loss;
    char seen_how[2 * RUN_PATH];       /* how it is known which rows training can have seen */
    answer *answers;                   /* [samples][rows], with their tokens */
    double *likelihood;                /* [samples][rows]; NULL: not asked for */
    int32_t *tokens;
} score_result;
/* The first answers are those that one sample gives. */
int score_run(dual_ctx *, loaded_run *, const problem_set *, const score_options *, score_result *);
void score_free(score_result *);

#endif
