/* run.c: see run.h. Settings and option tables, the task as token ids, run folders, scoring. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>
#endif
#include "run.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The options ---------------------------------------------------------------------------
 * One table makes --help, the parser, run.json and its reader. */

#define AT(kind, field) kind, offsetof(run_settings, field), sizeof ((run_settings *)0)->field
const option RUN_OPTIONS[] = {
    {"", OPTION_TEXT, 0, 0, "", "What is trained", 0},
    {"task", AT(OPTION_TEXT, task), "countdown", "the task: countdown", 1},
    {"data", AT(OPTION_TEXT, data), "", "JSONL file of problems; empty: generated", 1},
    {"objective", AT(OPTION_TEXT, objective), "answer",
     "answer: a system on the task; lm: a Base on its text", 1},
    {"system", AT(OPTION_TEXT, system), "none",
     "none pause soft prompt wide coconut liu h1 h2 h1h2", 1},
    {"inject", AT(OPTION_TEXT, inject), "",
     "instead of the system's: none pause soft chain embed kv", 1},
    {"base-frozen", AT(OPTION_FLAG, base_frozen), "0", "freeze the Base, whatever the system", 1},
    {"base-trained", AT(OPTION_FLAG, base_trained), "0", "train the Base, whatever the system", 1},
    {"latents", AT(OPTION_SIZE, latents), "4", "N_L, latents per augmentation", 1},
    {"latent-gain", AT(OPTION_TEXT, gain), "none", "none, or trained: one scalar on the latents",
     1},
    {"detach-cache", AT(OPTION_FLAG, detach), "0", "no gradient through the Base's cache", 1},
    {"", OPTION_TEXT, 0, 0, "", "Where the Base comes from", 0},
    {"base", AT(OPTION_TEXT, base), "", "a run folder: its base/ only", 1},
    {"init", AT(OPTION_TEXT, init), "", "a Hugging Face folder with the task's vocabulary", 1},
    {"wide-of", AT(OPTION_TEXT, wide_of), "",
     "a run: one model of the size of its Base and Coprocessor together", 1},
    {"arch", AT(OPTION_TEXT, arch), "gpt2", "gpt2 or qwen3, for a Base from random weights", 1},
    {"layers", AT(OPTION_SIZE, layers), "4", "layers", 1},
    {"width", AT(OPTION_SIZE, width), "64", "hidden size", 1},
    {"heads", AT(OPTION_SIZE, heads), "4", "attention heads", 1},
    {"kv-heads", AT(OPTION_SIZE, kv_heads), "0", "qwen3: key heads; 0: half of the heads", 1},
    {"head-dim", AT(OPTION_SIZE, head_dim), "0", "qwen3: width of a head; 0: width / heads", 1},
    {"mlp", AT(OPTION_SIZE, mlp), "0", "inner width; 0: 4 x width (gpt2), 3 x width (qwen3)", 1},
    {"context", AT(OPTION_SIZE, context), "32", "positions of the model", 1},
    {"", OPTION_TEXT, 0, 0, "", "The generated problems", 0},
    {"numbers", AT(OPTION_TEXT, numbers), "3", "how many numbers: 3, or 3-5", 1},
    {"range", AT(OPTION_TEXT, range), "1-20", "the numbers' range", 1},
    {"targets", AT(OPTION_TEXT, targets), "10-100", "the targets' range", 1},
    {"facts", AT(OPTION_REAL, facts), "0.15", "lm: share of samples that are facts a+b=c", 1},
    {"", OPTION_TEXT, 0, 0, "", "Training", 0},
    {"steps", AT(OPTION_SIZE, steps), "0", "optimiser steps; 0: 800 for lm, else 600", 1},
    {"match-flops", AT(OPTION_TEXT, match_flops), "",
     "a run: as many steps as cost its training FLOPs", 1},
    {"batch", AT(OPTION_SIZE, batch), "128", "sequences per step", 1},
    {"lr", AT(OPTION_REAL, rate), "0", "peak learning rate; 0: the documented table's", 1},
    {"warmup", AT(OPTION_REAL, warmup), "0.02", "share of the steps", 1},
    {"weight-decay", AT(OPTION_REAL, decay), "0.1", "AdamW's, matrices only", 1},
    {"clip", AT(OPTION_REAL, clip), "1", "largest global gradient norm; 0: none", 1},
    {"seed", AT(OPTION_SIZE, seed), "1", "of weights, soft tokens and data", 1},
    {"", OPTION_TEXT, 0, 0, "", "The run", 0},
    {"out", AT(OPTION_TEXT, out), "", "folder of this run (wanted)", 0},
    {"resume", AT(OPTION_FLAG, resume), "0", "go on from the last checkpoint, if there is one", 0},
    {"dry-run", AT(OPTION_FLAG, dry_run), "0", "print memory, FLOPs and header, then stop", 0},
    {"quiet", AT(OPTION_FLAG, quiet), "0", "no header and no progress on stderr", 0},
    {"threads", AT(OPTION_SIZE, threads), "0", "0: as many as there are; never moves a number", 0},
    {"log-every", AT(OPTION_SIZE, log_every), "50", "steps between two metrics lines", 2},
    {"save-every", AT(OPTION_SIZE, save_every), "100", "steps between two checkpoints", 2},
    {"score-points", AT(OPTION_SIZE, score_points), "4",
     "accuracy at so many equal shares of the steps", 2},
    {"score-count", AT(OPTION_SIZE, score_count), "1000", "test problems for those", 2},
    {NULL, 0, 0, 0, NULL, NULL, 0},
};

static void *field_of(const option *o, void *settings) { return (char *)settings + o->offset; }

int option_set(const option *o, void *settings, const char *value, char *error, size_t size) {
    char *end;
    void *at = field_of(o, settings);
    if (o->kind == OPTION_TEXT) {
        if ((size_t)snprintf(at, o->room, "%s", value) < o->room) return 1;
        snprintf(error, size, "--%s: longer than %zu characters", o->name, o->room - 1);
        return 0;
    }
    if (o->kind == OPTION_ARGUMENT) {
        *(const char **)at = value;
        return 1;
    }
    const double x = strtod(value, &end);
    int good = end != value && *end == 0 && x >= 0 && x <= 1e15;
    if (o->kind != OPTION_REAL) good = good && x == floor(x);
    if (o->kind == OPTION_FLAG) good = good && x <= 1;
    if (!good) {
        snprintf(error, size, "--%s: \"%.40s\" is not a %s from 0 on", o->name, value,
                 o->kind == OPTION_REAL ? "number" : "whole number");
        return 0;
    }
    if (o->kind == OPTION_SIZE) *(size_t *)at = (size_t)x;
    else if (o->kind == OPTION_FLAG) *(int *)at = (int)x;
    else *(double *)at = x;
    return 1;
}

void option_print(const option *o, const void *settings, char *out, size_t size) {
    const void *at = (const char *)settings + o->offset;
    if (o->kind == OPTION_TEXT) snprintf(out, size, "%s", (const char *)at);
    else if (o->kind == OPTION_SIZE) snprintf(out, size, "%zu", *(const size_t *)at);
    else if (o->kind == OPTION_FLAG) snprintf(out, size, "%d", *(const int *)at);
    else {                             /* the shortest that reads back as the same number */
        snprintf(out, size, "%.15g", *(const double *)at);
        if (strtod(out, NULL) != *(const double *)at)
            snprintf(out, size, "%.17g", *(const double *)at);
    }
}

void options_defaults(const option *table, void *settings) {
    char error[80];
    for (const option *o = table; o->name; o++)
        if (*o->name) option_set(o, settings, o->otherwise, error, sizeof error);
}

/* Levenshtein distance of two short words, for "did you mean". */
static size_t distance(const char *a, const char *b) {
    size_t row[40], n = strlen(b);
    if (n >= 40) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (*a != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static const option *find_option(const option *table, const char *name, size_t length,
                                 const char **nearest) {
    char word[64];
    size_t best = SIZE_MAX;
    *nearest = "help";
    snprintf(word, sizeof word, "%.*s", (int)(length < 60 ? length : 60), name);
    for (const option *o = table; o->name; o++) {
        if (!*o->name) continue;
        if (!strcmp(o->name, word)) return o;
        if (distance(word, o->name) < best) {
            best = distance(word, o->name);
            *nearest = o->name;
        }
    }
    return NULL;
}

const char *options_nearest(const option *table, const char *word) {
    const char *nearest;
    const option *o = find_option(table, word, strlen(word), &nearest);
    return o ? o->name : nearest;
}

int options_parse(const option *table, void *settings, int argc, char **argv, const char **rest,
                  size_t *n_rest, size_t max_rest, unsigned char *given, char *error, size_t size) {
    *n_rest = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *nearest;
        if (strncmp(a, "--", 2)) {
            if (*n_rest == max_rest) {
                snprintf(error, size, "\"%.60s\" is one word too many; options start with --", a);
                return 0;
            }
            rest[(*n_rest)++] = a;
            continue;
        }
        const char *equals = strchr(a, '=');
        const option *o = find_option(table, a + 2, equals ? (size_t)(equals - a - 2)
                                                           : strlen(a + 2), &nearest);
        if (!o) {
            snprintf(error, size, "unknown option %.60s; did you mean --%s? (--help lists all)", a,
                     nearest);
            return 0;
        }
        const char *value = equals ? equals + 1 : o->kind == OPTION_FLAG ? "1" :
                            i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            snprintf(error, size, "--%s wants a value: %s", o->name, o->help);
            return 0;
        }
        if (!option_set(o, settings, value, error, size)) return 0;
        if (given) given[o - table] = 1;
    }
    return 1;
}

void options_help(const option *table) {
    for (const option *o = table; o->name; o++) {
        char word[40];
        if (!*o->name) {
            printf("\n%s\n", o->help);
            continue;
        }
        snprintf(word, sizeof word, "--%s%s", o->name, o->kind == OPTION_FLAG ? "" :
                 o->kind == OPTION_TEXT || o->kind == OPTION_ARGUMENT ? " TEXT" :
                 o->kind == OPTION_REAL ? " X" : " N");
        printf("  %-22s %s", word, o->help);
        if (o->kind != OPTION_FLAG && o->otherwise) printf(" [%s]", o->otherwise);
        printf("\n");
    }
}

/* ---- run.json ------------------------------------------------------------------------------ */

static void quote(char *out, size_t size, const char *s) {
    size_t n = 0;
    for (; *s && n + 8 < size; s++)
        if ((unsigned char)*s < 0x20) n += (size_t)sprintf(out + n, "\\u%04x", (unsigned char)*s);
        else {
            if (*s == '"' || *s == '\\') out[n++] = '\\';
            out[n++] = *s;
        }
    out[n] = 0;
}

int run_save_settings(dual_ctx *c, const run_settings *set) {
    char path[RUN_PATH + 16], text[8192], value[RUN_PATH], quoted[2 * RUN_PATH];
    size_t n = (size_t)snprintf(text, sizeof text, "{\n  \"format\": \"dual run 1\"");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!o->saved) continue;
        option_print(o, set, value, sizeof value);
        quote(quoted, sizeof quoted, value);
        n += (size_t)snprintf(text + n, sizeof text - n,
                              o->kind == OPTION_TEXT ? ",\n  \"%s\": \"%s\"" : ",\n  \"%s\": %s",
                              o->name, quoted);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "\n}\n");
    snprintf(path, sizeof path, "%s/run.json", set->out);
    return dual_text_save(c, path, text, n);
}

int run_has(const char *folder, const char *name) {
    char path[RUN_PATH + 80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

int run_exists(const char *folder) { return run_has(folder, "run.json"); }

int run_load_settings(dual_ctx *c, const char *folder, run_settings *set) {
    char path[RUN_PATH + 16], value[RUN_PATH], error[200];
    size_t length;
    options_defaults(RUN_OPTIONS, set);
    if ((size_t)snprintf(path, sizeof path, "%s/run.json", folder) >= sizeof path)
        return dual_failed(c, "%.60s..: path too long", folder);
    char *text = dual_text_read(c, path, &length);
    if (!text) return dual_failed(c, "%s: no run there (no readable run.json)", folder);
    dual_json j = dual_json_text(text, length);
    int ok = dual_json_type(j) == '{' || dual_failed(c, "%s: not a JSON object", path);
    dual_json_string(dual_json_get(j, "format"), value, sizeof value);
    if (ok && strcmp(value, "dual run 1"))
        ok = dual_failed(c, "%s: format \"%.40s\", this program reads \"dual run 1\"", path, value);
    for (const option *o = RUN_OPTIONS; ok && o->name; o++) {
        dual_json v = dual_json_get(j, o->name);
        if (!o->saved) continue;
        if (dual_json_type(v) != (o->kind == OPTION_TEXT ? '"' : '0') ||
            (o->kind == OPTION_TEXT ? dual_json_string(v, value, sizeof value)
                                    : (size_t)(v.end - v.begin)) >= sizeof value) {
            ok = dual_failed(c, "%s: %s is missing or of the wrong kind", path, o->name);
            break;
        }
        if (o->kind != OPTION_TEXT) snprintf(value, sizeof value, "%.*s", (int)(v.end - v.begin),
                                             v.begin);
        if (!option_set(o, set, value, error, sizeof error))
            ok = dual_failed(c, "%s: %s", path, error);
    }
    free(text);
    snprintf(set->out, sizeof set->out, "%s", folder);
    return ok;
}

/* ---- The task as token ids ------------------------------------------------------------------ */

static int parse_range(const char *name, const char *text, int *low, int *high, char *error,
                       size_t size) {
    char *end;
    long a = strtol(text, &end, 10), b = a;
    if (end != text && *end == '-' && end[1]) b = strtol(end + 1, &end, 10);
    if (end == text || *end || a < 0 || b < a || b > COUNTDOWN_NUMBER_MAX) {
        snprintf(error, size, "--%s: \"%.40s\" should read like 3 or 3-5", name, text);
        return 0;
    }
    *low = (int)a;
    *high = (int)b;
    return 1;
}

/* Whole numbers to 100 are one token, larger ones are spelled digit by digit. */
static size_t number_tokens(int most) {
    size_t digits = 1;
    if (most <= 100) return 1;
    for (; most >= 10; most /= 10) digits++;
    return digits;
}

int run_example(const run_task *t, const countdown_problem *p, example *e, char *error,
                size_t size) {
    char x[COUNTDOWN_TEXT];
    memset(e, 0, sizeof *e);
    e->problem = *p;
    countdown_prompt(p, x, sizeof x);
    e->n_x = words_encode(t->vocabulary, x, NULL, 0, error, size);
    e->n_y = words_encode(t->vocabulary, p->solution, NULL, 0, error, size);
    if (e->n_x == SIZE_MAX || e->n_y == SIZE_MAX) return 0;
    e->x = malloc((e->n_x + e->n_y + 1) * sizeof *e->x);
    if (!e->x) {
        snprintf(error, size, "out of memory for the examples");
        return 0;
    }
    e->y = e->x + e->n_x;
    words_encode(t->vocabulary, x, e->x, e->n_x, error, size);
    words_encode(t->vocabulary, p->solution, e->y, e->n_y, error, size);
    e->y[e->n_y++] = t->end;
    return 1;
}

void examples_free(example *e, size_t n) {
    for (size_t i = 0; e && i < n; i++) free(e[i].x);
    free(e);
}

/* All rows of a file, encoded. */
static example *read_rows(const run_task *t, const char *file, size_t *n, char *error,
                          size_t size) {
    countdown_set set;
    if (!countdown_read(file, &set, error, size)) return NULL;
    example *rows = calloc(set.count ? set.count : 1, sizeof *rows);
    *n = 0;
    while (rows && *n < set.count && run_example(t, &set.items[*n], &rows[*n], error, size)) (*n)++;
    if (!rows) snprintf(error, size, "%s: out of memory", file);
    else if (!set.count) snprintf(error, size, "%s: holds no problem", file);
    if (!rows || *n < set.count || !set.count) {
        examples_free(rows, *n);
        rows = NULL;
    }
    countdown_free(&set);
    return rows;
}

int run_task_open(const run_settings *set, run_task *t, char *error, size_t size) {
    memset(t, 0, sizeof *t);
    if (strcmp(set->task, "countdown")) {
        snprintf(error, size, "--task: \"%.20s\" is not known; countdown is", set->task);
        return 0;
    }
    t->options = countdown_defaults();
    if (!parse_range("numbers", set->numbers, &t->options.count_min, &t->options.count_max, error,
                     size) ||
        !parse_range("range", set->range, &t->options.number_min, &t->options.number_max, error,
                     size) ||
        !parse_range("targets", set->targets, &t->options.target_min, &t->options.target_max, error,
                     size))
        return 0;
    const char *wrong = countdown_check(&t->options);
    if (wrong) {
        snprintf(error, size, "--numbers, --range, --targets: %s", wrong);
        return 0;
    }
    t->vocabulary = words_new_countdown();
    if (!t->vocabulary) {
        snprintf(error, size, "out of memory for the vocabulary");
        return 0;
    }
    t->end = words_end(t->vocabulary);
    t->cue = words_id(t->vocabulary, "\n");
    if (*set->data) {
        t->rows = read_rows(t, set->data, &t->n_rows, error, size);
        if (!t->rows) {
            run_task_close(t);
            return 0;
        }
        for (size_t i = 0; i < t->n_rows; i++) {
            if (t->rows[i].n_x > t->max_x) t->max_x = t->rows[i].n_x;
            if (t->rows[i].n_y > t->max_y) t->max_y = t->rows[i].n_y;
        }
    } else { /* a binary tree's expression has n-1 operators and at most n-2 pairs of parentheses */
        const size_t n = (size_t)t->options.count_max, w = number_tokens(t->options.number_max);
        t->max_x = 2 + n * w + number_tokens(t->options.target_max);
        t->max_y = n * w + (n - 1) + 2 * (n > 2 ? n - 2 : 0) + 1;
    }
    return 1;
}

void run_task_close(run_task *t) {
    examples_free(t->rows, t->n_rows);
    words_free(t->vocabulary);
    memset(t, 0, sizeof *t);
}

enum {
    STREAM_TRAIN = 1 << 20,
    STREAM_TEXT = 1 << 21,
    STREAM_TEST = 1 << 22,
    STREAM_SHUFFLE = 1 << 23
};

static uint64_t stream(uint64_t kind, uint64_t number) { return (kind << 40) + number; }

/* Packs Base samples, each with its end token, until the context is full; the last is cut. */
static int pack_text(const run_task *t, const run_settings *set, uint64_t number, int32_t *to,
                     char *error, size_t size) {
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_TEXT, number));
    char text[COUNTDOWN_TEXT];
    for (size_t n = 0; n < set->context;) {
        if (!countdown_base(&t->options, set->facts, &rng, text, sizeof text)) {
            snprintf(error, size, "no Base text can be drawn with these options");
            return 0;
        }
        const size_t got = words_encode(t->vocabulary, text, to + n, set->context - n, error, size);
        if (got == SIZE_MAX) return 0;
        n += got;
        if (n < set->context) to[n++] = t->end;
    }
    return 1;
}

/* Row `place` of epoch `epoch`: the file's rows in an order of their own every epoch. */
static void shuffle(size_t *order, size_t n, uint64_t seed, uint64_t epoch) {
    dual_rng rng = dual_rng_seed(seed, stream(STREAM_SHUFFLE, epoch));
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        const size_t j = dual_rng_below(&rng, i), keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
}

static int batch_begin(const run_settings *set, run_batch *b, size_t tokens, char *error,
                       size_t size) {
    memset(b, 0, sizeof *b);
    b->group = calloc(set->batch, sizeof *b->group);
    b->text = calloc(set->batch, sizeof *b->text);
    b->length = calloc(set->batch, sizeof *b->length);
    b->tokens = calloc(tokens, sizeof *b->tokens);
    if (!b->group || !b->text || !b->length || !b->tokens) {
        snprintf(error, size, "out of memory for a batch of %zu", set->batch);
        run_batch_free(b);
        return 0;
    }
    b->batch.n_sequences = b->batch.n_groups = set->batch;
    b->batch.text = b->text;
    b->batch.length = b->length;
    b->batch.group = b->group;
    return 1;
}

void run_batch_free(run_batch *b) {
    free(b->group);
    free(b->text);
    free(b->length);
    free(b->tokens);
    memset(b, 0, sizeof *b);
}

int run_is_lm(const run_settings *set) { return !strcmp(set->objective, "lm"); }

/* lm: an empty prompt, the first token as the cue, all others as targets. answer: x, cue, y. */
static void set_group(run_batch *b, const run_settings *set, const run_task *t, size_t i,
                      const int32_t *x, size_t n_x, const int32_t *y, size_t n_y) {
    dual_group *g = &b->group[i];
    const int lm = run_is_lm(set);
    g->sequence = i;
    g->prefix = lm ? 0 : n_x;
    g->cue = lm ? y : &t->cue;
    g->n_cue = 1;
    g->target = lm ? y + 1 : y;
    g->n_target = lm ? n_y - 1 : n_y;
    b->text[i] = x;
    b->length[i] = lm ? 0 : n_x;
}

int run_batch_make(const run_settings *set, const run_task *t, uint64_t step, run_batch *b,
                   char *error, size_t size) {
    const size_t room = run_is_lm(set) ? set->context : t->max_x + t->max_y;
    size_t *order = NULL;
    uint64_t shuffled = UINT64_MAX;
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_TRAIN, step));
    if (!batch_begin(set, b, set->batch * room, error, size)) return 0;
    if (t->n_rows) order = malloc(t->n_rows * sizeof *order);
    int ok = !t->n_rows || order;
    if (!ok) snprintf(error, size, "out of memory for the order of %zu rows", t->n_rows);
    for (size_t i = 0; ok && i < set->batch; i++) {
        const uint64_t number = step * set->batch + i;
        if (run_is_lm(set)) {
            int32_t *to = b->tokens + i * room;
            ok = pack_text(t, set, number, to, error, size);
            set_group(b, set, t, i, to, 0, to, set->context);
            continue;
        }
        example drawn, *e = &drawn;
        if (t->n_rows) {
            if (number / t->n_rows != shuffled) {
                shuffled = number / t->n_rows;
                shuffle(order, t->n_rows, set->seed, shuffled);
            }
            e = &t->rows[order[number % t->n_rows]];
        } else {
            countdown_problem p;
            ok = countdown_draw(&t->options, &rng, &p);
            if (!ok) snprintf(error, size, "no problem can be drawn with these options");
            ok = ok && run_example(t, &p, &drawn, error, size);
            if (!ok) break;
        }
        int32_t *to = b->tokens + i * room;
        memcpy(to, e->x, (e->n_x + e->n_y) * sizeof *to);
        set_group(b, set, t, i, to, e->n_x, to + e->n_x, e->n_y);
        if (e == &drawn) free(drawn.x);
    }
    free(order);
    if (!ok) run_batch_free(b);
    return ok;
}

int run_batch_longest(const run_settings *set, const run_task *t, run_batch *b, char *error,
                      size_t size) {
    const size_t x = run_is_lm(set) ? 0 : t->max_x, y = run_is_lm(set) ? set->context : t->max_y;
    if (!batch_begin(set, b, x + y, error, size)) return 0;
    for (size_t i = 0; i < set->batch; i++) /* all share the same zeros: only lengths count */
        set_group(b, set, t, i, b->tokens, x, b->tokens + x, y);
    return 1;
}

static int by_key(const void *a, const void *b) {
    const example *x = *(example *const *)a, *y = *(example *const *)b;
    int s[2][COUNTDOWN_MAX + 1], n = x->problem.count;
    if (n != y->problem.count) return n < y->problem.count ? -1 : 1;
    for (int k = 0; k < 2; k++) {
        const countdown_problem *p = k ? &y->problem : &x->problem;
        for (int i = 0; i < n; i++) {  /* insertion sort: at most six numbers */
            int j = i;
            for (; j > 0 && s[k][j - 1] > p->numbers[i]; j--) s[k][j] = s[k][j - 1];
            s[k][j] = p->numbers[i];
        }
        s[k][n] = p->target;
    }
    for (int i = 0; i <= n; i++) if (s[0][i] != s[1][i]) return s[0][i] < s[1][i] ? -1 : 1;
    return 0;
}

/* Draws until n different keys are there; a small task has fewer, and 20,000 draws in a row that
 * brought nothing new say that it has given all. */
example *run_test_set(const run_task *t, countdown_split split, const char *data, size_t *n,
                      char *error, size_t size) {
    if (data && *data) {
        size_t rows = 0;
        example *all = read_rows(t, data, &rows, error, size);
        for (size_t i = *n; all && i < rows; i++) free(all[i].x);
        if (rows < *n) *n = rows;
        return all;
    }
    const size_t wanted = *n;
    example *set = calloc(wanted ? wanted : 1, sizeof *set);
    example **sorted = calloc(wanted ? wanted : 1, sizeof *sorted);
    countdown_options options = t->options;
    dual_rng rng = dual_rng_seed(20260101, stream(STREAM_TEST, (uint64_t)split));
    options.split = split;
    *n = 0;
    int ok = set && sorted;
    if (!ok) snprintf(error, size, "out of memory for %zu test problems", wanted);
    for (size_t misses = 0; ok && *n < wanted && misses < 20000; misses++) {
        example *e = &set[*n];
        size_t low = 0, high = *n;
        countdown_problem p;
        ok = countdown_draw(&options, &rng, &p) && run_example(t, &p, e, error, size);
        if (!ok) break;
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (by_key(&sorted[middle], &e) < 0) low = middle + 1;
            else high = middle;
        }
        if (low < *n && by_key(&sorted[low], &e) == 0) {
            free(e->x);
            e->x = NULL;
            continue;
        }
        memmove(sorted + low + 1, sorted + low, (*n - low) * sizeof *sorted);
        sorted[low] = e;
        (*n)++;
        misses = 0;
    }
    free(sorted);
    if (ok && *n) return set;
    if (ok || !*error) snprintf(error, size, "no %s problem can be drawn with these options",
                                countdown_split_name(split));
    examples_free(set, *n);
    return NULL;
}

/* ---- A run in memory ------------------------------------------------------------------------ */

int run_system(const run_settings *set, dual_system *s, char *error, size_t size) {
    *s = dual_system_preset(set->system);
    if (s->latents == SIZE_MAX) {
        snprintf(error, size,
                 "--system: \"%.20s\" is not one of none pause soft prompt wide coconut "
                 "liu h1 h2 h1h2",
                 set->system);
        return 0;
    }
    s->latents = s->inject == DUAL_NONE && !*set->inject ? 0 : set->latents;
    if (*set->inject) {
        int i = 0;
        while (i <= DUAL_KV && strcmp(set->inject, dual_injection_name((dual_injection)i))) i++;
        if (i > DUAL_KV) {
            snprintf(error, size,
                     "--inject: \"%.20s\" is not one of none pause soft chain embed kv",
                     set->inject);
            return 0;
        }
        s->inject = (dual_injection)i;
        if (s->inject == DUAL_NONE) s->latents = 0;
    }
    if (set->base_frozen && set->base_trained) {
        snprintf(error, size, "--base-frozen and --base-trained: one of them");
        return 0;
    }
    if (set->base_frozen || set->base_trained) s->base_trained = set->base_trained;
    if (*set->inject || set->base_frozen || set->base_trained)
        snprintf(s->name, sizeof s->name, "%s/%s", dual_injection_name(s->inject),
                 s->base_trained ? "trained" : "frozen");
    if (strcmp(set->gain, "none") && strcmp(set->gain, "trained")) {
        snprintf(error, size, "--latent-gain: none or trained, not \"%.20s\"", set->gain);
        return 0;
    }
    if (s->inject != DUAL_NONE && !s->latents) {
        snprintf(error, size, "--latents must be above 0; --system none is the one without");
        return 0;
    }
    s->gain = !strcmp(set->gain, "trained");
    s->detach = set->detach;
    return 1;
}

int run_open(dual_ctx *c, const char *folder, run *r) {
    char path[RUN_PATH + 16], error[300];
    memset(r, 0, sizeof *r);
    if (!run_load_settings(c, folder, &r->set)) return 0;
    if (!run_system(&r->set, &r->system, error, sizeof error))
        return dual_failed(c, "%s/run.json: %s", folder, error);
    snprintf(path, sizeof path, "%s/base", folder);
    if (!dual_config_read(c, path, &r->shape))
        return dual_failed(c, "%s: no checkpoint in it yet: let `train` run until its first save",
                           folder);
    if (r->shape.layers != r->set.layers || r->shape.hidden != r->set.width ||
        r->shape.heads != r->set.heads || r->shape.positions != r->set.context)
        return dual_failed(c, "%s: base/config.json and run.json tell of different shapes", folder);
    r->coprocessor_shape = r->shape;
    return 1;
}

int run_build(dual_ctx *c, run *r) {
    r->base = dual_model_new(c, &r->shape);
    r->coprocessor = dual_system_needs_coprocessor(&r->system)
                   ? dual_model_new(c, &r->coprocessor_shape) : NULL;
    return dual_exchange_new(c, &r->exchange, &r->system, r->base, r->coprocessor);
}

/* Entries of a checkpoint: every trained tensor as OWNER.name, then its moments m. and v. */
static int state_entry(dual_ctx *c, dual_file *f, const char *prefix, char owner,
                       const dual_param *p, dual_real *to, int needed) {
    char name[128];
    snprintf(name, sizeof name, "%s%c.%s", prefix, owner, p->name);
    const size_t i = dual_file_find(f, name);
    if (i == SIZE_MAX)
        return needed ? dual_failed(c, "state.safetensors: no %s in it", name) : 1;
    if (dual_file_entry(f, i).count != p->tensor->rows * p->tensor->cols)
        return dual_failed(c, "state.safetensors: %s has another shape than the model", name);
    if (!dual_file_read(c, f, i, to)) return 0;
    for (size_t k = 0; k < p->tensor->rows * p->tensor->cols; k++)
        if (!(to[k] - to[k] == 0))     /* neither infinite nor not a number */
            return dual_failed(c, "state.safetensors: %s holds values that are no numbers", name);
    return 1;
}

int run_load(dual_ctx *c, run *r, const char *folder, dual_adamw *moments) {
    char path[RUN_PATH + 32], note[96], owner, *end;
    dual_param *p;
    size_t k = 0;                      /* moments stand in the order of the trained tensors */
    snprintf(path, sizeof path, "%s/base", folder);
    if (!dual_model_load(c, r->base, path)) return 0;
    snprintf(path, sizeof path, "%s/coprocessor", folder);
    if (r->coprocessor && !dual_model_load(c, r->coprocessor, path)) return 0;
    snprintf(path, sizeof path, "%s/state.safetensors", folder);
    dual_file *f = dual_file_open(c, path);
    if (!f) return 0;
    int ok = 1;
    for (size_t i = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL; i++) {
        ok = state_entry(c, f, "", owner, p, p->tensor->data, owner == 'S');
        if (!moments || !p->tensor->needs_grad) continue;
        ok = ok && state_entry(c, f, "m.", owner, p, moments->m[k], 1) &&
             state_entry(c, f, "v.", owner, p, moments->v[k], 1);
        k++;
    }
    if (ok && (dual_file_note(f, "note", note, sizeof note) >= sizeof note ||
               strncmp(note, "step ", 5)))
        ok = dual_failed(c, "%s: it does not say its step", path);
    if (ok) {
        r->step = strtoull(note + 5, &end, 10);
        r->loss_steps = strtoull(end, &end, 10);
        r->loss_sum = strtod(end, NULL);
    }
    if (ok && moments) moments->step = r->step;
    dual_file_close(f);
    return ok;
}

int run_save(dual_ctx *c, run *r, dual_adamw *o) {
    char path[RUN_PATH + 40], note[96], owner;
    dual_param *p;
    size_t n = 0, all = 0;
    snprintf(note, sizeof note, "step %llu %llu %.17g", (unsigned long long)r->step,
             (unsigned long long)r->loss_steps, r->loss_sum);
    /* Exports first, state last: until it is renamed the old state still tells everything. */
    snprintf(path, sizeof path, "%s/base", r->set.out);
    if ((r->system.base_trained || !run_has(path, "config.json")) && /* a frozen one is there */
        !dual_model_save(c, r->base, path, NULL))
        return 0;
    snprintf(path, sizeof path, "%s/coprocessor", r->set.out);
    if (r->coprocessor && !dual_model_save(c, r->coprocessor, path, NULL)) return 0;
    while (dual_exchange_param(&r->exchange, all, &owner)) all++;
    dual_param *entry = calloc(3 * all + 1, sizeof *entry);
    dual_tensor *tensor = calloc(3 * all + 1, sizeof *tensor);
    const dual_param **list = calloc(3 * all + 1, sizeof *list);
    int ok = entry && tensor && list;
    if (!ok) dual_failed(c, "%s: no memory to write the checkpoint", r->set.out);
    for (size_t i = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL; i++)
        if (owner == 'S') list[n++] = p;
    snprintf(path, sizeof path, "%s/latents.safetensors", r->set.out);
    if (ok && n) ok = dual_file_save(c, path, n, list, NULL);
    n = 0;
    for (size_t i = 0, k = 0; ok && (p = dual_exchange_param(&r->exchange, i, &owner)) != NULL;
         i++) {
        if (!p->tensor->needs_grad) continue;
        dual_real *const part[3] = {p->tensor->data, o->m[k], o->v[k]};
        static const char *const prefix[3] = {"", "m.", "v."};
        for (int j = 0; j < 3; j++, n++) {
            tensor[n] = *p->tensor;
            tensor[n].data = part[j];
            entry[n] = *p;
            entry[n].tensor = &tensor[n];
            snprintf(entry[n].name, sizeof entry[n].name, "%s%c.%.70s", prefix[j],
                     owner, p->name);
            list[n] = &entry[n];
        }
        k++;
    }
    snprintf(path, sizeof path, "%s/state.safetensors", r->set.out);
    ok = ok && dual_file_save(c, path, n, list, note);
    free(entry);
    free(tensor);
    free(list);
    return ok;
}

/* ---- Scoring -------------------------------------------------------------------------------- */

void run_score(dual_ctx *c, run *r, const run_task *t, const example *rows, size_t n,
               dual_control control, double temperature, uint64_t seed, answer *out, double *loss) {
    double sum = 0, targets = 0;
    const dual_mark start = dual_mark_here(c);
    for (size_t first = 0, count; first < n; first += count) {
        count = n - first < SCORE_BATCH ? n - first : SCORE_BATCH;
        if (n - first == SCORE_BATCH + 1) count--; /* a batch of one has none to swap with */
        const int32_t *text[SCORE_BATCH];
        size_t length[SCORE_BATCH], came[SCORE_BATCH], used = 0, all = 0;
        static int32_t tokens[SCORE_BATCH * SCORE_TOKENS];
        dual_group group[SCORE_BATCH];
        dual_batch b;
        dual_outcome o;
        dual_sampling s;
        memset(&b, 0, sizeof b);
        memset(&s, 0, sizeof s);
        memset(group, 0, sizeof group);
        for (size_t i = 0; i < count; i++) {
            const example *e = &rows[first + i];
            text[i] = e->x;
            length[i] = e->n_x;
            group[i].sequence = i;
            group[i].prefix = e->n_x;
            group[i].cue = &t->cue;
            group[i].n_cue = 1;
            group[i].target = e->y;
            group[i].n_target = e->n_y;
            all += e->n_y;
            if (e->n_x > used) used = e->n_x;
        }
        b.n_sequences = b.n_groups = count;
        b.text = text;
        b.length = length;
        b.group = group;
        b.control = control;
        b.control.seed = seed + first;
        if (loss) {
            const int recorded = c->inference;
            c->inference = 1;
            dual_run(c, &r->exchange, &b, &o);
            c->inference = recorded;
            if (c->memory) sum += (double)o.loss->data[0] * (double)all;
            targets += (double)all;
            dual_release(c, start);
        }
        /* prompt, latents, cue; the last position stays unread: no Base text has trained it */
        used += dual_latent_positions(&r->system) + 1;
        if (used >= r->shape.positions) c->fatal("a prompt leaves no position for an answer");
        s.max_new = r->shape.positions - used < SCORE_TOKENS ? r->shape.positions - used
                                                             : SCORE_TOKENS;
        s.end = t->end;
        s.temperature = temperature;
        s.rng = dual_rng_seed(seed, first);
        dual_generate(c, &r->exchange, &b, &s, tokens, came);
        for (size_t i = 0; c->memory && out && i < count; i++) {
            answer *a = &out[first + i];
            const countdown_problem *p = &rows[first + i].problem;
            a->ended = came[i] <= s.max_new;
            words_decode(t->vocabulary, tokens + i * s.max_new, a->ended ? came[i] : s.max_new,
                         a->text, sizeof a->text);
            const char *final = countdown_final(a->text);
            a->verdict = a->ended ? countdown_grade(p, final) : COUNTDOWN_MALFORMED;
            a->each_once = a->ended && countdown_uses_each_once(p, final);
            a->simple = countdown_plus_minus_suffice(p);
        }
    }
    if (loss) *loss = targets > 0 ? sum / targets : 0;
}

/* 95 % Wilson score interval of a share. */
static double wilson(double hits, double n, double sign) {
    const double z = 1.959964, p = n > 0 ? hits / n : 0;
    if (n <= 0) return sign < 0 ? 0 : 1;
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    const double x = (p + z * z / (2 * n) + sign * half) / (1 + z * z / n);
    return x < 0 ? 0 : x > 1 ? 1 : x;
}
double wilson_low(double hits, double n) { return wilson(hits, n, -1); }
double wilson_high(double hits, double n) { return wilson(hits, n, 1); }

/* ---- What both print ------------------------------------------------------------------------ */

void run_describe_system(const dual_system *s, char *out, size_t size) {
    char latents[40] = "";
    if (s->inject != DUAL_NONE) snprintf(latents, sizeof latents, ", N_L %zu", s->latents);
    snprintf(out, size, "%s = inject %s, Base %s%s%s%s", s->name, dual_injection_name(s->inject),
             s->base_trained ? "trained" : "frozen", latents, s->detach ? ", cache detached" : "",
             s->gain ? ", trained gain" : "");
}

double run_step_flops(const run *r, const run_task *t) {
    run copy = *r;
    run_batch b;
    dual_ctx c;
    dual_outcome out;
    char error[300];
    double flops = 0;
    dual_init(&c, NULL, 0);
    if (run_batch_make(&r->set, t, 0, &b, error, sizeof error)) {
        if (run_build(&c, &copy) && dual_batch_check(&c, &copy.exchange, &b.batch)) {
            dual_exchange_train(&c, &copy.exchange);
            dual_run(&c, &copy.exchange, &b.batch, &out);
            dual_backward(&c, out.loss);
            flops = c.flops;
        }
        run_batch_free(&b);
    }
    dual_done(&c);
    return flops;
}

/* How long a waiting OpenMP thread spins before it sleeps. Without end (the runtimes' default) it
 * takes the core another thread needs: on a machine with anything else to do a step took 15 times
 * as long. Not at all, and waking costs as much as the work: half the speed on an idle machine. The
 * runtime (gcc's, clang's) reads this when it is loaded, so setting it means starting over once. */
void run_spin_briefly(char **argv) {
#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (!strchr(argv[0], '/')) return; /* found by PATH: who knows which one it would find now */
    if (setenv("GOMP_SPINCOUNT", "5000", 0) == 0 && setenv("KMP_BLOCKTIME", "1", 0) == 0)
        execvp(argv[0], argv);         /* returns only if it failed: then simply go on */
#else
    (void)argv;
#endif
}

int run_is_terminal(int fd) {
#if defined(__unix__) || defined(__APPLE__)
    return isatty(fd);
#else
    (void)fd;
    return 0;
#endif
}

void run_human(double x, char *out, size_t size) {
    static const char unit[] = " kMGTP";
    int i = 0;
    while (x >= 999.5 && i < 5) {
        x /= 1000;
        i++;
    }
    if (i) snprintf(out, size, x < 9.995 ? "%.2f%c" : x < 99.95 ? "%.1f%c" : "%.0f%c", x, unit[i]);
    else snprintf(out, size, "%.0f", x);
}

/* Swept over 3e-4, 1e-3, 3e-3 at width 64, one trial per system and rate: 3e-3 was best for every
 * system (README has the scores; data/sweep.sh repeats it). Wider models: not swept, smaller. */
double run_default_rate(int lm, size_t width) {
    if (lm) return width >= 512 ? 3e-4 : width > 64 ? 2e-3 : 5e-3;
    return width >= 512 ? 1e-4 : width > 64 ? 1e-3 : 3e-3;
}
