"""The contract of bits over random networks: instruction set x threads x way of training x place in batch and memory.

Each test runs a selection that changes from network to network; `pytest -m long` runs all combinations.
"""

import itertools

import numpy as np
import pytest
from models import Pass, permutation, weight_bits
from test_bits import OPTIMIZERS, Update
from tools import EMULATED, ISAS, bits, few

import chainrule as cr
from chainrule import _core, kernels

N_NETS = 40
LARGE = 4  # every fourth network has work enough for eight threads
THREADS = range(1, 9)
SEED = 11
CLIPS = ("nesterov", "adamw", "adagrad")  # the update functions do not clip
HIDDEN = [name for name in cr.activations.NAMES if name not in ("exponential", "log_softmax")]


class Net:
    """The i-th random network with its data: layers of every kind, dropout on; 20 steps (a large one: 4)."""

    def __init__(self, i, dtype):
        rng = np.random.default_rng(1000 + i)
        self.dtype, self.is_large = np.dtype(dtype), i % LARGE == LARGE - 1
        self.optimizer = list(OPTIMIZERS)[i % len(OPTIMIZERS)]
        self.loss = cr.losses.NAMES[i % len(cr.losses.NAMES)]
        widths = rng.integers(100, 160, 3) if self.is_large else rng.integers(1, (3, 17, 70)[i % 3], rng.integers(2, 6))
        self.n_in, *hidden, n_out = widths.tolist()
        n_out += self.loss == "softmax_cross_entropy" and n_out == 1
        self.batch = 640 if self.is_large else int(rng.integers(1, 40))
        self.epochs = 2 if self.is_large else 4
        n_rows = self.batch * (2 if self.is_large else 5) - self.batch // 3  # the last batch is a short one
        self.rates = rng.choice([0.0, 0.2, 0.5], len(hidden)).tolist()
        self.norms = rng.integers(0, 3, len(hidden)).tolist()
        self.activations = [HIDDEN[(i + 5 * k) % len(HIDDEN)] for k in range(len(hidden))]
        self.hidden, self.n_out = hidden, n_out
        self.x = rng.normal(size=(n_rows, self.n_in)).astype(dtype)
        self.weight = rng.uniform(0.5, 2, n_rows).astype(dtype) if i % 2 else None
        t = rng.uniform(0.1, 0.9, (n_rows, n_out))
        self.t = (np.sign(t - 0.5) if self.loss == "hinge" else t / t.sum(1, keepdims=True)).astype(dtype)

    def model(self, *more, clip_norm=None):
        layers = []
        for width, activation, norm, rate in zip(self.hidden, self.activations, self.norms, self.rates, strict=True):
            layers += [cr.Dense(width, activation), *([], [cr.LayerNorm()], [cr.BatchNorm()])[norm], cr.Dropout(rate)]
        last = "sigmoid" if self.loss in ("poisson", "cross_entropy") else "identity"
        model = cr.Sequential([*layers, cr.Dense(self.n_out, last), *more], seed=SEED, dtype=self.dtype)
        optimizer = OPTIMIZERS[self.optimizer]()
        if clip_norm is not None and optimizer.clip_norm is None:
            settings = {name: getattr(optimizer, name) for name in optimizer._settings}
            optimizer = type(optimizer)(**{**settings, "clip_norm": clip_norm})
        model.compile(optimizer, self.loss)
        model.build(self.n_in)
        return model

    def batches(self):
        for epoch in range(self.epochs):
            order = permutation(len(self.x), SEED, epoch)
            for first in range(0, len(self.x), self.batch):
                rows = order[first : first + self.batch]
                yield self.x[rows], self.t[rows], None if self.weight is None else self.weight[rows]

    def by_fit(self, model):
        model.fit(self.x, self.t, epochs=self.epochs, batch_size=self.batch, sample_weight=self.weight, verbose=0)

    def trained(self, way):
        """The bits of weights, running statistics and predictions after training this way."""
        model = self.model(*([Pass()] if way == "layer by layer" else []),
                           clip_norm=1e30 if way == "gradients in memory" else None)  # fmt: skip
        if way in ("fit", "layer by layer", "gradients in memory"):
            self.by_fit(model)
        elif way == "train_step":
            for x, t, weight in self.batches():
                model.train_step(x, t, weight)
        else:
            update = Update(model.optimizer, model.parameters)
            for x, t, weight in self.batches():
                _, dy = model.loss(model.forward(x, training=True), t, weight)
                model.backward(dy)
                update(model.parameters, model.gradients)
        return weight_bits(model) + bits(model.predict(self.x))

    @property
    def ways(self):
        by_hand = [] if self.optimizer in CLIPS else ["explicit"]
        return ["fit", "train_step", "layer by layer", "gradients in memory", *by_hand]


def assert_same_training(i, dtype, combinations):
    net, before = Net(i, dtype), _core.isa()
    with cr.num_threads(1):
        expected = net.trained("fit")
    try:
        for isa, threads, way in combinations(net):
            _core.set_isa(isa)
            with cr.num_threads(threads):
                assert net.trained(way) == expected, f"{way} on {isa} with {threads} threads, net {i}: {vars(net)}"
    finally:
        _core.set_isa(before)


@pytest.mark.parametrize("i", range(8 if EMULATED else N_NETS))  # eight in a row: all optimizers, ways and widths
def test_training_has_the_same_bits_everywhere(i, dtype):
    def some(net):
        for k, isa in enumerate(ISAS):
            yield isa, THREADS[(3 * k + i) % 8], net.ways[(i + k) % len(net.ways)]

    assert_same_training(i, dtype, some)


@pytest.mark.long
@pytest.mark.parametrize("i", range(N_NETS))
def test_training_in_all_combinations(i, dtype):
    def everything(net):
        for k, (isa, threads) in enumerate(itertools.product(ISAS, THREADS)):
            for way in [net.ways[k % len(net.ways)]] if net.is_large else net.ways:
                yield isa, threads, way

    assert_same_training(i, dtype, everything)


def assert_rows_are_independent(i, dtype):
    """Output and input gradient of a row: alone, in batches of all sizes, at every position."""
    net = Net(i, dtype)
    model = net.model()
    x, dy = net.x[:41], np.resize(net.t, (41, net.n_out))

    def of(rows):
        y = model.forward(x[rows])
        return y, model.backward(dy[rows])

    y, dx = of(np.arange(len(x)))
    assert bits(model.predict(x)) == bits(y)

    def check(rows):
        for got, expected in zip(of(rows), (y, dx), strict=True):
            assert bits(got) == bits(expected[rows]), f"net {i}, rows {rows}: {vars(net)}"

    for row in few(range(len(x)), 9):
        check(np.array([row]))
        check(np.roll(np.arange(len(x)), row))
        check(np.arange(row + 1))
    check(np.full(300, 7))


@pytest.mark.parametrize("i", range(0, N_NETS, 7))
def test_a_row_is_the_same_alone_and_anywhere(i, isa, dtype):
    assert_rows_are_independent(i, dtype)


@pytest.mark.long
@pytest.mark.parametrize("i", range(N_NETS))
def test_every_row_of_every_net(i, isa, dtype):
    assert_rows_are_independent(i, dtype)


def placed(array, offset, extra):
    """The same numbers `offset` bytes after a multiple of 64, with rows `extra` elements longer, in a sea of NaN."""
    shape = (*array.shape[:-1], array.shape[-1] + extra)
    n = int(np.prod(shape))
    sea = np.full(n * array.itemsize + 192, 0xFF, np.uint8)
    start = -sea.ctypes.data % 64 + offset
    view = sea[start : start + n * array.itemsize].view(array.dtype).reshape(shape)[..., : array.shape[-1]]
    view[...] = array
    return view


@pytest.mark.parametrize("extra", [0, 1, 6])
def test_every_alignment_and_stride(extra, isa, dtype, rng):
    """Byte offsets 0 to 63. What is no multiple of the item size is copied at the door, the rest is read in place."""
    n_rows, n_in, n_out = 19, 37, 21
    x, w = rng.normal(size=(n_rows, n_in)).astype(dtype), rng.normal(size=(n_in, n_out)).astype(dtype)
    bias, dz = rng.normal(size=n_out).astype(dtype), rng.normal(size=(n_rows, n_out)).astype(dtype)
    t = kernels.softmax(rng.normal(size=(n_rows, n_out)).astype(dtype))
    model = cr.Sequential([cr.Dense(17, "gelu"), cr.LayerNorm(), cr.Dense(n_out)], seed=SEED, dtype=dtype)
    model.compile("adam", "softmax_cross_entropy")
    model.build(n_in)
    begin = model.parameters.copy()

    def everything(place):
        x_, w_, bias_, dz_, t_ = place(x), place(w), placed_vector(place, bias), place(dz), place(t)
        model.parameters[...] = begin
        model._engine.set_counters(0, 0)
        for moment in model._states:
            moment[...] = 0
        loss, gradient = kernels.loss("softmax_cross_entropy", dz_, t_)
        return bits(
            kernels.dense_forward(x_, w_, bias_, "silu"), kernels.dense_backward_input(dz_, w_),
            kernels.dense_backward_input(dz_, w_, activation="tanh", output=x_),
            *kernels.dense_backward_weight(x_, dz_), kernels.activation("gelu", x_), kernels.expm1(x_),
            kernels.activation_backward("tanh", x_, y=place(x[::-1])), loss, gradient, kernels.softmax(x_),
            model.predict(x_), model.forward(x_), model.backward(dz_), model.train_step(x_, t_), model.parameters,
        )  # fmt: skip

    def placed_vector(place, vector):
        return place(vector[np.newaxis])[0]

    expected = everything(lambda array: array)
    for offset in few(range(64), 13):
        assert everything(lambda array, offset=offset: placed(array, offset, extra)) == expected, f"{offset} bytes off"
