/* test_tokens.c - the BPE tokenizers: characters, NFC and pieces by hand; merges against a search
 * that is too slow to be wrong; files good and bad; words and BPE behind one face.
 *
 *     test_tokens [folder] [data]    folder: to write in; data: with tok/ and text/, the real ones
 *
 * The tokenizers tested without data are written here: 256 bytes, a few merges, one per line. */
#include "check.h"
#include "../data/files/files.h"
#include "../data/tokenizers/tokenizer.h"
#include "../data/tokenizers/unicode.h"

static char folder[400], error[400];
static unicode *tables;

/* ---- files ----------------------------------------------------------------------------------- */

static const char *const FILES[] = {
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "encoder.json",
    "vocab.bpe", "vocab.txt"
};
enum { N_FILES = sizeof FILES / sizeof *FILES };

static void write_file(const char *name, const char *bytes, size_t n) {
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_write(path, bytes, n);
}

static void empty_folder(void) {
    char path[500];
    int i;
    for (i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, FILES[i]);
        remove(path);
    }
}

/* A text that grows by snprintf. */
static char text[200000];
static size_t used;

static void add(const char *format, ...) {
    va_list list;
    va_start(list, format);
    used += (size_t)vsnprintf(text + used, sizeof text - used, format, list);
    va_end(list);
    if (used >= sizeof text)
        check_fatal("the test's own buffer is too small");
}

/* One byte as the files spell it; json: inside a JSON string. */
static void add_byte(unsigned char byte, int json) {
    static unsigned point[256];
    unsigned next = 0x100, i, c;
    if (!point['!'])
        for (i = 0; i < 256; i++)
            point[i] = (i > 32 && i < 127) || (i > 160 && i != 173) ? i : next++;
    c = point[byte];
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
    for (; *bytes; bytes++)
        add_byte((unsigned char)*bytes, json);
}

/* ---- the small tokenizer --------------------------------------------------------------------- */

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
    size_t i;
    int b;
    add("{");
    for (i = 0; i < N_MERGES; i++) {
        add("\"");
        add_bytes(MERGE[i][0], 1);
        add_bytes(MERGE[i][1], 1);
        add("\": %d, ", 256 + (int)i);
    }
    for (b = 0; b < 256; b++) {
        add("\"");
        add_byte((unsigned char)b, 1);
        add("\": %d%s", 255 - b, b < 255 ? ", " : "");
    }
}

static void add_merge_lines(const char *first) {
    size_t i;
    add("%s", first);
    for (i = 0; i < N_MERGES; i++) {
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
    size_t i;
    used = 0;
    add("{\"added_tokens\": %s,\n\"normalizer\": %s, \"pre_tokenizer\": %s, \"model\": {", added,
        normalizer, step);
    add("\"type\": \"BPE\", \"dropout\": null, \"continuing_subword_prefix\": \"\", \"vocab\": ");
    add_vocabulary();
    add("}, \"merges\": [");
    for (i = 0; i < N_MERGES; i++) {
        add(pairs ? "[\"" : "\"");
        add_bytes(MERGE[i][0], 1);
        add(pairs ? "\", \"" : " ");
        add_bytes(MERGE[i][1], 1);
        add(pairs ? "\"]%s" : "\"%s", i + 1 < N_MERGES ? ", " : "]}}\n");
    }
}

static bpe *open_bpe(void) {
    bpe *b;
    error[0] = 0;
    b = bpe_open(folder, error, sizeof error);
    check_that(b != NULL, "a good tokenizer is opened: %s", error);
    if (!b)
        check_fatal("no tokenizer to go on with");
    return b;
}

static bpe *small_bpe(bpe_family family) {
    bpe *b;
    empty_folder();
    make_json(family == BPE_GPT2 ? GPT2_STEP : QWEN3_STEP,
              family == BPE_GPT2 ? "null" : "{\"type\": \"NFC\"}", ADDED, family == BPE_QWEN3);
    write_file("tokenizer.json", text, used);
    b = open_bpe();
    check_that(bpe_family_of(b) == family, "the family comes from the pre_tokenizer");
    return b;
}

/* ---- characters ------------------------------------------------------------------------------ */

static void test_utf8(void) {
    static const struct { const char *bytes; size_t length; uint32_t c; size_t n; } row[] = {
        {"a", 1, 'a', 1}, {"\0", 1, 0, 1}, {"\x7F", 1, 0x7F, 1}, {"\xC2\x80", 2, 0x80, 2},
        {"\xDF\xBF", 2, 0x7FF, 2}, {"\xE0\xA0\x80", 3, 0x800, 3}, {"\xED\x9F\xBF", 3, 0xD7FF, 3},
        {"\xEE\x80\x80", 3, 0xE000, 3}, {"\xEF\xBF\xBF", 3, 0xFFFF, 3},
        {"\xF0\x90\x80\x80", 4, 0x10000, 4}, {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF, 4},
        {"\x80", 1, UNICODE_BAD + 0x80, 1}, {"\xBF", 1, UNICODE_BAD + 0xBF, 1},
        {"\xC0\x80", 2, UNICODE_BAD + 0xC0, 1}, {"\xC1\xBF", 2, UNICODE_BAD + 0xC1, 1},
        {"\xE0\x9F\xBF", 3, UNICODE_BAD + 0xE0, 1}, {"\xED\xA0\x80", 3, UNICODE_BAD + 0xED, 1},
        {"\xF0\x8F\xBF\xBF", 4, UNICODE_BAD + 0xF0, 1},
        {"\xF4\x90\x80\x80", 4, UNICODE_BAD + 0xF4, 1}, {"\xF5\x80\x80\x80", 4,
        UNICODE_BAD + 0xF5, 1}, {"\xFF", 1, UNICODE_BAD + 0xFF, 1},
        {"\xE2\x82", 2, UNICODE_BAD + 0xE2, 1}, {"\xE2\x82z", 3, UNICODE_BAD + 0xE2, 1},
        {"\xF0\x9F\x98", 3, UNICODE_BAD + 0xF0, 1}, {"\xC3", 1, UNICODE_BAD + 0xC3, 1}
    };
    size_t i;
    for (i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t c = 0;
        size_t n = unicode_next(row[i].bytes, row[i].bytes + row[i].length, &c);
        check_that(n == row[i].n && c == row[i].c, "UTF-8 row %d: expected U+%04lX in %d bytes, "
                   "got U+%04lX in %d", (int)i, (unsigned long)row[i].c, (int)row[i].n,
                   (unsigned long)c, (int)n);
    }
}

static size_t put_utf8(uint32_t c, char *out) {
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;
    for (i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(n == 1 ? c : (0xF0u << (4 - n) & 0xFF) | c);
    return n;
}

/* The tables' sums, counted in UnicodeData.txt 16.0 by another program. */
static void test_classes(void) {
    size_t letters = 0, numbers = 0, spaces = 0;
    uint32_t c;
    char s[8];
    for (c = 0; c < 0x110000; c++) {
        size_t n;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        n = put_utf8(c, s + 1);
        s[0] = 'a';
        letters += unicode_piece(tables, BPE_GPT2, s, s + 1 + n) == s + 1 + n;
        s[0] = '1';
        numbers += unicode_piece(tables, BPE_GPT2, s, s + 1 + n) == s + 1 + n;
        s[0] = '\t';
        spaces += unicode_piece(tables, BPE_GPT2, s, s + 1 + n) == s + 1 + n;
    }
    check_size(letters, 141028, "letters of Unicode 16.0");
    check_size(numbers, 1911, "numbers of Unicode 16.0");
    check_size(spaces, 25, "white space");
}

/* ---- NFC ------------------------------------------------------------------------------------- */

static void nfc_is(const char *from, const char *to) {
    size_t n;
    char *got = unicode_nfc(tables, from, strlen(from), &n);
    check_that(got && n == strlen(to) && !memcmp(got, to, n), "NFC of \"%s\": expected \"%s\", got "
               "\"%.*s\"", from, to, (int)n, got);
    check_that(!strcmp(from, to) || unicode_may_need_nfc(from, strlen(from)),
               "\"%s\" is not in NFC, and that is seen", from);
    free(got);
}

static void test_nfc(void) {
    dual_rng rng = dual_rng_seed(31, 0);
    int i;
    nfc_is("", "");
    nfc_is("plain", "plain");
    nfc_is("e\xCC\x81", "\xC3\xA9");                                  /* e + acute */
    nfc_is("\xC3\xA9", "\xC3\xA9");
    nfc_is("q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87");                 /* marks by class */
    nfc_is("s\xCC\x87\xCC\xA3", "\xE1\xB9\xA9");                      /* ... then composed */
    nfc_is("\xE1\xB8\x8B\xCC\xA3", "\xE1\xB8\x8D\xCC\x87");           /* d+dot, dot below */
    nfc_is("a\xCC\x81\xCC\x81", "\xC3\xA1\xCC\x81");                  /* same class: blocked */
    nfc_is("a\xCC\x90\xCC\x81", "a\xCC\x90\xCC\x81");                 /* also by what stays */
    nfc_is("a\xCC\x96\xCC\x81", "\xC3\xA1\xCC\x96");                  /* lower class: not blocked */
    nfc_is("a\xCD\x8F\xCC\x81", "a\xCD\x8F\xCC\x81");                 /* a starter between */
    nfc_is("\xCC\x81" "e", "\xCC\x81" "e");                           /* a mark with no starter */
    nfc_is("\xCC\x88\xCC\x81", "\xCC\x88\xCC\x81");                   /* U+0344 never comes back */
    nfc_is("\xCD\x84", "\xCC\x88\xCC\x81");
    nfc_is("\xE2\x84\xAB", "\xC3\x85");                               /* Angstrom sign */
    nfc_is("\xE2\x84\xAA", "K");                                      /* Kelvin sign */
    nfc_is("\xE2\x80\x80", "\xE2\x80\x82");                           /* en quad -> en space */
    nfc_is("\xCD\xBE", ";");                                          /* Greek question mark */
    nfc_is("\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC");               /* excluded: stays apart */
    nfc_is("\xE0\xA6\x95\xE0\xA7\x87\xE0\xA6\xBE", "\xE0\xA6\x95\xE0\xA7\x8B"); /* two starters */
    nfc_is("\xEF\xA4\x80", "\xE8\xB1\x88");                           /* CJK compatibility */
    nfc_is("\xF0\xAF\xA0\x80", "\xE4\xB8\xBD");                       /* and beyond U+FFFF */
    nfc_is("\xF0\x9D\x85\x9E", "\xF0\x9D\x85\x97\xF0\x9D\x85\xA5");   /* half note */
    nfc_is("\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80");               /* Hangul L+V */
    nfc_is("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81");   /* L+V+T */
    nfc_is("\xEA\xB0\x80\xE1\x86\xA8", "\xEA\xB0\x81");               /* LV+T */
    nfc_is("\xEA\xB0\x81\xE1\x86\xA8", "\xEA\xB0\x81\xE1\x86\xA8");   /* LVT+T */
    nfc_is("\xEA\xB0\x80\xE1\x86\xA7", "\xEA\xB0\x80\xE1\x86\xA7");   /* U+11A7 is no T */
    nfc_is("\xE1\x84\x92\xE1\x85\xB5\xE1\x87\x82", "\xED\x9E\xA3");   /* the last syllable */
    nfc_is("\xED\x9E\xA3", "\xED\x9E\xA3");
    nfc_is("\xE1\xBE\x82", "\xE1\xBE\x82");                           /* of four parts */
    nfc_is("\xCE\xB1\xCC\x93\xCC\x80\xCD\x85", "\xE1\xBE\x82");
    nfc_is("\xCE\xB1\xCD\x85\xCC\x93\xCC\x80", "\xE1\xBE\x82");
    /* A mark newer than Unicode 9.0 is no mark: it neither moves nor lets one pass. */
    nfc_is("\xE1\xAA\xBC\xF0\x91\xB5\x82", "\xE1\xAA\xBC\xF0\x91\xB5\x82");
    /* What is not UTF-8 stays, and lets nothing across. */
    nfc_is("e\xCC\x81\xFF" "e\xCC", "\xC3\xA9\xFF" "e\xCC");
    nfc_is("e\xFF\xCC\x81", "e\xFF\xCC\x81");
    nfc_is("\xED\xA0\x80\xCC\x81", "\xED\xA0\x80\xCC\x81");

    for (i = 0; i < 3000; i++) {                      /* doing it twice changes nothing more */
        static const uint32_t from[] = {0x41, 0x300, 0x1100, 0x1161, 0x11A7, 0xAC00, 0x900, 0x1E00,
                                        0x3040, 0xF900, 0x1D150};
        char s[200], *once, *twice;
        size_t n = 0, n1 = 0, n2 = 0, k, length = 1 + dual_rng_below(&rng, 20);
        for (k = 0; k < length; k++) {
            const uint32_t block = from[dual_rng_below(&rng, 11)];
            n += put_utf8(block + (uint32_t)dual_rng_below(&rng, 60), s + n);
        }
        once = unicode_nfc(tables, s, n, &n1);
        twice = unicode_nfc(tables, once, n1, &n2);
        check_that(n1 == n2 && !memcmp(once, twice, n1), "NFC is its own NFC, text %d", i);
        free(once);
        free(twice);
    }
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* The pieces, each followed by |. */
static void pieces_are(bpe_family family, const char *s, const char *expected) {
    const char *at, *to, *end = s + strlen(s);
    char got[400];
    size_t n = 0;
    for (at = s; at < end; at = to) {
        to = unicode_piece(tables, family, at, end);
        if (to <= at || to > end)
            check_fatal("a piece is empty or leaves the text");
        memcpy(got + n, at, (size_t)(to - at));
        n += (size_t)(to - at);
        got[n++] = '|';
    }
    got[n] = 0;
    check_that(!strcmp(got, expected), "%s pieces: expected \"%s\", got \"%s\"",
               family == BPE_GPT2 ? "GPT-2" : "Qwen-3", expected, got);
}

static void test_pieces(void) {
    static const struct { const char *text, *gpt2, *qwen3; } row[] = {
        {"Hello world", "Hello| world|", "Hello| world|"},
        {"it's", "it|'s|", "it|'s|"},
        {"IT'S", "IT|'|S|", "IT|'S|"},
        {"we'LL'll'lL", "we|'|LL|'ll|'|lL|", "we|'LL|'ll|'lL|"},
        {"'re've'd'm't", "'re|'ve|'d|'m|'t|", "'re|'ve|'d|'m|'t|"},
        {"'rx'v'l", "'|rx|'|v|'|l|", "'rx|'v|'l|"},
        {"'", "'|", "'|"},
        {"''s", "''|s|", "''|s|"},
        {" 's", " '|s|", " '|s|"},
        {"'start", "'s|tart|", "'s|tart|"},
        {"12's", "12|'s|", "1|2|'s|"},
        {"!'s", "!'|s|", "!'|s|"},
        {"'\xC5\xBF" "a", "'|\xC5\xBF" "a|", "'\xC5\xBF|a|"},
        {"\xE2\x80\x99s", "\xE2\x80\x99|s|", "\xE2\x80\x99s|"},
        {"a b", "a| b|", "a| b|"},
        {"a  b", "a| | b|", "a| | b|"},
        {"a   b", "a|  | b|", "a|  | b|"},
        {"a ", "a| |", "a| |"},
        {"a   ", "a|   |", "a|   |"},
        {"a\tb", "a|\t|b|", "a|\tb|"},
        {"a \tb", "a| |\t|b|", "a| |\tb|"},
        {"a\t b", "a|\t| b|", "a|\t| b|"},
        {"a\nb", "a|\n|b|", "a|\n|b|"},
        {"a\n\nb", "a|\n|\n|b|", "a|\n\n|b|"},
        {"a \n b", "a| \n| b|", "a| \n| b|"},
        {"a\n  \n  b", "a|\n  \n | b|", "a|\n  \n| | b|"},
        {"a\r\nb", "a|\r|\n|b|", "a|\r\n|b|"},
        {"a\r\n", "a|\r\n|", "a|\r\n|"},
        {"a \n", "a| \n|", "a| \n|"},
        {"a\n ", "a|\n |", "a|\n| |"},
        {"a!\n\nb", "a|!|\n|\n|b|", "a|!\n\n|b|"},
        {"a !?\r\n b", "a| !?|\r\n| b|", "a| !?\r\n| b|"},
        {"!a", "!|a|", "!a|"},
        {"!!a", "!!|a|", "!!|a|"},
        {" !a", " !|a|", " !|a|"},
        {"(a)", "(|a|)|", "(a|)|"},
        {"1a", "1|a|", "1|a|"},
        {"a1", "a|1|", "a|1|"},
        {" 12", " 12|", " |1|2|"},
        {"  12", " | 12|", " | |1|2|"},
        {"x=-12", "x|=-|12|", "x|=-|1|2|"},
        {"#12", "#|12|", "#|1|2|"},
        {"# #", "#| #|", "#| #|"},
        {"\xC3\xA9t\xC3\xA9", "\xC3\xA9t\xC3\xA9|", "\xC3\xA9t\xC3\xA9|"},
        {"a\xCC\x81" "b", "a|\xCC\x81|b|", "a|\xCC\x81" "b|"},                 /* a mark is none */
        {"a\xC2\xA0" "b", "a|\xC2\xA0|b|", "a|\xC2\xA0" "b|"},                 /* no-break space */
        {"a \xC2\xA0" "b", "a| |\xC2\xA0|b|", "a| |\xC2\xA0" "b|"},
        {"a\xC2\x85" "b", "a|\xC2\x85|b|", "a|\xC2\x85" "b|"},                 /* next line */
        {"a\xC2\x85\xC2\x85" "1", "a|\xC2\x85|\xC2\x85|1|", "a|\xC2\x85|\xC2\x85|1|"},
        {"a\xE2\x80\xA8" "1", "a|\xE2\x80\xA8|1|", "a|\xE2\x80\xA8|1|"},       /* U+2028 */
        {"a \xE3\x80\x80" "1", "a| |\xE3\x80\x80|1|", "a| |\xE3\x80\x80|1|"},  /* U+3000 */
        {"a\xE2\x80\x8B" "b", "a|\xE2\x80\x8B|b|", "a|\xE2\x80\x8B" "b|"},     /* U+200B: other */
        {"\xEF\xBB\xBF" "a", "\xEF\xBB\xBF|a|", "\xEF\xBB\xBF" "a|"},          /* U+FEFF: other */
        {"a \x1C", "a| \x1C|", "a| \x1C|"},                                    /* other */
        {"\xC2\xBD\xE2\x85\xA3", "\xC2\xBD\xE2\x85\xA3|", "\xC2\xBD|\xE2\x85\xA3|"}, /* No, Nl */
        {"\xD9\xA1\xD9\xA2", "\xD9\xA1\xD9\xA2|", "\xD9\xA1|\xD9\xA2|"},       /* Arabic digits */
        {"\xF0\x90\xB5\xAF's", "\xF0\x90\xB5\xAF|'s|", "\xF0\x90\xB5\xAF|'s|"},/* of 16.0 */
        {"\xE4\xBD\xA0\xE5\xA5\xBD", "\xE4\xBD\xA0\xE5\xA5\xBD|", "\xE4\xBD\xA0\xE5\xA5\xBD|"},
        {"\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9 a", "\xF0\x9F\x91\xA8\xE2\x80\x8D"
         "\xF0\x9F\x91\xA9| a|", "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9| a|"},
        {"a\xFF\xFE" "1", "a|\xFF\xFE|1|", "a|\xFF\xFE|1|"},                   /* not UTF-8 */
        {" \xC3", " \xC3|", " \xC3|"}
    };
    size_t i;
    for (i = 0; i < sizeof row / sizeof *row; i++) {
        pieces_are(BPE_GPT2, row[i].text, row[i].gpt2);
        pieces_are(BPE_QWEN3, row[i].text, row[i].qwen3);
    }
}

/* ---- merges ---------------------------------------------------------------------------------- */

/* All merges of one piece by looking at every pair each time. */
static size_t slow_merges(const char *piece, size_t n, int32_t *id) {
    static char part[400][400];
    size_t i, best, where, m;
    for (i = 0; i < n; i++) {
        part[i][0] = piece[i];
        part[i][1] = 0;
    }
    for (;;) {
        best = N_MERGES;
        where = 0;
        for (i = 0; i + 1 < n; i++)
            for (m = 0; m < best; m++)
                if (!strcmp(part[i], MERGE[m][0]) && !strcmp(part[i + 1], MERGE[m][1])) {
                    best = m;
                    where = i;
                }
        if (best == N_MERGES)
            break;
        memcpy(part[where] + strlen(part[where]), part[where + 1], strlen(part[where + 1]) + 1);
        for (i = where + 1; i + 1 < n; i++)
            strcpy(part[i], part[i + 1]);
        n--;
    }
    for (i = 0; i < n; i++) {
        id[i] = 255 - (unsigned char)part[i][0];
        for (m = 0; m < N_MERGES && part[i][1]; m++)
            if (strlen(part[i]) == strlen(MERGE[m][0]) + strlen(MERGE[m][1])
                && !strncmp(part[i], MERGE[m][0], strlen(MERGE[m][0]))
                && !strcmp(part[i] + strlen(MERGE[m][0]), MERGE[m][1]))
                id[i] = 256 + (int32_t)m;
    }
    return n;
}

static void encodes(const bpe *b, const char *s, size_t length, int added, const int32_t *expected,
                    size_t n) {
    int32_t ids[1200];
    size_t got = bpe_encode(b, s, length, added, ids, 1200, error, sizeof error), i;
    int same = got == n;
    for (i = 0; same && i < n; i++)
        same = ids[i] == expected[i];
    check_that(same, "\"%.*s\": expected %d ids from %ld, got %d from %ld", (int)length, s, (int)n,
               n ? (long)expected[0] : -1L, (int)got, got ? (long)ids[0] : -1L);
}

/* Random texts of the letters that merge, against the slow way; their pieces are known right. */
static void test_merges(const bpe *b) {
    static const char *const letters[] = {"a", "b", "c", "d", "h", "e", "l", "o", "t", " ", "\n",
                                          "1", "2", "#", "'s", "!", "\xC3", "\xA9", "\xE2\x80",
                                          "x", "y"};
    dual_rng rng = dual_rng_seed(32, 0);
    int i;
    for (i = 0; i < 4000; i++) {
        char s[400] = "";
        int32_t expected[400];
        size_t n = 0, k, length = dual_rng_below(&rng, 60), few = 2 + dual_rng_below(&rng, 20);
        const char *at, *to;
        for (k = 0; k < length; k++)                  /* every other text is of x and y alone */
            strcat(s, letters[i % 2 ? 19 + dual_rng_below(&rng, 2) : dual_rng_below(&rng, few)]);
        for (at = s; *at; at = to) {
            to = unicode_piece(tables, bpe_family_of(b), at, s + strlen(s));
            n += slow_merges(at, (size_t)(to - at), expected + n);
        }
        encodes(b, s, strlen(s), 1, expected, n);
    }
}

static void test_texts(bpe_family family) {
    static const int32_t hello[] = {260, 264};        /* hello, " the" */
    static const int32_t abcd[] = {277, 255 - 'd'};   /* abc + d: ab comes first, then ab + c */
    static const int32_t abc[] = {277}, aaa[] = {266, 255 - 'a'}, aaaaaa[] = {267, 266};
    bpe *b = small_bpe(family);
    dual_rng rng = dual_rng_seed(33, (uint64_t)family);
    int32_t ids[3] = {-7, -7, -7};
    char out[8];
    size_t length = 77;
    int i;

    test_merges(b);
    encodes(b, "", 0, 1, NULL, 0);
    encodes(b, "hello the", 9, 1, hello, 2);
    encodes(b, "abc", 3, 1, abc, 1);
    encodes(b, "abcd", 4, 1, abcd, 2);
    encodes(b, "aaa", 3, 1, aaa, 2);
    encodes(b, "aaaaaa", 6, 1, aaaaaa, 2);

    check_size(bpe_encode(b, "hello the", 9, 1, ids, 1, error, sizeof error), 2, "ids in all");
    check_that(ids[0] == 260 && ids[1] == -7, "no more than max ids are written");
    check_size(bpe_encode(b, "hello the", 9, 1, NULL, 0, error, sizeof error), 2, "ids, counted");
    ids[0] = 260;
    ids[1] = 9999;
    check_size(bpe_decode(b, ids, 2, out, sizeof out), 8, "decoded length");
    check_that(!strcmp(out, "hello<?"), "decoding is cut and ended: %s", out);
    check_size(bpe_decode(b, ids, 2, NULL, 0), 8, "decoded length, counted");

    check_size(bpe_size(b), 302, "size");
    check_that(bpe_id(b, "hello") == 260 && bpe_id(b, "<|im_end|>") == 299
               && bpe_id(b, "nothing") == -1 && bpe_id(b, "") == -1, "ids by name");
    check_that(bpe_end(b) == 300, "the end token");
    check_that(!strcmp(bpe_token(b, 299, &length), "<|im_end|>") && length == 10, "token 299");
    check_that(!bpe_token(b, 298, NULL) && !bpe_token(b, -1, NULL) && !bpe_token(b, 302, NULL)
               && !bpe_token(b, INT32_MAX, NULL), "ids that are none");
    check_that(bpe_token(b, 255, &length) && length == 1 && !*bpe_token(b, 255, NULL), "a NUL");

    for (i = 0; i < 600; i++) {                       /* any bytes, added tokens among them */
        char s[400], back[1300], *normal, *plain = s;
        int32_t token[1200];
        size_t n = 0, k, bytes, parts = dual_rng_below(&rng, 60), normal_length;
        for (k = 0; k < parts; k++) {
            const uint64_t kind = dual_rng_below(&rng, 8);
            if (kind == 0)
                n += (size_t)snprintf(s + n, 14, "<|im_end|>");
            else if (kind < 4)
                s[n++] = (char)dual_rng_below(&rng, 256);
            else
                n += put_utf8(kind < 6 ? (uint32_t)dual_rng_below(&rng, 0x80)
                                       : 0x300 + (uint32_t)dual_rng_below(&rng, 0x38), s + n);
        }
        k = bpe_encode(b, s, n, i % 2, token, 1200, error, sizeof error);
        bytes = bpe_decode(b, token, k, back, sizeof back);
        normal = unicode_nfc(tables, s, n, &normal_length);
        if (family == BPE_QWEN3) {                    /* none of these marks joins < or > */
            plain = normal;
            n = normal_length;
        }
        check_that(k <= 1200 && bytes == n && !memcmp(back, plain, n), "text %d comes back", i);
        free(normal);
    }
    bpe_free(b);
}

static void test_added(void) {
    /* the longest of two that start alike; NFC apart on both sides; merges stop there */
    static const int32_t both[] = {300, 301, 255 - '|'}, apart[] = {255 - 'h', 299, 255 - 'e'};
    static const int32_t marks[] = {273, 299, 255 - 0xCC, 255 - 0x81};
    static const int32_t spaces[] = {255 - ' ', 299, 269};
    bpe *b = small_bpe(BPE_QWEN3);
    int32_t ids[40];
    size_t n, i;
    encodes(b, "<|endoftext|><|end|", 19, 1, both, 3);
    encodes(b, "h<|im_end|>e", 12, 1, apart, 3);
    encodes(b, "e\xCC\x81<|im_end|>\xCC\x81", 15, 1, marks, 4);
    encodes(b, " <|im_end|>  ", 13, 1, spaces, 3);
    n = bpe_encode(b, "h<|im_end|>e<|endoftext|>", 25, 0, ids, 40, error, sizeof error);
    for (i = 0; i < n && i < 40; i++)
        check_that(ids[i] < VOCABULARY, "as plain text no added token comes out");
    check_that(n > 20 && n <= 25, "as plain text it is spelled");
    bpe_free(b);
}

/* ---- long texts ------------------------------------------------------------------------------ */

/* No time limit, but none of these would end in a day if steps grew with the square. */
static void test_long(const bpe *b) {
    static const char *const unit[] = {"a", "abcd", "\xCC\x81\xCC\xA3", " ", "<|", "\n ", "'", "#"};
    enum { LONG = 1200000 };
    char *s = malloc(LONG + 8), *back = malloc(LONG + 8);
    int32_t *ids = malloc((LONG + 8) * sizeof *ids);
    size_t i, n, k;
    if (!s || !back || !ids)
        check_fatal("out of memory");
    for (i = 0; i < sizeof unit / sizeof *unit; i++) {
        for (n = 0; n < LONG; n += strlen(unit[i]))
            memcpy(s + n, unit[i], strlen(unit[i]));
        k = bpe_encode(b, s, n, 1, ids, LONG + 8, error, sizeof error);
        check_that(k <= n && bpe_decode(b, ids, k, back, LONG + 8) == n,
                   "%d bytes of %s: got %d ids", (int)n, unit[i], (int)k);
    }
    free(s);
    free(back);
    free(ids);
}

/* ---- files, good ----------------------------------------------------------------------------- */

static size_t encode_all(const bpe *b, int32_t *ids, size_t max) {
    static const char sample[] = "hello the IT'S it's 12  \n\n e\xCC\x81 ## # # aaaa<|im_end|>!\n";
    return bpe_encode(b, sample, sizeof sample - 1, 0, ids, max, error, sizeof error);
}

static void same_as(const bpe *b, const bpe *other, const char *what) {
    int32_t one[100], two[100];
    size_t n = encode_all(b, one, 100), i;
    int same = n == encode_all(other, two, 100) && n < 100;
    for (i = 0; same && i < n; i++)
        same = one[i] == two[i];
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
    if (config)
        write_file("tokenizer_config.json", config, strlen(config));
}

static const char CONFIG[] =
    "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"added_tokens_decoder\": {\"300\": {\"content\": "
    "\"<|endoftext|>\"}, \"299\": {\"content\": \"<|im_end|>\", \"normalized\": false}}}";

static void test_forms(void) {
    bpe *gpt2 = small_bpe(BPE_GPT2), *qwen3 = small_bpe(BPE_QWEN3), *b;

    make_pair("encoder.json", "vocab.bpe", ", \"<|endoftext|>\": 300", NULL);
    b = open_bpe();
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
    check_that(bpe_end(b) == VOCABULARY && bpe_id(b, "<|im_end|>") == VOCABULARY + 2
               && bpe_id(b, "</think>") == VOCABULARY + 25 && bpe_size(b) == VOCABULARY + 26,
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

/* ---- files, bad ------------------------------------------------------------------------------ */

static void refuses(const char *named) {
    bpe *b;
    error[0] = 0;
    b = bpe_open(folder, error, sizeof error);
    check_that(!b && strstr(error, named) && strstr(error, folder) && !strchr(error, '\n'),
               "expected a refusal with \"%s\", got %s\"%s\"", named, b ? "a tokenizer, " : "",
               error);
    bpe_free(b);
}

/* tokenizer.json with `from` replaced by `to`, once, must be refused. */
static void bad_json(const char *from, const char *to, const char *named) {
    char *at;
    make_json(GPT2_STEP, "null", ADDED, 0);
    at = strstr(text, from);
    if (!at)
        check_fatal("the test's replacement finds nothing");
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

static void test_bad_files(void) {
    size_t i, whole;
    dual_rng rng = dual_rng_seed(34, 0);
    char deep[3000];

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
    bad_json("{\"type\": \"ByteLevel\"", "{\"type\": \"Whitespace\"", "pre_tokenizer");
    bad_json("\"add_prefix_space\": false", "\"add_prefix_space\": true", "pre_tokenizer");
    bad_json("\"trim_offsets\": true", "\"use_regex\": false", "pre_tokenizer");
    bad_json("\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}", "normalizer");
    bad_json("\"type\": \"BPE\"", "\"type\": \"Unigram\"", "not BPE");
    bad_json("\"dropout\": null", "\"dropout\": 0.1", "dropout");
    bad_json("_prefix\": \"\"", "_prefix\": \"##\"", "continuing_subword_prefix");
    bad_json("\"dropout\": null", "\"ignore_merges\": true", "ignore_merges");
    bad_json("\"vocab\": {", "\"vocab\": [], \"other\": {", "no vocabulary");
    bad_json("\"merges\": [", "\"merges\": {}, \"other\": [", "no merges");
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
    bad_json("\"lstrip\": false", "\"lstrip\": true", "lstrip");
    bad_json("\"special\": true", "\"single_word\": true", "single_word");
    bad_json("\"content\": \"<|end\"", "\"content\": \"\"", "empty");
    bad_json("\"content\": \"<|end\"", "\"content\": 5", "empty");
    bad_json("\"content\": \"<|end\"", "\"content\": \"<|im_end|>\"", "is there twice");
    bad_json("\"content\": \"<|end\"", "\"content\": \"hello\"", "but 260 in the vocabulary");
    bad_json("\"id\": 301", "\"id\": 260", "id 260 is there twice");
    bad_json("\"id\": 301", "\"id\": null", "whole number");
    bad_json("<|endoftext|>", "<|endoftexd|>", "no token <|endoftext|>");
    bad_json("{", "[", "broken off");

    memset(deep, '[', sizeof deep);                   /* nested without end, and a closed nest */
    write_file("tokenizer.json", deep, sizeof deep);
    refuses("broken off");
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    write_file("tokenizer.json", deep, sizeof deep);
    refuses("broken off");

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

    /* Cut anywhere or with any bytes changed: one line of refusal, or a tokenizer that works. */
    empty_folder();
    make_json(QWEN3_STEP, "{\"type\": \"NFC\"}", ADDED, 1);
    whole = used;
    for (i = 0; i + 2 < whole; i += 1 + whole / 300) {
        write_file("tokenizer.json", text, i);
        refuses("tokenizer.json");
    }
    for (i = 0; i < 600; i++) {
        size_t k, changes = 1 + dual_rng_below(&rng, 3);
        bpe *b;
        make_json(QWEN3_STEP, "{\"type\": \"NFC\"}", ADDED, 1);
        for (k = 0; k < changes; k++)
            text[dual_rng_below(&rng, whole)] = (char)dual_rng_below(&rng, 256);
        write_file("tokenizer.json", text, whole);
        error[0] = 0;
        b = bpe_open(folder, error, sizeof error);
        if (b)
            check_that(encode_all(b, NULL, 0) < 1000, "a changed file that is accepted works");
        else
            check_that(error[0] && !strchr(error, '\n'), "a refusal has one line: \"%s\"", error);
        bpe_free(b);
    }
}

/* ---- one face -------------------------------------------------------------------------------- */

static tokenizer *open_tokenizer(const char *where) {
    tokenizer *t;
    error[0] = 0;
    t = tokenizer_open(where, error, sizeof error);
    check_that(t != NULL, "%s is opened: %s", where, error);
    if (!t)
        check_fatal("no tokenizer to go on with");
    return t;
}

static void test_face(void) {
    static const char *const kinds[] = {"gpt2", "qwen3", "words"};
    char other[500], path[600], out[100], long_path[3000];
    int32_t ids[20], again[20];
    size_t length, n, i;
    int k;
    tokenizer *t;
    snprintf(other, sizeof other, "%s/copy", folder);
    dual_make_folder(other);
    for (k = 0; k < 3; k++) {
        empty_folder();
        if (k < 2) {
            bpe_free(small_bpe(k ? BPE_QWEN3 : BPE_GPT2));
        } else {
            words *w = words_new_countdown();
            t = w ? tokenizer_of_words(w, error, sizeof error) : NULL;
            check_that(t && tokenizer_save(t, folder, error, sizeof error), "words are saved");
            tokenizer_free(t);
        }
        t = open_tokenizer(folder);
        check_that(!strcmp(tokenizer_kind(t), kinds[k]), "kind %s", kinds[k]);
        check_size(tokenizer_size(t), k < 2 ? 302 : 132, "size of %s", kinds[k]);
        check_that(tokenizer_end(t) == (k < 2 ? 300 : 0), "end of %s", kinds[k]);
        check_that(tokenizer_id(t, "\n") == (k < 2 ? 255 - '\n' : 1), "line break of %s", kinds[k]);
        check_that(tokenizer_id(t, "none of them") == -1, "a name that is none");
        check_that(tokenizer_token(t, tokenizer_end(t), &length)
                   && length == (k < 2 ? 13u : 5u), "the end token's text");
        check_that(!tokenizer_token(t, 5000, NULL), "an id that is none");
        n = tokenizer_encode(t, "12+3\n(4)", 7, 0, ids, 20, error, sizeof error);
        check_size(n, k == 0 ? 6 : k == 1 ? 7 : 6, "ids by %s; the text ends where it is told to",
                   kinds[k]);
        check_that(tokenizer_decode(t, ids, n, out, sizeof out) == 7 && !strcmp(out, "12+3\n(4"),
                   "decoded by %s: %s", kinds[k], out);
        if (k == 2) {
            check_that(tokenizer_encode(t, "unknown", 7, 0, ids, 20, error, sizeof error)
                       == (size_t)-1 && strstr(error, "unknown"), "an unknown word: %s", error);
            check_that(tokenizer_encode(t, "1\0", 2, 0, ids, 20, error, sizeof error)
                       == (size_t)-1 && strstr(error, "NUL"), "a NUL in words: %s", error);
        }

        check_that(tokenizer_save(t, other, error, sizeof error)
                   && tokenizer_save(t, folder, error, sizeof error), "saved twice: %s", error);
        tokenizer_free(t);
        t = open_tokenizer(other);                    /* the copy; below, what became of itself */
        check_that(!strcmp(tokenizer_kind(t), kinds[k]), "the copy is %s", kinds[k]);
        check_that(tokenizer_encode(t, "12+3\n(4", 7, 0, again, 20, error, sizeof error) == n,
                   "the copy encodes alike");
        for (i = 0; i < n; i++)
            check_that(ids[i] == again[i], "the copy encodes alike");
        snprintf(path, sizeof path, "%s/nowhere", folder);
        error[0] = 0;
        check_that(!tokenizer_save(t, path, error, sizeof error) && strstr(error, "nowhere"),
                   "a folder that is not there: %s", error);
        tokenizer_free(t);
        tokenizer_free(open_tokenizer(folder));
        for (i = 0; i < N_FILES; i++) {
            snprintf(path, sizeof path, "%s/%s", other, FILES[i]);
            remove(path);
        }
    }
    remove(other);
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
    char other[500], path[600];
    tokenizer *t;
    int i;
    snprintf(other, sizeof other, "%s/copy", folder);
    dual_make_folder(other);
    make_pair("encoder.json", "vocab.bpe", NULL, CONFIG);
    t = open_tokenizer(folder);
    check_that(tokenizer_save(t, other, error, sizeof error), "a pair is saved: %s", error);
    tokenizer_free(t);
    t = open_tokenizer(other);
    check_that(tokenizer_end(t) == 300 && tokenizer_id(t, "<|im_end|>") == 299,
               "tokenizer_config.json went along");
    tokenizer_free(t);
    for (i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", other, FILES[i]);
        remove(path);
    }
    remove(other);
    empty_folder();
}

/* ---- the real ones --------------------------------------------------------------------------- */

static char *read_data(const char *data, const char *name, size_t *length) {
    char path[700], *s;
    snprintf(path, sizeof path, "%s/%s", data, name);
    s = data_read(path, length, error, sizeof error);
    check_that(s != NULL, "%s", error);
    return s;
}

/* Copies data/tok/FROM into the test's folder as TO. */
static void fetch(const char *data, const char *from, const char *to) {
    char name[100];
    size_t n;
    char *s;
    snprintf(name, sizeof name, "tok/%s", from);
    s = read_data(data, name, &n);
    if (s)
        write_file(to, s, n);
    free(s);
}

/* Every case of a JSONL file: text to ids, ids to text. */
static void cases_pass(const char *cases, size_t length, size_t rows, const char *form) {
    bpe *b = open_bpe();
    const char *at = cases, *end = cases + length, *line_end;
    size_t n = 0;
    for (; at < end; at = line_end + 1, n++) {
        char *hex, *s, *back;
        int32_t *ids;
        size_t bytes, k, total, i = 0, decoded;
        dual_json row, none, id = {NULL, NULL}, expected;
        int same = 1, plain;
        line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        k = (size_t)(line_end - at);
        row = dual_json_text(at, k);
        hex = malloc(k + 1);
        s = malloc(k + 1);
        back = malloc(3 * k + 1);
        ids = malloc((k + 1) * sizeof *ids);
        if (!hex || !s || !back || !ids)
            check_fatal("out of memory");
        bytes = dual_json_string(dual_json_get(row, "utf8_hex"), hex, k + 1) / 2;
        for (i = 0; i < bytes; i++) {
            char two[3] = {0, 0, 0};
            memcpy(two, hex + 2 * i, 2);
            s[i] = (char)strtol(two, NULL, 16);
        }
        dual_json_string(dual_json_get(row, "special"), hex, k + 1);
        plain = !strcmp(hex, "as_text");
        total = bpe_encode(b, s, bytes, !plain, ids, k, error, sizeof error);
        expected = dual_json_get(row, "ids");
        for (i = 0; dual_json_each(expected, &none, &id); i++)
            same = same && i < total && (double)ids[i] == dual_json_number(id, -1);
        check_that(same && i == total, "%s, case %d: ids, %.*s", form, (int)n + 1,
                   k < 200 ? (int)k : 200, at);
        if (dual_json_get(row, "decoded").begin)
            bytes = dual_json_string(dual_json_get(row, "decoded"), s, k + 1);
        decoded = bpe_decode(b, ids, total, back, 3 * k + 1);
        check_that(decoded == bytes && !memcmp(back, s, bytes), "%s, case %d: decoded", form,
                   (int)n + 1);
        free(hex);
        free(s);
        free(back);
        free(ids);
    }
    check_size(n, rows, "cases of %s", form);
    bpe_free(b);
}

static void test_real(const char *data) {
    size_t gpt2_length, qwen3_length, length, n;
    char *gpt2 = read_data(data, "tok/gpt2_cases.jsonl", &gpt2_length);
    char *qwen3 = read_data(data, "tok/qwen3_cases.jsonl", &qwen3_length);
    char *s = read_data(data, "text/tinyshakespeare.txt", &length), *back;
    int32_t *ids;
    bpe *b;
    if (!gpt2 || !qwen3 || !s)
        check_fatal("the data folder lacks these files");

    empty_folder();
    fetch(data, "gpt2/tokenizer.json", "tokenizer.json");
    cases_pass(gpt2, gpt2_length, 1375, "gpt2/tokenizer.json");
    b = open_bpe();
    check_that(bpe_end(b) == 50256 && bpe_size(b) == 50257 && bpe_id(b, "\n") == 198,
               "GPT-2's ids");
    ids = malloc(length * sizeof *ids);
    back = malloc(length + 1);
    if (!ids || !back)
        check_fatal("out of memory");
    n = bpe_encode(b, s, length, 1, ids, length, error, sizeof error);
    check_size(n, 338025, "tokens of tinyshakespeare");
    check_that(bpe_decode(b, ids, n, back, length + 1) == length && !memcmp(s, back, length),
               "tinyshakespeare comes back");
    bpe_free(b);
    empty_folder();
    fetch(data, "gpt2/encoder.json", "encoder.json");
    fetch(data, "gpt2/vocab.bpe", "vocab.bpe");
    cases_pass(gpt2, gpt2_length, 1375, "gpt2/encoder.json");

    empty_folder();
    fetch(data, "qwen3/tokenizer.json", "tokenizer.json");
    cases_pass(qwen3, qwen3_length, 1412, "qwen3/tokenizer.json");
    empty_folder();
    fetch(data, "qwen3/vocab.json", "vocab.json");
    fetch(data, "qwen3/merges.txt", "merges.txt");
    cases_pass(qwen3, qwen3_length, 1412, "qwen3/vocab.json alone");
    fetch(data, "qwen3/tokenizer_config.json", "tokenizer_config.json");
    cases_pass(qwen3, qwen3_length, 1412, "qwen3/vocab.json");
    b = open_bpe();
    check_that(bpe_end(b) == 151643 && bpe_size(b) == 151669 && bpe_id(b, "\n") == 198
               && bpe_id(b, "<|im_end|>") == 151645, "Qwen-3's ids");
    test_long(b);
    bpe_free(b);
    empty_folder();
    free(gpt2);
    free(qwen3);
    free(s);
    free(back);
    free(ids);
}

int main(int argc, char **argv) {
    bpe *b;
    snprintf(folder, sizeof folder, "%.300s/test_tokens.tmp", argc > 1 ? argv[1] : ".");
    tables = unicode_new();
    if (!dual_make_folder(folder) || !tables)
        check_fatal("cannot make a folder for the test's files");
    test_utf8();
    test_classes();
    test_nfc();
    test_pieces();
    test_texts(BPE_GPT2);
    test_texts(BPE_QWEN3);
    test_added();
    b = small_bpe(BPE_QWEN3);
    test_long(b);
    bpe_free(b);
    test_forms();
    test_bad_files();
    test_face();
    test_copied_pair();
    if (argc > 2)
        test_real(argv[2]);
    else
        printf("skipped: real tokenizers and their cases, expected the data folder, argument 2\n");
    remove(folder);
    free(tables);
    return check_done();
}
