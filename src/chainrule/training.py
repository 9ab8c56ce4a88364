"""The training loop: epochs in native slices, or step by step where Python code takes part."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core, _data
from . import callbacks as _callbacks
from ._checks import choose, flag, integer, number
from .callbacks import Callback, History
from .losses import Loss, UserLoss
from .progress import Progress, resolve_verbose

if TYPE_CHECKING:
    from .model import Sequential

Array = npt.NDArray[Any]

# A native slice returns after so many seconds, for Ctrl-C and the progress line.
_SLICE_SECONDS = 0.05


@contextmanager
def building(model: "Sequential", n_in: int) -> Iterator[None]:
    """Build an unbuilt model; take that back if the block raises before it is told that all is well."""
    was_built = model.built
    model.build(n_in)
    try:
        yield
    except (TypeError, ValueError):
        if not was_built and model._engine is not None and model._engine.steps == 0:
            model._forget_build()
        raise


class Rows:
    """Rows with their targets, ready for C, and what the model makes of them."""

    def __init__(self, model: "Sequential", x: Array, y: Any, sample_weight: Any, prefix: str) -> None:
        assert model.loss is not None and model.n_out is not None
        names = ("x", "y", "sample_weight")
        if prefix:
            names = ("x of validation_data", "y of validation_data", "sample_weight of validation_data")
        if not len(x):
            raise ValueError(f"{names[0]} must have at least one row, got shape {x.shape}")
        self._model, self._prefix = model, prefix
        self.x = x
        self.y = np.asarray(y)
        self.target = _data.target(model.loss, self.y, len(x), model.n_out, model.dtype, names[1])
        self.weight = _data.sample_weight(sample_weight, len(x), model.dtype, names[2])
        if self.weight is not None and isinstance(model.loss, UserLoss):
            model.loss.check_weight()

    def figures(self, *, loss: bool = True, batch_size: int | None = None) -> dict[str, float]:
        """Loss (penalties included) and metrics, as at inference."""
        model = self._model
        assert model._engine is not None and model.loss is not None
        if not loss and not model.metrics:
            return {}
        prediction = model.predict(self.x, batch_size=batch_size)
        result = {}
        if loss:
            value, _ = loss_of(model.loss, prediction, self.target, self.weight, gradient=False)
            result["loss"] = value + model._engine.penalty()
        zero = model.loss.from_logits
        decision = {"threshold": 0.0 if zero else 0.5, "multilabel": zero and model.n_out != 1}
        for metric in model.metrics:
            result[metric.name] = metric(self.y, prediction, self.weight, decision)
        return {self._prefix + name: value for name, value in result.items()}


def loss_of(
    loss: Loss | UserLoss, prediction: Array, target: Array, weight: Array | None, *, gradient: bool = True
) -> tuple[float, Array | None]:
    """The mean loss of a batch and, if wanted, its gradient with respect to the prediction."""
    if isinstance(loss, UserLoss):
        return loss(prediction, target, weight)
    out = np.empty_like(prediction) if gradient else None
    return _core.loss(loss.kind, loss.core_options(), True, prediction, target, weight, out), out


def step(model: "Sequential", x: Array, target: Array, weight: Array | None, learning_rate: float) -> float:
    """One training step on arrays that passed the door; the loss before the update, penalties included."""
    engine, loss = model._engine, model.loss
    assert engine is not None and loss is not None
    if isinstance(engine, _core.Network) and isinstance(loss, Loss):
        return engine.train_step(x, target, weight, learning_rate)
    with model._undo_statistics():
        prediction = np.empty((len(x), engine.n_out), model.dtype)
        engine.forward(x, True, prediction)
        value, gradient = loss_of(loss, prediction, target, weight)
        assert gradient is not None
        engine.backward(gradient, None)
        value += engine.penalty()
    engine.update(learning_rate)
    return value


def _fit_slice(
    model: "Sequential", rows: Rows, order: Array | None, batch_size: int, rates: Array, first_step: int,
    seconds: float, step_loss: Array,
) -> int:  # fmt: skip
    """Steps from `first_step` on, until `seconds` are over or a loss is not finite; the next step."""
    engine = model._engine
    if isinstance(engine, _core.Network) and isinstance(model.loss, Loss):
        return engine.fit(rows.x, rows.target, rows.weight, order, batch_size, rates, first_step, seconds, step_loss)
    end = time.perf_counter() + seconds
    for i in range(first_step, len(step_loss)):
        batch: Any = slice(i * batch_size, (i + 1) * batch_size)
        if order is not None:
            batch = order[batch]
        weight = None if rows.weight is None else rows.weight[batch]
        step_loss[i] = step(model, rows.x[batch], rows.target[batch], weight, float(rates[i]))
        if time.perf_counter() >= end or not math.isfinite(step_loss[i]):
            break
    return i + 1


def fit(
    model: "Sequential",
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Any,
    validation_data: Any,
    validation_split: float,
    callbacks: Sequence[Callback],
    verbose: str | int,
    initial_epoch: int,
    on_nan: str,
) -> History:
    """`Sequential.fit`; see there."""
    model._require_compiled("fit")
    epochs = integer(epochs, "epochs", at_least=0)
    batch_size = integer(batch_size, "batch_size", at_least=1)
    shuffle = flag(shuffle, "shuffle")
    validation_split = number(validation_split, "validation_split", at_least=0.0, below=1.0)
    verbose = resolve_verbose(verbose)
    initial_epoch = integer(initial_epoch, "initial_epoch", at_least=0)
    choose(on_nan, ("warn", "raise", "ignore"), "on_nan")
    for callback in _each(callbacks):
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold chainrule callbacks, got {callback!r}")
    array = _data.matrix(x, model.dtype, model.n_in)
    if not len(array):
        raise ValueError(f"x must have at least one row to train on, got shape {array.shape}")

    batch_size = min(batch_size, len(array))
    with model._exclusive("fit"):
        with building(model, array.shape[1]):
            rows, validation = _split(model, array, y, sample_weight, class_weight, validation_data, validation_split)
        model._forward_shape = None
        loop = _Loop(model, rows, validation, batch_size, shuffle, [*_each(callbacks)], on_nan)
        return loop.run(initial_epoch, epochs, verbose)


def _each(callbacks: Any) -> Sequence[Callback]:
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a list of callbacks, got {callbacks!r}")
    return callbacks


def _split(
    model: "Sequential", x: Array, y: Any, sample_weight: Any, class_weight: Any, validation_data: Any,
    validation_split: float,
) -> tuple[Rows, Rows | None]:  # fmt: skip
    """The rows to train on and those to validate on."""
    assert model.n_out is not None
    rows = Rows(model, x, y, sample_weight, "")
    validation = None
    if validation_data is not None:
        if validation_split:
            raise ValueError("give validation_data or validation_split, not both")
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise TypeError("validation_data must be a tuple (x, y) or (x, y, sample_weight)")
        x_val = _data.matrix(validation_data[0], model.dtype, model.n_in, "x of validation_data")
        weight = validation_data[2] if len(validation_data) == 3 else None
        validation = Rows(model, x_val, validation_data[1], weight, "val_")
    elif validation_split:
        first = len(x) - int(len(x) * validation_split)
        if first == len(x):
            raise ValueError(f"validation_split {validation_split:g} of {len(x)} rows leaves none to validate on")
        parts = []
        for part, prefix in ((slice(0, first), ""), (slice(first, None), "val_")):
            weight = None if rows.weight is None else rows.weight[part]
            parts.append(Rows(model, x[part], rows.y[part], weight, prefix))
        rows, validation = parts
    if class_weight is not None:
        weight = _data.class_weight(class_weight, rows.y, model.n_out)
        if rows.weight is not None:
            weight = weight * rows.weight
        rows = Rows(model, rows.x, rows.y, weight, "")
    return rows, validation


class _Loop:
    """One call of fit, after its arguments have passed the door."""

    def __init__(
        self, model: "Sequential", rows: Rows, validation: Rows | None, batch_size: int, shuffle: bool,
        callbacks: list[Callback], on_nan: str,
    ) -> None:  # fmt: skip
        self.model, self.rows, self.validation = model, rows, validation
        self.batch_size, self.shuffle, self.on_nan = batch_size, shuffle, on_nan
        self.history = History()
        self.callbacks = [self.history, *callbacks]
        self.each_batch = [callback for callback in callbacks if _callbacks.wants_batches(callback)]
        self.n_steps = -(-len(rows.x) // batch_size)
        self.order = np.empty(len(rows.x), np.int64) if shuffle else None
        self.step_loss = np.empty(self.n_steps)
        self.warned = False

    def run(self, initial_epoch: int, epochs: int, verbose: int) -> History:
        model = self.model
        model.stop_training = False
        model.history = self.history
        progress = Progress(verbose, epochs, self.n_steps)
        for callback in self.callbacks:
            callback.model = model
            callback.on_train_begin()
        try:
            for epoch in range(initial_epoch, epochs):
                start = time.perf_counter()
                for callback in self.callbacks:
                    callback.on_epoch_begin(epoch)
                logs = self._epoch(epoch, progress)
                self.history.seconds.append(time.perf_counter() - start)
                progress.epoch(epoch, logs, self.history.seconds[-1])
                assert model.optimizer is not None
                model.optimizer.schedule.observe(logs)
                for callback in self.callbacks:
                    callback.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
        finally:
            progress.close()
        for callback in self.callbacks:
            callback.on_train_end()
        return self.history

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """All steps of one epoch, then its figures."""
        model = self.model
        assert model.optimizer is not None and model._engine is not None
        if self.order is not None:
            _core.random_permutation(model.seed, epoch, self.order)
        batch_weight = self._batch_weights()
        schedule, rates = None, np.empty(0)
        first_of_all = model._engine.steps
        step = 0
        while step < self.n_steps:
            if model.optimizer.schedule is not schedule:  # a callback may set another
                schedule = model.optimizer.schedule
                rates = schedule.values(first_of_all, self.n_steps)
            seconds = 0.0 if self.each_batch else _SLICE_SECONDS
            step = _fit_slice(model, self.rows, self.order, self.batch_size, rates, step, seconds, self.step_loss)
            loss = float(self.step_loss[step - 1])
            if not math.isfinite(loss):
                self._not_finite(epoch, step - 1, loss)
            for callback in self.each_batch:
                callback.on_batch_end(step - 1, loss)
            progress.step(epoch, step, loss)
        logs = {"loss": _mean(self.step_loss, batch_weight)}
        logs.update(self.rows.figures(loss=False))
        if self.validation is not None:
            logs.update(self.validation.figures())
        logs["learning_rate"] = float(rates[-1])
        return logs

    def _batch_weights(self) -> Array:
        """The total weight of each batch of this epoch's order."""
        n, size = len(self.rows.x), self.batch_size
        if self.rows.weight is None:
            sizes = np.full(self.n_steps, float(size))
            sizes[-1] = n - (self.n_steps - 1) * size
            return sizes
        weight = self.rows.weight if self.order is None else self.rows.weight[self.order]
        parts = (weight[first : first + size].tolist() for first in range(0, n, size))
        return np.array([math.fsum(part) for part in parts])

    def _not_finite(self, epoch: int, step: int, loss: float) -> None:
        if self.on_nan == "ignore" or self.warned:
            return
        self.warned = True
        why = "x holds values that are not finite" if not np.isfinite(self.rows.x).all() else (
            "the learning rate may be too high"
        )  # fmt: skip
        message = f"the loss is {loss} in epoch {epoch}, step {step}: {why}"
        if self.on_nan == "raise":
            raise FloatingPointError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=6)


def _mean(values: Array, weights: Array) -> float:
    """The weighted mean, added one by one: what is decided by it is decided alike everywhere.

    cumsum adds in order, which sum does not; and it takes 1 ns a step, where a step of a tiny net takes 90.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.cumsum(values * weights)[-1])
        if not math.isfinite(total) and not np.isfinite(values).all():
            return float(np.sum(np.where(np.isfinite(values), 0.0, values)))
    return total / float(np.cumsum(weights)[-1])
