/* vmath_f64.h - the constants of kernels/vmath.inc.h for double.
 *
 * Polynomials are minimax fits (Remez exchange in 50-digit arithmetic), lowest coefficient
 * first, rounded to double. "Error" is the largest relative error that the rounded coefficients
 * add to the function of the comment.
 */
#ifndef CR_VMATH_F64_H
#define CR_VMATH_F64_H

#include <float.h>
#include <stdint.h>

/* The format: width of the stored mantissa and the bias of the exponent. */
enum { cr_f64_mantissa_bits = 52, cr_f64_bias = 1023 };

/* 1.5 * 2^52: adding it rounds to an integer, which then lies in the lowest bits of the sum. */
static const double cr_f64_magic = 0x1.8p52;
/* 2^52, to turn a small non-negative integer in the lowest bits into a number. */
static const double cr_f64_integer = 0x1p52;
/* The factor that makes every subnormal normal. */
static const double cr_f64_lift = 0x1p54;
enum { cr_f64_lift_log2 = 54 };
static const double cr_f64_min_normal = DBL_MIN;
static const double cr_f64_max_finite = DBL_MAX;

/* ln 2 in two parts; n times the first (41 bits) is exact for every exponent n. */
static const double cr_f64_log2_e = 0x1.71547652b82fep+0;
static const double cr_f64_ln2_high = 0x1.62e42fefa4p-1;
static const double cr_f64_ln2_low = -0x1.8432a1b0e2634p-43;

/* exp: for |x| <= safe the result is normal, so one addition to its exponent scales it. Beyond,
 * x is clamped to low .. high, where the result (even times 760) has long become 0 or infinite. */
static const double cr_f64_exp_safe = 708.0;
static const double cr_f64_exp_low = -760.0;
static const double cr_f64_exp_high = 710.0;
/* q with e^r = 1 + r + r^2 q(r), |r| <= ln 2 / 2. Error of e^r - 1: 2^-54. */
static const double cr_f64_exp_q[] = {
    0x1.0000000000005p-1, 0x1.555555555555dp-3, 0x1.5555555551e88p-5, 0x1.111111110e4cep-7,
    0x1.6c16c17fe06f6p-10, 0x1.a01a01b69cb65p-13, 0x1.a019a470075bep-16, 0x1.71dde827cfbc2p-19,
    0x1.28a4d4625b939p-22, 0x1.af79d321d5474p-26,
};

/* Bits of sqrt(1/2), the lower end of the reduced argument of log. */
static const int64_t cr_f64_sqrt_half_bits = 0x3fe6a09e667f3bcd;
/* P with log(1 + f) = 2 s + s^3 P(s^2), s = f / (2 + f), sqrt(1/2) <= 1 + f <= sqrt(2); a
 * polynomial in f itself would need more than twice the degree. Error of P s^2: 2^-57. */
static const double cr_f64_log_p[] = {
    0x1.5555555555593p-1, 0x1.999999997fcafp-2, 0x1.249249420113p-2, 0x1.c71c51fb7fb6bp-3,
    0x1.746641eccbaf5p-3, 0x1.39a168ad469f4p-3, 0x1.2f08c6748a7e9p-3,
};

/* P with tanh(x) = x + x^3 P(x^2), |x| <= 0.625. Error: 2^-56. */
static const double cr_f64_tanh_p[] = {
    -0x1.5555555555503p-2, 0x1.111111110b08cp-3, -0x1.ba1ba1b52e622p-5, 0x1.664f47817e944p-6,
    -0x1.226e16cdb5f54p-7, 0x1.d6cf3b180e969p-9, -0x1.7d695a7c5de0cp-10, 0x1.336a7d4184bffp-11,
    -0x1.df7738af2d0afp-13, 0x1.43d9e60d8001ap-14, -0x1.0e2e87e488903p-16,
};
/* tanh(x) = 1 in double from here on. */
static const double cr_f64_tanh_one = 20.0;
/* sigmoid(x) = 1 in double from here on, with room for the roundings of a product with it. */
static const double cr_f64_sigmoid_one = 38.0;

/* P with erf(x) = x + x P(x^2), |x| <= 0.75. Error: 2^-55. */
static const double cr_f64_erf_p[] = {
    0x1.06eba8214db69p-3, -0x1.812746b0379ep-2, 0x1.ce2f21a0424dap-4, -0x1.b82ce31257c53p-6,
    0x1.565bcd037d167p-8, -0x1.c02db126e5025p-11, 0x1.f9a2b03e8de9ap-14, -0x1.f4c5eab839992p-17,
    0x1.b90f5c749e2fp-20, -0x1.56532553eb9acp-23, 0x1.8a45ff6809cbcp-27,
};
/* erf(x) = 1 in double from here on. */
static const double cr_f64_erf_one = 6.0;

/* Upper tail of the normal distribution, Q(a) = e^(-a^2/2) G(t) / (a + k), t = (a - k) / (a + k),
 * for 0 <= a <= 40; k is near the best of a scan. The coefficients were moved on by single ulps as
 * long as that lowered the error. Error: 2^-55. */
static const double cr_f64_tail_k = 5.0;
static const double cr_f64_tail_g[] = {
    0x1.89d3abe1f95aep-1, -0x1.54ad03f27ca18p-1, 0x1.fb31653876f88p-2, -0x1.410ed5f87594dp-2,
    0x1.51f6329f01b94p-3, -0x1.1b1c254ca3ed2p-4, 0x1.54b4d4f48ba78p-6, -0x1.88590e9875381p-9,
    -0x1.a2503779f6c66p-11, 0x1.1daf1ae44a4ep-11, -0x1.f2149215b030bp-15, -0x1.a17014bb60aeep-15,
    0x1.17df0b50f8bf4p-16, 0x1.0b15068d92fdp-18, -0x1.73dfc6f9b9de5p-19, -0x1.674ddb8c6a616p-22,
    0x1.d45db8acd651fp-22, 0x1.5998fb3296c5ep-25, -0x1.2cb934d2e9033p-24, -0x1.268ed2adc363p-27,
    0x1.6fc64af55a626p-27, 0x1.2ef898ffb2d57p-29, -0x1.36ce79b6b3763p-30, -0x1.966a2d7c285fap-32,
};
/* Q(a) is normal up to tail_safe, and 0 even times a at tail_end. */
static const double cr_f64_tail_safe = 37.4;
static const double cr_f64_tail_end = 39.5;

/* gelu_tanh(x) = x sigmoid(c1 x + c3 x^3), c1 = 2 sqrt(2 / pi), c3 = 0.044715 c1, each in two
 * parts. Below low the sigmoid is 0 even times x; above high it is 1. */
static const double cr_f64_gelu_c1 = 0x1.9884533d43651p+0;
static const double cr_f64_gelu_c1_low = -0x1.cbc0d30ebfd15p-54;
static const double cr_f64_gelu_c3 = 0x1.2444f2a4d8b4bp-4;
static const double cr_f64_gelu_c3_low = -0x1.6c843a29d1c7p-61;
static const double cr_f64_gelu_tanh_low = -21.7;
static const double cr_f64_gelu_tanh_high = 7.5;

#endif
