"""Where the functions of chainrule.kernels write: outputs that are not fit for it, or that overlap an input, are
refused before anything is written.
"""

import numpy as np
import pytest
from tools import bits, read_only, refused, starts

from chainrule import kernels

F4, F8 = np.float32, np.float64
X, W, B = np.ones((4, 3), F4), np.ones((3, 5), F4), np.ones(5, F4)
DZ = np.ones((4, 5), F4)


def P():
    return np.ones(3, F4)


# -- where results go ----------------------------------------------------------------------------------------

# call(out), its shape
OUT = {
    "dense_forward": (lambda out: kernels.dense_forward(X, W, out=out), (4, 5), "out"),
    "dense_backward_input": (lambda out: kernels.dense_backward_input(DZ, W, out=out), (4, 3), "out"),
    "out_weight": (lambda out: kernels.dense_backward_weight(X, DZ, out_weight=out), (3, 5), "out_weight"),
    "out_bias": (lambda out: kernels.dense_backward_weight(X, DZ, out_bias=out), (5,), "out_bias"),
    "activation": (lambda out: kernels.activation("tanh", X, out=out), (4, 3), "out"),
    "activation_backward": (lambda out: kernels.activation_backward("tanh", X, y=X, out=out), (4, 3), "out"),
    "softmax": (lambda out: kernels.softmax(X, out=out), (4, 3), "out"),
    "log_softmax": (lambda out: kernels.log_softmax(X, out=out), (4, 3), "out"),
    "exp": (lambda out: kernels.exp(X, out=out), (4, 3), "out"),
    "loss": (lambda out: kernels.loss("huber", X, X, out_grad=out), (4, 3), "out_grad"),
    "dropout": (lambda out: kernels.dropout(X, 0.5, seed=1, out=out), (4, 3), "out"),
    "layer_norm": (lambda out: kernels.layer_norm(X, B[:3], B[:3], out=out), (4, 3), "out"),
}
PARAM = {
    "param": lambda a: kernels.sgd_update(a, P(), learning_rate=1),
    "velocity": lambda a: kernels.sgd_update(P(), P(), learning_rate=1, momentum=0.5, velocity=a),
    "m": lambda a: kernels.adam_update(P(), P(), a, P(), 1, learning_rate=1),
    "v": lambda a: kernels.rmsprop_update(P(), P(), a, learning_rate=1),
    "s": lambda a: kernels.adagrad_update(P(), P(), a, learning_rate=1),
}


@pytest.mark.parametrize("what", OUT)
def test_out_is_checked(what):
    call, shape, name = OUT[what]
    bigger = (shape[0] + 1, *shape[1:])
    for out, error, message in (
        (np.zeros(shape, F8), TypeError, f"{name} must have dtype float32, got float64"),
        (np.zeros(shape, np.int32), TypeError, f"{name} must have dtype float32, got int32"),
        (np.zeros(shape, ">f4"), TypeError, f"{name} must have dtype float32, got >f4"),
        ([0.0], TypeError, f"{name} must be a NumPy array, got list"),
        (np.zeros(bigger, F4), ValueError, f"{name} must have shape {shape}, got {bigger}"),
        (np.zeros((*shape, 1), F4), ValueError, f"{name} must have shape {shape}, got {(*shape, 1)}"),
        (read_only(shape), ValueError, f"{name} is read-only"),
        (np.zeros((*shape, 2), F4)[..., 0], ValueError, f"{name} must be in C order with adjacent elements in a row"),
        (np.zeros(shape, F4)[..., ::-1], ValueError, f"{name} must be in C order with adjacent elements in a row"),
    ):
        with starts(error, message):
            call(out)
        assert isinstance(out, list) or not out.any(), "a refused call has written"


@pytest.mark.parametrize("what", PARAM)
def test_parameters_and_states_are_checked(what):
    for array, error, message in (
        (np.zeros(3, np.int64), TypeError, f"{what} must have dtype float32"),
        ([0.0, 0.0, 0.0], TypeError, f"{what} must be a NumPy array, got list"),
        (read_only(3), ValueError, f"{what} is read-only"),
        (np.zeros(6, F4)[::2], ValueError, f"{what} must be in C order"),
    ):
        with starts(error, message):
            PARAM[what](array)
    if what != "param":
        with starts(TypeError, f"{what} must have dtype float32, got float64"):
            PARAM[what](np.zeros(3))


def test_rows_apart_are_not_a_parameter():
    with starts(ValueError, "param must be C-contiguous, got strides (16, 4) for shape (3, 2)"):
        kernels.sgd_update(np.zeros((3, 4), F4)[:, :2], np.zeros((3, 2)), learning_rate=1)


# -- overlap ---------------------------------------------------------------------------------------------------


def test_out_must_not_overlap_the_inputs():
    """Views of one array of 64: nothing of it may change."""
    flat = np.arange(64, dtype=F4)
    before = bits(flat)
    square = flat[:16].reshape(4, 4)
    shifted = flat[1:17].reshape(4, 4)
    other = flat[40:56].reshape(4, 4).copy()
    vector = flat[8:12]
    calls = [
        ("out overlaps x", lambda: kernels.dense_forward(square, other, out=square)),
        ("out overlaps x", lambda: kernels.dense_forward(square, other, out=shifted)),
        ("out overlaps weight", lambda: kernels.dense_forward(other, square, out=shifted)),
        ("out overlaps bias", lambda: kernels.dense_forward(other, other, vector, out=square)),
        ("out overlaps dz", lambda: kernels.dense_backward_input(square, other, out=square)),
        ("out overlaps weight", lambda: kernels.dense_backward_input(other, square, out=shifted)),
        ("out overlaps the saved activation",
         lambda: kernels.dense_backward_input(other, other, activation="tanh", output=square, out=shifted)),
        ("out_weight overlaps x", lambda: kernels.dense_backward_weight(square, other, out_weight=shifted)),
        ("out_bias overlaps dz", lambda: kernels.dense_backward_weight(other, square, out_bias=vector)),
        ("out_bias overlaps out_weight",
         lambda: kernels.dense_backward_weight(other, other, out_weight=square, out_bias=vector)),
        ("out overlaps x", lambda: kernels.activation("relu", square, out=shifted)),
        ("out overlaps x", lambda: kernels.exp(square, out=shifted)),
        ("out overlaps x", lambda: kernels.softmax(shifted, out=square)),
        ("out overlaps dy", lambda: kernels.activation_backward("relu", shifted, y=other, out=square)),
        ("out overlaps x or y", lambda: kernels.activation_backward("relu", other, y=shifted, out=square)),
        ("out_grad overlaps target", lambda: kernels.loss("huber", other, square, out_grad=square)),
        ("out_grad overlaps prediction", lambda: kernels.loss("huber", shifted, other, out_grad=square)),
        ("out_grad overlaps sample_weight",
         lambda: kernels.loss("huber", other, other, sample_weight=vector, out_grad=square)),
        ("out overlaps x", lambda: kernels.dropout(shifted, 0.5, seed=1, out=square)),
        ("out overlaps gamma", lambda: kernels.layer_norm(other, vector, other[0], out=square)),
        ("param overlaps grad", lambda: kernels.sgd_update(vector, flat[9:13], learning_rate=1)),
        ("velocity overlaps param",
         lambda: kernels.sgd_update(vector, other[0], learning_rate=1, momentum=0.5, velocity=flat[9:13])),
        ("v overlaps m", lambda: kernels.adam_update(other[0].copy(), other[1], vector, vector, 1, learning_rate=1)),
    ]  # fmt: skip
    for message, call in calls:
        with refused(ValueError, message):
            call()
        assert bits(flat) == before, message


def test_neighbours_that_share_no_element_are_apart():
    """Columns of one array side by side: interleaved, but no element in common."""
    both = np.ones((4, 8), F4)
    got = kernels.dense_forward(both[:, :3], W, out=both[:, 3:])
    assert got.base is both or np.shares_memory(got, both)
    np.testing.assert_array_equal(both, np.hstack([np.ones((4, 3)), np.full((4, 5), 3)]))


def test_a_refused_update_changes_nothing():
    param, m, v = np.ones(3, F4), np.full(3, 2, F4), np.full(3, 3, F4)
    for settings in ({"step": 0}, {"beta_1": 2.0}, {"learning_rate": -1.0}, {"grad": np.ones(4)}, {"v": read_only(3)}):
        given = {"grad": np.ones(3), "v": v, "step": 1, "learning_rate": 1.0, **settings}
        with pytest.raises(ValueError, match=next(iter(settings))):
            kernels.adam_update(param, given.pop("grad"), m, given.pop("v"), given.pop("step"), **given)
        assert (param == 1).all() and (m == 2).all() and (v == 3).all()
