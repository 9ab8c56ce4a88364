"""NumPy as a textbook or a tutorial writes it: a new array for every operation. In float64 it is the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import formulas, inputs
from ..cases import UPDATES, Case
from . import Calls, Run, Stateful, Steps

Array = npt.NDArray[Any]


def missing() -> str | None:
    return None


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    """The case on inputs of this dtype."""
    if case.op in formulas.NOT_IN_NUMPY:
        return None
    return prepared(case, dtype, dtype)


def prepared(case: Case, given: np.dtype[Any], dtype: np.dtype[Any]) -> Run:
    """The case computed in `dtype`, on inputs that were made in the dtype `given`."""

    def cast(array: Array) -> Array:
        return array.astype(dtype) if array.dtype.kind == "f" else array

    if case.net is None:
        arrays = {name: cast(array) for name, array in inputs.kernel(case, given).items()}
        if case.op not in UPDATES:
            function = formulas.KERNELS[case.op]
            return Calls(lambda: function(*arrays.values()))

        def update() -> Any:
            parameters = [arrays["param"].copy()]
            optimizer = formulas.optimizer(case.op, parameters)
            return lambda: optimizer.update(parameters, [arrays["grad"]]), lambda: parameters

        return Stateful(update)

    weights = [cast(array) for array in inputs.weights(case, given)]
    if case.op == "predict":
        x = cast(inputs.rows(case, given, case.batch)[0])
        net = Net(case, weights)
        return Calls(lambda: net.forward(x)[-1])
    if case.op == "train_step":
        batches = [(cast(x), cast(y)) for x, y in inputs.batches(case, given)]

        def fresh() -> Any:
            net = Net(case, weights)
            return net.train_step, lambda: net.weights

        return Steps(fresh, batches)

    x, y = map(cast, inputs.rows(case, given, case.n_rows))
    order = np.empty(case.n_rows, np.int64)

    def training() -> Any:
        net = Net(case, weights)
        epoch = 0

        def run_epoch() -> None:
            nonlocal epoch
            rows = inputs.order(epoch, order)
            for start in range(0, len(rows), case.batch):
                batch = rows[start : start + case.batch]
                net.train_step(x[batch], y[batch])
            epoch += 1

        return run_epoch, lambda: net.weights

    return Stateful(training)


class Net:
    """A dense network with backpropagation, formula by formula."""

    def __init__(self, case: Case, weights: list[Array]) -> None:
        assert case.net is not None
        self.weights = [array.copy() for array in weights]
        self.activations = case.net.activations
        self.loss = formulas.LOSSES[case.net.loss]
        if case.optimizer:
            rate = inputs.LEARNING_RATE[case.optimizer]
            self.optimizer = formulas.optimizer(case.optimizer, self.weights, rate)

    def forward(self, x: Array) -> list[Array]:
        """[x, a_1, a_2, ...]."""
        outputs = [x]
        for weight, bias, name in zip(self.weights[::2], self.weights[1::2], self.activations, strict=True):
            outputs.append(formulas.FORWARD[name](outputs[-1] @ weight + bias))
        return outputs

    def train_step(self, x: Array, y: Array) -> float:
        outputs = self.forward(x)
        loss, da = self.loss(outputs[-1], y)
        gradients: list[Array] = []
        for layer in range(len(self.activations) - 1, -1, -1):
            dz = formulas.BACKWARD[self.activations[layer]](da, outputs[layer + 1])
            gradients = [outputs[layer].T @ dz, dz.sum(axis=0), *gradients]
            if layer:
                da = dz @ self.weights[2 * layer].T
        self.optimizer.update(self.weights, gradients)
        return loss
