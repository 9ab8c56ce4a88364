"""What may happen between epochs: recording, stopping early, a user's own code."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import schedules
from ._checks import choose, flag, integer, number

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

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before each epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch with its figures: loss, metrics, and val_ ones, and learning_rate."""

    def on_batch_end(self, step: int, loss: float) -> None:
        """Called after each step of an epoch, counted from 0, with the batch's loss before the update.

        Overriding it makes every step come back to Python, which is slow for small nets.
        """


class History(Callback):
    """The figures of every finished epoch; `fit` makes one and returns it, and the model keeps it.

    Attributes
    ----------
    epoch : list of int
        Numbers of the finished epochs.
    history : dict of str to list of float
        "loss", the metrics, "val_" + each of them, "learning_rate" (of the epoch's last step).
    seconds : list of float
        Duration of each epoch, validation included. Kept apart because it alone is not reproducible.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.seconds: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.history:
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(self.history) or 'no epochs'}")
        return self.history[name]

    def __repr__(self) -> str:
        return f"History({len(self.epoch)} epochs; {', '.join(self.history)})"


class EarlyStopping(Callback):
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
        Whether smaller or larger is better; "auto": larger for names ending in accuracy, auc or score.
    restore_best_weights : bool, default=True
        At the end of training, stopped early or not, set the weights of the best epoch. The optimizer's state
        stays as it is.

    Attributes
    ----------
    best : float or None
        Best value seen.
    best_epoch, stopped_epoch : int or None
        Where it was seen; where training was stopped (None if it ran to its end).
    """

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
        self.patience = integer(patience, "patience", at_least=0)
        self.min_delta = number(min_delta, "min_delta", at_least=0.0)
        self.mode = choose(mode, ("auto", "min", "max"), "mode")
        self.restore_best_weights = flag(restore_best_weights, "restore_best_weights")
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._last_epoch: int | None = None
        self._waited = 0
        self._best_weights: list[Any] | None = None

    def on_train_begin(self) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        value = schedules.monitored(logs, self.monitor, "EarlyStopping")
        self._last_epoch = epoch
        if schedules.better(value, self.best, self.monitor, self.mode, self.min_delta):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited > self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self._best_weights is not None and self.best_epoch != self._last_epoch:
            self.model.set_weights(self._best_weights)
        self._best_weights = None


class LambdaCallback(Callback):
    """Functions as a callback; each is called like the method of its name.

    Parameters
    ----------
    on_train_begin, on_train_end : callable () -> None, optional
    on_epoch_begin : callable (epoch) -> None, optional
    on_epoch_end : callable (epoch, logs) -> None, optional
    on_batch_end : callable (step, loss) -> None, optional
    """

    def __init__(
        self,
        *,
        on_train_begin: Callable[[], Any] | None = None,
        on_train_end: Callable[[], Any] | None = None,
        on_epoch_begin: Callable[[int], Any] | None = None,
        on_epoch_end: Callable[[int, dict[str, float]], Any] | None = None,
        on_batch_end: Callable[[int, float], Any] | None = None,
    ) -> None:
        functions: Mapping[str, Callable[..., Any] | None] = {
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_end": on_batch_end,
        }
        for name, function in functions.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(f"{name} must be callable, got {function!r}")
                setattr(self, name, function)


def wants_batches(callback: Callback) -> bool:
    """Whether the callback has an `on_batch_end` of its own."""
    return getattr(callback.on_batch_end, "__func__", None) is not Callback.on_batch_end
