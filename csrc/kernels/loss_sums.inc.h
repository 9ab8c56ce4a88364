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

/* ---- rows of up to 16 terms: lanes are rows ------------------------------------------------------------------ */

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
