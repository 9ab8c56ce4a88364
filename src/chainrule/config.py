"""What this copy of chainrule is, where it runs, and how many threads it may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _core
from ._checks import choose, integer


def set_num_threads(n: int | None) -> None:
    """Set the largest number of threads that later calls may use.

    Small work runs on one thread whatever the limit. How many threads up to the limit a larger step or prediction
    gets is tried out while it runs, and results never depend on it.

    Parameters
    ----------
    n : int or None
        At least 1; None goes back to the default: CHAINRULE_NUM_THREADS, else OMP_NUM_THREADS, else the
        processors this process may use.

    Raises
    ------
    TypeError, ValueError
        If `n` is not such a number.
    """
    _core.set_num_threads(0 if n is None else integer(n, "n", at_least=1, at_most=2**31 - 1))


def get_num_threads() -> int:
    """Return the largest number of threads that calls may use."""
    return _core.get_num_threads()


@contextmanager
def num_threads(n: int | None) -> Iterator[None]:
    """Limit the threads inside a `with` block; the limit is the process's, not this Python thread's.

    Parameters
    ----------
    n : int or None
        As for `set_num_threads`.

    Examples
    --------
    >>> import chainrule as cr
    >>> with cr.num_threads(1):
    ...     cr.get_num_threads()
    1
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print version, compiler, instruction sets and threads, or return them.

    Parameters
    ----------
    mode : {"stdout", "dict"}
        "stdout" prints and returns None.

    Returns
    -------
    dict or None
        By name: version, compiler, isa, isas_built, isas_supported, threads, processors, numpy.

    Raises
    ------
    TypeError, ValueError
        If `mode` is something else.
    """
    facts: dict[str, Any] = {
        "version": _core.VERSION,
        "compiler": _core.compiler(),
        "isa": _core.isa(),
        "isas_built": _core.isas_built(),
        "isas_supported": _core.isas_supported(),
        "threads": _core.get_num_threads(),
        "processors": _core.cpu_count(),
        "numpy": np.__version__,
    }
    if choose(mode, ("stdout", "dict"), "mode") == "dict":
        return facts
    for name, value in facts.items():
        text = " ".join(value) if isinstance(value, list) else str(value)
        print(f"{name.replace('_', ' '):<15} {text}")
    return None


def get_include() -> str:
    """Return the folder of chainrule.h; chainrule.pxd lies in its parent folder, inside the package."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
