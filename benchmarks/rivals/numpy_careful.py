"""NumPy as fast as it goes: every result goes into an array made before, every net is chainrule.numpy_twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.numpy_twin import NumpyTwin

from .. import formulas, inputs
from ..cases import UPDATES, Case
from . import Calls, Run, Stateful, Steps
from ._numpy_out import KERNELS

Array = npt.NDArray[Any]


def missing() -> str | None:
    return None


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    if case.net is None:
        arrays = inputs.kernel(case, dtype)
        if case.op in UPDATES:
            return Stateful(lambda: _update(case.op, arrays["param"].copy(), arrays["grad"]))
        make = KERNELS.get(case.op)
        return None if make is None else Calls(make(**arrays))

    weights = inputs.weights(case, dtype)
    if case.op == "predict":
        return Calls(_predict(case, weights, inputs.rows(case, dtype, case.batch)[0]))

    def twin() -> NumpyTwin:
        assert case.net is not None
        rate = inputs.LEARNING_RATE[case.optimizer]
        activations = case.net.activations
        return NumpyTwin(weights, activations, case.net.loss, optimizer=case.optimizer, learning_rate=rate)

    if case.op == "train_step":

        def fresh() -> Any:
            net = twin()
            return net.train_step, net.get_weights

        return Steps(fresh, inputs.batches(case, dtype))

    x, y = inputs.rows(case, dtype, case.n_rows)
    order = np.empty(case.n_rows, np.int64)

    def training() -> Any:
        net = twin()
        epoch = 0

        def run_epoch() -> None:
            nonlocal epoch
            net.train_epoch(x, y, inputs.order(epoch, order), case.batch)
            epoch += 1

        return run_epoch, net.get_weights

    return Stateful(training)


def _predict(case: Case, weights: list[Array], x: Array) -> Callable[[], Array]:
    """The twin's forward pass, into arrays that are kept."""
    assert case.net is not None
    twin = NumpyTwin(weights, case.net.activations, case.net.loss)
    buffers = twin._buffers(len(x))
    return lambda: twin._forward(x, buffers)


def _update(op: str, w: Array, g: Array) -> tuple[Callable[[], Any], Callable[[], list[Array]]]:
    """One flat array of parameters; the rules that are more than a few lines are the twin's."""
    rate, momentum = formulas.UPDATE_RATE, formulas.MOMENTUM
    work, v = np.empty_like(w), np.zeros_like(w)

    def sgd() -> None:
        np.multiply(g, rate, out=work)
        np.subtract(w, work, out=w)

    def heavy_ball() -> None:
        np.multiply(g, rate, out=work)
        np.multiply(v, momentum, out=v)
        np.subtract(v, work, out=v)
        np.add(w, v, out=w)

    def nesterov() -> None:
        np.multiply(g, rate, out=work)
        np.subtract(w, work, out=w)
        np.multiply(v, momentum, out=v)
        np.subtract(v, work, out=v)
        np.multiply(v, momentum, out=work)
        np.add(w, work, out=w)

    short = {"sgd_update": sgd, "momentum_update": heavy_ball, "nesterov_update": nesterov}
    if op in short:
        return short[op], lambda: [w]
    twin = NumpyTwin(
        [w[np.newaxis], np.empty(0, w.dtype)], ["identity"], "squared_error",
        optimizer=op.removesuffix("_update"), learning_rate=rate,
        weight_decay=formulas.DECAY if op == "adamw_update" else 0.0,
    )  # fmt: skip
    twin.gradients[:] = g

    def update() -> None:
        twin.steps += 1
        twin._update()

    return update, lambda: [twin.parameters[: w.size]]
