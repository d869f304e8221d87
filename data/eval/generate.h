/* generate.h: one prompt and the answer to it.
 *
 * Owns: the prompt as ids, a second prompt where latents are mixed, the tokens of the answer and
 * its grade. Refuses: prompts the tokenizer cannot spell, mixing where no other prompt can be
 * drawn. */
#ifndef GENERATE_H
#define GENERATE_H
#include "problems.h"

typedef struct {
    const char *text;              /* of the prompt */
    dual_ablation ablation;
    double temperature;            /* 0: greedy */
    uint64_t seed;
    size_t max_new;                /* 0: as trained */
    size_t line;                   /* of a file of prompts; 0: it is --prompt */
    const char *other;             /* whose latents a mixing ablation takes; NULL, "": those of a
                                      fresh problem */
} prompt_options;

typedef struct {
    prompt_options how;            /* max_new: what there is room for */
    example *rows;                 /* the prompt; another one for an ablation that mixes prompts */
    size_t n_rows;
    int32_t *tokens;               /* [n_rows, max_new] */
    size_t length[2];              /* tokens before the end token; max_new + 1: none came */
    int is_problem, solvable;      /* it can be graded; some expression is right */
    countdown_problem problem;
} prompt_answer;

int prompt_open(dual_ctx *, const loaded_run *, const prompt_options *, prompt_answer *);
void prompt_close(prompt_answer *);
int prompt_generate(dual_ctx *, loaded_run *, void *prompt);   /* within work */
int prompts_generate(dual_ctx *, loaded_run *, prompt_answer *, size_t n);     /* one by one */

int prompt_ended(const prompt_answer *);
/* The text of n tokens, for the caller to free: any bytes, NULs too. NULL: out of memory. */
char *tokens_text(dual_ctx *, const run_task *, const int32_t *tokens, size_t n, size_t *length);
/* Bytes as they are printed, a NUL as \0. As snprintf. */
size_t text_shown(const char *text, size_t length, char *out, size_t size);
/* The text of n tokens as it is printed, for the caller to free. NULL: out of memory. */
char *tokens_shown(dual_ctx *, const run_task *, const int32_t *tokens, size_t n);

/* What the text of an answer is worth. */
typedef struct {
    const char *verdict;           /* NULL: the prompt is no problem that could be graded */
    char value[48];                /* what it comes to: 33, 7/2; "": nothing */
    int target, solvable;
    char words[160];               /* all of it: "wrong value: it is 33, 57 is wanted"; or "" */
} prompt_judgement;
void prompt_judge(const prompt_answer *, const char *y, size_t length, int ended,
                  prompt_judgement *);

#endif
