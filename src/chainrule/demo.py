"""`chainrule demo`: train on real handwritten digits, beside the same training in NumPy.

Both start from the same weights, see the same rows in the same order in batches of the same size, and do the
same arithmetic; the epochs are run by turns, so whatever else the machine does falls on both.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .callbacks import Callback
from .config import get_num_threads, num_threads
from .data import DigitsSplit, load_digits
from .layers import Dense
from .model import Sequential
from .numpy_twin import NumpyTwin
from .optimizers import SGD
from .schedules import Step

__all__ = ["run"]

N_HIDDEN = 128
N_CLASSES = 10
LEARNING_RATE = 0.1
LATER = 0.1  # factor of the learning rate in the second half of the epochs
MOMENTUM = 0.9
L2 = 1e-4

_ROUNDING = 1e-5  # what rounding alone adds up to; the same net with tanh stays below 2e-6
_LINE_EVERY = 5  # epochs between lines where there is no terminal to rewrite one on


@dataclass
class Result:
    """What one seed gave; lists are one entry an epoch."""

    seed: int
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    twin_seconds: list[float] = field(default_factory=list)
    difference: float = 0.0
    predicted: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def ratio(self) -> float:
        return statistics.median(self.twin_seconds) / statistics.median(self.seconds)


class _Race(Callback):
    """Times each epoch of `fit`, then lets the twin do the same epoch."""

    def __init__(self, twin: NumpyTwin, digits: DigitsSplit, epochs: int, batch_size: int, seed: int) -> None:
        self.twin, self.digits, self.epochs, self.batch_size = twin, digits, epochs, batch_size
        self.result = Result(seed)
        self._order = np.empty(len(digits.x_train), np.int64)
        self._start = 0.0

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        result, digits = self.result, self.digits
        result.seconds.append(time.perf_counter() - self._start)

        start = time.perf_counter()
        self.twin.learning_rate = logs["learning_rate"]  # the schedule changes it between epochs only
        _core.random_permutation(result.seed, epoch, self._order)  # the order in which fit took the rows
        self.twin.train_epoch(digits.x_train, digits.y_train, self._order, self.batch_size)
        result.twin_seconds.append(time.perf_counter() - start)

        result.losses.append(logs["loss"])
        result.accuracies.append(float(np.mean(self.model.predict(digits.x_test).argmax(axis=1) == digits.y_test)))
        self._show(epoch)

    def _show(self, epoch: int) -> None:
        result, last = self.result, epoch + 1 == self.epochs
        line = (
            f"seed {result.seed}  epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  "
            f"loss {result.losses[-1]:.4f}  test accuracy {result.accuracies[-1]:.4f}"
        )
        if sys.stdout.isatty():
            print(f"\r{line}", end="\n" if last else "", flush=True)
        elif last or (epoch + 1) % _LINE_EVERY == 0:
            print(line, flush=True)


def _train(digits: DigitsSplit, *, epochs: int, batch_size: int, seed: int) -> Result:
    n_rows, n_in = digits.x_train.shape
    half = -(-epochs // 2) * -(-n_rows // batch_size)  # steps
    model = Sequential([Dense(N_HIDDEN, "relu", l2=L2), Dense(N_CLASSES, l2=L2)], seed=seed)
    model.build(n_in)
    model.compile(
        optimizer=SGD(Step(LEARNING_RATE, every=half, factor=LATER), momentum=MOMENTUM),
        loss="softmax_cross_entropy",
    )
    twin = NumpyTwin(
        model.get_weights(),
        ["relu", "identity"],
        "softmax_cross_entropy",
        learning_rate=LEARNING_RATE,
        momentum=MOMENTUM,
        l2=L2,
    )
    race = _Race(twin, digits, epochs, batch_size, seed)
    model.fit(digits.x_train, digits.y_train, epochs=epochs, batch_size=batch_size, callbacks=[race], verbose=0)
    race.result.difference = float(np.max(np.abs(model.parameters - twin.parameters)))
    race.result.predicted = model.predict(digits.x_test).argmax(axis=1)
    return race.result


def _print_table(results: list[Result]) -> None:
    print()
    print("seed  test accuracy     chainrule     NumPy twin   ratio   largest difference of weights")
    for result in results:
        ours, theirs = (1e3 * statistics.median(times) for times in (result.seconds, result.twin_seconds))
        print(
            f"{result.seed:>4}  {result.accuracies[-1]:>13.4f}  {ours:>6.3f} ms/epoch"
            f"  {theirs:>6.3f} ms/epoch  {result.ratio:>5.2f}x  {result.difference:>30.1e}"
        )
    worst = min(result.accuracies[-1] for result in results)
    ratio = statistics.median(result.ratio for result in results)
    print(f"lowest test accuracy {worst:.4f}; NumPy takes {ratio:.2f} times as long")
    if max(result.difference for result in results) > _ROUNDING:
        print(
            "A difference above 1e-5 is a ReLU unit that stood within rounding of zero for some row: its\n"
            "derivative is 1 in one training and 0 in the other, and the two part from there."
        )


def _blas() -> str:
    """NumPy's BLAS and how many threads it may use: it decides for itself how many a product is worth."""
    config: Any = np.show_config(mode="dicts")
    name = config.get("Build Dependencies", {}).get("blas", {}).get("name", "its BLAS")
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable):
            return f"{name}, {variable}={os.environ[variable]}"
    return f"{name}, up to {_core.cpu_count()} threads by its own choice (OPENBLAS_NUM_THREADS=1 forbids it)"


def run(
    *,
    epochs: int = 20,
    seed: int = 0,
    seeds: int = 3,
    batch_size: int = 32,
    threads: int = 1,
    plot: str | None = None,
) -> int:
    """Train, print, perhaps plot; returns the exit status."""
    if plot is not None:
        problem = _cannot_plot(plot)
        if problem:
            print(f"chainrule demo: {problem}", file=sys.stderr)
            return 1
    digits = load_digits(split=True)
    n_in = digits.x_train.shape[1]
    with num_threads(threads):
        print(
            f"UCI optical digits: {len(digits.x_train)} rows to train on, {len(digits.x_test)} held out\n"
            f"{n_in}-{N_HIDDEN}-{N_CLASSES} ReLU, softmax cross-entropy, batches of {batch_size}, "
            f"learning rate {LEARNING_RATE:g} then {LEARNING_RATE * LATER:g}, "
            f"momentum {MOMENTUM:g}, L2 {L2:g}\n"
            f"chainrule {_core.VERSION}: {_core.isa()}, threads: {get_num_threads()}\n"
            f"NumPy {np.__version__}: {_blas()}\n"
        )
        results = [_train(digits, epochs=epochs, batch_size=batch_size, seed=one) for one in range(seed, seed + seeds)]
    _print_table(results)
    if plot is not None:
        try:
            _draw(plot, results, digits)
        except OSError as error:
            print(f"chainrule demo: --plot: {error}", file=sys.stderr)
            return 1
        print(f"wrote {plot}")
    return 0


# -- the picture ---------------------------------------------------------------------------------------------


def _cannot_plot(path: str) -> str | None:
    """Why a picture cannot be written there, found out before the work; None if it can."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return '--plot needs matplotlib: pip install "chainrule[plot]"'
    target = Path(path).absolute()
    if target.is_dir() or not os.path.basename(path):
        return f"--plot {path}: this is a folder; name a picture in it, such as {Path(path, 'demo.png')}"
    if not target.parent.is_dir():
        return f"--plot {path}: there is no such folder"
    if not target.suffix:  # matplotlib would add one
        return f"--plot {path}: the name must end in the kind of picture, such as {path}.png"
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        return f"--plot {path}: it may not be written"
    extension = target.suffix.lstrip(".").lower()
    choices = Figure().canvas.get_supported_filetypes()
    if extension not in choices:
        return f"--plot {path}: cannot write .{extension}; choices: {', '.join(sorted(choices))}"
    return None


def _draw(path: str, results: list[Result], digits: DigitsSplit) -> None:
    """Learning curves, and which class was taken for which, counted over all seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    loss, accuracy, confusion = figure.subplots(1, 3)
    for result in results:
        epochs = range(1, len(result.losses) + 1)
        loss.semilogy(epochs, result.losses, label=f"seed {result.seed}")
        accuracy.plot(epochs, result.accuracies, label=f"seed {result.seed}")
    loss.set(title="training loss", xlabel="epoch")
    accuracy.set(title="accuracy on the held-out fifth", xlabel="epoch")
    for curve in (loss, accuracy):
        curve.xaxis.get_major_locator().set_params(integer=True)
    loss.legend()

    counts = np.zeros((N_CLASSES, N_CLASSES), int)
    for result in results:
        np.add.at(counts, (digits.y_test, result.predicted), 1)
    # The diagonal would drown the rest, so it is written but not coloured.
    mistakes = np.where(np.eye(N_CLASSES, dtype=bool), 0, counts)
    confusion.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, mistakes.max()))
    for true, predicted in zip(*np.nonzero(counts), strict=True):
        dark = 2 * mistakes[true, predicted] > mistakes.max()
        place = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if dark else "black"}
        confusion.text(predicted, true, str(counts[true, predicted]), **place)
    confusion.set(title="confusion, all seeds", xlabel="predicted", ylabel="true")
    confusion.set(xticks=range(N_CLASSES), yticks=range(N_CLASSES))
    figure.savefig(path, dpi=120)
