"""Ten training steps beside plain NumPy: chainrule.numpy_twin, and for what it has not, tests/reference.py.

The losses are scaled so that weights and gradients are of the size of 1.
"""

import bounds
import numpy as np
import pytest
import reference

import chainrule as cr
from chainrule.numpy_twin import NumpyTwin

TWIN = bounds.TEN_STEPS_OF_TWIN["float32"]
STEPS, N_ROWS, N_IN, N_OUT = 10, 32, 16, 4

OPTIMIZERS = [
    ("sgd", {}), ("sgd", {"momentum": 0.9}), ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"weight_decay": 0.01}), ("sgd", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("adam", {}), ("adam", {"beta_1": 0.5, "beta_2": 0.9}), ("adam", {"epsilon": 1e-3}),
    ("adam", {"weight_decay": 0.01}), ("adamw", {}), ("adamw", {"weight_decay": 0.1}),
    ("rmsprop", {}), ("rmsprop", {"rho": 0.5, "epsilon": 1e-4}), ("rmsprop", {"weight_decay": 0.01}),
    ("adagrad", {}), ("adagrad", {"weight_decay": 0.01, "epsilon": 1e-3}),
]  # fmt: skip
CLASSES = {"sgd": cr.SGD, "adam": cr.Adam, "adamw": cr.AdamW, "rmsprop": cr.RMSprop, "adagrad": cr.Adagrad}
RATES = {"sgd": 0.1, "adam": 0.003, "adamw": 0.003, "rmsprop": 0.003, "adagrad": 0.02}


def label(value):
    return ",".join(f"{k}={v}" for k, v in value.items()) or "plain" if isinstance(value, dict) else None


each_optimizer = pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=label)


def model_and_twin(activations, loss, kind="sgd", options=None, l2=0.0, dtype="float32", **twin):
    options = {"learning_rate": RATES[kind], **(options or {})}
    widths = [24, 12, N_OUT][-len(activations) :]
    layers = [cr.Dense(n, name, l2=l2) for n, name in zip(widths, activations, strict=True)]
    model = cr.Sequential(layers, seed=4, dtype=dtype)
    model.compile(CLASSES[kind](**options), loss)
    model.build(N_IN)
    if kind == "adamw":
        options.setdefault("weight_decay", 0.01)  # the default of cr.AdamW; the twin's is 0
    return model, NumpyTwin(model.get_weights(), activations, loss, optimizer=kind, l2=l2, **options, **twin)


def batches(loss, rng, dtype="float32", n_rows=N_ROWS):
    for _ in range(STEPS):
        x = rng.normal(size=(n_rows, N_IN)).astype(dtype)
        labels = loss == "softmax_cross_entropy"
        yield x, rng.integers(0, N_OUT, n_rows) if labels else rng.normal(size=(n_rows, N_OUT)).astype(dtype)


def compare(model, twin, loss, rng, dtype="float32"):
    start, bound = model.get_weights(), bounds.TEN_STEPS_OF_TWIN[dtype]
    for x, y in batches(loss, rng, dtype):
        assert model.train_step(x, y) == pytest.approx(twin.train_step(x, y), rel=bound)
    moved, apart = 0.0, 0.0
    for before, ours, theirs in zip(start, model.get_weights(), twin.get_weights(), strict=True):
        moved = max(moved, np.abs(ours - before).max())
        apart = max(apart, np.abs(ours - theirs).max())
    assert moved > 1e-2, "training did nothing"
    assert apart <= bound


@each_optimizer
def test_ten_steps_with_every_optimizer(kind, options, rng):
    loss = "softmax_cross_entropy"
    compare(*model_and_twin(["tanh", "tanh", "identity"], loss, kind, options), loss, rng)


@each_optimizer
def test_ten_steps_in_float64_differ_by_its_rounding(kind, options, rng):
    loss = "softmax_cross_entropy"
    pair = model_and_twin(["tanh", "tanh", "identity"], loss, kind, options, l2=0.01, dtype="float64")
    compare(*pair, loss, rng, dtype="float64")


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error", "mean_squared_error"])
@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu", "sigmoid", "tanh"])
def test_ten_steps_with_every_activation_and_loss(activation, loss, rng):
    last = "identity" if loss == "softmax_cross_entropy" else activation
    compare(*model_and_twin([activation, activation, last], loss, l2=1e-3), loss, rng)


def test_soft_targets(rng):
    model, twin = model_and_twin(["tanh", "identity"], "softmax_cross_entropy")
    for x, _ in batches("softmax_cross_entropy", rng):
        y = rng.dirichlet(np.ones(N_OUT), N_ROWS).astype("f4")
        assert model.train_step(x, y) == pytest.approx(twin.train_step(x, y), rel=TWIN)
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        assert np.abs(ours - theirs).max() <= TWIN


def test_an_epoch_of_fit_takes_the_rows_in_the_same_order(rng):
    model, twin = model_and_twin(["tanh", "identity"], "softmax_cross_entropy", "adam")
    x, y = rng.normal(size=(75, N_IN)).astype("f4"), rng.integers(0, N_OUT, 75)
    model.fit(x, y, epochs=2, batch_size=32, shuffle=False)
    losses = [twin.train_epoch(x, y, np.arange(75), 32) for _ in range(2)]
    assert np.isfinite(losses).all()
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        assert np.abs(ours - theirs).max() <= TWIN
    assert np.abs(model.predict(x) - twin.predict(x)).max() <= TWIN


# -- clipping and penalties: the formulas of tests/reference.py around the model's own gradient ----------------


@pytest.mark.parametrize("clips", [{"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.05, "clip_value": 0.01}],
                         ids=label)  # fmt: skip
@pytest.mark.parametrize("kind", CLASSES)
def test_ten_steps_with_clipping(kind, clips, rng):
    """Gradient with penalties, clipped by value, then by the norm over all parameters, then the update."""
    l1, l2, rate = 0.002, 0.01, RATES[kind]
    model = cr.Sequential([cr.Dense(12, "tanh", l1=l1, l2=l2), cr.Dense(N_OUT, l1=l1)], seed=1, dtype="float64")
    model.compile(CLASSES[kind](rate, **clips), "softmax_cross_entropy")
    shadow = cr.Sequential([cr.Dense(12, "tanh"), cr.Dense(N_OUT)], seed=1, dtype="float64")
    model.build(N_IN)
    shadow.build(N_IN)
    w = model.parameters.copy()
    first, second = np.zeros_like(w), np.zeros_like(w)
    clipped_by_norm = 0
    for step, (x, y) in enumerate(batches("softmax_cross_entropy", rng, "float64"), start=1):
        model.train_step(x, y)
        shadow.parameters[...] = w
        _, dy = cr.losses.SoftmaxCrossEntropy()(shadow.forward(x), y)
        shadow.backward(dy)
        g = shadow.gradients.copy()
        w1, w2 = slice(0, N_IN * 12), slice(N_IN * 12 + 12, len(w) - N_OUT)
        g[w1] += l1 * np.sign(w[w1]) + 2 * l2 * w[w1]
        g[w2] += l1 * np.sign(w[w2])
        if "clip_value" in clips:
            g = reference.clip_by_value(g, clips["clip_value"])
        if "clip_norm" in clips:
            clipped_by_norm += np.sqrt((g * g).sum()) > clips["clip_norm"]
            g = reference.clip_by_norm(g, clips["clip_norm"])
        if kind == "sgd":
            w, _ = reference.sgd_update(w, g, learning_rate=rate)
        elif kind == "rmsprop":
            w, second = reference.rmsprop_update(w, g, second, learning_rate=rate)
        elif kind == "adagrad":
            w, second = reference.adagrad_update(w, g, second, learning_rate=rate)
        else:
            decay = {"weight_decay": 0.01, "decoupled": True} if kind == "adamw" else {}
            w, first, second = reference.adam_update(w, g, first, second, step, learning_rate=rate, **decay)
        assert np.abs(model.parameters - w).max() <= bounds.TEN_STEPS_OF_TWIN["float64"]
    assert "clip_norm" not in clips or clipped_by_norm == STEPS


@pytest.mark.parametrize(("settings", "match"), [
    ({"activations": ["relu", "tanh"]}, "^2 activations need two arrays each, got 2 arrays$"),
    ({"activations": ["leaky_relu"], "alpha": 2.0, "loss": "squared_error"}, "^alpha must be between 0 and 1, got 2.0"),
    ({"loss": "hinge"}, "^loss must be one of .*, got 'hinge'$"),
    ({"activations": ["tanh"], "loss": "softmax_cross_entropy"}, "takes logits: the last activation is 'tanh'$"),
    ({"optimizer": "lbfgs"}, "^optimizer must be one of sgd, .*, got 'lbfgs'$"),
])  # fmt: skip
def test_what_the_twin_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        NumpyTwin([np.ones((2, 3)), np.ones(3)], **{"activations": ["identity"], **settings})
