"""python -m benchmarks processors: what a second thread can bring on two processors of this machine.

A virtual machine's processors move among the host's cores, mostly while they rest. So after each of some rests two
threads, pinned to the last two processors, multiply and add in registers at the same time, and then pass a number to
and fro. Two processors that share a core have half of its rate each; two that share no cache need many times as long
to see what the other wrote.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from collections import Counter
from dataclasses import dataclass

from .native import CHAINS, MULTIPLY_ADDS, SETS, build

PASSES = 400_000  # of the loop: some 5 ms
ROUND_TRIPS = 2000
# Where the kinds part: measured shares are 0.5 to 0.55 and 0.75 to 1.05, times 25 to 45 ns and 100 or more.
HALF_A_CORE = 0.7
NEAR_NS = 80.0

SOURCE = (
    "#define _GNU_SOURCE\n#include <pthread.h>\n#include <sched.h>\n#include <stdatomic.h>\n#include <time.h>\n"
    + MULTIPLY_ADDS
    + """
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct shared {
    _Alignas(128) atomic_long ready;
    _Alignas(128) atomic_long ball;
    long passes, round_trips;
    double seconds[3]; /* each thread's of its multiply-adds, one way of the ball */
} shared;

typedef struct player {
    shared *s;
    int index, cpu;
} player;

static void meet(shared *s, long at)
{
    atomic_fetch_add(&s->ready, 1);
    while (atomic_load(&s->ready) < at) {}
}

static void *play(void *argument)
{
    const player *me = argument;
    shared *s = me->s;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(me->cpu, &own);
    sched_setaffinity(0, sizeof own, &own);
    peak(s->passes / 4);
    meet(s, 2);
    double start = now();
    volatile double keep = peak(s->passes);
    (void)keep;
    s->seconds[me->index] = now() - start;
    meet(s, 4);
    start = now();
    for (long i = me->index; i < 2 * s->round_trips; i += 2) {
        while (atomic_load(&s->ball) != i) {}
        atomic_store(&s->ball, i + 1);
    }
    if (me->index == 1) { s->seconds[2] = (now() - start) / (double)(2 * s->round_trips); }
    return NULL;
}

int look(int cpu_0, int cpu_1, long passes, long round_trips, double seconds[3])
{
    shared s = {.passes = passes, .round_trips = round_trips};
    player players[2] = {{&s, 0, cpu_0}, {&s, 1, cpu_1}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, play, &players[i])) { return 1; }
    }
    for (int i = 0; i < 2; i++) { pthread_join(threads[i], NULL); }
    for (int i = 0; i < 3; i++) { seconds[i] = s.seconds[i]; }
    return 0;
}
"""
)


@dataclass(frozen=True)
class Look:
    """What was seen after one rest: the two processors' shares of one core's rate, and nanoseconds for one way."""

    shares: tuple[float, float]
    nanoseconds: float

    @property
    def place(self) -> str:
        """Where the two seem to be."""
        if max(self.shares) < HALF_A_CORE:
            return "one core"
        return "cores that share a cache" if self.nanoseconds < NEAR_NS else "cores that share no cache"

    def line(self) -> str:
        """All of it."""
        return f"{self.shares[0]:6.0%} {self.shares[1]:6.0%} {self.nanoseconds:6.0f} ns one way   {self.place}"


def looks(isa: str, rests: int, rest_seconds: float) -> list[Look]:
    """So many looks, each after a rest.

    Raises
    ------
    RuntimeError
        Without a C compiler, off Linux, or with a single processor.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise RuntimeError("not measured: threads can be pinned on Linux alone")
    processors = sorted(os.sched_getaffinity(0))[-2:]
    if len(processors) < 2:
        raise RuntimeError(f"not measured: this process may use one processor, {processors[0]}")
    native = build(SOURCE, isa, "float32")
    native.peak.argtypes, native.peak.restype = [ctypes.c_long], ctypes.c_double
    native.look.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.POINTER(ctypes.c_double)]
    alone = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        native.peak(PASSES)
        alone = min(alone, time.perf_counter() - start)
    flops = 2.0 * PASSES * CHAINS * SETS[isa][0] / 4
    print(f"alone: {flops / alone * 1e-9:.0f} GFLOP/s ({isa}, float32); processors {processors[0]} and {processors[1]}")
    found = []
    for _ in range(rests):
        time.sleep(rest_seconds)
        seconds = (ctypes.c_double * 3)()
        if native.look(*processors, PASSES, ROUND_TRIPS, seconds):
            raise RuntimeError("not measured: the system gives no more threads")
        found.append(Look((alone / seconds[0], alone / seconds[1]), seconds[2] * 1e9))
        print(found[-1].line(), flush=True)
    return found


def main(arguments: list[str]) -> int:
    """Print what each look saw, and how often each place; the exit status is 1 if it cannot be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks processors", description="What a second thread can bring on this machine."
    )
    parser.add_argument("--rests", type=int, default=16, help="looks (default 16)")
    parser.add_argument("--rest-ms", type=float, default=250.0, help="before each (default 250)")
    options = parser.parse_args(arguments)
    from .rivals.chainrule import versions

    try:
        found = looks(versions()["isa"], options.rests, options.rest_ms / 1e3)
    except RuntimeError as error:
        print(error)
        return 1
    for place, times in Counter(look.place for look in found).most_common():
        print(f"{times} of {len(found)}: {place}")
    return 0
