"""python -m benchmarks: see README.md here, or --help."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from . import cases as all_cases
from .rivals import OURS, RIVALS

DEFAULT_OUT = Path(__file__).parent / "results"

# Each thread pool of a library reads one of these when it is loaded, so they are set before NumPy is imported.
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_NUM_THREADS",
    "CHAINRULE_NUM_THREADS",
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Kernels and training steps of chainrule against rivals; table, JSON, charts.",
        epilog="python -m benchmarks compare OLD.json NEW.json: what changed between two runs; "
        "summary RESULTS.json: Markdown tables; processors: what a second thread can bring here.",
    )
    add = top.add_argument
    add("--quick", action="store_true", help="small cases, few rounds: about half a minute")
    add("--cases", type=_pattern, metavar="PATTERN", help='regular expression on "group: name", see --list')
    add("--random", type=_positive, metavar="N", help="instead: cases of N random networks")
    add("--seed", type=int, default=0, help="of --random (default 0)")
    add("--list", action="store_true", help="print the cases and stop")
    add("--rivals", metavar="NAMES", help=f"comma-separated, from {', '.join(RIVALS)}")
    add("--threads", type=_positive, default=1, help="for every library (default 1)")
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--clock", choices=("wall", "cpu"), default="wall", help="elapsed time, or processor time (one thread)")
    add("--rounds", type=_positive, help="most rounds of blocks (default 15, quick 5)")
    add("--block-ms", type=float, help="shortest block (default 20, quick 10)")
    add("--processes", choices=("one", "each"), default="one", help="rivals in one process, or one for each")
    add("--no-pin", dest="pin", action="store_false", help="do not pin to as many CPUs as threads")
    add("--no-peak", dest="peak", action="store_false", help="do not measure the peak of multiply-adds")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="for the results (default benchmarks/results)")
    return top


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _rival_names(text: str | None) -> list[str]:
    """The rivals asked for, ourselves first, in the order of the list."""
    if text is None:
        return list(RIVALS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in RIVALS:
            raise SystemExit(f"--rivals: there is no {name!r}; choices: {', '.join(RIVALS)}")
    return [name for name in RIVALS if name == OURS or name in names]


def _prepare_process(threads: int, pin: bool) -> bool:
    """Thread settings and CPUs, for this process and those it starts; whether it is pinned."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    if not pin or not hasattr(os, "sched_setaffinity"):
        return False
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise SystemExit(f"--threads {threads}: this process may use {len(allowed)} CPUs (--no-pin to go on)")
    os.sched_setaffinity(0, allowed[-threads:])  # the last ones: interrupts tend to go to the first
    return True


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 if a result was wrong."""
    if arguments[:1] == ["compare"]:
        from .compare import main as compare

        return compare(arguments[1:])
    if arguments[:1] == ["summary"]:
        from .summary import main as summary

        return summary(arguments[1:])
    if arguments[:1] == ["processors"]:
        from .processors import main as processors

        return processors(arguments[1:])
    top = parser()
    options = top.parse_args(arguments)
    if options.clock == "cpu" and options.threads > 1:
        top.error("--clock cpu counts the work of all threads: it needs --threads 1")
    drawn = all_cases.random_cases(options.random, options.seed) if options.random else all_cases.all_cases()
    cases = all_cases.select(drawn, options.cases, options.quick)
    if options.list:
        print("\n".join(f"{case.group}: {case.name}" for case in cases))
        return 0
    if not cases:
        top.error(f"--cases {options.cases!r} matches none of the cases (see --list)")
    names = _rival_names(options.rivals)
    pinned = _prepare_process(options.threads, options.pin)
    options.out.mkdir(parents=True, exist_ok=True)
    return _measure(cases, names, options, arguments, pinned)


def _measure(
    cases: list[all_cases.Case], names: list[str], options: argparse.Namespace, arguments: list[str], pinned: bool
) -> int:
    # Imported now, for these import NumPy.
    from . import report, run

    quick = options.quick
    settings = run.Settings(
        threads=options.threads,
        dtype=options.dtype,
        clock=options.clock,
        rounds=options.rounds or (5 if quick else 15),
        least_rounds=min(options.rounds or 15, 3 if quick else 5),
        block_ms=options.block_ms or (10.0 if quick else 20.0),
        case_seconds=0.6 if quick else 20.0,
        peak=options.peak,
        processes=options.processes,
        quick=quick,
    )
    lines: list[str] = []
    state: dict[str, Any] = {"group": None, "rivals": []}

    def tell(new: list[str]) -> None:
        lines.extend(new)
        print("\n".join(new), flush=True)

    def begin(result: dict[str, Any]) -> None:
        result["settings"] |= {"pinned": pinned, "arguments": arguments}
        state["rivals"] = list(result["rivals"])
        tell(report.header(result))

    def show(entry: dict[str, Any]) -> None:
        if entry["group"] != state["group"]:
            state["group"] = entry["group"]
            tell(report.group_header(entry["group"], state["rivals"]))
        tell(report.row(entry, state["rivals"]))

    result = run.run(cases, names, settings, begin=begin, show=show)
    tell(report.footer(result))
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "table.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = ["results.json", "table.txt"]
    try:
        from .chart import draw
    except ImportError:
        print('no charts: they need matplotlib (pip install ".[bench]")')
    else:
        written += draw(result, options.out)
    print(f"wrote {', '.join(written)} to {options.out}")
    return 1 if any(entry["wrong"] for entry in result["cases"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
