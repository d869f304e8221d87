/* settings.h: what a run is asked to do. One struct, one table of options that makes --help, the
 * parser, run.json and its reader, and the questions that settings alone can answer. */
#ifndef SETTINGS_H
#define SETTINGS_H
#include "../../dual.h"
#include "options.h"

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
    double facts, solved;
    char nodes[32], path[32];
    size_t concepts, names;
    size_t steps, batch, accumulate, seed, max_new;
    char schedule[16];                              /* cosine constant */
    double rate, warmup, decay, clip;
    int keep_best;
    /* from here on nothing changes a result */
    char out[RUN_PATH];
    int resume, dry_run, quiet, brief, describe, recompute;
    double memory;                                  /* GiB; 0: what the machine has */
    size_t threads, log_every, save_every, score_points, score_count;
    /* no options, but kept in run.json: what --data and --valid held when the run began, "" where
     * nothing was read; see run_held */
    char data_held[80], valid_held[80];
} run_settings;

extern const option RUN_OPTIONS[];

int run_save_settings(dual_ctx *, const run_settings *);          /* out/run.json */
int run_load_settings(dual_ctx *, const char *folder, run_settings *);
int run_exists(const char *folder);                 /* it has a run.json */

/* The system that the options ask for, --system and what overrides it. 0: the line is in error. */
int run_system(const run_settings *, dual_system *, char *error, size_t size);
double run_default_rate(int lm, size_t width);      /* peak learning rate where --lr is 0 */

int run_is_lm(const run_settings *);                /* a Base on plain text, all of it a target */
int run_is_pretrain(const run_settings *);          /* M groups of latents and ahead tokens */
int run_on_text(const run_settings *);              /* either of them */
int run_is_curriculum(const run_settings *);        /* answers whose steps go stage by stage */
int run_skips_broken(const run_settings *);         /* --broken skip */

/* Coconut's stages: stage s drops the first s steps of every row; --stages + 1 drops all. */
enum { RUN_STAGES = 64 };          /* --stages at most */
size_t run_stage_of(const run_settings *, uint64_t step);
size_t run_latents_of(const run_settings *, const dual_system *, size_t stage);
/* The learning rate of a step, and the step at which the i-th of the equal shares of the steps
 * ends, where a score is due. */
double run_rate_at(const run_settings *, uint64_t step);
uint64_t run_score_step(const run_settings *, size_t i);
int run_is_score_step(const run_settings *, uint64_t step);
/* How many of a row's first steps are not shown. */
size_t run_steps_dropped(const run_settings *, size_t stage, size_t n_steps);

/* Ids in a sequence of text: --sequence, or what the context holds, 1,024 at most. */
size_t run_sequence(const run_settings *);
size_t run_room(const run_settings *, const dual_system *);    /* positions left for x and y */

#endif
