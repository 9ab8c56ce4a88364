"""The shortest way for plain arrays (`_core.quick_*`) does what the door does, and leaves everything else to it."""

import numpy as np
import pytest
from tools import bits

from chainrule import _core, kernels

RNG = np.random.default_rng(5)
SGD, ADAM, ADAMW = (_core.OPTIMIZERS[name] for name in ("sgd", "adam", "adamw"))
NO_OPTIONS = _core.LossOptions()


def strided(a):
    """The same numbers, every second place of a wider array: the door has to copy or step over gaps."""
    wide = np.repeat(a, 2, axis=-1)
    return wide[..., ::2]


def arrays(dtype, *shapes):
    return [RNG.normal(size=shape).astype(dtype) for shape in shapes]


def same(got, expected):
    assert bits(*got) == bits(*expected)


# -- the same results on either way ------------------------------------------------------------------------------

UPDATES = {
    "sgd": (lambda w, g, a, b, **s: kernels.sgd_update(w, g, learning_rate=0.1, **s), {}),
    "decay": (lambda w, g, a, b, **s: kernels.sgd_update(w, g, learning_rate=0.1, **s), {"weight_decay": 0.01}),
    "momentum": (lambda w, g, a, b, **s: kernels.sgd_update(w, g, learning_rate=0.1, velocity=a, **s),
                 {"momentum": 0.5}),
    "nesterov": (lambda w, g, a, b, **s: kernels.sgd_update(w, g, learning_rate=0.1, velocity=a, **s),
                 {"momentum": 0.5, "nesterov": True}),
    "adam": (lambda w, g, a, b, **s: kernels.adam_update(w, g, a, b, 3, learning_rate=0.1, **s),
             {"beta_1": 0.5, "beta_2": 0.25, "epsilon": 1e-3}),
    "adamw": (lambda w, g, a, b, **s: kernels.adam_update(w, g, a, b, 3, learning_rate=0.1, **s),
              {"weight_decay": 0.5, "decoupled": True}),
    "rmsprop": (lambda w, g, a, b, **s: kernels.rmsprop_update(w, g, a, learning_rate=0.1, **s),
                {"rho": 0.5, "epsilon": 1e-3}),
    "adagrad": (lambda w, g, a, b, **s: kernels.adagrad_update(w, g, a, learning_rate=0.1, **s), {"epsilon": 1e-3}),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_is_the_same_with_settings_and_gradients_of_other_types(dtype, name):
    update, settings = UPDATES[name]
    w, g, a, b = arrays(dtype, 37, 37, 37, 37)
    a, b = np.abs(a), np.abs(b)
    plain, careful = [x.copy() for x in (w, a, b)], [x.copy() for x in (w, a, b)]
    update(plain[0], g, *plain[1:], **settings)
    others = {key: value if isinstance(value, bool) else np.float64(value) for key, value in settings.items()}
    update(careful[0], strided(g), *careful[1:], **others)
    assert bits(plain[0]) != bits(w)
    same(plain, careful)


@pytest.mark.parametrize("activation", ["identity", "tanh", "silu", "softmax"])
def test_products_are_the_same_by_either_way(dtype, activation):
    x, weight, bias, dz = arrays(dtype, (5, 7), (7, 6), 6, (5, 6))
    plain = [kernels.dense_forward(x, weight, bias, activation), *kernels.dense_backward_weight(x, dz)]
    careful = [
        kernels.dense_forward(strided(x), strided(weight), strided(bias), activation),
        *kernels.dense_backward_weight(strided(x), strided(dz)),
    ]
    if activation != "softmax":
        saved = {"identity": {}, "silu": {"pre_activation": x}}.get(activation, {"output": x})
        spread = {key: strided(value) for key, value in saved.items()}
        plain.append(kernels.dense_backward_input(dz, weight, activation=activation, **saved))
        careful.append(kernels.dense_backward_input(strided(dz), strided(weight), activation=activation, **spread))
    same(plain, careful)


@pytest.mark.parametrize(("shape", "target"), [((9,), (9,)), ((9, 1), (9,)), ((9,), (9, 1)), ((9, 4), (9, 4))])
def test_a_loss_is_the_same_by_either_way(dtype, shape, target):
    p, t = arrays(dtype, shape, target)
    spread = strided(p) if p.ndim == 2 and p.shape[1] > 1 else np.repeat(p, 2, axis=0)[::2]
    same(kernels.loss("huber", p, t), kernels.loss("huber", spread, t.tolist()))


@pytest.mark.parametrize("integer", [np.int32, np.int64, np.uint8])
def test_labels_of_any_integer_are_the_same(dtype, integer):
    (p,) = arrays(dtype, (9, 4))
    labels = RNG.integers(4, size=9)
    same(kernels.loss("softmax_cross_entropy", p, labels.astype(integer)),
         kernels.loss("softmax_cross_entropy", strided(p), labels.tolist()))  # fmt: skip


# -- what it takes, and what it leaves ---------------------------------------------------------------------------


def quick_loss(name, p, t, out=None):
    return _core.quick_loss(_core.LOSSES[name], NO_OPTIONS, True, p, t, out)


def test_the_quick_loss_takes_what_is_plain_and_nothing_else(dtype):
    p, t = arrays(dtype, (6, 3), (6, 3))
    labels, other = np.arange(6) % 3, np.dtype("float32" if dtype == "float64" else "float64")
    assert quick_loss("squared_error", p, t) is not None
    assert quick_loss("squared_error", p, t, p) is not None, "in place"
    assert quick_loss("softmax_cross_entropy", p, labels) is not None
    kept = t.copy()
    read_only = np.empty_like(p)
    read_only.flags.writeable = False
    for name, prediction, target, out in [
        ("squared_error", p.tolist(), t, None), ("squared_error", strided(p), t, None),
        ("squared_error", p, strided(t), None), ("squared_error", p, t.astype(other), None),
        ("squared_error", p, t[:, :2].copy(), None), ("squared_error", p, labels, None),
        ("squared_error", p, np.where(t == t[2, 1], np.nan, t).astype(dtype), None),
        ("squared_error", p, t, t), ("squared_error", p, t, read_only), ("squared_error", p, t, p.astype(other)),
        ("softmax_cross_entropy", p, labels + 1, None), ("softmax_cross_entropy", p, labels - 1, None),
        ("softmax_cross_entropy", p, labels[:5], None), ("softmax_cross_entropy", p, labels * 0.5, None),
        ("softmax_cross_entropy", p, t, None), ("sigmoid_cross_entropy", p, 2 + 0 * t, None),
        ("poisson", np.abs(p), -np.abs(t), None), ("hinge", p, 0 * t, None), ("hinge", p, t, None),
    ]:  # fmt: skip
        assert quick_loss(name, prediction, target, out) is None, (name, target)
    assert bits(t) == bits(kept)


def quick_update(w, g, kind=SGD, step=1, rate=0.1, decay=0.0, first=0.0, second=0.0, epsilon=0.0, nesterov=False,
                 states=(None, None)):  # fmt: skip
    return _core.quick_update(kind, step, rate, decay, first, second, epsilon, nesterov, w, g, *states)


def test_the_quick_update_takes_what_is_plain_and_nothing_else(dtype):
    w, g, a, b = arrays(dtype, 8, 8, 8, 8)
    a, b = np.abs(a), np.abs(b)
    assert quick_update(w, g)
    assert quick_update(w, g, first=0.9, states=(a, None))
    assert quick_update(w, g, ADAM, first=0.9, second=0.9, states=(a, b))
    before = [x.copy() for x in (w, g, a, b)]
    read_only = a.copy()
    read_only.flags.writeable = False
    refused = [
        {"rate": -0.1}, {"rate": float("nan")}, {"rate": float("inf")}, {"rate": 1}, {"rate": np.float64(0.1)},
        {"decay": -1.0}, {"decay": "0.1"}, {"first": 1.0, "states": (a, None)}, {"first": 0.9},
        {"first": True, "states": (a, None)}, {"states": (a, None)}, {"nesterov": True}, {"second": 1.0},
        {"epsilon": -1e-8}, {"step": 0}, {"step": 1.0}, {"step": True}, {"step": 2**63}, {"step": -1},
        {"kind": ADAM, "states": (a, None)}, {"kind": ADAM, "states": (a, a)}, {"kind": ADAM, "states": (a, w)},
        {"kind": ADAM, "states": (g, b)}, {"kind": ADAM, "states": (a, g)},
        {"kind": ADAMW, "states": (a[:7], b)}, {"kind": ADAMW, "states": (read_only, b)},
    ]  # fmt: skip
    for settings in refused:
        assert not quick_update(w, g, **settings), settings
    for param, grad in [(w, w), (w, g[:7]), (w, strided(g)), (w, g.tolist()), (strided(w), g), (read_only, g),
                        (w.astype("int32"), g), (w[:0], g[:0])]:  # fmt: skip
        assert not quick_update(param, grad)
    same((w, g, a, b), before)


def test_the_quick_products_take_what_is_plain_and_nothing_else(dtype):
    x, weight, bias, dz = arrays(dtype, (5, 7), (7, 6), 6, (5, 6))
    square, y = arrays(dtype, (6, 6), (5, 6))
    other = np.dtype("float32" if dtype == "float64" else "float64")

    def forward(x, weight, bias=None, out=None):
        return _core.quick_forward(0, 0.0, x, weight, bias, out)

    def backward_input(dz, weight, out=None, kind=0, saved=None):
        return _core.quick_backward_input(kind, 0.0, dz, weight, saved, out)

    assert forward(x, weight, bias, y) is y
    assert forward(x, weight) is not None
    for arguments in [(strided(x), weight), (x, strided(weight)), (x, weight.T.copy()), (x[0], weight),
                      (x.astype(other), weight), (x, weight, bias[:5]), (x, weight, strided(bias)),
                      (x, weight, bias[None]), (x, weight, bias, y[:4]), (x, weight, bias, y.astype(other)),
                      (y, square, None, y), (x, weight, y[0], y)]:  # fmt: skip
        assert forward(*arguments) is None
    tanh, softmax = _core.ACTIVATIONS["tanh"], _core.ACTIVATIONS["softmax"]
    assert backward_input(dz, weight) is not None
    assert backward_input(dz, weight, x, tanh, x) is x, "over the saved output"
    for arguments in [(strided(dz), weight), (dz, weight.T.copy()), (dz, weight, None, tanh), (dz, weight, x[:4]),
                      (dz, weight, None, softmax, x), (dz, weight, None, tanh, strided(x)), (dz, square, dz),
                      (dz, weight, None, 0, x)]:  # fmt: skip
        assert backward_input(*arguments) is None
    dw, db = np.empty_like(weight), np.empty_like(bias)
    got = _core.quick_backward_weight(x, dz, dw, db)
    assert got is not None and got[0] is dw and got[1] is db
    for arguments in [(strided(x), dz), (x, strided(dz)), (x[:4], dz), (x, dz, dw[:6]), (x, dz, dw, db[:5]),
                      (x, dz, dw, dz[0]), (x, dz, dw, dw[0]), (x, dz, dw, strided(db))]:  # fmt: skip
        full = (*arguments, None, None)[:4]
        assert _core.quick_backward_weight(*full) is None
