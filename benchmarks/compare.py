"""python -m benchmarks compare OLD.json NEW.json: what changed between two runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .report import time_text
from .rivals import OURS

# Facts that must agree for times to be compared; others explain a change, or are the change.
_SAME = ("cpu", "threads", "dtype", "numpy", "python")


def main(arguments: list[str]) -> int:
    """Print the comparison; the exit status is 0 unless a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    old, new = read(options.old), read(options.new)
    print("\n".join(lines(old, new)))
    return 0


def read(path: Path) -> dict[str, Any]:
    """A results.json of this version; anything else ends the program with a message."""
    from .run import FORMAT

    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: {error}") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise SystemExit(f"{path}: not a results.json of this version (format {FORMAT})")
    return report


def lines(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line a case that both have: our time, and the ratio to each rival, old and new."""
    text = [f"{label}  {_who(report)}" for label, report in (("old", old), ("new", new))]
    for key in (*_SAME, "isa", "blas"):
        values = [_fact(report, key) for report in (old, new)]
        if values[0] != values[1]:
            text.append(f"DIFFERS  {key}: {values[0]} -> {values[1]}")
    rivals = [name for name in old["rivals"] if name != OURS and name in new["rivals"]]
    names = "".join(f"{name:>20}" for name in rivals)
    text += ["", f"{'':<42}{'old':>10}{'new':>10}{'old/new':>9}  {'':<8}{names}"]
    before = {(e["group"], e["name"]): e for e in old["cases"] if e["results"]}
    shared = [e for e in new["cases"] if e["results"] and (e["group"], e["name"]) in before]
    for entry in shared:
        text.append(_line(before[entry["group"], entry["name"]], entry, rivals))
    text += [
        "",
        "faster, slower: the quartiles of the two runs do not overlap. Columns of rivals: ratio old -> new;",
        "a time that changed while the ratios did not is the machine's doing.",
    ]
    only = len(old["cases"]) + len(new["cases"]) - 2 * len(shared)
    return text + ([f"{only} cases are in one file only, or were not timed."] if only else [])


def _line(old: dict[str, Any], new: dict[str, Any], rivals: list[str]) -> str:
    a, b = old["results"][OURS]["ns"], new["results"][OURS]["ns"]
    word = "faster" if b["q3"] < a["q1"] else "slower" if b["q1"] > a["q3"] else ""
    cells = []
    for name in rivals:
        pair = [entry["results"].get(name) for entry in (old, new)]
        both = all(pair)
        cells.append(" -> ".join(f"{one['ratio']['median']:.2f}x" for one in pair) if both else "-")
    times = f"{time_text(a['median']):>10}{time_text(b['median']):>10}{a['median'] / b['median']:>8.2f}x"
    return f"{new['name']:<42}{times}  {word:<8}{''.join(f'{cell:>20}' for cell in cells)}"


def _who(report: dict[str, Any]) -> str:
    facts = report["facts"]
    ours = facts["chainrule"]
    return f"{facts['date']}  chainrule {ours['version']} commit {facts['commit'] or 'unknown'}  {facts['cpu']}"


def _fact(report: dict[str, Any], key: str) -> Any:
    facts = report["facts"]
    if key == "isa":
        return facts["chainrule"]["isa"]
    if key == "blas":
        return f"{facts['blas']['name']} {facts['blas']['version']} {facts['blas']['kernel']}"
    return facts[key]
