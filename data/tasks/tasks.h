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
 *     countdown   numbers: 3 7 12 target: 57 7+12=19                      an expression
 *     gsm8k       the problem                <<48/2=24>>                  a number, no commas
 *     prosqa      facts, then the question   facts that lead to it        Tom is a lempus.
 *     text        a document                 none                         empty
 *     choices     empty                      context and continuation     number of the right pair
 *                                            in turn, a pair per choice
 *
 * To add a task, write one file with its reader and its grader (gsm8k.c is an example) and give it
 * one row in the table of tasks.c; name it in task_kind and declare the two functions, below. That
 * is all for a task whose rows come from files. One that draws its rows needs a fair
 * sample of a split (sample.c) and a place in data/runs/dataset.c, too.
 *
 * There are no tensors and no tokens here: text in, text out. A function with (error, size) that
 * fails writes one line there. */
#ifndef TASKS_H
#define TASKS_H
#include "../../dual.h"

/* Behind the last task that can be trained on come those for evaluation only. */
typedef enum { TASK_COUNTDOWN, TASK_GSM8K, TASK_PROSQA, TASK_TEXT, TASK_CHOICES } task_kind;

int task_find(const char *name, task_kind *kind);    /* 0: no such task to train on */
const char *task_name(task_kind);
size_t task_stages(task_kind);     /* Coconut's number of stages; countdown: as many as steps */
size_t task_max_new(task_kind);    /* its longest answer in tokens, when generated */

/* ---- Rows (rows.c) ---------------------------------------------------------------------------
 * All texts of all rows stand in one block, NUL after each, so a row costs its text and 24 bytes:
 * GSM8K-Aug's 385,620 rows take about 100 MB. */

typedef struct {
    const char *question, *answer;
    const char *steps;             /* n_steps texts, one after another, NUL after each */
    size_t n_steps;
} task_row;                        /* answer "": it is not known; such a row has no steps either */

typedef struct {
    char *text;
    size_t used, room;
    struct task_place { size_t begin, steps, line; } *place;       /* [count] */
    size_t count, room_places;
    size_t open;                   /* where the row that is being written began */
    size_t broken;                 /* rows of the file that could not be used */
    char complaints[900];          /* the first of them, "file:7: why", one a line */
    char why[120];                 /* what a reader says of the row it is at */
} task_set;

task_row task_get(const task_set *, size_t i);
const char *task_step(const task_row *, size_t i);
size_t task_line(const task_set *, size_t i);        /* in its file; 0: not read from rows */
/* Steps that the row's problem takes, also where it shows none. */
size_t task_steps(task_kind, const task_row *);

/* A row is written as its texts in order (question, steps, answer), then closed. 0: out of memory.
 * A set of zeros is an empty one. */
int task_put(task_set *, const char *text, size_t length);
int task_close(task_set *, size_t n_steps);
int task_put_row(task_set *, const task_row *);      /* all of a row at once, closed */
void task_free(task_set *);

/* ---- Files -----------------------------------------------------------------------------------
 * The format is seen from the content: a JSON array of objects, one object a line, or (gsm8k) lines
 * `question||<<..>> <<..>> #### 300`. For text: *.json and *.jsonl hold objects with "text", any
 * other file is one document, a folder stands for its .txt, .json and .jsonl files by name, their
 * endings in any letters; folders in it are not read.
 * A broken row ends the reading (skip 0) or is counted and left out (skip 1); a file without one
 * usable row is an error either way. */
int task_read(task_kind, const char *file, int skip, task_set *, char *error, size_t size);

/* Which problem a row is, in 64 bits, for telling rows apart: two of a million rows agree by chance
 * once in 10^7 files. Countdown: of the sorted numbers and the target; else of the question. */
uint64_t task_hash(task_kind, const task_row *);
/* shared[i]: whether `others` holds rows[i]'s problem; returns how many are. SIZE_MAX: out of
 * memory. */
size_t task_overlap(task_kind, const task_row *rows, size_t n, const task_set *others,
                    unsigned char *shared);

/* ---- Grading ---------------------------------------------------------------------------------
 * y is a whole generated text, with steps or without; what counts is what follows its last `#`. */

enum { TASK_VERDICTS = 6 };
int task_grade(task_kind, const task_row *, const char *y);        /* 0: correct */
const char *task_verdict_name(task_kind, int verdict);             /* NULL: the task has fewer */
int task_unfinished(task_kind);    /* the verdict on a text that never came to its end token */
const char *task_final(const char *y);                             /* the part that counts */

/* ---- For the files of the tasks (rows.c) ----------------------------------------------------- */

/* How a task reads one row of a file: it puts the row's texts and closes it. NULL: done, else what
 * was expected. */
typedef const char *task_object_reader(task_set *, dual_json row);
typedef const char *task_line_reader(task_set *, const char *begin, const char *end);
extern const char TASK_NO_MEMORY[];                  /* one such answer, which ends the reading */
const char *task_done(task_set *, size_t n_steps);   /* task_close as the last word of a reader */

/* Adds a file's rows to the set; line: for lines that are no object, or NULL. 0: the file cannot be
 * read at all, or a row of it is broken and skip is 0. */
int task_read_rows(const char *file, int skip, task_object_reader *object, task_line_reader *line,
                   task_set *, char *error, size_t size);

/* The rows of a JSON array or of JSON lines, one by one, damaged ones too: `row` is absent then. */
typedef struct {
    const char *at, *end;
    size_t line, next_line;        /* of the row given last; of `at` */
    int array;                     /* 1: within one, 2: behind it */
    const char *begin;             /* the row's bytes */
    size_t length;
    char why[240];                 /* the row is no JSON: what was expected, what stands there */
} task_walk;
task_walk task_walk_begin(const char *text, size_t length);
int task_walk_next(task_walk *, dual_json *row);

int task_is_blank(char);                             /* a line break is one, too */
void task_strip(const char **begin, const char **end);     /* of blanks at either end */
/* The decoded text of a string within the field `name`, in a block that the caller frees; then of a
 * row's field itself. NULL: done, else what was expected, for a reader to return. */
const char *task_text(task_set *, dual_json, const char *name, char **text);
const char *task_field(task_set *, dual_json row, const char *name, char **text);
const char *task_put_field(task_set *, dual_json row, const char *name);     /* stripped */
/* A list of strings as steps, empty ones left out. Returns what a reader does. */
const char *task_put_steps(task_set *, dual_json list, size_t *n_steps);

/* ---- Countdown: the problem (countdown.c) ----------------------------------------------------
 * Reach the target with + - * / and parentheses, using each given number exactly once. */

enum {
    COUNTDOWN_MIN = 2,               /* numbers in a problem */
    COUNTDOWN_MAX = 6,
    COUNTDOWN_NUMBER_MAX = 1000000,  /* given numbers and targets lie in 0..this */
    COUNTDOWN_TEXT = 512             /* room for any text built here from one problem */
};

typedef struct {
    int count;
    int numbers[COUNTDOWN_MAX];          /* in the order shown, repeats allowed */
    int target;
    char solution[64];                   /* one that is right, fewest parentheses: 12*(7-3)+12;
                                            "": not known, then there are no steps */
    char steps[COUNTDOWN_MAX - 1][36];   /* count-1 lines, integers only: 7-3=4 */
} countdown_problem;

/* A problem's key is (sorted numbers, target), so the order shown never changes its split.
 * HELDOUT: every problem whose target has a hash = 0 mod 10 (9 of the 91 targets 10..100).
 * Of the other keys a second hash gives TEST 10 %, VALID 10 %, TRAIN 80 %. Of 3 numbers of 1..30,
 * the default, that makes 2,955 problems with a solution to test on and 3,606 held out: 1,000 are a
 * sample of them. Of 1..20 there would be 1,046. */
typedef enum {
    COUNTDOWN_TRAIN, COUNTDOWN_VALID, COUNTDOWN_TEST, COUNTDOWN_HELDOUT
} countdown_split;

countdown_split countdown_split_of(const int *numbers, int count, int target);
const char *countdown_split_name(countdown_split);   /* train valid test heldout */

/* x. The line break between x and y and the end token are the caller's. */
size_t countdown_prompt(const countdown_problem *, char *out, size_t size);
/* Reads back numbers and target from what countdown_prompt writes. 0: it is no such text. */
int countdown_parse(const char *prompt, countdown_problem *);
/* Appends the problem as a row. 0: out of memory. */
int countdown_put(const countdown_problem *, task_set *);

/* ---- Countdown: the generator ---------------------------------------------------------------- */

typedef struct {
    int count_min, count_max;            /* each count equally often */
    int number_min, number_max;
    int target_min, target_max;
    countdown_split split;               /* the only split that countdown_draw gives */
} countdown_options;

countdown_options countdown_defaults(void);   /* 3..5 numbers of 1..99, targets 10..100, TRAIN */

/* NULL when the options make sense, else what is wrong with them. */
const char *countdown_check(const countdown_options *);

/* Whether a problem has the split, count, numbers and target that the options ask for; then whether
 * the generator can make it, too. */
int countdown_in_range(const countdown_options *, const countdown_problem *);
int countdown_can_draw(const countdown_options *, const countdown_problem *);
/* The targets low..high that it can make of these numbers; returns how many. seen: high - low + 1
 * bytes of 0; those of the targets become 1. found: the targets, one after another, or NULL. */
size_t countdown_targets(const int *numbers, int count, int low, int high, unsigned char *seen,
                         int *found);
/* Fills in steps and a solution as the generator would have it, of a problem that it can make; the
 * numbers change their order. */
void countdown_explain(countdown_problem *, dual_rng *);
/* A problem's number for sorting, unrelated to its split. The numbers are in ascending order. */
uint64_t countdown_order(const int *numbers, int count, int target);

/* Draws one problem. 0: the options are wrong, or a million draws gave nothing that fits. */
int countdown_draw(const countdown_options *, dual_rng *, countdown_problem *);

/* One sample of Base text, without its end token; 0: as countdown_draw. It is
 * - with probability `facts` a true `a+b=c` (+ - * / equally often, uniform over all facts with
 *   a, b, c in 0..100, so that every whole-number token is met), else
 * - with probability `solved` a problem as countdown_draw makes it: prompt, line break, solution; a
 *   Base that reads such text learns a part of the task, else
 * - prompt, line break, expression: the form of the task and not the task. The expression has
 *   each number once, any operators in any order (the value may be negative or a fraction), and
 *   the target is drawn independently of it.
 * Its (numbers, target) is always a TRAIN key; options->split is not read. A good share of facts
 * is 0.15: a Base of width 64 then used each number once in 93 % of its samples after 1,200 steps
 * (numbers of 1..30); at 0.5 in 5 % after 900 (1..20). */
size_t countdown_base(const countdown_options *, double facts, double solved, dual_rng *,
                      char *out, size_t size);

/* ---- Countdown: the grader -------------------------------------------------------------------
 *     expr = term {(+|-) term}     term = factor {(*|/) factor}     factor = digits | ( expr )
 * Blanks and tabs may stand between tokens. No sign, no leading zero, no implied product, no
 * `= v`; at most 100 parentheses deep and 4,096 bytes long. Values are exact fractions. */

typedef enum {
    COUNTDOWN_CORRECT, COUNTDOWN_MALFORMED, COUNTDOWN_WRONG_NUMBERS, COUNTDOWN_WRONG_VALUE,
    COUNTDOWN_ZERO_DIVISION, COUNTDOWN_OVERFLOW
} countdown_verdict;

/* The first of malformed, wrong numbers, zero division or overflow, wrong value that applies. */
countdown_verdict countdown_grade(const countdown_problem *, const char *answer);

/* 1: well formed, and each given number exactly once, whatever the value. */
int countdown_uses_each_once(const countdown_problem *, const char *answer);

/* 1: there is an expression that would be graded correct, fractions and negative values inside it
 * included; 0: the problem has no solution. Takes up to a second for 6 numbers without one. */
int countdown_solvable(const countdown_problem *);

/* What an answer comes to, whatever numbers it uses, as a text: 45, -3, 7/2. COUNTDOWN_CORRECT: it
 * has a value, else why not, and out is "". */
countdown_verdict countdown_value(const char *answer, char *out, size_t size);

/* 1: some expression with + and - alone reaches the target; 0: it needs * or /. */
int countdown_plus_minus_suffice(const countdown_problem *);

/* The random-expression floor: share of `draws` expressions, drawn as those of the Base text
 * are, that reach the target. About 3.3 % on average over
 * the problems of 3 numbers of 1..30. */
double countdown_floor(const countdown_problem *, dual_rng *, size_t draws);

/* For the table of tasks.c. In a file a row is an object, of which other fields are ignored; its
 * count-1 steps are replayed, its answer is graded. With neither steps nor answer it is a problem
 * that can be scored, not trained on:
 *     {"nums": [44, 19, 35], "target": 98, "steps": ["19 + 35 = 54", "44 + 54 = 98"],
 *      "answer": "44 + (19 + 35)"} */
int countdown_read(const char *file, int skip, task_set *, char *error, size_t size);
int countdown_row_key(const task_row *, char *out, size_t size);
int countdown_row_grade(const task_row *, const char *answer);
size_t countdown_row_steps(const task_row *);

/* ---- GSM8K (gsm8k.c) -------------------------------------------------------------------------
 * A number is an optional sign, digits and an optional point, commas within and blanks around it
 * aside. Correct: a number equal to the gold answer: 1,200.0 is 1200. The gold answer is what
 * follows the last # of its text; a row where that is no number is broken. */

enum { GSM8K_CORRECT, GSM8K_NO_NUMBER, GSM8K_WRONG };

int gsm8k_read(const char *file, int skip, task_set *, char *error, size_t size);
int gsm8k_grade(const task_row *, const char *answer);

/* ---- ProsQA (prosqa.c) -----------------------------------------------------------------------
 * Which of two concepts does a name descend to? Hao et al. 2024 (Coconut), appendix; the constants
 * are fitted to the 800 published validation and test rows. */

/* RIGHT_OPTION: names the right concept and not the other, but is not the exact answer. */
enum { PROSQA_CORRECT, PROSQA_RIGHT_OPTION, PROSQA_WRONG_OPTION, PROSQA_NEITHER };

int prosqa_read(const char *file, int skip, task_set *, char *error, size_t size);
int prosqa_grade(const task_row *, const char *answer);

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

/* ---- Samples of a split (sample.c) -----------------------------------------------------------
 * A generator makes some problems far more often than others, so what it draws first is no sample
 * of its problems. Here every problem of a split is as likely as any other, and the first of a
 * longer sample are a shorter one. */

typedef struct {
    double problems;               /* of the split */
    enum { SPLIT_HAS, SPLIT_HAS_ABOUT, SPLIT_HAS_OVER } known;
} task_population;

/* Appends n different problems of options->split, all there are if those are fewer. Small splits
 * are enumerated and put in the order of countdown_order, from large ones (numbers, target) are
 * drawn uniformly. Each count of numbers has an equal share as long as it lasts. 0: out of
 * memory. */
int countdown_sample(const countdown_options *, dual_rng, size_t n, task_set *, task_population *);
/* The same for ProsQA, where a problem is its question. Splits of which one draw in ten repeats
 * another are drawn until they are exhausted and put in the order of their hashes; in others each
 * draw is a problem of its own, and they are left in the order drawn. */
int prosqa_sample(const prosqa_options *, prosqa_split, dual_rng, size_t n, task_set *,
                  task_population *);
/* "4,812", "about 1,200,000", "over 660,000" */
const char *task_population_print(task_population, char out[40]);

/* ---- Text and choices (text.c, choices.c) ---------------------------------------------------- */

int text_read(const char *file_or_folder, int skip, task_set *, char *error, size_t size);
int choices_read(const char *file, int skip, task_set *, char *error, size_t size);

#endif
