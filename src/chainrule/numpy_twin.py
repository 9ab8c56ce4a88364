"""The same training in plain NumPy: the teaching text, and the honest rival of the benchmarks.

Read `NumpyTwin.train_step` first: it is backpropagation, in the order in which it happens. With a_0 = x,
layers l = 1 .. L, f_l the activation and E the loss, each a mean over the n rows of the batch:

    forward            z_l = a_(l-1) W_l + b_l              a_l = f_l(z_l)
    loss               E = (1/n) sum_i e(a_L[i], y[i])
    its gradient       delta_L = dE/dz_L
                          squared error          (1/n) (a_L - y) f'(z_L)
                          softmax cross-entropy  (1/n) (softmax(z_L) - y)
    backward           dE/dW_l = a_(l-1)^T delta_l          dE/db_l = sum over rows of delta_l
                       delta_(l-1) = (delta_l W_l^T) f'(z_(l-1))
    update             w := w - eta dE/dw                   (or momentum, Adam, ...)

The second half is the chain rule and nothing else: delta_l is dE/dz_l, and z_l depends on z_(l-1)
through W_l and f.

It is also as fast as plain NumPy goes: every array is allocated once per batch size, every operation
writes into one with ``out=``, parameters lie in one flat array so that an update is a few long operations
instead of many short ones, and each of the choices below that looks odd was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NumpyTwin"]

Array = npt.NDArray[np.floating]

LOSSES = ("softmax_cross_entropy", "squared_error", "mean_squared_error")


# -- activations: f in place on z, and f' written as a function of the output a = f(z) ---------------------


class Identity:
    def __init__(self, alpha: float) -> None:
        pass

    def forward(self, z: Array, scratch: Array) -> None:
        pass

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        pass


class ReLU(Identity):
    """f(z) = max(z, 0); f' = 1 where a > 0, else 0."""

    def forward(self, z: Array, scratch: Array) -> None:
        np.maximum(z, 0, out=z)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        # Compare into a float array, then multiply: putmask and copyto(where=) take 2 to 20 times as long.
        np.greater(a, 0, out=scratch)
        np.multiply(delta, scratch, out=delta)


class LeakyReLU(Identity):
    """f(z) = max(z, alpha z) with 0 <= alpha <= 1; f' = 1 where a > 0, else alpha."""

    def __init__(self, alpha: float) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, got {alpha!r}")
        self.alpha = alpha

    def forward(self, z: Array, scratch: Array) -> None:
        np.multiply(z, self.alpha, out=scratch)
        np.maximum(z, scratch, out=z)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        np.greater(a, 0, out=scratch)
        np.maximum(scratch, self.alpha, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Sigmoid(Identity):
    """f(z) = 1 / (1 + exp(-z)); f' = a (1 - a)."""

    def forward(self, z: Array, scratch: Array) -> None:
        # (1 + tanh(z / 2)) / 2 is the same function, and no z overflows it.
        np.multiply(z, 0.5, out=z)
        np.tanh(z, out=z)
        np.multiply(z, 0.5, out=z)
        np.add(z, 0.5, out=z)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        np.multiply(delta, a, out=delta)
        np.subtract(1, a, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Tanh(Identity):
    """f(z) = tanh(z); f' = 1 - a^2."""

    def forward(self, z: Array, scratch: Array) -> None:
        np.tanh(z, out=z)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        np.multiply(a, a, out=scratch)
        np.subtract(1, scratch, out=scratch)
        np.multiply(delta, scratch, out=delta)


ACTIVATIONS: dict[str, type[Identity]] = {
    "identity": Identity,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}


class _Buffers:
    """Work arrays for batches of one size."""

    def __init__(self, n_rows: int, widths: list[int], dtype: np.dtype) -> None:
        self.outputs = [np.empty((n_rows, width), dtype) for width in widths[1:]]  # a_1 .. a_L
        self.deltas = [np.empty((n_rows, width), dtype) for width in widths[1:]]  # delta_1 .. delta_L
        self.scratch = [np.empty((n_rows, width), dtype) for width in widths[1:]]
        self.ones = np.ones(n_rows, dtype)
        self.column = np.empty((n_rows, 1), dtype)
        self.picked = np.empty(n_rows, dtype)
        self.row_starts = np.arange(n_rows) * widths[-1]  # of the flat last layer
        self.places = np.empty(n_rows, self.row_starts.dtype)
        self.x = np.empty((n_rows, widths[0]), dtype)


class NumpyTwin:
    """A dense network trained by backpropagation, in NumPy alone.

    Parameters
    ----------
    weights : sequence of ndarray
        ``[W_1, b_1, W_2, b_2, ...]`` with ``W_l`` of shape (n_in, n_out), as `Sequential.get_weights`
        gives them; copied. Their dtype (float32 or float64) is that of all the work.
    activations : sequence of str
        One a layer: identity, relu, leaky_relu, sigmoid or tanh. With softmax cross-entropy the last one
        must be identity, for the loss takes logits.
    loss : str
        softmax_cross_entropy (targets: integer labels, not checked, or rows of probabilities), squared_error
        (half the sum over outputs, mean over rows) or mean_squared_error (mean over all elements).
    optimizer : str
        sgd (with momentum, Nesterov), adam, adamw, rmsprop or adagrad.
    l2 : float
        Adds l2 times the sum of the squared weights (not biases) to the loss.
    weight_decay : float
        Added to every gradient as weight_decay * w; adamw subtracts learning_rate * weight_decay * w instead.
    """

    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    l2: float
    beta_1: float
    beta_2: float
    epsilon: float
    rho: float
    weights: list[Array]
    biases: list[Array]
    weight_gradients: list[Array]
    bias_gradients: list[Array]
    weight_work: list[Array]

    def __init__(
        self,
        weights: Sequence[npt.ArrayLike],
        activations: Sequence[str],
        loss: str = "softmax_cross_entropy",
        *,
        optimizer: str = "sgd",
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        rho: float = 0.9,
        alpha: float = 0.01,
    ) -> None:
        arrays = [np.asarray(array) for array in weights]
        if len(arrays) != 2 * len(activations):
            raise ValueError(f"{len(activations)} activations need two arrays each, got {len(arrays)} arrays")
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        if loss == "softmax_cross_entropy" and activations[-1] != "identity":
            last = activations[-1]
            raise ValueError(f"softmax_cross_entropy takes logits: the last activation is {last!r}")
        updates = {
            "sgd": self._sgd,
            "adam": self._adam,
            "adamw": self._adam,
            "rmsprop": self._rmsprop,
            "adagrad": self._adagrad,
        }
        if optimizer not in updates:
            raise ValueError(f"optimizer must be one of {', '.join(updates)}, got {optimizer!r}")
        self.dtype: np.dtype[Any] = arrays[0].dtype
        self.widths: list[int] = [arrays[0].shape[0]] + [array.shape[1] for array in arrays[::2]]
        self.activations: list[Identity] = [ACTIVATIONS[name](alpha) for name in activations]
        self.loss, self.optimizer, self.learning_rate = loss, optimizer, learning_rate
        self.momentum, self.nesterov, self.weight_decay, self.l2 = momentum, nesterov, weight_decay, l2
        self.beta_1, self.beta_2, self.epsilon, self.rho = beta_1, beta_2, epsilon, rho

        # One flat array for the parameters, one for the gradients, two for the optimizer, one to work in;
        # W_l and b_l are views into the first, dW_l and db_l into the second.
        self.parameters: Array = np.concatenate([array.ravel() for array in arrays]).astype(self.dtype)
        self.gradients: Array = np.zeros_like(self.parameters)
        self.first_moment: Array = np.zeros_like(self.parameters)  # velocity of SGD, m of Adam
        self.second_moment: Array = np.zeros_like(self.parameters)  # v of Adam and RMSprop, the sum of Adagrad
        self.work: Array = np.empty_like(self.parameters)
        shapes = [array.shape for array in arrays]
        self.weights, self.biases = _views(self.parameters, shapes)
        self.weight_gradients, self.bias_gradients = _views(self.gradients, shapes)
        self.weight_work, _ = _views(self.work, shapes)
        self.steps: int = 0
        self._update = updates[optimizer]
        self._of_size: dict[int, _Buffers] = {}

    def get_weights(self) -> list[Array]:
        """Copies ``[W_1, b_1, W_2, b_2, ...]``."""
        return [array.copy() for pair in zip(self.weights, self.biases, strict=True) for array in pair]

    def train_step(self, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """One step on one batch; returns the loss before the update."""
        x, y = np.asarray(x, self.dtype), np.asarray(y)
        buffers = self._buffers(len(x))

        # 1. Forward: keep every output a_l, the backward pass needs them.
        prediction = self._forward(x, buffers)

        # 2. and 3. The loss, and delta_L = dE/dz_L.
        if self.loss == "softmax_cross_entropy":
            loss = self._softmax_cross_entropy(prediction, y, buffers)
        else:
            loss = self._squared_error(prediction, y, buffers)

        # 4. Backward, last layer first.
        for layer in range(len(self.weights) - 1, -1, -1):
            delta = buffers.deltas[layer]
            below = buffers.outputs[layer - 1] if layer > 0 else x
            # dE/dw_jk = sum over rows of a_j delta_k
            np.dot(below.T, delta, out=self.weight_gradients[layer])
            # dE/db_k = sum over rows of delta_k; a product with ones takes 0.4 of the time of sum(axis=0)
            np.dot(buffers.ones, delta, out=self.bias_gradients[layer])
            if layer > 0:  # the input needs no gradient
                delta_below = buffers.deltas[layer - 1]
                np.dot(delta, self.weights[layer].T, out=delta_below)
                self.activations[layer - 1].times_derivative(delta_below, below, buffers.scratch[layer - 1])

        # 5. Penalty and update.
        if self.l2:
            arrays = zip(self.weights, self.weight_gradients, self.weight_work, strict=True)
            for weight, gradient, work in arrays:
                loss += self.l2 * float(np.vdot(weight, weight))
                np.multiply(weight, 2 * self.l2, out=work)
                np.add(gradient, work, out=gradient)
        self.steps += 1
        self._update()
        return loss

    def train_epoch(self, x: Array, y: npt.NDArray[Any], order: npt.NDArray[np.int64], batch_size: int) -> float:
        """`train_step` on batch after batch of rows in the given order; returns the mean of the losses."""
        losses = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._buffers(len(rows)).x
            np.take(x, rows, axis=0, out=batch, mode="clip")  # the default mode would copy `batch` first
            losses.append(self.train_step(batch, y[rows]))
        return math.fsum(losses) / len(losses)

    def predict(self, x: npt.ArrayLike) -> Array:
        """Outputs of the last layer (logits, for softmax cross-entropy); a new array."""
        x = np.asarray(x, self.dtype)
        return self._forward(x, _Buffers(len(x), self.widths, self.dtype))

    def _buffers(self, n_rows: int) -> _Buffers:
        buffers = self._of_size.get(n_rows)
        if buffers is None:
            buffers = self._of_size[n_rows] = _Buffers(n_rows, self.widths, self.dtype)
        return buffers

    def _forward(self, x: Array, buffers: _Buffers) -> Array:
        for weight, bias, activation, out, scratch in zip(
            self.weights, self.biases, self.activations, buffers.outputs, buffers.scratch, strict=True
        ):
            np.dot(x, weight, out=out)  # z = x W + b
            np.add(out, bias, out=out)
            activation.forward(out, scratch)  # a = f(z), in place
            x = out
        return x

    # -- losses: return E, leave delta_L in buffers.deltas[-1] ---------------------------------------------

    def _softmax_cross_entropy(self, logits: Array, y: npt.NDArray[Any], buffers: _Buffers) -> float:
        """E = -(1/n) sum y log softmax(z), where -log softmax(z)_k = log(sum_j exp(z_j - c)) - (z_k - c).

        c, the largest logit of the row, changes nothing in exact arithmetic and keeps exp from overflowing.
        """
        n_rows = len(logits)
        delta, column, picked = buffers.deltas[-1], buffers.column, buffers.picked
        np.maximum.reduce(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=logits)
        np.exp(logits, out=delta)
        np.add.reduce(delta, axis=1, keepdims=True, out=column)
        np.divide(delta, column, out=delta)  # softmax(z)
        np.log(column, out=column)
        if y.ndim == 1 and y.dtype.kind in "iu":
            places = buffers.places
            np.add(buffers.row_starts, y, out=places)
            logits.reshape(-1).take(places, out=picked, mode="clip")
            loss = float(column.sum()) - float(picked.sum())
            delta.reshape(-1)[places] -= 1  # softmax(z) - y for one-hot y
        else:
            y = y.astype(self.dtype, copy=False)
            row_sums = y.sum(axis=1, keepdims=True)
            loss = float(np.vdot(row_sums, column)) - float(np.vdot(y, logits))
            np.multiply(delta, row_sums, out=delta)  # 1 if the rows of y are probabilities
            np.subtract(delta, y, out=delta)
        np.multiply(delta, 1 / n_rows, out=delta)
        return loss / n_rows

    def _squared_error(self, prediction: Array, y: npt.NDArray[Any], buffers: _Buffers) -> float:
        """E = (1/n) sum_i 1/2 sum_j (p - y)^2, or the mean of all (p - y)^2; delta = dE/dp f'(z)."""
        n_rows, n_out = prediction.shape
        delta = buffers.deltas[-1]
        np.subtract(prediction, y.reshape(prediction.shape), out=delta)
        total = float(np.vdot(delta, delta))
        scale = 1 / n_rows if self.loss == "squared_error" else 2 / (n_rows * n_out)
        np.multiply(delta, scale, out=delta)
        self.activations[-1].times_derivative(delta, prediction, buffers.scratch[-1])
        return float(total * scale / 2)

    # -- optimizers: g = gradients, w = parameters, all in place -------------------------------------------

    def _decay_gradient(self) -> None:
        """g := g + decay w."""
        if self.weight_decay:
            np.multiply(self.parameters, self.weight_decay, out=self.work)
            np.add(self.gradients, self.work, out=self.gradients)

    def _sgd(self) -> None:
        """w := w - eta g; with momentum v := mu v - eta g, w := w + v; Nesterov w := w + mu v - eta g."""
        self._decay_gradient()
        work, velocity = self.work, self.first_moment
        np.multiply(self.gradients, self.learning_rate, out=work)
        if not self.momentum:
            np.subtract(self.parameters, work, out=self.parameters)
            return
        np.multiply(velocity, self.momentum, out=velocity)
        np.subtract(velocity, work, out=velocity)
        if self.nesterov:
            np.subtract(self.parameters, work, out=self.parameters)
            np.multiply(velocity, self.momentum, out=work)
            np.add(self.parameters, work, out=self.parameters)
        else:
            np.add(self.parameters, velocity, out=self.parameters)

    def _adam(self) -> None:
        """m := b1 m + (1 - b1) g; v := b2 v + (1 - b2) g^2; w := w - eta m^ / (sqrt(v^) + epsilon).

        m^ = m / (1 - b1^t) and v^ = v / (1 - b2^t) undo the bias of starting from zero; both divisions are
        moved into the numbers `step` and `epsilon`, which saves two passes (Kingma and Ba 2015, section 2).
        """
        root = math.sqrt(1 - self.beta_2**self.steps)
        step = self.learning_rate * root / (1 - self.beta_1**self.steps)
        w, g, m, work = self.parameters, self.gradients, self.first_moment, self.work
        if self.optimizer == "adam":
            self._decay_gradient()
        elif self.weight_decay:  # adamw: w := w - eta decay w
            np.multiply(w, 1 - self.learning_rate * self.weight_decay, out=w)
        np.multiply(m, self.beta_1, out=m)
        np.multiply(g, 1 - self.beta_1, out=work)
        np.add(m, work, out=m)
        self._average_squares(self.beta_2)
        self._step_over_root(m, step, self.epsilon * root)

    def _rmsprop(self) -> None:
        """v := rho v + (1 - rho) g^2; w := w - eta g / (sqrt(v) + epsilon)."""
        self._decay_gradient()
        self._average_squares(self.rho)
        self._step_over_root(self.gradients, self.learning_rate, self.epsilon)

    def _adagrad(self) -> None:
        """s := s + g^2; w := w - eta g / (sqrt(s) + epsilon)."""
        self._decay_gradient()
        np.multiply(self.gradients, self.gradients, out=self.work)
        np.add(self.second_moment, self.work, out=self.second_moment)
        self._step_over_root(self.gradients, self.learning_rate, self.epsilon)

    def _average_squares(self, rate: float) -> None:
        """v := rate v + (1 - rate) g^2."""
        v, work = self.second_moment, self.work
        np.multiply(v, rate, out=v)
        np.multiply(self.gradients, self.gradients, out=work)
        np.multiply(work, 1 - rate, out=work)
        np.add(v, work, out=v)

    def _step_over_root(self, direction: Array, step: float, epsilon: float) -> None:
        """w := w - step direction / (sqrt(v) + epsilon)."""
        work = self.work
        np.sqrt(self.second_moment, out=work)
        np.add(work, epsilon, out=work)
        np.divide(direction, work, out=work)
        np.multiply(work, step, out=work)
        np.subtract(self.parameters, work, out=self.parameters)


def _views(flat: Array, shapes: list[tuple[int, ...]]) -> tuple[list[Array], list[Array]]:
    """Cut a flat array into weights and biases of the given shapes, without copying."""
    views, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        views.append(flat[start : start + size].reshape(shape))
        start += size
    return views[::2], views[1::2]
