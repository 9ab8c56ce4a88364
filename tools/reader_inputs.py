"""What fuzz_reader.py feeds to the reader of model files, and what must hold. Apart, so that tests need no atheris.

An input is a kind and bytes: a whole file, or the description of a model that is then wrapped into an otherwise sound
file, or an array's bytes in such a file, so that the fuzzer need not guess checksums. Loading must end in a ValueError
or in a model that predicts, and that saves and loads as itself.
"""

import contextlib
import copy
import io
import json
import math
import zipfile

import numpy as np

import chainrule as cr
from chainrule.io.state import _measure_between, expected_arrays, restore

WHOLE, DESCRIPTION, ARRAY = range(3)
LARGEST = 10_000  # elements of an array that is made up for a description, columns of a model that predicts


class Pass(cr.Layer):
    """y = x, in Python. It has no parameters: how many a file needs, its native layers say."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


CODE = {"layers": {"Pass": Pass}}


class Stop(cr.Callback):
    """Ends fit within its second epoch, as a signal may."""

    def on_epoch_begin(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, step, loss):
        if self.epoch == 1 and step == 2:
            raise KeyboardInterrupt


def models():
    """One of each kind of thing that a file can hold."""
    layers = [
        [cr.Dense(2, "relu")],
        [cr.Dense(2, "elu", l1=0.1), cr.BatchNorm(), cr.Dropout(0.1), cr.LayerNorm(), cr.Activation("softmax")],
        [cr.Dense(1, weight_initializer=cr.initializers.HeNormal(), bias_initializer="ones")],
        [cr.Dense(2), Pass(), cr.BatchNorm()],
    ]
    rates = [0.1, cr.schedules.Cosine(0.1, 5), cr.schedules.Step(0.1, 5), cr.schedules.OneCycle(0.1, 5)]
    makers = [cr.SGD, cr.Adam, cr.AdamW, cr.RMSprop, cr.Adagrad]
    for i, maker in enumerate(makers):
        model = cr.Sequential(copy.deepcopy(layers[i % 4]), seed=i, dtype=("float32", "float64")[i % 2])
        model.compile(maker(rates[i % 4]), [cr.losses.Huber(0.5), "mean_squared_error"][i % 2], ["mean_absolute_error"])
        if i < 4:
            model.build(2)
        yield model
    model = cr.Sequential([cr.Dense(1)], seed=5)
    model.compile(cr.SGD(cr.schedules.ReduceOnPlateau(0.1, "loss")), "mean_squared_error")
    with contextlib.suppress(KeyboardInterrupt):  # which leaves a run that can go on
        callbacks = [cr.EarlyStopping("loss"), Stop()]
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, batch_size=1, callbacks=callbacks)
    yield model


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def wrapped(members):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return whole.getvalue()


def as_npy(array):
    member = io.BytesIO()
    np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return member.getvalue()


def around(text):
    """A file that is sound but for its description."""
    members = {"model.json": text}
    try:
        description = json.loads(text)
        for name, (dtype, shape) in expected_arrays(description, CODE).items():
            if shape == (-1,):  # any number, as Python layers may have parameters: ours has none
                shape = (_measure_between(description, restore(description, {}, CODE))[0],)
            if math.prod(shape) <= LARGEST:
                members[f"{name}.npy"] = as_npy(np.ones(shape, dtype.newbyteorder("<")))
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        pass  # no sound description: load must see that, too, and say ValueError
    return wrapped(members)


def load(path):
    return cr.load(path, custom_objects=CODE["layers"])


def seeds(folder):
    """Inputs of every kind by name, and the members of the sound file that arrays are put into.

    Made with a proof that the fuzzer gets past descriptions: wrapped, each is a file of the model that it describes.
    """
    inputs, sound, path = {}, {}, folder / "seed.npz"
    for i, model in enumerate(models()):
        model.save(path)
        members = members_of(path)
        description = json.loads(members["model.json"])
        inputs[f"whole-{i}"] = bytes([WHOLE]) + path.read_bytes()
        inputs[f"description-{i}"] = bytes([DESCRIPTION]) + json.dumps(description).encode()
        if model.built:
            sound = members
            path.write_bytes(around(json.dumps(description)))
            load(path).save(path)
            assert json.loads(members_of(path)["model.json"]) == description
    inputs["array"] = bytes([ARRAY]) + sound["parameters.npy"]
    return inputs, sound


NUMBERS = [0, 1, 2, 3, -1, 2**31, 2**62, 2**64, 10**30, 0.5, -0.0, 1e308, math.nan, math.inf]
PLAIN = [*NUMBERS, None, True, False, "", [], {}, {"array": 0}]


def parts(value):
    """A value of JSON and all that is in it."""
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(item)


def changed(value, others, random):
    """`value` with one thing in it left out, doubled, or replaced by one of `others`, mostly by one of its type."""
    if not isinstance(value, (dict, list)) or not value or random.random() < 0.05:
        alike = [other for other in others if type(other) is type(value)]
        return random.choice(alike if random.random() < 0.7 else others)
    value, way = value.copy(), random.randrange(20)
    at = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if way == 0:
        del value[at]
    elif way == 1 and isinstance(value, list):
        value.insert(at, value[at])
    else:
        value[at] = changed(value[at], others, random)
    return value


def contents(data, sound):
    """The file that an input stands for."""
    kind = data[0] % 3 if data else WHOLE
    if kind == DESCRIPTION:
        return around(data[1:])
    if kind == ARRAY:
        return wrapped({**sound, "parameters.npy": data[1:]})
    return data[1:]


def check(content, path):
    """Load a file of this content, and do with the model what a user would do next; the model, or None if refused."""
    path.write_bytes(content)
    try:
        model = load(path)
    except ValueError:
        return None
    if model.built and model.n_in <= LARGEST:
        with np.errstate(all="ignore"):
            model.predict(np.ones((2, model.n_in)))
    model.save(path)
    whole = path.read_bytes()
    load(path).save(path)
    assert path.read_bytes() == whole, "a loaded model saves as another file"
    return model
