"""Fuzz the reader of model files, guided by coverage: python tools/fuzz_reader.py [seconds, default 20]

Wants the installed package and `pip install atheris`. An input is a whole file, or the description of a model that is
then wrapped into an otherwise sound file, or an array's bytes in such a file, so that the fuzzer need not guess
checksums. Loading must end in a ValueError or in a model that predicts, and that saves and loads as itself. A find is
left as crash-* in the folder it prints.
"""

import copy
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["chainrule", "zipfile", "numpy.lib._format_impl"]):
    import chainrule as cr
    from chainrule.io import state

WHOLE, DESCRIPTION, ARRAY = range(3)
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-reader-"))
PATH = FOLDER / "model.npz"
LARGEST = 10_000  # elements of an array that is made up for a description


def models():
    """One of each kind of thing that a file can hold."""
    layers = [
        [cr.Dense(2, "relu")],
        [cr.Dense(2, "elu", l1=0.1), cr.BatchNorm(), cr.Dropout(0.1), cr.LayerNorm(), cr.Activation("softmax")],
        [cr.Dense(1, weight_initializer=cr.initializers.HeNormal(), bias_initializer="ones")],
    ]
    rates = [0.1, cr.schedules.Cosine(0.1, 5), cr.schedules.Step(0.1, 5), cr.schedules.OneCycle(0.1, 5)]
    makers = [cr.SGD, cr.Adam, cr.AdamW, cr.RMSprop, cr.Adagrad]
    for i, maker in enumerate(makers):
        model = cr.Sequential(copy.deepcopy(layers[i % 3]), seed=i, dtype=("float32", "float64")[i % 2])
        model.compile(maker(rates[i % 4]), [cr.losses.Huber(0.5), "mean_squared_error"][i % 2], ["mean_absolute_error"])
        if i < 4:
            model.build(2)
        yield model


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
        for name, size in state.expected_sizes(description).items():
            if size <= LARGEST:
                members[f"{name}.npy"] = as_npy(np.full(size, 0.5, np.dtype(description["dtype"]).newbyteorder("<")))
    except Exception:
        pass  # no description at all: load must see that, too, and say ValueError
    return wrapped(members)


def contents(data):
    kind = data[0] % 3 if data else WHOLE
    if kind == DESCRIPTION:
        return around(data[1:])
    if kind == ARRAY:
        with zipfile.ZipFile(FOLDER / "sound.npz") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        return wrapped({**members, "parameters.npy": data[1:]})
    return data[1:]


def one_input(data):
    PATH.write_bytes(contents(data))
    try:
        model = cr.load(PATH)
    except ValueError:
        return
    if model.built:
        with np.errstate(all="ignore"):
            model.predict(np.ones((2, model.n_in)))
    model.save(PATH)
    whole = PATH.read_bytes()
    cr.load(PATH).save(PATH)
    assert PATH.read_bytes() == whole, "a loaded model saves as another file"


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    words = set()
    for i, model in enumerate(models()):
        model.save(FOLDER / "sound.npz")
        (corpus / f"whole-{i}").write_bytes(bytes([WHOLE]) + (FOLDER / "sound.npz").read_bytes())
        with zipfile.ZipFile(FOLDER / "sound.npz") as archive:
            text = archive.read("model.json")
            (corpus / f"description-{i}").write_bytes(bytes([DESCRIPTION]) + json.dumps(json.loads(text)).encode())
            if "parameters.npy" in archive.namelist():
                (corpus / f"array-{i}").write_bytes(bytes([ARRAY]) + archive.read("parameters.npy"))
                (FOLDER / "sound.npz").replace(FOLDER / "built.npz")
        words |= {word for word in text.decode().split('"') if word.replace("_", "").isalnum()}
    (FOLDER / "built.npz").replace(FOLDER / "sound.npz")
    (FOLDER / "words").write_text("".join(f'"\\"{word}\\""\n' for word in sorted(words)))
    print(f"finds, if any: {FOLDER}/crash-*")
    options = {
        "max_total_time": seconds, "max_len": 4096, "timeout": 600, "rss_limit_mb": 600, "malloc_limit_mb": 200,
        "dict": FOLDER / "words", "artifact_prefix": f"{FOLDER}/", "print_final_stats": 1, "verbosity": 0,
    }  # fmt: skip
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
