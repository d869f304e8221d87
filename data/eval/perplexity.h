/* perplexity.h: of each token ahead of random places in a text, with the latents and without.
 *
 * Owns: which text and which places (the same for every run with the same options), and the mean of
 * -log p. Refuses: sequences, places and tokens ahead that do not fit the context. */
#ifndef PERPLEXITY_H
#define PERPLEXITY_H
#include "problems.h"

typedef struct {
    size_t sequences;                  /* of the text, at most */
    size_t groups, ahead, sequence;    /* M, N_A, tokens per sequence; 0: as trained */
    dual_ablation ablation;
} perplexity_options;

typedef struct {
    run_settings how;                  /* groups, ahead and sequence as they are used */
    dual_ablation ablation;
    text_source text;
    size_t sequences;
    int has_latents;
    double *without, *with;            /* [ahead + 1], the last one over all; with: NaN if none */
} perplexity_result;

/* file "": what the run did not train on. An option at fault: the line begins with its name. */
int perplexity_plan(dual_ctx *, const loaded_run *, const perplexity_options *, const char *file,
                    perplexity_result *);
int perplexity_measure(dual_ctx *, loaded_run *, perplexity_result *);
void perplexity_free(perplexity_result *);

#endif
