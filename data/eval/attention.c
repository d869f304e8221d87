/* attention.c: see attention.h. */
#include "attention.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A tensor of layer l, NULL where the model has none of this name. */
static dual_tensor *weight_of(const dual_model *m, size_t l, const char *name) {
    char full[sizeof m->param->name];
    snprintf(full, sizeof full, m->config.family == DUAL_GPT2 ? "transformer.h.%lu.%s"
                                                              : "model.layers.%lu.%s",
             (unsigned long)l, name);
    for (size_t i = 0; i < m->n_params; i++)
        if (!strcmp(m->param[i].name, full)) return m->param[i].tensor;
    return NULL;
}

/* [rows, heads * head_dim] from a block's input x: as the block itself makes them. */
static dual_tensor *gpt2_queries(dual_ctx *c, const dual_pass *p, size_t l, dual_tensor *x) {
    const dual_model *m = p->model;
    const size_t d = m->config.hidden;
    dual_tensor *norm_w = weight_of(m, l, "ln_1.weight"), *norm_b = weight_of(m, l, "ln_1.bias");
    dual_tensor *w = weight_of(m, l, "attn.c_attn.weight");
    dual_tensor *b = weight_of(m, l, "attn.c_attn.bias");
    if (!norm_w || !norm_b || !w || !b) return NULL;
    x = dual_layernorm(c, x, norm_w, norm_b, m->config.norm_eps);
    return dual_linear(c, x, dual_view(c, w, 0, d, 0, d), dual_view(c, b, 0, 1, 0, d), DUAL_IN_OUT);
}

static dual_tensor *qwen3_queries(dual_ctx *c, const dual_pass *p, size_t l, dual_tensor *x) {
    const dual_config *f = &p->model->config;
    dual_tensor *norm_w = weight_of(p->model, l, "input_layernorm.weight");
    dual_tensor *w = weight_of(p->model, l, "self_attn.q_proj.weight");
    dual_tensor *q_norm = weight_of(p->model, l, "self_attn.q_norm.weight");
    if (!norm_w || !w || !q_norm) return NULL;
    x = dual_linear(c, dual_rmsnorm(c, x, norm_w, f->norm_eps), w, NULL, DUAL_OUT_IN);
    return dual_rotary(c, dual_rmsnorm(c, x, q_norm, f->norm_eps), f->head_dim, p->position,
                       f->rope_theta);
}

static size_t keys_of_row(const dual_pass *p, size_t r) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_seen; i++) n += (size_t)(p->seen[i].end[r] - p->seen[i].begin[r]);
    return n;
}

/* softmax(q k / sqrt(head_dim)) of one row and head. A cache that lacks this layer (kv_layers) is
 * not attended to: its weights stay 0. */
static void share_out(const dual_pass *p, size_t l, const dual_tensor *q, size_t head, size_t r,
                      dual_real *out) {
    const dual_config *f = &p->model->config;
    const size_t hd = f->head_dim, kv_head = head / (f->heads / f->kv_heads);
    const dual_real *query = q->data + r * q->stride + head * hd;
    double most = -HUGE_VAL, sum = 0;
    for (int turn = 0; turn < 3; turn++)       /* the largest, the sum, the shares */
        for (size_t i = 0, at = 0; i < p->n_seen; i++) {
            const dual_seen *seen = &p->seen[i];
            const dual_tensor *k = (seen->cache ? seen->cache : &p->cache)->k[l];
            for (int32_t row = seen->begin[r]; row < seen->end[r]; row++, at++) {
                double score = 0;
                if (!k) continue;
                const dual_real *key = k->data + (size_t)row * k->stride + kv_head * hd;
                for (size_t j = 0; j < hd; j++) score += (double)query[j] * (double)key[j];
                score /= sqrt((double)hd);
                if (!turn && score > most) most = score;
                if (turn == 1) sum += exp(score - most);
                if (turn == 2) out[at] = (dual_real)(exp(score - most) / sum);
            }
        }
}

int attention_of(dual_ctx *c, const dual_pass *pass, attention_map *out) {
    dual_pass p = *pass;
    const dual_config *f = &p.model->config;
    const size_t run = p.layers ? p.layers : f->layers;
    dual_tensor **trace = dual_alloc(c, f->layers + 1, sizeof(dual_tensor *));
    *out = (attention_map){run - (p.cache_only != 0), f->heads, p.rows, 0, NULL};
    for (size_t r = 0; r < p.rows; r++) {
        const size_t n = keys_of_row(&p, r);
        if (n > out->keys) out->keys = n;
    }
    out->weight = dual_alloc(c, out->layers * out->heads * p.rows * out->keys, sizeof(dual_real));
    if (out->weight)
        memset(out->weight, 0, out->layers * out->heads * p.rows * out->keys * sizeof(dual_real));
    p.trace = trace;
    dual_forward(c, &p);
    for (size_t l = 0; l < out->layers; l++) {
        dual_tensor *x = trace ? trace[l] : p.input;     /* counting: of the same size */
        dual_tensor *q = f->family == DUAL_GPT2 ? gpt2_queries(c, &p, l, x)
                                                : qwen3_queries(c, &p, l, x);
        if (!q) return dual_failed(c, "attention: layer %lu has no queries by the usual names",
                                   (unsigned long)l);
        for (size_t h = 0; c->memory && h < out->heads; h++)
            for (size_t r = 0; r < p.rows; r++)
                share_out(&p, l, q, h, r, out->weight + ((l * out->heads + h) * p.rows + r) *
                                                            out->keys);
    }
    return 1;
}
