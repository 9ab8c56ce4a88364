/* losses.inc.h - losses and their gradients in one pass over the predictions.
 *
 * prediction, target and grad are (n_rows, n_out); the target may be given as one class label a row instead,
 * which means the one-hot row of it, with the same bits. For row i with weight w_i (1 if there are none)
 *     loss_i = w_i l_i,    grad_i = (scale w_i) dl_i / dprediction,
 * l_i being the formula of cr_loss in chainrule.h, summed over the outputs by 16 partial sums. grad may be NULL
 * or the same array as prediction. A NaN prediction makes its row's loss and its own gradient NaN (by softmax:
 * the whole row's); infinite predictions give the formula's limits. A row of weight 0 is not there, as a weight of
 * 2 is the row twice: loss and gradient are +0, whatever its prediction, NaN and infinities included.
 */

/* The options, rounded to REAL once. */
typedef struct FN(loss_constants) {
    REAL delta, quantile, pos_weight;
    REAL smooth_scale, smooth_shift; /* label smoothing: t becomes smooth_scale t + smooth_shift */
    REAL gradient_scale;             /* mean_squared_error: 2 / n_out */
} FN(loss_constants);

/* The target's value after smoothing: t (1 - eps) + eps / n_out (n_out = 2 for one sigmoid output). Without
 * smoothing fma(t, 1, 0) is t. */
CR_INLINE V(t) FN(smoothed)(const FN(loss_constants) *c, V(t) t)
{
    return V(fma)(t, V(set1)(c->smooth_scale), V(set1)(c->smooth_shift));
}

/* log cosh d without cancellation, and its derivative tanh d. With u = expm1(-|d|):
 *     cosh d - 1 = u^2 / (2 (1 + u)),  exp(-2|d|) = (1 + u)^2,  tanh|d| = -u (2 + u) / (1 + (1 + u)^2).
 * Up to |d| = 1 the loss is log1p(cosh d - 1), beyond it (|d| - log 2) + log1p(exp(-2|d|)). */
CR_INLINE V(t) FN(log_cosh)(V(t) d, V(t) *derivative)
{
    const V(t) one = V(set1)(1), size = V(abs)(d);
    const V(t) u = FN(v_expm1)(V(neg)(size));
    const V(t) e = V(add)(one, u), e2 = V(mul)(e, e);
    const V(mask_t) small = V(le)(size, one);
    const V(t) above_one = V(div)(V(mul)(u, u), V(add)(e, e));
    const V(t) log = FN(v_log1p)(V(select)(small, above_one, e2));
    const V(t) slope = V(div)(V(mul)(V(neg)(u), V(add)(V(set1)(2), u)), V(add)(one, e2));
    *derivative = V(copysign)(slope, d);
    return V(add)(V(keep)(V(mask_not)(small), V(sub)(size, V(set1)((REAL)0.69314718055994531))), log);
}

/* With e = exp(-|z|), softplus(z) = max(z, 0) + log1p(e):
 *     loss = P t softplus(-z) + (1 - t) softplus(z),   P = pos_weight;
 *     dloss/dz = ((1 - t) [1 or e] - P t [e or 1]) / (1 + e), the first of each pair where z > 0.
 * Written so that for t in [0, 1] nothing cancels in the loss. */
CR_INLINE V(t) FN(sigmoid_cross_entropy)(V(t) pos_weight, V(t) z, V(t) t, V(t) *derivative)
{
    const V(t) one = V(set1)(1), size = V(abs)(z);
    const V(t) e = FN(v_exp_nonpositive)(V(neg)(size));
    const V(mask_t) positive = V(gt)(z, V(zero)());
    const V(t) toward_one = V(mul)(pos_weight, t), toward_zero = V(sub)(one, t);
    const V(t) wrong = V(select)(positive, toward_zero, toward_one); /* what |z| itself is paid for */
    const V(t) right = V(select)(positive, toward_one, toward_zero);
    const V(t) slope = V(div)(V(fnma)(right, e, wrong), V(add)(one, e));
    *derivative = V(select)(positive, slope, V(neg)(slope));
    /* At wrong = 0 an infinite |z| costs nothing. NaN comes back through the second term. */
    const V(t) linear = V(keep)(V(mask_not)(V(eq)(wrong, V(zero)())), V(mul)(wrong, size));
    return V(fma)(V(add)(toward_one, toward_zero), FN(v_log1p)(e), linear);
}

/* The loss terms of one vector of outputs: p predictions, t targets; *slope is d term / d p. `kind` is a
 * constant where this is called. (mean_squared_error: the sum; the mean is taken of the row's sum.) */
CR_INLINE V(t) FN(loss_terms)(int kind, const FN(loss_constants) *c, V(t) p, V(t) t, V(t) *slope)
{
    const V(t) zero = V(zero)(), one = V(set1)(1);
    const V(t) d = V(sub)(p, t);
    switch (kind) {
    case CR_SQUARED_ERROR:
        *slope = d;
        return V(mul)(d, d);
    case CR_MEAN_SQUARED_ERROR:
        *slope = V(mul)(V(set1)(c->gradient_scale), d);
        return V(mul)(d, d);
    case CR_ABSOLUTE_ERROR: {
        /* sign(d): 0 at 0, NaN for NaN */
        const V(mask_t) as_is = V(mask_or)(V(eq)(d, zero), V(is_nan)(d));
        *slope = V(select)(as_is, d, V(copysign)(one, d));
        return V(abs)(d);
    }
    case CR_HUBER: {
        /* With q = min(|d|, delta) both branches are q (|d| - q/2), and the derivative is d held to
         * [-delta, delta]. d stands second in min and max: a NaN stays. */
        const V(t) delta = V(set1)(c->delta), size = V(abs)(d), q = V(min)(delta, size);
        *slope = V(min)(delta, V(max)(V(neg)(delta), d));
        return V(mul)(q, V(fnma)(V(set1)((REAL)0.5), q, size));
    }
    case CR_LOG_COSH:
        return FN(log_cosh)(d, slope);
    case CR_QUANTILE: {
        const V(t) q = V(set1)(c->quantile), over = V(sub)(one, q); /* over: the price of p > t */
        const V(mask_t) below = V(lt)(d, zero);
        const V(t) price = V(select)(below, V(neg)(q), over);
        *slope = V(select)(V(mask_or)(V(eq)(d, zero), V(is_nan)(d)), d, price);
        return V(mul)(price, d);
    }
    case CR_POISSON: {
        /* p - t log p; p alone where t = 0, and where p is infinite, which outgrows its logarithm. */
        const V(mask_t) no_count = V(eq)(t, zero);
        const V(mask_t) alone = V(mask_or)(no_count, V(eq)(p, V(set1)((REAL)INFINITY)));
        const V(t) ratio = V(div)(t, V(select)(V(mask_and)(no_count, V(eq)(p, zero)), one, p));
        *slope = V(sub)(one, ratio);
        return V(select)(alone, p, V(fnma)(t, FN(v_log)(p), p));
    }
    case CR_CROSS_ENTROPY: {
        /* 0 where t = 0, whatever p is, NaN excepted. */
        t = FN(smoothed)(c, t);
        const V(mask_t) none = V(mask_and)(V(eq)(t, zero), V(mask_not)(V(is_nan)(p)));
        const V(t) minus_t = V(neg)(t);
        *slope = V(keep)(V(mask_not)(none), V(div)(minus_t, p));
        return V(keep)(V(mask_not)(none), V(mul)(minus_t, FN(v_log)(p)));
    }
    case CR_SIGMOID_CROSS_ENTROPY:
        return FN(sigmoid_cross_entropy)(V(set1)(c->pos_weight), p, FN(smoothed)(c, t), slope);
    default: { /* CR_HINGE */
        const V(t) margin = V(fnma)(t, p, one);
        const V(t) inside = V(keep)(V(gt)(margin, zero), V(neg)(t));
        *slope = V(select)(V(is_nan)(margin), margin, inside);
        return V(max)(zero, margin); /* margin second: a NaN stays */
    }
    }
}

#include "loss_sums.inc.h"
#include "loss_rows.inc.h"
#include "loss_softmax.inc.h"

/* ---- the kernel ----------------------------------------------------------------------------------------- */

static double FN(loss)(int kind, const cr_loss_options *options, REAL scale, size_t n_rows, size_t n_out,
                       const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                       const int32_t *labels, const REAL *weight, double *row_loss, REAL *grad, size_t ld_grad)
{
    FN(row_losses) to = {.each = row_loss};
    const double shared_by = kind == CR_SIGMOID_CROSS_ENTROPY ? 2 : n_out > 0 ? (double)n_out : 1;
    const FN(loss_constants) c = {
        .delta = (REAL)options->delta,
        .quantile = (REAL)options->quantile,
        .pos_weight = (REAL)options->pos_weight,
        .smooth_scale = (REAL)(1 - options->label_smoothing),
        .smooth_shift = (REAL)(options->label_smoothing / shared_by),
        .gradient_scale = (REAL)(2 / (n_out > 0 ? (double)n_out : 1)),
    };
    FN(flat_loss) *const flat = FN(flat_losses)[kind];
    if (flat != NULL) {
        const FN(elements) e = {
            .c = &c, .scale = scale, .weight = weight, .n_rows = n_rows, .n_cols = n_out, .prediction = prediction,
            .target = target, .ld_prediction = ld_prediction, .ld_target = labels != NULL ? n_out : ld_target,
            .grad = grad, .ld_grad = ld_grad, .finish = FN(loss_finish)(kind, n_out),
        };
        FN(loss_of_rows)(kind, flat, e, labels, &to);
    } else if (n_out == 0) {
        for (size_t i = 0; i < n_rows; ++i) {
            FN(give_loss)(&to, i, 1, 0);
        }
    } else {
        (n_out <= 16 ? FN(softmax_narrow) : FN(softmax_wide))(&c, scale, n_rows, n_out, prediction, ld_prediction,
                                                              target, ld_target, labels, weight, &to, grad, ld_grad);
    }
    for (size_t i = 0; grad != NULL && weight != NULL && i < n_rows; ++i) {
        for (size_t j = 0; weight[i] == 0 && j < n_out; ++j) {
            grad[i * ld_grad + j] = 0;
        }
    }
    return row_loss == NULL ? FN(fold16_double)(to.partial) : 0;
}
