/* test_data.c: the Countdown task and the word-level tokenizer.
 *
 *     test_data [folder]     folder: where countdown_uft_train.jsonl and _test.jsonl lie
 *
 * Last line: `N passed, N failed`; exit status 1 if any failed. Hostile files are written to
 * the current directory and removed again. */
#include "../data/tasks/tasks.h"
#include "../data/tokenizers/words.h"
#include "check.h"

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

/* ---- Generator: every claim recomputed here, without the grader --------------------------- */

/* 1: the steps use up the numbers, each is true, and the last gives the target. */
static int steps_replay(const countdown_problem *p) {
    long pool[COUNTDOWN_MAX];
    int n = p->count, i, j, k;

    for (i = 0; i < n; i++)
        pool[i] = p->numbers[i];
    for (k = 0; k < p->count - 1; k++) {
        long value[3], expect;
        char op;

        if (sscanf(p->steps[k], "%ld%c%ld=%ld", &value[0], &op, &value[1], &value[2]) != 4)
            return 0;
        for (j = 0; j < 2; j++) {
            for (i = 0; i < n && pool[i] != value[j]; i++)
                ;
            if (i == n)
                return 0;
            pool[i] = pool[--n];
        }
        expect = op == '+' ? value[0] + value[1] : op == '-' ? value[0] - value[1]
               : op == '*' ? value[0] * value[1]
               : value[1] && value[0] % value[1] == 0 ? value[0] / value[1] : -1;
        if (expect != value[2] || expect < 0)
            return 0;
        pool[n++] = expect;
    }
    return n == 1 && pool[0] == p->target;
}

static void test_generator(void) {
    int count, i, j;

    for (count = 3; count <= 5; count++) {
        countdown_options o = options(count, 99, COUNTDOWN_TRAIN);
        dual_rng rng = dual_rng_seed(7, (uint64_t)count), again = rng;

        for (i = 0; i < 2000; i++) {
            countdown_problem p, q;

            check_that(countdown_draw(&o, &rng, &p), "a problem of %d numbers is drawn", count);
            check_that(countdown_draw(&o, &again, &q) && memcmp(&p, &q, sizeof p) == 0,
                       "the same seed gives the same problem, expected \"%s\", got \"%s\"",
                       p.solution, q.solution);
            check_that(p.count == count, "count: expected %d, got %d", count, p.count);
            for (j = 0; j < p.count; j++)
                check_that(p.numbers[j] >= 1 && p.numbers[j] <= 99,
                           "number: expected 1..99, got %d", p.numbers[j]);
            check_that(p.target >= 10 && p.target <= 100, "target: expected 10..100, got %d",
                       p.target);
            check_that(steps_replay(&p), "steps of \"%s\" = %d replay", p.solution, p.target);
            check_that(countdown_grade(&p, p.solution) == COUNTDOWN_CORRECT,
                       "solution \"%s\" = %d: expected correct", p.solution, p.target);
            check_that(countdown_split_of(p.numbers, p.count, p.target) == COUNTDOWN_TRAIN,
                       "\"%s\": expected a train key", p.solution);
        }
    }
}

static void test_options(void) {
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(1, 0);
    countdown_problem p;
    char text[COUNTDOWN_TEXT];
    int seen[COUNTDOWN_MAX + 1] = { 0 }, i;

    for (i = 0; i < 3000; i++)
        if (countdown_draw(&o, &rng, &p))
            seen[p.count]++;
    for (i = 3; i <= 5; i++)
        check_that(seen[i] > 900 && seen[i] < 1100,
                   "%d numbers: expected about 1000 of 3000, got %d", i, seen[i]);
    for (i = COUNTDOWN_TRAIN; i <= COUNTDOWN_HELDOUT; i++) {
        o.split = (countdown_split)i;
        check_that(countdown_draw(&o, &rng, &p)
                   && countdown_split_of(p.numbers, p.count, p.target) == o.split,
                   "a problem of split %s is drawn", countdown_split_name(o.split));
    }

    o = options(7, 99, COUNTDOWN_TRAIN);
    check_that(countdown_check(&o) != NULL, "7 numbers: expected to be refused");
    check_that(!countdown_draw(&o, &rng, &p), "7 numbers: expected no problem");
    check_that(!countdown_base(&o, 0, &rng, text, sizeof text), "7 numbers: expected no base text");
    o = options(3, 99, COUNTDOWN_TRAIN);
    o.target_min = 101;
    check_that(countdown_check(&o) != NULL, "targets 101..100: expected to be refused");
    o = options(2, 1, COUNTDOWN_TRAIN);
    check_that(countdown_check(&o) == NULL && !countdown_draw(&o, &rng, &p),
               "1 and 1 reach no target of 10..100: expected no problem");
    o = options(6, COUNTDOWN_NUMBER_MAX, COUNTDOWN_TRAIN);
    o.target_max = COUNTDOWN_NUMBER_MAX;
    for (i = 0; i < 200; i++) {
        check_that(countdown_draw(&o, &rng, &p) && steps_replay(&p)
                   && countdown_grade(&p, p.solution) == COUNTDOWN_CORRECT,
                   "the largest problems are sound, got \"%s\"", p.solution);
        check_that(countdown_prompt(&p, text, sizeof text) < sizeof text,
                   "COUNTDOWN_TEXT has room for \"%s\"", text);
    }
}

/* ---- Splits ------------------------------------------------------------------------------- */

static void test_splits(void) {
    /* Computed by another implementation of the hash; they must never change. */
    static const int heldout[] = { 17, 28, 29, 30, 42, 67, 71, 74, 81 };
    static const struct { const char *numbers; int target; countdown_split split; } pinned[] = {
        { "73 98 9", 42, COUNTDOWN_HELDOUT },
        { "64 98 58", 70, COUNTDOWN_VALID },
        { "49 27 13 63 4", 59, COUNTDOWN_TRAIN },
        { "78 98 99 1", 99, COUNTDOWN_TRAIN },
        { "35 93 30 76", 23, COUNTDOWN_TRAIN },
        { "21 67 51", 57, COUNTDOWN_VALID },
        { "65 30 2", 35, COUNTDOWN_VALID },
        { "1 50 95 66 17", 76, COUNTDOWN_TEST },
        { "27 55 8 62 47", 82, COUNTDOWN_TEST },
        { "40 50 44", 63, COUNTDOWN_TEST },
        { "1000000 0 999999", 1000000, COUNTDOWN_TRAIN }
    };
    size_t count[4] = { 0 }, total = 0, i;
    int a, b, c, target, held = 0;

    for (target = 10; target <= 100; target++) {
        int numbers[3] = { 1, 2, 3 };

        held += countdown_split_of(numbers, 3, target) == COUNTDOWN_HELDOUT;
    }
    check_that(held == 9, "held-out targets in 10..100: expected 9, got %d", held);
    for (i = 0; i < sizeof heldout / sizeof *heldout; i++) {
        int numbers[3] = { 9, 9, 9 };

        check_that(countdown_split_of(numbers, 3, heldout[i]) == COUNTDOWN_HELDOUT,
                   "target %d: expected to be held out", heldout[i]);
    }
    for (i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        countdown_problem p = problem(pinned[i].numbers, pinned[i].target);
        countdown_split got = countdown_split_of(p.numbers, p.count, p.target);

        check_that(got == pinned[i].split, "%s -> %d: expected %s, got %s", pinned[i].numbers,
                   pinned[i].target, countdown_split_name(pinned[i].split),
                   countdown_split_name(got));
    }

    /* All keys of 3 numbers of 1..20, target 10..100; any order of the numbers is the same. */
    for (a = 1; a <= 20; a++)
        for (b = a; b <= 20; b++)
            for (c = b; c <= 20; c++)
                for (target = 10; target <= 100; target++) {
                    int up[3], turned[3], down[3];
                    countdown_split split;

                    up[0] = turned[2] = down[2] = a;
                    up[1] = turned[0] = down[1] = b;
                    up[2] = turned[1] = down[0] = c;
                    split = countdown_split_of(up, 3, target);
                    count[split]++;
                    check_that(countdown_split_of(turned, 3, target) == split
                               && countdown_split_of(down, 3, target) == split,
                               "%d %d %d -> %d: expected one split for every order", a, b, c,
                               target);
                }
    total = count[0] + count[1] + count[2];
    check_that(fabs((double)count[COUNTDOWN_TEST] / (double)total - 0.1) < 0.005,
               "test: expected 10 %% of %lu keys, got %lu", (unsigned long)total,
               (unsigned long)count[COUNTDOWN_TEST]);
    check_that(fabs((double)count[COUNTDOWN_VALID] / (double)total - 0.1) < 0.005,
               "valid: expected 10 %% of %lu keys, got %lu", (unsigned long)total,
               (unsigned long)count[COUNTDOWN_VALID]);
}

/* Draws n problems as rows; the caller frees the set. */
static task_set draw_set(const countdown_options *o, size_t n, uint64_t seed) {
    task_set set;
    countdown_problem p;
    dual_rng rng = dual_rng_seed(seed, 0);

    memset(&set, 0, sizeof set);
    while (set.count < n && countdown_draw(o, &rng, &p))
        if (!countdown_put(&p, &set))
            exit(1);
    return set;
}

/* The rows of a set as an array to free. */
static task_row *rows_of(const task_set *set) {
    task_row *rows = calloc(set->count + 1, sizeof *rows);
    size_t i;

    for (i = 0; rows && i < set->count; i++)
        rows[i] = task_get(set, i);
    if (!rows)
        exit(1);
    return rows;
}

static size_t overlap(const task_set *a, const task_set *b, unsigned char *shared) {
    unsigned char *room = calloc(a->count + 1, 1);
    task_row *rows = rows_of(a);
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
    task_set more = draw_set(&o, 20000, 3), two, empty;
    unsigned char shared[2];
    task_row row = task_get(&train, 77);
    countdown_problem p, turned;
    size_t n = overlap(&test, &train, shared);

    memset(&two, 0, sizeof two);
    memset(&empty, 0, sizeof empty);
    check_that(test.count == 2000 && n == 0, "test keys in train: expected 0, got %lu",
               (unsigned long)n);
    n = overlap(&more, &train, shared);
    check_that(n > 15000, "train keys in other train draws: expected most of 20000, got %lu",
               (unsigned long)n);
    check_that(countdown_parse(row.question, &turned), "\"%s\" is read back", row.question);
    n = (size_t)turned.numbers[0];                       /* same key in another order */
    turned.numbers[0] = turned.numbers[2];
    turned.numbers[2] = (int)n;
    p = problem("9 9 9", 27);
    check_that(countdown_put(&p, &two) && countdown_put(&turned, &two), "two rows are kept");
    n = overlap(&two, &train, shared);
    check_that(shared[1] == 1 && n == (size_t)shared[0] + 1, "a turned key: expected to be found");
    check_that(overlap(&two, &empty, shared) == 0 && !shared[0] && !shared[1],
               "overlap with nothing: expected 0");
    check_that(overlap(&empty, &two, shared) == 0, "overlap of nothing: expected 0");
    task_free(&train);
    task_free(&test);
    task_free(&more);
    task_free(&two);
}

/* ---- Base text ---------------------------------------------------------------------------- */

static const double FACTS = 0.15;

static void test_base(void) {
    countdown_options o = options(3, 20, COUNTDOWN_TEST);   /* split must have no effect */
    dual_rng rng = dual_rng_seed(3, 0);
    char text[COUNTDOWN_TEXT], short_text[8];
    int seen[101] = { 0 }, facts = 0, prompts = 0, lucky = 0, ops[128] = { 0 }, i;

    for (i = 0; i < 40000; i++) {
        size_t n = countdown_base(&o, FACTS, &rng, text, sizeof text);
        countdown_problem p = problem("1 1 1", 0);
        char answer[COUNTDOWN_TEXT];

        check_that(n > 0 && n == strlen(text), "base text: expected its own length, got %lu",
                   (unsigned long)n);
        if (sscanf(text, "numbers: %d %d %d target: %d\n%s", &p.numbers[0], &p.numbers[1],
                   &p.numbers[2], &p.target, answer) == 5) {
            prompts++;
            check_that(countdown_uses_each_once(&p, answer), "\"%s\": expected each number once",
                       text);
            check_that(countdown_split_of(p.numbers, 3, p.target) == COUNTDOWN_TRAIN,
                       "\"%s\": expected a train key", text);
            check_that(p.target >= 10 && p.target <= 100,
                       "\"%s\": expected a target 10..100", text);
            lucky += countdown_grade(&p, answer) == COUNTDOWN_CORRECT;
        } else {
            int a, b, c;
            char op = 0;

            facts++;
            check_that(sscanf(text, "%d%c%d=%d", &a, &op, &b, &c) == 4
                       && (op == '+' ? a + b == c : op == '-' ? a - b == c
                           : op == '*' ? a * b == c : op == '/' && b && a == b * c)
                       && a >= 0 && b >= 0 && c >= 0 && a <= 100 && b <= 100 && c <= 100,
                       "\"%s\": expected a fact within 0..100", text);
            seen[a]++, seen[b]++, seen[c]++;
            ops[(int)op]++;
        }
    }
    for (i = 0; i <= 100; i++)
        check_that(seen[i] > 0, "facts: expected to meet number %d", i);
    for (i = 0; i < 4; i++)
        check_that(fabs(4.0 * ops[(int)"+-*/"[i]] / facts - 1) < 0.1,
                   "facts with %c: expected a quarter of %d, got %d", "+-*/"[i], facts,
                   ops[(int)"+-*/"[i]]);
    check_that(fabs(facts / 40000.0 - FACTS) < 0.01,
               "facts: expected a share of %.2f, got %d of 40000", FACTS, facts);
    /* Targets are uniform over 82 values and independent, so about 1 in 100 fits by luck. */
    check_that(lucky < prompts / 40, "targets reached: expected about 1 %%, got %d of %d", lucky,
               prompts);
    check_that(countdown_base(&o, 0, &rng, short_text, sizeof short_text) > 7
               && strcmp(short_text, "numbers") == 0,
               "a short buffer: expected \"numbers\", got \"%s\"", short_text);
}

/* ---- Grader ------------------------------------------------------------------------------- */

static void grades(const char *numbers, int target, const char *answer,
                   countdown_verdict expected) {
    countdown_problem p = problem(numbers, target);
    countdown_verdict got = countdown_grade(&p, answer);

    check_that(got == expected,
               "\"%.60s\" on %s -> %d: expected %s, got %s", answer, numbers, target,
               task_verdict_name(TASK_COUNTDOWN, (int)expected), task_verdict_name(TASK_COUNTDOWN, (int)got));
}

static void test_grader(void) {
    static const char *const malformed[] = {
        "", " ", "(", ")", "()", "+", "+3", "-3", "3 4", "(3)(4)", "3(4)", "(3)4", "3**4",
        "7//2", "3+", "3++4", "3+-4", "3--4", "07", "00", "3+04", "1e3", "3.0", "0x3", "3=3",
        "3+4=7", "=7", "3+4 =", "\xEF\xBC\x93", "3+\xEF\xBC\x94", "3\n+4", "3+4\n", "\n3+4",
        "3+4;", "3+4 a", "3+4)", "(3+4", "((3+4)", "3,4", "3\xC3\x97 4", "3\xA0+4", "3 +\r4",
        "<3_><_4>", "3+4<end>", "3^4", "3%4", "3+[4]", "__import__", "3+4#", "### 3+4", "'3+4'"
    };
    char text[12000];
    size_t i;

    for (i = 0; i < sizeof malformed / sizeof *malformed; i++)
        grades("3 4", 7, malformed[i], COUNTDOWN_MALFORMED);

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

    /* Long and deep. */
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
    for (i = 0; i < 4000; i++)
        text[i] = i % 2 ? '+' : '3';
    text[3999] = 0;
    grades("3 4", 7, text, COUNTDOWN_WRONG_NUMBERS);
    for (i = 100; i <= 101; i++) {
        memset(text, '(', i);
        memcpy(text + i, "3+4", 3);
        memset(text + i + 3, ')', i);
        text[2 * i + 3] = 0;
        grades("3 4", 7, text, i == 100 ? COUNTDOWN_CORRECT : COUNTDOWN_MALFORMED);
    }
    /* More operators than a tree has room for, closed by an error: "1+(1+(1+((((..". */
    for (i = 0; i < 6; i++)
        memcpy(text + 3 * i, "1+(", 3);
    memset(text + 18, '(', 200);
    text[218] = 0;
    grades("1 1 1 1 1 1", 6, text, COUNTDOWN_MALFORMED);

    check_that(strcmp(countdown_final("3+4=7\n### 3+4"), " 3+4") == 0, "final: expected \" 3+4\"");
    check_that(strcmp(countdown_final("3+4"), "3+4") == 0,
               "final without a mark: expected all of it");
    {
        countdown_problem p = problem("3 4", 8);

        check_that(countdown_uses_each_once(&p, "3+4"), "3+4 for 8: expected to use each once");
        check_that(!countdown_uses_each_once(&p, "4+4"),
                   "4+4 for 8: expected not to use each once");
        check_that(!countdown_uses_each_once(&p, "3 4"), "\"3 4\": expected not to be well formed");
        check_that(countdown_uses_each_once(&p, "4/(3-3)") == 0, "4/(3-3): expected too many 3s");
    }
}

/* Writes a random expression over the n numbers, with blanks and spare parentheses, and returns
 * its value in floating point: an evaluation that shares nothing with the grader's. */
static double random_expression(const int *numbers, int n, dual_rng *rng, char *out) {
    int wrapped = dual_rng_below(rng, 4) == 0;
    double value, other;
    char *inner = out + strlen(out);

    if (wrapped)
        strcat(inner, "( ");
    if (n == 1) {
        snprintf(inner + strlen(inner), 16, "%d ", numbers[0]);
        value = numbers[0];
    } else {
        int cut = 1 + (int)dual_rng_below(rng, (size_t)n - 1);
        char op = "+-*/"[dual_rng_below(rng, 4)];

        strcat(inner, "(");
        value = random_expression(numbers, cut, rng, inner);
        snprintf(inner + strlen(inner), 16, ")%c (", op);
        other = random_expression(numbers + cut, n - cut, rng, inner);
        strcat(inner, ")");
        value = op == '+' ? value + other : op == '-' ? value - other
              : op == '*' ? value * other : value / other;
    }
    if (wrapped)
        strcat(inner, ")");
    return value;
}

static void test_grader_against_floats(void) {
    dual_rng rng = dual_rng_seed(11, 0);
    int i, j, right = 0;

    for (i = 0; i < 100000; i++) {
        countdown_problem p;
        char text[400] = "";
        double value;
        countdown_verdict verdict;

        p.count = 2 + (int)dual_rng_below(&rng, 5);
        for (j = 0; j < p.count; j++)
            p.numbers[j] = (int)dual_rng_below(&rng, 8);
        value = random_expression(p.numbers, p.count, &rng, text);
        p.target = fabs(value) < 1e6 ? abs((int)floor(value + 0.5)) : 0;
        verdict = countdown_grade(&p, text);
        if (verdict == COUNTDOWN_ZERO_DIVISION)     /* floats go on with inf, nan or 0 */
            continue;
        right += verdict == COUNTDOWN_CORRECT;
        check_that((verdict == COUNTDOWN_CORRECT) == (fabs(value - p.target) < 1e-9),
                   "%s = %.12g for %d: got %s", text, value, p.target,
                   task_verdict_name(TASK_COUNTDOWN, (int)verdict));
    }
    check_that(right > 10000, "random expressions: expected thousands to be right, got %d", right);

    for (i = 0; i < 200000; i++) {                  /* no crash on any text */
        countdown_problem p = problem("1 2 3", 6);
        char text[40];
        size_t n = dual_rng_below(&rng, sizeof text);

        for (j = 0; j < (int)n; j++)
            text[j] = "123+-*/() "[dual_rng_below(&rng, 10)];
        text[n] = 0;
        check_that(countdown_grade(&p, text) != COUNTDOWN_OVERFLOW, "\"%s\": expected no overflow",
                   text);
    }
}

/* ---- Classification and floor ------------------------------------------------------------- */

static void test_classes(void) {
    static const struct { const char *numbers; int target, suffice; } known[] = {
        { "3 7 12", 22, 1 }, { "3 7 12", 8, 1 }, { "3 7 12", 16, 1 }, { "12 7 3", 2, 1 },
        { "3 7 12", 60, 0 }, { "3 7 12", 33, 0 }, { "8 3 8 3", 24, 0 }, { "5 5", 0, 1 },
        { "5 5", 1, 0 }, { "0 0", 0, 1 }, { "2 3", 6, 0 }, { "1 2", 0, 0 }
    };
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(5, 0);
    countdown_problem p;
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++) {
        p = problem(known[i].numbers, known[i].target);
        check_that(countdown_plus_minus_suffice(&p) == known[i].suffice,
                   "%s -> %d: expected + and - %s", known[i].numbers, known[i].target,
                   known[i].suffice ? "to suffice" : "not to suffice");
    }
    for (i = 0; i < 2000; i++)
        if (countdown_draw(&o, &rng, &p) && !strpbrk(p.solution, "*/"))
            check_that(countdown_plus_minus_suffice(&p), "\"%s\": expected + and - to suffice",
                       p.solution);
}

static void test_floor(void) {
    static const struct { const char *numbers; int target; double exact; } known[] = {
        { "2 3", 6, 1.0 / 4 },       /* only 2*3 of + - * / */
        { "4 2", 2, 1.0 / 4 },       /* 4-2 and 4/2, each in one of two orders */
        { "0 5", 0, 3.0 / 7 },       /* 0*5 and 0/5 of all but 5/0, which has no value */
        { "2 3", 7, 0 }
    };
    enum { DRAWS = 100000 };
    countdown_options o = options(3, 20, COUNTDOWN_TEST);
    task_set set = draw_set(&o, 2000, 9);
    dual_rng rng = dual_rng_seed(10, 0);
    countdown_problem p;
    double mean = 0, measured;
    int hits = 0;
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++) {
        p = problem(known[i].numbers, known[i].target);
        measured = countdown_floor(&p, &rng, DRAWS);
        check_that(fabs(measured - known[i].exact) < 0.007, "%s -> %d: expected %.4f, got %.4f",
                   known[i].numbers, known[i].target, known[i].exact, measured);
    }
    for (i = 0; i < set.count; i++)
        if (countdown_parse(task_get(&set, i).question, &p))
            mean += 100 * countdown_floor(&p, &rng, 200) / (double)set.count;
    printf("random-expression floor, 3 numbers of 1..20, targets 10..100: %.2f %%\n", mean);
    check_that(mean > 2 && mean < 5, "floor: expected 2 to 5 %%, got %.2f %%", mean);
    task_free(&set);

    /* The expressions of the Base text meet it too: 6 6 6 6 whatever the prompt's target. */
    o = options(4, 6, COUNTDOWN_TRAIN);
    o.number_min = 6;
    p = problem("6 6 6 6", 24);
    measured = countdown_floor(&p, &rng, DRAWS);
    for (i = 0; i < DRAWS; i++) {
        char text[COUNTDOWN_TEXT];

        if (countdown_base(&o, 0, &rng, text, sizeof text))
            hits += countdown_grade(&p, strchr(text, '\n') + 1) == COUNTDOWN_CORRECT;
    }
    check_that(measured > 0.01 && fabs((double)hits / DRAWS - measured) < 0.003,
               "6 6 6 6 -> 24 in Base text: expected %.4f, got %.4f", measured,
               (double)hits / DRAWS);
}

/* ---- Words -------------------------------------------------------------------------------- */

enum { IDS = 256 };

static void round_trip(const words *w, const char *text) {
    int32_t ids[IDS], again[IDS];
    char out[COUNTDOWN_TEXT], error[200] = "";
    size_t n = words_encode(w, text, ids, IDS, error, sizeof error), m;

    check_that(n <= IDS, "\"%s\": expected at most %d words, got error \"%s\"", text, IDS, error);
    if (n > IDS)
        return;
    m = words_decode(w, ids, n, out, sizeof out);
    check_that(m == strlen(text) && strcmp(out, text) == 0,
               "expected \"%s\", got \"%s\"", text, out);
    m = words_encode(w, out, again, IDS, error, sizeof error);
    check_that(m == n && memcmp(ids, again, n * sizeof *ids) == 0, "\"%s\": expected the same ids",
               text);
}

/* text must encode to n ids that are decoded as `canonical`. */
static void reads_as(const words *w, const char *text, size_t expected, const char *canonical) {
    int32_t ids[IDS];
    char out[COUNTDOWN_TEXT], error[200] = "";
    size_t n = words_encode(w, text, ids, IDS, error, sizeof error);

    check_that(n == expected, "\"%s\": expected %lu words, got %lu (%s)", text,
               (unsigned long)expected, (unsigned long)n, error);
    if (n <= IDS) {
        words_decode(w, ids, n, out, sizeof out);
        check_that(strcmp(out, canonical) == 0, "\"%s\": expected \"%s\", got \"%s\"", text,
                   canonical, out);
    }
}

static void refuses(const words *w, const char *text, const char *named) {
    char error[200] = "";
    int32_t ids[IDS];
    size_t n = words_encode(w, text, ids, IDS, error, sizeof error);

    check_that(n == (size_t)-1 && strstr(error, named),
               "\"%s\": expected an error with %s, got \"%s\"", text, named, error);
}

static void decodes(const words *w, const char *list, const char *expected) {
    char copy[200], out[200], *word;
    int32_t ids[IDS];
    size_t n = 0;

    strcpy(copy, list);
    for (word = strtok(copy, " "); word; word = strtok(NULL, " "))
        ids[n++] = words_id(w, word);
    words_decode(w, ids, n, out, sizeof out);
    check_that(strcmp(out, expected) == 0, "words %s: expected \"%s\", got \"%s\"", list, expected,
               out);
}

static void test_words(void) {
    words *w = words_new_countdown();
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(13, 0);
    char text[COUNTDOWN_TEXT], out[8];
    int32_t ids[IDS];
    int i;

    check_that(w != NULL, "the Countdown vocabulary is made");
    if (!w)
        return;
    check_that(words_size(w) == 132, "vocabulary: expected 132 words, got %lu",
               (unsigned long)words_size(w));
    check_that(words_end(w) == words_id(w, "<end>") && words_id(w, "<end>") == 0,
               "<end>: expected id 0");
    for (i = 0; i < (int)words_size(w); i++)
        check_that(words_id(w, words_word(w, i)) == i,
                   "word %s: expected id %d", words_word(w, i), i);
    check_that(words_word(w, -1) == NULL && words_word(w, 132) == NULL,
               "ids outside: expected NULL");
    check_that(words_id(w, "") == -1 && words_id(w, "101") == -1, "no such words: expected -1");
    for (i = 0; i <= 100; i++) {
        snprintf(text, sizeof text, "%d", i);
        reads_as(w, text, 1, text);
    }

    reads_as(w, "44 + (19 + 35)", 7, "44+(19+35)");
    reads_as(w, "44+(19+35)", 7, "44+(19+35)");
    reads_as(w, "((3+4))*5", 9, "((3+4))*5");
    reads_as(w, "19 + 35 = 54\n### 44", 8, "19+35=54\n### 44");
    reads_as(w, "=###(3", 4, "=### (3");
    reads_as(w, "150", 3, "150");
    reads_as(w, "150 251 7", 7, "150 251 7");
    reads_as(w, "1 5 0", 3, "1 5 0");
    reads_as(w, "101*100", 5, "101*100");
    reads_as(w, "98765432109876543210", 20, "98765432109876543210");
    reads_as(w, "numbers:3 target:4", 4, "numbers: 3 target: 4");
    reads_as(w, "", 0, "");
    refuses(w, "numbers: 3 banana", "banana");
    refuses(w, "numbers", "numbers");
    refuses(w, "3 07", "07");
    refuses(w, "00", "00");
    refuses(w, "0150", "0150");
    refuses(w, "<end>", "<");
    refuses(w, "<1_>", "<");
    refuses(w, "3\r\n", "byte 2");
    refuses(w, "\xEF\xBC\x93", "\xEF\xBC\x93");
    decodes(w, "<1_> <_5> <_0> 7", "150 7");
    decodes(w, "<1_> <_5> <2_> <_5> <_0>", "<1_> <_5> 250");
    decodes(w, "<3_> <_5>", "<3_> <_5>");
    decodes(w, "35 <_5>", "35 <_5>");
    decodes(w, "<1_>", "<1_>");
    decodes(w, "3 + 4 <end> 7", "3+4 <end> 7");
    ids[0] = 132;
    ids[1] = -1;
    words_decode(w, ids, 2, text, sizeof text);
    check_that(strcmp(text, "<?> <?>") == 0, "unknown ids: expected \"<?> <?>\", got \"%s\"", text);
    check_that(words_encode(w, "1 2 3", ids, 2, NULL, 0) == 3,
               "three words, room for two: expected 3");
    check_that(words_decode(w, ids, 2, out, 3) == 3 && strcmp(out, "1 ") == 0,
               "a short buffer: expected \"1 \", got \"%s\"", out);
    check_that(words_decode(w, ids, 2, NULL, 0) == 3, "no buffer: expected the length 3");

    for (i = 0; i < 3000; i++) {
        countdown_problem p;

        o.number_max = i % 2 ? 99 : 2000;
        o.target_max = i % 3 ? 100 : 5000;
        if (!countdown_draw(&o, &rng, &p))
            continue;
        countdown_prompt(&p, text, sizeof text);
        round_trip(w, text);
        snprintf(text, sizeof text, "%s\n%s\n### %s", p.steps[0], p.steps[1], p.solution);
        if (p.count == 3)
            round_trip(w, text);
        round_trip(w, p.solution);
        countdown_base(&o, FACTS, &rng, text, sizeof text);
        round_trip(w, text);
    }

    /* Any ids: text without <..> must encode back to them. */
    for (i = 0; i < 50000; i++) {
        size_t n = 1 + dual_rng_below(&rng, 8), m, k;
        int32_t back[IDS];

        for (k = 0; k < n; k++)
            ids[k] = (int32_t)dual_rng_below(&rng, words_size(w));
        words_decode(w, ids, n, text, sizeof text);
        if (strchr(text, '<'))
            continue;
        m = words_encode(w, text, back, IDS, NULL, 0);
        check_that(m == n && memcmp(ids, back, n * sizeof *ids) == 0,
                   "\"%s\": expected its own ids", text);
    }
    words_free(w);
}

/* ---- Files -------------------------------------------------------------------------------- */

static const char *const scratch = "test_data_scratch.tmp";

static void bad_vocabulary(const char *text, const char *named) {
    char error[300] = "";
    words *w;

    check_write(scratch, text, strlen(text));
    w = words_load(scratch, error, sizeof error);
    check_that(!w && strstr(error, scratch) && strstr(error, named) && !strchr(error, '\n'),
               "vocabulary %s: expected an error with %s, got \"%s\"", text, named, error);
    words_free(w);
}

static void test_other_vocabularies(void) {
    enum { WORDS = 200 };
    static const char *const piece[] = { "<end>", "<5_>", "<_0>" };
    const char *list[WORDS];
    char text[WORDS][WORDS], error[200] = "";
    dual_rng rng = dual_rng_seed(15, 0);
    words *w;
    int i, j;

    /* Every word is the start of the one before: a look-up must not take one for the other. */
    for (j = 0; j < WORDS; j++)
        text[1][j] = (char)('a' + dual_rng_below(&rng, 26));
    list[0] = "<end>";
    for (i = 1; i < WORDS; i++) {
        memcpy(text[i], text[1], WORDS);
        text[i][WORDS - i] = 0;
        list[i] = text[i];
    }
    w = words_new(list, WORDS, error, sizeof error);
    check_that(w != NULL, "nested words: expected to be accepted, got \"%s\"", error);
    for (i = 1; w && i < WORDS; i++)
        check_that(words_id(w, list[i]) == i, "\"%s\": expected id %d, got %d", list[i], i,
                   (int)words_id(w, list[i]));
    words_free(w);

    w = words_new(piece, 3, error, sizeof error);
    check_that(w != NULL, "pieces alone: expected to be accepted, got \"%s\"", error);
    if (w) {
        reads_as(w, "50", 2, "50");
        refuses(w, "5", "5");                        /* one digit is a word or nothing */
    }
    words_free(w);
    check_that(!words_new(NULL, 0, error, sizeof error) && strstr(error, "<end>"),
               "no words: expected an error about <end>, got \"%s\"", error);
}

static void test_vocabulary_files(void) {
    words *w = words_new_countdown(), *back, *prosqa;
    char error[300] = "";
    size_t i;

    check_that(w && words_save(w, scratch, error, sizeof error), "vocabulary is saved: %s", error);
    back = words_load(scratch, error, sizeof error);
    check_that(back && words_size(back) == words_size(w), "vocabulary is loaded: %s", error);
    for (i = 0; back && i < words_size(w); i++)
        check_that(strcmp(words_word(w, (int32_t)i), words_word(back, (int32_t)i)) == 0,
                   "word %lu: expected %s, got %s", (unsigned long)i, words_word(w, (int32_t)i),
                   words_word(back, (int32_t)i));
    words_free(back);
    words_free(w);

    /* Another task's words, DOS line ends, no last line end, a backslash. */
    {
        static const char text[] =
            "Tom\r\nis\r\na\r\nwumpus\r\n.\r\n?\r\nIs\r\nor\r\n<end>\r\n\\\\";

        check_write(scratch, text, sizeof text - 1);
        prosqa = words_load(scratch, error, sizeof error);
        check_that(prosqa && words_size(prosqa) == 10 && words_end(prosqa) == 8
                   && words_id(prosqa, "\\") == 9, "other words are loaded: %s", error);
        if (prosqa) {
            reads_as(prosqa, "Tom is a wumpus. Is Tom a wumpus or a wumpus?", 13,
                     "Tom is a wumpus. Is Tom a wumpus or a wumpus?");
            refuses(prosqa, "Tom is a wumpuses.", "wumpuses");
            refuses(prosqa, "Tom is 12", "12");
            refuses(prosqa, "Tom\nis", "byte 4");
        }
        words_free(prosqa);
    }

    bad_vocabulary("", "<end>");
    bad_vocabulary("a\nb\n", "<end>");
    bad_vocabulary("<end>\na\na\n", "twice");
    bad_vocabulary("<end>\n\\n\n\\n\n", "twice");
    bad_vocabulary("<end>\n\na\n", ":2:");
    bad_vocabulary("<end>\na\\t\n", ":2:");
    bad_vocabulary("<end>\na\\", ":2:");
    bad_vocabulary("<end>\ntwo words\n", "two words");
    bad_vocabulary("<end>\na-b\n", "a-b");
    remove(scratch);
    check_that(!words_load(scratch, error, sizeof error) && strstr(error, scratch),
               "a missing file: expected an error that names it, got \"%s\"", error);
}

#define GOOD "{\"nums\": [44, 19, 35], \"target\": 98, \"steps\": [\"19 + 35 = 54\", " \
             "\"44 + 54 = 98\"], \"answer\": \"44 + (19 + 35)\"}"

/* Text of the given length must be refused with an error that holds `named`, on one line. */
static void bad_file(const char *text, size_t length, const char *named) {
    task_set set;
    char error[300] = "";
    int ok;

    check_write(scratch, text, length);
    ok = task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error);
    check_that(!ok && set.text == NULL && set.count == 0 && strstr(error, scratch)
               && strstr(error, named) && strstr(error, "expected") && !strchr(error, '\n'),
               "file %.80s: expected an error with %s, got \"%s\"", text, named, error);
    if (ok)
        task_free(&set);
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

        check_that(strcmp(row.question, "numbers: 44 19 35 target: 98") == 0, "row: expected "
                   "44 19 35 -> 98, got %s", row.question);
        check_that(strcmp(row.answer, "44+19+35") == 0, "solution: expected 44+19+35, got %s",
                   row.answer);
        check_that(row.n_steps == 2 && strcmp(row.steps, "19+35=54") == 0
                   && strcmp(task_step(&row, 1), "44+54=98") == 0,
                   "steps: expected 19+35=54 44+54=98, got %s %s", row.steps, task_step(&row, 1));
    }
    task_free(&set);

    bad_file("", 0, "nothing in it");
    bad_file("\n \n", 3, "nothing in it");
    bad_file(GOOD "\n" GOOD "\0", sizeof GOOD * 2, "NUL");
    bad_file(GOOD " " GOOD, sizeof GOOD * 2 - 1, ":1: ");
    bad_file(GOOD "\n[1, 2]\n", sizeof GOOD + 7, ":2: ");
    bad_file(GOOD "\n\n" "{\"nums\": [44, 19", sizeof GOOD + 17, ":3: ");
    bad_file("[[[[[[[[[[[[[[[[", 16, ":1: ");
    bad_file("\xEF\xBB\xBF" "nonsense", 11, ":1: ");

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
    check_that(!task_read(TASK_COUNTDOWN, scratch, 0, &set, error, sizeof error)
               && strstr(error, scratch),
               "a missing file: expected an error that names it, got \"%s\"", error);
}

static void test_real_files(const char *folder) {
    static const struct { const char *name; size_t rows; } file[] = {
        { "countdown_uft_train.jsonl", 10240 }, { "countdown_uft_test.jsonl", 1024 }
    };
    task_set set[2];
    words *w = words_new_countdown();
    unsigned char two[2];
    char error[300] = "", text[COUNTDOWN_TEXT];
    dual_rng rng = dual_rng_seed(14, 0);
    double floor_sum = 0;
    size_t shared, simple = 0, i, j;

    for (i = 0; i < 2; i++) {
        char path[1000];

        snprintf(path, sizeof path, "%.900s/%s", folder, file[i].name);
        check_that(task_read(TASK_COUNTDOWN, path, 0, &set[i], error, sizeof error)
                   && set[i].count == file[i].rows,
                   "%s: expected %lu rows, got \"%s\"", path, (unsigned long)file[i].rows, error);
        for (j = 0; w && j < set[i].count; j++) {
            const task_row row = task_get(&set[i], j);
            countdown_problem p;
            size_t k;

            check_that(countdown_parse(row.question, &p) && countdown_prompt(&p, text, sizeof text)
                       && strcmp(text, row.question) == 0, "%s: \"%s\"", path, row.question);
            round_trip(w, row.question);
            round_trip(w, row.answer);
            for (k = 0; k < row.n_steps; k++) {
                round_trip(w, task_step(&row, k));
                snprintf(p.steps[k], sizeof p.steps[k], "%s", task_step(&row, k));
            }
            check_that(steps_replay(&p), "%s: row %lu replays", path, (unsigned long)j);
            if (i == 1) {
                simple += (size_t)countdown_plus_minus_suffice(&p);
                floor_sum += countdown_floor(&p, &rng, 200);
            }
        }
    }
    shared = overlap(&set[1], &set[0], two);
    printf("real files: random-expression floor %.2f %%\n",
           100 * floor_sum / (double)set[1].count);
    printf("real files: %lu test keys also in train; + and - suffice for %lu of %lu\n",
           (unsigned long)shared, (unsigned long)simple, (unsigned long)set[1].count);
    check_that(shared == 5,
               "overlap of the real files: expected 5, got %lu", (unsigned long)shared);
    task_free(&set[0]);
    task_free(&set[1]);
    words_free(w);
}

int main(int argc, char **argv) {
    test_generator();
    test_options();
    test_splits();
    test_overlap();
    test_base();
    test_grader();
    test_grader_against_floats();
    test_classes();
    test_floor();
    test_words();
    test_other_vocabularies();
    test_vocabulary_files();
    test_reader();
    if (argc > 1)
        test_real_files(argv[1]);
    else
        printf("skipped: real Countdown files, expected their folder as the argument\n");
    return check_done();
}
