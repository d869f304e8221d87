/* check.h - what every test program shares: counting checks, a context whose end is reported, and
 * distances in which a NaN can never pass. A program ends with `N passed, N failed`. */
#ifndef DUAL_CHECK_H
#define DUAL_CHECK_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../dual.h"

static int check_passed, check_failed;

static inline int check_count(int ok, const char *format, va_list list) {
    if (ok) {
        check_passed++;
    } else {
        check_failed++;
        printf("FAILED ");
        vprintf(format, list);
        printf("\n");
    }
    return ok;
}

static inline int check_that(int ok, const char *format, ...) {
    va_list list;
    va_start(list, format);
    ok = check_count(ok, format, list);
    va_end(list);
    return ok;
}

/* Written as !(distance <= limit), so that a NaN on either side fails. */
static inline int check_close(double got, double expected, double limit, const char *format, ...) {
    const int ok = fabs(got - expected) <= limit;
    va_list list;
    va_start(list, format);
    check_count(ok, format, list);
    va_end(list);
    if (!ok) printf("       expected %.17g within %g, got %.17g\n", expected, limit, got);
    return ok;
}

static inline int check_size(size_t got, size_t expected, const char *format, ...) {
    va_list list;
    va_start(list, format);
    check_count(got == expected, format, list);
    va_end(list);
    if (got != expected)
        printf("       expected %lu, got %lu\n", (unsigned long)expected, (unsigned long)got);
    return got == expected;
}

/* A refusal is one line that says something. */
static inline int check_refused(dual_ctx *ctx, int accepted, const char *what) {
    const int ok = !accepted && ctx->error[0] && !strchr(ctx->error, '\n');
    check_that(ok, "%s: expected a refusal with one line of reason, got %s \"%s\"", what,
               accepted ? "acceptance," : "", ctx->error);
    ctx->error[0] = 0;
    return ok;
}

static inline int check_done(void) {
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed != 0;
}

static inline void check_fatal(const char *message) {
    check_that(0, "unexpected fatal error: %s", message);
    check_done();
    exit(1);
}

/* Returns the block to hand to check_end: the context's own pointer is an aligned one. */
static inline void *check_begin(dual_ctx *ctx, size_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) check_fatal("out of memory");
    dual_init(ctx, memory, bytes);
    ctx->fatal = check_fatal;
    return memory;
}

static inline void check_end(dual_ctx *ctx, void *memory) {
    dual_done(ctx);
    free(memory);
}

/* ---- what must end in ctx->fatal ------------------------------------------------------------- */

static jmp_buf check_way_out;
static char check_last_words[500];

static inline void check_remember(const char *message) {
    snprintf(check_last_words, sizeof check_last_words, "%s", message);
    longjmp(check_way_out, 1);
}

/* Whether act(ctx, which) ends in ctx->fatal; check_last_words is then what it said. */
static inline int check_ends(dual_ctx *ctx, void (*act)(dual_ctx *, int), int which) {
    check_last_words[0] = 0;
    ctx->fatal = check_remember;
    if (setjmp(check_way_out)) {
        ctx->fatal = check_fatal;
        return 1;
    }
    act(ctx, which);
    ctx->fatal = check_fatal;
    return 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static inline int check_in_double(void) {
    return sizeof(dual_real) == sizeof(double);
}

static inline double check_limit(double in_double, double in_float) {
    return check_in_double() ? in_double : in_float;
}

/* ||a - b|| / (||a|| + ||b||), 0 if both are nothing. floor: differences below it are rounding,
 * for gradients that are zero by structure. */
static inline double check_distance(const double *a, const double *b, size_t n, double floor) {
    double apart = 0, size_a = 0, size_b = 0;
    for (size_t i = 0; i < n; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size_a += a[i] * a[i];
        size_b += b[i] * b[i];
    }
    apart = sqrt(apart);
    if (apart <= floor) return 0;
    return apart / (sqrt(size_a) + sqrt(size_b));
}

/* Adds to a text, cut to the size of its array. */
static inline void check_append(char *text, size_t size, const char *format, ...) {
    const size_t used = strlen(text);
    va_list list;
    va_start(list, format);
    vsnprintf(text + used, size - used, format, list);
    va_end(list);
}

static inline void check_write(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(bytes, 1, n, f) != n) || fclose(f))
        check_fatal("a file of the test's own cannot be written");
}

/* A constant tensor of normal numbers around `mean`. */
static inline void check_fill(dual_tensor *t, dual_rng *rng, double mean, double std) {
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            t->data[r * t->stride + c] = (dual_real)(mean + std * dual_rng_normal(rng));
}

static inline dual_tensor *check_random(dual_ctx *ctx, size_t rows, size_t cols, uint64_t seed) {
    dual_rng rng = dual_rng_seed(seed, 77);
    dual_tensor *t = dual_tensor_new(ctx, rows, cols);
    check_fill(t, &rng, 0, 1);
    return t;
}
#endif
