/* gradients.c: see gradients.h. */
#include "gradients.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

dual_batch run_batch_part(const dual_batch *b, size_t i, size_t n, dual_group *group) {
    const size_t first = b->n_sequences * i / n, end = b->n_sequences * (i + 1) / n;
    dual_batch part = *b;
    part.text = b->text + first;
    part.length = b->length + first;
    part.n_sequences = end - first;
    part.group = group;
    part.n_groups = 0;
    for (size_t g = 0; g < b->n_groups; g++) {
        if (b->group[g].sequence < first || b->group[g].sequence >= end) continue;
        group[part.n_groups] = b->group[g];
        group[part.n_groups++].sequence -= first;
    }
    return part;
}

/* What the three terms of the loss are means over. */
typedef struct { double targets, text, groups; } amounts;

static amounts amounts_of(const dual_batch *b) {
    amounts a = {0, 0, (double)b->n_groups};
    for (size_t g = 0; g < b->n_groups; g++) a.targets += (double)b->group[g].n_target;
    for (size_t i = 0; i < b->n_sequences; i++)
        if (b->length[i]) a.text += (double)(b->length[i] - 1);
    return a;
}

/* sum + weight * term; either may be NULL */
static dual_tensor *add_weighted(dual_ctx *c, dual_tensor *sum, double weight, dual_tensor *term) {
    if (!term) return sum;
    dual_tensor *w = dual_tensor_new(c, 1, 1);
    if (c->memory) w->data[0] = (dual_real)weight;
    term = dual_gain(c, term, w);
    return sum ? dual_add(c, sum, term) : term;
}

static double number(const dual_tensor *t) { return t && t->data ? (double)t->data[0] : 0; }

/* ---- A centred penalty of a batch in parts ---------------------------------------------------
 * Its gradient at the Coprocessor's states needs the states of all groups. So they are collected
 * first, without a tape; the penalty of the collection gives its value and that gradient, whose
 * rows are then handed to each part's own states before its backward. */

static int hands_over(const dual_system *s, size_t layer) {
    return !s->kv_layers || (layer < 64 && s->kv_layers >> layer & 1);
}

/* The i-th tensor that is penalised: the final states, or the values of each layer handed over;
 * NULL past the last. Think is the pass before speak. */
static dual_tensor *penalised(const dual_exchange *e, const dual_outcome *out, size_t i) {
    const dual_system *s = &e->system;
    const dual_pass *think = &out->pass[out->n_passes - 2];
    if (!s->values) return i ? NULL : think->hidden;
    for (size_t l = 0; l < think->model->config.layers; l++)
        if (hands_over(s, l) && i-- == 0) return think->cache.v[l];
    return NULL;
}

/* Copies the rows of a part into the collection, side by side; from: the part's first row. */
static void collect(dual_ctx *c, const dual_exchange *e, const dual_outcome *out, size_t from,
                    dual_tensor *all) {
    const dual_tensor *t;
    for (size_t i = 0; c->memory && (t = penalised(e, out, i)) != NULL; i++)
        for (size_t r = 0; r < t->rows; r++)
            memcpy(all->data + (from + r) * all->stride + i * t->cols, t->data + r * t->stride,
                   t->cols * sizeof *t->data);
}

/* The gradient of a part's rows, from the collection's: backward begins with it. */
static void hand_back(dual_ctx *c, const dual_exchange *e, const dual_outcome *out, size_t from,
                      const dual_tensor *all) {
    dual_tensor *t;
    for (size_t i = 0; (t = penalised(e, out, i)) != NULL; i++) {
        dual_need_grad(c, t);
        for (size_t r = 0; c->memory && r < t->rows; r++)
            for (size_t j = 0; j < t->cols; j++)
                t->grad[r * t->stride + j] = all->grad[(from + r) * all->stride + i * t->cols + j];
    }
}

/* How many groups the parts before part i have. */
static size_t groups_before(const dual_batch *b, size_t i, size_t n, dual_group *group) {
    size_t groups = 0;
    for (size_t k = 0; k < i; k++) groups += run_batch_part(b, k, n, group).n_groups;
    return groups;
}

/* Rows of 0 where other processes have theirs: the sum then has all. */
static void collect_all(dual_ctx *c, dual_exchange *e, const dual_batch *b,
                        const batch_share *share, dual_group *group, dual_tensor *all) {
    size_t from = groups_before(b, share->first, share->n, group) * e->system.latents;
    if (c->memory) memset(all->data, 0, all->rows * all->stride * sizeof *all->data);
    c->inference = 1;
    for (size_t i = share->first; i < share->end; i++) {
        const dual_mark mark = dual_mark_here(c);
        const dual_batch part = run_batch_part(b, i, share->n, group);
        dual_outcome out;
        dual_run(c, e, &part, &out);
        collect(c, e, &out, from, all);
        from += part.n_groups * e->system.latents;
        dual_release(c, mark);
    }
    c->inference = 0;
    if (c->memory && share->sum) share->sum(all->data, all->rows * all->stride);
}

/* [groups * N_L, columns of all penalised tensors], with the gradient of weight times penalty,
 * which each process works out for itself: its value is the first one's to tell. */
static dual_tensor *centred_penalty(dual_ctx *c, dual_exchange *e, const dual_batch *b,
                                    const batch_share *share, dual_group *group, batch_means *m) {
    const dual_config *f = &e->coprocessor->config;
    const size_t slots = e->system.latents;
    const size_t cols = e->system.values ? f->kv_heads * f->head_dim : f->hidden;
    size_t n = e->system.values ? 0 : 1;
    for (size_t l = 0; e->system.values && l < f->layers; l++)
        n += (size_t)hands_over(&e->system, l);
    dual_tensor *all = dual_tensor_new(c, b->n_groups * slots, n * cols), *sum = NULL;
    collect_all(c, e, b, share, group, all);
    dual_need_grad(c, all);
    for (size_t i = 0; i < n; i++)
        sum = add_weighted(c, sum, 1 / (double)n,
                           dual_orthogonality(c, dual_view(c, all, 0, all->rows, i * cols, cols),
                                              slots, 1));
    if (!share->first) m->penalty = number(sum);
    dual_backward(c, add_weighted(c, NULL, e->system.orthogonality, sum));
    return all;
}

/* ---- A batch in parts ------------------------------------------------------------------------ */

/* Forward and backward of one part. centred: NULL, or the collection with its gradient, whose rows
 * begin at `from`. */
static void add_part(dual_ctx *c, dual_exchange *e, const dual_batch *part, const amounts *whole,
                     const dual_tensor *centred, size_t from, batch_means *m) {
    const amounts own = amounts_of(part);
    const double share = own.targets / whole->targets, of_groups = own.groups / whole->groups;
    dual_outcome out;
    dual_run(c, e, part, &out);
    dual_tensor *loss = add_weighted(c, NULL, share, out.target_loss);
    if (out.text_loss)
        loss = add_weighted(c, loss, e->system.text_loss * (own.text / whole->text), out.text_loss);
    m->loss += share * number(out.target_loss);
    if (centred) hand_back(c, e, &out, from, centred);
    else if (out.penalty) {
        loss = add_weighted(c, loss, e->system.orthogonality * of_groups, out.penalty);
        m->penalty += of_groups * number(out.penalty);
    }
    if (loss) dual_backward(c, loss);
}

int run_gradients(dual_ctx *c, dual_exchange *e, const dual_batch *b, const batch_share *share,
                  batch_means *m) {
    const amounts whole = amounts_of(b);
    const dual_system *s = &e->system;
    const dual_mark begin = dual_mark_here(c);
    dual_tensor *centred = NULL;
    if (!dual_batch_check(c, e, b)) return 0;
    dual_group *group = malloc((b->n_groups + 1) * sizeof *group);
    if (!group) return dual_failed(c, "out of memory for %zu groups", b->n_groups);
    m->loss = 0;
    m->penalty = s->orthogonality > 0 ? 0 : NAN;
    if (s->orthogonality > 0 && s->centred && share->n > 1)
        centred = centred_penalty(c, e, b, share, group, m);
    size_t from = groups_before(b, share->first, share->n, group) * s->latents;
    for (size_t i = share->first; i < share->end; i++) {
        const dual_mark mark = dual_mark_here(c);
        const dual_batch part = run_batch_part(b, i, share->n, group);
        add_part(c, e, &part, &whole, centred, from, m);
        from += part.n_groups * s->latents;
        dual_release(c, mark);
    }
    free(group);
    dual_release(c, begin);
    return 1;
}
