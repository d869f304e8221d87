/* test_unicode.c - what a text goes through before byte-pair encoding: characters and their
 * classes, NFC, the pieces of both families. It reads and writes no files. */
#include "check.h"
#include "../data/tokenizers/unicode.h"

static unicode *tables;

/* ---- Characters ----------------------------------------------------------------------------- */

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
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t c = 0;
        const size_t n = unicode_next(row[i].bytes, row[i].bytes + row[i].length, &c);
        check_that(n == row[i].n && c == row[i].c, "UTF-8 row %d: expected U+%04lX in %d bytes, "
                   "got U+%04lX in %d", (int)i, (unsigned long)row[i].c, (int)row[i].n,
                   (unsigned long)c, (int)n);
    }
}

static size_t put_utf8(uint32_t c, char *out) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t n = 1;
    while (n < 4 && c >= least[n]) n++;
    out[0] = (char)(n == 1 ? c : (0xF0u << (4 - n) & 0xFF) | c >> (6 * (n - 1)));
    for (size_t i = 1; i < n; i++) out[i] = (char)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3F));
    return n;
}

/* The tables' sums, counted in UnicodeData.txt 16.0 by another program. */
static void test_classes(void) {
    size_t letters = 0, numbers = 0, spaces = 0;
    char s[8];
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        const size_t n = put_utf8(c, s + 1);
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

/* ---- NFC ------------------------------------------------------------------------------------ */

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
}

/* Doing it twice changes nothing more. */
static void test_nfc_of_nfc(void) {
    static const uint32_t from[] = {0x41, 0x300, 0x1100, 0x1161, 0x11A7, 0xAC00, 0x900, 0x1E00,
                                    0x3040, 0xF900, 0x1D150};
    dual_rng rng = dual_rng_seed(31, 0);
    for (int i = 0; i < 3000; i++) {
        char s[200];
        size_t n = 0, n1 = 0, n2 = 0, length = 1 + dual_rng_below(&rng, 20);
        for (size_t k = 0; k < length; k++) {
            const uint32_t block = from[dual_rng_below(&rng, 11)];
            n += put_utf8(block + (uint32_t)dual_rng_below(&rng, 60), s + n);
        }
        char *once = unicode_nfc(tables, s, n, &n1);
        char *twice = unicode_nfc(tables, once, n1, &n2);
        check_that(n1 == n2 && !memcmp(once, twice, n1), "NFC is its own NFC, text %d", i);
        free(once);
        free(twice);
    }
}

/* ---- Pieces --------------------------------------------------------------------------------- */

/* The pieces, each followed by |. */
static void pieces_are(bpe_family family, const char *s, const char *expected) {
    const char *to, *end = s + strlen(s);
    char got[400];
    size_t n = 0;
    for (const char *at = s; at < end; at = to) {
        to = unicode_piece(tables, family, at, end);
        if (to <= at || to > end) check_fatal("a piece is empty or leaves the text");
        memcpy(got + n, at, (size_t)(to - at));
        n += (size_t)(to - at);
        got[n++] = '|';
    }
    got[n] = 0;
    check_that(!strcmp(got, expected), "%s pieces: expected \"%s\", got \"%s\"",
               family == BPE_GPT2 ? "GPT-2" : "Qwen-3", expected, got);
}

static const struct { const char *text, *gpt2, *qwen3; } PIECES[] = {
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

static void test_pieces(void) {
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) {
        pieces_are(BPE_GPT2, PIECES[i].text, PIECES[i].gpt2);
        pieces_are(BPE_QWEN3, PIECES[i].text, PIECES[i].qwen3);
    }
}

int main(void) {
    tables = unicode_new();
    if (!tables) check_fatal("out of memory for the tables");
    test_utf8();
    test_classes();
    test_nfc();
    test_nfc_of_nfc();
    test_pieces();
    free(tables);
    return check_done();
}
