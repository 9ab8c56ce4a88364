"""Models with layers written in Python as files, pickles and copies: by the name of the class, without its code."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest
from models import compiled, everything, state, weight_bits

import chainrule as cr

N_ROWS, N_IN, N_OUT = 21, 5, 4


class Scale(cr.Layer):
    """y = x * scale, with one parameter a column; `offset` is a setting."""

    def __init__(self, offset=0.0, *, tags=()):
        self.offset, self.tags = offset, tags

    def build(self, n_in):
        self.parameters = [np.full(n_in, 1.5, self.dtype)]
        self.gradients = [np.zeros(n_in, self.dtype)]
        return n_in

    def forward(self, x, training=False):
        self.x = x
        return x * self.parameters[0] + self.dtype.type(self.offset)

    def backward(self, dy):
        self.gradients[0][...] = (dy * self.x).sum(axis=0)
        return dy * self.parameters[0]


class Double(Scale):
    """The same in float64 whatever the model's dtype is."""

    def build(self, n_in):
        self.dtype = np.dtype(np.float64)
        return super().build(n_in)


class Own(cr.Dense):
    """A subclass of a native layer runs as Python code, too."""


class Forgets(cr.Layer):
    def __init__(self, rate):
        pass


class Configured(Forgets):
    def get_config(self):
        return {"rate": 0.5}


class Lists(cr.Layer):
    def get_config(self):
        return []


OWN = {kind.__name__: kind for kind in (Scale, Double, Own)}


@pytest.fixture
def data(rng):
    return rng.normal(size=(N_ROWS, N_IN)), np.arange(N_ROWS) % N_OUT


def layers():
    return [
        Own(7, ("leaky_relu", 0.2), l2=0.01, weight_initializer="he_normal"), Scale(0.25, tags=["a", {"b": 2}]),
        cr.BatchNorm(), *everything()[:4], Double(), cr.Dense(N_OUT, l1=0.001),
    ]  # fmt: skip


def from_file(model, tmp_path):
    model.save(tmp_path / "model.npz")
    return cr.load(tmp_path / "model.npz", custom_objects=OWN)


WAYS = {
    "file": from_file,
    "pickle": lambda model, tmp_path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, tmp_path: copy.deepcopy(model),
}
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_training_goes_on_with_the_same_bits(way, optimizer, dtype, data, tmp_path):
    model = compiled(layers(), optimizer, metrics=["accuracy"], n_in=N_IN, n_out=N_OUT, dtype=dtype)
    model.fit(*data, epochs=2, batch_size=6)
    other = WAYS[way](model, tmp_path)
    assert state(other) == state(model) and repr(other.layers[0]) == repr(model.layers[0])
    assert other.layers[1].offset == 0.25 and list(other.layers[1].tags) == ["a", {"b": 2}]
    assert [type(layer) for layer in other.layers] == [type(layer) for layer in model.layers]
    assert other.predict(data[0]).tobytes() == model.predict(data[0]).tobytes()
    for one in (model, other):
        one.fit(*data, epochs=4, initial_epoch=2, batch_size=6)
    assert state(other) == state(model) and other.history.history == model.history.history


@each_way
def test_models_that_are_not_built(way, tmp_path):
    model = cr.Sequential(layers(), seed=4)
    other = WAYS[way](model, tmp_path)
    for one in (model, other):
        one.build(N_IN)
    assert not any(
        np.shares_memory(a, b) for a, b in zip(model._all_parameters(), other._all_parameters(), strict=True)
    )
    assert weight_bits(other) == weight_bits(model)


def test_a_file_names_the_code_that_it_needs(data, tmp_path):
    path = tmp_path / "model.npz"
    compiled(layers(), n_in=N_IN).save(path)
    with pytest.raises(
        ValueError, match=r"layer 0 is of the class Own, whose code is not in the file: give load\(\.\.\., "
    ):
        cr.load(path)
    with pytest.raises(ValueError, match=r"custom_objects=\{'Scale': Scale\}\)$"):
        cr.load(path, custom_objects={"Own": Own, "Double": Double})
    for bad, match in (
        ([Scale], r"^custom_objects must be a dict name -> class, got \["),
        ({"Scale": print}, r"^custom_objects\['Scale'\] must be a class of layers, got <built-in"),
        ({"Scale": int}, r"^custom_objects\['Scale'\] must be a class of layers, got <class 'int'>"),
    ):
        with pytest.raises(TypeError, match=match):
            cr.load(path, custom_objects=bad)


@each_way
def test_layers_that_cannot_be_described(way, tmp_path):
    cannot = "cannot be written to a file" if way == "file" else "cannot be copied, pickled or written to a file"
    for layer, match in (
        (Forgets(0.5), rf"^Forgets {cannot}: its argument rate is not kept in an attribute of that name"),
        (Scale(np.ones(3)), rf"^Scale with the configuration .* {cannot}: array\(.*is not a number,"),
        (Lists(), r"^get_config of Lists must return a dict, got \[\]$"),
        (Scale(print), rf"^Scale with the configuration .* {cannot}: <built-in function print>"),
    ):
        with pytest.raises(TypeError, match=match):
            WAYS[way](cr.Sequential([layer]), tmp_path)
    assert list(tmp_path.iterdir()) == []
    model = cr.Sequential([Configured(0.5)])
    model.save(tmp_path / "model.npz")
    assert type(cr.load(tmp_path / "model.npz", custom_objects={"Configured": Configured}).layers[0]) is Configured


def test_two_classes_of_one_name(tmp_path):
    other = type("Scale", (Scale,), {})
    with pytest.raises(TypeError, match=r"^the model has layers of two classes named Scale; rename one of them$"):
        cr.Sequential([Scale(), other()]).save(tmp_path / "model.npz")


def test_a_custom_class_cannot_take_the_place_of_a_native_one(tmp_path):
    model = cr.Sequential([cr.Dense(2)])
    model.save(tmp_path / "model.npz")
    assert type(cr.load(tmp_path / "model.npz", custom_objects={"Dense": Scale}).layers[0]) is cr.Dense


def edited(path, change):
    """Rewrite the description in a model file."""
    with np.load(path) as file:
        members = {name: file[name] for name in file.files if name != "model.json"}
        description = json.loads(file["model.json"])
    change(description)
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", json.dumps(description))
        for name, values in members.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, version=(1, 0))


@pytest.mark.parametrize(("change", "match"), [
    (lambda d: d["layers"][-1].update(units=10**9), r"the layers need at least \d+ parameters, there are"),
    (lambda d: d["layers"][0]["config"].update(units=8), r"layer 0 \(Own\) has 8 outputs, expected 7"),
    (lambda d: d["layers"][1]["config"].update(colour=1), "unexpected keyword argument 'colour'"),
    (lambda d: d["layers"][1].update(extra=1), "layer 1 is not the description of a layer"),
    (lambda d: d["layers"][1].update(config=[1]), "layer 1 is not the description of a layer"),
    (lambda d: d.update(widths=None), "widths must be a list of one width more"),
    (lambda d: d.update(widths=[5] + ["a"] * 9), "widths must be an integer"),
    (lambda d: d.update(n_in=6), "widths begin with 5, n_in is 6"),
    (lambda d: d["widths"].__setitem__(8, 1), r"layer 7 \(Double\) has 12 outputs, expected 1"),
    (lambda d: d.update(update_dtype="float32"), "parameters begins with .*<f8.*expected .*<f4"),
], ids=str)  # fmt: skip
def test_flawed_descriptions(change, match, tmp_path):
    path = tmp_path / "model.npz"
    model = compiled(layers(), "adam", n_in=N_IN, dtype="float32")
    model.save(path)
    edited(path, lambda description: None)
    assert state(cr.load(path, custom_objects=OWN)) == state(model)
    edited(path, change)
    with pytest.raises(ValueError, match=f"is not a sound chainrule model file: .*({match})"):
        cr.load(path, custom_objects=OWN)


WIDE = {"type": "Dense", "units": 2000}


@pytest.mark.parametrize("lie", [
    {"n_in": 10**6},
    {"layers": [WIDE, {"type": "Scale", "config": {}}, WIDE], "widths": [1, 2000, 1, 2000]},
], ids=", ".join)  # fmt: skip
def test_a_lie_about_widths_costs_no_memory(lie, tmp_path):
    """Layers are built for the widths that the size of the file was compared with, or not at all."""
    path = tmp_path / "model.npz"
    compiled([cr.Dense(2000), Scale(), cr.Dense(1)], n_in=1, n_out=1).save(path)
    edited(path, lambda description: description.update(lie))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is not a sound chainrule model file"):
            cr.load(path, custom_objects=OWN)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
