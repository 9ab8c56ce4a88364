/* loss_rows.inc.h - rows of loss terms; a part of losses.inc.h, whose conventions hold.
 *
 * Two ways through the same sums, chosen by shape alone and with the same bits: for up to 16 outputs a row, the
 * terms of many rows at once, elements as lanes, and then the sums of rows as lanes; beyond that a row at a time.
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

/* ---- where the losses of rows go --------------------------------------------------------------------------- */

/* Row i's: to each[i], or, if that is NULL, added to partial[i mod 16]. */
typedef struct FN(row_losses) {
    double *each;
    double partial[16];
} FN(row_losses);

/* w l; 0 for a row that is not there. */
CR_INLINE double FN(weighted_loss)(REAL weight, double loss) { return weight != 0 ? (double)weight * loss : 0; }

CR_INLINE void FN(give_loss)(FN(row_losses) *to, size_t i, REAL weight, double loss)
{
    const double value = FN(weighted_loss)(weight, loss);
    if (to->each != NULL) {
        to->each[i] = value;
    } else {
        to->partial[i % 16] += value;
    }
}

/* The losses finish sums[r] of n_rows rows from row `first` on, a multiple of 16; weight: of those rows. Plain C, of
 * which compilers make vectors. */
CR_NOINLINE void FN(give_losses)(FN(row_losses) *to, size_t first, size_t n_rows, double finish, const REAL *sums,
                                 const REAL *weight)
{
    if (to->each != NULL) {
        double *each = to->each + first;
        for (size_t r = 0; r < n_rows; ++r) {
            each[r] = finish * (double)sums[r];
        }
        for (size_t r = 0; weight != NULL && r < n_rows; ++r) {
            each[r] = FN(weighted_loss)(weight[r], each[r]);
        }
        return;
    }
    const size_t whole = weight == NULL ? n_rows / 16 * 16 : 0;
    double s[16];
    for (size_t k = 0; k < 16; ++k) {
        s[k] = to->partial[k];
    }
    for (size_t r = 0; r < whole; r += 16) {
        for (size_t k = 0; k < 16; ++k) {
            s[k] += finish * (double)sums[r + k];
        }
    }
    for (size_t k = 0; k < 16; ++k) {
        to->partial[k] = s[k];
    }
    for (size_t r = whole; r < n_rows; ++r) {
        FN(give_loss)(to, r, weight != NULL ? weight[r] : 1, finish * (double)sums[r]);
    }
}

/* ---- up to 16 outputs ------------------------------------------------------------------------------------
 * Rows as lanes for the sums of terms alone, not for predictions, targets and gradients, makes a row cost a fraction. */

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

/* narrow_sums of rows of 2 or 4 terms, n_out a constant where this is called: column 0 from column 1 if there are two,
 * even ones from odd ones if there are four, and then each of these streams the same way. */
CR_INLINE void FN(unzipped_sums)(const size_t n_out, size_t n_rows, const REAL *terms, REAL *sums)
{
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        V(t) column[4];
        for (size_t j = 0; j < n_out; ++j) {
            column[j] = V(load)(terms + i * n_out + j * V_LANES);
        }
        V(unzip)(column, column + 1);
        if (n_out == 4) {
            V(unzip)(column + 2, column + 3);
            V(unzip)(column, column + 2);
            V(unzip)(column + 1, column + 3);
            column[0] = V(add)(column[0], column[2]);
            column[1] = V(add)(column[1], column[3]);
        }
        V(store)(sums + i, V(add)(column[0], column[1]));
    }
}

/* The n partial sums of a row, folded 8-4-2-1 until they are one vector; n <= most, 8 or 16, a constant where this is
 * called. */
CR_INLINE V(t) FN(fold_to_vector)(const size_t most, size_t n, const REAL *partial)
{
    V(t) piece[16 / V_LANES];
    for (size_t v = 0; v * V_LANES < most; ++v) {
        const size_t left = n > v * V_LANES ? n - v * V_LANES : 0;
        piece[v] = left > 0 ? FN(load_some)(partial + v * V_LANES, left < V_LANES ? left : V_LANES) : V(zero)();
    }
    for (size_t half = most / 2 / V_LANES; half > 0; half /= 2) {
        for (size_t v = 0; v < half; ++v) {
            piece[v] = V(add)(piece[v], piece[v + half]);
        }
    }
    return piece[0];
}

/* narrow_sums of any number of terms to `most`. */
CR_INLINE void FN(folded_sums)(const size_t most, size_t n_rows, size_t n_out, const REAL *terms, REAL *sums)
{
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        V(t) row[V_LANES];
        for (size_t r = 0; r < V_LANES; ++r) {
            row[r] = FN(fold_to_vector)(most, n_out, terms + (i + r) * n_out);
        }
        V(store)(sums + i, V(fold)(row));
    }
}

/* sums[r] of the dense row r of terms: its terms are its 16 partial sums. Reads up to V_LANES rows beyond them, and
 * writes whole vectors. */
CR_NOINLINE void FN(narrow_sums)(size_t n_rows, size_t n_out, const REAL *restrict terms, REAL *restrict sums)
{
    switch (n_out) {
    case 2:
        FN(unzipped_sums)(2, n_rows, terms, sums);
        return;
    case 3: /* plain C costs half of a transpose */
        for (size_t r = 0; r < n_rows; ++r) {
            sums[r] = (terms[3 * r] + terms[3 * r + 2]) + terms[3 * r + 1];
        }
        return;
    case 4:
        FN(unzipped_sums)(4, n_rows, terms, sums);
        return;
    default:
        break;
    }
    if (n_out <= 8 && V_LANES <= 8) {
        FN(folded_sums)(8, n_rows, n_out, terms, sums);
    } else {
        FN(folded_sums)(16, n_rows, n_out, terms, sums);
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
