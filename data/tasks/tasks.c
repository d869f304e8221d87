/* tasks.c: the table of the tasks, and what holds for all of them: reading a file, telling problems
 * apart, grading a generated text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

static const struct {
    const char *name;
    size_t stages, max_new;        /* see task_stages, task_max_new */
    int unfinished;                /* see task_unfinished */
    int (*read)(const char *file, int skip, task_set *, char *error, size_t size);
    /* Which problem a row is, as a text; 0: the question says it. NULL: it does so in all rows. */
    int (*key)(const task_row *, char *out, size_t size);
    /* The verdict on an answer, its steps cut off. NULL: there is nothing to grade. */
    int (*grade)(const task_row *, const char *answer);
    size_t (*steps)(const task_row *);     /* of a row that shows none; NULL: it has none */
    const char *verdict[TASK_VERDICTS];
} TASKS[] = {
    [TASK_COUNTDOWN] = {
        .name = "countdown", .max_new = 32, .unfinished = COUNTDOWN_MALFORMED,
        .read = countdown_read, .key = countdown_row_key, .grade = countdown_row_grade,
        .steps = countdown_row_steps,
        .verdict = {"correct", "malformed", "wrong numbers", "wrong value", "division by zero",
                    "overflow"}
    },
    [TASK_GSM8K] = {
        .name = "gsm8k", .stages = 3, .max_new = 64, .unfinished = GSM8K_NO_NUMBER,
        .read = gsm8k_read, .grade = gsm8k_grade,
        .verdict = {"correct", "no number", "wrong number"}
    },
    [TASK_PROSQA] = {
        .name = "prosqa", .stages = 6, .max_new = 128, .unfinished = PROSQA_NEITHER,
        .read = prosqa_read, .grade = prosqa_grade,
        .verdict = {"correct", "right option", "wrong option", "neither option"}
    },
    [TASK_TEXT] = {.name = "text", .max_new = 32, .unfinished = 1, .read = text_read},
    [TASK_CHOICES] = {.name = "choices", .unfinished = 1, .read = choices_read}
};

int task_find(const char *name, task_kind *kind) {
    int i = 0;
    while (i < TASK_CHOICES && strcmp(name, TASKS[i].name)) i++;
    *kind = i < TASK_CHOICES ? (task_kind)i : TASK_COUNTDOWN;
    return i < TASK_CHOICES;
}

const char *task_name(task_kind kind) { return TASKS[kind].name; }
size_t task_stages(task_kind kind) { return TASKS[kind].stages; }
size_t task_max_new(task_kind kind) { return TASKS[kind].max_new; }
int task_unfinished(task_kind kind) { return TASKS[kind].unfinished; }

size_t task_steps(task_kind kind, const task_row *row) {
    const int shown = row->n_steps > 0 || !TASKS[kind].steps;
    return shown ? row->n_steps : TASKS[kind].steps(row);
}

/* ---- Files --------------------------------------------------------------------------------- */

int task_read(task_kind kind, const char *file, int skip, task_set *set, char *error, size_t size) {
    memset(set, 0, sizeof *set);
    const int fine = TASKS[kind].read(file, skip, set, error, size);
    if (fine && set->count) return 1;
    if (fine && set->broken)
        snprintf(error, size, "%s: not one of its %zu rows can be used; %.*s", file, set->broken,
                 (int)strcspn(set->complaints, "\n"), set->complaints);
    if (fine && !set->broken)
        snprintf(error, size, "%s: nothing in it, expected rows of --task %s", file,
                 task_name(kind));
    task_free(set);
    return 0;
}

/* ---- Telling problems apart ---------------------------------------------------------------- */

uint64_t task_hash(task_kind kind, const task_row *row) {
    char key[200];
    const char *c = row->question;
    if (TASKS[kind].key && TASKS[kind].key(row, key, sizeof key)) c = key;
    uint64_t hash = UINT64_C(14695981039346656037);   /* FNV-1a */
    for (; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return hash;
}

static int compare_hashes(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

size_t task_overlap(task_kind kind, const task_row *rows, size_t n, const task_set *others,
                    unsigned char *shared) {
    uint64_t *hashes = malloc((others->count + 1) * sizeof *hashes);
    if (!hashes) return SIZE_MAX;
    for (size_t i = 0; i < others->count; i++) {
        const task_row other = task_get(others, i);
        hashes[i] = task_hash(kind, &other);
    }
    qsort(hashes, others->count, sizeof *hashes, compare_hashes);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t hash = task_hash(kind, &rows[i]);
        shared[i] = bsearch(&hash, hashes, others->count, sizeof *hashes, compare_hashes) != NULL;
        found += shared[i];
    }
    free(hashes);
    return found;
}

/* ---- Grading ------------------------------------------------------------------------------- */

const char *task_final(const char *y) {
    const char *mark = strrchr(y, '#');
    return mark ? mark + 1 : y;
}

int task_grade(task_kind kind, const task_row *row, const char *y) {
    return TASKS[kind].grade ? TASKS[kind].grade(row, task_final(y)) : 1;
}

const char *task_verdict_name(task_kind kind, int verdict) {
    return verdict < TASK_VERDICTS ? TASKS[kind].verdict[verdict] : NULL;
}
