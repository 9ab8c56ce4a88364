"""Types of the compiled binding. Private: use `chainrule.kernels` and `chainrule.Sequential`.

Rules of every function here
----------------------------
- The array arguments of one call have the same dtype, float32 or float64, native and aligned; TypeError if not.
- A matrix is 2-D, its rows hold adjacent elements and do not overlap (any distance between rows; strides over a
  dimension of 0 or 1 do not matter). A vector is 1-D and contiguous. Outputs are writeable. ValueError if not.
- Shapes are compared; a mismatch is a ValueError that names the argument, the expected and the given shape.
- Outputs are written in place and must not overlap inputs, except where the comment says so; that is not checked.
- Turning whatever a user gave into such arrays is the callers' work (`chainrule._arrays`).
- A kind or setting that C refuses is a ValueError, lack of memory a MemoryError.
- The interpreter lock is released when the work is worth it.
"""

from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from ._specs import LayerSpec as LayerSpec
from ._specs import LossOptions as LossOptions
from ._specs import OptimizerSpec as OptimizerSpec

_Array = npt.NDArray[Any]

# Kind tables, read from the C library: name -> number, in the order of chainrule.h.
ACTIVATIONS: dict[str, int]
FUNCTIONS: dict[str, int]  # exp, log, expm1, log1p, erf
LOSSES: dict[str, int]
LAYERS: dict[str, int]  # dense, activation, dropout, layer_norm, batch_norm
OPTIMIZERS: dict[str, int]  # sgd, adam, adamw, rmsprop, adagrad
PURPOSES: dict[str, int]  # init, shuffle, dropout, user: the streams of the random generator

VERSION: str
_api: object  # the capsule of chainrule_api.h

# -- the processor --
# Importing the module reads CHAINRULE_ISA (ImportError if it cannot be had) and CHAINRULE_NUM_THREADS (RuntimeWarning
# if it is no positive integer), else the first number of OMP_NUM_THREADS.

def isa() -> str: ...
def isas_built() -> list[str]: ...  # slowest first
def isas_supported() -> list[str]: ...  # those of them this processor can run
def set_isa(name: str) -> None: ...  # ValueError listing the choices; call before other threads use the library
def compiler() -> str: ...
def cpu_count() -> int: ...  # by affinity and cgroup quota
def set_num_threads(n: int) -> None: ...  # upper bound for later calls; 0: the default, environment included
def get_num_threads() -> int: ...

# -- facts about kinds --

def activation_saves_input(kind: int) -> bool: ...  # the derivative needs x, not y
def activation_by_row(kind: int) -> bool: ...  # softmax, log_softmax
def activation_default_alpha(kind: int) -> float: ...
def loss_takes_labels(kind: int) -> bool: ...  # cross_entropy, softmax_cross_entropy
def loss_target_range(kind: int) -> tuple[float, float, bool]: ...  # least, greatest target, or size of one
def optimizer_n_states(optimizer: OptimizerSpec) -> int: ...  # 0, 1 or 2

# -- kernels: contracts in csrc/chainrule_kernels.inc.h --

# out (n_rows, n_out) = activation(x weight + bias); pre, if given, receives x weight + bias.
def dense_forward(
    x: _Array, weight: _Array, bias: _Array | None, activation: int, alpha: float, pre: _Array | None, out: _Array
) -> None: ...

# out (n_rows, n_in) = (dz weight^T) * f'(saved), f elementwise; saved None for identity. out may be saved.
def dense_backward_input(
    dz: _Array, weight: _Array, activation: int, alpha: float, saved: _Array | None, out: _Array
) -> None: ...

# out_weight = x^T dz; out_bias = column sums of dz.
def dense_backward_weight(x: _Array, dz: _Array, out_weight: _Array, out_bias: _Array | None) -> None: ...

# Matrices, row by row for the by-row kinds. out may be x.
def activation(kind: int, alpha: float, x: _Array, out: _Array) -> None: ...

# out = dy * f'(saved), or the Jacobian applied; saved is x or y (activation_saves_input), None for identity only.
# out may be dy or saved.
def activation_backward(kind: int, alpha: float, dy: _Array, saved: _Array | None, out: _Array) -> None: ...

# Vectors. out may be x.
def function(kind: int, x: _Array, out: _Array) -> None: ...

# target: (n_rows, n_out) reals or (n_rows,) int32 labels. grad, if given, receives the gradient and may be prediction.
# ValueError naming the element for a label out of range or a NaN target. Weights are not looked at.
def loss(
    kind: int,
    options: LossOptions,
    mean: bool,
    prediction: _Array,
    target: _Array,
    weight: _Array | None,
    grad: _Array | None,
) -> float: ...

# Vectors; step counts from 1. ValueError if a state that the optimizer keeps is None.
def optimizer_update(
    optimizer: OptimizerSpec,
    step: int,
    learning_rate: float,
    param: _Array,
    grad: _Array,
    state_0: _Array | None,
    state_1: _Array | None,
) -> None: ...

# The mask of (seed, layer, forward) from batch position first_row on. out may be x.
def dropout(rate: float, seed: int, layer: int, forward: int, first_row: int, x: _Array, out: _Array) -> None: ...

# mean and inverse_std, (n_rows,), are written for the backward. out may be x if no backward follows.
def layer_norm_forward(
    x: _Array, gamma: _Array, beta: _Array, epsilon: float, mean: _Array, inverse_std: _Array, out: _Array
) -> None: ...

# dgamma and dbeta are written, and dx unless None; dx may be dy.
def layer_norm_backward(
    x: _Array,
    gamma: _Array,
    mean: _Array,
    inverse_std: _Array,
    dy: _Array,
    dgamma: _Array,
    dbeta: _Array,
    dx: _Array | None,
) -> None: ...

# Vectors are (n_cols,). training: by the batch's statistics, which are folded into the running ones; else by these.
def batch_norm_forward(
    training: bool,
    x: _Array,
    gamma: _Array,
    beta: _Array,
    epsilon: float,
    momentum: float,
    running_mean: _Array,
    running_variance: _Array,
    mean: _Array,
    inverse_std: _Array,
    out: _Array,
) -> None: ...
def batch_norm_backward(
    training: bool,
    x: _Array,
    gamma: _Array,
    mean: _Array,
    inverse_std: _Array,
    dy: _Array,
    dgamma: _Array,
    dbeta: _Array,
    dx: _Array | None,
) -> None: ...

# The shortest way for plain arrays: C-contiguous, one float dtype, one shape, apart or the very same. None (or False)
# means that the door in _arrays.py has to look.
def quick_function(kind: int, x: Any, out: Any) -> _Array | None: ...
def quick_activation(kind: int, alpha: float, x: Any, out: Any) -> _Array | None: ...
def quick_activation_backward(kind: int, alpha: float, dy: Any, saved: Any, out: Any) -> _Array | None: ...
def quick_shared_dtype(*arrays: Any) -> np.dtype[Any] | None: ...
def quick_apart(a: Any, b: Any) -> bool: ...
def quick_within(a: Any, least: float, greatest: float) -> bool: ...
def quick_labels(a: Any, n_classes: int) -> bool: ...
def quick_loss(
    kind: int, options: LossOptions, mean: bool, prediction: Any, target: Any, out: Any
) -> tuple[float, _Array] | None: ...

# first: momentum, rho or beta_1; second: beta_2. False: nothing has been done.
def quick_update(
    kind: int,
    step: Any,
    rate: Any,
    decay: Any,
    first: Any,
    second: Any,
    epsilon: Any,
    nesterov: bool,
    param: Any,
    grad: Any,
    state_0: Any,
    state_1: Any,
) -> bool: ...
def quick_forward(kind: int, alpha: float, x: Any, weight: Any, bias: Any, out: Any) -> _Array | None: ...
def quick_backward_input(kind: int, alpha: float, dz: Any, weight: Any, saved: Any, out: Any) -> _Array | None: ...
def quick_backward_weight(x: Any, dz: Any, out_weight: Any, out_bias: Any) -> tuple[_Array, _Array] | None: ...
def sum_squares(x: _Array) -> float: ...  # vector; in double, fixed order
def count_not_finite(x: _Array) -> int: ...  # vector

# -- random numbers: `out`, a vector, is filled with elements first_index, first_index + 1, ... of the stream --

def random_u32(
    seed: int, purpose: int, stream: int, epoch: int, first_index: int, out: npt.NDArray[np.uint32]
) -> None: ...
def random_uniform(
    seed: int, purpose: int, stream: int, epoch: int, first_index: int, out: npt.NDArray[np.float64]
) -> None: ...  # [0, 1)
def random_normal(
    seed: int, purpose: int, stream: int, epoch: int, first_index: int, out: npt.NDArray[np.float64]
) -> None: ...
def random_permutation(seed: int, epoch: int, out: npt.NDArray[np.int64]) -> None: ...

# -- networks --

# (n_parameters, n_running, n_out); ValueError if the description is not sound.
def measure(n_in: int, layers: list[LayerSpec]) -> tuple[int, int, int]: ...
@final
class Network:
    """A cr_network over the caller's flat arrays, which it keeps alive and whose dtype is its own.

    `predict` and `penalty` may run in several threads at once. Every other method that computes or changes something
    raises RuntimeError ("this model is already training in another thread") while another thread is inside one.

    Parameters
    ----------
    parameters, gradients : vector of n_parameters elements (see `measure`)
    running : vector of n_running elements, or None if that is 0
    seed : int
        In [0, 2**64); keys the dropout masks.
    """

    def __new__(
        cls,
        n_in: int,
        layers: list[LayerSpec],
        parameters: _Array,
        gradients: _Array,
        running: _Array | None,
        seed: int,
    ) -> Self: ...
    @property
    def n_in(self) -> int: ...
    @property
    def n_out(self) -> int: ...
    # Loss and optimizer (or the optimizer alone, with kind None), no steps, and `changes` as in `set_all`: all or
    # nothing. States: optimizer_n_states vectors like parameters, kept alive and written in place.
    def compile(
        self,
        kind: int | None,
        options: LossOptions | None,
        optimizer: OptimizerSpec,
        state_0: _Array | None,
        state_1: _Array | None,
        changes: list[tuple[Any, str, Any]],
    ) -> None: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def forwards(self) -> int: ...
    def set_counters(self, steps: int, forwards: int) -> None: ...
    # out (n_rows, n_out) = network(x), as at inference.
    def predict(self, x: _Array, out: _Array) -> None: ...
    # As predict, keeping what backward needs; x itself is borrowed until the next forward or training call.
    def forward(self, x: _Array, training: bool, out: _Array) -> None: ...
    # dy (n_rows, n_out) of the last forward; gradients are written without penalties, and out (n_rows, n_in) unless
    # None. RuntimeError if no forward of that many rows came before.
    def backward(self, dy: _Array, out: _Array | None) -> None: ...
    # RuntimeError without an optimizer.
    def update(self, learning_rate: float) -> None: ...
    def penalty(self) -> float: ...

    # Below, y is (n_rows, n_out) of the network's dtype, or (n_rows,) of it if n_out is 1, or, for a loss that takes
    # labels, (n_rows,) int32 or int64. weight is (n_rows,), finite and >= 0. RuntimeError without a loss (or, to
    # train, an optimizer); ValueError for a label out of range or a NaN target, before anything changes.

    # The loss before the update, penalties included.
    def train_step(self, x: _Array, y: _Array, weight: _Array | None, learning_rate: float) -> float: ...
    # Steps first_step .. of one epoch, until it ends, `seconds` have passed, or a loss is not finite. Batch b is rows
    # order[b * batch_size ...]; learning_rate holds one number or one a step, step_loss has room for one a step.
    # Returns the step to go on with: the number of batches when the epoch is done.
    def fit(
        self,
        x: _Array,
        y: _Array,
        weight: _Array | None,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        learning_rate: npt.NDArray[np.float64],
        first_step: int,
        seconds: float,
        step_loss: npt.NDArray[np.float64],
    ) -> int: ...

@disjoint_base
class Model:
    """Base of `Sequential`: the calls whose overhead matters, with the shortest way to C.

    `_network` is a Network or None, `_learning_rate` a float (NaN, as at first, when the subclass must decide).
    Calls whose arguments are not plain arrays of the network's dtype and shape, or that come before there is a network
    with loss and optimizer, go to `_predict_slow(x, out, batch_size)` and `_train_step_slow(x, y, sample_weight)` of
    the subclass, which convert, check and raise. `out` that overlaps x or the parameters goes there as well.
    """

    _network: Network | None
    _learning_rate: float
    @property
    def _held(self) -> bool: ...  # whether a Turn holds the model
    def _offer_rate(self, learning_rate: float) -> None: ...
    def __call__(self, x: npt.ArrayLike, *, out: _Array | None = None) -> _Array: ...
    def predict(self, x: npt.ArrayLike, *, batch_size: int | None = None, out: _Array | None = None) -> _Array: ...
    def train_step(self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float: ...

# -- changes that are whole or have not happened: no signal is heard and no memory asked for once they have begun --

@final
class Turn:
    """The right to change a model, for a `with` block; RuntimeError if somebody has it."""

    def __init__(self, model: Model, what: str) -> None: ...
    def __enter__(self) -> Turn: ...
    def __exit__(self, kind: object, value: object, traceback: object) -> Literal[False]: ...

# targets[i][...] = sources[i] for every i; ValueError, before anything is written, if two are not alike.
def copy_all(targets: list[_Array], sources: list[_Array], network: Network | None = None) -> None: ...

# (steps, forwards, copies of arrays, copies of running) of one moment between two steps.
def snapshot(
    model: Model, arrays: list[_Array], running: list[_Array], counters: Network | _Array
) -> tuple[int, int, list[_Array], list[_Array]]: ...

# object.name = value for every (object, name, value); the attributes are plain ones, and exist.
def set_all(changes: list[tuple[Any, str, Any]]) -> None: ...
@final
class Undo:
    """Puts running statistics and counters back if its `with` block raises before the model's next step.

    `counters` is the Network, or a uint64 array (steps, forwards). A `snapshot` of `model` looks behind the pass.
    """

    def __init__(
        self, arrays: list[_Array], counters: Network | npt.NDArray[np.uint64], model: Model | None = None
    ) -> None: ...
    def __enter__(self) -> Undo: ...
    def __exit__(self, kind: object, value: object, traceback: object) -> Literal[False]: ...
    def put_back(self) -> None: ...

@final
class StandardMode:
    """The floating-point mode of the C standard for a `with` block, then the thread's own again."""

    def __enter__(self) -> StandardMode: ...
    def __exit__(self, kind: object, value: object, traceback: object) -> Literal[False]: ...
