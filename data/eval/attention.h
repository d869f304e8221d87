/* attention.h: how a row of a pass shares its attention out over the keys that it sees.
 *
 * Owns: running a finished pass once more for its blocks' inputs, the queries from them, and their
 * softmax over the keys. dual.c keeps no such weights: its attention never holds a whole row. */
#ifndef ATTENTION_H
#define ATTENTION_H
#include "../../dual.h"

/* The weights of row r in head h of layer l, over the keys in the order in which it sees them (the
 * lists of p->seen one after another): keys numbers from [((l * heads + h) * rows + r) * keys] on,
 * zeros behind the last. A layer that stops at its keys and values has no queries. */
typedef struct {
    size_t layers, heads, rows, keys;
    dual_real *weight;             /* NULL while counting */
} attention_map;

/* Of a pass that was run, in a context that records nothing; its memory goes with the caller's
 * mark. 0: a model whose tensors have other names than GPT-2's or Qwen-3's. */
int attention_of(dual_ctx *, const dual_pass *, attention_map *);

#endif
