/* test_refusals.c - what an exchange does not accept, always with one line of reason: models that
 * cannot read each other's cache, batches that do not fit, presets and flags that mean nothing.
 * What is wrong with options is in test_options.c, with files in test_files.c, test_models.c.
 *
 *   cc -std=c99 -O2 tests/test_refusals.c dual.c -lm -o t && ./t */
#include "exchange.h"
#if defined(__unix__) || defined(__APPLE__)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#define POSIX
#endif

/* ---- two models ------------------------------------------------------------------------------ */

/* The reason names the field in which the Coprocessor differs. */
static void refuse_pair(const char *system_name, const dual_config *base,
                        const dual_config *coprocessor, const char *field) {
    const dual_system system = preset(system_name);
    dual_ctx c;
    dual_exchange e;
    void *memory = check_begin(&c, (size_t)8 << 20);
    const int accepted = dual_exchange_new(&c, &e, &system, dual_model_new(&c, base),
                                           dual_model_new(&c, coprocessor));
    check_that(accepted || strstr(c.error, field), "%s, other %s: expected it named, got \"%s\"",
               system_name, field, c.error);
    check_refused(&c, accepted, field);
    check_end(&c, memory);
}

static void refuse_pairs(const char *system) {
    const dual_config gpt2 = shape_config(GPT2_TIED), qwen3 = shape_config(QWEN3_UNTIED);
    refuse_pair(system, &gpt2, &qwen3, "family");
    dual_config other = gpt2;
    other.layers = 3;
    refuse_pair(system, &gpt2, &other, "layers");
    other = qwen3;
    other.kv_heads = 4;
    refuse_pair(system, &qwen3, &other, "kv");
    other = qwen3;
    other.head_dim = 8;
    refuse_pair(system, &qwen3, &other, "head_dim");
    other = qwen3;
    other.rope_theta = 5e4;
    refuse_pair(system, &qwen3, &other, "rope_theta");
}

static void test_pairs(void) {
    refuse_pairs("h2");
    refuse_pairs("h1");
    const dual_config qwen3 = shape_config(QWEN3_UNTIED);
    dual_config wider = qwen3;     /* H2 alone: H1 hands over no rows of that width */
    wider.hidden = 16;
    refuse_pair("h2", &qwen3, &wider, "hidden");
}

/* ---- batches --------------------------------------------------------------------------------- */

enum { TEXT = 40 };

typedef struct {
    int32_t text[60], cue[1];
    const int32_t *texts[1];
    size_t length[1];
    dual_group group;
    dual_batch batch;
} long_batch;

static void long_batch_init(long_batch *b) {
    memset(b, 0, sizeof *b);
    b->texts[0] = b->text;
    b->length[0] = TEXT;
    b->group = (dual_group){.prefix = TEXT, .cue = b->cue, .n_cue = 1, .target = b->text,
                            .n_target = 3};
    b->batch = (dual_batch){.n_sequences = 1, .text = b->texts, .length = b->length, .n_groups = 1,
                            .group = &b->group};
}

static void refuse_batch(fixture *f, const long_batch *b, const char *what) {
    check_refused(&f->c, dual_batch_check(&f->c, &f->e, &b->batch), what);
}

/* 61 positions: 40 of text, 3 latents (coconut: 4), 1 cue, so 17 targets fit (16). 23 are too many
 * even without latents. */
static void count_positions(fixture *f, long_batch *b) {
    const char *name = f->e.system.name;
    b->group.n_target = f->e.system.inject == DUAL_CHAIN ? 16 : 17;
    check_that(dual_batch_check(&f->c, &f->e, &b->batch), "%s: expected %d targets to fit: %s",
               name, (int)b->group.n_target, f->c.error);
    b->group.n_target = 23;
    check_that(!dual_batch_check(&f->c, &f->e, &b->batch) && strstr(f->c.error, "61"),
               "%s: expected a refusal that names 61 positions, got \"%s\"", name, f->c.error);
    refuse_batch(f, b, "too many targets");
}

static void refuse_batches(const char *system) {
    fixture f;
    fixture_open_preset(&f, GPT2_TIED, system);
    long_batch b;
    long_batch_init(&b);
    count_positions(&f, &b);
    long_batch_init(&b);
    b.group.prefix = TEXT + 1;
    refuse_batch(&f, &b, "prefix beyond its text");
    long_batch_init(&b);
    b.group.sequence = 1;
    refuse_batch(&f, &b, "no such sequence");
    long_batch_init(&b);
    b.text[3] = VOCAB;
    refuse_batch(&f, &b, "token too large");
    b.text[3] = -1;
    refuse_batch(&f, &b, "negative token");
    long_batch_init(&b);
    b.cue[0] = VOCAB;
    refuse_batch(&f, &b, "cue beyond the vocabulary");
    fixture_close(&f);
}

/* No refusal: a batch without targets has latents and no loss. */
static void no_targets(void) {
    fixture f;
    fixture_open_preset(&f, GPT2_TIED, "h2");
    ragged data;
    ragged_init(&data, 1);
    for (size_t g = 0; g < GROUPS; g++) data.group[g].n_target = 0;
    dual_outcome out;
    dual_run(&f.c, &f.e, &data.batch, &out);
    check_that(out.loss == NULL && out.latents && out.latents->rows == GROUPS * SLOTS,
               "no targets: expected latents and no loss");
    fixture_close(&f);
}

static void test_batches(void) {
    for (size_t i = 0; i < SYSTEMS; i++) refuse_batches(all_systems[i]);
    no_targets();
}

/* ---- presets and flags ----------------------------------------------------------------------- */

static void test_presets(void) {
    check_size(dual_system_preset("h3").latents, SIZE_MAX, "an unknown preset");
    const dual_system wide = dual_system_preset("wide");
    check_that(wide.inject == DUAL_SOFT && wide.base_trained, "wide is a soft system");
}

/* Flags that would mean nothing, and a system without the Coprocessor that it needs. */
static void test_flags(void) {
    static const char *const gainless[] = {"none", "pause", "soft", "prompt", "h1", "h1h2"};
    static const char *const cutless[] = {"none", "soft", "coconut", "liu", "h1", "prompt"};
    const dual_config config = shape_config(GPT2_TIED);
    dual_ctx c;
    void *memory = check_begin(&c, (size_t)16 << 20);
    dual_model *base = dual_model_new(&c, &config), *coprocessor = dual_model_new(&c, &config);
    dual_exchange e;
    for (size_t i = 0; i < 6; i++) {
        dual_system s = preset(gainless[i]);
        s.gain = 1;
        check_refused(&c, dual_exchange_new(&c, &e, &s, base, coprocessor), "a gain on no state");
        s = preset(cutless[i]);
        s.detach = 1;
        check_refused(&c, dual_exchange_new(&c, &e, &s, base, coprocessor), "detach of nothing");
    }
    const dual_system h2 = preset("h2");
    check_refused(&c, dual_exchange_new(&c, &e, &h2, base, NULL), "no Coprocessor");
    check_end(&c, memory);
}

/* ---- what would train nothing, or crash ------------------------------------------------------ */

enum { NOTHING_TRAINED = 1, RELEASED_LOSS, NO_LOSS, NO_WEIGHTS };

static void make_mistake(dual_ctx *c, int which) {
    const dual_config config = shape_config(GPT2_TIED);
    dual_model *base = dual_model_new(c, &config);
    dual_system none = dual_system_preset("none");
    dual_exchange e;
    dual_adamw adamw;
    dual_outcome out;
    ragged data;
    memset(base->norm_w->data, 0, base->norm_w->cols * sizeof(dual_real));
    if (which != NO_WEIGHTS) dual_model_init(base, dual_rng_seed(1, 1));
    if (!dual_exchange_new(c, &e, &none, base, NULL)) return;
    if (which == NOTHING_TRAINED) dual_adamw_new(c, &adamw, &e);
    dual_exchange_train(c, &e);
    ragged_init(&data, 1);
    for (size_t g = 0; which == NO_LOSS && g < GROUPS; g++) data.group[g].n_target = 0;
    const dual_mark mark = dual_mark_here(c);
    dual_run(c, &e, &data.batch, &out);
    if (which == RELEASED_LOSS) dual_release(c, mark);
    dual_backward(c, out.loss);
}

static void test_mistakes(void) {
    static const char *const words[] = {"", "dual_exchange_train", "released", "no loss",
                                        "weights"};
    dual_ctx c;
    void *memory = check_begin(&c, (size_t)16 << 20);
    for (int which = NOTHING_TRAINED; which <= NO_WEIGHTS; which++) {
        const dual_mark mark = dual_mark_here(&c);
        check_that(check_ends(&c, make_mistake, which) && strstr(check_last_words, words[which]),
                   "mistake %d: expected a word about \"%s\", got \"%s\"", which, words[which],
                   check_last_words);
        dual_release(&c, mark);
    }
    const dual_config config = shape_config(GPT2_TIED);
    dual_system s = dual_system_preset("H2");
    dual_exchange e;
    s.latents = 4;
    const int accepted = dual_exchange_new(&c, &e, &s, dual_model_new(&c, &config),
                                           dual_model_new(&c, &config));
    check_that(accepted || strstr(c.error, "H2"), "an unknown preset: named, got \"%s\"", c.error);
    check_refused(&c, accepted, "an unknown preset with latents");
    check_end(&c, memory);
}

static void go_on(const char *message) { (void)message; }

/* A fatal that returns ends in abort, not in whatever comes next. */
static void test_returning_fatal(void) {
#ifdef POSIX
    for (int which = NOTHING_TRAINED; which <= NO_WEIGHTS; which++) {
        const pid_t child = fork();
        if (!child) {
            dual_ctx c;
            check_begin(&c, (size_t)16 << 20);
            c.fatal = go_on;
            make_mistake(&c, which);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        check_that(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                   "mistake %d, a fatal that returns: expected an abort", which);
    }
#endif
}

int main(void) {
    dual_threads(1);               /* models this small only lose time to threads */
    test_pairs();
    test_batches();
    test_presets();
    test_flags();
    test_mistakes();
    test_returning_fatal();
    return check_done();
}
