/* test_words.c - the tokenizer of words and of bytes: reading and writing text, vocabularies good
 * and bad, their files.
 *
 *     test_words FOLDER [DATA]     FOLDER: for its own files; DATA: with countdown/
 */
#include "check.h"
#include "../data/tasks/tasks.h"
#include "../data/tokenizers/words.h"

static char scratch[600];              /* FOLDER/test_words.txt */

/* ---- Questions in many tests ---------------------------------------------------------- */

enum { IDS = 256 };

static words *countdown_words(void) {
    words *w = words_new_countdown();
    check_that(w != NULL, "the Countdown vocabulary is made");
    if (!w) check_fatal("no words to go on with");
    return w;
}

/* The text must come back from its ids, and the ids from the text. */
static void round_trip(const words *w, const char *text) {
    int32_t ids[IDS], again[IDS];
    char out[COUNTDOWN_TEXT], error[200] = "";
    const size_t n = words_encode(w, text, ids, IDS, error, sizeof error);
    check_that(n <= IDS, "\"%s\": expected at most %d words, got error \"%s\"", text, IDS, error);
    if (n > IDS) return;
    size_t m = words_decode(w, ids, n, out, sizeof out);
    check_that(m == strlen(text) && !strcmp(out, text), "expected \"%s\", got \"%s\"", text, out);
    m = words_encode(w, out, again, IDS, error, sizeof error);
    check_that(m == n && !memcmp(ids, again, n * sizeof *ids), "\"%s\": expected the same ids",
               text);
}

/* The text must have so many ids, and they are decoded as `canonical`. */
static void reads_as(const words *w, const char *text, size_t expected, const char *canonical) {
    int32_t ids[IDS];
    char out[COUNTDOWN_TEXT], error[200] = "";
    const size_t n = words_encode(w, text, ids, IDS, error, sizeof error);
    check_that(n == expected, "\"%s\": expected %zu words, got %zu (%s)", text, expected, n, error);
    if (n > IDS) return;
    words_decode(w, ids, n, out, sizeof out);
    check_that(!strcmp(out, canonical), "\"%s\": expected \"%s\", got \"%s\"", text, canonical,
               out);
}

static void refuses(const words *w, const char *text, const char *named) {
    char error[200] = "";
    int32_t ids[IDS];
    const size_t n = words_encode(w, text, ids, IDS, error, sizeof error);
    check_that(n == SIZE_MAX && strstr(error, named),
               "\"%s\": expected an error with %s, got \"%s\"", text, named, error);
}

/* The words of the list, separated by blanks, must be written like this. */
static void decodes(const words *w, const char *list, const char *expected) {
    char copy[200], out[200];
    int32_t ids[IDS];
    size_t n = 0;
    strcpy(copy, list);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        ids[n++] = words_id(w, word);
    words_decode(w, ids, n, out, sizeof out);
    check_that(!strcmp(out, expected), "words %s: expected \"%s\", got \"%s\"", list, expected,
               out);
}

/* ---- The words of Countdown ----------------------------------------------------------------- */

static void test_list(void) {
    words *w = countdown_words();
    char text[8];
    check_that(words_size(w) == 132, "vocabulary: expected 132 words, got %zu", words_size(w));
    check_that(words_end(w) == words_id(w, "<end>") && words_id(w, "<end>") == 0,
               "<end>: expected id 0");
    for (int i = 0; i < (int)words_size(w); i++)
        check_that(words_id(w, words_word(w, i)) == i, "word %s: expected id %d",
                   words_word(w, i), i);
    check_that(words_word(w, -1) == NULL && words_word(w, 132) == NULL,
               "ids outside: expected NULL");
    check_that(words_id(w, "") == -1 && words_id(w, "101") == -1, "no such words: expected -1");
    for (int i = 0; i <= 100; i++) {
        snprintf(text, sizeof text, "%d", i);
        reads_as(w, text, 1, text);
    }
    words_free(w);
}

static void test_reading(void) {
    words *w = countdown_words();
    reads_as(w, "44 + (19 + 35)", 7, "44+(19+35)");
    reads_as(w, "44+(19+35)", 7, "44+(19+35)");
    reads_as(w, "((3+4))*5", 9, "((3+4))*5");
    reads_as(w, "19 + 35 = 54\n### 44", 8, "19+35=54\n### 44");
    reads_as(w, "=###(3", 4, "=### (3");
    reads_as(w, "150", 3, "150");
    reads_as(w, "150 251 7", 7, "150 251 7");
    reads_as(w, "1 5 0", 3, "1 5 0");
    reads_as(w, "101*100", 5, "101*100");
    reads_as(w, "98765432109876543210", 20, "98765432109876543210");
    reads_as(w, "numbers:3 target:4", 4, "numbers: 3 target: 4");
    reads_as(w, "", 0, "");
    refuses(w, "numbers: 3 banana", "banana");
    refuses(w, "numbers", "numbers");
    refuses(w, "3 07", "07");
    refuses(w, "00", "00");
    refuses(w, "0150", "0150");
    refuses(w, "<end>", "<");
    refuses(w, "<1_>", "<");
    refuses(w, "3\r\n", "byte 2");
    refuses(w, "\xEF\xBC\x93", "\xEF\xBC\x93");
    words_free(w);
}

static void test_writing(void) {
    words *w = countdown_words();
    const int32_t unknown[2] = {132, -1};
    int32_t ids[3];
    char out[20];
    decodes(w, "<1_> <_5> <_0> 7", "150 7");
    decodes(w, "<1_> <_5> <2_> <_5> <_0>", "<1_> <_5> 250");
    decodes(w, "<3_> <_5>", "<3_> <_5>");
    decodes(w, "35 <_5>", "35 <_5>");
    decodes(w, "<1_>", "<1_>");
    decodes(w, "3 + 4 <end> 7", "3+4 <end> 7");
    words_decode(w, unknown, 2, out, sizeof out);
    check_that(!strcmp(out, "<?> <?>"), "unknown ids: expected \"<?> <?>\", got \"%s\"", out);
    check_that(words_encode(w, "1 2 3", ids, 2, NULL, 0) == 3,
               "three words, room for two: expected 3");
    check_that(words_decode(w, ids, 2, out, 3) == 3 && !strcmp(out, "1 "),
               "a short buffer: expected \"1 \", got \"%s\"", out);
    check_that(words_decode(w, ids, 2, NULL, 0) == 3, "no buffer: expected the length 3");
    words_free(w);
}

static void test_texts_of_the_task(void) {
    words *w = countdown_words();
    countdown_options o = countdown_defaults();
    dual_rng rng = dual_rng_seed(13, 0);
    char text[COUNTDOWN_TEXT];
    for (int i = 0; i < 3000; i++) {
        countdown_problem p;
        o.number_max = i % 2 ? 99 : 2000;
        o.target_max = i % 3 ? 100 : 5000;
        if (!countdown_draw(&o, &rng, &p)) continue;
        countdown_prompt(&p, text, sizeof text);
        round_trip(w, text);
        snprintf(text, sizeof text, "%s\n%s\n### %s", p.steps[0], p.steps[1], p.solution);
        if (p.count == 3) round_trip(w, text);
        round_trip(w, p.solution);
        countdown_base(&o, 0.15, 0, &rng, text, sizeof text);
        round_trip(w, text);
    }
    words_free(w);
}

/* A text of any ids that shows no <..> must encode back to them. */
static void test_any_ids(void) {
    words *w = countdown_words();
    dual_rng rng = dual_rng_seed(14, 0);
    char text[COUNTDOWN_TEXT];
    for (int i = 0; i < 50000; i++) {
        const size_t n = 1 + dual_rng_below(&rng, 8);
        int32_t ids[8], back[IDS];
        for (size_t k = 0; k < n; k++) ids[k] = (int32_t)dual_rng_below(&rng, words_size(w));
        words_decode(w, ids, n, text, sizeof text);
        if (strchr(text, '<')) continue;
        const size_t m = words_encode(w, text, back, IDS, NULL, 0);
        check_that(m == n && !memcmp(ids, back, n * sizeof *ids), "\"%s\": expected its own ids",
                   text);
    }
    words_free(w);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

static void test_bytes(void) {
    words *w = words_new_bytes();
    char text[256], out[256];
    int32_t ids[300];
    if (!check_that(w != NULL, "the bytes are made")) return;
    check_size(words_size(w), 257, "the 256 bytes and <end>");
    check_that(words_end(w) == words_id(w, "<end>"), "<end> is a word");
    for (size_t i = 0; i < 255; i++) text[i] = (char)(255 - i);
    text[255] = 0;
    check_size(words_encode(w, text, ids, 300, NULL, 0), 255, "a word for each byte");
    for (size_t i = 0; i < 255; i++)
        check_that(ids[i] == words_id(w, "<byte 0>") + (unsigned char)text[i], "byte %zu", i);
    check_that(words_decode(w, ids, 255, out, sizeof out) == 255 && !strcmp(out, text),
               "all bytes come back");
    ids[0] = words_id(w, "<byte 0>");                  /* no text has these two */
    ids[1] = words_end(w);
    const int32_t far[2] = {INT32_MIN, INT32_MAX};     /* the first was undefined, not wrong */
    check_that(words_decode(w, far, 2, out, sizeof out) == 6 && !strcmp(out, "<?><?>"),
               "ids far away: expected \"<?><?>\", got \"%s\"", out);
    check_that(words_decode(w, ids, 2, out, sizeof out) == 6 && !strcmp(out, "<?><?>"),
               "a NUL and <end>: expected \"<?><?>\", got \"%s\"", out);
    words_free(w);
}

static void test_bytes_out_of_order(void) {
    const char *list[257];
    char text[256][16], error[200] = "";
    list[256] = "<end>";
    for (unsigned i = 0; i < 256; i++) {
        snprintf(text[i], sizeof text[i], "<byte %u>", i);
        list[i] = text[i];
    }
    words *w = words_new(list, 257, error, sizeof error);
    check_that(w && words_end(w) == 256, "<end> may stand behind the bytes: %s", error);
    words_free(w);
    list[7] = text[8];
    list[8] = text[7];
    w = words_new(list, 257, error, sizeof error);
    check_that(!w && strstr(error, "<byte 7>"), "two bytes in the wrong order, got \"%s\"", error);
    words_free(w);
}

/* ---- Vocabularies --------------------------------------------------------------------------- */

static void bad_vocabulary(const char *text, const char *named) {
    char error[300] = "";
    check_write(scratch, text, strlen(text));
    words *w = words_load(scratch, error, sizeof error);
    check_that(!w && strstr(error, scratch) && strstr(error, named) && !strchr(error, '\n'),
               "vocabulary %s: expected an error with %s, got \"%s\"", text, named, error);
    words_free(w);
}

/* Every word is the start of the one before: a look-up must not take one for the other. */
static void test_nested_words(void) {
    enum { WORDS = 200 };
    const char *list[WORDS];
    char text[WORDS][WORDS], error[200] = "";
    dual_rng rng = dual_rng_seed(15, 0);
    for (int j = 0; j < WORDS; j++) text[1][j] = (char)('a' + dual_rng_below(&rng, 26));
    list[0] = "<end>";
    for (int i = 1; i < WORDS; i++) {
        memcpy(text[i], text[1], WORDS);
        text[i][WORDS - i] = 0;
        list[i] = text[i];
    }
    words *w = words_new(list, WORDS, error, sizeof error);
    check_that(w != NULL, "nested words: expected to be accepted, got \"%s\"", error);
    for (int i = 1; w && i < WORDS; i++)
        check_that(words_id(w, list[i]) == i, "\"%s\": expected id %d, got %d", list[i], i,
                   (int)words_id(w, list[i]));
    words_free(w);
}

static void test_small_vocabularies(void) {
    static const char *const piece[] = {"<end>", "<5_>", "<_0>"};
    char error[200] = "";
    words *w = words_new(piece, 3, error, sizeof error);
    check_that(w != NULL, "pieces alone: expected to be accepted, got \"%s\"", error);
    if (w) {
        reads_as(w, "50", 2, "50");
        refuses(w, "5", "5");                        /* one digit is a word or nothing */
    }
    words_free(w);
    check_that(!words_new(NULL, 0, error, sizeof error) && strstr(error, "<end>"),
               "no words: expected an error about <end>, got \"%s\"", error);
}

static void test_saved_words(void) {
    words *w = countdown_words();
    char error[300] = "";
    check_that(words_save(w, scratch, error, sizeof error), "vocabulary is saved: %s", error);
    words *back = words_load(scratch, error, sizeof error);
    check_that(back && words_size(back) == words_size(w), "vocabulary is loaded: %s", error);
    for (size_t i = 0; back && i < words_size(w); i++)
        check_that(!strcmp(words_word(w, (int32_t)i), words_word(back, (int32_t)i)),
                   "word %zu: expected %s, got %s", i, words_word(w, (int32_t)i),
                   words_word(back, (int32_t)i));
    words_free(back);
    words_free(w);
}

/* Another task's words, DOS line ends, no last line end, a backslash. */
static void test_loaded_words(void) {
    static const char text[] =
        "Tom\r\nis\r\na\r\nwumpus\r\n.\r\n?\r\nIs\r\nor\r\n<end>\r\n\\\\";
    char error[300] = "";
    check_write(scratch, text, sizeof text - 1);
    words *w = words_load(scratch, error, sizeof error);
    check_that(w && words_size(w) == 10 && words_end(w) == 8 && words_id(w, "\\") == 9,
               "other words are loaded: %s", error);
    if (!w) return;
    reads_as(w, "Tom is a wumpus. Is Tom a wumpus or a wumpus?", 13,
             "Tom is a wumpus. Is Tom a wumpus or a wumpus?");
    refuses(w, "Tom is a wumpuses.", "wumpuses");
    refuses(w, "Tom is 12", "12");
    refuses(w, "Tom\nis", "byte 4");
    words_free(w);
}

static void test_bad_files(void) {
    char error[300] = "";
    bad_vocabulary("", "<end>");
    bad_vocabulary("a\nb\n", "<end>");
    bad_vocabulary("<end>\na\na\n", "twice");
    bad_vocabulary("<end>\n\\n\n\\n\n", "twice");
    bad_vocabulary("<end>\n\na\n", ":2:");
    bad_vocabulary("<end>\na\\t\n", ":2:");
    bad_vocabulary("<end>\na\\", ":2:");
    bad_vocabulary("<end>\ntwo words\n", "two words");
    bad_vocabulary("<end>\na-b\n", "a-b");
    remove(scratch);
    check_that(!words_load(scratch, error, sizeof error) && strstr(error, scratch),
               "a missing file: expected an error that names it, got \"%s\"", error);
}

/* ---- The public files ----------------------------------------------------------------------- */

static void test_real_files(const char *data) {
    static const char *const file[] = {"countdown_uft_train.jsonl", "countdown_uft_test.jsonl"};
    words *w = countdown_words();
    for (size_t i = 0; i < 2; i++) {
        char path[1000], error[300] = "";
        task_set set;
        snprintf(path, sizeof path, "%.800s/countdown/%s", data, file[i]);
        check_that(task_read(TASK_COUNTDOWN, path, 0, &set, error, sizeof error), "%s", error);
        for (size_t j = 0; j < set.count; j++) {
            const task_row row = task_get(&set, j);
            round_trip(w, row.question);
            round_trip(w, row.answer);
            for (size_t k = 0; k < row.n_steps; k++) round_trip(w, task_step(&row, k));
        }
        task_free(&set);
    }
    words_free(w);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_words FOLDER [DATA]\n");
        return 2;
    }
    snprintf(scratch, sizeof scratch, "%.500s/test_words.txt", argv[1]);
    test_list();
    test_reading();
    test_writing();
    test_texts_of_the_task();
    test_any_ids();
    test_bytes();
    test_bytes_out_of_order();
    test_nested_words();
    test_small_vocabularies();
    test_saved_words();
    test_loaded_words();
    test_bad_files();
    if (argc > 2) test_real_files(argv[2]);
    else printf("skipped: real Countdown files, expected the data folder as the second argument\n");
    return check_done();
}
