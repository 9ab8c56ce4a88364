# _core_quick.pxi - the shortest way for plain arrays. Part of _core.pyx.
#
# Elementwise work on a thousand numbers takes C some 100 ns; converting and checking in Python takes twenty
# times that. So these functions look at the commonest case themselves - NumPy arrays of one float dtype,
# C-contiguous, of one shape, apart from each other or the very same - and return None for everything else:
# the door in _arrays.py then converts, or says what is wrong.


cdef extern from *:
    """
    /* Halfway from 0 to the least float, and from the greatest to infinity. */
    #define CR_FLOAT32_START 0x1p-150
    #define CR_FLOAT32_END 0x1.ffffffp127
    """
    const double FLOAT32_START "CR_FLOAT32_START"
    const double FLOAT32_END "CR_FLOAT32_END"


cdef inline int _quick_dtype(a) noexcept:
    """The type number of a plain, non-empty, C-contiguous float array of at least one dimension; -1 for others."""
    if not np.PyArray_CheckExact(a):
        return -1
    cdef np.ndarray array = <np.ndarray>a
    cdef int dtype = np.PyArray_TYPE(array)
    if dtype != np.NPY_FLOAT32 and dtype != np.NPY_FLOAT64:
        return -1
    if not np.PyArray_CHKFLAGS(array, np.NPY_ARRAY_ALIGNED | np.NPY_ARRAY_C_CONTIGUOUS):
        return -1
    if not np.PyArray_ISNOTSWAPPED(array) or np.PyArray_NDIM(array) == 0 or np.PyArray_SIZE(array) == 0:
        return -1
    return dtype


cdef inline bint _quick_like(np.ndarray a, b, int dtype) noexcept:
    """Whether b is as plain as a, with its dtype and shape."""
    if _quick_dtype(b) != dtype or np.PyArray_NDIM(<np.ndarray>b) != np.PyArray_NDIM(a):
        return False
    cdef int i
    for i in range(np.PyArray_NDIM(a)):
        if np.PyArray_DIMS(<np.ndarray>b)[i] != np.PyArray_DIMS(a)[i]:
            return False
    return True


cdef inline bint _quick_apart(np.ndarray a, np.ndarray b, bint may_be_same) noexcept:
    """Whether two contiguous arrays do not touch, or are one and the same if they may be."""
    cdef const char *first = <const char *>np.PyArray_DATA(a)
    cdef const char *second = <const char *>np.PyArray_DATA(b)
    if first == second:
        return may_be_same and np.PyArray_NBYTES(a) == np.PyArray_NBYTES(b)
    if first < second:
        return first + np.PyArray_NBYTES(a) <= second
    return second + np.PyArray_NBYTES(b) <= first


cdef object _quick_out(np.ndarray x, out, int dtype):
    """The array to write to: new if out is None; None if out will not do without a closer look."""
    if out is None:
        return np.PyArray_EMPTY(np.PyArray_NDIM(x), np.PyArray_DIMS(x), dtype, False)
    if (not _quick_like(x, out, dtype) or not np.PyArray_ISWRITEABLE(<np.ndarray>out)
            or not _quick_apart(<np.ndarray>out, x, True)):
        return None
    return out


cdef inline bint _quick_held(double setting, int dtype) noexcept:
    """Whether a setting is 0 in dtype only if it is 0, and finite; see `_checks.require_held`."""
    return dtype == np.NPY_FLOAT64 or setting == 0.0 or FLOAT32_START < fabs(setting) < FLOAT32_END


def quick_function(int kind, x, out):
    """exp, log, expm1, log1p or erf of a plain array; None if the door has to look."""
    cdef int dtype = _quick_dtype(x)
    if dtype < 0:
        return None
    y = _quick_out(<np.ndarray>x, out, dtype)
    if y is None:
        return None
    cdef cr.cr_status status
    cdef size_t n = np.PyArray_SIZE(<np.ndarray>x)
    cdef void *a = np.PyArray_DATA(<np.ndarray>x)
    cdef void *b = np.PyArray_DATA(<np.ndarray>y)
    cdef PyThreadState *state = _unlock(20.0 * n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_function_f32(<cr.cr_function>kind, n, <float *>a, <float *>b)
    else:
        status = cr.cr_function_f64(<cr.cr_function>kind, n, <double *>a, <double *>b)
    _lock(state)
    _check(status)
    return y


def quick_activation(int kind, double alpha, x, out):
    """An activation of a plain array, along its last axis; None if the door has to look."""
    cdef int dtype = _quick_dtype(x)
    if dtype < 0 or not _quick_held(alpha, dtype):
        return None
    y = _quick_out(<np.ndarray>x, out, dtype)
    if y is None:
        return None
    cdef cr.cr_status status
    cdef size_t n = np.PyArray_DIMS(<np.ndarray>x)[np.PyArray_NDIM(<np.ndarray>x) - 1]
    cdef size_t n_rows = np.PyArray_SIZE(<np.ndarray>x) // n
    cdef void *a = np.PyArray_DATA(<np.ndarray>x)
    cdef void *b = np.PyArray_DATA(<np.ndarray>y)
    cdef PyThreadState *state = _unlock(20.0 * n_rows * n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_activation_f32(kind, alpha, n_rows, n, <float *>a, n, <float *>b, n)
    else:
        status = cr.cr_activation_f64(kind, alpha, n_rows, n, <double *>a, n, <double *>b, n)
    _lock(state)
    _check(status)
    return y


def quick_activation_backward(int kind, double alpha, dy, saved, out):
    """dy * f'(saved) for plain arrays of one shape; None if the door has to look."""
    cdef int dtype = _quick_dtype(dy)
    if dtype < 0 or not _quick_like(<np.ndarray>dy, saved, dtype) or not _quick_held(alpha, dtype):
        return None
    dx = _quick_out(<np.ndarray>dy, out, dtype)
    if dx is None or not _quick_apart(<np.ndarray>dx, <np.ndarray>saved, True):
        return None
    cdef cr.cr_status status
    cdef size_t n = np.PyArray_DIMS(<np.ndarray>dy)[np.PyArray_NDIM(<np.ndarray>dy) - 1]
    cdef size_t n_rows = np.PyArray_SIZE(<np.ndarray>dy) // n
    cdef void *a = np.PyArray_DATA(<np.ndarray>dy)
    cdef void *b = np.PyArray_DATA(<np.ndarray>saved)
    cdef void *c = np.PyArray_DATA(<np.ndarray>dx)
    cdef PyThreadState *state = _unlock(20.0 * n_rows * n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_activation_backward_f32(kind, alpha, n_rows, n, <float *>a, n, <float *>b, n, <float *>c, n)
    else:
        status = cr.cr_activation_backward_f64(kind, alpha, n_rows, n, <double *>a, n, <double *>b, n,
                                               <double *>c, n)
    _lock(state)
    _check(status)
    return dx


def quick_shared_dtype(*arrays):
    """The float dtype of plain arrays, Nones left out; None unless all are plain and agree."""
    cdef int dtype = -1, other
    for a in arrays:
        if a is None:
            continue
        other = _quick_dtype(a)
        if other < 0 or (dtype >= 0 and other != dtype):
            return None
        dtype = other
    return None if dtype < 0 else np.PyArray_DescrFromType(dtype)


def quick_apart(a, b):
    """Whether two arrays are plain and do not touch; False if that takes a closer look."""
    return (_quick_dtype(a) >= 0 and _quick_dtype(b) >= 0
            and _quick_apart(<np.ndarray>a, <np.ndarray>b, False))


def quick_within(a, double least, double greatest):
    """Whether `a` is plain and least <= element <= greatest for all; False if not, or if that takes a closer look.
    A NaN is never within."""
    cdef int dtype = _quick_dtype(a)
    return dtype >= 0 and _all_within(<np.ndarray>a, dtype, False, least, greatest)


cdef bint _all_within(np.ndarray a, int dtype, bint of_size, double least, double greatest) noexcept:
    cdef size_t n = np.PyArray_SIZE(a)
    if dtype == np.NPY_FLOAT32:
        return cr.cr_all_within_f32(n, <const float *>np.PyArray_DATA(a), of_size, least, greatest) != 0
    return cr.cr_all_within_f64(n, <const double *>np.PyArray_DATA(a), of_size, least, greatest) != 0


def quick_labels(a, int64_t n_classes):
    """Whether `a` is a contiguous int32 or int64 array of labels 0 .. n_classes - 1; False if not plainly so."""
    if (not np.PyArray_CheckExact(a)
            or not np.PyArray_CHKFLAGS(<np.ndarray>a, np.NPY_ARRAY_ALIGNED | np.NPY_ARRAY_C_CONTIGUOUS)
            or not np.PyArray_ISNOTSWAPPED(<np.ndarray>a)):
        return False
    cdef size_t i, n = np.PyArray_SIZE(<np.ndarray>a)
    cdef const int32_t *i32 = <const int32_t *>np.PyArray_DATA(<np.ndarray>a)
    cdef const int64_t *i64 = <const int64_t *>np.PyArray_DATA(<np.ndarray>a)
    cdef int outside = 0
    if np.PyArray_EquivTypenums(np.PyArray_TYPE(<np.ndarray>a), np.NPY_INT32):
        for i in range(n):
            outside |= (i32[i] < 0) | (i32[i] >= n_classes)
    elif np.PyArray_EquivTypenums(np.PyArray_TYPE(<np.ndarray>a), np.NPY_INT64):
        for i in range(n):
            outside |= (i64[i] < 0) | (i64[i] >= n_classes)
    else:
        return False
    return outside == 0
