#!/bin/sh
# dual on a bare Cortex-M4F: trains a tiny Base and three systems here, writes them as C, builds it
# for the board, runs it in qemu. Ends with the board's line, `N passed, N failed`.
# Usage: tests/cortex-m/run.sh BUILD      --check instead: says what is missing, if anything
cd "$(dirname "$0")/../.." || exit 2
board=tests/cortex-m missing=
cpu="-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard --specs=nano.specs"
command -v arm-none-eabi-gcc > /dev/null || missing="$missing gcc-arm-none-eabi"
case $(arm-none-eabi-gcc $cpu -print-file-name=libc_nano.a 2> /dev/null) in
    */*) ;; *) missing="$missing libnewlib-arm-none-eabi" ;; esac
command -v qemu-system-arm > /dev/null || missing="$missing qemu-system-arm"
[ -z "$missing" ] || { echo "cortex-m needs packages that are not here (Debian:$missing)"; exit 1; }
[ "$1" != --check ] || exit 0

here=$1/cortex-m
rm -rf "$here"; mkdir -p "$here"
train() { # name, options
    ./train "$@" --seed 1 --batch 16 --score-points 0 --quiet > "$here/log" 2>&1 ||
        { cat "$here/log"; exit 1; }
}
train --objective lm --steps 300 --layers 2 --width 32 --out "$here/base"
for system in liu h1 h2; do
    train --system $system --base "$here/base" --steps 100 --out "$here/$system"
done
"$1/weights" "$here/liu" "$here/h1" "$here/h2" > "$here/trained.c" || exit 1

# No contraction and -O2 would do as well; -Os is what such a chip is built with.
for f in dual.c $board/main.c $board/start.c "$here/trained.c"; do
    arm-none-eabi-gcc $cpu -std=c99 -Os -Wall -Wextra -pedantic -fno-math-errno -DDUAL_NO_STDIO \
        -DDUAL_BLOCK=16 -ffunction-sections -fdata-sections -I. -I$board -c "$f" \
        -o "$here/$(basename "$f" .c).o" || exit 1
done
elf=$here/board.elf
arm-none-eabi-gcc $cpu -nostartfiles -Wl,--gc-sections -T $board/board.ld "$here"/*.o -lm -o "$elf" ||
    exit 1

bytes() { # file, section pattern
    arm-none-eabi-size -A "$1" | awk -v s="$2" '$1 ~ s {n += $2} END {print n + 0}'
}
code='^[.](text|rodata|data)' flash=$(bytes "$elf" '^[.](text|data|ARM.exidx)')
weights=$(bytes "$here/trained.o" "$code") dual=$(bytes "$here/dual.o" "$code")
echo "flash $flash bytes: weights $weights, dual.c $dual, libm and the rest $((flash - weights - dual))"
echo "RAM $(bytes "$elf" '^[.](stack|data|bss)') bytes: the stack, and the block that main.c gives"
libc=$(arm-none-eabi-nm "$elf" | awk '{print $NF}' |
    grep -E '^_*(malloc|free|sbrk|abort|exit|v?s?n?i?printf|strtod|str(cmp|chr)|write)(_r)?$')
[ -z "$libc" ] || { echo "FAILED: linked from libc:" $libc; echo "0 passed, 1 failed"; exit 1; }
qemu-system-arm -M mps2-an386 -nographic -monitor none -serial null \
    -semihosting-config enable=on,target=native -kernel "$elf"
