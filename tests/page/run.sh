#!/bin/sh
# The page: its numbers against those of ./train and ./eval, under node and in headless Chromium.
# Ends with `N passed, N failed`. What is not installed is named and skipped.
# Usage: tests/page/run.sh BUILD          CHROMIUM=/path of the browser
cd "$(dirname "$0")/../.." || exit 2
build=$1 work=$1/page
skip() { echo "skipped: $*"; }
command -v node > /dev/null || { skip "the page: no node (Debian: nodejs)"; exit 0; }
[ -f "$build/dual.html" ] || { skip "the page: there is no $build/dual.html"; exit 0; }
rm -rf "$work"; mkdir -p "$work"

# What the page trains, by ./train: 30 steps of each.
shape="--layers 2 --width 32 --heads 4 --context 24 --batch 32 --range 1-9 --targets 1-30"
how="--lr 0.005 --seed 1 --steps 30 --log-every 10 --score-points 0 --quiet"
./train --objective lm $shape --facts 0.1 $how --out "$work/Base" > /dev/null || exit 1
for system in none soft liu h1 h2; do
    ./train --system $system --base "$work/Base" --batch 32 --range 1-9 --targets 1-30 --latents 4 \
        $how --out "$work/$system" > /dev/null 2>&1 || exit 1
done
# Runs in pages, and what trace and score say of them; one has another architecture and bytes.
./train --objective lm --arch qwen3 $shape --tokenizer bytes --context 48 $how --out "$work/bytes-base" > /dev/null || exit 1
./train --system h1h2 --base "$work/bytes-base" --batch 8 --range 1-9 --targets 1-30 --latents 3 \
    $how --out "$work/bytes" > /dev/null 2>&1 || exit 1
asked='numbers: 3 7 2 target: 23' other='numbers: 8 1 5 target: 13'
for run in none soft liu h1 h2 bytes; do
    ./eval page "$work/$run" --page "$build/dual.html" --prompt "$asked" --other "$other" \
        --out "$work/$run.html" > /dev/null || exit 1
    for from in right swapped zero drop:1; do
        [ $run != none ] || [ $from = right ] || continue
        option=; case $from in swapped) option=--other ;; esac
        ./eval trace "$work/$run" --prompt "$asked" --latents-from $from ${option:+$option "$other"} \
            --attention --json > "$work/$run-$from.json" || exit 1
    done
done
./eval score "$work/h2" --count 40 --json > "$work/h2-score.json" || exit 1

counted() { # file, command: one that ends without its counts has failed
    to=$1; shift
    node --no-warnings "$@" > "$to"
    grep -q '^[0-9]* passed, [0-9]* failed$' "$to" || echo "0 passed, 1 failed" >> "$to"
}
counted "$work/worker.txt" tests/page/worker.mjs "$build/dual.html" "$work"
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
modules=${NODE_MODULES:-$build/npm/node_modules}
if [ ! -d "$modules/playwright-core" ]; then
    skip "the page in a browser: no playwright-core (npm install --prefix $build/npm playwright-core)"
elif [ -z "$chromium" ]; then skip "the page in a browser: no Chromium (Debian: chromium)"
else counted "$work/browser.txt" tests/page/browser.mjs "$chromium" "$modules" "$build/dual.html" "$work"
fi
cat "$work"/*.txt | awk '/ failed$/ {passed += $1; failed += $3; next} {print}
    END {print passed + 0 " passed, " failed + 0 " failed"; exit !(passed > 0 && failed == 0)}'
