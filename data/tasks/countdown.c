/* countdown.c: Countdown, reach a number with the given ones. Expression trees and their values
 * come first, because writer, generator, grader and reader all use them. Formats: tasks.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tasks.h"

/* ---- Expression trees ---------------------------------------------------------------------
 * Owns the shape of an expression. Children come before their parent, so the root is the last
 * node, evaluation is one walk forward, and the operators in order are the steps. */

enum { NODES = 2 * COUNTDOWN_MAX - 1 };

/* Bound of every integer the generator makes: the product of two still fits an int64. */
#define VALUE_MAX INT64_C(1000000000)

typedef struct {
    char op;               /* + - * /, or 0 for a given number */
    int left, right;       /* nodes, when op is not 0 */
    int64_t value;         /* of a given number; of any node in the generator's trees */
} tree_node;

typedef struct {
    tree_node node[NODES];
    int size;
} tree;

static int add_node(tree *t, char op, int left, int right, int64_t value) {
    tree_node *n = &t->node[t->size];
    n->op = op;
    n->left = left;
    n->right = right;
    n->value = value;
    return t->size++;
}

/* a op b as the generator allows it; a must be the larger one for - and /. 0: not allowed. */
static int combine(char op, int64_t a, int64_t b, int64_t *value) {
    if (op == '+') *value = a + b;
    else if (op == '-') *value = a - b;
    else if (op == '*') *value = a * b;
    else if (b != 0 && a % b == 0) *value = a / b;
    else return 0;
    return *value >= 0 && *value <= VALUE_MAX;
}

/* The operators the generator may choose for a >= b, and what they give. Never none: - is
 * always allowed. */
static int choices(int64_t a, int64_t b, char op[4], int64_t value[4]) {
    int n = 0;
    for (const char *all = "+-*/"; *all; all++)
        if (combine(*all, a, b, &value[n])) op[n++] = *all;
    return n;
}

/* A random expression: two of the values left become one, until one is left. Tame: only what
 * choices allows, so values are known; else any operator, either order, and no values. */
static void grow(tree *t, const int *numbers, int count, int tame, dual_rng *rng) {
    int open[COUNTDOWN_MAX];           /* roots of the parts not joined yet */
    t->size = 0;
    for (int i = 0; i < count; i++) open[i] = add_node(t, 0, 0, 0, numbers[i]);
    for (int left = count; left > 1; left--) {
        char op[4] = {'+', '-', '*', '/'};
        int64_t value[4] = {0};
        const int i = (int)dual_rng_below(rng, (size_t)left);
        int j = (int)dual_rng_below(rng, (size_t)left - 1), n = 4;
        j += j >= i;
        int a = open[i], b = open[j];
        const int large = t->node[a].value >= t->node[b].value ? a : b, small = a + b - large;
        if (tame) n = choices(t->node[large].value, t->node[small].value, op, value);
        const int pick = (int)dual_rng_below(rng, (size_t)n);
        if (tame && (op[pick] == '-' || op[pick] == '/') && large == b) {
            b = a;
            a = large;
        }
        open[i] = add_node(t, op[pick], a, b, value[pick]);
        open[j] = open[left - 1];
    }
}

/* ---- Exact values -------------------------------------------------------------------------
 * Fractions of int64, lowest terms, den > 0, both within +-INT64_MAX (so -x always exists).
 * A result that does not fit is an overflow, never a rounded or wrapped value. */

typedef struct { int64_t num, den; } fraction;

static int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* *c = a * b; 0: does not fit. */
static int multiply(int64_t a, int64_t b, int64_t *c) {
    if (b != 0 && magnitude(a) > INT64_MAX / magnitude(b)) return 0;
    *c = a * b;
    return 1;
}

/* *c = a + b; 0: does not fit. */
static int add(int64_t a, int64_t b, int64_t *c) {
    if (b > 0 ? a > INT64_MAX - b : a < -INT64_MAX - b) return 0;
    *c = a + b;
    return 1;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* *c = a op b; COUNTDOWN_CORRECT: there is such a value. */
static countdown_verdict apply(char op, fraction a, fraction b, fraction *c) {
    if (op == '-') b.num = -b.num;
    if (op == '/') {                                   /* times the reciprocal */
        const int64_t num = b.num;
        if (num == 0) return COUNTDOWN_ZERO_DIVISION;
        b.num = num < 0 ? -b.den : b.den;
        b.den = magnitude(num);
    }
    int fits = multiply(a.den, b.den, &c->den);
    if (op == '*' || op == '/') {
        fits = fits && multiply(a.num, b.num, &c->num);
    } else {
        int64_t x, y;
        fits = fits && multiply(a.num, b.den, &x) && multiply(b.num, a.den, &y) &&
               add(x, y, &c->num);
    }
    if (!fits) return COUNTDOWN_OVERFLOW;
    const int64_t divisor = common_divisor(magnitude(c->num), c->den);
    c->num /= divisor;
    c->den /= divisor;
    return COUNTDOWN_CORRECT;
}

/* COUNTDOWN_CORRECT: the tree has a value and it is in *value. */
static countdown_verdict evaluate(const tree *t, fraction *value) {
    fraction at[NODES];
    for (int i = 0; i < t->size; i++) {
        const tree_node *n = &t->node[i];
        countdown_verdict verdict = COUNTDOWN_CORRECT;
        at[i].num = n->value;
        at[i].den = 1;
        if (n->op) verdict = apply(n->op, at[n->left], at[n->right], &at[i]);
        if (verdict != COUNTDOWN_CORRECT) return verdict;
    }
    *value = at[t->size - 1];
    return COUNTDOWN_CORRECT;
}

/* A random expression that has a value: what someone writes who knows the form and no more. */
static fraction guess(tree *t, const int *numbers, int count, dual_rng *rng) {
    fraction value;
    do {
        grow(t, numbers, count, 0, rng);
    } while (evaluate(t, &value) != COUNTDOWN_CORRECT);
    return value;
}

/* ---- Writing ------------------------------------------------------------------------------
 * Owns the spelling, the one that words_decode gives back: no blanks around operators. */

typedef struct {
    char *out;
    size_t size, used;     /* used counts on beyond size */
} sink;

static sink open_sink(char *out, size_t size) {
    if (size > 0) out[0] = 0;
    return (sink){out, size, 0};
}

static void put(sink *s, const char *text) {
    for (; *text; text++) {
        if (s->used + 1 < s->size) {
            s->out[s->used] = *text;
            s->out[s->used + 1] = 0;
        }
        s->used++;
    }
}

static void put_char(sink *s, char c) {
    const char text[2] = {c, 0};
    put(s, text);
}

/* By hand: printf has no format for an int64_t that every libc knows. */
static void put_number(sink *s, int64_t value) {
    char text[24];
    size_t at = sizeof text - 1;
    int64_t left = magnitude(value);
    text[at] = 0;
    do {
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) text[--at] = '-';
    put(s, text + at);
}

static void put_step(sink *s, char op, int64_t a, int64_t b, int64_t value) {
    put_number(s, a);
    put_char(s, op);
    put_number(s, b);
    put_char(s, '=');
    put_number(s, value);
}

/* How closely an operator binds; a number (op 0) stands closest. */
static int binds(char op) {
    if (op == 0) return 3;
    return op == '*' || op == '/' ? 2 : 1;
}

/* Parentheses only where the value needs them: a+(b-c) is written a+b-c, a-(b+c) keeps them. */
static void put_tree(sink *s, const tree *t, int at) {
    const tree_node *n = &t->node[at];
    if (n->op == 0) {
        put_number(s, n->value);
        return;
    }
    for (int side = 0; side < 2; side++) {
        const int child = side ? n->right : n->left;
        const int inner = binds(t->node[child].op), outer = binds(n->op);
        const int keep = inner < outer ||
                         (side && inner == outer && (n->op == '-' || n->op == '/'));
        if (side) put_char(s, n->op);
        if (keep) put(s, "(");
        put_tree(s, t, child);
        if (keep) put(s, ")");
    }
}

size_t countdown_prompt(const countdown_problem *p, char *out, size_t size) {
    sink s = open_sink(out, size);
    put(&s, "numbers:");
    for (int i = 0; i < p->count; i++) {
        put(&s, " ");
        put_number(&s, p->numbers[i]);
    }
    put(&s, " target: ");
    put_number(&s, p->target);
    return s.used;
}

/* A number 0..COUNTDOWN_NUMBER_MAX at *at, which then stands behind it; -1: none, or another. */
static int parse_number(const char **at) {
    char *end;
    const long value = strtol(*at, &end, 10);
    if (end == *at || value < 0 || value > COUNTDOWN_NUMBER_MAX) return -1;
    *at = end;
    return (int)value;
}

int countdown_parse(const char *prompt, countdown_problem *p) {
    const char *at = prompt + strspn(prompt, " ");
    memset(p, 0, sizeof *p);
    if (strncmp(at, "numbers:", 8)) return 0;
    at += 8;
    while (p->count < COUNTDOWN_MAX) {
        const int value = parse_number(&at);
        if (value < 0) break;
        p->numbers[p->count++] = value;
    }
    at += strspn(at, " ");
    if (p->count < COUNTDOWN_MIN || strncmp(at, "target:", 7)) return 0;
    at += 7;
    p->target = parse_number(&at);
    return p->target >= 0 && !at[strspn(at, " ")];
}

int countdown_put(const countdown_problem *p, task_set *set) {
    const int steps = *p->solution ? p->count - 1 : 0;
    char prompt[COUNTDOWN_TEXT];
    countdown_prompt(p, prompt, sizeof prompt);
    int fine = task_put(set, prompt, strlen(prompt));
    for (int i = 0; fine && i < steps; i++)
        fine = task_put(set, p->steps[i], strlen(p->steps[i]));
    return fine && task_put(set, p->solution, strlen(p->solution)) &&
           task_close(set, (size_t)steps);
}

/* ---- Keys and splits ----------------------------------------------------------------------
 * A split is a pure function of the key: no list of test problems has to be kept, and whoever
 * draws problems, with whatever seed or machine, cannot draw a test problem for training. */

typedef struct {
    int count, numbers[COUNTDOWN_MAX], target;   /* sorted, unused ones 0 */
} problem_key;

static int compare_ints(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static problem_key key_of(const int *numbers, int count, int target) {
    problem_key key = {.count = count, .target = target};
    for (int i = 0; i < count; i++) key.numbers[i] = numbers[i];
    qsort(key.numbers, (size_t)count, sizeof *key.numbers, compare_ints);
    return key;
}

int countdown_row_key(const task_row *row, char *out, size_t size) {
    countdown_problem p;
    if (!countdown_parse(row->question, &p)) return 0;
    const problem_key key = key_of(p.numbers, p.count, p.target);
    sink s = open_sink(out, size);
    for (int i = 0; i < key.count; i++) {
        put_number(&s, key.numbers[i]);
        put(&s, " ");
    }
    put_number(&s, key.target);
    return s.used < size;
}

/* One round of splitmix64's finaliser: values, not bytes, go in, so endianness plays no part. */
static uint64_t mix(uint64_t hash, int value) {
    hash += (uint64_t)value + UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94D049BB133111EB);
    return hash ^ (hash >> 31);
}

countdown_split countdown_split_of(const int *numbers, int count, int target) {
    /* Two unrelated hashes; the start 1 holds out 9 of the 91 targets 10..100. Never change
     * either: every score ever reported rests on them. */
    const uint64_t target_hash = mix(UINT64_C(1), target);
    if (target_hash % 10 == 0) return COUNTDOWN_HELDOUT;
    const problem_key key = key_of(numbers, count, target);
    uint64_t hash = UINT64_C(2);
    for (int i = 0; i < count; i++) hash = mix(hash, key.numbers[i]);
    hash = mix(hash, target) % 10;
    if (hash == 0) return COUNTDOWN_TEST;
    return hash == 1 ? COUNTDOWN_VALID : COUNTDOWN_TRAIN;
}

uint64_t countdown_order(const int *numbers, int count, int target) {
    uint64_t hash = UINT64_C(3);
    for (int i = 0; i < count; i++) hash = mix(hash, numbers[i]);
    return mix(hash, target);
}

const char *countdown_split_name(countdown_split split) {
    static const char *const names[] = {"train", "valid", "test", "heldout"};
    return names[split];
}

/* ---- The generator ------------------------------------------------------------------------
 * Owns which problems exist: those an expression with integer values >= 0 can reach. */

enum { TRIES = 1000000 };   /* a second or so; the rarest useful split takes a few hundred */

countdown_options countdown_defaults(void) {
    return (countdown_options){3, 5, 1, 99, 10, 100, COUNTDOWN_TRAIN};
}

const char *countdown_check(const countdown_options *o) {
    if (o->count_min < COUNTDOWN_MIN || o->count_max > COUNTDOWN_MAX ||
        o->count_min > o->count_max)
        return "how many numbers: expected 2 <= min <= max <= 6";
    if (o->number_min < 0 || o->number_max > COUNTDOWN_NUMBER_MAX ||
        o->number_min > o->number_max)
        return "numbers: expected 0 <= min <= max <= 1000000";
    if (o->target_min < 0 || o->target_max > COUNTDOWN_NUMBER_MAX ||
        o->target_min > o->target_max)
        return "target: expected 0 <= min <= max <= 1000000";
    return NULL;
}

static int draw_between(dual_rng *rng, int low, int high) {
    return low + (int)dual_rng_below(rng, (size_t)(high - low) + 1);
}

static void draw_numbers(const countdown_options *o, dual_rng *rng, int count, int *numbers) {
    for (int i = 0; i < count; i++) numbers[i] = draw_between(rng, o->number_min, o->number_max);
}

/* Fills in steps and solution from the expression that made the problem. */
static void explain(countdown_problem *p, const tree *t) {
    sink s = open_sink(p->solution, sizeof p->solution);
    int step = 0;
    put_tree(&s, t, t->size - 1);
    for (int i = 0; i < t->size; i++) {
        const tree_node *n = &t->node[i];
        if (!n->op) continue;
        s = open_sink(p->steps[step], sizeof p->steps[step]);
        put_step(&s, n->op, t->node[n->left].value, t->node[n->right].value, n->value);
        step++;
    }
}

void countdown_explain(countdown_problem *p, dual_rng *rng) {
    tree t;
    for (int i = p->count; i > 1; i--) {
        const int j = (int)dual_rng_below(rng, (size_t)i), keep = p->numbers[i - 1];
        p->numbers[i - 1] = p->numbers[j];
        p->numbers[j] = keep;
    }
    do {                               /* ends: some tree reaches the target */
        grow(&t, p->numbers, p->count, 1, rng);
    } while (t.node[t.size - 1].value != p->target);
    explain(p, &t);
}

int countdown_draw(const countdown_options *o, dual_rng *rng, countdown_problem *p) {
    tree t;
    if (countdown_check(o)) return 0;
    memset(p, 0, sizeof *p);
    /* Chosen once, outside the loop: the counts differ in how many draws are accepted. */
    p->count = draw_between(rng, o->count_min, o->count_max);
    for (int tries = 0; tries < TRIES; tries++) {
        draw_numbers(o, rng, p->count, p->numbers);
        grow(&t, p->numbers, p->count, 1, rng);
        const int64_t value = t.node[t.size - 1].value;
        if (value < o->target_min || value > o->target_max) continue;
        p->target = (int)value;
        if (countdown_split_of(p->numbers, p->count, p->target) != o->split) continue;
        explain(p, &t);
        return 1;
    }
    return 0;
}

typedef struct {
    int low, high;
    unsigned char *seen;
    int *found;
    size_t n;
} target_list;

static void add_target(target_list *list, int64_t value) {
    if (value < list->low || value > list->high) return;
    unsigned char *seen = &list->seen[value - list->low];
    if (!*seen && list->found) list->found[list->n] = (int)value;
    list->n += !*seen;
    *seen = 1;
}

/* What the last two values, a >= b, can become. Few quotients are targets: dividing comes last. */
static void join_last(target_list *list, int64_t a, int64_t b) {
    add_target(list, a + b);
    add_target(list, a - b);
    add_target(list, a * b);
    if (b != 0 && a >= list->low * b && a <= list->high * b && a % b == 0)
        add_target(list, a / b);
}

/* All that n values can become: every pair by every operator that choices allows. Stops where no
 * target is missing any more. */
static void list_targets(target_list *list, const int64_t *value, int n) {
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            int64_t next[COUNTDOWN_MAX], result[4];
            char op[4];
            const int turned = value[i] < value[j];
            const int64_t a = value[turned ? j : i], b = value[turned ? i : j];
            if (n == 2) {
                join_last(list, a, b);
                return;
            }
            const int ways = choices(a, b, op, result);
            for (int k = 0; k < n; k++) next[k] = value[k];
            next[j] = value[n - 1];
            for (int way = 0; way < ways; way++) {
                next[i] = result[way];
                list_targets(list, next, n - 1);
                if (list->n > (size_t)(list->high - list->low)) return;
            }
        }
}

size_t countdown_targets(const int *numbers, int count, int low, int high, unsigned char *seen,
                         int *found) {
    int64_t value[COUNTDOWN_MAX];
    target_list list = {low, high, seen, found, 0};
    for (int i = 0; i < count; i++) value[i] = numbers[i];
    list_targets(&list, value, count);
    return list.n;
}

int countdown_in_range(const countdown_options *o, const countdown_problem *p) {
    if (p->count < o->count_min || p->count > o->count_max) return 0;
    if (p->target < o->target_min || p->target > o->target_max) return 0;
    for (int i = 0; i < p->count; i++)
        if (p->numbers[i] < o->number_min || p->numbers[i] > o->number_max) return 0;
    return countdown_split_of(p->numbers, p->count, p->target) == o->split;
}

int countdown_can_draw(const countdown_options *o, const countdown_problem *p) {
    unsigned char seen = 0;
    return countdown_in_range(o, p) &&
           countdown_targets(p->numbers, p->count, p->target, p->target, &seen, NULL);
}

/* Draws among all facts of one operator by drawing pairs until one is a fact: for * and / about
 * one pair in 15 is. */
static void put_fact(sink *s, dual_rng *rng) {
    const char op = "+-*/"[dual_rng_below(rng, 4)];
    int64_t a, b, value;
    do {
        a = draw_between(rng, 0, 100);
        b = draw_between(rng, 0, 100);
    } while (!combine(op, a, b, &value) || value > 100);
    put_step(s, op, a, b, value);
}

/* A problem to train on, and its solution. */
static size_t put_solved(const countdown_options *o, dual_rng *rng, char *out, size_t size) {
    countdown_options train = *o;
    countdown_problem p;
    train.split = COUNTDOWN_TRAIN;
    if (!countdown_draw(&train, rng, &p)) return 0;
    sink s = open_sink(out, size);
    s.used = countdown_prompt(&p, out, size);
    put(&s, "\n");
    put(&s, p.solution);
    return s.used;
}

size_t countdown_base(const countdown_options *o, double facts, double solved, dual_rng *rng,
                      char *out, size_t size) {
    sink s = open_sink(out, size);
    countdown_problem p;
    tree t;
    if (countdown_check(o)) return 0;
    const double kind = dual_rng_uniform(rng);
    if (kind < facts) {
        put_fact(&s, rng);
        return s.used;
    }
    if (kind < facts + solved) return put_solved(o, rng, out, size);
    p.count = draw_between(rng, o->count_min, o->count_max);
    for (int tries = 0; tries < TRIES; tries++) {
        /* The key is settled before the expression is drawn, so that refusing keys of other
         * splits cannot tie the expression to the target. */
        draw_numbers(o, rng, p.count, p.numbers);
        p.target = draw_between(rng, o->target_min, o->target_max);
        if (countdown_split_of(p.numbers, p.count, p.target) != COUNTDOWN_TRAIN) continue;
        s.used = countdown_prompt(&p, out, size);
        put(&s, "\n");
        guess(&t, p.numbers, p.count, rng);
        put_tree(&s, &t, t.size - 1);
        return s.used;
    }
    return 0;
}

/* ---- Parsing ------------------------------------------------------------------------------
 * Owns the grammar of tasks.h. Text may be hostile: each byte is read once, recursion ends at
 * NESTING, and beyond COUNTDOWN_MAX numbers no tree is kept, only the grammar is checked. */

enum { NESTING = 100, LONGEST = 4096 };

typedef struct {
    const char *at;
    int depth, bad;
    int numbers;           /* read so far, saturating at COUNTDOWN_MAX + 1 */
    tree t;
} parser;

static int parse_sum(parser *p);

static void skip_blanks(parser *p) {
    while (*p->at == ' ' || *p->at == '\t') p->at++;
}

static void expect(parser *p, char c) {
    skip_blanks(p);
    if (*p->at == c) p->at++;
    else p->bad = 1;
    skip_blanks(p);
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits without a leading zero; a value above VALUE_MAX stays just above it. */
static int64_t parse_digits(parser *p) {
    int64_t value = 0;
    skip_blanks(p);
    if (!is_digit(p->at[0]) || (p->at[0] == '0' && is_digit(p->at[1]))) p->bad = 1;
    for (; is_digit(*p->at); p->at++)
        if (value <= VALUE_MAX) value = 10 * value + (*p->at - '0');
    skip_blanks(p);
    return value > VALUE_MAX ? VALUE_MAX + 1 : value;
}

static int parse_factor(parser *p) {
    int node = 0;
    skip_blanks(p);
    if (*p->at == '(') {
        if (p->depth == NESTING) {
            p->bad = 1;
            return 0;
        }
        p->at++;
        p->depth++;
        node = parse_sum(p);
        p->depth--;
        expect(p, ')');
        return node;
    }
    const int64_t value = parse_digits(p);
    if (p->numbers <= COUNTDOWN_MAX && ++p->numbers <= COUNTDOWN_MAX)
        node = add_node(&p->t, 0, 0, 0, value);
    return node;
}

/* left op right, unless there is no tree to keep: after too many numbers or an error, operators
 * may outnumber the room for them and nodes mean nothing. */
static int join(parser *p, char op, int left, int right) {
    return p->bad || p->numbers > COUNTDOWN_MAX ? 0 : add_node(&p->t, op, left, right, 0);
}

static int parse_product(parser *p) {
    int node = parse_factor(p);
    while (!p->bad && (*p->at == '*' || *p->at == '/')) {
        const char op = *p->at++;
        node = join(p, op, node, parse_factor(p));
    }
    return node;
}

static int parse_sum(parser *p) {
    int node = parse_product(p);
    while (!p->bad && (*p->at == '+' || *p->at == '-')) {
        const char op = *p->at++;
        node = join(p, op, node, parse_product(p));
    }
    return node;
}

/* 1: all of the text is one expression; its tree is in p->t if p->numbers <= COUNTDOWN_MAX. */
static int parse(parser *p, const char *text) {
    size_t length = 0;
    memset(p, 0, sizeof *p);
    while (length <= LONGEST && text[length]) length++;
    if (length > LONGEST) return 0;
    p->at = text;
    parse_sum(p);
    return !p->bad && *p->at == 0;
}

/* ---- The grader ---------------------------------------------------------------------------
 * Any correct expression counts; string equality with a solution plays no part. */

/* Form and numbers only. */
static countdown_verdict parse_answer(const countdown_problem *problem, const char *answer,
                                      parser *p) {
    int given[COUNTDOWN_MAX], left = problem->count;
    if (!parse(p, answer)) return COUNTDOWN_MALFORMED;
    if (p->numbers != problem->count) return COUNTDOWN_WRONG_NUMBERS;
    for (int i = 0; i < left; i++) given[i] = problem->numbers[i];
    for (int i = 0; i < p->t.size; i++) {
        if (p->t.node[i].op) continue;
        int j = 0;
        while (j < left && given[j] != p->t.node[i].value) j++;
        if (j == left) return COUNTDOWN_WRONG_NUMBERS;
        given[j] = given[--left];
    }
    return COUNTDOWN_CORRECT;
}

countdown_verdict countdown_grade(const countdown_problem *problem, const char *answer) {
    parser p;
    fraction value;
    countdown_verdict verdict = parse_answer(problem, answer, &p);
    if (verdict == COUNTDOWN_CORRECT) verdict = evaluate(&p.t, &value);
    if (verdict == COUNTDOWN_CORRECT && (value.num != problem->target || value.den != 1))
        verdict = COUNTDOWN_WRONG_VALUE;
    return verdict;
}

int countdown_row_grade(const task_row *row, const char *answer) {
    countdown_problem p;
    if (!countdown_parse(row->question, &p)) return COUNTDOWN_MALFORMED;
    return (int)countdown_grade(&p, answer);
}

size_t countdown_row_steps(const task_row *row) {
    countdown_problem p;
    return countdown_parse(row->question, &p) ? (size_t)p.count - 1 : 0;
}

int countdown_uses_each_once(const countdown_problem *problem, const char *answer) {
    parser p;
    return parse_answer(problem, answer, &p) == COUNTDOWN_CORRECT;
}

countdown_verdict countdown_value(const char *answer, char *out, size_t size) {
    parser p;
    fraction value;
    sink s = open_sink(out, size);
    if (!parse(&p, answer)) return COUNTDOWN_MALFORMED;
    if (p.numbers > COUNTDOWN_MAX) return COUNTDOWN_WRONG_NUMBERS;      /* no tree was kept */
    const countdown_verdict verdict = evaluate(&p.t, &value);
    if (verdict != COUNTDOWN_CORRECT) return verdict;
    put_number(&s, value.num);
    if (value.den == 1) return verdict;
    put_char(&s, '/');
    put_number(&s, value.den);
    return verdict;
}

/* ---- What a problem asks for --------------------------------------------------------------- */

/* Whether some expression over all n values is the target: two of them become one, in every way.
 * Leaves the values as they were, unless it is. */
static int reaches(fraction *value, int n, int64_t target) {
    if (n == 1) return value[0].num == target && value[0].den == 1;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            const fraction a = value[i], b = value[j];
            value[j] = value[n - 1];
            for (int way = 0; way < 6; way++) {        /* a+b a-b a*b a/b b-a b/a */
                const int turned = way > 3;
                const char op = "+-*/-/"[way];
                if (apply(op, turned ? b : a, turned ? a : b, &value[i]) == COUNTDOWN_CORRECT &&
                    reaches(value, n - 1, target))
                    return 1;
            }
            value[i] = a;
            value[j] = b;
        }
    return 0;
}

int countdown_solvable(const countdown_problem *p) {
    fraction value[COUNTDOWN_MAX];
    for (int i = 0; i < p->count; i++) value[i] = (fraction){p->numbers[i], 1};
    return reaches(value, p->count, p->target);
}

int countdown_plus_minus_suffice(const countdown_problem *p) {
    /* Without * and / every expression is a signed sum, and every choice of signs with one plus
     * or more is an expression: that number comes first. All minus (0) is none. */
    for (unsigned plus = 1; plus < 1u << p->count; plus++) {   /* bit i: number i is added */
        long sum = 0;
        for (int i = 0; i < p->count; i++) sum += plus >> i & 1 ? p->numbers[i] : -p->numbers[i];
        if (sum == p->target) return 1;
    }
    return 0;
}

double countdown_floor(const countdown_problem *p, dual_rng *rng, size_t draws) {
    size_t hits = 0;
    for (size_t i = 0; i < draws; i++) {
        tree t;
        const fraction value = guess(&t, p->numbers, p->count, rng);
        hits += value.num == p->target && value.den == 1;
    }
    return (double)hits / (double)draws;
}

/* ---- The reader ---------------------------------------------------------------------------
 * Refuses any row it could not train or grade on; data that is wrong in silence costs days. */

/* A whole number 0..COUNTDOWN_NUMBER_MAX, or -1. */
static int whole_number(dual_json json) {
    const double value = dual_json_type(json) == '0' ? dual_json_number(json, -1) : -1;
    if (!(value >= 0 && value <= COUNTDOWN_NUMBER_MAX) || value != (double)(int)value) return -1;
    return (int)value;
}

/* Takes value out of the n values; 0: it is not there. */
static int take(int64_t *values, int n, int64_t value) {
    for (int i = 0; i < n; i++)
        if (values[i] == value) {
            values[i] = values[n - 1];
            return 1;
        }
    return 0;
}

/* Replays one step on the n values left: two go, one comes. Writes its canonical spelling. */
static int replay(const char *text, int64_t *values, int n, char *out, size_t size) {
    parser p;
    int64_t value;
    memset(&p, 0, sizeof p);
    p.at = text;
    const int64_t a = parse_digits(&p);
    const char op = *p.at;
    if (p.bad || !op || !strchr("+-*/", op)) return 0;
    p.at++;
    const int64_t b = parse_digits(&p);
    expect(&p, '=');
    const int64_t claimed = parse_digits(&p);
    if (p.bad || *p.at || !take(values, n, a) || !take(values, n - 1, b) ||
        !combine(op, a, b, &value) || value != claimed)
        return 0;
    values[n - 2] = value;
    sink s = open_sink(out, size);
    put_step(&s, op, a, b, value);
    return 1;
}

/* These read into *p; NULL, or what was expected. */
static const char *read_numbers(dual_json row, countdown_problem *p) {
    dual_json nums = dual_json_get(row, "nums"), key, value = {NULL, NULL};
    if (dual_json_type(nums) != '[') return "expected \"nums\", a list of numbers";
    while (dual_json_each(nums, &key, &value)) {
        if (p->count == COUNTDOWN_MAX)
            return "too many numbers, expected 2 to 6 of them in \"nums\"";
        p->numbers[p->count] = whole_number(value);
        if (p->numbers[p->count++] < 0) return "expected whole numbers 0..1000000 in \"nums\"";
    }
    if (p->count < COUNTDOWN_MIN) return "too few numbers, expected 2 to 6 of them in \"nums\"";
    p->target = whole_number(dual_json_get(row, "target"));
    if (p->target < 0) return "expected \"target\", a whole number 0..1000000";
    return NULL;
}

static const char *read_steps(task_set *set, dual_json row, countdown_problem *p) {
    dual_json steps = dual_json_get(row, "steps"), key, value = {NULL, NULL};
    int64_t values[COUNTDOWN_MAX];
    int left = p->count;
    if (dual_json_type(steps) != '[') return "expected \"steps\", a list of strings";
    for (int i = 0; i < p->count; i++) values[i] = p->numbers[i];
    while (dual_json_each(steps, &key, &value)) {
        char *line = p->steps[p->count - left], *text;
        if (left == 1) return "too many steps, expected one less than there are numbers";
        const char *wrong = task_text(set, value, "steps", &text);
        if (wrong) return wrong;
        const int is_true = replay(text, values, left, line, sizeof p->steps[0]);
        free(text);
        if (!is_true)
            return "expected each of \"steps\" to be a true \"a op b = c\" on the numbers left";
        left--;
    }
    if (left != 1 || values[0] != p->target)
        return "the steps do not end at the target, expected one less than there are numbers";
    return NULL;
}

static const char *read_answer(task_set *set, dual_json row, countdown_problem *p) {
    char *answer;
    parser parsed;
    const char *wrong = task_field(set, row, "answer", &answer);
    if (wrong) return wrong;
    const countdown_verdict form = parse_answer(p, answer, &parsed);
    free(answer);
    if (form != COUNTDOWN_CORRECT)
        return "expected \"answer\" to be an expression with each number once";
    sink s = open_sink(p->solution, sizeof p->solution);
    put_tree(&s, &parsed.t, parsed.t.size - 1);
    /* What is graded is what is kept: without its spare parentheses. */
    if (countdown_grade(p, p->solution) != COUNTDOWN_CORRECT)
        return "\"answer\" is wrong, expected it to reach the target";
    return NULL;
}

static int is_there(dual_json row, const char *name) {
    const int type = dual_json_type(dual_json_get(row, name));
    return type && type != 'n';
}

static const char *read_object(task_set *set, dual_json row) {
    countdown_problem p;
    memset(&p, 0, sizeof p);
    const int unsolved = !is_there(row, "steps") && !is_there(row, "answer");
    const char *wrong = read_numbers(row, &p);
    if (!wrong && !unsolved) wrong = read_steps(set, row, &p);
    if (!wrong && !unsolved) wrong = read_answer(set, row, &p);
    if (wrong) return wrong;
    return countdown_put(&p, set) ? NULL : TASK_NO_MEMORY;
}

int countdown_read(const char *file, int skip, task_set *set, char *error, size_t size) {
    return task_read_rows(file, skip, read_object, NULL, set, error, size);
}
