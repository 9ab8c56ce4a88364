"""What may happen between epochs: recording, stopping early, a user's own code."""

import math
import numbers
import time
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from . import _core, schedules
from ._checks import choose, flag, integer, number, path_text
from ._describe import Described

if TYPE_CHECKING:
    from .model import Sequential


class Callback:
    """Base of callbacks. Override what you need; set `self.model.stop_training = True` to end `fit`.

    An exception raised here ends `fit` and reaches its caller; the model is as after the last whole step.

    Attributes
    ----------
    model : Sequential
        Set before training begins.
    """

    model: "Sequential"

    def on_train_begin(self) -> None:
        """Called once, after `fit` has checked its arguments."""

    def on_train_end(self) -> None:
        """Called once, after the last epoch; not after an exception."""

    def on_exception(self, error: BaseException) -> None:
        """Called when `fit` ends by an exception, Ctrl-C included, before it goes on to the caller of `fit`."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before each epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch with its figures: loss, metrics, and val_ ones, and learning_rate.

        Numbers that are added to `logs` are seen by later callbacks and the schedule, and recorded in the history.
        """

    def on_batch_end(self, step: int, loss: float) -> None:
        """Called after each step of an epoch, counted from 0, with the batch's loss before the update.

        Overriding it makes every step come back to Python, which is slow for small nets.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what `fit(resume=True)` needs to go on with: it is kept with the model, in its files too.

        Numbers, text, None, and lists, dicts with str keys and NumPy arrays of them. {}, the default, is not kept.
        """
        return {}

    def _snapshot(self) -> Callable[[], dict[str, Any]] | None:
        """What gives the `state_dict` of now when it is called; None if that is {}. Taken at every epoch's end."""
        state = self.state_dict()
        return (lambda: state) if state else None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; called after `on_train_begin`, if the run is continued.

        Raises
        ------
        ValueError
            If it is something else.
        """
        raise ValueError(f"{type(self).__name__} has a state_dict of its own, but no load_state_dict")


class _Entry(list[Any]):
    """[epoch, figures], as the state of a history has it; and the seconds, which do not go into files."""

    __slots__ = ("seconds",)

    def __init__(self, epoch: int, figures: dict[str, float], seconds: float) -> None:
        super().__init__((epoch, figures))
        self.seconds: float = seconds


class History(Callback):
    """The figures of every finished epoch; `fit` makes one and returns it, and the model keeps it.

    Attributes
    ----------
    epoch : list of int
        Numbers of the finished epochs.
    history : dict of str to list of float
        "loss", the metrics, "val_" + each of them, "learning_rate" (of the epoch's last step).
    seconds : list of float
        Duration of each epoch, validation included. Kept apart because it alone is not reproducible; NaN for epochs
        that `fit(resume=True)` found done.
    """

    def __init__(self) -> None:
        # One entry an epoch, so that an epoch is recorded with all its figures or not at all.
        self._entries: list[_Entry] = []
        self._start = time.perf_counter()

    @property
    def epoch(self) -> list[int]:
        return [epoch for epoch, _ in self._entries]

    @property
    def seconds(self) -> list[float]:
        return [entry.seconds for entry in self._entries]

    @property
    def last_seconds(self) -> float:
        """The last of `seconds`, without the list; IndexError if there is none."""
        return self._entries[-1].seconds

    @property
    def history(self) -> dict[str, list[float]]:
        columns: dict[str, list[float]] = {}
        for _, logs in self._entries:
            for name, value in logs.items():
                columns.setdefault(name, []).append(value)
        return columns

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._entries.append(_Entry(epoch, dict(logs), time.perf_counter() - self._start))

    def take_over(self, logs: dict[str, float]) -> None:
        """Record in the last epoch what callbacks have made of its figures."""
        figures = self._entries[-1][1]
        if logs != figures:
            figures.update({name: float(value) for name, value in logs.items() if isinstance(value, numbers.Real)})

    def state_dict(self) -> dict[str, Any]:
        # Times are left out of files, which are reproducible.
        return {"entries": self._entries.copy()}

    def _snapshot(self) -> Callable[[], dict[str, Any]]:
        # A run of 100 000 epochs must neither make anew nor copy what it has: entries stay as they are once made.
        entries, n = self._entries, len(self._entries)
        return lambda: {"entries": entries[:n]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        entries = []
        for entry in _fields(state, "History", "entries")[0]:
            epoch, logs = entry
            if not isinstance(logs, dict):
                raise ValueError(f"the figures of an epoch in the state of History must be a dict, got {logs!r:.200}")
            figures = {str(name): float(value) for name, value in logs.items()}
            entries.append(_Entry(integer(epoch, "epoch", at_least=0), figures, math.nan))
        self._entries = entries

    def __contains__(self, name: object) -> bool:
        return name in self.history

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __getitem__(self, name: str) -> list[float]:
        history = self.history
        if name not in history:
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(history) or 'no epochs'}")
        return history[name]

    def __repr__(self) -> str:
        return f"History({len(self._entries)} epochs; {', '.join(self.history)})"


class EarlyStopping(Described, Callback):
    """Stop when a figure has not improved for `patience` epochs, and go back to the weights of the best one.

    Parameters
    ----------
    monitor : str, default="val_loss"
        Name in the epoch's logs.
    patience : int, default=10
        Epochs without improvement that are let pass; training stops at the one after.
    min_delta : float, default=0.0
        Smaller changes are no improvement.
    mode : {"auto", "min", "max"}
        Whether smaller or larger is better; "auto" knows it of loss and chainrule's metrics, and names that end like
        them: accuracy, auc and r2_score should rise, loss and error fall.
    restore_best_weights : bool, default=True
        At the end of training, stopped early or not, set the weights of the best epoch; also when
        `fit(on_nan="raise")` ends it because the loss is not finite. The optimizer's state stays as it is.

    Attributes
    ----------
    best : float or None
        Best value seen.
    best_epoch, stopped_epoch : int or None
        Where it was seen; where training was stopped (None if it ran to its end).

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    _settings: ClassVar = ("monitor", "patience", "min_delta", "mode", "restore_best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {monitor!r}")
        self.monitor = monitor
        self.patience: int = integer(patience, "patience", at_least=0)
        self.min_delta: float = number(min_delta, "min_delta", at_least=0.0)
        self.mode: str = choose(mode, ("auto", "min", "max"), "mode")
        self.restore_best_weights: bool = flag(restore_best_weights, "restore_best_weights")
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._last_epoch: int | None = None
        self._waited = 0
        # Those of the best epoch; [] where they are the model's own, because training has ended.
        self._best_weights: list[Any] | None = None

    def on_train_begin(self) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        value = schedules.monitored(logs, self.monitor, "EarlyStopping")
        self._last_epoch = epoch
        if schedules.better(value, self.best, self.monitor, self.mode, self.min_delta):
            weights = self.model.get_weights() if self.restore_best_weights else None
            self.best, self.best_epoch, self._waited, self._best_weights = value, epoch, 0, weights
            return
        self._waited += 1
        if self._waited > self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self._best_weights and self.best_epoch != self._last_epoch:
            self.model.set_weights(self._best_weights)
        if self._best_weights is not None:
            self._best_weights = []

    def on_exception(self, error: BaseException) -> None:
        if isinstance(error, FloatingPointError) and self._best_weights:
            self.model.set_weights(self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "last_epoch": self._last_epoch,
            "waited": self._waited,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        best, best_epoch, stopped, last, waited, weights = _fields(
            state, "EarlyStopping", "best", "best_epoch", "stopped_epoch", "last_epoch", "waited", "best_weights"
        )
        self.best = None if best is None else number(best, "best")
        epochs = [
            None if epoch is None else integer(epoch, "epoch", at_least=0) for epoch in (best_epoch, stopped, last)
        ]
        self.best_epoch, self.stopped_epoch, self._last_epoch = epochs
        self._waited = integer(waited, "waited", at_least=0)
        if not self.restore_best_weights:
            weights = None
        self._best_weights = self.model.get_weights() if weights == [] else weights


class Checkpoint(Described, Callback):
    """Save the model to a file while it trains, so that a run that was cut off can go on with the same bits.

    The file is replaced in one step: whatever happens, it is a whole one. It holds all that `fit` needs, what the
    other callbacks keep included::

        model = cr.load("run.npz") if os.path.exists("run.npz") else make_model()
        callbacks = [cr.EarlyStopping(), cr.Checkpoint("run.npz")]
        model.fit(x, y, epochs=100, callbacks=callbacks, resume=True)

    Whenever this is started it trains what is left. Called after all other callbacks. A state whose loss or weights
    are not finite is not saved: the last sound file stays.

    Parameters
    ----------
    path : str or path-like
    every_epochs : int or None, default=1
        Save at the end of every epoch whose number + 1 divides by it; None: only by steps.
    every_steps : int, optional
        Save within epochs too, after steps whose number + 1 divides by it. Every step comes back to Python then,
        which is slow for small nets.
    monitor : str, optional
        Save only if this figure of the epoch is the best so far; not together with `every_steps`.
    mode : {"auto", "min", "max"}
        As for `EarlyStopping`.

    Attributes
    ----------
    best : float or None
        Best monitored value saved.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    _settings: ClassVar = ("path", "every_epochs", "every_steps", "monitor", "mode")

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        self.path: str = path_text(path)
        self.every_epochs: int | None = (
            None if every_epochs is None else integer(every_epochs, "every_epochs", at_least=1)
        )
        self.every_steps: int | None = None if every_steps is None else integer(every_steps, "every_steps", at_least=1)
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {monitor!r}")
        if monitor is not None and every_steps is not None:
            raise ValueError("give monitor or every_steps, not both: the figures are those of whole epochs")
        self.monitor: str | None = monitor
        self.mode: str = choose(mode, ("auto", "min", "max"), "mode")
        self.best: float | None = None
        if self.every_steps is not None:
            # Of this object alone: a class that overrides it makes every step come back to Python.
            vars(self)["on_batch_end"] = self._on_batch_end

    def on_train_begin(self) -> None:
        self.best = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.every_epochs is None or (epoch + 1) % self.every_epochs:
            return
        if self.monitor is not None:
            value = schedules.monitored(logs, self.monitor, "Checkpoint")
            if schedules.better(value, self.best, self.monitor, self.mode) and self._is_sound(logs["loss"]):
                self.best, before = value, self.best  # before saving: the file knows it
                try:
                    self.model.save(self.path)
                except BaseException:
                    self.best = before
                    raise
        elif self._is_sound(logs["loss"]):
            self.model.save(self.path)

    def _on_batch_end(self, step: int, loss: float) -> None:
        assert self.every_steps is not None
        if (step + 1) % self.every_steps == 0 and self._is_sound(loss):
            self.model.save(self.path)

    def _is_sound(self, loss: float) -> bool:
        """Whether the loss and all weights are finite."""
        return math.isfinite(loss) and not any(
            _core.count_not_finite(weights.reshape(-1)) for weights in self.model.get_weights()
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best} if self.monitor is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        (best,) = _fields(state, "Checkpoint", "best")
        self.best = None if best is None else number(best, "best")


def _fields(state: Any, who: str, *names: str) -> list[Any]:
    """The values of a state that must have just these names."""
    if not isinstance(state, dict) or set(state) != set(names):
        raise ValueError(f"the state of {who} needs {', '.join(names)}, got {state!r:.200}")
    return [state[name] for name in names]


class LambdaCallback(Callback):
    """Functions as a callback; each is called like the method of its name.

    Parameters
    ----------
    on_train_begin, on_train_end : callable () -> None, optional
    on_exception : callable (error) -> None, optional
    on_epoch_begin : callable (epoch) -> None, optional
    on_epoch_end : callable (epoch, logs) -> None, optional
    on_batch_end : callable (step, loss) -> None, optional

    Raises
    ------
    TypeError
        If one of them cannot be called.
    """

    def __init__(
        self,
        *,
        on_train_begin: Callable[[], Any] | None = None,
        on_train_end: Callable[[], Any] | None = None,
        on_epoch_begin: Callable[[int], Any] | None = None,
        on_epoch_end: Callable[[int, dict[str, float]], Any] | None = None,
        on_batch_end: Callable[[int, float], Any] | None = None,
        on_exception: Callable[[BaseException], Any] | None = None,
    ) -> None:
        functions: Mapping[str, Callable[..., Any] | None] = {
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_end": on_batch_end,
            "on_exception": on_exception,
        }
        for name, function in functions.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(f"{name} must be callable, got {function!r}")
                setattr(self, name, function)


def wants_batches(callback: Callback) -> bool:
    """Whether the callback has an `on_batch_end` of its own."""
    return getattr(callback.on_batch_end, "__func__", None) is not Callback.on_batch_end
