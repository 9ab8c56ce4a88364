/* chainrule.h - dense neural networks on CPUs: the public header of the C library.
 *
 * Conventions, stated once for every function below
 *   Shapes    x (n_rows, n_in), weight (n_in, n_out), bias (n_out); C order. ld_* is the distance
 *             between the starts of two rows, counted in elements, ld >= row length.
 *   Dtypes    each function exists as cr_<op>_f32 (float) and cr_<op>_f64 (double).
 *   Sizes     any size_t, 0 included; any alignment.
 *   Aliases   an output may be the very same array as an input only where the comment says so;
 *             partial overlap is never allowed.
 *   Status    functions that can fail return cr_status and change nothing when they do. Functions on arrays trust that
 *             pointers and distances are as described; those of networks look.
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

#define CR_VERSION "0.2.0.dev0"

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

typedef enum cr_dtype { CR_F32 = 32, CR_F64 = 64 } cr_dtype;

/* ---- kinds ------------------------------------------------------------------------------------ */

typedef enum cr_activation {
    CR_IDENTITY,
    CR_RELU,
    CR_LEAKY_RELU, /* alpha >= 0 */
    CR_SIGMOID,
    CR_TANH,
    CR_ELU,  /* alpha >= 0 */
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

/* Elementwise mathematics, in error by about 2 units in the last place at most; the table of errors by function is
 * in csrc/kernels/README.md of the source distribution. */
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

/* All finite; a loss looks at its own alone. */
typedef struct cr_loss_options {
    double delta;           /* huber: > 0 */
    double quantile;        /* quantile: > 0, < 1 */
    double label_smoothing; /* softmax_ and sigmoid_cross_entropy, cross_entropy: >= 0, < 1 */
    double pos_weight;      /* sigmoid_cross_entropy: > 0; 1 for none */
} cr_loss_options;

typedef enum cr_optimizer_kind {
    CR_SGD,     /* state: velocity (if momentum != 0) */
    CR_ADAM,    /* state: m, v; weight decay added to the gradient */
    CR_ADAMW,   /* state: m, v; decoupled decay w -= lr * decay * w */
    CR_RMSPROP, /* state: v */
    CR_ADAGRAD, /* state: sum of squares */
    CR_N_OPTIMIZERS
} cr_optimizer_kind;

/* All finite and >= 0; what is narrower holds for the kinds named. */
typedef struct cr_optimizer {
    cr_optimizer_kind kind;
    int nesterov;
    double momentum;              /* SGD: < 1 */
    double weight_decay;
    double beta_1, beta_2;        /* Adam, AdamW: < 1 */
    double epsilon;               /* Adam, AdamW, RMSprop, Adagrad: > 0 in a network */
    double rho;                   /* RMSprop: < 1 */
    double clip_norm, clip_value; /* network steps only; 0: off */
} cr_optimizer;

typedef enum cr_purpose {
    CR_PURPOSE_INIT = 1,
    CR_PURPOSE_SHUFFLE = 2,
    CR_PURPOSE_DROPOUT = 3,
    CR_PURPOSE_USER = 4
} cr_purpose;

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
} cr_network_arrays;

typedef struct cr_network_sizes {
    size_t n_parameters, n_running, n_out;
} cr_network_sizes;

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

#include "chainrule_functions.inc.h"

#ifdef __cplusplus
}
#endif
#endif
