/* kernel_table.h - what a target (one ISA) offers: kernel pointers and block sizes, one table a dtype.
 *
 * Kernels return nothing, allocate nothing, start no threads, check nothing, and touch only their
 * arrays. They run in the default floating-point mode (arrays.inc.h and network/network.c see to
 * that). Rows can be split between threads by offsetting the pointers: every result is a function of
 * its own row (or, for sums over rows, of the whole column), never of its neighbours.
 */
#ifndef CR_KERNEL_TABLE_H
#define CR_KERNEL_TABLE_H

#include "chainrule.h"
#include "philox.h"

/* Coefficients of one optimizer step, worked out once in double by cr_prepare_update. */
typedef struct cr_update {
    cr_optimizer_kind kind;
    int nesterov;
    double learning_rate, momentum, weight_decay, beta_1, beta_2, epsilon, rho;
    double step_size;    /* Adam: learning_rate / (1 - beta_1^t) */
    double root_scale;   /* Adam: 1 / sqrt(1 - beta_2^t) */
} cr_update;

/* Scratch that the product kernels need, in elements, 64-byte aligned: a packed panel and sums beside it, or copied
 * rows; for weight gradients of CR_SCRATCH_WORK multiplications or more, panels of 256 columns and slabs of 64 rows. */
#define CR_SCRATCH_MIN (CR_KB * 64 + 2048)
#define CR_SCRATCH_WORK 16e6
#define CR_SCRATCH_MAX (CR_KB * (256 + 64))

/* Rows that will be gathered soon, fetched from memory by a product while it works: row order[i], i < n_rows, are
 * n_cols elements of the product's type at base + order[i] * ld elements. The rest is the product's: it fetches
 * `run` elements a tile, from element `at` of row `next` on. */
typedef struct cr_soon {
    const void *base;
    const int64_t *order;
    size_t n_rows, n_cols, ld;
    size_t run, next, at;
} cr_soon;

/* The key of one dropout mask: word (row * n_cols + col) of this Philox stream decides that element. */
typedef struct cr_dropout_key {
    uint64_t seed, forward;
    uint32_t layer;
} cr_dropout_key;

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "kernel_table.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "kernel_table.inc.h"
#include "kernels/dtype_end.h"

/* One target: its name, the processor features it needs, its two tables, and what has no dtype. */
typedef struct cr_target {
    const char *name;
    unsigned features; /* cr_cpu_features bits that must all be there */
    const cr_kernels_f32 *f32;
    const cr_kernels_f64 *f64;
    /* words = those of the stream from word 4 * first_block on (kernels/philox_words.h) */
    void (*random_words)(const cr_philox *stream, uint64_t first_block, uint32_t words[CR_PHILOX_WORDS]);
} cr_target;

extern const cr_target cr_target_scalar, cr_target_avx2, cr_target_avx512, cr_target_neon;

/* The chosen target; never NULL. */
const cr_target *cr_current_target(void);

/* dispatch-independent helpers (common.c) */
/* Whether `optimizer` is one of a known kind, with the states that it keeps for n parameters. */
int cr_optimizer_is_complete(const cr_optimizer *optimizer, size_t n, const void *state_0, const void *state_1);
void cr_prepare_update(const cr_optimizer *optimizer, uint64_t step, double learning_rate, cr_update *update);

#endif
