/* fuzz_product.c - the three products over shapes, strides, alignments and values: against plain sums in a wider type
 * within the bound of bounds.py, the same bits on every instruction set, nothing written beside the output. */
#include "fuzz.h"

/* Longest way through a sum of k products: a block of fused multiply-adds, then the sum of the blocks; one rounding
 * more for the bias or f'. */
static double roundings(size_t k)
{
    return (double)(k < CR_KB ? k : CR_KB) + (double)((k + CR_KB - 1) / CR_KB) + 2.0;
}

#define CR_DTYPE 32
#define WIDER double
#define WIDER_UNIT 0x1p-53
#define UNIT 0x1p-24
#define TINY 0x1p-149
#include "fuzz_product.inc.h"
#define CR_DTYPE 64
#define WIDER long double
#define WIDER_UNIT 0x1p-64
#define UNIT 0x1p-53
#define TINY 0x1p-1074
#include "fuzz_product.inc.h"

/* Usually a few vectors; sometimes beyond a block of CR_KB terms. */
static size_t take_size(void)
{
    const unsigned kind = take_byte();
    return kind < 160 ? take(40) : kind < 245 ? take(140) : take(1100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open(data, size);
    const size_t n_rows = take_size(), n_in = take_size(), n_out = take_size();
    if ((double)n_rows * (double)n_in * (double)n_out > 4e4) {
        return 0; /* an input should take milliseconds */
    }
    const unsigned way = take_byte();
    seed_random();
    if (way & 1) {
        cr_fuzz_f64(n_rows, n_in, n_out, way >> 1);
    } else {
        cr_fuzz_f32(n_rows, n_in, n_out, way >> 1);
    }
    return 0;
}
