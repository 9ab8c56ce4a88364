"""exp, log, expm1, log1p and erf of arrays: units in the last place, special values, lengths, views."""

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, assert_within, bits, few, random_bit_patterns, same_bits_on_every_isa

from chainrule import _core, kernels

FUNCTIONS = {name: getattr(kernels, name) for name in reference.FUNCTIONS}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def arguments(name, dtype, rng, n=12_000):
    """Numbers of every exponent, and more of them where the function does something."""
    wild = random_bit_patterns(rng, n, dtype)
    near = rng.normal(size=n).astype(dtype) * dtype.type(3)
    small = (rng.normal(size=n) * 10.0 ** rng.uniform(-12, 0, n)).astype(dtype)
    largest = np.log(float(np.finfo(dtype).max))
    wide = rng.uniform(-1.25 * largest, 1.05 * largest, n).astype(dtype)
    if name == "log":
        near, small = np.abs(near), 1 + small
    elif name == "log1p":
        near, wide = np.maximum(near, -1), np.abs(wide) - 1
    return np.concatenate([wild, near, small, wide])


def test_every_function_is_here():
    assert set(FUNCTIONS) == set(_core.FUNCTIONS)


@each_function
def test_units_in_the_last_place(isa, dtype, name, rng):
    bounds.need_wider(dtype)
    x = few(arguments(name, dtype, rng), 10_000)
    error = bounds.ulp_error(FUNCTIONS[name](x), reference.function(name, x))
    worst = int(error.argmax())
    assert error[worst] <= bounds.ulp(name, dtype), f"{name}({x[worst]!r}) is {error[worst]:.3f} units off"


INF, NAN = np.inf, np.nan
SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e5, INF), (-1e5, 0.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-1e-30, NAN)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (1e5, INF), (-1e5, -1.0)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0), (-30.0, -1.0)],
}


@each_function
@pytest.mark.parametrize("length", [1, 5, 19])
def test_special_values(isa, dtype, name, length):
    """Limits, signs of zero and NaN; in whole vectors and in their tails."""
    for x, expected in [*SPECIAL[name], (NAN, NAN)]:
        got = FUNCTIONS[name](np.full(length, x, dtype))
        np.testing.assert_array_equal(got, np.full(length, expected, dtype), err_msg=f"{name}({x})")
        if not np.isnan(expected):
            np.testing.assert_array_equal(np.signbit(got), np.signbit(np.full(length, expected)), f"{name}({x})")


@each_function
def test_the_edges_of_the_range(isa, dtype, name):
    """Subnormal arguments and results, the largest numbers, and both neighbours of where exp overflows."""
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    x = [tiny, 3 * tiny, info.tiny, np.nextafter(info.tiny, dtype.type(0)), info.max, 1 - info.epsneg, 1 + info.eps]
    x = np.array([*x, *np.negative(x)], dtype)
    for limit in (np.log(info.max), np.log(info.tiny), np.log(tiny)):
        at = dtype.type(limit)
        step = np.spacing(np.abs(at))
        x = np.concatenate([x, at + step * np.arange(-3, 4, dtype=dtype)])
    error = bounds.ulp_error(FUNCTIONS[name](x), reference.function(name, x))
    worst = int(error.argmax())
    assert error[worst] <= bounds.ulp(name, dtype), f"{name}({x[worst]!r}) is {error[worst]:.3f} units off"


@each_function
def test_rising_functions_keep_their_order(isa, dtype, name):
    """They may stand still but must not fall back by more than their error allows."""
    x = np.linspace(0.01, 8, 4001).astype(dtype)
    y = FUNCTIONS[name](x)
    allowed = 2 * bounds.ulp(name, dtype) * np.spacing(np.abs(y[:-1]))
    assert (np.diff(y) >= -allowed).all()


@each_function
def test_every_isa_gives_the_same_bits(dtype, name, rng):
    x = arguments(name, dtype, rng, 40_000)
    same_bits_on_every_isa(lambda: FUNCTIONS[name](x))


@each_function
@pytest.mark.parametrize("n", LENGTHS)
def test_lengths_and_places(isa, dtype, name, n, rng, guarded):
    """Any length at any alignment: the bits of the long run, and no byte beside the array."""
    x = np.abs(rng.normal(size=n)).astype(dtype)
    expected = bits(np.array([FUNCTIONS[name](np.array([value], dtype))[0] for value in x], dtype))
    for offset in (0, 1):
        y = guarded(n, dtype, offset)
        given = guarded(n, dtype, offset + 1)
        given.array[:] = x
        assert FUNCTIONS[name](given.array, out=y.array) is y.array
        assert bits(y.array) == expected
        assert bits(given.array) == bits(x)
        # in place
        assert FUNCTIONS[name](given.array, out=given.array) is given.array
        assert bits(given.array) == expected
        y.check()
        given.check()


@each_function
def test_a_special_neighbour_does_not_show(isa, dtype, name, rng):
    """One lane that needs the slow way leaves the others' bits as they are."""
    x = np.abs(rng.normal(size=35)).astype(dtype)
    clean = FUNCTIONS[name](x)
    for odd in (NAN, INF, -INF, 0.0, np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).max):
        for place in (0, 7, 16, 34):
            spoilt = x.copy()
            spoilt[place] = odd
            others = np.arange(35) != place
            assert bits(FUNCTIONS[name](spoilt)[others]) == bits(clean[others])


@each_function
def test_shapes_and_views(dtype, name, rng, guarded):
    big = np.abs(rng.normal(size=(6, 8, 10))).astype(dtype)
    function = FUNCTIONS[name]
    for view in (big, big[1], big[:, 2], big[..., 3], big.T, big[::-1, ::2, 1::3], big[:0], big[0, 0, 0]):
        expected = function(np.ascontiguousarray(view).reshape(-1))
        got = function(view)
        assert got.shape == view.shape and got.dtype == dtype
        assert bits(got) == bits(expected)
    y = guarded((6, 8), dtype, offset=1, ld=11)
    assert function(big[:, :, 0], out=y.array) is y.array
    assert bits(y.array) == bits(function(np.ascontiguousarray(big[:, :, 0])))
    y.check()
    # a view with gaps, onto itself
    expected = function(big[:, :, 0].copy()[:, 1:5])
    matrix = big[:, :, 0].copy()
    before = matrix.copy()
    assert function(matrix[:, 1:5], out=matrix[:, 1:5]).base is matrix
    assert bits(matrix[:, 1:5]) == bits(expected)
    assert bits(matrix[:, 5:], matrix[:, :1]) == bits(before[:, 5:], before[:, :1])


def test_lists_and_numbers_are_taken(dtype):
    assert kernels.exp([0, 0]).dtype == np.float32
    assert kernels.exp(0) == 1 and np.ndim(kernels.exp(0)) == 0
    assert kernels.exp(dtype.type(0)).dtype == dtype
    np.testing.assert_array_equal(kernels.log(np.array([1, 1])), [0, 0])


# -- two sums over everything, which clipping and the guards against overflow use -------------------------


@pytest.mark.parametrize("n", [*LENGTHS, 4095, 4096, 4097, 9001])
def test_sum_of_squares(isa, dtype, n, rng):
    """In double whatever the dtype: 16 partial sums a block of 4096, that is n / 16 + 4 roundings and two."""
    x = rng.normal(size=n).astype(dtype)
    exact = float((x.astype(np.longdouble) ** 2).sum())
    got = _core.sum_squares(x)
    blocks = -(-n // 4096)
    roundings = bounds.row_sum_roundings(min(n, 4096)) + blocks + 1
    assert_within(got, exact, bounds.gamma(roundings, np.float64) * exact)
    same_bits_on_every_isa(lambda: np.float64(_core.sum_squares(x)))


def test_sum_of_squares_does_not_overflow_in_float32(isa):
    x = np.full(5, 1e30, np.float32)
    assert _core.sum_squares(x) == pytest.approx(5e60)


@pytest.mark.parametrize("n", [*LENGTHS, 4097])
def test_count_of_what_is_not_finite(isa, dtype, n, rng):
    x = rng.normal(size=n).astype(dtype)
    assert _core.count_not_finite(x) == 0
    bad = rng.random(n) < 0.3
    x[bad] = rng.choice([np.nan, np.inf, -np.inf], bad.sum())
    assert _core.count_not_finite(x) == bad.sum()
    x[...] = np.finfo(dtype).max
    assert _core.count_not_finite(x) == 0
