"""What `fit` and `evaluate` find out about rows, metrics and monitors before anything is trained."""

import re

import numpy as np
import pytest
from models import compiled, refused, rows_and_labels

import chainrule as cr

N_ROWS = 40


x, labels = rows_and_labels(N_ROWS, 5, 3)


# -- class weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "sigmoid_cross_entropy"])
def test_targets_without_a_class_take_no_class_weight(loss, x):
    several = np.eye(3)[np.arange(N_ROWS) % 3]
    several[7] = 1, 0, 1
    nothing = np.eye(3)[np.arange(N_ROWS) % 3]
    nothing[2] = 0
    model = compiled(loss=loss)
    for y, row in ((several, "y[7] is [1.0, 0.0, 1.0]"), (nothing, "y[2] is [0.0, 0.0, 0.0]")):
        match = rf"^class_weight needs a class for every row, one column above 0; {re.escape(row)}; sample_weight takes"
        for setting in ("balanced", {1: 5.0}):
            with refused(model, ValueError, match):
                model.fit(x, y, class_weight=setting)
    one = compiled([cr.Dense(1)], loss=loss)
    y = np.linspace(0, 1, N_ROWS)
    for shaped in (y, y[:, None]):
        with refused(one, ValueError, r"^class_weight needs a class for every row, 0 or 1, or -1 or \+1; y\[1\] is "):
            one.fit(x, shaped, class_weight={1: 5.0})


@pytest.mark.parametrize(("loss", "y"), [
    ("squared_error", np.eye(3)), ("sigmoid_cross_entropy", np.eye(3)), ("hinge", 2 * np.eye(3) - 1),
])  # fmt: skip
def test_targets_with_one_class_take_class_weights(loss, y, x, labels):
    by_class = np.array([0.5, 2.0, 3.0])
    results = []
    for settings in ({"class_weight": dict(enumerate(by_class))}, {"sample_weight": by_class[labels]}):
        model = compiled(loss=loss)
        model.fit(x, y[labels], **settings)
        results.append(model.parameters.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("low", [0, -1])
def test_one_output_has_two_classes(low, x, labels):
    y = np.where(labels == 0, low, 1)
    results = []
    for settings in ({"class_weight": {low: 3.0}}, {"sample_weight": np.where(y == low, 3.0, 1.0)}):
        model = compiled([cr.Dense(1)], loss="squared_error")
        model.fit(x, y, **settings)
        results.append(model.parameters.tobytes())
    assert results[0] == results[1]


# -- metrics and monitors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "match"), [
    ("mean_squared_error", r"^metric mean_squared_error, one row: y_true has shape \(1,\), y_pred has \(1, 3\)$"),
    ("roc_auc", r"^metric roc_auc, one row: y_pred must have one or two columns for roc_auc, got shape \(1, 3\)$"),
    (("top_k_accuracy", {"k": 4}), r"^metric top_k_accuracy, one row: k must be an integer >= 1 and <= 3, got 4$"),
])  # fmt: skip
def test_a_metric_that_does_not_fit_is_refused_before_training(metric, match, x, labels):
    model = compiled(metrics=[metric])
    with refused(model, ValueError, match):
        model.fit(x, labels)


def test_a_users_metric_is_called_with_all_rows_only(x, labels):
    seen = []

    def rows(y_true, y_pred):
        seen.append(y_true.shape + y_pred.shape)
        return 1.0

    model = compiled(metrics=[rows])
    assert model.fit(x, labels)["rows"] == [1.0] and seen == [(N_ROWS, N_ROWS, 3)]


@pytest.mark.parametrize("name", ["loss", "learning_rate", "val_loss", "val_rows"])
def test_a_metric_takes_no_name_of_the_logs(name):
    def figure(y_true, y_pred):
        return 0.0

    figure.__name__ = name
    with pytest.raises(ValueError, match=rf"differ from each other, from 'loss' and 'learning_rate', .*got \['{name}'"):
        compiled(metrics=[figure])


def test_the_list_of_metrics_is_a_copy():
    model = compiled(metrics=["accuracy"])
    model.metrics.clear()
    assert [metric.name for metric in model.metrics] == ["accuracy"]


@pytest.mark.parametrize("monitor", ["val_loss", "accuracy", "vall_loss"])
@pytest.mark.parametrize("who", ["EarlyStopping", "Checkpoint", "ReduceOnPlateau"])
def test_a_monitor_that_no_epoch_has_is_refused_before_training(who, monitor, x, labels, tmp_path):
    rate = cr.schedules.ReduceOnPlateau(0.1, monitor) if who == "ReduceOnPlateau" else 0.1
    callbacks = {"EarlyStopping": [cr.EarlyStopping(monitor)],
                 "Checkpoint": [cr.Checkpoint(tmp_path / "run.npz", monitor=monitor)]}.get(who, [])  # fmt: skip
    model = compiled(optimizer=cr.SGD(rate))
    match = rf"^{who} monitors '{monitor}', but the epochs have loss, learning_rate"
    with refused(model, ValueError, match):
        model.fit(x, labels, callbacks=callbacks)
    unbuilt = cr.Sequential([cr.Dense(3)])
    unbuilt.compile(cr.SGD(rate), "softmax_cross_entropy")
    with pytest.raises(ValueError, match=match):
        unbuilt.fit(x, labels, callbacks=callbacks)
    assert not unbuilt.built and not list(tmp_path.iterdir())


def test_a_users_callback_may_add_what_is_monitored(x, labels):
    class Add(cr.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["mine"] = float(epoch)

    model = compiled()
    stopping = cr.EarlyStopping("mine", patience=1, mode="min")
    model.fit(x, labels, epochs=9, callbacks=[Add(), stopping])
    assert stopping.stopped_epoch == 2 and model.history["mine"] == [0.0, 1.0, 2.0]
    with refused(model, ValueError, r"^EarlyStopping monitors 'mine', but the epochs have loss, learning_rate$"):
        model.fit(x, labels, callbacks=[stopping, Add()])


# -- numbers that the model cannot hold, and what is no array --------------------------------------------------------


def test_finite_weights_that_float32_does_not_hold_are_refused():
    model = compiled(dtype="float32")
    weights = model.get_weights()
    weights[2] = np.full((6, 3), 1.0)
    weights[2][1, 2] = 1e60
    with refused(model, ValueError, r"\[1, 2\] is 1e\+60, more than a float32 holds$"):
        model.set_weights(weights)
    with refused(model, ValueError, r"^bias\[0\] is -1e\+300, more than a float32 holds$"):
        model.layers[1].bias = [-1e300, 0, 0]
    model.layers[1].bias = [np.inf, 0, 0]  # what is infinite already is the user's wish
    assert np.isinf(model.get_weights()[3][0])


def test_a_loss_that_is_not_finite_names_numbers_beyond_float32(x, labels):
    model = compiled(dtype="float32")
    x[3, 2] = 1e60
    match = r"x holds values that are not finite as float32$"
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match=match):
        model.fit(x, labels, on_nan="raise")


def test_a_sparse_matrix_is_told_how_to_become_an_array(x, labels):
    class Sparse:  # as scipy.sparse: no array, but it makes one
        shape = x.shape

        def toarray(self):
            return x

    model = compiled()
    for arguments, name in (((Sparse(), labels), "x"), ((x, Sparse()), "y")):
        match = rf"^{name} must hold real numbers, got dtype object \(Sparse\); {name}.toarray\(\) makes a dense array"
        with refused(model, TypeError, match):
            model.fit(*arguments)


@pytest.mark.parametrize(("zero", "match"), [
    (slice(-8, None), "^sample_weight of the last rows, which validation_split keeps, must not be all 0$"),
    (slice(0, -8), "^sample_weight of the first rows, which are trained on, must not be all 0$"),
])  # fmt: skip
def test_a_split_that_leaves_no_weight_is_named(zero, match, x, labels):
    weight = np.ones(N_ROWS)
    weight[zero] = 0
    model = compiled()
    with refused(model, ValueError, match):
        model.fit(x, labels, validation_split=0.2, sample_weight=weight)


def test_a_run_that_diverges_is_as_quiet_as_it_is_told_to_be(x):
    names = ["mean_squared_error", "mean_absolute_error", "root_mean_squared_error", "r2_score"]
    model = compiled([cr.Dense(4, "relu"), cr.Dense(2)], cr.SGD(1e10), "squared_error", names)
    with np.errstate(all="raise"):
        model.fit(x, x[:, :2], epochs=6, on_nan="ignore")
    assert not np.isfinite(model.history["mean_squared_error"][-1])


# -- figures and callbacks -------------------------------------------------------------------------------------------


def test_a_users_metric_sees_targets_like_the_prediction(x):
    """Both (n, 1): a difference of (n,) and (n, 1) would be (n, n)."""

    def mse(y_true, y_pred):
        return float(np.mean((y_true - y_pred) ** 2))

    y = x.sum(axis=1)
    model = compiled([cr.Dense(1)], loss="mean_squared_error", metrics=[mse, "mean_squared_error"])
    for targets in (y, y[:, None]):
        figures = model.evaluate(x, targets)
        assert figures["mse"] == pytest.approx(figures["mean_squared_error"], rel=1e-12)


def test_a_users_metric_sees_labels_as_a_vector(x, labels):
    def right(y_true, y_pred):
        return float(np.mean(y_pred.argmax(axis=1) == y_true))

    model = compiled(metrics=[right, "accuracy"])
    for targets in (labels, labels[:, None]):
        figures = model.evaluate(x, targets)
        assert figures["right"] == pytest.approx(figures["accuracy"], rel=1e-12)


@pytest.mark.parametrize("who", ["EarlyStopping", "Checkpoint", "ReduceOnPlateau"])
def test_whether_an_unknown_figure_should_rise_is_asked_for(who, x, labels, tmp_path):
    def f1(y_true, y_pred):
        return 0.5

    for mode in ("auto", "min", "max"):
        rate = cr.schedules.ReduceOnPlateau(0.1, "f1", mode=mode) if who == "ReduceOnPlateau" else 0.1
        checkpoint = cr.Checkpoint(tmp_path / "run.npz", monitor="f1", mode=mode)
        callbacks = {"EarlyStopping": [cr.EarlyStopping("f1", mode=mode)], "Checkpoint": [checkpoint]}.get(who, [])
        model = compiled(optimizer=cr.SGD(rate), metrics=[f1])
        if mode == "auto":
            for more in ([], [cr.LambdaCallback()]):  # found out before training also where logs may grow
                with refused(model, ValueError, r"^whether 'f1' should rise or fall is not known: give mode='max' or"):
                    model.fit(x, labels, callbacks=[*more, *callbacks])
        elif who != "Checkpoint":  # a Python function cannot be written to a file
            model.fit(x, labels, callbacks=callbacks)


@pytest.mark.parametrize("name", ["val_r2_score", "roc_auc", "top_k_accuracy", "val_accuracy"])
def test_what_is_known_to_rise(name):
    assert cr.schedules.larger_is_better(name, "auto") and not cr.schedules.larger_is_better(name, "min")


@pytest.mark.parametrize("name", ["loss", "val_loss", "mean_absolute_error", "val_root_mean_squared_error"])
def test_what_is_known_to_fall(name):
    assert not cr.schedules.larger_is_better(name, "auto") and cr.schedules.larger_is_better(name, "max")


def test_rows_of_weight_0_are_out_of_figures_too(x):
    y = x.sum(axis=1)
    weight = np.ones(N_ROWS)
    weight[3] = 0
    names = ["mean_squared_error", "mean_absolute_error", "root_mean_squared_error", "r2_score"]
    model = compiled([cr.Dense(1)], loss="squared_error", metrics=names)
    expected = model.evaluate(np.delete(x, 3, axis=0), np.delete(y, 3))
    y[3] = np.inf
    assert model.evaluate(x, y, weight) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(cr.metrics.r2_score([1, 1], [1, 0], [0, 0]))
    assert cr.metrics.roc_auc([0, 1, 1], [0, np.nan, 1], [1, 0, 1]) == 1


def test_an_error_at_the_end_of_training_keeps_no_callback_from_its_own(x):
    class Fails(cr.Callback):
        error = None

        def on_train_end(self):
            raise RuntimeError("no more")

        def on_exception(self, error):
            self.error = error

    model = compiled([cr.Dense(1)], cr.SGD(3.0), "mean_squared_error")
    fails, stopping = Fails(), cr.EarlyStopping("loss", patience=1)
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(x, x.sum(axis=1), epochs=20, callbacks=[fails, stopping], on_nan="ignore")
    assert str(fails.error) == "no more" and stopping.best_epoch == 0 and stopping.stopped_epoch == 2
    fresh = compiled([cr.Dense(1)], cr.SGD(3.0), "mean_squared_error")
    fresh.fit(x, x.sum(axis=1), epochs=1, on_nan="ignore")
    assert model.parameters.tobytes() == fresh.parameters.tobytes()


def test_a_checkpoint_knows_the_best_that_it_saved(x, tmp_path):
    """Epochs whose loss is infinite are not saved, and set no mark for others."""
    y = x.sum(axis=1)
    y[0] = 1e25
    model = compiled([cr.Dense(1)], cr.SGD(0.1, clip_norm=1.0), "squared_error", dtype="float32")
    checkpoint = cr.Checkpoint(tmp_path / "run.npz", monitor="val_loss")
    model.fit(x, y, epochs=3, validation_data=(x[1:], y[1:]), callbacks=[checkpoint], on_nan="ignore")
    assert checkpoint.best is None and not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"not_there"):
        lost = cr.Checkpoint(tmp_path / "not_there" / "run.npz", monitor="val_loss")
        model.fit(x[1:], y[1:], validation_data=(x[1:], y[1:]), callbacks=[lost])
    assert lost.best is None
    model.fit(x[1:], y[1:], validation_data=(x[1:], y[1:]), callbacks=[checkpoint])
    assert checkpoint.best == model.history["val_loss"][0] and cr.load(tmp_path / "run.npz").built


def test_softmax_of_one_output_is_refused(x):
    y = (x[:, 0] > 0).astype(float)
    for dtype in ("float32", "float64"):
        model = compiled([cr.Dense(1)], dtype=dtype)
        match = r"^softmax_cross_entropy needs two outputs or more .*; for one output there is sigmoid_cross_entropy$"
        for call in (model.fit, model.train_step, model.evaluate):
            for target in (y, y[:, None], y[:, None].astype(dtype)):
                with refused(model, ValueError, match):
                    call(x.astype(dtype), target)


def test_layers_of_a_model_are_its_own():
    model = compiled()
    assert isinstance(model.layers, tuple)
    with pytest.raises(AttributeError):
        model.layers = []
    with pytest.raises(AttributeError):
        model.layers.append(cr.Dense(2))


def test_what_has_no_bias_says_so():
    model = compiled([cr.Dense(2, use_bias=False)])
    with pytest.raises(ValueError, match=r"^bias cannot be set: Dense\(2, use_bias=False\) has none$"):
        model.layers[0].bias = [1, 2]


def test_a_gradient_of_complex_numbers_is_refused(x):
    model = compiled(loss=lambda prediction, target: (0.0, prediction * 1j))
    with refused(model, TypeError, r"must return a gradient of real numbers, got dtype complex128$"):
        model.fit(x, x[:, :3])


def test_names_from_elsewhere_are_told():
    with pytest.raises(ValueError, match=r"^activation 'linear' is unknown; did you mean 'identity'\?"):
        cr.Dense(2, "linear")
    with pytest.raises(ValueError, match=r"^metric 'mae' is unknown; did you mean 'mean_absolute_error'\?"):
        compiled(metrics=["mae"])
    with pytest.raises(ValueError, match=r"^loss 'mae' is unknown; did you mean 'absolute_error'\?"):
        compiled(loss="mae")


def test_callbacks_and_metrics_show_their_settings():
    assert repr(cr.EarlyStopping("loss", patience=3)) == "EarlyStopping(monitor='loss', patience=3)"
    assert repr(cr.Checkpoint("run.npz", monitor="val_loss")) == "Checkpoint('run.npz', monitor='val_loss')"
    assert repr(compiled(metrics=["accuracy"]).metrics) == "[Metric('accuracy')]"


def test_the_live_line_shows_the_mean_so_far(x, monkeypatch):
    seen = []
    monkeypatch.setattr("chainrule.progress.Progress.is_due", True)
    monkeypatch.setattr("chainrule.progress.Progress.step", lambda self, epoch, step, loss: seen.append(loss))

    class Batches(cr.Callback):
        def __init__(self):
            self.losses = []

        def on_batch_end(self, step, loss):
            self.losses.append(loss)

    batches = Batches()
    model = compiled([cr.Dense(1)], loss="squared_error")
    model.fit(x, x.sum(axis=1), batch_size=16, callbacks=[batches], verbose=0)
    sums = np.cumsum(np.multiply(batches.losses, [16, 16, 8]))
    assert seen == pytest.approx(sums / [16, 32, 40], rel=1e-12)


def test_columns_of_different_types_are_numbers(x, labels):
    """What a table of bool, int and float columns becomes as an array."""
    table = np.array([[True, 3, 0.5, np.float32(2), np.int64(7)]] * N_ROWS, dtype=object)
    objects = labels.astype(object)
    models = [compiled(metrics=["accuracy"]), compiled()]
    models[0].fit(table, objects)
    models[1].fit(table.astype(float), labels)
    assert models[0].parameters.tobytes() == models[1].parameters.tobytes()
    own = compiled(loss=lambda prediction, target: (0.0, prediction - target))
    own.fit(table, np.eye(3)[labels].astype(object))
    table[3, 1] = None
    with refused(models[0], TypeError, r"^x must hold real numbers, got dtype object"):
        models[0].fit(table, labels)


@pytest.mark.parametrize(("n_in", "values", "hint"), [
    (None, 3, r"; x.reshape\(-1, 1\) makes one column of it, x.reshape\(1, -1\) one row$"),
    (5, 5, r"; x.reshape\(1, -1\) makes one row of it$"),
    (1, 4, r"; x.reshape\(-1, 1\) makes one column of it$"),
])  # fmt: skip
def test_a_vector_is_told_how_to_become_a_matrix(n_in, values, hint):
    model = cr.Sequential([cr.Dense(1)])
    model.compile("sgd", "squared_error")
    if n_in is not None:
        model.build(n_in)
    with pytest.raises(ValueError, match=rf"^x must have shape \(n_rows, .*\), got \({values},\)" + hint):
        model.fit(np.ones(values), np.ones(values))
