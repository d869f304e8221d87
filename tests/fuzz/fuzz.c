/* fuzz.c - hostile bytes for every reader, the product's own. FUZZ names the target: an input is
 * one file of it, or the parts of a folder, each behind its length in two bytes, the last without.
 * A part of no bytes is a file that is not there. Built by fuzz.sh:
 *
 *     FUZZ=json build/fuzz/fuzz -max_total_time=60 build/fuzz/corpus/json
 *     FUZZ=json build/fuzz/fuzz crash-1234                      # a finding again
 *     FUZZ=run FUZZ_PACK=FOLDER build/fuzz/fuzz > seed          # a folder as an input
 *
 * FUZZ_ROOM is the folder that it writes to, FUZZ_RUN a run that is put there first.
 *
 * What must hold beyond no crash: a refusal says something, in one line; what was read can be read
 * through; bytes that are encoded come back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../data/eval/compare.h"
#include "../../data/eval/generate.h"
#include "../../data/files/models.h"
#include "../../data/runs/checks.h"
#include "../../data/runs/cost.h"
#include "../../data/runs/json.h"
#include "../../data/runs/log.h"

size_t LLVMFuzzerMutate(uint8_t *, size_t, size_t);
int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
size_t LLVMFuzzerCustomMutator(uint8_t *, size_t, size_t, unsigned);

enum { PARTS = 8, PATH = 600 };
typedef struct { const uint8_t *at; size_t n; } part;
typedef struct {
    const char *name;
    void (*run)(const part *);
    const char *parts[PARTS];          /* their names in a folder */
} target;

static const target *chosen;
static char folder[200];               /* FUZZ_ROOM, where the input's files are: in memory */
static volatile unsigned sum;          /* what is read is used */

static size_t count_parts(void) {
    size_t n = 0;
    while (n < PARTS && chosen->parts[n]) n++;
    return n;
}

static void demand(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void use(const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) sum += b[i];
}

static void use_text(const char *text) { use(text, strlen(text)); }

/* A reader's answer: success, or one line. */
static int read_well(int ok, const char *error) {
    demand(ok || (*error && !strchr(error, '\n')), "a refusal without its line");
    return ok;
}

/* ---- Files in memory ------------------------------------------------------------------------- */

static const char *in(const char *name) {
    static char path[PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* BPE needs the 256 bytes: @BYTES@ in a part stands for them, so that an input stays small. */
static size_t expand(const part *p, uint8_t **out) {
    static uint8_t *room;
    static char bytes[8192];
    static const char mark[] = "@BYTES@";
    if (!*bytes)
        for (int i = 0, next = 0, n = 0; i < 256; i++) {
            const int shown = (i > 32 && i < 127) || (i > 160 && i != 173);
            n += sprintf(bytes + n, "%s\"\\u%04x\":%d", i ? "," : "", shown ? i : 256 + next++, i);
        }
    const uint8_t *at = p->n ? memmem(p->at, p->n, mark, sizeof mark - 1) : NULL;
    if (!at) return 0;
    const size_t before = (size_t)(at - p->at), n = strlen(bytes), skip = sizeof mark - 1;
    free(room);
    *out = room = malloc(p->n + n);
    memcpy(room, p->at, before);
    memcpy(room + before, bytes, n);
    memcpy(room + before + n, at + skip, p->n - before - skip);
    return p->n - skip + n;
}

/* A file is written only when it is another than the last time. */
static void put_file(const char *name, const part *p, size_t slot) {
    static struct { uint8_t *bytes; size_t n; int there; } last[PARTS];
    if (last[slot].there && last[slot].n == p->n &&
        (!p->n || !memcmp(last[slot].bytes, p->at, p->n)))
        return;
    uint8_t *bytes;
    size_t n = expand(p, &bytes);
    if (p->n) {
        const int file = open(in(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        const ssize_t done = n ? write(file, bytes, n) : write(file, p->at, p->n);
        demand(file >= 0 && done >= 0 && !close(file), "no room for the input's own file");
    } else unlink(in(name));
    last[slot].bytes = realloc(last[slot].bytes, p->n + 1);
    if (p->n) memcpy(last[slot].bytes, p->at, p->n);
    last[slot].n = p->n;
    last[slot].there = 1;
}

static char *text_of(const part *p) {
    char *text = malloc(p->n + 1);
    if (p->n) memcpy(text, p->at, p->n);
    text[p->n] = 0;
    return text;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void walk(dual_json j, int depth) {
    dual_json key, value = {NULL, NULL};
    char text[300];
    const size_t n = dual_json_string(j, text, sizeof text);
    use_text(text);
    sum += (unsigned)(dual_json_number(j, 1) > 0) + (unsigned)n;
    if (dual_json_type(j) == '"') {
        const size_t bytes = json_unquote(j, text, sizeof text);
        demand(bytes <= n, "an unquoted text has grown");
    }
    while (dual_json_each(j, &key, &value)) {
        if (key.begin && dual_json_string(key, text, sizeof text) < 256 && !strchr(text, 0)[0])
            sum += (unsigned)dual_json_type(dual_json_get(j, text));
        if (depth < 70) walk(value, depth + 1);
    }
}

static void run_json(const part *p) {
    char why[160] = "", again[4096];
    char *text = text_of(p);
    const dual_json j = dual_json_text(text, p->n, why, sizeof why);
    if (read_well(dual_json_type(j) != 0, why)) walk(j, 0);
    dual_json_quote(text, again, sizeof again);
    use_text(again);
    const size_t full = json_quote(text, p->n, again, sizeof again - 2);
    if (full < sizeof again - 2) {             /* any bytes become a JSON string, and come back */
        char quoted[sizeof again + 2], *back = malloc(p->n + 1);
        snprintf(quoted, sizeof quoted, "\"%s\"", again);
        const dual_json s = dual_json_text(quoted, full + 2, why, sizeof why);
        demand(json_unquote(s, back, p->n + 1) == p->n && !memcmp(back, text, p->n),
               "quoted bytes did not come back");
        free(back);
    }
    free(text);
}

/* ---- Models ---------------------------------------------------------------------------------- */

static void run_safetensors(const part *p) {
    dual_ctx c;
    char note[64];
    dual_init(&c, NULL, 0);
    put_file("x.safetensors", p, 0);
    dual_file *f = dual_file_open(&c, in("x.safetensors"));
    if (!read_well(f != NULL, c.error)) return;
    dual_file_note(f, "note", note, sizeof note);
    use_text(note);
    for (size_t i = 0; i < dual_file_count(f); i++) {
        const dual_entry e = dual_file_entry(f, i);
        demand(dual_file_find(f, e.name) != SIZE_MAX, "an entry is not found");
        if (e.count > 65536) continue;
        dual_real *out = malloc((e.count + 1) * sizeof *out);
        if (read_well(dual_file_read(&c, f, i, out), c.error)) use(out, e.count * sizeof *out);
        free(out);
    }
    dual_file_close(f);
}

static int is_tiny(const dual_config *f) {
    return f->vocab <= 512 && f->positions <= 128 && f->layers <= 3 && f->hidden <= 32 &&
           f->mlp <= 64 && f->heads * f->head_dim <= 64;
}

static void run_config(const part *p) {
    dual_ctx c;
    dual_config f;
    dual_init(&c, NULL, 0);
    put_file("config.json", p, 0);
    if (!read_well(dual_config_read(&c, folder, &f), c.error)) return;
    demand(dual_config_check(&c, &f), "a config is read and then refused");
    if (is_tiny(&f)) dual_model_new(&c, &f);
    dual_done(&c);
}

static void run_model(const part *p) {
    static unsigned char memory[1 << 20];
    char warnings[4096];
    dual_ctx c, count;
    dual_config f;
    for (size_t i = 0; i < 4; i++) put_file(chosen->parts[i], &p[i], i);
    dual_init(&c, memory, sizeof memory);
    if (!read_well(dual_config_read(&c, folder, &f), c.error) || !is_tiny(&f)) return;
    dual_init(&count, NULL, 0);
    dual_model *m = dual_model_new(&count, &f);
    read_well(models_load(&count, m, folder), count.error);
    const int fits = count.peak < sizeof memory;
    dual_done(&count);
    if (!fits) return;
    m = dual_model_new(&c, &f);
    if (!read_well(dual_model_load(&c, m, folder), c.error)) return;
    models_warnings(&c, m, folder, warnings, sizeof warnings);
    use_text(warnings);
}

/* ---- Tokenizers ------------------------------------------------------------------------------ */

/* The text is encoded and comes back, unless NFC may have changed it. */
static void encode_and_back(const tokenizer *t, const part *p) {
    char error[300];
    const int bytes_stay = !strcmp(tokenizer_kind(t), "gpt2");
    char *text = text_of(p);
    for (int added = 0; added < 2; added++) {
        const size_t n = tokenizer_encode(t, text, p->n, added, NULL, 0, error, sizeof error);
        if (!read_well(n != SIZE_MAX, error)) continue;
        int32_t *ids = malloc((n + 1) * sizeof *ids);
        demand(tokenizer_encode(t, text, p->n, added, ids, n, error, sizeof error) == n,
               "encoded twice, another length");
        for (size_t i = 0; i < n; i++)
            demand(ids[i] >= 0 && (size_t)ids[i] < tokenizer_size(t), "an id out of range");
        const size_t length = tokenizer_decode(t, ids, n, NULL, 0);
        char *back = malloc(length + 1);
        tokenizer_decode(t, ids, n, back, length + 1);
        demand(!bytes_stay || (length == p->n && !memcmp(back, text, length)),
               "encoded bytes did not come back");
        use(back, length);
        free(back);
        free(ids);
    }
    const size_t n = p->n / sizeof(int32_t);         /* the same bytes as ids */
    int32_t *ids = malloc(n * sizeof *ids + 1);
    if (n) memcpy(ids, text, n * sizeof *ids);
    const size_t length = tokenizer_decode(t, ids, n, NULL, 0);
    char *out = malloc(length + 1);
    demand(tokenizer_decode(t, ids, n, out, length + 1) == length, "decoded twice, another length");
    use(out, length);
    free(out);
    free(ids);
    free(text);
}

static void run_tokenizer(const part *p) {
    char error[300] = "";
    const size_t n = count_parts() - 1;              /* files, and a text behind them */
    for (size_t i = 0; i < n; i++) put_file(chosen->parts[i], &p[i], i);
    tokenizer *t = tokenizer_open(folder, error, sizeof error);
    if (!read_well(t != NULL, error)) return;
    demand(tokenizer_token(t, tokenizer_end(t), NULL) != NULL, "the end token is none");
    sum += (unsigned)tokenizer_id(t, "1");
    encode_and_back(t, &p[n]);
    tokenizer_free(t);
}

/* One that is opened once: the text alone. */
static void run_text(const part *p) {
    static tokenizer *fixed[4];
    static const char *const files[2] = {"{\"<|endoftext|>\":256,\"th\":257,\"the\":258,@BYTES@}",
                                         "t h\nth e\n"};
    static const char *const config[2] = {"{\"tokenizer_class\":\"GPT2Tokenizer\"}",
                                          "{\"tokenizer_class\":\"Qwen2Tokenizer\"}"};
    char error[300];
    for (int i = 0; i < 2 && !fixed[i]; i++) {
        const char *const names[3] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
        const char *const text[3] = {files[0], files[1], config[i]};
        for (size_t k = 0; k < 3; k++)
            put_file(names[k], &(part){(const uint8_t *)text[k], strlen(text[k])}, k);
        fixed[i] = tokenizer_open(folder, error, sizeof error);
        fixed[2 + i] = tokenizer_of_words(i ? words_new_bytes() : words_new_countdown(), error,
                                          sizeof error);
        demand(fixed[i] && fixed[2 + i], error);
    }
    const part rest = {p->at + (p->n > 0), p->n - (p->n > 0)};
    encode_and_back(fixed[p->n ? p->at[0] & 3 : 0], &rest);
}

/* ---- Rows and graders ------------------------------------------------------------------------ */

/* Anything that is done with a row that was read. */
static void use_row(task_kind kind, const task_row *row) {
    use_text(row->question);
    use_text(row->answer);
    for (size_t i = 0; i < row->n_steps; i++) use_text(task_step(row, i));
    sum += (unsigned)task_hash(kind, row) + (unsigned)task_steps(kind, row);
    if (kind != TASK_COUNTDOWN || !*row->answer) return;
    demand(task_grade(kind, row, row->answer) == 0, "an answer that was read is wrong");
}

static void read_rows(task_kind kind, const char *name, const part *p) {
    char error[400] = "";
    task_set set;
    put_file(name, p, 0);
    for (int skip = 0; skip < 2; skip++) {
        if (!read_well(task_read(kind, in(name), skip, &set, error, sizeof error), error)) continue;
        for (size_t i = 0; i < set.count; i++) {
            const task_row row = task_get(&set, i);
            unsigned char shared;
            use_row(kind, &row);
            demand(task_overlap(kind, &row, 1, &set, &shared) == 1, "a row is not its file's");
        }
        use_text(set.complaints);
        task_free(&set);
    }
}

static void run_countdown(const part *p) { read_rows(TASK_COUNTDOWN, "x.jsonl", p); }
static void run_gsm8k(const part *p) { read_rows(TASK_GSM8K, "x.jsonl", p); }
static void run_documents(const part *p) { read_rows(TASK_TEXT, "x.jsonl", p); }
static void run_choices(const part *p) { read_rows(TASK_CHOICES, "x.jsonl", p); }

static void run_prosqa(const part *p) {
    static prosqa_stats stats;
    char error[400] = "", report[4000];
    read_rows(TASK_PROSQA, "x.jsonl", p);
    memset(&stats, 0, sizeof stats);
    if (!read_well(prosqa_measure_file(&stats, in("x.jsonl"), error, sizeof error), error)) return;
    prosqa_report(&stats, report, sizeof report);
    use_text(report);
}

/* question, gold answer, generated text */
static void run_grade_texts(const part *p) {
    char *text[3], value[64];
    task_set set;
    countdown_problem problem;
    memset(&set, 0, sizeof set);
    for (size_t i = 0; i < 3; i++) text[i] = text_of(&p[i]);
    demand(task_put(&set, text[0], strlen(text[0])) && task_put(&set, text[1], strlen(text[1])) &&
           task_close(&set, 0), "out of memory");
    const task_row row = task_get(&set, 0);
    for (int kind = TASK_COUNTDOWN; kind <= TASK_CHOICES; kind++) {
        const int verdict = task_grade((task_kind)kind, &row, text[2]);
        demand(verdict >= 0 && verdict < TASK_VERDICTS, "no such verdict");
        sum += (unsigned)task_steps((task_kind)kind, &row);
    }
    countdown_value(task_final(text[2]), value, sizeof value);
    use_text(value);
    if (countdown_parse(text[0], &problem)) {
        dual_rng rng = dual_rng_seed(1, 1);
        sum += (unsigned)countdown_uses_each_once(&problem, text[2]) +
               (unsigned)countdown_plus_minus_suffice(&problem);
        if (problem.count <= 3) sum += (unsigned)countdown_solvable(&problem);
        sum += countdown_floor(&problem, &rng, 3) > 0;
    }
    task_free(&set);
    for (size_t i = 0; i < 3; i++) free(text[i]);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static void give_up(const char *message) {
    fprintf(stderr, "fuzz: %s\n", message);
    abort();
}

static void run_settings_file(const part *p) {
    static run_settings set, again;
    dual_ctx c;
    dual_system system;
    char error[300] = "", first[RUN_PATH], second[RUN_PATH];
    dual_init(&c, NULL, 0);
    put_file("run.json", p, 0);
    if (!read_well(run_load_settings(&c, folder, &set), c.error)) return;
    if (read_well(run_system(&set, &system, error, sizeof error), error))
        read_well(run_check_settings(&c, &set, &system), c.error);
    if (p->n % 8) return;                  /* writing takes longer than all before it */
    snprintf(set.out, sizeof set.out, "%s/again", folder);
    mkdir(set.out, 0700);
    demand(run_save_settings(&c, &set) && run_load_settings(&c, set.out, &again),
           "settings cannot be written and read again");
    for (const option *o = RUN_OPTIONS; o->name; o++) {
        if (!*o->name || o->saved == UNSAVED) continue;
        option_print(o, &set, first, sizeof first);
        option_print(o, &again, second, sizeof second);
        demand(!strcmp(first, second), "settings written and read again are others");
    }
}

static int answer_briefly(dual_ctx *c, loaded_run *loaded, void *prompt) {
    return prompt_generate(c, loaded, prompt);
}

/* What `./eval` and `--resume` do with a folder. */
static void run_open_and_use(const char *where) {
    static loaded_run loaded;
    static unsigned char memory[1 << 21];
    dual_ctx c;
    dual_adamw moments;
    prompt_answer answer;
    const prompt_options how = {.text = "numbers: 1 2 target: 3", .max_new = 2};
    dual_init(&c, NULL, 0);
    c.fatal = give_up;
    if (!read_well(loaded_run_open(&c, where, "", AS_TRAINED, &loaded), c.error)) return;
    if (!is_tiny(&loaded.r.shape) || loaded.r.system.latents > 64) {
        loaded_run_close(&loaded);
        return;
    }
    if (read_well(prompt_open(&c, &loaded, &how, &answer), c.error)) {
        read_well(loaded_run_do(&c, &loaded, answer_briefly, &answer), c.error);
        prompt_close(&answer);
    }
    dual_ctx real;
    dual_init(&real, memory, sizeof memory);
    real.fatal = give_up;
    if (read_well(run_build(&real, &loaded.r), real.error)) {
        dual_exchange_train(&real, &loaded.r.exchange);
        dual_adamw_new(&real, &moments, &loaded.r.exchange);
        if (read_well(run_load(&real, &loaded.r, where, &moments), real.error))
            sum += (unsigned)run_stage(&loaded.r);
    }
    loaded_run_close(&loaded);
}

static void run_folder(const part *p) {
    for (size_t i = 0; chosen->parts[i]; i++) put_file(chosen->parts[i], &p[i], i);
    run_open_and_use(folder);
}

static void seen(void *what, uint64_t step, double score) {
    (void)what;
    sum += (unsigned)step + (unsigned)(score > 0);
}

static void run_log_file(const part *p) {
    dual_ctx c;
    run_log l;
    double at[4] = {0};
    char *text = text_of(p);
    dual_init(&c, NULL, 0);
    memset(&l, 0, sizeof l);
    put_file("log.csv", p, 0);
    demand(!(run_log_begin(&c, &l, folder, 1000, 0, seen, NULL) < 0), "out of memory");
    use_text(l.text);
    sum += (unsigned)run_log_has_rows(&c, folder);
    read_curve(text, 1000, at);
    free(l.text);
    free(text);
}

/* ---- The table ------------------------------------------------------------------------------- */

static const target TARGETS[] = {
    {"json", run_json, {"x"}},
    {"safetensors", run_safetensors, {"x"}},
    {"config", run_config, {"x"}},
    {"model", run_model, {"config.json", "model.safetensors", "model.safetensors.index.json",
                          "part.safetensors"}},
    {"tokenizer", run_tokenizer, {"tokenizer.json", "tokenizer_config.json", "text"}},
    {"merges", run_tokenizer, {"vocab.json", "merges.txt", "tokenizer_config.json",
                               "added_tokens.json", "special_tokens_map.json", "text"}},
    {"words", run_tokenizer, {"vocab.txt", "text"}},
    {"encode", run_text, {"x"}},
    {"countdown", run_countdown, {"x"}},
    {"gsm8k", run_gsm8k, {"x"}},
    {"prosqa", run_prosqa, {"x"}},
    {"text", run_documents, {"x"}},
    {"choices", run_choices, {"x"}},
    {"graders", run_grade_texts, {"question", "answer", "text"}},
    {"settings", run_settings_file, {"x"}},
    {"log", run_log_file, {"x"}},
    {"state", run_folder, {"state.safetensors"}},
    {"run", run_folder, {"run.json", "vocab.txt", "base/config.json", "base/model.safetensors",
                         "coprocessor/config.json", "coprocessor/model.safetensors",
                         "state.safetensors"}},
};

/* Slices of the input; what its lengths promise and it has not got is cut. */
static void split(const uint8_t *data, size_t size, part *p) {
    const size_t n = count_parts();
    for (size_t i = 0; i < n; i++) {
        size_t length = size;
        if (i + 1 < n) {
            length = size >= 2 ? data[0] + 256u * data[1] : 0;
            data += size >= 2 ? 2 : size;
            size -= size >= 2 ? 2 : size;
            if (length > size) length = size;
        }
        p[i].at = data;
        p[i].n = length;
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    part p[PARTS] = {{NULL, 0}};
    split(data, size, p);
    chosen->run(p);
    return 0;
}

/* One part changes at a time, so that the others stay what they are. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    const size_t n = count_parts();
    part p[PARTS];
    if (n == 1) return LLVMFuzzerMutate(data, size, most);
    uint8_t *old = malloc(size + 1);
    memcpy(old, data, size);
    split(old, size, p);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t head = i + 1 < n ? 2 : 0;
        if (used + head > most) break;
        size_t room = most - used - head, length = p[i].n < room ? p[i].n : room;
        if (head && room > 65535) room = 65535;
        memcpy(data + used + head, p[i].at, length);
        if (i == seed % n && room) length = LLVMFuzzerMutate(data + used + head, length, room);
        if (head) data[used] = (uint8_t)length;
        if (head) data[used + 1] = (uint8_t)(length >> 8);
        used += head + length;
    }
    free(old);
    return used;
}

/* The files of `from` as one input on stdout. */
static void pack(const char *from) {
    const size_t n = count_parts();
    for (size_t i = 0; i < n; i++) {
        char path[PATH], *text = NULL;
        dual_ctx c;
        size_t length = 0;
        dual_init(&c, NULL, 0);
        snprintf(path, sizeof path, "%s/%s", from, chosen->parts[i]);
        if (!access(path, R_OK)) text = dual_text_read(&c, path, &length);
        if (i + 1 < n) printf("%c%c", (int)(length & 255), (int)(length >> 8));
        if (text) fwrite(text, 1, length, stdout);
        free(text);
    }
    fflush(stdout);
    _exit(0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = getenv("FUZZ"), *from = getenv("FUZZ_PACK"), *base = getenv("FUZZ_RUN");
    const char *room = getenv("FUZZ_ROOM");
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof TARGETS / sizeof *TARGETS; i++) {
        if (!name) printf("%s\n", TARGETS[i].name);
        if (name && !strcmp(name, TARGETS[i].name)) chosen = &TARGETS[i];
    }
    if (!chosen) {
        if (name) fprintf(stderr, "fuzz: there is no target %s\n", name);
        exit(name ? 2 : 0);
    }
    if (from) pack(from);
    snprintf(folder, sizeof folder, "%s", room ? room : "fuzz.tmp");
    demand(!mkdir(folder, 0700) || errno == EEXIST, "FUZZ_ROOM cannot be made");
    mkdir(in("base"), 0700);
    mkdir(in("coprocessor"), 0700);
    if (base && *base) {                   /* a whole run, of which only the parts change */
        char command[PATH];
        snprintf(command, sizeof command, "cp -r '%s/.' '%s'", base, folder);
        demand(!system(command), "FUZZ_RUN cannot be copied");
    }
    return 0;
}
