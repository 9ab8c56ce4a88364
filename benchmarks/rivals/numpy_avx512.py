"""The careful NumPy rival in a process whose OpenBLAS is told to use its AVX-512 kernels.

OpenBLAS takes its AVX2 ("Haswell") kernels on processors it does not know, newer AMD ones among them, and then
does half of what the processor can. The ratio to NumPy as installed flatters us there; this column does not.
Only cases with products: the rest of NumPy does not know of the setting.
"""

from __future__ import annotations

from typing import Any

from ..cases import Case
from ..facts import blas, cpu_flags
from . import Run, numpy_careful
from .numpy_careful import versions

__all__ = ["missing", "prepare", "versions"]


def missing() -> str | None:
    """Asked in the process that has OPENBLAS_CORETYPE set."""
    if "avx512f" not in cpu_flags():
        return "this processor has no AVX-512"
    facts = blas()
    if "openblas" not in facts["name"]:
        return f"NumPy's BLAS is {facts['name']}, not OpenBLAS"
    if facts["kernel"] != "SkylakeX":
        return f"OPENBLAS_CORETYPE=SkylakeX did not take: the BLAS kernels are {facts['kernel']}"
    return None


def prepare(case: Case, dtype: Any, threads: int) -> Run | None:
    return numpy_careful.prepare(case, dtype, threads) if case.work[1] == "FLOP" else None
