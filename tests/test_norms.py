"""Layer and batch normalisation, forward and backward, through the compiled core."""

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, LONG_LENGTHS, assert_within, bits, same_bits_on_every_isa, trapped

from chainrule import _core, kernels

WIDTHS = [n for n in LENGTHS if n] + LONG_LENGTHS
LAYER_SHAPES = [(3, n) for n in WIDTHS] + [(0, 4), (1, 7), (257, 3), (513, 2), (2, 1000)]
BATCH_SHAPES = [(5, n) for n in WIDTHS] + [(1, 7), (2, 3), (255, 2), (256, 9), (257, 3), (600, 5)]
# Numbers about 0 and numbers that all lie far from it, whose variance E x^2 - (E x)^2 would lose.
OFFSETS = (0.0, 1e5)
EPSILON = 1e-5


def shape_id(value):
    return "x".join(map(str, value)) if isinstance(value, tuple) else None


def numbers(rng, shape, offset, dtype):
    x = (rng.normal(size=shape) * 2 + offset).astype(dtype)
    gamma, beta = rng.normal(size=(2, shape[1])).astype(dtype)
    return x, gamma, beta, rng.normal(size=shape).astype(dtype)


class Sizes:
    """What roundings are relative to. x - mean shows the roundings of the mean, divided by std.

    The mean is m + E d, d = x - m, where m has the roundings of a sum of x: what is left is one rounding of m + E d,
    which is relative to |x|, and those of a sum of d, relative to |x - mean| and to what m is off by.
    """

    def __init__(self, x, axis, inverse_std):
        n = x.shape[axis]
        count = bounds.row_sum_roundings(n) if axis == 1 else bounds.n_roundings_of_product(n)
        self.roundings = 2 * count + 16  # mean and variance, then two dozen operations at most
        wide = reference.wide(x)
        spread = np.abs(wide - wide.mean(axis=axis, keepdims=True))
        once = 2 / self.roundings + bounds.gamma(count, x.dtype)
        self.inverse_std = np.expand_dims(inverse_std, axis)
        self.x = spread.mean(axis=axis, keepdims=True) + once * np.abs(wide).mean(axis=axis, keepdims=True)
        self.normal = (spread + self.x) * self.inverse_std
        self.axis = axis

    def within(self, got, expected, size, what, more=0):
        dtype = got.dtype
        limit = bounds.gamma(self.roundings + more, dtype) * size + bounds.underflow(dtype, 4)
        assert_within(got, expected, limit, f"{what} ")

    def dx(self, gamma, dy):
        g = np.abs(gamma * dy)
        mean = g.mean(axis=self.axis, keepdims=True)
        mean_normal = (g * self.normal).mean(axis=self.axis, keepdims=True)
        return self.inverse_std * (g + mean + self.normal * mean_normal)


# -- layer normalisation -------------------------------------------------------------------------------------


def layer_norm(x, gamma, beta, guarded=None, epsilon=EPSILON):
    """y, mean, inverse_std; into guarded arrays with rows apart if asked."""
    (n_rows, n_cols), dtype = x.shape, x.dtype
    if guarded is None:
        y, mean, inverse_std = np.empty((n_rows, n_cols), dtype), np.empty(n_rows, dtype), np.empty(n_rows, dtype)
    else:
        y = guarded((n_rows, n_cols), dtype, offset=1, ld=n_cols + 3).array
        mean, inverse_std = (guarded(n_rows, dtype, offset=1).array for _ in range(2))
    _core.layer_norm_forward(x, gamma, beta, epsilon, mean, inverse_std, y)
    return y, mean, inverse_std


def layer_norm_backward(x, gamma, mean, inverse_std, dy, dx=None):
    dgamma, dbeta = np.full((2, x.shape[1]), np.nan, x.dtype)
    dx = np.empty(x.shape, x.dtype) if dx is None else dx
    _core.layer_norm_backward(x, gamma, mean, inverse_std, dy, dgamma, dbeta, dx)
    return dx, dgamma, dbeta


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("shape", LAYER_SHAPES, ids=shape_id)
def test_layer_norm_forward(isa, dtype, shape, offset, rng, guarded):
    x, gamma, beta, _ = numbers(rng, shape, offset, dtype)
    y, mean, inverse_std = layer_norm(trapped(x, dtype), gamma, beta, guarded)
    expected, wide_mean, wide_inverse = reference.layer_norm_forward(x, gamma, beta, EPSILON)
    size = Sizes(x, 1, wide_inverse)
    size.within(mean, wide_mean, size.x[:, 0], "mean")
    size.within(inverse_std, wide_inverse, wide_inverse * (1 + size.x[:, 0] * wide_inverse), "inverse_std")
    size.within(y, expected, np.abs(gamma) * size.normal * (1 + size.x * size.inverse_std) + np.abs(beta), "y")
    assert bits(kernels.layer_norm(x, gamma, beta, epsilon=EPSILON)) == bits(y)


@pytest.mark.parametrize("shape", LAYER_SHAPES, ids=shape_id)
def test_layer_norm_backward(isa, dtype, shape, rng, guarded):
    x, gamma, beta, dy = numbers(rng, shape, 1.0, dtype)
    _, mean, inverse_std = layer_norm(x, gamma, beta)
    n_rows, n_cols = shape
    dx = guarded(shape, dtype, offset=1, ld=n_cols + 3).array
    dgamma, dbeta = (guarded(n_cols, dtype, offset=1).array for _ in range(2))
    _core.layer_norm_backward(trapped(x, dtype), gamma, mean, inverse_std, trapped(dy, dtype), dgamma, dbeta, dx)
    expected, wide_dgamma, wide_dbeta = reference.layer_norm_backward(x, gamma, dy, EPSILON)
    size = Sizes(x, 1, reference.layer_norm_forward(x, gamma, beta, EPSILON)[2])
    rows = bounds.n_roundings_of_product(n_rows)
    scale = 1 + size.x * size.inverse_std  # roundings of the mean show in inverse_std, too
    size.within(dx, expected, size.dx(gamma, dy) * scale, "dx")
    size.within(dgamma, wide_dgamma, (np.abs(dy) * size.normal * scale).sum(axis=0), "dgamma", rows)
    assert_within(dbeta, wide_dbeta, bounds.column_sum(dtype, np.abs(dy).sum(axis=0), n_rows), "dbeta ")
    # without dx; and dx onto dy
    again = np.full((2, n_cols), np.nan, dtype)
    _core.layer_norm_backward(x, gamma, mean, inverse_std, dy, again[0], again[1], None)
    assert bits(again) == bits(dgamma, dbeta)
    onto = dy.copy()
    assert bits(*layer_norm_backward(x, gamma, mean, inverse_std, onto, onto)) == bits(dx, dgamma, dbeta)


@pytest.mark.parametrize("n", [1, 7, 16, 17, 35, 160])
def test_a_row_is_summed_by_16_partial_sums(isa, dtype, n, rng):
    """Rule 2 of the contract of bits, in NumPy: index mod 16, folded 8-4-2-1. The mean of d = x - m mends m."""

    def row_mean(x):
        partial = np.zeros((3, 16), dtype)
        for j in range(n):
            partial[:, j % 16] += x[:, j]
        for half in (8, 4, 2, 1):
            partial = partial[:, :half] + partial[:, half:]
        return partial[:, 0] / dtype.type(n)

    x = rng.normal(size=(3, n)).astype(dtype)
    rough = row_mean(x)
    _, mean, _ = layer_norm(x, np.ones(n, dtype), np.zeros(n, dtype))
    assert bits(mean) == bits(rough + row_mean(x - rough[:, None]))


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_rows_are_summed_in_blocks_of_256(isa, dtype, n, rng):
    dy = rng.normal(size=(n, 3)).astype(dtype)
    total = np.zeros(3, dtype)
    for start in range(0, n, bounds.KB):
        block = np.zeros(3, dtype)
        for row in dy[start : start + bounds.KB]:
            block += row
        total += block
    _, _, dbeta = layer_norm_backward(dy, np.ones(3, dtype), *np.ones((2, n), dtype), dy)
    assert bits(dbeta) == bits(total)


def test_layer_norm_of_a_row_does_not_know_the_batch(isa, dtype, rng):
    x, gamma, beta, dy = numbers(rng, (30, 37), 1.0, dtype)
    y, mean, inverse_std = layer_norm(x, gamma, beta)
    dx, _, _ = layer_norm_backward(x, gamma, mean, inverse_std, dy)
    for i in (0, 13, 29):
        row = slice(i, i + 1)
        assert bits(*layer_norm(x[row], gamma, beta)) == bits(y[row], mean[row], inverse_std[row])
        assert bits(layer_norm_backward(x[row], gamma, mean[row], inverse_std[row], dy[row])[0]) == bits(dx[row])


# Numbers that are all the same have variance 0, and no rounding of their mean is divided by a std that consists of it.
VAST = -1e30  # the square of the rounding of its mean is beyond float32
CONSTANTS = [0.0, 5.0, 0.1, 123456.7, VAST]
COUNTS = [1, 2, 3, 16, 19, 100, 784, 1000]


def assert_centred(y, beta, mean, value, inverse_std, dtype):
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
    np.testing.assert_array_equal(mean, dtype.type(value))
    if value != VAST or dtype == np.float64:
        np.testing.assert_allclose(inverse_std, 1 / np.sqrt(EPSILON), rtol=bounds.gamma(4, dtype))


@pytest.mark.parametrize("value", CONSTANTS)
@pytest.mark.parametrize("n", COUNTS)
def test_a_constant_row_becomes_beta(isa, dtype, n, value):
    beta = np.linspace(-1, 1, n).astype(dtype)
    y, mean, inverse_std = layer_norm(np.full((2, n), value, dtype), np.ones(n, dtype), beta)
    assert_centred(y, beta, mean, value, inverse_std, dtype)


# -- batch normalisation ----------------------------------------------------------------------------------------


def batch_norm(training, x, gamma, beta, running, guarded=None, momentum=0.9):
    """y, mean, inverse_std and the running statistics afterwards; `running` itself stays."""
    (n_rows, n_cols), dtype = x.shape, x.dtype
    if guarded is None:
        y = np.full((n_rows, n_cols), np.nan, dtype)
        mean, inverse_std, running_mean, running_variance = np.full((4, n_cols), np.nan, dtype)
    else:
        y = guarded((n_rows, n_cols), dtype, offset=1, ld=n_cols + 3).array
        mean, inverse_std, running_mean, running_variance = (guarded(n_cols, dtype, offset=1).array for _ in range(4))
    running_mean[...], running_variance[...] = running
    _core.batch_norm_forward(
        training, x, gamma, beta, EPSILON, momentum, running_mean, running_variance, mean, inverse_std, y
    )
    return y, mean, inverse_std, running_mean, running_variance


def batch_norm_backward(training, x, gamma, mean, inverse_std, dy, dx=None):
    dgamma, dbeta = np.full((2, x.shape[1]), np.nan, x.dtype)
    dx = np.empty(x.shape, x.dtype) if dx is None else dx
    _core.batch_norm_backward(training, x, gamma, mean, inverse_std, dy, dgamma, dbeta, dx)
    return dx, dgamma, dbeta


def running_statistics(rng, n_cols, dtype):
    return rng.normal(size=n_cols).astype(dtype), rng.uniform(0.5, 2, n_cols).astype(dtype)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=shape_id)
def test_batch_norm_forward_in_training(isa, dtype, shape, offset, rng, guarded):
    x, gamma, beta, _ = numbers(rng, shape, offset, dtype)
    running = running_statistics(rng, shape[1], dtype)
    y, mean, inverse_std, running_mean, running_variance = batch_norm(
        True, trapped(x, dtype), gamma, beta, running, guarded
    )
    expected, wide_mean, wide_variance = reference.batch_norm_forward(
        x, gamma, beta, *running, training=True, epsilon=EPSILON
    )
    wide = reference.wide(x)
    wide_inverse = 1 / np.sqrt(wide.var(axis=0) + EPSILON)
    size = Sizes(x, 0, wide_inverse)
    scale = 1 + size.x[0] * wide_inverse
    size.within(mean, wide.mean(axis=0), size.x[0], "mean")
    size.within(inverse_std, wide_inverse, wide_inverse * scale, "inverse_std")
    size.within(y, expected, np.abs(gamma) * size.normal * scale + np.abs(beta), "y")
    # 1 - momentum shows the rounding of momentum, so the batch's part counts whole
    size.within(running_mean, wide_mean, np.abs(running[0]) + size.x[0], "running mean")
    variance = wide.var(axis=0) * 2 * scale + (bounds.gamma(size.roundings, dtype) * size.x[0]) ** 2
    size.within(running_variance, wide_variance, running[1] + variance, "running variance")


@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=shape_id)
def test_batch_norm_backward_in_training(isa, dtype, shape, rng, guarded):
    x, gamma, beta, dy = numbers(rng, shape, 1.0, dtype)
    n_rows, n_cols = shape
    _, mean, inverse_std, *_ = batch_norm(True, x, gamma, beta, running_statistics(rng, n_cols, dtype))
    dx = guarded(shape, dtype, offset=1, ld=n_cols + 3).array
    dgamma, dbeta = (guarded(n_cols, dtype, offset=1).array for _ in range(2))
    _core.batch_norm_backward(True, trapped(x, dtype), gamma, mean, inverse_std, trapped(dy, dtype), dgamma, dbeta, dx)
    expected, wide_dgamma, wide_dbeta = reference.batch_norm_backward(x, gamma, dy, training=True, epsilon=EPSILON)
    size = Sizes(x, 0, 1 / np.sqrt(reference.wide(x).var(axis=0) + EPSILON))
    scale = 1 + size.x * size.inverse_std
    size.within(dx, expected, size.dx(gamma, dy) * scale, "dx", size.roundings)
    size.within(dgamma, wide_dgamma, (np.abs(dy) * size.normal * scale).sum(axis=0), "dgamma", size.roundings)
    assert_within(dbeta, wide_dbeta, bounds.column_sum(dtype, np.abs(dy).sum(axis=0), n_rows), "dbeta ")
    onto = dy.copy()
    assert bits(*batch_norm_backward(True, x, gamma, mean, inverse_std, onto, onto)) == bits(dx, dgamma, dbeta)
    again = np.full((2, n_cols), np.nan, dtype)
    _core.batch_norm_backward(True, x, gamma, mean, inverse_std, dy, again[0], again[1], None)
    assert bits(again) == bits(dgamma, dbeta)


@pytest.mark.parametrize("shape", [(0, 3), *BATCH_SHAPES], ids=shape_id)
def test_batch_norm_at_inference(isa, dtype, shape, rng, guarded):
    """By the running statistics, which stay; dx = gamma / std dy."""
    x, gamma, beta, dy = numbers(rng, shape, 1.0, dtype)
    running = running_statistics(rng, shape[1], dtype)
    y, mean, inverse_std, *after = batch_norm(False, trapped(x, dtype), gamma, beta, running, guarded)
    assert bits(*after) == bits(*running) and bits(mean) == bits(running[0])
    wide_inverse = 1 / np.sqrt(reference.wide(running[1]) + EPSILON)
    eight = bounds.gamma(8, dtype)
    assert_within(inverse_std, wide_inverse, eight * wide_inverse, "inverse_std ")
    expected, _, _ = reference.batch_norm_forward(x, gamma, beta, *running, training=False, epsilon=EPSILON)
    size = np.abs(gamma * (np.abs(x) + np.abs(running[0])) * wide_inverse) + np.abs(beta)
    assert_within(y, expected, eight * size, "y ")

    dx, dgamma, dbeta = batch_norm_backward(False, x, gamma, mean, inverse_std, dy)
    known = {"running_mean": running[0], "running_variance": running[1], "epsilon": EPSILON}
    expected, wide_dgamma, wide_dbeta = reference.batch_norm_backward(x, gamma, dy, training=False, **known)
    assert_within(dx, expected, eight * np.abs(expected), "dx ")
    sums = bounds.gamma(bounds.n_roundings_of_product(shape[0]) + 8, dtype)
    size = (np.abs(dy) * (np.abs(x) + np.abs(running[0])) * wide_inverse).sum(axis=0)
    assert_within(dgamma, wide_dgamma, sums * size, "dgamma ")
    assert_within(dbeta, wide_dbeta, sums * np.abs(dy).sum(axis=0), "dbeta ")


@pytest.mark.parametrize("value", CONSTANTS)
@pytest.mark.parametrize("n", COUNTS)
def test_a_constant_column_becomes_beta(isa, dtype, n, value):
    beta = np.linspace(-1, 1, 35).astype(dtype)
    one = np.ones(35, dtype)
    y, mean, inverse_std, *_ = batch_norm(True, np.full((n, 35), value, dtype), one, beta, (one, one))
    assert_centred(y, beta, mean, value, inverse_std, dtype)


def test_numbers_not_finite_stay_so(isa, dtype):
    """The variance is never below 0, and NaN is not taken for that."""
    for value in (np.nan, np.inf, -np.inf):
        x = np.ones((20, 20), dtype)
        x[3, 4] = value
        one, zero = np.ones(20, dtype), np.zeros(20, dtype)
        y, mean, inverse_std = layer_norm(x, one, zero)
        assert np.isnan(y[3]).all() and np.isnan([mean[3], inverse_std[3]]).all() and np.isfinite(y[:3]).all()
        y, mean, inverse_std, *_ = batch_norm(True, x, one, zero, (one, one))
        assert np.isnan(y[:, 4]).all() and np.isnan([mean[4], inverse_std[4]]).all() and np.isfinite(y[:, :4]).all()


def test_the_running_variance_is_unbiased_and_momentum_keeps_the_old(isa, dtype):
    x = np.array([[1], [2], [6]], dtype)  # mean 3, variance 14/3, unbiased 7
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    _, mean, _, running_mean, running_variance = batch_norm(True, x, one, zero, (one, one), momentum=0.5)
    rounding = bounds.gamma(8, dtype)
    assert mean[0] == 3
    assert running_mean[0] == pytest.approx(0.5 * 1 + 0.5 * 3, rel=rounding)
    assert running_variance[0] == pytest.approx(0.5 * 1 + 0.5 * 7, rel=rounding)
    # of one row there is no unbiased variance: 0 goes in
    _, _, _, _, running_variance = batch_norm(True, x[:1], one, zero, (one, one), momentum=0.5)
    assert running_variance[0] == 0.5


# -- gradients, bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["layer", "batch", "batch at inference"])
def test_gradients_are_the_slope(isa, kind, rng):
    """d/dx, d/dgamma and d/dbeta of sum(dy * y) by central differences in float64."""
    x, gamma, beta, dy = numbers(rng, (6, 5), 0.5, np.float64)
    running = running_statistics(rng, 5, np.float64)
    training = kind == "batch"

    def total():
        forward = layer_norm(x, gamma, beta) if kind == "layer" else batch_norm(training, x, gamma, beta, running)
        return (dy * forward[0]).sum()

    if kind == "layer":
        _, mean, inverse_std = layer_norm(x, gamma, beta)
        gradients = layer_norm_backward(x, gamma, mean, inverse_std, dy)
    else:
        _, mean, inverse_std, *_ = batch_norm(training, x, gamma, beta, running)
        gradients = batch_norm_backward(training, x, gamma, mean, inverse_std, dy)
    h = 2.0**-17
    for array, gradient in zip((x, gamma, beta), gradients, strict=True):
        for place in np.ndindex(array.shape):
            original = array[place]
            array[place] = original + h
            above = total()
            array[place] = original - h
            below = total()
            array[place] = original
            quotient = (above - below) / (2 * h)
            assert abs(gradient[place] - quotient) <= bounds.GRADIENT_CHECK * 0.1 * (1 + abs(quotient))


@pytest.mark.parametrize("shape", [(5, 3), (300, 21), (9, 131)], ids=shape_id)
def test_every_isa_gives_the_same_bits(dtype, shape, rng):
    x, gamma, beta, dy = numbers(rng, shape, 3.0, dtype)
    running = running_statistics(rng, shape[1], dtype)

    def run():
        y, mean, inverse_std = layer_norm(x, gamma, beta)
        results = [y, mean, inverse_std, *layer_norm_backward(x, gamma, mean, inverse_std, dy)]
        for training in (True, False):
            forward = batch_norm(training, x, gamma, beta, running)
            results += [*forward, *batch_norm_backward(training, x, gamma, forward[1], forward[2], dy)]
        return tuple(results)

    same_bits_on_every_isa(run)


def test_in_place_forward(isa, dtype, rng):
    x, gamma, beta, _ = numbers(rng, (9, 21), 3.0, dtype)
    y = kernels.layer_norm(x, gamma, beta)
    onto = x.copy()
    assert kernels.layer_norm(onto, gamma, beta, out=onto) is onto
    assert bits(onto) == bits(y)


@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_nan_in_nan_out(isa, dtype, kind, rng):
    """A NaN spoils its row (its column); the others keep their bits."""
    x, gamma, beta, _ = numbers(rng, (8, 21), 1.0, dtype)
    running = running_statistics(rng, 21, dtype)

    def forward():
        return layer_norm(x, gamma, beta)[0] if kind == "layer" else batch_norm(True, x, gamma, beta, running)[0]

    clean = forward()
    x[3, 17] = np.nan
    spoilt = forward()
    hit = np.zeros(x.shape, bool)
    hit[(3, slice(None)) if kind == "layer" else (slice(None), 17)] = True
    assert np.isnan(spoilt[hit]).all()
    assert bits(spoilt[~hit]) == bits(clean[~hit])
