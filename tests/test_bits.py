"""The contract of bits, for whole networks: results depend on data, shapes, dtype and seed, and on nothing else.

Not on which API path ran, the instruction set, the number of threads, the batch that a row came in, or where and
how the arrays lie in memory. Every assertion here is equality of bytes.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from models import Pass, everything, permutation, state, targets, weight_bits
from tools import ISAS, bits, few, same_bits_on_every_isa

import chainrule as cr
from chainrule import kernels

N_ROWS, N_IN, N_OUT, BATCH = 45, 7, 4, 8  # the last batch has 5 rows
SEED = 6

OPTIMIZERS = {
    "sgd": lambda: cr.SGD(0.05),
    "momentum": lambda: cr.SGD(0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda: cr.SGD(0.05, momentum=0.9, nesterov=True, clip_value=0.02),
    "adam": lambda: cr.Adam(0.01, weight_decay=1e-3),
    "adamw": lambda: cr.AdamW(0.01, clip_norm=0.3),
    "rmsprop": lambda: cr.RMSprop(0.01),
    "adagrad": lambda: cr.Adagrad(0.05, clip_norm=0.1, clip_value=0.02),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def dense():
    return [cr.Dense(19, "silu"), cr.Dense(11, "relu"), cr.Dense(N_OUT)]


def rows(rng, dtype="float32", n_rows=N_ROWS, n_in=N_IN, n_out=N_OUT):
    return rng.normal(size=(n_rows, n_in)).astype(dtype), rng.integers(0, n_out, n_rows)


def compiled(layers, optimizer="adam", loss="softmax_cross_entropy", dtype="float32", n_in=N_IN):
    model = cr.Sequential(layers, seed=SEED, dtype=dtype)
    model.compile(OPTIMIZERS[optimizer](), loss)
    model.build(n_in)
    return model


def in_batches(x, y, epochs, shuffle=True):
    for epoch in range(epochs):
        order = permutation(len(x), SEED, epoch) if shuffle else np.arange(len(x))
        for first in range(0, len(x), BATCH):
            batch = order[first : first + BATCH]
            yield x[batch], y[batch]


# -- one training, many paths ------------------------------------------------------------------------------


def by_fit(model, x, y, **settings):
    model.fit(x, y, epochs=2, batch_size=BATCH, **settings)


def by_steps(model, x, y):
    for x_batch, y_batch in in_batches(x, y, 2):
        model.train_step(x_batch, y_batch)


class Update:
    """The public update functions over the flat parameters, with states of their own."""

    def __init__(self, optimizer, parameters):
        self.rule, self.step = optimizer, 0
        self.states = [np.zeros_like(parameters) for _ in range(2)]

    def __call__(self, parameters, gradients):
        self.step += 1
        rule, (m, v) = self.rule, self.states
        common = {"learning_rate": rule.learning_rate, "weight_decay": rule.weight_decay}
        if isinstance(rule, cr.SGD):
            momentum = {"momentum": rule.momentum, "nesterov": rule.nesterov, "velocity": m} if rule.momentum else {}
            kernels.sgd_update(parameters, gradients, **common, **momentum)
        elif isinstance(rule, cr.Adam):
            decoupled = isinstance(rule, cr.AdamW)
            kernels.adam_update(parameters, gradients, m, v, self.step, decoupled=decoupled, **common)
        elif isinstance(rule, cr.RMSprop):
            kernels.rmsprop_update(parameters, gradients, v, **common)
        else:
            kernels.adagrad_update(parameters, gradients, v, **common)


def by_hand(model, x, y):
    """model.forward, the loss, model.backward, an update function."""
    update = Update(model.optimizer, model.parameters)
    for x_batch, y_batch in in_batches(x, y, 2):
        _, dy = model.loss(model.forward(x_batch, training=True), y_batch)
        model.backward(dy)
        update(model.parameters, model.gradients)


def layer_by_layer(model, x, y):
    """The textbook loop over model.layers."""
    update = Update(model.optimizer, model.parameters)
    for a, y_batch in in_batches(x, y, 2):
        for layer in model.layers:
            a = layer.forward(a, training=True)
        _, delta = model.loss(a, y_batch)
        for layer in reversed(model.layers):
            delta = layer.backward(delta)
        update(model.parameters, model.gradients)


@each_optimizer
def test_fit_is_train_step_batch_by_batch(optimizer, dtype, rng):
    x, y = rows(rng, dtype)
    models = [compiled(everything(), optimizer, dtype=dtype) for _ in range(2)]
    by_fit(models[0], x, y)
    by_steps(models[1], x, y)
    assert state(models[0]) == state(models[1])


def test_penalties_are_added_in_one_order(dtype):
    """Layer by layer in both engines: another order shows in the last bit of the loss for some weights."""
    for seed in range(40):

        def penalty(*more, seed=seed):
            dense = [
                cr.Dense(7, l1=0.1, l2=0.3),
                cr.Dense(5, l1=0.07),
                cr.Dense(3, l1=0.01, l2=0.2),
                cr.Dense(2, l2=0.6),
            ]
            model = cr.Sequential([*dense, *more], seed=seed, dtype=dtype)
            model.build(6)
            return model._engine.penalty()

        assert penalty() == penalty(Pass()) > 0


@each_optimizer
def test_a_python_layer_changes_no_bit(optimizer, dtype, rng):
    """The model with the Python layer runs layer by layer from Python, by both ways of training."""
    x, y = rows(rng, dtype)
    native = compiled(everything(), optimizer, dtype=dtype)
    by_fit(native, x, y)
    for train in (by_fit, by_steps):
        model = compiled([*everything(), Pass()], optimizer, dtype=dtype)
        train(model, x, y)
        assert weight_bits(model) == weight_bits(native)
        assert model.predict(x).tobytes() == native.predict(x).tobytes()
        assert model.evaluate(x, y) == native.evaluate(x, y)


def without_penalties():
    """As everything(), for the paths by hand: backward leaves penalties to the update."""
    return [cr.Dense(12, "gelu"), cr.BatchNorm(), cr.Activation("tanh"), cr.Dropout(0.25),
            cr.Dense(9, "leaky_relu", use_bias=False), cr.LayerNorm(), cr.Dense(N_OUT)]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])  # the others clip
@pytest.mark.parametrize("train", [by_hand, layer_by_layer])
def test_explicit_backpropagation_gives_the_bits_of_the_native_step(train, optimizer, dtype, rng):
    x, y = rows(rng, dtype)
    native = compiled(without_penalties(), optimizer, dtype=dtype)
    by_fit(native, x, y)
    model = compiled(without_penalties(), optimizer, dtype=dtype)
    train(model, x, y)
    assert weight_bits(model) == weight_bits(native)


@pytest.mark.parametrize("loss", cr.losses.NAMES)
def test_a_users_loss_that_calls_ours_changes_no_bit(loss, rng):
    last = {"poisson": "softplus", "cross_entropy": "softmax"}.get(loss, "identity")
    x, t = rng.normal(size=(N_ROWS, N_IN)).astype("f4"), targets(loss, N_ROWS, N_OUT, rng).astype("f4")
    weight = rng.uniform(0.5, 2, N_ROWS)

    def own(prediction, target, sample_weight=None):
        return kernels.loss(loss, prediction, target, sample_weight=sample_weight)

    found = set()
    for choice in (loss, own):
        model = compiled([cr.Dense(9, "tanh", l2=0.01), cr.Dense(N_OUT, last)], "momentum", choice)
        by_fit(model, x, t, sample_weight=weight)
        found.add((weight_bits(model), tuple(model.history["loss"])))
    assert len(found) == 1


def test_rows_read_in_place_and_gathered(rng):
    """shuffle=False walks the array, shuffle=True gathers by an index: on sorted rows both do the same."""
    x, y = rows(rng)
    model = compiled(everything())
    model.fit(x, y, batch_size=BATCH)
    order = permutation(N_ROWS, SEED, 0)
    sorted_model = compiled(everything())
    sorted_model.fit(x[order], y[order], batch_size=BATCH, shuffle=False)
    assert state(model) == state(sorted_model)


def test_callbacks_cut_the_epoch_and_change_no_bit(rng):
    x, y = rows(rng)
    models = [compiled(everything()) for _ in range(2)]
    losses = []
    by_fit(models[0], x, y)
    by_fit(models[1], x, y, callbacks=[cr.LambdaCallback(on_batch_end=lambda step, loss: losses.append(loss))])
    assert state(models[0]) == state(models[1]) and len(losses) == 2 * 6


# -- the instruction set -----------------------------------------------------------------------------------


@each_optimizer
def test_training_has_the_same_bits_on_every_isa(optimizer, dtype, rng):
    x, y = rows(rng, dtype)

    def train():
        model = compiled(everything(), optimizer, dtype=dtype)
        by_fit(model, x, y, validation_split=0.2)
        return (*model.get_weights(), *model._states, model.predict(x), model.history["loss"],
                model.history["val_loss"])  # fmt: skip

    same_bits_on_every_isa(train)


@pytest.mark.parametrize("activation", cr.activations.NAMES)
def test_every_activation_trains_with_the_same_bits_on_every_isa(activation, dtype, rng):
    x, y = rows(rng, dtype, n_in=37, n_out=10)

    def train():
        model = compiled([cr.Dense(21, activation), cr.Dense(10)], "momentum", dtype=dtype, n_in=37)
        by_steps(model, x, y)
        return (*model.get_weights(), model.predict(x))

    same_bits_on_every_isa(train)


def test_products_longer_than_a_block_have_the_same_bits_on_every_isa(rng):
    """More than 256 inputs, rows and outputs: sums of several blocks."""
    x, y = rows(rng, n_rows=300, n_in=700, n_out=10)

    def train():
        model = compiled([cr.Dense(280, "relu"), cr.Dense(10)], "sgd", n_in=700)
        model.train_step(x, y)
        return (model.parameters, model.predict(x))

    same_bits_on_every_isa(train)


PROGRAM = """
import hashlib, sys
import numpy as np, chainrule as cr
x = np.sin(np.arange(60 * 9, dtype="f8").reshape(60, 9) % 17).astype("f4").round(3)
y = np.arange(60) % 4
layers = [cr.Dense(21, "gelu"), cr.BatchNorm(), cr.Dropout(0.2), cr.Dense(4)]
model = cr.Sequential(layers, seed=3)
model.compile(cr.AdamW(cr.schedules.Cosine(0.01, 12)), "softmax_cross_entropy", ["accuracy"])
model.fit(x, y, epochs=3, batch_size=16, verbose=0)
print(cr.show_config("dict")["isa"], hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


def run_program(isa, **environment):
    environment = {**os.environ, "CHAINRULE_ISA": isa, **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    chosen, digest = done.stdout.split()
    assert chosen == isa
    return digest


def test_processes_with_another_isa_and_thread_limit_train_the_same_model():
    digests = {run_program(isa, CHAINRULE_NUM_THREADS=str(1 + i)) for i, isa in enumerate(ISAS)}
    assert len(digests) == 1


# -- threads -----------------------------------------------------------------------------------------------


def with_threads(call):
    """`call()` gives bytes; assert that they are the same with 1 to 4 threads."""
    found = {}
    for n in few((1, 2, 3, 4), 2):
        with cr.num_threads(n):
            found[n] = call()
    assert len(set(found.values())) == 1, f"{[n for n in found if found[n] != found[1]]} threads unlike 1"


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_threads_change_no_bit_of_a_large_step(optimizer, rng):
    x, y = rows(rng, n_rows=256, n_in=784, n_out=10)

    def train():
        layers = [cr.Dense(512, "relu"), cr.Dense(512, "tanh", l2=1e-4), cr.Dense(10)]
        model = compiled(layers, optimizer, n_in=784)
        loss = model.train_step(x, y)
        return weight_bits(model) + bits(loss, model.predict(x))

    with_threads(train)


def test_threads_change_no_bit_of_any_layer(rng):
    """Row counts that do not divide evenly, norms and dropout among the products."""
    x, y = rows(rng, "float64", n_rows=331, n_in=130)

    def train():
        layers = [cr.Dense(257, "gelu"), cr.BatchNorm(), cr.Dropout(0.3), cr.Dense(131, "mish"), cr.LayerNorm(),
                  cr.Activation("softplus"), cr.Dense(N_OUT)]  # fmt: skip
        model = compiled(layers, "adamw", dtype="float64", n_in=130)
        losses = [model.train_step(x, y, np.linspace(0.1, 2, 331)) for _ in range(2)]
        dx = model.backward(model.forward(x, training=True))
        return weight_bits(model) + bits(losses, model.predict(x), dx, model.gradients)

    with_threads(train)


@pytest.mark.parametrize("n_rows", few([5, 70, 256], 1))
def test_threads_change_no_bit_of_wide_layers(n_rows, rng):
    """Wide weights go by strips of columns: beside each other, below a norm, with and without f' of their own."""
    x, y = rows(rng, n_rows=n_rows, n_in=700)

    def train():
        layers = [cr.Dense(1000, "relu"), cr.Dense(808, "gelu"), cr.BatchNorm(), cr.Dense(801), cr.Activation("tanh"),
                  cr.Dropout(0.3), cr.Dense(820, "softmax"), cr.Dense(810, "mish"), cr.LayerNorm(),
                  cr.Dense(N_OUT)]  # fmt: skip
        model = compiled(layers, "momentum", n_in=700)
        losses = [model.train_step(x, y) for _ in range(2)]
        dx = model.backward(model.forward(x, training=True))
        return weight_bits(model) + bits(losses, model.predict(x), dx, model.gradients)

    with_threads(train)


def test_the_size_of_the_slabs_changes_no_bit(rng):
    # 256 rows of 1100 gradients are more than stays near, so slabs are of 4 MB; for 128 rows they are smaller. A norm
    # that is never reached has the update done in one pass over all.
    x, y = rng.normal(size=(256, 1300)).astype(np.float32), rng.normal(size=(256, 1100)).astype(np.float32)

    def trained(clip_norm=None, n_rows=256):
        model = cr.Sequential([cr.Dense(1100)], seed=SEED)
        model.compile(cr.Adam(0.01, clip_norm=clip_norm), "squared_error")
        for first in range(0, 256, n_rows):
            model.train_step(x[first : first + n_rows], y[first : first + n_rows])
        return weight_bits(model)

    assert trained() == trained(clip_norm=1e30)
    assert trained(n_rows=128) == trained(n_rows=128, clip_norm=1e30)


def test_threads_change_no_bit_of_a_shuffled_epoch(rng):
    x, y = rows(rng, n_rows=700, n_in=200)

    def train():
        model = compiled([cr.Dense(300, "relu"), cr.Dense(N_OUT)], "adam", n_in=200)
        model.fit(x, y, batch_size=300, validation_split=0.1)
        return weight_bits(model) + bits(model.history["loss"], model.history["val_loss"])

    with_threads(train)


def test_trials_of_other_numbers_of_threads_change_no_bit(rng):
    """Enough steps and predictions that the number of threads is tried out, in `fit` and call by call."""
    x, y = rows(rng, n_rows=1300, n_in=100)

    def train():
        model = compiled([cr.Dense(120, "tanh"), cr.Dense(110, "relu"), cr.Dense(N_OUT)], "adam", n_in=100)
        model.fit(x, y, batch_size=64, epochs=4)
        found = [model.train_step(x[:50], y[:50]) for _ in range(40)]
        return weight_bits(model) + bits(found, model.history["loss"], *[model.predict(x[:200]) for _ in range(40)])

    with_threads(train)


# -- the batch a row came in, and memory -------------------------------------------------------------------


def test_a_row_alone_and_in_any_batch(isa, dtype, rng):
    model = compiled(everything(), dtype=dtype, n_in=37)
    x, y = rows(rng, dtype, n_rows=83, n_in=37)
    model.fit(x, y, batch_size=16)
    whole = model.predict(x)
    for i in (0, 1, 41, 82):
        assert model.predict(x[i : i + 1]).tobytes() == whole[i].tobytes()
        assert model(x[i : i + 1]).tobytes() == whole[i].tobytes()
    for batch in (1, 2, 7, 16, 64, 1000):
        assert model.predict(x, batch_size=batch).tobytes() == whole.tobytes()
    assert model.predict(x[::-1])[::-1].tobytes() == whole.tobytes()
    assert model.forward(x).tobytes() == whole.tobytes()


def layouts(x):
    """The same numbers at odd places: unaligned, padded, reversed, Fortran order, swapped, wider, a list."""
    n_rows, n_cols = x.shape
    for offset in (1, 3, 5):
        sea = np.full(x.size + 16, np.nan, x.dtype)
        view = sea[offset : offset + x.size].reshape(x.shape)
        view[...] = x
        yield f"{offset} elements off", view
    for pad in (1, 9):
        sea = np.full((n_rows, n_cols + pad), np.nan, x.dtype)
        sea[:, :n_cols] = x
        yield f"rows {pad} longer", sea[:, :n_cols]
    block = np.zeros(x.nbytes + 1, np.uint8)
    odd = block[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    yield "one byte off", odd
    yield "every second row", np.repeat(x, 2, axis=0)[::2]
    yield "backwards", x[::-1].copy()[::-1]
    yield "every second column", np.repeat(x, 2, axis=1)[:, ::2]
    yield "Fortran order", np.asfortranarray(x)
    yield "other byte order", x.astype(x.dtype.newbyteorder())
    yield "float64", x.astype(np.float64)
    yield "a list", x.tolist()


def test_memory_layout_changes_no_bit(isa, dtype, rng):
    x, y = rows(rng, dtype)
    weight = rng.uniform(0.5, 2, N_ROWS).astype(dtype)

    def everything_of(x_view, y_view, w_view):
        model = compiled(without_penalties(), dtype=dtype)
        losses = [model.train_step(x_view, y_view, w_view)]
        model.fit(x_view, y_view, epochs=1, batch_size=BATCH, sample_weight=w_view)
        output = model.forward(x_view, training=True)
        return weight_bits(model) + bits(losses, model.predict(x_view), output, model.backward(output))

    expected = everything_of(x, y, weight)
    for name, view in layouts(x):
        assert everything_of(view, y, weight) == expected, name
    labels = [y.astype(kind) for kind in ("i1", "u2", "i4", "i8", "u8", ">i4")]
    labels += [np.repeat(y, 2)[::2], y.tolist(), y[:, None]]
    for view in labels:
        assert everything_of(x, view, weight) == expected
    for view in (np.repeat(weight, 3)[::3], weight.tolist(), weight.astype("f8"), weight[::-1].copy()[::-1]):
        assert everything_of(x, y, view) == expected


def test_targets_in_any_layout(dtype, rng):
    x, _ = rows(rng, dtype)
    t = rng.normal(size=(N_ROWS, N_OUT)).astype(dtype)
    found = set()
    for view in (t, *(view for _, view in layouts(t))):
        model = compiled(dense(), loss="squared_error", dtype=dtype)
        loss = model.train_step(x, view)
        model.fit(x, view, batch_size=BATCH)
        found.add(weight_bits(model) + bits(loss, model.evaluate(x, view)["loss"]))
    assert len(found) == 1


def test_the_output_may_lie_anywhere(isa, dtype, rng, guarded):
    model = compiled(dense(), dtype=dtype)
    x, _ = rows(rng, dtype)
    expected = model.predict(x).tobytes()
    for offset, ld in ((0, None), (1, None), (3, N_OUT + 5)):
        for call in (model.predict, model):
            out = guarded((N_ROWS, N_OUT), dtype, offset, ld)
            assert call(x, out=out.array) is out.array
            assert out.array.tobytes() == expected
            out.check()


# -- the seed, and nothing else ------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_training_and_another_is_not(rng):
    x, y = rows(rng)
    found = []
    for seed in (0, 0, 1, 2**64 - 1):
        model = cr.Sequential(everything(), seed=seed)
        model.compile("adam", "softmax_cross_entropy")
        model.fit(x, y, epochs=2, batch_size=BATCH)
        found.append(weight_bits(model))
    assert found[0] == found[1] and len(set(found)) == 3


def test_other_models_and_numpys_random_state_have_no_say(rng):
    x, y = rows(rng)
    models = [compiled(everything()) for _ in range(2)]
    other = compiled(everything(), "sgd")
    for x_batch, y_batch in in_batches(x, y, 2):
        models[0].train_step(x_batch, y_batch)
    for x_batch, y_batch in in_batches(x, y, 2):
        other.train_step(x_batch, y_batch)
        models[1].predict(x)
        models[1].evaluate(x, y)
        models[1].train_step(x_batch, y_batch)
    assert state(models[0]) == state(models[1])
