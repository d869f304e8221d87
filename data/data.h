/* data.h: text in, text out. Tasks (generator, reader, grader) and the word-level tokenizer.
 *
 *     countdown_options o = countdown_defaults();             // 3..5 numbers of 1..99
 *     dual_rng rng = dual_rng_seed(1, 0);
 *     countdown_problem p;
 *     char x[COUNTDOWN_TEXT];
 *     countdown_draw(&o, &rng, &p);                           // one problem of o.split
 *     countdown_prompt(&p, x, sizeof x);                      // numbers: 3 7 12 target: 60
 *     countdown_grade(&p, "(12-7)*3*4");                      // COUNTDOWN_WRONG_NUMBERS
 *
 * No tensors and no model here. Nothing is global: whatever a function changes is in its
 * arguments. Texts are NUL-terminated. A function that writes text works as snprintf does: it
 * writes at most size bytes, always terminated, and returns the length the whole text has.
 * Functions with (error, size) return failure after writing one line there: where, what, and
 * what was expected. */
#ifndef DATA_H
#define DATA_H

#include <stddef.h>
#include <stdint.h>

#include "../dual.h"

/* ---- Files ------------------------------------------------------------------------------- */

/* The whole file in one block, a NUL after its last byte; the caller frees it. NULL: failed.
 * A file that itself holds a NUL byte is refused: no text does, and it would cut the text. */
char *data_read(const char *file, size_t *length, char *error, size_t size);
int data_has(const char *folder, const char *name);   /* 1: such a file can be opened there */
/* Any bytes as messages show them: the first 40, on one line. Returns out. */
const char *data_shown(const char *bytes, size_t length, char out[41]);

/* ---- Countdown: the problem ----------------------------------------------------------------
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
    char solution[64];                   /* one that is right, fewest parentheses: 12*(7-3)+12 */
    char steps[COUNTDOWN_MAX - 1][36];   /* count-1 lines, integers only: 7-3=4 */
} countdown_problem;

/* A problem's key is (sorted numbers, target), so the order shown never changes its split.
 * HELDOUT: every problem whose target has a hash = 0 mod 10 (9 of the 91 targets 10..100).
 * Of the other keys a second hash gives TEST 10 %, VALID 10 %, TRAIN 80 %: a tenth of the
 * smallest task of interest (3 numbers of 1..20) still holds more than 1,000 test keys. */
typedef enum {
    COUNTDOWN_TRAIN, COUNTDOWN_VALID, COUNTDOWN_TEST, COUNTDOWN_HELDOUT
} countdown_split;

countdown_split countdown_split_of(const int *numbers, int count, int target);
const char *countdown_split_name(countdown_split);   /* train valid test heldout */

/* ---- Countdown: the generator -------------------------------------------------------------- */

typedef struct {
    int count_min, count_max;            /* each count equally often */
    int number_min, number_max;
    int target_min, target_max;
    countdown_split split;               /* the only split that countdown_draw gives */
} countdown_options;

countdown_options countdown_defaults(void);   /* 3..5 numbers of 1..99, targets 10..100, TRAIN */

/* NULL when the options make sense, else what is wrong with them. */
const char *countdown_check(const countdown_options *);

/* Draws one problem. 0: the options are wrong, or a million draws gave nothing that fits. */
int countdown_draw(const countdown_options *, dual_rng *, countdown_problem *);

/* x. The line break between x and y and the end token are the caller's. */
size_t countdown_prompt(const countdown_problem *, char *out, size_t size);

/* The part of a generated y to grade: after the last `#`, or all of it. */
const char *countdown_final(const char *y);

/* One sample of Base text, without its end token; 0: as countdown_draw. It is
 * - with probability `facts` a true `a+b=c` (+ - * / equally often, uniform over all facts with
 *   a, b, c in 0..100, so that every whole-number token is met), else
 * - prompt, line break, expression: the form of the task and not the task. The expression has
 *   each number once, any operators in any order (the value may be negative or a fraction), and
 *   the target is drawn independently of it.
 * Its (numbers, target) is always a TRAIN key; options->split is not read. A good share of facts
 * is 0.15: a Base of width 64 then used each number once in 92 % of its samples after 800 steps; at
 * 0.5 in 5 % after 900. */
size_t countdown_base(const countdown_options *, double facts, dual_rng *, char *out,
                      size_t size);

/* ---- Countdown: the grader ------------------------------------------------------------------
 *     expr = term {(+|-) term}     term = factor {(*|/) factor}     factor = digits | ( expr )
 * Blanks and tabs may stand between tokens. No sign, no leading zero, no implied product, no
 * `= v`; at most 100 parentheses deep and 4,096 bytes long. Values are exact fractions. */

typedef enum {
    COUNTDOWN_CORRECT, COUNTDOWN_MALFORMED, COUNTDOWN_WRONG_NUMBERS, COUNTDOWN_WRONG_VALUE,
    COUNTDOWN_ZERO_DIVISION, COUNTDOWN_OVERFLOW
} countdown_verdict;

/* The first of malformed, wrong numbers, zero division or overflow, wrong value that applies. */
countdown_verdict countdown_grade(const countdown_problem *, const char *answer);
const char *countdown_verdict_name(countdown_verdict);

/* 1: well formed, and each given number exactly once, whatever the value. */
int countdown_uses_each_once(const countdown_problem *, const char *answer);

/* 1: some expression with + and - alone reaches the target; 0: it needs * or /. */
int countdown_plus_minus_suffice(const countdown_problem *);

/* The random-expression floor: share of `draws` expressions, drawn as those of the Base text
 * are, that reach the target. About 4.7 % on average for 3 numbers of 1..20. */
double countdown_floor(const countdown_problem *, dual_rng *, size_t draws);

/* ---- Countdown: texts back to problems -------------------------------------------------------
 * One JSON object, other fields ignored; count-1 steps that replay; answer graded:
 *     {"nums": [44, 19, 35], "target": 98, "steps": ["19 + 35 = 54", "44 + 54 = 98"],
 *      "answer": "44 + (19 + 35)"} */

/* NULL: the row is in *p. Otherwise what was expected of it. */
const char *countdown_read_row(dual_json row, countdown_problem *p);
/* Reads back numbers and target from what countdown_prompt writes. 0: it is no such text. */
int countdown_parse(const char *prompt, countdown_problem *p);
/* The key as text: sorted numbers, target. */
size_t countdown_key(const countdown_problem *p, char *out, size_t size);

/* ---- Words: a tokenizer whose vocabulary is data --------------------------------------------
 * Reading: blanks and tabs part words and are dropped. At each place the longest word wins that
 * covers a run of digits, or a letter and the letters, digits, `_` and non-ASCII bytes behind
 * it, or one other character; and then any punctuation behind that. Hence `target:` and `###`
 * are words, `44+(19` is four. "\n" is a word of its own.
 * A word <like this> cannot be spelled by text: <end> ends every sample and must exist; <1_>
 * starts a number that is no word, <_5> continues it: 150 is <1_> <_5> <_0>.
 * Writing: one blank between words, but none around + - * / = and "\n", inside parentheses, or
 * before . , ? Pieces that are not what encode makes of a number stay visible as <_5>. */

typedef struct words words;

/* n words, word i gets id i; all copied. NULL: failed. Refused: no <end>, a word twice, a word
 * that no text can spell. */
words *words_new(const char *const *list, size_t n, char *error, size_t size);

/* <end> "\n" numbers: target: + - * / ( ) = ### 0..100 <1_>..<9_> <_0>..<_9>: 132 words.
 * NULL: out of memory. */
words *words_new_countdown(void);

/* <end> and <byte 0>..<byte 255>: 257 words, one for each byte of a text, nothing dropped or added
 * when written. Any vocabulary that holds those 256 words in order works like this. */
words *words_new_bytes(void);

/* One word a line in order of id, "\n" written \n and a backslash \\. */
words *words_load(const char *file, char *error, size_t size);
int words_save(const words *, const char *file, char *error, size_t size);  /* 0: failed */
void words_free(words *);

size_t words_size(const words *);
int32_t words_id(const words *, const char *word);   /* -1: no such word */
int32_t words_end(const words *);                    /* id of <end> */
const char *words_word(const words *, int32_t id);   /* NULL: no such id */

/* Writes the first max ids; returns how many the whole text has. (size_t)-1: a word is unknown,
 * the error names it. */
size_t words_encode(const words *, const char *text, int32_t *ids, size_t max, char *error,
                    size_t size);
size_t words_decode(const words *, const int32_t *ids, size_t n, char *out, size_t size);

#endif
