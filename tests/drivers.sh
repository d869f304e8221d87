#!/bin/sh
# The two drivers as a user meets them: options, exit codes, a whole small path from Base to
# comparison, resuming, interrupting, killing, bad input. Usage: tests/drivers.sh BUILD
work=$1/drivers
rm -rf "$work"; mkdir -p "$work"
passed=0 failed=0 json=$1/json-f32
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
# near, close WHAT NUMBER NUMBER: equal but for 1e-6, or for a thousandth of it
near() { if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && b != "" && (a - b) ^ 2 < 1e-12) }'; then ok; else bad "$1: $2 and $3 differ"; fi; }
close() { if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != 0 && (a / b - 1) ^ 2 < 1e-6) }'; then ok; else bad "$1: $2 and $3 differ"; fi; }
# log.csv without its seconds, which no two runs share
losses() { cut -d, -f1-6,8 "$1/log.csv" > "$1/losses"; }
# A JSON document of eval: valid, its common part, no key with a blank. document COMMAND ARGUMENTS
document() {
    ./eval "$@" --json > "$work/out.json" 2> /dev/null
    expect 0 'valid' "$json" "$work/out.json"
    expect 0 '^  "version": 1,$' cat "$work/out.json"
    expect 0 "^  \"command\": \"$1\",$" cat "$work/out.json"
    for key in program options seed; do expect 0 "^  \"$key\": " cat "$work/out.json"; done
    expect 0 '^ *"run": \{$' cat "$work/out.json"
    expect 0 '^ *"inject": "[a-z]+",$' cat "$work/out.json"
    expect 1 '^$' grep -E '^ *"[^"]* [^"]*":' "$work/out.json"
    # every accuracy has one shape
    expect 1 '^$' grep -E '^ *"accuracy[^"]*": [^{]' "$work/out.json"
}

small="--width 24 --heads 2 --layers 2 --context 32 --batch 16 --log-every 4 --score-points 0 --quiet"
base="./train --objective lm $small --steps 12 --seed 3"
arm="./train --base $work/base --batch 16 --latents 3 --steps 12 --log-every 4 --quiet --seed 3 --score-points 2 --score-count 24"

# ---- options
for o in --help -h; do expect 0 'usage: ./train' ./train $o; done
for p in train eval; do expect 0 "^$p .dual. [0-9]+[.][0-9]+, built by .*, with(out)? fused multiply-adds$" ./$p --version; done
expect 0 'version' ./train --help
# README's digits, for the compilers that it names
./train --objective lm --steps 40 --batch 32 --score-points 0 --quiet --out $work/bits > $work/said 2>&1
digits=$(sha256sum $work/bits/state.safetensors 2> $work/said | cut -c1-8)
case "$(uname -m) $(./train --version)" in
x86_64*'gcc 12'*'with fused'*) expect 0 '^d70a8453$' echo "$digits" ;;
x86_64*'lang 14'*'with fused'*) expect 0 '^c10edf72$' echo "$digits" ;;
x86_64*'gcc 12'* | x86_64*'lang 14'*) expect 0 '^83294ab7$' echo "$digits" ;;
*) echo "skipped: README has no digits for this compiler (here $digits)" ;;
esac
expect 0 'latents N +N_L.* \[4\]' ./train --help
expect 0 'usage' ./eval --help
expect 2 'did you mean --latents' ./train --latent 4
expect 2 'did you mean --objective' ./train --objectiv lm
expect 2 'out DIR is required' ./train
expect 2 'wants a value' ./train --steps
expect 2 'whole number' ./train --steps ten --out $work/x
expect 2 'whole number' ./train --steps -1 --out $work/x
expect 2 'one word too many' ./train soft
expect 2 'not one of none pause' ./train --system h3 --out $work/x
expect 2 'not one of none pause' ./train --inject both --out $work/x
expect 2 'not known; countdown gsm8k prosqa text' ./train --task chess --out $work/x
expect 2 'read like' ./train --numbers 3..5 --out $work/x
expect 2 'leave --system' ./train --objective lm --system h2 --out $work/x
expect 2 'one of them' ./train --base-frozen --base-trained --out $work/x
expect 1 'gradient norm [0-9in].*: it diverged' ./train --objective lm --steps 40 --width 16 --heads 2 --layers 1 --batch 4 --lr 1000 --out $work/diverged --score-points 0
expect 2 'gpt2 or qwen3' ./train --arch llama --out $work/x
expect 2 'objective lm --out' ./train --system liu --out $work/x
expect 2 'facts 0.5 and --solved 0.6 are shares of the same samples: together' ./train --objective lm --facts 0.5 --solved 0.6 --out $work/x
expect 2 'stage 0 has no latents, so with a frozen Base nothing would' ./train --steps-shown curriculum --latents-per-stage 1 --base $work/base --system liu --context 48 --out $work/x
expect 0 'step=12' ./train --objective lm --sequence 9 $small --steps 12 --out $work/short
expect 2 'solved is for .*would do nothing' ./train --task text --objective lm --data $work --solved 0.6 --out $work/x
expect 2 'hidden 30 must be heads 4' ./train --width 30 --heads 4 --out $work/x
expect 2 'positions, the model has' ./train --context 12 --out $work/x
expect 2 'real, file or bf16' ./train --system liu --base-stored half --out $work/x
expect 2 'cannot be trained' ./train --system h2 --base-stored file --out $work/x
expect 2 'cannot be trained' ./train --system none --base-stored bf16 --out $work/x
expect 2 'latents must be above 0' ./train --system h1 --latents 0 --out $work/x
expect 2 'Base and a Coprocessor|trained Base' ./train --system none --detach-cache --out $work/x
expect 1 'cannot be opened|no run|config.json' ./train --base $work/nowhere --system liu --out $work/x
expect 1 'cannot be opened' ./train --data $work/nowhere.jsonl --out $work/x
[ -e "$work/x" ] && bad "a refused run left $work/x behind" || ok
expect 2 'compare|command' ./eval
expect 2 'did you mean' ./eval scor $work/base
expect 1 'no run there' ./eval score $work/nowhere

# what was printed must arrive; a gate that cannot be said, or metrics, is a failed run too
if [ -w /dev/full ]; then
    full() { expect 1 'cannot be written to standard output' sh -c "$* > /dev/full"; }
    for o in "--help" "--version" "--task prosqa --describe"; do full ./train $o; done
    for o in "--help" "--version" "score --help" "tokens $work --help"; do full ./eval $o; done
    full $base --out $work/full
    full $base --brief --out $work/full-brief
else echo "skipped: a full standard output (no /dev/full)"; fi

# a closed stream is not the next file that is opened: what is printed never ends in the lock
expect 1 'cannot be written to standard output' sh -c "$base --out $work/closed >&-"
expect 0 'step=12' sh -c "$base --out $work/closed-err 2>&-"
expect 0 'step=12' sh -c "$base --out $work/closed-in <&-"
expect 1 '^$' sh -c "$base --out $work/closed-all <&- >&- 2>&-"
expect 1 '^$' sh -c "./eval tokens $work/closed --text 1 >&- 2>&-"
expect 1 '^$' grep -rl step= $work/closed $work/closed-all
expect 0 'step=12' $base --resume --out $work/closed
same $work/closed/state.safetensors $work/closed-err/state.safetensors

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
# compare tells what it was asked, and what it left out
two="./eval compare $work/none $work/h2 --count 24 --no-analysis"
expect 0 '^h2 - none +[+-][0-9.]+ \+- [0-9.]+ +cannot tell \(1 seed\)$' $two
expect 0 '^left out: soft, no run of it: soft - h2$' $two
expect 0 '^left out: the analysis of the latents' $two
expect 0 '^none - h2 ' $two --against h2
expect 0 '^h2 - Base ' $two --against Base
expect 2 'against: "h3" is not one of the arms: Base none h2$' $two --against h3
expect 0 '^\| h2 - none \| ' $two --markdown
expect 0 '^pair,,h2 - none,,1,24,' $two --csv
expect 2 'csv, --markdown and --json: one of them' $two --csv --json
$two --csv 2> /dev/null > $work/compare.csv
expect 0 '^30$' sh -c "awk -F, '{print NF}' $work/compare.csv | uniq"
# a copy of the Base is the same Base, and --score-points moves no number; another Base is warned of
cp -r $work/base $work/base-copy
expect 0 step=12 $arm --base $work/base-copy --system h2 --score-points 1 --out $work/h2-copy
expect 1 '^$' sh -c "./eval compare $work/none $work/h2-copy --count 24 --no-analysis 2>&1 | grep warning"
expect 0 'gate: |step=12' $base --seed 5 --out $work/base-5
expect 0 step=12 $arm --base $work/base-5 --system h2 --out $work/h2-base-5
expect 0 '^warning: .*h2-base-5: started from .*another Base than .*base' ./eval compare $work/none $work/h2-base-5 --count 24 --no-analysis
expect 1 'are both h2 with seed 3, from different Bases' ./eval compare $work/h2 $work/h2-base-5
# a Base for each seed: both join, and a sentence takes the one that the run started from
expect 0 step=12 $arm --base $work/base-5 --system h2 --seed 5 --out $work/h2-5
expect 0 '^Base +2 ' ./eval compare $work/h2 $work/h2-5 --count 24 --no-analysis
expect 0 'h2 - Base +[^ ]+ \+- [0-9.]+ .*cannot tell \(2 seeds' ./eval compare $work/h2 $work/h2-5 --count 24 --no-analysis
# runs of one system that differ in an option: arms of their own, a table for each family
expect 0 step=12 $arm --system h2 --latents 5 --out $work/h2-latents
expect 0 step=12 $arm --system h2 --numbers 4 --out $work/h2-numbers
for runs in "$work/h2 $work/h2-latents" "$work/h2-latents $work/h2"; do
    expect 0 '^latents=5: 24 of 2,955 test problems' ./eval compare $work/none $runs --count 24 --no-analysis
    expect 0 '^h2:5 - h2:3 ' ./eval compare $work/none $runs --count 24 --no-analysis
done
# the report: the numbers of compare, whatever a folder is called; what is refused leaves nothing
strange="$work/<b>&\"'$(printf '\351')"
cp -r $work/liu "$strange"
few="--count 24 --prompts 32"
page="./eval report $work/none $strange $work/h2 $work/h2-latents $few"
expect 0 'The page with 5 runs: .*/page.html$' $page --svg $work/svg --out $work/page.html
cp $work/page.html $work/page-once.html
expect 0 '^h2:5 - h2:3 ' $page --tables --out $work/page.html
same $work/page-once.html $work/page.html
expect 0 '/&#60;b&#62;&#38;&#34;&#39;.xE9</dt>' cat $work/page.html
for p in accuracy curves budget overlap latents swapped; do expect 0 '^</svg>$' tail -n 1 $work/svg/$p.svg; done
./eval compare $work/none $strange $work/h2 $work/h2-latents $few --json 2> $work/said |
    awk '/^      "name"/ { gsub(/[",]/, ""); name = $2 } /^      "accuracy":/ { on = 1 }
         on && /"(share|low|high)"/ && n < 3 { x[++n] = 100 * $2 }
         /^      "loss"/ { printf "%s %.1f [%5.1f, %5.1f] %.4f\n", name, x[1], x[2], x[3], $2; n = on = 0 }' |
    sort -u > $work/numbers
expect 0 '^5$' sh -c "wc -l < $work/numbers | tr -d ' '"
sed -n 's/^<tr><th scope="row" class="left">\([^<]*\)<[^>]*><td>[0-9]*<[^>]*><td>\([0-9]*\.[0-9]\)<.*<td>\(\[[^]]*\]\)<.*<td>\([0-9]\.[0-9]\{4\}\)<.*/\1 \2 \3 \4/p' $work/page.html |
    sort -u > $work/numbers-of-page
same $work/numbers $work/numbers-of-page
if python3 -c 'import xml.dom.minidom' 2> $work/said; then
    expect 0 '^well formed$' python3 -c 'import sys, xml.dom.minidom as m
for f in sys.argv[1:]: m.parse(f)
print("well formed")' $work/page.html $work/svg/*.svg
else echo "skipped: the report read by another XML parser (no python3)"; fi
expect 2 'no RUN given' ./eval report
expect 1 'is there and no file' $page --out $work
expect 1 '--out: .*/no/x.html cannot be written' $page --out $work/no/x.html
expect 1 '--svg: the folder .* cannot be made' $page --out $work/x.html --svg $work/page.html
[ -e $work/x.html ] && bad "a refused report left a page" || ok
(trap '' XFSZ; ulimit -f 8; $page --out $work/page.html > $work/said 2>&1; echo "status $?" >> $work/said)
expect 0 'page.html: could not be written completely' cat $work/said
expect 0 '^status 1$' cat $work/said
same $work/page-once.html $work/page.html
expect 0 '^numbers=4: 24 of [0-9,]+ test problems' ./eval compare $work/h2 $work/h2-numbers --count 24 --no-analysis
expect 0 '^left out: 1 pair of arms that answer different problems' ./eval compare $work/h2 $work/h2-numbers --count 24 --no-analysis
expect 0 ' {4}(correct: it is|(malformed|wrong (numbers|value)|no end token).* 57 is wanted$)' ./eval generate $work/h2 --prompt 'numbers: 3 7 12 target: 57'
expect 0 ' {4}.* 60 is wanted; the problem has no solution$' ./eval generate $work/h2 --prompt 'numbers: 3 7 12 target: 60'
expect 0 '^grade of y: wrong value: it is 33, 60 is wanted; the problem has no solution$' ./eval trace $work/liu --prompt 'numbers: 3 7 12 target: 60' --answer '3*7+12'
# prompts of a file: each is answered as it is alone
printf 'numbers: 3 7 12 target: 57\r\n\nnumbers: 1 2 3 target: 6' > $work/prompts
./eval generate $work/h2 --file $work/prompts --temperature 1 > $work/answers
for p in 'numbers: 3 7 12 target: 57' 'numbers: 1 2 3 target: 6'; do
    echo "$p"; ./eval generate $work/h2 --temperature 1 --prompt "$p"
done > $work/alone
same $work/answers $work/alone
document generate $work/h2 --file $work/prompts
expect 0 '^2$' grep -c '"prompt": "numbers' $work/out.json
expect 0 '"target": 57,' cat $work/out.json
expect 0 '"solvable": true' cat $work/out.json
printf 'numbers: 1 2 3 target: 6\nnumbers: apples\n' > $work/prompts
expect 1 'prompts:2: .*apples' ./eval generate $work/h2 --file $work/prompts
printf '\n\n' > $work/prompts
expect 1 'prompts: no prompt' ./eval generate $work/h2 --file $work/prompts
expect 2 'one of --prompt and --file' ./eval generate $work/h2 --file $work/prompts --prompt 1
expect 2 'one of --prompt and --file' ./eval generate $work/h2
expect 0 'H_off' ./eval latents $work/h1 --prompts 32
expect 0 'think' ./eval trace $work/liu --prompt 'numbers: 3 7 12 target: 60'
asked='numbers: 3 7 12 target: 57'
document trace $work/h2 --prompt "$asked" --attention
expect 0 '^  "gradient": "loss -> speak .Base. -> Z -> think' cat $work/out.json
expect 0 '^latents: zero$' ./eval trace $work/h2 --prompt "$asked" --latents-from zero
expect 0 '^latents: swapped, with those of "numbers: 1 2 3 target: 10"$' ./eval trace $work/h2 --prompt "$asked" --latents-from swapped --other 'numbers: 1 2 3 target: 10'
expect 0 ' other 0-2, own 0 ' ./eval trace $work/h1 --prompt "$asked" --latents-from swapped
expect 2 'attention is for --json' ./eval trace $work/h2 --prompt "$asked" --attention
expect 2 'other is for --latents-from' ./eval trace $work/h2 --prompt "$asked" --other "$asked"
expect 1 'this run has no latents' ./eval trace $work/none --prompt "$asked" --latents-from zero
expect 1 'drop|latent' ./eval trace $work/h2 --prompt "$asked" --latents-from drop:7
# a run in a page; make check-page looks at what it shows
printf '<p>\n<script type="application/json" id="run">null</script>\n</p>\n' > $work/template.html
expect 0 'open it in a browser' ./eval page $work/h2 --page $work/template.html --out $work/page.html
expect 0 '^<script type="application/json" id="run">."task":"countdown","step":12,.*"files":.*"weights":..*</script>$' cat $work/page.html
expect 0 '^</p>$' tail -n 1 $work/page.html
expect 1 'holds a run already' ./eval page $work/h2 --page $work/page.html --out $work/page-2.html
expect 1 'make page writes build/dual.html' ./eval page $work/h2 --page $work/nowhere.html --out $work/page-2.html
expect 1 'out: .*nowhere/page.html cannot be written' ./eval page $work/h2 --page $work/template.html --out $work/nowhere/page.html
expect 2 'out FILE.html is required' ./eval page $work/h2
# what trace says is what generate answers
for from in right swapped zero drop:0; do
    ./eval trace $work/h2 --prompt "$asked" --latents-from $from | sed -n 's/^grade of y: //p' > $work/traced
    ./eval generate $work/h2 --prompt "$asked" --latents-from $from | sed -n '1s/^.*    //p' > $work/generated
    same $work/traced $work/generated
done
for from in right swapped mean noise zero drop:1; do
    expect 0 'accuracy' ./eval score $work/h2 --count 24 --latents-from $from
done
expect 2 'latents-from' ./eval score $work/h2 --latents-from wrong
expect 1 'drop|latent' ./eval score $work/h2 --count 24 --latents-from drop:7
expect 1 'apples' ./eval generate $work/h2 --prompt 'numbers: apples'
document score $work/h2 --count 24
# the latents themselves: a row for each of 3 slots of each prompt, 24 numbers
for o in "" "--threads 1"; do ./eval latents $work/h1 --prompts 32 --dump $work/latents.csv $o > /dev/null; done
expect 0 '^97$' grep -c '' $work/latents.csv
expect 0 '^prompt,slot,x0,.*,x23$' head -n 1 $work/latents.csv
expect 0 '^31,2(,-?[0-9.e-]+){24}$' tail -n 1 $work/latents.csv
expect 1 'this run has no latents' ./eval latents $work/none --prompts 32 --dump $work/latents.csv
expect 1 'nowhere/l.csv cannot be written' ./eval latents $work/h1 --prompts 32 --dump $work/nowhere/l.csv
[ -w /dev/full ] && expect 1 '/dev/full cannot be written' ./eval latents $work/h1 --prompts 32 --dump /dev/full
# one answer a line; several to each problem
expect 0 'accuracy' ./eval score $work/h2 --count 24 --answers $work/answers.jsonl
expect 0 '^24$' grep -c '"question": "numbers: .*"gold": ".*"answer": ".*"verdict": "[a-z ]*".*"steps": [1-5], "tokens": [0-9]*, "log_likelihood": -[0-9.]*, "sample": 0}$' $work/answers.jsonl
head -n 1 $work/answers.jsonl > $work/answer.json
expect 0 'valid' "$1/json-f32" $work/answer.json
sampled="score $work/h2 --count 24 --temperature 1 --samples 4"
expect 0 'pass@2 .*%  \[' ./eval $sampled --answers $work/sampled.jsonl
expect 0 '^96$' grep -c '' $work/sampled.jsonl
for words in '4 answers to each problem' 'accuracy, mean ' 'pass@1 ' 'pass@4 ' 'majority vote .* of 24'; do expect 0 "$words" ./eval $sampled; done
./eval score $work/h2 --count 24 --temperature 1 --answers $work/answers.jsonl > /dev/null 2>&1
grep '"sample": 0' $work/sampled.jsonl > $work/answer.json
same $work/answer.json $work/answers.jsonl
for t in 1 3; do ./eval $sampled --threads $t --answers $work/sampled.$t > /dev/null 2>&1; done
same $work/sampled.1 $work/sampled.3
same $work/sampled.1 $work/sampled.jsonl
document $sampled
expect 0 '"k": 4,' cat $work/out.json
expect 0 '"accuracy_majority": {' cat $work/out.json
expect 2 'greedy answers are all the same' ./eval score $work/h2 --count 24 --samples 4
expect 2 'samples must be above 0' ./eval score $work/h2 --count 24 --samples 0
expect 1 'nowhere/a.jsonl cannot be written' ./eval score $work/h2 --count 24 --answers $work/nowhere/a.jsonl
[ -w /dev/full ] && expect 1 '/dev/full cannot be written' ./eval score $work/h2 --count 24 --answers /dev/full
for from in swapped mean noise zero; do
    expect 0 'accuracy' ./eval score $work/h2 --count 24 --latents-from $from --answers $work/answers.jsonl
done
document compare $work/base $work/h2 --count 24 --prompts 32
document latents $work/h2 --prompts 32
document generate $work/h2 --prompt 'numbers: 3 7 12 target: 57'
expect 0 '^step,loss,grad_norm,lr,accuracy,tflop,seconds,stage$' head -n 1 $work/h2/log.csv
expect 0 ',$' tail -n 1 $work/h2/log.csv

# ---- files of the user
printf '%s\n' '{"nums":[44,19,35],"target":98,"steps":["19 + 35 = 54","44 + 54 = 98"],"answer":"44 + (19 + 35)"}' \
    '{"nums":[63,95,96],"target":64,"steps":["96 - 95 = 1","63 + 1 = 64"],"answer":"63 + (96 - 95)"}' > "$work/rows.jsonl"
expect 0 'step=12' ./train --data $work/rows.jsonl $small --steps 12 --out $work/rows
expect 0 'accuracy' ./eval score $work/rows --data $work/rows.jsonl
echo '{"nums":[1,2],' >> "$work/rows.jsonl"
expect 1 'rows.jsonl:3' ./train --data $work/rows.jsonl $small --steps 12 --out $work/rows2

# what a run with generated problems can have seen lies in its own ranges (train keys all three)
printf '%s\n' '{"nums":[13,2,16],"target":31}' '{"nums":[44,19,35],"target":98}' \
    '{"nums":[1,2,3,4],"target":24}' > "$work/others.jsonl"
expect 0 'problems that training can have seen: 1 of 3' ./eval score $work/none --data $work/others.jsonl

# problems alone, as the usual sets have them, can be scored and not trained on
printf '%s\n' '{"target":98,"nums":[44,19,35]}' '{"nums":[1,2,3],"target":6}' > "$work/unsolved.jsonl"
for words in ' 3 numbers .* of 2' 'the rows have no answers'; do
    expect 0 "$words" ./eval score $work/rows --data $work/unsolved.jsonl
done
expect 1 'unsolved.jsonl:1: .*scored, not trained on' ./train --data $work/unsolved.jsonl $small --steps 12 --out $work/unsolved
expect 1 'no row that can be trained on' ./train --data $work/unsolved.jsonl $small --steps 12 --broken skip --out $work/unsolved
expect 0 'none' ./eval compare $work/rows $work/h2 --data $work/unsolved.jsonl --prompts 32

# a run that goes on must find the rows it began with
head -n 2 "$work/rows.jsonl" > "$work/mine.jsonl"
cp "$work/mine.jsonl" "$work/mine2.jsonl"
expect 0 'step=4' ./train --data $work/mine.jsonl --valid $work/mine2.jsonl $small --score-points 1 --steps 4 --out $work/mine
sed -i 's/"steps": *4/"steps": 8/' $work/mine/run.json
head -n 1 "$work/rows.jsonl" > "$work/mine.jsonl"
expect 1 'is not what it was .* began: 1 rows, .* now, 2 rows' ./train --resume --out $work/mine
head -n 2 "$work/rows.jsonl" > "$work/mine.jsonl"
head -n 1 "$work/mine.jsonl" > "$work/mine2.jsonl"
expect 1 'mine2.jsonl is not what it was' ./train --resume --out $work/mine
head -n 2 "$work/rows.jsonl" > "$work/mine2.jsonl"
expect 0 'step=8' ./train --resume --out $work/mine

# ---- the same bits: frozen Base untouched, threads, seeds, resuming after a stop and after a kill
for s in liu h1 prompt; do same $work/base/base/model.safetensors $work/$s/base/model.safetensors; done
expect 0 step=12 $arm --system h2 --threads 1 --out $work/h2-one
expect 0 step=12 $arm --system h2 --threads 4 --out $work/h2-four
same $work/h2-one/state.safetensors $work/h2-four/state.safetensors
same $work/h2-one/state.safetensors $work/h2/state.safetensors
expect 0 step=12 $arm --system h2 --recompute --out $work/h2-recomputed
same $work/h2-one/state.safetensors $work/h2-recomputed/state.safetensors
expect 0 'one step, recomputing' ./train --base $work/base --system h2 --recompute --out $work/dry --dry-run
expect 0 step=12 $arm --system h2 --seed 4 --out $work/h2-seed
cmp -s $work/h2/state.safetensors $work/h2-seed/state.safetensors && bad "another seed, the same bits" || ok
expect 2 'holds a run already' $arm --system h2 --out $work/h2
expect 0 'is finished' $arm --system h2 --out $work/h2 --resume
expect 2 'was begun with --latents 3' ./train --out $work/h2 --resume --latents 5
# a Base of 16 bits: rounded once, it is the same Base as reals and, in memory, as its file has it
expect 0 'frozen, stored as BF16' ./train --base $work/base --system h1 --base-stored bf16 \
    --out $work/dry --dry-run
expect 0 'Base in 16 bits' ./train --base $work/base --system h1 --base-stored bf16 \
    --out $work/dry --dry-run
expect 0 'frozen, stored as real' ./train --base $work/base --system h1 --base-stored file \
    --out $work/dry --dry-run
kept="./train --batch 16 --latents 3 --steps 12 --log-every 4 --quiet --seed 3 --score-points 2 --score-count 24"
for s in liu h1 prompt; do
    expect 0 step=12 $kept --base $work/base --base-stored bf16 --system $s --out $work/$s-bf16
    expect 0 step=12 $kept --base $work/$s-bf16 --base-stored file --system $s --out $work/$s-file
    expect 0 step=12 $kept --base $work/$s-bf16 --system $s --out $work/$s-real
    same $work/$s-bf16/base/model.safetensors $work/$s-file/base/model.safetensors
    for a in bf16 file; do same $work/$s-real/state.safetensors $work/$s-$a/state.safetensors; done
    for a in file real; do ./eval score $work/$s-$a --count 24 | sed 1d > $work/$s-$a/score; done
    expect 0 'accuracy' cat $work/$s-file/score
    same $work/$s-file/score $work/$s-real/score
done
cmp -s $work/liu-bf16/base/model.safetensors $work/base/base/model.safetensors &&
    bad "rounded, the same bytes" || ok
expect 0 'is finished' $kept --base $work/base --base-stored bf16 --system liu --out $work/liu-bf16 --resume
expect 0 'think' ./eval trace $work/liu-file --prompt 'numbers: 3 7 12 target: 60'
expect 0 'liu' ./eval compare $work/base $work/liu-file $work/h1-real --count 24 --prompts 32
long="./train --base $work/base --batch 16 --latents 3 --system h2 --steps 200 --log-every 7 --save-every 9 --quiet --score-points 1 --score-count 24"
expect 0 step=200 $long --out $work/straight
# begun RUN COMMAND...: starts it in the background, waits for its first checkpoint; pid
begun() {
    run=$1; shift
    "$@" --out $run > /dev/null 2>&1 & pid=$!
    while [ ! -e $run/state.safetensors ]; do sleep 0.02; done
}
begun $work/stopped $long
kill -TERM $pid; wait $pid
[ $? -eq 130 ] && ok || bad "TERM: status is not 130"
# what was ignored when it began stays ignored; a shell starts a background job with INT ignored
begun $work/ignored sh -c "trap '' HUP; exec $long --out $work/ignored"
kill -HUP $pid; kill -INT $pid; wait $pid
[ $? -eq 0 ] && ok || bad "an ignored hang-up or Ctrl-C stopped it"
same $work/straight/state.safetensors $work/ignored/state.safetensors
if env --default-signal=INT true 2> /dev/null; then
    begun $work/interrupted env --default-signal=INT $long
    kill -INT $pid; wait $pid
    [ $? -eq 130 ] && ok || bad "Ctrl-C: status is not 130"
else echo "skipped: Ctrl-C (env cannot give a background job its default)"; fi
expect 0 'step=200' $long --out $work/stopped --resume --recompute
same $work/straight/state.safetensors $work/stopped/state.safetensors
losses $work/straight; losses $work/stopped
same $work/straight/losses $work/stopped/losses
$long --out $work/killed > /dev/null 2>&1 & pid=$!
while [ ! -e $work/killed/state.safetensors ]; do sleep 0.02; done
kill -KILL $pid; wait $pid 2> /dev/null
expect 0 'step=200' ./train --resume --out $work/killed --quiet --log-every 7 --save-every 9 --score-points 1 --score-count 24
same $work/straight/state.safetensors $work/killed/state.safetensors
losses $work/killed
same $work/straight/losses $work/killed/losses

# a folder that was emptied or removed meanwhile is not filled with half a run
for keep in "" "--keep-best"; do
    begun $work/emptied $long $keep --score-points 200
    rm $work/emptied/run.json
    wait $pid; [ $? -eq 1 ] && ok || bad "$keep: a run whose run.json was removed did not fail"
    rm -rf $work/emptied
done

# ---- one program at a time trains into a folder; what a crashed one left blocks nobody
begun $work/held $long
expect 1 "held is in use: process $pid on .*trains into it" $long --out $work/held
expect 1 "held is in use: process $pid on" ./train --resume --out $work/held
expect 1 "held/ is in use: process $pid on" ./train --resume --out $work/../drivers/held/
expect 0 'trained .*parameters' ./train --resume --dry-run --out $work/held
kill -KILL $pid; wait $pid 2> /dev/null
[ -e $work/held/lock ] && ok || bad "no lock in a folder whose holder was killed"
echo 'process 1 on elsewhere' > $work/held/lock
expect 0 'step=200' $long --resume --out $work/held
same $work/straight/state.safetensors $work/held/state.safetensors
[ -e $work/held/lock ] && bad "a lock is left in a finished run" || ok
ran=0
for i in 1 2 3; do
    (sh -c "$long --out $work/race; echo \$?" > $work/race-$i 2>&1) & eval "race$i=\$!"
done
wait $race1; wait $race2; wait $race3
for i in 1 2 3; do [ "$(tail -n 1 $work/race-$i)" = 0 ] && ran=$((ran + 1)); done
[ $ran -eq 1 ] && ok || bad "of three runs begun at once in one folder $ran went through"
same $work/straight/state.safetensors $work/race/state.safetensors
begun $work/parent $long --keep-best --score-points 8
while [ ! -e $work/parent/best/state.safetensors ]; do sleep 0.02; done
expect 1 "best is in use: process $pid on" ./train --resume --out $work/parent/best
kill -TERM $pid; wait $pid 2> /dev/null

# ---- --accumulate: one mean over the whole batch, the same bits with any threads, less memory
parts="$arm --accumulate 5"
for s in none soft coconut liu h1 h2 h1h2; do expect 0 'step=12 .*accuracy=' $parts --system $s --out $work/$s-parts; done
expect 0 step=12 $parts --system h2 --threads 1 --recompute --out $work/h2-parts-one
same $work/h2-parts/state.safetensors $work/h2-parts-one/state.safetensors
cmp -s $work/h2-parts/state.safetensors $work/h2/state.safetensors && bad "in parts, yet the same roundings" || ok
column() { sed -n "${3}p" "$1/log.csv" | cut -d, -f$2; }
for s in none soft coconut liu h1 h2 h1h2; do
    for row in 2 4; do close "$s in parts, row $row: loss" "$(column $work/$s 2 $row)" "$(column $work/$s-parts 2 $row)"; done
    close "$s in parts: gradient norm" "$(column $work/$s 3 2)" "$(column $work/$s-parts 3 2)"
done
expect 0 step=12 $arm --system h2 --orthogonality 0.3 --orthogonality-form centred --text-loss 0.5 --out $work/h2-terms
expect 0 step=12 $parts --system h2 --orthogonality 0.3 --orthogonality-form centred --text-loss 0.5 --out $work/h2-terms-parts
for row in 2 4; do close "terms in parts, row $row" "$(column $work/h2-terms 3 $row)" "$(column $work/h2-terms-parts 3 $row)"; done
tape() { ./train --base $work/base --system h2 --batch $1 --accumulate $2 --score-points 0 --dry-run --out $work/dry 2>&1 | sed -n 's/^  tape of one [^.]* \([0-9.]*\) MiB$/\1/p'; }
near 'the tape of 16 in 4 parts is that of 4' "$(tape 16 4)" "$(tape 4 1)"
near 'the tape of 15 in 4 parts is that of 4' "$(tape 15 4)" "$(tape 4 1)"
for words in 'tape of one part, longest' 'batch 15 in 4 parts'; do expect 0 "$words" ./train --base $work/base --system h2 --batch 15 --accumulate 4 --dry-run --out $work/dry; done
for n in 0 17; do expect 2 'accumulate: 1 to the batch, 16, not' $arm --system h2 --accumulate $n --out $work/x; done
expect 2 'was begun with --accumulate 5' ./train --resume --accumulate 4 --out $work/h2-parts
expect 0 step=200 $long --accumulate 3 --out $work/parts-straight
begun $work/parts-stopped $long --accumulate 3
kill -TERM $pid; wait $pid
expect 0 step=200 $long --accumulate 3 --resume --out $work/parts-stopped
same $work/parts-straight/state.safetensors $work/parts-stopped/state.safetensors

# ---- --dry-run: one step and one scoring are timed; a finished run has none left
expect 0 '^time +about [0-9]+m[0-9]+s: 12 steps of [0-9.e-]+ s \([0-9.]+MFLOP, [0-9.]+ GFLOP/s\), 2 scorings of [0-9.e-]+ s$' $arm --system h2 --dry-run --out $work/x
expect 0 '^time +about [0-9]+m[0-9]+s: 12 steps of .*, 1 scoring of' $base --dry-run --out $work/x
expect 0 '^time +about 0m00s: 0 steps of 0 s$' ./train --resume --dry-run --out $work/h2
cp $work/stopped/state.safetensors $work/state
expect 0 '^time +about [^:]*: 0 steps' ./train --resume --dry-run --out $work/stopped
same $work/state $work/stopped/state.safetensors
days=$(./train --base $work/base --steps 100000000000 --score-points 0 --dry-run --out $work/x 2> /dev/null | sed 's/^time *about \([0-9]*\)d.* steps of \([^ ]*\) s.*/\1 \2/')
if echo "$days" | awk '{ exit !(NF == 2 && (($1 + 0.5) / ($2 * 1e11 / 86400) - 1) ^ 2 < 1e-3) }'; then ok; else bad "days, seconds of one step of 1e11: $days"; fi
[ -e "$work/x" ] && bad "a dry run left $work/x behind" || ok

# ---- bound threads, as batch systems have them: each worker has a core of its own
cores() { cat /proc/$1/task/*/status 2> /dev/null | grep '^Cpus_allowed_list' | sort -u | wc -l; }
if [ -r /proc/self/status ] && [ "$(nproc)" -gt 1 ] && [ -n "$(ldd ./train | grep omp)" ]; then
    for bound in OMP_PROC_BIND=true OMP_PLACES=cores GOMP_CPU_AFFINITY=0-1; do
        begun $work/$bound env $bound $long --threads 2
        sleep 0.2
        [ "$(cores $pid)" -ge 2 ] && ok || bad "$bound: two threads on $(cores $pid) core"
        kill -KILL $pid; wait $pid 2> /dev/null
    done
else echo "skipped: bound threads (one core, no OpenMP, or no /proc)"; fi

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

# ---- tokens: the run's own vocabulary as tokenizer (tests/test_bpe.c has the others)
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
# ---- other tasks: rows of our own, every way to show steps, the curriculum, text, choices
tiny="--width 16 --heads 2 --layers 2 --batch 4 --quiet --log-every 4 --score-points 2 --score-count 8"
i=0
while [ $i -lt 12 ]; do
    printf '%s\n' "{\"question\":\"Sam has $i and gets 2 more, twice. How many?\",\"answer\":\"He has $i+2=<<$i+2=$((i+2))>>$((i+2)), then <<$((i+2))+2=$((i+4))>>.\n#### $((i+4))\"}"
    i=$((i + 1))
done > "$work/gsm.jsonl"
{ cat "$work/gsm.jsonl"; echo '{"question":"no answer"}'; } > "$work/gsm-broken.jsonl"
gsm="./train --task gsm8k --data $work/gsm.jsonl --context 128 $tiny"
expect 0 'nodes      2' ./train --task prosqa --describe
./train --task gsm8k --data $work/gsm.jsonl --describe > $work/described
expect 0 '^  question  Sam has 2 and gets 2 more, twice. How many\?$' cat $work/described
expect 0 '^            <<4\+2=6>>$' cat $work/described
expect 0 '^  answer    6$' cat $work/described
expect 0 '^3$' grep -c '^row [1-3]$' $work/described
expect 0 '12 rows, .*bytes.*question 4' ./train --task gsm8k --data $work/gsm.jsonl --describe
expect 0 '^3$' sh -c './train --describe | grep -c ^row'
expect 0 '^  answer    [-+*/()0-9]+$' ./train --describe
expect 0 '^  question  numbers: 44 19 35 target: 98$' ./train --data $work/mine.jsonl --describe
expect 0 '^            44 ?[+] ?54 ?= ?98$' ./train --data $work/mine.jsonl --describe
expect 0 '^2$' sh -c "./train --data $work/mine.jsonl --describe | grep -c ^row"
printf '{"question":"One\\nand a\\ttab?","answer":"#### 1"}\n' > $work/breaks.jsonl
expect 0 '^  question  One.nand a.x09tab[?]$' ./train --task gsm8k --data $work/breaks.jsonl --describe
expect 2 'gsm8k wants --data' ./train --task gsm8k --out $work/x
expect 2 'steps-shown' $gsm --steps-shown some --out $work/x
expect 2 'keep-best wants --valid' $gsm --keep-best --out $work/x
expect 2 'like 0-5,8' $gsm --system h1 --base $work/base --kv-layers 3-1 --out $work/x
echo '[{"question":"a","steps":[],"answer":"1"},{"question":"b"}]' > "$work/line.json"
expect 1 'line.json:1: row 2: .*broken skip leaves such rows out' ./train --task gsm8k --data $work/line.json $tiny --out $work/x
expect 1 'gsm-broken.jsonl:13' ./train --task gsm8k --data $work/gsm-broken.jsonl $tiny --out $work/x
expect 1 'broken skip leaves such rows out' ./train --task gsm8k --data $work/gsm.jsonl --context 32 $tiny --out $work/x
expect 0 'step=8' ./train --task gsm8k --data $work/gsm-broken.jsonl --broken skip --context 128 $tiny --steps 8 --out $work/gsm-skip
expect 1 'smaller --batch' $gsm --memory 0.0001 --out $work/x
[ -e "$work/x" ] && bad "a refused run left $work/x behind" || ok
expect 0 'step=8.*accuracy=' $gsm --valid $work/gsm.jsonl --steps 8 --max-new 16 --system soft --out $work/gsm-none
expect 0 'step=8' $gsm --steps-shown all --steps 8 --max-new 16 --system none --out $work/gsm-all
for run in gsm-none gsm-all; do
    expect 0 'problems that training can have seen: 12 of 12' ./eval score $work/$run --data $work/gsm.jsonl --max-new 16
done
expect 0 'The page with [12] runs?: ' ./eval report $work/gsm-none --data $work/gsm.jsonl --count 4 --prompts 8 --out $work/page.html
expect 1 'gsm-none: another task' ./eval report $work/none $work/gsm-none --out $work/x.html
expect 0 'no number' ./eval score $work/gsm-none --data $work/gsm.jsonl --latents 2 --latents-from zero --max-new 8
expect 1 'no more' ./eval score $work/gsm-none --data $work/gsm.jsonl --latents 5
expect 1 'with --data' ./eval score $work/gsm-none
expect 0 'soft' ./eval compare $work/gsm-none $work/gsm-all --data $work/gsm.jsonl --count 4

expect 1 'no .*/prosqa/valid.json' sh data/plans/real.sh $work
stages="./train --task prosqa --nodes 6-8 --path 2-3 --context 192 $tiny --steps-shown curriculum --stages 2 --latents-per-stage 1 --reset-optimizer --keep-best --save-every 7 --schedule constant --uniform-stage 0.3 --steps 100"
for s in coconut h2; do expect 0 'step=100 .*accuracy=' $stages --system $s --out $work/stages-$s; done
expect 0 'which option' ./eval score $work/stages-h2 --count 8
expect 0 'step=100 .*accuracy=' $stages --system coconut --accumulate 2 --out $work/stages-parts
for row in 2 9; do close "a curriculum in parts, row $row" "$(column $work/stages-coconut 2 $row)" "$(column $work/stages-parts 2 $row)"; done
expect 0 '^100,.*,3$' tail -n 1 $work/stages-h2/log.csv
expect 0 '^ *"stage": 3$' ./eval score $work/stages-h2 --count 8 --json
expect 0 'trained .*parameters' ./train --resume --dry-run --out $work/stages-h2
expect 0 'N_L 2.*step .*stage 3 of 0..3' ./eval score $work/stages-h2/best --count 8
expect 0 'which option' ./eval score $work/stages-coconut --count 8 --latents 5 --latents-from swapped
expect 0 'Is' ./eval trace $work/stages-h2 --prompt 'Tom is a lempus. Every lempus is a impus. Sam is a rompus. Is Tom a impus or rompus?'
expect 0 'N_L 6' ./train --task prosqa --context 512 --width 16 --heads 2 --layers 2 --batch 4 --steps-shown curriculum --latents-per-stage 1 --system coconut --steps 8 --dry-run --out $work/x
$stages --system h2 --out $work/stages-killed > /dev/null 2>&1 & pid=$!
while [ ! -e $work/stages-killed/state.safetensors ]; do sleep 0.02; done
sleep 0.1; kill -KILL $pid 2> /dev/null; wait $pid 2> /dev/null
expect 0 'step=100|is finished' $stages --system h2 --out $work/stages-killed --resume
same $work/stages-h2/state.safetensors $work/stages-killed/state.safetensors
same $work/stages-h2/best/state.safetensors $work/stages-killed/best/state.safetensors

i=0
while [ $i -lt 60 ]; do echo "Line $i says that $((i * 7)) follows $((i * 7 - 1)), and so on."; i=$((i + 1)); done > "$work/text.txt"
text="./train --task text --data $work/text.txt $tiny --held-out 0.2"
expect 2 'wants --data' ./train --task text --objective lm --out $work/x
expect 2 'no questions' $text --out $work/x
expect 0 'step=12 .*held_out_loss=' $text --objective lm --context 64 --steps 12 --out $work/text-lm
for s in none h2 h1 soft coconut; do
    expect 0 'step=8 .*held_out_loss=' $text --objective pretrain --base $work/text-lm --system $s --latents 2 --ahead 4 --groups 3 --steps 8 --out $work/text-$s
done
expect 0 'step=8' $text --objective pretrain --base $work/text-lm --system h1 --latents 2 --ahead 4 --steps 8 --kv-layers 1 --orthogonality 0.1 --orthogonality-form values --out $work/text-options
expect 0 'step=8' $text --objective pretrain --base $work/text-lm --system h2 --latents 2 --ahead 4 --steps 8 --fused --text-loss 0.5 --out $work/text-fused
expect 0 'step=8' $text --objective pretrain --base $work/text-lm --system h2 --latents 2 --ahead 4 --groups 3 --steps 8 --accumulate 3 --out $work/text-parts
expect 0 'step=12' $text --objective lm --context 64 --steps 12 --accumulate 4 --out $work/text-lm-parts
for row in 2 3; do
    close "pretraining in parts, row $row" "$(column $work/text-h2 2 $row)" "$(column $work/text-parts 2 $row)"
    close "a Base in parts, row $row" "$(column $work/text-lm 2 $row)" "$(column $work/text-lm-parts 2 $row)"
done
expect 0 'layers 1, 0.1 x orthogonality, of values' ./eval perplexity $work/text-options
expect 2 'does not fit' $text --objective pretrain --base $work/text-lm --system h2 --sequence 63 --out $work/x
expect 0 'held out' ./eval perplexity $work/text-h2 --sequences 4
expect 0 ' all ' ./eval perplexity $work/text-none $work/text.txt --sequences 4
expect 0 'step=4' $gsm --from $work/text-h2 --system h2 --latents 2 --broken skip --context 64 --steps 4 --score-points 0 --out $work/from
echo 'NOT passed' > $work/text-h1/gate.txt
expect 0 "Base in $work/text-h1 failed its gate" $gsm --from $work/text-h1 --system h1 --latents 2 --broken skip --context 64 --steps 4 --dry-run --out $work/x
rm $work/text-h1/gate.txt
expect 1 'soft_tokens is 2 x 16' $gsm --from $work/text-h2 --system h2 --latents 3 --broken skip --context 64 --steps 4 --score-points 0 --out $work/x2
printf '%s\n' '{"ctx":"One and one is","choices":["two","three"],"gold":0}' \
    '{"ctx":"c","choices":["x","y","z"],"gold":2}' > "$work/mc.jsonl"
for run in text-h2 text-none text-h1 gsm-none; do expect 0 'per byte' ./eval choices $work/$run $work/mc.jsonl; done
# swapped and mean there: files that must give the right choices the same loss, or another one
one='{"ctx":"One and one is","choices":["two","ten"],"gold":0}'
sky='{"ctx":"The sky is often","choices":["red","sad","dry"],"gold":2}'
cat='{"ctx":"A cat has no","choices":["fur","car"],"gold":1}'
twin='{"ctx":"One and one is","choices":["six","odd"],"gold":1}'
rows() { printf '%s\n' "$@" > "$work/mc-rows.jsonl"; }
loss() { ./eval choices $1 "$work/mc-rows.jsonl" --latents-from $2 --json 2> /dev/null | sed -n 's/^ *"loss": \([^,]*\),$/\1/p'; }
mean() { echo "$@" | awk 'NF > 1 { for (i = 1; i <= NF; i++) s += $i; printf "%.9f", s / NF }'; }
apart() { if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && b != "" && (a - b) ^ 2 > 1e-10) }'; then ok; else bad "$1: $2 and $3 are too near"; fi; }
for run in text-h1 text-h2 text-coconut from; do
    run=$work/$run
    rows "$one" "$sky"; os=$(loss $run swapped) m=$(loss $run mean)
    apart "$run: swapped" $os $(loss $run right)
    apart "$run: mean" $m $(loss $run right)
    i=0
    while [ $i -lt 65 ]; do printf '%s\n' "$one" "$sky"; i=$((i + 1)); done > "$work/mc-rows.jsonl"
    near "$run: more than one batch, swapped" "$os" "$(loss $run swapped)"
    near "$run: more than one batch, mean" "$m" "$(loss $run mean)"
    rows "$one" '{"ctx":"The sky is often","choices":["dry","sad"],"gold":0}'
    near "$run: choices less or in another order, swapped" "$os" "$(loss $run swapped)"
    near "$run: choices less or in another order, mean" "$m" "$(loss $run mean)"
    rows "$sky" "$cat"; sc=$(loss $run swapped)
    rows "$cat" "$one"; co=$(loss $run swapped)
    rows "$one" "$sky" "$cat"; osc=$(loss $run swapped)
    rows "$one" "$cat" "$sky"
    near "$run: every row with each of the others" "$(mean $os $sc $co)" "$(mean $osc $(loss $run swapped))"
    rows "$one" "$sky" "$twin" "$sky"; apart=$(loss $run swapped)
    rows "$one" "$twin" "$sky" "$sky"
    near "$run: twins side by side" "$apart" "$(loss $run swapped)"
done
./eval choices $work/text-h1 $work/mc-rows.jsonl --latents-from swapped --threads 1 > "$work/one"
./eval choices $work/text-h1 $work/mc-rows.jsonl --latents-from swapped --threads 3 > "$work/three"
expect 0 '2 latents, swapped' cat "$work/one"
same "$work/one" "$work/three"
rows '{"ctx":"The answer is ","choices":["yes","no"],"gold":0}'; moved=$(loss $work/text-h1 right)
rows '{"ctx":"The answer is","choices":[" yes"," no"],"gold":0}'
near 'choices: white space before and behind the cut' "$moved" "$(loss $work/text-h1 right)"
rows "$one" "$twin" "$sky" "$sky"
near 'soft: the same vectors for every context' "$(loss $work/text-soft swapped)" "$(loss $work/text-soft right)"
expect 1 'has no latents' ./eval choices $work/text-none $work/mc-rows.jsonl --latents-from swapped
rows '{"choices":["a","b"],"context_options":["x a","x b"],"continuation":"end.","gold":1}' '{"choices":["b","a"],"context_options":["x b","x a"],"continuation":"stop.","gold":1}'
for from in swapped mean; do expect 1 'needs, for each row' ./eval choices $work/text-h1 $work/mc-rows.jsonl --latents-from $from; done
echo "$one" >> "$work/mc-rows.jsonl"
expect 0 'of 3$' ./eval choices $work/text-h1 $work/mc-rows.jsonl --latents-from swapped

# ---- text: what is called held out, what can be asked of such a run
head -n 20 "$work/text.txt" > "$work/valid.txt"
expect 0 'step=8' $text --valid $work/valid.txt --objective pretrain --base $work/text-lm --system h2 --latents 2 --ahead 4 --steps 8 --out $work/text-valid
expect 0 'valid.txt: [0-9]* sequences of 61' ./eval perplexity $work/text-valid
expect 0 '20 tokens, 4 places in each, 2 latents' ./eval perplexity $work/text-h2 --sequence 20 --groups 4
expect 2 'does not fit' ./eval perplexity $work/text-h2 --sequence 63
expect 2 'no answers to grade' ./eval score $work/text-h2 --data $work/text.txt
expect 2 'no answers to grade' ./eval compare $work/text-lm --data $work/text.txt
expect 0 '3 fresh prompts x 2 slots' ./eval latents $work/text-h2 --prompts 3
expect 0 '17 fresh prompts' ./eval latents $work/text-h2 --prompts 17 --data $work/text.txt
expect 0 "'e' .cue." ./eval trace $work/text-h2 --prompt 'Line' --answer ' 7'
printf '{"text":"one"}\n{"txet":"two"}\n{"text":"%0200d"}\n' 3 > "$work/broken.jsonl"
expect 0 'broken.jsonl:2: ' ./eval perplexity $work/text-h2 $work/broken.jsonl --broken skip
expect 0 '1 broken row left out' ./eval perplexity $work/text-h2 $work/broken.jsonl --broken skip

# ---- a BPE of the 256 bytes, and what becomes of its folder while a run goes on
mkdir -p $work/bytes
awk 'BEGIN { printf "{\"<|endoftext|>\": 256"
    for (i = 0; i < 256; i++) {
        shown = (i > 32 && i < 127) || (i > 160 && i != 173)
        printf ", \"\\u%04x\": %d", shown ? i : 256 + n++, i
    }
    print "}" }' > $work/bytes/vocab.json
echo '#version: 0.2' > $work/bytes/merges.txt
bpe="./train --task gsm8k --data $work/gsm.jsonl --valid $work/gsm.jsonl --context 128 --broken skip --batch 4 --quiet --log-every 1 --score-points 1 --score-count 2 --max-new 4 --keep-best --save-every 500"
shape="--width 16 --heads 2 --layers 2"
expect 0 step=4 $bpe $shape --system h2 --latents 2 --tokenizer $work/bytes --steps 4 --out $work/bpe
expect 0 '^116 119 111$' ./eval tokens $work/bpe --text two
mkdir -p $work/bpe-init; cp $work/bytes/* $work/bpe/base/* $work/bpe-init
# while_it_runs WHAT COMMAND...: WHAT is done once the first step is through
while_it_runs() {
    what=$1; shift
    { "$@" 2>&1; echo "status $?"; } | while read -r line; do
        case $line in step=1\ *) eval "$what" ;; esac
        echo "$line"
    done
}
source_is_gone() { # NAME FOLDER OPTION...: the run that takes its tokenizer from FOLDER, by OPTION
    name=$1 from=$2; shift 2
    while_it_runs "mv $from $from.away" $bpe "$@" --steps 150 --out $work/$name > $work/$name.txt
    expect 0 '^status 0$' cat $work/$name.txt
    mv $from.away $from
    same $from/vocab.json $work/$name/best/vocab.json
}
source_is_gone by-tokenizer $work/bytes $shape --tokenizer $work/bytes
source_is_gone by-base $work/bpe --base $work/bpe
source_is_gone by-from $work/bpe --from $work/bpe --system h2 --latents 2
source_is_gone by-init $work/bpe-init --init $work/bpe-init
cp $work/bytes/merges.txt $work/merges.txt
while_it_runs "echo '#version: other' > $work/bytes/merges.txt" $bpe $shape --tokenizer $work/bytes \
    --steps 150 --out $work/edited > $work/edited.txt
for run in edited edited/best; do same $work/merges.txt $work/$run/merges.txt; done
cp $work/merges.txt $work/bytes/merges.txt
# a run that goes on asks its own folder, not those that it began with
for f in bytes bpe bpe-init; do mv $work/$f $work/$f.away; done
for run in by-tokenizer by-base by-from by-init; do
    expect 0 'is finished' ./train --resume --out $work/$run
    out=$(./train --resume --out $work/$run 2>&1)
    case $out in *'are taken for'*) bad "$run: $out" ;; *) ok ;; esac
done
for f in bytes bpe bpe-init; do mv $work/$f.away $work/$f; done
mv $work/base-wide $work/base-wide.away
expect 0 'is finished' ./train --resume --out $work/wide
mv $work/base-wide.away $work/base-wide
rm $work/by-tokenizer/vocab.json
expect 1 'by-tokenizer.*its tokenizer' ./train --resume --out $work/by-tokenizer

# ---- answers and paths of any bytes: a model that says 18 is given other tokens for the 8
printf '%s\n' '{"question":"How many?","answer":"<<9+9=18>>\n#### 18"}' > $work/says-18.jsonl
printf '%s\n' '{"question":"How many?","answer":"<<1*1=1>>\n#### 1"}' > $work/wants-1.jsonl
latin=$work/caf$(printf '\351')
cp $work/says-18.jsonl $latin.jsonl
expect 0 step=100 ./train --task gsm8k --data $latin.jsonl --context 32 --batch 4 --quiet --lr 0.01 \
    --steps 100 --score-points 0 $shape --tokenizer $work/bytes --out $latin
expect 0 'accuracy .* 100.0 %' ./eval score $latin --data $work/says-18.jsonl
expect 0 'is finished' ./train --resume --out $latin
# says BYTE: the run with 8 and this byte, as the vocabulary spells it, in each other's place
says() {
    cp $work/bytes/vocab.json $latin/vocab.json
    eight=$(sed 's/.*"\\u0038": \([0-9]*\).*/\1/' $latin/vocab.json)
    other=$(sed 's/.*"\\u'$1'": \([0-9]*\).*/\1/' $latin/vocab.json)
    sed -i 's/"\\u0038": [0-9]*/"\\u0038": '$other'/; s/"\\u'$1'": [0-9]*/"\\u'$1'": '$eight'/' $latin/vocab.json
}
answer() { ./eval generate $latin --prompt 'How many?' "$@" 2>&1; }
says 0100
expect 0 'verdicts: correct 0, no number 1,' ./eval score $latin --data $work/wants-1.jsonl
expect 0 '^### 1\\0$' answer
expect 0 '"answer": "### 1\\u0000"' answer --json
expect 0 '^y: ### 1\\0<.endoftext.> ' ./eval trace $latin --prompt 'How many?'
expect 0 ' \\0 \(y\) ' ./eval trace $latin --prompt 'How many?'
says 00c3
expect 0 '"answer": "### 1\\\\xC3"' answer --json
for cmd in "generate $latin --prompt How" "score $latin --data $latin.jsonl" \
           "compare $latin --data $latin.jsonl --no-analysis" "latents $latin"; do
    ./eval $cmd --json > "$work/out.json" 2> /dev/null
    expect 0 'valid' "$1/json-f32" "$work/out.json"
done
expect 0 'valid' "$1/json-f32" $latin/run.json
./eval generate $latin --json --prompt "$(printf '\300\257\355\240\200')" > $work/out.json
expect 0 'valid' "$1/json-f32" $work/out.json
cp $work/text.txt $latin.txt
cp -r $work/text-h2 $latin-text
./eval perplexity $latin-text $latin.txt --sequences 2 --json > $work/out.json
expect 0 'valid' "$1/json-f32" $work/out.json
cp $work/mc.jsonl $latin-mc.jsonl
./eval choices $latin-text $latin-mc.jsonl --json > $work/out.json
expect 0 'valid' "$1/json-f32" $work/out.json
./eval latents $latin-text --prompts 3 --json > $work/out.json
expect 0 'valid' "$1/json-f32" $work/out.json

# ---- options that would do nothing; what the header says
for o in "--stages 2" "--stage-epochs 2" "--reset-optimizer" "--groups 3" "--held-out 0.3" "--facts 0.2" "--solved 0.2"; do
    expect 2 "${o%% *} is for .*would do nothing" $gsm $o --steps 4 --out $work/x
done
expect 2 'score-points 0' $gsm --keep-best --valid $work/gsm.jsonl --score-points 0 --steps 4 --out $work/x
expect 2 'nothing is scored' ./train --objective lm --width 16 --heads 2 --layers 2 --steps 4 --keep-best --out $work/x
plain="--width 16 --heads 2 --layers 2 --dry-run --out $work/x"
expect 0 'scoring +nothing: --task gsm8k is not generated, --valid FILE names' ./train --task gsm8k --data $work/gsm.jsonl --context 128 --score-points 5 $plain
expect 0 'scoring +nothing: --score-points 0' ./train --task gsm8k --data $work/gsm.jsonl --context 128 --score-points 0 $plain
expect 0 'scoring +nothing: .* on the text that --task countdown makes' ./train --objective lm $plain
expect 0 'scoring +nothing: less than one sequence .* held out; more with --held-out' ./train --task text --objective lm --data $work/text.txt --held-out 0 $plain
expect 0 'batch 4, constant schedule.* seed 1' ./train --task gsm8k --data $work/gsm.jsonl --context 128 --width 16 --heads 2 --layers 2 --batch 4 --schedule constant --dry-run --out $work/x
expect 0 'options .* --numbers 4-5 .* --lr 0.01' ./train --objective lm --width 16 --heads 2 --layers 2 --numbers 4-5 --lr 0.01 --dry-run --out $work/x
expect 0 'has --latent-gain none, this run trained' $gsm --from $work/text-h2 --system h2 --latents 2 --latent-gain trained --broken skip --context 64 --steps 4 --dry-run --out $work/x
expect 0 'end before the last stage' $stages --stage-steps 60 --system h2 --dry-run --out $work/x

# ---- answers with steps: room for all of them; each arm its own y; rows that are too long
five='{"nums":[2,3,4,5,6],"target":20,"steps":["2+3=5","5+4=9","9+5=14","14+6=20"],"answer":"2+3+4+5+6"}'
echo "$five" > "$work/five.jsonl"
learnt="./train --numbers 5 --data $work/five.jsonl --width 24 --heads 2 --layers 2 --context 96 --batch 4 --steps 80 --lr 0.01 --score-points 0 --quiet"
for shown in all none; do expect 0 'step=80' $learnt --steps-shown $shown --out $work/five-$shown; done
expect 0 'accuracy .* 100.0 %' ./eval score $work/five-all --data $work/five.jsonl
loss_of() { ./eval compare "$@" --data $work/five.jsonl --no-analysis --json 2> /dev/null | awk '/"folder": ".*five-all"/ {on = 1} on && /"loss"/ {gsub(/[^0-9.e-]/, "", $2); print $2; exit}'; }
near 'compare: the loss of an arm, whichever comes first' "$(loss_of $work/five-all $work/five-none)" "$(loss_of $work/five-none $work/five-all)"
three='{"nums":[1,2,3],"target":6,"steps":["1+2=3","3+3=6"],"answer":"1+2+3"}'
printf '%s\n' "$five" "$three" > "$work/long.jsonl"
expect 0 'step=4' ./train --data $work/long.jsonl --broken skip --width 24 --heads 2 --layers 2 --context 18 --batch 2 --steps 4 --score-points 0 --out $work/long
expect 0 'none +[0-9.]+k +1 +[1-9]' ./eval compare $work/long --data $work/long.jsonl --broken skip --no-analysis

document choices $work/text-h2 $work/mc.jsonl
document perplexity $work/text-h2 --sequences 2
document score $work/stages-h2 --count 8
document score $work/gsm-none --data $work/gsm.jsonl --max-new 8

# ---- the plan of results, very small: list, rows that come again bit for bit, a stop, tables, rates
plan() { env QUICK=1 SCALE=800 COUNT=20 TEXT= JOBS=2 RUNS=$work/plan OUT=$work/results sh data/plans/reproduce.sh "$@"; }
expect 0 "^QUICK='1' .* sh .*reproduce.sh --one base/form3-1$" plan --list main
expect 0 'one main/none-flops-2$' plan --list main
expect 1 'there is no part chess' plan --list chess
expect 255 'there is no arm main/h3' plan --one main/h3-1
expect 2 'reproduce.sh --list' plan --help
expect 0 'solved/h1-1' plan --one solved/h1-1
# a row without its seconds, which no two runs share
row() { awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "seconds") at = i } { $at = ""; print }' $work/plan/solved/h1-1/row.csv > "$1"; }
row $work/row-once
rm -r $work/plan/solved $work/plan/base
expect 0 'solved/h1-1' sh -c "$(plan --list solved 2> /dev/null | grep 'solved/h1-1$')"
row $work/row
same $work/row-once $work/row
# with a run cut off in the middle and a Base that is gone the plan goes on
rm $work/plan/solved/h1-1/row.csv $work/plan/solved/h1-1/trained
expect 0 '16 of 16 runs done, 0 left' plan solved
row $work/row
same $work/row-once $work/row
expect 0 '^solved,h1h2,2,' cat $work/results/solved.csv
expect 0 '^[|] h1h2 [|] 2 [|]' cat $work/results/tables.md
expect 0 'plan/solved/h1-2$' plan --runs solved
# a Base and h2 first, then as many FLOPs as h2's
expect 0 'main/none-flops-1' plan --one main/none-flops-1
expect 0 'row.csv|step=' ls $work/plan/main/none-flops-1/row.csv $work/plan/main/h2-1/trained

# ---- the public sets, where they are
if [ -n "$DUAL_DATA" ]; then
    rows=$DUAL_DATA/countdown
    expect 0 step=3 ./train --data $rows/countdown_uft_train.jsonl $small --context 64 --steps 3 --out $work/uft
    expect 0 'accuracy' ./eval score $work/uft --data $rows/countdown_uft_test.jsonl
    expect 0 'step=3' ./train --task gsm8k --data $DUAL_DATA/gsm8k/gsm8k_aug_valid.txt --tokenizer $DUAL_DATA/tok/gpt2 $small --context 256 --batch 2 --steps 3 --system h2 --out $work/gsm-bpe
    expect 0 'correct' ./eval score $work/gsm-bpe --data $DUAL_DATA/gsm8k/coconut_gsm_test.json --count 4 --max-new 4
    expect 0 'per token' ./eval choices $work/gsm-bpe $DUAL_DATA/mc/winogrande_val.jsonl --count 3
    expect 0 'which option' sh -c "./train --task prosqa $tiny --context 400 --steps 2 --score-points 0 --out $work/prosqa && ./eval score $work/prosqa --data $DUAL_DATA/prosqa/prosqa_test.json --count 4 --max-new 4"
else echo "skipped: real rows (DUAL_DATA names no folder of sets)"; fi
rm -rf "$work"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
