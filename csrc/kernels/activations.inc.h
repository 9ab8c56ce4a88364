/* activations.inc.h - every activation beside its derivative, for arrays of rows.
 *
 * forward   V(t) f(x, alpha)
 * backward  V(t) f_slope(dy, saved, alpha) = dy f'; saved is the output y, or the input x where
 *           cr_activation_saves_input says so: there y does not determine f'.
 * At a kink the slope is that of the flat or the left side: relu'(0) = 0, relu6' = 0 at 0 and 6,
 * hard_tanh' and hard_sigmoid' = 0 at both edges, hard_swish' = 0 at -3 and 1 at 3,
 * leaky_relu'(0) = alpha, elu'(0) = alpha. From y that needs alpha >= 0 for leaky_relu and elu,
 * alpha > 0 for celu.
 * NaN in x or y gives NaN, and so does NaN in dy, except where a slope of 0 is chosen by comparing (relu
 * and its kind): there dx is 0. Infinities give the limits. In V(min)(a, b) and V(max)(a, b) the
 * argument stands second: then a NaN comes through.
 */

/* dx, but NaN where saved is NaN: for slopes that are chosen by comparing. */
CR_INLINE V(t) FN(nan_kept)(V(t) saved, V(t) dx)
{
    return V(select)(V(is_nan)(saved), saved, dx);
}

/* ---- piecewise linear ------------------------------------------------------------------------ */

CR_INLINE V(t) FN(identity)(V(t) x, V(t) alpha)
{
    (void)alpha;
    return x;
}

/* max(x, 0) */
CR_INLINE V(t) FN(relu)(V(t) x, V(t) alpha)
{
    (void)alpha;
    return V(max)(V(zero)(), x);
}
CR_INLINE V(t) FN(relu_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return V(select)(V(gt)(y, V(zero)()), dy, V(keep)(V(is_nan)(y), y));
}

/* x > 0: x; else alpha x */
CR_INLINE V(t) FN(leaky_relu)(V(t) x, V(t) alpha)
{
    return V(select)(V(gt)(x, V(zero)()), x, V(mul)(alpha, x));
}
CR_INLINE V(t) FN(leaky_relu_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    return FN(nan_kept)(y, V(select)(V(gt)(y, V(zero)()), dy, V(mul)(alpha, dy)));
}

/* min(max(x, 0), 6) */
CR_INLINE V(t) FN(relu6)(V(t) x, V(t) alpha)
{
    (void)alpha;
    return V(min)(V(set1)(6), V(max)(V(zero)(), x));
}
CR_INLINE V(t) FN(relu6_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    const V(mask_t) inside = V(mask_and)(V(gt)(y, V(zero)()), V(lt)(y, V(set1)(6)));
    return FN(nan_kept)(y, V(keep)(inside, dy));
}

/* min(max(x, -1), 1) */
CR_INLINE V(t) FN(hard_tanh)(V(t) x, V(t) alpha)
{
    (void)alpha;
    return V(min)(V(set1)(1), V(max)(V(set1)(-1), x));
}
CR_INLINE V(t) FN(hard_tanh_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return FN(nan_kept)(y, V(keep)(V(lt)(V(abs)(y), V(set1)(1)), dy));
}

/* min(max((x + 3) / 6, 0), 1). Not x / 6 + 1/2: 1/6 is rounded, in double down, which would leave
 * 2.8e-17 at x = -3, and hard_swish with it. */
CR_INLINE V(t) FN(hard_sigmoid)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) line = V(mul)(V(add)(x, V(set1)(3)), V(set1)((REAL)1 / 6));
    return V(min)(V(set1)(1), V(max)(V(zero)(), line));
}
CR_INLINE V(t) FN(hard_sigmoid_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    const V(mask_t) inside = V(mask_and)(V(gt)(y, V(zero)()), V(lt)(y, V(set1)(1)));
    return FN(nan_kept)(y, V(keep)(inside, V(mul)(dy, V(set1)((REAL)1 / 6))));
}

/* x hard_sigmoid(x). x is held to >= -3 first, so that -inf gives 0. */
CR_INLINE V(t) FN(hard_swish)(V(t) x, V(t) alpha)
{
    const V(t) held = V(max)(V(set1)(-3), x);
    return V(mul)(held, FN(hard_sigmoid)(held, alpha));
}
CR_INLINE V(t) FN(hard_swish_slope)(V(t) dy, V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) line = V(fma)(x, V(set1)((REAL)1 / 3), V(set1)((REAL)0.5));
    const V(t) slope = V(select)(V(ge)(x, V(set1)(3)), V(set1)(1), line);
    return V(mul)(dy, V(select)(V(le)(x, V(set1)(-3)), V(zero)(), slope));
}

/* ---- exponential families -------------------------------------------------------------------- */

/* 1 / (1 + e^-x); slope y (1 - y) */
CR_INLINE V(t) FN(sigmoid_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return V(mul)(dy, V(mul)(y, V(sub)(V(set1)(1), y)));
}

/* tanh x; slope 1 - y^2 */
CR_INLINE V(t) FN(tanh_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return V(mul)(dy, V(fnma)(y, y, V(set1)(1)));
}

/* log(1 + e^x); slope sigmoid(x) = 1 - e^-y */
CR_INLINE V(t) FN(softplus_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return V(mul)(dy, V(neg)(FN(v_expm1)(V(neg)(y))));
}

/* e^x; slope y */
CR_INLINE V(t) FN(exponential_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    return V(mul)(dy, y);
}

/* x > 0: x; else alpha (e^x - 1) */
CR_INLINE V(t) FN(elu)(V(t) x, V(t) alpha)
{
    return V(select)(V(gt)(x, V(zero)()), x, V(mul)(alpha, FN(v_expm1)(x)));
}
CR_INLINE V(t) FN(elu_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    return V(mul)(dy, V(select)(V(gt)(y, V(zero)()), V(set1)(1), V(add)(y, alpha)));
}

/* scale elu(x) with the constants of Klambauer et al. 2017, for which mean 0 and variance 1 are
 * a fixed point */
#define CR_SELU_SCALE ((REAL)1.0507009873554804934)
#define CR_SELU_SCALED_ALPHA ((REAL)1.7580993408473768599)
CR_INLINE V(t) FN(selu)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) negative = V(mul)(V(set1)(CR_SELU_SCALED_ALPHA), FN(v_expm1)(x));
    return V(select)(V(gt)(x, V(zero)()), V(mul)(V(set1)(CR_SELU_SCALE), x), negative);
}
CR_INLINE V(t) FN(selu_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    const V(t) negative = V(add)(y, V(set1)(CR_SELU_SCALED_ALPHA));
    return V(mul)(dy, V(select)(V(gt)(y, V(zero)()), V(set1)(CR_SELU_SCALE), negative));
}
#undef CR_SELU_SCALE
#undef CR_SELU_SCALED_ALPHA

/* x > 0: x; else alpha (e^(x / alpha) - 1) */
CR_INLINE V(t) FN(celu)(V(t) x, V(t) alpha)
{
    const V(t) negative = V(mul)(alpha, FN(v_expm1)(V(div)(x, alpha)));
    return V(select)(V(gt)(x, V(zero)()), x, negative);
}
CR_INLINE V(t) FN(celu_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    const V(t) one = V(set1)(1);
    return V(mul)(dy, V(select)(V(gt)(y, V(zero)()), one, V(add)(V(div)(y, alpha), one)));
}

/* x / (1 + |x|). |x| is held to 2^60, where the quotient has long been 1, so that inf / inf does
 * not come up. */
CR_INLINE V(t) FN(softsign)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) size = V(min)(V(set1)((REAL)0x1p60), V(abs)(x));
    return V(copysign)(V(div)(size, V(add)(V(set1)(1), size)), x);
}
/* f' = 1 / (1 + |x|)^2 = (1 - |y|)^2 */
CR_INLINE V(t) FN(softsign_slope)(V(t) dy, V(t) y, V(t) alpha)
{
    (void)alpha;
    const V(t) rest = V(sub)(V(set1)(1), V(abs)(y));
    return V(mul)(dy, V(mul)(rest, rest));
}

/* ---- gates: x times something between 0 and 1 ------------------------------------------------ */

/* x held to [exp_low, top]; returns e^x, whatever its size. For slopes, which need no care in
 * the tail. */
CR_INLINE V(t) FN(exp_held)(V(t) *x, REAL top)
{
    *x = V(max)(V(set1)(V(exp_low)), V(min)(V(set1)(top), *x));
    return FN(v_exp)(*x);
}

/* x sigmoid(x) */
CR_INLINE V(t) FN(silu)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(mask_t) wide = V(mask_not)(V(ge)(x, V(set1)(-V(exp_safe))));
    const int any_wide = CR_UNLIKELY(V(any)(wide));
    if (any_wide) {
        x = V(max)(V(set1)(V(exp_low)), x);
    }
    V(t) shifted;
    const V(t) held = V(min)(V(set1)(V(sigmoid_one)), x);
    const V(t) p = FN(exp_reduced)(FN(exp_reduce)(held, &shifted));
    return FN(logistic)(x, p, shifted, wide, any_wide);
}
/* f' = s + x s (1 - s) = s (1 + x / (1 + e^x)), s = sigmoid(x). 1 + x / (1 + e^x) is 1 from x =
 * 45 on. */
CR_INLINE V(t) FN(silu_slope)(V(t) dy, V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) one = V(set1)(1);
    const V(t) e = FN(exp_held)(&x, 45);
    const V(t) rest = V(div)(one, V(add)(one, e));
    return V(mul)(dy, V(mul)(V(mul)(e, rest), V(fma)(x, rest, one)));
}

/* x tanh(softplus(x)) = x n / (n + 2), n = e^x (e^x + 2): n / (n + 2) is 1 from x = 20 on, and
 * e^x for very negative x, where the product is made before it is scaled into the subnormals. */
CR_INLINE V(t) FN(mish)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) two = V(set1)(2);
    const V(mask_t) wide = V(mask_not)(V(ge)(x, V(set1)(-V(exp_safe))));
    const int any_wide = CR_UNLIKELY(V(any)(wide));
    if (any_wide) {
        x = V(max)(V(set1)(V(exp_low)), x);
    }
    V(t) shifted;
    const V(t) p = FN(exp_reduced)(FN(exp_reduce)(V(min)(V(set1)(20), x), &shifted));
    const V(t) e = FN(scale_power)(p, shifted);
    const V(t) n = V(fma)(e, e, V(add)(e, e));
    const V(t) y = V(mul)(x, V(div)(n, V(add)(n, two)));
    return any_wide ? V(select)(wide, FN(scale_wide)(V(mul)(x, p), shifted), y) : y;
}
/* f' = n / d + 4 x e (1 + e) / d^2, e = e^x, n = e (e + 2), d = n + 2 */
CR_INLINE V(t) FN(mish_slope)(V(t) dy, V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) two = V(set1)(2);
    const V(t) e = FN(exp_held)(&x, 20);
    const V(t) n = V(fma)(e, e, V(add)(e, e));
    const V(t) inverse = V(div)(V(set1)(1), V(add)(n, two));
    const V(t) bend = V(mul)(V(mul)(V(mul)(V(set1)(4), x), V(fma)(e, e, e)), inverse);
    return V(mul)(dy, V(mul)(V(add)(n, bend), inverse));
}

/* e^(-a^2/2 + low) = p 2^n, low a few roundings of 1. The rounding error of a^2 is carried, because
 * it would show a^2/2 times enlarged. */
CR_INLINE V(t) FN(normal_exp)(V(t) a, V(t) low, V(t) *shifted)
{
    const V(t) minus_half = V(set1)((REAL)-0.5);
    const V(t) square = V(mul)(a, a);
    const V(t) square_low = V(fma)(a, a, V(neg)(square));
    low = V(fma)(minus_half, square_low, low);
    return FN(exp_reduced)(FN(exp_reduce_sum)(V(mul)(minus_half, square), low, shifted));
}

/* x Phi(x), Phi the normal distribution: from its tail Q(|x|), so the negative side keeps its
 * relative accuracy; near 0, where 1 - Q would show Q's roundings, from the polynomial of erf:
 * Phi = 1/2 + x (1 + P(x^2/2)) / sqrt(8). */
CR_INLINE V(t) FN(gelu)(V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) a = V(min)(V(set1)(V(tail_end)), V(abs)(x));
    const V(mask_t) negative = V(lt)(x, V(zero)());
    const V(mask_t) wide = V(mask_not)(V(le)(a, V(set1)(V(tail_safe))));
    V(t) shifted, inverse, error;
    const V(t) g = FN(tail_factor)(a, &inverse, &error);
    const V(t) p = FN(normal_exp)(a, error, &shifted); /* e^error = 1 + error */
    /* Q = 2^n (q + q_low), q_low the roundings of q = p (g inverse) */
    const V(t) h = V(mul)(g, inverse), h_low = V(fma)(g, inverse, V(neg)(h));
    const V(t) q = V(mul)(p, h), q_low = V(fma)(p, h_low, V(fma)(p, h, V(neg)(q)));
    const V(t) below = V(fnma)(a, q, V(neg)(V(mul)(a, q_low)));
    const V(t) above = V(mul)(x, V(sub)(V(set1)(1), FN(scale_power)(q, shifted)));
    const V(t) far = V(select)(negative, FN(scale_power)(below, shifted), above);
    const V(t) root = V(set1)((REAL)0.35355339059327376); /* 1 / sqrt(8) */
    const V(t) square = V(mul)(V(set1)((REAL)0.5), V(mul)(a, a));
    const V(t) slope = V(fma)(root, CR_POLYNOMIAL(square, V(erf_p)), root);
    const V(t) near = V(mul)(x, V(fma)(x, slope, V(set1)((REAL)0.5)));
    /* 0.5625 = 0.75^2, as far as that polynomial goes; NaN: near */
    const V(t) y = V(select)(V(gt)(square, V(set1)((REAL)0.5625)), far, near);
    if (CR_UNLIKELY(V(any)(wide))) {
        const V(t) plain = V(select)(negative, FN(scale_wide)(below, shifted), x);
        return V(select)(wide, plain, y);
    }
    return y;
}
/* f' = Phi(x) + x phi(x): 1 - h for x >= 0, h for x < 0,
 * h = e^(-a^2/2) (G / (a + k) - a / sqrt(2 pi)), a = |x| */
CR_INLINE V(t) FN(gelu_slope)(V(t) dy, V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) a = V(min)(V(set1)(V(tail_end)), V(abs)(x));
    const V(mask_t) wide = V(mask_not)(V(le)(a, V(set1)(V(tail_safe))));
    V(t) shifted, inverse, error;
    const V(t) g = FN(tail_factor)(a, &inverse, &error);
    const V(t) p = FN(normal_exp)(a, V(zero)(), &shifted);
    V(t) e = FN(scale_power)(p, shifted);
    if (CR_UNLIKELY(V(any)(wide))) {
        e = V(select)(wide, FN(scale_wide)(p, shifted), e);
    }
    const V(t) inverse_root = V(set1)((REAL)0.39894228040143267794); /* 1 / sqrt(2 pi) */
    const V(t) h = V(mul)(e, V(fnma)(inverse_root, a, V(mul)(g, inverse)));
    return V(mul)(dy, V(select)(V(lt)(x, V(zero)()), h, V(sub)(V(set1)(1), h)));
}

/* v = x (c1 + c3 x^2) for gelu_tanh, x held; *low is what v lacks: e^v would show v's rounding
 * |v| times enlarged. The sum c1 + c3 x^2 is split exactly (Knuth's two-sum: either part may be
 * the larger). */
CR_INLINE V(t) FN(gelu_tanh_argument)(V(t) x, V(t) *low)
{
    const V(t) c1 = V(set1)(V(gelu_c1)), c3 = V(set1)(V(gelu_c3));
    const V(t) square = V(mul)(x, x), square_low = V(fma)(x, x, V(neg)(square));
    const V(t) cubic = V(mul)(c3, square), cubic_low = V(fma)(c3, square, V(neg)(cubic));
    const V(t) sum = V(add)(c1, cubic), from_cubic = V(sub)(sum, c1);
    const V(t) from_c1 = V(sub)(sum, from_cubic);
    V(t) rest = V(add)(V(sub)(cubic, from_cubic), V(sub)(c1, from_c1));
    rest = V(add)(rest, V(add)(cubic_low, V(set1)(V(gelu_c1_low))));
    rest = V(fma)(c3, square_low, V(fma)(V(set1)(V(gelu_c3_low)), square, rest));
    const V(t) v = V(mul)(x, sum);
    *low = V(fma)(x, rest, V(fma)(x, sum, V(neg)(v)));
    return v;
}

/* x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
CR_INLINE V(t) FN(gelu_tanh)(V(t) x, V(t) alpha)
{
    (void)alpha;
    x = V(max)(V(set1)(V(gelu_tanh_low)), x);
    V(t) low, shifted;
    const V(t) v = FN(gelu_tanh_argument)(V(min)(V(set1)(V(gelu_tanh_high)), x), &low);
    const V(mask_t) wide = V(mask_not)(V(ge)(v, V(set1)(-V(exp_safe))));
    const V(t) p = FN(exp_reduced)(FN(exp_reduce_sum)(v, low, &shifted));
    return FN(logistic)(x, p, shifted, wide, CR_UNLIKELY(V(any)(wide)));
}
/* f' = s (1 + x v' / (1 + e^v)), s = sigmoid(v), v' = c1 + 3 c3 x^2 */
CR_INLINE V(t) FN(gelu_tanh_slope)(V(t) dy, V(t) x, V(t) alpha)
{
    (void)alpha;
    const V(t) one = V(set1)(1);
    const V(t) c1 = V(set1)(V(gelu_c1)), c3 = V(set1)(V(gelu_c3));
    /* One past gelu_tanh_high x v' / (1 + e^v) is nothing beside 1. */
    const V(t) top = V(set1)(V(gelu_tanh_high) + 1);
    const V(t) held = V(max)(V(set1)(V(gelu_tanh_low)), V(min)(top, x));
    const V(t) square = V(mul)(held, held);
    const V(t) e = FN(v_exp)(V(mul)(held, V(fma)(c3, square, c1)));
    const V(t) rest = V(div)(one, V(add)(one, e));
    const V(t) bend = V(mul)(held, V(fma)(V(mul)(V(set1)(3), c3), square, c1));
    return V(mul)(dy, V(mul)(V(mul)(e, rest), V(fma)(bend, rest, one)));
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* leaky_relu with alpha = 0 is relu: 0 times -inf is not its limit. */
#define CR_PLAIN_KIND(kind, alpha) ((kind) == CR_LEAKY_RELU && (alpha) == 0 ? CR_RELU : (kind))

/* y = f(x) for one run of n elements (the by-row kinds: one row); y may be x. */
static void FN(apply_row)(int kind, REAL alpha, size_t n, const REAL *x, REAL *y)
{
    switch (CR_PLAIN_KIND(kind, alpha)) {
#define CR_CASE(KIND, f)                \
    case KIND:                          \
        FN(map)(FN(f), alpha, n, x, y); \
        break;
        CR_CASE(CR_IDENTITY, identity)
        CR_CASE(CR_RELU, relu)
        CR_CASE(CR_LEAKY_RELU, leaky_relu)
        CR_CASE(CR_SIGMOID, mapped_sigmoid)
        CR_CASE(CR_TANH, mapped_tanh)
        CR_CASE(CR_ELU, elu)
        CR_CASE(CR_SELU, selu)
        CR_CASE(CR_CELU, celu)
        CR_CASE(CR_GELU, gelu)
        CR_CASE(CR_GELU_TANH, gelu_tanh)
        CR_CASE(CR_SILU, silu)
        CR_CASE(CR_MISH, mish)
        CR_CASE(CR_SOFTPLUS, mapped_softplus)
        CR_CASE(CR_SOFTSIGN, softsign)
        CR_CASE(CR_HARD_SIGMOID, hard_sigmoid)
        CR_CASE(CR_HARD_SWISH, hard_swish)
        CR_CASE(CR_HARD_TANH, hard_tanh)
        CR_CASE(CR_RELU6, relu6)
        CR_CASE(CR_EXPONENTIAL, mapped_exp)
#undef CR_CASE
    case CR_SOFTMAX:
        FN(softmax_row)(n, x, y);
        break;
    case CR_LOG_SOFTMAX:
        FN(log_softmax_row)(n, x, y);
        break;
    default:
        break;
    }
}

/* dx = dy f'(saved) for one run of n elements (the by-row kinds: one row); dx may be dy or
 * saved. identity does not look at saved. */
static void FN(apply_row_backward)(int kind, REAL alpha, size_t n, const REAL *dy,
                                   const REAL *saved, REAL *dx)
{
    const int far = FN(goes_far)(n, dy, saved, dx);
    switch (CR_PLAIN_KIND(kind, alpha)) {
#define CR_CASE(KIND, f)                                \
    case KIND:                                          \
        FN(map_2)(FN(f), alpha, n, dy, saved, dx, far); \
        break;
    case CR_IDENTITY:
        FN(map)(FN(identity), alpha, n, dy, dx);
        break;
        CR_CASE(CR_RELU, relu_slope)
        CR_CASE(CR_LEAKY_RELU, leaky_relu_slope)
        CR_CASE(CR_SIGMOID, sigmoid_slope)
        CR_CASE(CR_TANH, tanh_slope)
        CR_CASE(CR_ELU, elu_slope)
        CR_CASE(CR_SELU, selu_slope)
        CR_CASE(CR_CELU, celu_slope)
        CR_CASE(CR_GELU, gelu_slope)
        CR_CASE(CR_GELU_TANH, gelu_tanh_slope)
        CR_CASE(CR_SILU, silu_slope)
        CR_CASE(CR_MISH, mish_slope)
        CR_CASE(CR_SOFTPLUS, softplus_slope)
        CR_CASE(CR_SOFTSIGN, softsign_slope)
        CR_CASE(CR_HARD_SIGMOID, hard_sigmoid_slope)
        CR_CASE(CR_HARD_SWISH, hard_swish_slope)
        CR_CASE(CR_HARD_TANH, hard_tanh_slope)
        CR_CASE(CR_RELU6, relu6_slope)
        CR_CASE(CR_EXPONENTIAL, exponential_slope)
#undef CR_CASE
    case CR_SOFTMAX:
        FN(softmax_row_backward)(n, dy, saved, dx);
        break;
    case CR_LOG_SOFTMAX:
        FN(log_softmax_row_backward)(n, dy, saved, dx);
        break;
    default:
        break;
    }
    if (far) {
        V(fence)();
    }
}
#undef CR_PLAIN_KIND

/* y = f(x) row by row; an elementwise kind on rows without gaps is one run. y may be x. */
static void FN(activation)(int kind, REAL alpha, size_t n_rows, size_t n_cols, const REAL *x,
                           size_t ld_x, REAL *y, size_t ld_y)
{
    const int by_row = kind == CR_SOFTMAX || kind == CR_LOG_SOFTMAX;
    if (!by_row && ld_x == n_cols && ld_y == n_cols) {
        FN(apply_row)(kind, alpha, n_rows * n_cols, x, y);
        return;
    }
    size_t i = 0;
    if (by_row && n_cols > 0 && n_cols <= 16 && n_rows >= V_LANES && V_LANES > 1) {
        const size_t rest = n_rows % V_LANES; /* less than half a vector of rows costs less one by one */
        i = 2 * rest < V_LANES ? n_rows - rest : n_rows;
        FN(softmax_columns)(kind == CR_LOG_SOFTMAX, i, n_cols, x, ld_x, y, ld_y);
    }
    for (; i < n_rows; ++i) {
        FN(apply_row)(kind, alpha, n_cols, x + i * ld_x, y + i * ld_y);
    }
}

/* dx = dy f'(saved) row by row. dx may be dy or saved; saved may be NULL for identity. */
static void FN(activation_backward)(int kind, REAL alpha, size_t n_rows, size_t n_cols,
                                    const REAL *dy, size_t ld_dy, const REAL *saved,
                                    size_t ld_saved, REAL *dx, size_t ld_dx)
{
    const int by_row = kind == CR_SOFTMAX || kind == CR_LOG_SOFTMAX;
    if (kind == CR_IDENTITY) {
        saved = dy; /* not looked at, but rows of it are counted off below */
        ld_saved = ld_dy;
    }
    if (!by_row && ld_dy == n_cols && ld_saved == n_cols && ld_dx == n_cols) {
        FN(apply_row_backward)(kind, alpha, n_rows * n_cols, dy, saved, dx);
        return;
    }
    for (size_t i = 0; i < n_rows; ++i) {
        FN(apply_row_backward)(kind, alpha, n_cols, dy + i * ld_dy, saved + i * ld_saved,
                               dx + i * ld_dx);
    }
}
