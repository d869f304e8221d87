/* test_eval.c: what the evaluation computes: JSON out, tallies, the counting rules of choices, the
 * method's contrasts and their verdicts, arms and labels, the wording of a trace; then a small run
 * from disk through every part of data/eval/, and what is refused.
 *
 *     test_eval FOLDER [DATA]      FOLDER: for its own files; DATA: with real tokenizers in tok/
 */
#include "check.h"
#include "../data/files/system.h"
#include "../data/eval/comparison_report.h"
#include "../data/eval/doubts.h"
#include "../data/eval/families.h"
#include "../data/eval/multiple_choice.h"
#include "../data/eval/latents_report.h"
#include "../data/eval/perplexity.h"
#include "../data/eval/samples.h"
#include "../data/eval/trace.h"

static char scratch[500];              /* FOLDER/test_eval */

static void text_is(const char *got, const char *expected, const char *what) {
    check_that(!strcmp(got, expected), "%s: expected \"%s\", got \"%s\"", what, expected, got);
}

/* What was written to a stream of the test's own, which ends here. */
static const char *text_of(FILE *stream) {
    static char text[200000];
    rewind(stream);
    const size_t n = fread(text, 1, sizeof text - 1, stream);
    text[n] = 0;
    fclose(stream);
    return text;
}

static FILE *stream(void) {
    FILE *f = tmpfile();
    if (!f) check_fatal("a stream of the test's own cannot be opened");
    return f;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void test_json_layout(void) {
    FILE *f = stream();
    json_writer j = json_begin(f);
    json_open(&j, NULL, '{');
    json_number(&j, "a", 0.5);
    json_open(&j, "list", '[');
    json_number(&j, NULL, 1);
    json_open(&j, NULL, '{');
    json_flag(&j, "yes", 1);
    json_flag(&j, "no", 0);
    json_close(&j, '}');
    json_number(&j, NULL, NAN);
    json_close(&j, ']');
    json_open(&j, "empty", '[');
    json_close(&j, ']');
    json_number(&j, "last", HUGE_VAL);
    json_close(&j, '}');
    text_is(text_of(f),
            "{\n  \"a\": 0.5,\n  \"list\": [\n    1,\n    {\n      \"yes\": true,\n"
            "      \"no\": false\n    },\n    null\n  ],\n  \"empty\": [],\n  \"last\": null\n}\n",
            "a nested document");
}

/* Every text must come back as it was, also one that is cut within a character. */
static void test_json_escapes(void) {
    char text[200], back[300];
    for (size_t length = 0; length < 140; length++) {
        FILE *f = stream();
        json_writer j = json_begin(f);
        for (size_t i = 0; i < length; i++) text[i] = "\"\\\n\t\x01z\xC3\xA9"[(i + length) % 8];
        text[length] = 0;
        json_open(&j, NULL, '{');
        json_text(&j, text, text);
        json_text(&j, "end", "x");
        json_close(&j, '}');
        const char *written = text_of(f);
        const dual_json all = dual_json_text(written, strlen(written), NULL, 0);
        check_that(dual_json_type(all) == '{', "a text of %lu bytes leaves JSON valid",
                   (unsigned long)length);
        dual_json key, value = {NULL, NULL};
        dual_json_each(all, &key, &value);
        check_that(json_unquote(key, back, sizeof back) == length && !strcmp(back, text),
                   "a key of %lu bytes comes back", (unsigned long)length);
        check_that(json_unquote(value, back, sizeof back) == length && !strcmp(back, text),
                   "a text of %lu bytes comes back", (unsigned long)length);
        dual_json_string(dual_json_get(all, "end"), back, sizeof back);
        text_is(back, "x", "what follows it");
    }
}

/* ---- Tallies ------------------------------------------------------------------------------- */

/* Wilson's bounds are where a share p would be just 1.96 standard errors from the observed one. */
static void wilson_is(size_t hits, size_t of) {
    const tally t = {hits, of};
    const double n = (double)of, share = (double)hits / n, z = 1.959964;
    const double bound[2] = {tally_low(t), tally_high(t)};
    check_close(tally_share(t), share, 1e-15, "share of %lu of %lu", (unsigned long)hits,
                (unsigned long)of);
    check_that(bound[0] <= share && share <= bound[1], "the interval holds the share");
    for (int i = 0; i < 2; i++) {
        const double p = bound[i], off = share - p;
        check_close(off * off, z * z * p * (1 - p) / n, 1e-12, "bound %d of %lu of %lu", i,
                    (unsigned long)hits, (unsigned long)of);
    }
}

static void test_tallies(void) {
    const tally none = {0, 0}, half = {5, 10};
    tally t = {0, 0};
    tally_add(&t, 7);
    tally_add(&t, 0);
    check_that(t.hits == 1 && t.of == 2, "a hit counts once, whatever its number");
    check_that(isnan(tally_share(none)) && isnan(tally_low(none)) && isnan(tally_high(none)),
               "nothing counted: no share, no interval");
    check_close(tally_low(half), 0.2365931, 1e-6, "5 of 10, low");
    check_close(tally_high(half), 0.7634069, 1e-6, "5 of 10, high");
    wilson_is(5, 10);
    wilson_is(1, 100);
    wilson_is(0, 7);
    wilson_is(7, 7);
    FILE *f = stream();
    report_tally(f, "none", none);
    report_tally(f, "half", half);
    text_is(text_of(f), "half                               50.0 %  [ 23.7,  76.3]   5 of 10\n",
            "a tally as a line");
}

static void test_score_count(void) {
    example rows[4];
    answer answers[4];
    unsigned char seen[4] = {1, 0, 0, 0};
    score_tallies t;
    memset(rows, 0, sizeof rows);
    memset(answers, 0, sizeof answers);
    rows[0].row.n_steps = 2;
    rows[1].row.n_steps = 2;
    rows[2].row.n_steps = STEPS_SHOWN - 1;
    rows[3].row.n_steps = 40;
    for (int i = 0; i < 4; i++) {
        rows[i].row.question = "";
        answers[i].ended = i < 3;
    }
    answers[0].simple = answers[0].each_once = 1;
    answers[1].verdict = COUNTDOWN_WRONG_VALUE;
    answers[1].each_once = 1;
    answers[3].verdict = COUNTDOWN_MALFORMED;
    score_count(&t, TASK_COUNTDOWN, rows, answers, 4, seen);
    check_that(t.all.hits == 2 && t.all.of == 4, "all: 2 of 4");
    check_that(t.by_steps[2].hits == 1 && t.by_steps[2].of == 2, "two steps: 1 of 2");
    check_that(t.by_steps[STEPS_SHOWN - 1].hits == 1 && t.by_steps[STEPS_SHOWN - 1].of == 2,
               "8 steps and 40 are told together");
    check_that(t.simple.hits == 1 && t.simple.of == 1 && t.other.hits == 1 && t.other.of == 3,
               "+ and - suffice apart from the others");
    check_that(t.once.hits == 2 && t.no_end.hits == 1 && t.no_end.of == 4, "once; no end token");
    check_that(t.unseen.hits == 1 && t.unseen.of == 3, "unseen: without the first row");
    check_that(t.verdict[0] == 2 && t.verdict[COUNTDOWN_WRONG_VALUE] == 1 &&
               t.verdict[COUNTDOWN_MALFORMED] == 1 && !t.option.of, "verdicts");
    answers[1].verdict = PROSQA_RIGHT_OPTION;
    answers[3].verdict = PROSQA_NEITHER;
    score_count(&t, TASK_PROSQA, rows, answers, 4, seen);
    check_that(t.option.hits == 3 && t.option.of == 4 && !t.simple.of && !t.once.of,
               "prosqa: the right option is enough for the option");
}

static tokenizer *countdown_words(void) {
    char error[200];
    tokenizer *t = tokenizer_of_words(words_new_countdown(), error, sizeof error);
    if (!t) check_fatal(error);
    return t;
}

/* ---- Several answers to a problem ------------------------------------------------------------ */

/* Of all choices of k of n answers, c of them right, those that hold a right one, counted. */
static double count_choices(size_t n, size_t c, size_t k) {
    size_t all = 0, with = 0;
    for (size_t set = 0; set < (size_t)1 << n; set++) {
        size_t size = 0, right = 0;
        for (size_t i = 0; i < n; i++) {
            size += set >> i & 1;
            right += (set >> i & 1) && i < c;
        }
        if (size != k) continue;
        all++;
        with += right > 0;
    }
    return (double)with / (double)all;
}

static void test_pass_at(void) {
    for (size_t n = 1; n <= 8; n++)
        for (size_t c = 0; c <= n; c++)
            for (size_t k = 1; k <= n; k++)
                check_close(pass_at(n, c, k), count_choices(n, c, k), 1e-12,
                            "pass@%lu of %lu, %lu right", (unsigned long)k, (unsigned long)n,
                            (unsigned long)c);
    check_close(pass_at(200, 2, 100), 1 - 100 * 99 / (200.0 * 199), 1e-12, "large numbers");
}

/* Four answers to each of two problems, as words: the majority is right in the second alone. */
static void test_samples(void) {
    static const char *const said[4][2] = {{"1+2", "7"}, {"2+1", "3 * 4"}, {"1 + 2", "3*4"},
                                           {"2", "1"}};
    static const int verdict[4][2] = {
        {COUNTDOWN_WRONG_VALUE, COUNTDOWN_MALFORMED}, {COUNTDOWN_CORRECT, COUNTDOWN_CORRECT},
        {COUNTDOWN_WRONG_VALUE, COUNTDOWN_CORRECT}, {COUNTDOWN_CORRECT, COUNTDOWN_WRONG_VALUE}
    };
    int32_t ids[8][16];
    answer a[8];
    run_task task;
    samples_result r;
    dual_ctx c;
    char error[200];
    dual_init(&c, NULL, 0);
    memset(a, 0, sizeof a);
    memset(&task, 0, sizeof task);
    task.tokens = countdown_words();
    for (size_t s = 0; s < 4; s++)
        for (size_t i = 0; i < 2; i++) {
            answer *it = &a[2 * s + i];
            it->tokens = ids[2 * s + i];
            it->length = tokenizer_encode(task.tokens, said[s][i], strlen(said[s][i]), 0,
                                          it->tokens, 16, error, sizeof error);
            it->verdict = verdict[s][i];
            it->ended = 1;
        }
    check_that(samples_count(&c, &task, a, 2, 4, &r), "counted: %s", c.error);
    check_size(r.right, 4, "right answers of 8");
    check_that(r.n_passes == 3 && r.k[0] == 1 && r.k[1] == 2 && r.k[2] == 4, "pass@1, 2 and 4");
    check_close(r.pass[0], 0.5, 1e-12, "pass@1 is the mean accuracy");
    check_close(r.pass[1], 5 / 6.0, 1e-12, "pass@2: without one of the six pairs");
    check_close(r.pass[2], 1, 1e-12, "pass@4");
    check_that(r.majority.hits == 1 && r.majority.of == 2, "1+2 twice, wrong; 3*4 twice, right");
    check_size(r.verdict[COUNTDOWN_MALFORMED], 1, "verdicts of all answers");
    for (size_t i = 0; i < 8; i++) a[i].verdict = COUNTDOWN_MALFORMED;
    check_that(samples_count(&c, &task, a, 2, 4, &r) && !r.majority.hits, "no vote, not right");
    check_that(samples_agree(TASK_GSM8K, "a\n### 1,200", "### 1200.0 "), "the same number");
    check_that(!samples_agree(TASK_GSM8K, "### 12", "### 120"), "another number");
    check_that(samples_agree(TASK_PROSQA, "### Tom is a x.", " Tom is  a x."), "the same words");
    check_that(!samples_agree(TASK_PROSQA, "Tom is a x.", "Tom is a y."), "other words");
    tokenizer_free(task.tokens);
    dual_done(&c);
}

/* ---- Choices ------------------------------------------------------------------------------- */

/* Rows of choices as a file has them: CONTEXT and CHOICE in turn, and which one is right. */
static void put_choices(task_set *set, const char *const *texts, size_t n, const char *right) {
    int ok = task_put(set, "", 0);
    for (size_t i = 0; i < n; i++) ok = ok && task_put(set, texts[i], strlen(texts[i]));
    ok = ok && task_put(set, right, strlen(right)) && task_close(set, n);
    if (!ok) check_fatal("out of memory for rows");
}

/* Two rows with likelihoods and tokens of our own: the rules disagree about the first; in the
 * second all choices are alike. */
static void test_choice_rules(void) {
    static const char *const texts[] = {"c", " ab", "c", "abcdefgh", "c", "abcd"};
    static const char *const alike[] = {"d", "x", "d", "y"};
    const size_t tokens[5] = {1, 2, 4, 1, 1};
    double likelihood[5] = {-3, -4, -5, -1, -1};
    size_t begin[3] = {0, 3, 5};
    example choice[5];
    choice_set set;
    task_set rows;
    memset(choice, 0, sizeof choice);
    memset(&set, 0, sizeof set);
    memset(&rows, 0, sizeof rows);
    put_choices(&rows, texts, 6, "0");
    put_choices(&rows, alike, 4, "1");
    for (size_t i = 0; i < 5; i++) {
        choice[i].row = task_get(&rows, i >= 3);
        choice[i].n_y = tokens[i];
    }
    set.n = 2;
    set.begin = begin;
    set.choice = choice;
    set.likelihood = likelihood;
    choices_result r = choices_count(&set);
    /* sum -3 -4 -5; per byte, without the first blank, -1.5 -0.5 -1.25; per token -3 -2 -1.25 */
    check_size(r.hit[CHOICE_SUM].hits, 1, "the sum prefers the first, which is right");
    check_size(r.hit[CHOICE_PER_BYTE].hits, 0, "per byte the second is preferred");
    check_size(r.hit[CHOICE_PER_TOKEN].hits, 0, "per token the third is preferred");
    check_size(r.hit[CHOICE_SUM].of, 2, "rows");
    check_close(r.chance, (1 / 3.0 + 1 / 2.0) / 2, 1e-15, "chance");
    check_close(r.loss, (3 + 1) / 2.0, 1e-15, "loss per target of the right choices");
    for (size_t i = 0; i < 3; i++) choice[i].row.answer = "1";
    r = choices_count(&set);
    check_that(r.hit[CHOICE_PER_BYTE].hits == 1 && r.hit[CHOICE_SUM].hits == 0, "per byte");
    for (size_t i = 0; i < 3; i++) choice[i].row.answer = "2";
    r = choices_count(&set);
    check_that(r.hit[CHOICE_PER_TOKEN].hits == 1 && r.hit[CHOICE_SUM].hits == 0, "per token");
    for (size_t i = 3; i < 5; i++) choice[i].row.answer = "0";
    r = choices_count(&set);
    check_size(r.hit[CHOICE_SUM].hits, 1, "of choices as likely as each other the first counts");
    for (size_t i = 0; i < 3; i++) choice[i].row.answer = "1";
    likelihood[1] = -10;               /* per byte -1.5 -1.25 -1.25; with its blank -1 */
    r = choices_count(&set);
    check_size(r.hit[CHOICE_PER_BYTE].hits, 2, "a blank before a choice is no byte of it");
    task_free(&rows);
}

/* White space counts where nothing else does: -2 / 1 byte is ahead of -9 / 4. However it is cut
 * into context and choice, the bytes are the same. */
static void test_blank_choices(void) {
    static const char *const texts[][4] = {
        {"c", " ", "c", "abcd"}, {"c ", "", "c", "abcd"}, {"c", "\n", "c", "\r\n abcd"},
        {"c", "\xC2\xA0", "c", "\xE3\x80\x80" "abcd"}, {"", " ", "", "abcd"},
        {" ", "", " ", "abcd"}
    };
    double likelihood[2] = {-2, -9};
    size_t begin[2] = {0, 2};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        example choice[2];
        choice_set set;
        task_set rows;
        memset(choice, 0, sizeof choice);
        memset(&set, 0, sizeof set);
        memset(&rows, 0, sizeof rows);
        put_choices(&rows, texts[k], 4, "0");
        for (size_t i = 0; i < 2; i++) {
            choice[i].row = task_get(&rows, 0);
            choice[i].n_y = 1;
        }
        set.n = 1;
        set.begin = begin;
        set.choice = choice;
        set.likelihood = likelihood;
        for (size_t i = 0; i < 2; i++) {
            likelihood[0] = i ? -3 : -2;          /* per byte -2, -1 or -1.5 of two bytes */
            const choices_result r = choices_count(&set);
            const size_t bytes = strlen(texts[k][1]) + (k == 1 || k == 5);
            const int ahead = likelihood[0] / (double)bytes > -9 / 4.0;
            check_size(r.hit[CHOICE_PER_BYTE].hits, (size_t)ahead, "white space alone, %lu",
                       (unsigned long)k);
        }
        task_free(&rows);
    }
}

static void test_another_row(void) {
    int32_t a[] = {1, 2}, b[] = {1, 3}, longer[] = {1, 2, 3};
    size_t begin[6] = {0, 2, 4, 5, 6, 7};
    example choice[7];
    choice_set set;
    memset(choice, 0, sizeof choice);
    memset(&set, 0, sizeof set);
    for (int i = 0; i < 7; i++) {
        choice[i].x = i < 4 ? a : b;   /* rows 0 and 1: a a; row 2: b; row 3: b, 4: longer */
        choice[i].n_x = 2;
    }
    choice[6].x = longer;
    choice[6].n_x = 3;
    set.n = 5;
    set.begin = begin;
    set.choice = choice;
    check_size(choices_another_row(&set, 0), 2, "past the twin at its side");
    check_size(choices_another_row(&set, 1), 2, "the next one");
    check_size(choices_another_row(&set, 2), 4, "a longer context is another one");
    check_size(choices_another_row(&set, 4), 0, "behind the last comes the first");
    choice[3].x = b;                   /* row 1 has both contexts: it shares with 0, 2 and 3 */
    check_size(choices_another_row(&set, 1), 4, "no context may be shared");
    set.n = 2;
    check_size(choices_another_row(&set, 0), 0, "there is none");
    set.n = 1;
    check_size(choices_another_row(&set, 0), 0, "alone");
}

static void test_log_likelihoods(void) {
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 16);
    dual_tensor *logits = dual_tensor_new(&c, 3, 2);
    const int32_t target[2] = {0, 1};
    double out[2];
    dual_group g;
    memset(&g, 0, sizeof g);
    for (size_t i = 0; i < 6; i++) logits->data[i] = 0;
    logits->data[3] = (dual_real)1000;         /* row 1: no overflow */
    logits->data[5] = (dual_real)log(3);       /* row 2: 1 to 3 */
    g.target = target;
    g.n_target = 2;
    check_size(log_likelihoods(logits, 1, &g, out), 2, "targets");
    check_close(out[0], -1000, 1e-6, "a hopeless target");
    check_close(out[1], log(0.75), 1e-6, "three to one");
    check_end(&c, memory);
}

/* ---- Comparisons made by hand -------------------------------------------------------------- */

enum { PROBLEMS = 8, RUNS_MOST = 24 };
static unsigned char solved[RUNS_MOST][2][PROBLEMS];

static void compare_begin(dual_ctx *c, comparison *k) {
    if (!comparison_begin(c, k, RUNS_MOST, "", 1)) check_fatal(c->error);
}

/* A run that solves the problems marked 1, with swapped latents those of `swapped` (NULL: it has
 * no latents that could be swapped). */
static void put_run(comparison *k, const char *label, size_t seed, const char *right,
                    const char *swapped) {
    run_entry *e = &k->entries[k->n_entries];
    double hits[2] = {0, 0};
    snprintf(e->name, sizeof e->name, "%s", label);
    snprintf(e->label, sizeof e->label, "%s", label);
    if (!strcmp(label, "Base")) strcpy(e->set.objective, "lm");
    e->set.seed = seed;
    e->right = solved[k->n_entries][0];
    e->swapped = swapped ? solved[k->n_entries][1] : NULL;
    for (int i = 0; i < PROBLEMS; i++) {
        e->right[i] = right[i] == '1';
        hits[0] += e->right[i];
        if (swapped) e->swapped[i] = swapped[i] == '1';
        if (swapped) hits[1] += e->swapped[i];
    }
    for (int x = 0; x < NUMBERS; x++) e->number[x] = NAN;
    e->number[ACCURACY] = hits[0] / PROBLEMS;
    if (swapped) e->number[SWAPPED] = hits[1] / PROBLEMS;
    k->n_entries++;
}

/* One family of all of them, its arms and what follows. */
static void compare_settle(dual_ctx *c, comparison *k, const char *against, findings *all) {
    k->groups = room_for(c, 1, sizeof *k->groups);
    k->families = room_for(c, 1, sizeof *k->families);
    if (!k->groups || !k->families) check_fatal(c->error);
    k->n_groups = k->n_families = 1;
    k->groups->problems.n = PROBLEMS;
    snprintf(k->groups->problems.source, sizeof k->groups->problems.source, "hand-made problems");
    check_that(comparison_make_arms(c, k) && findings_make(c, k, against, all), "made: %s",
               c->error);
}

static void compare_end(comparison *k, findings *all) {
    for (size_t i = 0; i < k->n_entries; i++) k->entries[i].right = k->entries[i].swapped = NULL;
    findings_free(all);
    comparison_free(k);
}

/* Among sentences first, then among pairs; NULL: it is not there. */
static const finding *find(const findings *all, const char *formula) {
    for (size_t i = 0; i < all->n_sentences; i++)
        if (!strcmp(all->sentences[i].formula, formula)) return &all->sentences[i];
    for (size_t i = 0; i < all->n_pairs; i++)
        if (!strcmp(all->pairs[i].formula, formula)) return &all->pairs[i];
    return NULL;
}

static void finding_is(const findings *all, const char *formula, double points,
                       const char *verdict, const char *why) {
    const finding *f = find(all, formula);
    if (!check_that(f != NULL, "%s is told", formula)) return;
    check_close(100 * f->share.mean, points, 1e-9, "%s: points", formula);
    check_that(!strcmp(f->verdict, verdict) && !strcmp(f->why, why),
               "%s: expected %s (%s), got %s (%s)", formula, verdict, why, f->verdict, f->why);
}

static void left_out_is(const findings *all, const char *line) {
    size_t i = 0;
    while (i < all->n_left_out && strcmp(all->left_out[i], line)) i++;
    check_that(i < all->n_left_out, "no line \"%s\" of what was left out", line);
}

static void test_findings(void) {
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    for (size_t seed = 1; seed <= 5; seed++) put_run(&k, "soft", seed, "11111110", NULL);
    for (size_t seed = 1; seed <= 5; seed++) put_run(&k, "liu", seed, "11111111", "00000000");
    for (size_t seed = 1; seed <= 5; seed++) put_run(&k, "h2", seed, "00000000", "00000000");
    compare_settle(&c, &k, "", &all);
    check_size(k.n_arms, 3, "runs of one label are one arm");
    check_size(all.n_sentences, 4, "sentences");
    check_size(all.n_pairs, 3, "every pair");
    finding_is(&all, "soft - h2", 87.5, "yes", "");
    finding_is(&all, "h2 - liu", -100, "no", "");
    finding_is(&all, "liu - liu swapped", 100, "yes", "");
    finding_is(&all, "h2 - h2 swapped", 0, "cannot tell", "interval holds 0");
    finding_is(&all, "liu - soft", 12.5, "cannot tell", "interval holds 0");
    finding_is(&all, "h2 - soft", -87.5, "no", "");
    /* all seeds alike: seven ones and a zero, whose mean has the variance 1/64 */
    const finding *f = find(&all, "soft - h2");
    check_close(f->share.high - f->share.mean, 2.36462425 / 8, 1e-8, "half of the interval");
    check_close(f->corrected, 2 * f->share.p, 1e-12, "Holm: the third of four");
    check_size(f->agree, 5, "seeds of its sign");
    left_out_is(&all, "none, no run of it: h2 - none - liu + Base");
    left_out_is(&all, "h1, no run of it: h1 - liu");
    left_out_is(&all, "prompt, no run of it: liu - prompt");
    left_out_is(&all, "Base, no run of it: soft - Base, h2 - Base");
    compare_end(&k, &all);
    check_end(&c, memory);
}

/* The four seeds of the demo's task of which nobody can tell: -1.5, -1.7, -4.3, -0.8 points. */
static void test_few_seeds(void) {
    static const char *const soft[] = {"11000000", "11000000", "11000000", "11000000"};
    static const char *const h2[] = {"11100000", "01100000", "11111000", "11000001"};
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    for (size_t seeds = 1; seeds <= 4; seeds++) {
        static const char *const why[] = {"", "1 seed", "2 seeds, 5 are needed",
                                          "3 seeds, 5 are needed", "4 seeds, 5 are needed"};
        compare_begin(&c, &k);
        for (size_t i = 0; i < seeds; i++) put_run(&k, "soft", i + 1, soft[i], NULL);
        for (size_t i = 0; i < seeds; i++) put_run(&k, "h2", i + 1, h2[i], NULL);
        compare_settle(&c, &k, "", &all);
        const finding *f = find(&all, "soft - h2");
        check_that(f && !strcmp(f->verdict, "cannot tell") && !strcmp(f->why, why[seeds]),
                   "%zu seeds: %s (%s)", seeds, f ? f->verdict : "?", f ? f->why : "?");
        check_that(f->share.over_seeds == (seeds >= 3), "%zu seeds: what it is over", seeds);
        check_that(isnan(f->share.p) == (seeds < 3), "%zu seeds: p", seeds);
        compare_end(&k, &all);
    }
    check_end(&c, memory);
}

/* A difference uses the seeds that all its arms have, and says which those are. */
static void test_other_seeds(void) {
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    for (size_t seed = 1; seed <= 5; seed++) put_run(&k, "none", seed, "11000000", NULL);
    for (size_t seed = 3; seed <= 6; seed++) put_run(&k, "soft", seed, "11110000", NULL);
    put_run(&k, "h2", 7, "11111111", NULL);
    compare_settle(&c, &k, "", &all);
    finding_is(&all, "soft - none", 25, "cannot tell", "3 seeds, 5 are needed");
    check_that(!find(&all, "h2 - none") && !find(&all, "soft - h2"), "no seed in common");
    left_out_is(&all, "h2 - none: the arms have no seed in common");
    left_out_is(&all, "seeds that not all arms of a difference have: none 1-5, soft 3-6, h2 7");
    compare_end(&k, &all);
    check_end(&c, memory);
}

static void test_against(void) {
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    put_run(&k, "Base", 1, "10000000", NULL);
    k.entries->implied = 1;
    put_run(&k, "none", 1, "11000000", NULL);
    put_run(&k, "soft", 1, "11110000", NULL);
    put_run(&k, "h2", 1, "11111111", NULL);
    compare_settle(&c, &k, "none", &all);
    check_size(all.n_pairs, 2, "against one: all others");
    finding_is(&all, "soft - none", 25, "cannot tell", "1 seed");
    finding_is(&all, "h2 - none", 75, "cannot tell", "1 seed");
    findings_free(&all);
    check_that(findings_make(&c, &k, "h2", &all), "against the last");
    finding_is(&all, "none - h2", -75, "cannot tell", "1 seed");
    findings_free(&all);
    check_that(findings_make(&c, &k, "Base", &all), "against the Base that joined");
    check_size(all.n_pairs, 3, "which was then asked for");
    check_that(entry_labelled(&k, "soft") == &k.entries[2] && !entry_labelled(&k, "h3"), "labels");
    compare_end(&k, &all);
    check_end(&c, memory);
}

/* A Base is one for all seeds, that of the seed, or, where it is known, the one it started from. */
static void test_bases_of_seeds(void) {
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    put_run(&k, "Base", 1, "10000000", NULL);
    put_run(&k, "Base", 2, "11110000", NULL);
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "none", seed, "11111111", NULL);
    compare_settle(&c, &k, "", &all);
    finding_is(&all, "none - Base", 100 * (7 + 4) / 16.0, "cannot tell", "2 seeds, 5 are needed");
    findings_free(&all);
    strcpy(k.entries[0].base_held, "first");
    strcpy(k.entries[1].base_held, "second");
    for (size_t i = 2; i < 5; i++) strcpy(k.entries[i].base_held, "first");
    check_that(findings_make(&c, &k, "", &all), "once more");
    finding_is(&all, "none - Base", 87.5, "cannot tell", "3 seeds, 5 are needed");
    findings_free(&all);
    k.arms->n = 1;                     /* one for all */
    for (size_t i = 0; i < 5; i++) *k.entries[i].base_held = 0;
    check_that(findings_make(&c, &k, "", &all), "one Base");
    finding_is(&all, "none - Base", 87.5, "cannot tell", "3 seeds, 5 are needed");
    compare_end(&k, &all);
    check_end(&c, memory);
}

/* Of every sentence: the terms are those of its formula, and cancel where all arms are alike. */
static void test_contrast_table(void) {
    for (size_t i = 0; i < N_CONTRASTS; i++) {
        const contrast *about = &CONTRASTS[i];
        char names[100] = "", formula[100] = "";
        int sum = 0;
        size_t n = 0;
        for (int t = 0; t < CONTRAST_TERMS && about->terms[t].arm; t++) {
            const contrast_term *term = &about->terms[t];
            sum += term->sign;
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s ", term->arm,
                     term->swapped ? " swapped" : "");
        }
        for (const char *at = about->formula; *at; at++)
            if (!strchr("()-+", *at) && (*at != ' ' || (n && formula[n - 1] != ' ')))
                formula[n++] = *at;
        formula[n++] = ' ';
        formula[n] = 0;
        text_is(names, formula, "names of a formula and its terms");
        check_that(sum == 0, "%s: the signs cancel", about->formula);
    }
}

/* ---- Labels, families, warnings ------------------------------------------------------------ */

static const char *name_of(const run_settings *set, const dual_system *system) {
    static char name[sizeof((run_entry *)0)->name];
    run_name(set, system, name, sizeof name);
    return name;
}

static void test_names(void) {
    run_settings set;
    dual_system s = dual_system_preset("h2");
    options_defaults(RUN_OPTIONS, &set);
    s.latents = 4;
    text_is(name_of(&set, &s), "h2", "a preset");
    s.detach = s.gain = 1;
    text_is(name_of(&set, &s), "h2+detach+gain", "options of the exchange");
    strcpy(set.steps_shown, "curriculum");
    text_is(name_of(&set, &s), "h2+stages+detach+gain", "curriculum");
    strcpy(set.steps_shown, "all");
    strcpy(set.match_flops, "runs/other");
    s.kv_layers = 1;
    s.fused = 1;
    s.text_loss = s.orthogonality = 0.5;
    strcpy(s.name, "custom");
    s.inject = DUAL_EMBED;
    text_is(name_of(&set, &s),
            "embed/trained+layers+fused+text+orth+steps+detach+gain@flops",
            "the longest name has room");
    memset(&s, 0, sizeof s);
    s = dual_system_preset("none");
    strcpy(set.steps_shown, "none");
    text_is(name_of(&set, &s), "none@flops", "at another's FLOPs");
    strcpy(set.objective, "lm");
    text_is(name_of(&set, &s), "Base", "a Base");
    strcpy(set.wide_of, "runs/base");
    text_is(name_of(&set, &s), "wide Base", "a wide Base");
}

/* A run as it is known when it is opened. */
static loaded_run opened(const char *system, size_t seed) {
    loaded_run it;
    memset(&it, 0, sizeof it);
    options_defaults(RUN_OPTIONS, &it.r.set);
    it.r.system = dual_system_preset(system);
    it.r.system.latents = it.r.system.inject == DUAL_NONE ? 0 : 4;
    it.r.set.seed = seed;
    it.r.set.steps = 100;
    strcpy(it.r.set.system, system);
    it.task.kind = TASK_COUNTDOWN;
    it.task.tokens = countdown_words();
    return it;
}

static int add(dual_ctx *c, comparison *k, loaded_run it, const char *folder) {
    const int ok = comparison_add(c, k, &it, folder);
    tokenizer_free(it.task.tokens);
    return ok;
}

static void collect(void *to, const char *line) {
    char *text = to;
    snprintf(text + strlen(text), 2000 - strlen(text), "%s\n", line);
}

static loaded_run opened_base(size_t seed) {
    loaded_run it = opened("none", seed);
    strcpy(it.r.set.objective, "lm");
    return it;
}

/* Warnings of runs that are all at their last step. */
static const char *warnings_of(comparison *k) {
    static char lines[2000];
    *lines = 0;
    comparison_warnings(k, collect, lines);
    return lines;
}

static void test_gathering(void) {
    static const char *const expected[] = {"Base", "none", "soft", "coconut", "h2", "h2"};
    static const char *const added[] = {"h2", "coconut", "soft", "h2", "none"};
    dual_ctx c;
    comparison k;
    findings none;
    void *memory = check_begin(&c, 1 << 12);
    memset(&none, 0, sizeof none);
    compare_begin(&c, &k);
    for (size_t i = 0; i < 5; i++)
        check_that(add(&c, &k, opened(added[i], i ? 1 : 2), added[i]), "%s joins", added[i]);
    check_that(!k.has_base && add(&c, &k, opened_base(1), "base") && k.has_base, "a Base joins");
    check_that(comparison_gather(&c, &k), "gathered: %s", c.error);
    for (size_t i = 0; i < 6; i++) text_is(k.entries[i].label, expected[i], "the method's order");
    check_size(k.entries[4].set.seed, 1, "seeds of an arm in order");
    check_size(k.n_families, 1, "one family");
    text_is(k.families->title, "", "which needs no name");
    for (size_t i = 0; i < 6; i++) k.entries[i].step = 100;
    text_is(warnings_of(&k), "", "nothing to warn of");
    k.entries[3].set.batch = 7;
    k.entries[2].step = 90;
    strcpy(k.entries[1].set.match_flops, "h2");    /* may have other steps */
    k.entries[1].set.steps = 50;
    text_is(warnings_of(&k), "coconut: --batch is 7, that of none is 128\n"
            "soft: at step 90 of 100\n", "warnings");
    k.entries[2].set.batch = k.entries[4].set.batch = 7;
    text_is(warnings_of(&k), "soft: --batch is 7, that of none is 128\n"
            "coconut: --batch is 7, that of none is 128\nh2: --batch is 7, that of none is 128\n"
            "soft: at step 90 of 100\n", "three of a kind");
    k.entries[5].set.batch = 7;
    text_is(warnings_of(&k), "--batch: so in 4 runs, the first: soft: --batch is 7, that of none "
            "is 128\nsoft: at step 90 of 100\n", "more than three of a kind are one");
    k.entries[3].set.score_points = 9;
    k.entries[3].set.recompute = 1;
    for (size_t i = 0; i < 6; i++) k.entries[i].set.batch = 7;
    k.entries[2].step = 100;
    text_is(warnings_of(&k), "", "what moves no number is not warned of");
    compare_end(&k, &none);
    check_end(&c, memory);
}

/* Runs of one system that differ in an option are arms of their own; labels do not hang on which
 * of them comes first. */
static void test_families(void) {
    static const struct { const char *system; size_t latents, seed; } given[] = {
        {"h2", 16, 1}, {"soft", 4, 1}, {"none", 0, 1}, {"h2", 4, 1}, {"soft", 16, 1}, {"h2", 4, 2}
    };
    static const char *const expected[] = {"none", "soft:4", "soft:16", "h2:4", "h2:4", "h2:16"};
    for (size_t first = 0; first < 6; first++) {
        dual_ctx c;
        comparison k;
        findings none;
        void *memory = check_begin(&c, 1 << 12);
        memset(&none, 0, sizeof none);
        compare_begin(&c, &k);
        for (size_t i = 0; i < 6; i++) {
            const size_t at = (first + i) % 6;
            loaded_run it = opened(given[at].system, given[at].seed);
            it.r.system.latents = it.r.set.latents = given[at].latents;
            check_that(add(&c, &k, it, given[at].system), "%s joins", given[at].system);
        }
        k.has_base = 1;
        check_that(comparison_gather(&c, &k), "gathered: %s", c.error);
        for (size_t i = 0; i < 6; i++) text_is(k.entries[i].label, expected[i], "by value");
        check_size(k.n_families, 2, "families");
        text_is(k.families[0].title, "latents=4", "the first");
        text_is(k.families[1].title, "latents=16", "the second");
        check_size(k.n_groups, 1, "the same problems for all");
        for (size_t i = 0; i < 6; i++) k.entries[i].step = 100;
        text_is(warnings_of(&k), "", "what was asked for is not warned of");
        compare_end(&k, &none);
        check_end(&c, memory);
    }
}

/* Other options: a rate, and what the problems are, which then are others. */
static void test_families_of_options(void) {
    dual_ctx c;
    comparison k;
    findings none;
    void *memory = check_begin(&c, 1 << 12);
    memset(&none, 0, sizeof none);
    compare_begin(&c, &k);
    loaded_run it = opened("h2", 1);
    it.r.set.rate = 0.01;
    check_that(add(&c, &k, it, "a"), "the first");
    it = opened("h2", 1);
    it.r.set.rate = 0.003;
    check_that(add(&c, &k, it, "b"), "the second");
    it = opened("none", 1);
    it.r.set.rate = 0.003;
    strcpy(it.r.set.numbers, "4");
    check_that(add(&c, &k, it, "c"), "the third");
    k.has_base = 1;
    check_that(comparison_gather(&c, &k), "gathered: %s", c.error);
    text_is(k.entries[0].label, "none:numbers=4:lr=0.003", "first label");
    text_is(k.entries[1].label, "h2:numbers=3:lr=0.003", "second label");
    text_is(k.entries[2].label, "h2:numbers=3:lr=0.01", "third label");
    check_size(k.n_groups, 2, "groups of problems");
    check_size(k.entries[0].group, 0, "of four numbers");
    check_that(k.entries[1].group == 1 && k.entries[2].group == 1, "of three numbers");
    check_size(k.n_families, 3, "families");
    text_is(k.families[0].title, "numbers=3, lr=0.003", "first family");
    text_is(k.families[2].title, "numbers=4, lr=0.003", "third family");
    compare_end(&k, &none);
    check_end(&c, memory);
}

static void test_gathering_refused(void) {
    dual_ctx c;
    comparison k;
    findings none;
    void *memory = check_begin(&c, 1 << 12);
    memset(&none, 0, sizeof none);
    compare_begin(&c, &k);
    loaded_run it = opened("h2", 1);
    strcpy(it.r.set.objective, "pretrain");
    check_refused(&c, add(&c, &k, it, "a"), "a run that was pretrained");
    check_that(add(&c, &k, opened("h2", 1), "a"), "the first");
    it = opened("h2", 1);
    it.task.kind = TASK_PROSQA;
    check_refused(&c, add(&c, &k, it, "b"), "another task");
    it = opened("h2", 1);
    tokenizer_free(it.task.tokens);
    char error[200];
    it.task.tokens = tokenizer_of_words(words_new_bytes(), error, sizeof error);
    check_refused(&c, add(&c, &k, it, "b"), "another tokenizer");
    check_that(add(&c, &k, opened("h2", 1), "b"), "a second one");
    check_refused(&c, families_arrange(&c, &k), "one arm and seed twice");
    compare_end(&k, &none);
    check_end(&c, memory);
}

/* A Base is known by what it holds. */
static void test_warnings_of_bases(void) {
    dual_ctx c;
    comparison k;
    findings none;
    void *memory = check_begin(&c, 1 << 12);
    memset(&none, 0, sizeof none);
    compare_begin(&c, &k);
    check_that(add(&c, &k, opened("none", 1), "none"), "none");
    check_that(add(&c, &k, opened("h2", 1), "h2"), "h2");
    check_that(add(&c, &k, opened("h2", 2), "h2-2"), "another seed");
    check_that(add(&c, &k, opened_base(1), "base"), "a Base");
    check_that(families_arrange(&c, &k), "arranged: %s", c.error);
    for (size_t i = 0; i < 4; i++) {
        k.entries[i].step = 100;
        snprintf(k.entries[i].base, sizeof k.entries[i].base, "base-%zu", i);
        strcpy(k.entries[i].base_held, "same");
    }
    text_is(warnings_of(&k), "base-1: one Base for 2 seeds: no interval speaks of another Base\n",
            "the same Base by other paths is one draw");
    strcpy(k.entries[3].base_held, "its own");
    text_is(warnings_of(&k), "", "a Base for each seed");
    strcpy(k.entries[2].base_held, "other");
    text_is(warnings_of(&k),
            "h2: started from base-2, which is another Base than base-1 of none\n",
            "two Bases in one seed");
    *k.entries[2].base_held = 0;
    text_is(warnings_of(&k), "h2: started from base-2, that of none from base-1, and one of the "
            "two cannot be read: they may differ\n", "a Base that has gone");
    strcpy(k.entries[2].base_held, "same");
    strcpy(k.entries[0].base_held, "strange");
    text_is(warnings_of(&k), "base: no other run was started from this Base\n", "another Base");
    compare_end(&k, &none);
    check_end(&c, memory);
}

static void test_curve(void) {
    double at[4] = {-1, -1, -1, -1};
    read_curve("step,loss,rate,norm,accuracy,seconds\n10,1,1,1,,0\n24,1,1,1,0.1,0\n"
               "26,1,1,1,.2,0\n25,1,1,1,0.25,0\n56,1,1,1,0.5,0\n80,1,1,1,0.7,0\n70,1,1,1,nan,0\n"
               "100,1,1,1,1,0", 100, at);
    check_close(at[0], 0.25, 0, "the nearest scored row counts");
    check_close(at[1], -1, 0, "more than a twentieth of the run away");
    check_close(at[2], -1, 0, "just a twentieth away is too far; a row without accuracy");
    check_close(at[3], 1, 0, "a last line without a break");
    read_curve("", 100, at);
    check_close(at[3], 1, 0, "an empty log changes nothing");
    read_curve("31,1,1,1,0.25\n33,1,1,1,0.5\n", 64, at);
    check_close(at[1], 0.25, 0, "of two equally near the first");
}

/* hits, of: -1 where it is not known. */
static void share_is(dual_json it, double hits, double of, double share, const char *what) {
    check_close(dual_json_number(dual_json_get(it, "hits"), -1), hits, 1e-9, "%s: hits", what);
    check_close(dual_json_number(dual_json_get(it, "of"), -1), of, 1e-9, "%s: of", what);
    check_close(dual_json_number(dual_json_get(it, "share"), -1), share, 1e-9, "%s", what);
}

static void report_has(const char *text, const char *const *lines, size_t n) {
    for (size_t i = 0; i < n; i++)
        check_that(strstr(text, lines[i]) != NULL, "no \"%s\" in:\n%s", lines[i], text);
}

static void report_begin_by_hand(dual_ctx *c, comparison *k, findings *all) {
    compare_begin(c, k);
    k->kind = TASK_COUNTDOWN;
    for (size_t seed = 1; seed <= 5; seed++) put_run(k, "soft", seed, "11111110", "11111110");
    for (size_t seed = 1; seed <= 5; seed++) put_run(k, "h2", seed, "00000000", "00000000");
    for (size_t i = 0; i < 5; i++) k->entries[i].system = dual_system_preset("soft");
    for (size_t i = 0; i < 5; i++) k->entries[i].number[FLOPS] = 1234567;
    for (size_t i = 0; i < 5; i++) k->entries[i].system.latents = 4;
    compare_settle(c, k, "", all);
    k->groups->floor = 0.05;
}

static void test_report_tables(void) {
    static const char *const lines[] = {
        "8 hand-made problems, the same for all;",
        "Random expressions are right in 5.0 %.\n",
        "soft      5   87.5     0.0  [ 57.9, 100.0]  seeds        =\n",
        "h2        5    0.0     0.0  [  0.0,  32.4]      -      0.0\n",
        "soft  1.23M\n",
        "one model is better  soft - h2        +87.5 +- 29.6  seeds     0.0",
        "yes (5 seeds)\n", "cannot tell (interval holds 0; 5 seeds)\n",
        "h2 - soft  -87.5 +- 29.6  seeds     0.0", "no (5 seeds)\n",
        "left out: Base, no run of it: soft - Base, h2 - Base\n"
    };
    static const char *const markdown[] = {
        "|  | seeds | right | spread | 95 % | over |", "|---|--:|--:|",
        "| soft | 5 | 87.5 | 0.0 | [ 57.9, 100.0] | seeds | = | - |",
        "| h2 - soft | -87.5 +- 29.6 | seeds | 0.0 |", "| no (5 seeds) |\n"
    };
    static const char *const csv[] = {
        "row,family,name,claim,seeds,problems,share,spread,low,high,over,accuracy_swapped,loss,",
        ",p,p_holm,verdict,why,seed,folder\n", "arm,,soft,,5,8,0.875,0,0.57942", "run,,soft,,1,8,",
        "sentence,,soft - h2,one model is better,5,8,0.875,0,0.57942",
        "\npair,,h2 - soft,,5,8,-0.875"
    };
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    report_begin_by_hand(&c, &k, &all);
    FILE *f = stream();
    check_that(report_comparison(&c, f, &k, &all, 0), "printed: %s", c.error);
    report_has(text_of(f), lines, sizeof lines / sizeof *lines);
    f = stream();
    report_comparison(&c, f, &k, &all, 1);
    report_has(text_of(f), markdown, sizeof markdown / sizeof *markdown);
    f = stream();
    report_comparison_csv(f, &k, &all);
    const char *text = text_of(f);
    report_has(text, csv, sizeof csv / sizeof *csv);
    for (size_t commas = 0; *text; text++) {
        commas += *text == ',';
        if (*text == '\n') check_size(commas, 29, "CSV: as many columns in every row");
        if (*text == '\n') commas = 0;
    }
    f = stream();
    report_warnings(f, &k);
    text_is(text_of(f), "warning: the untouched Base was not found; add its run\n", "warnings");
    compare_end(&k, &all);
    check_end(&c, memory);
}

static void test_report_json(void) {
    dual_ctx c;
    comparison k;
    findings all;
    void *memory = check_begin(&c, 1 << 12);
    report_begin_by_hand(&c, &k, &all);
    FILE *f = stream();
    json_writer j = json_begin(f);
    json_open(&j, NULL, '{');
    report_comparison_json(&j, &k, &all);
    json_close(&j, '}');
    const char *text = text_of(f);
    const dual_json doc = dual_json_text(text, strlen(text), NULL, 0);
    dual_json key, arm_0 = {NULL, NULL}, first = {NULL, NULL};
    check_that(dual_json_each(dual_json_get(doc, "arms"), &key, &arm_0), "JSON: an arm");
    share_is(dual_json_get(arm_0, "accuracy"), 7, 8, 0.875, "accuracy");
    share_is(dual_json_get(arm_0, "accuracy_swapped"), 7, 8, 0.875, "swapped");
    check_close(dual_json_number(dual_json_get(arm_0, "spread"), -1), 0, 1e-12, "spread");
    check_that(dual_json_type(dual_json_get(dual_json_get(arm_0, "accuracy_at_25"), "share")) ==
               'n', "an accuracy that is not known is an object of nulls");
    share_is(dual_json_get(doc, "accuracy_random_expressions"), -1, -1, 0.05, "random expressions");
    check_that(dual_json_type(dual_json_get(arm_0, "loss")) == 'n', "what does not apply is null");
    check_that(dual_json_each(dual_json_get(doc, "contrasts"), &key, &first), "JSON: a sentence");
    const double p = dual_json_number(dual_json_get(first, "p"), -1);
    check_close(p, all.sentences->share.p, 1e-9, "p");
    check_close(dual_json_number(dual_json_get(first, "p_holm"), -1), 2 * p, 1e-9, "corrected p");
    first = dual_json_get(first, "difference");
    check_close(dual_json_number(dual_json_get(first, "share"), -1), 0.875, 1e-9, "difference");
    check_close(dual_json_number(dual_json_get(first, "low"), -1), 0.57942, 1e-5, "its interval");
    first.begin = first.end = NULL;
    check_that(dual_json_each(dual_json_get(doc, "pairs"), &key, &first), "JSON: a pair");
    check_that(dual_json_type(dual_json_get(doc, "left_out")) == '[', "JSON: what was left out");
    compare_end(&k, &all);
    check_end(&c, memory);
}

/* What every document begins with: options with their types, the run's system in fields. */
static void test_report_begin(void) {
    typedef struct { char word[8]; size_t seed, n; double x; int flag; const char *text; } kinds;
    static const option table[] = {
        {"the-word", OPTION_AT(OPTION_TEXT, kinds, word), "", "", UNSAVED},
        {"seed", OPTION_AT(OPTION_SIZE, kinds, seed), "1", "", UNSAVED},
        {"n", OPTION_AT(OPTION_SIZE, kinds, n), "1", "", UNSAVED},
        {"x", OPTION_AT(OPTION_REAL, kinds, x), "1", "", UNSAVED},
        {"flag", OPTION_AT(OPTION_FLAG, kinds, flag), "0", "", UNSAVED},
        {"text", OPTION_AT(OPTION_ARGUMENT, kinds, text), NULL, "", UNSAVED},
        {"json", OPTION_AT(OPTION_FLAG, kinds, flag), "0", "", UNSAVED},
        {NULL, OPTION_TEXT, 0, 0, NULL, NULL, UNSAVED}
    };
    const kinds set = {"a \"b\"", 7, 3, 0.5, 1, NULL};
    FILE *f = stream();
    json_writer j = report_begin(f, "score", table, &set);
    loaded_run it = opened("h1", 5);
    strcpy(it.r.set.steps_shown, "curriculum");
    it.r.set.stages = 2;
    it.r.set.stage_steps = 10;
    it.r.system.kv_layers = 5;
    report_run_json(&j, "run", "runs/x", &it.r.set, &it.r.system, 11);
    json_close(&j, '}');
    const char *text = text_of(f);
    static const char *const parts[] = {
        "{\n  \"version\": 1,\n  \"program\": \"dual ", "\n  \"command\": \"score\",\n",
        "  \"options\": {\n    \"the_word\": \"a \\\"b\\\"\",\n    \"seed\": 7,\n    \"n\": 3,",
        "    \"x\": 0.5,\n    \"flag\": true,\n    \"text\": null\n  },\n  \"seed\": 7,\n",
        "  \"run\": {\n    \"folder\": \"runs/x\",\n    \"task\": \"countdown\",",
        "\"label\": \"h1 = inject kv, Base frozen, N_L 4, layers 0,2\"", "\"name\": \"h1\"",
        "\"inject\": \"kv\"", "\"base_trained\": false", "\"latents\": 4",
        "\"kv_layers\": [\n        0,\n        2\n      ]", "\"seed\": 5,\n    \"step\": 11,",
        "\"stage\": 1\n"
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        check_that(strstr(text, parts[i]) != NULL, "no %s in:\n%s", parts[i], text);
    tokenizer_free(it.task.tokens);
    f = stream();
    j = report_begin(f, "compare", table + 2, &set);
    json_close(&j, '}');
    check_that(strstr(text_of(f), "\"seed\": null") != NULL, "no seed: null");
}

/* ---- A trace in words ---------------------------------------------------------------------- */

/* A tiny run that never saw a disk. */
static loaded_run tiny(dual_ctx *c, const char *system, const char *detach) {
    loaded_run it = opened(system, 1);
    char error[200];
    it.r.set.latents = 2;
    it.r.set.detach = *detach != 0;
    if (!run_system(&it.r.set, &it.r.system, error, sizeof error)) check_fatal(error);
    it.latents = it.r.system.latents;
    it.task.end = tokenizer_end(it.task.tokens);
    it.task.mark = "";
    if (tokenizer_encode(it.task.tokens, "\n", 1, 0, &it.task.cue, 1, error, sizeof error) != 1)
        check_fatal("no cue");
    const dual_config shape = {DUAL_GPT2, 1, tokenizer_size(it.task.tokens), 32, 2, 8, 2, 2, 4, 32,
                               1e-5, 0};
    it.r.shape = shape;
    if (!run_build(c, &it.r)) check_fatal(c->error);
    dual_model_init(it.r.base, dual_rng_seed(1, 1));
    dual_exchange_init(&it.r.exchange, 1);
    return it;
}

static example row_of(const loaded_run *it, const char *question, const char *answer_text) {
    char error[200];
    task_set set;
    example e;
    memset(&set, 0, sizeof set);
    if (!task_put(&set, question, strlen(question)) ||
        !task_put(&set, answer_text, strlen(answer_text)) || !task_close(&set, 0))
        check_fatal("out of memory for a row");
    const task_row row = task_get(&set, 0);
    if (!run_example(&it->r.set, &it->task, 0, &row, &e, error, sizeof error)) check_fatal(error);
    task_free(&set);
    return e;
}

/* Every pass as "NAME: WHAT sees SEEN; ..", a line each. */
static void passes_are(const char *system, const char *detach, const char *expected) {
    dual_ctx c;
    dual_outcome out;
    run_prompts p;
    char text[3000] = "", what[40], sees[80];
    void *memory = check_begin(&c, 8 << 20);
    loaded_run it = tiny(&c, system, detach);
    example row = row_of(&it, "3 7", "10");
    run_prompts_fill(&p, &it.task, &row, 1, 1);
    c.inference = 1;
    dual_exchange e = loaded_run_exchange(&c, &it);
    dual_run(&c, &e, &p.batch, &out);
    for (size_t i = 0; i < out.n_passes; i++) {
        const dual_pass *pass = &out.pass[i];
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s:", pass->name);
        for (size_t r = 0; r < pass->rows; r++) {
            trace_row(&it, pass, r, p.group[0].prefix, what, sizeof what);
            trace_sees(&it, &out, pass, r, sees, sizeof sees);
            snprintf(text + strlen(text), sizeof text - strlen(text), " [%s: %s]", what, sees);
        }
        snprintf(text + strlen(text), sizeof text - strlen(text), " %s; %s\n",
                 trace_recorded(&it, pass), trace_hands_over(&it, &out, i));
    }
    text_is(text, expected, system);
    free(row.packed);
    free(row.text);
    tokenizer_free(it.task.tokens);
    check_end(&c, memory);
}

#define READS "read: [3: own 0] [7: own 0-1] "
#define KEYS "KV_theta, its keys and values of every layer\n"
#define COPROCESSOR "recorded: trains the Coprocessor and S; "

static void test_trace_passes(void) {
    passes_are("none", "", "speak: [3: own 0] [7: own 0-1] [\\n (cue): own 0-2] [10 (y): own 0-3] "
               "recorded: trains the Base; the answer\n");
    passes_are("soft", "", "speak: [3: own 0] [7: own 0-1] [S[0]: own 0-2] [S[1]: own 0-3] "
               "[\\n (cue): own 0-4] [10 (y): own 0-5] recorded: trains the Base; the answer\n");
    passes_are("prompt", "", READS "not recorded: the Base is frozen; " KEYS
               "speak: [S[0]: Base 0-1, own 0] [S[1]: Base 0-1, own 0-1] "
               "[\\n (cue): Base 0-1, own 0-2] [10 (y): Base 0-1, own 0-3] "
               "recorded: frozen, but gradient passes through it; the answer\n");
    passes_are("pause", "", "speak: [3: own 0] [7: own 0-1] [s: own 0-2] [s: own 0-3] "
               "[\\n (cue): own 0-4] [10 (y): own 0-5] recorded: trains the Base; the answer\n");
    passes_are("h2", "", READS "recorded: trains the Base; " KEYS
               "think: [S[0]: Base 0-1, own 0] [S[1]: Base 0-1, own 0-1] " COPROCESSOR
               "Z, its final states (|state|), as the Base's next input\n"
               "speak: [Z[0]: Base 0-1, own 0] [Z[1]: Base 0-1, own 0-1] "
               "[\\n (cue): Base 0-1, own 0-2] [10 (y): Base 0-1, own 0-3] "
               "recorded: trains the Base; the answer\n");
    passes_are("h2", "detached", READS "detached: no gradient comes back to it; " KEYS
               "think: [S[0]: det. Base 0-1, own 0] [S[1]: det. Base 0-1, own 0-1] " COPROCESSOR
               "Z, its final states (|state|), as the Base's next input\n"
               "speak: [Z[0]: det. Base 0-1, own 0] [Z[1]: det. Base 0-1, own 0-1] "
               "[\\n (cue): det. Base 0-1, own 0-2] [10 (y): det. Base 0-1, own 0-3] "
               "recorded: trains the Base; the answer\n");
    passes_are("h1", "", READS "not recorded: the Base is frozen; " KEYS
               "think: [S[0]: Base 0-1, own 0] [S[1]: Base 0-1, own 0-1] " COPROCESSOR
               "KV_phi, its keys and values of every layer\n"
               "speak: [\\n (cue): Base 0-1, Cop 0-1, own 0] [10 (y): Base 0-1, Cop 0-1, own 0-1] "
               "recorded: frozen, but gradient passes through it; the answer\n");
    passes_are("coconut", "", "read: [3: own 0] [7: own 0-1] [s: own 0-2] "
               "recorded: trains the Base; its cache, and the last row's state as the next input: "
               "a thought\n"
               "think: [thought 1: Base 0-2, own 0] recorded: trains the Base; its cache, and the "
               "last row's state as the next input: a thought\n"
               "speak: [thought 2: Base 0-2, thought 1, own 0] "
               "[\\n (cue): Base 0-2, thought 1, own 0-1] [10 (y): Base 0-2, thought 1, own 0-2] "
               "recorded: trains the Base; the answer\n");
}

/* One block by hand from the weights that attention_of gives: x + (weights V) W_o, then the MLP.
 * It must be what the next block gets. */
static dual_tensor *block_by_hand(dual_ctx *c, const dual_pass *p, const attention_map *a,
                                  size_t l, dual_tensor *x) {
    const dual_model *m = p->model;
    const size_t hd = m->config.head_dim;
    dual_tensor *w[12], *sum = dual_tensor_new(c, p->rows, m->config.hidden);
    for (size_t i = 0; i < 12; i++) w[i] = m->param[2 + 12 * l + i].tensor;
    memset(sum->data, 0, sum->rows * sum->cols * sizeof *sum->data);
    for (size_t h = 0; h < a->heads; h++)
        for (size_t r = 0; r < p->rows; r++) {
            const dual_real *weight = a->weight + ((l * a->heads + h) * a->rows + r) * a->keys;
            double total = 0;
            for (size_t i = 0, at = 0; i < p->n_seen; i++) {
                const dual_seen *seen = &p->seen[i];
                const dual_tensor *v = (seen->cache ? seen->cache : &p->cache)->v[l];
                for (int32_t k = seen->begin[r]; k < seen->end[r]; k++, at++) {
                    for (size_t j = h * hd; j < (h + 1) * hd; j++)
                        sum->data[r * sum->cols + j] +=
                            weight[at] * v->data[(size_t)k * v->stride + j];
                    total += (double)weight[at];
                }
            }
            check_close(total, 1, 1e-5, "shares of layer %lu, head %lu, row %lu", (unsigned long)l,
                        (unsigned long)h, (unsigned long)r);
        }
    x = dual_add(c, x, dual_linear(c, sum, w[4], w[5], DUAL_IN_OUT));
    sum = dual_layernorm(c, x, w[6], w[7], m->config.norm_eps);
    sum = dual_gelu(c, dual_linear(c, sum, w[8], w[9], DUAL_IN_OUT));
    return dual_add(c, x, dual_linear(c, sum, w[10], w[11], DUAL_IN_OUT));
}

static void attention_is(dual_ctx *c, const dual_pass *pass) {
    dual_tensor *trace[3];
    dual_pass p = *pass;
    attention_map a;
    check_that(attention_of(c, pass, &a), "attention: %s", c->error);
    check_size(a.layers, 2 - (size_t)(p.cache_only != 0), "layers with queries");
    p.trace = trace;
    dual_forward(c, &p);
    for (size_t l = 0; l < a.layers; l++) {
        const dual_tensor *y = block_by_hand(c, &p, &a, l, trace[l]);
        double most = 0;
        for (size_t i = 0; i < y->rows * y->cols; i++)
            most = fmax(most, fabs((double)y->data[i] - (double)trace[l + 1]->data[i]));
        check_close(most, 0, 1e-5, "%s: block %lu by hand", p.name, (unsigned long)l);
    }
}

static void test_trace_attention(void) {
    static const char *const systems[] = {"none", "liu", "h1"};
    for (size_t k = 0; k < 3; k++) {
        dual_ctx c;
        dual_outcome out;
        run_prompts p;
        void *memory = check_begin(&c, 8 << 20);
        loaded_run it = tiny(&c, systems[k], "");
        example row = row_of(&it, "3 7", "10");
        run_prompts_fill(&p, &it.task, &row, 1, 1);
        c.inference = 1;
        dual_exchange e = loaded_run_exchange(&c, &it);
        dual_run(&c, &e, &p.batch, &out);
        for (size_t i = 0; i < out.n_passes; i++) attention_is(&c, &out.pass[i]);
        free(row.packed);
        free(row.text);
        tokenizer_free(it.task.tokens);
        check_end(&c, memory);
    }
}

static void test_trace_words(void) {
    static const char *const ways[][2] = {
        {"none", "loss -> speak (Base)"},
        {"prompt", "loss -> speak (frozen) -> the learned vectors"},
        {"coconut", "loss -> speak (Base) -> every thought -> the learned vectors"},
        {"liu", "loss -> speak (frozen) -> Z -> think (Coprocessor, S)"},
        {"h1h2", "loss -> speak (Base) -> KV_phi -> think (Coprocessor, S); both -> KV_theta -> "
         "read (Base)"}
    };
    char text[200];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const dual_system s = dual_system_preset(ways[i][0]);
        trace_gradient(&s, text, sizeof text);
        text_is(text, ways[i][1], "the gradient's way");
    }
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 16);
    run_task task;
    dual_tensor *logits = dual_tensor_new(&c, 2, 5);
    memset(&task, 0, sizeof task);
    task.tokens = countdown_words();
    for (size_t i = 0; i < 10; i++) logits->data[i] = (dual_real)(i < 5 ? 0 : -50);
    logits->data[6] = (dual_real)50;
    trace_likeliest(&task, logits, 0, text, sizeof text);
    text_is(text, "  <end> 20%, \\n 20%, numbers: 20%", "of equal ones the first");
    trace_likeliest(&task, logits, 1, text, sizeof text);
    text_is(text, "  \\n 100%", "what rounds to nothing is left out");
    logits->data[0] = (dual_real)3;
    logits->data[1] = (dual_real)4;
    check_close(trace_norm(logits, 0), 5, 1e-6, "norm of a row");
    tokenizer_free(task.tokens);
    check_end(&c, memory);
}

/* The likeliest token is shown as... */
static void shown_as(tokenizer *t, int32_t id, const char *expected) {
    dual_ctx c;
    char text[200], line[80];
    void *memory = check_begin(&c, 1 << 16);
    run_task task;
    dual_tensor *logits = dual_tensor_new(&c, 1, tokenizer_size(t));
    memset(&task, 0, sizeof task);
    task.tokens = t;
    for (size_t i = 0; i < logits->cols; i++) logits->data[i] = (dual_real)0;
    logits->data[id] = (dual_real)100;
    trace_likeliest(&task, logits, 0, text, sizeof text);
    snprintf(line, sizeof line, "  %s 100%%", expected);
    text_is(text, line, "a token as it is shown");
    check_end(&c, memory);
}

static void test_trace_tokens(void) {
    static const char *const list[] = {"<end>", "\xC3\xA9t\xC3\xA9",
                                       "longer_than_there_is_room"};
    char error[200];
    tokenizer *bytes = tokenizer_of_words(words_new_bytes(), error, sizeof error);
    if (!bytes) check_fatal(error);
    shown_as(bytes, tokenizer_id(bytes, "<byte 104>"), "'h'");
    shown_as(bytes, tokenizer_id(bytes, "<byte 32>"), "' '");
    shown_as(bytes, tokenizer_id(bytes, "<byte 10>"), "'\\n'");
    shown_as(bytes, tokenizer_id(bytes, "<byte 9>"), "'\\t'");
    shown_as(bytes, tokenizer_id(bytes, "<byte 0>"), "'\\0'");
    shown_as(bytes, tokenizer_id(bytes, "<byte 127>"), "'\\x7F'");
    shown_as(bytes, tokenizer_id(bytes, "<byte 195>"), "'\\xC3'");
    shown_as(bytes, tokenizer_end(bytes), "<end>");
    tokenizer_free(bytes);
    tokenizer *t = countdown_words();
    shown_as(t, tokenizer_id(t, "\n"), "\\n");
    shown_as(t, tokenizer_id(t, "target:"), "target:");
    tokenizer_free(t);
    t = tokenizer_of_words(words_new(list, 3, error, sizeof error), error, sizeof error);
    if (!t) check_fatal(error);
    shown_as(t, 1, "\xC3\xA9t\xC3\xA9");
    shown_as(t, 2, "longer_than_the");
    tokenizer_free(t);
}

/* ---- A run on disk ------------------------------------------------------------------------- */

/* What train would leave behind after no step at all. */
static void make_run(const char *folder, const char *task, const char *objective,
                     const char *system, const char *with) {
    char error[300];
    run r;
    run_task t;
    dual_ctx c;
    dual_adamw adamw;
    void *memory = check_begin(&c, 64 << 20);
    memset(&r, 0, sizeof r);
    options_defaults(RUN_OPTIONS, &r.set);
    strcpy(r.set.task, task);
    strcpy(r.set.objective, objective);
    strcpy(r.set.system, system);
    snprintf(r.set.tokenizer, sizeof r.set.tokenizer, "%s", with);
    snprintf(r.set.out, sizeof r.set.out, "%s", folder);
    r.set.layers = r.set.heads = 2;
    r.set.width = 8;
    r.set.latents = 2;
    r.set.ahead = 3;
    r.set.context = 40;
    r.set.steps = 1;
    if (!run_task_open(&r.set, NULL, 0, &t, error, sizeof error) ||
        !run_system(&r.set, &r.system, error, sizeof error) || !data_make_folder(folder) ||
        !tokenizer_save(t.tokens, folder, error, sizeof error))
        check_fatal(error);
    const dual_config shape = {DUAL_GPT2, 1, tokenizer_size(t.tokens), 40, 2, 8, 2, 2, 4, 32, 1e-5,
                               0};
    r.shape = shape;
    if (!run_save_settings(&c, &r.set) || !run_build(&c, &r)) check_fatal(c.error);
    dual_model_init(r.base, dual_rng_seed(3, 1));
    dual_exchange_init(&r.exchange, 1);
    dual_exchange_train(&c, &r.exchange);
    dual_adamw_new(&c, &adamw, &r.exchange);
    if (!run_save(&c, &r, &adamw)) check_fatal(c.error);
    run_task_close(&t);
    check_end(&c, memory);
}

static const char *path_of(const char *name) {
    static char path[4][600];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", scratch, name);
    return path[next];
}

static const char *write_text(const char *name, const char *text) {
    const char *path = path_of(name);
    check_write(path, text, strlen(text));
    return path;
}

static loaded_run must_open(dual_ctx *c, const char *folder) {
    loaded_run it;
    if (!loaded_run_open(c, folder, "", 0, &it)) check_fatal(c->error);
    return it;
}

static void test_opening(void) {
    dual_ctx c;
    loaded_run it;
    void *memory = check_begin(&c, 1 << 12);
    check_refused(&c, loaded_run_open(&c, path_of("nowhere"), "", 0, &it), "no run there");
    check_refused(&c, loaded_run_open(&c, path_of("h2"), "", 3, &it), "more latents than trained");
    check_refused(&c, loaded_run_open(&c, path_of("none"), "", 1, &it), "latents it has not");
    check_that(loaded_run_open(&c, path_of("h2"), "skip", 1, &it), "with less latents: %s",
               c.error);
    check_size(it.latents, 1, "latents at test");
    text_is(it.r.set.broken, "skip", "broken");
    check_size(loaded_run_positions(&it, 5), 40 - 5 - 1 - 1, "positions left for y");
    check_size(loaded_run_positions(&it, 60), 0, "no positions left");
    check_that(!loaded_run_to_base(&it), "there is no Base it was started from");
    loaded_run_close(&it);
    it = must_open(&c, path_of("none"));
    const dual_ablation zero = {DUAL_ZERO, 0, 0}, right = {DUAL_RIGHT, 0, 0};
    check_refused(&c, loaded_run_check_ablation(&c, &it, zero), "latents from elsewhere");
    check_that(loaded_run_check_ablation(&c, &it, right), "nothing asked for");
    snprintf(it.r.set.base, sizeof it.r.set.base, "%s", path_of("h2"));
    check_that(loaded_run_to_base(&it) && !strcmp(it.untouched, path_of("h2/base")), "its Base");
    loaded_run_close(&it);
    check_end(&c, memory);
}

static void test_scoring(void) {
    dual_ctx c;
    problem_set rows;
    score_result r;
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("h2"));
    const char *file = write_text(
        "rows.jsonl", "{\"nums\":[1,2,3],\"target\":6,\"steps\":[\"1+2=3\",\"3+3=6\"],"
        "\"answer\":\"1+2+3\"}\n{\"nums\":[4,5],\"target\":9,\"steps\":[\"4+5=9\"],"
        "\"answer\":\"4+5\"}\n");
    check_refused(&c, problems_read(&c, &it, COUNTDOWN_TEST, path_of("none.jsonl"), 9, &rows),
                  "no file");
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, "", 7, &rows) && rows.n == 7, "%s", c.error);
    text_is(rows.source, "test problems", "where they come from");
    problems_free(&rows);
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, file, 9, &rows), "a file: %s", c.error);
    check_size(rows.n, 2, "rows of the file");
    const score_options how = {{DUAL_SWAPPED, 0, 0}, 0, 1, 4, 1, 0};
    check_that(score_run(&c, &it, &rows, &how, &r), "scored: %s", c.error);
    check_that(r.count.all.of == 2 && r.loss > 0 && r.loss < 20, "two answers, a loss");
    check_that(strstr(r.seen_how, "the train split") != NULL, "what was seen");
    const score_options dropped = {{DUAL_DROP, 2, 0}, 0, 1, 4, 1, 0};
    score_free(&r);
    check_refused(&c, score_run(&c, &it, &rows, &dropped, &r), "a slot that is not there");
    problems_free(&rows);
    check_that(problems_fresh(&c, &it, "", 5, &rows) && rows.n == 5, "fresh prompts");
    latents_report report;
    check_that(latents_report_run(&c, &it, &rows, 0, &report), "latents: %s", c.error);
    check_that(report.slots == 2 && report.width == 8 && report.sizes == LATENTS_SIZES &&
               report.prompts == 5, "2 slots of 8");
    check_that(report.H[0] > 0.98 && report.at[0].h_off > 0 && report.norms[1] > 0, "H, norms");
    const char *file_of_states = path_of("latents.csv");
    check_that(latents_dump(&c, file_of_states, &report), "dumped: %s", c.error);
    double squares = 0;
    size_t length;
    char *csv = dual_text_read(&c, file_of_states, &length), *at = csv ? strchr(csv, '\n') : NULL;
    for (size_t p = 0; at && p < 5; p++)       /* the mean norm of slot 1 comes back */
        for (size_t s = 0; s < 2; s++) {
            double square = 0, x = strtod(at + 1, &at);
            check_close(x, (double)p, 0, "prompt");
            check_close(strtod(at + 1, &at), (double)s, 0, "slot");
            for (size_t i = 0; i < 8; i++) {
                x = strtod(at + 1, &at);
                square += x * x;
            }
            if (s) squares += sqrt(square) / 5;
        }
    check_close(squares, report.norms[1], 1e-5, "what was written is what was analysed");
    free(csv);
    latents_report_free(&report);
    problems_free(&rows);
    loaded_run_close(&it);
    check_end(&c, memory);
}

/* The rows' own answers, as if they had been generated. */
typedef struct {
    const problem_set *rows;
    dual_ablation ablation;
    size_t max_new;                    /* a great one: read row by row */
    answer a[9];
    double likelihood[9];
} gold_job;

static int gold_work(dual_ctx *c, loaded_run *it, void *job) {
    gold_job *j = job;
    answers_likelihood(c, it, j->rows->at, j->rows->n, j->ablation, 1, j->max_new, j->a,
                       j->likelihood);
    return 1;
}

/* Their log p in all is what the loss says, which is computed elsewhere. */
static void test_likelihood(void) {
    dual_ctx c;
    problem_set rows;
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("h2"));
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, "", 9, &rows), "%s", c.error);
    for (int from = DUAL_RIGHT; from < DUAL_DROP; from++) {
        const score_options how = {{(dual_source)from, 0, 0}, 0, 1, 6, 1, 0};
        gold_job job = {.rows = &rows, .ablation = how.ablation, .max_new = 40};
        double targets = 0, sum = 0;
        score_result r;
        int32_t y[9][64];
        for (size_t i = 0; i < rows.n; i++) {
            const example *e = &rows.at[i];
            memcpy(y[i], e->y, e->n_y * sizeof *e->y);
            job.a[i].tokens = y[i];
            job.a[i].length = e->n_y - 1;
            job.a[i].ended = 1;
            targets += (double)e->n_y;
        }
        check_that(score_run(&c, &it, &rows, &how, &r), "scored: %s", c.error);
        check_that(loaded_run_do(&c, &it, gold_work, &job), "likelihoods: %s", c.error);
        for (size_t i = 0; i < rows.n; i++) sum += job.likelihood[i];
        check_close(-sum / targets, r.loss, 1e-5, "log p and loss, latents %d", from);
        const double first = job.likelihood[0];
        job.max_new = 400000;
        check_that(loaded_run_do(&c, &it, gold_work, &job), "likelihoods: %s", c.error);
        if (from == DUAL_RIGHT) check_close(job.likelihood[0], first, 1e-5, "in parts");
        score_free(&r);
    }
    problems_free(&rows);
    loaded_run_close(&it);
    check_end(&c, memory);
}

static void test_answers(void) {
    dual_ctx c;
    problem_set rows;
    score_result r;
    char text[4000];
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("h2"));
    const score_options how = {{DUAL_RIGHT, 0, 0}, 1, 1, 6, 3, 1};
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, "", 5, &rows), "%s", c.error);
    check_that(score_run(&c, &it, &rows, &how, &r), "scored: %s", c.error);
    check_refused(&c, output_check(&c, "--answers", path_of("nowhere/a")), "no such folder");
    const char *file = path_of("answers.jsonl");
    check_that(answers_write(&c, file, &it.task, &rows, 3, r.answers, r.likelihood), "written");
    FILE *f = fopen(file, "rb");
    size_t lines = 0;
    while (f && fgets(text, sizeof text, f)) {
        const dual_json row = dual_json_text(text, strlen(text), NULL, 0);
        const double log_p = dual_json_number(dual_json_get(row, "log_likelihood"), 1);
        check_close(log_p, r.likelihood[lines % 3 * 5 + lines / 3], 1e-6, "its log p");
        check_that(dual_json_type(dual_json_get(row, "answer")) == '"' &&
                   dual_json_type(dual_json_get(row, "verdict")) == '"' &&
                   dual_json_number(dual_json_get(row, "sample"), -1) == (double)(lines % 3) &&
                   dual_json_number(dual_json_get(row, "tokens"), -1) >= 1 &&
                   dual_json_number(dual_json_get(row, "steps"), -1) >= 1, "an answer: %s", text);
        lines++;
    }
    if (f) fclose(f);
    check_size(lines, 15, "one line for each answer");
    score_free(&r);
    problems_free(&rows);
    loaded_run_close(&it);
    check_end(&c, memory);
}

static void seen(const trace_view *v, void *to) {
    char *text = to;
    snprintf(text, 200, "%s | %s | %lu passes%s", v->y, *v->grade ? v->grade : "-",
             (unsigned long)v->out->n_passes, v->given ? ", given" : "");
}

static void judged(const prompt_answer *p, const char *y, int ended, const char *say,
                   const char *value, int solvable) {
    prompt_judgement j;
    prompt_judge(p, y, strlen(y), ended, &j);
    text_is(j.words, say, y);
    text_is(j.value, value, "its value");
    check_that(j.solvable == solvable, "%s: whether there is a solution", y);
}

static void test_prompts(void) {
    const trace_options given = {"1+2*3", 0}, unknown = {"apples", 0}, its_own = {"", 0};
    dual_ctx c;
    prompt_answer p;
    char text[200] = "";
    prompt_options how = {"numbers: 1 2 3 target: 6", {DUAL_SWAPPED, 0, 0}, 0, 1, 0, 0,
                          NULL};
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("h2"));
    check_that(prompt_open(&c, &it, &how, &p), "a prompt: %s", c.error);
    check_that(p.n_rows == 2 && p.is_problem && p.how.max_new > 0, "another one lends its latents");
    check_that(loaded_run_do(&c, &it, prompt_generate, &p), "generated: %s", c.error);
    judged(&p, "1+2+3", 1, "correct: it is 6", "6", 1);
    judged(&p, "1+2+3", 0, "no end token: it is 6, 6 is wanted", "6", 1);
    judged(&p, "1+2/3", 1, "wrong value: it is 5/3, 6 is wanted", "5/3", 1);
    judged(&p, "1-9", 1, "wrong numbers: it is -8, 6 is wanted", "-8", 1);
    judged(&p, "1+", 1, "malformed: 6 is wanted", "", 1);
    judged(&p, "1/(2-2)", 1, "wrong numbers: 6 is wanted", "", 1);
    prompt_close(&p);
    how.text = "numbers: 3 7 12 target: 60";
    how.ablation.from = DUAL_RIGHT;
    check_that(prompt_open(&c, &it, &how, &p), "a prompt: %s", c.error);
    judged(&p, "3*7+12", 1, "wrong value: it is 33, 60 is wanted; the problem has no solution",
           "33", 0);
    prompt_close(&p);
    how.text = "numbers: 1 2 3 target: 6";
    how.ablation.from = DUAL_RIGHT;
    check_that(prompt_open(&c, &it, &how, &p), "a prompt: %s", c.error);
    check_that(trace_run(&c, &it, &p, &given, seen, text), "traced: %s", c.error);
    text_is(text, "1+2*3 <end> | wrong value: it is 7, 6 is wanted | 3 passes, given",
            "a given answer");
    check_refused(&c, trace_run(&c, &it, &p, &unknown, seen, text), "an answer of unknown words");
    check_that(trace_run(&c, &it, &p, &its_own, seen, text), "its own answer: %s", c.error);
    check_that(strstr(text, "3 passes") && !strstr(text, "given"), "its own answer");
    prompt_close(&p);
    how.text = "numbers: apples";
    check_refused(&c, prompt_open(&c, &it, &how, &p), "a prompt of unknown words");
    loaded_run_close(&it);
    check_end(&c, memory);
}

/* The loss and the document of a trace with latents from elsewhere. */
typedef struct { double loss; FILE *to; } traced_loss;

static void keep_loss(const trace_view *v, void *to) {
    traced_loss *out = to;
    out->loss = v->loss;
    json_writer j = json_begin(out->to);
    json_open(&j, NULL, '{');
    trace_json(&j, v);
    json_close(&j, '}');
}

static double traced(loaded_run *it, dual_source from, const char *other, const char **text) {
    static const trace_options how = {"1+2*3", 1};
    const prompt_options asked = {.text = "numbers: 1 2 3 target: 6", .ablation = {from, 1, 5},
                                  .other = other};
    traced_loss out = {0, stream()};
    prompt_answer p;
    dual_ctx c;
    dual_init(&c, NULL, 0);
    if (!prompt_open(&c, it, &asked, &p)) check_fatal(c.error);
    if (!trace_run(&c, it, &p, &how, keep_loss, &out)) check_fatal(c.error);
    prompt_close(&p);
    *text = text_of(out.to);
    return out.loss;
}

/* What the document says of the first row of the last pass. */
static dual_json first_spoken(const char *text) {
    const dual_json passes = dual_json_get(dual_json_text(text, strlen(text), NULL, 0), "passes");
    dual_json key, pass = {NULL, NULL}, last = {NULL, NULL}, row = {NULL, NULL};
    while (dual_json_each(passes, &key, &pass)) last = pass;
    dual_json_each(dual_json_get(last, "rows"), &key, &row);
    return row;
}

static void test_trace_latents(void) {
    dual_ctx c;
    const char *text;
    void *memory = check_begin(&c, 1 << 12);
    static const char *const names[] = {"h2", "h1", "soft"};
    for (size_t k = 0; k < 3; k++) {
        loaded_run it = must_open(&c, path_of(names[k]));
        const double right = traced(&it, DUAL_RIGHT, NULL, &text);
        const int learned = !strcmp(names[k], "soft");
        check_close(traced(&it, DUAL_SWAPPED, "numbers: 1 2 3 target: 6", &text), right, 1e-6,
                    "%s: latents of the same prompt", names[k]);
        const double other = traced(&it, DUAL_SWAPPED, "numbers: 30 9 7 target: 93", &text);
        check_that((fabs(other - right) > 1e-6) != learned, "%s: another prompt's", names[k]);
        check_that(strstr(text, "\"latents_of\": \"numbers: 30 9 7 target: 93\"") != NULL,
                   "whose they are: %s", text);
        check_that(fabs(traced(&it, DUAL_ZERO, NULL, &text) - right) > 1e-6, "zeros");
        check_that(fabs(traced(&it, DUAL_DROP, NULL, &text) - right) > 1e-6, "one dropped");
        loaded_run_close(&it);
    }
    loaded_run it = must_open(&c, path_of("h1"));
    traced(&it, DUAL_ZERO, NULL, &text);
    check_that(strstr(text, "\"owner\": \"other\"") && !strstr(text, "\"owner\": \"Cop\""),
               "h1: replaced keys are of no pass: %s", text);
    traced(&it, DUAL_RIGHT, NULL, &text);
    check_that(strstr(text, "\"owner\": \"Cop\"") && !strstr(text, "\"owner\": \"other\""),
               "h1: its own are the Coprocessor's: %s", text);
    char word[8] = "";
    dual_json_string(dual_json_get(first_spoken(text), "kind"), word, sizeof word);
    text_is(word, "cue", "h1 speaks from the cue on");
    loaded_run_close(&it);
    check_end(&c, memory);
}

#define LONG "0123456789012345678901234567890123456789"
#define ONE "{\"ctx\":\"One\",\"choices\":[\"two\",\"three\"],\"gold\":0}\n"
#define TWO "{\"ctx\":\"Two\",\"choices\":[\"six\",\"a\",\"b\"],\"gold\":2}\n"

static void choices_are(dual_ctx *c, loaded_run *it, const char *json, dual_source from, size_t n,
                        size_t cut, size_t left_out) {
    const dual_ablation ablation = {from, 0, 0};
    const char *file = write_text("mc.jsonl", json);
    char error[300];
    task_set rows;
    choice_set set;
    if (!task_read(TASK_CHOICES, file, 0, &rows, error, sizeof error)) check_fatal(error);
    const int ok = choices_open(c, it, &rows, rows.count, file, ablation, &set);
    if (!n) check_refused(c, ok, json);
    else if (check_that(ok, "%s: %s", json, c->error)) {
        check_that(set.n == n && set.cut == cut && set.left_out == left_out,
                   "%s: %lu rows, %lu cut, %lu left out", json, (unsigned long)set.n,
                   (unsigned long)set.cut, (unsigned long)set.left_out);
        const example *last = &set.choice[set.begin[n] - 1];
        char *context = tokens_shown(c, &it->task, last->x, last->n_x);
        if (cut) text_is(context, &LONG[40 - last->n_x], "a context keeps its end");
        free(context);
        check_that(choices_score(c, it, &set), "scored: %s", c->error);
        const choices_result r = choices_count(&set);
        check_that(r.loss > 0 && r.hit[0].of == n, "a loss, a count");
        choices_close(&set);
    }
    task_free(&rows);
}

static void test_choices_run(void) {
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("bytes"));
    choices_are(&c, &it, ONE TWO, DUAL_RIGHT, 2, 0, 0);
    choices_are(&c, &it, ONE TWO, DUAL_SWAPPED, 2, 0, 0);
    choices_are(&c, &it, ONE TWO ONE, DUAL_MEAN, 3, 0, 0);
    choices_are(&c, &it, ONE ONE, DUAL_SWAPPED, 0, 0, 0);
    choices_are(&c, &it, ONE "{\"ctx\":\"" LONG "\",\"choices\":[\"a\",\"b\"],\"gold\":0}\n",
                DUAL_RIGHT, 2, 1, 0);
    choices_are(&c, &it, "{\"ctx\":\"a\",\"choices\":[\"" LONG "\",\"b\"],\"gold\":0}\n" ONE,
                DUAL_RIGHT, 1, 0, 1);
    choices_are(&c, &it, "{\"ctx\":\"a\",\"choices\":[\"" LONG "\",\"b\"],\"gold\":0}\n",
                DUAL_RIGHT, 0, 0, 0);
    loaded_run_close(&it);
    check_end(&c, memory);
}

/* Ids as "The/ answer": where one ends and the next begins. */
static void spell_ids(const loaded_run *it, const int32_t *ids, size_t n, char *out, size_t size) {
    size_t used = 0;
    *out = 0;
    for (size_t i = 0; i < n && used + 20 < size; i++) {
        if (i) out[used++] = '/';
        used += tokenizer_decode(it->task.tokens, ids + i, 1, out + used, size - used);
    }
}

/* How a context and a choice are cut: "CONTEXT|CHOICE", the cue of a text being part of its
 * context. expected NULL: the row is left out. A second row, which always fits, stands behind. */
static void cut_is(loaded_run *it, const char *context, const char *choice, const char *expected) {
    const char *texts[] = {context, choice, context, choice};
    static const char *const fits[] = {"1", " 2", "1", " 3"};
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    char got[500], y[200];
    dual_ctx c;
    choice_set set;
    task_set rows;
    memset(&rows, 0, sizeof rows);
    put_choices(&rows, texts, 4, "0");
    put_choices(&rows, fits, 4, "0");
    dual_init(&c, NULL, 0);
    if (check_that(choices_open(&c, it, &rows, 2, "rows", right, &set), "%s|%s: %s", context,
                   choice, c.error)) {
        const example *e = &set.choice[0];
        spell_ids(it, e->x, (size_t)(e->y - e->x), got, 200);
        spell_ids(it, e->y, e->n_y, y, sizeof y);
        snprintf(got + strlen(got), 250, "|%s", y);
        check_size(set.n, expected ? 2 : 1, "\"%s|%s\": rows that are used", context, choice);
        check_size(set.left_out, expected ? 0 : 1, "\"%s|%s\": rows left out", context, choice);
        if (expected) text_is(got, expected, "context and choice as tokens");
        check_that(choices_score(&c, it, &set), "scored: %s", c.error);
        choices_close(&set);
    }
    task_free(&rows);
    dual_done(&c);
}

static void test_choices_cut(void) {
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("bytes"));
    cut_is(&it, "ab ", "yes", "a/b| /y/e/s");
    cut_is(&it, "ab", " yes", "a/b| /y/e/s");
    cut_is(&it, "a\n", "b", "a|\n/b");
    cut_is(&it, "", "b", "|b");
    cut_is(&it, "  ", "b", "| / /b");
    cut_is(&it, "a", " ", "a| ");
    cut_is(&it, "a\xC2\xA0", "b", "a|\xC2/\xA0/b");       /* a no-break space */
    loaded_run_close(&it);
    it = must_open(&c, path_of("text"));       /* its cue is the last of the context */
    cut_is(&it, "ab ", "yes", "a/b| /y/e/s");
    cut_is(&it, " ", "b", "<?>| /b");          /* the end token, which no text can spell */
    loaded_run_close(&it);
    it = must_open(&c, path_of("h2"));         /* words: blanks are no tokens */
    cut_is(&it, "numbers: 1 ", "2", "numbers:/1|2");
    cut_is(&it, "numbers: 1\n", "2", "numbers:/1|\n/2");
    cut_is(&it, "numbers: 1", "2 3", "numbers:/1|3");      /* 12 is one word */
    cut_is(&it, "numbers: 1", "2", "numbers:/1|2");        /* nothing is left: alone */
    cut_is(&it, "1", " ", NULL);
    loaded_run_close(&it);
    check_end(&c, memory);
}

/* 48 words before the last two, of which 35 are left: 40 positions without 2 latents and a choice's
 * token are 37, the cue among them. */
#define NO_6 " no no no no no no"
#define LONG_CONTEXT NO_6 NO_6 NO_6 NO_6 NO_6 NO_6 NO_6 NO_6 " "
#define CUT_6 " no/ no/ no/ no/ no/ no/"
#define CUT_CONTEXT CUT_6 CUT_6 CUT_6 CUT_6 CUT_6 " no/ no/ no/ no/ no/"

static void test_choices_cut_real(const char *data) {
    static const char *const names[] = {"gpt2", "qwen3"};
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 12);
    for (size_t i = 0; i < 2; i++) {
        char folder[600], run_folder[600];
        snprintf(folder, sizeof folder, "%.400s/tok/%s", data, names[i]);
        snprintf(run_folder, sizeof run_folder, "%s", path_of(names[i]));
        make_run(run_folder, "text", "pretrain", "h2", folder);
        loaded_run it = must_open(&c, run_folder);
        cut_is(&it, "The answer is ", "yes", "The/ answer/ is| yes");
        cut_is(&it, "The answer is", " yes", "The/ answer/ is| yes");
        cut_is(&it, "The answer is\n", "yes", "The/ answer/ is|\n/yes");
        cut_is(&it, "", "yes", "<|endoftext|>|yes");
        cut_is(&it, "Ans", "wers yes", i ? "Ans| yes" : "An/s| yes");  /* An/swers/ yes */
        cut_is(&it, "Ans", "wer", i ? "Ans|wer" : "An/s|wer");
        cut_is(&it, "Wow!", "\nYes", i ? "Wow/!|Yes" : "Wow/!|\n/Yes");
        cut_is(&it, "Wow!", "\n", "Wow/!|\n");
        cut_is(&it, LONG_CONTEXT "answer is ", "yes", CUT_CONTEXT " answer/ is| yes");
        loaded_run_close(&it);
    }
    check_end(&c, memory);
}

static void perplexity_is(dual_ctx *c, loaded_run *it, const char *file, perplexity_options o,
                          const char *fault) {
    perplexity_result p;
    const int ok = perplexity_plan(c, it, &o, file, &p);
    if (fault) {
        check_that(!strncmp(c->error, fault, strlen(fault)), "expected %s .., got \"%s\"", fault,
                   c->error);
        check_refused(c, ok, fault);
        return;
    }
    if (!check_that(ok && perplexity_measure(c, it, &p), "perplexity: %s", c->error)) return;
    const size_t ahead = p.how.ahead;
    double sum[2] = {0, 0};
    for (size_t a = 0; a < ahead; a++) {
        sum[0] += log(p.without[a]) / (double)ahead;
        sum[1] += log(p.with[a]) / (double)ahead;
    }
    check_close(log(p.without[ahead]), sum[0], 1e-9, "the last one is over all");
    if (p.has_latents) check_close(log(p.with[ahead]), sum[1], 1e-9, "with latents too");
    else check_that(isnan(p.with[ahead]), "no latents, no perplexity with them");
    perplexity_free(&p);
}

static void test_perplexity(void) {
    const dual_ablation right = {DUAL_RIGHT, 0, 0};
    const perplexity_options usual = {3, 0, 0, 20, right}, no_room = {3, 0, 0, 39, right},
                             ahead = {3, 0, 19, 20, right}, places = {3, 17, 0, 20, right},
                             none = {0, 0, 0, 20, right};
    char text[400] = "";
    dual_ctx c;
    void *memory = check_begin(&c, 1 << 12);
    while (strlen(text) < 300) strcat(text, "a line of text. ");
    char file[600];
    snprintf(file, sizeof file, "%s", write_text("text.txt", text));
    loaded_run it = must_open(&c, path_of("text"));
    perplexity_is(&c, &it, file, usual, NULL);
    perplexity_is(&c, &it, file, no_room, "--sequence 39");
    perplexity_is(&c, &it, file, ahead, "--ahead 19");
    perplexity_is(&c, &it, file, places, "--groups");
    perplexity_is(&c, &it, file, none, "--sequences");
    perplexity_is(&c, &it, path_of("nowhere.txt"), usual, path_of("nowhere.txt"));
    perplexity_is(&c, &it, write_text("short.txt", "short"), usual, path_of("short.txt"));
    loaded_run_close(&it);
    it = must_open(&c, path_of("text-none"));
    perplexity_is(&c, &it, file, usual, NULL);
    loaded_run_close(&it);
    check_end(&c, memory);
}

static void test_measuring(void) {
    dual_ctx c;
    comparison k;
    void *memory = check_begin(&c, 1 << 12);
    if (!comparison_begin(&c, &k, 2, "", 1)) check_fatal(c.error);
    loaded_run it = must_open(&c, path_of("h2"));
    check_that(comparison_add(&c, &k, &it, path_of("h2")), "added: %s", c.error);
    check_that(comparison_gather(&c, &k) && !k.has_base, "no Base is known: %s", c.error);
    problem_group *g = k.groups;
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, "", 6, &g->problems) &&
               problems_fresh(&c, &it, "", 8, &g->fresh), "problems: %s", c.error);
    loaded_run_close(&it);
    check_that(comparison_measure(&c, &k, k.entries), "measured: %s", c.error);
    const double *number = k.entries->number;
    check_that(number[ACCURACY] >= 0 && number[SWAPPED] >= 0 && number[LOSS] > 0, "scores");
    check_close(number[PASSES], 3, 0, "passes");
    check_that(number[TRAINED] > 0 && number[STEP_FLOPS] > 0 && number[FLOPS] == 0, "costs");
    check_that(number[H_OFF] > 0 && number[FLOOR] > 0 && isnan(number[AT_25]), "latents");
    check_that(comparison_floor(&g->problems) > 0, "random expressions");
    check_that(comparison_make_arms(&c, &k) && family_arm(&k, k.families, "h2") == k.arms &&
               !family_arm(&k, k.families, "h1"), "one arm");
    comparison_free(&k);
    check_end(&c, memory);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_eval FOLDER [DATA]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.480s/test_eval", argv[1]);
    test_json_layout();
    test_json_escapes();
    test_tallies();
    test_score_count();
    test_pass_at();
    test_samples();
    test_choice_rules();
    test_blank_choices();
    test_another_row();
    test_log_likelihoods();
    test_findings();
    test_few_seeds();
    test_other_seeds();
    test_against();
    test_bases_of_seeds();
    test_contrast_table();
    test_names();
    test_gathering();
    test_families();
    test_families_of_options();
    test_warnings_of_bases();
    test_gathering_refused();
    test_curve();
    test_report_tables();
    test_report_json();
    test_report_begin();
    test_trace_passes();
    test_trace_attention();
    test_trace_words();
    test_trace_tokens();
    make_run(path_of("h2"), "countdown", "answer", "h2", "");
    make_run(path_of("none"), "countdown", "answer", "none", "");
    make_run(path_of("h1"), "countdown", "answer", "h1", "");
    make_run(path_of("soft"), "countdown", "answer", "soft", "");
    make_run(path_of("bytes"), "gsm8k", "answer", "h2", "");
    make_run(path_of("text"), "text", "pretrain", "h2", "");
    make_run(path_of("text-none"), "text", "pretrain", "none", "");
    test_opening();
    test_scoring();
    test_likelihood();
    test_answers();
    test_prompts();
    test_trace_latents();
    test_choices_run();
    test_choices_cut();
    if (argc > 2) test_choices_cut_real(argv[2]);
    else printf("skipped: choices with real tokenizers (no folder of sets)\n");
    test_perplexity();
    test_measuring();
    return check_done();
}
