/* files.c: see files.h. */
#include "files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../dual.h"

char *data_read(const char *file, size_t *length, char *error, size_t size) {
    dual_ctx c;                        /* for its line about an error */
    dual_init(&c, NULL, 0);
    char *text = dual_text_read(&c, file, length);
    if (text && !strncmp(text, "version https://git-lfs.", 24)) {
        dual_failed(&c, "%s: a Git LFS pointer, not the file itself: git lfs pull fetches that",
                    file);
        free(text);
        text = NULL;
    }
    if (text && memchr(text, 0, *length)) {
        dual_failed(&c, "%s: holds a NUL byte, expected text", file);
        free(text);
        text = NULL;
    }
    if (!text) snprintf(error, size, "%s", c.error);
    return text;
}

int data_has(const char *folder, const char *name) {
    char path[1100];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return 0;
    FILE *stream = fopen(path, "rb");
    if (stream) fclose(stream);
    return stream != NULL;
}

const char *data_shown(const char *bytes, size_t length, char out[41]) {
    const size_t n = length < 40 ? length : 40;
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)bytes[i] < 32 ? '?' : bytes[i];
    out[n] = 0;
    return out;
}
