"""Allocations that fail, at every place where there is one; and sizes beyond 2**31 and beyond the machine.

The C library's own tests of this are csrc/tests/test_memory.c; here all of the process is under the hammer, the
interpreter and NumPy included (PYTHONMALLOC=malloc).
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from models import compiled, counts, weight_bits

import chainrule as cr
from chainrule import _core

HERE = Path(__file__).resolve().parent

SCRIPT = """
import copy, ctypes, gc, io, os, pickle, sys, warnings
sys.path.insert(0, sys.argv[1])
import numpy as np
import numpy.random  # loaded by NumPy when it is first looked at
import chainrule as cr
from models import Pass, compiled, state

libc = ctypes.CDLL(None)
arm, disarm = libc.failing_malloc_arm, libc.failing_malloc_disarm
arm.argtypes, disarm.restype = [ctypes.c_long, ctypes.c_size_t], ctypes.c_long
least, stride, folder = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
x = np.sin(np.arange(100.0)).reshape(20, 5)
y = np.arange(20) % 3
x32 = x.astype("f4")
path = os.path.join(folder, "model.npz")


def make(python):
    layers = [cr.Dense(6, "gelu", l2=0.01), cr.BatchNorm(), *([Pass()] if python else []), cr.Dropout(0.3), cr.Dense(3)]
    model = compiled(layers, "adam", metrics=["accuracy"])
    model.train_step(x, y)
    return model


def whole_steps(model):
    # fit stops like Ctrl-C: after a whole step. These are the states that it may leave.
    states, same = [state(model)], copy.deepcopy(model)
    order = np.empty(20, np.int64)
    cr._core.random_permutation(1, 0, order)
    for first in (0, 10):
        same.train_step(x[order[first : first + 10]], y[order[first : first + 10]])
        states.append(state(same))
    return states


CALLS = {
    "train_step": lambda model: model.train_step(x, y),
    "train_step slow": lambda model: model.train_step(x32, y.tolist()),
    "predict": lambda model: model.predict(x32),
    "call": lambda model: model(x),
    "evaluate": lambda model: model.evaluate(x, y),
    "forward": lambda model: model.forward(x, training=False),
    "fit": lambda model: model.fit(x, y, batch_size=10),
    "compile": lambda model: model.compile("rmsprop", "squared_error", ["accuracy"]),
    "set_weights": lambda model: model.set_weights([2 * w for w in model.get_weights()]),
    "save": lambda model: model.save(path),
    "load": lambda model: cr.load(path, custom_objects={"Pass": Pass}),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}
UNCHANGED = {"predict", "call", "evaluate", "forward", "save", "load", "pickle"}
warnings.simplefilter("ignore")
total = 0
for python in (False, True):
    for name, call in CALLS.items():
        model = make(python)
        make(python).save(path)
        call(copy.deepcopy(model))  # whatever is made once is made now
        file = open(path, "rb").read()
        allowed = whole_steps(model) if name == "fit" else [state(model)]
        used, n, raised, foreign, tried = copy.deepcopy(model), 1, 0, 0, 0
        while True:
            error = None
            try:
                arm(n, least)
                call(used)
            except (MemoryError, OSError) as e:  # OSError: ENOMEM, from the C library
                error = e
            except RuntimeError as e:
                assert "can't allocate" in str(e), e  # opening a file
                error = e
            except SystemError as e:  # places of NumPy and Python that forget the MemoryError
                assert "chainrule" not in str(e), e
                error, foreign = e, foreign + 1
            except pickle.PicklingError as e:  # pickle says this of whatever kept it from looking a name up
                assert "import of module" in str(e), e
                error, foreign = e, foreign + 1
            finally:
                counted = disarm()
            if counted < n:
                break
            tried += 1
            if error is None:  # somebody could do without: NumPy's caches, a dict that did not grow
                if name not in UNCHANGED:
                    used = copy.deepcopy(model)
            else:
                raised += 1
                error = None
                assert state(used) in allowed, (python, name, n)
                if name == "fit" and state(used) != allowed[0]:
                    used = copy.deepcopy(model)
            assert not used._held, (python, name, n)
            if name in UNCHANGED:
                assert state(used) == allowed[0], (python, name, n)
            if name == "save":
                assert cr.load(path, custom_objects={"Pass": Pass}).built and os.listdir(folder) == ["model.npz"], n
            n += stride
        call(used)
        assert raised > 0 or least > 1, name
        total += tried
        engine = "layer by layer" if python else "native"
        print(engine, name, tried, "allocations failed,", raised, "exceptions,", foreign, "by NumPy", flush=True)
print("well", total)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """The library of failing_malloc.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None or platform.libc_ver()[0] != "glibc":
        pytest.skip("needs Linux with the GNU C library, and a C compiler")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("without the GIL Python has its own allocator only (no PYTHONMALLOC=malloc)")
    path = tmp_path_factory.mktemp("shim") / "failing_malloc.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, HERE / "failing_malloc.c", "-ldl"], check=True)
    machine = subprocess.run([compiler, "-dumpmachine"], check=True, capture_output=True, text=True).stdout
    if machine.partition("-")[0] != platform.machine():
        pytest.skip(f"the compiler builds for {machine.strip()}, this Python runs on {platform.machine()}")
    return path


# NumPy 1 reads a null pointer when its reductions (min, as in metrics) get no memory; NumPy 2 raises MemoryError.
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="NumPy 1 itself crashes without memory")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython 3.12.1 and 3.13.0 crash without memory")
@pytest.mark.parametrize(("least", "stride"), [
    pytest.param(1, 1, marks=pytest.mark.long, id="every allocation"),
    pytest.param(1, 29, id="every 29th allocation"),
    pytest.param(256, 1, id="every one of 256 bytes and more"),
])  # fmt: skip
def test_an_allocation_that_fails(least, stride, shim, tmp_path):
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-c", SCRIPT, str(HERE), str(least), str(stride), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, env=environment)
    print(done.stdout)
    assert done.returncode == 0 and done.stdout.split("\n")[-2].startswith("well "), done.stdout + done.stderr


# -- sizes -----------------------------------------------------------------------------------------------------------


def spec(units):
    return cr.Dense(units).core_spec()


def test_plans_of_weights_beyond_two_to_the_31():
    """What the arithmetic of sizes says, without the memory: nothing wraps round."""
    assert _core.measure(2**20, [spec(2**12)]) == (2**32 + 2**12, 0, 2**12)
    assert _core.measure(2**31 + 1, [spec(3)]) == (3 * (2**31 + 1) + 3, 0, 3)
    assert _core.measure(70_000, [spec(70_000), spec(70_000), spec(1)])[0] == 2 * 70_000 * 70_001 + 70_001
    for n_in, widths in ((2**32, [2**32]), (2**40, [2**24]), (2**63, [1]), (2**33, [2**27, 2**33]), (1, [2**62])):
        with pytest.raises(ValueError, match="not a sound network"):
            _core.measure(n_in, [spec(units) for units in widths])


@pytest.mark.parametrize("units", [2**33, 2**40])
def test_models_beyond_the_machine_are_refused_and_can_be_built_smaller(units):
    model = cr.Sequential([cr.Dense(units), cr.Dense(4)])
    with pytest.raises((MemoryError, ValueError)):
        model.build(2**12)
    assert not model.built
    with pytest.raises((MemoryError, ValueError)):
        model.build(2**13)


def test_a_batch_beyond_the_machine_changes_nothing():
    """The work arrays of the batch do not fit: a matrix of one page that is read again and again."""
    model = compiled([cr.Dense(2**15, "gelu"), cr.Dense(1)], loss="squared_error", n_in=2, n_out=1, dtype="float32")
    before, bits = model._engine.steps, weight_bits(model)
    x = np.zeros((2**24, 2), "f4")
    with pytest.raises(MemoryError):
        model.train_step(x, np.zeros((2**24, 1), "f4"))
    assert model._engine.steps == before and weight_bits(model) == bits
    model.train_step(x[:8], np.zeros((8, 1), "f4"))


@pytest.mark.long
def test_a_batch_beyond_two_to_the_31_elements():
    """2**31 + 88 numbers, 8.6 GB that no page stands behind until something is written; the last rows are."""
    n_rows, n_in = 2**27 + 5, 16
    model = compiled([cr.Dense(1, "tanh")], loss="squared_error", n_in=n_in, n_out=1, dtype="float32")
    x = np.zeros((n_rows, n_in), "f4")
    assert x.size > 2**31
    rows = np.sin(np.arange(48.0)).reshape(3, n_in).astype("f4")
    x[-3:], x[0] = rows, rows[1]
    expected = model.predict(rows)
    y = model.predict(x)
    assert y[-3:].tobytes() == expected.tobytes() and y[0] == expected[1]
    same = compiled([cr.Dense(1, "tanh")], loss="squared_error", n_in=n_in, n_out=1, dtype="float32")
    target = np.zeros((n_rows, 1), "f4")
    target[-3:], target[0] = 1.0, 1.0
    weight = np.zeros(n_rows, "f4")
    weight[-3:], weight[0] = 1.0, 1.0
    loss = model.train_step(x, target, weight)
    assert loss == same.train_step(x[[0, -3, -2, -1]], np.ones((4, 1), "f4"))
    assert np.allclose(model.parameters, same.parameters, rtol=1e-6)


@counts(1, 3)
def test_failures_leak_nothing(count, shim, tmp_path):
    """The same failures once more need no more memory than before: blocks that live are counted by the C library."""
    code = SCRIPT.split("CALLS = {")[0] + LEAKS
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-c", code, str(HERE), "1", str(count), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("well"), done.stdout


LEAKS = """
class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks "
                "fordblks keepcost".split()]

libc.mallinfo2.restype = Mallinfo
warnings.simplefilter("ignore")


def in_use():
    gc.collect()
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd


big = np.ones((64, 200))
labels = np.arange(64) % 3


def fail_everywhere():
    failed = 0
    for n in range(1, 60):
        for python in (False, True):
            for call in (lambda m: m.train_step(big, labels), lambda m: m.predict(big), lambda m: m.fit(big, labels)):
                try:
                    arm(n, 1000)
                    layers = [cr.Dense(200, "tanh"), *([Pass()] if python else []), cr.Dense(3)]
                    call(compiled(layers, "adam", n_in=200))
                except (MemoryError, OSError, SystemError):
                    failed += 1
                finally:
                    disarm()
    return failed


def go():
    for layer in ([], [Pass()]):
        model = compiled([cr.Dense(200, "tanh"), *layer, cr.Dense(3)], "adam", n_in=200)
        model.train_step(big, labels), model.predict(big), model.fit(big, labels)


go()  # the loader aborts the process if it has no memory for a library's thread-local data
fail_everywhere()
before = in_use()
failed = sum(fail_everywhere() for _ in range(stride))
grown = in_use() - before
assert failed > 50, failed
# A model that leaked would be 800 kB; the interpreter's own tables may grow a little.
assert grown < 100_000, (grown, failed)
print(failed, "failures,", grown, "bytes; well")
"""
