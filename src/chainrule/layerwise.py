"""The Python twin of `_core.Network`, for models that hold a layer written in Python.

Layers run one after the other; native ones on the same kernels as the native network, in the same order, so
that both ways give the same bits. Reading this file is the shortest way to see what csrc/network/ does.
"""

import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import integer
from .layers import Dense, Dropout, Layer, NativeLayer
from .losses import accepts

Array = npt.NDArray[Any]

COUNTER_MAX = 2**63 - 1
"""The greatest number of steps, or of training forwards, that a model counts; as in csrc/network/network.h."""

# The global norm of the gradient is summed over ranges of so many parameters, as in csrc/network/plan.inc.h.
_NORM_RANGE = 65536


class LayerByLayer:
    """Forward, backward and update through a list of layers, which it builds.

    Python layers keep what their backward needs, also in `predict`: one thread at a time, the others wait.

    With `widths`, inputs' and each layer's, a layer of another one is a ValueError before the next is built for it.
    """

    def __init__(
        self, layers: Sequence[Layer], n_in: int, dtype: np.dtype[Any], seed: int, widths: list[int] | None = None
    ) -> None:
        self.layers: Sequence[Layer] = layers
        self.n_in: int = n_in
        self.dtype: np.dtype[Any] = dtype
        self.counters: npt.NDArray[np.uint64] = np.zeros(2, np.uint64)  # steps taken, training forwards made
        self._training = [isinstance(layer, NativeLayer) or accepts(layer.forward, "training") for layer in layers]
        self._widths = [n_in]
        n_parameters = 0
        for index, layer in enumerate(layers):
            if isinstance(layer, NativeLayer):
                n_out = layer._build(self._widths[-1], seed, dtype, index, n_parameters)
            else:
                layer.dtype = dtype
                n_out = integer(layer.build(self._widths[-1]), f"what build of {self._name(index)} returns", at_least=1)
            if widths is not None and n_out != widths[index + 1]:
                raise ValueError(f"{self._name(index)} has {n_out} outputs, expected {widths[index + 1]}")
            self._widths.append(n_out)
            n_parameters += len(layer.parameters)
        self.n_out: int = self._widths[-1]
        self._penalties = {
            index: _core.Network(layer.n_in, [layer.core_spec()], layer._flat, layer._flat_gradient, None, 0)
            for index, layer in enumerate(layers)
            if isinstance(layer, Dense) and (layer.l1 or layer.l2)
        }
        arrays = [array for _, array in self.parameters()]
        # A user's float64 arrays in a float32 model are updated in float64.
        self.update_dtype: np.dtype[Any] = np.result_type(dtype, *arrays)
        self.n_parameters: int = sum(array.size for array in arrays)
        self._optimizer: _core.OptimizerSpec | None = None
        self._states: list[Array | None] = [None, None]
        self._pid, self._lock = os.getpid(), threading.RLock()
        self._keeps = False  # the layers keep what belongs to the last `forward`

    def _name(self, index: int) -> str:
        return f"layer {index} ({type(self.layers[index]).__name__})"

    # -- what a network counts and keeps --

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return int(self.counters[0])

    @property
    def forwards(self) -> int:
        """Training forwards made; keys the dropout masks."""
        return int(self.counters[1])

    def set_counters(self, steps: int, forwards: int) -> None:
        """Continue a saved run."""
        if steps > COUNTER_MAX or forwards > COUNTER_MAX:
            raise ValueError(f"steps and forwards must be at most 2**63 - 1, got {steps} and {forwards}")
        self.counters[:] = np.array([steps, forwards], np.uint64)

    def _require_room(self, counter: int) -> None:
        """RuntimeError if this counter, of steps or of forwards, cannot go on."""
        if counter >= COUNTER_MAX:
            raise RuntimeError("this model has been trained for 2**63 - 1 steps, the most that it counts")

    def parameters(self) -> Iterator[tuple[int, Array]]:
        """Yield (layer index, parameter array) in order, each checked."""
        for index, layer in enumerate(self.layers):
            for i, array in enumerate(layer.parameters):
                if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
                    kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                    raise TypeError(
                        f"parameters[{i}] of {self._name(index)} must be an array of float32 or float64, got {kind}"
                    )
                if not array.flags.writeable:
                    raise ValueError(f"parameters[{i}] of {self._name(index)} is read-only")
                yield index, array

    def gradients(self) -> Iterator[Array]:
        """Yield the gradient of each parameter array, checked, in its dtype."""
        for index, layer in enumerate(self.layers):
            if len(layer.gradients) != len(layer.parameters):
                raise ValueError(
                    f"{self._name(index)} has {len(layer.parameters)} parameters but {len(layer.gradients)} gradients"
                )
            for i, (array, gradient) in enumerate(zip(layer.parameters, layer.gradients, strict=True)):
                if np.shape(gradient) != array.shape:
                    raise ValueError(
                        f"gradients[{i}] of {self._name(index)} has shape {np.shape(gradient)},"
                        f" parameters[{i}] has {array.shape}"
                    )
                yield np.asarray(gradient, dtype=array.dtype)

    def running(self) -> list[Array]:
        """The running statistics of all batch norms."""
        return [view for layer in self.layers if isinstance(layer, NativeLayer) for view in layer._running()]

    # -- the pass --

    @property
    def alone(self) -> threading.RLock:
        """For a `with` block in which no other thread passes through the layers."""
        if self._pid != os.getpid():  # a fork may have left the lock with a thread that is not here
            self._pid, self._lock = os.getpid(), threading.RLock()
        return self._lock

    def forward(self, x: Array, training: bool, out: Array) -> None:
        """out = model(x), each layer keeping what its backward needs."""
        with self.alone:
            self._keeps = True
            try:
                self._run(x, training, out)
            except BaseException:
                self._keeps = False
                raise
            self._require_kept("forward fills the layers with no")

    def _run(self, x: Array, training: bool, out: Array) -> None:
        if training:
            self._require_room(self.forwards)
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Dropout):
                layer._forwards = self.forwards
            y = layer.forward(x, training=training) if self._training[index] else layer.forward(x)
            x = self._checked(y, index, (len(x), self._widths[index + 1]), "forward")
        self.counters[1] += np.uint64(training)
        out[...] = x

    def predict(self, x: Array, out: Array) -> None:
        """out = model(x) as at inference. What the layers kept for backward is lost: only they know where it is."""
        with self.alone:
            self._keeps = False
            self._run(x, False, out)

    def backward(self, dy: Array, out: Array | None) -> None:
        """Fill the layers' gradients; write dx to `out` unless it is None."""
        with self.alone:
            self._backward(dy, out)

    def _backward(self, dy: Array, out: Array | None) -> None:
        self._require_kept("backward needs a forward before it, with no")
        for index in reversed(range(len(self.layers))):
            dx = self.layers[index].backward(dy)
            self._require_kept("backward goes through the layers with no")
            dy = self._checked(dx, index, (len(dy), self._widths[index]), "backward")
        for _ in self.gradients():  # looked through here, where a step can still be taken back
            pass
        if out is not None:
            out[...] = dy

    def _require_kept(self, demand: str) -> None:
        if not self._keeps:
            raise RuntimeError(
                f"{demand} step, predict or evaluate between, nor in a loss function or signal handler: layers written"
                " in Python keep what belongs to the rows that they saw last"
            )

    def _checked(self, values: Any, index: int, shape: tuple[int, int], method: str) -> Array:
        if np.shape(values) != shape:
            raise ValueError(
                f"{method} of {self._name(index)} must return an array of shape {shape}, got {np.shape(values)}"
            )
        return np.ascontiguousarray(values, dtype=self.dtype)

    # -- the update --

    def compile(
        self, kind: int | None, options: Any, optimizer: _core.OptimizerSpec, state_0: Array | None,
        state_1: Array | None, changes: list[tuple[Any, str, Any]],
    ) -> None:  # fmt: skip
        """Choose the optimizer, whose states are written in place, with no steps taken, and make `changes`.

        The loss is computed apart from the engine, by `rows.loss_of`.
        """
        counters = np.array([0, self.forwards], np.uint64)
        own = [(self, "_optimizer", optimizer), (self, "_states", [state_0, state_1]), (self, "counters", counters)]
        _core.set_all([*own, *changes])

    def penalty(self) -> float:
        """Sum of the penalties l1 sum |w| + l2 sum w^2."""
        return _added(network.penalty() for network in self._penalties.values())

    def flat(self, arrays: list[Array]) -> Array:
        """The arrays one after the other, in a new one."""
        parts = [array.reshape(-1) for array in arrays]
        return np.concatenate([np.empty(0, self.update_dtype), *parts]).astype(self.update_dtype, copy=False)

    def update(self, learning_rate: float) -> None:
        """Add penalty gradients, clip, apply the optimizer: one step, over flat copies of all arrays."""
        assert self._optimizer is not None
        self._require_room(self.steps)
        indices, arrays = zip(*self.parameters(), strict=True) if self.n_parameters else ((), ())
        values, gradient = self.flat(list(arrays)), self.flat(list(self.gradients()))
        start = 0
        for index, array in zip(indices, arrays, strict=True):
            layer = self.layers[index]
            if isinstance(layer, Dense) and index in self._penalties and array is layer.parameters[0]:
                part = slice(start, start + array.size)
                gradient[part] += _penalty_gradient(layer.l1, layer.l2, values[part])
            start += array.size
        if self._optimizer.clip_value > 0.0:
            np.clip(gradient, -self._optimizer.clip_value, self._optimizer.clip_value, out=gradient)
        if self._optimizer.clip_norm > 0.0:
            ranges = (gradient[i : i + _NORM_RANGE] for i in range(0, len(gradient), _NORM_RANGE))
            norm = math.sqrt(_added(_core.sum_squares(part) for part in ranges))
            if norm > self._optimizer.clip_norm:
                gradient *= gradient.dtype.type(self._optimizer.clip_norm / norm)
        # On copies, which then take their places in one call: an interrupt must not leave half of a step behind.
        old_states = [state for state in self._states if state is not None]
        states = [None if state is None else state.copy() for state in self._states]
        _core.optimizer_update(self._optimizer, self.steps + 1, learning_rate, values, gradient, *states)
        new_states = [state for state in states if state is not None]
        counters = self.counters + np.array([1, 0], np.uint64)
        self._keeps = False  # for the weights as they were
        _core.copy_all([*arrays, *old_states, self.counters], [*self.shaped(values, arrays), *new_states, counters])

    @staticmethod
    def shaped(values: Array, arrays: Sequence[Array]) -> list[Array]:
        """The flat `values` cut into arrays like `arrays`."""
        parts, start = [], 0
        for array in arrays:
            parts.append(values[start : start + array.size].reshape(array.shape).astype(array.dtype, copy=False))
            start += array.size
        return parts


def _added(values: Iterable[float]) -> float:
    """The values added left to right. Not sum(): since Python 3.12 it carries a compensation along."""
    total = 0.0
    for value in values:
        total += value
    return total


def _penalty_gradient(l1: float, l2: float, weight: Array) -> Array:
    """l1 sign(w) + 2 l2 w, rounded once after the sum, as the native update does it."""
    penalty: Array = np.where(weight == 0, weight.dtype.type(0), np.copysign(weight.dtype.type(l1), weight))
    # Plain SGD is fma(-rate, gradient, parameter): with rate -2 l2 it is the fma that NumPy has not.
    fma = _core.OptimizerSpec(kind=_core.OPTIMIZERS["sgd"])
    _core.optimizer_update(fma, 1, -2.0 * l2, penalty, weight, None, None)
    return penalty
