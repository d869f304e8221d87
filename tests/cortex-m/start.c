/* start.c - a Cortex-M4F from reset to main and back: vectors, floating point, memory protection,
 * the stack's measure, and semihosting, by which a debugger or qemu prints for the board. No libc's
 * start files, no system calls. */
#include "board.h"
#include <stdint.h>
#include <string.h>

extern char data_load[], data_begin[], data_end[], bss_begin[], bss_end[];     /* board.ld */
extern char stack_bottom[], stack_top[], flash_begin[];
int main(void);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define MPU_CTRL REGISTER(0xE000ED94)
#define MPU_RBAR REGISTER(0xE000ED9C)
#define MPU_RASR REGISTER(0xE000EDA0)
enum { PAINT = 0x5A, WRITE0 = 4, EXIT = 0x18 };

static void semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void say(const char *text) { semihost(WRITE0, text); }

void say_number(const char *before, size_t n, const char *after) {
    char room[24], *at = room + 23;
    *at = 0;
    do *--at = (char)('0' + n % 10); while (n /= 10);
    say(before);
    say(at);
    say(after);
}

void leave(int status) {
    const uint32_t reason = status ? 0x20023 : 0x20026;    /* a run-time error; a good end */
    for (;;) semihost(EXIT, (const void *)reason);
}

size_t stack_used(void) {
    const char *at = stack_bottom;
    while (at < stack_top && *at == PAINT) at++;
    return (size_t)(stack_top - at);
}

static void fault(void) {
    say("a fault: a write into flash, or too small a stack\n0 passed, 1 failed\n");
    leave(1);
}

/* The board's code memory is RAM; from here on it is read-only, as flash would be. */
static void protect_flash(void) {
    MPU_RBAR = (uint32_t)flash_begin | 0x10;               /* region 0 begins there */
    MPU_RASR = 6u << 24 | 1u << 17 | 19u << 1 | 1;         /* read and run, 2^20 bytes, on */
    MPU_CTRL = 5;                                          /* all else is as without protection */
    __asm__ volatile("dsb\n isb" ::: "memory");
}

static void begin(void) {
    char *now;
    __asm__ volatile("mov %0, sp" : "=r"(now));
    memset(stack_bottom, PAINT, (size_t)(now - 64 - stack_bottom));        /* 64: memset's own */
    memcpy(data_begin, data_load, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    protect_flash();
    leave(main());
}

/* Floating point has to be on before a function that saves its registers begins. */
__attribute__((naked)) static void reset(void) {
    __asm__ volatile("ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, #0xF00000\n str r1, [r0]\n"
                     "dsb\n isb\n b %0" :: "i"(begin));
}

typedef union {
    const char *stack;
    void (*handler)(void);
} vector;
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault}, {.handler = fault}, {.handler = fault}};
