/* network.h - a network as data: layer records, work arrays, settings. Private to network/.
 *
 * network.c holds what does not depend on the dtype and passes the rest on to the functions declared at
 * the end, which exist once per dtype: network_f32.c and network_f64.c include small, plan, forward, backward,
 * columns, parameters, update and fit .inc.h, each written once with REAL and RN(name).
 */
#ifndef CR_NETWORK_H
#define CR_NETWORK_H

#include <stdatomic.h>

#include "../kernel_table.h"
#include "../pace.h"

#define CR_NONE ((size_t)-1)

/* The greatest counter of steps or forwards: what Python's files and other libraries' signed integers hold. */
#define CR_COUNTER_MAX ((uint64_t)INT64_MAX)

/* ---- what a layer is ----------------------------------------------------------------------------------- */

/* A layer, checked and completed. Offsets count elements of the flat arrays. */
typedef struct cr_record {
    cr_layer_kind kind;
    size_t n_in, n_out;
    size_t ld;            /* between rows of its work arrays */
    size_t weight, bias;  /* dense: weight and bias; norms: gamma and beta; CR_NONE: it has none */
    size_t running;       /* batch norm: mean here, variance n_out further on */
    int activation;       /* CR_IDENTITY for all but dense and activation layers */
    int saves_input;      /* its derivative needs the input of the activation rather than the output */
    int by_row; /* its activation looks at whole rows: softmax, log-softmax */
    int active;           /* does something at inference: not dropout, not an identity activation */
    /* The dense layer above applies this layer's f' in the epilogue of its input gradient. */
    int derivative_above;
    /* Layers with parameters keep their gradient (dz of a dense layer, dy of a norm) until the parameter
     * gradients are made; the layers between work in place. keeper: the nearest such layer at or below this
     * one, where the gradient of this layer's output lies; CR_NONE: there is none. */
    size_t keeper;
    double alpha, l1, l2, rate, epsilon, momentum;
} cr_record;

/* ---- work arrays --------------------------------------------------------------------------------------- */

/* The arrays of one layer in the arena, rows at distance ld; NULL where the layer needs none. */
typedef struct cr_buffers {
    void *output;            /* (n_rows, n_out) */
    void *pre;               /* dense with a saves_input activation: x w + b */
    void *delta;             /* keepers: the gradient they keep */
    void *mean, *inverse_std; /* layer norm: one a row; batch norm: one a column */
    size_t ld;
} cr_buffers;

/* Everything a training step writes besides the caller's arrays: one block of memory. */
typedef struct cr_arena {
    void *block;             /* what to free; NULL: nothing reserved yet */
    size_t n_rows, n_workers; /* capacity */
    cr_buffers *layers;
    double *row_loss;        /* n_rows */
    double *norm_parts;      /* sums of squares of the parameter ranges */
    size_t *first_task;      /* n_layers + 1: see parameters.inc.h */
    void *x, *target, *weight; /* rows gathered by fit */
    int32_t *labels;
    size_t ld_x, ld_target;
    void *scratch;           /* CR_SCRATCH_MAX elements a worker */
    void *slab;              /* slab_size elements a worker */
    size_t slab_size;
    void *small;             /* the layers of small steps; NULL: the network takes the general passes only */
    size_t small_lanes;      /* elements of a vector that their rows are padded for; 0: not yet */
} cr_arena;

/* Buffers for predict: a block of rows through all layers, twice (from one to the other), a worker. */
typedef struct cr_workspace {
    void *block;             /* what to free; this struct stands at its start */
    size_t n_workers;
    size_t ld;               /* of the widest layer in the two buffers */
    void *buffers, *scratch; /* per worker: 2 * CR_BLOCK_ROWS * ld, CR_SCRATCH_MIN */
    void *row_mean, *row_inverse_std; /* of layer norms; CR_BLOCK_ROWS a worker */
    void *inverse_std;       /* of all batch norms, n_running elements, each at its running offset */
    double *row_loss;        /* evaluate: capacity */
    size_t row_loss_capacity;
} cr_workspace;

/* Rows that predict takes through all layers at once. The product is at its best from some hundred rows on, and
 * the buffers still fit the second-level cache for widths up to several hundred. */
#define CR_BLOCK_ROWS ((size_t)256)

/* Beyond these the general products, which keep more sums in registers, are as fast as those of small.inc.h, or
 * faster. */
#define CR_SMALL_WIDTH ((size_t)64)
#define CR_SMALL_PARAMETERS ((size_t)8192)

/* ---- the network --------------------------------------------------------------------------------------- */

struct cr_network {
    cr_dtype dtype;
    size_t n_in, n_layers, n_batch_norms;
    cr_network_sizes sizes;
    size_t widest;        /* the greatest n_out */
    size_t last_active;   /* the last layer that does something at inference; CR_NONE: none does */
    double row_seconds;   /* what a row's forward takes on one core, about */
    int has_penalty;
    int is_small; /* dense layers with elementwise activations, CR_SMALL_WIDTH and CR_SMALL_PARAMETERS at most */
    cr_record *records;
    cr_network_arrays arrays;
    void *state[2];               /* the optimizer's, NULL where it has none */
    uint64_t seed, steps, forwards;

    int has_loss, has_optimizer;
    cr_loss loss;
    cr_loss_options loss_options;
    cr_optimizer optimizer;
    int plain_sgd; /* no momentum, no decay: the update can be fused into the weight gradient */
    int general_only; /* for tests: no small steps */

    cr_arena arena;
    /* The forward that a backward may follow. */
    struct {
        int valid, training;
        const void *x;
        size_t n_rows, ld_x;
        uint64_t forward; /* keys its dropout masks */
    } last;

    _Atomic(cr_workspace *) spare; /* one idle workspace, or NULL */
    cr_pace training, serving; /* threads of the steps, and of predictions and evaluations */
};

/* ---- sizes that stop at SIZE_MAX instead of wrapping; an allocation of SIZE_MAX is refused ------------ */

static inline size_t cr_size_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static inline size_t cr_size_mul(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* 64-byte aligned memory inside a block obtained with malloc, handed out piece by piece. With base NULL it only
 * counts, so the same code measures and places. */
typedef struct cr_pieces {
    char *base;
    size_t used;
} cr_pieces;

static inline void *cr_piece(cr_pieces *pieces, size_t n, size_t element)
{
    void *piece = pieces->base == NULL ? NULL : pieces->base + pieces->used;
    const size_t bytes = cr_size_add(cr_size_mul(n, element), 63);
    pieces->used = cr_size_add(pieces->used, bytes == SIZE_MAX ? SIZE_MAX : bytes & ~(size_t)63);
    return piece;
}

/* Leading dimension of a work array for rows of n elements; grows with n. Narrow rows lie side by side, so that
 * elementwise kernels meet one long row. Wide ones are padded to whole cache lines, and by one line more where the
 * stride would be a multiple of 2 KiB: rows at such strides fall into the same few sets of the first-level cache. */
static inline size_t cr_padded(size_t n, size_t element_size)
{
    const size_t line = 64 / element_size;
    if (n <= 16) {
        return n;
    }
    const size_t ld = (n + line - 1) / line * line;
    return ld * element_size % 2048 == 0 ? ld + line : ld;
}

void *cr_block_alloc(size_t bytes, char **aligned); /* NULL when there is no such memory */

/* How many threads a pass over n_rows is worth: products = 1 for a forward, 3 for a training step. */
cr_threads cr_threads_for(const cr_network *network, size_t n_rows, int products);

/* A workspace from the spare place or new, and back there. Where memory does not suffice, one for fewer workers; NULL
 * if there is none even for one. */
cr_workspace *cr_workspace_take(cr_network *network, size_t n_workers);
void cr_workspace_give(cr_network *network, cr_workspace *workspace);
int cr_workspace_losses(cr_workspace *workspace, size_t n_rows); /* room for n_rows row losses; 0: no memory */

#define CR_DTYPE 32
#include "../kernels/dtype.h"
#include "network_functions.inc.h"
#include "../kernels/dtype_end.h"
#define CR_DTYPE 64
#include "../kernels/dtype.h"
#include "network_functions.inc.h"
#include "../kernels/dtype_end.h"

#endif
