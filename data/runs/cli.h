/* cli.h: what both programs say of themselves, and how they end. Only the drivers call it. */
#ifndef CLI_H
#define CLI_H

#define CLI_VERSION "0.1"
void cli_print_version(void);          /* "train (dual) 0.1" on stdout */

extern const char *cli_program;        /* its name, for messages; main sets it */
/* One line on stderr, of one rank, then all exit. 1: the run failed, 2: wrong usage. */
void cli_fail(int status, const char *format, ...);
/* The same for a line that is already there: 2 where it begins with an option's dash, else 1. */
void cli_refuse(const char *line);
/* What was printed must have arrived: else it is a failed run. Before every exit with success. */
void cli_flush(void);
void cli_stop(const char *message);    /* dual_ctx.fatal: a failed run like any other */

#endif
