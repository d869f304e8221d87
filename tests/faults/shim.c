/* shim.c - between a program and its C library: it dies or meets an error at one chosen moment of
 * its writing, or has a clock that jumps. Built and preloaded by faults.sh. A point is a call of
 * fopen for writing, fwrite, fflush, fsync, fclose, rename or ftruncate on any file but the streams.
 *
 *     FAULT_COUNT=FILE    how many points there were, written at the end
 *     FAULT_AT=K          at point K,
 *     FAULT_DO=kill       before the call; `after`: behind it; `half`: what was printed so far goes
 *                         to the file first, so that it is cut in the middle
 *     FAULT_DO=ENOSPC     this call and all that follow fail with that error; also EROFS, EIO
 *     FAULT_PATH=TEXT     only points on files with TEXT in their name count
 *     FAULT_CLOCK=1       clock_gettime and time jump a day forth or back, or stand still */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long at, count;
static int error, broken;              /* FAULT_DO as an error; it has begun */
static const char *act = "", *path = "";

__attribute__((constructor)) static void begin(void) {
    static const struct { const char *name; int value; } errors[] = {
        {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EIO", EIO}};
    if (getenv("FAULT_AT")) at = atol(getenv("FAULT_AT"));
    if (getenv("FAULT_DO")) act = getenv("FAULT_DO");
    if (getenv("FAULT_PATH")) path = getenv("FAULT_PATH");
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(act, errors[i].name)) error = errors[i].value;
}

__attribute__((destructor)) static void end(void) {
    const char *file = getenv("FAULT_COUNT");
    FILE *f = file ? REAL(fopen)(file, "w") : NULL;
    if (!f) return;
    fprintf(f, "%ld\n", count);
    REAL(fclose)(f);
}

static void die(void) { kill(getpid(), SIGKILL); }

/* The file of a descriptor, as the system names it. */
static int is_meant(int fd, const char *name) {
    char link[64], target[1024] = "";
    if (fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(link, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        name = target;
    }
    return fd > 2 || fd < 0 ? strstr(name, path) != NULL : 0;
}

/* Whether the call is to fail. `f`: what it writes to, or NULL. */
static int point(int fd, const char *name, FILE *f) {
    if (!is_meant(fd, name)) return 0;
    count++;
    if (at && count == at && !strcmp(act, "half") && f) REAL(fflush)(f);
    if (at && count == at && (!strcmp(act, "kill") || !strcmp(act, "half"))) die();
    if (at && count >= at && error) broken = 1;
    if (broken) errno = error;
    return broken;
}

static void passed(void) {
    if (at && count == at && !strcmp(act, "after")) die();
}

FILE *fopen(const char *name, const char *mode) {
    if (*mode == 'r' && !strchr(mode, '+')) return REAL(fopen)(name, mode);
    if (point(-1, name, NULL)) return NULL;
    FILE *f = REAL(fopen)(name, mode);
    passed();
    return f;
}

size_t fwrite(const void *bytes, size_t size, size_t n, FILE *f) {
    if (point(fileno(f), "", f)) return 0;
    const size_t done = REAL(fwrite)(bytes, size, n, f);
    passed();
    return done;
}

int fflush(FILE *f) {
    if (f && point(fileno(f), "", f)) return EOF;
    const int status = REAL(fflush)(f);
    if (f && fileno(f) > 2) passed();
    return status;
}

int fsync(int fd) {
    if (point(fd, "", NULL)) return -1;
    const int status = REAL(fsync)(fd);
    passed();
    return status;
}

int fclose(FILE *f) {
    const int failed = point(fileno(f), "", f), meant = fileno(f) > 2;
    const int status = REAL(fclose)(f);
    if (meant) passed();
    if (failed) errno = error;
    return failed ? EOF : status;
}

int rename(const char *from, const char *to) {
    if (point(-1, to, NULL)) return -1;
    const int status = REAL(rename)(from, to);
    passed();
    return status;
}

int ftruncate(int fd, off_t size) {
    if (point(fd, "", NULL)) return -1;
    const int status = REAL(ftruncate)(fd, size);
    passed();
    return status;
}

/* ---- A clock that nobody can trust -------------------------------------------------------------- */

static long jump(void) {
    static long calls;
    static const long days[] = {0, 1, -1, 0, 0, 30, -400, 2};
    return days[++calls % 8] * 86400;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    const int status = REAL(clock_gettime)(id, t);
    if (getenv("FAULT_CLOCK")) t->tv_sec += jump();
    return status;
}

time_t time(time_t *out) {
    const time_t now = REAL(time)(NULL) + (getenv("FAULT_CLOCK") ? jump() : 0);
    if (out) *out = now;
    return now;
}
