/* test_files.c - safetensors and text, from a disk and to it: every number format read at every
 * alignment and held to its definition; what is no safetensors file is refused with a reason,
 * whatever is wrong with it; a failed write leaves the old file and nothing else.
 *
 *   cc -std=c99 -O2 tests/test_files.c dual.c -lm -o test_files && ./test_files [folder] */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64       /* as in dual.c: 2 GiB and more where a long has 32 bits */
#include "files.h"
#if POSIX
#include <signal.h>
#include <sys/resource.h>          /* a limit on the size of files is a full disk */
#include <unistd.h>
#endif

/* ---- number formats -------------------------------------------------------------------------- */

/* How many numbers of tensor `all` are read as another one than expected(pattern of i). */
static size_t count_misread(dual_file *f, const char *type, size_t n, double (*expected)(size_t)) {
    const size_t at = dual_file_find(f, "all");
    dual_real *got = new_bytes(n * sizeof *got);
    size_t wrong = 0;
    check_that(dual_file_read(&ctx, f, at, got), "%s: %s", type, ctx.error);
    for (size_t i = 0; i < n; i++) wrong += !same_number((double)got[i], expected(i));
    free(got);
    return wrong;
}

static double f16_value(size_t bits) {
    return ieee_value(bits, 5, 10);
}

static double bf16_value(size_t bits) {
    return ieee_value(bits, 8, 7);
}

/* All 65,536 patterns of a 16-bit type, in a file whose data start at an odd offset. */
static void sixteen_bits(const char *type, double (*expected)(size_t)) {
    enum { ALL = 65536 };
    unsigned char *data = new_bytes(2 * ALL + 1);
    data[0] = 7;
    for (size_t i = 0; i < ALL; i++) little_endian(data + 1 + 2 * i, i, 2);
    char header[200];
    snprintf(header, sizeof header,
             "{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
             "\"all\":{\"dtype\":\"%s\",\"shape\":[256,256],\"data_offsets\":[1,131073]}}", type);
    write_tensors(in("formats"), header, data, 2 * ALL + 1);
    dual_file *f = dual_file_open(&ctx, in("formats"));
    if (check_that(f != NULL, "%s: %s", type, ctx.error)) {
        const dual_entry e = dual_file_entry(f, dual_file_find(f, "all"));
        check_size(dual_file_count(f), 2, "%s: tensors", type);
        check_that(e.rows == 256 && e.cols == 256 && e.count == ALL && !strcmp(e.type, type) &&
                   !strcmp(e.name, "all"), "%s: expected the entry as written", type);
        check_size(count_misread(f, type, ALL, expected), 0, "%s: patterns read as another number",
                   type);
        check_size(dual_file_find(f, "al"), SIZE_MAX, "%s: a name that is not there", type);
        dual_file_close(f);
    }
    remove(in("formats"));
    free(data);
}

/* Wider types: chosen patterns, more of them than one chunk of the reader holds. */
enum { PATTERNS = 12, COUNT = PATTERNS * 3001 };

static const uint64_t f32_pattern[PATTERNS] = {
    0, 0x80000000u, 1, 0x007fffffu, 0x00800000u, 0x3f800000u, 0xbf800001u, 0x7f7fffffu,
    0x7f800000u, 0xff800000u, 0x7fc00000u, 0x40490fdbu};
static const uint64_t f64_pattern[PATTERNS] = {
    0, 0x8000000000000000u, 1, 0x3ff0000000000000u, 0xbff0000010000000u, 0x3ff0000010000001u,
    0x47efffffe0000000u, 0x7ff0000000000000u, 0xfff0000000000000u, 0x7ff8000000000000u,
    0x400921fb54442d18u, 0x36a0000000000000u};

static double f32_value(size_t i) {
    return (double)(dual_real)ieee_value(f32_pattern[i % PATTERNS], 8, 23);
}

static double f64_value(size_t i) {
    return (double)(dual_real)ieee_value(f64_pattern[i % PATTERNS], 11, 52);
}

/* The tensor begins `pad` bytes on; with a pad there is also a note. */
static void write_wide(const char *type, size_t bytes, const uint64_t *pattern, size_t pad) {
    const size_t size = bytes * COUNT;
    unsigned char *data = new_bytes(size + pad);
    for (size_t i = 0; i < COUNT; i++)
        little_endian(data + pad + bytes * i, pattern[i % PATTERNS], bytes);
    char header[300];
    if (pad)
        snprintf(header, sizeof header,
                 "{\"__metadata__\":{\"format\":\"pt\"},\"all\":{\"dtype\":\"%s\",\"shape\":[%d],"
                 "\"data_offsets\":[%d,%d]},\"pad\":{\"dtype\":\"U8\",\"shape\":[%d],"
                 "\"data_offsets\":[0,%d]}}", type, COUNT, (int)pad, (int)(pad + size), (int)pad,
                 (int)pad);
    else
        snprintf(header, sizeof header,
                 "{\"all\":{\"shape\":[%d],\"data_offsets\":[0,%d],\"dtype\":\"%s\"}} ", COUNT,
                 (int)size, type);
    write_tensors(in("formats"), header, data, pad + size);
    free(data);
}

/* At every alignment. */
static void wide_bits(const char *type, size_t bytes, const uint64_t *pattern,
                      double (*expected)(size_t)) {
    for (size_t pad = 0; pad < 4; pad++) {
        write_wide(type, bytes, pattern, pad);
        dual_file *f = dual_file_open(&ctx, in("formats"));
        if (!check_that(f != NULL, "%s, %d bytes on: %s", type, (int)pad, ctx.error)) continue;
        const dual_entry e = dual_file_entry(f, dual_file_find(f, "all"));
        check_that(e.rows == 1 && e.cols == COUNT, "%s: a vector is expected as [1,n]", type);
        check_size(count_misread(f, type, COUNT, expected), 0,
                   "%s, %d bytes on: numbers read differently", type, (int)pad);
        if (pad) {
            char note[8];
            check_size(dual_file_note(f, "format", note, sizeof note), 2, "metadata");
            check_that(!strcmp(note, "pt"), "metadata: expected pt, got %s", note);
        }
        dual_file_close(f);
    }
    remove(in("formats"));
}

static void test_formats(void) {
    sixteen_bits("F16", f16_value);
    sixteen_bits("BF16", bf16_value);
    wide_bits("F32", 4, f32_pattern, f32_value);
    wide_bits("F64", 8, f64_pattern, f64_value);
}

/* ---- what is no safetensors file ------------------------------------------------------------- */

#define TENSOR(name, type, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A_GOOD_ONE TENSOR("a", "F32", "[2,2]", "[0,16]")

static const char *const bad_header[] = {
    "", " ", "hello", "[]", "5", "null", "{", "{" A_GOOD_ONE, A_GOOD_ONE "}",
    "{" A_GOOD_ONE "} x", "{\"a\":5}", "{\"a\":[]}", "{\"a\":{}}",
    "{\"a\":{\"shape\":[2,2],\"data_offsets\":[0,16]}}",
    "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}",
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2]}}",
    "{\"a\":{\"dtype\":5,\"shape\":[2,2],\"data_offsets\":[0,16]}}",
    "{" TENSOR("a", "F32", "5", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[-2,-2]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[1.5,2]", "[0,12]") "}",
    "{" TENSOR("a", "F32", "[\"2\",2]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[2,3]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[1]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[4611686018427387908]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[9223372036854775809,2]", "[0,8]") "}",
    "{" TENSOR("a", "F32", "[1e300]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[0,1e300]", "[0,16]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "5") "}", "{" TENSOR("a", "F32", "[2,2]", "[]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[16]") "}", "{" TENSOR("a", "F32", "[2,2]", "[0]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[0,16,32]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[16,0]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[1,17]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[-16,0]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[0,\"16\"]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[0.5,16.5]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[18446744073709551600,18446744073709551616]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[18446744073709551608,8]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[9007199254740993,9007199254741009]") "}",
    "{" TENSOR("a", "F32", "[2,2]", "[0,1e400]") "}",
    "{" A_GOOD_ONE "," A_GOOD_ONE "}",
    "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("a", "F32", "[2]", "[8,16]") "}",
    "{" TENSOR("a", "F32", "[3]", "[0,12]") "," TENSOR("b", "F32", "[2]", "[8,16]") "}",
    "{" TENSOR("a", "F32", "[2]", "[8,16]") "," TENSOR("b", "F32", "[3]", "[0,12]") "}",
    "{" TENSOR("a", "F32", "[4]", "[0,16]") "," TENSOR("b", "F32", "[1]", "[4,8]") "}",
    "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[4,12]") "}",
    "{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[0,8]") "}",
    "{" TENSOR("a", "F32", "[4]", "[0,16]") "," TENSOR("b", "F32", "[2]", "[16,24]") "}"};

enum { DATA = 16 };                /* bytes of numbers behind each of these headers */
static const unsigned char no_data[DATA];

static void refuse_file(const char *path, const char *what) {
    dual_file *f = dual_file_open(&ctx, path);
    check_refused(&ctx, f != NULL, what);
    if (f) dual_file_close(f);
}

static void refuse_headers(void) {
    char what[300];
    write_tensors(in("bad"), "{" A_GOOD_ONE "}", no_data, DATA);
    dual_file *f = dual_file_open(&ctx, in("bad"));
    check_that(f != NULL, "the good header among the bad ones: %s", ctx.error);
    if (f) dual_file_close(f);
    for (size_t i = 0; i < sizeof bad_header / sizeof *bad_header; i++) {
        write_tensors(in("bad"), bad_header[i], no_data, DATA);
        snprintf(what, sizeof what, "header %s", bad_header[i]);
        refuse_file(in("bad"), what);
    }
}

/* A good header whose length is said to be another. */
static void refuse_lengths(void) {
    static const uint64_t length[] = {
        0, 1, 7, 65, 100, 100000000, 0x7fffffff, 0x80000000u, 0xffffffffu, 0x100000000u,
        0x7fffffffffffffffu, 0x8000000000000000u, 0xfffffffffffffff8u, 0xffffffffffffffffu};
    static const char header[] = "{" A_GOOD_ONE "}";
    const size_t n = sizeof header - 1;
    unsigned char bytes[200] = {0};
    char what[300];
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        little_endian(bytes, length[i], 8);
        memcpy(bytes + 8, header, n);
        check_write(in("bad"), bytes, 8 + n + DATA);
        snprintf(what, sizeof what, "header length 0x%lx of %lu", (unsigned long)length[i],
                 (unsigned long)n);
        if (length[i] != n) refuse_file(in("bad"), what);
    }
}

/* A type nobody knows may pass unread, but must not be read as something else. */
static void unknown_type(void) {
    write_tensors(in("bad"), "{" TENSOR("a", "Q9", "[2,2]", "[0,16]") "}", no_data, DATA);
    dual_file *f = dual_file_open(&ctx, in("bad"));
    if (!f) {
        check_refused(&ctx, 0, "unknown type");
        return;
    }
    dual_real out[4];
    check_refused(&ctx, dual_file_read(&ctx, f, 0, out), "unknown type, read");
    dual_file_close(f);
}

/* Every byte behind the header belongs to one tensor; empty tensors may stand anywhere between. */
static void covered(void) {
    static const struct { const char *header, *word; } file[] = {
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", "after the last tensor"},
        {"{" TENSOR("a", "F32", "[2]", "[8,16]") "}", "between tensors"},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[2]", "[8,16]") "}",
         "between tensors"},
        {"{" TENSOR("e", "F32", "[0]", "[4,4]") "," TENSOR("a", "F32", "[2,2]", "[0,16]") "}",
         "overlap"},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("e", "F32", "[0,3]", "[8,8]") ","
         TENSOR("b", "F32", "[2]", "[8,16]") "}", NULL},
        {"{" TENSOR("b", "F32", "[2]", "[8,16]") "," TENSOR("e", "F32", "[0,3]", "[8,8]") ","
         TENSOR("d", "F32", "[0]", "[0,0]") "," TENSOR("c", "F32", "[0]", "[16,16]") ","
         TENSOR("a", "F32", "[2]", "[0,8]") "}", NULL},
        {"{" TENSOR("a", "F8_E4M3FNUZ", "[4,4]", "[0,16]") "}", NULL}};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        write_tensors(in("bad"), file[i].header, no_data, DATA);
        dual_file *f = dual_file_open(&ctx, in("bad"));
        if (file[i].word) {
            check_that(f || strstr(ctx.error, file[i].word), "%s: expected \"%s\", got \"%s\"",
                       file[i].header, file[i].word, ctx.error);
            check_refused(&ctx, f != NULL, file[i].header);
        } else {
            check_that(f != NULL, "%s: %s", file[i].header, ctx.error);
        }
        dual_file_close(f);
    }
}

static void lfs_pointer(void) {
    write_text(in("bad"), "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n");
    check_that(!dual_file_open(&ctx, in("bad")) && strstr(ctx.error, "Git LFS"),
               "a pointer: expected Git LFS named, got \"%s\"", ctx.error);
}

/* Names and metadata larger than any buffer: no crash, whatever the answer. */
static void long_names(void) {
    enum { NOTE = 9000, NAME = 5000 };
    char *note = new_bytes(NOTE), *name = new_bytes(NAME), *header = new_bytes(30000);
    memset(note, 'v', NOTE);
    memset(name, 'n', NAME);
    snprintf(header, 30000, "{\"__metadata__\":{\"k\":\"%s\"},\"%s\":{\"dtype\":\"F32\","
             "\"shape\":[2,2],\"data_offsets\":[0,16]}}", note, name);
    write_tensors(in("bad"), header, no_data, DATA);
    dual_file *f = dual_file_open(&ctx, in("bad"));
    if (f) {
        char cut[10];
        check_that(strlen(dual_file_entry(f, 0).name) < 128, "a long name is cut");
        check_that(dual_file_note(f, "k", cut, sizeof cut) == NOTE && strlen(cut) == 9,
                   "a long note is cut");
        dual_file_close(f);
    } else {
        check_refused(&ctx, 0, "a name of 5,000 letters");
    }
    free(note);
    free(name);
    free(header);
}

/* More than 2 GiB, nearly all of it a hole: numbers beyond are found, on 32 bits too. */
static void beyond_two_gib(void) {
#if POSIX
    enum { PADS = 12 };
    const unsigned long pad = 200000000;
    const unsigned char numbers[8] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0};        /* 1, -2 */
    char header[2000] = "{";
    dual_real got[2] = {0, 0};
    for (unsigned long i = 0; i < PADS; i++)
        check_append(header, sizeof header, "\"p%lu\":{\"dtype\":\"U8\",\"shape\":[%lu],"
                     "\"data_offsets\":[%lu,%lu]},", i, pad, i * pad, (i + 1) * pad);
    check_append(header, sizeof header, "\"x\":{\"dtype\":\"F32\",\"shape\":[2],"
                 "\"data_offsets\":[%lu,%lu]}}", PADS * pad, PADS * pad + 8);
    write_tensors(in("large"), header, NULL, 0);
    FILE *f = fopen(in("large"), "ab");
    const off_t end = (off_t)(8 + strlen(header)) + (off_t)PADS * (off_t)pad;
    const int room = f && ftruncate(fileno(f), end) == 0 && fseeko(f, end, SEEK_SET) == 0 &&
                     fwrite(numbers, 1, 8, f) == 8;
    if (f && fclose(f)) check_fatal("a file of the test's own cannot be closed");
    dual_file *large = room ? dual_file_open(&ctx, in("large")) : NULL;
    if (!room) printf("skipped: a file of more than 2 GiB, there is no room for it\n");
    else if (check_that(large != NULL, "more than 2 GiB: %s", ctx.error)) {
        check_that(dual_file_read(&ctx, large, dual_file_find(large, "x"), got) && got[0] == 1 &&
                   got[1] == -2, "more than 2 GiB: expected 1, -2, got %g, %g", (double)got[0],
                   (double)got[1]);
        dual_file_close(large);
    }
    remove(in("large"));
#endif
}

static void test_bad_files(void) {
    refuse_headers();
    refuse_lengths();
    unknown_type();
    covered();
    lfs_pointer();
    beyond_two_gib();
    long_names();
    refuse_file(in("nothing here"), "no such file");
    refuse_file(folder, "a folder as file");
    check_write(in("bad"), "", 0);
    refuse_file(in("bad"), "an empty file");
    remove(in("bad"));
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A file may be 100 bytes long while there is no room. */
static void no_room(int on) {
#if POSIX
    static struct rlimit before;
    if (on) {
        signal(SIGXFSZ, SIG_IGN);  /* a write then fails instead of killing */
        getrlimit(RLIMIT_FSIZE, &before);
        struct rlimit limit = before;
        limit.rlim_cur = 100;
        setrlimit(RLIMIT_FSIZE, &limit);
    } else {
        setrlimit(RLIMIT_FSIZE, &before);
    }
#else
    (void)on;
#endif
}

enum { LONG_TEXT = 5000 };

/* What is written over: files of their old bytes, and a model in a folder. */
typedef struct {
    dual_model *model;
    const dual_param *large[1];
    char text[LONG_TEXT];
} written;

static int write_large_tensor(const written *w) {
    return dual_file_save(&ctx, in("keep.safetensors"), 1, w->large, NULL);
}

static int write_long_text(const written *w) {
    return dual_text_save(&ctx, in("keep.txt"), w->text, LONG_TEXT);
}

static int write_model(const written *w) {
    fill_model(w->model, 8);
    return dual_model_save(&ctx, w->model, in("model"), NULL);
}

/* A refused write leaves the old bytes, and no file more than before. */
static void on_full_disk(int (*write)(const written *), const written *w, const char *name,
                         const char *what) {
    size_t n, now;
    const size_t entries = count_entries(folder);
    unsigned char *old = read_bytes(in(name), &n);
    no_room(1);
    const int accepted = write(w);
    no_room(0);
    check_refused(&ctx, accepted, what);
    unsigned char *bytes = read_bytes(in(name), &now);
    check_that(now == n && !memcmp(bytes, old, n), "%s: expected the old file", what);
    check_size(count_entries(folder), entries, "%s: entries in the folder", what);
    free(old);
    free(bytes);
}

static void write_to_wrong_places(const written *w) {
    const size_t entries = count_entries(folder);
    check_refused(&ctx, dual_file_save(&ctx, in("no such/x.safetensors"), 1, w->large, NULL),
                  "safetensors into a folder that is not there");
    check_refused(&ctx, dual_text_save(&ctx, in("no such/x.txt"), "a", 1),
                  "text into a folder that is not there");
    check_refused(&ctx, dual_file_save(&ctx, in("model"), 1, w->large, NULL),
                  "safetensors over a folder");
    check_refused(&ctx, dual_text_save(&ctx, in("model"), "a", 1), "text over a folder");
    check_refused(&ctx, dual_model_save(&ctx, w->model, in("keep.txt"), NULL),
                  "a model over a file");
    check_size(count_entries(folder), entries, "refused writes: entries in the folder");
}

static void test_writing(void) {
    const dual_config shape = small_config(DUAL_GPT2, 1);
    const dual_param small = {.name = "x", .tensor = check_random(&ctx, 1, 2, 2)};
    const dual_param large = {.name = "x", .tensor = check_random(&ctx, 40, 50, 1)};
    const dual_param *const list[] = {&small};
    written w = {.model = dual_model_new(&ctx, &shape), .large = {&large}};
    memset(w.text, 'y', sizeof w.text);
    check_that(dual_file_save(&ctx, in("keep.safetensors"), 1, list, NULL), "%s", ctx.error);
    check_that(dual_text_save(&ctx, in("keep.txt"), "old", 3), "%s", ctx.error);
    data_make_folder(in("model"));
    check_that(dual_model_save(&ctx, w.model, in("model"), NULL), "%s", ctx.error);
    write_to_wrong_places(&w);
    if (POSIX) {
        const size_t inside = count_entries(in("model"));
        on_full_disk(write_large_tensor, &w, "keep.safetensors", "safetensors on a full disk");
        on_full_disk(write_long_text, &w, "keep.txt", "text on a full disk");
        on_full_disk(write_model, &w, "model/model.safetensors", "a model on a full disk");
        check_size(count_entries(in("model")), inside,
                   "a model on a full disk: entries in its folder");
    } else {
        printf("no POSIX: the full disk skipped\n");
    }
    remove_model("model");
    remove(in("keep.safetensors"));
    remove(in("keep.txt"));
}

/* ---- text and folders ------------------------------------------------------------------------ */

static int exists(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

static void test_text(void) {
    static const char bytes[] = "one\0two\r\n\xff";
    size_t n = 5;
    check_that(dual_text_save(&ctx, in("text"), bytes, sizeof bytes), "%s", ctx.error);
    char *back = dual_text_read(&ctx, in("text"), &n);
    check_that(back && n == sizeof bytes && !memcmp(back, bytes, n) && back[n] == 0,
               "text: expected every byte back, and a NUL behind them");
    free(back);
    check_that(dual_text_save(&ctx, in("text"), "", 0), "%s", ctx.error);
    back = dual_text_read(&ctx, in("text"), &n);
    check_that(back && n == 0 && back[0] == 0, "text: expected an empty file");
    free(back);
    remove(in("text"));
    check_refused(&ctx, dual_text_read(&ctx, in("text"), &n) != NULL, "no text file");
    check_refused(&ctx, dual_text_read(&ctx, folder, &n) != NULL, "a folder as text");
}

/* Steps a second need a clock that is finer than one. */
static void test_clock(void) {
#if POSIX || defined(_WIN32)
    const double start = data_seconds();
    double now = start;
    while (now == start) now = data_seconds();
    check_that(now > start && now < start + 0.5, "clock: expected ticks, got %g s", now - start);
#endif
}

static void test_folders(void) {
    check_that(data_make_folder(in("deep/er/still")) && data_make_folder(in("deep/er/still")) &&
               data_make_folder(in("deep/")), "folders: expected parents too, and again");
    check_that(dual_text_save(&ctx, in("deep/er/still/file"), "x", 1), "%s", ctx.error);
    check_that(!data_make_folder(in("deep/er/still/file")), "folders: not over a file");
    check_that(!data_make_folder(in("deep/er/still/file/under")), "folders: not below a file");
    remove(in("deep/er/still/file"));
    remove(in("deep/er/still"));
    remove(in("deep/er"));
    remove(in("deep"));
    check_that(!exists(in("deep")), "text: expected nothing left");
}

int main(int argc, char **argv) {
    void *memory = files_begin(argc, argv, "test_files");
    test_formats();
    test_bad_files();
    test_writing();
    test_text();
    test_folders();
    test_clock();
    return files_end(memory);
}
