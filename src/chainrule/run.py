"""Where a training run stands: what `fit` needs, beside the model, to go on with the same bits.

A model keeps the `Run` of its last `fit`, and its files hold it. The step within the epoch is not kept here: it is
the optimizer's step counter, which moves together with the weights, less the counter at the epoch's start. So the
two cannot disagree, wherever a signal cuts the run off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._checks import flag, integer

if TYPE_CHECKING:
    from .callbacks import Callback
    from .model import Sequential

Array = npt.NDArray[Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """What the participants of a run had learned at some moment."""

    stop: bool  # model.stop_training
    schedule: State
    callbacks: Sequence[tuple[str, Callable[[], State]]]  # name of the class, what gives the state it had


@dataclass(frozen=True)
class Position:
    """The epoch that is running or comes next."""

    epoch: int
    first_step: int  # optimizer steps taken before it
    # What to go on with, if that is no longer what the participants now hold: while they take note of an epoch's end
    # one after the other, it is what all of them knew before.
    kept: Kept | None = None


@dataclass
class Run:
    """One call of `fit`, or several that continued each other."""

    n_rows: int
    batch_size: int
    shuffle: bool
    at: Position
    losses: Array  # one a step of the epoch, as far as it has come
    participants: list["Callback"] = field(default_factory=list)  # while fit runs

    def done(self, steps: int) -> int:
        """Steps of the epoch that are done when the optimizer has taken `steps` in all."""
        return steps - self.at.first_step

    def look(self, model: "Sequential") -> Kept:
        """What to go on with from here."""
        if self.at.kept is not None:
            return self.at.kept
        assert model.optimizer is not None
        pairs = [(type(one).__name__, one._snapshot()) for one in self.participants]
        callbacks = [(name, state) for name, state in pairs if state is not None]
        return Kept(model.stop_training, dict(model.optimizer.schedule.state), callbacks)

    def close(self, model: "Sequential") -> None:
        """Let go of the participants, who may be used elsewhere from now on."""
        assert model._engine is not None
        self.losses = self.losses[: self.done(model._engine.steps)].copy()
        self.at = Position(self.at.epoch, self.at.first_step, self.look(model))
        self.participants = []

    def describe(self, model: "Sequential", steps: int) -> State:
        """The run after `steps` in all as data: numbers, text, lists, dicts and arrays."""
        kept, at, done = self.look(model), self.at, self.done(steps)
        return {
            "n_rows": self.n_rows,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "epoch": at.epoch,
            "first_step": at.first_step,
            "losses": self.losses[:done].copy() if done else None,
            "stop": kept.stop,
            "schedule": kept.schedule,
            "callbacks": [[name, state()] for name, state in kept.callbacks],
        }

    @classmethod
    def restore(cls, description: Any, steps: int) -> "Run":
        """The run that `describe` saw after `steps` in all; ValueError or TypeError if it is not sound."""
        if not isinstance(description, dict) or set(description) != _KEYS:
            raise ValueError("run is not the description of a training run")
        sizes = {name: integer(description[name], name, at_least=1) for name in ("n_rows", "batch_size")}
        counts = [integer(description[name], name, at_least=0) for name in ("epoch", "first_step")]
        losses, schedule, pairs = description["losses"], description["schedule"], description["callbacks"]
        losses = np.empty(0) if losses is None else losses
        n_steps = -(-sizes["n_rows"] // sizes["batch_size"])
        if not isinstance(losses, np.ndarray) or losses.dtype != np.float64 or losses.ndim != 1:
            raise ValueError("losses of the run must be a vector of float64")
        if len(losses) > n_steps or not isinstance(schedule, dict) or not isinstance(pairs, list):
            raise ValueError("run is not the description of a training run")
        if len(losses) > steps - counts[1]:
            raise ValueError(
                f"the run has losses of {len(losses)} steps after step {counts[1]}, the model has taken {steps} steps"
            )
        for pair in pairs:
            if not (
                isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], dict)
            ):
                raise ValueError("callbacks of the run must be pairs of a name and a dict")
        callbacks: list[tuple[str, Callable[[], State]]] = [(name, partial(dict, state)) for name, state in pairs]
        kept = Kept(flag(description["stop"], "stop"), schedule, callbacks)
        at = Position(counts[0], counts[1], kept)
        return cls(sizes["n_rows"], sizes["batch_size"], flag(description["shuffle"], "shuffle"), at, losses)

    def check_goes_on(self, steps: int, n_rows: int, batch_size: int, shuffle: bool) -> int:
        """Return the step of the epoch to go on with; ValueError if it cannot be gone on with like this."""
        done = self.done(steps)
        stopped = len(self.losses) if not self.participants else done  # with participants: cut off before `close`
        if not 0 <= done == stopped <= -(-self.n_rows // self.batch_size):
            raise ValueError(
                f"resume: the model has taken {steps} steps, its last fit stopped at another one; it was trained in"
                " between. Call fit without resume"
            )
        for name, now, then in (
            ("rows", n_rows, self.n_rows), ("batch_size", batch_size, self.batch_size),
            ("shuffle", shuffle, self.shuffle),
        ):  # fmt: skip
            if done and now != then:
                raise ValueError(
                    f"resume: {name} is {now}, in the fit that stopped within epoch {self.at.epoch} it was {then}"
                )
        return done


_KEYS = {
    "n_rows", "batch_size", "shuffle", "epoch", "first_step", "losses", "stop", "schedule", "callbacks",
}  # fmt: skip


def hand_out(states: Sequence[tuple[str, Callable[[], State]]], callbacks: Sequence["Callback"]) -> list[str]:
    """Give each state to the callback that it belongs to: the first of its class, the second, ...

    Returns the names of the classes for which there was no callback.
    """
    left, orphans = list(callbacks), []
    for name, state in states:
        for callback in left:
            if type(callback).__name__ == name:
                callback.load_state_dict(state())
                left.remove(callback)
                break
        else:
            orphans.append(name)
    return orphans
