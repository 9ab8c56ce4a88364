"""The kernels of the careful NumPy rival: each maker allocates once and returns the call that is timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._numpy_losses import LOSSES

Array = npt.NDArray[Any]


def _one(ufunc: Any) -> Callable[[Array], Callable[[], Array]]:
    def make(x: Array) -> Callable[[], Array]:
        y = np.empty_like(x)
        return lambda: ufunc(x, out=y)

    return make


def _two(ufunc: Any, a: Array, b: Array) -> Callable[[], Array]:
    y = np.empty_like(a)
    return lambda: ufunc(a, b, out=y)


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


def _log_softmax(x: Array) -> Callable[[], Array]:
    y, e, column = np.empty_like(x), np.empty_like(x), np.empty((len(x), 1), x.dtype)

    def call() -> Array:
        np.maximum.reduce(x, axis=1, keepdims=True, out=column)
        np.subtract(x, column, out=y)
        np.exp(y, out=e)
        np.add.reduce(e, axis=1, keepdims=True, out=column)
        np.log(column, out=column)
        return np.subtract(y, column, out=y)

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


def _log_softmax_backward(dy: Array, y: Array) -> Callable[[], Array]:
    dx, column = np.empty_like(dy), np.empty((len(dy), 1), dy.dtype)

    def call() -> Array:
        np.exp(y, out=dx)
        np.add.reduce(dy, axis=1, keepdims=True, out=column)
        np.multiply(dx, column, out=dx)
        return np.subtract(dy, dx, out=dx)

    return call


def _selu_backward(dy: Array, y: Array) -> Callable[[], Array]:
    """f' = min(y, 0) + scale alpha, but scale where y > 0; there is no other way to say that than a mask."""
    dx, positive = np.empty_like(dy), np.empty(dy.shape, bool)

    def call() -> Array:
        np.add(y, 1.7580993408473766, out=dx)
        np.greater(y, 0, out=positive)
        np.copyto(dx, 1.0507009873554805, where=positive)
        return np.multiply(dy, dx, out=dx)

    return call


def _softsign_backward(dy: Array, y: Array) -> Callable[[], Array]:
    """f' = (1 - |y|)^2."""
    dx = np.empty_like(dy)

    def call() -> Array:
        np.abs(y, out=dx)
        np.subtract(1, dx, out=dx)
        np.multiply(dx, dx, out=dx)
        return np.multiply(dy, dx, out=dx)

    return call


def _between_backward(low: float, high: float, slope: float) -> Callable[[Array, Array], Callable[[], Array]]:
    """f' = slope where low < y < high."""

    def make(dy: Array, y: Array) -> Callable[[], Array]:
        dx, above, below = np.empty_like(dy), np.empty(dy.shape, bool), np.empty(dy.shape, bool)

        def call() -> Array:
            np.greater(y, low, out=above)
            np.less(y, high, out=below)
            np.logical_and(above, below, out=above)
            np.multiply(dy, above, out=dx)
            return np.multiply(dx, slope, out=dx) if slope != 1 else dx

        return call

    return make


def _hard_swish_backward(dy: Array, x: Array) -> Callable[[], Array]:
    """f' = x / 3 + 1/2 between -3 and 3, where it jumps to 0 and 1."""
    dx, mask = np.empty_like(dy), np.empty(dy.shape, bool)

    def call() -> Array:
        np.multiply(x, 1 / 3, out=dx)
        np.add(dx, 0.5, out=dx)
        np.less_equal(x, -3, out=mask)
        np.copyto(dx, 0, where=mask)
        np.greater_equal(x, 3, out=mask)
        np.copyto(dx, 1, where=mask)
        return np.multiply(dy, dx, out=dx)

    return call


def _mish_backward(dy: Array, x: Array) -> Callable[[], Array]:
    """With e = e^x (x held to 20, where f' is 1), n = e (e + 2), d = n + 2: f' = (n + 4 x e (1 + e) / d) / d."""
    dx, e, d = np.empty_like(dy), np.empty_like(dy), np.empty_like(dy)

    def call() -> Array:
        np.minimum(x, 20, out=e)
        np.exp(e, out=e)
        np.add(e, 2, out=d)
        np.multiply(d, e, out=d)  # n
        np.add(e, 1, out=dx)
        np.multiply(dx, e, out=dx)
        np.multiply(dx, x, out=dx)
        np.multiply(dx, 4, out=dx)
        np.add(d, 2, out=e)
        np.divide(dx, e, out=dx)
        np.add(dx, d, out=dx)
        np.divide(dx, e, out=dx)
        return np.multiply(dy, dx, out=dx)

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
    "log": _one(np.log),
    "log_softmax": _log_softmax,
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
    "log_softmax_backward": _log_softmax_backward,
    "selu_backward": _selu_backward,
    "celu_backward": _elu_backward,
    "softsign_backward": _softsign_backward,
    "relu6_backward": _between_backward(0, 6, 1),
    "hard_tanh_backward": _between_backward(-1, 1, 1),
    "hard_sigmoid_backward": _between_backward(0, 1, 1 / 6),
    "hard_swish_backward": _hard_swish_backward,
    "exponential_backward": lambda dy, y: _two(np.multiply, dy, y),
    "silu_backward": _silu_backward,
    "mish_backward": _mish_backward,
    "gelu_tanh_backward": _gelu_tanh_backward,
    **LOSSES,
    "forward": _forward,
    "input_gradient": _input_gradient,
    "weight_gradient": _weight_gradient,
}
