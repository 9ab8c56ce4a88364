"""Fixtures that every test file uses; `reference` and `bounds` are importable from the tests."""

import gc
import importlib.util
import os
import platform
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # import reference, import bounds: importlib mode leaves sys.path alone

_found = importlib.util.find_spec("chainrule")
if _found is None or _found.origin is None:
    pytest.exit('chainrule is not installed: pip install ".[test]"', returncode=4)
if Path(_found.origin).resolve().is_relative_to(HERE.parent / "src"):
    pytest.exit(
        f"chainrule would be imported from the source tree ({_found.origin}). The tests are about the "
        'installed package: pip install ".[test]" (not editable), and take src off PYTHONPATH.',
        returncode=4,
    )

from tools import EMULATED  # noqa: E402

from chainrule import _core  # noqa: E402

_FORCED_ISA = os.environ.get("CHAINRULE_ISA")


# A shell without job control has what it starts in the background ignore Ctrl-C; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same cases on every run, and no clock in a verdict. CHAINRULE_EXAMPLES=2000 looks further.
hypothesis.settings.register_profile(
    "chainrule",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=int(os.environ.get("CHAINRULE_EXAMPLES", "5" if EMULATED else "25")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("chainrule")


@pytest.fixture
def tidy():
    """Leave the collector nothing of earlier tests: CPython loses a KeyboardInterrupt that comes in the callback of a
    weak reference, and a dead figure of matplotlib's has many of them."""
    gc.collect()


@pytest.fixture(params=[_FORCED_ISA] if _FORCED_ISA else _core.isas_supported())
def isa(request):
    """Run the test once on each instruction set that this machine has (one, if CHAINRULE_ISA names it)."""
    before = _core.isa()
    _core.set_isa(request.param)
    assert _core.isa() == request.param
    request.node.user_properties.append(("isa", request.param))
    yield request.param
    _core.set_isa(before)


# Instruction set -> number of tests that took the fixture `isa` and ran on it.
_ran: dict[str, int] = {}


def _offered():
    """The instruction sets that the processor offers, read where the library does not look; None if unknown."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return ["scalar", "neon"]  # which the architecture has
    if machine not in ("x86_64", "amd64"):
        return ["scalar"]
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = next((set(line.split()) for line in text.splitlines() if line.startswith("flags")), set())
    needed = {
        "avx2": {"avx2", "fma"},
        "avx512": {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"},
    }
    return ["scalar", *(name for name, wanted in needed.items() if wanted <= flags)]


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name == "isa":
                _ran[value] = _ran.get(value, 0) + 1


def pytest_report_header():
    offered = _offered()
    told = "not known" if offered is None else " ".join(offered)
    return f"instruction sets: chosen {_core.isa()}; usable {' '.join(_core.isas_supported())}; processor {told}"


def _missing(config):
    """The sets that the processor offers and a run of all tests left out. CHAINRULE_OFFERED says what an emulated
    processor offers, whose /proc/cpuinfo is the host's.
    """
    option = config.option
    last_failed = getattr(option, "lf", False)  # of a plugin that may be left out
    part = option.keyword or option.markexpr not in ("", "not long") or last_failed or option.collectonly
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not part
    told = os.environ.get("CHAINRULE_OFFERED")
    offered = told.split() if told else _offered()
    if not everything or _FORCED_ISA or offered is None:
        return []
    return [name for name in offered if name not in _ran]


def pytest_terminal_summary(terminalreporter, config):
    counts = ", ".join(f"{name} {n}" for name, n in _ran.items()) or "none asked for"
    terminalreporter.write_line(f"tests on each instruction set: {counts}")
    if _missing(config):
        terminalreporter.write_line(f"FAILED: nothing ran on {' '.join(_missing(config))}, which the processor offers")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and _missing(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


_GUARD = 64  # bytes before and after: one cache line, and the widest vector
_PATTERN = 0xA5


class Guarded:
    """An array inside a larger buffer whose other bytes hold a pattern.

    `array` starts `offset` elements after a 64-byte boundary, so every alignment can be had; rows are `ld`
    elements apart, and the gaps are guarded too. It is filled with NaN (integers with a large number), so
    an element that nobody wrote stands out.
    """

    def __init__(self, shape, dtype, offset=0, ld=None):
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        row = shape[-1] if ld is None else ld
        n_rows = int(np.prod(shape[:-1], dtype=int))
        self.buffer = np.full(3 * _GUARD + (offset + n_rows * row) * dtype.itemsize, _PATTERN, np.uint8)
        self._start = -self.buffer.ctypes.data % _GUARD + _GUARD + offset * dtype.itemsize
        inner = [dtype.itemsize]
        for size in reversed(shape[1:]):
            inner.insert(0, inner[0] * (row if len(inner) == 1 else size))
        self._geometry = {"shape": shape, "dtype": dtype, "offset": self._start, "strides": tuple(inner)}
        self.array = np.ndarray(buffer=self.buffer, **self._geometry)
        self.array[...] = np.nan if dtype.kind == "f" else np.iinfo(dtype).max // 3

    def check(self):
        """Nothing but the array has been written to."""
        expected = np.full_like(self.buffer, _PATTERN)
        np.ndarray(buffer=expected, **self._geometry)[...] = self.array
        touched = np.flatnonzero(self.buffer != expected)
        assert touched.size == 0, f"bytes {touched - self._start} (from the array's start) were written to"


@pytest.fixture
def guarded():
    """guarded(shape, dtype, offset=0, ld=None) -> Guarded; all of them are checked once more at the end."""
    made = []

    def make(shape, dtype, offset=0, ld=None):
        made.append(Guarded(shape, dtype, offset, ld))
        return made[-1]

    yield make
    for one in made:
        one.check()
