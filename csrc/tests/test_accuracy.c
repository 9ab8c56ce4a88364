/* test_accuracy.c - the largest errors of the elementwise functions, in units in the last place.
 *
 *   test_accuracy              a sample and the edges, on every instruction set: held to the limits below
 *   test_accuracy full         all 2^32 floats and 10^8 doubles a function, on the best instruction set (make accuracy)
 *   test_accuracy full exp erf the same for these functions alone
 *
 * The reference for float is the C library's double: off by less than 2^-26 units of float even where an error of
 * a few units in double is made ten times larger. For double it is long double, and where a function's argument is
 * itself rounded and the function steep (gelu, gelu_tanh) the argument is kept in two parts; with the 64 bits of
 * x86 the reference is off by less than 0.01 units of double. Where long double is no wider than double (MSVC,
 * valgrind, musl on ARM), double is not tested.
 *
 * The inputs of a walk ascend, so that the program also sees where a rising function falls, and whether a function
 * that has reached its limit leaves it again.
 */
#include <float.h>
#include <stdint.h>
#include <string.h>
#include <tgmath.h>

#include "check_isas.h"

enum { CHUNK = 4096, FULL_DOUBLES = 100000000 };
static uint64_t n_sample = 100000;

#define NONE NAN

typedef struct subject {
    const char *name;
    int is_activation, kind;
    double limit_f32, limit_f64; /* largest error allowed */
    int rises;                   /* everywhere */
    double least, greatest;      /* what it approaches at -inf and inf, NONE if not a number it can reach early */
    double from, to;             /* where doubles are tried evenly: from one limit to the other */
} subject;

/* float: the largest error over all inputs, that of kernels/README.md. double: up to a tenth above the largest seen,
 * which stands there. tests/bounds.py has the same numbers (tests/test_bounds.py). */
static const subject subjects[] = {
    {"exp", 0, CR_EXP, 0.94, 1.01, 1, 0, INFINITY, -746, 710},
    {"log", 0, CR_LOG, 0.97, 0.95, 1, NONE, NONE, 0, 4},
    {"expm1", 0, CR_EXPM1, 1.67, 2.18, 1, -1, INFINITY, -40, 710},
    {"log1p", 0, CR_LOG1P, 1.59, 1.53, 1, NONE, NONE, -1, 4},
    {"erf", 0, CR_ERF, 2.08, 2.23, 1, -1, 1, -6.5, 6.5},
    {"tanh", 1, CR_TANH, 1.28, 1.50, 1, -1, 1, -20, 20},
    {"sigmoid", 1, CR_SIGMOID, 1.75, 1.90, 1, 0, 1, -746, 40},
    {"softplus", 1, CR_SOFTPLUS, 1.89, 1.87, 1, 0, NONE, -746, 40},
    {"gelu", 1, CR_GELU, 3.36, 3.83, 0, 0, NONE, -39, 9},
    {"gelu_tanh", 1, CR_GELU_TANH, 2.94, 3.17, 0, 0, NONE, -22, 9},
    {"silu", 1, CR_SILU, 3.00, 3.22, 0, 0, NONE, -752, 40},
    {"mish", 1, CR_MISH, 3.95, 4.12, 0, 0, NONE, -752, 40},
};
#define N_SUBJECTS (sizeof subjects / sizeof subjects[0])

/* Where the largest errors over all inputs lie (kernels/README.md), for float and for double, and, near -16.6 and
 * -36.7, those of a sigmoid whose 1 + e^-x loses the 1. Ascending. Each function is tried at all of them and
 * around them. */
static const double places[] = {
    -0x1.25e9cf31e8b4p+5, -0x1.0a47d2p+4,        -0x1.ceda1f717b63ep+3, -0x1.b9b01p+3,         -0x1.4f24cap+0,
    -0x1.1c57b69c022abp+0, -0x1.19ede8p+0,       -0x1.0ec3b819fbe72p+0, -0x1.bf6be5e768a37p-1, -0x1.99becp-1,
    -0x1.8693ecp-1,        -0x1.84821d800b53dp-1, 0x1.fa845ff4ba512p-26, 0x1.feaa23d1419d2p-15, 0x1.ff7012p-12,
    0x1.faeb5ap-8,         0x1.6e9aef7211ad9p-2,  0x1.8f9d6ap-2,         0x1.a84ce67cf89d9p-2,  0x1.bf308ap-2,
    0x1.42578ee2feb6p-1,   0x1.681ac0a569253p-1,  0x1.6809c8p+0,         0x1.000026p+2,         0x1.da7868p+5,
    0x1.8b7ca4e5bf89p+8,
};
#define N_PLACES (sizeof places / sizeof places[0])
enum { AROUND = 64 }; /* neighbours on either side */

typedef struct findings {
    uint64_t n, n_above_1, n_special, n_falls, n_returns;
    double error, at, fall, special_at, return_at;
} findings;

static int full;

/* splitmix64's finalizer: where in its stratum the i-th input lies. */
static uint64_t scatter(uint64_t i)
{
    i += 0x9E3779B97F4A7C15u * (i + 1);
    i = (i ^ (i >> 30)) * 0xBF58476D1CE4E5B9u;
    i = (i ^ (i >> 27)) * 0x94D049BB133111EBu;
    return i ^ (i >> 31);
}

/* 2^n for the exponents of doubles, subnormal ones included. */
static double power_of_2(int n)
{
    const uint64_t bits = n >= -1022 ? (uint64_t)(n + 1023) << 52 : (uint64_t)1 << (n + 1074);
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static void report(const subject *s, const char *dtype, const findings *f)
{
    if (full) {
        printf("| %s | %s | %llu | %.4f | %a | %.9g | %llu | %llu | %.2f |\n", s->name, dtype, (unsigned long long)f->n,
               f->error, f->at, f->at, (unsigned long long)f->n_above_1, (unsigned long long)f->n_falls, f->fall);
        fflush(stdout);
    }
    const double limit = dtype[0] == 'f' ? s->limit_f32 : s->limit_f64;
    CHECK(f->error <= limit, "%s %s, %s: %.4f units at %a, allowed %.2f", s->name, dtype, cr_isa(), f->error,
          f->at, limit);
    CHECK(f->n_special == 0, "%s %s, %s: %llu wrong NaNs or signs of zero, one at %a", s->name, dtype, cr_isa(),
          (unsigned long long)f->n_special, f->special_at);
    CHECK(f->n_returns == 0, "%s %s, %s: leaves its limit again %llu times, once at %a", s->name, dtype, cr_isa(),
          (unsigned long long)f->n_returns, f->return_at);
    CHECK(f->fall <= 2 * limit, "%s %s, %s: falls by %.2f units", s->name, dtype, cr_isa(), f->fall);
}

/* Constants of the references in two parts, the first a double: 1/sqrt(2), 2/sqrt(pi), a = 2 sqrt(2/pi),
 * b = 0.044715 a. */
static const long double root_half[2] = {0x1.6a09e667f3bcdp-1L, -0xdee9a09d9322ad50p-118L};
static const long double two_over_root_pi = 1.12837916709551257389615890312154517L;
static const long double tanh_a[2] = {0x1.9884533d43651p+0L, -0xe5e069875fe8a8e4p-117L};
static const long double tanh_b[2] = {0x1.2444f2a4d8b4bp-4L, -0xb6421d14e8e383cbp-124L};

#define CR_DTYPE 32
#include "kernels/dtype.h"
#define WIDE double
#define UINT uint32_t
#define N_MANTISSA 23
#include "test_accuracy.inc.h"
#include "kernels/dtype_end.h"
#undef WIDE
#undef UINT
#undef N_MANTISSA

#if LDBL_MANT_DIG >= 64
#define CR_DTYPE 64
#include "kernels/dtype.h"
#define WIDE long double
#define UINT uint64_t
#define N_MANTISSA 52
#include "test_accuracy.inc.h"
#include "kernels/dtype_end.h"
#endif

/* Whether long double is computed as wide as it is declared: valgrind rounds it to double, and musl's functions of it
 * are those of double where it has 113 bits. */
static int reference_is_wide(void)
{
    volatile long double one = 1.0L, small = 0x1p-60L;
    const long double e = exp(one);
    return one + small != one && e != (long double)(double)e;
}

static void test_subject(const subject *s)
{
    cr_test_f32(s);
#if LDBL_MANT_DIG >= 64
    if (reference_is_wide()) {
        cr_test_f64(s);
    }
#endif
}

/* Whether the function was asked for on the command line. */
static int wanted(const char *name, int n_names, char **names)
{
    int found = n_names <= 0;
    for (int i = 0; i < n_names; i++) {
        found |= strcmp(names[i], name) == 0;
    }
    return found;
}

int main(int n_arguments, char **arguments)
{
    full = n_arguments > 1 && strcmp(arguments[1], "full") == 0;
    if (!full && cr_check_quick()) {
        n_sample = 10000;
    }
    cr_set_num_threads(1);
    if (!reference_is_wide()) {
        printf("(double not tested: long double is no wider here) ");
    }
    if (full) {
        printf("| function | type | inputs | max | at | | above 1 | falls | largest fall |\n"
               "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    }
    size_t first = 0;
    while (full && cr_isa_name(1, first + 1) != NULL) {
        first++; /* the best set alone */
    }
    for (size_t t = first; cr_check_isa(t); t++) {
        for (size_t i = 0; i < N_SUBJECTS; i++) {
            if (wanted(subjects[i].name, n_arguments - 2, arguments + 2)) {
                test_subject(&subjects[i]);
            }
        }
    }
    return cr_check_summary();
}
