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

const char *trace_recorded(const loaded_run *loaded, const dual_pass *p) {
    const dual_system *system = &loaded->r.system;
    const int read = !strcmp(p->name, "read");
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

/* Whether two caches hold the same keys in some layer: a cache that was handed on may lack some. */
static int share_keys(const dual_cache *a, const dual_cache *b, size_t layers) {
    for (size_t l = 0; l < layers; l++)
        if (a->k[l] && a->k[l] == b->k[l]) return 1;
    return 0;
}

/* Whose cache it is, and by how much its rows' numbers are shifted. */
static const char *owner_of(const loaded_run *loaded, const dual_outcome *out,
                            const dual_seen *seen, long *shift) {
    *shift = 0;
    if (!seen->cache) return "own";
    for (size_t k = 0; k < out->n_passes; k++) {
        const dual_pass *p = &out->pass[k];
        if (!share_keys(seen->cache, &p->cache, loaded->r.shape.layers)) continue;
        if (is_coprocessor(loaded, p)) return "Cop";
        if (strcmp(p->name, "think")) return "Base";
        *shift = -1 - (long)p->token[0];       /* a pass of one row: name it by the thought's */
        return "thought";                      /* number */
    }
    return "det. Base";                        /* no pass owns it: it is the detached copy */
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
    const char *shown = NULL;              /* the range that is not written yet */
    long from = 0, to = -1, shift;
    size_t n = 0;
    *text = 0;
    for (size_t i = 0; i < p->n_seen; i++) {
        const dual_seen *seen = &p->seen[i];
        if (seen->begin[r] == seen->end[r]) continue;
        const char *owner = owner_of(loaded, out, seen, &shift);
        const long begin = seen->begin[r] + shift, end = seen->end[r] + shift;
        if (!shown || strcmp(shown, owner) || begin != to) {
            n = append_range(shown, from, to, text, size, n);
            shown = owner;
            from = begin;
        }
        to = end;
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

void trace_likeliest(const run_task *task, const dual_tensor *logits, size_t r, char *text,
                     size_t size) {
    const dual_real *x = logits->data + r * logits->stride;
    size_t top[3] = {0, 0, 0}, n = 0;
    const size_t found = largest(x, logits->cols, 3, top);
    double sum = 0;
    char word[SPELLED];
    for (size_t v = 0; v < logits->cols; v++) sum += exp((double)(x[v] - x[top[0]]));
    *text = 0;
    for (size_t i = 0; i < found && n < size; i++) {
        const double percent = 100 * exp((double)(x[top[i]] - x[top[0]])) / sum;
        if (percent < 0.5) break;
        n += (size_t)snprintf(text + n, size - n, "%s%s %.0f%%", i ? ", " : "  ",
                              spell(task, (int32_t)top[i], word), percent);
    }
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
    if ((size_t)p->position[r] < n_x) return 0;
    return p->token[r] >= 0 || (r + 1 < p->rows && p->token[r + 1] >= 0);
}

/* ---- Running ------------------------------------------------------------------------------- */

typedef struct {
    prompt_answer *prompt;
    int given;
    trace_show *show;
    void *to;
} trace_job;

/* Shows the passes while the context holds them. */
static int show(dual_ctx *c, const loaded_run *loaded, const trace_job *j, const dual_outcome *out,
                const dual_tensor *logits, size_t n_x) {
    const example *row = j->prompt->rows;
    const int ended = row->n_y > 0 && row->y[row->n_y - 1] == loaded->task.end;
    size_t length;
    char *y = tokens_shown(c, &loaded->task, row->y, row->n_y);
    char *graded = tokens_text(c, &loaded->task, row->y, row->n_y - (size_t)ended, &length);
    const int ok = y && graded;
    if (ok) {
        prompt_judgement judgement;
        prompt_judge(j->prompt, graded, length, ended, &judgement);
        const trace_view v = {loaded, j->prompt, out, logits, n_x, row, j->given,
                              (double)out->loss->data[0], y, judgement.words};
        j->show(&v, j->to);
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

static int trace_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const trace_job *j = job;
    run_prompts p;
    dual_outcome out;
    if (!j->given && !answer_itself(c, loaded, j->prompt)) return 0;
    dual_exchange e = loaded_run_exchange(c, loaded);
    run_prompts_fill(&p, &loaded->task, j->prompt->rows, 1, WITH_TARGETS);
    c->inference = 1;
    dual_run(c, &e, &p.batch, &out);
    const dual_tensor *logits = dual_logits(c, loaded->r.base, out.pass[out.n_passes - 1].hidden);
    return !c->memory || show(c, loaded, j, &out, logits, p.group[0].prefix);
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

int trace_run(dual_ctx *c, loaded_run *loaded, prompt_answer *p, const char *given,
              trace_show *shown, void *to) {
    trace_job job = {p, *given != 0, shown, to};
    int32_t *y = NULL;
    size_t *most = &p->how.max_new;
    if (*most > 1 && *most > loaded_run_positions(loaded, p->rows->n_x)) (*most)--;
    if (job.given) {
        y = encode_answer(c, &loaded->task, given, &p->rows->n_y);
        if (!y) return 0;
        p->rows->y = y;
    }
    const int ok = loaded_run_do(c, loaded, trace_work, &job);
    p->rows->y = NULL;                 /* y ends here, or with the prompt's tokens */
    p->rows->n_y = 0;
    free(y);
    return ok;
}
