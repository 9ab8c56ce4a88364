"""First values of parameters.

An initializer is any function (shape, random) -> array; `random` is a `Random`, whose numbers depend only on
the model's seed and the parameter's place in the model. Values are worked out in float64 and rounded to the
model's dtype once, so a float32 model starts from the rounded weights of its float64 twin, on every machine.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import choose, number
from ._describe import Described, describe

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Random:
    """Random numbers of one parameter, keyed by (seed, index); each call goes on where the last ended.

    Parameters
    ----------
    seed : int
        Of the model, 0 .. 2**64 - 1.
    index : int
        Position of the parameter in the model.
    """

    def __init__(self, seed: int, index: int) -> None:
        self._key = (seed, _core.PURPOSES["init"], index, 0)
        self._next = 0

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> npt.NDArray[np.float64]:
        """Return float64 numbers uniform in [low, high)."""
        return low + (high - low) * self._draw(_core.random_uniform, shape)

    def normal(self, shape: Shape, mean: float = 0.0, std: float = 1.0) -> npt.NDArray[np.float64]:
        """Return float64 numbers of a normal distribution."""
        return mean + std * self._draw(_core.random_normal, shape)

    def _draw(self, function: Callable[..., None], shape: Shape) -> npt.NDArray[np.float64]:
        out = np.empty(math.prod(shape))
        function(*self._key, self._next, out)
        self._next += out.size
        return out.reshape(shape)


Initialize = Callable[[Shape, Random], Array]


class Initializer(Described):
    """Base of chainrule's own initializers."""

    @property
    def setting(self) -> Any:
        """What a user would write for it: its name, if it has one."""
        for name, make_one in _BY_NAME.items():
            if describe(make_one()) == describe(self):
                return name
        return self

    def __call__(self, shape: Shape, random: Random) -> Array:
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(shape, random)")


class Constant(Initializer):
    """Every element is `value`.

    Parameters
    ----------
    value : float
        A finite number.
    """

    _settings: ClassVar = ("value",)

    def __init__(self, value: float) -> None:
        self.value: float = number(value, "value")

    def __call__(self, shape: Shape, random: Random) -> Array:
        return np.full(shape, self.value)


class Uniform(Initializer):
    """Uniform in [-scale, scale).

    Parameters
    ----------
    scale : float, default=0.05
        At least 0.
    """

    _settings: ClassVar = ("scale",)

    def __init__(self, scale: float = 0.05) -> None:
        self.scale: float = number(scale, "scale", at_least=0.0)

    def __call__(self, shape: Shape, random: Random) -> Array:
        return random.uniform(shape, -self.scale, self.scale)


class Normal(Initializer):
    """Normal with mean 0 and standard deviation `scale`, not truncated.

    Parameters
    ----------
    scale : float, default=0.05
        At least 0.
    """

    _settings: ClassVar = ("scale",)

    def __init__(self, scale: float = 0.05) -> None:
        self.scale: float = number(scale, "scale", at_least=0.0)

    def __call__(self, shape: Shape, random: Random) -> Array:
        return random.normal(shape, 0.0, self.scale)


class _Variance(Initializer):
    """Mean 0, variance `_gain` / fan; the normal kinds are not truncated (PyTorch's way, not Keras's)."""

    _gain: ClassVar[float]
    _both_fans: ClassVar[bool] = False
    _normal: ClassVar[bool]

    def __call__(self, shape: Shape, random: Random) -> Array:
        fan_in, fan_out = (shape[0], shape[-1])
        fan = (fan_in + fan_out) / 2 if self._both_fans else fan_in
        variance = self._gain / max(fan, 1)
        if self._normal:
            return random.normal(shape, 0.0, math.sqrt(variance))
        limit = math.sqrt(3.0 * variance)  # a uniform law on [-a, a) has variance a^2 / 3
        return random.uniform(shape, -limit, limit)


class GlorotUniform(_Variance):
    """Variance 2 / (n_in + n_out), uniform (Glorot and Bengio 2010): for tanh, sigmoid, softmax."""

    _gain, _both_fans, _normal = 1.0, True, False


class GlorotNormal(_Variance):
    """Variance 2 / (n_in + n_out), normal (Glorot and Bengio 2010)."""

    _gain, _both_fans, _normal = 1.0, True, True


class HeUniform(_Variance):
    """Variance 2 / n_in, uniform (He et al. 2015): for relu and its kin."""

    _gain, _normal = 2.0, False


class HeNormal(_Variance):
    """Variance 2 / n_in, normal (He et al. 2015)."""

    _gain, _normal = 2.0, True


class LecunUniform(_Variance):
    """Variance 1 / n_in, uniform (LeCun et al. 1998)."""

    _gain, _normal = 1.0, False


class LecunNormal(_Variance):
    """Variance 1 / n_in, normal (LeCun et al. 1998): for selu."""

    _gain, _normal = 1.0, True


class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al. 2014). Matrices only.

    Gram-Schmidt, twice for each vector, on normal vectors, which gives the uniform distribution over
    orthogonal frames. The products run on chainrule's kernels and not on LAPACK, whose bits differ between
    machines.

    Parameters
    ----------
    gain : float, default=1.0
        Any finite number.
    """

    _settings: ClassVar = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain: float = number(gain, "gain")

    def __call__(self, shape: Shape, random: Random) -> Array:
        if len(shape) != 2:
            raise ValueError(f"orthogonal needs a matrix, got shape {shape}")
        few, many = sorted(shape)
        basis = random.normal((few, many))
        identity = _core.ACTIVATIONS["identity"]
        for i in range(few):
            row, above = basis[i : i + 1], basis[:i]
            # The second round removes what rounding left of the first ("twice is enough", Parlett 1980).
            for _ in range(2 if i else 0):
                along, shadow = np.empty((1, i)), np.empty((1, many))
                _core.dense_backward_input(row, above, identity, 0.0, None, along)  # row @ above.T
                _core.dense_forward(along, above, None, identity, 0.0, None, shadow)
                row -= shadow
            row /= math.sqrt(_core.sum_squares(row[0]))
        return self.gain * (basis if shape[0] <= shape[1] else basis.T)


class Given(Initializer):
    """The values of an array.

    Parameters
    ----------
    values : array_like
        Of the parameter's shape; copied.
    """

    _settings: ClassVar = ("values",)

    def __init__(self, values: npt.ArrayLike) -> None:
        self.values: npt.NDArray[np.float64] = np.array(values, dtype=np.float64)

    @property
    def setting(self) -> Any:
        return self.values

    def __call__(self, shape: Shape, random: Random) -> Array:
        return self.values


CLASSES: dict[str, type[Initializer]] = {
    kind.__name__: kind
    for kind in (
        Constant, Uniform, Normal, GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform,
        LecunNormal, Orthogonal,
    )
}  # fmt: skip

_BY_NAME: dict[str, Callable[[], Initializer]] = {
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
    "uniform": Uniform,
    "normal": Normal,
    "zeros": lambda: Constant(0.0),
    "ones": lambda: Constant(1.0),
}

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that layers take."""


def resolve(initializer: Any, what: str) -> Initialize:
    """Turn a name, a number, an array or a function into an initializer.

    Raises
    ------
    TypeError, ValueError
        Naming `what`, if it is none of these.
    """
    if isinstance(initializer, str):
        return _BY_NAME[choose(initializer, NAMES, what)]()
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        return initializer()
    if callable(initializer):
        return initializer  # type: ignore[no-any-return]
    try:
        values = None if initializer is None else np.asarray(initializer, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is None:
        raise TypeError(f"{what} must be a name, a number, an array or a function, got {initializer!r}")
    return Constant(number(float(values), what)) if values.ndim == 0 else Given(values)


def make(initializer: Callable[[Shape, Random], Array], shape: Shape, random: Random, what: str) -> Array:
    """Call an initializer and check what it returns: finite or not, but of the shape wanted."""
    values = np.asarray(initializer(shape, random), dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{what} has shape {values.shape}, the parameter has {shape}")
    return values
