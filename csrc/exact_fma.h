/* exact_fma.h - a*b + c for doubles with one rounding, in integers, for C libraries whose fma() does not do that.
 *
 * mingw-w64's (10.0) computes in long double: every third result is off. musl's (1.2) loses the sign of a product that
 * rounds to -0. Wants 128-bit integers.
 */
#ifndef CR_EXACT_FMA_H
#define CR_EXACT_FMA_H

#include <math.h>
#include <stdint.h>

#include "portability.h"

/* v >> n; the last bit is 1 if a bit was lost, so that the rest still tells above, below and half apart. */
CR_INLINE cr_u128 cr_shift_sticky(cr_u128 v, int n)
{
    if (n <= 0) {
        return v;
    }
    return n > 127 ? v != 0 : (v >> n) | ((v & (((cr_u128)1 << n) - 1)) != 0);
}

/* |v| = m 2^*exponent with m of 53 bits; v is finite and not 0. */
CR_INLINE uint64_t cr_take_apart(double v, int *exponent)
{
    const uint64_t m = (uint64_t)ldexp(frexp(fabs(v), exponent), 53);
    *exponent -= 53;
    return m;
}

CR_OUTLINE double cr_exact_fma(double a, double b, double c)
{
    if (!isfinite(a) || !isfinite(b) || a == 0 || b == 0) {
        return a * b + c; /* the product is exact */
    }
    if (!isfinite(c)) {
        return c + c; /* and not a * b + c: the product may overflow */
    }
    if (c == 0) {
        return a * b; /* a product that rounds to -0 stays so */
    }
    int e_a, e_b, e_c;
    const uint64_t m_a = cr_take_apart(a, &e_a), m_b = cr_take_apart(b, &e_b), m_c = cr_take_apart(c, &e_c);
    /* Both terms below 2^126 with one exponent e, that of the product (106 bits, moved up by 20) or, if c is larger
       by far, of c (53 bits, moved up by 73). What is shifted out of the other is 2^19 times less than its first
       bit is apart from the larger one's, or nothing: no cancellation meets a sticky bit. */
    int e = e_a + e_b - 20;
    cr_u128 product = (cr_u128)m_a * m_b << 20, addend;
    if (e_c - e > 73) {
        product = cr_shift_sticky(product, e_c - 73 - e);
        e = e_c - 73;
        addend = (cr_u128)m_c << 73;
    } else {
        addend = e_c >= e ? (cr_u128)m_c << (e_c - e) : cr_shift_sticky(m_c, e - e_c);
    }
    int negative = (a < 0) != (b < 0);
    cr_u128 sum = product + addend;
    if (negative != (c < 0)) {
        sum = product - addend;
        if (product < addend) {
            negative = !negative;
            sum = addend - product;
        }
        if (sum == 0) {
            return 0.0;
        }
    }
    /* Keep 53 bits, fewer if the last one would be below 2^-1074; round to nearest, half to even. */
    int n_bits = 0;
    for (cr_u128 rest = sum; rest != 0; rest >>= 1) {
        n_bits++;
    }
    int drop = n_bits - 53;
    if (drop < -1074 - e) {
        drop = -1074 - e;
    }
    if (drop > 0) {
        const cr_u128 kept = cr_shift_sticky(sum, drop - 2); /* drop = 1: two places up instead, nothing is lost */
        sum = drop == 1 ? sum << 1 : kept;
        sum = (sum >> 2) + (((sum & 3) + ((sum >> 2) & 1)) > 2);
        e += drop;
    }
    const double magnitude = ldexp((double)(uint64_t)sum, e);
    return negative ? -magnitude : magnitude;
}

#endif
