# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, auto_pickle=False, autotestdict=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The compiled binding: one function per C function, and the network. Private; see _core.pyi.

Every function does the same five things: read the arrays, compare shapes, release the lock when the
work is worth it, call, check the status. Policy (defaults, conversions, names) lives above.
"""

import os
import time
import warnings

from cpython.pycapsule cimport PyCapsule_New
from cpython.pythread cimport PyThread_get_thread_ident
from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport INFINITY, NAN, fabs, isnan
from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

cimport cython
cimport numpy as np

from . cimport chainrule as cr

import numpy

from ._specs import LayerSpec, LossOptions, OptimizerSpec

np.import_array()

VERSION = cr.CR_VERSION.decode()

# -- kinds: name -> number, read from the C library so that the two cannot drift apart --------------

ACTIVATIONS = {cr.cr_activation_name(kind).decode(): kind for kind in range(cr.CR_N_ACTIVATIONS)}
LOSSES = {cr.cr_loss_name(kind).decode(): kind for kind in range(cr.CR_N_LOSSES)}
FUNCTIONS = {
    "exp": cr.CR_EXP, "log": cr.CR_LOG, "expm1": cr.CR_EXPM1, "log1p": cr.CR_LOG1P, "erf": cr.CR_ERF,
}
LAYERS = {
    "dense": cr.CR_LAYER_DENSE, "activation": cr.CR_LAYER_ACTIVATION, "dropout": cr.CR_LAYER_DROPOUT,
    "layer_norm": cr.CR_LAYER_NORM, "batch_norm": cr.CR_LAYER_BATCH_NORM,
}
OPTIMIZERS = {
    "sgd": cr.CR_SGD, "adam": cr.CR_ADAM, "adamw": cr.CR_ADAMW, "rmsprop": cr.CR_RMSPROP,
    "adagrad": cr.CR_ADAGRAD,
}
PURPOSES = {
    "init": cr.CR_PURPOSE_INIT, "shuffle": cr.CR_PURPOSE_SHUFFLE, "dropout": cr.CR_PURPOSE_DROPOUT,
    "user": cr.CR_PURPOSE_USER,
}


def activation_saves_input(int kind):
    """Whether the derivative is computed from the input x (else from the output y)."""
    return cr.cr_activation_saves_input(kind) != 0


def activation_by_row(int kind):
    """Whether the activation looks at whole rows (softmax, log_softmax)."""
    return cr.cr_activation_by_row(kind) != 0


def activation_default_alpha(int kind):
    return cr.cr_activation_default_alpha(kind)


def loss_takes_labels(int kind):
    """Whether integer class labels are a target of this loss."""
    return cr.cr_loss_takes_labels(kind) != 0


def loss_target_range(int kind):
    """(least, greatest, of_size): what targets must be, or their sizes with of_size."""
    cdef double least, greatest
    cdef int of_size
    cr.cr_loss_target_range(kind, &least, &greatest, &of_size)
    return least, greatest, of_size != 0


def optimizer_n_states(optimizer):
    """How many state arrays this optimizer keeps: 0, 1 or 2."""
    cdef cr.cr_optimizer c_optimizer
    _read_optimizer(&c_optimizer, optimizer)
    return cr.cr_optimizer_n_states(&c_optimizer)


# -- the processor -----------------------------------------------------------------------------------

cdef list _isa_names(int which):
    cdef list names = []
    cdef const char *name = cr.cr_isa_name(which, 0)
    while name != NULL:
        names.append(name.decode())
        name = cr.cr_isa_name(which, len(names))
    return names


def isa():
    """Name of the instruction set in use."""
    return cr.cr_isa().decode()


def isas_built():
    """Instruction sets in this build, slowest first."""
    return _isa_names(0)


def isas_supported():
    """Instruction sets in this build that this processor can run, slowest first."""
    return _isa_names(1)


def set_isa(str name not None):
    """Choose an instruction set; call it before other threads use the library."""
    if cr.cr_set_isa(name.encode()) != cr.CR_OK:
        raise ValueError(
            f"instruction set {name!r} is not available here; choose one of: {', '.join(isas_supported())}"
            f" (this build has: {', '.join(isas_built())})"
        )


def compiler():
    """Name and version of the C compiler that built the library."""
    return cr.cr_compiler().decode()


def cpu_count():
    """CPUs this process may use (affinity and cgroup quota)."""
    return cr.cr_cpu_count_available()


def set_num_threads(n):
    """Upper bound on the threads of later calls; 0 returns to the default."""
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    cr.cr_set_num_threads(min(n, INT32_MAX) or _DEFAULT_THREADS)


def get_num_threads():
    return cr.cr_get_num_threads()


def _threads_from_environment():
    """CHAINRULE_NUM_THREADS, else OMP_NUM_THREADS, else 0 (the C library counts CPUs)."""
    text = os.environ.get("CHAINRULE_NUM_THREADS", "").strip()
    if text:
        if text.isdecimal() and int(text) > 0:
            return min(int(text), INT32_MAX)
        warnings.warn(
            f"CHAINRULE_NUM_THREADS={text!r} is not a positive integer and is ignored",
            RuntimeWarning, stacklevel=2,
        )
    # One number per nesting level, "4,2": the first is the one for us. What OpenMP makes of a bad
    # value is its own affair, so no warning here.
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(text), INT32_MAX) if text.isdecimal() else 0


_DEFAULT_THREADS = _threads_from_environment()


def _start():
    name = os.environ.get("CHAINRULE_ISA", "").strip().lower()
    if name:
        try:
            set_isa(name)
        except ValueError as error:
            raise ImportError(f"CHAINRULE_ISA: {error}") from None
    set_num_threads(0)


# -- status and specs ----------------------------------------------------------------------------------

cdef int _check(cr.cr_status status) except -1:
    if status == cr.CR_OK:
        return 0
    if status == cr.CR_NO_MEMORY:
        raise MemoryError("chainrule: not enough memory")
    raise ValueError(cr.cr_status_message(status).decode())


cdef int _read_loss_options(cr.cr_loss_options *options, object spec) except -1:
    options.delta, options.quantile, options.label_smoothing, options.pos_weight = spec
    return 0


cdef int _read_optimizer(cr.cr_optimizer *optimizer, object spec) except -1:
    cdef int kind = spec.kind
    if not 0 <= kind < cr.CR_N_OPTIMIZERS:
        raise ValueError(f"optimizer kind must be 0 .. {cr.CR_N_OPTIMIZERS - 1}, got {kind}")
    optimizer.kind = <cr.cr_optimizer_kind>kind
    optimizer.nesterov = bool(spec.nesterov)
    optimizer.momentum = spec.momentum
    optimizer.weight_decay = spec.weight_decay
    optimizer.beta_1 = spec.beta_1
    optimizer.beta_2 = spec.beta_2
    optimizer.epsilon = spec.epsilon
    optimizer.rho = spec.rho
    optimizer.clip_norm = spec.clip_norm
    optimizer.clip_value = spec.clip_value
    return 0


include "_core_arrays.pxi"
include "_core_kernels.pxi"
include "_core_quick.pxi"
include "_core_quick_calls.pxi"
include "_core_network.pxi"
include "_core_model.pxi"
include "_core_guard.pxi"
include "_core_api.pxi"

_start()
