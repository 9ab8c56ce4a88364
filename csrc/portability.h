/* portability.h - the few things C11 leaves to the compiler, said once. */
#ifndef CR_PORTABILITY_H
#define CR_PORTABILITY_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define CR_INLINE static __forceinline
#define CR_NOINLINE static __declspec(noinline)
#define CR_ALIGN(n) __declspec(align(n)) /* stands before the type */
#define CR_UNLIKELY(x) (x)
#define CR_PREFETCH(p) ((void)(p)) /* x86 targets use _mm_prefetch, which every compiler has */
#else
#define CR_INLINE static inline __attribute__((always_inline))
#define CR_NOINLINE static __attribute__((noinline)) /* long, and called from many places */
#define CR_OUTLINE static __attribute__((noinline, unused)) /* the same, in a header that others include */
#define CR_ALIGN(n) __attribute__((aligned(n)))
#define CR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CR_PREFETCH(p) __builtin_prefetch(p)
#endif

/* CR_PIN(v): the vector v, just loaded, is in a register here. Where lanes of it are chosen next, gcc would turn both
 * into a masked load for AVX-512, which waits for its mask: arrays come from memory at two thirds of the speed. */
#if defined(__GNUC__) && defined(__AVX512F__)
#define CR_PIN(v) __asm__("" : "+v"(v))
#else
#define CR_PIN(v) ((void)0)
#endif

/* CR_OPAQUE(i): the integer or pointer i may have changed. A condition on it stays in its loop, which compilers would
 * double, and addresses made of it are made there, where compilers would keep a pointer for each. */
#if defined(__GNUC__)
#define CR_OPAQUE(i) __asm__("" : "+r"(i))
#else
#define CR_OPAQUE(i) ((void)0)
#endif

/* A hint to the core that the thread spins on a flag. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#if defined(_M_X64) || defined(_M_IX86)
#define CR_PAUSE() _mm_pause()
#else
#define CR_PAUSE() __yield()
#endif
#elif defined(__x86_64__) || defined(__i386__)
#define CR_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define CR_PAUSE() __asm__ volatile("yield")
#else
#define CR_PAUSE() ((void)0)
#endif

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 cr_u128;
#endif

/* fma(a, b, c) for doubles with one rounding, as the processor's, glibc's, Apple's and Microsoft's are. mingw's rounds
 * twice, and musl's answers +0 where a negative product rounds to -0 and c is +0. (glibc says who it is in its headers,
 * musl does not.) */
#if defined(__FMA__) || defined(__FP_FAST_FMA) || defined(__aarch64__) || !defined(__SIZEOF_INT128__)
#define CR_FMA fma
#elif defined(__MINGW32__) || (defined(__linux__) && !defined(__GLIBC__))
#include "exact_fma.h"
#define CR_FMA cr_exact_fma
#else
#define CR_FMA fma
#endif

#endif
