/* options.c: see options.h. */
#include "options.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *field_of(const option *o, void *settings) { return (char *)settings + o->offset; }

int option_set(const option *o, void *settings, const char *value, char *error, size_t size) {
    char *end;
    void *at = field_of(o, settings);
    if (o->kind == OPTION_TEXT) {
        if ((size_t)snprintf(at, o->room, "%s", value) < o->room) return 1;
        snprintf(error, size, "--%s: longer than %zu characters", o->name, o->room - 1);
        return 0;
    }
    if (o->kind == OPTION_ARGUMENT) {
        *(const char **)at = value;
        return 1;
    }
    const double x = strtod(value, &end);
    int good = end != value && *end == 0 && x >= 0 && x <= 1e15;
    if (o->kind != OPTION_REAL) good = good && x == floor(x);
    if (o->kind == OPTION_FLAG) good = good && x <= 1;
    if (!good) {
        snprintf(error, size, "--%s: \"%.40s\" is not a %s from 0 on", o->name, value,
                 o->kind == OPTION_REAL ? "number" : "whole number");
        return 0;
    }
    if (o->kind == OPTION_SIZE && x > (double)SIZE_MAX) {
        snprintf(error, size, "--%s: more than this machine counts to, %lu", o->name,
                 (unsigned long)SIZE_MAX);
        return 0;
    }
    if (o->kind == OPTION_SIZE) *(size_t *)at = (size_t)x;
    else if (o->kind == OPTION_FLAG) *(int *)at = (int)x;
    else *(double *)at = x;
    return 1;
}

void option_print(const option *o, const void *settings, char *out, size_t size) {
    const void *at = (const char *)settings + o->offset;
    if (o->kind == OPTION_TEXT) snprintf(out, size, "%s", (const char *)at);
    else if (o->kind == OPTION_SIZE) snprintf(out, size, "%zu", *(const size_t *)at);
    else if (o->kind == OPTION_FLAG) snprintf(out, size, "%d", *(const int *)at);
    else {                             /* the shortest that reads back as the same number */
        snprintf(out, size, "%.15g", *(const double *)at);
        if (strtod(out, NULL) != *(const double *)at)
            snprintf(out, size, "%.17g", *(const double *)at);
    }
}

void options_defaults(const option *table, void *settings) {
    char error[80];
    for (const option *o = table; o->name; o++)
        if (*o->name) option_set(o, settings, o->otherwise, error, sizeof error);
}

int options_word(const char *word, const char *list) {
    const size_t n = strlen(word);
    for (int i = 0;; i++) {
        const size_t length = strcspn(list, " ");
        if (length == n && !memcmp(list, word, n)) return i;
        if (!list[length]) return -1;
        list += length + 1;
    }
}

/* Levenshtein distance of two short words, for "did you mean". */
static size_t distance(const char *a, const char *b) {
    size_t row[40];
    const size_t n = strlen(b);
    if (n >= 40) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (*a != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static const option *find_option(const option *table, const char *name, size_t length,
                                 const char **nearest) {
    char word[64];
    size_t best = SIZE_MAX;
    *nearest = "help";
    snprintf(word, sizeof word, "%.*s", (int)(length < 60 ? length : 60), name);
    for (const option *o = table; o->name; o++) {
        if (!*o->name) continue;
        if (!strcmp(o->name, word)) return o;
        if (distance(word, o->name) < best) {
            best = distance(word, o->name);
            *nearest = o->name;
        }
    }
    return NULL;
}

const char *options_nearest(const option *table, const char *word) {
    const char *nearest;
    const option *o = find_option(table, word, strlen(word), &nearest);
    return o ? o->name : nearest;
}

int options_parse(const option *table, void *settings, int argc, char **argv, const char **rest,
                  size_t *n_rest, size_t max_rest, unsigned char *given, char *error, size_t size) {
    *n_rest = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *nearest;
        if (strncmp(a, "--", 2)) {
            if (*n_rest == max_rest) {
                snprintf(error, size, "\"%.60s\" is one word too many; options start with --", a);
                return 0;
            }
            rest[(*n_rest)++] = a;
            continue;
        }
        const char *equals = strchr(a, '=');
        const option *o = find_option(table, a + 2, equals ? (size_t)(equals - a - 2)
                                                           : strlen(a + 2), &nearest);
        if (!o) {
            snprintf(error, size, "unknown option %.60s; did you mean --%s? (--help lists all)", a,
                     nearest);
            return 0;
        }
        const char *value = NULL;
        if (equals) value = equals + 1;
        else if (o->kind == OPTION_FLAG) value = "1";
        else if (i + 1 < argc) value = argv[++i];
        if (!value) {
            snprintf(error, size, "--%s wants a value: %s", o->name, o->help);
            return 0;
        }
        if (!option_set(o, settings, value, error, size)) return 0;
        if (given) given[o - table] = 1;
    }
    return 1;
}

/* In the order of option_kind. */
static const char *const VALUE_NAMES[] = {" TEXT", " TEXT", " N", " X", ""};

void options_help(const option *table) {
    for (const option *o = table; o->name; o++) {
        char word[40];
        if (!*o->name) {
            printf("\n%s\n", o->help);
            continue;
        }
        snprintf(word, sizeof word, "--%s%s", o->name, VALUE_NAMES[o->kind]);
        printf("  %-22s %s", word, o->help);
        if (o->kind != OPTION_FLAG && o->otherwise) printf(" [%s]", o->otherwise);
        printf("\n");
    }
}
