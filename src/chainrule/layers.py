"""Layers: what a model is made of, and what works on its own.

Shapes: x (n_rows, n_in), y (n_rows, n_out), C order, of the layer's dtype. A layer is built once, by its
model or by `build`. Its parameters and gradients are views: writing to `layer.weight` (in place, or by
assignment, which copies in) changes the model, and `model.parameters` sees it.

backward(dy) takes the derivative of some scalar with respect to the last forward's output, writes (not adds)
the parameter gradients as plain sums over rows, and returns the derivative with respect to x. Arrays that
went into or came out of forward must stay as they are until then; they are kept, not copied.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import _core, activations, initializers
from ._checks import flag, number, width
from ._layer import Layer, NativeLayer, View, aligned

__all__ = [
    "NATIVE",
    "Activation",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Layer",
    "LayerNorm",
    "NativeLayer",
    "aligned",
    "is_native",
]

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Dense(NativeLayer):
    """Fully connected layer: y = activation(x @ weight + bias).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or (str, float) or Activation, default="identity"
        One of `activations.NAMES`, with its alpha where it has one.
    use_bias : bool, default=True
    weight_initializer : str, callable, number or array_like, default="glorot_uniform"
        See `chainrule.initializers`.
    bias_initializer : str, callable, number or array_like, default="zeros"
    l1, l2 : float, default=0.0
        At least 0. Penalty l1 sum |w| + l2 sum w^2 on the weight, not the bias, added to the model's loss
        (Keras's convention: no factor 1/2).

    Attributes
    ----------
    weight, weight_gradient : ndarray, shape (n_in, units)
    bias, bias_gradient : ndarray, shape (units,), or None without bias

    Examples
    --------
    >>> import numpy as np
    >>> import chainrule as cr
    >>> dense = cr.Dense(3, "tanh")
    >>> dense.build(4)
    3
    >>> y = dense.forward(np.ones((2, 4)))
    >>> dx = dense.backward(np.ones((2, 3)))
    >>> dx.shape, dense.weight_gradient.shape
    ((2, 4), (4, 3))
    """

    _kind = "dense"
    _settings: ClassVar = (
        "units", "activation", "use_bias", "weight_initializer", "bias_initializer", "l1", "l2",
    )  # fmt: skip
    _parameter_names = ("weight", "bias")
    weight: View = View()
    bias: View = View()
    weight_gradient: View = View()
    bias_gradient: View = View()

    def __init__(
        self,
        units: int,
        activation: Any = "identity",
        *,
        use_bias: bool = True,
        weight_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self.units: int = width(units, "units")
        self.activation: activations.Resolved = activations.resolve(activation)
        self.use_bias: bool = flag(use_bias, "use_bias")
        self.weight_initializer: initializers.Initialize = initializers.resolve(
            weight_initializer, "weight_initializer"
        )
        self.bias_initializer: initializers.Initialize = initializers.resolve(bias_initializer, "bias_initializer")
        self.l1: float = number(l1, "l1", at_least=0.0)
        self.l2: float = number(l2, "l2", at_least=0.0)

    def core_spec(self) -> _core.LayerSpec:
        return _core.LayerSpec(
            kind=_core.LAYERS[self._kind],
            n_out=self.units,
            use_bias=self.use_bias,
            activation=self.activation.kind,
            alpha=self.activation.alpha,
            l1=self.l1,
            l2=self.l2,
        )

    def _measure(self, n_in: int) -> int:
        return self.units

    def _shape(self, name: str) -> Shape | None:
        if name == "weight":
            return (self.n_in, self.units)
        return (self.units,) if self.use_bias else None

    def _initializer(self, name: str) -> Any:
        return self.weight_initializer if name == "weight" else self.bias_initializer

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._input(x)
        kind, alpha = self.activation.kind, self.activation.alpha
        y = np.empty((len(x), self.units), self.dtype)
        pre = np.empty_like(y) if _core.activation_saves_input(kind) else None
        _core.dense_forward(x, self.weight, self.bias, kind, alpha, pre, y)
        self._saved = (x, y if pre is None else pre)
        return y

    def backward(self, dy: Array) -> Array:
        dz = self._output_gradient(dy)
        x, saved = self._saved
        if self.activation.name != "identity":
            dz = _activation_backward(self.activation, dz, saved)
        _core.dense_backward_weight(x, dz, self.weight_gradient, self.bias_gradient)
        dx = np.empty((len(x), self.n_in), self.dtype)
        _core.dense_backward_input(dz, self.weight, _core.ACTIVATIONS["identity"], 0.0, None, dx)
        return dx


class Activation(NativeLayer):
    """An activation as a layer of its own: y = f(x).

    Parameters
    ----------
    name : str
        One of `activations.NAMES`.
    alpha : float, optional
        Of leaky_relu (default 0.01, at least 0), elu (1, at least 0) and celu (1, greater than 0).
    """

    _kind = "activation"
    _settings: ClassVar = ("name", "alpha")
    _made_of_settings: ClassVar = ("activation",)

    def __init__(self, name: str, alpha: float | None = None) -> None:
        self.activation: activations.Resolved = activations.resolve(name, alpha)

    @property
    def name(self) -> str:
        """Name of the activation."""
        return self.activation.name

    @property
    def alpha(self) -> float | None:
        """Its parameter, or None if it is the default or there is none."""
        setting = self.activation.setting
        return None if isinstance(setting, str) else self.activation.alpha

    def core_spec(self) -> _core.LayerSpec:
        return _core.LayerSpec(
            kind=_core.LAYERS[self._kind], activation=self.activation.kind, alpha=self.activation.alpha
        )

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._input(x)
        y = np.empty(x.shape, self.dtype)
        _core.activation(self.activation.kind, self.activation.alpha, x, y)
        self._saved = (x if _core.activation_saves_input(self.activation.kind) else y,)
        return y

    def backward(self, dy: Array) -> Array:
        return _activation_backward(self.activation, self._output_gradient(dy), self._saved[0])


class Dropout(NativeLayer):
    """Inverted dropout (Srivastava et al. 2014): y = x / (1 - rate) with probability 1 - rate, else 0.

    In training only; otherwise y = x.

    The mask is a function of the model's seed, the layer's place, the number of training forwards before, and
    the element's row and column: the same on every machine, with any number of threads, and after a restart.

    Parameters
    ----------
    rate : float
        Part of the elements that become 0, in [0, 1).
    """

    _kind = "dropout"
    _settings: ClassVar = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate: float = number(rate, "rate", at_least=0.0, below=1.0)

    def core_spec(self) -> _core.LayerSpec:
        return _core.LayerSpec(kind=_core.LAYERS[self._kind], rate=self.rate)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._input(x)
        if not training:
            self._saved = (x, None)
            return x
        self._saved = (x, self._forwards)
        self._forwards += 1
        return self._apply(x, self._saved[1])

    def backward(self, dy: Array) -> Array:
        dy = self._output_gradient(dy)
        forward = self._saved[1]
        return dy if forward is None else self._apply(dy, forward)

    def _apply(self, x: Array, forward: int) -> Array:
        y = np.empty(x.shape, self.dtype)
        _core.dropout(self.rate, self._seed, self._index, forward, 0, x, y)
        return y


class LayerNorm(NativeLayer):
    """Layer normalisation (Ba et al. 2016): y = gamma (x - mean) / sqrt(variance + epsilon) + beta by row.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Greater than 0.

    Attributes
    ----------
    gamma, beta, gamma_gradient, beta_gradient : ndarray, shape (n_in,)
        Start at 1 and 0.
    """

    _kind = "layer_norm"
    _settings: ClassVar = ("epsilon",)
    _parameter_names = ("gamma", "beta")
    gamma: View = View()
    beta: View = View()
    gamma_gradient: View = View()
    beta_gradient: View = View()

    def __init__(self, epsilon: float = 1e-5) -> None:
        self.epsilon: float = number(epsilon, "epsilon", above=0.0)

    def core_spec(self) -> _core.LayerSpec:
        return _core.LayerSpec(kind=_core.LAYERS[self._kind], epsilon=self.epsilon)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._input(x)
        y = np.empty(x.shape, self.dtype)
        mean, inverse_std = np.empty((2, len(x)), self.dtype)
        _core.layer_norm_forward(x, self.gamma, self.beta, self.epsilon, mean, inverse_std, y)
        self._saved = (x, mean, inverse_std)
        return y

    def backward(self, dy: Array) -> Array:
        dy = self._output_gradient(dy)
        x, mean, inverse_std = self._saved
        dx = np.empty(x.shape, self.dtype)
        _core.layer_norm_backward(x, self.gamma, mean, inverse_std, dy, self.gamma_gradient, self.beta_gradient, dx)
        return dx


class BatchNorm(NativeLayer):
    """Batch normalisation (Ioffe and Szegedy 2015).

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, by column.

    In training, mean and (biased) variance are the batch's, and the running ones follow: running = momentum *
    running + (1 - momentum) * batch, with the unbiased variance. Otherwise the running ones are used.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Greater than 0.
    momentum : float, default=0.9
        In [0, 1]; Keras's convention (PyTorch's momentum is 1 minus this).

    Attributes
    ----------
    gamma, beta, gamma_gradient, beta_gradient : ndarray, shape (n_in,)
        Start at 1 and 0.
    running_mean, running_variance : ndarray, shape (n_in,)
        Start at 0 and 1.
    """

    _kind = "batch_norm"
    _settings: ClassVar = ("epsilon", "momentum")
    _parameter_names = ("gamma", "beta")
    _running_names = ("running_mean", "running_variance")
    gamma: View = View()
    beta: View = View()
    gamma_gradient: View = View()
    beta_gradient: View = View()
    running_mean: View = View()
    running_variance: View = View()

    def __init__(self, epsilon: float = 1e-5, momentum: float = 0.9) -> None:
        self.epsilon: float = number(epsilon, "epsilon", above=0.0)
        self.momentum: float = number(momentum, "momentum", at_least=0.0, at_most=1.0)

    def core_spec(self) -> _core.LayerSpec:
        return _core.LayerSpec(kind=_core.LAYERS[self._kind], epsilon=self.epsilon, momentum=self.momentum)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._input(x)
        y = np.empty(x.shape, self.dtype)
        mean, inverse_std = np.empty((2, self.n_in), self.dtype)
        _core.batch_norm_forward(
            bool(training), x, self.gamma, self.beta, self.epsilon, self.momentum, self.running_mean,
            self.running_variance, mean, inverse_std, y,
        )  # fmt: skip
        self._saved = (x, bool(training), mean, inverse_std)
        return y

    def backward(self, dy: Array) -> Array:
        dy = self._output_gradient(dy)
        x, training, mean, inverse_std = self._saved
        dx = np.empty(x.shape, self.dtype)
        _core.batch_norm_backward(
            training, x, self.gamma, mean, inverse_std, dy, self.gamma_gradient, self.beta_gradient, dx
        )
        return dx


NATIVE: dict[str, type[NativeLayer]] = {
    kind.__name__: kind for kind in (Dense, Activation, Dropout, LayerNorm, BatchNorm)
}


def is_native(layer: Layer) -> bool:
    """Whether C can run this layer: one of ours, not a subclass that may do something else."""
    return type(layer) in NATIVE.values()


def _activation_backward(activation: activations.Resolved, dy: Array, saved: Array) -> Array:
    dx = np.empty(dy.shape, dy.dtype)
    _core.activation_backward(activation.kind, activation.alpha, dy, saved, dx)
    return dx
