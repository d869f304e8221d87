/* examples.c: a row of a task as token ids, and the problems that a run is scored on. See
 * dataset.h. */
#include "dataset.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Does not compile where a kind would lose bits. */
typedef char kinds_fit[(UINT64_C(1) << (64 - STREAM_SHIFT)) >= STREAM_KINDS ? 1 : -1];

uint64_t run_stream(uint64_t kind, uint64_t number) { return (kind << STREAM_SHIFT) + number; }

/* ---- A row as ids ----------------------------------------------------------------------------
 * One packed block per row: how many ids x, the steps and the answer have, then those ids, the end
 * token last. A row whose answer is not known has none of it, and no end token. So whatever steps
 * are dropped, x and y are slices of it:
 *     n_x, n_steps, n_answer, length of each step, x.., each step and its line break.., answer */

enum { HEAD = 3 };

int token_block_reserve(token_block *b, size_t more, char *error, size_t size) {
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

size_t run_put_text(const run_task *t, token_block *b, const char *text, size_t length,
                    char *error, size_t size) {
    if (!token_block_reserve(b, length + 1, error, size)) return SIZE_MAX;
    size_t n = tokenizer_encode(t->tokens, text, length, 0, b->at + b->used, b->room - b->used,
                                error, size);
    if (n != SIZE_MAX && n > b->room - b->used) {     /* rare: NFC can make a text longer */
        if (!token_block_reserve(b, n, error, size)) return SIZE_MAX;
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
    const size_t n = run_put_text(t, b, joined, length, error, size);
    free(joined);
    return n;
}

/* Each piece is encoded on its own, as Coconut does: question, every step with its line break,
 * `### ` and the answer. */
int run_pack(const run_task *t, const task_row *row, token_block *b, char *error, size_t size) {
    const size_t begin = b->used;
    if (!token_block_reserve(b, HEAD + row->n_steps, error, size)) return 0;
    b->used += HEAD + row->n_steps;
    const size_t n_x = run_put_text(t, b, row->question, strlen(row->question), error, size);
    if (n_x == SIZE_MAX) return 0;
    for (size_t i = 0; i < row->n_steps; i++) {
        const size_t n = put_joined(t, b, "", task_step(row, i), "\n", error, size);
        if (n == SIZE_MAX) return 0;
        b->at[begin + HEAD + i] = (int32_t)n;
    }
    b->at[begin] = (int32_t)n_x;
    b->at[begin + 1] = (int32_t)row->n_steps;
    b->at[begin + 2] = 0;
    if (!*row->answer) return 1;                      /* not known: there is no y */
    const size_t n = put_joined(t, b, t->mark, row->answer, "", error, size);
    if (n == SIZE_MAX || !token_block_reserve(b, 1, error, size)) return 0;
    b->at[b->used++] = t->end;
    b->at[begin + 2] = (int32_t)n + 1;
    return 1;
}

size_t run_packed_steps(const int32_t *packed) { return (size_t)packed[1]; }

void run_unpack(const run_settings *set, size_t stage, const int32_t *packed, example *e) {
    const size_t n_steps = run_packed_steps(packed);
    const size_t drop = run_steps_dropped(set, stage, n_steps);
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
    if (!e->text || !run_pack(t, row, &b, error, size)) {
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
    run_unpack(set, stage, b.at, e);
    return 1;
}

static void example_clear(example *e) {
    free(e->packed);
    free(e->text);
    memset(e, 0, sizeof *e);
}

void examples_free(example *e, size_t n) {
    for (size_t i = 0; e && i < n; i++) example_clear(&e[i]);
    free(e);
}

/* ---- What a file held ------------------------------------------------------------------------ */

/* FNV-1a over whole ids: values, not bytes, so that every machine finds the same. */
static uint64_t hash_ids(uint64_t hash, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint32_t)ids[i]) * UINT64_C(1099511628211);
    return hash;
}

static void print_held(size_t n_rows, size_t n_ids, uint64_t hash, char out[80]) {
    *out = 0;
    if (!n_ids) return;
    snprintf(out, 80, "%lu rows, %lu tokens, hash %08lx%08lx", (unsigned long)n_rows,
             (unsigned long)n_ids, (unsigned long)(hash >> 32),
             (unsigned long)(hash & UINT32_MAX));
}

void run_held(size_t n_rows, const token_block *ids, char out[80]) {
    print_held(n_rows, ids->used, hash_ids(UINT64_C(14695981039346656037), ids->at, ids->used),
               out);
}

void run_held_examples(const example *e, size_t n, char out[80]) {
    uint64_t hash = UINT64_C(14695981039346656037);
    size_t n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        hash = hash_ids(hash_ids(hash, e[i].x, e[i].n_x), e[i].y, e[i].n_y);
        n_ids += e[i].n_x + e[i].n_y;
    }
    print_held(n, n_ids, hash, out);
}

/* ---- Problems to score on -------------------------------------------------------------------- */

int run_draw(const run_task *t, int split, dual_rng *rng, task_set *set) {
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

/* The first n rows of the set as examples. *n: how many it became. NULL: failed. */
static example *set_examples(const run_settings *set, const run_task *t, size_t stage,
                             const task_set *rows, const char *file, size_t *n, char *report,
                             size_t report_size, char *error, size_t size) {
    const size_t count = rows->count < *n ? rows->count : *n;
    example *all = calloc(count ? count : 1, sizeof *all);
    int ok = all != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", file);
    size_t left_out = 0;
    *n = 0;
    for (size_t i = 0; ok && i < rows->count && *n < count; i++) {
        const task_row row = task_get(rows, i);
        char why[200];
        ok = run_example(set, t, stage, &row, &all[*n], why, sizeof why);
        *n += (size_t)ok;
        ok = ok || run_refuse_row(set, file, task_line(rows, i), why, &left_out, report,
                                  report_size, error, size);
    }
    if (ok) return all;
    examples_free(all, *n);
    return NULL;
}

/* A sample of a split. */
static int draw_set(const run_task *t, int split, size_t n, task_set *rows, task_population *all,
                    char *error, size_t size) {
    const dual_rng rng = dual_rng_seed(20260101, run_stream(STREAM_TEST, (uint64_t)split));
    countdown_options o = t->countdown;
    o.split = (countdown_split)split;
    memset(rows, 0, sizeof *rows);
    const int fine = t->kind == TASK_COUNTDOWN
                         ? countdown_sample(&o, rng, n, rows, all)
                         : prosqa_sample(&t->prosqa, (prosqa_split)split, rng, n, rows, all);
    if (fine && rows->count) return 1;
    if (fine) snprintf(error, size, "no such problem can be drawn with these options");
    else snprintf(error, size, "out of memory for %zu problems", n);
    task_free(rows);
    return 0;
}

example *run_test_set(const run_settings *set, const run_task *t, size_t stage, int split,
                      const char *file, size_t *n, task_population *all, char *report,
                      size_t report_size, char *error, size_t size) {
    const int from_file = file && *file;
    task_population unasked;
    task_set rows;
    *report = 0;
    if (!all) all = &unasked;
    if (from_file) {
        if (!task_read(t->kind, file, run_skips_broken(set), &rows, error, size)) return NULL;
        run_report_broken(&rows, file, report, report_size);
        *all = (task_population){(double)rows.count, SPLIT_HAS};
    } else if (!t->generated) {
        snprintf(error, size, "--task %s is not generated: name a file of its rows",
                 task_name(t->kind));
        return NULL;
    } else if (t->kind != TASK_COUNTDOWN && split == COUNTDOWN_HELDOUT) {
        snprintf(error, size, "heldout: only Countdown holds out targets");
        return NULL;
    } else if (!draw_set(t, split, *n, &rows, all, error, size)) return NULL;
    example *examples = set_examples(set, t, stage, &rows, from_file ? file : "a generated problem",
                                     n, report, report_size, error, size);
    task_free(&rows);
    return examples;
}
