"""What a model refuses: the exact exception, a message that names the argument, what was expected and what came,
and no trace in the model: `refused` compares weights, running statistics, optimizer state and counters.
"""

import math
import re

import numpy as np
import pytest
from models import Pass, everything, refused, rows_and_labels, state

import chainrule as cr

N_ROWS, N_IN, N_OUT = 8, 5, 4


@pytest.fixture(params=["native", "layer by layer"])
def layers(request):
    """Layers of every kind, for both engines."""
    return everything() if request.param == "native" else [Pass(), *everything()]


x, labels = rows_and_labels(N_ROWS, N_IN, N_OUT, "f4")


def trained(layers, x, y, loss="softmax_cross_entropy"):
    """A model that has taken a step, so that every part of its state is worth losing."""
    model = cr.Sequential(layers, seed=1)
    model.compile("adam", loss, ["accuracy"] if loss == "softmax_cross_entropy" else [])
    model.train_step(x, y)
    return model


def ways_to_train(model):
    """Every call that takes x and y."""

    def validate(x, y):
        return model.fit(np.ones((2, N_IN)), np.zeros(2, int), validation_data=(x, y))

    return [model.train_step, model.fit, model.evaluate, validate]


def read_only(array):
    array.flags.writeable = False
    return array


# -- x -------------------------------------------------------------------------------------------------------------

BAD_X = [
    (np.ones((3, 4), "f4"), ValueError, r"^x (of validation_data )?has 4 features, the model was built for 5$"),
    (np.ones((3, 4)).T[:, :0], ValueError, r"^x (of validation_data )?has 0 features, the model was built for 5$"),
    (np.ones(5), ValueError, r"must have shape \(n_rows, 5\), got \(5,\); x.*\.reshape\(1, -1\) makes one row of it$"),
    (np.ones((1, 3, 5)), ValueError, r"^x (of validation_data )?must have shape \(n_rows, 5\), got \(1, 3, 5\)$"),
    (np.float32(3), ValueError, r"must have shape \(n_rows, 5\), got \(\)"),
    (np.ones((3, 5), complex), TypeError, r"must hold real numbers, got dtype complex128 \(ndarray\)$"),
    (np.array([[1, 2, 3, 4, None]] * 3), TypeError, r"must hold real numbers, got dtype object \(ndarray\)$"),
    (np.full((3, 5), "1.0"), TypeError, r"must hold real numbers, got dtype <U3 \(ndarray\)$"),
    (np.zeros((3, 5), "M8[s]"), TypeError, r"must hold real numbers, got dtype datetime64\[s\] \(ndarray\)$"),
    ("text", TypeError, r"must hold real numbers, got dtype <U4 \(str\)$"),
    (None, TypeError, r"must hold real numbers, got dtype object \(NoneType\)$"),
    ([[1, 2, 3, 4, 5], [1, 2]], ValueError, r"^x (of validation_data )?is not an array: "),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "match"), BAD_X, ids=[f"{i}" for i in range(len(BAD_X))])
def test_x(bad, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    for call in (model.predict, model, model.forward, lambda bad: model.forward(bad, training=True)):
        with refused(model, error, match):
            call(bad)
    for train in ways_to_train(model):
        with refused(model, error, match):
            train(bad, np.zeros(3, int))
    model.train_step(x, labels)


def test_no_rows_to_train_on(layers, x, labels):
    model = trained(layers, x, labels)
    for dtype in ("f4", "f8"):
        empty = np.empty((0, N_IN), dtype)
        for y in (np.empty(0, int), np.empty((0, N_OUT), dtype)):
            for train in ways_to_train(model):
                with refused(
                    model, ValueError, r"^x( of validation_data)? must have at least one row.*, got shape \(0, 5\)$"
                ):
                    train(empty, y)


# -- y -------------------------------------------------------------------------------------------------------------

BAD_LABELS = [
    (np.array([0, 1, 4]), ValueError, r"^y.*\[2\] is 4, expected a class label from 0 to 3 \(4 classes\)$"),
    (np.array([0, -1, 2]), ValueError, r"^y.*\[1\] is -1, expected a class label from 0 to 3 \(4 classes\)$"),
    (np.array([0, -1, 2], "i1"), ValueError, r"^y.*\[1\] is -1, expected a class label from 0 to 3 \(4 classes\)$"),
    (np.array([2**32, 0, 0]), ValueError, r"^y.*\[0\] is 4294967296, expected a class label"),
    (np.array([-(2**63), 0, 0]), ValueError, r"^y.*\[0\] is -9223372036854775808, expected a class label"),
    (np.array([2**64 - 1, 0, 0], "u8"), ValueError, r"^y.*\[0\] is 18446744073709551615, expected a class label"),
    (np.array([0.0, 1.0, 2.0]), TypeError,
     r"^y.* holds float64 numbers, class labels must be integers; y.*astype\(int\)"),
    (np.array([0, 1, 2], "f4"), TypeError, r"^y.* holds float32 numbers, class labels must be integers"),
    (np.array(["a", "b", "c"]), TypeError, r"must hold real numbers, got dtype <U1 \(ndarray\); np.unique\(y, ret"),
    (np.array([0, 1]), ValueError, r"^y.* has 2 rows, x has 3$"),
    (np.array([[0, 1, 2]]), ValueError, r"^y.* has 1 rows, x has 3$"),
    (np.zeros((3, 3), "f4"), ValueError,
     r"must have shape \(3, 4\) like the prediction, or integer labels of shape \(3,\)"),
    (np.zeros((3, 4, 1)), ValueError,
     r"must have shape \(3, 4\) like the prediction, .* got shape \(3, 4, 1\) of float64$"),
    (0, ValueError, r"^y.* has no rows, x has 3$"),
    (None, TypeError, r"^y.* must hold real numbers, got dtype object \(NoneType\)$"),
    (np.full((3, 4), np.nan, "f4"), ValueError, r"^y.*\[0, 0\] is NaN$"),
    (np.full((3, 4), 2.0), ValueError,
     r"^y.* must be in \[0, 1\] for softmax_cross_entropy, got values from 2.0 to 2.0$"),
    (np.full((3, 4), -1, "f4"), ValueError,
     r"^y.* must be in \[0, 1\] for softmax_cross_entropy, got values from -1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "match"), BAD_LABELS, ids=[f"{i}" for i in range(len(BAD_LABELS))])
def test_labels(bad, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    for train in ways_to_train(model):
        with refused(model, error, match):
            train(x[:3], bad)


BAD_TARGETS = [
    ((3, 2), (3,), "f4"), ((3, 2), (3, 1), "f4"), ((3, 2), (1, 2), "f4"), ((3, 2), (2, 3), "f4"), ((3, 2), (6,), "f4"),
    ((3, 1), (3, 2), "f4"), ((3, 1), (1, 3), "f4"), ((3, 1), (3, 1, 1), "f4"), ((3, 1), (1,), "f4"), ((3, 1), (), "f4"),
    ((3, 2), (3,), "i8"), ((3, 1), (3, 2), "i8"),
]  # fmt: skip


@pytest.mark.parametrize(("prediction", "target", "dtype"), BAD_TARGETS)
def test_a_target_is_never_broadcast(prediction, target, dtype, x):
    n_out = prediction[1]
    model = cr.Sequential([cr.Dense(n_out)])
    model.compile("adam", "squared_error")
    model.train_step(x, np.zeros((N_ROWS, n_out)))
    rows = target[0] if target else "no"
    match = (
        rf"^y has {rows} rows, x has 3$" if rows != 3
        else rf"^y must have shape \(3, {n_out}\) like the prediction, got shape {re.escape(str(target))} of"
    )  # fmt: skip
    for train in (model.train_step, model.fit, model.evaluate):
        for kind in (dtype, "f8"):
            with refused(model, ValueError, match):
                train(x[:3], np.zeros(target, kind))


@pytest.mark.parametrize(("loss", "bad", "match"), [
    ("squared_error", math.nan, r"^y\[1(, 0)?\] is NaN$"),
    ("poisson", -1.0, r"^y must be >= 0 for poisson, got values from -1.0 to 1.0$"),
    ("hinge", 0.0, r"^y must be -1 or \+1 for hinge \(2 \* y - 1 turns 0 and 1 into these\)$"),
    ("hinge", math.nan, r"^y\[1, 0\] is NaN$"),
    ("sigmoid_cross_entropy", 1.5, r"^y must be in \[0, 1\] for sigmoid_cross_entropy, got values from 1.0 to 1.5$"),
    ("sigmoid_cross_entropy", -1.0, r"^y must be in \[0, 1\] for sigmoid_cross_entropy, got values from -1.0 to 1.0$"),
    ("cross_entropy", math.inf, r"^y must be in \[0, 1\] for cross_entropy, got values from 1.0 to inf$"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["f4", "f8", "list"])
def test_targets_that_the_loss_is_not_defined_for(loss, bad, match, kind, x):
    """Whatever the dtype: arrays of the model's own take the shortest way to C."""
    model = cr.Sequential([cr.Dense(1, "softplus")])
    model.compile("adam", loss)
    good = np.ones((N_ROWS, 1), "f4")
    model.train_step(x, good)
    y = good.copy()
    y[1] = bad
    for target in (y, y[:, 0]):
        target = target.tolist() if kind == "list" else target.astype(kind)
        for train in (model.train_step, model.fit, model.evaluate):
            with refused(model, ValueError, match):
                train(x, target)


# -- weights ---------------------------------------------------------------------------------------------------------

BAD_WEIGHTS = [
    (np.ones(7), ValueError, r"^sample_weight.* must have shape \(8,\), got \(7,\)$"),
    (np.ones((8, 1)), ValueError, r"^sample_weight.* must have shape \(8,\), got \(8, 1\)$"),
    (1.0, ValueError, r"^sample_weight.* must have shape \(8,\), got \(\)$"),
    (np.full(8, "a"), TypeError, r"^sample_weight.* must hold real numbers, got dtype <U1 \(ndarray\)$"),
    (np.where(np.arange(8) == 3, -1, 1), ValueError,
     r"^sample_weight.*\[3\] is -1, expected a finite number of at least 0$"),
    (np.where(np.arange(8) == 5, np.nan, 1), ValueError, r"^sample_weight.*\[5\] is nan, expected a finite number"),
    (np.where(np.arange(8) == 0, np.inf, 1), ValueError, r"^sample_weight.*\[0\] is inf, expected a finite number"),
    (np.zeros(8), ValueError, r"^sample_weight.* must not be all 0$"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "match"), BAD_WEIGHTS, ids=[f"{i}" for i in range(len(BAD_WEIGHTS))])
def test_sample_weight(bad, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    kinds = [bad] if not isinstance(bad, np.ndarray) or bad.dtype.kind == "U" else [bad, bad.astype("f4"), bad.tolist()]
    if isinstance(bad, np.ndarray) and bad.dtype.kind == "i":
        kinds = [bad]
    for weight in kinds:
        for train in (
            lambda w: model.train_step(x, labels, w), lambda w: model.fit(x, labels, sample_weight=w),
            lambda w: model.evaluate(x, labels, w), lambda w: model.fit(x, labels, validation_data=(x, labels, w)),
        ):  # fmt: skip
            with refused(model, error, match):
                train(weight)


def test_weights_beyond_the_dtype(layers, x, labels):
    """1e60 is a finite number, but not as float32; and weights must add up to one."""
    model = trained(layers, x, labels)
    bad = np.where(np.arange(8) == 3, 1e60, 1)
    match = r"^sample_weight.*\[3\] is 1e\+60, expected a finite number of at least 0 as float32$"
    for train in (
        lambda: model.train_step(x, labels, bad), lambda: model.fit(x, labels, sample_weight=bad),
        lambda: model.evaluate(x, labels, bad), lambda: model.fit(x, labels, validation_data=(x, labels, bad)),
    ):  # fmt: skip
        with refused(model, ValueError, match):
            train()
    with pytest.raises(ValueError, match=match):
        cr.kernels.loss("squared_error", np.zeros((8, 1), "f4"), np.zeros((8, 1)), sample_weight=bad)
    double = cr.Sequential([cr.Dense(4)], dtype="float64")
    double.compile("sgd", "softmax_cross_entropy")
    small = np.where(np.arange(8) == 6, 1e-40, 1)
    for weight, match in (
        (np.full(8, 1e308), r"^sample_weight adds up to more than a float64 holds$"),
        (small * 1e-280, r"^sample_weight\[6\] is 1e-320, expected 0 or at least 2.225\d*e-308 \(float64\)$"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            double.fit(x, labels, sample_weight=weight)
        assert not double.built
    double.build(N_IN)
    for inputs in (x.astype("f8"), x.tolist()):  # two ways to C
        with refused(double, ValueError, r"^sample_weight adds up to"):
            double.train_step(inputs, labels, np.full(8, 1e308))
    for weight in (small, small.astype("f4")):
        with refused(model, ValueError, r"^sample_weight\[6\] is .*e-4[01], expected 0 or at least 1.175\d*e-38"):
            model.train_step(x.astype("f4"), labels, weight)


@pytest.mark.parametrize(("bad", "error", "match"), [
    ({2: 1e60}, ValueError, r"^class_weight\[2\] is 1e\+60, more than a float32 holds$"),
    ([1, 2], TypeError, r"^class_weight must be a dict class -> weight or 'balanced', got \[1, 2\]$"),
    ("balance", TypeError, r"^class_weight must be a dict class -> weight or 'balanced', got 'balance'$"),
    ({9: 1.0}, ValueError, r"^class_weight has the class 9, y has 0, 1, 2, 3$"),
    ({0: -1.0}, ValueError, r"^class_weight\[0\] must be a finite number and >= 0, got -1.0$"),
    ({0: math.nan}, ValueError, r"^class_weight\[0\] must be a finite number and >= 0, got nan$"),
    ({1: "a"}, TypeError, r"^class_weight\[1\] must be a finite number and >= 0, got 'a'$"),
    ({0: 0, 1: 0, 2: 0, 3: 0}, ValueError, r"^class_weight leaves no row of weight above 0$"),
])  # fmt: skip
def test_class_weight(bad, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    with refused(model, error, match):
        model.fit(x, labels, class_weight=bad)


# -- the other arguments of fit, predict, evaluate -------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "error", "match"), [
    ({"epochs": -1}, ValueError, r"^epochs must be an integer >= 0, got -1$"),
    ({"epochs": 1.5}, TypeError, r"^epochs must be an integer >= 0, got 1.5$"),
    ({"epochs": True}, TypeError, r"^epochs must be an integer >= 0, got True$"),
    ({"batch_size": 0}, ValueError, r"^batch_size must be an integer >= 1, got 0$"),
    ({"batch_size": "32"}, TypeError, r"^batch_size must be an integer >= 1, got '32'$"),
    ({"initial_epoch": -1}, ValueError, r"^initial_epoch must be an integer >= 0, got -1$"),
    ({"shuffle": "batch"}, TypeError, r"^shuffle must be True or False, got 'batch'$"),
    ({"verbose": 3}, ValueError, r"^verbose must be an integer >= 0 and <= 2, got 3$"),
    ({"verbose": "yes"}, ValueError, r"^verbose must be 'auto', 0, 1 or 2, got 'yes'$"),
    ({"on_nan": "warning"}, ValueError,
     r"^on_nan 'warning' is unknown; did you mean 'warn'\? choices: warn, raise, ign"),
    ({"validation_split": 1.0}, ValueError, r"^validation_split must be a finite number and >= 0 and < 1, got 1.0$"),
    ({"validation_split": 0.9}, ValueError, r"^validation_split 0.9 of 8 rows leaves none to train on$"),
    ({"validation_split": 0.5, "sample_weight": [0] * 4 + [1] * 4}, ValueError,
     r"^sample_weight of the first rows, which are trained on, must not be all 0$"),
    ({"validation_data": (1,)}, TypeError, r"^validation_data must be a tuple \(x, y\) or \(x, y, sample_weight\)$"),
    ({"validation_data": 3}, TypeError, r"^validation_data must be a tuple"),
    ({"validation_data": ([[0] * 5], [0]), "validation_split": 0.5}, ValueError,
     r"^give validation_data or validation_split, not both$"),
    ({"callbacks": [print]}, TypeError, r"^callbacks must hold chainrule callbacks, got <built-in function print>$"),
    ({"callbacks": cr.EarlyStopping()}, TypeError, r"^callbacks must be a list of callbacks, got EarlyStopping\(\)$"),
    ({"callbacks": [cr.EarlyStopping]}, TypeError, r"^callbacks must hold chainrule callbacks, got <class"),
    ({"epoch": 3}, TypeError, r"unexpected keyword argument 'epoch'"),
])  # fmt: skip
def test_arguments_of_fit(arguments, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    with refused(model, error, match):
        model.fit(x, labels, **arguments)


def test_a_huge_batch_size_is_the_whole_data(x, labels):
    models = [trained(everything(), x, labels) for _ in range(2)]
    for model, size in zip(models, (8, 2**80), strict=True):
        model.fit(x, labels, batch_size=size)
    assert state(models[0]) == state(models[1])


def test_out(layers, x, labels):
    model = trained(layers, x, labels)
    sea = np.zeros((N_ROWS, 9), "f4")
    weight = next(p for layer in model.layers for p in layer.parameters if p.shape == (9, N_OUT))
    square = trained([cr.Dense(N_IN)], x, x, "squared_error")
    cases = [
        ([], TypeError, r"^out must be a NumPy array, got list$"),
        (np.zeros((N_ROWS, N_OUT)), TypeError, r"^out must have dtype float32, got float64$"),
        (np.zeros((N_ROWS, N_OUT), ">f4"), TypeError, r"^out must have dtype float32, got >f4$"),
        (np.zeros((N_ROWS, N_OUT + 1), "f4"), ValueError, r"^out must have shape \(8, 4\), got \(8, 5\)$"),
        (np.zeros((N_ROWS, N_OUT, 1), "f4"), ValueError, r"^out must have shape \(8, 4\), got \(8, 4, 1\)$"),
        (read_only(np.zeros((N_ROWS, N_OUT), "f4")), ValueError, r"^out is read-only$"),
        (np.zeros((N_OUT, N_ROWS), "f4").T, ValueError, r"^out must be in C order with adjacent elements in a row"),
        (sea[:, ::2][:, :4], ValueError, r"^out must be in C order with adjacent elements in a row"),
        (np.lib.stride_tricks.as_strided(np.zeros(8, "f4"), (N_ROWS, N_OUT), (4, 4)), ValueError,
         r"^out must be in C order"),
    ]  # fmt: skip
    for call in (model.predict, model):
        for out, error, match in cases:
            with refused(model, error, match):
                call(x, out=out)
        with refused(model, ValueError, r"^out overlaps the model's weights$"):
            call(x, out=weight[:N_ROWS])
    big = np.zeros((N_ROWS + 1, N_IN), "f4")
    for call in (square.predict, square):
        for out, of in ((x, x), (x[::-1], x), (big[1:], big[:-1])):
            kept = of.copy()
            with pytest.raises(ValueError, match=r"^out (overlaps x|must be in C order)"):
                call(of, out=out)
            assert of.tobytes() == kept.tobytes()


def test_batch_sizes(layers, x, labels):
    model = trained(layers, x, labels)
    for bad, error in ((0, ValueError), (-3, ValueError), (2.0, TypeError), ("a", TypeError)):
        match = rf"^batch_size must be an integer >= 1, got {bad!r}$"
        for rows in (x, x[:0], x.tolist()):
            with refused(model, error, match):
                model.predict(rows, batch_size=bad)
        with refused(model, error, match):
            model.evaluate(x, labels, batch_size=bad)
    whole = model.predict(x)
    for size in (1, 3, len(x) - 1, len(x), 10**30):
        assert model.predict(x, batch_size=size).tobytes() == whole.tobytes()


# -- backward --------------------------------------------------------------------------------------------------------


def test_backward(layers, x, labels):
    model = trained(layers, x, labels)
    none = r"^backward needs a forward.* before it, with no training between$"
    dy = np.ones((N_ROWS, N_OUT), "f4")
    with refused(model, RuntimeError, none):
        model.backward(dy)
    model.forward(x)
    for bad in (dy[:3], dy[:, :2], dy[0], dy[None], 1.0):
        with refused(model, ValueError, r"^dy must have the output's shape \(8, 4\), got \("):
            model.backward(bad)
    with refused(model, TypeError, r"^dy must hold real numbers, got dtype complex64"):
        model.backward(dy * np.complex64(1))
    model.backward(dy)
    for train in (model.train_step, model.fit):
        model.forward(x)
        train(x, labels)
        with refused(model, RuntimeError, none):
            model.backward(dy)


# -- unbuilt, uncompiled -----------------------------------------------------------------------------------------------


def test_an_unbuilt_model(layers, x, labels):
    model = cr.Sequential(layers)
    model.compile("sgd", "softmax_cross_entropy")
    for name, call in {
        "predict": lambda: model.predict(x), "predict ": lambda: model(x), "forward": lambda: model.forward(x),
        "evaluate": lambda: model.evaluate(x, labels), "get_weights": model.get_weights,
        "set_weights": lambda: model.set_weights([]), "parameters": lambda: model.parameters,
        "gradients": lambda: model.gradients,
    }.items():  # fmt: skip
        with pytest.raises(RuntimeError, match=rf"^{name.strip()}.*build\(n_in\)"):
            call()
    with pytest.raises(RuntimeError, match=r"^backward needs a forward before it"):
        model.backward(x)
    assert not model.built
    for bad, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), ("5", TypeError), (None, TypeError)):
        with pytest.raises(error, match=rf"^n_in must be an integer >= 1, got {bad!r}$"):
            model.build(bad)
    assert not model.built


def test_a_refused_fit_leaves_an_unbuilt_model_unbuilt(layers, x, labels):
    model = cr.Sequential(layers)
    model.compile("sgd", "softmax_cross_entropy")
    for arguments, match in (
        ((x, labels + 1), "expected a class label"), ((x, labels[:3]), "has 3 rows"), 
        ((x[:, :0], labels), "at least one feature"),
        ((x[0], labels),
         r"must have shape \(n_rows, n_features\), got \(5,\)"), ((x[:0], labels[:0]), "at least one row"),
    ):  # fmt: skip
        for train in (model.fit, model.train_step):
            with pytest.raises(ValueError, match=match):
                train(*arguments)
            assert not model.built
    with pytest.raises(ValueError, match="x of validation_data has 3 features, the model was built for 5"):
        model.fit(x, labels, validation_data=(x[:, :3], labels))
    assert not model.built
    model.fit(x[:, :3], labels)
    assert model.n_in == 3


def test_an_uncompiled_model(layers, x, labels):
    model = cr.Sequential(layers)
    for built in (False, True):
        if built:
            model.build(N_IN)
        for name, call in {
            "fit": lambda: model.fit(x, labels), "train_step": lambda: model.train_step(x, labels),
            "evaluate": lambda: model.evaluate(x, labels),
            "check_gradients": lambda: cr.check_gradients(model, x, labels),
        }.items():  # fmt: skip
            with refused(model, RuntimeError, f"^{name} needs a loss and an optimizer: call compile first$"):
                call()
        assert model.built is built


# -- names and numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "error", "match"), [
    (("adm", "hinge"), ValueError,
     r"^optimizer 'adm' is unknown; did you mean 'adam'\? choices: sgd, adam, adamw, rmsprop"),
    ((3, "hinge"), TypeError, r"^optimizer must be one of sgd, adam, .*, got 3$"),
    (("sgd", "softmax_crossentropy"), ValueError,
     r"^loss 'softmax_crossentropy' is unknown; did you mean 'softmax_cross_en"),
    (("sgd", "MSE"), ValueError, r"^loss 'MSE' is unknown; did you mean 'mean_squared_error'\? choices: sq"),
    (("sgd", 3), TypeError, r"^loss must be one of squared_error, .*, got 3$"),
    (("sgd",), TypeError, r"^loss is missing: give a function, or one of squared_error"),
    (("sgd", cr.losses.Loss), TypeError, r"^loss <class '.*Loss'> has code of its own: give a function, or one of"),
    (("sgd", cr.losses.Loss()), TypeError, r"^loss Loss\(\) has code of its own: give a function, or one of squared_"),
    (("sgd", type("Mine", (cr.losses.Huber,), {"__call__": print})()), TypeError, r"^loss Mine\(.* has code of its"),
    ((cr.optimizers.Optimizer(0.1, 0.0, None, None), "hinge"), TypeError, r"^optimizer .* is none of sgd, adam, "),
    (("sgd", "hinge", "accuracy"), TypeError, r"^metrics must be a list of names or functions, got 'accuracy'$"),
    (("sgd", "hinge", ["auc"]), ValueError, r"^metric 'auc' is unknown; .*choices: accuracy"),
])  # fmt: skip
def test_compile_changes_nothing_on_error(arguments, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    kept = model.optimizer, model.loss, model.metrics
    with refused(model, error, match):
        model.compile(*arguments)
    assert (model.optimizer, model.loss, model.metrics) == kept
    model.train_step(x, labels)


@pytest.mark.parametrize("name", ["optimizer", "loss", "metrics"])
def test_only_compile_changes_what_was_compiled(name, layers, x, labels):
    model = trained(layers, x, labels)
    with refused(model, AttributeError, name):
        setattr(model, name, None)


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: cr.Dense(0), ValueError, r"^units must be an integer >= 1, got 0$"),
    (lambda: cr.Dense(2.5), TypeError, r"^units must be an integer >= 1, got 2.5$"),
    (lambda: cr.Dense(2, "rleu"), ValueError,
     r"^activation 'rleu' is unknown; did you mean 'relu'\? choices: identity, relu"),
    (lambda: cr.Dense(2, "Leaky ReLU"), ValueError, r"did you mean 'leaky_relu'\?"),
    (lambda: cr.Dense(2, None), TypeError, r"^activation must be one of identity, .*, got None$"),
    (lambda: cr.Dense(2, ("relu", 0.1)), ValueError, r"^alpha: activation 'relu' takes none, got 0.1$"),
    (lambda: cr.Dense(2, ("celu", 0.0)), ValueError, r"^alpha of celu must be a finite number and > 0, got 0.0$"),
    (lambda: cr.Dense(2, use_bias="yes"), TypeError, r"^use_bias must be True or False, got 'yes'$"),
    (lambda: cr.Dense(2, l1=-0.1), ValueError, r"^l1 must be a finite number and >= 0, got -0.1$"),
    (lambda: cr.Dense(2, l2=math.inf), ValueError, r"^l2 must be a finite number and >= 0, got inf$"),
    (lambda: cr.Activation("hard_swich"), ValueError,
     r"^activation 'hard_swich' is unknown; did you mean 'hard_swish'\?"),
    (lambda: cr.Dropout(1.0), ValueError, r"^rate must be a finite number and >= 0 and < 1, got 1.0$"),
    (lambda: cr.Dropout("half"), TypeError, r"^rate must be a finite number and >= 0 and < 1, got 'half'$"),
    (lambda: cr.LayerNorm(0.0), ValueError, r"^epsilon must be a finite number and > 0, got 0.0$"),
    (lambda: cr.BatchNorm(momentum=1.1), ValueError, r"^momentum must be a finite number and >= 0 and <= 1, got 1.1$"),
    (lambda: cr.Sequential([]), ValueError, r"^layers must hold at least one layer, got none$"),
    (lambda: cr.Sequential(cr.Dense(1)), TypeError, r"^layers must be a list of layers, got Dense\(1\)$"),
    (lambda: cr.Sequential([3]), TypeError, r"^layers must hold chainrule layers, got 3$"),
    (lambda: cr.Sequential([cr.Dense]), TypeError, r"^layers must hold chainrule layers, got <class"),
    (lambda: cr.Sequential([cr.Dense(1)], dtype="float16"), ValueError,
     r"^dtype must be float32 or float64, got 'float16'$"),
    (lambda: cr.Sequential([cr.Dense(1)], dtype=None), ValueError, r"^dtype must be float32 or float64, got None$"),
    (lambda: cr.Sequential([cr.Dense(1)], seed=-1), ValueError,
     r"^seed must be an integer >= 0 and <= 18446744073709551615"),
    (lambda: cr.Sequential([cr.Dense(1)], seed="a"), TypeError, r"^seed must be an integer >= 0 .*, got 'a'$"),
    (lambda: cr.Sequential([cr.Dense(1)], dtype="float3"), ValueError,
     r"^dtype must be float32 or float64, got 'float3'$"),
    (lambda: cr.SGD(-0.1), ValueError, r"^learning_rate must be a finite number and >= 0, got -0.1$"),
    (lambda: cr.SGD(momentum=1.0), ValueError, r"^momentum must be a finite number and >= 0 and < 1, got 1.0$"),
    (lambda: cr.SGD(nesterov=True), ValueError, r"^nesterov=True needs a momentum > 0, got momentum=0$"),
    (lambda: cr.SGD(clip_norm=0), ValueError, r"^clip_norm must be a finite number and > 0, got 0$"),
    (lambda: cr.SGD(clip_value=-1), ValueError, r"^clip_value must be a finite number and > 0, got -1$"),
    (lambda: cr.Adam(beta_1=1.0), ValueError, r"^beta_1 must be a finite number and >= 0 and < 1, got 1.0$"),
    (lambda: cr.Adam(epsilon=0), ValueError, r"^epsilon must be a finite number and > 0, got 0$"),
    (lambda: cr.AdamW(weight_decay=-1), ValueError, r"^weight_decay must be a finite number and >= 0, got -1$"),
    (lambda: cr.RMSprop(rho=math.nan), ValueError, r"^rho must be a finite number and >= 0 and < 1, got nan$"),
    (lambda: cr.Checkpoint(3), TypeError, r"^path must be a str or path-like, got 3$"),
    (lambda: cr.load(3), TypeError, r"^path must be a str or path-like, got 3$"),
    (lambda: cr.losses.Huber(0), ValueError, r"^delta must be a finite number and > 0, got 0$"),
    (lambda: cr.losses.Quantile(1), ValueError, r"^q must be a finite number and > 0 and < 1, got 1$"),
    (lambda: cr.losses.SoftmaxCrossEntropy(1.0), ValueError, r"^label_smoothing must be .* >= 0 and < 1, got 1.0$"),
    (lambda: cr.losses.SigmoidCrossEntropy(pos_weight=0), ValueError,
     r"^pos_weight must be a finite number and > 0, got 0$"),
])  # fmt: skip
def test_settings(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_network_larger_than_memory_is_refused():
    for units, n_in in ((2**62, 2**62), (2**40, 2**20), (2**31, 2**31)):
        model = cr.Sequential([cr.Dense(units)])
        with pytest.raises((ValueError, MemoryError)):
            model.build(n_in)
        assert not model.built


@pytest.mark.parametrize(("arguments", "error", "match"), [
    ({"limit": 0}, ValueError, r"^limit must be an integer >= 1, got 0$"),
    ({"epsilon": 0}, ValueError, r"^epsilon must be a finite number and > 0, got 0$"),
    ({"sample_weight": [1]}, ValueError, r"^sample_weight must have shape \(8,\), got \(1,\)$"),
])  # fmt: skip
def test_check_gradients(arguments, error, match, layers, x, labels):
    model = trained(layers, x, labels)
    with refused(model, error, match):
        cr.check_gradients(model, x, labels, **arguments)
    with refused(model, ValueError, r"^y\[0\] is 9, expected a class label"):
        cr.check_gradients(model, x, labels * 0 + 9)
