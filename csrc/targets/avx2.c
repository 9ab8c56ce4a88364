/* avx2.c - the avx2 target: one vocabulary, all kernels, one table a dtype. */
#define CR_ISA avx2
#include "../simd/avx2.h"

#include "../cpu.h"
#include "../kernel_table.h"

#define CR_DTYPE 64
#include "../kernels/all.inc.h"
#define CR_DTYPE 32
#include "../kernels/all.inc.h"

const cr_target cr_target_avx2 = {
    .name = "avx2",
    .features = CR_CPU_AVX2,
    .f32 = &cr_table_f32_avx2,
    .f64 = &cr_table_f64_avx2,
    .random_words = cr_philox_words,
};
