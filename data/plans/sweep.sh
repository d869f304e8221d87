#!/bin/sh
# How the default learning rates were chosen: one trial per system and rate from the demo's Base,
# scored on VALID problems with a seed that no reported run uses. Usage: sweep.sh FOLDER
dir=$1 rates="0.0003 0.001 0.003"
[ -e runs/demo/base/run.json ] || { echo "sweep: run make demo first, it makes the Base" >&2; exit 1; }
for s in none pause soft prompt coconut liu h1 h2 h1h2; do
    printf '%-8s' $s
    for r in $rates; do
        out="$dir/$s-$r"
        ./train --resume --quiet --system $s --base runs/demo/base --latents 4 --steps 600 \
            --batch 128 --seed 101 --lr $r --score-points 0 --out "$out" > /dev/null || exit 1
        a=$(./eval score "$out" --split valid --count 1000 --json |
            sed -n 's/.*"share": *\([0-9.e-]*\).*/\1/p' | head -n 1)
        printf '  %s: %s' $r "$a"
    done
    echo
done
