/* pace.h - how many threads a pass of one size is given: begun by rule, found by trying, kept while it pays.
 *
 * What a second thread brings depends on what no rule of work knows: the speed of the cores, how they share caches and
 * memory, who else uses them, whether the helpers are awake. So some passes are timed, in a trial of half or twice as
 * many threads beside the present number, and a trial that changes nothing makes the next one come later. Threads
 * change no bits, so the clock cannot either.
 */
#ifndef CR_PACE_H
#define CR_PACE_H

#include <stdatomic.h>
#include <stddef.h>

/* ---- by rule -------------------------------------------------------------------------------------------- */

/* Multiply-adds and elements a second of one core of 100 GFLOP/s, for elements of so many bytes; other cores take from
 * half as long (Zen 5) to ten times (without vectors). */
#define CR_CORE_RATE(element_size) (2e11 / (double)(element_size))
/* Seconds of work that a thread gets at least, because waking a sleeping helper takes 40-50 us. */
#define CR_RULE_SECONDS 100e-6

/* How many of the available threads get at least `a_thread` seconds each of so many seconds of work; at least 1. */
size_t cr_threads_worth(double seconds, double a_thread, size_t available);

/* ---- by trying ------------------------------------------------------------------------------------------ */

/* How many threads a pass may have, and how many before anything is known. */
typedef struct cr_threads {
    size_t rule, most;
} cr_threads;

/* Zeros are a pace that knows nothing yet. */
typedef struct cr_pace {
    atomic_int taken;      /* by the pass that is timed or is just asking */
    size_t n_rows;         /* the size it is about */
    size_t n_rows_before;  /* that of the last pass */
    size_t most;           /* the limit then */
    size_t n_threads;      /* settled for */
    size_t rival;          /* on trial; 0: no trial */
    unsigned n_samples, n_timed; /* passes that this trial takes of each; those that are over */
    double awaking;        /* seconds of passes with the rival that are no samples, as helpers wake up */
    unsigned left, hold;   /* passes until the next trial; what the last wait was */
    int downwards;         /* the last trial was of fewer threads */
    double of_present, of_rival; /* seconds that count of the passes so far */
    double settled;        /* those of the last trial for n_threads; 0: there was none */
    unsigned n_slow;       /* passes in a row that take much longer than that */
} cr_pace;

/* Threads for the next pass, over n_rows rows. With *timed set, cr_pace_took must follow. Sizes other than the one it
 * is about get threads.rule, until one comes twice in a row. Safe to call from several threads at once. */
size_t cr_pace_next(cr_pace *pace, size_t n_rows, cr_threads threads, int *timed);
void cr_pace_took(cr_pace *pace, double seconds);

/* The same around a pass, with the clock. */
typedef struct cr_lap {
    size_t n_threads;
    cr_pace *pace; /* NULL: not timed */
    double start;
} cr_lap;

cr_lap cr_lap_begin(cr_pace *pace, size_t n_rows, cr_threads threads);
void cr_lap_end(const cr_lap *lap);

#endif
