"""Where formulas overflow or cancel: softmax and cross-entropy at large logits, products of awful numbers."""

from fractions import Fraction

import bounds
import numpy as np
import pytest
import reference

from chainrule import kernels

INF = np.inf
WIDE = np.longdouble


def large_logits(dtype, rng, n_rows=400):
    """Near +-10^4, a few units apart, so that differences are exact; every third row at -10^4."""
    z = np.round(rng.normal(size=(n_rows, 10)) * 4, 2).astype(dtype)
    return (z + np.where(np.arange(n_rows) % 3 == 0, -1e4, 1e4)[:, None]).astype(dtype)


def test_softmax_at_large_logits(isa, dtype, rng):
    """exp to 1 unit, ten terms, a reciprocal and a product: 5 units in the last place at most."""
    z = large_logits(dtype, rng)
    exact = z.astype(WIDE) - z.max(1, keepdims=True)
    e = np.exp(exact)
    assert bounds.ulp_error(kernels.softmax(z), e / e.sum(1, keepdims=True)).max() <= 5
    far = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -3e4]], dtype)
    np.testing.assert_array_equal(kernels.softmax(far), np.array([[1, 0, 0], [0.5, 0.5, 0]], dtype))


def test_cross_entropy_at_large_logits(isa, dtype, rng):
    """Loss row by row. log1p and its sum are good to 6 units of the logarithm, which is all where the label leads."""
    z = large_logits(dtype, rng)
    labels = rng.integers(0, 10, len(z))
    labels[::2] = z[::2].argmax(1)
    shifted = z.astype(WIDE) - z.max(1, keepdims=True)
    at_label = shifted[np.arange(len(z)), labels]
    others = np.exp(shifted)
    others[np.arange(len(z)), z.argmax(1)] = 0
    exact = np.log1p(others.sum(1)) - at_label
    p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    slope = p - (np.arange(10) == labels[:, None])
    for i in range(len(z)):
        row, label = z[i : i + 1], labels[i : i + 1]
        for target in (label, (np.arange(10) == label[:, None]).astype(dtype)):
            loss, gradient = kernels.loss("softmax_cross_entropy", row, target)
            assert bounds.ulp_error(np.array([loss]).astype(dtype), exact[i : i + 1])[0] <= 6, (i, loss, exact[i])
            unit = 8 * bounds.unit(dtype)  # 1 - p cancels: units of the numbers subtracted
            assert (np.abs(gradient[0] - slope[i]) <= unit * np.maximum(p[i], np.abs(slope[i]))).all()


def test_the_loss_is_exactly_zero_where_it_is(isa, dtype):
    sure = np.array([[1e4, -1e4, -1e4], [5, -INF, -INF], [1e4, -INF, -1e4]], dtype)
    one_hot = np.array([[1, 0, 0]] * 3, dtype)
    for target in ([0, 0, 0], one_hot):
        loss, gradient = kernels.loss("softmax_cross_entropy", sure, target)
        assert loss == 0 and not gradient.any()
    ruled_out = np.array([[2, -INF, 1, -INF]], dtype)
    loss, gradient = kernels.loss("softmax_cross_entropy", ruled_out, np.array([[1, 0, 0, 0]], dtype))
    assert loss == pytest.approx(np.log1p(np.exp(-1.0)), rel=4 * bounds.unit(dtype))
    assert gradient[0, 1] == gradient[0, 3] == 0 and np.isfinite(gradient).all()
    assert kernels.loss("softmax_cross_entropy", ruled_out, [1])[0] == INF


@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_log_sum_exp_never_overflows(isa, dtype, n):
    largest = np.finfo(dtype).max
    for top in (largest, largest / 2, -largest, 88, 710):
        z = np.full((3, n), top, dtype)
        assert kernels.log_softmax(z) == pytest.approx(np.full((3, n), -np.log(n)), rel=8 * bounds.unit(dtype))
        assert kernels.loss("softmax_cross_entropy", z, [0, 0, 0])[0] == pytest.approx(np.log(n), rel=1e-6)
        if n > 1:
            z[:, 1:] = -top if top > 0 else -largest
            winner = 1 if top > 0 else 1 / n
            assert kernels.softmax(z)[:, 0] == pytest.approx(np.full(3, winner), rel=4 * bounds.unit(dtype))
            loss, gradient = kernels.loss("softmax_cross_entropy", z, [0, 0, 0])
            assert np.isfinite(loss) and np.isfinite(gradient).all()


# -- products ------------------------------------------------------------------------------------------------


def cancelling(k, dtype, rng):
    """Factors whose k products cancel to almost nothing: the second half undoes the first, but for a speck."""
    half = k // 2
    a, b = rng.normal(size=half) * 2.0 ** rng.integers(-12, 12, half), rng.normal(size=half)
    speck = 2.0 ** -rng.integers(10, 40, k - 2 * half)
    a, b = np.concatenate([a, -a, speck]).astype(dtype), np.concatenate([b, b, speck]).astype(dtype)
    order = rng.permutation(k)
    return a[order], b[order]


def wild(k, dtype, rng):
    """Factors over most of the exponents, with products that neither overflow nor all vanish."""
    reach = 50 if dtype == np.float32 else 450
    exponents = rng.integers(-reach, reach, (2, k))
    return (rng.normal(size=(2, k)) * 2.0**exponents).astype(dtype)


@pytest.mark.parametrize("make", [cancelling, wild])
@pytest.mark.parametrize("k", [2, 17, 256, 257, 999])
def test_products_keep_their_bound_on_awful_numbers(isa, dtype, make, k, rng):
    """Against exact rational sums: |error| <= gamma |a||b|, whatever cancels and however large the range."""
    pairs = [make(k, dtype, rng) for _ in range(12)]
    exact = [sum(Fraction(float(p)) * Fraction(float(q)) for p, q in zip(a, b, strict=True)) for a, b in pairs]
    size = [float(np.abs(reference.wide(a) * reference.wide(b)).sum()) for a, b in pairs]
    for (a, b), true, absolute in zip(pairs, exact, size, strict=True):
        allowed = float(bounds.product(dtype, absolute, k, extra=0))
        column = np.ascontiguousarray(b[:, None])
        found = (
            kernels.dense_forward(a[None], column)[0, 0],
            kernels.dense_backward_input(a[None], b[None])[0, 0],
            kernels.dense_backward_weight(np.ascontiguousarray(a[:, None]), column)[0][0, 0],
        )
        assert len({value.tobytes() for value in found}) == 1  # one chain of sums in all three products
        assert abs(Fraction(float(found[0])) - true) <= allowed, (float(found[0]), float(true), allowed)
