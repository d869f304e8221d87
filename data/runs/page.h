/* page.h: a text that grows, and any bytes as the text of markup.
 *
 * Owns: its memory, and what XML cannot hold. */
#ifndef PAGE_H
#define PAGE_H
#include <stddef.h>

typedef struct {
    char *text;
    size_t length, room;
    int failed;                        /* out of memory: the text is not whole */
} page;
void page_add(page *, const char *format, ...);
/* Text within markup; what is no UTF-8, and control characters, as \xC3. */
void page_text(page *, const char *);
const char *page_next(page *, const char *at, const char *end);    /* one character; its end */
void page_line(page *, const char *tag, const char *);     /* <tag>, text, </tag>, line break */
void page_free(page *);

#endif
