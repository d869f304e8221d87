/* batches.h: what dual_run is given. The batch of a training step, a text with its insertion
 * places, and prompts to answer. */
#ifndef BATCHES_H
#define BATCHES_H
#include "dataset.h"
#include "gradients.h"

/* The batch of one optimiser step, a function of seed and step alone: nothing to save, nothing to
 * restore. There is no last step: a file's rows are shuffled anew every epoch. */
typedef struct {
    dual_batch batch;
    dual_group *group;
    const int32_t **text;
    size_t *length, *place;        /* place: room for a sequence's M insertion places */
    token_block own;               /* ids that were generated for it */
    size_t stage;
} run_batch;
int run_batch_make(const run_settings *, run_task *, uint64_t step, run_batch *, char *error,
                   size_t size);
/* The longest batch that can come, to count memory with. */
int run_batch_longest(const run_settings *, const run_task *, run_batch *, char *error,
                      size_t size);
void run_batch_free(run_batch *);
/* Of a step's batch, what this rank takes: --accumulate parts, as every other rank. */
batch_share run_share(const run_settings *);

/* A question's group: x, cue, y. Of a text the cue is the last token of x, as in training on
 * text. */
void run_answer_group(const run_task *, const example *, size_t sequence, dual_group *);
/* The M insertion places of a sequence, and the group at one of them: prefix x_<p, latents, cue
 * x_p, targets x_p+1 .. x_p+N_A. */
void run_group_places(const run_settings *, uint64_t number, size_t *place);
void run_text_group(const int32_t *text, size_t sequence, size_t place, size_t ahead, dual_group *);
/* One sequence as a batch, the places those of `number`. Free: run_batch_free. */
int run_text_batch(const run_settings *, const int32_t *text, uint64_t number, run_batch *,
                   char *error, size_t size);

/* Prompts as one batch, with their targets or without; the arrays are in it. */
enum { PROMPTS_MAX = 128 };
typedef struct {
    dual_batch batch;
    dual_group group[PROMPTS_MAX];
    const int32_t *text[PROMPTS_MAX];
    size_t length[PROMPTS_MAX];
} run_prompts;
/* How many of the n rows go into one; more: ids that each may grow by. */
size_t run_prompts_count(const example *rows, size_t n, size_t vocab, size_t more);
void run_prompts_fill(run_prompts *, const run_task *, const example *rows, size_t n, int targets);

#endif
