"""Tolerances by name, each with its reason. None is loosened to make a run green.

u = 2^-p is half the distance from 1 to the next number: the largest relative error of one rounding (p = 24
for float32, 53 for float64). A value after n roundings is off by at most gamma(n) = n u / (1 - n u) relative
to the sum of absolute terms (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3).
"""

import numpy as np
import pytest

KB = 256  # block of the reduction index: CR_KB of chainrule.h
PRECISION = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
SMALLEST_EXPONENT = {np.dtype(np.float32): -126, np.dtype(np.float64): -1022}


def unit(dtype):
    """u: one rounding."""
    return 2.0 ** -PRECISION[np.dtype(dtype)]


def gamma(n, dtype):
    """n roundings one after the other."""
    return n * unit(dtype) / (1 - n * unit(dtype))


# -- elementwise: units in the last place ----------------------------------------------------------------


def ulp_error(got, reference):
    """|got - reference| in units of the last place of the reference, for got of a narrower type.

    Equal infinities and NaN against NaN are 0 apart; NaN against a number is infinitely far. An infinity
    counts as the power of two that comes after the largest number (as the largest, where no type is wider).
    """
    dtype = np.dtype(got.dtype)
    smallest, digits = SMALLEST_EXPONENT[dtype], PRECISION[dtype]
    wide = np.asarray(reference)
    wider = np.finfo(wide.dtype).maxexp > 2 - smallest
    beyond = wide.dtype.type(2) ** (2 - smallest) if wider else np.finfo(wide.dtype).max
    with np.errstate(all="ignore"):
        given = np.clip(got.astype(wide.dtype), -beyond, beyond)
        clipped = np.clip(wide, -beyond, beyond)
        _, exponent = np.frexp(clipped)
        last_place = np.ldexp(wide.dtype.type(1), np.maximum(exponent - 1, smallest) - (digits - 1))
        error = np.abs(given - clipped) / last_place
    both_nan, one_nan = np.isnan(got) & np.isnan(wide), np.isnan(got) ^ np.isnan(wide)
    return np.where(both_nan, 0.0, np.where(one_nan, np.inf, error)).astype(np.float64)


def need_wider(dtype):
    """Skip a test whose reference would be off by more than what it is to judge."""
    if np.dtype(dtype) == np.float64 and np.finfo(np.longdouble).nmant == 52:
        pytest.skip("no type here is wider than float64")


# Largest errors of (float32, float64): the limits of csrc/tests/test_accuracy.c; tests/test_bounds.py compares them
# with these and with the table of csrc/kernels/README.md. float32 was measured on all inputs (the second decimal is
# rounded up); float64 on 10^8, so up to a tenth is added.
ULP = {
    "exp": (0.94, 1.01),
    "log": (0.97, 0.95),
    "expm1": (1.67, 2.18),
    "log1p": (1.59, 1.53),
    "erf": (2.08, 2.23),
    "tanh": (1.28, 1.50),
    "sigmoid": (1.75, 1.90),
    "softplus": (1.89, 1.87),
    "gelu": (3.36, 3.83),
    "gelu_tanh": (2.94, 3.17),
    "silu": (3.00, 3.22),
    "mish": (3.95, 4.12),
    "exponential": (0.94, 1.01),  # exp
    "elu": (1.67, 2.18),  # expm1, alpha = 1
    "celu": (1.67, 2.18),
    "selu": (1.94, 2.14),
    "softsign": (1.50, 1.65),
    "hard_sigmoid": (1.34, 1.48),
    "hard_swish": (2.49, 2.74),
    "leaky_relu": (1.0, 1.0),  # alpha rounded, one product
    "identity": (0, 0),
    "relu": (0, 0),
    "relu6": (0, 0),
    "hard_tanh": (0, 0),
}


def ulp(name, dtype):
    return ULP[name][0 if np.dtype(dtype) == np.float32 else 1] + reference_ulp(dtype)


# f(x, alpha) has two roundings more than f(x, 1), the quotient x / alpha and the product with alpha, each up
# to a unit of the last place of the result.
WITH_ALPHA = 2.0


def reference_ulp(dtype):
    """What the reference itself is off by: nothing that counts where it is wider, else its own roundings."""
    wider = np.dtype(dtype) == np.float32 or np.finfo(np.longdouble).nmant > 52
    return 0.01 if wider else 4.0


# dy f' for a given saved array: |error| <= (a |dy f'| + b |dy|) u, as (a, b). Where a derivative has a zero
# inside (silu, gelu, mish, hard_swish) or is a difference (selu, celu), its error is that of the terms,
# which are of the size of 1: that is what b counts.
DERIVATIVE = {
    "identity": (0, 0),  # dy itself
    "relu": (0, 0),
    "relu6": (0, 0),
    "hard_tanh": (0, 0),
    "leaky_relu": (2, 0),  # alpha rounded to the dtype, one product
    "hard_sigmoid": (2, 0),  # 1/6 rounded, one product
    "sigmoid": (3, 0),  # 1 - y, two products
    "tanh": (2, 0),  # 1 - y^2 in one rounding, one product
    "exponential": (1, 0),
    "softplus": (4, 0),  # expm1 to 1.5 units, that is 3 u; one product
    "softsign": (4, 0),  # 1 - |y| twice, its square, one product
    "elu": (2, 1),  # y + alpha, one product; alpha rounded
    "celu": (2, 2),  # y / alpha and alpha itself rounded, then as elu
    "selu": (2, 2),  # the constant (1.76) rounded, then as elu
    "hard_swish": (2, 2),  # x / 3 + 1/2 with 1/3 rounded, |x| <= 3
    "silu": (10, 10),  # exp to 1 unit (2 u), 1 + e, reciprocal, 1 + x r, two products; |x r e| < 1.3
    "mish": (14, 14),  # as silu, with n = e (e + 2) and the square of the reciprocal
    "gelu": (16, 4),  # exp to 1 unit, the tail's polynomial and reciprocal (6 u), one difference, one product
    "gelu_tanh": (16, 24),  # sigmoid of v with v rounded: |v| <= 12 counts each rounding of v up to 12 times
}


def derivative(name, dtype, dy, slope):
    a, b = DERIVATIVE[name]
    tiny = 2.0 ** (SMALLEST_EXPONENT[np.dtype(dtype)] - PRECISION[np.dtype(dtype)] + 2)  # results may be subnormal
    return (a * np.abs(dy * slope) + b * np.abs(dy)) * unit(dtype) + tiny


# -- sums ------------------------------------------------------------------------------------------------


def n_roundings_of_product(k):
    """Longest way through a sum of k products: a block of fused multiply-adds, then the sum of the blocks."""
    return min(k, KB) + -(-k // KB)


def product(dtype, absolute, k, extra=2):
    """For A B with `absolute` = |A| |B| (+ |bias|), k terms an element; extra roundings: bias, activation."""
    n = n_roundings_of_product(k) + extra
    return gamma(n, dtype) * absolute + underflow(dtype, n)


def column_sum(dtype, absolute, n_rows):
    """Sums over rows: blocks of KB rows, block sums left to right."""
    return gamma(n_roundings_of_product(n_rows), dtype) * absolute


def row_sum_roundings(n):
    """16 partial sums by index mod 16, folded 8-4-2-1."""
    return -(-n // 16) + 4


def underflow(dtype, n):
    """n results below the smallest normal number are each off by half the smallest subnormal one."""
    dtype = np.dtype(dtype)
    return -(-n // 2) * 2.0 ** (SMALLEST_EXPONENT[dtype] - PRECISION[dtype] + 1)


def softmax(dtype, spread, n):
    """Relative error of softmax over n numbers that are `spread` apart: exp of a rounded difference is off by
    u |difference|, exp itself by 1 unit in the last place (2 u); the sum; the quotient.
    """
    return gamma(2 * (spread + 2) + row_sum_roundings(n) + 3, dtype)


# -- losses ----------------------------------------------------------------------------------------------

# Roundings of one term and of its slope, relative to the sizes that `loss_sizes` of the tests works out; the
# row's sum, and the factor in front of the gradient, come on top.
LOSS = {
    "squared_error": (3, 1),  # d counts twice in d^2
    "mean_squared_error": (4, 2),
    "absolute_error": (1, 0),
    "huber": (6, 2),  # q (|d| - q / 2): d twice, delta, two operations
    "log_cosh": (24, 16),  # expm1 and log1p (4 u each), u^2 / (2 e), e = 1 + u; slope u (2 + u) / (1 + e^2)
    "quantile": (4, 2),  # q and 1 - q rounded, d, one product
    "poisson": (4, 2),  # log to 1 unit (2 u), one fma; slope a quotient and a difference
    "cross_entropy": (6, 4),  # smoothing (3 u), log (2 u), a product; slope a quotient
    "softmax_cross_entropy": (12, 12),  # smoothing (3), log1p (4), e (2), quotient, products; sums: twice
    "sigmoid_cross_entropy": (12, 10),  # as cross_entropy, e = exp (2 u), log1p (4 u), pos_weight
    "hinge": (1, 0),
}
GRADIENT_FACTOR = 3  # 1 / (sum of weights) rounded, times the weight, times the slope


def loss(name, dtype, terms, n_out, n_rows, spread=0.0):
    """For a loss whose terms have these sizes; the sum over rows is in double. A difference of logits is
    rounded, so its exponential is off by u `spread` more.
    """
    roundings = LOSS[name][0] + 2 * row_sum_roundings(n_out) + 2 * spread
    return (gamma(roundings, dtype) + gamma(n_rows + 4, np.float64)) * terms


def loss_gradient(name, dtype, sizes, n_out, n_rows, spread=0.0):
    """The sum of weights in its factor is in double."""
    sums = 2 * row_sum_roundings(n_out) if name == "softmax_cross_entropy" else 0
    relative = gamma(LOSS[name][1] + sums + 2 * spread + GRADIENT_FACTOR, dtype) + gamma(n_rows, np.float64)
    return relative * sizes + underflow(dtype, 4)


# -- whole steps -----------------------------------------------------------------------------------------

# Optimizer steps on given gradients: at most a dozen roundings on the longest way (Adam: the two averages,
# square root, quotient, product, sum), and coefficients rounded to the dtype.
UPDATE_ROUNDINGS = 16

# Central differences in float64 with h = u^(1/3) are off by about u^(2/3) = 2e-11 of the loss, and by the
# gradient's own roundings; 1e-7 of the norm leaves room for gradients a thousand times smaller than the loss.
GRADIENT_CHECK = 1e-7

# Ten steps against plain NumPy: the largest difference of any weight, the relative one of the loss, by dtype. Each step
# differs by some hundred roundings (6e-6 in float32) of the gradient, times the learning rate; u is 2^-29 of that in
# float64.
TEN_STEPS_OF_TWIN = {"float32": 1e-5, "float64": 1e-5 * 2.0**-29}
