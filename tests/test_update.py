"""What of a model is fixed once it is built or compiled, and the training step in three calls."""

import numpy as np
import pytest
from models import Pass, compiled, each_engine, refused, rows_and_labels, state

import chainrule as cr

N_ROWS = 40


x, labels = rows_and_labels(N_ROWS, 5, 3)


# -- what is fixed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "name", "value"), [
    (0, "l2", 10.0), (0, "activation", None), (0, "units", 9), (1, "rate", 0.0), (2, "activation", None),
    (3, "epsilon", 1.0), (4, "momentum", 0.5),
])  # fmt: skip
def test_settings_of_a_built_layer_are_fixed(layer, name, value):
    def layers():
        return [cr.Dense(6, l2=0.1), cr.Dropout(0.5), cr.Activation("elu"), cr.LayerNorm(), cr.BatchNorm()]

    model = compiled(layers())
    own = type(model.layers[layer]).__name__
    with refused(model, AttributeError, rf"^{name} cannot be changed; make a new {own} and a model of it$"):
        setattr(model.layers[layer], name, value)
    unbuilt = layers()[layer]
    setattr(unbuilt, name, getattr(unbuilt, name))  # nothing knows it yet


def test_a_loss_derived_from_ours_may_set_what_it_likes():
    class Double(cr.losses.Huber):
        def __init__(self, delta=1.0):
            super().__init__(delta)
            self.delta = 2 * delta

    assert Double(3.0).delta == 6.0


def test_what_was_compiled_is_fixed():
    loss = cr.losses.Huber(1.0)
    model = compiled(optimizer=cr.SGD(0.5), loss=loss)
    with refused(model, AttributeError, r"^delta cannot be changed; make a new Huber and compile with it$"):
        loss.delta = 5.0
    match = r"^learning_rate cannot be changed; make a new Constant and set the optimizer's learning_rate to it$"
    with refused(model, AttributeError, match):
        model.optimizer.schedule.learning_rate = 0.1
    model.optimizer.learning_rate = 0.1
    for name, value in (("seed", 7), ("dtype", np.dtype("float32"))):
        with refused(model, AttributeError, name):
            setattr(model, name, value)


@pytest.mark.parametrize(("last", "loss", "own"), [
    ("sigmoid", "sigmoid_cross_entropy", "sigmoid"), ("softmax", "softmax_cross_entropy", "softmax"),
])  # fmt: skip
def test_an_activation_before_a_loss_that_has_it_is_warned_of(last, loss, own, tmp_path):
    match = rf"^the last layer ends in {last}, and {loss} applies {own} to what it gives: leave the activation out"
    for layers in ([cr.Dense(3, last)], [cr.Dense(3), cr.Activation(last)]):
        with pytest.warns(UserWarning, match=match) as caught:
            model = compiled(layers, loss=loss)
        assert caught[0].filename.endswith("models.py")
        model.save(tmp_path / "m.npz")
        cr.load(tmp_path / "m.npz")  # has been warned of before


def test_a_warning_that_is_an_error_leaves_the_model_as_it_was():
    model = compiled([cr.Dense(3, "sigmoid")], loss="squared_error")
    with refused(model, UserWarning, r"^the last layer ends in sigmoid"):
        model.compile("adam", "sigmoid_cross_entropy")
    assert model.loss.name == "squared_error"


def test_scores_under_cross_entropy_are_named_as_the_cause(x, labels):
    model = compiled(loss="cross_entropy")
    match = r": cross_entropy takes probabilities, Dense\(3\) gives scores; softmax_cross_entropy takes these$"
    with pytest.raises(FloatingPointError, match=match):
        model.fit(x, labels, epochs=5, on_nan="raise")


# -- a training loop of one's own ------------------------------------------------------------------------------------


def test_a_norm_that_nothing_reaches_clips_nothing(x, labels):
    models = [compiled(optimizer=cr.SGD(0.1, clip_norm=norm), dtype="float32") for norm in (None, 1e300)]
    for model in models:
        model.fit(x, labels)
    np.testing.assert_array_equal(models[0].parameters, models[1].parameters)


OPTIMIZERS = [cr.SGD(0.1), cr.SGD(0.1, momentum=0.9, clip_norm=0.5), cr.Adam(cr.schedules.Step(0.1, 2))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@each_engine
def test_update_makes_three_calls_of_train_step(python, optimizer, dtype, x, labels):
    make = type(optimizer)
    models = []
    for _ in range(2):
        settings = {name: getattr(optimizer, name) for name in optimizer._settings}
        layers = [
            cr.Dense(6, "tanh", l2=0.01),
            cr.BatchNorm(),
            cr.Dropout(0.2),
            *([Pass()] if python else []),
            cr.Dense(3),
        ]
        models.append(compiled(layers, make(**settings), dtype=dtype))
    x = x.astype(dtype)
    for _ in range(5):
        models[0].train_step(x, labels)
        _, gradient = models[1].loss(models[1].forward(x, training=True), labels)
        models[1].backward(gradient)
        models[1].update()
        with pytest.raises(RuntimeError, match=r"^backward needs a forward before it"):
            models[1].backward(gradient)
    assert state(models[0]) == state(models[1])


def test_gradients_add_up_over_batches(x, labels):
    whole, parts = compiled(), compiled()
    for model, batches in ((whole, [slice(None)]), (parts, [slice(0, 16), slice(16, None)])):
        total = 0.0
        for batch in batches:
            _, gradient = model.loss(model.forward(x[batch], training=True), labels[batch], reduction="sum")
            model.backward(gradient / N_ROWS)
            total = total + model.gradients
        model.gradients[...] = total
        model.update()
    np.testing.assert_allclose(whole.parameters, parts.parameters, rtol=1e-13)


def test_what_update_needs():
    with pytest.raises(RuntimeError, match=r"^update needs a loss and an optimizer: call compile first$"):
        cr.Sequential([cr.Dense(1)]).update()
    model = cr.Sequential([cr.Dense(1)])
    model.compile("sgd", "squared_error")
    with pytest.raises(RuntimeError, match=r"^update needs weights: call build\(n_in\), fit or load first$"):
        model.update()
