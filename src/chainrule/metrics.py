"""Figures of merit: functions (y_true, y_pred, sample_weight=None) -> float.

Shapes: y_pred is (n_rows,) or (n_rows, n_out); y_true the same, or integer labels (n_rows,) where classes are
meant; (n_rows,) and (n_rows, 1) are the same thing, nothing else is broadcast. Means are weighted by
`sample_weight`; a weight of 0 leaves the row out, even if it holds infinities or NaN. Sums run on chainrule's
kernels in float64, so a metric that stops a training run stops it at the same epoch on every machine. No rows
give NaN.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import choose, integer, number
from .losses import accepts

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Function = Callable[..., float]

# Predictions of a run that diverges overflow in figures, too; infinities and NaN say so.
_QUIET: dict[str, Any] = {"over": "ignore", "under": "ignore", "invalid": "ignore"}


def accuracy(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Return the part of right decisions.

    Parameters
    ----------
    y_true : array_like
        Labels (n_rows,) or targets (n_rows, n_out), of which the largest counts.
    y_pred : array_like, shape (n_rows,) or (n_rows, n_out)
        One column: positive above `threshold`, where targets above 0 (so 1, or +1 of -1 and +1) are the
        positive ones. Several: the decision is the largest.
    sample_weight : array_like, shape (n_rows,), optional
    threshold : float, default=0.5
        0 for logits and hinge scores, 0.5 for probabilities; a model's `compile` sets it by its loss.
    multilabel : bool, default=False
        Judge every element against the threshold instead of one decision a row.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    A prediction that is NaN, or a row with one where the largest counts, is a wrong decision.
    """
    pred = _matrix(y_pred, "y_pred")
    threshold = number(threshold, "threshold")
    if pred.shape[1] == 1 or multilabel:
        true = _like(y_true, pred)
        right = ((pred > threshold) == (true > 0)) & ~np.isnan(pred)
        return _mean(_row_means(right.astype(np.float64)), sample_weight)
    labels = _labels(y_true, pred)
    right = (np.argmax(pred, axis=1) == labels) & ~np.isnan(pred).any(axis=1)
    return _mean(right.astype(np.float64), sample_weight)


def top_k_accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, k: int = 5
) -> float:
    """Return the part of rows whose true class is among the `k` largest scores.

    Of equal scores the first counts as larger.

    Parameters
    ----------
    y_true : array_like
        Labels (n_rows,) or targets (n_rows, n_out).
    y_pred : array_like, shape (n_rows, n_out)
    sample_weight : array_like, shape (n_rows,), optional
    k : int, default=5
        1 .. n_out.

    Returns
    -------
    float
        In [0, 1].
    """
    pred = _matrix(y_pred, "y_pred")
    k = integer(k, "k", at_least=1, at_most=pred.shape[1])
    labels = _labels(y_true, pred)[:, None]
    score = np.take_along_axis(pred, labels, axis=1)
    before = np.arange(pred.shape[1]) < labels
    rank = np.count_nonzero((pred > score) | ((pred == score) & before), axis=1)
    return _mean(((rank < k) & ~np.isnan(score[:, 0])).astype(np.float64), sample_weight)


def mean_absolute_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Return the mean of |y_pred - y_true| over rows and outputs.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_rows,) or (n_rows, n_out)
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        At least 0.
    """
    pred = _matrix(y_pred, "y_pred")
    true = _like(y_true, pred)
    with np.errstate(**_QUIET):
        error = np.abs(pred - true)
    return _mean(_row_means(error), sample_weight)


def mean_squared_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Return the mean of (y_pred - y_true)^2 over rows and outputs.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_rows,) or (n_rows, n_out)
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        At least 0.
    """
    pred = _matrix(y_pred, "y_pred")
    true = _like(y_true, pred)
    with np.errstate(**_QUIET):
        error = (pred - true) ** 2
    return _mean(_row_means(error), sample_weight)


def root_mean_squared_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Return the square root of `mean_squared_error`.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_rows,) or (n_rows, n_out)
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        At least 0.
    """
    return math.sqrt(mean_squared_error(y_true, y_pred, sample_weight))


def r2_score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return 1 - sum (y_true - y_pred)^2 / sum (y_true - mean y_true)^2, averaged over outputs.

    An output whose truth is constant counts 1 if predicted exactly, else 0.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_rows,) or (n_rows, n_out)
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        At most 1.
    """
    pred = _matrix(y_pred, "y_pred")
    true = _like(y_true, pred)
    true, pred, weight = _counted(true, pred, sample_weight)
    scores = []
    for j in range(pred.shape[1]):
        with np.errstate(**_QUIET):
            residual = _dot(weight, (true[:, j] - pred[:, j]) ** 2)
        # The mean is rounded: a constant is not quite its own.
        varies = bool((true[:, j] != true[:1, j]).any())
        with np.errstate(**_QUIET):
            spread = _dot(weight, (true[:, j] - _mean(true[:, j], weight)) ** 2) if varies else 0.0
        scores.append(1.0 - residual / spread if spread != 0.0 else float(residual == 0.0))
    return math.fsum(scores) / len(scores) if len(pred) else math.nan


def roc_auc(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Return the area under the ROC curve: the chance that a positive row outranks a negative one, ties half.

    Computed as the Mann-Whitney statistic (Hanley and McNeil 1982).

    Parameters
    ----------
    y_true : array_like, shape (n_rows,) or (n_rows, 1)
        Positive where > 0.
    y_pred : array_like, shape (n_rows,), (n_rows, 1) or (n_rows, 2)
        Scores of any scale; of two columns, the second minus the first.
    sample_weight : array_like, shape (n_rows,), optional

    Returns
    -------
    float
        NaN if one of the two classes is missing, or a score is NaN.
    """
    pred = _matrix(y_pred, "y_pred")
    if pred.shape[1] == 2:
        with np.errstate(**_QUIET):
            pred = pred[:, 1:] - pred[:, :1]
    if pred.shape[1] != 1:
        raise ValueError(f"y_pred must have one or two columns for roc_auc, got shape {pred.shape}")
    true, pred, weight = _counted(_like(y_true, pred), pred, sample_weight)
    positive = true[:, 0] > 0
    if np.isnan(pred).any():
        return math.nan
    level = np.unique(pred[:, 0], return_inverse=True)[1].reshape(-1)
    n_levels = int(level.max()) + 1 if len(level) else 0
    gain = np.bincount(level, np.where(positive, weight, 0.0), n_levels).astype(np.float64)
    loss = np.bincount(level, np.where(positive, 0.0, weight), n_levels).astype(np.float64)
    below = np.cumsum(loss) - loss
    total = math.fsum(gain) * math.fsum(loss)
    return _dot(gain, below + 0.5 * loss) / total if total > 0.0 else math.nan


_BY_NAME: dict[str, Function] = {
    function.__name__: function
    for function in (
        accuracy, top_k_accuracy, mean_absolute_error, mean_squared_error, root_mean_squared_error,
        r2_score, roc_auc,
    )
}  # fmt: skip

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that `compile` takes."""


class Metric:
    """A metric as `compile` keeps it: a name for the logs, and a call that always takes a weight.

    Parameters
    ----------
    setting : str, (str, dict) or callable
        A name, a name with options such as ("top_k_accuracy", {"k": 3}), or a user's function.
    """

    def __init__(self, setting: Any) -> None:
        self.setting = setting
        self.options: dict[str, Any] = {}
        if callable(setting):
            self.function: Callable[..., Any] = setting
            inner = getattr(setting, "func", setting)  # functools.partial has no name of its own
            self.name = getattr(inner, "__name__", type(inner).__name__)
            self.takes_weight: bool = accepts(setting, "sample_weight")
            return
        if isinstance(setting, (tuple, list)) and len(setting) == 2 and isinstance(setting[1], dict):
            setting, self.options = setting[0], dict(setting[1])
        self.name = choose(setting, NAMES, "metric")
        self.function = _BY_NAME[self.name]
        self.takes_weight = True
        for option in self.options:
            if option in ("y_true", "y_pred", "sample_weight") or not accepts(self.function, option):
                raise TypeError(f"metric {self.name} has no option {option!r}")

    def __repr__(self) -> str:
        return f"Metric({self.setting!r})"

    def check(self, y_true: Array, n_out: int) -> None:
        """Refuse targets or outputs that a named metric is not for, before training rather than after an epoch."""
        if callable(self.setting):
            return
        try:
            self(y_true[:1], np.zeros((1, n_out)), None, {})
        except (TypeError, ValueError) as error:
            raise type(error)(f"metric {self.name}, one row: {error}") from None

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None, decision: dict[str, Any]) -> float:
        """Return the figure; `decision` holds the threshold and multilabel settings that a loss calls for."""
        options = {**decision, **self.options} if self.function is accuracy else dict(self.options)
        if sample_weight is not None and self.takes_weight:
            options["sample_weight"] = sample_weight
        value = self.function(y_true, y_pred, **options)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {self.name} must return a number, got {type(value).__name__}") from None


def resolve(settings: Any) -> list[Metric]:
    """Turn the `metrics` argument of `compile` into metrics with different names."""
    if isinstance(settings, str) or not isinstance(settings, Sequence):
        raise TypeError(f"metrics must be a list of names or functions, got {settings!r}")
    metrics = [Metric(setting) for setting in settings]
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1 or name in ("loss", "learning_rate") or name.startswith("val_"):
            raise ValueError(
                "metrics must have names that differ from each other, from 'loss' and 'learning_rate', and do not"
                f" begin with 'val_'; got {names}"
            )
    return metrics


def _matrix(values: npt.ArrayLike, what: str) -> Floats:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2:
        raise ValueError(f"{what} must be 1-D or 2-D, got shape {matrix.shape}")
    return matrix


def _like(y_true: npt.ArrayLike, pred: Floats) -> Floats:
    true = _matrix(y_true, "y_true")
    if true.shape != pred.shape:
        raise ValueError(f"y_true has shape {np.shape(y_true)}, y_pred has {pred.shape}")
    return true


def _labels(y_true: npt.ArrayLike, pred: Floats) -> npt.NDArray[np.int64]:
    true = np.asarray(y_true)
    if true.ndim == 2 and true.shape == pred.shape:
        largest: npt.NDArray[np.int64] = np.argmax(true, axis=1)
        return largest
    if true.shape not in ((len(pred),), (len(pred), 1)):
        raise ValueError(f"y_true has shape {true.shape}, y_pred has {pred.shape}")
    labels = true.reshape(-1)
    if labels.dtype.kind not in "biu":
        raise TypeError(f"y_true must hold integer labels for y_pred of shape {pred.shape}, got {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() >= pred.shape[1]):
        raise ValueError(f"y_true must hold labels 0 .. {pred.shape[1] - 1}, got {labels.min()} .. {labels.max()}")
    return labels.astype(np.int64)


def _weights(sample_weight: npt.ArrayLike | None, n: int) -> Floats:
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weight.shape}")
    return weight


def _counted(true: Floats, pred: Floats, sample_weight: npt.ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """The rows whose weight is not 0, and their weights."""
    weight = _weights(sample_weight, len(pred))
    counts = weight != 0.0
    return (true, pred, weight) if counts.all() else (true[counts], pred[counts], weight[counts])


def _dot(a: Floats, b: Floats) -> float:
    """sum a b by the product kernel: the same bits everywhere, unlike NumPy's."""
    out = np.empty((1, 1))
    column = np.ascontiguousarray(b)[:, None]
    _core.dense_forward(np.ascontiguousarray(a)[None, :], column, None, _core.ACTIVATIONS["identity"], 0.0, None, out)
    return float(out[0, 0])


def _row_means(values: Floats) -> Floats:
    n_out = values.shape[1]
    if n_out == 1:
        column: Floats = values[:, 0]
        return column
    out = np.empty((len(values), 1))
    _core.dense_forward(values, np.ones((n_out, 1)), None, _core.ACTIVATIONS["identity"], 0.0, None, out)
    means: Floats = out[:, 0] / n_out
    return means


def _mean(values: Floats, sample_weight: npt.ArrayLike | None) -> float:
    weight = _weights(sample_weight, len(values))
    if sample_weight is not None:
        values = np.where(weight != 0.0, values, 0.0)  # 0 times infinity is NaN
    total = _dot(weight, np.ones(len(weight)))
    return _dot(weight, values) / total if total > 0.0 else math.nan
