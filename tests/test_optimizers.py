"""Optimizer steps on arrays: every rule and option, ten steps, against float64 and wider; bits and places."""

from fractions import Fraction

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, assert_within, bits, same_bits_on_every_isa

from chainrule import _core, kernels

# rule: (kernel, names of its states); the options of each case
RULES = {
    "sgd": (kernels.sgd_update, ()),
    "momentum": (kernels.sgd_update, ("velocity",)),
    "adam": (kernels.adam_update, ("m", "v")),
    "rmsprop": (kernels.rmsprop_update, ("v",)),
    "adagrad": (kernels.adagrad_update, ("s",)),
}
CASES = [
    ("sgd", {}), ("sgd", {"weight_decay": 0.3}),
    *(("momentum", {"momentum": mu, "nesterov": nesterov, "weight_decay": decay})
      for mu in (0.9, 0.5) for nesterov in (False, True) for decay in (0.0, 0.3)),
    *(("adam", {"weight_decay": decay, "decoupled": decoupled}) for decay in (0.0, 0.3) for decoupled in (False, True)),
    ("adam", {"beta_1": 0.0, "beta_2": 0.0}), ("adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("rmsprop", {}), ("rmsprop", {"rho": 0.5, "epsilon": 1e-3, "weight_decay": 0.3}), ("rmsprop", {"rho": 0.0}),
    ("adagrad", {}), ("adagrad", {"epsilon": 1e-3, "weight_decay": 0.3}),
]  # fmt: skip
each_case = pytest.mark.parametrize(
    ("rule", "options"),
    CASES,
    ids=lambda v: v if isinstance(v, str) else ",".join(f"{k}={w}" for k, w in v.items()) or "plain",
)
RATE = 0.05


def states(rule, n, dtype):
    return [np.zeros(n, dtype) for _ in RULES[rule][1]]


def step(rule, options, number, param, grad, state):
    """One step in place, with the kernel."""
    function, names = RULES[rule]
    by_name = dict(zip(names, state, strict=True))
    if rule == "adam":
        function(param, grad, by_name["m"], by_name["v"], number, learning_rate=RATE, **options)
    elif rule in ("rmsprop", "adagrad"):
        function(param, grad, state[0], learning_rate=RATE, **options)
    else:
        function(param, grad, learning_rate=RATE, **options, **by_name)


def reference_step(rule, options, number, param, grad, state):
    """(param, state...) after the step, in the wide type."""
    if rule == "adam":
        return reference.adam_update(param, grad, *state, number, learning_rate=RATE, **options)
    if rule == "rmsprop":
        return reference.rmsprop_update(param, grad, *state, learning_rate=RATE, **options)
    if rule == "adagrad":
        return reference.adagrad_update(param, grad, *state, learning_rate=RATE, **options)
    return reference.sgd_update(param, grad, *state, learning_rate=RATE, **options)[: 1 + len(state)]


def sizes(rule, options, number, param, grad, state):
    """What the roundings of (param, state...) are relative to: the same formulas on absolute values."""
    w, g = np.abs(reference.wide(param)), np.abs(reference.wide(grad))
    decay = options.get("weight_decay", 0.0)
    if not options.get("decoupled"):
        g = g + decay * w
    if rule == "sgd":
        return [w + RATE * g]
    if rule == "momentum":
        mu = options["momentum"]
        v = mu * np.abs(reference.wide(state[0])) + RATE * g
        return [w + v + RATE * g, v]
    after = reference_step(rule, options, number, param, grad, state)
    epsilon = options.get("epsilon", 1e-8)
    square = state[-1] * 0 + g * g + (reference.wide(state[-1]) if rule == "adagrad" else 0)
    if rule != "adagrad":
        keep = options.get("beta_2", 0.999) if rule == "adam" else options.get("rho", 0.9)
        square = keep * reference.wide(state[-1]) + (1 - keep) * g * g
    tiny = np.finfo(np.float64).tiny
    shown = square / np.maximum(after[-1], tiny)  # how much a difference g + decay w shows in the root
    if rule != "adam":
        return [w + RATE * shown * g / (np.sqrt(after[-1]) + epsilon), square]
    b1, b2 = options.get("beta_1", 0.9), options.get("beta_2", 0.999)
    m = b1 * np.abs(reference.wide(state[0])) + (1 - b1) * g
    root = np.sqrt(after[-1] / (1 - b2**number)) + epsilon
    # beta^t and 1 - beta^t are worked out in float64: relative error t u / (1 - beta^t), under the root half of it
    lost = number * (1 / (1 - b1**number) + 0.5 / (1 - b2**number)) * bounds.unit(np.float64)
    lost = 1 + lost / (bounds.UPDATE_ROUNDINGS * bounds.unit(np.asarray(param).dtype))
    direction = m / (1 - b1**number) / root
    return [w + RATE * (direction * shown * lost + decay * w * bool(options.get("decoupled"))), m, square]


@each_case
def test_ten_steps_one_by_one(isa, dtype, rule, options, rng):
    """Each of ten steps from where the kernel stands: so bias correction is looked at for t = 1 .. 10."""
    param, state = rng.normal(size=67).astype(dtype), states(rule, 67, dtype)
    rounding = bounds.gamma(bounds.UPDATE_ROUNDINGS, dtype)
    for number in range(1, 11):
        grad = (rng.normal(size=67) * 10.0 ** rng.uniform(-3, 1)).astype(dtype)
        before = grad.copy()
        expected = reference_step(rule, options, number, param, grad, state)
        allowed = sizes(rule, options, number, param, grad, state)
        step(rule, options, number, param, grad, state)
        for what, got, wanted, size in zip(["param", *RULES[rule][1]], [param, *state], expected, allowed, strict=True):
            assert_within(got, wanted, rounding * size + bounds.underflow(dtype, 4), f"step {number}: {what} ")
        assert bits(grad) == bits(before)


@each_case
def test_ten_steps_in_one_run(isa, dtype, rule, options, rng):
    """Ten steps of the kernel against ten of the reference from the same start, which never meet in between.

    Errors add up: each step's is handed on by the averages (momentum 0.9 at most: ten times in the end) and
    by weight decay, which shrinks it.
    """
    param, state = rng.normal(size=35).astype(dtype), states(rule, 35, dtype)
    wide = [reference.wide(array) for array in (param, *state)]
    largest = 0
    for number in range(1, 11):
        grad = rng.normal(size=35).astype(dtype)
        largest = np.maximum(largest, sizes(rule, options, number, param, grad, state)[0])
        wide = list(
            reference_step(rule, options, number, wide[0], reference.wide(grad).astype(wide[0].dtype), wide[1:])
        )
        step(rule, options, number, param, grad, state)
    total = 10 * bounds.gamma(10 * bounds.UPDATE_ROUNDINGS, dtype)
    assert_within(param, wide[0], total * largest)


def test_bias_correction_makes_the_first_steps_whole(isa, dtype):
    """With a constant gradient m / (1 - b1^t) is the gradient and the step its sign, for every t."""
    w, m, v = np.zeros((3, 19), dtype)
    g = np.linspace(-3, 5, 19).astype(dtype)
    for number in range(1, 11):
        before = w.copy()
        kernels.adam_update(w, g, m, v, number, learning_rate=0.5, epsilon=0.0)
        # b2^t rounded twice in float32 shows 1 / (1 - b2^t) = 1000 times at first
        np.testing.assert_allclose(w - before, -0.5 * np.sign(g), rtol=0, atol=bounds.gamma(4000, dtype) + 1e-12)


def test_a_late_step_has_no_bias_left(isa, dtype):
    w, m, v = np.zeros(3, dtype), np.ones(3, dtype), np.ones(3, dtype)
    kernels.adam_update(w, np.ones(3, dtype), m, v, 10**9, learning_rate=0.5, epsilon=0.0)
    np.testing.assert_allclose(w, -0.5, rtol=bounds.gamma(bounds.UPDATE_ROUNDINGS, dtype))


def test_plain_sgd_is_one_fused_step(isa, rng):
    """w - lr g with one rounding: the same bits as the update inside the weight gradient's product."""
    w, g = rng.normal(size=(2, 19))
    expected = [float(Fraction(a) - Fraction(RATE) * Fraction(b)) for a, b in zip(w, g, strict=True)]
    kernels.sgd_update(w, g, learning_rate=RATE)
    np.testing.assert_array_equal(w, expected)


# -- places and bits ---------------------------------------------------------------------------------------------


@each_case
def test_lengths_places_and_guards(isa, dtype, rule, options, rng, guarded):
    """Every length at odd places, the bits of the long array; nothing beside the arrays is touched."""
    start = rng.normal(size=(2, 35)).astype(dtype)
    before = [np.abs(rng.normal(size=35)).astype(dtype) for _ in RULES[rule][1]]
    param, state = start[0].copy(), [s.copy() for s in before]
    step(rule, options, 3, param, start[1], state)
    for n in LENGTHS:
        arrays = [guarded(n, dtype, offset=i) for i in range(2 + len(state))]
        for one, values in zip(arrays, [start[0], start[1], *before], strict=True):
            one.array[...] = values[:n]
        step(rule, options, 3, arrays[0].array, arrays[1].array, [one.array for one in arrays[2:]])
        assert bits(arrays[0].array) == bits(param[:n])
        assert bits(arrays[1].array) == bits(start[1, :n])
        for one, whole in zip(arrays[2:], state, strict=True):
            assert bits(one.array) == bits(whole[:n])
        for one in arrays:
            one.check()


@each_case
def test_any_shape_is_updated_in_place(dtype, rule, options, rng):
    param, grad = rng.normal(size=(2, 3, 4, 5)).astype(dtype)
    state = [np.zeros((3, 4, 5), dtype) for _ in RULES[rule][1]]
    flat, flat_state = param.reshape(-1).copy(), [s.reshape(-1).copy() for s in state]
    address, param_before = param.ctypes.data, param.copy()
    step(rule, options, 1, param, grad, state)
    step(rule, options, 1, flat, grad.reshape(-1).tolist(), flat_state)  # a list is converted
    spread = np.full((3, 4, 10), np.nan, np.float64)
    spread[..., ::2] = grad
    again, again_state = param_before.copy(), [np.zeros((3, 4, 5), dtype) for _ in RULES[rule][1]]
    step(rule, options, 1, again, spread[..., ::2], again_state)  # so is a view with gaps, of another dtype
    assert bits(again, *again_state) == bits(param, *state)
    assert param.ctypes.data == address
    assert bits(param, *state) == bits(flat, *flat_state)


@each_case
def test_every_isa_gives_the_same_bits(dtype, rule, options, rng):
    start, grads = rng.normal(size=131).astype(dtype), rng.normal(size=(3, 131)).astype(dtype)

    def run():
        param, state = start.copy(), states(rule, 131, dtype)
        for number, grad in enumerate(grads, 1):
            step(rule, options, number, param, grad, state)
        return param, *state

    same_bits_on_every_isa(run)


@each_case
def test_nan_stays_in_its_place(isa, dtype, rule, options, rng):
    param, grad = rng.normal(size=(2, 35)).astype(dtype)
    clean = param.copy()
    step(rule, options, 1, clean, grad, states(rule, 35, dtype))
    grad[17] = np.nan
    step(rule, options, 1, param, grad, states(rule, 35, dtype))
    assert np.isnan(param[17])
    others = np.arange(35) != 17
    assert bits(param[others]) == bits(clean[others])


def test_subnormal_state_is_kept(isa, dtype):
    """No flush to zero: half of a small velocity is half of it."""
    tiny = 8 * np.finfo(dtype).smallest_subnormal
    velocity = np.full(35, tiny, dtype)
    kernels.sgd_update(np.zeros(35, dtype), np.zeros(35, dtype), learning_rate=1, momentum=0.5, velocity=velocity)
    np.testing.assert_array_equal(velocity, np.full(35, tiny / 2, dtype))


def test_no_learning_rate_no_change(isa, dtype, rng):
    param, grad = rng.normal(size=(2, 19)).astype(dtype)
    before = param.copy()
    kernels.sgd_update(param, grad, learning_rate=0, weight_decay=0.5)
    kernels.adam_update(param, grad, np.zeros(19, dtype), np.zeros(19, dtype), 1, learning_rate=0.0)
    assert bits(param) == bits(before)


def test_the_core_knows_how_many_states_there_are():
    found = {
        name: _core.optimizer_n_states(_core.OptimizerSpec(kind, momentum=momentum))
        for name, kind in _core.OPTIMIZERS.items()
        for momentum in (0.9,)
    }
    assert found == {"sgd": 1, "adam": 2, "adamw": 2, "rmsprop": 1, "adagrad": 1}
    assert _core.optimizer_n_states(_core.OptimizerSpec(_core.OPTIMIZERS["sgd"])) == 0
