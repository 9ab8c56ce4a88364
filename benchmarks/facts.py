"""What a figure depends on: processor, libraries, BLAS kernels, threads, load. Goes into the JSON."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

AVX512_KERNELS = ("SkylakeX", "Cooperlake", "Sapphirerapids")  # of OpenBLAS


def _cpuinfo(*names: str) -> str:
    """The first entry of /proc/cpuinfo under one of these names; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    entries = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in entries if name.strip() in names), "")


def cpu_flags() -> list[str]:
    """Instruction sets as the kernel names them; empty where it does not say."""
    return _cpuinfo("flags", "Features").split()


def cpu_name() -> str:
    """Model, with family and model number, for several kinds of processor share a name."""
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    numbers = [_cpuinfo(key) for key in ("cpu family", "model")]
    return f"{name} (family {numbers[0]}, model {numbers[1]})" if all(numbers) else name


def _numpy_config() -> dict[str, Any]:
    config: Any = np.show_config(mode="dicts")
    return config or {}


def blas() -> dict[str, Any]:
    """NumPy's BLAS: name and version, the kernels it chose for this processor, its threads."""
    built = _numpy_config().get("Build Dependencies", {}).get("blas", {})
    facts: dict[str, Any] = {
        "name": built.get("name", "unknown"),
        "version": built.get("version", "unknown"),
        "kernel": "unknown (threadpoolctl would tell)",
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "its own choice"),
    }
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return facts
    for library in threadpool_info():
        if library["user_api"] == "blas":
            facts["kernel"] = library.get("architecture", "unknown")
            facts["threads"] = library["num_threads"]
            break
    return facts


def blas_warning(facts: dict[str, Any]) -> str | None:
    """The plain words about a BLAS that does not use this processor's AVX-512; None if it does, or has none."""
    if "avx512f" not in facts["cpu_flags"] or facts["blas"]["kernel"] in AVX512_KERNELS:
        return None
    return (
        f"NumPy's BLAS ({facts['blas']['name']}) runs its {facts['blas']['kernel']} kernels here, though this "
        "processor has AVX-512.\nRatios to NumPy, and to any library whose products do the same, flatter chainrule "
        "on such a processor.\nWith OpenBLAS, OPENBLAS_CORETYPE=SkylakeX in the environment forces its AVX-512 "
        "kernels: that is the\ncolumn numpy_avx512."
    )


def collect(threads: int, dtype: str, peak_note: str) -> dict[str, Any]:
    """All facts of this process."""
    import chainrule

    pinned = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": cpu_name(),
        "cpu_flags": cpu_flags(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numpy_simd": _numpy_config().get("SIMD Extensions", {}).get("found", []),
        "blas": blas(),
        "chainrule": chainrule.show_config("dict"),
        "threads": threads,
        "dtype": dtype,
        "cpus": pinned,
        "load_at_start": load(),
        "peak": peak_note,
    }


def load() -> float | None:
    """How many processes wanted to run in the last minute, ours included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _commit() -> str | None:
    """The commit of the checkout, "+" if files differ from it; None outside one."""
    here = Path(__file__).resolve().parent
    try:
        made = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return made.stdout.strip()
