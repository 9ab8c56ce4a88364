"""Laws of whole models, for random architectures: rows know nothing of each other, gradients add up, a whole weight
is a repetition, and what is saved comes back. Hypothesis draws the cases, the same ones on every run.
"""

import copy
import pickle
import tempfile
from pathlib import Path

import bounds
import numpy as np
import strategies as own
from hypothesis import given
from hypothesis import strategies as st
from models import state
from tools import bits

import chainrule as cr


def model_of(layers, n_in, dtype, seed=3, optimizer=None, loss="squared_error", **settings):
    model = cr.Sequential(layers, seed=seed, dtype=dtype)
    if optimizer is not None:
        model.compile(optimizer, loss, **settings)
    model.build(n_in)
    return model


# -- rows ------------------------------------------------------------------------------------------------


@given(own.row_architectures, own.small_sizes, own.sizes, own.dtypes, own.isas, own.generators)
def test_rows_in_another_order_give_rows_in_that_order(layers, n_in, n_rows, dtype, isa, rng):
    x = rng.normal(size=(n_rows, n_in)).astype(dtype)
    order = rng.permutation(n_rows)
    with own.on_isa(isa):
        model = model_of(layers, n_in, dtype)
        y = model.predict(x)
        assert bits(model.predict(x[order])) == bits(y[order])
        dy = rng.normal(size=y.shape).astype(dtype)
        model.forward(x)
        dx = model.backward(dy)
        model.forward(x[order])
        assert bits(model.backward(dy[order])) == bits(dx[order])


# -- sums over rows --------------------------------------------------------------------------------------

# Whole numbers go through these exactly, so that sums may be compared as they are.
_whole = st.lists(
    st.builds(cr.Dense, own.small_sizes, st.sampled_from(["identity", "relu"]), use_bias=st.booleans()),
    min_size=1,
    max_size=3,
)


def whole_model(layers, n_in, dtype, rng):
    model = model_of(layers, n_in, dtype, optimizer="sgd", loss=cr.losses.SquaredError())
    model.parameters[:] = rng.integers(-2, 3, model.parameters.size)
    return model


def gradients(model, x, t, weight=None):
    """Loss and gradients of sum_i w_i 1/2 |y - t|^2."""
    value, dy = cr.kernels.loss("squared_error", model.forward(x), t, sample_weight=weight, reduction="sum")
    dx = model.backward(dy)
    return value, model.gradients.copy(), dx


@given(_whole, own.small_sizes, own.small_sizes, own.small_sizes, own.isas, own.generators)
def test_the_gradient_of_a_sum_is_the_sum_of_gradients(layers, n_in, n_rows, n_more, isa, rng):
    """In float64 and whole numbers: a network of three layers stays far below 2^53."""
    with own.on_isa(isa):
        model = whole_model(layers, n_in, "float64", rng)
        x = rng.integers(-2, 3, (n_rows + n_more, n_in)).astype(float)
        t = rng.integers(-2, 3, (n_rows + n_more, model.n_out)).astype(float)
        both = gradients(model, x, t)
        one, other = gradients(model, x[:n_rows], t[:n_rows]), gradients(model, x[n_rows:], t[n_rows:])
        assert both[0] == one[0] + other[0]
        np.testing.assert_array_equal(both[1], one[1] + other[1])
        np.testing.assert_array_equal(both[2], np.concatenate([one[2], other[2]]))


@given(_whole, own.small_sizes, own.small_sizes, own.isas, own.generators)
def test_a_whole_weight_is_a_repetition(layers, n_in, n_rows, isa, rng):
    with own.on_isa(isa):
        model = whole_model(layers, n_in, "float64", rng)
        x = rng.integers(-2, 3, (n_rows, n_in)).astype(float)
        t = rng.integers(-2, 3, (n_rows, model.n_out)).astype(float)
        weight = rng.integers(0, 4, n_rows)
        weighted = gradients(model, x, t, weight)
        repeated = gradients(model, np.repeat(x, weight, axis=0), np.repeat(t, weight, axis=0))
        assert weighted[0] == repeated[0]
        np.testing.assert_array_equal(weighted[1], repeated[1])


@given(own.row_architectures, own.small_sizes, own.small_sizes, own.isas, own.generators)
def test_a_training_step_takes_a_whole_weight_for_a_repetition(layers, n_in, n_rows, isa, rng):
    """The loss that train_step reports; the sums of float64 numbers differ by their roundings."""
    x = rng.normal(size=(n_rows, n_in))
    weight = rng.integers(0, 4, n_rows)
    weight[0] += 1
    with own.on_isa(isa):
        losses = []
        for repeat in (False, True):
            model = model_of(copy.deepcopy(layers), n_in, "float64", optimizer="sgd")
            t = np.random.default_rng(1).normal(size=(n_rows, model.n_out))
            if repeat:
                loss = model.train_step(np.repeat(x, weight, axis=0), np.repeat(t, weight, axis=0))
            else:
                loss = model.train_step(x, t, sample_weight=weight)
            losses.append(loss)
    if np.isfinite(losses[0]):
        # All terms of both sums are at least 0, so the roundings are relative to the sum itself.
        assert abs(losses[0] - losses[1]) <= 2 * bounds.gamma(weight.sum() + 4, np.float64) * abs(losses[1])
    else:
        assert bits(losses[0]) == bits(losses[1])


# -- what is saved comes back ----------------------------------------------------------------------------


def by_file(model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        model.save(path)
        other = cr.load(path)
        again = Path(folder, "again.npz")
        other.save(again)
        assert again.read_bytes() == path.read_bytes()
    return other


ways = st.sampled_from([by_file, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])


@given(ways, own.architectures, own.optimizers, own.small_sizes, own.small_sizes, own.dtypes, own.generators,
       st.integers(0, 2**64 - 1), st.integers(0, 3))  # fmt: skip
def test_saved_and_loaded_is_the_same_model(way, layers, optimizer, n_in, n_rows, dtype, rng, seed, epochs):
    model = model_of(layers, n_in, dtype, seed, optimizer, metrics=["mean_absolute_error"])
    x, t = rng.normal(size=(n_rows, n_in)), rng.normal(size=(n_rows, model.n_out))
    with np.errstate(all="ignore"):
        model.fit(x, t, epochs=epochs, batch_size=3, verbose=False, on_nan="ignore")
        other = way(model)
        assert state(other) == state(model) and repr(other) == repr(model)
        assert bits(other.predict(x)) == bits(model.predict(x))
        for one in (model, other):
            one.fit(x, t, epochs=epochs + 1, initial_epoch=epochs, batch_size=3, verbose=False, on_nan="ignore")
        assert state(other) == state(model)
