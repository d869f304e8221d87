/* choices.c: multiple choice, for ./eval choices: contexts and what may follow them. */
#include "tasks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One choice: what stands before it, and the text whose likelihood is asked for. Between the two
 * comes one blank, unless there is one already. */
static int put_pair(task_set *set, const char *context, const char *choice) {
    const size_t n = strlen(context);
    if (!*choice || !task_put(set, context, n))
        return 0;
    if (n > 0 && !task_is_blank(context[n - 1]) && !task_is_blank(*choice)) {
        if (!task_put(set, " ", 1))
            return 0;
        set->used--;                                  /* the choice goes on from the blank */
    }
    return task_put(set, choice, strlen(choice));
}

/* {"ctx", "choices", "gold"}; where the context itself differs, "context_options" has one for
 * each choice and "continuation" what follows all of them. */
const char *choices_read(task_set *set, dual_json row) {
    dual_json list = dual_json_get(row, "context_options"), key, value = {NULL, NULL};
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
        wrong = TASK_MEMORY;
    while (!wrong && dual_json_each(list, &key, &value)) {
        char *each = task_string(value);
        const char *context = differ ? each : shared;
        const char *choice = differ ? shared : each;
        if (!each || !put_pair(set, context, choice))
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
    return task_put(set, number, strlen(number)) ? task_close_row(set, 2 * n) : TASK_MEMORY;
}
