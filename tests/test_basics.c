/* test_basics.c - what all else stands on: random numbers against splitmix64's published ones and
 * the moments of their distributions, JSON with every escape and a list of what is no JSON, the
 * learning rate's schedule, and memory that is counted exactly before it is taken.
 *
 *   cc -std=c99 -O2 tests/test_basics.c dual.c -lm -o test_basics && ./test_basics */
#include "check.h"

/* ---- random numbers -------------------------------------------------------------------------- */

enum { DRAWS = 200000 };

static void published_numbers(uint64_t state, size_t n, const uint64_t *number) {
    dual_rng rng = {state};
    for (size_t i = 0; i < n; i++)
        check_that(dual_rng_next(&rng) == number[i], "splitmix64 from %lu: number %d",
                   (unsigned long)state, (int)i);
}

static void uniform_numbers(dual_rng *rng) {
    enum { BUCKETS = 16 };
    double sum = 0, square = 0, low = 1, high = 0;
    size_t bucket[BUCKETS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        const double u = dual_rng_uniform(rng);
        low = fmin(low, u);
        high = fmax(high, u);
        sum += u;
        square += u * u;
        bucket[(size_t)(u * BUCKETS) % BUCKETS]++;
    }
    check_that(low >= 0 && high < 1, "uniform: expected [0, 1), got %g .. %.17g", low, high);
    check_close(sum / DRAWS, 0.5, 0.004, "uniform: mean");
    check_close(square / DRAWS, 1.0 / 3, 0.004, "uniform: mean square");
    for (int i = 0; i < BUCKETS; i++)
        check_close((double)bucket[i] / DRAWS, 1.0 / BUCKETS, 0.003, "uniform: bucket %d", i);
}

static void normal_numbers(dual_rng *rng) {
    double sum = 0, square = 0, cube = 0, fourth = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double z = dual_rng_normal(rng);
        sum += z;
        square += z * z;
        cube += z * z * z;
        fourth += z * z * z * z;
    }
    check_close(sum / DRAWS, 0, 0.012, "normal: mean");
    check_close(square / DRAWS, 1, 0.02, "normal: variance");
    check_close(cube / DRAWS, 0, 0.05, "normal: third moment");
    check_close(fourth / DRAWS, 3, 0.15, "normal: fourth moment");
}

static void numbers_below(dual_rng *rng) {
    enum { LARGE_DRAWS = 20000 };
    size_t count[7] = {0}, low = 0;
    for (int i = 0; i < DRAWS; i++) {
        const size_t k = dual_rng_below(rng, 7);
        if (k < 7) count[k]++;
    }
    for (int i = 0; i < 7; i++)
        check_close((double)count[i] / DRAWS, 1.0 / 7, 0.004, "below 7: share of %d", i);
    check_size(dual_rng_below(rng, 1), 0, "below 1");
    /* three quarters of all words: a mere remainder would hit the first third half of the time */
    for (int i = 0; i < LARGE_DRAWS; i++)
        low += dual_rng_below(rng, SIZE_MAX / 4 * 3) < SIZE_MAX / 4;
    check_close((double)low / LARGE_DRAWS, 1.0 / 3, 0.02,
                "below 3/4 of SIZE_MAX: share of a third");
}

static void streams(void) {
    enum { FIRST = 64 };
    dual_rng a = dual_rng_seed(5, 1), b = dual_rng_seed(5, 1);
    size_t same = 0;
    for (int i = 0; i < 100; i++) same += dual_rng_next(&a) == dual_rng_next(&b);
    check_size(same, 100, "the same seed and stream: the same numbers");
    /* streams must not be the same sequence shifted by a few draws either */
    uint64_t first[FIRST];
    a = dual_rng_seed(5, 1);
    b = dual_rng_seed(5, 2);
    for (int i = 0; i < FIRST; i++) first[i] = dual_rng_next(&a);
    same = 0;
    for (int i = 0; i < FIRST; i++) {
        const uint64_t draw = dual_rng_next(&b);
        for (int j = 0; j < FIRST; j++) same += draw == first[j];
    }
    check_size(same, 0, "two streams: no number in common");
}

static void test_rng(void) {
    static const uint64_t from_0[] = {0xE220A8397B1DCDAFull, 0x6E789E6AA1B965F4ull,
                                      0x06C45D188009454Full, 0xF88BB8A8724C81ECull};
    static const uint64_t from_1234567[] = {6457827717110365317ull, 3203168211198807973ull,
                                            9817491932198370423ull, 4593380528125082431ull,
                                            16408922859458223821ull};
    published_numbers(0, 4, from_0);
    published_numbers(1234567, 5, from_1234567);
    dual_rng rng = dual_rng_seed(1, 2);
    uniform_numbers(&rng);
    normal_numbers(&rng);
    numbers_below(&rng);
    streams();
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A copy that ends exactly where the text ends, so that a sanitizer sees any read beyond it. */
static int is_json(const char *text, size_t length) {
    char *copy = malloc(length ? length : 1);
    if (!copy) check_fatal("out of memory");
    memcpy(copy, text, length);
    const int ok = dual_json_text(copy, length, NULL, 0).begin != NULL;
    free(copy);
    return ok;
}

static const char sample[] =
    " {\"name\": \"a\\\"b\\\\c\\/\\n\\t\\u00e9\\ud83d\\ude00\", \"empty\": {}, \"none\": null,\n"
    "  \"list\": [1, -2.5e3, 0.25, 1E+2, [], [true, false]], \"deep\": {\"x\": {\"y\": 7}},"
    " \"\": \"\", \"big\": 123456789012}";

static void json_strings(dual_json all) {
    char out[64], tiny[4];
    size_t n = dual_json_string(dual_json_get(all, "name"), out, sizeof out);
    check_that(!strcmp(out, "a\"b\\c/\n\t\xc3\xa9\xf0\x9f\x98\x80"),
               "json string: expected escapes and a surrogate pair decoded, got \"%s\"", out);
    check_size(n, 14, "json string: its full length");
    n = dual_json_string(dual_json_get(all, "name"), tiny, sizeof tiny);
    check_that(n == 14 && !strcmp(tiny, "a\"b"), "json string: expected a cut copy, got \"%s\"",
               tiny);
    check_size(dual_json_string(dual_json_get(all, ""), out, sizeof out), 0, "json: empty key");
    check_that(dual_json_type(dual_json_get(all, "")) == '"', "json: expected an empty string");
}

static void json_members(dual_json all) {
    check_that(dual_json_type(all) == '{', "json: expected an object");
    check_that(dual_json_type(dual_json_get(all, "none")) == 'n', "json: expected null");
    check_that(dual_json_type(dual_json_get(all, "nothing")) == 0, "json: expected absent");
    check_that(dual_json_type(dual_json_get(all, "nam")) == 0, "json: a key's start is no key");
    check_close(dual_json_number(dual_json_get(all, "big"), 0), 123456789012.0, 0, "json: big");
    check_close(dual_json_number(dual_json_get(all, "nothing"), 4.5), 4.5, 0, "json: otherwise");
    check_close(dual_json_number(dual_json_get(all, "name"), 4.5), 4.5, 0, "json: not a number");
    const dual_json x = dual_json_get(dual_json_get(all, "deep"), "x");
    check_close(dual_json_number(dual_json_get(x, "y"), 0), 7, 0, "json: nested get");
}

static void json_each(dual_json all) {
    static const double expected[] = {1, -2500, 0.25, 100};
    const dual_json absent = {NULL, NULL}, list = dual_json_get(all, "list");
    dual_json key = absent, value = absent;
    size_t n = 0;
    for (; dual_json_each(list, &key, &value); n++) {
        if (n < 4)
            check_close(dual_json_number(value, 99), expected[n], 0, "json list, %d", (int)n);
        else
            check_that(dual_json_type(value) == '[', "json list, %d: expected a list", (int)n);
    }
    check_size(n, 6, "json list: elements");
    value = absent;
    for (n = 0; dual_json_each(all, &key, &value); n++)
        if (n == 4) {
            char name[64];
            dual_json_string(key, name, sizeof name);
            check_that(!strcmp(name, "deep") && dual_json_type(value) == '{',
                       "json object, member 4: expected deep, got \"%s\"", name);
        }
    check_size(n, 7, "json object: members");
    value = absent;
    check_that(!dual_json_each(dual_json_get(all, "empty"), &key, &value),
               "json: expected nothing in {}");
    value = absent;
    check_that(!dual_json_each(dual_json_get(all, "name"), &key, &value),
               "json: expected nothing in a string");
}

static void test_json_values(void) {
    const dual_json all = dual_json_text(sample, sizeof sample - 1, NULL, 0);
    json_strings(all);
    json_members(all);
    json_each(all);
}

/* Thousands of open brackets must not exhaust the stack. */
static void deep_json(void) {
    enum { DEPTH = 10000 };
    char *deep = malloc(2 * DEPTH + 1);
    if (!deep) check_fatal("out of memory");
    memset(deep, '[', DEPTH);
    check_that(!is_json(deep, DEPTH), "json: expected 10,000 open brackets refused");
    memset(deep + DEPTH, ']', DEPTH);
    check_that(!is_json(deep, 2 * DEPTH), "json: expected 10,000 nested lists refused");
    for (size_t i = 0; i + 5 <= 2 * DEPTH; i += 5) memcpy(deep + i, "{\"a\":", 5);
    check_that(!is_json(deep, 2 * DEPTH), "json: expected 4,000 open objects refused");
    free(deep);
}

/* Half a surrogate pair: any answer but a crash. */
static void half_pairs(void) {
    static const char *const half[] = {"\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"",
                                       "\"\\ud83d\\\"", "\"\\ud83dx\""};
    for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
        char out[16] = "";
        const dual_json j = dual_json_text(half[i], strlen(half[i]), NULL, 0);
        if (j.begin) dual_json_string(j, out, sizeof out);
        check_that(strlen(out) < 16, "json: half a surrogate pair");
    }
}

static void test_json_syntax(void) {
    static const char *const good[] = {
        "0", "-0", "1.5", "1e5", "-1.25E-3", "\"\"", "true", "false", "null", "[]", "{}",
        " [ 1 , 2 ] ", "\t{\"a\":\r\n1}", "[[[[]]]]", "{\"a\":{\"a\":[{}]}}",
        "\"\\u0041\\b\\f\\r\"", "\"\xc3\xa9\""};
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
        "{a:1}", "{1:2}", "{\"a\":1 \"b\":2}", "[1}", "{]", "01", "1.", ".5", "-", "+1", "1e",
        "1e+", "0x10", "--1", "1.e5", "nan", "NaN", "inf", "Infinity", "tru", "truee", "nul",
        "True", "'a'", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\n\"",
        "1 2", "[] []", "{} x", "[1]]", "/* */ 1", "[1,,2]", "\"\\"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        check_that(is_json(good[i], strlen(good[i])), "json: expected %s accepted", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_that(!is_json(bad[i], strlen(bad[i])), "json: expected %s refused", bad[i]);
    check_that(!is_json("[1,\0 2]", 7), "json: expected a NUL byte refused");
    size_t refused = 0;
    for (size_t i = 0; i < sizeof sample - 1; i++) refused += !is_json(sample, i);
    check_size(refused, sizeof sample - 1, "json: the sample cut at every byte is refused");
    check_that(is_json(sample, sizeof sample - 1), "json: expected the sample accepted");
    deep_json();
    half_pairs();
}

/* What is wrong, and where. */
static void says(const char *text, size_t length, const char *expected) {
    char why[160] = "";
    const dual_json j = dual_json_text(text, length, why, sizeof why);
    check_that(!j.begin && !strcmp(why, expected), "json %s: expected \"%s\", got \"%s\"", text,
               expected, why);
}

static void test_json_reasons(void) {
    static const char *const wrong[][2] = {
        {"{\n  \"a\": 1,\n}", "line 3, column 1: a comma before the end, at: }"},
        {"[1, NaN]", "line 1, column 5: no JSON value, or a string without its end, at: NaN]"},
        {"{\"\xc3\xa9\": -Infinity}", "line 1, column 7: no JSON value, or a string without its"
         " end, at: -Infinity}"},
        {"\xef\xbb\xbf{}", "line 1, column 1: a byte order mark: save it as UTF-8 without one,"
         " at: \xef\xbb\xbf{}"},
        {"{\"a\": [1, 2", "line 1, column 12: the text ends too early"},
        {"{\"a\": ", "line 1, column 7: the text ends too early"},
        {"{\"a\" 1}", "line 1, column 6: no colon after the key, at: 1}"},
        {"{a: 1}", "line 1, column 2: not a key in double quotes, at: a: 1}"},
        {"[1 2]", "line 1, column 4: no comma after the value, at: 2]"},
        {"{}\n{}", "line 2, column 1: more text after the end of the value, at: {}"},
        {"{\"a\": 1, \"b\": 2, \"a\": 3}", "line 1, column 18: this key stands twice, at:"
         " \"a\": 3}"},
        {"{\"x\": {\"a\": 1,\n\"\\u0061\": 1}}", "line 2, column 1: this key stands twice, at:"
         " \"\\u0061\": 1}}"},
        {"[{\"\": 1, \"\": 1}]", "line 1, column 10: this key stands twice, at: \"\": 1}]"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        says(wrong[i][0], strlen(wrong[i][0]), wrong[i][1]);
    const char *const apart = "{\"a\":{\"a\":1},\"aa\":[{\"a\":1},{\"a\":1}]}";
    check_that(is_json(apart, strlen(apart)), "json: one key in several objects");
}

/* Long keys that differ in their last letter alone, or not at all. */
static void test_long_keys(void) {
    enum { KEY = 1000, SIZE = 3 * KEY };
    for (size_t n = 100; n <= KEY; n += 100)
        for (int same = 0; same < 2; same++) {
            char key[KEY + 1] = "", text[SIZE] = "";
            memset(key, 'k', n);
            check_append(text, sizeof text, "{\"%s1\":1,\"%s%d\":2}", key, key, same ? 1 : 2);
            check_that(is_json(text, strlen(text)) != same, "json: keys of %d letters, %s",
                       (int)n + 1, same ? "the same" : "different");
        }
}

/* ---- schedule -------------------------------------------------------------------------------- */

static void test_schedule(void) {
    static const double factor[] = {0.5, 1, 1, 0.75, 0.25};
    for (int i = 0; i < 5; i++)
        check_close(dual_schedule((uint64_t)i, 5, 0.4, 1e-3), factor[i] * 1e-3, 1e-15,
                    "schedule of 5 steps with 2 warm-up, step %d", i);
    check_close(dual_schedule(0, 600, 0.02, 3), 3.0 / 12, 1e-12, "600 steps, 2 %%: step 0");
    check_close(dual_schedule(11, 600, 0.02, 3), 3, 1e-12, "600 steps, 2 %%: end of warm-up");
    check_close(dual_schedule(12, 600, 0.02, 3), 3, 1e-12, "600 steps, 2 %%: start of the cosine");
    check_close(dual_schedule(306, 600, 0.02, 3), 1.5, 1e-12, "600 steps, 2 %%: half way");
    check_close(dual_schedule(600, 600, 0.02, 3), 0, 1e-12, "600 steps, 2 %%: the end");
    int rising = 1, falling = 1;
    for (uint64_t i = 1; i <= 600; i++) {
        const double before = dual_schedule(i - 1, 600, 0.02, 3);
        const double here = dual_schedule(i, 600, 0.02, 3);
        rising = rising && (i > 11 || here > before);
        falling = falling && (i <= 12 || here < before);
    }
    check_that(rising && falling, "schedule: expected it to rise to the peak and then to fall");
    check_close(dual_schedule(0, 10, 0, 1), 1, 1e-12, "no warm-up: step 0 is already the peak");
    check_close(dual_schedule(0, 1, 0.5, 1), 1, 1e-12, "one step: it is the peak");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void every_option(dual_system *s) {
    const int coprocessor = dual_system_needs_coprocessor(s), kv = s->inject == DUAL_KV;
    s->fused = coprocessor;
    s->orthogonality = coprocessor ? 0.1 : 0;
    s->centred = kv;
    s->values = kv;
    s->kv_layers = kv ? 1 : 0;
    s->text_loss = s->base_trained ? 0.5 : 0;
}

/* A training step and some decoding above its tape, the way a driver sizes its memory: first with
 * none. Two groups in one text. Returns the peak. */
static size_t step_and_decode(dual_ctx *c, const dual_system *system) {
    static const int32_t tokens[] = {1, 5, 9, 2, 2, 11, 3}, cue[] = {4}, target[] = {6, 7, 8};
    static const int32_t *const text = tokens;
    static const size_t text_length = 7;
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 13, .positions = 32, .layers = 2, .hidden = 10,
        .heads = 2, .kv_heads = 2, .head_dim = 5, .mlp = 21, .norm_eps = 1e-5};
    const dual_group group[2] = {
        {.prefix = 4, .cue = cue, .n_cue = 1, .target = target, .n_target = 3},
        {.prefix = 7, .cue = cue, .n_cue = 1, .target = target, .n_target = 3}};
    const dual_batch batch = {.n_sequences = 1, .text = &text, .length = &text_length,
                              .n_groups = 2, .group = group};
    dual_model *base = dual_model_new(c, &shape), *coprocessor = NULL;
    if (dual_system_needs_coprocessor(system)) coprocessor = dual_model_new(c, &shape);
    dual_exchange e;
    check_that(dual_exchange_new(c, &e, system, base, coprocessor), "exchange %s: %s",
               system->name, c->error);
    if (c->memory) {
        dual_model_init(base, dual_rng_seed(1, 1));
        dual_exchange_init(&e, 1);
    }
    dual_exchange_train(c, &e);
    dual_adamw adamw;
    dual_adamw_new(c, &adamw, &e);
    dual_outcome out;
    dual_run(c, &e, &batch, &out);
    dual_backward(c, out.loss);
    if (c->memory) dual_adamw_step(c, &adamw, 1e-3);
    dual_sampling sampling = {.max_new = 6, .end = -1};
    int32_t token[2 * 6];
    size_t length[2];
    dual_generate(c, &e, &batch, &sampling, token, length);
    return c->peak;
}

/* Exactly what was counted must do. */
static void count_and_take(const char *name, int options) {
    dual_system system = dual_system_preset(name);
    if (system.inject != DUAL_NONE) system.latents = 3;
    if (options) every_option(&system);
    dual_ctx c;
    dual_init(&c, NULL, 0);
    c.fatal = check_fatal;
    const size_t need = step_and_decode(&c, &system);
    dual_done(&c);
    void *memory = malloc(need);
    dual_init(&c, memory, need);
    c.fatal = check_fatal;
    const size_t peak = step_and_decode(&c, &system);
    check_that(peak <= need && need - peak <= 64, "%s%s: expected the peak that counting said"
               " up to alignment, %lu, got %lu", name, options ? " with options" : "",
               (unsigned long)need, (unsigned long)peak);
    free(memory);
}

/* How many numbers a text names; 3,000,000 and 4.5 are one each. */
static int count_numbers(const char *text) {
    int n = 0, inside = 0;
    for (; *text; text++) {
        const int digit = *text >= '0' && *text <= '9';
        n += digit && !inside;
        inside = digit || (inside && (*text == '.' || *text == ','));
    }
    return n;
}

static void three_million_numbers(dual_ctx *c, int unused) {
    (void)unused;
    (void)dual_tensor_new(c, 3000, 1000);
}

/* A size whose product does not fit a size_t must not wrap round to a small one. */
static void size_that_wraps(dual_ctx *c, int unused) {
    (void)unused;
    (void)dual_alloc(c, SIZE_MAX / 2, 16);
}

/* While counting the sum of all sizes must not wrap either: a 32-bit machine counts to 4 GiB. */
static void sum_that_wraps(dual_ctx *c, int unused) {
    (void)unused;
    for (int i = 0; i < 5; i++) (void)dual_alloc(c, SIZE_MAX / 4, 1);
}

static void too_much_to_count(void) {
    dual_ctx c;
    dual_init(&c, NULL, 0);
    check_that(check_ends(&c, sum_that_wraps, 0), "counting 5/4 of SIZE_MAX: expected fatal");
    dual_done(&c);
}

static void too_little_memory(void) {
    enum { FOUR_MIB = 4 << 20 };
    dual_ctx c;
    void *memory = check_begin(&c, FOUR_MIB);
    check_that(check_ends(&c, three_million_numbers, 0) && count_numbers(check_last_words) >= 2,
               "exhausted memory: expected fatal, with the needed and the available size, got"
               " \"%s\"", check_last_words);
    const dual_tensor *t = dual_tensor_new(&c, 3, 5);
    check_that((uintptr_t)t->data % 64 == 0, "tensor: expected 64-byte alignment");
    check_that((uintptr_t)dual_alloc(&c, 3, 1) % 64 == 0 &&
               (uintptr_t)dual_alloc(&c, 3, 1) % 64 == 0, "alloc: expected 64-byte alignment");
    check_that(check_ends(&c, size_that_wraps, 0), "alloc of SIZE_MAX / 2 x 16: expected fatal");
    check_end(&c, memory);
}

static void test_memory(void) {
    static const char *const names[] = {"none", "pause", "soft", "prompt", "coconut", "liu", "h1",
                                        "h2", "h1h2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        count_and_take(names[i], 0);
        count_and_take(names[i], 1);
    }
    too_much_to_count();
    too_little_memory();
}

int main(void) {
    dual_threads(1);               /* nothing here is large */
    test_rng();
    test_json_values();
    test_json_syntax();
    test_json_reasons();
    test_long_keys();
    test_schedule();
    test_memory();
    return check_done();
}
