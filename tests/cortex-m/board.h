/* board.h - what start.c gives to main. */
#ifndef DUAL_BOARD_H
#define DUAL_BOARD_H
#include <stddef.h>

void say(const char *text);                /* to the debugger that runs the board */
void say_number(const char *before, size_t n, const char *after);
void leave(int status);                    /* 0: well */
size_t stack_used(void);                   /* bytes, at most so far */

#endif
