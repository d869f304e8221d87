/* header.h: what both drivers print: a system in words, large numbers, and the header of a training
 * run. Text grows in a note, so that one text can go to a terminal and into a file. */
#ifndef HEADER_H
#define HEADER_H
#include "cost.h"

typedef struct { size_t used; char text[16384]; } note;
/* Appends as printf does; what does not fit is cut. */
void note_add(note *, const char *format, ...);

void run_describe_system(const dual_system *, char *out, size_t size);   /* "h2 = inject .." */
void run_human(double x, char *out, size_t size);   /* 1234567 -> "1.23M" */
/* 95 s -> "1m35s", 2 h -> "2h00m", 50 h -> "2d02h" */
void run_duration(double seconds, char *out, size_t size);

/* Which kind of Base it is, from n samples: shares that are right and that use each number once,
 * and what random expressions would reach. solved: --solved, the share of its text that was. */
void run_gate(double solved, size_t n, double right, double each_once, double floor, note *);

/* The share of random expressions that is right, by 200 for each of Countdown's problems. */
double run_gate_floor(const example *, size_t n);

/* How a run of this task is scored while it trains. */
typedef enum { SCORES_NOTHING, SCORES_PROBLEMS, SCORES_TEXT } run_scoring;

/* The table of memory; then task, system, sizes, optimiser, and every option that is not its
 * default. For the header one batch is run, above the mark of ctx, which holds the run. 0: no
 * batch can be made, the line is in error. */
void run_memory_report(const run *, const run_memory *, note *);
int run_header(dual_ctx *, run *, run_task *, const double flops[RUN_STAGES + 2], run_scoring,
               note *, char *error, size_t size);

#endif
