#!/bin/sh
# Five ways to train on ProsQA and on GSM8K, from random weights, with equal steps and data: the
# answer alone, steps written out, Coconut's curriculum, soft tokens, h2. ProsQA trains on
# generated problems of the published sizes. What is finished is kept, so an interrupted plan goes
# on where it was. Usage: real.sh FOLDER, which holds prosqa/valid.json, prosqa/test.json,
# gsm8k/train.jsonl and gsm8k/test.jsonl; the runs go to runs/real. 189 TFLOP (ProsQA 7, GSM8K 182),
# 0.03 days: about 40 minutes of training and 5 of scoring on two cores.
data=$1 runs=runs/real arms="no-cot cot coconut soft h2"
for f in prosqa/valid.json prosqa/test.json gsm8k/train.jsonl gsm8k/test.jsonl; do
    [ -e "$data/$f" ] || {
        echo "real: no $data/$f; data/README.md, \"Real models and data\", fetches it" >&2
        exit 1
    }
done
model="--arch qwen3 --layers 2 --width 64 --heads 4 --batch 8 --lr 3e-3 --seed 1"

echo "real: 189 TFLOP, about 45 minutes (0.03 days) on two cores" >&2

run() { # a command, shown, then run
    echo "== $*" >&2
    "$@" && return
    echo "real: stopped; the same command goes on from here" >&2
    exit 1
}
score() { # run, name of the result, file of rows, how many
    if [ ! -s "$1/$2.json" ]; then
        run ./eval score "$1" --data "$3" --count "$4" --json > "$1/$2.tmp"
        mv "$1/$2.tmp" "$1/$2.json"
    fi
}
# task, steps, latents per stage, test rows, how many, then train's options for the task
plan() {
    task=$1 steps=$2 each=$3 test=$4 count=$5; shift 5
    for arm in $arms; do
        case $arm in       # six latents at the end in every arm that has any
        no-cot)  options="--system none" ;;
        cot)     options="--system none --steps-shown all" ;;
        coconut) options="--system coconut --steps-shown curriculum --latents-per-stage $each"
                 options="$options --reset-optimizer" ;;
        *)       options="--system $arm --latents 6" ;;
        esac
        run ./train --resume --task $task "$@" $model --steps $steps $options \
            --out $runs/$task-$arm
        score $runs/$task-$arm test "$test" $count
    done
}
# A column of the table from eval's JSON: `"key": {"hits", "of", "share", "low", "high"}`, in %
percent() { # file, key
    tr -d ' \n' < "$1" | sed "s/.*\"$2\":{\([^}]*\)}.*/\1/" | tr ',:' '\n ' | awk '
        { v[$1] = 100 * $2 }
        END { printf " %6.1f [%5.1f, %5.1f]", v["\"share\""], v["\"low\""], v["\"high\""] }'
}
number() { tr -d ' \n' < "$1" | sed "s/.*\"$2\":\([0-9.e+-]*\).*/\1/"; }
table() { # task, what the last columns are
    printf '\n%-8s %8s %6s %6s %-14s %6s %s\n' $1 trained TFLOP exact "[95 %]" loss "$2"
    for arm in $arms; do
        out=$runs/$1-$arm test=$runs/$1-$arm/test.json train=$runs/$1-$arm/train.json
        trained=$(./train --resume --dry-run --out $out 2>&1 |
            sed -n 's/^trained *\([^ ]*\) parameters.*/\1/p')
        printf '%-8s %8s %6.2f' $arm $trained $(tail -n 1 $out/log.csv | cut -d, -f6)
        percent $test accuracy
        printf ' %6.3f' $(number $test loss)
        if [ $1 = prosqa ]; then
            percent $test right_option
            printf ' %6d' $((500 - $(number $test neither_option)))
        else
            percent $train accuracy
            printf ' %6.3f' $(number $train loss)
        fi
        echo
    done
}
plan prosqa 1000 1 "$data/prosqa/test.json" 500 \
    --valid "$data/prosqa/valid.json" --score-points 1 --score-count 300 --context 512
plan gsm8k 18700 2 "$data/gsm8k/test.jsonl" 1319 \
    --data "$data/gsm8k/train.jsonl" --context 1280
for arm in $arms; do score $runs/gsm8k-$arm train "$data/gsm8k/train.jsonl" 500; done
table prosqa " right option           of 500 name an option"
table gsm8k " on training rows         loss"
