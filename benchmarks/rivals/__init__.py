"""The rivals: one adapter file each, and this list of them.

An adapter is a module with three functions:

    missing() -> str | None            why it cannot run here ("scikit-learn is not installed"), None if it can
    versions() -> dict[str, str]       of the libraries it runs
    prepare(case, dtype, threads) -> Run | None    the case made ready to be timed; None: it has no such thing

A new rival is a new file and one line in RIVALS. A rival that needs environment variables of its own runs in a
process of its own, see worker.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..cases import Case


class Run(Protocol):
    """A case made ready by a rival."""

    def reset(self) -> None:
        """Go back to the first state (weights, optimizer). Not timed; called before each block."""

    def repeat(self, calls: int) -> None:
        """Do the work so many times. This is what is timed."""

    def results(self) -> list[Any]:
        """The arrays that the reference, after the same calls, must have too (compared in the same order)."""


class Adapter(Protocol):
    def missing(self) -> str | None: ...
    def versions(self) -> dict[str, str]: ...
    def prepare(self, case: Case, dtype: Any, threads: int) -> Run | None: ...


@dataclass(frozen=True)
class Rival:
    """One column of the table."""

    name: str
    label: str  # in charts
    module: str  # in this package
    env: dict[str, str] = field(default_factory=dict)

    def adapter(self) -> Adapter:
        module: Any = importlib.import_module(f"{__package__}.{self.module}")
        return module  # type: ignore[no-any-return]


OURS = "chainrule"

RIVALS = {
    rival.name: rival
    for rival in (
        Rival(OURS, "chainrule", "chainrule"),
        Rival("numpy_textbook", "NumPy, textbook", "numpy_textbook"),
        Rival("numpy_careful", "NumPy, careful", "numpy_careful"),
        Rival(
            "numpy_avx512",
            "NumPy, careful, AVX-512 forced",
            "numpy_avx512",
            # Read by OpenBLAS, NumPy's usual BLAS, when it is loaded.
            {"OPENBLAS_CORETYPE": "SkylakeX"},
        ),
        Rival("scikit_learn", "scikit-learn", "scikit_learn"),
        Rival("torch", "PyTorch, eager", "torch"),
        Rival("torch_compiled", "PyTorch, compiled", "torch_compiled"),
        Rival("jax", "JAX, jit", "jax"),
        Rival("onnxruntime", "ONNX Runtime", "onnxruntime"),
    )
}


class Calls:
    """A Run that has no state: the same call again and again; its results are what the call returns."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.returned: Any = None

    def reset(self) -> None:
        pass

    def repeat(self, calls: int) -> None:
        call, returned = self.call, None
        for _ in range(calls):
            returned = call()
        self.returned = returned

    def results(self) -> list[Any]:
        return list(self.returned) if isinstance(self.returned, tuple) else [self.returned]


class Stateful:
    """A Run around a state that calls change: `make` gives a fresh one, with its call and its results."""

    def __init__(self, make: Callable[[], tuple[Callable[[], Any], Callable[[], list[Any]]]]) -> None:
        self.make = make
        self.reset()

    def reset(self) -> None:
        self.call, self.results = self.make()

    def repeat(self, calls: int) -> None:
        call = self.call
        for _ in range(calls):
            call()


class Steps:
    """A Run of training steps that cycles through batches, with nothing else in the loop.

    `fresh` gives a step function of (x, y) on a net as it was before training, and a function that returns its
    weights.
    """

    def __init__(
        self,
        fresh: Callable[[], tuple[Callable[[Any, Any], Any], Callable[[], list[Any]]]],
        batches: list[tuple[Any, Any]],
    ) -> None:
        self.fresh, self.batches = fresh, batches
        self.reset()

    def reset(self) -> None:
        self.step, self.results = self.fresh()

    def repeat(self, calls: int) -> None:
        step, batches = self.step, self.batches
        for _ in range(calls // len(batches)):
            for x, y in batches:
                step(x, y)
        for x, y in batches[: calls % len(batches)]:
            step(x, y)
