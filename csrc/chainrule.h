/* chainrule.h - dense neural networks on CPUs: the public header of the C library.
 *
 * Conventions, stated once for every function below
 *   Shapes    x (n_rows, n_in), weight (n_in, n_out), bias (n_out); C order. ld_* is the distance
 *             between the starts of two rows, counted in elements, ld >= row length.
 *   Dtypes    each function exists as cr_<op>_f32 (float) and cr_<op>_f64 (double).
 *   Sizes     any size_t, 0 included; any alignment.
 *   Aliases   an output may be the very same array as an input only where the comment says so;
 *             partial overlap is never allowed.
 *   Status    functions that can fail return cr_status and change nothing when they do.
 *   Bits      results depend on data, shapes, dtype and seed alone: never on the instruction set,
 *             the number of threads, the other rows of the batch, or the alignment.
 *   FP mode   the caller's rounding and flush-to-zero modes are set aside and restored.
 */
#ifndef CHAINRULE_H
#define CHAINRULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CR_VERSION "0.1.0"

/* Reduction index p of every product is cut into blocks of this many terms (contract of bits, 1). */
#define CR_KB 256

typedef enum cr_status {
    CR_OK = 0,
    CR_BAD_ARGUMENT = 1, /* a size, kind or pointer that the contract excludes */
    CR_BAD_LABEL = 2,    /* a class label outside 0 .. n_classes - 1 */
    CR_BAD_TARGET = 3,   /* a NaN in the targets */
    CR_NO_MEMORY = 4,
    CR_NOT_AVAILABLE = 5 /* an ISA that this build or processor lacks */
} cr_status;

const char *cr_status_message(cr_status status);

typedef enum cr_dtype { CR_F32 = 32, CR_F64 = 64 } cr_dtype;

/* ---- kinds ------------------------------------------------------------------------------------ */

typedef enum cr_activation {
    CR_IDENTITY,
    CR_RELU,
    CR_LEAKY_RELU, /* alpha >= 0 */
    CR_SIGMOID,
    CR_TANH,
    CR_ELU,  /* alpha */
    CR_SELU,
    CR_CELU, /* alpha > 0 */
    CR_GELU,
    CR_GELU_TANH,
    CR_SILU,
    CR_MISH,
    CR_SOFTPLUS,
    CR_SOFTSIGN,
    CR_HARD_SIGMOID, /* clip(x / 6 + 1/2, 0, 1) */
    CR_HARD_SWISH,   /* x * hard_sigmoid(x) */
    CR_HARD_TANH,
    CR_RELU6,
    CR_EXPONENTIAL,
    CR_SOFTMAX,     /* by row */
    CR_LOG_SOFTMAX, /* by row */
    CR_N_ACTIVATIONS
} cr_activation;

const char *cr_activation_name(int kind);          /* "relu", ...; NULL outside the list */
int cr_activation_saves_input(int kind);           /* 1: the derivative needs x; 0: it needs y */
int cr_activation_by_row(int kind);                /* 1: softmax, log_softmax */
double cr_activation_default_alpha(int kind);      /* 0.01 leaky_relu, 1 elu and celu, else 0 */

/* Elementwise mathematics, errors in units in the last place: see docs of kernels/vmath.inc.h. */
typedef enum cr_function {
    CR_EXP,
    CR_LOG,
    CR_EXPM1,
    CR_LOG1P,
    CR_ERF,
    CR_N_FUNCTIONS
} cr_function;

typedef enum cr_loss {
    CR_SQUARED_ERROR,         /* 1/2 sum_j (p - t)^2 */
    CR_MEAN_SQUARED_ERROR,    /* mean_j (p - t)^2 */
    CR_ABSOLUTE_ERROR,        /* sum_j |p - t| */
    CR_HUBER,                 /* sum_j: d^2/2 if |d| <= delta, else delta (|d| - delta/2) */
    CR_LOG_COSH,              /* sum_j log cosh(p - t) */
    CR_QUANTILE,              /* sum_j max(q (t - p), (q - 1)(t - p)) */
    CR_POISSON,               /* sum_j p - t log p */
    CR_CROSS_ENTROPY,         /* -sum_j t log p, p probabilities */
    CR_SOFTMAX_CROSS_ENTROPY, /* -sum_j t log softmax(p)_j, p logits */
    CR_SIGMOID_CROSS_ENTROPY, /* sum_j softplus(p) - t p (pos_weight 1), p logits */
    CR_HINGE,                 /* sum_j max(0, 1 - t p), t = -1 or +1 */
    CR_N_LOSSES
} cr_loss;

const char *cr_loss_name(int kind);
int cr_loss_takes_labels(int kind); /* 1: cross_entropy and softmax_cross_entropy */

typedef struct cr_loss_options {
    double delta;           /* huber */
    double quantile;        /* quantile */
    double label_smoothing; /* softmax_ and sigmoid_cross_entropy, cross_entropy */
    double pos_weight;      /* sigmoid_cross_entropy; 1 for none */
} cr_loss_options;

typedef enum cr_optimizer_kind {
    CR_SGD,     /* state: velocity (if momentum != 0) */
    CR_ADAM,    /* state: m, v; weight decay added to the gradient */
    CR_ADAMW,   /* state: m, v; decoupled decay w -= lr * decay * w */
    CR_RMSPROP, /* state: v */
    CR_ADAGRAD, /* state: sum of squares */
    CR_N_OPTIMIZERS
} cr_optimizer_kind;

typedef struct cr_optimizer {
    cr_optimizer_kind kind;
    int nesterov;
    double momentum, weight_decay;
    double beta_1, beta_2, epsilon; /* Adam, AdamW; epsilon also RMSprop, Adagrad */
    double rho;                     /* RMSprop */
    double clip_norm, clip_value;   /* network steps only; 0: off */
} cr_optimizer;

/* Number of state arrays (0, 1 or 2), each as long as the parameters. */
int cr_optimizer_n_states(const cr_optimizer *optimizer);

/* ---- the processor ---------------------------------------------------------------------------- */

/* The chosen instruction set: "scalar", "avx2", "avx512" or "neon". */
const char *cr_isa(void);
/* Names of the sets that are built in (which = 0) or built in and usable here (which = 1); NULL past
 * the end of the list. Slowest first. */
const char *cr_isa_name(int which, size_t index);
/* Choose one by name; call it before other threads use the library. CR_NOT_AVAILABLE changes nothing. */
cr_status cr_set_isa(const char *name);
const char *cr_compiler(void);

size_t cr_cpu_count_available(void);
void cr_set_num_threads(size_t n); /* upper bound for later calls; 0 means the default */
size_t cr_get_num_threads(void);

/* ---- random numbers (counter based: Philox 4x32-10, Salmon et al. 2011) ------------------------- */

typedef enum cr_purpose { CR_PURPOSE_INIT = 1, CR_PURPOSE_SHUFFLE = 2, CR_PURPOSE_DROPOUT = 3, CR_PURPOSE_USER = 4 } cr_purpose;

/* Word `index` of stream (seed, purpose, stream, epoch): out[i] is word first_index + i. */
void cr_random_u32(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                   size_t n, uint32_t *out);
/* Uniform in [0, 1) with 53 bits; standard normal by the inverse CDF. Element i is number first_index + i of
 * its stream, made of words 2 (first_index + i) and the next. Limits of the names: philox.h. */
void cr_random_uniform(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                       size_t n, double *out);
void cr_random_normal(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                      size_t n, double *out);
/* order = a permutation of 0 .. n-1 (Fisher-Yates) fixed by (seed, epoch). */
void cr_random_permutation(uint64_t seed, uint64_t epoch, size_t n, int64_t *order);

/* ---- kernels on arrays, once per dtype ---------------------------------------------------------- */

#define CR_REAL float
#define CR_NAME(op) cr_##op##_f32
#include "chainrule_kernels.inc.h"
#undef CR_REAL
#undef CR_NAME
#define CR_REAL double
#define CR_NAME(op) cr_##op##_f64
#include "chainrule_kernels.inc.h"
#undef CR_REAL
#undef CR_NAME

/* ---- networks ------------------------------------------------------------------------------------ */

typedef enum cr_layer_kind {
    CR_LAYER_DENSE,
    CR_LAYER_ACTIVATION,
    CR_LAYER_DROPOUT,
    CR_LAYER_NORM,       /* layer normalisation over the features of a row */
    CR_LAYER_BATCH_NORM, /* batch normalisation over the rows of a batch */
    CR_N_LAYER_KINDS
} cr_layer_kind;

/* A layer as data. Parameters lie in the network's flat array layer by layer: dense weight then bias
 * (if use_bias), norm gamma then beta. Running mean then variance of batch norms lie in `running`. */
typedef struct cr_layer {
    cr_layer_kind kind;
    size_t n_out;    /* dense: units; every other kind: as many as come in (0 also means that) */
    int use_bias;    /* dense */
    int activation;  /* dense, activation: cr_activation */
    double alpha;    /* of that activation */
    double l1, l2;   /* dense: penalty l1 sum|w| + l2 sum w^2 on the weight, part of the loss */
    double rate;     /* dropout: probability of a zero, 0 <= rate < 1 */
    double epsilon;  /* norms */
    double momentum; /* batch norm: running = momentum * running + (1 - momentum) * batch */
} cr_layer;

typedef struct cr_network cr_network; /* opaque; owns only its work arrays */

/* The caller's arrays, all of the network's dtype; they must outlive the network. */
typedef struct cr_network_arrays {
    void *parameters, *gradients;  /* cr_network_sizes.n_parameters elements each */
    void *running;                 /* n_running elements, or NULL if that is 0 */
    void *state[2];                /* optimizer state, n_parameters elements each, or NULL */
} cr_network_arrays;

typedef struct cr_network_sizes {
    size_t n_parameters, n_running, n_out;
} cr_network_sizes;

/* Sizes that a description leads to; CR_BAD_ARGUMENT if the description is not sound or overflows. */
cr_status cr_network_measure(size_t n_in, size_t n_layers, const cr_layer *layers, cr_network_sizes *sizes);

/* A network over the caller's arrays. `arrays->state` may be NULL until an optimizer is set. */
cr_status cr_network_create(cr_dtype dtype, size_t n_in, size_t n_layers, const cr_layer *layers,
                            const cr_network_arrays *arrays, uint64_t seed, cr_network **network);
void cr_network_destroy(cr_network *network); /* NULL is allowed */

cr_status cr_network_set_loss(cr_network *network, cr_loss loss, const cr_loss_options *options);
/* state: arrays for the optimizer (cr_optimizer_n_states of them), zero or as saved. */
cr_status cr_network_set_optimizer(cr_network *network, const cr_optimizer *optimizer, void *state_0, void *state_1);

/* Counters that make a run resumable: optimizer steps taken; training forwards (keys dropout). */
uint64_t cr_network_steps(const cr_network *network);
uint64_t cr_network_forwards(const cr_network *network);
void cr_network_set_counters(cr_network *network, uint64_t steps, uint64_t forwards);

/* Make room for batches of up to n_rows; nothing after it allocates for such batches. */
cr_status cr_network_reserve(cr_network *network, size_t n_rows);

/* y = network(x) as at inference (dropout off, running statistics). Safe from several threads at once.
 * x, y, and every array below are of the network's dtype. */
cr_status cr_network_predict(cr_network *network, size_t n_rows, const void *x, size_t ld_x, void *y, size_t ld_y);

/* Explicit backpropagation. forward keeps what backward needs (x itself is borrowed until then, not
 * copied); training != 0 applies dropout, batch statistics and counts a training forward. backward
 * takes dy = dLoss/dy of the last forward, writes (not adds) the gradients as plain sums over rows,
 * without penalties, and dx unless it is NULL. CR_BAD_ARGUMENT if no forward of n_rows came before. */
cr_status cr_network_forward(cr_network *network, size_t n_rows, const void *x, size_t ld_x, int training,
                             void *y, size_t ld_y);
cr_status cr_network_backward(cr_network *network, size_t n_rows, const void *dy, size_t ld_dy, void *dx, size_t ld_dx);
/* Add penalty gradients, clip, apply the optimizer with the gradients as they stand; one step. */
cr_status cr_network_update(cr_network *network, double learning_rate);
/* Sum of the penalties l1 sum|w| + l2 sum w^2. */
double cr_network_penalty(const cr_network *network);

/* The rows a training call sees. Exactly one of target and labels is not NULL. */
typedef struct cr_rows {
    size_t n_rows;
    const void *x;          /* (n_rows, n_in) */
    size_t ld_x;
    const void *target;     /* (n_rows, n_out) */
    size_t ld_target;
    const int32_t *labels;  /* (n_rows) class labels, or NULL */
    const void *weight;     /* (n_rows) sample weights, or NULL for ones */
} cr_rows;

/* One step on one batch: forward(training), loss, backward, update. *loss is the loss before the
 * update, penalties included. Checks labels and NaN targets before it changes anything. The gradient array
 * holds unspecified values afterwards: most gradients never reach memory. Rows without any weight have loss 0. */
cr_status cr_network_train_step(cr_network *network, const cr_rows *rows, double learning_rate, double *loss);

/* Loss of one batch as train_step reports it, but as at inference: no dropout, nothing changed. */
cr_status cr_network_evaluate(cr_network *network, const cr_rows *rows, double *loss, void *prediction, size_t ld_prediction);

/* Steps first_step .. of one epoch over `rows` in the given order: batch b is rows order[b*batch_size
 * ...] (order NULL: as they stand; else rows->n_rows is its length); the last batch may be short. learning_rate[i] is for step i of this
 * call's epoch (n_learning_rates = 1: the same for all). step_loss[i] receives step i's loss. Stops at
 * the first step that ends after `seconds`, or right after a step whose loss is not finite (so the caller
 * can see it), and tells in *next_step where to go on (= number of batches when the epoch is done).
 * Labels, targets, orders are checked by cr_network_check_rows, not here. */
cr_status cr_network_fit(cr_network *network, const cr_rows *rows, const int64_t *order, size_t batch_size,
                         const double *learning_rate, size_t n_learning_rates, size_t first_step, double seconds,
                         double *step_loss, size_t *next_step);
/* CR_BAD_LABEL / CR_BAD_TARGET, with *row the first bad row; CR_OK otherwise. */
cr_status cr_network_check_rows(const cr_network *network, const cr_rows *rows, size_t *row);

#ifdef __cplusplus
}
#endif
#endif
