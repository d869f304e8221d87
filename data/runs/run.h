/* run.h: a run in memory and in its folder.
 *
 * A run folder holds run.json (every option that changes a result), base/ and coprocessor/ (Hugging
 * Face folders), latents.safetensors, the tokenizer (vocab.txt, or BPE's files), state.safetensors
 * (everything trained, moments, step: one file, so it is whole or the previous one), train.txt (the
 * header), log.csv and with --keep-best a run folder best/. */
#ifndef RUN_H
#define RUN_H
#include "settings.h"

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
size_t run_stage(const run *);                      /* of the last step that was done */
/* Of what all ranks must have alike: options, what the data held, every weight. */
uint64_t run_fingerprint(const run *);
/* Coprocessor, soft tokens and gain of another run; the system must be able to take them. */
int run_load_latents(dual_ctx *, run *, const char *folder);
/* The exchange with N_L latents, at most as many as it was built with: the first N_L soft tokens.
 * Its view is forgotten with the caller's mark. */
dual_exchange run_exchange(dual_ctx *, const run *, size_t latents);

#endif
