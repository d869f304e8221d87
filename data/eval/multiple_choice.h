/* multiple_choice.h: by log-likelihood. Where the run answers questions, the context is the
 * prompt and its line break the cue; where it was trained on text, the context's last token is the
 * cue.
 *
 * Tokens are cut as lm-evaluation-harness cuts them: white space at the end of the context goes to
 * the front of the choice, both are encoded as one text, and the choice begins behind as many
 * tokens as the context alone has. Unlike there, a choice of which nothing is left then ("Ans" and
 * "wer" are one token) is encoded alone.
 *
 * Owns: contexts and choices as token ids, which row lends its latents, likelihoods and which
 * choice each rule prefers. Refuses: files in which no row can be used, rows that no other row
 * could lend latents to. */
#ifndef CHOICES_H
#define CHOICES_H
#include "answers.h"
#include "score.h"

typedef struct {
    dual_ablation ablation;
    size_t n, *begin;              /* rows that fit the model; [n+1] where their choices begin */
    size_t room;                   /* choices there is room for */
    example *choice, *longest;     /* choices behind their contexts; [n] most n_x, n_y of a row's */
    size_t *other;                 /* swapped, mean: [n] a row with another context; else NULL */
    double *likelihood;            /* log p of each choice */
    size_t cut, left_out;          /* rows cut from the left; with a choice too long, or that has
                                      no token at all (a blank, as words) */
} choice_set;

/* The first `count` rows. What does not fit loses its context's beginning, all choices of a row
 * alike; a row with a choice too long for that is left out. file: for messages. */
int choices_open(dual_ctx *, const loaded_run *, const task_set *rows, size_t count,
                 const char *file, dual_ablation, choice_set *);
int choices_score(dual_ctx *, loaded_run *, choice_set *);     /* fills likelihood */
void choices_close(choice_set *);
/* The next row that shares no context with row r (files have twins side by side); r: none. */
size_t choices_another_row(const choice_set *, size_t r);

enum { CHOICE_SUM, CHOICE_PER_BYTE, CHOICE_PER_TOKEN, CHOICE_RULES };
typedef struct {
    tally hit[CHOICE_RULES];
    double chance, loss;           /* mean 1 / choices; per target of the right choices */
} choices_result;
/* Which choice each rule prefers: the first of the best. White space before a choice is no byte of
 * it, unless the choice is nothing else. */
choices_result choices_count(const choice_set *);

#endif
