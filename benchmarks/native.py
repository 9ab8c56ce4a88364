"""C compiled here and now: for what a measurement needs that is neither ours nor a rival's."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

# bytes of a vector, compiler flags; of the instruction set that chainrule chose
SETS = {
    "avx512": (64, ["-mavx512f", "-mprefer-vector-width=512"]),
    "avx2": (32, ["-mavx2", "-mfma"]),
    "neon": (16, []),
}

# Independent sums of `peak`: more than the 8 to 10 that keep two pipes of 4 to 5 cycles latency busy, and with the two
# constants few enough for 16 registers.
CHAINS = 12
# `a` near 1 and `b` small keep all values normal.
MULTIPLY_ADDS = """
typedef REAL V __attribute__((vector_size(WIDTH)));
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


def build(source: str, isa: str, dtype: str) -> ctypes.CDLL:
    """Compile and load `source`, which knows REAL, CHAINS and WIDTH, the bytes of a vector of `isa`.

    Raises
    ------
    RuntimeError
        With the reason, where it cannot be done.
    """
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
        file, library = Path(folder, "native.c"), Path(folder, "native.so")
        file.write_text(source, encoding="utf-8")
        options = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread", *flags]
        defines = [f"-DREAL={real}", f"-DWIDTH={width}", f"-DCHAINS={CHAINS}"]
        made = subprocess.run(
            [compiler, *options, *defines, str(file), "-o", str(library)], capture_output=True, text=True
        )
        if made.returncode:
            raise RuntimeError(f"not measured: the C compiler failed: {made.stderr.strip()[-200:]}")
        return ctypes.CDLL(str(library))
