"""Small tools of the kernel tests: awkward lengths, arrays with traps round them, bits."""

import os
import re

import numpy as np
import pytest

from chainrule import _core

# L - 1, L, L + 1 and 2 L + 3 for vectors of 2 to 16 lanes; the empty array, and one element.
LENGTHS = sorted({0, 1} | {n for lanes in (2, 4, 8, 16) for n in (lanes - 1, lanes, lanes + 1, 2 * lanes + 3)})
# The same round the widest strides of any kernel: 4 and 8 vectors of 16 lanes a pass.
LONG_LENGTHS = [63, 64, 65, 67, 127, 128, 129, 145]

# CHAINRULE_EMULATED=1: an emulated processor takes ten times as long, a hundred times for arithmetic. Every test runs,
# those that walk through many cases walk through few of them.
EMULATED = os.environ.get("CHAINRULE_EMULATED") == "1"

_FORCED = os.environ.get("CHAINRULE_ISA")
ISAS = [_FORCED] if _FORCED else _core.isas_supported()


def few(cases, n):
    """All of the cases; at most `n` of them, evenly spread, where the processor is emulated."""
    return cases[:: -(-len(cases) // n)] if EMULATED else cases


def trapped(values, dtype, extra=3, offset=1):
    """The values in an array that lies in a sea of NaN: what a kernel reads beside them shows in the result.

    Rows are `extra` elements longer than they look, the first element is `offset` elements off a boundary.
    """
    values = np.asarray(values)
    shape = (*values.shape[:-1], values.shape[-1] + extra)
    sea = np.full(int(np.prod(shape)) + offset + 32, np.nan, dtype)
    inside = sea[offset : offset + int(np.prod(shape))].reshape(shape)[..., : values.shape[-1]]
    inside[...] = values
    return inside


def bits(*results):
    """All results as one string of bytes; numbers count as float64.

    Every NaN counts as the same one: IEEE 754 leaves its sign and payload open (which operand of a sum hands its
    own on, say), so a compiler may settle them one way in scalar and another in vector code.
    """
    parts = []
    for result in results:
        result = np.array(result, order="C")
        if result.dtype.kind == "f":
            result[np.isnan(result)] = np.nan
        parts.append(result.tobytes())
    return b"".join(parts)


def same_bits_on_every_isa(call):
    """`call()` gives one or more arrays; assert that their bits are those of every instruction set here."""
    before = _core.isa()
    found = {}
    try:
        for name in ISAS:
            _core.set_isa(name)
            result = call()
            found[name] = bits(*(result if isinstance(result, tuple) else (result,)))
    finally:
        _core.set_isa(before)
    assert len(set(found.values())) == 1, f"{[n for n in ISAS if found[n] != found[ISAS[0]]]} unlike {ISAS[0]}"


def random_bit_patterns(rng, n, dtype):
    """Numbers of every exponent and sign, NaN and infinity among them."""
    dtype = np.dtype(dtype)
    words = rng.integers(0, 2 ** (8 * dtype.itemsize), n, dtype=f"u{dtype.itemsize}")
    return words.view(dtype)


def assert_within(got, expected, tolerance, what=""):
    """|got - expected| <= tolerance, element by element; equal infinities and NaN against NaN pass."""
    got = np.asarray(got)
    expected = np.asarray(expected)
    assert got.shape == expected.shape, f"{what} shape {got.shape}, expected {expected.shape}"
    with np.errstate(invalid="ignore"):
        good = (got == expected) | (np.isnan(got) & np.isnan(expected))
        good |= np.abs(got.astype(expected.dtype) - expected) <= tolerance
    if not good.all():
        at = tuple(np.argwhere(~good)[0])
        limit = np.broadcast_to(tolerance, expected.shape)[at]
        raise AssertionError(
            f"{what}{list(map(int, at))}: got {got[at]!r}, expected {expected[at]!r}, allowed +-{float(limit):.3g};"
            f" {np.count_nonzero(~good)} of {good.size} are off"
        )


def read_only(shape, dtype=np.float32):
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array


def refused(error, message):
    """pytest.raises for the whole message, given as plain text."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def starts(error, message):
    return pytest.raises(error, match=f"^{re.escape(message)}")
