/* test_countdown.c - the Countdown task: problems drawn and split, Base text, the grader against
 * floating point, files good and bad.
 *
 *     test_countdown FOLDER [DATA]     FOLDER: for its own files; DATA: with countdown/
 */
#include "check.h"
#include "../data/tasks/tasks.h"

static char scratch[600];              /* FOLDER/test_countdown.jsonl */

static countdown_options options(int count, int number_max, countdown_split split) {
    countdown_options o = countdown_defaults();
    o.count_min = o.count_max = count;
    o.number_max = number_max;
    o.split = split;
    return o;
}

/* Numbers separated by blanks, as in "8 3 8 3". */
static countdown_problem problem(const char *numbers, int target) {
    countdown_problem p;
    char *end;
    memset(&p, 0, sizeof p);
    while (*numbers) {
        p.numbers[p.count++] = (int)strtol(numbers, &end, 10);
        numbers = end;
    }
    p.target = target;
    return p;
}

/* ---- Generator: every claim recomputed here, without the grader ----------------------------- */

/* The value of a op b, -1: none that a step may have. */
static long value_of(long a, char op, long b) {
    switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default: return b && a % b == 0 ? a / b : -1;
    }
}

/* Takes `value` out of the n in the pool; 0: it is not there. */
static int take(long *pool, int n, long value) {
    int i = 0;
    while (i < n && pool[i] != value) i++;
    if (i == n) return 0;
    pool[i] = pool[n - 1];
    return 1;
}

/* Whether the steps use up the numbers, each is true, and the last gives the target. */
static int steps_replay(const countdown_problem *p) {
    long pool[COUNTDOWN_MAX];
    int n = p->count;
    for (int i = 0; i < n; i++) pool[i] = p->numbers[i];
    for (int k = 0; k < p->count - 1; k++) {
        long a, b, value;
        char op;
        if (sscanf(p->steps[k], "%ld%c%ld=%ld", &a, &op, &b, &value) != 4) return 0;
        if (!take(pool, n, a) || !take(pool, n - 1, b)) return 0;
        n -= 2;
        if (value < 0 || value_of(a, op, b) != value) return 0;
        pool[n++] = value;
    }
    return n == 1 && pool[0] == p->target;
}

/* What the prompt says is what countdown_parse reads. */
static void reads_back(const countdown_problem *p) {
    char text[COUNTDOWN_TEXT];
    countdown_problem back;
    check_that(countdown_prompt(p, text, sizeof text) < sizeof text,
               "COUNTDOWN_TEXT has room for \"%s\"", text);
    check_that(countdown_parse(text, &back) && back.count == p->count &&
               back.target == p->target && !memcmp(back.numbers, p->numbers, sizeof back.numbers),
               "\"%s\" is read back", text);
}

static void test_generator(void) {
    for (int count = 3; count <= 5; count++) {
        countdown_options o = options(count, 99, COUNTDOWN_TRAIN);
        dual_rng rng = dual_rng_seed(7, (uint64_t)count), again = rng;
        for (int i = 0; i < 2000; i++) {
            countdown_problem p, q;
            check_that(countdown_draw(&o, &rng, &p), "a problem of %d numbers is drawn", count);
            check_that(countdown_draw(&o, &again, &q) && !memcmp(&p, &q, sizeof p),
                       "the same seed gives the same problem, expected \"%s\", got \"%s\"",
                       p.solution, q.solution);
            check_that(p.count == count, "count: expected %d, got %d", count, p.count);
            for (int j = 0; j < p.count; j++)
                check_that(p.numbers[j] >= 1 && p.numbers[j] <= 99,
                           "number: expected 1..99, got %d", p.numbers[j]);
            check_that(p.target >= 10 && p.target <= 100, "target: expected 10..100, got %d",
                       p.target);
            check_that(steps_replay(&p), "steps of \"%s\" = %d replay", p.solution, p.target);
            check_that(countdown_grade(&p, p.solution) == COUNTDOWN_CORRECT,
                       "solution \"%s\" = %d: expected correct", p.solution, p.target);
            check_that(countdown_split_of(p.numbers, p.count, p.target) == COUNTDOWN_TRAIN,
                       "\"%s\": expected a train key", p.solution);
            reads_back(&p);
        }
    }
}

static void test_options(void) {
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(1, 0);
    countdown_problem p;
    char text[COUNTDOWN_TEXT];
    int seen[COUNTDOWN_MAX + 1] = {0};
    for (int i = 0; i < 3000; i++)
        if (countdown_draw(&o, &rng, &p)) seen[p.count]++;
    for (int i = 3; i <= 5; i++)
        check_that(seen[i] > 900 && seen[i] < 1100,
                   "%d numbers: expected about 1000 of 3000, got %d", i, seen[i]);
    for (int i = COUNTDOWN_TRAIN; i <= COUNTDOWN_HELDOUT; i++) {
        o.split = (countdown_split)i;
        check_that(countdown_draw(&o, &rng, &p) &&
                   countdown_split_of(p.numbers, p.count, p.target) == o.split,
                   "a problem of split %s is drawn", countdown_split_name(o.split));
    }

    o = options(7, 99, COUNTDOWN_TRAIN);
    check_that(countdown_check(&o) != NULL, "7 numbers: expected to be refused");
    check_that(!countdown_draw(&o, &rng, &p), "7 numbers: expected no problem");
    check_that(!countdown_base(&o, 0, 0, &rng, text, sizeof text),
               "7 numbers: expected no base text");
    o = options(3, 99, COUNTDOWN_TRAIN);
    o.target_min = 101;
    check_that(countdown_check(&o) != NULL, "targets 101..100: expected to be refused");
    o = options(2, 1, COUNTDOWN_TRAIN);
    check_that(countdown_check(&o) == NULL && !countdown_draw(&o, &rng, &p),
               "1 and 1 reach no target of 10..100: expected no problem");
    o = options(6, COUNTDOWN_NUMBER_MAX, COUNTDOWN_TRAIN);
    o.target_max = COUNTDOWN_NUMBER_MAX;
    for (int i = 0; i < 200; i++) {
        check_that(countdown_draw(&o, &rng, &p) && steps_replay(&p) &&
                   countdown_grade(&p, p.solution) == COUNTDOWN_CORRECT,
                   "the largest problems are sound, got \"%s\"", p.solution);
        reads_back(&p);
    }
}

/* ---- Splits --------------------------------------------------------------------------------- */

/* Computed by another implementation of the hash; they must never change. */
static void test_pinned_splits(void) {
    static const int heldout[] = {17, 28, 29, 30, 42, 67, 71, 74, 81};
    static const struct { const char *numbers; int target; countdown_split split; } pinned[] = {
        {"73 98 9", 42, COUNTDOWN_HELDOUT},
        {"64 98 58", 70, COUNTDOWN_VALID},
        {"49 27 13 63 4", 59, COUNTDOWN_TRAIN},
        {"78 98 99 1", 99, COUNTDOWN_TRAIN},
        {"35 93 30 76", 23, COUNTDOWN_TRAIN},
        {"21 67 51", 57, COUNTDOWN_VALID},
        {"65 30 2", 35, COUNTDOWN_VALID},
        {"1 50 95 66 17", 76, COUNTDOWN_TEST},
        {"27 55 8 62 47", 82, COUNTDOWN_TEST},
        {"40 50 44", 63, COUNTDOWN_TEST},
        {"1000000 0 999999", 1000000, COUNTDOWN_TRAIN}
    };
    int held = 0;
    for (int target = 10; target <= 100; target++) {
        const int numbers[3] = {1, 2, 3};
        held += countdown_split_of(numbers, 3, target) == COUNTDOWN_HELDOUT;
    }
    check_that(held == 9, "held-out targets in 10..100: expected 9, got %d", held);
    for (size_t i = 0; i < sizeof heldout / sizeof *heldout; i++) {
        const int numbers[3] = {9, 9, 9};
        check_that(countdown_split_of(numbers, 3, heldout[i]) == COUNTDOWN_HELDOUT,
                   "target %d: expected to be held out", heldout[i]);
    }
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        const countdown_problem p = problem(pinned[i].numbers, pinned[i].target);
        const countdown_split got = countdown_split_of(p.numbers, p.count, p.target);
        check_that(got == pinned[i].split, "%s -> %d: expected %s, got %s", pinned[i].numbers,
                   pinned[i].target, countdown_split_name(pinned[i].split),
                   countdown_split_name(got));
    }
}

/* The split of a key; any order of its numbers must have the same. */
static countdown_split split_in_any_order(int a, int b, int c, int target) {
    const int up[3] = {a, b, c}, turned[3] = {b, c, a}, down[3] = {c, b, a};
    const countdown_split split = countdown_split_of(up, 3, target);
    check_that(countdown_split_of(turned, 3, target) == split &&
               countdown_split_of(down, 3, target) == split,
               "%d %d %d -> %d: expected one split for every order", a, b, c, target);
    return split;
}

/* Over all keys of 3 numbers of 1..20 and a target of 10..100. */
static void test_shares_of_splits(void) {
    size_t count[4] = {0};
    for (int a = 1; a <= 20; a++)
        for (int b = a; b <= 20; b++)
            for (int c = b; c <= 20; c++)
                for (int target = 10; target <= 100; target++)
                    count[split_in_any_order(a, b, c, target)]++;
    const size_t total = count[0] + count[1] + count[2];
    check_that(fabs((double)count[COUNTDOWN_TEST] / (double)total - 0.1) < 0.005,
               "test: expected 10 %% of %zu keys, got %zu", total, count[COUNTDOWN_TEST]);
    check_that(fabs((double)count[COUNTDOWN_VALID] / (double)total - 0.1) < 0.005,
               "valid: expected 10 %% of %zu keys, got %zu", total, count[COUNTDOWN_VALID]);
}

/* ---- Overlap -------------------------------------------------------------------------------- */

/* Draws n problems as rows; the caller frees the set. */
static task_set draw_set(const countdown_options *o, size_t n, uint64_t seed) {
    task_set set = {0};
    countdown_problem p;
    dual_rng rng = dual_rng_seed(seed, 0);
    while (set.count < n && countdown_draw(o, &rng, &p))
        if (!countdown_put(&p, &set)) exit(1);
    return set;
}

/* How many problems of a are in b; shared: for the first two of a. */
static size_t overlap(const task_set *a, const task_set *b, unsigned char *shared) {
    unsigned char *room = calloc(a->count + 1, 1);
    task_row *rows = calloc(a->count + 1, sizeof *rows);
    if (!room || !rows) check_fatal("out of memory");
    for (size_t i = 0; i < a->count; i++) rows[i] = task_get(a, i);
    const size_t n = task_overlap(TASK_COUNTDOWN, rows, a->count, b, room);
    memcpy(shared, room, a->count < 2 ? a->count : 2);
    free(room);
    free(rows);
    return n;
}

static void test_overlap(void) {
    /* So small a world that without the split nearly every test key would be met in training. */
    countdown_options o = options(3, 12, COUNTDOWN_TRAIN), t = options(3, 12, COUNTDOWN_TEST);
    task_set train = draw_set(&o, 20000, 1), test = draw_set(&t, 2000, 2);
    task_set more = draw_set(&o, 20000, 3);
    unsigned char shared[2];
    size_t n = overlap(&test, &train, shared);
    check_that(test.count == 2000 && n == 0, "test keys in train: expected 0, got %zu", n);
    n = overlap(&more, &train, shared);
    check_that(n > 15000, "train keys in other train draws: expected most of 20000, got %zu", n);

    task_free(&train);
    task_free(&test);
    task_free(&more);
}

/* The order of the numbers does not matter, they and the target do. */
static void test_same_problem(void) {
    const countdown_problem p = problem("3 7 12", 60), turned = problem("12 3 7", 60);
    const countdown_problem other = problem("3 7 12", 61);
    task_set one = {0}, two = {0}, empty = {0};
    unsigned char shared[2] = {7, 7};
    check_that(countdown_put(&p, &one) && countdown_put(&other, &two) &&
               countdown_put(&turned, &two), "rows are kept");
    check_that(overlap(&two, &one, shared) == 1 && !shared[0] && shared[1] == 1,
               "a turned key: expected to be found, and no other");
    check_that(overlap(&two, &empty, shared) == 0 && !shared[0] && !shared[1],
               "overlap with nothing: expected 0");
    check_that(overlap(&empty, &two, shared) == 0, "overlap of nothing: expected 0");
    task_free(&one);
    task_free(&two);
}

static void test_prompts_that_are_none(void) {
    static const char *const none[] = {
        "", "numbers:", "numbers: 1 2", "numbers: 1 2 target:", "numbers: 1 target: 2",
        "numbers: 1 2 3 4 5 6 7 target: 2", "numbers: 1 -2 target: 2", "numbers: 1 2 target: -2",
        "numbers: 1 1000001 target: 2", "numbers: 1 2 target: 1000001", "numbers: 1 2 target: 2 x",
        "numbers: 1 2.5 target: 2", "number: 1 2 target: 2", "numbers: 1 2 goal: 2"
    };
    countdown_problem p;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        check_that(!countdown_parse(none[i], &p), "\"%s\" is no prompt", none[i]);
    check_that(countdown_parse("  numbers:1 2 target:3  ", &p) && p.count == 2 && p.target == 3,
               "blanks do not matter");
}

/* ---- Base text ------------------------------------------------------------------------------ */

static const double FACTS = 0.15;

/* A Base text that is a task: its answer uses each number once. 1: it reaches the target, too. */
static int prompt_is_sound(const countdown_problem *p, const char *answer, const char *text) {
    check_that(countdown_uses_each_once(p, answer), "\"%s\": expected each number once", text);
    check_that(countdown_split_of(p->numbers, 3, p->target) == COUNTDOWN_TRAIN,
               "\"%s\": expected a train key", text);
    check_that(p->target >= 10 && p->target <= 100, "\"%s\": expected a target 10..100", text);
    return countdown_grade(p, answer) == COUNTDOWN_CORRECT;
}

typedef struct { int number[101], op[128], all; } facts_seen;

static void fact_is_true(const char *text, facts_seen *seen) {
    int a, b, c;
    char op = 0;
    const int read = sscanf(text, "%d%c%d=%d", &a, &op, &b, &c) == 4;
    const int within = read && a >= 0 && b >= 0 && c >= 0 && a <= 100 && b <= 100 && c <= 100;
    check_that(within && strchr("+-*/", op) && value_of(a, op, b) == c,
               "\"%s\": expected a fact within 0..100", text);
    if (!within) return;
    seen->number[a]++;
    seen->number[b]++;
    seen->number[c]++;
    seen->op[(int)op]++;
    seen->all++;
}

static void test_base(void) {
    countdown_options o = options(3, 20, COUNTDOWN_TEST);   /* split must have no effect */
    dual_rng rng = dual_rng_seed(3, 0);
    char text[COUNTDOWN_TEXT], answer[COUNTDOWN_TEXT];
    facts_seen facts = {{0}, {0}, 0};
    int prompts = 0, lucky = 0;
    for (int i = 0; i < 40000; i++) {
        const size_t n = countdown_base(&o, FACTS, 0, &rng, text, sizeof text);
        countdown_problem p = problem("1 1 1", 0);
        check_that(n > 0 && n == strlen(text), "base text: expected its own length, got %zu", n);
        if (sscanf(text, "numbers: %d %d %d target: %d\n%s", &p.numbers[0], &p.numbers[1],
                   &p.numbers[2], &p.target, answer) == 5) {
            prompts++;
            lucky += prompt_is_sound(&p, answer, text);
        } else {
            fact_is_true(text, &facts);
        }
    }
    for (int i = 0; i <= 100; i++)
        check_that(facts.number[i] > 0, "facts: expected to meet number %d", i);
    for (const char *op = "+-*/"; *op; op++)
        check_that(fabs(4.0 * facts.op[(int)*op] / facts.all - 1) < 0.1,
                   "facts with %c: expected a quarter of %d, got %d", *op, facts.all,
                   facts.op[(int)*op]);
    check_that(fabs(facts.all / 40000.0 - FACTS) < 0.01,
               "facts: expected a share of %.2f, got %d of 40000", FACTS, facts.all);
    /* Targets are uniform over 82 values and independent, so about 1 in 100 fits by luck. */
    check_that(lucky < prompts / 40, "targets reached: expected about 1 %%, got %d of %d", lucky,
               prompts);
}

/* A share of solved problems beside them: as many are right, and all of them are train keys. */
static void test_base_solved(void) {
    countdown_options o = options(3, 20, COUNTDOWN_TEST);   /* split must have no effect */
    static const double SHARES[] = {0, 0.3, 0.85};
    char text[COUNTDOWN_TEXT], answer[COUNTDOWN_TEXT];
    for (size_t k = 0; k < sizeof SHARES / sizeof *SHARES; k++) {
        dual_rng rng = dual_rng_seed(5, k);
        int right = 0, prompts = 0;
        for (int i = 0; i < 20000; i++) {
            const size_t n = countdown_base(&o, FACTS, SHARES[k], &rng, text, sizeof text);
            countdown_problem p = problem("1 1 1", 0);
            check_that(n > 0 && n == strlen(text), "base text: expected its own length");
            if (sscanf(text, "numbers: %d %d %d target: %d\n%s", &p.numbers[0], &p.numbers[1],
                       &p.numbers[2], &p.target, answer) != 5) continue;
            prompts++;
            right += prompt_is_sound(&p, answer, text);
        }
        check_that(fabs(prompts / 20000.0 - (1 - FACTS)) < 0.015,
                   "solved: expected facts to keep their share, got %d of 20000 prompts", prompts);
        /* of the others about 1 in 100 is right by luck */
        check_that(right / 20000.0 - SHARES[k] > -0.015 && right / 20000.0 - SHARES[k] < 0.03,
                   "solved: expected a share of %.2f, got %d of 20000", SHARES[k], right);
    }
}

static void test_short_buffer(void) {
    countdown_options o = options(3, 20, COUNTDOWN_TRAIN);
    dual_rng rng = dual_rng_seed(4, 0);
    char text[8];
    check_that(countdown_base(&o, 0, 0, &rng, text, sizeof text) > 7 && !strcmp(text, "numbers"),
               "a short buffer: expected \"numbers\", got \"%s\"", text);
}

/* ---- Grader --------------------------------------------------------------------------------- */

static const char *name_of(countdown_verdict verdict) {
    return task_verdict_name(TASK_COUNTDOWN, (int)verdict);
}

static void grades(const char *numbers, int target, const char *answer,
                   countdown_verdict expected) {
    const countdown_problem p = problem(numbers, target);
    const countdown_verdict got = countdown_grade(&p, answer);
    check_that(got == expected, "\"%.60s\" on %s -> %d: expected %s, got %s", answer, numbers,
               target, name_of(expected), name_of(got));
}

static void test_malformed(void) {
    static const char *const malformed[] = {
        "", " ", "(", ")", "()", "+", "+3", "-3", "3 4", "(3)(4)", "3(4)", "(3)4", "3**4",
        "7//2", "3+", "3++4", "3+-4", "3--4", "07", "00", "3+04", "1e3", "3.0", "0x3", "3=3",
        "3+4=7", "=7", "3+4 =", "\xEF\xBC\x93", "3+\xEF\xBC\x94", "3\n+4", "3+4\n", "\n3+4",
        "3+4;", "3+4 a", "3+4)", "(3+4", "((3+4)", "3,4", "3\xC3\x97 4", "3\xA0+4", "3 +\r4",
        "<3_><_4>", "3+4<end>", "3^4", "3%4", "3+[4]", "__import__", "3+4#", "### 3+4", "'3+4'"
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        grades("3 4", 7, malformed[i], COUNTDOWN_MALFORMED);
}

static void test_numbers(void) {
    grades("3 4", 7, "3+4", COUNTDOWN_CORRECT);
    grades("3 4", 7, "4+3", COUNTDOWN_CORRECT);
    grades("3 4", 7, "  ( 4 )\t+ ( ( 3 ) )  ", COUNTDOWN_CORRECT);
    grades("3 4", 7, "3*4", COUNTDOWN_WRONG_VALUE);
    grades("3 4", 7, "7", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "3", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "3+3", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "3+4+3-3", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "3+4*1", COUNTDOWN_WRONG_NUMBERS);
    grades("3 3 4", 10, "3+3+4", COUNTDOWN_CORRECT);
    grades("3 3 4", 11, "3+4+4", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "34", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "99999999999999999999999999999999", COUNTDOWN_WRONG_NUMBERS);
    grades("3 4", 7, "18446744073709551619+4", COUNTDOWN_WRONG_NUMBERS);     /* 2^64 + 3 */
    grades("3 4", 7, "4294967299+4", COUNTDOWN_WRONG_NUMBERS);               /* 2^32 + 3 */
}

static void test_values(void) {
    /* Left to right, products first. */
    grades("10 4 3", 3, "10-4-3", COUNTDOWN_CORRECT);
    grades("10 4 3", 9, "10-(4-3)", COUNTDOWN_CORRECT);
    grades("24 4 3", 2, "24/4/3", COUNTDOWN_CORRECT);
    grades("24 4 3", 18, "24/4*3", COUNTDOWN_CORRECT);
    grades("24 4 3", 2, "24/(4*3)", COUNTDOWN_CORRECT);
    grades("2 3 4", 14, "2+3*4", COUNTDOWN_CORRECT);
    grades("2 3 4", 20, "(2+3)*4", COUNTDOWN_CORRECT);
    grades("0 5", 5, "0+5", COUNTDOWN_CORRECT);

    /* Fractions and negative values inside are allowed, at the end they are not the target. */
    grades("8 3 8 3", 24, "8/(3-8/3)", COUNTDOWN_CORRECT);
    grades("3 3 7 7", 24, "7*(3+3/7)", COUNTDOWN_CORRECT);
    grades("3 10 8", 1, "3-10+8", COUNTDOWN_CORRECT);
    grades("3 10 7 4", 7, "(3-10)*(7-4)", COUNTDOWN_WRONG_VALUE);
    grades("3 10 4 8", 28, "(3-10)*(4-8)", COUNTDOWN_CORRECT);
    grades("10 5 3 4", 5, "(10-5)/(4-3)", COUNTDOWN_CORRECT);
    grades("10 5 3 4", 5, "(10-5)/(3-4)", COUNTDOWN_WRONG_VALUE);
    grades("7 2", 3, "7/2", COUNTDOWN_WRONG_VALUE);
    grades("1 0", 1, "1/0", COUNTDOWN_ZERO_DIVISION);
    grades("1 3 3", 1, "1/(3-3)", COUNTDOWN_ZERO_DIVISION);
    grades("0 3 3", 0, "0/(3-3)", COUNTDOWN_ZERO_DIVISION);
}

static void test_overflow(void) {
    /* 10^6 each: the fourth power overflows an int64, the third does not. */
    grades("1000000 1000000 1000000 1000000", 1, "1000000*1000000/1000000/1000000",
           COUNTDOWN_CORRECT);
    grades("1000000 1000000 1000000 1000000", 0, "1000000*1000000*1000000*1000000",
           COUNTDOWN_OVERFLOW);
    grades("1000000 1000000 1000000 1000000", 1, "1000000/1000000/1000000/1000000",
           COUNTDOWN_WRONG_VALUE);
    /* Both products fit, only their sum does not. */
    grades("1000000 999998 922339 999997 999999 10", 0, "1000000*999998*922339/999997+999999/10",
           COUNTDOWN_OVERFLOW);
    grades("999983 999979 999961 999959 1 1", 0, "1/999983+1/(999979*999961*999959)",
           COUNTDOWN_OVERFLOW);
    grades("999983 999979 999961 999959 1 1", 0, "(1-999983*999979*999961)-1*999959",
           COUNTDOWN_WRONG_VALUE);
}

static void test_long_answers(void) {
    char text[12000];
    memset(text, '(', 10000);
    text[10000] = 0;
    grades("3 4", 7, text, COUNTDOWN_MALFORMED);
    memset(text, '3', 10000);
    grades("3 4", 7, text, COUNTDOWN_MALFORMED);
    memset(text, ' ', 10000);
    memcpy(text, "3+4", 3);
    grades("3 4", 7, text, COUNTDOWN_MALFORMED);
    text[4000] = 0;
    grades("3 4", 7, text, COUNTDOWN_CORRECT);
    for (size_t i = 0; i < 4000; i++) text[i] = i % 2 ? '+' : '3';
    text[3999] = 0;
    grades("3 4", 7, text, COUNTDOWN_WRONG_NUMBERS);
    for (size_t deep = 100; deep <= 101; deep++) {
        memset(text, '(', deep);
        memcpy(text + deep, "3+4", 3);
        memset(text + deep + 3, ')', deep);
        text[2 * deep + 3] = 0;
        grades("3 4", 7, text, deep == 100 ? COUNTDOWN_CORRECT : COUNTDOWN_MALFORMED);
    }
    /* More operators than a tree has room for, closed by an error: "1+(1+(1+((((..". */
    for (size_t i = 0; i < 6; i++) memcpy(text + 3 * i, "1+(", 3);
    memset(text + 18, '(', 200);
    text[218] = 0;
    grades("1 1 1 1 1 1", 6, text, COUNTDOWN_MALFORMED);
}

static void test_parts_of_answers(void) {
    const countdown_problem p = problem("3 4", 8);
    check_that(!strcmp(task_final("3+4=7\n### 3+4"), " 3+4"), "final: expected \" 3+4\"");
    check_that(!strcmp(task_final("3+4"), "3+4"), "final without a mark: expected all of it");
    check_that(countdown_uses_each_once(&p, "3+4"), "3+4 for 8: expected to use each once");
    check_that(!countdown_uses_each_once(&p, "4+4"), "4+4 for 8: expected not to use each once");
    check_that(!countdown_uses_each_once(&p, "3 4"), "\"3 4\": expected not to be well formed");
    check_that(!countdown_uses_each_once(&p, "4/(3-3)"), "4/(3-3): expected too many 3s");
}

/* Writes a random expression over the n numbers, with blanks and spare parentheses, and returns
 * its value in floating point: an evaluation that shares nothing with the grader's. */
static double random_expression(const int *numbers, int n, dual_rng *rng, char *out) {
    const int wrapped = dual_rng_below(rng, 4) == 0;
    double value = numbers[0];
    char *inner = out + strlen(out);
    if (wrapped) strcat(inner, "( ");
    if (n == 1) {
        snprintf(inner + strlen(inner), 16, "%d ", numbers[0]);
    } else {
        const int cut = 1 + (int)dual_rng_below(rng, (size_t)n - 1);
        const char op = "+-*/"[dual_rng_below(rng, 4)];
        strcat(inner, "(");
        value = random_expression(numbers, cut, rng, inner);
        snprintf(inner + strlen(inner), 16, ")%c (", op);
        const double other = random_expression(numbers + cut, n - cut, rng, inner);
        strcat(inner, ")");
        if (op == '+') value += other;
        if (op == '-') value -= other;
        if (op == '*') value *= other;
        if (op == '/') value /= other;
    }
    if (wrapped) strcat(inner, ")");
    return value;
}

static void test_grader_against_floats(void) {
    dual_rng rng = dual_rng_seed(11, 0);
    int right = 0;
    for (int i = 0; i < 100000; i++) {
        countdown_problem p;
        char text[400] = "";
        p.count = 2 + (int)dual_rng_below(&rng, 5);
        for (int j = 0; j < p.count; j++) p.numbers[j] = (int)dual_rng_below(&rng, 8);
        const double value = random_expression(p.numbers, p.count, &rng, text);
        p.target = fabs(value) < 1e6 ? abs((int)floor(value + 0.5)) : 0;
        const countdown_verdict verdict = countdown_grade(&p, text);
        if (verdict == COUNTDOWN_ZERO_DIVISION) continue;   /* floats go on with inf, nan or 0 */
        right += verdict == COUNTDOWN_CORRECT;
        check_that((verdict == COUNTDOWN_CORRECT) == (fabs(value - p.target) < 1e-9),
                   "%s = %.12g for %d: got %s", text, value, p.target,
                   name_of(verdict));
    }
    check_that(right > 10000, "random expressions: expected thousands to be right, got %d", right);
}

static void test_any_text(void) {
    dual_rng rng = dual_rng_seed(12, 0);
    for (int i = 0; i < 200000; i++) {
        const countdown_problem p = problem("1 2 3", 6);
        char text[40];
        const size_t n = dual_rng_below(&rng, sizeof text);
        for (size_t j = 0; j < n; j++) text[j] = "123+-*/() "[dual_rng_below(&rng, 10)];
        text[n] = 0;
        check_that(countdown_grade(&p, text) != COUNTDOWN_OVERFLOW, "\"%s\": expected no overflow",
                   text);
    }
}

/* ---- Samples of a split --------------------------------------------------------------------- */

static task_set sample(const countdown_options *o, size_t n, task_population *all) {
    task_set set = {0};
    check_that(countdown_sample(o, dual_rng_seed(20, 0), n, &set, all), "a sample of %zu", n);
    return set;
}

/* How often a random expression hits the target says how easily the generator draws a problem. */
static double mean_floor(const task_set *set, size_t first, size_t n) {
    dual_rng rng = dual_rng_seed(24, 0);
    double mean = 0;
    for (size_t i = first; i < first + n; i++) {
        countdown_problem p;
        if (countdown_parse(task_get(set, i).question, &p))
            mean += countdown_floor(&p, &rng, 1000) / (double)n;
    }
    return mean;
}

/* The demo's task and split: every problem once, whatever order they come in. */
static void test_whole_split(void) {
    countdown_options o = options(3, 20, COUNTDOWN_TEST);
    task_population all;
    char shown[40];
    task_set set = sample(&o, 5000, &all), first = sample(&o, 100, &all);
    check_that(set.count == 1046 && all.problems == 1046 && all.known == SPLIT_HAS,
               "test problems of 3 numbers of 1..20: expected 1,046, got %zu of %g", set.count,
               all.problems);
    check_that(!strcmp(task_population_print(all, shown), "1,046"), "1,046 is shown as %s", shown);
    size_t same = 0, differ = 0;
    for (size_t i = 0; i < set.count; i++) {
        const task_row row = task_get(&set, i);
        countdown_problem p;
        check_that(countdown_parse(row.question, &p) && countdown_can_draw(&o, &p) &&
                   countdown_row_grade(&row, row.answer) == COUNTDOWN_CORRECT && row.n_steps == 2,
                   "%s: expected a solved problem of the split", row.question);
        for (size_t k = 0; k < i; k++) {
            const task_row other = task_get(&set, k);
            same += task_hash(TASK_COUNTDOWN, &row) == task_hash(TASK_COUNTDOWN, &other);
        }
        if (i < first.count) differ += strcmp(row.question, task_get(&first, i).question) != 0;
    }
    check_size(same, 0, "pairs of equal problems");
    check_size(differ, 0, "problems of a short sample that do not begin a longer one");
    task_free(&set);
    task_free(&first);
}

/* What the generator draws can be met in a sample, and nothing else. */
static void test_split_is_what_is_drawn(void) {
    countdown_options o = options(3, 9, COUNTDOWN_VALID);
    task_population all;
    unsigned char shared[2];
    o.count_min = 2;
    task_set set = sample(&o, 5000, &all), drawn = draw_set(&o, 20000, 25);
    check_that(all.problems == (double)set.count && set.count > 50, "%zu problems", set.count);
    check_size(overlap(&drawn, &set, shared), drawn.count, "drawn ones that are in the split");
    check_that(overlap(&set, &drawn, shared) + 3 > set.count, "nearly all of them are drawn");
    task_free(&set);
    task_free(&drawn);
}

/* The first of a sample are not the easy ones, as the first that the generator draws are: in each
 * split, of a small task that is enumerated and of a large one that is drawn from. */
static void test_sample_is_fair(void) {
    for (int large = 0; large < 2; large++)
        for (int split = COUNTDOWN_TRAIN; split <= COUNTDOWN_HELDOUT; split++) {
            countdown_options o = options(large ? 5 : 3, large ? 30 : 20, (countdown_split)split);
            task_population all;
            task_set set = sample(&o, 1000, &all), drawn = draw_set(&o, 500, 26);
            const double begin = mean_floor(&set, 0, 300), rest = mean_floor(&set, 500, 500);
            const double easy = mean_floor(&drawn, 0, 500);
            check_that(fabs(begin / rest - 1) < 0.25, "%s %d: expected no trend, got %.4f and %.4f",
                       countdown_split_name(o.split), large, begin, rest);
            check_that(easy > 1.2 * rest, "%s %d: the generator prefers easy ones, got %.4f, %.4f",
                       countdown_split_name(o.split), large, easy, rest);
            task_free(&set);
            task_free(&drawn);
        }
}

/* Where a split is counted, drawing from it must give the same count. */
static void test_estimate(void) {
    static const struct { int count, number, counted; } task[] = {{4, 36, 1}, {4, 37, 0}};
    double size[2];
    for (int i = 0; i < 2; i++) {
        const countdown_options o = options(task[i].count, task[i].number, COUNTDOWN_TEST);
        task_population all;
        char shown[40];
        task_set set = sample(&o, 2000, &all);
        size[i] = all.problems;
        check_that((all.known == SPLIT_HAS) == task[i].counted && set.count == 2000,
                   "4 numbers of 1..%d: %s problems", task[i].number,
                   task_population_print(all, shown));
        task_free(&set);
    }
    const double sets = 40.0 / 36;     /* combinations of 4 from 40 and from 39 */
    check_that(size[1] > size[0] && fabs(size[1] / size[0] / sets - 1) < 0.1,
               "expected about %.3f times as many, got %.0f and %.0f", sets, size[0], size[1]);
}

/* Every count of numbers has its share, as long as it lasts. */
static void test_shares_of_counts(void) {
    countdown_options o = options(3, 6, COUNTDOWN_TEST);
    task_population all;
    size_t of[COUNTDOWN_MAX + 1] = {0};
    o.count_min = 2;
    o.count_max = 4;
    o.target_min = 1;
    o.target_max = 30;
    task_set set = sample(&o, 60, &all);
    for (size_t i = 0; i < set.count; i++) {
        const task_row row = task_get(&set, i);
        of[task_steps(TASK_COUNTDOWN, &row) + 1]++;
    }
    check_that(set.count == 60 && of[2] > 0 && of[2] < 20 && of[3] > 20 && of[4] >= of[3] &&
               of[4] <= of[3] + 1, "expected few of 2 numbers, the rest shared, got %zu %zu %zu",
               of[2], of[3], of[4]);
    task_free(&set);
    o = options(2, 1, COUNTDOWN_TEST);
    set = sample(&o, 60, &all);
    check_that(set.count == 0 && all.problems == 0, "1 and 1 reach no target of 10..100");
    task_free(&set);
}

static void test_population_in_words(void) {
    static const struct { task_population all; const char *shown; } known[] = {
        {{0, SPLIT_HAS}, "0"}, {{999, SPLIT_HAS}, "999"}, {{1000, SPLIT_HAS}, "1,000"},
        {{1234567, SPLIT_HAS}, "1,234,567"}, {{1264567, SPLIT_HAS_ABOUT}, "about 1,300,000"},
        {{666666.7, SPLIT_HAS_OVER}, "over 660,000"}, {{57.4, SPLIT_HAS_ABOUT}, "about 57"}
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char shown[40];
        check_that(!strcmp(task_population_print(known[i].all, shown), known[i].shown),
                   "expected \"%s\", got \"%s\"", known[i].shown, shown);
    }
}

static void test_can_draw(void) {
    static const struct { const char *numbers; int target, can; } known[] = {
        {"11 17 11", 18, 1},           /* 11/11+17 */
        {"11 17 11", 28, 0},           /* of another split */
        {"11 17 21", 18, 0}, {"11 17", 28, 0}, {"11 17 11", 9, 0}, {"1 1 1", 50, 0},
        {"16 2 13", 31, 1}
    };
    countdown_options o = options(3, 20, COUNTDOWN_TRAIN);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const countdown_problem p = problem(known[i].numbers, known[i].target);
        check_that(countdown_can_draw(&o, &p) == known[i].can, "%s -> %d: expected %d",
                   known[i].numbers, known[i].target, known[i].can);
    }
    const countdown_problem fraction = problem("8 3 8 3", 24);
    o = options(4, 20, countdown_split_of(fraction.numbers, 4, 24));
    check_that(!countdown_can_draw(&o, &fraction), "8/(3-8/3) is not what the generator makes");
}

/* ---- Whether there is a solution, and what an answer comes to ------------------------------- */

static void test_solvable(void) {
    static const struct { const char *numbers; int target, solvable; } known[] = {
        {"3 7 12", 60, 0}, {"3 7 12", 57, 1}, {"8 3 8 3", 24, 1},  /* 8/(3-8/3) */
        {"3 3 7 7", 24, 1}, {"1 1", 24, 0}, {"0 5", 0, 1}, {"0 0", 1, 0}, {"1 5 5 5", 24, 1},
        {"1 2", 1000000, 0}, {"1 1 1 1 1 1", 10, 0}, {"1 1 1 1 1 1", 9, 1},
        {"2 9 9", 10, 0}, {"5 1 2", 7, 1}                           /* 5*1+2 */
    };
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(21, 0);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const countdown_problem p = problem(known[i].numbers, known[i].target);
        check_that(countdown_solvable(&p) == known[i].solvable, "%s -> %d: expected %s solution",
                   known[i].numbers, known[i].target, known[i].solvable ? "a" : "no");
    }
    o.count_min = 2;
    for (int i = 0; i < 300; i++) {
        countdown_problem p;
        check_that(countdown_draw(&o, &rng, &p) && countdown_solvable(&p),
                   "\"%s\" = %d: expected to be solvable", p.solution, p.target);
    }
}

/* No random expression may reach what is said to have no solution. */
static void test_unsolvable_is_never_reached(void) {
    dual_rng rng = dual_rng_seed(22, 0);
    int without = 0;
    for (int i = 0; i < 300; i++) {
        countdown_problem p = problem("1 1 1", 0);
        for (int k = 0; k < 3; k++) p.numbers[k] = (int)dual_rng_below(&rng, 21);
        p.target = (int)dual_rng_below(&rng, 60);
        const int hit = countdown_floor(&p, &rng, 3000) > 0;
        without += !countdown_solvable(&p);
        check_that(hit == countdown_solvable(&p), "%d %d %d -> %d: reached by chance %d",
                   p.numbers[0], p.numbers[1], p.numbers[2], p.target, hit);
    }
    check_that(without > 30, "expected many without a solution, got %d", without);
}

static void test_value_of_an_answer(void) {
    static const struct { const char *answer, *value; countdown_verdict verdict; } known[] = {
        {"3*(7+12)", "57", COUNTDOWN_CORRECT}, {" 3 * 7 - 12 * 7 ", "-63", COUNTDOWN_CORRECT},
        {"7/2", "7/2", COUNTDOWN_CORRECT}, {"1/3-1/2", "-1/6", COUNTDOWN_CORRECT},
        {"6/3", "2", COUNTDOWN_CORRECT}, {"0", "0", COUNTDOWN_CORRECT},
        {"1000000000*1000000000", "1000000000000000000", COUNTDOWN_CORRECT},
        {"1000000000*1000000000*10", "", COUNTDOWN_OVERFLOW},
        {"1/(2-2)", "", COUNTDOWN_ZERO_DIVISION}, {"3+", "", COUNTDOWN_MALFORMED},
        {"", "", COUNTDOWN_MALFORMED}, {"1+1+1+1+1+1+1", "", COUNTDOWN_WRONG_NUMBERS}
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char out[COUNTDOWN_TEXT] = "x";
        const countdown_verdict got = countdown_value(known[i].answer, out, sizeof out);
        check_that(got == known[i].verdict && !strcmp(out, known[i].value),
                   "\"%s\": expected \"%s\", got \"%s\"", known[i].answer, known[i].value, out);
    }
}

/* ---- What a problem asks for, and what luck reaches ----------------------------------------- */

static void test_plus_minus(void) {
    static const struct { const char *numbers; int target, suffice; } known[] = {
        {"3 7 12", 22, 1}, {"3 7 12", 8, 1}, {"3 7 12", 16, 1}, {"12 7 3", 2, 1},
        {"3 7 12", 60, 0}, {"3 7 12", 33, 0}, {"8 3 8 3", 24, 0}, {"5 5", 0, 1},
        {"5 5", 1, 0}, {"0 0", 0, 1}, {"2 3", 6, 0}, {"1 2", 0, 0}
    };
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(5, 0);
    countdown_problem p;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        p = problem(known[i].numbers, known[i].target);
        check_that(countdown_plus_minus_suffice(&p) == known[i].suffice,
                   "%s -> %d: expected + and - %s", known[i].numbers, known[i].target,
                   known[i].suffice ? "to suffice" : "not to suffice");
    }
    for (size_t i = 0; i < 2000; i++)
        if (countdown_draw(&o, &rng, &p) && !strpbrk(p.solution, "*/"))
            check_that(countdown_plus_minus_suffice(&p), "\"%s\": expected + and - to suffice",
                       p.solution);
}

enum { DRAWS = 100000 };

static void test_floor(void) {
    static const struct { const char *numbers; int target; double exact; } known[] = {
        {"2 3", 6, 1.0 / 4},       /* only 2*3 of + - * / */
        {"4 2", 2, 1.0 / 4},       /* 4-2 and 4/2, each in one of two orders */
        {"0 5", 0, 3.0 / 7},       /* 0*5 and 0/5 of all but 5/0, which has no value */
        {"2 3", 7, 0}
    };
    countdown_options o = options(3, 20, COUNTDOWN_TEST);
    task_set set = draw_set(&o, 2000, 9);
    dual_rng rng = dual_rng_seed(10, 0);
    countdown_problem p;
    double mean = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        p = problem(known[i].numbers, known[i].target);
        const double measured = countdown_floor(&p, &rng, DRAWS);
        check_that(fabs(measured - known[i].exact) < 0.007, "%s -> %d: expected %.4f, got %.4f",
                   known[i].numbers, known[i].target, known[i].exact, measured);
    }
    for (size_t i = 0; i < set.count; i++)
        if (countdown_parse(task_get(&set, i).question, &p))
            mean += 100 * countdown_floor(&p, &rng, 200) / (double)set.count;
    printf("random-expression floor, 3 numbers of 1..20, targets 10..100: %.2f %%\n", mean);
    check_that(mean > 2 && mean < 5, "floor: expected 2 to 5 %%, got %.2f %%", mean);
    task_free(&set);
}

/* The expressions of the Base text meet it too: those of 6 6 6 6, whatever the prompt's target. */
static void test_floor_of_base_text(void) {
    countdown_options o = options(4, 6, COUNTDOWN_TRAIN);
    dual_rng rng = dual_rng_seed(16, 0);
    const countdown_problem p = problem("6 6 6 6", 24);
    const double measured = countdown_floor(&p, &rng, DRAWS);
    int hits = 0;
    o.number_min = 6;
    for (size_t i = 0; i < DRAWS; i++) {
        char text[COUNTDOWN_TEXT];
        if (countdown_base(&o, 0, 0, &rng, text, sizeof text))
            hits += countdown_grade(&p, strchr(text, '\n') + 1) == COUNTDOWN_CORRECT;
    }
    check_that(measured > 0.01 && fabs((double)hits / DRAWS - measured) < 0.003,
               "6 6 6 6 -> 24 in Base text: expected %.4f, got %.4f", measured,
               (double)hits / DRAWS);
}

/* ---- Files ---------------------------------------------------------------------------------- */

#define GOOD "{\"nums\": [44, 19, 35], \"target\": 98, \"steps\": [\"19 + 35 = 54\", " \
             "\"44 + 54 = 98\"], \"answer\": \"44 + (19 + 35)\"}"

/* Text of the given length must be refused with an error that holds `named`, on one line. */
static void bad_file(const char *text, size_t length, const char *named) {
    task_set set;
    char error[300] = "";
    check_write(scratch, text, length);
    const int ok = task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error);
    check_that(!ok && set.text == NULL && set.count == 0 && strstr(error, scratch) &&
               strstr(error, named) && strstr(error, "expected") && !strchr(error, '\n'),
               "file %.80s: expected an error with %s, got \"%s\"", text, named, error);
    if (ok) task_free(&set);
}

/* A good row, then one with these fields. */
static void bad_row(const char *nums, const char *target, const char *steps, const char *answer,
                    const char *named) {
    char text[1200];
    snprintf(text, sizeof text, "%s\n{%s%s%s%s\"more\": 1}\n", GOOD, nums, target, steps, answer);
    bad_file(text, strlen(text), ":2: ");
    bad_file(text, strlen(text), named);
}

#define NUMS "\"nums\": [44, 19, 35], "
#define TARGET "\"target\": 98, "
#define STEPS "\"steps\": [\"19 + 35 = 54\", \"44 + 54 = 98\"], "
#define ANSWER "\"answer\": \"44 + (19 + 35)\", "

static void test_reader(void) {
    static const char fine[] = "\r\n" GOOD "\r\n\n  \n" GOOD;
    task_set set;
    char error[300] = "";
    check_write(scratch, fine, sizeof fine - 1);
    check_that(task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error) && set.count == 2,
               "two rows: expected to be read, got \"%s\"", error);
    if (set.count == 2) {
        const task_row row = task_get(&set, 1);
        check_that(!strcmp(row.question, "numbers: 44 19 35 target: 98"), "row: expected "
                   "44 19 35 -> 98, got %s", row.question);
        check_that(!strcmp(row.answer, "44+19+35"), "solution: expected 44+19+35, got %s",
                   row.answer);
        check_that(row.n_steps == 2 && !strcmp(row.steps, "19+35=54") &&
                   !strcmp(task_step(&row, 1), "44+54=98"),
                   "steps: expected 19+35=54 44+54=98, got %s %s", row.steps, task_step(&row, 1));
    }
    task_free(&set);
    remove(scratch);
    check_that(!task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error) &&
               strstr(error, scratch),
               "a missing file: expected an error that names it, got \"%s\"", error);
}

/* A problem without a solution, as the usual sets have it: a row that can be scored. */
static void test_unsolved_rows(void) {
    static const char rows[] = GOOD "\n\n{\"target\": 98, \"nums\": [44, 19, 35]}\n"
                               "{\"nums\": [1, 2, 3, 4], \"target\": 24, \"steps\": null}\n";
    task_set set;
    char error[300] = "";
    check_write(scratch, rows, sizeof rows - 1);
    check_that(task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error) && set.count == 3,
               "three rows: expected to be read, got \"%s\"", error);
    if (set.count != 3) return;
    const task_row known = task_get(&set, 0), row = task_get(&set, 1), last = task_get(&set, 2);
    check_that(!strcmp(row.question, known.question) && row.n_steps == 0 && !*row.answer,
               "only the problem: expected no steps and no answer, got \"%s\"", row.answer);
    check_that(task_hash(TASK_COUNTDOWN, &row) == task_hash(TASK_COUNTDOWN, &known),
               "it is the same problem");
    check_that(task_steps(TASK_COUNTDOWN, &row) == 2 && task_steps(TASK_COUNTDOWN, &last) == 3 &&
               task_steps(TASK_COUNTDOWN, &known) == 2, "its steps are known by its numbers");
    check_that(task_grade(TASK_COUNTDOWN, &last, "1*2*3*4") == COUNTDOWN_CORRECT &&
               task_grade(TASK_COUNTDOWN, &last, "1+2+3+4") == COUNTDOWN_WRONG_VALUE,
               "and it is graded");
    check_size(task_line(&set, 0), 1, "the first row's line");
    check_size(task_line(&set, 1), 3, "the second row's line");
    task_free(&set);
}

static void test_bad_files(void) {
    bad_file("", 0, "nothing in it");
    bad_file("\n \n", 3, "nothing in it");
    bad_file(GOOD "\n" GOOD "\0", sizeof GOOD * 2, "NUL");
    bad_file(GOOD " " GOOD, sizeof GOOD * 2 - 1, ":1: ");
    bad_file(GOOD "\n[1, 2]\n", sizeof GOOD + 7, ":2: ");
    bad_file(GOOD "\n\n" "{\"nums\": [44, 19", sizeof GOOD + 17, ":3: ");
    bad_file("[[[[[[[[[[[[[[[[", 16, ":1: ");
    bad_file("\xEF\xBB\xBF" "nonsense", 11, ":1: ");
    remove(scratch);
}

static void test_bad_rows(void) {
    bad_row("", TARGET, STEPS, ANSWER, "\"nums\"");
    bad_row(NUMS, "", STEPS, ANSWER, "\"target\"");
    bad_row(NUMS, TARGET, "", ANSWER, "\"steps\"");
    bad_row(NUMS, TARGET, STEPS, "", "\"answer\"");
    bad_row("\"nums\": 44, ", TARGET, STEPS, ANSWER, "\"nums\"");
    bad_row("\"nums\": [], ", TARGET, STEPS, ANSWER, "too few");
    bad_row("\"nums\": [1, 2, 3, 4, 5, 6, 7], ", TARGET, STEPS, ANSWER, "too many");
    bad_row("\"nums\": [44, -19, 35], ", TARGET, STEPS, ANSWER, "0..1000000");
    bad_row("\"nums\": [44, 19.5, 35], ", TARGET, STEPS, ANSWER, "0..1000000");
    bad_row("\"nums\": [44, \"19\", 35], ", TARGET, STEPS, ANSWER, "0..1000000");
    bad_row("\"nums\": [44, 1000001, 35], ", TARGET, STEPS, ANSWER, "0..1000000");
    bad_row("\"nums\": [44, 1e300, 35], ", TARGET, STEPS, ANSWER, "0..1000000");
    bad_row(NUMS, "\"target\": -1, ", STEPS, ANSWER, "\"target\"");
    bad_row(NUMS, "\"target\": 97, ", STEPS, ANSWER, "steps");
    bad_row(NUMS, TARGET, "\"steps\": [], ", ANSWER, "steps");
    bad_row(NUMS, TARGET, "\"steps\": [\"19 + 35 = 55\", \"44 + 55 = 99\"], ", ANSWER, "steps");
    bad_row(NUMS, TARGET, "\"steps\": [\"19 + 36 = 55\", \"44 + 54 = 98\"], ", ANSWER, "steps");
    bad_row(NUMS, TARGET, "\"steps\": [\"19 + 35 = 54\", 98], ", ANSWER, "steps");
    bad_row(NUMS, TARGET, "\"steps\": [\"19 + 35 = 54\", \"44 + 54 = 98\", \"98 + 0 = 98\"], ",
            ANSWER, "too many steps");
    bad_row(NUMS, TARGET, STEPS, "\"answer\": 98, ", "\"answer\"");
    bad_row(NUMS, TARGET, STEPS, "\"answer\": \"44 + 19\", ", "each number once");
    bad_row(NUMS, TARGET, STEPS, "\"answer\": \"44 + 19 + 35 = 98\", ", "each number once");
    bad_row(NUMS, TARGET, STEPS, "\"answer\": \"44 - 19 + 35\", ", "wrong");
    bad_row(NUMS, TARGET, STEPS, "\"answer\": \"44 + 19 + 35\\u0000\", ", "\"answer\"");
    remove(scratch);
}

/* ---- The public files ----------------------------------------------------------------------- */

static task_set read_real(const char *data, const char *name, size_t rows) {
    char path[1000], error[300] = "";
    task_set set;
    snprintf(path, sizeof path, "%.800s/countdown/%s", data, name);
    check_that(task_read(TASK_COUNTDOWN, path, 0, &set, error, sizeof error) && set.count == rows,
               "%s: expected %zu rows, got \"%s\"", path, rows, error);
    return set;
}

static countdown_problem problem_of(const task_row *row) {
    char text[COUNTDOWN_TEXT];
    countdown_problem p;
    check_that(countdown_parse(row->question, &p) && countdown_prompt(&p, text, sizeof text) &&
               !strcmp(text, row->question), "\"%s\" is read and written", row->question);
    for (size_t k = 0; k < row->n_steps; k++)
        snprintf(p.steps[k], sizeof p.steps[k], "%s", task_step(row, k));
    check_that(steps_replay(&p), "the steps of \"%s\" replay", row->question);
    return p;
}

static void test_real_files(const char *data) {
    task_set train = read_real(data, "countdown_uft_train.jsonl", 10240);
    task_set test = read_real(data, "countdown_uft_test.jsonl", 1024);
    dual_rng rng = dual_rng_seed(14, 0);
    unsigned char two[2];
    double floor_sum = 0;
    size_t simple = 0;
    for (size_t i = 0; i < train.count; i++) {
        const task_row row = task_get(&train, i);
        problem_of(&row);
    }
    for (size_t i = 0; i < test.count; i++) {
        const task_row row = task_get(&test, i);
        const countdown_problem p = problem_of(&row);
        simple += (size_t)countdown_plus_minus_suffice(&p);
        floor_sum += countdown_floor(&p, &rng, 200);
    }
    printf("real files: random-expression floor %.2f %%; + and - suffice for %zu of %zu\n",
           100 * floor_sum / (double)test.count, simple, test.count);
    check_size(overlap(&test, &train, two), 5, "test keys of the real files that are in train");
    task_free(&train);
    task_free(&test);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_countdown FOLDER [DATA]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.500s/test_countdown.jsonl", argv[1]);
    test_generator();
    test_options();
    test_pinned_splits();
    test_shares_of_splits();
    test_overlap();
    test_same_problem();
    test_prompts_that_are_none();
    test_base();
    test_base_solved();
    test_short_buffer();
    test_malformed();
    test_numbers();
    test_values();
    test_overflow();
    test_long_answers();
    test_parts_of_answers();
    test_grader_against_floats();
    test_any_text();
    test_whole_split();
    test_split_is_what_is_drawn();
    test_sample_is_fair();
    test_estimate();
    test_shares_of_counts();
    test_population_in_words();
    test_can_draw();
    test_solvable();
    test_unsolvable_is_never_reached();
    test_value_of_an_answer();
    test_plus_minus();
    test_floor();
    test_floor_of_base_text();
    test_reader();
    test_unsolved_rows();
    test_bad_files();
    test_bad_rows();
    if (argc > 2) test_real_files(argv[2]);
    else printf("skipped: real Countdown files, expected the data folder as the second argument\n");
    return check_done();
}
