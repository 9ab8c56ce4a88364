"""scikit-learn's MLPClassifier and MLPRegressor: partial_fit for training, MLPRegressor.predict for predictions.

partial_fit takes one pass through the rows it is given, in batches, in their order (shuffle=False): one batch is a
training step, all rows are an epoch. The shuffling that its fit would do is done here, in our order.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import inputs
from ..cases import Case
from . import Calls, Run, Stateful, Steps

Array = npt.NDArray[Any]

# Its Adam adds epsilon to sqrt(v) before the start at zero is corrected, so that 1e-8 sqrt(1 - 0.999^t) there is
# 1e-8 elsewhere. A train_step sets it in each step t (0.2 us of some 200); inside an epoch that cannot be, and the
# epsilon is that of step 4.
EPSILON = 1e-8
EPOCH_STEP = 4


def _epsilon(step: int) -> float:
    return EPSILON * math.sqrt(1 - 0.999**step)


def missing() -> str | None:
    return None if importlib.util.find_spec("sklearn") else "scikit-learn is not installed"


def versions() -> dict[str, str]:
    import sklearn

    return {"scikit-learn": sklearn.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    net = case.net
    if net is None or net.output != "identity":
        return None  # it has no sigmoid outputs with squared error
    weights = inputs.weights(case, dtype)
    if case.op == "predict":
        x = inputs.rows(case, dtype, case.batch)[0]
        model = _model(case, weights, x, np.zeros((len(x), net.widths[-1]), dtype), classifier=False)
        shape = (len(x), net.widths[-1])
        return Calls(lambda: model.predict(x).reshape(shape))

    if case.op == "train_step":
        batches = [(x, _targets(y)) for x, y in inputs.batches(case, dtype)]

        def fresh() -> Any:
            model = _model(case, weights, *batches[0], classifier=net.takes_labels)
            step = 0

            def adam_step(x: Array, y: Array) -> None:
                nonlocal step
                step += 1
                model._optimizer.epsilon = _epsilon(step)
                model.partial_fit(x, y)

            return adam_step if case.optimizer == "adam" else model.partial_fit, lambda: _weights(model)

        return Steps(fresh, batches)

    x, y = inputs.rows(case, dtype, case.n_rows)
    y = _targets(y)
    order = np.empty(case.n_rows, np.int64)

    def training() -> Any:
        model = _model(case, weights, x[: case.batch], y[: case.batch], classifier=net.takes_labels)
        epoch = 0

        def run_epoch() -> None:
            nonlocal epoch
            rows = inputs.order(epoch, order)
            model.partial_fit(x[rows], y[rows])
            epoch += 1

        return run_epoch, lambda: _weights(model)

    return Stateful(training)


def _targets(y: Array) -> Array:
    """One output is a flat array for scikit-learn."""
    return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def _model(case: Case, weights: list[Array], x: Array, y: Array, *, classifier: bool) -> Any:
    """A model with these weights and a fresh optimizer."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    net = case.net
    assert net is not None
    optimizer = case.optimizer or "sgd"
    rate = inputs.LEARNING_RATE[optimizer]
    if optimizer == "sgd" and not classifier:
        rate *= 2 / net.widths[-1]  # its squared error is half the sum over outputs, ours the mean
    model = (MLPClassifier if classifier else MLPRegressor)(
        hidden_layer_sizes=net.widths[1:-1], activation={"sigmoid": "logistic"}.get(net.hidden, net.hidden),
        solver=optimizer, alpha=0.0, batch_size=case.batch, learning_rate_init=rate, shuffle=False, momentum=0.0,
        nesterovs_momentum=False, epsilon=_epsilon(EPOCH_STEP), random_state=0,
    )  # fmt: skip
    # Its weights exist after a first step only; that step is then undone.
    if classifier:
        model.partial_fit(x, y, classes=np.arange(net.widths[-1]))
    else:
        model.partial_fit(x, _targets(y))
    for own, given in zip(_weights(model), weights, strict=True):
        np.copyto(own, given)
    model._optimizer = _fresh_optimizer(model)
    return model


def _fresh_optimizer(model: Any) -> Any:
    """As its own code makes it at the first step."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    parameters = model.coefs_ + model.intercepts_
    if model.solver == "adam":
        return AdamOptimizer(parameters, model.learning_rate_init, 0.9, 0.999, model.epsilon)
    return SGDOptimizer(parameters, model.learning_rate_init, "constant", 0.0, False)


def _weights(model: Any) -> list[Array]:
    """[W_1, b_1, ...], the arrays themselves."""
    return [array for pair in zip(model.coefs_, model.intercepts_, strict=True) for array in pair]
