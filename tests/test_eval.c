/* test_eval.c: what the evaluation computes: JSON out, tallies, the counting rules of choices, the
 * method's contrasts and their verdicts, arms and labels, the wording of a trace; then a small run
 * from disk through every part of data/eval/, and what is refused.
 *
 *     test_eval FOLDER             FOLDER: for its own files
 */
#include "check.h"
#include "../data/eval/multiple_choice.h"
#include "../data/eval/latents_report.h"
#include "../data/eval/perplexity.h"
#include "../data/eval/report.h"
#include "../data/eval/trace.h"

static char scratch[500];              /* FOLDER/test_eval */

static void text_is(const char *got, const char *expected, const char *what) {
    check_that(!strcmp(got, expected), "%s: expected \"%s\", got \"%s\"", what, expected, got);
}

/* What was written to a stream of the test's own, which ends here. */
static const char *text_of(FILE *stream) {
    static char text[20000];
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

/* Every text must come back as it was, also where a piece of a long one ends in an escape. */
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
        const dual_json all = dual_json_text(written, strlen(written));
        check_that(dual_json_type(all) == '{', "a text of %lu bytes leaves JSON valid",
                   (unsigned long)length);
        dual_json_string(dual_json_get(all, text), back, sizeof back);
        check_that(!strcmp(back, text), "a text of %lu bytes comes back", (unsigned long)length);
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
    for (int i = 0; i < 4; i++) answers[i].ended = i < 3;
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
    if (!comparison_begin(c, k, RUNS_MOST, "", 0)) check_fatal(c->error);
    k->problems.n = PROBLEMS;
}

/* A run that solves the problems marked 1, with swapped latents those of `swapped` (NULL: it has
 * no latents that could be swapped). */
static void put_run(comparison *k, const char *label, size_t seed, const char *right,
                    const char *swapped) {
    run_entry *e = &k->entries[k->n_entries];
    double hits[2] = {0, 0};
    snprintf(e->label, sizeof e->label, "%s", label);
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

static void compare_end(comparison *k) {
    for (size_t i = 0; i < k->n_entries; i++) k->entries[i].right = k->entries[i].swapped = NULL;
    comparison_free(k);
}

static const contrast *find_contrast(const char *formula) {
    for (size_t i = 0; i < N_CONTRASTS; i++)
        if (!strcmp(CONTRASTS[i].formula, formula)) return &CONTRASTS[i];
    check_fatal("no such contrast");
    return NULL;
}

static void verdict_is(const comparison *k, const char *formula, const char *verdict, size_t seeds,
                       size_t agree) {
    contrast_result r;
    if (!check_that(test_contrast(k, find_contrast(formula), &r), "%s can be tested", formula))
        return;
    check_that(!strcmp(r.verdict, verdict), "%s: expected \"%s\", got \"%s\"", formula, verdict,
               r.verdict);
    check_size(r.seeds, seeds, "%s: seeds", formula);
    check_size(r.agree, agree, "%s: seeds of its sign", formula);
}

static void test_contrast_yes_and_no(void) {
    dual_ctx c;
    comparison k;
    contrast_result r;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "soft", seed, "11111110", "11111110");
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "h2", seed, "00000000", "00000000");
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "liu", seed, "11111111", "00000000");
    check_that(comparison_make_arms(&c, &k), "arms");
    check_size(k.n_arms, 3, "runs of one label are one arm");
    check_close(k.arms[0].right[0], 1, 1e-15, "mean over the seeds");
    check_that(test_contrast(&k, find_contrast("soft - h2"), &r), "soft - h2");
    /* the mean of seven ones and a zero; their variance is 1/8, so the mean's 1/64 */
    check_close(r.points, 87.5, 1e-9, "points");
    check_close(r.low, 87.5 - 100 * 1.959964 / 8, 1e-9, "low");
    check_close(r.high, 87.5 + 100 * 1.959964 / 8, 1e-9, "high");
    verdict_is(&k, "soft - h2", "yes", 3, 3);
    verdict_is(&k, "h2 - liu", "no", 3, 3);
    verdict_is(&k, "liu - liu swapped", "yes", 3, 3);
    verdict_is(&k, "h2 - h2 swapped", "cannot tell", 3, 0);
    check_that(!test_contrast(&k, find_contrast("h1 - liu"), &r), "an arm is missing");
    check_that(!test_contrast(&k, find_contrast("h2 - none - liu + Base"), &r),
               "two arms are missing");
    k.problems.n = 1;
    verdict_is(&k, "soft - h2", "cannot tell", 3, 3);      /* one problem has no interval */
    k.problems.n = PROBLEMS;
    compare_end(&k);
    check_end(&c, memory);
}

/* An interval that excludes 0 is not enough: three seeds must agree. */
static void test_contrast_seeds(void) {
    dual_ctx c;
    comparison k;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    for (size_t seed = 1; seed <= 2; seed++) put_run(&k, "h1", seed, "11111111", NULL);
    for (size_t seed = 1; seed <= 2; seed++) put_run(&k, "h2", seed, "11111110", NULL);
    put_run(&k, "h2", 3, "11111111", NULL);
    put_run(&k, "soft", 1, "00000000", NULL);
    put_run(&k, "soft", 2, "00000001", NULL);
    put_run(&k, "soft", 3, "11111111", NULL);
    put_run(&k, "h1h2", 3, "00000000", NULL);
    put_run(&k, "h1h2", 4, "00000000", NULL);
    put_run(&k, "liu", 1, "00000000", NULL);
    put_run(&k, "liu", 2, "00000000", NULL);
    check_that(comparison_make_arms(&c, &k), "arms");
    verdict_is(&k, "h1 - liu", "cannot tell", 2, 2);       /* only two seeds */
    verdict_is(&k, "soft - h2", "cannot tell", 3, 2);      /* one seed of three is even */
    verdict_is(&k, "h1h2 - h2", "cannot tell", 1, 1);      /* one seed is in both arms */
    compare_end(&k);
    check_end(&c, memory);
}

/* The Base is one for all seeds, unless it has the seed itself. */
static void test_contrast_base(void) {
    dual_ctx c;
    comparison k;
    contrast_result r;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    put_run(&k, "Base", 7, "10000000", NULL);
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "none", seed, "11000000", NULL);
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "liu", seed, "11110000", NULL);
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "h2", seed, "11111111", NULL);
    check_that(comparison_make_arms(&c, &k), "arms");
    verdict_is(&k, "none - Base", "cannot tell", 3, 3);    /* 1 problem of 8: too wide */
    verdict_is(&k, "h2 - Base", "yes", 3, 3);
    check_that(test_contrast(&k, find_contrast("h2 - none - liu + Base"), &r), "joint");
    check_close(r.points, 100 * ((8 - 2) - (4 - 1)) / 8.0, 1e-9, "joint training, points");
    verdict_is(&k, "h2 - none - liu + Base", "cannot tell", 3, 3);
    k.entries[0].set.seed = 2;         /* now seed 2 has a Base of its own, as good as h2 */
    k.entries[0].number[ACCURACY] = 1;
    verdict_is(&k, "h2 - Base", "cannot tell", 3, 2);
    compare_end(&k);
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

/* ---- Labels, order, warnings --------------------------------------------------------------- */

static const char *label_of(const run_settings *set, const dual_system *system, size_t usual) {
    static char label[sizeof((run_entry *)0)->label];
    run_label(set, system, usual, label, sizeof label);
    return label;
}

static void test_labels(void) {
    run_settings set;
    dual_system s = dual_system_preset("h2");
    options_defaults(RUN_OPTIONS, &set);
    s.latents = 4;
    text_is(label_of(&set, &s, 4), "h2", "a preset");
    text_is(label_of(&set, &s, 8), "h2:4", "another number of latents than usual");
    s.detach = s.gain = 1;
    text_is(label_of(&set, &s, 4), "h2+detach+gain", "options of the exchange");
    strcpy(set.steps_shown, "curriculum");
    text_is(label_of(&set, &s, 4), "h2+stages+detach+gain", "curriculum");
    strcpy(set.steps_shown, "all");
    strcpy(set.match_flops, "runs/other");
    s.latents = SIZE_MAX;
    s.kv_layers = 1;
    s.fused = 1;
    s.text_loss = s.orthogonality = 0.5;
    strcpy(s.name, "custom");
    s.inject = DUAL_EMBED;
    text_is(label_of(&set, &s, 4),
            "embed/trained:18446744073709551615+layers+fused+text+orth+steps+detach+gain@flops",
            "the longest label has room");
    memset(&s, 0, sizeof s);
    s = dual_system_preset("none");
    strcpy(set.steps_shown, "none");
    text_is(label_of(&set, &s, 4), "none@flops", "at another's FLOPs");
    strcpy(set.objective, "lm");
    text_is(label_of(&set, &s, 4), "Base", "a Base");
    strcpy(set.wide_of, "runs/base");
    text_is(label_of(&set, &s, 4), "wide Base", "a wide Base");
}

static tokenizer *countdown_words(void) {
    char error[200];
    tokenizer *t = tokenizer_of_words(words_new_countdown(), error, sizeof error);
    if (!t) check_fatal(error);
    return t;
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

static void test_gathering(void) {
    static const char *const expected[] = {"Base", "none", "soft", "coconut", "h2", "h2"};
    static const char *const added[] = {"h2", "coconut", "soft", "h2", "none"};
    dual_ctx c;
    comparison k;
    char lines[2000] = "";
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    for (size_t i = 0; i < 5; i++)
        check_that(add(&c, &k, opened(added[i], i ? 1 : 2), added[i]), "%s joins", added[i]);
    loaded_run base = opened("none", 1);
    strcpy(base.r.set.objective, "lm");
    check_that(!k.has_base && add(&c, &k, base, "base") && k.has_base, "a Base joins");
    check_that(comparison_gather(&c, &k), "gathered: %s", c.error);
    for (size_t i = 0; i < 6; i++) text_is(k.entries[i].label, expected[i], "the method's order");
    check_size(k.entries[4].set.seed, 1, "seeds of an arm in order");
    for (size_t i = 0; i < 6; i++) k.entries[i].step = 100;
    comparison_warnings(&k, collect, lines);
    text_is(lines, "", "nothing to warn of");
    k.entries[3].set.batch = 7;
    k.entries[5].set.rate = 0.5;
    k.entries[2].step = 90;
    strcpy(k.entries[1].set.match_flops, "h2");    /* may have other steps */
    k.entries[1].set.steps = 50;
    comparison_warnings(&k, collect, lines);
    text_is(lines, "coconut: --batch is 7, that of none is 128\n"
            "h2: --lr is 0.5, that of h2 is 0\nsoft: at step 90 of 100\n", "warnings");
    compare_end(&k);
    check_end(&c, memory);
}

static void test_gathering_refused(void) {
    dual_ctx c;
    comparison k;
    void *memory = check_begin(&c, 1 << 12);
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
    k.has_base = 1;                    /* no folder is looked into */
    check_refused(&c, comparison_gather(&c, &k), "one arm and seed twice");
    compare_end(&k);
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

static void test_report(void) {
    dual_ctx c;
    comparison k;
    void *memory = check_begin(&c, 1 << 12);
    compare_begin(&c, &k);
    k.kind = TASK_COUNTDOWN;
    k.floor = 0.05;
    snprintf(k.problems.source, sizeof k.problems.source, "hand-made problems");
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "soft", seed, "11111110", "11111110");
    for (size_t seed = 1; seed <= 3; seed++) put_run(&k, "h2", seed, "00000000", "00000000");
    for (size_t i = 0; i < 3; i++) k.entries[i].system = dual_system_preset("soft");
    for (size_t i = 0; i < 3; i++) k.entries[i].number[FLOPS] = 1234567;
    for (size_t i = 0; i < 3; i++) k.entries[i].system.latents = 4;
    check_that(comparison_make_arms(&c, &k), "arms");
    FILE *f = stream();
    report_comparison(f, &k);
    const char *text = text_of(f);
    static const char *const lines[] = {
        "8 hand-made problems, the same for all;",
        "Random expressions are right in 5.0 %.\n",
        "soft            3   87.5 [ 52.9,  97.8]       =       -     -",
        "h2              3    0.0 [  0.0,  32.4]     0.0       -     -",
        "soft               -      -           -     1.23M ",
        "one model is better   soft - h2              +87.5 +- 24.5 yes (3 ",
        "warning: the untouched Base was not found"
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        check_that(strstr(text, lines[i]) != NULL, "no \"%s\" in:\n%s", lines[i], text);
    f = stream();
    report_comparison_json(f, &k);
    text = text_of(f);
    const dual_json all = dual_json_text(text, strlen(text)), arms = dual_json_get(all, "arms");
    dual_json key, arm_0 = {NULL, NULL}, first = {NULL, NULL};
    check_that(dual_json_each(arms, &key, &arm_0), "JSON: an arm");
    check_close(dual_json_number(dual_json_get(arm_0, "accuracy"), -1), 0.875, 1e-9, "accuracy");
    check_that(dual_json_type(dual_json_get(arm_0, "loss")) == 'n', "what does not apply is null");
    check_that(dual_json_each(dual_json_get(all, "sentences"), &key, &first), "JSON: a sentence");
    check_close(dual_json_number(dual_json_get(first, "points"), -1), 87.5, 1e-9, "points");
    compare_end(&k);
    check_end(&c, memory);
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

/* ---- A run on disk ------------------------------------------------------------------------- */

/* What train would leave behind after no step at all. */
static void make_run(const char *folder, const char *task, const char *objective,
                     const char *system) {
    char error[300];
    run r;
    run_task t;
    dual_ctx c;
    dual_adamw adamw;
    void *memory = check_begin(&c, 16 << 20);
    memset(&r, 0, sizeof r);
    options_defaults(RUN_OPTIONS, &r.set);
    strcpy(r.set.task, task);
    strcpy(r.set.objective, objective);
    strcpy(r.set.system, system);
    snprintf(r.set.out, sizeof r.set.out, "%s", folder);
    r.set.layers = r.set.heads = 2;
    r.set.width = 8;
    r.set.latents = 2;
    r.set.ahead = 3;
    r.set.context = 40;
    r.set.steps = 1;
    if (!run_task_open(&r.set, NULL, 0, &t, error, sizeof error) ||
        !run_system(&r.set, &r.system, error, sizeof error) || !dual_make_folder(folder) ||
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
    const score_options how = {{DUAL_SWAPPED, 0, 0}, 0, 1, 4};
    check_that(score_run(&c, &it, &rows, &how, &r), "scored: %s", c.error);
    check_that(r.count.all.of == 2 && r.loss > 0 && r.loss < 20, "two answers, a loss");
    check_that(strstr(r.seen_how, "the train split of --numbers") != NULL, "what was seen");
    const score_options dropped = {{DUAL_DROP, 2, 0}, 0, 1, 4};
    check_refused(&c, score_run(&c, &it, &rows, &dropped, &r), "a slot that is not there");
    problems_free(&rows);
    check_that(problems_fresh(&c, &it, "", 5, &rows) && rows.n == 5, "fresh prompts");
    latents_report report;
    check_that(latents_report_run(&c, &it, &rows, 0, &report), "latents: %s", c.error);
    check_that(report.slots == 2 && report.width == 8 && report.sizes == LATENTS_SIZES &&
               report.prompts == 5, "2 slots of 8");
    check_that(report.H[0] > 0.98 && report.at[0].h_off > 0 && report.norms[1] > 0, "H, norms");
    latents_report_free(&report);
    problems_free(&rows);
    loaded_run_close(&it);
    check_end(&c, memory);
}

static void seen(const trace_view *v, void *to) {
    char *text = to;
    snprintf(text, 200, "%s | %s | %lu passes%s", v->y, v->grade ? v->grade : "-",
             (unsigned long)v->out->n_passes, v->given ? ", given" : "");
}

static void test_prompts(void) {
    dual_ctx c;
    prompt_answer p;
    char text[200] = "";
    prompt_options how = {"numbers: 1 2 3 target: 6", {DUAL_SWAPPED, 0, 0}, 0, 1, 0};
    void *memory = check_begin(&c, 1 << 12);
    loaded_run it = must_open(&c, path_of("h2"));
    check_that(prompt_open(&c, &it, &how, &p), "a prompt: %s", c.error);
    check_that(p.n_rows == 2 && p.is_problem && p.how.max_new > 0, "another one lends its latents");
    check_that(loaded_run_do(&c, &it, prompt_generate, &p), "generated: %s", c.error);
    text_is(prompt_grade(&p, "1+2+3", 1), "correct", "a right answer");
    text_is(prompt_grade(&p, "1+2+3", 0), "no end token", "without its end");
    prompt_close(&p);
    how.ablation.from = DUAL_RIGHT;
    check_that(prompt_open(&c, &it, &how, &p), "a prompt: %s", c.error);
    check_that(trace_run(&c, &it, &p, "1+2*3", seen, text), "traced: %s", c.error);
    text_is(text, "1+2*3 <end> | wrong value | 3 passes, given", "a given answer");
    check_refused(&c, trace_run(&c, &it, &p, "apples", seen, text), "an answer of unknown words");
    check_that(trace_run(&c, &it, &p, "", seen, text), "its own answer: %s", c.error);
    check_that(strstr(text, "3 passes") && !strstr(text, "given"), "its own answer");
    prompt_close(&p);
    how.text = "numbers: apples";
    check_refused(&c, prompt_open(&c, &it, &how, &p), "a prompt of unknown words");
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
        char *context = tokens_text(c, &it->task, last->x, last->n_x);
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
    check_that(problems_read(&c, &it, COUNTDOWN_TEST, "", 6, &k.problems) &&
               problems_fresh(&c, &it, "", 8, &k.fresh), "problems: %s", c.error);
    loaded_run_close(&it);
    check_that(comparison_measure(&c, &k, k.entries), "measured: %s", c.error);
    const double *number = k.entries->number;
    check_that(number[ACCURACY] >= 0 && number[SWAPPED] >= 0 && number[LOSS] > 0, "scores");
    check_close(number[PASSES], 3, 0, "passes");
    check_that(number[TRAINED] > 0 && number[STEP_FLOPS] > 0 && number[FLOPS] == 0, "costs");
    check_that(number[H_OFF] > 0 && number[FLOOR] > 0 && isnan(number[AT_25]), "latents");
    check_that(comparison_floor(&k.problems) > 0, "random expressions");
    check_that(comparison_make_arms(&c, &k) && comparison_arm(&k, "h2") == k.arms &&
               !comparison_arm(&k, "h1"), "one arm");
    comparison_free(&k);
    check_end(&c, memory);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_eval FOLDER\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.480s/test_eval", argv[1]);
    test_json_layout();
    test_json_escapes();
    test_tallies();
    test_score_count();
    test_choice_rules();
    test_another_row();
    test_log_likelihoods();
    test_contrast_yes_and_no();
    test_contrast_seeds();
    test_contrast_base();
    test_contrast_table();
    test_labels();
    test_gathering();
    test_gathering_refused();
    test_curve();
    test_report();
    test_trace_passes();
    test_trace_words();
    make_run(path_of("h2"), "countdown", "answer", "h2");
    make_run(path_of("none"), "countdown", "answer", "none");
    make_run(path_of("bytes"), "gsm8k", "answer", "h2");
    make_run(path_of("text"), "text", "pretrain", "h2");
    make_run(path_of("text-none"), "text", "pretrain", "none");
    test_opening();
    test_scoring();
    test_prompts();
    test_choices_run();
    test_perplexity();
    test_measuring();
    return check_done();
}
