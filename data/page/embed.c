/* embed.c: see embed.h. */
#include "embed.h"
#include "../files/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the run goes: page.html has this line once. */
static const char PLACE[] = "<script type=\"application/json\" id=\"run\">null</script>";

/* Of a run's folder. Its weights come from memory. */
static const char *const FILES[] = {
    "run.json", "base/config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt", "encoder.json",
    "vocab.bpe"
};

/* ---- Base64 ---------------------------------------------------------------------------------- */

typedef struct {
    FILE *to;
    uint32_t bits;
    int bytes;                     /* 0..2 that wait in bits */
} base64;

static void put_digits(const base64 *b, uint32_t bits, int digits) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 4; i++)
        fputc(i < digits ? letters[bits >> (18 - 6 * i) & 63] : '=', b->to);
}

static void put_byte(base64 *b, unsigned byte) {
    b->bits = b->bits << 8 | byte;
    if (++b->bytes < 3) return;
    put_digits(b, b->bits, 4);
    b->bits = 0;
    b->bytes = 0;
}

static void end_base64(base64 *b) {
    if (b->bytes) put_digits(b, b->bits << (b->bytes == 1 ? 16 : 8), b->bytes + 1);
}

static void put_bytes(FILE *to, const char *bytes, size_t n) {
    base64 b = {to, 0, 0};
    for (size_t i = 0; i < n; i++) put_byte(&b, (unsigned char)bytes[i]);
    end_base64(&b);
}

/* The numbers of a tensor as 32-bit floats, whatever the machine's order of bytes. */
static void put_tensor(FILE *to, const dual_tensor *t) {
    base64 b = {to, 0, 0};
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        const float x = (float)dual_number(t, i);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        for (int shift = 0; shift < 32; shift += 8) put_byte(&b, bits >> shift & 255);
    }
    end_base64(&b);
}

/* ---- The run as JSON ------------------------------------------------------------------------- */

typedef struct {
    FILE *to;
    const char *prompt, *other;
} embed_job;

/* In base64 too: a text may hold what would end the script that it stands in. */
static void put_text(FILE *to, const char *name, const char *text) {
    fprintf(to, "\"%s\":\"", name);
    put_bytes(to, text, strlen(text));
    fputs("\",", to);
}

static int put_files(dual_ctx *c, const char *folder, FILE *to) {
    char path[RUN_PATH + 40];
    const char *comma = "";
    fputs("\"files\":{", to);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        size_t length;
        if (!data_has(folder, FILES[i])) continue;
        snprintf(path, sizeof path, "%s/%s", folder, FILES[i]);
        char *text = dual_text_read(c, path, &length);
        if (!text) return 0;
        fprintf(to, "%s\"%s\":\"", comma, FILES[i]);
        put_bytes(to, text, length);
        fputc('"', to);
        free(text);
        comma = ",";
    }
    fputs("},", to);
    return 1;
}

static int embed_work(dual_ctx *c, loaded_run *loaded, void *job) {
    const embed_job *j = job;
    const countdown_options *o = &loaded->task.countdown;
    dual_param *p;
    size_t numbers = 0;
    char owner;
    for (size_t i = 0; (p = dual_exchange_param(&loaded->r.exchange, i, &owner)) != NULL; i++)
        numbers += p->tensor->rows * p->tensor->cols;
    if (numbers > PAGE_NUMBERS_MAX)
        return dual_failed(c, "%lu parameters: a page can hold %d", (unsigned long)numbers,
                           PAGE_NUMBERS_MAX);
    if (!c->memory) return 1;
    fprintf(j->to, "{\"task\":\"%s\",\"step\":%llu,\"range\":[%d,%d],\"targets\":[%d,%d],",
            task_name(loaded->task.kind), (unsigned long long)loaded->r.step, o->number_min,
            o->number_max, o->target_min, o->target_max);
    put_text(j->to, "prompt", j->prompt);
    put_text(j->to, "other", j->other);
    if (!put_files(c, loaded->r.set.out, j->to)) return 0;
    fputs("\"weights\":[", j->to);
    for (size_t i = 0; (p = dual_exchange_param(&loaded->r.exchange, i, &owner)) != NULL; i++) {
        fputs(i ? ",\"" : "\"", j->to);
        put_tensor(j->to, p->tensor);
        fputc('"', j->to);
    }
    fputs("]}", j->to);
    return 1;
}

/* ---- The page -------------------------------------------------------------------------------- */

int page_embed(dual_ctx *c, loaded_run *loaded, const char *prompt, const char *other,
               const char *page, const char *out) {
    size_t length;
    char *text = dual_text_read(c, page, &length);
    if (!text)
        return dual_failed(c, "--page %s: it cannot be read; make page writes build/dual.html",
                           page);
    char *place = strstr(text, PLACE);
    if (!place) {
        free(text);
        return dual_failed(c, "--page %s: not the page that make page writes, or one that holds a "
                           "run already", page);
    }
    FILE *to = fopen(out, "wb");
    embed_job job = {to, prompt, other};
    const size_t before = (size_t)(place - text) + strlen(PLACE) - strlen("null</script>");
    int ok = to != NULL;
    if (ok) fwrite(text, 1, before, to);
    ok = ok && loaded_run_do(c, loaded, embed_work, &job);
    if (ok) fputs(text + before + strlen("null"), to);
    free(text);
    if (!ok && to) {
        fclose(to);
        remove(out);
        return 0;
    }
    return output_end(c, "--out", out, to);
}
