"""The most multiply-adds one core can do, measured as one more contender among the rivals.

A share of a peak needs a peak that is not our own product. It is a loop of independent multiply-adds in
registers, compiled here and now; without a C compiler the column is left out.
"""

from __future__ import annotations

import ctypes
import time

from .native import CHAINS, MULTIPLY_ADDS, SETS, build

PASSES = 10_000  # loop passes in one call: some 10 us


class Peak:
    """Blocks of multiply-adds, on the interface of a rival."""

    def __init__(self, isa: str, dtype: str, threads: int) -> None:
        """RuntimeError, with the reason, where it cannot be measured."""
        self._function = build(MULTIPLY_ADDS, isa, dtype).peak
        self._function.argtypes, self._function.restype = [ctypes.c_long], ctypes.c_double
        lanes = SETS[isa][0] // {"float32": 4, "float64": 8}[dtype]
        self.flops = 2.0 * PASSES * CHAINS * lanes * threads  # of one call, had all threads made it
        self.note = f"{isa} {dtype} multiply-adds in registers, measured on one core"
        if threads > 1:
            self.note += f", times {threads}"

    def measure(self, calls: int) -> tuple[int, int]:
        """As Player.measure."""
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self._function(calls * PASSES)
        return time.perf_counter_ns() - wall, time.process_time_ns() - cpu
