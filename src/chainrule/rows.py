"""Rows to train on or to judge by: arrays that passed the door, and what a model makes of them."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _core, _data
from .losses import Loss, UserLoss

if TYPE_CHECKING:
    from .model import Sequential

Array = npt.NDArray[Any]


class Rows:
    """Rows with their targets, ready for C, and what the model makes of them."""

    def __init__(
        self, model: "Sequential", x: Array, y: Any, sample_weight: Any, *, prefix: str = "",
        names: tuple[str, str, str] = ("x", "y", "sample_weight"),
    ) -> None:  # fmt: skip
        assert model.loss is not None and model.n_out is not None
        if not len(x):
            raise ValueError(f"{names[0]} must have at least one row, got shape {x.shape}")
        self._model, self._prefix = model, prefix
        self.x = x
        self.y: Array = _arrays.without_objects(np.asarray(y))
        self.target: Array = _data.target(model.loss, self.y, len(x), model.n_out, model.dtype, names[1])
        # As many dimensions as the prediction has, or labels: what a user's metric subtracts is never broadcast.
        if model.n_out == 1 and self.y.ndim == 1:
            self.y = self.y.reshape(-1, 1)
        elif model.n_out > 1 and self.y.shape == (len(x), 1):
            self.y = self.y.reshape(-1)
        self.weight: Array | None = _data.sample_weight(sample_weight, len(x), model.dtype, names[2])
        if self.weight is not None and isinstance(model.loss, UserLoss):
            model.loss.check_weight()

    def check_metrics(self) -> None:
        """Refuse metrics that are not for such targets and outputs, before an epoch rather than after it."""
        assert self._model.n_out is not None
        for metric in self._model._metrics:
            metric.check(self.y, self._model.n_out)

    def figures(self, *, loss: bool = True, batch_size: int | None = None) -> dict[str, float]:
        """Loss (penalties included) and metrics, as at inference."""
        model = self._model
        assert model._engine is not None and model.loss is not None
        if not loss and not model._metrics:
            return {}
        prediction = model.predict(self.x, batch_size=batch_size)
        result = {}
        if loss:
            value, _ = loss_of(model.loss, prediction, self.target, self.weight, gradient=False)
            result["loss"] = value + model._engine.penalty()
        zero = model.loss.from_logits
        decision = {"threshold": 0.0 if zero else 0.5, "multilabel": zero and model.n_out != 1}
        for metric in model._metrics:
            result[metric.name] = metric(self.y, prediction, self.weight, decision)
        return {self._prefix + name: value for name, value in result.items()}


def split(
    model: "Sequential", x: Array, y: Any, sample_weight: Any, class_weight: Any, validation_data: Any,
    validation_split: float,
) -> tuple[Rows, Rows | None]:  # fmt: skip
    """The rows to train on and those to validate on."""
    assert model.loss is not None and model.n_out is not None
    rows = Rows(model, x, y, sample_weight)
    validation = None
    if validation_data is not None:
        if validation_split:
            raise ValueError("give validation_data or validation_split, not both")
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise TypeError("validation_data must be a tuple (x, y) or (x, y, sample_weight)")
        x_val = _data.matrix(validation_data[0], model.dtype, model.n_in, "x of validation_data")
        weight = validation_data[2] if len(validation_data) == 3 else None
        names = ("x of validation_data", "y of validation_data", "sample_weight of validation_data")
        validation = Rows(model, x_val, validation_data[1], weight, prefix="val_", names=names)
    elif validation_split:
        first = len(x) - max(1, math.ceil(round(len(x) * validation_split, 6)))  # 0.07 of 100 is 7.000..1
        if first == 0:
            raise ValueError(f"validation_split {validation_split!r} of {len(x)} rows leaves none to train on")
        parts = []
        for part, prefix, which in (
            (slice(0, first), "", "the first rows, which are trained on"),
            (slice(first, None), "val_", "the last rows, which validation_split keeps"),
        ):
            weight = None if rows.weight is None else rows.weight[part]
            names = ("x", f"y of {which},", f"sample_weight of {which},")
            parts.append(Rows(model, x[part], rows.y[part], weight, prefix=prefix, names=names))
        rows, validation = parts
    if class_weight is not None:
        weight = _data.class_weight(class_weight, rows.y, model.loss, model.n_out, model.dtype)
        if rows.weight is not None:
            weight = weight * rows.weight
        if not weight.any():
            raise ValueError("class_weight leaves no row of weight above 0")
        rows = Rows(model, rows.x, rows.y, weight)
    rows.check_metrics()
    if validation is not None:
        validation.check_metrics()
    return rows, validation


def loss_of(
    loss: Loss | UserLoss, prediction: Array, target: Array, weight: Array | None, *, gradient: bool = True
) -> tuple[float, Array | None]:
    """The mean loss of a batch and, if wanted, its gradient with respect to the prediction."""
    if isinstance(loss, UserLoss):
        return loss(prediction, target, weight)
    out = np.empty_like(prediction) if gradient else None
    return _core.loss(loss.kind, loss.core_options(), True, prediction, target, weight, out), out
