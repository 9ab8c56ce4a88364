"""Every kernel as the textbook writes it, in plain NumPy.

Two uses: run in float32 these are the rival "NumPy, textbook"; run in float64 they are what every rival's
result is checked against. So: no out=, no tricks, nothing but the formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    y: Array = e / e.sum(axis=1, keepdims=True)
    return y


def gelu_tanh(x: Array) -> Array:
    y: Array = 0.5 * x * (1 + np.tanh(_GELU * (x + 0.044715 * x * x * x)))
    return y


_GELU = 0.7978845608028654  # sqrt(2 / pi)

FORWARD: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "gelu_tanh": gelu_tanh,
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
}


# -- derivatives, times dy; from the output y, or the input x where y does not determine it ----------------------


def _silu_backward(dy: Array, x: Array) -> Array:
    s = sigmoid(x)
    dx: Array = dy * s * (1 + x * (1 - s))
    return dx


def _gelu_tanh_backward(dy: Array, x: Array) -> Array:
    t = np.tanh(_GELU * (x + 0.044715 * x * x * x))
    dx: Array = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * _GELU * (1 + 3 * 0.044715 * x * x))
    return dx


NEEDS_INPUT = ("silu", "gelu_tanh")

BACKWARD: dict[str, Callable[..., Array]] = {
    "identity": lambda dy, y: dy,
    "relu": lambda dy, y: dy * (y > 0),
    "leaky_relu": lambda dy, y: np.where(y > 0, dy, 0.01 * dy),
    "elu": lambda dy, y: np.where(y > 0, dy, dy * (y + 1)),
    "sigmoid": lambda dy, y: dy * y * (1 - y),
    "tanh": lambda dy, y: dy * (1 - y**2),
    "softplus": lambda dy, y: dy * (1 - np.exp(-y)),
    "softmax": lambda dy, y: y * (dy - (dy * y).sum(axis=1, keepdims=True)),
    "silu": _silu_backward,
    "gelu_tanh": _gelu_tanh_backward,
}


# -- losses: the mean over rows of a sum over outputs, and its gradient ------------------------------------------


def squared_error(prediction: Array, target: Array) -> tuple[float, Array]:
    d = prediction - target
    return 0.5 * np.sum(d**2) / len(d), d / len(d)


def mean_squared_error(prediction: Array, target: Array) -> tuple[float, Array]:
    d = prediction - target
    return np.mean(d**2), 2 * d / d.size


def huber(prediction: Array, target: Array) -> tuple[float, Array]:
    d = prediction - target
    loss = np.where(np.abs(d) <= 1, 0.5 * d**2, np.abs(d) - 0.5)
    return np.sum(loss) / len(d), np.clip(d, -1, 1) / len(d)


def sigmoid_cross_entropy(prediction: Array, target: Array) -> tuple[float, Array]:
    loss = np.maximum(prediction, 0) - prediction * target + np.log1p(np.exp(-np.abs(prediction)))
    return np.sum(loss) / len(loss), (sigmoid(prediction) - target) / len(loss)


def softmax_cross_entropy(prediction: Array, target: Array) -> tuple[float, Array]:
    p = softmax(prediction)
    one_hot = np.zeros_like(p)
    one_hot[np.arange(len(p)), target] = 1
    return -np.sum(one_hot * np.log(p)) / len(p), (p - one_hot) / len(p)


LOSSES: dict[str, Callable[[Array, Array], tuple[float, Array]]] = {
    "squared_error": squared_error,
    "mean_squared_error": mean_squared_error,
    "huber": huber,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}


# -- products and optimizer updates ------------------------------------------------------------------------------


def forward(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight + bias


def input_gradient(dz: Array, weight: Array) -> Array:
    return dz @ weight.T


def weight_gradient(x: Array, dz: Array) -> tuple[Array, Array]:
    return x.T @ dz, dz.sum(axis=0)


class SGD:
    """w := w - eta g; with momentum v := mu v - eta g, w := w + v."""

    def __init__(self, arrays: list[Array], learning_rate: float, momentum: float = 0.0) -> None:
        self.learning_rate, self.momentum = learning_rate, momentum
        self.velocity = [np.zeros_like(w) for w in arrays] if momentum else []

    def update(self, arrays: list[Array], gradients: list[Array]) -> None:
        for i, (w, g) in enumerate(zip(arrays, gradients, strict=True)):
            if self.momentum:
                self.velocity[i] = self.momentum * self.velocity[i] - self.learning_rate * g
                w += self.velocity[i]
            else:
                w -= self.learning_rate * g


class Adam:
    """m and v: means of g and g^2; w := w - eta m' / (sqrt(v') + epsilon), m' and v' freed of their start at 0."""

    def __init__(self, arrays: list[Array], learning_rate: float) -> None:
        self.learning_rate, self.steps = learning_rate, 0
        self.m = [np.zeros_like(w) for w in arrays]
        self.v = [np.zeros_like(w) for w in arrays]

    def update(self, arrays: list[Array], gradients: list[Array]) -> None:
        self.steps += 1
        for i, (w, g) in enumerate(zip(arrays, gradients, strict=True)):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            m = self.m[i] / (1 - 0.9**self.steps)
            v = self.v[i] / (1 - 0.999**self.steps)
            w -= self.learning_rate * m / (np.sqrt(v) + 1e-8)


UPDATE_RATE = 0.01  # of the update kernels
MOMENTUM = 0.9

KERNELS: dict[str, Callable[..., Any]] = {
    **FORWARD,
    **{f"{name}_backward": function for name, function in BACKWARD.items()},
    **{f"{name}_loss": function for name, function in LOSSES.items()},
    "forward": forward,
    "input_gradient": input_gradient,
    "weight_gradient": weight_gradient,
}


def optimizer(op: str, arrays: list[Array], learning_rate: float = UPDATE_RATE) -> SGD | Adam:
    """The optimizer of an update kernel or a training case: sgd, momentum or adam."""
    name = op.removesuffix("_update")
    if name == "adam":
        return Adam(arrays, learning_rate)
    return SGD(arrays, learning_rate, MOMENTUM if name == "momentum" else 0.0)
