"""What a model cannot hold or count: settings beyond its dtype, steps beyond 2^63 - 1, activations of other weights."""

import math

import numpy as np
import pytest
from models import compiled, each_engine, layers_of, refused, rows_and_labels, weight_bits

import chainrule as cr
from chainrule._describe import arguments

N_ROWS, N_IN, N_OUT = 8, 5, 4


x, labels = rows_and_labels(N_ROWS, N_IN, N_OUT, "f4")


HELD = [
    (cr.LayerNorm(1e-50), "sgd", "squared_error", "epsilon of LayerNorm must be > 0 in float32, got 1e-50, which is 0"),
    (cr.BatchNorm(2.0**-150), "sgd", "squared_error", "epsilon of BatchNorm must be > 0 in float32, got 7.0"),
    (cr.BatchNorm(1e39), "sgd", "squared_error", r"epsilon of BatchNorm must be finite in float32, got 1e\+39$"),
    (cr.Activation("celu", 1e-50), "sgd", "squared_error", "alpha of celu must be > 0 in float32, got 1e-50"),
    (cr.Dense(N_OUT, ("celu", 1e-50)), "sgd", "squared_error", "alpha of celu must be > 0 in float32"),
    (cr.Dense(N_OUT, ("elu", 1e39)), "sgd", "squared_error", r"alpha of elu must be finite in float32, got 1e\+39"),
    (cr.Dense(N_OUT, l2=1e39), "sgd", "squared_error", r"l2 of Dense must be finite in float32, got 1e\+39"),
    (None, cr.Adam(epsilon=1e-50), "squared_error", "epsilon of Adam must be > 0 in float32, got 1e-50"),
    (None, cr.AdamW(epsilon=1e-50), "squared_error", "epsilon of AdamW must be > 0 in float32"),
    (None, cr.RMSprop(epsilon=1e-50), "squared_error", "epsilon of RMSprop must be > 0 in float32"),
    (None, cr.Adagrad(epsilon=1e-50), "squared_error", "epsilon of Adagrad must be > 0 in float32"),
    (None, cr.SGD(weight_decay=1e39), "squared_error", "weight_decay of SGD must be finite in float32"),
    (None, cr.SGD(clip_value=1e-50), "squared_error", "clip_value of SGD must be > 0 in float32"),
    (None, "sgd", cr.losses.Huber(1e-50), "delta of Huber must be > 0 in float32"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "optimizer", "loss", "match"), HELD, ids=[match[:30] for *_, match in HELD])
@each_engine
def test_settings_that_float32_does_not_hold(python, layer, optimizer, loss, match, x):
    # None had been noticed: the weights became NaN.
    y = np.zeros((N_ROWS, N_OUT), "f4")

    def model(dtype):
        last = [] if layer is None else [type(layer)(**arguments(layer))]
        return cr.Sequential([*layers_of(python, N_OUT), *last], dtype=dtype)

    for way in ("build", "compile", "train"):
        narrow = model("float32")
        with pytest.raises(ValueError, match=f"^{match}"):
            if way == "compile":
                narrow.build(N_IN)
            narrow.compile(optimizer, loss)
            narrow.build(N_IN) if way == "build" else narrow.train_step(x, y)
        assert narrow.built == (way == "compile" and layer is None)
    wide = model("float64")
    wide.compile(optimizer, loss)
    assert math.isfinite(wide.train_step(x, y)) and all(np.isfinite(w).all() for w in wide.get_weights())


def test_a_layer_of_its_own_looks_at_its_settings_too():
    for layer in (cr.LayerNorm(1e-50), cr.Dense(2, ("celu", 1e-50))):
        with pytest.raises(ValueError, match="must be > 0 in float32"):
            layer.build(3)
        layer.build(3, dtype="float64")


@each_engine
def test_no_backward_through_updated_weights(python, x):
    model = compiled(layers_of(python, N_OUT), n_in=N_IN, dtype="float32")
    dy = np.ones((N_ROWS, N_OUT), "f4")
    model.forward(x)
    model.backward(dy)
    model._engine.update(0.1)
    with refused(model, RuntimeError, "^backward needs a forward"):
        model.backward(dy)


@each_engine
def test_the_counters_end(python, x, labels):
    model = compiled(layers_of(python, N_OUT), cr.Adam(0.01), n_in=N_IN, dtype="float32")
    model._engine.set_counters(2**63 - 2, 5)
    model.train_step(x, labels)
    before = weight_bits(model)
    assert model._engine.steps == 2**63 - 1
    for train in (lambda: model.train_step(x, labels), lambda: model.fit(x, labels, batch_size=2, verbose=0)):
        with pytest.raises(RuntimeError, match=r"2\*\*63 - 1 steps, the most that it counts"):
            train()
        assert model._engine.steps == 2**63 - 1 and weight_bits(model) == before
    model._engine.set_counters(0, 2**63 - 1)
    with pytest.raises(RuntimeError, match=r"2\*\*63 - 1 steps"):
        model.forward(x, training=True)
    for counters in ((2**63, 0), (0, 2**63)):
        with pytest.raises(ValueError, match=r"at most 2\*\*63 - 1"):
            model._engine.set_counters(*counters)
