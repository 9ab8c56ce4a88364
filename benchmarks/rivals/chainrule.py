"""Ourselves, through the public names only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import chainrule as cr
from chainrule import kernels

from .. import formulas, inputs
from ..cases import UPDATES, Case
from . import Calls, Run, Stateful, Steps

Array = npt.NDArray[Any]


def missing() -> str | None:
    return None


def versions() -> dict[str, str]:
    facts = cr.show_config("dict") or {}
    return {"chainrule": facts["version"], "isa": facts["isa"], "compiler": facts["compiler"]}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    cr.set_num_threads(threads)
    if case.net is None:
        arrays = inputs.kernel(case, dtype)
        if case.op in UPDATES:
            return Stateful(lambda: _update(case.op, arrays["param"].copy(), arrays["grad"]))
        return Calls(_kernel(case, arrays))
    if case.op == "predict":
        return _Predict(case, dtype)

    # One model for all: setting the weights and compiling again is a fresh start.
    model, weights = _model(case, dtype), inputs.weights(case, dtype)

    def restart() -> None:
        assert case.net is not None
        model.set_weights(weights)
        rate = inputs.LEARNING_RATE[case.optimizer]
        model.compile({"sgd": cr.SGD, "adam": cr.Adam}[case.optimizer](rate), case.net.loss)

    if case.op == "train_step":

        def fresh() -> Any:
            restart()
            return model.train_step, model.get_weights

        return Steps(fresh, inputs.batches(case, dtype))
    return _Fit(case, dtype, model, restart)


def _model(case: Case, dtype: np.dtype[Any]) -> cr.Sequential:
    assert case.net is not None
    layers = [
        cr.Dense(width, activation) for width, activation in zip(case.net.widths[1:], case.net.activations, strict=True)
    ]
    model = cr.Sequential(layers, seed=inputs.SEED, dtype=dtype.name)
    model.build(case.net.widths[0])
    model.set_weights(inputs.weights(case, dtype))
    return model


class _Predict:
    """model(x, out=out)."""

    def __init__(self, case: Case, dtype: np.dtype[Any]) -> None:
        self.model = _model(case, dtype)
        self.x = inputs.rows(case, dtype, case.batch)[0]
        assert case.net is not None
        self.out = np.empty((case.batch, case.net.widths[-1]), dtype)

    def reset(self) -> None:
        self.out.fill(np.nan)

    def repeat(self, calls: int) -> None:
        model, x, out = self.model, self.x, self.out
        for _ in range(calls):
            model(x, out=out)

    def results(self) -> list[Array]:
        return [self.out]


class _Fit:
    """Epochs of one call of fit."""

    def __init__(self, case: Case, dtype: np.dtype[Any], model: cr.Sequential, restart: Callable[[], None]) -> None:
        self.x, self.y = inputs.rows(case, dtype, case.n_rows)
        self.batch, self.model, self.reset = case.batch, model, restart
        restart()

    def repeat(self, calls: int) -> None:
        self.model.fit(self.x, self.y, epochs=calls, batch_size=self.batch, verbose=0)

    def results(self) -> list[Array]:
        return self.model.get_weights()


def _kernel(case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    if case.group == "products":
        return _product(case.op, arrays)
    name, _, kind = case.op.rpartition("_")
    if kind == "loss":
        prediction, target = arrays["prediction"], arrays["target"]
        gradient = np.empty_like(prediction)
        return lambda: kernels.loss(name, prediction, target, out_grad=gradient)
    if kind == "backward":
        dy, x, y = arrays["dy"], arrays.get("x"), arrays.get("y")
        dx = np.empty_like(dy)
        return lambda: kernels.activation_backward(name, dy, x=x, y=y, out=dx)
    x, y = arrays["x"], np.empty_like(arrays["x"])
    if case.op in ("exp", "log"):
        function = getattr(kernels, case.op)
        return lambda: function(x, out=y)
    return lambda: kernels.activation(case.op, x, out=y)


def _product(op: str, arrays: dict[str, Array]) -> Callable[[], Any]:
    if op == "forward":
        x, weight, bias = arrays["x"], arrays["weight"], arrays["bias"]
        y = np.empty((len(x), weight.shape[1]), x.dtype)
        return lambda: kernels.dense_forward(x, weight, bias, out=y)
    dz = arrays["dz"]
    if op == "input_gradient":
        weight = arrays["weight"]
        dx = np.empty((len(dz), len(weight)), dz.dtype)
        return lambda: kernels.dense_backward_input(dz, weight, out=dx)
    x = arrays["x"]
    dw, db = np.empty((x.shape[1], dz.shape[1]), x.dtype), np.empty(dz.shape[1], x.dtype)
    return lambda: kernels.dense_backward_weight(x, dz, out_weight=dw, out_bias=db)


def _update(op: str, w: Array, g: Array) -> tuple[Callable[[], None], Callable[[], list[Array]]]:
    rate = formulas.UPDATE_RATE
    m, v, step = np.zeros_like(w), np.zeros_like(w), 0

    def sgd() -> None:
        kernels.sgd_update(w, g, learning_rate=rate)

    def momentum() -> None:
        kernels.sgd_update(w, g, learning_rate=rate, momentum=formulas.MOMENTUM, velocity=m)

    def nesterov() -> None:
        kernels.sgd_update(w, g, learning_rate=rate, momentum=formulas.MOMENTUM, nesterov=True, velocity=m)

    def adam() -> None:
        nonlocal step
        step += 1
        kernels.adam_update(w, g, m, v, step, learning_rate=rate)

    def adamw() -> None:
        nonlocal step
        step += 1
        kernels.adam_update(w, g, m, v, step, learning_rate=rate, weight_decay=formulas.DECAY, decoupled=True)

    def rmsprop() -> None:
        kernels.rmsprop_update(w, g, v, learning_rate=rate, rho=formulas.RHO)

    def adagrad() -> None:
        kernels.adagrad_update(w, g, v, learning_rate=rate)

    makers = (sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad)
    return {maker.__name__: maker for maker in makers}[op.removesuffix("_update")], lambda: [w]
