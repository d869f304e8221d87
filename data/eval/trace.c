/* trace.c: see trace.h. */
#include "trace.h"
#include "../tokenizers/unicode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Wording ------------------------------------------------------------------------------- */

enum { SPELLED = 16 };                 /* room for a token in words */

/* The character at `at`, of n bytes: itself, or as C writes what no terminal shows. */
static void spell_character(const char *at, size_t n, uint32_t c, char out[20]) {
    static const char named[] = "\n\t\r", letters[] = "ntr0";      /* 0: of the string's NUL */
    const char *name = c < 32 ? strchr(named, (int)c) : NULL;
    const int shown = (c >= 32 && c < 127) || (c >= 0xA0 && c < UNICODE_BAD);
    *out = 0;
    if (name) snprintf(out, 20, "\\%c", letters[name - named]);
    else if (shown) snprintf(out, 20, "%.*s", (int)n, at);
    for (size_t i = 0; !name && !shown && i < n; i++)
        snprintf(out + 4 * i, 20 - 4 * i, "\\x%02X", (unsigned)(unsigned char)at[i]);
}

/* The beginning of a token that fits, in whole characters; a byte of the byte vocabulary between
 * quotes. */
static const char *spell(const run_task *t, int32_t id, char room[SPELLED]) {
    size_t length = 0, n = 0;
    const char *word = tokenizer_token(t->tokens, id, &length);
    const int quoted = word && !strncmp(word, "<byte ", 6) &&
                       !strcmp(run_tokenizer_name(t), "bytes");
    char byte, character[20];
    if (!word) {
        snprintf(room, SPELLED, "#%ld", (long)id);
        return room;
    }
    if (quoted) {
        byte = (char)strtol(word + 6, NULL, 10);
        word = &byte;
        length = 1;
        room[n++] = '\'';
    }
    for (const char *at = word, *end = word + length; at < end;) {
        uint32_t c;
        const size_t bytes = unicode_next(at, end, &c);
        spell_character(at, bytes, c, character);
        if (n + strlen(character) >= SPELLED) break;
        n += (size_t)snprintf(room + n, SPELLED - n, "%s", character);
        at += bytes;
    }
    if (quoted) room[n++] = '\'';
    room[n] = 0;
    return room;
}

static int is_coprocessor(const loaded_run *loaded, const dual_pass *p) {
    return p->model == loaded->r.coprocessor;
}

/* Behind a prompt the first token row is the cue, the others are y. */
static const char *part_of_row(const dual_pass *p, size_t r, size_t n_x) {
    if ((size_t)p->position[r] < n_x) return "";
    const int first = !r || p->token[r - 1] < 0 || (size_t)p->position[r - 1] < n_x;
    return first ? " (cue)" : " (y)";
}

void trace_row(const loaded_run *loaded, const dual_pass *p, size_t r, size_t n_x, char *out,
               size_t size) {
    const dual_injection inject = loaded->r.system.inject;
    const long slot = -1 - (long)p->token[r];
    char word[SPELLED];
    if (slot < 0)
        snprintf(out, size, "%s%s", spell(&loaded->task, p->token[r], word),
                 part_of_row(p, r, n_x));
    else if (is_coprocessor(loaded, p) || inject == DUAL_SOFT) snprintf(out, size, "S[%ld]", slot);
    else if (inject == DUAL_EMBED) snprintf(out, size, "Z[%ld]", slot);
    else if (inject == DUAL_PAUSE || !slot) snprintf(out, size, "s");
    else snprintf(out, size, "thought %ld", slot);
}

static int only_reads(const dual_pass *p) { return !strcmp(p->name, "read"); }

int trace_is_recorded(const loaded_run *loaded, const dual_pass *p) {
    const dual_system *system = &loaded->r.system;
    return is_coprocessor(loaded, p) || system->base_trained || !only_reads(p);
}

int trace_gradient_returns(const loaded_run *loaded, const dual_pass *p) {
    return trace_is_recorded(loaded, p) && !(only_reads(p) && loaded->r.system.detach);
}

const char *trace_recorded(const loaded_run *loaded, const dual_pass *p) {
    const dual_system *system = &loaded->r.system;
    const int read = only_reads(p);
    if (is_coprocessor(loaded, p)) return "recorded: trains the Coprocessor and S";
    if (!system->base_trained && read) return "not recorded: the Base is frozen";
    if (!system->base_trained) return "recorded: frozen, but gradient passes through it";
    if (system->detach && read) return "detached: no gradient comes back to it";
    return "recorded: trains the Base";
}

void trace_gradient(const dual_system *s, char *out, size_t size) {
    static const char *const middle[] = {"", "", "", " -> every thought", " -> Z", " -> KV_phi"};
    const int coprocessor = dual_system_needs_coprocessor(s);
    const char *learned = "", *cache = "";
    if (coprocessor) learned = " -> think (Coprocessor, S)";
    else if (s->inject != DUAL_NONE) learned = " -> the learned vectors";
    if (coprocessor && s->base_trained)
        cache = s->detach ? "; KV_theta is detached" : "; both -> KV_theta -> read (Base)";
    snprintf(out, size, "loss -> speak (%s)%s%s%s", s->base_trained ? "Base" : "frozen",
             middle[s->inject], learned, cache);
}

/* Whether two caches share keys in some layer (a cache that was handed on may lack some): the very
 * tensors, or a detached copy's numbers. */
enum { SAME_TENSORS, SAME_NUMBERS };
static int share_keys(const dual_cache *a, const dual_cache *b, size_t layers, int how) {
    for (size_t l = 0; l < layers; l++) {
        if (!a->k[l] || !b->k[l]) continue;
        if (a->k[l] == b->k[l]) return 1;
        if (how == SAME_NUMBERS && a->k[l]->data == b->k[l]->data) return 1;
    }
    return 0;
}

/* The pass that made a cache, -1: none, it was made anew. */
static int maker_of(const loaded_run *loaded, const dual_outcome *out, const dual_cache *cache,
                    int how) {
    for (size_t k = 0; k < out->n_passes; k++)
        if (share_keys(cache, &out->pass[k].cache, loaded->r.shape.layers, how)) return (int)k;
    return -1;
}

static void find_owner(const loaded_run *loaded, const dual_outcome *out, const dual_pass *p,
                       const dual_cache *cache, trace_range *range) {
    range->shift = 0;
    range->owner = "own";
    range->pass = (int)(p - out->pass);
    if (!cache) return;
    range->pass = maker_of(loaded, out, cache, SAME_TENSORS);
    range->owner = "other";
    if (range->pass < 0) {
        range->pass = maker_of(loaded, out, cache, SAME_NUMBERS);
        if (range->pass >= 0) range->owner = "det. Base";
        return;
    }
    const dual_pass *maker = &out->pass[range->pass];
    range->owner = is_coprocessor(loaded, maker) ? "Cop" : "Base";
    if (is_coprocessor(loaded, maker) || strcmp(maker->name, "think")) return;
    range->owner = "thought";                  /* a pass of one row: name it by the thought's */
    range->shift = -1 - (long)maker->token[0]; /* number */
}

size_t trace_ranges(const loaded_run *loaded, const dual_outcome *out, const dual_pass *p, size_t r,
                    trace_range *ranges, size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_seen && n < most; i++) {
        const dual_seen *seen = &p->seen[i];
        trace_range *last = n ? &ranges[n - 1] : NULL, *range = &ranges[n];
        if (seen->begin[r] == seen->end[r]) continue;
        find_owner(loaded, out, p, seen->cache, range);
        range->from = seen->begin[r];
        range->to = seen->end[r];
        if (last && last->pass == range->pass && last->owner == range->owner &&
            last->to == range->from)
            last->to = range->to;
        else n++;
    }
    return n;
}

/* Appends "OWNER a-b" for the rows from .. to-1. */
static size_t append_range(const char *owner, long from, long to, char *out, size_t size,
                           size_t n) {
    if (!owner || n >= size) return n;
    const char *comma = n ? ", " : "";
    const int added = to - from > 1
                          ? snprintf(out + n, size - n, "%s%s %ld-%ld", comma, owner, from, to - 1)
                          : snprintf(out + n, size - n, "%s%s %ld", comma, owner, from);
    return n + (size_t)added;
}

void trace_sees(const loaded_run *loaded, const dual_outcome *out, const dual_pass *p, size_t r,
                char *text, size_t size) {
    trace_range range[TRACE_RANGES];
    const size_t ranges = trace_ranges(loaded, out, p, r, range, TRACE_RANGES);
    const char *shown = NULL;              /* what is not written yet */
    long from = 0, to = -1;
    size_t n = 0;
    *text = 0;
    for (size_t i = 0; i < ranges; i++) {
        const long begin = range[i].from + range[i].shift;
        if (!shown || strcmp(shown, range[i].owner) || begin != to) {
            n = append_range(shown, from, to, text, size, n);
            shown = range[i].owner;
            from = begin;
        }
        to = range[i].to + range[i].shift;
    }
    append_range(shown, from, to, text, size, n);
}

double trace_norm(const dual_tensor *t, size_t r) {
    double square = 0;
    for (size_t i = 0; i < t->cols; i++) {
        const double x = (double)t->data[r * t->stride + i];
        square += x * x;
    }
    return sqrt(square);
}

/* The `most` largest of n numbers, largest first; of equal ones the first. Returns how many. */
static size_t largest(const dual_real *x, size_t n, size_t most, size_t *top) {
    size_t found = 0;
    for (; found < most && found < n; found++) {
        size_t best = SIZE_MAX;
        for (size_t v = 0; v < n; v++) {
            int taken = 0;
            for (size_t i = 0; i < found; i++) taken = taken || v == top[i];
            if (!taken && (best == SIZE_MAX || x[v] > x[best])) best = v;
        }
        top[found] = best;
    }
    return found;
}

/* What a row would say next: the likeliest tokens and their shares, without those that round to
 * 0 %. Returns how many. */
enum { LIKELIEST = 3 };
static size_t likeliest(const dual_tensor *logits, size_t r, size_t *top, double *share) {
    const dual_real *x = logits->data + r * logits->stride;
    const size_t found = largest(x, logits->cols, LIKELIEST, top);
    double sum = 0;
    size_t n = 0;
    for (size_t v = 0; v < logits->cols; v++) sum += exp((double)(x[v] - x[top[0]]));
    for (; n < found; n++) {
        share[n] = exp((double)(x[top[n]] - x[top[0]])) / sum;
        if (100 * share[n] < 0.5) break;
    }
    return n;
}

void trace_likeliest(const run_task *task, const dual_tensor *logits, size_t r, char *text,
                     size_t size) {
    size_t top[LIKELIEST] = {0, 0, 0}, n = 0;
    double share[LIKELIEST];
    char word[SPELLED];
    const size_t found = likeliest(logits, r, top, share);
    *text = 0;
    for (size_t i = 0; i < found && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s %.0f%%", i ? ", " : "  ",
                              spell(task, (int32_t)top[i], word), 100 * share[i]);
}

const char *trace_hands_over(const loaded_run *loaded, const dual_outcome *out, size_t which) {
    const dual_injection inject = loaded->r.system.inject;
    if (which + 1 == out->n_passes) return "the answer";
    if (is_coprocessor(loaded, &out->pass[which])) {
        if (inject == DUAL_KV) return "KV_phi, its keys and values of every layer";
        return "Z, its final states (|state|), as the Base's next input";
    }
    if (inject != DUAL_CHAIN) return "KV_theta, its keys and values of every layer";
    return "its cache, and the last row's state as the next input: a thought";
}

int trace_predicts(const dual_pass *p, size_t r, size_t n_x) {
    return p->hidden && (size_t)p->position[r] >= n_x;
}

size_t trace_rows(const dual_pass *p) { return (size_t)p->segment_start[1]; }

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_token(json_writer *j, const char *key, const run_task *task, int32_t id) {
    char word[SPELLED];
    json_text(j, key, spell(task, id, word));
}

static void json_sees(json_writer *j, const trace_view *v, const dual_pass *p, size_t r) {
    trace_range range[TRACE_RANGES];
    const size_t n = trace_ranges(v->loaded, v->out, p, r, range, TRACE_RANGES);
    json_open(j, "sees", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(j, NULL, '{');
        json_text(j, "owner", range[i].owner);
        json_number(j, "pass", range[i].pass < 0 ? NAN : (double)range[i].pass);
        json_number(j, "from", (double)range[i].from);
        json_number(j, "to", (double)(range[i].to - 1));
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* Layers, in them heads, in them a weight for each key in the order of `sees`. */
static void json_attention(json_writer *j, const trace_view *v, size_t which, size_t r) {
    const attention_map *a = &v->attention[which];
    const dual_pass *p = &v->out->pass[which];
    size_t keys = 0;
    for (size_t i = 0; i < p->n_seen; i++)
        keys += (size_t)(p->seen[i].end[r] - p->seen[i].begin[r]);
    json_open(j, "attention", '[');
    for (size_t l = 0; l < a->layers; l++) {
        json_open(j, NULL, '[');
        for (size_t h = 0; h < a->heads; h++) {
            const dual_real *weight = a->weight + ((l * a->heads + h) * a->rows + r) * a->keys;
            json_open(j, NULL, '[');
            for (size_t k = 0; k < keys; k++) json_number(j, NULL, (double)weight[k]);
            json_close(j, ']');
        }
        json_close(j, ']');
    }
    json_close(j, ']');
}

static const char *kind_of_row(const dual_pass *p, size_t r, size_t n_x) {
    if (p->token[r] < 0) return "latent";
    if ((size_t)p->position[r] < n_x) return "prompt";
    return strcmp(part_of_row(p, r, n_x), " (cue)") ? "answer" : "cue";
}

static void json_row(json_writer *j, const trace_view *v, size_t which, size_t r) {
    const dual_pass *p = &v->out->pass[which];
    char what[40];
    json_open(j, NULL, '{');
    trace_row(v->loaded, p, r, v->n_x, what, sizeof what);
    json_text(j, "what", what);
    json_text(j, "kind", kind_of_row(p, r, v->n_x));
    json_number(j, "position", p->position[r]);
    json_sees(j, v, p, r);
    json_number(j, "input", trace_norm(p->input, r));
    json_number(j, "state", p->hidden ? trace_norm(p->hidden, r) : NAN);
    json_open(j, "likeliest", '[');
    if (p->hidden) {
        size_t top[LIKELIEST] = {0, 0, 0};
        double share[LIKELIEST];
        const size_t n = likeliest(v->logits[which], r, top, share);
        for (size_t i = 0; i < n; i++) {
            json_open(j, NULL, '{');
            json_token(j, "token", &v->loaded->task, (int32_t)top[i]);
            json_number(j, "share", share[i]);
            json_close(j, '}');
        }
    }
    json_close(j, ']');
    if (v->attention) json_attention(j, v, which, r);
    json_close(j, '}');
}

static void json_pass(json_writer *j, const trace_view *v, size_t which) {
    const dual_pass *p = &v->out->pass[which];
    json_open(j, NULL, '{');
    json_text(j, "name", p->name);
    json_text(j, "model", is_coprocessor(v->loaded, p) ? "Coprocessor" : "Base");
    json_flag(j, "cache_only", p->cache_only);
    json_flag(j, "recorded", trace_is_recorded(v->loaded, p));
    json_flag(j, "gradient_returns", trace_gradient_returns(v->loaded, p));
    json_text(j, "trains", trace_recorded(v->loaded, p));
    json_text(j, "hands_over", trace_hands_over(v->loaded, v->out, which));
    json_open(j, "rows", '[');
    for (size_t r = 0; r < trace_rows(p); r++) json_row(j, v, which, r);
    json_close(j, ']');
    json_close(j, '}');
}

void trace_json(json_writer *j, const trace_view *v) {
    const prompt_answer *prompt = v->prompt;
    char gradient[160];
    json_text(j, "prompt", prompt->how.text);
    json_text(j, "y", v->y);
    json_flag(j, "given", v->given);
    if (prompt->n_rows > 1) json_text(j, "latents_of", prompt->rows[1].row.question);
    json_open(j, "passes", '[');
    for (size_t i = 0; i < v->out->n_passes; i++) json_pass(j, v, i);
    json_close(j, ']');
    trace_gradient(&v->loaded->r.system, gradient, sizeof gradient);
    json_text(j, "gradient", gradient);
    json_number(j, "loss", v->loss);
    json_text(j, "grade", v->grade);
}

/* ---- Running ------------------------------------------------------------------------------- */

typedef struct {
    prompt_answer *prompt;
    const trace_options *how;
    trace_show *show;
    void *to;
} trace_job;

/* Shows the passes while the context holds them. */
static int show(dual_ctx *c, const trace_job *j, trace_view *v) {
    const loaded_run *loaded = v->loaded;
    const example *row = v->row = j->prompt->rows;
    const int ended = row->n_y > 0 && row->y[row->n_y - 1] == loaded->task.end;
    size_t length;
    char *y = tokens_shown(c, &loaded->task, row->y, row->n_y);
    char *graded = tokens_text(c, &loaded->task, row->y, row->n_y - (size_t)ended, &length);
    const int ok = y && graded;
    if (ok) {
        prompt_judgement judgement;
        prompt_judge(j->prompt, graded, length, ended, &judgement);
        v->prompt = j->prompt;
        v->given = *j->how->answer != 0;
        v->loss = (double)v->out->loss->data[0];
        v->y = y;
        v->grade = judgement.words;
        j->show(v, j->to);
    }
    free(y);
    free(graded);
    return ok;
}

/* y becomes the run's own answer, with the end token if one came. */
static int answer_itself(dual_ctx *c, loaded_run *loaded, prompt_answer *p) {
    example *row = p->rows;
    if (!prompt_generate(c, loaded, p)) return 0;
    const size_t length = p->length[0], most = p->how.max_new;
    row->y = p->tokens;
    row->n_y = length < most ? length + 1 : most;
    if (length < most) p->tokens[length] = loaded->task.end;
    return 1;
}

/* What the passes' states would say next, and who looks at whom. */
static int look_closer(dual_ctx *c, const dual_outcome *out, dual_tensor **logits,
                       attention_map *attention) {
    int ok = 1;
    for (size_t i = 0; ok && i < out->n_passes; i++) {
        const dual_pass *p = &out->pass[i];
        logits[i] = p->hidden ? dual_logits(c, p->model, p->hidden) : NULL;
        if (attention) ok = attention_of(c, p, &attention[i]);
    }
    return ok;
}

static int trace_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const trace_job *j = job;
    prompt_answer *prompt = j->prompt;
    run_prompts p;
    dual_outcome out;
    if (!*j->how->answer && !answer_itself(c, loaded, prompt)) return 0;
    dual_exchange e = loaded_run_exchange(c, loaded);
    run_prompts_fill(&p, &loaded->task, prompt->rows, prompt->n_rows, WITH_TARGETS);
    p.batch.ablation = prompt->how.ablation;
    if (!dual_batch_check(c, &e, &p.batch)) return 0;
    c->inference = 1;
    dual_run(c, &e, &p.batch, &out);
    dual_tensor **logits = work_room(c, out.n_passes, sizeof(dual_tensor *));
    attention_map *attention = NULL;
    if (j->how->attention) attention = work_room(c, out.n_passes, sizeof *attention);
    trace_view v = {.loaded = loaded, .out = &out, .logits = logits, .attention = attention,
                    .n_x = p.group[0].prefix};
    const int ok = look_closer(c, &out, logits, attention) && (!c->memory || show(c, j, &v));
    free(logits);
    free(attention);
    return ok;
}

/* The given answer as ids, with the end token, in a block of the caller's. */
static int32_t *encode_answer(dual_ctx *c, const run_task *task, const char *text, size_t *n) {
    char error[sizeof c->error];
    int32_t *y = text_ids(c, task, text, n);
    if (y) y[(*n)++] = task->end;
    else {
        memcpy(error, c->error, sizeof error);
        dual_failed(c, "--answer: %s", error);
    }
    return y;
}

int trace_run(dual_ctx *c, loaded_run *loaded, prompt_answer *p, const trace_options *how,
              trace_show *shown, void *to) {
    trace_job job = {p, how, shown, to};
    int32_t *y = NULL;
    size_t *most = &p->how.max_new;
    if (*most > 1 && *most > loaded_run_positions(loaded, p->rows->n_x)) (*most)--;
    if (*how->answer) {
        y = encode_answer(c, &loaded->task, how->answer, &p->rows->n_y);
        if (!y) return 0;
        p->rows->y = y;
    }
    const int ok = loaded_run_do(c, loaded, trace_work, &job);
    p->rows->y = NULL;                 /* y ends here, or with the prompt's tokens */
    p->rows->n_y = 0;
    free(y);
    return ok;
}
