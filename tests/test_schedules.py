"""Learning-rate schedules: their formulas, and that every way of training asks them step by step."""

import copy
import math
import pickle

import numpy as np
import pytest
from models import compiled, each_engine, everything, layers_of, refused, weight_bits
from tools import same_bits_on_every_isa

import chainrule as cr
from chainrule import schedules

N_ROWS, N_IN, N_OUT = 20, 5, 3


@pytest.fixture
def x(rng):
    return rng.normal(size=(N_ROWS, N_IN))


@pytest.fixture
def labels():
    return np.arange(N_ROWS) * 5 % N_OUT


# -- formulas ---------------------------------------------------------------------------------------------------------


def one_cycle(s, maximum=0.5, total=50, rise=0.3, initial=25.0, final=1e4):
    top, low = rise * total - 1, maximum / initial
    if s <= top:
        return maximum + (low - maximum) * (1 + math.cos(math.pi * s / top)) / 2
    t = min((s - top) / (total - 1 - top), 1)
    return low / final + (maximum - low / final) * (1 + math.cos(math.pi * t)) / 2


def cosine(s, initial=0.3, total=60, warmup=7, minimum=0.01):
    if s < warmup:
        return initial * (s + 1) / warmup
    t = min((s - warmup) / (total - warmup), 1)
    return minimum + (initial - minimum) * (1 + math.cos(math.pi * t)) / 2


FORMULAS = {
    "constant": (schedules.Constant(0.1), lambda s: 0.1),
    "step": (schedules.Step(0.1, 7), lambda s: 0.1 * 0.5 ** (s // 7)),
    "step with a factor": (schedules.Step(0.1, 3, 0.9), lambda s: 0.1 * 0.9 ** (s // 3)),
    "exponential": (schedules.Exponential(0.1, 11, 0.3), lambda s: 0.1 * 0.3 ** (s / 11)),
    "cosine": (schedules.Cosine(0.3, 60, 7, 0.01), cosine),
    "cosine without warm-up": (schedules.Cosine(0.3, 60), lambda s: cosine(s, warmup=0, minimum=0)),
    "one-cycle": (schedules.OneCycle(0.5, 50), one_cycle),
    "one-cycle with settings": (schedules.OneCycle(0.2, 100, 0.1, 10.0, 100.0),
                                lambda s: one_cycle(s, 0.2, 100, 0.1, 10.0, 100.0)),
    "custom": (schedules.Custom(lambda s: 1 / (1 + s)), lambda s: 1 / (1 + s)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_against_the_plain_formula(name):
    schedule, formula = FORMULAS[name]
    expected = [formula(s) for s in range(130)]
    np.testing.assert_allclose(schedule.values(0, 130), expected, rtol=1e-13, atol=1e-17)
    assert [schedule(s) for s in range(130)] == schedule.values(0, 130).tolist()
    for first, n in ((0, 1), (13, 40), (129, 1), (5, 0)):
        assert schedule.values(first, n).tolist() == schedule.values(0, 130)[first : first + n].tolist()
    far = schedule(10**12)
    assert 0 <= far <= max(expected)
    same_bits_on_every_isa(lambda: schedule.values(0, 130))


def test_marks_of_the_schedules():
    cosine_rates = schedules.Cosine(0.4, 10).values(0, 12)
    assert cosine_rates[0] == 0.4 and cosine_rates[5] == pytest.approx(0.2) and cosine_rates[10:].tolist() == [0, 0]
    rates = schedules.OneCycle(1.0, 20, rise=0.25).values(0, 21)
    assert rates[0] == pytest.approx(1 / 25) and rates.argmax() == 4 and rates[4] == 1.0
    assert rates[19] == rates[20] == pytest.approx(1 / 25 / 1e4, rel=1e-15)


@pytest.mark.parametrize("name", FORMULAS)
@each_engine
def test_the_schedule_is_computed_per_step_whichever_way_one_trains(name, python, x, labels):
    schedule, formula = FORMULAS[name]
    by_fit, by_step, by_hand = (compiled(layers_of(python), cr.SGD(schedule)) for _ in range(3))
    by_fit.fit(x, labels, epochs=3, batch_size=5, shuffle=False)
    by_hand.compile(cr.SGD(1.0), "softmax_cross_entropy")
    for step in range(12):
        part = slice(step % 4 * 5, step % 4 * 5 + 5)
        by_step.train_step(x[part], labels[part])
        by_hand.optimizer.learning_rate = schedule(step)
        by_hand.train_step(x[part], labels[part])
    assert weight_bits(by_fit) == weight_bits(by_step) == weight_bits(by_hand)
    assert by_fit.history["learning_rate"] == pytest.approx([formula(s) for s in (3, 7, 11)], rel=1e-13)


@pytest.mark.parametrize(("settings", "values", "rates"), [
    ({"patience": 1}, [5, 4, 4, 4, 4, 4], [1, 1, 1, 0.1, 0.1, 0.01]),
    ({"patience": 0}, [5, 5, 4, 4.5], [1, 0.1, 0.1, 0.01]),
    ({"patience": 0, "factor": 0.5, "minimum": 0.3}, [1, 1, 1, 1], [1, 0.5, 0.3, 0.3]),
    ({"patience": 0, "cooldown": 1}, [1, 1, 1, 1, 1], [1, 0.1, 0.1, 0.01, 0.01]),
    ({"patience": 0, "cooldown": 2}, [1, 1, 1, 1, 1], [1, 0.1, 0.1, 0.1, 0.01]),
    ({"patience": 0, "min_delta": 0.5}, [5, 4.6, 4], [1, 0.1, 0.1]),
    ({"patience": 0, "mode": "max"}, [1, 2, 1], [1, 1, 0.1]),
    ({"patience": 0, "monitor": "val_accuracy"}, [0.5, 0.6, 0.5], [1, 1, 0.1]),
])  # fmt: skip
def test_reduce_on_plateau(settings, values, rates):
    schedule = schedules.ReduceOnPlateau(1.0, **settings)
    seen = []
    for value in values:
        schedule.observe({settings.get("monitor", "val_loss"): value})
        seen.append(schedule(0))
    assert seen == pytest.approx(rates)


@each_engine
def test_reduce_on_plateau_in_fit(python, x, labels):
    rule = cr.SGD(schedules.ReduceOnPlateau(0.5, "loss", factor=0.5, patience=0, min_delta=10.0))
    model = compiled(layers_of(python), rule)
    model.fit(x, labels, epochs=4)
    assert model.history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]
    assert schedules.ReduceOnPlateau(0.5).state["rate"] == 0.5 and rule.schedule.state["rate"] == 0.0625
    model.fit(x, labels, epochs=1)
    assert model.history["learning_rate"] == [0.0625]
    with pytest.raises(ValueError, match=r"^state of ReduceOnPlateau needs rate, .*, got \['rate'\]$"):
        rule.schedule.state = {"rate": 0.5}
    with pytest.raises(ValueError, match="ReduceOnPlateau monitors 'val_loss', but the epochs have loss"):
        compiled(optimizer=cr.SGD(schedules.ReduceOnPlateau(0.1))).fit(x, labels)


def test_compile_restarts_the_schedule(x, labels):
    optimizer = cr.SGD(schedules.ReduceOnPlateau(0.5, "loss", patience=0, min_delta=10.0))
    model = compiled(optimizer=optimizer)
    assert model.fit(x, labels, epochs=3)["learning_rate"] == [0.5, 0.5, 0.5 * 0.1]
    assert model.fit(x, labels, epochs=1)["learning_rate"] == [0.5 * 0.1 * 0.1]
    model.compile(optimizer, "softmax_cross_entropy")
    assert model.fit(x, labels, epochs=2)["learning_rate"] == [0.5, 0.5]


def test_reduce_on_plateau_by_hand(x, labels):
    """train_step sees what `observe` did, whether x is an array or a list, which goes another way."""
    weights = []
    for given in (x, x.tolist()):
        schedule = schedules.ReduceOnPlateau(0.5, "loss", factor=0.01, patience=0, min_delta=10.0)
        model = compiled(optimizer=cr.SGD(schedule))
        for _ in range(3):
            schedule.observe({"loss": model.train_step(given, labels)})
        assert schedule(0) == pytest.approx(0.5 * 0.01**2)
        weights.append(model.parameters.copy())
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: schedules.Constant(-0.1), ValueError, r"^learning_rate must be a finite number and >= 0, got -0.1$"),
    (lambda: cr.SGD(float("nan")), ValueError, r"^learning_rate must be a finite number and >= 0, got nan$"),
    (lambda: cr.SGD(10**400), ValueError, r"^learning_rate must be a finite number and >= 0, got 10000"),
    (lambda: cr.SGD("0.1"), TypeError, r"^learning_rate must be a finite number and >= 0, got '0.1'$"),
    (lambda: cr.SGD(None), TypeError, r"^learning_rate must be a finite number and >= 0, got None$"),
    (lambda: schedules.Step(0.1, 0), ValueError, r"^every must be an integer >= 1, got 0$"),
    (lambda: schedules.Step(0.1, 2.0), TypeError, r"^every must be an integer >= 1, got 2.0$"),
    (lambda: schedules.Step(0.1, 2, 1.5), ValueError, r"^factor must be .* > 0 and <= 1, got 1.5$"),
    (lambda: schedules.Cosine(0.1, 5, 5), ValueError, r"^warmup_steps must be an integer >= 0 and <= 4, got 5$"),
    (lambda: schedules.Cosine(0.1, 5, minimum=0.2), ValueError, r"^minimum must be .* >= 0 and <= 0.1, got 0.2$"),
    (lambda: schedules.OneCycle(0.1, 1), ValueError, r"^total_steps must be an integer >= 2, got 1$"),
    (lambda: schedules.OneCycle(0.1, 9, rise=1.0), ValueError, r"^rise must be .* > 0 and < 1, got 1.0$"),
    (lambda: schedules.ReduceOnPlateau(0.1, factor=1.0), ValueError, r"^factor must be .* < 1, got 1.0$"),
    (lambda: schedules.ReduceOnPlateau(0.1, 3), TypeError, r"^monitor must be a name such as 'val_loss', got 3$"),
    (lambda: schedules.Constant(0.1)(-1), ValueError, r"^step must be an integer >= 0, got -1$"),
    (lambda: schedules.Custom(3), TypeError, r"^function must be callable, got 3$"),
])  # fmt: skip
def test_what_schedules_refuse(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("train", ["train_step", "fit"])
@pytest.mark.parametrize(("rate", "error", "match"), [
    (lambda step: -1.0, ValueError, r"^learning rate of step 0 must be a finite number and >= 0, got -1.0$"),
    (lambda step: math.nan, ValueError, r"^learning rate of step 0 .* got nan$"),
    (lambda step: "fast", TypeError, r"^learning rate of step 0 .* got 'fast'$"),
    (lambda step: {}[step], KeyError, "^0$"),
])  # fmt: skip
def test_a_function_that_gives_no_rate_changes_nothing(train, rate, error, match, x, labels):
    model = compiled([*everything()[:-1], cr.Dense(N_OUT)], cr.SGD(rate, momentum=0.9))
    with refused(model, error, match):
        getattr(model, train)(x, labels)


def test_a_schedule_without_values_says_so():
    class Nothing(schedules.Schedule):
        pass

    with pytest.raises(NotImplementedError, match=r"^Nothing needs a method values\(first_step, n\)$"):
        Nothing()(0)


class Halving(schedules.Schedule):
    """Learns, and keeps what it has learned where nobody looks."""

    def __init__(self):
        self.rate = 0.8

    def values(self, first_step, n):
        return np.full(n, self.rate)

    def observe(self, logs):
        self.rate /= 2


class Derived(cr.SGD):
    pass


@pytest.mark.parametrize("optimizer", [
    lambda: cr.SGD(schedules.ReduceOnPlateau(0.8, "loss", factor=0.5, patience=0, min_delta=1e9)),
    lambda: Derived(schedules.ReduceOnPlateau(0.8, "loss", factor=0.5, patience=0, min_delta=1e9)),
    lambda: cr.SGD(Halving()),
])  # fmt: skip
def test_copies_and_checks_leave_what_a_schedule_has_learned(optimizer, x, labels):
    model = compiled(optimizer=optimizer())
    model.fit(x, labels, epochs=3)
    rate = model.optimizer.schedule(0)
    assert rate in (0.2, 0.1)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.optimizer.schedule(0) == model.optimizer.schedule(0) == rate
    cr.check_gradients(model, x[:3], labels[:3])
    assert model.optimizer.schedule(0) == rate


def test_a_schedule_derived_from_a_constant_is_none(x, labels):
    class Warm(schedules.Constant):
        constant = False

        def values(self, first_step, n):
            return self.learning_rate * np.minimum(1, (first_step + np.arange(n) + 1) / 100)

    model = compiled(optimizer=cr.SGD(Warm(0.1)))
    assert model.optimizer.learning_rate is model.optimizer.schedule
    assert copy.deepcopy(model).optimizer.schedule(4) == model.optimizer.schedule(4) == 0.1 * 0.05
