"""The losses of the careful NumPy rival, each with its gradient; see _numpy_out.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.numpy_twin import NumpyTwin

Array = npt.NDArray[Any]


def _squared_error(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    d, n_rows = np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        loss = 0.5 * float(np.vdot(d, d)) / n_rows
        return loss, np.multiply(d, 1 / n_rows, out=d)

    return call


def _huber(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """With g = clip(d, -1, 1) the loss is g (d - g / 2)."""
    d, g, n_rows = np.empty_like(prediction), np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        np.clip(d, -1, 1, out=g)
        loss = float(np.vdot(g, d)) - 0.5 * float(np.vdot(g, g))
        return loss / n_rows, np.multiply(g, 1 / n_rows, out=g)

    return call


def _sigmoid_cross_entropy(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """With e = exp(-|p|) the loss is max(p, 0) - p t + log1p(e)."""
    e, gradient, n_rows = np.empty_like(prediction), np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.maximum(prediction, 0, out=e)
        loss = float(e.sum()) - float(np.vdot(prediction, target))
        np.abs(prediction, out=e)
        np.negative(e, out=e)
        np.exp(e, out=e)
        np.log1p(e, out=e)
        loss += float(e.sum())
        np.multiply(prediction, 0.5, out=gradient)
        np.tanh(gradient, out=gradient)
        np.multiply(gradient, 0.5, out=gradient)
        np.add(gradient, 0.5, out=gradient)  # sigmoid(p)
        np.subtract(gradient, target, out=gradient)
        return loss / n_rows, np.multiply(gradient, 1 / n_rows, out=gradient)

    return call


def _softmax_cross_entropy(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """The twin's loss; it may write over the logits, so they are copied first."""
    n_rows, n_out = prediction.shape
    weights = [np.empty((1, n_out), prediction.dtype), np.empty(n_out, prediction.dtype)]
    twin = NumpyTwin(weights, ["identity"])
    buffers = twin._buffers(n_rows)
    logits = np.empty_like(prediction)

    def call() -> tuple[float, Array]:
        np.copyto(logits, prediction)
        return twin._softmax_cross_entropy(logits, target, buffers), buffers.deltas[-1]

    return call


def _mean_squared_error(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    d = np.empty_like(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        loss = float(np.vdot(d, d)) / d.size
        return loss, np.multiply(d, 2 / d.size, out=d)

    return call


def _absolute_error(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    d, g, n_rows = np.empty_like(prediction), np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        np.sign(d, out=g)
        loss = float(np.vdot(g, d)) / n_rows
        return loss, np.multiply(g, 1 / n_rows, out=g)

    return call


def _log_cosh(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """log cosh d = |d| + log1p(e^(-2|d|)) - log 2."""
    d, e, n_rows = np.empty_like(prediction), np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        np.abs(d, out=e)
        loss = float(e.sum()) - math.log(2) * e.size
        np.multiply(e, -2, out=e)
        np.exp(e, out=e)
        np.log1p(e, out=e)
        loss += float(e.sum())
        np.tanh(d, out=d)
        return loss / n_rows, np.multiply(d, 1 / n_rows, out=d)

    return call


def _quantile(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """q = 1/2: the price is half the sign."""
    d, g, n_rows = np.empty_like(prediction), np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.subtract(prediction, target, out=d)
        np.sign(d, out=g)
        loss = 0.5 * float(np.vdot(g, d)) / n_rows
        return loss, np.multiply(g, 0.5 / n_rows, out=g)

    return call


def _poisson(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    e, n_rows = np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.log(prediction, out=e)
        loss = float(prediction.sum()) - float(np.vdot(target, e))
        np.divide(target, prediction, out=e)
        np.subtract(1, e, out=e)
        return loss / n_rows, np.multiply(e, 1 / n_rows, out=e)

    return call


def _cross_entropy(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    e, n_rows = np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.log(prediction, out=e)
        loss = -float(np.vdot(target, e))
        np.divide(target, prediction, out=e)
        return loss / n_rows, np.multiply(e, -1 / n_rows, out=e)

    return call


def _hinge(prediction: Array, target: Array) -> Callable[[], tuple[float, Array]]:
    """With m = max(1 - t p, 0) the gradient is -t sign(m)."""
    m, n_rows = np.empty_like(prediction), len(prediction)

    def call() -> tuple[float, Array]:
        np.multiply(prediction, target, out=m)
        np.subtract(1, m, out=m)
        np.maximum(m, 0, out=m)
        loss = float(m.sum())
        np.sign(m, out=m)
        np.multiply(m, target, out=m)
        return loss / n_rows, np.multiply(m, -1 / n_rows, out=m)

    return call


LOSSES: dict[str, Callable[..., Callable[[], tuple[float, Array]]]] = {
    "squared_error_loss": _squared_error,
    "mean_squared_error_loss": _mean_squared_error,
    "absolute_error_loss": _absolute_error,
    "huber_loss": _huber,
    "log_cosh_loss": _log_cosh,
    "quantile_loss": _quantile,
    "poisson_loss": _poisson,
    "cross_entropy_loss": _cross_entropy,
    "hinge_loss": _hinge,
    "sigmoid_cross_entropy_loss": _sigmoid_cross_entropy,
    "softmax_cross_entropy_loss": _softmax_cross_entropy,
}
