"""The most multiply-adds one core can do, measured as one more contender among the rivals.

A share of a peak needs a peak that is not our own product. It is a loop of independent multiply-adds in
registers, compiled here and now; without a C compiler the column is left out.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# 12 chains: more than the 8 to 10 that keep two pipes of 4 to 5 cycles latency busy, and with the two constants
# few enough for 16 registers. `a` near 1 and `b` small keep all values normal.
SOURCE = """
typedef REAL V __attribute__((vector_size(WIDTH)));
#define CHAINS 12
double peak(long calls)
{
    V acc[CHAINS], a, b;
    for (unsigned j = 0; j < WIDTH / sizeof(REAL); j++) { a[j] = (REAL)0.999; b[j] = (REAL)0.001; }
    for (int i = 0; i < CHAINS; i++) { acc[i] = b * (REAL)i; }
    for (long k = 0; k < calls; k++) {
        for (int i = 0; i < CHAINS; i++) { acc[i] = acc[i] * a + b; }
    }
    V sum = acc[0];
    for (int i = 1; i < CHAINS; i++) { sum += acc[i]; }
    return (double)sum[0];
}
"""
CHAINS = 12
PASSES = 10_000  # loop passes in one call: some 10 us

# bytes of a vector, compiler flags; of the instruction set that chainrule chose
SETS = {
    "avx512": (64, ["-mavx512f", "-mprefer-vector-width=512"]),
    "avx2": (32, ["-mavx2", "-mfma"]),
    "neon": (16, []),
}


class Peak:
    """Blocks of multiply-adds, on the interface of a rival."""

    def __init__(self, isa: str, dtype: str, threads: int) -> None:
        """RuntimeError, with the reason, where it cannot be measured."""
        if isa not in SETS:
            raise RuntimeError(f"not measured for the instruction set {isa}")
        if platform.system() == "Windows":
            raise RuntimeError("not measured on Windows")
        names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
        compiler = next((path for name in names if name and (path := shutil.which(name))), None)
        if compiler is None:
            raise RuntimeError("not measured: no C compiler found (set CC)")
        width, flags = SETS[isa]
        real = {"float32": "float", "float64": "double"}[dtype]
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
            source.write_text(SOURCE, encoding="utf-8")
            options = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC", *flags]
            defines = [f"-DREAL={real}", f"-DWIDTH={width}"]
            made = subprocess.run(
                [compiler, *options, *defines, str(source), "-o", str(library)], capture_output=True, text=True
            )
            if made.returncode:
                raise RuntimeError(f"not measured: the C compiler failed: {made.stderr.strip()[-200:]}")
            loaded = ctypes.CDLL(str(library))
        self._function = loaded.peak
        self._function.argtypes, self._function.restype = [ctypes.c_long], ctypes.c_double
        lanes = width // {"float32": 4, "float64": 8}[dtype]
        self.flops = 2.0 * PASSES * CHAINS * lanes * threads  # of one call, had all threads made it
        self.note = f"{isa} {dtype} multiply-adds in registers, measured on one core"
        if threads > 1:
            self.note += f", times {threads}"

    def measure(self, calls: int) -> tuple[int, int]:
        """As Player.measure."""
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self._function(calls * PASSES)
        return time.perf_counter_ns() - wall, time.process_time_ns() - cpu
