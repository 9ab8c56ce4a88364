"""The door: turn what a user gave into arrays that the compiled core reads, or say what is wrong with it.

The core wants native, aligned float32 or float64; matrices with adjacent elements in a row and rows that do not
overlap, vectors and arrays of any other number of dimensions C-contiguous. Arrays that are so already are passed
on, not copied. Everything else is converted once, here.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core

Array = npt.NDArray[Any]

_FLOAT32: np.dtype[Any] = np.dtype(np.float32)
_FLOAT64: np.dtype[Any] = np.dtype(np.float64)

# Types that an array of objects may hold.
_NUMBERS: set[type] = {bool, int, float, np.bool_} | {
    kind for kind in np.sctypeDict.values() if issubclass(kind, (np.integer, np.floating))
}


def real(name: str, value: Any, *, objects: bool = False) -> Array:
    """Return `value` as an array of real numbers, of whatever dtype and layout it has.

    With `objects`, objects that are all numbers are taken: tables whose columns have different types give these.

    Raises
    ------
    TypeError
        If it holds anything but real numbers: complex, strings, objects.
    ValueError
        If it is not an array at all (rows of different lengths).
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from None
    if objects:
        array = without_objects(array)
    if array.dtype.kind not in "fiub":
        inside = array.item() if array.ndim == 0 and array.dtype == object else value
        hint = ""
        if hasattr(inside, "toarray"):
            hint = f"; {name}.toarray() makes a dense array of it"
        elif name.startswith("y") and array.size and isinstance(array.flat[0], str):
            hint = "; np.unique(y, return_inverse=True)[1] makes class labels of it"
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype} ({type(inside).__name__}){hint}")
    return array


def without_objects(array: Array) -> Array:
    """Return an array of objects that are all numbers as one of numbers; any other as it is."""
    if array.dtype == object and array.ndim and {*map(type, array.flat)} <= _NUMBERS:
        return np.array(array.tolist())
    return array


def reals(*optional: str, **values: Any) -> tuple[np.dtype[Any], list[Any]]:
    """Return the dtype that these arguments share, and the arguments as arrays of real numbers.

    float64 if any of them is an array (or NumPy scalar) of float64 or wider; else float32. Python numbers, lists,
    integers, booleans and float16 have no say. None stays None where the argument is optional.

    Raises
    ------
    TypeError, ValueError
        As `real`.
    """
    shared = _core.quick_shared_dtype(*values.values())
    if shared is not None and all(value is not None or name in optional for name, value in values.items()):
        return shared, list(values.values())
    dtype = _FLOAT32
    arrays: list[Any] = []
    for name, value in values.items():
        array = None if value is None and name in optional else real(name, value)
        arrays.append(array)
        # np.float64 is a float, too, but one that says what it is.
        typed = isinstance(value, np.generic) or not isinstance(value, (float, list, tuple))
        if typed and array is not None and array.dtype.kind == "f" and array.dtype.itemsize >= 8:
            dtype = _FLOAT64
    return dtype, arrays


def _readable(array: Array) -> bool:
    """Whether the core can read (or write) this layout in place."""
    flags = array.flags
    if not flags.aligned:
        return False
    if flags.c_contiguous:
        return True
    if array.ndim != 2 or array.size == 0:
        return False
    n_rows, n_cols = array.shape
    row, element = array.strides
    item = array.itemsize
    return (n_cols == 1 or element == item) and (n_rows == 1 or (row >= n_cols * item and row % item == 0))


def readable(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array itself if the core can read it in place as `dtype`, else a copy in C order."""
    if array.dtype == dtype and _readable(array):
        return array
    return converted(array, dtype)


def contiguous(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array itself if it is C-contiguous and of this dtype, else a copy."""
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    return converted(array, dtype)


def converted(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return a copy in C order as `dtype`, each element rounded to nearest whatever mode the caller is in."""
    with _core.StandardMode():
        if not _narrows(array, dtype):
            return np.array(array, dtype=dtype, order="C", copy=True)
        with np.errstate(under="ignore"):
            return np.array(array, dtype=dtype, order="C", copy=True)


def _narrows(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether numbers of the array may be too small or too great for `dtype`."""
    return array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize


def held(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Return a copy in C order as `dtype`; ValueError if a finite number is beyond it."""
    if not _narrows(array, dtype):
        return converted(array, dtype)
    with np.errstate(over="ignore"):
        result = converted(array, dtype)
    beyond = np.isinf(result) & np.isfinite(array)
    if beyond.any():
        where = np.argwhere(beyond)[0].tolist()
        raise ValueError(f"{name}{where} is {array[tuple(where)]}, more than a {dtype} holds")
    return result


def matrix(name: str, array: Array, dtype: np.dtype[Any], shape: tuple[int | None, int | None] = (None, None)) -> Array:
    """Return a readable matrix; ValueError unless it has this shape, None standing for any number."""
    fits = array.ndim == 2 and all(wanted is None or wanted == n for wanted, n in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        expected = "be 2-D" if shape == (None, None) else f"have shape ({wanted})"
        raise ValueError(f"{name} must {expected}, got shape {array.shape}")
    return readable(array, dtype)


def vector(name: str, array: Array, dtype: np.dtype[Any], n: int) -> Array:
    """Return a contiguous vector; ValueError unless it has shape (n,)."""
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    return contiguous(array, dtype)


def as_rows(array: Array) -> Array:
    """Return a readable array as a matrix whose rows lie along the last axis, without copying."""
    if array.ndim == 2:
        return array
    n_cols = array.shape[-1] if array.ndim else 1
    return array.reshape(math.prod(array.shape[:-1]), n_cols)


# -- results ---------------------------------------------------------------------------------------------------


def writable(name: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return `out` if a result of this shape and dtype can be written into it in place.

    Raises
    ------
    TypeError
        If it is not an array, or of another dtype.
    ValueError
        If its shape is another, if it is read-only, or if elements of a row are not adjacent.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} must have dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not out.flags.aligned:
        raise ValueError(f"{name} must start at a multiple of {out.itemsize} bytes, got an array that does not")
    if not _readable(out):
        raise ValueError(
            f"{name} must be in C order with adjacent elements in a row, got strides {out.strides}"
            f" for shape {out.shape} of {out.itemsize}-byte elements"
        )
    return out


def result(
    name: str,
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    apart: Iterable[tuple[str, Array | None]] = (),
    same: Iterable[tuple[str, Array | None]] = (),
) -> Array:
    """Return the array to write a result into: a new one, or `out` if it is given and will do.

    Parameters
    ----------
    apart, same : (name, array) pairs
        Arrays that `out` must not overlap; those of `same` may be the very same array as `out`.

    Raises
    ------
    TypeError, ValueError
        As `writable`; ValueError on overlap.
    """
    if out is None:
        return np.empty(shape, dtype)
    array = writable(name, out, shape, dtype)
    for other_name, other in apart:
        keep_apart(name, array, other_name, other)
    for other_name, other in same:
        if other is not array and not _core.quick_apart(array, other) and not _same_place(array, other):
            keep_apart(name, array, other_name, other)
    return array


def keep_apart(name: str, out: Array, other_name: str, other: Array | None) -> None:
    """ValueError if the two arrays share an element."""
    if other is not None and not _core.quick_apart(out, other) and np.shares_memory(out, other):
        raise ValueError(f"{name} overlaps {other_name}")


def _same_place(a: Array, b: Array | None) -> bool:
    """Whether two arrays are views of exactly the same elements."""
    if b is None or a.shape != b.shape or a.strides != b.strides:
        return False
    return bool(a.__array_interface__["data"][0] == b.__array_interface__["data"][0])


# -- targets and weights -----------------------------------------------------------------------------------------


def targets(name: str, value: Any, n_rows: int, n_out: int, dtype: np.dtype[Any], takes_labels: bool) -> Array:
    """Return targets as the core takes them: (n_rows, n_out) of `dtype`, or (n_rows,) int32 labels.

    Nothing is broadcast: (n_rows,) stands for (n_rows, 1), integers of either shape are class labels where the loss
    takes these, and every other shape is an error.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If the shape is another, a label is out of range, or a target is NaN.
    """
    target = real(name, value)
    if target.shape == (n_rows, n_out):
        return _without_nan(name, readable(target, dtype))
    one_each = target.shape in ((n_rows,), (n_rows, 1))
    if takes_labels and one_each and target.dtype.kind in "iub":
        return labels(name, target.reshape(n_rows), n_out)
    if one_each and n_out == 1:
        return _without_nan(name, readable(target.reshape(n_rows, 1), dtype))
    also = f", or integer labels of shape ({n_rows},)" if takes_labels else ""
    raise ValueError(
        f"{name} must have shape ({n_rows}, {n_out}) like the prediction{also},"
        f" got shape {target.shape} of {target.dtype}"
    )


def labels(name: str, target: Array, n_classes: int) -> Array:
    """Return integers as contiguous int32 labels; ValueError if one is not from 0 to n_classes - 1."""
    if not _core.quick_labels(target, n_classes) and target.size and (target.min() < 0 or target.max() >= n_classes):
        row = int(np.flatnonzero((target < 0) | (target >= n_classes))[0])
        raise ValueError(
            f"{name}[{row}] is {target[row]}, expected a class label from 0 to {n_classes - 1} ({n_classes} classes)"
        )
    return contiguous(target, np.dtype(np.int32))


def _without_nan(name: str, target: Array) -> Array:
    if _core.quick_within(target, -math.inf, math.inf):
        return target
    nan = np.isnan(target)
    if nan.any():
        raise ValueError(f"{name}{np.argwhere(nan)[0].tolist()} is NaN")
    return target


def check_target_values(name: str, loss: str, target: Array) -> None:
    """ValueError if real targets are outside what this loss is defined for."""
    least, greatest, of_size = _core.loss_target_range(_core.LOSSES[loss])
    if least == -math.inf or not target.size or (not of_size and _core.quick_within(target, least, greatest)):
        return
    values = np.abs(target) if of_size else target
    if values.min() >= least and values.max() <= greatest:
        return
    if of_size:
        raise ValueError(f"{name} must be -1 or +1 for {loss} (2 * y - 1 turns 0 and 1 into these)")
    wanted = f">= {least:g}" if greatest == math.inf else f"in [{least:g}, {greatest:g}]"
    raise ValueError(f"{name} must be {wanted} for {loss}, got values from {target.min()} to {target.max()}")


def sample_weights(name: str, value: Any, n_rows: int, dtype: np.dtype[Any]) -> Array:
    """Return weights as a contiguous vector; ValueError unless they are n_rows finite numbers of at least 0."""
    weights = real(name, value)
    if weights.shape != (n_rows,):
        raise ValueError(f"{name} must have shape ({n_rows},), got {weights.shape}")
    with np.errstate(over="ignore"):  # 1e60 is finite, but not as float32
        result = contiguous(weights, dtype)
    bad = ~np.isfinite(result) | (result < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        rounded = f" as {dtype}" if np.isfinite(weights[row]) and weights[row] >= 0 else ""
        raise ValueError(f"{name}[{row}] is {weights[row]}, expected a finite number of at least 0{rounded}")
    least = np.finfo(dtype).tiny  # the steps of a batch are divided by the sum of its weights
    small = (weights > 0) & (weights < float(least))
    if small.any():
        row = int(np.flatnonzero(small)[0])
        raise ValueError(f"{name}[{row}] is {weights[row]}, expected 0 or at least {least} ({dtype})")
    with np.errstate(over="ignore"):
        if not np.isfinite(np.sum(result, dtype=np.float64)):
            raise ValueError(f"{name} adds up to more than a float64 holds")
    return result
