# _core_quick_calls.pxi - losses, optimizer steps and products the shortest way. Part of _core.pyx; see
# _core_quick.pxi for what counts as plain and what "the door has to look" means.

# -- losses --------------------------------------------------------------------------------------------------

cdef bint _quick_target_values(int kind, np.ndarray target, int dtype, bint seen) noexcept:
    """Whether real targets are all what this loss is defined for. NaN alone is left to the loss where it is seen in
    time: before it has written over anything that a caller knows."""
    cdef double least, greatest
    cdef int of_size
    cr.cr_loss_target_range(kind, &least, &greatest, &of_size)
    return (seen and least == -INFINITY) or _all_within(target, dtype, of_size != 0, least, greatest)


cdef object _quick_class_labels(np.ndarray target, int64_t n_classes):
    """int32 labels from a contiguous int32 or int64 array if all are classes; else None."""
    if not quick_labels(target, n_classes):
        return None
    if np.PyArray_EquivTypenums(np.PyArray_TYPE(target), np.NPY_INT32):
        return target
    cdef size_t i, n = np.PyArray_SIZE(target)
    narrow = np.PyArray_EMPTY(np.PyArray_NDIM(target), np.PyArray_DIMS(target), np.NPY_INT32, False)
    cdef const int64_t *source = <const int64_t *>np.PyArray_DATA(target)
    cdef int32_t *labels = <int32_t *>np.PyArray_DATA(<np.ndarray>narrow)
    for i in range(n):
        labels[i] = <int32_t>source[i]
    return narrow


cdef bint _quick_one_each(target, int dtype, size_t n_rows, size_t n_out) noexcept:
    """Whether target is (n_rows,) or (n_rows, 1) where there is one output: the same thing."""
    return (n_out == 1 and _quick_dtype(target) == dtype and np.PyArray_NDIM(<np.ndarray>target) <= 2
            and <size_t>np.PyArray_DIMS(<np.ndarray>target)[0] == n_rows
            and <size_t>np.PyArray_SIZE(<np.ndarray>target) == n_rows)


def quick_loss(int kind, options, bint mean, prediction, target, out):
    """(loss, gradient) of plain arrays without row weights; None if the door has to look."""
    cdef int dtype = _quick_dtype(prediction)
    if dtype < 0 or np.PyArray_NDIM(<np.ndarray>prediction) > 2 or not np.PyArray_CheckExact(target):
        return None
    cdef np.ndarray p = <np.ndarray>prediction
    cdef size_t n_rows = np.PyArray_DIMS(p)[0]
    cdef size_t n_out = np.PyArray_SIZE(p) // n_rows
    cdef const void *t = NULL
    cdef const int32_t *labels = NULL
    cdef cr.cr_loss_options c_options
    cdef double value = 0.0
    cdef cr.cr_status status
    if _quick_like(p, target, dtype) or _quick_one_each(target, dtype, n_rows, n_out):
        if not _quick_target_values(kind, <np.ndarray>target, dtype, out is None or out is prediction):
            return None
        t = np.PyArray_DATA(<np.ndarray>target)
    else:
        if (not cr.cr_loss_takes_labels(<cr.cr_loss>kind) or np.PyArray_NDIM(<np.ndarray>target) != 1
                or <size_t>np.PyArray_SIZE(<np.ndarray>target) != n_rows):
            return None
        target = _quick_class_labels(<np.ndarray>target, n_out)
        if target is None:
            return None
        labels = <const int32_t *>np.PyArray_DATA(<np.ndarray>target)
    grad = _quick_out(p, out, dtype)
    if grad is None or not _quick_apart(<np.ndarray>grad, <np.ndarray>target, False):
        return None
    _read_loss_options(&c_options, options)
    if not _quick_held(c_options.delta, dtype) or not _quick_held(c_options.pos_weight, dtype):
        return None
    cdef void *a = np.PyArray_DATA(p)
    cdef void *g = np.PyArray_DATA(<np.ndarray>grad)
    cdef PyThreadState *state = _unlock(20.0 * n_rows * n_out)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_loss_f32(<cr.cr_loss>kind, &c_options, mean, n_rows, n_out, <float *>a, n_out,
                                <const float *>t, n_out, labels, NULL, <float *>g, n_out, &value)
    else:
        status = cr.cr_loss_f64(<cr.cr_loss>kind, &c_options, mean, n_rows, n_out, <double *>a, n_out,
                                <const double *>t, n_out, labels, NULL, <double *>g, n_out, &value)
    _lock(state)
    return (value, grad) if status == cr.CR_OK else None


# -- optimizer steps -----------------------------------------------------------------------------------------

cdef bint _quick_number(value, double least, double below, double *number) noexcept:
    """Whether value is a plain Python float with least <= value < below; *number is it."""
    if not type(value) is float:
        return False
    number[0] = value
    return least <= number[0] < below


cdef bint _quick_written(np.ndarray param, state, int dtype) noexcept:
    """Whether a state may be written beside param."""
    return (_quick_like(param, state, dtype) and np.PyArray_ISWRITEABLE(<np.ndarray>state)
            and _quick_apart(param, <np.ndarray>state, False))


def quick_update(int kind, step, rate, decay, first, second, epsilon, bint nesterov,
                 param, grad, state_0, state_1):
    """One optimizer step on plain arrays, with settings that are plain floats in their range: True; else nothing
    has been done, and the door has to look.

    first: momentum, rho or beta_1; second: beta_2. A state that the optimizer does not have is None.
    """
    cdef cr.cr_optimizer optimizer
    cdef double learning_rate, a, b
    cdef int dtype = _quick_dtype(param)
    cdef int64_t count
    if not type(step) is int or not 1 <= step <= INT64_MAX:
        return False
    count = step
    if dtype < 0 or not _quick_like(<np.ndarray>param, grad, dtype) or not np.PyArray_ISWRITEABLE(<np.ndarray>param):
        return False
    if not _quick_apart(<np.ndarray>param, <np.ndarray>grad, False):
        return False
    memset(&optimizer, 0, sizeof(optimizer))
    if (not _quick_number(rate, 0.0, INFINITY, &learning_rate)
            or not _quick_number(decay, 0.0, INFINITY, &optimizer.weight_decay)
            or not _quick_number(first, 0.0, 1.0, &a) or not _quick_number(second, 0.0, 1.0, &b)
            or not _quick_number(epsilon, 0.0, INFINITY, &optimizer.epsilon)
            or not _quick_held(optimizer.epsilon, dtype) or not _quick_held(optimizer.weight_decay, dtype)):
        return False
    optimizer.kind = <cr.cr_optimizer_kind>kind
    optimizer.nesterov = nesterov
    optimizer.momentum = a
    optimizer.rho = a
    optimizer.beta_1 = a
    optimizer.beta_2 = b
    cdef int n_states = cr.cr_optimizer_n_states(&optimizer)
    if (n_states > 0) != (state_0 is not None) or (n_states > 1) != (state_1 is not None) or (nesterov and a == 0.0):
        return False
    cdef void *s0 = NULL
    cdef void *s1 = NULL
    if n_states > 0:
        if (not _quick_written(<np.ndarray>param, state_0, dtype)
                or not _quick_apart(<np.ndarray>state_0, <np.ndarray>grad, False)):
            return False
        s0 = np.PyArray_DATA(<np.ndarray>state_0)
    if n_states > 1:
        if (not _quick_written(<np.ndarray>param, state_1, dtype)
                or not _quick_apart(<np.ndarray>state_1, <np.ndarray>grad, False)
                or not _quick_apart(<np.ndarray>state_0, <np.ndarray>state_1, False)):
            return False
        s1 = np.PyArray_DATA(<np.ndarray>state_1)
    cdef cr.cr_status status
    cdef size_t n = np.PyArray_SIZE(<np.ndarray>param)
    cdef void *w = np.PyArray_DATA(<np.ndarray>param)
    cdef void *g = np.PyArray_DATA(<np.ndarray>grad)
    cdef PyThreadState *state = _unlock(4.0 * n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_optimizer_update_f32(&optimizer, count, learning_rate, n, <float *>w, <float *>g, <float *>s0,
                                            <float *>s1)
    else:
        status = cr.cr_optimizer_update_f64(&optimizer, count, learning_rate, n, <double *>w, <double *>g,
                                            <double *>s0, <double *>s1)
    _lock(state)
    _check(status)
    return True


# -- products ------------------------------------------------------------------------------------------------

cdef inline bint _quick_matrix(a, int dtype) noexcept:
    """Whether `a` is a plain matrix of this dtype."""
    return _quick_dtype(a) == dtype and np.PyArray_NDIM(<np.ndarray>a) == 2


cdef object _quick_result(out, int dtype, np.npy_intp n_rows, np.npy_intp n_cols, np.ndarray a, np.ndarray b):
    """The (n_rows, n_cols) matrix to write to, apart from a and b: new if out is None; None if out will not do."""
    cdef np.npy_intp[2] shape
    if out is None:
        shape[0] = n_rows
        shape[1] = n_cols
        return np.PyArray_EMPTY(2, shape, dtype, False)
    if (not _quick_matrix(out, dtype) or not np.PyArray_ISWRITEABLE(<np.ndarray>out)
            or np.PyArray_DIMS(<np.ndarray>out)[0] != n_rows or np.PyArray_DIMS(<np.ndarray>out)[1] != n_cols
            or not _quick_apart(<np.ndarray>out, a, False) or not _quick_apart(<np.ndarray>out, b, False)):
        return None
    return out


def quick_forward(int kind, double alpha, x, weight, bias, out):
    """activation(x weight + bias) of plain arrays; None if the door has to look."""
    cdef int dtype = _quick_dtype(x)
    if dtype < 0 or not _quick_matrix(x, dtype) or not _quick_matrix(weight, dtype):
        return None
    cdef np.npy_intp n_rows = np.PyArray_DIMS(<np.ndarray>x)[0]
    cdef np.npy_intp n_in = np.PyArray_DIMS(<np.ndarray>x)[1]
    cdef np.npy_intp n_out = np.PyArray_DIMS(<np.ndarray>weight)[1]
    if np.PyArray_DIMS(<np.ndarray>weight)[0] != n_in:
        return None
    y = _quick_result(out, dtype, n_rows, n_out, <np.ndarray>x, <np.ndarray>weight)
    if y is None:
        return None
    cdef void *b = NULL
    if bias is not None:
        if (_quick_dtype(bias) != dtype or np.PyArray_NDIM(<np.ndarray>bias) != 1
                or np.PyArray_DIMS(<np.ndarray>bias)[0] != n_out
                or not _quick_apart(<np.ndarray>y, <np.ndarray>bias, False)):
            return None
        b = np.PyArray_DATA(<np.ndarray>bias)
    cdef cr.cr_status status
    cdef void *a = np.PyArray_DATA(<np.ndarray>x)
    cdef void *w = np.PyArray_DATA(<np.ndarray>weight)
    cdef void *o = np.PyArray_DATA(<np.ndarray>y)
    cdef PyThreadState *state = _unlock(<double>n_rows * (n_in + 20) * n_out)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_forward_f32(n_rows, n_in, n_out, <float *>a, n_in, <float *>w, n_out, <float *>b, kind,
                                         alpha, NULL, 0, <float *>o, n_out)
    else:
        status = cr.cr_dense_forward_f64(n_rows, n_in, n_out, <double *>a, n_in, <double *>w, n_out, <double *>b,
                                         kind, alpha, NULL, 0, <double *>o, n_out)
    _lock(state)
    _check(status)
    return y


def quick_backward_input(int kind, double alpha, dz, weight, saved, out):
    """(dz weight^T) * f'(saved) of plain matrices, saved None for identity; None if the door has to look."""
    cdef int dtype = _quick_dtype(dz)
    if dtype < 0 or not _quick_matrix(dz, dtype) or not _quick_matrix(weight, dtype):
        return None
    cdef np.npy_intp n_rows = np.PyArray_DIMS(<np.ndarray>dz)[0]
    cdef np.npy_intp n_in = np.PyArray_DIMS(<np.ndarray>weight)[0]
    cdef np.npy_intp n_out = np.PyArray_DIMS(<np.ndarray>weight)[1]
    if np.PyArray_DIMS(<np.ndarray>dz)[1] != n_out:
        return None
    dx = _quick_result(out, dtype, n_rows, n_in, <np.ndarray>dz, <np.ndarray>weight)
    if dx is None or (saved is None) != (kind == cr.CR_IDENTITY) or cr.cr_activation_by_row(kind):
        return None
    cdef void *z = NULL
    if saved is not None:
        if not _quick_like(<np.ndarray>dx, saved, dtype) or not _quick_apart(<np.ndarray>dx, <np.ndarray>saved, True):
            return None
        z = np.PyArray_DATA(<np.ndarray>saved)
    cdef cr.cr_status status
    cdef void *d = np.PyArray_DATA(<np.ndarray>dz)
    cdef void *w = np.PyArray_DATA(<np.ndarray>weight)
    cdef void *o = np.PyArray_DATA(<np.ndarray>dx)
    cdef PyThreadState *state = _unlock(<double>n_rows * (n_out + 20) * n_in)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_backward_input_f32(n_rows, n_in, n_out, <float *>d, n_out, <float *>w, n_out,
                                                kind, alpha, <float *>z, n_in, <float *>o, n_in)
    else:
        status = cr.cr_dense_backward_input_f64(n_rows, n_in, n_out, <double *>d, n_out, <double *>w, n_out,
                                                kind, alpha, <double *>z, n_in, <double *>o, n_in)
    _lock(state)
    _check(status)
    return dx


def quick_backward_weight(x, dz, out_weight, out_bias):
    """(x^T dz, column sums of dz) of plain matrices; None if the door has to look."""
    cdef int dtype = _quick_dtype(x)
    if dtype < 0 or not _quick_matrix(x, dtype) or not _quick_matrix(dz, dtype):
        return None
    cdef np.npy_intp n_rows = np.PyArray_DIMS(<np.ndarray>x)[0]
    cdef np.npy_intp n_in = np.PyArray_DIMS(<np.ndarray>x)[1]
    cdef np.npy_intp n_out = np.PyArray_DIMS(<np.ndarray>dz)[1]
    if np.PyArray_DIMS(<np.ndarray>dz)[0] != n_rows:
        return None
    dw = _quick_result(out_weight, dtype, n_in, n_out, <np.ndarray>x, <np.ndarray>dz)
    if dw is None:
        return None
    db = out_bias
    if db is None:
        db = np.PyArray_EMPTY(1, &n_out, dtype, False)
    elif (_quick_dtype(db) != dtype or np.PyArray_NDIM(<np.ndarray>db) != 1
            or np.PyArray_DIMS(<np.ndarray>db)[0] != n_out or not np.PyArray_ISWRITEABLE(<np.ndarray>db)
            or not _quick_apart(<np.ndarray>db, <np.ndarray>x, False)
            or not _quick_apart(<np.ndarray>db, <np.ndarray>dz, False)
            or not _quick_apart(<np.ndarray>db, <np.ndarray>dw, False)):
        return None
    cdef cr.cr_status status
    cdef void *a = np.PyArray_DATA(<np.ndarray>x)
    cdef void *d = np.PyArray_DATA(<np.ndarray>dz)
    cdef void *w = np.PyArray_DATA(<np.ndarray>dw)
    cdef void *b = np.PyArray_DATA(<np.ndarray>db)
    cdef PyThreadState *state = _unlock(<double>n_rows * (n_in + 1) * n_out)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_backward_weight_f32(n_rows, n_in, n_out, <float *>a, n_in, <float *>d, n_out,
                                                 <float *>w, n_out, <float *>b)
    else:
        status = cr.cr_dense_backward_weight_f64(n_rows, n_in, n_out, <double *>a, n_in, <double *>d, n_out,
                                                 <double *>w, n_out, <double *>b)
    _lock(state)
    _check(status)
    return dw, db
