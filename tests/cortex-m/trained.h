/* trained.h - what weights.c writes for the board: trained models as constant arrays, questions,
 * and what the host computed. main.c, on the board, computes it again. Both use the functions
 * at the end. */
#ifndef DUAL_TRAINED_H
#define DUAL_TRAINED_H
#include "../../dual.h"
#include <string.h>

enum { SYSTEMS = 3, QUESTIONS = 4, MOST_NEW = 16 };
typedef struct {
    const int32_t *x, *y;
    size_t n_x, n_y;
    int32_t cue, end;
} question;
typedef struct {
    int32_t token[MOST_NEW];       /* the greedy answer, and its length as dual_generate tells it */
    size_t length;
} reply;
typedef struct {
    const char *name;              /* liu, h1 or h2 */
    size_t latents;
    const void *const *base, *const *coprocessor;  /* for dual_model_view */
    const dual_real *soft;         /* [latents, hidden] */
    reply reply[QUESTIONS];        /* what the host got */
    double loss[QUESTIONS];        /* of y, the right answer */
} trained_system;

extern const dual_config trained_shape;
extern const question trained_question[QUESTIONS];
extern const trained_system trained[SYSTEMS];
extern const double step_loss[2];

static inline void greedy_reply(dual_ctx *c, dual_exchange *e, const question *q, reply *r) {
    const dual_group group = {.prefix = q->n_x, .cue = &q->cue, .n_cue = 1};
    const dual_batch batch = {.n_sequences = 1, .text = &q->x, .length = &q->n_x, .n_groups = 1,
                              .group = &group};
    dual_sampling greedy = {.max_new = MOST_NEW, .end = q->end};
    memset(r, 0, sizeof *r);
    dual_generate(c, e, &batch, &greedy, r->token, &r->length);
}

static inline double right_loss(dual_ctx *c, dual_exchange *e, const question *q) {
    const dual_group group = {.prefix = q->n_x, .cue = &q->cue, .n_cue = 1, .target = q->y,
                              .n_target = q->n_y};
    const dual_batch batch = {.n_sequences = 1, .text = &q->x, .length = &q->n_x, .n_groups = 1,
                              .group = &group};
    const dual_mark mark = dual_mark_here(c);
    dual_outcome out;
    dual_run(c, e, &batch, &out);
    dual_release(c, mark);
    return (double)out.loss->data[0];
}

/* One training step of a tiny h2: the loss before and after it. */
static inline void train_step(dual_ctx *c, double loss[2]) {
    static const int32_t x[] = {3, 1, 4, 1, 5}, y[] = {9, 2, 6}, cue = 10;
    const int32_t *text[] = {x};
    const size_t length[] = {5};
    const dual_group group = {.prefix = 5, .cue = &cue, .n_cue = 1, .target = y, .n_target = 3};
    const dual_batch batch = {
        .n_sequences = 1, .text = text, .length = length, .n_groups = 1, .group = &group};
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 20, .positions = 16, .layers = 2, .hidden = 8,
        .heads = 2, .kv_heads = 2, .head_dim = 4, .mlp = 32, .norm_eps = 1e-5};
    dual_model *base = dual_model_new(c, &shape), *coprocessor = dual_model_new(c, &shape);
    dual_model_init(base, dual_rng_seed(1, 0));
    dual_exchange e;
    dual_adamw adamw;
    dual_outcome out;
    dual_system h2 = dual_system_preset("h2");
    h2.latents = 4;
    if (!dual_exchange_new(c, &e, &h2, base, coprocessor)) c->fatal(c->error);
    dual_exchange_init(&e, 1);
    dual_exchange_train(c, &e);
    dual_adamw_new(c, &adamw, &e);
    for (int i = 0; i < 2; i++) {
        const dual_mark mark = dual_mark_here(c);
        dual_run(c, &e, &batch, &out);
        loss[i] = (double)out.loss->data[0];
        dual_backward(c, out.loss);
        if (i == 0) dual_adamw_step(c, &adamw, 0.01);
        dual_release(c, mark);
    }
}
#endif
