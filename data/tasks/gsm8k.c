/* gsm8k.c: grade-school problems whose answer is a number. Reads the official JSON lines, iCoT's
 * text and Coconut's JSON; grades by the number, not by its spelling. */
#include "tasks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Reading --------------------------------------------------------------------------------- */

/* An answer as it is graded: no blanks around, no commas. */
static int put_number(task_set *set, const char *begin, const char *end) {
    const size_t at = set->used;
    char *to, *from;
    task_strip(&begin, &end);
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
const char *gsm8k_read_line(task_set *set, const char *begin, const char *end) {
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
    for (at = begin, begin = bar + 2; bar > at && task_is_blank(bar[-1]); )
        bar--;
    if (!task_put(set, at, (size_t)(bar - at)))
        return TASK_MEMORY;
    for (at = begin; at < mark; at = begin) {
        while (begin < mark && *begin != ' ')
            begin++;
        if (begin > at && !task_put(set, at, (size_t)(begin - at)))
            return TASK_MEMORY;
        n += begin > at;
        begin += begin < mark;
    }
    if (!put_number(set, last + 2, end))
        return "expected a number behind ####";
    return task_close_row(set, n);
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
            return TASK_MEMORY;
        n++;
        at = close + 2;
    }
    if (!put_number(set, mark + 4, mark + strlen(mark)))
        return "expected a number behind ####";
    return task_close_row(set, n);
}

const char *gsm8k_read(task_set *set, dual_json row) {
    dual_json steps = dual_json_get(row, "steps");
    const char *wrong;
    char *answer;
    size_t n;
    if (!task_put_string(set, dual_json_get(row, "question")))
        return "expected \"question\", a string";
    answer = task_string(dual_json_get(row, "answer"));
    if (!answer)
        return "expected \"answer\", a string";
    if (dual_json_type(steps) == '[') {
        wrong = task_put_steps(set, steps, &n);
        if (!wrong && !put_number(set, answer, answer + strlen(answer)))
            wrong = "expected \"answer\" not to be empty";
        if (!wrong)
            wrong = task_close_row(set, n);
    } else {
        wrong = read_worked(set, answer);
    }
    free(answer);
    return wrong;
}

/* ---- Grading --------------------------------------------------------------------------------- */

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

int gsm8k_grade(const task_row *row, const char *y) {
    const char *gold = row->answer;
    char said[256], mine[264], theirs[264];
    const char *begin = said, *end;
    size_t n = 0;
    for (; *y && n + 1 < sizeof said; y++)
        if (*y != ',')
            said[n++] = *y;
    said[n] = 0;
    end = said + n;
    task_strip(&begin, &end);
    if (!canonical_number(begin, end, mine, sizeof mine))
        return begin < end && (size_t)(end - begin) == strlen(gold)
            && memcmp(begin, gold, strlen(gold)) == 0 ? GSM8K_CORRECT : GSM8K_NO_NUMBER;
    return canonical_number(gold, gold + strlen(gold), theirs, sizeof theirs)
        && !strcmp(mine, theirs) ? GSM8K_CORRECT : GSM8K_WRONG;
}

const char *const GSM8K_VERDICTS[] = {"correct", "no number", "wrong number", NULL};
