/* ranks.c: data/runs/ranks.h over MPI. Linked before dual's archive, whose ranks.o, one process, is
 * then not taken. Built by make train-mpi; run by mpirun -n N ./train-mpi ... */
#define _POSIX_C_SOURCE 200809L
#include "../../data/runs/ranks.h"
#include "../../data/runs/cli.h"
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL (sizeof(dual_real) == sizeof(float) ? MPI_FLOAT : MPI_DOUBLE)
enum { SLICE = 1 << 16 };              /* numbers that a rank adds at a time */

/* What each rank tells the others wherever they come together, so that no one waits for a rank that
 * will not come: whether it goes on, has ended, or fails with an exit status above 0. */
enum { GOES_ON = 0, HAS_ENDED = -1 };
typedef struct { int state, flag; } word;

static int rank, count = 1, here = 1;
static word *said;                     /* [count] */
static dual_real *sent, *received;     /* [count, SLICE] each */
static int leaving;                    /* a failure is known to all: nothing more is exchanged */
static int errors = -1;                /* standard error, where this rank is silent */

size_t ranks_count(void) { return (size_t)count; }
size_t ranks_own(void) { return (size_t)rank; }
size_t ranks_here(void) { return (size_t)here; }

/* ---- Coming together ------------------------------------------------------------------------- */

static void tell(int state, int flag) {
    const word own = {state, flag};
    MPI_Allgather(&own, 2, MPI_INT, said, 2, MPI_INT, MPI_COMM_WORLD);
}

/* The first rank that fails; count: none does. */
static int first_failing(void) {
    int i = 0;
    while (i < count && said[i].state <= GOES_ON) i++;
    return i;
}

static void leave(int status) {
    leaving = 1;
    exit(status);
}

int ranks_any(int flag) {
    int any = 0;
    if (count == 1) return flag;
    tell(GOES_ON, flag);
    const int failing = first_failing();
    if (failing < count) leave(said[failing].state);
    for (int i = 0; i < count; i++) {
        if (said[i].state == HAS_ENDED) {
            leaving = 1;
            cli_fail(1, "rank %d has ended before the others", i);
        }
        any |= said[i].flag;
    }
    return any;
}

/* All ranks refuse a bad command line alike; one of them says so. */
void ranks_failing(int status) {
    static char name[40];
    if (leaving || count == 1) return;
    tell(status, 0);
    leaving = 1;
    if (first_failing() != rank) exit(status);
    if (!rank) return;
    snprintf(name, sizeof name, "%s: rank %d", cli_program, rank);
    cli_program = name;
    dup2(errors, 2);
}

/* At exit. The barrier: mpirun ends the job once a rank has ended with a status, and by then the
 * one that says why has said it. */
static void end(void) {
    fflush(NULL);
    if (!leaving && count > 1) tell(HAS_ENDED, 0);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
}

/* ---- Beginning ------------------------------------------------------------------------------- */

/* Rank 0 speaks for all. */
static void be_silent(void) {
    const int nowhere = open("/dev/null", O_WRONLY);
    errors = dup(2);
    if (nowhere < 0 || errors < 0) return;
    dup2(nowhere, 1);
    dup2(nowhere, 2);
    close(nowhere);
}

void ranks_begin(int *argc, char ***argv) {
    MPI_Comm machine;
    int level;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &here);
    const size_t n = (size_t)count;
    said = malloc(n * sizeof *said);
    sent = malloc(n * SLICE * sizeof *sent);
    received = malloc(n * SLICE * sizeof *received);
    if (!said || !sent || !received) MPI_Abort(MPI_COMM_WORLD, 1);
    if (rank) be_silent();
    atexit(end);
}

/* ---- Sums ------------------------------------------------------------------------------------
 * MPI_Allreduce may add in any order, and in another one tomorrow: by message size, by number of
 * ranks, by machine. A run must end in the same bits twice, so the order is fixed here: ranks 0, 1,
 * 2 .. Each rank adds one slice of the numbers and hands the sums to all, so all hold the same
 * bits, and a rank sends and receives 2 (N - 1) / N of the numbers, as in any good all-reduce. */

/* sent [count, each] holds this rank's numbers; becomes the sums. */
static void sum_slices(int each) {
    MPI_Alltoall(sent, each, REAL, received, each, REAL, MPI_COMM_WORLD);
    for (int i = 1; i < count; i++) {
        const dual_real *theirs = received + (size_t)i * (size_t)each;
        for (int k = 0; k < each; k++) received[k] += theirs[k];
    }
    MPI_Allgather(received, each, REAL, sent, each, REAL, MPI_COMM_WORLD);
}

void ranks_sum_reals(dual_real *sum, size_t n) {
    const size_t all = (size_t)count;
    if (count == 1) return;
    ranks_any(0);
    for (size_t done = 0, some; done < n; done += some) {
        some = n - done < all * SLICE ? n - done : all * SLICE;
        const size_t each = (some + all - 1) / all;
        memcpy(sent, sum + done, some * sizeof *sum);
        memset(sent + some, 0, (all * each - some) * sizeof *sum);
        sum_slices((int)each);
        memcpy(sum + done, sent, some * sizeof *sum);
    }
}

/* A handful: everything to everyone. */
void ranks_sum(double *sum, size_t n) {
    double *of = malloc(n * (size_t)count * sizeof *of);
    if (!of) cli_fail(1, "out of memory for %zu sums", n);
    ranks_any(0);
    MPI_Allgather(sum, (int)n, MPI_DOUBLE, of, (int)n, MPI_DOUBLE, MPI_COMM_WORLD);
    for (size_t k = 0; k < n; k++) {
        sum[k] = of[k];
        for (size_t i = 1; i < (size_t)count; i++) sum[k] += of[i * n + k];
    }
    free(of);
}

void ranks_same(uint64_t number, const char *why) {
    uint64_t first = number;
    if (count == 1) return;
    ranks_any(0);
    MPI_Bcast(&first, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    if (first != number) cli_fail(1, "%s", why);
    ranks_any(0);
}
