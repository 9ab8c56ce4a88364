"""The measurement: bring in the rivals; for each case prepare, check, calibrate, interleave, summarise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import facts, worker
from .cases import Case
from .check import Reference
from .peak import Peak
from .rivals import OURS, RIVALS
from .timing import LONG_BLOCK, REST, Measured, Series, calibrate, interleave, ratios, rounds_within, summarize

FORMAT = 1  # of the JSON
PEAK = "peak"


@dataclass(frozen=True)
class Settings:
    """The knobs of README.md."""

    threads: int
    dtype: str
    clock: str
    rounds: int
    least_rounds: int
    block_ms: float
    case_seconds: float
    peak: bool
    processes: str
    quick: bool


class Room:
    """The rivals that are here, and what they are measured with."""

    def __init__(self, names: list[str], settings: Settings) -> None:
        self.settings = settings
        self.players: dict[str, worker.Player] = {}
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        try:
            for name in names:
                self._bring_in(name)
        except BaseException:
            self.close()
            raise
        self.peak, peak_note = None, "not measured: --no-peak"
        if settings.peak:
            try:
                self.peak = Peak(self.versions[OURS]["isa"], settings.dtype, settings.threads)
                peak_note = self.peak.note
            except RuntimeError as error:
                peak_note = str(error)
        self.facts = facts.collect(settings.threads, settings.dtype, peak_note)

    def _bring_in(self, name: str) -> None:
        settings = self.settings
        player = worker.start(RIVALS[name], settings.dtype, settings.threads, own_process=settings.processes == "each")
        reason = player.missing()
        if reason is not None:
            self.skipped[name] = reason
            player.close()
            return
        self.players[name] = player
        self.versions[name] = player.versions()

    def close(self) -> None:
        """End the processes of the rivals."""
        for player in self.players.values():
            player.close()

    def measure(self, case: Case) -> dict[str, Any]:
        """One case: its entry in the JSON."""
        wrong: dict[str, str] = {}
        errors: dict[str, float] = {}
        right: dict[str, Measured] = {}
        reference = Reference(case, np.dtype(self.settings.dtype))
        for name, player in list(self.players.items()):
            try:
                player.forget()
            except worker.Ended:
                self._bring_in(name)
        for name, player in list(self.players.items()):
            try:
                if not player.prepare(case):
                    continue
                verdict = reference.judge(player.results())
            except worker.Ended as error:
                wrong[name] = str(error)
                self._bring_in(name)
                continue
            except Exception as error:  # one rival's failure must not cost the results of the others
                wrong[name] = f"{type(error).__name__}: {error}"
                continue
            errors[name] = verdict.part
            if verdict.right:
                right[name] = player
            else:
                wrong[name] = verdict.what
        del reference
        entry = {
            "name": case.name, "group": case.group, "unit": case.unit, "work": case.work[0],
            "work_unit": case.work[1], "error_over_bound": errors, "wrong": wrong,
        }  # fmt: skip
        while True:
            if OURS not in right:  # then there is nothing to compare with
                right = {}
            try:
                entry.update(self._times(case, right))
                return entry
            except worker.Ended as error:  # again, without it
                wrong[error.rival] = str(error)
                del right[error.rival]
                self._bring_in(error.rival)

    def _times(self, case: Case, contenders: dict[str, Measured]) -> dict[str, Any]:
        settings = self.settings
        if self.peak is not None and case.work[1] == "FLOP" and contenders:
            contenders = {**contenders, PEAK: self.peak}
        calls, blocks = {}, []
        for name, contender in contenders.items():
            # The peak too: a shorter block would dodge the interruptions that fall on all others.
            calls[name], block_ns = calibrate(contender, settings.block_ms * 1e6)
            blocks.append(block_ns)
        rest = REST if settings.threads > 1 or max(blocks, default=0.0) > LONG_BLOCK * 1e9 else 0.0
        blocks = [block_ns + rest * 1e9 for block_ns in blocks]
        rounds = rounds_within(settings.case_seconds, blocks, settings.rounds, settings.least_rounds)
        series = interleave(contenders, calls, rounds, rest)
        peak = None
        if PEAK in series and self.peak is not None:
            times = series.pop(PEAK).times(settings.clock)
            peak = self.peak.flops / summarize(times).median  # GFLOP/s
        ours = series[OURS].times(settings.clock) if series else []
        results = {name: _figures(one, ours, case, settings.clock) for name, one in series.items()}
        return {"rounds": rounds, "peak_gflops": peak, "results": results}


def _figures(series: Series, ours: list[float], case: Case, clock: str) -> dict[str, Any]:
    """Time and ratio of one rival in one case; times are in ns a unit (call, step or epoch)."""
    wall = [time / case.parts for time in series.wall]
    cpu = [time / case.parts for time in series.cpu]
    time = summarize(wall if clock == "wall" else cpu)
    ratio = ratios(series.times(clock), ours)
    return {
        "calls": series.calls,
        "ns": asdict(time),
        "ratio": asdict(ratio),
        "cores": sum(cpu) / sum(wall),
        "wall_ns": [round(value, 3) for value in wall],
        "cpu_ns": [round(value, 3) for value in cpu],
    }


def run(
    cases: list[Case], names: list[str], settings: Settings, *,
    begin: Callable[[dict[str, Any]], None], show: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Measure; `begin` gets the report without cases, `show` each case's entry when it is done."""
    room = Room(names, settings)
    try:
        report: dict[str, Any] = {
            "format": FORMAT,
            "facts": room.facts,
            "settings": asdict(settings),
            "rivals": room.versions,
            "skipped": room.skipped,
            "cases": [],
        }
        begin(report)
        for case in cases:
            report["cases"].append(room.measure(case))
            show(report["cases"][-1])
        report["facts"]["load_at_end"] = facts.load()
    finally:
        room.close()
    return report
