/* gsm8k.c: GSM8K, word problems for children whose answer is a number. Reads the three forms in
 * which the set is published, grades numbers as numbers. Formats: tasks.h. */
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

/* ---- The reader ---------------------------------------------------------------------------- */

/* An answer as it is graded: no blanks around, no commas. 0: nothing is left, or no memory. */
static int put_number(task_set *set, const char *begin, const char *end) {
    const size_t at = set->used;
    task_strip(&begin, &end);
    if (begin == end || !task_put(set, begin, (size_t)(end - begin))) return 0;
    char *to = set->text + at;
    for (const char *from = to; *from; from++)
        if (*from != ',') *to++ = *from;
    *to = 0;
    set->used = (size_t)(to - set->text) + 1;
    return to > set->text + at;
}

/* The first "##" at or behind `at`, NULL: there is none. */
static const char *find_mark(const char *at, const char *end) {
    for (; at + 1 < end; at++)
        if (at[0] == '#' && at[1] == '#') return at;
    return NULL;
}

/* question||step step #### answer, as iCoT has it: one blank between steps, the answer behind the
 * last ##. */
static const char *read_line(task_set *set, const char *begin, const char *end) {
    const char *bar = begin;
    while (bar + 1 < end && !(bar[0] == '|' && bar[1] == '|')) bar++;
    if (bar + 1 >= end) return "expected question||steps #### answer";
    const char *at = bar + 2, *mark = find_mark(at, end), *last = mark;
    if (!mark) return "expected #### and the answer behind the steps";
    for (const char *next = mark; next; next = find_mark(next + 1, end)) last = next;
    while (bar > begin && task_is_blank(bar[-1])) bar--;
    if (!task_put(set, begin, (size_t)(bar - begin))) return TASK_NO_MEMORY;
    size_t n = 0;
    while (at < mark) {
        const char *stop = at;
        while (stop < mark && *stop != ' ') stop++;
        if (stop > at && !task_put(set, at, (size_t)(stop - at))) return TASK_NO_MEMORY;
        n += stop > at;
        at = stop < mark ? stop + 1 : stop;
    }
    if (!put_number(set, last + 2, end)) return "expected a number behind ####";
    return task_done(set, n);
}

/* {"question", "answer"} as published: the steps are the <<..>> of the answer, the number stands
 * behind its ####. */
static const char *read_worked(task_set *set, const char *worked) {
    const char *mark = strstr(worked, "####"), *at = worked, *close;
    size_t n = 0;
    if (!mark) return "expected \"answer\" to end with #### and a number";
    while ((at = strstr(at, "<<")) != NULL && at < mark && (close = strstr(at, ">>")) != NULL &&
           close < mark) {
        if (!task_put(set, at, (size_t)(close + 2 - at))) return TASK_NO_MEMORY;
        n++;
        at = close + 2;
    }
    if (!put_number(set, mark + 4, mark + strlen(mark))) return "expected a number behind ####";
    return task_done(set, n);
}

/* {"question", "steps", "answer"}, Coconut's form. */
static const char *read_listed(task_set *set, dual_json steps, const char *answer) {
    size_t n;
    const char *wrong = task_put_steps(set, steps, &n);
    if (wrong) return wrong;
    if (!put_number(set, answer, answer + strlen(answer)))
        return "expected \"answer\" not to be empty";
    return task_done(set, n);
}

static const char *read_object(task_set *set, dual_json row) {
    const dual_json steps = dual_json_get(row, "steps");
    if (!task_put_string(set, dual_json_get(row, "question")))
        return "expected \"question\", a string";
    char *answer = task_string(dual_json_get(row, "answer"));
    if (!answer) return "expected \"answer\", a string";
    const char *wrong = dual_json_type(steps) == '[' ? read_listed(set, steps, answer)
                                                     : read_worked(set, answer);
    free(answer);
    return wrong;
}

int gsm8k_read(const char *file, int skip, task_set *set, char *error, size_t size) {
    return task_read_rows(file, skip, read_object, read_line, set, error, size);
}

/* ---- The grader ---------------------------------------------------------------------------- */

static const char *skip_digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

/* A decimal number without needless zeros: sign, whole part, fraction; zero is "". 0: it is none,
 * or too long for out. */
static int canonical_number(const char *begin, const char *end, char *out, size_t size) {
    const int minus = begin < end && *begin == '-';
    const char *whole = begin + (begin < end && (*begin == '-' || *begin == '+'));
    const char *point = skip_digits(whole, end), *stop = point;
    if (point < end && *point == '.') stop = skip_digits(point + 1, end);
    const int digits = point > whole || stop > point + 1;
    if (!digits || stop != end || (size_t)(end - whole) + 3 > size) return 0;
    while (whole < point && *whole == '0') whole++;
    if (point < end) {                                /* zeros at the fraction's end, its point */
        while (end > point + 1 && end[-1] == '0') end--;
        if (end == point + 1) end = point;
    }
    size_t n = 0;
    if (minus && whole < end) out[n++] = '-';
    memcpy(out + n, whole, (size_t)(end - whole));
    out[n + (size_t)(end - whole)] = 0;
    return 1;
}

int gsm8k_grade(const task_row *row, const char *y) {
    const char *gold = row->answer;
    char said[256], mine[264], theirs[264];
    size_t n = 0;
    for (; *y && n + 1 < sizeof said; y++)
        if (*y != ',') said[n++] = *y;
    const char *begin = said, *end = said + n;
    task_strip(&begin, &end);
    n = (size_t)(end - begin);
    if (!canonical_number(begin, end, mine, sizeof mine)) {
        /* the gold answer may be no number either */
        const int same = n > 0 && n == strlen(gold) && !memcmp(begin, gold, n);
        return same ? GSM8K_CORRECT : GSM8K_NO_NUMBER;
    }
    const int same = canonical_number(gold, gold + strlen(gold), theirs, sizeof theirs) &&
                     !strcmp(mine, theirs);
    return same ? GSM8K_CORRECT : GSM8K_WRONG;
}
