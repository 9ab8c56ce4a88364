/* test_simd.c - holds one header of simd/ to the vocabulary of simd/README.md.
 *
 * Compiled once per target, with that target's flags, -DCR_ISA=<name> and -DCR_SIMD_HEADER='"simd/<name>.h"', and
 * linked with the library.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif

#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#endif

#include "../cpu.h"
#include "check.h"

#define CR_TEXT_(x) #x
#define CR_TEXT(x) CR_TEXT_(x)
#include CR_SIMD_HEADER

/* ---- what both dtypes share ----------------------------------------------------------------- */

#if defined(__linux__)
/* Whether this is qemu's translator. Its vmaskmovps and vmaskmovpd (7.2) read all lanes, also those that the mask
   leaves out, and fault where no processor does; its masked stores are right. */
static int reads_masked_lanes(void)
{
#if defined(__linux__) && defined(__x86_64__)
    unsigned eax, word[3];
    char maker[13] = "";
    __cpuid(0x40000000u, eax, word[0], word[1], word[2]); /* hypervisors sign here */
    memcpy(maker, word, sizeof word);
    return strcmp(maker, "TCGTCGTCGTCG") == 0;
#else
    return 0;
#endif
}
#endif

/* A page of ours between two that fault when touched (under qemu: when written to).  Where there is no mmap, the
   neighbours are plain memory, and only the guard bytes in our own page tell of a stray store. */
static unsigned char *page;
static size_t page_size;

static int page_open(void)
{
#if defined(__linux__)
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    const int emulated = reads_masked_lanes();
    if (emulated) {
        printf("(emulator: not tested that masked loads stay off the next page) ");
    }
    unsigned char *const three =
        mmap(NULL, 3 * page_size, emulated ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (three == MAP_FAILED ||
        mprotect(three + page_size, page_size, PROT_READ | PROT_WRITE) != 0) {
        return 0;
    }
#else
    page_size = 4096;
    unsigned char *const three = malloc(3 * page_size);
    if (three == NULL) {
        return 0;
    }
#endif
    page = three + page_size;
    return 1;
}

#define GUARD 0xA5

/* How many cases a word is tried on: a multiple of every V_LANES, and more than the triples of the
   awkward values, which come first. */
#define N_CASES 131072

#define CR_DTYPE 32
#include "../kernels/dtype.h"
#include "test_simd.inc.h"
#include "../kernels/dtype_end.h"

#define CR_DTYPE 64
#include "../kernels/dtype.h"
#include "test_simd.inc.h"
#include "../kernels/dtype_end.h"

/* ---- cpu.h ---------------------------------------------------------------------------------- */

/* In the default mode 1 + 2^-40 is 1 in float; rounding upward makes it more.  (fegetround may
   answer for the x87, whose mode is none of ours.) */
static int rounds_to_nearest(void)
{
    volatile float one = 1.0f, tiny = 0x1p-40f;
    volatile float sum = one + tiny;
    return sum == 1.0f;
}

static int keeps_subnormals(void)
{
    volatile float small = 0x1p-126f, half = 0.5f;
    volatile float result = small * half; /* flushed to zero, if so set */
    volatile float back = result * 4.0f;  /* result taken for zero, if so set */
    return result != 0.0f && back == 0x1p-125f;
}

/* Whether there are modes to set.  Under valgrind there are none: it forgets what is written to MXCSR. */
static int modes_can_be_set(void)
{
#if defined(__SSE__) || defined(_M_X64)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before ^ 0x8000u);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    return after != before;
#else
    return 1;
#endif
}

static void test_mode_guard(void)
{
    cr_fp_mode mode = cr_fp_enter();
    CHECK(rounds_to_nearest() && keeps_subnormals(), "cr_fp_enter spoilt the default mode");
    cr_fp_leave(mode);
    if (!modes_can_be_set()) {
        printf("(floating-point modes not tested: there is but one here) ");
        return;
    }

    CHECK(fesetround(FE_UPWARD) == 0 && !rounds_to_nearest(), "could not set another rounding");
    mode = cr_fp_enter();
    CHECK(rounds_to_nearest(), "cr_fp_enter left the caller's rounding in place");
    cr_fp_leave(mode);
    CHECK(!rounds_to_nearest(), "cr_fp_leave did not restore the rounding");
    fesetround(FE_TONEAREST);

#if defined(__SSE__) || defined(_M_X64)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8000u | 0x0040u); /* FTZ and DAZ */
    CHECK(!keeps_subnormals(), "could not make subnormals zero");
    mode = cr_fp_enter();
    CHECK(keeps_subnormals(), "cr_fp_enter left subnormals flushed");
    cr_fp_leave(mode);
    CHECK((_mm_getcsr() & 0x8040u) == 0x8040u, "cr_fp_leave did not restore FTZ and DAZ");

    /* Unmasked exceptions: 1/3 is inexact and would trap. */
    _mm_setcsr(before & ~0x103Fu);
    mode = cr_fp_enter();
    volatile float one = 1.0f, three = 3.0f;
    volatile float third = one / three;
    CHECK(third < 0.34f && (_mm_getcsr() & 0x1F80u) == 0x1F80u, "exceptions were not masked");
    cr_fp_leave(mode);
    CHECK((_mm_getcsr() & 0x1000u) == 0, "cr_fp_leave did not restore the exception mask");
    _mm_setcsr(before);
#endif
}

static void test_all(void)
{
    CHECK(cr_cpu_count() >= 1, "no CPU");
    test_mode_guard();
    if (!page_open()) {
        CHECK(0, "no memory for the guarded page");
        return;
    }
    RUN_f32();
    RUN_f64();
}

static int cpu_lacks(const char *isa)
{
    const unsigned features = cr_cpu_features();
    return (strcmp(isa, "avx2") == 0 && !(features & CR_CPU_AVX2)) ||
           (strcmp(isa, "avx512") == 0 && !(features & CR_CPU_AVX512)) ||
           (strcmp(isa, "neon") == 0 && !(features & CR_CPU_NEON));
}

int main(void)
{
    /* Called through a volatile pointer, so that none of it is moved before the question. */
    void (*volatile const run)(void) = test_all;

    if (cpu_lacks(CR_TEXT(CR_ISA))) {
        printf("skipped: this CPU has no %s\n", CR_TEXT(CR_ISA));
        return 0;
    }
    cr_check_ran(CR_TEXT(CR_ISA));
    run();
    return cr_check_summary();
}
