# _core_guard.pxi - changes to a model that are whole or have not happened, and the floating-point mode that Python's
# and NumPy's share of the arithmetic runs in. Part of _core.pyx.
#
# Python looks for signals (Ctrl-C) only while it runs bytecode, so what one call of these does cannot be cut in two;
# nor can it run out of memory halfway, because it allocates nothing once it has begun to write.


@cython.final
cdef class Turn:
    """The right to change a model, for a `with` block: one holder at a time, RuntimeError for a second.

    A lock taken in Python could be lost to a signal between taking it and the `try`.
    """

    cdef Model _model
    cdef str _what

    def __init__(self, Model model not None, str what not None):
        self._model, self._what = model, what

    def __enter__(self):
        if not cr_busy_take(&self._model._turn):
            raise RuntimeError(f"{self._what}: this model is already training, in another thread or around this call")
        self._model._held = True
        self._model._learning_rate = NAN
        return self

    def __exit__(self, kind, value, traceback):
        self._model._held = False
        cr_busy_give(&self._model._turn)
        try:
            self._model._learning_rate_changed()
        except MemoryError:
            pass  # it stays NaN: the longer way to the same step
        return False


def copy_all(list targets not None, list sources not None):
    """targets[i][...] = sources[i] for every i; ValueError, before anything is written, if two are not alike."""
    cdef Py_ssize_t i, n = len(targets)
    cdef np.ndarray target, source
    if len(sources) != n:
        raise ValueError(f"{n} targets but {len(sources)} sources")
    for i in range(n):
        target, source = targets[i], sources[i]
        if not np.PyArray_ISWRITEABLE(target):
            raise ValueError(f"array {i} is read-only")
        if (<object>target).dtype != (<object>source).dtype or (<object>target).shape != (<object>source).shape:
            raise ValueError(
                f"array {i} is {(<object>target).dtype} of shape {(<object>target).shape}, its source is"
                f" {(<object>source).dtype} of {(<object>source).shape}"
            )
    _copy_all(targets, sources)


def set_all(list changes not None):
    """object.name = value for every (object, name, value); the attributes are plain ones, and exist."""
    _set_all(changes)


cdef int _set_all(list changes) except -1:
    for thing, name, value in changes:
        setattr(thing, name, value)
    return 0


cdef int _copy_all(list targets, list sources) except -1:
    cdef Py_ssize_t i
    cdef np.ndarray target, source
    for i in range(len(targets)):
        target, source = targets[i], sources[i]
        if np.PyArray_IS_C_CONTIGUOUS(target) and np.PyArray_IS_C_CONTIGUOUS(source):
            memcpy(np.PyArray_DATA(target), np.PyArray_DATA(source), <size_t>np.PyArray_NBYTES(target))
        else:
            np.PyArray_CopyInto(target, source)
    return 0


@cython.final
cdef class Undo:
    """What a training pass changes before its update, for a `with` block: put back if the block raises.

    Once the model has taken its next step there is nothing to put back any more.

    Parameters
    ----------
    arrays : list of ndarray
        The running statistics; copied here.
    counters : Network or uint64 array (steps, forwards)
    """

    cdef list _arrays, _before
    cdef Network _network
    cdef np.ndarray _counters
    cdef uint64_t _steps, _forwards

    def __init__(self, list arrays not None, counters):
        if isinstance(counters, Network):
            self._network = counters
        else:
            self._counters = counters
        self._arrays = arrays
        self._before = []
        for array in arrays:  # no comprehension: where its append fails, Cython 3.3 frees the element twice
            self._before.append(array.copy())
        self._read(&self._steps, &self._forwards)

    cdef void _read(self, uint64_t *steps, uint64_t *forwards) noexcept:
        if self._network is not None:
            steps[0] = cr.cr_network_steps(self._network._c)
            forwards[0] = cr.cr_network_forwards(self._network._c)
        else:
            steps[0] = (<const uint64_t *>np.PyArray_DATA(self._counters))[0]
            forwards[0] = (<const uint64_t *>np.PyArray_DATA(self._counters))[1]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.put_back()
        return False

    def put_back(self):
        """Statistics and counters as they were, unless a step has been taken since."""
        cdef uint64_t steps, forwards
        self._read(&steps, &forwards)
        if steps != self._steps:
            return
        _copy_all(self._arrays, self._before)
        if self._network is not None:
            cr.cr_network_set_counters(self._network._c, self._steps, self._forwards)
        else:
            (<uint64_t *>np.PyArray_DATA(self._counters))[1] = self._forwards


cdef extern from "cpu.h" nogil:
    ctypedef unsigned long long cr_fp_mode  # whatever it is there: it is only kept and handed back
    cr_fp_mode cr_fp_enter()
    void cr_fp_leave(cr_fp_mode mode)


@cython.final
cdef class StandardMode:
    """Round to nearest and keep subnormals, for a `with` block; after it, the thread's mode is what it was before.

    The C functions see to this themselves. This is for what Python and NumPy compute around them: conversions, initial
    weights, learning rates, the mean loss of an epoch, layers and losses written in Python.
    """

    cdef cr_fp_mode _mode

    def __enter__(self):
        self._mode = cr_fp_enter()
        return self

    def __exit__(self, kind, value, traceback):
        cr_fp_leave(self._mode)
        return False
