"""The kernels of the careful NumPy rival: each maker allocates once and returns the call that is timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.numpy_twin import NumpyTwin

Array = npt.NDArray[Any]


def _one(ufunc: Any) -> Callable[[Array], Callable[[], Array]]:
    def make(x: Array) -> Callable[[], Array]:
        y = np.empty_like(x)
        return lambda: ufunc(x, out=y)

    return make


def _sigmoid(x: Array) -> Callable[[], Array]:
    """(1 + tanh(x / 2)) / 2: no overflow, and faster than exp and a division."""
    y = np.empty_like(x)

    def call() -> Array:
        np.multiply(x, 0.5, out=y)
        np.tanh(y, out=y)
        np.multiply(y, 0.5, out=y)
        return np.add(y, 0.5, out=y)

    return call


def _softmax(x: Array) -> Callable[[], Array]:
    y, column = np.empty_like(x), np.empty((len(x), 1), x.dtype)

    def call() -> Array:
        np.maximum.reduce(x, axis=1, keepdims=True, out=column)
        np.subtract(x, column, out=y)
        np.exp(y, out=y)
        np.add.reduce(y, axis=1, keepdims=True, out=column)
        return np.divide(y, column, out=y)

    return call


def _gelu_tanh(x: Array) -> Callable[[], Array]:
    """tanh's argument as x (c + 0.044715 c x^2)."""
    y, c = np.empty_like(x), math.sqrt(2 / math.pi)

    def call() -> Array:
        np.multiply(x, x, out=y)
        np.multiply(y, 0.044715 * c, out=y)
        np.add(y, c, out=y)
        np.multiply(y, x, out=y)
        np.tanh(y, out=y)
        np.add(y, 1, out=y)
        np.multiply(y, x, out=y)
        return np.multiply(y, 0.5, out=y)

    return call


def _relu_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx = np.empty_like(dy)

    def call() -> Array:
        np.greater(y, 0, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _leaky_relu_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx = np.empty_like(dy)

    def call() -> Array:
        np.greater(y, 0, out=dx)
        np.maximum(dx, 0.01, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _elu_backward(dy: Array, y: Array) -> Callable[[], Array]:
    """f' = min(y, 0) + 1."""
    dx = np.empty_like(dy)

    def call() -> Array:
        np.minimum(y, 0, out=dx)
        np.add(dx, 1, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _sigmoid_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx = np.empty_like(dy)

    def call() -> Array:
        np.subtract(1, y, out=dx)
        np.multiply(dx, y, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _tanh_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx = np.empty_like(dy)

    def call() -> Array:
        np.multiply(y, y, out=dx)
        np.subtract(1, dx, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _softplus_backward(dy: Array, y: Array) -> Callable[[], Array]:
    """f' = 1 - exp(-y)."""
    dx = np.empty_like(dy)

    def call() -> Array:
        np.negative(y, out=dx)
        np.exp(dx, out=dx)
        np.subtract(1, dx, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _softmax_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx, column = np.empty_like(dy), np.empty((len(dy), 1), dy.dtype)

    def call() -> Array:
        np.multiply(dy, y, out=dx)
        np.add.reduce(dx, axis=1, keepdims=True, out=column)
        np.subtract(dy, column, out=dx)
        return np.multiply(dx, y, out=dx)

    return call


def _silu_backward(dy: Array, x: Array) -> Callable[[], Array]:
    dx, s = np.empty_like(dy), np.empty_like(dy)

    def call() -> Array:
        np.multiply(x, 0.5, out=s)
        np.tanh(s, out=s)
        np.multiply(s, 0.5, out=s)
        np.add(s, 0.5, out=s)  # sigmoid(x)
        np.subtract(1, s, out=dx)
        np.multiply(dx, x, out=dx)
        np.add(dx, 1, out=dx)
        np.multiply(dx, s, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _gelu_tanh_backward(dy: Array, x: Array) -> Callable[[], Array]:
    """f' = (1 + t) / 2 + x (1 - t^2) (c / 2 + 3 * 0.044715 c / 2 x^2), t = tanh(x (c + 0.044715 c x^2))."""
    dx, t, square, c = np.empty_like(dy), np.empty_like(dy), np.empty_like(dy), math.sqrt(2 / math.pi)

    def call() -> Array:
        np.multiply(x, x, out=square)
        np.multiply(square, 0.044715 * c, out=t)
        np.add(t, c, out=t)
        np.multiply(t, x, out=t)
        np.tanh(t, out=t)
        np.multiply(square, 1.5 * 0.044715 * c, out=dx)
        np.add(dx, 0.5 * c, out=dx)
        np.multiply(dx, x, out=dx)
        np.multiply(t, t, out=square)
        np.subtract(1, square, out=square)
        np.multiply(dx, square, out=dx)
        np.multiply(t, 0.5, out=t)
        np.add(t, 0.5, out=t)
        np.add(dx, t, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


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


def _forward(x: Array, weight: Array, bias: Array) -> Callable[[], Array]:
    y = np.empty((len(x), weight.shape[1]), x.dtype)

    def call() -> Array:
        np.dot(x, weight, out=y)
        return np.add(y, bias, out=y)

    return call


def _input_gradient(dz: Array, weight: Array) -> Callable[[], Array]:
    dx = np.empty((len(dz), len(weight)), dz.dtype)
    return lambda: np.dot(dz, weight.T, out=dx)


def _weight_gradient(x: Array, dz: Array) -> Callable[[], tuple[Array, Array]]:
    dw, db = np.empty((x.shape[1], dz.shape[1]), x.dtype), np.empty(dz.shape[1], x.dtype)
    ones = np.ones(len(x), x.dtype)
    return lambda: (np.dot(x.T, dz, out=dw), np.dot(ones, dz, out=db))


KERNELS: dict[str, Callable[..., Callable[[], Any]]] = {
    "exp": _one(np.exp),
    "tanh": _one(np.tanh),
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "gelu_tanh": _gelu_tanh,
    "relu_backward": _relu_backward,
    "leaky_relu_backward": _leaky_relu_backward,
    "elu_backward": _elu_backward,
    "sigmoid_backward": _sigmoid_backward,
    "tanh_backward": _tanh_backward,
    "softplus_backward": _softplus_backward,
    "softmax_backward": _softmax_backward,
    "silu_backward": _silu_backward,
    "gelu_tanh_backward": _gelu_tanh_backward,
    "squared_error_loss": _squared_error,
    "huber_loss": _huber,
    "sigmoid_cross_entropy_loss": _sigmoid_cross_entropy,
    "softmax_cross_entropy_loss": _softmax_cross_entropy,
    "forward": _forward,
    "input_gradient": _input_gradient,
    "weight_gradient": _weight_gradient,
}
