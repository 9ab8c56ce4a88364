"""Checks of settings, in one voice: name the argument, what was expected, what came."""

import math
import operator
import os
from collections.abc import Collection
from typing import Any

import numpy as np

from ._specs import LossOptions, OptimizerSpec

# What other libraries call things.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "linear": ("identity",),
    "logistic": ("sigmoid",),
    "mse": ("mean_squared_error",),
    "mae": ("mean_absolute_error", "absolute_error"),
}


def choose(name: Any, names: Collection[str], what: str) -> str:
    """Return `name` if it is one of `names`; else a ValueError with the nearest of them.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If it is not in `names`.
    """
    if isinstance(name, str) and name in names:
        return name
    names = list(names)
    if not isinstance(name, str):
        raise TypeError(f"{what} must be one of {', '.join(names)}, got {name!r}")
    import difflib  # here: it takes a millisecond to load, and is for mistakes only

    plain = name.lower().replace("-", "_").replace(" ", "_")
    near = [other for other in _ELSEWHERE.get(plain, ()) if other in names]
    near = near or difflib.get_close_matches(plain, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{what} {name!r} is unknown; {hint}choices: {', '.join(names)}")


def number(
    value: Any,
    what: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite float within the bounds; TypeError or ValueError otherwise."""
    if type(value) is not float and isinstance(value, (bool, np.bool_, str, bytes, complex)):
        raise TypeError(f"{what} must be {_expected(at_least, above, at_most, below)}, got {value!r}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be {_expected(at_least, above, at_most, below)}, got {value!r}") from None
    except OverflowError:  # an int beyond all floats
        result = math.inf
    if (
        not math.isfinite(result)
        or (at_least is not None and result < at_least)
        or (above is not None and result <= above)
        or (at_most is not None and result > at_most)
        or (below is not None and result >= below)
    ):
        raise ValueError(f"{what} must be {_expected(at_least, above, at_most, below)}, got {value!r}")
    return result


# Halfway from the greatest float32 to infinity, and from 0 to the least: there they round to infinity and to 0.
_FLOAT32_END, _FLOAT32_START = float.fromhex("0x1.ffffffp127"), 2.0**-150


def require_held(value: float, what: str, dtype: np.dtype[Any], *, above_zero: bool = False) -> None:
    """ValueError if a finite setting is infinite in `dtype`, or, `above_zero`, a positive one is 0.

    Settings are Python's floats, and float32 kernels compute with them as float32.
    """
    if dtype != np.float32:
        return
    if abs(value) >= _FLOAT32_END:
        raise ValueError(f"{what} must be finite in float32, got {value!r}")
    if above_zero and 0.0 < value <= _FLOAT32_START:
        raise ValueError(f"{what} must be > 0 in float32, got {value!r}, which is 0 there")


def require_held_spec(spec: OptimizerSpec | LossOptions, dtype: np.dtype[Any], of: str = "") -> None:
    """`require_held` for the settings of an optimizer or a loss; `of`, as in " of Adam", follows their names."""
    for name in ("epsilon", "clip_value", "weight_decay", "delta", "pos_weight"):
        value = getattr(spec, name, None)
        if value is not None:
            require_held(value, name + of, dtype, above_zero=name != "weight_decay")


_LOSS_OPTION_BOUNDS: dict[str, dict[str, float]] = {
    "delta": {"above": 0.0},
    "q": {"above": 0.0, "below": 1.0},
    "label_smoothing": {"at_least": 0.0, "below": 1.0},
    "pos_weight": {"above": 0.0},
}


def loss_option(value: Any, name: str) -> float:
    """Return an option of a loss as a float; TypeError or ValueError if it is no number or out of its range."""
    return number(value, name, **_LOSS_OPTION_BOUNDS[name])


def _expected(at_least: float | None, above: float | None, at_most: float | None, below: float | None) -> str:
    """The bounds in words: "a finite number and >= 0"."""
    bounds = ((">=", at_least), (">", above), ("<=", at_most), ("<", below))
    return " and ".join(["a finite number", *(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)])


def integer(value: Any, what: str, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` as an int within the bounds; TypeError or ValueError otherwise."""
    expected = f"an integer >= {at_least}" + (f" and <= {at_most}" if at_most is not None else "")
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be {expected}, got {value!r}")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be {expected}, got {value!r}") from None
    if result < at_least or (at_most is not None and result > at_most):
        raise ValueError(f"{what} must be {expected}, got {value!r}")
    return result


def width(value: Any, what: str) -> int:
    """Return a number of inputs or outputs as an int; TypeError or ValueError if it is none that C can count to."""
    result = integer(value, what, at_least=1)
    if result > 2**63 - 1:
        raise ValueError(f"{what} must be at most 2**63 - 1, got {value!r}")
    return result


def flag(value: Any, what: str) -> bool:
    """Return `value` as a bool; TypeError for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be True or False, got {value!r}")
    return bool(value)


def seed(value: Any) -> int:
    """Return `value` as a seed in [0, 2**64): an integer, None (fresh), or a generator to draw from."""
    if value is None:
        return int.from_bytes(os.urandom(8), "little")
    if isinstance(value, np.random.SeedSequence):
        return int(value.generate_state(1, np.uint64)[0])
    if isinstance(value, np.random.Generator):
        return int(value.integers(0, 2**63))
    if isinstance(value, np.random.RandomState):
        return int(value.randint(0, 2**31 - 1))
    return integer(value, "seed", at_least=0, at_most=2**64 - 1)


def real_dtype(value: Any) -> np.dtype[Any]:
    """Return `value` as one of the two dtypes a network can have."""
    try:
        wanted = np.dtype(value)
    except TypeError:
        wanted = None
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        # For NumPy None means float64, also in a comparison.
        if value is not None and wanted is not None and wanted == dtype:
            return dtype
    raise ValueError(f"dtype must be float32 or float64, got {value!r}")


def path_text(value: Any) -> str:
    """Return a str, bytes or path-like object as a str; TypeError for anything else."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a str or path-like, got {value!r}")
    return os.fsdecode(value)
