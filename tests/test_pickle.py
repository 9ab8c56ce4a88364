"""Pickles as the means of getting a model to another process, and nothing that our own files would hold."""

import multiprocessing
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from models import everything, state

import chainrule as cr

CHILD = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    model, x, y = pickle.load(file)
model.train_step(x, y)
with open(sys.argv[1], "wb") as file:
    pickle.dump((model, model.predict(x)), file)
"""


def trained(dtype="float32"):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 5)), np.arange(12) % 4
    model = cr.Sequential(everything(), seed=4, dtype=dtype)
    model.compile(cr.Adam(cr.schedules.Cosine(0.01, 20)), "softmax_cross_entropy", ["accuracy"])
    model.fit(x, y, epochs=2, batch_size=5, verbose=False)
    return model, x, y


def test_a_new_process_trains_on_and_sends_the_model_back(dtype, tmp_path):
    model, x, y = trained(dtype)
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps((model, x, y)))
    subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, timeout=120)
    other, prediction = pickle.loads(path.read_bytes())
    model.train_step(x, y)
    assert state(other) == state(model)
    assert prediction.tobytes() == model.predict(x).tobytes()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12 on fork
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_pool_of_processes_takes_models(method):
    model, x, _ = trained()
    with multiprocessing.get_context(method).Pool(2) as pool:
        predictions = pool.map(model.predict, [x, x[:3]])
    assert predictions[0].tobytes() == model.predict(x).tobytes()
    assert predictions[1].tobytes() == model.predict(x[:3]).tobytes()


def test_a_file_holds_no_pickle(tmp_path):
    """Arrays of plain numbers and JSON: NumPy reads each member with pickle switched off."""
    model, _, _ = trained()
    model.save(tmp_path / "model.npz")
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        assert all(name == "model.json" or name.endswith(".npy") for name in archive.namelist())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files if name != "model.json"} == {np.dtype(np.float32)}
