# chainrule.pxd - declarations of chainrule.h; the contract of every function stands there.
#
# Everything of that header is `noexcept nogil`: the C library knows no Python. Other Cython modules may use it too,
# compiled with include_dirs=[chainrule.get_include()]; include/chainrule_api.h says how, examples/c_api shows it:
#
#     from chainrule cimport chainrule as cr
#     cr.chainrule_import()

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "chainrule_api.h":
    # For modules outside the package, to be called before anything below.
    int chainrule_import() except -1
    cr_network *chainrule_network(object model) except NULL

cdef extern from "chainrule_api.h" nogil:
    const char *CR_VERSION

    ctypedef enum cr_status:
        CR_OK
        CR_BAD_ARGUMENT
        CR_BAD_LABEL
        CR_BAD_TARGET
        CR_NO_MEMORY
        CR_NOT_AVAILABLE

    const char *cr_status_message(cr_status status) noexcept

    ctypedef enum cr_dtype:
        CR_F32
        CR_F64

    # ---- kinds ----

    ctypedef enum cr_activation:
        CR_IDENTITY, CR_RELU, CR_LEAKY_RELU, CR_SIGMOID, CR_TANH, CR_ELU, CR_SELU, CR_CELU, CR_GELU
        CR_GELU_TANH, CR_SILU, CR_MISH, CR_SOFTPLUS, CR_SOFTSIGN, CR_HARD_SIGMOID, CR_HARD_SWISH
        CR_HARD_TANH, CR_RELU6, CR_EXPONENTIAL, CR_SOFTMAX, CR_LOG_SOFTMAX, CR_N_ACTIVATIONS

    const char *cr_activation_name(int kind) noexcept
    int cr_activation_saves_input(int kind) noexcept
    int cr_activation_by_row(int kind) noexcept
    double cr_activation_default_alpha(int kind) noexcept

    ctypedef enum cr_function:
        CR_EXP, CR_LOG, CR_EXPM1, CR_LOG1P, CR_ERF, CR_N_FUNCTIONS

    ctypedef enum cr_loss:
        CR_SQUARED_ERROR, CR_MEAN_SQUARED_ERROR, CR_ABSOLUTE_ERROR, CR_HUBER, CR_LOG_COSH, CR_QUANTILE
        CR_POISSON, CR_CROSS_ENTROPY, CR_SOFTMAX_CROSS_ENTROPY, CR_SIGMOID_CROSS_ENTROPY, CR_HINGE
        CR_N_LOSSES

    const char *cr_loss_name(int kind) noexcept
    int cr_loss_takes_labels(int kind) noexcept
    void cr_loss_target_range(int kind, double *least, double *greatest, int *of_size) noexcept

    ctypedef struct cr_loss_options:
        double delta
        double quantile
        double label_smoothing
        double pos_weight

    ctypedef enum cr_optimizer_kind:
        CR_SGD, CR_ADAM, CR_ADAMW, CR_RMSPROP, CR_ADAGRAD, CR_N_OPTIMIZERS

    ctypedef struct cr_optimizer:
        cr_optimizer_kind kind
        int nesterov
        double momentum
        double weight_decay
        double beta_1
        double beta_2
        double epsilon
        double rho
        double clip_norm
        double clip_value

    int cr_optimizer_n_states(const cr_optimizer *optimizer) noexcept

    # ---- the processor ----

    const char *cr_isa() noexcept
    const char *cr_isa_name(int which, size_t index) noexcept
    cr_status cr_set_isa(const char *name) noexcept
    const char *cr_compiler() noexcept
    size_t cr_cpu_count_available() noexcept
    void cr_set_num_threads(size_t n) noexcept
    size_t cr_get_num_threads() noexcept

    # ---- random numbers ----

    ctypedef enum cr_purpose:
        CR_PURPOSE_INIT
        CR_PURPOSE_SHUFFLE
        CR_PURPOSE_DROPOUT
        CR_PURPOSE_USER

    void cr_random_u32(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch,
                       uint64_t first_index, size_t n, uint32_t *out) noexcept
    void cr_random_uniform(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch,
                           uint64_t first_index, size_t n, double *out) noexcept
    void cr_random_normal(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch,
                          uint64_t first_index, size_t n, double *out) noexcept
    void cr_random_permutation(uint64_t seed, uint64_t epoch, size_t n, int64_t *order) noexcept

    # ---- kernels on arrays, float32 ----

    cr_status cr_dense_forward_f32(
        size_t n_rows, size_t n_in, size_t n_out, const float *x, size_t ld_x, const float *weight,
        size_t ld_weight, const float *bias, int activation, double alpha, float *pre, size_t ld_pre,
        float *y, size_t ld_y) noexcept
    cr_status cr_dense_backward_input_f32(
        size_t n_rows, size_t n_in, size_t n_out, const float *dz, size_t ld_dz, const float *weight,
        size_t ld_weight, int activation, double alpha, const float *saved, size_t ld_saved,
        float *dx, size_t ld_dx) noexcept
    cr_status cr_dense_backward_weight_f32(
        size_t n_rows, size_t n_in, size_t n_out, const float *x, size_t ld_x, const float *dz,
        size_t ld_dz, float *dw, size_t ld_dw, float *db) noexcept
    cr_status cr_activation_f32(
        int kind, double alpha, size_t n_rows, size_t n_cols, const float *x, size_t ld_x, float *y,
        size_t ld_y) noexcept
    cr_status cr_activation_backward_f32(
        int kind, double alpha, size_t n_rows, size_t n_cols, const float *dy, size_t ld_dy,
        const float *saved, size_t ld_saved, float *dx, size_t ld_dx) noexcept
    cr_status cr_function_f32(cr_function kind, size_t n, const float *x, float *y) noexcept
    cr_status cr_loss_f32(
        cr_loss kind, const cr_loss_options *options, int mean, size_t n_rows, size_t n_out,
        const float *prediction, size_t ld_prediction, const float *target, size_t ld_target,
        const int32_t *labels, const float *weight, float *grad, size_t ld_grad, double *loss) noexcept
    cr_status cr_optimizer_update_f32(
        const cr_optimizer *optimizer, uint64_t step, double learning_rate, size_t n, float *param,
        const float *grad, float *state_0, float *state_1) noexcept
    cr_status cr_dropout_f32(
        double rate, uint64_t seed, uint32_t layer, uint64_t forward, size_t first_row,
        size_t n_rows, size_t n_cols, const float *x, size_t ld_x, float *y, size_t ld_y) noexcept
    cr_status cr_layer_norm_forward_f32(
        size_t n_rows, size_t n_cols, double epsilon, const float *x, size_t ld_x,
        const float *gamma, const float *beta, float *mean, float *inverse_std, float *y,
        size_t ld_y) noexcept
    cr_status cr_layer_norm_backward_f32(
        size_t n_rows, size_t n_cols, const float *x, size_t ld_x, const float *gamma,
        const float *mean, const float *inverse_std, const float *dy, size_t ld_dy, float *dgamma,
        float *dbeta, float *dx, size_t ld_dx) noexcept
    cr_status cr_batch_norm_forward_f32(
        int training, size_t n_rows, size_t n_cols, double epsilon, double momentum,
        const float *x, size_t ld_x, const float *gamma, const float *beta, float *running_mean,
        float *running_variance, float *mean, float *inverse_std, float *y, size_t ld_y) noexcept
    cr_status cr_batch_norm_backward_f32(
        int training, size_t n_rows, size_t n_cols, const float *x, size_t ld_x,
        const float *gamma, const float *mean, const float *inverse_std, const float *dy,
        size_t ld_dy, float *dgamma, float *dbeta, float *dx, size_t ld_dx) noexcept
    double cr_sum_squares_f32(size_t n, const float *x) noexcept
    size_t cr_count_not_finite_f32(size_t n, const float *x) noexcept
    int cr_all_within_f32(
        size_t n, const float *x, int of_size, double least, double greatest) noexcept

    # ---- the same, float64 ----

    cr_status cr_dense_forward_f64(
        size_t n_rows, size_t n_in, size_t n_out, const double *x, size_t ld_x, const double *weight,
        size_t ld_weight, const double *bias, int activation, double alpha, double *pre, size_t ld_pre,
        double *y, size_t ld_y) noexcept
    cr_status cr_dense_backward_input_f64(
        size_t n_rows, size_t n_in, size_t n_out, const double *dz, size_t ld_dz, const double *weight,
        size_t ld_weight, int activation, double alpha, const double *saved, size_t ld_saved,
        double *dx, size_t ld_dx) noexcept
    cr_status cr_dense_backward_weight_f64(
        size_t n_rows, size_t n_in, size_t n_out, const double *x, size_t ld_x, const double *dz,
        size_t ld_dz, double *dw, size_t ld_dw, double *db) noexcept
    cr_status cr_activation_f64(
        int kind, double alpha, size_t n_rows, size_t n_cols, const double *x, size_t ld_x, double *y,
        size_t ld_y) noexcept
    cr_status cr_activation_backward_f64(
        int kind, double alpha, size_t n_rows, size_t n_cols, const double *dy, size_t ld_dy,
        const double *saved, size_t ld_saved, double *dx, size_t ld_dx) noexcept
    cr_status cr_function_f64(cr_function kind, size_t n, const double *x, double *y) noexcept
    cr_status cr_loss_f64(
        cr_loss kind, const cr_loss_options *options, int mean, size_t n_rows, size_t n_out,
        const double *prediction, size_t ld_prediction, const double *target, size_t ld_target,
        const int32_t *labels, const double *weight, double *grad, size_t ld_grad, double *loss) noexcept
    cr_status cr_optimizer_update_f64(
        const cr_optimizer *optimizer, uint64_t step, double learning_rate, size_t n, double *param,
        const double *grad, double *state_0, double *state_1) noexcept
    cr_status cr_dropout_f64(
        double rate, uint64_t seed, uint32_t layer, uint64_t forward, size_t first_row,
        size_t n_rows, size_t n_cols, const double *x, size_t ld_x, double *y, size_t ld_y) noexcept
    cr_status cr_layer_norm_forward_f64(
        size_t n_rows, size_t n_cols, double epsilon, const double *x, size_t ld_x,
        const double *gamma, const double *beta, double *mean, double *inverse_std, double *y,
        size_t ld_y) noexcept
    cr_status cr_layer_norm_backward_f64(
        size_t n_rows, size_t n_cols, const double *x, size_t ld_x, const double *gamma,
        const double *mean, const double *inverse_std, const double *dy, size_t ld_dy, double *dgamma,
        double *dbeta, double *dx, size_t ld_dx) noexcept
    cr_status cr_batch_norm_forward_f64(
        int training, size_t n_rows, size_t n_cols, double epsilon, double momentum,
        const double *x, size_t ld_x, const double *gamma, const double *beta, double *running_mean,
        double *running_variance, double *mean, double *inverse_std, double *y, size_t ld_y) noexcept
    cr_status cr_batch_norm_backward_f64(
        int training, size_t n_rows, size_t n_cols, const double *x, size_t ld_x,
        const double *gamma, const double *mean, const double *inverse_std, const double *dy,
        size_t ld_dy, double *dgamma, double *dbeta, double *dx, size_t ld_dx) noexcept
    double cr_sum_squares_f64(size_t n, const double *x) noexcept
    size_t cr_count_not_finite_f64(size_t n, const double *x) noexcept
    int cr_all_within_f64(
        size_t n, const double *x, int of_size, double least, double greatest) noexcept

    # ---- networks ----

    ctypedef enum cr_layer_kind:
        CR_LAYER_DENSE
        CR_LAYER_ACTIVATION
        CR_LAYER_DROPOUT
        CR_LAYER_NORM
        CR_LAYER_BATCH_NORM
        CR_N_LAYER_KINDS

    ctypedef struct cr_layer:
        cr_layer_kind kind
        size_t n_out
        int use_bias
        int activation
        double alpha
        double l1
        double l2
        double rate
        double epsilon
        double momentum

    ctypedef struct cr_network:
        pass

    ctypedef struct cr_network_arrays:
        void *parameters
        void *gradients
        void *running

    ctypedef struct cr_network_sizes:
        size_t n_parameters
        size_t n_running
        size_t n_out

    ctypedef struct cr_rows:
        size_t n_rows
        const void *x
        size_t ld_x
        const void *target
        size_t ld_target
        const int32_t *labels
        const void *weight

    cr_status cr_network_measure(size_t n_in, size_t n_layers, const cr_layer *layers,
                                 cr_network_sizes *sizes) noexcept
    cr_status cr_network_create(cr_dtype dtype, size_t n_in, size_t n_layers, const cr_layer *layers,
                                const cr_network_arrays *arrays, uint64_t seed,
                                cr_network **network) noexcept
    void cr_network_destroy(cr_network *network) noexcept
    cr_status cr_network_set_loss(cr_network *network, cr_loss loss,
                                  const cr_loss_options *options) noexcept
    cr_status cr_network_set_optimizer(cr_network *network, const cr_optimizer *optimizer,
                                       void *state_0, void *state_1) noexcept
    uint64_t cr_network_steps(const cr_network *network) noexcept
    uint64_t cr_network_forwards(const cr_network *network) noexcept
    cr_status cr_network_set_counters(cr_network *network, uint64_t steps,
                                      uint64_t forwards) noexcept
    cr_status cr_network_reserve(cr_network *network, size_t n_rows) noexcept
    cr_status cr_network_predict(cr_network *network, size_t n_rows, const void *x, size_t ld_x,
                                 void *y, size_t ld_y) noexcept
    cr_status cr_network_forward(cr_network *network, size_t n_rows, const void *x, size_t ld_x,
                                 int training, void *y, size_t ld_y) noexcept
    cr_status cr_network_backward(cr_network *network, size_t n_rows, const void *dy, size_t ld_dy,
                                  void *dx, size_t ld_dx) noexcept
    cr_status cr_network_update(cr_network *network, double learning_rate) noexcept
    double cr_network_penalty(const cr_network *network) noexcept
    cr_status cr_network_train_step(cr_network *network, const cr_rows *rows, double learning_rate,
                                    double *loss) noexcept
    cr_status cr_network_evaluate(cr_network *network, const cr_rows *rows, double *loss,
                                  void *prediction, size_t ld_prediction) noexcept
    cr_status cr_network_fit(cr_network *network, const cr_rows *rows, const int64_t *order,
                             size_t batch_size, const double *learning_rate, size_t n_learning_rates,
                             size_t first_step, double seconds, double *step_loss,
                             size_t *next_step) noexcept
    cr_status cr_network_check_rows(const cr_network *network, const cr_rows *rows,
                                    size_t *row) noexcept
