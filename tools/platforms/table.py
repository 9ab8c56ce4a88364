"""The table that crosscheck prints: one row for each thing built or run, with a reason where it was not."""

import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Skip(Exception):
    """This cannot be done here; the message says why."""


class Failure(Exception):
    """The product, or a step on the way to it, failed."""


@dataclass
class Row:
    """One line of the table. Inside its `with` block set `result`, which figures go into the last column."""

    platform: str
    built: str = ""
    tested: str = ""
    by: str = ""
    status: str = ""
    result: str = ""
    seconds: float = 0.0
    _table: "Table | None" = field(default=None, repr=False)

    def __enter__(self) -> "Row":
        self.seconds = -time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Skips and failures end here: the next row may still say something."""
        self.seconds += time.monotonic()
        if error is not None and not isinstance(error, Exception):
            return False  # Ctrl-C
        if isinstance(error, Skip):
            self.status, self.result = SKIPPED, str(error)
        elif error is not None:
            self.status = FAILED
            self.result = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            if self._table is not None and not isinstance(error, Failure):
                self._table.note(self.platform, "".join(traceback.format_exception(error)))
        else:
            self.status = PASSED
        if self._table is not None:
            self._table.add(self)
        return True

    @property
    def passed(self) -> bool:
        return self.status == PASSED


class Table:
    """All rows; families of platforms add theirs from several threads."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.rows: list[Row] = []
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def row(self, platform: str, *, built: str = "", tested: str = "", by: str = "") -> Row:
        return Row(platform, built, tested, by, _table=self)

    def add(self, row: Row) -> None:
        with self._lock:
            self.rows.append(row)
            what = ", ".join(filter(None, [row.platform, row.tested, row.by]))
            print(f"[{time.monotonic() - self._start:5.0f} s] {row.status}: {what}: {row.result}", flush=True)

    def note(self, name: str, text: str) -> None:
        """Text that is too long for the table."""
        with self._lock, (self.logs / "errors.log").open("a", encoding="utf-8") as file:
            file.write(f"{name}\n{text}\n")

    def failures(self) -> int:
        return sum(row.status == FAILED for row in self.rows)

    def markdown(self) -> str:
        titles = ["platform", "built with", "tested", "with what", "result", "s"]
        lines = [titles, ["---"] * (len(titles) - 1) + ["---:"]]
        for row in sorted(self.rows, key=lambda row: row.platform):
            result = f"{row.status}: {row.result}" if row.result else row.status
            cells = [row.platform, row.built, row.tested, row.by, result, f"{row.seconds:.0f}"]
            lines.append([" ".join(cell.split()).replace("|", "/") for cell in cells])
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def summary(self) -> list[str]:
        counts = {status: sum(row.status == status for row in self.rows) for status in (PASSED, FAILED, SKIPPED)}
        lines = [
            f"{row.status}: {row.platform}: {row.tested or row.built}: {row.result}"
            for row in self.rows
            if row.status != PASSED
        ]
        closing = ", ".join(f"{count} {status.lower()}" for status, count in counts.items())
        return [*lines, f"{closing} in {time.monotonic() - self._start:.0f} s; logs and wheels: {self.logs.parent}"]
