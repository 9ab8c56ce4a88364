"""The door of a model: arrays from users become arrays that C reads, or an error that says what is wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays
from ._checks import number
from .losses import Loss, UserLoss

Array = npt.NDArray[Any]


def matrix(values: Any, dtype: np.dtype[Any], n_cols: int | None, what: str = "x") -> Array:
    """Return `values` as (n_rows, n_cols) of this dtype, rows of adjacent elements; a view if that will do.

    Parameters
    ----------
    n_cols : int or None
        Features wanted; None takes any number but 0.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If the shape is another.
    """
    array = _arrays.real(what, values, objects=True)
    if array.ndim != 2:
        wanted = "n_features" if n_cols is None else n_cols
        hint = ""
        if array.ndim == 1:
            column, row = f"{what}.reshape(-1, 1) makes one column of it", f"{what}.reshape(1, -1) one row"
            hint = f"; {column}, {row}"
            if n_cols == array.shape[0]:
                hint = f"; {what}.reshape(1, -1) makes one row of it"
            elif n_cols == 1:
                hint = f"; {column}"
        raise ValueError(f"{what} must have shape (n_rows, {wanted}), got {array.shape}{hint}")
    if n_cols is None and array.shape[1] == 0:
        raise ValueError(f"{what} must have at least one feature, got shape {array.shape}")
    if n_cols is not None and array.shape[1] != n_cols:
        raise ValueError(f"{what} has {array.shape[1]} features, the model was built for {n_cols}")
    return _arrays.readable(array, dtype)


def target(loss: Loss | UserLoss, y: Any, n_rows: int, n_out: int, dtype: np.dtype[Any], what: str = "y") -> Array:
    """Return `y` as the loss reads it: int32 labels (n_rows,), or (n_rows, n_out) of the model's dtype.

    A user's loss gets `y` as it is, with two exceptions that NumPy's broadcasting makes necessary: floating-point
    targets take the model's dtype, and (n_rows,) becomes (n_rows, 1) for a model with one output.

    Raises
    ------
    TypeError
        If `y` does not hold numbers, or holds labels that are not integers.
    ValueError
        If its shape does not fit (nothing is ever broadcast), a label is out of range, or a value is NaN.
    """
    array = np.asarray(y) if isinstance(loss, UserLoss) else _arrays.real(what, y, objects=True)
    if array.ndim == 0 or len(array) != n_rows:
        got = f"{len(array)} rows" if array.ndim else "no rows"
        raise ValueError(f"{what} has {got}, x has {n_rows}")
    if isinstance(loss, UserLoss):
        if n_out == 1 and array.ndim == 1:
            array = array.reshape(-1, 1)
        return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array
    if loss.name == "softmax_cross_entropy" and n_out == 1:
        raise ValueError("softmax_cross_entropy needs two outputs or more (of one, softmax is always 1);"
                         " for one output there is sigmoid_cross_entropy")  # fmt: skip
    if loss.takes_labels and n_out > 1 and array.dtype.kind == "f" and array.shape in ((n_rows,), (n_rows, 1)):
        raise TypeError(
            f"{what} holds {array.dtype} numbers, class labels must be integers; {what}.astype(int) makes them so"
        )
    result = _arrays.targets(what, array, n_rows, n_out, dtype, loss.takes_labels)
    if result.dtype == dtype:
        _arrays.check_target_values(what, loss.name, result)
    return result


def sample_weight(values: Any, n_rows: int, dtype: np.dtype[Any], what: str = "sample_weight") -> Array | None:
    """Return sample weights as (n_rows,) of this dtype, or None for none.

    Raises
    ------
    TypeError, ValueError
        If they are not one finite number >= 0 a row, some of them positive.
    """
    if values is None:
        return None
    weight = _arrays.sample_weights(what, values, n_rows, dtype)
    if n_rows and not weight.any():
        raise ValueError(f"{what} must not be all 0")
    return weight


def class_weight(
    setting: Any, y: Any, loss: Loss | UserLoss, n_out: int, dtype: np.dtype[Any]
) -> npt.NDArray[np.float64]:
    """Return one weight a row, (n_rows,), from the class of each row.

    Parameters
    ----------
    setting : dict or "balanced"
        class -> weight, 1 for classes not named; or n_rows / (n_classes * rows of the class).
    y : array_like
        Labels (n_rows,) or (n_rows, 1), or targets (n_rows, n_out): of losses that take labels the largest column is
        the class, of others the only one above 0; of one output they are 0 and 1, or -1 and +1.
    dtype : dtype
        What the weights will be converted to.

    Raises
    ------
    TypeError, ValueError
        If `setting` is something else, or a row of `y` has no class, as in regression and multilabel targets.
    """
    array = np.asarray(y)
    if not isinstance(loss, UserLoss) and not loss.takes_labels:
        _check_one_class_each(array, n_out)
    if array.ndim == 2 and array.shape[1] > 1:
        array = np.argmax(array, axis=1)
    array = array.reshape(-1)
    classes, index, counts = np.unique(array, return_inverse=True, return_counts=True)
    if isinstance(setting, str) and setting == "balanced":
        return (len(array) / (len(classes) * counts))[index.reshape(-1)]
    if not isinstance(setting, Mapping):
        raise TypeError(f"class_weight must be a dict class -> weight or 'balanced', got {setting!r}")
    # One output tells two classes apart, of which the data may hold one.
    known = {*classes.tolist(), *(range(n_out) if n_out > 1 else (-1, 0, 1))}
    for key in setting:
        if key not in known:
            raise ValueError(f"class_weight has the class {key!r}, y has {', '.join(map(str, classes.tolist()))}")
    for name, weight in setting.items():
        what = f"class_weight[{name!r}]"
        if number(weight, what, at_least=0.0) > float(np.finfo(dtype).max):
            raise ValueError(f"{what} is {weight!r}, more than a {dtype} holds")
    weights = np.array([float(setting.get(name, 1.0)) for name in classes.tolist()])
    return weights[index.reshape(-1)]


def _check_one_class_each(y: Array, n_out: int) -> None:
    """ValueError for targets that do not give each row one class."""
    if n_out > 1:
        bad = np.count_nonzero(y > 0, axis=1) != 1
        wanted = "one column above 0"
    else:
        flat = y.reshape(-1)
        bad = (flat != 1) & (flat != (-1 if (flat == -1).any() else 0))
        wanted = "0 or 1, or -1 or +1"
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"class_weight needs a class for every row, {wanted}; y[{row}] is {y[row].tolist()};"
            " sample_weight takes any weights"
        )
