/* cli.c: see cli.h. */
#include "cli.h"
#include "ranks.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *cli_program = "dual";

void cli_print_version(void) {
#ifdef __clang__
    const char *const compiler = __VERSION__;              /* names itself */
#elif defined(__GNUC__)
    const char *const compiler = "gcc " __VERSION__;
#else
    const char *const compiler = "an unknown compiler";
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    const char *const fused = "with";
#else
    const char *const fused = "without";
#endif
    printf("%s (dual) %s, built by %s, %s fused multiply-adds\n", cli_program, CLI_VERSION,
           compiler, fused);
}

void cli_fail(int status, const char *format, ...) {
    va_list args;
    ranks_failing(status);
    va_start(args, format);
    fprintf(stderr, "%s: ", cli_program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(status);
}

void cli_refuse(const char *line) { cli_fail(*line == '-' ? 2 : 1, "%s", line); }

void cli_flush(void) {
    if (fflush(stdout) || ferror(stdout))
        cli_fail(1, "what was printed cannot be written to standard output");
}

void cli_stop(const char *message) { cli_fail(1, "%s", message); }
