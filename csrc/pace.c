/* pace.c - the trials of pace.h. */
#include "pace.h"

#include "team.h"

/* A trial is so many passes with the present number, then those that pass while helpers wake up if the rival has more,
 * then as many with the rival. Of the smaller number the fastest pass counts, because what disturbs a pass only
 * lengthens it; of the larger one the mean, because helpers that come late now and then are part of its price. One long
 * pass is enough: long passes are disturbed less and cost more; of short ones it takes more for a mean. */
#define SAMPLES 3
#define SHORT_SAMPLES 8
#define SHORT_SECONDS 30e-6
#define ONE_SECONDS 0.5e-3
/* A sleeping helper is there about 50 us after it was called. */
#define AWAKE_SECONDS 100e-6
/* Passes before the first trial, if the rule gave several threads (if one: a single pass), and after a trial that
 * changed the number. */
#define SOON 16
/* Passes between trials, up to MORE_MAX times as many if they are short: a lost one costs up to two passes more (LOST),
 * that is 3 % at first and 0.2 % in the end. */
#define HOLD_MIN 64
#define HOLD_MAX 1024
#define MORE_MAX 16
/* More threads must save this share: they take cores from others. */
#define GAIN 0.05
/* No thread is tried that would get less than this to do. */
#define WORTH_SECONDS 4e-6
/* A rival that takes so much longer has lost, without further samples; while helpers wake up it may. */
#define LOST 1.5
#define LOST_AWAKING 3.0
/* After so many passes in a row that are too long by the same measure, fewer threads are tried at once: another process
 * has come, or passes come so seldom now that the helpers sleep before each. */
#define SLOW 8

size_t cr_threads_worth(double seconds, double a_thread, size_t available)
{
    const double worth = seconds / a_thread;
    return worth < 2.0 ? 1 : worth < (double)available ? (size_t)worth : available;
}

/* Passes that `hold` stands for: more of them where they are short, so that the waking costs no larger share. */
static unsigned passes_of(unsigned hold, double seconds)
{
    const double more = AWAKE_SECONDS / seconds;
    return more > MORE_MAX ? hold * MORE_MAX : more > 1.0 ? (unsigned)(hold * more) : hold;
}

static void wait_for_next(cr_pace *pace, unsigned passes)
{
    pace->rival = 0;
    pace->left = passes;
}

/* The number of threads is settled for again, and passes take so many seconds with it. */
static void settle(cr_pace *pace, double seconds)
{
    pace->settled = seconds;
    pace->n_slow = 0;
}

static void begin_anew(cr_pace *pace, size_t n_rows, cr_threads threads)
{
    pace->n_rows = n_rows;
    pace->most = threads.most;
    pace->n_threads = threads.rule;
    pace->hold = HOLD_MIN;
    settle(pace, 0.0);
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
    pace->awaking = pace->downwards ? AWAKE_SECONDS : 0.0;
}

static void end_trial(cr_pace *pace, int won)
{
    if (won) {
        pace->n_threads = pace->rival;
        settle(pace, pace->of_rival);
        pace->hold = HOLD_MIN;
        pace->downwards = !pace->downwards; /* go on that way: begin_trial turns it round */
        wait_for_next(pace, SOON);
    } else {
        settle(pace, pace->of_present);
        wait_for_next(pace, passes_of(pace->hold, pace->of_present));
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
        *timed = pace->rival != 0 || pace->n_threads > 1;
        n_threads = pace->rival != 0 && pace->n_timed >= pace->n_samples ? pace->rival : pace->n_threads;
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
    if (pace->n_timed++ == 0) {
        pace->n_samples = seconds >= ONE_SECONDS ? 1 : seconds < SHORT_SECONDS ? SHORT_SAMPLES : SAMPLES;
    }
    const double for_each = pace->of_present * (double)pace->n_threads / (double)pace->rival;
    if (pace->n_timed == pace->n_samples && pace->rival > pace->n_threads && for_each < WORTH_SECONDS) {
        end_trial(pace, 0);
    }
}

/* The same of the rival. */
static void note_rival(cr_pace *pace, double seconds)
{
    if (pace->awaking < AWAKE_SECONDS) {
        pace->awaking += seconds;
        if (seconds > LOST_AWAKING * pace->of_present + AWAKE_SECONDS) {
            end_trial(pace, 0);
        }
        return;
    }
    const int fewer = pace->rival < pace->n_threads;
    const unsigned n = pace->n_timed++ - pace->n_samples;
    pace->of_rival = with_one_more(seconds, n, pace->of_rival, !fewer);
    if (seconds > LOST * pace->of_present + SHORT_SECONDS) {
        end_trial(pace, 0);
    } else if (n + 1 == pace->n_samples) {
        end_trial(pace, pace->of_rival < (fewer ? 1.0 : 1.0 - GAIN) * pace->of_present);
    }
}

/* One more pass of the number settled for, if that is more than one. */
static void watch(cr_pace *pace, double seconds)
{
    pace->n_slow = pace->settled > 0.0 && seconds > LOST * pace->settled ? pace->n_slow + 1 : 0;
    if (pace->n_slow == SLOW) {
        pace->left = 0;
        pace->downwards = 0; /* so that the trial is of fewer */
    }
}

void cr_pace_took(cr_pace *pace, double seconds)
{
    if (pace->rival == 0) {
        watch(pace, seconds);
    } else if (pace->n_timed < pace->n_samples) {
        note_present(pace, seconds);
    } else {
        note_rival(pace, seconds);
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
