#!/bin/sh
# The plan behind `make demo` and `make demo-full`: a Base, then every system from that Base with
# equal steps, data and latents, then one table and one page of pictures. Fixed, never cut by the
# clock. What is finished is kept, so an interrupted demo goes on where it was. Usage:
# demo.sh FOLDER [full]
# VERBOSE=1 shows headers and metrics too; each run keeps its header in train.txt.
dir=$1
if [ "$2" = full ]; then
    size="--width 128 --heads 8" batch=256 seeds="1 2 3"
    systems="none pause soft prompt wide coconut liu h1 h2 h1h2"
else
    size="--width 64 --heads 4" batch=128 seeds=1
    systems="none pause soft prompt liu h1 h2 h1h2"
fi
latents=4 steps=600 runs="$dir/base"
lm="--objective lm --context 32 --batch 128 --facts 0.15 --steps 1200"
prompt="numbers: 3 7 12 target: 57"
show=--brief
[ "${VERBOSE:-0}" = 1 ] && show=

run() { # train's options, --out FOLDER last
    for out; do :; done
    if [ -z "$show" ]; then echo "== $out" >&2; fi
    ./train --resume $show "$@" && return
    echo "demo: stopped; the same command goes on from here" >&2
    exit 1
}
say() { echo "$@" >&2; }

say "A Base learns facts like 3+4=7 and the form of the task, not the task itself."
run $lm $size --out "$dir/base"
case " $systems " in *" wide "*)
    say "A wide Base: as large as Base and Coprocessor together."
    run $lm --wide-of "$dir/base" --out "$dir/base-wide" ;;
esac
say "From it every system learns the task: equal steps, problems and latents."
for seed in $seeds; do
    for s in $systems; do
        from="$dir/base"
        [ $s = wide ] && from="$dir/base-wide"
        run --system $s --base "$from" --latents $latents --steps $steps --batch $batch \
            --seed $seed --out "$dir/$s-$seed"
        runs="$runs $dir/$s-$seed"
    done
    if [ "$2" = full ]; then   # none, as many FLOPs as h2
        run --system none --base "$dir/base" --match-flops "$dir/h2-$seed" --batch $batch \
            --seed $seed --out "$dir/none-flops-$seed"
        runs="$runs $dir/none-flops-$seed"
    fi
done
say "All runs answer the same problems; then their latents are compared."
./eval report $runs --against none --tables --out "$dir/report.html" || exit 1
cat << END

Where to look next, for example at h2: what its wrong answers look like, every
row of every pass for one prompt, and that answer with another prompt's latents:
  ./eval score $dir/h2-1
  ./eval trace $dir/h2-1 --prompt "$prompt"
  ./eval generate $dir/h2-1 --prompt "$prompt" \\
      --latents-from swapped
$dir/h2-1/train.txt says what was trained, and how. All of it as pictures, for a browser:
  $dir/report.html
END
