"""Learning rates as functions of the step: number 0 is the first update a model takes.

Every schedule computes whole runs of steps at once (`values`) and single ones (`schedule(step)`), with the
same bits on every machine: only +, -, *, / and chainrule's own exponential are used, never the platform's
libm.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import choose, integer, number
from ._describe import Fixed

Rates = npt.NDArray[np.float64]


class Schedule(Fixed):
    """Base of the schedules; a subclass writes `values`."""

    constant = False
    """Whether every step has the same rate, whatever `observe` is told."""

    def values(self, first_step: int, n: int) -> Rates:
        """Return the rates of steps first_step .. first_step + n - 1, float64 of shape (n,)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method values(first_step, n)")

    def __call__(self, step: int) -> float:
        """Return the rate of one step."""
        return float(self.values(integer(step, "step", at_least=0), 1)[0])

    def observe(self, logs: Mapping[str, float]) -> None:
        """Take note of an epoch's figures; only `ReduceOnPlateau` does anything with them."""

    def _fresh(self) -> dict[str, Any]:
        """The attributes that `Sequential.compile` sets, so that what `observe` has learned is forgotten."""
        return {}

    @property
    def state(self) -> dict[str, Any]:
        """What `observe` has learned so far, as plain numbers; {} for most schedules."""
        return {}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError(f"{type(self).__name__} has no state, got {dict(state)}")


class Constant(Schedule):
    """The same learning rate for ever.

    Parameters
    ----------
    learning_rate : float
        At least 0.
    """

    _settings: ClassVar = ("learning_rate",)
    constant = True

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate: float = number(learning_rate, "learning_rate", at_least=0.0)

    def _instead(self) -> str | None:
        return "set the optimizer's learning_rate to it" if type(self) is Constant else None

    def values(self, first_step: int, n: int) -> Rates:
        return np.full(n, self.learning_rate)


class Step(Schedule):
    """Multiply the rate by `factor` after every `every` steps: initial * factor ** (step // every).

    Parameters
    ----------
    initial : float
        Rate of the first steps, at least 0.
    every : int
        Steps (not epochs) between two drops.
    factor : float, default=0.5
        In (0, 1].
    """

    _settings: ClassVar = ("initial", "every", "factor")

    def __init__(self, initial: float, every: int, factor: float = 0.5) -> None:
        self.initial: float = number(initial, "initial", at_least=0.0)
        self.every: int = integer(every, "every", at_least=1)
        self.factor: float = number(factor, "factor", above=0.0, at_most=1.0)

    def values(self, first_step: int, n: int) -> Rates:
        with np.errstate(under="ignore"):
            return self.initial * _power(self.factor, _steps(first_step, n) // self.every)


class Exponential(Schedule):
    """Decay smoothly: initial * factor ** (step / every).

    Parameters
    ----------
    initial : float
        Rate of step 0, at least 0.
    every : int
        Steps in which the rate falls by `factor`.
    factor : float
        In (0, 1].
    """

    _settings: ClassVar = ("initial", "every", "factor")

    def __init__(self, initial: float, every: int, factor: float) -> None:
        self.initial: float = number(initial, "initial", at_least=0.0)
        self.every: int = integer(every, "every", at_least=1)
        self.factor: float = number(factor, "factor", above=0.0, at_most=1.0)

    def values(self, first_step: int, n: int) -> Rates:
        steps = _steps(first_step, n)
        # The whole periods by squaring, the rest by exp: the exponent stays small, so its rounding does too.
        rest = (steps % self.every) / self.every * _function("log", np.array([self.factor]))
        with np.errstate(under="ignore"):
            return self.initial * _power(self.factor, steps // self.every) * _function("exp", rest)


class Cosine(Schedule):
    """Half a cosine from `initial` down to `minimum`, after an optional linear warm-up.

    Step s < warmup_steps has initial * (s + 1) / warmup_steps; later ones minimum + (initial - minimum) * (1
    + cos(pi t)) / 2 with t = (s - warmup_steps) / (total_steps - warmup_steps); from total_steps on the rate
    stays at `minimum` (Loshchilov and Hutter 2017, without restarts).

    Parameters
    ----------
    initial : float
        Largest rate, at least 0.
    total_steps : int
        Steps until the minimum is reached, warm-up included.
    warmup_steps : int, default=0
        Less than total_steps.
    minimum : float, default=0.0
        Last rate, at least 0 and at most `initial`.
    """

    _settings: ClassVar = ("initial", "total_steps", "warmup_steps", "minimum")

    def __init__(self, initial: float, total_steps: int, warmup_steps: int = 0, minimum: float = 0.0) -> None:
        self.initial: float = number(initial, "initial", at_least=0.0)
        self.total_steps: int = integer(total_steps, "total_steps", at_least=1)
        self.warmup_steps: int = integer(warmup_steps, "warmup_steps", at_least=0, at_most=self.total_steps - 1)
        self.minimum: float = number(minimum, "minimum", at_least=0.0, at_most=self.initial)

    def values(self, first_step: int, n: int) -> Rates:
        steps = _steps(first_step, n)
        done = np.clip((steps - self.warmup_steps) / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        rates = self.minimum + (self.initial - self.minimum) * _half_cosine(done)
        if self.warmup_steps:
            rising = self.initial * ((steps + 1) / self.warmup_steps)
            rates = np.where(steps < self.warmup_steps, rising, rates)
        return rates


class OneCycle(Schedule):
    """One rise and one long fall, both half cosines (Smith and Topin 2018, in PyTorch's two-phase form).

    From maximum / initial_divisor up to `maximum` during the first `rise` of the steps, then down to
    maximum / (initial_divisor * final_divisor), where it stays.

    Parameters
    ----------
    maximum : float
        Largest rate, at least 0.
    total_steps : int
        At least 2.
    rise : float, default=0.3
        Part of the steps that rise, in (0, 1).
    initial_divisor, final_divisor : float, default=25.0 and 1e4
        At least 1.
    """

    _settings: ClassVar = ("maximum", "total_steps", "rise", "initial_divisor", "final_divisor")

    def __init__(
        self,
        maximum: float,
        total_steps: int,
        rise: float = 0.3,
        initial_divisor: float = 25.0,
        final_divisor: float = 1e4,
    ) -> None:
        self.maximum: float = number(maximum, "maximum", at_least=0.0)
        self.total_steps: int = integer(total_steps, "total_steps", at_least=2)
        self.rise: float = number(rise, "rise", above=0.0, below=1.0)
        self.initial_divisor: float = number(initial_divisor, "initial_divisor", at_least=1.0)
        self.final_divisor: float = number(final_divisor, "final_divisor", at_least=1.0)

    def values(self, first_step: int, n: int) -> Rates:
        steps = _steps(first_step, n)
        start = self.maximum / self.initial_divisor
        end = start / self.final_divisor
        last = self.total_steps - 1
        top = min(max(self.rise * self.total_steps - 1.0, 0.5), last - 0.5)  # step, maybe fractional, of the top
        rising = self.maximum + (start - self.maximum) * _half_cosine(np.clip(steps / top, 0.0, 1.0))
        falling = end + (self.maximum - end) * _half_cosine(np.clip((steps - top) / (last - top), 0.0, 1.0))
        return np.where(steps < top, rising, falling)


class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when a figure of the epochs has stopped improving.

    It keeps its rate itself: models that are trained at the same time need one each.

    Parameters
    ----------
    initial : float
        First rate, at least 0.
    monitor : str, default="val_loss"
        Name in the epoch's logs; "loss" needs no validation data.
    factor : float, default=0.1
        In (0, 1).
    patience : int, default=10
        Epochs without improvement that are let pass.
    min_delta : float, default=1e-4
        Smaller changes are no improvement.
    cooldown : int, default=0
        Epochs after a cut during which none is counted.
    minimum : float, default=0.0
        The rate never falls below it.
    mode : {"auto", "min", "max"}
        Whether smaller or larger is better; "auto" knows it of loss and chainrule's metrics.
    """

    _settings: ClassVar = (
        "initial", "monitor", "factor", "patience", "min_delta", "cooldown", "minimum", "mode",
    )  # fmt: skip

    def __init__(
        self,
        initial: float,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.initial: float = number(initial, "initial", at_least=0.0)
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {monitor!r}")
        self.monitor = monitor
        self.factor: float = number(factor, "factor", above=0.0, below=1.0)
        self.patience: int = integer(patience, "patience", at_least=0)
        self.min_delta: float = number(min_delta, "min_delta", at_least=0.0)
        self.cooldown: int = integer(cooldown, "cooldown", at_least=0)
        self.minimum: float = number(minimum, "minimum", at_least=0.0)
        self.mode: str = choose(mode, ("auto", "min", "max"), "mode")
        self._rate, self._waited, self._resting = self.initial, 0, 0
        self._best: float | None = None

    def _fresh(self) -> dict[str, Any]:
        return {"_rate": self.initial, "_waited": 0, "_resting": 0, "_best": None}

    def values(self, first_step: int, n: int) -> Rates:
        return np.full(n, self._rate)

    def observe(self, logs: Mapping[str, float]) -> None:
        value = monitored(logs, self.monitor, "ReduceOnPlateau")
        rate, best, waited, resting = self._rate, self._best, self._waited, self._resting
        is_better = better(value, best, self.monitor, self.mode, self.min_delta)
        if is_better:
            best, waited = value, 0
        if resting > 0:
            resting -= 1
        elif not is_better:
            waited += 1
            if waited > self.patience:
                rate, resting, waited = max(rate * self.factor, min(self.minimum, rate)), self.cooldown, 0
        self._rate, self._best, self._waited, self._resting = rate, best, waited, resting

    @property
    def state(self) -> dict[str, Any]:
        return {"rate": self._rate, "best": self._best, "waited": self._waited, "resting": self._resting}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"rate", "best", "waited", "resting"}:
            raise ValueError(f"state of ReduceOnPlateau needs rate, best, waited, resting, got {sorted(state)}")
        rate = number(state["rate"], "rate", at_least=0.0)
        best = None if state["best"] is None else number(state["best"], "best")
        waited = integer(state["waited"], "waited", at_least=0)
        resting = integer(state["resting"], "resting", at_least=0)
        self._rate, self._best, self._waited, self._resting = rate, best, waited, resting


class Custom(Schedule):
    """A user's function of the step.

    Parameters
    ----------
    function : callable
        step (int) -> learning rate (a number >= 0); called once for every step.
    """

    _settings: ClassVar = ("function",)

    def __init__(self, function: Callable[[int], float]) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        self.function = function

    def values(self, first_step: int, n: int) -> Rates:
        rates = np.empty(n)
        for i in range(n):
            rates[i] = number(self.function(first_step + i), f"learning rate of step {first_step + i}", at_least=0.0)
        return rates


CLASSES: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, Step, Exponential, Cosine, OneCycle, ReduceOnPlateau)
}


def resolve(learning_rate: Any) -> Schedule:
    """Turn a number, a schedule or a function of the step into a schedule."""
    if isinstance(learning_rate, Schedule):
        return learning_rate
    if callable(learning_rate):
        return Custom(learning_rate)
    return Constant(learning_rate)


def monitored(logs: Mapping[str, float], name: str, who: str) -> float:
    """Return logs[name], or say which names there are."""
    if name not in logs:
        hint = "; give fit validation_data or validation_split" if name.startswith("val_") else ""
        raise ValueError(f"{who} monitors {name!r}, but the epochs have {', '.join(logs)}{hint}")
    return logs[name]


def better(value: float, best: float | None, name: str, mode: str = "auto", min_delta: float = 0.0) -> bool:
    """Whether `value` improves on `best` by more than `min_delta`; NaN and infinities never do.

    `mode` as for `larger_is_better`.
    """
    larger = larger_is_better(name, mode)
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return value > best + min_delta if larger else value < best - min_delta


def larger_is_better(name: str, mode: str) -> bool:
    """Whether a figure should rise ("max") or fall ("min"); "auto" goes by the end of its name.

    Raises
    ------
    ValueError
        If mode is "auto" and the name ends in none of accuracy, auc and r2_score, nor in loss and error.
    """
    if mode != "auto":
        return mode == "max"
    if name.endswith(("accuracy", "auc", "r2_score")):
        return True
    if name.endswith(("loss", "error")):
        return False
    raise ValueError(f"whether {name!r} should rise or fall is not known: give mode='max' or mode='min'")


def _steps(first_step: int, n: int) -> npt.NDArray[np.int64]:
    return np.arange(first_step, first_step + n, dtype=np.int64)


def _function(name: str, x: Rates) -> Rates:
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    _core.function(_core.FUNCTIONS[name], x, out)
    return out


def _power(base: float, exponents: npt.NDArray[np.int64]) -> Rates:
    """base ** exponents for 0 < base <= 1 and exponents >= 0, by squaring."""
    result = np.ones(len(exponents))
    square, left = base, exponents.copy()
    while left.any():
        result = np.where(left & 1, result * square, result)
        square *= square  # may reach 0, as the power itself then does
        left >>= 1
    return result


# sin x = x - x^3/3! + x^5/5! - ... for 0 <= x <= pi/4: the first term left out is below 1e-19.
_SINE = tuple((-1) ** i / math.factorial(2 * i + 1) for i in range(9))


def _half_cosine(t: Rates) -> Rates:
    """(1 + cos(pi t)) / 2 for 0 <= t <= 1; exactly 1 at t = 0 and 0 at t = 1, within 1e-15 elsewhere."""
    # cos(pi t / 2)^2 = 1 - sin(pi t / 2)^2 in the first half, sin(pi (1 - t) / 2)^2 in the second.
    early = t <= 0.5
    x = (math.pi / 2) * np.where(early, t, 1.0 - t)
    sine = np.zeros_like(x)
    for coefficient in reversed(_SINE):
        sine = sine * (x * x) + coefficient
    sine = sine * x
    return np.where(early, 1.0 - sine * sine, sine * sine)
