/* tests/parity.c - judges this build against a tree of reference values.
 *
 *     tests/parity [--items N] [--list] tests/reference
 *
 * The tree's own README.md explains its layout and every formula. All names, shapes and counts are
 * read from it: another tree of that layout needs no change here. A part that is missing is skipped
 * with a word, a tree where nothing was found is a failure. Activations are judged by the largest
 * absolute difference, gradients by ||ours - theirs|| / ||theirs|| per tensor. A double build is
 * held to the float64 run where that is stored. --items N fails unless exactly N items were made,
 * so that a file which went missing shows; --list prints every item, not only the worst. */
#define _POSIX_C_SOURCE 200809L    /* scandir, access */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dual.h"
#include "data/runs/latents.h"

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

static void fresh(void) { dual_init(&ctx, block, (size_t)BLOCK_MIB << 20); }

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
    int ok = error <= tolerance;   /* so written, a NaN on either side fails */
    double ratio = tolerance > 0 && error < HUGE_VAL ? error / tolerance : ok ? 0 : HUGE_VAL;
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

/* The larger, where NaN counts as larger than anything and is never lost again. */
static double worse(double a, double b) { return b > a || isnan(b) ? b : a; }

/* ---- the tree's files; whatever is read lives in ctx until the next check -------------------- */

/* A formatted string in one of a few buffers used in turn: good for the next handful of calls. */
static const char *say(const char *format, ...) {
    static char buffer[16][1024];
    static size_t turn;
    char *out = buffer[turn++ % 16];
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
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Cleared. */
static void *take(size_t count, size_t size) {
    return memset(dual_alloc(&ctx, count + 1, size), 0, count * size);
}

static char *slurp(const char *path, size_t *length) {
    char *text = dual_text_read(&ctx, path, length), *kept = NULL;
    if (text) kept = memcpy(take(*length + 1, 1), text, *length);
    free(text);
    return kept;
}

/* Names in a folder, sorted; scandir's own memory, as a listing outlives many checks. */
typedef struct { int n; struct dirent **entry; } listing;

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

static listing list_folder(const char *folder) {
    listing l = {0, NULL};
    l.n = scandir(folder, &l.entry, visible, alphasort);
    return l;
}

static void list_free(listing *l) {
    while (l->n > 0) free(l->entry[--l->n]);
    free(l->entry);
}

static dual_json json_read(const char *path) {
    size_t length;
    char *text = slurp(path, &length);
    dual_json json = {NULL, NULL};
    if (text) json = dual_json_text(text, length);
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

static double decode(const unsigned char *p, const char *type, size_t width) {
    uint64_t bits = 0;
    uint32_t word;
    float narrow;
    double wide;
    for (size_t i = 0; i < width; i++) bits |= (uint64_t)p[i] << 8 * i;
    if (!strcmp(type, "I64"))      /* two's complement without an implementation-defined cast */
        return bits >> 63 ? -(double)~bits - 1 : (double)bits;
    if (!strcmp(type, "F64")) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (!strcmp(type, "F16")) {
        int exponent = bits >> 10 & 31, sign = bits >> 15 ? -1 : 1;
        double fraction = (double)(bits & 1023) + (exponent ? 1024 : 0);
        if (exponent == 31) return fraction > 1024 ? NAN : sign * HUGE_VAL;
        return sign * ldexp(fraction, (exponent ? exponent : 1) - 25);
    }
    word = (uint32_t)(width == 2 ? bits << 16 : bits); /* bf16 is the upper half of a float */
    memcpy(&narrow, &word, sizeof narrow);
    return narrow;
}

static int archive_read(archive *a, const char *path) {
    size_t length, head = 0, n = 0;
    char *text = slurp(path, &length);
    dual_json header;
    if (text == NULL || length < 8) return refused(path);
    for (size_t i = 0; i < 8; i++) head |= (size_t)(unsigned char)text[i] << 8 * i;
    if (head > length - 8) return refused(path);
    header = dual_json_text(text + 8, head);
    for (dual_json key = {0}, value = {0}; dual_json_each(header, &key, &value);) n++;
    a->array = take(n, sizeof *a->array);
    a->n = 0;
    for (dual_json key = {0}, value = {0}; dual_json_each(header, &key, &value);) {
        array *now = &a->array[a->n];
        double from = 0, shape[4];
        char type[16] = "";
        size_t width;
        dual_json_string(dual_json_get(value, "dtype"), type, sizeof type);
        width = ends_with(type, "64") ? 8 : ends_with(type, "F32") ? 4
              : ends_with(type, "F16") ? 2 : 0;
        if (width == 0) continue;  /* the notes, or a mask in bytes */
        dual_json_string(key, now->name, sizeof now->name);
        numbers(dual_json_get(value, "data_offsets"), 1, &from);
        now->rank = numbers(dual_json_get(value, "shape"), 4, shape);
        now->count = 1;
        for (size_t i = 0; i < now->rank; i++) now->count *= now->shape[i] = (size_t)shape[i];
        if (!(from + (double)(now->count * width) <= (double)(length - 8 - head)))
            return refused(path);
        now->data = take(now->count, sizeof *now->data);
        for (size_t i = 0; i < now->count; i++)
            now->data[i] = decode((unsigned char *)text + 8 + head + (size_t)from + i * width,
                                  type, width);
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
static const array *best(const archive *a, const char *name) {
    const array *exact = IN_DOUBLE ? find(a, say("%s_f64", name)) : NULL;
    return exact ? exact : find(a, name);
}

static double tolerance_of(const array *a) {
    return a && IN_DOUBLE && ends_with(a->name, "_f64") ? tol_exact : tol_activation;
}

/* Token ids for the library, which keeps the pointer: they live until the next check. */
static int32_t *ids(const array *a, size_t first, size_t n) {
    int32_t *out = take(n, sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)a->data[first + i];
    return out;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* The i-th of data or grad. */
static double at(const dual_tensor *t, const dual_real *data, size_t i) {
    return (double)data[i / t->cols * t->stride + i % t->cols];
}

static double apart(const double *a, const double *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = worse(worst, fabs(a[i] - b[i]));
    return worst;
}

/* Our tensor against the elements from `skip` on. Missing or of another size is infinitely far,
 * so no caller needs to ask first, and nothing passes for want of a counterpart. */
static double distance(const dual_tensor *t, const array *a, size_t skip) {
    double worst = 0;
    if (!t || !a || t->rows * t->cols + skip != a->count) return HUGE_VAL;
    for (size_t i = skip; i < a->count; i++)
        worst = worse(worst, fabs(at(t, t->data, i - skip) - a->data[i]));
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

/* One gradient: whole if it is stored, else by its norm and its product with a fixed vector. */
static void check_gradient(const char *name, const dual_tensor *t, const array *whole,
                           dual_json summary, int must_be_zero) {
    double error = 0, theirs = 0, ours = 0, dot = 0, norm = number(summary, "l2");
    if (t == NULL || (whole && whole->count != t->rows * t->cols)) {
        item(HUGE_VAL, 0, "%s: not here, or of another size", name);
        return;
    }
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        double g = t->grad ? at(t, t->grad, i) : 0; /* none kept: it is zero by structure */
        double w = whole ? whole->data[i] : 0;
        ours += g * g;
        theirs += w * w;
        error += (g - w) * (g - w);
        dot += g * cos(0.1 + (double)i);
    }
    if (must_be_zero) item(sqrt(ours), 0, "%s is zero", name);
    else if (whole && theirs < 1e-12) item(sqrt(error), tol_tiny, "%s", name);
    else if (whole) item(sqrt(error / theirs), tol_gradient, "%s", name);
    else if (norm < 1e-6) item(fabs(sqrt(ours) - norm), tol_tiny, "%s, norm", name);
    else {
        item(fabs(sqrt(ours) - norm) / norm, tol_norm, "%s, norm", name);
        /* An error e of the gradient moves the product by at most |e| |cosines|. */
        if (dual_json_get(summary, "dot_cos").begin)
            item(fabs(dot - number(summary, "dot_cos"))
                 / (norm * sqrt((double)(t->rows * t->cols))), tol_norm, "%s, product", name);
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
            whole = find(&stored[i], say("grad.%s", name));
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
    const char *folder = say("%s/models/%s", root, name);
    dual_config shape;
    dual_model *m;
    if (!dual_config_read(&ctx, folder, &shape)) return refused(name), NULL;
    m = dual_model_new(&ctx, &shape);
    if (!dual_model_load(&ctx, m, folder)) return refused(name), NULL;
    return m;
}

/* Every tensor of the folder's files against the parameter it must have filled. What fills none
 * is a mask buffer, or a tied model's needless copy of its embedding. */
static void check_model(const char *root, const char *name) {
    dual_model *m = model_open(root, name);
    listing files = list_folder(say("%s/models/%s", root, name));
    size_t found = 0;
    double worst = 0;
    for (int i = 0; m && i < files.n; i++) {
        const char *file = files.entry[i]->d_name;
        archive a;
        if (!ends_with(file, ".safetensors")
            || !archive_read(&a, say("%s/models/%s/%s", root, name, file))) continue;
        for (size_t k = 0; k < a.n; k++) {
            const dual_tensor *t = parameter(m, a.array[k].name);
            if (!t) t = parameter(m, say("transformer.%s", a.array[k].name));
            found += t != NULL;
            if (t) worst = worse(worst, distance(t, &a.array[k], 0));
            else if (m->config.tied && !strcmp(a.array[k].name, "lm_head.weight"))
                item(distance(m->head, &a.array[k], 0), 0, "%s: tied, with a head", name);
        }
    }
    list_free(&files);
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
        fresh();
        check_model(root, models->entry[i]->d_name);
    }
    group_begin("models, other layouts bit for bit");
    for (int i = 0; i < models->n; i++)
        for (int k = 0; k < models->n; k++) {
            const char *name = models->entry[i]->d_name, *twin = models->entry[k]->d_name;
            fresh();
            if (!strcmp(twin, say("%s-noprefix", name)) || !strcmp(twin, say("%s-sharded", name)))
                check_twins(root, name, twin);
        }
}

/* ---- one model: forward/ and the batches of adamw/ ------------------------------------------- */

/* Padded tokens as ragged sequences; labels are the tokens themselves, not shifted. */
typedef struct { size_t n, *length; int32_t **token, **label; } ragged;

static int ragged_read(ragged *r, const archive *a, const char *end) {
    const array *token = find(a, say("input_ids%s", end)), *label = find(a, say("labels%s", end));
    const array *mask = find(a, say("attention_mask%s", end));
    if (!token || !mask || !label || token->rank != 2 || mask->count != token->count
        || label->count != token->count) return refused("no batch of tokens");
    r->n = token->shape[0];
    r->length = take(r->n, sizeof *r->length);
    r->token = take(r->n, sizeof *r->token);
    r->label = take(r->n, sizeof *r->label);
    for (size_t b = 0, width = token->shape[1]; b < r->n; b++) {
        for (size_t t = 0; t < width; t++) r->length[b] += mask->data[b * width + t] == 1;
        r->token[b] = ids(token, b * width, width);
        r->label[b] = ids(label, b * width, width);
    }
    return 1;
}

/* To train on all of it: no text, the first token is the cue, the rest are targets. To continue
 * it: all but the last token are text, the last is the cue. */
static dual_batch ragged_batch(const ragged *r, int to_continue) {
    dual_batch batch = {0};
    dual_group *g = take(r->n, sizeof *g);
    size_t *length = take(r->n, sizeof *length);
    for (size_t b = 0; b < r->n; b++) {
        g[b].sequence = b;
        g[b].prefix = length[b] = to_continue ? r->length[b] - 1 : 0;
        g[b].cue = r->token[b] + length[b];
        g[b].n_cue = 1;
        g[b].target = r->label[b] + 1;
        g[b].n_target = to_continue ? 0 : r->length[b] - 1;
    }
    batch.n_sequences = batch.n_groups = r->n;
    batch.text = (const int32_t *const *)r->token;
    batch.length = length;
    batch.group = g;
    return batch;
}

/* A pass over tokens from[b] .. to[b]-1 of every sequence at once. Those before from[b] are the
 * rows of `past`, laid one sequence after another just as the rows here are. */
static dual_pass lay_out(dual_model *m, const ragged *r, const size_t *from, const size_t *to,
                         const dual_cache *past) {
    dual_pass p = {0};
    size_t row = 0, past_row = 0;
    int32_t *token, *position, *border, *range[4]; /* range: begin, end here; begin, end in past */
    dual_seen *seen = take(2, sizeof *seen);
    for (size_t b = 0; b < r->n; b++) p.rows += to[b] - from[b];
    token = take(p.rows, sizeof *token);
    position = take(p.rows, sizeof *position);
    border = take(r->n + 1, sizeof *border);
    for (int i = 0; i < 4; i++) range[i] = take(p.rows, sizeof **range);
    for (size_t b = 0; b < r->n; past_row += from[b++]) {
        border[b] = (int32_t)row;
        for (size_t t = from[b]; t < to[b]; t++, row++) {
            token[row] = r->token[b][t];
            position[row] = (int32_t)t;
            range[0][row] = border[b];
            range[1][row] = (int32_t)row + 1;
            range[2][row] = (int32_t)past_row;
            range[3][row] = (int32_t)(past_row + from[b]);
        }
    }
    border[r->n] = (int32_t)row;
    seen[0] = (dual_seen){NULL, range[0], range[1]};
    seen[1] = (dual_seen){past, range[2], range[3]};
    p.name = "read";
    p.model = m;
    p.segments = r->n;
    p.n_seen = past ? 2 : 1;
    p.token = token;
    p.position = position;
    p.segment_start = border;
    p.seen = seen;
    p.input = dual_gather(&ctx, 1, &m->wte, p.rows, NULL, token);
    return p;
}

/* Ragged rows, less `drop` of each sequence, against padded [B,T,d] or [B,heads,T,head_dim]. */
static double ragged_distance(const dual_tensor *t, const array *a, const ragged *r, size_t drop) {
    size_t row = 0, rows = 0, heads, steps, width;
    double worst = 0;
    if (!t || !a || a->rank < 3 || a->shape[0] != r->n) return HUGE_VAL;
    heads = a->rank == 4 ? a->shape[1] : 1;
    steps = a->shape[a->rank - 2];
    width = a->shape[a->rank - 1];
    for (size_t b = 0; b < r->n; b++) rows += r->length[b] - drop;
    if (t->rows != rows || t->cols != heads * width) return HUGE_VAL;
    for (size_t b = 0; b < r->n; b++)
        for (size_t step = 0; step < r->length[b] - drop; step++, row++)
            for (size_t c = 0; c < t->cols; c++) {
                size_t i = ((b * heads + c / width) * steps + step) * width + c % width;
                worst = worse(worst, fabs((double)t->data[row * t->stride + c] - a->data[i]));
            }
    return worst;
}

/* Everything the file holds of one ordinary pass over the padded batch. */
static void check_activations(const archive *values, dual_model *m, const ragged *r) {
    size_t layers = m->config.layers, *zero = take(r->n, sizeof *zero);
    dual_pass p = lay_out(m, r, zero, r->length, NULL);
    dual_tensor *logits;
    p.trace = take(layers + 1, sizeof *p.trace);
    logits = dual_logits(&ctx, m, dual_forward(&ctx, &p));
    for (size_t i = 0; i < values->n; i++) {
        const char *name = values->array[i].name, *dot = strchr(name, '.');
        size_t l = dot ? (size_t)strtoul(dot + 1, NULL, 10) : 0;
        const dual_tensor *t = NULL;
        if (ends_with(name, "_f64")) continue;
        if (!strcmp(name, "logits")) t = logits;
        if (!strcmp(name, "prenorm")) t = p.trace[layers];
        if (starts_with(name, "hidden.")) t = l < layers ? p.trace[l] : p.hidden;
        if (starts_with(name, "k.") && l < layers) t = p.cache.k[l];
        if (starts_with(name, "v.") && l < layers) t = p.cache.v[l];
        if (t) item(ragged_distance(t, best(values, name), r, 0), tolerance_of(best(values, name)),
                    "%s", name);
    }
}

/* The end of every sequence in a second pass, against the cache of the first. */
static void check_two_passes(const archive *values, dual_model *m, const ragged *r) {
    size_t row = 0, *zero = take(r->n, sizeof *zero), *cut = take(r->n, sizeof *cut);
    dual_pass first, second;
    dual_tensor *logits;
    for (size_t b = 0; b < r->n; b++) {
        const array *a = find(values, say("twopass.%zu.logits", b));
        if (!a || a->rank != 2 || a->shape[0] >= r->length[b]) return;
        cut[b] = r->length[b] - a->shape[0];
    }
    first = lay_out(m, r, zero, cut, NULL);
    first.cache_only = 1;
    dual_forward(&ctx, &first);
    second = lay_out(m, r, cut, r->length, &first.cache);
    logits = dual_logits(&ctx, m, dual_forward(&ctx, &second));
    for (size_t b = 0, rows; b < r->n; row += rows, b++) {
        const array *a = best(values, say("twopass.%zu.logits", b));
        rows = r->length[b] - cut[b];
        item(distance(dual_view(&ctx, logits, row, rows, 0, logits->cols), a, 0),
             tolerance_of(a), "second pass, logits of %zu", b);
    }
}

/* The preset's choices but for N_L, which the tree's soft tokens say. */
static int exchange_open(dual_exchange *e, const char *system, size_t latents, dual_model *base,
                         dual_model *coprocessor) {
    dual_system s = dual_system_preset(system);
    if (s.latents == SIZE_MAX) return refused(say("no system is called %s", system));
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
    size_t n = first ? first->count : 0, vocab = e->base->config.vocab;
    size_t *length = take(r->n, sizeof *length);
    int32_t *token = take(r->n * n, sizeof *token);
    dual_batch batch = ragged_batch(r, 1);
    dual_sampling how = {0};
    if (n == 0) return;
    if (!dual_batch_check(&ctx, e, &batch)) { refused("batch:"); return; }
    how.max_new = n;
    how.end = -1;
    how.logits = take(r->n * n * vocab, sizeof *how.logits);
    dual_generate(&ctx, e, &batch, &how, token, length);
    for (size_t b = 0; b < r->n; b++) {
        const array *want = find(values, say("greedy.%zu.tokens", b));
        const array *logits = best(values, say("greedy.%zu.logits", b));
        dual_tensor ours = {0};
        double wrong = want && want->count == n ? 0 : HUGE_VAL;
        for (size_t i = 0; wrong < HUGE_VAL && i < n; i++)
            wrong += (double)token[b * n + i] != want->data[i];
        ours.rows = n;
        ours.cols = ours.stride = vocab;
        ours.data = how.logits + b * n * vocab;
        item(wrong, 0, "greedy tokens of %zu", b);
        item(distance(&ours, logits, 0), tolerance_of(logits), "greedy logits of %zu", b);
    }
}

/* The same loss as one on plain text, beside the last token of every text as its target. */
static void check_text_loss(dual_exchange *e, const ragged *r, double want) {
    dual_batch batch = ragged_batch(r, 1);
    dual_group *g = take(r->n, sizeof *g);
    dual_outcome out;
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
    if (run(e, &batch, &out)) check_loss(out.text_loss, want, "loss on plain text");
    e->system.text_loss = 0;
}

/* The plain model, first by hand-made passes, then as the system `none`: whose batch is ragged, and
 * whose loss is one mean over all targets, not a mean of the sequences' means. */
static void check_forward(const char *root, const char *name) {
    const char *grads = say("%s/forward/%s/grads.safetensors", root, name);
    size_t n_stored = access(grads, F_OK) == 0;
    archive values, stored;
    dual_batch batch;
    dual_exchange e;
    dual_outcome out;
    dual_model *m;
    ragged r;
    fresh();
    group_begin("forward/%s values", name);
    dual_json about = json_read(say("%s/forward/%s/forward.json", root, name));
    if (!about.begin || (n_stored && !archive_read(&stored, grads))
        || !archive_read(&values, say("%s/forward/%s/forward.safetensors", root, name))
        || !ragged_read(&r, &values, "") || (m = model_open(root, name)) == NULL
        || !exchange_open(&e, "none", 0, m, NULL)) return;
    check_activations(&values, m, &r);
    check_two_passes(&values, m, &r);
    check_greedy(&values, &e, &r);
    check_text_loss(&e, &r, number(about, "loss_f64"));

    dual_exchange_train(&ctx, &e);
    batch = ragged_batch(&r, 0);
    if (!run(&e, &batch, &out)) return;
    check_loss(out.loss, number(about, "loss_f64"), "loss");
    item(fabs((double)out.logits->rows - number(about, "n_valid_targets")), 0, "targets");
    item(ragged_distance(out.logits, best(&values, "logits"), &r, 1),
         tolerance_of(best(&values, "logits")), "logits of a run");
    group_begin("forward/%s gradients", name);
    dual_backward(&ctx, out.loss);
    check_gradients(about, n_stored, &stored, &e, NULL);
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
    const array *y = mode->multi ? x : find(inputs, "y"), *places = find(inputs, "multi.positions");
    size_t n = mode->multi && places ? places->count : 1, *length = take(1, sizeof *length);
    const int32_t **text = take(1, sizeof *text);
    dual_group *g = take(n, sizeof *g);
    if (!x || !y || (mode->multi && !places)) return refused("inputs are missing");
    text[0] = ids(x, 0, length[0] = x->count);
    for (size_t i = 0; i < n; i++) {
        size_t first = mode->multi ? (size_t)places->data[i] : 0; /* of the targets, in y */
        if (first + ahead > y->count) return refused("too few targets");
        g[i].prefix = mode->multi ? first : x->count;
        g[i].target = ids(y, first, ahead);
        g[i].n_target = ahead;
        g[i].cue = text[0] + g[i].prefix - 1;
        g[i].n_cue = mode->reread ? 1 : 0;
    }
    *batch = (dual_batch){0};
    batch->n_sequences = 1;
    batch->text = text;
    batch->length = length;
    batch->n_groups = n;
    batch->group = g;
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
        const char *who = say("%c", owner), *key = owner == 'S' ? who : say("%s.%s", who, p->name);
        int is = p->tensor->needs_grad || p->tensor->grad, may = listed(owners, who);
        wrong += is ? !may || !dual_json_get(grads, key).begin : may && !listed(zero, key);
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
    g.cue = g.target++;
    g.n_cue = 1;
    g.n_target--;
    other.group = &g;
    if (run(e, &other, &out))
        item(distance(out.logits, logits, logits->shape[1]), tolerance_of(logits),
             "logits with y_0 as the cue");
}

/* A mode's values, then its gradients: of whatever the file trains, with the rest proven untouched.
 * C, S and E of a trained Base's mode have the gradients of the frozen one's, stored there. With
 * a Coprocessor all that a second time, read and speak in one pass. */
static int fused;

static void check_mode(const char *root, const char *name, const char *mode) {
    const char *folder = say("%s/dual/%s", root, name);
    const array *soft, *logits, *latents, *E;
    mode_name what = mode_of(mode);
    archive inputs, stored[2];
    size_t n_stored = 1;
    dual_json about, elsewhere;
    dual_model *base, *coprocessor = NULL;
    dual_exchange e;
    dual_outcome out;
    dual_batch batch;
    dual_tensor *cue = NULL;

    if (fused && !strcmp(mode, "soft")) return;
    fresh();
    group_begin("dual/%s/%s%s values", name, mode, fused ? ", fused" : "");
    about = json_read(say("%s/%s.json", folder, mode));
    if (!about.begin || !archive_read(&inputs, say("%s/inputs.safetensors", folder))
        || !archive_read(&stored[0], say("%s/%s.safetensors", folder, mode))) return;
    elsewhere = dual_json_get(about, "gradients_of_C_S_E_stored_in");
    if (elsewhere.begin) {
        char file[64];
        dual_json_string(elsewhere, file, sizeof file);
        if (!archive_read(&stored[n_stored++], say("%s/%s", folder, file))) return;
    }
    soft = find(&inputs, what.multi ? "multi.S" : "S");
    E = find(&inputs, "E");
    logits = best(&stored[0], "logits");
    latents = best(&stored[0], "Z");
    if (!soft || !logits || logits->rank < 2 || !E) { refused("tensors are missing"); return; }

    base = model_open(root, name);
    if (dual_json_type(dual_json_get(about, "model_C")) == '"')
        coprocessor = model_open(root, say("%s-coproc", name));
    if (!base || !exchange_open(&e, what.system, soft->shape[0], base, coprocessor)
        || !mode_batch(&batch, &inputs, &what, logits->shape[logits->rank - 2])) return;
    set_tensor(e.soft.tensor, soft);
    e.system.fused = fused;
    dual_exchange_train(&ctx, &e);
    if (what.vector) {
        cue = batch.cue_rows = dual_tensor_new(&ctx, 1, E->count);
        set_tensor(cue, E);
        dual_need_grad(&ctx, cue);
    }

    if (!what.reread && !what.vector) check_first_as_cue(&e, &batch, logits);
    if (!run(&e, &batch, &out)) return;
    check_loss(out.loss, number(about, "loss_f64"), "loss");
    item(distance(out.logits, logits, 0), tolerance_of(logits), "logits");
    item(distance(e.system.inject == DUAL_KV ? thought(&out) : out.latents, latents, 0),
         tolerance_of(latents), "Z");
    item(wrongly_trained(&e, about), 0, "what is trained");
    group_begin("dual/%s/%s%s gradients", name, mode, fused ? ", fused" : "");
    dual_backward(&ctx, out.loss); /* turns the logits into gradients: all else is read by now */
    check_gradients(about, n_stored, stored, &e, cue);
}

/* ---- latent/ and adamw/ ---------------------------------------------------------------------- */

/* In double whatever dual_real is, so always held to the close tolerance. */
static void check_latents(const char *root) {
    const array *z, *h, *s, *p;
    double *H, *sil, *pca, ratio[2], want[2] = {NAN, NAN}, diagonal[64], mean = 0, worst = 0;
    size_t n, k, slots, count;
    dual_json about;
    latents_view out;
    archive a;
    fresh();
    group_begin("latent");
    about = json_read(say("%s/latent/latent.json", root));
    if (!about.begin || !archive_read(&a, say("%s/latent/latents.safetensors", root))) return;
    z = find(&a, "Z"), h = find(&a, "H"), s = find(&a, "silhouette"), p = find(&a, "pca");
    n = z && z->rank == 3 ? z->shape[0] : 0;
    k = (size_t)number(about, "k");
    slots = n ? z->shape[1] : 0;
    if (!n || !h || h->count != slots * slots || !s || s->count != n * slots || !p
        || p->count != 2 * s->count) { refused("tensors are missing or misshapen"); return; }
    H = take(h->count, sizeof *H);
    sil = take(s->count, sizeof *sil);
    pca = take(p->count, sizeof *pca);
    if (!latents_analyse(&ctx, z->data, n, slots, z->shape[2], 1, &k, &out, H, NULL, sil, pca,
                         ratio)) { refused("analysis:"); return; }
    item(apart(H, h->data, h->count), tol_exact, "H");
    item(fabs(out.h_off - number(about, "H_off")), tol_exact, "H_off");
    count = numbers(dual_json_get(about, "H_diag"), 64, diagonal);
    for (size_t i = 0; i < count; i++) mean += diagonal[i] / (double)count;
    item(fabs(out.h_diag - mean), tol_exact, "H_diag, mean");
    item(apart(sil, s->data, s->count), tol_exact, "silhouette");
    item(fabs(out.silhouette - number(about, "silhouette_mean")), tol_exact, "silhouette, mean");
    for (size_t axis = 0; axis < 2; axis++) { /* an axis has no sign of its own */
        double dot = 0;
        for (size_t i = axis; i < p->count; i += 2) dot += pca[i] * p->data[i];
        for (size_t i = axis; i < p->count; i += 2)
            worst = worse(worst, fabs((dot < 0 ? -pca[i] : pca[i]) - p->data[i]));
    }
    item(worst, tol_exact, "PCA up to sign");
    numbers(dual_json_get(about, "pca_explained_variance_ratio"), 2, want);
    item(apart(ratio, want, 2), tol_exact, "PCA explained variance ratio");
}

/* Final parameters. The key third of GPT-2's c_attn.bias shifts all scores of a row alike: its
 * true gradient is zero, and Adam makes steps of the learning rate's size out of rounding noise. */
static void check_parameters(const dual_model *m, const archive *want) {
    for (size_t i = 0; i < m->n_params; i++) {
        const char *name = m->param[i].name;
        const dual_tensor *t = m->param[i].tensor;
        const array *a = find(want, name);
        int bias = m->config.family == DUAL_GPT2 && ends_with(name, ".attn.c_attn.bias");
        double worst = a && a->count == t->rows * t->cols ? 0 : HUGE_VAL, loose = 0;
        for (size_t k = 0; worst < HUGE_VAL && k < a->count; k++) {
            double error = fabs(at(t, t->data, k) - a->data[k]);
            if (bias && k / m->config.hidden == 1) loose = worse(loose, error);
            else worst = worse(worst, error);
        }
        item(worst, tol_parameter, "%s", name);
        if (bias) item(loose, tol_key_bias, "%s[k]", name);
    }
}

/* Every step under the listed learning rate; after the last, the first batch's loss once more. */
static void check_adamw(const char *root, const char *name, const char *schedule) {
    const char *folder = say("%s/adamw/%s", root, name);
    double rate[MAX_STEPS], loss[MAX_STEPS + 1], norm[MAX_STEPS];
    archive batches, final;
    dual_exchange e;
    dual_json about;
    dual_model *m;
    dual_adamw opt;
    size_t steps;
    fresh();
    group_begin("adamw/%s/%s losses, norms", name, schedule);
    about = json_read(say("%s/adamw-%s.json", folder, schedule));
    if (!about.begin || !archive_read(&batches, say("%s/batches.safetensors", folder))
        || !archive_read(&final, say("%s/final-%s.safetensors", folder, schedule))
        || (m = model_open(root, name)) == NULL || !exchange_open(&e, "none", 0, m, NULL)) return;
    steps = numbers(dual_json_get(about, "lr"), MAX_STEPS, rate);
    if (steps == 0 || numbers(dual_json_get(about, "loss_f64"), MAX_STEPS, loss) != steps
        || numbers(dual_json_get(about, "grad_norm_before_clip_f64"), MAX_STEPS, norm) != steps) {
        refused("not one learning rate, loss and norm per step");
        return;
    }
    loss[steps] = number(about, "loss_after_last_step_on_batch_0_f64");
    dual_exchange_train(&ctx, &e);
    dual_adamw_new(&ctx, &opt, &e);
    for (size_t s = 0; s <= steps; s++) {
        dual_mark mark = dual_mark_here(&ctx);
        dual_batch batch;
        dual_outcome out;
        ragged r;
        if (!ragged_read(&r, &batches, say(".%zu", s % steps))) return;
        batch = ragged_batch(&r, 0);
        if (!run(&e, &batch, &out)) return;
        check_loss(out.loss, loss[s], say("loss after %zu steps", s));
        if (s < steps) {
            dual_backward(&ctx, out.loss);
            item(fabs(dual_adamw_step(&ctx, &opt, rate[s]) / norm[s] - 1), tol_norm, "norm %zu", s);
        }
        dual_release(&ctx, mark);
    }
    group_begin("adamw/%s/%s parameters", name, schedule);
    check_parameters(m, &final);
}

/* ---- all of a tree --------------------------------------------------------------------------- */

/* Calls check(root, folder, NAME) for every PART/folder/START NAME.json */
static void check_each(const char *root, const char *part, const char *start,
                       void (*check)(const char *, const char *, const char *)) {
    listing folders = list_folder(say("%s/%s", root, part));
    for (int i = 0; i < folders.n; i++) {
        listing files = list_folder(say("%s/%s/%s", root, part, folders.entry[i]->d_name));
        for (int k = 0; k < files.n; k++) {
            char *file = files.entry[k]->d_name;
            if (!ends_with(file, ".json") || !starts_with(file, start)) continue;
            *strrchr(file, '.') = 0;
            check(root, folders.entry[i]->d_name, file + strlen(start));
        }
        list_free(&files);
    }
    list_free(&folders);
}

static void check_tree(const char *root) {
    static const char *const part[] = {"models", "forward", "dual", "latent", "adamw"};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        listing inside = list_folder(say("%s/%s", root, part[i]));
        if (inside.n < 1) printf("%s: not in this tree, skipped\n", part[i]);
        else if (i == 0) check_models(root, &inside);
        else if (i == 1) for (int k = 0; k < inside.n; k++)
            check_forward(root, inside.entry[k]->d_name);
        else if (i == 2) for (fused = 0; fused < 2; fused++)
            check_each(root, part[i], "", check_mode);
        else if (i == 3) check_latents(root);
        else check_each(root, part[i], "adamw-", check_adamw);
        list_free(&inside);
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
