/* test_exact_fma.c - fma in integers against the C library's, where that is known to round once. */
#include <string.h>

#include "check.h"

#include "../portability.h"

/* Where the library takes its own, the C library's is nothing to compare with. */
#if defined(__SIZEOF_INT128__) && !defined(CR_EXACT_FMA_H)
#include "../exact_fma.h"

/* A double of random sign whose exponent field is `field` of 0 .. 2047; some have few bits, so that ties come up. */
static double make(int field)
{
    const uint64_t sparse = cr_check_bits() & 1 ? ~(uint64_t)0 : ~(uint64_t)0 << (cr_check_bits() % 52);
    const uint64_t bits = (cr_check_bits() & (uint64_t)1 << 63) | (uint64_t)field << 52
                          | ((cr_check_bits() & sparse) & 0xfffffffffffffu);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Whether a product that rounds to -0 keeps its sign in fma: under valgrind it does not. */
static int knows_signs;

static void compare(double a, double b, double c)
{
    const double expected = fma(a, b, c), got = cr_exact_fma(a, b, c);
    const int same = memcmp(&got, &expected, sizeof got) == 0 || (isnan(got) && isnan(expected))
                     || (!knows_signs && got == 0 && expected == 0);
    CHECK(same, "fma(%a, %a, %a) = %a, got %a", a, b, c, expected, got);
}

static int within(int64_t field) { return field < 0 ? 0 : field > 2046 ? 2046 : (int)field; }

int main(void)
{
    const int n = cr_check_quick() ? 20000 : 1000000;
    static const double odd[] = {0.0, -0.0, 1.0, -1.0, 0x1p-1074, -0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023,
                                  INFINITY,
                                 -INFINITY, NAN, 0x1p-537, 0x1.8p-538, 3.0};
    const size_t n_odd = sizeof odd / sizeof odd[0];
    const volatile double tiny = 0x1p-1000;
    knows_signs = signbit(fma(tiny, -tiny, 0.0)) != 0;
    if (!knows_signs) {
        printf("(signs of zeros not compared: this fma loses them) ");
    }
    for (size_t i = 0; i < n_odd * n_odd * n_odd; i++) {
        compare(odd[i % n_odd], odd[i / n_odd % n_odd], odd[i / n_odd / n_odd]);
    }
    for (int i = 0; i < n; i++) {
        /* The exponent of c lies around that of the product: 1023 is the bias. */
        const int f_a = (int)(cr_check_bits() % 2047), f_b = (int)(cr_check_bits() % 2047);
        const int f_c = within(f_a + f_b - 1023 + (int)(cr_check_bits() % 240) - 120);
        const double a = make(f_a), b = make(f_b);
        compare(a, b, make(f_c));
        compare(a, b, -(a * b)); /* what is left is the product's own rounding error */
        compare(make(1023 - (int)(cr_check_bits() % 60)), make((int)(cr_check_bits() % 120)),
                make((int)(cr_check_bits() % 60))); /* subnormal */
    }
    return cr_check_summary();
}
#else
int main(void)
{
    printf("(skipped: no fma() to compare with) ");
    CHECK(1, "%s", "");
    return cr_check_summary();
}
#endif
