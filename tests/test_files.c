/* test_files.c - everything that comes from or goes to a disk: safetensors, config.json, model
 * folders, text. Good files round trip bit for bit; bad ones are refused with a reason, whatever
 * is wrong with them; a failed write leaves the old file and nothing else.
 *
 *   cc -std=c99 -O2 tests/test_files.c dual.c -lm -o test_files && ./test_files [folder] */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#if defined(__unix__) || defined(__APPLE__)
#define POSIX 1                    /* listing a folder and a limit on the size of files */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#else
#define POSIX 0
#endif

static char folder[400];
static dual_ctx ctx;

/* ---- paths and bytes ------------------------------------------------------------------------- */

/* folder/name, good until eight calls later */
static const char *in(const char *name) {
    static char path[8][1100];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put_text(const char *path, const char *text) {
    check_write(path, text, strlen(text));
}

static unsigned char *get(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    unsigned char *bytes;
    long size = -1;
    if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
        check_fatal("cannot read a test file");
    rewind(f);
    *n = (size_t)size;
    bytes = malloc(*n + 1);
    if (fread(bytes, 1, *n, f) != *n)
        check_fatal("cannot read a test file");
    fclose(f);
    return bytes;
}

static int exists(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

/* How many entries a folder has: a temporary file left behind is one more. */
static size_t entries(const char *path) {
    size_t n = 0;
#if POSIX
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
#else
    (void)path;
#endif
    return n;
}

static void put_tensors(const char *path, const char *header, const void *data, size_t n) {
    size_t length = strlen(header), i;
    unsigned char *bytes = malloc(8 + length + n);
    for (i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    if (n)
        memcpy(bytes + 8 + length, data, n);
    check_write(path, bytes, 8 + length + n);
    free(bytes);
}

static void little_endian(unsigned char *out, uint64_t value, int bytes) {
    int i;
    for (i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

/* ---- number formats -------------------------------------------------------------------------- */

/* IEEE by its definition: sign, exponent and mantissa bits of any small format. */
static double decoded(uint64_t bits, int exponent_bits, int mantissa_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    int exponent = (int)(bits >> mantissa_bits) & top;
    double mantissa = (double)(bits & (((uint64_t)1 << mantissa_bits) - 1));
    double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
    if (exponent == top)
        return mantissa != 0 ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(1 + ldexp(mantissa, -mantissa_bits), exponent - bias);
}

static int same_number(double a, double b) {
    return (a != a && b != b) || (a == b && (a != 0 || !signbit(a) == !signbit(b)));
}

/* All 65,536 patterns of a 16-bit type, in a file whose data start at an odd offset. */
static void sixteen_bits(const char *type, int exponent_bits, int mantissa_bits) {
    enum { ALL = 65536 };
    unsigned char *data = malloc(2 * ALL + 1);
    dual_real *got = malloc(ALL * sizeof *got);
    char header[200];
    dual_file *f;
    size_t i, wrong = 0;

    data[0] = 7;
    for (i = 0; i < ALL; i++)
        little_endian(data + 1 + 2 * i, i, 2);
    sprintf(header, "{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"all\":{\"dtype\":\"%s\",\"shape\":[256,256],\"data_offsets\":[1,131073]}}", type);
    put_tensors(in("formats"), header, data, 2 * ALL + 1);
    f = dual_file_open(&ctx, in("formats"));
    if (check_that(f != NULL, "%s: %s", type, ctx.error)) {
        size_t at = dual_file_find(f, "all");
        dual_entry e = dual_file_entry(f, at);
        check_size(dual_file_count(f), 2, "%s: tensors", type);
        check_that(e.rows == 256 && e.cols == 256 && e.count == ALL && !strcmp(e.type, type) &&
                   !strcmp(e.name, "all"), "%s: expected the entry as written", type);
        check_that(dual_file_read(&ctx, f, at, got), "%s: %s", type, ctx.error);
        for (i = 0; i < ALL; i++)
            if (!same_number((double)got[i], decoded(i, exponent_bits, mantissa_bits)))
                wrong++;
        check_size(wrong, 0, "%s: patterns read as another number", type);
        check_size(dual_file_find(f, "al"), SIZE_MAX, "%s: a name that is not there", type);
        dual_file_close(f);
    }
    remove(in("formats"));
    free(data);
    free(got);
}

/* Wider types: chosen patterns, at every alignment, more of them than one chunk holds. */
static void wide_bits(const char *type, int bytes) {
    static const uint64_t single[] = { 0, 0x80000000u, 1, 0x007fffffu, 0x00800000u, 0x3f800000u,
        0xbf800001u, 0x7f7fffffu, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x40490fdbu };
    static const uint64_t both[] = { 0, 0x8000000000000000u, 1, 0x3ff0000000000000u,
        0xbff0000010000000u, 0x3ff0000010000001u, 0x47efffffe0000000u, 0x7ff0000000000000u,
        0xfff0000000000000u, 0x7ff8000000000000u, 0x400921fb54442d18u, 0x36a0000000000000u };
    enum { KINDS = 12, COUNT = 12 * 3001 };
    const uint64_t *pattern = bytes == 4 ? single : both;
    size_t pad, i, size = (size_t)bytes * COUNT;
    for (pad = 0; pad < 4; pad++) {
        unsigned char *data = calloc(size + pad, 1);
        dual_real *got = malloc(COUNT * sizeof *got);
        size_t wrong = 0;
        char header[300];
        dual_file *f;
        for (i = 0; i < COUNT; i++)
            little_endian(data + pad + (size_t)bytes * i, pattern[i % KINDS], bytes);
        if (pad)
            sprintf(header, "{\"__metadata__\":{\"format\":\"pt\"},\"all\":{\"dtype\":\"%s\","
                    "\"shape\":[%d],\"data_offsets\":[%d,%d]},\"pad\":{\"dtype\":\"U8\","
                    "\"shape\":[%d],\"data_offsets\":[0,%d]}}", type, COUNT, (int)pad,
                    (int)(pad + size), (int)pad, (int)pad);
        else
            sprintf(header, "{\"all\":{\"shape\":[%d],\"data_offsets\":[0,%d],\"dtype\":\"%s\"}} ",
                    COUNT, (int)size, type);
        put_tensors(in("formats"), header, data, pad + size);
        f = dual_file_open(&ctx, in("formats"));
        if (check_that(f != NULL, "%s, %d bytes on: %s", type, (int)pad, ctx.error)) {
            size_t at = dual_file_find(f, "all");
            dual_entry e = dual_file_entry(f, at);
            char note[8];
            check_that(e.rows == 1 && e.cols == COUNT, "%s: a vector is expected as [1,n]", type);
            check_that(dual_file_read(&ctx, f, at, got), "%s: %s", type, ctx.error);
            for (i = 0; i < COUNT; i++) {
                double want = bytes == 4 ? decoded(pattern[i % KINDS], 8, 23)
                                         : decoded(pattern[i % KINDS], 11, 52);
                wrong += !same_number((double)got[i], (double)(dual_real)want);
            }
            check_size(wrong, 0, "%s, %d bytes on: numbers read differently", type, (int)pad);
            if (pad) {
                check_size(dual_file_note(f, "format", note, sizeof note), 2, "metadata");
                check_that(!strcmp(note, "pt"), "metadata: expected pt, got %s", note);
            }
            dual_file_close(f);
        }
        free(data);
        free(got);
    }
    remove(in("formats"));
}

static void test_formats(void) {
    sixteen_bits("F16", 5, 10);
    sixteen_bits("BF16", 8, 7);
    wide_bits("F32", 4);
    wide_bits("F64", 8);
}

/* ---- what is no safetensors file ------------------------------------------------------------- */

#define TENSOR(name, type, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A_GOOD_ONE TENSOR("a", "F32", "[2,2]", "[0,16]")

static void refuse_file(const char *path, const char *what) {
    dual_file *f = dual_file_open(&ctx, path);
    check_refused(&ctx, f != NULL, what);
    if (f)
        dual_file_close(f);
}

static void test_bad_headers(void) {
    static const char *const header[] = {
        "", " ", "hello", "[]", "5", "null", "{", "{" A_GOOD_ONE, A_GOOD_ONE "}",
        "{" A_GOOD_ONE "} x", "{\"a\":5}", "{\"a\":[]}", "{\"a\":{}}",
        "{\"a\":{\"shape\":[2,2],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2]}}",
        "{\"a\":{\"dtype\":5,\"shape\":[2,2],\"data_offsets\":[0,16]}}",
        "{" TENSOR("a", "F32", "5", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[-2,-2]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[1.5,2]", "[0,12]") "}",
        "{" TENSOR("a", "F32", "[\"2\",2]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[2,3]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[1]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[4611686018427387908]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[9223372036854775809,2]", "[0,8]") "}",
        "{" TENSOR("a", "F32", "[1e300]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[0,1e300]", "[0,16]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "5") "}", "{" TENSOR("a", "F32", "[2,2]", "[]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[16]") "}", "{" TENSOR("a", "F32", "[2,2]", "[0]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[0,16,32]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[16,0]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[1,17]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[-16,0]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[0,\"16\"]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[0.5,16.5]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[18446744073709551600,18446744073709551616]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[18446744073709551608,8]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[9007199254740993,9007199254741009]") "}",
        "{" TENSOR("a", "F32", "[2,2]", "[0,1e400]") "}",
        "{" A_GOOD_ONE "," A_GOOD_ONE "}",
        "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("a", "F32", "[2]", "[8,16]") "}",
        "{" TENSOR("a", "F32", "[3]", "[0,12]") "," TENSOR("b", "F32", "[2]", "[8,16]") "}",
        "{" TENSOR("a", "F32", "[2]", "[8,16]") "," TENSOR("b", "F32", "[3]", "[0,12]") "}",
        "{" TENSOR("a", "F32", "[4]", "[0,16]") "," TENSOR("b", "F32", "[1]", "[4,8]") "}",
        "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[4,12]") "}",
        "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[0,8]") "}",
        "{" TENSOR("a", "F32", "[4]", "[0,16]") "," TENSOR("b", "F32", "[2]", "[16,24]") "}"
    };
    static const uint64_t length[] = { 0, 1, 7, 65, 100, 100000000, 0x7fffffff, 0x80000000u,
        0xffffffffu, 0x100000000u, 0x7fffffffffffffffu, 0x8000000000000000u,
        0xfffffffffffffff8u, 0xffffffffffffffffu };
    unsigned char bytes[200] = { 0 }, data[16] = { 0 };
    char what[300], *text;
    size_t i, n = strlen("{" A_GOOD_ONE "}");
    dual_file *f;

    put_tensors(in("bad"), "{" A_GOOD_ONE "}", data, 16);
    f = dual_file_open(&ctx, in("bad"));
    check_that(f != NULL, "the good header among the bad ones: %s", ctx.error);
    if (f)
        dual_file_close(f);
    for (i = 0; i < sizeof header / sizeof *header; i++) {
        put_tensors(in("bad"), header[i], data, 16);
        snprintf(what, sizeof what, "header %s", header[i]);
        refuse_file(in("bad"), what);
    }
    for (i = 0; i < sizeof length / sizeof *length; i++) {
        little_endian(bytes, length[i], 8);
        memcpy(bytes + 8, "{" A_GOOD_ONE "}", n);
        check_write(in("bad"), bytes, 8 + n + 16);
        snprintf(what, sizeof what, "header length 0x%lx of %lu", (unsigned long)length[i],
                 (unsigned long)n);
        if (length[i] != n)
            refuse_file(in("bad"), what);
    }
    /* a type nobody knows may pass unread, but must not be read as something else */
    put_tensors(in("bad"), "{" TENSOR("a", "Q9", "[2,2]", "[0,16]") "}", data, 16);
    f = dual_file_open(&ctx, in("bad"));
    if (f) {
        dual_real out[4];
        check_refused(&ctx, dual_file_read(&ctx, f, 0, out), "unknown type, read");
        dual_file_close(f);
    } else {
        check_refused(&ctx, 0, "unknown type");
    }
    /* names and metadata larger than any buffer: no crash, whatever the answer */
    text = malloc(30000);
    strcpy(text, "{\"__metadata__\":{\"k\":\"");
    memset(text + strlen(text), 'v', 9000);
    strcpy(text + 22 + 9000, "\"},\"");
    memset(text + 26 + 9000, 'n', 5000);
    strcpy(text + 26 + 14000, "\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}");
    put_tensors(in("bad"), text, data, 16);
    f = dual_file_open(&ctx, in("bad"));
    if (f) {
        char cut[10];
        check_that(strlen(dual_file_entry(f, 0).name) < 128, "a long name is cut");
        check_that(dual_file_note(f, "k", cut, sizeof cut) == 9000 && strlen(cut) == 9,
                   "a long note is cut");
        dual_file_close(f);
    } else {
        check_refused(&ctx, 0, "a name of 5,000 letters");
    }
    free(text);
    refuse_file(in("nothing here"), "no such file");
    refuse_file(folder, "a folder as file");
    check_write(in("bad"), "", 0);
    refuse_file(in("bad"), "an empty file");
    remove(in("bad"));
}

/* ---- models ---------------------------------------------------------------------------------- */

static dual_config small(int family, int tied) {
    static const dual_config gpt2 = { DUAL_GPT2, 1, 11, 13, 2, 6, 3, 3, 2, 17, 1e-5, 0 };
    static const dual_config qwen = { DUAL_QWEN3, 0, 11, 13, 2, 7, 4, 2, 6, 5, 1e-6, 54321 };
    dual_config c = family == DUAL_GPT2 ? gpt2 : qwen;
    c.tied = tied;
    return c;
}

/* Values a float can hold, whatever dual_real is: files are F32. */
static void fill_model(dual_model *m, uint64_t seed) {
    dual_rng rng = dual_rng_seed(seed, 1);
    size_t i, j;
    for (i = 0; i < m->n_params; i++)
        for (j = 0; j < m->param[i].tensor->rows * m->param[i].tensor->cols; j++)
            m->param[i].tensor->data[j] = (dual_real)(float)dual_rng_normal(&rng);
    m->param[0].tensor->data[0] = (dual_real)-0.0f;
    m->param[0].tensor->data[1] = (dual_real)1e-41f;          /* subnormal */
    m->param[0].tensor->data[2] = (dual_real)3.4028235e38f;
}

static size_t unlike(const dual_model *a, const dual_model *b) {
    size_t i, wrong = 0;
    for (i = 0; i < a->n_params; i++)
        wrong += a->param[i].tensor->rows != b->param[i].tensor->rows ||
                 memcmp(a->param[i].tensor->data, b->param[i].tensor->data,
                        a->param[i].tensor->rows * a->param[i].tensor->cols * sizeof(dual_real));
    return wrong;
}

static void forget_model(dual_model *m) {
    size_t i, j;
    for (i = 0; i < m->n_params; i++)
        for (j = 0; j < m->param[i].tensor->rows * m->param[i].tensor->cols; j++)
            m->param[i].tensor->data[j] = 99;
}

/* A file with some of a model's tensors. */
static void save_some(const char *path, const dual_model *m, size_t first, size_t end) {
    const dual_param **list = malloc((end - first + 1) * sizeof *list);
    size_t i;
    for (i = first; i < end; i++)
        list[i - first] = &m->param[i];
    check_that(dual_file_save(&ctx, path, end - first, list, NULL), "save: %s", ctx.error);
    free(list);
}

static void remove_model(const char *name) {
    static const char *const files[] = { "config.json", "model.safetensors",
        "model.safetensors.index.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors" };
    char path[600];
    size_t i;
    for (i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        remove(in(path));
    }
    remove(in(name));
}

static void test_model_folders(void) {
    int kind;
    for (kind = 0; kind < 4; kind++) {
        dual_config shape = small(kind < 2 ? DUAL_GPT2 : DUAL_QWEN3, kind % 2), read;
        dual_model *m = dual_model_new(&ctx, &shape), *back;
        const char *what = kind < 2 ? "gpt2" : "qwen3";
        dual_file *f;
        size_t i, missing = 0;

        fill_model(m, 3);
        check_that(dual_model_save(&ctx, m, in("model"), "a \"note\"\n\\"), "save: %s", ctx.error);
        memset(&read, 0, sizeof read);
        check_that(dual_config_read(&ctx, in("model"), &read), "config: %s", ctx.error);
        check_that(read.family == shape.family && read.tied == shape.tied &&
                   read.vocab == shape.vocab && read.positions == shape.positions &&
                   read.layers == shape.layers && read.hidden == shape.hidden &&
                   read.heads == shape.heads && read.kv_heads == shape.kv_heads &&
                   read.head_dim == shape.head_dim && read.mlp == shape.mlp &&
                   read.norm_eps == shape.norm_eps &&
                   (shape.family == DUAL_GPT2 || read.rope_theta == shape.rope_theta),
                   "%s %s: expected the config that was saved", what, shape.tied ? "tied" : "");
        back = dual_model_new(&ctx, &shape);
        forget_model(back);
        check_that(dual_model_load(&ctx, back, in("model")), "load: %s", ctx.error);
        check_size(unlike(m, back), 0, "%s: tensors that changed on the way", what);
        f = dual_file_open(&ctx, in("model/model.safetensors"));
        if (check_that(f != NULL, "%s: %s", what, ctx.error)) {
            for (i = 0; i < m->n_params; i++)
                missing += dual_file_find(f, m->param[i].name) == SIZE_MAX;
            check_size(missing, 0, "%s: tensors not in the file under their names", what);
            check_that(dual_file_find(f, kind < 2 ? "transformer.wte.weight"
                       : "model.embed_tokens.weight") != SIZE_MAX, "%s: Hugging Face names", what);
            check_that((dual_file_find(f, "lm_head.weight") == SIZE_MAX) == (shape.tied != 0),
                       "%s: lm_head.weight is written exactly if it is not tied", what);
            dual_file_close(f);
        }
        /* a second save replaces the first, and twice the same model is twice the same bytes */
        if (kind == 0) {
            size_t n1, n2;
            unsigned char *one = get(in("model/model.safetensors"), &n1), *two;
            size_t before = entries(in("model"));
            check_that(dual_model_save(&ctx, back, in("model"), "a \"note\"\n\\"), "save: %s",
                       ctx.error);
            two = get(in("model/model.safetensors"), &n2);
            check_that(n1 == n2 && !memcmp(one, two, n1), "save: expected the same bytes again");
            check_size(entries(in("model")), before, "files after a second save");
            free(one);
            free(two);
        }
        remove_model("model");
    }
}

/* What Hugging Face's GPT2Config and Qwen3Config take, by JSON type. Their newer releases are
 * strict: a real number must look like one, a token id must be in the vocabulary or null. */
static void test_hugging_face_config(void) {
    typedef struct { const char *key; int type; const char *text; } wanted;
    static const wanted both[] = { { "architectures", '[', NULL }, { "vocab_size", '0', "11" },
        { "tie_word_embeddings", 't', NULL }, { "torch_dtype", '"', "float32" },
        { "bos_token_id", 'n', NULL }, { "eos_token_id", 'n', NULL }, { "use_cache", 't', NULL },
        { NULL, 0, NULL } };
    static const wanted gpt2[] = { { "model_type", '"', "gpt2" }, { "n_positions", '0', "13" },
        { "n_ctx", '0', "13" }, { "n_embd", '0', "6" }, { "n_layer", '0', "2" },
        { "n_head", '0', "3" }, { "n_inner", '0', "17" }, { "layer_norm_epsilon", '0', "1e-05" },
        { "activation_function", '"', "gelu_new" }, { "attn_pdrop", '0', "0.0" },
        { "embd_pdrop", '0', "0.0" }, { "resid_pdrop", '0', "0.0" }, { NULL, 0, NULL } };
    static const wanted qwen[] = { { "model_type", '"', "qwen3" }, { "hidden_size", '0', "7" },
        { "max_position_embeddings", '0', "13" }, { "intermediate_size", '0', "5" },
        { "num_hidden_layers", '0', "2" }, { "num_attention_heads", '0', "4" },
        { "num_key_value_heads", '0', "2" }, { "head_dim", '0', "6" },
        { "rms_norm_eps", '0', "1e-06" }, { "rope_theta", '0', "54321" },
        { "rope_scaling", 'n', NULL }, { "hidden_act", '"', "silu" },
        { "attention_bias", 'f', NULL }, { "attention_dropout", '0', "0.0" },
        { "use_sliding_window", 'f', NULL }, { NULL, 0, NULL } };
    int family, list;
    for (family = DUAL_GPT2; family <= DUAL_QWEN3; family++) {
        dual_config shape = small(family, 1);
        dual_model *m = dual_model_new(&ctx, &shape);
        size_t length, i;
        char *text, word[64];
        dual_json j, key, value;
        fill_model(m, 4);
        check_that(dual_model_save(&ctx, m, in("model"), NULL), "save: %s", ctx.error);
        text = dual_text_read(&ctx, in("model/config.json"), &length);
        j = dual_json_text(text, length);
        for (list = 0; list < 2; list++) {
            const wanted *w = list == 0 ? both : family == DUAL_GPT2 ? gpt2 : qwen;
            for (i = 0; w[i].key; i++) {
                value = dual_json_get(j, w[i].key);
                check_that(dual_json_type(value) == w[i].type, "config.json: %s of type %c",
                           w[i].key, w[i].type);
                word[0] = 0;
                if (w[i].type == '"')
                    dual_json_string(value, word, sizeof word);
                else if (dual_json_type(value) && value.end - value.begin < 60)
                    sprintf(word, "%.*s", (int)(value.end - value.begin), value.begin);
                check_that(!w[i].text || !strcmp(word, w[i].text), "config.json: expected %s %s,"
                           " got %s", w[i].key, w[i].text, word);
            }
        }
        key = value = dual_json_get(j, "none");
        check_that(dual_json_each(dual_json_get(j, "architectures"), &key, &value) &&
                   dual_json_string(value, word, sizeof word) && !strcmp(word, family == DUAL_GPT2
                   ? "GPT2LMHeadModel" : "Qwen3ForCausalLM"), "config.json: architectures");
        free(text);
        remove_model("model");
    }
    {                                              /* GPT-2's own vocabulary has an end token */
        dual_config shape = { DUAL_GPT2, 1, 50257, 4, 1, 2, 1, 1, 2, 2, 1e-5, 0 };
        dual_model *m = dual_model_new(&ctx, &shape);
        size_t length;
        char *text;
        fill_model(m, 4);
        check_that(dual_model_save(&ctx, m, in("model"), NULL), "save: %s", ctx.error);
        text = dual_text_read(&ctx, in("model/config.json"), &length);
        check_close(dual_json_number(dual_json_get(dual_json_text(text, length), "eos_token_id"),
                                     -1), 50256, 0, "config.json: GPT-2's end token");
        free(text);
        remove_model("model");
    }
}

/* ---- models of 16 bits ----------------------------------------------------------------------- */

static double half_value(uint16_t bits, int type) {
    return type == DUAL_F16 ? decoded(bits, 5, 10) : decoded(bits, 8, 7);
}

/* A model folder as the hub has it, vectors and all in 16 bits: tensor i's numbers are
 * bits[start of i ..]. Written without dual_file_save. */
static uint16_t *put_sixteen(const dual_model *m, int type, const char *name) {
    const size_t n = dual_model_params(m);
    uint16_t *bits = malloc(n * sizeof *bits);
    unsigned char *data = malloc(2 * n);
    char *header = malloc(m->n_params * 200 + 10);
    dual_rng rng = dual_rng_seed(5, (uint64_t)type);
    size_t i, at = 0;
    for (i = 0; i < n; i++) {
        bits[i] = (uint16_t)dual_rng_next(&rng);
        if (half_value(bits[i], type) != half_value(bits[i], type))
            bits[i] = 1;                           /* a subnormal instead of a NaN */
        little_endian(data + 2 * i, bits[i], 2);
    }
    strcpy(header, "{");
    for (i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        const size_t count = t->rows * t->cols;
        char shape[60];
        sprintf(shape, "%lu,%lu", (unsigned long)t->rows, (unsigned long)t->cols);
        if (m->param[i].vector)
            sprintf(shape, "%lu", (unsigned long)t->cols);
        sprintf(header + strlen(header), "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                "\"data_offsets\":[%lu,%lu]}", i ? "," : "", m->param[i].name,
                type == DUAL_F16 ? "F16" : "BF16", shape, (unsigned long)(2 * at),
                (unsigned long)(2 * (at + count)));
        at += count;
    }
    strcat(header, "}");
    put_tensors(in(name), header, data, 2 * n);
    free(header);
    free(data);
    return bits;
}

/* Numbers of m that are not those bits: a kept model's matrices bit for bit, all else as values. */
static size_t not_bits(const dual_model *m, const uint16_t *bits, int type) {
    size_t i, j, wrong = 0;
    for (i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        const int sixteen = m->type != DUAL_FULL && !m->param[i].vector;
        wrong += sixteen ? t->type != type || t->data || !t->half : t->type != DUAL_FULL || t->half;
        for (j = 0; j < t->rows * t->cols; j++, bits++)
            wrong += sixteen ? t->half[j] != *bits
                             : !same_number((double)t->data[j], half_value(*bits, type));
    }
    return wrong;
}

static void kept_model(int family, int type) {
    const char *what = type == DUAL_F16 ? "F16" : "BF16";
    dual_config shape = small(family, 0);
    dual_model *full = dual_model_new(&ctx, &shape), *kept = dual_model_kept(&ctx, &shape, type);
    dual_model *back = dual_model_kept(&ctx, &shape, type), *counted;
    uint16_t *bits;
    unsigned char *bytes, *again;
    char *text, word[64];
    size_t n, n2, i, wrong = 0, end;
    dual_file *f;
    dual_ctx count;

    dual_make_folder(in("model"));
    bits = put_sixteen(full, type, "model/model.safetensors");
    check_that(dual_model_load(&ctx, full, in("model")), "%s: %s", what, ctx.error);
    check_size(not_bits(full, bits, type), 0, "%s, full: numbers unlike the file's", what);
    check_that(full->type == DUAL_FULL && full->file_type == type, "%s: the files' type", what);
    check_that(dual_model_load(&ctx, kept, in("model")), "%s: %s", what, ctx.error);
    check_size(not_bits(kept, bits, type), 0, "%s, kept: numbers unlike the file's", what);

    /* counting, the same load checks the folder and takes nothing */
    dual_init(&count, NULL, 0);
    counted = dual_model_new(&count, &shape);
    check_that(dual_model_load(&ctx, counted, in("model")) && counted->file_type == type,
               "%s: expected a counted model to learn the files' type", what);
    dual_done(&count);

    /* saved: matrices with their type, vectors F32, the same bits again, in both kinds of model */
    check_that(dual_model_save(&ctx, kept, in("model"), NULL), "%s: %s", what, ctx.error);
    f = dual_file_open(&ctx, in("model/model.safetensors"));
    for (i = 0; f && i < kept->n_params; i++) {
        dual_entry e = dual_file_entry(f, dual_file_find(f, kept->param[i].name));
        wrong += strcmp(e.type, kept->param[i].vector ? "F32" : what) != 0;
    }
    dual_file_close(f);
    check_size(f ? wrong : 1, 0, "%s, saved: tensors of another type", what);
    text = dual_text_read(&ctx, in("model/config.json"), &n);
    dual_json_string(dual_json_get(dual_json_text(text, n), "torch_dtype"), word, sizeof word);
    check_that(!strcmp(word, type == DUAL_F16 ? "float16" : "bfloat16"), "%s: torch_dtype %s",
               what, word);
    free(text);
    check_that(dual_model_load(&ctx, back, in("model")), "%s: %s", what, ctx.error);
    check_size(not_bits(back, bits, type), 0, "%s, saved: bits that changed", what);
    check_that(back->file_type == type, "%s, saved: expected the files' type", what);
    forget_model(full);
    check_that(dual_model_load(&ctx, full, in("model")), "%s: %s", what, ctx.error);
    check_size(not_bits(full, bits, type), 0, "%s, saved, full: numbers that changed", what);
    forget_model(full);
    dual_model_copy(full, back);
    check_size(not_bits(full, bits, type), 0, "%s, copied: numbers that changed", what);
    memset(kept->wte->half, 0, 2 * kept->wte->rows * kept->wte->cols);
    dual_model_copy(kept, full);
    check_size(not_bits(kept, bits, type), 0, "%s, copied back: numbers that changed", what);

    bytes = get(in("model/model.safetensors"), &n);
    check_that(dual_model_save(&ctx, back, in("model"), NULL), "%s: %s", what, ctx.error);
    again = get(in("model/model.safetensors"), &n2);
    check_that(n == n2 && !memcmp(bytes, again, n), "%s: expected the same bytes again", what);
    for (end = 0; end < n; end += n / 37 + 1) {
        check_write(in("model/model.safetensors"), bytes, end);
        sprintf(word, "%s cut at %lu", what, (unsigned long)end);
        check_refused(&ctx, dual_model_load(&ctx, back, in("model")), word);
    }
    check_write(in("model/model.safetensors"), bytes, n - 1);
    check_refused(&ctx, dual_model_load(&ctx, back, in("model")), "a 16-bit file less a byte");

    /* one matrix wider than the others: the files are of no single type */
    dual_model_copy(full, back);
    {
        dual_model mixed = *back;
        dual_param *table = malloc(back->n_params * sizeof *table);
        memcpy(table, back->param, back->n_params * sizeof *table);
        table[0].tensor = full->param[0].tensor;
        mixed.param = table;
        save_some(in("model/model.safetensors"), &mixed, 0, mixed.n_params);
        check_that(dual_model_load(&ctx, back, in("model")) && back->file_type == DUAL_FULL,
                   "%s and F32: expected no 16-bit files", what);
        check_size(not_bits(back, bits, type), 0, "%s and F32: bits that changed", what);
        free(table);
    }
    free(bytes);
    free(again);
    free(bits);
    remove_model("model");
}

/* Rounding: around every finite 16-bit number, itself, the middle to the next, and the floats next
 * to that middle; loaded from F32 and copied. Of two equally near the even one, by definition. */
static void rounding(int type) {
    enum { ALL = 65536 };
    dual_config shape = { DUAL_GPT2, 1, 1024, 1, 1, 256, 1, 1, 256, 1, 1e-5, 0 };
    dual_model *full = dual_model_new(&ctx, &shape), *kept = dual_model_kept(&ctx, &shape, type);
    const size_t top = type == DUAL_F16 ? 0x7c00 : 0x7f80;     /* infinity */
    size_t i, k, way, wrong;
    dual_model_init(full, dual_rng_seed(1, 1));
    for (i = 0; i < ALL; i++) {
        const size_t low = (i & 0x7fff) < top ? i & 0x7fff : 0;
        const double here = half_value((uint16_t)low, type), sign = i & 0x8000 ? -1 : 1;
        const double next = low + 1 == top ? 2 * here - half_value((uint16_t)(low - 1), type)
                                           : half_value((uint16_t)(low + 1), type);
        const float middle = (float)((here + next) / 2);
        dual_real *to = full->wte->data + 4 * i;
        to[0] = (dual_real)(sign * here);
        to[1] = (dual_real)(sign * (double)nextafterf(middle, 0));
        to[2] = (dual_real)(sign * (double)middle);
        to[3] = (dual_real)(sign * (double)nextafterf(middle, INFINITY));
    }
    check_that(dual_model_save(&ctx, full, in("model"), NULL), "%s", ctx.error);
    for (way = 0; way < 2; way++) {
        if (way)
            dual_model_copy(kept, full);
        else
            check_that(dual_model_load(&ctx, kept, in("model")), "%s", ctx.error);
        check_that(kept->type == type && (way || kept->file_type == DUAL_FULL), "types");
        for (i = wrong = 0; i < ALL; i++)
            for (k = 0; k < 4; k++) {
                const size_t low = (i & 0x7fff) < top ? i & 0x7fff : 0;
                const size_t up = low + (k == 3 || (k == 2 && low % 2));
                wrong += kept->wte->half[4 * i + k] != ((i & 0x8000) | up);
            }
        check_size(wrong, 0, "type %d, %s: numbers rounded otherwise", type,
                   way ? "copied" : "loaded");
    }
    full->wte->data[0] = (dual_real)NAN;
    full->wte->data[1] = (dual_real)-INFINITY;
    full->wte->data[2] = (dual_real)3.4e38f;
    dual_model_copy(kept, full);
    check_that(half_value(kept->wte->half[0], type) != half_value(kept->wte->half[0], type) &&
               kept->wte->half[1] == (0x8000 | top) &&
               kept->wte->half[2] == (type == DUAL_F16 ? top : 0x7f80),
               "type %d: NaN and what is too large", type);
    remove_model("model");
}

static void test_sixteen_bit_models(void) {
    int type;
    for (type = DUAL_F16; type <= DUAL_BF16; type++) {
        dual_mark mark = dual_mark_here(&ctx);
        kept_model(DUAL_GPT2, type);
        kept_model(DUAL_QWEN3, type);
        rounding(type);
        dual_release(&ctx, mark);
    }
}

static void test_other_layouts(void) {
    dual_config gpt2 = small(DUAL_GPT2, 1), qwen = small(DUAL_QWEN3, 0), tied = qwen;
    dual_model *g = dual_model_new(&ctx, &gpt2), *q = dual_model_new(&ctx, &qwen);
    dual_model *back = dual_model_new(&ctx, &gpt2), *qback = dual_model_new(&ctx, &qwen);
    dual_model *tback;
    size_t half = q->n_params / 2, i, n;
    char *index = malloc(q->n_params * 160 + 200);
    dual_param *list, extra;
    const dual_param **pointers;

    fill_model(g, 4);
    fill_model(q, 5);
    dual_make_folder(in("model"));
    /* GPT-2 as the hub has it: no prefix, and the causal mask as a buffer */
    n = g->n_params;
    list = malloc((n + 2) * sizeof *list);
    pointers = malloc((n + 2) * sizeof *pointers);
    for (i = 0; i < n; i++) {
        list[i] = g->param[i];
        strcpy(list[i].name, g->param[i].name + strlen("transformer."));
        pointers[i] = &list[i];
    }
    memset(&extra, 0, sizeof extra);
    extra.tensor = dual_tensor_new(&ctx, 13, 13);
    for (i = 0; i < 13 * 13; i++)
        extra.tensor->data[i] = 1;
    for (i = 0; i < 2; i++) {
        list[n + i] = extra;
        sprintf(list[n + i].name, "h.%d.attn.bias", (int)i);
        pointers[n + i] = &list[n + i];
    }
    check_that(dual_file_save(&ctx, in("model/model.safetensors"), n + 2, pointers, NULL),
               "save: %s", ctx.error);
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "no prefix, buffers: %s", ctx.error);
    check_size(unlike(g, back), 0, "no prefix: tensors that differ");
    free(list);
    free(pointers);
    remove_model("model");

    /* two shards and their index */
    dual_make_folder(in("model"));
    save_some(in("model/model-00001-of-00002.safetensors"), q, 0, half);
    save_some(in("model/model-00002-of-00002.safetensors"), q, half, q->n_params);
    strcpy(index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (i = 0; i < q->n_params; i++)
        sprintf(index + strlen(index), "%s\"%s\":\"model-0000%d-of-00002.safetensors\"",
                i ? "," : "", q->param[i].name, i < half ? 1 : 2);
    strcat(index, "}}");
    put_text(in("model/model.safetensors.index.json"), index);
    forget_model(qback);
    check_that(dual_model_load(&ctx, qback, in("model")), "two shards: %s", ctx.error);
    check_size(unlike(q, qback), 0, "two shards: tensors that differ");
    put_text(in("model/model.safetensors.index.json"), "{\"weight_map\":{}}");
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "an index without tensors");
    put_text(in("model/model.safetensors.index.json"), "{\"weight_map\":5}");
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "an index without a map");
    put_text(in("model/model.safetensors.index.json"), "{");
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "an index that is no JSON");
    put_text(in("model/model.safetensors.index.json"), index);
    save_some(in("model/model-00002-of-00002.safetensors"), q, half, q->n_params - 1);
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "a shard without its tensor");
    remove(in("model/model-00002-of-00002.safetensors"));
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "a shard that is missing");
    remove_model("model");

    /* tied, with the redundant head that Qwen3-0.6B's file has */
    tied.tied = 1;
    tback = dual_model_new(&ctx, &tied);
    forget_model(tback);
    dual_make_folder(in("model"));
    memcpy(q->head->data, q->wte->data, q->wte->rows * q->wte->cols * sizeof(dual_real));
    save_some(in("model/model.safetensors"), q, 0, q->n_params);
    check_that(dual_model_load(&ctx, tback, in("model")), "tied with a head: %s", ctx.error);
    check_that(!memcmp(tback->wte->data, q->wte->data,
                       q->wte->rows * q->wte->cols * sizeof(dual_real)),
               "tied with a head: expected the embedding");
    check_size(dual_model_params(tback) + 11 * 7, dual_model_params(q), "a tied head counts once");

    /* every single tensor missing, then one of another shape */
    for (i = 0; i < q->n_params; i++) {
        dual_model fewer = *q;
        dual_param *table = malloc(q->n_params * sizeof *table);
        size_t j;
        for (n = 0, j = 0; j < q->n_params; j++)
            if (j != i)
                table[n++] = q->param[j];
        fewer.param = table;
        fewer.n_params = n;
        save_some(in("model/model.safetensors"), &fewer, 0, n);
        ctx.error[0] = 0;
        n = (size_t)dual_model_load(&ctx, qback, in("model"));
        check_that(n || strstr(ctx.error, q->param[i].name), "expected %s named, got \"%s\"",
                   q->param[i].name, ctx.error);
        check_refused(&ctx, (int)n, "a tensor is missing");
        free(table);
    }
    for (i = 0; i < q->n_params; i++) {
        dual_tensor *kept = q->param[i].tensor;
        q->param[i].tensor = check_random(&ctx, kept->rows, kept->cols + 1, 1);
        save_some(in("model/model.safetensors"), q, 0, q->n_params);
        q->param[i].tensor = kept;
        n = (size_t)dual_model_load(&ctx, qback, in("model"));
        check_that(n || strstr(ctx.error, q->param[i].name), "expected %s named, got \"%s\"",
                   q->param[i].name, ctx.error);
        check_refused(&ctx, (int)n, "a tensor of another shape");
    }
    {                                              /* the transpose has as many numbers */
        dual_tensor *kept = q->wte, *turned = check_random(&ctx, kept->cols, kept->rows, 1);
        for (i = 0; i < q->n_params; i++)
            if (q->param[i].tensor == kept)
                q->param[i].tensor = turned;
        save_some(in("model/model.safetensors"), q, 0, q->n_params);
        check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "a transposed tensor");
    }
    remove_model("model");
    check_refused(&ctx, dual_model_load(&ctx, qback, in("model")), "no folder");
    free(index);
}

/* Cut at every length: no crash, always a reason, and nothing is taken for a model. */
static void test_truncation(void) {
    dual_config shape = { DUAL_GPT2, 1, 5, 4, 1, 4, 2, 2, 2, 4, 1e-5, 0 };
    dual_model *m = dual_model_new(&ctx, &shape);
    unsigned char *whole;
    size_t n, i, refused = 0, loaded = 0, read = 0;
    char *config;

    fill_model(m, 6);
    check_that(dual_model_save(&ctx, m, in("model"), "x"), "save: %s", ctx.error);
    whole = get(in("model/model.safetensors"), &n);
    for (i = 0; i < n; i++) {
        dual_file *f;
        check_write(in("model/model.safetensors"), whole, i);
        ctx.error[0] = 0;
        f = dual_file_open(&ctx, in("model/model.safetensors"));
        refused += !f && ctx.error[0] && !strchr(ctx.error, '\n');
        if (f)
            dual_file_close(f);
        if (i % 16 == 0)
            loaded += (size_t)dual_model_load(&ctx, m, in("model")) != 0;
    }
    check_size(refused, n, "model.safetensors cut at every length: refusals");
    check_size(loaded, 0, "model.safetensors cut: models loaded");
    free(whole);
    config = (char *)get(in("model/config.json"), &n);
    while (n && config[n - 1] != '}')              /* without a final line break it is whole */
        n--;
    for (i = 0; i < n; i++) {
        dual_config c;
        check_write(in("model/config.json"), config, i);
        ctx.error[0] = 0;
        read += dual_config_read(&ctx, in("model"), &c) || !ctx.error[0];
    }
    check_size(read, 0, "config.json cut at every length: read, or refused without a reason");
    free(config);
    remove_model("model");
}

/* ---- config.json ----------------------------------------------------------------------------- */

typedef struct { const char *key, *value; } field;
enum { FIELDS = 20 };

static const field gpt2_fields[] = { { "model_type", "\"gpt2\"" }, { "vocab_size", "96" },
    { "n_positions", "64" }, { "n_embd", "48" }, { "n_layer", "3" }, { "n_head", "4" },
    { "n_inner", "null" }, { "layer_norm_epsilon", "1e-05" },
    { "activation_function", "\"gelu_new\"" }, { NULL, NULL } };

static const field qwen_fields[] = { { "model_type", "\"qwen3\"" }, { "vocab_size", "128" },
    { "max_position_embeddings", "256" }, { "hidden_size", "64" }, { "num_hidden_layers", "3" },
    { "num_attention_heads", "4" }, { "num_key_value_heads", "2" }, { "head_dim", "32" },
    { "intermediate_size", "160" }, { "rms_norm_eps", "1e-06" }, { "rope_theta", "1000000.0" },
    { "hidden_act", "\"silu\"" }, { "tie_word_embeddings", "true" }, { "rope_scaling", "null" },
    { "sliding_window", "null" }, { "use_sliding_window", "false" },
    { "attention_bias", "false" }, { NULL, NULL } };

/* Reads the fields with one of them replaced, left out (value NULL) or added. */
static int config_with(const field *fields, const char *key, const char *value, dual_config *out) {
    char text[4000] = "{";
    int known = 0;
    size_t i;
    for (i = 0; fields[i].key; i++) {
        int it = !strcmp(fields[i].key, key);
        known |= it;
        if (!it || value)
            sprintf(text + strlen(text), "%s\n  \"%s\": %s", text[1] ? "," : "", fields[i].key,
                    it ? value : fields[i].value);
    }
    if (!known && value)
        sprintf(text + strlen(text), ",\n  \"%s\": %s", key, value);
    strcat(text, "\n}\n");
    put_text(in("config.json"), text);
    ctx.error[0] = 0;
    memset(out, 0, sizeof *out);
    return dual_config_read(&ctx, folder, out);
}

static void refuse_config(const field *fields, const char *key, const char *value) {
    dual_config c;
    char what[200];
    int accepted = config_with(fields, key, value, &c) && dual_config_check(&ctx, &c);
    snprintf(what, sizeof what, "%s with %s %s", fields[0].value, key, value ? value : "left out");
    check_refused(&ctx, accepted, what);
}

static void accept_config(const field *fields, const char *key, const char *value, dual_config *c) {
    check_that(config_with(fields, key, value, c), "%s with %s %s: %s", fields[0].value, key,
               value ? value : "left out", ctx.error);
}

static void test_configs(void) {
    static const char *const nonsense[] = { "0", "-1", "-48", "2.5", "1e30", "1e400", "\"48\"",
        "true", "[48]", "18446744073709551617" };
    static const char *const gpt2_sizes[] = { "vocab_size", "n_positions", "n_embd", "n_layer",
        "n_head" };
    static const char *const qwen_sizes[] = { "vocab_size", "max_position_embeddings",
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size" };
    dual_config c;
    size_t i, j;

    accept_config(gpt2_fields, "none", NULL, &c);
    check_that(c.family == DUAL_GPT2 && c.vocab == 96 && c.positions == 64 && c.hidden == 48 &&
               c.layers == 3 && c.heads == 4 && c.kv_heads == 4 && c.head_dim == 12 &&
               c.mlp == 192 && c.norm_eps == 1e-5 && c.tied, "gpt2: expected the sizes as written");
    accept_config(qwen_fields, "none", NULL, &c);
    check_that(c.family == DUAL_QWEN3 && c.vocab == 128 && c.positions == 256 && c.hidden == 64 &&
               c.layers == 3 && c.heads == 4 && c.kv_heads == 2 && c.head_dim == 32 &&
               c.mlp == 160 && c.norm_eps == 1e-6 && c.rope_theta == 1e6 && c.tied,
               "qwen3: expected the sizes as written");

    for (i = 0; i < sizeof gpt2_sizes / sizeof *gpt2_sizes; i++) {
        refuse_config(gpt2_fields, gpt2_sizes[i], NULL);
        for (j = 0; j < sizeof nonsense / sizeof *nonsense; j++)
            refuse_config(gpt2_fields, gpt2_sizes[i], nonsense[j]);
    }
    for (i = 0; i < sizeof qwen_sizes / sizeof *qwen_sizes; i++) {
        refuse_config(qwen_fields, qwen_sizes[i], NULL);
        for (j = 0; j < sizeof nonsense / sizeof *nonsense; j++)
            refuse_config(qwen_fields, qwen_sizes[i], nonsense[j]);
    }
    for (j = 0; j < 4; j++) {
        refuse_config(qwen_fields, "num_key_value_heads", nonsense[j]);
        refuse_config(qwen_fields, "head_dim", nonsense[j]);
        refuse_config(gpt2_fields, "n_inner", nonsense[j]);
    }
    refuse_config(gpt2_fields, "model_type", NULL);
    refuse_config(gpt2_fields, "model_type", "\"llama\"");
    refuse_config(gpt2_fields, "model_type", "\"gpt\"");
    refuse_config(gpt2_fields, "model_type", "2");
    refuse_config(gpt2_fields, "n_head", "5");     /* does not divide 48 */
    refuse_config(qwen_fields, "num_key_value_heads", "3");
    refuse_config(qwen_fields, "num_key_value_heads", "8");
    refuse_config(qwen_fields, "head_dim", "31");  /* rotation works on pairs */
    refuse_config(gpt2_fields, "activation_function", "\"gelu\"");
    refuse_config(gpt2_fields, "activation_function", "\"relu\"");
    refuse_config(qwen_fields, "hidden_act", "\"gelu\"");
    refuse_config(qwen_fields, "rope_scaling", "{\"type\":\"yarn\",\"factor\":4.0}");
    refuse_config(qwen_fields, "use_sliding_window", "true");
    refuse_config(qwen_fields, "attention_bias", "true");
    refuse_config(gpt2_fields, "scale_attn_weights", "false");
    refuse_config(gpt2_fields, "scale_attn_by_inverse_layer_idx", "true");
    refuse_config(gpt2_fields, "layer_norm_epsilon", "-1");
    refuse_config(gpt2_fields, "layer_norm_epsilon", "\"1e-5\"");
    refuse_config(qwen_fields, "rms_norm_eps", "-1e-6");
    refuse_config(qwen_fields, "rope_theta", "0");
    refuse_config(qwen_fields, "rope_theta", "-5");

    accept_config(qwen_fields, "sliding_window", "4096", &c);     /* named but switched off */
    accept_config(qwen_fields, "tie_word_embeddings", "false", &c);
    check_that(!c.tied, "qwen3: expected an untied head");
    accept_config(gpt2_fields, "tie_word_embeddings", "false", &c);
    check_that(!c.tied, "gpt2: expected an untied head");
    accept_config(gpt2_fields, "tie_word_embeddings", "true", &c);
    check_that(c.tied, "gpt2: expected a tied head");
    accept_config(gpt2_fields, "n_inner", "77", &c);
    check_size(c.mlp, 77, "gpt2: n_inner");
    accept_config(gpt2_fields, "n_inner", NULL, &c);
    check_size(c.mlp, 192, "gpt2 without n_inner: four times the width");
    accept_config(gpt2_fields, "n_ctx", "64", &c);
    accept_config(gpt2_fields, "vocab_size", "50257", &c);
    refuse_config(gpt2_fields, "n_inner", "\"192\"");

    put_text(in("config.json"), "[]");
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "config.json is a list");
    put_text(in("config.json"), "");
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "config.json is empty");
    remove(in("config.json"));
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "no config.json");
    check_refused(&ctx, dual_config_read(&ctx, in("nothing here"), &c), "no folder");

    /* shapes a program can ask for that no file would hold */
    c = small(DUAL_GPT2, 1);
    check_that(dual_config_check(&ctx, &c), "a good shape: %s", ctx.error);
    c.hidden = c.heads * c.head_dim + 1;
    check_refused(&ctx, dual_config_check(&ctx, &c), "gpt2: heads x head_dim is not the width");
    c = small(DUAL_QWEN3, 1);
    check_that(dual_config_check(&ctx, &c), "a good shape: %s", ctx.error);
    c.vocab = SIZE_MAX / 2;
    check_refused(&ctx, dual_config_check(&ctx, &c), "a vocabulary that fits no memory");
    c = small(DUAL_QWEN3, 1);
    c.family = 7;
    check_refused(&ctx, dual_config_check(&ctx, &c), "family 7");
    c = small(DUAL_QWEN3, 1);
    c.norm_eps = (double)NAN;
    check_refused(&ctx, dual_config_check(&ctx, &c), "eps is not a number");
}

/* ---- writing --------------------------------------------------------------------------------- */

static void no_room(int on) {
#if POSIX
    static struct rlimit before;
    struct rlimit limit;
    if (on) {
        signal(SIGXFSZ, SIG_IGN);                  /* a write then fails instead of killing */
        getrlimit(RLIMIT_FSIZE, &before);
        limit = before;
        limit.rlim_cur = 100;
        setrlimit(RLIMIT_FSIZE, &limit);
    } else {
        setrlimit(RLIMIT_FSIZE, &before);
    }
#else
    (void)on;
#endif
}

/* After a failed write: the old bytes, no file more than before. */
static void unharmed(const char *path, const unsigned char *old, size_t n, size_t files,
                     const char *what) {
    size_t now;
    unsigned char *bytes = get(path, &now);
    check_that(now == n && !memcmp(bytes, old, n), "%s: expected the old file", what);
    check_size(entries(folder), files, "%s: entries in the folder", what);
    free(bytes);
}

static void test_full_disk(void) {
    dual_param big, tiny;
    const dual_param *list[1];
    unsigned char *old;
    char *text = malloc(5000);
    size_t n, files;
    dual_config shape = small(DUAL_GPT2, 1);
    dual_model *m = dual_model_new(&ctx, &shape);

    memset(&big, 0, sizeof big);
    strcpy(big.name, "x");
    tiny = big;
    big.tensor = check_random(&ctx, 40, 50, 1);
    tiny.tensor = check_random(&ctx, 1, 2, 2);
    memset(text, 'y', 5000);

    list[0] = &tiny;
    check_that(dual_file_save(&ctx, in("keep.safetensors"), 1, list, NULL), "%s", ctx.error);
    check_that(dual_text_save(&ctx, in("keep.txt"), "old", 3), "%s", ctx.error);
    check_that(dual_model_save(&ctx, m, in("model"), NULL), "%s", ctx.error);
    files = entries(folder);

    list[0] = &big;
    check_refused(&ctx, dual_file_save(&ctx, in("no such/x.safetensors"), 1, list, NULL),
                  "safetensors into a folder that is not there");
    check_refused(&ctx, dual_text_save(&ctx, in("no such/x.txt"), "a", 1),
                  "text into a folder that is not there");
    check_refused(&ctx, dual_file_save(&ctx, in("model"), 1, list, NULL),
                  "safetensors over a folder");
    check_refused(&ctx, dual_text_save(&ctx, in("model"), "a", 1), "text over a folder");
    check_refused(&ctx, dual_model_save(&ctx, m, in("keep.txt"), NULL), "a model over a file");
    check_size(entries(folder), files, "refused writes: entries in the folder");

    if (POSIX) {
        size_t inside = entries(in("model")), length;
        unsigned char *model = get(in("model/model.safetensors"), &length);
        int accepted;
        old = get(in("keep.safetensors"), &n);
        no_room(1);
        accepted = dual_file_save(&ctx, in("keep.safetensors"), 1, list, NULL);
        no_room(0);
        check_refused(&ctx, accepted, "safetensors on a full disk");
        unharmed(in("keep.safetensors"), old, n, files, "safetensors on a full disk");
        free(old);
        old = get(in("keep.txt"), &n);
        no_room(1);
        accepted = dual_text_save(&ctx, in("keep.txt"), text, 5000);
        no_room(0);
        check_refused(&ctx, accepted, "text on a full disk");
        unharmed(in("keep.txt"), old, n, files, "text on a full disk");
        free(old);
        fill_model(m, 8);
        no_room(1);
        accepted = dual_model_save(&ctx, m, in("model"), NULL);
        no_room(0);
        check_refused(&ctx, accepted, "a model on a full disk");
        unharmed(in("model/model.safetensors"), model, length, files, "a model on a full disk");
        check_size(entries(in("model")), inside, "a model on a full disk: entries in its folder");
        free(model);
    } else {
        printf("no POSIX: the full disk skipped\n");
    }
    remove_model("model");
    remove(in("keep.safetensors"));
    remove(in("keep.txt"));
    free(text);
}

static void test_text(void) {
    static const char bytes[] = "one\0two\r\n\xff";
    size_t n = 5;
    char *back;
    check_that(dual_text_save(&ctx, in("text"), bytes, sizeof bytes), "%s", ctx.error);
    back = dual_text_read(&ctx, in("text"), &n);
    check_that(back && n == sizeof bytes && !memcmp(back, bytes, n) && back[n] == 0,
               "text: expected every byte back, and a NUL behind them");
    free(back);
    check_that(dual_text_save(&ctx, in("text"), "", 0), "%s", ctx.error);
    back = dual_text_read(&ctx, in("text"), &n);
    check_that(back && n == 0 && back[0] == 0, "text: expected an empty file");
    free(back);
    remove(in("text"));
    check_refused(&ctx, dual_text_read(&ctx, in("text"), &n) != NULL, "no text file");
    check_refused(&ctx, dual_text_read(&ctx, folder, &n) != NULL, "a folder as text");

    check_that(dual_make_folder(in("deep/er/still")) && dual_make_folder(in("deep/er/still")) &&
               dual_make_folder(in("deep/")), "folders: expected parents too, and again");
    check_that(dual_text_save(&ctx, in("deep/er/still/file"), "x", 1), "%s", ctx.error);
    check_that(!dual_make_folder(in("deep/er/still/file")), "folders: not over a file");
    check_that(!dual_make_folder(in("deep/er/still/file/under")), "folders: not below a file");
    remove(in("deep/er/still/file"));
    remove(in("deep/er/still"));
    remove(in("deep/er"));
    remove(in("deep"));
    check_that(!exists(in("deep")), "text: expected nothing left");
}

int main(int argc, char **argv) {
    void *memory = check_begin(&ctx, (size_t)32 << 20);
    snprintf(folder, sizeof folder, "%s/test_files.tmp", argc > 1 ? argv[1] : ".");
    if (!dual_make_folder(folder))
        check_fatal("cannot make a folder for the test's files");
    test_formats();
    test_bad_headers();
    test_model_folders();
    test_hugging_face_config();
    test_other_layouts();
    test_sixteen_bit_models();
    test_truncation();
    test_configs();
    test_full_disk();
    test_text();
    check_size(entries(folder), POSIX ? 2 : 0, "files left at the end (. and .. count)");
    remove(folder);
    check_end(&ctx, memory);
    return check_done();
}
