/* dual.h - dual-model latent reasoning: a Base language model, a Coprocessor that reads its KV
 * cache, thinks over N_L soft tokens and answers with latents. Needs a C99 compiler, libc, libm.
 *
 * Method: "Exploring System 1 and 2 communication for latent reasoning in LLMs", arXiv 2510.00494,
 * on top of Liu et al. 2024, arXiv 2412.17747. README.md explains it, also in PyTorch's words.
 *
 * From tests/example.c, a whole program:
 *    static unsigned char memory[1 << 20];               // all that is made lives in this block
 *    static const int32_t x[] = {3, 1, 4, 1, 5}, cue[] = {10}, y[] = {9, 2, 6};
 *    const int32_t *text[] = {x};
 *    const size_t length[] = {5};
 *    const dual_group group = {.prefix = 5, .cue = cue, .n_cue = 1, .target = y, .n_target = 3};
 *    const dual_batch batch = {
 *        .n_sequences = 1, .text = text, .length = length, .n_groups = 1, .group = &group};
 *    const dual_config shape = {
 *        .family = DUAL_GPT2, .tied = 1, .vocab = 20, .positions = 32, .layers = 2, .hidden = 16,
 *        .heads = 2, .kv_heads = 2, .head_dim = 8, .mlp = 64, .norm_eps = 1e-5};
 *    dual_ctx c;
 *    dual_init(&c, memory, sizeof memory);
 *    dual_model *base = dual_model_new(&c, &shape), *coprocessor = dual_model_new(&c, &shape);
 *    dual_model_init(base, dual_rng_seed(1, 0));         // or dual_model_load(&c, base, folder)
 *    dual_exchange e;
 *    dual_system h2 = dual_system_preset("h2");          // Z as embeddings, Base trained
 *    h2.latents = 4;
 *    if (!dual_exchange_new(&c, &e, &h2, base, coprocessor)) return refused(&c);
 *    dual_exchange_init(&e, 1);                          // Coprocessor: a copy of the Base
 *    dual_exchange_train(&c, &e);                        // gradients for what h2 trains
 *    dual_adamw adamw;
 *    dual_adamw_new(&c, &adamw, &e);
 *    dual_outcome out;
 *    for (uint64_t step = 0; step < 30; step++) {
 *        dual_mark mark = dual_mark_here(&c);
 *        dual_run(&c, &e, &batch, &out);                 // read, think, speak; loss
 *        dual_backward(&c, out.loss);
 *        dual_adamw_step(&c, &adamw, dual_schedule(step, 30, 0.02, 0.01));
 *        dual_release(&c, mark);                         // the step's memory is free again
 *    }
 *    int32_t answer[3];
 *    size_t answer_length;                               // tokens before the end token
 *    dual_sampling greedy = {.max_new = 3, .end = -1};   // no end token: 3 tokens
 *    dual_generate(&c, &e, &batch, &greedy, answer, &answer_length);
 *
 * Conventions. An activation is a matrix of rows, [rows, cols], row-major. A batch is ragged: its
 * sequences lie one after another, without padding. Memory comes from one block and goes back by
 * marks; no object is freed alone. Functions that read outside input return 1, or 0 and one line in
 * ctx->error. Wrong shapes are a bug of the caller and end in ctx->fatal. */
#ifndef DUAL_H
#define DUAL_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#ifndef DUAL_REAL
#define DUAL_REAL float            /* -DDUAL_REAL=double: everything in double, for tests */
#endif
typedef DUAL_REAL dual_real;

/* ---- context: one block of memory, one tape -------------------------------------------------- */

typedef struct dual_ctx {
    unsigned char *memory;         /* NULL: counting, every op only measures and computes nothing */
    size_t size, used, peak;       /* bytes; memory starts on a 64-byte line, and so do arrays */
    struct dual_node *tape;        /* newest recorded operation */
    int inference;                 /* 1: record nothing, gradients are not wanted */
    int recompute;                 /* 1: gradient checkpointing, block by block. Whatever a pass
                                      points to must then stay unchanged until backward */
    struct dual_chunk *chunks;          /* descriptions made while counting */
    double flops;                  /* 2 x multiply-adds of matmuls and attention since dual_init */
    double weight_grad_flops;      /* the part of them spent on weight gradients */
    void (*fatal)(const char *);   /* default: print to stderr, abort */
    char error[400];
} dual_ctx;

typedef struct { size_t used; struct dual_node *tape; } dual_mark;

void dual_init(dual_ctx *, void *memory, size_t size);    /* memory stays the caller's */
void dual_done(dual_ctx *);                               /* after counting: frees descriptions */
void *dual_alloc(dual_ctx *, size_t count, size_t size);  /* not cleared; NULL while counting */
dual_mark dual_mark_here(const dual_ctx *);
void dual_release(dual_ctx *, dual_mark);                 /* forget all made since the mark */
int dual_failed(dual_ctx *, const char *format, ...);     /* as printf; sets error, returns 0 */
void dual_threads(int n);      /* 0: leave it to OpenMP. Before counting: a thread takes memory */

/* ---- random numbers: splitmix64, one word of state ------------------------------------------- */

typedef struct { uint64_t state; } dual_rng;
dual_rng dual_rng_seed(uint64_t seed, uint64_t stream);   /* unrelated sequence per stream */
uint64_t dual_rng_next(dual_rng *);
double dual_rng_uniform(dual_rng *);                      /* [0, 1) */
double dual_rng_normal(dual_rng *);                       /* mean 0, variance 1 */
size_t dual_rng_below(dual_rng *, size_t n);              /* 0 .. n-1, unbiased */

/* ---- tensors and the tape -------------------------------------------------------------------- */

enum { DUAL_FULL, DUAL_F16, DUAL_BF16 }; /* dual_real; in 16 bits: weights that stay frozen */
typedef struct dual_tensor {
    size_t rows, cols, stride;     /* element (r, c) is data[r * stride + c] */
    dual_real *data, *grad;        /* grad: NULL until a gradient arrives */
    uint16_t *half; int type;      /* a weight of 16 bits has its numbers here, data is NULL */
    struct dual_tensor *base;      /* a view's owner, else NULL */
    size_t offset;                 /* a view's first element in it */
    int needs_grad, constant;      /* constant: numbers of a dual_model_view, never written */
} dual_tensor;

dual_tensor *dual_tensor_new(dual_ctx *, size_t rows, size_t cols);      /* not cleared */
dual_tensor *dual_view(dual_ctx *, dual_tensor *, size_t row, size_t rows, size_t col, size_t cols);
dual_tensor *dual_detach(dual_ctx *, dual_tensor *);      /* same data, gradient stops here */
dual_real dual_number(const dual_tensor *, size_t i);     /* data[i], or half[i] widened */
size_t dual_not_finite(const dual_tensor *, size_t *first);    /* how many, where the first is */
void dual_need_grad(dual_ctx *, dual_tensor *);           /* make it a trained leaf, grad = 0 */
/* Runs the tape backwards from a [1,1] loss: adds into the grad of every leaf that is trained. */
void dual_backward(dual_ctx *, dual_tensor *loss);

/* ---- operations; every one has its backward. int32 arrays are kept, not copied --------------- */

/* out[r] = source[which[r]] row index[r]; which NULL: all from source[0]. Embedding look-up,
 * concatenation, slicing and repetition of rows are all this. */
dual_tensor *dual_gather(dual_ctx *, size_t n_sources, dual_tensor *const *source, size_t rows,
                         const int32_t *which, const int32_t *index);
enum { DUAL_IN_OUT, DUAL_OUT_IN }; /* weight as [in,out] (GPT-2's Conv1D) or [out,in] (Linear) */
dual_tensor *dual_linear(dual_ctx *, dual_tensor *x, dual_tensor *weight, dual_tensor *bias,
                         int layout);                     /* x W (+ bias [1,out] or NULL) */
dual_tensor *dual_add(dual_ctx *, dual_tensor *, dual_tensor *);
dual_tensor *dual_gain(dual_ctx *, dual_tensor *x, dual_tensor *gain);   /* gain [1,1] times x */
dual_tensor *dual_layernorm(dual_ctx *, dual_tensor *x, dual_tensor *weight, dual_tensor *bias,
                            double eps);
/* weight [1,w]: every run of w columns is normed on its own (w = head_dim: q/k norm). */
dual_tensor *dual_rmsnorm(dual_ctx *, dual_tensor *x, dual_tensor *weight, double eps);
dual_tensor *dual_gelu(dual_ctx *, dual_tensor *);        /* tanh form, GPT-2's gelu_new */
dual_tensor *dual_swiglu(dual_ctx *, dual_tensor *gate, dual_tensor *up); /* silu(gate) * up */
dual_tensor *dual_rotary(dual_ctx *, dual_tensor *x, size_t head_dim, const int32_t *position,
                         double theta);                   /* half-split pairs */

/* Visibility: query row r sees rows begin[r] .. end[r]-1 of k and v, in each of several lists. */
typedef struct { dual_tensor *k, *v; const int32_t *begin, *end; } dual_keys;
/* q [rows, heads*head_dim], k, v [*, kv_heads*head_dim] -> [rows, heads*head_dim]. Segment i begins
 * at row segment_start[i] (cu_seqlens elsewhere); two segments never see the same key row. */
dual_tensor *dual_attention(dual_ctx *, dual_tensor *q, size_t heads, size_t kv_heads,
                            size_t n_keys, const dual_keys *keys,
                            size_t segments, const int32_t *segment_start);
/* Mean over rows of -log softmax(logits)[target], as [1,1]. Its backward turns the logits, in
 * place, into their own gradient: read them before. */
dual_tensor *dual_cross_entropy(dual_ctx *, dual_tensor *logits, const int32_t *target);
/* Mean squared cosine of two rows of a group of `slots`; centred: minus each slot's mean first. */
dual_tensor *dual_orthogonality(dual_ctx *, dual_tensor *z, size_t slots, int centred);

/* ---- models ---------------------------------------------------------------------------------- */

enum { DUAL_GPT2, DUAL_QWEN3 };
typedef struct {
    int family, tied;              /* tied: the head is the token embedding */
    size_t vocab, positions, layers, hidden, heads, kv_heads, head_dim, mlp;
    double norm_eps, rope_theta;
} dual_config;

enum { DUAL_ZEROS, DUAL_ONES, DUAL_NORMAL };
typedef struct { int kind; double std; } dual_start;      /* how a tensor is initialised */
typedef struct {
    char name[80];                 /* Hugging Face's name, GPT-2 with "transformer." */
    dual_tensor *tensor;           /* vectors are [1,n] */
    dual_start start;
    int decay, vector;             /* weight decay applies; stored as one dimension */
    double rate;                   /* learning rate multiplier */
} dual_param;

typedef struct dual_model {
    dual_config config;
    int type, file_type;           /* of its matrices; the same in the files last loaded from */
    const void *const *place;      /* NULL, or the table of a view */
    size_t n_params;
    dual_param *param;             /* the one table: allocation, init, files, optimiser */
    struct dual_layer *layer;
    dual_tensor *wte, *wpe, *norm_w, *norm_b, *head;      /* wpe, norm_b: GPT-2; head: [vocab,d] */
} dual_model;

/* Per layer keys and values, [rows, kv_heads*head_dim]; keys are already normed and rotated. */
typedef struct { dual_tensor **k, **v; } dual_cache;
/* Row r of a pass sees rows begin[r] .. end[r]-1 of this cache; NULL: of the pass itself. */
typedef struct { const dual_cache *cache; const int32_t *begin, *end; } dual_seen;

typedef struct {
    const char *name;              /* "read", "think", "speak" */
    dual_model *model;
    size_t rows, segments, n_seen;
    dual_tensor *input;            /* [rows, hidden], before GPT-2 adds its position embedding */
    const int32_t *token;          /* [rows] what the row is: a token id, or -1-i for latent i */
    const int32_t *position;       /* [rows] */
    const int32_t *segment_start;  /* [segments+1], as in dual_attention; one per sequence */
    const dual_seen *seen;
    size_t layers;                 /* 0: all; else the pass ends after so many */
    int cache_only;                /* stop after the last layer's keys and values */
    dual_tensor **trace;           /* NULL, or [layers+1]: block inputs, then before final norm */
    dual_cache cache;              /* out */
    dual_tensor *hidden;           /* out: after the final norm; NULL if cache_only */
} dual_pass;

int dual_config_read(dual_ctx *, const char *folder, dual_config *);     /* config.json */
int dual_config_check(dual_ctx *, const dual_config *);   /* refuses impossible shapes */
dual_model *dual_model_new(dual_ctx *, const dual_config *);
dual_model *dual_model_kept(dual_ctx *, const dual_config *, int type);  /* matrices in 16 bits */
/* A model whose numbers stay where they are, in flash or a mapped file: place[i] has param[i]'s,
 * dual_real, or 16 bits where the matrices are of such a type. It is read, never changed. */
dual_model *dual_model_view(dual_ctx *, const dual_config *, int type, const void *const *place);
void dual_model_init(dual_model *, dual_rng);             /* random weights, std 0.55/sqrt(d) */
void dual_model_copy(dual_model *to, const dual_model *from);
/* Other types than the model's are widened or rounded. Counting: checks all, reads no number. */
int dual_model_load(dual_ctx *, dual_model *, const char *folder);
int dual_model_save(dual_ctx *, const dual_model *, const char *folder, const char *note);
size_t dual_model_params(const dual_model *);             /* elements, tied head once */
dual_tensor *dual_forward(dual_ctx *, dual_pass *);       /* one pass; returns pass->hidden */
dual_tensor *dual_logits(dual_ctx *, dual_model *, dual_tensor *hidden); /* [rows, vocab] */

/* ---- the exchange ---------------------------------------------------------------------------- */

typedef enum { DUAL_NONE, DUAL_PAUSE, DUAL_SOFT, DUAL_CHAIN, DUAL_EMBED, DUAL_KV } dual_injection;
typedef struct {
    char name[16];                 /* the preset's, or "kv/trained" and so on */
    dual_injection inject;         /* what stands at the latent positions */
    int base_trained;
    size_t latents;                /* N_L */
    int detach;                    /* stop the gradient through KV_theta (a trained Base only) */
    int gain;                      /* one trained scalar on the injected latents, starts at 1 */
    uint64_t kv_layers;            /* kv: bit l hands over layer l; 0: all */
    int fused;                     /* speak reads the text once more, itself */
    double text_loss;              /* weight of the next-token loss on the texts */
    double orthogonality;          /* weight of the penalty on the Coprocessor's latents */
    int centred, values;           /* its forms: minus the batch mean; kv: of values, not states */
} dual_system;

/* none pause soft prompt wide coconut liu h1 h2 h1h2; else latents SIZE_MAX, and no exchange. */
dual_system dual_system_preset(const char *name);
const char *dual_injection_name(dual_injection);
int dual_system_needs_coprocessor(const dual_system *);
size_t dual_latent_positions(const dual_system *);        /* that a group's latents take */

typedef struct {
    dual_system system;
    dual_model *base, *coprocessor; /* coprocessor NULL unless inject is embed or kv */
    dual_param soft;                /* S [N_L,d]; pause, coconut: s [1,d]; none: tensor NULL */
    dual_param gain;                /* [1,1], tensor NULL if off */
} dual_exchange;

/* Refuses, with the reason, pairs of models that cannot read each other's cache. */
int dual_exchange_new(dual_ctx *, dual_exchange *, const dual_system *, dual_model *base,
                      dual_model *coprocessor);
/* A Coprocessor of the Base's shape becomes its copy, any other keeps what it holds. */
void dual_exchange_init(dual_exchange *, uint64_t seed);
void dual_exchange_train(dual_ctx *, dual_exchange *);    /* marks and allocates gradients */
/* Tensor i of the exchange, NULL past the last. owner: 'B' Base, 'C' Coprocessor, 'S' the rest. */
dual_param *dual_exchange_param(dual_exchange *, size_t i, char *owner);
size_t dual_exchange_trained(dual_exchange *);            /* trained elements */

/* One augmentation: after `prefix` tokens of a sequence come the latents, the cue (read, never
 * scored) and the targets. Finetuning: one group, after the whole prompt. Pretraining: M groups. */
typedef struct {
    size_t sequence, prefix;       /* groups are sorted by sequence */
    const int32_t *cue;   size_t n_cue;
    const int32_t *target; size_t n_target;
} dual_group;

/* Content or mere presence? What each group gets in evaluation instead of its own latents. */
typedef enum { DUAL_RIGHT, DUAL_SWAPPED, DUAL_MEAN, DUAL_NOISE, DUAL_ZERO, DUAL_DROP } dual_source;
typedef struct { dual_source from; size_t slot; uint64_t seed; } dual_ablation;

typedef struct {
    size_t n_sequences; const int32_t *const *text; const size_t *length;
    size_t n_groups;    const dual_group *group;
    dual_tensor *cue_rows;         /* NULL, or [c,d]: a cue given as rows, for every group */
    dual_ablation ablation;        /* zeroed: the right latents */
} dual_batch;

typedef struct {
    dual_tensor *loss;             /* to minimise: target_loss + weight times each other term */
    dual_tensor *target_loss;      /* mean over all targets of the batch; NULL without targets */
    dual_tensor *text_loss, *penalty;   /* NULL if off, and in inference */
    dual_tensor *logits;           /* [all targets, vocab]; row t of a group predicts its y_t */
    dual_tensor *latents;          /* [groups*N_L, d]: Z; soft, pause, coconut: final-norm states
                                      at the slots; h1, h1h2: last layer's values; none: NULL */
    size_t n_passes;
    dual_pass *pass;               /* in order, with every row's position and what it sees */
} dual_outcome;

int dual_batch_check(dual_ctx *, const dual_exchange *, const dual_batch *);
void dual_run(dual_ctx *, dual_exchange *, const dual_batch *, dual_outcome *);

typedef struct {
    size_t max_new;
    int32_t end;                   /* end token, or -1 */
    double temperature;            /* 0: greedy */
    dual_rng rng;
    dual_real *logits;             /* NULL, or [groups, max_new, vocab]: what was chosen from */
} dual_sampling;
/* Continues every group after its cue with the cache; targets are ignored. tokens [groups,max_new];
 * length[g] counts tokens before the end token, and is max_new + 1 when none came. */
void dual_generate(dual_ctx *, dual_exchange *, const dual_batch *, dual_sampling *,
                   int32_t *tokens, size_t *length);

/* ---- optimiser ------------------------------------------------------------------------------- */

typedef struct {
    size_t n; dual_param **param;  /* the trained ones */
    dual_real **m, **v;            /* first and second moments */
    double beta1, beta2, eps, decay, clip;                /* 0.9 0.95 1e-8 0.1 1.0 */
    uint64_t step;
} dual_adamw;
/* Points into the exchange, which from here on must stay where it is. */
void dual_adamw_new(dual_ctx *, dual_adamw *, dual_exchange *);
/* One step over all trained tensors, then their gradients are 0. Returns the norm before clip.
 * Several processes: between dual_backward and dual_adamw_step sum each tensor's grad over the
 * processes, weighted by its share of the targets. */
double dual_adamw_step(dual_ctx *, dual_adamw *, double rate);
/* Linear warm-up over max(1, warmup*steps) (step 0 is at 1/warm-up of the peak), cosine to 0. */
double dual_schedule(uint64_t step, uint64_t steps, double warmup, double peak);

/* ---- files ----------------------------------------------------------------------------------- */

/* JSON read in place: a value is a slice of the text, nothing is allocated. begin NULL: absent. */
typedef struct { const char *begin, *end; } dual_json;
/* Checks all of it. Absent if wrong: why then says line, column and what stands there. */
dual_json dual_json_text(const char *text, size_t length, char *why, size_t size);
int dual_json_type(dual_json);     /* '{' '[' '"' '0' (number) 't' 'f' 'n'; 0: absent */
dual_json dual_json_get(dual_json object, const char *key);
int dual_json_each(dual_json container, dual_json *key, dual_json *value); /* first: value absent */
double dual_json_number(dual_json, double fallback);
size_t dual_json_string(dual_json, char *out, size_t size); /* decoded, cut; returns full length */
/* Escaped, without quotes, cut to size (6 strlen(text) + 9 always suffice). Returns the length. */
size_t dual_json_quote(const char *text, char *out, size_t size);

/* A named tensor of a safetensors file, as the reader hands them out one by one. */
typedef struct { char name[128]; char type[24]; size_t rows, cols, count; } dual_entry;
typedef struct dual_file dual_file;
dual_file *dual_file_open(dual_ctx *, const char *path);  /* safetensors; header checked whole */
size_t dual_file_count(const dual_file *);
dual_entry dual_file_entry(const dual_file *, size_t i);
size_t dual_file_find(const dual_file *, const char *name);              /* SIZE_MAX: not there */
size_t dual_file_note(const dual_file *, const char *key, char *out, size_t size); /* metadata */
int dual_file_read(dual_ctx *, dual_file *, size_t i, dual_real *out);   /* converts, in chunks */
void dual_file_close(dual_file *);
/* Reals as F32, to a temporary name, which is flushed and renamed: whole or not there. */
int dual_file_save(dual_ctx *, const char *path, size_t n, const dual_param *const *param,
                   const char *note);
char *dual_text_read(dual_ctx *, const char *path, size_t *length);      /* malloc'ed, NUL-ended */
int dual_text_save(dual_ctx *, const char *path, const char *text, size_t length);

#ifdef __cplusplus
}
#endif
#endif
