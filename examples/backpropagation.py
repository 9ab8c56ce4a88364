"""Your own backpropagation beside the library's: two layers, E = 1/2 sum (y_hat - y)^2, all derivatives by hand."""

import numpy as np

import chainrule as cr


def forward(x, w1, b1, w2, b2):
    a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))  # sigmoid
    return a1, a1 @ w2 + b2


def backward(x, y, w2, a1, y_hat):
    """dE/dw of each layer, from the last to the first."""
    delta2 = y_hat - y  # dE/dz2, as the last layer is linear
    delta1 = (delta2 @ w2.T) * a1 * (1 - a1)  # dE/dz1: back through w2, times sigmoid'(z1)
    return x.T @ delta1, delta1.sum(0), a1.T @ delta2, delta2.sum(0)


def main():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    model = cr.Sequential([cr.Dense(5, "sigmoid"), cr.Dense(2)], seed=0, dtype="float64")
    model.build(3)

    # By hand, from the model's weights.
    w1, b1, w2, b2 = model.get_weights()
    a1, y_hat = forward(x, w1, b1, w2, b2)
    mine = backward(x, y, w2, a1, y_hat)

    # The library's: forward keeps what backward needs, and dE/dy_hat of this E is y_hat - y.
    model.backward(model.forward(x, training=True) - y)
    start, worst = 0, 0.0
    for name, gradient in zip(("w1", "b1", "w2", "b2"), mine, strict=True):
        theirs = model.gradients[start : start + gradient.size].reshape(gradient.shape)
        start += gradient.size
        difference = float(np.abs(gradient - theirs).max())
        worst = max(worst, difference)
        print(f"dE/d{name} {gradient.shape!s:>7}: largest difference {difference:.1e}")

    # And both beside central differences. Here E is the mean over rows, as in training.
    model.compile("sgd", "squared_error")
    check = cr.check_gradients(model, x, y)
    print(check)
    return worst, check.max_error


if __name__ == "__main__":
    main()
