/* neon.c - the neon target: one vocabulary, all kernels, one table a dtype. */
#define CR_ISA neon
#include "../simd/neon.h"

#include "../cpu.h"
#include "../kernel_table.h"

#define CR_DTYPE 64
#include "../kernels/all.inc.h"
#define CR_DTYPE 32
#include "../kernels/all.inc.h"

const cr_target cr_target_neon = {
    .name = "neon",
    .features = CR_CPU_NEON,
    .f32 = &cr_table_f32_neon,
    .f64 = &cr_table_f64_neon,
    .random_words = cr_philox_words,
};
