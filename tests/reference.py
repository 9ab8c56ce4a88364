"""Every kernel once more, in plain NumPy and no cleverness: what the tests compare with.

Everything is worked out in a wider type than the one under test: float32 in float64, float64 in
`np.longdouble` (64-bit mantissa on x86, 113 on 64-bit Arm Linux; where it is only float64 again, `bounds.py`
allows for the reference's own rounding). Formulas are those of `chainrule.h`.
"""

import math

import numpy as np

WIDE = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}
WIDE[np.dtype(np.longdouble)] = np.longdouble  # last, for where longdouble is float64

_quiet = np.errstate(all="ignore")  # references are asked about infinities and overflow too


def wide(x):
    """x in the type that references are worked out in; integers and Python numbers become float64."""
    x = np.asarray(x)
    return x.astype(WIDE.get(x.dtype, np.float64))


# -- products --------------------------------------------------------------------------------------------


def dense_forward(x, weight, bias=None, activation_name="identity", alpha=None):
    z = wide(x) @ wide(weight)
    if bias is not None:
        z = z + wide(bias)
    return activation(activation_name, z, alpha)


def dense_backward_input(dz, weight, derivative_below=1.0):
    """(dz W^T) * f', f' given as an array."""
    return (wide(dz) @ wide(weight).T) * wide(derivative_below)


def dense_backward_weight(x, dz):
    return wide(x).T @ wide(dz), wide(dz).sum(axis=0)


# -- elementwise functions -------------------------------------------------------------------------------


def _exp_minus_square(x):
    """exp(-x^2) without the error of rounding x^2: x = high + low, and high^2 is exact."""
    high = x.astype(np.float32).astype(x.dtype)
    low = x - high
    return np.exp(-(high * high)) * np.exp(-(2 * high * low + low * low))


def erf(x):
    """erf x = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 3 5 ... (2n+1)): every term has the sign of x."""
    x = wide(x)
    inside = np.where(np.abs(x) < 3, x, 0)
    term = inside.copy()
    total = inside.copy()
    for n in range(1, 80):
        term = term * (2 * inside * inside) / (2 * n + 1)
        total = total + term
    small = total * _exp_minus_square(inside) * 2 / np.sqrt(_pi(x))
    return np.where(np.abs(x) < 3, small, np.where(np.isnan(x), x, np.sign(x) * (1 - _erfc_tail(np.abs(x)))))


def erfc(x):
    """1 - erf x, from the continued fraction where erf x is near 1."""
    x = wide(x)
    return np.where(x < 1, 1 - erf(np.minimum(x, 1)), np.where(np.isnan(x), x, _erfc_tail(x)))


def _erfc_tail(x):
    """erfc x = exp(-x^2)/sqrt(pi) 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))) for x >= 1."""
    x = np.where(x >= 1, x, 1)
    finite = np.minimum(x, 200)  # beyond, the result is 0 in every type
    fraction = finite.copy()
    for n in range(600, 0, -1):
        fraction = finite + (n / 2) / fraction
    return _exp_minus_square(finite) / np.sqrt(_pi(x)) / fraction


def _pi(like):
    return like.dtype.type("3.14159265358979323846264338327950288")


def sigmoid(x):
    x = wide(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    x = wide(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS = {"exp": np.exp, "log": np.log, "expm1": np.expm1, "log1p": np.log1p, "erf": erf}


@_quiet
def function(name, x):
    return FUNCTIONS[name](wide(x))


# -- activations -----------------------------------------------------------------------------------------

SELU_SCALE, SELU_ALPHA = "1.0507009873554804934193349852946", "1.6732632423543772848170429916717"
GELU_CUBIC = "0.044715"
DEFAULT_ALPHA = {"leaky_relu": 0.01, "elu": 1.0, "celu": 1.0}


def _normal_cdf(x):
    return erfc(-x / np.sqrt(x.dtype.type(2))) / 2


def _normal_pdf(x):
    return _exp_minus_square(x / np.sqrt(x.dtype.type(2))) / np.sqrt(2 * _pi(x))


def _constant(x, text):
    return x.dtype.type(text)


def _gelu_tanh_argument(x):
    return np.sqrt(2 / _pi(x)) * (x + _constant(x, GELU_CUBIC) * x * x * x)


def _gelu_tanh_slope(x):
    """Derivative of the argument."""
    return np.sqrt(2 / _pi(x)) * (1 + 3 * _constant(x, GELU_CUBIC) * x * x)


@_quiet
def softmax(x):
    e = np.exp(wide(x) - wide(x).max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@_quiet
def log_softmax(x):
    shifted = wide(x) - wide(x).max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _selu(x):
    below = _constant(x, SELU_ALPHA) * np.expm1(np.minimum(x, 0))
    return _constant(x, SELU_SCALE) * np.where(x > 0, x, below)


# name -> f(x, alpha)
ACTIVATIONS = {
    "identity": lambda x, a: x,
    "relu": lambda x, a: np.maximum(x, 0),
    "leaky_relu": lambda x, a: np.where(x > 0, x, a * x),
    "sigmoid": lambda x, a: sigmoid(x),
    "tanh": lambda x, a: np.tanh(x),
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    "selu": lambda x, a: _selu(x),
    "celu": lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a)),
    "gelu": lambda x, a: x * _normal_cdf(x),
    # tanh(u)/2 + 1/2 = sigmoid(2u), which keeps its digits where tanh(u) is near -1
    "gelu_tanh": lambda x, a: x * sigmoid(2 * _gelu_tanh_argument(x)),
    "silu": lambda x, a: x * sigmoid(x),
    "mish": lambda x, a: x * np.tanh(softplus(x)),
    "softplus": lambda x, a: softplus(x),
    "softsign": lambda x, a: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x, a: np.clip((x + 3) / 6, 0, 1),
    "hard_swish": lambda x, a: x * np.clip((x + 3) / 6, 0, 1),
    "hard_tanh": lambda x, a: np.clip(x, -1, 1),
    "relu6": lambda x, a: np.clip(x, 0, 6),
    "exponential": lambda x, a: np.exp(x),
    "softmax": lambda x, a: softmax(x),
    "log_softmax": lambda x, a: log_softmax(x),
}

# name -> f'(x, alpha); at a kink the value from the left (1 for none of relu, hard_tanh, ...: it is 0 there)
DERIVATIVES = {
    "identity": lambda x, a: np.ones_like(x),
    "relu": lambda x, a: np.where(x > 0, 1, 0 * x),
    "leaky_relu": lambda x, a: np.where(x > 0, 1, a + 0 * x),
    "sigmoid": lambda x, a: sigmoid(x) * sigmoid(-x),
    "tanh": lambda x, a: 4 * sigmoid(2 * x) * sigmoid(-2 * x),  # 1/cosh^2
    "elu": lambda x, a: np.where(x > 0, 1, a * np.exp(np.minimum(x, 0))),
    "selu": lambda x, a: (
        _constant(x, SELU_SCALE) * np.where(x > 0, 1, _constant(x, SELU_ALPHA) * np.exp(np.minimum(x, 0)))
    ),
    "celu": lambda x, a: np.where(x > 0, 1, np.exp(np.minimum(x, 0) / a)),
    "gelu": lambda x, a: _normal_cdf(x) + x * _normal_pdf(x),
    "gelu_tanh": lambda x, a: (
        sigmoid(2 * _gelu_tanh_argument(x)) * (1 + 2 * x * sigmoid(-2 * _gelu_tanh_argument(x)) * _gelu_tanh_slope(x))
    ),
    "silu": lambda x, a: sigmoid(x) * (1 + x * sigmoid(-x)),
    "mish": lambda x, a: np.tanh(softplus(x)) + x * sigmoid(x) * (1 - np.tanh(softplus(x)) ** 2),
    "softplus": lambda x, a: sigmoid(x),
    "softsign": lambda x, a: 1 / (1 + np.abs(x)) ** 2,
    "hard_sigmoid": lambda x, a: np.where(np.abs(x) < 3, x.dtype.type(1) / 6, 0 * x),
    "hard_swish": lambda x, a: np.where(x <= -3, 0 * x, np.where(x >= 3, 1, x / 3 + x.dtype.type(0.5))),
    "hard_tanh": lambda x, a: np.where(np.abs(x) < 1, 1, 0 * x),
    "relu6": lambda x, a: np.where((x > 0) & (x < 6), 1, 0 * x),
    "exponential": lambda x, a: np.exp(x),
}

# name -> f' as a function of the stored output y, for the activations whose derivative has that form
DERIVATIVES_OF_OUTPUT = {
    "identity": lambda y, a: np.ones_like(y),
    "relu": lambda y, a: np.where(y > 0, 1, 0 * y),
    "leaky_relu": lambda y, a: np.where(y > 0, 1, a + 0 * y),
    "sigmoid": lambda y, a: y * (1 - y),
    "tanh": lambda y, a: (1 - y) * (1 + y),
    "elu": lambda y, a: np.where(y > 0, 1, y + a),
    "selu": lambda y, a: np.where(
        y > 0, _constant(y, SELU_SCALE), y + _constant(y, SELU_SCALE) * _constant(y, SELU_ALPHA)
    ),
    "celu": lambda y, a: np.where(y > 0, 1, y / a + 1),
    "softplus": lambda y, a: -np.expm1(-y),
    "softsign": lambda y, a: (1 - np.abs(y)) ** 2,
    "hard_sigmoid": lambda y, a: np.where((y > 0) & (y < 1), y.dtype.type(1) / 6, 0 * y),
    "hard_tanh": lambda y, a: np.where(np.abs(y) < 1, 1, 0 * y),
    "relu6": lambda y, a: np.where((y > 0) & (y < 6), 1, 0 * y),
    "exponential": lambda y, a: y,
}


@_quiet
def activation(name, x, alpha=None):
    return ACTIVATIONS[name](wide(x), DEFAULT_ALPHA.get(name) if alpha is None else alpha)


@_quiet
def derivative(name, x=None, y=None, alpha=None):
    """f' from the input x, or from the output y as it is stored."""
    alpha = DEFAULT_ALPHA.get(name) if alpha is None else alpha
    if y is not None:
        return DERIVATIVES_OF_OUTPUT[name](wide(y), alpha)
    return DERIVATIVES[name](wide(x), alpha)


@_quiet
def activation_backward(name, dy, x=None, y=None, alpha=None):
    """dy * f'; for the softmax kinds, which are not elementwise, dy times the Jacobian of the row."""
    dy = wide(dy)
    if name == "softmax":
        y = softmax(x) if y is None else wide(y)
        return y * (dy - (dy * y).sum(axis=1, keepdims=True))
    if name == "log_softmax":
        p = softmax(x) if y is None else np.exp(wide(y))
        return dy - p * dy.sum(axis=1, keepdims=True)
    return dy * derivative(name, x, y, alpha)


# -- losses ----------------------------------------------------------------------------------------------


def one_hot(labels, n_classes):
    return np.eye(n_classes)[np.asarray(labels)]


def _t_log_p(t, p):
    """t log p, 0 where t is 0 whatever p."""
    return np.where(t == 0, 0 * t, t * np.log(np.where(t == 0, 1, p)))


def _huber(p, t, delta):
    d = np.abs(p - t)
    return np.where(d <= delta, d * d / 2, delta * (d - p.dtype.type(delta) / 2)).sum(axis=1)


def _smooth(t, label_smoothing):
    return (1 - label_smoothing) * t + label_smoothing / t.shape[1]


def loss_rows(name, p, t, *, delta=1.0, quantile=0.5, label_smoothing=0.0, pos_weight=1.0):
    """Loss of each row and its gradient, before weights and reduction."""
    d = p - t
    if name == "squared_error":
        return (d * d).sum(axis=1) / 2, d
    if name == "mean_squared_error":
        return (d * d).mean(axis=1), 2 * d / p.shape[1]
    if name == "absolute_error":
        return np.abs(d).sum(axis=1), np.sign(d)
    if name == "huber":
        return _huber(p, t, delta), np.clip(d, -delta, delta)
    if name == "log_cosh":
        size = np.abs(d)
        return (size + np.log1p(np.exp(-2 * size)) - np.log(p.dtype.type(2))).sum(axis=1), np.tanh(d)
    if name == "quantile":
        rows = np.maximum(quantile * -d, (quantile - 1) * -d).sum(axis=1)
        return rows, np.where(d < 0, -quantile, np.where(d > 0, 1 - quantile, 0 * d))
    if name == "poisson":
        return (p - _t_log_p(t, p)).sum(axis=1), 1 - np.where(t == 0, 0 * p, t / np.where(t == 0, 1, p))
    if name == "cross_entropy":
        t = _smooth(t, label_smoothing)
        return -_t_log_p(t, p).sum(axis=1), -np.where(t == 0, 0 * p, t / np.where(t == 0, 1, p))
    if name == "softmax_cross_entropy":
        t = _smooth(t, label_smoothing)
        return -(t * log_softmax(p)).sum(axis=1), softmax(p) * t.sum(axis=1, keepdims=True) - t
    if name == "sigmoid_cross_entropy":
        t = (1 - label_smoothing) * t + label_smoothing / 2
        rows = (pos_weight * t * softplus(-p) + (1 - t) * softplus(p)).sum(axis=1)
        return rows, (1 - t) * sigmoid(p) - pos_weight * t * sigmoid(-p)
    if name == "hinge":
        return np.maximum(0, 1 - t * p).sum(axis=1), np.where(t * p < 1, -t, 0 * p)
    raise KeyError(name)


@_quiet
def loss(name, prediction, target, *, sample_weight=None, reduction="mean", **options):
    """(loss, gradient): sum_i w_i l_i, divided by sum_i w_i for the mean. Integer 1-D targets are labels."""
    p = wide(prediction)
    target = np.asarray(target)
    labels = target.ndim == 1 and target.dtype.kind in "iu"
    t = wide(one_hot(target, p.shape[1]) if labels else target.reshape(p.shape)).astype(p.dtype)
    weight = np.ones(len(p), p.dtype) if sample_weight is None else wide(sample_weight).astype(p.dtype)
    rows, gradient = loss_rows(name, p, t, **options)
    scale = 1 / weight.sum() if reduction == "mean" else 1
    return (weight * rows).sum() * scale, gradient * weight[:, None] * scale


# -- optimizers: one step; new arrays are returned, nothing is changed -----------------------------------


def sgd_update(param, grad, velocity=None, *, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    w = wide(param)
    g = wide(grad) + weight_decay * w
    if momentum == 0:
        return w - learning_rate * g, None
    v = momentum * wide(velocity) - learning_rate * g
    return (w + momentum * v - learning_rate * g if nesterov else w + v), v


def adam_update(param, grad, m, v, step, *, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                weight_decay=0.0, decoupled=False):  # fmt: skip
    w = wide(param)
    g = wide(grad) if decoupled else wide(grad) + weight_decay * w
    m = beta_1 * wide(m) + (1 - beta_1) * g
    v = beta_2 * wide(v) + (1 - beta_2) * g * g
    direction = (m / (1 - beta_1**step)) / (np.sqrt(v / (1 - beta_2**step)) + epsilon)
    decay = learning_rate * weight_decay * w if decoupled else 0
    return w - decay - learning_rate * direction, m, v


def rmsprop_update(param, grad, v, *, learning_rate, rho=0.9, epsilon=1e-8, weight_decay=0.0):
    w = wide(param)
    g = wide(grad) + weight_decay * w
    v = rho * wide(v) + (1 - rho) * g * g
    return w - learning_rate * g / (np.sqrt(v) + epsilon), v


def adagrad_update(param, grad, total, *, learning_rate, epsilon=1e-8, weight_decay=0.0):
    w = wide(param)
    g = wide(grad) + weight_decay * w
    total = wide(total) + g * g
    return w - learning_rate * g / (np.sqrt(total) + epsilon), total


def penalty(weight, l1=0.0, l2=0.0):
    """l1 sum|w| + l2 sum w^2, and its gradient."""
    w = wide(weight)
    return l1 * np.abs(w).sum() + l2 * (w * w).sum(), l1 * np.sign(w) + 2 * l2 * w


def clip_by_norm(grad, clip_norm):
    norm = math.sqrt(float((wide(grad) ** 2).sum()))
    return wide(grad) * (clip_norm / norm if norm > clip_norm else 1.0)


def clip_by_value(grad, clip_value):
    return np.clip(wide(grad), -clip_value, clip_value)


# -- layers that are not products ------------------------------------------------------------------------


def dropout(x, mask, rate):
    """mask is true where the element is kept."""
    return np.where(mask, wide(x) / (1 - rate), 0)


def _normalise(x, mean, inverse_std, gamma, beta):
    return wide(gamma) * (wide(x) - mean) * inverse_std + wide(beta)


def layer_norm_forward(x, gamma, beta, epsilon=1e-5):
    """y, and mean and inverse standard deviation of each row."""
    x = wide(x)
    mean = x.mean(axis=1, keepdims=True)
    inverse_std = 1 / np.sqrt(((x - mean) ** 2).mean(axis=1, keepdims=True) + epsilon)
    return _normalise(x, mean, inverse_std, gamma, beta), mean[:, 0], inverse_std[:, 0]


def layer_norm_backward(x, gamma, dy, epsilon=1e-5):
    """dx, dgamma, dbeta. With n the normalised row, g = gamma dy: dx = (g - mean g - n mean(g n)) / std."""
    x, dy = wide(x), wide(dy)
    mean = x.mean(axis=1, keepdims=True)
    inverse_std = 1 / np.sqrt(((x - mean) ** 2).mean(axis=1, keepdims=True) + epsilon)
    normal = (x - mean) * inverse_std
    g = wide(gamma) * dy
    dx = inverse_std * (g - g.mean(axis=1, keepdims=True) - normal * (g * normal).mean(axis=1, keepdims=True))
    return dx, (dy * normal).sum(axis=0), dy.sum(axis=0)


def batch_norm_forward(x, gamma, beta, running_mean, running_variance, *, training, epsilon=1e-5,
                       momentum=0.9):  # fmt: skip
    """y, and the running mean and variance afterwards (the running variance takes the unbiased one)."""
    x = wide(x)
    if not training:
        inverse_std = 1 / np.sqrt(wide(running_variance) + epsilon)
        y = _normalise(x, wide(running_mean), inverse_std, gamma, beta)
        return y, wide(running_mean), wide(running_variance)
    n = len(x)
    mean, variance = x.mean(axis=0), x.var(axis=0)
    unbiased = variance * n / (n - 1) if n > 1 else variance
    return (
        _normalise(x, mean, 1 / np.sqrt(variance + epsilon), gamma, beta),
        momentum * wide(running_mean) + (1 - momentum) * mean,
        momentum * wide(running_variance) + (1 - momentum) * unbiased,
    )


def batch_norm_backward(x, gamma, dy, *, training, running_mean=None, running_variance=None, epsilon=1e-5):
    """dx, dgamma, dbeta. With n the normalised column: dx = gamma/std (dy - mean dy - n mean(dy n)); where
    the statistics are the running ones, and so do not depend on x, dx = gamma/std dy.
    """
    x, dy = wide(x), wide(dy)
    mean, variance = wide(running_mean), wide(running_variance)
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
    inverse_std = 1 / np.sqrt(variance + epsilon)
    normal = (x - mean) * inverse_std
    dgamma, dbeta = (dy * normal).sum(axis=0), dy.sum(axis=0)
    centred = dy - dbeta / len(x) - normal * dgamma / len(x) if training else dy
    return wide(gamma) * inverse_std * centred, dgamma, dbeta
