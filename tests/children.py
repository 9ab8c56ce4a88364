"""What child processes of the tests run; a module of its own, which they can import whatever pytest calls the tests."""

import numpy as np
from models import weight_bits

import chainrule as cr


def data():
    x = np.sin(np.arange(256 * 128, dtype="f8")).astype("f4").reshape(256, 128)
    return x, np.arange(256) % 10


def train():
    """Steps that are split among three threads; returns the bits of the weights."""
    with cr.num_threads(3):
        model = cr.Sequential([cr.Dense(512, "relu"), cr.Dense(10)], seed=3)
        model.compile("adam", "softmax_cross_entropy")
        model.fit(*data(), batch_size=128)
        return weight_bits(model)


def train_into(queue):
    queue.put(train())
