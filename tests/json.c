/* tests/json.c: says whether a file is one valid JSON text, for the drivers' test. */
#include "../dual.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    dual_ctx c;
    size_t n = 0;
    dual_init(&c, NULL, 0);
    char *text = argc > 1 ? dual_text_read(&c, argv[1], &n) : NULL;
    const int good = text && dual_json_type(dual_json_text(text, n)) == '{';
    puts(good ? "valid" : "not JSON");
    free(text);
    return !good;
}
