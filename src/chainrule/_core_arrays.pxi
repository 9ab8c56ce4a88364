# _core_arrays.pxi - from NumPy arrays to pointers and leading dimensions; the lock. Part of _core.pyx.
#
# The NumPy C API and not typed memoryviews: a call with two arrays costs some 75 ns against 330.

ctypedef struct Matrix:
    size_t n_rows
    size_t n_cols
    size_t ld        # elements between the starts of two rows
    void *data       # NULL: not given
    float *f32       # the same address; the call site takes the one of its dtype
    double *f64

ctypedef struct Vector:
    size_t n
    void *data
    float *f32
    double *f64

cdef enum:
    READ = 0
    WRITE = 1


cdef inline bint _is_plain(np.ndarray a, int dtype, bint writeable) noexcept:
    """Right dtype, aligned, native byte order, and writeable if it must be."""
    cdef int flags = np.NPY_ARRAY_ALIGNED
    if writeable:
        flags |= np.NPY_ARRAY_WRITEABLE
    # Two type numbers can mean one dtype: long and long long, or long and int.
    if np.PyArray_TYPE(a) != dtype and not np.PyArray_EquivTypenums(np.PyArray_TYPE(a), dtype):
        return False
    return np.PyArray_CHKFLAGS(a, flags) and np.PyArray_ISNOTSWAPPED(a)


cdef bint _as_matrix(np.ndarray a, int dtype, bint writeable, Matrix *m) noexcept:
    """Fill m if `a` is a matrix as C wants it. A stride over a dimension of 0 or 1 does not matter."""
    if np.PyArray_NDIM(a) != 2 or not _is_plain(a, dtype, writeable):
        return False
    cdef np.npy_intp *shape = np.PyArray_DIMS(a)
    cdef np.npy_intp *strides = np.PyArray_STRIDES(a)
    cdef np.npy_intp item = 4 if dtype == np.NPY_FLOAT32 else 8
    m.n_rows = shape[0]
    m.n_cols = shape[1]
    m.ld = shape[1]
    if shape[0] > 1 and shape[1] > 0:
        # Refuses negative and overlapping (broadcast) rows as well.
        if strides[0] < shape[1] * item or strides[0] % item != 0:
            return False
        m.ld = strides[0] // item
    if shape[1] > 1 and shape[0] > 0 and strides[1] != item:
        return False
    m.data = np.PyArray_DATA(a)
    m.f32 = <float *>m.data
    m.f64 = <double *>m.data
    return True


cdef bint _as_vector(np.ndarray a, int dtype, bint writeable, Vector *v) noexcept:
    if np.PyArray_NDIM(a) != 1 or not _is_plain(a, dtype, writeable) or not np.PyArray_IS_C_CONTIGUOUS(a):
        return False
    v.n = np.PyArray_DIMS(a)[0]
    v.data = np.PyArray_DATA(a)
    v.f32 = <float *>v.data
    v.f64 = <double *>v.data
    return True


def _refusal(str name, a, int dtype, int ndim, bint writeable):
    """The exception that says why `a` is not what `_as_matrix` or `_as_vector` wants."""
    expected = np.PyArray_DescrFromType(dtype)
    if a.dtype != expected:
        return TypeError(f"{name} must have dtype {expected}, got {a.dtype}")
    if a.ndim != ndim:
        return ValueError(f"{name} must be {ndim}-D, got shape {a.shape}")
    if writeable and not a.flags.writeable:
        return ValueError(f"{name} is read-only")
    if not a.flags.aligned:
        return ValueError(f"{name} is not aligned for its dtype")
    if ndim == 1:
        return ValueError(f"{name} must be contiguous, got strides {a.strides} of {a.itemsize}-byte elements")
    return ValueError(
        f"{name} must have rows of adjacent elements that do not overlap, got strides {a.strides}"
        f" for shape {a.shape} of {a.itemsize}-byte elements"
    )


cdef int _real(str name, np.ndarray a) except -1:
    """The type number of an array that sets the dtype of a call: float64's for a long double that is one."""
    cdef int dtype = np.PyArray_TYPE(a)
    if np.PyArray_EquivTypenums(dtype, np.NPY_FLOAT32):
        return np.NPY_FLOAT32
    if not np.PyArray_EquivTypenums(dtype, np.NPY_FLOAT64):
        raise TypeError(f"{name} must have dtype float32 or float64, got {a.dtype}")
    return np.NPY_FLOAT64


cdef int _matrix(Matrix *m, str name, np.ndarray a, int dtype, bint writeable) except -1:
    if a is None:
        memset(m, 0, sizeof(Matrix))
    elif not _as_matrix(a, dtype, writeable, m):
        raise _refusal(name, a, dtype, 2, writeable)
    return 0


cdef int _vector(Vector *v, str name, np.ndarray a, int dtype, bint writeable) except -1:
    if a is None:
        memset(v, 0, sizeof(Vector))
    elif not _as_vector(a, dtype, writeable, v):
        raise _refusal(name, a, dtype, 1, writeable)
    return 0


cdef int _shape(str name, const Matrix *m, size_t n_rows, size_t n_cols) except -1:
    """Compare the shape of a matrix that is given."""
    if m.data != NULL and (m.n_rows != n_rows or m.n_cols != n_cols):
        raise ValueError(f"{name} must have shape ({n_rows}, {n_cols}), got ({m.n_rows}, {m.n_cols})")
    return 0


cdef int _length(str name, const Vector *v, size_t n) except -1:
    """Compare the length of a vector that is given."""
    if v.data != NULL and v.n != n:
        raise ValueError(f"{name} must have shape ({n},), got ({v.n},)")
    return 0


cdef int _raise_bad_label(str name, np.ndarray labels, size_t row, size_t n_classes) except -1:
    raise ValueError(
        f"{name}[{row}] is {labels[row]}, expected a class label from 0 to {<int64_t>n_classes - 1}"
        f" ({n_classes} classes)"
    )


cdef int _raise_bad_target(str name, np.ndarray target) except -1:
    cdef tuple where = tuple(numpy.argwhere(numpy.isnan(target))[0].tolist())
    raise ValueError(f"{name}{list(where)} is NaN")


# -- the lock ------------------------------------------------------------------------------------------

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState *PyEval_SaveThread() noexcept
    void PyEval_RestoreThread(PyThreadState *state) noexcept

# Giving the lock up and taking it back costs some 50 ns, and another thread may keep it for 5 ms. Below
# this many multiply-adds (a few microseconds of work) nobody gains from it.
cdef double UNLOCK_WORK = 50_000


cdef inline PyThreadState *_unlock(double work) noexcept:
    """Release the lock if `work` multiply-adds are worth it. No Python until `_lock`."""
    return PyEval_SaveThread() if work > UNLOCK_WORK else NULL


cdef inline void _lock(PyThreadState *state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)
