"""Laws of the kernels, for any shape, layout, dtype and instruction set: linearity, sums, shifts, weights, and every
public function against its plain NumPy twin. Hypothesis draws the cases, the same ones on every run.
"""

import bounds
import numpy as np
import reference
import strategies as own
from hypothesis import given
from hypothesis import strategies as st
from test_activations import SAVES_INPUT
from test_losses import NAMES as LOSSES
from test_losses import OPTIONS, case, loss_sizes, reference_options
from test_norms import Sizes
from test_optimizers import CASES as UPDATES
from test_optimizers import reference_step, sizes, states, step
from tools import assert_within, bits

import chainrule as cr
from chainrule import kernels

BY_ROW = ("softmax", "log_softmax")
ELEMENTWISE = [name for name in cr.activations.NAMES if name not in BY_ROW]


def forward(a, b):
    return kernels.dense_forward(a, b)


def backward_input(a, b):
    return kernels.dense_backward_input(a, b.T)


def backward_weight(a, b):
    return kernels.dense_backward_weight(a.T, b)[0]


# Each as f(a, b) = a @ b.
products = st.sampled_from([forward, backward_input, backward_weight])


def factors(rng, n_rows, k, n_columns, dtype, integers=False):
    """a, another a, b, another b."""
    shapes = [(n_rows, k)] * 2 + [(k, n_columns)] * 2
    numbers = (lambda shape: rng.integers(-8, 9, shape)) if integers else (lambda shape: rng.normal(size=shape))
    return [numbers(shape).astype(dtype) for shape in shapes]


# -- products are linear in each argument -------------------------------------------------------------------


@given(products, own.sizes, own.sizes, own.sizes, own.dtypes, own.isas, own.generators, st.integers(-40, 40))
def test_a_power_of_two_goes_through_a_product(product, n_rows, k, n_columns, dtype, isa, rng, exponent):
    a, _, b, _ = factors(rng, n_rows, k, n_columns, dtype)
    scale = dtype.type(2.0**exponent)
    with own.on_isa(isa):
        expected = product(a, b) * scale
        assert bits(product(a * scale, b), product(a, b * scale)) == bits(expected, expected)


@given(products, own.sizes, own.sizes, own.sizes, own.dtypes, own.isas, own.generators)
def test_products_of_sums_are_sums_of_products(product, n_rows, k, n_columns, dtype, isa, rng):
    """Of whole numbers exactly; of others within the bounds of the three products and of the sums."""
    with own.on_isa(isa):
        a, c, b, d = factors(rng, n_rows, k, n_columns, dtype, integers=True)
        np.testing.assert_array_equal(product(a + c, b), product(a, b) + product(c, b))
        np.testing.assert_array_equal(product(a, b + d), product(a, b) + product(a, d))
        a, c, b, d = factors(rng, n_rows, k, n_columns, dtype)
        w = reference.wide
        for left, parts, size in [
            (product(a + c, b), (product(a, b), product(c, b)), (np.abs(w(a)) + np.abs(w(c))) @ np.abs(w(b))),
            (product(a, b + d), (product(a, b), product(a, d)), np.abs(w(a)) @ (np.abs(w(b)) + np.abs(w(d)))),
        ]:
            # one product's bound for each side, and u for the rounding of a + c, whose size is that of the sum
            limit = 2 * bounds.product(dtype, size, k) + bounds.unit(dtype) * size
            assert_within(left, w(parts[0]) + w(parts[1]), limit)


@given(own.sizes, own.sizes, own.sizes, own.dtypes, own.isas, own.generators)
def test_the_gradient_of_a_sum_over_rows_is_the_sum_of_gradients(n_rows, n_in, n_out, dtype, isa, rng):
    x, other_x, _, _ = factors(rng, n_rows, n_in, 1, dtype)
    dz, other_dz, _, _ = factors(rng, n_rows, n_out, 1, dtype)
    with own.on_isa(isa):
        both = kernels.dense_backward_weight(np.concatenate([x, other_x]), np.concatenate([dz, other_dz]))
        parts = [kernels.dense_backward_weight(x, dz), kernels.dense_backward_weight(other_x, other_dz)]
    w = reference.wide
    size = np.abs(w(x)).T @ np.abs(w(dz)) + np.abs(w(other_x)).T @ np.abs(w(other_dz))
    assert_within(both[0], w(parts[0][0]) + w(parts[1][0]), 2 * bounds.product(dtype, size, 2 * n_rows))
    size = np.abs(w(dz)).sum(axis=0) + np.abs(w(other_dz)).sum(axis=0)
    assert_within(both[1], w(parts[0][1]) + w(parts[1][1]), 2 * bounds.column_sum(dtype, size, 2 * n_rows))


# -- rows know nothing of each other ------------------------------------------------------------------------


@given(st.sampled_from(cr.activations.NAMES), own.sizes, own.sizes, own.sizes, own.dtypes, own.isas, own.generators)
def test_rows_in_another_order_give_rows_in_that_order(name, n_rows, n_in, n_out, dtype, isa, rng):
    x, dz, weight, _ = factors(rng, n_rows, n_in, n_out, dtype)
    order = rng.permutation(n_rows)
    with own.on_isa(isa):
        y = kernels.dense_forward(x, weight, activation=name)
        assert bits(kernels.dense_forward(x[order], weight, activation=name)) == bits(y[order])
        dx = kernels.dense_backward_input(dz, weight.T)
        assert bits(kernels.dense_backward_input(dz[order], weight.T)) == bits(dx[order])
        saved = kernels.activation(name, x)
        back = kernels.activation_backward(name, dz, x=x, y=saved)
        assert bits(kernels.activation_backward(name, dz[order], x=x[order], y=saved[order])) == bits(back[order])


# -- softmax ------------------------------------------------------------------------------------------------


@given(own.sizes, own.sizes, own.dtypes, own.isas, own.generators, st.integers(-(2**11), 2**11))
def test_softmax_does_not_see_a_shift(n_rows, n_columns, dtype, isa, rng, shift):
    """Bit for bit where x + shift is exact: here, eighths and a whole number."""
    x = (rng.integers(-100, 101, (n_rows, n_columns)) / 8).astype(dtype)
    with own.on_isa(isa):
        for function in (kernels.softmax, kernels.log_softmax):
            assert bits(function(x + dtype.type(shift))) == bits(function(x))
        p = kernels.softmax(x)
        spread = (x.max(axis=1) - x.min(axis=1)).max()
        assert_within(reference.wide(p).sum(axis=1), np.ones(n_rows), bounds.softmax(dtype, spread, n_columns))
        largest = p == p.max(axis=1, keepdims=True)
        assert (largest | (x < x.max(axis=1, keepdims=True))).all()


# -- weights of rows ----------------------------------------------------------------------------------------

option_cases = st.sampled_from(OPTIONS)


@given(option_cases, own.sizes, own.small_sizes, own.dtypes, own.isas, own.generators, st.integers(-20, 20))
def test_a_factor_of_all_weights(option, n_rows, n_out, dtype, isa, rng, exponent):
    """A power of two scales the sum and its gradient exactly, and does nothing to the mean."""
    name, options = option
    p, t = case(name, n_rows, n_out, dtype, rng)
    weight = rng.uniform(0.5, 2, n_rows).astype(dtype)
    scale = dtype.type(2.0**exponent)
    with own.on_isa(isa):
        for reduction, factor in (("sum", scale), ("mean", dtype.type(1))):
            value, gradient = kernels.loss(name, p, t, sample_weight=weight, reduction=reduction, **options)
            scaled = kernels.loss(name, p, t, sample_weight=weight * scale, reduction=reduction, **options)
            assert scaled[0] == value * float(factor)
            # scaled by 2^-20, a slope below 2^-106 comes near the subnormal numbers, which lose digits
            exact = (gradient == 0) | (np.abs(gradient) > np.finfo(dtype).tiny * 2.0**42)
            assert bits(scaled[1][exact]) == bits((gradient * factor)[exact])


@given(option_cases, own.sizes, own.small_sizes, own.dtypes, own.isas, own.generators)
def test_a_whole_weight_is_a_repetition(option, n_rows, n_out, dtype, isa, rng):
    name, options = option
    p, t = case(name, n_rows, n_out, dtype, rng)
    weight = rng.integers(0, 4, n_rows)
    weight[0] += 1
    with own.on_isa(isa):
        for reduction in ("sum", "mean"):
            value, gradient = kernels.loss(name, p, t, sample_weight=weight, reduction=reduction, **options)
            again, repeated = kernels.loss(
                name, np.repeat(p, weight, axis=0), np.repeat(t, weight, axis=0), reduction=reduction, **options
            )
            # Rows have the same losses, in the dtype or wider: what differs is w l, one rounding, and sums in double.
            total = weight.sum() if reduction == "mean" else 1
            rows = [kernels.loss(name, p[i : i + 1], t[i : i + 1], **options)[0] for i in range(n_rows)]
            limit = 2 * bounds.gamma(weight.sum() + 4, np.float64) + bounds.gamma(2, dtype)
            assert_within(value, np.float64(again), limit * (weight * np.abs(rows)).sum() / total)
            # Slopes are the same; the factors w / sum w are two roundings, their products one on each side.
            starts = np.cumsum(weight) - weight
            kept = weight > 0
            expected = reference.wide(repeated[starts[kept]]) * weight[kept, None]
            size = np.abs(expected)
            limit = bounds.gamma(2 * bounds.GRADIENT_FACTOR, dtype) * size + bounds.underflow(dtype, 8)
            assert_within(gradient[kept], expected, limit)
            assert not gradient[~kept].any()


# -- every public function against its twin -----------------------------------------------------------------


def in_any_layout(call, arrays, layout, dtype):
    """call(*arrays), after the same call on the arrays in another layout gave the same bits."""
    expected = call(*arrays)
    got = call(*(own.laid_out(array, layout) for array in arrays))
    assert bits(*_several(got)) == bits(*_several(expected))
    assert all(np.asarray(part).dtype == dtype for part in _several(got) if not isinstance(part, float))
    return expected


def _several(result):
    return result if isinstance(result, tuple) else (result,)


@given(st.sampled_from(["identity", "relu"]), own.sizes, own.sizes, own.sizes, own.dtypes, own.isas, own.layouts,
       own.generators)  # fmt: skip
def test_products_and_their_twins(name, n_rows, n_in, n_out, dtype, isa, layout, rng):
    x, dx_below, weight, _ = factors(rng, n_rows, n_in, n_out, dtype)
    dz, bias = rng.normal(size=(n_rows, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    w = reference.wide
    with own.on_isa(isa):
        y = in_any_layout(lambda *a: kernels.dense_forward(*a, name), (x, weight, bias), layout, dtype)
        dx = in_any_layout(
            lambda a, b, c: kernels.dense_backward_input(a, b, activation=name, output=c),
            (dz, weight, dx_below), layout, dtype,
        )  # fmt: skip
        dw, db = in_any_layout(kernels.dense_backward_weight, (x, dz), layout, dtype)
    size = np.abs(w(x)) @ np.abs(w(weight)) + np.abs(bias)
    assert_within(y, reference.dense_forward(x, weight, bias, name), bounds.product(dtype, size, n_in))
    slope = np.where(dx_below > 0, 1.0, 0.0) if name == "relu" else np.ones_like(dx_below)
    size = np.abs(w(dz)) @ np.abs(w(weight)).T
    assert_within(dx, reference.dense_backward_input(dz, weight, slope), bounds.product(dtype, size, n_out))
    expected_weight, expected_bias = reference.dense_backward_weight(x, dz)
    assert_within(dw, expected_weight, bounds.product(dtype, np.abs(w(x)).T @ np.abs(w(dz)), n_rows))
    assert_within(db, expected_bias, bounds.column_sum(dtype, np.abs(w(dz)).sum(axis=0), n_rows))


@given(st.sampled_from(ELEMENTWISE), own.sizes, own.sizes, own.judged_dtypes, own.isas, own.layouts, own.generators)
def test_activations_and_their_twins(name, n_rows, n_columns, dtype, isa, layout, rng):
    x = (rng.normal(size=(n_rows, n_columns)) * 4).astype(dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    with own.on_isa(isa):
        y = in_any_layout(lambda a: kernels.activation(name, a), (x,), layout, dtype)
        back = in_any_layout(lambda a, b, c: kernels.activation_backward(name, a, x=b, y=c), (dy, x, y), layout, dtype)
    assert (bounds.ulp_error(y, reference.activation(name, x)) <= bounds.ulp(name, dtype)).all()
    slope = reference.derivative(name, x=x) if name in SAVES_INPUT else reference.derivative(name, y=y)
    allowed = bounds.derivative(name, dtype, reference.wide(dy), slope)
    assert_within(back, reference.wide(dy) * slope, allowed, name)


@given(st.sampled_from(sorted(reference.FUNCTIONS)), own.sizes, own.sizes, own.judged_dtypes, own.isas, own.layouts,
       own.generators)  # fmt: skip
def test_functions_and_their_twins(name, n_rows, n_columns, dtype, isa, layout, rng):
    x = (rng.normal(size=(n_rows, n_columns)) * 4).astype(dtype)
    if name.startswith("log"):
        x = np.abs(x)
    with own.on_isa(isa):
        y = in_any_layout(getattr(kernels, name), (x,), layout, dtype)
    assert (bounds.ulp_error(y, reference.function(name, x)) <= bounds.ulp(name, dtype)).all()


@given(st.sampled_from(BY_ROW), own.sizes, own.sizes, own.dtypes, own.isas, own.layouts, own.generators)
def test_softmax_and_its_twin(name, n_rows, n_columns, dtype, isa, layout, rng):
    x = (rng.normal(size=(n_rows, n_columns)) * 4).astype(dtype)
    with own.on_isa(isa):
        y = in_any_layout(getattr(kernels, name), (x,), layout, dtype)
    spread = float(x.max() - x.min())
    relative = bounds.softmax(dtype, spread, n_columns)
    expected = reference.activation(name, x)
    # a relative error of the probability is an absolute one of its logarithm
    limit = relative * (np.abs(expected) if name == "softmax" else 1 + np.abs(expected))
    assert_within(y, expected, limit + bounds.underflow(dtype, 1))


@given(option_cases, own.sizes, own.small_sizes, own.dtypes, own.isas, own.layouts, own.generators)
def test_losses_and_their_twins(option, n_rows, n_out, dtype, isa, layout, rng):
    name, options = option
    p, t = case(name, n_rows, n_out, dtype, rng)
    weight = rng.uniform(0.1, 2, n_rows).astype(dtype)
    with own.on_isa(isa):
        value, gradient = in_any_layout(
            lambda a, b, c: kernels.loss(name, a, b, sample_weight=c, **options), (p, t, weight), layout, dtype
        )
    expected, slope = reference.loss(name, p, t, sample_weight=weight, **reference_options(options))
    row_sizes, slope_sizes, spread, slope_spread = loss_sizes(name, p, t, options)
    each = weight / weight.astype(float).sum()
    assert_within(value, expected, bounds.loss(name, dtype, each * row_sizes, n_out, n_rows, spread).sum())
    allowed = bounds.loss_gradient(name, dtype, each[:, None] * slope_sizes, n_out, n_rows, slope_spread)
    assert_within(gradient, slope, allowed)


def test_every_loss_is_drawn():
    assert {name for name, _ in OPTIONS} == set(LOSSES)


@given(st.sampled_from(UPDATES), own.sizes, own.dtypes, own.isas, own.generators, st.integers(1, 1000))
def test_updates_and_their_twins(update, n, dtype, isa, rng, number):
    rule, options = update
    param, grad = rng.normal(size=(2, n)).astype(dtype)
    state = [np.abs(rng.normal(size=n)).astype(dtype) for _ in states(rule, n, dtype)]
    expected = reference_step(rule, options, number, param, grad, state)
    size = sizes(rule, options, number, param, grad, state)
    with own.on_isa(isa):
        step(rule, options, number, param, grad, state)
    limit = bounds.gamma(bounds.UPDATE_ROUNDINGS, dtype)
    for got, wanted, scale in zip((param, *state), expected, size, strict=True):
        assert_within(got, wanted, limit * scale + bounds.underflow(dtype, 4), rule)


@given(own.sizes, own.sizes, own.dtypes, own.isas, own.layouts, own.generators, st.sampled_from([0.0, 0.25, 0.9]))
def test_dropout_and_layer_norm_and_their_twins(n_rows, n_columns, dtype, isa, layout, rng, rate):
    x = rng.normal(size=(n_rows, n_columns)).astype(dtype)
    gamma, beta = rng.normal(size=(2, n_columns)).astype(dtype)
    with own.on_isa(isa):
        y = in_any_layout(lambda a: kernels.dropout(a, rate, seed=3), (x,), layout, dtype)
        normal = in_any_layout(kernels.layer_norm, (x, gamma, beta), layout, dtype)
    # 1 / (1 - rate) rounded, one product
    expected = reference.dropout(x, (y != 0) | (x == 0), rate)
    assert_within(y, expected, bounds.gamma(2, dtype) * np.abs(expected))
    expected, _, inverse_std = reference.layer_norm_forward(x, gamma, beta)
    size = Sizes(x, 1, inverse_std)
    size.within(normal, expected, np.abs(gamma) * size.normal * (1 + size.x * size.inverse_std) + np.abs(beta), "y")
