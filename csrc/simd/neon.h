/* neon.h - the vocabulary on NEON (aarch64): 4 floats or 2 doubles a vector.
 *
 * Every word is defined in README.md; comments here say only what is special about this ISA.
 */
#ifndef CR_SIMD_NEON_H
#define CR_SIMD_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "../portability.h"

#define CR_F32_LANES 4
#define CR_F64_LANES 2
#define CR_REGISTERS 32

/* ---- float ---------------------------------------------------------------------------------- */

typedef float32x4_t cr_f32_t;
typedef uint32x4_t cr_f32_mask_t; /* all bits of a lane, or none */
typedef int32x4_t cr_f32_int_t;

CR_INLINE cr_f32_t cr_f32_load(const float *p) { return vld1q_f32(p); }
CR_INLINE void cr_f32_store(float *p, cr_f32_t v) { vst1q_f32(p, v); }
CR_INLINE cr_f32_mask_t cr_f32_mask_first(size_t n)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}
/* NEON has no masked move: lane by lane, so that nothing else is touched. */
CR_INLINE cr_f32_t cr_f32_load_masked(cr_f32_mask_t m, const float *p)
{
    cr_f32_t v = vdupq_n_f32(0);
    if (vgetq_lane_u32(m, 0) != 0) {
        v = vld1q_lane_f32(p, v, 0);
    }
    if (vgetq_lane_u32(m, 1) != 0) {
        v = vld1q_lane_f32(p + 1, v, 1);
    }
    if (vgetq_lane_u32(m, 2) != 0) {
        v = vld1q_lane_f32(p + 2, v, 2);
    }
    if (vgetq_lane_u32(m, 3) != 0) {
        v = vld1q_lane_f32(p + 3, v, 3);
    }
    return v;
}
CR_INLINE void cr_f32_store_masked(cr_f32_mask_t m, float *p, cr_f32_t v)
{
    if (vgetq_lane_u32(m, 0) != 0) {
        vst1q_lane_f32(p, v, 0);
    }
    if (vgetq_lane_u32(m, 1) != 0) {
        vst1q_lane_f32(p + 1, v, 1);
    }
    if (vgetq_lane_u32(m, 2) != 0) {
        vst1q_lane_f32(p + 2, v, 2);
    }
    if (vgetq_lane_u32(m, 3) != 0) {
        vst1q_lane_f32(p + 3, v, 3);
    }
}
CR_INLINE cr_f32_t cr_f32_load_tail(const float *p, size_t n)
{
    cr_f32_t v = vdupq_n_f32(0);
    if (n > 0) {
        v = vld1q_lane_f32(p, v, 0);
    }
    if (n > 1) {
        v = vld1q_lane_f32(p + 1, v, 1);
    }
    if (n > 2) {
        v = vld1q_lane_f32(p + 2, v, 2);
    }
    if (n > 3) {
        v = vld1q_lane_f32(p + 3, v, 3);
    }
    return v;
}
CR_INLINE void cr_f32_store_tail(float *p, cr_f32_t v, size_t n)
{
    if (n > 0) {
        vst1q_lane_f32(p, v, 0);
    }
    if (n > 1) {
        vst1q_lane_f32(p + 1, v, 1);
    }
    if (n > 2) {
        vst1q_lane_f32(p + 2, v, 2);
    }
    if (n > 3) {
        vst1q_lane_f32(p + 3, v, 3);
    }
}
CR_INLINE cr_f32_t cr_f32_set1(float a) { return vdupq_n_f32(a); }
CR_INLINE cr_f32_t cr_f32_zero(void) { return vdupq_n_f32(0); }
CR_INLINE void cr_f32_prefetch(const void *p) { CR_PREFETCH(p); }
CR_INLINE void cr_f32_stream(float *p, cr_f32_t v) { cr_f32_store(p, v); }
CR_INLINE void cr_f32_fence(void) {}

CR_INLINE cr_f32_t cr_f32_add(cr_f32_t a, cr_f32_t b) { return vaddq_f32(a, b); }
CR_INLINE cr_f32_t cr_f32_sub(cr_f32_t a, cr_f32_t b) { return vsubq_f32(a, b); }
CR_INLINE cr_f32_t cr_f32_mul(cr_f32_t a, cr_f32_t b) { return vmulq_f32(a, b); }
CR_INLINE cr_f32_t cr_f32_div(cr_f32_t a, cr_f32_t b) { return vdivq_f32(a, b); }
CR_INLINE cr_f32_t cr_f32_sqrt(cr_f32_t a) { return vsqrtq_f32(a); }
CR_INLINE cr_f32_t cr_f32_fma(cr_f32_t a, cr_f32_t b, cr_f32_t c) { return vfmaq_f32(c, a, b); }
CR_INLINE cr_f32_t cr_f32_fnma(cr_f32_t a, cr_f32_t b, cr_f32_t c) { return vfmsq_f32(c, a, b); }
/* Not FMAX and FMIN: those return the NaN and order the zeros. */
CR_INLINE cr_f32_t cr_f32_max(cr_f32_t a, cr_f32_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
CR_INLINE cr_f32_t cr_f32_min(cr_f32_t a, cr_f32_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
CR_INLINE cr_f32_t cr_f32_abs(cr_f32_t a) { return vabsq_f32(a); }
CR_INLINE cr_f32_t cr_f32_neg(cr_f32_t a) { return vnegq_f32(a); }
CR_INLINE cr_f32_t cr_f32_copysign(cr_f32_t a, cr_f32_t s)
{
    return vbslq_f32(vdupq_n_u32(UINT32_C(1) << 31), s, a);
}

CR_INLINE cr_f32_mask_t cr_f32_lt(cr_f32_t a, cr_f32_t b) { return vcltq_f32(a, b); }
CR_INLINE cr_f32_mask_t cr_f32_le(cr_f32_t a, cr_f32_t b) { return vcleq_f32(a, b); }
CR_INLINE cr_f32_mask_t cr_f32_gt(cr_f32_t a, cr_f32_t b) { return vcgtq_f32(a, b); }
CR_INLINE cr_f32_mask_t cr_f32_ge(cr_f32_t a, cr_f32_t b) { return vcgeq_f32(a, b); }
CR_INLINE cr_f32_mask_t cr_f32_eq(cr_f32_t a, cr_f32_t b) { return vceqq_f32(a, b); }
CR_INLINE cr_f32_mask_t cr_f32_mask_and(cr_f32_mask_t m, cr_f32_mask_t n)
{
    return vandq_u32(m, n);
}
CR_INLINE cr_f32_mask_t cr_f32_mask_or(cr_f32_mask_t m, cr_f32_mask_t n) { return vorrq_u32(m, n); }
CR_INLINE cr_f32_mask_t cr_f32_mask_not(cr_f32_mask_t m) { return vmvnq_u32(m); }
CR_INLINE cr_f32_mask_t cr_f32_is_nan(cr_f32_t a) { return cr_f32_mask_not(vceqq_f32(a, a)); }
CR_INLINE int cr_f32_any(cr_f32_mask_t m) { return vmaxvq_u32(m) != 0; }
CR_INLINE cr_f32_t cr_f32_select(cr_f32_mask_t m, cr_f32_t a, cr_f32_t b)
{
    return vbslq_f32(m, a, b);
}
CR_INLINE cr_f32_t cr_f32_keep(cr_f32_mask_t m, cr_f32_t a)
{
    return vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(a)));
}

CR_INLINE cr_f32_int_t cr_f32_bits(cr_f32_t v) { return vreinterpretq_s32_f32(v); }
CR_INLINE cr_f32_t cr_f32_from_bits(cr_f32_int_t i) { return vreinterpretq_f32_s32(i); }
CR_INLINE cr_f32_int_t cr_f32_iset1(int64_t n) { return vdupq_n_s32((int32_t)n); }
CR_INLINE cr_f32_int_t cr_f32_iadd(cr_f32_int_t a, cr_f32_int_t b) { return vaddq_s32(a, b); }
CR_INLINE cr_f32_int_t cr_f32_isub(cr_f32_int_t a, cr_f32_int_t b) { return vsubq_s32(a, b); }
CR_INLINE cr_f32_int_t cr_f32_iand(cr_f32_int_t a, cr_f32_int_t b) { return vandq_s32(a, b); }
CR_INLINE cr_f32_int_t cr_f32_ior(cr_f32_int_t a, cr_f32_int_t b) { return vorrq_s32(a, b); }
/* Shifts by a register, because the immediate forms accept no argument; right is left by -n. */
CR_INLINE cr_f32_int_t cr_f32_ishl(cr_f32_int_t a, unsigned n)
{
    return vshlq_s32(a, vdupq_n_s32((int32_t)n));
}
CR_INLINE cr_f32_int_t cr_f32_ishr(cr_f32_int_t a, unsigned n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(int32_t)n)));
}
CR_INLINE cr_f32_int_t cr_f32_isra(cr_f32_int_t a, unsigned n)
{
    return vshlq_s32(a, vdupq_n_s32(-(int32_t)n));
}
/* Bytes are looked up: 4 i, 4 i + 1, 4 i + 2, 4 i + 3. */
CR_INLINE cr_f32_t cr_f32_lookup16(const float *table, cr_f32_int_t i)
{
    const uint32x4_t slot = vandq_u32(vreinterpretq_u32_s32(i), vdupq_n_u32(15));
    const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100u), slot, 0x04040404u);
    const uint8x16x4_t all = vld1q_u8_x4((const uint8_t *)table);
    return vreinterpretq_f32_u8(vqtbl4q_u8(all, vreinterpretq_u8_u32(bytes)));
}

CR_INLINE void cr_f32_transpose(cr_f32_t r[CR_F32_LANES])
{
    const float64x2_t ab_lo = vreinterpretq_f64_f32(vzip1q_f32(r[0], r[1])); /* a0 b0 a1 b1 */
    const float64x2_t ab_hi = vreinterpretq_f64_f32(vzip2q_f32(r[0], r[1])); /* a2 b2 a3 b3 */
    const float64x2_t cd_lo = vreinterpretq_f64_f32(vzip1q_f32(r[2], r[3]));
    const float64x2_t cd_hi = vreinterpretq_f64_f32(vzip2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vzip1q_f64(ab_lo, cd_lo)); /* a0 b0 c0 d0 */
    r[1] = vreinterpretq_f32_f64(vzip2q_f64(ab_lo, cd_lo));
    r[2] = vreinterpretq_f32_f64(vzip1q_f64(ab_hi, cd_hi));
    r[3] = vreinterpretq_f32_f64(vzip2q_f64(ab_hi, cd_hi));
}

CR_INLINE void cr_f32_load_transposed(cr_f32_t r[CR_F32_LANES], const float *p, size_t ld)
{
    r[0] = vld1q_f32(p);
    r[1] = vld1q_f32(p + ld);
    r[2] = vld1q_f32(p + 2 * ld);
    r[3] = vld1q_f32(p + 3 * ld);
    cr_f32_transpose(r);
}

CR_INLINE void cr_f32_unzip(cr_f32_t *a, cr_f32_t *b)
{
    const cr_f32_t even = vuzp1q_f32(*a, *b);
    *b = vuzp2q_f32(*a, *b);
    *a = even;
}

/* Lanes 0 + 2 and 1 + 3 of a, then of b. */
CR_INLINE cr_f32_t cr_neon_fold_halves(cr_f32_t a, cr_f32_t b)
{
    return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
                     vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

CR_INLINE cr_f32_t cr_f32_fold(const cr_f32_t r[CR_F32_LANES])
{
    return vpaddq_f32(cr_neon_fold_halves(r[0], r[1]), cr_neon_fold_halves(r[2], r[3]));
}

/* ---- double --------------------------------------------------------------------------------- */

typedef float64x2_t cr_f64_t;
typedef uint64x2_t cr_f64_mask_t; /* all bits of a lane, or none */
typedef int64x2_t cr_f64_int_t;

CR_INLINE cr_f64_t cr_f64_load(const double *p) { return vld1q_f64(p); }
CR_INLINE void cr_f64_store(double *p, cr_f64_t v) { vst1q_f64(p, v); }
CR_INLINE cr_f64_mask_t cr_f64_mask_first(size_t n)
{
    static const uint64_t lane[2] = {0, 1};
    return vcltq_u64(vld1q_u64(lane), vdupq_n_u64(n));
}
/* NEON has no masked move: lane by lane, so that nothing else is touched. */
CR_INLINE cr_f64_t cr_f64_load_masked(cr_f64_mask_t m, const double *p)
{
    cr_f64_t v = vdupq_n_f64(0);
    if (vgetq_lane_u64(m, 0) != 0) {
        v = vld1q_lane_f64(p, v, 0);
    }
    if (vgetq_lane_u64(m, 1) != 0) {
        v = vld1q_lane_f64(p + 1, v, 1);
    }
    return v;
}
CR_INLINE void cr_f64_store_masked(cr_f64_mask_t m, double *p, cr_f64_t v)
{
    if (vgetq_lane_u64(m, 0) != 0) {
        vst1q_lane_f64(p, v, 0);
    }
    if (vgetq_lane_u64(m, 1) != 0) {
        vst1q_lane_f64(p + 1, v, 1);
    }
}
CR_INLINE cr_f64_t cr_f64_load_tail(const double *p, size_t n)
{
    cr_f64_t v = vdupq_n_f64(0);
    if (n > 0) {
        v = vld1q_lane_f64(p, v, 0);
    }
    if (n > 1) {
        v = vld1q_lane_f64(p + 1, v, 1);
    }
    return v;
}
CR_INLINE void cr_f64_store_tail(double *p, cr_f64_t v, size_t n)
{
    if (n > 0) {
        vst1q_lane_f64(p, v, 0);
    }
    if (n > 1) {
        vst1q_lane_f64(p + 1, v, 1);
    }
}
CR_INLINE cr_f64_t cr_f64_set1(double a) { return vdupq_n_f64(a); }
CR_INLINE cr_f64_t cr_f64_zero(void) { return vdupq_n_f64(0); }
CR_INLINE void cr_f64_prefetch(const void *p) { CR_PREFETCH(p); }
CR_INLINE void cr_f64_stream(double *p, cr_f64_t v) { cr_f64_store(p, v); }
CR_INLINE void cr_f64_fence(void) {}

CR_INLINE cr_f64_t cr_f64_add(cr_f64_t a, cr_f64_t b) { return vaddq_f64(a, b); }
CR_INLINE cr_f64_t cr_f64_sub(cr_f64_t a, cr_f64_t b) { return vsubq_f64(a, b); }
CR_INLINE cr_f64_t cr_f64_mul(cr_f64_t a, cr_f64_t b) { return vmulq_f64(a, b); }
CR_INLINE cr_f64_t cr_f64_div(cr_f64_t a, cr_f64_t b) { return vdivq_f64(a, b); }
CR_INLINE cr_f64_t cr_f64_sqrt(cr_f64_t a) { return vsqrtq_f64(a); }
CR_INLINE cr_f64_t cr_f64_fma(cr_f64_t a, cr_f64_t b, cr_f64_t c) { return vfmaq_f64(c, a, b); }
CR_INLINE cr_f64_t cr_f64_fnma(cr_f64_t a, cr_f64_t b, cr_f64_t c) { return vfmsq_f64(c, a, b); }
/* Not FMAX and FMIN: those return the NaN and order the zeros. */
CR_INLINE cr_f64_t cr_f64_max(cr_f64_t a, cr_f64_t b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
CR_INLINE cr_f64_t cr_f64_min(cr_f64_t a, cr_f64_t b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
CR_INLINE cr_f64_t cr_f64_abs(cr_f64_t a) { return vabsq_f64(a); }
CR_INLINE cr_f64_t cr_f64_neg(cr_f64_t a) { return vnegq_f64(a); }
CR_INLINE cr_f64_t cr_f64_copysign(cr_f64_t a, cr_f64_t s)
{
    return vbslq_f64(vdupq_n_u64(UINT64_C(1) << 63), s, a);
}

CR_INLINE cr_f64_mask_t cr_f64_lt(cr_f64_t a, cr_f64_t b) { return vcltq_f64(a, b); }
CR_INLINE cr_f64_mask_t cr_f64_le(cr_f64_t a, cr_f64_t b) { return vcleq_f64(a, b); }
CR_INLINE cr_f64_mask_t cr_f64_gt(cr_f64_t a, cr_f64_t b) { return vcgtq_f64(a, b); }
CR_INLINE cr_f64_mask_t cr_f64_ge(cr_f64_t a, cr_f64_t b) { return vcgeq_f64(a, b); }
CR_INLINE cr_f64_mask_t cr_f64_eq(cr_f64_t a, cr_f64_t b) { return vceqq_f64(a, b); }
CR_INLINE cr_f64_mask_t cr_f64_mask_and(cr_f64_mask_t m, cr_f64_mask_t n)
{
    return vandq_u64(m, n);
}
CR_INLINE cr_f64_mask_t cr_f64_mask_or(cr_f64_mask_t m, cr_f64_mask_t n) { return vorrq_u64(m, n); }
CR_INLINE cr_f64_mask_t cr_f64_mask_not(cr_f64_mask_t m)
{
    return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(m)));
}
CR_INLINE cr_f64_mask_t cr_f64_is_nan(cr_f64_t a) { return cr_f64_mask_not(vceqq_f64(a, a)); }
CR_INLINE int cr_f64_any(cr_f64_mask_t m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
CR_INLINE cr_f64_t cr_f64_select(cr_f64_mask_t m, cr_f64_t a, cr_f64_t b)
{
    return vbslq_f64(m, a, b);
}
CR_INLINE cr_f64_t cr_f64_keep(cr_f64_mask_t m, cr_f64_t a)
{
    return vreinterpretq_f64_u64(vandq_u64(m, vreinterpretq_u64_f64(a)));
}

CR_INLINE cr_f64_int_t cr_f64_bits(cr_f64_t v) { return vreinterpretq_s64_f64(v); }
CR_INLINE cr_f64_t cr_f64_from_bits(cr_f64_int_t i) { return vreinterpretq_f64_s64(i); }
CR_INLINE cr_f64_int_t cr_f64_iset1(int64_t n) { return vdupq_n_s64(n); }
CR_INLINE cr_f64_int_t cr_f64_iadd(cr_f64_int_t a, cr_f64_int_t b) { return vaddq_s64(a, b); }
CR_INLINE cr_f64_int_t cr_f64_isub(cr_f64_int_t a, cr_f64_int_t b) { return vsubq_s64(a, b); }
CR_INLINE cr_f64_int_t cr_f64_iand(cr_f64_int_t a, cr_f64_int_t b) { return vandq_s64(a, b); }
CR_INLINE cr_f64_int_t cr_f64_ior(cr_f64_int_t a, cr_f64_int_t b) { return vorrq_s64(a, b); }
/* Shifts by a register, because the immediate forms accept no argument; right is left by -n. */
CR_INLINE cr_f64_int_t cr_f64_ishl(cr_f64_int_t a, unsigned n)
{
    return vshlq_s64(a, vdupq_n_s64((int64_t)n));
}
CR_INLINE cr_f64_int_t cr_f64_ishr(cr_f64_int_t a, unsigned n)
{
    return vreinterpretq_s64_u64(vshlq_u64(vreinterpretq_u64_s64(a), vdupq_n_s64(-(int64_t)n)));
}
CR_INLINE cr_f64_int_t cr_f64_isra(cr_f64_int_t a, unsigned n)
{
    return vshlq_s64(a, vdupq_n_s64(-(int64_t)n));
}
CR_INLINE cr_f64_t cr_f64_lookup16(const double *table, cr_f64_int_t i)
{
    return vcombine_f64(vld1_f64(table + (vgetq_lane_s64(i, 0) & 15)), vld1_f64(table + (vgetq_lane_s64(i, 1) & 15)));
}

CR_INLINE void cr_f64_transpose(cr_f64_t r[CR_F64_LANES])
{
    const cr_f64_t lo = vzip1q_f64(r[0], r[1]);
    r[1] = vzip2q_f64(r[0], r[1]);
    r[0] = lo;
}

CR_INLINE void cr_f64_load_transposed(cr_f64_t r[CR_F64_LANES], const double *p, size_t ld)
{
    r[0] = vld1q_f64(p);
    r[1] = vld1q_f64(p + ld);
    cr_f64_transpose(r);
}

CR_INLINE void cr_f64_unzip(cr_f64_t *a, cr_f64_t *b)
{
    const cr_f64_t even = vuzp1q_f64(*a, *b);
    *b = vuzp2q_f64(*a, *b);
    *a = even;
}

CR_INLINE cr_f64_t cr_f64_fold(const cr_f64_t r[CR_F64_LANES]) { return vpaddq_f64(r[0], r[1]); }

/* ---- to double ----------------------------------------------------------------------------- */

CR_INLINE void cr_f32_widen(cr_f32_t v, cr_f64_t wide[2])
{
    wide[0] = vcvt_f64_f32(vget_low_f32(v));
    wide[1] = vcvt_high_f64_f32(v);
}

CR_INLINE void cr_f64_widen(cr_f64_t v, cr_f64_t wide[1]) { wide[0] = v; }

#endif
