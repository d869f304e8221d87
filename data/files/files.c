/* files.c: see files.h. */
#include "files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../dual.h"

char *data_read(const char *file, size_t *length, char *error, size_t size) {
    dual_ctx c;                        /* for its line about an error */
    char *text;

    dual_init(&c, NULL, 0);
    text = dual_text_read(&c, file, length);
    if (text && memchr(text, 0, *length)) {
        dual_failed(&c, "%s: holds a NUL byte, expected text", file);
        free(text);
        text = NULL;
    }
    if (!text)
        snprintf(error, size, "%s", c.error);
    return text;
}

int data_has(const char *folder, const char *name) {
    char path[1100];
    FILE *stream = NULL;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path)
        stream = fopen(path, "rb");
    if (stream)
        fclose(stream);
    return stream != NULL;
}

const char *data_shown(const char *bytes, size_t length, char out[41]) {
    size_t i;

    for (i = 0; i < length && i < 40; i++)
        out[i] = (unsigned char)bytes[i] < 32 ? '?' : bytes[i];
    out[i] = 0;
    return out;
}
