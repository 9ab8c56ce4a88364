/* test_small.c - the short way of small networks (kernels/small.inc.h) and the general passes give the same bits:
 * parameters, optimizer states, losses and predictions, over random networks, batches, losses and optimizers, on every
 * target. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check_isas.h"
#include "network/network.h"

#define N_NETWORKS 240
#define N_STEPS 5
#define MAX_LAYERS 4
#define MAX_ROWS 34

static const cr_optimizer optimizers[] = {
    {.kind = CR_SGD},
    {.kind = CR_SGD, .weight_decay = 0.01},
    {.kind = CR_SGD, .momentum = 0.9},
    {.kind = CR_SGD, .momentum = 0.9, .nesterov = 1, .weight_decay = 0.01},
    {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8},
    {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01},
    {.kind = CR_ADAMW, .beta_1 = 0.9, .beta_2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.01},
    {.kind = CR_RMSPROP, .rho = 0.9, .epsilon = 1e-8},
    {.kind = CR_ADAGRAD, .epsilon = 1e-8},
    {.kind = CR_SGD, .clip_value = 0.1}, /* takes the general passes both times */
    {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8, .clip_norm = 0.1},
};
#define N_OPTIMIZERS (sizeof optimizers / sizeof optimizers[0])

/* What the k-th network is: the same for both dtypes and every target. */
typedef struct design {
    size_t n_in, n_layers, n_rows;
    cr_layer layers[MAX_LAYERS];
    cr_loss loss;
    const cr_optimizer *optimizer;
    int labels, weighted, ordered;
} design;

static uint64_t state;
static size_t n_run, n_finite;

/* One of 0 .. n-1 (Knuth's generator, the upper half). */
static size_t pick(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}

static double noise(void)
{
    return (double)pick(2001) / 1000.0 - 1.0;
}

/* 1 is common, and so are the widths about the lengths of vectors. */
static size_t pick_width(void)
{
    static const size_t special[] = {1, 1, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64};
    return pick(3) == 0 ? 1 + pick(64) : special[pick(sizeof special / sizeof special[0])];
}

static design pick_design(size_t k)
{
    state = 1000 * k + 17;
    design d = {.n_in = pick_width(), .n_layers = 1 + pick(MAX_LAYERS), .n_rows = 1 + pick(MAX_ROWS)};
    for (size_t i = 0; i < d.n_layers; i++) {
        int activation = (int)((k + 5 * i) % CR_N_ACTIVATIONS);
        activation = cr_activation_by_row(activation) ? CR_IDENTITY : activation;
        d.layers[i] = (cr_layer){.kind = CR_LAYER_DENSE, .n_out = pick_width(), .use_bias = pick(4) != 0,
                                 .activation = activation, .alpha = cr_activation_default_alpha(activation)};
    }
    d.loss = (cr_loss)(k % CR_N_LOSSES);
    d.optimizer = &optimizers[(k / 3) % N_OPTIMIZERS];
    d.labels = cr_loss_takes_labels((int)d.loss) && pick(2);
    if (d.loss == CR_CROSS_ENTROPY || d.loss == CR_POISSON) {
        d.layers[d.n_layers - 1].activation = CR_SIGMOID; /* their logarithms want positive outputs */
    }
    d.weighted = (int)pick(2);
    d.ordered = (int)pick(2);
    return d;
}

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "test_small.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "test_small.inc.h"
#include "kernels/dtype_end.h"

int main(void)
{
    const size_t step = cr_check_quick() ? 15 : 1;
    size_t n_small = 0;
    for (size_t t = 0; cr_check_isa(t); t++) {
        for (size_t k = 0; k < N_NETWORKS; k += step) {
            const design d = pick_design(k);
            n_small += cr_test_small_f32(&d, k);
            n_small += cr_test_small_f64(&d, k);
        }
    }
    /* That two paths give the same NaNs would prove little, and the last optimizers are not for the short way. */
    CHECK(2 * n_small > n_run && n_small < n_run, "%zu of %zu runs took the short way", n_small, n_run);
    CHECK(10 * n_finite > 9 * n_run, "only %zu of %zu runs stayed finite", n_finite, n_run);
    return cr_check_summary();
}
