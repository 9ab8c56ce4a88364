/* norm.inc.h - layer normalisation (over the columns of a row) and batch normalisation (over the rows of a
 * column). Everywhere xhat = (x - mean) * inverse_std, y = gamma xhat + beta, inverse_std = 1 / sqrt(variance
 * + epsilon), and variances are biased. Mean and variance come from two passes, because E x^2 - (E x)^2 would cancel.
 * The first gives a mean m with the rounding of a sum. With d = x - m, the second adds up d and d^2, which mend both:
 *   mean = m + E d,  variance = E d^2 - (E d)^2
 * (Chan, Golub & LeVeque, The American Statistician 37, 1983). So numbers that are all the same have variance 0 and
 * come out as beta, however great they are; the rounding of m alone would be divided by a std that consists of it.
 */

CR_INLINE V(t) FN(xhat)(V(t) x, V(t) mean, V(t) inverse_std)
{
    return V(mul)(V(sub)(x, mean), inverse_std);
}

/* n times the variance: the sum of d^2, less n times the square of what m was off by, shift = sum of d / n. Where that
 * overflows, so does the sum of d^2, and inf stays, as NaN does. */
CR_INLINE V(t) FN(squared_deviation)(V(t) sum_of_squares, V(t) shift, V(t) sum)
{
    const V(t) off = V(min)(V(mul)(shift, sum), V(set1)(V(max_finite)));
    return V(max)(V(zero)(), V(sub)(sum_of_squares, off));
}

/* ---- layer normalisation ------------------------------------------------------------------------ */

/* The mean of a row, and its variance in all lanes of *variance, by the 16 partial sums. */
static inline REAL FN(row_mean)(size_t n, const REAL *x, V(t) *variance)
{
    const REAL count = (REAL)n, rough = FN(row_sum)(n, x) / count;
    const V(t) center = V(set1)(rough);
    V(t) partial[16 / V_LANES], partial_squares[16 / V_LANES];
    FN(clear_partials)(partial);
    FN(clear_partials)(partial_squares);
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            const V(t) d = V(sub)(V(load)(x + j + v * V_LANES), center);
            partial[v] = V(add)(partial[v], d);
            partial_squares[v] = V(fma)(d, d, partial_squares[v]);
        }
    }
    for (size_t v = 0; j < n; ++v, j += V_LANES) {
        const V(mask_t) live = V(mask_first)(n - j < V_LANES ? n - j : V_LANES);
        const V(t) d = V(keep)(live, V(sub)(V(load_masked)(live, x + j), center));
        partial[v] = V(add)(partial[v], d);
        partial_squares[v] = V(fma)(d, d, partial_squares[v]);
    }
    const REAL sum = FN(fold_partials)(partial), shift = sum / count;
    const V(t) sum_of_squares = V(set1)(FN(fold_partials)(partial_squares));
    *variance = V(div)(FN(squared_deviation)(sum_of_squares, V(set1)(shift), V(set1)(sum)), V(set1)(count));
    return rough + shift;
}

/* y = gamma xhat + beta; x and y (n_rows, n_cols), gamma and beta (n_cols), mean and inverse_std (n_rows) are
 * written. y may be x. */
static void FN(layer_norm_forward)(size_t n_rows, size_t n_cols, REAL epsilon, const REAL *x, size_t ld_x,
                                   const REAL *gamma, const REAL *beta, REAL *mean, REAL *inverse_std, REAL *y,
                                   size_t ld_y)
{
    for (size_t i = 0; i < n_rows; ++i, x += ld_x, y += ld_y) {
        V(t) variance;
        REAL lanes[V_LANES];
        mean[i] = FN(row_mean)(n_cols, x, &variance);
        const V(t) scale = V(div)(V(set1)(1), V(sqrt)(V(add)(variance, V(set1)(epsilon))));
        const V(t) center = V(set1)(mean[i]);
        V(store)(lanes, scale);
        inverse_std[i] = lanes[0];
        size_t j = 0;
        for (; j + V_LANES <= n_cols; j += V_LANES) {
            const V(t) xhat = FN(xhat)(V(load)(x + j), center, scale);
            V(store)(y + j, V(fma)(xhat, V(load)(gamma + j), V(load)(beta + j)));
        }
        if (j < n_cols) {
            const V(mask_t) live = V(mask_first)(n_cols - j);
            const V(t) xhat = FN(xhat)(V(load_masked)(live, x + j), center, scale);
            const V(t) value = V(fma)(xhat, V(load_masked)(live, gamma + j), V(load_masked)(live, beta + j));
            V(store_masked)(live, y + j, value);
        }
    }
}

/* With g = gamma dy:  dx = inverse_std (g - mean_j(g) - xhat mean_j(g xhat)).  dx may be dy. */
static void FN(layer_norm_backward_input)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                          const REAL *gamma, const REAL *mean, const REAL *inverse_std,
                                          const REAL *dy, size_t ld_dy, REAL *dx, size_t ld_dx)
{
    for (size_t i = 0; i < n_rows; ++i, x += ld_x, dy += ld_dy, dx += ld_dx) {
        const V(t) center = V(set1)(mean[i]), scale = V(set1)(inverse_std[i]);
        V(t) partial_g[16 / V_LANES], partial_gx[16 / V_LANES];
        FN(clear_partials)(partial_g);
        FN(clear_partials)(partial_gx);
        size_t j = 0;
        for (; j + 16 <= n_cols; j += 16) {
            for (size_t v = 0; v < 16 / V_LANES; ++v) {
                const size_t k = j + v * V_LANES;
                const V(t) g = V(mul)(V(load)(gamma + k), V(load)(dy + k));
                partial_g[v] = V(add)(partial_g[v], g);
                partial_gx[v] = V(fma)(g, FN(xhat)(V(load)(x + k), center, scale), partial_gx[v]);
            }
        }
        for (size_t v = 0; j < n_cols; ++v, j += V_LANES) {
            const V(mask_t) live = V(mask_first)(n_cols - j < V_LANES ? n_cols - j : V_LANES);
            const V(t) g = V(mul)(V(load_masked)(live, gamma + j), V(load_masked)(live, dy + j));
            const V(t) xhat = FN(xhat)(V(load_masked)(live, x + j), center, scale);
            partial_g[v] = V(add)(partial_g[v], g);
            partial_gx[v] = V(fma)(g, V(keep)(live, xhat), partial_gx[v]);
        }
        const V(t) mean_g = V(set1)(FN(fold_partials)(partial_g) / (REAL)n_cols);
        const V(t) mean_gx = V(set1)(FN(fold_partials)(partial_gx) / (REAL)n_cols);
        for (j = 0; j + V_LANES <= n_cols; j += V_LANES) {
            const V(t) g = V(mul)(V(load)(gamma + j), V(load)(dy + j));
            const V(t) xhat = FN(xhat)(V(load)(x + j), center, scale);
            V(store)(dx + j, V(mul)(scale, V(fnma)(xhat, mean_gx, V(sub)(g, mean_g))));
        }
        if (j < n_cols) {
            const V(mask_t) live = V(mask_first)(n_cols - j);
            const V(t) g = V(mul)(V(load_masked)(live, gamma + j), V(load_masked)(live, dy + j));
            const V(t) xhat = FN(xhat)(V(load_masked)(live, x + j), center, scale);
            V(store_masked)(live, dx + j, V(mul)(scale, V(fnma)(xhat, mean_gx, V(sub)(g, mean_g))));
        }
    }
}

/* ---- sums over rows that the norms need ---------------------------------------------------------- */

/* Column vectors a pass: 4, each with up to two sums, for the same reason as CR_SUM_VECTORS. */
#define CR_NORM_VECTORS 4

/* dgamma and dbeta of n_vectors vectors of columns, the last of them with the lanes `live`. */
CR_INLINE void FN(norm_parameters_pass)(size_t n_vectors, V(mask_t) live, int by_column, size_t n_rows,
                                        const REAL *x, size_t ld_x, const REAL *mean, const REAL *inverse_std,
                                        const REAL *dy, size_t ld_dy, REAL *dgamma, REAL *dbeta)
{
    const size_t last = n_vectors - 1;
    V(t) center[CR_NORM_VECTORS], scale[CR_NORM_VECTORS];
    V(t) total_gamma[CR_NORM_VECTORS], total_beta[CR_NORM_VECTORS];
    for (size_t v = 0; v < n_vectors; ++v) {
        total_gamma[v] = V(zero)();
        total_beta[v] = V(zero)();
        center[v] = scale[v] = V(zero)(); /* of no use by row: there both change from row to row */
        if (by_column) {
            const size_t k = v * V_LANES;
            center[v] = v < last ? V(load)(mean + k) : V(load_masked)(live, mean + k);
            scale[v] = v < last ? V(load)(inverse_std + k) : V(load_masked)(live, inverse_std + k);
        }
    }
    for (size_t first = 0; first < n_rows; first += CR_KB) {
        const size_t end = n_rows - first < CR_KB ? n_rows : first + CR_KB;
        V(t) sum_gamma[CR_NORM_VECTORS], sum_beta[CR_NORM_VECTORS];
        for (size_t v = 0; v < n_vectors; ++v) {
            sum_gamma[v] = V(zero)();
            sum_beta[v] = V(zero)();
        }
        for (size_t i = first; i < end; ++i) {
            for (size_t v = 0; v < n_vectors; ++v) {
                const REAL *at_x = x + i * ld_x + v * V_LANES, *at_dy = dy + i * ld_dy + v * V_LANES;
                const V(t) slope = v < last ? V(load)(at_dy) : V(load_masked)(live, at_dy);
                const V(t) value = v < last ? V(load)(at_x) : V(load_masked)(live, at_x);
                const V(t) xhat = by_column ? FN(xhat)(value, center[v], scale[v])
                                            : FN(xhat)(value, V(set1)(mean[i]), V(set1)(inverse_std[i]));
                sum_gamma[v] = V(fma)(slope, xhat, sum_gamma[v]);
                sum_beta[v] = V(add)(sum_beta[v], slope);
            }
        }
        for (size_t v = 0; v < n_vectors; ++v) {
            total_gamma[v] = V(add)(total_gamma[v], sum_gamma[v]);
            total_beta[v] = V(add)(total_beta[v], sum_beta[v]);
        }
    }
    for (size_t v = 0; v < last; ++v) {
        V(store)(dgamma + v * V_LANES, total_gamma[v]);
        V(store)(dbeta + v * V_LANES, total_beta[v]);
    }
    V(store_masked)(live, dgamma + last * V_LANES, total_gamma[last]);
    V(store_masked)(live, dbeta + last * V_LANES, total_beta[last]);
}

/* dgamma[j] = sum_i dy xhat, dbeta[j] = sum_i dy, in blocks of CR_KB rows. mean and inverse_std are indexed by
 * column (batch norm, by_column != 0) or by row (layer norm). */
static void FN(norm_backward_parameters)(int by_column, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                         const REAL *mean, const REAL *inverse_std, const REAL *dy, size_t ld_dy,
                                         REAL *dgamma, REAL *dbeta)
{
    const V(mask_t) all = V(mask_first)(V_LANES);
    const size_t wide = CR_NORM_VECTORS * V_LANES;
    for (size_t j = 0; j < n_cols;) {
        const size_t left = n_cols - j, skip = by_column ? j : 0;
        const size_t step = left >= wide ? wide : left < V_LANES ? left : V_LANES;
        const REAL *center = mean + skip, *scale = inverse_std + skip;
        if (step == wide && by_column) {
            FN(norm_parameters_pass)(CR_NORM_VECTORS, all, 1, n_rows, x + j, ld_x, center, scale, dy + j, ld_dy,
                                     dgamma + j, dbeta + j);
        } else if (step == wide) {
            FN(norm_parameters_pass)(CR_NORM_VECTORS, all, 0, n_rows, x + j, ld_x, center, scale, dy + j, ld_dy,
                                     dgamma + j, dbeta + j);
        } else {
            FN(norm_parameters_pass)(1, V(mask_first)(step), by_column, n_rows, x + j, ld_x, center, scale, dy + j,
                                     ld_dy, dgamma + j, dbeta + j);
        }
        j += step;
    }
}

/* For n_vectors vectors of columns, the last with the lanes `live`: variance, and mean, which was the sum over
 * n_rows, from that sum. */
CR_INLINE void FN(column_means_pass)(size_t n_vectors, V(mask_t) live, size_t n_rows, const REAL *x, size_t ld_x,
                                     REAL *mean, REAL *variance)
{
    const size_t last = n_vectors - 1;
    const V(t) count = V(set1)((REAL)n_rows), none = V(zero)();
    V(t) center[CR_NORM_VECTORS], total[CR_NORM_VECTORS], total_squares[CR_NORM_VECTORS];
    for (size_t v = 0; v < n_vectors; ++v) {
        const REAL *sum = mean + v * V_LANES;
        center[v] = V(div)(v < last ? V(load)(sum) : V(load_masked)(live, sum), count);
        total[v] = total_squares[v] = none;
    }
    for (size_t first = 0; first < n_rows; first += CR_KB) {
        const size_t end = n_rows - first < CR_KB ? n_rows : first + CR_KB;
        V(t) sum[CR_NORM_VECTORS], squares[CR_NORM_VECTORS];
        for (size_t v = 0; v < n_vectors; ++v) {
            sum[v] = squares[v] = none;
        }
        for (size_t i = first; i < end; ++i) {
            for (size_t v = 0; v < n_vectors; ++v) {
                const REAL *at = x + i * ld_x + v * V_LANES;
                const V(t) d = V(sub)(v < last ? V(load)(at) : V(load_masked)(live, at), center[v]);
                sum[v] = V(add)(sum[v], d);
                squares[v] = V(fma)(d, d, squares[v]);
            }
        }
        for (size_t v = 0; v < n_vectors; ++v) {
            total[v] = V(add)(total[v], sum[v]);
            total_squares[v] = V(add)(total_squares[v], squares[v]);
        }
    }
    for (size_t v = 0; v < n_vectors; ++v) {
        const V(mask_t) here = v < last ? V(mask_first)(V_LANES) : live;
        const V(t) shift = V(div)(total[v], count);
        const V(t) squares = FN(squared_deviation)(total_squares[v], shift, total[v]);
        V(store_masked)(here, mean + v * V_LANES, V(add)(center[v], shift));
        V(store_masked)(here, variance + v * V_LANES, V(div)(squares, count));
    }
}

/* ---- batch normalisation -------------------------------------------------------------------------- */

/* mean[j] and biased variance[j] of each column, n_rows >= 1. */
static void FN(batch_statistics)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, REAL *mean,
                                 REAL *variance)
{
    FN(column_sums)(n_rows, n_cols, x, ld_x, mean);
    const size_t wide = CR_NORM_VECTORS * V_LANES;
    size_t j = 0;
    for (; j + wide <= n_cols; j += wide) {
        FN(column_means_pass)(CR_NORM_VECTORS, V(mask_first)(V_LANES), n_rows, x + j, ld_x, mean + j, variance + j);
    }
    for (; j < n_cols; j += V_LANES) {
        const size_t left = n_cols - j < V_LANES ? n_cols - j : V_LANES;
        FN(column_means_pass)(1, V(mask_first)(left), n_rows, x + j, ld_x, mean + j, variance + j);
    }
}

/* out = 1 / sqrt(variance + epsilon). out may be variance. */
static void FN(inverse_std)(size_t n, REAL epsilon, const REAL *variance, REAL *out)
{
    const V(t) one = V(set1)(1), small = V(set1)(epsilon);
    for (size_t j = 0; j < n; j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        const V(t) root = V(sqrt)(V(add)(FN(load_some)(variance + j, left), small));
        FN(store_some)(out + j, V(div)(one, root), left);
    }
}

/* running = momentum running + (1 - momentum) batch, where the variance is the unbiased one, n / (n - 1) times
 * the batch's; of one row, whose unbiased variance does not exist, the biased one (0). */
static void FN(batch_norm_fold)(size_t n_rows, size_t n_cols, REAL momentum, const REAL *mean,
                                const REAL *variance, REAL *running_mean, REAL *running_variance)
{
    const double unbiased = n_rows > 1 ? (double)n_rows / (double)(n_rows - 1) : 1;
    const V(t) correction = V(set1)((REAL)unbiased);
    const V(t) old = V(set1)(momentum), rest = V(set1)(1 - momentum);
    for (size_t j = 0; j < n_cols; j += V_LANES) {
        const size_t left = n_cols - j < V_LANES ? n_cols - j : V_LANES;
        const V(t) batch_mean = FN(load_some)(mean + j, left);
        const V(t) batch_variance = V(mul)(correction, FN(load_some)(variance + j, left));
        const V(t) kept_mean = V(mul)(old, FN(load_some)(running_mean + j, left));
        const V(t) kept_variance = V(mul)(old, FN(load_some)(running_variance + j, left));
        FN(store_some)(running_mean + j, V(fma)(rest, batch_mean, kept_mean), left);
        FN(store_some)(running_variance + j, V(fma)(rest, batch_variance, kept_variance), left);
    }
}

/* y = gamma xhat + beta, all four vectors by column. y may be x. */
static void FN(batch_norm_apply)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, const REAL *gamma,
                                 const REAL *beta, const REAL *mean, const REAL *inverse_std, REAL *y, size_t ld_y)
{
    for (size_t i = 0; i < n_rows; ++i, x += ld_x, y += ld_y) {
        size_t j = 0;
        for (; j + V_LANES <= n_cols; j += V_LANES) {
            const V(t) xhat = FN(xhat)(V(load)(x + j), V(load)(mean + j), V(load)(inverse_std + j));
            V(store)(y + j, V(fma)(xhat, V(load)(gamma + j), V(load)(beta + j)));
        }
        if (j < n_cols) {
            const V(mask_t) live = V(mask_first)(n_cols - j);
            const V(t) xhat = FN(xhat)(V(load_masked)(live, x + j), V(load_masked)(live, mean + j),
                                       V(load_masked)(live, inverse_std + j));
            const V(t) value = V(fma)(xhat, V(load_masked)(live, gamma + j), V(load_masked)(live, beta + j));
            V(store_masked)(live, y + j, value);
        }
    }
}

/* dx of `left` <= V_LANES columns from j on of one row. */
CR_INLINE void FN(batch_norm_dx)(size_t left, size_t j, V(t) share, const REAL *x, const REAL *gamma, const REAL *mean,
                                 const REAL *inverse_std, const REAL *dgamma, const REAL *dbeta, const REAL *dy,
                                 REAL *dx)
{
    const V(t) scale = FN(load_some)(inverse_std + j, left);
    V(t) slope = FN(load_some)(dy + j, left);
    if (dgamma != NULL) {
        const V(t) xhat = FN(xhat)(FN(load_some)(x + j, left), FN(load_some)(mean + j, left), scale);
        const V(t) mean_g = V(mul)(FN(load_some)(dbeta + j, left), share);
        const V(t) mean_gx = V(mul)(FN(load_some)(dgamma + j, left), share);
        slope = V(fnma)(xhat, mean_gx, V(sub)(slope, mean_g));
    }
    const V(t) factor = V(mul)(FN(load_some)(gamma + j, left), scale);
    FN(store_some)(dx + j, V(mul)(factor, slope), left);
}

/* Training: dx = gamma inverse_std (dy - dbeta / n_batch - xhat dgamma / n_batch), for n_rows of the n_batch rows
 * that dgamma and dbeta were summed over. Inference (dgamma, dbeta NULL): dx = gamma inverse_std dy. dx may be
 * dy. Row by row, with 1 / n_batch as a factor: column by column would save the products, but rows whose
 * distance is a power of two throw each other out of the cache. */
static void FN(batch_norm_backward_input)(size_t n_batch, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                          const REAL *gamma, const REAL *mean, const REAL *inverse_std,
                                          const REAL *dgamma, const REAL *dbeta, const REAL *dy, size_t ld_dy,
                                          REAL *dx, size_t ld_dx)
{
    const V(t) share = V(set1)((REAL)(1 / (double)n_batch));
    for (size_t i = 0; i < n_rows; ++i, x += ld_x, dy += ld_dy, dx += ld_dx) {
        size_t j = 0;
        for (; j + V_LANES <= n_cols; j += V_LANES) {
            FN(batch_norm_dx)(V_LANES, j, share, x, gamma, mean, inverse_std, dgamma, dbeta, dy, dx);
        }
        if (j < n_cols) {
            FN(batch_norm_dx)(n_cols - j, j, share, x, gamma, mean, inverse_std, dgamma, dbeta, dy, dx);
        }
    }
}
