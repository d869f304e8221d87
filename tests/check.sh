#!/bin/sh
# What a reader relies on: line caps and widths, no warnings, a tour that names every section.
bad=0
say() { echo "check: $*"; bad=1; }
[ "$(wc -l < dual.c)" -le 3500 ] || say "dual.c is over 3,500 lines"
[ "$(wc -l < dual.h)" -le 350 ] || say "dual.h is over 350 lines"
wide=$(awk 'length($0) > 100 {print FILENAME ":" FNR}' *.c *.h data/*/*.c data/*/*.h tests/*.c tests/*.h)
[ -z "$wide" ] || say "wider than 100: $wide"
sed -n 's/^\/\* ==== \(.*[^ =]\) ==*$/\1/p' dual.c | while read -r name; do
    grep -q "^ \*   $name" dual.c || echo "check: the tour does not name $name"
done | grep . && bad=1
for cc in gcc clang; do
    command -v $cc > /dev/null || { echo "check: $cc is not here, skipped"; continue; }
    for f in dual.c train.c eval.c data/*/*.c tests/*.c; do
        for real in float double; do
            w=$($cc -std=c99 -Wall -Wextra -pedantic -Wvla -DDUAL_REAL=$real -I. -fsyntax-only $f 2>&1)
            [ -z "$w" ] || say "$cc, $real, $f: $w"
        done
    done
done
grep -nE 'Ofast|ffast-math' Makefile | grep -v '^[0-9]*:#' && say "fast math in the Makefile"
[ $bad -eq 0 ] && echo "check: clean"
exit $bad
