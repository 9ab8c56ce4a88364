# _core_kernels.pxi - the array functions of chainrule_kernels.inc.h. Part of _core.pyx.
#
# Contracts, formulas and allowed aliases stand in that header; overlap is the callers' to refuse.
# Elementwise functions count some 20 multiply-adds an element when they ask for the lock.


def dense_forward(np.ndarray x not None, np.ndarray weight not None, np.ndarray bias, int activation,
                  double alpha, np.ndarray pre, np.ndarray out not None):
    """out = activation(x weight + bias); pre, if given, receives x weight + bias."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, w, z, y
    cdef Vector b
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _matrix(&w, "weight", weight, dtype, READ)
    _vector(&b, "bias", bias, dtype, READ)
    _matrix(&z, "pre", pre, dtype, WRITE)
    _matrix(&y, "out", out, dtype, WRITE)
    _shape("weight", &w, a.n_cols, w.n_cols)
    _length("bias", &b, w.n_cols)
    _shape("pre", &z, a.n_rows, w.n_cols)
    _shape("out", &y, a.n_rows, w.n_cols)
    cdef PyThreadState *state = _unlock(<double>a.n_rows * (a.n_cols + 20) * w.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_forward_f32(a.n_rows, a.n_cols, w.n_cols, a.f32, a.ld, w.f32, w.ld, b.f32,
                                         activation, alpha, z.f32, z.ld, y.f32, y.ld)
    else:
        status = cr.cr_dense_forward_f64(a.n_rows, a.n_cols, w.n_cols, a.f64, a.ld, w.f64, w.ld, b.f64,
                                         activation, alpha, z.f64, z.ld, y.f64, y.ld)
    _lock(state)
    _check(status)


def dense_backward_input(np.ndarray dz not None, np.ndarray weight not None, int activation, double alpha,
                         np.ndarray saved, np.ndarray out not None):
    """out = (dz weight^T) * f'(saved), f the activation of the layer below."""
    cdef int dtype = _real("dz", dz)
    cdef Matrix d, w, s, dx
    cdef cr.cr_status status
    _matrix(&d, "dz", dz, dtype, READ)
    _matrix(&w, "weight", weight, dtype, READ)
    _matrix(&s, "saved", saved, dtype, READ)
    _matrix(&dx, "out", out, dtype, WRITE)
    _shape("weight", &w, w.n_rows, d.n_cols)
    _require_saved(activation, saved)
    _shape("saved", &s, d.n_rows, w.n_rows)
    _shape("out", &dx, d.n_rows, w.n_rows)
    cdef PyThreadState *state = _unlock(<double>d.n_rows * (d.n_cols + 20) * w.n_rows)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_backward_input_f32(d.n_rows, w.n_rows, w.n_cols, d.f32, d.ld, w.f32, w.ld,
                                                activation, alpha, s.f32, s.ld, dx.f32, dx.ld)
    else:
        status = cr.cr_dense_backward_input_f64(d.n_rows, w.n_rows, w.n_cols, d.f64, d.ld, w.f64, w.ld,
                                                activation, alpha, s.f64, s.ld, dx.f64, dx.ld)
    _lock(state)
    _check(status)


def dense_backward_weight(np.ndarray x not None, np.ndarray dz not None, np.ndarray out_weight not None,
                          np.ndarray out_bias):
    """out_weight = x^T dz; out_bias, if given, = column sums of dz."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, d, dw
    cdef Vector db
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _matrix(&d, "dz", dz, dtype, READ)
    _matrix(&dw, "out_weight", out_weight, dtype, WRITE)
    _vector(&db, "out_bias", out_bias, dtype, WRITE)
    _shape("dz", &d, a.n_rows, d.n_cols)
    _shape("out_weight", &dw, a.n_cols, d.n_cols)
    _length("out_bias", &db, d.n_cols)
    cdef PyThreadState *state = _unlock(<double>a.n_rows * (a.n_cols + 1) * d.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dense_backward_weight_f32(a.n_rows, a.n_cols, d.n_cols, a.f32, a.ld, d.f32, d.ld,
                                                 dw.f32, dw.ld, db.f32)
    else:
        status = cr.cr_dense_backward_weight_f64(a.n_rows, a.n_cols, d.n_cols, a.f64, a.ld, d.f64, d.ld,
                                                 dw.f64, dw.ld, db.f64)
    _lock(state)
    _check(status)


cdef int _require_saved(int kind, saved) except -1:
    if saved is None and kind != cr.CR_IDENTITY:
        raise ValueError("saved is None, but this activation's derivative needs its output or input")
    return 0


def activation(int kind, double alpha, np.ndarray x not None, np.ndarray out not None):
    """out = f(x), row by row for the by-row kinds; out may be x."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, y
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _matrix(&y, "out", out, dtype, WRITE)
    _shape("out", &y, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(20.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_activation_f32(kind, alpha, a.n_rows, a.n_cols, a.f32, a.ld, y.f32, y.ld)
    else:
        status = cr.cr_activation_f64(kind, alpha, a.n_rows, a.n_cols, a.f64, a.ld, y.f64, y.ld)
    _lock(state)
    _check(status)


def activation_backward(int kind, double alpha, np.ndarray dy not None, np.ndarray saved,
                        np.ndarray out not None):
    """out = dy * f'(saved), or the Jacobian applied; out may be dy or saved."""
    cdef int dtype = _real("dy", dy)
    cdef Matrix d, s, dx
    cdef cr.cr_status status
    _matrix(&d, "dy", dy, dtype, READ)
    _matrix(&s, "saved", saved, dtype, READ)
    _matrix(&dx, "out", out, dtype, WRITE)
    _require_saved(kind, saved)
    _shape("saved", &s, d.n_rows, d.n_cols)
    _shape("out", &dx, d.n_rows, d.n_cols)
    cdef PyThreadState *state = _unlock(20.0 * d.n_rows * d.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_activation_backward_f32(kind, alpha, d.n_rows, d.n_cols, d.f32, d.ld, s.f32, s.ld,
                                               dx.f32, dx.ld)
    else:
        status = cr.cr_activation_backward_f64(kind, alpha, d.n_rows, d.n_cols, d.f64, d.ld, s.f64, s.ld,
                                               dx.f64, dx.ld)
    _lock(state)
    _check(status)


def function(int kind, np.ndarray x not None, np.ndarray out not None):
    """out = exp, log, expm1, log1p or erf of x, elementwise; out may be x."""
    cdef int dtype = _real("x", x)
    cdef Vector a, y
    cdef cr.cr_status status
    _vector(&a, "x", x, dtype, READ)
    _vector(&y, "out", out, dtype, WRITE)
    _length("out", &y, a.n)
    cdef PyThreadState *state = _unlock(20.0 * a.n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_function_f32(<cr.cr_function>kind, a.n, a.f32, y.f32)
    else:
        status = cr.cr_function_f64(<cr.cr_function>kind, a.n, a.f64, y.f64)
    _lock(state)
    _check(status)


def loss(int kind, options, bint mean, np.ndarray prediction not None, np.ndarray target not None,
         np.ndarray weight, np.ndarray grad):
    """The loss; grad, if given, receives its gradient. target is (n, m) reals or (n,) int32 labels."""
    cdef int dtype = _real("prediction", prediction)
    cdef cr.cr_loss_options c_options
    cdef Matrix p, t, g
    cdef Vector labels, w
    cdef cr.cr_status status
    cdef double value = 0.0
    cdef size_t row
    _read_loss_options(&c_options, options)
    _matrix(&p, "prediction", prediction, dtype, READ)
    if np.PyArray_NDIM(target) == 1:
        _vector(&labels, "target", target, np.NPY_INT32, READ)
        _length("target", &labels, p.n_rows)
        memset(&t, 0, sizeof(t))
    else:
        memset(&labels, 0, sizeof(labels))
        _matrix(&t, "target", target, dtype, READ)
        _shape("target", &t, p.n_rows, p.n_cols)
    _vector(&w, "weight", weight, dtype, READ)
    _length("weight", &w, p.n_rows)
    _matrix(&g, "grad", grad, dtype, WRITE)
    _shape("grad", &g, p.n_rows, p.n_cols)
    cdef PyThreadState *state = _unlock(20.0 * p.n_rows * p.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_loss_f32(<cr.cr_loss>kind, &c_options, mean, p.n_rows, p.n_cols, p.f32, p.ld, t.f32,
                                t.ld, <const int32_t *>labels.data, w.f32, g.f32, g.ld, &value)
    else:
        status = cr.cr_loss_f64(<cr.cr_loss>kind, &c_options, mean, p.n_rows, p.n_cols, p.f64, p.ld, t.f64,
                                t.ld, <const int32_t *>labels.data, w.f64, g.f64, g.ld, &value)
    _lock(state)
    if status == cr.CR_BAD_LABEL:
        row = numpy.flatnonzero((target < 0) | (target >= p.n_cols))[0]
        _raise_bad_label("target", target, row, p.n_cols)
    if status == cr.CR_BAD_TARGET:
        _raise_bad_target("target", target)
    _check(status)
    return value


def optimizer_update(optimizer, uint64_t step, double learning_rate, np.ndarray param not None,
                     np.ndarray grad not None, np.ndarray state_0, np.ndarray state_1):
    """One optimizer step on param and its states, in place; step counts from 1."""
    cdef int dtype = _real("param", param)
    cdef cr.cr_optimizer c_optimizer
    cdef Vector p, g, s0, s1
    cdef cr.cr_status status
    _read_optimizer(&c_optimizer, optimizer)
    _vector(&p, "param", param, dtype, WRITE)
    _vector(&g, "grad", grad, dtype, READ)
    _vector(&s0, "state_0", state_0, dtype, WRITE)
    _vector(&s1, "state_1", state_1, dtype, WRITE)
    _length("grad", &g, p.n)
    _length("state_0", &s0, p.n)
    _length("state_1", &s1, p.n)
    _require_states(&c_optimizer, &s0, &s1)
    cdef PyThreadState *state = _unlock(4.0 * p.n)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_optimizer_update_f32(&c_optimizer, step, learning_rate, p.n, p.f32, g.f32, s0.f32,
                                            s1.f32)
    else:
        status = cr.cr_optimizer_update_f64(&c_optimizer, step, learning_rate, p.n, p.f64, g.f64, s0.f64,
                                            s1.f64)
    _lock(state)
    _check(status)


cdef int _require_states(const cr.cr_optimizer *optimizer, const Vector *s0, const Vector *s1) except -1:
    cdef int n = cr.cr_optimizer_n_states(optimizer)
    if (n > 0 and s0.data == NULL) or (n > 1 and s1.data == NULL):
        raise ValueError(f"this optimizer keeps {n} state arrays, but state_{0 if s0.data == NULL else 1} is None")
    return 0


def dropout(double rate, uint64_t seed, uint32_t layer, uint64_t forward, size_t first_row,
            np.ndarray x not None, np.ndarray out not None):
    """out = x / (1 - rate) where the mask of (seed, layer, forward) keeps it, else 0; out may be x."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, y
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _matrix(&y, "out", out, dtype, WRITE)
    _shape("out", &y, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(20.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_dropout_f32(rate, seed, layer, forward, first_row, a.n_rows, a.n_cols, a.f32, a.ld,
                                   y.f32, y.ld)
    else:
        status = cr.cr_dropout_f64(rate, seed, layer, forward, first_row, a.n_rows, a.n_cols, a.f64, a.ld,
                                   y.f64, y.ld)
    _lock(state)
    _check(status)


def layer_norm_forward(np.ndarray x not None, np.ndarray gamma not None, np.ndarray beta not None,
                       double epsilon, np.ndarray mean not None, np.ndarray inverse_std not None,
                       np.ndarray out not None):
    """Normalise each row; mean and inverse_std (one per row) are kept for the backward."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, y
    cdef Vector g, b, m, s
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _vector(&g, "gamma", gamma, dtype, READ)
    _vector(&b, "beta", beta, dtype, READ)
    _vector(&m, "mean", mean, dtype, WRITE)
    _vector(&s, "inverse_std", inverse_std, dtype, WRITE)
    _matrix(&y, "out", out, dtype, WRITE)
    _length("gamma", &g, a.n_cols)
    _length("beta", &b, a.n_cols)
    _length("mean", &m, a.n_rows)
    _length("inverse_std", &s, a.n_rows)
    _shape("out", &y, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(8.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_layer_norm_forward_f32(a.n_rows, a.n_cols, epsilon, a.f32, a.ld, g.f32, b.f32, m.f32,
                                              s.f32, y.f32, y.ld)
    else:
        status = cr.cr_layer_norm_forward_f64(a.n_rows, a.n_cols, epsilon, a.f64, a.ld, g.f64, b.f64, m.f64,
                                              s.f64, y.f64, y.ld)
    _lock(state)
    _check(status)


def layer_norm_backward(np.ndarray x not None, np.ndarray gamma not None, np.ndarray mean not None,
                        np.ndarray inverse_std not None, np.ndarray dy not None,
                        np.ndarray dgamma not None, np.ndarray dbeta not None, np.ndarray dx):
    """Write dgamma, dbeta and, unless None, dx; dx may be dy."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, d, o
    cdef Vector g, m, s, dg, db
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _vector(&g, "gamma", gamma, dtype, READ)
    _vector(&m, "mean", mean, dtype, READ)
    _vector(&s, "inverse_std", inverse_std, dtype, READ)
    _matrix(&d, "dy", dy, dtype, READ)
    _vector(&dg, "dgamma", dgamma, dtype, WRITE)
    _vector(&db, "dbeta", dbeta, dtype, WRITE)
    _matrix(&o, "dx", dx, dtype, WRITE)
    _length("gamma", &g, a.n_cols)
    _length("mean", &m, a.n_rows)
    _length("inverse_std", &s, a.n_rows)
    _shape("dy", &d, a.n_rows, a.n_cols)
    _length("dgamma", &dg, a.n_cols)
    _length("dbeta", &db, a.n_cols)
    _shape("dx", &o, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(16.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_layer_norm_backward_f32(a.n_rows, a.n_cols, a.f32, a.ld, g.f32, m.f32, s.f32, d.f32,
                                               d.ld, dg.f32, db.f32, o.f32, o.ld)
    else:
        status = cr.cr_layer_norm_backward_f64(a.n_rows, a.n_cols, a.f64, a.ld, g.f64, m.f64, s.f64, d.f64,
                                               d.ld, dg.f64, db.f64, o.f64, o.ld)
    _lock(state)
    _check(status)


def batch_norm_forward(bint training, np.ndarray x not None, np.ndarray gamma not None,
                       np.ndarray beta not None, double epsilon, double momentum,
                       np.ndarray running_mean not None, np.ndarray running_variance not None,
                       np.ndarray mean not None, np.ndarray inverse_std not None, np.ndarray out not None):
    """Normalise each column by the batch's statistics (training) or the running ones."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, y
    cdef Vector g, b, rm, rv, m, s
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _vector(&g, "gamma", gamma, dtype, READ)
    _vector(&b, "beta", beta, dtype, READ)
    _vector(&rm, "running_mean", running_mean, dtype, WRITE)
    _vector(&rv, "running_variance", running_variance, dtype, WRITE)
    _vector(&m, "mean", mean, dtype, WRITE)
    _vector(&s, "inverse_std", inverse_std, dtype, WRITE)
    _matrix(&y, "out", out, dtype, WRITE)
    _length("gamma", &g, a.n_cols)
    _length("beta", &b, a.n_cols)
    _length("running_mean", &rm, a.n_cols)
    _length("running_variance", &rv, a.n_cols)
    _length("mean", &m, a.n_cols)
    _length("inverse_std", &s, a.n_cols)
    _shape("out", &y, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(8.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_batch_norm_forward_f32(training, a.n_rows, a.n_cols, epsilon, momentum, a.f32, a.ld,
                                              g.f32, b.f32, rm.f32, rv.f32, m.f32, s.f32, y.f32, y.ld)
    else:
        status = cr.cr_batch_norm_forward_f64(training, a.n_rows, a.n_cols, epsilon, momentum, a.f64, a.ld,
                                              g.f64, b.f64, rm.f64, rv.f64, m.f64, s.f64, y.f64, y.ld)
    _lock(state)
    _check(status)


def batch_norm_backward(bint training, np.ndarray x not None, np.ndarray gamma not None,
                        np.ndarray mean not None, np.ndarray inverse_std not None, np.ndarray dy not None,
                        np.ndarray dgamma not None, np.ndarray dbeta not None, np.ndarray dx):
    """Write dgamma, dbeta and, unless None, dx; dx may be dy."""
    cdef int dtype = _real("x", x)
    cdef Matrix a, d, o
    cdef Vector g, m, s, dg, db
    cdef cr.cr_status status
    _matrix(&a, "x", x, dtype, READ)
    _vector(&g, "gamma", gamma, dtype, READ)
    _vector(&m, "mean", mean, dtype, READ)
    _vector(&s, "inverse_std", inverse_std, dtype, READ)
    _matrix(&d, "dy", dy, dtype, READ)
    _vector(&dg, "dgamma", dgamma, dtype, WRITE)
    _vector(&db, "dbeta", dbeta, dtype, WRITE)
    _matrix(&o, "dx", dx, dtype, WRITE)
    _length("gamma", &g, a.n_cols)
    _length("mean", &m, a.n_cols)
    _length("inverse_std", &s, a.n_cols)
    _shape("dy", &d, a.n_rows, a.n_cols)
    _length("dgamma", &dg, a.n_cols)
    _length("dbeta", &db, a.n_cols)
    _shape("dx", &o, a.n_rows, a.n_cols)
    cdef PyThreadState *state = _unlock(16.0 * a.n_rows * a.n_cols)
    if dtype == np.NPY_FLOAT32:
        status = cr.cr_batch_norm_backward_f32(training, a.n_rows, a.n_cols, a.f32, a.ld, g.f32, m.f32, s.f32,
                                               d.f32, d.ld, dg.f32, db.f32, o.f32, o.ld)
    else:
        status = cr.cr_batch_norm_backward_f64(training, a.n_rows, a.n_cols, a.f64, a.ld, g.f64, m.f64, s.f64,
                                               d.f64, d.ld, dg.f64, db.f64, o.f64, o.ld)
    _lock(state)
    _check(status)


def sum_squares(np.ndarray x not None):
    """Sum of squares in double, in a fixed order."""
    cdef int dtype = _real("x", x)
    cdef Vector a
    _vector(&a, "x", x, dtype, READ)
    cdef double result
    cdef PyThreadState *state = _unlock(<double>a.n)
    if dtype == np.NPY_FLOAT32:
        result = cr.cr_sum_squares_f32(a.n, a.f32)
    else:
        result = cr.cr_sum_squares_f64(a.n, a.f64)
    _lock(state)
    return result


def count_not_finite(np.ndarray x not None):
    """How many elements are NaN or infinite."""
    cdef int dtype = _real("x", x)
    cdef Vector a
    _vector(&a, "x", x, dtype, READ)
    cdef size_t result
    cdef PyThreadState *state = _unlock(<double>a.n)
    if dtype == np.NPY_FLOAT32:
        result = cr.cr_count_not_finite_f32(a.n, a.f32)
    else:
        result = cr.cr_count_not_finite_f64(a.n, a.f64)
    _lock(state)
    return result


# -- random numbers: `out` is filled from word (or element) first_index of the stream ------------------


def random_u32(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
               np.ndarray out not None):
    cdef Vector v
    _vector(&v, "out", out, np.NPY_UINT32, WRITE)
    cdef PyThreadState *state = _unlock(20.0 * v.n)
    cr.cr_random_u32(seed, purpose, stream, epoch, first_index, v.n, <uint32_t *>v.data)
    _lock(state)


def random_uniform(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                   np.ndarray out not None):
    """Uniform in [0, 1) with 53 bits."""
    cdef Vector v
    _vector(&v, "out", out, np.NPY_FLOAT64, WRITE)
    cdef PyThreadState *state = _unlock(20.0 * v.n)
    cr.cr_random_uniform(seed, purpose, stream, epoch, first_index, v.n, v.f64)
    _lock(state)


def random_normal(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                  np.ndarray out not None):
    """Standard normal."""
    cdef Vector v
    _vector(&v, "out", out, np.NPY_FLOAT64, WRITE)
    cdef PyThreadState *state = _unlock(20.0 * v.n)
    cr.cr_random_normal(seed, purpose, stream, epoch, first_index, v.n, v.f64)
    _lock(state)


def random_permutation(uint64_t seed, uint64_t epoch, np.ndarray out not None):
    """The permutation of 0 .. n - 1 that (seed, epoch) fixes."""
    cdef Vector v
    _vector(&v, "out", out, np.NPY_INT64, WRITE)
    cdef PyThreadState *state = _unlock(20.0 * v.n)
    cr.cr_random_permutation(seed, epoch, v.n, <int64_t *>v.data)
    _lock(state)
