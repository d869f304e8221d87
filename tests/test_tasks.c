/* test_tasks.c - the tasks and their rows: readers and graders of all but Countdown, ProsQA's
 * generator against the published statistics, damaged files.
 *
 *     test_tasks FOLDER [DATA]     FOLDER: for its own files; DATA: with gsm8k/ prosqa/ text/ mc/
 */
#include "check.h"
#include "../data/files/system.h"
#include "../data/runs/dataset.h"

static char scratch[600];              /* FOLDER/test_tasks; behind it .txt, .json .. */

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
    char joined[1000] = "";
    if (!check_that(i < set->count, "row %zu of %zu is there", i, set->count)) return;
    const task_row row = task_get(set, i);
    for (size_t k = 0; k < row.n_steps; k++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s|",
                 task_step(&row, k));
    check_that(!strcmp(row.question, question), "question: expected \"%s\", got \"%s\"", question,
               row.question);
    check_that(!strcmp(joined, steps), "steps: expected \"%s\", got \"%s\"", steps, joined);
    check_that(!strcmp(row.answer, answer), "answer: expected \"%s\", got \"%s\"", answer,
               row.answer);
}

/* ---- The table and the rows ----------------------------------------------------------------- */

static void test_table(void) {
    static const char *const name[] = {"countdown", "gsm8k", "prosqa", "text"};
    static const int verdicts[] = {6, 3, 4, 0};
    task_kind kind;
    for (int i = 0; i < 4; i++) {
        check_that(task_find(name[i], &kind) && kind == (task_kind)i, "the task %s is found",
                   name[i]);
        check_that(!strcmp(task_name(kind), name[i]), "%s has its name", name[i]);
        for (int k = 0; k <= TASK_VERDICTS; k++)
            check_that((task_verdict_name(kind, k) != NULL) == (k < verdicts[i]),
                       "%s: expected %d verdicts", name[i], verdicts[i]);
        const int end = task_unfinished(kind);
        check_that(end > 0 && (!verdicts[i] || end < verdicts[i]),
                   "%s: no end token is a verdict, and not \"correct\"", name[i]);
    }
    check_that(!task_find("choices", &kind) && !task_find("chess", &kind) && !task_find("", &kind),
               "nothing else can be trained on");
    check_that(!strcmp(task_name(TASK_CHOICES), "choices"), "choices have a name");
    const task_row row = {"q", "a", "", 0};
    check_that(task_grade(TASK_TEXT, &row, "a") && task_grade(TASK_CHOICES, &row, "a"),
               "without a grader nothing is correct");
}

static void test_set(void) {
    task_set set = {0};
    for (int i = 0; i < 300; i++) {
        char question[24];
        snprintf(question, sizeof question, "question %d", i);
        check_that(task_put(&set, question, strlen(question)), "a question");
        for (int k = 0; k < i % 3; k++) check_that(task_put(&set, "step and more", 4), "a step");
        check_that(task_put(&set, "", 0) && task_close(&set, (size_t)i % 3), "an answer");
    }
    row_is(&set, 0, "question 0", "", "");
    row_is(&set, 298, "question 298", "step|", "");
    row_is(&set, 299, "question 299", "step|step|", "");
    task_free(&set);
    check_that(!set.text && !set.count, "a freed set is an empty one");
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
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const char *file = write_text("", same[i]);
        check_that(task_read(TASK_GSM8K, file, 0, &set, error, sizeof error) && set.count == 2,
                   "form %zu: expected 2 rows, got \"%s\"", i, error);
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
        {"1200", "1200", GSM8K_CORRECT}, {"1200", "### 1,200 ", GSM8K_CORRECT},
        {"1200", "<<1+1=2>>\n### 1200.00\n", GSM8K_CORRECT}, {"0.5", "### .50", GSM8K_CORRECT},
        {"-3", "### -3", GSM8K_CORRECT}, {"0", "### -0.0", GSM8K_CORRECT},
        {"7", "### 007", GSM8K_CORRECT}, {"1200", "### 120", GSM8K_WRONG},
        {"1200", "### 12000", GSM8K_WRONG}, {"3", "### -3", GSM8K_WRONG},
        {"1200", "1200 ### 1201", GSM8K_WRONG}, {"1200", "### 1200 dollars", GSM8K_NO_NUMBER},
        {"1200", "### ", GSM8K_NO_NUMBER}, {"1200", "", GSM8K_NO_NUMBER},
        {"1200", "### 1.2e3", GSM8K_NO_NUMBER}, {"1200", "### .", GSM8K_NO_NUMBER},
        {"100", "### 10", GSM8K_WRONG}, {"10", "### 100", GSM8K_WRONG}
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const task_row row = {"q", cases[i].gold, "", 0};
        const int got = task_grade(TASK_GSM8K, &row, cases[i].y);
        check_that(got == cases[i].verdict, "\"%s\" for %s: expected %s, got %s", cases[i].y,
                   cases[i].gold, task_verdict_name(TASK_GSM8K, cases[i].verdict),
                   task_verdict_name(TASK_GSM8K, got));
    }
}

/* The answer of a row in each of the three forms; what follows its last # is the gold answer. */
static void gold_is(const char *behind, const char *gold) {
    static const char *const form[] = {
        "{\"question\": \"q\", \"answer\": \"x <<1+1=2>>\\n#### %s\"}\n",
        "q||<<1+1=2>> #### %s\n",
        "{\"question\": \"q\", \"steps\": [\"<<1+1=2>>\"], \"answer\": \"%s\"}\n"
    };
    for (size_t i = 0; i < 3; i++) {
        task_set set;
        char text[1200], error[300] = "";
        snprintf(text, sizeof text, form[i], behind);
        const char *file = write_text("", text);
        const int read = task_read(TASK_GSM8K, file, 0, &set, error, sizeof error);
        if (!gold) {
            check_that(!read && strstr(error, "test_tasks:1: ") && strstr(error, "number"),
                       "form %zu, \"%.60s\": expected no number in line 1, got \"%s\"", i, behind,
                       error);
            if (read) task_free(&set);
            continue;
        }
        check_that(read, "form %zu, \"%.60s\": expected a row, got \"%s\"", i, behind, error);
        if (!read) continue;
        row_is(&set, 0, "q", "<<1+1=2>>|", gold);
        const task_row row = task_get(&set, 0);
        check_that(task_grade(TASK_GSM8K, &row, row.answer) == GSM8K_CORRECT,
                   "the gold answer %s is correct", row.answer);
        task_free(&set);
    }
}

static void test_gsm8k_gold(void) {
    char zeros[400], blanks[400];
    memset(zeros, '0', sizeof zeros);
    memset(blanks, ' ', sizeof blanks);
    strcpy(zeros + 300, "6");
    strcpy(blanks + 300, "6");
    gold_is("2", "2");
    gold_is(" 1,250.00 ", "1250.00");
    gold_is("-.5", "-.5");
    gold_is("+3.", "+3.");
    gold_is("2 #### 3", "3");
    gold_is("as #### above #### 3", "3");
    gold_is("2 # 3", "3");
    gold_is(zeros, zeros);
    gold_is(blanks, "6");
    gold_is("$1,250.00", NULL);
    gold_is("3 boxes", NULL);
    gold_is("see #### above", NULL);
    gold_is("3\xC2\xA0", NULL);
    gold_is("\xC2\xA0" "3", NULL);
    gold_is("1 250", NULL);
    gold_is("1/2", NULL);
    gold_is("1.2.3", NULL);
    gold_is("1e3", NULL);
    gold_is("5%", NULL);
    gold_is("", NULL);
    gold_is(" , ", NULL);
    gold_is("-", NULL);
    gold_is("2 ####", NULL);
}

/* An answer of any length is read to its end. */
static void test_gsm8k_long_answers(void) {
    static const struct { const char *begin; char fill; const char *end; int verdict; } cases[] = {
        {"### 6", ' ', "7", GSM8K_NO_NUMBER}, {"### ", '0', "6", GSM8K_CORRECT},
        {"### 6.", '0', "", GSM8K_CORRECT}, {"### 6.", '0', "1", GSM8K_WRONG},
        {"### 6", '0', "", GSM8K_WRONG}, {"### 6", ' ', "", GSM8K_CORRECT},
        {"### 6", ',', "", GSM8K_CORRECT}, {"### 6", ' ', "boxes", GSM8K_NO_NUMBER},
        {"### -", '0', "6", GSM8K_WRONG}, {"### ", ' ', "6", GSM8K_CORRECT},
        {"### ", ',', "6.0", GSM8K_CORRECT}, {"### 5", ',', "6", GSM8K_WRONG}
    };
    const task_row row = {"q", "6", "", 0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t length = 200; length < 5000; length = length * 5 / 4 + 1) {
            static char y[5100];
            const size_t n = strlen(cases[i].begin);
            strcpy(y, cases[i].begin);
            memset(y + n, cases[i].fill, length);
            strcpy(y + n + length, cases[i].end);
            const int got = task_grade(TASK_GSM8K, &row, y);
            check_that(got == cases[i].verdict, "%s, %zu times '%c', %s: expected %s, got %s",
                       cases[i].begin, length, cases[i].fill, cases[i].end,
                       task_verdict_name(TASK_GSM8K, cases[i].verdict),
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

#define TWO_ROWS "[" PROSQA_ROW ", " PROSQA_ROW "]"

static void test_prosqa_rows(void) {
    task_set set;
    char error[300] = "";
    check_that(task_read(TASK_PROSQA, write_text("", TWO_ROWS), 0, &set, error, sizeof error) &&
               set.count == 2, "two rows: expected to be read, got \"%s\"", error);
    row_is(&set, 1, ASKED, "Tom is a lempus.|Every lempus is a scrompus.|", "Tom is a scrompus.");
    task_free(&set);
}

static void test_prosqa_grader(void) {
    static const struct { const char *y; int verdict; } cases[] = {
        {"### Tom is a scrompus.", PROSQA_CORRECT}, {"Tom is a scrompus. ", PROSQA_CORRECT},
        {"### Tom is a scrompus", PROSQA_RIGHT_OPTION}, {"scrompus", PROSQA_RIGHT_OPTION},
        {"### Sam is a scrompus.", PROSQA_RIGHT_OPTION},
        {"### Tom is a impus.", PROSQA_WRONG_OPTION},
        {"### Tom is a lempus.", PROSQA_NEITHER}, {"", PROSQA_NEITHER},
        {"### impus or scrompus", PROSQA_NEITHER},
        {"### Tom is a wimpus.", PROSQA_NEITHER},      /* impus within another word */
        {"### Tom is a impuses.", PROSQA_NEITHER},
        {"impus\n### scrompus", PROSQA_RIGHT_OPTION}
    };
    const task_row row = {ASKED, "Tom is a scrompus.", "", 0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int got = task_grade(TASK_PROSQA, &row, cases[i].y);
        check_that(got == cases[i].verdict, "\"%s\": expected %s, got %s", cases[i].y,
                   task_verdict_name(TASK_PROSQA, cases[i].verdict),
                   task_verdict_name(TASK_PROSQA, got));
    }
}

/* Broken rows and those without a graph are passed over. */
static void test_prosqa_measured_file(void) {
    static const char *const files[] = {
        TWO_ROWS,
        "[" PROSQA_ROW ", 5,\n{\"question\": \"Is Tom a impus or scrompus?\"}, " PROSQA_ROW ", "
        "{\"question\": \"" ASKED "\", \"steps\": [], \"answer\": \"Tom is a impus.\"}]"
    };
    prosqa_stats stats;
    char error[300] = "", report[2000];
    for (size_t i = 0; i < 2; i++) {
        const char *file = write_text("", files[i]);
        check_that(prosqa_measure_file(&stats, file, error, sizeof error) && stats.rows == 2 &&
                   stats.nodes[5] == 2 && stats.edges == 6 && stats.steps[2] == 2 &&
                   stats.first == 0 && stats.root_0 == 2 && stats.names == 4 && stats.words == 38,
                   "statistics of a file, got \"%s\"", error);
    }
    check_that(prosqa_report(&stats, report, sizeof report) < sizeof report &&
               strstr(report, "nodes      5.0 +- 0.0 (5..5), edges 3.0"), "the report: %s", report);
    check_that(prosqa_report(&stats, report, 8) > 200 && !strcmp(report, "2 rows\n"),
               "a short buffer: expected \"2 rows\", got \"%s\"", report);
    check_that(!prosqa_measure_file(&stats, write_text("", "[{}]"), error, sizeof error) &&
               strstr(error, "idx_to_symbol"), "nothing to measure, got \"%s\"", error);
}

/* Whether facts lead from one word to another, by a search that only reads the text. -1: a fact is
 * none. */
static int leads(const char *question, const char *from, const char *to) {
    char reached[60][32], fact[200];
    size_t n = 1, before;
    snprintf(reached[0], sizeof reached[0], "%s", from);
    do {
        const char *at = question, *stop;
        before = n;
        for (; (stop = strchr(at, '.')) != NULL; at = stop + 1 + (stop[1] == ' ')) {
            char subject[32], object[32];
            int known = 0, there = 0;
            snprintf(fact, sizeof fact, "%.*s", (int)(stop - at), at);
            if (sscanf(fact, "Every %31s is a %31s", subject, object) != 2 &&
                sscanf(fact, "%31s is a %31s", subject, object) != 2)
                return -1;
            for (size_t i = 0; i < n; i++) {
                known = known || !strcmp(reached[i], subject);
                there = there || !strcmp(reached[i], object);
            }
            if (known && !there && n < 60) strcpy(reached[n++], object);
        }
    } while (n > before);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(reached[i], to)) return 1;
    return 0;
}

/* The steps must be facts of the question and lead from `name` to `choice`. */
static void sound_steps(const task_row *row, const char *name, const char *choice) {
    char last[40], start[60];
    snprintf(last, sizeof last, "%s", name);
    for (size_t k = 0; k < row->n_steps; k++) {
        const char *step = task_step(row, k);
        check_that(strstr(row->question, step) != NULL, "step \"%s\" is a fact", step);
        snprintf(start, sizeof start, k ? "Every %s is a " : "%s is a ", last);
        check_that(!strncmp(step, start, strlen(start)), "step \"%s\" goes on from %s", step, last);
        snprintf(last, sizeof last, "%.31s", step + strlen(start));
        last[strcspn(last, ".")] = 0;
    }
    check_that(!strcmp(last, choice), "the steps end at %s, got %s", choice, last);
}

static void sound_problem(const task_row *row) {
    char name[32], choice[2][32], answer[120];
    const char *ask = strstr(row->question, "Is ");
    int right = -1;
    if (!check_that(ask && sscanf(ask, "Is %31s a %31s or %31[^?]", name, choice[0],
                                  choice[1]) == 3, "a question ends \"%s\"", row->question))
        return;
    for (int i = 0; i < 2; i++) {
        snprintf(answer, sizeof answer, "%s is a %s.", name, choice[i]);
        if (!strcmp(answer, row->answer)) right = i;
    }
    if (!check_that(right >= 0, "the answer \"%s\" is one of the options", row->answer)) return;
    check_that(leads(row->question, name, choice[right]) == 1 &&
               leads(row->question, name, choice[!right]) == 0,
               "only the right choice follows: %s", row->question);
    sound_steps(row, name, choice[right]);
}

static void about(double got, double expected, double limit, const char *what) {
    check_close(got, expected, limit, "generated ProsQA: %s", what);
}

/* The published 800 rows (valid and test), as they were measured. 4,000 rows here: three standard
 * errors of the difference are about .05 for shares near one half, .02 for small ones. */
static void test_prosqa_generator(void) {
    const prosqa_options o = prosqa_defaults();
    prosqa_stats s;
    prosqa_graph g;
    task_set set = {0};
    dual_rng rng = dual_rng_seed(5, 0);
    double rows = 4000, nodes = 0, mean = 0;
    memset(&s, 0, sizeof s);
    for (size_t i = 0; i < 4000; i++) {
        if (!check_that(prosqa_draw(&o, PROSQA_TRAIN, &rng, &g, &set), "a problem is drawn"))
            return;
        const task_row row = task_get(&set, i);
        prosqa_measure(&s, &g, &row);
        if (i < 500) sound_problem(&row);
    }
    for (size_t i = 0; i <= PROSQA_NODES; i++) mean += (double)i * (double)s.nodes[i] / rows;
    for (size_t i = 0; i < 4; i++) nodes += (double)s.descend[i];
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
    task_free(&set);
}

static void test_prosqa_same_seed(void) {
    const prosqa_options o = prosqa_defaults();
    prosqa_graph g;
    task_set set = {0};
    for (int i = 0; i < 2; i++) {
        dual_rng rng = dual_rng_seed(6, 0);
        check_that(prosqa_draw(&o, PROSQA_TRAIN, &rng, &g, &set), "a problem is drawn");
    }
    const size_t length = set.used / 2;
    check_that(set.used == 2 * length && !memcmp(set.text, set.text + length, length),
               "the same seed gives the same problem");
    task_free(&set);
}

static prosqa_options small_world(void) {
    return (prosqa_options){.nodes_min = 4, .nodes_max = 5, .path_min = 2, .path_max = 2,
                            .concepts = 4, .names = 2};
}

/* So small a world that problems repeat: none of them in another split. */
static void test_prosqa_splits(void) {
    enum { EACH = 400 };
    const prosqa_options o = small_world();
    prosqa_graph g;
    task_set set = {0};
    dual_rng rng = dual_rng_seed(7, 0);
    for (int split = 0; split < 3; split++)
        for (int i = 0; i < EACH; i++)
            check_that(prosqa_draw(&o, (prosqa_split)split, &rng, &g, &set), "a small problem");
    size_t twice = 0, elsewhere = 0;
    for (size_t i = 0; i < set.count; i++) {
        const task_row row = task_get(&set, i);
        if (i % 10 == 0) sound_problem(&row);
        for (size_t k = i + 1; k < set.count; k++) {
            if (strcmp(row.question, task_get(&set, k).question)) continue;
            twice++;
            elsewhere += k / EACH != i / EACH;
        }
    }
    check_that(twice > 0 && elsewhere == 0, "%zu pairs are one problem, %zu of two splits", twice,
               elsewhere);
    task_free(&set);
}

static task_set prosqa_some(const prosqa_options *o, size_t n, task_population *all) {
    task_set set = {0};
    check_that(prosqa_sample(o, PROSQA_TEST, dual_rng_seed(9, 0), n, &set, all), "%zu problems", n);
    return set;
}

/* A small world is exhausted and ordered by hash, so that what is easily drawn does not come first;
 * a large one gives its draws. */
static void test_prosqa_samples(void) {
    const prosqa_options small = small_world(), large = prosqa_defaults();
    task_population all, again;
    task_set set = prosqa_some(&small, 1000, &all), few = prosqa_some(&small, 20, &again);
    check_that(set.count < 1000 && all.known == SPLIT_HAS && all.problems == (double)set.count &&
               again.problems == all.problems && few.count == 20, "all %zu of a small world are "
               "counted, expected %.0f", set.count, all.problems);
    size_t ascending = 0, differ = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < set.count; i++) {
        const task_row row = task_get(&set, i);
        const uint64_t hash = task_hash(TASK_PROSQA, &row);
        ascending += hash > last;
        last = hash;
        if (i < few.count) differ += strcmp(row.question, task_get(&few, i).question) != 0;
        sound_problem(&row);
    }
    check_size(ascending, set.count, "ordered by their hashes, each once");
    check_size(differ, 0, "a short sample begins a longer one");
    task_free(&set);
    task_free(&few);
    set = prosqa_some(&large, 30, &all);
    dual_rng rng = dual_rng_seed(9, 0);
    prosqa_graph g;
    for (size_t i = 0; i < set.count; i++) prosqa_draw(&large, PROSQA_TEST, &rng, &g, &few);
    check_that(set.count == 30 && all.known == SPLIT_HAS_OVER && all.problems > 5e5,
               "a large world is not counted, got %.0f", all.problems);
    check_that(few.count == 30 && few.used == set.used && !memcmp(few.text, set.text, set.used),
               "and gives what is drawn");
    task_free(&set);
    task_free(&few);
}

static void test_prosqa_options(void) {
    prosqa_options o = small_world();
    prosqa_graph g;
    task_set set = {0};
    dual_rng rng = dual_rng_seed(8, 0);
    check_that(prosqa_check(&o) == NULL, "small sizes are possible");
    o.concepts = 1;
    check_that(prosqa_check(&o) != NULL && !prosqa_draw(&o, PROSQA_TRAIN, &rng, &g, &set),
               "one concept for four nodes is refused");
    task_free(&set);
}

/* ---- Text and choices ----------------------------------------------------------------------- */

static void test_text_files(void) {
    task_set set;
    char error[300] = "";
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
}

typedef struct { const char *name, *text; } named_text;

/* FOLDER/test_tasks.NAME with these files; one whose text is NULL is a folder. */
static const char *make_folder(const char *name, const named_text *file, size_t n) {
    static char folder[700];
    snprintf(folder, sizeof folder, "%s.%s", scratch, name);
    if (!data_make_folder(folder)) check_fatal("a folder of the test's own cannot be made");
    for (size_t i = 0; i < n; i++) {
        char path[800];
        snprintf(path, sizeof path, "%s/%s", folder, file[i].name);
        if (file[i].text) check_write(path, file[i].text, strlen(file[i].text));
        else if (!data_make_folder(path)) check_fatal("a folder in it cannot be made");
    }
    return folder;
}

static void test_text_folder(void) {
    static const named_text file[] = {
        {"b.txt", "second"}, {"a.jsonl", "{\"text\": \"first\"}\n{\"text\": \"and\"}\n"},
        {"c.md", "ignored"}, {"0.txt", "zero"}
    };
    task_set set;
    char error[300] = "";
    check_that(task_read(TASK_TEXT, make_folder("folder", file, 4), 0, &set, error, sizeof error) &&
               set.count == 4, "a folder's .txt and .jsonl files: %s", error);
    row_is(&set, 0, "zero", "", "");
    row_is(&set, 1, "first", "", "");
    row_is(&set, 3, "second", "", "");
    task_free(&set);
}

/* Endings in any letters; a folder without a text is not called empty. */
static void test_text_endings(void) {
    static const named_text loud[] = {
        {"A.TXT", "first"}, {"B.JSONL", "{\"text\": \"second\"}\n"},
        {"C.Json", "[{\"text\": \"x\"}]"}
    };
    static const named_text none[] = {{"a.md", "ignored"}, {"b.parquet", "x"}, {"c", NULL}};
    static const named_text blank[] = {{"a.txt", ""}};
    task_set set;
    char error[300] = "";
    check_that(task_read(TASK_TEXT, make_folder("loud", loud, 3), 0, &set, error, sizeof error) &&
               set.count == 3, ".TXT, .JSONL and .Json: %s", error);
    row_is(&set, 1, "second", "", "");
    task_free(&set);
    check_that(!task_read(TASK_TEXT, make_folder("none", none, 3), 0, &set, error, sizeof error) &&
               strstr(error, "none") && strstr(error, ".txt, .json or .jsonl") &&
               strstr(error, "2 other files") && strstr(error, "1 folder"),
               "a folder without a text: %s", error);
    const char *empty = make_folder("blank", blank, 1);
    check_that(!task_read(TASK_TEXT, empty, 0, &set, error, sizeof error) &&
               strstr(error, "nothing in it"), "a folder with an empty text: %s", error);
    check_that(!task_read(TASK_TEXT, make_folder("bare", NULL, 0), 0, &set, error, sizeof error) &&
               strstr(error, ".txt, .json or .jsonl"), "an empty folder: %s", error);
}

static void test_choices(void) {
    static const char rows[] =
        "{\"ctx\": \"What?\", \"choices\": [\"this\", \" that\"], \"gold\": 1}\n"
        "{\"ctx\": \"Line\\n\", \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 0}\n"
        "{\"ctx\": \"x _\", \"choices\": [\"a\", \"b\"], \"gold\": 1, \"context_options\": "
        "[\"x a\", \"x b\"], \"continuation\": \"end.\"}\n";
    task_set set;
    char error[300] = "";
    check_that(task_read(TASK_CHOICES, write_text("", rows), 0, &set, error, sizeof error) &&
               set.count == 3, "three rows: %s", error);
    row_is(&set, 0, "", "What?| this|What?| that|", "1");
    row_is(&set, 1, "", "Line\n|a|Line\n|b|Line\n|c|", "0");
    row_is(&set, 2, "", "x a| end.|x b| end.|", "1");
    task_free(&set);
}

/* ---- Damaged files -------------------------------------------------------------------------- */

/* `text` has a broken row in the given line: the line is named, and where such rows are skipped
 * there are `rows` left. */
static void broken_row(task_kind kind, const char *text, int line, size_t rows, const char *why) {
    task_set set;
    char error[300] = "", place[40];
    const char *file = write_text("", text);
    snprintf(place, sizeof place, "test_tasks:%d: ", line);
    check_that(!task_read(kind, file, 0, &set, error, sizeof error) && strstr(error, place) &&
               strstr(error, why) && !set.text, "%.60s: expected %s%s, got \"%s\"", text, place,
               why, error);
    if (rows) {
        check_that(task_read(kind, file, 1, &set, error, sizeof error) && set.count == rows &&
                   set.broken == 1 && strstr(set.complaints, why),
                   "%.60s: expected %zu rows and one broken", text, rows);
        task_free(&set);
    } else {
        check_that(!task_read(kind, file, 1, &set, error, sizeof error) &&
                   strstr(error, "not one of its"), "%.60s: expected no usable row, got \"%s\"",
                   text, error);
    }
}

static void test_broken_rows(void) {
    static const char *const neither[] = {
        "Tom is a lempus.", "yes", "scrompus or impus", "Tom is a scrompuses.", "Tom is a SCROMPUS."
    };
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
    broken_row(TASK_GSM8K, "{\"question\": \"q\", \"answer\": \"5\"}", 1, 0, "\"steps\"");
    broken_row(TASK_GSM8K, "{\"question\": \"q\", \"steps\": 5, \"answer\": \"5\"}", 1, 0,
               "\"steps\"");
    broken_row(TASK_GSM8K, "[1, 2]", 1, 0, "object");
    broken_row(TASK_PROSQA, "[{\"question\": \"Who?\", \"steps\": [], \"answer\": \"x\"},\n"
               PROSQA_ROW "]", 1, 1, "Is Tom a");
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++) {
        char row[600];
        snprintf(row, sizeof row, "{\"question\": \"" ASKED "\", \"steps\": [], \"answer\": "
                 "\"%s\"}\n", neither[i]);
        broken_row(TASK_PROSQA, row, 1, 0, "option");
    }
    broken_row(TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"b\"], \"gold\": 2}", 1, 0,
               "gold");
    broken_row(TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"\"], \"gold\": 0}", 1, 0,
               "choices");
    broken_row(TASK_COUNTDOWN, "{\"nums\": [1, 2], \"target\": 4, \"steps\": [\"1+2=3\"], "
               "\"answer\": \"1+2\"}\n", 1, 0, "steps");
}

/* A character that no text here can hold: the message says so, and where it stands. */
static void test_nul_in_a_string(void) {
    static const struct { task_kind kind; const char *row, *field; } with[] = {
        {TASK_GSM8K, "{\"question\": \"q\\u0000\", \"answer\": \"#### 5\"}", "question"},
        {TASK_GSM8K, "{\"question\": \"q\", \"answer\": \"#### 5\\u0000\"}", "answer"},
        {TASK_GSM8K, "{\"question\": \"q\", \"steps\": [\"\\u0000\"], \"answer\": \"5\"}",
         "steps"},
        {TASK_PROSQA, "{\"question\": \"\\u0000" ASKED "\", \"steps\": [], \"answer\": \"x\"}",
         "question"},
        {TASK_PROSQA, "{\"question\": \"" ASKED "\", \"steps\": [\"a\\u0000\"], "
         "\"answer\": \"x\"}", "steps"},
        {TASK_PROSQA, "{\"question\": \"" ASKED "\", \"steps\": [], \"answer\": "
         "\"Tom is a impus\\u0000.\"}", "answer"},
        {TASK_TEXT, "{\"text\": \"a\\u0000b\"}", "text"},
        {TASK_CHOICES, "{\"ctx\": \"\\u0000\", \"choices\": [\"a\", \"b\"], \"gold\": 0}", "ctx"},
        {TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"b\\u0000\"], \"gold\": 0}",
         "choices"},
        {TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"b\"], \"gold\": 0, "
         "\"context_options\": [\"x\", \"y\"], \"continuation\": \"\\u0000\"}", "continuation"},
        {TASK_CHOICES, "{\"ctx\": \"c\", \"choices\": [\"a\", \"b\"], \"gold\": 0, "
         "\"context_options\": [\"x\", \"\\u0000\"], \"continuation\": \"z\"}", "context_options"},
        {TASK_COUNTDOWN, "{\"nums\": [1, 2], \"target\": 3, \"steps\": [\"1+2=3\\u0000\"], "
         "\"answer\": \"1+2\"}", "steps"},
        {TASK_COUNTDOWN, "{\"nums\": [1, 2], \"target\": 3, \"steps\": [\"1+2=3\"], "
         "\"answer\": \"1+2\\u0000\"}", "answer"}
    };
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        task_set set;
        char error[300] = "", field[40];
        snprintf(field, sizeof field, "\"%s\"", with[i].field);
        const char *file = write_text(with[i].kind == TASK_TEXT ? ".jsonl" : "", with[i].row);
        check_that(!task_read(with[i].kind, file, 0, &set, error, sizeof error) &&
                   strstr(error, ":1: ") && strstr(error, "\\u0000") && strstr(error, field),
                   "%s: expected \\u0000 in %s, got \"%s\"", with[i].row, field, error);
    }
}

/* iCoT questions may begin as JSON does. */
static void test_lines_that_look_like_json(void) {
    static const char *const first[] = {
        "[A] Tom", "[{A}] Tom", "{x} Tom", "[", "{", "\"Tom\"", "[]"
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        task_set set;
        char text[200], error[300] = "";
        snprintf(text, sizeof text, "%s||<<1+1=2>> #### 2\n%s||#### 3\nq||#### 4\n", first[i],
                 first[i]);
        if (!check_that(task_read(TASK_GSM8K, write_text("", text), 0, &set, error, sizeof error) &&
                        set.count == 3, "\"%s\": expected three rows, got \"%s\"", first[i], error))
            continue;
        row_is(&set, 0, first[i], "<<1+1=2>>|", "2");
        row_is(&set, 1, first[i], "", "3");
        task_free(&set);
    }
    broken_row(TASK_GSM8K, "[{\"question\": \"a||b\", \"steps\": [], \"answer\": \"5\"},\n"
               "{\"question\": \"a||b\", \"steps\": [], \"answ", 2, 1, "object");
    broken_row(TASK_GSM8K, "{\"question\": \"a||b\", \"answer\": \"#### 5\n", 1, 0, "object");
}

/* What was read of a broken row leaves no trace in the next one. */
static void test_skipped_rows(void) {
    task_set set;
    char error[300] = "";
    const char *file = write_text("", OFFICIAL "{\"question\": \"q\", \"answer\": \"<<1>>\"}\n"
                                  "{\"question\": \"q\", \"answer\": \"<<1>> ####\"}\n" OFFICIAL);
    check_that(task_read(TASK_GSM8K, file, 1, &set, error, sizeof error) && set.broken == 2,
               "two rows are skipped, got \"%s\"", error);
    check_that(!strcmp(set.complaints, "test_tasks:2: expected \"steps\", a list of strings, or "
                       "\"answer\" to end with #### and a number\ntest_tasks:3: expected a number "
                       "behind ####, and nothing else\n"),
               "and both are named, got \"%s\"", set.complaints);
    row_is(&set, 0, "How many?", "<<2*3=6>>|<<6*200=1200>>|", "1200");
    row_is(&set, 1, "How many?", "<<2*3=6>>|<<6*200=1200>>|", "1200");
    task_free(&set);
}

static void test_missing_files(void) {
    task_set set;
    char error[300];
    check_that(!task_read(TASK_TEXT, "no/such/file", 0, &set, error, sizeof error) &&
               strstr(error, "no/such/file"), "a missing file is named, got \"%s\"", error);
    check_that(!task_read(TASK_GSM8K, write_file("", "a\0b", 3), 0, &set, error, sizeof error) &&
               strstr(error, "NUL"), "a NUL byte is refused, got \"%s\"", error);
    for (int kind = TASK_COUNTDOWN; kind <= TASK_CHOICES; kind++) {
        const char *file = write_text(".txt", "version https://git-lfs.github.com/spec/v1\n"
                                      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\n"
                                      "size 12345\n");
        check_that(!task_read((task_kind)kind, file, 1, &set, error, sizeof error) &&
                   strstr(error, "Git LFS"), "a Git LFS pointer is named, got \"%s\"", error);
    }
}

/* Whatever is read of such a file must be whole rows, else there is one line of reason. */
static void read_any(task_kind kind, const char *file) {
    task_set set;
    char error[300];
    if (!task_read(kind, file, 1, &set, error, sizeof error)) {
        check_that(!set.text && *error && !strchr(error, '\n'), "one line: \"%s\"", error);
        return;
    }
    for (size_t k = 0; k < set.count; k++) {
        const task_row row = task_get(&set, k);
        check_that(row.answer + strlen(row.answer) < set.text + set.used &&
                   task_grade(TASK_PROSQA, &row, row.answer) >= 0, "a whole row");
    }
    task_free(&set);
}

/* Files cut short, or with a few bytes changed. */
static void test_any_bytes(void) {
    static const char *const samples[] = {
        OFFICIAL OFFICIAL, "q||<<1+1=2>> #### 2\nq|| #### 3\n", TWO_ROWS,
        "{\"ctx\": \"What?\", \"choices\": [\"this\", \"that\"], \"gold\": 1}\n",
        "[{\"text\": \"a\\u00e9\"}]",
        "{\"nums\": [1, 2], \"target\": 3, \"steps\": [\"1+2=3\"], \"answer\": \"1+2\"}\n"
    };
    dual_rng rng = dual_rng_seed(3, 0);
    for (int i = 0; i < 4000; i++) {
        const char *sample = samples[dual_rng_below(&rng, sizeof samples / sizeof *samples)];
        const task_kind kind = (task_kind)dual_rng_below(&rng, TASK_CHOICES + 1);
        char text[2000];
        size_t n = strlen(sample);
        memcpy(text, sample, n);
        if (dual_rng_below(&rng, 2)) n = dual_rng_below(&rng, n + 1);
        for (size_t k = 0; n > 0 && k < dual_rng_below(&rng, 6); k++)
            text[dual_rng_below(&rng, n)] = "[]{}\",:\\u0|#< \n9\xff"[dual_rng_below(&rng, 17)];
        read_any(kind, write_file(kind == TASK_TEXT ? ".json" : "", text, n));
    }
}

/* ---- The public files ----------------------------------------------------------------------- */

static int read_real(task_kind kind, const char *folder, const char *name, size_t rows,
                     task_set *set) {
    char path[1000], error[300] = "";
    snprintf(path, sizeof path, "%.800s/%s", folder, name);
    return check_that(task_read(kind, path, 0, set, error, sizeof error) && set->count == rows,
                      "%s: expected %zu rows, got %zu \"%s\"", name, rows, set->count, error);
}

static void same_rows(const task_set *a, const task_set *b, int answers_only, const char *what) {
    size_t differ = 0;
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        const task_row x = task_get(a, i), y = task_get(b, i);
        differ += strcmp(x.answer, y.answer) != 0;
        if (answers_only) continue;
        differ += strcmp(x.question, y.question) != 0 || x.n_steps != y.n_steps;
        for (size_t k = 0; k < x.n_steps && k < y.n_steps; k++)
            differ += strcmp(task_step(&x, k), task_step(&y, k)) != 0;
    }
    check_size(differ, 0, "%s: the same rows", what);
}

static void test_real_gsm8k(const char *folder) {
    static const struct { const char *text, *json; size_t rows; } aug[] = {
        {"gsm8k/gsm8k_aug_valid.txt", "gsm8k/coconut_gsm_valid.json", 500},
        {"gsm8k/gsm8k_aug_test.txt", "gsm8k/coconut_gsm_test.json", 1319}
    };
    task_set a, b;
    for (size_t i = 0; i < 2; i++) {
        if (!read_real(TASK_GSM8K, folder, aug[i].text, aug[i].rows, &a)) continue;
        if (read_real(TASK_GSM8K, folder, aug[i].json, aug[i].rows, &b)) {
            same_rows(&a, &b, 0, aug[i].text);
            task_free(&b);
        }
        if (i == 1 && read_real(TASK_GSM8K, folder, "gsm8k/test.jsonl", aug[i].rows, &b)) {
            same_rows(&a, &b, 1, "gsm8k/test.jsonl");
            task_free(&b);
        }
        task_free(&a);
    }
    if (!read_real(TASK_GSM8K, folder, "gsm8k/train.jsonl", 7473, &a)) return;
    for (size_t i = 0; i < a.count; i++) {
        const task_row row = task_get(&a, i);
        check_that(task_grade(TASK_GSM8K, &row, row.answer) == GSM8K_CORRECT, "gold answer %s",
                   row.answer);
    }
    task_free(&a);
}

static void test_real_prosqa(const char *folder) {
    static const struct { const char *name; size_t rows, three_steps, first; } file[] = {
        {"prosqa/prosqa_valid.json", 300, 124, 144}, {"prosqa/prosqa_test.json", 500, 202, 260}
    };
    for (size_t i = 0; i < 2; i++) {
        char path[1000], error[300] = "";
        prosqa_stats s;
        task_set set;
        if (!read_real(TASK_PROSQA, folder, file[i].name, file[i].rows, &set)) continue;
        for (size_t k = 0; k < set.count; k++) {
            const task_row row = task_get(&set, k);
            sound_problem(&row);
            check_that(task_grade(TASK_PROSQA, &row, row.answer) == PROSQA_CORRECT, "gold");
        }
        task_free(&set);
        snprintf(path, sizeof path, "%.800s/%s", folder, file[i].name);
        check_that(prosqa_measure_file(&s, path, error, sizeof error) && s.rows == file[i].rows &&
                   s.steps[3] == file[i].three_steps && s.first == file[i].first,
                   "%s: the published steps and order, got \"%s\"", file[i].name, error);
    }
}

static void test_real_choices_and_text(const char *folder) {
    static const struct { const char *name; size_t rows; } file[] = {
        {"mc/piqa_val.jsonl", 1838}, {"mc/winogrande_val.jsonl", 1267},
        {"mc/arc_easy_test.jsonl", 2376}
    };
    task_set set;
    for (size_t i = 0; i < 3; i++)
        if (read_real(TASK_CHOICES, folder, file[i].name, file[i].rows, &set)) task_free(&set);
    if (read_real(TASK_TEXT, folder, "text", 302, &set)) task_free(&set);
}

/* ---- Streams of random numbers -------------------------------------------------------------- */

/* All that a run with one seed draws from: each kind at numbers small and large, and the small
 * streams of dual.c and train.c (weights, soft tokens, sampling). No two may be one. */
static void test_streams(void) {
    static const uint64_t kind[] = {STREAM_TRAIN, STREAM_TEXT, STREAM_TEST, STREAM_SHUFFLE,
                                    STREAM_STAGE, STREAM_GROUPS};
    static const uint64_t number[] = {0, 1, 77, 0xBA5E, 0x50F7, 1 << 20, UINT64_C(1) << 40};
    enum { KINDS = sizeof kind / sizeof *kind, EACH = sizeof number / sizeof *number };
    uint64_t stream[(KINDS + 1) * EACH], first[(KINDS + 1) * EACH];
    size_t n = 0;
    for (size_t i = 0; i < EACH; i++) stream[n++] = number[i];
    for (size_t k = 0; k < KINDS; k++)
        for (size_t i = 0; i < EACH; i++) stream[n++] = run_stream(kind[k], number[i]);
    for (size_t i = 0; i < n; i++) {
        dual_rng rng = dual_rng_seed(1, stream[i]);
        first[i] = dual_rng_next(&rng);
        for (size_t k = 0; k < i; k++)
            check_that(stream[i] != stream[k] && first[i] != first[k],
                       "streams %zu and %zu: expected two, got one", k, i);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_tasks FOLDER [DATA]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.500s/test_tasks", argv[1]);
    test_table();
    test_set();
    test_gsm8k_readers();
    test_gsm8k_grader();
    test_gsm8k_gold();
    test_gsm8k_long_answers();
    test_prosqa_rows();
    test_prosqa_grader();
    test_prosqa_measured_file();
    test_prosqa_generator();
    test_prosqa_same_seed();
    test_prosqa_splits();
    test_prosqa_samples();
    test_prosqa_options();
    test_text_files();
    test_text_folder();
    test_text_endings();
    test_choices();
    test_broken_rows();
    test_nul_in_a_string();
    test_lines_that_look_like_json();
    test_skipped_rows();
    test_missing_files();
    test_any_bytes();
    test_streams();
    if (argc > 2) {
        test_real_gsm8k(argv[2]);
        test_real_prosqa(argv[2]);
        test_real_choices_and_text(argv[2]);
    } else {
        printf("skipped: public sets, expected their folder as the second argument\n");
    }
    return check_done();
}
