/* text.c: plain text. A file is one document, or rows of JSON with "text"; a folder stands for its
 * files in the order of their names. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#define HAVE_FOLDERS 1
#else
#define HAVE_FOLDERS 0
#endif
#include "tasks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *text_read(task_set *set, dual_json row) {
    char *text = task_string(dual_json_get(row, "text"));
    int fine;
    if (!text)
        return "expected \"text\", a string";
    if (!*text) {
        free(text);
        return "\"text\" is empty";
    }
    fine = task_put(set, text, strlen(text)) && task_put(set, "", 0);
    free(text);
    return fine ? task_close_row(set, 0) : TASK_MEMORY;
}

int text_is_rows(const char *file) {
    const char *dot = strrchr(file, '.');
    return dot && (!strcmp(dot, ".json") || !strcmp(dot, ".jsonl"));
}

#if HAVE_FOLDERS
static int is_text_file(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && *name != '.' && (!strcmp(dot, ".txt") || text_is_rows(name));
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends "path/name" to the list. */
static int add_file(text_files *list, const char *path, const char *name) {
    void *names = list->name;
    const int room = task_grow(&names, &list->room, list->n + 1, sizeof *list->name);
    list->name = names;
    char *file = room ? malloc(strlen(path) + strlen(name) + 2) : NULL;
    if (!file) return 0;
    sprintf(file, "%s/%s", path, name);
    list->name[list->n++] = file;
    return 1;
}

int text_folder(const char *path, text_files *list) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    int fine = 1;
    memset(list, 0, sizeof *list);
    if (!folder) return -1;
    while (fine && (entry = readdir(folder)) != NULL)
        if (is_text_file(entry->d_name)) fine = add_file(list, path, entry->d_name);
    closedir(folder);
    if (list->n) qsort(list->name, list->n, sizeof *list->name, compare_names);
    return fine;
}
#else
int text_folder(const char *path, text_files *list) {
    (void)path;
    memset(list, 0, sizeof *list);
    return -1;
}
#endif

void text_files_free(text_files *list) {
    for (size_t i = 0; i < list->n; i++) free(list->name[i]);
    free(list->name);
}
