# exits.sh - every command and every way out of both programs, for the part `leaks` of faults.sh:
# the exit status that is expected, the program, its arguments.
v=$work/vg
rm -rf "$v"; mkdir -p "$v/words"
tiny="--width 8 --heads 2 --layers 1 --context 32 --batch 2 --quiet --score-points 1 --score-count 4 --max-new 4 --steps 3"
printf '{"question":"Two and 2?","answer":"It is <<2+2=4>>4.\\n#### 4"}\n' > "$v/gsm.jsonl"
printf '{"question":"no answer"}\n' > "$v/broken.jsonl"; cat "$v/gsm.jsonl" >> "$v/broken.jsonl"
printf '{"ctx":"The sky is","choices":["blue","dry"],"gold":0}\n{"ctx":"A cat","choices":["sits","is"],"gold":0}\n' > "$v/mc.jsonl"
printf '{"nums":[44,19],"target":63,"steps":["44+19=63"],"answer":"44+19"}\n' > "$v/rows.jsonl"
head -n 40 README.md > "$v/text.txt"
printf '7-3=4\n\n12' > "$v/lines"; printf '15 18\n' > "$v/ids"
printf 'numbers: 3 7 12 target: 57\nnumbers: 1 2 3 target: 6\n' > "$v/prompts"

# ---- train: words about itself, wrong usage
leak 0 train --help
leak 0 train --version
leak 0 train --describe
leak 0 train --task prosqa --describe
leak 0 train --task gsm8k --data "$v/gsm.jsonl" --describe
leak 1 train --task gsm8k --data "$v/broken.jsonl" --describe
leak 2 train
leak 2 train --latent 4
leak 2 train --steps ten --out "$v/x"
leak 2 train one two
leak 2 train --resume --out "$v/x"
leak 2 train --task chess --out "$v/x"
leak 2 train --system h3 --out "$v/x"
leak 2 train --width 30 --heads 4 --out "$v/x"
leak 2 train --system liu --out "$v/x"
leak 2 train --context 8 --out "$v/x"
leak 2 train --stages 3 --out "$v/x"
leak 1 train --base "$v/nowhere" --out "$v/x"
leak 1 train --data "$v/nowhere" --out "$v/x"
leak 1 train --tokenizer "$v/words" --out "$v/x"
leak 1 train --task gsm8k --data "$v/broken.jsonl" $tiny --out "$v/x"
leak 1 train --task gsm8k --data "$v/gsm.jsonl" $tiny --context 16 --out "$v/x"
leak 1 train --task text --objective lm --data "$v/nowhere" $tiny --out "$v/x"
leak 1 train $tiny --memory 0.00001 --out "$v/x"
leak 1 train $tiny --out "$v/gsm.jsonl/x"
leak 1 train --objective lm $tiny --lr 100000 --steps 40 --out "$v/diverged"

# ---- train: runs of every kind, finished, resumed, stopped
leak 0 train --objective lm $tiny --out "$v/base"
leak 2 train --objective lm $tiny --out "$v/base"
leak 0 train --resume --out "$v/base"
leak 0 train --resume --dry-run --out "$v/base"
leak 2 train --resume --width 16 --out "$v/base"
for s in none pause soft prompt coconut liu h1 h2 h1h2; do
    leak 0 train --system $s --base "$v/base" --latents 2 $tiny --out "$v/$s"
    leak 0 train --resume --out "$v/$s"
done
leak 0 train --objective lm --wide-of "$v/base" --batch 2 --quiet --steps 2 --score-points 0 --out "$v/base-wide"
leak 0 train --system wide --base "$v/base-wide" --batch 2 --quiet --steps 2 --score-points 0 --out "$v/wide"
leak 2 train --system wide --base "$v/base" --out "$v/x"
leak 0 train --system none --base "$v/base" --match-flops "$v/h2" --batch 2 --quiet --score-points 0 --out "$v/flops"
leak 0 train --system h2 --from "$v/h2" --latents 2 $tiny --out "$v/from"
leak 0 train --system liu --base "$v/base" --base-stored bf16 --latents 2 $tiny --out "$v/bf16"
leak 0 train --system h2 --init "$v/base/base" --latents 2 $tiny --recompute --accumulate 2 --out "$v/init"
leak 0 train --system h2 --base "$v/base" --latents 2 --orthogonality 0.1 --text-loss 0.1 --latent-gain trained --keep-best $tiny --out "$v/best"
leak 0 train --objective lm --arch qwen3 $tiny --dry-run --out "$v/x"
leak 0 train --data "$v/rows.jsonl" $tiny --out "$v/rows"
leak 0 train --task gsm8k --data "$v/gsm.jsonl" --valid "$v/gsm.jsonl" $tiny --context 64 --system soft --out "$v/gsm"
leak 0 train --task gsm8k --data "$v/broken.jsonl" --broken skip $tiny --context 64 --out "$v/gsm-skip"
leak 1 train --task gsm8k --data "$v/gsm.jsonl" --valid "$v/nowhere" $tiny --context 64 --out "$v/x"
leak 0 train --task prosqa --nodes 6-8 --path 2-3 $tiny --context 192 --steps-shown curriculum --stages 1 --latents-per-stage 1 --stage-steps 1 --system coconut --out "$v/stages"
leak 0 train --resume --out "$v/stages"
leak 0 train --task text --data "$v/text.txt" --objective lm $tiny --keep-best --out "$v/text-lm"
leak 0 train --task text --data "$v/text.txt" --objective pretrain --base "$v/text-lm" --system h2 --latents 2 --ahead 3 --groups 2 $tiny --out "$v/text"
leak 0 train --task text --data "$v/text.txt" --valid "$v/text.txt" --objective pretrain --base "$v/text-lm" --system soft --latents 2 --ahead 3 $tiny --out "$v/text-soft"
cp -r "$v/h2" "$v/cut"; head -c 900 "$v/h2/state.safetensors" > "$v/cut/state.safetensors"
leak 1 train --resume --out "$v/cut"
rm "$v/cut/state.safetensors"
leak 1 train --resume --out "$v/cut"
cp -r "$v/text-lm" "$v/other"; sed 's/text.txt/lines/' "$v/text-lm/run.json" > "$v/other/run.json"
leak 1 train --resume --out "$v/other"

# ---- eval: words about itself, wrong usage
leak 0 eval --help
leak 0 eval --version
leak 2 eval
leak 2 eval scor
for c in score choices perplexity compare generate latents trace tokens; do
    leak 0 eval $c --help
    leak 2 eval $c
    leak 2 eval $c "$v/h2" --nothing
    [ $c = tokens ] || [ $c = choices ] || leak 1 eval $c "$v/nowhere" $([ $c = generate ] || [ $c = trace ] && echo "--prompt 1")
done
leak 2 eval choices "$v/text"
leak 1 eval choices "$v/text" "$v/nowhere"
leak 2 eval score "$v/h2" --split some
leak 2 eval score "$v/h2" --count 0
leak 2 eval score "$v/h2" --latents-from wrong
leak 1 eval score "$v/h2" --latents 9
leak 1 eval score "$v/none" --latents-from zero
leak 2 eval score "$v/text"
leak 1 eval score "$v/cut"
leak 1 eval score "$v/gsm"
leak 1 eval score "$v/gsm" --data "$v/broken.jsonl"

# ---- eval: every command, every form
for o in "" --json "--latents-from swapped" "--samples 2 --temperature 1" "--answers $v/answers" "--data $v/rows.jsonl" "--answers $v/nowhere/a"; do
    case $o in */nowhere/a) status=1 ;; *) status=0 ;; esac
    leak $status eval score "$v/h2" --count 4 $o
done
leak 0 eval score "$v/stages" --count 3
leak 0 eval score "$v/gsm" --data "$v/broken.jsonl" --broken skip
for o in "" --json "--latents-from mean"; do leak 0 eval choices "$v/text" "$v/mc.jsonl" $o; done
for o in "" --json "$v/text.txt" "--latents-from noise"; do leak 0 eval perplexity "$v/text" $o --sequences 2; done
leak 1 eval perplexity "$v/text" "$v/nowhere" --sequences 2
leak 2 eval perplexity "$v/text" --sequence 100
for o in "" --json --csv --markdown "--against Base" --no-analysis; do leak 0 eval compare "$v/none" "$v/h2" "$v/liu" --count 4 --prompts 8 $o; done
leak 2 eval compare "$v/none" "$v/h2" --count 4 --against h3
leak 2 eval compare "$v/none" "$v/h2" --count 4 --csv --json
leak 1 eval compare "$v/h2" "$v/gsm" --count 4
leak 1 eval compare "$v/h2" "$v/h2" --count 4
for o in "--prompt 1" "--file $v/prompts" "--file $v/prompts --json" "--prompt 1 --latents-from swapped"; do leak 0 eval generate "$v/h2" $o; done
leak 1 eval generate "$v/h2" --prompt apples
leak 1 eval generate "$v/h2" --file "$v/mc.jsonl"
leak 2 eval generate "$v/h2"
for o in "" --json "--k 2" "--dump $v/dump"; do leak 0 eval latents "$v/h2" --prompts 8 $o; done
leak 0 eval latents "$v/none" --prompts 8
leak 2 eval latents "$v/h2" --prompts 1
leak 0 eval trace "$v/h2" --prompt "numbers: 3 7 12 target: 57"
leak 0 eval trace "$v/liu" --prompt "numbers: 3 7 12 target: 57" --answer "3*7"
leak 1 eval trace "$v/h2" --prompt apples
leak 0 eval tokens "$v/h2" --text "1 2"
leak 0 eval tokens "$v/h2" "$v/lines"
leak 0 eval tokens "$v/h2" --whole "$v/lines"
leak 0 eval tokens "$v/h2" --decode "$v/ids"
leak 1 eval tokens "$v/h2" --decode --text "1x"
leak 1 eval tokens "$v/h2" --text "apples"
leak 1 eval tokens "$v/words" --text "1"
leak 2 eval tokens "$v/h2" --text 1 "$v/lines"
