"""One model and several threads, or a signal in the middle: whole steps, and nothing that cannot be loaded."""

import contextlib
import copy
import gc
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from models import Pass, compiled, counts, each_engine, layers_of, state
from tools import EMULATED

import chainrule as cr

WIDTH = 16 if EMULATED else 512


def big(optimizer="adam"):
    """A model whose step takes long enough to be met in the middle."""
    return compiled([cr.Dense(WIDTH, "relu"), cr.Dense(10)], optimizer, n_in=256, n_out=10, dtype="float32")


@pytest.fixture
def data(rng):
    return rng.normal(size=(2048, 256)).astype("f4"), np.arange(2048) % 10


class Thread(threading.Thread):
    """Joined at the end of a `with` block; what it raised is raised there."""

    error = None

    def run(self):
        try:
            super().run()
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.join()
        if self.error is not None:
            raise self.error


# -- what forward keeps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["train_step", "fit"])
def test_a_refused_step_leaves_backward_the_rows_of_forward(call, rng):
    """C reads x again in backward; before, a refused step let go of it."""
    model = compiled([cr.Dense(4)], loss="softmax_cross_entropy", n_in=7, dtype="float32")
    x = rng.normal(size=(9, 7)).astype("f4")
    expected = x.copy()
    alive = weakref.ref(x)
    y = model.forward(x)
    for labels in (np.full(9, 99, np.int32), np.full(9, -1, np.int64)):
        with pytest.raises(ValueError, match="expected a class label"):
            model.train_step(x.copy(), labels)
        with pytest.raises(ValueError, match="expected a class label"):
            model._engine.fit(expected, labels, None, None, 4, np.ones(1), 0, 1.0, np.empty(3))
    del x
    gc.collect()
    assert alive() is not None
    model.backward(np.ones_like(y))
    np.testing.assert_allclose(model.gradients[:28].reshape(7, 4), expected.sum(0)[:, None].repeat(4, 1), rtol=1e-5)
    getattr(model, call)(expected, np.zeros(9, np.int32))
    gc.collect()
    assert alive() is None


# -- looking at a model that another thread trains ---------------------------------------------------------------------


@counts(15, 300)
def test_a_model_saved_while_another_thread_trains_is_that_after_a_step(count, data, tmp_path):
    x, y = data
    model, reference = big(), big()
    settings = {"epochs": 10**6, "batch_size": 512, "verbose": 0}
    stop = cr.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", len(saved) == count))
    saved = []
    with Thread(target=model.fit, args=(x, y), kwargs={**settings, "callbacks": [stop]}):
        while len(saved) < count:
            model.save(tmp_path / "run.npz")
            saved.append(cr.load(tmp_path / "run.npz"))
            time.sleep(0.001)
    for loaded in saved[:: max(1, count // 5)]:
        steps = loaded._engine.steps
        while reference._engine.steps < steps:
            epoch, step = divmod(reference._engine.steps, 4)
            rows = np.empty(len(x), np.int64)
            cr._core.random_permutation(1, epoch, rows)
            batch = rows[step * 512 : (step + 1) * 512]
            reference.train_step(x[batch], y[batch])
        assert loaded.parameters.tobytes() == reference.parameters.tobytes()
        epochs = 1 if loaded._run is None else loaded._run.at.epoch + 1  # the first was saved before training
        loaded.fit(x, y, **{**settings, "epochs": epochs, "resume": True})
        assert loaded._engine.steps % 4 == 0


@counts(200, 3000)
def test_weights_written_while_another_thread_trains_are_whole(count, data):
    """Between two of its steps, which at a rate of 0 change nothing."""
    x, y = data
    model = big(cr.SGD(0.0))
    shapes = [w.shape for w in model.get_weights()]
    done = []
    stop = cr.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", bool(done)))
    with Thread(target=model.fit, args=(x, y), kwargs={"epochs": 10**6, "batch_size": 256, "callbacks": [stop]}):
        try:
            for i in range(count):
                model.set_weights([np.full(shape, i) for shape in shapes])
                assert {float(v) for w in model.get_weights() for v in (w.min(), w.max())} == {float(i)}
                model.layers[0].weight = np.full(shapes[0], -i)
                assert (model.get_weights()[0] == -i).all()
        finally:
            done.append(True)


@counts(30, 500)
def test_predictions_of_python_layers_wait_for_a_step_of_another_thread(count, rng):
    x, y = rng.normal(size=(200, 5)), np.arange(200) % 3
    models = [compiled(layers_of(True)) for _ in range(2)]
    models[0].fit(x, y, epochs=count)
    expected, done = None, []

    def predict():
        while not done:
            models[1].predict(x[:32])

    with Thread(target=predict):
        try:
            models[1].fit(x, y, epochs=count)
        finally:
            done.append(True)
    expected = [state(model) for model in models]
    assert expected[0] == expected[1]


def test_a_fork_does_not_inherit_a_taken_lock():
    model = compiled(layers_of(True))
    engine = model._engine
    taken, free = threading.Event(), threading.Event()

    def hold():
        with engine.alone:
            taken.set()
            free.wait(10)

    with Thread(target=hold):
        taken.wait(10)
        engine._pid = -1  # as in the child of a fork
        assert model.predict(np.zeros((2, 5))).shape == (2, 3)
        free.set()


# -- signals ---------------------------------------------------------------------------------------------------------


class Signal:
    """Within a `with` block, calls a function in the main thread, `seconds` after the last time, wherever that is."""

    def __init__(self, function, seconds):
        self._function, self._seconds = function, seconds

    def __enter__(self):
        self._before = signal.signal(signal.SIGALRM, self._call)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _call(self, *_):
        self._function()
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


def own_loss(prediction, target):
    difference = prediction - np.eye(3)[target]
    return 0.5 * float((difference**2).sum()) / len(target), difference / len(target)


def trained(model):
    """What training changes, as bytes."""
    arrays = [*model.get_weights(), *model._states]
    return [array.tobytes() for array in arrays], model._engine.steps, model._engine.forwards


needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no interval timer")


@needs_timer
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", own_loss], ids=["named", "own"])
@counts(60, 300)
@each_engine
def test_a_signal_handler_that_copies_the_model_sees_whole_steps(python, count, loss, rng):
    """The SIGTERM handler of a job that is taken off its machine."""
    x, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    layers = lambda: [cr.Dense(6, "tanh"), cr.BatchNorm(), cr.Dropout(0.2), *([Pass()] if python else []), cr.Dense(3)]  # noqa: E731
    copies = []
    model = cr.Sequential(layers(), seed=1, dtype="float64")
    model.compile("adam", loss)
    copy.deepcopy(model)  # the handler is not to meet an import half done
    end = cr.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", len(copies) >= count))
    with Signal(lambda: copies.append(copy.deepcopy(model)), 0.0007):
        model.fit(x, y, epochs=10**6, batch_size=7, callbacks=[end])
    whole = cr.Sequential(layers(), seed=1, dtype="float64")
    whole.compile("adam", loss)
    epochs = max(one._run.at.epoch for one in copies if one._run is not None) + 1
    whole.fit(x, y, epochs=epochs, batch_size=7)
    for one in copies[:: max(1, count // 15)]:
        one.fit(x, y, epochs=epochs, batch_size=7, resume=True)
        assert trained(one) == trained(whole)


@needs_timer
@counts(300, 3000)
def test_a_learning_rate_is_set_or_not(count):
    model = compiled([cr.Dense(1, use_bias=False)], cr.SGD(0.5), "mean_squared_error", n_in=1)
    x, y = np.ones((1, 1)), np.zeros((1, 1))

    def interrupt():
        raise KeyboardInterrupt

    for i in range(count):
        try:
            with Signal(interrupt, 3e-5 + i % 50 * 1e-6):
                while True:
                    model.optimizer.learning_rate = 0.25 if model.optimizer.learning_rate == 0.5 else 0.5
        except KeyboardInterrupt:
            pass
        model.set_weights([[[1.0]]])
        model.train_step(x, y)
        assert model.get_weights()[0][0, 0] == 1 - 2 * model.optimizer.learning_rate


def test_models_come_and_go_while_a_learning_rate_is_set():
    optimizer, done = cr.SGD(0.5), []

    def compile_many():
        while not done:
            compiled(optimizer=optimizer)

    with Thread(target=compile_many):
        try:
            for i in range(2000):
                optimizer.learning_rate = 0.1 + i * 1e-6
        finally:
            done.append(True)
    gc.collect()
    assert len(optimizer._listeners) <= 1


@needs_timer
@counts(40, 500)
def test_an_interrupted_gradient_check_leaves_the_model_as_it_was(count, rng):
    x, y = rng.normal(size=(6, 5)), np.arange(6) % 3
    model = compiled([cr.Dense(6, "tanh"), cr.BatchNorm(), Pass(), cr.Dense(3)])
    before = state(model)

    def interrupt():
        raise KeyboardInterrupt

    for i in range(count):
        try:
            with Signal(interrupt, 1e-4 + i * 1e-4 % 0.02):
                cr.check_gradients(model, x, y)
        except KeyboardInterrupt:
            pass
        assert state(model) == before


# -- small doors -----------------------------------------------------------------------------------------------------


@each_engine
def test_running_statistics_are_no_place_for_a_prediction(python, rng):
    layers = [cr.Dense(3), cr.BatchNorm(), *([Pass()] if python else [])]
    model = compiled(layers, dtype="float32")
    before = state(model)
    out = model.layers[1].running_variance.reshape(1, -1)
    for x in (rng.normal(size=(1, 5)).astype("f4"), rng.normal(size=(1, 5))):
        for call in (model, model.predict):
            with pytest.raises(ValueError, match=r"^out overlaps the model's running statistics$"):
                call(x, out=out)
    assert state(model) == before


def test_an_array_that_is_not_aligned_is_named_so():
    model = compiled(dtype="float32")
    out = np.zeros(4 * 6 + 1, np.uint8)[1:].view("f4").reshape(2, 3)
    with pytest.raises(ValueError, match=r"^out must start at a multiple of 4 bytes, got an array that does not$"):
        model.predict(np.zeros((2, 5)), out=out)


@pytest.mark.parametrize("n", [2**63, 10**30])
def test_a_width_beyond_what_c_counts_to(n):
    with pytest.raises(ValueError, match=r"^units must be at most 2\*\*63 - 1, got "):
        cr.Dense(n)
    with pytest.raises(ValueError, match=r"^n_in must be at most 2\*\*63 - 1, got "):
        cr.Sequential([cr.Dense(1)]).build(n)


def test_numbers_that_underflow_raise_nothing_of_the_callers():
    x, y = np.full((4, 5), 1e-60), np.arange(4) % 3
    with np.errstate(all="raise"):
        model = compiled(dtype="float32")
        model.fit(x, y)
        model.train_step(x, y)
        assert cr.schedules.Exponential(0.1, 1, 0.5).values(0, 5000)[-1] == 0


def test_a_history_whose_figures_are_none_is_refused():
    model = compiled()
    model.fit(np.zeros((4, 5)), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"^the figures of an epoch in the state of History must be a dict, got None$"):
        cr.History().load_state_dict({"entries": [[0, None]]})


# -- waiting that must end -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("call", ["get_weights", "set_weights", "assign", "copy", "fit"])
def test_a_child_of_a_process_in_training_does_not_wait_for_it(call, data):
    x, y = data
    model, weights = big(), big().get_weights()
    calls = {
        "get_weights": model.get_weights,
        "set_weights": lambda: model.set_weights(weights),
        "assign": lambda: setattr(model.layers[0], "weight", weights[0]),
        "copy": lambda: copy.deepcopy(model),
        "fit": lambda: model.fit(x[:64], y[:64]),
    }
    done, statuses = [], []
    stop = cr.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", bool(done)))
    with Thread(target=model.fit, args=(x, y), kwargs={"epochs": 10**6, "batch_size": 2048, "callbacks": [stop]}):
        try:
            for _ in range(8):
                time.sleep(0.003)
                child = os.fork()
                if child == 0:
                    signal.alarm(20)  # its end, if the call waits for a thread that is not here
                    try:
                        calls[call]()
                    except RuntimeError:
                        os._exit(7)
                    finally:
                        os._exit(0)
                statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        finally:
            done.append(True)
    assert set(statuses) <= {0, 7}


@pytest.mark.parametrize("own", [False, True], ids=["three calls", "own loss"])
def test_a_loop_of_ones_own_lets_others_look(own, rng):
    """The flag is free between the parts of a step only."""
    x, y = rng.normal(size=(300, 256)), rng.normal(size=(300, 1))

    def loss(prediction, target):
        return float(((prediction - target) ** 2).mean()), 2 * (prediction - target) / len(target)

    model, done = compiled([cr.Dense(WIDTH, "tanh"), cr.Dense(1)], loss=loss, n_in=256), []

    def train():
        while not done:
            if own:
                model.train_step(x, y)
            else:
                model.backward(loss(model.forward(x, training=True), y)[1])
                model.update()

    with Thread(target=train):
        try:
            start = time.monotonic()
            for _ in range(5):
                model.get_weights()
            assert time.monotonic() - start < 60
        finally:
            done.append(True)


def test_of_two_errors_at_the_end_of_training_a_ctrl_c_is_raised(rng):
    def fail(error):
        raise error

    callbacks = [cr.LambdaCallback(on_train_end=lambda e=e: fail(e)) for e in (ValueError("a"), KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        compiled().fit(rng.normal(size=(4, 5)), np.zeros(4, int), callbacks=callbacks)


@needs_timer
def test_a_handler_that_trains_while_its_thread_waits_to_copy(data):
    x, y = data
    model, done = big(), []
    model.train_step(x, y)

    def step(n):
        with contextlib.suppress(RuntimeError):  # the other one is at it
            model.train_step(x[:n].copy(), y[:n].copy())

    def train():
        while not done:
            step(2048)

    with Thread(target=train):
        try:
            with Signal(lambda: step(8), 0.003):
                for _ in range(60):
                    model.get_weights()
        finally:
            done.append(True)


def test_a_model_compiled_while_it_is_looked_at_is_a_whole_one(data, monkeypatch, tmp_path):
    from chainrule.io import state as module

    x, y = data
    model, look = big(), module._look
    model.fit(x, y, batch_size=512)

    def slow(*arguments):
        arrays = look(*arguments)
        if model._run is not None:
            model.compile("adam", "softmax_cross_entropy")
        return arrays

    monkeypatch.setattr(module, "_look", slow)
    model.save(tmp_path / "m.npz")
    assert cr.load(tmp_path / "m.npz")._run is None


@each_engine
def test_weights_read_within_a_step_go_with_its_statistics_from_before(python, rng):
    """A loss that looks at the model that it is computed for."""
    x, y = rng.normal(size=(20, 5)), np.arange(20) % 3
    seen = []

    def looking(prediction, target):
        seen.append((model.get_weights(), copy.deepcopy(model).get_weights()))
        return own_loss(prediction, target)

    model = compiled([cr.Dense(6), cr.BatchNorm(), *([Pass()] if python else []), cr.Dense(3)], loss=looking)
    before = model.get_weights()
    model.train_step(x, y)
    assert len(seen) == 1
    for weights in seen[0]:
        assert [w.tobytes() for w in weights] == [w.tobytes() for w in before]


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_a_pass_within_a_step_through_python_layers_is_an_error(when, rng):
    class Looks(Pass):
        def forward(self, x, training=False):
            self.look("forward", training)
            return x

        def backward(self, dy):
            self.look("backward", True)
            return dy

        def look(self, where, training):
            if where == when and training:
                model.predict(np.zeros((4, 5)))

    x, y = rng.normal(size=(20, 5)), np.arange(20) % 3
    model = compiled([cr.Dense(6), Looks(), cr.Dense(3)])
    before = state(model)
    with pytest.raises(RuntimeError, match=r"with no step, predict or evaluate between"):
        model.train_step(x, y)
    assert state(model) == before
    model.predict(x)


def test_a_gradient_check_waits_for_a_step_of_another_thread(rng):
    x, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    models = [compiled(layers_of(True)) for _ in range(2)]
    models[0].fit(x, y, epochs=40)
    done = []

    def check():
        while not done:
            cr.check_gradients(models[1], x[:3], y[:3], limit=2)

    with Thread(target=check):
        try:
            models[1].fit(x, y, epochs=40)
        finally:
            done.append(True)
    assert models[0]._engine.steps == models[1]._engine.steps
    assert models[0].parameters.tobytes() == models[1].parameters.tobytes()
