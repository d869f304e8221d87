/* platform.c: see platform.h. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <unistd.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif
#include "platform.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the wrong direction, so that reading or writing fails as it would on the closed stream. */
void run_hold_streams(void) {
#if defined(__unix__) || defined(__APPLE__)
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd) _exit(1);
#endif
}

/* How long a waiting OpenMP thread spins before it sleeps. Without end (the runtimes' default) it
 * takes the core another thread needs: on a machine with anything else to do a step took 15 times
 * as long. Not at all, and waking costs as much as the work: half the speed on an idle machine. The
 * runtime (gcc's, clang's) reads this when it is loaded, so setting it means starting over once.
 * Where threads are bound to cores, as batch systems do, the runtime has bound the first one by
 * now, and the new program would have that one core for all its threads: it is left alone. */
void run_spin_briefly(char **argv) {
#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
    static const char *const leave[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME",
                                        "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                        "KMP_AFFINITY"};
    for (size_t i = 0; i < sizeof leave / sizeof *leave; i++)
        if (getenv(leave[i])) return;
    if (!strchr(argv[0], '/')) return; /* found by PATH: it might find another program now */
    if (setenv("GOMP_SPINCOUNT", "5000", 0) == 0 && setenv("KMP_BLOCKTIME", "1", 0) == 0)
        execv(argv[0], argv);          /* returns only if it failed: then simply go on */
#else
    (void)argv;
#endif
}

static double machine_memory(void) {
#if (defined(__unix__) || defined(__APPLE__)) && defined(_SC_PHYS_PAGES)
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
#elif defined(_WIN32)
    MEMORYSTATUSEX all = {.dwLength = sizeof all};
    return GlobalMemoryStatusEx(&all) ? (double)all.ullTotalPhys : 0;
#else
    return 0;
#endif
}

/* The number in a file; HUGE_VAL: no such file, or no limit (version 2: "max", 1: near 2^63). */
static const double NO_LIMIT = 1e18;
static double number_in(const char *path) {
    char text[64];
    FILE *f = fopen(path, "r");
    const int got = f && fgets(text, sizeof text, f);
    if (f) fclose(f);
    const double number = got && *text >= '0' && *text <= '9' ? strtod(text, NULL) : HUGE_VAL;
    return number < NO_LIMIT ? number : HUGE_VAL;
}

/* The least limit from a group up to the root of its hierarchy: each of them holds. The group is
 * named as the machine sees it, which in a container may be a path that is not there; its own limit
 * then stands in the root. */
static double least_limit(const char *mount, char *group, const char *file) {
    char path[1400];
    double least = HUGE_VAL;
    for (;;) {
        char *slash = strrchr(group, '/');
        snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
        least = fmin(least, number_in(path));
        if (!slash) return least;
        *slash = 0;
    }
}

/* One line of /proc/self/cgroup: NUMBER:CONTROLLERS:GROUP. Version 2 has no controllers there. */
static double limit_of_line(const char *root, char *line) {
    char mount[700];
    char *controllers = strchr(line, ':'), *group = NULL;
    if (controllers) group = strchr(controllers + 1, ':');
    if (!group) return HUGE_VAL;
    *controllers++ = 0;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    if (!strcmp(group, "/")) *group = 0;
    if (!*controllers) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        return least_limit(mount, group, "memory.max");
    }
    for (char *name = strtok(controllers, ","); name; name = strtok(NULL, ","))
        if (!strcmp(name, "memory")) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/memory", root);
            return least_limit(mount, group, "memory.limit_in_bytes");
        }
    return HUGE_VAL;
}

double run_memory_limit(const char *root, const char **whose) {
    char path[700], line[700];
    const double machine = machine_memory();
    double least = HUGE_VAL;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) least = fmin(least, limit_of_line(root, line));
    if (f) fclose(f);
    *whose = "the machine has";
    if (least == HUGE_VAL || (machine > 0 && machine <= least)) return machine;
    *whose = "its cgroup allows";
    return least;
}

int run_is_terminal(int fd) {
#if defined(__unix__) || defined(__APPLE__)
    return isatty(fd);
#else
    (void)fd;
    return 0;
#endif
}
