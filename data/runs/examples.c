/* examples.c: the task as token ids, see run.h. What a batch of a step is, how a row becomes x, cue
 * and y, which steps of it are shown, which text stands behind a pretraining group. */
#include "run.h"
#include "../files/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM_TRAIN = 1 << 20,
    STREAM_TEXT = 1 << 21,
    STREAM_TEST = 1 << 22,
    STREAM_SHUFFLE = 1 << 23,
    STREAM_STAGE = 1 << 24,
    STREAM_GROUPS = 1 << 25
};

static uint64_t stream(uint64_t kind, uint64_t number) { return (kind << 40) + number; }

/* ---- Objectives and stages ------------------------------------------------------------------ */

int run_is_lm(const run_settings *set) { return !strcmp(set->objective, "lm"); }
int run_is_pretrain(const run_settings *set) { return !strcmp(set->objective, "pretrain"); }
int run_on_text(const run_settings *set) { return run_is_lm(set) || run_is_pretrain(set); }

static int is_curriculum(const run_settings *set) {
    return !run_on_text(set) && !strcmp(set->steps_shown, "curriculum");
}

/* Stage s drops the first s steps of every row, the stage after the last drops all of them. */
size_t run_stage_of(const run_settings *set, uint64_t step) {
    if (!is_curriculum(set) || !set->stage_steps) return 0;
    const uint64_t stage = step / set->stage_steps;
    return stage > set->stages ? set->stages + 1 : (size_t)stage;
}

/* Coconut's chain grows by c thoughts per dropped step and then stays at the most. */
size_t run_latents_of(const run_settings *set, const dual_system *s, size_t stage) {
    if (!is_curriculum(set) || !set->latents_per_stage || s->inject == DUAL_NONE) return s->latents;
    return (stage < set->stages ? stage : set->stages) * set->latents_per_stage;
}

/* How many of a row's first steps are not shown. */
static size_t dropped(const run_settings *set, size_t stage, size_t n_steps) {
    if (!strcmp(set->steps_shown, "all")) return 0;
    if (!is_curriculum(set) || stage > set->stages || stage > n_steps) return n_steps;
    return stage;
}

/* ---- A row as ids ----------------------------------------------------------------------------
 * One packed block per row: how many ids x, the steps and the answer have, then those ids, the end
 * token last. So whatever steps are dropped, x and y are slices of it:
 *     n_x, n_steps, n_answer, length of each step, x.., each step and its line break.., answer */

enum { HEAD = 3 };

/* Room for `more` ids behind the used ones. */
static int reserve(token_block *b, size_t more, char *error, size_t size) {
    if (more <= b->room - b->used) return 1;
    size_t room = b->room ? b->room : 1024;
    while (room - b->used < more && room < SIZE_MAX / 4 / sizeof *b->at) room *= 2;
    int32_t *grown = room - b->used < more ? NULL : realloc(b->at, room * sizeof *grown);
    if (!grown) {
        snprintf(error, size, "out of memory for %zu tokens", b->used + more);
        return 0;
    }
    b->at = grown;
    b->room = room;
    return 1;
}

/* Appends a text's ids; returns how many, SIZE_MAX: failed. */
static size_t put_text(const run_task *t, token_block *b, const char *text, size_t length,
                       char *error, size_t size) {
    if (!reserve(b, length + 1, error, size)) return SIZE_MAX;
    size_t n = tokenizer_encode(t->tokens, text, length, 0, b->at + b->used, b->room - b->used,
                                error, size);
    if (n != SIZE_MAX && n > b->room - b->used) {     /* rare: NFC can make a text longer */
        if (!reserve(b, n, error, size)) return SIZE_MAX;
        n = tokenizer_encode(t->tokens, text, length, 0, b->at + b->used, n, error, size);
    }
    if (n != SIZE_MAX) b->used += n;
    return n;
}

/* `before` text `after`, encoded as one. */
static size_t put_joined(const run_task *t, token_block *b, const char *before, const char *text,
                         const char *after, char *error, size_t size) {
    const size_t length = strlen(before) + strlen(text) + strlen(after);
    char *joined = malloc(length + 1);
    if (!joined) {
        snprintf(error, size, "out of memory for a row");
        return SIZE_MAX;
    }
    sprintf(joined, "%s%s%s", before, text, after);
    const size_t n = put_text(t, b, joined, length, error, size);
    free(joined);
    return n;
}

/* Each piece is encoded on its own, as Coconut does: question, every step with its line break,
 * `### ` and the answer. */
static int pack(const run_task *t, const task_row *row, token_block *b, char *error, size_t size) {
    const size_t begin = b->used;
    if (!reserve(b, HEAD + row->n_steps, error, size)) return 0;
    b->used += HEAD + row->n_steps;
    const size_t n_x = put_text(t, b, row->question, strlen(row->question), error, size);
    if (n_x == SIZE_MAX) return 0;
    for (size_t i = 0; i < row->n_steps; i++) {
        const size_t n = put_joined(t, b, "", task_step(row, i), "\n", error, size);
        if (n == SIZE_MAX) return 0;
        b->at[begin + HEAD + i] = (int32_t)n;
    }
    const size_t n = put_joined(t, b, t->mark, row->answer, "", error, size);
    if (n == SIZE_MAX || !reserve(b, 1, error, size)) return 0;
    b->at[b->used++] = t->end;
    b->at[begin] = (int32_t)n_x;
    b->at[begin + 1] = (int32_t)row->n_steps;
    b->at[begin + 2] = (int32_t)n + 1;
    return 1;
}

/* x and y of a packed row with its first `drop` steps left out. */
static void unpack(const int32_t *packed, size_t drop, example *e) {
    const size_t n_steps = (size_t)packed[1];
    e->n_x = (size_t)packed[0];
    e->x = packed + HEAD + n_steps;
    e->y = e->x + e->n_x;
    e->n_y = (size_t)packed[2];
    for (size_t i = 0; i < n_steps; i++) {
        if (i < drop) e->y += packed[HEAD + i];
        else e->n_y += (size_t)packed[HEAD + i];
    }
}

int run_example(const run_settings *set, const run_task *t, size_t stage, const task_row *row,
                example *e, char *error, size_t size) {
    token_block b = {NULL, 0, 0};
    const char *end = row->answer + strlen(row->answer) + 1;
    const size_t bytes = (size_t)(end - row->question);
    memset(e, 0, sizeof *e);
    e->text = malloc(bytes);
    if (!e->text) snprintf(error, size, "out of memory for the examples");
    if (!e->text || !pack(t, row, &b, error, size)) {
        free(b.at);
        free(e->text);
        memset(e, 0, sizeof *e);
        return 0;
    }
    memcpy(e->text, row->question, bytes);            /* a row's texts stand side by side */
    e->row = *row;
    e->row.question = e->text;
    e->row.steps = e->text + (row->steps - row->question);
    e->row.answer = e->text + (row->answer - row->question);
    e->packed = b.at;
    unpack(b.at, dropped(set, stage, row->n_steps), e);
    return 1;
}

void examples_free(example *e, size_t n) {
    for (size_t i = 0; e && i < n; i++) {
        free(e[i].packed);
        free(e[i].text);
    }
    free(e);
}

/* ---- Opening a task -------------------------------------------------------------------------- */

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

static int read_generator(const run_settings *set, run_task *t, char *error, size_t size) {
    countdown_options *c = &t->countdown;
    prosqa_options *p = &t->prosqa;
    *c = countdown_defaults();
    *p = prosqa_defaults();
    if (!parse_range("numbers", set->numbers, &c->count_min, &c->count_max, error, size) ||
        !parse_range("range", set->range, &c->number_min, &c->number_max, error, size) ||
        !parse_range("targets", set->targets, &c->target_min, &c->target_max, error, size) ||
        !parse_range("nodes", set->nodes, &p->nodes_min, &p->nodes_max, error, size) ||
        !parse_range("path", set->path, &p->path_min, &p->path_max, error, size))
        return 0;
    p->concepts = set->concepts < 1000 ? (int)set->concepts : 1000;
    p->names = set->names < 1000 ? (int)set->names : 1000;
    const char *wrong = countdown_check(c);
    if (wrong) {
        snprintf(error, size, "--numbers, --range, --targets: %s", wrong);
        return 0;
    }
    wrong = prosqa_check(p);
    if (wrong) snprintf(error, size, "%s", wrong);
    return !wrong;
}

static words *prosqa_words(char *error, size_t size) {
    static const char *const fixed[] = {"<end>", "\n", "###", "Every", "Is", "is", "a", "or", ".",
                                        "?"};
    enum { FIXED = sizeof fixed / sizeof *fixed };
    const char *list[FIXED + PROSQA_CONCEPTS + PROSQA_NAMES];
    size_t n = 0;
    for (; n < FIXED; n++) list[n] = fixed[n];
    for (size_t i = 0; prosqa_word(i); i++) list[n++] = prosqa_word(i);
    return words_new(list, n, error, size);
}

/* `run`: the folder of a run that exists, whose tokenizer it is; NULL for a new one. There it is
 * --tokenizer: words, bytes or a folder. Without it: what the Base's run or the --init folder has,
 * else words where the task's are few, bytes where they are not. */
static tokenizer *open_tokenizer(const run_settings *set, task_kind kind, const char *run,
                                 char *error, size_t size) {
    const char *name = set->tokenizer;
    words *w = NULL;
    const int named = *name && !run;
    if (!run && *set->from) run = set->from;
    if (!run && *set->base) run = set->base;
    if (!run && *set->wide_of) run = set->wide_of;
    if (!run && *set->init) run = set->init;
    if (!named && run && (bpe_in(run) || data_has(run, "vocab.txt")))
        return tokenizer_open(run, error, size);
    if (*name && strcmp(name, "words") && strcmp(name, "bytes"))
        return tokenizer_open(name, error, size);
    const int few = kind == TASK_COUNTDOWN || kind == TASK_PROSQA;
    if (!strcmp(name, "words") && !few) {
        snprintf(error, size, "--tokenizer words: --task %s has too many words for a list of them; "
                 "bytes, or the folder of a BPE tokenizer", set->task);
        return NULL;
    }
    if (!few || !strcmp(name, "bytes")) w = words_new_bytes();
    else if (kind == TASK_COUNTDOWN) w = words_new_countdown();
    else w = prosqa_words(error, size);
    if (w) return tokenizer_of_words(w, error, size);
    snprintf(error, size, "out of memory for the vocabulary");
    return NULL;
}

const char *run_tokenizer_name(const run_task *t) {
    return tokenizer_id(t->tokens, "<byte 0>") >= 0 ? "bytes" : tokenizer_kind(t->tokens);
}

size_t run_count_tokens(const run_task *t, const char *text) {
    char error[160];
    const size_t n = tokenizer_encode(t->tokens, text, strlen(text), 0, NULL, 0, error,
                                      sizeof error);
    return n == SIZE_MAX ? 0 : n;
}

/* The most ids that a whole number up to `most` can take. Words know 0..100 as they are. */
static size_t number_tokens(const run_task *t, double most) {
    size_t longest = run_count_tokens(t, "99"), n = 3;
    if (most < 100) return longest;
    if (run_count_tokens(t, "100") > longest) longest = run_count_tokens(t, "100");
    for (; most > 100 && n <= 10 && pow(10, (double)n - 1) <= most; n++) {
        const size_t ids = run_count_tokens(t, &"9999999999"[10 - n]);
        if (ids > longest) longest = ids;
    }
    return longest;
}

/* Bounds of what the generators make: a binary tree's expression has n-1 operators and at most n-2
 * pairs of parentheses; a graph has at most twice as many facts as nodes. Pieces are counted one by
 * one, which joining them can only make fewer. */
static void bound_generated(const run_settings *set, run_task *t) {
    const int shown = strcmp(set->steps_shown, "none") != 0;
    const size_t line = run_count_tokens(t, "\n"), mark = run_count_tokens(t, t->mark);
    if (t->kind == TASK_COUNTDOWN) {
        const countdown_options *o = &t->countdown;
        const size_t n = (size_t)o->count_max, w = number_tokens(t, o->number_max);
        const double most = pow(o->number_max, o->count_max);
        const size_t step = 3 * number_tokens(t, most < 1e9 ? most : 1e9) + 2 + line;
        const size_t words = run_count_tokens(t, "numbers:") + run_count_tokens(t, " target:");
        const size_t blank = run_count_tokens(t, " ");          /* none for words */
        t->max_x = words + n * (w + blank) + number_tokens(t, o->target_max) + blank;
        t->max_y = mark + n * w + (n - 1) + 2 * (n > 2 ? n - 2 : 0) + 1 +
                   (shown ? (n - 1) * step : 0);
        return;
    }
    size_t word = 0;
    char spaced[40];
    for (size_t i = 0; prosqa_word(i); i++) {
        snprintf(spaced, sizeof spaced, " %s", prosqa_word(i));
        if (run_count_tokens(t, spaced) > word) word = run_count_tokens(t, spaced);
    }
    const size_t fact = run_count_tokens(t, " Every") + run_count_tokens(t, " is") +
                        run_count_tokens(t, " a") + run_count_tokens(t, ".") + 2 * word;
    t->max_x = 2 * (size_t)t->prosqa.nodes_max * fact + run_count_tokens(t, " Is") +
               run_count_tokens(t, " a") + run_count_tokens(t, " or") + run_count_tokens(t, "?") +
               3 * word;
    t->max_y = mark + fact + 1 + (shown ? (size_t)t->prosqa.path_max * (fact + line) : 0);
}

static void report_broken(const task_set *set, const char *file, char *out, size_t size) {
    *out = 0;
    if (set->broken)
        snprintf(out, size, "%.400s: %zu broken row%s left out, %zu used; the first:\n%s", file,
                 set->broken, set->broken == 1 ? "" : "s", set->count, set->complaints);
}

/* A row that cannot be tokenized: named, or with --broken skip left out, the first three in words.
 * Its number counts what was read well before it. */
static int refuse_unknown(const run_settings *set, const char *source, size_t row, const char *why,
                          size_t *left_out, char *report, size_t report_size, char *error,
                          size_t size) {
    const size_t n = strlen(report);
    const int skip = !strcmp(set->broken, "skip");
    if (skip && (*left_out)++ < 3)
        snprintf(report + n, report_size - n, "%.200s: usable row %zu left out: %.200s\n", source,
                 row + 1, why);
    if (!skip) snprintf(error, size, "%s, usable row %zu: %s; --broken skip leaves such rows out",
                        source, row + 1, why);
    return skip;
}

/* All rows of a file as packed ids. The texts are not kept. */
static int load_rows(const run_settings *set, run_task *t, char *error, size_t size) {
    task_set rows;
    if (!task_read(t->kind, set->data, !strcmp(set->broken, "skip"), &rows, error, size)) return 0;
    report_broken(&rows, set->data, t->report, sizeof t->report);
    t->begin = calloc(rows.count, sizeof *t->begin);
    size_t left_out = 0;
    int ok = t->begin != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", set->data);
    for (size_t i = 0; ok && i < rows.count; i++) {
        const task_row row = task_get(&rows, i);
        char why[200];
        t->begin[t->n_rows] = t->ids.used;
        ok = pack(t, &row, &t->ids, why, sizeof why);
        t->n_rows += (size_t)ok;
        if (ok) continue;
        t->ids.used = t->begin[t->n_rows];
        ok = refuse_unknown(set, set->data, i, why, &left_out, t->report, sizeof t->report, error,
                            size);
    }
    task_free(&rows);
    if (ok && !t->n_rows) snprintf(error, size, "%s: no row that can be tokenized", set->data);
    return ok && t->n_rows;
}

/* Rows longer than the room: named, or with --broken skip counted and left out. */
static int refuse_long(const run_settings *set, const char *source, size_t row, const example *e,
                       size_t room, size_t *left_out, char *error, size_t size) {
    ++*left_out;
    if (!strcmp(set->broken, "skip")) return 1;
    snprintf(error, size, "%s, row %zu: question %zu + answer %zu tokens, the context leaves %zu "
             "beside cue and latents; --broken skip leaves such rows out", source, row + 1, e->n_x,
             e->n_y, room);
    return 0;
}

static void report_long(const char *source, size_t left_out, char *report, size_t size) {
    const size_t n = strlen(report);
    if (left_out)
        snprintf(report + n, size - n, "%.400s: %zu row%s longer than the context left out\n",
                 source, left_out, left_out == 1 ? "" : "s");
}

size_t run_room(const run_settings *set, const dual_system *s) {
    const size_t others = dual_latent_positions(s) + 1;
    return set->context > others ? set->context - others : 0;
}

int run_fit_rows(const run_settings *set, run_task *t, size_t room, char *error, size_t size) {
    size_t kept = 0, left_out = 0;
    t->room = room;
    t->max_x = t->n_rows ? 0 : t->max_x;
    t->max_y = t->n_rows ? 0 : t->max_y;
    for (size_t i = 0; i < t->n_rows; i++) {
        const int32_t *packed = t->ids.at + t->begin[i];
        example e;
        unpack(packed, dropped(set, 0, (size_t)packed[1]), &e);
        if (e.n_x + e.n_y > room) {
            if (!refuse_long(set, set->data, i, &e, room, &left_out, error, size)) return 0;
            continue;
        }
        if (e.n_x > t->max_x) t->max_x = e.n_x;
        if (e.n_y > t->max_y) t->max_y = e.n_y;
        t->begin[kept++] = t->begin[i];
    }
    report_long(set->data, left_out, t->report, sizeof t->report);
    if (t->n_rows && !kept) snprintf(error, size, "%s: no row fits the context", set->data);
    const int ok = !t->n_rows || kept;
    t->n_rows = kept;
    return ok;
}

int run_fit_examples(const run_settings *set, const char *source, example *rows, size_t *n,
                     size_t room, char *report, size_t report_size, char *error, size_t size) {
    size_t kept = 0, left_out = 0;
    for (size_t i = 0; i < *n; i++) {
        if (rows[i].n_x + rows[i].n_y <= room) {
            rows[kept++] = rows[i];
            continue;
        }
        if (!refuse_long(set, source, i, &rows[i], room, &left_out, error, size)) return 0;
        free(rows[i].packed);
        free(rows[i].text);
    }
    for (size_t i = kept; i < *n; i++) memset(&rows[i], 0, sizeof rows[i]);
    report_long(source, left_out, report, report_size);
    if (!kept) snprintf(error, size, "%s: no row fits the context", source);
    *n = kept;
    return kept > 0;
}

/* Documents one after another, each with its end token. What stands behind the cut, the last
 * `share` of all ids, is held out; the cut moves back to where its document begins, unless that
 * would hold out more than half as much again (a single long document is cut anywhere). */
static int load_text(const char *path, int skip, double share, const run_task *t, token_block *to,
                     size_t *cut, char *report, size_t report_size, char *error, size_t size) {
    task_set set;
    if (!task_read(TASK_TEXT, path, skip, &set, error, size)) return 0;
    report_broken(&set, path, report, report_size);
    size_t *begin = calloc(set.count + 1, sizeof *begin);
    int ok = begin != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", path);
    for (size_t i = 0; ok && i < set.count; i++) {
        const task_row row = task_get(&set, i);
        begin[i] = to->used;
        char why[200];
        ok = put_text(t, to, row.question, strlen(row.question), why, sizeof why) != SIZE_MAX &&
             reserve(to, 1, why, sizeof why);
        if (ok) to->at[to->used++] = t->end;
        else snprintf(error, size, "%s, document %zu: %s", path, i + 1, why);
    }
    if (ok) {
        const size_t held = (size_t)((double)to->used * share);
        *cut = to->used - held;
        size_t i = set.count;
        while (i > 0 && begin[i - 1] > to->used - held) i--;
        if (i > 1 && to->used - begin[i - 1] <= held + held / 2) *cut = begin[i - 1];
    }
    free(begin);
    task_free(&set);
    return ok;
}

int run_text_open(const run_settings *set, const run_task *t, const char *path, int held_out,
                  token_block *ids, size_t *first, char *report, size_t report_size, char *error,
                  size_t size) {
    size_t cut = 0;
    ids->at = NULL;
    ids->used = ids->room = 0;
    *first = 0;
    if (!load_text(path, !strcmp(set->broken, "skip"), set->held_out, t, ids, &cut, report,
                   report_size, error, size)) {
        free(ids->at);
        return 0;
    }
    if (held_out) *first = cut;
    return 1;
}

int run_task_open(const run_settings *set, const char *folder, int rows, run_task *t, char *error,
                  size_t size) {
    memset(t, 0, sizeof *t);
    if (!task_find(set->task, &t->kind)) {
        snprintf(error, size, "--task: \"%.20s\" is not known; countdown gsm8k prosqa text are",
                 set->task);
        return 0;
    }
    if (!read_generator(set, t, error, size)) return 0;
    t->tokens = open_tokenizer(set, t->kind, folder, error, size);
    if (!t->tokens) return 0;
    t->end = tokenizer_end(t->tokens);
    t->mark = t->kind == TASK_COUNTDOWN && !strcmp(set->steps_shown, "none") ? "" : "### ";
    int ok = tokenizer_encode(t->tokens, "\n", 1, 0, &t->cue, 1, error, size) == 1;
    if (!ok) snprintf(error, size, "the line break is not one token of this tokenizer, and it is "
                      "the cue between latents and answer");
    t->generated = t->kind == TASK_COUNTDOWN || t->kind == TASK_PROSQA;
    const int text = t->kind == TASK_TEXT;
    if (ok && rows && *set->data) {
        ok = text ? load_text(set->data, !strcmp(set->broken, "skip"),
                              *set->valid ? 0 : set->held_out, t, &t->ids, &t->n_train, t->report,
                              sizeof t->report, error, size)
                  : load_rows(set, t, error, size);
    } else if (ok && t->generated) bound_generated(set, t);
    if (!ok) run_task_close(t);
    return ok;
}

void run_task_close(run_task *t) {
    free(t->ids.at);
    free(t->begin);
    free(t->order);
    tokenizer_free(t->tokens);
    memset(t, 0, sizeof *t);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* The order of n things in one epoch; kept, since a batch asks for a few of the same epoch. */
static const size_t *shuffled(run_task *t, size_t n, uint64_t seed, uint64_t epoch, char *error,
                              size_t size) {
    if (t->order && t->order_epoch == epoch && t->n_order == n) return t->order;
    size_t *order = realloc(t->order, n * sizeof *order);
    if (!order) {
        snprintf(error, size, "out of memory for the order of %zu rows", n);
        return NULL;
    }
    dual_rng rng = dual_rng_seed(seed, stream(STREAM_SHUFFLE, epoch));
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        const size_t j = dual_rng_below(&rng, i), keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
    t->order = order;
    t->order_epoch = epoch;
    t->n_order = n;
    return order;
}

/* A problem of the generator into an emptied set. */
static int draw(const run_task *t, int split, dual_rng *rng, task_set *set) {
    set->used = set->open = set->count = 0;
    if (t->kind == TASK_COUNTDOWN) {
        countdown_options o = t->countdown;
        countdown_problem p;
        o.split = (countdown_split)split;
        return countdown_draw(&o, rng, &p) && countdown_put(&p, set);
    }
    prosqa_graph g;
    return t->kind == TASK_PROSQA && prosqa_draw(&t->prosqa, (prosqa_split)split, rng, &g, set);
}

/* Packs Countdown's Base samples, each with its end token, until n ids are full; the last is
 * cut. */
static int pack_samples(const run_task *t, const run_settings *set, uint64_t number, int32_t *to,
                        size_t n_ids, char *error, size_t size) {
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_TEXT, number));
    char text[COUNTDOWN_TEXT];
    for (size_t n = 0; n < n_ids;) {
        if (!countdown_base(&t->countdown, set->facts, &rng, text, sizeof text)) {
            snprintf(error, size, "no Base text can be drawn with these options");
            return 0;
        }
        const size_t got = tokenizer_encode(t->tokens, text, strlen(text), 0, to + n, n_ids - n,
                                            error, size);
        if (got == SIZE_MAX) return 0;
        n += got;
        if (n < n_ids) to[n++] = t->end;
    }
    return 1;
}

/* Sequence `number` of a text: windows of n ids, in an order and from an offset of their own in
 * every epoch. */
static const int32_t *text_window(run_task *t, const run_settings *set, uint64_t number, size_t n,
                                  char *error, size_t size) {
    const size_t windows = t->n_train / n ? t->n_train / n - 1 : 0;
    if (!windows) {
        snprintf(error, size, "%s: %zu tokens to train on, expected at least two sequences of %zu",
                 set->data, t->n_train, n);
        return NULL;
    }
    const uint64_t epoch = number / windows;
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_TEXT, epoch));
    const size_t *order = shuffled(t, windows, set->seed, epoch, error, size);
    return order ? t->ids.at + dual_rng_below(&rng, n) + order[number % windows] * n : NULL;
}

/* How long a sequence of text is: the whole context for lm; for groups what leaves room for latents
 * behind the last one, the same in every system. A context of tens of thousands is not meant. */
size_t run_sequence(const run_settings *set) {
    const size_t others = run_is_lm(set) ? 0 : set->latents + 1;
    const size_t most = set->context > others ? set->context - others : 0;
    return set->sequence ? set->sequence : most < 1024 ? most : 1024;
}

/* M places in 1 .. n-1-N_A, in order, every choice equally likely (Knuth's algorithm S). A group at
 * p has the prefix x_<p, its latents, the cue x_p and the targets x_p+1 .. x_p+N_A. */
void run_group_places(const run_settings *set, uint64_t number, size_t *place) {
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_GROUPS, number));
    const size_t last = run_sequence(set) - 1 - set->ahead, m = set->groups;
    for (size_t p = 1, k = 0; p <= last && k < m; p++)
        if (dual_rng_below(&rng, last - p + 1) < m - k) place[k++] = p;
}

void run_text_group(const int32_t *text, size_t sequence, size_t place, size_t ahead,
                    dual_group *g) {
    g->sequence = sequence;
    g->prefix = place;
    g->cue = text + place;
    g->n_cue = 1;
    g->target = text + place + 1;
    g->n_target = ahead;
}

static size_t groups_of(const run_settings *set) { return run_is_pretrain(set) ? set->groups : 1; }

static int batch_begin(const run_settings *set, size_t n, run_batch *b, char *error, size_t size) {
    memset(b, 0, sizeof *b);
    b->group = calloc(n * groups_of(set), sizeof *b->group);
    b->text = calloc(n, sizeof *b->text);
    b->length = calloc(n, sizeof *b->length);
    b->place = calloc(set->groups + 1, sizeof *b->place);
    if (!b->group || !b->text || !b->length || !b->place) {
        snprintf(error, size, "out of memory for a batch of %zu", n);
        run_batch_free(b);
        return 0;
    }
    b->batch.n_sequences = n;
    b->batch.n_groups = n * groups_of(set);
    b->batch.text = b->text;
    b->batch.length = b->length;
    b->batch.group = b->group;
    return 1;
}

void run_batch_free(run_batch *b) {
    free(b->group);
    free(b->text);
    free(b->length);
    free(b->place);
    free(b->own.at);
    memset(b, 0, sizeof *b);
}

/* lm: an empty prompt, the first token as the cue, all others as targets. */
static void set_text(run_batch *b, const run_settings *set, size_t i, const int32_t *text) {
    const size_t n = run_sequence(set), m = groups_of(set);
    b->text[i] = text;
    b->length[i] = run_is_lm(set) ? 0 : n;
    if (run_is_lm(set)) run_text_group(text, i, 0, n - 1, &b->group[i]);
    else for (size_t k = 0; k < m; k++)
        run_text_group(text, i, b->place[k], set->ahead, &b->group[i * m + k]);
}

int run_text_batch(const run_settings *set, const int32_t *text, uint64_t number, run_batch *b,
                   char *error, size_t size) {
    if (!batch_begin(set, 1, b, error, size)) return 0;
    if (run_is_pretrain(set)) run_group_places(set, number, b->place);
    set_text(b, set, 0, text);
    return 1;
}

void run_answer_group(const run_task *t, const example *e, size_t sequence, dual_group *g) {
    const int own = t->kind == TASK_TEXT && e->n_x > 0;
    g->sequence = sequence;
    g->prefix = e->n_x - (size_t)own;
    g->cue = own ? e->x + g->prefix : &t->cue;
    g->n_cue = 1;
    g->target = e->y;
    g->n_target = e->n_y;
}

static void set_answer(run_batch *b, const run_task *t, size_t i, const example *e) {
    b->text[i] = e->x;
    b->length[i] = e->n_x;
    run_answer_group(t, e, i, &b->group[i]);
}

static int make_text(const run_settings *set, run_task *t, uint64_t step, run_batch *b, char *error,
                     size_t size) {
    const size_t n = run_sequence(set);
    int ok = t->kind == TASK_TEXT || reserve(&b->own, set->batch * n, error, size);
    for (size_t i = 0; ok && i < set->batch; i++) {
        const uint64_t number = step * set->batch + i;
        const int32_t *text = b->own.at + i * n;
        if (t->kind == TASK_TEXT) ok = (text = text_window(t, set, number, n, error, size)) != NULL;
        else ok = pack_samples(t, set, number, b->own.at + i * n, n, error, size);
        if (ok && run_is_pretrain(set)) run_group_places(set, number, b->place);
        if (ok) set_text(b, set, i, text);
    }
    return ok;
}

/* The stage of row i of a step. With --uniform-stage P a row is, with probability P, of a stage
 * drawn from 0..its steps. Where the number of latents follows the stage, a batch can have only
 * one: then the draw is made once a step, from 0..all stages. */
static size_t row_stage(const run_settings *set, size_t stage, int per_step, size_t n_steps,
                        dual_rng *rng) {
    if (!is_curriculum(set) || !(set->uniform_stage > 0)) return stage;
    if (per_step != (set->latents_per_stage > 0)) return stage;
    const double u = dual_rng_uniform(rng);
    const size_t drawn = dual_rng_below(rng, (per_step ? set->stages : n_steps) + 1);
    return u < set->uniform_stage ? drawn : stage;
}

static int make_answers(const run_settings *set, run_task *t, uint64_t step, run_batch *b,
                        char *error, size_t size) {
    dual_rng rng = dual_rng_seed(set->seed, stream(STREAM_TRAIN, step));
    dual_rng mix = dual_rng_seed(set->seed, stream(STREAM_STAGE, step));
    const size_t stage = b->stage = row_stage(set, run_stage_of(set, step), 1, 0, &mix);
    task_set drawn;
    size_t *begin = calloc(set->batch, sizeof *begin);
    int ok = begin != NULL;
    memset(&drawn, 0, sizeof drawn);
    if (!ok) snprintf(error, size, "out of memory for a batch of %zu", set->batch);
    for (size_t i = 0; ok && i < set->batch && !t->n_rows; i++) {
        begin[i] = b->own.used;
        ok = draw(t, 0, &rng, &drawn);
        if (!ok) snprintf(error, size, "no problem can be drawn with these options");
        const task_row row = ok ? task_get(&drawn, 0) : (task_row){0};
        ok = ok && pack(t, &row, &b->own, error, size);
    }
    for (size_t i = 0; ok && i < set->batch; i++) {
        const uint64_t number = step * set->batch + i;
        const int32_t *packed = t->n_rows ? NULL : b->own.at + begin[i];
        example e;
        if (!packed) {
            const size_t *order = shuffled(t, t->n_rows, set->seed, number / t->n_rows, error,
                                           size);
            if (!order) ok = 0;
            else packed = t->ids.at + t->begin[order[number % t->n_rows]];
        }
        if (!ok) break;
        const size_t n_steps = (size_t)packed[1];
        unpack(packed, dropped(set, row_stage(set, stage, 0, n_steps, &mix), n_steps), &e);
        set_answer(b, t, i, &e);
    }
    task_free(&drawn);
    free(begin);
    return ok;
}

int run_batch_make(const run_settings *set, run_task *t, uint64_t step, run_batch *b, char *error,
                   size_t size) {
    if (!batch_begin(set, set->batch, b, error, size)) return 0;
    const int ok = run_on_text(set) ? make_text(set, t, step, b, error, size)
                                    : make_answers(set, t, step, b, error, size);
    if (!ok) run_batch_free(b);
    return ok;
}

/* All sequences share the same zeros, only lengths count; groups stand as late as they can. The
 * longest x and y of a file may be of two rows that do not fit together: no row is longer than the
 * room. */
int run_batch_longest(const run_settings *set, const run_task *t, run_batch *b, char *error,
                      size_t size) {
    const int text = run_on_text(set);
    const size_t n = text ? run_sequence(set) : t->max_x + t->max_y;
    if (!batch_begin(set, set->batch, b, error, size)) return 0;
    if (!reserve(&b->own, n, error, size)) {
        run_batch_free(b);
        return 0;
    }
    memset(b->own.at, 0, n * sizeof *b->own.at);
    for (size_t k = 0; run_is_pretrain(set) && k < set->groups; k++)
        b->place[k] = n - 1 - set->ahead - (set->groups - 1 - k);
    for (size_t i = 0; i < set->batch; i++) {
        example e;
        memset(&e, 0, sizeof e);
        e.x = b->own.at;
        e.n_x = t->n_rows && t->max_x + t->max_y > t->room ? t->room - t->max_y : t->max_x;
        e.y = e.x + e.n_x;
        e.n_y = t->max_y;
        if (text) set_text(b, set, i, b->own.at);
        else set_answer(b, t, i, &e);
    }
    if (!text) b->stage = is_curriculum(set) ? set->stages : 0;
    return 1;
}

/* ---- Problems to score on -------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    const uint64_t x = (*(example *const *)a)->key, y = (*(example *const *)b)->key;
    return (x > y) - (x < y);
}

/* Draws until n different keys are there; a small task has fewer, and 20,000 draws in a row that
 * brought nothing new say that it has given all. */
static example *draw_set(const run_settings *set, const run_task *t, size_t stage, int split,
                         size_t *n, char *error, size_t size) {
    const size_t wanted = *n;
    example *all = calloc(wanted ? wanted : 1, sizeof *all);
    example **sorted = calloc(wanted ? wanted : 1, sizeof *sorted);
    dual_rng rng = dual_rng_seed(20260101, stream(STREAM_TEST, (uint64_t)split));
    task_set drawn;
    *n = 0;
    int ok = all && sorted;
    memset(&drawn, 0, sizeof drawn);
    *error = 0;
    if (!ok) snprintf(error, size, "out of memory for %zu problems", wanted);
    for (size_t misses = 0; ok && *n < wanted && misses < 20000; misses++) {
        example *e = &all[*n];
        size_t low = 0, high = *n;
        ok = draw(t, split, &rng, &drawn);
        const task_row row = ok ? task_get(&drawn, 0) : (task_row){0};
        ok = ok && run_example(set, t, stage, &row, e, error, size);
        if (!ok) break;
        e->key = task_hash(t->kind, &row);
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (by_key(&sorted[middle], &e) < 0) low = middle + 1;
            else high = middle;
        }
        if (low < *n && by_key(&sorted[low], &e) == 0) {
            free(e->packed);
            free(e->text);
            memset(e, 0, sizeof *e);
            continue;
        }
        memmove(sorted + low + 1, sorted + low, (*n - low) * sizeof *sorted);
        sorted[low] = e;
        (*n)++;
        misses = 0;
    }
    free(sorted);
    task_free(&drawn);
    if (ok && *n) return all;
    examples_free(all, *n);
    if (ok || !*error) snprintf(error, size, "no such problem can be drawn with these options");
    return NULL;
}

/* The first n rows of a file. */
static example *read_set(const run_settings *set, const run_task *t, size_t stage, const char *file,
                         size_t *n, char *report, size_t report_size, char *error, size_t size) {
    task_set rows;
    if (!task_read(t->kind, file, !strcmp(set->broken, "skip"), &rows, error, size)) return NULL;
    report_broken(&rows, file, report, report_size);
    const size_t count = rows.count < *n ? rows.count : *n;
    example *all = calloc(count ? count : 1, sizeof *all);
    int ok = all != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", file);
    size_t left_out = 0;
    *n = 0;
    for (size_t i = 0; ok && i < rows.count && *n < count; i++) {
        const task_row row = task_get(&rows, i);
        char why[200];
        ok = run_example(set, t, stage, &row, &all[*n], why, sizeof why);
        *n += (size_t)ok;
        ok = ok || refuse_unknown(set, file, i, why, &left_out, report, report_size, error, size);
    }
    task_free(&rows);
    if (ok) return all;
    examples_free(all, *n);
    return NULL;
}

example *run_test_set(const run_settings *set, const run_task *t, size_t stage, int split,
                      const char *file, size_t *n, char *report, size_t report_size, char *error,
                      size_t size) {
    *report = 0;
    if (file && *file) return read_set(set, t, stage, file, n, report, report_size, error, size);
    if (t->kind != TASK_COUNTDOWN && split == COUNTDOWN_HELDOUT) {
        snprintf(error, size, "heldout: only Countdown holds out targets");
        return NULL;
    }
    if (t->generated) return draw_set(set, t, stage, split, n, error, size);
    snprintf(error, size, "--task %s is not generated: name a file of its rows",
             task_name(t->kind));
    return NULL;
}

/* ---- Prompts as a batch ---------------------------------------------------------------------- */

/* How many of the rows go into one batch: at most PROMPTS_MAX, 16,384 rows of a pass and 2^25
 * logits, but always two where there are: a lone row, also the last, has no other to swap latents
 * with. */
size_t run_prompts_count(const example *rows, size_t n, size_t vocab, size_t more) {
    size_t count = 0, ids = 0, targets = 0;
    while (count < n && count < PROMPTS_MAX) {
        ids += rows[count].n_x + rows[count].n_y + more;
        targets += rows[count].n_y;
        if (count > 1 && (ids > 16384 || targets > ((size_t)1 << 25) / vocab)) break;
        count++;
    }
    if (n - count == 1) count = count > 2 ? count - 1 : n;
    return count;
}

void run_prompts_fill(run_prompts *p, const run_task *t, const example *rows, size_t n,
                      int targets) {
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        run_answer_group(t, &rows[i], i, &p->group[i]);
        p->text[i] = rows[i].x;
        p->length[i] = p->group[i].prefix;
        if (!targets) p->group[i].n_target = 0;
    }
    p->batch.n_sequences = p->batch.n_groups = n;
    p->batch.text = p->text;
    p->batch.length = p->length;
    p->batch.group = p->group;
}
