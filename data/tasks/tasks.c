/* tasks.c: rows of every task: the block they stand in, the readers of their files, the graders of
 * GSM8K and ProsQA. Countdown's and ProsQA's own rules live in countdown.c and prosqa.c. Refuses
 * nothing in silence: every row that is not used is counted and the first are kept as messages. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#define HAVE_FOLDERS 1
#else
#define HAVE_FOLDERS 0
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks.h"
#include "../files/files.h"

static const struct { const char *name; size_t stages, max_new; int unfinished; } TASKS[] = {
    { "countdown", 0, 32, COUNTDOWN_MALFORMED },
    { "gsm8k", 3, 64, GSM8K_NO_NUMBER }, { "prosqa", 6, 128, PROSQA_NEITHER }, { "text", 0, 32, 1 }
};

int task_find(const char *name, task_kind *kind) {
    int i = 0;

    while (i <= TASK_TEXT && strcmp(name, TASKS[i].name) != 0)
        i++;
    *kind = (task_kind)(i <= TASK_TEXT ? i : 0);
    return i <= TASK_TEXT;
}

const char *task_name(task_kind kind) {
    return TASKS[kind].name;
}

size_t task_stages(task_kind kind) {
    return TASKS[kind].stages;
}

size_t task_max_new(task_kind kind) {
    return TASKS[kind].max_new;
}

int task_unfinished(task_kind kind) {
    return TASKS[kind].unfinished;
}

/* ---- Rows --------------------------------------------------------------------------------- */

/* Room for n items of `size` bytes, doubling; 0: no memory, *block is as it was. */
static int grow(void **block, size_t *room, size_t n, size_t size) {
    size_t more = *room ? *room : 64;
    void *grown;

    if (n <= *room)
        return 1;
    while (more < n && more <= (size_t)-1 / 2)
        more *= 2;
    if (more < n || more > (size_t)-1 / size)
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
    int fine = length < (size_t)-1 - set->used - 1
        && grow(&block, &set->room, set->used + length + 1, 1);

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
    int fine = grow(&block, &set->room_places, set->count + 1, sizeof *set->place);

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

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `bytes` without blanks at either end. */
static void strip(const char **begin, const char **end) {
    while (*begin < *end && is_blank(**begin))
        (*begin)++;
    while (*end > *begin && is_blank((*end)[-1]))
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
    for (; w.at < w.end && is_blank(*w.at); w.at++)
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

    for (; w->at < w->end && (is_blank(*w->at) || (w->array && *w->at == ',')); w->at++)
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
    while (stop > w->begin && is_blank(stop[-1]))
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

/* ---- Readers, one per format ---------------------------------------------------------------
 * Each appends the texts of one row and closes it. NULL: done. Else what was expected. */

static const char MEMORY[] = "out of memory, expected a file that fits in it";

/* Appends a JSON string, stripped. 0: it is none. */
static int put_string(task_set *set, dual_json json) {
    char *text = task_string(json);
    const char *begin = text, *end;
    int fine;

    if (!text)
        return 0;
    end = text + strlen(text);
    strip(&begin, &end);
    fine = task_put(set, begin, (size_t)(end - begin));
    free(text);
    return fine;
}

static const char *close_row(task_set *set, size_t n_steps) {
    return task_close(set, n_steps) ? NULL : MEMORY;
}

/* An answer as it is graded: no blanks around, no commas. */
static int put_number(task_set *set, const char *begin, const char *end) {
    const size_t at = set->used;
    char *to, *from;

    strip(&begin, &end);
    if (begin == end || !task_put(set, begin, (size_t)(end - begin)))
        return 0;
    for (to = from = set->text + at; *from; from++)
        if (*from != ',')
            *to++ = *from;
    *to = 0;
    set->used = (size_t)(to - set->text) + 1;
    return to > set->text + at;
}

/* question||step step #### answer, as iCoT has it: steps parted by one blank, the answer behind
 * the last ##. */
static const char *read_icot(task_set *set, const char *begin, const char *end) {
    const char *bar = begin, *mark, *last = NULL, *at;
    size_t n = 0;

    while (bar + 1 < end && !(bar[0] == '|' && bar[1] == '|'))
        bar++;
    if (bar + 1 >= end)
        return "expected question||steps #### answer";
    for (mark = bar + 2; mark + 1 < end; mark++)
        if (mark[0] == '#' && mark[1] == '#')
            last = mark;
    for (mark = bar + 2; last && !(mark[0] == '#' && mark[1] == '#'); )
        mark++;
    if (!last)
        return "expected #### and the answer behind the steps";
    for (at = begin, begin = bar + 2; bar > at && is_blank(bar[-1]); )
        bar--;
    if (!task_put(set, at, (size_t)(bar - at)))
        return MEMORY;
    for (at = begin; at < mark; at = begin) {
        while (begin < mark && *begin != ' ')
            begin++;
        if (begin > at && !task_put(set, at, (size_t)(begin - at)))
            return MEMORY;
        n += begin > at;
        begin += begin < mark;
    }
    if (!put_number(set, last + 2, end))
        return "expected a number behind ####";
    return close_row(set, n);
}

/* {"question", "steps": ["..", ".."], "answer"}, Coconut's form; no step may be [""]. */
static const char *read_steps(task_set *set, dual_json steps, size_t *n) {
    dual_json key, value = { NULL, NULL };

    *n = 0;
    while (dual_json_each(steps, &key, &value)) {
        size_t at = set->used;

        if (!put_string(set, value))
            return "expected each of \"steps\" to be a string";
        if (!set->text[at])
            set->used = at;
        else
            ++*n;
    }
    return NULL;
}

/* {"question", "answer"} as published: the steps are the <<..>> of the answer, the number stands
 * behind its ####. */
static const char *read_worked(task_set *set, char *worked) {
    char *mark = strstr(worked, "####"), *at = worked, *close;
    size_t n = 0;

    if (!mark)
        return "expected \"answer\" to end with #### and a number";
    while ((at = strstr(at, "<<")) != NULL && at < mark && (close = strstr(at, ">>")) != NULL
           && close < mark) {
        if (!task_put(set, at, (size_t)(close + 2 - at)))
            return MEMORY;
        n++;
        at = close + 2;
    }
    if (!put_number(set, mark + 4, mark + strlen(mark)))
        return "expected a number behind ####";
    return close_row(set, n);
}

static const char *read_gsm8k(task_set *set, dual_json row) {
    dual_json steps = dual_json_get(row, "steps");
    const char *wrong;
    char *answer;
    size_t n;

    if (!put_string(set, dual_json_get(row, "question")))
        return "expected \"question\", a string";
    answer = task_string(dual_json_get(row, "answer"));
    if (!answer)
        return "expected \"answer\", a string";
    if (dual_json_type(steps) == '[') {
        wrong = read_steps(set, steps, &n);
        if (!wrong && !put_number(set, answer, answer + strlen(answer)))
            wrong = "expected \"answer\" not to be empty";
        if (!wrong)
            wrong = close_row(set, n);
    } else {
        wrong = read_worked(set, answer);
    }
    free(answer);
    return wrong;
}

/* "Is Tom a lempus or scrompus?" at the end of a question. 0: it does not end like that. */
static int read_options(const char *question, char name[32], char option[2][32]) {
    const char *last = question, *at;

    for (at = question; (at = strstr(at, "Is ")) != NULL; at += 3)
        last = at;
    return strncmp(last, "Is ", 3) == 0
        && sscanf(last, "Is %31s a %31s or %31[^?]", name, option[0], option[1]) == 3;
}

static const char *read_prosqa(task_set *set, dual_json row) {
    dual_json steps = dual_json_get(row, "steps");
    char name[32], option[2][32];
    const char *wrong;
    size_t n, at = set->used;

    if (!put_string(set, dual_json_get(row, "question")))
        return "expected \"question\", a string";
    if (!read_options(set->text + at, name, option))
        return "expected \"question\" to end like: Is Tom a lempus or scrompus?";
    if (dual_json_type(steps) != '[')
        return "expected \"steps\", a list of strings";
    wrong = read_steps(set, steps, &n);
    if (wrong)
        return wrong;
    at = set->used;
    if (!put_string(set, dual_json_get(row, "answer")) || !set->text[at])
        return "expected \"answer\", a string";
    return close_row(set, n);
}

static const char *read_countdown(task_set *set, dual_json row) {
    countdown_problem p;
    const char *wrong = countdown_read_row(row, &p);

    return wrong ? wrong : countdown_put(&p, set) ? NULL : MEMORY;
}

static const char *read_text(task_set *set, dual_json row) {
    char *text = task_string(dual_json_get(row, "text"));
    int fine;

    if (!text)
        return "expected \"text\", a string";
    if (!*text) {
        free(text);
        return "\"text\" is empty";
    }
    fine = task_put(set, text, strlen(text)) && task_put(set, "", 0);
    free(text);
    return fine ? close_row(set, 0) : MEMORY;
}

/* One choice: what stands before it, and the text whose likelihood is asked for. Between the two
 * comes one blank, unless there is one already. */
static int put_pair(task_set *set, const char *context, const char *choice) {
    const size_t n = strlen(context);

    if (!*choice || !task_put(set, context, n))
        return 0;
    if (n > 0 && !is_blank(context[n - 1]) && !is_blank(*choice)) {
        if (!task_put(set, " ", 1))
            return 0;
        set->used--;                                  /* the choice goes on from the blank */
    }
    return task_put(set, choice, strlen(choice));
}

/* {"ctx", "choices", "gold"}; where the context itself differs, "context_options" has one for
 * each choice and "continuation" what follows all of them. */
static const char *read_choices(task_set *set, dual_json row) {
    dual_json list = dual_json_get(row, "context_options"), key, value = { NULL, NULL };
    const int differ = dual_json_type(list) == '[';
    char *shared = task_string(dual_json_get(row, differ ? "continuation" : "ctx")), number[24];
    const double gold = dual_json_number(dual_json_get(row, "gold"), -1);
    const char *wrong = NULL;
    size_t n = 0;

    if (!differ)
        list = dual_json_get(row, "choices");
    if (!shared || dual_json_type(list) != '[')
        wrong = "expected \"ctx\", a string, and \"choices\", a list";
    else if (!task_put(set, "", 0))
        wrong = MEMORY;
    while (!wrong && dual_json_each(list, &key, &value)) {
        char *each = task_string(value);

        if (!each || !put_pair(set, differ ? each : shared, differ ? shared : each))
            wrong = "expected each of \"choices\" to be a string that is not empty";
        free(each);
        n++;
    }
    free(shared);
    if (!wrong && (n < 2 || !(gold >= 0) || gold >= (double)n || gold != (double)(size_t)gold))
        wrong = "expected two choices or more and \"gold\", the right one's number from 0 on";
    if (wrong)
        return wrong;
    snprintf(number, sizeof number, "%lu", (unsigned long)gold);
    return task_put(set, number, strlen(number)) ? close_row(set, 2 * n) : MEMORY;
}

/* ---- Files --------------------------------------------------------------------------------- */

static const char *read_row(task_kind kind, task_set *set, const task_walk *w, dual_json row) {
    static const char *(*const readers[])(task_set *, dual_json) = {
        read_countdown, read_gsm8k, read_prosqa, read_text, read_choices
    };

    if (kind == TASK_GSM8K && !w->array && w->length > 0 && *w->begin != '{')
        return read_icot(set, w->begin, w->begin + w->length);
    if (w->length == 0)
        return "the file ends within a row, expected the end of its JSON array";
    if (dual_json_type(row) != '{')
        return "expected one JSON object";
    return readers[kind](set, row);
}

/* Counts a broken row; the first few are kept in words. */
static void complain(task_set *set, const char *place, const char *why) {
    const size_t n = strlen(set->complaints);

    if (set->broken++ < 3)
        snprintf(set->complaints + n, sizeof set->complaints - n, "%s: %s\n", place, why);
}

/* Adds a file's rows to the set. 0: it cannot be read at all, or a row is broken and may not be. */
static int read_file(task_kind kind, const char *file, int skip, task_set *set, char *error,
                     size_t size) {
    const char *dot = strrchr(file, '.');
    const int plain = kind == TASK_TEXT && !(dot && (!strcmp(dot, ".json") ||
                                                     !strcmp(dot, ".jsonl")));
    const char *slash = strrchr(file, '/');
    size_t length, number = 0;
    char *text = data_read(file, &length, error, size), place[260];
    task_walk w;
    dual_json row;

    if (!text)
        return 0;
    if (plain) {
        const int fine = !length || (task_put(set, text, length) && task_put(set, "", 0)
                                     && task_close(set, 0));

        free(text);
        if (!fine)
            snprintf(error, size, "%s: %s", file, MEMORY);
        return fine;
    }
    w = task_walk_begin(text, length);
    while (task_walk_next(&w, &row)) {
        const char *wrong = read_row(kind, set, &w, row);

        number++;
        if (!wrong)
            continue;
        set->used = set->open;
        /* the public arrays are one line each: there the row says more */
        snprintf(place, sizeof place, w.array ? "%.200s:%lu: row %lu" : "%.200s:%lu",
                 skip && slash ? slash + 1 : file, (unsigned long)w.line, (unsigned long)number);
        if (!skip || wrong == MEMORY) {
            snprintf(error, size, "%s: %s%s", place, wrong,
                     skip ? "" : "; --broken skip leaves such rows out");
            free(text);
            return 0;
        }
        complain(set, place, wrong);
    }
    free(text);
    return 1;
}

#if HAVE_FOLDERS
static int is_text_file(const char *name) {
    const char *dot = strrchr(name, '.');

    return dot && *name != '.' && (!strcmp(dot, ".txt") || !strcmp(dot, ".json")
                                   || !strcmp(dot, ".jsonl"));
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* -1: `path` is no folder. The files' order is that of their names, not the file system's. */
static int read_folder(const char *path, int skip, task_set *set, char *error, size_t size) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    void *names = NULL;
    char **name = NULL;
    size_t n = 0, room = 0, i;
    int fine = 1;

    if (!folder)
        return -1;
    while (fine && (entry = readdir(folder)) != NULL) {
        if (!is_text_file(entry->d_name))
            continue;
        fine = grow(&names, &room, n + 1, sizeof *name);
        name = names;
        if (fine)
            name[n] = malloc(strlen(path) + strlen(entry->d_name) + 2);
        fine = fine && name[n];
        if (fine)
            sprintf(name[n++], "%s/%s", path, entry->d_name);
    }
    closedir(folder);
    if (!fine)
        snprintf(error, size, "%s: %s", path, MEMORY);
    if (n > 0)
        qsort(names, n, sizeof *name, compare_names);
    for (i = 0; fine && i < n; i++)
        fine = read_file(TASK_TEXT, name[i], skip, set, error, size);
    for (i = 0; i < n; i++)
        free(name[i]);
    free(names);
    return fine;
}
#endif

int task_read(task_kind kind, const char *file, int skip, task_set *set, char *error, size_t size) {
    int fine = -1;

    memset(set, 0, sizeof *set);
#if HAVE_FOLDERS
    if (kind == TASK_TEXT)
        fine = read_folder(file, skip, set, error, size);
#endif
    if (fine < 0)
        fine = read_file(kind, file, skip, set, error, size);
    if (fine && !set->count) {
        fine = 0;
        if (set->broken)
            snprintf(error, size, "%s: not one of its %lu rows can be used; %.*s", file,
                     (unsigned long)set->broken, (int)strcspn(set->complaints, "\n"),
                     set->complaints);
        else
            snprintf(error, size, "%s: nothing in it, expected rows of --task %s", file,
                     kind == TASK_CHOICES ? "choices" : task_name(kind));
    }
    if (!fine)
        task_free(set);
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
        return (size_t)-1;
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

/* ---- Grading ------------------------------------------------------------------------------- */

/* A decimal number as digits without needless zeros: sign, whole part, fraction. 0: it is none. */
static int canonical_number(const char *begin, const char *end, char *out, size_t size) {
    const char *whole, *point;
    size_t n = 0;
    int minus = begin < end && *begin == '-', digits = 0, zero = 1;

    begin += begin < end && (*begin == '-' || *begin == '+');
    for (whole = begin; begin < end && *begin >= '0' && *begin <= '9'; begin++)
        digits = 1;
    point = begin;
    if (begin < end && *begin == '.')
        for (begin++; begin < end && *begin >= '0' && *begin <= '9'; begin++)
            digits = 1;
    if (!digits || begin != end || (size_t)(end - whole) + 3 > size)
        return 0;
    while (whole < point && *whole == '0')
        whole++;
    if (point < end)                                  /* zeros at the fraction's end, its point */
        while (end > point && (end[-1] == '0' || end[-1] == '.') && end - 1 >= point)
            end--;
    for (begin = whole; begin < end; begin++)
        zero = zero && (*begin == '0' || *begin == '.');
    if (minus && !zero)
        out[n++] = '-';
    for (; whole < end; whole++)
        out[n++] = *whole;
    out[n] = 0;
    return 1;
}

static int grade_gsm8k(const char *gold, const char *y) {
    char said[256], mine[264], theirs[264];
    const char *begin = said, *end;
    size_t n = 0;

    for (; *y && n + 1 < sizeof said; y++)
        if (*y != ',')
            said[n++] = *y;
    said[n] = 0;
    end = said + n;
    strip(&begin, &end);
    if (!canonical_number(begin, end, mine, sizeof mine))
        return begin < end && (size_t)(end - begin) == strlen(gold)
            && memcmp(begin, gold, strlen(gold)) == 0 ? GSM8K_CORRECT : GSM8K_NO_NUMBER;
    return canonical_number(gold, gold + strlen(gold), theirs, sizeof theirs)
        && strcmp(mine, theirs) == 0 ? GSM8K_CORRECT : GSM8K_WRONG;
}

/* Whether `word` stands in y with no letter beside it. */
static int has_word(const char *y, const char *word) {
    const size_t n = strlen(word);
    const char *at = y;

    for (; (at = strstr(at, word)) != NULL; at++) {
        const char before = at > y ? at[-1] : ' ', behind = at[n];

        if (!((before | 32) >= 'a' && (before | 32) <= 'z')
            && !((behind | 32) >= 'a' && (behind | 32) <= 'z'))
            return 1;
    }
    return 0;
}

static int grade_prosqa(const task_row *row, const char *y) {
    char name[32], option[2][32];
    const char *end = y + strlen(y);
    int right, said[2], i;

    strip(&y, &end);
    if ((size_t)(end - y) == strlen(row->answer) && memcmp(y, row->answer, (size_t)(end - y)) == 0)
        return PROSQA_CORRECT;
    if (!read_options(row->question, name, option))
        return PROSQA_NEITHER;
    right = has_word(row->answer, option[1]);
    for (i = 0; i < 2; i++)
        said[i] = has_word(y, option[i]);
    if (said[0] == said[1])
        return PROSQA_NEITHER;
    return said[right] ? PROSQA_RIGHT_OPTION : PROSQA_WRONG_OPTION;
}

int task_grade(task_kind kind, const task_row *row, const char *y) {
    countdown_problem p;

    y = countdown_final(y);
    if (kind == TASK_GSM8K)
        return grade_gsm8k(row->answer, y);
    if (kind == TASK_PROSQA)
        return grade_prosqa(row, y);
    if (kind == TASK_COUNTDOWN && countdown_parse(row->question, &p))
        return (int)countdown_grade(&p, y);
    return 1;
}

const char *task_verdict_name(task_kind kind, int verdict) {
    static const char *const gsm8k[] = { "correct", "no number", "wrong number" };
    static const char *const prosqa[] = {
        "correct", "right option", "wrong option", "neither option"
    };

    if (kind == TASK_COUNTDOWN)
        return verdict <= COUNTDOWN_OVERFLOW ? countdown_verdict_name((countdown_verdict)verdict)
                                             : NULL;
    if (kind == TASK_GSM8K)
        return verdict <= GSM8K_WRONG ? gsm8k[verdict] : NULL;
    return kind == TASK_PROSQA && verdict <= PROSQA_NEITHER ? prosqa[verdict] : NULL;
}
