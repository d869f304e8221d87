/* json.c - says whether a file is one valid JSON object in UTF-8, for the drivers' test. */
#include <stdio.h>
#include <stdlib.h>
#include "../data/tokenizers/unicode.h"
#include "../dual.h"

static int is_utf8(const char *text, size_t length) {
    uint32_t c = 0;
    for (size_t at = 0; c < UNICODE_BAD && at < length; )
        at += unicode_next(text + at, text + length, &c);
    return c < UNICODE_BAD;
}

int main(int argc, char **argv) {
    dual_ctx c;
    size_t length = 0;
    dual_init(&c, NULL, 0);
    char *text = argc > 1 ? dual_text_read(&c, argv[1], &length) : NULL;
    const char *wrong = NULL;
    if (!text || dual_json_type(dual_json_text(text, length)) != '{') wrong = "not JSON";
    else if (!is_utf8(text, length)) wrong = "not UTF-8";
    puts(wrong ? wrong : "valid");
    free(text);
    return wrong != NULL;
}
