/* json.c - says whether a file is one valid JSON object, for the drivers' test. */
#include <stdio.h>
#include <stdlib.h>
#include "../dual.h"

int main(int argc, char **argv) {
    dual_ctx c;
    size_t length = 0;
    dual_init(&c, NULL, 0);
    char *text = argc > 1 ? dual_text_read(&c, argv[1], &length) : NULL;
    const int good = text && dual_json_type(dual_json_text(text, length, NULL, 0)) == '{';
    puts(good ? "valid" : "not JSON");
    free(text);
    return !good;
}
