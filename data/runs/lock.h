/* lock.h: one program at a time trains into a folder. Where the system has POSIX locks, FOLDER/lock
 * is held by one as long as its process lives: the system itself lets go of what a crashed program
 * held, so its leftover file blocks nobody. Elsewhere nothing is locked. */
#ifndef RUN_LOCK_H
#define RUN_LOCK_H
#include "../../dual.h"

/* Holds an existing folder until the process ends, at most RUN_LOCKS of them; a folder that it
 * holds already is no second one. 0: another process has it, ctx->error says which. A folder that
 * cannot be written, or whose file system has no locks, is not held: 1, with a line in ctx->error
 * for the second. */
enum { RUN_LOCKS = 2 };                /* OUT and OUT/best */
int run_lock(dual_ctx *, const char *folder);

#endif
