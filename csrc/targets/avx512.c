/* avx512.c - the avx512 target: one vocabulary, all kernels, one table a dtype. */
#define CR_ISA avx512
#include "../simd/avx512.h"

#include "../cpu.h"
#include "../kernel_table.h"

#define CR_DTYPE 64
#include "../kernels/all.inc.h"
#define CR_DTYPE 32
#include "../kernels/all.inc.h"

const cr_target cr_target_avx512 = {
    .name = "avx512",
    .features = CR_CPU_AVX512,
    .f32 = &cr_table_f32_avx512,
    .f64 = &cr_table_f64_avx512,
    .random_words = cr_philox_words,
};
