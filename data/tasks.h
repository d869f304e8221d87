/* tasks.h: every task as rows of one schema, read from files or generated, and graded.
 *
 *     task_set set;
 *     char error[300];
 *     if (!task_read(TASK_GSM8K, "train.jsonl", 0, &set, error, sizeof error)) return puts(error);
 *     task_row row = task_get(&set, 0);
 *     task_grade(TASK_GSM8K, &row, "<<48/2=24>>\n### 72");     // 0: correct
 *     task_free(&set);
 *
 * What a row's texts are:
 *     task        question                   steps                        answer
 *     countdown   numbers: 3 7 12 target: 60 7-3=4                        an expression
 *     gsm8k       the problem                <<48/2=24>>                  a number, no commas
 *     prosqa      facts, then the question   facts that lead to it        Tom is a lempus.
 *     text        a document                 none                         empty
 *     choices     empty                      context and continuation     number of the right pair
 *                                            in turn, a pair per choice
 *
 * No tensors, no tokens: text in, text out, errors as in data.h. */
#ifndef TASKS_H
#define TASKS_H
#include "data.h"

typedef enum { TASK_COUNTDOWN, TASK_GSM8K, TASK_PROSQA, TASK_TEXT, TASK_CHOICES } task_kind;

/* 0: no such task to train on (choices are for evaluation only). */
int task_find(const char *name, task_kind *kind);
const char *task_name(task_kind);
size_t task_stages(task_kind);     /* Coconut's number of stages; countdown: as many as steps */
size_t task_max_new(task_kind);    /* its longest answer in tokens, when generated */

/* ---- Rows ----------------------------------------------------------------------------------
 * All texts of all rows stand in one block, NUL after each, so a row costs its text and 16 bytes:
 * GSM8K-Aug's 385,620 rows take about 100 MB. */

typedef struct {
    const char *question, *answer;
    const char *steps;             /* n_steps texts, one after another, NUL after each */
    size_t n_steps;
} task_row;

typedef struct {
    char *text;
    size_t used, room;
    struct task_place { size_t begin, steps; } *place;      /* [count] */
    size_t count, room_places;
    size_t open;                   /* where the row that is being written began */
    size_t broken;                 /* rows of the file that could not be used */
    char complaints[900];          /* the first of them, "file:7: why", one a line */
} task_set;

task_row task_get(const task_set *, size_t i);
const char *task_step(const task_row *, size_t i);

/* A row is written as its texts in order (question, steps, answer), then closed. 0: out of memory.
 * A set of zeros is an empty one. */
int task_put(task_set *, const char *text, size_t length);
int task_close(task_set *, size_t n_steps);
void task_free(task_set *);

/* ---- Files ---------------------------------------------------------------------------------
 * The format is seen from the content: a JSON array of objects, one object a line, or (gsm8k) lines
 * `question||<<..>> <<..>> #### 300`. For text: *.json and *.jsonl hold objects with "text", any
 * other file is one document, a folder stands for its .txt, .json and .jsonl files by name.
 * A broken row ends the reading (skip 0) or is counted and left out (skip 1); a file without one
 * usable row is an error either way. */
int task_read(task_kind, const char *file, int skip, task_set *, char *error, size_t size);

/* The rows of a JSON array or of JSON lines, one by one, damaged ones too: `row` is absent then. */
typedef struct {
    const char *at, *end;
    size_t line, next_line;        /* of the row given last; of `at` */
    int array;
    const char *begin; size_t length;      /* the row's bytes */
} task_walk;
task_walk task_walk_begin(const char *text, size_t length);
int task_walk_next(task_walk *, dual_json *row);

/* A string's decoded text in a block of its own. NULL: no string, or a NUL byte in it, or no
 * memory. */
char *task_string(dual_json);

/* Which problem a row is, in 64 bits, for telling rows apart: two of a million rows agree by chance
 * once in 10^7 files. Countdown: of the sorted numbers and the target; else of the question. */
uint64_t task_hash(task_kind, const task_row *);
/* shared[i]: whether `others` holds rows[i]'s problem; how many are. (size_t)-1: out of memory. */
size_t task_overlap(task_kind, const task_row *rows, size_t n, const task_set *others,
                    unsigned char *shared);

/* ---- Grading --------------------------------------------------------------------------------
 * y is a whole generated text, with steps or without; what counts is what follows its last `#`. */

enum { TASK_VERDICTS = 6 };
int task_grade(task_kind, const task_row *, const char *y);        /* 0: correct */
const char *task_verdict_name(task_kind, int verdict);             /* NULL: the task has fewer */
int task_unfinished(task_kind);                                    /* without an end token */

/* ---- Countdown ------------------------------------------------------------------------------
 * Rules, generator and grader: data.h. */
int countdown_put(const countdown_problem *, task_set *);          /* 0: out of memory */

/* ---- GSM8K ----------------------------------------------------------------------------------
 * Correct: equal to the gold answer as a number, commas and blanks aside: 1,200.0 is 1200. */
enum { GSM8K_CORRECT, GSM8K_NO_NUMBER, GSM8K_WRONG };

/* ---- ProsQA ---------------------------------------------------------------------------------
 * Which of two concepts does a name descend to? Hao et al. 2024 (Coconut), appendix; the constants
 * are fitted to the 800 published validation and test rows. */

/* RIGHT_OPTION: names the right concept and not the other, but is not the exact answer. */
enum { PROSQA_CORRECT, PROSQA_RIGHT_OPTION, PROSQA_WRONG_OPTION, PROSQA_NEITHER };

enum { PROSQA_NODES = 64, PROSQA_EDGES = 512, PROSQA_CONCEPTS = 38, PROSQA_NAMES = 17 };
typedef enum { PROSQA_TRAIN, PROSQA_VALID, PROSQA_TEST } prosqa_split;
typedef struct {
    int nodes_min, nodes_max;      /* as published: 14..28, mean 22.8 */
    int path_min, path_max;        /* steps: 3..6 */
    int concepts, names;           /* words to choose from: 38, 17 */
} prosqa_options;

/* Every edge is a fact `from` is a `to`, from < to; nodes without parents carry names. */
typedef struct {
    int nodes, edges, root, target, wrong;
    int from[PROSQA_EDGES], to[PROSQA_EDGES];
    int symbol[PROSQA_NODES];      /* concept, or names after all concepts */
} prosqa_graph;

prosqa_options prosqa_defaults(void);
const char *prosqa_check(const prosqa_options *);  /* NULL: fine, else what is wrong */
/* Appends one problem of `split` (a hash of the facts and the question decides which it is) to a
 * set. 0: no such problem in 100,000 tries, or out of memory. */
int prosqa_draw(const prosqa_options *, prosqa_split, dual_rng *, prosqa_graph *, task_set *);
const char *prosqa_word(size_t i);                 /* the 38 concepts, then the 17 names; NULL */

/* Statistics to compare a generator with the published files. */
typedef struct {
    size_t rows, steps[8], nodes[PROSQA_NODES + 1], in_degree[7];
    size_t descend[4];             /* nodes from 2 on: of neither 0 nor 1, 0 only, 1 only, both */
    size_t first, edges, names, leaves, words, words_min, words_max, root_0;
} prosqa_stats;
void prosqa_measure(prosqa_stats *, const prosqa_graph *, const task_row *);
/* All usable rows of a file in Coconut's form, graphs and all. */
int prosqa_measure_file(prosqa_stats *, const char *file, char *error, size_t size);
size_t prosqa_report(const prosqa_stats *, char *out, size_t size);

#endif
