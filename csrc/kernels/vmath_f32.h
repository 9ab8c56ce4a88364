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

/* tanh(x) = c0 + r (c1 + r (c2 + ... + r c6)), r = x - middle, for x > 0 in pieces, two an octave; a piece has the slot
 * that bits 22 .. 25 of x say: slots 8 .. 15 hold 0.125 .. 2, slots 0 .. 4 hold 2 .. 12, and slot 7 all below 0.125
 * (which is held to tanh_low to find it), where the polynomial is odd. The middles lie near the middle of their pieces
 * where tanh is a float but for a ten-thousandth of an ulp; the coefficients are fits for relative error, rounded from
 * the lowest up, the rest fitted anew each time. Error: 2^-26.7; beyond 4, where tanh is nearly 1, 2^-24.3 in place of
 * half an ulp at most. */
static const float cr_f32_tanh_low = 0.09375f;
static const float cr_f32_tanh_middle[16] = {
    2.4997172f, 3.5005865f, 4.99977f, 6.99857f, 8.99714f, 0.0f, 0.0f, 0.0f, 0.15621144f, 0.21874551f,
    0.31252342f, 0.43750852f, 0.62510663f, 0.875142f, 1.2497119f, 1.749765f,
};
static const float cr_f32_tanh_c0[16] = {
    0.9866068f, 0.99818003f, 0.99990916f, 0.99999833f, 0.99999994f, 0.0f, 0.0f, 0.0f, 0.15495309f,
    0.21532206f, 0.302731f, 0.41157714f, 0.55467355f, 0.7039772f, 0.8482028f, 0.9413488f,
};
static const float cr_f32_tanh_c1[16] = {
    0.026607178f, 0.0036366954f, 1.819452e-04f, 3.340773e-06f, 6.086674e-08f, 0.0f, 0.0f, 1.0f, 0.9759895f,
    0.9536364f, 0.9083539f, 0.83060426f, 0.6923373f, 0.50441605f, 0.28055185f, 0.1138624f,
};
static const float cr_f32_tanh_c2[16] = {
    -0.026250584f, -0.003630035f, -1.81766e-04f, -3.3287977e-06f, 1.7043956e-07f, 0.0f, 0.0f, 0.0f,
    -0.15123282f, -0.20533897f, -0.27498698f, -0.34185776f, -0.38402116f, -0.35509747f, -0.23796497f,
    -0.10718424f,
};
static const float cr_f32_tanh_c3[16] = {
    0.017026514f, 0.0024089166f, 1.1887527e-04f, 2.1830795e-06f, 4.2749946e-08f, 0.0f, 0.0f, -0.33332783f,
    -0.30183476f, -0.27365953f, -0.21952736f, -0.13616213f, -0.01778149f, 0.08184347f, 0.10834051f,
    0.06295026f,
};
static const float cr_f32_tanh_c4[16] = {
    -0.00805488f, -0.0011961217f, -5.9827322e-05f, -1.1172037e-06f, -4.836773e-07f, 0.0f, 0.0f, 0.0f,
    0.09792085f, 0.12740701f, 0.15818623f, 0.17002638f, 0.1378658f, 0.06076268f, -0.012558025f,
    -0.023527842f,
};
static const float cr_f32_tanh_c5[16] = {
    0.002888725f, 4.8982655e-04f, 2.8495722e-05f, 5.242858e-07f, 6.9797528e-09f, 0.0f, 0.0f, 0.1321765f,
    0.06249478f, 0.08110869f, 0.04362449f, -0.0069594556f, -0.054237764f, -0.05872054f, -0.019715745f,
    0.0034802605f,
};
static const float cr_f32_tanh_c6[16] = {
    -6.9901644e-04f, -1.570615e-04f, -9.2143255e-06f, -1.5938096e-07f, 2.6173544e-07f, 0.0f, 0.0f, 0.0f,
    -0.58155113f, -0.09031938f, -0.08389439f, -0.067147344f, -0.024004148f, 0.012570462f, 0.0151108485f,
    0.0020892676f,
};
/* tanh(x) = 1 in float from here on. */
static const float cr_f32_tanh_one = 10.0f;
/* sigmoid(x) = 1 in float from here on, with room for the roundings of a product with it. */
static const float cr_f32_sigmoid_one = 18.0f;

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
