/* samples.c: see samples.h. */
#include "samples.h"
#include <stdlib.h>
#include <string.h>

double pass_at(size_t n, size_t c, size_t k) {
    double none = 1;                   /* C(n-c, k) / C(n, k), factor by factor */
    if (n - c < k) return 1;
    for (size_t i = n - c + 1; i <= n; i++) none *= 1 - (double)k / (double)i;
    return 1 - none;
}

static int same_but_blanks(const char *a, const char *b) {
    for (;;) {
        while (task_is_blank(*a)) a++;
        while (task_is_blank(*b)) b++;
        if (*a != *b) return 0;
        if (!*a) return 1;
        a++;
        b++;
    }
}

int samples_agree(task_kind kind, const char *a, const char *b) {
    task_row row = {NULL, task_final(a), NULL, 0};
    if (kind == TASK_GSM8K) return task_grade(kind, &row, b) == GSM8K_CORRECT;
    return same_but_blanks(task_final(a), task_final(b));
}

/* The verdict on what most of a problem's answers say; text[s] NULL: no vote. No vote at all: it is
 * not right. */
static int majority_is_right(task_kind kind, const answer *a, size_t n, size_t samples,
                             char *const *text) {
    size_t most = 0;
    int right = 0;
    for (size_t s = 0; s < samples; s++) {
        size_t votes = 0;
        for (size_t other = 0; text[s] && other < samples; other++)
            votes += text[other] && samples_agree(kind, text[s], text[other]);
        if (votes <= most) continue;
        most = votes;
        right = a[s * n].verdict == 0;
    }
    return right;
}

/* a: of one problem, n apart. */
static int vote(dual_ctx *c, const run_task *task, const answer *a, size_t n, size_t samples,
                char **text, tally *majority) {
    int ok = 1;
    for (size_t s = 0; ok && s < samples; s++) {
        const answer *it = &a[s * n];
        size_t length;
        text[s] = NULL;
        if (it->verdict == task_unfinished(task->kind)) continue;
        text[s] = run_spell(task, it->tokens, it->length, &length);
        ok = text[s] != NULL;
    }
    if (ok) tally_add(majority, majority_is_right(task->kind, a, n, samples, text));
    else dual_failed(c, "out of memory for answers");
    for (size_t s = 0; s < samples; s++) {
        free(text[s]);
        text[s] = NULL;
    }
    return ok;
}

int samples_count(dual_ctx *c, const run_task *task, const answer *a, size_t n, size_t samples,
                  samples_result *out) {
    char **text = room_for(c, samples, sizeof *text);
    int ok = text != NULL;
    memset(out, 0, sizeof *out);
    out->problems = n;
    out->samples = samples;
    for (size_t k = 1; k < samples && out->n_passes + 1 < PASSES_MOST; k *= 2)
        out->k[out->n_passes++] = k;
    out->k[out->n_passes++] = samples;
    for (size_t i = 0; ok && i < n; i++) {
        size_t right = 0;
        for (size_t s = 0; s < samples; s++) {
            out->verdict[a[s * n + i].verdict]++;
            right += a[s * n + i].verdict == 0;
        }
        out->right += right;
        for (size_t k = 0; k < out->n_passes; k++)
            out->pass[k] += pass_at(samples, right, out->k[k]) / (double)n;
        ok = vote(c, task, a + i, n, samples, text, &out->majority);
    }
    free(text);
    return ok;
}
