"""Activations by name. Formulas and derivatives live in csrc/kernels/activations.inc.h."""

from typing import Any, NamedTuple

from . import _core
from ._checks import choose, number, require_held

NAMES: tuple[str, ...] = tuple(_core.ACTIVATIONS)
"""The names that `Dense`, `Activation` and `chainrule.kernels.activation` take."""

# Which activations have a parameter, and the smallest value it may take. leaky_relu and elu tell the sides of
# zero apart by the output's sign, which needs alpha >= 0; celu divides by alpha.
_ALPHA_BOUNDS: dict[str, dict[str, float]] = {
    "leaky_relu": {"at_least": 0.0},
    "elu": {"at_least": 0.0},
    "celu": {"above": 0.0},
}


class Resolved(NamedTuple):
    """An activation that passed the checks."""

    name: str
    kind: int
    alpha: float

    @property
    def setting(self) -> Any:
        """What a user would write for it: the name, or (name, alpha) if alpha is not the default."""
        default = _core.activation_default_alpha(self.kind)
        return self.name if self.alpha == default else (self.name, self.alpha)

    def require_held(self, dtype: Any) -> None:
        """ValueError if the alpha is not in its range as a number of `dtype`."""
        require_held(self.alpha, f"alpha of {self.name}", dtype, above_zero="above" in _ALPHA_BOUNDS.get(self.name, {}))


def resolve(setting: Any, alpha: float | None = None) -> Resolved:
    """Turn a name, a pair (name, alpha) or an `Activation` layer into a checked activation.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If the name is unknown, or alpha is out of range or not wanted.
    """
    if isinstance(setting, Resolved):
        return setting
    inner = getattr(setting, "activation", None)
    if isinstance(inner, Resolved):
        return inner
    if isinstance(setting, (tuple, list)) and len(setting) == 2:
        setting, alpha = setting
    name = choose(setting, NAMES, "activation")
    kind = _core.ACTIVATIONS[name]
    if alpha is None:
        return Resolved(name, kind, _core.activation_default_alpha(kind))
    if name not in _ALPHA_BOUNDS:
        raise ValueError(f"alpha: activation {name!r} takes none, got {alpha!r}")
    return Resolved(name, kind, number(alpha, f"alpha of {name}", **_ALPHA_BOUNDS[name]))
