/* prosqa.c: reader, grader and generator of ProsQA, and the statistics that compare generated
 * graphs with the published files.
 * A problem is a directed graph: two names, what they are, what those are in turn; the question is
 * to which of two leaves one of the names descends. Reads Coconut's JSON. */
#include "tasks.h"
#include "../files/files.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const WORDS[PROSQA_CONCEPTS + PROSQA_NAMES] = {
    "bompus", "boompus", "brimpus", "chorpus", "dumpus", "felpus", "fompus", "gerpus", "gorpus",
    "grimpus", "gwompus", "hilpus", "impus", "jelpus", "jompus", "kerpus", "lempus", "lorpus",
    "numpus", "quimpus", "rempus", "rompus", "rorpus", "scrompus", "shumpus", "sterpus", "storpus",
    "terpus", "timpus", "tumpus", "vumpus", "worpus", "wumpus", "yerpus", "yimpus", "yumpus",
    "zhorpus", "zumpus",
    "Alex", "Bob", "Carol", "Davis", "Eva", "Fae", "Gabriel", "Jack", "Max", "Oliver", "Polly",
    "Rex", "Sally", "Sam", "Stella", "Tom", "Wren"
};
const char *prosqa_word(size_t i) {
    return i < PROSQA_CONCEPTS + PROSQA_NAMES ? WORDS[i] : NULL;
}

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
    if (o->names < 2 || o->names > PROSQA_NAMES)
        return "--names: expected 2 to 17";
    return NULL;
}

/* ---- Reading and grading -------------------------------------------------------------------- */

/* "Is Tom a lempus or scrompus?" at the end of a question. 0: it does not end like that. */
static int read_options(const char *question, char name[32], char option[2][32]) {
    const char *last = question, *at;
    for (at = question; (at = strstr(at, "Is ")) != NULL; at += 3)
        last = at;
    return strncmp(last, "Is ", 3) == 0
        && sscanf(last, "Is %31s a %31s or %31[^?]", name, option[0], option[1]) == 3;
}

const char *prosqa_read(task_set *set, dual_json row) {
    dual_json steps = dual_json_get(row, "steps");
    char name[32], option[2][32];
    const char *wrong;
    size_t n, at = set->used;
    if (!task_put_string(set, dual_json_get(row, "question")))
        return "expected \"question\", a string";
    if (!read_options(set->text + at, name, option))
        return "expected \"question\" to end like: Is Tom a lempus or scrompus?";
    if (dual_json_type(steps) != '[')
        return "expected \"steps\", a list of strings";
    wrong = task_put_steps(set, steps, &n);
    if (wrong)
        return wrong;
    at = set->used;
    if (!task_put_string(set, dual_json_get(row, "answer")) || !set->text[at])
        return "expected \"answer\", a string";
    return task_close_row(set, n);
}

/* Whether `word` stands in y with no letter beside it. */
static int has_word(const char *y, const char *word) {
    const size_t n = strlen(word);
    const char *at = y;
    for (; (at = strstr(at, word)) != NULL; at++) {
        const char before = at > y ? at[-1] : ' ', behind = at[n];
        if (!((before | 32) >= 'a' && (before | 32) <= 'z')
            && !((behind | 32) >= 'a' && (behind | 32) <= 'z'))
            return 1;
    }
    return 0;
}

int prosqa_grade(const task_row *row, const char *y) {
    char name[32], option[2][32];
    const char *end = y + strlen(y);
    int right, said[2], i;
    task_strip(&y, &end);
    if ((size_t)(end - y) == strlen(row->answer) && memcmp(y, row->answer, (size_t)(end - y)) == 0)
        return PROSQA_CORRECT;
    if (!read_options(row->question, name, option))
        return PROSQA_NEITHER;
    right = has_word(row->answer, option[1]);
    for (i = 0; i < 2; i++)
        said[i] = has_word(y, option[i]);
    if (said[0] == said[1])
        return PROSQA_NEITHER;
    return said[right] ? PROSQA_RIGHT_OPTION : PROSQA_WRONG_OPTION;
}

const char *const PROSQA_VERDICTS[] = {
    "correct", "right option", "wrong option", "neither option", NULL
};
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
    for (; product > limit; n++)
        product *= dual_rng_uniform(rng);
    return n;
}

/* One of the nodes that are left, node i with weight 1.5 * depth + 1. */
static int draw_weighted(const draft *d, const int *left, int n, dual_rng *rng) {
    double sum = 0, at;
    int i;
    for (i = 0; i < n; i++)
        sum += 1.5 * d->depth[left[i]] + 1;
    at = dual_rng_uniform(rng) * sum;
    for (i = 0; i < n - 1; i++) {
        at -= 1.5 * d->depth[left[i]] + 1;
        if (at < 0)
            break;
    }
    return i;
}

/* The node's parents come from those of label 0 or 1, of 0 or 2, or from all; a draw of no parent
 * is mostly repeated. The shares .36, .83 and .82 are fitted: the appendix has .35, .70 and 0. */
static void add_node(draft *d, dual_rng *rng) {
    const int node = d->n;
    int wanted = draw_parents(rng), left[PROSQA_NODES], n = 0, i;
    double u;
    while (wanted == 0 && dual_rng_uniform(rng) < 0.82)
        wanted = draw_parents(rng);
    u = dual_rng_uniform(rng);
    for (i = 0; i < node; i++)
        if (u > 0.83 || d->label[i] == 0 || d->label[i] == (u <= 0.36 ? 1 : 2))
            left[n++] = i;
    d->label[node] = 0;
    d->depth[node] = PROSQA_NODES;
    for (; wanted > 0 && n > 0; wanted--) {
        const int at = draw_weighted(d, left, n, rng), parent = left[at];
        left[at] = left[--n];
        d->edge[parent][node] = 1;
        d->label[node] |= d->label[parent];
        if (d->depth[parent] + 1 < d->depth[node])
            d->depth[node] = d->depth[parent] + 1;
    }
    if (d->depth[node] == PROSQA_NODES)
        d->depth[node] = 0;
    d->n++;
}

/* Leaves out nodes with no edge at all: no fact would mention them. */
static void drop_lonely(draft *d) {
    int kept[PROSQA_NODES], n = 0, i, j;
    for (i = 0; i < d->n; i++) {
        int edges = 0;
        for (j = 0; j < d->n; j++)
            edges += d->edge[i][j] + d->edge[j][i];
        if (edges || i < 2)
            kept[n++] = i;
    }
    for (i = 0; i < n; i++)                            /* kept[i] >= i: nothing is read too late */
        for (j = 0; j < n; j++)
            d->edge[i][j] = d->edge[kept[i]][kept[j]];
    d->n = n;
}

/* Length of the shortest path from `root` to every node, -1: none. */
static void distances(const draft *d, int root, int *length) {
    int i, j;
    for (i = 0; i < d->n; i++)
        length[i] = i == root ? 0 : -1;
    for (i = root; i < d->n; i++)                      /* parents come before their children, but */
        for (j = 0; j < i; j++)                        /* i's own distance needs all of them */
            if (d->edge[j][i] && length[j] >= 0 && (length[i] < 0 || length[j] + 1 < length[i]))
                length[i] = length[j] + 1;
}

static int is_leaf(const draft *d, int node) {
    int j;
    for (j = 0; j < d->n; j++)
        if (d->edge[node][j])
            return 0;
    return 1;
}

/* Root is the one of 0 and 1 whose deepest leaf out of the other's reach is deeper, that leaf the
 * target; the wrong option is any leaf out of the root's reach. 0: there is none, or the path has
 * another length than wanted. Ties are drawn. */
static int choose(const prosqa_options *o, const draft *d, dual_rng *rng, prosqa_graph *g,
                  int length[2][PROSQA_NODES]) {
    int leaf[2][PROSQA_NODES], n[2] = {0, 0}, deepest[2] = {-1, -1}, side, i, m = 0;
    for (side = 0; side < 2; side++)
        distances(d, side, length[side]);
    for (side = 0; side < 2; side++)
        for (i = 2; i < d->n; i++)
            if (length[side][i] > 0 && length[!side][i] < 0 && is_leaf(d, i)) {
                leaf[side][n[side]++] = i;
                if (length[side][i] > deepest[side])
                    deepest[side] = length[side][i];
            }
    if (!n[0] || !n[1])
        return 0;
    g->root = deepest[0] != deepest[1] ? deepest[1] > deepest[0] : (int)dual_rng_below(rng, 2);
    side = g->root;
    if (deepest[side] < o->path_min || deepest[side] > o->path_max)
        return 0;
    for (i = 0; i < n[side]; i++)
        if (length[side][leaf[side][i]] == deepest[side])
            leaf[side][m++] = leaf[side][i];
    g->target = leaf[side][dual_rng_below(rng, (size_t)m)];
    g->wrong = leaf[!side][dual_rng_below(rng, (size_t)n[!side])];
    return 1;
}

/* ---- The text ------------------------------------------------------------------------------ */

/* `n` of the numbers first .. first + of - 1 without repeats, in random order. */
static void draw_symbols(int first, int of, int n, int *out, dual_rng *rng) {
    int all[PROSQA_CONCEPTS], i;
    for (i = 0; i < of; i++)
        all[i] = first + i;
    for (i = 0; i < n; i++) {
        const int j = i + (int)dual_rng_below(rng, (size_t)(of - i));
        out[i] = all[j];
        all[j] = all[i];
    }
}

/* Names for nodes without parents, concepts for all others; 0: not enough of them. */
static int name_nodes(const prosqa_options *o, const draft *d, prosqa_graph *g, dual_rng *rng) {
    int named[PROSQA_NODES], names[PROSQA_NAMES], concepts[PROSQA_CONCEPTS];
    int n_names = 0, n_concepts, i, j;
    for (j = 0; j < d->n; j++) {
        named[j] = 1;
        for (i = 0; i < j; i++)
            named[j] = named[j] && !d->edge[i][j];
        n_names += named[j];
    }
    n_concepts = d->n - n_names;
    if (n_names > o->names || n_concepts > o->concepts)
        return 0;
    draw_symbols(0, o->concepts, n_concepts, concepts, rng);
    draw_symbols(PROSQA_CONCEPTS, o->names, n_names, names, rng);
    for (j = d->n - 1; j >= 0; j--)
        g->symbol[j] = named[j] ? names[--n_names] : concepts[--n_concepts];
    return 1;
}

/* Which split a problem belongs to, from its facts in whatever order and whom it asks about: 10 %
 * test, 10 % valid, the rest train. Never change this: scores of older runs rest on it. */
static prosqa_split split_of(const prosqa_graph *g) {
    uint64_t sum = 0;
    dual_rng hash;
    int i;
    for (i = 0; i < g->edges; i++) {
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
    int path[PROSQA_NODES], n = away[g->target], at, i;
    char fact[80];
    path[n] = g->target;
    for (at = n; at > 0; at--) {
        int parents = 0;
        for (i = 0; i < path[at]; i++)                 /* each parent equally likely */
            if (d->edge[i][path[at]] && away[i] == at - 1
                && dual_rng_below(rng, (size_t)++parents) == 0)
                path[at - 1] = i;
    }
    for (at = 0; at < n; at++) {
        const size_t length = put_fact(g, path[at], path[at + 1], fact, sizeof fact);
        if (!task_put(set, fact, length))
            return 0;
    }
    return 1;
}

static int put_problem(const prosqa_graph *g, const draft *d, const int *away, task_set *set,
                       dual_rng *rng) {
    char text[PROSQA_EDGES * 40];
    size_t n = 0;
    int order[PROSQA_EDGES], i;
    const int swap = (int)dual_rng_below(rng, 2);
    for (i = 0; i < g->edges; i++)
        order[i] = i;
    for (i = g->edges; i > 1; i--) {
        const int j = (int)dual_rng_below(rng, (size_t)i), keep = order[i - 1];
        order[i - 1] = order[j];
        order[j] = keep;
    }
    for (i = 0; i < g->edges; i++) {
        n += put_fact(g, g->from[order[i]], g->to[order[i]], text + n, sizeof text - n);
        text[n++] = ' ';
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "Is %s a %s or %s?", WORDS[g->symbol[g->root]],
                          WORDS[g->symbol[swap ? g->wrong : g->target]],
                          WORDS[g->symbol[swap ? g->target : g->wrong]]);
    if (!task_put(set, text, n) || !put_steps(g, d, away, set, rng))
        return 0;
    n = put_fact(g, g->root, g->target, text, sizeof text);
    return task_put(set, text, n) && task_close(set, (size_t)away[g->target]);
}

/* Sizes as published: 23.2 +- 2 nodes within 14..28; other ranges in proportion. */
static int draw_size(const prosqa_options *o, dual_rng *rng) {
    const double span = o->nodes_max - o->nodes_min;
    int n;
    do
        n = (int)floor(o->nodes_min + span * (9.2 + 2 * dual_rng_normal(rng)) / 14 + 0.5);
    while (n < o->nodes_min || n > o->nodes_max);
    return n;
}

int prosqa_draw(const prosqa_options *o, prosqa_split split, dual_rng *rng, prosqa_graph *g,
                task_set *set) {
    int length[2][PROSQA_NODES], tries, n, i, j;
    draft d;
    if (prosqa_check(o))
        return 0;
    for (tries = 0; tries < 100000; tries++) {
        memset(&d, 0, sizeof d);
        memset(g, 0, sizeof *g);
        d.n = 2;
        d.label[0] = 1;
        d.label[1] = 2;
        for (n = draw_size(o, rng); d.n < n; )
            add_node(&d, rng);
        drop_lonely(&d);
        if (d.n < o->nodes_min || !choose(o, &d, rng, g, length) || !name_nodes(o, &d, g, rng))
            continue;
        g->nodes = d.n;
        for (j = 0; j < d.n; j++)
            for (i = 0; i < j && g->edges < PROSQA_EDGES; i++)
                if (d.edge[i][j]) {
                    g->from[g->edges] = i;
                    g->to[g->edges++] = j;
                }
        /* no published graph has more than 54 edges for 28 nodes; it also bounds the question */
        if (g->edges <= 2 * o->nodes_max && split_of(g) == split)
            return put_problem(g, &d, length[g->root], set, rng);
    }
    return 0;
}

/* ---- Statistics ----------------------------------------------------------------------------- */

void prosqa_measure(prosqa_stats *s, const prosqa_graph *g, const task_row *row) {
    int parents[PROSQA_NODES] = {0}, children[PROSQA_NODES] = {0}, label[PROSQA_NODES] = {0};
    const char *question = strstr(row->question, "Is "), *at;
    size_t words = 1;
    int i, j;
    for (at = row->question; *at; at++)
        words += *at == ' ';
    label[0] = 1;
    label[1] = 2;
    for (j = 0; j < g->nodes; j++)                     /* children in order: labels are complete */
        for (i = 0; i < g->edges; i++)
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
    for (i = 0; i < g->nodes; i++) {
        s->names += !parents[i];
        s->leaves += !children[i];
        if (i < 2)
            continue;
        s->in_degree[parents[i] < 6 ? parents[i] : 6]++;
        s->descend[label[i]]++;
    }
    s->words += words;
    if (!s->words_min || words < s->words_min)
        s->words_min = words;
    if (words > s->words_max)
        s->words_max = words;
    /* the answer's concept, stop and all, against the option before " or " */
    at = strrchr(row->answer, ' ');
    if (question && at && strstr(question, " or ")) {
        const size_t n = strlen(at) - 1;
        const char *bar = strstr(question, " or ");
        s->first += (size_t)(bar - question) > n && strncmp(bar - n, at, n) == 0;
    }
}

/* A node's number, or -1. */
static int node_of(dual_json json, int nodes) {
    const double x = dual_json_number(json, -1);
    return x >= 0 && x < nodes && x == (double)(int)x ? (int)x : -1;
}

/* "idx_to_symbol", "edges", "root", "target", "neg_target"; the symbols' words do not matter. */
static int read_graph(dual_json row, prosqa_graph *g) {
    dual_json list = dual_json_get(row, "idx_to_symbol"), key, value = {NULL, NULL};
    dual_json pair, end;
    memset(g, 0, sizeof *g);
    while (dual_json_each(list, &key, &value))
        g->nodes++;
    list = dual_json_get(row, "edges");
    value.begin = value.end = NULL;
    if (g->nodes > PROSQA_NODES || dual_json_type(list) != '[')
        return 0;
    while (dual_json_each(list, &key, &value)) {
        pair.begin = pair.end = end.begin = end.end = NULL;
        if (g->edges == PROSQA_EDGES || !dual_json_each(value, &key, &pair))
            return 0;
        end = pair;
        if (!dual_json_each(value, &key, &end))
            return 0;
        g->from[g->edges] = node_of(pair, g->nodes);
        g->to[g->edges] = node_of(end, g->nodes);
        if (g->from[g->edges] < 0 || g->to[g->edges] <= g->from[g->edges])
            return 0;
        g->edges++;
    }
    g->root = node_of(dual_json_get(row, "root"), g->nodes);
    g->target = node_of(dual_json_get(row, "target"), g->nodes);
    g->wrong = node_of(dual_json_get(row, "neg_target"), g->nodes);
    return g->root >= 0 && g->target >= 0 && g->wrong >= 0;
}

int prosqa_measure_file(prosqa_stats *s, const char *file, char *error, size_t size) {
    size_t length, graphs = 0;
    task_set set;
    dual_json row;
    prosqa_graph g;
    memset(s, 0, sizeof *s);
    memset(&set, 0, sizeof set);
    char *text = data_read(file, &length, error, size);
    if (!text) return 0;
    task_walk w = task_walk_begin(text, length);
    while (task_walk_next(&w, &row)) {
        set.used = set.open = set.count = 0;
        if (dual_json_type(row) != '{' || prosqa_read(&set, row) || !read_graph(row, &g)) continue;
        const task_row read = task_get(&set, 0);
        prosqa_measure(s, &g, &read);
        graphs++;
    }
    free(text);
    task_free(&set);
    if (!graphs)
        snprintf(error, size, "%s: no row has \"idx_to_symbol\", \"edges\", \"root\", \"target\", "
                 "\"neg_target\"", file);
    return graphs > 0;
}

/* Appends as printf does, as far as there is room; *n counts on beyond it. */
static void add(char *out, size_t size, size_t *n, const char *format, ...) {
    const size_t used = *n < size ? *n : size;
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(out + used, size - used, format, args);
    va_end(args);
    if (wanted > 0) *n += (size_t)wanted;
}

/* " 3: 0.402 4: 0.418", the last number standing for all from it on. */
static void add_shares(char *out, size_t size, size_t *n, const size_t *count, int first, int last,
                       double all) {
    for (int i = first; i <= last; i++)
        if (count[i] || !first)
            add(out, size, n, " %d%s: %.3f", i, i == last ? "+" : "", (double)count[i] / all);
}

size_t prosqa_report(const prosqa_stats *s, char *out, size_t size) {
    const double rows = (double)s->rows;
    double sum = 0, squares = 0, nodes = 0;
    int low = 0, high = 0;
    size_t n = 0;
    for (int i = 0; i <= PROSQA_NODES; i++) {
        if (s->nodes[i] && !low) low = i;
        if (s->nodes[i]) high = i;
        sum += (double)i * (double)s->nodes[i] / rows;
        squares += (double)i * i * (double)s->nodes[i] / rows;
    }
    for (int i = 0; i < 4; i++) nodes += (double)s->descend[i];
    const double variance = squares > sum * sum ? squares - sum * sum : 0;
    add(out, size, &n, "%lu rows\nnodes      %.1f +- %.1f (%d..%d), edges %.1f, names %.2f, leaves "
        "%.2f\n", (unsigned long)s->rows, sum, sqrt(variance), low, high, (double)s->edges / rows,
        (double)s->names / rows, (double)s->leaves / rows);
    add(out, size, &n, "steps     ");
    add_shares(out, size, &n, s->steps, 1, 7, rows);
    add(out, size, &n, "\nparents   ");
    add_shares(out, size, &n, s->in_degree, 0, 6, nodes);
    add(out, size, &n, " of the nodes from 2 on\n");
    add(out, size, &n, "descend    from 0 only %.3f, from 1 only %.3f, both %.3f, neither %.3f\n",
        (double)s->descend[1] / nodes, (double)s->descend[2] / nodes,
        (double)s->descend[3] / nodes, (double)s->descend[0] / nodes);
    add(out, size, &n, "question   %.1f words (%lu..%lu); target named first %.3f, about node 0 "
        "%.3f\n", (double)s->words / rows, (unsigned long)s->words_min,
        (unsigned long)s->words_max, (double)s->first / rows, (double)s->root_0 / rows);
    return n;
}
