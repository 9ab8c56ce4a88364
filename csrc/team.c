/* team.c - the thread team of team.h.
 *
 * One region (one call of cr_parallel_for with helpers) is described by five fields and one word:
 *
 *     word = generation << INDEX_BITS | index of the next task,  or CLOSED in the place of the index
 *
 * The caller stores CLOSED, then the fields, then (generation + 1, index 0). A helper reads the word, then the
 * fields, then claims a task by compare-and-swap of that very word. If the swap succeeds the word has not changed,
 * so the fields belonged to it: had the helper seen a field of a later region, the CLOSED stored before that
 * field would be visible too (each field is stored with release and loaded with acquire) and the swap
 * would fail. Hence no helper, however late, runs a task with another region's argument, and none that has not
 * claimed a task can hold the caller up. From its first claim until it reports, a helper keeps the region
 * alive, so further claims are plain fetch-and-adds.
 *
 * `done` counts finished tasks; each thread reports once, when no task is left. Whoever waits (a helper for work,
 * the caller for the last reports) spins for SPIN_SECONDS and then blocks at a gate. "Announce that I sleep, look
 * again, sleep" against "change, look for sleepers, wake" loses no wake-up, because all four are sequentially
 * consistent.
 *
 * Another process on a helper's core can take it away for a whole time slice, milliseconds, in the middle of a task
 * that takes microseconds, and the caller must wait. A region that kept the caller waiting for STALL_SECONDS, and for
 * longer than it had worked, is such a stall: the team then rests, the caller working alone, for a time that doubles
 * with each stall that follows. So a busy core costs little more than the second thread.
 *
 * One counter for all: shares of its own for each thread, the same in every step, so that each finds what it wrote last
 * time in its own cache, were tried and cost 3 to 7 % (docs/benchmarks/zen4/README.md).
 *
 * fork: the child has none of the helpers; a handler makes its team new. Nothing is joined or freed, ever: helpers
 * are detached and the state is static, so a process can end at any moment.
 */
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall(2), sched_setaffinity, pthread_atfork, clock_gettime under -std=c11 */
#endif
#include <stdatomic.h>
#include <stdint.h>

#include "cpu.h"
#include "portability.h"
#include "team.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <signal.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

/* Long enough for the serial part between two regions of a training step, short enough that nobody minds:
 * waking a sleeping thread costs 40-50 us. */
#define SPIN_SECONDS 20e-6
/* Waking a helper and moving it to a core of its own takes up to 100 us, a time slice of another process 3 ms or so. */
#define STALL_SECONDS 0.5e-3
/* A rest lasts about a time slice of common schedulers at first, and never so long that anyone would miss the helpers
 * once their cores are free again. */
#define REST_SECONDS_MIN 4e-3
#define REST_SECONDS_MAX 128e-3
/* A rest is forgotten when the helpers have worked so many times as long without a stall. */
#define REST_ENDS 8.0
#define PAUSES_PER_LOOK 16 /* the clock costs about 25 ns, a pause up to 50 */
/* Kernels need little stack; some C libraries give new threads 128 KiB by default, sanitizers ask for more. */
#define STACK_BYTES ((size_t)1 << 20)

#define INDEX_BITS 24
#define CLOSED (((uint64_t)1 << INDEX_BITS) - 1)
/* Every thread may step past the last task once, and the index must still not reach CLOSED. */
#define MAX_TASKS ((size_t)1 << (INDEX_BITS - 1))

#define INDEX_OF(word) ((word) & CLOSED)
#define GENERATION_OF(word) ((word) >> INDEX_BITS)

/* ---- what the system provides ------------------------------------------------------------------------ */

/* A gate: wait returns once `value` differs from what the waiter saw (or for no reason at all). */
typedef struct gate {
    atomic_uint value;
#if defined(_WIN32)
    SRWLOCK lock;
    CONDITION_VARIABLE changed;
#elif !defined(__linux__)
    pthread_mutex_t lock;
    pthread_cond_t changed;
#endif
} gate;

#if defined(_WIN32)

static void gate_init(gate *g)
{
    atomic_store(&g->value, 0);
    InitializeSRWLock(&g->lock);
    InitializeConditionVariable(&g->changed);
}

static void gate_wait(gate *g, unsigned seen)
{
    AcquireSRWLockExclusive(&g->lock);
    while (atomic_load(&g->value) == seen) {
        SleepConditionVariableSRW(&g->changed, &g->lock, INFINITE, 0);
    }
    ReleaseSRWLockExclusive(&g->lock);
}

static void gate_open(gate *g)
{
    AcquireSRWLockExclusive(&g->lock);
    atomic_fetch_add(&g->value, 1);
    ReleaseSRWLockExclusive(&g->lock);
    WakeConditionVariable(&g->changed);
}

double cr_seconds(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}

static DWORD WINAPI helper_entry(LPVOID argument);

static int start_thread(void *argument)
{
    const HANDLE thread =
        CreateThread(NULL, STACK_BYTES, helper_entry, argument, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == NULL) {
        return 0;
    }
    CloseHandle(thread);
    return 1;
}

static void watch_forks(void) {} /* there are none */

#else

#if defined(__linux__)

static void gate_init(gate *g)
{
    atomic_store(&g->value, 0);
}

static void gate_wait(gate *g, unsigned seen)
{
    syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void gate_open(gate *g)
{
    atomic_fetch_add(&g->value, 1);
    syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#else

static void gate_init(gate *g)
{
    atomic_store(&g->value, 0);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void gate_wait(gate *g, unsigned seen)
{
    pthread_mutex_lock(&g->lock);
    while (atomic_load(&g->value) == seen) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

static void gate_open(gate *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->value, 1);
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

#endif

double cr_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *helper_entry(void *argument);
static void team_after_fork(void);

static int start_thread(void *argument)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* A new thread inherits the signal mask: helpers leave every signal to the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const int status = pthread_create(&thread, &attributes, helper_entry, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return status == 0;
}

static void watch_forks(void)
{
    static int watching; /* written under `busy` only; stays true in a forked child, as the handler does */
    if (!watching) {
        watching = pthread_atfork(NULL, NULL, team_after_fork) == 0;
    }
}

#endif

/* ---- the team ---------------------------------------------------------------------------------------- */

typedef struct helper {
    size_t worker;      /* 1 .. CR_MAX_THREADS - 1 */
    atomic_int id;      /* the system's name for the thread, 0 where there is none */
    int avoids;         /* 1 + the processor that it was last kept off; under busy */
    atomic_int asleep;
    gate gate;
} helper;

static struct {
    atomic_flag busy; /* held by the thread whose region runs */
    /* under busy */
    size_t n_helpers;
    int refused; /* the system gave no more threads: do not ask again */
    int gates_ready;
    double rest_seconds, rest_until; /* the last rest */

    _Atomic uint64_t word;
    _Atomic(cr_task) task;
    _Atomic(void *) argument;
    atomic_size_t first, n_tasks, n_threads; /* tasks first .. first + n_tasks - 1 */

    _Alignas(64) atomic_size_t done;
    atomic_int caller_asleep;
    gate finished;
    helper helpers[CR_MAX_THREADS];
} team = {.busy = ATOMIC_FLAG_INIT, .word = CLOSED};

#if defined(__linux__)
static int own_id(void) { return (int)syscall(SYS_gettid); }

/* Before a helper is woken: let it run wherever the caller may, but not on the caller's own processor. Linux likes to
 * wake a thread beside the one that wakes it; there it waits until the caller, with all tasks done, waits for it
 * (784-128-10, 128 rows, after 50 ms of rest: 260 us with two threads, 232 with one, 137 with this). */
static void keep_apart(helper *sleeper)
{
    const int here = sched_getcpu(), id = atomic_load(&sleeper->id);
    cpu_set_t allowed;
    if (here < 0 || id == 0 || sleeper->avoids == here + 1 || sched_getaffinity(0, sizeof allowed, &allowed) != 0
        || !CPU_ISSET(here, &allowed) || CPU_COUNT(&allowed) < 2) {
        return;
    }
    CPU_CLR(here, &allowed);
    if (sched_setaffinity(id, sizeof allowed, &allowed) == 0) {
        sleeper->avoids = here + 1;
    }
}
#else
static int own_id(void) { return 0; }
static void keep_apart(helper *sleeper) { (void)sleeper; }
#endif

static void report(size_t n_done, size_t n_tasks)
{
    if (atomic_fetch_add(&team.done, n_done) + n_done == n_tasks && atomic_load(&team.caller_asleep)) {
        gate_open(&team.finished);
    }
}

typedef enum help_result { NOTHING_TO_DO, LOOK_AGAIN, WORKED } help_result;

/* Take part in the region that `word` shows, if it has a task left for this helper. LOOK_AGAIN: another thread
 * was faster, the word has changed. */
static help_result help(uint64_t word, size_t worker)
{
    const size_t n_threads = atomic_load_explicit(&team.n_threads, memory_order_acquire);
    const size_t n_tasks = atomic_load_explicit(&team.n_tasks, memory_order_acquire);
    const size_t first = atomic_load_explicit(&team.first, memory_order_acquire);
    const cr_task task = atomic_load_explicit(&team.task, memory_order_acquire);
    void *argument = atomic_load_explicit(&team.argument, memory_order_acquire);
    if (INDEX_OF(word) >= n_tasks || worker >= n_threads) {
        return NOTHING_TO_DO;
    }
    if (!atomic_compare_exchange_strong(&team.word, &word, word + 1)) {
        return LOOK_AGAIN;
    }
    size_t index = (size_t)INDEX_OF(word);
    size_t n_done = 0;
    do {
        task(argument, first + index, worker);
        n_done++;
        index = (size_t)INDEX_OF(atomic_fetch_add(&team.word, 1));
    } while (index < n_tasks);
    report(n_done, n_tasks);
    return WORKED;
}

/* Is there a region that this helper has not dealt with? */
static int has_news(uint64_t word, uint64_t seen)
{
    return GENERATION_OF(word) != seen && INDEX_OF(word) != CLOSED;
}

static void helper_loop(helper *self)
{
    atomic_store(&self->id, own_id());
    cr_fp_enter(); /* for good: this thread computes nothing else, and inherited its creator's mode */
    uint64_t seen = 0; /* the generation dealt with; the first region is number 1 */
    /* Set by work alone: regions too small for this helper must not keep it awake. */
    double idle_since = cr_seconds();
    for (;;) {
        const uint64_t word = atomic_load(&team.word);
        if (has_news(word, seen)) {
            const help_result result = help(word, self->worker);
            if (result != LOOK_AGAIN) {
                seen = GENERATION_OF(word);
            }
            if (result == WORKED) {
                idle_since = cr_seconds();
            }
        } else if (cr_seconds() - idle_since < SPIN_SECONDS) {
            for (int i = 0; i < PAUSES_PER_LOOK && !has_news(atomic_load(&team.word), seen); i++) {
                CR_PAUSE();
            }
        } else {
            const unsigned value = atomic_load(&self->gate.value);
            atomic_store(&self->asleep, 1);
            if (!has_news(atomic_load(&team.word), seen)) {
                gate_wait(&self->gate, value);
                idle_since = cr_seconds();
            }
            atomic_store(&self->asleep, 0);
        }
    }
}

#if defined(_WIN32)
static DWORD WINAPI helper_entry(LPVOID argument)
{
    helper_loop(argument);
    return 0;
}
#else
static void *helper_entry(void *argument)
{
    helper_loop(argument);
    return NULL;
}

/* In the child only the forking thread is left. Its first region will start helpers of its own. */
static void team_after_fork(void)
{
    team.n_helpers = 0;
    team.refused = 0;
    team.gates_ready = 0;
    team.rest_seconds = 0.0;
    atomic_store(&team.word, (GENERATION_OF(atomic_load(&team.word)) << INDEX_BITS) | CLOSED);
    atomic_store(&team.caller_asleep, 0);
    atomic_flag_clear(&team.busy);
}
#endif

/* Have n helpers, or as many as the system grants. Returns how many there are. */
static size_t gather_helpers(size_t n)
{
    if (!team.gates_ready) {
        watch_forks();
        gate_init(&team.finished);
        team.gates_ready = 1;
    }
    while (team.n_helpers < n && !team.refused) {
        helper *next = &team.helpers[team.n_helpers + 1];
        next->worker = team.n_helpers + 1;
        next->avoids = 0;
        atomic_store(&next->id, 0);
        atomic_store(&next->asleep, 0);
        gate_init(&next->gate);
        if (start_thread(next)) {
            team.n_helpers++;
        } else {
            team.refused = 1;
        }
    }
    return team.n_helpers < n ? team.n_helpers : n;
}

static void wait_for_reports(size_t n_tasks, double start)
{
    while (atomic_load(&team.done) != n_tasks) {
        if (cr_seconds() - start < SPIN_SECONDS) {
            for (int i = 0; i < PAUSES_PER_LOOK && atomic_load(&team.done) != n_tasks; i++) {
                CR_PAUSE();
            }
            continue;
        }
        const unsigned value = atomic_load(&team.finished.value);
        atomic_store(&team.caller_asleep, 1);
        if (atomic_load(&team.done) != n_tasks) {
            gate_wait(&team.finished, value);
        }
        atomic_store(&team.caller_asleep, 0);
    }
}

/* The caller worked from `start` to `done`, then waited until now. */
static void note_wait(double start, double done)
{
    const double now = cr_seconds();
    if (now - done > done - start && now - done > STALL_SECONDS) {
        const double twice = 2 * team.rest_seconds;
        team.rest_seconds = twice < REST_SECONDS_MAX ? twice : REST_SECONDS_MAX;
        team.rest_seconds = team.rest_seconds > REST_SECONDS_MIN ? team.rest_seconds : REST_SECONDS_MIN;
        team.rest_until = now + team.rest_seconds;
    } else if (now - team.rest_until > REST_ENDS * team.rest_seconds) {
        team.rest_seconds = 0.0; /* so much longer without a stall */
    }
}

/* One region of at most MAX_TASKS tasks; busy is held and the word is CLOSED. */
static void run_region(size_t first, size_t n_tasks, size_t n_helpers, cr_task task, void *argument)
{
    const uint64_t generation = GENERATION_OF(atomic_load_explicit(&team.word, memory_order_relaxed)) + 1;
    atomic_store_explicit(&team.task, task, memory_order_release);
    atomic_store_explicit(&team.argument, argument, memory_order_release);
    atomic_store_explicit(&team.first, first, memory_order_release);
    atomic_store_explicit(&team.n_tasks, n_tasks, memory_order_release);
    atomic_store_explicit(&team.n_threads, n_helpers + 1, memory_order_release);
    atomic_store_explicit(&team.done, 0, memory_order_relaxed);
    atomic_store(&team.word, generation << INDEX_BITS);
    for (size_t i = 1; i <= n_helpers; i++) {
        helper *sleeper = &team.helpers[i];
        if (atomic_load(&sleeper->asleep) && atomic_exchange(&sleeper->asleep, 0)) {
            keep_apart(sleeper);
            gate_open(&sleeper->gate);
        }
    }
    const double start = cr_seconds();
    size_t n_done = 0;
    for (;;) {
        const size_t index = (size_t)INDEX_OF(atomic_fetch_add(&team.word, 1));
        if (index >= n_tasks) {
            break;
        }
        task(argument, first + index, 0);
        n_done++;
    }
    const double done = cr_seconds();
    if (atomic_fetch_add(&team.done, n_done) + n_done != n_tasks) {
        wait_for_reports(n_tasks, done);
        note_wait(start, done);
    }
    atomic_store(&team.word, (generation << INDEX_BITS) | CLOSED);
}

void cr_parallel_for(size_t n_tasks, size_t n_threads, cr_task task, void *argument)
{
    size_t wanted = n_threads < n_tasks ? n_threads : n_tasks;
    wanted = wanted < CR_MAX_THREADS ? wanted : CR_MAX_THREADS;
    if (wanted > 1 && !atomic_flag_test_and_set(&team.busy)) {
        const int resting = team.rest_seconds > 0.0 && cr_seconds() < team.rest_until;
        const size_t n_helpers = resting ? 0 : gather_helpers(wanted - 1);
        if (n_helpers > 0) {
            for (size_t first = 0; first < n_tasks; first += MAX_TASKS) {
                const size_t left = n_tasks - first;
                run_region(first, left < MAX_TASKS ? left : MAX_TASKS, n_helpers, task, argument);
            }
            atomic_flag_clear(&team.busy);
            return;
        }
        atomic_flag_clear(&team.busy);
    }
    for (size_t i = 0; i < n_tasks; i++) {
        task(argument, i, 0);
    }
}
