# _core_model.pxi - the base of Sequential. Part of _core.pyx.


# Multiply-adds, about, of a call that is done before anybody could press Ctrl-C, even without vectors.
cdef double LONG_CALL_WORK = 1 << 24


cdef class Model:
    """Base of Sequential: the calls whose overhead matters, with the shortest way to C.

    `_network` is a Network or None, `_learning_rate` a float, NaN when the subclass must decide. All
    that is not plain arrays of the network's dtype and shape goes to the subclass's `_predict_slow(x, out, batch_size)`
    and `_train_step_slow(x, y, sample_weight)`, which convert, check and raise.
    """

    cdef public Network _network
    cdef public double _learning_rate
    cdef cr_busy_flag _turn    # taken and given back by Turn alone
    cdef readonly bint _held
    cdef Undo _undo            # of the training pass that is under way, if it is one in Python

    def __cinit__(self):
        self._learning_rate = NAN
        cr_busy_give(&self._turn)

    def _offer_rate(self, double learning_rate):
        """Let `train_step` take this rate straight to C, unless somebody holds the model."""
        if not self._held:
            self._learning_rate = learning_rate

    # No docstring: C compilers find the one of a slot method unused.
    # `predict` without a batch size.
    def __call__(self, x, *, out=None):
        return self._predict(x, out)

    def predict(self, x, *, batch_size=None, out=None):
        """Return the model's output as at inference: no dropout, running statistics.

        Several threads may predict with one model at once, also while another trains it; with Python layers they wait
        for each other.

        Parameters
        ----------
        x : array_like, shape (n_rows, n_in)
            Read in place if of the model's dtype with adjacent row elements; 0 rows are fine.
        batch_size : int, optional
            Rows per native call at most; changes neither results nor, much, the time.
        out : ndarray, shape (n_rows, n_out), optional
            Where to write the result; must not overlap `x`.

        Returns
        -------
        ndarray, shape (n_rows, n_out)
            `out` if given.

        Raises
        ------
        RuntimeError
            If the model is not built.
        TypeError, ValueError
            If `x` or `out` does not fit.
        """
        if batch_size is None or (type(batch_size) is int and batch_size >= 1 and np.PyArray_CheckExact(x)
                                  and np.PyArray_NDIM(<np.ndarray>x) == 2
                                  and np.PyArray_DIMS(<np.ndarray>x)[0] <= batch_size):
            return self._predict(x, out)
        return self._predict_slow(x, out, batch_size)

    cdef object _predict(self, x, out):
        cdef Network network = self._network
        cdef Matrix a, y
        cdef np.npy_intp shape[2]
        cdef size_t item
        if network is None or not np.PyArray_CheckExact(x):
            return self._predict_slow(x, out, None)
        if not _as_matrix(<np.ndarray>x, network._dtype, READ, &a) or a.n_cols != <size_t>network.n_in:
            return self._predict_slow(x, out, None)
        if a.n_rows * network._row_work > LONG_CALL_WORK:
            return self._predict_slow(x, out, None)  # piece by piece, for Ctrl-C
        if out is None:
            shape[0] = a.n_rows
            shape[1] = network.n_out
            out = np.PyArray_EMPTY(2, shape, network._dtype, False)
            _as_matrix(<np.ndarray>out, network._dtype, WRITE, &y)
        else:
            item = 4 if network._dtype == np.NPY_FLOAT32 else 8
            if (not np.PyArray_CheckExact(out)
                    or not _as_matrix(<np.ndarray>out, network._dtype, WRITE, &y)
                    or y.n_rows != a.n_rows or y.n_cols != <size_t>network.n_out
                    or _overlap(&a, &y, item) or _overlap(&network._parameters, &y, item)
                    or _overlap(&network._running, &y, item)):
                return self._predict_slow(x, out, None)
        network._predict(&a, &y)
        return out

    def train_step(self, x, y, sample_weight=None):
        """One step on one batch: forward, loss, backward, update.

        Parameters
        ----------
        x : array_like, shape (n_rows, n_in)
        y : array_like, shape (n_rows, n_out), or (n_rows,) class labels
        sample_weight : array_like, shape (n_rows,), optional

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        RuntimeError
            If the model is not compiled, or is training already.
        TypeError, ValueError
            If an argument does not fit; nothing has changed then.
        """
        cdef Network network = self._network
        cdef cr.cr_rows rows
        if (network is None or not network._has_loss or not network._has_optimizer
                or isnan(self._learning_rate)
                or not np.PyArray_CheckExact(x) or not np.PyArray_CheckExact(y)
                or not (sample_weight is None or np.PyArray_CheckExact(sample_weight))
                or not network._as_rows(<np.ndarray>x, <np.ndarray>y, <np.ndarray>sample_weight, &rows)
                or not network._trainable(&rows)):
            return self._train_step_slow(x, y, sample_weight)
        return network._train_step(&rows, <np.ndarray>y, self._learning_rate)
