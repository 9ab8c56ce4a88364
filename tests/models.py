"""Small tools of the model tests: small networks, and all that training can change in one as bytes."""

import contextlib

import numpy as np
import pytest
from tools import EMULATED

import chainrule as cr
from chainrule import _core


class Pass(cr.Layer):
    """y = x, in Python: a model that holds one runs layer by layer instead of in one native call."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


each_engine = pytest.mark.parametrize("python", [False, True], ids=["native", "layer by layer"])


# One of each kind of state that an optimizer and its schedule can have.
OPTIMIZERS = {
    "sgd": lambda: cr.SGD(0.05),
    "nesterov": lambda: cr.SGD(0.05, momentum=0.9, nesterov=True, clip_value=0.02),
    "adam": lambda: cr.Adam(cr.schedules.Cosine(0.01, 40, 3), weight_decay=1e-3),
    "adamw": lambda: cr.AdamW(cr.schedules.OneCycle(0.01, 30), clip_norm=0.3),
    "rmsprop": lambda: cr.RMSprop(cr.schedules.Step(0.01, 5)),
    "adagrad": lambda: cr.Adagrad(cr.schedules.Exponential(0.01, 5, 0.5)),
    "plateau": lambda: cr.SGD(cr.schedules.ReduceOnPlateau(0.05, "loss", 0.5, patience=0, min_delta=1.0)),
}


def counts(quick, long):
    """Parametrize with a count: the quick one (a fifth of it where the processor is emulated), and the long one for
    pytest -m long.
    """
    quick = max(1, quick // 5) if EMULATED else quick
    return pytest.mark.parametrize("count", [quick, pytest.param(long, marks=pytest.mark.long)])


def rows_and_labels(n_rows, n_in, n_classes, dtype="f8"):
    """The fixtures x, normal numbers, and labels, each class in turn, of a file of tests."""

    @pytest.fixture
    def x(rng):
        return rng.normal(size=(n_rows, n_in)).astype(dtype)

    @pytest.fixture
    def labels():
        return np.arange(n_rows) % n_classes

    return x, labels


def layers_of(python, n_out=3):
    """A small net; with a Python layer in it, it runs layer by layer."""
    return [cr.Dense(6, "tanh"), *([Pass()] if python else []), cr.Dense(n_out)]


def compiled(layers=None, optimizer="sgd", loss="softmax_cross_entropy", metrics=(), *, n_in=5, n_out=3, **settings):
    """A built and compiled model, in float64 from seed 1 unless told otherwise."""
    model = cr.Sequential(layers or layers_of(False, n_out), **{"seed": 1, "dtype": "float64", **settings})
    model.compile(optimizer, loss, metrics)
    model.build(n_in)
    return model


def everything(rate=0.25):
    """One layer of each kind."""
    return [
        cr.Dense(12, "gelu", l2=0.01),
        cr.BatchNorm(),
        cr.Activation("tanh"),
        cr.Dropout(rate),
        cr.Dense(9, "leaky_relu", use_bias=False, l1=0.003),
        cr.LayerNorm(),
        cr.Dense(4, l1=0.001, l2=0.02),
    ]


def targets(loss, n_rows, n_out, rng):
    """Targets that this loss is meant for."""
    if loss in ("cross_entropy", "softmax_cross_entropy"):
        return rng.dirichlet(np.ones(n_out), n_rows)
    if loss == "sigmoid_cross_entropy":
        return rng.uniform(size=(n_rows, n_out))
    if loss == "hinge":
        return rng.choice([-1.0, 1.0], (n_rows, n_out))
    if loss == "poisson":
        return rng.poisson(2, (n_rows, n_out)).astype(float)
    return rng.normal(size=(n_rows, n_out))


def permutation(n, seed, epoch):
    """The order of the rows in epoch `epoch` of a shuffled fit."""
    order = np.empty(n, np.int64)
    _core.random_permutation(seed, epoch, order)
    return order


def weight_bits(model):
    """The weights and running statistics as bytes."""
    return b"".join(array.tobytes() for array in model.get_weights())


def state(model):
    """All that training changes: weights, running statistics, optimizer state, counters, the learning rate."""
    if not model.built:
        return "not built", repr(model.optimizer), repr(model.loss)
    schedule = model.optimizer.schedule.state if model.optimizer is not None else None
    moments = b"".join(array.tobytes() for array in model._states)
    counters = model._engine.steps, model._engine.forwards
    settings = repr(model.optimizer), repr(model.loss), repr(schedule), [metric.name for metric in model.metrics]
    return weight_bits(model), moments, counters, settings


@contextlib.contextmanager
def refused(model, error, match):
    """The block raises this error, whose message matches, and leaves no trace in the model."""
    before = state(model)
    with pytest.raises(error, match=match):
        yield
    assert state(model) == before
