/* vmath_f32.h - the constants of kernels/vmath.inc.h for float.
 *
 * Polynomials are minimax fits (Remez exchange in 50-digit arithmetic), lowest coefficient
 * first, rounded to float one by one, the rest fitted anew each time. "Error" is the largest
 * relative error that the rounded coefficients add to the function of the comment.
 */
#ifndef CR_VMATH_F32_H
#define CR_VMATH_F32_H

#include <float.h>
#include <stdint.h>

/* The format: width of the stored mantissa and the bias of the exponent. */
enum { cr_f32_mantissa_bits = 23, cr_f32_bias = 127 };

/* 1.5 * 2^23: adding it rounds to an integer, which then lies in the lowest bits of the sum. */
static const float cr_f32_magic = 0x1.8p23f;
/* 2^23, to turn a small non-negative integer in the lowest bits into a number. */
static const float cr_f32_integer = 0x1p23f;
/* The factor that makes every subnormal normal. */
static const float cr_f32_lift = 0x1p25f;
enum { cr_f32_lift_log2 = 25 };
static const float cr_f32_min_normal = FLT_MIN;
static const float cr_f32_max_finite = FLT_MAX;

/* ln 2 in two parts; n times the first (15 bits) is exact for every exponent n. */
static const float cr_f32_log2_e = 0x1.715476p+0f;
static const float cr_f32_ln2_high = 0x1.62e4p-1f;
static const float cr_f32_ln2_low = 0x1.7f7d1cp-20f;

/* exp: for |x| <= safe the result is normal, so one addition to its exponent scales it. Beyond,
 * x is clamped to low .. high, where the result (even times 120) has long become 0 or infinite. */
static const float cr_f32_exp_safe = 87.0f;
static const float cr_f32_exp_low = -120.0f;
static const float cr_f32_exp_high = 89.0f;
/* q with e^r = 1 + r + r^2 q(r), |r| <= ln 2 / 2. Error of e^r - 1: 2^-26. */
static const float cr_f32_exp_q[] = {
    0.5f, 0.16666536f, 0.041666612f, 0.00836749002f, 0.00139169197f,
};

/* Bits of sqrt(1/2), the lower end of the reduced argument of log. */
static const int64_t cr_f32_sqrt_half_bits = 0x3f3504f3;
/* P with log(1 + f) = f + f^2 P(f), sqrt(1/2) <= 1 + f <= sqrt(2); the coefficients were moved on by
 * single ulps as long as that lowered the error. Error: 2^-26. */
static const float cr_f32_log_p[] = {
    -0.499999821f, 0.333333254f, -0.250016719f, 0.20002003f, -0.166089803f, 0.141815931f,
    -0.132434264f, 0.129063904f, -0.0761378482f,
};

/* P with tanh(x) = x + x^3 P(x^2), |x| <= 0.625. Error: 2^-27. */
static const float cr_f32_tanh_p[] = {
    -0.333332837f, 0.133314833f, -0.0537427738f, 0.0206480604f, -0.00571405515f,
};
/* tanh(x) = 1 in float from here on. */
static const float cr_f32_tanh_one = 10.0f;
/* sigmoid(x) = 1 in float from here on, with room for the roundings of a product with it. */
static const float cr_f32_sigmoid_one = 18.0f;
/* The least x where sigmoid(x) rounds to 1, log(2^25 - 1), and the number before 1. */
static const float cr_f32_sigmoid_full = 0x1.154246p+4f;
static const float cr_f32_before_one = 0x1.fffffep-1f;

/* P with erf(x) = x + x P(x^2), |x| <= 0.75. Error: 2^-29. */
static const float cr_f32_erf_p[] = {
    0.128379166f, -0.37612623f, 0.112834282f, -0.026836969f, 0.00511881849f, -0.000677989039f,
};
/* erf(x) = 1 in float from here on. */
static const float cr_f32_erf_one = 4.0f;

/* Upper tail of the normal distribution, Q(a) = e^(-a^2/2) G(t) / (a + k), t = (a - k) / (a + k),
 * for 0 <= a <= 15; k is near the best of a scan. The coefficients were moved on by single ulps as
 * long as that lowered the error. Error: 2^-25. */
static const float cr_f32_tail_k = 4.0f;
static const float cr_f32_tail_g[] = {
    0.755285144f, -0.607896686f, 0.387137234f, -0.186521471f, 0.0603984296f, -0.00754255103f,
    -0.0034921472f, 0.00163548382f, 0.000171860316f, -0.000219287875f, -4.50630105e-05f,
};
/* Q(a) is normal up to tail_safe, and 0 even times a at tail_end. */
static const float cr_f32_tail_safe = 12.9f;
static const float cr_f32_tail_end = 15.0f;

/* gelu_tanh(x) = x sigmoid(c1 x + c3 x^3), c1 = 2 sqrt(2 / pi), c3 = 0.044715 c1, each in two
 * parts. Below low the sigmoid is 0 even times x; above high it is 1. */
static const float cr_f32_gelu_c1 = 0x1.988454p+0f;
static const float cr_f32_gelu_c1_low = -0x1.857936p-25f;
static const float cr_f32_gelu_c3 = 0x1.2444f2p-4f;
static const float cr_f32_gelu_c3_low = 0x1.49b16ap-29f;
static const float cr_f32_gelu_tanh_low = -11.5f;
static const float cr_f32_gelu_tanh_high = 5.5f;

#endif
