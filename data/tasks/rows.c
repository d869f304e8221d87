/* rows.c: the rows that every task is read into, and the walk over the rows of a file. It knows no
 * task. Refuses nothing in silence: every row that cannot be used is counted, and the first three
 * are kept as messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../files/files.h"
#include "tasks.h"

const char TASK_NO_MEMORY[] = "out of memory, expected a file that fits in it";

/* ---- The set ------------------------------------------------------------------------------- */

/* Room for n items of `size` bytes, doubling; 0: no memory, *block is as it was. */
static int grow(void **block, size_t *room, size_t n, size_t size) {
    size_t more = *room ? *room : 64;
    if (n <= *room) return 1;
    while (more < n && more <= SIZE_MAX / 2) more *= 2;
    if (more < n || more > SIZE_MAX / size) return 0;
    void *grown = realloc(*block, more * size);
    if (!grown) return 0;
    *block = grown;
    *room = more;
    return 1;
}

int task_put(task_set *set, const char *text, size_t length) {
    void *block = set->text;
    const int fine = length < SIZE_MAX - set->used - 1 &&
                     grow(&block, &set->room, set->used + length + 1, 1);
    set->text = block;
    if (!fine) return 0;
    memcpy(set->text + set->used, text, length);
    set->used += length;
    set->text[set->used++] = 0;
    return 1;
}

int task_close(task_set *set, size_t n_steps) {
    void *block = set->place;
    const int fine = grow(&block, &set->room_places, set->count + 1, sizeof *set->place);
    set->place = block;
    if (!fine) return 0;
    set->place[set->count].begin = set->open;
    set->place[set->count].line = 0;
    set->place[set->count++].steps = n_steps;
    set->open = set->used;
    return 1;
}

const char *task_done(task_set *set, size_t n_steps) {
    return task_close(set, n_steps) ? NULL : TASK_NO_MEMORY;
}

int task_put_row(task_set *set, const task_row *row) {
    int fine = task_put(set, row->question, strlen(row->question));
    for (size_t i = 0; fine && i < row->n_steps; i++)
        fine = task_put(set, task_step(row, i), strlen(task_step(row, i)));
    return fine && task_put(set, row->answer, strlen(row->answer)) && task_close(set, row->n_steps);
}

void task_free(task_set *set) {
    free(set->text);
    free(set->place);
    memset(set, 0, sizeof *set);
}

static const char *after(const char *text) { return text + strlen(text) + 1; }

task_row task_get(const task_set *set, size_t i) {
    task_row row;
    row.question = set->text + set->place[i].begin;
    row.steps = after(row.question);
    row.n_steps = set->place[i].steps;
    row.answer = task_step(&row, row.n_steps);        /* it stands behind the last step */
    return row;
}

const char *task_step(const task_row *row, size_t i) {
    const char *step = row->steps;
    for (; i > 0; i--) step = after(step);
    return step;
}

size_t task_line(const task_set *set, size_t i) { return set->place[i].line; }

/* ---- Strings ------------------------------------------------------------------------------- */

int task_is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void task_strip(const char **begin, const char **end) {
    while (*begin < *end && task_is_blank(**begin)) (*begin)++;
    while (*end > *begin && task_is_blank((*end)[-1])) (*end)--;
}

static const char *say(task_set *set, const char *format, const char *name) {
    snprintf(set->why, sizeof set->why, format, name);
    return set->why;
}

const char *task_text(task_set *set, dual_json json, const char *name, char **text) {
    const size_t room = (size_t)(json.end - json.begin) + 1;   /* escapes only get shorter */
    *text = NULL;
    if (dual_json_type(json) != '"') return say(set, "expected \"%s\" to hold strings", name);
    char *decoded = malloc(room);
    if (!decoded) return TASK_NO_MEMORY;
    const size_t length = dual_json_string(json, decoded, room);
    if (strlen(decoded) < length) {
        free(decoded);
        return say(set, "\"%s\" holds \\u0000, a NUL character, expected text without it", name);
    }
    *text = decoded;
    return NULL;
}

const char *task_field(task_set *set, dual_json row, const char *name, char **text) {
    const dual_json field = dual_json_get(row, name);
    *text = NULL;
    if (dual_json_type(field) != '"') return say(set, "expected \"%s\", a string", name);
    return task_text(set, field, name, text);
}

/* Frees the text. */
static const char *put_stripped(task_set *set, char *text) {
    const char *begin = text, *end = text + strlen(text);
    task_strip(&begin, &end);
    const int fine = task_put(set, begin, (size_t)(end - begin));
    free(text);
    return fine ? NULL : TASK_NO_MEMORY;
}

const char *task_put_field(task_set *set, dual_json row, const char *name) {
    char *text;
    const char *wrong = task_field(set, row, name, &text);
    return wrong ? wrong : put_stripped(set, text);
}

const char *task_put_steps(task_set *set, dual_json steps, size_t *n) {
    dual_json key, value = {NULL, NULL};
    *n = 0;
    while (dual_json_each(steps, &key, &value)) {
        const size_t at = set->used;
        char *text;
        const char *wrong = task_text(set, value, "steps", &text);
        if (!wrong) wrong = put_stripped(set, text);
        if (wrong) return wrong;
        if (set->text[at]) ++*n;
        else set->used = at;
    }
    return NULL;
}

/* ---- Walking over a file -------------------------------------------------------------------
 * Finds the borders of rows without trusting them: one damaged row costs one row, not the file. */

enum { LINES, ARRAY, ARRAY_ENDED };      /* task_walk.array */

task_walk task_walk_begin(const char *text, size_t length) {
    task_walk w;
    memset(&w, 0, sizeof w);
    w.at = text;
    w.end = text + length;
    if (length >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) w.at += 3;    /* a byte order mark */
    w.next_line = 1;
    for (; w.at < w.end && task_is_blank(*w.at); w.at++) w.next_line += *w.at == '\n';
    if (w.at < w.end && *w.at == '[') {
        w.array = ARRAY;
        w.at++;
    }
    return w;
}

/* The end of the {...} that begins at `at`, strings skipped; `end` if it is never closed. */
static const char *object_end(const char *at, const char *end) {
    int depth = 0, quoted = 0;
    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\' && at + 1 < end) at++;
            else if (*at == '"') quoted = 0;
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

/* The end of the text. An array that never closes has lost its end: one more broken row. */
static int walk_ends(task_walk *w, dual_json *row) {
    const int lost = w->array == ARRAY;
    w->array = LINES;
    w->length = 0;
    *row = dual_json_text("", 0);
    return lost;
}

int task_walk_next(task_walk *w, dual_json *row) {
    for (; w->at < w->end && (task_is_blank(*w->at) || (w->array && *w->at == ',')); w->at++)
        w->next_line += *w->at == '\n';
    w->begin = w->at;
    w->line = w->next_line;
    if (w->at == w->end) return walk_ends(w, row);
    if (w->array && *w->at == ']') {
        w->array = ARRAY_ENDED;                       /* what follows is no row */
        w->at = w->end;
        return 0;
    }
    const char *stop = w->at;
    if (w->array && *w->at == '{') stop = object_end(w->at, w->end);
    else
        while (stop < w->end && *stop != '\n') stop++;
    for (const char *c = w->at; c < stop; c++) w->next_line += *c == '\n';
    w->at = stop;
    while (stop > w->begin && task_is_blank(stop[-1])) stop--;
    w->length = (size_t)(stop - w->begin);
    *row = dual_json_text(w->begin, w->length);
    if (w->array && w->at == w->end && !dual_json_type(*row))
        w->array = ARRAY_ENDED;                       /* this very row has lost its end */
    return 1;
}

/* ---- Reading a file ------------------------------------------------------------------------ */

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && task_is_blank(*at)) at++;
    return at;
}

/* Whether a line `question||..` begins here. The question may begin like JSON, with [ or {, but not
 * as a row does, with {" or [{". */
static int begins_line(const char *at, const char *end) {
    const char *row = at < end && *at == '[' ? skip_blanks(at + 1, end) : at;
    const char *inside = row < end && *row == '{' ? skip_blanks(row + 1, end) : end;
    if (inside < end && *inside == '"') return 0;
    while (at + 1 < end && *at != '\n' && !(at[0] == '|' && at[1] == '|')) at++;
    return at + 1 < end && *at == '|';
}

static const char *read_row(task_object_reader *object, task_line_reader *line, task_set *set,
                            const task_walk *w, dual_json row) {
    const char *end = w->begin + w->length;
    if (line && !w->array && w->length > 0 && (*w->begin != '{' || begins_line(w->begin, end)))
        return line(set, w->begin, end);
    if (w->length == 0) return "the file ends within a row, expected the end of its JSON array";
    if (dual_json_type(row) != '{') return "expected one JSON object";
    return object(set, row);
}

/* Counts a broken row; the first few are kept in words. */
static void complain(task_set *set, const char *place, const char *why) {
    const size_t n = strlen(set->complaints);
    if (set->broken++ < 3)
        snprintf(set->complaints + n, sizeof set->complaints - n, "%s: %s\n", place, why);
}

int task_read_rows(const char *file, int skip, task_object_reader *object, task_line_reader *line,
                   task_set *set, char *error, size_t size) {
    const char *slash = strrchr(file, '/');
    const char *shown = skip && slash ? slash + 1 : file;
    static const char hint[] = "; --broken skip leaves such rows out";
    size_t length, number = 0;
    char *text = data_read(file, &length, error, size), place[260];
    if (!text) return 0;
    task_walk w = task_walk_begin(text, length);
    dual_json row;
    int fine = 1;
    if (line && w.array && begins_line(w.at - 1, w.end)) {     /* its [ is a question's */
        w.array = LINES;
        w.at--;
    }
    while (fine && task_walk_next(&w, &row)) {
        const char *wrong = read_row(object, line, set, &w, row);
        number++;
        if (!wrong) {
            set->place[set->count - 1].line = w.line;
            continue;
        }
        set->used = set->open;                        /* drops what was read of this row */
        /* the public arrays are one line each: there the row's number says more */
        if (w.array) snprintf(place, sizeof place, "%.200s:%zu: row %zu", shown, w.line, number);
        else snprintf(place, sizeof place, "%.200s:%zu", shown, w.line);
        fine = skip && wrong != TASK_NO_MEMORY;
        if (fine) complain(set, place, wrong);
        else snprintf(error, size, "%s: %s%s", place, wrong, skip ? "" : hint);
    }
    free(text);
    return fine;
}
