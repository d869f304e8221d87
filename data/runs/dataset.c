/* dataset.c: opens what a run learns from. See dataset.h. */
#include "dataset.h"
#include "../files/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The generators and the tokenizer -------------------------------------------------------- */

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
    enum { N_FIXED = sizeof fixed / sizeof *fixed };
    const char *list[N_FIXED + PROSQA_CONCEPTS + PROSQA_NAMES];
    size_t n = 0;
    for (; n < N_FIXED; n++) list[n] = fixed[n];
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
    const int named = *name && !run, own = run != NULL;
    if (!run && *set->from) run = set->from;
    if (!run && *set->base) run = set->base;
    if (!run && *set->wide_of) run = set->wide_of;
    if (!run && *set->init) run = set->init;
    if (!named && run && (bpe_in(run) || data_has(run, "vocab.txt")))
        return tokenizer_open(run, error, size);
    if (own) {
        snprintf(error, size, "%.200s: its tokenizer is gone: vocab.txt, or the files of a BPE",
                 run);
        return NULL;
    }
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

/* The most ids that a whole number up to `most` can take. Words know 0..100 as they are; a
 * vocabulary of the user's own may lack some that cannot come. */
static size_t number_tokens(const run_task *t, double most) {
    size_t longest = 0, n = 3;
    for (int i = 0; i <= 100 && i <= most; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", i);
        const size_t ids = run_count_tokens(t, number);
        if (ids > longest) longest = ids;
    }
    for (; most > 100 && n <= 10 && pow(10, (double)n - 1) <= most; n++) {
        const size_t ids = run_count_tokens(t, &"9999999999"[10 - n]);
        if (ids > longest) longest = ids;
    }
    return longest;
}

/* Bounds of x and y for what the generators make. Pieces are counted one by one; joining them can
 * only make fewer tokens. `shown`: y holds the steps.
 * Countdown: an expression of n numbers has n-1 operators and at most n-2 pairs of parentheses. */
static void bound_countdown(run_task *t, int shown) {
    const countdown_options *o = &t->countdown;
    const size_t n = (size_t)o->count_max, number = number_tokens(t, o->number_max);
    const double most = pow(o->number_max, o->count_max);       /* the largest value in a step */
    const size_t step = 3 * number_tokens(t, most < 1e9 ? most : 1e9) + 2 +
                        run_count_tokens(t, "\n");
    const size_t fixed = run_count_tokens(t, "numbers:") + run_count_tokens(t, " target:");
    const size_t blank = run_count_tokens(t, " ");              /* 0 for words */
    const size_t parentheses = 2 * (n > 2 ? n - 2 : 0);
    t->max_x = fixed + n * (number + blank) + number_tokens(t, o->target_max) + blank;
    t->max_y = run_count_tokens(t, t->mark) + n * number + (n - 1) + parentheses + 1;
    if (shown) t->max_y += (n - 1) * step;
}

/* ProsQA: a graph has at most twice as many facts as nodes. */
static void bound_prosqa(run_task *t, int shown) {
    size_t word = 0;
    char spaced[40];
    for (size_t i = 0; prosqa_word(i); i++) {
        snprintf(spaced, sizeof spaced, " %s", prosqa_word(i));
        if (run_count_tokens(t, spaced) > word) word = run_count_tokens(t, spaced);
    }
    const size_t fact = run_count_tokens(t, " Every") + run_count_tokens(t, " is") +
                        run_count_tokens(t, " a") + run_count_tokens(t, ".") + 2 * word;
    const size_t question = run_count_tokens(t, " Is") + run_count_tokens(t, " a") +
                            run_count_tokens(t, " or") + run_count_tokens(t, "?") + 3 * word;
    t->max_x = 2 * (size_t)t->prosqa.nodes_max * fact + question;
    t->max_y = run_count_tokens(t, t->mark) + fact + 1;
    if (shown) t->max_y += (size_t)t->prosqa.path_max * (fact + run_count_tokens(t, "\n"));
}

/* ---- Rows of a file -------------------------------------------------------------------------- */

void run_report_broken(const task_set *set, const char *file, char *out, size_t size) {
    *out = 0;
    if (set->broken)
        snprintf(out, size, "%.400s: %zu broken row%s left out, %zu used; the first:\n%s", file,
                 set->broken, set->broken == 1 ? "" : "s", set->count, set->complaints);
}

int run_refuse_row(const run_settings *set, const char *source, size_t line, const char *why,
                   size_t *left_out, char *report, size_t report_size, char *error, size_t size) {
    const size_t n = strlen(report);
    const int skip = run_skips_broken(set);
    if (skip && (*left_out)++ < 3)
        snprintf(report + n, report_size - n, "%.200s:%zu: row left out: %.200s\n", source, line,
                 why);
    if (!skip)
        snprintf(error, size, "%s:%zu: %s; --broken skip leaves such rows out", source, line, why);
    return skip;
}

/* A row's ids behind the others'. 0: why not. */
static int pack_to_train(run_task *t, const task_row *row, char *why, size_t size) {
    if (*row->answer) return run_pack(t, row, &t->ids, why, size);
    snprintf(why, size, "no \"steps\" and no \"answer\": such a problem can be scored, not trained "
             "on");
    return 0;
}

/* All rows of a file as packed ids. The texts are not kept. */
static int load_rows(const run_settings *set, run_task *t, char *error, size_t size) {
    task_set rows;
    if (!task_read(t->kind, set->data, run_skips_broken(set), &rows, error, size)) return 0;
    run_report_broken(&rows, set->data, t->report, sizeof t->report);
    t->begin = calloc(rows.count, sizeof *t->begin);
    size_t left_out = 0;
    int ok = t->begin != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", set->data);
    for (size_t i = 0; ok && i < rows.count; i++) {
        const task_row row = task_get(&rows, i);
        char why[200];
        t->begin[t->n_rows] = t->ids.used;
        ok = pack_to_train(t, &row, why, sizeof why);
        t->n_rows += (size_t)ok;
        if (ok) continue;
        t->ids.used = t->begin[t->n_rows];
        ok = run_refuse_row(set, set->data, task_line(&rows, i), why, &left_out, t->report,
                            sizeof t->report, error, size);
    }
    task_free(&rows);
    if (ok && !t->n_rows)
        snprintf(error, size, "%s: no row that can be trained on; %.*s", set->data,
                 (int)strcspn(t->report, "\n"), t->report);
    return ok && t->n_rows;
}

/* Rows longer than the room: named, or with --broken skip counted and left out. */
static int refuse_long(const run_settings *set, const char *source, size_t row, const example *e,
                       size_t room, size_t *left_out, char *error, size_t size) {
    ++*left_out;
    if (run_skips_broken(set)) return 1;
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

int run_fit_rows(const run_settings *set, run_task *t, size_t room, char *error, size_t size) {
    size_t kept = 0, left_out = 0;
    t->room = room;
    t->max_x = t->n_rows ? 0 : t->max_x;
    t->max_y = t->n_rows ? 0 : t->max_y;
    for (size_t i = 0; i < t->n_rows; i++) {
        const int32_t *packed = t->ids.at + t->begin[i];
        example e;
        run_unpack(set, 0, packed, &e);
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

/* ---- A text ---------------------------------------------------------------------------------- */

/* Documents one after another, each with its end token. What stands behind the cut, the last
 * `share` of all ids, is held out; the cut moves back to where its document begins, unless that
 * would hold out more than half as much again (a single long document is cut anywhere). */
static int load_text(const char *path, int skip, double share, const run_task *t, token_block *to,
                     size_t *cut, char *report, size_t report_size, char *error, size_t size) {
    task_set set;
    if (!task_read(TASK_TEXT, path, skip, &set, error, size)) return 0;
    run_report_broken(&set, path, report, report_size);
    size_t *begin = calloc(set.count + 1, sizeof *begin);
    int ok = begin != NULL;
    if (!ok) snprintf(error, size, "%s: out of memory", path);
    for (size_t i = 0; ok && i < set.count; i++) {
        const task_row row = task_get(&set, i);
        begin[i] = to->used;
        char why[200];
        ok = run_put_text(t, to, row.question, strlen(row.question), why, sizeof why) != SIZE_MAX &&
             token_block_reserve(to, 1, why, sizeof why);
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
    if (!load_text(path, run_skips_broken(set), set->held_out, t, ids, &cut, report,
                   report_size, error, size)) {
        free(ids->at);
        return 0;
    }
    if (held_out) *first = cut;
    return 1;
}

/* ---- The whole ------------------------------------------------------------------------------- */

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
        ok = text ? load_text(set->data, run_skips_broken(set),
                              *set->valid ? 0 : set->held_out, t, &t->ids, &t->n_train, t->report,
                              sizeof t->report, error, size)
                  : load_rows(set, t, error, size);
    } else if (ok && t->generated) {
        const int shown = strcmp(set->steps_shown, "none") != 0;
        if (t->kind == TASK_COUNTDOWN) bound_countdown(t, shown);
        else bound_prosqa(t, shown);
    }
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
