/* rows.inc.h - kernels on whole rows: softmax, log-softmax, their backward, gathering.
 *
 * Sums along a row go by 16 partial sums (reduce.inc.h). A row with a NaN or +inf, or of -inf
 * only, becomes NaN, as the formula says. Every output may be the very same array as an input, except in gather_rows.
 */

/* columns[j], lane r = a[r][j]; zeros for rows from n_rows <= V_LANES and columns from n_cols <= 16 on. */
CR_NOINLINE void FN(load_columns)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a, V(t) columns[16])
{
    for (size_t j = 0; j < n_cols; j += V_LANES) {
        const size_t left = n_cols - j < V_LANES ? n_cols - j : V_LANES;
        for (size_t r = 0; r < V_LANES; ++r) {
            columns[j + r] = r < n_rows ? FN(load_some)(a + r * ld_a + j, left) : V(zero)();
        }
        V(transpose)(columns + j);
    }
}

CR_NOINLINE void FN(store_columns)(size_t n_rows, size_t n_cols, V(t) columns[16], REAL *a, size_t ld_a)
{
    for (size_t j = 0; j < n_cols; j += V_LANES) {
        const size_t left = n_cols - j < V_LANES ? n_cols - j : V_LANES;
        V(transpose)(columns + j);
        for (size_t r = 0; r < n_rows; ++r) {
            FN(store_some)(a + r * ld_a + j, columns[j + r], left);
        }
    }
}

/* columns[0] + ... + columns[n-1], n <= 16, folded 8-4-2-1, lane by lane. They are used up. */
CR_INLINE V(t) FN(fold_columns)(size_t n, V(t) columns[16])
{
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t j = 0; j + half < n; ++j) {
            columns[j] = V(add)(columns[j], columns[j + half]);
        }
        n = n < half ? n : half;
    }
    return columns[0];
}

/* e^(x_j - shift) for the `left` <= V_LANES elements from x on; 0 in the lanes past them, where the
 * exponential need not be small. */
CR_INLINE V(t) FN(exp_tail)(size_t left, const REAL *x, V(t) shift)
{
    const V(t) e = FN(v_exp_nonpositive)(V(sub)(V(load_tail)(x, left), shift));
    return V(keep)(V(mask_first)(left), e);
}

/* y = e^(x - shift), unless y is NULL; returns its sum. y may be x. */
CR_INLINE REAL FN(row_exp)(size_t n, const REAL *x, REAL shift, REAL *y)
{
    const V(t) s = V(set1)(shift);
    V(t) partial[16 / V_LANES];
    FN(clear_partials)(partial);
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            const size_t at = j + v * V_LANES;
            const V(t) e = FN(v_exp_nonpositive)(V(sub)(V(load)(x + at), s));
            partial[v] = V(add)(partial[v], e);
            if (y) {
                V(store)(y + at, e);
            }
        }
    }
    for (size_t v = 0; j < n; ++v, j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        const V(t) e = FN(exp_tail)(left, x + j, s);
        partial[v] = V(add)(partial[v], e);
        if (y) {
            V(store_tail)(y + j, e, left);
        }
    }
    return FN(fold_partials)(partial);
}

CR_INLINE V(t) FN(times)(V(t) x, V(t) factor) { return V(mul)(x, factor); }

/* y_j = e^(x_j - m) / sum_k e^(x_k - m), m the row's maximum. The sum is at least 1, so its
 * inverse costs one rounding and nothing else; n = 1 gives exactly 1. */
static inline void FN(softmax_row)(size_t n, const REAL *x, REAL *y)
{
    const REAL shift = FN(row_max)(n, x);
    if (n > 16) {
        FN(map)(FN(times), 1 / FN(row_exp)(n, x, shift, y), n, y, y);
        return;
    }
    /* A short row is its own partial sums and stays in registers: reading back what was just
     * stored with a mask stalls. */
    V(t) e[16 / V_LANES];
    FN(clear_partials)(e);
    for (size_t v = 0, j = 0; j < n; ++v, j += V_LANES) {
        e[v] = FN(exp_tail)(n - j < V_LANES ? n - j : V_LANES, x + j, V(set1)(shift));
    }
    const V(t) inverse = V(set1)(1 / FN(fold_partials)(e));
    for (size_t v = 0, j = 0; j < n; ++v, j += V_LANES) {
        V(store_tail)(y + j, V(mul)(e[v], inverse), n - j < V_LANES ? n - j : V_LANES);
    }
}

/* dx_j = y_j (dy_j - sum_k dy_k y_k) */
static inline void FN(softmax_row_backward)(size_t n, const REAL *dy, const REAL *y, REAL *dx)
{
    V(t) partial[16 / V_LANES];
    FN(clear_partials)(partial);
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            const size_t at = j + v * V_LANES;
            partial[v] = V(fma)(V(load)(dy + at), V(load)(y + at), partial[v]);
        }
    }
    for (size_t v = 0; j < n; ++v, j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        partial[v] = V(fma)(V(load_tail)(dy + j, left), V(load_tail)(y + j, left), partial[v]);
    }
    const V(t) mean = V(set1)(FN(fold_partials)(partial));
    for (j = 0; j + V_LANES <= n; j += V_LANES) {
        V(store)(dx + j, V(mul)(V(load)(y + j), V(sub)(V(load)(dy + j), mean)));
    }
    if (j < n) {
        const V(t) above = V(sub)(V(load_tail)(dy + j, n - j), mean);
        const V(t) last = V(mul)(V(load_tail)(y + j, n - j), above);
        V(store_tail)(dx + j, last, n - j);
    }
}

/* y_j = (x_j - m) - log sum_k e^(x_k - m); n = 1 gives exactly 0. */
static inline void FN(log_softmax_row)(size_t n, const REAL *x, REAL *y)
{
    const REAL maximum = FN(row_max)(n, x);
    const V(t) shift = V(set1)(maximum);
    const V(t) log_sum = FN(v_log)(V(set1)(FN(row_exp)(n, x, maximum, NULL)));
    size_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) {
        V(store)(y + j, V(sub)(V(sub)(V(load)(x + j), shift), log_sum));
    }
    if (j < n) {
        const V(t) last = V(sub)(V(sub)(V(load_tail)(x + j, n - j), shift), log_sum);
        V(store_tail)(y + j, last, n - j);
    }
}

/* softmax_row, or log_softmax_row, of rows of n <= 16 elements, V_LANES of them at once: lanes are rows. */
static void FN(softmax_columns)(int log, size_t n_rows, size_t n, const REAL *x, size_t ld_x, REAL *y, size_t ld_y)
{
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        const size_t rows = n_rows - i < V_LANES ? n_rows - i : V_LANES;
        V(t) column[16], top[16], e[16], sum[16];
        FN(load_columns)(rows, n, x + i * ld_x, ld_x, column);
        for (size_t j = 0; j < n; ++j) {
            top[j] = column[j]; /* a NaN may get in: all of its row becomes NaN anyway */
        }
        for (size_t half = 8, left = n; half > 0; half /= 2) {
            for (size_t j = 0; j + half < left; ++j) {
                top[j] = V(max)(top[j + half], top[j]);
            }
            left = left < half ? left : half;
        }
        for (size_t j = 0; j < n; ++j) {
            column[j] = V(sub)(column[j], top[0]);
            e[j] = sum[j] = FN(v_exp_nonpositive)(column[j]);
        }
        const V(t) total = FN(fold_columns)(n, sum);
        const V(t) log_sum = FN(v_log)(total), inverse = V(div)(V(set1)(1), total);
        for (size_t j = 0; j < n; ++j) {
            column[j] = log ? V(sub)(column[j], log_sum) : V(mul)(e[j], inverse);
        }
        FN(store_columns)(rows, n, column, y + i * ld_y, ld_y);
    }
}

/* dy - e^y sum, the sum in place of alpha */
CR_INLINE V(t) FN(log_softmax_slope)(V(t) dy, V(t) y, V(t) sum)
{
    return V(fnma)(FN(v_exp)(y), sum, dy);
}

/* dx_j = dy_j - e^(y_j) sum_k dy_k */
static inline void FN(log_softmax_row_backward)(size_t n, const REAL *dy, const REAL *y, REAL *dx)
{
    FN(map_2)(FN(log_softmax_slope), FN(row_sum)(n, dy), n, dy, y, dx, 0);
}

/* gather_rows for so few elements a row, 1 to 4, that a vector with a mask takes longer; n_cols is a constant. */
CR_INLINE void FN(gather_few)(const size_t n_cols, size_t n_rows, const REAL *a, size_t ld_a, const int64_t *order,
                              REAL *out, size_t ld_out)
{
    for (size_t i = 0; i < n_rows; ++i) {
        const REAL *row = a + (size_t)order[i] * ld_a;
        REAL *to = out + i * ld_out;
        to[0] = row[0];
        if (n_cols > 1) {
            to[1] = row[1];
        }
        if (n_cols > 2) {
            to[2] = row[2];
        }
        if (n_cols > 3) {
            to[3] = row[3];
        }
    }
}

/* Rows that gather_rows asks for ahead of the one it copies: the rows lie anywhere, so no processor foresees them
 * (128 rows of 3 KiB out of 188 MB: 30 us without, 20 with 3 or more). */
#define CR_ROWS_AHEAD 4

/* out row i = a row order[i]; out does not overlap a. */
static void FN(gather_rows)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a,
                            const int64_t *order, REAL *out, size_t ld_out)
{
    switch (n_cols) {
    case 1: FN(gather_few)(1, n_rows, a, ld_a, order, out, ld_out); return;
    case 2: FN(gather_few)(2, n_rows, a, ld_a, order, out, ld_out); return;
    case 3: FN(gather_few)(3, n_rows, a, ld_a, order, out, ld_out); return;
    case 4: FN(gather_few)(4, n_rows, a, ld_a, order, out, ld_out); return;
    default: break;
    }
    for (size_t i = 0; i < n_rows; ++i) {
        const REAL *row = a + (size_t)order[i] * ld_a;
        const REAL *ahead = a + (size_t)order[i + CR_ROWS_AHEAD < n_rows ? i + CR_ROWS_AHEAD : i] * ld_a;
        REAL *to = out + i * ld_out;
        size_t j = 0;
        for (; j + V_LANES <= n_cols; j += V_LANES) {
            V(prefetch)(ahead + j);
            V(store)(to + j, V(load)(row + j));
        }
        if (j < n_cols) {
            V(prefetch)(ahead + j);
            V(store_tail)(to + j, V(load_tail)(row + j, n_cols - j), n_cols - j);
        }
    }
}
