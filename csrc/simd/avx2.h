/* avx2.h - the vocabulary on AVX2 with FMA: 8 floats or 4 doubles a vector.
 *
 * Every word is defined in README.md; comments here say only what is special about this ISA.
 */
#ifndef CR_SIMD_AVX2_H
#define CR_SIMD_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../portability.h"

#define CR_F32_LANES 8
#define CR_F64_LANES 4
#define CR_REGISTERS 16

/* mask_first(n) is a window of 32 bytes on this table that starts n lanes before the zeros.  The
   table is one aligned cache line, so no window straddles two. */
static const CR_ALIGN(64) int32_t cr_avx2_mask_table[16] = {
    -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0,
};

/* ---- float ---------------------------------------------------------------------------------- */

typedef __m256 cr_f32_t;
typedef __m256 cr_f32_mask_t; /* all bits of a lane, or none */
typedef __m256i cr_f32_int_t;

CR_INLINE cr_f32_t cr_f32_load(const float *p) { return _mm256_loadu_ps(p); }
CR_INLINE void cr_f32_store(float *p, cr_f32_t v) { _mm256_storeu_ps(p, v); }
CR_INLINE cr_f32_mask_t cr_f32_mask_first(size_t n)
{
    const void *const first = cr_avx2_mask_table + 8 - n;
    return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)first));
}
CR_INLINE cr_f32_t cr_f32_load_masked(cr_f32_mask_t m, const float *p)
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(m));
}
CR_INLINE void cr_f32_store_masked(cr_f32_mask_t m, float *p, cr_f32_t v)
{
    _mm256_maskstore_ps(p, _mm256_castps_si256(m), v);
}
CR_INLINE cr_f32_t cr_f32_load_tail(const float *p, size_t n)
{
    return cr_f32_load_masked(cr_f32_mask_first(n), p);
}
CR_INLINE void cr_f32_store_tail(float *p, cr_f32_t v, size_t n)
{
    cr_f32_store_masked(cr_f32_mask_first(n), p, v);
}
CR_INLINE cr_f32_t cr_f32_set1(float a) { return _mm256_set1_ps(a); }
CR_INLINE cr_f32_t cr_f32_zero(void) { return _mm256_setzero_ps(); }
CR_INLINE void cr_f32_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
CR_INLINE void cr_f32_stream(float *p, cr_f32_t v) { _mm256_stream_ps(p, v); }
CR_INLINE void cr_f32_fence(void) { _mm_sfence(); }

CR_INLINE cr_f32_t cr_f32_add(cr_f32_t a, cr_f32_t b) { return _mm256_add_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_sub(cr_f32_t a, cr_f32_t b) { return _mm256_sub_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_mul(cr_f32_t a, cr_f32_t b) { return _mm256_mul_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_div(cr_f32_t a, cr_f32_t b) { return _mm256_div_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_sqrt(cr_f32_t a) { return _mm256_sqrt_ps(a); }
CR_INLINE cr_f32_t cr_f32_fma(cr_f32_t a, cr_f32_t b, cr_f32_t c)
{
    return _mm256_fmadd_ps(a, b, c);
}
CR_INLINE cr_f32_t cr_f32_fnma(cr_f32_t a, cr_f32_t b, cr_f32_t c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
/* The instruction is a > b ? a : b as written, NaN and zeros included. */
CR_INLINE cr_f32_t cr_f32_max(cr_f32_t a, cr_f32_t b) { return _mm256_max_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_min(cr_f32_t a, cr_f32_t b) { return _mm256_min_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_abs(cr_f32_t a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
CR_INLINE cr_f32_t cr_f32_neg(cr_f32_t a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
CR_INLINE cr_f32_t cr_f32_copysign(cr_f32_t a, cr_f32_t s)
{
    const cr_f32_t sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s));
}

CR_INLINE cr_f32_mask_t cr_f32_lt(cr_f32_t a, cr_f32_t b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_le(cr_f32_t a, cr_f32_t b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_gt(cr_f32_t a, cr_f32_t b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_ge(cr_f32_t a, cr_f32_t b)
{
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_eq(cr_f32_t a, cr_f32_t b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_is_nan(cr_f32_t a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
CR_INLINE cr_f32_mask_t cr_f32_mask_and(cr_f32_mask_t m, cr_f32_mask_t n)
{
    return _mm256_and_ps(m, n);
}
CR_INLINE cr_f32_mask_t cr_f32_mask_or(cr_f32_mask_t m, cr_f32_mask_t n)
{
    return _mm256_or_ps(m, n);
}
CR_INLINE cr_f32_mask_t cr_f32_mask_not(cr_f32_mask_t m)
{
    const cr_f32_mask_t all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    return _mm256_xor_ps(m, all);
}
CR_INLINE int cr_f32_any(cr_f32_mask_t m) { return _mm256_movemask_ps(m) != 0; }
CR_INLINE cr_f32_t cr_f32_select(cr_f32_mask_t m, cr_f32_t a, cr_f32_t b)
{
    return _mm256_blendv_ps(b, a, m);
}
CR_INLINE cr_f32_t cr_f32_keep(cr_f32_mask_t m, cr_f32_t a) { return _mm256_and_ps(m, a); }

CR_INLINE cr_f32_int_t cr_f32_bits(cr_f32_t v) { return _mm256_castps_si256(v); }
CR_INLINE cr_f32_t cr_f32_from_bits(cr_f32_int_t i) { return _mm256_castsi256_ps(i); }
CR_INLINE cr_f32_int_t cr_f32_iset1(int64_t n) { return _mm256_set1_epi32((int32_t)n); }
CR_INLINE cr_f32_int_t cr_f32_iadd(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm256_add_epi32(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_isub(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm256_sub_epi32(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_iand(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm256_and_si256(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_ior(cr_f32_int_t a, cr_f32_int_t b) { return _mm256_or_si256(a, b); }
CR_INLINE cr_f32_int_t cr_f32_ishl(cr_f32_int_t a, unsigned n)
{
    return _mm256_slli_epi32(a, (int)n);
}
CR_INLINE cr_f32_int_t cr_f32_ishr(cr_f32_int_t a, unsigned n)
{
    return _mm256_srli_epi32(a, (int)n);
}
CR_INLINE cr_f32_int_t cr_f32_isra(cr_f32_int_t a, unsigned n)
{
    return _mm256_srai_epi32(a, (int)n);
}
/* Two tables of 8; bit 3 of the index, moved to the sign, chooses between them. */
CR_INLINE cr_f32_t cr_f32_lookup16(const float *table, cr_f32_int_t i)
{
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}

/* ---- double --------------------------------------------------------------------------------- */

typedef __m256d cr_f64_t;
typedef __m256d cr_f64_mask_t; /* all bits of a lane, or none */
typedef __m256i cr_f64_int_t;

CR_INLINE cr_f64_t cr_f64_load(const double *p) { return _mm256_loadu_pd(p); }
CR_INLINE void cr_f64_store(double *p, cr_f64_t v) { _mm256_storeu_pd(p, v); }
CR_INLINE cr_f64_mask_t cr_f64_mask_first(size_t n)
{
    const void *const first = cr_avx2_mask_table + 8 - 2 * n;
    return _mm256_castsi256_pd(_mm256_loadu_si256((const __m256i *)first));
}
CR_INLINE cr_f64_t cr_f64_load_masked(cr_f64_mask_t m, const double *p)
{
    return _mm256_maskload_pd(p, _mm256_castpd_si256(m));
}
CR_INLINE void cr_f64_store_masked(cr_f64_mask_t m, double *p, cr_f64_t v)
{
    _mm256_maskstore_pd(p, _mm256_castpd_si256(m), v);
}
CR_INLINE cr_f64_t cr_f64_load_tail(const double *p, size_t n)
{
    return cr_f64_load_masked(cr_f64_mask_first(n), p);
}
CR_INLINE void cr_f64_store_tail(double *p, cr_f64_t v, size_t n)
{
    cr_f64_store_masked(cr_f64_mask_first(n), p, v);
}
CR_INLINE cr_f64_t cr_f64_set1(double a) { return _mm256_set1_pd(a); }
CR_INLINE cr_f64_t cr_f64_zero(void) { return _mm256_setzero_pd(); }
CR_INLINE void cr_f64_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
CR_INLINE void cr_f64_stream(double *p, cr_f64_t v) { _mm256_stream_pd(p, v); }
CR_INLINE void cr_f64_fence(void) { _mm_sfence(); }

CR_INLINE cr_f64_t cr_f64_add(cr_f64_t a, cr_f64_t b) { return _mm256_add_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_sub(cr_f64_t a, cr_f64_t b) { return _mm256_sub_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_mul(cr_f64_t a, cr_f64_t b) { return _mm256_mul_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_div(cr_f64_t a, cr_f64_t b) { return _mm256_div_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_sqrt(cr_f64_t a) { return _mm256_sqrt_pd(a); }
CR_INLINE cr_f64_t cr_f64_fma(cr_f64_t a, cr_f64_t b, cr_f64_t c)
{
    return _mm256_fmadd_pd(a, b, c);
}
CR_INLINE cr_f64_t cr_f64_fnma(cr_f64_t a, cr_f64_t b, cr_f64_t c)
{
    return _mm256_fnmadd_pd(a, b, c);
}
/* The instruction is a > b ? a : b as written, NaN and zeros included. */
CR_INLINE cr_f64_t cr_f64_max(cr_f64_t a, cr_f64_t b) { return _mm256_max_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_min(cr_f64_t a, cr_f64_t b) { return _mm256_min_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_abs(cr_f64_t a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
CR_INLINE cr_f64_t cr_f64_neg(cr_f64_t a) { return _mm256_xor_pd(_mm256_set1_pd(-0.0), a); }
CR_INLINE cr_f64_t cr_f64_copysign(cr_f64_t a, cr_f64_t s)
{
    const cr_f64_t sign = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, s));
}

CR_INLINE cr_f64_mask_t cr_f64_lt(cr_f64_t a, cr_f64_t b)
{
    return _mm256_cmp_pd(a, b, _CMP_LT_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_le(cr_f64_t a, cr_f64_t b)
{
    return _mm256_cmp_pd(a, b, _CMP_LE_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_gt(cr_f64_t a, cr_f64_t b)
{
    return _mm256_cmp_pd(a, b, _CMP_GT_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_ge(cr_f64_t a, cr_f64_t b)
{
    return _mm256_cmp_pd(a, b, _CMP_GE_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_eq(cr_f64_t a, cr_f64_t b)
{
    return _mm256_cmp_pd(a, b, _CMP_EQ_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_is_nan(cr_f64_t a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
CR_INLINE cr_f64_mask_t cr_f64_mask_and(cr_f64_mask_t m, cr_f64_mask_t n)
{
    return _mm256_and_pd(m, n);
}
CR_INLINE cr_f64_mask_t cr_f64_mask_or(cr_f64_mask_t m, cr_f64_mask_t n)
{
    return _mm256_or_pd(m, n);
}
CR_INLINE cr_f64_mask_t cr_f64_mask_not(cr_f64_mask_t m)
{
    const cr_f64_mask_t all = _mm256_castsi256_pd(_mm256_set1_epi32(-1));
    return _mm256_xor_pd(m, all);
}
CR_INLINE int cr_f64_any(cr_f64_mask_t m) { return _mm256_movemask_pd(m) != 0; }
CR_INLINE cr_f64_t cr_f64_select(cr_f64_mask_t m, cr_f64_t a, cr_f64_t b)
{
    return _mm256_blendv_pd(b, a, m);
}
CR_INLINE cr_f64_t cr_f64_keep(cr_f64_mask_t m, cr_f64_t a) { return _mm256_and_pd(m, a); }

CR_INLINE cr_f64_int_t cr_f64_bits(cr_f64_t v) { return _mm256_castpd_si256(v); }
CR_INLINE cr_f64_t cr_f64_from_bits(cr_f64_int_t i) { return _mm256_castsi256_pd(i); }
CR_INLINE cr_f64_int_t cr_f64_iset1(int64_t n) { return _mm256_set1_epi64x(n); }
CR_INLINE cr_f64_int_t cr_f64_iadd(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm256_add_epi64(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_isub(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm256_sub_epi64(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_iand(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm256_and_si256(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_ior(cr_f64_int_t a, cr_f64_int_t b) { return _mm256_or_si256(a, b); }
CR_INLINE cr_f64_int_t cr_f64_ishl(cr_f64_int_t a, unsigned n)
{
    return _mm256_slli_epi64(a, (int)n);
}
CR_INLINE cr_f64_int_t cr_f64_ishr(cr_f64_int_t a, unsigned n)
{
    return _mm256_srli_epi64(a, (int)n);
}
/* AVX2 shifts no 64-bit lane arithmetically: shift logically, then extend the sign bit from where
   it landed; (x ^ s) - s does that for s = that one bit. */
CR_INLINE cr_f64_int_t cr_f64_isra(cr_f64_int_t a, unsigned n)
{
    const __m256i sign = _mm256_set1_epi64x((int64_t)(UINT64_C(1) << (63 - n)));
    return _mm256_sub_epi64(_mm256_xor_si256(_mm256_srli_epi64(a, (int)n), sign), sign);
}
CR_INLINE cr_f64_t cr_f64_lookup16(const double *table, cr_f64_int_t i)
{
    return _mm256_i64gather_pd(table, _mm256_and_si256(i, _mm256_set1_epi64x(15)), 8);
}

/* ---- transpose ---------------------------------------------------------------------------
 * A vector is two 128-bit halves.  First the elements change places inside the halves, then whole
 * halves do; both steps are small transposes in place, so no index has to be undone afterwards.
 */

/* In each half: the 4 x 4 floats of rows a, b, c, d. */
CR_INLINE void cr_avx2_transpose_in_halves(__m256 *a, __m256 *b, __m256 *c, __m256 *d)
{
    const __m256d ab_lo = _mm256_castps_pd(_mm256_unpacklo_ps(*a, *b));
    const __m256d ab_hi = _mm256_castps_pd(_mm256_unpackhi_ps(*a, *b));
    const __m256d cd_lo = _mm256_castps_pd(_mm256_unpacklo_ps(*c, *d));
    const __m256d cd_hi = _mm256_castps_pd(_mm256_unpackhi_ps(*c, *d));
    *a = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_lo, cd_lo));
    *b = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_lo, cd_lo));
    *c = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_hi, cd_hi));
    *d = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_hi, cd_hi));
}

/* The 2 x 2 halves of rows a, b. */
CR_INLINE void cr_avx2_transpose_halves_ps(__m256 *a, __m256 *b)
{
    const __m256 lo = _mm256_permute2f128_ps(*a, *b, 0x20); /* a0 b0 */
    *b = _mm256_permute2f128_ps(*a, *b, 0x31);              /* a1 b1 */
    *a = lo;
}

CR_INLINE void cr_f32_transpose(cr_f32_t r[CR_F32_LANES])
{
    cr_avx2_transpose_in_halves(&r[0], &r[1], &r[2], &r[3]);
    cr_avx2_transpose_in_halves(&r[4], &r[5], &r[6], &r[7]);
    cr_avx2_transpose_halves_ps(&r[0], &r[4]);
    cr_avx2_transpose_halves_ps(&r[1], &r[5]);
    cr_avx2_transpose_halves_ps(&r[2], &r[6]);
    cr_avx2_transpose_halves_ps(&r[3], &r[7]);
}

/* In each half: the 2 x 2 doubles of rows a, b. */
CR_INLINE void cr_avx2_transpose_pairs(__m256d *a, __m256d *b)
{
    const __m256d lo = _mm256_unpacklo_pd(*a, *b);
    *b = _mm256_unpackhi_pd(*a, *b);
    *a = lo;
}

CR_INLINE void cr_avx2_transpose_halves_pd(__m256d *a, __m256d *b)
{
    const __m256d lo = _mm256_permute2f128_pd(*a, *b, 0x20);
    *b = _mm256_permute2f128_pd(*a, *b, 0x31);
    *a = lo;
}

CR_INLINE void cr_f64_transpose(cr_f64_t r[CR_F64_LANES])
{
    cr_avx2_transpose_pairs(&r[0], &r[1]);
    cr_avx2_transpose_pairs(&r[2], &r[3]);
    cr_avx2_transpose_halves_pd(&r[0], &r[2]);
    cr_avx2_transpose_halves_pd(&r[1], &r[3]);
}

/* From memory: half rows i and i + 4 (doubles: i + 2) come into one vector, so halves need not change places. */
CR_INLINE void cr_f32_load_transposed(cr_f32_t r[CR_F32_LANES], const float *p, size_t ld)
{
    const float *below = p + 4 * ld;
    CR_OPAQUE(below); /* one address for four rows, as instructions can hold them */
#define CR_HALVES(to, at) \
    r[to] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + (at))), _mm_loadu_ps(below + (at)), 1);
    CR_HALVES(0, 0) CR_HALVES(1, ld) CR_HALVES(2, 2 * ld) CR_HALVES(3, 3 * ld)
    CR_HALVES(4, 4) CR_HALVES(5, ld + 4) CR_HALVES(6, 2 * ld + 4) CR_HALVES(7, 3 * ld + 4)
#undef CR_HALVES
    cr_avx2_transpose_in_halves(&r[0], &r[1], &r[2], &r[3]);
    cr_avx2_transpose_in_halves(&r[4], &r[5], &r[6], &r[7]);
}

CR_INLINE void cr_f64_load_transposed(cr_f64_t r[CR_F64_LANES], const double *p, size_t ld)
{
#define CR_HALVES(to, at) \
    r[to] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(at)), _mm_loadu_pd((at) + 2 * ld), 1);
    CR_HALVES(0, p) CR_HALVES(1, p + ld) CR_HALVES(2, p + 2) CR_HALVES(3, p + ld + 2)
#undef CR_HALVES
    cr_avx2_transpose_pairs(&r[0], &r[1]);
    cr_avx2_transpose_pairs(&r[2], &r[3]);
}

/* ---- every second element ----------------------------------------------------------------
 * In the halves first; then the two quarters in the middle change places.
 */
CR_INLINE void cr_f32_unzip(cr_f32_t *a, cr_f32_t *b)
{
    const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(*a, *b, 0x88)); /* a0 a2 b0 b2 | a4 a6 b4 b6 */
    const __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(*a, *b, 0xDD));
    *a = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xD8));
    *b = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xD8));
}

CR_INLINE void cr_f64_unzip(cr_f64_t *a, cr_f64_t *b)
{
    cr_avx2_transpose_pairs(a, b); /* a0 b0 | a2 b2 and a1 b1 | a3 b3 */
    *a = _mm256_permute4x64_pd(*a, 0xD8);
    *b = _mm256_permute4x64_pd(*b, 0xD8);
}

/* r[0], ..: the halves of two rows are added at once, then what is left of each in its block of 128 bits. */
CR_INLINE cr_f32_t cr_f32_fold(const cr_f32_t r[CR_F32_LANES])
{
    __m256 block[4]; /* of rows i and i + 4: 4 lanes each */
    for (size_t i = 0; i < 4; ++i) {
        block[i] = _mm256_add_ps(_mm256_permute2f128_ps(r[i], r[i + 4], 0x20),
                                 _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
    const __m256 a = _mm256_add_ps(_mm256_shuffle_ps(block[0], block[1], 0x44),
                                   _mm256_shuffle_ps(block[0], block[1], 0xEE));
    const __m256 b = _mm256_add_ps(_mm256_shuffle_ps(block[2], block[3], 0x44),
                                   _mm256_shuffle_ps(block[2], block[3], 0xEE));
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xDD));
}

CR_INLINE cr_f64_t cr_f64_fold(const cr_f64_t r[CR_F64_LANES])
{
    __m256d block[2]; /* of rows i and i + 2: 2 lanes each */
    for (size_t i = 0; i < 2; ++i) {
        block[i] = _mm256_add_pd(_mm256_permute2f128_pd(r[i], r[i + 2], 0x20),
                                 _mm256_permute2f128_pd(r[i], r[i + 2], 0x31));
    }
    return _mm256_add_pd(_mm256_unpacklo_pd(block[0], block[1]), _mm256_unpackhi_pd(block[0], block[1]));
}

/* ---- to double ----------------------------------------------------------------------------- */

CR_INLINE void cr_f32_widen(cr_f32_t v, cr_f64_t wide[2])
{
    wide[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    wide[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}

CR_INLINE void cr_f64_widen(cr_f64_t v, cr_f64_t wide[1]) { wide[0] = v; }

#endif
