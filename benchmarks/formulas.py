"""Every kernel as the textbook writes it, in plain NumPy.

Two uses: run in float32 these are the rival "NumPy, textbook"; run in float64 they are what every rival's
result is checked against. So: no out=, no tricks, nothing but the formula.
"""

from __future__ import annotations

import math
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


def log_softmax(x: Array) -> Array:
    d = x - x.max(axis=1, keepdims=True)
    y: Array = d - np.log(np.exp(d).sum(axis=1, keepdims=True))
    return y


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def gelu_tanh(x: Array) -> Array:
    y: Array = 0.5 * x * (1 + np.tanh(_GELU * (x + 0.044715 * x * x * x)))
    return y


_GELU = 0.7978845608028654  # sqrt(2 / pi)
_SELU, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543773

FORWARD: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "gelu_tanh": gelu_tanh,
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": elu,
    "softplus": lambda x: np.logaddexp(x, 0),
    "log": np.log,
    "log_softmax": log_softmax,
    "selu": lambda x: _SELU * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "celu": elu,  # at the default alpha of 1
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip((x + 3) / 6, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "relu6": lambda x: np.clip(x, 0, 6),
    "exponential": np.exp,
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


def _gelu_backward(dy: Array, x: Array) -> Array:
    """NumPy has no erf: the reference takes it element by element, and no NumPy rival runs this."""
    cdf = 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))
    dx: Array = dy * (cdf + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))
    return dx


def _mish_backward(dy: Array, x: Array) -> Array:
    t = np.tanh(np.logaddexp(x, 0))
    dx: Array = dy * (t + x * (1 - t**2) * sigmoid(x))
    return dx


def _hard_swish_backward(dy: Array, x: Array) -> Array:
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)).astype(x.dtype)


NEEDS_INPUT = ("silu", "gelu", "gelu_tanh", "mish", "hard_swish")
NOT_IN_NUMPY = ("gelu_backward",)

BACKWARD: dict[str, Callable[..., Array]] = {
    "identity": lambda dy, y: dy,
    "relu": lambda dy, y: dy * (y > 0),
    "leaky_relu": lambda dy, y: np.where(y > 0, dy, 0.01 * dy),
    "elu": lambda dy, y: np.where(y > 0, dy, dy * (y + 1)),
    "sigmoid": lambda dy, y: dy * y * (1 - y),
    "tanh": lambda dy, y: dy * (1 - y**2),
    "softplus": lambda dy, y: dy * (1 - np.exp(-y)),
    "softmax": lambda dy, y: y * (dy - (dy * y).sum(axis=1, keepdims=True)),
    "log_softmax": lambda dy, y: dy - np.exp(y) * dy.sum(axis=1, keepdims=True),
    "selu": lambda dy, y: dy * np.where(y > 0, _SELU, y + _SELU * _SELU_ALPHA).astype(y.dtype),
    "celu": lambda dy, y: np.where(y > 0, dy, dy * (y + 1)),
    "softsign": lambda dy, y: dy * (1 - np.abs(y)) ** 2,
    "hard_sigmoid": lambda dy, y: dy * ((y > 0) & (y < 1)) / 6,
    "hard_tanh": lambda dy, y: dy * (np.abs(y) < 1),
    "relu6": lambda dy, y: dy * ((y > 0) & (y < 6)),
    "exponential": lambda dy, y: dy * y,
    "silu": _silu_backward,
    "gelu": _gelu_backward,
    "gelu_tanh": _gelu_tanh_backward,
    "mish": _mish_backward,
    "hard_swish": _hard_swish_backward,
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


def absolute_error(prediction: Array, target: Array) -> tuple[float, Array]:
    d = prediction - target
    return np.sum(np.abs(d)) / len(d), np.sign(d) / len(d)


def log_cosh(prediction: Array, target: Array) -> tuple[float, Array]:
    d = prediction - target
    return np.sum(np.logaddexp(d, -d) - math.log(2)) / len(d), np.tanh(d) / len(d)


def quantile(prediction: Array, target: Array, q: float = 0.5) -> tuple[float, Array]:
    d = prediction - target
    price = np.where(d < 0, -q, 1 - q).astype(d.dtype)
    return np.sum(price * d) / len(d), price * (d != 0) / len(d)


def poisson(prediction: Array, target: Array) -> tuple[float, Array]:
    return np.sum(prediction - target * np.log(prediction)) / len(target), (1 - target / prediction) / len(target)


def cross_entropy(prediction: Array, target: Array) -> tuple[float, Array]:
    return -np.sum(target * np.log(prediction)) / len(target), -target / prediction / len(target)


def hinge(prediction: Array, target: Array) -> tuple[float, Array]:
    margin = 1 - target * prediction
    return np.sum(np.maximum(margin, 0)) / len(margin), np.where(margin > 0, -target, 0) / len(margin)


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
    "absolute_error": absolute_error,
    "log_cosh": log_cosh,
    "quantile": quantile,
    "poisson": poisson,
    "cross_entropy": cross_entropy,
    "hinge": hinge,
}


# -- products and optimizer updates ------------------------------------------------------------------------------


def forward(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight + bias


def input_gradient(dz: Array, weight: Array) -> Array:
    return dz @ weight.T


def weight_gradient(x: Array, dz: Array) -> tuple[Array, Array]:
    return x.T @ dz, dz.sum(axis=0)


class SGD:
    """w := w - eta g; with momentum v := mu v - eta g, w := w + v, or Nesterov's w := w + mu v - eta g."""

    def __init__(
        self, arrays: list[Array], learning_rate: float, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.velocity = [np.zeros_like(w) for w in arrays] if momentum else []

    def update(self, arrays: list[Array], gradients: list[Array]) -> None:
        for i, (w, g) in enumerate(zip(arrays, gradients, strict=True)):
            if self.momentum:
                self.velocity[i] = self.momentum * self.velocity[i] - self.learning_rate * g
                step = self.momentum * self.velocity[i] - self.learning_rate * g if self.nesterov else self.velocity[i]
                w += step
            else:
                w -= self.learning_rate * g


class Adam:
    """m and v: means of g and g^2; w := w - eta m' / (sqrt(v') + epsilon), m' and v' freed of their start at 0.

    AdamW: w := w - eta decay w first.
    """

    def __init__(self, arrays: list[Array], learning_rate: float, decay: float = 0.0) -> None:
        self.learning_rate, self.decay, self.steps = learning_rate, decay, 0
        self.m = [np.zeros_like(w) for w in arrays]
        self.v = [np.zeros_like(w) for w in arrays]

    def update(self, arrays: list[Array], gradients: list[Array]) -> None:
        self.steps += 1
        for i, (w, g) in enumerate(zip(arrays, gradients, strict=True)):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g**2
            m = self.m[i] / (1 - 0.9**self.steps)
            v = self.v[i] / (1 - 0.999**self.steps)
            if self.decay:
                w -= self.learning_rate * self.decay * w
            w -= self.learning_rate * m / (np.sqrt(v) + 1e-8)


class Scaled:
    """RMSprop, v a running mean of g^2; Adagrad, v the sum of g^2: w := w - eta g / (sqrt(v) + epsilon)."""

    def __init__(self, arrays: list[Array], learning_rate: float, rho: float | None) -> None:
        self.learning_rate, self.rho = learning_rate, rho
        self.v = [np.zeros_like(w) for w in arrays]

    def update(self, arrays: list[Array], gradients: list[Array]) -> None:
        for i, (w, g) in enumerate(zip(arrays, gradients, strict=True)):
            self.v[i] = self.v[i] + g**2 if self.rho is None else self.rho * self.v[i] + (1 - self.rho) * g**2
            w -= self.learning_rate * g / (np.sqrt(self.v[i]) + 1e-8)


UPDATE_RATE = 0.01  # of the update kernels
MOMENTUM = 0.9
RHO = 0.9
DECAY = 0.01  # of AdamW

KERNELS: dict[str, Callable[..., Any]] = {
    **FORWARD,
    **{f"{name}_backward": function for name, function in BACKWARD.items()},
    **{f"{name}_loss": function for name, function in LOSSES.items()},
    "forward": forward,
    "input_gradient": input_gradient,
    "weight_gradient": weight_gradient,
}


def optimizer(op: str, arrays: list[Array], learning_rate: float = UPDATE_RATE) -> SGD | Adam | Scaled:
    """The optimizer of an update kernel or a training case."""
    name = op.removesuffix("_update")
    if name in ("adam", "adamw"):
        return Adam(arrays, learning_rate, DECAY if name == "adamw" else 0.0)
    if name in ("rmsprop", "adagrad"):
        return Scaled(arrays, learning_rate, RHO if name == "rmsprop" else None)
    return SGD(arrays, learning_rate, 0.0 if name == "sgd" else MOMENTUM, nesterov=name == "nesterov")
