/* loss_softmax.inc.h - softmax cross entropy from logits; a part of losses.inc.h, whose conventions hold.
 *
 * With m = max z, d_j = z_j - m (0 where z_j is m, also if both are infinite), e_j = exp(d_j):
 *     sum_j e_j = 1 + excess,  excess = (how many z_j equal m) - 1 + (sum of the other e_j)
 *     loss      = T log1p(excess) - sum_j t_j d_j,                 T = sum_j t_j
 *     gradient  = ((T e_j - t_j) - t_j excess) / (1 + excess),     that is T softmax_j - t_j
 * Both parts of the loss are >= 0, and keeping `excess` apart from the 1 keeps every digit of a small loss and of
 * its gradient, where 1 + 1e-9 would be 1 in float. t_j = 0 at z_j = -inf adds nothing. A row of equal logits,
 * infinite ones too, has the uniform distribution. A NaN passes m by, but not e, so all of its row is NaN.
 */

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

/* ---- more classes: a row at a time --------------------------------------------------------------------- */

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

static void FN(softmax_wide)(const FN(loss_constants) *c, REAL scale, size_t n_rows, size_t n_out,
                             const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                             const int32_t *labels, const REAL *weight, FN(row_losses) *to,
                             REAL *grad, size_t ld_grad)
{
    for (size_t i = 0; i < n_rows; ++i) {
        const REAL *z = prediction + i * ld_prediction;
        const REAL *t = labels != NULL ? NULL : target + i * ld_target;
        const int32_t *label = labels != NULL ? labels + i : NULL;
        REAL *g = grad != NULL ? grad + i * ld_grad : NULL;
        const V(t) highest = V(set1)(FN(row_max)(n_out, z));
        FN(softmax_sums) partial[16 / V_LANES];
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            partial[v] = (FN(softmax_sums)){V(zero)(), V(zero)(), V(zero)(), V(zero)()};
        }
        size_t j = 0;
        for (; j + 16 <= n_out; j += 16) {
            for (size_t v = 0; v < 16 / V_LANES; ++v) {
                FN(softmax_piece)(c, V_LANES, j + v * V_LANES, z, highest, t, label, &partial[v], g);
            }
        }
        for (size_t v = 0; j < n_out; ++v, j += V_LANES) {
            const size_t left = n_out - j < V_LANES ? n_out - j : V_LANES;
            FN(softmax_piece)(c, left, j, z, highest, t, label, &partial[v], g);
        }
        V(t) others[16 / V_LANES], ties[16 / V_LANES], total[16 / V_LANES], cost[16 / V_LANES];
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            others[v] = partial[v].others;
            ties[v] = partial[v].ties;
            total[v] = partial[v].target;
            cost[v] = partial[v].cost;
        }
        const FN(softmax_sums) sums = {V(set1)(FN(fold_partials)(others)), V(set1)(FN(fold_partials)(ties)),
                                       V(set1)(FN(fold_partials)(total)), V(set1)(FN(fold_partials)(cost))};
        V(t) excess, inverse;
        REAL loss[V_LANES];
        V(store)(loss, FN(softmax_loss)(sums, &excess, &inverse));
        const REAL w = weight != NULL ? weight[i] : 1;
        FN(give_loss)(to, i, w, (double)loss[0]);
        if (g == NULL) {
            continue;
        }
        const V(t) factor = V(set1)(scale * w);
        for (j = 0; j < n_out; j += V_LANES) {
            const size_t left = n_out - j < V_LANES ? n_out - j : V_LANES;
            const V(t) e = FN(load_some)(g + j, left);
            const V(t) goal = FN(smoothed)(c, FN(load_target)(left, j, t, label));
            const V(t) slope = FN(softmax_gradient)(e, goal, sums.target, excess, inverse);
            FN(store_some)(g + j, V(mul)(factor, slope), left);
        }
    }
}
