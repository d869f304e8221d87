#!/bin/sh
# The plan behind `make demo` and `make demo-full`: a Base, then every system from that Base with
# equal steps, data and latents, then one table. Fixed, never cut by the clock; what is finished is
# kept, so an interrupted demo goes on where it was. Usage: demo.sh FOLDER [full]
dir=$1
if [ "$2" = full ]; then
    size="--width 128 --heads 8" batch=256 seeds="1 2 3"
    systems="none pause soft prompt wide coconut liu h1 h2 h1h2"
else
    size="--width 64 --heads 4" batch=128 seeds=1
    systems="none pause soft prompt liu h1 h2 h1h2"
fi
latents=4 steps=600
lm="--objective lm --context 32 --batch 128 --facts 0.15 --steps 800"
begin=$(date +%s) cost=0 all=0 runs="$dir/base"

# TFLOP x 100 of each run of the small plan, for the time left (the full plan is in proportion)
price() {
    case $1 in base) echo 410 ;; none) echo 116 ;; pause|soft|wide) echo 154 ;; prompt) echo 82 ;;
               liu) echo 119 ;; h1) echo 85 ;; h2) echo 180 ;; h1h2) echo 135 ;; *) echo 164 ;; esac
}
for seed in $seeds; do for s in $systems; do all=$((all + $(price $s))); done; done
all=$((all + $(price base)))
if [ "$2" = full ]; then           # the wide Base, and `none` at h2's FLOPs for every seed
    all=$((all + $(price base)))
    for seed in $seeds; do all=$((all + $(price h2))); done
fi
left() { # after a run of price $1
    cost=$((cost + $1)) all=$((all - $1))
    [ $all -gt 0 ] && echo "   about $(( ($(date +%s) - begin) * all / cost / 60 + 1 )) min left" >&2
}
run() { # heading, price, train's options
    echo "== $1" >&2; p=$2; shift 2
    if ! ./train --resume "$@"; then
        echo "demo: stopped; the same command goes on from here" >&2
        exit 1
    fi
    left "$p"
}
run "Base on its text: facts, and the form of the task without the task" "$(price base)" \
    $lm $size --out "$dir/base"
case " $systems " in *" wide "*)
    run "wide Base: the size of Base and Coprocessor together" "$(price base)" \
        $lm --wide-of "$dir/base" --out "$dir/base-wide" ;;
esac
for seed in $seeds; do
    for s in $systems; do
        from="$dir/base"; [ $s = wide ] && from="$dir/base-wide"
        run "$s, seed $seed" "$(price $s)" --system $s --base "$from" --latents $latents \
            --steps $steps --batch $batch --seed $seed --out "$dir/$s-$seed"
        runs="$runs $dir/$s-$seed"
    done
    if [ "$2" = full ]; then
        run "none, as many FLOPs as h2, seed $seed" "$(price h2)" --system none --base "$dir/base" \
            --match-flops "$dir/h2-$seed" --batch $batch --seed $seed --out "$dir/none-flops-$seed"
        runs="$runs $dir/none-flops-$seed"
    fi
done
./eval compare $runs
