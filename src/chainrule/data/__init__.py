"""The small real data set of the demo: 1797 images of handwritten digits, 8 by 8 pixels.

Source, licence and the recipe that made the file are in README.md beside this module.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

__all__ = ["DigitsSplit", "load_digits"]

_PIXEL_MAX = 16  # each pixel counts the dark points of a 4 x 4 block of the original bitmap


class DigitsSplit(NamedTuple):
    """Training and held-out rows of the digits."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]


@overload
def load_digits(*, split: Literal[False] = ...) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]: ...


@overload
def load_digits(*, split: Literal[True]) -> DigitsSplit: ...


def load_digits(*, split: bool = False) -> Any:
    """Load the UCI optical digits: 1797 rows of 64 pixels, classes 0 to 9.

    Parameters
    ----------
    split : bool, default=False
        Also divide the rows into a training part and a fixed held-out fifth.

    Returns
    -------
    x : ndarray of shape (1797, 64), float32
        Pixels row by row, scaled from 0..16 to 0..1.
    y : ndarray of shape (1797,), int64
        Classes.

    With ``split=True`` a named tuple ``(x_train, y_train, x_test, y_test)`` instead. The held-out fifth is
    every fifth image *of each class* in file order (the 5th, 10th, ... zero, the 5th, 10th, ... one, and so
    on): 355 rows, the same on every machine, with the classes as frequent as in the whole. Taking every
    fifth row of the file would not do: the writers wrote the digits in order, so some classes would be rare.
    """
    with files(__name__).joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        images, labels = stored["images"], stored["labels"]
    x = images.reshape(len(images), -1).astype(np.float32) / np.float32(_PIXEL_MAX)
    y = labels.astype(np.int64)
    if not split:
        return x, y
    held_out = held_out_fifth(y)
    return DigitsSplit(x[~held_out], y[~held_out], x[held_out], y[held_out])


def held_out_fifth(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mask of every fifth row of each class, in order of appearance."""
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    return held_out
