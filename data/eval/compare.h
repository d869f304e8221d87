/* compare.h: runs on the same problems. Runs of one label are seeds of one arm; all of them answer
 * the same problems, so differences between arms are paired seed by seed, problem by problem.
 *
 * Owns: which runs are compared (the untouched Bases join them), what is measured of each, the
 * means of an arm. Labels and families: families.h. What puts a comparison in doubt: doubts.h. What
 * follows for the method: contrasts.h; how it is printed: comparison_report.h. Refuses: runs of
 * another task. */
#ifndef COMPARE_H
#define COMPARE_H
#include "latents_report.h"
#include "score.h"
#include "statistics.h"

enum {
    ACCURACY, SWAPPED, LOSS, AT_25, AT_50, AT_75, AT_100, TRAINED, PASSES, STEP_FLOPS, FLOPS, H_OFF,
    FLOOR, SILHOUETTE, NUMBERS
};
extern const char *const NUMBER_NAMES[NUMBERS];    /* as in JSON */

typedef struct { double step, accuracy; } scored_point;
/* A mean over seeds, and what holds it: of a curve the lowest and the highest seed. */
typedef struct { double x, mean, low, high; size_t seeds; } arm_point;

typedef struct {                   /* one run */
    char folder[RUN_PATH];
    char name[64], label[200];     /* the system, as in a sentence; with what tells its arm apart */
    run_settings set;
    dual_system system;
    char base[RUN_PATH];           /* the model folder it started from; a Base: its own */
    char base_held[24];            /* and what that holds; "": it cannot be read */
    uint64_t step;
    int implied;                   /* an untouched Base, not itself given */
    const char *opened;            /* the folder given; implied: that of a run started from it */
    size_t group;                  /* the problems it answers */
    double number[NUMBERS];        /* NAN: does not apply */
    unsigned char *right, *swapped;         /* [problems] 1: solved; swapped may be NULL */
    latents_report latents;        /* without its states; no H: not analysed */
    scored_point *curve;           /* every scored row of its log.csv */
    size_t n_curve;
} run_entry;

typedef struct {                   /* all runs of one label: entries first .. first + n - 1 */
    size_t first, n;
    double number[NUMBERS];        /* means over the runs */
    estimate accuracy;             /* of shares */
    arm_point *curve;              /* where its first run was scored while training */
    size_t n_curve, slots;
    double *H;                     /* [slots,slots] mean over its runs; NULL: not analysed */
} arm;

typedef struct {                   /* problems that some runs have in common */
    size_t first;                  /* the first of these runs */
    problem_set problems, fresh;
    double floor;                  /* Countdown: accuracy of random expressions */
} problem_group;

/* Runs that differ in nothing but the system: a table of their own. `like` is one of them; the
 * others are told by what varies (families.h). */
typedef struct { size_t like; char title[200]; } family;

enum { VARYING_MOST = 16 };
typedef struct {
    const char *broken;            /* as in loaded_run_open */
    int analyse;                   /* the latents too */
    int one_file;                  /* all runs answer the rows of one file */
    task_kind kind;
    size_t vocab;
    size_t n_entries, n_arms, n_groups, n_families;
    run_entry *entries;
    arm *arms;
    problem_group *groups;
    family *families;
    const option *varying[VARYING_MOST];           /* what tells arms of one system apart */
    size_t n_varying;
    int has_base;                  /* an untouched Base is among them */
} comparison;

/* In this order: begin; add every run given, opened; gather; of every group set problems, fresh (if
 * analyse) and floor; measure every entry; make the arms. folder must last as long as the
 * comparison. */
int comparison_begin(dual_ctx *, comparison *, size_t runs, const char *broken, int analyse);
int comparison_add(dual_ctx *, comparison *, const loaded_run *, const char *folder);
/* Bases that runs were started from and that were not given join. Then families_arrange. */
int comparison_gather(dual_ctx *, comparison *);
double comparison_floor(const problem_set *problems);
int comparison_measure(dual_ctx *, comparison *, run_entry *);
int comparison_make_arms(dual_ctx *, comparison *);
void comparison_free(comparison *);

const run_entry *arm_first(const comparison *, const arm *);     /* of its runs */
const problem_set *comparison_problems(const comparison *, const arm *);
int entry_is_base(const run_entry *);              /* a Base on plain text, the wide one not */
int entries_share_base(const run_entry *, const run_entry *);     /* by content; -1: not known */
/* Swapping changes nothing where the latents do not depend on x. */
int latents_are_fixed(const dual_system *);
/* Accuracies that were measured while training, at each quarter of the steps: the scored row of a
 * log.csv nearest to it, if it is within a twentieth of the run. at [4] keeps what is not found. */
void read_curve(const char *log, double steps, double *at);

#endif
