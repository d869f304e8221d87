#!/bin/sh
# Says what `make page` lacks, if anything. Usage: data/page/tools.sh COMPILER
missing=
command -v "$1" > /dev/null || missing="$missing clang"
command -v wasm-ld > /dev/null || missing="$missing lld"
[ -e /usr/lib/wasm32-wasi/libc.a ] || missing="$missing wasi-libc"
ls /usr/lib/llvm-*/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a > /dev/null 2>&1 ||
    missing="$missing libclang-rt-14-dev-wasm32"
[ -z "$missing" ] && exit 0
echo "make page needs, by the names of Debian's packages:$missing" >&2
exit 1
