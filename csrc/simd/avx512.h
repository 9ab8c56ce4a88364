/* avx512.h - the vocabulary on AVX-512 (F, BW, DQ, VL): 16 floats or 8 doubles a vector.
 *
 * Every word is defined in README.md; comments here say only what is special about this ISA.
 */
#ifndef CR_SIMD_AVX512_H
#define CR_SIMD_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../portability.h"

#define CR_F32_LANES 16
#define CR_F64_LANES 8
#define CR_REGISTERS 32

/* ---- float ---------------------------------------------------------------------------------- */

typedef __m512 cr_f32_t;
typedef __mmask16 cr_f32_mask_t;
typedef __m512i cr_f32_int_t;

CR_INLINE cr_f32_t cr_f32_load(const float *p) { return _mm512_loadu_ps(p); }
CR_INLINE void cr_f32_store(float *p, cr_f32_t v) { _mm512_storeu_ps(p, v); }
CR_INLINE cr_f32_mask_t cr_f32_mask_first(size_t n) { return (__mmask16)((1u << n) - 1u); }
CR_INLINE cr_f32_t cr_f32_load_masked(cr_f32_mask_t m, const float *p)
{
    return _mm512_maskz_loadu_ps(m, p);
}
CR_INLINE void cr_f32_store_masked(cr_f32_mask_t m, float *p, cr_f32_t v)
{
    _mm512_mask_storeu_ps(p, m, v);
}
CR_INLINE cr_f32_t cr_f32_load_tail(const float *p, size_t n)
{
    return cr_f32_load_masked(cr_f32_mask_first(n), p);
}
CR_INLINE void cr_f32_store_tail(float *p, cr_f32_t v, size_t n)
{
    cr_f32_store_masked(cr_f32_mask_first(n), p, v);
}
CR_INLINE cr_f32_t cr_f32_set1(float a) { return _mm512_set1_ps(a); }
CR_INLINE cr_f32_t cr_f32_zero(void) { return _mm512_setzero_ps(); }
CR_INLINE void cr_f32_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
CR_INLINE void cr_f32_stream(float *p, cr_f32_t v) { _mm512_stream_ps(p, v); }
CR_INLINE void cr_f32_fence(void) { _mm_sfence(); }

CR_INLINE cr_f32_t cr_f32_add(cr_f32_t a, cr_f32_t b) { return _mm512_add_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_sub(cr_f32_t a, cr_f32_t b) { return _mm512_sub_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_mul(cr_f32_t a, cr_f32_t b) { return _mm512_mul_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_div(cr_f32_t a, cr_f32_t b) { return _mm512_div_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_sqrt(cr_f32_t a) { return _mm512_sqrt_ps(a); }
CR_INLINE cr_f32_t cr_f32_fma(cr_f32_t a, cr_f32_t b, cr_f32_t c)
{
    return _mm512_fmadd_ps(a, b, c);
}
CR_INLINE cr_f32_t cr_f32_fnma(cr_f32_t a, cr_f32_t b, cr_f32_t c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
/* The instruction is a > b ? a : b as written, NaN and zeros included. */
CR_INLINE cr_f32_t cr_f32_max(cr_f32_t a, cr_f32_t b) { return _mm512_max_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_min(cr_f32_t a, cr_f32_t b) { return _mm512_min_ps(a, b); }
CR_INLINE cr_f32_t cr_f32_abs(cr_f32_t a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
CR_INLINE cr_f32_t cr_f32_neg(cr_f32_t a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
CR_INLINE cr_f32_t cr_f32_copysign(cr_f32_t a, cr_f32_t s)
{
    const cr_f32_t sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s));
}

CR_INLINE cr_f32_mask_t cr_f32_lt(cr_f32_t a, cr_f32_t b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_le(cr_f32_t a, cr_f32_t b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_gt(cr_f32_t a, cr_f32_t b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_ge(cr_f32_t a, cr_f32_t b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_eq(cr_f32_t a, cr_f32_t b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
CR_INLINE cr_f32_mask_t cr_f32_is_nan(cr_f32_t a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
CR_INLINE cr_f32_mask_t cr_f32_mask_and(cr_f32_mask_t m, cr_f32_mask_t n)
{
    return (__mmask16)(m & n);
}
CR_INLINE cr_f32_mask_t cr_f32_mask_or(cr_f32_mask_t m, cr_f32_mask_t n)
{
    return (__mmask16)(m | n);
}
CR_INLINE cr_f32_mask_t cr_f32_mask_not(cr_f32_mask_t m) { return (__mmask16)~m; }
CR_INLINE int cr_f32_any(cr_f32_mask_t m) { return m != 0; }
CR_INLINE cr_f32_t cr_f32_select(cr_f32_mask_t m, cr_f32_t a, cr_f32_t b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
CR_INLINE cr_f32_t cr_f32_keep(cr_f32_mask_t m, cr_f32_t a) { return _mm512_maskz_mov_ps(m, a); }

CR_INLINE cr_f32_int_t cr_f32_bits(cr_f32_t v) { return _mm512_castps_si512(v); }
CR_INLINE cr_f32_t cr_f32_from_bits(cr_f32_int_t i) { return _mm512_castsi512_ps(i); }
CR_INLINE cr_f32_int_t cr_f32_iset1(int64_t n) { return _mm512_set1_epi32((int32_t)n); }
CR_INLINE cr_f32_int_t cr_f32_iadd(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm512_add_epi32(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_isub(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm512_sub_epi32(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_iand(cr_f32_int_t a, cr_f32_int_t b)
{
    return _mm512_and_si512(a, b);
}
CR_INLINE cr_f32_int_t cr_f32_ior(cr_f32_int_t a, cr_f32_int_t b) { return _mm512_or_si512(a, b); }
CR_INLINE cr_f32_int_t cr_f32_ishl(cr_f32_int_t a, unsigned n) { return _mm512_slli_epi32(a, n); }
CR_INLINE cr_f32_int_t cr_f32_ishr(cr_f32_int_t a, unsigned n) { return _mm512_srli_epi32(a, n); }
CR_INLINE cr_f32_int_t cr_f32_isra(cr_f32_int_t a, unsigned n) { return _mm512_srai_epi32(a, n); }
CR_INLINE cr_f32_t cr_f32_lookup16(const float *table, cr_f32_int_t i)
{
    return _mm512_permutexvar_ps(i, _mm512_loadu_ps(table));
}

/* ---- double --------------------------------------------------------------------------------- */

typedef __m512d cr_f64_t;
typedef __mmask8 cr_f64_mask_t;
typedef __m512i cr_f64_int_t;

CR_INLINE cr_f64_t cr_f64_load(const double *p) { return _mm512_loadu_pd(p); }
CR_INLINE void cr_f64_store(double *p, cr_f64_t v) { _mm512_storeu_pd(p, v); }
CR_INLINE cr_f64_mask_t cr_f64_mask_first(size_t n) { return (__mmask8)((1u << n) - 1u); }
CR_INLINE cr_f64_t cr_f64_load_masked(cr_f64_mask_t m, const double *p)
{
    return _mm512_maskz_loadu_pd(m, p);
}
CR_INLINE void cr_f64_store_masked(cr_f64_mask_t m, double *p, cr_f64_t v)
{
    _mm512_mask_storeu_pd(p, m, v);
}
CR_INLINE cr_f64_t cr_f64_load_tail(const double *p, size_t n)
{
    return cr_f64_load_masked(cr_f64_mask_first(n), p);
}
CR_INLINE void cr_f64_store_tail(double *p, cr_f64_t v, size_t n)
{
    cr_f64_store_masked(cr_f64_mask_first(n), p, v);
}
CR_INLINE cr_f64_t cr_f64_set1(double a) { return _mm512_set1_pd(a); }
CR_INLINE cr_f64_t cr_f64_zero(void) { return _mm512_setzero_pd(); }
CR_INLINE void cr_f64_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
CR_INLINE void cr_f64_stream(double *p, cr_f64_t v) { _mm512_stream_pd(p, v); }
CR_INLINE void cr_f64_fence(void) { _mm_sfence(); }

CR_INLINE cr_f64_t cr_f64_add(cr_f64_t a, cr_f64_t b) { return _mm512_add_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_sub(cr_f64_t a, cr_f64_t b) { return _mm512_sub_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_mul(cr_f64_t a, cr_f64_t b) { return _mm512_mul_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_div(cr_f64_t a, cr_f64_t b) { return _mm512_div_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_sqrt(cr_f64_t a) { return _mm512_sqrt_pd(a); }
CR_INLINE cr_f64_t cr_f64_fma(cr_f64_t a, cr_f64_t b, cr_f64_t c)
{
    return _mm512_fmadd_pd(a, b, c);
}
CR_INLINE cr_f64_t cr_f64_fnma(cr_f64_t a, cr_f64_t b, cr_f64_t c)
{
    return _mm512_fnmadd_pd(a, b, c);
}
/* The instruction is a > b ? a : b as written, NaN and zeros included. */
CR_INLINE cr_f64_t cr_f64_max(cr_f64_t a, cr_f64_t b) { return _mm512_max_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_min(cr_f64_t a, cr_f64_t b) { return _mm512_min_pd(a, b); }
CR_INLINE cr_f64_t cr_f64_abs(cr_f64_t a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
CR_INLINE cr_f64_t cr_f64_neg(cr_f64_t a) { return _mm512_xor_pd(_mm512_set1_pd(-0.0), a); }
CR_INLINE cr_f64_t cr_f64_copysign(cr_f64_t a, cr_f64_t s)
{
    const cr_f64_t sign = _mm512_set1_pd(-0.0);
    return _mm512_or_pd(_mm512_andnot_pd(sign, a), _mm512_and_pd(sign, s));
}

CR_INLINE cr_f64_mask_t cr_f64_lt(cr_f64_t a, cr_f64_t b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_le(cr_f64_t a, cr_f64_t b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_gt(cr_f64_t a, cr_f64_t b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_ge(cr_f64_t a, cr_f64_t b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_eq(cr_f64_t a, cr_f64_t b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}
CR_INLINE cr_f64_mask_t cr_f64_is_nan(cr_f64_t a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
CR_INLINE cr_f64_mask_t cr_f64_mask_and(cr_f64_mask_t m, cr_f64_mask_t n)
{
    return (__mmask8)(m & n);
}
CR_INLINE cr_f64_mask_t cr_f64_mask_or(cr_f64_mask_t m, cr_f64_mask_t n)
{
    return (__mmask8)(m | n);
}
CR_INLINE cr_f64_mask_t cr_f64_mask_not(cr_f64_mask_t m) { return (__mmask8)~m; }
CR_INLINE int cr_f64_any(cr_f64_mask_t m) { return m != 0; }
CR_INLINE cr_f64_t cr_f64_select(cr_f64_mask_t m, cr_f64_t a, cr_f64_t b)
{
    return _mm512_mask_blend_pd(m, b, a);
}
CR_INLINE cr_f64_t cr_f64_keep(cr_f64_mask_t m, cr_f64_t a) { return _mm512_maskz_mov_pd(m, a); }

CR_INLINE cr_f64_int_t cr_f64_bits(cr_f64_t v) { return _mm512_castpd_si512(v); }
CR_INLINE cr_f64_t cr_f64_from_bits(cr_f64_int_t i) { return _mm512_castsi512_pd(i); }
CR_INLINE cr_f64_int_t cr_f64_iset1(int64_t n) { return _mm512_set1_epi64(n); }
CR_INLINE cr_f64_int_t cr_f64_iadd(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm512_add_epi64(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_isub(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm512_sub_epi64(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_iand(cr_f64_int_t a, cr_f64_int_t b)
{
    return _mm512_and_si512(a, b);
}
CR_INLINE cr_f64_int_t cr_f64_ior(cr_f64_int_t a, cr_f64_int_t b) { return _mm512_or_si512(a, b); }
CR_INLINE cr_f64_int_t cr_f64_ishl(cr_f64_int_t a, unsigned n) { return _mm512_slli_epi64(a, n); }
CR_INLINE cr_f64_int_t cr_f64_ishr(cr_f64_int_t a, unsigned n) { return _mm512_srli_epi64(a, n); }
CR_INLINE cr_f64_int_t cr_f64_isra(cr_f64_int_t a, unsigned n) { return _mm512_srai_epi64(a, n); }
CR_INLINE cr_f64_t cr_f64_lookup16(const double *table, cr_f64_int_t i)
{
    return _mm512_permutex2var_pd(_mm512_loadu_pd(table), i, _mm512_loadu_pd(table + 8));
}

/* ---- transpose ---------------------------------------------------------------------------
 * A vector is four 128-bit blocks.  First the elements change places inside the blocks, then whole
 * blocks do; both steps are small transposes in place, so no index has to be undone afterwards.
 */

/* In every block: the 4 x 4 floats of rows a, b, c, d. */
CR_INLINE void cr_avx512_transpose_in_blocks(__m512 *a, __m512 *b, __m512 *c, __m512 *d)
{
    const __m512d ab_lo = _mm512_castps_pd(_mm512_unpacklo_ps(*a, *b));
    const __m512d ab_hi = _mm512_castps_pd(_mm512_unpackhi_ps(*a, *b));
    const __m512d cd_lo = _mm512_castps_pd(_mm512_unpacklo_ps(*c, *d));
    const __m512d cd_hi = _mm512_castps_pd(_mm512_unpackhi_ps(*c, *d));
    *a = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_lo, cd_lo));
    *b = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_lo, cd_lo));
    *c = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_hi, cd_hi));
    *d = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_hi, cd_hi));
}

/* The 4 x 4 blocks of rows a, b, c, d. */
CR_INLINE void cr_avx512_transpose_blocks(__m512d *a, __m512d *b, __m512d *c, __m512d *d)
{
    const __m512d ab_01 = _mm512_shuffle_f64x2(*a, *b, 0x44); /* a0 a1 b0 b1 */
    const __m512d ab_23 = _mm512_shuffle_f64x2(*a, *b, 0xEE); /* a2 a3 b2 b3 */
    const __m512d cd_01 = _mm512_shuffle_f64x2(*c, *d, 0x44);
    const __m512d cd_23 = _mm512_shuffle_f64x2(*c, *d, 0xEE);
    *a = _mm512_shuffle_f64x2(ab_01, cd_01, 0x88); /* a0 b0 c0 d0 */
    *b = _mm512_shuffle_f64x2(ab_01, cd_01, 0xDD); /* a1 b1 c1 d1 */
    *c = _mm512_shuffle_f64x2(ab_23, cd_23, 0x88);
    *d = _mm512_shuffle_f64x2(ab_23, cd_23, 0xDD);
}

/* The same for rows of floats. */
CR_INLINE void cr_avx512_transpose_blocks_ps(__m512 *a, __m512 *b, __m512 *c, __m512 *d)
{
    __m512d row_a = _mm512_castps_pd(*a), row_b = _mm512_castps_pd(*b);
    __m512d row_c = _mm512_castps_pd(*c), row_d = _mm512_castps_pd(*d);
    cr_avx512_transpose_blocks(&row_a, &row_b, &row_c, &row_d);
    *a = _mm512_castpd_ps(row_a);
    *b = _mm512_castpd_ps(row_b);
    *c = _mm512_castpd_ps(row_c);
    *d = _mm512_castpd_ps(row_d);
}

CR_INLINE void cr_f32_transpose(cr_f32_t r[CR_F32_LANES])
{
    cr_avx512_transpose_in_blocks(&r[0], &r[1], &r[2], &r[3]);
    cr_avx512_transpose_in_blocks(&r[4], &r[5], &r[6], &r[7]);
    cr_avx512_transpose_in_blocks(&r[8], &r[9], &r[10], &r[11]);
    cr_avx512_transpose_in_blocks(&r[12], &r[13], &r[14], &r[15]);
    cr_avx512_transpose_blocks_ps(&r[0], &r[4], &r[8], &r[12]);
    cr_avx512_transpose_blocks_ps(&r[1], &r[5], &r[9], &r[13]);
    cr_avx512_transpose_blocks_ps(&r[2], &r[6], &r[10], &r[14]);
    cr_avx512_transpose_blocks_ps(&r[3], &r[7], &r[11], &r[15]);
}

/* In every block: the 2 x 2 doubles of rows a, b. */
CR_INLINE void cr_avx512_transpose_pairs(__m512d *a, __m512d *b)
{
    const __m512d lo = _mm512_unpacklo_pd(*a, *b);
    *b = _mm512_unpackhi_pd(*a, *b);
    *a = lo;
}

CR_INLINE void cr_f64_transpose(cr_f64_t r[CR_F64_LANES])
{
    cr_avx512_transpose_pairs(&r[0], &r[1]);
    cr_avx512_transpose_pairs(&r[2], &r[3]);
    cr_avx512_transpose_pairs(&r[4], &r[5]);
    cr_avx512_transpose_pairs(&r[6], &r[7]);
    cr_avx512_transpose_blocks(&r[0], &r[2], &r[4], &r[6]);
    cr_avx512_transpose_blocks(&r[1], &r[3], &r[5], &r[7]);
}

/* ---- fold: halves are added, of two vectors at once, until a vector holds one lane of each row --------------- */

/* Of two rows in each vector: blocks 0, 1 + 2, 3 of a, then of b. */
CR_INLINE __m512 cr_avx512_fold_halves_ps(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}

CR_INLINE __m512d cr_avx512_fold_halves_pd(__m512d a, __m512d b)
{
    return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x44), _mm512_shuffle_f64x2(a, b, 0xEE));
}

/* Blocks 0 + 1 and 2 + 3 of a, then of b. */
CR_INLINE __m512 cr_avx512_fold_blocks_ps(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}

CR_INLINE __m512d cr_avx512_fold_blocks_pd(__m512d a, __m512d b)
{
    return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xDD));
}

CR_INLINE cr_f32_t cr_f32_fold(const cr_f32_t r[CR_F32_LANES])
{
    __m512 block[4]; /* of rows i, i + 4, i + 8, i + 12: 4 lanes each */
    for (size_t i = 0; i < 4; ++i) {
        block[i] = cr_avx512_fold_blocks_ps(cr_avx512_fold_halves_ps(r[i], r[i + 4]),
                                            cr_avx512_fold_halves_ps(r[i + 8], r[i + 12]));
    }
    const __m512 a = _mm512_add_ps(_mm512_shuffle_ps(block[0], block[1], 0x44),
                                   _mm512_shuffle_ps(block[0], block[1], 0xEE));
    const __m512 b = _mm512_add_ps(_mm512_shuffle_ps(block[2], block[3], 0x44),
                                   _mm512_shuffle_ps(block[2], block[3], 0xEE));
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}

CR_INLINE cr_f64_t cr_f64_fold(const cr_f64_t r[CR_F64_LANES])
{
    __m512d block[2]; /* of rows i, i + 2, i + 4, i + 6: 2 lanes each */
    for (size_t i = 0; i < 2; ++i) {
        block[i] = cr_avx512_fold_blocks_pd(cr_avx512_fold_halves_pd(r[i], r[i + 2]),
                                            cr_avx512_fold_halves_pd(r[i + 4], r[i + 6]));
    }
    return _mm512_add_pd(_mm512_unpacklo_pd(block[0], block[1]), _mm512_unpackhi_pd(block[0], block[1]));
}

/* From memory: half rows i and i + 4 (doubles: i + 2) come into one vector, which saves a quarter of the shuffles,
 * for the second half needs none. Both halves of a row are read one after the other: its line may not stay long. */
CR_INLINE __m512 cr_avx512_load_halves_ps(const float *p, const float *q)
{
    const __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(p)));
    return _mm512_castpd_ps(_mm512_insertf64x4(low, _mm256_castps_pd(_mm256_loadu_ps(q)), 1));
}

CR_INLINE __m512d cr_avx512_load_halves_pd(const double *p, const double *q)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(p)), _mm256_loadu_pd(q), 1);
}

/* Blocks of a and b: a0 a2 b0 b2 and a1 a3 b1 b3. */
CR_INLINE void cr_avx512_unzip_blocks(__m512d *a, __m512d *b)
{
    const __m512d even = _mm512_shuffle_f64x2(*a, *b, 0x88);
    *b = _mm512_shuffle_f64x2(*a, *b, 0xDD);
    *a = even;
}

CR_INLINE void cr_avx512_unzip_blocks_ps(__m512 *a, __m512 *b)
{
    __m512d low = _mm512_castps_pd(*a), high = _mm512_castps_pd(*b);
    cr_avx512_unzip_blocks(&low, &high);
    *a = _mm512_castpd_ps(low);
    *b = _mm512_castpd_ps(high);
}

/* r[0..3]: left halves of rows 0 to 7, r[8..11]: right ones; r[4..7], r[12..15]: those of rows 8 to 15. */
CR_INLINE void cr_f32_load_transposed(cr_f32_t r[CR_F32_LANES], const float *p, size_t ld)
{
    const float *p4 = p + 4 * ld, *p8 = p + 8 * ld, *p12 = p + 12 * ld;
    CR_OPAQUE(p4); /* one address for four rows, as instructions can hold them */
    CR_OPAQUE(p8);
    CR_OPAQUE(p12);
#define CR_HALVES(to, upper, lower, at)                                       \
    r[to] = cr_avx512_load_halves_ps((upper) + (at), (lower) + (at));         \
    r[(to) + 8] = cr_avx512_load_halves_ps((upper) + (at) + 8, (lower) + (at) + 8);
    CR_HALVES(0, p, p4, 0) CR_HALVES(1, p, p4, ld) CR_HALVES(2, p, p4, 2 * ld) CR_HALVES(3, p, p4, 3 * ld)
    CR_HALVES(4, p8, p12, 0) CR_HALVES(5, p8, p12, ld) CR_HALVES(6, p8, p12, 2 * ld) CR_HALVES(7, p8, p12, 3 * ld)
#undef CR_HALVES
    cr_avx512_transpose_in_blocks(&r[0], &r[1], &r[2], &r[3]);
    cr_avx512_transpose_in_blocks(&r[4], &r[5], &r[6], &r[7]);
    cr_avx512_transpose_in_blocks(&r[8], &r[9], &r[10], &r[11]);
    cr_avx512_transpose_in_blocks(&r[12], &r[13], &r[14], &r[15]);
    cr_avx512_unzip_blocks_ps(&r[0], &r[4]);
    cr_avx512_unzip_blocks_ps(&r[1], &r[5]);
    cr_avx512_unzip_blocks_ps(&r[2], &r[6]);
    cr_avx512_unzip_blocks_ps(&r[3], &r[7]);
    cr_avx512_unzip_blocks_ps(&r[8], &r[12]);
    cr_avx512_unzip_blocks_ps(&r[9], &r[13]);
    cr_avx512_unzip_blocks_ps(&r[10], &r[14]);
    cr_avx512_unzip_blocks_ps(&r[11], &r[15]);
}

/* r[0], r[1]: left halves of rows 0 to 3, r[4], r[5]: right ones; r[2], r[3], r[6], r[7]: those of rows 4 to 7. */
CR_INLINE void cr_f64_load_transposed(cr_f64_t r[CR_F64_LANES], const double *p, size_t ld)
{
#define CR_HALVES(to, row)                                                         \
    r[to] = cr_avx512_load_halves_pd(p + (row)*ld, p + ((row) + 2) * ld);          \
    r[(to) + 4] = cr_avx512_load_halves_pd(p + (row)*ld + 4, p + ((row) + 2) * ld + 4);
    CR_HALVES(0, 0) CR_HALVES(1, 1) CR_HALVES(2, 4) CR_HALVES(3, 5)
#undef CR_HALVES
    cr_avx512_transpose_pairs(&r[0], &r[1]);
    cr_avx512_transpose_pairs(&r[2], &r[3]);
    cr_avx512_transpose_pairs(&r[4], &r[5]);
    cr_avx512_transpose_pairs(&r[6], &r[7]);
    cr_avx512_unzip_blocks(&r[0], &r[2]);
    cr_avx512_unzip_blocks(&r[1], &r[3]);
    cr_avx512_unzip_blocks(&r[4], &r[6]);
    cr_avx512_unzip_blocks(&r[5], &r[7]);
}

/* ---- every second element ---------------------------------------------------------------- */

CR_INLINE void cr_f32_unzip(cr_f32_t *a, cr_f32_t *b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const cr_f32_t evens = _mm512_permutex2var_ps(*a, even, *b);
    *b = _mm512_permutex2var_ps(*a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), *b);
    *a = evens;
}

CR_INLINE void cr_f64_unzip(cr_f64_t *a, cr_f64_t *b)
{
    const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const cr_f64_t evens = _mm512_permutex2var_pd(*a, even, *b);
    *b = _mm512_permutex2var_pd(*a, _mm512_add_epi64(even, _mm512_set1_epi64(1)), *b);
    *a = evens;
}

/* ---- to double ----------------------------------------------------------------------------- */

CR_INLINE void cr_f32_widen(cr_f32_t v, cr_f64_t wide[2])
{
    wide[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    wide[1] = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
}

CR_INLINE void cr_f64_widen(cr_f64_t v, cr_f64_t wide[1]) { wide[0] = v; }

#endif
