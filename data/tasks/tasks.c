/* tasks.c: the table of tasks, and what is the same for all of them: reading a file of rows,
 * telling problems apart, grading. Refuses nothing in silence: every row that is not used is
 * counted, and the first are kept as messages. */
#include "tasks.h"
#include "../files/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The table ------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    size_t stages, max_new;            /* see tasks.h */
    int unfinished;                    /* the verdict on an answer without an end token */
    const char *(*read)(task_set *, dual_json row);
    int (*grade)(const task_row *, const char *y);      /* y: what follows its last # */
    const char *const *verdicts;       /* by number, NULL behind the last */
} task;

static const char *const NO_VERDICTS[] = {NULL};

static int grade_nothing(const task_row *row, const char *y) {
    (void)row;
    (void)y;
    return 1;
}

/* In the order of task_kind. */
static const task TASKS[] = {
    {"countdown", 0, 32, COUNTDOWN_MALFORMED, countdown_read, countdown_grade_row,
     COUNTDOWN_VERDICTS},
    {"gsm8k", 3, 64, GSM8K_NO_NUMBER, gsm8k_read, gsm8k_grade, GSM8K_VERDICTS},
    {"prosqa", 6, 128, PROSQA_NEITHER, prosqa_read, prosqa_grade, PROSQA_VERDICTS},
    {"text", 0, 32, 1, text_read, grade_nothing, NO_VERDICTS},
    {"choices", 0, 32, 1, choices_read, grade_nothing, NO_VERDICTS},
};

int task_find(const char *name, task_kind *kind) {
    for (int i = 0; i <= TASK_TEXT; i++)
        if (!strcmp(name, TASKS[i].name)) {
            *kind = (task_kind)i;
            return 1;
        }
    *kind = TASK_COUNTDOWN;
    return 0;
}

const char *task_name(task_kind kind) { return TASKS[kind].name; }
size_t task_stages(task_kind kind) { return TASKS[kind].stages; }
size_t task_max_new(task_kind kind) { return TASKS[kind].max_new; }
int task_unfinished(task_kind kind) { return TASKS[kind].unfinished; }

/* ---- Files ----------------------------------------------------------------------------------- */

static const char *read_row(task_kind kind, task_set *set, const task_walk *w, dual_json row) {
    if (kind == TASK_GSM8K && !w->array && w->length > 0 && *w->begin != '{')
        return gsm8k_read_line(set, w->begin, w->begin + w->length);
    if (!w->length) return "the file ends within a row, expected the end of its JSON array";
    if (dual_json_type(row) != '{') return "expected one JSON object";
    return TASKS[kind].read(set, row);
}

/* Counts a broken row; the first few are kept in words. */
static void complain(task_set *set, const char *place, const char *why) {
    const size_t n = strlen(set->complaints);
    if (set->broken++ < 3)
        snprintf(set->complaints + n, sizeof set->complaints - n, "%s: %s\n", place, why);
}

/* A whole file as one document; an empty one is none. */
static int read_document(const char *text, size_t length, task_set *set) {
    if (!length) return 1;
    return task_put(set, text, length) && task_put(set, "", 0) && task_close(set, 0);
}

/* The rows of a text. 0: a row is broken and may not be, or there is no memory. */
static int read_rows(task_kind kind, const char *file, const char *text, size_t length, int skip,
                     task_set *set, char *error, size_t size) {
    const char *slash = strrchr(file, '/');
    const char *shown = skip && slash ? slash + 1 : file;
    char place[260];
    task_walk w = task_walk_begin(text, length);
    dual_json row;
    for (size_t number = 1; task_walk_next(&w, &row); number++) {
        const char *wrong = read_row(kind, set, &w, row);
        if (!wrong) continue;
        set->used = set->open;
        /* the public arrays are one line each: there the row says more */
        snprintf(place, sizeof place, w.array ? "%.200s:%lu: row %lu" : "%.200s:%lu", shown,
                 (unsigned long)w.line, (unsigned long)number);
        if (!skip || wrong == TASK_MEMORY) {
            snprintf(error, size, "%s: %s%s", place, wrong,
                     skip ? "" : "; --broken skip leaves such rows out");
            return 0;
        }
        complain(set, place, wrong);
    }
    return 1;
}

/* Adds a file's rows to the set. */
static int read_file(task_kind kind, const char *file, int skip, task_set *set, char *error,
                     size_t size) {
    size_t length;
    char *text = data_read(file, &length, error, size);
    int fine;
    if (!text) return 0;
    if (kind == TASK_TEXT && !text_is_rows(file)) {
        fine = read_document(text, length, set);
        if (!fine) snprintf(error, size, "%s: %s", file, TASK_MEMORY);
    } else fine = read_rows(kind, file, text, length, skip, set, error, size);
    free(text);
    return fine;
}

/* -1: `path` is no folder. */
static int read_folder(const char *path, int skip, task_set *set, char *error, size_t size) {
    text_files list;
    int fine = text_folder(path, &list);
    if (!fine) snprintf(error, size, "%s: %s", path, TASK_MEMORY);
    for (size_t i = 0; fine > 0 && i < list.n; i++)
        fine = read_file(TASK_TEXT, list.name[i], skip, set, error, size);
    text_files_free(&list);
    return fine;
}

int task_read(task_kind kind, const char *file, int skip, task_set *set, char *error, size_t size) {
    int fine = -1;
    memset(set, 0, sizeof *set);
    if (kind == TASK_TEXT) fine = read_folder(file, skip, set, error, size);
    if (fine < 0) fine = read_file(kind, file, skip, set, error, size);
    if (fine && !set->count) {
        fine = 0;
        if (set->broken)
            snprintf(error, size, "%s: not one of its %lu rows can be used; %.*s", file,
                     (unsigned long)set->broken, (int)strcspn(set->complaints, "\n"),
                     set->complaints);
        else
            snprintf(error, size, "%s: nothing in it, expected rows of --task %s", file,
                     task_name(kind));
    }
    if (!fine) task_free(set);
    return fine;
}

/* ---- Telling problems apart ---------------------------------------------------------------- */

uint64_t task_hash(task_kind kind, const task_row *row) {
    countdown_problem p;
    char key[COUNTDOWN_TEXT];
    const char *c = row->question;
    uint64_t hash = UINT64_C(14695981039346656037);   /* FNV-1a */
    if (kind == TASK_COUNTDOWN && countdown_parse(row->question, &p)) {
        countdown_key(&p, key, sizeof key);
        c = key;
    }
    for (; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return hash;
}

static int compare_hashes(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

size_t task_overlap(task_kind kind, const task_row *rows, size_t n, const task_set *others,
                    unsigned char *shared) {
    uint64_t *hashes = malloc((others->count ? others->count : 1) * sizeof *hashes);
    size_t found = 0, i;
    if (!hashes)
        return SIZE_MAX;
    for (i = 0; i < others->count; i++) {
        const task_row other = task_get(others, i);
        hashes[i] = task_hash(kind, &other);
    }
    if (others->count > 0)
        qsort(hashes, others->count, sizeof *hashes, compare_hashes);
    for (i = 0; i < n; i++) {
        const uint64_t hash = task_hash(kind, &rows[i]);
        shared[i] = others->count > 0
            && bsearch(&hash, hashes, others->count, sizeof *hashes, compare_hashes) != NULL;
        found += shared[i];
    }
    free(hashes);
    return found;
}

/* ---- Grading --------------------------------------------------------------------------------- */

const char *task_final(const char *y) {
    const char *mark = strrchr(y, '#');
    return mark ? mark + 1 : y;
}

int task_grade(task_kind kind, const task_row *row, const char *y) {
    return TASKS[kind].grade(row, task_final(y));
}

const char *task_verdict_name(task_kind kind, int verdict) {
    for (int i = 0; i <= verdict; i++)
        if (!TASKS[kind].verdicts[i]) return NULL;
    return TASKS[kind].verdicts[verdict];
}
