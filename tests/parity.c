/* parity.c - judges this build against a tree of reference values, which the Hugging Face classes
 * computed.
 *
 *     build/parity-f32 [--items N] [--list] tests/reference
 *
 * The tree's own README.md explains its layout and every formula. All names, shapes and counts are
 * read from it: another tree of that layout needs no change here. A part that is missing is skipped
 * with a word, a tree where nothing was found is a failure. Activations are judged by the largest
 * absolute difference, gradients by ||ours - theirs|| / ||theirs|| per tensor. A double build is
 * held to the float64 run where that is stored. --items N fails unless exactly N items were made,
 * so that a file which went missing shows; --list prints every item, not only the worst. */
#define _POSIX_C_SOURCE 200809L    /* readdir, access */
#define _FILE_OFFSET_BITS 64       /* or readdir fails on large file systems, on 32 bits */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../dual.h"
#include "../data/runs/latents.h"

enum { IN_DOUBLE = sizeof(dual_real) > sizeof(float), BLOCK_MIB = 256, MAX_STEPS = 64 };

/* The reference's suggestions for float; what double reaches when only rounding differs. Stored
 * gradients and parameters are float64 results rounded to float, hence the 1e-6. */
static const double tol_activation = 5e-5, tol_exact = 1e-9;
static const double tol_loss = IN_DOUBLE ? 1e-9 : 5e-6;
static const double tol_gradient = IN_DOUBLE ? 1e-6 : 5e-5;
static const double tol_norm = IN_DOUBLE ? 1e-9 : 5e-5;       /* relative; float64 in the JSON */
static const double tol_tiny = IN_DOUBLE ? 1e-12 : 1e-7;      /* absolute, if the norm is < 1e-6 */
static const double tol_parameter = IN_DOUBLE ? 1e-6 : 3e-5;
static const double tol_key_bias = IN_DOUBLE ? 1e-6 : 7e-3;

static dual_ctx ctx;               /* every check starts it anew on the same block */
static unsigned char *block;

static void reset_context(void) {
    dual_init(&ctx, block, (size_t)BLOCK_MIB << 20);
}

/* ---- items and groups: an item is one comparison, a group one line of output ----------------- */

static struct {
    char name[200], worst[200];
    size_t items, failed;
    double ratio, error, tolerance;
} group;
static size_t n_items, n_failed;
static int list_all;

static void group_begin(const char *format, ...) {
    va_list args;
    if (group.items)
        printf("%-42s %3zu item%s worst %8.2g of %-6.1g %-4s  %s\n", group.name, group.items,
               group.items == 1 ? " " : "s", group.error, group.tolerance,
               group.failed ? "FAIL" : "ok", group.worst);
    n_items += group.items;
    n_failed += group.failed;
    memset(&group, 0, sizeof group);
    va_start(args, format);
    vsnprintf(group.name, sizeof group.name, format, args);
    va_end(args);
}

static void item(double error, double tolerance, const char *format, ...) {
    char name[sizeof group.worst];
    const int ok = error <= tolerance; /* so written, a NaN on either side fails */
    double ratio = ok ? 0 : HUGE_VAL;
    if (tolerance > 0 && error < HUGE_VAL) ratio = error / tolerance;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (!group.items || ratio > group.ratio) {
        group.ratio = ratio;
        group.error = error;
        group.tolerance = tolerance;
        memcpy(group.worst, name, sizeof name);
    }
    group.items++;
    group.failed += !ok;
    if (list_all || !ok)
        printf("    %s: %s  %.3g (tolerance %.2g) %s\n", group.name, name, error, tolerance,
               ok ? "ok" : "FAIL");
}

/* What keeps a check from being made is a failed item, with the library's own words if any. */
static int refused(const char *what) {
    item(HUGE_VAL, 0, "%s %s", what, ctx.error);
    return 0;
}

/* NaN counts as larger than anything and is never lost again. */
static double larger(double a, double b) {
    return b > a || isnan(b) ? b : a;
}

/* ---- the tree's files; whatever is read lives in ctx until the next check -------------------- */

/* A formatted string in one of a few buffers used in turn: good for the next handful of calls. */
static const char *text_of(const char *format, ...) {
    static char buffer[16][1024];
    static size_t turn;
    turn = (turn + 1) % 16;
    char *out = buffer[turn];
    va_list args;
    va_start(args, format);
    vsnprintf(out, sizeof buffer[0], format, args);
    va_end(args);
    return out;
}

static int starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

static int ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void *new_cleared(size_t count, size_t size) {
    return memset(dual_alloc(&ctx, count + 1, size), 0, count * size);
}

static char *read_whole(const char *path, size_t *length) {
    char *text = dual_text_read(&ctx, path, length), *kept = NULL;
    if (text) kept = memcpy(new_cleared(*length + 1, 1), text, *length);
    free(text);
    return kept;
}

/* Names in a folder, sorted; memory of its own, as a listing outlives many checks. */
enum { MOST_NAMES = 256 };
typedef struct { int n; char name[MOST_NAMES][256]; } listing;

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

static listing *list_folder(const char *folder) {
    listing *l = calloc(1, sizeof *l);
    DIR *d = opendir(folder);
    if (!l) exit(1);
    for (struct dirent *e; d && l->n < MOST_NAMES && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            snprintf(l->name[l->n++], sizeof l->name[0], "%.255s", e->d_name);
    if (d) closedir(d);
    qsort(l->name, (size_t)l->n, sizeof l->name[0], by_name);
    return l;
}

static dual_json json_read(const char *path) {
    size_t length;
    char *text = read_whole(path, &length);
    dual_json json = {NULL, NULL};
    if (text) json = dual_json_text(text, length, NULL, 0);
    if (!json.begin) refused(path);
    return json;
}

/* A number that is missing is NaN, which passes no comparison. */
static double number(dual_json object, const char *key) {
    return dual_json_number(dual_json_get(object, key), NAN);
}

static size_t numbers(dual_json list, size_t most, double *out) {
    size_t n = 0;
    for (dual_json key = {0}, value = {0}; n < most && dual_json_each(list, &key, &value);)
        out[n++] = dual_json_number(value, NAN);
    return n;
}

static int listed(dual_json list, const char *text) {
    char name[160];
    for (dual_json key = {0}, value = {0}; dual_json_each(list, &key, &value);) {
        dual_json_string(value, name, sizeof name);
        if (strcmp(name, text) == 0) return 1;
    }
    return 0;
}

/* A safetensors file read whole into doubles, which hold every stored type exactly (token ids
 * too). The product's own reader is not used: it rounds to dual_real and is itself on trial. */
typedef struct { char name[160]; size_t rank, shape[4], count; double *data; } array;
typedef struct { size_t n; array *array; } archive;

static double decode_half(uint64_t bits) {
    const int exponent = bits >> 10 & 31, sign = bits >> 15 ? -1 : 1;
    const double fraction = (double)(bits & 1023) + (exponent ? 1024 : 0);
    if (exponent == 31) return fraction > 1024 ? (double)NAN : sign * HUGE_VAL;
    return sign * ldexp(fraction, (exponent ? exponent : 1) - 25);
}

static double decode(const unsigned char *p, const char *type, size_t width) {
    uint64_t bits = 0;
    for (size_t i = 0; i < width; i++) bits |= (uint64_t)p[i] << 8 * i;
    if (!strcmp(type, "I64"))      /* two's complement without an implementation-defined cast */
        return bits >> 63 ? -(double)~bits - 1 : (double)bits;
    if (!strcmp(type, "F64")) {
        double wide;
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (!strcmp(type, "F16")) return decode_half(bits);
    const uint32_t word = (uint32_t)(width == 2 ? bits << 16 : bits);   /* bf16: the upper half */
    float narrow;
    memcpy(&narrow, &word, sizeof narrow);
    return narrow;
}

/* Bytes of a number; 0: it is none of those that are compared (a mask in bytes). */
static size_t type_width(const char *type) {
    if (ends_with(type, "64")) return 8;
    if (ends_with(type, "F32")) return 4;
    return ends_with(type, "F16") ? 2 : 0;
}

/* One entry of the header; 0: its numbers do not lie in the file. */
static int array_read(array *a, dual_json key, dual_json entry, const char *type,
                      const unsigned char *data, size_t size) {
    const size_t width = type_width(type);
    double from = 0, shape[4];
    dual_json_string(key, a->name, sizeof a->name);
    numbers(dual_json_get(entry, "data_offsets"), 1, &from);
    a->rank = numbers(dual_json_get(entry, "shape"), 4, shape);
    a->count = 1;
    for (size_t i = 0; i < a->rank; i++) {
        a->shape[i] = (size_t)shape[i];
        a->count *= a->shape[i];
    }
    if (!(from + (double)(a->count * width) <= (double)size)) return 0;
    a->data = new_cleared(a->count, sizeof *a->data);
    for (size_t i = 0; i < a->count; i++)
        a->data[i] = decode(data + (size_t)from + i * width, type, width);
    return 1;
}

static int archive_read(archive *a, const char *path) {
    size_t length, n = 0;
    uint64_t head = 0;
    char *text = read_whole(path, &length);
    if (text == NULL || length < 8) return refused(path);
    for (size_t i = 0; i < 8; i++) head |= (uint64_t)(unsigned char)text[i] << 8 * i;
    if (head > length - 8) return refused(path);
    const dual_json header = dual_json_text(text + 8, (size_t)head, NULL, 0);
    const unsigned char *data = (unsigned char *)text + 8 + (size_t)head;
    for (dual_json key = {0}, value = {0}; dual_json_each(header, &key, &value);) n++;
    a->array = new_cleared(n, sizeof *a->array);
    a->n = 0;
    for (dual_json key = {0}, value = {0}; dual_json_each(header, &key, &value);) {
        char type[16] = "";
        dual_json_string(dual_json_get(value, "dtype"), type, sizeof type);
        if (type_width(type) == 0) continue;       /* the notes have none either */
        if (!array_read(&a->array[a->n], key, value, type, data, length - 8 - (size_t)head))
            return refused(path);
        a->n++;
    }
    return 1;
}

static const array *find(const archive *a, const char *name) {
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->array[i].name, name) == 0) return &a->array[i];
    return NULL;
}

/* A double build prefers the float64 run's values and is then held to them closely. */
static const array *most_exact(const archive *a, const char *name) {
    const array *exact = IN_DOUBLE ? find(a, text_of("%s_f64", name)) : NULL;
    return exact ? exact : find(a, name);
}

static double tolerance_of(const array *a) {
    return a && IN_DOUBLE && ends_with(a->name, "_f64") ? tol_exact : tol_activation;
}

/* Token ids for the library, which keeps the pointer: they live until the next check. */
static int32_t *ids(const array *a, size_t first, size_t n) {
    int32_t *out = new_cleared(n, sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)a->data[first + i];
    return out;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* The i-th of data or grad. */
static double element(const dual_tensor *t, const dual_real *data, size_t i) {
    return (double)data[i / t->cols * t->stride + i % t->cols];
}

static double largest_difference(const double *a, const double *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = larger(worst, fabs(a[i] - b[i]));
    return worst;
}

/* Our tensor against the elements from `skip` on. Missing or of another size is infinitely far,
 * so no caller needs to ask first, and nothing passes for want of a counterpart. */
static double distance(const dual_tensor *t, const array *a, size_t skip) {
    double worst = 0;
    if (!t || !a || t->rows * t->cols + skip != a->count) return HUGE_VAL;
    for (size_t i = skip; i < a->count; i++)
        worst = larger(worst, fabs(element(t, t->data, i - skip) - a->data[i]));
    return worst;
}

static void set_tensor(dual_tensor *t, const array *a) {
    for (size_t i = 0; i < t->rows * t->cols; i++)
        t->data[i / t->cols * t->stride + i % t->cols] = (dual_real)a->data[i];
}

static dual_tensor *parameter(const dual_model *m, const char *name) {
    for (size_t i = 0; m && i < m->n_params; i++)
        if (strcmp(m->param[i].name, name) == 0) return m->param[i].tensor;
    return NULL;
}

/* Sizes of our gradient, of theirs where it is stored, of their difference, and our product with a
 * fixed vector of cosines. */
typedef struct { double ours, theirs, error, dot; } gradient_sizes;

static gradient_sizes measure_gradient(const dual_tensor *t, const array *whole) {
    gradient_sizes s = {0};
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        const double g = t->grad ? element(t, t->grad, i) : 0;    /* none: zero by structure */
        const double w = whole ? whole->data[i] : 0;
        s.ours += g * g;
        s.theirs += w * w;
        s.error += (g - w) * (g - w);
        s.dot += g * cos(0.1 + (double)i);
    }
    s.ours = sqrt(s.ours);
    s.theirs = sqrt(s.theirs);
    s.error = sqrt(s.error);
    return s;
}

/* One gradient: whole if it is stored, else by its norm and its product with that vector. */
static void check_gradient(const char *name, const dual_tensor *t, const array *whole,
                           dual_json summary, int must_be_zero) {
    if (t == NULL || (whole && whole->count != t->rows * t->cols)) {
        item(HUGE_VAL, 0, "%s: not here, or of another size", name);
        return;
    }
    const double norm = number(summary, "l2"), dot = number(summary, "dot_cos");
    const double cosines = sqrt((double)(t->rows * t->cols));
    const gradient_sizes s = measure_gradient(t, whole);
    if (must_be_zero) item(s.ours, 0, "%s is zero", name);
    else if (whole && s.theirs < 1e-6) item(s.error, tol_tiny, "%s", name);
    else if (whole) item(s.error / s.theirs, tol_gradient, "%s", name);
    else if (norm < 1e-6) item(fabs(s.ours - norm), tol_tiny, "%s, norm", name);
    else {
        item(fabs(s.ours - norm) / norm, tol_norm, "%s, norm", name);
        /* an error e of the gradient moves the product by at most |e| |cosines| */
        if (dual_json_get(summary, "dot_cos").begin)
            item(fabs(s.dot - dot) / (norm * cosines), tol_norm, "%s, product", name);
    }
}

/* Every gradient the JSON tells of; `stored` are the files that may hold it whole. A key is a
 * parameter of the Base, bare or with "B.", one of the Coprocessor with "C.", or S or E. */
static void check_gradients(dual_json about, size_t n_stored, const archive *stored,
                            const dual_exchange *e, dual_tensor *cue) {
    dual_json grads = dual_json_get(about, "grads"), zero = dual_json_get(about, "zero_gradient");
    for (dual_json key = {0}, value = {0}; dual_json_each(grads, &key, &value);) {
        const array *whole = NULL;
        const dual_tensor *t;
        char name[160];
        dual_json_string(key, name, sizeof name);
        for (size_t i = 0; i < n_stored && !whole; i++) {
            whole = find(&stored[i], text_of("grad.%s", name));
            if (!whole) whole = find(&stored[i], name);
        }
        if (!strcmp(name, "S")) t = e->soft.tensor;
        else if (!strcmp(name, "E")) t = cue;
        else if (starts_with(name, "C.")) t = parameter(e->coprocessor, name + 2);
        else t = parameter(e->base, starts_with(name, "B.") ? name + 2 : name);
        check_gradient(name, t, whole, value, listed(zero, name));
    }
}

/* ---- models ---------------------------------------------------------------------------------- */

static dual_model *model_open(const char *root, const char *name) {
    const char *folder = text_of("%s/models/%s", root, name);
    dual_config shape;
    if (dual_config_read(&ctx, folder, &shape)) {
        dual_model *m = dual_model_new(&ctx, &shape);
        if (dual_model_load(&ctx, m, folder)) return m;
    }
    refused(name);
    return NULL;
}

/* Every tensor of the folder's files against the parameter it must have filled. What fills none
 * is a mask buffer, or a tied model's needless copy of its embedding. */
static void check_model(const char *root, const char *name) {
    dual_model *m = model_open(root, name);
    listing *files = list_folder(text_of("%s/models/%s", root, name));
    size_t found = 0;
    double worst = 0;
    for (int i = 0; m && i < files->n; i++) {
        const char *file = files->name[i];
        archive a;
        if (!ends_with(file, ".safetensors")) continue;
        if (!archive_read(&a, text_of("%s/models/%s/%s", root, name, file))) continue;
        for (size_t k = 0; k < a.n; k++) {
            const dual_tensor *t = parameter(m, a.array[k].name);
            if (!t) t = parameter(m, text_of("transformer.%s", a.array[k].name));
            if (t) found++;
            if (t) worst = larger(worst, distance(t, &a.array[k], 0));
            else if (m->config.tied && !strcmp(a.array[k].name, "lm_head.weight"))
                item(distance(m->head, &a.array[k], 0), 0, "%s: tied, with a head", name);
        }
    }
    free(files);
    if (m) item(found == m->n_params ? worst : HUGE_VAL, 0, "%s", name);
}

/* The same weights in another layout must load to the same bits: no tolerance, and no luck. */
static void check_twins(const char *root, const char *name, const char *twin) {
    dual_model *a = model_open(root, name), *b = model_open(root, twin);
    double different = 0;
    for (size_t i = 0; a && b && i < a->n_params; i++) {
        const dual_tensor *s = a->param[i].tensor, *t = parameter(b, a->param[i].name);
        for (size_t k = 0; t && k < s->rows; k++)
            different += memcmp(s->data + k * s->stride, t->data + k * t->stride,
                                s->cols * sizeof *s->data) != 0;
        different += t == NULL;
    }
    if (a && b) item(a->n_params == b->n_params ? different : HUGE_VAL, 0, "%s", twin);
}

static void check_models(const char *root, const listing *models) {
    group_begin("models, against their own files");
    for (int i = 0; i < models->n; i++) {
        reset_context();
        check_model(root, models->name[i]);
    }
    group_begin("models, other layouts bit for bit");
    for (int i = 0; i < models->n; i++)
        for (int k = 0; k < models->n; k++) {
            const char *name = models->name[i], *twin = models->name[k];
            reset_context();
            if (!strcmp(twin, text_of("%s-noprefix", name)) ||
                !strcmp(twin, text_of("%s-sharded", name)))
                check_twins(root, name, twin);
        }
}

/* ---- one model: forward/ and the batches of adamw/ ------------------------------------------- */

/* Padded tokens as ragged sequences; labels are the tokens themselves, not shifted. */
typedef struct { size_t n, *length; int32_t **token, **label; } ragged;

static int ragged_read(ragged *r, const archive *a, const char *end) {
    const array *token = find(a, text_of("input_ids%s", end));
    const array *label = find(a, text_of("labels%s", end));
    const array *mask = find(a, text_of("attention_mask%s", end));
    if (!token || !mask || !label || token->rank != 2 || mask->count != token->count ||
        label->count != token->count)
        return refused("no batch of tokens");
    const size_t width = token->shape[1];
    r->n = token->shape[0];
    r->length = new_cleared(r->n, sizeof *r->length);
    r->token = new_cleared(r->n, sizeof *r->token);
    r->label = new_cleared(r->n, sizeof *r->label);
    for (size_t b = 0; b < r->n; b++) {
        for (size_t t = 0; t < width; t++) r->length[b] += mask->data[b * width + t] == 1;
        r->token[b] = ids(token, b * width, width);
        r->label[b] = ids(label, b * width, width);
    }
    return 1;
}

/* To train on all of it: no text, the first token is the cue, the rest are targets. To continue
 * it: all but the last token are text, the last is the cue. */
enum { TO_TRAIN, TO_CONTINUE };

static dual_batch ragged_batch(const ragged *r, int to_continue) {
    dual_group *g = new_cleared(r->n, sizeof *g);
    size_t *length = new_cleared(r->n, sizeof *length);
    for (size_t b = 0; b < r->n; b++) {
        length[b] = to_continue ? r->length[b] - 1 : 0;
        g[b] = (dual_group){.sequence = b, .prefix = length[b], .cue = r->token[b] + length[b],
                            .n_cue = 1, .target = r->label[b] + 1,
                            .n_target = to_continue ? 0 : r->length[b] - 1};
    }
    return (dual_batch){.n_sequences = r->n, .text = (const int32_t *const *)r->token,
                        .length = length, .n_groups = r->n, .group = g};
}

/* A pass over tokens from[b] .. to[b]-1 of every sequence at once. Those before from[b] are the
 * rows of `past`, laid one sequence after another just as the rows here are. */
static dual_pass lay_out_pass(dual_model *m, const ragged *r, const size_t *from, const size_t *to,
                              const dual_cache *past) {
    size_t rows = 0, row = 0, past_row = 0;
    for (size_t b = 0; b < r->n; b++) rows += to[b] - from[b];
    int32_t *token = new_cleared(rows, sizeof *token);
    int32_t *position = new_cleared(rows, sizeof *position);
    int32_t *own_begin = new_cleared(rows, sizeof *own_begin);
    int32_t *own_end = new_cleared(rows, sizeof *own_end);
    int32_t *past_begin = new_cleared(rows, sizeof *past_begin);
    int32_t *past_end = new_cleared(rows, sizeof *past_end);
    int32_t *segment_start = new_cleared(r->n + 1, sizeof *segment_start);
    for (size_t b = 0; b < r->n; b++) {
        segment_start[b] = (int32_t)row;
        for (size_t t = from[b]; t < to[b]; t++, row++) {
            token[row] = r->token[b][t];
            position[row] = (int32_t)t;
            own_begin[row] = segment_start[b];
            own_end[row] = (int32_t)row + 1;
            past_begin[row] = (int32_t)past_row;
            past_end[row] = (int32_t)(past_row + from[b]);
        }
        past_row += from[b];
    }
    segment_start[r->n] = (int32_t)row;
    dual_seen *seen = new_cleared(2, sizeof *seen);
    seen[0] = (dual_seen){NULL, own_begin, own_end};
    seen[1] = (dual_seen){past, past_begin, past_end};
    return (dual_pass){.name = "read", .model = m, .rows = rows, .segments = r->n,
                       .n_seen = past ? 2 : 1, .token = token, .position = position,
                       .segment_start = segment_start, .seen = seen,
                       .input = dual_gather(&ctx, 1, &m->wte, rows, NULL, token)};
}

/* Ragged rows, less `drop` of each sequence, against padded [B,T,d] or [B,heads,T,head_dim]. */
static double ragged_distance(const dual_tensor *t, const array *a, const ragged *r, size_t drop) {
    if (!t || !a || a->rank < 3 || a->shape[0] != r->n) return HUGE_VAL;
    const size_t heads = a->rank == 4 ? a->shape[1] : 1;
    const size_t steps = a->shape[a->rank - 2], width = a->shape[a->rank - 1];
    size_t row = 0, rows = 0;
    double worst = 0;
    for (size_t b = 0; b < r->n; b++) rows += r->length[b] - drop;
    if (t->rows != rows || t->cols != heads * width) return HUGE_VAL;
    for (size_t b = 0; b < r->n; b++)
        for (size_t step = 0; step < r->length[b] - drop; step++, row++)
            for (size_t c = 0; c < t->cols; c++) {
                const size_t i = ((b * heads + c / width) * steps + step) * width + c % width;
                worst = larger(worst, fabs((double)t->data[row * t->stride + c] - a->data[i]));
            }
    return worst;
}

/* The tensor of a pass that the tree calls by this name; NULL: none, or a float64 twin's. */
static const dual_tensor *tensor_of_pass(const dual_pass *p, const dual_tensor *logits,
                                         const char *name) {
    const size_t layers = p->model->config.layers;
    const char *dot = strchr(name, '.');
    const size_t l = dot ? (size_t)strtoul(dot + 1, NULL, 10) : 0;
    if (ends_with(name, "_f64")) return NULL;
    if (!strcmp(name, "logits")) return logits;
    if (!strcmp(name, "prenorm")) return p->trace[layers];
    if (starts_with(name, "hidden.")) return l < layers ? p->trace[l] : p->hidden;
    if (starts_with(name, "k.") && l < layers) return p->cache.k[l];
    if (starts_with(name, "v.") && l < layers) return p->cache.v[l];
    return NULL;
}

/* Everything the file holds of one ordinary pass over the padded batch. */
static void check_activations(const archive *values, dual_model *m, const ragged *r) {
    const size_t *zero = new_cleared(r->n, sizeof *zero);
    dual_pass p = lay_out_pass(m, r, zero, r->length, NULL);
    p.trace = new_cleared(m->config.layers + 1, sizeof *p.trace);
    const dual_tensor *logits = dual_logits(&ctx, m, dual_forward(&ctx, &p));
    for (size_t i = 0; i < values->n; i++) {
        const char *name = values->array[i].name;
        const dual_tensor *t = tensor_of_pass(&p, logits, name);
        const array *expected = most_exact(values, name);
        if (t) item(ragged_distance(t, expected, r, 0), tolerance_of(expected), "%s", name);
    }
}

/* The end of every sequence in a second pass, against the cache of the first. */
static void check_two_passes(const archive *values, dual_model *m, const ragged *r) {
    const size_t *zero = new_cleared(r->n, sizeof *zero);
    size_t *cut = new_cleared(r->n, sizeof *cut), row = 0;
    for (size_t b = 0; b < r->n; b++) {
        const array *a = find(values, text_of("twopass.%zu.logits", b));
        if (!a || a->rank != 2 || a->shape[0] >= r->length[b]) return;
        cut[b] = r->length[b] - a->shape[0];
    }
    dual_pass first = lay_out_pass(m, r, zero, cut, NULL);
    first.cache_only = 1;
    dual_forward(&ctx, &first);
    dual_pass second = lay_out_pass(m, r, cut, r->length, &first.cache);
    dual_tensor *logits = dual_logits(&ctx, m, dual_forward(&ctx, &second));
    for (size_t b = 0; b < r->n; b++) {
        const array *a = most_exact(values, text_of("twopass.%zu.logits", b));
        const size_t rows = r->length[b] - cut[b];
        item(distance(dual_view(&ctx, logits, row, rows, 0, logits->cols), a, 0),
             tolerance_of(a), "second pass, logits of %zu", b);
        row += rows;
    }
}

/* The preset's choices but for N_L, which the tree's soft tokens say. */
static int exchange_open(dual_exchange *e, const char *system, size_t latents, dual_model *base,
                         dual_model *coprocessor) {
    dual_system s = dual_system_preset(system);
    if (s.latents == SIZE_MAX) return refused(text_of("no system is called %s", system));
    s.latents = latents;
    if (!dual_exchange_new(&ctx, e, &s, base, coprocessor)) return refused("exchange:");
    return 1;
}

static int run(dual_exchange *e, const dual_batch *batch, dual_outcome *out) {
    if (!dual_batch_check(&ctx, e, batch)) return refused("batch:");
    dual_run(&ctx, e, batch, out);
    return 1;
}

static void check_loss(const dual_tensor *loss, double want, const char *name) {
    item(fabs((double)loss->data[0] - want), tol_loss, "%s", name);
}

/* All prompts are continued in one call, as a batch of different lengths. */
static void check_greedy(const archive *values, dual_exchange *e, const ragged *r) {
    const array *first = find(values, "greedy.0.tokens");
    const size_t n = first ? first->count : 0, vocab = e->base->config.vocab;
    const dual_batch batch = ragged_batch(r, TO_CONTINUE);
    if (n == 0) return;
    if (!dual_batch_check(&ctx, e, &batch)) {
        refused("batch:");
        return;
    }
    size_t *length = new_cleared(r->n, sizeof *length);
    int32_t *token = new_cleared(r->n * n, sizeof *token);
    dual_sampling how = {.max_new = n, .end = -1};
    how.logits = new_cleared(r->n * n * vocab, sizeof *how.logits);
    dual_generate(&ctx, e, &batch, &how, token, length);
    for (size_t b = 0; b < r->n; b++) {
        const array *want = find(values, text_of("greedy.%zu.tokens", b));
        const array *logits = most_exact(values, text_of("greedy.%zu.logits", b));
        const dual_tensor ours = {.rows = n, .cols = vocab, .stride = vocab,
                                  .data = how.logits + b * n * vocab};
        double wrong = want && want->count == n ? 0 : HUGE_VAL;
        for (size_t i = 0; wrong < HUGE_VAL && i < n; i++)
            wrong += (double)token[b * n + i] != want->data[i];
        item(wrong, 0, "greedy tokens of %zu", b);
        item(distance(&ours, logits, 0), tolerance_of(logits), "greedy logits of %zu", b);
    }
}

/* The same loss as one on plain text, beside the last token of every text as its target. */
static void check_text_loss(dual_exchange *e, const ragged *r, double want) {
    dual_batch batch = ragged_batch(r, TO_CONTINUE);
    dual_group *g = new_cleared(r->n, sizeof *g);
    for (size_t b = 0; b < r->n; b++) {
        g[b] = batch.group[b];
        g[b].prefix = r->length[b] - 2;
        g[b].cue = r->token[b] + r->length[b] - 2;
        g[b].target = g[b].cue + 1;
        g[b].n_target = 1;
    }
    batch.group = g;
    batch.length = r->length;
    e->system.text_loss = 1;
    dual_outcome out;
    if (run(e, &batch, &out)) check_loss(out.text_loss, want, "loss on plain text");
    e->system.text_loss = 0;
}

/* As the system `none`: its batch is ragged, and its loss one mean over all targets, not a mean of
 * the sequences' means. */
static void check_none(dual_exchange *e, const ragged *r, const archive *values, const char *name,
                       dual_json about, size_t n_stored, const archive *stored) {
    const array *logits = most_exact(values, "logits");
    const dual_batch batch = ragged_batch(r, TO_TRAIN);
    dual_outcome out;
    dual_exchange_train(&ctx, e);
    if (!run(e, &batch, &out)) return;
    check_loss(out.loss, number(about, "loss_f64"), "loss");
    item(fabs((double)out.logits->rows - number(about, "n_valid_targets")), 0, "targets");
    item(ragged_distance(out.logits, logits, r, 1), tolerance_of(logits), "logits of a run");
    group_begin("forward/%s gradients", name);
    dual_backward(&ctx, out.loss);
    check_gradients(about, n_stored, stored, e, NULL);
}

/* The plain model by passes laid out here, then by the exchange. */
static void check_forward(const char *root, const char *name) {
    const char *grads = text_of("%s/forward/%s/grads.safetensors", root, name);
    const size_t n_stored = access(grads, F_OK) == 0;
    archive values, stored;
    dual_exchange e;
    ragged r;
    reset_context();
    group_begin("forward/%s values", name);
    const dual_json about = json_read(text_of("%s/forward/%s/forward.json", root, name));
    if (!about.begin || (n_stored && !archive_read(&stored, grads))) return;
    if (!archive_read(&values, text_of("%s/forward/%s/forward.safetensors", root, name))) return;
    if (!ragged_read(&r, &values, "")) return;
    dual_model *m = model_open(root, name);
    if (!m || !exchange_open(&e, "none", 0, m, NULL)) return;
    check_activations(&values, m, &r);
    check_two_passes(&values, m, &r);
    check_greedy(&values, &e, &r);
    check_text_loss(&e, &r, number(about, "loss_f64"));
    check_none(&e, &r, &values, name, about, n_stored, &stored);
}

/* ---- dual/: the two-model modes and soft ----------------------------------------------------- */

/* How the tree calls a mode: [multipos-]SYSTEM[-i|-ii], i: the prompt's last token is read again
 * after the latents, ii: a vector E is read there. Its h2h1 is our h1h2. */
typedef struct { char system[32]; int multi, reread, vector; } mode_name;

static mode_name mode_of(const char *mode) {
    mode_name m = {0};
    m.multi = starts_with(mode, "multipos-");
    m.vector = ends_with(mode, "-ii");
    m.reread = ends_with(mode, "-i");
    snprintf(m.system, sizeof m.system, "%s", mode + (m.multi ? strlen("multipos-") : 0));
    if (m.vector || m.reread) *strrchr(m.system, '-') = 0;
    if (!strcmp(m.system, "h2h1")) memcpy(m.system, "h1h2", 4);
    return m;
}

/* One group after x, or all groups of the multi-position case in one batch. */
static int mode_batch(dual_batch *batch, const archive *inputs, const mode_name *mode,
                      size_t ahead) {
    const array *x = find(inputs, mode->multi ? "multi.seq" : "x");
    const array *y = mode->multi ? x : find(inputs, "y");
    const array *places = mode->multi ? find(inputs, "multi.positions") : NULL;
    if (!x || !y || (mode->multi && !places)) return refused("inputs are missing");
    const size_t n = places ? places->count : 1;
    size_t *length = new_cleared(1, sizeof *length);
    const int32_t **text = new_cleared(1, sizeof *text);
    dual_group *g = new_cleared(n, sizeof *g);
    length[0] = x->count;
    text[0] = ids(x, 0, x->count);
    for (size_t i = 0; i < n; i++) {
        const size_t first = places ? (size_t)places->data[i] : 0;     /* of the targets, in y */
        if (first + ahead > y->count) return refused("too few targets");
        g[i].prefix = places ? first : x->count;
        g[i].target = ids(y, first, ahead);
        g[i].n_target = ahead;
        g[i].cue = text[0] + g[i].prefix - 1;
        g[i].n_cue = mode->reread ? 1 : 0;
    }
    *batch = (dual_batch){.n_sequences = 1, .text = text, .length = length, .n_groups = n,
                          .group = g};
    return 1;
}

/* Exactly the owners the tree lists are trained; of theirs only what it calls zero may stay out. */
static double wrongly_trained(dual_exchange *e, dual_json about) {
    dual_json owners = dual_json_get(about, "trainable");
    dual_json zero = dual_json_get(about, "zero_gradient");
    dual_json grads = dual_json_get(about, "grads");
    double wrong = 0;
    dual_param *p;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(e, i, &owner)) != NULL; i++) {
        const char *who = text_of("%c", owner);
        const char *key = owner == 'S' ? who : text_of("%s.%s", who, p->name);
        const int is = p->tensor->needs_grad || p->tensor->grad, may = listed(owners, who);
        if (is) wrong += !may || !dual_json_get(grads, key).begin;
        else wrong += may && !listed(zero, key);
    }
    return wrong;
}

/* Z of a system that injects only the cache: its think pass stops there, so it is run again to
 * the end, with the very rows, positions and caches the exchange gave it. */
static dual_tensor *thought(const dual_outcome *out) {
    for (size_t i = 0; i < out->n_passes; i++)
        if (!strcmp(out->pass[i].name, "think")) {
            dual_pass again = out->pass[i];
            again.cache_only = 0;
            return dual_forward(&ctx, &again);
        }
    return NULL;
}

/* No file holds a system with rows at the latents and a cue, but y_0 read as the cue must change
 * nothing for y_1 .. */
static void check_first_as_cue(dual_exchange *e, const dual_batch *batch, const array *logits) {
    dual_group g = batch->group[0];
    dual_batch other = *batch;
    dual_outcome out;
    if (batch->n_groups > 1 || g.n_target < 2) return;
    g.cue = g.target;
    g.n_cue = 1;
    g.target++;
    g.n_target--;
    other.group = &g;
    if (run(e, &other, &out))
        item(distance(out.logits, logits, logits->shape[1]), tolerance_of(logits),
             "logits with y_0 as the cue");
}

/* With a Coprocessor all modes a second time, read and speak in one pass. */
static int fused;

/* What belongs to one mode: C, S and E of a trained Base's mode have the gradients of the frozen
 * one's, stored there. */
typedef struct {
    mode_name name;
    dual_json about;
    archive inputs, stored[2];
    size_t n_stored;
    const array *soft, *E, *logits, *latents;
} mode_files;

static int mode_read(mode_files *f, const char *folder, const char *mode) {
    *f = (mode_files){.name = mode_of(mode), .n_stored = 1};
    f->about = json_read(text_of("%s/%s.json", folder, mode));
    if (!f->about.begin) return 0;
    if (!archive_read(&f->inputs, text_of("%s/inputs.safetensors", folder))) return 0;
    if (!archive_read(&f->stored[0], text_of("%s/%s.safetensors", folder, mode))) return 0;
    const dual_json elsewhere = dual_json_get(f->about, "gradients_of_C_S_E_stored_in");
    if (elsewhere.begin) {
        char file[64];
        dual_json_string(elsewhere, file, sizeof file);
        if (!archive_read(&f->stored[1], text_of("%s/%s", folder, file))) return 0;
        f->n_stored = 2;
    }
    f->soft = find(&f->inputs, f->name.multi ? "multi.S" : "S");
    f->E = find(&f->inputs, "E");
    f->logits = most_exact(&f->stored[0], "logits");
    f->latents = most_exact(&f->stored[0], "Z");
    if (!f->soft || !f->logits || f->logits->rank < 2 || !f->E)
        return refused("tensors are missing");
    return 1;
}

/* The exchange with the tree's soft tokens, and the batch. */
static int mode_open(const mode_files *f, const char *root, const char *name, dual_exchange *e,
                     dual_batch *batch) {
    const size_t ahead = f->logits->shape[f->logits->rank - 2];
    dual_model *base = model_open(root, name), *coprocessor = NULL;
    if (dual_json_type(dual_json_get(f->about, "model_C")) == '"')
        coprocessor = model_open(root, text_of("%s-coproc", name));
    if (!base || !exchange_open(e, f->name.system, f->soft->shape[0], base, coprocessor)) return 0;
    if (!mode_batch(batch, &f->inputs, &f->name, ahead)) return 0;
    set_tensor(e->soft.tensor, f->soft);
    e->system.fused = fused;
    dual_exchange_train(&ctx, e);
    if (f->name.vector) {
        batch->cue_rows = dual_tensor_new(&ctx, 1, f->E->count);
        set_tensor(batch->cue_rows, f->E);
        dual_need_grad(&ctx, batch->cue_rows);
    }
    return 1;
}

/* A mode's values, then its gradients: of whatever the file trains, with the rest proven
 * untouched. */
static void check_mode(const char *root, const char *name, const char *mode) {
    mode_files f;
    dual_exchange e;
    dual_batch batch;
    dual_outcome out;
    if (fused && !strcmp(mode, "soft")) return;
    reset_context();
    group_begin("dual/%s/%s%s values", name, mode, fused ? ", fused" : "");
    if (!mode_read(&f, text_of("%s/dual/%s", root, name), mode)) return;
    if (!mode_open(&f, root, name, &e, &batch)) return;
    if (!f.name.reread && !f.name.vector) check_first_as_cue(&e, &batch, f.logits);
    if (!run(&e, &batch, &out)) return;
    const dual_tensor *latents = e.system.inject == DUAL_KV ? thought(&out) : out.latents;
    check_loss(out.loss, number(f.about, "loss_f64"), "loss");
    item(distance(out.logits, f.logits, 0), tolerance_of(f.logits), "logits");
    item(distance(latents, f.latents, 0), tolerance_of(f.latents), "Z");
    item(wrongly_trained(&e, f.about), 0, "what is trained");
    group_begin("dual/%s/%s%s gradients", name, mode, fused ? ", fused" : "");
    dual_backward(&ctx, out.loss); /* turns the logits into gradients: all else is read by now */
    check_gradients(f.about, f.n_stored, f.stored, &e, batch.cue_rows);
}

/* ---- latent/ and adamw/ ---------------------------------------------------------------------- */

/* The tree's own analysis of some latents. */
typedef struct {
    dual_json about;
    const array *z, *H, *silhouette, *pca;
    size_t n, slots, clusters;
} latent_files;

static int latent_read(latent_files *f, const char *root) {
    archive a;
    f->about = json_read(text_of("%s/latent/latent.json", root));
    if (!f->about.begin) return 0;
    if (!archive_read(&a, text_of("%s/latent/latents.safetensors", root))) return 0;
    f->z = find(&a, "Z");
    f->H = find(&a, "H");
    f->silhouette = find(&a, "silhouette");
    f->pca = find(&a, "pca");
    f->n = f->z && f->z->rank == 3 ? f->z->shape[0] : 0;
    f->slots = f->n ? f->z->shape[1] : 0;
    f->clusters = (size_t)number(f->about, "k");
    const size_t points = f->n * f->slots;
    if (!points || !f->H || f->H->count != f->slots * f->slots || !f->silhouette ||
        f->silhouette->count != points || !f->pca || f->pca->count != 2 * points)
        return refused("tensors are missing or misshapen");
    return 1;
}

/* An axis has no sign of its own. */
static double pca_distance(const double *ours, const array *theirs) {
    double worst = 0;
    for (size_t axis = 0; axis < 2; axis++) {
        double dot = 0;
        for (size_t i = axis; i < theirs->count; i += 2) dot += ours[i] * theirs->data[i];
        const double sign = dot < 0 ? -1 : 1;
        for (size_t i = axis; i < theirs->count; i += 2)
            worst = larger(worst, fabs(sign * ours[i] - theirs->data[i]));
    }
    return worst;
}

static double mean_of_list(dual_json list) {
    double value[64], mean = 0;
    const size_t n = numbers(list, 64, value);
    for (size_t i = 0; i < n; i++) mean += value[i] / (double)n;
    return mean;
}

/* In double whatever dual_real is, so always held to the close tolerance. */
static void check_latents(const char *root) {
    latent_files f;
    reset_context();
    group_begin("latent");
    if (!latent_read(&f, root)) return;
    double *H = new_cleared(f.H->count, sizeof *H);
    double *silhouette = new_cleared(f.silhouette->count, sizeof *silhouette);
    double *pca = new_cleared(f.pca->count, sizeof *pca);
    double ratio[2], want[2] = {(double)NAN, (double)NAN};
    latents_view out;
    if (!latents_analyse(&ctx, f.z->data, f.n, f.slots, f.z->shape[2], 1, &f.clusters, &out, H,
                         NULL, silhouette, pca, ratio)) {
        refused("analysis:");
        return;
    }
    const double h_diag = mean_of_list(dual_json_get(f.about, "H_diag"));
    item(largest_difference(H, f.H->data, f.H->count), tol_exact, "H");
    item(fabs(out.h_off - number(f.about, "H_off")), tol_exact, "H_off");
    item(fabs(out.h_diag - h_diag), tol_exact, "H_diag, mean");
    item(largest_difference(silhouette, f.silhouette->data, f.silhouette->count), tol_exact,
         "silhouette");
    item(fabs(out.silhouette - number(f.about, "silhouette_mean")), tol_exact, "silhouette, mean");
    item(pca_distance(pca, f.pca), tol_exact, "PCA up to sign");
    numbers(dual_json_get(f.about, "pca_explained_variance_ratio"), 2, want);
    item(largest_difference(ratio, want, 2), tol_exact, "PCA explained variance ratio");
}

/* Final parameters. The key third of GPT-2's c_attn.bias shifts all scores of a row alike: its
 * true gradient is zero, and Adam makes steps of the learning rate's size out of rounding noise. */
static void check_parameters(const dual_model *m, const archive *want) {
    for (size_t i = 0; i < m->n_params; i++) {
        const char *name = m->param[i].name;
        const dual_tensor *t = m->param[i].tensor;
        const array *a = find(want, name);
        const int bias = m->config.family == DUAL_GPT2 && ends_with(name, ".attn.c_attn.bias");
        double worst = a && a->count == t->rows * t->cols ? 0 : HUGE_VAL, loose = 0;
        for (size_t k = 0; worst < HUGE_VAL && k < a->count; k++) {
            const double error = fabs(element(t, t->data, k) - a->data[k]);
            if (bias && k / m->config.hidden == 1) loose = larger(loose, error);
            else worst = larger(worst, error);
        }
        item(worst, tol_parameter, "%s", name);
        if (bias) item(loose, tol_key_bias, "%s[k]", name);
    }
}

/* Learning rates; losses, the last of them after the last step; norms before clipping. */
typedef struct { size_t n; double rate[MAX_STEPS], loss[MAX_STEPS + 1], norm[MAX_STEPS]; } steps;

static int steps_read(steps *s, dual_json about) {
    dual_json norms = dual_json_get(about, "grad_norm_before_clip_f64");
    s->n = numbers(dual_json_get(about, "lr"), MAX_STEPS, s->rate);
    if (s->n == 0 || numbers(dual_json_get(about, "loss_f64"), MAX_STEPS, s->loss) != s->n ||
        numbers(norms, MAX_STEPS, s->norm) != s->n)
        return refused("not one learning rate, loss and norm per step");
    s->loss[s->n] = number(about, "loss_after_last_step_on_batch_0_f64");
    return 1;
}

/* Every step under the listed learning rate; after the last, the first batch's loss once more. */
static int check_steps(dual_exchange *e, const steps *list, const archive *batches) {
    dual_adamw adamw;
    dual_exchange_train(&ctx, e);
    dual_adamw_new(&ctx, &adamw, e);
    for (size_t s = 0; s <= list->n; s++) {
        const dual_mark mark = dual_mark_here(&ctx);
        dual_outcome out;
        ragged r;
        if (!ragged_read(&r, batches, text_of(".%zu", s % list->n))) return 0;
        const dual_batch batch = ragged_batch(&r, TO_TRAIN);
        if (!run(e, &batch, &out)) return 0;
        check_loss(out.loss, list->loss[s], text_of("loss after %zu steps", s));
        if (s < list->n) {
            dual_backward(&ctx, out.loss);
            const double norm = dual_adamw_step(&ctx, &adamw, list->rate[s]);
            item(fabs(norm / list->norm[s] - 1), tol_norm, "norm %zu", s);
        }
        dual_release(&ctx, mark);
    }
    return 1;
}

static void check_adamw(const char *root, const char *name, const char *schedule) {
    const char *folder = text_of("%s/adamw/%s", root, name);
    archive batches, final;
    dual_exchange e;
    steps list;
    reset_context();
    group_begin("adamw/%s/%s losses, norms", name, schedule);
    const dual_json about = json_read(text_of("%s/adamw-%s.json", folder, schedule));
    if (!about.begin || !archive_read(&batches, text_of("%s/batches.safetensors", folder))) return;
    if (!archive_read(&final, text_of("%s/final-%s.safetensors", folder, schedule))) return;
    dual_model *m = model_open(root, name);
    if (!m || !exchange_open(&e, "none", 0, m, NULL) || !steps_read(&list, about)) return;
    if (!check_steps(&e, &list, &batches)) return;
    group_begin("adamw/%s/%s parameters", name, schedule);
    check_parameters(m, &final);
}

/* ---- all of a tree --------------------------------------------------------------------------- */

/* Calls check(root, folder, NAME) for every PART/folder/START NAME.json */
static void check_each(const char *root, const char *part, const char *start,
                       void (*check)(const char *, const char *, const char *)) {
    listing *folders = list_folder(text_of("%s/%s", root, part));
    for (int i = 0; i < folders->n; i++) {
        listing *files = list_folder(text_of("%s/%s/%s", root, part, folders->name[i]));
        for (int k = 0; k < files->n; k++) {
            char *file = files->name[k];
            if (!ends_with(file, ".json") || !starts_with(file, start)) continue;
            *strrchr(file, '.') = 0;
            check(root, folders->name[i], file + strlen(start));
        }
        free(files);
    }
    free(folders);
}

static void check_tree(const char *root) {
    static const char *const parts[] = {"models", "forward", "dual", "latent", "adamw"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *part = parts[i];
        listing *inside = list_folder(text_of("%s/%s", root, part));
        if (inside->n < 1) {
            printf("%s: not in this tree, skipped\n", part);
        } else if (!strcmp(part, "models")) {
            check_models(root, inside);
        } else if (!strcmp(part, "forward")) {
            for (int k = 0; k < inside->n; k++) check_forward(root, inside->name[k]);
        } else if (!strcmp(part, "dual")) {
            for (fused = 0; fused < 2; fused++) check_each(root, part, "", check_mode);
        } else if (!strcmp(part, "latent")) {
            check_latents(root);
        } else {
            check_each(root, part, "adamw-", check_adamw);
        }
        free(inside);
    }
    group_begin("end");            /* prints the last group */
}

int main(int argc, char **argv) {
    const char *root = NULL;
    long want = -1;
    int wrong = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list")) list_all = 1;
        else if (!strcmp(argv[i], "--items") && i + 1 < argc) want = strtol(argv[++i], NULL, 10);
        else if (argv[i][0] != '-' && !root) root = argv[i];
        else wrong = 1;
    }
    block = malloc((size_t)BLOCK_MIB << 20);
    if (wrong || !root || !block) {
        fprintf(stderr, block ? "usage: parity [--items N] [--list] FOLDER\n" : "no memory\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what was judged shows even if a later check aborts */
    check_tree(root);
    free(block);
    printf("items: %zu\n%zu passed, %zu failed\n", n_items, n_items - n_failed, n_failed);
    if (n_items == 0) printf("nothing was found in %s\n", root);
    if (want >= 0 && (size_t)want != n_items) printf("FAIL: %ld items were expected\n", want);
    return n_items == 0 || n_failed || (want >= 0 && (size_t)want != n_items);
}
