/* json.h: writes one JSON document to a stream, value by value, indented by two blanks a level, and
 * the strings in it and in run.json.
 *
 *     json_writer j = json_begin(stdout);
 *     json_open(&j, NULL, '{');
 *     json_number(&j, "loss", 0.25);
 *     json_close(&j, '}');                     // and a line break after the outermost bracket
 *
 * Owns commas, line breaks and quoting. That brackets match and keys differ is up to the caller.
 * key NULL: inside an array, or the whole document. JSON is read by dual.h. */
#ifndef JSON_H
#define JSON_H
#include "../../dual.h"
#include <stdio.h>

typedef struct {
    FILE *to;
    int depth, first;              /* first: nothing was written since the last bracket opened */
    int flat;                      /* all on one line */
} json_writer;

json_writer json_begin(FILE *), json_begin_line(FILE *);
void json_open(json_writer *, const char *key, char bracket);
void json_close(json_writer *, char bracket);
void json_number(json_writer *, const char *key, double);     /* NaN, infinite: null */
void json_text(json_writer *, const char *key, const char *);
void json_bytes(json_writer *, const char *key, const char *text, size_t length);
void json_flag(json_writer *, const char *key, int);          /* true, false */

/* Any bytes as the inside of a JSON string, which is UTF-8. A byte that is none becomes the four
 * characters \xC3; so does the \ of what would read as such an escape: \x5CxC3. All else stays the
 * text it is, a NUL is \u0000. As snprintf; 6 * length + 1 always suffice. */
size_t json_quote(const char *text, size_t length, char *out, size_t size);
/* A string's bytes as json_quote was given them, as snprintf. SIZE_MAX: no string, or no memory. */
size_t json_unquote(dual_json, char *out, size_t size);

#endif
