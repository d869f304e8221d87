/* page.h: the few functions that a web page's worker calls. Runs live in numbered slots and in
 * memory alone: made from options as ./train would make them, or filled with a run's weights.
 *
 * Owns: the slots, their memory, the text of the last answer. Refuses what ./train and ./eval
 * refuse, with their words. A function that can fail returns 0 (page_train: NaN), and page_failure
 * then has the reason; page_trace, page_score and page_facts print a line of JSON to stdout. */
#ifndef PAGE_H
#define PAGE_H
#include "../../dual.h"

enum { PAGE_SLOTS = 12 };

char *page_room(size_t size);              /* for a text that the page passes on; page_free */
void page_free(char *);
const char *page_failure(void);

/* A new run from options as on a command line, one word a line. base: the slot whose Base it starts
 * from, -1: random weights. A run that was in the slot is forgotten. */
int page_open(int slot, int base, const char *options);
/* A run whose run.json, base/config.json and tokenizer are files in `folder`, after `step` steps;
 * its weights are then written to where page_weights says. */
int page_load(int slot, const char *folder, unsigned step);
void page_close(int slot);

/* Tensor i of the run, in dual_exchange_param's order: its numbers, NULL past the last. */
dual_real *page_weights(int slot, unsigned i);
size_t page_weights_count(int slot, unsigned i);

/* The next n steps, at most those that are left; their mean loss. NaN: failed. */
double page_train(int slot, unsigned n);
unsigned page_step(int slot);
/* Accuracy on the first `count` test problems, with the latents that `from` says. */
int page_score(int slot, unsigned count, const char *from);
/* ./eval trace --json --attention. y "": its own answer; other: whose latents are taken, or "". */
int page_trace(int slot, const char *prompt, const char *y, const char *from,
               const char *other);
/* The system in words, what it trains and how many numbers, its sizes. */
int page_facts(int slot);

#endif
