"""Descriptions that cross into C: a layer, a loss's options, an optimizer, as plain data.

Re-exported by `chainrule._core`, which copies them into the structs of the same names in chainrule.h.
"""

from typing import NamedTuple


class LayerSpec(NamedTuple):
    """One layer as data (`cr_layer`); a field that a kind has no use for is ignored.

    `kind` and `activation` are numbers from `_core.LAYERS` and `_core.ACTIVATIONS`; `n_out` is 0
    for every kind but dense.
    """

    kind: int
    n_out: int = 0
    use_bias: bool = False
    activation: int = 0
    alpha: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    rate: float = 0.0
    epsilon: float = 1e-5
    momentum: float = 0.9


class LossOptions(NamedTuple):
    """Options of every loss (`cr_loss_options`); each loss reads its own."""

    delta: float = 1.0
    quantile: float = 0.5
    label_smoothing: float = 0.0
    pos_weight: float = 1.0


class OptimizerSpec(NamedTuple):
    """An update rule (`cr_optimizer`); `kind` is a number from `_core.OPTIMIZERS`, clips of 0 are off."""

    kind: int
    nesterov: bool = False
    momentum: float = 0.0
    weight_decay: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    rho: float = 0.9
    clip_norm: float = 0.0
    clip_value: float = 0.0
