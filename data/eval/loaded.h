/* loaded.h: a run that is evaluated. Opened: settings, shapes and vocabulary are known. Then
 * loaded, for one piece of work, into one block of memory.
 *
 * Owns: which weights are loaded (the run's own, or the Base it was started from), the number of
 * latents at test, and the block. Refuses: folders without a run, models that do not fit the task's
 * vocabulary, more latents than were trained.
 *
 * All of data/eval: a function that can fail takes a context first and returns 0 or NULL after one
 * line in its error. Only out of memory in the middle of work ends in c->fatal. Nothing here prints
 * and nothing exits: that is up to eval.c. */
#ifndef LOADED_H
#define LOADED_H
#include "../runs/header.h"
#include "../runs/run.h"
#include "../runs/scoring.h"
#include <stdio.h>

/* What functions of data/runs and data/tokenizers take as 0 and 1: run_task_open, run_prompts_fill,
 * tokenizer_encode. */
enum { WITHOUT_ROWS, WITH_ROWS };
enum { WITHOUT_TARGETS, WITH_TARGETS };
enum { PLAIN_TEXT, WITH_ADDED_TOKENS };

enum { AS_TRAINED };                   /* for a number of latents */
typedef struct {
    run r;
    run_task task;                 /* without the file it was trained on: not needed to evaluate */
    size_t stage, latents;         /* of the curriculum where it stands; N_L to evaluate with */
    char untouched[RUN_PATH + 16]; /* not "": the folder of the Base that stands in for the run */
    dual_exchange *weights;        /* not NULL: in memory, taken in place of the files' */
} loaded_run;

/* broken: "fatal", "skip", or "" for what the run was trained with; latents: N_L, or AS_TRAINED. */
int loaded_run_open(dual_ctx *, const char *folder, const char *broken, size_t latents,
                    loaded_run *);
void loaded_run_close(loaded_run *);
/* Turns an opened run into the Base it was started from. 0: there is none to be found. */
int loaded_run_to_base(loaded_run *);

/* Work is done twice by the same code: in a context without memory, which only measures the bytes,
 * then for real, with the weights loaded. */
typedef int run_work(dual_ctx *, loaded_run *, void *job);
int loaded_run_do(dual_ctx *, loaded_run *, run_work *, void *job);
dual_exchange loaded_run_exchange(dual_ctx *, const loaded_run *);   /* with N_L at test */

/* Positions that are left for y after x, the latents and the cue. */
size_t loaded_run_positions(const loaded_run *, size_t n_x);
/* Refuses latents from elsewhere for a run that has none. */
int loaded_run_check_ablation(dual_ctx *, const loaded_run *, dual_ablation);

const char *ablation_name(dual_source);             /* right swapped mean noise zero drop */
/* The same words, and drop:I for slot I. 0: it is none of them. */
int ablation_parse(const char *text, dual_ablation *);
int ablation_mixes(dual_source);                   /* swapped, mean: latents of other prompts */

/* Zeroed memory. NULL: there is none left; within work that ends in c->fatal. */
void *room_for(dual_ctx *, size_t count, size_t size);
void *work_room(dual_ctx *, size_t count, size_t size);

/* A file for results: whether it can be written, asked before they are computed; and its end. to
 * NULL: it could not be opened. The line of a failure names the option. */
int output_check(dual_ctx *, const char *option, const char *file);
int output_end(dual_ctx *, const char *option, const char *file, FILE *to);

#endif
