/* test_pace.c - the number of threads that trials settle for, on machines made of a formula. */
#include "check.h"
#include "pace.h"
#include "team.h"

/* Seconds of a pass with 1, 2, 4, 8 and 16 threads. */
typedef struct machine {
    const char *name;
    double seconds[5];
} machine;

static const machine quiet = {"two cores", {100e-6, 60e-6, 60e-6, 60e-6, 60e-6}};
static const machine rival_caches = {"two cores that share nothing", {100e-6, 140e-6, 140e-6, 140e-6, 140e-6}};
static const machine hopeless = {"a helper that is never there", {100e-6, 3e-3, 3e-3, 3e-3, 3e-3}};
static const machine tie = {"no gain", {100e-6, 98e-6, 98e-6, 98e-6, 98e-6}};
static const machine eight_cores = {"eight cores", {800e-6, 420e-6, 220e-6, 130e-6, 170e-6}};
static const machine long_passes = {"long passes", {7e-3, 3.8e-3, 3.8e-3, 3.8e-3, 3.8e-3}};
static const machine far_memory = {"long passes, one memory", {3.5e-3, 4.7e-3, 4.7e-3, 4.7e-3, 4.7e-3}};
static const machine little_work = {"little work", {10e-6, 8.8e-6, 8.8e-6, 8.8e-6, 8.8e-6}};
static const machine too_little = {"too little work", {7e-6, 4e-6, 3e-6, 3e-6, 3e-6}};
static const machine seldom = {"helpers asleep before each pass", {10e-6, 16e-6, 16e-6, 16e-6, 16e-6}};

static double seconds_of(const machine *m, size_t n_threads)
{
    size_t i = 0;
    while ((size_t)1 << i < n_threads) {
        i++;
    }
    return m->seconds[i];
}

#define CALLING 25e-6
#define AWAKING 50e-6

/* n passes over n_rows rows; returns their seconds, and the last number of threads in *n_threads. Every seventh pass
 * is disturbed. Helpers that were not asked for in the pass before must be called and wake up, and until they are there
 * the caller works alone. */
static double pass(cr_pace *pace, const machine *m, unsigned n, size_t n_rows, cr_threads threads, size_t *n_threads)
{
    double total = 0.0, awaking = 0.0;
    for (unsigned i = 0; i < n; i++) {
        const size_t before = i == 0 ? threads.most : *n_threads;
        int timed;
        *n_threads = cr_pace_next(pace, n_rows, threads, &timed);
        CHECK(*n_threads >= 1 && *n_threads <= threads.most, "%s: %zu threads of %zu", m->name, *n_threads,
              threads.most);
        const double alone = seconds_of(m, 1), together = seconds_of(m, *n_threads);
        awaking = *n_threads > before ? AWAKING : awaking > 0.0 ? awaking : 0.0;
        double seconds = together + awaking < alone || together > alone ? together + awaking
                               : awaking > 0.0                                ? alone
                                                                              : together;
        awaking -= seconds;
        seconds += *n_threads > before ? CALLING : 0.0;
        total += seconds;
        if (timed) {
            cr_pace_took(pace, i % 7 == 6 ? 1.4 * seconds : seconds);
        }
    }
    return total;
}

/* From `rule` threads of `most` it settles for `settled` within `n` passes, and 4000 more take at most `loss` longer
 * than all with that number would. */
static void settles(const machine *m, size_t rule, size_t most, unsigned n, size_t settled, double loss)
{
    cr_pace pace = {0};
    const cr_threads threads = {rule, most};
    size_t n_threads;
    pass(&pace, m, n, 32, threads, &n_threads);
    CHECK(pace.n_threads == settled, "%s, from %zu of %zu: %zu threads after %u passes", m->name, rule, most,
          pace.n_threads, n);
    const double total = pass(&pace, m, 4000, 32, threads, &n_threads);
    CHECK(pace.n_threads == settled, "%s, from %zu of %zu: %zu threads in the end", m->name, rule, most,
          pace.n_threads);
    const double best = 4000 * seconds_of(m, settled);
    CHECK(total <= (1.0 + loss + 1e-9) * best, "%s, from %zu of %zu: %g of the best", m->name, rule, most,
          total / best);
}

static void test_settling(void)
{
    settles(&quiet, 1, 2, 10, 2, 0.01);
    settles(&quiet, 2, 2, 100, 2, 0.01);
    settles(&rival_caches, 1, 2, 10, 1, 0.01);
    settles(&rival_caches, 2, 2, 30, 1, 0.01);
    settles(&rival_caches, 2, 4, 200, 1, 0.01);
    settles(&hopeless, 1, 2, 10, 1, 0.08); /* one such pass is thirty others */
    settles(&hopeless, 2, 2, 30, 1, 0.08);
    settles(&tie, 1, 2, 10, 1, 0.01);
    settles(&eight_cores, 1, 16, 100, 8, 0.01);
    settles(&eight_cores, 2, 16, 100, 8, 0.01);
    settles(&eight_cores, 16, 16, 100, 8, 0.01);
    settles(&eight_cores, 1, 6, 100, 6, 0.01);
    settles(&long_passes, 1, 2, 10, 2, 0.01);
    settles(&long_passes, 2, 2, 100, 2, 0.01);
    settles(&far_memory, 1, 2, 10, 1, 0.01);
    settles(&far_memory, 2, 2, 200, 1, 0.01);
    settles(&little_work, 1, 2, 40, 2, 0.01);
    settles(&seldom, 1, 2, 40, 1, 0.01);
    settles(&too_little, 1, 2, 10, 1, 0.0); /* more are never tried */
    settles(&too_little, 1, 16, 10, 1, 0.0);
}

/* A trial of one thread beside two is short where passes are long. */
static void test_a_trial(void)
{
    static const machine *const machines[] = {&quiet, &long_passes};
    for (int long_ones = 0; long_ones < 2; long_ones++) {
        cr_pace pace = {0};
        int timed, n_tried = 0, n_alone = 0;
        for (int i = 0; i < 30; i++) {
            const size_t n_threads = cr_pace_next(&pace, 32, (cr_threads){2, 2}, &timed);
            n_tried += pace.rival != 0;
            n_alone += n_threads == 1;
            if (timed) {
                cr_pace_took(&pace, seconds_of(machines[long_ones], n_threads) * (n_threads == 1 ? 0.8 : 1.0));
            }
        }
        CHECK(n_tried == (long_ones ? 2 : 6) && n_alone == (long_ones ? 1 : 3), "%s: trial of %d passes, %d alone",
              machines[long_ones]->name, n_tried, n_alone);
    }
}

/* One disturbed sample among short ones does not lose a trial that is won on the whole. */
static void test_a_disturbed_sample(void)
{
    cr_pace pace = {0};
    int timed;
    for (int i = 0, n_of_two = 0; i < 40 && pace.n_threads < 2; i++) {
        const int two = cr_pace_next(&pace, 32, (cr_threads){1, 2}, &timed) == 2;
        n_of_two += two && pace.awaking >= 100e-6;
        if (timed) {
            cr_pace_took(&pace, !two ? 10e-6 : n_of_two == 3 ? 25e-6 : 6e-6);
        }
    }
    CHECK(pace.n_threads == 2, "lost by one pass of eight");
}

/* A pass becomes long, or short, in the middle of a trial: it ends all the same. */
static void test_passes_that_change_in_a_trial(void)
{
    for (int from = 0; from < 8; from++) {
        cr_pace pace = {0};
        int timed, is_over = 0, n_tried = 0;
        for (int i = 0; i < 40 && !is_over; i++) {
            cr_pace_next(&pace, 32, (cr_threads){2, 2}, &timed);
            is_over = n_tried > 0 && pace.rival == 0;
            n_tried += pace.rival != 0;
            if (timed) {
                cr_pace_took(&pace, n_tried <= from ? 0.49e-3 : 0.6e-3);
            }
        }
        CHECK(is_over && n_tried <= 6, "long from pass %d of the trial on: it takes %d passes", from, n_tried);
    }
}

static void test_changes(void)
{
    cr_pace pace = {0};
    const cr_threads threads = {1, 2};
    size_t n_threads;
    pass(&pace, &quiet, 4000, 32, threads, &n_threads);
    pass(&pace, &rival_caches, 20, 32, threads, &n_threads);
    CHECK(pace.n_threads == 1, "two threads that became slower are kept");
    pass(&pace, &little_work, 4000, 32, threads, &n_threads);
    CHECK(pace.n_threads == 2, "two threads are not taken");
    pass(&pace, &seldom, 30, 32, threads, &n_threads);
    CHECK(pace.n_threads == 1, "two threads that became slower than one are kept");
    pass(&pace, &rival_caches, 4000, 32, threads, &n_threads);
    pass(&pace, &quiet, 1100, 32, threads, &n_threads);
    CHECK(pace.n_threads == 2, "two threads that became faster are not taken");

    pass(&pace, &quiet, 1, 7, threads, &n_threads); /* the rest of an epoch */
    CHECK(n_threads == 1, "another size: %zu threads", n_threads);
    pass(&pace, &quiet, 1, 32, threads, &n_threads);
    pass(&pace, &quiet, 1, 7, threads, &n_threads);
    pass(&pace, &quiet, 1, 32, threads, &n_threads);
    CHECK(n_threads == 2, "the size before: %zu threads", n_threads);
    pass(&pace, &rival_caches, 30, 7, threads, &n_threads);
    CHECK(pace.n_rows == 7 && pace.n_threads == 1, "%zu threads for %zu rows", pace.n_threads, pace.n_rows);

    pass(&pace, &quiet, 4000, 32, threads, &n_threads);
    pass(&pace, &eight_cores, 100, 32, (cr_threads){1, 16}, &n_threads);
    CHECK(pace.n_threads == 8, "a limit of 16 instead of 2: %zu threads", pace.n_threads);
    pass(&pace, &eight_cores, 1, 32, (cr_threads){1, 2}, &n_threads); /* checks that there are no more */
}

/* Passes that became slow are looked into soon, and once. */
static void test_slow_passes(void)
{
    static const machine before = {"two of four", {100e-6, 60e-6, 90e-6, 90e-6, 90e-6}};
    static const machine slower = {"two of four, slower", {200e-6, 120e-6, 200e-6, 200e-6, 200e-6}};
    static const machine worse = {"one of four", {100e-6, 250e-6, 250e-6, 250e-6, 250e-6}};
    const cr_threads four = {1, 4};
    for (int turn = 0; turn < 2; turn++) { /* of the next trial: downwards or upwards */
        cr_pace pace = {0};
        size_t n_threads;
        pass(&pace, &before, 4000, 32, four, &n_threads);
        CHECK(pace.n_threads == 2 && pace.left > 100, "%zu threads", pace.n_threads);
        pace.downwards = turn;
        pass(&pace, &slower, 20, 32, four, &n_threads);
        CHECK(pace.n_threads == 2 && pace.rival == 0 && pace.left > 60, "a trial, or none, of what is slower for all");
        pass(&pace, &slower, 60, 32, four, &n_threads);
        CHECK(pace.n_threads == 2 && pace.rival == 0 && pace.left > 0, "a second trial of what is slower for all");
        pace.downwards = turn;
        pass(&pace, &worse, 20, 32, four, &n_threads);
        CHECK(pace.n_threads == 1, "two threads that are slower than one are kept");
    }
    cr_pace pace = {0};
    size_t n_threads;
    for (int i = 0; i < 40 && pace.n_threads < 2; i++) {
        pass(&pace, &little_work, 1, 32, (cr_threads){1, 2}, &n_threads);
    }
    pass(&pace, &seldom, 9 + 16, 32, (cr_threads){1, 2}, &n_threads);
    CHECK(pace.n_threads == 1, "two threads that won just now are kept");
}

static void test_callers_at_once(void)
{
    cr_pace pace = {0};
    const cr_threads threads = {1, 2};
    int timed = 0, other;
    size_t n_threads = 0;
    for (int i = 0; i < 10 && !timed; i++) {
        n_threads = cr_pace_next(&pace, 32, threads, &timed);
    }
    CHECK(timed && n_threads == 1, "no trial in ten passes");
    CHECK(cr_pace_next(&pace, 32, (cr_threads){5, 9}, &other) == 5 && !other, "a second pass during a timed one");
    cr_pace_took(&pace, 100e-6);
    n_threads = cr_pace_next(&pace, 32, threads, &timed);
    CHECK(timed && n_threads == 1 && pace.n_timed == 1, "the trial does not go on");
    cr_pace_took(&pace, 100e-6);
}

static void test_laps(void)
{
    cr_pace pace = {0};
    const cr_lap lap = cr_lap_begin(&pace, 32, (cr_threads){1, 1});
    cr_lap_end(&lap);
    CHECK(lap.n_threads == 1 && lap.pace == NULL && pace.n_rows == 0, "one thread is not asked about");
    for (int i = 0; i < 2; i++) { /* the second one is the first sample; how many follow depends on how long it took */
        const cr_lap timed = cr_lap_begin(&pace, 32, (cr_threads){1, 2});
        CHECK(timed.n_threads == 1 && (timed.pace != NULL) == (i == 1), "pass %d", i);
        const double before = cr_seconds();
        while (cr_seconds() - before < 1e-3) {}
        cr_lap_end(&timed);
    }
    CHECK(pace.n_timed == 1 && pace.of_present >= 1e-3 && pace.of_present < 60.0, "a pass of 1 ms: %g s",
              pace.of_present);
}

static void test_rule(void)
{
    CHECK(cr_threads_worth(0.0, 100e-6, 8) == 1 && cr_threads_worth(199e-6, 100e-6, 8) == 1, "too little for two");
    CHECK(cr_threads_worth(201e-6, 100e-6, 8) == 2 && cr_threads_worth(299e-6, 100e-6, 8) == 2, "enough for two");
    CHECK(cr_threads_worth(799e-6, 100e-6, 8) == 7 && cr_threads_worth(1.0, 100e-6, 8) == 8, "no more than there are");
    CHECK(cr_threads_worth(1e300, 100e-6, 1) == 1, "one processor");
}

int main(void)
{
    test_rule();
    test_settling();
    test_a_trial();
    test_a_disturbed_sample();
    test_passes_that_change_in_a_trial();
    test_changes();
    test_slow_passes();
    test_callers_at_once();
    test_laps();
    return cr_check_summary();
}
