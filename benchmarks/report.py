"""The table, line by line as cases are done, and the words above and below it."""

from __future__ import annotations

from typing import Any

from .cases import GROUPS
from .facts import blas_warning
from .rivals import OURS

_NAME = 42
_COLUMN = 24  # of a rival: time, ratio, spread of the ratio


def time_text(ns: float) -> str:
    """Three digits with a fitting unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{_three(ns / size)} {unit}"
    return f"{_three(ns)} ns"


def _three(value: float) -> str:
    """About three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def header(report: dict[str, Any]) -> list[str]:
    """What the figures depend on."""
    facts, settings = report["facts"], report["settings"]
    ours, blas = facts["chainrule"], facts["blas"]
    cpus = "not pinned" if not settings["pinned"] else f"pinned to {', '.join(map(str, facts['cpus']))}"
    lines = [
        f"processor   {facts['cpu']}, load {facts['load_at_start']} at the start",
        f"chainrule   {ours['version']}, {ours['isa']}, {ours['compiler']}, commit {facts['commit'] or 'unknown'}",
        f"NumPy       {facts['numpy']}, {blas['name']} {blas['version']}, kernels {blas['kernel']}",
        f"threads     {facts['threads']} for all; CPUs {cpus}; {facts['dtype']}",
        f"clock       {'elapsed time' if settings['clock'] == 'wall' else 'processor time'}; blocks of "
        f"{settings['block_ms']:g} ms or one call, interleaved, up to {settings['rounds']} rounds",
        f"peak        {facts['peak']}",
    ]
    lines += [f"skipped     {name}: {reason}" for name, reason in report["skipped"].items()]
    warning = blas_warning(facts)
    return [*lines, *(["", warning] if warning else [])]


def group_header(group: str, rivals: list[str]) -> list[str]:
    """Title and column names of a group of cases."""
    names = "".join(f"{name:>{_COLUMN}}" for name in rivals if name != OURS)
    return ["", GROUPS[group], f"{'':<{_NAME}}{OURS:>10}{'spread':>7}{'rate':>15}{'peak':>6}{names}"]


def row(entry: dict[str, Any], rivals: list[str]) -> list[str]:
    """One case: our time, the distance of its quartiles, rate, share of peak; each rival's time and ratio."""
    results = entry["results"]
    lines = []
    if results:
        ours = results[OURS]["ns"]
        rate = entry["work"] / ours["median"]  # per ns
        rate_text = f"{_three(rate)} {'GFLOP/s' if entry['work_unit'] == 'FLOP' else 'el/ns'}"
        share = f"{100 * rate / entry['peak_gflops']:.0f}%" if entry["peak_gflops"] else ""
        spread = f"{100 * (ours['q3'] - ours['q1']) / ours['median']:.0f}%"
        cells = "".join(f"{_cell(results.get(name)):>{_COLUMN}}" for name in rivals if name != OURS)
        median = time_text(ours["median"])
        lines.append(f"{entry['name']:<{_NAME}}{median:>10}{spread:>7}{rate_text:>15}{share:>6}{cells}")
    else:
        lines.append(f"{entry['name']:<{_NAME}} not timed")
    lines += [f"    NO RIGHT RESULT of {name}: {what}" for name, what in entry["wrong"].items()]
    return lines


def _cell(result: dict[str, Any] | None) -> str:
    """Time, ratio to ours, and the distance of the ratio's quartiles as a part of its median."""
    if result is None:
        return "-"
    ratio = result["ratio"]
    spread = f"{100 * (ratio['q3'] - ratio['q1']) / ratio['median']:.0f}%"
    return f"{time_text(result['ns']['median'])}{_three(ratio['median']):>8}x{spread:>5}"


def footer(report: dict[str, Any]) -> list[str]:
    """How to read it, and what went wrong."""
    threads = report["facts"]["threads"]
    lines = [
        "",
        "Times are medians over the rounds. A rival's columns: its time, that time over ours (above 1 chainrule is",
        "faster), and the spread of this ratio. Spread: distance of the quartiles as a part of the median.",
    ]
    # A half, for the system counts the time of threads on other CPUs in ticks of some milliseconds.
    greedy = {
        name
        for entry in report["cases"]
        for name, result in entry["results"].items()
        if result["cores"] > threads + 0.5
    }
    lines += [f"{name} kept more than {threads} CPU busy in some case." for name in sorted(greedy)]
    wrong = [f"{entry['name']}: {name}" for entry in report["cases"] for name in entry["wrong"]]
    if wrong:
        lines.append(f"No right result, not timed: {'; '.join(wrong)}")
    return lines
