/* test_team.c - the thread team: every task once, whoever calls, however often, also after fork. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#endif

#include "check.h"
#include "team.h"

/* ThreadSanitizer ends any process that starts a thread after a fork with threads: no fork test there. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if !defined(UNDER_TSAN)
#define UNDER_TSAN 0
#endif

enum { N = 1000 };

/* Plain counters on purpose: if a task ran twice or a result were not visible, TSan and the sums would tell. */
typedef struct region {
    unsigned times[N];
    atomic_size_t highest_worker;
    size_t weight;
    struct region *inner;
} region;

static void count(void *argument, size_t index, size_t worker)
{
    region *r = argument;
    r->times[index] += 1;
    size_t highest = atomic_load(&r->highest_worker);
    while (worker > highest && !atomic_compare_exchange_weak(&r->highest_worker, &highest, worker)) {
    }
    for (volatile size_t i = 0; i < r->weight; i++) {
    }
}

static int each_ran(const region *r, size_t n, unsigned times)
{
    for (size_t i = 0; i < N; i++) {
        if (r->times[i] != (i < n ? times : 0)) {
            return 0;
        }
    }
    return 1;
}

static void test_counts(void)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 64, 65, 999, 1000};
    static const size_t threads[] = {0, 1, 2, 3, 8, CR_MAX_THREADS, 1000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
            region r = {.weight = 50};
            cr_parallel_for(sizes[s], threads[t], count, &r);
            CHECK(each_ran(&r, sizes[s], 1), "%zu tasks on %zu threads: not each once", sizes[s], threads[t]);
            CHECK(r.highest_worker == 0 || r.highest_worker < threads[t], "worker %zu of %zu threads",
                  (size_t)r.highest_worker, threads[t]);
        }
    }
}

/* Many short regions of changing width: late helpers of one meet the next. */
static void test_many_regions(void)
{
    static region r[2];
    memset(r, 0, sizeof r);
    unsigned wide = 0, narrow = 0;
    for (int i = 0; i < 20000; i++) {
        const int is_wide = i % 3 == 0;
        r[0].weight = (size_t)(i % 5) * 10;
        cr_parallel_for(is_wide ? 9 : 3, (size_t)(2 + i % 4), count, &r[is_wide]);
        wide += (unsigned)is_wide;
        narrow += (unsigned)!is_wide;
    }
    CHECK(each_ran(&r[0], 3, narrow), "narrow regions: a task was lost or doubled");
    CHECK(each_ran(&r[1], 9, wide), "wide regions: a task was lost or doubled");
}

static void outer(void *argument, size_t index, size_t worker)
{
    region *r = argument;
    (void)worker;
    cr_parallel_for(N, 4, count, &r->inner[index]);
    r->times[index] += 1;
}

static void test_nested(void)
{
    static region inner[5];
    memset(inner, 0, sizeof inner);
    region r = {.inner = inner};
    cr_parallel_for(5, 3, outer, &r);
    CHECK(each_ran(&r, 5, 1), "outer tasks of a nested region");
    for (size_t i = 0; i < 5; i++) {
        CHECK(each_ran(&inner[i], N, 1) && inner[i].highest_worker == 0, "nested regions run on their caller");
    }
}

#if !defined(_WIN32)

static void nap(long microseconds)
{
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    nanosleep(&time, NULL);
}

/* Pauses longer than the spin: helpers and caller go through sleep and wake-up. */
static void test_sleepers(void)
{
    static region r;
    memset(&r, 0, sizeof r);
    for (int i = 0; i < 200; i++) {
        r.weight = i % 2 ? 100000 : 10;
        cr_parallel_for(4, 3, count, &r);
        nap(i % 3 ? 200 : 0);
    }
    CHECK(each_ran(&r, 4, 200), "regions with pauses between");
}

typedef struct meeting {
    long nap; /* microseconds by which the helper keeps the caller waiting */
    atomic_int helped;
} meeting;

/* The caller waits a little for a helper to come. */
static void meet(void *argument, size_t index, size_t worker)
{
    meeting *m = argument;
    (void)index;
    if (worker != 0) {
        atomic_store(&m->helped, 1);
        if (m->nap > 0) {
            nap(m->nap);
        }
        return;
    }
    const double start = cr_seconds();
    while (!atomic_load(&m->helped) && cr_seconds() - start < 1e-3) {
    }
}

static int is_helped(long microseconds)
{
    meeting m = {.nap = microseconds};
    cr_parallel_for(2, 2, meet, &m);
    return atomic_load(&m.helped);
}

#define STALL 5e-3

/* The seconds from the end of a stall until a helper helps again, at least; 0 if none came to be late. */
static double rest_after_a_stall(void)
{
    double before = 0.0;
    int late = 0;
    for (int i = 0; i < 300 && !late; i++) {
        before = cr_seconds();
        late = is_helped((long)(1e6 * STALL));
    }
    while (late && !is_helped(0) && cr_seconds() - before < 2.0) {
    }
    return late ? cr_seconds() - before - STALL : 0.0;
}

/* After a stall the caller works alone for at least 4 ms, after another soon afterwards twice as long. Other processes
 * may make one of them no stall, or too late to follow the first, so one pair of many is enough. */
static void test_rests(void)
{
    double first = 0.0, second = 0.0;
    for (int i = 0; i < 30 && !(first >= 4e-3 && second >= 8e-3); i++) {
        first = rest_after_a_stall();
        second = rest_after_a_stall();
        if (first == 0.0 || second == 0.0) {
            printf("rests: skipped, no helper came\n");
            return;
        }
    }
    CHECK(first >= 4e-3 && second >= 8e-3, "rests of %g and %g s", first, second);
}

static void *concurrent_caller(void *argument)
{
    for (int i = 0; i < 2000; i++) {
        cr_parallel_for(7, 3, count, argument);
    }
    return NULL;
}

static void test_concurrent_callers(void)
{
    static region r[3];
    memset(r, 0, sizeof r);
    pthread_t thread[3];
    for (size_t i = 0; i < 3; i++) {
        r[i].weight = 20 * i;
        pthread_create(&thread[i], NULL, concurrent_caller, &r[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        CHECK(each_ran(&r[i], 7, 2000), "concurrent caller %zu", i);
    }
}

/* Work, fork, work in both; a child that hangs is ended by its alarm. */
static int child_works(int depth)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        region r = {.weight = 100};
        cr_parallel_for(N, 3, count, &r);
        const int good = each_ran(&r, N, 1) && (depth == 0 || child_works(depth - 1));
        _exit(good ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_fork(void)
{
    for (int i = 0; i < 10; i++) {
        region r = {.weight = 100};
        cr_parallel_for(100, 3, count, &r); /* helpers are awake when the fork comes */
        CHECK(each_ran(&r, 100, 1), "before fork");
        CHECK(child_works(1), "a forked child, and its child, work in parallel");
    }
    /* Fork while another thread is inside a region. */
    static region r;
    memset(&r, 0, sizeof r);
    r.weight = 200;
    pthread_t thread;
    pthread_create(&thread, NULL, concurrent_caller, &r);
    for (int i = 0; i < 10; i++) {
        CHECK(child_works(0), "a child forked while another thread's region runs");
    }
    pthread_join(thread, NULL);
    CHECK(each_ran(&r, 7, 2000), "the region that ran meanwhile");
}

#endif

static void test_clock(void)
{
    const double a = cr_seconds();
    double b = cr_seconds();
    CHECK(b >= a, "the clock went back");
    for (int i = 0; i < 10000000 && b == a; i++) {
        b = cr_seconds();
    }
    CHECK(b > a && b - a < 60.0, "the clock stands still or races: %g", b - a);
}

int main(void)
{
    test_clock();
    test_counts();
    test_many_regions();
    test_nested();
#if !defined(_WIN32)
    test_sleepers();
    test_rests();
    test_concurrent_callers();
    if (UNDER_TSAN) {
        printf("fork: skipped, ThreadSanitizer does not support it\n");
    } else {
        test_fork();
    }
#endif
    return cr_check_summary(); /* with helpers alive: leaving must be clean */
}
