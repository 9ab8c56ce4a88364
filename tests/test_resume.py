"""Training that is cut off at any step and goes on in another process: the bits of training that was not."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from models import OPTIMIZERS, Pass, compiled, each_engine, everything, state, weight_bits
from tools import few

import chainrule as cr

N_ROWS, N_IN, N_OUT, BATCH, EPOCHS = 23, 5, 4, 6, 5
N_STEPS = -(-N_ROWS // BATCH)


def data():
    x = np.sin(np.arange(N_ROWS * N_IN, dtype="f8") ** 2).reshape(N_ROWS, N_IN)
    return x, np.arange(N_ROWS) % N_OUT


def make(optimizer, dtype="float32", python=False):
    layers = [*everything(), *([Pass()] if python else [])]
    return compiled(layers, OPTIMIZERS[optimizer](), metrics=["accuracy"], n_in=N_IN, dtype=dtype, seed=2**63 + 5)


def fit(model, *callbacks, resume=False, epochs=EPOCHS, shuffle=True):
    x, y = data()
    weight = 1.0 + np.arange(N_ROWS) % 3
    stopping = cr.EarlyStopping("val_loss", patience=1)
    model.fit(
        x, y, epochs=epochs, batch_size=BATCH, shuffle=shuffle, sample_weight=weight, validation_data=(x[::2], y[::2]),
        callbacks=[stopping, *callbacks], resume=resume,
    )  # fmt: skip
    return stopping


def outcome(model, stopping):
    """All that a user could compare."""
    history = model.history
    kept = {name: value for name, value in stopping.state_dict().items() if name != "best_weights"}
    return state(model), history.epoch, history.history, kept


class Stop(Exception):
    pass


class StopAt(cr.Callback):
    """Ends fit by an exception after so many steps in all, or at an epoch's end, as a signal may."""

    def __init__(self, n_steps=None, *, epoch=None):
        self.left, self.epoch = n_steps, epoch

    def on_batch_end(self, step, loss):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Stop

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            raise Stop


CONTINUE = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
import chainrule as cr
import test_resume as t
result = []
for path in sys.argv[2:]:
    model = cr.load(path, custom_objects={"Pass": t.Pass})
    result.append(t.outcome(model, t.fit(model, resume=True)))
sys.stdout.buffer.write(pickle.dumps(result))
"""


def continued_elsewhere(*paths):
    """The outcomes of going on from these files in a new process."""
    command = [sys.executable, "-c", CONTINUE, os.path.dirname(__file__), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


LONG = [pytest.param(name, "float64", marks=pytest.mark.long) for name in OPTIMIZERS]


@pytest.mark.parametrize(("optimizer", "dtype"), [*((name, "float32") for name in OPTIMIZERS), *LONG])
def test_every_step_of_every_optimizer_in_a_new_process(optimizer, dtype, tmp_path):
    model = make(optimizer, dtype)
    expected = outcome(model, fit(model))
    paths = []
    for n_steps in few(range(1, N_STEPS * len(expected[1]) + 1), 7):
        model = make(optimizer, dtype)
        with pytest.raises(Stop):
            fit(model, StopAt(n_steps))
        assert model._engine.steps == n_steps
        paths.append(tmp_path / f"{n_steps}.npz")
        model.save(paths[-1])
    assert continued_elsewhere(*paths) == [expected] * len(paths)


@each_engine
@pytest.mark.parametrize("shuffle", [False, True])
def test_in_the_same_process_and_several_times(python, shuffle):
    model = make("adam", "float64", python)
    expected = outcome(model, fit(model, shuffle=shuffle))
    model = make("adam", "float64", python)
    for n_steps in (1, 2, 3, 5, 1):
        with pytest.raises(Stop):
            fit(model, StopAt(n_steps), resume=True, shuffle=shuffle)
    assert outcome(model, fit(model, resume=True, shuffle=shuffle)) == expected


@each_engine
def test_cut_off_while_an_epoch_ends(python, tmp_path):
    """EarlyStopping has seen the epoch and the schedule too, the callback after them has not: all see it again."""
    model = make("plateau", "float64", python)
    expected = outcome(model, fit(model))
    for epoch in expected[1]:
        model = make("plateau", "float64", python)
        with pytest.raises(Stop):
            fit(model, StopAt(epoch=epoch))
        model.save(tmp_path / "model.npz")
        other = cr.load(tmp_path / "model.npz", custom_objects={"Pass": Pass})
        for one in (model, other, pickle.loads(pickle.dumps(other))):
            assert outcome(one, fit(one, resume=True)) == expected


@pytest.mark.parametrize("settings", [
    {"every_steps": 3, "every_epochs": 2},
    pytest.param({}, marks=pytest.mark.long),
    pytest.param({"every_epochs": 2}, marks=pytest.mark.long),
], ids=str)  # fmt: skip
def test_checkpoints_go_on_from_the_last_file(settings, tmp_path):
    path = tmp_path / "run.npz"
    model = make("adamw")
    expected = outcome(model, fit(model))
    found = set()
    for n_steps in range(1, N_STEPS * len(expected[1]) + 1):
        path.unlink(missing_ok=True)
        with pytest.raises(Stop):
            fit(make("adamw"), cr.Checkpoint(path, **settings), StopAt(n_steps), resume=True)
        model = cr.load(path) if path.exists() else make("adamw")
        found.add(model._engine.steps)
        assert outcome(model, fit(model, cr.Checkpoint(path, **settings), resume=True)) == expected
        assert cr.load(path)._engine.steps <= expected[0][2][0]
    assert len(found) > 2


def test_a_run_that_came_to_its_end_is_not_run_again(tmp_path):
    model = make("adam")
    expected = outcome(model, fit(model, cr.Checkpoint(tmp_path / "run.npz"), epochs=200))
    assert expected[3]["stopped_epoch"] is not None, "this run is meant to stop early"
    assert outcome(model, fit(model, resume=True, epochs=200)) == expected
    last = cr.load(tmp_path / "run.npz")  # written before the best weights came back
    assert outcome(last, fit(last, resume=True, epochs=200)) == expected


def test_more_epochs_than_at_first():
    model, same = compiled(optimizer="adam"), compiled(optimizer="adam")
    x, y = data()
    same.fit(x, y % 3, epochs=5, batch_size=BATCH)
    model.fit(x, y % 3, epochs=2, batch_size=BATCH)
    model.fit(x, y % 3, epochs=5, batch_size=BATCH, resume=True)
    assert state(model) == state(same) and model.history.history == same.history.history
    assert model.history.epoch == [0, 1, 2, 3, 4]
    model.fit(x, y % 3, epochs=1, batch_size=BATCH)
    assert model.history.epoch == [0]


def test_without_a_run_it_begins_at_the_first_epoch():
    model, same = make("adam"), make("adam")
    assert outcome(model, fit(model, resume=True)) == outcome(same, fit(same))
    fresh = compiled(optimizer="adam")
    fresh.fit(*small(), epochs=2)
    fresh.compile("adam", "softmax_cross_entropy")
    fresh.fit(*small(), epochs=2, resume=True)
    assert fresh.history.epoch == [0, 1]


def small():
    return data()[0], data()[1] % 3


def stopped_at(n_steps):
    model = compiled(optimizer="adam")
    with pytest.raises(Stop):
        model.fit(*small(), epochs=3, batch_size=BATCH, callbacks=[StopAt(n_steps)])
    return model


def test_what_does_not_fit_is_refused():
    x, y = small()
    model = stopped_at(N_STEPS + 2)
    before = state(model)
    for settings, match in (
        ({"initial_epoch": 1}, r"^give initial_epoch or resume, not both; got initial_epoch 1$"),
        ({"batch_size": 5}, r"^resume: batch_size is 5, in the fit that stopped within epoch 1 it was 6$"),
        ({"shuffle": False}, r"^resume: shuffle is False, in the fit that stopped within epoch 1 it was True$"),
    ):
        with pytest.raises(ValueError, match=match):
            model.fit(x, y, **{"epochs": 3, "batch_size": BATCH, "resume": True, **settings})
    with pytest.raises(ValueError, match=r"^resume: rows is 22, in the fit that stopped within epoch 1 it was 23$"):
        model.fit(x[1:], y[1:], epochs=3, batch_size=BATCH, resume=True)
    with pytest.raises(TypeError, match=r"^resume must be True or False, got 1$"):
        model.fit(x, y, resume=1)
    assert state(model) == before
    model.train_step(x, y)
    with pytest.raises(
        ValueError, match=r"^resume: the model has taken 7 steps, its last fit stopped at another one; "
    ):
        model.fit(x, y, epochs=3, batch_size=BATCH, resume=True)
    between = compiled(optimizer="adam")
    between.fit(x, y, epochs=1, batch_size=BATCH)
    between.fit(x, y, epochs=3, batch_size=BATCH - 1, resume=True)  # between two epochs, anything goes
    assert between.history.epoch == [0, 1, 2]


def test_callbacks_that_are_missing_are_named():
    model = make("adam")
    with pytest.raises(Stop):
        fit(model, StopAt(2))
    with pytest.warns(
        UserWarning, match="^resume: the run that stopped had EarlyStopping among its callbacks"
    ) as caught:
        model.fit(*data(), epochs=1, batch_size=BATCH, resume=True)
    assert caught[0].filename == __file__


class Counting(cr.Callback):
    """A user's callback with a state, an array in it."""

    def __init__(self, name):
        self.name, self.losses = name, np.empty(0)

    def on_batch_end(self, step, loss):
        self.losses = np.append(self.losses, loss)

    def state_dict(self):
        return {"name": self.name, "losses": self.losses, "nested": [{"n": len(self.losses)}, None, "text", 0.5, True]}

    def load_state_dict(self, state):
        assert state["name"] == self.name and state["nested"] == [{"n": len(state["losses"])}, None, "text", 0.5, True]
        self.losses = state["losses"]


def test_callbacks_of_users(tmp_path):
    pairs = [[Counting("a"), Counting("b")] for _ in range(2)]
    compiled().fit(*small(), epochs=3, batch_size=BATCH, callbacks=pairs[0])
    model = compiled()
    with pytest.raises(Stop):
        model.fit(*small(), epochs=3, batch_size=BATCH, callbacks=[*pairs[1], StopAt(7)])
    model.save(tmp_path / "model.npz")
    pairs.append([Counting("a"), Counting("b")])
    cr.load(tmp_path / "model.npz").fit(*small(), epochs=3, batch_size=BATCH, callbacks=pairs[2], resume=True)
    for one, other in zip(pairs[0], pairs[2], strict=True):
        assert one.losses.tobytes() == other.losses.tobytes()
        assert len(one.losses) == 3 * N_STEPS


def test_states_that_no_file_can_hold(tmp_path):
    class Keeps(cr.Callback):
        def __init__(self, what):
            self.what = what

        def state_dict(self):
            return {"what": self.what}

    for what, match in (
        (print, "a callback's state cannot be written to a file: <built-in function print>"),
        (np.array(["a"]), "a callback's state cannot be written to a file: it has an array of dtype <U1"),
        ({1: 2}, "a callback's state cannot be written to a file: "),
    ):
        model = compiled()
        model.fit(*small(), callbacks=[Keeps(what)])
        with pytest.raises(TypeError, match=f"^{match}"):
            model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"^Keeps has a state_dict of its own, but no load_state_dict$"):
        model.fit(*small(), epochs=2, callbacks=[Keeps(1)], resume=True)
    assert os.listdir(tmp_path) == []


def test_checkpoint_keeps_the_best_and_no_state_that_is_not_finite(tmp_path):
    x, y = small()
    path = tmp_path / "best.npz"
    values, kept = iter([3.0, 2.0, 2.5, float("nan"), 1.0, 1.5]), {}

    class Script(cr.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["score_loss"] = next(values)
            kept[epoch] = weight_bits(self.model)

    checkpoint = cr.Checkpoint(path, monitor="score_loss")
    compiled().fit(x, y, epochs=6, callbacks=[checkpoint, Script()])
    assert checkpoint.best == 1.0 and weight_bits(cr.load(path)) == kept[4]
    model, values, again = compiled(), iter([2.0, 1.0, 1.5, 0.5]), cr.Checkpoint(path, monitor="score_loss")
    model.fit(x, y, epochs=2, callbacks=[checkpoint, Script()])
    for epochs, best in ((3, 1), (4, 3)):  # in the third epoch it is worse than before the interruption
        model.fit(x, y, epochs=epochs, callbacks=[again, Script()], resume=True)
        assert weight_bits(cr.load(path)) == kept[best]
    for state_, match in (({}, "^the state of Checkpoint needs best, got {}$"), ({"best": "a"}, "^best must be a")):
        with pytest.raises((TypeError, ValueError), match=match):
            again.load_state_dict(state_)

    last = tmp_path / "last.npz"
    model = compiled(optimizer=cr.SGD(1e200), loss="squared_error")
    with pytest.warns(RuntimeWarning, match="the loss is"):
        model.fit(x, np.eye(3)[y], epochs=4, batch_size=BATCH, callbacks=[cr.Checkpoint(last, every_steps=1)])
    assert not np.isfinite(model.parameters).all()
    assert not last.exists() or np.isfinite(cr.load(last).parameters).all()


def test_what_checkpoint_refuses(tmp_path):
    for settings, error, match in (
        ({"every_epochs": 0}, ValueError, r"^every_epochs must be an integer >= 1, got 0$"),
        ({"every_steps": 0}, ValueError, r"^every_steps must be an integer >= 1, got 0$"),
        ({"monitor": 3}, TypeError, r"^monitor must be a name such as 'val_loss', got 3$"),
        ({"monitor": "loss", "every_steps": 5}, ValueError, r"^give monitor or every_steps, not both"),
        ({"mode": "best"}, ValueError, r"^mode 'best' is unknown"),
    ):
        with pytest.raises(error, match=match):
            cr.Checkpoint(tmp_path / "x.npz", **settings)
    with pytest.raises(OSError):
        compiled().fit(*small(), callbacks=[cr.Checkpoint(tmp_path / "no folder" / "x.npz")])


def test_best_weights_after_a_loss_that_is_not_finite(tmp_path):
    """on_nan="raise" leaves the weights of the best epoch if EarlyStopping knows them."""
    x, y = small()
    model, kept = compiled(optimizer=cr.SGD(0.1), loss="squared_error"), []

    def spoil(epoch, logs):
        kept.append(weight_bits(model))
        if epoch == 2:
            model.optimizer.learning_rate = 1e200

    callbacks = [cr.LambdaCallback(on_epoch_end=spoil), cr.EarlyStopping("loss")]
    with pytest.raises(FloatingPointError, match=r"^the loss is (nan|inf) in epoch 3, step \d"):
        model.fit(x, np.eye(3)[y], epochs=9, batch_size=BATCH, on_nan="raise", callbacks=callbacks)
    assert len(kept) == 3 and weight_bits(model) == kept[2]


FLAWS = {
    "no dict": (lambda run: [], "run is not the description of a training run"),
    "a missing key": (lambda run: {k: v for k, v in run.items() if k != "stop"}, "run is not the description"),
    "negative epochs": (lambda run: {**run, "epoch": -1}, "epoch must be an integer >= 0"),
    "no rows": (lambda run: {**run, "n_rows": 0}, "n_rows must be an integer >= 1"),
    "no losses": (lambda run: {**run, "losses": 3}, "losses of the run must be a vector of float64"),
    "a far array": (lambda run: {**run, "losses": {"array": 99}}, "array must be an integer >= 0 and <="),
    "few steps": (lambda run: {**run, "batch_size": 1000}, "run is not the description of a training run"),
    "a later epoch": (lambda run: {**run, "first_step": 7}, r"the run has losses of \d steps after step 7, the model"),
    "no pairs": (lambda run: {**run, "callbacks": [["a"]]}, "callbacks of the run must be pairs"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_files_whose_run_has_a_flaw(flaw, tmp_path):
    from test_io_layers import edited

    change, match = FLAWS[flaw]
    path = tmp_path / "model.npz"
    stopped_at(6).save(path)
    edited(path, lambda description: description.update(run=change(description["run"])))
    with pytest.raises(ValueError, match=f"is not a sound chainrule model file: {match}"):
        cr.load(path)


def test_files_of_the_first_format_still_load(tmp_path):
    path = tmp_path / "model.npz"
    model = compiled(optimizer="adam")
    model.train_step(*small())
    model.save(path)
    with np.load(path) as file:
        assert json.loads(file["model.json"])["version"] == 2

    def back(description):
        for name in ("widths", "update_dtype", "run", "run_arrays"):
            del description[name]
        description["version"] = 1

    from test_io_layers import edited

    edited(path, back)
    assert state(cr.load(path)) == state(model)


@pytest.mark.parametrize("through_a_file", [False, True])
def test_a_finished_run_that_is_resumed_still_knows_its_best_weights(through_a_file, tmp_path):
    """The best epoch was in the first part: what EarlyStopping restores at the end of the second is that."""
    x, y = data()
    loss = {"values": [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]}  # of each epoch, as the callback is told

    class Told(cr.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            super().on_epoch_end(epoch, {**logs, "told": loss["values"][epoch]})
            if epoch == 1:
                loss["best"] = self.model.get_weights()

    model = compiled([cr.Dense(7, "relu"), cr.Dense(3)], "adam", n_in=N_IN)
    model.fit(x, y % 3, epochs=4, callbacks=[Told("told", patience=9, mode="min")])
    if through_a_file:
        model.save(tmp_path / "run.npz")
        model = cr.load(tmp_path / "run.npz")
    stopping = Told("told", patience=9, mode="min")
    model.fit(x, y % 3, epochs=6, callbacks=[stopping], resume=True)
    assert (stopping.best, stopping.best_epoch) == (1.0, 1)
    for got, best in zip(model.get_weights(), loss["best"], strict=True):
        np.testing.assert_array_equal(got, best)


def test_a_run_that_is_resumed_without_restoring_keeps_its_last_weights():
    x, y = data()
    model = compiled([cr.Dense(7, "relu"), cr.Dense(3)], "adam", n_in=N_IN)
    twin = compiled([cr.Dense(7, "relu"), cr.Dense(3)], "adam", n_in=N_IN)
    with pytest.raises(Stop):
        model.fit(x, y % 3, epochs=9, callbacks=[cr.EarlyStopping("loss", mode="max", patience=9), StopAt(epoch=3)])
    stopping = cr.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=False)
    model.fit(x, y % 3, epochs=9, callbacks=[stopping], resume=True)
    twin.fit(x, y % 3, epochs=9)
    assert stopping.best_epoch == 0 and weight_bits(model) == weight_bits(twin)
