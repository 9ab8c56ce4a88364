/* scalar.h - the vocabulary in plain C: one lane, every machine, the reference for the others.
 *
 * Every word is defined in README.md; comments here say only what is special about this ISA.
 */
#ifndef CR_SIMD_SCALAR_H
#define CR_SIMD_SCALAR_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../portability.h"

/* "Each one rounding" is lost where float arithmetic happens in a wider type (x87; s390x, if gcc follows C11). */
#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "float must be evaluated as float: 32-bit x86 needs -msse2 -mfpmath=sse, s390x -fexcess-precision=fast"
#endif

#define CR_F32_LANES 1
#define CR_F64_LANES 1
#define CR_REGISTERS 16

/* ---- float ---------------------------------------------------------------------------------- */

typedef float cr_f32_t;
typedef int cr_f32_mask_t; /* 0 or 1 */
typedef int32_t cr_f32_int_t;

/* memcpy is one plain move here, and allows any alignment. */
CR_INLINE cr_f32_t cr_f32_load(const float *p)
{
    cr_f32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
CR_INLINE void cr_f32_store(float *p, cr_f32_t v) { memcpy(p, &v, sizeof v); }
CR_INLINE cr_f32_mask_t cr_f32_mask_first(size_t n) { return n != 0; }
CR_INLINE cr_f32_t cr_f32_load_masked(cr_f32_mask_t m, const float *p)
{
    return m ? cr_f32_load(p) : 0;
}
CR_INLINE void cr_f32_store_masked(cr_f32_mask_t m, float *p, cr_f32_t v)
{
    if (m) {
        cr_f32_store(p, v);
    }
}
CR_INLINE cr_f32_t cr_f32_load_tail(const float *p, size_t n)
{
    return cr_f32_load_masked(cr_f32_mask_first(n), p);
}
CR_INLINE void cr_f32_store_tail(float *p, cr_f32_t v, size_t n)
{
    cr_f32_store_masked(cr_f32_mask_first(n), p, v);
}
CR_INLINE cr_f32_t cr_f32_set1(float a) { return a; }
CR_INLINE cr_f32_t cr_f32_zero(void) { return 0; }
CR_INLINE void cr_f32_transpose(cr_f32_t r[CR_F32_LANES]) { (void)r; }
CR_INLINE void cr_f32_load_transposed(cr_f32_t r[CR_F32_LANES], const float *p, size_t ld)
{
    (void)ld;
    r[0] = p[0];
}
CR_INLINE void cr_f32_unzip(cr_f32_t *a, cr_f32_t *b) { (void)a, (void)b; }
CR_INLINE cr_f32_t cr_f32_fold(const cr_f32_t r[1]) { return r[0]; }
CR_INLINE void cr_f32_prefetch(const void *p) { CR_PREFETCH(p); }
CR_INLINE void cr_f32_stream(float *p, cr_f32_t v) { cr_f32_store(p, v); }
CR_INLINE void cr_f32_fence(void) {}

CR_INLINE cr_f32_int_t cr_f32_bits(cr_f32_t v)
{
    cr_f32_int_t i;
    memcpy(&i, &v, sizeof i);
    return i;
}
CR_INLINE cr_f32_t cr_f32_from_bits(cr_f32_int_t i)
{
    cr_f32_t v;
    memcpy(&v, &i, sizeof v);
    return v;
}
CR_INLINE cr_f32_int_t cr_f32_iset1(int64_t n) { return (cr_f32_int_t)n; }
CR_INLINE cr_f32_int_t cr_f32_iadd(cr_f32_int_t a, cr_f32_int_t b)
{
    return (cr_f32_int_t)((uint32_t)a + (uint32_t)b);
}
CR_INLINE cr_f32_int_t cr_f32_isub(cr_f32_int_t a, cr_f32_int_t b)
{
    return (cr_f32_int_t)((uint32_t)a - (uint32_t)b);
}
CR_INLINE cr_f32_int_t cr_f32_iand(cr_f32_int_t a, cr_f32_int_t b) { return a & b; }
CR_INLINE cr_f32_int_t cr_f32_ior(cr_f32_int_t a, cr_f32_int_t b) { return a | b; }
CR_INLINE cr_f32_int_t cr_f32_ishl(cr_f32_int_t a, unsigned n)
{
    return (cr_f32_int_t)((uint32_t)a << n);
}
CR_INLINE cr_f32_int_t cr_f32_ishr(cr_f32_int_t a, unsigned n)
{
    return (cr_f32_int_t)((uint32_t)a >> n);
}
CR_INLINE cr_f32_int_t cr_f32_isra(cr_f32_int_t a, unsigned n)
{
    return a < 0 ? ~(~a >> n) : a >> n;
}
CR_INLINE cr_f32_t cr_f32_lookup16(const float *table, cr_f32_int_t i) { return table[i & 15]; }

CR_INLINE cr_f32_t cr_f32_add(cr_f32_t a, cr_f32_t b) { return a + b; }
CR_INLINE cr_f32_t cr_f32_sub(cr_f32_t a, cr_f32_t b) { return a - b; }
CR_INLINE cr_f32_t cr_f32_mul(cr_f32_t a, cr_f32_t b) { return a * b; }
CR_INLINE cr_f32_t cr_f32_div(cr_f32_t a, cr_f32_t b) { return a / b; }
CR_INLINE cr_f32_t cr_f32_sqrt(cr_f32_t a) { return sqrtf(a); }

#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__) || defined(_M_ARM64)
CR_INLINE cr_f32_t cr_f32_fma(cr_f32_t a, cr_f32_t b, cr_f32_t c) { return fmaf(a, b, c); }
#else
/* a*b + c with one rounding, by way of double; fmaf() without the instruction is a slow call.
 *
 * The product of two floats is exact in double (48 bits of 53).  The sum is not, and rounding it to
 * double and then to float could round twice.  So the sum is rounded to odd: an inexact sum takes
 * whichever of its two neighbours has an odd last bit.  That bit is then a sticky bit far below the
 * last place of a float (double has more than 24 + 2 bits and a wider exponent), and the conversion
 * rounds exactly as from the exact sum, subnormal and overflowing results included.
 */
CR_INLINE cr_f32_t cr_f32_fma(cr_f32_t a, cr_f32_t b, cr_f32_t c)
{
    const double product = (double)a * b;
    const double addend = c;
    double sum = product + addend;
    /* TwoSum (Knuth): product + addend = sum + error, exactly. */
    const double from_addend = sum - product;
    const double error = (product - (sum - from_addend)) + (addend - from_addend);

    /* An infinity or a NaN makes the error a NaN, and both comparisons false. */
    if (error < 0 || error > 0) {
        int64_t i;
        memcpy(&i, &sum, sizeof i);
        if ((i & 1) == 0) {
            /* One step toward the exact sum: up in the bits is away from zero.  sum is not 0. */
            i += (error > 0) == (sum > 0) ? 1 : -1;
            memcpy(&sum, &i, sizeof sum);
        }
    }
    return (float)sum;
}
#endif

CR_INLINE cr_f32_t cr_f32_fnma(cr_f32_t a, cr_f32_t b, cr_f32_t c) { return cr_f32_fma(-a, b, c); }
CR_INLINE cr_f32_t cr_f32_max(cr_f32_t a, cr_f32_t b) { return a > b ? a : b; }
CR_INLINE cr_f32_t cr_f32_min(cr_f32_t a, cr_f32_t b) { return a < b ? a : b; }
/* On the bits: the language does not say what unary minus does to the sign of a NaN. */
CR_INLINE cr_f32_t cr_f32_abs(cr_f32_t a) { return cr_f32_from_bits(cr_f32_bits(a) & INT32_MAX); }
CR_INLINE cr_f32_t cr_f32_neg(cr_f32_t a) { return cr_f32_from_bits(cr_f32_bits(a) ^ INT32_MIN); }
CR_INLINE cr_f32_t cr_f32_copysign(cr_f32_t a, cr_f32_t s)
{
    return cr_f32_from_bits((cr_f32_bits(a) & INT32_MAX) | (cr_f32_bits(s) & INT32_MIN));
}

CR_INLINE cr_f32_mask_t cr_f32_lt(cr_f32_t a, cr_f32_t b) { return a < b; }
CR_INLINE cr_f32_mask_t cr_f32_le(cr_f32_t a, cr_f32_t b) { return a <= b; }
CR_INLINE cr_f32_mask_t cr_f32_gt(cr_f32_t a, cr_f32_t b) { return a > b; }
CR_INLINE cr_f32_mask_t cr_f32_ge(cr_f32_t a, cr_f32_t b) { return a >= b; }
CR_INLINE cr_f32_mask_t cr_f32_eq(cr_f32_t a, cr_f32_t b) { return a == b; }
CR_INLINE cr_f32_mask_t cr_f32_is_nan(cr_f32_t a) { return a != a; }
CR_INLINE cr_f32_mask_t cr_f32_mask_and(cr_f32_mask_t m, cr_f32_mask_t n) { return m & n; }
CR_INLINE cr_f32_mask_t cr_f32_mask_or(cr_f32_mask_t m, cr_f32_mask_t n) { return m | n; }
CR_INLINE cr_f32_mask_t cr_f32_mask_not(cr_f32_mask_t m) { return !m; }
CR_INLINE int cr_f32_any(cr_f32_mask_t m) { return m; }
CR_INLINE cr_f32_t cr_f32_select(cr_f32_mask_t m, cr_f32_t a, cr_f32_t b) { return m ? a : b; }
CR_INLINE cr_f32_t cr_f32_keep(cr_f32_mask_t m, cr_f32_t a) { return m ? a : 0; }

/* ---- double --------------------------------------------------------------------------------- */

typedef double cr_f64_t;
typedef int cr_f64_mask_t; /* 0 or 1 */
typedef int64_t cr_f64_int_t;

/* memcpy is one plain move here, and allows any alignment. */
CR_INLINE cr_f64_t cr_f64_load(const double *p)
{
    cr_f64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
CR_INLINE void cr_f64_store(double *p, cr_f64_t v) { memcpy(p, &v, sizeof v); }
CR_INLINE cr_f64_mask_t cr_f64_mask_first(size_t n) { return n != 0; }
CR_INLINE cr_f64_t cr_f64_load_masked(cr_f64_mask_t m, const double *p)
{
    return m ? cr_f64_load(p) : 0;
}
CR_INLINE void cr_f64_store_masked(cr_f64_mask_t m, double *p, cr_f64_t v)
{
    if (m) {
        cr_f64_store(p, v);
    }
}
CR_INLINE cr_f64_t cr_f64_load_tail(const double *p, size_t n)
{
    return cr_f64_load_masked(cr_f64_mask_first(n), p);
}
CR_INLINE void cr_f64_store_tail(double *p, cr_f64_t v, size_t n)
{
    cr_f64_store_masked(cr_f64_mask_first(n), p, v);
}
CR_INLINE cr_f64_t cr_f64_set1(double a) { return a; }
CR_INLINE cr_f64_t cr_f64_zero(void) { return 0; }
CR_INLINE void cr_f64_transpose(cr_f64_t r[CR_F64_LANES]) { (void)r; }
CR_INLINE void cr_f64_load_transposed(cr_f64_t r[CR_F64_LANES], const double *p, size_t ld)
{
    (void)ld;
    r[0] = p[0];
}
CR_INLINE void cr_f64_unzip(cr_f64_t *a, cr_f64_t *b) { (void)a, (void)b; }
CR_INLINE cr_f64_t cr_f64_fold(const cr_f64_t r[1]) { return r[0]; }
CR_INLINE void cr_f32_widen(cr_f32_t v, cr_f64_t wide[1]) { wide[0] = (double)v; }
CR_INLINE void cr_f64_widen(cr_f64_t v, cr_f64_t wide[1]) { wide[0] = v; }
CR_INLINE void cr_f64_prefetch(const void *p) { CR_PREFETCH(p); }
CR_INLINE void cr_f64_stream(double *p, cr_f64_t v) { cr_f64_store(p, v); }
CR_INLINE void cr_f64_fence(void) {}

CR_INLINE cr_f64_int_t cr_f64_bits(cr_f64_t v)
{
    cr_f64_int_t i;
    memcpy(&i, &v, sizeof i);
    return i;
}
CR_INLINE cr_f64_t cr_f64_from_bits(cr_f64_int_t i)
{
    cr_f64_t v;
    memcpy(&v, &i, sizeof v);
    return v;
}
CR_INLINE cr_f64_int_t cr_f64_iset1(int64_t n) { return n; }
CR_INLINE cr_f64_int_t cr_f64_iadd(cr_f64_int_t a, cr_f64_int_t b)
{
    return (cr_f64_int_t)((uint64_t)a + (uint64_t)b);
}
CR_INLINE cr_f64_int_t cr_f64_isub(cr_f64_int_t a, cr_f64_int_t b)
{
    return (cr_f64_int_t)((uint64_t)a - (uint64_t)b);
}
CR_INLINE cr_f64_int_t cr_f64_iand(cr_f64_int_t a, cr_f64_int_t b) { return a & b; }
CR_INLINE cr_f64_int_t cr_f64_ior(cr_f64_int_t a, cr_f64_int_t b) { return a | b; }
CR_INLINE cr_f64_int_t cr_f64_ishl(cr_f64_int_t a, unsigned n)
{
    return (cr_f64_int_t)((uint64_t)a << n);
}
CR_INLINE cr_f64_int_t cr_f64_ishr(cr_f64_int_t a, unsigned n)
{
    return (cr_f64_int_t)((uint64_t)a >> n);
}
CR_INLINE cr_f64_int_t cr_f64_isra(cr_f64_int_t a, unsigned n)
{
    return a < 0 ? ~(~a >> n) : a >> n;
}
CR_INLINE cr_f64_t cr_f64_lookup16(const double *table, cr_f64_int_t i) { return table[i & 15]; }

CR_INLINE cr_f64_t cr_f64_add(cr_f64_t a, cr_f64_t b) { return a + b; }
CR_INLINE cr_f64_t cr_f64_sub(cr_f64_t a, cr_f64_t b) { return a - b; }
CR_INLINE cr_f64_t cr_f64_mul(cr_f64_t a, cr_f64_t b) { return a * b; }
CR_INLINE cr_f64_t cr_f64_div(cr_f64_t a, cr_f64_t b) { return a / b; }
CR_INLINE cr_f64_t cr_f64_sqrt(cr_f64_t a) { return sqrt(a); }
CR_INLINE cr_f64_t cr_f64_fma(cr_f64_t a, cr_f64_t b, cr_f64_t c) { return CR_FMA(a, b, c); }
CR_INLINE cr_f64_t cr_f64_fnma(cr_f64_t a, cr_f64_t b, cr_f64_t c) { return cr_f64_fma(-a, b, c); }
CR_INLINE cr_f64_t cr_f64_max(cr_f64_t a, cr_f64_t b) { return a > b ? a : b; }
CR_INLINE cr_f64_t cr_f64_min(cr_f64_t a, cr_f64_t b) { return a < b ? a : b; }
/* On the bits: the language does not say what unary minus does to the sign of a NaN. */
CR_INLINE cr_f64_t cr_f64_abs(cr_f64_t a) { return cr_f64_from_bits(cr_f64_bits(a) & INT64_MAX); }
CR_INLINE cr_f64_t cr_f64_neg(cr_f64_t a) { return cr_f64_from_bits(cr_f64_bits(a) ^ INT64_MIN); }
CR_INLINE cr_f64_t cr_f64_copysign(cr_f64_t a, cr_f64_t s)
{
    return cr_f64_from_bits((cr_f64_bits(a) & INT64_MAX) | (cr_f64_bits(s) & INT64_MIN));
}

CR_INLINE cr_f64_mask_t cr_f64_lt(cr_f64_t a, cr_f64_t b) { return a < b; }
CR_INLINE cr_f64_mask_t cr_f64_le(cr_f64_t a, cr_f64_t b) { return a <= b; }
CR_INLINE cr_f64_mask_t cr_f64_gt(cr_f64_t a, cr_f64_t b) { return a > b; }
CR_INLINE cr_f64_mask_t cr_f64_ge(cr_f64_t a, cr_f64_t b) { return a >= b; }
CR_INLINE cr_f64_mask_t cr_f64_eq(cr_f64_t a, cr_f64_t b) { return a == b; }
CR_INLINE cr_f64_mask_t cr_f64_is_nan(cr_f64_t a) { return a != a; }
CR_INLINE cr_f64_mask_t cr_f64_mask_and(cr_f64_mask_t m, cr_f64_mask_t n) { return m & n; }
CR_INLINE cr_f64_mask_t cr_f64_mask_or(cr_f64_mask_t m, cr_f64_mask_t n) { return m | n; }
CR_INLINE cr_f64_mask_t cr_f64_mask_not(cr_f64_mask_t m) { return !m; }
CR_INLINE int cr_f64_any(cr_f64_mask_t m) { return m; }
CR_INLINE cr_f64_t cr_f64_select(cr_f64_mask_t m, cr_f64_t a, cr_f64_t b) { return m ? a : b; }
CR_INLINE cr_f64_t cr_f64_keep(cr_f64_mask_t m, cr_f64_t a) { return m ? a : 0; }

#endif
