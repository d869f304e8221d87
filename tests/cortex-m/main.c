/* main.c - dual on a microcontroller: three trained systems, their weights in flash, answer
 * questions, and a tiny h2 is trained for one step. All must be as the host computed it. Everything
 * that is made lives in one block of RAM; no heap, no files, no libc but memcpy and the like. */
#include "board.h"
#include "trained.h"
#include <math.h>

static unsigned char memory[128 * 1024];
static size_t passed, failed;

static void check(int ok, const char *what) {
    if (ok) passed++;
    if (ok) return;
    failed++;
    say("FAILED: ");
    say(what);
    say("\n");
}

static void finish(const char *message) {
    if (message) check(0, message);
    say_number("", passed, " passed, ");
    say_number("", failed, " failed\n");
    leave(failed != 0);
}

static void answer_all(const trained_system *s) {
    dual_ctx c;
    dual_init(&c, memory, sizeof memory);
    c.fatal = finish;
    c.inference = c.recompute = 1;                     /* a block's rows are forgotten after it */
    dual_model *base = dual_model_view(&c, &trained_shape, DUAL_FULL, s->base);
    dual_model *coprocessor = dual_model_view(&c, &trained_shape, DUAL_FULL, s->coprocessor);
    dual_exchange e;
    dual_system system = dual_system_preset(s->name);
    system.latents = s->latents;
    if (!dual_exchange_new(&c, &e, &system, base, coprocessor)) finish(c.error);
    memcpy(e.soft.tensor->data, s->soft, s->latents * trained_shape.hidden * sizeof *s->soft);
    reply r;
    for (int i = 0; i < QUESTIONS; i++) {
        greedy_reply(&c, &e, &trained_question[i], &r);
        check(!memcmp(&r, &s->reply[i], sizeof r), "a greedy answer is the host's");
    }
    say(s->name);
    say_number(": ", (size_t)(c.flops / QUESTIONS / 1000), " kFLOP an answer");
    say_number(", block ", c.peak, " bytes");
    for (int i = 0; i < QUESTIONS; i++) {
        const double loss = right_loss(&c, &e, &trained_question[i]);
        check(fabs(loss - s->loss[i]) <= 1e-5, "a right answer's loss is the host's");
    }
    say_number("; with y scored ", c.peak, " bytes\n");
}

int main(void) {
    double loss[2];
    dual_ctx c;
    for (int i = 0; i < SYSTEMS; i++) answer_all(&trained[i]);
    dual_init(&c, memory, sizeof memory);
    c.fatal = finish;
    c.recompute = 1;
    train_step(&c, loss);
    for (int i = 0; i < 2; i++)
        check(fabs(loss[i] - step_loss[i]) <= 1e-5, "a training step's loss is the host's");
    say_number("a training step: ", (size_t)(c.flops / 2000), " kFLOP");
    say_number(", block ", c.peak, " bytes\n");
    say_number("stack ", stack_used(), " bytes\n");
    finish(NULL);
    return 0;
}
