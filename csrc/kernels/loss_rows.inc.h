/* loss_rows.inc.h - rows of loss terms; a part of losses.inc.h, whose conventions hold.
 *
 * Three ways through the same sums, chosen by shape alone and with the same bits: rows as lanes for one output
 * a row, rows as lanes after a transposition for up to 16, columns as lanes beyond that.
 */

/* The V_LANES columns from j on of the one-hot row of `label`. */
CR_INLINE V(t) FN(one_hot)(size_t j, int32_t label)
{
    const size_t lane = (size_t)label - j; /* huge if the label lies before j */
    if (lane >= V_LANES) {
        return V(zero)();
    }
    REAL lanes[V_LANES] = {0};
    lanes[lane] = 1;
    return V(load)(lanes);
}

/* `left` <= V_LANES targets from column j on: of the row `target`, or one-hot of *label if label is given. */
CR_INLINE V(t) FN(load_target)(size_t left, size_t j, const REAL *target, const int32_t *label)
{
    if (label != NULL) {
        return FN(one_hot)(j, *label);
    }
    return FN(load_some)(target + j, left);
}

/* The terms of `left` <= V_LANES outputs from column j on, +0 beyond them; writes their gradients. */
CR_INLINE V(t) FN(loss_piece)(int kind, const FN(loss_constants) *c, size_t left, size_t j, const REAL *prediction,
                              const REAL *target, const int32_t *label, V(t) factor, REAL *grad)
{
    const V(t) p = FN(load_some)(prediction + j, left);
    V(t) slope;
    const V(t) terms = FN(loss_terms)(kind, c, p, FN(load_target)(left, j, target, label), &slope);
    if (grad != NULL) {
        FN(store_some)(grad + j, V(mul)(factor, slope), left);
    }
    return left == V_LANES ? terms : V(keep)(V(mask_first)(left), terms);
}

/* What turns a row's sum of terms into its loss. */
static inline double FN(loss_finish)(int kind, size_t n_out)
{
    return kind == CR_SQUARED_ERROR ? 0.5 : kind == CR_MEAN_SQUARED_ERROR && n_out > 0 ? 1 / (double)n_out : 1;
}

/* row_loss of up to V_LANES rows from their sums of terms. */
CR_INLINE void FN(finish_rows)(size_t n_rows, double finish, V(t) sums, const REAL *weight, double *row_loss)
{
    REAL loss[V_LANES];
    V(store)(loss, sums);
    for (size_t r = 0; r < n_rows; ++r) {
        row_loss[r] = (weight != NULL ? (double)weight[r] : 1) * (finish * (double)loss[r]);
    }
}

/* One output a row and all rows adjacent: rows are lanes. A sum of one term is the term, so the bits are those
 * of elementwise_rows. */
CR_INLINE void FN(elementwise_column)(int kind, const FN(loss_constants) *c, REAL scale, size_t n_rows,
                                      const REAL *prediction, const REAL *target, const REAL *weight,
                                      double *row_loss, REAL *grad)
{
    const double finish = FN(loss_finish)(kind, 1);
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        const size_t left = n_rows - i < V_LANES ? n_rows - i : V_LANES;
        const V(t) w = weight != NULL ? V(load_tail)(weight + i, left) : V(set1)(1);
        const V(t) factor = V(mul)(V(set1)(scale), w);
        /* Added to +0 as a partial sum is, which makes a +0 of -0. */
        const V(t) terms = V(add)(
            V(zero)(), FN(loss_piece)(kind, c, left, i, prediction, target, NULL, factor, grad));
        FN(finish_rows)(left, finish, terms, weight != NULL ? weight + i : NULL, row_loss + i);
    }
}

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

/* The same of rows first .. of the targets, or of the one-hot rows of the labels if they are given. */
CR_NOINLINE void FN(load_target_columns)(size_t n_rows, size_t n_out, size_t first, const REAL *target,
                                           size_t ld_target, const int32_t *labels, V(t) columns[16])
{
    if (labels == NULL) {
        FN(load_columns)(n_rows, n_out, target + first * ld_target, ld_target, columns);
        return;
    }
    REAL lanes[V_LANES] = {0};
    for (size_t r = 0; r < n_rows; ++r) {
        lanes[r] = (REAL)labels[first + r];
    }
    const V(t) label = V(load)(lanes);
    for (size_t j = 0; j < n_out; ++j) {
        columns[j] = V(keep)(V(eq)(label, V(set1)((REAL)j)), V(set1)(1));
    }
}

/* The sums of rows whose n <= 16 partial sums are columns[0 .. n-1], folded 8-4-2-1. columns are used up. Apart, for
 * the losses share it at no cost; finish_rows apart costs a fifth of their time. */
CR_NOINLINE V(t) FN(fold_columns)(size_t n, V(t) columns[16])
{
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t j = 0; j + half < n; ++j) {
            columns[j] = V(add)(columns[j], columns[j + half]);
        }
        n = n < half ? n : half;
    }
    return columns[0];
}

/* Up to 16 outputs: rows are lanes, and the 16 partial sums of a row are its terms. The bits are those of
 * elementwise_rows; the time of a row is a fraction. */
CR_INLINE void FN(elementwise_narrow)(int kind, const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                                      const REAL *prediction, size_t ld_prediction, const REAL *target,
                                      size_t ld_target, const int32_t *labels, const REAL *weight, double *row_loss,
                                      REAL *grad, size_t ld_grad)
{
    const double finish = FN(loss_finish)(kind, n_out);
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        const size_t rows = n_rows - i < V_LANES ? n_rows - i : V_LANES;
        const V(t) w = weight != NULL ? V(load_tail)(weight + i, rows) : V(set1)(1);
        const V(t) factor = V(mul)(V(set1)(scale), w);
        V(t) p[16], t[16], partial[16];
        FN(load_columns)(rows, n_out, prediction + i * ld_prediction, ld_prediction, p);
        FN(load_target_columns)(rows, n_out, i, target, ld_target, labels, t);
        for (size_t j = 0; j < n_out; ++j) {
            V(t) slope;
            const V(t) terms = FN(loss_terms)(kind, c, p[j], t[j], &slope);
            partial[j] = V(add)(V(zero)(), terms); /* makes a +0 of -0, as elementwise_rows does */
            p[j] = V(mul)(factor, slope);
        }
        const V(t) sums = FN(fold_columns)(n_out, partial);
        FN(finish_rows)(rows, finish, sums, weight != NULL ? weight + i : NULL, row_loss + i);
        if (grad != NULL) {
            FN(store_columns)(rows, n_out, p, grad + i * ld_grad, ld_grad);
        }
    }
}

CR_INLINE void FN(elementwise_rows)(int kind, const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                                    const REAL *prediction, size_t ld_prediction, const REAL *target,
                                    size_t ld_target, const int32_t *labels, const REAL *weight, double *row_loss,
                                    REAL *grad, size_t ld_grad)
{
    const double finish = FN(loss_finish)(kind, n_out);
    for (size_t i = 0; i < n_rows; ++i) {
        const REAL w = weight != NULL ? weight[i] : 1;
        const V(t) factor = V(set1)(scale * w);
        const REAL *p = prediction + i * ld_prediction;
        const REAL *t = labels != NULL ? NULL : target + i * ld_target;
        const int32_t *label = labels != NULL ? labels + i : NULL;
        REAL *g = grad != NULL ? grad + i * ld_grad : NULL;
        V(t) partial[16 / V_LANES];
        FN(clear_partials)(partial);
        /* One copy of the terms, not one a partial sum: they are long, and each loss and ISA has its own. */
        size_t v = 0;
        for (size_t j = 0; j < n_out; j += V_LANES) {
            const size_t left = n_out - j < V_LANES ? n_out - j : V_LANES;
            partial[v] = V(add)(partial[v], FN(loss_piece)(kind, c, left, j, p, t, label, factor, g));
            v = (v + 1) % (16 / V_LANES);
        }
        row_loss[i] = (double)w * (finish * (double)FN(fold_partials)(partial));
    }
}
