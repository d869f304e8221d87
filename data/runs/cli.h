/* cli.h: how a program of this folder ends before its time. Only the drivers call it. */
#ifndef CLI_H
#define CLI_H

extern const char *cli_program;        /* its name, for messages; main sets it */
/* One line on stderr, then exit. 1: the run failed, 2: the command line makes no sense. */
void cli_fail(int status, const char *format, ...);
/* The same for a line that is already there: 2 where it begins with an option's dash, else 1. */
void cli_refuse(const char *line);
void cli_stop(const char *message);    /* dual_ctx.fatal: a failed run like any other */

#endif
