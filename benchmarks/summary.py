"""python -m benchmarks summary RESULTS.json: the run as Markdown tables, one a group of cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .cases import GROUPS
from .compare import read
from .report import time_text
from .rivals import OURS, RIVALS

# Columns of their own; the fastest of the others shares one.
_COLUMNS = ("numpy_careful", "numpy_avx512")


def main(arguments: list[str]) -> int:
    """Print the tables; the exit status is 0 unless the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks summary")
    parser.add_argument("results", type=Path)
    report = read(parser.parse_args(arguments).results)
    print("\n".join(lines(report)))
    return 0


def lines(report: dict[str, Any]) -> list[str]:
    """Every case with a time of ours: the time, its share of the peak, and how many times as long the others take.

    Then all cases together, by rival.
    """
    text: list[str] = []
    for group, title in GROUPS.items():
        entries = [entry for entry in report["cases"] if entry["group"] == group and OURS in entry["results"]]
        if not entries:
            continue
        own = [name for name in _COLUMNS if any(name in entry["results"] for entry in entries)]
        head = ["case", "time", "of peak", *(RIVALS[name].label for name in own), "fastest of the others"]
        text += [f"**{title[0].upper()}{title[1:]}**", "", f"| {' | '.join(head)} |"]
        text += [f"| --- {'| ---: ' * (len(head) - 2)}| --- |"]
        text += [f"| {' | '.join(_row(entry, own))} |" for entry in entries] + [""]
    return text + _overall(report)


def _overall(report: dict[str, Any]) -> list[str]:
    """Of each rival: how many cases it has, in how many it is ahead, and the ratios from the lowest to the highest."""
    text = ["**All cases**", "", "| rival | cases | ahead in | lowest | tenth | median | highest |"]
    text += [f"| --- {'| ---: ' * 6}|"]
    for name, rival in RIVALS.items():
        ratios = sorted(
            entry["results"][name]["ratio"]["median"] for entry in report["cases"] if name in entry["results"]
        )
        if name == OURS or not ratios:
            continue
        picked = (ratios[0], ratios[len(ratios) // 10], ratios[len(ratios) // 2], ratios[-1])
        ahead = sum(ratio < 1 for ratio in ratios)
        text.append(f"| {rival.label} | {len(ratios)} | {ahead} | {' | '.join(f'{ratio:.2f}x' for ratio in picked)} |")
    return text


def _row(entry: dict[str, Any], own: list[str]) -> list[str]:
    results = entry["results"]
    ns = results[OURS]["ns"]["median"]
    peak = entry["peak_gflops"]
    share = f"{entry['work'] / ns / peak:.0%}" if peak and entry["work_unit"] == "FLOP" else ""
    ratios = {name: result["ratio"]["median"] for name, result in results.items() if name != OURS}
    others = {name: ratio for name, ratio in ratios.items() if name not in _COLUMNS}
    best = min(others, key=lambda name: others[name], default=None)
    return [
        entry["name"], time_text(ns), share, *(f"{ratios[name]:.2f}x" if name in ratios else "" for name in own),
        "" if best is None else f"{others[best]:.2f}x {RIVALS[best].label}",
    ]  # fmt: skip
