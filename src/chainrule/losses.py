"""Losses, by name or as objects with options.

A loss is called like a user's own: loss(prediction, target) -> (value, gradient with respect to prediction).
d = prediction - target; l is the loss of one row; t a target, p a prediction. With sample weights w the mean
is sum_i w_i l_i / sum_i w_i, so an integer weight is the same as repeating the row; one of 0 leaves the row out, even
if its loss is infinite or NaN (but x of the model must be finite in such rows too). Kernels:
csrc/kernels/losses.inc.h.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import _core, kernels
from ._checks import choose, loss_option
from ._describe import Fixed

Array = npt.NDArray[Any]


class Loss(Fixed):
    """Base of chainrule's own losses."""

    name: ClassVar[str]

    def _instead(self) -> str | None:
        return "compile with it" if type(self) is CLASSES.get(type(self).__name__) else None

    @property
    def kind(self) -> int:
        """The number of this loss in the C library."""
        return _core.LOSSES[self.name]

    @property
    def takes_labels(self) -> bool:
        """Whether integer class labels of shape (n_rows,) will do as targets."""
        return bool(_core.loss_takes_labels(self.kind))

    @property
    def from_logits(self) -> bool:
        """Whether predictions are scores with the decision at 0 rather than probabilities with it at 1/2."""
        return self.name in ("sigmoid_cross_entropy", "hinge")

    def options(self) -> dict[str, Any]:
        """The options that `chainrule.kernels.loss` takes."""
        return {name: getattr(self, name) for name in self._settings}

    def core_options(self) -> _core.LossOptions:
        """The same for the compiled core."""
        return _core.LossOptions(**{_CORE_NAMES.get(name, name): value for name, value in self.options().items()})

    def __call__(
        self,
        prediction: npt.ArrayLike,
        target: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        reduction: str = "mean",
    ) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to `prediction`.

        Parameters
        ----------
        prediction : array_like, shape (n_rows, n_out)
        target : array_like, shape (n_rows, n_out), or labels (n_rows,) where `takes_labels`
        sample_weight : array_like, shape (n_rows,), optional
        reduction : {"mean", "sum"}
            Over rows.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_rows, n_out)

        Raises
        ------
        TypeError, ValueError
            If shapes or dtypes do not fit, a label is out of range, or a target is NaN.
        """
        result: tuple[float, Array] = kernels.loss(
            self.name, prediction, target, sample_weight=sample_weight, reduction=reduction, **self.options()
        )
        return result


_CORE_NAMES = {"q": "quantile"}


class SquaredError(Loss):
    """l = 1/2 sum_j d_j^2: the textbook loss, whose gradient is d."""

    name = "squared_error"


class MeanSquaredError(Loss):
    """l = mean_j d_j^2."""

    name = "mean_squared_error"


class AbsoluteError(Loss):
    """l = sum_j |d_j|; the gradient at 0 is 0."""

    name = "absolute_error"


class Huber(Loss):
    """l = sum_j d_j^2 / 2 where |d_j| <= delta, else delta (|d_j| - delta / 2) (Huber 1964).

    Parameters
    ----------
    delta : float, default=1.0
        Greater than 0.
    """

    name = "huber"
    _settings: ClassVar = ("delta",)

    def __init__(self, delta: float = 1.0) -> None:
        self.delta: float = loss_option(delta, "delta")


class LogCosh(Loss):
    """l = sum_j log cosh d_j."""

    name = "log_cosh"


class Quantile(Loss):
    """l = sum_j max(q (t_j - p_j), (q - 1)(t_j - p_j)): pinball loss, least at the q-quantile (Koenker 1978).

    Parameters
    ----------
    q : float, default=0.5
        In (0, 1).
    """

    name = "quantile"
    _settings: ClassVar = ("q",)

    def __init__(self, q: float = 0.5) -> None:
        self.q: float = loss_option(q, "q")


class Poisson(Loss):
    """l = sum_j p_j - t_j log p_j, p > 0 (use activation "exponential" or "softplus" on the last layer)."""

    name = "poisson"


class CrossEntropy(Loss):
    """l = -sum_j t_j log p_j on probabilities; prefer `SoftmaxCrossEntropy`, which starts from logits.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        In [0, 1): targets become (1 - s) t + s / n_out.
    """

    name = "cross_entropy"
    _settings: ClassVar = ("label_smoothing",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing: float = loss_option(label_smoothing, "label_smoothing")


class SoftmaxCrossEntropy(Loss):
    """l = -sum_j t_j log softmax(p)_j, p logits; the gradient is softmax(p) - t where t sums to 1.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        In [0, 1): targets become (1 - s) t + s / n_out.
    """

    name = "softmax_cross_entropy"
    _settings: ClassVar = ("label_smoothing",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing: float = loss_option(label_smoothing, "label_smoothing")


class SigmoidCrossEntropy(Loss):
    """l = -sum_j w t_j log sigmoid(p_j) + (1 - t_j) log(1 - sigmoid(p_j)), p logits, w = pos_weight.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        In [0, 1): targets become (1 - s) t + s / 2.
    pos_weight : float, default=1.0
        Greater than 0: weight of the positive targets.
    """

    name = "sigmoid_cross_entropy"
    _settings: ClassVar = ("label_smoothing", "pos_weight")

    def __init__(self, label_smoothing: float = 0.0, pos_weight: float = 1.0) -> None:
        self.label_smoothing: float = loss_option(label_smoothing, "label_smoothing")
        self.pos_weight: float = loss_option(pos_weight, "pos_weight")


class Hinge(Loss):
    """l = sum_j max(0, 1 - t_j p_j), t = -1 or +1."""

    name = "hinge"


class UserLoss:
    """A user's function (prediction, target) -> (loss, gradient), with what it returns checked.

    `prediction` is (n_rows, n_out) of the model's dtype, `target` the rows of y: floats in that dtype, all else as it
    is; (n_rows, 1) for (n_rows,) where there is one output.
    """

    takes_labels = False
    from_logits = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.takes_weight: bool = accepts(function, "sample_weight")

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> tuple[float, Array]:
        if sample_weight is None:
            result = self.function(prediction, target)
        else:
            self.check_weight()
            result = self.function(prediction, target, sample_weight=sample_weight)
        try:
            value, gradient = result
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"loss {self.name} must return (loss, gradient), a number and an array, got {type(result).__name__}"
            ) from None
        gradient = np.asarray(gradient)
        if gradient.dtype.kind not in "fiub":
            raise TypeError(f"loss {self.name} must return a gradient of real numbers, got dtype {gradient.dtype}")
        gradient = np.ascontiguousarray(gradient, dtype=prediction.dtype)
        if gradient.shape != prediction.shape:
            raise ValueError(
                f"loss {self.name} returned a gradient of shape {gradient.shape}, the prediction has {prediction.shape}"
            )
        return value, gradient

    def check_weight(self) -> None:
        """TypeError unless the function takes sample weights."""
        if not self.takes_weight:
            raise TypeError(
                f"sample_weight (or class_weight) was given, but loss {self.name} takes no argument sample_weight"
            )


CLASSES: dict[str, type[Loss]] = {
    kind.__name__: kind
    for kind in (
        SquaredError, MeanSquaredError, AbsoluteError, Huber, LogCosh, Quantile, Poisson, CrossEntropy,
        SoftmaxCrossEntropy, SigmoidCrossEntropy, Hinge,
    )
}  # fmt: skip

_BY_NAME: dict[str, type[Loss]] = {kind.name: kind for kind in CLASSES.values()}

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that `compile` and `chainrule.kernels.loss` take."""


def resolve(loss: Any) -> Loss | UserLoss:
    """Turn a name, a loss object, its class or a user's function into a loss."""
    if isinstance(loss, type) and issubclass(loss, Loss) and getattr(loss, "name", None) in NAMES:
        loss = loss()
    if isinstance(loss, UserLoss):
        return loss
    if isinstance(loss, Loss) or (isinstance(loss, type) and issubclass(loss, Loss)):
        # Networks compute a loss by its name, in C.
        if getattr(loss, "name", None) not in NAMES or type(loss).__call__ is not Loss.__call__:
            raise TypeError(f"loss {loss!r} has code of its own: give a function, or one of {', '.join(NAMES)}")
        return loss  # type: ignore[return-value]
    if callable(loss):
        return UserLoss(loss)
    return _BY_NAME[choose(loss, NAMES, "loss")]()


def accepts(function: Callable[..., Any], argument: str) -> bool:
    """Whether `function` can be called with this keyword."""
    import inspect  # here: slow to load, and for users' functions only

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == argument and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in parameters
    )
