"""Layers on their own and in models: the formulas, training against inference, and layers that users write."""

import numpy as np
import pytest
import reference
from models import Pass, state, weight_bits

import chainrule as cr
from chainrule import kernels

N_ROWS, N_IN = 9, 6


@pytest.fixture
def x(rng):
    return rng.normal(size=(N_ROWS, N_IN)) * 3 + 1


def built(layer, n_in=N_IN, dtype="float64", seed=4):
    layer.build(n_in, seed=seed, dtype=dtype)
    return layer


def close(got, expected, dtype=np.float64):
    scale = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(got, np.asarray(expected, float), rtol=scale, atol=scale)


# -- Dense, Activation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", cr.activations.NAMES)
def test_dense_alone(activation, dtype, x, rng):
    dense = built(cr.Dense(4, activation, bias_initializer="normal"), dtype=dtype)
    x, dy = x.astype(dtype) / 3, rng.normal(size=(N_ROWS, 4)).astype(dtype)
    z = x.astype(float) @ dense.weight.astype(float) + dense.bias
    close(dense.forward(x), reference.activation(activation, z), dtype)
    dz = reference.activation_backward(activation, dy, x=z)
    close(dense.backward(dy), dz @ dense.weight.T.astype(float), dtype)
    close(dense.weight_gradient, x.T.astype(float) @ dz, dtype)
    close(dense.bias_gradient, dz.sum(axis=0), dtype)
    layer = built(cr.Activation(activation), dtype=dtype)
    close(layer.forward(x), reference.activation(activation, x), dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    close(layer.backward(dy), reference.activation_backward(activation, dy, x=x), dtype)
    assert layer.parameters == layer.gradients == []


@pytest.mark.parametrize(("activation", "alpha"), [("leaky_relu", 0.3), ("elu", 0.7), ("celu", 2.0)])
def test_alpha_of_activations(activation, alpha, x):
    x = x - 1
    for layer in (cr.Activation(activation, alpha), cr.Activation((activation, alpha))):
        close(built(layer).forward(x), reference.activation(activation, x, alpha))
    identity = {"weight_initializer": np.eye(N_IN)}
    for setting in ((activation, alpha), cr.Activation(activation, alpha)):
        close(built(cr.Dense(N_IN, setting, **identity)).forward(x), reference.activation(activation, x, alpha))
    model = cr.Sequential([cr.Dense(N_IN, (activation, alpha), **identity)], dtype="float64")
    model.build(N_IN)
    close(model.predict(x), reference.activation(activation, x, alpha))


# -- Dropout -----------------------------------------------------------------------------------------------------


def test_dropout_keeps_scaled_or_drops(dtype):
    layer = built(cr.Dropout(0.25), n_in=200, dtype=dtype)
    x = np.full((300, 200), 3, dtype)
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0, dtype.type(3) / dtype.type(0.75)}
    # 60 000 coins: six standard deviations are 6 sqrt(0.25 * 0.75 / 60000) = 0.011.
    assert abs((y == 0).mean() - 0.25) < 0.011
    assert ((y == 0).any(axis=0)).all() and ((y == 0).any(axis=1)).all()
    dy = layer.backward(np.ones_like(x))
    assert ((dy == 0) == (y == 0)).all()
    assert set(np.unique(dy)) == {0, dtype.type(1) / dtype.type(0.75)}


def test_dropout_is_off_at_inference_and_at_rate_0(x):
    layer = built(cr.Dropout(0.5))
    assert (layer.forward(x) == x).all() and (layer.backward(x) == x).all()
    assert (built(cr.Dropout(0.0)).forward(x, training=True) == x).all()


def test_every_training_forward_has_a_mask_of_its_own(x):
    layer = built(cr.Dropout(0.5))
    masks = [layer.forward(np.ones((N_ROWS, N_IN)), training=True).tobytes() for _ in range(4)]
    assert len(set(masks)) == 4
    again = built(cr.Dropout(0.5))
    assert [again.forward(np.ones((N_ROWS, N_IN)), training=True).tobytes() for _ in range(4)] == masks
    other = built(cr.Dropout(0.5), seed=5)
    assert other.forward(np.ones((N_ROWS, N_IN)), training=True).tobytes() not in masks


def test_two_dropouts_of_one_model_have_different_masks():
    model = cr.Sequential([cr.Dropout(0.5), cr.Dropout(0.5)])
    model.build(64)
    y = model.forward(np.ones((64, 64)), training=True)
    assert abs((y == 0).mean() - 0.75) < 0.05  # independent: 1 - 0.5 * 0.5


def test_masks_of_a_model_are_those_of_the_dropout_kernel(rng):
    """Keyed by seed, the layer's place, training forwards before, row and column."""
    model = cr.Sequential([cr.Dense(7), cr.Dropout(0.3)], seed=21)
    model.build(3)
    x = rng.normal(size=(11, 3)).astype("f4")
    inside = model.predict(x)
    for forward in range(3):
        expected = kernels.dropout(inside, 0.3, seed=21, layer=1, forward=forward)
        assert model.forward(x, training=True).tobytes() == expected.tobytes()


# -- LayerNorm, BatchNorm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_layer_norm(epsilon, dtype, x, rng):
    layer = built(cr.LayerNorm(epsilon), dtype=dtype)
    assert (layer.gamma == 1).all() and (layer.beta == 0).all()
    layer.gamma, layer.beta = rng.normal(size=(2, N_IN))
    x, dy = x.astype(dtype), rng.normal(size=x.shape).astype(dtype)
    expected, _, _ = reference.layer_norm_forward(x, layer.gamma, layer.beta, epsilon)
    for training in (False, True):
        close(layer.forward(x, training), expected, dtype)
    dx, dgamma, dbeta = reference.layer_norm_backward(x, layer.gamma, dy, epsilon)
    close(layer.backward(dy), dx, dtype)
    close(layer.gamma_gradient, dgamma, dtype)
    close(layer.beta_gradient, dbeta, dtype)


@pytest.mark.parametrize(("epsilon", "momentum"), [(1e-5, 0.9), (0.1, 0.5), (1e-3, 0.0), (1e-3, 1.0)])
def test_batch_norm_follows_mean_and_unbiased_variance(epsilon, momentum, dtype, rng):
    layer = built(cr.BatchNorm(epsilon, momentum), dtype=dtype)
    assert (layer.running_mean == 0).all() and (layer.running_variance == 1).all()
    layer.gamma, layer.beta = rng.normal(size=(2, N_IN))
    mean, variance = np.zeros(N_IN), np.ones(N_IN)
    for _ in range(3):
        x, dy = (2 + 3 * rng.normal(size=(2, N_ROWS, N_IN))).astype(dtype)
        expected, mean, variance = reference.batch_norm_forward(
            x, layer.gamma, layer.beta, mean, variance, training=True, epsilon=epsilon, momentum=momentum
        )
        close(layer.forward(x, training=True), expected, dtype)
        close(layer.running_mean, mean, dtype)
        close(layer.running_variance, variance, dtype)
        dx, dgamma, dbeta = reference.batch_norm_backward(x, layer.gamma, dy, training=True, epsilon=epsilon)
        close(layer.backward(dy), dx, dtype)
        close(layer.gamma_gradient, dgamma, dtype)
        close(layer.beta_gradient, dbeta, dtype)
    plain = momentum * variance + (1 - momentum) * x.astype(float).var(axis=0, ddof=1)
    layer.forward(x, training=True)
    close(layer.running_variance, plain, dtype)


def test_batch_norm_at_inference_uses_the_running_statistics_and_keeps_them(x):
    model = cr.Sequential([cr.BatchNorm()], dtype="float64")
    model.build(N_IN)
    model.forward(x, training=True)
    _, _, mean, variance = kept = model.get_weights()
    close(mean, 0.1 * x.mean(axis=0))
    close(variance, 0.9 + 0.1 * x.var(axis=0, ddof=1))
    for call in (model, model.predict, model.forward):
        close(call(x), (x - mean) / np.sqrt(variance + 1e-5))
    assert all((a == b).all() for a, b in zip(kept, model.get_weights(), strict=True))


def test_batch_norm_of_one_row(x):
    """The batch's variance is 0; there is no unbiased one, so the biased is taken."""
    layer = built(cr.BatchNorm())
    layer.beta = np.arange(N_IN)
    close(layer.forward(x[:1], training=True), np.arange(N_IN)[None])
    close(layer.running_variance, np.full(N_IN, 0.9))


def test_no_statistics_change_with_no_rows():
    model = cr.Sequential([cr.BatchNorm()])
    model.build(N_IN)
    before = weight_bits(model)
    assert model.forward(np.empty((0, N_IN)), training=True).shape == (0, N_IN)
    assert weight_bits(model) == before


# -- on their own ------------------------------------------------------------------------------------------------

ALONE = [lambda: cr.Dense(3), lambda: cr.Activation("tanh"), lambda: cr.Dropout(0.5), cr.LayerNorm, cr.BatchNorm]


@pytest.mark.parametrize("make", ALONE)
def test_what_a_layer_on_its_own_refuses(make, x):
    layer = make()
    name = type(layer).__name__
    with pytest.raises(RuntimeError, match=rf"^this {name} layer is not built; call build\(n_in\), or use it in a mod"):
        layer.forward(x)
    with pytest.raises(RuntimeError, match=f"^backward of {name} needs a forward before it$"):
        layer.backward(x)
    built(layer)
    with pytest.raises(RuntimeError, match=f"^backward of {name} needs a forward before it$"):
        layer.backward(x)
    with pytest.raises(ValueError, match=r"^x has 5 features, the layer was built for 6$"):
        layer.forward(x[:, :5])
    with pytest.raises(ValueError, match=r"^x must have shape \(n_rows, 6\), got \(6,\)"):
        layer.forward(x[0])
    y = layer.forward(x)
    with pytest.raises(
        ValueError, match=r"^dy must have the shape \(9, \d\) of the last forward's output, got \(9, 99\)$"
    ):
        layer.backward(np.ones((N_ROWS, 99)))
    with pytest.raises(ValueError, match=r"got \(8, \d\)$"):
        layer.backward(y[:8])
    assert layer.backward(y).shape == x.shape
    with pytest.raises(ValueError, match="use on its own" if layer.parameters else "$^"):
        cr.Sequential([layer])
        if not layer.parameters:
            raise ValueError("")


def test_views_exist_after_building():
    dense = cr.Dense(3)
    with pytest.raises(AttributeError, match=r"^Dense has no weight before it is built$"):
        _ = dense.weight
    built(dense)
    dense.weight = np.ones((N_IN, 3))
    assert dense.parameters[0].min() == 1 and dense.parameters[0] is dense.weight
    with pytest.raises(ValueError, match=r"^weight must have shape \(6, 3\), got \(3, 6\)$"):
        dense.weight = np.ones((3, N_IN))


# -- layers that users write -------------------------------------------------------------------------------------


class MyDense(cr.Layer):
    """A dense layer in NumPy, as a user may write it: with parameters, but without a training argument."""

    def __init__(self, units):
        self.units = units

    def build(self, n_in):
        random = cr.initializers.Random(0, 1)
        weight = cr.initializers.GlorotUniform()((n_in, self.units), random)
        self.parameters = [weight.astype(self.dtype), np.zeros(self.units, self.dtype)]
        return self.units

    def forward(self, x):
        self.x = x
        return x @ self.parameters[0] + self.parameters[1]

    def backward(self, dy):
        self.gradients = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.parameters[0].T


@pytest.mark.parametrize("optimizer", [*cr.optimizers.NAMES, lambda: cr.SGD(0.1, momentum=0.9, clip_norm=0.1)])
def test_a_users_layer_trains_among_native_ones(optimizer, x):
    labels = np.arange(N_ROWS) % 3
    models = []
    for last in (MyDense(3), cr.Dense(3)):
        model = cr.Sequential([cr.Dense(8, "tanh", l2=0.01), last, cr.Dropout(0.1)], seed=2, dtype="float64")
        model.compile(optimizer() if callable(optimizer) else optimizer, "softmax_cross_entropy", ["accuracy"])
        model.build(N_IN)
        models.append(model)
    models[0].set_weights(models[1].get_weights())
    for model in models:
        model.fit(x, labels, epochs=5, batch_size=4)
        model.train_step(x, labels)
    close(models[0].parameters, models[1].parameters)
    close(models[0].history["loss"], models[1].history["loss"])
    assert models[0].evaluate(x, labels) == pytest.approx(models[1].evaluate(x, labels))
    assert cr.check_gradients(models[0], x, labels).max_error <= 1e-7


def test_a_users_loss_in_numpy(x, rng):
    t = rng.normal(size=(N_ROWS, 3))

    def own(prediction, target):
        d = prediction - target
        return 0.5 * float((d * d).sum()) / len(d), d / len(d)

    models = []
    for loss in (own, "squared_error"):
        model = cr.Sequential([cr.Dense(8, "tanh", l1=0.01), cr.Dense(3)], seed=2, dtype="float64")
        model.compile("adam", loss)
        model.fit(x, t, epochs=5, batch_size=4, validation_data=(x, t))
        models.append(model)
    close(models[0].parameters, models[1].parameters)
    for name in ("loss", "val_loss"):
        close(models[0].history[name], models[1].history[name])


def test_a_users_loss_gets_the_rows_of_y_as_they_are(x):
    seen = []

    def own(prediction, target):
        seen.append(target.copy())
        return 0.0, np.zeros_like(prediction)

    model = cr.Sequential([cr.Dense(2)], dtype="float64")
    model.compile("sgd", own)
    y = np.array([f"row {i}" for i in range(N_ROWS)])
    model.fit(x, y, batch_size=4, shuffle=False)
    assert [len(part) for part in seen] == [4, 4, 1] and np.concatenate(seen).tolist() == y.tolist()


def test_a_users_loss_cannot_broadcast_by_accident(x, rng):
    """(n,) becomes (n, 1) for one output, and floating-point targets take the model's dtype."""
    seen = []

    def own(prediction, target):
        seen.append((target.shape, target.dtype))
        d = prediction - target
        return float((d * d).mean()), 2 * d / d.size

    model = cr.Sequential([cr.Dense(1)])
    model.compile("sgd", own)
    for y in (np.ones(N_ROWS), np.ones((N_ROWS, 1)), np.ones(N_ROWS, int)):
        model.train_step(x, y)
    single = np.dtype("f4")
    assert seen == [((N_ROWS, 1), single), ((N_ROWS, 1), single), ((N_ROWS, 1), np.dtype(int))]


class Training(cr.Layer):
    """Adds 1 in training."""

    def forward(self, x, training=False):
        return x + training

    def backward(self, dy):
        return dy


def test_training_reaches_users_layers(x):
    model = cr.Sequential([Training()], dtype="float64")
    model.build(N_IN)
    close(model.forward(x, training=True), x + 1)
    close(model.predict(x), x)


def test_a_subclass_of_a_native_layer_does_its_own_thing(x):
    class Doubled(cr.Dense):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

        def backward(self, dy):
            return super().backward(2 * dy)

    plain, doubled = (cr.Sequential([kind(3)], seed=1, dtype="float64") for kind in (cr.Dense, Doubled))
    for model in (plain, doubled):
        model.build(N_IN)
    close(doubled.predict(x), 2 * plain.predict(x))
    doubled.compile("sgd", "squared_error")
    assert cr.check_gradients(doubled, x, np.zeros((N_ROWS, 3))).max_error <= 1e-7


class Bad(cr.Layer):
    """Returns what it is told to, from the moment it is told to."""

    def __init__(self, **results):
        self.results = results

    def build(self, n_in):
        return self.results.get("build", n_in)

    def forward(self, x):
        return self.results.get("forward", x)

    def backward(self, dy):
        if self.results.get("raises"):
            raise self.results["raises"]
        self.parameters, self.gradients = self.results.get("arrays", ([], []))
        return self.results.get("backward", dy)


@pytest.mark.parametrize(("layer", "error", "match"), [
    (Bad(forward=np.ones((9, 2))), ValueError,
     r"^forward of layer 1 \(Bad\) must return an array of shape \(9, 3\), got \(9, 2\)$"),
    (Bad(backward=np.ones((9, 2))), ValueError,
     r"^backward of layer 1 \(Bad\) must return an array of shape \(9, 3\), got \(9, 2\)$"),
    (Bad(backward=None), ValueError, r"^backward of layer 1 \(Bad\) must return an array of shape \(9, 3\), got \(\)$"),
    (Bad(raises=KeyError("mine")), KeyError, "^'mine'$"),
])  # fmt: skip
def test_a_users_layer_that_misbehaves_leaves_the_model_as_it_was(layer, error, match, x):
    labels = np.arange(N_ROWS) % 3
    model = cr.Sequential([cr.BatchNorm(), layer, cr.Dropout(0.2)], seed=2, dtype="float64")
    model.compile("adam", "softmax_cross_entropy")
    with pytest.raises(ValueError, match=r"x has 6 features, the model was built for 3"):
        model.build(3)
        model.train_step(x, labels)
    before = state(model)
    for train in (model.train_step, model.fit):
        with pytest.raises(error, match=match):
            train(x[:, :3], labels)
        assert state(model) == before
    layer.results = {}
    model.train_step(x[:, :3], labels)
    assert state(model) != before


def test_users_losses_that_misbehave_leave_the_model_as_it_was(x):
    cases = [
        (lambda p, t: 3.0, TypeError,
         r"loss <lambda> must return \(loss, gradient\), a number and an array, got float"),
        (lambda p, t: (p, p), TypeError, r"loss <lambda> must return \(loss, gradient\)"),
        (lambda p, t: (1.0, p[:, :1]), ValueError,
         r"^loss <lambda> returned a gradient of shape \(9, 1\), the prediction has \(9, 3\)$"),
        (lambda p, t: {}[0], KeyError, "^0$"),
    ]  # fmt: skip
    for loss, error, match in cases:
        model = cr.Sequential([cr.BatchNorm(), cr.Dense(3)], dtype="float64")
        model.compile("adam", loss)
        model.build(N_IN)
        before = state(model)
        for train in (model.train_step, model.fit):
            with pytest.raises(error, match=match):
                train(x, np.zeros(N_ROWS))
            assert state(model) == before
    model.compile("adam", lambda prediction, target: (0.0, prediction))
    with pytest.raises(
        TypeError, match=r"^sample_weight .* was given, but loss <lambda> takes no argument sample_weight$"
    ):
        model.train_step(x, np.zeros(N_ROWS), np.ones(N_ROWS))
    assert state(model)[0] == before[0]


@pytest.mark.parametrize(("layer", "error", "match"), [
    (Bad(build="3"), TypeError, r"^what build of layer 0 \(Bad\) returns must be an integer >= 1, got '3'$"),
    (Bad(build=0), ValueError, r"^what build of layer 0 \(Bad\) returns must be an integer >= 1, got 0$"),
    (Bad(build=None), TypeError, r"got None$"),
])  # fmt: skip
def test_a_users_layer_that_does_not_build_leaves_the_model_unbuilt(layer, error, match, x):
    model = cr.Sequential([layer, cr.Dense(2)])
    with pytest.raises(error, match=match):
        model.build(N_IN)
    assert not model.built
    del layer.results["build"]
    model.build(N_IN)
    assert model.predict(x).shape == (N_ROWS, 2)


class WithArrays(Pass):
    def __init__(self, parameters, gradients):
        self.arrays = parameters, gradients

    def build(self, n_in):
        self.parameters, self.gradients = self.arrays
        return n_in


@pytest.mark.parametrize(("parameters", "gradients", "error", "match"), [
    ([np.ones(2)], [], ValueError, r"^layer 0 \(WithArrays\) has 1 parameters but 0 gradients$"),
    ([np.ones(2)], [np.ones(3)], ValueError,
     r"^gradients\[0\] of layer 0 \(WithArrays\) has shape \(3,\), parameters\[0\] has \(2,\)$"),
    ([np.ones(2, int)], [np.ones(2)], TypeError,
     r"^parameters\[0\] of layer 0 \(WithArrays\) must be an array of float32 or float64, got int(32|64)$"),
    ([[1.0]], [[1.0]], TypeError, r"^parameters\[0\] .* must be an array of float32 or float64, got list$"),
    ([np.broadcast_to(1.0, 2)], [np.ones(2)], ValueError, r"^parameters\[0\] of layer 0 \(WithArrays\) is read-only$"),
])  # fmt: skip
def test_arrays_of_users_layers_are_checked(parameters, gradients, error, match, x):
    model = cr.Sequential([WithArrays(parameters, gradients), cr.Dense(3)], dtype="float64")
    model.compile("adam", "squared_error")
    kept = [np.copy(p) for p in parameters]
    with pytest.raises(error, match=match):
        model.build(N_IN)
        before = state(model)
        try:
            model.train_step(x, np.zeros((N_ROWS, 3)))
        finally:
            assert state(model) == before
    assert all((np.asarray(a) == b).all() for a, b in zip(parameters, kept, strict=True))


def test_float64_arrays_of_a_layer_in_a_float32_model_stay_float64(x):
    model = cr.Sequential([WithArrays([np.full(N_IN, 1 / 3)], [np.full(N_IN, 1e-9)]), cr.Dense(2)])
    model.compile(cr.SGD(1.0), "squared_error")
    model.train_step(x, np.zeros((N_ROWS, 2)))
    np.testing.assert_allclose(model.layers[0].parameters[0], 1 / 3 - 1e-9, rtol=1e-15)


def test_the_base_class_says_what_is_missing():
    class Nothing(cr.Layer):
        pass

    model = cr.Sequential([Nothing()])
    model.build(2)
    with pytest.raises(NotImplementedError, match=r"^Nothing needs a method forward\(x, training=False\)$"):
        model.predict(np.ones((1, 2)))
    with pytest.raises(NotImplementedError, match=r"^Nothing needs a method backward\(dy\)$"):
        Nothing().backward(np.ones((1, 2)))


@pytest.mark.parametrize("between", ["predict", "evaluate"])
def test_no_backward_after_another_pass_through_python_layers(between, x):
    """They keep what belongs to the rows they saw last; native layers keep it for backward alone."""

    def results(python):
        model = cr.Sequential([cr.Dense(5, "tanh"), cr.BatchNorm(), cr.Dense(3), *([Pass()] if python else [])], seed=1)
        model.compile("sgd", "squared_error")
        model.build(N_IN)
        dy = np.ones((N_ROWS, 3))
        model.forward(x, training=True)
        first = model.backward(dy)
        if between == "predict":
            model.predict(x[:4])
        else:
            model.evaluate(x[:4], np.zeros((4, 3)))
        return first, lambda: model.backward(dy)

    (first, again), (same, refused) = results(python=False), results(python=True)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(again(), first)
    with pytest.raises(
        RuntimeError, match=r"^backward needs a forward before it, with no step, predict or evaluate between"
    ):
        refused()


def test_a_users_loss_that_predicts(x):
    """A step that cannot be right is refused and changes nothing; with native layers alone it can be."""
    for python in (False, True):
        model = cr.Sequential([cr.Dense(3), cr.BatchNorm(), *([Pass()] if python else [])])

        def loss(prediction, target, model=model):
            model.predict(x[:2])
            return float(np.sum((prediction - target) ** 2)), 2 * (prediction - target)

        model.compile("adam", loss)
        model.build(N_IN)
        before = state(model)
        if python:
            with pytest.raises(RuntimeError, match=r"^backward needs a forward before it"):
                model.train_step(x, np.ones((N_ROWS, 3)))
            assert state(model) == before
        else:
            assert model.train_step(x, np.ones((N_ROWS, 3))) > 0


class Appends(Pass):
    """Fills the lists that it was given."""

    def build(self, n_in):
        self.parameters.append(np.ones(n_in, self.dtype))
        self.gradients.append(np.zeros(n_in, self.dtype))
        return n_in


def test_a_refused_fit_builds_users_layers_once(x):
    model = cr.Sequential([Appends(), cr.Dense(1)])
    model.compile("sgd", "squared_error")
    for wrong in (x, x[:, :2]):
        with pytest.raises(ValueError, match=r"^y must have"):
            model.fit(wrong, np.zeros((N_ROWS, 5)))
    model.fit(x, np.zeros(N_ROWS))
    assert [w.shape for w in model.get_weights()] == [(N_IN,), (N_IN, 1), (1,)]


@pytest.mark.parametrize("bad", [
    np.array([[2, "a"], [1, 1]], object), np.ones((2, 2)) * 1j, np.full((2, 2), "1.5"),
])  # fmt: skip
def test_a_view_takes_real_numbers_whole_or_not_at_all(bad):
    dense = built(cr.Dense(2), n_in=2)
    before = dense.weight.copy()
    with pytest.raises(TypeError, match=r"^weight must hold real numbers, got dtype"):
        dense.weight = bad
    np.testing.assert_array_equal(dense.weight, before)
