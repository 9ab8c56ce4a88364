"""PyTorch, eager, as its users write it: nn.Sequential, autograd, torch.optim (fused Adam); its bare kernels."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import inputs
from ..cases import UPDATES, Case
from . import Calls, Run, Stateful, Steps

Array = npt.NDArray[Any]


def missing() -> str | None:
    return None if importlib.util.find_spec("torch") else "PyTorch is not installed"


def versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    import torch

    torch.set_num_threads(threads)
    if case.net is None:
        from . import _torch_kernels as kernels

        if case.op in UPDATES:
            arrays = inputs.kernel(case, dtype)
            return Stateful(lambda: kernels.update(case.op, arrays["param"].copy(), arrays["grad"]))
        return Calls(kernels.call(case, dtype))
    if case.op == "predict":
        model = _model(case, dtype)
        x = torch.from_numpy(inputs.rows(case, dtype, case.batch)[0])

        def predict() -> Array:
            with torch.inference_mode():
                return np.asarray(model(x))

        return Calls(predict)
    if case.op == "train_step":
        batches = [(torch.from_numpy(x), targets(y)) for x, y in inputs.batches(case, dtype)]
        return Steps(lambda: _training(case, dtype), batches)

    rows, numbers = inputs.rows(case, dtype, case.n_rows)
    x, y = torch.from_numpy(rows), targets(numbers)
    order = np.empty(case.n_rows, np.int64)

    def epochs() -> Any:
        step, results = _training(case, dtype)
        epoch = 0

        def run_epoch() -> None:
            nonlocal epoch
            permutation = torch.from_numpy(inputs.order(epoch, order))
            for batch in permutation.split(case.batch):
                step(x[batch], y[batch])
            epoch += 1

        return run_epoch, results

    return Stateful(epochs)


def targets(y: Array) -> Any:
    import torch

    return torch.from_numpy(y.astype(np.int64) if y.dtype.kind == "i" else y)


def _model(case: Case, dtype: np.dtype[Any]) -> Any:
    """The net with the weights of the case; a weight here is (n_out, n_in)."""
    import torch

    net = case.net
    assert net is not None
    functions = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
    weights = inputs.weights(case, dtype)
    layers: list[Any] = []
    for i, name in enumerate(net.activations):
        weight, bias = weights[2 * i], weights[2 * i + 1]
        dense = torch.nn.Linear(*weight.shape, dtype=torch.from_numpy(weight).dtype)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(weight.T))
            dense.bias.copy_(torch.from_numpy(bias))
        layers += [dense] if name == "identity" else [dense, functions[name]()]
    return torch.nn.Sequential(*layers)


def parts(case: Case, dtype: np.dtype[Any]) -> Any:
    """A fresh net, its optimizer, and its loss as a function of (prediction, targets)."""
    import torch

    assert case.net is not None
    model = _model(case, dtype)
    rate = inputs.LEARNING_RATE[case.optimizer]
    if case.optimizer == "adam":
        optimizer: Any = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-8, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return model, optimizer, torch.nn.CrossEntropyLoss() if case.net.takes_labels else torch.nn.MSELoss()


def weights_of(model: Any) -> list[Array]:
    return [p.detach().numpy().T.copy() for p in model.parameters()]


def _training(case: Case, dtype: np.dtype[Any]) -> Any:
    """A step function of (x, y) on a fresh net, and a function that returns its weights."""
    model, optimizer, loss_of = parts(case, dtype)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(model(x), y).backward()
        optimizer.step()

    return step, lambda: weights_of(model)
