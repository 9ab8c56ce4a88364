/* test_product.c - the three products of every usable target against plain loops, bit for bit.
 *
 * The reference is the contract of bits itself: chains of fma over blocks of CR_KB terms, block sums
 * added in order. Rows are wider than their contents (gaps hold NaN in inputs and a guard value in
 * outputs), arrays start off alignment, and guards stand before and after every output.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cpu.h"
#include "../kernel_table.h"
#include "check.h"

static size_t random_below(size_t n)
{
    return (size_t)((cr_check_bits() >> 33) % n);
}

/* What can run here. */
static const cr_target *targets[4];
static size_t n_targets;

static void find_targets(void)
{
    const cr_target *const built[] = {
        &cr_target_scalar,
#ifdef CR_HAVE_AVX2
        &cr_target_avx2,
#endif
#ifdef CR_HAVE_AVX512
        &cr_target_avx512,
#endif
#ifdef CR_HAVE_NEON
        &cr_target_neon,
#endif
    };
    const unsigned features = cr_cpu_features();
    for (size_t i = 0; i < sizeof built / sizeof built[0]; i++) {
        if ((built[i]->features & ~features) == 0) {
            targets[n_targets++] = built[i];
            cr_check_ran(built[i]->name);
        }
    }
}

/* Elements before and after every output that nobody may touch. */
#define GUARD 40

#define CR_DTYPE 32
#define REAL_FMA fmaf
#include "test_product.inc.h"
#define CR_DTYPE 64
#define REAL_FMA fma
#include "test_product.inc.h"

int main(void)
{
    /* Rows, inputs, outputs. Around the tile heights, the lanes and panels, and CR_KB terms, in each role. */
    static const size_t shapes[][3] = {
        {0, 3, 4}, {3, 0, 4}, {3, 4, 0}, {0, 0, 0}, {1, 0, 17}, {1, 1, 1}, {1, 7, 1}, {7, 1, 1}, {1, 1, 7},
        {4, 4, 16}, {5, 16, 64}, {32, 16, 64}, {15, 64, 64}, {13, 31, 33}, {14, 33, 31}, {29, 15, 47},
        {1, 784, 10}, {1, 256, 10}, {1, 257, 16}, {1, 1300, 3}, {1, 2049, 1}, {1, 2048, 2}, {1, 520, 17},
        {2, 300, 129}, {3, 129, 300}, {6, 65, 130}, {7, 67, 71}, {255, 17, 9}, {256, 9, 10}, {257, 33, 10},
        {300, 40, 6}, {513, 19, 14}, {600, 5, 31}, {520, 3, 33}, {17, 10, 256}, {17, 10, 257}, {40, 21, 513},
        {130, 30, 300}, {9, 511, 64}, {23, 512, 32}, {10, 513, 37}, {270, 12, 270}, {128, 128, 10},
        {1, 300, 700}, {1, 513, 403}, {1, 90, 5000}, {1, 700, 300}, {32, 300, 270}, {16, 200, 603},
        {45, 523, 310}, {20, 1024, 40}, {24, 40, 1024}, {1100, 257, 18}, {520, 40, 300}, {128, 257, 1601},
        {258, 130, 1000}, {1, 530, 600}, {2, 75, 270}, {5, 1000, 129}, {11, 40, 600}, {20, 300, 290}, {27, 513, 515},
        {2, 270, 1100}, {3, 515, 403}, {4, 2500, 2600}, {128, 64, 1}, {47, 70, 4}, {33, 900, 2}, {29, 513, 35},
        {64, 4, 64}, {31, 35, 513}, {80, 1, 400}, {30, 2600, 7},
        {9, 300, 1}, {20, 300, 1}, {33, 600, 1}, {40, 16, 1}, {64, 513, 1}, {31, 1, 1}, {70, 5, 1}, {250, 30, 1},
        {100, 10, 1}, {50, 12, 5}, {300, 7, 3}, {40, 8, 4}, {10, 3400, 1860},
    };
    find_targets();
    const int quick = cr_check_quick();
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        if (quick && shapes[s][0] * shapes[s][1] * shapes[s][2] > 200000) {
            continue;
        }
        cr_f32_check_shape(shapes[s][0], shapes[s][1], shapes[s][2], random_below(4));
        cr_f64_check_shape(shapes[s][0], shapes[s][1], shapes[s][2], random_below(4));
    }
    /* Weights beyond the second-level cache, rows enough to copy them or x. */
    for (size_t far = 0; far < (quick ? 0 : 4); far++) {
        cr_f32_check_shape(75, 270, 1601, far);
        cr_f64_check_shape(75, 270, 1601, far);
        cr_f32_check_shape(257, 270, 1601, far);
    }
    for (size_t s = 0; s < (quick ? 12 : 100); s++) {
        const size_t n_rows = 1 + random_below(s % 4 == 0 ? 600 : 40);
        const size_t n_in = 1 + random_below(s % 4 == 1 ? 600 : 70);
        const size_t n_out = 1 + random_below(s % 4 == 2 ? 600 : 70);
        cr_f32_check_shape(n_rows, n_in, n_out, random_below(4));
        cr_f64_check_shape(n_rows, n_in, n_out, random_below(4));
    }
    return cr_check_summary();
}
