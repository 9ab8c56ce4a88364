"""One line on the terminal while a model trains."""

import shutil
import sys
import time
from collections.abc import Mapping

from ._checks import integer


def resolve_verbose(verbose: str | int) -> int:
    """Turn the `verbose` argument into 0 (nothing), 1 (a live line) or 2 (a line an epoch)."""
    if isinstance(verbose, str):
        if verbose != "auto":
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        return 1 if _is_terminal() else 0
    if isinstance(verbose, bool):
        return int(verbose)
    return integer(verbose, "verbose", at_least=0, at_most=2)


class Progress:
    """Prints an epoch's figures; with verbose 1 on a terminal, the line is rewritten as they come."""

    _EVERY = 0.1  # seconds between rewrites: faster ones cannot be read

    def __init__(self, verbose: int, epochs: int, n_steps: int) -> None:
        self._verbose, self._epochs, self._n_steps = verbose, epochs, n_steps
        self._live = verbose == 1 and _is_terminal()
        self._shown = 0.0
        self._width, self._rest = 0, ""

    @property
    def is_due(self) -> bool:
        """Whether a step should be shown."""
        return self._live and time.monotonic() - self._shown > self._EVERY

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Show the mean loss of the epoch's first `step` batches."""
        self._shown = time.monotonic()
        self._rewrite(f"{self._head(epoch)}  step {step}/{self._n_steps}  loss {loss:.4g}")

    def epoch(self, epoch: int, logs: Mapping[str, float], seconds: float) -> None:
        """Show the figures of a finished epoch."""
        if not self._verbose:
            return
        figures = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        line = f"{self._head(epoch)}  {figures}  {_duration(seconds)}"
        if self._live:
            self._shown = time.monotonic()
            self._rewrite(line)
            # The last epoch's line stays; in between, one line is enough.
        else:
            print(line, flush=True)

    def close(self) -> None:
        """Leave the line."""
        if self._width:
            sys.stdout.write(self._rest + "\n")
            sys.stdout.flush()
            self._width = 0

    def _head(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self._epochs}"

    def _rewrite(self, line: str) -> None:
        # A wrapped line could not be written over; what the last one leaves out follows at the end.
        shown = line[: max(1, shutil.get_terminal_size().columns - 1)]
        sys.stdout.write("\r" + shown.ljust(self._width))
        sys.stdout.flush()
        self._width, self._rest = len(shown), line[len(shown) :]


def _is_terminal() -> bool:
    stream = sys.stdout
    return stream is not None and hasattr(stream, "isatty") and stream.isatty()


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
