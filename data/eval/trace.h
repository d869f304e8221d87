/* trace.h: one prompt as every pass sees it, in words and as JSON.
 *
 * Owns: the answer that is traced, and the wording: what a row is, what it sees, what a pass hands
 * over, what trains what. dual_outcome keeps every pass as it was run; nothing is computed anew but
 * norms, likelihoods and, where it is asked for, attention. The prompt is the first sequence of
 * every pass, so its row numbers are the pass's own; another one, which lends its latents, stands
 * behind it and is not shown. */
#ifndef TRACE_H
#define TRACE_H
#include "../runs/json.h"
#include "attention.h"
#include "generate.h"

typedef struct {                       /* shown while the context holds the passes */
    const loaded_run *loaded;
    const prompt_answer *prompt;
    const dual_outcome *out;
    dual_tensor *const *logits;        /* of each pass, by its own model; NULL: it has no states */
    const attention_map *attention;    /* of each pass; NULL: not asked for */
    size_t n_x;                        /* rows of the prompt */
    const example *row;                /* x and y */
    int given;                         /* y is the caller's, not the run's own */
    double loss;
    const char *y, *grade;             /* its text as it is printed; "": it cannot be graded */
} trace_view;

typedef void trace_show(const trace_view *, void *to);
typedef struct {
    const char *answer;                /* y; "": the run's own greedy answer, with the end token if
                                          one came */
    int attention;
} trace_options;
/* The latents are those that the prompt's ablation asks for, in the answer too. */
int trace_run(dual_ctx *, loaded_run *, prompt_answer *, const trace_options *, trace_show *,
              void *to);
size_t trace_rows(const dual_pass *);  /* of the prompt: those that are shown */

/* What a row is. In the Base's pass a latent row holds what the system injects. */
void trace_row(const loaded_run *, const dual_pass *, size_t r, size_t n_x, char *out, size_t size);
/* The rows from .. to-1 of one pass that a row sees. */
typedef struct {
    const char *owner;                 /* Base Cop thought own; "det. Base": a copy that lets no
                                          gradient back; other: what replaces KV_phi */
    int pass;                          /* whose rows they are; -1: of no pass, other's */
    long from, to;
    long shift;                        /* to name a pass of one row by the thought's number */
} trace_range;
enum { TRACE_RANGES = 96 };
/* Returns how many, at most `most`. */
size_t trace_ranges(const loaded_run *, const dual_outcome *, const dual_pass *, size_t r,
                    trace_range *, size_t most);
/* "Base 0-4, own 5": the same in words; neighbours of one owner join. */
void trace_sees(const loaded_run *, const dual_outcome *, const dual_pass *, size_t r, char *out,
                size_t size);
const char *trace_recorded(const loaded_run *, const dual_pass *);
int trace_is_recorded(const loaded_run *, const dual_pass *);      /* it is on the tape */
/* Whether gradient comes back to the pass through what it hands over. */
int trace_gradient_returns(const loaded_run *, const dual_pass *);
/* What pass number `which` leaves for the next ones. */
const char *trace_hands_over(const loaded_run *, const dual_outcome *, size_t which);
/* The path of the gradient back through the passes; in brackets what it trains there. */
void trace_gradient(const dual_system *, char *out, size_t size);
/* The three likeliest next tokens in percent, without those that round to 0. */
void trace_likeliest(const run_task *, const dual_tensor *logits, size_t r, char *out, size_t size);
/* From the first latent on a row is asked for the next token; only the cue's and y's answers are
 * trained. Of the Coprocessor's rows it is what its own head makes of Z. */
int trace_predicts(const dual_pass *, size_t r, size_t n_x);
double trace_norm(const dual_tensor *, size_t r);
/* "prompt", "y", the passes with all their rows, "gradient", "loss", "grade": into an open object.
 * data/README.md, "JSON", has the schema. */
void trace_json(json_writer *, const trace_view *);

#endif
