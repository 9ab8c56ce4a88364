"""Every activation and its derivative: accuracy, limits, lengths, places, bits."""

import bounds
import numpy as np
import pytest
import reference
from tools import (
    ISAS,
    LENGTHS,
    LONG_LENGTHS,
    assert_within,
    bits,
    few,
    random_bit_patterns,
    same_bits_on_every_isa,
    trapped,
)  # fmt: skip

import chainrule as cr
from chainrule import _core, kernels

NAMES = cr.activations.NAMES
BY_ROW = ("softmax", "log_softmax")
ELEMENTWISE = [name for name in NAMES if name not in BY_ROW]
SAVES_INPUT = {name for name in NAMES if _core.activation_saves_input(_core.ACTIVATIONS[name])}
WITH_ALPHA = [("leaky_relu", 0.3), ("leaky_relu", 0.0), ("elu", 0.7), ("elu", 2.5), ("celu", 0.3), ("celu", 4.0)]
KINKS = {"relu": [0], "leaky_relu": [0], "selu": [0], "elu": [0], "celu": [0], "relu6": [0, 6], "hard_tanh": [-1, 1],
         "hard_sigmoid": [-3, 3], "hard_swish": [-3, 3]}  # fmt: skip

each_name = pytest.mark.parametrize("name", NAMES)
each_elementwise = pytest.mark.parametrize("name", ELEMENTWISE)


def arguments(name, dtype, rng, n=6_000):
    wild = random_bit_patterns(rng, n, dtype)
    near = (rng.normal(size=n) * 3).astype(dtype)
    largest = np.log(float(np.finfo(dtype).max))
    wide = rng.uniform(-1.2 * largest, 1.02 * largest, n).astype(dtype)
    edges = np.array([0.0, -0.0, *KINKS.get(name, [])], dtype)
    return np.concatenate([wild, near, wide, edges, np.nextafter(edges, 9), np.nextafter(edges, -9)])


def saved_of(name, x, alpha=None):
    """{"x": x} or {"y": f(x)}: what the derivative wants."""
    return {"x": x} if name in SAVES_INPUT else {"y": kernels.activation(name, x, alpha=alpha)}


def test_every_activation_is_in_the_reference():
    assert set(NAMES) == set(reference.ACTIVATIONS)
    assert set(ELEMENTWISE) == set(reference.DERIVATIVES) == set(bounds.DERIVATIVE)


# -- values ------------------------------------------------------------------------------------------------


def assert_accurate(name, x, alpha=None):
    dtype = x.dtype
    stored = None if alpha is None else float(dtype.type(alpha))  # alpha as the kernel has it
    error = bounds.ulp_error(kernels.activation(name, x, alpha=alpha), reference.activation(name, x, stored))
    allowed = np.full(x.shape, bounds.ulp(name, dtype))
    if alpha is not None:
        allowed += bounds.WITH_ALPHA
        if name == "celu":  # a subnormal x / alpha is off by half a last place, alpha times as much in the end
            allowed[np.abs(x) < alpha * np.finfo(dtype).tiny] += alpha / 2
    worst = int((error - allowed).argmax())
    assert error[worst] <= allowed[worst], f"{name}({x[worst]!r}) is {error[worst]:.3f} units off"


@each_elementwise
def test_units_in_the_last_place(isa, dtype, name, rng):
    bounds.need_wider(dtype)
    assert_accurate(name, few(arguments(name, dtype, rng), 6_000))


RANGES = {
    "sigmoid": (0, 1),
    "hard_sigmoid": (0, 1),
    "tanh": (-1, 1),
    "hard_tanh": (-1, 1),
    "softsign": (-1, 1),
    "relu6": (0, 6),
    "softplus": (0, np.inf),
    "exponential": (0, np.inf),
    "elu": (-1, np.inf),
}


@pytest.mark.parametrize("name", RANGES)
def test_roundings_do_not_leave_the_range(isa, dtype, name, rng):
    """A sigmoid of 1.0000001 would be off by a unit or two, but no probability."""
    x = np.concatenate([rng.uniform(-50, 50, 100_000), rng.normal(size=20_000) * 5]).astype(dtype)
    y = kernels.activation(name, x)
    least, greatest = RANGES[name]
    assert least <= y.min() and y.max() <= greatest


@pytest.mark.parametrize(("name", "alpha"), WITH_ALPHA)
def test_alpha(isa, dtype, name, alpha, rng):
    x = arguments(name, dtype, rng, 2000)
    assert_accurate(name, x[np.isfinite(x)], alpha)


# name: (f(-inf), f(inf)), (f'(-inf), f'(inf))
SELU, SELU_ALPHA = 1.0507009873554805, 1.7580993408473768599  # the second is the product, rounded once
LIMITS = {
    "identity": ((-np.inf, np.inf), (1, 1)), "relu": ((0, np.inf), (0, 1)),
    "leaky_relu": ((-np.inf, np.inf), (0.01, 1)), "sigmoid": ((0, 1), (0, 0)), "tanh": ((-1, 1), (0, 0)),
    "elu": ((-1, np.inf), (0, 1)), "selu": ((-SELU_ALPHA, np.inf), (0, SELU)),
    "celu": ((-1, np.inf), (0, 1)), "gelu": ((0, np.inf), (0, 1)), "gelu_tanh": ((0, np.inf), (0, 1)),
    "silu": ((0, np.inf), (0, 1)), "mish": ((0, np.inf), (0, 1)), "softplus": ((0, np.inf), (0, 1)),
    "softsign": ((-1, 1), (0, 0)), "hard_sigmoid": ((0, 1), (0, 0)), "hard_swish": ((0, np.inf), (0, 1)),
    "hard_tanh": ((-1, 1), (0, 0)), "relu6": ((0, 6), (0, 0)), "exponential": ((0, np.inf), (0, np.inf)),
}  # fmt: skip


@each_elementwise
@pytest.mark.parametrize("length", [1, 5, 19])
def test_limits_at_infinity(isa, dtype, name, length):
    values, slopes = LIMITS[name]
    for x, value, slope in zip((-np.inf, np.inf), values, slopes, strict=True):
        given = np.full(length, x, dtype)
        np.testing.assert_array_equal(kernels.activation(name, given), np.full(length, value).astype(dtype))
        got = kernels.activation_backward(name, np.ones(length, dtype), **saved_of(name, given))
        limit = np.full(length, slope).astype(dtype)
        with np.errstate(invalid="ignore"):
            assert_within(got, limit, bounds.derivative(name, dtype, np.ones(length), limit) if slope else 0)


@each_name
def test_nan_in_nan_out(isa, dtype, name):
    """In its own lane, or by softmax in its whole row; from x, from what is saved, and from dy."""
    x = np.linspace(0.25, 0.75, 3 * 19).astype(dtype).reshape(3, 19)  # f' > 0 for every activation
    dy = x[::-1].copy()
    for column in (0, 3, 16, 18):
        spoilt = x.copy()
        spoilt[1, column] = np.nan
        expected = np.isnan(spoilt)
        whole_row = expected | (np.arange(3) == 1)[:, None]
        y = kernels.activation(name, spoilt)
        np.testing.assert_array_equal(np.isnan(y), whole_row if name in BY_ROW else expected)
        from_saved = kernels.activation_backward(name, dy, x=spoilt, y=y)
        if name == "identity":
            assert not np.isnan(from_saved).any()  # its derivative is 1 and looks at nothing
        else:
            np.testing.assert_array_equal(np.isnan(from_saved), whole_row if name in BY_ROW else expected)
        from_dy = kernels.activation_backward(name, spoilt, x=x, y=kernels.activation(name, x))
        np.testing.assert_array_equal(np.isnan(from_dy), whole_row if name in BY_ROW else expected)


# -- derivatives ---------------------------------------------------------------------------------------------


@each_elementwise
def test_derivative(isa, dtype, name, rng):
    bounds.need_wider(dtype)
    x = np.concatenate([rng.normal(size=4000) * 3, rng.uniform(-30, 30, 2000)]).astype(dtype)
    dy = rng.normal(size=x.size).astype(dtype)
    saved = saved_of(name, x)
    slope = reference.derivative(name, **saved)
    got = kernels.activation_backward(name, dy, **saved)
    wide_dy = reference.wide(dy)
    assert_within(got, wide_dy * slope, bounds.derivative(name, dtype, wide_dy, slope), f"{name}' ")


@pytest.mark.parametrize(("name", "alpha"), WITH_ALPHA)
def test_derivative_with_alpha(isa, dtype, name, alpha, rng):
    x = (rng.normal(size=2000) * 3).astype(dtype)
    dy = rng.normal(size=x.size).astype(dtype)
    y = kernels.activation(name, x, alpha=alpha)
    slope = reference.derivative(name, y=y, alpha=alpha)
    got = kernels.activation_backward(name, dy, y=y, alpha=alpha)
    wide_dy = reference.wide(dy)
    # The terms of the difference y + alpha are of the size of alpha.
    allowed = bounds.derivative(name, dtype, max(1, alpha) * wide_dy, slope)
    assert_within(got, wide_dy * slope, allowed, f"{name}' ")


def points_off_the_kinks(name, rng, n=60):
    x = rng.uniform(-5, 8, n)
    for kink in KINKS.get(name, []):
        x = x[np.abs(x - kink) > 0.01]
    return x


@each_elementwise
def test_derivative_is_the_slope(isa, name, rng):
    """Central differences in float64: h^2 f''' / 6 and u f / h are both about 1e-10 for h = 2^-17."""
    x, h = points_off_the_kinks(name, rng), 2.0**-17
    quotient = (kernels.activation(name, x + h) - kernels.activation(name, x - h)) / (2 * h)
    got = kernels.activation_backward(name, np.ones_like(x), x=x, y=kernels.activation(name, x))
    scale = np.maximum(1, np.abs(kernels.activation(name, x)))
    assert (np.abs(got - quotient) <= bounds.GRADIENT_CHECK * 1e-2 * scale).all()


@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 40])
def test_jacobian_is_the_slope(isa, name, n, rng):
    x, direction, dy = rng.normal(size=(3, 4, n))
    h = 2.0**-17
    up, down = kernels.activation(name, x + h * direction), kernels.activation(name, x - h * direction)
    quotient = (dy * (up - down)).sum(axis=1) / (2 * h)
    got = kernels.activation_backward(name, dy, y=kernels.activation(name, x))
    np.testing.assert_allclose((got * direction).sum(axis=1), quotient, rtol=0, atol=bounds.GRADIENT_CHECK * 0.1)


def test_slopes_at_the_kinks(isa, dtype):
    """As activations.inc.h says: the flat or the left side."""
    expected = {"relu": [0], "leaky_relu": [0.01], "elu": [1], "celu": [1], "relu6": [0, 0], "hard_tanh": [0, 0],
                "hard_sigmoid": [0, 0], "hard_swish": [0, 1]}  # fmt: skip
    for name, slopes in expected.items():
        x = np.array(KINKS[name], dtype)
        got = kernels.activation_backward(name, np.ones_like(x), **saved_of(name, x))
        np.testing.assert_array_equal(got, np.array(slopes, dtype), err_msg=name)


# -- softmax ---------------------------------------------------------------------------------------------------


def rows_of_scores(rng, n, dtype):
    x = rng.normal(size=(9, n)) * np.array([0.1, 1, 1, 5, 20, 100, 1000, 0, 1])[:, None]
    x[8] += 1e4
    return x.astype(dtype)


def row_spread(x):
    x = reference.wide(x)
    return x.max(axis=1, keepdims=True) - x


@pytest.mark.parametrize("n", [n for n in LENGTHS if n] + [100, 1000])
def test_softmax_and_its_logarithm(isa, dtype, n, rng):
    x = rows_of_scores(rng, n, dtype)
    spread = row_spread(x)
    # The error of a sum of exponentials is that of its terms, of which those far down count by their size.
    typical = (spread * reference.softmax(x)).sum(axis=1, keepdims=True)
    relative = bounds.softmax(dtype, spread + typical, n)
    y = kernels.softmax(x)
    assert_within(y, reference.softmax(x), relative * reference.softmax(x) + bounds.underflow(dtype, 4), "softmax ")
    logarithm = reference.log_softmax(x)
    allowed = bounds.softmax(dtype, typical, n) + 3 * bounds.unit(dtype) * (spread + np.abs(logarithm))
    assert_within(kernels.log_softmax(x), logarithm, allowed, "log_softmax ")


@pytest.mark.parametrize("n", [n for n in LENGTHS if n] + [100, 1000])
def test_softmax_backward(isa, dtype, n, rng):
    x, dy = rng.normal(size=(2, 7, n)).astype(dtype)
    y = kernels.softmax(x)
    wide_y, size = reference.wide(y), np.abs(reference.wide(dy))
    rounding = bounds.gamma(bounds.row_sum_roundings(n) + 3, dtype)
    got = kernels.activation_backward("softmax", dy, y=y)
    allowed = rounding * wide_y * (size + (wide_y * size).sum(axis=1, keepdims=True))
    assert_within(got, reference.activation_backward("softmax", dy, y=y), allowed, "softmax' ")
    y = kernels.log_softmax(x)
    got = kernels.activation_backward("log_softmax", dy, y=y)
    allowed = rounding * (size + np.exp(reference.wide(y)) * size.sum(axis=1, keepdims=True))
    assert_within(got, reference.activation_backward("log_softmax", dy, y=y), allowed, "log_softmax' ")


@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("n", range(1, 18))
def test_short_rows_together_are_as_alone(isa, dtype, name, n, rng, guarded):
    """Whole vectors of rows at once, halves of them, and what is left: the bits of each row by itself."""
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, -200.0], dtype)
    x = rng.normal(size=(2 * 16 + 16 - 3, n)).astype(dtype) * 4
    chosen = rng.random(x.shape) < 0.1
    x[chosen] = rng.choice(odd, chosen.sum())
    with np.errstate(invalid="ignore"):
        alone = np.concatenate([kernels.activation(name, row[np.newaxis]) for row in x])
        for n_rows in (4, 8, 11, 12, 16, 21, 24, len(x)):
            out = guarded((n_rows, n), dtype, offset=1, ld=n + 2)
            kernels.activation(name, trapped(x[:n_rows], dtype), out=out.array)
            assert bits(out.array) == bits(alone[:n_rows])
            out.array[...] = x[:n_rows]
            kernels.activation(name, out.array, out=out.array)
            assert bits(out.array) == bits(alone[:n_rows])
            out.check()


def test_softmax_at_any_logits(isa, dtype):
    for top in (1e4, -1e4, float(np.finfo(dtype).max), -float(np.finfo(dtype).max)):
        x = np.array([[top, -np.inf, -np.inf], [top, top, -np.inf]], dtype)
        np.testing.assert_array_equal(kernels.softmax(x), [[1, 0, 0], [0.5, 0.5, 0]])
        half = np.log(dtype.type(0.5))
        got = kernels.log_softmax(x)
        np.testing.assert_allclose(got, [[0, -np.inf, -np.inf], [half, half, -np.inf]], rtol=2 * bounds.unit(dtype))
    np.testing.assert_array_equal(kernels.softmax(np.array([[1e4, -1e4]], dtype)), [[1, 0]])
    np.testing.assert_array_equal(kernels.log_softmax(np.array([[1e4, -1e4]], dtype)), [[0, -2e4]])
    # The formula gives NaN where infinity is subtracted from infinity.
    for row in ([np.inf, 0], [-np.inf, -np.inf]):
        assert np.isnan(kernels.softmax(np.array([row], dtype))).all()


def test_softmax_works_along_the_last_axis(dtype, rng):
    x = rng.normal(size=(2, 3, 5)).astype(dtype)
    for name in BY_ROW:
        got = kernels.activation(name, x)
        assert got.shape == x.shape
        assert bits(got) == bits(kernels.activation(name, x.reshape(6, 5)))
        assert bits(kernels.activation(name, x[0, 0])) == bits(got[0, 0])


# -- places and lengths -------------------------------------------------------------------------------------------


@each_name
def test_lengths_places_and_guards(isa, dtype, name, rng, guarded):
    """Any width, rows apart, out of place and in place: the same bits, and no byte beside them."""
    for n in LENGTHS + LONG_LENGTHS:
        x, dy = (rng.normal(size=(2, 3, n)) * 2).astype(dtype)
        y = kernels.activation(name, x)
        dx = kernels.activation_backward(name, dy, x=x, y=y)
        assert y.shape == dx.shape == (3, n) and y.dtype == dx.dtype == dtype

        out = guarded((3, n), dtype, offset=1, ld=n + 2)
        assert kernels.activation(name, trapped(x, dtype), out=out.array) is out.array
        assert bits(out.array) == bits(y)
        assert kernels.activation(name, trapped(x, dtype)[1:2], out=out.array[:1]) is not None
        assert bits(out.array[0]) == bits(y[1]), "a row alone differs from the row in a batch"
        out.array[...] = x
        assert kernels.activation(name, out.array, out=out.array) is out.array
        assert bits(out.array) == bits(y)

        saved = {"x": trapped(x, dtype), "y": trapped(y, dtype)}
        assert kernels.activation_backward(name, trapped(dy, dtype), **saved, out=out.array) is out.array
        assert bits(out.array) == bits(dx)
        out.array[...] = dy  # onto dy
        kernels.activation_backward(name, out.array, x=x, y=y, out=out.array)
        assert bits(out.array) == bits(dx)
        onto = "x" if name in SAVES_INPUT else "y"  # onto what was saved
        out.array[...] = {"x": x, "y": y}[onto]
        kernels.activation_backward(name, dy, **{onto: out.array}, out=out.array)
        assert bits(out.array) == bits(dx)
        out.check()


@pytest.mark.parametrize("name", few(["exponential", "relu", "tanh"], 1))
def test_more_than_the_caches_hold(isa, dtype, name, rng):
    """Derivatives above 24 MiB go past the caches: the bits of the same in parts, and no byte beside them."""
    part = 100_003
    n = (25 << 20) // dtype.itemsize // part * part
    saved = kernels.activation(name, rng.normal(size=part).astype(dtype))
    dy = rng.normal(size=part).astype(dtype)
    expected = np.tile(kernels.activation_backward(name, dy, x=saved, y=saved), n // part)
    all_saved, all_dy = np.tile(saved, n // part), np.tile(dy, n // part)
    sea = np.full(n + 40, 7, dtype)
    for start in (0, 1, 18):  # in a line of the cache
        sea[...] = 7
        kernels.activation_backward(name, all_dy, x=all_saved, y=all_saved, out=sea[start : start + n])
        assert np.array_equal(sea[start : start + n], expected)
        assert (sea[:start] == 7).all() and (sea[start + n :] == 7).all()
    assert np.array_equal(kernels.activation_backward(name, all_dy, x=all_saved, y=all_saved, out=all_dy), expected)


@each_name
def test_every_isa_gives_the_same_bits(dtype, name, rng):
    x = arguments(name, dtype, rng, 20_000).reshape(-1, 1 if name not in BY_ROW else 2)
    wide = rows_of_scores(rng, 67, dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    with np.errstate(all="ignore"):
        same_bits_on_every_isa(
            lambda: (
                kernels.activation(name, x),
                kernels.activation(name, wide),
                kernels.activation_backward(name, dy, **saved_of(name, x)),
                kernels.activation_backward(name, wide[::-1], **saved_of(name, wide)),
            )
        )


@each_elementwise
def test_a_strange_neighbour_does_not_show(isa, dtype, name, rng):
    """Lanes that need the slow way leave the bits of the others as they are, forward and backward."""
    x, dy = rng.normal(size=(2, 35)).astype(dtype)
    clean = kernels.activation(name, x)
    slope = kernels.activation_backward(name, dy, x=x, y=clean)
    for odd in (np.nan, np.inf, -np.inf, 200.0, -200.0, -1e4, np.finfo(dtype).smallest_subnormal):
        for place in (0, 9, 34):
            spoilt = x.copy()
            spoilt[place] = odd
            others = np.arange(35) != place
            y = kernels.activation(name, spoilt)
            assert bits(y[others]) == bits(clean[others])
            got = kernels.activation_backward(name, dy, x=spoilt, y=y)
            assert bits(got[others]) == bits(slope[others])


@each_name
def test_any_number_of_dimensions(dtype, name, rng):
    x = rng.normal(size=(3, 4, 5, 6)).astype(dtype)
    for view in (x, x[0, 0, 0], x[..., 1], x.T, x[:, ::2, ::-1, 1:4], x[:0]):
        copy = np.ascontiguousarray(view)
        y = kernels.activation(name, view)
        assert y.shape == view.shape
        assert bits(y) == bits(kernels.activation(name, copy))
        dx = kernels.activation_backward(name, view, x=view, y=y)
        assert dx.shape == view.shape
        assert bits(dx) == bits(kernels.activation_backward(name, copy, x=copy, y=y))
    if name in ELEMENTWISE:
        assert kernels.activation(name, dtype.type(0.5)) == kernels.activation(name, np.full(1, 0.5, dtype))[0]


def test_all_isas_of_this_machine_are_here():
    assert ISAS and set(ISAS) <= set(_core.isas_built())
