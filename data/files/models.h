/* models.h: a model from a Hugging Face folder, as dual_model_load reads it, with a word about what
 * in the folder it does not use, and about what stands there instead of what is missing. */
#ifndef MODELS_H
#define MODELS_H
#include "../../dual.h"

/* Warns on stderr. 0: failed; c->error says why and, where it is known, what to do. */
int models_load(dual_ctx *, dual_model *, const char *folder);
/* A line each, "" if there are none: tensors that the model has no place for, files not opened. */
void models_warnings(dual_ctx *, const dual_model *, const char *folder, char *text, size_t size);

#endif
