"""The kernels of a dense network as functions of arrays; the same C code that whole training steps run.

Shapes: x (n_rows, n_in), weight (n_in, n_out), bias (n_out,). The dtype of a call is float32, or float64 if any
array given is float64; other numbers are converted. Views whose rows hold adjacent elements are read in place.
`out` arrays are written in place and returned; they must have the result's shape and dtype and be apart from the
inputs, except where a function says that out may be an input.

Every function raises TypeError for arguments that are not real numbers (and an `out` of another dtype), and
ValueError for shapes that do not fit, unknown names, settings out of range and overlapping or read-only outputs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _core
from ._checks import choose, integer, loss_option, number, require_held, require_held_spec
from ._updates import adagrad_update, adam_update, rmsprop_update, sgd_update
from .activations import Resolved, resolve

__all__ = [
    "activation",
    "activation_backward",
    "adagrad_update",
    "adam_update",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "dropout",
    "erf",
    "exp",
    "expm1",
    "layer_norm",
    "log",
    "log1p",
    "log_softmax",
    "loss",
    "rmsprop_update",
    "sgd_update",
    "softmax",
]

Array = npt.NDArray[Any]

_KINDS: dict[str, Resolved] = {name: resolve(name) for name in _core.ACTIVATIONS}
_SAVES_INPUT = frozenset(filter(_core.activation_saves_input, _core.ACTIVATIONS.values()))


def _kind(name: Any, alpha: float | None = None) -> Resolved:
    """A checked activation; known names with their default alpha have been checked before."""
    if alpha is None and isinstance(name, str) and name in _KINDS:
        return _KINDS[name]
    return resolve(name, alpha)


# -- products ----------------------------------------------------------------------------------------------------


def dense_forward(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    activation: str = "identity",
    *,
    out: Array | None = None,
) -> Array:
    """Return activation(x @ weight + bias): a dense layer's forward pass.

    Parameters
    ----------
    x : array_like, shape (n_rows, n_in)
    weight : array_like, shape (n_in, n_out)
    bias : array_like, shape (n_out,), optional
    activation : str, default="identity"
        One of `chainrule.activations.NAMES`, with its default alpha.
    out : ndarray, shape (n_rows, n_out), optional

    Returns
    -------
    ndarray, shape (n_rows, n_out)

    Examples
    --------
    >>> import numpy as np
    >>> dense_forward(np.array([[1.0, -2.0]]), np.eye(2), activation="relu")
    array([[1., 0.]])
    """
    kind = _kind(activation)
    quick = _core.quick_forward(kind.kind, kind.alpha, x, weight, bias, out)
    if quick is not None:
        return quick
    dtype, (x_, weight_, bias_) = _arrays.reals("bias", x=x, weight=weight, bias=bias)
    x_ = _arrays.matrix("x", x_, dtype)
    if weight_.ndim != 2 or weight_.shape[0] != x_.shape[1]:
        raise ValueError(f"weight must have shape ({x_.shape[1]}, n_out) for x {x_.shape}, got {weight_.shape}")
    weight_ = _arrays.readable(weight_, dtype)
    n_out = weight_.shape[1]
    if bias_ is not None:
        bias_ = _arrays.vector("bias", bias_, dtype, n_out)
    inputs = (("x", x_), ("weight", weight_), ("bias", bias_))
    y = _arrays.result("out", out, (x_.shape[0], n_out), dtype, apart=inputs)
    _core.dense_forward(x_, weight_, bias_, kind.kind, kind.alpha, None, y)
    return y


def dense_backward_input(
    dz: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    activation: str = "identity",
    output: npt.ArrayLike | None = None,
    pre_activation: npt.ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Return (dz @ weight.T) * f'(.): the gradient that a dense layer hands to the layer below.

    Parameters
    ----------
    dz : array_like, shape (n_rows, n_out)
        Gradient with respect to this layer's x @ weight + bias.
    weight : array_like, shape (n_in, n_out)
    activation : str, default="identity"
        f, the activation of the layer *below*; not softmax or log_softmax, whose derivative is not elementwise
        (use `activation_backward` on the result with "identity").
    output, pre_activation : array_like, shape (n_rows, n_in), optional
        What f returned and what it was given. gelu, gelu_tanh, silu, mish and hard_swish need the pre-activation,
        the others the output (worked out if only the pre-activation is given), identity neither.
    out : ndarray, shape (n_rows, n_in), optional
        May be the array given as output or pre_activation.

    Returns
    -------
    ndarray, shape (n_rows, n_in)

    Notes
    -----
    With f of the layer below, this is the hidden-layer recursion delta_j = f'(z_j) sum_k delta_k w_jk (Rumelhart,
    Hinton and Williams 1986).
    """
    kind = _kind(activation)
    if output is None or pre_activation is None:  # with both given, both are to be checked
        given = pre_activation if kind.kind in _SAVES_INPUT else output
        quick = _core.quick_backward_input(kind.kind, kind.alpha, dz, weight, given, out)
        if quick is not None:
            return quick
    if _core.activation_by_row(kind.kind):
        raise ValueError(
            f"activation {kind.name!r} has no elementwise derivative; call with 'identity', then activation_backward"
        )
    dtype, (dz_, weight_, y, z) = _arrays.reals(
        "output", "pre_activation", dz=dz, weight=weight, output=output, pre_activation=pre_activation
    )
    dz_ = _arrays.matrix("dz", dz_, dtype)
    if weight_.ndim != 2 or weight_.shape[1] != dz_.shape[1]:
        raise ValueError(f"weight must have shape (n_in, {dz_.shape[1]}) for dz {dz_.shape}, got {weight_.shape}")
    weight_ = _arrays.readable(weight_, dtype)
    shape = (dz_.shape[0], weight_.shape[0])
    saved = _saved(kind, ("pre_activation", z), ("output", y), shape, dtype)
    inputs = (("dz", dz_), ("weight", weight_))
    dx = _arrays.result("out", out, shape, dtype, apart=inputs, same=[("the saved activation", saved)])
    _core.dense_backward_input(dz_, weight_, kind.kind, kind.alpha, saved, dx)
    return dx


def dense_backward_weight(
    x: npt.ArrayLike,
    dz: npt.ArrayLike,
    *,
    out_weight: Array | None = None,
    out_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Return (x.T @ dz, dz.sum(0)): the gradients of a dense layer's weight and bias.

    Parameters
    ----------
    x : array_like, shape (n_rows, n_in)
    dz : array_like, shape (n_rows, n_out)
        Gradient with respect to x @ weight + bias.
    out_weight : ndarray, shape (n_in, n_out), optional
    out_bias : ndarray, shape (n_out,), optional

    Returns
    -------
    weight_gradient : ndarray, shape (n_in, n_out)
    bias_gradient : ndarray, shape (n_out,)
    """
    quick = _core.quick_backward_weight(x, dz, out_weight, out_bias)
    if quick is not None:
        return quick
    dtype, (x_, dz_) = _arrays.reals(x=x, dz=dz)
    x_ = _arrays.matrix("x", x_, dtype)
    if dz_.ndim != 2 or dz_.shape[0] != x_.shape[0]:
        raise ValueError(f"dz must have shape ({x_.shape[0]}, n_out) for x {x_.shape}, got {dz_.shape}")
    dz_ = _arrays.readable(dz_, dtype)
    inputs = (("x", x_), ("dz", dz_))
    dw = _arrays.result("out_weight", out_weight, (x_.shape[1], dz_.shape[1]), dtype, apart=inputs)
    db = _arrays.result("out_bias", out_bias, (dz_.shape[1],), dtype, apart=(*inputs, ("out_weight", dw)))
    _core.dense_backward_weight(x_, dz_, dw, db)
    return dw, db


# -- activations -------------------------------------------------------------------------------------------------


def activation(name: str, x: npt.ArrayLike, *, alpha: float | None = None, out: Array | None = None) -> Array:
    """Return f(x), f the activation of this name.

    Parameters
    ----------
    name : str
        One of `chainrule.activations.NAMES`.
    x : array_like, any shape
        softmax and log_softmax work along the last axis.
    alpha : float, optional
        Of leaky_relu (default 0.01), elu and celu (1).
    out : ndarray, same shape, optional
        May be x.

    Returns
    -------
    ndarray, the shape of x
    """
    # The call of _kind would be a seventh of a short array's time.
    kind = _KINDS[name] if alpha is None and type(name) is str and name in _KINDS else _kind(name, alpha)
    quick = _core.quick_activation(kind.kind, kind.alpha, x, out)
    if quick is not None:
        return quick
    dtype, (x_,) = _arrays.reals(x=x)
    kind.require_held(dtype)
    x_ = _arrays.readable(x_, dtype)
    if x_.ndim == 0 and _core.activation_by_row(kind.kind):
        raise ValueError(f"x must have at least one dimension for {kind.name}, got shape ()")
    y = _arrays.result("out", out, x_.shape, dtype, same=[("x", x_)])
    _core.activation(kind.kind, kind.alpha, _arrays.as_rows(x_), _arrays.as_rows(y))
    return y if out is not None or y.ndim else y[()]


def activation_backward(
    name: str,
    dy: npt.ArrayLike,
    *,
    x: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    alpha: float | None = None,
    out: Array | None = None,
) -> Array:
    """Return dy * f'(.), or for softmax and log_softmax dy times their Jacobian, row by row.

    Parameters
    ----------
    name : str
        One of `chainrule.activations.NAMES`.
    dy : array_like, any shape
        Gradient with respect to the activation's output.
    x, y : array_like, the shape of dy, optional
        The activation's input and output. gelu, gelu_tanh, silu, mish and hard_swish need x; the others need y,
        which is worked out if only x is given; identity needs neither.
    alpha : float, optional
        As for `activation`.
    out : ndarray, the shape of dy, optional
        May be dy, x or y.

    Returns
    -------
    ndarray, the shape of dy
    """
    kind = _KINDS[name] if alpha is None and type(name) is str and name in _KINDS else _kind(name, alpha)  # as above
    if x is None or y is None:  # with both given, both are to be checked
        given = x if kind.kind in _SAVES_INPUT else y
        quick = _core.quick_activation_backward(kind.kind, kind.alpha, dy, given, out)
        if quick is not None:
            return quick
    dtype, (dy_, x_, y_) = _arrays.reals("x", "y", dy=dy, x=x, y=y)
    kind.require_held(dtype)
    dy_ = _arrays.readable(dy_, dtype)
    if dy_.ndim == 0 and _core.activation_by_row(kind.kind):
        raise ValueError(f"dy must have at least one dimension for {kind.name}, got shape ()")
    saved = _saved(kind, ("x", x_), ("y", y_), dy_.shape, dtype)
    dx = _arrays.result("out", out, dy_.shape, dtype, same=[("dy", dy_), ("x or y", saved)])
    _core.activation_backward(
        kind.kind,
        kind.alpha,
        _arrays.as_rows(dy_),
        None if saved is None else _arrays.as_rows(saved),
        _arrays.as_rows(dx),
    )
    return dx if out is not None or dx.ndim else dx[()]


def _saved(
    kind: Resolved,
    x: tuple[str, Array | None],
    y: tuple[str, Array | None],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Array | None:
    """What the derivative of `kind` is computed from: x, y (from x if need be), or None for identity."""
    for name, array in (x, y):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if kind.name == "identity":
        return None
    if kind.kind in _SAVES_INPUT:
        if x[1] is None:
            raise ValueError(f"the derivative of {kind.name} needs {x[0]}, which was not given")
        return _arrays.readable(x[1], dtype)
    if y[1] is not None:
        return _arrays.readable(y[1], dtype)
    if x[1] is None:
        raise ValueError(f"the derivative of {kind.name} needs {y[0]} (or {x[0]}), which was not given")
    x_ = _arrays.readable(x[1], dtype)
    output = np.empty(shape, dtype)
    _core.activation(kind.kind, kind.alpha, _arrays.as_rows(x_), _arrays.as_rows(output))
    return output


def softmax(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return exp(x) / sum(exp(x)) along the last axis, stable at any x; out may be x.

    Parameters
    ----------
    x : array_like, at least one dimension
    out : ndarray, same shape, optional

    Returns
    -------
    ndarray, the shape of x
    """
    return activation("softmax", x, out=out)


def log_softmax(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return x - log(sum(exp(x))) along the last axis, stable at any x; out may be x.

    Parameters
    ----------
    x : array_like, at least one dimension
    out : ndarray, same shape, optional

    Returns
    -------
    ndarray, the shape of x
    """
    return activation("log_softmax", x, out=out)


# -- elementwise mathematics -------------------------------------------------------------------------------------

# The short door is asked first and right here: two calls more are a tenth of the time of 1000 elements.
_quick_function = _core.quick_function
_EXP, _LOG, _EXPM1, _LOG1P, _ERF = (_core.FUNCTIONS[name] for name in ("exp", "log", "expm1", "log1p", "erf"))


def exp(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return e**x elementwise; any shape; out may be x. The same bits on every processor, unlike `numpy.exp`."""
    y = _quick_function(_EXP, x, out)
    return _elementwise(_EXP, x, out) if y is None else y


def log(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return the natural logarithm elementwise (-inf at 0, NaN below); any shape; out may be x."""
    y = _quick_function(_LOG, x, out)
    return _elementwise(_LOG, x, out) if y is None else y


def expm1(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return e**x - 1 elementwise, accurate near 0; any shape; out may be x."""
    y = _quick_function(_EXPM1, x, out)
    return _elementwise(_EXPM1, x, out) if y is None else y


def log1p(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return log(1 + x) elementwise, accurate near 0 (-inf at -1, NaN below); any shape; out may be x."""
    y = _quick_function(_LOG1P, x, out)
    return _elementwise(_LOG1P, x, out) if y is None else y


def erf(x: npt.ArrayLike, *, out: Array | None = None) -> Array:
    """Return the error function 2/sqrt(pi) int_0^x exp(-t^2) dt elementwise; any shape; out may be x."""
    y = _quick_function(_ERF, x, out)
    return _elementwise(_ERF, x, out) if y is None else y


def _elementwise(kind: int, x: npt.ArrayLike, out: Array | None) -> Array:
    dtype, (x_,) = _arrays.reals(x=x)
    y = _arrays.result("out", out, x_.shape, dtype, same=[("x", x_)])
    # The kernel runs over one contiguous stretch; strided rows go through a copy.
    flat_x = _arrays.contiguous(x_, dtype).reshape(-1)
    flat_y = (y if y.flags.c_contiguous else np.empty(y.shape, dtype)).reshape(-1)
    _core.function(kind, flat_x, flat_y)
    if not y.flags.c_contiguous:
        y[...] = flat_y.reshape(y.shape)
    return y if out is not None or y.ndim else y[()]


# -- losses ------------------------------------------------------------------------------------------------------

_OPTIONS: dict[str, tuple[str, ...]] = {
    "huber": ("delta",),
    "quantile": ("q",),
    "cross_entropy": ("label_smoothing",),
    "softmax_cross_entropy": ("label_smoothing",),
    "sigmoid_cross_entropy": ("label_smoothing", "pos_weight"),
}


def loss(
    name: str,
    prediction: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    out_grad: Array | None = None,
    reduction: str = "mean",
    **options: float,
) -> tuple[float, Array]:
    """Return a loss and its gradient with respect to `prediction`, in one pass.

    Parameters
    ----------
    name : str
        One of `chainrule.losses.NAMES`; the formulas stand in `chainrule.losses`.
    prediction : array_like, shape (n_rows, n_out)
        (n_rows,) stands for (n_rows, 1). Sets the dtype: target and weights are converted to it.
    target : array_like, shape (n_rows, n_out), or integer labels (n_rows,)
        Labels, 0 .. n_out - 1, for cross_entropy and softmax_cross_entropy. (n_rows,) and (n_rows, 1) mean the
        same; nothing else is broadcast. -1 or +1 for hinge.
    sample_weight : array_like, shape (n_rows,), optional
        Finite and at least 0.
    out_grad : ndarray, the shape of prediction, optional
        May be prediction.
    reduction : {"mean", "sum"}
        Over rows: sum_i w_i l_i / sum_i w_i, or sum_i w_i l_i.
    **options
        delta (huber, default 1), q (quantile, 0.5), label_smoothing (the cross-entropies, 0), pos_weight
        (sigmoid_cross_entropy, 1).

    Returns
    -------
    loss : float
    gradient : ndarray, the shape of prediction

    Raises
    ------
    TypeError
        If an option is not one of this loss's, or an argument is not real numbers.
    ValueError
        If shapes differ (both are named), a label is out of range, a target is NaN or not one the loss is defined
        for, or a weight is negative or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> value, gradient = loss("softmax_cross_entropy", np.array([[0.0, 0.0]]), [1])
    >>> gradient
    array([[ 0.5, -0.5]])
    """
    kind = _core.LOSSES[choose(name, _core.LOSSES, "loss")]
    core_options = _loss_options(name, options)
    mean = choose(reduction, ("mean", "sum"), "reduction") == "mean"
    if sample_weight is None:
        quick = _core.quick_loss(kind, core_options, mean, prediction, target, out_grad)
        if quick is not None:
            return quick

    dtype, (prediction_,) = _arrays.reals(prediction=prediction)
    require_held_spec(core_options, dtype)
    if prediction_.ndim not in (1, 2):
        raise ValueError(f"prediction must have shape (n_rows, n_out), got {prediction_.shape}")
    prediction_ = _arrays.readable(prediction_, dtype)
    rows = prediction_ if prediction_.ndim == 2 else prediction_[:, np.newaxis]
    n_rows, n_out = rows.shape
    target_ = _arrays.targets("target", target, n_rows, n_out, dtype, _core.loss_takes_labels(kind))
    if target_.ndim == 2:
        _arrays.check_target_values("target", name, target_)
    weight = None
    if sample_weight is not None:
        weight = _arrays.sample_weights("sample_weight", sample_weight, n_rows, dtype)

    gradient = _arrays.result(
        "out_grad",
        out_grad,
        prediction_.shape,
        dtype,
        apart=(("target", target_), ("sample_weight", weight)),
        same=[("prediction", prediction_)],
    )
    value = _core.loss(kind, core_options, mean, rows, target_, weight, gradient.reshape(rows.shape))
    return value, gradient


_DEFAULT_OPTIONS = _core.LossOptions()


def _loss_options(name: str, options: dict[str, float]) -> _core.LossOptions:
    if not options:
        return _DEFAULT_OPTIONS
    allowed = _OPTIONS.get(name, ())
    for option in options:
        if option not in allowed:
            takes = f"takes {', '.join(allowed)}" if allowed else "takes no options"
            raise TypeError(f"loss {name!r} {takes}, got {option!r}")
    checked = {option: loss_option(value, option) for option, value in options.items()}
    if "q" in checked:
        checked["quantile"] = checked.pop("q")
    return _core.LossOptions(**checked)


# -- dropout and normalisation -----------------------------------------------------------------------------------


def dropout(
    x: npt.ArrayLike, rate: float, *, seed: int, layer: int = 0, forward: int = 0, out: Array | None = None
) -> Array:
    """Return x / (1 - rate) with each element set to 0 with probability `rate` (Srivastava et al. 2014).

    The mask is a function of (seed, layer, forward) and the element's place alone; the backward pass is the same
    call on dy.

    Parameters
    ----------
    x : array_like, shape (n_rows, n_cols)
    rate : float
        In [0, 1).
    seed : int
    layer, forward : int, default=0
        With `seed` the key of the mask.
    out : ndarray, same shape, optional
        May be x.

    Returns
    -------
    ndarray, shape (n_rows, n_cols)
    """
    rate = number(rate, "rate", at_least=0.0, below=1.0)
    key = (
        integer(seed, "seed", at_least=0, at_most=2**64 - 1),
        integer(layer, "layer", at_least=0, at_most=2**32 - 1),
        integer(forward, "forward", at_least=0, at_most=2**64 - 1),
    )
    dtype, (x_,) = _arrays.reals(x=x)
    x_ = _arrays.matrix("x", x_, dtype)
    y = _arrays.result("out", out, x_.shape, dtype, same=[("x", x_)])
    _core.dropout(rate, *key, 0, x_, y)
    return y


def layer_norm(
    x: npt.ArrayLike,
    gamma: npt.ArrayLike,
    beta: npt.ArrayLike,
    *,
    epsilon: float = 1e-5,
    out: Array | None = None,
) -> Array:
    """Return gamma (x - mean) / sqrt(variance + epsilon) + beta over each row (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    x : array_like, shape (n_rows, n_cols)
    gamma, beta : array_like, shape (n_cols,)
    epsilon : float, default=1e-5
        Greater than 0.
    out : ndarray, same shape, optional
        May be x.

    Returns
    -------
    ndarray, shape (n_rows, n_cols)
    """
    epsilon = number(epsilon, "epsilon", above=0.0)
    dtype, (x_, gamma_, beta_) = _arrays.reals(x=x, gamma=gamma, beta=beta)
    require_held(epsilon, "epsilon", dtype, above_zero=True)
    x_ = _arrays.matrix("x", x_, dtype)
    n_rows, n_cols = x_.shape
    gamma_ = _arrays.vector("gamma", gamma_, dtype, n_cols)
    beta_ = _arrays.vector("beta", beta_, dtype, n_cols)
    y = _arrays.result("out", out, x_.shape, dtype, apart=(("gamma", gamma_), ("beta", beta_)), same=[("x", x_)])
    mean, inverse_std = np.empty(n_rows, dtype), np.empty(n_rows, dtype)
    _core.layer_norm_forward(x_, gamma_, beta_, epsilon, mean, inverse_std, y)
    return y
