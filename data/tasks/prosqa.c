/* prosqa.c: ProsQA. A problem is a directed graph: two names, what they are, what those are in
 * turn. The question is to which of two leaves one of the names descends. The reader and the grader
 * come first, then the generator, last the statistics that compare it with the published files.
 * Formats: tasks.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../files/files.h"
#include "tasks.h"

/* ---- The reader ---------------------------------------------------------------------------- */

/* "Is Tom a lempus or scrompus?" at the end of a question. 0: it does not end like that. */
static int read_options(const char *question, char name[32], char option[2][32]) {
    const char *last = question;
    for (const char *at = question; (at = strstr(at, "Is ")) != NULL; at += 3) last = at;
    return !strncmp(last, "Is ", 3) &&
           sscanf(last, "Is %31s a %31s or %31[^?]", name, option[0], option[1]) == 3;
}

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Whether `word` stands in y with no letter beside it. */
static int has_word(const char *y, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = y; (at = strstr(at, word)) != NULL; at++)
        if (!(at > y && is_letter(at[-1])) && !is_letter(at[n])) return 1;
    return 0;
}

static const char *read_object(task_set *set, dual_json row) {
    const dual_json steps = dual_json_get(row, "steps");
    char name[32], option[2][32];
    size_t n, at = set->used;
    const char *wrong = task_put_field(set, row, "question");
    if (wrong) return wrong;
    if (!read_options(set->text + at, name, option))
        return "expected \"question\" to end like: Is Tom a lempus or scrompus?";
    if (dual_json_type(steps) != '[') return "expected \"steps\", a list of strings";
    wrong = task_put_steps(set, steps, &n);
    at = set->used;
    if (!wrong) wrong = task_put_field(set, row, "answer");
    if (wrong) return wrong;
    if (has_word(set->text + at, option[0]) == has_word(set->text + at, option[1]))
        return "expected \"answer\" to name one of the question's two options";
    return task_done(set, n);
}

int prosqa_read(const char *file, int skip, task_set *set, char *error, size_t size) {
    return task_read_rows(file, skip, read_object, NULL, set, error, size);
}

/* ---- The grader ---------------------------------------------------------------------------- */

int prosqa_grade(const task_row *row, const char *y) {
    char name[32], option[2][32];
    const char *end = y + strlen(y);
    task_strip(&y, &end);
    const size_t n = (size_t)(end - y);
    if (n == strlen(row->answer) && !memcmp(y, row->answer, n)) return PROSQA_CORRECT;
    if (!read_options(row->question, name, option)) return PROSQA_NEITHER;
    const int right = has_word(row->answer, option[1]);
    const int said[2] = {has_word(y, option[0]), has_word(y, option[1])};
    if (said[0] == said[1]) return PROSQA_NEITHER;
    return said[right] ? PROSQA_RIGHT_OPTION : PROSQA_WRONG_OPTION;
}

/* ---- The generator's options --------------------------------------------------------------- */

static const char *const WORDS[PROSQA_CONCEPTS + PROSQA_NAMES] = {
    "bompus", "boompus", "brimpus", "chorpus", "dumpus", "felpus", "fompus", "gerpus", "gorpus",
    "grimpus", "gwompus", "hilpus", "impus", "jelpus", "jompus", "kerpus", "lempus", "lorpus",
    "numpus", "quimpus", "rempus", "rompus", "rorpus", "scrompus", "shumpus", "sterpus", "storpus",
    "terpus", "timpus", "tumpus", "vumpus", "worpus", "wumpus", "yerpus", "yimpus", "yumpus",
    "zhorpus", "zumpus",
    "Alex", "Bob", "Carol", "Davis", "Eva", "Fae", "Gabriel", "Jack", "Max", "Oliver", "Polly",
    "Rex", "Sally", "Sam", "Stella", "Tom", "Wren"
};

const char *prosqa_word(size_t i) { return i < PROSQA_CONCEPTS + PROSQA_NAMES ? WORDS[i] : NULL; }

prosqa_options prosqa_defaults(void) {
    const prosqa_options o = {14, 28, 3, 6, PROSQA_CONCEPTS, PROSQA_NAMES};
    return o;
}

const char *prosqa_check(const prosqa_options *o) {
    if (o->nodes_min < 4 || o->nodes_max > PROSQA_NODES || o->nodes_min > o->nodes_max)
        return "--nodes: expected 4 <= min <= max <= 64";
    if (o->path_min < 1 || o->path_min > o->path_max || o->path_max > 6)
        return "--path: expected 1 <= min <= max <= 6";
    if (o->concepts < o->nodes_min - 2 || o->concepts > PROSQA_CONCEPTS)
        return "--concepts: expected at least two less than the fewest nodes, at most 38";
    if (o->names < 2 || o->names > PROSQA_NAMES) return "--names: expected 2 to 17";
    return NULL;
}

/* ---- The graph -----------------------------------------------------------------------------
 * Nodes 0 and 1 are there from the start. A node's label says what it descends from: bit 0 for
 * node 0, bit 1 for node 1. */

typedef struct {
    int n, label[PROSQA_NODES], depth[PROSQA_NODES];
    unsigned char edge[PROSQA_NODES][PROSQA_NODES];    /* [parent][child] */
} draft;

/* Poisson(1.5), by Knuth's product of uniforms. */
static int draw_parents(dual_rng *rng) {
    const double limit = exp(-1.5);
    double product = dual_rng_uniform(rng);
    int n = 0;
    for (; product > limit; n++) product *= dual_rng_uniform(rng);
    return n;
}

/* One of the nodes that are left, node i with weight 1.5 * depth + 1. */
static int draw_weighted(const draft *d, const int *left, int n, dual_rng *rng) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += 1.5 * d->depth[left[i]] + 1;
    double at = dual_rng_uniform(rng) * sum;
    for (int i = 0; i < n - 1; i++) {
        at -= 1.5 * d->depth[left[i]] + 1;
        if (at < 0) return i;
    }
    return n - 1;
}

/* The node's parents come from those of label 0 or 1, of 0 or 2, or from all; a draw of no parent
 * is mostly repeated. The shares .36, .83 and .82 are fitted: the appendix has .35, .70 and 0. */
static void add_node(draft *d, dual_rng *rng) {
    const int node = d->n;
    int wanted = draw_parents(rng), left[PROSQA_NODES], n = 0;
    while (wanted == 0 && dual_rng_uniform(rng) < 0.82) wanted = draw_parents(rng);
    const double u = dual_rng_uniform(rng);
    for (int i = 0; i < node; i++)
        if (u > 0.83 || d->label[i] == 0 || d->label[i] == (u <= 0.36 ? 1 : 2)) left[n++] = i;
    d->label[node] = 0;
    d->depth[node] = PROSQA_NODES;
    for (; wanted > 0 && n > 0; wanted--) {
        const int at = draw_weighted(d, left, n, rng), parent = left[at];
        left[at] = left[--n];
        d->edge[parent][node] = 1;
        d->label[node] |= d->label[parent];
        if (d->depth[parent] + 1 < d->depth[node]) d->depth[node] = d->depth[parent] + 1;
    }
    if (d->depth[node] == PROSQA_NODES) d->depth[node] = 0;
    d->n++;
}

/* Leaves out nodes with no edge at all: no fact would mention them. */
static void drop_lonely(draft *d) {
    int kept[PROSQA_NODES], n = 0;
    for (int i = 0; i < d->n; i++) {
        int edges = 0;
        for (int j = 0; j < d->n; j++) edges += d->edge[i][j] + d->edge[j][i];
        if (edges || i < 2) kept[n++] = i;
    }
    for (int i = 0; i < n; i++)                        /* kept[i] >= i: nothing is read too late */
        for (int j = 0; j < n; j++) d->edge[i][j] = d->edge[kept[i]][kept[j]];
    d->n = n;
}

/* Length of the shortest path from `root` to every node, -1: none. */
static void distances(const draft *d, int root, int *length) {
    for (int i = 0; i < d->n; i++) length[i] = i == root ? 0 : -1;
    for (int i = root; i < d->n; i++)    /* parents come first: their distances are final */
        for (int j = 0; j < i; j++)
            if (d->edge[j][i] && length[j] >= 0 && (length[i] < 0 || length[j] + 1 < length[i]))
                length[i] = length[j] + 1;
}

static int is_leaf(const draft *d, int node) {
    for (int j = 0; j < d->n; j++)
        if (d->edge[node][j]) return 0;
    return 1;
}

typedef struct { int node[PROSQA_NODES], n, deepest; } leaves;

/* The leaves that `side` (node 0 or 1) reaches and the other one does not. */
static leaves own_leaves(const draft *d, int length[2][PROSQA_NODES], int side) {
    leaves own = {.n = 0, .deepest = -1};
    for (int i = 2; i < d->n; i++)
        if (length[side][i] > 0 && length[!side][i] < 0 && is_leaf(d, i)) {
            own.node[own.n++] = i;
            if (length[side][i] > own.deepest) own.deepest = length[side][i];
        }
    return own;
}

/* Root is the one of 0 and 1 whose deepest leaf out of the other's reach is deeper, that leaf the
 * target; the wrong option is any leaf out of the root's reach. 0: there is none, or the path is
 * longer or shorter than the options say. Ties are drawn. */
static int choose(const prosqa_options *o, const draft *d, dual_rng *rng, prosqa_graph *g,
                  int length[2][PROSQA_NODES]) {
    for (int side = 0; side < 2; side++) distances(d, side, length[side]);
    const leaves own[2] = {own_leaves(d, length, 0), own_leaves(d, length, 1)};
    if (!own[0].n || !own[1].n) return 0;
    if (own[0].deepest != own[1].deepest) g->root = own[1].deepest > own[0].deepest;
    else g->root = (int)dual_rng_below(rng, 2);
    const leaves *right = &own[g->root], *wrong = &own[!g->root];
    if (right->deepest < o->path_min || right->deepest > o->path_max) return 0;
    int deep[PROSQA_NODES], n = 0;
    for (int i = 0; i < right->n; i++)
        if (length[g->root][right->node[i]] == right->deepest) deep[n++] = right->node[i];
    g->target = deep[dual_rng_below(rng, (size_t)n)];
    g->wrong = wrong->node[dual_rng_below(rng, (size_t)wrong->n)];
    return 1;
}

/* ---- The text ------------------------------------------------------------------------------ */

/* `n` of the numbers first .. first + of - 1 without repeats, in random order. */
static void draw_symbols(int first, int of, int n, int *out, dual_rng *rng) {
    int all[PROSQA_CONCEPTS];
    for (int i = 0; i < of; i++) all[i] = first + i;
    for (int i = 0; i < n; i++) {
        const int j = i + (int)dual_rng_below(rng, (size_t)(of - i));
        out[i] = all[j];
        all[j] = all[i];
    }
}

/* Names for nodes without parents, concepts for all others; 0: not enough of them. */
static int name_nodes(const prosqa_options *o, const draft *d, prosqa_graph *g, dual_rng *rng) {
    int named[PROSQA_NODES], names[PROSQA_NAMES], concepts[PROSQA_CONCEPTS];
    int n_names = 0;
    for (int j = 0; j < d->n; j++) {
        named[j] = 1;
        for (int i = 0; i < j; i++) named[j] = named[j] && !d->edge[i][j];
        n_names += named[j];
    }
    int n_concepts = d->n - n_names;
    if (n_names > o->names || n_concepts > o->concepts) return 0;
    draw_symbols(0, o->concepts, n_concepts, concepts, rng);
    draw_symbols(PROSQA_CONCEPTS, o->names, n_names, names, rng);
    for (int j = d->n - 1; j >= 0; j--)
        g->symbol[j] = named[j] ? names[--n_names] : concepts[--n_concepts];
    return 1;
}

/* Which split a problem belongs to, from its facts in whatever order and whom it asks about: 10 %
 * test, 10 % valid, the rest train. Never change this: scores of older runs rest on it. */
static prosqa_split split_of(const prosqa_graph *g) {
    uint64_t sum = 0;
    dual_rng hash;
    for (int i = 0; i < g->edges; i++) {
        hash = dual_rng_seed((uint64_t)g->symbol[g->from[i]], (uint64_t)g->symbol[g->to[i]]);
        sum += dual_rng_next(&hash);
    }
    hash = dual_rng_seed(sum, (uint64_t)g->symbol[g->root]);
    sum = dual_rng_next(&hash) % 10;
    if (sum == 0) return PROSQA_TEST;
    return sum == 1 ? PROSQA_VALID : PROSQA_TRAIN;
}

static size_t put_fact(const prosqa_graph *g, int from, int to, char *out, size_t size) {
    const int name = g->symbol[from] >= PROSQA_CONCEPTS;
    return (size_t)snprintf(out, size, "%s%s is a %s.", name ? "" : "Every ",
                            WORDS[g->symbol[from]], WORDS[g->symbol[to]]);
}

/* One shortest path from the root, fact by fact: from each node on to a child that is one nearer
 * to the target. `away`: distances from the root. */
static int put_steps(const prosqa_graph *g, const draft *d, const int *away, task_set *set,
                     dual_rng *rng) {
    const int n = away[g->target];
    int path[PROSQA_NODES];
    path[n] = g->target;
    for (int at = n; at > 0; at--) {
        int parents = 0;
        for (int i = 0; i < path[at]; i++)             /* each parent equally likely */
            if (d->edge[i][path[at]] && away[i] == at - 1 &&
                dual_rng_below(rng, (size_t)++parents) == 0)
                path[at - 1] = i;
    }
    for (int at = 0; at < n; at++) {
        char fact[80];
        const size_t length = put_fact(g, path[at], path[at + 1], fact, sizeof fact);
        if (!task_put(set, fact, length)) return 0;
    }
    return 1;
}

static void shuffle(int *order, int n, dual_rng *rng) {
    for (int i = n; i > 1; i--) {
        const int j = (int)dual_rng_below(rng, (size_t)i), keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
}

static int put_problem(const prosqa_graph *g, const draft *d, const int *away, task_set *set,
                       dual_rng *rng) {
    char text[PROSQA_EDGES * 40];
    int order[PROSQA_EDGES];
    const int swap = (int)dual_rng_below(rng, 2);
    for (int i = 0; i < g->edges; i++) order[i] = i;
    shuffle(order, g->edges, rng);
    size_t n = 0;
    for (int i = 0; i < g->edges; i++) {
        n += put_fact(g, g->from[order[i]], g->to[order[i]], text + n, sizeof text - n);
        text[n++] = ' ';
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "Is %s a %s or %s?", WORDS[g->symbol[g->root]],
                          WORDS[g->symbol[swap ? g->wrong : g->target]],
                          WORDS[g->symbol[swap ? g->target : g->wrong]]);
    if (!task_put(set, text, n) || !put_steps(g, d, away, set, rng)) return 0;
    n = put_fact(g, g->root, g->target, text, sizeof text);
    return task_put(set, text, n) && task_close(set, (size_t)away[g->target]);
}

/* ---- Drawing a problem --------------------------------------------------------------------- */

/* Sizes as published: 23.2 +- 2 nodes within 14..28; other ranges in proportion. */
static int draw_size(const prosqa_options *o, dual_rng *rng) {
    const double span = o->nodes_max - o->nodes_min;
    for (;;) {
        const double size = o->nodes_min + span * (9.2 + 2 * dual_rng_normal(rng)) / 14;
        const int n = (int)floor(size + 0.5);
        if (n >= o->nodes_min && n <= o->nodes_max) return n;
    }
}

static draft draw_graph(int nodes, dual_rng *rng) {
    draft d;
    memset(&d, 0, sizeof d);
    d.n = 2;
    d.label[0] = 1;
    d.label[1] = 2;
    while (d.n < nodes) add_node(&d, rng);
    drop_lonely(&d);
    return d;
}

static void list_edges(const draft *d, prosqa_graph *g) {
    for (int j = 0; j < d->n; j++)
        for (int i = 0; i < j && g->edges < PROSQA_EDGES; i++)
            if (d->edge[i][j]) {
                g->from[g->edges] = i;
                g->to[g->edges++] = j;
            }
}

int prosqa_draw(const prosqa_options *o, prosqa_split split, dual_rng *rng, prosqa_graph *g,
                task_set *set) {
    if (prosqa_check(o)) return 0;
    for (int tries = 0; tries < 100000; tries++) {
        int length[2][PROSQA_NODES];
        const draft d = draw_graph(draw_size(o, rng), rng);
        memset(g, 0, sizeof *g);
        if (d.n < o->nodes_min || !choose(o, &d, rng, g, length) || !name_nodes(o, &d, g, rng))
            continue;
        g->nodes = d.n;
        list_edges(&d, g);
        /* no published graph has more than 54 edges for 28 nodes; it also bounds the question */
        if (g->edges <= 2 * o->nodes_max && split_of(g) == split)
            return put_problem(g, &d, length[g->root], set, rng);
    }
    return 0;
}

/* ---- Statistics ----------------------------------------------------------------------------- */

/* Whether the right concept is the first of the two options. */
static int target_named_first(const task_row *row) {
    const char *question = strstr(row->question, "Is "), *last = strrchr(row->answer, ' ');
    const char *middle = question ? strstr(question, " or ") : NULL;
    if (!middle || !last) return 0;
    const size_t n = strlen(last) - 1;                 /* without the full stop */
    return (size_t)(middle - question) > n && !strncmp(middle - n, last, n);
}

static void count_words(prosqa_stats *s, const char *question) {
    size_t words = 1;
    for (; *question; question++) words += *question == ' ';
    s->words += words;
    if (!s->words_min || words < s->words_min) s->words_min = words;
    if (words > s->words_max) s->words_max = words;
}

void prosqa_measure(prosqa_stats *s, const prosqa_graph *g, const task_row *row) {
    int parents[PROSQA_NODES] = {0}, children[PROSQA_NODES] = {0}, label[PROSQA_NODES] = {1, 2};
    for (int j = 0; j < g->nodes; j++)       /* parents come first: their labels are complete */
        for (int i = 0; i < g->edges; i++)
            if (g->to[i] == j) {
                label[j] |= label[g->from[i]];
                parents[j]++;
                children[g->from[i]]++;
            }
    s->rows++;
    s->steps[row->n_steps < 7 ? row->n_steps : 7]++;
    s->nodes[g->nodes]++;
    s->edges += (size_t)g->edges;
    s->root_0 += g->root == 0;
    for (int i = 0; i < g->nodes; i++) {
        s->names += !parents[i];
        s->leaves += !children[i];
        if (i < 2) continue;
        s->in_degree[parents[i] < 6 ? parents[i] : 6]++;
        s->descend[label[i]]++;
    }
    count_words(s, row->question);
    s->first += (size_t)target_named_first(row);
}

/* A node's number, or -1. */
static int node_of(dual_json json, int nodes) {
    const double x = dual_json_number(json, -1);
    return x >= 0 && x < nodes && x == (double)(int)x ? (int)x : -1;
}

/* [[from, to], ...] */
static int read_edges(dual_json list, prosqa_graph *g) {
    dual_json key, value = {NULL, NULL};
    if (dual_json_type(list) != '[') return 0;
    while (dual_json_each(list, &key, &value)) {
        dual_json from = {NULL, NULL};
        if (g->edges == PROSQA_EDGES || !dual_json_each(value, &key, &from)) return 0;
        dual_json to = from;
        if (!dual_json_each(value, &key, &to)) return 0;
        g->from[g->edges] = node_of(from, g->nodes);
        g->to[g->edges] = node_of(to, g->nodes);
        if (g->from[g->edges] < 0 || g->to[g->edges] <= g->from[g->edges]) return 0;
        g->edges++;
    }
    return 1;
}

/* "idx_to_symbol", "edges", "root", "target", "neg_target"; the symbols' words do not matter. */
static int read_graph(dual_json row, prosqa_graph *g) {
    dual_json key, value = {NULL, NULL};
    const dual_json symbols = dual_json_get(row, "idx_to_symbol");
    memset(g, 0, sizeof *g);
    while (dual_json_each(symbols, &key, &value)) g->nodes++;
    if (g->nodes > PROSQA_NODES || !read_edges(dual_json_get(row, "edges"), g)) return 0;
    g->root = node_of(dual_json_get(row, "root"), g->nodes);
    g->target = node_of(dual_json_get(row, "target"), g->nodes);
    g->wrong = node_of(dual_json_get(row, "neg_target"), g->nodes);
    return g->root >= 0 && g->target >= 0 && g->wrong >= 0;
}

int prosqa_measure_file(prosqa_stats *s, const char *file, char *error, size_t size) {
    size_t length;
    char *text = data_read(file, &length, error, size);
    if (!text) return 0;
    memset(s, 0, sizeof *s);
    task_walk w = task_walk_begin(text, length);
    task_set set = {0};
    dual_json row;
    while (task_walk_next(&w, &row)) {
        prosqa_graph g;
        set.used = set.open;                           /* drops what was read of a broken row */
        if (read_object(&set, row) || !read_graph(row, &g)) continue;
        const task_row read = task_get(&set, set.count - 1);
        prosqa_measure(s, &g, &read);
    }
    task_free(&set);
    free(text);
    if (!s->rows)
        snprintf(error, size, "%s: no row of ProsQA with \"idx_to_symbol\", \"edges\", \"root\", "
                 "\"target\" and \"neg_target\"", file);
    return s->rows > 0;
}

/* A text that grows by snprintf; used counts on beyond size. */
typedef struct {
    char *out;
    size_t size, used;
} report;

static void add(report *r, const char *format, ...) {
    const size_t at = r->used < r->size ? r->used : r->size;
    va_list args;
    va_start(args, format);
    r->used += (size_t)vsnprintf(r->out + at, r->size - at, format, args);
    va_end(args);
}

static void add_nodes(report *r, const prosqa_stats *s) {
    const double rows = (double)s->rows;
    double mean = 0, square = 0;
    int low = 0, high = 0;
    for (int i = 0; i <= PROSQA_NODES; i++) {
        if (s->nodes[i] && !low) low = i;
        if (s->nodes[i]) high = i;
        mean += (double)i * (double)s->nodes[i] / rows;
        square += (double)i * i * (double)s->nodes[i] / rows;
    }
    const double variance = square > mean * mean ? square - mean * mean : 0;
    add(r, "nodes      %.1f +- %.1f (%d..%d), edges %.1f, names %.2f, leaves %.2f\n", mean,
        sqrt(variance), low, high, (double)s->edges / rows, (double)s->names / rows,
        (double)s->leaves / rows);
}

size_t prosqa_report(const prosqa_stats *s, char *out, size_t size) {
    const double rows = (double)s->rows;
    report r = {out, size, 0};
    double nodes = 0;
    for (int i = 0; i < 4; i++) nodes += (double)s->descend[i];
    add(&r, "%zu rows\n", s->rows);
    add_nodes(&r, s);
    add(&r, "steps     ");
    for (int i = 1; i < 8; i++)
        if (s->steps[i]) add(&r, " %d%s: %.3f", i, i == 7 ? "+" : "", (double)s->steps[i] / rows);
    add(&r, "\nparents   ");
    for (int i = 0; i < 7; i++)
        add(&r, " %d%s: %.3f", i, i == 6 ? "+" : "", (double)s->in_degree[i] / nodes);
    add(&r, " of the nodes from 2 on\n");
    add(&r, "descend    from 0 only %.3f, from 1 only %.3f, both %.3f, neither %.3f\n",
        (double)s->descend[1] / nodes, (double)s->descend[2] / nodes,
        (double)s->descend[3] / nodes, (double)s->descend[0] / nodes);
    add(&r, "question   %.1f words (%zu..%zu); target named first %.3f, about node 0 %.3f\n",
        (double)s->words / rows, s->words_min, s->words_max, (double)s->first / rows,
        (double)s->root_0 / rows);
    return r.used;
}
