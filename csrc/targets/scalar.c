/* scalar.c - the scalar target: one vocabulary, all kernels, one table a dtype. */
#define CR_ISA scalar
#include "../simd/scalar.h"

#include "../cpu.h"
#include "../kernel_table.h"

#define CR_DTYPE 64
#include "../kernels/all.inc.h"
#define CR_DTYPE 32
#include "../kernels/all.inc.h"

const cr_target cr_target_scalar = {
    .name = "scalar",
    .features = 0,
    .f32 = &cr_table_f32_scalar,
    .f64 = &cr_table_f64_scalar,
    .random_words = cr_philox_words,
};
