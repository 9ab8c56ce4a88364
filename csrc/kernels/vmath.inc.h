/* vmath.inc.h - exp, log and their family on one vector, and loops that apply them to arrays.
 *
 * The same few operations on every ISA, so the same bits. Written once for both dtypes; degrees
 * and constants stand in vmath_f32.h and vmath_f64.h. Largest errors: README.md of this room.
 * Special values follow C Annex F: NaN stays NaN, limits at infinities, the sign of zero is
 * kept, subnormals count on both sides. Lanes that need more than the plain way (overflow,
 * subnormals, NaN) are rare; one test a vector finds them, and what is done for them leaves the
 * other lanes' bits as they were.
 *
 * In V(min)(a, b) and V(max)(a, b) the argument stands second throughout: then a NaN comes
 * through.
 */
#include <math.h>

#include "../portability.h"
#include "vmath_f32.h"
#include "vmath_f64.h"

/* ---- pieces ---------------------------------------------------------------------------------- */

/* c[0] + c[1] x + ... + c[n-1] x^(n-1), n >= 2: Horner's rule in x^2 over the pairs
 * c[k] + c[k+1] x. One operation more than Horner's rule in x, but a chain of half the length,
 * which gains up to 2 in double and 1.1 in float where the chain is long. */
CR_INLINE V(t) FN(polynomial)(V(t) x, const REAL *c, size_t n)
{
    const V(t) square = V(mul)(x, x);
    size_t k = (n - 1) & ~(size_t)1;
    V(t) p = k + 1 < n ? V(fma)(V(set1)(c[k + 1]), x, V(set1)(c[k])) : V(set1)(c[k]);
    while (k > 0) {
        k -= 2;
        p = V(fma)(p, square, V(fma)(V(set1)(c[k + 1]), x, V(set1)(c[k])));
    }
    return p;
}

/* The polynomial with the coefficients of array c, lowest first. */
#define CR_POLYNOMIAL(x, c) FN(polynomial)(x, c, sizeof(c) / sizeof((c)[0]))

/* x = n ln 2 + r, |r| <= ln 2 / 2: returns r. *shifted = n + magic, whose lowest bits are n. */
CR_INLINE V(t) FN(exp_reduce)(V(t) x, V(t) *shifted)
{
    const V(t) magic = V(set1)(V(magic));
    *shifted = V(fma)(x, V(set1)(V(log2_e)), magic);
    const V(t) n = V(sub)(*shifted, magic);
    const V(t) r = V(fnma)(n, V(set1)(V(ln2_high)), x);
    return V(fnma)(n, V(set1)(V(ln2_low)), r);
}

/* The same for x + low, low up to a few roundings of x. */
CR_INLINE V(t) FN(exp_reduce_sum)(V(t) x, V(t) low, V(t) *shifted)
{
    const V(t) magic = V(set1)(V(magic));
    *shifted = V(fma)(x, V(set1)(V(log2_e)), magic);
    const V(t) n = V(sub)(*shifted, magic);
    const V(t) r = V(fnma)(n, V(set1)(V(ln2_high)), x); /* exact */
    return V(add)(r, V(fnma)(n, V(set1)(V(ln2_low)), low));
}

/* e^r */
CR_INLINE V(t) FN(exp_reduced)(V(t) r)
{
    const V(t) one = V(set1)(1);
    return V(fma)(V(fma)(CR_POLYNOMIAL(r, V(exp_q)), r, one), r, one);
}

/* p 2^n by an addition to the exponent: p and the result normal. */
CR_INLINE V(t) FN(scale_power)(V(t) p, V(t) shifted)
{
    return V(from_bits)(V(iadd)(V(bits)(p), V(ishl)(V(bits)(shifted), V(mantissa_bits))));
}

/* p 2^n for any n that exp_low .. exp_high leads to. Two factors, because 2^n itself may be out of
 * range; the first product is exact, so a subnormal result is rounded once. NaN stays NaN. */
CR_INLINE V(t) FN(scale_wide)(V(t) p, V(t) shifted)
{
    const V(int_t) bias = V(iset1)(V(bias));
    const V(int_t) n = V(isub)(V(bits)(shifted), V(bits)(V(set1)(V(magic))));
    const V(int_t) half = V(isra)(n, 1), rest = V(isub)(n, half);
    const V(t) first = V(from_bits)(V(ishl)(V(iadd)(half, bias), V(mantissa_bits)));
    const V(t) second = V(from_bits)(V(ishl)(V(iadd)(rest, bias), V(mantissa_bits)));
    return V(mul)(V(mul)(p, first), second);
}

/* ---- exp and expm1 --------------------------------------------------------------------------- */

/* e^x; wide marks at least the lanes where it is not normal. */
CR_INLINE V(t) FN(exp_with)(V(t) x, V(mask_t) wide)
{
    const int any_wide = CR_UNLIKELY(V(any)(wide));
    if (any_wide) {
        x = V(max)(V(set1)(V(exp_low)), V(min)(V(set1)(V(exp_high)), x));
    }
    V(t) shifted;
    const V(t) p = FN(exp_reduced)(FN(exp_reduce)(x, &shifted));
    return any_wide ? FN(scale_wide)(p, shifted) : FN(scale_power)(p, shifted);
}

/* e^x */
CR_INLINE V(t) FN(v_exp)(V(t) x)
{
    return FN(exp_with)(x, V(mask_not)(V(le)(V(abs)(x), V(set1)(V(exp_safe)))));
}

/* e^x for x <= 0 (or NaN): the bits of v_exp, one operation less. */
CR_INLINE V(t) FN(v_exp_nonpositive)(V(t) x)
{
    return FN(exp_with)(x, V(mask_not)(V(ge)(x, V(set1)(-V(exp_safe)))));
}

/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1); n = 0 leaves e^r - 1 = r + r^2 q(r), accurate near 0. */
CR_INLINE V(t) FN(v_expm1)(V(t) x)
{
    const V(t) one = V(set1)(1);
    const V(mask_t) wide = V(mask_not)(V(le)(V(abs)(x), V(set1)(V(exp_safe))));
    const int any_wide = CR_UNLIKELY(V(any)(wide));
    V(t) shifted, clamped = x;
    if (any_wide) {
        clamped = V(max)(V(set1)(V(exp_low)), V(min)(V(set1)(V(exp_high)), x));
    }
    const V(t) r = FN(exp_reduce)(clamped, &shifted);
    const V(t) near = V(fma)(V(mul)(r, r), CR_POLYNOMIAL(r, V(exp_q)), r);
    const V(t) power = FN(scale_power)(one, shifted);
    V(t) y = V(fma)(power, near, V(sub)(power, one));
    if (any_wide) {
        y = V(select)(wide, V(sub)(FN(scale_wide)(V(add)(near, one), shifted), one), y);
    }
    return V(copysign)(y, x);
}

/* ---- log and log1p --------------------------------------------------------------------------- */

/* log(1 + f) - f for sqrt(1/2) <= 1 + f <= sqrt(2) */
CR_INLINE V(t) FN(log_tail)(V(t) f)
{
#if CR_DTYPE == 32
    return V(mul)(V(mul)(f, f), CR_POLYNOMIAL(f, V(log_p)));
#else
    /* With h = f^2/2 and s = f / (2 + f): f - 2 s = s f, so
     * log(1 + f) = f - (h - s (h + s^2 P(s^2))). */
    const V(t) s = V(div)(f, V(add)(V(set1)(2), f)), z = V(mul)(s, s);
    const V(t) h = V(mul)(V(mul)(V(set1)((REAL)0.5), f), f);
    return V(fma)(s, V(fma)(z, CR_POLYNOMIAL(z, V(log_p)), h), V(neg)(h));
#endif
}

/* x = 2^k m, sqrt(1/2) <= m < sqrt(2), for a positive normal x: returns m, *exponent = k + bias. */
CR_INLINE V(t) FN(log_reduce)(V(t) x, V(int_t) *exponent)
{
    const V(int_t) sqrt_half = V(iset1)(V(sqrt_half_bits));
    const int64_t one_bits = (int64_t)V(bias) << V(mantissa_bits);
    const int64_t mantissa = ((int64_t)1 << V(mantissa_bits)) - 1;
    const V(int_t) i = V(iadd)(V(bits)(x), V(iset1)(one_bits - V(sqrt_half_bits)));
    *exponent = V(ishr)(i, V(mantissa_bits));
    return V(from_bits)(V(iadd)(V(iand)(i, V(iset1)(mantissa)), sqrt_half));
}

/* That exponent as a number, without the bias. */
CR_INLINE V(t) FN(log_exponent)(V(int_t) exponent)
{
    const V(t) shift = V(set1)(V(integer));
    return V(sub)(V(from_bits)(V(ior)(exponent, V(bits)(shift))), V(set1)(V(integer) + V(bias)));
}

/* k log 2 + log(1 + f), added from the smallest part up. */
CR_INLINE V(t) FN(log_sum)(V(t) k, V(t) f)
{
    const V(t) low = V(fma)(k, V(set1)(V(ln2_low)), FN(log_tail)(f));
    return V(fma)(k, V(set1)(V(ln2_high)), V(add)(f, low));
}

/* y where 0 < x < inf; -inf for 0, NaN below 0, x itself for +inf and NaN. */
CR_INLINE V(t) FN(log_special)(V(t) x, V(t) y)
{
    y = V(select)(V(eq)(x, V(zero)()), V(set1)((REAL)-INFINITY), y);
    y = V(select)(V(lt)(x, V(zero)()), V(set1)((REAL)NAN), y);
    return V(select)(V(gt)(x, V(set1)(V(max_finite))), x, V(select)(V(is_nan)(x), x, y));
}

/* log x */
CR_INLINE V(t) FN(v_log)(V(t) x)
{
    const V(t) min_normal = V(set1)(V(min_normal));
    const V(mask_t) plain = V(mask_and)(V(ge)(x, min_normal), V(le)(x, V(set1)(V(max_finite))));
    const int any_special = CR_UNLIKELY(V(any)(V(mask_not)(plain)));
    const V(mask_t) small = V(lt)(x, min_normal);
    V(t) lifted = x;
    if (any_special) {
        lifted = V(select)(small, V(mul)(x, V(set1)(V(lift))), x);
    }
    V(int_t) exponent;
    const V(t) f = V(sub)(FN(log_reduce)(lifted, &exponent), V(set1)(1));
    V(t) k = FN(log_exponent)(exponent);
    if (any_special) {
        k = V(sub)(k, V(keep)(small, V(set1)(V(lift_log2))));
    }
    const V(t) y = FN(log_sum)(k, f);
    return any_special ? FN(log_special)(x, y) : y;
}

/* log(1 + x) for -1 < x <= 2^60. k comes from 1 + x rounded; then
 * f = 2^-k (1 + x) - 1 = 2^-k x + (2^-k - 1) is one fma with no loss that counts: 2^-k - 1 is exact
 * up to where k log 2 makes its error nothing. */
CR_INLINE V(t) FN(log1p_plain)(V(t) x)
{
    const V(t) one = V(set1)(1);
    V(int_t) exponent;
    (void)FN(log_reduce)(V(add)(one, x), &exponent);
    const V(int_t) twice_bias = V(iset1)(2 * V(bias));
    const V(t) power = V(from_bits)(V(ishl)(V(isub)(twice_bias, exponent), V(mantissa_bits)));
    const V(t) f = V(fma)(power, x, V(sub)(power, one));
    return FN(log_sum)(FN(log_exponent)(exponent), f);
}

/* log(1 + x) */
CR_INLINE V(t) FN(v_log1p)(V(t) x)
{
    const V(t) one = V(set1)(1), minus_one = V(set1)(-1), large = V(set1)((REAL)0x1p60);
    const V(mask_t) plain = V(mask_and)(V(gt)(x, minus_one), V(le)(x, large));
    V(t) y = FN(log1p_plain)(x);
    if (CR_UNLIKELY(V(any)(V(mask_not)(plain)))) {
        /* Beyond 2^60, 1 + x is x, and 2^-k may be too small to write down. */
        V(int_t) exponent;
        const V(t) f = V(sub)(FN(log_reduce)(x, &exponent), one);
        y = V(select)(V(gt)(x, large), FN(log_sum)(FN(log_exponent)(exponent), f), y);
        y = V(select)(V(is_nan)(x), x, FN(log_special)(V(add)(one, x), y));
    }
    return V(copysign)(y, x); /* +0 and -0 */
}

/* ---- erf and the normal distribution --------------------------------------------------------- */

/* G(t) and 1 / (a + k) of the upper tail Q(a) = e^(-a^2/2) G(t) / (a + k), a >= 0. *error is by
 * how much, relatively, that inverse came out too small; whoever needs the last ulp multiplies
 * by 1 + error. */
CR_INLINE V(t) FN(tail_factor)(V(t) a, V(t) *inverse, V(t) *error)
{
    const V(t) k = V(set1)(V(tail_k));
    const V(t) one = V(set1)(1);
    *inverse = V(div)(one, V(add)(a, k));
    *error = V(fnma)(a, *inverse, V(fnma)(k, *inverse, one));
    const V(t) rough = V(mul)(V(sub)(a, k), *inverse), t = V(fma)(rough, *error, rough);
    /* The last step as in Horner's rule: the sum of the lowest pair would be a rounding as large as
     * the result's own. */
    const size_t n = sizeof V(tail_g) / sizeof V(tail_g)[0];
    return V(fma)(FN(polynomial)(t, V(tail_g) + 1, n - 1), t, V(set1)(V(tail_g)[0]));
}

/* x + x P(x^2) near 0, else 1 - 2 Q(sqrt(2) |x|) with the sign of x. */
CR_INLINE V(t) FN(v_erf)(V(t) x)
{
    const V(t) one = V(set1)(1);
    const V(t) size = V(min)(V(set1)(V(erf_one)), V(abs)(x));
    const V(t) square = V(mul)(size, size);
    const V(t) near = V(fma)(x, CR_POLYNOMIAL(square, V(erf_p)), x);
    V(t) shifted, inverse, error;
    const V(t) p = FN(exp_reduced)(FN(exp_reduce)(V(neg)(square), &shifted));
    const V(t) root_2 = V(set1)((REAL)1.41421356237309505);
    const V(t) g = FN(tail_factor)(V(mul)(root_2, size), &inverse, &error);
    const V(t) tail = V(mul)(V(mul)(FN(scale_power)(p, shifted), g), inverse);
    const V(t) far = V(copysign)(V(fnma)(V(set1)(2), tail, one), x);
    return V(select)(V(gt)(size, V(set1)((REAL)0.75)), far, near); /* NaN: near */
}

/* ---- tanh, sigmoid, softplus ----------------------------------------------------------------- */

#if CR_DTYPE == 32
/* A polynomial for each of 14 pieces of the positive axis, its coefficients looked up: twice as fast as an
 * exponential and a division. The sign is put on last. */
CR_INLINE V(t) FN(v_tanh)(V(t) x)
{
    const V(t) size = V(min)(V(set1)(V(tanh_one)), V(abs)(x)); /* a NaN stays, whatever piece it gets */
    const V(int_t) piece = V(ishr)(V(bits)(V(max)(V(set1)(V(tanh_low)), size)), V(mantissa_bits) - 1);
    const V(t) r = V(sub)(size, V(lookup16)(V(tanh_middle), piece));
    V(t) y = V(lookup16)(V(tanh_c6), piece);
    y = V(fma)(y, r, V(lookup16)(V(tanh_c5), piece));
    y = V(fma)(y, r, V(lookup16)(V(tanh_c4), piece));
    y = V(fma)(y, r, V(lookup16)(V(tanh_c3), piece));
    y = V(fma)(y, r, V(lookup16)(V(tanh_c2), piece));
    y = V(fma)(y, r, V(lookup16)(V(tanh_c1), piece));
    return V(copysign)(V(fma)(y, r, V(lookup16)(V(tanh_c0), piece)), x);
}
#else
/* x + x^3 P(x^2) near 0, else 1 - 2 / (e^(2|x|) + 1) with the sign of x. */
CR_INLINE V(t) FN(v_tanh)(V(t) x)
{
    const V(t) one = V(set1)(1);
    const V(t) size = V(min)(V(set1)(V(tanh_one)), V(abs)(x));
    const V(t) square = V(mul)(size, size);
    const V(t) near = V(fma)(V(mul)(square, CR_POLYNOMIAL(square, V(tanh_p))), x, x);
    V(t) shifted;
    const V(t) p = FN(exp_reduced)(FN(exp_reduce)(V(add)(size, size), &shifted));
    const V(t) ratio = V(div)(V(set1)(2), V(add)(FN(scale_power)(p, shifted), one));
    const V(mask_t) far = V(gt)(size, V(set1)((REAL)0.625));
    return V(copysign)(V(select)(far, V(sub)(one, ratio), near), x); /* NaN: near; -0: copysign */
}
#endif

/* factor e^v / (1 + e^v), with e^v = p 2^n. Wide lanes are those with v < -exp_safe, where
 * 1 + e^v is 1 and e^v may be subnormal while the product is not, so the product is made before
 * it is scaled. */
CR_INLINE V(t) FN(logistic)(V(t) factor, V(t) p, V(t) shifted, V(mask_t) wide, int any_wide)
{
    const V(t) one = V(set1)(1);
    const V(t) e = FN(scale_power)(p, shifted);
    const V(t) q = V(div)(e, V(add)(one, e));
    /* Below one half, one step towards the exact quotient undoes the roundings of 1 + e and of the division:
     * its remainder e - q (1 + e) = (e - q) - q e, where e - q is exact as q >= e / 2, times 1 / (1 + e) = 1 - q.
     * Above, the error of e weighs less and no step is needed. */
    const V(t) remainder = V(keep)(V(le)(e, one), V(fnma)(q, e, V(sub)(e, q)));
    const V(t) y = V(mul)(factor, V(fma)(remainder, V(sub)(one, q), q));
    return any_wide ? V(select)(wide, FN(scale_wide)(V(mul)(factor, p), shifted), y) : y;
}

/* 1 / (1 + e^-x); e^x itself where e^-x would be beyond all numbers. With e^-x = 2^n (1 + near) the sum is
 * (2^n + 1) + 2^n near, rounded once; where 2^n + 1 is 2^n, the 1 joins the smaller part. */
CR_INLINE V(t) FN(v_sigmoid)(V(t) x)
{
    const V(t) one = V(set1)(1);
    const V(mask_t) wide = V(mask_not)(V(ge)(x, V(set1)(-V(exp_safe))));
    V(t) shifted;
    const V(t) r = FN(exp_reduce)(V(neg)(V(min)(V(set1)(V(sigmoid_one)), x)), &shifted);
    const V(t) near = V(fma)(V(mul)(r, r), CR_POLYNOMIAL(r, V(exp_q)), r);
    const V(t) power = FN(scale_power)(one, shifted);
    const V(t) larger = V(add)(power, one);
    const V(t) smaller = V(fma)(power, near, V(keep)(V(eq)(larger, power), one));
    const V(t) y = V(div)(one, V(add)(larger, smaller));
    return CR_UNLIKELY(V(any)(wide)) ? V(select)(wide, FN(v_exp)(x), y) : y;
}

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|) */
CR_INLINE V(t) FN(v_softplus)(V(t) x)
{
    const V(t) e = FN(v_exp_nonpositive)(V(neg)(V(abs)(x)));
    return V(add)(V(max)(V(zero)(), x), FN(log1p_plain)(e));
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* y[i] = f(x[i], alpha); y may be x. f is a constant where this is called, so it is inlined. */
CR_INLINE void FN(map)(V(t) (*f)(V(t) x, V(t) alpha), REAL alpha, size_t n, const REAL *x, REAL *y)
{
    const V(t) a = V(set1)(alpha);
    size_t i = 0, part = FN(before_line)(y, n); /* first, and again at the end: a part of a vector */
    for (;;) {
        if (part > 0) {
            V(store_tail)(y + i, f(V(load_tail)(x + i, part), a), part);
            i += part;
        }
        for (; i + V_LANES <= n; i += V_LANES) {
            V(store)(y + i, f(V(load)(x + i), a));
        }
        part = (n - i) % V_LANES; /* of one lane there are no parts: the compiler sees it */
        if (part == 0) {
            return;
        }
    }
}

/* dx[i] = f(dy[i], saved[i], alpha); dx may be dy or saved. far: goes_far of them; a fence then follows. */
CR_INLINE void FN(map_2)(V(t) (*f)(V(t) dy, V(t) saved, V(t) alpha), REAL alpha, size_t n,
                         const REAL *dy, const REAL *saved, REAL *dx, int far)
{
    const V(t) a = V(set1)(alpha);
    size_t i = 0, part = FN(before_line)(dx, n);
    for (;;) {
        if (part > 0) {
            const V(t) some = f(V(load_tail)(dy + i, part), V(load_tail)(saved + i, part), a);
            V(store_tail)(dx + i, some, part);
            i += part;
        }
        for (; i + V_LANES <= n; i += V_LANES) {
            V(t) some = V(load)(dy + i);
            CR_PIN(some);
            CR_OPAQUE(far);
            FN(store_far)(far, dx + i, f(some, V(load)(saved + i), a));
        }
        part = (n - i) % V_LANES; /* of one lane there are no parts: the compiler sees it */
        if (part == 0) {
            return;
        }
    }
}

/* The functions as map wants them. */
#define CR_MAPPED(name)                                           \
    CR_INLINE V(t) FN(mapped_##name)(V(t) x, V(t) alpha)          \
    {                                                             \
        (void)alpha;                                              \
        return FN(v_##name)(x);                                   \
    }
CR_MAPPED(exp)
CR_MAPPED(log)
CR_MAPPED(expm1)
CR_MAPPED(log1p)
CR_MAPPED(erf)
CR_MAPPED(tanh)
CR_MAPPED(sigmoid)
CR_MAPPED(softplus)
#undef CR_MAPPED

/* y = f(x) elementwise; y may be x. */
static void FN(function)(int kind, size_t n, const REAL *x, REAL *y)
{
    switch (kind) {
    case CR_EXP:
        FN(map)(FN(mapped_exp), 0, n, x, y);
        break;
    case CR_LOG:
        FN(map)(FN(mapped_log), 0, n, x, y);
        break;
    case CR_EXPM1:
        FN(map)(FN(mapped_expm1), 0, n, x, y);
        break;
    case CR_LOG1P:
        FN(map)(FN(mapped_log1p), 0, n, x, y);
        break;
    case CR_ERF:
        FN(map)(FN(mapped_erf), 0, n, x, y);
        break;
    default:
        break;
    }
}
