"""What a model stands on: its arrays, its engine, and the rule that one writer at a time has them.

A model of native layers has all parameters in one flat array and a `_core.Network` over it; a model with
Python layers has a `LayerByLayer`, and each layer its own arrays. `Sequential` adds what users do with it.
"""

import contextlib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _core, losses, metrics, optimizers
from ._checks import real_dtype, require_held_spec, width
from ._checks import seed as as_seed
from .callbacks import History
from .layers import Layer, NativeLayer, aligned, is_native
from .layerwise import LayerByLayer
from .run import Run

Array = npt.NDArray[Any]


class Foundation(_core.Model):
    """Building, binding a loss and an optimizer, weights in and out; `Sequential` has the documentation."""

    def __init__(self, layers: Sequence[Layer], *, seed: Any = 0, dtype: Any = "float32") -> None:
        if isinstance(layers, (Layer, str)) or not isinstance(layers, Sequence):
            raise TypeError(f"layers must be a list of layers, got {layers!r}")
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must hold chainrule layers, got {layer!r}")
        self._seed: int = as_seed(seed)
        self._dtype: np.dtype[Any] = real_dtype(dtype)
        for i, layer in enumerate(layers):
            try:
                layer._claim(self)
            except ValueError:
                for claimed in layers[:i]:
                    claimed._owner = None
                raise
        self._layers: tuple[Layer, ...] = tuple(layers)
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | losses.UserLoss | None = None
        self._metrics: list[metrics.Metric] = []
        self.history: History | None = None
        self.stop_training = False
        self._run: Run | None = None
        self._forget_build()

    # What the constructor and `compile` were given. Without setters: what is set here alone the engine would not know.

    @property
    def seed(self) -> int:
        """Fixes initial weights, the order of rows and dropout masks."""
        return self._seed

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of weights and results."""
        return self._dtype

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input on; for other layers make another model."""
        return self._layers

    @property
    def optimizer(self) -> optimizers.Optimizer | None:
        """The optimizer, or None before `compile`, which alone changes it."""
        return self._optimizer

    @property
    def loss(self) -> losses.Loss | losses.UserLoss | None:
        """The loss, or None before `compile`, which alone changes it."""
        return self._loss

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The metrics, a list of one's own; `compile` changes them."""
        return list(self._metrics)

    # -- building --

    def _forget_build(self) -> None:
        self._network = None
        self._learning_rate = math.nan
        self._engine: _core.Network | LayerByLayer | None = None
        self._widths: list[int] = []
        self._flat: Array | None = None
        self._flat_gradient: Array | None = None
        self._running = np.empty(0, self.dtype)
        self._states: list[Array] = []
        self._forward_shape: tuple[int, int] | None = None
        for layer in self.layers:
            if isinstance(layer, NativeLayer):
                layer._built = False
            for name in ("parameters", "gradients"):
                if name in vars(layer):  # a property knows itself
                    setattr(layer, name, [])

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._engine is not None

    @property
    def n_in(self) -> int | None:
        """Number of input features, or None before the model is built."""
        return self._widths[0] if self._widths else None

    @property
    def n_out(self) -> int | None:
        """Number of outputs, or None before the model is built."""
        return self._widths[-1] if self._widths else None

    def build(self, n_in: int) -> None:
        """Make the weights for inputs of `n_in` features; `fit` does it from its data.

        Raises
        ------
        ValueError
            If the model was built for another number. For the same one nothing happens.
        """
        self._build(n_in, None)

    def _build(self, n_in: int, widths: list[int] | None) -> None:
        """`build`; layer by layer with the widths of a file, whose sizes go by them."""
        n_in = width(n_in, "n_in")
        if self.built:
            if n_in != self.n_in:
                raise ValueError(f"n_in is {n_in}, the model was built for {self.n_in}")
            return
        engine: _core.Network | LayerByLayer
        try:
            with _core.StandardMode():
                if all(is_native(layer) for layer in self.layers):
                    engine, changes = self._make_network(n_in)
                else:
                    engine = LayerByLayer(self.layers, n_in, self.dtype, self.seed, widths)
                    changes = [(self, "_widths", engine._widths), (self, "_engine", engine)]
            if self.optimizer is not None and self.loss is not None:
                self._bind(engine, self.optimizer, self.loss, changes)
            else:
                _core.set_all(changes)
            self._learning_rate_changed()
        except BaseException:
            self._forget_build()
            raise

    def _take_back_build(self, was_built: bool) -> None:
        """After a refusal: a model that was not built before it, and has not been trained, is not built."""
        if not was_built and self._engine is not None and self._engine.steps == 0:
            self._forget_build()

    def _make_network(self, n_in: int) -> tuple[_core.Network, list[Any]]:
        """The engine of native layers, and the attributes to set: a model is built when it has all of them."""
        layers: tuple[NativeLayer, ...] = self.layers  # type: ignore[assignment]
        specs = [layer.core_spec() for layer in layers]
        n_parameters, n_running, _ = _core.measure(n_in, specs)
        values, gradients = aligned(n_parameters, self.dtype), aligned(n_parameters, self.dtype)
        running = aligned(n_running, self.dtype)
        widths, first, first_running, n_arrays = [n_in], 0, 0, 0
        for index, (layer, spec) in enumerate(zip(layers, specs, strict=True)):
            size, size_running, n_out = _core.measure(widths[-1], [spec])
            layer._attach(
                widths[-1], self.dtype, self.seed, index, values[first : first + size],
                gradients[first : first + size], running[first_running : first_running + size_running],
            )  # fmt: skip
            layer._initialize(n_arrays)
            widths.append(n_out)
            first, first_running, n_arrays = (
                first + size,
                first_running + size_running,
                n_arrays + len(layer.parameters),
            )
        engine = _core.Network(n_in, specs, values, gradients, running, self.seed)
        return engine, [
            (self, "_network", engine), (self, "_engine", engine), (self, "_widths", widths), (self, "_flat", values),
            (self, "_flat_gradient", gradients), (self, "_running", running),
        ]  # fmt: skip

    def _bind(
        self, engine: _core.Network | LayerByLayer, optimizer: optimizers.Optimizer,
        loss: losses.Loss | losses.UserLoss, changes: list[Any],
    ) -> None:  # fmt: skip
        """Give loss and optimizer to the engine, with fresh state, and make `changes`: all of it or nothing."""
        spec, dtype = optimizer.core_spec(), self.dtype
        if isinstance(engine, LayerByLayer):
            n, dtype = engine.n_parameters, engine.update_dtype
        else:
            n = engine.n_parameters
        require_held_spec(spec, dtype, f" of {type(optimizer).__name__}")
        if isinstance(loss, losses.Loss):
            require_held_spec(loss.core_options(), self.dtype, f" of {type(loss).__name__}")
        states = [aligned(n, dtype) for _ in range(_core.optimizer_n_states(spec))]
        changes = [*changes, (self, "_states", states), (self, "_run", None)]
        state_0, state_1 = [*states, None, None][:2]
        kind = options = None
        if isinstance(loss, losses.Loss):
            kind, options = loss.kind, loss.core_options()
        engine.compile(kind, options, spec, state_0, state_1, changes)

    def _learning_rate_changed(self) -> None:
        """Let `train_step` go straight to C if all it needs is a constant rate; NaN sends it to Python."""
        direct = (
            self._network is not None
            and isinstance(self.loss, losses.Loss)
            and self.optimizer is not None
            and self.optimizer.schedule.constant
            and not self._held
            and not (self.loss.name == "softmax_cross_entropy" and self.n_out == 1)  # refused there
        )
        self._offer_rate(self.optimizer.schedule(0) if direct and self.optimizer is not None else math.nan)

    def _exclusive(self, what: str) -> _core.Turn:
        """Hold the model for one writer, as a context manager; RuntimeError if it has one."""
        return _core.Turn(self, what)

    def _keep_statistics(self, *, weights: bool = False) -> _core.Undo:
        """What puts running statistics and counters back if a pass, its `with` block, comes to nothing.

        With `weights` it puts these back, too; a snapshot meanwhile has no place for them.
        """
        engine = self._engine
        assert engine is not None
        running = engine.running() if isinstance(engine, LayerByLayer) else [self._running]
        counters = engine.counters if isinstance(engine, LayerByLayer) else engine
        if weights:
            return _core.Undo([*running, *self._all_parameters()], counters)
        return _core.Undo(running, counters, self)

    @property
    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """For a `with` block in which no other thread takes a step through layers in Python."""
        return self._engine.alone if isinstance(self._engine, LayerByLayer) else contextlib.nullcontext()

    # -- parameters --

    def _all_parameters(self) -> list[Array]:
        return [array for layer in self.layers for array in layer.parameters]

    def _all_running(self) -> list[Array]:
        return [array for layer in self.layers for array in _running(layer)]

    @property
    def parameters(self) -> Array:
        """All parameters in one flat array, a view: writing to it changes the model.

        A model with Python layers, which keep their own arrays, gives a read-only copy.
        """
        return self._flat_view(self._flat, "parameters")

    @property
    def gradients(self) -> Array:
        """The gradients of the last `backward`, laid out as `parameters`; unspecified after `train_step`."""
        return self._flat_view(self._flat_gradient, "gradients")

    def _flat_view(self, view: Array | None, what: str) -> Array:
        if not self.built:
            raise RuntimeError(f"{what}: the model has none before it is built; call build(n_in) first")
        if view is not None:
            return view
        assert isinstance(self._engine, LayerByLayer)
        arrays = [array for _, array in self._engine.parameters()] if what == "parameters" else [
            *self._engine.gradients()
        ]  # fmt: skip
        flat = self._engine.flat(arrays)
        flat.flags.writeable = False
        return flat

    def _require_weights(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(f"{what}: the model has no weights before it is built; call build(n_in) first")

    def _weight_views(self, what: str) -> list[tuple[str, Array]]:
        """Names and arrays in the order of `get_weights`."""
        self._require_weights(what)
        views: list[tuple[str, Array]] = []
        for index, layer in enumerate(self.layers):
            for i, array in enumerate([*layer.parameters, *_running(layer)]):
                views.append((f"weights[{len(views)}] (array {i} of layer {index}, {type(layer).__name__})", array))
        return views

    def get_weights(self) -> list[Array]:
        """Return copies of the weights, by layer: weight, bias; gamma, beta, running mean and variance."""
        self._require_weights("get_weights")
        engine, running = self._engine, self._all_running()
        assert engine is not None
        parameters = self._all_parameters()
        if isinstance(engine, LayerByLayer):
            with engine.alone:
                _, _, values, statistics = _core.snapshot(self, parameters, running, engine.counters)
        else:
            _, _, values, flat = _core.snapshot(self, parameters, [self._running], engine)
            statistics = [part.copy() for part in LayerByLayer.shaped(flat[0], running)]
        of_parameters, of_running = iter(values), iter(statistics)
        return [
            next(copies)
            for layer in self.layers
            for copies, n in ((of_parameters, len(layer.parameters)), (of_running, len(_running(layer))))
            for _ in range(n)
        ]

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Copy weights in, in the order of `get_weights`.

        Raises
        ------
        TypeError, ValueError
            If the arrays, their shapes or their numbers are not such as the model can hold; nothing has changed then.
        """
        views = self._weight_views("set_weights")
        if not isinstance(weights, Collection):
            raise TypeError(f"weights must be a list of arrays, got {weights!r}")
        if len(weights) != len(views):
            raise ValueError(f"weights must hold {len(views)} arrays, got {len(weights)}")
        arrays = [np.asarray(values) for values in weights]
        for array, (name, view) in zip(arrays, views, strict=True):
            if array.dtype.kind not in "biuf":
                raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
            if array.shape != view.shape:
                raise ValueError(f"{name} must have shape {view.shape}, got {array.shape}")
        # Converted first, so that a value that does not convert leaves the model as it was.
        converted = [_arrays.held(name, array, view.dtype) for array, (name, view) in zip(arrays, views, strict=True)]
        with self._alone:
            _core.copy_all([view for _, view in views], converted, self._network)


def _running(layer: Layer) -> list[Array]:
    return layer._running() if isinstance(layer, NativeLayer) else []
