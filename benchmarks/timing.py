"""Interleaved timing: A B C A B C, a block of each in turn, so that whatever the machine does falls on all."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Protocol

MAX_CALLS = 10**7
# Threads of OpenMP go on spinning for some 20 ms after their work, those of OpenBLAS for more than 100, on the cores
# of whoever is next. After long blocks JAX gives back memory in the background, which cost the next 20 ms a fifth.
REST = 0.25
LONG_BLOCK = 0.1  # seconds


class Measured(Protocol):
    def measure(self, calls: int) -> tuple[int, int]: ...


@dataclass
class Series:
    """The blocks of one contender: nanoseconds a call, by the clock and of processor time."""

    calls: int
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def times(self, clock: str) -> list[float]:
        """The series that counts: "wall" or "cpu"."""
        return self.wall if clock == "wall" else self.cpu


@dataclass
class Summary:
    """Median and quartiles."""

    median: float
    q1: float
    q3: float

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a part of the median."""
        return (self.q3 - self.q1) / self.median if self.median else float("nan")


def summarize(values: list[float]) -> Summary:
    """Median and quartiles of at least one value."""
    if len(values) == 1:
        return Summary(values[0], values[0], values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(median, q1, q3)


def calibrate(contender: Measured, block_ns: float) -> tuple[int, float]:
    """How many calls fill a block, and how long that takes; warms up on the way.

    Doubles (or better) until a block is long enough. The last try is what counts: a first call that compiles or
    touches new memory is long by itself, and says nothing about the next.
    """
    calls = 1
    contender.measure(calls)
    while True:
        wall, _ = contender.measure(calls)
        if wall >= block_ns or calls >= MAX_CALLS:
            return calls, wall
        # A tenth more than seems needed, but not more than 100-fold on the word of a short block.
        wanted = calls * min(1.1 * block_ns / max(wall, 1), 100.0)
        calls = min(MAX_CALLS, max(2 * calls, int(wanted) + 1))


def rounds_within(seconds: float, blocks_ns: list[float], most: int, least: int) -> int:
    """How many rounds fit into the time for a case; at least `least`, whatever they take."""
    return max(least, min(most, int(seconds * 1e9 / max(sum(blocks_ns), 1))))


def interleave(
    contenders: dict[str, Measured], calls: dict[str, int], rounds: int, rest: float = 0.0
) -> dict[str, Series]:
    """Measure a block of each contender in turn, `rounds` times; `rest` seconds before each block."""
    series = {name: Series(calls[name]) for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            time.sleep(rest)
            wall, cpu = contender.measure(calls[name])
            series[name].wall.append(wall / calls[name])
            series[name].cpu.append(cpu / calls[name])
    return series


def ratios(theirs: list[float], ours: list[float]) -> Summary:
    """Their time over ours, round by round: blocks that were neighbours in time are compared."""
    return summarize([a / b for a, b in zip(theirs, ours, strict=True)])
