/* json.c: see json.h. Values are written as they come; only the commas need a memory. */
#include "json.h"
#include "../../dual.h"
#include <math.h>
#include <string.h>

/* In pieces, so that a text of any length needs no memory. */
static void write_quoted(FILE *to, const char *text) {
    enum { PIECE = 64 };
    char piece[PIECE + 1], quoted[6 * PIECE + 9];
    size_t left = strlen(text);
    fputc('"', to);
    while (left) {
        const size_t n = left < PIECE ? left : PIECE;
        memcpy(piece, text, n);
        piece[n] = 0;
        dual_json_quote(piece, quoted, sizeof quoted);
        fputs(quoted, to);
        text += n;
        left -= n;
    }
    fputc('"', to);
}

static void write_key(json_writer *j, const char *key) {
    if (j->depth) fprintf(j->to, j->first ? "\n%*s" : ",\n%*s", 2 * j->depth, "");
    j->first = 0;
    if (!key) return;
    write_quoted(j->to, key);
    fputs(": ", j->to);
}

json_writer json_begin(FILE *to) {
    const json_writer j = {to, 0, 0};
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
    if (!j->first) fprintf(j->to, "\n%*s", 2 * j->depth, "");
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
    write_key(j, key);
    write_quoted(j->to, text);
}

void json_flag(json_writer *j, const char *key, int x) {
    write_key(j, key);
    fputs(x ? "true" : "false", j->to);
}
