"""A fixed list of computations whose bits are published: every machine must reproduce them.

`chainrule selftest` runs the list on each instruction set of the processor, alone and with several threads, and
compares the hashes of the results with `data/selftest.json`. A case that differs is a bug of the build, the compiler,
the processor or this library: the promise is the same bits everywhere.

All inputs come from chainrule's own generator of random numbers, so that nothing here depends on NumPy's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, activations, initializers, kernels, losses, optimizers, schedules
from .config import num_threads
from .layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm
from .model import Sequential

Array = npt.NDArray[Any]
Hashes = dict[str, dict[str, str]]
"""Group (a dtype, or "random numbers"): name of the case: hash."""

PUBLISHED = Path(__file__).parent / "data" / "selftest.json"
THREADS = (1, 5)
SEED = 20_240_229

# -- inputs ----------------------------------------------------------------------------------------------------


def _draw(function: Callable[..., None], n: int, stream: int, dtype: Any = np.float64) -> Array:
    out = np.empty(n, dtype)
    function(SEED, _core.PURPOSES["user"], stream, 0, 0, out)
    return out


def _normal(dtype: Any, *shape: int, stream: int = 1) -> Array:
    return _draw(_core.random_normal, int(np.prod(shape)), stream).reshape(shape).astype(dtype)


def _uniform(dtype: Any, *shape: int, stream: int = 2) -> Array:
    return _draw(_core.random_uniform, int(np.prod(shape)), stream).reshape(shape).astype(dtype)


def _labels(n: int, n_classes: int, stream: int = 3) -> Array:
    return _draw(_core.random_u32, n, stream, np.uint32).astype(np.int64) % n_classes


def _wild(dtype: Any) -> Array:
    """Numbers of every exponent, infinities and NaN among them; ordinary ones; the signs of zero."""
    words = _draw(_core.random_u32, 4001, 4, np.uint32)
    if dtype == np.float64:
        words = words[:2000].astype(np.uint64) << np.uint64(32) | words[2000:4000]
    ordinary = _normal(np.float64, 3000) * np.array([0.01, 1.0, 30.0]).repeat(1000)
    special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
    return np.concatenate([words.view(dtype), ordinary.astype(dtype), np.array(special, dtype)])


# -- cases on arrays -------------------------------------------------------------------------------------------


def _function(name: str, dtype: Any) -> Iterator[Array]:
    yield getattr(kernels, name)(_wild(dtype))


def _activation(name: str, dtype: Any) -> Iterator[Array]:
    x = _wild(dtype)
    if name in ("softmax", "log_softmax"):
        x = _normal(dtype, 60, 53) * dtype.type(20)
    y = kernels.activation(name, x)
    yield y
    yield kernels.activation_backward(name, _normal(dtype, x.size, stream=5).reshape(x.shape), x=x, y=y)


_LOSS_OPTIONS: dict[str, dict[str, Any]] = {
    "huber": {"delta": 0.7},
    "quantile": {"q": 0.3},
    "softmax_cross_entropy": {"label_smoothing": 0.1},
    "sigmoid_cross_entropy": {"pos_weight": 2.5},
}


def _loss(name: str, dtype: Any) -> Iterator[Any]:
    n_rows, n_out = 67, 21
    p, weight = _normal(dtype, n_rows, n_out) * dtype.type(3), _uniform(dtype, n_rows)
    t = _normal(dtype, n_rows, n_out, stream=6)
    if name in ("poisson", "cross_entropy"):
        p, t = kernels.softmax(p), kernels.softmax(t)
    elif name in ("softmax_cross_entropy", "sigmoid_cross_entropy"):
        t = kernels.softmax(t)
    elif name == "hinge":
        t = np.sign(t)
    yield from kernels.loss(name, p, t)
    options = _LOSS_OPTIONS.get(name, {})
    yield from kernels.loss(name, p, t, sample_weight=weight, reduction="sum", **options)
    if _core.loss_takes_labels(_core.LOSSES[name]):
        yield from kernels.loss(name, p, _labels(n_rows, n_out), sample_weight=weight)


def _products(shape: tuple[int, int, int], dtype: Any) -> Iterator[Array]:
    n_rows, n_in, n_out = shape
    x, weight, bias = _normal(dtype, n_rows, n_in), _normal(dtype, n_in, n_out, stream=7), _normal(dtype, n_out)
    dz = _normal(dtype, n_rows, n_out, stream=8)
    for activation in ("identity", "relu", "tanh"):
        yield kernels.dense_forward(x, weight, bias, activation)
    yield kernels.dense_backward_input(dz, weight)
    yield kernels.dense_backward_input(dz, weight, activation="relu", output=x)
    yield from kernels.dense_backward_weight(x, dz)


# -- cases of training -----------------------------------------------------------------------------------------

_OPTIMIZERS: dict[str, Callable[[], optimizers.Optimizer]] = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, clip_value=0.02),
    "adam": lambda: optimizers.Adam(0.01, weight_decay=1e-3),
    "adamw": lambda: optimizers.AdamW(schedules.Cosine(0.01, 20, warmup_steps=3), clip_norm=0.3),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05, clip_norm=0.1),
}


def _everything() -> list[Layer]:
    """One layer of each kind, penalties and dropout among them."""
    return [
        Dense(19, "gelu", l2=0.01), BatchNorm(), Activation("tanh"), Dropout(0.25),
        Dense(11, "leaky_relu", use_bias=False, l1=0.003), LayerNorm(), Dense(5),
    ]  # fmt: skip


def _learned(model: Sequential, x: Array) -> Iterator[Any]:
    yield from model.get_weights()
    yield from model._states
    yield model.predict(x)


def _optimizer(name: str, dtype: Any) -> Iterator[Any]:
    """20 steps of a shuffled fit with dropout; then the input gradient."""
    x, y = _normal(dtype, 75, 13), _labels(75, 5)
    model = Sequential(_everything(), seed=SEED, dtype=dtype.name)
    model.compile(_OPTIMIZERS[name](), "softmax_cross_entropy")
    history = model.fit(x, y, epochs=4, batch_size=16, sample_weight=0.5 + _uniform(dtype, 75), verbose=0)
    yield history.history["loss"]
    yield from _learned(model, x)
    yield model.backward(model.forward(x, training=True))
    yield model.gradients


def _net(sizes: tuple[int, ...], activation: str, loss: str, optimizer: str, n_rows: int, n_steps: int, dtype: Any
         ) -> Iterator[Any]:  # fmt: skip
    x, t = _normal(dtype, n_rows, sizes[0]), _uniform(dtype, n_rows, sizes[-1])
    last = "sigmoid" if loss in ("poisson", "cross_entropy") else "identity"
    model = Sequential([*(Dense(n, activation) for n in sizes[1:-1]), Dense(sizes[-1], last)],
                       seed=SEED, dtype=dtype.name)  # fmt: skip
    model.compile(_OPTIMIZERS[optimizer](), loss)
    yield [model.train_step(x, np.sign(t - dtype.type(0.5)) if loss == "hinge" else t) for _ in range(n_steps)]
    yield from _learned(model, x)


def _random_nets(n: int) -> Iterator[tuple[str, Callable[[Any], Iterable[Any]]]]:
    """Small nets of any shape, each with another activation, loss and optimizer."""
    words = iter(_draw(_core.random_u32, 16 * n, 9, np.uint32).tolist())
    hidden = [name for name in activations.NAMES if name not in ("exponential", "softmax", "log_softmax")]
    for i in range(n):
        sizes = tuple(1 + next(words) % (2, 9, 48)[next(words) % 3] for _ in range(2 + next(words) % 4))
        n_rows = 1 + next(words) % 40
        kinds = (hidden[i % len(hidden)], losses.NAMES[i % len(losses.NAMES)], list(_OPTIMIZERS)[i % len(_OPTIMIZERS)])
        name = f"{i}: {'-'.join(map(str, sizes))}, {n_rows} rows, {', '.join(kinds)}"
        yield f"net {name}", partial(_net, sizes, *kinds, n_rows, 20)


# -- the list --------------------------------------------------------------------------------------------------

_SHAPES = [(1, 1, 1), (3, 5, 7), (17, 33, 65), (70, 300, 45), (300, 70, 10)]
_NETS = [
    ((1, 1, 1), "tanh", "squared_error", "sgd", 3, 20),
    ((4, 16, 1), "relu", "squared_error", "adam", 1, 20),
    ((16, 64, 64, 4), "relu", "huber", "adam", 32, 20),
    ((784, 128, 10), "relu", "softmax_cross_entropy", "adam", 64, 4),
    ((784, 512, 512, 10), "relu", "softmax_cross_entropy", "sgd", 48, 1),
]


_SCHEDULES: dict[str, schedules.Schedule] = {
    "step": schedules.Step(0.1, 30),
    "exponential": schedules.Exponential(0.1, 7, 0.9),
    "cosine": schedules.Cosine(0.1, 90, 10),
    "one cycle": schedules.OneCycle(0.1, 100),
}


def _permutation() -> Iterator[Array]:
    order = np.empty(1000, np.int64)
    _core.random_permutation(SEED, 2, order)
    yield order


def _initializer(name: str) -> list[Array]:
    layer = Dense(23, weight_initializer=name, bias_initializer="normal")
    model = Sequential([layer], seed=SEED, dtype="float64")
    model.build(31)
    return model.get_weights()


def _schedule(name: str) -> Iterator[Array]:
    yield _SCHEDULES[name].values(0, 100)


def _random_numbers() -> Iterator[tuple[str, Callable[[], Iterable[Any]]]]:
    """What no dtype has a say in."""
    yield "u32", lambda: [_draw(_core.random_u32, 1001, 0, np.uint32)]
    yield "uniform", lambda: [_draw(_core.random_uniform, 1001, 0)]
    yield "normal", lambda: [_draw(_core.random_normal, 5001, 0)]
    yield "permutation", _permutation
    for name in initializers.NAMES:
        yield f"initializer {name}", partial(_initializer, name)
    for name in _SCHEDULES:
        yield f"schedule {name}", partial(_schedule, name)


def cases() -> Iterator[tuple[str, str, Callable[[], Iterable[Any]]]]:
    """Yield group, name and computation of every case; a computation gives arrays and numbers."""
    for name, compute in _random_numbers():
        yield "random numbers", name, compute
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        of_dtype: list[tuple[str, Callable[[Any], Iterable[Any]]]] = [
            *((f"function {name}", partial(_function, name)) for name in _core.FUNCTIONS),
            *((f"activation {name}", partial(_activation, name)) for name in activations.NAMES),
            *((f"loss {name}", partial(_loss, name)) for name in losses.NAMES),
            *((f"products {'x'.join(map(str, shape))}", partial(_products, shape)) for shape in _SHAPES),
            *((f"20 steps of {name}", partial(_optimizer, name)) for name in _OPTIMIZERS),
            *((f"net {'-'.join(map(str, net[0]))}", partial(_net, *net)) for net in _NETS),
            *_random_nets(40),
        ]
        for name, of in of_dtype:
            yield dtype.name, name, partial(of, dtype)


# -- hashes ----------------------------------------------------------------------------------------------------


def hash_of(results: Iterable[Any]) -> str:
    """Hash shapes and little-endian bits. NaNs count as one: their sign and payload are not promised."""
    digest = hashlib.sha256()
    for result in results:
        array = np.array(result, order="C")
        if array.dtype.kind == "f":
            array[np.isnan(array)] = np.nan
        digest.update(repr((array.shape, array.dtype.name)).encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:32]


def compute() -> Hashes:
    """Run every case on the instruction set and threads as they are set."""
    found: Hashes = {}
    for group, name, results in cases():
        found.setdefault(group, {})[name] = hash_of(results())
    return found


def published() -> Hashes:
    """Return the hashes that every machine must find."""
    hashes: Hashes = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return hashes


def differences(found: Hashes, expected: Hashes) -> list[str]:
    """Name the cases whose hashes are not the same in both, or that one of them lacks."""
    pairs = [{(group, name): value for group in hashes for name, value in hashes[group].items()}
             for hashes in (found, expected)]  # fmt: skip
    names = list(dict.fromkeys([*pairs[0], *pairs[1]]))
    return [f"{group}, {name}" for group, name in names if len({pair.get((group, name)) for pair in pairs}) > 1]


def run(write: str | None = None) -> int:
    """Compare every instruction set here with the published hashes, and print what was found.

    Parameters
    ----------
    write : str, optional
        Write the hashes of the chosen instruction set to this file instead: how `data/selftest.json` was made.

    Returns
    -------
    int
        0 if all bits are as published, else 1.
    """
    if write is not None:
        with open(write, "a", encoding="utf-8"):  # before the work: can it be written at all?
            pass
        Path(write).write_text(json.dumps(compute(), indent=0) + "\n", encoding="utf-8")
        print(f"hashes of {_core.isa()} written to {write}")
        return 0
    print(f"chainrule {_core.VERSION}, {_core.compiler()}, NumPy {np.__version__}")
    expected, before, n_different = published(), _core.isa(), 0
    try:
        for isa in _core.isas_supported():
            _core.set_isa(isa)
            for n in THREADS:
                with num_threads(n):
                    found = compute()
                wrong = differences(found, expected)
                n_different += len(wrong)
                n_cases = sum(len(group) for group in found.values())
                verdict = f"{len(wrong)} differ" if wrong else "the same bits"
                print(f"{isa:<8} {n} thread{'s' * (n > 1)}  {n_cases} cases: {verdict}")
                for name in wrong:
                    print(f"    differs: {name}")
    finally:
        _core.set_isa(before)
    missing = [isa for isa in _core.isas_built() if isa not in _core.isas_supported()]
    if missing:
        print(f"not run, because this processor or its system lacks it: {', '.join(missing)}")
    print(f"{n_different} results differ from the published bits" if n_different else "all bits are as published")
    return 1 if n_different else 0
