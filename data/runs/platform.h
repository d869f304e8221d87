/* platform.h: what the drivers want to know of the system. Everything here is optional: where the
 * system is not known, the answers are "no" and 0. */
#ifndef RUN_PLATFORM_H
#define RUN_PLATFORM_H

int run_is_terminal(int fd);
double run_machine_memory(void);                    /* bytes; 0: not known */
void run_spin_briefly(char **argv);                 /* first thing in main */

#endif
