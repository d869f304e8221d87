/* trace.h: one prompt as every pass sees it, in words.
 *
 * Owns: the answer that is traced, and the wording: what a row is, what it sees, what a pass hands
 * over, what trains what. dual_outcome keeps every pass as it was run; nothing is computed anew but
 * norms and likelihoods. One prompt, so every pass has one part and row numbers are its own. */
#ifndef TRACE_H
#define TRACE_H
#include "generate.h"

typedef struct {                       /* shown while the context holds the passes */
    const loaded_run *loaded;
    const prompt_answer *prompt;
    const dual_outcome *out;
    const dual_tensor *logits;         /* of the last pass */
    size_t n_x;                        /* rows of the prompt */
    const example *row;                /* x and y */
    int given;                         /* y is the caller's, not the run's own */
    double loss;
    const char *y, *grade;             /* its text as it is printed; "": it cannot be graded */
} trace_view;

typedef void trace_show(const trace_view *, void *to);
/* given "": y is the run's own greedy answer, with the end token if one came. */
int trace_run(dual_ctx *, loaded_run *, prompt_answer *, const char *given, trace_show *, void *to);

/* What a row is. In the Base's pass a latent row holds what the system injects. */
void trace_row(const loaded_run *, const dual_pass *, size_t r, size_t n_x, char *out, size_t size);
/* "Base 0-4, own 5": the rows that row r of a pass sees; neighbours of one cache join. */
void trace_sees(const loaded_run *, const dual_outcome *, const dual_pass *, size_t r, char *out,
                size_t size);
const char *trace_recorded(const loaded_run *, const dual_pass *);
/* What pass number `which` leaves for the next ones. */
const char *trace_hands_over(const loaded_run *, const dual_outcome *, size_t which);
/* The path of the gradient back through the passes; in brackets what it trains there. */
void trace_gradient(const dual_system *, char *out, size_t size);
/* The three likeliest next tokens in percent, without those that round to 0. */
void trace_likeliest(const run_task *, const dual_tensor *logits, size_t r, char *out, size_t size);
/* From the last latent (or else the cue) on, a row is asked for the next token. */
int trace_predicts(const dual_pass *, size_t r, size_t n_x);
double trace_norm(const dual_tensor *, size_t r);

#endif
