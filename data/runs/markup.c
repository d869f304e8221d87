/* markup.c: see markup.h. */
#include "markup.h"
#include "../tokenizers/unicode.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int grow(markup *p, size_t more) {
    if (p->length + more >= p->room && !p->failed) {
        const size_t room = 2 * p->room + more + 4096;
        char *grown = realloc(p->text, room);
        p->failed = !grown;
        if (grown) {
            p->text = grown;
            p->room = room;
        }
    }
    return !p->failed;
}

void markup_add(markup *p, const char *format, ...) {
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    const int n = vsnprintf(NULL, 0, format, list);
    if (n >= 0 && grow(p, (size_t)n + 1))
        p->length += (size_t)vsnprintf(p->text + p->length, (size_t)n + 1, format, again);
    va_end(again);
    va_end(list);
}

/* XML has no place for what is no character, and for most control characters. */
const char *markup_next(markup *p, const char *at, const char *end) {
    uint32_t c;
    const size_t n = unicode_next(at, end, &c);
    if (c < 0x20 || c >= UNICODE_BAD || c == 0xFFFE || c == 0xFFFF) {
        markup_add(p, "\\x%02X", (unsigned)(unsigned char)*at);
        return at + 1;
    }
    if (c < 128 && strchr("<>&\"'", (int)c)) markup_add(p, "&#%u;", (unsigned)c);
    else markup_add(p, "%.*s", (int)n, at);
    return at + n;
}

void markup_text(markup *p, const char *text) {
    for (const char *at = text, *end = text + strlen(text); at < end;) at = markup_next(p, at, end);
}

void markup_line(markup *p, const char *tag, const char *text) {
    markup_add(p, "<%s>", tag);
    markup_text(p, text);
    markup_add(p, "</%s>\n", tag);
}

void markup_free(markup *p) {
    free(p->text);
    memset(p, 0, sizeof *p);
}
