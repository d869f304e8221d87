/* latents_report.c: see latents_report.h. */
#include "latents_report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The latents of one batch, as doubles. */
static void copy_rows(const dual_tensor *t, size_t rows, double *to) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < t->cols; i++)
            to[r * t->cols + i] = (double)t->data[r * t->stride + i];
}

/* Z [n, slots, width] of all prompts in a block of the caller's; NULL while counting. */
static double *collect(dual_ctx *c, loaded_run *loaded, const example *rows, size_t n, size_t slots,
                       size_t *width) {
    dual_exchange e = loaded_run_exchange(c, loaded);
    const dual_mark start = dual_mark_here(c);
    const int recorded = c->inference;
    double *z = NULL;
    c->inference = 1;
    for (size_t first = 0, count; first < n; first += count) {
        run_prompts p;
        dual_outcome out;
        count = run_prompts_count(rows + first, n - first, loaded->r.shape.vocab, slots);
        run_prompts_fill(&p, &loaded->task, rows + first, count, WITHOUT_TARGETS);
        dual_run(c, &e, &p.batch, &out);
        *width = out.latents->cols;
        if (c->memory && !z) z = work_room(c, n * slots, *width * sizeof *z);
        if (z) copy_rows(out.latents, count * slots, z + first * slots * *width);
        dual_release(c, start);
    }
    c->inference = recorded;
    return z;
}

int latents_measure(dual_ctx *c, loaded_run *loaded, const example *rows, size_t n, size_t k,
                    size_t sizes, latents_report *out) {
    const size_t slots = loaded->latents, ks[LATENTS_SIZES] = {k, 1, 8, 32};
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    memset(out, 0, sizeof *out);
    if (!c->memory && !problems_check(c, loaded, rows, n, "fresh prompts", right)) return 0;
    double *z = collect(c, loaded, rows, n, slots, &out->width);
    double *silhouette = work_room(c, n * slots, sizeof *silhouette);
    if (z) {
        out->H = work_room(c, slots * slots, sizeof *out->H);
        out->norms = work_room(c, slots, sizeof *out->norms);
        out->plane = work_room(c, n * slots, 2 * sizeof *out->plane);
    }
    out->prompts = n;
    out->slots = slots;
    out->sizes = sizes;
    const int ok = latents_analyse(c, z, n, slots, out->width, sizes, ks, out->at, out->H,
                                   out->norms, silhouette, out->plane, out->part);
    free(silhouette);
    out->states = z;
    return ok;
}

typedef struct {
    const problem_set *rows;
    size_t k;
    latents_report *out;
} latents_job;

static int latents_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const latents_job *j = job;
    const size_t sizes = j->k ? 1 : LATENTS_SIZES;
    return latents_measure(c, loaded, j->rows->at, j->rows->n, j->k, sizes, j->out);
}

int latents_report_run(dual_ctx *c, loaded_run *loaded, const problem_set *rows, size_t k,
                       latents_report *out) {
    latents_job job = {rows, k, out};
    return loaded_run_do(c, loaded, latents_work, &job);
}

void latents_report_free(latents_report *report) {
    free(report->H);
    free(report->norms);
    free(report->states);
    free(report->plane);
    memset(report, 0, sizeof *report);
}

/* 9 digits: what a float needs to come back as it was. */
int latents_dump(dual_ctx *c, const char *file, const latents_report *report) {
    FILE *to = fopen(file, "wb");
    const size_t width = report->width, rows = report->prompts * report->slots;
    if (to) fputs("prompt,slot", to);
    for (size_t i = 0; to && i < width; i++) fprintf(to, ",x%lu", (unsigned long)i);
    for (size_t r = 0; to && r < rows; r++) {
        fprintf(to, "\n%lu,%lu", (unsigned long)(r / report->slots),
                (unsigned long)(r % report->slots));
        for (size_t i = 0; i < width; i++) fprintf(to, ",%.9g", report->states[r * width + i]);
    }
    if (to) fputc('\n', to);
    return output_end(c, "--dump", file, to);
}

const char *latents_meaning(const dual_system *s) {
    if (s->inject == DUAL_EMBED) return "Z, the Coprocessor's states after its final norm";
    if (s->inject == DUAL_KV) return "values of the Coprocessor's last layer at its soft tokens";
    return "the Base's states after its final norm at the slots";
}
