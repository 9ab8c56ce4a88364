"""First values of parameters: shapes, ranges, distributions, and that they are the same on every machine."""

import hashlib
import math

import numpy as np
import pytest
from tools import same_bits_on_every_isa

import chainrule as cr
from chainrule import initializers

SHAPE = (300, 200)
# name -> (variance, whether uniform)
VARIANCES = {
    "glorot_uniform": (2 / 500, True), "glorot_normal": (2 / 500, False),
    "he_uniform": (2 / 300, True), "he_normal": (2 / 300, False),
    "lecun_uniform": (1 / 300, True), "lecun_normal": (1 / 300, False),
    "uniform": (0.05**2 / 3, True), "normal": (0.05**2, False),
}  # fmt: skip


def first_weight(initializer, shape=SHAPE, seed=0, dtype="float64", **settings):
    model = cr.Sequential([cr.Dense(shape[1], weight_initializer=initializer, **settings)], seed=seed, dtype=dtype)
    model.build(shape[0])
    return model.layers[0].weight.copy()


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_variance_and_range(name):
    values = first_weight(name)
    variance, uniform = VARIANCES[name]
    n = values.size
    # Six standard deviations of the mean, and of the variance (kurtosis 1.8 or 3).
    assert abs(values.mean()) < 6 * math.sqrt(variance / n)
    assert abs(values.var() / variance - 1) < 6 * math.sqrt((0.8 if uniform else 2) / n)
    limit = math.sqrt(3 * variance)
    inside = (np.abs(values) <= limit).all()
    if uniform:
        assert inside and np.abs(values).max() > 0.999 * limit
        counts, _ = np.histogram(values, 20, (-limit, limit))
        assert np.abs(counts - n / 20).max() < 6 * math.sqrt(n / 20)
    else:
        # 4.55 % of a normal law lie beyond two standard deviations.
        beyond = (np.abs(values) > 2 * math.sqrt(variance)).mean()
        assert not inside and abs(beyond - 0.0455) < 6 * math.sqrt(0.0455 / n)


@pytest.mark.parametrize("shape", [(20, 20), (30, 11), (11, 30), (1, 5), (5, 1), (1, 1)])
def test_orthogonal(shape):
    w = first_weight("orthogonal", shape)
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)
    doubled = first_weight(initializers.Orthogonal(gain=2.0), shape)
    assert (doubled == 2 * w).all()


def test_the_simple_ones():
    assert not first_weight("zeros").any() and (first_weight("ones") == 1).all()
    assert (first_weight(0.25) == 0.25).all() and (first_weight(initializers.Constant(-2)) == -2).all()
    given = np.arange(6.0).reshape(2, 3)
    for setting in (given, given.tolist(), given.astype("f4"), np.asfortranarray(given)):
        assert (first_weight(setting, (2, 3)) == given).all()
    assert np.abs(first_weight(initializers.Uniform(0.2))).max() <= 0.2
    assert abs(first_weight(initializers.Normal(3.0)).std() - 3) < 0.1


def test_given_arrays_are_copied():
    given = np.ones((2, 3))
    dense = cr.Dense(3, weight_initializer=given)
    given[...] = 7
    dense.build(2)
    assert (dense.weight == 1).all()


def test_names_classes_objects_and_functions():
    named = first_weight("he_normal")
    assert (first_weight(initializers.HeNormal) == named).all()
    assert (first_weight(initializers.HeNormal()) == named).all()

    def own(shape, random):
        assert shape == SHAPE
        return random.normal(shape, std=math.sqrt(2 / shape[0]))

    np.testing.assert_allclose(first_weight(own), named, rtol=1e-15)
    assert set(initializers.NAMES) == {*VARIANCES, "orthogonal", "zeros", "ones"}


def test_biases_are_zero_unless_said_otherwise():
    dense = cr.Dense(3)
    dense.build(2)
    assert not dense.bias.any()
    for setting, expected in (("ones", [1, 1, 1]), (0.5, [0.5] * 3), ([1, 2, 3], [1, 2, 3])):
        dense = cr.Dense(3, bias_initializer=setting)
        dense.build(2)
        assert dense.bias.tolist() == expected


@pytest.mark.parametrize("name", initializers.NAMES)
def test_every_isa_draws_the_same(name):
    same_bits_on_every_isa(lambda: (first_weight(name, (37, 23)), first_weight(name, (23, 37), dtype="float32")))


def test_the_values_are_fixed_for_all_time():
    """A change here is a change of every trained model of every user."""
    digest = hashlib.sha256()
    for name in initializers.NAMES:
        digest.update(first_weight(name, (17, 9), seed=3).astype("<f8").tobytes())
    assert digest.hexdigest()[:16] == "58718bdf29119709"


def test_parameters_seeds_and_places_are_independent():
    def weights(seed):
        model = cr.Sequential([cr.Dense(20, bias_initializer="normal"), cr.Dense(20), cr.Dense(20)], seed=seed)
        model.build(20)
        return [w for w in model.get_weights() if w.any()]

    drawn = [w.reshape(-1)[:20] for seed in (0, 1, 2**63) for w in weights(seed)]
    assert len({w.tobytes() for w in drawn}) == len(drawn) == 12
    assert np.abs(np.corrcoef(drawn) - np.eye(12)).max() < 0.9


def test_random_goes_on_where_the_last_call_ended():
    one, two = initializers.Random(5, 2), initializers.Random(5, 2)
    np.testing.assert_array_equal(np.concatenate([one.uniform((3,)), one.uniform((4,))]), two.uniform((7,)))


@pytest.mark.parametrize(("setting", "error", "match"), [
    ("he_norml", ValueError, r"^weight_initializer 'he_norml' is unknown; did you mean 'he_normal'\? choices: glorot_"),
    (None, TypeError, r"^weight_initializer must be a name, a number, an array or a function, got None$"),
    ({}, TypeError, r"^weight_initializer must be a name, a number, an array or a function, got \{\}$"),
    (float("nan"), ValueError, r"^weight_initializer must be a finite number, got nan$"),
])  # fmt: skip
def test_what_is_no_initializer(setting, error, match):
    with pytest.raises(error, match=match):
        cr.Dense(3, weight_initializer=setting)


def test_wrong_shapes_leave_the_model_unbuilt():
    for setting in (np.ones((3, 2)), np.ones(6), lambda shape, random: np.ones((1, 3))):
        model = cr.Sequential([cr.Dense(4), cr.Dense(3, weight_initializer=setting)])
        with pytest.raises(ValueError, match=r"^weight_initializer has shape \(.*\), the parameter has \(4, 3\)$"):
            model.build(2)
        assert not model.built
    with pytest.raises(ValueError, match=r"^orthogonal needs a matrix, got shape \(3,\)$"):
        cr.Dense(3, bias_initializer="orthogonal").build(2)
    with pytest.raises(ValueError, match=r"^scale must be a finite number and >= 0, got -1$"):
        initializers.Uniform(-1)
