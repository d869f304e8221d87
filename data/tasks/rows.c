/* rows.c: the rows of every task: the block their texts stand in, and the walk over a file of JSON
 * rows, which trusts nothing: one damaged row costs one row, not the file. Knows no task. */
#include "tasks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows --------------------------------------------------------------------------------- */

/* Room for n items of `size` bytes, doubling; 0: no memory, *block is as it was. */
int task_grow(void **block, size_t *room, size_t n, size_t size) {
    size_t more = *room ? *room : 64;
    void *grown;
    if (n <= *room)
        return 1;
    while (more < n && more <= SIZE_MAX / 2)
        more *= 2;
    if (more < n || more > SIZE_MAX / size)
        return 0;
    grown = realloc(*block, more * size);
    if (!grown)
        return 0;
    *block = grown;
    *room = more;
    return 1;
}

int task_put(task_set *set, const char *text, size_t length) {
    void *block = set->text;
    int fine = length < SIZE_MAX - set->used - 1
        && task_grow(&block, &set->room, set->used + length + 1, 1);
    set->text = block;
    if (!fine)
        return 0;
    memcpy(set->text + set->used, text, length);
    set->used += length;
    set->text[set->used++] = 0;
    return 1;
}

int task_close(task_set *set, size_t n_steps) {
    void *block = set->place;
    int fine = task_grow(&block, &set->room_places, set->count + 1, sizeof *set->place);
    set->place = block;
    if (!fine)
        return 0;
    set->place[set->count].begin = set->open;
    set->place[set->count++].steps = n_steps;
    set->open = set->used;
    return 1;
}

void task_free(task_set *set) {
    free(set->text);
    free(set->place);
    memset(set, 0, sizeof *set);
}

static const char *after(const char *text) {
    return text + strlen(text) + 1;
}

task_row task_get(const task_set *set, size_t i) {
    task_row row;
    row.question = set->text + set->place[i].begin;
    row.steps = after(row.question);
    row.n_steps = set->place[i].steps;
    row.answer = task_step(&row, row.n_steps);
    return row;
}

const char *task_step(const task_row *row, size_t i) {
    const char *step = row->steps;
    for (; i > 0; i--)
        step = after(step);
    return step;
}

/* ---- Walking over a file -------------------------------------------------------------------
 * Finds the borders of rows without trusting them: one damaged row costs one row, not the file. */

int task_is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `bytes` without blanks at either end. */
void task_strip(const char **begin, const char **end) {
    while (*begin < *end && task_is_blank(**begin))
        (*begin)++;
    while (*end > *begin && task_is_blank((*end)[-1]))
        (*end)--;
}

task_walk task_walk_begin(const char *text, size_t length) {
    task_walk w;
    memset(&w, 0, sizeof w);
    w.at = text;
    w.end = text + length;
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        w.at += 3;                                    /* a byte order mark */
    w.next_line = 1;
    for (; w.at < w.end && task_is_blank(*w.at); w.at++)
        w.next_line += *w.at == '\n';
    w.array = w.at < w.end && *w.at == '[';
    w.at += w.array;
    return w;
}

/* The end of the {...} that begins at `at`, strings skipped; `end` if it is never closed. */
static const char *object_end(const char *at, const char *end) {
    int depth = 0, quoted = 0;
    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\' && at + 1 < end)
                at++;
            else if (*at == '"')
                quoted = 0;
        } else if (*at == '"') {
            quoted = 1;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if ((*at == '}' || *at == ']') && --depth == 0) {
            return at + 1;
        }
    }
    return end;
}

int task_walk_next(task_walk *w, dual_json *row) {
    const char *stop, *c;
    for (; w->at < w->end && (task_is_blank(*w->at) || (w->array && *w->at == ',')); w->at++)
        w->next_line += *w->at == '\n';
    w->begin = w->at;
    w->line = w->next_line;
    if (w->at == w->end) {
        /* an array that never closes has lost its end: one more broken row */
        const int lost = w->array == 1;
        w->array = 0;
        w->length = 0;
        *row = dual_json_text("", 0);
        return lost;
    }
    if (w->array && *w->at == ']') {
        w->array = 2;                                 /* closed; what follows is no row */
        w->at = w->end;
        return 0;
    }
    if (w->array && *w->at == '{')
        stop = object_end(w->at, w->end);
    else
        for (stop = w->at; stop < w->end && *stop != '\n'; )
            stop++;
    for (c = w->at; c < stop; c++)
        w->next_line += *c == '\n';
    w->at = stop;
    while (stop > w->begin && task_is_blank(stop[-1]))
        stop--;
    w->length = (size_t)(stop - w->begin);
    *row = dual_json_text(w->begin, w->length);
    if (w->array && w->at == w->end && !dual_json_type(*row))
        w->array = 2;                                 /* this very row has lost its end */
    return 1;
}

char *task_string(dual_json json) {
    size_t room, length;
    char *text;
    if (dual_json_type(json) != '"')
        return NULL;
    room = (size_t)(json.end - json.begin) + 1;       /* escapes are longer than what they mean */
    text = malloc(room);
    if (!text)
        return NULL;
    length = dual_json_string(json, text, room);
    if (length >= room || strlen(text) != length) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- What readers share ---------------------------------------------------------------------- */

const char TASK_MEMORY[] = "out of memory, expected a file that fits in it";

/* Appends a JSON string, stripped. 0: it is none. */
int task_put_string(task_set *set, dual_json json) {
    char *text = task_string(json);
    const char *begin = text, *end;
    int fine;
    if (!text)
        return 0;
    end = text + strlen(text);
    task_strip(&begin, &end);
    fine = task_put(set, begin, (size_t)(end - begin));
    free(text);
    return fine;
}

const char *task_close_row(task_set *set, size_t n_steps) {
    return task_close(set, n_steps) ? NULL : TASK_MEMORY;
}

/* {"question", "steps": ["..", ".."], "answer"}, Coconut's form; no step may be [""]. */
const char *task_put_steps(task_set *set, dual_json steps, size_t *n) {
    dual_json key, value = {NULL, NULL};
    *n = 0;
    while (dual_json_each(steps, &key, &value)) {
        size_t at = set->used;
        if (!task_put_string(set, value))
            return "expected each of \"steps\" to be a string";
        if (!set->text[at])
            set->used = at;
        else
            ++*n;
    }
    return NULL;
}
