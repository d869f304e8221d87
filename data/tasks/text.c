/* text.c: plain text, a document a row. A file is one document or holds objects with "text"; a
 * folder stands for the text files in it. */
#if defined(__unix__) || defined(__APPLE__) || defined(__wasi__) || defined(__MINGW32__)
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64   /* or readdir fails on large file systems where a long has 32 bits */
#include <dirent.h>
#define HAVE_FOLDERS
#endif
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../files/files.h"
#include "tasks.h"

static const char *read_object(task_set *set, dual_json row) {
    char *text;
    const char *wrong = task_field(set, row, "text", &text);
    if (wrong) return wrong;
    const int empty = !*text;
    const int fine = !empty && task_put(set, text, strlen(text)) && task_put(set, "", 0);
    free(text);
    if (empty) return "\"text\" is empty";
    return fine ? task_done(set, 0) : TASK_NO_MEMORY;
}

/* The whole file as one row; an empty file is none. */
static int read_document(const char *file, task_set *set, char *error, size_t size) {
    size_t length;
    char *text = data_read(file, &length, error, size);
    if (!text) return 0;
    const int fine = !length || (task_put(set, text, length) && task_put(set, "", 0) &&
                                 task_close(set, 0));
    free(text);
    if (!fine) snprintf(error, size, "%s: %s", file, TASK_NO_MEMORY);
    return fine;
}

/* The ending is in small letters; the name's may be in any. */
static int ends_with(const char *name, const char *ending) {
    const char *dot = strrchr(name, '.');
    if (!dot) return 0;
    while (*ending && tolower((unsigned char)*dot) == *ending) {
        dot++;
        ending++;
    }
    return !*dot && !*ending;
}

static int has_rows(const char *name) {
    return ends_with(name, ".json") || ends_with(name, ".jsonl");
}

static int read_file(const char *file, int skip, task_set *set, char *error, size_t size) {
    if (!has_rows(file)) return read_document(file, set, error, size);
    return task_read_rows(file, skip, read_object, NULL, set, error, size);
}

/* ---- Folders ------------------------------------------------------------------------------- */

#ifdef HAVE_FOLDERS
typedef struct { char **path; size_t n; } file_list;

/* 0: out of memory. */
static int add_file(file_list *files, const char *folder, const char *name) {
    char **grown = realloc(files->path, (files->n + 1) * sizeof *grown);
    if (!grown) return 0;
    files->path = grown;
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    if (!path) return 0;
    sprintf(path, "%s/%s", folder, name);
    files->path[files->n++] = path;
    return 1;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a folder holds. 0: out of memory. */
static int list_folder(DIR *folder, const char *path, file_list *texts, file_list *others) {
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (*name == '.') continue;
        const int is_text = ends_with(name, ".txt") || has_rows(name);
        if (!add_file(is_text ? texts : others, path, name)) return 0;
    }
    return 1;
}

static void free_files(file_list *files) {
    for (size_t i = 0; i < files->n; i++) free(files->path[i]);
    free(files->path);
}

static void refuse_folder(const char *path, const file_list *others, char *error, size_t size) {
    size_t folders = 0;
    for (size_t i = 0; i < others->n; i++) {
        DIR *inner = opendir(others->path[i]);
        folders += inner != NULL;
        if (inner) closedir(inner);
    }
    const size_t files = others->n - folders;
    snprintf(error, size, "%.200s: no .txt, .json or .jsonl file in it, only %zu other file%s and "
             "%zu folder%s; what lies in those is not read", path, files, files == 1 ? "" : "s",
             folders, folders == 1 ? "" : "s");
}

/* -1: `path` is no folder. The files come in the order of their names: the file system's own is
 * another one on every machine. */
static int read_folder(const char *path, int skip, task_set *set, char *error, size_t size) {
    DIR *folder = opendir(path);
    if (!folder) return -1;
    file_list texts = {NULL, 0}, others = {NULL, 0};
    const int listed = list_folder(folder, path, &texts, &others);
    int fine = listed && texts.n;
    closedir(folder);
    if (!listed) snprintf(error, size, "%s: %s", path, TASK_NO_MEMORY);
    else if (!fine) refuse_folder(path, &others, error, size);
    if (texts.n) qsort(texts.path, texts.n, sizeof *texts.path, compare_paths);
    for (size_t i = 0; fine && i < texts.n; i++)
        fine = read_file(texts.path[i], skip, set, error, size);
    free_files(&texts);
    free_files(&others);
    return fine;
}
#endif

int text_read(const char *path, int skip, task_set *set, char *error, size_t size) {
#ifdef HAVE_FOLDERS
    const int fine = read_folder(path, skip, set, error, size);
    if (fine >= 0) return fine;
#endif
    return read_file(path, skip, set, error, size);
}
