#!/bin/sh
# Other compilers and machines: builds for each target of the table below, runs tests there, in an
# emulator where it must be, and ends with `N passed, N failed`. What is not installed is skipped and
# named, with the Debian packages that would bring it.
# Usage: tests/ports.sh [NAME ...]        JOBS=2 targets at a time; everything lands in build/ports
# With no NAME, a run also travels: see `travel`.
#
# All builds are exact ones (Makefile, EXACT=1): `bits` trains lm, then h2, for 20 steps each and
# holds both states to the hash in README.md; `wide` does so where vector registers may be wide.
cd "$(dirname "$0")/.." || exit 2
all=build/ports
export WINEDEBUG=-all WINEPREFIX="$PWD/$all/wine" LOCPATH="$PWD/$all/locale"

# name | Debian packages | compiler and flags | emulator | tests
table() {
    native="basics ops files models words unicode tasks runs parity double"
    emulated="basics words parity double"
    sed 's/ *| */|/g' << EOF
gcc-O0           | gcc | gcc -O0 | | $native bits
gcc-O2           | gcc | gcc -O2 -msse2 | | $native bits wide
gcc-native       | gcc | gcc -O3 -march=native -fopenmp | | $native bits wide
gcc-avx2         | gcc | gcc -O3 -mavx2 -mfma | | parity bits wide
gcc-avx512       | gcc | gcc -O3 -mavx512f -mfma | | parity bits wide
gcc-block-16     | gcc | gcc -O2 -DDUAL_BLOCK=16 | | basics ops systems options gradients training decoding refusals parity double
clang-O0         | clang | clang -O0 | | $native bits
clang-native     | clang | clang -O3 -march=native | | $native bits wide
tcc              | tcc | tcc | | $native bits
musl             | musl-tools | musl-gcc -O2 -static | | $native bits
i386-sse         | gcc-i686-linux-gnu libc6-dev-i386-cross | i686-linux-gnu-gcc -O2 -static -msse2 -mfpmath=sse | | $native bits
i386-x87         | gcc-i686-linux-gnu libc6-dev-i386-cross | i686-linux-gnu-gcc -O2 -static -std=gnu99 -mno-sse -mfpmath=387 | | $native
i386-x87-c99     | gcc-i686-linux-gnu libc6-dev-i386-cross | i686-linux-gnu-gcc -O2 -static -mno-sse -mfpmath=387 | | $native
i386-x87-clang   | clang gcc-i686-linux-gnu libc6-dev-i386-cross | clang --target=i686-linux-gnu -O2 -static -mno-sse | | basics ops parity double
aarch64          | gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user | aarch64-linux-gnu-gcc -O2 -fopenmp | qemu-aarch64 -L /usr/aarch64-linux-gnu | $emulated ops files bits
armhf            | gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user | arm-linux-gnueabihf-gcc -O2 -static | qemu-arm | $emulated files bits
riscv64          | gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user | riscv64-linux-gnu-gcc -O2 -static | qemu-riscv64 | $emulated files bits
s390x            | gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user | s390x-linux-gnu-gcc -O2 -static | qemu-s390x | $emulated files bits
ppc64el          | gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross qemu-user | powerpc64le-linux-gnu-gcc -O2 -static | qemu-ppc64le | $emulated bits
mips             | gcc-mips-linux-gnu libc6-dev-mips-cross qemu-user | mips-linux-gnu-gcc -O2 -static | qemu-mips | $emulated files bits
loongarch64      | gcc-loongarch64-linux-gnu libc6-dev-loong64-cross qemu-user | loongarch64-linux-gnu-gcc -O2 -static | qemu-loongarch64 | $emulated bits
g++              | g++ | g++ | | header
clang++          | clang | clang++ | | header
windows          | gcc | gcc -O2 | | $native bits
mingw            | gcc-mingw-w64-x86-64 wine | x86_64-w64-mingw32-gcc -O2 -static | wine | $native bits
cortex-m         | gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm | arm-none-eabi-gcc | qemu-system-arm | board
wasm             | clang lld wasi-libc libclang-rt-14-dev-wasm32 nodejs | clang --target=wasm32-wasi --sysroot=/usr -O2 -Qunused-arguments -D_WASI_EMULATED_SIGNAL -Wl,-z,stack-size=1048576 -lwasi-emulated-signal | node --no-warnings --no-liftoff tests/wasi.mjs | parity double bits
EOF
}

result() { # what, passed, failed
    printf '%-16s %-8s %s passed, %s failed\n' "$name" "$1" "$2" "$3" >> "$here/result"
}
skip() {
    printf '%-16s skipped: %s (Debian: %s)\n' "$name" "$1" "$packages" >> "$here/result"
    exit 0
}

# Compilers print their warnings into one file, which must stay empty.
build() { # output, arguments
    out=$1; shift
    case $cc in *tcc*) w="-Wall" ;; *) w="-Wall -Wextra -pedantic" ;; esac
    $cc $std $exact $w -I. "$@" -o "$out" 2>> "$here/messages" || echo "$out" >> "$here/broken"
}

# The sources that a program needs are compiled once; tcc takes one at a time.
objects() {
    for f in dual.c data/files/*.c data/runs/*.c data/tasks/*.c data/tokenizers/*.c; do
        build "$here/$(basename "$f" .c).o" -c "$f"
    done
    mkdir -p "$here/f64"
    for f in dual.c data/runs/latents.c data/runs/gradients.c; do
        build "$here/f64/$(basename "$f" .c).o" -DDUAL_REAL=double -c "$f"
    done
    build "$here/train$exe" train.c "$here"/*.o -lm
}

counted() { # what, command: takes the counts from the program's last line
    what=$1; shift
    "$@" > "$here/$what.txt" 2>&1
    tr -d '\r' < "$here/$what.txt" | grep '^skipped' | grep -v 'second argument' | sed "s/^/$name: /" >> "$here/notes"
    last=$(tr -d '\r' < "$here/$what.txt" | tail -n 1)
    set -- $(printf '%s\n' "$last" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
    result "$what" "${1:-0}" "${2:-1}"
}

run_test() {
    case $1 in
    parity|double)
        real=float; obj="$here/dual.o $here/latents.o"
        [ "$1" = double ] && real=double && obj="$here/f64/dual.o $here/f64/latents.o"
        build "$here/$1$exe" -DDUAL_REAL=$real tests/parity.c $obj -lm
        counted "$1" $emulator "$here/$1$exe" --items 2013 tests/reference ;;
    header)
        for std in 98 11 20; do
            echo '#include "dual.h"' | $cc -std=c++$std -Wall -Wextra -pedantic -I. -x c++ - \
                -fsyntax-only 2>> "$here/messages" || echo "c++$std" >> "$here/broken"
        done ;;
    bits|wide) same_bits "$1" ;;
    *)  build "$here/run-$1$exe" "tests/test_$1.c" "$here"/*.o -lm
        counted "$1" $emulator "$here/run-$1$exe" "$here" ;;
    esac
}

# One run of lm, one of h2 from it: the states' hash.
same_bits() {
    small="--steps 20 --score-points 1 --score-count 8 --quiet --seed 1"
    if [ "$1" = bits ]; then
        want=$(sed -n 's/^.*`\([0-9a-f]\{64\}\)`.*$/\1/p' README.md)
        shape="--layers 2 --width 32 --batch 8"
    else # passes of 12 rows, as wide as a register here and wider there; sums of more than KC
        want=$wide_hash; small="$small --steps 2"
        shape="--arch qwen3 --layers 1 --width 320 --batch 3"
    fi
    rm -rf "$here/lm" "$here/h2"
    { $emulator "$here/train$exe" --objective lm $small $shape --out "$here/lm" &&
      $emulator "$here/train$exe" --system h2 --base "$here/lm" $small $shape --threads 3 \
        --out "$here/h2"; } > "$here/$1.txt" 2>&1
    got=$(cat "$here/lm/state.safetensors" "$here/h2/state.safetensors" | sha256sum | cut -c 1-64)
    if [ "$got" = "$want" ]; then result "$1" 1 0; else result "$1" 0 1; fi
    echo "$got" > "$here/$1.hash"
}
wide_hash=f800f4a005c111ac031efc5736eea45dc5f4cb5b35741ecdfde4477b714dc2c8

one() {
    name=$1 here=$all/$1
    line=$(table | grep "^$name|")
    packages=$(echo "$line" | cut -d '|' -f 2) cc=$(echo "$line" | cut -d '|' -f 3)
    emulator=$(echo "$line" | cut -d '|' -f 4) tests=$(echo "$line" | cut -d '|' -f 5)
    exact="-ffp-contract=off -DDUAL_DEEP=KC" std="-std=c99"
    case $cc in *-std=*) std= ;; *s390x*) exact="$exact -fexcess-precision=fast" ;; esac
    case $name in mingw|windows) exe=.exe ;; *) exe= ;; esac
    case $cc in tcc*) exact="-DDUAL_DEEP=KC" ;; esac
    rm -rf "$here"; mkdir -p "$here"
    case $name in *avx512) grep -q avx512f /proc/cpuinfo || skip "this processor has no AVX-512" ;;
                  windows) [ "$OS" = Windows_NT ] || skip "this is not Windows" ;;
                  *avx2) grep -q avx2 /proc/cpuinfo || skip "this processor has no AVX2" ;; esac
    command -v "${cc%% *}" > /dev/null || skip "no ${cc%% *}"
    [ -z "$emulator" ] || command -v "${emulator%% *}" > /dev/null || skip "no ${emulator%% *}"
    if [ "$tests" = board ]; then      # has no system to run the other tests on
        sh tests/cortex-m/run.sh --check > /dev/null || skip "no newlib"
        counted board make -s cortex-m
        return
    fi
    echo 'int main(void) { return 0; }' > "$here/try.c"
    $cc "$here/try.c" -o "$here/try$exe" 2> /dev/null || skip "${cc%% *} has no libc, or not these flags"
    $emulator "$here/try$exe" > /dev/null 2>&1 || skip "its programs do not run here"
    : > "$here/messages"; : > "$here/broken"
    [ "$tests" = header ] || objects
    for test in $tests; do run_test "$test"; done
    bad=$(cat "$here/messages" "$here/broken" | wc -l)
    result warnings 1 0
    [ "$bad" -eq 0 ] || { sed -i '$d' "$here/result"; result warnings 0 1; }
}

# A run begun on one machine goes on under others and ends where the straight run does. Each is
# interrupted when the log shows that it went on; the last one finishes.
travel() {
    name=travel here=$all/travel packages="those of gcc-O2, s390x and armhf"
    rm -rf "$here"; mkdir -p "$here"
    for t in gcc-O2 s390x armhf; do [ -x "$all/$t/train" ] || skip "not all three were built"; done
    flags="--objective lm --layers 2 --width 32 --batch 8 --seed 2 --steps 3000 --log-every 5 --quiet
        --score-points 1 --score-count 8"
    "$all/gcc-O2/train" $flags --out "$here/straight" > /dev/null 2>&1
    while read -r machine emulator; do
        rows=$(cat "$here/run/log.csv" 2> /dev/null | wc -l)
        $emulator "$all/$machine/train" $flags --resume --out "$here/run" >> "$here/out.txt" 2>&1 &
        while [ "$(cat "$here/run/log.csv" 2> /dev/null | wc -l)" -lt $((rows + 3)) ] &&
            kill -0 $! 2> /dev/null; do sleep 0.05; done
        kill -TERM $! 2> /dev/null         # a shell's background jobs ignore SIGINT
        wait $!; status=$?
        echo "$machine: status $status, $(tail -n 1 "$here/run/log.csv" | cut -d , -f 1) steps"
    done > "$here/stages" << EOF
gcc-O2
s390x qemu-s390x
armhf qemu-arm
s390x qemu-s390x
EOF
    "$all/gcc-O2/train" $flags --resume --out "$here/run" >> "$here/out.txt" 2>&1
    on_the_way=$(grep -c 'status 130' "$here/stages")
    if [ "$on_the_way" = 4 ] && cmp "$here/run/state.safetensors" "$here/straight/state.safetensors"
    then result bits 1 0; else result bits 0 1; fi
}

[ "$1" != --one ] || { one "$2"; exit 0; }
mkdir -p $all/locale
[ -d $all/locale/de_DE.UTF-8 ] || # numbers with a comma, for test_models
    localedef -i de_DE -f UTF-8 $all/locale/de_DE.UTF-8 > /dev/null 2>&1
names=${*:-$(table | cut -d '|' -f 1)}
echo $names | tr ' ' '\n' | grep -v '^travel$' | xargs -P "${JOBS:-2}" -n 1 sh tests/ports.sh --one
case "$# $*" in 0*|*travel*) (travel); names="${names% travel} travel" ;; esac
for name in $names; do cat "$all/$name/result" "$all/$name/notes" 2> /dev/null; done |
    tee $all/table | awk '/ failed$/ {passed += $(NF - 3); failed += $(NF - 1)} {print}
        END {print passed + 0 " passed, " failed + 0 " failed"; exit !(passed > 0 && failed == 0)}'
