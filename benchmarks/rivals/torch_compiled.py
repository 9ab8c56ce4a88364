"""PyTorch with torch.compile around model and loss: forward and backward become one compiled graph each.

Training steps only. Compiling takes from seconds to a minute a case; it happens in the check, before any timing.
"""

from __future__ import annotations

import importlib.util
import shutil
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import inputs
from ..cases import Case
from . import Run, Steps, torch
from .torch import versions

__all__ = ["missing", "prepare", "versions"]


def missing() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    return None if shutil.which("g++") else "torch.compile needs a C++ compiler (g++)"


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    if case.op != "train_step":
        return None
    import torch as library

    library.set_num_threads(threads)
    library.compiler.reset()  # or the ninth case meets the limit of recompilations, and runs eagerly
    model, optimizer, loss_of = torch.parts(case, dtype)
    compiled = library.compile(lambda x, y: loss_of(model(x), y))
    weights = [library.from_numpy(np.ascontiguousarray(w.T)) for w in inputs.weights(case, dtype)]

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        compiled(x, y).backward()
        optimizer.step()

    def results() -> list[npt.NDArray[Any]]:
        return torch.weights_of(model)

    def fresh() -> Any:
        """The first weights again, in the net that was compiled."""
        with library.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        optimizer.state.clear()
        return step, results

    batches = [(library.from_numpy(x), torch.targets(y)) for x, y in inputs.batches(case, dtype)]
    return Steps(fresh, batches)
