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
    if (!task_put(set, context, n)) return 0;
    if (n > 0 && !task_is_blank(context[n - 1]) && !task_is_blank(*choice)) {
        if (!task_put(set, " ", 1)) return 0;
        set->used--;                                  /* the choice goes on from the blank */
    }
    return task_put(set, choice, strlen(choice));
}

/* A pair for each of the list's strings, which differ; the other half is shared. */
static const char *put_pairs(task_set *set, dual_json list, const char *name, int contexts_differ,
                             const char *shared, size_t *n) {
    dual_json key, value = {NULL, NULL};
    for (*n = 0; dual_json_each(list, &key, &value); ++*n) {
        char *own;
        const char *wrong = task_text(set, value, name, &own);
        if (wrong) return wrong;
        const char *context = contexts_differ ? own : shared;
        const char *choice = contexts_differ ? shared : own;
        const int empty = !*choice, fine = !empty && put_pair(set, context, choice);
        free(own);
        if (empty) return "expected each of \"choices\" to be a string that is not empty";
        if (!fine) return TASK_NO_MEMORY;
    }
    return NULL;
}

/* {"ctx", "choices", "gold"}. Where the context itself differs, "context_options" has one for each
 * choice and "continuation" is what follows all of them. */
static const char *read_object(task_set *set, dual_json row) {
    dual_json list = dual_json_get(row, "context_options");
    const int differ = dual_json_type(list) == '[';
    const char *name = differ ? "context_options" : "choices";
    const double gold = dual_json_number(dual_json_get(row, "gold"), -1);
    char *shared;
    size_t n;
    const char *wrong = task_field(set, row, differ ? "continuation" : "ctx", &shared);
    if (!differ) list = dual_json_get(row, "choices");
    if (!wrong && dual_json_type(list) != '[')
        wrong = "expected \"ctx\", a string, and \"choices\", a list";
    if (!wrong && !task_put(set, "", 0)) wrong = TASK_NO_MEMORY;
    if (!wrong) wrong = put_pairs(set, list, name, differ, shared, &n);
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
