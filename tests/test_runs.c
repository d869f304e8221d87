/* test_runs.c - rows as token ids: which steps are shown in which stage, groups in text, batches;
 * texts of any bytes in run.json and in answers; how much memory a run may take.
 *
 *     test_runs FOLDER     for its own files
 */
#include "check.h"
#include "../data/files/system.h"
#include "../data/runs/batches.h"
#include "../data/runs/header.h"
#include "../data/runs/json.h"
#include "../data/runs/cost.h"
#include "../data/runs/log.h"
#include "../data/runs/platform.h"
#include "../data/runs/run.h"
#include "../data/runs/scoring.h"

static char scratch[400];              /* FOLDER/test_runs; behind it .txt, .json .. */

static const char *write_file(const char *extension, const char *text, size_t length) {
    static char path[440];
    snprintf(path, sizeof path, "%s%s", scratch, extension);
    check_write(path, text, length);
    return path;
}

static const char *write_text(const char *extension, const char *text) {
    return write_file(extension, text, strlen(text));
}

static run_settings settings_of(const char *task) {
    run_settings set = {0};
    options_defaults(RUN_OPTIONS, &set);
    snprintf(set.task, sizeof set.task, "%s", task);
    set.batch = 4;
    return set;
}

/* ---- Rows and their steps ------------------------------------------------------------------- */

/* Opens the task of these settings; rows: the rows of its file, or NULL. */
static run_task open_task(const run_settings *set, task_set *rows) {
    run_task t;
    char error[300] = "";
    if (!run_task_open(set, NULL, 1, &t, error, sizeof error)) check_fatal(error);
    check_that(1, "opened");
    if (rows && !task_read(t.kind, set->data, 0, rows, error, sizeof error)) check_fatal(error);
    return t;
}

static void x_is(const run_task *t, const example *e, const char *expected) {
    char text[400];
    tokenizer_decode(t->tokens, e->x, e->n_x, text, sizeof text);
    check_that(!strcmp(text, expected), "x: expected \"%s\", got \"%s\"", expected, text);
}

static void y_is(const run_task *t, const example *e, const char *expected) {
    char text[400];
    check_that(e->y[e->n_y - 1] == t->end, "y ends with the end token");
    tokenizer_decode(t->tokens, e->y, e->n_y - 1, text, sizeof text);
    check_that(!strcmp(text, expected), "y: expected \"%s\", got \"%s\"", expected, text);
}

/* An example of the row as these settings and this stage show it. */
static example example_of(const run_settings *set, const run_task *t, size_t stage,
                          const task_row *row) {
    example e;
    char error[300] = "";
    check_that(run_example(set, t, stage, row, &e, error, sizeof error), "an example: %s", error);
    return e;
}

static void free_example(example *e) {
    free(e->packed);
    free(e->text);
}

static run_batch batch_of(const run_settings *set, run_task *t, uint64_t step) {
    run_batch b;
    char error[300] = "";
    if (!run_batch_make(set, t, step, &b, error, sizeof error)) check_fatal(error);
    check_that(1, "a batch");
    return b;
}

#define ASKED "Tom is a lempus. Every lempus is a scrompus. Sam is a impus. Is Tom a impus or " \
              "scrompus?"
#define PROSQA_ROW "{\"question\": \"" ASKED "\", \"steps\": [\"Tom is a lempus.\", " \
                   "\"Every lempus is a scrompus.\"], \"answer\": \"Tom is a scrompus.\"}"

/* Two rows of two steps; two stages of ten steps each, and the one behind them. */
static run_settings curriculum(void) {
    run_settings set = settings_of("prosqa");
    snprintf(set.data, sizeof set.data, "%s",
             write_text(".json", "[" PROSQA_ROW ", " PROSQA_ROW "]"));
    snprintf(set.steps_shown, sizeof set.steps_shown, "curriculum");
    set.stages = 2;
    set.stage_steps = 10;
    set.steps = 40;
    return set;
}

static void test_stages(void) {
    static const struct { const char *y; size_t targets, latents; } stage[] = {
        {"Tom is a lempus.\nEvery lempus is a scrompus.\n### Tom is a scrompus.", 20, 0},
        {"Every lempus is a scrompus.\n### Tom is a scrompus.", 14, 3},
        {"### Tom is a scrompus.", 7, 6}, {"### Tom is a scrompus.", 7, 6}
    };
    run_settings set = curriculum();
    dual_system chain = dual_system_preset("coconut");
    task_set rows;
    set.latents_per_stage = 3;
    chain.latents = 6;
    run_task t = open_task(&set, &rows);
    check_size(tokenizer_size(t.tokens), 65, "62 words, end, line break, ###");
    for (size_t i = 0; i < 4; i++) {
        const task_row row = task_get(&rows, 0);
        example e = example_of(&set, &t, i, &row);
        x_is(&t, &e, ASKED);
        y_is(&t, &e, stage[i].y);
        free_example(&e);
        check_size(run_stage_of(&set, 10 * i), i, "the stage of step %zu", 10 * i);
        check_size(run_latents_of(&set, &chain, i), stage[i].latents, "its latents");
        run_batch b = batch_of(&set, &t, 10 * i + 9);
        check_size(b.stage, i, "its stage");
        check_size(b.group[1].n_target, stage[i].targets, "targets of stage %zu", i);
        run_batch_free(&b);
    }
    check_size(run_stage_of(&set, 1000000), 3, "the last stage stays");
    task_free(&rows);
    run_task_close(&t);
}

/* With probability 1 all stages come up: row by row, or one stage for the batch where a stage has a
 * number of latents of its own. */
static void test_mixed_stages(void) {
    for (size_t per_stage = 0; per_stage < 2; per_stage++) {
        run_settings set = curriculum();
        size_t seen[21] = {0}, mixed = 0;
        set.uniform_stage = 1;
        set.latents_per_stage = per_stage;
        run_task t = open_task(&set, NULL);
        for (uint64_t step = 0; step < 40; step++) {
            run_batch b = batch_of(&set, &t, step), again = batch_of(&set, &t, step);
            check_that(b.stage == again.stage && b.group[3].n_target == again.group[3].n_target,
                       "a batch is a function of its step");
            mixed += b.group[0].n_target != b.group[1].n_target ||
                     b.group[0].n_target != b.group[2].n_target;
            seen[b.group[0].n_target]++;
            run_batch_free(&b);
            run_batch_free(&again);
        }
        check_that(seen[20] > 3 && seen[14] > 3 && seen[7] > 3, "all stages come up");
        if (per_stage) check_that(mixed == 0, "a batch has one number of latents");
        else check_that(mixed > 10, "rows of a batch differ");
        run_task_close(&t);
    }
}

static run_settings one_problem(void) {
    run_settings set = settings_of("gsm8k");
    snprintf(set.data, sizeof set.data, "%s", write_text(".jsonl",
             "{\"question\": \"How many?\\n\", \"answer\": \"He has 2*3=<<2*3=6>>6.\\nThen "
             "<<6*200=1200>>1,200.\\n#### 1,200\"}\n"));
    return set;
}

static void test_no_steps(void) {
    const run_settings set = one_problem();
    task_set rows;
    run_task t = open_task(&set, &rows);
    const task_row row = task_get(&rows, 0);
    check_that(!strcmp(run_tokenizer_name(&t), "bytes") && tokenizer_size(t.tokens) == 257 &&
               run_count_tokens(&t, "a \xc3\xa9\n") == 5, "bytes");
    example e = example_of(&set, &t, 0, &row);
    x_is(&t, &e, "How many?");
    y_is(&t, &e, "### 1200");
    free_example(&e);
    task_free(&rows);
    run_task_close(&t);
}

static void test_all_steps(void) {
    run_settings set = one_problem();
    task_set rows;
    char error[300] = "";
    snprintf(set.steps_shown, sizeof set.steps_shown, "all");
    run_task t = open_task(&set, &rows);
    const task_row row = task_get(&rows, 0);
    example e = example_of(&set, &t, 0, &row);
    y_is(&t, &e, "<<2*3=6>>\n<<6*200=1200>>\n### 1200");
    check_size(run_max_new(&set, &t), 256, "64 tokens are 256 bytes");
    check_that(!run_fit_rows(&set, &t, e.n_x + e.n_y - 1, error, sizeof error) &&
               strstr(error, "row 1"), "a row too long is named, got \"%s\"", error);
    check_that(run_fit_rows(&set, &t, e.n_x + e.n_y, error, sizeof error) && t.n_rows == 1,
               "a row that fits stays");
    free_example(&e);
    task_free(&rows);
    run_task_close(&t);
}

/* ---- Text ----------------------------------------------------------------------------------- */

/* 2,000 letters: sequences of 60, 8 places in each, 5 tokens ahead, a tenth held out. */
static run_settings letters(void) {
    run_settings set = settings_of("text");
    char text[2000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    snprintf(set.data, sizeof set.data, "%s", write_file(".txt", text, sizeof text));
    snprintf(set.objective, sizeof set.objective, "pretrain");
    set.context = 64;
    set.sequence = 60;
    set.ahead = 5;
    set.groups = 8;
    set.held_out = 0.1;
    return set;
}

/* The groups of a batch stand in its text, and that is text to train on; counts their places. */
static void groups_stand(const run_task *t, const run_batch *b, size_t *counts) {
    check_size(b->batch.n_groups, 32, "M groups for each of 4 sequences");
    for (size_t k = 0; k < b->batch.n_groups; k++) {
        const dual_group *g = &b->group[k];
        const int32_t *text_of = b->text[g->sequence];
        check_that(g->sequence == k / 8 && g->prefix >= 1 && g->prefix + 6 <= 60 &&
                   (k % 8 == 0 || g->prefix > g[-1].prefix) && g->cue == text_of + g->prefix &&
                   g->target == g->cue + 1 && g->n_target == 5, "group %zu stands in its text", k);
        counts[g->prefix]++;
    }
    for (size_t k = 0; k < 4; k++)
        check_that(b->length[k] == 60 && b->text[k] >= t->ids.at &&
                   b->text[k] + 60 <= t->ids.at + t->n_train, "only text to train on");
}

static void test_text_groups(void) {
    const run_settings set = letters();
    size_t counts[64] = {0};
    run_task t = open_task(&set, NULL);
    check_size(t.n_train, 2001 - 200, "a tenth is held out");
    for (uint64_t step = 0; step < 200; step++) {
        run_batch b = batch_of(&set, &t, step);
        groups_stand(&t, &b, counts);
        run_batch_free(&b);
    }
    for (size_t i = 1; i <= 54; i++)                   /* 6,400 draws of 8 in 54 places: 119 each */
        check_that(counts[i] > 70 && counts[i] < 170, "place %zu: drawn %zu times of about 119", i,
                   counts[i]);
    run_task_close(&t);
}

static void test_text_batches(void) {
    run_settings set = letters();
    run_task t = open_task(&set, NULL);
    run_batch b;
    char error[300] = "";
    size_t place[8], wrong = 0;
    run_group_places(&set, 7, place);
    check_that(place[0] >= 1 && place[7] <= 54, "places");
    check_that(run_text_batch(&set, t.ids.at, 7, &b, error, sizeof error), "%s", error);
    for (size_t k = 0; k < 8; k++)
        wrong += b.group[k].sequence != 0 || b.group[k].prefix != place[k] ||
                 b.group[k].target != t.ids.at + place[k] + 1 || b.group[k].n_target != 5;
    check_that(b.batch.n_sequences == 1 && b.batch.n_groups == 8 && b.length[0] == 60 && !wrong,
               "one sequence as a batch, with the places of its number");
    run_batch_free(&b);
    snprintf(set.objective, sizeof set.objective, "lm");
    for (size_t k = 0; k < 2; k++) {
        set.sequence = k ? 60 : 0;
        check_that(run_text_batch(&set, t.ids.at, 7, &b, error, sizeof error) &&
                   b.batch.n_groups == 1 && b.length[0] == 0 && b.group[0].prefix == 0 &&
                   b.group[0].n_target == (k ? 59 : 63),
                   "lm: all but the first id of a context, or of --sequence, is a target");
        run_batch_free(&b);
    }
    set.sequence = 0;
    set.context = 40960;
    check_size(run_sequence(&set), 1024, "a context of tens of thousands is not a sequence");
    run_task_close(&t);
}

static void test_held_out_text(void) {
    run_settings set = letters();
    run_task t = open_task(&set, NULL);
    token_block ids;
    char error[300] = "", report[1200];
    size_t first;
    check_that(run_text_open(&set, &t, set.data, 1, &ids, &first, report, sizeof report, error,
                             sizeof error) &&
               first == t.n_train && ids.used == 2001, "the held-out part begins there");
    free(ids.at);
    run_task_close(&t);

    /* documents: the cut goes back to a document's beginning, an end token behind each */
    snprintf(set.data, sizeof set.data, "%s", write_text(".jsonl",
             "{\"text\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n"
             "{\"text\": \"bbbbbbbbbbbbbbb\"}\n{\"text\": \"ccc\"}\n"));
    set.held_out = 0.2;
    t = open_task(&set, NULL);
    check_that(t.n_train == 65 && t.ids.used == 65 + 16 + 4 && t.ids.at[64] == t.end,
               "cut at a document: expected 65 of 85, got %zu of %zu", t.n_train, t.ids.used);
    run_batch b;
    check_that(!run_batch_make(&set, &t, 0, &b, error, sizeof error) && strstr(error, "65 tokens"),
               "too little text is refused, got \"%s\"", error);
    run_task_close(&t);
}

/* ---- Texts of any bytes --------------------------------------------------------------------- */

static void quotes_as(const char *bytes, size_t length, const char *expected) {
    char quoted[80], back[80], document[84];
    check_size(json_quote(bytes, length, quoted, sizeof quoted), strlen(expected), "length of %s",
               expected);
    check_that(!strcmp(quoted, expected), "expected %s, got %s", expected, quoted);
    const int n = snprintf(document, sizeof document, "\"%s\"", quoted);
    const dual_json string = dual_json_text(document, (size_t)n, NULL, 0);
    check_that(dual_json_type(string) == '"', "%s is JSON", document);
    check_that(json_unquote(string, back, sizeof back) == length && !memcmp(back, bytes, length),
               "%s comes back", expected);
}

static void test_quotes(void) {
    char text[40], quoted[8];
    dual_rng rng = dual_rng_seed(41, 0);
    quotes_as("", 0, "");
    quotes_as("a \"b\"\n\\", 7, "a \\\"b\\\"\\u000a\\\\");
    quotes_as("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9,
              "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    quotes_as("1+2\0+7", 6, "1+2\\u0000+7");
    quotes_as("caf\xE9", 4, "caf\\\\xE9");
    quotes_as("\xC3", 1, "\\\\xC3");                   /* the end is missing */
    quotes_as("\xC3z", 2, "\\\\xC3z");
    quotes_as("\xA9", 1, "\\\\xA9");                   /* the beginning is */
    quotes_as("\xC0\xAF", 2, "\\\\xC0\\\\xAF");       /* longer than it need be */
    quotes_as("\xED\xA0\x80", 3, "\\\\xED\\\\xA0\\\\x80");            /* half a pair */
    quotes_as("\xF4\x90\x80\x80", 4, "\\\\xF4\\\\x90\\\\x80\\\\x80"); /* beyond the last */
    quotes_as("\\xi \\x7F \\xc3", 13, "\\\\xi \\\\x7F \\\\xc3");   /* no escapes of a byte */
    quotes_as("\\xC3", 4, "\\\\x5CxC3");
    quotes_as("\\x5C", 4, "\\\\x5Cx5C");
    for (int i = 0; i < 3000; i++) {       /* what could be mistaken for an escape, and any byte */
        const size_t n = dual_rng_below(&rng, 40);
        char all[6 * 40 + 1], document[sizeof all + 2], back[40];
        for (size_t k = 0; k < n; k++) {
            text[k] = "\\x5C3A9\xC3\xA9\"\0z"[dual_rng_below(&rng, 12)];
            if (i % 3 == 0) text[k] = (char)dual_rng_below(&rng, 256);
        }
        json_quote(text, n, all, sizeof all);
        const int length = snprintf(document, sizeof document, "\"%s\"", all);
        const dual_json string = dual_json_text(document, (size_t)length, NULL, 0);
        check_that(json_unquote(string, back, sizeof back) == n && !memcmp(back, text, n),
                   "text %d comes back from %s", i, document);
    }
    check_that(json_quote("abcdefghij", 10, quoted, sizeof quoted) == 10 &&
               !strcmp(quoted, "abcdefg"), "cut to the room there is");
    check_that(json_unquote(dual_json_text("7", 1, NULL, 0), quoted, sizeof quoted) == SIZE_MAX,
               "a number is no string");
}

/* Paths of any bytes are the same paths when a run goes on. */
static void test_settings_of_any_bytes(void) {
    run_settings set = settings_of("text"), back;
    dual_ctx c;
    char path[440];
    dual_init(&c, NULL, 0);
    snprintf(set.out, sizeof set.out, "%s", scratch);
    data_make_folder(scratch);
    snprintf(set.data, sizeof set.data, "caf\xE9 \\xE9 \xC3\xA9\n\"x\".txt");
    memset(set.valid, '\xFE', sizeof set.valid - 1);           /* each byte four in the file */
    check_that(run_save_settings(&c, &set) && run_load_settings(&c, scratch, &back), "%s", c.error);
    check_that(!strcmp(set.data, back.data) && !strcmp(set.valid, back.valid),
               "the paths come back, got %s and %s", back.data, back.valid);
    snprintf(path, sizeof path, "%s/run.json", scratch);
    remove(path);
    remove(scratch);
}

/* A BPE whose tokens are the 256 bytes, token i byte i, and <|endoftext|>. */
static void write_bytes(const char *folder) {
    char text[6000], path[500];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"<|endoftext|>\": 256"), next = 256;
    for (size_t i = 0; i < 256; i++) {
        const int shown = (i > 32 && i < 127) || (i > 160 && i != 173);
        n += (size_t)snprintf(text + n, sizeof text - n, ", \"\\u%04x\": %u",
                              (unsigned)(shown ? i : next), (unsigned)i);
        next += !shown;
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    check_write(path, text, n);
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    check_write(path, "", 0);
}

/* An answer is graded by all of its bytes. */
static void test_nul_in_an_answer(void) {
    static const struct { const char *task, *row, *right; size_t length; int verdict; } cases[] = {
        {"countdown", "{\"nums\":[1,2],\"target\":3,\"steps\":[\"1+2=3\"],\"answer\":\"1+2\"}",
         "1+2", 3, COUNTDOWN_MALFORMED},
        {"gsm8k", "{\"question\":\"q\",\"steps\":[],\"answer\":\"12\"}", "\n### 12", 7,
         GSM8K_NO_NUMBER},
        {"prosqa", PROSQA_ROW, "### Tom is a scrompus.", 22, PROSQA_NEITHER},
    };
    char path[500], text[60];
    int32_t ids[60];
    data_make_folder(scratch);
    write_bytes(scratch);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_settings set = settings_of(cases[i].task);
        task_set rows;
        answer a;
        const size_t n = cases[i].length;
        snprintf(set.data, sizeof set.data, "%s", write_text(".json", cases[i].row));
        snprintf(set.tokenizer, sizeof set.tokenizer, "%s", scratch);
        run_task t = open_task(&set, &rows);
        const task_row row = task_get(&rows, 0);
        example e = example_of(&set, &t, 0, &row);
        for (size_t nul = 0; nul <= n + 1; nul++) {      /* before each byte, behind all, none */
            size_t length = n;
            memcpy(text, cases[i].right, n);
            if (nul <= n) {
                memmove(text + nul + 1, text + nul, n - nul);
                text[nul] = 0;
                length++;
            }
            for (size_t k = 0; k < length; k++) ids[k] = (unsigned char)text[k];
            run_grade(&t, &e, ids, length, 1, &a);
            check_that(a.verdict == (nul <= n ? cases[i].verdict : 0), "%s: NUL at %zu, verdict %d",
                       cases[i].task, nul, a.verdict);
            check_that(a.each_once == (i == 0 && nul > n), "%s: each once", cases[i].task);
        }
        free_example(&e);
        task_free(&rows);
        run_task_close(&t);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", scratch, i ? "vocab.json" : "merges.txt");
        remove(path);
    }
    remove(scratch);
}

/* ---- Prompts -------------------------------------------------------------------------------- */

static void test_batches_of_prompts(void) {
    static const struct { size_t rows, tokens, count; } cases[] = {
        {1, 20000, 1}, {2, 20000, 2}, {3, 20000, 3}, {4, 20000, 2}, {5, 20000, 2},
        {3, 8000, 3}, {9, 4000, 4}, {5, 4000, 3}, {128, 9, 128}, {129, 9, 127},
        {300, 9, 128}
    };
    example rows[300];
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < cases[i].rows; k++) rows[k].n_x = cases[i].tokens;
        const size_t count = run_prompts_count(rows, cases[i].rows, 100, 0);
        check_size(count, cases[i].count, "rows of %zu with %zu tokens: none is left alone",
                   cases[i].rows, cases[i].tokens);
    }
}

/* ---- Memory: the machine's, or its cgroup's -------------------------------------------------- */

/* A file below the fake root, with the folders on its way. */
static void write_below(const char *root, const char *name, const char *text) {
    char path[700];
    snprintf(path, sizeof path, "%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (!data_make_folder(path)) check_fatal("no folder for a fake root");
    *slash = '/';
    check_write(path, text, strlen(text));
}

enum { LIMIT_FILES = 4 };
typedef struct {
    const char *what;
    const char *cgroup;            /* /proc/self/cgroup */
    struct { const char *name, *text; } file[LIMIT_FILES];   /* below /sys/fs/cgroup */
    double limit;                  /* 0: the machine's */
} limit_case;

static const limit_case limit_cases[] = {
    {"no cgroups", NULL, {{NULL, NULL}}, 0},
    {"v2, a limit", "0::/job\n", {{"job/memory.max", "1000000\n"}}, 1e6},
    {"v2, none", "0::/job\n", {{"job/memory.max", "max\n"}}, 0},
    {"v2, of a parent", "0::/a/b/c\n",
     {{"a/b/c/memory.max", "3000000\n"}, {"a/b/memory.max", "max\n"},
      {"a/memory.max", "2000000\n"}}, 2e6},
    {"v2, in a container", "0::/\n", {{"memory.max", "4000000\n"}}, 4e6},
    {"v2, a name with colons", "0::/a:b:c\n", {{"a:b:c/memory.max", "1500000\n"}}, 1.5e6},
    {"v2, more than the machine", "0::/job\n", {{"job/memory.max", "99999999999999999\n"}}, 0},
    {"v1, a limit", "5:cpu,cpuacct:/x\n4:memory:/slurm/job\n1:name=systemd:/\n0::/\n",
     {{"memory/slurm/job/memory.limit_in_bytes", "5000000\n"},
      {"memory/memory.limit_in_bytes", "9223372036854771712\n"}}, 5e6},
    {"v1, none", "4:memory:/\n", {{"memory/memory.limit_in_bytes", "9223372036854771712\n"}}, 0},
    {"v1, of a parent", "4:hugetlb,memory:/slurm/job\n",
     {{"memory/slurm/memory.limit_in_bytes", "6000000\n"},
      {"memory/slurm/job/memory.limit_in_bytes", "7000000\n"}}, 6e6},
    {"v1, in a container that shows the machine's name", "4:memory:/docker/0123\n0::/docker/0123\n",
     {{"memory/memory.limit_in_bytes", "8000000\n"}}, 8e6},
    {"v1, another group's", "4:memory:/mine\n3:cpu:/other\n",
     {{"memory/other/memory.limit_in_bytes", "10\n"}}, 0},
    {"what is no line of it", "memory\n:\n\n4:memory\n", {{"memory.max", "x\n"}}, 0},
};

static void test_memory_limits(void) {
    const char *whose;
    const double machine = run_memory_limit("/nowhere", &whose);
    for (size_t k = 0; k < sizeof limit_cases / sizeof *limit_cases; k++) {
        const limit_case *l = &limit_cases[k];
        char root[440], name[100];
        snprintf(root, sizeof root, "%s.root%zu", scratch, k);
        if (l->cgroup) write_below(root, "proc/self/cgroup", l->cgroup);
        for (size_t i = 0; i < LIMIT_FILES && l->file[i].name; i++) {
            snprintf(name, sizeof name, "sys/fs/cgroup/%s", l->file[i].name);
            write_below(root, name, l->file[i].text);
        }
        const double limit = run_memory_limit(root, &whose);
        check_close(limit, l->limit > 0 ? l->limit : machine, 0, "memory: %s", l->what);
        check_that(strstr(whose, l->limit > 0 ? "cgroup" : "machine") != NULL,
                   "memory, %s: whose limit it is, got \"%s\"", l->what, whose);
    }
}

/* A run that the machine could hold and its cgroup cannot. */
static void test_memory_check(void) {
    const run_memory needs = {.tape = 1500000, .all = 2000000};
    char root[440];
    dual_ctx c;
    run r = {.set = settings_of("countdown")};
    dual_init(&c, NULL, 0);
    snprintf(root, sizeof root, "%s.root", scratch);
    check_that(run_memory_check(&c, &r, &needs, "/nowhere"), "memory: a machine that has enough");
    write_below(root, "proc/self/cgroup", "0::/job\n");
    write_below(root, "sys/fs/cgroup/job/memory.max", "1000000\n");
    check_refused(&c, run_memory_check(&c, &r, &needs, root), "memory: more than the cgroup has");
    run_memory_check(&c, &r, &needs, root);
    check_that(strstr(c.error, "its cgroup allows") && strstr(c.error, "--accumulate"),
               "memory: expected whose limit and what helps, got \"%s\"", c.error);
    r.set.memory = 1;
    check_that(run_memory_check(&c, &r, &needs, root), "memory: --memory has the last word");
}

/* A seed that a 32-bit machine cannot hold is refused there, never another one. */
static void test_large_seed(void) {
    char error[200] = "";
    run_settings set = {0};
    const option *seed = RUN_OPTIONS;
    while (strcmp(seed->name, "seed")) seed++;
    const int taken = option_set(seed, &set, "5000000000", error, sizeof error);
    check_that(taken ? (double)set.seed == 5e9 : (double)SIZE_MAX < 5e9 && strstr(error, "machine"),
               "seed 5000000000: got %lu, \"%s\"", (unsigned long)set.seed, error);
}

/* Whether a Base may know the task is a matter of its text; the form it must always know. */
static void test_gate(void) {
    static const struct { double solved, right, each_once; const char *says; } t[] = {
        {0, 0.03, 0.95, "gate: passed: it knows the form, not the task"},
        {0, 0.30, 0.95, "gate: NOT passed: it has learned the task"},
        {0.5, 0.30, 0.95, "gate: passed: it knows the form and can do part of the task"},
        {0.5, 0.03, 0.95, "gate: NOT passed: it read solved problems and cannot do the task"},
        {0, 0.03, 0.80, "gate: NOT passed: it does not know the form"},
        {0.5, 0.30, 0.80, "gate: NOT passed: it does not know the form"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        static note n;
        n.used = 0;
        run_gate(t[i].solved, 1000, t[i].right, t[i].each_once, 0.03, &n);
        check_that(!strncmp(n.text, t[i].says, strlen(t[i].says)), "expected \"%s\", got \"%.80s\"",
                   t[i].says, n.text);
    }
}

/* ---- Clocks ---------------------------------------------------------------------------------- */

static void test_clocks(void) {
    char said[16];
    const double at = data_never_back(data_seconds() + 10);
    check_close(data_never_back(at - 500) - at, 0, 1e-6, "a clock that is set back stands still");
    check_close(data_never_back(at - 497) - at, 3, 1e-6, "and goes on from there");
    run_duration(-1e9, said, sizeof said);
    check_that(!strcmp(said, "0m00s"), "less than no time is %s", said);
    run_duration(1e300, said, sizeof said);
    check_that(!strcmp(said, "11574074074d01h"), "longer than can be said is %s", said);
}

static void ignore_score(void *what, uint64_t step, double score) {
    (void)what;
    (void)step;
    (void)score;
}

/* What somebody wrote in a log's seconds is no reason not to go on. */
static void test_seconds_of_a_log(void) {
    static const char *const seconds[] = {"-86400.0", "nan", "-inf", "1e300", "", "soon"};
    char folder[440], text[200];
    snprintf(folder, sizeof folder, "%s.log", scratch);
    check_that(data_make_folder(folder), "a folder for a log");
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        dual_ctx c;
        run_log l;
        memset(&l, 0, sizeof l);
        dual_init(&c, NULL, 0);
        snprintf(text, sizeof text, "step,..\n1,2,3,4,,6,2.5,\n2,2,3,4,,6,%s,\n", seconds[i]);
        write_text(".log/log.csv", text);
        const double before = run_log_begin(&c, &l, folder, 9, 0, ignore_score, NULL);
        check_that(before >= 0 && before <= 2.5, "seconds \"%s\" are taken for %g", seconds[i],
                   before);
        free(l.text);
    }
    remove(write_text(".log/log.csv", ""));
    remove(folder);
}

/* A vocabulary needs no number that cannot come: the rows are counted as long as they are. */
static void test_few_numbers(void) {
    static const char list[] = "<end>\n\\n\nnumbers:\ntarget:\n+\n-\n*\n/\n(\n)\n=\n1\n2\n3\n"
                                "###\n";
    run_settings set = settings_of("countdown");
    char error[300];
    snprintf(set.tokenizer, sizeof set.tokenizer, "%s.few", scratch);
    snprintf(set.range, sizeof set.range, "1-3");
    snprintf(set.targets, sizeof set.targets, "1-3");
    snprintf(set.numbers, sizeof set.numbers, "2");
    check_that(data_make_folder(set.tokenizer), "a folder for a vocabulary");
    write_text(".few/vocab.txt", list);
    run_task t = open_task(&set, NULL);
    size_t longest = 0;
    for (uint64_t step = 0; step < 20; step++) {
        run_batch b;
        if (!run_batch_make(&set, &t, step, &b, error, sizeof error)) check_fatal(error);
        for (size_t i = 0; i < b.batch.n_sequences; i++)
            if (b.batch.length[i] > longest) longest = b.batch.length[i];
        run_batch_free(&b);
    }
    check_that(longest == t.max_x, "the longest question has %zu words, %zu were expected", longest,
               t.max_x);
    run_task_close(&t);
    remove(write_text(".few/vocab.txt", ""));
    remove(set.tokenizer);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_runs FOLDER\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.300s/test_runs", argv[1]);
    test_stages();
    test_mixed_stages();
    test_no_steps();
    test_all_steps();
    test_text_groups();
    test_text_batches();
    test_held_out_text();
    test_batches_of_prompts();
    test_quotes();
    test_settings_of_any_bytes();
    test_nul_in_an_answer();
    test_memory_limits();
    test_memory_check();
    test_large_seed();
    test_gate();
    test_clocks();
    test_seconds_of_a_log();
    test_few_numbers();
    return check_done();
}
