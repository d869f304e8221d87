/* progress.c: see progress.h. */
#include "progress.h"
#include "../../dual.h"
#include "../files/system.h"
#include "platform.h"
#include "header.h"
#include <stdio.h>
#include <string.h>

enum { BAR = 12 };

progress progress_begin(progress_style style, const char *folder, uint64_t first, uint64_t steps) {
    progress p;
    const char *slash = strrchr(folder, '/');
    memset(&p, 0, sizeof p);
    p.style = style;
    p.terminal = run_is_terminal(2);
    p.first = first;
    p.steps = steps;
    p.begun = p.shown = data_seconds();
    snprintf(p.name, sizeof p.name, "%s", slash && slash[1] ? slash + 1 : folder);
    return p;
}

double progress_speed(const progress *p, uint64_t step) {
    return (double)(step - p->first) / (data_seconds() - p->begun + 1e-9);
}

void progress_left(const progress *p, uint64_t step, char *out, size_t size) {
    run_duration((double)(p->steps - step) / (progress_speed(p, step) + 1e-9), out, size);
}

static void verbose_line(progress *p, uint64_t step, double loss) {
    char left[16];
    if (!p->terminal || data_seconds() - p->shown < 0.3) return;
    p->shown = data_seconds();
    progress_left(p, step, left, sizeof left);
    fprintf(stderr, "\r%s step %llu/%llu  loss %.4f  %.1f steps/s  %s left \033[K", p->name,
            (unsigned long long)step, (unsigned long long)p->steps, loss, progress_speed(p, step),
            left);
}

static void brief_line(progress *p, uint64_t step, double loss, int scored) {
    const int quarter = step * 4 / p->steps != (step - 1) * 4 / p->steps, last = step == p->steps;
    const double now = data_seconds();
    char bar[BAR + 1], time[16];
    if (p->terminal ? now - p->shown < 0.3 && !last : !quarter && !scored) return;
    p->shown = now;
    if (last) run_duration(now - p->begun, time, sizeof time);
    else progress_left(p, step, time, sizeof time);
    for (uint64_t i = 0; i < BAR; i++) bar[i] = (i + 1) * p->steps <= BAR * step ? '#' : '-';
    bar[BAR] = 0;
    if (p->terminal) fprintf(stderr, "\r");
    fprintf(stderr, "%-12.20s [%s] %4llu/%llu  loss %.4f%s  %s%s", p->name, bar,
            (unsigned long long)step, (unsigned long long)p->steps, loss, p->score, time,
            last ? "" : " left");
    if (p->terminal) fprintf(stderr, "\033[K");
    if (!p->terminal || last) fprintf(stderr, "\n");
}

void progress_step(progress *p, uint64_t step, double loss, const char *score) {
    if (*score) snprintf(p->score, sizeof p->score, "  %s", score);
    if (p->style == PROGRESS_VERBOSE) verbose_line(p, step, loss);
    if (p->style == PROGRESS_BRIEF) brief_line(p, step, loss, *score != 0);
}

void progress_clear(const progress *p) {
    if (p->style != PROGRESS_QUIET && p->terminal) fprintf(stderr, "\r\033[K");
}
