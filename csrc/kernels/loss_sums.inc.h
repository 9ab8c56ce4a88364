/* loss_sums.inc.h - sums of the terms of rows, and where losses go; a part of losses.inc.h, whose conventions hold. */

/* What turns a row's sum of terms into its loss. */
static inline double FN(loss_finish)(int kind, size_t n_out)
{
    return kind == CR_SQUARED_ERROR ? 0.5 : kind == CR_MEAN_SQUARED_ERROR && n_out > 0 ? 1 / (double)n_out : 1;
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

/* finish sums[0], .. as doubles, times their weights unless these are NULL: V_LANES of them. */
CR_INLINE void FN(finished)(cr_f64_t finish, const REAL *sums, const REAL *weight, cr_f64_t losses[V_WIDE])
{
    V(t) sum = V(load)(sums), w = V(set1)(1);
    if (weight != NULL) {
        w = V(load)(weight);
        const V(mask_t) is_there = V(mask_not)(V(eq)(w, V(zero)()));
        sum = V(keep)(is_there, sum);
        w = V(keep)(is_there, w);
    }
    cr_f64_t weights[V_WIDE];
    V(widen)(sum, losses);
    V(widen)(w, weights);
    for (size_t v = 0; v < V_WIDE; ++v) {
        losses[v] = cr_f64_mul(finish, losses[v]);
        losses[v] = weight != NULL ? cr_f64_mul(losses[v], weights[v]) : losses[v];
    }
}

/* The losses finish sums[r] of n_rows rows from row `first` on, a multiple of 16; weight: of those rows. */
CR_NOINLINE void FN(give_losses)(FN(row_losses) *to, size_t first, size_t n_rows, double finish, const REAL *sums,
                                 const REAL *weight)
{
    const size_t whole = n_rows / 16 * 16;
    const cr_f64_t by = cr_f64_set1(finish);
    double *const each = to->each;
    if (each != NULL) {
        for (size_t r = 0; r < whole; r += V_LANES) {
            cr_f64_t losses[V_WIDE];
            FN(finished)(by, sums + r, weight != NULL ? weight + r : NULL, losses);
            for (size_t v = 0; v < V_WIDE; ++v) {
                cr_f64_store(each + first + r + v * CR_F64_LANES, losses[v]);
            }
        }
    } else if (whole != 0) {
        cr_f64_turning partial = cr_f64_turning_begin(to->partial);
        for (size_t r = 0; r < whole; r += V_LANES) {
            cr_f64_t losses[V_WIDE];
            FN(finished)(by, sums + r, weight != NULL ? weight + r : NULL, losses);
            for (size_t v = 0; v < V_WIDE; ++v) {
                cr_f64_turning_add(&partial, losses[v]);
            }
        }
        cr_f64_turning_end(&partial, to->partial);
    }
    for (size_t r = whole; r < n_rows; ++r) {
        FN(give_loss)(to, first + r, weight != NULL ? weight[r] : 1, finish * (double)sums[r]);
    }
}

/* ---- sums of the terms of short rows: lanes are rows --------------------------------------------------------- */

/* row_sums of rows of 2 or 4 terms, n_out a constant where this is called: column 0 from column 1 if there are two,
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

/* The first `most` partial sums of a row, 8 or 16, a constant where this is called, folded 8-4-2-1 until they are one
 * vector. They are used up. */
CR_INLINE V(t) FN(fold_pieces)(const size_t most, V(t) piece[16 / V_LANES])
{
    for (size_t half = most / 2 / V_LANES; half > 0; half /= 2) {
        for (size_t v = 0; v < half; ++v) {
            piece[v] = V(add)(piece[v], piece[v + half]);
        }
    }
    return piece[0];
}

/* The same of n <= most that lie in memory. */
CR_INLINE V(t) FN(fold_to_vector)(const size_t most, size_t n, const REAL *partial)
{
    V(t) piece[16 / V_LANES];
    for (size_t v = 0; v * V_LANES < most; ++v) {
        const size_t left = n > v * V_LANES ? n - v * V_LANES : 0;
        piece[v] = left > 0 ? FN(load_some)(partial + v * V_LANES, left < V_LANES ? left : V_LANES) : V(zero)();
    }
    return FN(fold_pieces)(most, piece);
}

/* row_sums of any number of terms to `most`. */
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

/* row_sums of more than 16 terms. */
CR_INLINE void FN(longer_sums)(size_t n_rows, size_t n_out, const REAL *terms, REAL *sums)
{
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        V(t) row[V_LANES];
        for (size_t r = 0; r < V_LANES; ++r) {
            V(t) partial[16 / V_LANES];
            FN(clear_partials)(partial);
            FN(add_to_partials)(n_out, terms + (i + r) * n_out, partial);
            row[r] = FN(fold_pieces)(16, partial);
        }
        V(store)(sums + i, V(fold)(row));
    }
}

/* sums[r] of the dense row r of terms, by 16 partial sums. Reads up to V_LANES rows beyond them, and
 * writes whole vectors. */
CR_NOINLINE void FN(row_sums)(size_t n_rows, size_t n_out, const REAL *restrict terms, REAL *restrict sums)
{
    if (n_out == 2) {
        FN(unzipped_sums)(2, n_rows, terms, sums);
    } else if (n_out == 3) { /* plain C costs half of a transpose */
        for (size_t r = 0; r < n_rows; ++r) {
            sums[r] = (terms[3 * r] + terms[3 * r + 2]) + terms[3 * r + 1];
        }
    } else if (n_out == 4) {
        FN(unzipped_sums)(4, n_rows, terms, sums);
    } else if (n_out <= 8 && V_LANES <= 8) {
        FN(folded_sums)(8, n_rows, n_out, terms, sums);
    } else if (n_out <= 16) {
        FN(folded_sums)(16, n_rows, n_out, terms, sums);
    } else {
        FN(longer_sums)(n_rows, n_out, terms, sums);
    }
}
