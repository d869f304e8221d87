/* test_tasks.c: rows of every task: readers, damaged files, ProsQA's generator against the
 * published statistics, graders; then rows as token ids: which steps are shown, batches, groups in
 * text.
 *
 *     test_tasks FOLDER [DATA]     FOLDER: for its own files; DATA: with gsm8k/ prosqa/ text/ mc/
 */
#include "check.h"
#include "../data/runs/batches.h"
#include "../data/runs/run.h"
#include "../data/runs/scoring.h"

static char scratch[600];              /* FOLDER/test_tasks.json; .txt beside it */

static const char *write_file(const char *extension, const char *text, size_t length) {
    static char path[640];

    snprintf(path, sizeof path, "%s%s", scratch, extension);
    check_write(path, text, length);
    return path;
}

static const char *write_text(const char *extension, const char *text) {
    return write_file(extension, text, strlen(text));
}

static void row_is(const task_set *set, size_t i, const char *question, const char *steps,
                   const char *answer) {
    task_row row;
    char joined[1000] = "";
    size_t k;

    if (!check_that(i < set->count, "row %lu of %lu is there", (unsigned long)i,
                    (unsigned long)set->count))
        return;
    row = task_get(set, i);
    for (k = 0; k < row.n_steps; k++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s|",
                 task_step(&row, k));
    check_that(!strcmp(row.question, question), "question: expected \"%s\", got \"%s\"", question,
               row.question);
    check_that(!strcmp(joined, steps), "steps: expected \"%s\", got \"%s\"", steps, joined);
    check_that(!strcmp(row.answer, answer), "answer: expected \"%s\", got \"%s\"", answer,
               row.answer);
}

/* ---- GSM8K ---------------------------------------------------------------------------------- */

#define OFFICIAL "{\"question\": \"How many?\\n\", \"answer\": \"He has 2*3=<<2*3=6>>6.\\nThen " \
                 "<<6*200=1200>>1,200.\\n#### 1,200\"}\n"

static void test_gsm8k_readers(void) {
    static const char *const same[] = {
        OFFICIAL OFFICIAL,
        "How many? ||<<2*3=6>> <<6*200=1200>> #### 1,200\n\nHow many?||<<2*3=6>> <<6*200=1200>> "
        "#### 1200",
        "[{\"question\": \"How many?\", \"steps\": [\"<<2*3=6>>\", \"<<6*200=1200>>\"], "
        "\"answer\": \"1,200\"},\n {\"answer\": \"1200 \", \"steps\": [\"<<2*3=6>>\", "
        "\"<<6*200=1200>>\"], \"question\": \"How many?\"}]\n",
        "\xEF\xBB\xBF{\"question\": \"How many?\", \"steps\": [\"<<2*3=6>>\", \"<<6*200=1200>>\"], "
        "\"answer\": \"1200\"}\r\n" OFFICIAL
    };
    task_set set;
    char error[300] = "";
    size_t i;

    for (i = 0; i < sizeof same / sizeof *same; i++) {
        const char *file = write_text("", same[i]);

        check_that(task_read(TASK_GSM8K, file, 0, &set, error, sizeof error) && set.count == 2,
                   "form %lu: expected 2 rows, got \"%s\"", (unsigned long)i, error);
        row_is(&set, 0, "How many?", "<<2*3=6>>|<<6*200=1200>>|", "1200");
        row_is(&set, 1, "How many?", "<<2*3=6>>|<<6*200=1200>>|", "1200");
        task_free(&set);
    }
    check_that(task_read(TASK_GSM8K, write_text("", "[{\"question\": \"q\", \"steps\": [\"\"], "
                                                "\"answer\": \"5\"}]"), 0, &set, error,
                         sizeof error), "a row without steps is read");
    row_is(&set, 0, "q", "", "5");
    task_free(&set);
}

static void test_gsm8k_grader(void) {
    static const struct { const char *gold, *y; int verdict; } cases[] = {
        { "1200", "1200", GSM8K_CORRECT }, { "1200", "### 1,200 ", GSM8K_CORRECT },
        { "1200", "<<1+1=2>>\n### 1200.00\n", GSM8K_CORRECT }, { "0.5", "### .50", GSM8K_CORRECT },
        { "-3", "### -3", GSM8K_CORRECT }, { "0", "### -0.0", GSM8K_CORRECT },
        { "7", "### 007", GSM8K_CORRECT }, { "1200", "### 120", GSM8K_WRONG },
        { "1200", "### 12000", GSM8K_WRONG }, { "3", "### -3", GSM8K_WRONG },
        { "1200", "1200 ### 1201", GSM8K_WRONG }, { "1200", "### 1200 dollars", GSM8K_NO_NUMBER },
        { "1200", "### ", GSM8K_NO_NUMBER }, { "1200", "", GSM8K_NO_NUMBER },
        { "1200", "### 1.2e3", GSM8K_NO_NUMBER }, { "1200", "### .", GSM8K_NO_NUMBER },
        { "100", "### 10", GSM8K_WRONG }, { "10", "### 100", GSM8K_WRONG }
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        task_row row = { "q", NULL, "", 0 };
        int got;

        row.answer = cases[i].gold;
        got = task_grade(TASK_GSM8K, &row, cases[i].y);
        check_that(got == cases[i].verdict, "\"%s\" for %s: expected %s, got %s", cases[i].y,
                   cases[i].gold, task_verdict_name(TASK_GSM8K, cases[i].verdict),
                   task_verdict_name(TASK_GSM8K, got));
    }
}

/* ---- ProsQA --------------------------------------------------------------------------------- */

#define ASKED "Tom is a lempus. Every lempus is a scrompus. Sam is a impus. Is Tom a impus or " \
              "scrompus?"
#define PROSQA_ROW "{\"question\": \"" ASKED "\", \"steps\": [\"Tom is a lempus.\", " \
                   "\"Every lempus is a scrompus.\"], \"answer\": \"Tom is a scrompus.\", " \
                   "\"idx_to_symbol\": [\"Tom\", \"Sam\", \"lempus\", \"impus\", \"scrompus\"], " \
                   "\"edges\": [[0, 2], [1, 3], [2, 4]], \"root\": 0, \"target\": 4, " \
                   "\"neg_target\": 3}"

static void test_prosqa_rows(void) {
    static const struct { const char *y; int verdict; } cases[] = {
        { "### Tom is a scrompus.", PROSQA_CORRECT }, { "Tom is a scrompus. ", PROSQA_CORRECT },
        { "### Tom is a scrompus", PROSQA_RIGHT_OPTION }, { "scrompus", PROSQA_RIGHT_OPTION },
        { "### Sam is a scrompus.", PROSQA_RIGHT_OPTION },
        { "### Tom is a impus.", PROSQA_WRONG_OPTION },
        { "### Tom is a lempus.", PROSQA_NEITHER }, { "", PROSQA_NEITHER },
        { "### impus or scrompus", PROSQA_NEITHER },
        { "### Tom is a wimpus.", PROSQA_NEITHER },      /* impus within another word */
        { "impus\n### scrompus", PROSQA_RIGHT_OPTION }
    };
    task_set set;
    task_row row;
    prosqa_stats stats;
    char error[300] = "", report[2000];
    const char *file = write_text("", "[" PROSQA_ROW ", " PROSQA_ROW "]");
    size_t i;

    check_that(task_read(TASK_PROSQA, file, 0, &set, error, sizeof error) && set.count == 2,
               "two rows: expected to be read, got \"%s\"", error);
    row_is(&set, 1, ASKED, "Tom is a lempus.|Every lempus is a scrompus.|", "Tom is a scrompus.");
    row = task_get(&set, 0);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int got = task_grade(TASK_PROSQA, &row, cases[i].y);

        check_that(got == cases[i].verdict, "\"%s\": expected %s, got %s", cases[i].y,
                   task_verdict_name(TASK_PROSQA, cases[i].verdict),
                   task_verdict_name(TASK_PROSQA, got));
    }
    task_free(&set);
    check_that(prosqa_measure_file(&stats, file, error, sizeof error) && stats.rows == 2
               && stats.nodes[5] == 2 && stats.edges == 6 && stats.steps[2] == 2
               && stats.first == 0 && stats.root_0 == 2 && stats.names == 4,
               "statistics of a file, got \"%s\"", error);
    check_that(prosqa_report(&stats, report, sizeof report) < sizeof report, "the report fits");
}

/* Whether facts lead from one word to another: read from the text, by a search of its own. */
static int leads(const char *question, const char *from, const char *to) {
    char reached[60][32], fact[200];
    size_t n = 1, i, before;

    snprintf(reached[0], sizeof reached[0], "%s", from);
    do {
        const char *at = question, *stop;

        before = n;
        for (; (stop = strchr(at, '.')) != NULL; at = stop + 1 + (stop[1] == ' ')) {
            char subject[32], object[32];
            int known = 0, there = 0;

            snprintf(fact, sizeof fact, "%.*s", (int)(stop - at), at);
            if (sscanf(fact, "Every %31s is a %31s", subject, object) != 2
                && sscanf(fact, "%31s is a %31s", subject, object) != 2)
                return -1;
            for (i = 0; i < n; i++) {
                known = known || !strcmp(reached[i], subject);
                there = there || !strcmp(reached[i], object);
            }
            if (known && !there && n < 60)
                strcpy(reached[n++], object);
        }
    } while (n > before);
    for (i = 0; i < n; i++)
        if (!strcmp(reached[i], to))
            return 1;
    return 0;
}

static void sound_problem(const task_row *row) {
    char name[32], option[2][32], last[40], wanted[120];
    const char *ask = strstr(row->question, "Is ");
    int i, right = -1;
    size_t k;

    if (!check_that(ask && sscanf(ask, "Is %31s a %31s or %31[^?]", name, option[0],
                                  option[1]) == 3, "a question ends \"%s\"", row->question))
        return;
    for (i = 0; i < 2; i++) {
        snprintf(wanted, sizeof wanted, "%s is a %s.", name, option[i]);
        if (!strcmp(wanted, row->answer))
            right = i;
    }
    if (!check_that(right >= 0, "the answer \"%s\" is one of the options", row->answer))
        return;
    check_that(leads(row->question, name, option[right]) == 1
               && leads(row->question, name, option[!right]) == 0,
               "only the right option follows: %s", row->question);
    snprintf(last, sizeof last, "%s", name);
    for (k = 0; k < row->n_steps; k++) {
        const char *step = task_step(row, k);
        char next[32];

        check_that(strstr(row->question, step) != NULL, "step \"%s\" is a fact", step);
        snprintf(wanted, sizeof wanted, k ? "Every %s is a " : "%s is a ", last);
        check_that(!strncmp(step, wanted, strlen(wanted)), "step \"%s\" goes on from %s", step,
                   last);
        snprintf(next, sizeof next, "%.31s", step + strlen(wanted));
        next[strcspn(next, ".")] = 0;
        strcpy(last, next);
    }
    check_that(!strcmp(last, option[right]), "the steps end at %s, got %s", option[right], last);
}

static void about(double got, double expected, double limit, const char *what) {
    check_close(got, expected, limit, "generated ProsQA: %s", what);
}

/* The published 800 rows (valid and test), as they were measured. 4,000 rows here: three standard
 * errors of the difference are about .05 for shares near one half, .02 for small ones. */
static void test_prosqa_generator(void) {
    prosqa_options o = prosqa_defaults();
    prosqa_stats s;
    prosqa_graph g;
    task_set set;
    dual_rng rng = dual_rng_seed(5, 0), again = rng;
    double rows = 4000, nodes = 0, mean = 0;
    size_t i, k, first;

    memset(&set, 0, sizeof set);
    memset(&s, 0, sizeof s);
    for (i = 0; i < 4000; i++) {
        task_row row;

        if (!check_that(prosqa_draw(&o, PROSQA_TRAIN, &rng, &g, &set), "a problem is drawn"))
            return;
        row = task_get(&set, i);
        prosqa_measure(&s, &g, &row);
        if (i < 500)
            sound_problem(&row);
    }
    for (i = 0; i <= PROSQA_NODES; i++)
        mean += (double)i * (double)s.nodes[i] / rows;
    for (i = 0; i < 4; i++)
        nodes += (double)s.descend[i];
    about(mean, 22.8, 0.3, "nodes");
    about((double)s.edges / rows, 36, 0.8, "edges");
    about((double)s.names / rows, 2.56, 0.12, "names");
    about((double)s.leaves / rows, 7.37, 0.3, "leaves");
    about((double)s.words / rows, 179, 4, "words");
    about((double)s.steps[3] / rows, 326 / 800.0, 0.05, "3 steps");
    about((double)s.steps[4] / rows, 350 / 800.0, 0.05, "4 steps");
    about((double)s.steps[5] / rows, 105 / 800.0, 0.035, "5 steps");
    about((double)s.steps[6] / rows, 19 / 800.0, 0.02, "6 steps");
    about((double)s.in_degree[0] / nodes, 0.027, 0.01, "no parent");
    about((double)s.in_degree[1] / nodes, 0.479, 0.02, "1 parent");
    about((double)s.in_degree[2] / nodes, 0.304, 0.02, "2 parents");
    about((double)s.in_degree[3] / nodes, 0.133, 0.015, "3 parents");
    about((double)s.descend[1] / nodes, 0.39, 0.02, "from 0 only");
    about((double)s.descend[2] / nodes, 0.517, 0.02, "from 1 only");
    about((double)s.descend[3] / nodes, 0.06, 0.012, "from both");
    about((double)s.first / rows, 0.5, 0.03, "target named first");
    about((double)s.root_0 / rows, 291 / 800.0, 0.05, "about node 0");
    check_that(s.nodes[13] == 0 && s.nodes[29] == 0, "14 to 28 nodes");

    /* the same seed again, behind the rows that are there */
    first = set.used;
    check_that(prosqa_draw(&o, PROSQA_TRAIN, &again, &g, &set)
               && !strcmp(set.text, set.text + first), "the same seed gives the same problem");
    task_free(&set);

    /* a world so small that problems repeat: none of another split */
    o.nodes_min = 4;
    o.nodes_max = 5;
    o.path_min = o.path_max = 2;
    o.concepts = 4;
    o.names = 2;
    check_that(prosqa_check(&o) == NULL, "small sizes are possible");
    memset(&set, 0, sizeof set);
    for (k = 0; k < 3; k++)
        for (i = 0; i < 400; i++)
            check_that(prosqa_draw(&o, (prosqa_split)k, &rng, &g, &set), "a small problem");
    for (i = 0; i < set.count; i++) {
        const task_row row = task_get(&set, i);

        if (i % 10 == 0)
            sound_problem(&row);
        for (k = i + 1; k < set.count; k++)
            if (k / 400 != i / 400 && !strcmp(row.question, task_get(&set, k).question)) {
                check_that(0, "\"%s\" is in two splits", row.question);
                k = i = set.count;
            }
    }
    task_free(&set);
    o.concepts = 1;
    check_that(prosqa_check(&o) != NULL && !prosqa_draw(&o, PROSQA_TRAIN, &rng, &g, &set),
               "one concept for four nodes is refused");
}

/* ---- Text and choices ----------------------------------------------------------------------- */

static void test_text(void) {
    task_set set;
    char error[300] = "", folder[700], path[760];
    size_t i;

    check_that(task_read(TASK_TEXT, write_text(".txt", "{\"text\": 1}\n two"), 0, &set, error,
                         sizeof error) && set.count == 1, "a .txt is one document: %s", error);
    row_is(&set, 0, "{\"text\": 1}\n two", "", "");
    task_free(&set);
    check_that(task_read(TASK_TEXT, write_text(".json", "[{\"text\": \"a\\nb\"}, {\"text\": "
                                               "\" c\", \"more\": 2}]"), 0, &set, error,
                         sizeof error) && set.count == 2, "an array of texts: %s", error);
    row_is(&set, 0, "a\nb", "", "");
    row_is(&set, 1, " c", "", "");
    task_free(&set);

    snprintf(folder, sizeof folder, "%s.folder", scratch);
    if (!dual_make_folder(folder))
        check_fatal("a folder of the test's own cannot be made");
    for (i = 0; i < 4; i++) {
        static const char *const name[] = { "b.txt", "a.jsonl", "c.md", "0.txt" };
        static const char *const text[] = {
            "second", "{\"text\": \"first\"}\n{\"text\": \"and\"}\n", "ignored", "zero"
        };

        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        check_write(path, text[i], strlen(text[i]));
    }
    check_that(task_read(TASK_TEXT, folder, 0, &set, error, sizeof error) && set.count == 4,
               "a folder's .txt and .jsonl files: %s", error);
    row_is(&set, 0, "zero", "", "");
    row_is(&set, 1, "first", "", "");
    row_is(&set, 3, "second", "", "");
    task_free(&set);
}

static void test_choices(void) {
    task_set set;
    char error[300] = "";

    check_that(task_read(TASK_CHOICES, write_text("",
        "{\"ctx\": \"What?\", \"choices\": [\"this\", \" that\"], \"gold\": 1}\n"
        "{\"ctx\": \"Line\\n\", \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 0}\n"
        "{\"ctx\": \"x _\", \"choices\": [\"a\", \"b\"], \"gold\": 1, \"context_options\": "
        "[\"x a\", \"x b\"], \"continuation\": \"end.\"}\n"), 0, &set, error, sizeof error)
        && set.count == 3, "three rows: %s", error);
    row_is(&set, 0, "", "What?| this|What?| that|", "1");
    row_is(&set, 1, "", "Line\n|a|Line\n|b|Line\n|c|", "0");
    row_is(&set, 2, "", "x a| end.|x b| end.|", "1");
    task_free(&set);
}

/* ---- Damaged files -------------------------------------------------------------------------- */

/* `text` has a broken row in the given line: fatal names the line, skip leaves `rows` rows. */
static void broken_row(task_kind kind, const char *text, int line, size_t rows, const char *why) {
    task_set set;
    char error[300] = "", place[40];
    const char *file = write_text("", text);

    snprintf(place, sizeof place, "test_tasks:%d: ", line);
    check_that(!task_read(kind, file, 0, &set, error, sizeof error) && strstr(error, place)
               && strstr(error, why) && !set.text, "%.60s: expected %s%s, got \"%s\"", text, place,
               why, error);
    if (rows) {
        check_that(task_read(kind, file, 1, &set, error, sizeof error) && set.count == rows
                   && set.broken == 1 && strstr(set.complaints, why),
                   "%.60s: expected %lu rows and one broken", text, (unsigned long)rows);
        task_free(&set);
    } else {
        check_that(!task_read(kind, file, 1, &set, error, sizeof error)
                   && strstr(error, "not one of its"), "%.60s: expected no usable row, got \"%s\"",
                   text, error);
    }
}

static void test_damaged(void) {
    static const char *const samples[] = {
        OFFICIAL OFFICIAL, "q||<<1+1=2>> #### 2\nq|| #### 3\n", "[" PROSQA_ROW ", " PROSQA_ROW "]",
        "{\"ctx\": \"What?\", \"choices\": [\"this\", \"that\"], \"gold\": 1}\n",
        "[{\"text\": \"a\\u00e9\"}]",
        "{\"nums\": [1, 2], \"target\": 3, \"steps\": [\"1+2=3\"], \"answer\": \"1+2\"}\n"
    };
    dual_rng rng = dual_rng_seed(3, 0);
    task_set set;
    char error[300];
    int i;

    broken_row(TASK_GSM8K, OFFICIAL "{\"question\": \"q\", \"answer\": \"no mark\"}\n" OFFICIAL, 2,
               2, "####");
    broken_row(TASK_GSM8K, OFFICIAL "{\"question\": \"q\", \"ans\n" OFFICIAL, 2, 2, "expected");
    broken_row(TASK_GSM8K, "q||<<1+1=2>> #### 2\nno bar here\nq|| #### 3", 2, 2, "||");
    broken_row(TASK_GSM8K, "q||<<1+1=2>> #### 2\n\nq||<<1+1=2>>\n", 3, 1, "####");
    broken_row(TASK_GSM8K, "q||<<1+1=2>> #### \n", 1, 0, "number");
    broken_row(TASK_GSM8K, "[{\"question\": \"q\", \"steps\": [\"s\"], \"answer\": \"5\"},\n"
               "{\"question\": \"q\", \"steps\": [5], \"answer\": \"5\"}]", 2, 1, "steps");
    broken_row(TASK_GSM8K, "[{\"question\": \"q\", \"steps\": [], \"answer\": \"5\"},\n"
               "{\"question\": \"q\", \"ste", 2, 1, "expected");
    broken_row(TASK_GSM8K, "[{\"question\": \"q\", \"steps\": [], \"answer\": \"5\"},\n", 2, 1,
               "array");
    broken_row(TASK_GSM8K, "[1, 2]", 1, 0, "object");
    broken_row(TASK_PROSQA, "[{\"question\": \"Who?\", \"steps\": [], \"answer\": \"x\"},\n"
               PROSQA_ROW "]", 1, 1, "Is Tom a");
    broken_row(TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"b\"], \"gold\": 2}", 1, 0,
               "gold");
    broken_row(TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"\"], \"gold\": 0}", 1, 0,
               "choices");
    broken_row(TASK_COUNTDOWN, "{\"nums\": [1, 2], \"target\": 4, \"steps\": [\"1+2=3\"], "
               "\"answer\": \"1+2\"}\n", 1, 0, "steps");
    check_that(!task_read(TASK_TEXT, "no/such/file", 0, &set, error, sizeof error)
               && strstr(error, "no/such/file"), "a missing file is named, got \"%s\"", error);
    check_that(!task_read(TASK_GSM8K, write_file("", "a\0b", 3), 0, &set, error, sizeof error)
               && strstr(error, "NUL"), "a NUL byte is refused, got \"%s\"", error);

    /* any bytes: cut short, or a few changed; whatever is read must be whole */
    for (i = 0; i < 4000; i++) {
        const char *sample = samples[dual_rng_below(&rng, sizeof samples / sizeof *samples)];
        char text[2000];
        size_t n = strlen(sample), k;
        const task_kind kind = (task_kind)dual_rng_below(&rng, TASK_CHOICES + 1);

        memcpy(text, sample, n);
        if (dual_rng_below(&rng, 2))
            n = dual_rng_below(&rng, n + 1);
        for (k = 0; n > 0 && k < dual_rng_below(&rng, 6); k++)
            text[dual_rng_below(&rng, n)] = "[]{}\",:\\u0|#< \n9\xff"[dual_rng_below(&rng, 17)];
        if (task_read(kind, write_file(kind == TASK_TEXT ? ".json" : "", text, n), 1, &set, error,
                      sizeof error)) {
            for (k = 0; k < set.count; k++) {
                const task_row row = task_get(&set, k);

                check_that(row.answer + strlen(row.answer) < set.text + set.used
                           && task_grade(TASK_PROSQA, &row, row.answer) >= 0, "a whole row");
            }
            task_free(&set);
        } else {
            check_that(!set.text && *error && !strchr(error, '\n'), "one line: \"%s\"", error);
        }
    }
}

/* ---- Rows as ids ---------------------------------------------------------------------------- */

static run_settings settings_of(const char *task) {
    run_settings set;

    memset(&set, 0, sizeof set);
    options_defaults(RUN_OPTIONS, &set);
    snprintf(set.task, sizeof set.task, "%s", task);
    set.batch = 4;
    return set;
}

static void y_is(const run_task *t, const example *e, const char *expected) {
    char text[400];

    check_that(e->y[e->n_y - 1] == t->end, "y ends with the end token");
    tokenizer_decode(t->tokens, e->y, e->n_y - 1, text, sizeof text);
    check_that(!strcmp(text, expected), "y: expected \"%s\", got \"%s\"", expected, text);
}

static void test_stages(void) {
    static const char *const stage_y[] = {
        "Tom is a lempus.\nEvery lempus is a scrompus.\n### Tom is a scrompus.",
        "Every lempus is a scrompus.\n### Tom is a scrompus.", "### Tom is a scrompus.",
        "### Tom is a scrompus."
    };
    run_settings set = settings_of("prosqa");
    dual_system chain = dual_system_preset("coconut");
    run_task t;
    run_batch b, again;
    example e;
    task_set rows;
    char error[300] = "", text[400];
    size_t i, k;

    snprintf(set.data, sizeof set.data, "%s", write_text("", "[" PROSQA_ROW ", " PROSQA_ROW "]"));
    snprintf(set.steps_shown, sizeof set.steps_shown, "curriculum");
    set.stages = 2;
    set.stage_steps = 10;
    set.steps = 40;
    set.latents_per_stage = 3;
    chain.latents = 6;
    check_that(task_read(TASK_PROSQA, set.data, 0, &rows, error, sizeof error)
               && run_task_open(&set, NULL, 1, &t, error, sizeof error), "opened: %s", error);
    check_size(tokenizer_size(t.tokens), 65, "62 words, end, line break, ###");
    for (i = 0; i < 4; i++) {
        const task_row row = task_get(&rows, 0);

        check_that(run_example(&set, &t, i, &row, &e, error, sizeof error), "an example");
        tokenizer_decode(t.tokens, e.x, e.n_x, text, sizeof text);
        check_that(!strcmp(text, ASKED), "x: \"%s\"", text);
        y_is(&t, &e, stage_y[i]);
        free(e.packed);
        free(e.text);
        check_size(run_stage_of(&set, 10 * i), i, "the stage of step %lu", (unsigned long)(10 * i));
        check_size(run_latents_of(&set, &chain, i), i < 2 ? 3 * i : 6, "its latents");
        check_that(run_batch_make(&set, &t, 10 * i + 9, &b, error, sizeof error), "a batch");
        check_size(b.stage, i, "its stage");
        check_size(b.group[1].n_target, i == 0 ? 20 : i == 1 ? 14 : 7, "targets of stage %lu",
                   (unsigned long)i);
        run_batch_free(&b);
    }
    check_size(run_stage_of(&set, 1000000), 3, "the last stage stays");
    task_free(&rows);

    /* mixing: with probability 1 all stages come up, row by row; else one stage for the batch */
    snprintf(set.steps_shown, sizeof set.steps_shown, "curriculum");
    set.uniform_stage = 1;
    for (k = 0; k < 2; k++) {
        size_t seen[21] = { 0 }, mixed = 0;

        set.latents_per_stage = k;
        for (i = 0; i < 40; i++) {
            check_that(run_batch_make(&set, &t, i, &b, error, sizeof error)
                       && run_batch_make(&set, &t, i, &again, error, sizeof error), "a batch");
            check_that(b.stage == again.stage && b.group[3].n_target == again.group[3].n_target,
                       "a batch is a function of its step");
            mixed += b.group[0].n_target != b.group[1].n_target
                     || b.group[0].n_target != b.group[2].n_target;
            seen[b.group[0].n_target]++;
            run_batch_free(&b);
            run_batch_free(&again);
        }
        check_that(seen[20] > 3 && seen[14] > 3 && seen[7] > 3, "all stages come up");
        check_that(k ? mixed == 0 : mixed > 10, "%s", k ? "a batch has one number of latents"
                                                        : "rows of a batch differ");
    }
    run_task_close(&t);
}

static void test_no_steps_and_all(void) {
    run_settings set = settings_of("gsm8k");
    run_task t;
    example e;
    task_set rows;
    task_row row;
    char error[300] = "", text[100];

    snprintf(set.data, sizeof set.data, "%s", write_text("", OFFICIAL));
    check_that(task_read(TASK_GSM8K, set.data, 0, &rows, error, sizeof error)
               && run_task_open(&set, NULL, 1, &t, error, sizeof error), "opened: %s", error);
    row = task_get(&rows, 0);
    check_that(!strcmp(run_tokenizer_name(&t), "bytes") && tokenizer_size(t.tokens) == 257
               && run_count_tokens(&t, "a \xc3\xa9\n") == 5, "bytes");
    check_that(run_example(&set, &t, 0, &row, &e, error, sizeof error), "no steps");
    y_is(&t, &e, "### 1200");
    tokenizer_decode(t.tokens, e.x, e.n_x, text, sizeof text);
    check_that(!strcmp(text, "How many?"), "x: \"%s\"", text);
    free(e.packed);
    free(e.text);
    snprintf(set.steps_shown, sizeof set.steps_shown, "all");
    check_that(run_example(&set, &t, 0, &row, &e, error, sizeof error), "all steps");
    y_is(&t, &e, "<<2*3=6>>\n<<6*200=1200>>\n### 1200");
    check_size(run_max_new(&set, &t), 256, "64 tokens are 256 bytes");
    check_that(!run_fit_rows(&set, &t, e.n_x + e.n_y - 1, error, sizeof error)
               && strstr(error, "row 1"), "a row too long is named, got \"%s\"", error);
    check_that(run_fit_rows(&set, &t, e.n_x + e.n_y, error, sizeof error) && t.n_rows == 1,
               "a row that fits stays");
    free(e.packed);
    free(e.text);
    task_free(&rows);
    run_task_close(&t);
}

static void test_text_groups(void) {
    run_settings set = settings_of("text");
    run_task t;
    run_batch b;
    token_block ids;
    char error[300] = "", report[1200], text[2500];
    size_t i, k, first, wrong = 0, counts[64] = { 0 }, place[8];

    for (i = 0; i < 2000; i++)
        text[i] = (char)('a' + i % 26);
    snprintf(set.data, sizeof set.data, "%s", write_file(".txt", text, 2000));
    snprintf(set.objective, sizeof set.objective, "pretrain");
    set.context = 64;
    set.sequence = 60;
    set.ahead = 5;
    set.groups = 8;
    set.held_out = 0.1;
    check_that(run_task_open(&set, NULL, 1, &t, error, sizeof error), "opened: %s", error);
    check_size(t.n_train, 2001 - 200, "a tenth is held out");
    for (i = 0; i < 200; i++) {
        if (!check_that(run_batch_make(&set, &t, i, &b, error, sizeof error), "%s", error))
            break;
        check_size(b.batch.n_groups, 32, "M groups for each of 4 sequences");
        for (k = 0; k < b.batch.n_groups; k++) {
            const dual_group *g = &b.group[k];
            const int32_t *text_of = b.text[g->sequence];

            check_that(g->sequence == k / 8 && g->prefix >= 1 && g->prefix + 6 <= 60
                       && (k % 8 == 0 || g->prefix > g[-1].prefix)
                       && g->cue == text_of + g->prefix && g->target == g->cue + 1
                       && g->n_target == 5, "group %lu stands in its text", (unsigned long)k);
            counts[g->prefix]++;
        }
        for (k = 0; k < 4; k++)
            check_that(b.length[k] == 60 && b.text[k] >= t.ids.at
                       && b.text[k] + 60 <= t.ids.at + t.n_train, "only text to train on");
        run_batch_free(&b);
    }
    for (i = 1; i <= 54; i++)                          /* 6,400 draws of 8 in 54 places: 119 each */
        check_that(counts[i] > 70 && counts[i] < 170, "place %lu: drawn %lu times of about 119",
                   (unsigned long)i, (unsigned long)counts[i]);
    run_group_places(&set, 7, place);
    check_that(place[0] >= 1 && place[7] <= 54, "places");
    check_that(run_text_batch(&set, t.ids.at, 7, &b, error, sizeof error), "%s", error);
    for (k = 0; k < 8; k++)
        wrong += b.group[k].sequence != 0 || b.group[k].prefix != place[k]
                 || b.group[k].target != t.ids.at + place[k] + 1 || b.group[k].n_target != 5;
    check_that(b.batch.n_sequences == 1 && b.batch.n_groups == 8 && b.length[0] == 60 && !wrong,
               "one sequence as a batch, with the places of its number");
    run_batch_free(&b);
    snprintf(set.objective, sizeof set.objective, "lm");
    for (k = 0; k < 2; k++) {
        set.sequence = k ? 60 : 0;
        check_that(run_text_batch(&set, t.ids.at, 7, &b, error, sizeof error)
                   && b.batch.n_groups == 1 && b.length[0] == 0 && b.group[0].prefix == 0
                   && b.group[0].n_target == (k ? 59 : 63),
                   "lm: all but the first id of a context, or of --sequence, is a target");
        run_batch_free(&b);
    }
    set.sequence = 0;
    set.context = 40960;
    check_size(run_sequence(&set), 1024, "a context of tens of thousands is not a sequence");
    set.context = 64;
    set.sequence = 60;
    snprintf(set.objective, sizeof set.objective, "pretrain");
    check_that(run_text_open(&set, &t, set.data, 1, &ids, &first, report, sizeof report, error,
                             sizeof error)
               && first == t.n_train && ids.used == 2001, "the held-out part begins there");
    free(ids.at);
    run_task_close(&t);

    /* documents: the cut goes back to a document's beginning, an end token behind each */
    snprintf(set.data, sizeof set.data, "%s", write_text(".jsonl",
        "{\"text\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n"
        "{\"text\": \"bbbbbbbbbbbbbbb\"}\n{\"text\": \"ccc\"}\n"));
    set.held_out = 0.2;
    check_that(run_task_open(&set, NULL, 1, &t, error, sizeof error), "opened: %s", error);
    check_that(t.n_train == 65 && t.ids.used == 65 + 16 + 4 && t.ids.at[64] == t.end,
               "cut at a document: expected 65 of 85, got %lu of %lu", (unsigned long)t.n_train,
               (unsigned long)t.ids.used);
    check_that(!run_batch_make(&set, &t, 0, &b, error, sizeof error) && strstr(error, "65 tokens"),
               "too little text is refused, got \"%s\"", error);
    run_task_close(&t);
}

static void test_batches_of_prompts(void) {
    static const struct { size_t rows, tokens, count; } cases[] = {
        { 1, 20000, 1 }, { 2, 20000, 2 }, { 3, 20000, 3 }, { 4, 20000, 2 }, { 5, 20000, 2 },
        { 3, 8000, 3 }, { 9, 4000, 4 }, { 5, 4000, 3 }, { 128, 9, 128 }, { 129, 9, 127 },
        { 300, 9, 128 }
    };
    example rows[300];
    size_t i, k, count;

    memset(rows, 0, sizeof rows);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (k = 0; k < cases[i].rows; k++)
            rows[k].n_x = cases[i].tokens;
        count = run_prompts_count(rows, cases[i].rows, 100, 0);
        check_size(count, cases[i].count, "rows of %lu with %lu tokens: none is left alone",
                   (unsigned long)cases[i].rows, (unsigned long)cases[i].tokens);
    }
}

/* ---- The public files ----------------------------------------------------------------------- */

static int read_real(task_kind kind, const char *folder, const char *name, size_t rows,
                     task_set *set) {
    char path[1000], error[300] = "";

    snprintf(path, sizeof path, "%.800s/%s", folder, name);
    return check_that(task_read(kind, path, 0, set, error, sizeof error) && set->count == rows,
                      "%s: expected %lu rows, got %lu \"%s\"", name, (unsigned long)rows,
                      (unsigned long)set->count, error);
}

static void same_rows(const task_set *a, const task_set *b, int answers_only, const char *what) {
    size_t i, k, differ = 0;

    for (i = 0; i < a->count && i < b->count; i++) {
        const task_row x = task_get(a, i), y = task_get(b, i);

        differ += strcmp(x.answer, y.answer) != 0;
        if (answers_only)
            continue;
        differ += strcmp(x.question, y.question) != 0 || x.n_steps != y.n_steps;
        for (k = 0; k < x.n_steps && k < y.n_steps; k++)
            differ += strcmp(task_step(&x, k), task_step(&y, k)) != 0;
    }
    check_size(differ, 0, "%s: the same rows", what);
}

static void test_real(const char *folder) {
    static const struct { const char *text, *json; size_t rows; } aug[] = {
        { "gsm8k/gsm8k_aug_valid.txt", "gsm8k/coconut_gsm_valid.json", 500 },
        { "gsm8k/gsm8k_aug_test.txt", "gsm8k/coconut_gsm_test.json", 1319 }
    };
    static const struct { const char *name; size_t rows; } mc[] = {
        { "mc/piqa_val.jsonl", 1838 }, { "mc/winogrande_val.jsonl", 1267 },
        { "mc/arc_easy_test.jsonl", 2376 }
    }, prosqa[] = { { "prosqa/prosqa_valid.json", 300 }, { "prosqa/prosqa_test.json", 500 } };
    task_set a, b;
    char path[1000], error[300];
    size_t i, k;

    for (i = 0; i < 2; i++)
        if (read_real(TASK_GSM8K, folder, aug[i].text, aug[i].rows, &a)
            && read_real(TASK_GSM8K, folder, aug[i].json, aug[i].rows, &b)) {
            same_rows(&a, &b, 0, aug[i].text);
            if (i == 1) {
                task_free(&b);
                if (read_real(TASK_GSM8K, folder, "gsm8k/test.jsonl", 1319, &b))
                    same_rows(&a, &b, 1, "gsm8k/test.jsonl");
            }
            task_free(&a);
            task_free(&b);
        }
    if (read_real(TASK_GSM8K, folder, "gsm8k/train.jsonl", 7473, &a)) {
        for (i = 0; i < a.count; i++) {
            const task_row row = task_get(&a, i);

            check_that(task_grade(TASK_GSM8K, &row, row.answer) == GSM8K_CORRECT, "gold answer %s",
                       row.answer);
        }
        task_free(&a);
    }
    for (i = 0; i < 2; i++)
        if (read_real(TASK_PROSQA, folder, prosqa[i].name, prosqa[i].rows, &a)) {
            prosqa_stats s;

            for (k = 0; k < a.count; k++) {
                const task_row row = task_get(&a, k);

                sound_problem(&row);
                check_that(task_grade(TASK_PROSQA, &row, row.answer) == PROSQA_CORRECT, "gold");
            }
            snprintf(path, sizeof path, "%.800s/%s", folder, prosqa[i].name);
            check_that(prosqa_measure_file(&s, path, error, sizeof error)
                       && s.rows == prosqa[i].rows && s.steps[3] == (i ? 202u : 124u)
                       && s.first == (i ? 260u : 144u), "%s: the published steps and order",
                       prosqa[i].name);
            task_free(&a);
        }
    for (i = 0; i < 3; i++)
        if (read_real(TASK_CHOICES, folder, mc[i].name, mc[i].rows, &a))
            task_free(&a);
    if (read_real(TASK_TEXT, folder, "text", 302, &a))
        task_free(&a);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_tasks FOLDER [DATA]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.500s/test_tasks", argv[1]);
    test_gsm8k_readers();
    test_gsm8k_grader();
    test_prosqa_rows();
    test_prosqa_generator();
    test_text();
    test_choices();
    test_damaged();
    test_stages();
    test_no_steps_and_all();
    test_text_groups();
    test_batches_of_prompts();
    if (argc > 2)
        test_real(argv[2]);
    else
        printf("skipped: public sets, expected their folder as the second argument\n");
    return check_done();
}
