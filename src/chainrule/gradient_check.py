"""Is backward the derivative of forward? Compared with central differences."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._checks import integer, number
from ._data import matrix
from ._data import sample_weight as as_weight
from ._data import target as as_target
from .layers import Dense
from .layerwise import LayerByLayer
from .model import Sequential
from .rows import loss_of

Array = npt.NDArray[Any]

# Of the model's largest gradient: smaller ones than this are compared with it.
_LEAST_SCALE = 1e-3


class GradientCheck(NamedTuple):
    """What `check_gradients` found.

    An error is max |backward - numeric| / max(max |backward|, max |numeric|) over an array. For arrays whose gradient
    is next to nothing, such as a bias before a batch norm, a thousandth of the model's largest stands in the
    denominator, because the quotient of two roundings says nothing.

    Attributes
    ----------
    errors : dict of str to float
        By array: "layer 0 (Dense) parameter 0", ..., and "x" for the input gradient.
    max_error : float
        The largest of them.
    """

    errors: dict[str, float]
    max_error: float

    def __str__(self) -> str:
        width = max(map(len, self.errors))
        return "\n".join(f"{name:<{width}}  {error:.1e}" for name, error in self.errors.items())


def check_gradients(
    model: Sequential,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    epsilon: float | None = None,
    limit: int | None = 200,
) -> GradientCheck:
    """Compare the gradients of the model's loss with central differences (f(w + e) - f(w - e)) / 2e.

    The forward passes are those of training: batch statistics in batch norms, and one dropout mask, the same
    in all passes. A model of native layers is checked on a float64 twin; one with Python layers on itself, in
    its own dtype (choose float64 for a sharp check), and left as it was. Near the kinks of relu and its kin a
    difference is no derivative; there, errors of single elements do not mean that backward is wrong.

    Parameters
    ----------
    model : Sequential
        Compiled; built, or built here for the columns of `x`.
    x, y, sample_weight
        As in `fit`; few rows will do.
    epsilon : float, optional
        Step of the differences; default 2**-17 (float64, about the cube root of its precision) or 2**-7
        (float32).
    limit : int or None, default=200
        Elements checked per array, spread evenly; None checks all.

    Returns
    -------
    GradientCheck

    Examples
    --------
    >>> import numpy as np
    >>> import chainrule as cr
    >>> model = cr.Sequential([cr.Dense(4, "tanh"), cr.Dense(2)])
    >>> model.compile(loss="squared_error")
    >>> cr.check_gradients(model, np.ones((3, 5)), np.zeros((3, 2))).max_error < 1e-7
    True
    """
    model._require_compiled("check_gradients")
    if limit is not None:
        limit = integer(limit, "limit", at_least=1)
    if not model.built:
        model.build(matrix(x, model.dtype, None).shape[1])
    checked = _float64_twin(model)
    if epsilon is None:
        epsilon = 2.0**-17 if checked.dtype == np.float64 else 2.0**-7
    epsilon = number(epsilon, "epsilon", above=0.0)
    with checked._alone, checked._keep_statistics(weights=True) as undo:
        loss = _Loss(checked, x, y, sample_weight, epsilon)
        checked._forward_shape = None  # what a forward before this has kept is lost
        analytic, dx = loss.gradients()
        named = [*zip(_named(checked), analytic, strict=True), (("x", loss.x), dx)]
        pairs = {name: _chosen(gradient, *loss.numeric(array, limit)) for (name, array), gradient in named}
        undo.put_back()
    least = _LEAST_SCALE * max(_largest(*pair) for pair in pairs.values())
    errors = {name: _error(*pair, least) for name, pair in pairs.items()}
    return GradientCheck(errors, max(errors.values(), key=lambda error: (error != error, error)))


def _float64_twin(model: Sequential) -> Sequential:
    if isinstance(model._engine, LayerByLayer):
        return model
    from .io.state import describe, restore

    description, _, code = describe(model, code=True)
    twin = restore({**description, "dtype": "float64"}, {}, code)
    twin.build(model.n_in)  # type: ignore[arg-type]
    twin.set_weights(model.get_weights())
    return twin


def _named(model: Sequential) -> list[tuple[str, Array]]:
    return [
        (f"layer {index} ({type(layer).__name__}) parameter {i}", array)
        for index, layer in enumerate(model.layers)
        for i, array in enumerate(layer.parameters)
    ]


class _Loss:
    """The model's training loss as a function of arrays that are changed in place."""

    def __init__(self, model: Sequential, x: Any, y: Any, sample_weight: Any, epsilon: float) -> None:
        assert model._engine is not None and model.loss is not None and model.n_out is not None
        self.model, self.epsilon = model, epsilon
        self.x = np.array(matrix(x, model.dtype, model.n_in))
        self.target = as_target(model.loss, y, len(self.x), model.n_out, model.dtype)
        self.weight = as_weight(sample_weight, len(self.x), model.dtype)
        self.out = np.empty((len(self.x), model.n_out), model.dtype)
        self.counters = model._engine.steps, model._engine.forwards

    def __call__(self) -> float:
        return self._forward(gradient=False)[0]

    def _forward(self, *, gradient: bool) -> tuple[float, Array | None]:
        engine, loss = self.model._engine, self.model.loss
        assert engine is not None and loss is not None
        engine.set_counters(*self.counters)  # the same dropout mask every time
        engine.forward(self.x, True, self.out)
        value, d_out = loss_of(loss, self.out, self.target, self.weight, gradient=gradient)
        return value + engine.penalty(), d_out

    def gradients(self) -> tuple[list[Array], Array]:
        """By backward, penalties added: one array a parameter, and the input gradient."""
        _, d_out = self._forward(gradient=True)
        assert d_out is not None and self.model._engine is not None
        dx = np.empty_like(self.x)
        self.model._engine.backward(d_out, dx)
        result = []
        for layer in self.model.layers:
            arrays = [np.array(gradient) for gradient in layer.gradients]
            if isinstance(layer, Dense):
                arrays[0] += layer.l1 * np.sign(layer.weight) + 2.0 * layer.l2 * layer.weight
            result += arrays
        return result, dx

    def numeric(self, array: Array, limit: int | None) -> tuple[Array, Array]:
        """Differences for elements of `array`: their flat indices and values."""
        n = array.size if limit is None else min(limit, array.size)
        indices = np.arange(n) * array.size // max(n, 1)
        values = np.empty(n)
        for i, index in enumerate(indices):
            place = np.unravel_index(index, array.shape)
            before = array[place]
            array[place] = before + self.epsilon
            above, up = self(), array[place]
            array[place] = before - self.epsilon
            below, down = self(), array[place]
            array[place] = before
            values[i] = (above - below) / (float(up) - float(down))
        return indices, values


def _chosen(analytic: Array, indices: Array, numeric: Array) -> tuple[Array, Array]:
    """The gradient by backward, for the elements that were checked, and the numeric one."""
    return analytic.reshape(-1)[indices].astype(np.float64), numeric


def _largest(analytic: Array, numeric: Array) -> float:
    return float(max(np.abs(analytic).max(initial=0.0), np.abs(numeric).max(initial=0.0)))


def _error(analytic: Array, numeric: Array, least: float) -> float:
    scale = max(_largest(analytic, numeric), least)
    difference = float(np.abs(analytic - numeric).max(initial=0.0))
    return difference / scale if scale > 0.0 else difference
