"""Models as files. What does it is loaded when it is needed: zipfile and its kin are slow to import."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["load", "save"]


def save(model: "Sequential", path: str | PathLike[str]) -> None:
    """Write `model` to `path`, replacing an older file in one step: there is always a whole one.

    Parameters
    ----------
    model : Sequential
        Of native layers, losses, metrics and schedules.
    path : str or path-like
        Taken as it is; ".npz" is a fitting ending.

    Raises
    ------
    TypeError
        If the model holds Python code.
    OSError
        If the file cannot be written; an older one is untouched.
    """
    from .file import write

    write(model, path)


def load(path: str | PathLike[str]) -> "Sequential":
    """Return the model that `Sequential.save` wrote to `path`: it predicts and trains on with the same bits.

    Raises
    ------
    ValueError
        If the file is not a whole and sound model file.
    OSError
        If it cannot be read.
    """
    from .file import read

    return read(path)
