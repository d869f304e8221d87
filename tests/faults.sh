#!/bin/sh
# Sudden death and whatever else a machine does to a program. Usage: tests/faults.sh BUILD [PART...]
# KILLS moments of death (500); SEED chooses them. LEAKS=sanitizer: clang's in place of valgrind,
# which takes far longer. Parts: kills errors full folders streams signals
# clock threads races leaks. What is not installed is skipped, with its Debian package's name. Ends
# with `N passed, N failed`.
build=$1; shift
# Its runs are in memory, where there is such a folder: a disk would take ten times as long to flush.
memory=/dev/shm; [ -d $memory ] && [ -w $memory ] || memory=$build
here=$(dirname "$0") work=$memory/dual-faults-$$ kills=${KILLS:-500} seed=${SEED:-1} cc=${CC:-cc} passed=0 failed=0
ok()  { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED $*"; }
is()  { if [ "$1" = "$2" ]; then ok; else bad "$3: $1, expected $2${4:+; $(tail -n 2 "$4")}"; fi; }
same() { if cmp -s "$1" "$2"; then ok; else bad "$1 and $2 differ"; fi; }
skip() { echo "skipped: $*"; }
# one line that says what went wrong
line() { if tail -n 1 "$2" | grep -qE "^$1: .*[a-z]"; then ok; else bad "no line of $1's: $(tail -n 2 "$2")"; fi; }
export GOMP_SPINCOUNT=0 KMP_BLOCKTIME=0          # or a driver starts over once to set them

runs="lm text h2 coconut liu"
small="--width 8 --heads 2 --layers 1 --context 32 --batch 2 --threads 1 --quiet"
often="$small --steps 24 --log-every 3 --save-every 4 --score-points 4 --score-count 6 --max-new 6"
command_of() { # of a run: what it is started and resumed with
    from="--base $work/base --latents 2"
    case $1 in
    text) echo "./train --task text --data $work/text.txt --objective lm --keep-best $often" ;;
    lm) echo "./train --objective lm $often" ;;
    h2) echo "./train --system h2 --keep-best $from $often" ;;
    coconut) echo "./train --system coconut --accumulate 2 $from $often" ;;
    liu) echo "./train --system liu $from $often" ;;
    esac
}
# The folder as it must be at the end: every file's name, but for a lock that blocks nobody; what is
# trained; the log but for its seconds.
ends_like() {
    for f in state.safetensors best/state.safetensors; do [ ! -e "$1/$f" ] || cmp -s "$1/$f" "$2/$f" || return 1; done
    (cd "$1"; find . ! -path ./best/lock | sort; cut -d, -f1-6,8 log.csv) > "$work/one"
    (cd "$2"; find . ! -path ./best/lock | sort; cut -d, -f1-6,8 log.csv) > "$work/two"
    cmp -s "$work/one" "$work/two"
}
resumed() { # RUN FOLDER WHAT: goes on and ends like the straight run
    if ! $(command_of $1) --resume --out "$2" > "$work/said" 2>&1; then bad "$3: it cannot go on: $(tail -n 1 "$work/said")"
    elif ends_like "$work/$1" "$2"; then ok
    else bad "$3: it goes on, and ends differently ($2)"; mv "$2" "$2-kept-$failed"; fi
    rm -rf "$2"
}
straight() { # the runs that nothing happens to, how many points they have, how long they take
    head -n 60 README.md > "$work/text.txt"
    rm -rf "$work/base"
    ./train --objective lm $small --steps 4 --score-points 0 --out "$work/base" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
    for run in $runs; do
        rm -rf "$work/$run"
        FAULT_CALLS='fsync rename' FAULT_COUNT=$work/syncs-$run LD_PRELOAD=$shim $(command_of $run) --out "$work/$run" > "$work/said" 2>&1
        rm -rf "$work/$run"
        FAULT_COUNT=$work/points-$run LD_PRELOAD=$shim $(command_of $run) --out "$work/$run" > "$work/said" 2>&1 ||
            { cat "$work/said"; exit 1; }
        begun=$(date +%s%N); $(command_of $run) --out "$work/timed" > "$work/said" 2>&1; ended=$(date +%s%N)
        rm -rf "$work/timed"
        echo "$run $(cat "$work/points-$run") $(cat "$work/syncs-$run") $(((ended - begun) / 1000000))"
    done > "$work/straight"
}
# N draws: a run, the calls that count, one of them, a moment of it in s, one of three ways to die
draw() {
    awk -v n=$1 -v seed=$2 '{ run[NR] = $1; points[NR] = $2; syncs[NR] = $3; took[NR] = $4 } END {
        srand(seed); split("kill half after", way)
        for (i = 0; i < n; i++) { r = 1 + int(NR * rand()); sync = rand() < 0.5
            printf "%s %s %d %.4f %s\n", run[r], sync ? "fsync+rename" : "any", 1 + int((sync ? syncs[r] : points[r]) * rand()),
                took[r] * rand() / 1000, way[1 + int(3 * rand())] } }' "$work/straight"
}

# ---- killed at random moments, half of them within a call that writes
kills() {
    draw $kills $seed > "$work/draws"
    : > "$work/deaths"
    while read -r run calls point moment way; do
        [ $calls = any ] && calls=
        rm -rf "$work/dead"
        n=$((n + 1))
        if [ $((n % 2)) -eq 0 ]; then
            what="$run killed at point $point of ${calls:-all} ($way)"
            (FAULT_CALLS=$calls FAULT_AT=$point FAULT_DO=$way LD_PRELOAD=$shim $(command_of $run) --out "$work/dead" > "$work/out" 2>&1; exit $?) 2> /dev/null
            is $? 137 "$what" "$work/out"
            grep -a '^died in' "$work/out" >> "$work/deaths"
        else
            died=0             # a moment behind the end is none: half of it
            until [ $died -eq 137 ]; do
                rm -rf "$work/dead"
                what="$run killed after $moment s"
                (timeout --foreground -s KILL $moment $(command_of $run) --out "$work/dead" > "$work/out" 2>&1; exit $?) 2> /dev/null
                died=$?
                moment=$(awk "BEGIN { print $moment / 2 }")
            done
            echo "died at a time" >> "$work/deaths"
        fi
        resumed $run "$work/dead" "$what"
    done < "$work/draws"
    echo "$(wc -l < "$work/deaths") of $kills killed:$(sort "$work/deaths" | uniq -c | awk '{ n = $1; sub(/^ *[0-9]+ died /, ""); printf " %d %s,", n, $0 }' | sed 's/,$//')"
}

# ---- a disk that is full from some point on, or answers with an error
errors() {
    draw $((kills / 4)) $((seed + 1)) > "$work/draws"
    while read -r run calls point moment way; do
        [ $calls = any ] && calls=
        [ "$way" = half ] && error=EIO || error=ENOSPC
        rm -rf "$work/ill"
        FAULT_CALLS=$calls FAULT_AT=$point FAULT_DO=$error LD_PRELOAD=$shim $(command_of $run) --out "$work/ill" > "$work/out" 2>&1
        is $? 1 "$run with $error from point $point on" "$work/out"
        line train "$work/out"
        resumed $run "$work/ill" "$run after $error from point $point on"
    done < "$work/draws"
    # what eval writes: every point of it
    for o in "score $work/h2 --count 6 --answers" "latents $work/h2 --prompts 8 --dump"; do
        FAULT_PATH=results FAULT_COUNT=$work/points LD_PRELOAD=$shim ./eval $o "$work/results" > "$work/out" 2>&1
        is $? 0 "eval $o" "$work/out"
        point=$(cat "$work/points")
        [ "$point" -gt 2 ] && ok || bad "eval $o: only $point points"
        while [ "$point" -gt 0 ]; do
            FAULT_PATH=results FAULT_AT=$point FAULT_DO=ENOSPC LD_PRELOAD=$shim ./eval $o "$work/results" > "$work/out" 2>&1
            is $? 1 "eval $o with a full disk from point $point on" "$work/out"
            line eval "$work/out"
            point=$((point - 1))
        done
    done
}

# ---- a disk that is full, a real one of few KB: it grows until the run fits
full() {
    mkdir -p "$work/disk"
    if ! mount -t tmpfs -o size=8k none "$work/disk" 2> /dev/null; then skip "a real full disk (only root may mount one)"; return; fi
    umount "$work/disk"
    for run in lm h2; do
        size=8 status=1
        while [ $status -ne 0 ]; do
            mount -t tmpfs -o size=${size}k none "$work/disk"
            $(command_of $run) --out "$work/disk/run" > "$work/out" 2>&1
            status=$?
            if [ $status -ne 0 ]; then
                is $status 1 "$run on $size KB" "$work/out"
                line train "$work/out"
                mount -o remount,size=4m "$work/disk"
                resumed $run "$work/disk/run" "$run after a disk of $size KB"
            fi
            umount "$work/disk"
            size=$((size + 12))
        done
        [ $size -gt 60 ] && ok || bad "$run fits $size KB"
        echo "$run: failed on disks of 8 to $((size - 24)) KB"
    done
}

# ---- a folder that is read-only, or goes away
folders() {
    if mkdir -p "$work/disk" && mount -t tmpfs none "$work/disk" 2> /dev/null; then
        cp -r "$work/h2" "$work/disk/run"
        mount -o remount,ro "$work/disk"
        $(command_of lm) --out "$work/disk/new" > "$work/out" 2>&1; is $? 1 "a new run in a read-only folder" "$work/out"
        line train "$work/out"
        ./eval score "$work/disk/run" --count 6 > "$work/out" 2>&1; is $? 0 "scoring in a read-only folder" "$work/out"
        ./eval score "$work/disk/run" --count 6 --answers "$work/disk/a" > "$work/out" 2>&1; is $? 1 "answers there" "$work/out"
        line eval "$work/out"
        $(command_of h2) --resume --out "$work/disk/run" > "$work/out" 2>&1; is $? 0 "a finished run there" "$work/out"
        $(command_of lm) --out "$work/none/lm" --dry-run > "$work/out" 2>&1; is $? 0 "a dry run" "$work/out"
        umount "$work/disk"
    else skip "a real read-only folder (only root may mount one)"; fi
    rm -rf "$work/dead"
    FAULT_AT=1 FAULT_DO=EROFS LD_PRELOAD=$shim $(command_of h2) --out "$work/dead" > "$work/out" 2>&1; is $? 1 "EROFS from the first point on" "$work/out"
    line train "$work/out"
    resumed h2 "$work/dead" "a folder that is no longer read-only"
    for keep in "" "--task text --data $work/text.txt --keep-best --score-points 1000 --score-count 2"; do
        rm -rf "$work/gone" "$work/away"
        begin "$work/gone" $long $keep
        mv "$work/gone" "$work/away"
        wait $pid; is $? 1 "a folder that is moved away ($keep)" "$work/out"
        line train "$work/out"
        [ -e "$work/gone" ] && bad "it was made again" || ok
        ./train --resume --out "$work/away" > "$work/said" 2>&1; is $? 0 "it goes on where it is now" "$work/said"
        [ -n "$keep" ] || same "$work/away/state.safetensors" "$work/long/state.safetensors"
    done
}

# A run of some seconds in the background, in which something can happen once its folder is whole.
begin() { folder=$1; shift; "$@" --out "$folder" > "$work/out" 2>&1 & pid=$!
    while [ ! -e "$folder/state.safetensors" ] && kill -0 $pid 2> /dev/null; do sleep 0.02; done; }
long="./train --objective lm $small --steps 6000 --score-points 0 --log-every 50 --save-every 60"
long_once() { [ -e "$work/long" ] || $long --out "$work/long" > "$work/said" 2>&1; }

# ---- closed streams
streams() {
    for closed in '<&-' '2>&-' '<&- 2>&-'; do
        rm -rf "$work/shut"
        eval "$(command_of lm) --out $work/shut $closed" > "$work/out" 2>> "$work/said"; is $? 0 "train $closed" "$work/out"
        if ends_like "$work/lm" "$work/shut"; then ok; else bad "train $closed: another run"; fi
    done
    for closed in '>&-' '<&- >&- 2>&-' '>&- 2>&-'; do
        rm -rf "$work/shut"
        sh -c "$(command_of lm) --out $work/shut $closed" 2> "$work/out"; is $? 1 "train $closed" "$work/out"
        resumed lm "$work/shut" "train $closed"
        for o in --help --version "score $work/h2 --count 4" "tokens $work/h2 --text 1" "compare $work/h2 --count 4 --no-analysis" \
                 "latents $work/h2 --prompts 8" "generate $work/h2 --prompt 1" "trace $work/h2 --prompt 1"; do
            sh -c "./eval $o $closed" 2> "$work/out"; is $? 1 "eval $o $closed" "$work/out"
        done
    done
    grep -l 'step=' "$work"/*/lock 2> /dev/null && bad "what was printed is in a lock" || ok
}

# ---- signals
signals() {
    for name in HUP TERM INT; do
        rm -rf "$work/stopped"
        begin "$work/stopped" env --default-signal=INT $long
        kill -$name $pid; wait $pid; is $? 130 "SIG$name" "$work/out"
        $long --resume --out "$work/stopped" > "$work/said" 2>&1; is $? 0 "after SIG$name" "$work/said"
        same "$work/stopped/state.safetensors" "$work/long/state.safetensors"
    done
    rm -rf "$work/piped"
    $long --out "$work/piped" 2> "$work/out" | head -n 1 > "$work/first"
    is "$(wc -l < "$work/first")" 1 "a pipe that closes after one line"
    [ "$(tail -n 1 "$work/piped/log.csv" | cut -d, -f1)" != 6000 ] && ok || bad "it did not stop at a closed pipe"
    $long --resume --out "$work/piped" > "$work/said" 2>&1; is $? 0 "after SIGPIPE" "$work/said"
    same "$work/piped/state.safetensors" "$work/long/state.safetensors"
    ./eval tokens "$work/h2" "$work/lines" > "$work/said" 2>&1
    for o in "score $work/h2 --count 6" "trace $work/h2 --prompt 1"; do
        (./eval $o; echo $? > "$work/status") 2> "$work/out" | true
        case $(cat "$work/status") in 0 | 1 | 141) ok ;; *) bad "eval $o | true: $(cat "$work/status")" ;; esac
    done
}

# ---- a clock that jumps a day or a year, forth and back
clock() {
    for run in lm h2; do
        rm -rf "$work/late"
        FAULT_CLOCK=1 LD_PRELOAD=$shim $(command_of $run) --out "$work/late" > "$work/out" 2>&1; is $? 0 "$run with a clock that jumps" "$work/out"
        if ends_like "$work/$run" "$work/late"; then ok; else bad "$run: the clock changes a result"; fi
        cut -d, -f7 "$work/late/log.csv" | awk 'NR > 1 && $1 < last { bad = 1 } { last = $1 + 0 } END { exit bad }' && ok || bad "$run: seconds go back: $(cut -d, -f7 "$work/late/log.csv" | tr '\n' ' ')"
        grep -qE 'left=-|steps_per_s=-|[0-9]{9}d' "$work/out" && bad "$run: $(grep -m 1 step= "$work/out")" || ok
    done
    FAULT_CLOCK=1 LD_PRELOAD=$shim timeout 60 $(command_of h2) --dry-run --out "$work/none" > "$work/out" 2>&1; is $? 0 "a dry run with a clock that jumps" "$work/out"
}

# ---- every system: the same bits with 1 to 8 threads
ten="none pause soft prompt wide coconut liu h1 h2 h1h2"
system_of() { case $1 in wide) echo "--system wide --base $2/base-wide" ;; *) echo "--system $1 --latents 3 --base $2/base" ;; esac; }
bases() { # PROGRAM FOLDER
    rm -rf "$2"; mkdir -p "$2"
    "$1" --objective lm --layers 2 --width 32 --heads 2 --batch 16 --steps 2 --score-points 0 --quiet --out "$2/base" > "$work/said" 2>&1 &&
    "$1" --objective lm --wide-of "$2/base" --batch 16 --steps 2 --score-points 0 --quiet --out "$2/base-wide" > "$work/said" 2>&1 || cat "$work/said"
}
threads() {
    bases ./train "$work/threads"
    for s in $ten; do
        for n in 1 2 3 4 5 6 7 8; do
            run=$work/threads/$s-$n
            ./train $(system_of $s "$work/threads") --batch 16 --steps 4 --score-points 2 --score-count 8 --max-new 6 --log-every 1 --quiet --threads $n --out "$run" > "$work/out" 2>&1
            is $? 0 "$s with $n threads" "$work/out"
            ends_like "$work/threads/$s-1" "$run" && ok || bad "$s with $n threads: other bits"
        done
    done
}

both() { # NAME COMPILER: both programs, NAME-train and NAME-eval
    mkdir -p "$work/$1-objects"
    ls dual.c data/*/*.c | xargs -P 2 -I FILE sh -c "$2 -c FILE -o $work/$1-objects/\$(echo FILE | tr / -).o"
    for p in train eval; do
        $2 $p.c "$work/$1-objects"/*.o -lm -o "$work/$1-$p" || { bad "$1-$p does not build"; return 1; }
    done
}

# ---- races: clang's ThreadSanitizer with Archer, which knows OpenMP
races() {
    clang=${CLANG:-clang}
    archer=$(find /usr/lib -name 'libarcher.so*' 2> /dev/null | head -n 1)
    flags="-std=c99 -g -O1 -fopenmp -fsanitize=thread"
    printf '%s\n' 'int main(void) {' 'static int sum, i;' '_Pragma("omp parallel for") for (i = 0; i < 9999; i++) sum += i;' 'return sum == 1; }' > "$work/race.c"
    if [ -z "$archer" ] || ! $clang $flags "$work/race.c" -o "$work/race" 2> "$work/said"; then
        skip "races (Debian: clang, libclang-rt-14-dev, libomp-14-dev)"; return
    fi
    export OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"
    "$work/race" > "$work/said" 2>&1; is $? 66 "a race that is there is found"
    both tsan "$clang $flags" || return
    bases "$work/tsan-train" "$work/tsan"
    for s in $ten; do
        "$work/tsan-train" $(system_of $s "$work/tsan") --batch 16 --steps 3 --score-points 1 --score-count 8 --max-new 6 --accumulate 2 --recompute --quiet --threads 4 --out "$work/tsan/$s" > "$work/out" 2>&1
        is $? 0 "$s with ThreadSanitizer" "$work/out"
        grep -q 'WARNING: ThreadSanitizer' "$work/out" && bad "$s: $(grep -A 3 -m 1 WARNING "$work/out" | tr '\n' ' ')" || ok
    done
    for o in "score $work/tsan/h2 --count 8" "latents $work/tsan/h1 --prompts 8" "compare $work/tsan/none $work/tsan/h2 --count 8 --prompts 8"; do
        "$work/tsan-eval" $o --threads 4 > "$work/out" 2>&1; is $? 0 "eval $o with ThreadSanitizer" "$work/out"
    done
    unset OMP_TOOL_LIBRARIES TSAN_OPTIONS
}

# ---- leaks: every command and every way out of both programs, without OpenMP, whose pool is its own
leaks() {
    look="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible"
    by="$cc -std=c99 -g -O1"
    if [ "$LEAKS" = sanitizer ]; then
        look= by="${CLANG:-clang} -std=c99 -g -O1 -fsanitize=address"
        export ASAN_OPTIONS=detect_leaks=1:exitcode=99
    elif ! command -v valgrind > /dev/null; then skip "leaks (Debian: valgrind; or LEAKS=sanitizer, with clang)"; return; fi
    echo 'int main(void) { char *p = __builtin_malloc(9); __builtin_printf("%d", p[1] = 1); p = 0; return !!p; }' > "$work/leak.c"
    $by -O0 "$work/leak.c" -o "$work/leak"
    $look "$work/leak" > "$work/out" 2>&1; is $? 99 "a leak that is there is found"
    both vg "$by" || return
    checked=0
    . "$here/faults/exits.sh"
    echo "leaks: $checked commands"
}
# leak STATUS PROGRAM ARGUMENT...: that exit status, and nothing of valgrind's
leak() {
    status=$1 program=$2; shift 2
    $look "$work/vg-$program" "$@" > "$work/out" 2>&1; got=$?
    checked=$((checked + 1))
    if [ $got -eq 99 ]; then bad "leak in $program $*: $(grep -a -A 12 -m 1 '^==' "$work/out" | sed -n 's/.* 0x[0-9A-Fa-f]*:* //p' | head -n 6 | tr '\n' ' ')"
    else is $got $status "$program $*" "$work/out"; fi
}

case $work in /*) ;; *) work=$PWD/$work ;; esac
shim=$work/shim.so
mkdir -p "$work"
if ! $cc -shared -fPIC -O1 -Wall -Wextra "$here/faults/shim.c" -ldl -o "$work/shim.so" 2> "$work/said"; then
    skip "everything: no library can be preloaded here: $(head -n 1 "$work/said")"; exit 0
fi
[ $# -gt 0 ] || set -- kills errors full folders streams signals clock threads races leaks
straight
for part; do
    before=$passed before_failed=$failed
    case $part in folders | signals) long_once ;; esac
    $part
    printf '%-8s %5d passed, %d failed\n' $part $((passed - before)) $((failed - before_failed))
done
[ $failed -eq 0 ] && rm -rf "$work"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
