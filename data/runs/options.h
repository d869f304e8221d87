/* options.h: a table of options, and the parser, the help and the printing that follow from it.
 *
 *     options_defaults(TABLE, &settings);
 *     if (!options_parse(TABLE, &settings, argc, argv, words, &n, max, given, error, sizeof error))
 *         return puts(error);
 *
 * Knows no option of its own: settings.h has those of a run, eval.c those of its commands. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include <stddef.h>

/* TEXT is copied into the settings. ARGUMENT is text of any length: a pointer to the word of the
 * command line, NULL where the option is not given. */
typedef enum { OPTION_TEXT, OPTION_ARGUMENT, OPTION_SIZE, OPTION_REAL, OPTION_FLAG } option_kind;
/* Whether run.json holds it. FIXED: it changes results, so a resumed run must keep it. FREE: a
 * resumed run may choose another value. */
typedef enum { UNSAVED, FIXED, FREE } option_saved;
typedef struct {
    const char *name;              /* without the dashes; NULL ends a table, "" opens a heading */
    option_kind kind;
    size_t offset, room;           /* where in the settings; room of a text */
    const char *otherwise;         /* default, as text; ARGUMENT: NULL */
    const char *help;
    option_saved saved;
} option;

/* The kind, place and room of a field, for a row of a table. */
#define OPTION_AT(kind, settings, field) \
    kind, offsetof(settings, field), sizeof ((settings *)0)->field

void options_defaults(const option *, void *settings);
/* GNU style: --name value, --name=value, --flag; other words go to rest (at most max_rest).
 * Returns 1, or 0 with one line in error: what, where, the nearest option's name. given[i] (may be
 * NULL) becomes 1 for every option that was set. */
int options_parse(const option *, void *settings, int argc, char **argv, const char **rest,
                  size_t *n_rest, size_t max_rest, unsigned char *given, char *error, size_t size);
int option_set(const option *, void *settings, const char *value, char *error, size_t size);
void option_print(const option *, const void *settings, char *out, size_t size);
void options_help(const option *);                  /* to stdout, every default shown */
/* The place of a word among those of a list with one blank between them. -1: it is none of them. */
int options_word(const char *word, const char *list);
const char *options_nearest(const option *, const char *word);    /* the name spelled most alike */

#endif
