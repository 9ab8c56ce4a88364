# _core_network.pxi - cr_network as an object. Part of _core.pyx.

cdef extern from *:
    """
    #include <stdatomic.h>
    typedef atomic_flag cr_busy_flag;
    static int cr_busy_take(cr_busy_flag *flag) { return !atomic_flag_test_and_set(flag); }
    static void cr_busy_give(cr_busy_flag *flag) { atomic_flag_clear(flag); }
    """
    ctypedef struct cr_busy_flag:
        pass
    bint cr_busy_take(cr_busy_flag *flag) noexcept nogil
    void cr_busy_give(cr_busy_flag *flag) noexcept nogil


cdef cr.cr_layer *_read_layers(list layers) except NULL:
    """The layers as an array that the caller frees."""
    cdef cr.cr_layer *array = <cr.cr_layer *>calloc(len(layers) + 1, sizeof(cr.cr_layer))
    cdef cr.cr_layer *layer = array
    cdef int kind
    if array == NULL:
        raise MemoryError("chainrule: not enough memory")
    try:
        for spec in layers:
            kind = spec.kind
            if not 0 <= kind < cr.CR_N_LAYER_KINDS:
                raise ValueError(f"layer kind must be 0 .. {cr.CR_N_LAYER_KINDS - 1}, got {kind}")
            layer.kind = <cr.cr_layer_kind>kind
            layer.n_out = spec.n_out
            layer.use_bias = bool(spec.use_bias)
            layer.activation = spec.activation
            layer.alpha = spec.alpha
            layer.l1 = spec.l1
            layer.l2 = spec.l2
            layer.rate = spec.rate
            layer.epsilon = spec.epsilon
            layer.momentum = spec.momentum
            layer += 1
    except BaseException:
        free(array)
        raise
    return array


cdef int _measure(size_t n_in, list layers, const cr.cr_layer *array, cr.cr_network_sizes *sizes) except -1:
    if cr.cr_network_measure(n_in, len(layers), array, sizes) != cr.CR_OK:
        raise ValueError(f"not a sound network: {n_in} inputs, layers {layers}")
    return 0


def measure(size_t n_in, list layers not None):
    """(n_parameters, n_running, n_out) of a network of these LayerSpecs."""
    cdef cr.cr_network_sizes sizes
    cdef cr.cr_layer *array = _read_layers(layers)
    try:
        _measure(n_in, layers, array, &sizes)
    finally:
        free(array)
    return sizes.n_parameters, sizes.n_running, sizes.n_out


# Seconds between two looks at whether another thread is done.
cdef double PAUSE = 1e-4

# How often this process was forked from another.
cdef int forks = 0


def _count_fork():
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


cdef bint _all_weights_sound(const Vector *weight, int dtype) noexcept:
    """Whether every sample weight is 0 or a positive normal number, and so is the sum; see `_arrays.sample_weights`."""
    cdef size_t i
    cdef double w, total = 0.0
    cdef double least = FLT_MIN if dtype == np.NPY_FLOAT32 else DBL_MIN
    for i in range(weight.n):
        w = weight.f32[i] if dtype == np.NPY_FLOAT32 else weight.f64[i]
        if w != 0.0 and not least <= w < INFINITY:
            return False
        total += w
    return total < INFINITY


cdef inline bint _overlap(const Matrix *a, const Matrix *b, size_t item) noexcept:
    """Whether the address ranges of two matrices meet; strict, so interleaved views count as well."""
    if a.n_rows == 0 or b.n_rows == 0:
        return False
    cdef size_t start_a = <size_t>a.data, end_a = start_a + ((a.n_rows - 1) * a.ld + a.n_cols) * item
    cdef size_t start_b = <size_t>b.data, end_b = start_b + ((b.n_rows - 1) * b.ld + b.n_cols) * item
    return start_a < end_b and start_b < end_a


@cython.final
cdef class Network:
    """A cr_network over the caller's flat arrays, which it keeps alive.

    `predict` and `penalty`, of which evaluations are made, may run in several threads at once. Everything that writes to
    the network's work arrays or parameters takes a flag first, and is refused with RuntimeError while another thread
    holds it.
    """

    cdef cr.cr_network *_c
    cdef cr_busy_flag _busy
    cdef dict _waiters         # threads that want the flag between two steps, to copy: ident -> how often
    cdef bint _copying         # one of them has it
    cdef int _forks            # `forks` when the flag was last looked at
    cdef bint _orphaned        # a thread that this process has not, because it was forked, has the flag
    cdef int _dtype            # NPY_FLOAT32 or NPY_FLOAT64
    cdef readonly Py_ssize_t n_in
    cdef readonly Py_ssize_t n_out
    cdef size_t _n_parameters
    cdef double _row_work      # multiply-adds of one row's forward, about
    cdef bint _has_loss, _has_optimizer, _takes_labels
    cdef double _least, _greatest  # targets that the loss is defined for, if they are not labels: of |t| with _of_size
    cdef int _of_size
    cdef Matrix _parameters    # as one row, for the overlap check
    cdef Matrix _running
    cdef tuple _arrays         # kept alive: what the C side points to
    cdef tuple _states
    cdef object _x             # borrowed by forward until the next one
    cdef np.ndarray _labels    # int32 copies of wider labels
    cdef object _checked       # (y, order) that the last fit call found sound

    def __cinit__(self, size_t n_in, list layers not None, np.ndarray parameters not None,
                  np.ndarray gradients not None, np.ndarray running, uint64_t seed):
        cdef cr.cr_network_sizes sizes
        cdef cr.cr_network_arrays arrays
        cdef Vector p, g, r
        cdef int dtype = _real("parameters", parameters)
        cdef cr.cr_layer *array = _read_layers(layers)
        try:
            _measure(n_in, layers, array, &sizes)
            _vector(&p, "parameters", parameters, dtype, WRITE)
            _vector(&g, "gradients", gradients, dtype, WRITE)
            _vector(&r, "running", running, dtype, WRITE)
            _length("parameters", &p, sizes.n_parameters)
            _length("gradients", &g, sizes.n_parameters)
            _length("running", &r, sizes.n_running)
            if running is None and sizes.n_running > 0:
                raise ValueError(f"running must have shape ({sizes.n_running},), got None")
            arrays.parameters = p.data
            arrays.gradients = g.data
            arrays.running = r.data
            _check(cr.cr_network_create(cr.CR_F32 if dtype == np.NPY_FLOAT32 else cr.CR_F64, n_in,
                                        len(layers), array, &arrays, seed, &self._c))
        finally:
            free(array)
        self._dtype = dtype
        self.n_in = n_in
        self.n_out = sizes.n_out
        self._n_parameters = sizes.n_parameters
        self._row_work = <double>sizes.n_parameters + 20.0 * sizes.n_out
        self._parameters.n_rows = 1
        self._parameters.n_cols = self._parameters.ld = p.n
        self._parameters.data = p.data
        self._running.n_rows = 1 if r.n > 0 else 0
        self._running.n_cols = self._running.ld = r.n
        self._running.data = r.data
        self._arrays = (parameters, gradients, running)
        self._waiters = {}
        self._forks = forks
        cr_busy_give(&self._busy)

    def __dealloc__(self):
        cr.cr_network_destroy(self._c)

    def __reduce__(self):
        raise TypeError("a Network cannot be pickled; the model that owns it can")

    cdef int _look_for_forks(self) except -1:
        """In the child of a fork: nobody waits, and who has the flag will not give it back."""
        if self._forks != forks:
            self._forks = forks
            self._waiters.clear()
            self._copying = False
            self._orphaned = not cr_busy_take(&self._busy)
            if not self._orphaned:
                cr_busy_give(&self._busy)
        return 0

    cdef int _enter(self) except -1:
        self._look_for_forks()
        while not cr_busy_take(&self._busy):
            if not self._copying:
                raise RuntimeError("this model is already training in another thread")
        return 0

    cdef int _enter_to_copy(self) except -1:
        """Take the flag between two steps, waiting for the end of one that another thread takes."""
        self._look_for_forks()
        if self._orphaned:
            raise RuntimeError("this process was forked while another thread of its parent trained this model")
        if not cr_busy_take(&self._busy):
            me = PyThread_get_thread_ident()
            self._waiters[me] = self._waiters.get(me, 0) + 1
            try:
                while not cr_busy_take(&self._busy):
                    time.sleep(PAUSE)
            finally:
                left = self._waiters.pop(me) - 1
                if left:  # a signal handler waited within another wait of this thread
                    self._waiters[me] = left
        self._copying = True
        return 0

    cdef void _leave_copy(self) noexcept:
        self._copying = False
        cr_busy_give(&self._busy)

    cdef int _let_others_in(self) except -1:
        """Before a step, or a part of one: leave the flag to the other threads that wait for it, for some moments. They
        only copy."""
        cdef int i
        self._look_for_forks()
        for i in range(100):
            if not self._waiters:
                break
            if len(self._waiters) == 1 and PyThread_get_thread_ident() in self._waiters:
                break  # a signal handler, within a wait of its own thread
            time.sleep(PAUSE)
        return 0

    # -- settings --

    cdef int _set_loss(self, int kind, const cr.cr_loss_options *options) except -1:
        _check(cr.cr_network_set_loss(self._c, <cr.cr_loss>kind, options))
        self._takes_labels = cr.cr_loss_takes_labels(kind)
        cr.cr_loss_target_range(kind, &self._least, &self._greatest, &self._of_size)
        self._has_loss = True
        self._checked = None
        return 0

    def compile(self, kind, options, optimizer, np.ndarray state_0, np.ndarray state_1, list changes not None):
        """Loss (unless `kind` is None), optimizer and no steps, with `changes` as in `set_all`: all or nothing."""
        cdef cr.cr_loss_options c_options
        cdef cr.cr_optimizer c_optimizer
        cdef Vector s0, s1
        cdef int c_kind = -1 if kind is None else kind
        cdef tuple states = (state_0, state_1)
        if kind is not None:
            _read_loss_options(&c_options, options)
        _read_optimizer(&c_optimizer, optimizer)
        _vector(&s0, "state_0", state_0, self._dtype, WRITE)
        _vector(&s1, "state_1", state_1, self._dtype, WRITE)
        _length("state_0", &s0, self._n_parameters)
        _length("state_1", &s1, self._n_parameters)
        _require_states(&c_optimizer, &s0, &s1)
        self._enter()
        try:
            if kind is not None:
                self._set_loss(c_kind, &c_options)
            _check(cr.cr_network_set_optimizer(self._c, &c_optimizer, s0.data, s1.data))
            self._states = states
            self._has_optimizer = True
            cr.cr_network_set_counters(self._c, 0, cr.cr_network_forwards(self._c))
            _set_all(changes)
        finally:
            cr_busy_give(&self._busy)

    @property
    def n_parameters(self):
        """How many numbers the parameters are."""
        return self._n_parameters

    @property
    def steps(self):
        """Optimizer steps taken."""
        return cr.cr_network_steps(self._c)

    @property
    def forwards(self):
        """Training forwards made; keys the dropout masks."""
        return cr.cr_network_forwards(self._c)

    def set_counters(self, uint64_t steps, uint64_t forwards):
        """Continue a saved run."""
        if steps > INT64_MAX or forwards > INT64_MAX:
            raise ValueError(f"steps and forwards must be at most 2**63 - 1, got {steps} and {forwards}")
        self._enter()
        cr.cr_network_set_counters(self._c, steps, forwards)
        cr_busy_give(&self._busy)

    # -- forward, backward, update --

    cdef int _predict(self, const Matrix *x, const Matrix *y) except -1:
        cdef PyThreadState *state = _unlock(x.n_rows * self._row_work)
        cdef cr.cr_status status = cr.cr_network_predict(self._c, x.n_rows, x.data, x.ld, y.data, y.ld)
        _lock(state)
        return _check(status)

    def predict(self, np.ndarray x not None, np.ndarray out not None):
        """out = network(x) as at inference; safe from several threads at once."""
        cdef Matrix a, y
        _matrix(&a, "x", x, self._dtype, READ)
        _matrix(&y, "out", out, self._dtype, WRITE)
        _shape("x", &a, a.n_rows, self.n_in)
        _shape("out", &y, a.n_rows, self.n_out)
        self._predict(&a, &y)

    def forward(self, np.ndarray x not None, bint training, np.ndarray out not None):
        """out = network(x), keeping what backward needs; x stays borrowed until the next forward."""
        cdef Matrix a, y
        cdef cr.cr_status status
        cdef PyThreadState *state
        _matrix(&a, "x", x, self._dtype, READ)
        _matrix(&y, "out", out, self._dtype, WRITE)
        _shape("x", &a, a.n_rows, self.n_in)
        _shape("out", &y, a.n_rows, self.n_out)
        self._let_others_in()
        self._enter()
        state = _unlock(a.n_rows * self._row_work)
        status = cr.cr_network_forward(self._c, a.n_rows, a.data, a.ld, training, y.data, y.ld)
        _lock(state)
        if status == cr.CR_OK:
            self._x = x
        cr_busy_give(&self._busy)
        self._check_step(status)

    def backward(self, np.ndarray dy not None, np.ndarray out):
        """Write the gradients of the last forward, and dx to `out` unless it is None."""
        cdef Matrix d, dx
        cdef cr.cr_status status
        cdef PyThreadState *state
        _matrix(&d, "dy", dy, self._dtype, READ)
        _matrix(&dx, "out", out, self._dtype, WRITE)
        _shape("dy", &d, d.n_rows, self.n_out)
        _shape("out", &dx, d.n_rows, self.n_in)
        self._let_others_in()
        self._enter()
        state = _unlock(2.0 * d.n_rows * self._row_work)
        status = cr.cr_network_backward(self._c, d.n_rows, d.data, d.ld, dx.data, dx.ld)
        _lock(state)
        cr_busy_give(&self._busy)
        if status == cr.CR_BAD_ARGUMENT:
            raise RuntimeError(f"backward needs a forward of {d.n_rows} rows before it, with no training between")
        _check(status)

    def update(self, double learning_rate):
        """Add penalty gradients, clip, and apply the optimizer with the gradients as they stand."""
        cdef cr.cr_status status
        cdef PyThreadState *state
        self._require_compiled(True)
        self._let_others_in()
        self._enter()
        state = _unlock(4.0 * self._n_parameters)
        status = cr.cr_network_update(self._c, learning_rate)
        _lock(state)
        cr_busy_give(&self._busy)
        self._check_step(status)

    def penalty(self):
        """Sum of the penalties l1 sum|w| + l2 sum w^2; safe from several threads at once, as predict is."""
        cdef PyThreadState *state = _unlock(<double>self._n_parameters)
        cdef double penalty = cr.cr_network_penalty(self._c)
        _lock(state)
        return penalty

    # -- training --

    cdef int _require_compiled(self, bint optimizer) except -1:
        if optimizer and not self._has_optimizer:
            raise RuntimeError("this network has no optimizer yet; call compile first")
        if not optimizer and not self._has_loss:
            raise RuntimeError("this network has no loss yet; call compile first")
        return 0

    cdef bint _as_rows(self, np.ndarray x, np.ndarray y, np.ndarray weight, cr.cr_rows *rows) noexcept:
        """Fill rows if the arrays are as C wants them. Labels that C cannot read in place leave both
        rows.target and rows.labels NULL: `_copy_labels` sees to them."""
        cdef Matrix a
        cdef Vector w
        cdef int kind
        if not _as_matrix(x, self._dtype, READ, &a) or a.n_cols != <size_t>self.n_in:
            return False
        rows.n_rows = a.n_rows
        rows.x = a.data
        rows.ld_x = a.ld
        rows.target = rows.labels = rows.weight = NULL
        rows.ld_target = 0
        if np.PyArray_NDIM(y) == 2:
            if (not _as_matrix(y, self._dtype, READ, &a) or a.n_rows != rows.n_rows
                    or a.n_cols != <size_t>self.n_out):
                return False
            rows.target = a.data
            rows.ld_target = a.ld
        elif np.PyArray_NDIM(y) != 1 or <size_t>np.PyArray_DIMS(y)[0] != rows.n_rows:
            return False
        elif np.PyArray_TYPE(y) == self._dtype:
            # (n,) stands for (n, 1).
            if self.n_out != 1 or not _is_plain(y, self._dtype, READ) or not np.PyArray_IS_C_CONTIGUOUS(y):
                return False
            rows.target = np.PyArray_DATA(y)
            rows.ld_target = 1
        else:
            kind = np.PyArray_TYPE(y)
            if (not self._takes_labels or not np.PyTypeNum_ISSIGNED(kind)
                    or not (np.PyArray_ITEMSIZE(y) == 4 or np.PyArray_ITEMSIZE(y) == 8)
                    or not _is_plain(y, kind, READ)):
                return False
            if np.PyArray_ITEMSIZE(y) == 4 and np.PyArray_IS_C_CONTIGUOUS(y):
                rows.labels = <const int32_t *>np.PyArray_DATA(y)
        if weight is not None:
            if not _as_vector(weight, self._dtype, READ, &w) or w.n != rows.n_rows:
                return False
            if not _all_weights_sound(&w, self._dtype):
                return False
            rows.weight = w.data
        return True

    cdef bint _trainable(self, const cr.cr_rows *rows) noexcept:
        """Whether there are rows, some of them with a weight, with targets that the loss is defined for."""
        cdef double t
        cdef size_t i, j
        cdef bint weighted = rows.weight == NULL
        for i in range(rows.n_rows):
            if weighted:
                break
            weighted = (((<const float *>rows.weight)[i] if self._dtype == np.NPY_FLOAT32 else
                         (<const double *>rows.weight)[i]) > 0.0)
        if rows.n_rows == 0 or not weighted:
            return False
        if rows.target == NULL or self._least == -INFINITY:
            return True
        for i in range(rows.n_rows):
            for j in range(i * rows.ld_target, i * rows.ld_target + <size_t>self.n_out):
                t = ((<const float *>rows.target)[j] if self._dtype == np.NPY_FLOAT32 else
                     (<const double *>rows.target)[j])
                if self._of_size:
                    t = fabs(t)
                if not self._least <= t <= self._greatest:
                    return False
        return True

    cdef int _read_rows(self, np.ndarray x, np.ndarray y, np.ndarray weight, cr.cr_rows *rows) except -1:
        """`_as_rows`, or the exception that says why not."""
        cdef Matrix a
        cdef Vector v
        if self._as_rows(x, y, weight, rows):
            return 0
        _matrix(&a, "x", x, self._dtype, READ)
        _shape("x", &a, a.n_rows, self.n_in)
        if weight is not None:
            _vector(&v, "weight", weight, self._dtype, READ)
            _length("weight", &v, a.n_rows)
            if not _all_weights_sound(&v, self._dtype):
                raise ValueError("weight must hold finite numbers of at least 0, none of them subnormal")
        if self._takes_labels and y.ndim == 1 and self.n_out != 1:
            if (<object>y).dtype not in (numpy.int32, numpy.int64):
                raise TypeError(f"y must have dtype int32 or int64 (class labels), got {(<object>y).dtype}")
            raise ValueError(f"y must have shape ({a.n_rows},), got {(<object>y).shape}")
        if (<object>y).shape != (a.n_rows, self.n_out):
            raise ValueError(f"y must have shape ({a.n_rows}, {self.n_out}), got {(<object>y).shape}")
        raise _refusal("y", y, self._dtype, 2, READ)

    cdef int _copy_labels(self, np.ndarray y, cr.cr_rows *rows) except -1:
        """Bring labels to contiguous int32, in an array that stays. Call with the flag taken."""
        cdef size_t n = rows.n_rows, i
        cdef const char *source = <const char *>np.PyArray_DATA(y)
        cdef np.npy_intp stride = np.PyArray_STRIDES(y)[0]
        cdef bint wide = np.PyArray_ITEMSIZE(y) == 8
        cdef int64_t label
        cdef int32_t *copy
        if self._labels is None or <size_t>np.PyArray_SIZE(self._labels) < n:
            self._labels = numpy.empty(n, numpy.int32)
        copy = <int32_t *>np.PyArray_DATA(self._labels)
        for i in range(n):
            label = (<const int64_t *>source)[0] if wide else (<const int32_t *>source)[0]
            copy[i] = <int32_t>label if 0 <= label <= INT32_MAX else -1  # -1: refused as a label
            source += stride
        rows.labels = copy
        return 0

    cdef int _check_rows(self, cr.cr_status status, np.ndarray y, const cr.cr_rows *rows) except -1:
        """Raise for a status; a bad label or target is named."""
        cdef size_t row = 0
        if status == cr.CR_BAD_LABEL:
            cr.cr_network_check_rows(self._c, rows, &row)
            _raise_bad_label("y", y, row, self.n_out)
        if status == cr.CR_BAD_TARGET:
            _raise_bad_target("y", y)
        return self._check_step(status)

    cdef int _check_step(self, cr.cr_status status) except -1:
        """Raise for the status of what counts on: all arguments have been looked at, so a bad one is a full counter."""
        if status == cr.CR_BAD_ARGUMENT:
            raise RuntimeError("this model has been trained for 2**63 - 1 steps, the most that it counts")
        return _check(status)

    cdef double _train_step(self, cr.cr_rows *rows, np.ndarray y, double learning_rate) except? -1.0:
        cdef cr.cr_status status
        cdef PyThreadState *state
        cdef double loss = 0.0
        self._let_others_in()
        self._enter()
        try:
            if rows.target == NULL and rows.labels == NULL:
                self._copy_labels(y, rows)
            state = _unlock(3.0 * rows.n_rows * self._row_work)
            status = cr.cr_network_train_step(self._c, rows, learning_rate, &loss)
            _lock(state)
            if status != cr.CR_OK:
                self._check_rows(status, y, rows)
            self._x = None  # only now: a refused step leaves backward what it needs
        finally:
            cr_busy_give(&self._busy)
        return loss

    def train_step(self, np.ndarray x not None, np.ndarray y not None, np.ndarray weight,
                   double learning_rate):
        """One step on one batch; the loss before the update, penalties included."""
        cdef cr.cr_rows rows
        self._require_compiled(False)
        self._require_compiled(True)
        self._read_rows(x, y, weight, &rows)
        return self._train_step(&rows, y, learning_rate)

    def fit(self, np.ndarray x not None, np.ndarray y not None, np.ndarray weight, np.ndarray order,
            size_t batch_size, np.ndarray learning_rate not None, size_t first_step, double seconds,
            np.ndarray step_loss not None):
        """Steps first_step .. of an epoch until it ends or `seconds` are over; the step to go on with."""
        cdef cr.cr_rows rows
        cdef Vector index, rate, losses
        cdef cr.cr_status status
        cdef PyThreadState *state
        cdef size_t n_order, n_steps, next_step = 0
        cdef bint known
        self._require_compiled(False)
        self._require_compiled(True)
        self._read_rows(x, y, weight, &rows)
        _vector(&index, "order", order, np.NPY_INT64, READ)
        _vector(&rate, "learning_rate", learning_rate, np.NPY_FLOAT64, READ)
        _vector(&losses, "step_loss", step_loss, np.NPY_FLOAT64, WRITE)
        _length("order", &index, rows.n_rows)
        if batch_size == 0:
            raise ValueError("batch_size must be at least 1, got 0")
        n_steps = rows.n_rows // batch_size + (rows.n_rows % batch_size != 0)
        _length("step_loss", &losses, n_steps)
        if rate.n != 1:
            _length("learning_rate", &rate, n_steps)
        if first_step > n_steps:
            raise ValueError(f"first_step is {first_step}, but the epoch has {n_steps} steps")
        self._let_others_in()
        self._enter()
        try:
            if rows.target == NULL and rows.labels == NULL:
                self._copy_labels(y, &rows)
            # Rows and the order are looked through once an epoch.
            known = (first_step > 0 and self._checked is not None and self._checked[0] is y
                     and self._checked[1] is order)
            if not known:
                self._check_rows(cr.cr_network_check_rows(self._c, &rows, &next_step), y, &rows)
                if order is not None:
                    _check_order(&index, rows.n_rows)
            self._checked = (y, order)
            state = _unlock(UNLOCK_WORK + 1.0)
            status = cr.cr_network_fit(self._c, &rows, <const int64_t *>index.data, batch_size, rate.f64,
                                       rate.n, first_step, seconds, losses.f64, &next_step)
            _lock(state)
            if next_step > first_step:
                self._x = None
        finally:
            cr_busy_give(&self._busy)
        self._check_step(status)
        if next_step == n_steps:
            self._checked = None
        return next_step


cdef int _check_order(const Vector *order, size_t n_rows) except -1:
    cdef const int64_t *index = <const int64_t *>order.data
    cdef size_t i
    for i in range(order.n):
        if index[i] < 0 or <size_t>index[i] >= n_rows:
            raise ValueError(f"order[{i}] is {index[i]}, expected a row from 0 to {<int64_t>n_rows - 1}")
    return 0
