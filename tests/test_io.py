"""Models as files, pickles and copies: what comes back predicts and trains on with the same bits."""

import copy
import io
import json
import os
import pickle
import re
import stat
import threading
import zipfile

import numpy as np
import pytest
from models import OPTIMIZERS, everything, state, weight_bits
from tools import same_bits_on_every_isa

import chainrule as cr

N_ROWS, N_IN, N_OUT = 21, 5, 4


@pytest.fixture
def data(rng):
    return rng.normal(size=(N_ROWS, N_IN)), np.arange(N_ROWS) % N_OUT


def trained(data, optimizer="adam", dtype="float32", layers=None, loss="softmax_cross_entropy", epochs=2):
    model = cr.Sequential(layers or everything(), seed=2**63 + 5, dtype=dtype)
    model.compile(OPTIMIZERS[optimizer](), loss, ["accuracy", ("top_k_accuracy", {"k": 2})])
    model.fit(*data, epochs=epochs, batch_size=6)
    return model


def saved(model, tmp_path):
    model.save(tmp_path / "model.npz")
    return cr.load(tmp_path / "model.npz")


WAYS = {
    "file": saved,
    "pickle": lambda model, tmp_path: pickle.loads(pickle.dumps(model)),
    "old pickle": lambda model, tmp_path: pickle.loads(pickle.dumps(model, protocol=2)),
    "deepcopy": lambda model, tmp_path: copy.deepcopy(model),
}
each_way = pytest.mark.parametrize("way", WAYS)


# -- there and back ----------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_with_the_same_bits(way, optimizer, dtype, data, tmp_path):
    model = trained(data, optimizer, dtype)
    other = WAYS[way](model, tmp_path)
    assert state(other) == state(model) and repr(other) == repr(model)
    assert other.predict(data[0]).tobytes() == model.predict(data[0]).tobytes()
    assert other.evaluate(*data) == model.evaluate(*data)
    for one in (model, other):
        one.fit(*data, epochs=4, initial_epoch=2, batch_size=6)
        one.train_step(*data)
        one.forward(data[0], training=True)
    assert state(other) == state(model)
    assert other.history.history == model.history.history
    assert not any(
        np.shares_memory(a, b) for a, b in zip(model._all_parameters(), other._all_parameters(), strict=True)
    )


@each_way
def test_models_that_are_not_built_or_not_compiled(way, data, tmp_path):
    unbuilt = WAYS[way](cr.Sequential(everything(), seed=3), tmp_path)
    assert not unbuilt.built and unbuilt.loss is None
    model = cr.Sequential(everything(), seed=3)
    model.build(N_IN)
    built = WAYS[way](model, tmp_path)
    unbuilt.build(N_IN)
    assert weight_bits(built) == weight_bits(model) == weight_bits(unbuilt)
    compiled = cr.Sequential(everything(), seed=3)
    compiled.compile("adam", cr.losses.SoftmaxCrossEntropy(0.1))
    other = WAYS[way](compiled, tmp_path)
    for one in (compiled, other):
        one.fit(*data)
    assert state(other) == state(compiled)


@each_way
def test_settings_survive(way, tmp_path):
    """Everything that can be set, off its default."""
    layers = [
        cr.Dense(7, ("leaky_relu", 0.3), use_bias=False, l1=0.1, l2=0.2, weight_initializer="orthogonal"),
        cr.Activation("celu", 0.5), cr.Dropout(0.125), cr.BatchNorm(1e-3, 0.75), cr.LayerNorm(1e-2),
        cr.Dense(2, weight_initializer=cr.initializers.Normal(0.3), bias_initializer=0.5),
        cr.Dense(3, weight_initializer=np.ones((2, 3)), bias_initializer=lambda shape, random: np.ones(shape)),
    ]  # fmt: skip
    for loss in (cr.losses.Huber(0.3), cr.losses.Quantile(0.2), cr.losses.SigmoidCrossEntropy(0.1, 2.0)):
        model = cr.Sequential(layers, seed=7, dtype="float64")
        model.compile(cr.Adam(0.1, 0.8, 0.9, 1e-4, 0.2, 1.5, 2.5), loss, [("accuracy", {"threshold": 0.3})])
        model.build(4)
        other = WAYS[way](model, tmp_path)
        assert (
            repr(other.optimizer)
            == repr(model.optimizer)
            == (
                "Adam(learning_rate=0.1, beta_1=0.8, beta_2=0.9, epsilon=0.0001, weight_decay=0.2,"
                " clip_norm=1.5, clip_value=2.5)"
            )
        )
        assert repr(other.loss) == repr(model.loss) and other.metrics[0].options == {"threshold": 0.3}
        assert [repr(layer) for layer in other.layers[:-1]] == [repr(layer) for layer in model.layers[:-1]]
        assert weight_bits(other) == weight_bits(model)
        layers = [type(layer)(**{n: getattr(layer, n) for n in layer._settings}) for layer in layers]


def test_python_functions_go_into_copies_but_not_into_files(data, tmp_path):
    model = cr.Sequential([cr.Dense(N_OUT)])
    model.compile(cr.SGD(rate), own_loss, [own_metric])
    model.fit(*data)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.loss.function is own_loss and other.metrics[0].function is own_metric
        one = copy.deepcopy(model)
        for each in (one, other):
            each.fit(*data, epochs=3)
        assert state(one)[:3] == state(other)[:3]
    path = tmp_path / "model.npz"
    for settings, match in (
        ((cr.SGD(0.1), own_loss), "^the loss own_loss is a Python function, which"),
        ((cr.SGD(0.1), "squared_error", [own_metric]), "^the metric <function own_metric .*"),
        ((cr.SGD(rate), "squared_error"), "^function=<function rate .* of Custom"),
    ):
        model.compile(*settings)
        with pytest.raises(TypeError, match=match + " cannot be written to a file; include_optimizer=False leaves out"):
            model.save(path)
        assert os.listdir(tmp_path) == []
        model.save(path, include_optimizer=False)
        assert cr.load(path).predict(data[0]).tobytes() == model.predict(data[0]).tobytes()
        path.unlink()


def rate(step):
    return 0.1 / (1 + step)


def own_loss(prediction, target):
    return float((prediction**2).mean()), prediction / len(prediction)


def own_metric(y_true, y_pred):
    return 1.0


@pytest.mark.parametrize("native", [True, False])
def test_without_the_optimizer(native, dtype, data, tmp_path):
    """The model before it was compiled, with the weights and running statistics it has now."""
    layers = everything() if native else [*everything(), Own(N_OUT)]
    model = trained(data, dtype=dtype, layers=layers)
    assert model._run is not None
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    model.save(whole)
    model.save(bare, include_optimizer=False)
    assert np.load(whole)["parameters"].nbytes * 2 < whole.stat().st_size - bare.stat().st_size
    assert sorted(np.load(bare)) == ["model.json", "parameters", "running"]
    other = cr.load(bare, custom_objects={} if native else {"Own": Own})
    assert other.optimizer is None and other.loss is None and not other.metrics and other._run is None
    assert weight_bits(other) == weight_bits(model)
    assert other.predict(data[0]).tobytes() == model.predict(data[0]).tobytes()
    with pytest.raises(RuntimeError, match="compile"):
        other.fit(*data)
    for one in (model, other):
        one.compile("adam", "softmax_cross_entropy", ["accuracy"])
        one.fit(*data, epochs=2, batch_size=6)
    assert state(other) == state(model)


@pytest.mark.parametrize("value", [0, None, "no", 1.0])
def test_include_optimizer_is_a_bool(value, data, tmp_path):
    with pytest.raises(TypeError, match=r"^include_optimizer must be True or False"):
        trained(data).save(tmp_path / "model.npz", include_optimizer=value)
    assert os.listdir(tmp_path) == []


# -- the file ------------------------------------------------------------------------------------------------------


def test_numpy_can_open_the_file(data, tmp_path):
    model = trained(data)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert file["parameters"].tobytes() == model.parameters.tobytes()
        assert sorted(file.files) == ["model.json", "parameters", "running", "state_0", "state_1"]
        assert json.loads(file["model.json"])["n_in"] == N_IN


def test_the_file_is_the_same_on_every_isa(data, tmp_path):
    def arrays():
        trained(data).save(tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz") as file:
            return tuple(file[name] for name in ("parameters", "running", "state_0", "state_1"))

    same_bits_on_every_isa(arrays)


def test_saving_replaces_an_older_file_in_one_step(data, tmp_path):
    path = tmp_path / "a model"
    model = trained(data)
    model.save(path)
    before = path.read_bytes()
    model.train_step(*data)
    if os.name == "posix":
        os.chmod(path, 0o640)
    model.save(str(path))
    assert path.read_bytes() != before and os.listdir(tmp_path) == ["a model"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    kept = path.read_bytes()
    model.compile("sgd", own_loss)
    with pytest.raises(TypeError):
        model.save(path)
    assert path.read_bytes() == kept and os.listdir(tmp_path) == ["a model"]
    with pytest.raises(OSError):
        trained(data).save(tmp_path / "no folder" / "model.npz")
    with pytest.raises(OSError):
        trained(data).save(tmp_path)
    assert os.listdir(tmp_path) == ["a model"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_stays_a_link(there, data, tmp_path):
    """What it leads to is replaced, through links of links and of folders, by `save` and by `Checkpoint`."""
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "model.npz").symlink_to(os.path.join("folder", "link.npz"))
    (tmp_path / "real" / "link.npz").symlink_to("run-1.npz")
    if there:
        (tmp_path / "real" / "run-1.npz").write_bytes(b"old")
    model = trained(data)
    model.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").is_symlink() and (tmp_path / "real" / "link.npz").is_symlink()
    assert sorted(os.listdir(tmp_path / "real")) == ["link.npz", "run-1.npz"]
    assert state(cr.load(tmp_path / "real" / "run-1.npz")) == state(model)
    model.fit(*data, epochs=4, callbacks=[cr.Checkpoint(tmp_path / "model.npz")])
    assert (tmp_path / "model.npz").is_symlink()
    assert cr.load(tmp_path / "real" / "run-1.npz").parameters.tobytes() == model.parameters.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_that_lead_nowhere_are_refused(data, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("no folder/c")
    for name in ("a", "c"):
        with pytest.raises(OSError) as caught:
            trained(data).save(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


def test_errors_name_the_path_that_was_given(data, tmp_path, monkeypatch):
    """Never that of the temporary file."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("a folder")
    model = trained(data)
    for path, error in (
        (".", IsADirectoryError), ("a folder", IsADirectoryError), ("new/", IsADirectoryError),
        ("", FileNotFoundError), ("no folder/model.npz", FileNotFoundError),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            model.save(path)
        assert (caught.value.filename, caught.value.filename2) == (path, None)
    monkeypatch.setattr(os, "replace", lambda *names: os.rename("no such file", names[1]))
    with pytest.raises(FileNotFoundError) as caught:
        model.save("model.npz")
    assert (caught.value.filename, caught.value.filename2) == ("model.npz", None)
    assert os.listdir() == ["a folder"]


def test_saving_during_fit(data, tmp_path):
    """A checkpoint at every epoch, as a callback writes it."""
    model, copies = cr.Sequential(everything(), seed=4), []
    model.compile("adam", "softmax_cross_entropy")

    def keep(epoch, logs):
        model.save(tmp_path / f"{epoch}.npz")
        copies.append(copy.deepcopy(model))

    model.fit(*data, epochs=4, batch_size=6, callbacks=[cr.LambdaCallback(on_epoch_end=keep)])
    for epoch in range(4):
        for one in (cr.load(tmp_path / f"{epoch}.npz"), copies[epoch]):
            one.fit(*data, epochs=4, initial_epoch=epoch + 1, batch_size=6)
            assert state(one) == state(model)


# -- files that are not sound ----------------------------------------------------------------------------------------


@pytest.fixture
def good(data, tmp_path):
    """(path, bytes) of a sound file."""
    path = tmp_path / "model.npz"
    trained(data, epochs=1).save(path)
    return path, path.read_bytes()


def assert_refused(path, match=""):
    name = re.escape(repr(str(path)))  # on Windows it has backslashes
    with pytest.raises(ValueError, match=f"^{name} is not a sound chainrule model file: .*{match}"):
        cr.load(path)


def test_truncated_files(good):
    path, whole = good
    for n in (0, 1, 10, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:n])
        assert_refused(path)
    path.write_bytes(whole)
    cr.load(path)


def test_flipped_bytes(good, rng):
    """Every byte that the checksums or the layout cover: refused, or what was loaded is whole all the same."""
    path, whole = good
    expected = state(cr.load(path))
    refusals = 0
    for i in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x40]) + whole[i + 1 :])
        try:
            assert state(cr.load(path)) == expected
        except ValueError as error:
            assert "is not a sound chainrule model file" in str(error)
            refusals += 1
    assert refusals > 120


def test_foreign_files(tmp_path, data):
    path = tmp_path / "foreign"
    path.write_text("not a zip at all")
    assert_refused(path, "File is not a zip file")
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    assert_refused(tmp_path / "foreign.npz", "model.json is missing")
    np.savez_compressed(tmp_path / "packed.npz", a=np.ones(3))
    assert_refused(tmp_path / "packed.npz", "a.npy is compressed")
    whole = bytearray((tmp_path / "foreign.npz").read_bytes())
    whole[whole.rindex(b"PK\x01\x02") + 8] |= 1  # the member's flags in the directory
    path.write_bytes(whole)
    assert_refused(path, "a.npy is encrypted")
    path.write_bytes(pickle.dumps(trained(data)))
    assert_refused(path)
    with pytest.raises(FileNotFoundError):
        cr.load(tmp_path / "nothing here")
    with pytest.raises(OSError):
        cr.load(tmp_path)


def rewritten(whole, change):
    """The file with its members changed by `change(members)`, a dict of name -> bytes."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def edit(**changes):
    def change(members):
        members["model.json"] = json.dumps({**json.loads(members["model.json"]), **changes}).encode()

    return change


def edit_layer(index, **changes):
    def change(members):
        description = json.loads(members["model.json"])
        description["layers"][index].update(changes)
        members["model.json"] = json.dumps(description).encode()

    return change


def array(name, values):
    def change(members):
        out = io.BytesIO()
        np.lib.format.write_array(out, values, allow_pickle=True)
        members[name] = out.getvalue()

    return change


BAD_FILES = {
    "another format": (edit(format="other"), "not the description of a chainrule model"),
    "a later version": (edit(version=3), "format version 3 is not known"),
    "another version": (edit(version=1), "not the description"),
    "an extra key": (edit(extra=1), "not the description"),
    "no layers": (edit(layers=[]), "layers must hold at least one layer"),
    "layers that are no list": (edit(layers={"a": 1}), "layers must be a list"),
    "an unknown layer": (edit(layers=[{"type": "Conv"}]), "type of layer 0 'Conv' is unknown"),
    "code as a layer": (edit(layers=[{"type": "os.system"}]), "is unknown"),
    "an unknown setting": (edit_layer(0, colour="red"), "setting of Dense 'colour' is unknown"),
    "a bad setting": (edit_layer(0, units=-1), "units must be an integer >= 1, got -1"),
    "an array as an initializer": (edit_layer(0, bias_initializer=[]), "layer 0 has an array as an initializer"),
    "another width": (edit_layer(0, units=13), r"'shape': \(262,\).*expected .*\(279,\)"),
    "a gigantic width": (edit_layer(0, units=2**40), "expected|not a sound network"),
    "a bad dtype": (edit(dtype="float16"), "dtype must be float32 or float64"),
    "another dtype": (edit(dtype="float64"), "update_dtype is float32, expected float64"),
    "both dtypes": (edit(dtype="float64", update_dtype="float64"), r"parameters begins with .*<f4.*, expected .*<f8"),
    "a bad seed": (edit(seed=-1), "seed must be an integer"),
    "a bad n_in": (edit(n_in="5"), "n_in must be an integer"),
    "negative steps": (edit(steps=-1), "steps must be an integer >= 0"),
    "huge steps": (edit(steps=2**63), "steps must be an integer >= 0"),
    "huge forwards": (edit(forwards=2**63), "forwards must be an integer >= 0"),
    "an unknown optimizer": (edit(optimizer={"type": "Lion"}), "type of optimizer 'Lion' is unknown"),
    "an unknown loss": (edit(loss={"type": "Mine"}), "type of loss 'Mine' is unknown"),
    "an unknown metric": (edit(metrics=["mine"]), "metric 'mine' is unknown"),
    "a bad schedule state": (edit(schedule={"rate": 1}), "has no state"),
    "no description": (lambda members: members.pop("model.json"), "model.json is missing"),
    "no json": (lambda members: members.update({"model.json": b"{"}), ""),
    "nested json": (lambda members: members.update({"model.json": b"[" * 100_000}), ""),
    "a missing array": (lambda members: members.pop("state_1.npy"), "it holds"),
    "a foreign member": (lambda members: members.update(evil=b"x"), "it holds"),
    "a longer array": (array("running.npy", np.zeros(25, "f4")), r"'shape': \(25,\).*expected .*\(24,\)"),
    "another shape": (array("running.npy", np.zeros((1, 24), "f4")), r"'shape': \(1, 24\).*expected .*\(24,\)"),
    "pickled objects": (array("running.npy", np.array([print] * 3)), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
def test_files_with_a_flaw(kind, good):
    path, whole = good
    change, match = BAD_FILES[kind]
    path.write_bytes(rewritten(whole, lambda members: None))
    cr.load(path)
    path.write_bytes(rewritten(whole, change))
    assert_refused(path, match)


def test_a_name_that_occurs_twice(good):
    path, _ = good
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("running.npy", b"")
    assert_refused(path, "a name occurs twice")


def test_a_copy_is_independent(data):
    """Copies are independent of the model: both may train at once."""
    model = trained(data)
    other = copy.deepcopy(model)
    threads = [threading.Thread(target=one.fit, args=data, kwargs={"epochs": 20}) for one in (model, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert state(model) == state(other)


def test_a_path_may_be_bytes(data, tmp_path):
    model = cr.Sequential([cr.Dense(3)])
    model.build(4)
    path = os.fsencode(tmp_path / "model.npz")
    model.save(path)
    assert weight_bits(cr.load(path)) == weight_bits(model)
    assert cr.Checkpoint(path).path == os.fsdecode(path)


def test_a_folder_that_is_not_there_is_named_as_it_was_given(tmp_path):
    model = cr.Sequential([cr.Dense(3)])
    path = tmp_path / "missing" / "model.npz"
    with pytest.raises(FileNotFoundError) as error:
        model.save(path)
    assert error.value.filename == str(path)


class Slower(cr.schedules.Schedule):
    def values(self, first_step, n):
        return 0.1 / (1.0 + np.arange(first_step, first_step + n))


class Half(cr.SGD):
    def __init__(self, learning_rate=0.05):
        super().__init__(learning_rate)


class Wide(cr.losses.Huber):
    def __init__(self, delta=3.0):
        super().__init__(delta)


class Ones(cr.initializers.Constant):
    pass


class Own(cr.Dense):
    """A subclass of a native layer runs as Python code."""


@pytest.mark.parametrize(("optimizer", "loss"), [
    (cr.SGD(Slower()), "squared_error"), (Half(), "squared_error"), ("sgd", Wide()),
])  # fmt: skip
def test_classes_derived_from_ours_go_into_copies_but_not_into_files(optimizer, loss, data, tmp_path):
    x, y = data[0], data[0][:, :3]
    model = cr.Sequential([cr.Dense(3)])
    model.compile(optimizer, loss)
    model.fit(x, y, epochs=2, batch_size=4)
    with pytest.raises(TypeError, match=r"of your own, whose code cannot be written to a file; include"):
        model.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())
    models = [model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for one in models:
        one.fit(x, y, batch_size=4)
    assert state(models[0]) == state(models[1]) == state(models[2])
    assert cr.check_gradients(model, x[:5], y[:5]).max_error < 1e-6


def test_an_initializer_of_ones_own_is_needed_until_the_weights_are_there(tmp_path):
    model = cr.Sequential([cr.Dense(3, weight_initializer=Ones(1.0))])
    with pytest.raises(TypeError, match=r"^Ones\(.* is of a class of your own"):
        model.save(tmp_path / "model.npz")
    model.build(2)
    model.save(tmp_path / "model.npz")
    assert weight_bits(cr.load(tmp_path / "model.npz")) == weight_bits(model)
