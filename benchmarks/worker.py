"""A rival at work: in this process, or in one of its own when it needs its own environment variables.

    python -m benchmarks.worker RIVAL DTYPE THREADS

is that process: pickled (method, arguments) on standard input, pickled (ok, value) on standard output.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import subprocess
import sys
import time
from typing import IO, Any, Protocol

from .cases import Case
from .rivals import RIVALS, Rival, Run


class Player(Protocol):
    """A rival, wherever it runs."""

    def missing(self) -> str | None: ...
    def versions(self) -> dict[str, str]: ...
    def prepare(self, case: Case) -> bool: ...
    def results(self) -> list[Any]: ...
    def measure(self, calls: int) -> tuple[int, int]: ...
    def forget(self) -> None: ...
    def close(self) -> None: ...


class Ended(RuntimeError):
    """The process of a rival is no more: killed, it may be, for want of memory."""

    def __init__(self, rival: str, status: int) -> None:
        super().__init__(f"its process ended with status {status}")
        self.rival = rival


class Local:
    """A rival in this process."""

    def __init__(self, rival: Rival, dtype: str, threads: int) -> None:
        import numpy as np  # here: cases and rivals are listed without NumPy

        self._adapter, self._dtype, self._threads = rival.adapter(), np.dtype(dtype), threads
        self._case: Case | None = None
        self._run: Run | None = None

    def missing(self) -> str | None:
        """Why it cannot run here, None if it can."""
        return self._adapter.missing()

    def versions(self) -> dict[str, str]:
        """Of the libraries it runs."""
        return self._adapter.versions()

    def prepare(self, case: Case) -> bool:
        """Make a case ready, in place of the one before; False if the rival has no such thing."""
        self._run = None
        self._case, self._run = case, self._adapter.prepare(case, self._dtype, self._threads)
        return self._run is not None

    def results(self) -> list[Any]:
        """What the checked calls give."""
        from .check import results

        assert self._run is not None and self._case is not None
        return results(self._run, self._case)

    def measure(self, calls: int) -> tuple[int, int]:
        """One block of so many calls: nanoseconds by the clock, and of processor time.

        It begins with the first state and one call that is not timed, because a fresh optimizer's memory is given out
        only when that touches it (4096-4096-4096, Adam: 28 of 855 ms).

        Processor time is that of all threads of the process, so that a rival whose threads are not the calling
        one cannot hide its work.
        """
        assert self._run is not None
        self._run.reset()
        self._run.repeat(1)
        gc.disable()
        try:
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            self._run.repeat(calls)
            return time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        finally:
            gc.enable()

    def forget(self) -> None:
        """Let go of the case: the next ones may need the memory."""
        self._run = None
        gc.collect()

    def close(self) -> None:
        """Forget the case."""
        self._run = None


class Remote:
    """A rival in a process of its own; it sleeps while others are measured."""

    def __init__(self, rival: Rival, dtype: str, threads: int) -> None:
        self._name = rival.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", rival.name, dtype, str(threads)],
            env={**os.environ, **rival.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _ask(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            ok, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            raise Ended(self._name, self._process.wait()) from None
        if not ok:
            raise RuntimeError(f"{self._name}: {value}")
        return value

    def missing(self) -> str | None:
        return self._ask("missing")  # type: ignore[no-any-return]

    def versions(self) -> dict[str, str]:
        return self._ask("versions")  # type: ignore[no-any-return]

    def prepare(self, case: Case) -> bool:
        return self._ask("prepare", case)  # type: ignore[no-any-return]

    def results(self) -> list[Any]:
        return self._ask("results")  # type: ignore[no-any-return]

    def measure(self, calls: int) -> tuple[int, int]:
        return self._ask("measure", calls)  # type: ignore[no-any-return]

    def forget(self) -> None:
        self._ask("forget")

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of a process that has ended
            self._process.stdin.close()
        self._process.wait()


def start(rival: Rival, dtype: str, threads: int, *, own_process: bool) -> Player:
    """Bring a rival in; one with environment variables of its own always gets its own process."""
    kind = Remote if own_process or rival.env else Local
    return kind(rival, dtype, threads)


def _serve(player: Local, requests: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            method, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = True, getattr(player, method)(*arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers)
        answers.flush()


def main() -> None:
    """Serve one rival to the process that started this one."""
    name, dtype, threads = sys.argv[1:]
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(Local(RIVALS[name], dtype, int(threads)), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
