"""The arrays of a case: the same for every rival and in every process, from a fixed seed.

They are float32 (or float64) numbers; the float64 reference starts from the very same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import formulas
from .cases import Case

Array = npt.NDArray[Any]

SEED = 0
# Learning rates at which no net of cases.py diverges, and no state decays into subnormal numbers in a block.
LEARNING_RATE = {"sgd": 0.01, "adam": 0.001}
# A training step cycles through batches of this many rows in all, so that no net can learn them by heart and
# bring its gradients to zero (subnormal numbers are slow, and not what is measured).
CYCLE_ROWS = 256
CYCLE_BATCHES = 4  # at least


def kernel(case: Case, dtype: np.dtype[Any]) -> dict[str, Array]:
    """The arguments of formulas.KERNELS[case.op], in order."""
    rng = np.random.default_rng(SEED)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32).astype(dtype)

    if case.group == "products":
        n_rows, n_in, n_out = case.shape
        arrays = {"x": normal(n_rows, n_in), "weight": normal(n_in, n_out), "bias": normal(n_out)}
        arrays["dz"] = normal(n_rows, n_out)
        wanted = {
            "forward": ("x", "weight", "bias"),
            "input_gradient": ("dz", "weight"),
            "weight_gradient": ("x", "dz"),
        }
        return {name: arrays[name] for name in wanted[case.op]}
    if case.group == "updates":
        return {"param": normal(case.elements), "grad": normal(case.elements)}
    x = 2 * normal(*case.shape)
    if case.group == "losses":
        return _loss(case, x, rng, dtype)
    if not case.op.endswith("_backward"):
        if case.op == "log":  # among ten million numbers of the normal distribution there is a zero
            x = np.maximum(np.abs(x), np.finfo(x.dtype).tiny)
        return {"x": x}
    name = case.op.removesuffix("_backward")
    saved = "x" if name in formulas.NEEDS_INPUT else "y"
    arrays = derivative(case, dtype)
    return {key: arrays[key] for key in ("dy", saved)}


def derivative(case: Case, dtype: np.dtype[Any]) -> dict[str, Array]:
    """The gradient dy, the input x and, where the derivative can be had from it, the output y of an activation."""
    rng = np.random.default_rng(SEED)
    x = (2 * rng.standard_normal(case.shape, np.float32)).astype(dtype)
    arrays = {"x": x, "dy": rng.standard_normal(case.shape, np.float32).astype(dtype)}
    name = case.op.removesuffix("_backward")
    if name not in formulas.NEEDS_INPUT:
        arrays["y"] = formulas.FORWARD[name](x.astype(np.float64)).astype(dtype)
    return arrays


def _loss(case: Case, x: Array, rng: np.random.Generator, dtype: np.dtype[Any]) -> dict[str, Array]:
    """Predictions and targets that the loss is defined for."""
    name = case.op.removesuffix("_loss")
    if name == "softmax_cross_entropy":
        return {"prediction": x, "target": rng.integers(case.shape[1], size=case.shape[0])}
    if name == "sigmoid_cross_entropy":
        return {"prediction": x, "target": rng.integers(2, size=case.shape).astype(dtype)}
    if name == "hinge":
        return {"prediction": x, "target": (2 * rng.integers(2, size=case.shape) - 1).astype(dtype)}
    if name == "poisson":
        return {"prediction": np.exp(x), "target": rng.poisson(2.0, case.shape).astype(dtype)}
    if name == "cross_entropy":
        return {
            "prediction": formulas.softmax(x.astype(np.float64)).astype(dtype),
            "target": formulas.softmax(rng.standard_normal(case.shape)).astype(dtype),
        }
    return {"prediction": x, "target": rng.standard_normal(case.shape, np.float32).astype(dtype)}


def weights(case: Case, dtype: np.dtype[Any]) -> list[Array]:
    """[W_1, b_1, W_2, b_2, ...]: He's variance for W, and biases that are not zero."""
    assert case.net is not None
    rng = np.random.default_rng(SEED)
    arrays = []
    for n_in, n_out in zip(case.net.widths, case.net.widths[1:], strict=False):
        arrays.append((rng.standard_normal((n_in, n_out), np.float32) * (2 / n_in) ** 0.5).astype(dtype))
        arrays.append((rng.standard_normal(n_out, np.float32) * 0.1).astype(dtype))
    return arrays


def rows(case: Case, dtype: np.dtype[Any], n_rows: int) -> tuple[Array, Array]:
    """Rows x and targets y; the targets are noise, so no amount of training fits them."""
    assert case.net is not None
    rng = np.random.default_rng(SEED + 1)
    x = rng.standard_normal((n_rows, case.net.widths[0]), np.float32).astype(dtype)
    n_out = case.net.widths[-1]
    if case.net.takes_labels:
        return x, rng.integers(n_out, size=n_rows)
    return x, rng.random((n_rows, n_out), np.float32).astype(dtype)


def batches(case: Case, dtype: np.dtype[Any]) -> list[tuple[Array, Array]]:
    """The batches through which a train_step case cycles."""
    count = max(CYCLE_BATCHES, CYCLE_ROWS // case.batch)
    x, y = rows(case, dtype, count * case.batch)
    starts = range(0, len(x), case.batch)
    return [(x[start : start + case.batch], y[start : start + case.batch]) for start in starts]


def order(epoch: int, out: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The order of rows of an epoch: what chainrule's fit takes with this seed, made by the same code for all."""
    from chainrule import _core  # here: no other rival needs chainrule

    _core.random_permutation(SEED, epoch, out)
    return out
