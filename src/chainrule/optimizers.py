"""Optimizers: settings as data. The updates themselves are one native pass (csrc/kernels/optimizers.inc.h).

g is the gradient of a parameter w, lr the learning rate of the step. Clipping looks at the gradient of the
whole model, penalties included: `clip_value` limits every element, then `clip_norm` rescales the whole to at
most that Euclidean norm. The state (velocity, moments) belongs to the model, not to these objects.
"""

import math
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from . import _core, schedules
from ._checks import choose, flag, number
from ._describe import Fixed

LearningRate = float | schedules.Schedule | Callable[[int], float]


class Optimizer(Fixed):
    """Base of the optimizers. Settings are fixed once made, but for `learning_rate`."""

    _kind: ClassVar[str]
    _settings: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float,
        clip_norm: float | None,
        clip_value: float | None,
    ) -> None:
        # Models by their id. A dict: its values can be listed while another thread compiles with this optimizer.
        self._listeners: dict[int, weakref.ref[Any]] = {}
        self.weight_decay: float = number(weight_decay, "weight_decay", at_least=0.0)
        self.clip_norm: float | None = None if clip_norm is None else number(clip_norm, "clip_norm", above=0.0)
        self.clip_value: float | None = None if clip_value is None else number(clip_value, "clip_value", above=0.0)
        self.learning_rate = learning_rate

    def _instead(self) -> str:
        return "compile with it"

    def __reduce__(self) -> Any:
        if type(self) in _KINDS:
            return type(self), tuple(getattr(self, name) for name in self._settings)
        # A derived class may be made of other arguments.
        return _revive, (type(self), {name: value for name, value in vars(self).items() if name != "_listeners"})

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a float, or a schedule. May be set between and during fits."""
        schedule = self.schedule
        return schedule.learning_rate if type(schedule) is schedules.Constant else schedule

    @learning_rate.setter
    def learning_rate(self, learning_rate: LearningRate) -> None:
        schedule = schedules.resolve(learning_rate)
        listeners = [listener for reference in list(self._listeners.values()) if (listener := reference()) is not None]
        if not listeners:
            self.schedule: schedules.Schedule = schedule
            return
        # All at once: with NaN a model looks at the schedule, whichever it is.
        _core.set_all(
            [*((listener, "_learning_rate", math.nan) for listener in listeners), (self, "schedule", schedule)]
        )
        for listener in listeners:
            listener._learning_rate_changed()

    def _listen(self, model: Any) -> None:
        """Tell a model from now on when the learning rate changes."""
        listeners, key = self._listeners, id(model)
        listeners[key] = weakref.ref(model, lambda _: listeners.pop(key, None))

    def _leave(self, model: Any) -> None:
        self._listeners.pop(id(model), None)

    def core_spec(self) -> _core.OptimizerSpec:
        """The settings as the compiled core takes them."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in self._settings if name != "learning_rate"}
        for name in ("clip_norm", "clip_value"):
            settings[name] = settings[name] or 0.0
        return _core.OptimizerSpec(kind=_core.OPTIMIZERS[self._kind], **settings)


class SGD(Optimizer):
    """Stochastic gradient descent: w -= lr g; with momentum v = momentum v - lr g, w += v.

    Nesterov (Sutskever et al. 2013): w += momentum v - lr g with the new v.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default=0.01
    momentum : float, default=0.0
        In [0, 1).
    nesterov : bool, default=False
        Needs a momentum.
    weight_decay : float, default=0.0
        weight_decay * w is added to the gradient of every parameter, biases included; for a penalty on
        weights alone see `Dense(l2=...)`.
    clip_norm, clip_value : float, optional
        Greater than 0.

    Raises
    ------
    TypeError, ValueError
        If a setting is outside its bounds, or `nesterov` has no momentum.
    """

    _kind = "sgd"
    _settings: ClassVar = ("learning_rate", "momentum", "nesterov", "weight_decay", "clip_norm", "clip_value")

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.momentum: float = number(momentum, "momentum", at_least=0.0, below=1.0)
        self.nesterov: bool = flag(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs a momentum > 0, got momentum=0")


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): w -= lr m' / (sqrt(v') + epsilon).

    m = beta_1 m + (1 - beta_1) g, v = beta_2 v + (1 - beta_2) g^2; m' = m / (1 - beta_1^t), v' = v / (1 -
    beta_2^t).

    Parameters
    ----------
    learning_rate : float, schedule or callable, default=0.001
    beta_1, beta_2 : float, default=0.9 and 0.999
        In [0, 1).
    epsilon : float, default=1e-8
        Greater than 0; added to the square root.
    weight_decay : float, default=0.0
        weight_decay * w is added to the gradient; for the decoupled kind see `AdamW`.
    clip_norm, clip_value : float, optional
        Greater than 0.
    """

    _kind = "adam"
    _settings: ClassVar = (
        "learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay", "clip_norm", "clip_value",
    )  # fmt: skip

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.beta_1: float = number(beta_1, "beta_1", at_least=0.0, below=1.0)
        self.beta_2: float = number(beta_2, "beta_2", at_least=0.0, below=1.0)
        self.epsilon: float = number(epsilon, "epsilon", above=0.0)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    First w -= lr weight_decay w, then Adam's step without decay.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default=0.001
    beta_1, beta_2 : float, default=0.9 and 0.999
        In [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    weight_decay : float, default=0.01
        At least 0; applies to every parameter.
    clip_norm, clip_value : float, optional
        Greater than 0.
    """

    _kind = "adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, clip_norm, clip_value)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012): v = rho v + (1 - rho) g^2, w -= lr g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float, schedule or callable, default=0.001
    rho : float, default=0.9
        In [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    weight_decay : float, default=0.0
        weight_decay * w is added to the gradient.
    clip_norm, clip_value : float, optional
        Greater than 0.
    """

    _kind = "rmsprop"
    _settings: ClassVar = ("learning_rate", "rho", "epsilon", "weight_decay", "clip_norm", "clip_value")

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.rho: float = number(rho, "rho", at_least=0.0, below=1.0)
        self.epsilon: float = number(epsilon, "epsilon", above=0.0)


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): s += g^2, w -= lr g / (sqrt(s) + epsilon).

    Parameters
    ----------
    learning_rate : float, schedule or callable, default=0.01
    epsilon : float, default=1e-8
        Greater than 0.
    weight_decay : float, default=0.0
        weight_decay * w is added to the gradient.
    clip_norm, clip_value : float, optional
        Greater than 0.
    """

    _kind = "adagrad"
    _settings: ClassVar = ("learning_rate", "epsilon", "weight_decay", "clip_norm", "clip_value")

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.epsilon: float = number(epsilon, "epsilon", above=0.0)


_KINDS = (SGD, Adam, AdamW, RMSprop, Adagrad)

CLASSES: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in _KINDS}

_BY_NAME: dict[str, Callable[[], Optimizer]] = {kind._kind: kind for kind in _KINDS}

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that `compile` takes."""


def _revive(kind: type[Optimizer], attributes: dict[str, Any]) -> Optimizer:
    optimizer = kind.__new__(kind)
    vars(optimizer).update(attributes, _listeners={})
    return optimizer


def resolve(optimizer: Any) -> Optimizer:
    """Turn a name, an optimizer or its class into an optimizer."""
    if isinstance(optimizer, Optimizer):
        if not isinstance(optimizer, _KINDS):
            raise TypeError(f"optimizer {optimizer!r} is none of {', '.join(NAMES)}, nor derived from one")
        return optimizer
    for kind in _KINDS:
        if optimizer is kind:
            made: Optimizer = kind()
            return made
    return _BY_NAME[choose(optimizer, NAMES, "optimizer")]()
