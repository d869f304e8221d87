# dual: ./train, ./eval. `make` builds, `make demo` shows the method, `make test` proves it.
#   PORTABLE=1  no -march=native        OMP=0  one thread, no OpenMP        CC=clang  and so on
#   EXACT=1  the same bits on every machine (float builds); 1.03 to 1.4 times slower
B := build
PORTABLE ?= 0
OMP ?= 1
EXACT ?= 0

# -ffp-contract=fast: gcc makes no fused multiply-add under -std=c99 without it.
# -fno-math-errno: sqrt may be an instruction. -fno-trapping-math: a comparison may be a choice of
# lanes, or gcc's loops over e^x stay scalar without AVX-512; no value changes. No fast math: NaN
# and the order of sums stay honest. -falign-loops: the matmul's inner loop starts on a cache line;
# where it did not, a Zen 3 decoded it at 4/5 of its speed.
BASIC := -std=c99 -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wall -Wextra -pedantic
# Not into /dev/null: run as root, some compilers replace it by a file.
compiles = mkdir -p $(B); echo 'int main(void){return 0;}' | $(CC) $(1) -o $(B)/try 2>/dev/null
try = $(shell $(call compiles,$(1) -x c -) && echo $(1))
# Tuned for a Zen, gcc splits some fused multiply-adds: other digits than on every other x86-64. This
# asks for the same ones; it costs 1 %.
ONE_FMA := $(filter-out -Werror,$(call try,-Werror --param=avoid-fma-max-bits=0))
ifeq ($(PORTABLE),0)
NATIVE := $(call try,-march=native)
# On Intel's AVX-512 clang takes half registers, unless told: its matmuls need twice the time.
ifneq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
NATIVE += $(filter-out -Werror,$(call try,-Werror -mprefer-vector-width=512))
endif
endif
ifeq ($(OMP),1)
OPENMP := $(call try,-fopenmp)
endif
CFLAGS ?= $(BASIC) $(call try,-falign-loops=64) $(ONE_FMA) $(NATIVE) $(OPENMP)
LDLIBS := -lm
# No fused multiply-add, no number kept wider than its type (i386: SSE, not the 387), and no sum whose
# parts depend on the width of a vector register.
ifeq ($(EXACT),1)
override CFLAGS += -ffp-contract=off -DDUAL_DEEP=KC $(call try,-fexcess-precision=fast) \
                   $(call try,-msse2 -mfpmath=sse)
ifneq ($(shell printf '\043include <float.h>\n\043if FLT_EVAL_METHOD\n\043error\n\043endif\n' | \
         $(CC) $(CFLAGS) -x c -E - >/dev/null 2>&1 && echo fine),fine)
$(error EXACT=1: $(CC) keeps numbers wider than their type here)
endif
endif

DATA := $(sort $(wildcard data/*/*.c))
HEADERS := dual.h $(sort $(wildcard data/*/*.h))
SOURCES := dual.c $(DATA)

all: train eval
	@echo "built ./train and ./eval: $(if $(OPENMP),with,WITHOUT) OpenMP, \
	$(if $(strip $(NATIVE)),for this very processor,portable); next: make demo, or ./train --help"

# Other flags mean other programs: this file changes when they do.
$(B)/flags: always
	@mkdir -p $(B); echo '$(CC) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS)' > $@

# dual.c and data/ are compiled once, for programs and tests; in double what the tests there use.
IN_FLOAT := $(SOURCES:%.c=$(B)/f32/%.o)
IN_DOUBLE := $(B)/f64/dual.o $(B)/f64/data/runs/latents.o $(B)/f64/data/runs/gradients.o
$(IN_FLOAT): $(B)/f32/%.o: %.c $(HEADERS) $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@
$(IN_DOUBLE): $(B)/f64/%.o: %.c $(HEADERS) $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DDUAL_REAL=double -c $< -o $@
$(B)/dual-f32.a: $(IN_FLOAT)
$(B)/dual-f64.a: $(IN_DOUBLE)
$(B)/dual-f32.a $(B)/dual-f64.a:
	@rm -f $@; $(AR) rc $@ $^

train eval: %: %.c $(B)/dual-f32.a
	$(CC) $(CFLAGS) $^ $(LDLIBS) -o $@

# ---- many machines: mpirun -n 4 ./train-mpi ... (Debian: libopenmpi-dev openmpi-bin) --------------
# tests/mpi/ranks.c stands before the archive, so its ranks.o, one process, is left out.
MPICC ?= mpicc
train-mpi: train.c tests/mpi/ranks.c $(B)/dual-f32.a
	OMPI_CC='$(CC)' $(MPICC) $(CFLAGS) $^ $(LDLIBS) -o $@
check-mpi: # one run by 1, 2 and 4 ranks; skips where there is no MPI
	@MAKE='$(MAKE)' MPICC='$(MPICC)' sh tests/mpi/check.sh $(B)

# ---- demo: every system from one Base, one table. Interrupted, it goes on where it was. ---------
demo: all
	@sh data/plans/demo.sh runs/demo
demo-full: all
	@sh data/plans/demo.sh runs/demo-full full

# ---- results: the paper's comparisons with seeds; reproduce-quick is the same matrix small ---------
reproduce: all
	@sh data/plans/reproduce.sh
reproduce-quick: all
	@QUICK=1 TEXT="$${TEXT:-dual.c}" sh data/plans/reproduce.sh

# ---- tests: no network, no shared folder, no Python ----------------------------------------------
# Operations and exchange are tested in double too, where finite differences mean something; the
# parity of the product itself is judged in float, and once more in double.
TESTS := test_tasks test_countdown test_words test_bpe test_unicode test_runs test_files test_models \
         test_eval test_statistics test_report json example
TESTS_IN_BOTH := test_basics test_ops test_systems test_options test_gradients test_training \
                 test_decoding test_refusals parity
BINARIES := $(TESTS:%=$(B)/%-f32) $(TESTS_IN_BOTH:%=$(B)/%-f32) $(TESTS_IN_BOTH:%=$(B)/%-f64)
TEST_HEADERS := $(sort $(wildcard tests/*.h))

$(B)/%-f32: tests/%.c $(B)/dual-f32.a $(TEST_HEADERS)
	$(CC) $(CFLAGS) -I. $< $(B)/dual-f32.a $(LDLIBS) -o $@
$(B)/%-f64: tests/%.c $(B)/dual-f64.a $(TEST_HEADERS)
	$(CC) $(CFLAGS) -DDUAL_REAL=double -I. $< $(B)/dual-f64.a $(LDLIBS) -o $@

test: all $(BINARIES)
	@sh tests/run.sh $(B)

# ---- speed: README, "Speed". BENCH="--only matmul" and so on; OMP_NUM_THREADS=1 for one thread. --
# bench.c includes dual.c. The peers are linked where they are installed; nothing else needs them.
BENCH ?=
PYTHON ?= python3
peer = $(shell $(call compiles,$(OPENBLAS_FLAGS) -include $(2) -x c - -l$(1)) && \
       echo -D$(3) -l$(1))
OPENBLAS_FLAGS = $(shell pkg-config --cflags openblas 2>/dev/null)
PEERS = $(call peer,openblas,cblas.h,PEER_OPENBLAS) $(call peer,dnnl,dnnl.h,PEER_ONEDNN)

$(B)/bench: tests/bench.c dual.c $(DATA) $(HEADERS) $(B)/flags
	$(CC) $(CFLAGS) -I. $< $(DATA) $(LDLIBS) -o $@
$(B)/bench-peers: tests/bench.c dual.c $(DATA) $(HEADERS) $(B)/flags
	$(CC) $(CFLAGS) -I. $(OPENBLAS_FLAGS) $< $(DATA) $(LDLIBS) $(PEERS) -o $@
bench: $(B)/bench
	@$(B)/bench $(BENCH)
bench-peers: $(B)/bench-peers $(B)/bench # that variable, where it is set, halves OpenBLAS's speed
	@echo 'matrix libraries: $(if $(PEERS),$(PEERS),none found)'
	@unset OPENBLAS_CORETYPE; $(B)/bench-peers --only matmul $(BENCH)
	@$(PYTHON) tests/peers.py $(B)/bench

# ---- bare metal: dual on a Cortex-M4F in qemu, its weights in flash ----------------------------
$(B)/weights: tests/cortex-m/weights.c tests/cortex-m/trained.h $(B)/dual-f32.a
	$(CC) $(CFLAGS) -I. $< $(B)/dual-f32.a $(LDLIBS) -o $@
cortex-m:
	@sh tests/cortex-m/run.sh --check
	@$(MAKE) --no-print-directory all $(B)/weights
	@sh tests/cortex-m/run.sh $(B)

# ---- the page: build/dual.html, the method in a browser; needs clang, lld and wasi-libc ------------
# A stack of 1 MB: wasm-ld's own 64 KB overflow without a word.
PAGE_CC ?= clang
comma := ,
PAGE_FLAGS := --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -Qunused-arguments \
              -D_WASI_EMULATED_SIGNAL -Wl,-z,stack-size=1048576 -Wl,--strip-all
PAGE_EXPORTS := $(addprefix -Wl$(comma)--export=page_,room free failure open load close weights \
                weights_count train step score trace facts)
page: $(B)/dual.html
	@echo "$< has `wc -c < $<` bytes: open it in a browser"
$(B)/page-simd.wasm: PAGE_OPTIMISE := -O3 -msimd128
$(B)/page-plain.wasm: PAGE_OPTIMISE := -O2
$(B)/page-simd.wasm $(B)/page-plain.wasm: $(SOURCES) $(HEADERS)
	@mkdir -p $(B); sh data/page/tools.sh $(PAGE_CC)
	$(PAGE_CC) $(BASIC) $(PAGE_OPTIMISE) $(PAGE_FLAGS) $(PAGE_EXPORTS) $(SOURCES) \
	    -lwasi-emulated-signal -lm -o $@
$(B)/dual.html: data/page/page.html data/page/build.sh dual.c $(B)/page-simd.wasm $(B)/page-plain.wasm
	@sh data/page/build.sh $(B)/page-simd.wasm $(B)/page-plain.wasm > $@.new && mv $@.new $@

check-page: all # the page's numbers against the programs', and the page in a browser
	@if sh data/page/tools.sh $(PAGE_CC); then $(MAKE) --no-print-directory page && \
	    sh tests/page/run.sh $(B); else echo "skipped: the page"; fi

check: # what a reader relies on: caps, widths, warnings, the tour names every section
	@sh tests/check.sh

check-ports: # other compilers and machines, as far as they are installed; PORTS="s390x tcc" for some
	@sh tests/ports.sh $(PORTS)

TIME ?= 60
KILLS ?= 500
fuzz: all # hostile files: every reader for TIME seconds; TARGETS="json run" for some
	@sh tests/fuzz/fuzz.sh $(B)/fuzz $(TIME) $(TARGETS)

check-faults: all # sudden death, full disks, closed streams, threads, leaks; PARTS="kills" for some
	@KILLS=$(KILLS) sh tests/faults.sh $(B) $(PARTS)

clean:
	rm -rf $(B) train eval train-mpi
always:
.PHONY: always all demo demo-full reproduce reproduce-quick test bench bench-peers cortex-m page \
        check check-page check-ports check-mpi check-faults fuzz clean
