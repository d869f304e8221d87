/* system.c: see system.h. POSIX and Windows; elsewhere folders must exist and seconds are whole. */
#if defined(__unix__) || defined(__APPLE__) || defined(__wasi__)
#define SYSTEM_POSIX
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#define _FILE_OFFSET_BITS 64   /* or stat fails on large file systems where a long has 32 bits */
#endif
#include "system.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#ifdef SYSTEM_POSIX
#include <sys/stat.h>
#include <sys/types.h>
#define IS_FOLDER(mode) S_ISDIR(mode)
#define IS_FILE(mode) S_ISREG(mode)
#elif defined(_WIN32)
#include <direct.h>
#include <sys/stat.h>
#include <sys/types.h>
#define mkdir(path, mode) _mkdir(path)
#define IS_FOLDER(mode) (((mode) & S_IFMT) == S_IFDIR)
#define IS_FILE(mode) (((mode) & S_IFMT) == S_IFREG)
#endif

static double clock_now(void) {
#ifdef SYSTEM_POSIX
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#elif defined(_WIN32)
    return (double)clock() / CLOCKS_PER_SEC;   /* there it is the wall clock */
#else
    return (double)time(NULL);
#endif
}

double data_never_back(double clock) {
    static double shift, last;
    if (clock + shift < last) shift = last - clock;
    return last = clock + shift;
}

double data_seconds(void) { return data_never_back(clock_now()); }

static int make_one_folder(const char *path) {
#ifdef IS_FOLDER
    struct stat s;
    return mkdir(path, 0777) == 0 ||
           (errno == EEXIST && stat(path, &s) == 0 && IS_FOLDER(s.st_mode));
#else
    (void)path;                /* no way to make one: the first file written there will tell */
    return 1;
#endif
}

int data_make_folder(const char *path) {
    char part[1024];
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return 0;
    for (size_t i = 1; i < n; i++)
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            make_one_folder(part);
        }
    return make_one_folder(path);
}

int data_is_special(const char *path) {
#ifdef IS_FILE
    struct stat s;
    return stat(path, &s) == 0 && !IS_FILE(s.st_mode);
#else
    (void)path;
    return 0;
#endif
}
