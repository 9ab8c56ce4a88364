"""What users of Sequential may rely on, sentence by sentence."""

import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import reference
from models import Pass, everything, refused, state, weight_bits
from models import compiled as build_compiled

import chainrule as cr

N_ROWS, N_IN, N_OUT = 24, 5, 4


@pytest.fixture
def x(rng):
    return rng.normal(size=(N_ROWS, N_IN))


@pytest.fixture
def labels():
    return np.arange(N_ROWS) * 7 % N_OUT


compiled = partial(build_compiled, n_in=N_IN, n_out=N_OUT)


# -- forward, backward, train_step ---------------------------------------------------------------------------


def test_train_step_is_forward_loss_backward_update(x, labels):
    stepped, by_hand = compiled(), compiled()
    before = by_hand.get_weights()
    loss = stepped.train_step(x, labels)
    value, dy = cr.losses.SoftmaxCrossEntropy()(by_hand.forward(x, training=True), labels)
    by_hand.backward(dy)
    assert loss == pytest.approx(value, rel=1e-15)
    parts = np.split(by_hand.gradients, np.cumsum([w.size for w in before])[:-1])
    for w, g, after in zip(before, parts, stepped.get_weights(), strict=True):
        np.testing.assert_allclose(after, w - 0.01 * g.reshape(w.shape), rtol=1e-15)


def test_train_step_returns_the_loss_before_the_update(x, labels):
    model = compiled(optimizer=cr.SGD(0.5))
    before = model.evaluate(x, labels)["loss"]
    assert model.train_step(x, labels) == pytest.approx(before, rel=1e-14)
    assert model.evaluate(x, labels)["loss"] < before - 0.01


def test_backward_writes_and_does_not_add(x, rng):
    model = compiled()
    dy = rng.normal(size=(N_ROWS, N_OUT))
    model.forward(x)
    dx = model.backward(dy)
    first = model.gradients.copy()
    model.gradients[...] = 1e6
    assert model.backward(dy).tobytes() == dx.tobytes()
    assert model.gradients.tobytes() == first.tobytes()


def test_gradients_are_plain_sums_over_rows(x, rng):
    model = compiled()
    dy = rng.normal(size=(N_ROWS, N_OUT))
    model.forward(x)
    model.backward(dy)
    whole = model.gradients.copy()
    total = np.zeros_like(whole)
    for i in range(N_ROWS):
        model.forward(x[i : i + 1])
        model.backward(dy[i : i + 1])
        total += model.gradients
    np.testing.assert_allclose(whole, total, rtol=1e-12, atol=1e-14)


def test_backward_takes_the_derivative_of_the_output_not_of_the_logits(x):
    """With a nonlinear last layer, dy is with respect to what forward returned."""
    model = compiled([cr.Dense(N_OUT, "sigmoid")], loss="squared_error")
    y = model.forward(x)
    weight, _ = model.get_weights()
    np.testing.assert_allclose(model.backward(np.ones_like(y)), (y * (1 - y)) @ weight.T, rtol=1e-12)


def test_no_rows_are_fine_everywhere_but_in_training():
    model = compiled()
    empty = np.empty((0, N_IN))
    assert model.predict(empty).shape == model(empty).shape == model.forward(empty).shape == (0, N_OUT)
    assert model.backward(np.empty((0, N_OUT))).shape == (0, N_IN)
    assert not model.gradients.any()
    for layers in (everything(), [*everything(), Pass()]):
        model = compiled(layers)
        assert model.forward(empty).shape == (0, N_OUT)
        assert model.backward(np.empty((0, N_OUT))).shape == (0, N_IN)
        assert not model.gradients.any()


def test_results_are_new_arrays_and_inputs_stay_as_they_are(x, labels):
    model = compiled(everything())
    kept, kept_labels = x.copy(), labels.copy()
    outputs = [model.predict(x), model(x), model.forward(x), model.forward(x, training=True)]
    model.backward(outputs[-1])
    model.fit(x, labels, epochs=2, batch_size=5, validation_split=0.2)
    model.train_step(x, labels, np.ones(N_ROWS))
    assert x.tobytes() == kept.tobytes() and labels.tobytes() == kept_labels.tobytes()
    assert not any(np.shares_memory(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_out_is_written_in_place(x):
    model = compiled()
    expected = model.predict(x)
    for call in (model.predict, model):
        out = np.full((N_ROWS, N_OUT), np.nan)
        assert call(x, out=out) is out
        assert out.tobytes() == expected.tobytes()
    out = np.full((N_ROWS, N_OUT + 2), np.nan)
    assert np.shares_memory(model.predict(x, out=out[:, 1:-1]), out)
    assert np.isnan(out[:, [0, -1]]).all() and (out[:, 1:-1] == expected).all()


# -- losses: weights and penalties ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error", "mean_squared_error", "huber"])
def test_an_integer_weight_is_the_row_that_many_times(x, labels, loss):
    weight = np.arange(N_ROWS) % 4
    y = labels if loss == "softmax_cross_entropy" else np.eye(N_OUT)[labels]
    weighted, repeated = compiled(loss=loss), compiled(loss=loss)
    rows = np.repeat(np.arange(N_ROWS), weight)
    for _ in range(3):
        a, b = weighted.train_step(x, y, weight), repeated.train_step(x[rows], y[rows])
        assert a == pytest.approx(b, rel=1e-13)
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-12, atol=1e-15)
    assert weighted.evaluate(x, y, weight)["loss"] == pytest.approx(repeated.evaluate(x[rows], y[rows])["loss"])


def test_rows_of_weight_zero_count_for_nothing(x, labels):
    weight = (np.arange(N_ROWS) < 15).astype(float)
    models = [compiled(), compiled()]
    bad = x.copy()
    bad[15:] *= 1e3
    models[0].train_step(bad, labels, weight)
    models[1].train_step(x[:15], labels[:15])
    np.testing.assert_allclose(models[0].parameters, models[1].parameters, rtol=1e-12, atol=1e-15)


def test_class_weight_multiplies_into_sample_weight(x, labels):
    by_class, sample = np.array([1.0, 2.0, 0.5, 3.0]), np.linspace(0.1, 2, N_ROWS)
    found = set()
    for arguments in (
        {"class_weight": dict(enumerate(by_class)), "sample_weight": sample},
        {"class_weight": {1: 2, 2: 0.5, 3: 3}, "sample_weight": sample},
        {"sample_weight": by_class[labels] * sample},
    ):
        model = compiled()
        model.fit(x, labels, batch_size=7, **arguments)
        found.add((weight_bits(model), model.history["loss"][0]))
    assert len(found) == 1
    one_hot = compiled()
    one_hot.fit(x, np.eye(N_OUT)[labels], batch_size=7, class_weight=dict(enumerate(by_class)), sample_weight=sample)
    np.testing.assert_allclose(one_hot.parameters, model.parameters, rtol=1e-12, atol=1e-15)


def test_balanced_class_weight_gives_each_class_the_same_say(x):
    y = np.array([0] * 12 + [1] * 8 + [3] * 4)
    models = [compiled(), compiled()]
    models[0].fit(x, y, batch_size=N_ROWS, class_weight="balanced")
    models[1].fit(x, y, batch_size=N_ROWS, sample_weight=(24 / (3 * np.array([12, 8, 1, 4])))[y])
    assert state(models[0]) == state(models[1])


def test_penalties_are_part_of_the_loss_and_act_on_weights_alone(x, labels):
    l1, l2, rate = 0.03, 0.2, 0.5
    layers = [cr.Dense(6, "tanh", bias_initializer="ones", l1=l1, l2=l2), cr.Dense(N_OUT, l2=l2)]
    model, plain = compiled(layers, cr.SGD(rate)), compiled(optimizer=cr.SGD(rate))
    plain.set_weights(model.get_weights())
    w1, _, w2, _ = model.get_weights()
    penalty = l1 * np.abs(w1).sum() + l2 * (w1**2).sum() + l2 * (w2**2).sum()
    assert model.evaluate(x, labels)["loss"] == pytest.approx(plain.evaluate(x, labels)["loss"] + penalty)
    assert model.train_step(x, labels) == pytest.approx(plain.train_step(x, labels) + penalty)
    expected = plain.get_weights()
    expected[0] -= rate * (l1 * np.sign(w1) + 2 * l2 * w1)
    expected[2] -= rate * 2 * l2 * w2
    for got, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)


def test_the_history_counts_penalties_and_batches_by_their_rows(x, labels):
    model, same = (compiled([cr.Dense(N_OUT, l2=0.1)]) for _ in range(2))
    model.fit(x, labels, batch_size=7, shuffle=False)
    losses = [same.train_step(x[i : i + 7], labels[i : i + 7]) for i in range(0, N_ROWS, 7)]
    assert model.history["loss"][0] == pytest.approx(np.average(losses, weights=[7, 7, 7, 3]), rel=1e-15)


# -- weights in and out --------------------------------------------------------------------------------------


def test_get_weights_goes_layer_by_layer(x, labels):
    model = compiled([cr.Dense(3), cr.BatchNorm(), cr.Dense(2, use_bias=False), cr.LayerNorm(), cr.Dense(N_OUT)])
    model.fit(x, labels)
    dense, norm, bare, layer_norm, last = model.layers
    views = [dense.weight, dense.bias, norm.gamma, norm.beta, norm.running_mean, norm.running_variance, bare.weight,
             layer_norm.gamma, layer_norm.beta, last.weight, last.bias]  # fmt: skip
    got = model.get_weights()
    assert [w.shape for w in got] == [(5, 3), (3,), (3,), (3,), (3,), (3,), (3, 2), (2,), (2,), (2, 4), (4,)]
    assert all((w == view).all() and not np.shares_memory(w, view) for w, view in zip(got, views, strict=True))
    assert bare.bias is None and bare.bias_gradient is None


def test_set_weights_copies_in(x):
    model, other = compiled(everything()), compiled(everything(), seed=99)
    weights = other.get_weights()
    model.set_weights([w.tolist() for w in weights])
    assert weight_bits(model) == weight_bits(other)
    for w in weights:
        w[...] = np.nan
    assert weight_bits(model) == weight_bits(other)
    assert model.predict(x).tobytes() == other.predict(x).tobytes()
    # Views of the model itself are read before any is written.
    first, bias, *rest = model.get_weights()
    model.set_weights([model.layers[0].weight[:, ::-1], bias, *rest])
    assert (model.layers[0].weight == first[:, ::-1]).all()


@pytest.mark.parametrize("layers", [lambda: None, lambda: [cr.Dense(6), Pass(), cr.Dense(N_OUT)]],
                         ids=["native", "Python"])  # fmt: skip
def test_set_weights_changes_nothing_on_error(layers, x, labels):
    model = compiled(layers(), cr.SGD(0.1, momentum=0.9))
    model.train_step(x, labels)
    good = [w + 1 for w in model.get_weights()]
    with refused(model, ValueError, r"^weights must hold 4 arrays, got 3$"):
        model.set_weights(good[:3])
    match = r"^weights\[3\] \(array 1 of layer \d, Dense\) must have shape \(4,\), got \(4, 1\)$"
    with refused(model, ValueError, match):
        model.set_weights([*good[:3], good[3][:, None]])
    with refused(model, ValueError, r"weights\[2\] .* must have shape \(6, 4\), got \(4, 6\)"):
        model.set_weights([*good[:2], good[2].T, good[3]])
    with refused(model, TypeError, r"weights\[3\] .* must hold real numbers, got dtype complex128"):
        model.set_weights([*good[:3], good[3] * 1j])
    with refused(model, TypeError, r"weights\[3\] .* must hold real numbers, got dtype object"):
        model.set_weights([*good[:3], [None] * 4])


def test_parameters_and_gradients_are_flat_views(x, labels):
    model = compiled(everything())
    flat = model.parameters
    assert flat.ndim == 1 and all(np.shares_memory(flat, p) for layer in model.layers for p in layer.parameters)
    assert all(np.shares_memory(model.gradients, g) for layer in model.layers for g in layer.gradients)
    assert flat is model.parameters
    before = model.predict(x)
    flat *= 1.5
    assert (model.layers[0].weight == flat[: N_IN * 12].reshape(N_IN, 12)).all()
    assert (model.predict(x) != before).all()
    model.layers[-1].bias = [1, 2, 3, 4]
    assert flat[-4:].tolist() == [1, 2, 3, 4]
    model.train_step(x, labels)
    assert flat[-4:].tolist() != [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"^bias must have shape \(4,\), got \(3,\)$"):
        model.layers[-1].bias = [1, 2, 3]


def test_a_model_with_python_layers_gives_read_only_copies(x, rng):
    model = compiled([cr.Dense(3), Pass()])
    model.forward(x)
    model.backward(rng.normal(size=(N_ROWS, 3)))
    dense = model.layers[0]
    for flat, parts in ((model.parameters, dense.parameters), (model.gradients, dense.gradients)):
        assert flat.tobytes() == b"".join(part.tobytes() for part in parts)
        assert not flat.flags.writeable


# -- building and compiling ----------------------------------------------------------------------------------


def test_weights_exist_without_data():
    model = cr.Sequential([cr.Dense(3), cr.Dense(2)])
    assert not model.built and model.n_in is None and model.n_out is None
    model.build(7)
    assert model.built and (model.n_in, model.n_out) == (7, 2)
    before = weight_bits(model)
    model.build(7)
    assert weight_bits(model) == before
    with pytest.raises(ValueError, match=r"^n_in is 8, the model was built for 7$"):
        model.build(8)


@pytest.mark.parametrize("train", ["fit", "train_step"])
def test_training_builds_the_model(train, x, labels):
    model = cr.Sequential([cr.Dense(N_OUT)], seed=1, dtype="float64")
    model.compile("sgd", "softmax_cross_entropy")
    getattr(model, train)(x, labels)
    assert (model.n_in, model.n_out) == (N_IN, N_OUT)


def test_the_float32_model_starts_from_the_rounded_weights_of_the_float64_one():
    wide, narrow = (cr.Sequential(everything(), seed=3, dtype=dtype) for dtype in ("float64", "float32"))
    for model in (wide, narrow):
        model.build(N_IN)
    for a, b in zip(wide.get_weights(), narrow.get_weights(), strict=True):
        assert b.dtype == np.float32 and a.astype("f4").tobytes() == b.tobytes()


def test_compiling_again_starts_the_optimizer_afresh_and_keeps_the_weights(x, labels):
    model, fresh = compiled(optimizer="adam"), compiled(optimizer="adam")
    model.fit(x, labels, epochs=3)
    fresh.set_weights(model.get_weights())
    model.compile("adam", "softmax_cross_entropy")
    assert weight_bits(model) == weight_bits(fresh)
    model.train_step(x, labels)
    fresh.train_step(x, labels)
    assert weight_bits(model) == weight_bits(fresh)


def test_compile_before_and_after_build_are_the_same(x, labels):
    first, second = (cr.Sequential([cr.Dense(3, "tanh"), cr.Dense(N_OUT)], seed=2) for _ in range(2))
    first.compile("rmsprop", "softmax_cross_entropy")
    first.build(N_IN)
    second.build(N_IN)
    second.compile("rmsprop", "softmax_cross_entropy")
    for model in (first, second):
        model.train_step(x, labels)
    assert state(first) == state(second)


def test_what_compile_takes(x, labels):
    for optimizer in (*cr.optimizers.NAMES, cr.Adam, cr.Adam()):
        for loss in ("softmax_cross_entropy", cr.losses.SoftmaxCrossEntropy, cr.losses.SoftmaxCrossEntropy()):
            assert np.isfinite(compiled(optimizer=optimizer, loss=loss).train_step(x, labels))


def test_the_learning_rate_can_be_changed_between_steps(x, labels):
    model = compiled(optimizer=cr.SGD(0.1))
    model.train_step(x, labels)
    before = weight_bits(model)
    model.optimizer.learning_rate = 0.0
    model.train_step(x, labels)
    assert weight_bits(model) == before
    model.optimizer.learning_rate = lambda step: 0.1 if step == 2 else 0.0
    model.train_step(x, labels)
    after = weight_bits(model)
    assert after != before
    model.train_step(x, labels)
    assert weight_bits(model) == after
    with pytest.raises(AttributeError, match=r"^momentum cannot be changed; make a new SGD and compile with it$"):
        model.optimizer.momentum = 0.5


def test_one_optimizer_object_serves_two_models(x, labels):
    """The state belongs to the model."""
    shared = cr.Adam(0.01)
    together = [compiled(optimizer=shared, seed=i) for i in (1, 2)]
    alone = [compiled(optimizer=cr.Adam(0.01), seed=i) for i in (1, 2)]
    for _ in range(3):
        for model in (*together, *alone):
            model.train_step(x, labels)
    assert [state(model) for model in together] == [state(model) for model in alone]


# -- predict and evaluate ------------------------------------------------------------------------------------


def test_call_and_predict_agree_and_are_at_inference(x):
    model = compiled(everything(0.5))
    model.forward(x, training=True)
    assert model(x).tobytes() == model.predict(x).tobytes() == model.forward(x).tobytes()
    assert (model.forward(x, training=True) != model(x)).any()
    assert model.predict(x).dtype == np.float64 and model.predict(x.astype(int)).shape == (N_ROWS, N_OUT)


def test_one_row_and_one_column(rng):
    for n_rows, n_in, n_out in ((1, 1, 1), (1, 7, 1), (13, 1, 1), (1, 1, 11), (3, 17, 13)):
        model = cr.Sequential([cr.Dense(n_out, "tanh")], dtype="float64")
        model.build(n_in)
        x = rng.normal(size=(n_rows, n_in))
        weight, bias = model.get_weights()
        np.testing.assert_allclose(model.predict(x), np.tanh(x @ weight + bias), rtol=1e-13, atol=1e-15)


def test_one_output_takes_targets_with_or_without_a_column(x, rng):
    y = rng.normal(size=N_ROWS)
    models = [compiled([cr.Dense(1)], loss="squared_error", metrics=["mean_absolute_error"]) for _ in range(2)]
    for model, target in zip(models, (y, y[:, None]), strict=True):
        model.train_step(x, target)
        model.fit(x, target, epochs=2)
    assert state(models[0]) == state(models[1])
    assert models[0].evaluate(x, y) == models[0].evaluate(x, y[:, None])
    p = models[0].predict(x)[:, 0]
    assert models[0].evaluate(x, y)["mean_absolute_error"] == pytest.approx(np.abs(p - y).mean(), rel=1e-13)


def test_evaluate_gives_the_loss_and_each_metric(x, labels):
    def largest(y_true, y_pred):
        return y_pred.max()

    metrics = ["accuracy", ("top_k_accuracy", {"k": 2}), largest]
    model = compiled(everything(), metrics=metrics)
    model.fit(x, labels, epochs=2)
    result = model.evaluate(x, labels)
    p = model.predict(x)
    dense = [layer for layer in model.layers if isinstance(layer, cr.Dense)]
    penalty = sum(d.l1 * np.abs(d.weight).sum() + d.l2 * (d.weight**2).sum() for d in dense)
    assert list(result) == ["loss", "accuracy", "top_k_accuracy", "largest"]
    assert result["loss"] == pytest.approx(reference.loss("softmax_cross_entropy", p, labels)[0] + penalty, rel=1e-12)
    assert result["accuracy"] == (p.argmax(axis=1) == labels).mean()
    assert result["largest"] == p.max()
    for batch in (1, 5, 1000):
        assert model.evaluate(x, labels, batch_size=batch) == result
    weight = np.arange(N_ROWS, dtype=float)
    weighted = model.evaluate(x, labels, weight)
    assert weighted["accuracy"] == pytest.approx(np.average(p.argmax(axis=1) == labels, weights=weight))


@pytest.mark.parametrize(("loss", "positive", "threshold"), [
    ("sigmoid_cross_entropy", 1.0, 0.0), ("hinge", 1.0, 0.0), ("squared_error", 1.0, 0.5),
])  # fmt: skip
def test_accuracy_decides_where_the_loss_does(loss, positive, threshold, x, rng):
    model = compiled([cr.Dense(1)], loss=loss, metrics=["accuracy"])
    y = np.where(rng.uniform(size=N_ROWS) < 0.5, positive, -1.0 if loss == "hinge" else 0.0)
    p = model.predict(x)[:, 0]
    assert ((p > 0) != (p > 0.5)).any()
    assert model.evaluate(x, y)["accuracy"] == ((p > threshold) == (y > 0)).mean()


def test_predict_and_evaluate_change_nothing(x, labels):
    model = compiled(everything(), "adam", metrics=["accuracy"])
    model.train_step(x, labels)
    before = state(model)
    model.predict(x)
    model(x)
    model.evaluate(x, labels)
    model.forward(x)
    model.summary()
    repr(model)
    assert state(model) == before


def test_predict_between_forward_and_backward_does_not_disturb_them(x, rng):
    model = compiled(everything())
    dy = rng.normal(size=(N_ROWS, N_OUT))
    model.forward(x, training=True)
    expected = model.backward(dy).tobytes()
    model.predict(rng.normal(size=(50, N_IN)))
    model(x[:1])
    assert model.backward(dy).tobytes() == expected


def test_nan_and_infinite_inputs_show_in_their_own_rows_alone(x):
    model = compiled([cr.Dense(6, "relu"), cr.Dense(N_OUT)])
    clean = model.predict(x)
    dirty = x.copy()
    dirty[3, 1], dirty[5, 0] = np.nan, np.inf
    got = model.predict(dirty)
    assert np.isnan(got[3]).all() and not np.isfinite(got[5]).all()
    others = np.setdiff1d(np.arange(N_ROWS), [3, 5])
    assert got[others].tobytes() == clean[others].tobytes()


# -- what a model tells of itself ------------------------------------------------------------------------------


def test_summary(capsys):
    model = cr.Sequential([cr.Dense(3, "relu"), cr.Dropout(0.5), cr.BatchNorm(), cr.Dense(2, use_bias=False)])
    model.summary()
    assert "not built yet" in capsys.readouterr().out
    model.build(4)
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[2:6]] == ["15", "0", "6", "6"]
    assert lines[-1] == "inputs 4, parameters 27 (0.1 KiB as float32)"
    assert "Dense relu" in lines[2] and "(n, 3)" in lines[2] and "Dropout 0.5" in lines[3]


def test_repr_can_be_read_back():
    model = cr.Sequential(everything(), seed=5, dtype="float64")
    again = eval(repr(model), vars(cr).copy())
    assert repr(again) == repr(model)
    model.build(3)
    again.build(3)
    assert weight_bits(again) == weight_bits(model)


def test_the_documented_example_learns_exclusive_or():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.array([0, 1, 1, 0])
    model = cr.Sequential([cr.Dense(8, "tanh"), cr.Dense(1)], seed=1)
    model.compile(optimizer=cr.Adam(0.05), loss="sigmoid_cross_entropy", metrics=["accuracy"])
    model.fit(x, y, epochs=200, batch_size=4, verbose=0)
    assert model.evaluate(x, y)["accuracy"] == 1.0


def test_the_digits_are_learned():
    """The data of the demo: 1,797 handwritten digits, of which a fifth is held out."""
    from chainrule.data import load_digits

    digits = load_digits(split=True)
    model = cr.Sequential([cr.Dense(64, "relu"), cr.Dense(10)], seed=0)
    model.compile(cr.Adam(0.003), "softmax_cross_entropy", ["accuracy"])
    model.fit(digits.x_train, digits.y_train, epochs=15)
    assert model.evaluate(digits.x_test, digits.y_test)["accuracy"] >= 0.96


def test_seeds(rng):
    assert cr.Sequential([cr.Dense(1)], seed=2**64 - 1).seed == 2**64 - 1
    fresh = {cr.Sequential([cr.Dense(1)], seed=None).seed for _ in range(5)}
    assert len(fresh) == 5
    made = cr.Sequential([cr.Dense(1)], seed=np.random.default_rng(3)).seed
    assert made == cr.Sequential([cr.Dense(1)], seed=np.random.default_rng(3)).seed
    assert cr.Sequential([cr.Dense(1)], seed=np.int64(7)).seed == 7
    for make in (np.random.SeedSequence, np.random.RandomState):
        drawn = [cr.Sequential([cr.Dense(1)], seed=make(seed)).seed for seed in (3, 3, 4)]
        assert drawn[0] == drawn[1] != drawn[2]


def test_all_public_names_exist():
    for name in cr.__all__:
        assert getattr(cr, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", cr.__version__)


def test_importing_is_quiet_and_light():
    """No warning, and none of the slow modules of the standard library that only mistakes and files need."""
    code = "import sys, numpy; before = set(sys.modules); import chainrule; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"zipfile", "difflib", "tempfile", "matplotlib", "sklearn", "scipy", "chainrule.demo"}


def test_a_layer_in_two_models_is_refused_and_leaves_the_others_free():
    dense, free = cr.Dense(2), cr.Dense(3)
    model = cr.Sequential([dense])
    with pytest.raises(ValueError, match=r"^a Dense layer is already in another model; layers hold weights"):
        cr.Sequential([free, dense])
    cr.Sequential([free])
    with pytest.raises(ValueError, match=r"already in this model"):
        shared = cr.Dense(2)
        cr.Sequential([shared, shared])
    model.build(3)
    with pytest.raises(ValueError, match="belongs to a model; build the model"):
        dense.build(3)
    assert model.predict(np.ones((2, 3))).shape == (2, 2)
