"""Models as files. What does it is loaded when it is needed: zipfile and its kin are slow to import."""

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from .. import _core

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["load", "save"]


def save(model: "Sequential", path: str | PathLike[str], *, include_optimizer: bool = True) -> None:
    """Write `model` to `path`, replacing an older file in one step: there is always a whole one.

    Parameters
    ----------
    model : Sequential
        Layers written in Python go into the file by the name of their class and its arguments (see
        `Layer.get_config`), with their parameters, but without their code.
    path : str or path-like
        Taken as it is; ".npz" is a fitting ending. A symbolic link stays one: the file that it leads to is replaced.
    include_optimizer : bool, default True
        See `Sequential.save`.

    Raises
    ------
    TypeError
        If the loss, a metric or a schedule that is to go in is a Python function, or a Python layer cannot say its
        arguments.
    OSError
        If the file cannot be written; an older one is untouched.
    """
    from .._checks import flag
    from .file import write

    with _core.StandardMode():  # a number as text, and back, needs rounding to nearest
        write(model, path, flag(include_optimizer, "include_optimizer"))


def load(path: str | PathLike[str], *, custom_objects: Mapping[str, type[Any]] | None = None) -> "Sequential":
    """Return the model that `Sequential.save` wrote to `path`: it predicts and trains on with the same bits.

    A file that came from somebody else can do no harm: no code of it runs, and what it asks for in memory goes with
    its length. With `custom_objects` the classes that you give are called with arguments from the file.

    Parameters
    ----------
    path : str or path-like
    custom_objects : mapping of str to type, optional
        The classes of layers written in Python, by their names.

    Returns
    -------
    Sequential

    Raises
    ------
    TypeError
        If `custom_objects` is no mapping of names to classes of layers.
    ValueError
        If the file is not a whole and sound model file, or names a layer that is not in `custom_objects`.
    OSError
        If it cannot be read.
    """
    from ..layers import Layer
    from .file import read

    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects must be a dict name -> class, got {custom_objects!r}")
    for name, kind in (custom_objects or {}).items():
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise TypeError(f"custom_objects[{name!r}] must be a class of layers, got {kind!r}")
    with _core.StandardMode():
        return read(path, {"layers": dict(custom_objects or {})})
