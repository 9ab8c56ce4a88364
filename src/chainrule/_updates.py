"""One optimizer step on arrays, in place; public as part of `chainrule.kernels`.

param and its states are C-contiguous, writeable float32 or float64 arrays of one shape and dtype, any number of
dimensions, that do not overlap; grad has the same shape and is converted if need be.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _core
from ._checks import flag, integer, number, require_held_spec

Array = npt.NDArray[Any]

_SGD, _ADAM, _ADAMW, _RMSPROP, _ADAGRAD = (
    _core.OPTIMIZERS[name] for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad")
)


def sgd_update(
    param: Array,
    grad: npt.ArrayLike,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    velocity: Array | None = None,
) -> None:
    """Gradient descent in place: w -= lr g; with momentum v = momentum v - lr g, w += v.

    Nesterov (Sutskever et al. 2013): w += momentum v - lr g with the new v.

    Parameters
    ----------
    param : ndarray
        Changed in place.
    grad : array_like, the shape of param
    learning_rate : float
        At least 0.
    momentum : float, default=0.0
        In [0, 1); needs `velocity` if it is not 0.
    nesterov : bool, default=False
        Needs a momentum.
    weight_decay : float, default=0.0
        weight_decay * w is added to g.
    velocity : ndarray like param, optional
        Starts as zeros; changed in place.

    Raises
    ------
    TypeError
        If param or velocity is not a float array.
    ValueError
        If a shape differs, an array is read-only, not contiguous or overlaps another, or a setting is out of range.
    """
    plain = nesterov is True or nesterov is False
    if plain and _core.quick_update(
        _SGD, 1, learning_rate, weight_decay, momentum, 0.0, 0.0, nesterov, param, grad, velocity, None
    ):
        return
    momentum = number(momentum, "momentum", at_least=0.0, below=1.0)
    if flag(nesterov, "nesterov") and momentum == 0.0:
        raise ValueError("nesterov=True needs a momentum > 0, got momentum=0")
    if momentum != 0.0 and velocity is None:
        raise ValueError(f"momentum={momentum:g} needs velocity, an array like param that starts as zeros")
    spec = _core.OptimizerSpec(
        _SGD,
        nesterov=nesterov,
        momentum=momentum,
        weight_decay=number(weight_decay, "weight_decay", at_least=0.0),
    )
    _update(spec, 1, learning_rate, param, grad, velocity=velocity)


def adam_update(
    param: Array,
    grad: npt.ArrayLike,
    m: Array,
    v: Array,
    step: int,
    *,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Adam in place (Kingma and Ba 2015): w -= lr m' / (sqrt(v') + epsilon).

    m = beta_1 m + (1 - beta_1) g, v = beta_2 v + (1 - beta_2) g^2; m' = m / (1 - beta_1^t), v' = v / (1 - beta_2^t).

    Parameters
    ----------
    param, m, v : ndarray
        Parameters and moments (zeros at first); changed in place.
    grad : array_like, the shape of param
    step : int
        t, counted from 1.
    learning_rate : float
        At least 0.
    beta_1, beta_2 : float, default=0.9 and 0.999
        In [0, 1).
    epsilon : float, default=1e-8
        At least 0.
    weight_decay : float, default=0.0
        weight_decay * w is added to g; or, if `decoupled` (AdamW, Loshchilov and Hutter 2019), w -= lr weight_decay w
        comes first.
    decoupled : bool, default=False

    Raises
    ------
    TypeError, ValueError
        As `sgd_update`.
    """
    plain = decoupled is True or decoupled is False
    if plain and _core.quick_update(
        _ADAMW if decoupled else _ADAM,
        step,
        learning_rate,
        weight_decay,
        beta_1,
        beta_2,
        epsilon,
        False,
        param,
        grad,
        m,
        v,
    ):
        return
    spec = _core.OptimizerSpec(
        _ADAMW if flag(decoupled, "decoupled") else _ADAM,
        weight_decay=number(weight_decay, "weight_decay", at_least=0.0),
        beta_1=number(beta_1, "beta_1", at_least=0.0, below=1.0),
        beta_2=number(beta_2, "beta_2", at_least=0.0, below=1.0),
        epsilon=number(epsilon, "epsilon", at_least=0.0),
    )
    step = integer(step, "step", at_least=1, at_most=2**63 - 1)
    _update(spec, step, learning_rate, param, grad, m=m, v=v)


def rmsprop_update(
    param: Array,
    grad: npt.ArrayLike,
    v: Array,
    *,
    learning_rate: float,
    rho: float = 0.9,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """RMSprop in place (Tieleman and Hinton 2012): v = rho v + (1 - rho) g^2, w -= lr g / (sqrt(v) + epsilon).

    Parameters
    ----------
    param, v : ndarray
        Parameters and mean square (zeros at first); changed in place.
    grad : array_like, the shape of param
    learning_rate : float
        At least 0.
    rho : float, default=0.9
        In [0, 1).
    epsilon : float, default=1e-8
        At least 0.
    weight_decay : float, default=0.0
        weight_decay * w is added to g.

    Raises
    ------
    TypeError, ValueError
        As `sgd_update`.
    """
    if _core.quick_update(_RMSPROP, 1, learning_rate, weight_decay, rho, 0.0, epsilon, False, param, grad, v, None):
        return
    spec = _core.OptimizerSpec(
        _RMSPROP,
        weight_decay=number(weight_decay, "weight_decay", at_least=0.0),
        rho=number(rho, "rho", at_least=0.0, below=1.0),
        epsilon=number(epsilon, "epsilon", at_least=0.0),
    )
    _update(spec, 1, learning_rate, param, grad, v=v)


def adagrad_update(
    param: Array,
    grad: npt.ArrayLike,
    s: Array,
    *,
    learning_rate: float,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """Adagrad in place (Duchi, Hazan and Singer 2011): s += g^2, w -= lr g / (sqrt(s) + epsilon).

    Parameters
    ----------
    param, s : ndarray
        Parameters and sum of squares (zeros at first); changed in place.
    grad : array_like, the shape of param
    learning_rate : float
        At least 0.
    epsilon : float, default=1e-8
        At least 0.
    weight_decay : float, default=0.0
        weight_decay * w is added to g.

    Raises
    ------
    TypeError, ValueError
        As `sgd_update`.
    """
    if _core.quick_update(_ADAGRAD, 1, learning_rate, weight_decay, 0.0, 0.0, epsilon, False, param, grad, s, None):
        return
    spec = _core.OptimizerSpec(
        _ADAGRAD,
        weight_decay=number(weight_decay, "weight_decay", at_least=0.0),
        epsilon=number(epsilon, "epsilon", at_least=0.0),
    )
    _update(spec, 1, learning_rate, param, grad, s=s)


def _update(
    spec: _core.OptimizerSpec,
    step: int,
    learning_rate: float,
    param: Array,
    grad: npt.ArrayLike,
    **states: Array | None,
) -> None:
    """Check everything, then take the step; nothing changes on error."""
    learning_rate = number(learning_rate, "learning_rate", at_least=0.0)
    if not isinstance(param, np.ndarray):
        raise TypeError(f"param must be a NumPy array, got {type(param).__name__}")
    if param.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"param must have dtype float32 or float64, got {param.dtype}")
    require_held_spec(spec, param.dtype)
    gradient = _arrays.real("grad", grad)
    if gradient.shape != param.shape:
        raise ValueError(f"grad must have shape {param.shape} like param, got {gradient.shape}")
    gradient = _arrays.contiguous(gradient, param.dtype)
    written = {"param": param, **{name: state for name, state in states.items() if state is not None}}
    for name, array in written.items():
        _arrays.writable(name, array, param.shape, param.dtype)
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous, got strides {array.strides} for shape {array.shape}")
        _arrays.keep_apart(name, array, "grad", gradient)
    names = list(written)
    for i, name in enumerate(names):
        for other in names[:i]:
            _arrays.keep_apart(name, written[name], other, written[other])
    flat = [array.reshape(-1) for array in written.values()]
    state_0, state_1 = [*flat[1:], None, None][:2]
    _core.optimizer_update(spec, step, learning_rate, flat[0], gradient.reshape(-1), state_0, state_1)
