/* problems.h: what a run is evaluated on: problems with answers, fresh prompts, text.
 *
 * Owns: where they come from (a split of the generated problems, the rows of a file, a text, the
 * part of its text that a run did not train on). Refuses: files that cannot be used, rows that do
 * not fit the model. `report` names broken rows that were left out; the driver prints it, also
 * when the function failed. */
#ifndef PROBLEMS_H
#define PROBLEMS_H
#include "loaded.h"

enum { PROBLEMS_REPORT = 1200 };
typedef struct {
    example *at;
    size_t n;
    task_population all;           /* of how many, in the split or the file; 0: not known */
    int from_split;
    char source[RUN_PATH + 40];    /* "test problems", "problems of FILE" */
    char report[PROBLEMS_REPORT];      /* "" or what was wrong with some rows */
} problem_set;

/* `count` problems or all there are, the first of a file or, where file is "", a fair sample of a
 * split. */
int problems_read(dual_ctx *, const loaded_run *, countdown_split, const char *file, size_t count,
                  problem_set *);
/* What is to be said where the problems are a whole split, so that nothing was sampled; else "". */
const char *problems_note(const problem_set *);
/* "1000 of 10,430 test problems", "all 48 test problems" */
void problems_title(const problem_set *, char *out, size_t size);
/* Prompts that no run was trained on, for the analysis of latents: a file's rows, else problems
 * drawn without looking for repeats (small tasks do not have thousands of different ones). Of a run
 * on text: text up to a random place in each of `count` sequences. */
int problems_fresh(dual_ctx *, const loaded_run *, const char *file, size_t count, problem_set *);
void problems_free(problem_set *);
/* Names the first row whose prompt and answer do not fit, before anything is computed. */
int problems_check(dual_ctx *, loaded_run *, const example *rows, size_t n, const char *source,
               dual_ablation);

/* A text as ids, with room for one more behind them, for the caller to free. NULL: failed. */
int32_t *text_ids(dual_ctx *, const run_task *, const char *text, size_t *n);

typedef struct {
    token_block ids;
    size_t first;                  /* the first id that is meant */
    int held_out;                  /* it is the part of its own text the run did not train on */
    char name[RUN_PATH], report[PROBLEMS_REPORT];
} text_source;

/* The ids of a file or, where file is "", of what the run did not train on. The caller frees
 * ids.at. */
int text_open(dual_ctx *, const loaded_run *, const run_settings *how, const char *file,
              text_source *);

#endif
