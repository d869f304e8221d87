#!/bin/sh
# The two drivers as a user meets them: options, exit codes, a whole small path from Base to
# comparison, resuming, interrupting, killing, bad input. Usage: tests/drivers.sh BUILD
work=$1/drivers
rm -rf "$work"; mkdir -p "$work"
passed=0 failed=0
ok()  { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED $*"; }
# expect STATUS WORDS COMMAND...: the exit status, and WORDS in what it printed (grep -E)
expect() {
    status=$1 words=$2; shift 2
    out=$("$@" 2>&1); got=$?
    if [ $got -ne "$status" ]; then bad "$*: status $got, expected $status: $(echo "$out" | tail -n 3)"
    elif ! printf '%s\n' "$out" | grep -qE -- "$words"; then bad "$*: no \"$words\" in: $(echo "$out" | tail -n 5)"
    else ok; fi
}
same() { if cmp -s "$1" "$2"; then ok; else bad "$1 and $2 differ"; fi; }
# log.csv without its seconds, which no two runs share
losses() { sed 's/,[^,]*$//' "$1/log.csv" > "$1/losses"; }

small="--width 24 --heads 2 --layers 2 --context 32 --batch 16 --log-every 4 --score-points 0 --quiet"
base="./train --objective lm $small --steps 12 --seed 3"
arm="./train --base $work/base --batch 16 --latents 3 --steps 12 --log-every 4 --quiet --seed 3 --score-points 2 --score-count 24"

# ---- options
for o in --help -h; do expect 0 'usage: ./train' ./train $o; done
expect 0 'latents N +N_L.* \[4\]' ./train --help
expect 0 'usage' ./eval --help
expect 2 'did you mean --latents' ./train --latent 4
expect 2 'did you mean --objective' ./train --objectiv lm
expect 2 'out DIR is wanted' ./train
expect 2 'wants a value' ./train --steps
expect 2 'whole number' ./train --steps ten --out $work/x
expect 2 'whole number' ./train --steps -1 --out $work/x
expect 2 'one word too many' ./train soft
expect 2 'not one of none pause' ./train --system h3 --out $work/x
expect 2 'not one of none pause' ./train --inject both --out $work/x
expect 2 'not known; countdown' ./train --task chess --out $work/x
expect 2 'read like' ./train --numbers 3..5 --out $work/x
expect 2 'leave --system' ./train --objective lm --system h2 --out $work/x
expect 2 'one of them' ./train --base-frozen --base-trained --out $work/x
expect 2 'gpt2 or qwen3' ./train --arch llama --out $work/x
expect 2 'objective lm --out' ./train --system liu --out $work/x
expect 2 'hidden .* = heads' ./train --width 30 --heads 4 --out $work/x
expect 2 'positions, the model has' ./train --context 12 --out $work/x
expect 2 'latents must be above 0' ./train --system h1 --latents 0 --out $work/x
expect 2 'Base and a Coprocessor|trained Base' ./train --system none --detach-cache --out $work/x
expect 1 'cannot be opened|no run|config.json' ./train --base $work/nowhere --system liu --out $work/x
expect 1 'cannot be opened' ./train --data $work/nowhere.jsonl --out $work/x
[ -e "$work/x" ] && bad "a refused run left $work/x behind" || ok
expect 2 'compare|command' ./eval
expect 2 'did you mean' ./eval scor $work/base
expect 1 'no run there' ./eval score $work/nowhere

# ---- the whole path: Base, every system, scoring
expect 0 'gate: |step=12' $base --out $work/base
for s in none pause soft prompt coconut liu h1 h2 h1h2; do
    expect 0 'step=12 .*accuracy=' $arm --system $s --out $work/$s
    expect 0 'accuracy' ./eval score $work/$s --count 24
done
wide="--batch 16 --latents 3 --log-every 4 --quiet --score-points 0"
expect 0 step=12 ./train --objective lm --wide-of $work/base $wide --steps 12 --out $work/base-wide
expect 0 step=12 ./train --system wide --base $work/base-wide $wide --steps 12 --out $work/wide
expect 0 step= ./train --system none --base $work/base --match-flops $work/h2 $wide --out $work/none-flops
expect 0 'none@flops' ./eval compare $work/base $work/none $work/none-flops $work/wide --count 24 --prompts 32
expect 0 step=12 ./train --objective lm --arch qwen3 $small --steps 12 --out $work/qwen
for s in h2 h1; do expect 0 step=12 ./train --base $work/qwen --system $s $wide --steps 12 --out $work/qwen-$s; done
expect 0 'step=12' $arm --system liu --latent-gain trained --out $work/gain
expect 0 'step=12' $arm --system h2 --detach-cache --out $work/detached
expect 0 'kv/trained = inject kv, Base trained' ./train --base $work/base --inject kv --base-trained \
    --out $work/dry --dry-run
expect 0 'tape of one step' ./train --base $work/base --system h2 --out $work/dry --dry-run
expect 0 'h2' ./eval compare $work/base $work/none $work/h2 --count 24 --prompts 32
expect 0 '.' ./eval generate $work/h2 --prompt 'numbers: 3 7 12 target: 60'
expect 0 'H_off' ./eval latents $work/h1 --prompts 32
expect 0 'think' ./eval trace $work/liu --prompt 'numbers: 3 7 12 target: 60'
for from in right swapped mean noise zero drop:1; do
    expect 0 'accuracy' ./eval score $work/h2 --count 24 --latents-from $from
done
expect 2 'latents-from' ./eval score $work/h2 --latents-from wrong
expect 1 'drop|latent' ./eval score $work/h2 --count 24 --latents-from drop:7
expect 1 'apples' ./eval generate $work/h2 --prompt 'numbers: apples'
for cmd in "score $work/h2 --count 24" "compare $work/base $work/h2 --count 24 --prompts 32" \
           "latents $work/h2 --prompts 32"; do
    ./eval $cmd --json > "$work/out.json" 2> /dev/null
    expect 0 'valid' "$1/json-f32" "$work/out.json"
done

# ---- files of the user
printf '%s\n' '{"nums":[44,19,35],"target":98,"steps":["19 + 35 = 54","44 + 54 = 98"],"answer":"44 + (19 + 35)"}' \
    '{"nums":[63,95,96],"target":64,"steps":["96 - 95 = 1","63 + 1 = 64"],"answer":"63 + (96 - 95)"}' > "$work/rows.jsonl"
expect 0 'step=12' ./train --data $work/rows.jsonl $small --steps 12 --out $work/rows
expect 0 'accuracy' ./eval score $work/rows --data $work/rows.jsonl
echo '{"nums":[1,2],' >> "$work/rows.jsonl"
expect 1 'rows.jsonl:3' ./train --data $work/rows.jsonl $small --steps 12 --out $work/rows2

# ---- the same bits: frozen Base untouched, threads, seeds, resuming after a stop and after a kill
for s in liu h1 prompt; do same $work/base/base/model.safetensors $work/$s/base/model.safetensors; done
expect 0 step=12 $arm --system h2 --threads 1 --out $work/h2-one
expect 0 step=12 $arm --system h2 --threads 4 --out $work/h2-four
same $work/h2-one/state.safetensors $work/h2-four/state.safetensors
same $work/h2-one/state.safetensors $work/h2/state.safetensors
expect 0 step=12 $arm --system h2 --seed 4 --out $work/h2-seed
cmp -s $work/h2/state.safetensors $work/h2-seed/state.safetensors && bad "another seed, the same bits" || ok
expect 2 'holds a run already' $arm --system h2 --out $work/h2
expect 0 'is finished' $arm --system h2 --out $work/h2 --resume
expect 2 'was begun with --latents 3' ./train --out $work/h2 --resume --latents 5
long="./train --base $work/base --batch 16 --latents 3 --system h2 --steps 400 --log-every 7 --save-every 9 --quiet --score-points 1 --score-count 24"
expect 0 step=400 $long --out $work/straight
$long --out $work/stopped > /dev/null 2>&1 & pid=$!
while [ ! -e $work/stopped/state.safetensors ]; do sleep 0.02; done
kill -INT $pid; wait $pid
[ $? -eq 130 ] && ok || bad "Ctrl-C: status is not 130"
expect 0 'step=400' $long --out $work/stopped --resume
same $work/straight/state.safetensors $work/stopped/state.safetensors
losses $work/straight; losses $work/stopped
same $work/straight/losses $work/stopped/losses
$long --out $work/killed > /dev/null 2>&1 & pid=$!
while [ ! -e $work/killed/state.safetensors ]; do sleep 0.02; done
kill -KILL $pid; wait $pid 2> /dev/null
expect 0 'step=400' ./train --resume --out $work/killed --quiet --log-every 7 --save-every 9 --score-points 1 --score-count 24
same $work/straight/state.safetensors $work/killed/state.safetensors
losses $work/killed
same $work/straight/losses $work/killed/losses

# ---- damaged runs
cp -r $work/h2 $work/broken
head -c 3000 $work/h2/state.safetensors > $work/broken/state.safetensors
expect 1 'state.safetensors' ./eval score $work/broken --count 24
cp $work/h2/state.safetensors $work/broken/
echo '{' > $work/broken/run.json
expect 1 'run.json' ./eval score $work/broken --count 24
rm -r $work/broken/base
cp $work/h2/run.json $work/broken/
expect 1 'no checkpoint|config.json' ./eval score $work/broken --count 24
head -c 3000 $work/stopped/state.safetensors > $work/cut && mv $work/cut $work/stopped/state.safetensors
expect 1 'nothing was changed' ./train --resume --out $work/stopped --quiet
rm $work/stopped/state.safetensors
expect 1 'is gone' ./train --resume --out $work/stopped --quiet
rm $work/stopped/run.json
expect 1 'without its run.json' ./train --resume --steps 5 --out $work/stopped --quiet
expect 2 'there is no run in' ./train --resume --out $work/typo
expect 2 'one of them' ./train --match-flops $work/h2 --steps 5 --out $work/x
expect 2 'the Base has 24' ./train --base $work/base --width 48 --out $work/x
expect 2 'wide wants a Base' ./train --system wide --base $work/base --out $work/x
mv $work/base $work/moved
expect 0 'is finished' ./train --resume --out $work/liu

# ---- tokens: the run's own vocabulary as tokenizer (tests/test_tokens.c has the others)
expect 2 'no DIR given' ./eval tokens
expect 2 'one of FILE and --text' ./eval tokens $work/h2
expect 2 'one of FILE and --text' ./eval tokens $work/h2 README.md --text 1
expect 2 'one word too many' ./eval tokens $work/h2 a b
expect 1 'no tokenizer there' ./eval tokens $work/typo --text 1
expect 1 'cannot be opened' ./eval tokens $work/h2 $work/typo
expect 1 'text:1: byte 3: unknown word' ./eval tokens $work/h2 --text '1 one'
printf '7-3=4\n\n12/(4)' > $work/lines
./eval tokens $work/h2 $work/lines > $work/ids
expect 0 '^3$' grep -c '' $work/ids
./eval tokens $work/h2 --decode $work/ids > $work/back
(cat $work/lines; echo) > $work/ended
same $work/back $work/ended
./eval tokens $work/h2 --whole $work/lines > $work/ids
expect 0 '^1$' grep -c '' $work/ids
./eval tokens $work/h2 --whole --decode $work/ids > $work/back
same $work/back $work/lines
expect 0 '^15 18$' ./eval tokens $work/h2 --text '3 6'
expect 0 '^3 6$' ./eval tokens $work/h2 --decode --text=' 15 18 '
printf '15\n18 132\n' > $work/ids
expect 1 'ids:2: there is no token 132, .* below 132' ./eval tokens $work/h2 --decode $work/ids
expect 1 'text:1: "1x" is no id' ./eval tokens $work/h2 --decode --text '0 1x'
expect 1 'is no id' ./eval tokens $work/h2 --decode --text '99999999999'
expect 1 'is no id' ./eval tokens $work/h2 --decode --text '-1'
if [ -n "$DUAL_DATA" ]; then
    printf '\000a\r\n\303' > $work/lines
    for t in gpt2 qwen3; do
        ./eval tokens $DUAL_DATA/tok/$t --whole $work/lines > $work/ids
        ./eval tokens $DUAL_DATA/tok/$t --whole --decode $work/ids > $work/back
        same $work/back $work/lines
        expect 0 '^[0-9]+$' ./eval tokens $DUAL_DATA/tok/$t --text '<|endoftext|>'
        expect 0 '^[0-9]+( [0-9]+)+$' ./eval tokens $DUAL_DATA/tok/$t --plain --text '<|endoftext|>'
    done
else echo "skipped: real tokenizers (DUAL_DATA names no folder of sets)"; fi

# ---- 8 problems by heart: trained systems nearly to zero, frozen ones to a third of the start
# (done on tensors in test_exchange); here: the real rows, where they are
if [ -n "$DUAL_DATA" ]; then
    rows=$DUAL_DATA/countdown
    expect 0 step=3 ./train --data $rows/countdown_uft_train.jsonl $small --context 64 --steps 3 --out $work/uft
    expect 0 'accuracy' ./eval score $work/uft --data $rows/countdown_uft_test.jsonl
else echo "skipped: real Countdown rows (DUAL_DATA names no folder of sets)"; fi
rm -rf "$work"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
