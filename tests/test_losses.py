"""Every loss and its gradient: values, weights, kinds of targets, extremes, bits."""

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, assert_within, bits, few, same_bits_on_every_isa, trapped

import chainrule as cr
from chainrule import kernels

NAMES = cr.losses.NAMES
LABELS = ("cross_entropy", "softmax_cross_entropy")
SMOOTHED = (*LABELS, "sigmoid_cross_entropy")
OPTIONS = [
    *((name, {}) for name in NAMES), ("huber", {"delta": 0.3}), ("huber", {"delta": 2.5}), ("quantile", {"q": 0.9}),
    *((name, {"label_smoothing": 0.1}) for name in SMOOTHED), ("sigmoid_cross_entropy", {"pos_weight": 3.7}),
    ("sigmoid_cross_entropy", {"pos_weight": 0.2, "label_smoothing": 0.3}),
]  # fmt: skip
# (n_rows, n_out): every tail of a row, of a column of rows, and across the blocks of 256 rows
SHAPES = [(0, 3), (1, 1), (3, 0), *((3, n) for n in LENGTHS if n), *((n, 1) for n in LENGTHS if n > 1),
          *((n, 10) for n in (1, 7, 16, 17, 33)), (255, 1), (257, 3), (513, 2), (1031, 3), (259, 4), (141, 8),
          (4, 100)]  # fmt: skip


def sum_of_rows(rows):
    """The sum of row losses that chainrule promises: 16 partial sums by index mod 16, folded 8-4-2-1."""
    padded = np.zeros((-(-len(rows) // 16) + 1, 16))
    padded[1:].flat[: len(rows)] = rows
    partial = np.cumsum(padded, axis=0)[-1]  # cumsum adds in order
    for half in (8, 4, 2, 1):
        partial = partial[:half] + partial[half:]
    return partial[0]


def option_id(value):
    return ",".join(f"{k}={v}" for k, v in value.items()) or "plain" if isinstance(value, dict) else value


each_name = pytest.mark.parametrize("name", NAMES)
each_option = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=option_id)


def case(name, n_rows, n_out, dtype, rng):
    """Predictions and targets that this loss is meant for."""
    p, t = rng.normal(size=(2, n_rows, n_out)) * 3
    if name == "poisson":
        p, t = np.abs(p) + 0.01, rng.poisson(2, (n_rows, n_out))
    elif name == "hinge":
        t = np.sign(t)
    elif name in LABELS and n_out:
        t = reference.softmax(t)
        p = p if name == "softmax_cross_entropy" else reference.softmax(p)
    elif name == "sigmoid_cross_entropy":
        p, t = 2 * p, np.clip(t / 4 + 0.5, 0, 1)
    return p.astype(dtype), t.astype(dtype)


def reference_options(options):
    return {"quantile" if key == "q" else key: value for key, value in options.items()}


def loss_sizes(name, p, t, options):
    """What the roundings of each row's loss and of each slope are relative to, and the spread of logits."""
    p, t = reference.wide(p), reference.wide(t)
    smoothing, weight = options.get("label_smoothing", 0), options.get("pos_weight", 1)
    rows, slopes = reference.loss_rows(name, p, t, **reference_options(options))
    if name == "quantile":
        return np.abs(p - t).sum(axis=1), np.ones_like(p), 0, 0
    if name == "poisson":
        return (p + np.abs(t * np.log(p))).sum(axis=1), 1 + t / p, 0, 0
    if name == "softmax_cross_entropy":
        t = reference._smooth(t, smoothing)
        spread = p.max(axis=1, keepdims=True) - p
        typical = (reference.softmax(p) * spread).sum(axis=1)
        others = 1 - reference.softmax(p).max(axis=1)
        typical = np.divide(typical, others, out=np.zeros_like(typical), where=others > 0)  # of all but the largest
        slope_spread = typical[:, None] + np.where(t > 0, 0, spread)
        return rows, reference.softmax(p) * (1 + spread) * t.sum(axis=1, keepdims=True) + t, typical, slope_spread
    if name == "sigmoid_cross_entropy":
        t = (1 - smoothing) * t + smoothing / 2
        doubt = t if smoothing else 0  # 1 - t shows the roundings of a smoothed t
        size, e = np.abs(p), np.exp(-np.abs(p))
        wrong, right = np.where(p > 0, 1 - t + doubt, weight * t), np.where(p > 0, weight * t, 1 - t + doubt)
        return (wrong * size + (wrong + right) * np.log1p(e)).sum(axis=1), (wrong + right * e) / (1 + e), 0, 0
    return np.abs(rows), np.abs(slopes), 0, 0


# -- against NumPy -------------------------------------------------------------------------------------------


@each_option
def test_loss_and_gradient(isa, dtype, name, options, rng, guarded):
    for n_rows, n_out in few(SHAPES, 20):
        p, t = case(name, n_rows, n_out, dtype, rng)
        weight = rng.uniform(0.1, 2, n_rows).astype(dtype)
        for reduction, w in (("mean", weight), ("sum", None)):
            grad = guarded((n_rows, n_out), dtype, offset=1, ld=n_out + 3)
            value, returned = kernels.loss(
                name, trapped(p, dtype), trapped(t, dtype, extra=2), sample_weight=w, out_grad=grad.array,
                reduction=reduction, **options,
            )  # fmt: skip
            assert returned is grad.array and type(value) is float
            if p.size == 0:
                assert value == 0
                continue
            expected, slope = reference.loss(
                name, p, t, sample_weight=w, reduction=reduction, **reference_options(options)
            )
            sizes, slope_sizes, spread, slope_spread = loss_sizes(name, p, t, options)
            each = (np.ones(n_rows) if w is None else w) / (w.astype(float).sum() if reduction == "mean" else 1)
            terms = bounds.loss(name, dtype, each * sizes, n_out, n_rows, spread).sum()
            assert_within(value, expected, terms, f"{name} {p.shape} ")
            allowed = bounds.loss_gradient(name, dtype, each[:, None] * slope_sizes, n_out, n_rows, slope_spread)
            assert_within(grad.array, slope, allowed, f"{name}' {p.shape} ")
            grad.check()


@each_option
def test_gradient_is_the_slope(isa, name, options, rng):
    """Central differences of every element in float64, with weights, for both reductions."""
    h = 2.0**-17
    p, t = case(name, 5, 4, np.float64, rng)
    if name in ("poisson", "cross_entropy"):
        p = np.maximum(p, 0.02)  # p - h > 0
    weight = rng.uniform(0.5, 2, 5)
    # Kinks lie at d = 0, |d| = delta, t p = 1: none within h of these numbers.
    for reduction in ("mean", "sum"):
        settings = {"sample_weight": weight, "reduction": reduction, **options}
        _, gradient = kernels.loss(name, p, t, **settings)
        for place in np.ndindex(p.shape):
            above, below = p.copy(), p.copy()
            above[place] += h
            below[place] -= h
            quotient = (kernels.loss(name, above, t, **settings)[0] - kernels.loss(name, below, t, **settings)[0]) / (
                2 * h
            )
            # the difference quotient's own error: p near 0 bends poisson and cross entropy by h^2 / p^3
            bend = h * h / min(1, p[place]) ** 3 if name in ("poisson", "cross_entropy") else 0
            assert abs(gradient[place] - quotient) <= bounds.GRADIENT_CHECK * 0.01 * (1 + weight.sum()) + 4 * bend


def test_mean_squared_error_divides_by_all_elements(isa, dtype):
    value, gradient = kernels.loss("mean_squared_error", np.array([[1, 2], [3, 5]], dtype), np.zeros((2, 2), dtype))
    assert value == (1 + 4 + 9 + 25) / 4
    np.testing.assert_array_equal(gradient, np.array([[1, 2], [3, 5]]) * 2 / 4)


# -- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("n_out", [1, 2, 7, 10, 16, 17, 40])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_labels_are_their_one_hot_rows(isa, dtype, name, n_out, smoothing, rng):
    """The same bits, whatever integers the labels are, as a column or not."""
    p, _ = case(name, 37, n_out, dtype, rng)
    labels = rng.integers(0, n_out, 37)
    weight = rng.uniform(0, 2, 37).astype(dtype)
    settings = {"label_smoothing": smoothing, "sample_weight": weight}
    expected = bits(*kernels.loss(name, p, reference.one_hot(labels, n_out).astype(dtype), **settings))
    wide = np.zeros((37, 3), np.int64)
    wide[:, 1] = labels
    for given in (
        labels,
        labels.astype(np.int8),
        labels.astype(np.uint32),
        labels[:, None],
        labels.tolist(),
        wide[:, 1],
    ):
        if np.shape(given) == p.shape:
            continue  # integers of the prediction's own shape are values, not labels
        assert bits(*kernels.loss(name, p, given, **settings)) == expected


def test_smoothing_mixes_in_the_uniform_distribution(isa, dtype, rng):
    z, labels = rng.normal(size=(9, 5)).astype(dtype), rng.integers(0, 5, 9)
    got, gradient = kernels.loss("softmax_cross_entropy", z, labels, label_smoothing=0.25)
    soft = (0.75 * reference.one_hot(labels, 5) + 0.05).astype(dtype)
    expected, slope = kernels.loss("softmax_cross_entropy", z, soft)
    rounding = bounds.gamma(40, dtype)
    assert got == pytest.approx(expected, rel=rounding)
    assert_within(gradient, slope, rounding)


def test_pos_weight_counts_positive_targets_more(isa, dtype):
    z, t = np.array([[0.5], [0.5]], dtype), np.array([[1], [0]], dtype)
    plain = [kernels.loss("sigmoid_cross_entropy", z[i : i + 1], t[i : i + 1]) for i in (0, 1)]
    heavy = [kernels.loss("sigmoid_cross_entropy", z[i : i + 1], t[i : i + 1], pos_weight=4) for i in (0, 1)]
    assert heavy[0][0] == 4 * plain[0][0] and heavy[0][1] == 4 * plain[0][1]
    assert heavy[1][0] == plain[1][0] and heavy[1][1] == plain[1][1]


@each_name
def test_a_vector_stands_for_one_column(isa, dtype, name, rng):
    p, t = case(name, 21, 1, dtype, rng)
    expected = kernels.loss(name, p, t)
    for prediction, target in ((p[:, 0], t[:, 0]), (p[:, 0], t), (p, t[:, 0])):
        value, gradient = kernels.loss(name, prediction, target)
        assert gradient.shape == prediction.shape
        assert bits(value, gradient) == bits(*expected)
        out = np.full(prediction.shape, np.nan, dtype)
        assert kernels.loss(name, prediction, target, out_grad=out)[1] is out
        assert bits(out) == bits(gradient)


# -- weights and reductions -------------------------------------------------------------------------------------


@each_name
def test_a_whole_weight_repeats_the_row(isa, dtype, name, rng):
    p, t = case(name, 20, 6, dtype, rng)
    times = rng.integers(0, 4, 20)
    for reduction in ("mean", "sum"):
        value, gradient = kernels.loss(name, p, t, sample_weight=times, reduction=reduction)
        repeated, slope = kernels.loss(name, p.repeat(times, axis=0), t.repeat(times, axis=0), reduction=reduction)
        # w l in double against l + l + ... in double: a rounding for each row
        assert value == pytest.approx(repeated, rel=bounds.gamma(2 * times.sum(), np.float64))
        ends = np.cumsum(times)[times > 0] - 1
        rounding = bounds.gamma(2 * bounds.GRADIENT_FACTOR, dtype)
        assert_within(gradient[times > 0], slope[ends] * times[times > 0, None], rounding * np.abs(slope[ends]) * 3)
        assert not gradient[times == 0].any()


@each_name
def test_mean_is_sum_over_the_total_weight(isa, dtype, name, rng):
    p, t = case(name, 16, 4, dtype, rng)
    assert kernels.loss(name, p, t)[0] == kernels.loss(name, p, t, reduction="sum")[0] / 16
    weight = rng.integers(1, 9, 16)
    total = kernels.loss(name, p, t, reduction="sum", sample_weight=weight)[0]
    assert kernels.loss(name, p, t, sample_weight=weight)[0] == total / weight.sum()
    # all weights equal: the factor cancels
    plain = kernels.loss(name, p, t)
    same = kernels.loss(name, p, t, sample_weight=np.full(16, 2.0))
    assert bits(*same) == bits(*plain)


@pytest.mark.parametrize("n_out", [1, 3, 16, 40])
@each_name
def test_a_row_of_weight_zero_is_not_there(isa, dtype, name, n_out, rng):
    """However bad its prediction is: 0 times an infinite or undefined loss would be NaN."""
    p, t = case(name, 9, n_out, dtype, rng)
    weight = np.array([1, 0, 2, 0, 0, 1, 0, 3, 1], dtype)
    there = weight > 0
    expected, slope = kernels.loss(name, p[there], t[there], sample_weight=weight[there])
    # The order of adding may differ: 4 additions and a division in double on either side.
    rows = [kernels.loss(name, p[i : i + 1], t[i : i + 1])[0] for i in np.flatnonzero(there)]
    rounding = 10 * 2.0**-53 * np.dot(weight[there].astype(float), np.abs(rows)) / weight.sum(dtype=float)
    for bad in (np.nan, np.inf, -np.inf, 0.0):
        p[~there] = bad
        value, gradient = kernels.loss(name, p, t, sample_weight=weight)
        assert abs(value - expected) <= rounding and bits(gradient[there]) == bits(slope)
        assert not gradient[~there].any() and not np.signbit(gradient[~there]).any()


@each_name
def test_no_weight_at_all_is_no_loss(isa, dtype, name, rng):
    p, t = case(name, 5, 3, dtype, rng)
    value, gradient = kernels.loss(name, p, t, sample_weight=np.zeros(5))
    assert value == 0 and not gradient.any()
    value, gradient = kernels.loss(name, p[:0], t[:0])
    assert value == 0 and gradient.shape == (0, 3)


# -- extremes ------------------------------------------------------------------------------------------------------


def test_a_perfect_prediction_costs_exactly_nothing(isa, dtype):
    t = np.array([[0.5, -2.0, 3.25]] * 5, dtype)
    for name in ("squared_error", "mean_squared_error", "absolute_error", "huber", "log_cosh", "quantile"):
        value, gradient = kernels.loss(name, t, t)
        assert value == 0 and not gradient.any(), name
    sure = np.array([[1e4, -1e4, -1e4], [-np.inf, 0, -np.inf], [-np.inf, 5, -np.inf]], dtype)
    one_hot = reference.one_hot([0, 1, 1], 3).astype(dtype)
    for name, p, target in (("softmax_cross_entropy", sure, one_hot), ("sigmoid_cross_entropy", sure[:1], one_hot[:1]),
                            ("cross_entropy", one_hot, one_hot), ("hinge", 2 * t, np.sign(t))):  # fmt: skip
        value, gradient = kernels.loss(name, p, target)
        assert value == 0, name
        if name != "cross_entropy":  # there -t / p = -1
            assert not gradient.any(), name


def test_logits_of_any_size(isa, dtype):
    """At +-1e4 the loss is the distance itself, and the gradient is whole numbers."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]], dtype)
    value, gradient = kernels.loss("softmax_cross_entropy", z[:2], [1, 1], reduction="sum")
    assert value == 2e4
    np.testing.assert_array_equal(gradient, [[1, -1], [0, 0]])
    value, gradient = kernels.loss("sigmoid_cross_entropy", z[:2], np.array([[0, 1], [0, 1]], dtype), reduction="sum")
    assert value == 2e4
    np.testing.assert_array_equal(gradient, [[1, -1], [0, 0]])
    value, gradient = kernels.loss("softmax_cross_entropy", z[2:], [0])
    assert value == pytest.approx(np.log(2), rel=4 * bounds.unit(dtype))
    np.testing.assert_array_equal(gradient, [[-0.5, 0.5]])


def test_minus_infinity_rules_a_class_out(isa, dtype):
    """exp(-inf) = 0: the other classes' loss and gradient are those without it, and its own gradient is 0."""
    z = np.array([[0.5, 1.5, -0.25]], dtype)
    expected, slope = kernels.loss("softmax_cross_entropy", z, [2])
    for n_out in (4, 20):
        ruled = np.full((1, n_out), -np.inf, dtype)
        ruled[:, 1:4] = z
        value, gradient = kernels.loss("softmax_cross_entropy", ruled, [3])
        assert value == pytest.approx(expected, rel=8 * bounds.unit(dtype))
        np.testing.assert_allclose(gradient[:, 1:4], slope, rtol=16 * bounds.unit(dtype))
        assert not gradient[:, 4:].any() and gradient[0, 0] == 0
        assert kernels.loss("softmax_cross_entropy", ruled, [0])[0] == np.inf


def test_infinite_predictions_give_the_limits(isa, dtype):
    inf = np.inf
    for z, t, expected, slope in ((inf, 1, 0, 0), (inf, 0, inf, 1), (-inf, 0, 0, 0), (-inf, 1, inf, -1)):
        value, gradient = kernels.loss("sigmoid_cross_entropy", np.full((1, 1), z, dtype), np.full((1, 1), t, dtype))
        assert (value, gradient[0, 0]) == (expected, slope)
    zero = np.zeros((1, 1), dtype)
    for name, slope in (("squared_error", inf), ("absolute_error", 1), ("huber", 1), ("log_cosh", 1)):
        for sign in (1, -1):
            value, gradient = kernels.loss(name, np.full((1, 1), sign * inf, dtype), zero)
            assert (value, gradient[0, 0]) == (inf, sign * slope), name
    for name in ("cross_entropy", "poisson"):  # log 0
        assert kernels.loss(name, zero, zero + 1)[0] == inf
        assert kernels.loss(name, zero, zero)[0] == 0


def test_small_losses_keep_their_digits(isa, dtype):
    """log(1 + e^-30) is e^-30, not 0 and not a rounding error of 1."""
    e = np.exp(np.longdouble(-30))
    rounding = bounds.gamma(40, dtype) * e
    for name, z, t in (("softmax_cross_entropy", [[30, 0]], [[1, 0]]), ("sigmoid_cross_entropy", [[30]], [[1]])):
        value, gradient = kernels.loss(name, np.array(z, dtype), np.array(t, dtype))
        assert_within(value, np.log1p(e), rounding)
        assert_within(gradient[0, 0], -e / (1 + e), rounding)


@each_name
@pytest.mark.parametrize("n_out", [1, 5, 16, 19])
def test_nan_in_nan_out(isa, dtype, name, n_out, rng):
    """In the loss, and in the gradient of that element (by softmax: that row); other rows keep their bits."""
    p, t = case(name, 20, n_out, dtype, rng)
    _, clean = kernels.loss(name, p, t, reduction="sum")
    for row, column in ((0, 0), (7, n_out - 1), (19, n_out // 2)):
        spoilt = p.copy()
        spoilt[row, column] = np.nan
        value, gradient = kernels.loss(name, spoilt, t, reduction="sum")
        assert np.isnan(value)
        expected = np.isnan(spoilt)
        if name == "softmax_cross_entropy":
            expected[row] = True
        np.testing.assert_array_equal(np.isnan(gradient), expected)
        others = np.arange(20) != row
        assert bits(gradient[others]) == bits(clean[others])


# -- places and bits -------------------------------------------------------------------------------------------------


@each_name
def test_a_row_alone_is_the_row_in_its_batch(isa, dtype, name, rng):
    for n_out in (1, 2, 3, 4, 6, 8, 16, 21):
        p, t = case(name, 300, n_out, dtype, rng)
        values, gradient = kernels.loss(name, p, t, reduction="sum")
        alone = [kernels.loss(name, p[i : i + 1], t[i : i + 1], reduction="sum") for i in range(300)]
        assert bits(gradient) == bits(np.concatenate([slope for _, slope in alone]))
        assert values == sum_of_rows([value for value, _ in alone])


@each_name
def test_in_place_and_strided(isa, dtype, name, rng, guarded):
    for n_rows, n_out in ((21, 1), (9, 7), (5, 35)):
        p, t = case(name, n_rows, n_out, dtype, rng)
        value, gradient = kernels.loss(name, p, t)
        buffer = guarded((n_rows, n_out), dtype, offset=1, ld=n_out + 1)
        buffer.array[...] = p
        again, onto = kernels.loss(name, buffer.array, t, out_grad=buffer.array)
        assert onto is buffer.array and bits(again, onto) == bits(value, gradient)
        contiguous = p.copy()
        kernels.loss(name, contiguous, t, out_grad=contiguous)
        assert bits(contiguous) == bits(gradient)
        assert bits(*kernels.loss(name, np.asfortranarray(p), t[::-1].copy()[::-1])) == bits(value, gradient)


@each_option
def test_every_isa_gives_the_same_bits(dtype, name, options, rng):
    for n_rows, n_out in ((300, 1), (70, 10), (33, 16), (9, 67)):
        p, t = case(name, n_rows, n_out, dtype, rng)
        weight = rng.uniform(0, 2, n_rows).astype(dtype)
        same_bits_on_every_isa(lambda: kernels.loss(name, p, t, sample_weight=weight, **options))  # noqa: B023


# What makes a sum of doubles depend on its order: powers of 2 passed, halves of a last place, both signs, specials.
ROW_LOSSES = {
    "of all sizes": lambda rng, n: 2.0 ** rng.uniform(-40, 5, n),
    "growing": lambda rng, n: 1.1 ** np.arange(n) % 1e30,
    "alike": lambda rng, n: rng.normal(size=n),
    "halves of a last place": lambda rng, n: np.append(1.0, rng.integers(1, 8, n - 1) * 2.0**-53),
    "few digits": lambda rng, n: rng.integers(1, 2**12, n) * 2.0 ** -rng.integers(0, 60, n),
    "zeros": lambda rng, n: rng.integers(0, 2, n) * 1.0,
    "subnormal": lambda rng, n: rng.integers(0, 1000, n) * 2.0**-149,
    "infinite": lambda rng, n: np.where(np.arange(n) == n // 2, np.inf, 1.0),
}


@pytest.mark.parametrize("sizes", ROW_LOSSES)
@pytest.mark.parametrize("n", [1, 15, 16, 63, 130, 700, 1024, 5000])
def test_row_losses_are_added_by_16_partial_sums(isa, dtype, sizes, n, rng):
    p = ROW_LOSSES[sizes](rng, n).astype(dtype)
    value, _ = kernels.loss("absolute_error", p, np.zeros(n, dtype), reduction="sum")
    assert value == sum_of_rows(np.abs(p).astype(np.float64))


def test_row_losses_of_both_signs_are_added_by_16_partial_sums(isa, dtype, rng):
    p, t = np.abs(rng.normal(size=(2, 600))).astype(dtype) * 9 + 1
    rows = [kernels.loss("poisson", p[i : i + 1], t[i : i + 1])[0] for i in range(len(p))]
    assert min(rows) < 0 < max(rows)
    assert kernels.loss("poisson", p, t, reduction="sum")[0] == sum_of_rows(rows)


@pytest.mark.parametrize("n_out", [1, 5, 19])
@each_name
def test_a_nan_target_is_seen_whatever_the_prediction(isa, dtype, name, n_out, rng):
    """It is looked for only where no finite loss comes out."""
    p, t = case(name, 7, n_out, dtype, rng)
    if t.ndim == 1:
        t = np.eye(n_out, dtype=dtype)[t]
    t[4, n_out // 2] = np.nan
    for beside in (0.0, 1.0, -1.0, 1e30, -1e30, np.inf, -np.inf, np.nan):
        p[4, n_out // 2] = beside
        kept, out = p.copy(), np.full(p.shape, 7, dtype)
        for given in (None, out, p):
            with pytest.raises(ValueError, match=r"^target\[4, \d+\] is NaN$"):
                kernels.loss(name, p, t, out_grad=given)
        assert bits(p) == bits(kept) and (out == 7).all()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("squared_error", 0.5, np.nan), ("poisson", 1.0, -1.0), ("hinge", -1.0, 0.5), ("sigmoid_cross_entropy", 0.5, 1.5)],
)
def test_a_bad_target_is_seen_wherever_it_stands(isa, dtype, name, good, bad):
    p, t = np.full(150, 0.5, dtype), np.full(150, good, dtype)
    for n in range(1, 150):
        kernels.loss(name, p[:n], t[:n])
        t[n - 1] = bad
        for length in (n, 150):
            with pytest.raises(ValueError, match=r"^target"):
                kernels.loss(name, p[:length], t[:length])
        t[n - 1] = good
