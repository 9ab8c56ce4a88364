"""The formulas of the textbook, each as a test: read them beside a chapter on backpropagation.

Notation: a row x of inputs; layer l computes z = a W + b from the outputs a of the layer below, and its own
outputs f(z); delta is dE/dz; yhat is the network's output, y the target. Everything runs in float64, so the
library may differ from the formula by rounding only: `close` allows for the few roundings of a short formula.
"""

import math

import bounds
import numpy as np
import pytest

import chainrule as cr
from chainrule import kernels

N_ROWS, N_IN, N_HIDDEN, N_OUT = 5, 3, 4, 2

# No formula below has more than about 40 roundings on the way to a result of the size of 1.
ROUNDINGS = 64


def close(got, expected):
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=bounds.gamma(ROUNDINGS, np.float64) * scale)


@pytest.fixture
def x(rng):
    return rng.normal(size=(N_ROWS, N_IN))


def small_model(hidden="tanh", output="identity"):
    model = cr.Sequential([cr.Dense(N_HIDDEN, hidden), cr.Dense(N_OUT, output)], seed=3, dtype="float64")
    model.build(N_IN)
    return model


def split_gradients(model):
    """dE/dW1, dE/db1, dE/dW2, dE/db2 out of the flat gradient array."""
    parts, start = [], 0
    for weight in model.get_weights():
        parts.append(model.gradients[start : start + weight.size].reshape(weight.shape))
        start += weight.size
    return parts


# -- the neuron ------------------------------------------------------------------------------------------


def test_a_neuron_is_the_activation_of_a_weighted_sum(x, rng):
    weight, bias = rng.normal(size=(N_IN, N_OUT)), rng.normal(size=N_OUT)
    output = kernels.dense_forward(x, weight, bias, "tanh")
    for row in range(N_ROWS):
        for k in range(N_OUT):
            z = sum(x[row, j] * weight[j, k] for j in range(N_IN)) + bias[k]
            close(output[row, k], math.tanh(z))


def test_a_network_is_one_layer_after_the_other(x):
    model = small_model()
    w1, b1, w2, b2 = model.get_weights()
    close(model.predict(x), np.tanh(x @ w1 + b1) @ w2 + b2)


# -- activations and their derivatives -------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


LAMBDA, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_ROOT = math.sqrt(2 / math.pi)


def gelu_tanh_slope(z):
    t = math.tanh(GELU_ROOT * (z + 0.044715 * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t * t) * GELU_ROOT * (1 + 3 * 0.044715 * z**2)


def mish_slope(z):
    t = math.tanh(math.log1p(math.exp(z)))
    return t + z * sigmoid(z) * (1 - t * t)


# name: (f, f')
ACTIVATIONS = {
    "identity": (lambda z: z, lambda z: 1),
    "relu": (lambda z: max(z, 0), lambda z: 1 if z > 0 else 0),
    "leaky_relu": (lambda z: max(z, 0.01 * z), lambda z: 1 if z > 0 else 0.01),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "elu": (lambda z: z if z > 0 else math.expm1(z), lambda z: 1 if z > 0 else math.exp(z)),
    "selu": (
        lambda z: LAMBDA * (z if z > 0 else SELU_ALPHA * math.expm1(z)),
        lambda z: LAMBDA * (1 if z > 0 else SELU_ALPHA * math.exp(z)),
    ),
    "celu": (lambda z: z if z > 0 else math.expm1(z), lambda z: 1 if z > 0 else math.exp(z)),
    "gelu": (
        lambda z: z / 2 * math.erfc(-z / math.sqrt(2)),
        lambda z: math.erfc(-z / math.sqrt(2)) / 2 + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": (lambda z: z / 2 * (1 + math.tanh(GELU_ROOT * (z + 0.044715 * z**3))), gelu_tanh_slope),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "mish": (lambda z: z * math.tanh(math.log1p(math.exp(z))), mish_slope),
    "softplus": (lambda z: math.log1p(math.exp(z)), sigmoid),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "hard_sigmoid": (lambda z: min(max(z / 6 + 0.5, 0), 1), lambda z: 1 / 6 if abs(z) < 3 else 0),
    "hard_swish": (
        lambda z: z * min(max(z / 6 + 0.5, 0), 1),
        lambda z: 0 if z <= -3 else 1 if z >= 3 else z / 3 + 0.5,
    ),
    "hard_tanh": (lambda z: min(max(z, -1), 1), lambda z: 1 if abs(z) < 1 else 0),
    "relu6": (lambda z: min(max(z, 0), 6), lambda z: 1 if 0 < z < 6 else 0),
    "exponential": (math.exp, math.exp),
}
POINTS = [-7.0, -3.5, -2.0, -1.25, -0.5, -0.125, 0.0, 0.125, 0.5, 0.75, 2.0, 3.5, 5.5, 7.0]


def test_every_activation_is_here():
    assert {*ACTIVATIONS, "softmax", "log_softmax"} == set(cr.activations.NAMES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_value_of_an_activation(name):
    f, _ = ACTIVATIONS[name]
    close(kernels.activation(name, np.array(POINTS)), [f(z) for z in POINTS])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_of_an_activation(name):
    """With dE/da = 1, backpropagation through the activation gives f'(z)."""
    _, slope = ACTIVATIONS[name]
    z = np.array(POINTS)
    a = kernels.activation(name, z)
    close(kernels.activation_backward(name, np.ones_like(z), x=z, y=a), [slope(point) for point in POINTS])


def test_softmax_is_exp_over_the_sum_of_exp(rng):
    z = rng.normal(size=(N_ROWS, 7))
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    close(kernels.softmax(z), expected)
    close(kernels.log_softmax(z), np.log(expected))


def test_the_jacobian_of_softmax_is_y_i_times_kronecker_minus_y_j(rng):
    y = kernels.softmax(rng.normal(size=(1, 6)))[0]
    jacobian = np.diag(y) - np.outer(y, y)
    for i in range(6):
        pick_i = np.eye(6)[[i]]  # dE/dy = 1 for output i, else 0
        close(kernels.activation_backward("softmax", pick_i, y=y[None])[0], jacobian[i])


# -- the error at the output -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "exponential"])
def test_delta_of_squared_error_is_yhat_minus_y_times_f_prime(name, rng):
    """E = 1/2 sum (yhat - y)^2, yhat = f(z): delta_k = (yhat_k - y_k) f'(z_k)."""
    z, y = rng.normal(size=(N_ROWS, N_OUT)), rng.normal(size=(N_ROWS, N_OUT))
    yhat = kernels.activation(name, z)
    error, gradient = kernels.loss("squared_error", yhat, y, reduction="sum")
    delta = kernels.activation_backward(name, gradient, x=z, y=yhat)

    f_prime = np.vectorize(ACTIVATIONS[name][1], otypes=[float])(z)
    close(error, 0.5 * ((yhat - y) ** 2).sum())
    close(delta, (yhat - y) * f_prime)


def test_delta_of_softmax_with_cross_entropy_is_yhat_minus_y(rng):
    """E = -sum y log yhat, yhat = softmax(z): the softmax's derivative and the logarithm's 1/yhat cancel."""
    z = rng.normal(size=(N_ROWS, 4))
    labels = rng.integers(0, 4, N_ROWS)
    y = np.eye(4)[labels]
    yhat = kernels.softmax(z)

    error, delta = kernels.loss("softmax_cross_entropy", z, labels, reduction="sum")
    close(error, -np.log(yhat[np.arange(N_ROWS), labels]).sum())
    close(delta, yhat - y)

    # The long way round: cross entropy on probabilities, then the Jacobian of softmax.
    _, dyhat = kernels.loss("cross_entropy", yhat, y, reduction="sum")
    close(kernels.activation_backward("softmax", dyhat, y=yhat), yhat - y)


def test_delta_of_sigmoid_with_cross_entropy_is_yhat_minus_y(rng):
    z, y = rng.normal(size=(N_ROWS, 1)), rng.integers(0, 2, (N_ROWS, 1)).astype(float)
    yhat = kernels.activation("sigmoid", z)
    error, delta = kernels.loss("sigmoid_cross_entropy", z, y, reduction="sum")
    close(error, -(y * np.log(yhat) + (1 - y) * np.log(1 - yhat)).sum())
    close(delta, yhat - y)


def test_the_mean_over_rows_divides_error_and_delta_by_their_number(rng):
    z, labels = rng.normal(size=(N_ROWS, 4)), rng.integers(0, 4, N_ROWS)
    total, of_total = kernels.loss("softmax_cross_entropy", z, labels, reduction="sum")
    mean, of_mean = kernels.loss("softmax_cross_entropy", z, labels, reduction="mean")
    close(mean, total / N_ROWS)
    close(of_mean, of_total / N_ROWS)


# -- from the error to the gradients ---------------------------------------------------------------------


def test_the_gradient_of_a_weight_is_delta_k_times_a_j(rng):
    """One row: dE/dw_jk = delta_k a_j and dE/db_k = delta_k."""
    a, delta = rng.normal(size=N_IN), rng.normal(size=N_OUT)
    dw, db = kernels.dense_backward_weight(a[None], delta[None])
    for j in range(N_IN):
        for k in range(N_OUT):
            assert dw[j, k] == delta[k] * a[j]
    np.testing.assert_array_equal(db, delta)


def test_the_gradient_of_a_batch_is_the_sum_over_its_rows(x, rng):
    delta = rng.normal(size=(N_ROWS, N_OUT))
    dw, db = kernels.dense_backward_weight(x, delta)
    close(dw, sum(np.outer(x[row], delta[row]) for row in range(N_ROWS)))
    close(db, sum(delta[row] for row in range(N_ROWS)))


def test_the_error_of_a_hidden_layer_is_the_weighted_sum_of_the_errors_above_times_f_prime(rng):
    """delta_j = f'(z_j) sum_k w_jk delta_k."""
    z, weight = rng.normal(size=(1, N_HIDDEN)), rng.normal(size=(N_HIDDEN, N_OUT))
    delta_above = rng.normal(size=(1, N_OUT))
    a = kernels.activation("sigmoid", z)
    delta = kernels.dense_backward_input(delta_above, weight, activation="sigmoid", output=a)
    for j in range(N_HIDDEN):
        weighted = sum(weight[j, k] * delta_above[0, k] for k in range(N_OUT))
        close(delta[0, j], a[0, j] * (1 - a[0, j]) * weighted)


def test_backpropagation_through_a_network(x, rng):
    """Two layers, squared error: all four gradients and dE/dx from the recursion, written out."""
    model = small_model("tanh", "sigmoid")
    w1, b1, w2, b2 = model.get_weights()
    y = rng.normal(size=(N_ROWS, N_OUT))

    yhat = model.forward(x)
    dx = model.backward(yhat - y)  # dE/dyhat of E = 1/2 sum (yhat - y)^2

    a1 = np.tanh(x @ w1 + b1)
    a2 = 1 / (1 + np.exp(-(a1 @ w2 + b2)))
    delta2 = (a2 - y) * a2 * (1 - a2)
    delta1 = (delta2 @ w2.T) * (1 - a1**2)

    close(yhat, a2)
    for got, expected in zip(
        split_gradients(model), [x.T @ delta1, delta1.sum(0), a1.T @ delta2, delta2.sum(0)], strict=True
    ):
        close(got, expected)
    close(dx, delta1 @ w1.T)


def test_the_gradient_is_the_slope_of_the_error(x, rng):
    """dE/dw is what the difference quotient (E(w + h) - E(w - h)) / 2h tends to."""
    model = small_model("tanh", "identity")
    y = rng.normal(size=(N_ROWS, N_OUT))

    def error():
        return float(kernels.loss("squared_error", model.predict(x), y, reduction="sum")[0])

    model.backward(model.forward(x) - y)
    gradient = model.gradients.copy()
    h = 2.0**-17  # near u^(1/3), where the rounding of E and the h^2 of the quotient balance
    for i in range(model.parameters.size):
        original = model.parameters[i]
        model.parameters[i] = original + h
        above = error()
        model.parameters[i] = original - h
        below = error()
        model.parameters[i] = original
        assert (above - below) / (2 * h) == pytest.approx(gradient[i], abs=1e-8)


# -- the update ------------------------------------------------------------------------------------------


def test_gradient_descent_goes_against_the_gradient(x, rng):
    """w := w - eta dE/dw, for every parameter at once."""
    eta, y = 0.125, rng.normal(size=(N_ROWS, N_OUT))
    model = small_model()
    model.compile(optimizer=cr.SGD(eta), loss="squared_error")
    before = model.parameters.copy()
    model.backward((model.forward(x) - y) / N_ROWS)  # the mean over rows
    gradient = model.gradients.copy()

    loss = model.train_step(x, y)

    close(loss, 0.5 * ((model_output(before, x) - y) ** 2).sum() / N_ROWS)
    close(model.parameters, before - eta * gradient)


def model_output(parameters, x):
    """The output of small_model() with these parameters."""
    model = small_model()
    model.parameters[:] = parameters
    return model.predict(x)


def test_momentum_remembers_the_last_step(rng):
    """v := mu v - eta g, w := w + v."""
    mu, eta = 0.75, 0.125
    w, g, v = rng.normal(size=(3, 6))
    expected_v = mu * v - eta * g
    expected_w = w + expected_v
    kernels.sgd_update(w, g, learning_rate=eta, momentum=mu, velocity=v)
    close(v, expected_v)
    close(w, expected_w)


def test_nesterov_looks_ahead(rng):
    """v := mu v - eta g, w := w + mu v - eta g."""
    mu, eta = 0.75, 0.125
    w, g, v = rng.normal(size=(3, 6))
    expected_v = mu * v - eta * g
    expected_w = w + mu * expected_v - eta * g
    kernels.sgd_update(w, g, learning_rate=eta, momentum=mu, nesterov=True, velocity=v)
    close(v, expected_v)
    close(w, expected_w)


@pytest.mark.parametrize("step", [1, 2, 10, 1000])
def test_adam_divides_the_mean_gradient_by_its_root_mean_square(step, rng):
    """m := b1 m + (1-b1) g, v := b2 v + (1-b2) g^2; with m^ = m / (1-b1^t) and v^ = v / (1-b2^t)
    w := w - eta m^ / (sqrt(v^) + epsilon).
    """
    eta, b1, b2, epsilon = 0.125, 0.9, 0.999, 1e-8
    w, g, m = rng.normal(size=(3, 6))
    v = rng.uniform(0.5, 2, 6)
    m_new, v_new = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    w_new = w - eta * (m_new / (1 - b1**step)) / (np.sqrt(v_new / (1 - b2**step)) + epsilon)
    kernels.adam_update(w, g, m, v, step, learning_rate=eta, beta_1=b1, beta_2=b2, epsilon=epsilon)
    close(m, m_new)
    close(v, v_new)
    # 1 - b2^t loses digits for small t: relative error u / (1 - b2^t), halved by the square root
    np.testing.assert_allclose(w, w_new, rtol=0, atol=bounds.gamma(ROUNDINGS, np.float64) / (1 - b2**step))


def test_adam_s_first_step_has_the_size_of_the_learning_rate(rng):
    w, g = np.zeros(6), rng.normal(size=6)
    kernels.adam_update(w, g, np.zeros(6), np.zeros(6), 1, learning_rate=0.125, epsilon=1e-300)
    np.testing.assert_allclose(w, -0.125 * np.sign(g), rtol=1e-12)


def test_weight_decay_shrinks_the_weights(rng):
    """As a gradient: w := w - eta (g + decay w); decoupled (AdamW): w := w - eta decay w beside the step."""
    eta, decay = 0.125, 0.25
    w, g = rng.normal(size=(2, 6))
    expected = w - eta * (g + decay * w)
    kernels.sgd_update(w, g, learning_rate=eta, weight_decay=decay)
    close(w, expected)

    w, still = rng.normal(size=6), np.zeros(6)
    expected = (1 - eta * decay) * w
    kernels.adam_update(w, still, np.zeros(6), np.zeros(6), 1, learning_rate=eta, weight_decay=decay, decoupled=True)
    close(w, expected)


def test_an_l2_penalty_adds_twice_lambda_w_to_the_gradient_of_weights_only(x, rng):
    strength, eta, y = 0.25, 0.125, rng.normal(size=(N_ROWS, N_OUT))
    plain = cr.Sequential([cr.Dense(N_OUT)], seed=3, dtype="float64")
    penalised = cr.Sequential([cr.Dense(N_OUT, l2=strength)], seed=3, dtype="float64")
    for model in (plain, penalised):
        model.compile(optimizer=cr.SGD(eta), loss="squared_error")
        model.build(N_IN)
    w = plain.get_weights()[0].copy()
    loss = plain.train_step(x, y)
    close(penalised.train_step(x, y), loss + strength * (w**2).sum())
    close(penalised.get_weights()[0], plain.get_weights()[0] - eta * 2 * strength * w)
    close(penalised.get_weights()[1], plain.get_weights()[1])
