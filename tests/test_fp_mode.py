"""A caller's rounding direction and flush-to-zero: they change no bit of a call into the library, and outlive it."""

import ctypes
import ctypes.util
import os
import platform
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from models import each_engine, everything
from tools import ISAS, bits

import chainrule as cr
from chainrule import _core, kernels

MACHINE = platform.machine()
KNOWN = sys.platform == "linux" and MACHINE in ("x86_64", "aarch64") and platform.libc_ver()[0] == "glibc"
pytestmark = pytest.mark.skipif(not KNOWN, reason="the layout of fenv_t is known for glibc on x86_64 and aarch64 only")

# Where glibc's fenv_t holds the word that rules vector arithmetic, and that word's bits: flush results to zero (x86:
# and take subnormal arguments for zero), round up, round towards zero; on both processors "up" is half of "zero".
OFFSET, FLUSH, UP, ZERO = (28, 0x8040, 0x4000, 0x6000) if MACHINE == "x86_64" else (0, 1 << 24, 1 << 22, 3 << 22)
MODES = {"flush": FLUSH, "up": UP, "zero": ZERO, "flush and up": FLUSH | UP}


class Environment(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint32 * 8),)


def libm():
    return ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")


def word():
    environment = Environment()
    libm().fegetenv(ctypes.byref(environment))
    return environment.words[OFFSET // 4] & (FLUSH | ZERO)


@contextmanager
def mode(wanted):
    library, kept, changed = libm(), Environment(), Environment()
    library.fegetenv(ctypes.byref(kept))
    library.fegetenv(ctypes.byref(changed))
    changed.words[OFFSET // 4] |= wanted
    library.fesetenv(ctypes.byref(changed))
    try:
        yield
    finally:
        library.fesetenv(ctypes.byref(kept))


def calls(dtype):
    """Name: call, with arguments made in the default mode: results that are subnormal or rounded everywhere."""
    rng = np.random.default_rng(3)
    tiny = np.finfo(dtype).tiny
    x, w = rng.normal(size=(300, 131)).astype(dtype), rng.normal(size=(131, 77)).astype(dtype)
    small = (x * tiny).astype(dtype)
    dz, bias, y = rng.normal(size=(300, 77)).astype(dtype), rng.normal(size=77).astype(dtype), rng.integers(0, 5, 300)
    labels = rng.integers(0, 77, 300)
    edge = np.float64(np.log(tiny)) + rng.normal(size=999)
    edge, small_bias, positive, wide = edge.astype(dtype), bias * tiny, np.abs(small), x * dtype.type(30)

    def trained(train):
        model = cr.Sequential([*everything()[:-1], cr.Dense(5)], seed=4, dtype=dtype)
        model.compile(cr.Adam(0.01, weight_decay=1e-3), "softmax_cross_entropy")
        model.build(131)
        return lambda: (*train(model), *model.get_weights(), *model._states, model.predict(small), model.predict(x))

    def fit_losses(model):
        losses = []
        keep = cr.LambdaCallback(on_batch_end=lambda step, loss: losses.append(loss))
        model.fit(x, y, epochs=2, batch_size=64, callbacks=[keep], verbose=0)
        return losses

    def update():
        p, m, v = x.copy(), np.zeros_like(x), np.zeros_like(x)
        kernels.adam_update(p, small, m, v, 1, learning_rate=0.01)
        kernels.sgd_update(p, small, learning_rate=0.1, momentum=0.9, velocity=m)
        return p, m, v

    return {
        "forward": lambda: kernels.dense_forward(small, w, small_bias),
        "backward_input": lambda: kernels.dense_backward_input(dz, w),
        "backward_weight": lambda: kernels.dense_backward_weight(small, dz),
        "exp": lambda: kernels.exp(edge),
        "log": lambda: kernels.log(positive),
        "gelu": lambda: kernels.activation("gelu", small),
        "softmax": lambda: kernels.softmax(wide),
        "loss": lambda: kernels.loss("softmax_cross_entropy", dz, labels),
        "updates": update,
        "train_step": trained(lambda model: [model.train_step(x, y) for _ in range(3)]),
        "fit": trained(fit_losses),
    }  # fmt: skip


def test_the_modes_are_really_set():
    one, eps, tiny = np.ones(8, "f4"), np.full(8, 2.0**-30, "f4"), np.full(8, 1e-38, "f4")
    with mode(UP):
        assert (one + eps > 1).all() and word() == UP
    with mode(FLUSH):
        assert (tiny * np.float32(0.5) == 0).all() and word() == FLUSH
    assert word() == 0 and (one + eps == 1).all() and (tiny * np.float32(0.5) > 0).all()


@pytest.mark.parametrize("wanted", MODES)
@pytest.mark.parametrize("threads", [1, 4])
def test_the_mode_of_the_caller_changes_nothing(wanted, threads, isa, dtype):
    plain, again = calls(dtype), calls(dtype)
    for name in plain:
        with cr.num_threads(threads):
            expected = plain[name]()
            with mode(MODES[wanted]):
                got = again[name]()
                left = word()
        assert left == MODES[wanted], f"{name} left another mode"
        as_bits = [bits(*(result if isinstance(result, tuple) else (result,))) for result in (expected, got)]
        assert as_bits[0] == as_bits[1], f"{name} with {wanted}"


class Third(cr.Layer):
    """y = x / 3, in Python: each element is rounded."""

    def forward(self, x, training=False):
        return x / 3

    def backward(self, dy):
        return dy / 3


def whole_life(path, python, dtype):
    """A model from its initial weights to its file: with all that Python and NumPy compute around the native calls.

    Returns a function that lives it and returns name: arrays; what it needs is made before, in the default mode.
    """
    rng = np.random.default_rng(5)
    # Of the other dtype, so that they are converted; some are subnormal in float32.
    x = (rng.normal(size=(97, 6)) * 10.0 ** rng.integers(-42, 1, (97, 6))).astype("f8" if dtype == "float32" else "f4")
    y, weight = rng.integers(0, 3, 97), rng.uniform(size=97)
    dy, wide, bias, rows = rng.normal(size=(97, 3)), rng.normal(size=(6, 3)), rng.normal(size=3).tolist(), x.tolist()
    last = cr.Dense(3)
    layers = [
        cr.Dense(5, "tanh", weight_initializer="orthogonal"), *([Third()] if python else []), cr.BatchNorm(),
        cr.Dense(4, "gelu", weight_initializer=cr.initializers.Normal(0.3)), last,
    ]  # fmt: skip

    def live():
        seen = {}
        model = cr.Sequential(layers, seed=3, dtype=dtype)
        model.compile(cr.Adam(cr.schedules.Cosine(0.01, 40, 3)), "softmax_cross_entropy", ["accuracy"])
        model.build(6)
        seen["initial weights"] = model.get_weights()
        history = model.fit(
            x, y, epochs=3, batch_size=16, sample_weight=weight, class_weight="balanced",
            validation_data=(x[::3], y[::3], weight[::3]), verbose=0,
        ).history  # fmt: skip
        seen["fit"] = [*map(np.array, history.values()), *model.get_weights()]
        seen["train_step"] = [np.array(model.train_step(x, y, weight.tolist())), *model.get_weights()]
        seen["evaluate"] = [*map(np.array, model.evaluate(x, y, weight).values())]
        seen["predict"] = [model.predict(x), model(x), model(rows)]
        seen["forward, backward"] = [model.forward(x, training=True), model.backward(dy)]
        last.bias = bias
        model.save(path)
        loaded = cr.load(path, custom_objects={"Third": Third})
        seen["file"] = [np.frombuffer(path.read_bytes(), "u1"), *loaded.get_weights()]
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        seen["set_weights"] = model.get_weights()
        layer = cr.Dense(3, weight_initializer=wide)
        layer.build(6, dtype=dtype)
        seen["a layer alone"] = [layer.weight.copy(), layer.forward(x), layer.backward(dy)]
        seen["kernels"] = [kernels.dense_forward(rows, wide, bias), kernels.activation("gelu", rows)]
        return seen

    return live


@pytest.mark.parametrize("wanted", MODES)
@each_engine
def test_what_python_computes_is_the_same_too(wanted, python, dtype, tmp_path):
    expected = whole_life(tmp_path / "a", python, dtype)()
    live = whole_life(tmp_path / "b", python, dtype)
    with mode(MODES[wanted]):
        got = live()
        left = word()
    assert left == MODES[wanted]
    assert [name for name in expected if bits(*got[name]) != bits(*expected[name])] == []


PROGRAM = """
import sys, numpy as np
sys.path.insert(0, {tests!r})
import chainrule as cr
from test_fp_mode import MODES, mode
x, y = np.linspace(-1, 1, 700 * 300, dtype="f4").reshape(700, 300), np.arange(700) % 10
model = cr.Sequential([cr.Dense(300, "tanh"), cr.Dense(10)], seed=1)
model.compile("sgd", "softmax_cross_entropy")
model.build(300)
with cr.num_threads(4), mode(MODES.get({wanted!r}, 0)):
    loss = model.train_step(x, y)
print(loss.hex(), hash(model.parameters.tobytes()))
"""


def test_threads_that_start_in_another_mode_do_not_keep_it():
    """The first parallel call of a process starts the helpers, which begin with their maker's mode."""

    def run(wanted):
        program = PROGRAM.format(tests=os.path.dirname(__file__), wanted=wanted)
        environment = {**os.environ, "PYTHONHASHSEED": "0", "CHAINRULE_ISA": ISAS[-1]}
        return subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True).stdout

    assert len({run(wanted) for wanted in ("default", "flush and up", "zero")}) == 1
    assert _core.isa() in ISAS
