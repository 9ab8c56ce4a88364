"""fit: epochs and batches, history, callbacks, early stopping, NaN, Ctrl-C, and other threads."""

import math
import os
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
from models import Pass, compiled, each_engine, everything, layers_of, permutation, state, weight_bits
from tools import EMULATED

import chainrule as cr
from chainrule import training

N_ROWS, N_IN, N_OUT = 20, 5, 3


@pytest.fixture
def x(rng):
    return rng.normal(size=(N_ROWS, N_IN))


@pytest.fixture
def labels():
    return np.arange(N_ROWS) * 5 % N_OUT


# -- epochs and batches ------------------------------------------------------------------------------------------


@each_engine
def test_history(python, x, labels):
    model = compiled(layers_of(python), metrics=["accuracy"])
    history = model.fit(x, labels, epochs=4, batch_size=8, validation_split=0.25)
    assert history is model.history
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert history.epoch == [0, 1, 2, 3] and all(len(values) == 4 for values in history.history.values())
    assert len(history.seconds) == 4 and min(history.seconds) > 0
    assert history["loss"] == history.history["loss"] and history["learning_rate"] == [0.01] * 4
    assert history["loss"] == sorted(history["loss"], reverse=True)
    # The metrics of training rows and all validation figures are those of the epoch's last weights.
    assert history["accuracy"][-1] == model.evaluate(x[:15], labels[:15])["accuracy"]
    assert {f"val_{k}": v for k, v in model.evaluate(x[15:], labels[15:]).items()} == {
        name: history[name][-1] for name in ("val_loss", "val_accuracy")
    }
    assert list(history) == list(history.history) and "val_loss" in history and "f1" not in history
    with pytest.raises(KeyError, match="'f1' was not recorded; there are loss, accuracy, val_loss"):
        history["f1"]
    assert repr(history) == "History(4 epochs; loss, accuracy, val_loss, val_accuracy, learning_rate)"


def test_an_epoch_does_not_read_the_whole_history(x, labels, monkeypatch, capsys):
    """Its lists are made anew for whoever asks: a run of many epochs that asked would take the square of their time."""

    def too_much(self):
        raise AssertionError("fit asked for figures of all epochs")

    model = compiled(layers_of(False))
    with monkeypatch.context() as patch:
        for name in ("epoch", "history", "seconds"):
            patch.setattr(cr.History, name, property(too_much))
        history = model.fit(x, labels, epochs=3, validation_split=0.25, verbose=2, callbacks=[cr.EarlyStopping()])
    assert len(history.seconds) == 3 and history.last_seconds == history.seconds[-1] > 0


def test_the_state_of_a_history_is_neither_made_anew_nor_copied_for_every_epoch(x, labels):
    """fit asks for it at each epoch's end; made again or copied each time, n epochs take n ** 2."""
    history = compiled(layers_of(False)).fit(x, labels, epochs=3)
    before = history._snapshot()
    history.on_epoch_end(3, {"loss": 0.5})
    after = history._snapshot()
    assert history.state_dict() == after() and after()["entries"][3] == [3, {"loss": 0.5}]
    assert [epoch for epoch, _ in before()["entries"]] == [0, 1, 2]
    assert all(one is same for one, same in zip(before()["entries"], after()["entries"][:3], strict=True))
    for epoch in range(4, 10_000):
        history.on_epoch_end(epoch, {"loss": 0.5})
    tracemalloc.start()
    try:
        history._snapshot()
        assert tracemalloc.get_traced_memory()[1] < 4096
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n", [1, 2, 16, 17, 100])
def test_the_mean_of_an_epoch_adds_one_by_one_however_many_steps_it_has(n):
    losses = np.random.default_rng(n).normal(size=n) * 10.0 ** np.random.default_rng(0).integers(-9, 9, n)
    weights = np.arange(1.0, n + 1)
    total = 0.0
    for loss, weight in zip(losses.tolist(), weights.tolist(), strict=True):
        total += loss * weight
    assert training._mean(losses, weights) == total / weights.sum()
    for bad in (np.nan, np.inf, -np.inf):
        losses[n // 2] = bad
        np.testing.assert_equal(training._mean(losses, weights), bad)


@each_engine
def test_validation_split_keeps_the_last_rows(python, x, labels):
    weight = np.linspace(0.5, 2, N_ROWS)
    split, given = (compiled(layers_of(python)) for _ in range(2))
    split.fit(x, labels, epochs=2, batch_size=6, validation_split=0.25, sample_weight=weight)
    given.fit(x[:15], labels[:15], epochs=2, batch_size=6, sample_weight=weight[:15],
              validation_data=(x[15:], labels[15:], weight[15:]))  # fmt: skip
    assert state(split) == state(given) and split.history.history == given.history.history


@each_engine
def test_fit_goes_on_from_where_it_stands(python, x, labels):
    """initial_epoch and the seed fix the order of rows; weights, optimizer state and steps are kept."""
    rule = cr.Adam(cr.schedules.Exponential(0.01, 10, 0.5))
    whole, parts = (compiled(layers_of(python), rule) for _ in range(2))
    whole.fit(x, labels, epochs=5, batch_size=8)
    parts.fit(x, labels, epochs=2, batch_size=8)
    assert parts.history.epoch == [0, 1]
    parts.fit(x, labels, epochs=5, batch_size=8, initial_epoch=2)
    assert parts.history.epoch == [2, 3, 4]
    assert state(parts) == state(whole)
    assert parts.history["loss"] == whole.history["loss"][2:]


def test_no_epochs_do_nothing(x, labels):
    model = compiled()
    before = state(model)
    assert model.fit(x, labels, epochs=0).epoch == [] and model.fit(x, labels, epochs=3, initial_epoch=3).epoch == []
    assert state(model) == before


@pytest.mark.parametrize("batch_size", [1, 7, N_ROWS, 1000])
def test_batches(batch_size, x, labels):
    model, steps = compiled(), []
    model.fit(x, labels, batch_size=batch_size, callbacks=[cr.LambdaCallback(on_batch_end=lambda *a: steps.append(a))])
    n = math.ceil(N_ROWS / batch_size)
    assert [step for step, _ in steps] == list(range(n)) and model._engine.steps == n
    same = compiled()
    order = permutation(N_ROWS, 1, 0)
    losses = [
        same.train_step(x[order[i : i + batch_size]], labels[order[i : i + batch_size]])
        for i in range(0, N_ROWS, batch_size)
    ]
    assert [loss for _, loss in steps] == losses


def test_every_epoch_has_another_order_of_rows():
    orders = []

    def own(prediction, target):
        orders.append(tuple(target[:, 0]))
        return 0.0, np.zeros_like(prediction)

    model = compiled([cr.Dense(1)], loss=own)
    x, y = np.zeros((N_ROWS, N_IN)), np.arange(N_ROWS)
    model.fit(x, y, epochs=4, batch_size=N_ROWS)
    assert len(set(orders)) == 4 and all(sorted(order) == list(range(N_ROWS)) for order in orders)
    assert orders == [tuple(permutation(N_ROWS, 1, epoch)) for epoch in range(4)]
    orders.clear()
    model.fit(x, y, epochs=2, batch_size=N_ROWS, shuffle=False)
    assert orders == [tuple(range(N_ROWS))] * 2


@each_engine
def test_the_mean_loss_of_an_epoch_is_weighted(python, x, labels):
    weight = np.linspace(0.5, 2, N_ROWS)
    model, same = (compiled(layers_of(python)) for _ in range(2))
    model.fit(x, labels, batch_size=8, shuffle=False, sample_weight=weight)
    parts = [slice(0, 8), slice(8, 16), slice(16, 20)]
    losses = [same.train_step(x[part], labels[part], weight[part]) for part in parts]
    expected = np.average(losses, weights=[weight[part].sum() for part in parts])
    assert model.history["loss"][0] == pytest.approx(expected, rel=1e-14)


@each_engine
def test_a_batch_whose_weights_are_all_zero_changes_nothing_but_the_counters(python, x, labels):
    model = compiled(layers_of(python))
    model.fit(x, labels, batch_size=10, shuffle=False, sample_weight=[1.0] * 10 + [0.0] * 10)
    same = compiled(layers_of(python))
    same.train_step(x[:10], labels[:10], np.ones(10))
    assert weight_bits(model) == weight_bits(same)
    assert model.history["loss"][0] == pytest.approx(compiled().evaluate(x[:10], labels[:10])["loss"])


# -- what is printed -----------------------------------------------------------------------------------------------


def test_verbose(x, labels, capsys, monkeypatch):
    model = compiled(metrics=["accuracy"])
    for verbose in (0, "auto", False):  # not a terminal here
        model.fit(x, labels, epochs=2, verbose=verbose)
        assert capsys.readouterr().out == ""
    for verbose in (1, 2, True):
        model.fit(x, labels, epochs=2, verbose=verbose)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
        assert "accuracy" in lines[0] and lines[0].endswith("ms")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for verbose in ("auto", 1):
        model.fit(x, labels, epochs=2, verbose=verbose)
        out = capsys.readouterr().out
        assert out.startswith("\repoch 1/2") and out.count("\n") == 1 and out.endswith("\n")


# -- callbacks -----------------------------------------------------------------------------------------------------


@each_engine
def test_callbacks_are_called_in_order(python, x, labels):
    calls = []

    class Recorder(cr.Callback):
        def on_train_begin(self):
            calls.append(("train begin", self.model.history.epoch))

        def on_train_end(self):
            calls.append("train end")

        def on_epoch_begin(self, epoch):
            calls.append(("begin", epoch))

        def on_epoch_end(self, epoch, logs):
            calls.append(("end", epoch, list(logs)))

        def on_batch_end(self, step, loss):
            calls.append(("batch", step, loss > 0))

    recorder = Recorder()
    model = compiled(layers_of(python))
    model.fit(x, labels, epochs=3, batch_size=10, initial_epoch=1, callbacks=[recorder])
    assert recorder.model is model
    epochs = [
        [("begin", e), ("batch", 0, True), ("batch", 1, True), ("end", e, ["loss", "learning_rate"])] for e in (1, 2)
    ]
    assert calls == [("train begin", []), *epochs[0], *epochs[1], "train end"]


def test_lambda_callback(x, labels):
    calls = []
    names = ["on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_batch_end"]
    callback = cr.LambdaCallback(**{name: lambda *args, name=name: calls.append((name, len(args))) for name in names})
    compiled().fit(x, labels, callbacks=[callback])
    assert calls == [("on_train_begin", 0), ("on_epoch_begin", 1), ("on_batch_end", 2), ("on_epoch_end", 2),
                     ("on_train_end", 0)]  # fmt: skip
    with pytest.raises(TypeError, match=r"^on_epoch_end must be callable, got 3$"):
        cr.LambdaCallback(on_epoch_end=3)
    with pytest.raises(TypeError, match="on_epoch_ends"):
        cr.LambdaCallback(on_epoch_ends=print)


@each_engine
def test_stop_training_ends_after_the_epoch(python, x, labels):
    model = compiled(layers_of(python))

    def stop(step, loss):
        model.stop_training = model.history.epoch == [0]

    model.fit(x, labels, epochs=9, batch_size=5, callbacks=[cr.LambdaCallback(on_batch_end=stop)])
    assert model.history.epoch == [0, 1] and model._engine.steps == 8
    model.fit(x, labels, epochs=2)
    assert model.history.epoch == [0, 1]


@each_engine
def test_an_exception_in_a_callback_reaches_the_caller(python, x, labels):
    model = compiled(layers_of(python), "adam")

    def fail(step, loss):
        if step == 2:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model.fit(x, labels, epochs=9, batch_size=5, callbacks=[cr.LambdaCallback(on_batch_end=fail)])
    assert model._engine.steps == 3 and model.history.epoch == []
    same = compiled(layers_of(python), "adam")
    order = permutation(N_ROWS, 1, 0)
    for i in range(0, 15, 5):
        same.train_step(x[order[i : i + 5]], labels[order[i : i + 5]])
    assert state(model) == state(same)
    model.fit(x, labels)


def test_callbacks_may_look_but_not_train(x, labels):
    model, seen = compiled(), []

    def look(epoch, logs):
        seen.append((model.predict(x).shape, model.evaluate(x, labels)["loss"], len(model.get_weights())))
        for call in (lambda: model.train_step(x, labels), lambda: model.fit(x, labels), lambda: model.forward(x),
                     lambda: model.compile("sgd", "squared_error")):  # fmt: skip
            with pytest.raises(RuntimeError, match="this model is already training, in another thread or around this"):
                call()

    model.fit(x, labels, epochs=2, callbacks=[cr.LambdaCallback(on_epoch_end=look)])
    same = compiled()
    same.fit(x, labels, epochs=2)
    assert state(model) == state(same) and len(seen) == 2


def test_a_callback_may_change_the_learning_rate(x, labels):
    model, same = compiled(optimizer=cr.SGD(0.1)), compiled(optimizer=cr.SGD(lambda step: 0.1 if step < 3 else 0.001))

    def change(step, loss):
        if step == 2:
            model.optimizer.learning_rate = 0.001

    model.fit(x, labels, epochs=2, batch_size=5, callbacks=[cr.LambdaCallback(on_batch_end=change)])
    same.fit(x, labels, epochs=2, batch_size=5)
    assert weight_bits(model) == weight_bits(same)
    assert model.history["learning_rate"] == same.history["learning_rate"] == [0.001, 0.001]


# -- early stopping --------------------------------------------------------------------------------------------------


class Script(cr.Callback):
    """Overwrites a figure of the logs with the next of a list, and marks the weights with the epoch."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]
        self.model.layers[-1].bias[0] = epoch


@pytest.mark.parametrize(("monitor", "values", "settings", "stopped", "best"), [
    ("val_loss", [5, 4, 4.5, 4.6, 4.7, 1], {"patience": 2}, 4, 1),
    ("val_loss", [5, 4, 4.5, 4.6, 3, 3.5, 3.6], {"patience": 2}, None, 4),
    ("val_loss", [5, 4, 3, 2], {"patience": 0}, None, 3),
    ("val_loss", [5, 4, 4, 3], {"patience": 0}, 2, 1),
    ("val_loss", [5, 4.95, 4.91, 4], {"patience": 1, "min_delta": 0.1}, 2, 0),
    ("val_accuracy", [0.1, 0.3, 0.2, 0.25, 0.9], {"patience": 1}, 3, 1),
    ("val_loss", [1, 2, 1.5, 1.7, 9], {"patience": 1, "mode": "max"}, 3, 1),
    ("val_loss", [math.nan, math.nan, 1], {"patience": 1}, 1, None),
    ("val_loss", [2, math.nan, math.inf, 1], {"patience": 1}, 2, 0),
    ("val_loss", [2, -math.inf, 1.9, 1.8], {"patience": 1}, None, 3),
])  # fmt: skip
def test_early_stopping(monitor, values, settings, stopped, best, x, labels):
    stopping = cr.EarlyStopping(monitor, **settings)
    model = compiled()
    model.fit(x, labels, epochs=len(values), callbacks=[Script(monitor, values), stopping])
    assert stopping.stopped_epoch == stopped and stopping.best_epoch == best
    assert len(model.history.epoch) == (len(values) if stopped is None else stopped + 1)
    assert model.layers[-1].bias[0] == (len(model.history.epoch) - 1 if best is None else best)
    assert stopping.best == (None if best is None else values[best])


def test_early_stopping_restores_the_weights_of_the_best_epoch(x, labels):
    class Keep(cr.Callback):
        def on_epoch_end(self, epoch, logs):
            kept.append(weight_bits(self.model))

    kept, stopping = [], cr.EarlyStopping("val_loss", patience=3)
    model = compiled([cr.Dense(30, "tanh"), cr.BatchNorm(), cr.Dense(N_OUT)], cr.Adam(0.05))
    wrong = (x, (labels + 1) % N_OUT)
    model.fit(x, labels, epochs=50, batch_size=5, validation_data=wrong, callbacks=[stopping, Keep()])
    assert stopping.stopped_epoch == len(kept) - 1 == stopping.best_epoch + 4
    assert weight_bits(model) == kept[stopping.best_epoch] != kept[-1]
    assert stopping.best == min(model.history["val_loss"])
    assert model.evaluate(*wrong)["loss"] == pytest.approx(stopping.best, rel=1e-12)
    # Used again, it starts afresh; without restoring, the last weights stay.
    again = cr.EarlyStopping("val_loss", patience=0, restore_best_weights=False)
    kept.clear()
    model.fit(x, labels, epochs=50, batch_size=5, validation_data=wrong, callbacks=[again, Keep()])
    assert weight_bits(model) == kept[-1] and again.stopped_epoch is not None


def test_what_early_stopping_refuses(x, labels):
    for settings, error, match in (
        ({"monitor": 3}, TypeError, r"^monitor must be a name such as 'val_loss', got 3$"),
        ({"patience": -1}, ValueError, r"^patience must be an integer >= 0, got -1$"),
        ({"min_delta": -1.0}, ValueError, r"^min_delta must be a finite number and >= 0, got -1.0$"),
        ({"mode": "minimum"}, ValueError, r"^mode 'minimum' is unknown; did you mean 'min'\?"),
        ({"restore_best_weights": 1}, TypeError, r"^restore_best_weights must be True or False, got 1$"),
    ):
        with pytest.raises(error, match=match):
            cr.EarlyStopping(**settings)
    match = r"EarlyStopping monitors 'val_loss', but the epochs have loss, learning_rate; give fit validation_data or"
    with pytest.raises(ValueError, match=match):
        compiled().fit(x, labels, callbacks=[cr.EarlyStopping()])


# -- losses that are not finite --------------------------------------------------------------------------------------


@each_engine
def test_on_nan(python, x, labels):
    def diverging():
        return compiled(layers_of(python), cr.SGD(1e200), "squared_error")

    y = np.eye(N_OUT)[labels]
    model = diverging()
    with pytest.warns(
        RuntimeWarning, match=r"^the loss is (nan|inf) in epoch \d, step \d: the learning rate may"
    ) as caught:
        model.fit(x, y, epochs=5, batch_size=5)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert len(model.history.epoch) == 5 and not math.isfinite(model.history["loss"][-1])
    with pytest.raises(FloatingPointError, match=r"^the loss is (nan|inf) in epoch"):
        diverging().fit(x, y, epochs=5, batch_size=5, on_nan="raise")
    diverging().fit(x, y, epochs=5, batch_size=5, on_nan="ignore")


def test_what_is_not_finite_is_named_as_the_cause(x, labels):
    target = np.ones((len(x), 3))
    target[2, 1] = np.inf
    with pytest.warns(RuntimeWarning, match=r"epoch 0, step \d: y holds values that are not finite as float64$"):
        compiled(loss="squared_error").fit(x, target, batch_size=5)
    x[3, 2] = np.nan
    with pytest.warns(RuntimeWarning, match=r"epoch 0, step \d: x holds values that are not finite as float64$"):
        compiled().fit(x, labels, batch_size=5)


def test_a_loss_that_is_not_finite_of_targets_that_are_no_numbers(x):
    def broken(prediction, target):
        return math.nan, np.zeros_like(prediction)

    with pytest.warns(RuntimeWarning, match=r"^the loss is nan in epoch 0, step 0: the learning rate may be too high$"):
        compiled(loss=broken).fit(x, np.full(len(x), "a"))


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

ANSWER = 10.0 if EMULATED else 1.0  # seconds
needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")


def interrupt_after(seconds):
    """A timer that raises KeyboardInterrupt by a real SIGINT to this process, and when it was sent.

    Start it where the interrupt is expected: on a machine that stalls it may come before `start` is back.
    """
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    return threading.Timer(seconds, send), sent


CTRL_C = {
    "small native": (lambda: [cr.Dense(6, "tanh"), cr.Dense(N_OUT)], "softmax_cross_entropy", 20_000),
    "large native": (
        lambda: [cr.Dense(600, "relu"), cr.Dense(600, "relu"), cr.Dense(N_OUT)], "softmax_cross_entropy", 20_000,
    ),
    "layer by layer": (lambda: [cr.Dense(6, "tanh"), Pass(), cr.Dense(N_OUT)], "softmax_cross_entropy", 20_000),
    "own loss": (lambda: [cr.Dense(N_OUT)], lambda p, t: (0.0, np.zeros_like(p)), 20_000),
}  # fmt: skip


@needs_timer
@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("kind", CTRL_C)
def test_ctrl_c(kind, rng):
    """Promised are 200 ms; a test machine may be busy, so ANSWER is let pass."""
    layers, loss, n_rows = CTRL_C[kind]
    x, y = rng.normal(size=(n_rows, N_IN)).astype("f4"), np.arange(n_rows) % N_OUT
    model = cr.Sequential(layers())
    model.compile("adam", loss)
    model.fit(x[:100], y[:100], epochs=2)
    timer, sent = interrupt_after(0.25)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        model.fit(x, y, epochs=10**6, batch_size=32)
    assert time.monotonic() - sent[0] < ANSWER
    # The model is whole, its history is kept, and it goes on.
    assert abs(len(model.history.epoch) - len(model.history.history.get("loss", []))) <= 1  # interrupted in between
    assert model.history.epoch == list(range(len(model.history.epoch)))
    assert all(np.isfinite(w).all() for w in model.get_weights())
    steps = model._engine.steps
    assert steps > 8
    model.fit(x[:100], y[:100], epochs=1)
    model.train_step(x[:10], y[:10])
    assert model._engine.steps == steps + 5 and model.history.epoch == [0]


@needs_timer
@pytest.mark.usefixtures("tidy")
def test_ctrl_c_leaves_whole_steps(rng):
    """The weights after the interrupt are those of so many steps, bit for bit."""
    x, y = rng.normal(size=(3000, N_IN)), np.arange(3000) % N_OUT
    model, same = (compiled([cr.Dense(9, "tanh"), cr.BatchNorm(), cr.Dense(N_OUT)], "adam") for _ in range(2))
    timer, _ = interrupt_after(0.15)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        model.fit(x, y, epochs=10**6, batch_size=8)
    done = len(model.history.epoch)
    for epoch in range(done + 1):
        order = permutation(3000, 1, epoch)
        for i in range(0, 3000, 8):
            if same._engine.steps == model._engine.steps:
                break
            same.train_step(x[order[i : i + 8]], y[order[i : i + 8]])
    assert state(model) == state(same)
    # An epoch counts once its figures are there; the interrupt may come just before.
    assert done <= model._engine.steps / 375 <= done + 1


@needs_timer
@pytest.mark.usefixtures("tidy")
def test_ctrl_c_stops_a_long_predict():
    model = cr.Sequential([cr.Dense(256, "tanh"), cr.Dense(256, "tanh"), cr.Dense(1)])
    model.build(8)
    x = np.zeros((500_000, 8), "f4")
    timer, sent = interrupt_after(0.1)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        model.predict(x)
        time.sleep(5)  # a machine that is done already waits for the signal
    assert time.monotonic() - sent[0] < ANSWER


# -- other threads -----------------------------------------------------------------------------------------------------


@each_engine
def test_a_second_writer_is_refused(python, x, labels):
    model = compiled(layers_of(python))
    going, messages = threading.Event(), []

    def train():
        def stop(epoch, logs):
            going.set()
            model.stop_training = bool(messages)

        model.fit(x, labels, epochs=10**7, callbacks=[cr.LambdaCallback(on_epoch_end=stop)])

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert going.wait(30)
        found = []
        for call in (lambda: model.fit(x, labels), lambda: model.train_step(x, labels), lambda: model.forward(x),
                     lambda: model.compile("sgd", "squared_error")):  # fmt: skip
            with pytest.raises(RuntimeError, match="this model is already training"):
                call()
            found.append(call)
    finally:
        messages.append("stop")
        thread.join(30)
    assert not thread.is_alive() and len(found) == 4
    model.fit(x, labels)


def test_threads_may_predict_with_one_model_at_once(rng):
    model = compiled(everything())
    x = rng.normal(size=(400, N_IN))
    expected, wrong = model.predict(x).tobytes(), []
    y = np.arange(400) % model.n_out
    loss = model.evaluate(x, y)  # penalties included

    def work():
        for _ in range(30):
            if model.evaluate(x, y) != loss:
                wrong.append(1)
            if model.predict(x).tobytes() != expected or model(x[:7]).tobytes() != expected[: 7 * 4 * 8]:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_threads_may_train_models_of_their_own(x, labels):
    def train(seed):
        model = compiled([*everything()[:-1], cr.Dense(N_OUT)], "adam", seed=seed)
        model.fit(x, labels, epochs=20, batch_size=3)
        results[seed] = weight_bits(model)

    results = {}
    for seed in range(4):
        train(seed)
    expected, results = results, {}
    threads = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == expected
