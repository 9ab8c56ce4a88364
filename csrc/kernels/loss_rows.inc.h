/* loss_rows.inc.h - losses whose terms know nothing of each other; a part of losses.inc.h, whose conventions hold.
 *
 * What a loss is stands in one function of elements (CR_EACH_FLAT_LOSS). What rows are - their places, labels, sums -
 * comes after it, once for all losses.
 */

/* Rows of elements: prediction, target and grad, which takes the slopes times scale and the row's weight, and may be
 * prediction. The terms, each added to +0, go to the first of `terms`, `column` and `partial` that is not NULL. */
typedef struct FN(elements) {
    const FN(loss_constants) *c;
    REAL scale;
    const REAL *weight; /* NULL: 1 for all rows */
    size_t n_rows, n_cols;
    const REAL *prediction, *target;
    size_t ld_prediction, ld_target;
    REAL *grad; /* may be NULL if the terms go to `partial` */
    size_t ld_grad;
    REAL *terms;    /* of one row: as they are, with zeros up to a whole vector */
    double *column; /* of one row: `finish` times each to its one of 16 partial sums, as if it were a row (is_cheap) */
    double finish;
    REAL *partial; /* each to its one of the row's 16 partial sums; rows lie 16 apart */
} FN(elements);

typedef void FN(flat_loss)(const FN(elements) *e);

/* Losses whose terms are worked out while the next elements come from memory: only these take a column, and each way
 * of theirs is a loop of its own. */
CR_INLINE int FN(is_cheap)(int kind)
{
    return kind == CR_SQUARED_ERROR || kind == CR_MEAN_SQUARED_ERROR || kind == CR_ABSOLUTE_ERROR
           || kind == CR_HUBER || kind == CR_QUANTILE || kind == CR_HINGE;
}

/* Row r; exactly one of terms, column and partial is not NULL. */
CR_INLINE void FN(flat_row)(int kind, const FN(elements) *e, size_t r, REAL *terms, double *column, REAL *partial)
{
    const FN(loss_constants) c = *e->c;
    const size_t n = e->n_cols;
    const REAL *const prediction = e->prediction + r * e->ld_prediction;
    const REAL *const target = e->target + r * e->ld_target;
    REAL *const grad = e->grad != NULL ? e->grad + r * e->ld_grad : NULL;
    const V(t) factor = V(set1)(e->weight != NULL ? e->scale * e->weight[r] : e->scale);
    const cr_f64_t finish = cr_f64_set1(e->finish);
    cr_f64_turning losses;
    V(turning) sums;
    if (column != NULL) {
        losses = cr_f64_turning_begin(column);
    }
    if (partial != NULL) {
        sums = V(turning_begin)(partial);
    }
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        const V(t) p = FN(load_some)(prediction + i, left), t = FN(load_some)(target + i, left);
        V(t) slope;
        V(t) term = V(add)(V(zero)(), FN(loss_terms)(kind, &c, p, t, &slope));
        if (left < V_LANES) {
            term = V(keep)(V(mask_first)(left), term);
        }
        if (partial == NULL || grad != NULL) {
            FN(store_some)(grad + i, V(mul)(factor, slope), left);
        }
        if (terms != NULL) {
            V(store)(terms + i, term);
        } else if (column != NULL) {
            cr_f64_t wide[V_WIDE];
            V(widen)(term, wide);
            for (size_t v = 0; v < V_WIDE; ++v) {
                cr_f64_turning_add(&losses, cr_f64_mul(finish, wide[v]));
            }
        } else {
            V(turning_add)(&sums, term);
        }
    }
    if (column != NULL) {
        cr_f64_turning_end(&losses, column);
    }
    if (partial != NULL) {
        V(turning_end)(&sums, partial);
    }
}

CR_INLINE void FN(flat)(int kind, const FN(elements) *e)
{
    if (FN(is_cheap)(kind) && e->terms != NULL) {
        FN(flat_row)(kind, e, 0, e->terms, NULL, NULL);
        return;
    }
    if (FN(is_cheap)(kind) && e->column != NULL) {
        FN(flat_row)(kind, e, 0, NULL, e->column, NULL);
        return;
    }
    for (size_t r = 0; r < e->n_rows; ++r) {
        if (FN(is_cheap)(kind)) {
            FN(flat_row)(kind, e, r, NULL, NULL, e->partial + 16 * r);
        } else {
            FN(flat_row)(kind, e, r, e->terms, NULL, e->terms != NULL ? NULL : e->partial + 16 * r);
        }
    }
}

/* A function each, so that each has its own terms only, and their table. */
#ifndef CR_EACH_FLAT_LOSS
#define CR_EACH_FLAT_LOSS(X)                           \
    X(CR_SQUARED_ERROR, squared_error)                 \
    X(CR_MEAN_SQUARED_ERROR, mean_squared_error)       \
    X(CR_ABSOLUTE_ERROR, absolute_error)               \
    X(CR_HUBER, huber)                                 \
    X(CR_LOG_COSH, log_cosh)                           \
    X(CR_QUANTILE, quantile)                           \
    X(CR_POISSON, poisson)                             \
    X(CR_CROSS_ENTROPY, cross_entropy)                 \
    X(CR_SIGMOID_CROSS_ENTROPY, sigmoid_cross_entropy) \
    X(CR_HINGE, hinge)
#endif
#define CR_FLAT_LOSS(kind, name) \
    static void FN(name##_flat)(const FN(elements) *e) { FN(flat)(kind, e); }
CR_EACH_FLAT_LOSS(CR_FLAT_LOSS)
#undef CR_FLAT_LOSS
#define CR_FLAT_LOSS(kind, name) [kind] = FN(name##_flat),
static FN(flat_loss) *const FN(flat_losses)[] = {CR_EACH_FLAT_LOSS(CR_FLAT_LOSS)[CR_SOFTMAX_CROSS_ENTROPY] = NULL};
#undef CR_FLAT_LOSS

/* ---- rows ----------------------------------------------------------------------------------------------------- */

#define CR_TURN 1024 /* elements at a time, at most: what is worked out of them stays in the first-level cache */
#define CR_SHORT 48  /* outputs of a short row, at most: 16 rows of them fit */
#define CR_FEW 2     /* rows that are not worth the sums of many */

/* Columns `first` to first + n_cols of the one-hot rows of the labels, side by side. */
CR_NOINLINE void FN(one_hot_rows)(size_t n_rows, size_t first, size_t n_cols, const int32_t *labels, REAL *to)
{
    for (size_t k = 0; k < n_rows * n_cols; ++k) {
        to[k] = 0;
    }
    for (size_t r = 0; r < n_rows; ++r) {
        const size_t column = (size_t)labels[r] - first; /* huge if the label lies before the first */
        if (column < n_cols) {
            to[r * n_cols + column] = 1;
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

/* Many short rows: the elements of some of them as one row, and then the sums of rows as lanes. So a row costs a
 * fraction. */
static void FN(short_rows)(FN(flat_loss) *flat, const FN(elements) *all, const int32_t *labels, FN(row_losses) *to)
{
    const size_t n_out = all->n_cols, turn = CR_TURN / n_out / 16 * 16; /* rows; whole vectors of elements */
    /* Slopes can go straight to their place if all rows have one factor and lie side by side. */
    const int direct = all->grad != NULL && all->weight == NULL && all->ld_grad == n_out;
    REAL terms[CR_TURN], p[CR_TURN], t[CR_TURN], slopes[CR_TURN], sums[CR_TURN / 2];
    FN(elements) e = {.c = all->c, .scale = direct ? all->scale : 1, .n_rows = 1, .grad = slopes, .terms = terms};
    for (size_t i = 0; i < all->n_rows; i += turn) {
        const size_t rows = FN(smaller)(all->n_rows - i, turn), n = rows * n_out;
        const REAL *const weight = all->weight != NULL ? all->weight + i : NULL;
        e.n_cols = n;
        e.prediction = all->prediction + i * all->ld_prediction;
        if (all->ld_prediction != n_out) {
            FN(close_rows)(rows, n_out, e.prediction, all->ld_prediction, p);
            e.prediction = p;
        }
        e.target = t;
        if (labels != NULL) {
            FN(one_hot_rows)(rows, 0, n_out, labels + i, t);
        } else if (all->ld_target != n_out) {
            FN(close_rows)(rows, n_out, all->target + i * all->ld_target, all->ld_target, t);
        } else {
            e.target = all->target + i * n_out;
        }
        if (direct) {
            e.grad = all->grad + i * n_out;
        }
        flat(&e);
        if (all->grad != NULL && !direct) {
            FN(spread_rows)(rows, n_out, all->scale, weight, slopes, all->grad + i * all->ld_grad, all->ld_grad);
        }
        if (n_out > 1) {
            const size_t end = (rows + V_LANES - 1) / V_LANES * V_LANES * n_out;
            for (size_t k = (n + V_LANES - 1) / V_LANES * V_LANES; k < end; k += V_LANES) {
                V(store)(terms + k, V(zero)()); /* what row_sums reads but nobody looks at */
            }
            FN(row_sums)(rows, n_out, terms, sums);
        }
        FN(give_losses)(to, i, rows, all->finish, n_out > 1 ? sums : terms, weight);
    }
}

/* The partial sums of rows whose targets are the one-hot rows of the labels. */
CR_NOINLINE void FN(one_hot_sums)(FN(flat_loss) *flat, FN(elements) e, const int32_t *labels)
{
    const FN(elements) all = e;
    REAL target[CR_TURN];
    e.n_rows = 1;
    e.target = target;
    for (size_t r = 0; r < all.n_rows; ++r) {
        e.weight = all.weight != NULL ? all.weight + r : NULL;
        e.partial = all.partial + 16 * r;
        for (size_t j = 0; j < all.n_cols; j += CR_TURN) {
            e.n_cols = FN(smaller)(all.n_cols - j, CR_TURN);
            e.prediction = all.prediction + r * all.ld_prediction + j;
            e.grad = all.grad != NULL ? all.grad + r * all.ld_grad + j : NULL;
            FN(one_hot_rows)(1, j, e.n_cols, labels + r, target);
            flat(&e);
        }
    }
}

/* The partial sums of rows; their targets are one-hot if labels are given. */
CR_INLINE void FN(partial_sums)(FN(flat_loss) *flat, const FN(elements) *e, const int32_t *labels)
{
    if (labels != NULL) {
        FN(one_hot_sums)(flat, *e, labels);
    } else {
        flat(e);
    }
}

/* Long rows, 16 at a time. */
static void FN(long_rows)(FN(flat_loss) *flat, const FN(elements) *all, const int32_t *labels, FN(row_losses) *to)
{
    FN(elements) e = *all;
    for (size_t i = 0; i < all->n_rows; i += 16) {
        REAL partial[16 * 16] = {0}, sums[16];
        e.n_rows = FN(smaller)(all->n_rows - i, 16);
        e.prediction = all->prediction + i * all->ld_prediction;
        e.target = labels == NULL ? all->target + i * all->ld_target : NULL;
        e.grad = all->grad != NULL ? all->grad + i * all->ld_grad : NULL;
        e.weight = all->weight != NULL ? all->weight + i : NULL;
        e.partial = partial;
        FN(partial_sums)(flat, &e, labels != NULL ? labels + i : NULL);
        FN(row_sums)(e.n_rows, 16, partial, sums);
        FN(give_losses)(to, i, e.n_rows, e.finish, sums, e.weight);
    }
}

/* A loss of rows; their targets are one-hot if labels are given. */
CR_INLINE void FN(loss_of_rows)(int kind, FN(flat_loss) *flat, FN(elements) e, const int32_t *labels,
                                FN(row_losses) *to)
{
    const size_t n_rows = e.n_rows, n_out = e.n_cols;
    const int is_column = n_out == 1 && e.ld_prediction == 1 && e.ld_target == 1 && e.ld_grad == 1 && e.weight == NULL;
    const int one_run = (is_column || n_rows == 1) && e.grad != NULL && labels == NULL;
    if (one_run && n_rows * n_out <= 16) { /* as small networks have them: none of what follows would pay */
        REAL terms[16] = {0};
        e.n_rows = 1;
        e.n_cols = n_rows * n_out;
        e.terms = terms;
        flat(&e);
        if (n_rows == 1) {
            FN(give_loss)(to, 0, e.weight != NULL ? e.weight[0] : 1, e.finish * (double)FN(fold16)(terms));
        } else {
            for (size_t r = 0; r < n_rows; ++r) {
                FN(give_loss)(to, r, 1, e.finish * (double)terms[r]);
            }
        }
    } else if (one_run && is_column && FN(is_cheap)(kind) && to->each == NULL) {
        e.n_rows = 1;
        e.n_cols = n_rows;
        e.column = to->partial;
        flat(&e);
    } else if (n_out == 1 || (n_out > 0 && n_out <= CR_SHORT && n_rows > CR_FEW)) {
        FN(short_rows)(flat, &e, labels, to);
    } else if (n_rows > CR_FEW) {
        FN(long_rows)(flat, &e, labels, to);
    } else {
        REAL partial[CR_FEW * 16] = {0};
        e.partial = partial;
        FN(partial_sums)(flat, &e, labels);
        for (size_t r = 0; r < n_rows; ++r) {
            const REAL weight = e.weight != NULL ? e.weight[r] : 1;
            FN(give_loss)(to, r, weight, e.finish * (double)FN(fold16)(partial + 16 * r));
        }
    }
}
