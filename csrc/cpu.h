/* cpu.h - what this machine can do, and how its floating point is set. */
#ifndef CR_CPU_H
#define CR_CPU_H

#include <stddef.h>
#include <stdint.h>

#include "portability.h"

/* Instruction sets.  A bit means: the CPU has all of it and the system saves its registers. */
#define CR_CPU_AVX2 1u   /* AVX2 and FMA */
#define CR_CPU_AVX512 2u /* AVX-512 F, BW, DQ, VL, besides CR_CPU_AVX2 */
#define CR_CPU_NEON 4u

/* Asks the CPU anew on every call, which a virtual machine makes slow (microseconds): ask once. */
unsigned cr_cpu_features(void);

/* CPUs this process may use, at least 1: of its affinity mask on Linux, where the quota of its cgroups counts too, and
   on Windows (of its processor group); elsewhere the machine's. */
size_t cr_cpu_count(void);

/* ---- the floating-point mode guard ---------------------------------------------------------
 * Kernels need the mode of the C standard: round to nearest, subnormals kept, exceptions masked.  A
 * caller may have another, so every public call that computes stands between enter and leave, and
 * so does every worker thread's share of it: the mode belongs to the thread.
 *
 *     const cr_fp_mode mode = cr_fp_enter();
 *     ...
 *     cr_fp_leave(mode);
 *
 * Usually the mode is right already: enter costs a read and a compare, leave a compare.  The
 * arithmetic must be in functions called between the two, not beside them: compilers move plain
 * arithmetic across such settings.  Leaving a changed mode restores the caller's flags too.
 */
#if defined(__SSE__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 2)

#include <xmmintrin.h>

/* MXCSR.  Bits 0-5 are the sticky flags of past exceptions, which say nothing about the mode. */
#define CR_MXCSR_CONTROL 0xFFC0u
#define CR_MXCSR_DEFAULT 0x1F80u

typedef unsigned cr_fp_mode;

CR_INLINE cr_fp_mode cr_fp_enter(void)
{
    const cr_fp_mode mode = _mm_getcsr();
    if (CR_UNLIKELY((mode & CR_MXCSR_CONTROL) != CR_MXCSR_DEFAULT)) {
        _mm_setcsr(CR_MXCSR_DEFAULT);
    }
    return mode;
}

CR_INLINE void cr_fp_leave(cr_fp_mode mode)
{
    if (CR_UNLIKELY((mode & CR_MXCSR_CONTROL) != CR_MXCSR_DEFAULT)) {
        _mm_setcsr(mode);
    }
}

#elif defined(__aarch64__) || defined(_M_ARM64)

/* FPCR.  The sticky flags live elsewhere (FPSR), and the default mode is all zeros. */
typedef uint64_t cr_fp_mode;

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define CR_ARM64_FPCR 0x5A20 /* ARM64_SYSREG(3, 3, 4, 4, 0): windows.h has the name, and much else */
CR_INLINE cr_fp_mode cr_fpcr_read(void) { return (cr_fp_mode)_ReadStatusReg(CR_ARM64_FPCR); }
CR_INLINE void cr_fpcr_write(cr_fp_mode mode) { _WriteStatusReg(CR_ARM64_FPCR, (__int64)mode); }
#else
CR_INLINE cr_fp_mode cr_fpcr_read(void)
{
    cr_fp_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
CR_INLINE void cr_fpcr_write(cr_fp_mode mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}
#endif

CR_INLINE cr_fp_mode cr_fp_enter(void)
{
    const cr_fp_mode mode = cr_fpcr_read();
    if (CR_UNLIKELY(mode != 0)) {
        cr_fpcr_write(0);
    }
    return mode;
}

CR_INLINE void cr_fp_leave(cr_fp_mode mode)
{
    if (CR_UNLIKELY(mode != 0)) {
        cr_fpcr_write(mode);
    }
}

#else

#include <fenv.h>

/* Elsewhere C knows the rounding direction, and has no word for subnormals. */
typedef int cr_fp_mode;

CR_INLINE cr_fp_mode cr_fp_enter(void)
{
    const cr_fp_mode mode = fegetround();
    if (CR_UNLIKELY(mode != FE_TONEAREST)) {
        fesetround(FE_TONEAREST);
    }
    return mode;
}

CR_INLINE void cr_fp_leave(cr_fp_mode mode)
{
    if (CR_UNLIKELY(mode != FE_TONEAREST)) {
        fesetround(mode);
    }
}

#endif

#endif
