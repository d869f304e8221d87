/* compare.h: runs on the same problems. Runs of one label are seeds of one arm; every problem gives
 * an arm the mean of its seeds' 0 or 1, so differences between arms are paired problem by problem.
 *
 * Owns: which runs are compared (the untouched Base joins them), their labels and order, what is
 * measured of each, the means of an arm. Refuses: runs without a problem in common, two runs of one
 * label and seed. What follows for the method: contrasts.h; how it is printed: report.h. */
#ifndef COMPARE_H
#define COMPARE_H
#include "score.h"

enum {
    ACCURACY, SWAPPED, LOSS, AT_25, AT_50, AT_75, AT_100, TRAINED, PASSES, STEP_FLOPS, FLOPS, H_OFF,
    FLOOR, SILHOUETTE, NUMBERS
};
extern const char *const NUMBER_NAMES[NUMBERS];    /* as in JSON */

typedef struct {                   /* one run */
    char folder[RUN_PATH], label[96];
    run_settings set;
    dual_system system;
    uint64_t step;
    int implied;                   /* the untouched Base, not itself given */
    const char *opened;            /* the folder given; implied: that of a run started from it */
    double number[NUMBERS];        /* NAN: does not apply */
    unsigned char *right, *swapped;         /* [problems] 1: solved; swapped may be NULL */
} run_entry;

typedef struct {                   /* all runs of one label: entries first .. first + n - 1 */
    size_t first, n;
    double number[NUMBERS];
    double *right, *swapped;       /* [problems] mean over the runs */
} arm;

typedef struct {
    const char *broken;            /* as in loaded_run_open */
    int analyse;                   /* the latents too */
    task_kind kind;
    size_t vocab;
    problem_set problems, fresh;
    size_t n_entries, n_arms;
    run_entry *entries;
    arm *arms;
    double floor;                  /* Countdown: accuracy of random expressions */
    int has_base;                  /* the untouched Base is among them */
} comparison;

/* In this order: begin; add every run given, opened; gather; set problems, fresh (if analyse) and
 * floor; measure every entry; make the arms. folder must last as long as the comparison. */
int comparison_begin(dual_ctx *, comparison *, size_t runs, const char *broken, int analyse);
int comparison_add(dual_ctx *, comparison *, const loaded_run *, const char *folder);
/* Without a Base among the runs, the one that the first arm was started from joins. Then labels,
 * and order: the method's, seeds of an arm side by side. */
int comparison_gather(dual_ctx *, comparison *);
double comparison_floor(const problem_set *problems);
int comparison_measure(dual_ctx *, comparison *, run_entry *);
int comparison_make_arms(dual_ctx *, comparison *);
void comparison_free(comparison *);

const arm *comparison_arm(const comparison *, const char *label);     /* NULL: there is none */
/* Every difference that puts a comparison in doubt, one line each. */
void comparison_warnings(const comparison *, void (*say)(void *to, const char *line), void *to);

/* The arm a run belongs to: its system, and whatever makes it another experiment. */
void run_label(const run_settings *, const dual_system *, size_t usual_latents, char *out,
               size_t size);
/* Swapping changes nothing where the latents do not depend on x. */
int latents_are_fixed(const dual_system *);
/* Accuracies that were measured while training, at each quarter of the steps: the scored row of a
 * log.csv nearest to it, if it is within a twentieth of the run. at [4] keeps what is not found. */
void read_curve(const char *log, double steps, double *at);

#endif
