/* test_network.c - whole networks: the paths agree bit for bit, the gradients are right, errors change nothing.
 * What runs in both dtypes stands in test_network.inc.h. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
#include <malloc.h>
#define BYTES_IN_USE() (mallinfo2().uordblks + mallinfo2().hblkhd)
#else
#define BYTES_IN_USE() ((size_t)0)
#endif

#include "check.h"
#include "network/network.h"

/* ---- networks to test ---------------------------------------------------------------------------------- */

#define DENSE(n, f, ...) {.kind = CR_LAYER_DENSE, .n_out = (n), .activation = (f), __VA_ARGS__}
#define ACTIVATION(f, a) {.kind = CR_LAYER_ACTIVATION, .activation = (f), .alpha = (a)}
#define DROPOUT(p) {.kind = CR_LAYER_DROPOUT, .rate = (p)}
#define LAYER_NORM {.kind = CR_LAYER_NORM, .epsilon = 1e-5}
#define BATCH_NORM(m) {.kind = CR_LAYER_BATCH_NORM, .epsilon = 1e-5, .momentum = (m)}
#define PLAIN .use_bias = 1

typedef struct design {
    const char *name;
    size_t n_in, n_rows, n_layers;
    cr_loss loss;
    int labels;
    cr_layer layers[12];
} design;

/* One output: targets in (0, 1); several with labels or rows of probabilities: all losses below accept both. */
static const design designs[] = {
    {"tiny", 4, 5, 2, CR_MEAN_SQUARED_ERROR, 0, {DENSE(16, CR_TANH, PLAIN), DENSE(1, CR_IDENTITY, PLAIN)}},
    {"one row", 4, 1, 2, CR_SQUARED_ERROR, 0, {DENSE(16, CR_RELU, PLAIN), DENSE(1, CR_SIGMOID, PLAIN)}},
    {"classifier", 13, 37, 3, CR_SOFTMAX_CROSS_ENTROPY, 1,
     {DENSE(31, CR_RELU, PLAIN), DENSE(17, CR_ELU, .alpha = 1.0, .use_bias = 1), DENSE(5, CR_IDENTITY, PLAIN)}},
    {"penalties", 13, 37, 2, CR_SIGMOID_CROSS_ENTROPY, 0,
     {DENSE(40, CR_SILU, .l2 = 1e-2, .use_bias = 1), DENSE(7, CR_IDENTITY, .l1 = 1e-3, .use_bias = 1)}},
    {"softmax inside", 9, 21, 4, CR_CROSS_ENTROPY, 1,
     {DENSE(11, CR_GELU, PLAIN), DENSE(6, CR_SOFTMAX, PLAIN), DENSE(6, CR_TANH, PLAIN), ACTIVATION(CR_SOFTMAX, 0.0)}},
    {"everything", 7, 24, 12, CR_HUBER, 0,
     {BATCH_NORM(0.9), DENSE(20, CR_GELU, .l1 = 1e-3, .l2 = 1e-3, .use_bias = 1), DROPOUT(0.3), LAYER_NORM,
      DENSE(12, CR_IDENTITY, .use_bias = 0), BATCH_NORM(0.8), ACTIVATION(CR_SOFTPLUS, 0.0),
      ACTIVATION(CR_MISH, 0.0), DENSE(9, CR_LEAKY_RELU, .alpha = 0.1, .use_bias = 1), DROPOUT(0.0),
      DENSE(3, CR_SOFTSIGN, PLAIN), ACTIVATION(CR_SELU, 0.0)}},
    {"norm on top", 6, 18, 3, CR_SQUARED_ERROR, 0, {DENSE(8, CR_TANH, PLAIN), BATCH_NORM(0.5), LAYER_NORM}},
    {"no parameters", 4, 6, 2, CR_SQUARED_ERROR, 0, {ACTIVATION(CR_TANH, 0.0), DROPOUT(0.5)}},
    /* Wide enough for several threads, several slabs and more than one block of CR_KB rows and terms. */
    {"wide", 60, 265, 3, CR_SOFTMAX_CROSS_ENTROPY, 1,
     {DENSE(250, CR_RELU, PLAIN), DENSE(270, CR_SIGMOID, .l1 = 1e-5, .l2 = 1e-4, .use_bias = 1),
      DENSE(10, CR_IDENTITY, PLAIN)}},
    {"wide plain", 262, 260, 2, CR_MEAN_SQUARED_ERROR, 0, {DENSE(90, CR_RELU, PLAIN), DENSE(33, CR_IDENTITY, PLAIN)}},
    {"wide norms", 60, 290, 7, CR_SQUARED_ERROR, 0,
     {BATCH_NORM(0.9), DENSE(270, CR_IDENTITY, .use_bias = 0), BATCH_NORM(0.9), ACTIVATION(CR_RELU, 0.0),
      DROPOUT(0.2), LAYER_NORM, DENSE(8, CR_TANH, PLAIN)}},
};
enum { N_DESIGNS = sizeof designs / sizeof designs[0] };
static size_t n_designs = N_DESIGNS; /* how many of them are run; the large ones are the last */

static const design *design_named(const char *name)
{
    for (size_t i = 0; i < N_DESIGNS; i++) {
        if (strcmp(designs[i].name, name) == 0) {
            return &designs[i];
        }
    }
    return NULL;
}

#define COMMON .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8, .rho = 0.9
static const struct {
    const char *name;
    double learning_rate;
    cr_optimizer optimizer;
} optimizers[] = {
    {"sgd", 0.1, {.kind = CR_SGD, COMMON}},
    {"sgd decay", 0.1, {.kind = CR_SGD, .weight_decay = 1e-2, COMMON}},
    {"sgd nesterov", 0.05, {.kind = CR_SGD, .momentum = 0.9, .nesterov = 1, COMMON}},
    {"sgd clipped", 0.5, {.kind = CR_SGD, .clip_norm = 0.05, .clip_value = 0.01, COMMON}},
    {"sgd clip value", 0.5, {.kind = CR_SGD, .clip_value = 0.01, COMMON}},
    {"adam", 0.01, {.kind = CR_ADAM, COMMON}},
    {"adamw clipped", 0.01, {.kind = CR_ADAMW, .weight_decay = 1e-2, .clip_norm = 0.1, COMMON}},
    {"rmsprop", 0.01, {.kind = CR_RMSPROP, COMMON}},
    {"adagrad", 0.01, {.kind = CR_ADAGRAD, COMMON}},
};
enum { N_OPTIMIZERS_TESTED = sizeof optimizers / sizeof optimizers[0] };

static const cr_loss_options loss_options = {.delta = 1.0, .quantile = 0.5, .label_smoothing = 0.1, .pos_weight = 1.0};

/* Numbers in (-1, 1), the same everywhere. */
static double noise(uint64_t index)
{
    uint64_t z = (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-52 - 1.0;
}

#define CR_DTYPE 32
#define DTYPE CR_F32
#include "kernels/dtype.h"
#include "test_network.inc.h"
#include "kernels/dtype_end.h"
#undef DTYPE
#define CR_DTYPE 64
#define DTYPE CR_F64
#include "kernels/dtype.h"
#include "test_network.inc.h"
#include "kernels/dtype_end.h"

/* ---- the textbook, by hand ----------------------------------------------------------------------------- */

/* A 2-2-1 network of sigmoids with E = 1/2 (o - t)^2, as lectures do it on the board. */
static void test_by_hand(void)
{
    const cr_layer layers[] = {DENSE(2, CR_SIGMOID, PLAIN), DENSE(1, CR_SIGMOID, PLAIN)};
    /* w1 (2, 2), b1 (2), w2 (2, 1), b2 (1) */
    double w[] = {0.15, 0.25, 0.20, 0.30, 0.35, 0.36, 0.40, 0.45, 0.60};
    double gradient[9];
    const double x[] = {0.05, 0.10}, target = 0.01, eta = 0.5;

    double hidden[2], expected[9];
    for (int j = 0; j < 2; j++) {
        hidden[j] = 1.0 / (1.0 + exp(-(x[0] * w[j] + x[1] * w[2 + j] + w[4 + j])));
    }
    const double o = 1.0 / (1.0 + exp(-(hidden[0] * w[6] + hidden[1] * w[7] + w[8])));
    const double delta = (o - target) * o * (1.0 - o); /* dE/dz of the output */
    for (int j = 0; j < 2; j++) {
        const double delta_hidden = delta * w[6 + j] * hidden[j] * (1.0 - hidden[j]);
        expected[j] = delta_hidden * x[0];
        expected[2 + j] = delta_hidden * x[1];
        expected[4 + j] = delta_hidden;
        expected[6 + j] = delta * hidden[j];
    }
    expected[8] = delta;

    const cr_network_arrays arrays = {.parameters = w, .gradients = gradient};
    cr_network *net = NULL;
    CHECK(cr_network_create(CR_F64, 2, 2, layers, &arrays, 0, &net) == CR_OK, "create");
    CHECK(cr_network_set_loss(net, CR_SQUARED_ERROR, &loss_options) == CR_OK, "set_loss");
    CHECK(cr_network_set_optimizer(net, &optimizers[0].optimizer, NULL, NULL) == CR_OK, "set_optimizer");
    double y, dy;
    CHECK(cr_network_forward(net, 1, x, 2, 1, &y, 1) == CR_OK && fabs(y - o) < 1e-15, "output %.17g, not %.17g", y, o);
    dy = y - target;
    CHECK(cr_network_backward(net, 1, &dy, 1, NULL, 0) == CR_OK, "backward");
    double before[9];
    memcpy(before, w, sizeof w);
    for (int i = 0; i < 9; i++) {
        CHECK(fabs(gradient[i] - expected[i]) <= 1e-14 * fabs(expected[i]), "dE/dw[%d] = %.17g, by hand %.17g", i,
              gradient[i], expected[i]);
    }
    const cr_rows rows = {.n_rows = 1, .x = x, .ld_x = 2, .target = &target, .ld_target = 1};
    double loss = 0.0;
    CHECK(cr_network_backward(net, 1, &dy, 1, NULL, 0) == CR_OK, "backward once more");
    CHECK(cr_network_update(net, 0.0) == CR_OK, "update");
    CHECK(cr_network_backward(net, 1, &dy, 1, NULL, 0) == CR_BAD_ARGUMENT, "backward through updated weights");
    CHECK(cr_network_train_step(net, &rows, eta, &loss) == CR_OK, "train_step");
    CHECK(fabs(loss - 0.5 * (o - target) * (o - target)) < 1e-15, "loss %.17g", loss);
    for (int i = 0; i < 9; i++) {
        CHECK(fabs(w[i] - (before[i] - eta * expected[i])) < 1e-15, "w[%d] := w - eta dE/dw", i);
    }
    cr_network_destroy(net);
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

/* Loss of a training forward whose dropout masks are those of forward 0. The running statistics move, but a training
 * forward does not look at them. */
static double training_loss(cr_subject_f64 *s, const cr_rows *r, double *y, double *dy)
{
    double loss = 0.0;
    cr_network_set_counters(s->net, 0, 0);
    cr_network_forward(s->net, r->n_rows, r->x, r->ld_x, 1, y, s->sizes.n_out);
    cr_loss_f64(s->design->loss, &loss_options, 1, r->n_rows, s->sizes.n_out, y, s->sizes.n_out, r->target,
                r->ld_target, r->labels, r->weight, dy, s->sizes.n_out, &loss);
    return loss;
}

/* The slope of the training loss along *value by central differences. */
static double slope(cr_subject_f64 *s, const cr_rows *r, double *y, double *value)
{
    const double step = 1e-5, kept = *value;
    *value = kept + step;
    const double above = training_loss(s, r, y, NULL);
    *value = kept - step;
    const double below = training_loss(s, r, y, NULL);
    *value = kept;
    return (above - below) / (2.0 * step);
}

/* backward against central differences, for some 60 parameters and 20 inputs of each design, of which the large ones
 * get 11 rows. A central difference is off by step^2 = 1e-10 times a sixth of the third derivative, and by some
 * roundings of the loss over step, 1e-11 each: 8e-10 of the largest slope at most. */
static void test_gradients(void)
{
    for (size_t k = 0; k < n_designs; k++) {
        cr_subject_f64 s = cr_subject_new_f64(&designs[k], &optimizers[0].optimizer, 1);
        const size_t n_rows = s.design->n_rows < 40 ? s.design->n_rows : 11, n = s.sizes.n_parameters;
        const cr_rows r = cr_rows_f64(&s, 0, n_rows);
        double *y = malloc(n_rows * s.sizes.n_out * sizeof *y), *dy = malloc(n_rows * s.sizes.n_out * sizeof *dy);
        double *dx = malloc(n_rows * s.design->n_in * sizeof *dx);
        training_loss(&s, &r, y, dy);
        CHECK(cr_network_backward(s.net, n_rows, dy, s.sizes.n_out, dx, s.design->n_in) == CR_OK, "backward");
        double worst = 0.0, largest = 1e-3;
        for (size_t i = 0; i < n; i += 1 + n / 60) {
            const double expected = slope(&s, &r, y, &s.parameters[i]);
            worst = fmax(worst, fabs(expected - s.gradients[i]));
            largest = fmax(largest, fabs(expected));
        }
        for (size_t i = 0; i < n_rows * s.design->n_in; i += 1 + n_rows * s.design->n_in / 20) {
            const size_t row = i / s.design->n_in, column = i % s.design->n_in;
            const double expected = slope(&s, &r, y, &s.x[row * s.ld_x + column]);
            worst = fmax(worst, fabs(expected - dx[i]));
            largest = fmax(largest, fabs(expected));
        }
        CHECK(worst <= 1e-8 * largest, "%s: gradient off by %g of %g", s.design->name, worst, largest);
        free(y);
        free(dy);
        free(dx);
        cr_subject_free_f64(&s);
    }
}

/* ---- descriptions that must be refused ----------------------------------------------------------------- */

/* Settings that are good as doubles and not as floats: a network of double takes them, one of float does not. */
static void test_settings_as_floats(void)
{
    static const cr_layer layers[] = {
        {.kind = CR_LAYER_NORM, .epsilon = 1e-50},
        {.kind = CR_LAYER_NORM, .epsilon = 0x1p-150}, /* halfway to the least float: rounds to 0 */
        {.kind = CR_LAYER_BATCH_NORM, .epsilon = 1e-50, .momentum = 0.9},
        {.kind = CR_LAYER_BATCH_NORM, .epsilon = 1e50, .momentum = 0.9},
        DENSE(3, CR_CELU, .alpha = 1e-50, .use_bias = 1),
        ACTIVATION(CR_CELU, 1e50),
        ACTIVATION(CR_ELU, 0x1.ffffffp127), /* halfway beyond the greatest float */
        DENSE(3, CR_IDENTITY, .l2 = 1e50, .use_bias = 1),
    };
    static const cr_optimizer rules[] = {
        {.kind = CR_ADAM, .epsilon = 1e-50},      {.kind = CR_ADAMW, .epsilon = 1e-50},
        {.kind = CR_RMSPROP, .epsilon = 1e-50},   {.kind = CR_ADAGRAD, .epsilon = 1e50},
        {.kind = CR_SGD, .weight_decay = 1e50},   {.kind = CR_SGD, .clip_value = 1e-50},
    };
    double parameters[15] = {0}, gradients[15], running[8] = {0}, state[2][15] = {{0}};
    const cr_network_arrays arrays = {.parameters = parameters, .gradients = gradients, .running = running};
    const cr_loss_options narrow = {.delta = 1e-50, .pos_weight = 1e50};
    cr_network *net = NULL;
    for (int wide = 0; wide < 2; wide++) {
        const cr_dtype dtype = wide ? CR_F64 : CR_F32;
        const cr_status expected = wide ? CR_OK : CR_BAD_ARGUMENT;
        for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
            cr_network_sizes sizes;
            CHECK(cr_network_measure(4, 1, &layers[i], &sizes) == CR_OK, "measure %zu", i);
            CHECK(cr_network_create(dtype, 4, 1, &layers[i], &arrays, 0, &net) == expected, "f%d, layer %zu", dtype, i);
            cr_network_destroy(net);
            net = NULL;
        }
        const cr_layer plain = DENSE(3, CR_ELU, .alpha = 1e-50, .l1 = 1e-50, .use_bias = 1); /* 0 will do as well */
        CHECK(cr_network_create(dtype, 4, 1, &plain, &arrays, 0, &net) == CR_OK, "create");
        for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
            CHECK(cr_network_set_optimizer(net, &rules[i], state[0], state[1]) == expected, "f%d, rule %zu", dtype, i);
        }
        CHECK(cr_network_set_loss(net, CR_HUBER, &narrow) == expected, "f%d, delta", dtype);
        CHECK(cr_network_set_loss(net, CR_SIGMOID_CROSS_ENTROPY, &narrow) == expected, "f%d, pos_weight", dtype);
        cr_network_destroy(net);
        net = NULL;
    }
}

static void test_refusals(void)
{
    static const cr_layer bad[] = {
        DENSE(0, CR_RELU, PLAIN),
        DENSE(3, CR_N_ACTIVATIONS, PLAIN),
        DENSE(3, -1, PLAIN),
        DENSE(3, CR_LEAKY_RELU, .alpha = -0.1, .use_bias = 1),
        DENSE(3, CR_CELU, .alpha = 0.0, .use_bias = 1),
        DENSE(3, CR_ELU, .alpha = NAN, .use_bias = 1),
        DENSE(3, CR_ELU, .alpha = -0.1, .use_bias = 1),
        ACTIVATION(CR_ELU, -1.0),
        DENSE(3, CR_RELU, .l1 = -1.0, .use_bias = 1),
        DENSE(3, CR_RELU, .l2 = INFINITY, .use_bias = 1),
        DENSE(SIZE_MAX / 2, CR_RELU, PLAIN),
        ACTIVATION(CR_N_ACTIVATIONS, 0.0),
        DROPOUT(1.0),
        DROPOUT(-0.1),
        DROPOUT(NAN),
        {.kind = CR_LAYER_NORM, .epsilon = 0.0},
        {.kind = CR_LAYER_NORM, .epsilon = 1e-5, .n_out = 5},
        {.kind = CR_LAYER_BATCH_NORM, .epsilon = 1e-5, .momentum = 1.5},
        {.kind = CR_LAYER_BATCH_NORM, .epsilon = NAN, .momentum = 0.5},
        {.kind = CR_N_LAYER_KINDS},
    };
    cr_network_sizes sizes;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(cr_network_measure(4, 1, &bad[i], &sizes) == CR_BAD_ARGUMENT, "bad layer %zu was accepted", i);
    }
    const cr_layer good = DENSE(3, CR_RELU, PLAIN);
    CHECK(cr_network_measure(4, 1, &good, &sizes) == CR_OK && sizes.n_parameters == 15 && sizes.n_out == 3, "4-3");
    CHECK(cr_network_measure(0, 1, &good, &sizes) == CR_BAD_ARGUMENT, "no input");
    CHECK(cr_network_measure(4, 0, &good, &sizes) == CR_BAD_ARGUMENT, "no layers");
    CHECK(cr_network_measure(SIZE_MAX, 1, &good, &sizes) == CR_BAD_ARGUMENT, "endless input");

    double parameters[15] = {0}, gradients[15];
    const cr_network_arrays arrays = {.parameters = parameters, .gradients = gradients};
    const cr_network_arrays none = {0};
    cr_network *net = NULL;
    CHECK(cr_network_create((cr_dtype)16, 4, 1, &good, &arrays, 0, &net) == CR_BAD_ARGUMENT, "dtype");
    CHECK(cr_network_create(CR_F64, 4, 1, &good, &none, 0, &net) == CR_BAD_ARGUMENT, "no arrays");
    CHECK(cr_network_create(CR_F64, 4, 1, &good, &arrays, 0, &net) == CR_OK, "create");
    test_settings_as_floats();
    double x[4] = {0}, y[3] = {0}, loss;
    size_t row;
    const cr_rows rows = {.n_rows = 1, .x = x, .ld_x = 4, .target = y, .ld_target = 3};
    CHECK(cr_network_train_step(net, &rows, 0.1, &loss) == CR_BAD_ARGUMENT, "train_step without loss");
    CHECK(cr_network_evaluate(net, &rows, &loss, NULL, 0) == CR_BAD_ARGUMENT, "evaluate without loss");
    CHECK(cr_network_update(net, 0.1) == CR_BAD_ARGUMENT, "update without optimizer");
    CHECK(cr_network_backward(net, 1, y, 3, NULL, 0) == CR_BAD_ARGUMENT, "backward without forward");
    CHECK(cr_network_predict(net, 1, x, 3, y, 3) == CR_BAD_ARGUMENT, "ld_x too small");
    CHECK(cr_network_predict(net, 1, NULL, 4, y, 3) == CR_BAD_ARGUMENT, "no x");
    CHECK(cr_network_predict(net, 0, NULL, 4, NULL, 3) == CR_OK, "no rows are fine");
    CHECK(cr_network_reserve(net, SIZE_MAX / 4) == CR_NO_MEMORY, "a reserve that cannot be");
    CHECK(cr_network_set_loss(net, CR_N_LOSSES, &loss_options) == CR_BAD_ARGUMENT, "loss kind");
    static const struct {
        cr_loss loss;
        cr_loss_options options;
    } bad_losses[] = {
        {CR_HUBER, {.delta = 0.0}},
        {CR_HUBER, {.delta = INFINITY}},
        {CR_QUANTILE, {.quantile = 0.0}},
        {CR_QUANTILE, {.quantile = 1.0}},
        {CR_SIGMOID_CROSS_ENTROPY, {.pos_weight = 0.0}},
        {CR_SIGMOID_CROSS_ENTROPY, {.pos_weight = INFINITY}},
        {CR_SOFTMAX_CROSS_ENTROPY, {.label_smoothing = 1.0}},
        {CR_CROSS_ENTROPY, {.label_smoothing = -0.1}},
    };
    for (size_t i = 0; i < sizeof bad_losses / sizeof bad_losses[0]; i++) {
        CHECK(cr_network_set_loss(net, bad_losses[i].loss, &bad_losses[i].options) == CR_BAD_ARGUMENT,
              "bad loss %zu was accepted", i);
    }
    const cr_loss_options options = {.delta = 0.0};
    CHECK(cr_network_set_loss(net, CR_SQUARED_ERROR, &options) == CR_OK, "delta means nothing here");
    cr_rows labelled = rows;
    const int32_t label = 1;
    labelled.target = NULL;
    labelled.labels = &label;
    CHECK(cr_network_check_rows(net, &labelled, &row) == CR_BAD_ARGUMENT, "labels for squared_error");
    labelled.target = y;
    CHECK(cr_network_check_rows(net, &labelled, &row) == CR_BAD_ARGUMENT, "labels and target");
    const cr_optimizer adam = optimizers[5].optimizer;
    CHECK(cr_network_set_optimizer(net, &adam, NULL, NULL) == CR_BAD_ARGUMENT, "adam without state");
    static const cr_optimizer bad_optimizers[] = {
        {.kind = CR_ADAM, .beta_1 = 1.0, .beta_2 = 0.999, .epsilon = 1e-8},
        {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = NAN, .epsilon = 1e-8},
        {.kind = CR_ADAMW, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 0.0},
        {.kind = CR_RMSPROP, .rho = 1.0, .epsilon = 1e-8},
        {.kind = CR_RMSPROP, .rho = 0.9, .epsilon = 0.0},
        {.kind = CR_ADAGRAD, .epsilon = 0.0},
        {.kind = CR_SGD, .momentum = 1.0},
        {.kind = CR_SGD, .weight_decay = INFINITY},
        {.kind = CR_SGD, .clip_value = -1.0},
    };
    double state[2][15] = {{0}};
    for (size_t i = 0; i < sizeof bad_optimizers / sizeof bad_optimizers[0]; i++) {
        CHECK(cr_network_set_optimizer(net, &bad_optimizers[i], state[0], state[1]) == CR_BAD_ARGUMENT,
              "bad optimizer %zu was accepted", i);
    }
    CHECK(cr_network_train_step(net, &rows, 0.1, &loss) == CR_BAD_ARGUMENT, "train_step without optimizer");
    /* The counters end at 2^63 - 1: no step is taken as number 0, which no optimizer can take. */
    const uint64_t most = INT64_MAX;
    const double rate = 0.1;
    double step_loss[2];
    size_t next;
    cr_rows two = rows;
    two.n_rows = 2;
    double both[8] = {0};
    two.x = two.target = both;
    CHECK(cr_network_set_optimizer(net, &adam, state[0], state[1]) == CR_OK, "adam");
    CHECK(cr_network_set_counters(net, most + 1, 0) == CR_BAD_ARGUMENT, "too many steps");
    CHECK(cr_network_set_counters(net, 0, UINT64_MAX) == CR_BAD_ARGUMENT, "too many forwards");
    CHECK(cr_network_set_counters(net, most - 1, 0) == CR_OK, "the last step but one");
    CHECK(cr_network_fit(net, &two, NULL, 1, &rate, 1, 0, 1.0, step_loss, &next) == CR_BAD_ARGUMENT,
          "one step too many");
    CHECK(cr_network_train_step(net, &rows, rate, &loss) == CR_OK && cr_network_steps(net) == most, "the last step");
    CHECK(cr_network_train_step(net, &rows, rate, &loss) == CR_BAD_ARGUMENT, "train_step at the end");
    CHECK(cr_network_update(net, rate) == CR_BAD_ARGUMENT && cr_network_steps(net) == most, "update at the end");
    CHECK(cr_network_set_counters(net, 0, most) == CR_OK, "the last forward");
    CHECK(cr_network_forward(net, 1, x, 4, 1, y, 3) == CR_BAD_ARGUMENT, "forward at the end");
    CHECK(cr_network_forward(net, 1, x, 4, 0, y, 3) == CR_OK, "forward that does not count");
    CHECK(cr_network_train_step(net, &rows, rate, &loss) == CR_BAD_ARGUMENT, "train_step after the last forward");
    cr_network_destroy(net);
    cr_network_destroy(NULL);
    CHECK(cr_network_steps(NULL) == 0 && cr_network_forwards(NULL) == 0, "counters of no network");
    CHECK(cr_network_set_counters(NULL, 1, 1) == CR_BAD_ARGUMENT, "counters for no network");
    CHECK(isnan(cr_network_penalty(NULL)), "penalty of no network");
}

int main(void)
{
    if (cr_check_quick()) {
        n_designs = (size_t)(design_named("wide") - designs);
    }
    test_by_hand();
    test_refusals();
    cr_test_network_f32();
    cr_test_network_f64();
    test_gradients();
    return cr_check_summary();
}
