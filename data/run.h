/* run.h: what the two drivers share. The settings of a run as one table of options, its folder, the
 * examples of a task as token ids, and scoring by generating and grading.
 *
 * A run folder holds run.json (every option that moves a number), base/ and coprocessor/ (Hugging
 * Face folders), latents.safetensors, vocab.txt, state.safetensors (everything trained, moments,
 * step: one file, so it is whole or the previous one) and log.csv. */
#ifndef RUN_H
#define RUN_H
#include "data.h"

/* ---- settings ------------------------------------------------------------------------------ */

enum { RUN_PATH = 512 };
typedef struct {
    char task[16], data[RUN_PATH], objective[16];
    char system[16], inject[16], gain[16];          /* inject "": as the preset says */
    int base_frozen, base_trained, detach;          /* neither: as the preset says */
    size_t latents;
    char base[RUN_PATH], init[RUN_PATH], wide_of[RUN_PATH], match_flops[RUN_PATH];
    char arch[16];
    size_t layers, width, heads, kv_heads, head_dim, mlp, context;
    char numbers[32], range[32], targets[32];       /* "3" or "3-5" */
    double facts;
    size_t steps, batch, seed;
    double rate, warmup, decay, clip;
    /* from here on nothing moves a number */
    char out[RUN_PATH];
    int resume, dry_run, quiet;
    size_t threads, log_every, save_every, score_points, score_count;
} run_settings;

/* TEXT is copied into the settings; ARGUMENT, of any length, is a pointer to the command line's
 * word, NULL where it is not given. */
typedef enum { OPTION_TEXT, OPTION_ARGUMENT, OPTION_SIZE, OPTION_REAL, OPTION_FLAG } option_kind;
typedef struct {
    const char *name;              /* without the dashes; NULL ends a table, "" opens a heading */
    option_kind kind;
    size_t offset, room;           /* where in the settings; room of a text */
    const char *otherwise;         /* default, as text; ARGUMENT: NULL */
    const char *help;
    int saved;                     /* in run.json: 1 moves a number, 2 may change on resuming */
} option;

extern const option RUN_OPTIONS[];

void options_defaults(const option *, void *settings);
/* GNU style: --name value, --name=value, --flag; other words go to rest (at most n). Returns 1, or
 * 0 with one line in error: what, where, the nearest option's name. given[i] (may be NULL) becomes
 * 1 for every option that was set. */
int options_parse(const option *, void *settings, int argc, char **argv, const char **rest,
                  size_t *n_rest, size_t max_rest, unsigned char *given, char *error, size_t size);
int option_set(const option *, void *settings, const char *value, char *error, size_t size);
void option_print(const option *, const void *settings, char *out, size_t size);
void options_help(const option *);                  /* to stdout, every default shown */
const char *options_nearest(const option *, const char *word);    /* the name spelled most alike */

int run_save_settings(dual_ctx *, const run_settings *);          /* out/run.json */
int run_load_settings(dual_ctx *, const char *folder, run_settings *);
int run_exists(const char *folder);                 /* it has a run.json */
int run_has(const char *folder, const char *file);
double run_default_rate(int lm, size_t width);      /* peak learning rate where --lr is 0 */

/* ---- the task as token ids ----------------------------------------------------------------- */

typedef struct {
    countdown_problem problem;
    size_t n_x, n_y;
    int32_t *x, *y;                /* y ends with the end token */
} example;

typedef struct {
    words *vocabulary;
    int32_t end, cue;              /* end token; the line break that is every example's cue */
    countdown_options options;     /* generator, when there is no file */
    example *rows;                 /* the file's rows, else NULL */
    size_t n_rows;
    size_t max_x, max_y;           /* longest x and y that can come, in tokens */
} run_task;

/* Reads --task, --data and the generator's options. Free with run_task_close. */
int run_task_open(const run_settings *, run_task *, char *error, size_t size);
void run_task_close(run_task *);
int run_example(const run_task *, const countdown_problem *, example *, char *error, size_t size);
/* The batch of one optimiser step, a function of seed and step alone: nothing to save, nothing to
 * restore. steps without end: a file's rows are shuffled anew every epoch. */
typedef struct {
    dual_batch batch;
    dual_group *group;
    const int32_t **text;
    size_t *length;
    int32_t *tokens;               /* of all sequences */
} run_batch;
int run_batch_make(const run_settings *, const run_task *, uint64_t step, run_batch *, char *error,
                   size_t size);
/* The longest batch that can come, to count memory with. */
int run_batch_longest(const run_settings *, const run_task *, run_batch *, char *error,
                      size_t size);
void run_batch_free(run_batch *);
/* n distinct problems of a split, the same for every run with these options; NULL: failed. From a
 * file when data is not "" (all its rows, at most n, split ignored). Free with examples_free. */
example *run_test_set(const run_task *, countdown_split, const char *data, size_t *n, char *error,
                      size_t size);
void examples_free(example *, size_t n);

/* ---- a run in memory ----------------------------------------------------------------------- */

typedef struct {
    run_settings set;
    dual_system system;
    dual_config shape, coprocessor_shape;
    dual_model *base, *coprocessor;
    dual_exchange exchange;
    uint64_t step, loss_steps;     /* optimiser steps done; those since the last metrics line */
    double loss_sum;               /* and the sum of their losses */
} run;

int run_is_lm(const run_settings *);                /* --objective lm */
int run_system(const run_settings *, dual_system *, char *error, size_t size);
/* Reads run.json and shapes (no memory taken yet). */
int run_open(dual_ctx *, const char *folder, run *);
/* Makes models and exchange in ctx (works while counting too). */
int run_build(dual_ctx *, run *);
/* Fills them from base/, coprocessor/ and state.safetensors of a run folder; moments: or NULL. */
int run_load(dual_ctx *, run *, const char *folder, dual_adamw *moments);
int run_save(dual_ctx *, run *, dual_adamw *);      /* whole checkpoint into set.out */

/* ---- scoring ------------------------------------------------------------------------------- */

typedef struct {
    countdown_verdict verdict;
    int each_once, ended;          /* uses each number once; came to the end token */
    int simple;                    /* + and - alone can reach the target */
    char text[256];
} answer;

enum { SCORE_BATCH = 128, SCORE_TOKENS = 32 };
/* Greedy (temperature 0) answers for n examples; loss: teacher-forced mean over their targets (may
 * be NULL). ctx holds the run; memory above its mark is used and released. */
void run_score(dual_ctx *, run *, const run_task *, const example *, size_t n, dual_control,
               double temperature, uint64_t seed, answer *out, double *loss);
double wilson_low(double hits, double n), wilson_high(double hits, double n);

/* ---- what both print ----------------------------------------------------------------------- */

void run_describe_system(const dual_system *, char *out, size_t size);   /* "inject embed, ..." */
double run_step_flops(const run *, const run_task *);                    /* one training step */
int run_is_terminal(int fd);
void run_spin_briefly(char **argv);                  /* first thing in main */
void run_human(double x, char *out, size_t size);   /* 1234567 -> "1.23M" */

#endif
