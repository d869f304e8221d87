#!/bin/sh
# Runs every test binary and the drivers' test, adds up their counts. Usage: tests/run.sh BUILD
# Each program ends with `N passed, N failed`; one that does not counts as a failure.
build=$1 passed=0 failed=0
run() {
    name=$1; shift
    out=$("$@" 2>&1); status=$?
    last=$(printf '%s\n' "$out" | tail -n 1)
    p=$(printf '%s\n' "$last" | sed -n 's/^\([0-9][0-9]*\) passed, [0-9][0-9]* failed$/\1/p')
    f=$(printf '%s\n' "$last" | sed -n 's/^[0-9][0-9]* passed, \([0-9][0-9]*\) failed$/\1/p')
    if [ -z "$p" ] || { [ $status -ne 0 ] && [ "$f" = 0 ]; }; then
        printf '%s\n' "$out"; p=0; f=1
        printf '%-22s ended with status %s and no clean count\n' "$name" $status
    else
        if [ "$f" != 0 ]; then printf '%s\n' "$out" | grep -i 'fail\|skip' | head -n 40
        else printf '%s\n' "$out" | grep '^skipped' ; fi
        printf '%-22s %s\n' "$name" "$last"
    fi
    passed=$((passed + p)); failed=$((failed + f))
}
# Larger material than the tree holds: DUAL_REFERENCE a folder like tests/reference, DUAL_DATA a
# folder with the public sets in countdown/, gsm8k/, prosqa/, text/, mc/ and tok/.
run example "$build/example-f32"
run tasks "$build/test_tasks-f32" "$build" ${DUAL_DATA:+"$DUAL_DATA"}
run countdown "$build/test_countdown-f32" "$build" ${DUAL_DATA:+"$DUAL_DATA"}
run words "$build/test_words-f32" "$build" ${DUAL_DATA:+"$DUAL_DATA"}
run "byte-pair encoding" "$build/test_bpe-f32" "$build" ${DUAL_DATA:+"$DUAL_DATA"}
run unicode "$build/test_unicode-f32"
run runs "$build/test_runs-f32" "$build"
for name in basics ops systems options gradients training decoding refusals; do
    run "$name" "$build/test_$name-f32"
    run "$name, double" "$build/test_$name-f64"
done
run files "$build/test_files-f32" "$build"
run models "$build/test_models-f32" "$build"
run parity "$build/parity-f32" --items 2013 tests/reference
run "parity, double" "$build/parity-f64" --items 2013 tests/reference
if [ -n "$DUAL_REFERENCE" ]; then
    run "parity, large" "$build/parity-f32" --items 2777 "$DUAL_REFERENCE"
    run "parity, large, double" "$build/parity-f64" --items 2777 "$DUAL_REFERENCE"
else echo "skipped: a larger reference tree (DUAL_REFERENCE names none)"; fi
run statistics "$build/test_statistics-f32"
run evaluation "$build/test_eval-f32" "$build" ${DUAL_DATA:+"$DUAL_DATA"}
run "bare metal's symbols" sh tests/cortex-m/symbols.sh "$build"
run report "$build/test_report-f32" "$build"
run drivers sh tests/drivers.sh "$build"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
