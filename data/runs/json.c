/* json.c: see json.h. Values are written as they come; only the commas need a memory. */
#include "json.h"
#include "../tokenizers/unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Strings ------------------------------------------------------------------------------- */

static int hex_value(char c) {
    static const char digits[] = "0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* The byte that \xC3 at `at` stands for: one beyond ASCII, or a backslash. -1: there is none. */
static int escaped_byte(const char *at, const char *end) {
    if (end - at < 4 || at[0] != '\\' || at[1] != 'x') return -1;
    const int high = hex_value(at[2]), low = hex_value(at[3]), byte = 16 * high + low;
    return high >= 0 && low >= 0 && (byte >= 0x80 || byte == '\\') ? byte : -1;
}

enum { QUOTED = 16 };

/* The next character as a JSON string has it; returns how many bytes of the text it was. */
static size_t quote_next(const char *at, const char *end, char out[QUOTED]) {
    uint32_t c;
    const size_t n = unicode_next(at, end, &c);
    if (c >= UNICODE_BAD || escaped_byte(at, end) >= 0)
        snprintf(out, QUOTED, "\\\\x%02X", (unsigned)(unsigned char)*at);
    else if (c < 0x20) snprintf(out, QUOTED, "\\u%04x", (unsigned)c);
    else if (c == '"' || c == '\\') snprintf(out, QUOTED, "\\%c", *at);
    else {
        memcpy(out, at, n);
        out[n] = 0;
    }
    return n;
}

size_t json_quote(const char *text, size_t length, char *out, size_t size) {
    const char *end = text + length;
    size_t used = 0;
    for (const char *at = text; at < end; ) {
        char quoted[QUOTED];
        at += quote_next(at, end, quoted);
        for (const char *from = quoted; *from; from++, used++)
            if (used + 1 < size) out[used] = *from;
    }
    if (size) out[used < size ? used : size - 1] = 0;
    return used;
}

size_t json_unquote(dual_json string, char *out, size_t size) {
    if (dual_json_type(string) != '"') return SIZE_MAX;
    const size_t room = (size_t)(string.end - string.begin);
    char *text = malloc(room);
    if (!text) return SIZE_MAX;
    const char *end = text + dual_json_string(string, text, room);
    size_t used = 0;
    for (const char *at = text; at < end; used++) {
        const int byte = escaped_byte(at, end);
        if (used + 1 < size) out[used] = byte >= 0 ? (char)byte : *at;
        at += byte >= 0 ? 4 : 1;
    }
    if (size) out[used < size ? used : size - 1] = 0;
    free(text);
    return used;
}

/* ---- The document -------------------------------------------------------------------------- */

static void write_quoted(FILE *to, const char *text, size_t length) {
    fputc('"', to);
    for (const char *at = text; at < text + length; ) {
        char quoted[QUOTED];
        at += quote_next(at, text + length, quoted);
        fputs(quoted, to);
    }
    fputc('"', to);
}

static void break_line(const json_writer *j) {
    if (!j->flat) fprintf(j->to, "\n%*s", 2 * j->depth, "");
}

static void write_key(json_writer *j, const char *key) {
    if (j->depth && !j->first) fputs(j->flat ? ", " : ",", j->to);
    if (j->depth) break_line(j);
    j->first = 0;
    if (!key) return;
    write_quoted(j->to, key, strlen(key));
    fputs(": ", j->to);
}

json_writer json_begin(FILE *to) {
    const json_writer j = {to, 0, 0, 0};
    return j;
}

json_writer json_begin_line(FILE *to) {
    const json_writer j = {to, 0, 0, 1};
    return j;
}

void json_open(json_writer *j, const char *key, char bracket) {
    write_key(j, key);
    fputc(bracket, j->to);
    j->depth++;
    j->first = 1;
}

void json_close(json_writer *j, char bracket) {
    j->depth--;
    if (!j->first) break_line(j);
    j->first = 0;
    fputc(bracket, j->to);
    if (!j->depth) fputc('\n', j->to);
}

void json_number(json_writer *j, const char *key, double x) {
    write_key(j, key);
    if (isfinite(x)) fprintf(j->to, "%.10g", x);
    else fputs("null", j->to);
}

void json_text(json_writer *j, const char *key, const char *text) {
    json_bytes(j, key, text, strlen(text));
}

void json_bytes(json_writer *j, const char *key, const char *text, size_t length) {
    write_key(j, key);
    write_quoted(j->to, text, length);
}

void json_flag(json_writer *j, const char *key, int x) {
    write_key(j, key);
    fputs(x ? "true" : "false", j->to);
}
