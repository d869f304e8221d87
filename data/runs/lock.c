/* lock.c: see lock.h. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#define HAS_LOCKS 1
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#define HAS_LOCKS 0
#endif
#include "lock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if HAS_LOCKS
enum { PATH_MOST = 600 };
static struct { char path[PATH_MOST]; int file; } held[RUN_LOCKS];
static size_t n_held;

/* The whole file, for one writer. */
static struct flock whole(void) {
    struct flock l;
    memset(&l, 0, sizeof l);
    l.l_type = F_WRLCK;
    l.l_whence = SEEK_SET;
    return l;
}

/* Whether the open file is still the one of that name. */
static int has_name(int file, const char *path) {
    struct stat opened, named;
    return !fstat(file, &opened) && !stat(path, &named) && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Only its own: the folder may have been renamed, and another one made under its name. */
static void remove_files(void) {
    for (size_t i = 0; i < n_held; i++)
        if (has_name(held[i].file, held[i].path)) unlink(held[i].path);
}

/* The holder as its file names it, or as the system does while nothing is written yet. */
static void tell_holder(dual_ctx *c, const char *folder, int file) {
    char who[160];
    struct flock l = whole();
    const ssize_t n = pread(file, who, sizeof who - 1, 0);
    who[n > 0 ? n : 0] = 0;
    who[strcspn(who, "\n")] = 0;
    if (!*who && !fcntl(file, F_GETLK, &l) && l.l_type != F_UNLCK)
        snprintf(who, sizeof who, "process %ld", (long)l.l_pid);
    dual_failed(c, "%s is in use: %s trains into it; wait for it, stop it, or choose another "
                "--out", folder, *who ? who : "another process");
}

static void write_holder(int file) {
    char host[100] = "", line[160];
    if (gethostname(host, sizeof host - 1)) *host = 0;
    const int n = snprintf(line, sizeof line, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(file, 0) || pwrite(file, line, (size_t)n, 0) < 0)
        return;                        /* a full disk: the lock holds, only its name is missing */
}

/* GONE: the file was removed by its last holder between its opening and its locking. */
enum { TAKEN, IN_USE, NO_LOCKS, GONE };
static int try_lock(int file, const char *path) {
    struct flock l = whole();
    if (fcntl(file, F_SETLK, &l)) return errno == EACCES || errno == EAGAIN ? IN_USE : NO_LOCKS;
    return has_name(file, path) ? TAKEN : GONE;
}

/* A file that this process holds must not be opened again: closing it would let go of the lock. */
static int holds(const char *path) {
    for (size_t i = 0; i < n_held; i++)
        if (has_name(held[i].file, path)) return 1;
    return 0;
}

int run_lock(dual_ctx *c, const char *folder) {
    char path[PATH_MOST];
    int file, state;
    *c->error = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/lock", folder) >= sizeof path) return 1;
    if (holds(path)) return 1;
    if (n_held == RUN_LOCKS) return dual_failed(c, "%s: too many folders are held", folder);
    do {
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (file < 0) return 1;
        state = try_lock(file, path);
        if (state == IN_USE) tell_holder(c, folder, file);
        if (state != TAKEN) close(file);
    } while (state == GONE);
    if (state == NO_LOCKS)
        dual_failed(c, "%s: this file system has no locks: see to it that nothing else trains into "
                    "this folder", folder);
    if (state != TAKEN) return state == NO_LOCKS;
    if (!n_held) atexit(remove_files);
    strcpy(held[n_held].path, path);
    held[n_held++].file = file;
    write_holder(file);
    return 1;
}
#else
int run_lock(dual_ctx *c, const char *folder) {
    (void)folder;
    *c->error = 0;
    return 1;
}
#endif
