/* pace.c - the trials of pace.h. */
#include "pace.h"

#include "team.h"

/* A trial is so many passes with the present number, then one that wakes the helpers if the rival has more, then as
 * many with the rival. Of the smaller number the fastest pass counts, because what disturbs a pass only lengthens it;
 * of the larger one the mean, because helpers that come late now and then are part of its price. One long pass is
 * enough: long passes are disturbed less and cost more. */
#define SAMPLES 3
#define ONE_SECONDS 0.5e-3
/* Passes before the first trial, and after one that changed the number. */
#define SOON 16
/* Passes between trials: a lost one costs up to two passes more (LOST), that is 3 % at first and 0.2 % in the end. */
#define HOLD_MIN 64
#define HOLD_MAX 1024
/* More threads must save this share: they take cores from others. */
#define GAIN 0.05
/* No thread is tried that would get less than this to do; a wake-up alone takes 40 us. */
#define WORTH_SECONDS 25e-6
/* A rival that takes so much longer has lost, without further samples; the pass that wakes the helpers may. */
#define LOST 1.5
#define LOST_AWAKING 3.0

size_t cr_threads_worth(double seconds, double a_thread, size_t available)
{
    const double worth = seconds / a_thread;
    return worth < 2.0 ? 1 : worth < (double)available ? (size_t)worth : available;
}

static void wait_for_next(cr_pace *pace, unsigned passes)
{
    pace->rival = 0;
    pace->left = passes;
}

static void begin_anew(cr_pace *pace, size_t n_rows, cr_threads threads)
{
    pace->n_rows = n_rows;
    pace->most = threads.most;
    pace->n_threads = threads.rule;
    pace->hold = HOLD_MIN;
    pace->downwards = 1; /* so that the first trial is of more, where there are more */
    wait_for_next(pace, threads.rule == 1 ? 1 : SOON);
}

static void begin_trial(cr_pace *pace)
{
    const size_t n = pace->n_threads;
    const size_t more = 2 * n < pace->most ? 2 * n : pace->most;
    pace->downwards = n > 1 && (more == n || !pace->downwards);
    pace->rival = pace->downwards ? n / 2 : more;
    pace->n_timed = 0;
    pace->n_samples = SAMPLES;
}

static void end_trial(cr_pace *pace, int won)
{
    if (won) {
        pace->n_threads = pace->rival;
        pace->hold = HOLD_MIN;
        pace->downwards = !pace->downwards; /* go on that way: begin_trial turns it round */
        wait_for_next(pace, SOON);
    } else {
        wait_for_next(pace, pace->hold);
        pace->hold = 2 * pace->hold < HOLD_MAX ? 2 * pace->hold : HOLD_MAX;
    }
}

size_t cr_pace_next(cr_pace *pace, size_t n_rows, cr_threads threads, int *timed)
{
    *timed = 0;
    if (atomic_exchange_explicit(&pace->taken, 1, memory_order_acquire)) {
        return threads.rule;
    }
    const int is_new = n_rows != pace->n_rows && pace->n_rows != 0 && n_rows != pace->n_rows_before;
    pace->n_rows_before = n_rows;
    size_t n_threads = threads.rule;
    if (!is_new) {
        if (n_rows != pace->n_rows || threads.most != pace->most) {
            begin_anew(pace, n_rows, threads);
        }
        if (pace->rival == 0 && pace->left-- == 0) {
            begin_trial(pace);
        }
        *timed = pace->rival != 0;
        n_threads = *timed && pace->n_timed >= pace->n_samples ? pace->rival : pace->n_threads;
    }
    if (!*timed) {
        atomic_store_explicit(&pace->taken, 0, memory_order_release);
    }
    return n_threads;
}

/* What counts of n passes and one more: the mean of all, or the least. */
static double with_one_more(double seconds, unsigned n, double of_n, int mean)
{
    if (n == 0) {
        return seconds;
    }
    return mean ? of_n + (seconds - of_n) / (n + 1) : seconds < of_n ? seconds : of_n;
}

/* The trial after one more pass of the present number. */
static void note_present(cr_pace *pace, double seconds)
{
    pace->of_present = with_one_more(seconds, pace->n_timed, pace->of_present, pace->n_threads > pace->rival);
    if (pace->n_timed++ == 0 && seconds >= ONE_SECONDS) {
        pace->n_samples = 1;
    }
    const double for_each = pace->of_present * (double)pace->n_threads / (double)pace->rival;
    if (pace->n_timed == pace->n_samples && pace->rival > pace->n_threads && for_each < WORTH_SECONDS) {
        end_trial(pace, 0);
    }
}

/* The same of the rival, its pass number i. */
static void note_rival(cr_pace *pace, unsigned i, double seconds)
{
    const int fewer = pace->rival < pace->n_threads, awaking = i == 0 && !fewer;
    const unsigned n = pace->n_samples + (fewer ? 0 : 1);
    pace->of_rival = with_one_more(seconds, fewer || i == 0 ? i : i - 1, pace->of_rival, !fewer);
    pace->n_timed++;
    if (seconds > (awaking ? LOST_AWAKING : LOST) * pace->of_present) {
        end_trial(pace, 0);
    } else if (i + 1 == n) {
        end_trial(pace, pace->of_rival < (fewer ? 1.0 : 1.0 - GAIN) * pace->of_present);
    }
}

void cr_pace_took(cr_pace *pace, double seconds)
{
    if (pace->n_timed < pace->n_samples) {
        note_present(pace, seconds);
    } else {
        note_rival(pace, pace->n_timed - pace->n_samples, seconds);
    }
    atomic_store_explicit(&pace->taken, 0, memory_order_release);
}

cr_lap cr_lap_begin(cr_pace *pace, size_t n_rows, cr_threads threads)
{
    cr_lap lap = {threads.rule, NULL, 0.0};
    if (threads.most > 1) {
        int timed;
        lap.n_threads = cr_pace_next(pace, n_rows, threads, &timed);
        if (timed) {
            lap.pace = pace;
            lap.start = cr_seconds();
        }
    }
    return lap;
}

void cr_lap_end(const cr_lap *lap)
{
    if (lap->pace != NULL) {
        cr_pace_took(lap->pace, cr_seconds() - lap->start);
    }
}
