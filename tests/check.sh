#!/bin/sh
# What a reader relies on: caps on files and functions, widths, no warnings, a tour that names every
# section, an example that is quoted as it is. Ends with `check: clean` or says what is not.
bad=0 scratch=$(mktemp)
say() { echo "check: $*"; bad=1; }
ours="dual.c train.c eval.c data/*/*.c"

cap() { [ "$(wc -l < "$1")" -le "$2" ] || say "$1 is over $2 lines"; }
cap dual.c 3800
cap dual.h 350
cap train.c 900
cap eval.c 1300
cap README.md 300
matmul=$(awk '/^\/\* ==== /{inside = /^\/\* ==== MATMUL /} inside{n++} END{print n}' dual.c)
[ "$matmul" -le 260 ] || say "the section MATMUL of dual.c is over 260 lines"

wide=$(awk 'length($0) > 100 {print FILENAME ":" FNR}' *.c *.h data/*/*.c data/*/*.h tests/*.c tests/*.h tests/*/*.[ch])
[ -z "$wide" ] || say "wider than 100: $wide"
# A function begins where a line at the margin ends with ") {" and ends at the next lone brace.
tall=$(awk '/^[a-z].*\) \{$/ || /^ +.*\) \{$/ && open == "" && last ~ /,$/ {open = FILENAME ":" FNR; from = FNR}
    /^}$/ && open != "" {cap = FILENAME == "dual.c" ? 70 : 60
        if (FNR - from + 1 > cap) print open, FNR - from + 1 " lines"
        open = ""}
    {last = $0}' $ours tests/*.c tests/*/*.c)
[ -z "$tall" ] || say "functions over a screen: $tall"
# a ?: inside another, or directly behind its colon, outside comments and strings
nested=$(sed -e 's/"\([^"\\]\|\\.\)*"/""/g' -e "s/'[^']'/0/g" -e 's/\/\*.*\*\// /' $ours |
    grep -v '^ *\*' | grep -cE '\?[^?:,;]*(\?|:[^?:,;()]*\?)')
[ "$nested" -eq 0 ] || say "$nested lines with a ?: inside or behind another"

sed -n 's/^\/\* ==== \(.*[^ =]\) ==*$/\1/p' dual.c | while read -r name; do
    grep -q "^ \*   $name" dual.c || echo "check: the tour does not name $name"
done | grep . && bad=1

# the program at the top of dual.h is the one that the tests run
code=$(sed -n '/\/\/ quoted from here/,/\/\/ to here/p' tests/example.c | sed '1d; $d; s/^    //')
quoted=$(sed -n 's/^ \*    //p' dual.h | head -n "$(echo "$code" | wc -l)")
[ "$code" = "$quoted" ] || say "dual.h does not quote tests/example.c as it is"

flags="-std=c99 -Wall -Wextra -pedantic -Wvla -Wshadow -Wconversion -Wsign-conversion -fopenmp -I."
for cc in gcc clang; do
    command -v $cc > /dev/null || { echo "check: $cc is not here, skipped"; continue; }
    for f in $ours tests/*.c tests/cortex-m/weights.c; do
        case $f in tests/bench.c) reals=float ;; *) reals="float double" ;; esac
        for real in $reals; do
            # -O2: some warnings come only from an optimiser that follows values
            w=$($cc $flags -O2 -DDUAL_REAL=$real -c $f -o "$scratch" 2>&1)
            [ -z "$w" ] || say "$cc, $real, $f: $w"
        done
    done
done
grep -nE 'Ofast|ffast-math' Makefile | grep -v '^[0-9]*:#' && say "fast math in the Makefile"
rm -f "$scratch"
[ $bad -eq 0 ] && echo "check: clean"
exit $bad
