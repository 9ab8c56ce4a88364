/* loss_softmax.inc.h - softmax cross entropy from logits; a part of losses.inc.h, whose conventions hold.
 *
 * With m = max z, d_j = z_j - m (0 where z_j is m, also if both are infinite), e_j = exp(d_j):
 *     sum_j e_j = 1 + excess,  excess = (how many z_j equal m) - 1 + (sum of the other e_j)
 *     loss      = T log1p(excess) - sum_j t_j d_j,                 T = sum_j t_j
 *     gradient  = ((T e_j - t_j) - t_j excess) / (1 + excess),     that is T softmax_j - t_j
 * Both parts of the loss are >= 0, and keeping `excess` apart from the 1 keeps every digit of a small loss and of
 * its gradient, where 1 + 1e-9 would be 1 in float. t_j = 0 at z_j = -inf adds nothing. A row of equal logits,
 * infinite ones too, has the uniform distribution. m passes over a NaN, but e does not, so all of its row is NaN.
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

/* What one column of logits adds to the four sums of a row. */
typedef struct FN(softmax_sums) {
    V(t) others, ties, target, cost;
} FN(softmax_sums);

/* Adds the lanes `live` of z with targets t to the sums, and returns e. */
CR_INLINE V(t) FN(softmax_add)(V(mask_t) live, V(t) z, V(t) highest, V(t) t, FN(softmax_sums) *sums)
{
    const V(mask_t) top = V(eq)(z, highest), below = V(mask_and)(live, V(mask_not)(top));
    const V(mask_t) counts = V(mask_and)(live, V(mask_not)(V(eq)(t, V(zero)())));
    const V(t) d = V(keep)(below, V(sub)(z, highest));
    const V(t) e = FN(v_exp_nonpositive)(d);
    sums->others = V(add)(sums->others, V(keep)(below, e));
    sums->ties = V(add)(sums->ties, V(keep)(V(mask_and)(live, top), V(set1)(1)));
    sums->target = V(add)(sums->target, V(keep)(live, t));
    sums->cost = V(add)(sums->cost, V(keep)(counts, V(mul)(t, V(neg)(d))));
    return e;
}

/* From folded sums: the loss; *excess and *inverse = 1 / (1 + excess) for the gradient. */
CR_INLINE V(t) FN(softmax_loss)(FN(softmax_sums) sums, V(t) *excess, V(t) *inverse)
{
    const V(t) one = V(set1)(1);
    *excess = V(add)(sums.others, V(sub)(sums.ties, one));
    *inverse = V(div)(one, V(add)(one, *excess));
    return V(fma)(sums.target, FN(v_log1p)(*excess), sums.cost);
}

CR_INLINE V(t) FN(softmax_gradient)(V(t) e, V(t) t, V(t) total, V(t) excess, V(t) inverse)
{
    return V(mul)(V(fnma)(t, excess, V(fma)(total, e, V(neg)(t))), inverse);
}

/* ---- up to 16 classes: rows are lanes ----------------------------------------------------------------- */

/* The 16 partial sums of a row of n_out <= 16 are its elements; folded 8-4-2-1, lane by lane. */
CR_INLINE FN(softmax_sums) FN(softmax_fold)(size_t n_out, FN(softmax_sums) partial[16])
{
    size_t n = n_out;
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t j = 0; j + half < n; ++j) {
            partial[j].others = V(add)(partial[j].others, partial[j + half].others);
            partial[j].ties = V(add)(partial[j].ties, partial[j + half].ties);
            partial[j].target = V(add)(partial[j].target, partial[j + half].target);
            partial[j].cost = V(add)(partial[j].cost, partial[j + half].cost);
        }
        n = n < half ? n : half;
    }
    return partial[0];
}

static void FN(softmax_narrow)(const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                               const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                               const int32_t *labels, const REAL *weight, FN(row_losses) *to,
                               REAL *grad, size_t ld_grad)
{
    REAL loss[16]; /* of as many rows */
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        const size_t rows = n_rows - i < V_LANES ? n_rows - i : V_LANES;
        V(t) z[16], t[16];
        FN(load_columns)(rows, n_out, prediction + i * ld_prediction, ld_prediction, z);
        FN(load_target_columns)(rows, n_out, i, target, ld_target, labels, t);
        V(t) highest = V(set1)((REAL)-INFINITY);
        for (size_t j = 0; j < n_out; ++j) {
            t[j] = FN(smoothed)(c, t[j]);
            highest = V(max)(z[j], highest); /* the new one first: a NaN is passed over */
        }
        FN(softmax_sums) partial[16];
        for (size_t j = 0; j < n_out; ++j) {
            partial[j] = (FN(softmax_sums)){V(zero)(), V(zero)(), V(zero)(), V(zero)()};
            z[j] = FN(softmax_add)(V(mask_first)(V_LANES), z[j], highest, t[j], &partial[j]); /* now e */
        }
        const FN(softmax_sums) sums = FN(softmax_fold)(n_out, partial);
        V(t) excess, inverse;
        V(store)(loss + i % 16, FN(softmax_loss)(sums, &excess, &inverse));
        if (i % 16 + V_LANES == 16 || i + rows == n_rows) {
            const size_t first = i - i % 16;
            FN(give_losses)(to, first, i + rows - first, 1, loss, weight != NULL ? weight + first : NULL);
        }
        if (grad != NULL) {
            const V(t) w = weight != NULL ? V(load_tail)(weight + i, rows) : V(set1)(1);
            const V(t) factor = V(mul)(V(set1)(scale), w);
            for (size_t j = 0; j < n_out; ++j) {
                z[j] = V(mul)(factor, FN(softmax_gradient)(z[j], t[j], sums.target, excess, inverse));
            }
            FN(store_columns)(rows, n_out, z, grad + i * ld_grad, ld_grad);
        }
    }
}

/* ---- more classes: the exponentials row by row, what follows from their sums for a vector of rows ---------- */

/* Bytes of logits taken together: they stay in the first-level cache from the search for the greatest on. */
#define CR_SOFTMAX_BYTES ((size_t)24 << 10)
/* Fewer rows cost less one by one. */
#define CR_SOFTMAX_ROWS 3

/* A vector with the greatest of z[0 .. n-1] in one of its lanes, NaNs passed over. */
CR_INLINE V(t) FN(greatest_lanes)(size_t n, const REAL *z)
{
    const V(t) lowest = V(set1)((REAL)-INFINITY);
    V(t) greatest[2] = {lowest, lowest};
    size_t j = 0;
    for (; j + 2 * V_LANES <= n; j += 2 * V_LANES) {
        greatest[0] = V(max)(V(load)(z + j), greatest[0]); /* the new one first */
        greatest[1] = V(max)(V(load)(z + j + V_LANES), greatest[1]);
    }
    for (; j < n; j += V_LANES) {
        const V(mask_t) live = V(mask_first)(n - j < V_LANES ? n - j : V_LANES);
        greatest[0] = V(max)(V(select)(live, V(load_masked)(live, z + j), lowest), greatest[0]);
    }
    return V(max)(greatest[1], greatest[0]);
}

/* to[r] = the greatest element of row r of z; n_rows <= V_LANES. A maximum is the same in every order but for the sign
 * of a zero, which no result shows: z_j - m is 0 where z_j is either zero. */
CR_INLINE void FN(greatest_of_rows)(size_t n_rows, size_t n_out, const REAL *z, size_t ld_z, REAL to[V_LANES])
{
    for (size_t r = 0; n_rows < CR_SOFTMAX_ROWS && r < n_rows; ++r) {
        to[r] = FN(row_max)(n_out, z + r * ld_z);
    }
    if (n_rows < CR_SOFTMAX_ROWS) {
        return;
    }
    V(t) row[V_LANES];
    for (size_t r = 0; r < V_LANES; ++r) {
        row[r] = r < n_rows ? FN(greatest_lanes)(n_out, z + r * ld_z) : V(zero)();
    }
    V(transpose)(row);
    for (size_t half = V_LANES / 2; half > 0; half /= 2) {
        for (size_t r = 0; r < half; ++r) {
            row[r] = V(max)(row[r + half], row[r]);
        }
    }
    V(store)(to, row[0]);
}

/* Lane r: the lanes of row[r] folded by halves, for r < n_rows <= V_LANES. The other rows become zeros. */
CR_NOINLINE V(t) FN(fold_rows)(size_t n_rows, V(t) row[V_LANES])
{
    if (n_rows >= CR_SOFTMAX_ROWS) {
        for (size_t r = n_rows; r < V_LANES; ++r) {
            row[r] = V(zero)();
        }
        return V(fold)(row);
    }
    REAL lanes[V_LANES] = {0};
    for (size_t r = 0; r < n_rows; ++r) {
        REAL s[16] = {0};
        V(store)(s, row[r]);
        lanes[r] = FN(fold16)(s);
    }
    return V(load)(lanes);
}

/* The sums of `left` <= V_LANES columns from j on; e is left in grad, if there is one. */
CR_INLINE void FN(softmax_piece)(const FN(loss_constants) *c, size_t left, size_t j, const REAL *z, V(t) highest,
                                 const REAL *target, const int32_t *label, FN(softmax_sums) *sums, REAL *grad)
{
    const V(mask_t) live = V(mask_first)(left);
    const V(t) value = FN(load_some)(z + j, left);
    const V(t) t = FN(smoothed)(c, FN(load_target)(left, j, target, label));
    const V(t) e = FN(softmax_add)(live, value, highest, t, sums);
    if (grad != NULL) {
        FN(store_some)(grad + j, e, left);
    }
}

/* The four sums of a row, each as the one vector that 16 partial sums are folded to. */
CR_INLINE FN(softmax_sums) FN(softmax_row_sums)(const FN(loss_constants) *c, size_t n_out, const REAL *z, V(t) highest,
                                                const REAL *target, const int32_t *label, REAL *grad)
{
    FN(softmax_sums) partial[16 / V_LANES];
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        partial[v] = (FN(softmax_sums)){V(zero)(), V(zero)(), V(zero)(), V(zero)()};
    }
    size_t j = 0;
    for (; j + 16 <= n_out; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            FN(softmax_piece)(c, V_LANES, j + v * V_LANES, z, highest, target, label, &partial[v], grad);
        }
    }
    for (size_t v = 0; j < n_out; ++v, j += V_LANES) {
        const size_t left = n_out - j < V_LANES ? n_out - j : V_LANES;
        FN(softmax_piece)(c, left, j, z, highest, target, label, &partial[v], grad);
    }
    V(t) others[16 / V_LANES], ties[16 / V_LANES], total[16 / V_LANES], cost[16 / V_LANES];
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        others[v] = partial[v].others;
        ties[v] = partial[v].ties;
        total[v] = partial[v].target;
        cost[v] = partial[v].cost;
    }
    return (FN(softmax_sums)){FN(fold_pieces)(16, others), FN(fold_pieces)(16, ties), FN(fold_pieces)(16, total),
                              FN(fold_pieces)(16, cost)};
}

static void FN(softmax_wide)(const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                             const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                             const int32_t *labels, const REAL *weight, FN(row_losses) *to,
                             REAL *grad, size_t ld_grad)
{
    const size_t fit = CR_SOFTMAX_BYTES / (n_out * sizeof(REAL)), most = fit < 1 ? 1 : fit < V_LANES ? fit : V_LANES;
    V(t) others[V_LANES], ties[V_LANES], total[V_LANES], cost[V_LANES]; /* of the rows */
    for (size_t i = 0; i < n_rows; i += most) {
        const size_t rows = n_rows - i < most ? n_rows - i : most;
        const REAL *z = prediction + i * ld_prediction;
        REAL highest[V_LANES], loss[V_LANES], totals[V_LANES], excesses[V_LANES], inverses[V_LANES];
        FN(greatest_of_rows)(rows, n_out, z, ld_prediction, highest);
        for (size_t r = 0; r < rows; ++r) {
            const FN(softmax_sums) sums = FN(softmax_row_sums)(
                c, n_out, z + r * ld_prediction, V(set1)(highest[r]),
                labels != NULL ? NULL : target + (i + r) * ld_target, labels != NULL ? labels + i + r : NULL,
                grad != NULL ? grad + (i + r) * ld_grad : NULL);
            others[r] = sums.others;
            ties[r] = sums.ties;
            total[r] = sums.target;
            cost[r] = sums.cost;
        }
        const FN(softmax_sums) sums = {FN(fold_rows)(rows, others), FN(fold_rows)(rows, ties),
                                       FN(fold_rows)(rows, total), FN(fold_rows)(rows, cost)};
        V(t) excess, inverse;
        V(store)(loss, FN(softmax_loss)(sums, &excess, &inverse));
        V(store)(totals, sums.target);
        V(store)(excesses, excess);
        V(store)(inverses, inverse);
        for (size_t r = 0; r < rows; ++r) {
            const REAL w = weight != NULL ? weight[i + r] : 1;
            const REAL *t = labels != NULL ? NULL : target + (i + r) * ld_target;
            const int32_t *label = labels != NULL ? labels + i + r : NULL;
            const V(t) factor = V(set1)(scale * w), row_total = V(set1)(totals[r]);
            const V(t) row_excess = V(set1)(excesses[r]), row_inverse = V(set1)(inverses[r]);
            FN(give_loss)(to, i + r, w, (double)loss[r]);
            for (size_t j = 0; grad != NULL && j < n_out; j += V_LANES) {
                REAL *const g = grad + (i + r) * ld_grad + j;
                const size_t left = n_out - j < V_LANES ? n_out - j : V_LANES;
                const V(t) e = FN(load_some)(g, left);
                const V(t) goal = FN(smoothed)(c, FN(load_target)(left, j, t, label));
                const V(t) slope = FN(softmax_gradient)(e, goal, row_total, row_excess, row_inverse);
                FN(store_some)(g, V(mul)(factor, slope), left);
            }
        }
    }
}
