"""Single kernels of PyTorch: the operators that its modules, autograd and optimizers end in, called directly.

No autograd and, where the operator can, no allocation: the result goes into a tensor made before. Where PyTorch has
no operator of its own (log-cosh, hinge, RMSprop, ...) it is a few in-place ones, as its own optimizers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import formulas, inputs
from ..cases import Case

Array = npt.NDArray[Any]
Call = Callable[[], Any]
aten = torch.ops.aten


def call(case: Case, dtype: np.dtype[Any]) -> Call:
    """The kernel of a case that keeps no state, ready to be called; it returns what the reference returns."""
    if case.group == "losses":
        arrays = inputs.kernel(case, dtype)
        prediction, target = torch.from_numpy(arrays["prediction"]), torch.from_numpy(arrays["target"])
        return _LOSSES[case.op.removesuffix("_loss")](prediction, target)
    if case.group == "products":
        tensors = {name: torch.from_numpy(array) for name, array in inputs.kernel(case, dtype).items()}
        return _PRODUCTS[case.op](**tensors)
    if case.op.endswith("_backward"):
        arrays = inputs.derivative(case, dtype)
        dy, x = torch.from_numpy(arrays["dy"]), torch.from_numpy(arrays["x"])
        y = torch.from_numpy(arrays.get("y", arrays["x"]))
        dx = torch.empty_like(dy)
        run = _DERIVATIVES[case.op.removesuffix("_backward")](dy, x, y, dx)
    else:
        x = torch.from_numpy(inputs.kernel(case, dtype)["x"])
        dx = torch.empty_like(x)
        run = _FUNCTIONS[case.op](x, dx)
    result = dx.numpy()  # shares the memory

    def returning() -> Array:
        run()
        return result

    return returning


_FUNCTIONS: dict[str, Callable[[Any, Any], Call]] = {
    "exp": lambda x, y: lambda: torch.exp(x, out=y),
    "log": lambda x, y: lambda: torch.log(x, out=y),
    "sigmoid": lambda x, y: lambda: torch.sigmoid(x, out=y),
    "tanh": lambda x, y: lambda: torch.tanh(x, out=y),
    "gelu_tanh": lambda x, y: lambda: aten.gelu.out(x, approximate="tanh", out=y),
    "softmax": lambda x, y: lambda: aten._softmax.out(x, 1, False, out=y),
    "log_softmax": lambda x, y: lambda: aten._log_softmax.out(x, 1, False, out=y),
}


def _elu(alpha: float, scale: float) -> Callable[..., Call]:
    def make(dy: Any, x: Any, y: Any, dx: Any) -> Call:
        return lambda: aten.elu_backward.grad_input(dy, alpha, scale, 1.0, True, y, grad_input=dx)

    return make


def _softsign(dy: Any, x: Any, y: Any, dx: Any) -> Call:
    def run() -> None:
        torch.abs(y, out=dx)
        dx.sub_(1).square_().mul_(dy)  # (|y| - 1)^2

    return run


def _hard_sigmoid(dy: Any, x: Any, y: Any, dx: Any) -> Call:
    if dy.dtype == torch.float32:
        return lambda: aten.hardsigmoid_backward.grad_input(dy, x, grad_input=dx)

    def run() -> None:  # the operator's 1 / 6 is that of float in every dtype
        aten.hardtanh_backward.grad_input(dy, y, 0, 1, grad_input=dx)
        dx.mul_(1 / 6)

    return run


_DERIVATIVES: dict[str, Callable[..., Call]] = {
    "relu": lambda dy, x, y, dx: lambda: aten.threshold_backward.grad_input(dy, y, 0, grad_input=dx),
    "leaky_relu": lambda dy, x, y, dx: (lambda: aten.leaky_relu_backward.grad_input(dy, y, 0.01, True, grad_input=dx)),
    "elu": _elu(1.0, 1.0),
    "selu": _elu(1.6732632423543773, 1.0507009873554805),
    "celu": _elu(1.0, 1.0),
    "sigmoid": lambda dy, x, y, dx: lambda: aten.sigmoid_backward.grad_input(dy, y, grad_input=dx),
    "tanh": lambda dy, x, y, dx: lambda: aten.tanh_backward.grad_input(dy, y, grad_input=dx),
    "softplus": lambda dy, x, y, dx: lambda: aten.softplus_backward.grad_input(dy, x, 1, 20, grad_input=dx),
    "softsign": _softsign,
    "exponential": lambda dy, x, y, dx: lambda: torch.mul(dy, y, out=dx),
    "relu6": lambda dy, x, y, dx: lambda: aten.hardtanh_backward.grad_input(dy, y, 0, 6, grad_input=dx),
    "hard_tanh": lambda dy, x, y, dx: lambda: aten.hardtanh_backward.grad_input(dy, y, -1, 1, grad_input=dx),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda dy, x, y, dx: lambda: aten.hardswish_backward.out(dy, x, out=dx),
    "silu": lambda dy, x, y, dx: lambda: aten.silu_backward.grad_input(dy, x, grad_input=dx),
    "gelu": lambda dy, x, y, dx: lambda: aten.gelu_backward.grad_input(dy, x, grad_input=dx),
    "gelu_tanh": lambda dy, x, y, dx: (lambda: aten.gelu_backward.grad_input(dy, x, approximate="tanh", grad_input=dx)),
    "mish": lambda dy, x, y, dx: lambda: dx.copy_(aten.mish_backward(dy, x)),
    "softmax": lambda dy, x, y, dx: (lambda: aten._softmax_backward_data.out(dy, y, 1, dy.dtype, grad_input=dx)),
    "log_softmax": lambda dy, x, y, dx: (lambda: aten._log_softmax_backward_data.out(dy, y, 1, dy.dtype, out=dx)),
}


# -- losses: sum over outputs, mean over rows ---------------------------------------------------------------------

_SUM = 2  # the operators' number for reduction="sum"


def _pair(value: Callable[[], Any], gradient: Callable[[], Any], n_rows: int) -> Call:
    return lambda: (float(value()) / n_rows, np.asarray(gradient()))


def _from_operators(name: str, scale: float, *options: float) -> Callable[[Any, Any], Call]:
    """A loss that has an operator for its value and one for its gradient; `scale` times their sum is ours."""
    value, gradient = getattr(aten, name).default, getattr(aten, name + "_backward").grad_input

    def make(p: Any, t: Any) -> Call:
        n_rows, dp = len(p), torch.empty_like(p)
        one = torch.full((), scale / n_rows, dtype=p.dtype)
        return _pair(
            lambda: scale * value(p, t, _SUM, *options),
            lambda: gradient(one, p, t, _SUM, *options, grad_input=dp),
            n_rows,
        )

    return make


def _mean_squared_error(p: Any, t: Any) -> Call:
    dp, one = torch.empty_like(p), torch.ones((), dtype=p.dtype)
    return lambda: (
        float(aten.mse_loss.default(p, t)),
        np.asarray(aten.mse_loss_backward.grad_input(one, p, t, 1, grad_input=dp)),
    )


def _absolute_error(price: float) -> Callable[[Any, Any], Call]:
    """price |p - t|: the absolute error, and the quantile loss of q = 1/2."""

    def make(p: Any, t: Any) -> Call:
        n_rows, d, g = len(p), torch.empty_like(p), torch.empty_like(p)

        def run() -> tuple[float, Array]:
            torch.sub(p, t, out=d)
            torch.sign(d, out=g)
            loss = price * float(torch.dot(d.view(-1), g.view(-1))) / n_rows
            return loss, np.asarray(g.mul_(price / n_rows))

        return run

    return make


def _log_cosh(p: Any, t: Any) -> Call:
    """log cosh d = softplus(-2 d) + d - log 2."""
    n_rows, d, e = len(p), torch.empty_like(p), torch.empty_like(p)

    def run() -> tuple[float, Array]:
        torch.sub(p, t, out=d)
        torch.mul(d, -2, out=e)
        loss = float(aten.softplus(e).add_(d).sum()) - float(np.log(2)) * d.numel()
        return loss / n_rows, np.asarray(d.tanh_().div_(n_rows))

    return run


def _poisson(p: Any, t: Any) -> Call:
    n_rows, e = len(p), torch.empty_like(p)

    def run() -> tuple[float, Array]:
        torch.log(p, out=e)
        loss = float(p.sum()) - float(torch.dot(e.view(-1), t.view(-1)))
        torch.div(t, p, out=e)
        return loss / n_rows, np.asarray(e.sub_(1).mul_(-1 / n_rows))

    return run


def _cross_entropy(p: Any, t: Any) -> Call:
    n_rows, e = len(p), torch.empty_like(p)

    def run() -> tuple[float, Array]:
        torch.log(p, out=e)
        loss = -float(torch.dot(e.view(-1), t.view(-1)))
        torch.div(t, p, out=e)
        return loss / n_rows, np.asarray(e.mul_(-1 / n_rows))

    return run


def _hinge(p: Any, t: Any) -> Call:
    n_rows, m = len(p), torch.empty_like(p)

    def run() -> tuple[float, Array]:
        torch.mul(p, t, out=m)
        m.neg_().add_(1).clamp_min_(0)
        loss = float(m.sum())
        return loss / n_rows, np.asarray(m.sign_().mul_(t).mul_(-1 / n_rows))

    return run


def _sigmoid_cross_entropy(p: Any, t: Any) -> Call:
    n_rows, g = len(p), torch.empty_like(p)

    def run() -> tuple[float, Array]:
        loss = float(aten.binary_cross_entropy_with_logits(p, t, None, None, _SUM))
        torch.sigmoid(p, out=g)
        return loss / n_rows, np.asarray(g.sub_(t).mul_(1 / n_rows))

    return run


def _softmax_cross_entropy(p: Any, t: Any) -> Call:
    logs, picked, dp = torch.empty_like(p), torch.empty_like(p), torch.empty_like(p)
    one = torch.ones((), dtype=p.dtype)

    def run() -> tuple[float, Array]:
        aten._log_softmax.out(p, 1, False, out=logs)
        loss, total = aten.nll_loss_forward.default(logs, t, None, 1, -100)
        aten.nll_loss_backward.grad_input(one, logs, t, None, 1, -100, total, grad_input=picked)
        aten._log_softmax_backward_data.out(picked, logs, 1, p.dtype, out=dp)
        return float(loss), np.asarray(dp)

    return run


_LOSSES: dict[str, Callable[[Any, Any], Call]] = {
    "squared_error": _from_operators("mse_loss", 0.5),
    "mean_squared_error": _mean_squared_error,
    "absolute_error": _absolute_error(1.0),
    "huber": _from_operators("smooth_l1_loss", 1.0, 1.0),
    "log_cosh": _log_cosh,
    "quantile": _absolute_error(0.5),
    "poisson": _poisson,
    "cross_entropy": _cross_entropy,
    "hinge": _hinge,
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "softmax_cross_entropy": _softmax_cross_entropy,
}


# -- products and updates -----------------------------------------------------------------------------------------


def _forward(x: Any, weight: Any, bias: Any) -> Call:
    y = torch.empty((len(x), weight.shape[1]), dtype=x.dtype)
    return lambda: np.asarray(torch.addmm(bias, x, weight, out=y))


def _input_gradient(dz: Any, weight: Any) -> Call:
    dx, turned = torch.empty((len(dz), len(weight)), dtype=dz.dtype), weight.t()
    return lambda: np.asarray(torch.mm(dz, turned, out=dx))


def _weight_gradient(x: Any, dz: Any) -> Call:
    dw, db = torch.empty((x.shape[1], dz.shape[1]), dtype=x.dtype), torch.empty(dz.shape[1], dtype=x.dtype)
    turned = x.t()
    return lambda: (np.asarray(torch.mm(turned, dz, out=dw)), np.asarray(torch.sum(dz, 0, out=db)))


_PRODUCTS: dict[str, Callable[..., Call]] = {
    "forward": _forward,
    "input_gradient": _input_gradient,
    "weight_gradient": _weight_gradient,
}


def update(op: str, param: Array, grad: Array) -> tuple[Call, Callable[[], list[Array]]]:
    """An optimizer step on one parameter: in-place operators for SGD and RMSprop, fused ones for the others."""
    w, g = torch.from_numpy(param), torch.from_numpy(grad)
    s, v = torch.zeros_like(w), torch.zeros_like(w)
    rate, momentum, rho = formulas.UPDATE_RATE, formulas.MOMENTUM, formulas.RHO
    step = torch.zeros(())
    common = {"lr": rate, "weight_decay": 0.0, "eps": 1e-8, "maximize": False}

    def heavy_ball() -> None:
        s.mul_(momentum).add_(g, alpha=-rate)
        w.add_(s)

    def nesterov() -> None:
        s.mul_(momentum).add_(g, alpha=-rate)
        w.add_(s, alpha=momentum).add_(g, alpha=-rate)

    def adam() -> None:
        step.add_(1)
        torch._fused_adam_([w], [g], [s], [v], [], [step], beta1=0.9, beta2=0.999, amsgrad=False, **common)

    def adamw() -> None:
        step.add_(1)
        with_decay = {**common, "weight_decay": formulas.DECAY}
        torch._fused_adamw_([w], [g], [s], [v], [], [step], beta1=0.9, beta2=0.999, amsgrad=False, **with_decay)

    def rmsprop() -> None:
        v.mul_(rho).addcmul_(g, g, value=1 - rho)
        torch.sqrt(v, out=s)
        w.addcdiv_(g, s.add_(1e-8), value=-rate)

    def adagrad() -> None:
        step.add_(1)
        torch._fused_adagrad_([w], [g], [v], [step], lr_decay=0.0, **common)

    steps: dict[str, Call] = {
        "sgd_update": lambda: w.add_(g, alpha=-rate),
        "momentum_update": heavy_ball,
        "nesterov_update": nesterov,
        "adam_update": adam,
        "adamw_update": adamw,
        "rmsprop_update": rmsprop,
        "adagrad_update": adagrad,
    }
    return steps[op], lambda: [param]
