"""What is measured, as data. To add a case, add a line; to add a kernel, also a formula in formulas.py.

This file imports no NumPy: it is read before the thread settings of NumPy's BLAS are made.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Net:
    """A dense network: widths, the activation of the hidden layers and of the last, the loss."""

    widths: tuple[int, ...]
    hidden: str
    output: str
    loss: str

    @property
    def name(self) -> str:
        return "-".join(map(str, self.widths))

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.hidden,) * (len(self.widths) - 2) + (self.output,)

    @property
    def takes_labels(self) -> bool:
        return self.loss == "softmax_cross_entropy"

    def forward_flops(self, n_rows: int) -> int:
        """A multiply and an add for each weight and row; biases and activations are not counted."""
        return sum(2 * n_rows * n_in * n_out for n_in, n_out in pairwise(self.widths))

    def step_flops(self, n_rows: int) -> int:
        """Forward, weight gradients and input gradients; the first layer has no input gradient."""
        return 3 * self.forward_flops(n_rows) - 2 * n_rows * self.widths[0] * self.widths[1]


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes
    ----------
    group : one of `GROUPS`.
    op : the kernel (a name in formulas.KERNELS), or "train_step", "fit", "predict".
    shape : of a kernel: (n_rows, n_columns), or (n_rows, n_in, n_out) of a product.
    net, batch, optimizer : of a training or inference case.
    n_rows : of a fit: the rows of an epoch.
    whole : of a fit: report the time of an epoch rather than of a step.
    quick : also part of --quick.
    """

    group: str
    op: str
    shape: tuple[int, ...] = ()
    net: Net | None = None
    batch: int = 0
    optimizer: str = ""
    n_rows: int = 0
    whole: bool = False
    quick: bool = True

    @property
    def name(self) -> str:
        if self.net is None:
            if self.group == "products":
                return f"{self.op} {'x'.join(map(str, self.shape))}"
            rows = self.group != "updates" and self.shape[1] != COLUMNS
            return f"{self.op} {_short(self.elements)}" + (f" in rows of {self.shape[1]}" if rows else "")
        rows = f"{self.n_rows} rows " if self.whole else ""
        return f"{self.op} {self.net.name} {rows}b{self.batch} {self.optimizer}".strip()

    @property
    def elements(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def parts(self) -> int:
        """By how much the time of one call is divided: a fit call runs an epoch, its time is that of a step."""
        return -(-self.n_rows // self.batch) if self.op == "fit" and not self.whole else 1

    @property
    def unit(self) -> str:
        return "epoch" if self.whole else "step" if self.optimizer else "call"

    @property
    def work(self) -> tuple[float, str]:
        """Work in one unit of the time reported, and what it counts: FLOP or elements."""
        if self.net is None:
            if self.group == "products":
                n_rows, n_in, n_out = self.shape
                return 2.0 * n_rows * n_in * n_out, "FLOP"
            return float(self.elements), "elements"
        if self.op == "predict":
            return float(self.net.forward_flops(self.batch)), "FLOP"
        return float(self.net.step_flops(self.n_rows if self.whole else self.batch)), "FLOP"

    @property
    def calls_checked(self) -> int:
        """Calls after which the results are compared with float64: one, and five steps where there is a state."""
        return 5 if self.op in ("train_step", *UPDATES) else 1


def _short(n: int) -> str:
    return f"{n // 10**6}M" if n % 10**6 == 0 else f"{n // 1000}k"


GROUPS = {
    "elementwise": "vector mathematics, activations and their derivatives, one call each",
    "losses": "losses with their gradient, one call each",
    "updates": "optimizer updates, one call each",
    "products": "the three products of a dense layer, one call each",
    "steps": "training step, one call each",
    "epochs": "training step or epoch inside fit, shuffled",
    "inference": "prediction into a given array, one call each",
}

SIZES = {1_000: True, 100_000: True, 10_000_000: False}  # elements: part of --quick
COLUMNS = 10  # of the arrays whose rows are one thing: softmax, losses

FUNCTIONS = ("exp", "log", "sigmoid", "tanh", "gelu_tanh", "softmax", "log_softmax")
DERIVATIVES = (
    "relu", "leaky_relu", "elu", "selu", "celu", "sigmoid", "tanh", "softplus", "softsign", "exponential", "relu6",
    "hard_tanh", "hard_sigmoid", "hard_swish", "silu", "gelu", "gelu_tanh", "mish", "softmax", "log_softmax",
)  # fmt: skip
LOSSES = (
    "squared_error", "mean_squared_error", "absolute_error", "huber", "log_cosh", "quantile", "poisson", "hinge",
    "cross_entropy", "sigmoid_cross_entropy", "softmax_cross_entropy",
)  # fmt: skip
# Also measured in rows of other lengths: regression to one number, and classification into many classes.
OTHER_COLUMNS = {
    1: ("squared_error", "huber", "log_cosh", "sigmoid_cross_entropy"),
    1000: ("softmax", "softmax_backward", "log_softmax_backward", "softmax_cross_entropy"),
}
UPDATES = tuple(f"{name}_update" for name in ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"))
PRODUCTS = ("forward", "input_gradient", "weight_gradient")
PRODUCT_SHAPES = {  # n_rows, n_in, n_out: part of --quick
    (32, 16, 64): False,
    (32, 64, 64): True,
    (128, 784, 128): True,
    (128, 128, 10): True,
    (256, 512, 512): True,
    (1024, 1024, 1024): False,
}

TINY = Net((4, 16, 1), "tanh", "identity", "mean_squared_error")
XOR = Net((2, 8, 1), "sigmoid", "sigmoid", "mean_squared_error")
SMALL = Net((16, 64, 64, 4), "relu", "identity", "softmax_cross_entropy")
TABULAR = Net((32, 256, 256, 1), "relu", "identity", "mean_squared_error")
IMAGE = Net((784, 128, 10), "relu", "identity", "softmax_cross_entropy")
IMAGE_DEEP = Net((784, 512, 512, 10), "relu", "identity", "softmax_cross_entropy")
WIDE = Net((1024, 1024, 1024, 1024), "relu", "identity", "mean_squared_error")
BIG = Net((4096, 4096, 4096), "relu", "identity", "mean_squared_error")
DIGITS = Net((64, 100, 10), "relu", "identity", "softmax_cross_entropy")

# net, batch, optimizers, rows of an epoch inside fit (0: no such case), part of --quick
TRAINING: tuple[tuple[Net, int, tuple[str, ...], int, bool], ...] = (
    (TINY, 1, ("sgd",), 2000, True),
    (TINY, 32, ("sgd", "adam"), 8000, True),
    (XOR, 4, ("sgd",), 2000, True),
    (SMALL, 32, ("sgd", "adam"), 8000, True),
    (SMALL, 256, ("sgd",), 8192, False),
    (TABULAR, 256, ("sgd",), 4096, False),
    (IMAGE, 32, ("sgd", "adam"), 2048, False),
    (IMAGE, 128, ("sgd", "adam"), 2048, True),
    (IMAGE_DEEP, 64, ("adam",), 0, False),
    (IMAGE_DEEP, 256, ("sgd", "adam"), 0, True),
    (WIDE, 256, ("sgd",), 0, False),
    (WIDE, 1024, ("sgd", "adam"), 0, False),
    (BIG, 512, ("sgd", "adam"), 0, False),
)

# net, batch, optimizer, rows, part of --quick
EPOCHS = ((DIGITS, 200, "adam", 1797, True), (IMAGE, 128, "sgd", 60_000, False))

INFERENCE = {TINY: (True, True, True), SMALL: (True, True, True), IMAGE: (True, True, True),
             IMAGE_DEEP: (True, True, False)}  # fmt: skip
INFERENCE_BATCHES = (1, 16, 1024)  # the tuples above: part of --quick, for each of these


def all_cases() -> list[Case]:
    """Every case, in the order of the table."""
    cases = []
    groups = {
        "elementwise": FUNCTIONS + tuple(f"{name}_backward" for name in DERIVATIVES),
        "losses": tuple(f"{name}_loss" for name in LOSSES),
        "updates": UPDATES,
    }
    for group, ops in groups.items():
        for size, quick in SIZES.items():
            for op in ops:
                if group == "updates":
                    cases.append(Case(group, op, (1, size), quick=quick))
                    continue
                cases.append(Case(group, op, (size // COLUMNS, COLUMNS), quick=quick))
                for columns, names in OTHER_COLUMNS.items():
                    if op.removesuffix("_loss") in names:
                        cases.append(Case(group, op, (size // columns, columns), quick=False))
    for shape, quick in PRODUCT_SHAPES.items():
        for op in PRODUCTS:
            cases.append(Case("products", op, shape, quick=quick))
    for net, batch, optimizers, _, quick in TRAINING:
        for optimizer in optimizers:
            cases.append(Case("steps", "train_step", (), net, batch, optimizer, quick=quick))
    for net, batch, optimizers, n_rows, quick in TRAINING:
        for optimizer in optimizers if n_rows else ():
            cases.append(Case("epochs", "fit", (), net, batch, optimizer, n_rows, quick=quick))
    for net, batch, optimizer, n_rows, quick in EPOCHS:
        cases.append(Case("epochs", "fit", (), net, batch, optimizer, n_rows, whole=True, quick=quick))
    for net, flags in INFERENCE.items():
        for batch, quick in zip(INFERENCE_BATCHES, flags, strict=True):
            cases.append(Case("inference", "predict", (), net, batch, quick=quick))
    return cases


def random_cases(n_nets: int, seed: int) -> list[Case]:
    """Networks that nobody chose, as tabular and control problems have them: a step, an epoch and predictions of each.

    Two to six layers; widths from 1 to 1500, two thirds of them below 30, a quarter multiples of 8.
    """
    draw = random.Random(seed)

    def width(least: int, most: int) -> int:
        n = round(math.exp(draw.uniform(math.log(least), math.log(most))))
        return max(8, n // 8 * 8) if n > 8 and draw.random() < 1 / 3 else n

    cases: list[Case] = []
    for _ in range(n_nets):
        most = draw.choice((32, 128, 512, 1500))
        widths = [width(1, most)] + [width(2, most) for _ in range(draw.choice((1, 1, 2, 2, 3, 5)))]
        labels = draw.random() < 0.5
        n_out = width(2, draw.choice((12, most))) if labels else draw.choice((1, width(2, most)))
        loss = "softmax_cross_entropy" if labels else "mean_squared_error"
        hidden = draw.choice(("relu", "relu", "tanh", "sigmoid"))
        net = Net((*widths, n_out), hidden, "identity", loss)
        batch = draw.choice((1, 2, 5, 8, 16, 32, 50, 64, 100, 200, 256, 500))
        optimizer = draw.choice(("sgd", "adam")) if batch >= 16 else "adam"  # with few rows some would diverge
        cases.append(Case("steps", "train_step", (), net, batch, optimizer))
        cases.append(Case("epochs", "fit", (), net, batch, optimizer, 33 * batch))
        few, many = draw.choice((2, 3, 4, 7, 16, 33)), draw.choice((100, 333, 1024, 3000))
        cases += [Case("inference", "predict", (), net, n_rows) for n_rows in (1, few, many)]
    return sorted(cases, key=lambda case: list(GROUPS).index(case.group))


def select(cases: list[Case], pattern: str | None, quick: bool) -> list[Case]:
    """Those whose "group: name" contains a match of the pattern, all if None; only quick ones if asked."""
    found = re.compile(pattern) if pattern is not None else None
    return [
        case
        for case in cases
        if (case.quick or not quick) and (found is None or found.search(f"{case.group}: {case.name}"))
    ]
