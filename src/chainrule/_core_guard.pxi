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
        try:  # before the turn is given back: the next holder's NaN is not to be written over
            self._model._learning_rate_changed()
        except MemoryError:
            pass  # it stays NaN: the longer way to the same step
        finally:
            cr_busy_give(&self._model._turn)
        return False


def copy_all(list targets not None, list sources not None, Network network=None):
    """targets[i][...] = sources[i] for every i; ValueError, before anything is written, if two are not alike.

    Of arrays that belong to a network it is done between two of its steps, whichever thread takes these.
    """
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
    if network is None:
        _copy_all(targets, sources)
        return
    network._enter_to_copy()
    try:
        _copy_all(targets, sources)
    finally:
        network._leave_copy()


def snapshot(Model model not None, list arrays not None, list running not None, counters):
    """(steps, forwards, copies of `arrays`, copies of `running`) of one moment between two steps.

    Within a training pass that takes its steps in Python, the running statistics and `forwards` are those from before
    it. `counters` as for `Undo`.
    """
    cdef uint64_t steps, forwards
    cdef list copies = [], copies_running = []
    cdef Network network = counters if isinstance(counters, Network) else None
    cdef Undo undo
    for array in arrays:
        copies.append(numpy.empty(array.shape, array.dtype))
    for array in running:
        copies_running.append(numpy.empty(array.shape, array.dtype))
    if network is not None:
        network._enter_to_copy()
    try:
        _read_counters(network, None if network is not None else counters, &steps, &forwards)
        _copy_all(copies, arrays)
        undo = model._undo
        if undo is not None and undo._steps == steps:
            forwards = undo._forwards
            running = undo._before
        _copy_all(copies_running, running)
    finally:
        if network is not None:
            network._leave_copy()
    return steps, forwards, copies, copies_running


cdef int _read_counters(Network network, np.ndarray counters, uint64_t *steps, uint64_t *forwards) except -1:
    if network is not None:
        steps[0] = cr.cr_network_steps(network._c)
        forwards[0] = cr.cr_network_forwards(network._c)
    else:
        steps[0] = (<const uint64_t *>np.PyArray_DATA(counters))[0]
        forwards[0] = (<const uint64_t *>np.PyArray_DATA(counters))[1]
    return 0


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
    model : Model, optional
        Whose `snapshot` shall look behind the pass.
    """

    cdef list _arrays, _before
    cdef Model _model
    cdef Network _network
    cdef np.ndarray _counters
    cdef uint64_t _steps, _forwards

    def __init__(self, list arrays not None, counters, Model model=None):
        self._model = model
        if isinstance(counters, Network):
            self._network = counters
        else:
            self._counters = counters
        self._arrays = arrays
        self._before = []
        for array in arrays:  # no comprehension: where its append fails, Cython 3.3 frees the element twice
            self._before.append(array.copy())
        _read_counters(self._network, self._counters, &self._steps, &self._forwards)

    def __enter__(self):
        if self._model is not None:
            self._model._undo = self
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.put_back()
        if self._model is not None:
            self._model._undo = None
        return False

    def put_back(self):
        """Statistics and counters as they were, unless a step has been taken since."""
        cdef uint64_t steps, forwards
        _read_counters(self._network, self._counters, &steps, &forwards)
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
