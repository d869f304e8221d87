/* test_models.c - what a model's folder holds: weights that come back bit for bit, under Hugging
 * Face's names and with a config.json that its classes accept; folders as the hub has them: shards,
 * names without prefix, a head too many, 16 bits; every tensor missing, every file cut at every
 * length, every impossible number in a config.json refused with a reason.
 *
 *   cc -std=c99 -O2 tests/test_models.c dual.c -lm -o test_models && ./test_models [folder] */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64       /* or readdir fails on large file systems, on 32 bits */
#include <locale.h>
#include "files.h"
#include "../data/files/models.h"

static const char *const family_name[] = {"gpt2", "qwen3"};

static size_t count_unlike(const dual_model *a, const dual_model *b) {
    size_t wrong = 0;
    for (size_t i = 0; i < a->n_params; i++) {
        const dual_tensor *s = a->param[i].tensor, *t = b->param[i].tensor;
        wrong += s->rows != t->rows || memcmp(s->data, t->data, elements(s) * sizeof *s->data);
    }
    return wrong;
}

static void forget_model(dual_model *m) {
    for (size_t i = 0; i < m->n_params; i++)
        for (size_t j = 0; j < elements(m->param[i].tensor); j++) m->param[i].tensor->data[j] = 99;
}

/* A file with some of a model's tensors. */
static void save_some(const char *path, const dual_model *m, size_t first, size_t end) {
    const dual_param **list = new_bytes((end - first) * sizeof *list);
    for (size_t i = first; i < end; i++) list[i - first] = &m->param[i];
    check_that(dual_file_save(&ctx, path, end - first, list, NULL), "save: %s", ctx.error);
    free(list);
}

static int save_model(const dual_model *m, const char *note) {
    return data_make_folder(in("model")) && dual_model_save(&ctx, m, in("model"), note);
}

static void refuse_load(dual_model *m, const char *what) {
    check_refused(&ctx, dual_model_load(&ctx, m, in("model")), what);
}

/* ---- saved and loaded ------------------------------------------------------------------------ */

static int same_config(const dual_config *a, const dual_config *b) {
    return a->family == b->family && a->tied == b->tied && a->vocab == b->vocab &&
           a->positions == b->positions && a->layers == b->layers && a->hidden == b->hidden &&
           a->heads == b->heads && a->kv_heads == b->kv_heads && a->head_dim == b->head_dim &&
           a->mlp == b->mlp && a->norm_eps == b->norm_eps &&
           (a->family == DUAL_GPT2 || a->rope_theta == b->rope_theta);
}

static void names_in_file(const dual_model *m, const char *what) {
    const char *embedding = m->config.family == DUAL_GPT2 ? "transformer.wte.weight"
                                                          : "model.embed_tokens.weight";
    dual_file *f = dual_file_open(&ctx, in("model/model.safetensors"));
    if (!check_that(f != NULL, "%s: %s", what, ctx.error)) return;
    size_t missing = 0;
    for (size_t i = 0; i < m->n_params; i++)
        missing += dual_file_find(f, m->param[i].name) == SIZE_MAX;
    check_size(missing, 0, "%s: tensors not in the file under their names", what);
    check_that(dual_file_find(f, embedding) != SIZE_MAX, "%s: Hugging Face names", what);
    check_that((dual_file_find(f, "lm_head.weight") == SIZE_MAX) == (m->config.tied != 0),
               "%s: lm_head.weight is written exactly if it is not tied", what);
    dual_file_close(f);
}

/* A second save replaces the first, and twice the same model is twice the same bytes. */
static void save_again(const dual_model *m, const char *note) {
    size_t n, again_n;
    unsigned char *once = read_bytes(in("model/model.safetensors"), &n);
    const size_t entries = count_entries(in("model"));
    check_that(save_model(m, note), "save: %s", ctx.error);
    unsigned char *again = read_bytes(in("model/model.safetensors"), &again_n);
    check_that(n == again_n && !memcmp(once, again, n), "save: expected the same bytes again");
    check_size(count_entries(in("model")), entries, "files after a second save");
    free(once);
    free(again);
}

static void save_and_load(int family, int tied) {
    static const char note[] = "a \"note\"\n\\";
    const char *what = family_name[family];
    const dual_config shape = small_config(family, tied);
    dual_model *m = dual_model_new(&ctx, &shape), *back = dual_model_new(&ctx, &shape);
    fill_model(m, 3);
    check_that(save_model(m, note), "save: %s", ctx.error);
    dual_config read = {.family = -1};
    check_that(dual_config_read(&ctx, in("model"), &read), "config: %s", ctx.error);
    check_that(same_config(&read, &shape), "%s %s: expected the config that was saved", what,
               tied ? "tied" : "");
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "load: %s", ctx.error);
    check_size(count_unlike(m, back), 0, "%s: tensors that changed on the way", what);
    names_in_file(m, what);
    if (family == DUAL_GPT2 && !tied) save_again(back, note);
    remove_model("model");
}

static void test_model_folders(void) {
    for (int family = DUAL_GPT2; family <= DUAL_QWEN3; family++) {
        save_and_load(family, 0);
        save_and_load(family, 1);
    }
}

/* ---- config.json as Hugging Face reads it ---------------------------------------------------- */

/* What its GPT2Config and Qwen3Config take, by JSON type. Newer releases are strict: a real number
 * must look like one, a token id must be in the vocabulary or null. */
typedef struct { const char *key; int type; const char *text; } expected_field;

static const expected_field both_expected[] = {
    {"architectures", '[', NULL}, {"vocab_size", '0', "11"}, {"tie_word_embeddings", 't', NULL},
    {"torch_dtype", '"', "float32"}, {"bos_token_id", 'n', NULL}, {"eos_token_id", 'n', NULL},
    {"use_cache", 't', NULL}, {NULL, 0, NULL}};
static const expected_field gpt2_expected[] = {
    {"model_type", '"', "gpt2"}, {"n_positions", '0', "13"}, {"n_ctx", '0', "13"},
    {"n_embd", '0', "6"}, {"n_layer", '0', "2"}, {"n_head", '0', "3"}, {"n_inner", '0', "17"},
    {"layer_norm_epsilon", '0', "1e-05"}, {"activation_function", '"', "gelu_new"},
    {"attn_pdrop", '0', "0.0"}, {"embd_pdrop", '0', "0.0"}, {"resid_pdrop", '0', "0.0"},
    {NULL, 0, NULL}};
static const expected_field qwen3_expected[] = {
    {"model_type", '"', "qwen3"}, {"hidden_size", '0', "7"},
    {"max_position_embeddings", '0', "13"}, {"intermediate_size", '0', "5"},
    {"num_hidden_layers", '0', "2"}, {"num_attention_heads", '0', "4"},
    {"num_key_value_heads", '0', "2"}, {"head_dim", '0', "6"}, {"rms_norm_eps", '0', "1e-06"},
    {"rope_theta", '0', "54321"}, {"rope_scaling", 'n', NULL}, {"hidden_act", '"', "silu"},
    {"attention_bias", 'f', NULL}, {"attention_dropout", '0', "0.0"},
    {"use_sliding_window", 'f', NULL}, {NULL, 0, NULL}};

static void check_fields(dual_json config, const expected_field *field) {
    for (; field->key; field++) {
        const dual_json value = dual_json_get(config, field->key);
        char word[64] = "";
        check_that(dual_json_type(value) == field->type, "config.json: %s of type %c", field->key,
                   field->type);
        if (field->type == '"')
            dual_json_string(value, word, sizeof word);
        else if (dual_json_type(value) && value.end - value.begin < 60)
            snprintf(word, sizeof word, "%.*s", (int)(value.end - value.begin), value.begin);
        check_that(!field->text || !strcmp(word, field->text), "config.json: expected %s %s,"
                   " got %s", field->key, field->text ? field->text : "", word);
    }
}

/* The text of a config.json that was just saved; the caller frees it. */
static char *saved_config(const dual_config *shape, dual_json *config) {
    dual_model *m = dual_model_new(&ctx, shape);
    fill_model(m, 4);
    check_that(save_model(m, NULL), "save: %s", ctx.error);
    size_t length;
    char *text = dual_text_read(&ctx, in("model/config.json"), &length);
    *config = dual_json_text(text, length, NULL, 0);
    return text;
}

static void hugging_face_config(int family) {
    const char *class_name = family == DUAL_GPT2 ? "GPT2LMHeadModel" : "Qwen3ForCausalLM";
    const dual_config shape = small_config(family, 1);
    dual_json config, key = {NULL, NULL}, value = {NULL, NULL};
    char *text = saved_config(&shape, &config), word[64];
    check_fields(config, both_expected);
    check_fields(config, family == DUAL_GPT2 ? gpt2_expected : qwen3_expected);
    check_that(dual_json_each(dual_json_get(config, "architectures"), &key, &value) &&
               dual_json_string(value, word, sizeof word) && !strcmp(word, class_name),
               "config.json: architectures");
    free(text);
    remove_model("model");
}

/* GPT-2's own vocabulary has an end token. */
static void gpt2_end_token(void) {
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 50257, .positions = 4, .layers = 1, .hidden = 2,
        .heads = 1, .kv_heads = 1, .head_dim = 2, .mlp = 2, .norm_eps = 1e-5};
    dual_json config;
    char *text = saved_config(&shape, &config);
    check_close(dual_json_number(dual_json_get(config, "eos_token_id"), -1), 50256, 0,
                "config.json: GPT-2's end token");
    free(text);
    remove_model("model");
}

static void test_hugging_face_config(void) {
    hugging_face_config(DUAL_GPT2);
    hugging_face_config(DUAL_QWEN3);
    gpt2_end_token();
}

/* ---- folders as the hub has them ------------------------------------------------------------- */

/* GPT-2 without the prefix of its names, and with the causal mask of each layer as a buffer. */
static void no_prefix(void) {
    enum { MASKS = 2 };
    const dual_config shape = small_config(DUAL_GPT2, 1);
    dual_model *m = dual_model_new(&ctx, &shape), *back = dual_model_new(&ctx, &shape);
    fill_model(m, 4);
    const size_t n = m->n_params;
    dual_param *list = new_bytes((n + MASKS) * sizeof *list);
    const dual_param **pointers = new_bytes((n + MASKS) * sizeof *pointers);
    for (size_t i = 0; i < n; i++) {
        list[i] = m->param[i];
        snprintf(list[i].name, sizeof list[i].name, "%s",
                 m->param[i].name + strlen("transformer."));
    }
    dual_tensor *mask = dual_tensor_new(&ctx, 13, 13);
    for (size_t i = 0; i < elements(mask); i++) mask->data[i] = 1;
    for (size_t i = 0; i < MASKS; i++) {
        list[n + i].tensor = mask;
        snprintf(list[n + i].name, sizeof list[n + i].name, "h.%d.attn.bias", (int)i);
    }
    for (size_t i = 0; i < n + MASKS; i++) pointers[i] = &list[i];
    data_make_folder(in("model"));
    check_that(dual_file_save(&ctx, in("model/model.safetensors"), n + MASKS, pointers, NULL),
               "save: %s", ctx.error);
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "no prefix, buffers: %s", ctx.error);
    check_size(count_unlike(m, back), 0, "no prefix: tensors that differ");
    char warnings[400];
    models_warnings(&ctx, back, in("model"), warnings, sizeof warnings);
    check_that(!*warnings, "no prefix, buffers: expected no warning, got \"%s\"", warnings);
    free(list);
    free(pointers);
    remove_model("model");
}

static void refuse_index(dual_model *back, const char *index, const char *what) {
    write_text(in("model/model.safetensors.index.json"), index);
    refuse_load(back, what);
}

/* Two shards and their index. */
static void two_shards(const dual_model *m, dual_model *back) {
    const char *const file[] = {"model/model-00001-of-00002.safetensors",
                                "model/model-00002-of-00002.safetensors"};
    const size_t half = m->n_params / 2, size = m->n_params * 160 + 200;
    data_make_folder(in("model"));
    save_some(in(file[0]), m, 0, half);
    save_some(in(file[1]), m, half, m->n_params);
    char *index = new_bytes(size);
    snprintf(index, size, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (size_t i = 0; i < m->n_params; i++)
        check_append(index, size, "%s\"%s\":\"%s\"", i ? "," : "", m->param[i].name,
                     file[i < half ? 0 : 1] + strlen("model/"));
    check_append(index, size, "}}");
    write_text(in("model/model.safetensors.index.json"), index);
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "two shards: %s", ctx.error);
    check_size(count_unlike(m, back), 0, "two shards: tensors that differ");
    refuse_index(back, "{\"weight_map\":{}}", "an index without tensors");
    refuse_index(back, "{\"weight_map\":5}", "an index without a map");
    refuse_index(back, "{", "an index that is no JSON");
    save_some(in(file[1]), m, half, m->n_params - 1);
    refuse_index(back, index, "a shard without its tensor");
    remove(in(file[1]));
    refuse_load(back, "a shard that is missing");
    free(index);
    remove_model("model");
}

/* Tied, with the redundant head that Qwen3-0.6B's file has. The file stays. */
static void tied_with_head(dual_model *m) {
    const dual_config shape = small_config(DUAL_QWEN3, 1);
    dual_model *tied = dual_model_new(&ctx, &shape);
    const size_t bytes = elements(m->wte) * sizeof *m->wte->data;
    forget_model(tied);
    data_make_folder(in("model"));
    memcpy(m->head->data, m->wte->data, bytes);
    save_some(in("model/model.safetensors"), m, 0, m->n_params);
    check_that(dual_model_load(&ctx, tied, in("model")), "tied with a head: %s", ctx.error);
    check_that(!memcmp(tied->wte->data, m->wte->data, bytes),
               "tied with a head: expected the embedding");
    check_size(dual_model_params(tied) + 11 * 7, dual_model_params(m), "a tied head counts once");
}

/* The reason names the tensor. */
static void refuse_tensor(dual_model *back, const char *name, const char *what) {
    ctx.error[0] = 0;
    const int loaded = dual_model_load(&ctx, back, in("model"));
    check_that(loaded || strstr(ctx.error, name), "expected %s named, got \"%s\"", name, ctx.error);
    check_refused(&ctx, loaded, what);
}

/* Every single tensor missing, then one of another shape. */
static void each_tensor(dual_model *m, dual_model *back) {
    const size_t n = m->n_params;
    for (size_t i = 0; i < n; i++) {
        dual_model fewer = *m;
        fewer.param = new_bytes(n * sizeof *fewer.param);
        fewer.n_params = 0;
        for (size_t j = 0; j < n; j++)
            if (j != i) fewer.param[fewer.n_params++] = m->param[j];
        save_some(in("model/model.safetensors"), &fewer, 0, fewer.n_params);
        refuse_tensor(back, m->param[i].name, "a tensor is missing");
        free(fewer.param);
    }
    for (size_t i = 0; i < n; i++) {
        dual_tensor *kept = m->param[i].tensor;
        m->param[i].tensor = check_random(&ctx, kept->rows, kept->cols + 1, 1);
        save_some(in("model/model.safetensors"), m, 0, n);
        m->param[i].tensor = kept;
        refuse_tensor(back, m->param[i].name, "a tensor of another shape");
    }
}

/* The transpose has as many numbers. */
static void transposed_embedding(dual_model *m, dual_model *back) {
    dual_tensor *turned = check_random(&ctx, m->wte->cols, m->wte->rows, 1);
    for (size_t i = 0; i < m->n_params; i++)
        if (m->param[i].tensor == m->wte) m->param[i].tensor = turned;
    save_some(in("model/model.safetensors"), m, 0, m->n_params);
    refuse_load(back, "a transposed tensor");
}

/* An export of the bare Qwen-3 model, without "model." before its names. */
static void bare_qwen3(dual_model *m, dual_model *back) {
    dual_param *list = new_bytes(m->n_params * sizeof *list);
    dual_model renamed = *m;
    memcpy(list, m->param, m->n_params * sizeof *list);
    for (size_t i = 0; i < m->n_params; i++)
        if (!strncmp(list[i].name, "model.", 6))
            memmove(list[i].name, list[i].name + 6, strlen(list[i].name + 6) + 1);
    renamed.param = list;
    data_make_folder(in("model"));
    save_some(in("model/model.safetensors"), &renamed, 0, m->n_params);
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "bare qwen3: %s", ctx.error);
    check_size(count_unlike(m, back), 0, "bare qwen3: tensors that differ");
    free(list);
}

/* The whole file goes before an index, which may be of another model, as in transformers. */
static void file_before_index(dual_model *m, dual_model *back) {
    write_text(in("model/model.safetensors.index.json"),
               "{\"weight_map\":{\"model.norm.weight\":\"model-1-of-2.safetensors\"}}");
    forget_model(back);
    check_that(dual_model_load(&ctx, back, in("model")), "beside an index: %s", ctx.error);
    check_size(count_unlike(m, back), 0, "beside an index: tensors that differ");
    remove(in("model/model.safetensors.index.json"));
}

/* NaN and infinity are no weights: file, tensor, how many, where the first is. */
static void no_numbers(dual_model *m, dual_model *back) {
    const size_t last = m->n_params - 1;
    dual_real *const values = m->param[last].tensor->data, kept[] = {values[3], values[5]};
    char words[200];
    values[3] = (dual_real)NAN;
    values[5] = (dual_real)-INFINITY;
    save_some(in("model/model.safetensors"), m, 0, m->n_params);
    ctx.error[0] = 0;
    const int loaded = dual_model_load(&ctx, back, in("model"));
    snprintf(words, sizeof words, "model.safetensors: %s: 2 of %lu numbers", m->param[last].name,
             (unsigned long)elements(m->param[last].tensor));
    check_that(strstr(ctx.error, words) && strstr(ctx.error, "index 3"),
               "expected \"%s .. index 3\", got \"%s\"", words, ctx.error);
    check_refused(&ctx, loaded, "weights that are no numbers");
    values[3] = kept[0];
    values[5] = kept[1];
}

/* ---- what a folder holds beside the model, and instead of it --------------------------------- */

static void warned(const dual_model *m, const char *expected, const char *what) {
    char text[2000];
    models_warnings(&ctx, m, in("model"), text, sizeof text);
    check_that(*expected ? strstr(text, expected) != NULL : !*text,
               "%s: expected \"%s\", got \"%s\"", what, expected, text);
}

/* Three layers by the config, four in the file: whole, and in two parts. */
static void more_layers_than_said(int family) {
    dual_config shape = small_config(family, 1);
    shape.layers = 4;
    dual_model *four = dual_model_new(&ctx, &shape);
    shape.layers = 3;
    dual_model *three = dual_model_new(&ctx, &shape);
    const char *first = family == DUAL_GPT2 ? "transformer.h.3.ln_1.weight" :
                                              "model.layers.3.input_layernorm.weight";
    char words[200], *index = new_bytes(20000);
    fill_model(four, 4);
    save_model(four, NULL);
    check_that(models_load(&ctx, four, in("model")), "four layers: %s", ctx.error);
    warned(four, "", "as many layers as the file has");
    check_that(dual_model_load(&ctx, three, in("model")), "three layers: %s", ctx.error);
    const size_t extra = four->n_params - three->n_params;
    snprintf(words, sizeof words, "%lu tensors are not used", (unsigned long)extra);
    warned(three, words, "a layer too many");
    warned(three, first, "a layer too many, its first tensor");
    snprintf(index, 20000, "{\"weight_map\":{");
    for (size_t i = 0; i < four->n_params; i++)
        check_append(index, 20000, "%s\"%s\":\"%s\"", i ? "," : "", four->param[i].name,
                     strstr(four->param[i].name, ".3.") ? "second.safetensors"
                                                        : "first.safetensors");
    check_append(index, 20000, "}}");
    write_text(in("model/model.safetensors.index.json"), index);
    warned(four, "model.safetensors was read, model.safetensors.index.json beside it was not",
           "both layouts");
    rename(in("model/model.safetensors"), in("model/first.safetensors"));
    check_that(dual_model_load(&ctx, three, in("model")), "three layers of parts: %s", ctx.error);
    warned(three, words, "a part too many");
    warned(three, "never opened: second.safetensors", "a part too many, named");
    ctx.error[0] = 0;
    check_that(!models_load(&ctx, four, in("model")) && strstr(ctx.error, "index of another"),
               "a part that is missing: got \"%s\"", ctx.error);
    remove(in("model/first.safetensors"));
    free(index);
    remove_model("model");
}

static void instead_of_a_model(const char *name, const char *expected) {
    const dual_config shape = small_config(DUAL_GPT2, 1);
    dual_model *m = dual_model_new(&ctx, &shape);
    data_make_folder(in("model"));
    write_text(in(name), "x");
    ctx.error[0] = 0;
    const int loaded = models_load(&ctx, m, in("model"));
    check_that(strstr(ctx.error, expected) != NULL, "%s: expected \"%s\", got \"%s\"", name,
               expected, ctx.error);
    check_refused(&ctx, loaded, name);
    remove(in(name));
    remove_model("model");
}

static void test_what_else_is_there(void) {
    more_layers_than_said(DUAL_GPT2);
    more_layers_than_said(DUAL_QWEN3);
    instead_of_a_model("model/pytorch_model.bin", "pickle");
    instead_of_a_model("model/model-00001-of-00003.safetensors", "index.json");
}

static void test_other_layouts(void) {
    const dual_config shape = small_config(DUAL_QWEN3, 0);
    dual_model *m = dual_model_new(&ctx, &shape), *back = dual_model_new(&ctx, &shape);
    no_prefix();
    fill_model(m, 5);
    two_shards(m, back);
    tied_with_head(m);
    no_numbers(m, back);
    bare_qwen3(m, back);
    file_before_index(m, back);
    each_tensor(m, back);
    transposed_embedding(m, back);
    remove_model("model");
    refuse_load(back, "no folder");
}

/* ---- models of 16 bits ----------------------------------------------------------------------- */

static const char *type_name(int type) {
    return type == DUAL_F16 ? "F16" : "BF16";
}

static double half_value(uint16_t bits, int type) {
    return type == DUAL_F16 ? ieee_value(bits, 5, 10) : ieee_value(bits, 8, 7);
}

/* Any numbers but NaN, instead of which there is a subnormal. */
static uint16_t *random_bits(size_t n, int type) {
    uint16_t *bits = new_bytes(n * sizeof *bits);
    dual_rng rng = dual_rng_seed(5, (uint64_t)type);
    for (size_t i = 0; i < n; i++) {
        bits[i] = (uint16_t)dual_rng_next(&rng);
        if (isnan(half_value(bits[i], type))) bits[i] = 1;
    }
    return bits;
}

/* A model file as the hub has it, vectors and all in 16 bits, one tensor after another. Written
 * without dual_file_save. */
static void write_sixteen(const dual_model *m, int type, const uint16_t *bits, const char *path) {
    const size_t n = dual_model_params(m), size = m->n_params * 200 + 10;
    unsigned char *data = new_bytes(2 * n);
    for (size_t i = 0; i < n; i++) little_endian(data + 2 * i, bits[i], 2);
    char *header = new_bytes(size), shape[60];
    size_t at = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        const size_t end = at + elements(t);
        if (m->param[i].vector)
            snprintf(shape, sizeof shape, "%lu", (unsigned long)t->cols);
        else
            snprintf(shape, sizeof shape, "%lu,%lu", (unsigned long)t->rows,
                     (unsigned long)t->cols);
        check_append(header, size,
                     "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%lu,%lu]}",
                     i ? "," : "{", m->param[i].name, type_name(type), shape,
                     (unsigned long)(2 * at), (unsigned long)(2 * end));
        at = end;
    }
    check_append(header, size, "}");
    write_tensors(path, header, data, 2 * n);
    free(header);
    free(data);
}

/* Numbers of m that are not those bits: a kept model's matrices bit for bit, all else as values. */
static size_t count_other_bits(const dual_model *m, const uint16_t *bits, int type) {
    size_t wrong = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        const dual_tensor *t = m->param[i].tensor;
        const int kept = m->type != DUAL_FULL && !m->param[i].vector;
        if (kept) wrong += t->type != type || t->data || !t->half;
        else wrong += t->type != DUAL_FULL || t->half;
        for (size_t j = 0; j < elements(t); j++, bits++) {
            const int same = kept ? t->half[j] == *bits
                                  : same_number((double)t->data[j], half_value(*bits, type));
            wrong += same == 0;
        }
    }
    return wrong;
}

/* The same model three times: of full weights, kept in 16 bits, and kept to be loaded again. */
typedef struct {
    int type;
    const char *name;
    dual_model *full, *kept, *back;
    uint16_t *bits;
} sixteen;

static void load_and_compare(const sixteen *s, dual_model *m, const char *what) {
    check_that(dual_model_load(&ctx, m, in("model")), "%s: %s", s->name, ctx.error);
    check_size(count_other_bits(m, s->bits, s->type), 0, "%s, %s", s->name, what);
}

static void load_sixteen(const sixteen *s) {
    load_and_compare(s, s->full, "full: numbers unlike the file's");
    check_that(s->full->type == DUAL_FULL && s->full->file_type == s->type, "%s: the files' type",
               s->name);
    load_and_compare(s, s->kept, "kept: numbers unlike the file's");
    /* counting, the same load checks the folder and takes nothing */
    dual_ctx count;
    dual_init(&count, NULL, 0);
    dual_model *counted = dual_model_new(&count, &s->full->config);
    check_that(dual_model_load(&ctx, counted, in("model")) && counted->file_type == s->type,
               "%s: expected a counted model to learn the files' type", s->name);
    dual_done(&count);
}

/* Matrices with their type, vectors F32, and the type in config.json. */
static void types_in_files(const sixteen *s) {
    const char *torch = s->type == DUAL_F16 ? "float16" : "bfloat16";
    size_t wrong = 0, n;
    dual_file *f = dual_file_open(&ctx, in("model/model.safetensors"));
    for (size_t i = 0; f && i < s->kept->n_params; i++) {
        const dual_entry e = dual_file_entry(f, dual_file_find(f, s->kept->param[i].name));
        wrong += strcmp(e.type, s->kept->param[i].vector ? "F32" : s->name) != 0;
    }
    dual_file_close(f);
    check_size(f ? wrong : 1, 0, "%s, saved: tensors of another type", s->name);
    char *text = dual_text_read(&ctx, in("model/config.json"), &n), word[64];
    const dual_json config = dual_json_text(text, n, NULL, 0);
    dual_json_string(dual_json_get(config, "torch_dtype"), word, sizeof word);
    check_that(!strcmp(word, torch), "%s: torch_dtype %s", s->name, word);
    free(text);
}

/* Saved and loaded, or copied: the same bits again, in both kinds of model. */
static void save_sixteen(const sixteen *s) {
    check_that(save_model(s->kept, NULL), "%s: %s", s->name, ctx.error);
    types_in_files(s);
    load_and_compare(s, s->back, "saved: bits that changed");
    check_that(s->back->file_type == s->type, "%s, saved: expected the files' type", s->name);
    forget_model(s->full);
    load_and_compare(s, s->full, "saved, full: numbers that changed");
    forget_model(s->full);
    dual_model_copy(s->full, s->back);
    check_size(count_other_bits(s->full, s->bits, s->type), 0, "%s, copied: numbers that changed",
               s->name);
    memset(s->kept->wte->half, 0, elements(s->kept->wte) * sizeof *s->kept->wte->half);
    dual_model_copy(s->kept, s->full);
    check_size(count_other_bits(s->kept, s->bits, s->type), 0,
               "%s, copied back: numbers that changed", s->name);
}

static void cut_sixteen(const sixteen *s) {
    const char *path = "model/model.safetensors";
    size_t n, again_n;
    unsigned char *bytes = read_bytes(in(path), &n);
    check_that(save_model(s->back, NULL), "%s: %s", s->name, ctx.error);
    unsigned char *again = read_bytes(in(path), &again_n);
    check_that(n == again_n && !memcmp(bytes, again, n), "%s: expected the same bytes again",
               s->name);
    for (size_t end = 0; end < n; end += n / 37 + 1) {
        char what[64];
        snprintf(what, sizeof what, "%s cut at %lu", s->name, (unsigned long)end);
        check_write(in(path), bytes, end);
        refuse_load(s->back, what);
    }
    check_write(in(path), bytes, n - 1);
    refuse_load(s->back, "a 16-bit file less a byte");
    free(bytes);
    free(again);
}

/* One matrix wider than the others: the files are of no single type. */
static void mixed_types(const sixteen *s) {
    dual_model_copy(s->full, s->back);
    dual_model mixed = *s->back;
    mixed.param = new_bytes(mixed.n_params * sizeof *mixed.param);
    memcpy(mixed.param, s->back->param, mixed.n_params * sizeof *mixed.param);
    mixed.param[0].tensor = s->full->param[0].tensor;
    save_some(in("model/model.safetensors"), &mixed, 0, mixed.n_params);
    check_that(dual_model_load(&ctx, s->back, in("model")) && s->back->file_type == DUAL_FULL,
               "%s and F32: expected no 16-bit files", s->name);
    check_size(count_other_bits(s->back, s->bits, s->type), 0, "%s and F32: bits that changed",
               s->name);
    free(mixed.param);
}

static void kept_model(int family, int type) {
    const dual_config shape = small_config(family, 0);
    dual_model *full = dual_model_new(&ctx, &shape);
    const sixteen s = {
        .type = type, .name = type_name(type), .full = full,
        .kept = dual_model_kept(&ctx, &shape, type), .back = dual_model_kept(&ctx, &shape, type),
        .bits = random_bits(dual_model_params(full), type)};
    data_make_folder(in("model"));
    write_sixteen(full, type, s.bits, in("model/model.safetensors"));
    load_sixteen(&s);
    save_sixteen(&s);
    cut_sixteen(&s);
    mixed_types(&s);
    free(s.bits);
    remove_model("model");
}

/* ---- rounding to 16 bits --------------------------------------------------------------------- */

enum { ALL_BITS = 65536, AROUND = 4, SIGN = 0x8000 };

static size_t infinity_bits(int type) {
    return type == DUAL_F16 ? 0x7c00 : 0x7f80;
}

/* Of a pattern its size alone; 0 for infinity and NaN. */
static size_t finite_part(size_t bits, int type) {
    const size_t size = bits & (SIGN - 1);
    return size < infinity_bits(type) ? size : 0;
}

/* Around every finite 16-bit number: itself, the middle to the next, and the floats next to that
 * middle. */
static void numbers_around(dual_real *to, size_t bits, int type) {
    const size_t low = finite_part(bits, type);
    const double sign = bits & SIGN ? -1 : 1, here = half_value((uint16_t)low, type);
    double next = half_value((uint16_t)(low + 1), type);
    if (low + 1 == infinity_bits(type)) next = 2 * here - half_value((uint16_t)(low - 1), type);
    const float middle = (float)((here + next) / 2);
    to[0] = (dual_real)(sign * here);
    to[1] = (dual_real)(sign * (double)nextafterf(middle, 0));
    to[2] = (dual_real)(sign * (double)middle);
    to[3] = (dual_real)(sign * (double)nextafterf(middle, INFINITY));
}

/* Of two equally near the even one. */
static size_t rounded_bits(size_t bits, size_t k, int type) {
    const size_t low = finite_part(bits, type);
    const int up = k == 3 || (k == 2 && low % 2 == 1);
    return (bits & SIGN) | (low + (up ? 1 : 0));
}

static void count_rounded_otherwise(const dual_model *kept, int type, const char *how) {
    size_t wrong = 0;
    for (size_t i = 0; i < ALL_BITS; i++)
        for (size_t k = 0; k < AROUND; k++)
            wrong += kept->wte->half[AROUND * i + k] != rounded_bits(i, k, type);
    check_size(wrong, 0, "type %d, %s: numbers rounded otherwise", type, how);
}

/* Loaded from F32, and copied. */
static void rounding(int type) {
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 1024, .positions = 1, .layers = 1, .hidden = 256,
        .heads = 1, .kv_heads = 1, .head_dim = 256, .mlp = 1, .norm_eps = 1e-5};
    dual_model *full = dual_model_new(&ctx, &shape), *kept = dual_model_kept(&ctx, &shape, type);
    dual_real *number = full->wte->data;
    dual_model_init(full, dual_rng_seed(1, 1));
    for (size_t i = 0; i < ALL_BITS; i++) numbers_around(number + AROUND * i, i, type);
    check_that(save_model(full, NULL), "%s", ctx.error);
    refuse_load(kept, "numbers that round to infinity");     /* and are read all the same */
    check_that(kept->type == type && kept->file_type == DUAL_FULL, "types");
    count_rounded_otherwise(kept, type, "loaded");
    dual_model_copy(kept, full);
    check_that(kept->type == type, "types");
    count_rounded_otherwise(kept, type, "copied");
    number[0] = (dual_real)NAN;
    number[1] = (dual_real)-INFINITY;
    number[2] = (dual_real)3.4e38f;
    dual_model_copy(kept, full);
    check_that(isnan(half_value(kept->wte->half[0], type)) &&
               kept->wte->half[1] == (SIGN | infinity_bits(type)) &&
               kept->wte->half[2] == infinity_bits(type),
               "type %d: NaN and what is too large", type);
    remove_model("model");
}

static void test_sixteen_bits(void) {
    for (int type = DUAL_F16; type <= DUAL_BF16; type++) {
        const dual_mark mark = dual_mark_here(&ctx);
        kept_model(DUAL_GPT2, type);
        kept_model(DUAL_QWEN3, type);
        rounding(type);
        dual_release(&ctx, mark);
    }
}

/* ---- cut at every length: no crash, always a reason, and nothing is taken for a model -------- */

static void cut_weights(dual_model *m) {
    size_t n, refused = 0, loaded = 0;
    unsigned char *whole = read_bytes(in("model/model.safetensors"), &n);
    for (size_t i = 0; i < n; i++) {
        check_write(in("model/model.safetensors"), whole, i);
        ctx.error[0] = 0;
        dual_file *f = dual_file_open(&ctx, in("model/model.safetensors"));
        refused += !f && ctx.error[0] && !strchr(ctx.error, '\n');
        if (f) dual_file_close(f);
        if (i % 16 == 0) loaded += dual_model_load(&ctx, m, in("model")) != 0;
    }
    check_size(refused, n, "model.safetensors cut at every length: refusals");
    check_size(loaded, 0, "model.safetensors cut: models loaded");
    free(whole);
}

static void cut_config(void) {
    size_t n, read = 0;
    unsigned char *config = read_bytes(in("model/config.json"), &n);
    while (n && config[n - 1] != '}')              /* without a final line break it is whole */
        n--;
    for (size_t i = 0; i < n; i++) {
        dual_config c;
        check_write(in("model/config.json"), config, i);
        ctx.error[0] = 0;
        read += dual_config_read(&ctx, in("model"), &c) || !ctx.error[0];
    }
    check_size(read, 0, "config.json cut at every length: read, or refused without a reason");
    free(config);
}

static void test_truncation(void) {
    const dual_config shape = {
        .family = DUAL_GPT2, .tied = 1, .vocab = 5, .positions = 4, .layers = 1, .hidden = 4,
        .heads = 2, .kv_heads = 2, .head_dim = 2, .mlp = 4, .norm_eps = 1e-5};
    dual_model *m = dual_model_new(&ctx, &shape);
    fill_model(m, 6);
    check_that(save_model(m, "x"), "save: %s", ctx.error);
    cut_weights(m);
    cut_config();
    remove_model("model");
}

/* ---- config.json ----------------------------------------------------------------------------- */

typedef struct { const char *key, *value; } field;

static const field gpt2_fields[] = {
    {"model_type", "\"gpt2\""}, {"vocab_size", "96"}, {"n_positions", "64"}, {"n_embd", "48"},
    {"n_layer", "3"}, {"n_head", "4"}, {"n_inner", "null"}, {"layer_norm_epsilon", "1e-05"},
    {"activation_function", "\"gelu_new\""}, {NULL, NULL}};

static const field qwen3_fields[] = {
    {"model_type", "\"qwen3\""}, {"vocab_size", "128"}, {"max_position_embeddings", "256"},
    {"hidden_size", "64"}, {"num_hidden_layers", "3"}, {"num_attention_heads", "4"},
    {"num_key_value_heads", "2"}, {"head_dim", "32"}, {"intermediate_size", "160"},
    {"rms_norm_eps", "1e-06"}, {"rope_theta", "1000000.0"}, {"hidden_act", "\"silu\""},
    {"tie_word_embeddings", "true"}, {"rope_scaling", "null"}, {"sliding_window", "null"},
    {"use_sliding_window", "false"}, {"attention_bias", "false"}, {NULL, NULL}};

/* Reads the fields with one of them replaced, left out (value NULL) or added. */
static int config_with(const field *fields, const char *key, const char *value, dual_config *out) {
    char text[4000] = "{";
    int known = 0;
    for (; fields->key; fields++) {
        const int it = !strcmp(fields->key, key);
        known = known || it;
        if (!it || value)
            check_append(text, sizeof text, "%s\n  \"%s\": %s", text[1] ? "," : "", fields->key,
                         it ? value : fields->value);
    }
    if (!known && value) check_append(text, sizeof text, ",\n  \"%s\": %s", key, value);
    check_append(text, sizeof text, "\n}\n");
    write_text(in("config.json"), text);
    ctx.error[0] = 0;
    memset(out, 0, sizeof *out);
    return dual_config_read(&ctx, folder, out);
}

static void refuse_config(const field *fields, const char *key, const char *value) {
    dual_config c;
    char what[200];
    const int accepted = config_with(fields, key, value, &c) && dual_config_check(&ctx, &c);
    snprintf(what, sizeof what, "%s with %s %s", fields[0].value, key, value ? value : "left out");
    check_refused(&ctx, accepted, what);
}

static dual_config accept_config(const field *fields, const char *key, const char *value) {
    dual_config c;
    check_that(config_with(fields, key, value, &c), "%s with %s %s: %s", fields[0].value, key,
               value ? value : "left out", ctx.error);
    return c;
}

static void sizes_as_written(void) {
    dual_config c = accept_config(gpt2_fields, "none", NULL);
    check_that(c.family == DUAL_GPT2 && c.vocab == 96 && c.positions == 64 && c.hidden == 48 &&
               c.layers == 3 && c.heads == 4 && c.kv_heads == 4 && c.head_dim == 12 &&
               c.mlp == 192 && c.norm_eps == (double)1e-5 && c.tied,
               "gpt2: expected the sizes as written");
    c = accept_config(qwen3_fields, "none", NULL);
    check_that(c.family == DUAL_QWEN3 && c.vocab == 128 && c.positions == 256 && c.hidden == 64 &&
               c.layers == 3 && c.heads == 4 && c.kv_heads == 2 && c.head_dim == 32 &&
               c.mlp == 160 && c.norm_eps == (double)1e-6 && c.rope_theta == 1e6 && c.tied,
               "qwen3: expected the sizes as written");
}

/* What is no size. The first four are none even where null is allowed. */
static const char *const nonsense[] = {"0", "-1", "-48", "2.5", "1e30", "1e400", "\"48\"", "true",
                                       "[48]", "18446744073709551617"};

static void refuse_sizes(const field *fields, size_t n, const char *const *key) {
    for (size_t i = 0; i < n; i++) {
        refuse_config(fields, key[i], NULL);
        for (size_t j = 0; j < sizeof nonsense / sizeof *nonsense; j++)
            refuse_config(fields, key[i], nonsense[j]);
    }
}

static void impossible_sizes(void) {
    static const char *const gpt2_sizes[] = {"vocab_size", "n_positions", "n_embd", "n_layer",
                                             "n_head"};
    static const char *const qwen3_sizes[] = {
        "vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers",
        "num_attention_heads", "intermediate_size"};
    refuse_sizes(gpt2_fields, sizeof gpt2_sizes / sizeof *gpt2_sizes, gpt2_sizes);
    refuse_sizes(qwen3_fields, sizeof qwen3_sizes / sizeof *qwen3_sizes, qwen3_sizes);
    for (size_t j = 0; j < 4; j++) {
        refuse_config(qwen3_fields, "num_key_value_heads", nonsense[j]);
        refuse_config(qwen3_fields, "head_dim", nonsense[j]);
        refuse_config(gpt2_fields, "n_inner", nonsense[j]);
    }
    refuse_config(gpt2_fields, "n_inner", "\"192\"");
    refuse_config(gpt2_fields, "n_head", "5");     /* does not divide 48 */
    refuse_config(qwen3_fields, "num_key_value_heads", "3");
    refuse_config(qwen3_fields, "num_key_value_heads", "8");
    refuse_config(qwen3_fields, "head_dim", "31"); /* rotation works on pairs */
}

/* Models of which this library knows nothing: they would load and give other numbers. */
static void other_models(void) {
    refuse_config(gpt2_fields, "model_type", NULL);
    refuse_config(gpt2_fields, "model_type", "\"llama\"");
    refuse_config(gpt2_fields, "model_type", "\"gpt\"");
    refuse_config(gpt2_fields, "model_type", "2");
    refuse_config(gpt2_fields, "activation_function", "\"gelu\"");
    refuse_config(gpt2_fields, "activation_function", "\"relu\"");
    refuse_config(qwen3_fields, "hidden_act", "\"gelu\"");
    refuse_config(qwen3_fields, "rope_scaling", "{\"type\":\"yarn\",\"factor\":4.0}");
    refuse_config(qwen3_fields, "rope_scaling", "{\"rope_type\":\"linear\",\"factor\":4.0}");
    refuse_config(qwen3_fields, "rope_parameters", "{\"type\":\"yarn\",\"factor\":4.0}");
    refuse_config(qwen3_fields, "rope_parameters", "{\"rope_type\":\"dynamic\"}");
    refuse_config(qwen3_fields, "rope_parameters", "{\"full_attention\":{\"type\":\"linear\"}}");
    refuse_config(qwen3_fields, "rope_parameters", "{\"partial_rotary_factor\":0.5}");
    refuse_config(qwen3_fields, "rope_parameters", "{\"rope_theta\":0}");
    refuse_config(qwen3_fields, "use_sliding_window", "true");
    refuse_config(qwen3_fields, "attention_bias", "true");
    refuse_config(gpt2_fields, "scale_attn_weights", "false");
    refuse_config(gpt2_fields, "scale_attn_by_inverse_layer_idx", "true");
    refuse_config(gpt2_fields, "layer_norm_epsilon", "-1");
    refuse_config(gpt2_fields, "layer_norm_epsilon", "\"1e-5\"");
    refuse_config(qwen3_fields, "rms_norm_eps", "-1e-6");
    refuse_config(qwen3_fields, "rope_theta", "0");
    refuse_config(qwen3_fields, "rope_theta", "-5");
}

/* The rotary base stands inside or outside; null and "default" are harmless. */
static void rotary_settings(void) {
    static const struct { const char *key, *value; double theta; } set[] = {
        {"rope_theta", "null", 1e4}, {"rope_theta", "5000", 5e3},
        {"rope_scaling", "{\"rope_type\":\"default\"}", 1e6},
        {"rope_scaling", "{\"type\":\"default\",\"rope_theta\":77}", 77},
        {"rope_parameters", "null", 1e6}, {"rope_parameters", "{}", 1e6},
        {"rope_parameters", "{\"rope_type\":\"default\",\"rope_theta\":2e5}", 2e5},
        {"rope_parameters", "{\"rope_theta\":null}", 1e6},
        {"rope_parameters", "{\"full_attention\":{\"rope_theta\":3e5}}", 3e5},
        {"rope_parameters", "{\"full_attention\":{\"rope_theta\":3e5,\"rope_type\":\"default\"},"
                            "\"sliding_attention\":{\"rope_theta\":1e4}}", 3e5}};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        check_close(accept_config(qwen3_fields, set[i].key, set[i].value).rope_theta, set[i].theta,
                    0, "qwen3 with %s %s: the rotary base", set[i].key, set[i].value);
}

static void accepted_variants(void) {
    accept_config(qwen3_fields, "sliding_window", "4096"); /* named but switched off */
    check_that(!accept_config(qwen3_fields, "tie_word_embeddings", "false").tied,
               "qwen3: expected an untied head");
    check_that(!accept_config(gpt2_fields, "tie_word_embeddings", "false").tied,
               "gpt2: expected an untied head");
    check_that(accept_config(gpt2_fields, "tie_word_embeddings", "true").tied,
               "gpt2: expected a tied head");
    check_size(accept_config(gpt2_fields, "n_inner", "77").mlp, 77, "gpt2: n_inner");
    check_size(accept_config(gpt2_fields, "n_inner", NULL).mlp, 192,
               "gpt2 without n_inner: four times the width");
    accept_config(gpt2_fields, "n_ctx", "64");
    accept_config(gpt2_fields, "vocab_size", "50257");
}

static void no_config(void) {
    dual_config c;
    write_text(in("config.json"), "[]");
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "config.json is a list");
    write_text(in("config.json"), "{\"model_type\":\"gpt2\",\n\"n_head\":1,\"n_head\":2}");
    check_that(!dual_config_read(&ctx, folder, &c) &&
               strstr(ctx.error, "config.json: not a JSON object: line 2, column 12") &&
               strstr(ctx.error, "\"n_head\""), "a key twice: \"%s\"", ctx.error);
    write_text(in("config.json"), "");
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "config.json is empty");
    remove(in("config.json"));
    check_refused(&ctx, dual_config_read(&ctx, folder, &c), "no config.json");
    check_refused(&ctx, dual_config_read(&ctx, in("nothing here"), &c), "no folder");
}

/* Shapes a program can ask for that no file would hold. */
static void impossible_shapes(void) {
    dual_config c = small_config(DUAL_GPT2, 1);
    check_that(dual_config_check(&ctx, &c), "a good shape: %s", ctx.error);
    c.hidden = c.heads * c.head_dim + 1;
    check_refused(&ctx, dual_config_check(&ctx, &c), "gpt2: heads x head_dim is not the width");
    c = small_config(DUAL_QWEN3, 1);
    check_that(dual_config_check(&ctx, &c), "a good shape: %s", ctx.error);
    c.vocab = SIZE_MAX / 2;
    check_refused(&ctx, dual_config_check(&ctx, &c), "a vocabulary that fits no memory");
    c = small_config(DUAL_QWEN3, 1);
    c.family = 7;
    check_refused(&ctx, dual_config_check(&ctx, &c), "family 7");
    c = small_config(DUAL_QWEN3, 1);
    c.norm_eps = (double)NAN;
    check_refused(&ctx, dual_config_check(&ctx, &c), "eps is not a number");
}

/* A host program may have set a locale: numbers in files have a point nevertheless. */
static void decimal_comma(void) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "it_IT.UTF-8"};
    const char *set = NULL;
    dual_config c = small_config(DUAL_QWEN3, 1), read = {0};
    c.norm_eps = 1.5e-5;
    c.rope_theta = 1234.5;
    for (size_t i = 0; !set && i < sizeof names / sizeof *names; i++)
        set = setlocale(LC_NUMERIC, names[i]);
    if (!set) printf("skipped: a locale with a decimal comma (Debian: locales-all)\n");
    check_that(data_make_folder(in("comma")) &&
               dual_model_save(&ctx, dual_model_new(&ctx, &c), in("comma"), NULL) &&
               dual_config_read(&ctx, in("comma"), &read), "decimal comma: %s", ctx.error);
    setlocale(LC_NUMERIC, "C");
    check_that(read.norm_eps == c.norm_eps && read.rope_theta == c.rope_theta,
               "decimal comma: expected 1.5e-05 and 1234.5, got %.17g and %.17g", read.norm_eps,
               read.rope_theta);
    check_that(dual_config_read(&ctx, in("comma"), &read) && read.rope_theta == c.rope_theta,
               "decimal comma: expected a file that others can read, got %s", ctx.error);
    remove_model("comma");
}

static void test_configs(void) {
    sizes_as_written();
    impossible_sizes();
    other_models();
    accepted_variants();
    rotary_settings();
    no_config();
    impossible_shapes();
    decimal_comma();
}

int main(int argc, char **argv) {
    void *memory = files_begin(argc, argv, "test_models");
    test_model_folders();
    test_hugging_face_config();
    test_other_layouts();
    test_what_else_is_there();
    test_sixteen_bits();
    test_truncation();
    test_configs();
    return files_end(memory);
}
