/* platform.c: see platform.h. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>
#endif
#include "platform.h"
#include <stdlib.h>
#include <string.h>

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
        execvp(argv[0], argv);         /* returns only if it failed: then simply go on */
#else
    (void)argv;
#endif
}

double run_machine_memory(void) {
#if (defined(__unix__) || defined(__APPLE__)) && defined(_SC_PHYS_PAGES)
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
#else
    return 0;
#endif
}

int run_is_terminal(int fd) {
#if defined(__unix__) || defined(__APPLE__)
    return isatty(fd);
#else
    (void)fd;
    return 0;
#endif
}
