"""Backpropagation against central differences, in float64, through whole networks.

The gradient is taken from where it counts: plain SGD with learning rate 1 moves every parameter by minus its
gradient, so `before - after` of one train_step is what the native step worked with, penalties and sample weights
included. The differences are of the formulas of `reference` (long double where the machine has it), which share no
code with the library; `chainrule.check_gradients`, the library's own check, is tested in the second half.

ERROR is the largest difference over the largest gradient of an array. A central difference with step 2**-17 is
off by h^2 f'''/6, some 1e-11, and by the rounding of f over h, some 1e-11 in float64.
"""

import numpy as np
import pytest
import reference
from models import Pass, everything, state, targets

import chainrule as cr
from chainrule import activations, kernels

ERROR = 1e-7
STEP = 2.0**-17

N_ROWS, N_IN, N_HIDDEN, N_OUT = 6, 3, 4, 3

# Where a derivative jumps, a difference across the jump is no derivative.
KINKS = {
    "relu": [0], "leaky_relu": [0], "elu": [0], "selu": [0], "celu": [0], "softsign": [0], "relu6": [0, 6],
    "hard_tanh": [-1, 1], "hard_sigmoid": [-3, 3], "hard_swish": [-3, 3],
}  # fmt: skip
# What a loss needs: any scores, positive numbers, or probabilities.
POSITIVE = ("exponential", "softplus", "sigmoid", "softmax")
PROBABILITIES = ("softmax", "sigmoid")
PAIRS = [
    (activation, loss)
    for activation in activations.NAMES
    for loss in cr.losses.NAMES
    if (loss != "poisson" or activation in POSITIVE) and (loss != "cross_entropy" or activation in PROBABILITIES)
]


def forward(weights, names, x):
    """Every pre-activation, and the output, of dense layers."""
    z = []
    for weight, bias, name in zip(weights[::2], weights[1::2], names, strict=True):
        z.append(x @ weight + bias)
        x = reference.activation(name, z[-1])
    return z, x


def smooth_rows(weights, names, loss, x, t):
    """The rows of x and t around which the loss has a derivative."""
    z, p = forward(weights, names, x)
    good = np.ones(len(x), bool)
    for values, name in zip(z, names, strict=True):
        for kink in KINKS.get(name, []):
            good &= (np.abs(values - kink) > 0.01).all(axis=1)
    d = np.abs(p - t)
    for kind, distance in (("absolute_error", d), ("quantile", d), ("huber", d - 1), ("hinge", 1 - t * p)):
        if kind == loss:
            good &= (np.abs(distance) > 0.01).all(axis=1)
    return x[good][:N_ROWS], t[good][:N_ROWS]


def differences(f, array):
    """(f(a + h) - f(a - h)) / 2h for every element of an array that f reads."""
    slope = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = f()
        array[index] = kept - STEP
        below = f()
        array[index] = kept
        slope[index] = (above - below) / (2 * STEP)
    return slope


def error(got, expected):
    return np.abs(got - expected).max() / max(np.abs(got).max(), np.abs(expected).max())


def check(names, loss, *, options=None, weighted=False, l1=0.0, l2=0.0, scale=1.0, rng):
    """One train_step of a dense net against differences of the reference loss, and dx of backward."""
    options = options or {}
    widths = [N_HIDDEN] * (len(names) - 1) + [N_OUT]
    model = cr.Sequential(
        [cr.Dense(n, name, bias_initializer="normal", l1=l1, l2=l2) for n, name in zip(widths, names, strict=True)],
        seed=5, dtype="float64",
    )  # fmt: skip
    classes = {kind.name: kind for kind in cr.losses.CLASSES.values()}
    model.compile(cr.SGD(1.0), classes[loss](**options))
    model.build(N_IN)
    weights = model.get_weights()
    x, t = scale * rng.normal(size=(60, N_IN)), targets(loss, 60, N_OUT, rng)
    x, t = smooth_rows(weights, names, loss, x, t)
    assert len(x) == N_ROWS, "too few rows away from the kinks"
    sample_weight = rng.uniform(0.1, 2, N_ROWS) if weighted else None

    plain = {"quantile" if name == "q" else name: value for name, value in options.items()}

    def f():
        value, _ = reference.loss(loss, forward(weights, names, x)[1], t, sample_weight=sample_weight, **plain)
        return value + sum(l1 * np.abs(w).sum() + l2 * (w * w).sum() for w in weights[::2])

    _, dy = kernels.loss(loss, model.forward(x), t, sample_weight=sample_weight, **options)
    dx = model.backward(dy)
    reported = model.train_step(x, t, sample_weight)
    assert abs(reported - float(f())) <= 1e-13 * max(1, abs(reported))
    for before, after in zip(weights, model.get_weights(), strict=True):
        assert error(before - after, differences(f, before)) <= ERROR
    assert error(dx, differences(f, x)) <= ERROR


# -- dense networks, the native step -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the last layer ends in")
@pytest.mark.parametrize(("activation", "loss"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_activation_with_every_loss_it_goes_with(activation, loss, rng):
    check(["tanh", activation], loss, rng=rng)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation_in_a_hidden_layer(activation, rng):
    # Inputs three times as large reach the far pieces of the piecewise ones.
    check([activation, "sigmoid", activation, "identity"], "squared_error", scale=3.0, rng=rng)


@pytest.mark.parametrize("loss", cr.losses.NAMES)
def test_sample_weights_and_penalties(loss, rng):
    last = {"poisson": "softplus", "cross_entropy": "softmax"}.get(loss, "identity")
    check(["mish", last], loss, weighted=True, rng=rng)
    check(["mish", last], loss, weighted=True, l1=0.3, l2=0.2, rng=rng)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("huber", {"delta": 0.3}), ("quantile", {"q": 0.8}), ("cross_entropy", {"label_smoothing": 0.2}),
        ("softmax_cross_entropy", {"label_smoothing": 0.2}),
        ("sigmoid_cross_entropy", {"label_smoothing": 0.2, "pos_weight": 3.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_options_of_losses(loss, options, rng):
    check(["tanh", "softmax" if loss == "cross_entropy" else "identity"], loss, options=options, rng=rng)


# -- every kind of layer -----------------------------------------------------------------------------------

STACKS = {
    "Dense without bias": lambda: [cr.Dense(4, "tanh", use_bias=False), cr.Dense(3)],
    **{f"Activation {name}": lambda name=name: [cr.Activation(name), cr.Dense(3, "tanh")] for name in
       activations.NAMES},
    "Activation last": lambda: [cr.Dense(3), cr.Activation("softplus")],
    "Dropout": lambda: [cr.Dense(16, "tanh"), cr.Dropout(0.4), cr.Dense(3)],
    "Dropout first": lambda: [cr.Dropout(0.3), cr.Dense(3, "tanh")],
    "LayerNorm": lambda: [cr.Dense(5), cr.LayerNorm(), cr.Dense(3, "tanh")],
    "LayerNorm last": lambda: [cr.Dense(3), cr.LayerNorm()],
    "BatchNorm": lambda: [cr.Dense(5), cr.BatchNorm(), cr.Dense(3, "tanh")],
    "BatchNorm first": lambda: [cr.BatchNorm(), cr.Dense(3)],
    "everything": lambda: [*everything(), cr.Dense(3)],
    "Python layer": lambda: [cr.Dense(4, "tanh"), Pass(), *everything(), cr.Dense(3)],
}  # fmt: skip


def loss_of_weights(make, weights, x, t):
    """Half the squared error of a training pass from these weights; the penalties of everything() included.

    A new model every time: the counters that key dropout masks, and running statistics, start afresh.
    """
    model = cr.Sequential(make(), seed=11, dtype="float64")
    model.build(x.shape[1])
    model.set_weights(weights)
    value, dy = kernels.loss("squared_error", model.forward(x, training=True), t)
    dense = [layer for layer in model.layers if isinstance(layer, cr.Dense)]
    value += sum(d.l1 * np.abs(d.weight).sum() + d.l2 * (d.weight**2).sum() for d in dense)
    return value, model, dy


@pytest.mark.parametrize("kind", STACKS)
def test_every_kind_of_layer_in_training(kind, rng):
    make = STACKS[kind]
    x = rng.normal(size=(7, 4))
    x[np.abs(x) < 0.02] = 0.5  # away from the kinks of an Activation layer at the bottom
    t = rng.normal(size=(7, 3))
    weights = cr.Sequential(make(), seed=11, dtype="float64")
    weights.build(4)
    weights = [w + 0.1 * rng.normal(size=w.shape) for w in weights.get_weights()]  # gamma, beta off 1 and 0

    _, model, dy = loss_of_weights(make, weights, x, t)
    dx = model.backward(dy)
    gradients = []
    for layer in model.layers:
        for i, gradient in enumerate(layer.gradients):
            gradients.append(np.array(gradient))
            if isinstance(layer, cr.Dense) and i == 0:  # backward leaves penalties to the update
                gradients[-1] += layer.l1 * np.sign(layer.weight) + 2 * layer.l2 * layer.weight
        gradients += [None] * (2 * isinstance(layer, cr.BatchNorm))  # running statistics

    def f():
        return loss_of_weights(make, weights, x, t)[0]

    for i, (gradient, weight) in enumerate(zip(gradients, weights, strict=True)):
        if gradient is None:
            continue
        numeric = differences(f, weight)
        if np.abs(numeric).max() < 1e-8:  # a bias before a batch norm: its true gradient is 0
            assert np.abs(gradient).max() < 1e-8, f"weights[{i}]"
        else:
            assert error(gradient, numeric) <= ERROR, f"weights[{i}]"
    assert error(dx, differences(f, x)) <= ERROR


def test_batch_norm_at_inference_has_the_gradient_of_an_affine_map(rng):
    model = cr.Sequential([cr.BatchNorm()], dtype="float64")
    model.build(3)
    gamma, beta, mean, variance = rng.normal(size=(4, 3))
    model.set_weights([gamma, beta, mean, variance**2])
    x, dy = rng.normal(size=(2, 5, 3))
    model.forward(x)
    np.testing.assert_allclose(model.backward(dy), dy * gamma / np.sqrt(variance**2 + 1e-5), rtol=1e-14)
    assert model.get_weights()[2].tolist() == mean.tolist()


# -- check_gradients ---------------------------------------------------------------------------------------


def checked_model(layers, loss="squared_error", dtype="float64"):
    model = cr.Sequential(layers, seed=2, dtype=dtype)
    model.compile(loss=loss)
    return model


@pytest.mark.parametrize("kind", STACKS)
def test_check_gradients_passes_sound_models(kind, rng):
    x = rng.normal(size=(7, 4))
    x[np.abs(x) < 0.02] = 0.5
    model = checked_model(STACKS[kind]())
    result = cr.check_gradients(model, x, rng.normal(size=(7, 3)), sample_weight=rng.uniform(0.5, 2, 7))
    before_batch_norm = {"layer 0 (Dense) parameter 1", "layer 2 (Dense) parameter 1"}
    for name, value in result.errors.items():
        # A bias before a batch norm has gradient 0, of which rounding is a large part.
        assert value <= ERROR or (name in before_batch_norm and kind in ("BatchNorm", "everything", "Python layer"))
    assert result.max_error == max(result.errors.values())
    assert "x" in result.errors and len(str(result).splitlines()) == len(result.errors)


class Scaled(cr.Layer):
    """y = w x, whose backward is off by a factor where it is told to be."""

    def __init__(self, wrong_dx=1.0, wrong_dw=1.0):
        self.wrong = wrong_dx, wrong_dw

    def build(self, n_in):
        self.parameters = [np.full(n_in, 1.5, self.dtype)]
        self.gradients = [np.zeros(n_in, self.dtype)]
        return n_in

    def forward(self, x):
        self.x = x
        return self.parameters[0] * x

    def backward(self, dy):
        self.gradients[0][...] = self.wrong[1] * (self.x * dy).sum(axis=0)
        return self.wrong[0] * self.parameters[0] * dy


@pytest.mark.parametrize(("wrong", "names"), [
    ((1.0, 1.0), set()),
    ((1.001, 1.0), {"layer 0 (Dense) parameter 0", "layer 0 (Dense) parameter 1", "x"}),
    ((1.0, 1.001), {"layer 1 (Scaled) parameter 0"}),
])  # fmt: skip
def test_check_gradients_names_what_is_wrong(wrong, names, rng):
    model = checked_model([cr.Dense(4, "tanh"), Scaled(*wrong), cr.Dense(3)])
    errors = cr.check_gradients(model, rng.normal(size=(6, 2)), rng.normal(size=(6, 3))).errors
    assert {name for name, value in errors.items() if value > ERROR} == names
    assert all(5e-4 < errors[name] < 2e-3 for name in names)


def test_check_gradients_sees_a_wrong_loss(rng):
    def off(prediction, target):
        d = prediction - target
        return float((d**2).sum()), 2.01 * d

    def sound(prediction, target):
        d = prediction - target
        return float((d**2).sum()), 2 * d

    x, t = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    assert cr.check_gradients(checked_model([cr.Dense(3, "tanh")], sound), x, t).max_error <= ERROR
    assert 1e-3 < cr.check_gradients(checked_model([cr.Dense(3, "tanh")], off), x, t).max_error < 1e-2


def test_check_gradients_reports_nan_as_the_largest_error(rng):
    def nan(prediction, target):
        return 1.0, np.full_like(prediction, np.nan)

    result = cr.check_gradients(checked_model([cr.Dense(3)], nan), rng.normal(size=(5, 2)), np.zeros((5, 3)))
    assert np.isnan(result.max_error)


@pytest.mark.parametrize("layers", [everything, lambda: [*everything(), Pass()]], ids=["native", "Python"])
def test_check_gradients_leaves_the_model_as_it_was(layers, rng):
    x, labels = rng.normal(size=(8, 5)).astype("f4"), np.arange(8) % 4
    models = [checked_model(layers(), "softmax_cross_entropy", "float32") for _ in range(2)]
    for model in models:
        model.train_step(x, labels)
    cr.check_gradients(models[0], x, labels)
    for model in models:
        model.train_step(x, labels)
    assert state(models[0]) == state(models[1])


def test_check_gradients_of_a_float32_model_is_made_in_float64(rng):
    model = checked_model([cr.Dense(4, "tanh"), cr.Dense(3)], dtype="float32")
    x, t = rng.normal(size=(6, 2)).astype("f4"), rng.normal(size=(6, 3)).astype("f4")
    assert cr.check_gradients(model, x, t).max_error <= ERROR


@pytest.mark.parametrize("python", [False, True])
def test_a_gradient_of_nothing_is_no_error(python, rng):
    """A batch norm takes the bias before it away: both gradients are roundings of 0."""
    layers = [cr.Dense(5), cr.BatchNorm(), cr.Dense(2), *([Pass()] if python else [])]
    model = cr.Sequential(layers, dtype="float64")
    model.compile("sgd", "squared_error")
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    found = cr.check_gradients(model, x, y)
    assert found.max_error < ERROR and found.errors["layer 0 (Dense) parameter 1"] > 0


def test_a_wrong_gradient_shows_however_small_it_is(rng):
    class Wrong(Pass):
        def backward(self, dy):
            return 1.01 * super().backward(dy)

    layers = [cr.Dense(3, "tanh", weight_initializer=np.full((4, 3), 1e-7)), Wrong(), cr.Dense(2)]
    model = cr.Sequential(layers, dtype="float64")
    model.compile("sgd", "squared_error")
    found = cr.check_gradients(model, 1e-4 * rng.normal(size=(8, 4)), rng.normal(size=(8, 2)))
    assert found.errors["layer 0 (Dense) parameter 0"] > 1e-4


def test_backward_after_a_check_wants_a_forward(rng):
    model = cr.Sequential([cr.Dense(3), Pass()], dtype="float64")
    model.compile("sgd", "squared_error")
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    model.build(4)
    model.forward(x)
    cr.check_gradients(model, x[:2], y[:2])
    with pytest.raises(RuntimeError, match=r"^backward needs a forward before it"):
        model.backward(np.ones((8, 3)))
