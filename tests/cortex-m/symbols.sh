#!/bin/sh
# What dual.c asks of a machine without files: with DUAL_NO_STDIO it calls memcpy, memset, memcmp,
# strlen and libm, nothing else, and includes no header of a system. Usage: symbols.sh BUILD
cd "$(dirname "$0")/../.." || exit 2
cc=${CC:-cc} failed=0
for tool in nm $cc; do
    command -v $tool > /dev/null || { echo "skipped: no $tool"; echo "0 passed, 0 failed"; exit; }
done
bare="-std=c99 -O2 -ffreestanding -fno-stack-protector -DDUAL_NO_STDIO"
for real in float double; do
    $cc $bare -DDUAL_REAL=$real -c dual.c -o "$1/bare.o" || { echo "0 passed, 1 failed"; exit 1; }
    others=$(nm -u "$1/bare.o" | awk '{print $NF}' | sed 's/^_//' |
        grep -vxE 'mem(cpy|set|cmp)|strlen|exp|log|pow|sin|cos|sqrtf?|floor|GLOBAL_OFFSET_TABLE_')
    [ -z "$others" ] || { echo "FAILED: in $real dual.c calls" $others; failed=$((failed + 1)); }
done
headers=$($cc $bare -M dual.c | grep -oE '[^ /]*/(stdio|stdlib|locale|errno|time|unistd)\.h')
[ -z "$headers" ] || { echo "FAILED: dual.c includes" $headers; failed=$((failed + 1)); }
echo "$((3 - failed)) passed, $failed failed"
[ $failed -eq 0 ]
