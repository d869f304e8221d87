/* shape.c: see shape.h. */
#include "shape.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

int run_shape_of_options(dual_ctx *c, const run_settings *set, size_t vocab, dual_config *f) {
    const int qwen = !strcmp(set->arch, "qwen3");
    if (!qwen && strcmp(set->arch, "gpt2"))
        return dual_failed(c, "--arch: gpt2 or qwen3, not %s", set->arch);
    if (!set->heads) return dual_failed(c, "--heads must be above 0");
    f->family = qwen ? DUAL_QWEN3 : DUAL_GPT2;
    f->tied = 1;
    f->vocab = vocab;
    f->positions = set->context;
    f->layers = set->layers;
    f->hidden = set->width;
    f->heads = set->heads;
    f->kv_heads = set->heads;
    if (qwen) f->kv_heads = set->kv_heads ? set->kv_heads : (set->heads + 1) / 2;
    f->head_dim = qwen && set->head_dim ? set->head_dim : set->width / set->heads;
    f->mlp = (qwen ? 3 : 4) * set->width;
    if (set->mlp) f->mlp = set->mlp;
    f->norm_eps = qwen ? 1e-6 : 1e-5;
    f->rope_theta = 1e6;
    return dual_config_check(c, f);
}

int run_shape_wide(dual_ctx *c, const char *folder, dual_config *shape) {
    char path[RUN_PATH + 8];
    dual_config base;
    double nearest = HUGE_VAL;
    snprintf(path, sizeof path, "%s/base", folder);
    if (!dual_config_read(c, path, &base)) return 0;
    const double both = 2.0 * (double)dual_model_params(dual_model_new(c, &base));
    const size_t group = base.heads / base.kv_heads;
    *shape = base;
    for (size_t times = 1; times <= 4 * base.heads; times++) {
        dual_config f = base;
        f.heads = base.heads + times * group;
        f.kv_heads = f.heads / group;
        f.hidden = base.hidden * f.heads / base.heads;
        f.mlp = base.mlp * f.heads / base.heads;
        const int whole = base.hidden * f.heads % base.heads == 0 &&
                          base.mlp * f.heads % base.heads == 0;
        if (!whole) continue;
        const double off = fabs((double)dual_model_params(dual_model_new(c, &f)) - both);
        if (off < nearest) {
            nearest = off;
            *shape = f;
        }
    }
    return 1;
}
