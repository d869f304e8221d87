/* files.h - what the tests of files share: a folder of their own, bytes in and out of it, numbers
 * decoded by their format's definition, small models with numbers that an F32 file can hold. */
#ifndef DUAL_TEST_FILES_H
#define DUAL_TEST_FILES_H
#include "check.h"
#include "../data/files/system.h"
#if defined(__unix__) || defined(__APPLE__)
#define POSIX 1                    /* a folder can be listed */
#include <dirent.h>
#else
#define POSIX 0
#endif

static char folder[400];
static dual_ctx ctx;

/* ---- paths and bytes ------------------------------------------------------------------------- */

/* folder/name, good until eight calls later */
static inline const char *in(const char *name) {
    static char path[8][1100];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static inline void *new_bytes(size_t n) {
    void *bytes = calloc(n + 1, 1);
    if (!bytes) check_fatal("out of memory");
    return bytes;
}

static inline void write_text(const char *path, const char *text) {
    check_write(path, text, strlen(text));
}

static inline unsigned char *read_bytes(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    long size = -1;
    if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
        check_fatal("cannot read a test file");
    rewind(f);
    *n = (size_t)size;
    unsigned char *bytes = new_bytes(*n);
    if (fread(bytes, 1, *n, f) != *n) check_fatal("cannot read a test file");
    fclose(f);
    return bytes;
}

/* How many entries a folder has: a temporary file left behind is one more. */
static inline size_t count_entries(const char *path) {
    size_t n = 0;
#if POSIX
    DIR *d = opendir(path);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
#else
    (void)path;
#endif
    return n;
}

static inline void little_endian(unsigned char *out, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)(value >> (8 * i));
}

/* A safetensors file: the header's length in 8 bytes, the header, the numbers. */
static inline void write_tensors(const char *path, const char *header, const void *data, size_t n) {
    const size_t length = strlen(header);
    unsigned char *bytes = new_bytes(8 + length + n);
    little_endian(bytes, length, 8);
    memcpy(bytes + 8, header, length);
    if (n) memcpy(bytes + 8 + length, data, n);
    check_write(path, bytes, 8 + length + n);
    free(bytes);
}

/* Makes the folder of the test's own, argv[1]/NAME.tmp, and the context. */
static inline void *files_begin(int argc, char **argv, const char *name) {
    void *memory = check_begin(&ctx, (size_t)32 << 20);
    snprintf(folder, sizeof folder, "%s/%s.tmp", argc > 1 ? argv[1] : ".", name);
    if (!data_make_folder(folder)) check_fatal("cannot make a folder for the test's files");
    return memory;
}

static inline int files_end(void *memory) {
    check_size(count_entries(folder), POSIX ? 2 : 0, "files left at the end (. and .. count)");
    remove(folder);
    check_end(&ctx, memory);
    return check_done();
}

/* ---- number formats -------------------------------------------------------------------------- */

/* IEEE by its definition: sign, exponent and mantissa bits of any small format. */
static inline double ieee_value(uint64_t bits, int exponent_bits, int mantissa_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    const int exponent = (int)(bits >> mantissa_bits) & top;
    const double mantissa = (double)(bits & (((uint64_t)1 << mantissa_bits) - 1));
    const double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
    if (exponent == top) return mantissa != 0 ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(1 + ldexp(mantissa, -mantissa_bits), exponent - bias);
}

/* NaN is NaN, and 0 is not -0. */
static inline int same_number(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b && (a != 0 || !signbit(a) == !signbit(b));
}

/* ---- small models ---------------------------------------------------------------------------- */

static inline dual_config small_config(int family, int tied) {
    static const dual_config gpt2 = {
        .family = DUAL_GPT2, .vocab = 11, .positions = 13, .layers = 2, .hidden = 6, .heads = 3,
        .kv_heads = 3, .head_dim = 2, .mlp = 17, .norm_eps = 1e-5};
    static const dual_config qwen3 = {
        .family = DUAL_QWEN3, .vocab = 11, .positions = 13, .layers = 2, .hidden = 7, .heads = 4,
        .kv_heads = 2, .head_dim = 6, .mlp = 5, .norm_eps = 1e-6, .rope_theta = 54321};
    dual_config config = family == DUAL_GPT2 ? gpt2 : qwen3;
    config.tied = tied;
    return config;
}

static inline size_t elements(const dual_tensor *t) {
    return t->rows * t->cols;
}

/* Values a float can hold, whatever dual_real is: files are F32. */
static inline void fill_model(dual_model *m, uint64_t seed) {
    dual_rng rng = dual_rng_seed(seed, 1);
    for (size_t i = 0; i < m->n_params; i++)
        for (size_t j = 0; j < elements(m->param[i].tensor); j++)
            m->param[i].tensor->data[j] = (dual_real)(float)dual_rng_normal(&rng);
    dual_real *first = m->param[0].tensor->data;
    first[0] = (dual_real)-0.0f;
    first[1] = (dual_real)1e-41f;  /* subnormal */
    first[2] = (dual_real)3.4028235e38f;
}

static inline void remove_model(const char *name) {
    static const char *const files[] = {
        "config.json", "model.safetensors", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    char path[600];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        remove(in(path));
    }
    remove(in(name));
}
#endif
