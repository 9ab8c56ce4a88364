"""What the functions of chainrule.kernels refuse: the exact exception, and a message that names the argument,
what was expected and what came. Nothing is changed by a call that is refused.
"""

import numpy as np
import pytest
from tools import read_only, refused, starts

from chainrule import _core, kernels

F4, F8 = np.float32, np.float64
X, W, B = np.ones((4, 3), F4), np.ones((3, 5), F4), np.ones(5, F4)
DZ = np.ones((4, 5), F4)


# -- what is not real numbers ------------------------------------------------------------------------------

NOT_REAL = [
    (np.ones((4, 3), complex), "dtype complex128 (ndarray)"),
    (np.ones((4, 3), object), "dtype object (ndarray)"),
    (np.full((4, 3), "a"), "dtype <U1 (ndarray)"),
    (np.zeros((4, 3), "M8[s]"), "dtype datetime64[s] (ndarray)"),
    ("text", "dtype <U4 (str)"),
    (None, "dtype object (NoneType)"),
    ([[1, 2j]], "dtype complex128 (list)"),
]
TAKERS = {
    "x": [lambda a: kernels.dense_forward(a, W), lambda a: kernels.dense_backward_weight(a, DZ),
          lambda a: kernels.activation("relu", a), lambda a: kernels.softmax(a), lambda a: kernels.exp(a),
          lambda a: kernels.dropout(a, 0.5, seed=1), lambda a: kernels.layer_norm(a, B, B)],
    "weight": [lambda a: kernels.dense_forward(X, a), lambda a: kernels.dense_backward_input(DZ, a)],
    "dz": [lambda a: kernels.dense_backward_input(a, W), lambda a: kernels.dense_backward_weight(X, a)],
    "dy": [lambda a: kernels.activation_backward("relu", a, x=X)],
    "prediction": [lambda a: kernels.loss("squared_error", a, X)],
    "target": [lambda a: kernels.loss("squared_error", X, a)],
    "grad": [lambda a: kernels.sgd_update(np.ones((4, 3), F4), a, learning_rate=0.1)],
    "gamma": [lambda a: kernels.layer_norm(X, a, B)],
}  # fmt: skip


@pytest.mark.parametrize("argument", TAKERS)
@pytest.mark.parametrize(("bad", "what"), NOT_REAL, ids=[what for _, what in NOT_REAL])
def test_only_real_numbers_are_taken(argument, bad, what):
    for call in TAKERS[argument]:
        if bad is None:
            with pytest.raises(TypeError, match=f"^{argument} .*None"):
                call(bad)
        else:
            with refused(TypeError, f"{argument} must hold real numbers, got {what}"):
                call(bad)


def test_rows_of_different_lengths_are_no_array():
    with starts(ValueError, "x is not an array: "):
        kernels.exp([[1.0], [1.0, 2.0]])


# -- shapes --------------------------------------------------------------------------------------------------

Z = np.zeros
SHAPES = [
    (lambda: kernels.dense_forward(Z(3), W), "x must be 2-D, got shape (3,)"),
    (lambda: kernels.dense_forward(Z((2, 2, 3)), W), "x must be 2-D, got shape (2, 2, 3)"),
    (lambda: kernels.dense_forward(X, Z((4, 5))), "weight must have shape (3, n_out) for x (4, 3), got (4, 5)"),
    (lambda: kernels.dense_forward(X, Z(3)), "weight must have shape (3, n_out) for x (4, 3), got (3,)"),
    (lambda: kernels.dense_forward(X, W, Z(4)), "bias must have shape (5,), got (4,)"),
    (lambda: kernels.dense_forward(X, W, Z((1, 5))), "bias must have shape (5,), got (1, 5)"),
    (lambda: kernels.dense_forward(X, W, 0.0), "bias must have shape (5,), got ()"),
    (lambda: kernels.dense_backward_input(Z(5), W), "dz must be 2-D, got shape (5,)"),
    (lambda: kernels.dense_backward_input(DZ, W.T), "weight must have shape (n_in, 5) for dz (4, 5), got (5, 3)"),
    (lambda: kernels.dense_backward_weight(X, DZ[:3]), "dz must have shape (4, n_out) for x (4, 3), got (3, 5)"),
    (lambda: kernels.dense_backward_weight(X, DZ[:, 0]), "dz must have shape (4, n_out) for x (4, 3), got (4,)"),
    (lambda: kernels.dense_backward_input(DZ, W, activation="relu", output=X[:3]),
     "output must have shape (4, 3), got (3, 3)"),
    (lambda: kernels.dense_backward_input(DZ, W, activation="gelu", pre_activation=X[:, :2]),
     "pre_activation must have shape (4, 3), got (4, 2)"),
    (lambda: kernels.activation_backward("tanh", X, y=X[:3]), "y must have shape (4, 3), got (3, 3)"),
    (lambda: kernels.activation_backward("silu", X, x=X[:, 0]), "x must have shape (4, 3), got (4,)"),
    (lambda: kernels.softmax(F4(1)), "x must have at least one dimension for softmax, got shape ()"),
    (lambda: kernels.activation_backward("log_softmax", F4(1), y=F4(1)),
     "dy must have at least one dimension for log_softmax, got shape ()"),
    (lambda: kernels.loss("squared_error", Z((2, 2, 2)), Z((2, 2, 2))),
     "prediction must have shape (n_rows, n_out), got (2, 2, 2)"),
    (lambda: kernels.loss("squared_error", X, X, sample_weight=Z(3)), "sample_weight must have shape (4,), got (3,)"),
    (lambda: kernels.loss("squared_error", X, X, sample_weight=Z((4, 1))),
     "sample_weight must have shape (4,), got (4, 1)"),
    (lambda: kernels.dropout(Z(3), 0.5, seed=0), "x must be 2-D, got shape (3,)"),
    (lambda: kernels.layer_norm(X, Z(4), Z(3)), "gamma must have shape (3,), got (4,)"),
    (lambda: kernels.layer_norm(X, Z(3), Z((1, 3))), "beta must have shape (3,), got (1, 3)"),
    (lambda: kernels.sgd_update(Z(3), Z(4), learning_rate=0.1), "grad must have shape (3,) like param, got (4,)"),
    (lambda: kernels.sgd_update(Z(3), Z((3, 1)), learning_rate=0.1),
     "grad must have shape (3,) like param, got (3, 1)"),
    (lambda: kernels.sgd_update(Z(3), Z(3), learning_rate=0.1, momentum=0.9, velocity=Z(2)),
     "velocity must have shape (3,), got (2,)"),
    (lambda: kernels.adam_update(Z(3), Z(3), Z(3), Z((1, 3)), 1, learning_rate=0.1),
     "v must have shape (3,), got (1, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), SHAPES, ids=[message for _, message in SHAPES])
def test_shapes(call, message):
    with refused(ValueError, message):
        call()


# -- targets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1), (3, 3), (4, 3, 1), (3,), ()])
def test_a_target_is_never_broadcast(shape):
    with refused(ValueError, f"target must have shape (4, 3) like the prediction, got shape {shape} of float64"):
        kernels.loss("squared_error", X, np.zeros(shape))


def test_column_and_vector_are_the_only_two_that_mean_the_same():
    assert kernels.loss("squared_error", Z((4, 1)), Z(4))[1].shape == (4, 1)
    assert kernels.loss("squared_error", Z(4), Z((4, 1)))[1].shape == (4,)
    for prediction, target in (((4, 1), (1, 4)), ((4,), (1, 4)), ((1, 4), (4, 1)), ((1, 4), (4,)), ((4, 1), (5,))):
        with starts(ValueError, "target must have shape ("):
            kernels.loss("squared_error", np.zeros(prediction), np.zeros(target))


LABELS = [
    ([0, 1, 3, 2], "target[2] is 3, expected a class label from 0 to 2 (3 classes)"),
    ([0, -1, 3, 2], "target[1] is -1, expected a class label from 0 to 2 (3 classes)"),
    (np.array([0, 0, 0, 2**40]), "target[3] is 1099511627776, expected a class label from 0 to 2 (3 classes)"),
    (np.array([[0], [0], [7], [0]], np.uint8), "target[2] is 7, expected a class label from 0 to 2 (3 classes)"),
    (np.array([2**64 - 1, 0, 0, 0], np.uint64), "target[0] is 18446744073709551615, expected a class label"),
    ([0, 1, 2], "target must have shape (4, 3) like the prediction, or integer labels of shape (4,), got shape (3,)"),
    ([0.0, 1.0, 2.0, 0.0], "target must have shape (4, 3) like the prediction, or integer labels of shape (4,), got"),
]


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize(("labels", "message"), LABELS, ids=[message for _, message in LABELS])
def test_labels(name, labels, message):
    gradient = np.full((4, 3), 7, F4)
    with starts(ValueError, message):
        kernels.loss(name, X / 3, labels, out_grad=gradient)
    assert (gradient == 7).all()


def test_losses_without_classes_take_no_labels():
    with refused(ValueError, "target must have shape (4, 3) like the prediction, got shape (4,) of int64"):
        kernels.loss("sigmoid_cross_entropy", X, np.zeros(4, np.int64))


@pytest.mark.parametrize("name", sorted(_core.LOSSES))
def test_a_nan_target_is_refused(name):
    target = np.ones((4, 3))
    target[2, 1] = np.nan
    gradient = np.full((4, 3), 7, F4)
    with refused(ValueError, "target[2, 1] is NaN"):
        kernels.loss(name, X, target, out_grad=gradient)
    assert (gradient == 7).all()


VALUES = [
    ("poisson", [[-1.0]], "target must be >= 0 for poisson, got values from -1.0 to -1.0"),
    ("cross_entropy", [[1.5]], "target must be in [0, 1] for cross_entropy, got values from 1.5 to 1.5"),
    ("softmax_cross_entropy", [[-0.5]], "target must be in [0, 1] for softmax_cross_entropy, got values from -0.5"),
    ("sigmoid_cross_entropy", [[2.0]], "target must be in [0, 1] for sigmoid_cross_entropy, got values from 2.0"),
    ("hinge", [[0.0]], "target must be -1 or +1 for hinge (2 * y - 1 turns 0 and 1 into these)"),
]


@pytest.mark.parametrize(("name", "target", "message"), VALUES, ids=[name for name, _, _ in VALUES])
def test_targets_outside_the_loss_s_range(name, target, message):
    with starts(ValueError, message):
        kernels.loss(name, np.ones((1, 1)), target)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, -np.inf])
def test_a_sample_weight_is_a_finite_number_of_at_least_0(bad):
    with refused(ValueError, f"sample_weight[2] is {bad}, expected a finite number of at least 0"):
        kernels.loss("squared_error", X, X, sample_weight=[1.0, 1.0, bad, 1.0])


# -- names and options ---------------------------------------------------------------------------------------

NAMES = [
    (lambda: kernels.activation("rely", X),
     "activation 'rely' is unknown; did you mean 'relu'? choices: identity, relu"),
    (lambda: kernels.activation("ReLU", X), "activation 'ReLU' is unknown; did you mean 'relu'?"),
    (lambda: kernels.activation("xyzzy", X), "activation 'xyzzy' is unknown; choices: identity, relu"),
    (lambda: kernels.activation_backward("gelu-tanh", X, x=X),
     "activation 'gelu-tanh' is unknown; did you mean 'gelu_tanh'?"),
    (lambda: kernels.dense_forward(X, W, activation="sigmoide"),
     "activation 'sigmoide' is unknown; did you mean 'sigmoid'?"),
    (lambda: kernels.dense_backward_input(DZ, W, activation="than", output=X),
     "activation 'than' is unknown; did you mean 'tanh'?"),
    (lambda: kernels.loss("mean_square_error", X, X),
     "loss 'mean_square_error' is unknown; did you mean 'mean_squared_error'?"),
    (lambda: kernels.loss("softmax cross entropy", X, X),
     "loss 'softmax cross entropy' is unknown; did you mean 'softmax_cross_entropy'?"),
    (lambda: kernels.loss("huber", X, X, reduction="means"),
     "reduction 'means' is unknown; did you mean 'mean'? choices: mean, sum"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), NAMES, ids=[message.split(";")[0] for _, message in NAMES])
def test_unknown_names_get_a_suggestion(call, message):
    with starts(ValueError, message):
        call()


def test_a_name_is_a_string():
    with starts(TypeError, "activation must be one of identity, relu"):
        kernels.activation(3, X)
    with starts(TypeError, "loss must be one of squared_error"):
        kernels.loss(None, X, X)


LR = "learning_rate must be a finite number and >= 0, got "
P = lambda dtype=F4: np.ones(3, dtype)  # noqa: E731
SETTINGS = [
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=-0.1), LR + "-0.1"),
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=np.nan), LR + "nan"),
    (ValueError, lambda: kernels.adam_update(P(), P(), P(), P(), 1, learning_rate=np.inf), LR + "inf"),
    (TypeError, lambda: kernels.rmsprop_update(P(), P(), P(), learning_rate="fast"), LR + "'fast'"),
    (TypeError, lambda: kernels.adagrad_update(P(), P(), P(), learning_rate=True), LR + "True"),
    (TypeError, lambda: kernels.sgd_update(P(), P(), learning_rate=None), LR + "None"),
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=1, momentum=1.0),
     "momentum must be a finite number and >= 0 and < 1, got 1.0"),
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=1, momentum=0.9),
     "momentum=0.9 needs velocity, an array like param that starts as zeros"),
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=1, nesterov=True),
     "nesterov=True needs a momentum > 0, got momentum=0"),
    (TypeError, lambda: kernels.sgd_update(P(), P(), learning_rate=1, nesterov=1),
     "nesterov must be True or False, got 1"),
    (ValueError, lambda: kernels.sgd_update(P(), P(), learning_rate=1, weight_decay=-1e-3),
     "weight_decay must be a finite number and >= 0, got -0.001"),
    (ValueError, lambda: kernels.adam_update(P(), P(), P(), P(), 1, learning_rate=1, beta_1=1.0),
     "beta_1 must be a finite number and >= 0 and < 1, got 1.0"),
    (ValueError, lambda: kernels.adam_update(P(), P(), P(), P(), 1, learning_rate=1, beta_2=-0.5),
     "beta_2 must be a finite number and >= 0 and < 1, got -0.5"),
    (ValueError, lambda: kernels.adam_update(P(), P(), P(), P(), 0, learning_rate=1), "step must be an integer >= 1"),
    (TypeError, lambda: kernels.adam_update(P(), P(), P(), P(), 1.0, learning_rate=1), "step must be an integer >= 1"),
    (ValueError, lambda: kernels.adam_update(P(), P(), P(), P(), 1, learning_rate=1, epsilon=-1.0),
     "epsilon must be a finite number and >= 0, got -1.0"),
    (ValueError, lambda: kernels.rmsprop_update(P(), P(), P(), learning_rate=1, rho=1.5),
     "rho must be a finite number and >= 0 and < 1, got 1.5"),
    (ValueError, lambda: kernels.dropout(X, 1.0, seed=1), "rate must be a finite number and >= 0 and < 1, got 1.0"),
    (ValueError, lambda: kernels.dropout(X, -0.1, seed=1), "rate must be a finite number and >= 0 and < 1, got -0.1"),
    (ValueError, lambda: kernels.dropout(X, 0.5, seed=-1),
     "seed must be an integer >= 0 and <= 18446744073709551615, got -1"),
    (TypeError, lambda: kernels.dropout(X, 0.5, seed=1.5), "seed must be an integer"),
    (ValueError, lambda: kernels.layer_norm(X, B[:3], B[:3], epsilon=0.0),
     "epsilon must be a finite number and > 0, got 0.0"),
    (ValueError, lambda: kernels.activation("relu", X, alpha=0.1), "alpha: activation 'relu' takes none, got 0.1"),
    (ValueError, lambda: kernels.activation("leaky_relu", X, alpha=-0.1),
     "alpha of leaky_relu must be a finite number and >= 0, got -0.1"),
    (ValueError, lambda: kernels.activation("celu", X, alpha=0),
     "alpha of celu must be a finite number and > 0, got 0"),
    (ValueError, lambda: kernels.loss("huber", X, X, delta=0.0), "delta must be a finite number and > 0, got 0.0"),
    (ValueError, lambda: kernels.loss("quantile", X, X, q=1), "q must be a finite number and > 0 and < 1, got 1"),
    (ValueError, lambda: kernels.loss("cross_entropy", X, X, label_smoothing=1.0),
     "label_smoothing must be a finite number and >= 0 and < 1, got 1.0"),
    (ValueError, lambda: kernels.loss("sigmoid_cross_entropy", X, X, pos_weight=-2),
     "pos_weight must be a finite number and > 0, got -2"),
    (TypeError, lambda: kernels.loss("huber", X, X, q=0.5), "loss 'huber' takes delta, got 'q'"),
    (TypeError, lambda: kernels.loss("hinge", X, X, delta=0.5), "loss 'hinge' takes no options, got 'delta'"),
    (ValueError, lambda: kernels.dense_backward_input(DZ, W, activation="softmax", output=X),
     "activation 'softmax' has no elementwise derivative; call with 'identity', then activation_backward"),
    (ValueError, lambda: kernels.dense_backward_input(DZ, W, activation="tanh"),
     "the derivative of tanh needs output (or pre_activation), which was not given"),
    (ValueError, lambda: kernels.dense_backward_input(DZ, W, activation="gelu", output=X),
     "the derivative of gelu needs pre_activation, which was not given"),
    (ValueError, lambda: kernels.activation_backward("mish", X, y=X),
     "the derivative of mish needs x, which was not given"),
    (ValueError, lambda: kernels.activation_backward("tanh", X),
     "the derivative of tanh needs y (or x), which was not given"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "call", "message"), SETTINGS, ids=[message for *_, message in SETTINGS])
def test_settings(error, call, message):
    with starts(error, message):
        call()


@pytest.mark.parametrize(("call", "message"), [
    (lambda d: kernels.activation("celu", X.astype(d), alpha=1e-50), "alpha of celu must be > 0 in float32, got 1e-50"),
    (lambda d: kernels.activation("elu", X.astype(d), alpha=1e39), "alpha of elu must be finite in float32"),
    (lambda d: kernels.activation_backward("celu", X.astype(d), y=X.astype(d), alpha=1e-50), "alpha of celu must be >"),
    (lambda d: kernels.layer_norm(X.astype(d), B[:3], B[:3], epsilon=1e-50), "epsilon must be > 0 in float32"),
    (lambda d: kernels.adam_update(P(d), P(d), P(d), P(d), 1, learning_rate=0.1, epsilon=1e-50), "epsilon must be > 0"),
    (lambda d: kernels.rmsprop_update(P(d), P(d), P(d), learning_rate=0.1, epsilon=1e-50), "epsilon must be > 0"),
    (lambda d: kernels.adagrad_update(P(d), P(d), P(d), learning_rate=0.1, epsilon=1e39), "epsilon must be finite"),
    (lambda d: kernels.sgd_update(P(d), P(d), learning_rate=0.1, weight_decay=1e39), "weight_decay must be finite"),
    (lambda d: kernels.loss("huber", X.astype(d), X.astype(d), delta=1e-50), "delta must be > 0 in float32"),
    (lambda d: kernels.loss("sigmoid_cross_entropy", X.astype(d), X.astype(d), pos_weight=1e39), "pos_weight must be"),
])  # fmt: skip
def test_settings_that_float32_does_not_hold(call, message):
    with starts(ValueError, message):
        call(F4)
    call(F8)


# -- the core's own refusals -----------------------------------------------------------------------------------


def test_the_core_checks_shapes_and_dtypes_itself():
    out = np.empty((4, 5), F4)
    with refused(TypeError, "weight must have dtype float32, got float64"):
        _core.dense_forward(X, W.astype(F8), None, 0, 0.0, None, out)
    with refused(ValueError, "out must have shape (4, 5), got (4, 4)"):
        _core.dense_forward(X, W, None, 0, 0.0, None, out[:, :4])
    with refused(ValueError, "out is read-only"):
        _core.dense_forward(X, W, None, 0, 0.0, None, read_only((4, 5)))
    with starts(ValueError, "x must have rows of adjacent elements that do not overlap, got strides (4, 16)"):
        _core.dense_forward(np.ones((3, 4), F4).T, W, None, 0, 0.0, None, out)
    with refused(ValueError, "an argument is outside what the function accepts"):
        _core.dense_forward(X, W, None, 99, 0.0, None, out)
    with starts(ValueError, "saved is None"):
        _core.dense_backward_input(DZ, W, _core.ACTIVATIONS["relu"], 0.0, None, np.empty((4, 3), F4))
    with starts(ValueError, "this optimizer keeps 2 state arrays, but state_1 is None"):
        _core.optimizer_update(_core.OptimizerSpec(_core.OPTIMIZERS["adam"]), 1, 0.1, P(), P(), P(), None)


def test_an_unknown_isa_names_the_choices():
    with starts(ValueError, "instruction set 'mmx' is not available here; choose one of: "):
        _core.set_isa("mmx")
