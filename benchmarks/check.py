"""Did a rival compute the same thing? Asked before its time counts.

The reference is rivals/numpy_textbook.py in float64 on the same inputs, u the unit roundoff of the dtype that was
timed (2^-24 for float32). The bounds tell a wrong formula from rounding, not a good rounding from a better one;
that is what tests/ are for.

kernels     |y - y64| <= c u max|y64| in each array, c = 100 for elementwise work and (k + 8) for products, where
            k is the number of terms and max|y64| is that of the product of |inputs|: k roundings of k terms.
prediction  |y - y64| <= 1000 u max|y64|: layer on layer of the above.
training    after five steps (or one epoch) ||w - w64|| <= 1e-3 ||w64 - w0|| + steps u ||w64|| in each weight
            and bias: relative to what training changed, so that a learning rate wrong by 1 % is caught. The
            second term is the rounding of each update. The norm, not the largest element: Adam divides by the
            gradient's size, so where rounding decides the sign of a gradient near zero, one element may be off
            by twice a whole step. One in 50 000 such elements makes 9e-3, which is the factor for Adam in
            place of 1e-3: still below 1 %. In float64 the factor is 1e-9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import formulas, inputs
from .cases import Case
from .rivals import Run, numpy_textbook

Array = npt.NDArray[Any]


@dataclass
class Verdict:
    """The worst array: its error as a part of the bound, so at most 1 is right."""

    part: float
    what: str = ""

    @property
    def right(self) -> bool:
        return self.part <= 1  # False for NaN


def results(run: Run, case: Case) -> list[Array]:
    """What a rival has after `case.calls_checked` calls."""
    run.reset()
    run.repeat(case.calls_checked)
    return [np.array(array, np.float64) for array in run.results()]


class Reference:
    """The right results of a case."""

    def __init__(self, case: Case, dtype: np.dtype[Any]) -> None:
        self.case, self.dtype = case, dtype
        double = np.dtype(np.float64)
        self.right = results(numpy_textbook.prepared(case, dtype, double), case)
        self.unit = float(np.finfo(dtype).eps) / 2
        tiny = float(np.finfo(dtype).tiny)  # so that a right result of zeros has a bound, too
        self.bounds = [max(tiny, self._bound(i, array)) for i, array in enumerate(self.right)]

    def _bound(self, index: int, right: Array) -> float:
        case, unit = self.case, self.unit
        if case.group == "products":
            absolute = {name: np.abs(array) for name, array in inputs.kernel(case, self.dtype).items()}
            value = formulas.KERNELS[case.op](*absolute.values())
            scale = value[index] if isinstance(value, tuple) else value
            terms = {"forward": case.shape[1], "input_gradient": case.shape[2]}.get(case.op, case.shape[0])
            return float((terms + 8) * unit * scale.max())
        if case.group == "losses" and index == 0:
            return float((100 + case.elements**0.5) * unit * np.abs(right))
        if case.net is None:
            return float(100 * unit * np.abs(right).max())
        if case.op == "predict":
            return float(1000 * unit * np.abs(right).max())
        steps = case.calls_checked * -(-case.n_rows // case.batch) if case.op == "fit" else case.calls_checked
        change = np.linalg.norm(right - inputs.weights(case, self.dtype)[index])
        part = 1e-9 if unit < 1e-12 else 9e-3 if case.optimizer == "adam" else 1e-3
        return float(part * change + steps * unit * np.linalg.norm(right))

    def judge(self, got: list[Array]) -> Verdict:
        """Compare a rival's results with the right ones."""
        if [array.shape for array in got] != [array.shape for array in self.right]:
            shapes = [array.shape for array in got], [array.shape for array in self.right]
            return Verdict(float("inf"), f"results of shapes {shapes[0]}, expected {shapes[1]}")
        worst = Verdict(0.0)
        for i, (array, right, bound) in enumerate(zip(got, self.right, self.bounds, strict=True)):
            trained = self.case.op in ("train_step", "fit")
            error = np.linalg.norm(array - right) if trained else np.abs(array - right).max()
            part = float(error) / bound
            if not part <= worst.part:
                measure = "norm of the difference" if trained else "largest difference"
                worst = Verdict(part, f"array {i}: {measure} {error:.2e}, allowed {bound:.2e}")
        return worst
