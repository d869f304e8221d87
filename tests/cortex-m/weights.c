/* weights.c - reads three runs, trained as liu, h1 and h2 from one Base, asks them the first test
 * questions, trains a tiny h2 for a step, and writes all of it as C for the board: see trained.h.
 *
 *   weights LIU H1 H2 > trained.c */
#include "../../data/eval/loaded.h"
#include "trained.h"
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *line) {
    fprintf(stderr, "weights: %s\n", line);
    exit(1);
}

static void write_numbers(const char *name, size_t i, const dual_real *at, size_t n) {
    printf("static const float %s_%d[%d] = {", name, (int)i, (int)n);
    for (size_t j = 0; j < n; j++) printf("%s%.8ef,", j % 6 ? " " : "\n    ", (double)at[j]);
    printf("\n};\n");
}

static void write_tokens(const char *name, size_t i, const int32_t *at, size_t n) {
    printf("static const int32_t %s_%d[] = {", name, (int)i);
    for (size_t j = 0; j < n; j++) printf("%d, ", (int)at[j]);
    printf("};\n");
}

/* An array for each parameter, and the table of them. */
static void write_model(const char *name, const dual_model *m) {
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        printf("/* %s, %d x %d */\n", m->param[i].name, (int)t->rows, (int)t->cols);
        write_numbers(name, i, t->data, t->rows * t->cols);
    }
    printf("static const void *const %s[] = {\n", name);
    for (size_t i = 0; i < m->n_params; i++) printf("    %s_%d,\n", name, (int)i);
    printf("};\n\n");
}

static int same_numbers(const dual_model *a, const dual_model *b) {
    for (size_t i = 0; i < a->n_params; i++) {
        const dual_tensor *t = a->param[i].tensor, *u = b->param[i].tensor;
        if (memcmp(t->data, u->data, t->rows * t->cols * sizeof *t->data) != 0) return 0;
    }
    return 1;
}

static void write_weights(const loaded_run *of, const dual_model *written) {
    char name[40];
    const dual_exchange *e = &of->r.exchange;
    snprintf(name, sizeof name, "%s_base", e->system.name);
    if (!written || !same_numbers(e->base, written)) write_model(name, e->base);
    else printf("#define %s liu_base\n", name);
    snprintf(name, sizeof name, "%s_coprocessor", e->system.name);
    write_model(name, e->coprocessor);
    snprintf(name, sizeof name, "%s_soft", e->system.name);
    write_numbers(name, 0, e->soft.tensor->data, e->soft.tensor->rows * e->soft.tensor->cols);
}

static void write_questions(const question *q) {
    for (size_t i = 0; i < QUESTIONS; i++) {
        write_tokens("x", i, q[i].x, q[i].n_x);
        write_tokens("y", i, q[i].y, q[i].n_y);
    }
    printf("const question trained_question[] = {\n");
    for (int i = 0; i < QUESTIONS; i++)
        printf("    {x_%d, y_%d, %d, %d, %d, %d},\n", i, i, (int)q[i].n_x, (int)q[i].n_y,
               (int)q[i].cue, (int)q[i].end);
    printf("};\n");
}

static void write_system(dual_ctx *c, loaded_run *of, const question *q) {
    const char *const name = of->r.system.name;
    printf("    {\"%s\", %d, %s_base, %s_coprocessor, %s_soft_0, {\n", name,
           (int)of->r.system.latents, name, name, name);
    for (int i = 0; i < QUESTIONS; i++) {
        reply r;
        greedy_reply(c, &of->r.exchange, &q[i], &r);
        printf("        {{");
        for (int j = 0; j < MOST_NEW; j++) printf("%d, ", (int)r.token[j]);
        printf("}, %d},\n", (int)r.length);
    }
    printf("    }, {");
    for (int i = 0; i < QUESTIONS; i++) printf("%.9g, ", right_loss(c, &of->r.exchange, &q[i]));
    printf("}},\n");
}

static void write_shape(const dual_config *f) {
    printf("const dual_config trained_shape = {\n    .family = %d, .tied = %d, .vocab = %d, "
           ".positions = %d, .layers = %d, .hidden = %d,\n    .heads = %d, .kv_heads = %d, "
           ".head_dim = %d, .mlp = %d, .norm_eps = %.9g, .rope_theta = %.17g};\n", f->family,
           f->tied, (int)f->vocab, (int)f->positions, (int)f->layers, (int)f->hidden,
           (int)f->heads, (int)f->kv_heads, (int)f->head_dim, (int)f->mlp, f->norm_eps,
           f->rope_theta);
}

/* The first questions of the test set. */
static void find_questions(const loaded_run *of, question *q) {
    char report[2000], error[300];
    size_t n = QUESTIONS;
    const example *row = run_test_set(&of->r.set, &of->task, 0, COUNTDOWN_TEST, "", &n, NULL,
                                      report, sizeof report, error, sizeof error);
    if (!row || n < QUESTIONS) fail(row ? "too few questions" : error);
    for (size_t i = 0; i < QUESTIONS; i++)
        q[i] = (question){row[i].x, row[i].y, row[i].n_x, row[i].n_y, of->task.cue, of->task.end};
}

int main(int argc, char **argv) {
    static loaded_run of[SYSTEMS];
    question q[QUESTIONS];
    double loss[2];
    dual_ctx c;
    void *memory = malloc((size_t)1 << 26);
    if (argc != 1 + SYSTEMS || !memory) fail("three run folders are wanted: LIU H1 H2");
    dual_init(&c, memory, (size_t)1 << 26);
    c.fatal = fail;
    for (size_t i = 0; i < SYSTEMS; i++)
        if (!loaded_run_open(&c, argv[1 + i], "", AS_TRAINED, &of[i]) ||
            !run_build(&c, &of[i].r) || !run_load(&c, &of[i].r, argv[1 + i], NULL))
            fail(c.error);
    find_questions(&of[0], q);
    printf("#include \"trained.h\"\n\n");
    write_shape(&of[0].r.shape);
    write_questions(q);
    for (size_t i = 0; i < SYSTEMS; i++) write_weights(&of[i], i ? of[0].r.base : NULL);
    c.inference = 1;
    printf("const trained_system trained[] = {\n");
    for (size_t i = 0; i < SYSTEMS; i++) write_system(&c, &of[i], q);
    printf("};\n");
    c.inference = 0;
    train_step(&c, loss);
    printf("const double step_loss[] = {%.9g, %.9g};\n", loss[0], loss[1]);
    return fflush(stdout) || ferror(stdout);
}
