/* dataset.h: what a run learns from, as token ids: the task, its tokenizer, the rows of a file or
 * the generator, and the ids of a text. A row becomes an example: x, and the y that a stage shows.
 *
 * Functions with (report, report_size) write there what was wrong with rows that are left out, ""
 * if nothing was; those with (error, size) return failure after one line in error. */
#ifndef DATASET_H
#define DATASET_H
#include "../tasks/tasks.h"
#include "../tokenizers/tokenizer.h"
#include "settings.h"

typedef struct { int32_t *at; size_t used, room; } token_block;

/* Room for `more` ids behind the used ones. 0: out of memory. */
int token_block_reserve(token_block *, size_t more, char *error, size_t size);

typedef struct {
    task_row row;                  /* the texts, in a block of the example's own */
    size_t n_x, n_y;
    const int32_t *x, *y;          /* y: the steps that are shown, the answer, the end token;
                                      nothing where the answer is not known */
    int32_t *packed;               /* what x and y are slices of */
    char *text;
} example;

typedef struct {
    task_kind kind;
    tokenizer *tokens;
    int32_t end, cue;              /* end token; the line break that is every example's cue */
    const char *mark;              /* what stands before an answer: "### ", for Countdown without
                                      steps nothing */
    int generated;                 /* it has a generator: */
    countdown_options countdown;
    prosqa_options prosqa;
    token_block ids;               /* the file's rows, packed one after another; or its text */
    size_t *begin, n_rows;         /* [n_rows] where each row begins; 0: generated, or text */
    size_t n_train;                /* text: ids to train on, from the first; the rest is held out */
    size_t max_x, max_y;           /* longest x and y that can come, in tokens; of a file's rows */
    size_t room;                   /* (after run_fit_rows) together at most so many */
    char report[2000];             /* "" or what was wrong with some rows */
    size_t *order, n_order;        /* of the rows, in one epoch */
    uint64_t order_epoch;
} run_task;

/* ---- Opening (dataset.c) ---- */

/* Reads --task and the generator's options, opens the tokenizer; rows: --data too. folder: that of
 * a run that exists, or NULL for a new one. Free with run_task_close. */
int run_task_open(const run_settings *, const char *folder, int rows, run_task *, char *error,
                  size_t size);
void run_task_close(run_task *);
/* Once the positions are known: room for x and y. Rows that do not fit are refused, or left out. */
int run_fit_rows(const run_settings *, run_task *, size_t room, char *error, size_t size);
int run_fit_examples(const run_settings *, const char *source, example *, size_t *n, size_t room,
                     char *report, size_t report_size, char *error, size_t size);
const char *run_tokenizer_name(const run_task *);    /* words bytes gpt2 qwen3 */
size_t run_count_tokens(const run_task *, const char *text);
/* A text's ids, from *first on the part that is held out (all of it if held_out is 0). The caller
 * frees ids->at. */
int run_text_open(const run_settings *, const run_task *, const char *path, int held_out,
                  token_block *ids, size_t *first, char *report, size_t report_size, char *error,
                  size_t size);

/* What a file holds, as token ids: "12 rows, 160 tokens, hash 01234..". "" for no ids at all. Two
 * texts that differ say that a run would not go on with the data it began with. */
void run_held(size_t n_rows, const token_block *ids, char out[80]);
void run_held_examples(const example *, size_t n, char out[80]);

/* ---- Examples (examples.c) ---- */

int run_example(const run_settings *, const run_task *, size_t stage, const task_row *, example *,
                char *error, size_t size);
void examples_free(example *, size_t n);
/* Appends a text's ids. Returns how many, SIZE_MAX: failed. */
size_t run_put_text(const run_task *, token_block *, const char *text, size_t length, char *error,
                    size_t size);
/* Appends a row's ids, whatever steps will be shown; 0: failed. Then x and y of such a block, with
 * the steps of `stage`. */
int run_pack(const run_task *, const task_row *, token_block *, char *error, size_t size);
void run_unpack(const run_settings *, size_t stage, const int32_t *packed, example *);
size_t run_packed_steps(const int32_t *packed);
/* A problem of the generator, the only row of `set`. 0: none can be drawn. */
int run_draw(const run_task *, int split, dual_rng *, task_set *set);

/* n different problems of a split (countdown_split's values), the same for every run with these
 * options: a fair sample, all there are where *n comes back smaller; or, when file is not "", its
 * first n rows, split ignored. all: of how many, in the split or the file; may be NULL. stage:
 * whose steps are shown in y. NULL: failed. Free: examples_free. */
example *run_test_set(const run_settings *, const run_task *, size_t stage, int split,
                      const char *file, size_t *n, task_population *all, char *report,
                      size_t report_size, char *error, size_t size);

/* ---- What is said of rows that are left out ---- */

void run_report_broken(const task_set *, const char *file, char *report, size_t size);
/* A row that cannot be used, tokenized or trained on: a line in report for the first three (1: go
 * on), or the error (0). */
int run_refuse_row(const run_settings *, const char *source, size_t line, const char *why,
                   size_t *left_out, char *report, size_t report_size, char *error, size_t size);

/* Streams of random numbers: one kind and number, one sequence of its own (dual_rng_seed). The kind
 * stands in the highest bits; what has no kind (weights, sampling) uses small streams. */
enum {
    STREAM_TRAIN = 1,
    STREAM_TEXT,
    STREAM_STAGE,
    STREAM_TEST,
    STREAM_GROUPS,
    STREAM_SHUFFLE = 8,            /* as the files of older runs had it */
    STREAM_KINDS,
    STREAM_SHIFT = 60
};
uint64_t run_stream(uint64_t kind, uint64_t number);

#endif
