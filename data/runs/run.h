/* run.h: what the two drivers share. The settings of a run as one table of options, its folder, the
 * examples of a task as token ids (examples.c), and scoring by generating and grading.
 *
 * A run folder holds run.json (every option that moves a number), base/ and coprocessor/ (Hugging
 * Face folders), latents.safetensors, the tokenizer (vocab.txt, or BPE's files), state.safetensors
 * (everything trained, moments, step: one file, so it is whole or the previous one), log.csv and
 * with --keep-best a run folder best/. */
#ifndef RUN_H
#define RUN_H
#include "../tasks/tasks.h"
#include "../tokenizers/tokenizer.h"

/* ---- settings ------------------------------------------------------------------------------ */

enum { RUN_PATH = 512 };
typedef struct {
    char task[16], data[RUN_PATH], valid[RUN_PATH], broken[8], tokenizer[RUN_PATH];
    char objective[16];
    char system[16], inject[16], gain[16];          /* inject "": as the preset says */
    int base_frozen, base_trained, detach;          /* neither: as the preset says */
    size_t latents;
    char kv_layers[64], orthogonality_form[16];     /* "0-5,8"; plain centred values .. */
    double orthogonality, text_loss;
    int fused;
    char steps_shown[16];                           /* none all curriculum */
    size_t stages, stage_steps, latents_per_stage;
    double stage_epochs, uniform_stage;
    int reset_optimizer;
    size_t groups, ahead, sequence;                 /* pretrain: M, N_A, ids of a sequence */
    double held_out;
    char base[RUN_PATH], from[RUN_PATH], init[RUN_PATH], wide_of[RUN_PATH], base_stored[8];
    char match_flops[RUN_PATH];
    char arch[16];
    size_t layers, width, heads, kv_heads, head_dim, mlp, context;
    char numbers[32], range[32], targets[32];       /* "3" or "3-5" */
    double facts;
    char nodes[32], path[32];
    size_t concepts, names;
    size_t steps, batch, seed, max_new;
    char schedule[16];                              /* cosine constant */
    double rate, warmup, decay, clip;
    int keep_best;
    /* from here on nothing moves a number */
    char out[RUN_PATH];
    int resume, dry_run, quiet, describe, recompute;
    double memory;                                  /* GiB; 0: what the machine has */
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
double run_default_rate(int lm, size_t width);      /* peak learning rate where --lr is 0 */

/* ---- the task as token ids ----------------------------------------------------------------- */

int run_is_lm(const run_settings *);                /* a Base on plain text, all of it a target */
int run_is_pretrain(const run_settings *);          /* M groups of latents and ahead tokens */
int run_on_text(const run_settings *);              /* either of them */

typedef struct { int32_t *at; size_t used, room; } token_block;

typedef struct {
    task_row row;                  /* the texts, in a block of the example's own */
    uint64_t key;                  /* task_hash of a generated one */
    size_t n_x, n_y;
    const int32_t *x, *y;          /* y: the steps that are shown, the answer, the end token */
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

/* Reads --task and the generator's options, opens the tokenizer; rows: --data too. folder: that of
 * a run that exists, or NULL for a new one. Free with run_task_close. */
int run_task_open(const run_settings *, const char *folder, int rows, run_task *, char *error,
                  size_t size);
void run_task_close(run_task *);
/* Once the positions are known: room for x and y. Rows that do not fit are refused, or left out. */
int run_fit_rows(const run_settings *, run_task *, size_t room, char *error, size_t size);
size_t run_room(const run_settings *, const dual_system *);    /* positions left for x and y */
int run_fit_examples(const run_settings *, const char *source, example *, size_t *n, size_t room,
                     char *report, size_t report_size, char *error, size_t size);
const char *run_tokenizer_name(const run_task *);    /* words bytes gpt2 qwen3 */
size_t run_count_tokens(const run_task *, const char *text);
int run_example(const run_settings *, const run_task *, size_t stage, const task_row *, example *,
                char *error, size_t size);
void examples_free(example *, size_t n);

/* Coconut's stages: s drops the first s steps; --stages + 1 drops all. */
size_t run_stage_of(const run_settings *, uint64_t step);
size_t run_latents_of(const run_settings *, const dual_system *, size_t stage);

/* The batch of one optimiser step, a function of seed and step alone: nothing to save, nothing to
 * restore. Steps without end: a file's rows are shuffled anew every epoch. */
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

/* answer: x, cue, y. Of a text the cue is the last token of x, as in training on text. */
void run_answer_group(const run_task *, const example *, size_t sequence, dual_group *);
/* Text: ids of one sequence, 1,024 at most if --sequence does not say more; its M insertion places;
 * a group there. */
size_t run_sequence(const run_settings *);
void run_group_places(const run_settings *, uint64_t number, size_t *place);
void run_text_group(const int32_t *text, size_t sequence, size_t place, size_t ahead, dual_group *);
/* One sequence as a batch, the places those of `number`. Free: run_batch_free. */
int run_text_batch(const run_settings *, const int32_t *text, uint64_t number, run_batch *,
                   char *error, size_t size);
/* A text's ids, from *first on the part that is held out (all of it if held_out is 0). The caller
 * frees ids->at. */
int run_text_open(const run_settings *, const run_task *, const char *path, int held_out,
                  token_block *ids, size_t *first, char *report, size_t report_size, char *error,
                  size_t size);

/* n distinct problems of a split (countdown_split's values), the same for every run with these
 * options; from a file when it is not "" (its first n rows, split ignored). stage: whose steps are
 * shown in y. report: "" or what was wrong with some rows. NULL: failed. Free: examples_free. */
example *run_test_set(const run_settings *, const run_task *, size_t stage, int split,
                      const char *file, size_t *n, char *report, size_t report_size, char *error,
                      size_t size);

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

/* ---- a run in memory ----------------------------------------------------------------------- */

typedef struct {
    run_settings set;
    dual_system system;
    dual_config shape;             /* of the Base and, where there is one, the Coprocessor */
    int base_type;                 /* DUAL_FULL, or the Base's matrices stay in 16 bits */
    dual_model *base, *coprocessor;
    dual_exchange exchange;
    uint64_t step, loss_steps;     /* optimiser steps done; those since the last metrics line */
    double loss_sum;               /* and the sum of their losses */
} run;

int run_system(const run_settings *, dual_system *, char *error, size_t size);
/* Reads run.json, shapes and the step (no memory taken yet). */
int run_open(dual_ctx *, const char *folder, run *);
/* Settles base_type by --base-stored; file: as the folder's files have it. */
int run_find_type(dual_ctx *, run *, const char *folder);
const char *run_type_name(int type);
/* Makes models and exchange in ctx (works while counting too). */
int run_build(dual_ctx *, run *);
/* Fills them from base/, coprocessor/ and state.safetensors of a run folder; moments: or NULL. */
int run_load(dual_ctx *, run *, const char *folder, dual_adamw *moments);
int run_save(dual_ctx *, run *, dual_adamw *);      /* whole checkpoint into set.out */
/* Coprocessor, soft tokens and gain of another run; the system must be able to take them. */
int run_load_latents(dual_ctx *, run *, const char *folder);
/* The exchange with N_L latents, at most as many as it was built with: the first N_L soft tokens.
 * Its view is forgotten with the caller's mark. */
dual_exchange run_exchange(dual_ctx *, const run *, size_t latents);

/* ---- scoring ------------------------------------------------------------------------------- */

typedef struct {
    int verdict;                   /* task_grade's; without an end token: not correct */
    int ended;                     /* came to the end token */
    int each_once, simple;         /* countdown: uses each number once; + and - alone can do it */
} answer;

/* Greedy (temperature 0) answers of at most max_new tokens for n examples; loss: teacher-forced
 * mean over their targets (may be NULL). ctx holds the run; memory above its mark is used and
 * released. */
void run_score(dual_ctx *, dual_exchange *, const run_task *, const example *, size_t n,
               dual_control, double temperature, uint64_t seed, size_t max_new, answer *out,
               double *loss);
/* Teacher-forced mean loss on `count` sequences of held-out text. */
double run_text_loss(dual_ctx *, dual_exchange *, const run_settings *, const token_block *,
                     size_t first, size_t count);
/* --max-new, or the task's; where steps are shown, as many as the longest y has. */
size_t run_max_new(const run_settings *, const run_task *);
double wilson_low(double hits, double n), wilson_high(double hits, double n);

/* ---- what both print ----------------------------------------------------------------------- */

void run_describe_system(const dual_system *, char *out, size_t size);   /* "h2 = inject .." */
/* FLOPs of one training step in each stage, and of the first `steps` steps then. */
enum { RUN_STAGES = 64 };          /* --stages at most */
void run_stage_flops(const run *, run_task *, double flops[RUN_STAGES + 2]);
double run_flops(const run_settings *, const double flops[RUN_STAGES + 2], uint64_t steps);
int run_is_terminal(int fd);
double run_machine_memory(void);                    /* bytes; 0: not known */
void run_spin_briefly(char **argv);                  /* first thing in main */
void run_human(double x, char *out, size_t size);   /* 1234567 -> "1.23M" */

#endif
