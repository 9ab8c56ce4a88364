"""Sequential: layers one after the other, with their weights in one flat array."""

import time
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _core, losses, optimizers, training
from ._checks import integer
from ._data import matrix
from ._data import sample_weight as as_weight
from ._data import target as as_target
from ._foundation import Foundation
from .callbacks import Callback, History
from .layers import Activation, Dense
from .metrics import resolve as resolve_metrics
from .rows import Rows
from .summary import summary

Array = npt.NDArray[Any]

# Seconds that a native call of `predict` may take, for Ctrl-C to be heard between two; and the multiply-adds of the
# first one, before anything has been measured: some 50 ms on slow machines. Results of a row do not depend on its
# neighbours, so this changes no bit.
_CALL_SECONDS = 0.05
_CALL_WORK = {"scalar": 2**24}
_CALL_WORK_VECTOR = 2**28


class Sequential(Foundation):
    """A neural network: layers, each working on the output of the one before.

    Parameters
    ----------
    layers : sequence of Layer
        At least one; each belongs to one model only.
    seed : int, None, or a NumPy generator, default=0
        Fixes initial weights, the order of rows in `fit`, and dropout masks. None draws a fresh one, which
        `model.seed` then tells.
    dtype : {"float32", "float64"}
        Of weights and results.

    Attributes
    ----------
    layers : tuple of Layer
    seed : int
    dtype : numpy.dtype
    n_in, n_out : int or None
        Features in and out; None before the model is built.
    optimizer, loss, metrics
        As compiled, or None; only `compile` changes them.
    history : History or None
        Of the last `fit`, kept also when it was interrupted.
    stop_training : bool
        Set it to True in a callback to end `fit` after the epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit: no layers, something else among them, or one that belongs to another model.

    Notes
    -----
    ``model(x, out=None)`` is `predict`. One row takes either 0.2 us and the arithmetic, if x is an array of the model's
    dtype; so does `train_step`.

    Examples
    --------
    >>> import numpy as np
    >>> import chainrule as cr
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> model = cr.Sequential([cr.Dense(8, "tanh"), cr.Dense(1)], seed=1)
    >>> model.compile(optimizer=cr.Adam(0.05), loss="sigmoid_cross_entropy", metrics=["accuracy"])
    >>> history = model.fit(x, y, epochs=200, batch_size=4, verbose=0)
    >>> model.evaluate(x, y)["accuracy"]
    1.0
    """

    def compile(
        self,
        optimizer: str | optimizers.Optimizer = "sgd",
        loss: str | losses.Loss | Callable[..., Any] | None = None,
        metrics: Sequence[Any] = (),
    ) -> None:
        """Choose how the model learns. Compiling again starts the optimizer afresh and keeps the weights.

        Parameters
        ----------
        optimizer : str or Optimizer, default="sgd"
        loss : str, Loss or callable
            Required; None is refused. A name of `losses.NAMES`, an object with options, or a function
            (prediction, target) -> (loss, gradient) for a batch, which may take `sample_weight=` too.
        metrics : sequence of str, (str, dict) or callable, default=()
            Names of `metrics.NAMES`, with options if need be, or functions (y_true, y_pred) -> float, where
            y_true has the shape of y_pred, (n_rows, n_out), or holds labels (n_rows,). The threshold of
            "accuracy" for a single output is 0 with losses from logits, 0.5 with others.

        Raises
        ------
        TypeError, ValueError
            If one of them is unknown; the model stays as it was.

        Warns
        -----
        UserWarning
            If the last layer ends in softmax or sigmoid, and the loss has one of its own.
        """
        self._compile(optimizer, loss, metrics, restart=True)

    def _compile(self, optimizer: Any, loss: Any, metrics: Any, *, restart: bool) -> None:
        """`compile`; without `restart` the schedule keeps what it has learned."""
        if loss is None:
            raise TypeError(f"loss is missing: give a function, or one of {', '.join(losses.NAMES)}")
        rule, function, figures = optimizers.resolve(optimizer), losses.resolve(loss), resolve_metrics(metrics)
        if restart:
            self._warn_of_a_second_activation(function.name)
        with self._exclusive("compile"):
            before = self.optimizer
            rule._listen(self)
            changes: list[tuple[Any, str, Any]] = [
                (self, "_optimizer", rule), (self, "_loss", function), (self, "_metrics", figures)
            ]  # fmt: skip
            if restart:
                changes += [(rule.schedule, name, value) for name, value in rule.schedule._fresh().items()]
            if self.built:
                assert self._engine is not None
                self._bind(self._engine, rule, function, changes)
            else:
                _core.set_all(changes)
            if before is not None and before is not rule:
                before._leave(self)

    def _warn_of_a_second_activation(self, loss: str) -> None:
        last = self.layers[-1]
        name = last.activation.name if isinstance(last, (Dense, Activation)) else ""
        if loss in ("softmax_cross_entropy", "sigmoid_cross_entropy") and name in ("softmax", "sigmoid"):
            warnings.warn(
                f"the last layer ends in {name}, and {loss} applies {loss.partition('_')[0]} to what it gives: leave"
                " the activation out, the loss takes scores", UserWarning, stacklevel=4,
            )  # fmt: skip

    # -- the pass --

    def _ready(self, x: Any, what: str) -> Array:
        """Return `x` as the model's input; RuntimeError if the model is not built."""
        if not self.built:
            raise RuntimeError(f"{what} needs weights: call build(n_in), fit or load first")
        return matrix(x, self.dtype, self.n_in)

    def _predict_slow(self, x: npt.ArrayLike, out: Array | None, batch_size: int | None) -> Array:
        most = None if batch_size is None else integer(batch_size, "batch_size", at_least=1)
        array = self._ready(x, "predict")
        assert self._engine is not None and self.n_out is not None
        apart: list[tuple[str, Array]] = []
        if out is not None:
            apart = [("x", array), *(("the model's weights", weights) for weights in self._all_parameters())]
            apart += [("the model's running statistics", values) for values in self._all_running()]
        result = _arrays.result("out", out, (len(array), self.n_out), self.dtype, apart)
        with _core.StandardMode():
            self._predict_rows(array, result, len(array) if most is None else most)
        return result

    def _predict_rows(self, x: Array, out: Array, most: int) -> None:
        """out = model(x), in calls of at most `most` rows that do not take long."""
        assert self._engine is not None
        work = _CALL_WORK.get(_core.isa(), _CALL_WORK_VECTOR)
        rows = max(1, min(most, work // max(1, sum(p.size for p in self._all_parameters()))))
        first = 0
        while first < len(x):
            start = time.perf_counter()
            self._engine.predict(x[first : first + rows], out[first : first + rows])
            seconds = time.perf_counter() - start
            first += rows
            if seconds > _CALL_SECONDS:
                rows = max(1, int(rows * _CALL_SECONDS / seconds))
            elif 4 * seconds < _CALL_SECONDS:
                rows = max(1, min(most, 2 * rows))

    def forward(self, x: npt.ArrayLike, training: bool = False) -> Array:
        """Return the output for `x`, keeping what `backward` needs.

        `backward` reads the weights, too: they must stay as they are until then, with no `set_weights` or assignment
        to a layer's weights between. A model with Python layers keeps it until the next `predict` or `evaluate` only.

        Parameters
        ----------
        x : array_like, shape (n_rows, n_in)
            Must stay as it is until `backward`.
        training : bool, default=False
            Apply dropout, and have batch norms use and fold in the batch's statistics.

        Returns
        -------
        ndarray, shape (n_rows, n_out)

        Raises
        ------
        RuntimeError
            If the model is not built, or is training.
        TypeError, ValueError
            If `x` does not fit.
        """
        array = self._ready(x, "forward")
        assert self._engine is not None and self.n_out is not None
        with self._exclusive("forward"), _core.StandardMode():
            out = np.empty((len(array), self.n_out), self.dtype)
            self._forward_shape = None
            with self._keep_statistics():
                self._engine.forward(array, bool(training), out)
            self._forward_shape = out.shape
        return out

    def backward(self, dy: npt.ArrayLike) -> Array:
        """Turn d loss / d output of the last `forward` into `gradients`.

        The gradients are written, not added: plain sums over rows, without penalties. `update` applies them.

        Parameters
        ----------
        dy : array_like, shape (n_rows, n_out)

        Returns
        -------
        ndarray, shape (n_rows, n_in)
            d loss / d x.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        ValueError
            If `dy` has another shape than its output.
        """
        if self._forward_shape is None:
            raise RuntimeError("backward needs a forward before it, with no training between")
        if np.shape(dy) != self._forward_shape:
            raise ValueError(f"dy must have the output's shape {self._forward_shape}, got {np.shape(dy)}")
        assert self._engine is not None and self.n_in is not None
        gradient = matrix(dy, self.dtype, self.n_out, "dy")
        with self._exclusive("backward"), _core.StandardMode():
            dx = np.empty((len(gradient), self.n_in), self.dtype)
            self._engine.backward(gradient, dx)
        return dx

    def update(self) -> None:
        """Apply the optimizer once, with `gradients` as they stand after `backward`: penalties, clipping, the step.

        With `forward` and `backward` this is `train_step` in three calls, with room for whatever a training loop of
        one's own does between them: losses of another kind, gradients added up over batches.

        Raises
        ------
        RuntimeError
            If the model is not built or not compiled, or is training.

        Examples
        --------
        >>> import numpy as np
        >>> import chainrule as cr
        >>> x, y = np.ones((4, 2)), np.zeros((4, 1))
        >>> model = cr.Sequential([cr.Dense(1)], seed=1, dtype="float64")
        >>> model.compile("sgd", "squared_error")
        >>> model.build(2)
        >>> error = model.forward(x, training=True) - y
        >>> dx = model.backward(error / len(x))
        >>> model.update()
        """
        self._require_compiled("update")
        if not self.built:
            raise RuntimeError("update needs weights: call build(n_in), fit or load first")
        assert self._engine is not None and self.optimizer is not None
        with self._exclusive("update"), _core.StandardMode():
            self._forward_shape = None
            self._engine.update(self.optimizer.schedule(self._engine.steps))

    # -- training --

    def _require_compiled(self, what: str) -> None:
        if self.loss is None:
            raise RuntimeError(f"{what} needs a loss and an optimizer: call compile first")

    def _train_step_slow(self, x: Any, y: Any, sample_weight: Any) -> float:
        """`train_step` for all that is not plain arrays, a native loss and a constant rate."""
        self._require_compiled("train_step")
        assert self.loss is not None and self.optimizer is not None
        array = matrix(x, self.dtype, self.n_in)
        if not len(array):
            raise ValueError(f"x must have at least one row to train on, got shape {array.shape}")
        with self._exclusive("train_step"), _core.StandardMode():
            was_built = self.built
            self.build(array.shape[1])
            try:
                assert self._engine is not None and self.n_out is not None
                target = as_target(self.loss, y, len(array), self.n_out, self.dtype)
                weight = as_weight(sample_weight, len(array), self.dtype)
                if weight is not None and isinstance(self.loss, losses.UserLoss):
                    self.loss.check_weight()
                rate = self.optimizer.schedule(self._engine.steps)
                self._forward_shape = None
                return training.step(self, array, target, weight, rate)
            except BaseException:
                self._take_back_build(was_built)
                raise

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: Any = None,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        callbacks: Sequence[Callback] = (),
        verbose: str | int = "auto",
        initial_epoch: int = 0,
        on_nan: str = "warn",
        resume: bool = False,
    ) -> History:
        """Train, going on from the present weights and optimizer state.

        Parameters
        ----------
        x : array_like, shape (n_rows, n_in)
            Builds the model if it is not built.
        y : array_like
            Targets (n_rows, n_out); integer labels (n_rows,) for the cross entropies; (n_rows,) for one
            output.
        epochs : int, default=1
            Number of the epoch to stop before, as in Keras: epochs - initial_epoch are run.
        batch_size : int, default=32
            Rows a step; an epoch's last batch may be shorter.
        shuffle : bool, default=True
            Epoch e takes the rows in an order fixed by (model.seed, e).
        sample_weight : array_like, shape (n_rows,), optional
            Finite, >= 0; a weight of 2 is the same as the row twice (in the same batch).
        class_weight : dict or "balanced", optional
            Weight of each class, multiplied into `sample_weight`; "balanced": n_rows / (n_classes * rows of
            the class).
        validation_data : tuple (x, y) or (x, y, sample_weight), optional
        validation_split : float, default=0.0
            Part of the rows, the last ones, kept from training for validation, rounded up. In [0, 1).
        callbacks : sequence of Callback, default=()
        verbose : {"auto", 0, 1, 2}
            0 prints nothing, 1 a live line, 2 a line an epoch; "auto" is 1 on a terminal, else 0.
        initial_epoch : int, default=0
            Number of the first epoch.
        on_nan : {"warn", "raise", "ignore"}
            What to do when a loss is not finite: one RuntimeWarning that names epoch and step, a
            FloatingPointError, or nothing. The step itself is done: best weights are kept by `EarlyStopping`
            and `Checkpoint`.
        resume : bool, default=False
            Continue the last `fit` of this model, or of the one that was saved, where it stopped, within an epoch
            or between two: with the same arguments the result has the same bits as if it had not stopped. What
            callbacks keep is handed to those of the same class. If there was none, start at epoch 0.

        Returns
        -------
        History
            Per epoch: "loss", the mean over batches weighted by their rows (or sample weights), each before
            its update, penalties included; metrics of the training rows, computed at the epoch's end as at
            inference (which costs a forward pass); the same with "val_" for the validation rows;
            "learning_rate".

        Raises
        ------
        RuntimeError
            If the model is not compiled, or is training already.
        TypeError, ValueError
            If an argument does not fit; nothing has changed then.
        KeyboardInterrupt
            On Ctrl-C, between two steps: the model is as after the last one, `model.history` has the whole
            epochs, and `fit` with `resume=True` goes on.
        """
        return training.fit(
            self, x, y, epochs=epochs, batch_size=batch_size, shuffle=shuffle, sample_weight=sample_weight,
            class_weight=class_weight, validation_data=validation_data, validation_split=validation_split,
            callbacks=callbacks, verbose=verbose, initial_epoch=initial_epoch, on_nan=on_nan, resume=resume,
        )  # fmt: skip

    def evaluate(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """Return loss and metrics for these rows, as at inference; penalties are part of the loss.

        Parameters
        ----------
        x : array_like, shape (n_rows, n_in)
        y : array_like, shape (n_rows, n_out) or (n_rows,)
            As in `fit`.
        sample_weight : array_like, shape (n_rows,), optional
        batch_size : int, optional
            Rows per native call; changes no result.

        Returns
        -------
        dict of str to float
            "loss", and the metrics by their names.

        Raises
        ------
        RuntimeError
            If the model is not built or not compiled.
        TypeError, ValueError
            If an argument does not fit.
        """
        self._require_compiled("evaluate")
        array = self._ready(x, "evaluate")
        with _core.StandardMode():
            return Rows(self, array, y, sample_weight).figures(batch_size=batch_size)

    def summary(self) -> None:
        """Print the layers, their outputs and numbers of parameters."""
        print(summary(self))

    # -- keeping --

    def save(self, path: str | PathLike[str], *, include_optimizer: bool = True) -> None:
        """Write the model to a file: layers, weights, how it was compiled, optimizer state and counters.

        The file holds data only and replaces an older one in one step; `chainrule.load` reads it. Layers written
        in Python go in by name, without their code. After a `fit` that was interrupted it holds where that stopped.

        Parameters
        ----------
        path : str or path-like
            Taken as it is: no extension is added.
        include_optimizer : bool, default True
            False, for models that are to predict only: layers, weights and running statistics, a third of the file
            that Adam makes. Loaded, the model is not compiled. Losses and metrics may then be Python functions.

        Raises
        ------
        TypeError
            If a loss, metric or schedule that is to go in is a Python function, which a file cannot hold.
        OSError
            If the file cannot be written; an older one is then as it was.
        """
        from .io import save

        save(self, path, include_optimizer=include_optimizer)

    def __reduce__(self) -> Any:
        from .io.state import describe, restore

        return restore, describe(self, code=True)

    def __repr__(self) -> str:
        inner = ", ".join(repr(layer) for layer in self.layers)
        return f"Sequential([{inner}], seed={self.seed}, dtype={self.dtype.name!r})"
