#!/bin/sh
# One run by 1, 2 and 4 ranks (mpirun). Ends with `N passed, N failed`.
# Usage: tests/mpi/check.sh BUILD
cd "$(dirname "$0")/../.." || exit 2
work=$1/mpi
for tool in "${MPICC:-mpicc}" mpirun; do
    command -v "$tool" > /dev/null && continue
    echo "skipped: several processes: no $tool (Debian: libopenmpi-dev openmpi-bin)"
    exit 0
done
${MAKE:-make} --no-print-directory train train-mpi || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
rm -rf "$work"; mkdir -p "$work"
passed=0 failed=0
check() { # what, command
    what=$1; shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $what"; fi
}
few="--seed 1 --batch 10 --steps 12 --score-points 1 --score-count 8 --log-every 1 --quiet --threads 1"
ranks() { # how many, options of train
    n=$1; shift
    mpirun -n "$n" ./train-mpi "$@" > "$work/out" 2> "$work/err"
}
same_state() { cmp "$1/state.safetensors" "$2/state.safetensors"; }
# Losses and gradient norms of all steps: 1e-5 of each other in float.
same_log() {
    paste -d , "$1/log.csv" "$2/log.csv" | awk -F, -v of="$1 $2" '
        NR > 1 { for (i = 2; i <= 3; i++) {
                     d = $i - $(i + NF / 2)
                     if (d < 0) d = -d
                     if (!($i > 0) || d > 1e-5 * $i) { print of ": " $0; exit bad = 1 } }
                 n++ }
        END { exit bad || n < 5 }'
}

./train --objective lm --layers 2 --width 32 $few --out "$work/base" > "$work/out" 2>&1 || exit 1
trained() { # name, its options; straight, then by 1, 2 and 4 ranks, 2 ranks twice
    name=$work/$1; shift
    ./train $few "$@" --out "$name" > "$work/out" 2>&1 || { cat "$work/out"; exit 1; }
    for n in 1 2 4; do
        check "$name: $n ranks train" ranks $n $few "$@" --out "$name-$n"
        check "$name: $n ranks have its losses" same_log "$name" "$name-$n"
    done
    check "$name: one rank is ./train" same_state "$name" "$name-1"
    check "$name: 2 ranks again" ranks 2 $few "$@" --out "$name-again"
    check "$name: 2 ranks end in the same bits twice" same_state "$name-2" "$name-again"
}
trained lm --objective lm --layers 2 --width 32
for system in none soft liu h1 h2 coconut; do
    trained $system --system $system --base "$work/base" --latents 3
done
trained parts --system h2 --base "$work/base" --accumulate 2
trained text-loss --system h2 --base "$work/base" --text-loss 0.5
for form in plain centred; do
    trained $form --system liu --base "$work/base" --orthogonality 1 --orthogonality-form $form
done

# A run goes on with any number of ranks, and on its way a rank is killed.
long="--system h2 --base $work/base --seed 1 --batch 8 --steps 4000 --save-every 20 --score-points 0
--log-every 1 --quiet --threads 1"
mpirun -n 2 ./train-mpi $long --out "$work/killed" > "$work/out" 2> "$work/err" &
job=$!
until [ -e "$work/killed/log.csv" ] && [ "$(wc -l < "$work/killed/log.csv")" -gt 30 ]; do sleep 0.1; done
kill -9 "$(ps -o pid= --ppid $job | tail -n 1)"
wait $job
check "a killed rank ends the job" test $? -ne 0
check "the job says which" grep -q 'rank' "$work/err"
saved=$(($(wc -l < "$work/killed/log.csv") - 1))
for n in 0 1 4; do
    cp -r "$work/killed" "$work/resumed-$n"
done
go_on() { # how many ranks (0: ./train): stopped by a signal once it has gone on
    if [ "$1" = 0 ]; then set -- "$1" ./train; else set -- "$1" mpirun -n "$1" ./train-mpi; fi
    to=$work/resumed-$1; shift
    "$@" --resume --out "$to" > "$work/out" 2> "$work/err" &
    job=$!
    until [ "$(wc -l < "$to/log.csv")" -gt $((saved + 30)) ]; do
        kill -0 $job 2> /dev/null || break
        sleep 0.1
    done
    kill -INT $job
    wait $job
    [ "$(wc -l < "$to/log.csv")" -gt $((saved + 30)) ]
}
for n in 0 1 4; do check "$n ranks go on where 2 were killed" go_on $n; done

refused() { # pattern, how many, options
    pattern=$1; shift
    ! ranks "$@" && [ "$(grep -c '^train' "$work/err")" = 1 ] && grep -q "$pattern" "$work/err"
}
check "fewer sequences than ranks" refused '^train: --batch 3 is less' 4 --system none \
    --base "$work/base" --batch 3 --out "$work/x"
check "an unknown option, once" refused '^train: .*--colour' 2 --colour red
check "no such Base, once" refused 'nowhere' 2 --system none --base "$work/nowhere" --out "$work/x"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
