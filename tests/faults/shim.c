/* shim.c - between a program and its C library: it dies or meets an error at one chosen moment of
 * its writing, or has a clock that jumps. Built and preloaded by faults.sh. A point is a call of
 * fopen, fwrite, fflush, fsync, fclose or rename for a file that is written, the streams excepted.
 *
 *     FAULT_COUNT=FILE    how many points there were, written at the end
 *     FAULT_AT=K          at point K,
 *     FAULT_DO=kill       before the call; `after`: behind it; `half`: what was printed so far goes
 *                         to the file first, so that it is cut in the middle
 *     FAULT_DO=ENOSPC     this call and all that follow fail with that error; also EROFS, EIO
 *     FAULT_PATH=TEXT     only points on files with TEXT in their name count
 *     FAULT_CALLS=NAMES   only these calls count: "fsync rename"
 *     FAULT_CLOCK=1       clock_gettime and time jump a day forth or back, or stand still */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long at, count;
static int error, broken;              /* FAULT_DO as an error; it has begun */
static const char *act = "", *path = "", *calls = "";

__attribute__((constructor)) static void begin(void) {
    static const struct { const char *name; int value; } errors[] = {
        {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EIO", EIO}};
    if (getenv("FAULT_AT")) at = atol(getenv("FAULT_AT"));
    if (getenv("FAULT_DO")) act = getenv("FAULT_DO");
    if (getenv("FAULT_PATH")) path = getenv("FAULT_PATH");
    if (getenv("FAULT_CALLS")) calls = getenv("FAULT_CALLS");
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

/* Says in which call: "died in fsync". */
static void die(const char *call) {
    char line[40];
    const int n = snprintf(line, sizeof line, "died in %s\n", call);
    if (write(2, line, (size_t)n) == n) kill(getpid(), SIGKILL);
    kill(getpid(), SIGKILL);
}

/* Of a descriptor: whether it is written to and is no stream, and how the system names its file. */
static int is_meant(int fd, const char *name) {
    char link[64], target[1024] = "";
    if (name) return strstr(name, path) != NULL;
    if (fd <= 2 || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    return strstr(target, path) != NULL;
}

typedef struct { int meant, fails; } point;

/* `f`: what the call writes to, or NULL; name: of a file that is not open. */
static point reach(const char *call, int fd, const char *name, FILE *f) {
    point p = {is_meant(fd, name), 0};
    if (*calls && !strstr(calls, call)) p.meant = 0;
    if (!p.meant) return p;
    count++;
    if (at && count == at && !strcmp(act, "half") && f) REAL(fflush)(f);
    if (at && count == at && (!strcmp(act, "kill") || !strcmp(act, "half"))) die(call);
    if (at && count >= at && error) broken = 1;
    if (broken) errno = error;
    p.fails = broken;
    return p;
}

static void leave(const char *call, point p) {
    if (p.meant && at && count == at && !strcmp(act, "after")) die(call);
}

FILE *fopen(const char *name, const char *mode) {
    if (*mode == 'r' && !strchr(mode, '+')) return REAL(fopen)(name, mode);
    const point p = reach("fopen", -1, name, NULL);
    FILE *f = p.fails ? NULL : REAL(fopen)(name, mode);
    leave("fopen", p);
    return f;
}

size_t fwrite(const void *bytes, size_t size, size_t n, FILE *f) {
    const point p = reach("fwrite", fileno(f), NULL, f);
    const size_t done = p.fails ? 0 : REAL(fwrite)(bytes, size, n, f);
    leave("fwrite", p);
    return done;
}

int fflush(FILE *f) {
    if (!f) return REAL(fflush)(f);
    const point p = reach("fflush", fileno(f), NULL, f);
    const int status = p.fails ? EOF : REAL(fflush)(f);
    leave("fflush", p);
    return status;
}

int fsync(int fd) {
    const point p = reach("fsync", fd, NULL, NULL);
    const int status = p.fails ? -1 : REAL(fsync)(fd);
    leave("fsync", p);
    return status;
}

int fclose(FILE *f) {
    const point p = reach("fclose", fileno(f), NULL, f);
    const int status = REAL(fclose)(f);
    leave("fclose", p);
    if (p.fails) errno = error;
    return p.fails ? EOF : status;
}

int rename(const char *from, const char *to) {
    const point p = reach("rename", -1, to, NULL);
    const int status = p.fails ? -1 : REAL(rename)(from, to);
    leave("rename", p);
    return status;
}

/* ---- A clock that nobody can trust ----------------------------------------------------------- */

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
