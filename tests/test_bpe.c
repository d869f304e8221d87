/* test_bpe.c - byte-pair encoding: merges against a search that is too slow to be wrong, whole
 * texts, files good and bad; then words and BPE behind one interface.
 *
 *     test_bpe FOLDER [DATA]     FOLDER: for its own files; DATA: with tok/ and text/
 *
 * The tokenizers tested without DATA are written here: 256 bytes and a few merges. */
#include "check.h"
#include "../data/files/files.h"
#include "../data/tokenizers/tokenizer.h"
#include "../data/tokenizers/unicode.h"

static char folder[400], error[400];
static unicode *tables;

/* ---- Files ---------------------------------------------------------------------------------- */

static const char *const FILES[] = {
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "encoder.json",
    "vocab.bpe", "vocab.txt", "added_tokens.json", "special_tokens_map.json"
};
enum { N_FILES = sizeof FILES / sizeof *FILES };

static void write_file(const char *name, const char *bytes, size_t n) {
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_write(path, bytes, n);
}

static void remove_files(const char *where) {
    char path[600];
    for (int i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", where, FILES[i]);
        remove(path);
    }
}

static void empty_folder(void) { remove_files(folder); }

/* A text that grows by snprintf. */
static char text[200000];
static size_t used;

static void add(const char *format, ...) {
    va_list list;
    va_start(list, format);
    used += (size_t)vsnprintf(text + used, sizeof text - used, format, list);
    va_end(list);
    if (used >= sizeof text) check_fatal("the test's own buffer is too small");
}

/* One byte as the files spell it; json: inside a JSON string. */
static void add_byte(unsigned char byte, int json) {
    static unsigned point[256];
    unsigned next = 0x100;
    if (!point['!'])
        for (unsigned i = 0; i < 256; i++)
            point[i] = (i > 32 && i < 127) || (i > 160 && i != 173) ? i : next++;
    unsigned c = point[byte];
    if (json && (c == '"' || c == '\\'))
        add("\\%c", (char)c);
    else if (c < 0x80)
        add("%c", (char)c);
    else if (json && byte % 3 == 0)
        add("\\u%04x", c);                            /* both ways to write it */
    else
        add("%c%c", (char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F)));
}

static void add_bytes(const char *bytes, int json) {
    for (; *bytes; bytes++) add_byte((unsigned char)*bytes, json);
}

/* ---- The small tokenizer -------------------------------------------------------------------- */

/* Token 256 + i is the two parts of MERGE[i] in one. Token 255 - b is byte b, so that an id can be
 * mistaken for a byte nowhere. */
static const char *const MERGE[][2] = {
    {"q", "q"}, {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "t"}, {"#", "#"},
    {"t", "h"}, {" t", "he"}, {" ", "hello"}, {"a", "a"}, {"aa", "aa"}, {"\n", "\n"}, {" ", " "},
    {"  ", "  "}, {"'", "s"}, {"1", "2"}, {"\xC3", "\xA9"}, {"\xE2", "\x80"}, {"a", "b"},
    {"b", "c"}, {"ab", "c"}, {"c", "d"}, {"ab", "cd"}, {"!", "\n"}, {"e", "d"},
    {"y", "x"}, {"x", "y"}, {"x", "yx"}, {"x", "x"}, {"yx", "x"}, {"y", "y"}, {"xyx", "x"},
    {"yy", "xyx"}, {"yx", "yx"}, {"x", "yy"}, {"xx", "yyxyx"}
};
enum { N_MERGES = sizeof MERGE / sizeof *MERGE, VOCABULARY = 256 + N_MERGES };

static void add_vocabulary(void) {
    add("{");
    for (size_t i = 0; i < N_MERGES; i++) {
        add("\"");
        add_bytes(MERGE[i][0], 1);
        add_bytes(MERGE[i][1], 1);
        add("\": %d, ", 256 + (int)i);
    }
    for (int b = 0; b < 256; b++) {
        add("\"");
        add_byte((unsigned char)b, 1);
        add("\": %d%s", 255 - b, b < 255 ? ", " : "");
    }
}

static void add_merge_lines(const char *first) {
    add("%s", first);
    for (size_t i = 0; i < N_MERGES; i++) {
        add_bytes(MERGE[i][0], 0);
        add(" ");
        add_bytes(MERGE[i][1], 0);
        add("\n");
    }
}

static const char GPT2_STEP[] =
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true}";
static const char QWEN3_STEP[] =
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
    "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", "
    "\"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": false}]}";
static const char ADDED[] =
    "[{\"id\": 300, \"content\": \"<|endoftext|>\", \"special\": true}, "
    "{\"id\": 301, \"content\": \"<|end\", \"lstrip\": false}, "
    "{\"id\": 299, \"content\": \"<|im_end|>\"}]";

/* tokenizer.json; pairs: merges as ["a", "b"]. */
static void make_json(const char *step, const char *normalizer, const char *added, int pairs) {
    used = 0;
    add("{\"added_tokens\": %s,\n\"normalizer\": %s, \"pre_tokenizer\": %s, \"model\": {", added,
        normalizer, step);
    add("\"type\": \"BPE\", \"dropout\": null, \"continuing_subword_prefix\": \"\", \"vocab\": ");
    add_vocabulary();
    add("}, \"merges\": [");
    for (size_t i = 0; i < N_MERGES; i++) {
        add(pairs ? "[\"" : "\"");
        add_bytes(MERGE[i][0], 1);
        add(pairs ? "\", \"" : " ");
        add_bytes(MERGE[i][1], 1);
        add(pairs ? "\"]%s" : "\"%s", i + 1 < N_MERGES ? ", " : "]}}\n");
    }
}

static bpe *open_bpe(void) {
    error[0] = 0;
    bpe *b = bpe_open(folder, error, sizeof error);
    check_that(b != NULL, "a good tokenizer is opened: %s", error);
    if (!b) check_fatal("no tokenizer to go on with");
    return b;
}

static bpe *small_bpe(bpe_family family) {
    empty_folder();
    make_json(family == BPE_GPT2 ? GPT2_STEP : QWEN3_STEP,
              family == BPE_GPT2 ? "null" : "{\"type\": \"NFC\"}", ADDED, family == BPE_QWEN3);
    write_file("tokenizer.json", text, used);
    bpe *b = open_bpe();
    check_that(bpe_family_of(b) == family, "the family comes from the pre_tokenizer");
    return b;
}

/* ---- Merges --------------------------------------------------------------------------------- */

/* The first merge of the list that two neighbours have, and where the left one stands. N_MERGES:
 * none. */
static size_t best_merge(char (*part)[400], size_t n, size_t *where) {
    for (size_t m = 0; m < N_MERGES; m++)
        for (*where = 0; *where + 1 < n; ++*where)
            if (!strcmp(part[*where], MERGE[m][0]) && !strcmp(part[*where + 1], MERGE[m][1]))
                return m;
    return N_MERGES;
}

static int32_t id_of(const char *bytes) {
    int32_t id = 255 - (unsigned char)bytes[0];
    for (size_t m = 0; m < N_MERGES && bytes[1]; m++) {
        const size_t left = strlen(MERGE[m][0]);
        if (!strncmp(bytes, MERGE[m][0], left) && !strcmp(bytes + left, MERGE[m][1]))
            id = 256 + (int32_t)m;
    }
    return id;
}

/* All merges of one piece by looking at every pair each time. */
static size_t slow_merges(const char *piece, size_t n, int32_t *id) {
    static char part[400][400];
    size_t where;
    for (size_t i = 0; i < n; i++) {
        part[i][0] = piece[i];
        part[i][1] = 0;
    }
    while (best_merge(part, n, &where) < N_MERGES) {
        memcpy(part[where] + strlen(part[where]), part[where + 1], strlen(part[where + 1]) + 1);
        for (size_t i = where + 1; i + 1 < n; i++) strcpy(part[i], part[i + 1]);
        n--;
    }
    for (size_t i = 0; i < n; i++) id[i] = id_of(part[i]);
    return n;
}

static void encodes(const bpe *b, const char *s, size_t length, int added, const int32_t *expected,
                    size_t n) {
    int32_t ids[1200];
    const size_t got = bpe_encode(b, s, length, added, ids, 1200, error, sizeof error);
    int same = got == n;
    for (size_t i = 0; same && i < n; i++) same = ids[i] == expected[i];
    check_that(same, "\"%.*s\": expected %d ids from %ld, got %d from %ld", (int)length, s, (int)n,
               n ? (long)expected[0] : -1L, (int)got, got ? (long)ids[0] : -1L);
}

/* Random texts of the letters that merge, against the slow way; their pieces are known right. */
static void test_merges(const bpe *b) {
    static const char *const letters[] = {"a", "b", "c", "d", "h", "e", "l", "o", "t", " ", "\n",
                                          "1", "2", "#", "'s", "!", "\xC3", "\xA9", "\xE2\x80",
                                          "x", "y"};
    dual_rng rng = dual_rng_seed(32, 0);
    for (int i = 0; i < 4000; i++) {
        char s[400] = "";
        int32_t expected[400];
        size_t n = 0, length = dual_rng_below(&rng, 60), few = 2 + dual_rng_below(&rng, 20);
        const char *to;
        for (size_t k = 0; k < length; k++)            /* every other text is of x and y alone */
            strcat(s, letters[i % 2 ? 19 + dual_rng_below(&rng, 2) : dual_rng_below(&rng, few)]);
        for (const char *at = s; *at; at = to) {
            to = unicode_piece(tables, bpe_family_of(b), at, s + strlen(s));
            n += slow_merges(at, (size_t)(to - at), expected + n);
        }
        encodes(b, s, strlen(s), 1, expected, n);
    }
}

static void test_texts(const bpe *b) {
    static const int32_t hello[] = {260, 264};         /* hello, " the" */
    static const int32_t abcd[] = {277, 255 - 'd'};    /* abc + d: ab comes first, then ab + c */
    static const int32_t abc[] = {277}, aaa[] = {266, 255 - 'a'}, aaaaaa[] = {267, 266};
    encodes(b, "", 0, 1, NULL, 0);
    encodes(b, "hello the", 9, 1, hello, 2);
    encodes(b, "abc", 3, 1, abc, 1);
    encodes(b, "abcd", 4, 1, abcd, 2);
    encodes(b, "aaa", 3, 1, aaa, 2);
    encodes(b, "aaaaaa", 6, 1, aaaaaa, 2);
}

static void test_room(const bpe *b) {
    const int32_t known_and_not[2] = {260, 9999};
    int32_t ids[3] = {-7, -7, -7};
    char out[8];
    check_size(bpe_encode(b, "hello the", 9, 1, ids, 1, error, sizeof error), 2, "ids in all");
    check_that(ids[0] == 260 && ids[1] == -7, "no more than max ids are written");
    check_size(bpe_encode(b, "hello the", 9, 1, NULL, 0, error, sizeof error), 2, "ids, counted");
    check_size(bpe_decode(b, known_and_not, 2, out, sizeof out), 8, "decoded length");
    check_that(!strcmp(out, "hello<?"), "decoding is cut and ended: %s", out);
    check_size(bpe_decode(b, known_and_not, 2, NULL, 0), 8, "decoded length, counted");
}

static void test_names(const bpe *b) {
    size_t length = 77;
    check_size(bpe_size(b), 302, "size");
    check_that(bpe_id(b, "hello") == 260 && bpe_id(b, "<|im_end|>") == 299 &&
               bpe_id(b, "nothing") == -1 && bpe_id(b, "") == -1, "ids by name");
    check_that(bpe_end(b) == 300, "the end token");
    check_that(!strcmp(bpe_token(b, 299, &length), "<|im_end|>") && length == 10, "token 299");
    check_that(!bpe_token(b, 298, NULL) && !bpe_token(b, -1, NULL) && !bpe_token(b, 302, NULL) &&
               !bpe_token(b, INT32_MAX, NULL), "ids that are none");
    check_that(bpe_token(b, 255, &length) && length == 1 && !*bpe_token(b, 255, NULL), "a NUL");
}

/* Any bytes, with added tokens and marks among them; returns how many. */
static size_t random_text(dual_rng *rng, char *s) {
    const size_t parts = dual_rng_below(rng, 60);
    size_t n = 0;
    for (size_t k = 0; k < parts; k++) {
        const size_t kind = dual_rng_below(rng, 8);
        if (kind == 0) {
            n += (size_t)snprintf(s + n, 14, "<|im_end|>");
        } else if (kind < 6) {
            s[n++] = (char)dual_rng_below(rng, kind < 4 ? 256 : 128);
        } else {
            s[n++] = '\xCC';                           /* one of U+0300 to U+0337 */
            s[n++] = (char)(0x80 + dual_rng_below(rng, 0x38));
        }
    }
    return n;
}

/* They come back as they are or, with Qwen-3, in NFC: none of these marks joins < or >. */
static void test_any_bytes(const bpe *b) {
    dual_rng rng = dual_rng_seed(33, (uint64_t)bpe_family_of(b));
    for (int i = 0; i < 600; i++) {
        char s[700], back[2200], *normal;
        int32_t ids[2100];
        size_t n = random_text(&rng, s), normal_length;
        const size_t k = bpe_encode(b, s, n, i % 2, ids, 2100, error, sizeof error);
        const size_t bytes = bpe_decode(b, ids, k, back, sizeof back);
        normal = unicode_nfc(tables, s, n, &normal_length);
        if (!normal) check_fatal("out of memory");
        if (bpe_family_of(b) == BPE_QWEN3) n = normal_length;
        check_that(k <= 2100 && bytes == n &&
                   !memcmp(back, bpe_family_of(b) == BPE_QWEN3 ? normal : s, n),
                   "text %d comes back", i);
        free(normal);
    }
}

static void test_added(void) {
    /* the longest of two that start alike; NFC apart on both sides; merges stop there */
    static const int32_t both[] = {300, 301, 255 - '|'}, apart[] = {255 - 'h', 299, 255 - 'e'};
    static const int32_t marks[] = {273, 299, 255 - 0xCC, 255 - 0x81};
    static const int32_t spaces[] = {255 - ' ', 299, 269};
    bpe *b = small_bpe(BPE_QWEN3);
    int32_t ids[40];
    encodes(b, "<|endoftext|><|end|", 19, 1, both, 3);
    encodes(b, "h<|im_end|>e", 12, 1, apart, 3);
    encodes(b, "e\xCC\x81<|im_end|>\xCC\x81", 15, 1, marks, 4);
    encodes(b, " <|im_end|>  ", 13, 1, spaces, 3);
    const size_t n = bpe_encode(b, "h<|im_end|>e<|endoftext|>", 25, 0, ids, 40, error,
                                sizeof error);
    for (size_t i = 0; i < n && i < 40; i++)
        check_that(ids[i] < VOCABULARY, "as plain text no added token comes out");
    check_that(n > 20 && n <= 25, "as plain text it is spelled");
    bpe_free(b);
}

/* A small tokenizer with these added tokens. */
static bpe *bpe_with(bpe_family family, const char *added) {
    empty_folder();
    make_json(family == BPE_GPT2 ? GPT2_STEP : QWEN3_STEP,
              family == BPE_GPT2 ? "null" : "{\"type\": \"NFC\"}", added, 0);
    write_file("tokenizer.json", text, used);
    return open_bpe();
}

/* Tokens with normalized are looked for in what NFC makes of the text between the others, as NFC
 * makes them; the others in the text as it came, and first. */
static void test_normalized(void) {
    static const char added[] =
        "[{\"id\": 300, \"content\": \"<|endoftext|>\", \"normalized\": false, \"special\": true},"
        "{\"id\": 301, \"content\": \"caf\\u00e9\", \"normalized\": true},"
        "{\"id\": 302, \"content\": \"e\\u0301!\", \"normalized\": true},"
        "{\"id\": 303, \"content\": \"e\\u0301?\", \"normalized\": false},"
        "{\"id\": 195, \"content\": \"<\", \"normalized\": true},"
        "{\"id\": 305, \"content\": \"yz\", \"normalized\": false},"
        "{\"id\": 306, \"content\": \"xyzx\", \"normalized\": true},"
        "{\"id\": 307, \"content\": \"xyzxx\", \"normalized\": true},"
        "{\"id\": 308, \"content\": \"uv\", \"normalized\": true},"
        "{\"id\": 309, \"content\": \"uvw\", \"normalized\": true}]";
    static const struct { const char *text; int32_t nfc[8], none[8]; } cases[] = {
        {"caf\xC3\xA9", {301}, {301}},
        {"cafe\xCC\x81", {301}, {255 - 'c', 255 - 'a', 255 - 'f', 255 - 'e', 51, 126}},
        {"\xC3\xA9!", {302}, {273, 255 - '!'}},
        {"e\xCC\x81!", {302}, {302}},
        {"e\xCC\x81?", {303}, {303}},
        {"\xC3\xA9?", {273, 255 - '?'}, {273, 255 - '?'}},
        {"<\xCC\xB8", {255 - 0xE2, 255 - 0x89, 255 - 0xAE}, {195, 51, 255 - 0xB8}},
        {"< <", {195, 255 - ' ', 195}, {195, 255 - ' ', 195}},
        {"xyzx", {255 - 'x', 305, 255 - 'x'}, {255 - 'x', 305, 255 - 'x'}},
        {"uvw", {309}, {309}},
        {"cafe\xCC\x81\xCC\x81", {301, 51, 126},
         {255 - 'c', 255 - 'a', 255 - 'f', 255 - 'e', 51, 126, 51, 126}},
        {"e<|endoftext|>\xCC\x81!", {255 - 'e', 300, 51, 126, 255 - '!'},
         {255 - 'e', 300, 51, 126, 255 - '!'}},
    };
    static const int32_t plain[] = {255 - 'c', 255 - 'a', 255 - 'f', 273};
    size_t length;
    for (int family = BPE_GPT2; family <= BPE_QWEN3; family++) {
        bpe *b = bpe_with((bpe_family)family, added);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const int32_t *ids = family == BPE_QWEN3 ? cases[i].nfc : cases[i].none;
            size_t n = 0;
            while (n < 8 && ids[n]) n++;
            encodes(b, cases[i].text, strlen(cases[i].text), 1, ids, n);
        }
        encodes(b, "caf\xC3\xA9", 5, 0, plain, 4);
        check_that(!strcmp(bpe_token(b, 302, &length), "e\xCC\x81!") && length == 4,
                   "a token's own text is what the file says");
        bpe_free(b);
    }
}

/* ---- Long texts ----------------------------------------------------------------------------- */

/* No time limit, but none of these would end in a day if steps grew with the square. */
static void test_long(const bpe *b) {
    static const char *const unit[] = {"a", "abcd", "\xCC\x81\xCC\xA3", " ", "<|", "\n ", "'", "#"};
    enum { LONG = 1200000 };
    char *s = malloc(LONG + 8), *back = malloc(LONG + 8);
    int32_t *ids = malloc((LONG + 8) * sizeof *ids);
    if (!s || !back || !ids) check_fatal("out of memory");
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        size_t n = 0;
        for (; n < LONG; n += strlen(unit[i])) memcpy(s + n, unit[i], strlen(unit[i]));
        const size_t k = bpe_encode(b, s, n, 1, ids, LONG + 8, error, sizeof error);
        check_that(k <= n && bpe_decode(b, ids, k, back, LONG + 8) == n,
                   "%d bytes of %s: got %d ids", (int)n, unit[i], (int)k);
    }
    free(s);
    free(back);
    free(ids);
}

/* ---- Files, good ---------------------------------------------------------------------------- */

static size_t encode_all(const bpe *b, int32_t *ids, size_t max) {
    static const char sample[] = "hello the IT'S it's 12  \n\n e\xCC\x81 ## # # aaaa<|im_end|>!\n";
    return bpe_encode(b, sample, sizeof sample - 1, 0, ids, max, error, sizeof error);
}

static void same_as(const bpe *b, const bpe *other, const char *what) {
    int32_t one[100], two[100];
    size_t n = encode_all(b, one, 100);
    int same = n == encode_all(other, two, 100) && n < 100;
    for (size_t i = 0; same && i < n; i++) same = one[i] == two[i];
    check_that(same, "%s: the same ids as tokenizer.json gives", what);
}

/* The pair, with a last entry in the vocabulary and a config, each or NULL. */
static void make_pair(const char *vocabulary, const char *merges, const char *last,
                      const char *config) {
    empty_folder();
    used = 0;
    add_vocabulary();
    add("%s}", last ? last : "");
    write_file(vocabulary, text, used);
    used = 0;
    add_merge_lines("#version: 0.2\n");
    write_file(merges, text, used);
    if (config) write_file("tokenizer_config.json", config, strlen(config));
}

static const char CONFIG[] =
    "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"added_tokens_decoder\": {\"300\": {\"content\": "
    "\"<|endoftext|>\"}, \"299\": {\"content\": \"<|im_end|>\", \"normalized\": false}}}";

static void test_forms(void) {
    bpe *gpt2 = small_bpe(BPE_GPT2), *qwen3 = small_bpe(BPE_QWEN3);
    make_pair("encoder.json", "vocab.bpe", ", \"<|endoftext|>\": 300", NULL);
    bpe *b = open_bpe();
    same_as(b, gpt2, "encoder.json and vocab.bpe");
    check_that(bpe_family_of(b) == BPE_GPT2 && bpe_end(b) == 300 && bpe_size(b) == 301,
               "a vocabulary with <|endoftext|> is GPT-2's");
    check_size(bpe_encode(b, "<|endoftext|>", 13, 1, NULL, 0, error, sizeof error), 1,
               "<|endoftext|> is recognised");
    bpe_free(b);

    make_pair("vocab.json", "merges.txt", ", \"<|endoftext|>\": 300",
              "{\"tokenizer_class\": \"GPT2TokenizerFast\"}");
    b = open_bpe();
    same_as(b, gpt2, "vocab.json and merges.txt of GPT-2");
    bpe_free(b);

    make_pair("vocab.json", "merges.txt", NULL, CONFIG);
    b = open_bpe();
    same_as(b, qwen3, "the pair with tokenizer_config.json");
    check_that(bpe_id(b, "<|im_end|>") == 299 && bpe_id(b, "<think>") == -1 && bpe_end(b) == 300,
               "added tokens are those of the config");
    bpe_free(b);

    make_pair("vocab.json", "merges.txt", NULL, NULL);
    b = open_bpe();
    same_as(b, qwen3, "the pair alone");
    check_that(bpe_end(b) == VOCABULARY && bpe_id(b, "<|im_end|>") == VOCABULARY + 2 &&
               bpe_id(b, "</think>") == VOCABULARY + 25 && bpe_size(b) == VOCABULARY + 26,
               "Qwen-3's own added tokens follow the vocabulary");
    bpe_free(b);

    empty_folder();                                   /* CR LF, no comment, no last line end */
    used = 0;
    add_vocabulary();
    add("}");
    write_file("vocab.json", text, used);
    used = 0;
    add("h e\r\nl l\r\n\r\nhe ll\r\n# #\r\nhell o");
    write_file("merges.txt", text, used);
    b = open_bpe();
    check_size(bpe_encode(b, "hello##", 7, 0, NULL, 0, error, sizeof error), 2, "merges, CR LF");
    bpe_free(b);
    bpe_free(gpt2);
    bpe_free(qwen3);
}

/* A config's object without `normalized` is normalised unless it is special, as AddedToken is. */
static void test_normalized_in_config(void) {
    static const char *const flags[] = {"", ", \"special\": false", ", \"normalized\": true",
                                        ", \"special\": true", ", \"normalized\": false"};
    static const int32_t found[] = {301}, not_found[] = {273, 255 - '?'};
    char config[400];
    for (int i = 0; i < 5; i++) {
        snprintf(config, sizeof config, "{\"tokenizer_class\": \"Qwen2Tokenizer\", "
                 "\"add_prefix_space\": false, \"added_tokens_decoder\": {\"300\": {\"content\": "
                 "\"<|endoftext|>\"}, \"301\": {\"content\": \"e\\u0301?\"%s}}}", flags[i]);
        make_pair("vocab.json", "merges.txt", NULL, config);
        bpe *b = open_bpe();
        if (i < 3) encodes(b, "\xC3\xA9?", 3, 1, found, 1);
        else encodes(b, "\xC3\xA9?", 3, 1, not_found, 2);
        bpe_free(b);
    }
}

static void write_text(const char *name, const char *s) { write_file(name, s, strlen(s)); }

/* added_tokens.json beside a vocabulary, as folders had it before tokenizer_config.json did. */
static void test_added_file(void) {
    static const int32_t pad[] = {260, 301, 300}, found[] = {301}, not_found[] = {273, 255 - '?'};
    static const char end[] = ", \"<|endoftext|>\": 300";
    make_pair("vocab.json", "merges.txt", end, NULL);
    write_text("added_tokens.json", "{\"[PAD]\": 301}");
    bpe *b = open_bpe();
    encodes(b, "hello[PAD]<|endoftext|>", 23, 1, pad, 3);
    check_that(bpe_family_of(b) == BPE_GPT2 && bpe_size(b) == 302 && bpe_end(b) == 300, "GPT-2's");
    bpe_free(b);

    make_pair("vocab.json", "merges.txt", NULL, NULL);
    write_text("added_tokens.json", "{\"<|im_end|>\": 299, \"<|endoftext|>\": 300}");
    b = open_bpe();
    check_that(bpe_family_of(b) == BPE_QWEN3 && bpe_size(b) == 301 && bpe_end(b) == 300 &&
               bpe_id(b, "<|im_end|>") == 299 && bpe_id(b, "<think>") == -1,
               "Qwen's, with the tokens of the file alone");
    bpe_free(b);

    /* not special, so normalised; special by either file */
    for (int i = 0; i < 4; i++) {
        make_pair("vocab.json", "merges.txt", NULL,
                  i == 1 ? "{\"pad_token\": \"e\\u0301?\"}" : NULL);
        write_text("added_tokens.json", "{\"<|endoftext|>\": 300, \"e\\u0301?\": 301}");
        if (i == 2) write_text("special_tokens_map.json", "{\"additional_special_tokens\": [\"a\", "
                               "{\"content\": \"e\\u0301?\"}]}");
        if (i == 3) write_text("special_tokens_map.json", "{\"sep_token\": {\"content\": \"a\"}}");
        b = open_bpe();
        if (i % 3 == 0) encodes(b, "\xC3\xA9?", 3, 1, found, 1);
        else encodes(b, "\xC3\xA9?", 3, 1, not_found, 2);
        bpe_free(b);
    }

    make_pair("vocab.json", "merges.txt", NULL, CONFIG);         /* whose own list counts alone */
    write_text("added_tokens.json", "{\"[PAD]\": 301}");
    b = open_bpe();
    check_that(bpe_id(b, "[PAD]") == -1 && bpe_id(b, "<|im_end|>") == 299, "the config's list");
    bpe_free(b);
}

/* What stands beside tokenizer.json: tokens that it has not got follow its own. */
static void test_beside_json(void) {
    static const char *const files[] = {"tokenizer_config.json", "added_tokens.json"};
    static const int32_t pad[] = {260, 302};
    for (int i = 0; i < 2; i++) {
        make_json(GPT2_STEP, "null", ADDED, 0);
        empty_folder();
        write_file("tokenizer.json", text, used);
        write_text(files[i], i ? "{\"<|im_end|>\": 299, \"[PAD]\": 302}"
                   : "{\"add_prefix_space\": false, \"added_tokens_decoder\": {\"299\": "
                     "{\"content\": \"<|im_end|>\"}, \"302\": {\"content\": \"[PAD]\"}}}");
        bpe *b = open_bpe();
        encodes(b, "hello[PAD]", 10, 1, pad, 2);
        check_size(bpe_size(b), 303, "one more token");
        bpe_free(b);
    }
    empty_folder();
}

/* ---- Files, bad ----------------------------------------------------------------------------- */

static void refuses(const char *named) {
    error[0] = 0;
    bpe *b = bpe_open(folder, error, sizeof error);
    check_that(!b && strstr(error, named) && strstr(error, folder) && !strchr(error, '\n'),
               "expected a refusal with \"%s\", got %s\"%s\"", named, b ? "a tokenizer, " : "",
               error);
    bpe_free(b);
}

/* tokenizer.json with `from` replaced by `to`, once, must be refused. */
static void bad_json(const char *from, const char *to, const char *named) {
    make_json(GPT2_STEP, "null", ADDED, 0);
    char *at = strstr(text, from);
    if (!at) check_fatal("the test's replacement finds nothing");
    memmove(at + strlen(to), at + strlen(from), used - (size_t)(at - text) - strlen(from) + 1);
    memcpy(at, to, strlen(to));
    used = used + strlen(to) - strlen(from);
    write_file("tokenizer.json", text, used);
    refuses(named);
}

static void bad_merges(const char *merges, const char *named) {
    make_pair("vocab.json", "merges.txt", NULL, NULL);
    write_file("merges.txt", merges, strlen(merges));
    refuses(named);
}

static void bad_config(const char *config, const char *named) {
    make_pair("vocab.json", "merges.txt", NULL, config);
    refuses(named);
}

static void test_bad_folders(void) {
    empty_folder();
    refuses("no tokenizer there");
    write_file("vocab.json", "{}", 2);
    refuses("no tokenizer there");                    /* merges.txt is missing */
    write_file("merges.txt", "", 0);
    refuses("no token for byte 0");
    write_file("vocab.json", "{\"a\": 1", 7);
    refuses("vocab.json");
    write_file("vocab.json", "a\0", 2);
    refuses("NUL");
    empty_folder();
}

static void test_bad_settings(void) {
    bad_json("{\"type\": \"ByteLevel\"", "{\"type\": \"Whitespace\"", "pre_tokenizer");
    bad_json("\"add_prefix_space\": false", "\"add_prefix_space\": true", "has add_prefix_space");
    bad_json("\"trim_offsets\": true", "\"use_regex\": false", "pre_tokenizer");
    bad_json("\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}", "normalizer");
    bad_json("\"type\": \"BPE\"", "\"type\": \"Unigram\"", "not BPE");
    bad_json("\"dropout\": null", "\"dropout\": 0.1", "dropout");
    bad_json("_prefix\": \"\"", "_prefix\": \"##\"", "continuing_subword_prefix");
    bad_json("\"dropout\": null", "\"ignore_merges\": true", "ignore_merges");
    bad_json("\"vocab\": {", "\"vocab\": [], \"other\": {", "no vocabulary");
    bad_json("\"merges\": [", "\"merges\": {}, \"other\": [", "no merges");
}

static void test_bad_vocabularies(void) {
    bad_json("\"hello\": 260", "\"hello\": 260, \"hellp\": 260", "id 260 is there twice");
    bad_json("\"hello\": 260", "\"hello\": 260, \"hello\": 298", "\"hello\" is there twice");
    bad_json("\"hello\": 260", "\"hello\": 260, \"he llo\": 298", "is no token");
    bad_json("\"hello\": 260", "\"hello\": 260, \"\": 298", "is no token");
    bad_json("\"hello\": 260", "\"hello\": 260, \"\\u4e2d\": 298", "is no token");
    bad_json("\"hello\": 260", "\"hello\": -1", "whole number");
    bad_json("\"hello\": 260", "\"hello\": 260.5", "whole number");
    bad_json("\"hello\": 260", "\"hello\": 1000000", "whole number");
    bad_json("\"hello\": 260", "\"hello\": 1e300", "whole number");
    bad_json("\"hello\": 260", "\"hello\": \"260\"", "whole number");
    bad_json("\"~\": 129", "\"hx\": 129", "no token for byte 126");
}

static void test_bad_merges(void) {
    bad_json("\"hello\": 260", "\"hellp\": 260", "merge 5: \"hell o\", but its result");
    bad_json("\"he\": 257", "\"hx\": 257", "merge 2: \"h e\", but its result");
    bad_json("\"he ll\"", "\"he lx\"", "merge 4: \"he lx\", but its right part");
    bad_json("\"he ll\"", "\"xe ll\"", "left part");
    bad_json("\"he ll\"", "\"hell\"", "expected two tokens");
    bad_json("\"he ll\"", "\" hell\"", "expected two tokens");
    bad_json("\"he ll\"", "\"he l l\"", "expected two tokens");
    bad_json("\"he ll\"", "\"h e\"", "is there twice");
    bad_json("\"he ll\"", "17", "expected two tokens");
    bad_json("\"he ll\"", "[\"he\"]", "expected \"left right\"");
    bad_json("\"he ll\"", "[\"he\", \"l\", \"l\"]", "expected \"left right\"");
    bad_json("\"he ll\"", "[\"he\", 5]", "expected \"left right\"");
    bad_json("\"he ll\"", "[]", "expected two tokens");
}

static void test_bad_added_tokens(void) {
    bad_json("\"lstrip\": false", "\"lstrip\": true", "lstrip");
    bad_json("\"special\": true", "\"single_word\": true", "single_word");
    bad_json("\"content\": \"<|end\"", "\"content\": \"\"", "empty");
    bad_json("\"content\": \"<|end\"", "\"content\": 5", "empty");
    bad_json("\"content\": \"<|end\"", "\"content\": \"<|im_end|>\"", "is there twice");
    bad_json("\"content\": \"<|end\"", "\"content\": \"hello\"", "but 260 in the vocabulary");
    bad_json("\"id\": 301", "\"id\": 260", "id 260 is there twice");
    bad_json("\"id\": 301", "\"id\": null", "whole number");
    bad_json("<|endoftext|>", "<|endoftexd|>", "no token <|endoftext|>");
}

static void test_broken_json(void) {
    char deep[3000];
    bad_json("{", "[", "broken off");
    memset(deep, '[', sizeof deep);                    /* nested without end, and a closed nest */
    write_file("tokenizer.json", deep, sizeof deep);
    refuses("broken off");
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    write_file("tokenizer.json", deep, sizeof deep);
    refuses("broken off");
}

static void test_bad_pairs(void) {
    bad_merges("#version: 0.2\nh e\nl  l\n", "merge 3: \"l  l\"");
    bad_merges("#version: 0.2\nhe\n", "merge 2");
    bad_merges("#version: 0.2\n#version: 0.2\n", "merge 2");
    bad_merges("# a comment\n", "merge 1");
    bad_merges("h x\n", "merge 1: \"h x\", but its result");
    bad_config("{\"tokenizer_class\": \"LlamaTokenizer\"}", "tokenizer_class");
    bad_config("{\"tokenizer_class\": \"GPT2Tokenizer\"}", "tokenizer_config.json");
    bad_config("[]", "tokenizer_config.json");
    bad_config("{\"added_tokens_decoder\": {\"3x\": {\"content\": \"zz\"}}}", "whole number");
    bad_config("{\"added_tokens_decoder\": {\"260\": {\"content\": \"zz\"}}}", "there twice");
}

static void bad_beside(const char *name, const char *content, const char *named) {
    for (int pair = 0; pair < 2; pair++) {
        if (pair) make_pair("vocab.json", "merges.txt", ", \"<|endoftext|>\": 300", NULL);
        else bpe_free(small_bpe(BPE_QWEN3));
        write_text(name, content);
        refuses(named);
        refuses(name);
    }
}

static void test_bad_beside(void) {
    bad_beside("tokenizer_config.json", "{\"add_prefix_space\": true}", "add_prefix_space");
    bad_beside("tokenizer_config.json", "{\"split_special_tokens\": true}", "split_special_tokens");
    bad_beside("tokenizer_config.json", "{\"a\": ", "broken off");
    bad_beside("tokenizer_config.json", "{\"added_tokens_decoder\": {\"301\": {\"rstrip\": true, "
               "\"content\": \"zz\"}}}", "rstrip");
    bad_beside("added_tokens.json", "[\"[PAD]\"]", "JSON object");
    bad_beside("added_tokens.json", "{\"[PAD]\": \"301\"}", "id");
    bad_beside("added_tokens.json", "{\"hello\": 301}", "but 260 in the vocabulary");
    bad_beside("added_tokens.json", "{\"[PAD]\": 260}", "id");
    bad_beside("added_tokens.json", "{\"\": 302}", "empty");
    empty_folder();
    make_json(GPT2_STEP, "null", ADDED, 0);
    write_file("tokenizer.json", text, used);
    write_text("added_tokens.json", "{\"[PAD]\": 310}");
    refuses("\"[PAD]\" has id 310, tokenizer.json leaves 302 for it");
    empty_folder();
}

/* Cut anywhere or with any bytes changed: one line of refusal, or a tokenizer that works. */
static void test_damaged_json(void) {
    dual_rng rng = dual_rng_seed(34, 0);
    empty_folder();
    make_json(QWEN3_STEP, "{\"type\": \"NFC\"}", ADDED, 1);
    const size_t whole = used;
    for (size_t i = 0; i + 2 < whole; i += 1 + whole / 300) {
        write_file("tokenizer.json", text, i);
        refuses("tokenizer.json");
    }
    for (size_t i = 0; i < 600; i++) {
        const size_t changes = 1 + dual_rng_below(&rng, 3);
        make_json(QWEN3_STEP, "{\"type\": \"NFC\"}", ADDED, 1);
        for (size_t k = 0; k < changes; k++)
            text[dual_rng_below(&rng, whole)] = (char)dual_rng_below(&rng, 256);
        write_file("tokenizer.json", text, whole);
        error[0] = 0;
        bpe *b = bpe_open(folder, error, sizeof error);
        if (b) check_that(encode_all(b, NULL, 0) < 1000, "a changed file that is accepted works");
        else check_that(error[0] && !strchr(error, '\n'), "a refusal has one line: \"%s\"", error);
        bpe_free(b);
    }
}

/* ---- Words and BPE behind one interface ----------------------------------------------------- */

static tokenizer *open_tokenizer(const char *where) {
    error[0] = 0;
    tokenizer *t = tokenizer_open(where, error, sizeof error);
    check_that(t != NULL, "%s is opened: %s", where, error);
    if (!t) check_fatal("no tokenizer to go on with");
    return t;
}

typedef struct {
    const char *kind;
    size_t size, end_length, n;
    int32_t end, line_break;
    bpe_family family;                     /* of a BPE */
} face;

static const face FACES[] = {
    {"gpt2", 302, 13, 6, 300, 255 - '\n', BPE_GPT2},
    {"qwen3", 302, 13, 7, 300, 255 - '\n', BPE_QWEN3},
    {"words", 132, 5, 6, 0, 1, BPE_GPT2}
};
enum { N_FACES = sizeof FACES / sizeof *FACES };

static int is_words(const face *f) { return !strcmp(f->kind, "words"); }

/* Writes such a tokenizer into the test's folder, and opens it. */
static tokenizer *make_tokenizer(const face *f) {
    empty_folder();
    if (is_words(f)) {
        words *w = words_new_countdown();
        tokenizer *t = w ? tokenizer_of_words(w, error, sizeof error) : NULL;
        check_that(t && tokenizer_save(t, folder, error, sizeof error), "words are saved");
        tokenizer_free(t);
    } else {
        bpe_free(small_bpe(f->family));
    }
    return open_tokenizer(folder);
}

static void test_tokens(const face *f) {
    tokenizer *t = make_tokenizer(f);
    size_t length;
    check_that(!strcmp(tokenizer_kind(t), f->kind), "kind %s", f->kind);
    check_size(tokenizer_size(t), f->size, "size of %s", f->kind);
    check_that(tokenizer_end(t) == f->end, "end of %s", f->kind);
    check_that(tokenizer_id(t, "\n") == f->line_break, "line break of %s", f->kind);
    check_that(tokenizer_id(t, "none of them") == -1, "a name that is none");
    check_that(tokenizer_token(t, tokenizer_end(t), &length) && length == f->end_length,
               "the end token's text");
    check_that(!tokenizer_token(t, 5000, NULL), "an id that is none");
    tokenizer_free(t);
}

static void test_encoding(const face *f) {
    tokenizer *t = make_tokenizer(f);
    int32_t ids[20];
    char out[100];
    const size_t n = tokenizer_encode(t, "12+3\n(4)", 7, 0, ids, 20, error, sizeof error);
    check_size(n, f->n, "ids by %s; the text ends where it is told to", f->kind);
    check_that(tokenizer_decode(t, ids, n, out, sizeof out) == 7 && !strcmp(out, "12+3\n(4"),
               "decoded by %s: %s", f->kind, out);
    if (is_words(f)) {
        check_that(tokenizer_encode(t, "unknown", 7, 0, ids, 20, error, sizeof error) == SIZE_MAX &&
                   strstr(error, "unknown"), "an unknown word: %s", error);
        check_that(tokenizer_encode(t, "1\0", 2, 0, ids, 20, error, sizeof error) == SIZE_MAX &&
                   strstr(error, "NUL"), "a NUL in words: %s", error);
    }
    tokenizer_free(t);
}

/* Saved beside itself and onto itself, it still encodes alike. */
static void test_copies(const face *f) {
    tokenizer *t = make_tokenizer(f);
    char other[500], nowhere[500];
    int32_t ids[20], again[20];
    snprintf(other, sizeof other, "%s/copy", folder);
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", folder);
    dual_make_folder(other);
    const size_t n = tokenizer_encode(t, "12+3\n(4", 7, 0, ids, 20, error, sizeof error);
    check_that(tokenizer_save(t, other, error, sizeof error) &&
               tokenizer_save(t, folder, error, sizeof error), "saved twice: %s", error);
    tokenizer_free(t);
    for (int i = 0; i < 2; i++) {
        t = open_tokenizer(i ? folder : other);
        check_that(!strcmp(tokenizer_kind(t), f->kind), "the copy is %s", f->kind);
        check_that(tokenizer_encode(t, "12+3\n(4", 7, 0, again, 20, error, sizeof error) == n,
                   "the copy encodes alike");
        for (size_t k = 0; k < n; k++) check_that(ids[k] == again[k], "the copy encodes alike");
        error[0] = 0;
        check_that(!tokenizer_save(t, nowhere, error, sizeof error) && strstr(error, "nowhere"),
                   "a folder that is not there: %s", error);
        tokenizer_free(t);
    }
    remove_files(other);
    remove(other);
    empty_folder();
}

static void test_no_tokenizer(void) {
    char long_path[3000];
    empty_folder();
    error[0] = 0;
    check_that(!tokenizer_open(folder, error, sizeof error) && strstr(error, "vocab.txt"),
               "an empty folder: %s", error);
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    check_that(!tokenizer_open(long_path, error, sizeof error), "a path too long");
}

/* The pair's own files reach the copy too. */
static void test_copied_pair(void) {
    char other[500];
    snprintf(other, sizeof other, "%s/copy", folder);
    dual_make_folder(other);
    make_pair("encoder.json", "vocab.bpe", NULL, CONFIG);
    tokenizer *t = open_tokenizer(folder);
    check_that(tokenizer_save(t, other, error, sizeof error), "a pair is saved: %s", error);
    tokenizer_free(t);
    t = open_tokenizer(other);
    check_that(tokenizer_end(t) == 300 && tokenizer_id(t, "<|im_end|>") == 299,
               "tokenizer_config.json went along");
    tokenizer_free(t);
    remove_files(other);
    remove(other);
    empty_folder();
}

/* Files that were edited or are gone since it was opened: what is saved is what was read. */
static void test_kept_bytes(void) {
    static const char *const file[] = {"tokenizer.json", "tokenizer_config.json", "vocab.json",
                                       "merges.txt", "added_tokens.json",
                                       "special_tokens_map.json"};
    char other[500], path[600];
    size_t length, kept;
    snprintf(other, sizeof other, "%s/copy", folder);
    dual_make_folder(other);
    for (int i = 0; i < 6; i++) {
        if (i == 0) bpe_free(small_bpe(BPE_QWEN3));
        else make_pair("vocab.json", "merges.txt", NULL, i < 4 ? CONFIG : NULL);
        if (i >= 4) write_text("added_tokens.json", "{\"<|endoftext|>\": 300}");
        if (i >= 4) write_text("special_tokens_map.json", "{\"eos_token\": \"<|endoftext|>\"}");
        if (i == 1) remove_files(other);
        tokenizer *t = open_tokenizer(folder);
        snprintf(path, sizeof path, "%s/%s", folder, file[i]);
        char *before = data_read(path, &length, error, sizeof error);
        if (!before) check_fatal(error);
        write_file(file[i], "{}", 2);
        error[0] = 0;
        check_that(tokenizer_save(t, other, error, sizeof error), "edited %s: %s", file[i], error);
        empty_folder();
        check_that(tokenizer_save(t, other, error, sizeof error), "without %s: %s", file[i], error);
        check_that(tokenizer_save(t, folder, error, sizeof error), "put back: %s", error);
        for (int k = 0; k < 2; k++) {
            snprintf(path, sizeof path, "%s/%s", k ? folder : other, file[i]);
            char *after = data_read(path, &kept, error, sizeof error);
            check_that(after && kept == length && !memcmp(before, after, length),
                       "%s: its bytes are those that were read", path);
            free(after);
        }
        free(before);
        tokenizer_free(t);
    }
    remove_files(other);
    remove(other);
    empty_folder();
}

/* ---- The real ones -------------------------------------------------------------------------- */

static char *read_data(const char *data, const char *name, size_t *length) {
    char path[700];
    snprintf(path, sizeof path, "%s/%s", data, name);
    char *s = data_read(path, length, error, sizeof error);
    check_that(s != NULL, "%s", error);
    return s;
}

/* Copies data/tok/FROM into the test's folder as TO. */
static void fetch(const char *data, const char *from, const char *to) {
    char name[100];
    size_t n;
    snprintf(name, sizeof name, "tok/%s", from);
    char *s = read_data(data, name, &n);
    if (s) write_file(to, s, n);
    free(s);
}

/* One case: text to ids, ids to text. line: its JSON, of k bytes. */
static void case_passes(const bpe *b, const char *line, size_t k, const char *name) {
    const dual_json row = dual_json_text(line, k), expected = dual_json_get(row, "ids");
    dual_json none, id = {NULL, NULL};
    char *hex = malloc(k + 1), *s = malloc(k + 1), *back = malloc(3 * k + 1);
    int32_t *ids = malloc((k + 1) * sizeof *ids);
    if (!hex || !s || !back || !ids) check_fatal("out of memory");
    size_t bytes = dual_json_string(dual_json_get(row, "utf8_hex"), hex, k + 1) / 2, n = 0;
    for (size_t i = 0; i < bytes; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        s[i] = (char)strtol(two, NULL, 16);
    }
    dual_json_string(dual_json_get(row, "special"), hex, k + 1);
    const int added = strcmp(hex, "as_text") != 0;
    const size_t total = bpe_encode(b, s, bytes, added, ids, k, error, sizeof error);
    int same = 1;
    for (; dual_json_each(expected, &none, &id); n++)
        same = same && n < total && (double)ids[n] == dual_json_number(id, -1);
    check_that(same && n == total, "%s: ids, %.*s", name, k < 200 ? (int)k : 200, line);
    if (dual_json_get(row, "decoded").begin)
        bytes = dual_json_string(dual_json_get(row, "decoded"), s, k + 1);
    const size_t decoded = bpe_decode(b, ids, total, back, 3 * k + 1);
    check_that(decoded == bytes && !memcmp(back, s, bytes), "%s: decoded", name);
    free(hex);
    free(s);
    free(back);
    free(ids);
}

/* Every case of a JSONL file with the tokenizer in the test's folder. */
static void cases_pass(const char *cases, size_t length, size_t rows, const char *form) {
    bpe *b = open_bpe();
    const char *end = cases + length, *line_end;
    size_t n = 0;
    for (const char *at = cases; at < end; at = line_end + 1) {
        char name[100];
        line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end) line_end = end;
        snprintf(name, sizeof name, "%s, case %zu", form, ++n);
        case_passes(b, at, (size_t)(line_end - at), name);
    }
    check_size(n, rows, "cases of %s", form);
    bpe_free(b);
}

static void test_shakespeare(const char *data, const bpe *b) {
    size_t length;
    char *s = read_data(data, "text/tinyshakespeare.txt", &length);
    if (!s) return;
    int32_t *ids = malloc(length * sizeof *ids);
    char *back = malloc(length + 1);
    if (!ids || !back) check_fatal("out of memory");
    const size_t n = bpe_encode(b, s, length, 1, ids, length, error, sizeof error);
    check_size(n, 338025, "tokens of tinyshakespeare");
    check_that(bpe_decode(b, ids, n, back, length + 1) == length && !memcmp(s, back, length),
               "tinyshakespeare comes back");
    free(s);
    free(ids);
    free(back);
}

static void test_real_gpt2(const char *data) {
    size_t length;
    char *cases = read_data(data, "tok/gpt2_cases.jsonl", &length);
    if (!cases) return;
    empty_folder();
    fetch(data, "gpt2/tokenizer.json", "tokenizer.json");
    cases_pass(cases, length, 1375, "gpt2/tokenizer.json");
    bpe *b = open_bpe();
    check_that(bpe_end(b) == 50256 && bpe_size(b) == 50257 && bpe_id(b, "\n") == 198,
               "GPT-2's ids");
    test_shakespeare(data, b);
    bpe_free(b);
    empty_folder();
    fetch(data, "gpt2/encoder.json", "encoder.json");
    fetch(data, "gpt2/vocab.bpe", "vocab.bpe");
    cases_pass(cases, length, 1375, "gpt2/encoder.json");
    empty_folder();
    free(cases);
}

static void test_real_qwen3(const char *data) {
    size_t length;
    char *cases = read_data(data, "tok/qwen3_cases.jsonl", &length);
    if (!cases) return;
    empty_folder();
    fetch(data, "qwen3/tokenizer.json", "tokenizer.json");
    cases_pass(cases, length, 1412, "qwen3/tokenizer.json");
    empty_folder();
    fetch(data, "qwen3/vocab.json", "vocab.json");
    fetch(data, "qwen3/merges.txt", "merges.txt");
    cases_pass(cases, length, 1412, "qwen3/vocab.json alone");
    fetch(data, "qwen3/tokenizer_config.json", "tokenizer_config.json");
    cases_pass(cases, length, 1412, "qwen3/vocab.json");
    bpe *b = open_bpe();
    check_that(bpe_end(b) == 151643 && bpe_size(b) == 151669 && bpe_id(b, "\n") == 198 &&
               bpe_id(b, "<|im_end|>") == 151645, "Qwen-3's ids");
    test_long(b);
    bpe_free(b);
    empty_folder();
    free(cases);
}

static void test_small(bpe_family family) {
    bpe *b = small_bpe(family);
    test_merges(b);
    test_texts(b);
    test_room(b);
    test_names(b);
    test_any_bytes(b);
    if (family == BPE_QWEN3) test_long(b);
    bpe_free(b);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        printf("usage: test_bpe FOLDER [DATA]\n");
        return 2;
    }
    snprintf(folder, sizeof folder, "%.300s/test_bpe.tmp", argv[1]);
    tables = unicode_new();
    if (!dual_make_folder(folder) || !tables)
        check_fatal("cannot make a folder for the test's files");
    test_small(BPE_GPT2);
    test_small(BPE_QWEN3);
    test_added();
    test_normalized();
    test_normalized_in_config();
    test_forms();
    test_added_file();
    test_beside_json();
    test_bad_folders();
    test_bad_settings();
    test_bad_vocabularies();
    test_bad_merges();
    test_bad_added_tokens();
    test_broken_json();
    test_bad_pairs();
    test_bad_beside();
    test_damaged_json();
    for (int i = 0; i < N_FACES; i++) {
        test_tokens(&FACES[i]);
        test_encoding(&FACES[i]);
        test_copies(&FACES[i]);
    }
    test_no_tokenizer();
    test_copied_pair();
    test_kept_bytes();
    if (argc > 2) {
        test_real_gpt2(argv[2]);
        test_real_qwen3(argv[2]);
    } else {
        printf("skipped: real tokenizers and their cases, expected the data folder, argument 2\n");
    }
    remove(folder);
    free(tables);
    return check_done();
}
