#!/bin/sh
# Hostile files: every target of fuzz.c for some seconds, or until RUNS executions, with clang's
# fuzzer and its sanitizers for memory and undefined behaviour. Usage: fuzz.sh BUILD TIME [TARGET...]
# Inputs that reached new code are kept in BUILD/corpus and are where the next run begins; a finding
# is left in BUILD/findings. Ends with `N passed, N failed`; a target with a finding has failed.
build=$1 time=$2; shift 2
here=$(dirname "$0") cc=${CLANG:-clang} passed=0 failed=0
flags="-std=gnu99 -O2 -g -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow
       -fno-sanitize-recover=all -fsanitize-ignorelist=$here/counting.txt -Wall -Wextra"

mkdir -p "$build/objects" "$build/findings"
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' > "$build/try.c"
if ! $cc $flags -fsanitize=fuzzer "$build/try.c" -o "$build/try" 2> "$build/why"; then
    echo "skipped: no clang with a fuzzer here (Debian: clang, libclang-rt-14-dev): $(head -n 1 "$build/why")"
    exit 0
fi

# ---- the library, of which what changed is compiled again, and the harness
header=$(ls -t dual.h data/*/*.h "$here"/counting.txt | head -n 1)
for file in dual.c data/*/*.c; do
    object=$build/objects/$(echo $file | tr / -).o
    [ "$object" -nt $file ] && [ "$object" -nt "$header" ] || echo "$file $object"
done | xargs -r -P 2 -L 1 sh -c "$cc $(echo $flags) -fsanitize=fuzzer-no-link -c \$0 -o \$1" || exit 1
newest=$(ls -t "$here/fuzz.c" "$build"/objects/*.o "$build/fuzz" 2> /dev/null | head -n 1)
if [ "$newest" != "$build/fuzz" ]; then
    $cc $flags -fsanitize=fuzzer "$here/fuzz.c" "$build"/objects/*.o -lm -o "$build/fuzz.new" || exit 1
    mv "$build/fuzz.new" "$build/fuzz"
fi

# ---- seeds: the tree's, and runs of a few words; made once
if [ ! -e "$build/seeds/made" ]; then
    words="$build/words"
    mkdir -p "$words"
    printf '%s\n' '<end>' '\n' numbers: target: + - '*' / '(' ')' = 1 2 3 99 '###' > "$words/vocab.txt"
    tiny="--tokenizer $words --range 1-3 --targets 1-3 --numbers 2 --width 4 --heads 1 --layers 1 --mlp 4
          --context 24 --batch 2 --steps 2 --latents 1 --score-points 0 --quiet"
    for system in soft h2 liu; do
        rm -rf "$build/$system"
        from=; [ $system = liu ] && from="--base $build/soft"
        ./train --system $system $tiny $from --out "$build/$system" > "$build/said" 2>&1 || { cat "$build/said"; exit 1; }
    done
    pack() { FUZZ=$1 FUZZ_PACK=$2 "$build/fuzz" > "$build/seeds/$1/$(basename "$2")"; }
    for target in $("$build/fuzz"); do mkdir -p "$build/seeds/$target"; done
    for file in "$here"/seeds/rows/*; do cp "$file" "$build/seeds/$(basename "$file")/"; done
    for folder in tokenizer tokenizer-qwen merges merges-qwen words graders; do pack ${folder%-*} "$here/seeds/$folder"; done
    for system in soft h2 liu; do pack run "$build/$system"; done
    pack state "$build/soft"
    pack model "$build/soft/base"
    cp "$build/soft/run.json" "$build/seeds/settings/"; cp "$build/soft/log.csv" "$build/seeds/log/"
    cp "$build/soft/base/config.json" "$build/seeds/config/"; cp "$build/soft/latents.safetensors" "$build/seeds/safetensors/"
    printf '{"a":[1,-2.5e3,true],"\\u00e9":"x\\n","":{}}' > "$build/seeds/json/object"
    : > "$build/seeds/made"
fi
for target in $("$build/fuzz"); do mkdir -p "$build/corpus/$target"; done

# ---- one target after another; an input's files are in memory, where there is such a folder
memory=/dev/shm; [ -d $memory ] && [ -w $memory ] || memory=$build
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=256:quarantine_size_mb=4
longest() { # bytes of an input: its seeds', and some more
    case $1 in encode) echo 64 ;; json) echo 200 ;; *) ls -l "$build/seeds/$1" | awk '$5 > m { m = $5 } END { print int(m * 1.25) + 100 }' ;; esac
}
fuzz() {
    log="$build/$1.log" room="$memory/dual-fuzz-$$-$1"
    env FUZZ=$1 FUZZ_ROOM="$room" $([ $1 != state ] || echo "FUZZ_RUN=$build/soft") "$build/fuzz" -max_total_time=$time \
        -runs=${RUNS:--1} -max_len=$(longest $1) -malloc_limit_mb=100000 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$1-" "$build/corpus/$1" "$build/seeds/$1" > "$log" 2>&1
    status=$?
    rm -rf "$room"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    
    found=0; [ $status -eq 0 ] || found=1
    printf '%-12s %9d executions %7d /s  %d findings\n' $1 ${executions:-0} \
        $(sed -n 's/^stat::average_exec_per_sec: *//p' "$log") $found
    [ $status -eq 0 ] && { passed=$((passed + 1)); return; }
    failed=$((failed + 1))
    grep -aE 'ERROR: |runtime error|^fuzz: |Test unit written' "$log" | sed 's/^/    /'
    echo "    again: FUZZ=$1 $build/fuzz INPUT; all it said: $log"
}
[ $# -gt 0 ] || set -- $("$build/fuzz")
for target; do fuzz $target; done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
