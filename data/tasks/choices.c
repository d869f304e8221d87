/* choices.c: questions with several answers to choose from, for evaluation only. A row is a pair of
 * texts for each choice; a model chooses by how likely the second is behind the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

/* One choice: what stands before it, and the text whose likelihood is asked for. Between the two
 * comes one blank, unless there is one already. */
static int put_pair(task_set *set, const char *context, const char *choice) {
    const size_t n = strlen(context);
    if (!*choice || !task_put(set, context, n)) return 0;
    if (n > 0 && !task_is_blank(context[n - 1]) && !task_is_blank(*choice)) {
        if (!task_put(set, " ", 1)) return 0;
        set->used--;                                  /* the choice goes on from the blank */
    }
    return task_put(set, choice, strlen(choice));
}

/* {"ctx", "choices", "gold"}. Where the context itself differs, "context_options" has one for each
 * choice and "continuation" is what follows all of them. */
static const char *read_object(task_set *set, dual_json row) {
    dual_json list = dual_json_get(row, "context_options"), key, value = {NULL, NULL};
    const int differ = dual_json_type(list) == '[';
    char *shared = task_string(dual_json_get(row, differ ? "continuation" : "ctx"));
    const double gold = dual_json_number(dual_json_get(row, "gold"), -1);
    const char *wrong = NULL;
    size_t n = 0;
    if (!differ) list = dual_json_get(row, "choices");
    if (!shared || dual_json_type(list) != '[')
        wrong = "expected \"ctx\", a string, and \"choices\", a list";
    else if (!task_put(set, "", 0))
        wrong = TASK_NO_MEMORY;
    for (; !wrong && dual_json_each(list, &key, &value); n++) {
        char *own = task_string(value);
        const char *context = differ ? own : shared;
        const char *choice = differ ? shared : own;
        if (!own || !put_pair(set, context, choice))
            wrong = "expected each of \"choices\" to be a string that is not empty";
        free(own);
    }
    free(shared);
    if (wrong) return wrong;
    if (n < 2 || !(gold >= 0) || gold >= (double)n || gold != (double)(size_t)gold)
        return "expected two choices or more and \"gold\", the right one's number from 0 on";
    char number[24];
    const int length = snprintf(number, sizeof number, "%zu", (size_t)gold);
    return task_put(set, number, (size_t)length) ? task_done(set, 2 * n) : TASK_NO_MEMORY;
}

int choices_read(const char *file, int skip, task_set *set, char *error, size_t size) {
    return task_read_rows(file, skip, read_object, NULL, set, error, size);
}
