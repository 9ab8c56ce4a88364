"""The training loop: epochs in native slices, or step by step where Python code takes part."""

import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core, _data
from . import callbacks as _callbacks
from ._checks import choose, flag, integer, number
from .callbacks import Callback, Checkpoint, EarlyStopping, History
from .layers import Dense
from .losses import Loss
from .progress import Progress, resolve_verbose
from .rows import Rows, loss_of, split
from .run import Position, Run, hand_out
from .schedules import ReduceOnPlateau, larger_is_better, monitored

if TYPE_CHECKING:
    from .model import Sequential

Array = npt.NDArray[Any]

# Epochs of so many steps are averaged without NumPy.
_FEW = 16

# A native slice returns after so many seconds, for Ctrl-C and the progress line.
_SLICE_SECONDS = 0.05


def step(
    model: "Sequential", x: Array, target: Array, weight: Array | None, learning_rate: float, place: Array | None = None
) -> float:
    """One training step on arrays that passed the door; the loss before the update, penalties included.

    `place`, of one element, receives the loss before the model changes: whoever finds the step done finds it there.
    """
    engine, loss = model._engine, model.loss
    assert engine is not None and loss is not None
    if isinstance(engine, _core.Network) and isinstance(loss, Loss):
        return engine.train_step(x, target, weight, learning_rate)
    with model._alone, model._keep_statistics():
        prediction = np.empty((len(x), engine.n_out), model.dtype)
        engine.forward(x, True, prediction)
        value, gradient = loss_of(loss, prediction, target, weight)
        assert gradient is not None
        engine.backward(gradient, None)
        value += engine.penalty()
        if place is not None:
            place[0] = value
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
        step(model, rows.x[batch], rows.target[batch], weight, float(rates[i]), step_loss[i : i + 1])
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
    resume: bool,
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
    if flag(resume, "resume") and initial_epoch:
        raise ValueError(f"give initial_epoch or resume, not both; got initial_epoch {initial_epoch}")
    for callback in _each(callbacks):
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold chainrule callbacks, got {callback!r}")
    array = _data.matrix(x, model.dtype, model.n_in)
    if not len(array):
        raise ValueError(f"x must have at least one row to train on, got shape {array.shape}")

    batch_size = min(batch_size, len(array))
    with model._exclusive("fit"), _core.StandardMode():
        was_built = model.built
        model.build(array.shape[1])
        try:
            rows, validation = split(model, array, y, sample_weight, class_weight, validation_data, validation_split)
            loop = _Loop(model, rows, validation, batch_size, shuffle, [*_each(callbacks)], on_nan)
            loop.check_monitors()
        except BaseException:
            model._take_back_build(was_built)
            raise
        model._forward_shape = None
        return loop.run(initial_epoch, epochs, verbose, model._run if resume else None)


def _each(callbacks: Any) -> Sequence[Callback]:
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a list of callbacks, got {callbacks!r}")
    return callbacks


class _Loop:
    """One call of fit, after its arguments have passed the door."""

    def __init__(
        self, model: "Sequential", rows: Rows, validation: Rows | None, batch_size: int, shuffle: bool,
        callbacks: list[Callback], on_nan: str,
    ) -> None:  # fmt: skip
        self.model, self.rows, self.validation = model, rows, validation
        self.batch_size, self.shuffle, self.on_nan = batch_size, shuffle, on_nan
        self.history = History()
        # Checkpoints come last: what they save is what all others know.
        callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))
        self.callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        self.checkpoints = callbacks[len(self.callbacks) :]
        self.all = [self.history, *callbacks]
        self.each_batch = [callback for callback in callbacks if _callbacks.wants_batches(callback)]
        self.n_steps = -(-len(rows.x) // batch_size)
        self.batch_sizes = np.full(self.n_steps, float(batch_size))
        self.batch_sizes[-1] = len(rows.x) - (self.n_steps - 1) * batch_size
        self.order = np.empty(len(rows.x), np.int64) if shuffle else None
        self.warned = False

    def check_monitors(self) -> None:
        """Refuse to monitor a figure that no epoch will have; behind a user's callback, which may add one, not yet."""
        names = ["loss", *(metric.name for metric in self.model.metrics)]
        if self.validation is not None:
            names += ["val_" + name for name in names]
        logs = dict.fromkeys([*names, "learning_rate"], 0.0)
        assert self.model.optimizer is not None
        complete = True
        for watcher in (*self.callbacks, self.model.optimizer.schedule, *self.checkpoints):
            if type(watcher) not in (ReduceOnPlateau, EarlyStopping, Checkpoint):
                complete = complete and not isinstance(watcher, Callback)
                continue
            monitor, mode = vars(watcher)["monitor"], vars(watcher)["mode"]
            if monitor is None:
                continue
            if complete:
                monitored(logs, monitor, type(watcher).__name__)
            larger_is_better(monitor, mode)

    def run(self, initial_epoch: int, epochs: int, verbose: int, resumed: Run | None) -> History:
        model = self.model
        assert model._engine is not None
        step = 0
        if resumed is not None:
            step = resumed.check_goes_on(model._engine.steps, len(self.rows.x), self.batch_size, self.shuffle)
            # First of all, so that the model never has a history that is behind it.
            hand_out([pair for pair in resumed.look(model).callbacks if pair[0] == "History"][:1], [self.history])
        progress = Progress(verbose, epochs, self.n_steps)
        try:
            for callback in self.all:
                callback.model = model
            model.history = self.history
            run = self._begin(initial_epoch, resumed)
            over = resumed is not None and step == 0 and model.stop_training
            while run.at.epoch < epochs and not over:
                for callback in self.all:
                    callback.on_epoch_begin(run.at.epoch)
                logs = self._epoch(run, step, progress)
                over = self._end_epoch(run, logs, progress)
                step = 0
            progress.close()
            self._end_training()
        except BaseException as error:
            if model._run is not None and model._run.participants:
                model._run.close(model)
            for callback in self.all:
                callback.on_exception(error)
            raise
        finally:
            progress.close()
        run.close(model)
        return self.history

    def _end_training(self) -> None:
        """Tell all callbacks, whatever one of them raises: others have weights to restore."""
        first: BaseException | None = None
        for callback in self.all:
            try:
                callback.on_train_end()
            except BaseException as error:
                if first is None or (isinstance(first, Exception) and not isinstance(error, Exception)):
                    first = error  # a Ctrl-C above all
        if first is not None:
            raise first

    def _begin(self, initial_epoch: int, resumed: Run | None) -> Run:
        """Tell the callbacks and set the stage: as at first, or as `resumed` left it."""
        model = self.model
        assert model._engine is not None and model.optimizer is not None
        kept = None if resumed is None else resumed.look(model)
        if resumed is None:
            model.stop_training = False
        for callback in self.all:
            callback.on_train_begin()
        losses = np.empty(self.n_steps)
        at = Position(initial_epoch, model._engine.steps)
        if resumed is not None and kept is not None:
            at = Position(resumed.at.epoch, resumed.at.first_step)
            done = resumed.done(model._engine.steps)
            losses[:done] = resumed.losses[:done]
            model.optimizer.schedule.state = kept.schedule
            orphans = hand_out(kept.callbacks, self.all)
            if orphans:
                warnings.warn(
                    f"resume: the run that stopped had {', '.join(orphans)} among its callbacks, this one has not",
                    UserWarning, stacklevel=5,
                )  # fmt: skip
            model.stop_training = kept.stop
        run = Run(len(self.rows.x), self.batch_size, self.shuffle, at, losses, self.all)
        model._run = run
        return run

    def _epoch(self, run: Run, step: int, progress: Progress) -> dict[str, float]:
        """The steps of one epoch from `step` on, then its figures."""
        model, epoch = self.model, run.at.epoch
        assert model.optimizer is not None and model._engine is not None
        if self.order is not None:
            _core.random_permutation(model.seed, epoch, self.order)
        batch_weight = self._batch_weights()
        schedule = model.optimizer.schedule
        rates = schedule.values(run.at.first_step, self.n_steps)
        while step < self.n_steps:
            if model.optimizer.schedule is not schedule:  # a callback may set another
                schedule = model.optimizer.schedule
                rates = schedule.values(run.at.first_step, self.n_steps)
            seconds = 0.0 if self.each_batch else _SLICE_SECONDS
            step = _fit_slice(model, self.rows, self.order, self.batch_size, rates, step, seconds, run.losses)
            loss = float(run.losses[step - 1])
            if not math.isfinite(loss):
                self._not_finite(epoch, step - 1, loss)
            for callback in self.each_batch:
                callback.on_batch_end(step - 1, loss)
            if progress.is_due:
                progress.step(epoch, step, _mean(run.losses[:step], batch_weight[:step]))
        logs = {"loss": _mean(run.losses, batch_weight)}
        logs.update(self.rows.figures(loss=False))
        if self.validation is not None:
            logs.update(self.validation.figures())
        logs["learning_rate"] = float(rates[-1])
        return logs

    def _end_epoch(self, run: Run, logs: dict[str, float], progress: Progress) -> bool:
        """Let all take note of an epoch's figures; whether training is over. If one fails, `run` stays before it."""
        model, epoch = self.model, run.at.epoch
        assert model.optimizer is not None and model._engine is not None
        run.at = Position(epoch, run.at.first_step, run.look(model))
        self.history.on_epoch_end(epoch, logs)
        progress.epoch(epoch, logs, self.history.last_seconds)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)
        if self.callbacks:
            self.history.take_over(logs)
        model.optimizer.schedule.observe(logs)
        run.at = Position(epoch + 1, model._engine.steps)
        for callback in self.checkpoints:
            callback.on_epoch_end(epoch, logs)
        return model.stop_training

    def _batch_weights(self) -> Array:
        """The total weight of each batch of this epoch's order."""
        if self.rows.weight is None:
            return self.batch_sizes
        n, size = len(self.rows.x), self.batch_size
        weight = self.rows.weight if self.order is None else self.rows.weight[self.order]
        parts = (weight[first : first + size].tolist() for first in range(0, n, size))
        return np.array([math.fsum(part) for part in parts])

    def _not_finite(self, epoch: int, step: int, loss: float) -> None:
        if self.on_nan == "ignore" or self.warned:
            return
        assert self.model.loss is not None
        self.warned = True
        why = "the learning rate may be too high"
        last = self.model.layers[-1]
        if self.model.loss.name == "cross_entropy" and isinstance(last, Dense) and last.activation.name == "identity":
            why = f"cross_entropy takes probabilities, {last!r} gives scores; softmax_cross_entropy takes these"
        for name, values in (("x", self.rows.x), ("y", self.rows.target)):
            if values.dtype.kind in "fc" and not np.isfinite(values).all():
                why = f"{name} holds values that are not finite as {values.dtype}"
                break
        message = f"the loss is {loss} in epoch {epoch}, step {step}: {why}"
        if self.on_nan == "raise":
            raise FloatingPointError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=6)


def _mean(values: Array, weights: Array) -> float:
    """The weighted mean, added one by one: what is decided by it is decided alike everywhere.

    accumulate adds in order, which sum does not; and it takes 1 ns a step, where a step of a tiny net takes 90. Each
    call of it takes longer than a loop over a few.
    """
    if len(values) <= _FEW:
        total = total_weight = 0.0
        for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
            total += value * weight
            total_weight += weight
        if math.isfinite(total):
            return total / total_weight
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.add.accumulate(values * weights)[-1])
        if not math.isfinite(total) and not np.isfinite(values).all():
            return float(np.sum(np.where(np.isfinite(values), 0.0, values)))
    return total / float(np.add.accumulate(weights)[-1])
