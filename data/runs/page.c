/* page.c: see page.h. */
#include "page.h"
#include "../tokenizers/unicode.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int grow(page *p, size_t more) {
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

void page_add(page *p, const char *format, ...) {
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
const char *page_next(page *p, const char *at, const char *end) {
    uint32_t c;
    const size_t n = unicode_next(at, end, &c);
    if (c < 0x20 || c >= UNICODE_BAD || c == 0xFFFE || c == 0xFFFF) {
        page_add(p, "\\x%02X", (unsigned)(unsigned char)*at);
        return at + 1;
    }
    if (c < 128 && strchr("<>&\"'", (int)c)) page_add(p, "&#%u;", (unsigned)c);
    else page_add(p, "%.*s", (int)n, at);
    return at + n;
}

void page_text(page *p, const char *text) {
    for (const char *at = text, *end = text + strlen(text); at < end;) at = page_next(p, at, end);
}

void page_line(page *p, const char *tag, const char *text) {
    page_add(p, "<%s>", tag);
    page_text(p, text);
    page_add(p, "</%s>\n", tag);
}

void page_free(page *p) {
    free(p->text);
    memset(p, 0, sizeof *p);
}
