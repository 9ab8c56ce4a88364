/* kernel_table.inc.h - the table of one dtype; included twice by kernel_table.h. */

/* A dense layer of a small network (kernels/small.inc.h), activation elementwise. Offsets into the flat arrays;
 * work arrays for the rows of a batch, ld apart: 1 for one output, else whole vectors of the target at hand. */
typedef struct RN(small_layer) {
    size_t n_in, n_out, weight, bias, ld;
    int has_bias, activation;
    double alpha;
    REAL *pre; /* x w + b where f' needs it; else NULL */
    REAL *output, *delta;
} RN(small_layer);

/* The batch of one small step, its loss, and where the losses of its rows go. */
typedef struct RN(small_batch) {
    size_t n_rows;
    const REAL *x;
    size_t ld_x;
    const REAL *target;
    size_t ld_target;
    const int32_t *labels;
    const REAL *weight;
    int loss;
    const cr_loss_options *loss_options;
    REAL loss_scale;
    double *row_loss;
} RN(small_batch);

typedef struct RN(kernels) {
    /* Register tile of the products: rows and columns (in elements). */
    size_t tile_rows, tile_cols;

    /* -- products (kernels/product.inc.h) ---------------------------------------------------------
     * scratch: CR_SCRATCH_MIN or CR_SCRATCH_MAX elements, 64-byte aligned, private to the caller. */

    /* y = activation(x w + bias); pre (may be NULL) receives x w + bias; bias may be NULL. By-row
     * activations included. soon: fetched meanwhile, a hint alone; NULL: nothing. */
    void (*dense_forward)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x, const REAL *w,
                          size_t ld_w, const REAL *bias, int activation, REAL alpha, REAL *pre, size_t ld_pre,
                          REAL *y, size_t ld_y, cr_soon *soon, REAL *scratch);
    /* dx = (dz w^T) * f'(saved), f elementwise; saved NULL for identity. dx may be saved. */
    void (*dense_backward_input)(size_t n_rows, size_t n_in, size_t n_out, const REAL *dz, size_t ld_dz,
                                 const REAL *w, size_t ld_w, int activation, REAL alpha, const REAL *saved,
                                 size_t ld_saved, REAL *dx, size_t ld_dx, REAL *scratch);
    /* dw = x^T dz. Threads split n_in: offset x by columns and dw by rows. */
    void (*dense_backward_weight)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                                  const REAL *dz, size_t ld_dz, REAL *dw, size_t ld_dw, REAL *scratch);
    /* w = fma(-learning_rate, x^T dz, w): plain SGD fused. dw (same ld as w) is used only when n_rows > CR_KB, and
     * then holds unspecified values afterwards. Bits as dense_backward_weight followed by update. */
    void (*dense_backward_weight_sgd)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                                      const REAL *dz, size_t ld_dz, REAL learning_rate, REAL *w, size_t ld_w,
                                      REAL *dw, REAL *scratch);

    /* -- sums (kernels/reduce.inc.h) -------------------------------------------------------------- */

    /* out[j] = sum over rows of a[i][j]: blocks of CR_KB rows, each from +0 ascending, added left to right. */
    void (*column_sums)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a, REAL *out);
    double (*sum_squares)(size_t n, const REAL *x);
    double (*sum_abs)(size_t n, const REAL *x);
    size_t (*count_not_finite)(size_t n, const REAL *x);
    /* Whether least <= x[i] (of_size: |x[i]|) <= greatest for all i; false for a NaN. */
    int (*all_within)(size_t n, const REAL *x, int of_size, REAL least, REAL greatest);
    double (*sum_losses)(size_t n, const double *x); /* x[0] + ... + x[n-1] by 16 partial sums */

    /* -- elementwise (kernels/vmath.inc.h, activations.inc.h, rows.inc.h) --------------------------- */

    void (*function)(int kind, size_t n, const REAL *x, REAL *y);
    /* Whole arrays of rows; by-row kinds included; y may be x. */
    void (*activation)(int kind, REAL alpha, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, REAL *y,
                       size_t ld_y);
    /* dx = dy * f'(saved); by-row kinds included; dx may be dy or saved. */
    void (*activation_backward)(int kind, REAL alpha, size_t n_rows, size_t n_cols, const REAL *dy, size_t ld_dy,
                                const REAL *saved, size_t ld_saved, REAL *dx, size_t ld_dx);

    /* -- losses (kernels/losses.inc.h) ---------------------------------------------------------------
     * row_loss[i] = w_i * l_i in double; NULL: returns what sum_losses makes of them. grad row i = (scale * w_i) *
     * dl_i; target or labels, the other NULL; weight NULL: ones. grad may be NULL or prediction itself. */
    double (*loss)(int kind, const cr_loss_options *options, REAL scale, size_t n_rows, size_t n_out,
                   const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                   const int32_t *labels, const REAL *weight, double *row_loss, REAL *grad, size_t ld_grad);

    /* -- parameters (kernels/optimizers.inc.h) ------------------------------------------------------- */

    void (*update)(const cr_update *update, size_t n, REAL *param, const REAL *grad, REAL *state_0, REAL *state_1);
    /* g += l1 sign(w) + 2 l2 w */
    void (*add_penalty)(size_t n, REAL l1, REAL l2, const REAL *w, REAL *g);
    void (*scale)(size_t n, REAL factor, REAL *x);              /* x *= factor */
    void (*clip)(size_t n, REAL limit, REAL *x);                /* to [-limit, limit]; NaN stays */

    /* -- layers that are not products (kernels/norm.inc.h, dropout.inc.h) ------------------------------ */

    void (*dropout)(double rate, const cr_dropout_key *key, size_t first_row, size_t n_rows, size_t n_cols,
                    const REAL *x, size_t ld_x, REAL *y, size_t ld_y);
    void (*layer_norm_forward)(size_t n_rows, size_t n_cols, REAL epsilon, const REAL *x, size_t ld_x,
                               const REAL *gamma, const REAL *beta, REAL *mean, REAL *inverse_std, REAL *y,
                               size_t ld_y);
    /* dx rows only (rows can be split); dx may be dy. */
    void (*layer_norm_backward_input)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, const REAL *gamma,
                                      const REAL *mean, const REAL *inverse_std, const REAL *dy, size_t ld_dy,
                                      REAL *dx, size_t ld_dx);
    /* dgamma[j] = sum_i dy[i][j] (x[i][j] - mean[i]) inverse_std[i], dbeta[j] = sum_i dy[i][j]: layer norm, with one
     * pair a row. For batch norm (by_column != 0) mean and inverse_std are indexed by column, j, instead. */
    void (*norm_backward_parameters)(int by_column, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                     const REAL *mean, const REAL *inverse_std, const REAL *dy, size_t ld_dy,
                                     REAL *dgamma, REAL *dbeta);
    /* Batch statistics of n_rows >= 1 rows: mean and biased variance per column. */
    void (*batch_statistics)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, REAL *mean, REAL *variance);
    /* y = gamma (x - mean) inverse_std + beta, by column. */
    void (*batch_norm_apply)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, const REAL *gamma,
                             const REAL *beta, const REAL *mean, const REAL *inverse_std, REAL *y, size_t ld_y);
    /* running = momentum running + (1 - momentum) batch; inverse_std = 1 / sqrt(variance + epsilon). Small vectors. */
    void (*batch_norm_fold)(size_t n_rows, size_t n_cols, REAL momentum, const REAL *mean, const REAL *variance,
                            REAL *running_mean, REAL *running_variance);
    void (*inverse_std)(size_t n, REAL epsilon, const REAL *variance, REAL *inverse_std);
    /* dx of batch norm given dgamma and dbeta over all n_batch rows (training) or NULL, NULL (inference). */
    void (*batch_norm_backward_input)(size_t n_batch, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                      const REAL *gamma, const REAL *mean, const REAL *inverse_std,
                                      const REAL *dgamma, const REAL *dbeta, const REAL *dy, size_t ld_dy, REAL *dx,
                                      size_t ld_dx);

    /* -- moving (kernels/rows.inc.h) ------------------------------------------------------------------- */
    /* out row i = a row order[i] */
    void (*gather_rows)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a, const int64_t *order, REAL *out,
                        size_t ld_out);

    /* -- small networks (kernels/small.inc.h) ------------------------------------------------------------ */
    /* layer->output = f(x w + b); layer->delta is not used */
    void (*small_forward)(const RN(small_layer) *layer, const REAL *parameters, size_t n_rows, const REAL *x,
                          size_t ld_x);
    /* Forward, loss, backward and update of a small dense network; gradients are left unspecified. */
    void (*small_step)(const RN(small_batch) *batch, const RN(small_layer) *layers, size_t n_layers,
                       size_t n_parameters, REAL *parameters, REAL *gradients, REAL *state_0, REAL *state_1,
                       const cr_update *update, REAL *scratch);
} RN(kernels);
