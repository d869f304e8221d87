/* gsm8k.c: GSM8K, word problems for children whose answer is a number. Reads the three forms in
 * which the set is published, grades numbers as numbers. Formats: tasks.h. */
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

/* ---- Numbers ----------------------------------------------------------------------------------
 * What a number is, for gold answers and for those that are graded: a sign or none, digits, a point
 * or none. Commas among them and blanks around them do not count. Of any length: nothing is
 * copied. */

/* Its digits from whole to end, without needless zeros; a whole number ends at its point. */
typedef struct { int minus; const char *whole, *point, *end; } decimal;

static int is_spare(char c) { return c == ',' || task_is_blank(c); }

static void strip_spare(const char **begin, const char **end) {
    while (*begin < *end && is_spare(**begin)) ++*begin;
    while (*begin < *end && is_spare((*end)[-1])) --*end;
}

static int is_needless(char c) { return c == '0' || c == ',' || c == '.'; }

/* 0: it is no number. */
static int read_decimal(const char *begin, const char *end, decimal *d) {
    size_t digits = 0;
    strip_spare(&begin, &end);
    d->minus = begin < end && *begin == '-';
    if (begin < end && (*begin == '-' || *begin == '+')) begin++;
    d->point = end;
    for (const char *c = begin; c < end; c++) {
        if (*c == '.' && d->point == end) d->point = c;
        else if (*c >= '0' && *c <= '9') digits++;
        else if (*c != ',') return 0;
    }
    d->whole = begin;
    d->end = end;
    while (d->whole < d->point && is_needless(*d->whole)) d->whole++;
    while (d->end > d->point && is_needless(d->end[-1])) d->end--;
    d->minus = d->minus && d->whole < d->end;          /* there is no -0 */
    return digits > 0;
}

static int same_decimal(const decimal *x, const decimal *y) {
    const char *a = x->whole, *b = y->whole;
    if (x->minus != y->minus) return 0;
    for (;;) {
        while (a < x->end && *a == ',') a++;
        while (b < y->end && *b == ',') b++;
        if (a == x->end || b == y->end) return a == x->end && b == y->end;
        if (*a++ != *b++) return 0;
    }
}

/* ---- The reader --------------------------------------------------------------------------------
 * In every form the gold answer is what follows the last #, as in a text that is graded. */

static const char NO_NUMBER[] = "expected a number behind ####, and nothing else";

/* The gold answer as it will be shown: no blanks around, no commas. Returns what a reader does. */
static const char *put_gold(task_set *set, const char *begin, const char *end) {
    const size_t at = set->used;
    decimal d;
    for (const char *c = begin; c < end; c++)
        if (*c == '#') begin = c + 1;
    if (!read_decimal(begin, end, &d)) return NO_NUMBER;
    strip_spare(&begin, &end);
    if (!task_put(set, begin, (size_t)(end - begin))) return TASK_NO_MEMORY;
    char *to = set->text + at;
    for (const char *from = to; *from; from++)
        if (*from != ',') *to++ = *from;
    *to = 0;
    set->used = (size_t)(to - set->text) + 1;
    return NULL;
}

/* The first "##" at or behind `at`, NULL: there is none. */
static const char *find_mark(const char *at, const char *end) {
    for (; at + 1 < end; at++)
        if (at[0] == '#' && at[1] == '#') return at;
    return NULL;
}

/* question||step step #### answer, as iCoT has it: one blank between steps. */
static const char *read_line(task_set *set, const char *begin, const char *end) {
    const char *bar = begin;
    while (bar + 1 < end && !(bar[0] == '|' && bar[1] == '|')) bar++;
    if (bar + 1 >= end) return "expected question||steps #### answer";
    const char *at = bar + 2, *mark = find_mark(at, end);
    if (!mark) return "expected #### and the answer behind the steps";
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
    const char *wrong = put_gold(set, mark, end);
    return wrong ? wrong : task_done(set, n);
}

/* {"question", "answer"} as published: the steps are the <<..>> of the answer, the number stands
 * behind its ####. */
static const char *read_worked(task_set *set, const char *worked) {
    const char *end = worked + strlen(worked), *at = worked, *close;
    size_t n = 0;
    if (!find_mark(worked, end))
        return "expected \"steps\", a list of strings, or \"answer\" to end with #### and a "
               "number";
    while ((at = strstr(at, "<<")) != NULL && (close = strstr(at, ">>")) != NULL) {
        if (!task_put(set, at, (size_t)(close + 2 - at))) return TASK_NO_MEMORY;
        n++;
        at = close + 2;
    }
    const char *wrong = put_gold(set, worked, end);
    return wrong ? wrong : task_done(set, n);
}

/* {"question", "steps", "answer"}, Coconut's form. */
static const char *read_listed(task_set *set, dual_json steps, const char *answer) {
    size_t n;
    const char *wrong = task_put_steps(set, steps, &n);
    if (!wrong) wrong = put_gold(set, answer, answer + strlen(answer));
    return wrong ? wrong : task_done(set, n);
}

static const char *read_object(task_set *set, dual_json row) {
    const dual_json steps = dual_json_get(row, "steps");
    char *answer = NULL;
    const char *wrong = task_put_field(set, row, "question");
    if (!wrong) wrong = task_field(set, row, "answer", &answer);
    if (wrong) return wrong;
    if (dual_json_type(steps) == '[') wrong = read_listed(set, steps, answer);
    else if (!dual_json_type(steps) || dual_json_type(steps) == 'n')
        wrong = read_worked(set, answer);
    else wrong = "expected \"steps\", a list of strings";
    free(answer);
    return wrong;
}

int gsm8k_read(const char *file, int skip, task_set *set, char *error, size_t size) {
    return task_read_rows(file, skip, read_object, read_line, set, error, size);
}

/* ---- The grader ---------------------------------------------------------------------------- */

/* answer: what task_final leaves of a generated text, the worked steps cut off. */
int gsm8k_grade(const task_row *row, const char *answer) {
    decimal mine, gold;
    if (!read_decimal(answer, answer + strlen(answer), &mine)) return GSM8K_NO_NUMBER;
    const int known = read_decimal(row->answer, row->answer + strlen(row->answer), &gold);
    return known && same_decimal(&mine, &gold) ? GSM8K_CORRECT : GSM8K_WRONG;
}
