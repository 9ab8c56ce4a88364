/* loss_rows.inc.h - rows of loss terms; a part of losses.inc.h, whose conventions hold.
 *
 * Two ways through the same sums, chosen by shape alone and with the same bits: for up to 16 outputs a row, the
 * terms of many rows at once, elements as lanes, and then the sums of rows as lanes; beyond that a row at a time.
 */

static const REAL FN(lane_numbers)[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The V_LANES columns from j on of the one-hot row of `label`. */
CR_INLINE V(t) FN(one_hot)(size_t j, int32_t label)
{
    const size_t lane = (size_t)label - j; /* huge if the label lies before j */
    if (lane >= V_LANES) {
        return V(zero)();
    }
    return V(keep)(V(eq)(V(load)(FN(lane_numbers)), V(set1)((REAL)lane)), V(set1)(1));
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

/* load_columns of rows first .. of the targets, or of the one-hot rows of the labels if they are given. */
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

/* ---- up to 16 outputs ------------------------------------------------------------------------------------
 * Rows are lanes for the sums of terms alone, not for predictions, targets and gradients: so a row costs a fraction. */

/* Elements a turn: their terms (4 or 8 kB) stay in the first-level cache, and are read back long after they were
 * stored. */
#define CR_TURN 1024

/* Dense rows, n elements in all: their terms, each added to +0 as elementwise_rows does, and factor times their
 * slopes. Writes whole vectors of terms. */
CR_INLINE void FN(loss_flat)(int kind, const FN(loss_constants) *c, REAL factor, size_t n, const REAL *prediction,
                             const REAL *target, REAL *terms, REAL *grad)
{
    const V(t) by = V(set1)(factor);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        V(t) slope;
        const V(t) p = FN(load_some)(prediction + i, left), t = FN(load_some)(target + i, left);
        V(store)(terms + i, V(add)(V(zero)(), FN(loss_terms)(kind, c, p, t, &slope)));
        if (grad != NULL) {
            FN(store_some)(grad + i, V(mul)(by, slope), left);
        }
    }
}

/* to: the rows of `from` side by side; the other way round, each row times its factor. */
CR_NOINLINE void FN(close_rows)(size_t n_rows, size_t n_out, const REAL *from, size_t ld_from, REAL *to)
{
    for (size_t r = 0; r < n_rows; ++r) {
        for (size_t j = 0; j < n_out; ++j) {
            to[r * n_out + j] = from[r * ld_from + j];
        }
    }
}
CR_NOINLINE void FN(spread_rows)(size_t n_rows, size_t n_out, REAL scale, const REAL *restrict weight,
                                 const REAL *restrict from, REAL *restrict to, size_t ld_to)
{
    if (n_out == 1 && ld_to == 1 && weight != NULL) { /* plain C, of which compilers make vectors */
        for (size_t r = 0; r < n_rows; ++r) {
            to[r] = scale * weight[r] * from[r];
        }
        return;
    }
    for (size_t r = 0; r < n_rows; ++r) {
        const REAL factor = scale * (weight != NULL ? weight[r] : 1);
        for (size_t j = 0; j < n_out; ++j) {
            to[r * ld_to + j] = factor * from[r * n_out + j];
        }
    }
}

CR_INLINE void FN(elementwise_narrow)(int kind, const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                                      const REAL *prediction, size_t ld_prediction, const REAL *target,
                                      size_t ld_target, const REAL *weight, FN(row_losses) *to, REAL *grad,
                                      size_t ld_grad)
{
    const double finish = FN(loss_finish)(kind, n_out);
    /* Slopes can go straight to their place if all rows have one factor and lie side by side. */
    const int direct = grad == NULL || (weight == NULL && ld_grad == n_out);
    const size_t turn = CR_TURN / n_out / 16 * 16; /* rows; whole vectors of elements */
    REAL terms[CR_TURN + 17 * V_LANES], p[CR_TURN], t[CR_TURN], slopes[CR_TURN], sums[CR_TURN / 2];
    for (size_t i = 0; i < n_rows; i += turn) {
        const size_t rows = n_rows - i < turn ? n_rows - i : turn, n = rows * n_out;
        const REAL *from_p = prediction + i * ld_prediction, *from_t = target + i * ld_target;
        const REAL *w = weight != NULL ? weight + i : NULL;
        REAL *g = grad != NULL ? grad + i * ld_grad : NULL;
        if (ld_prediction != n_out) {
            FN(close_rows)(rows, n_out, from_p, ld_prediction, p);
            from_p = p;
        }
        if (ld_target != n_out) {
            FN(close_rows)(rows, n_out, from_t, ld_target, t);
            from_t = t;
        }
        FN(loss_flat)(kind, c, direct ? scale : 1, n, from_p, from_t, terms, direct ? g : slopes);
        if (!direct) {
            FN(spread_rows)(rows, n_out, scale, w, slopes, g, ld_grad);
        }
        if (n_out > 1) {
            for (size_t beyond = 0; beyond <= (rows % V_LANES > 0 ? n_out * V_LANES : 0); beyond += V_LANES) {
                V(store)(terms + n + beyond, V(zero)()); /* what narrow_sums reads but nobody looks at */
            }
            FN(narrow_sums)(rows, n_out, terms, sums);
        }
        FN(give_losses)(to, i, rows, finish, n_out > 1 ? sums : terms, w);
    }
}

/* ---- any number of outputs -------------------------------------------------------------------------------- */

CR_INLINE void FN(elementwise_rows)(int kind, const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                                    const REAL *prediction, size_t ld_prediction, const REAL *target,
                                    size_t ld_target, const int32_t *labels, const REAL *weight,
                                    FN(row_losses) *to, REAL *grad, size_t ld_grad)
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
        FN(give_loss)(to, i, w, finish * (double)FN(fold_partials)(partial));
    }
}
