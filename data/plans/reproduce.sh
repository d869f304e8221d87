#!/bin/sh
# The paper's comparisons at small scale, with seeds: `make reproduce`, `make reproduce-quick`.
# Interrupted at any point, the same command goes on from the last checkpoint of each run.
#
#   reproduce.sh [PART..]          train what is missing, write the tables, compare
#   reproduce.sh --list [PART..]   the same as one shell command a line, in any order or all at once
#   reproduce.sh --one RUN         one line of that list; what it needs (its Base) comes first
#   reproduce.sh --rates [PART..]  the sweep of learning rates, into OUT/rates.csv; comes before all
#   reproduce.sh --tables          OUT/PART.csv and OUT/tables.md from whatever runs are finished
#   reproduce.sh --compare PART..  OUT/PART-compared.md: ./eval compare of its finished runs
#   reproduce.sh --runs PART..     folders of the finished runs, for ./eval compare
#   reproduce.sh --take DIR        goes on from another machine's tables: DIR's rows and rates count
#                                  as finished here; only a Base that is needed is trained again
#
#   QUICK=1    the same matrix small: width 48, 1/12 of the steps, 1/4 of the batch, 2 seeds
#   JOBS=N     runs side by side, one thread each; as many as there are processors. On 2 cores two
#              runs of one thread are faster than one after another with two threads each.
#   RUNS=DIR   where the runs are: runs/reproduce        OUT=DIR   tables: data/results
#   SCALE=N    every number of steps divided by N        RATES=FILE instead of OUT/rates.csv
#   COUNT=N    problems of a final score: 4000
#   TEXT=FILE  what `pretrain` and `finetune` read; without it they are left out
set -u
QUICK=${QUICK:-0} TEXT=${TEXT:-} here=$0
if [ "$QUICK" = 1 ]; then
    RUNS=${RUNS:-runs/quick} OUT=${OUT:-runs/quick/results} SCALE=${SCALE:-12}
    seeds_most=2 COUNT=${COUNT:-200} prompts=256 batches=4
    small='--score-count 50' width='--width 48 --heads 4'
else
    RUNS=${RUNS:-runs/reproduce} OUT=${OUT:-data/results} SCALE=${SCALE:-1}
    seeds_most=99 COUNT=${COUNT:-4000} prompts=2048 batches=1 small='' width=''
fi
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)} RATES=${RATES:-$OUT/rates.csv}
export QUICK TEXT RUNS OUT SCALE COUNT JOBS RATES

# ---- The matrix -------------------------------------------------------------------------------
# Every run starts from a Base of its own seed: one Base for all seeds would be one draw. Minutes
# are those of one run on one core at 40 GFLOP/s (Zen 3, AVX2, nobody else there), 20 where the
# passes are very small.

# What each part asks, and its hours on 2 cores with the Bases that no earlier part has made: 10 in
# all. --rates takes 2 more.
#   main      1.8  all systems on Countdown 3, from a Base that knows the form and not the task
#   solved    0.6  the same from a Base that can do part of the task
#   depth1    0.5  one layer: latents are another pass through it
#   longer    0.8  the same for four times as long, at equal FLOPs; a single model of two layers
#   wide      0.9  one larger model, with as many parameters as Base and Coprocessor
#   branch4   0.9  Countdown with 4 numbers
#   branch5   0.6  Countdown with 5 numbers
#   budget3   0.5  N_L from 1 to 16, with 3 numbers
#   budget4   0.6  N_L from 1 to 16, with 4 numbers
#   blocks    0.7  Qwen-3 in place of GPT-2
#   prosqa    0.6  ProsQA, with and without curriculum
#   pretrain  1.7  a text: perplexity of the tokens ahead
#   finetune  0.4  Countdown from there, or from a Base of that text
#   shaping   0.5  the penalty on latents that point the same way
#   reviewers 0.2  what reviewers asked for; other latents and longer problems are in every part
#
# How the sizes were chosen, with seed 101 at a rate of 3e-3. Countdown 3 with numbers 1-50 has
# 84,405 training problems (1-20: 8,820, nearly all met in 600 steps). On it `none` has 65 % after
# 2,400 steps (30 to 80 were wanted), h1 46, liu 34; at twice the batch they have 67, 44 and 29, for
# twice the time. The Base passes its gate after 4,000 steps of 128 (92 % use each number once; 84 %
# after 2,000, or at half the batch). On this ProsQA the steps written out reach 39 % after the
# Base's 1,500 steps and 59 % after 1,500 more, the answer alone 89 %.
PARTS="main solved depth1 longer wide branch4 branch5 budget3 budget4 blocks prosqa pretrain"
PARTS="$PARTS finetune shaping reviewers"

# Words in capitals stand for the options that `expand` has for them.
# Bases: name, minutes, options
bases() { cat << 'END'
form3     8.5 LM THREE --context 64 --sequence 32 --batch 128 --steps 4000
solved3   8.5 LM THREE --context 64 --sequence 32 --batch 128 --steps 4000 --solved 0.3
shallow   2.4 LM THREE --context 64 --sequence 32 --batch 128 --steps 4000 --layers 1
two       4.5 LM THREE --context 64 --sequence 32 --batch 128 --steps 4000 --layers 2
qwen3     8.5 LM THREE --context 64 --sequence 32 --batch 128 --steps 4000 --arch qwen3
form45   10.0 LM FOUR-FIVE --context 128 --sequence 48 --batch 96 --steps 4000
stage0    2.3 --task prosqa PROSQA --context 200 --batch 32 --steps 1500 --steps-shown all --lr 3e-3
text      9.9 LM TEXT --context 160 --batch 32 --steps 3000
wide3    18.6 LM THREE --sequence 32 --batch 128 --steps 4000 --lr 5e-3 WIDE-OF form3
textwide 22.0 LM TEXT --batch 32 --steps 3000 --lr 5e-3 WIDE-OF text
END
}
prosqa="--nodes 6-10 --path 2-3 --concepts 16 --names 6"

# Parts: name, points of the learning curve, options of all its arms
parts() { cat << 'END'
main      8 THREE --batch 64 --steps 2400 --latents 8
solved    8 THREE --batch 64 --steps 1200 --latents 8
longer    4 THREE --batch 64 --steps 9600 --latents 8
wide      8 THREE --batch 64 --steps 2400 --latents 8
depth1    4 THREE --batch 64 --steps 2400 --latents 8
branch4   4 FOUR --batch 64 --steps 2400 --latents 8
branch5   4 FIVE --batch 64 --steps 2400 --latents 8
budget3   4 THREE --batch 64 --steps 2400
budget4   4 FOUR --batch 64 --steps 2400
blocks    4 THREE --batch 64 --steps 2400 --latents 8
prosqa    4 --task prosqa PROSQA --batch 32 --steps 1500 --latents 3
pretrain  4 PRETRAIN TEXT --batch 16 --steps 1500 --latents 8
finetune  4 THREE --batch 64 --steps 1200 --latents 8
shaping   4 THREE --batch 64 --steps 2400 --latents 8
reviewers 4 THREE --batch 64 --steps 2400 --latents 8
END
}

# Arms: part, arm, seeds, minutes, Base, whose learning rate, options. A Base PART/ARM is that arm's
# run of the same seed, with its Coprocessor (--from). `= PART/ARM`: that very run, not trained
# twice.
arms() { cat << 'END'
main      none          8  1.0 form3   main/none      --system none
main      cot           5  2.0 form3   main/cot       --system none --steps-shown all
main      pause         5  1.6 form3   main/pause     --system pause
main      soft          8  1.6 form3   main/soft      --system soft
main      prompt        5  0.9 form3   main/prompt    --system prompt
main      coconut       5  3.4 form3   main/coconut   --system coconut
main      liu           8  1.6 form3   main/liu       --system liu
main      h1            8  0.9 form3   main/h1        --system h1
main      h2            8  2.1 form3   main/h2        --system h2
main      h1h2          8  1.4 form3   main/h1h2      --system h1h2
main      none-flops    8  2.1 form3   main/none      --system none --match-flops main/h2
main      soft-flops    8  2.1 form3   main/soft      --system soft --match-flops main/h2
solved    none          5  0.5 solved3 solved/none    --system none
solved    soft          5  0.8 solved3 solved/soft    --system soft
solved    prompt        5  0.5 solved3 solved/prompt  --system prompt
solved    liu           5  0.8 solved3 solved/liu     --system liu
solved    h1            5  0.5 solved3 solved/h1      --system h1
solved    h2            5  1.1 solved3 solved/h2      --system h2
solved    h1h2          5  0.7 solved3 solved/h1h2    --system h1h2
longer    h2            5  3.6 shallow main/h2        --system h2
longer    none-flops    5  3.6 shallow main/none      --system none --match-flops longer/h2
longer    deep-flops    5  3.6 two     main/none      --system none --match-flops longer/h2
longer    soft-flops    5  3.6 shallow main/soft      --system soft --match-flops longer/h2
wide      none          5    0 form3   main/none      = main/none
wide      soft          5    0 form3   main/soft      = main/soft
wide      h2            5    0 form3   main/h2        = main/h2
wide      wide          5  3.2 wide3   wide/wide      --system wide
depth1    none          8  0.4 shallow main/none      --system none
depth1    soft          8  0.6 shallow main/soft      --system soft
depth1    h2            8  0.9 shallow main/h2        --system h2
depth1    h1h2          8  0.6 shallow main/h1h2      --system h1h2
depth1    none-flops    8  0.9 shallow main/none      --system none --match-flops depth1/h2
depth1    soft-flops    8  0.9 shallow main/soft      --system soft --match-flops depth1/h2
branch4   none          5  1.2 form45  main/none      --system none
branch4   cot           5  2.9 form45  main/cot       --system none --steps-shown all
branch4   soft          5  1.9 form45  main/soft      --system soft
branch4   liu           5  1.7 form45  main/liu       --system liu
branch4   h1            5  1.1 form45  main/h1        --system h1
branch4   h2            5  2.4 form45  main/h2        --system h2
branch5   none          5  1.6 form45  main/none      --system none
branch5   cot           5  3.8 form45  main/cot       --system none --steps-shown all
branch5   soft          5  2.2 form45  main/soft      --system soft
branch5   liu           5  1.9 form45  main/liu       --system liu
branch5   h1            5  1.3 form45  main/h1        --system h1
branch5   h2            5  2.7 form45  main/h2        --system h2
budget3   soft-1        3  1.1 form3   main/soft      --system soft --latents 1
budget3   soft-2        3  1.1 form3   main/soft      --system soft --latents 2
budget3   soft-4        3  1.3 form3   main/soft      --system soft --latents 4
budget3   soft-8        3    0 form3   main/soft      = main/soft
budget3   soft-16       3  2.2 form3   main/soft      --system soft --latents 16
budget3   liu-1         3  0.7 form3   main/liu       --system liu --latents 1
budget3   liu-2         3  0.8 form3   main/liu       --system liu --latents 2
budget3   liu-4         3  1.1 form3   main/liu       --system liu --latents 4
budget3   liu-8         3    0 form3   main/liu       = main/liu
budget3   liu-16        3  2.6 form3   main/liu       --system liu --latents 16
budget3   h1-1          3  0.6 form3   main/h1        --system h1 --latents 1
budget3   h1-2          3  0.6 form3   main/h1        --system h1 --latents 2
budget3   h1-4          3  0.7 form3   main/h1        --system h1 --latents 4
budget3   h1-8          3    0 form3   main/h1        = main/h1
budget3   h1-16         3  1.5 form3   main/h1        --system h1 --latents 16
budget3   h2-1          3  1.1 form3   main/h2        --system h2 --latents 1
budget3   h2-2          3  1.2 form3   main/h2        --system h2 --latents 2
budget3   h2-4          3  1.5 form3   main/h2        --system h2 --latents 4
budget3   h2-8          3    0 form3   main/h2        = main/h2
budget3   h2-16         3  3.4 form3   main/h2        --system h2 --latents 16
budget4   soft-1        3  1.4 form45  main/soft      --system soft --latents 1
budget4   soft-2        3  1.4 form45  main/soft      --system soft --latents 2
budget4   soft-4        3  1.6 form45  main/soft      --system soft --latents 4
budget4   soft-8        3    0 form45  main/soft      = branch4/soft
budget4   soft-16       3  2.5 form45  main/soft      --system soft --latents 16
budget4   liu-1         3  0.8 form45  main/liu       --system liu --latents 1
budget4   liu-2         3  0.9 form45  main/liu       --system liu --latents 2
budget4   liu-4         3  1.2 form45  main/liu       --system liu --latents 4
budget4   liu-8         3    0 form45  main/liu       = branch4/liu
budget4   liu-16        3  2.8 form45  main/liu       --system liu --latents 16
budget4   h1-1          3  0.7 form45  main/h1        --system h1 --latents 1
budget4   h1-2          3  0.8 form45  main/h1        --system h1 --latents 2
budget4   h1-4          3  0.9 form45  main/h1        --system h1 --latents 4
budget4   h1-8          3    0 form45  main/h1        = branch4/h1
budget4   h1-16         3  1.7 form45  main/h1        --system h1 --latents 16
budget4   h2-1          3  1.3 form45  main/h2        --system h2 --latents 1
budget4   h2-2          3  1.4 form45  main/h2        --system h2 --latents 2
budget4   h2-4          3  1.8 form45  main/h2        --system h2 --latents 4
budget4   h2-8          3    0 form45  main/h2        = branch4/h2
budget4   h2-16         3  3.7 form45  main/h2        --system h2 --latents 16
blocks    none          5  1.0 qwen3   blocks/none    --system none
blocks    soft          5  1.6 qwen3   blocks/soft    --system soft
blocks    liu           5  1.6 qwen3   blocks/liu     --system liu
blocks    h1            5  0.9 qwen3   blocks/h1      --system h1
blocks    h2            5  2.1 qwen3   blocks/h2      --system h2
prosqa    none          3  1.8 stage0  prosqa/none    --system none
prosqa    none-c        3  2.0 stage0  prosqa/none    --system none CURRICULUM
prosqa    cot           3  2.3 stage0  prosqa/none    --system none --steps-shown all
prosqa    coconut       3  2.5 stage0  prosqa/none    --system coconut
prosqa    coconut-c     3  2.5 stage0  prosqa/none --system coconut CURRICULUM --latents-per-stage 1
prosqa    soft          3  2.0 stage0  prosqa/soft    --system soft
prosqa    soft-c        3  2.1 stage0  prosqa/soft    --system soft CURRICULUM
prosqa    h1            3  1.5 stage0  prosqa/h1      --system h1
prosqa    h1-c          3  1.6 stage0  prosqa/h1      --system h1 CURRICULUM
prosqa    h2            3  2.5 stage0  prosqa/h2      --system h2
prosqa    h2-c          3  2.6 stage0  prosqa/h2      --system h2 CURRICULUM
pretrain  none          3  3.9 text    pretrain/none  --system none
pretrain  pause         3  4.8 text    pretrain/soft  --system pause
pretrain  soft          3  4.8 text    pretrain/soft  --system soft
pretrain  wide          3 10.0 textwide pretrain/soft  --system wide
pretrain  liu           3  4.4 text    pretrain/liu   --system liu
pretrain  h1            3  4.0 text    pretrain/h1    --system h1
pretrain  h2            3  5.1 text    pretrain/h2    --system h2
finetune  none          3  1.4 text    finetune/none  --system none
finetune  none-pre      3  1.4 pretrain/none finetune/none  --system none
finetune  soft          3  1.7 text    finetune/none  --system soft
finetune  soft-pre      3  1.7 pretrain/soft finetune/none  --system soft
finetune  liu           3  1.7 text    finetune/liu   --system liu
finetune  liu-pre       3  1.7 pretrain/liu finetune/liu   --system liu
finetune  h1            3  1.7 text    finetune/liu   --system h1
finetune  h1-pre        3  1.7 pretrain/h1 finetune/liu   --system h1
finetune  h2            3  1.9 text    finetune/none  --system h2
finetune  h2-pre        3  1.9 pretrain/h2 finetune/none  --system h2
shaping   h2            3    0 form3   main/h2        = main/h2
shaping   h2-plain-.1   3  2.1 form3   main/h2        --system h2 --orthogonality 0.1
shaping   h2-plain-1    3  2.1 form3   main/h2        --system h2 --orthogonality 1
shaping   h2-centred-.1 3  2.1 form3   main/h2        --system h2 --orthogonality 0.1 CENTRED
shaping   h2-centred-1  3  2.1 form3   main/h2        --system h2 --orthogonality 1 CENTRED
shaping   liu           3    0 form3   main/liu       = main/liu
shaping   liu-plain-.1  3  1.6 form3   main/liu       --system liu --orthogonality 0.1
shaping   liu-plain-1   3  1.6 form3   main/liu       --system liu --orthogonality 1
shaping   liu-centred-.1 3  1.6 form3   main/liu       --system liu --orthogonality 0.1 CENTRED
shaping   liu-centred-1 3  1.6 form3   main/liu       --system liu --orthogonality 1 CENTRED
shaping   h1            3    0 form3   main/h1        = main/h1
shaping   h1-plain-.1   3  1.1 form3   main/h1        --system h1 --orthogonality 0.1 VALUES
shaping   h1-plain-1    3  1.1 form3   main/h1        --system h1 --orthogonality 1 VALUES
shaping   h1-centred-.1 3  1.1 form3   main/h1        --system h1 --orthogonality 0.1 CENTRED-VALUES
shaping   h1-centred-1  3  1.1 form3   main/h1        --system h1 --orthogonality 1 CENTRED-VALUES
reviewers liu           3    0 form3   main/liu       = main/liu
reviewers h1            3    0 form3   main/h1        = main/h1
reviewers h1-lower      3  0.9 form3   main/h1        --system h1 --kv-layers 0-1
reviewers h1-upper      3  0.9 form3   main/h1        --system h1 --kv-layers 2-3
reviewers h2            3    0 form3   main/h2        = main/h2
reviewers h2-detached   3  1.9 form3   main/h2        --system h2 --detach-cache
reviewers h2-fused      3  2.6 form3   main/h2        --system h2 --fused
END
}
curriculum="--steps-shown curriculum --stages 3 --reset-optimizer"

# ---- From the tables to commands ----------------------------------------------------------------
# A run is named base/NAME-SEED or PART/ARM-SEED, which is its folder in RUNS as well.

say() { echo "reproduce: $*" >&2; }
fail() { say "$@"; exit 1; }
line_of() { # a table on standard input, words that its line begins with
    awk -v want="$*" '{
        n = split(want, w)
        for (i = 1; i <= n; i++) if ($i != w[i]) next
        print; exit }'
}
# The rate that the sweep found best for PART/ARM. Before a sweep 3e-3, which was best for most.
rate_of() {
    [ ! -e "$RATES" ] || awk -F, -v arm="$1" '
        $1 == arm && (rate == "" || $3 + 0 > best) { best = $3 + 0; rate = $2 }
        END { if (rate) print rate }' "$RATES"
}
# Words of the tables as train's options, in $options. Seed first.
expand() {
    seed=$1 options=''; shift
    while [ $# -gt 0 ]; do
        case $1 in
        PROSQA) word=$prosqa ;;
        CURRICULUM) word=$curriculum ;;
        CENTRED) word='--orthogonality-form centred' ;;
        VALUES) word='--orthogonality-form values' ;;
        CENTRED-VALUES) word='--orthogonality-form centred-values' ;;
        PRETRAIN) word='--objective pretrain --groups 7 --ahead 16 --score-count 64' ;;
        LM) word='--objective lm' ;;
        THREE) word='--numbers 3 --range 1-50' ;;
        FOUR) word='--numbers 4 --range 1-20' ;;
        FIVE) word='--numbers 5 --range 1-20' ;;
        FOUR-FIVE) word='--numbers 4-5 --range 1-20' ;;
        TEXT) word="--task text --data $TEXT" ;;
        WIDE-OF) word="--wide-of $RUNS/base/$2-$seed"; shift ;;
        --match-flops) word="--match-flops $RUNS/$2-$seed"; shift ;;
        --batch) word="--batch $(($2 / batches))"; shift ;;
        --steps) word="--steps $((1 + ($2 - 1) / SCALE))"; shift ;;
        *) word=$1 ;;
        esac
        options="$options $word"; shift
    done
    case $options in                  # as many steps as the FLOPs take
    *--match-flops*) options=$(echo "$options" | sed 's/--steps [0-9]*//') ;;
    esac
    options="$options $small"
}
# A run by its name: its $options and what it $needs first. A rate overrides that of the plan.
look_up() {
    part=${1%%/*} arm=${1#*/} needs=''
    seed=${arm##*-} arm=${arm%-*}
    if [ "$part" = base ]; then
        set -- $(bases | line_of "$arm")
        [ $# -gt 0 ] || fail "there is no Base named $arm"
        shift 2
        case "$*" in *WIDE-OF*) needs="base/$(echo "$*" | sed 's/.*WIDE-OF //')-$seed" ;; esac
        expand "$seed" "$@"
        [ -n "$needs" ] || options="$options $width"
        options="$options --score-points 0 --seed $seed"
        return
    fi
    set -- "${2:-}" $(arms | line_of "$part" "$arm")
    [ $# -gt 1 ] || fail "there is no arm $part/$arm"
    [ "$8" != = ] || fail "$part/$arm-$seed is $9-$seed"
    rate=${1:-$(rate_of "$7")} base=$6
    shift 7
    case $base in */*) needs="$base-$seed" ;; *) needs="base/$base-$seed" ;; esac
    from=--base
    case "$needs" in base/*|*/none-*) ;; *) from=--from ;; esac
    case "$*" in
    *--match-flops*) needs="$needs $(echo "$*" | sed 's/.*--match-flops //')-$seed" ;;
    esac
    set -- $(parts | line_of "$part") "$@"
    points=$2
    shift 2
    expand "$seed" "$@"
    options="$options $from $RUNS/${needs%% *} --lr ${rate:-3e-3} --seed $seed"
    options="$options --score-points $points"
}
part_is_wanted() { # part, those asked for (none: all)
    wanted=$1; shift
    case $wanted in pretrain|finetune) [ -n "$TEXT" ] || return 1 ;; esac
    [ $# -eq 0 ] && return
    case " $* " in *" $wanted "*) ;; *) return 1 ;; esac
}
# Names and minutes of all runs of some parts: Bases first, then seed by seed, so that whatever is
# finished early is whole comparisons of fewer seeds.
plan() {
    for p in "$@"; do
        case " $PARTS " in *" $p "*) ;; *) fail "there is no part $p: $PARTS" ;; esac
    done
    [ -n "$TEXT" ] || say "no TEXT=FILE: pretrain and finetune are left out"
    for p in $PARTS; do
        part_is_wanted "$p" "$@" || continue
        arms | awk -v part="$p" -v most="$seeds_most" '
            { minutes[$1 "/" $2] = $4; base[$1 "/" $2] = $5 }
            $1 == part {
                arm = $7 == "=" ? $8 : $1 "/" $2
                n = $3 < most ? $3 : most
                for (s = 1; s <= n; s++) print s, arm "-" s, minutes[arm], base[arm] }' |
            sort -s -n -k 1,1 | cut -d ' ' -f 2-
    done | awk '!seen[$1]++' > "$RUNS/plan.arms"
    { bases; echo; cat "$RUNS/plan.arms"; } | awk '
        /^$/ { arms = 1; next }
        !arms { minutes[$1] = $2; for (i = 3; i < NF; i++) if ($i == "WIDE-OF") from[$1] = $(i + 1)
                next }
        { n = split($1, w, "-"); seed = w[n]; line[++lines] = $1 " " $2
          if ($3 !~ /\//) { if ($3 in from) base(from[$3]); base($3) } }
        function base(b) { if (!seen[b, seed]++) print "base/" b "-" seed, minutes[b] }
        END { for (i = 1; i <= lines; i++) print line[i] }'
}

# ---- One run ------------------------------------------------------------------------------------

machine() { # what another machine's digits may depend on
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2> /dev/null | head -n 1)
    vectors=$(grep -o -m 1 -E -w 'avx512f|avx2' /proc/cpuinfo 2> /dev/null | sort | tail -n 1)
    echo "$(uname -sm) ${cpu:-} ${vectors:-} cc $(cc -dumpversion 2> /dev/null)" |
        tr -s ', ' ' '
}
commit() { # with a + where a source differs from it
    id=$(git rev-parse --short=12 HEAD 2> /dev/null) || { echo unknown; return; }
    git diff --quiet HEAD -- '*.c' '*.h' Makefile || id=$id+
    echo "$id"
}
# Trains into a folder with $options. Where another process does so already, it waits for that.
train_into() {
    mkdir -p "$RUNS/${1%/*}"
    { cat "$RUNS/$1.made" 2> /dev/null; commit; } | sort -u > "$RUNS/$1.made.$$"
    mv "$RUNS/$1.made.$$" "$RUNS/$1.made"
    until ./train --resume --quiet --threads 1 --save-every 100 $options --out "$RUNS/$1" \
              > "$RUNS/$1.log" 2>&1; do
        if ! grep -q 'is in use: .* trains into it' "$RUNS/$1.log"; then
            say "$1: $(grep -v '^step=' "$RUNS/$1.log" | tail -n 2)"
            return 1
        fi
        sleep 2
    done
    : > "$RUNS/$1/trained"
}
train() { # a run by its name, what it needs first
    [ -e "$RUNS/$1/trained" ] && return
    ( look_up "$1"
      for n in $needs; do train "$n" || exit; done
      train_into "$1" )
}

# Values out of eval's JSON (a file without blanks and line breaks)
number() { sed -n "s/.*\"$2\":\(-\{0,1\}[0-9.][0-9.e+-]*\).*/\1/p" "$1" 2> /dev/null; }
share() { sed -n "s/.*\"$2\":{[^}]*\"share\":\([0-9.e-]*\).*/\1/p" "$1" 2> /dev/null; }
ask() { # file, eval's command and options: the document without blanks
    answer=$1; shift
    ./eval "$@" --threads 1 --json 2> "$answer.err" | tr -d ' \n' > "$answer"
    [ -s "$answer" ] || fail "eval $*: $(tail -n 1 "$answer.err")"
}
# Problems with one number more than the run was trained on, in a file of rows
longer_rows() { # numbers, their range
    rows=$RUNS/longer-$1.jsonl
    if [ ! -s "$rows" ]; then
        tiny=$RUNS/longer-$1.$$
        ./train --objective lm --numbers $(($1 + 1)) --range "$2" --width 8 --heads 1 --layers 1 \
            --context 40 --batch 1 --steps 1 --threads 1 --score-points 0 --score-count 8 --quiet \
            --out "$tiny" > /dev/null 2>&1 &&
            ./eval score "$tiny" --count 1000 --max-new 1 --threads 1 --answers "$tiny.answers" \
                > /dev/null 2>&1 || fail "no longer problems could be made in $RUNS"
        sed 's/.*"numbers: \([0-9 ]*\) target: \([0-9]*\)".*/\1,\2/' "$tiny.answers" |
            sed 's/ /,/g; s/\(.*\),\(.*\)/{"nums":[\1],"target":\2}/' > "$rows.$$"
        mv "$rows.$$" "$rows"
        rm -rf "$tiny" "$tiny.answers"
    fi
    echo "$rows"
}
# The row of a finished run: a line of names, a line of values.
columns="seed commit machine seconds tflop steps loss of right swapped mean noise zero of_heldout
heldout heldout_swapped of_longer longer right_option h_off h_floor silhouette"
row() { # name
    out=$RUNS/$1 a=$RUNS/$1/answer; shift
    task=$(sed -n 's/.*"task": "\([a-z0-9]*\)".*/\1/p' "$out/run.json")
    objective=$(sed -n 's/.*"objective": "\([a-z]*\)".*/\1/p' "$out/run.json")
    for v in $columns; do eval "$v=''"; done
    seed=$(sed -n 's/.*"seed": \([0-9]*\).*/\1/p' "$out/run.json")
    commit=$(tr '\n' ' ' < "$out.made" | sed 's/ $//') machine=$(machine)
    steps=$(tail -n 1 "$out/log.csv" | cut -d , -f 1) ahead=''
    tflop=$(tail -n 1 "$out/log.csv" | cut -d , -f 6)
    seconds=$(tail -n 1 "$out/log.csv" | cut -d , -f 7)
    if [ "$task" != text ]; then
        ask "$a" score "$out" --count $COUNT
        loss=$(number "$a" loss) of=$(number "$a" count) right=$(share "$a" accuracy)
        right_option=$(share "$a" right_option)
        reads=$(grep -c '"inject":"\(embed\|kv\)"' "$a")
        if [ "$reads" = 1 ]; then      # the latents depend on the problem
            for which in swapped mean noise zero; do
                ask "$a" score "$out" --count $COUNT --latents-from $which
                eval "$which=$(share "$a" accuracy)"
            done
        fi
        if [ "$task" = countdown ]; then
            ask "$a" score "$out" --count $COUNT --split heldout
            of_heldout=$(number "$a" count) heldout=$(share "$a" accuracy)
            n=$(sed -n 's/.*"numbers": "\([3-5]\)".*/\1/p' "$out/run.json")
            range=$(sed -n 's/.*"range": "\([0-9-]*\)".*/\1/p' "$out/run.json")
            if [ "$reads" = 1 ]; then
                ask "$a" score "$out" --count $COUNT --split heldout --latents-from swapped
                heldout_swapped=$(share "$a" accuracy)
            fi
            if [ "$n" ] && [ "$objective" = answer ]; then
                rows=$(longer_rows "$n" "$range") || exit
                ask "$a" score "$out" --count $COUNT --data "$rows"
                of_longer=$(number "$a" count) longer=$(share "$a" accuracy)
            fi
        fi
    elif [ "$objective" = pretrain ]; then
        ask "$a" perplexity "$out"
        ahead=$(sed 's/.*"ahead":\[\(.*\)\],.*/\1/; s/[^0-9.,]//g' "$a" | awk -F, '{
            for (i = 1; 2 * i <= NF; i++) {
                h = h ",without_" i ",with_" i
                v = v "," $(2 * i - 1) "," $(2 * i)
            }
            print h; print v }')
    fi
    if grep -q '"latents": [1-9]' "$out/run.json" && [ -e "$out/latents.safetensors" ]; then
        ask "$a" latents "$out" --prompts $prompts
        h_off=$(sed -n 's/.*"rule":"variance_99"[^}]*"h_off":\([0-9.e-]*\).*/\1/p' "$a")
        h_floor=$(sed -n 's/.*"rule":"variance_99"[^}]*"floor":\([0-9.e-]*\).*/\1/p' "$a")
        silhouette=$(number "$a" silhouette)
    fi
    names='' values=''
    for v in $columns; do names="$names,$v" values="$values,$(eval "echo \"\$$v\"")"; done
    options=$(sed -n "s,$RUNS/,,g; s/^options  *//p" "$out/train.txt" | tr ',' ' ')
    if [ -n "$TEXT" ]; then
        options=$(echo "$options" | sed "s,$TEXT,text:$(cksum < "$TEXT" | tr ' ' ':'),")
    fi
    curve=$(awk -F, 'NR > 1 && $5 != "" { n++; s = s "," $5; h = h ",curve_" n }
        END { print h; print s }' "$out/log.csv")
    {
        echo "${names#,}$(echo "$curve" | head -n 1)$(echo "$ahead" | head -n 1),options"
        echo "${values#,}$(echo "$curve" | tail -n 1)$(echo "$ahead" | tail -n 1),$options"
    } > "$out/row.$$"
    mv "$out/row.$$" "$out/row.csv"
    rm -f "$a" "$a.err"
}

# ---- Rates --------------------------------------------------------------------------------------
# One trial per swept arm and rate on validation problems (on text: minus the loss held out), with
# seed 101 and its own Base, which no reported run uses. A best value at an end widens the grid.

trial() { # PART/ARM rate: a line of rates.csv
    name=rate/${1%/*}/${1#*/}@$2-101
    [ -e "$RUNS/$name.csv" ] && return
    mkdir -p "$RUNS/rate/${1%/*}"
    ( look_up "$1-101" "$2"
      for n in $needs; do train "$n" || exit; done
      train_into "$name" || exit
      if [ "${1%/*}" = pretrain ]; then
          value=-$(tail -n 1 "$RUNS/$name/log.csv" | cut -d , -f 5)
      else
          ask "$RUNS/$name/answer" score "$RUNS/$name" --split valid --count 1000
          value=$(share "$RUNS/$name/answer" accuracy)
      fi
      echo "$1,$2,$value" > "$RUNS/$name.csv" ) && say "rate $(cat "$RUNS/$name.csv")"
}
swept() { # the arms whose rate is swept, of some parts
    for p in $PARTS; do
        part_is_wanted "$p" "$@" || continue
        arms | awk -v part="$p" '$1 == part { print $6 }'
    done | awk '!seen[$0]++'
}
# Arms and rates still to try: the grid, then what lies beyond it where the best is at an end.
to_try() {
    for arm in $(swept "$@"); do
        cat "$RUNS/rate/${arm%/*}/${arm#*/}"@*.csv 2> /dev/null | awk -F, -v arm="$arm" '
            BEGIN { n = split("1e-5 3e-5 1e-4 3e-4 1e-3 3e-3 1e-2 3e-2 1e-1 3e-1", rate, " ") }
            { value[$2] = $3 }
            END {
                for (i = 5; i <= 8; i++) if (!(rate[i] in value)) {
                    print arm, rate[i]
                    missing = 1
                }
                if (missing) exit
                for (i = 1; i <= n; i++) if (rate[i] in value) {
                    if (!low) low = i
                    high = i
                    if (!best || value[rate[i]] + 0 > value[rate[best]] + 0) best = i
                }
                if (best == low && low > 1) print arm, rate[low - 1]
                else if (best == high && high < n) print arm, rate[high + 1]
            }'
    done
}
sweep() {
    mkdir -p "$RUNS" "$OUT"
    while to_try "$@" > "$RUNS/rate.plan" && [ -s "$RUNS/rate.plan" ]; do
        say "$(grep -c '' "$RUNS/rate.plan") rates to try"
        xargs -P "$JOBS" -n 2 sh "$here" --trial < "$RUNS/rate.plan" || exit 1
    done
    { echo arm,rate,valid
      cat "$RUNS"/rate/*/*.csv | sort -t , -k 1,1 -k 2,2g; } > "$OUT/rates.tmp"
    mv "$OUT/rates.tmp" "$OUT/rates.csv"
}

# ---- Tables: of whatever runs are finished ------------------------------------------------------

finished_of() { # part: arm and folder of each of its finished runs
    if [ "$1" = base ]; then bases | awk '{ print $1, 99, "-" }'
    else arms | awk -v part="$1" '$1 == part { print $2, $3, $7 == "=" ? $8 : "-" }'
    fi | while read -r arm seeds same; do
        [ "$same" = - ] && same=$1/$arm
        for seed in 1 2 3 4 5 6 7 8; do
            from=$RUNS/$same-$seed
            [ $seed -gt "$seeds" ] || [ ! -e "$from/row.csv" ] || echo "$arm $from"
        done
    done
}
rows_of() { # part: the rows one after another, each with its names, part and arm in front
    finished_of "$1" | while read -r arm from; do
        sed "1s/^/part,arm,/; 2s/^/$1,$arm,/" "$from/row.csv"
    done
}
# One header for all rows: every column that some row has, the options last.
one_header() {
    awk -F, 'BEGIN { OFS = "," }
        $1 == "part" { for (i in at) delete at[i]
                       for (i = 1; i <= NF; i++) {
                           at[i] = $i
                           if (!seen[$i]++ && $i != "options") name[++n] = $i
                       }
                       next }
        { rows++; for (i = 1; i <= NF; i++) value[rows, at[i]] = $i }
        END { if (!rows) exit
              name[++n] = "options"
              for (i = 1; i <= n; i++) printf "%s%s", name[i], i < n ? OFS : "\n"
              for (r = 1; r <= rows; r++)
                  for (i = 1; i <= n; i++) printf "%s%s", value[r, name[i]], i < n ? OFS : "\n" }'
}
# Mean and standard deviation over seeds, in %; H_off and silhouette as they are.
table_of() {
    echo; echo "## $1"; echo
    awk -F, '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        !($2 in seeds) { arm[++arms] = $2 }
        { seeds[$2]++; for (k in at) { v = $(at[k]); if (v != "") {
              n[$2, k]++; sum[$2, k] += v; squares[$2, k] += v * v } } }
        function cell(a, k, scale, places,    m, s, f) {
            if (!n[a, k]) return "-"
            f = "%." places "f"
            m = sum[a, k] / n[a, k]
            if (n[a, k] == 1) return sprintf(f, scale * m)
            s = (squares[a, k] - n[a, k] * m * m) / (n[a, k] - 1)
            return sprintf(f " ± " f, scale * m, scale * sqrt(s > 0 ? s : 0))
        }
        END {
            text = ("without_1" in at)
            head = "right|swapped|mean|noise|zero|held-out targets|one number more|loss"
            if (text) head = "token 1|2|4|8|16|token 1 without"
            head = "|arm|seeds|TFLOP|" head "|H_off|silhouette|"
            print head
            gsub(/[^|]+/, "---", head)
            print head
            for (i = 1; i <= arms; i++) {
                a = arm[i]
                printf "| %s | %d | %s ", a, seeds[a], cell(a, "tflop", 1, 2)
                if (text) {
                    m = split("with_1 with_2 with_4 with_8 with_16 without_1", c, " ")
                    for (j = 1; j <= m; j++) {
                        k = c[j]
                        if (!n[a, k]) sub(/with_/, "without_", k)      # an arm without latents
                        printf "| %s ", cell(a, k, 1, 2)
                    }
                } else {
                    m = split("right swapped mean noise zero heldout longer", c, " ")
                    for (j = 1; j <= m; j++) printf "| %s ", cell(a, c[j], 100, 1)
                    printf "| %s ", cell(a, "loss", 1, 4)
                }
                printf "| %s | %s |\n", cell(a, "h_off", 1, 3), cell(a, "silhouette", 1, 3)
            } }' "$OUT/$1.csv"
}
tables() {
    mkdir -p "$OUT"
    : > "$OUT/tables.md.$$"
    for p in base $PARTS; do
        finished_of "$p" | grep -q " $RUNS/$p/" || continue   # none but another part's runs
        rows_of "$p" | one_header > "$OUT/$p.csv.$$"
        if [ -s "$OUT/$p.csv.$$" ]; then
            mv "$OUT/$p.csv.$$" "$OUT/$p.csv"
            table_of "$p" >> "$OUT/tables.md.$$"
        else rm "$OUT/$p.csv.$$"; fi
    done
    mv "$OUT/tables.md.$$" "$OUT/tables.md"
}

# What the tables cannot say: differences problem by problem, their intervals over seeds and
# problems. That takes the models, so a part of which some rows were taken is left out.
runs_of() { # parts: folders of their finished runs
    for p in "$@"; do finished_of "$p" | cut -d ' ' -f 2-; done |
        while read -r from; do [ ! -e "$from/trained" ] || echo "$from"; done
}
compare() { # parts
    for p in $PARTS; do
        part_is_wanted "$p" "$@" && [ "$p" != pretrain ] || continue
        runs=$(runs_of "$p")
        [ "$runs" ] || continue
        if [ "$(echo "$runs" | wc -l)" -lt "$(finished_of "$p" | wc -l)" ]; then
            say "$p: some of its models are not here; nothing to compare"
            continue
        fi
        ./eval compare $runs --count $COUNT --no-analysis --markdown > "$OUT/$p-compared.$$" \
            2> "$RUNS/compare.err" || fail "$p: $(tail -n 1 "$RUNS/compare.err")"
        mv "$OUT/$p-compared.$$" "$OUT/$p-compared.md"
    done
}

# Rows of tables as finished runs without their models. A run that is finished here stays.
take() { # folder of tables
    [ -e "$1/rates.csv" ] || [ -e "$1/base.csv" ] || fail "--take: there are no tables in $1"
    for p in base $PARTS; do
        [ -e "$1/$p.csv" ] || continue
        { arms | awk -v part="$p" '$1 == part && $7 == "=" { print $2 }'
          echo; cat "$1/$p.csv"; } | awk -F, -v runs="$RUNS" -v part="$p" '
            !table && $0 == "" { table = 1; next }
            !table { shared[$0]; next }
            { line = $0; sub(/^[^,]*,[^,]*,/, "", line) }
            !head { head = line; next }
            !($2 in shared) {
                to = runs "/" $1 "/" $2 "-" $3
                if (system("test -e " to "/row.csv") == 0) next
                system("mkdir -p " to)
                printf "%s\n%s\n", head, line > (to "/row.csv")
                close(to "/row.csv")
                taken++ }
            END { printf "reproduce: %s: %d rows taken\n", part, taken > "/dev/stderr" }'
    done
    [ ! -e "$1/rates.csv" ] || tail -n +2 "$1/rates.csv" | while IFS=, read -r arm rate value; do
        mkdir -p "$RUNS/rate/${arm%/*}"
        echo "$arm,$rate,$value" > "$RUNS/rate/${arm%/*}/${arm#*/}@$rate-101.csv"
    done
}

# ---- What was asked -----------------------------------------------------------------------------

begin() { # the plan of some parts, when it began, and the minutes of its runs that were done then
    mkdir -p "$RUNS"
    plan "$@" > "$RUNS/plan" || exit 1
    while read -r n minutes; do
        [ ! -e "$RUNS/$n/row.csv" ] || echo "$minutes"
    done < "$RUNS/plan" | awk -v now="$(date +%s)" '{ s += $1 } END { print now, s + 0 }' \
        > "$RUNS/began"
}
progress() { # the run that is finished; the plan's minutes scaled by those that passed
    [ -e "$RUNS/began" ] || { say "$1 is done"; return; }
    read -r began done_then < "$RUNS/began"
    while read -r n minutes; do
        if [ -e "$RUNS/$n/row.csv" ]; then echo "1 $minutes"; else echo "0 $minutes"; fi
    done < "$RUNS/plan" | awk -v name="$1" -v passed=$(($(date +%s) - began)) -v then="$done_then" '
        { done += $1; all++; if ($1) m += $2; else left += $2 }
        END { t = m > then ? left * passed / (m - then) : 0
              printf "reproduce: %d of %d runs done, %d left, about %dh%02dm (%s)\n",
                     done, all, all - done, t / 3600, t % 3600 / 60, name }' >&2
}
one() {
    [ -e "$RUNS/$1/row.csv" ] && return
    train "$1" || exit 255               # xargs begins no others
    ( row "$1" ) || exit 255
    progress "$1"
}
case ${1:-} in
--list) shift
    begin "$@"
    while read -r n minutes; do
        echo "QUICK='$QUICK' SCALE='$SCALE' COUNT='$COUNT' TEXT='$TEXT' RUNS='$RUNS'" \
            "OUT='$OUT' RATES='$RATES' sh $here --one $n"
    done < "$RUNS/plan" ;;
--one) one "$2" ;;
--trial) trial "$2" "$3" || exit 255 ;;
--rates) shift; sweep "$@" ;;
--tables) tables ;;
--take) take "$2" ;;
--compare) shift; compare "$@" ;;
--runs) shift; runs_of "$@" ;;
-*) sed -n '2,/^set/p' "$here" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
*)
    begin "$@"
    [ -e "$RATES" ] || [ "$QUICK" = 1 ] || say "no $RATES: every rate is 3e-3; --rates makes it"
    cut -d ' ' -f 1 "$RUNS/plan" | xargs -P "$JOBS" -n 1 sh "$here" --one
    status=$?
    tables
    [ $status -eq 0 ] || fail "stopped; the same command goes on from here"
    compare "$@"
    say "tables: $OUT/tables.md, comparisons: $OUT/*-compared.md" ;;
esac
