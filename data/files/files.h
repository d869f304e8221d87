/* files.h: reading the files that a user names. Tasks, tokenizers and runs are built on this and on
 * dual.h.
 *
 * A function with (error, size) that fails writes one line there: where, what, and what was
 * expected. */
#ifndef FILES_H
#define FILES_H
#include <stddef.h>

/* The whole file in one block, a NUL after its last byte; the caller frees it. NULL: failed.
 * A file that itself holds a NUL byte is refused: no text does, and it would cut the text. */
char *data_read(const char *file, size_t *length, char *error, size_t size);
int data_has(const char *folder, const char *name);   /* 1: such a file can be opened there */
/* Any bytes as messages show them: the first 40, on one line. Returns out. */
const char *data_shown(const char *bytes, size_t length, char out[41]);

#endif
