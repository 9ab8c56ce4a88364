"""Nothing grows: memory in use and references are the same after many calls of every public entry, refused ones too.

CHAINRULE_GROWTH_CALLS=100000 pytest tests/test_growth.py is the long form, which also looks at the memory that the
system has lent (RSS).
"""

import copy
import ctypes
import gc
import os
import pickle
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import kernels

CALLS = int(os.environ.get("CHAINRULE_GROWTH_CALLS", "300"))
# What a test may take that is slower than a kernel: fits, files, errors with long messages.
SLOW_CALLS = max(CALLS // 20, 120)

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
T = np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3)
W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
B, LABELS, WEIGHT = np.ones(3, np.float32), np.arange(6) % 3, np.ones(6, np.float32)
DZ, ONE, STATE = T.copy(), np.ones(4, np.float32), [np.ones(12, np.float32) for _ in range(4)]
OUT = np.empty((6, 3), np.float32)


class Identity(cr.Layer):
    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


class Failing(Identity):
    def forward(self, x, training=False):
        raise ArithmeticError("planned")


def model(*more, dtype="float32", optimizer="adam"):
    layers = [cr.Dense(5, "gelu"), cr.BatchNorm(), cr.LayerNorm(), cr.Dropout(0.2), *more, cr.Dense(3)]
    made = cr.Sequential(layers, seed=1, dtype=dtype)
    made.compile(optimizer, "softmax_cross_entropy", ["accuracy"])
    made.build(4)
    return made


def one_layer(dtype):
    made = cr.Sequential([cr.Dense(3)], seed=1, dtype=dtype)
    made.compile(cr.SGD(1e-6), "mean_squared_error")
    made.build(4)
    return made


MODEL, PYTHON, FAILING, OWN_LOSS = model(), model(Identity()), model(Failing()), model()
OWN_LOSS.compile("sgd", lambda prediction, target: (0.0, 0 * prediction))
SMALL, DOUBLE = one_layer("float32"), one_layer("float64")
COLUMNS = np.asfortranarray(X)


def refused(error, call):
    def attempt():
        try:
            call()
        except error:
            return
        raise AssertionError(f"not refused with {error.__name__}")

    return attempt


def forward_and_backward():
    MODEL.forward(X, training=True)
    MODEL.backward(DZ)


FAST = {
    "dense_forward": lambda: kernels.dense_forward(X, W, B, "tanh"),
    "dense_forward, out": lambda: kernels.dense_forward(X, W, B, out=OUT),
    "dense_forward, converted": lambda: kernels.dense_forward(COLUMNS, W.tolist(), [1, 2, 3]),
    "dense_backward_input": lambda: kernels.dense_backward_input(DZ, W, activation="relu", output=X),
    "dense_backward_weight": lambda: kernels.dense_backward_weight(X, DZ),
    "softmax": lambda: kernels.softmax(X),
    "log_softmax": lambda: kernels.log_softmax(X),
    **{f"activation {name}": lambda name=name: kernels.activation(name, X) for name in cr.activations.NAMES},
    **{
        f"activation_backward {name}": lambda name=name: kernels.activation_backward(name, X, x=X, y=X)
        for name in cr.activations.NAMES
    },
    **{name: lambda name=name: getattr(kernels, name)(X) for name in ("exp", "log", "expm1", "log1p", "erf")},
    "exp of a number": lambda: kernels.exp(1.5),
    **{f"loss {name}": lambda name=name: kernels.loss(name, T, T) for name in cr.losses.NAMES if name != "hinge"},
    "loss hinge": lambda: kernels.loss("hinge", T, np.sign(T - 0.4)),
    "loss of labels": lambda: kernels.loss("softmax_cross_entropy", T, LABELS, sample_weight=WEIGHT),
    "loss with options": lambda: kernels.loss("huber", T, OUT * 0, delta=0.3, reduction="sum"),
    "dropout": lambda: kernels.dropout(X, 0.5, seed=1),
    "layer_norm": lambda: kernels.layer_norm(X, ONE, ONE),
    "sgd_update": lambda: kernels.sgd_update(STATE[0], STATE[1], learning_rate=1e-9, momentum=0.9, velocity=STATE[2]),
    "adam_update": lambda: kernels.adam_update(*STATE, 1, learning_rate=1e-9),
    "rmsprop_update": lambda: kernels.rmsprop_update(*STATE[:3], learning_rate=1e-9),
    "adagrad_update": lambda: kernels.adagrad_update(*STATE[:3], learning_rate=1e-9),
    "model(x)": lambda: MODEL(X),
    "predict": lambda: MODEL.predict(X),
    "predict in batches": lambda: MODEL.predict(X, batch_size=4),
    "predict of a list": lambda: MODEL.predict(X.tolist()),
    "train_step": lambda: MODEL.train_step(X, LABELS),
    "train_step, weighted": lambda: MODEL.train_step(X, LABELS, sample_weight=WEIGHT),
    "train_step, converted": lambda: MODEL.train_step(COLUMNS, LABELS.tolist()),
    "train_step, small": lambda: SMALL.train_step(X, T),
    "forward, backward": forward_and_backward,
    "parameters, gradients": lambda: (MODEL.parameters, MODEL.gradients),
    "get_weights, set_weights": lambda: MODEL.set_weights(MODEL.get_weights()),
    "set_num_threads": lambda: cr.set_num_threads(cr.get_num_threads()),
    "schedules": lambda: [cr.schedules.Cosine(0.1, 10)(3), cr.schedules.Step(0.1, 5)(3)],
    "refused: dtype": refused(TypeError, lambda: kernels.dense_forward(X + 0j, W)),
    "refused: shape": refused(ValueError, lambda: kernels.dense_forward(X, W[:3])),
    "refused: out": refused(ValueError, lambda: kernels.dense_forward(X, W, out=OUT[:2])),
    "refused: activation": refused(ValueError, lambda: kernels.activation("reluu", X)),
    "refused: label": refused(ValueError, lambda: kernels.loss("softmax_cross_entropy", T, LABELS + 9)),
    "refused: target": refused(ValueError, lambda: kernels.loss("squared_error", T, T * np.nan)),
    "refused: option": refused(TypeError, lambda: kernels.loss("huber", T, T, q=1)),
    "refused: learning rate": refused(ValueError, lambda: kernels.sgd_update(*STATE[:2], learning_rate=np.nan)),
    "refused: predict": refused(ValueError, lambda: MODEL.predict(X[:, :3])),
    "refused: train_step label": refused(ValueError, lambda: MODEL.train_step(X, LABELS + 9)),
    "refused: train_step target": refused(ValueError, lambda: SMALL.train_step(X, T * np.nan)),
    "refused: set_weights": refused(ValueError, lambda: MODEL.set_weights([X])),
    "refused: backward": refused(ValueError, lambda: MODEL.backward(DZ[:2])),
}


class Stop(cr.Callback):  # once: CPython 3.13 without the GIL never gives a class back
    def on_epoch_end(self, *arguments):
        raise KeyboardInterrupt


def fit_that_is_stopped():
    MODEL.fit(X, LABELS, epochs=2, callbacks=[Stop()], verbose=False)


SLOW = {
    "a new model": lambda folder: model(),
    "a new model, layer by layer": lambda folder: model(Identity()),
    "fit": lambda folder: MODEL.fit(X, LABELS, epochs=2, batch_size=4, verbose=False),
    "fit, validated": lambda folder: MODEL.fit(X, LABELS, validation_split=0.5, verbose=False),
    "fit, layer by layer": lambda folder: PYTHON.fit(X, LABELS, batch_size=4, verbose=False),
    "evaluate": lambda folder: MODEL.evaluate(X, LABELS),
    "predict, layer by layer": lambda folder: PYTHON.predict(X),
    "compile": lambda folder: MODEL.compile("adam", "softmax_cross_entropy", ["accuracy"]),
    "save": lambda folder: MODEL.save(folder / "model.npz"),
    "load": lambda folder: cr.load(folder / "model.npz"),
    "pickle": lambda folder: pickle.loads(pickle.dumps(MODEL)),
    "copy": lambda folder: copy.deepcopy(MODEL),
    "check_gradients": lambda folder: cr.check_gradients(DOUBLE, X, T),
    "show_config": lambda folder: cr.show_config("dict"),
    "refused: load": lambda folder: refused(ValueError, lambda: cr.load(folder / "broken.npz"))(),
    "refused: load of nothing": lambda folder: refused(OSError, lambda: cr.load(folder / "none.npz"))(),
    "refused: save": lambda folder: refused(TypeError, lambda: OWN_LOSS.save(folder / "model.npz"))(),
    "refused: fit": lambda folder: refused(ValueError, lambda: MODEL.fit(X, LABELS + 9, verbose=False))(),
    "refused: a layer": lambda folder: refused(ValueError, lambda: cr.Dense(0))(),
    "interrupted: fit": lambda folder: refused(KeyboardInterrupt, fit_that_is_stopped)(),
    "a layer that raises": lambda folder: refused(ArithmeticError, lambda: FAILING.train_step(X, LABELS))(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a model file, and one that is cut short."""
    folder = tmp_path_factory.mktemp("growth")
    MODEL.save(folder / "model.npz")
    (folder / "broken.npz").write_bytes((folder / "model.npz").read_bytes()[:-40])
    return folder


# -- measuring -------------------------------------------------------------------------------------------


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
                 "keepcost")]  # fmt: skip


try:
    _mallinfo2 = ctypes.CDLL(None).mallinfo2
    _mallinfo2.restype = _Mallinfo2
except (AttributeError, OSError, TypeError):  # not the GNU C library, or one before 2.33
    _mallinfo2 = None


def resident():
    """Bytes of memory that the system has lent this process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (AttributeError, OSError):  # not Linux
        return 0


# What calls borrow: their arguments, and the objects that C code mentions by name. Not the dtype float64: NumPy 2.4
# itself keeps a reference to it in each np.empty(n), a number that nobody needs.
WATCHED = [X, T, W, B, LABELS, WEIGHT, DZ, ONE, OUT, *STATE, np.dtype(np.float32)]
if sys.version_info < (3, 12):  # from there on they are immortal, and modules built for 3.11 count them one way only
    WATCHED += [None, (), True]


@pytest.fixture(autouse=True, scope="module")
def the_rest_of_the_suite_is_not_collected():
    """Some ten thousand tests are a second of garbage collector for each look at the memory."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def measure():
    """Objects of Python's allocator, bytes of the C heap, pages; references."""
    gc.collect()
    info = _mallinfo2() if _mallinfo2 is not None else None
    heap = info.uordblks + info.hblkhd if info is not None else 0
    return np.array([sys.getallocatedblocks(), heap, resident(), *map(sys.getrefcount, WATCHED)])


def assert_nothing_grows(call, calls):
    """A leak shows in every round; a cache that fills, or a page that comes late, does not."""
    # A leak is at least one object, one reference or the least block of the C heap, 24 bytes, a call. Free lists of
    # the interpreter come and go by some fifty objects.
    limit = np.array([0.75 * calls, 12 * calls, 12 * calls + 2**18] + [0.75 * calls] * len(WATCHED))
    for _ in range(calls // 10 + 10):
        call()
    rounds = []
    for _ in range(3):
        before = measure()
        for _ in range(calls):
            call()
        rounds.append(measure() - before)
        if (rounds[-1] <= limit).all():
            return
    least = np.min(rounds, axis=0)
    names = ["objects", "bytes of heap", "bytes of memory", *(f"references to {str(w)[:40]}" for w in WATCHED)]
    grown = {name: int(n) for name, n, most in zip(names, least, limit, strict=True) if n > most}
    assert not grown, f"{calls} calls leave {grown}"


@pytest.mark.parametrize("entry", FAST)
def test_nothing_grows(entry):
    assert_nothing_grows(FAST[entry], CALLS)


@pytest.mark.parametrize("entry", SLOW)
def test_nothing_grows_over_whole_tasks(entry, folder):
    assert_nothing_grows(lambda: SLOW[entry](folder), SLOW_CALLS)


def test_a_leak_would_show():
    kept = []
    for leak in (lambda: kept.append([]), lambda: kept.append(X), lambda: kept.append(bytearray(100))):
        with pytest.raises(AssertionError, match="calls leave"):
            assert_nothing_grows(leak, CALLS)
