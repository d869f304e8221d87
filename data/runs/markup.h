/* markup.h: a text that grows, and any bytes as the text of markup.
 *
 * Owns: its memory, and what XML cannot hold. */
#ifndef MARKUP_H
#define MARKUP_H
#include <stddef.h>

typedef struct {
    char *text;
    size_t length, room;
    int failed;                        /* out of memory: the text is not whole */
} markup;
void markup_add(markup *, const char *format, ...);
/* Text within markup; what is no UTF-8, and control characters, as \xC3. */
void markup_text(markup *, const char *);
const char *markup_next(markup *, const char *at, const char *end);    /* one character; its end */
void markup_line(markup *, const char *tag, const char *);     /* <tag>, text, </tag>, line break */
void markup_free(markup *);

#endif
