/* example.c - a complete program that uses dual.h and nothing else: a tiny Base and its Coprocessor
 * in a static block of memory, trained as system h2 on one question, then asked that question. The
 * top of dual.h quotes the lines between the two marks.
 *
 *   cc -std=c99 -O2 tests/example.c dual.c -lm -o example && ./example */
#include <stdio.h>
#include "../dual.h"

static int refused(const dual_ctx *c) {
    printf("refused: %s\n0 passed, 1 failed\n", c->error);
    return 1;
}

int main(void) {
    dual_threads(1);                                    // more would not help so small a model
    // quoted from here
    static unsigned char memory[1 << 20];               // all that is made lives in this block
    static const int32_t x[] = {3, 1, 4, 1, 5}, cue[] = {10}, y[] = {9, 2, 6};
    const int32_t *text[] = {x};
    const size_t length[] = {5};
    const dual_group group = {.prefix = 5, .cue = cue, .n_cue = 1, .target = y, .n_target = 3};
    const dual_batch batch = {
        .n_sequences = 1, .text = text, .length = length, .n_groups = 1, .group = &group};
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 20, .positions = 32, .layers = 2, .hidden = 16,
        .heads = 2, .kv_heads = 2, .head_dim = 8, .mlp = 64, .norm_eps = 1e-5};
    dual_ctx c;
    dual_init(&c, memory, sizeof memory);
    dual_model *base = dual_model_new(&c, &shape), *coprocessor = dual_model_new(&c, &shape);
    dual_model_init(base, dual_rng_seed(1, 0));         // or dual_model_load(&c, base, folder)
    dual_exchange e;
    dual_system h2 = dual_system_preset("h2");          // Z as embeddings, Base trained
    h2.latents = 4;
    if (!dual_exchange_new(&c, &e, &h2, base, coprocessor)) return refused(&c);
    dual_exchange_init(&e, 1);                          // Coprocessor: a copy of the Base
    dual_exchange_train(&c, &e);                        // gradients for what h2 trains
    dual_adamw adamw;
    dual_adamw_new(&c, &adamw, &e);
    dual_outcome out;
    for (uint64_t step = 0; step < 30; step++) {
        dual_mark mark = dual_mark_here(&c);
        dual_run(&c, &e, &batch, &out);                 // read, think, speak; loss
        dual_backward(&c, out.loss);
        dual_adamw_step(&c, &adamw, dual_schedule(step, 30, 0.02, 0.01));
        dual_release(&c, mark);                         // the step's memory is free again
    }
    int32_t answer[3];
    size_t answer_length;                               // tokens before the end token
    dual_sampling greedy = {.max_new = 3, .end = -1};   // no end token: 3 tokens
    dual_generate(&c, &e, &batch, &greedy, answer, &answer_length);
    // to here

    c.inference = 1;                                    // evaluation: nothing is recorded
    dual_run(&c, &e, &batch, &out);
    const double loss = (double)out.loss->data[0];
    int passed = loss < 0.5;                            // untrained it is about ln 20 = 3.0
    printf("x = 3 1 4 1 5, y =");
    for (int i = 0; i < 3; i++) {
        printf(" %d", (int)answer[i]);
        passed += answer[i] == y[i];
    }
    printf(", loss %.3f, %zu bytes of %zu used\n", loss, c.peak, sizeof memory);
    printf("%d passed, %d failed\n", passed, 4 - passed);
    return passed < 4;
}
