/* platform.h: what the drivers want to know of the system. Everything here is optional: where the
 * system is not known, the answers are "no" and 0. */
#ifndef RUN_PLATFORM_H
#define RUN_PLATFORM_H

int run_is_terminal(int fd);
/* Bytes that this process may have: those of the machine or, where it is less, of its cgroup (v1
 * or v2, as containers and batch systems set it); 0: not known. root: what stands before /proc and
 * /sys, "" but in tests. *whose: "the machine has" or "its cgroup allows". */
double run_memory_limit(const char *root, const char **whose);
/* First things in main. Where stdin, stdout or stderr is closed, the next file that is opened would
 * be it, and what is printed would end in that file; after this, printing fails. */
void run_hold_streams(void);
void run_spin_briefly(char **argv);

#endif
