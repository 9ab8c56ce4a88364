/* common.c - names, and the scalar arithmetic that every instruction set shares. */
#include <math.h>
#include <string.h>

#include "kernel_table.h"

const char *cr_status_message(cr_status status)
{
    switch (status) {
    case CR_OK:
        return "success";
    case CR_BAD_ARGUMENT:
        return "an argument is outside what the function accepts";
    case CR_BAD_LABEL:
        return "a class label is outside 0 .. n_classes - 1";
    case CR_BAD_TARGET:
        return "a target is NaN";
    case CR_NO_MEMORY:
        return "out of memory";
    case CR_NOT_AVAILABLE:
        return "this build or processor lacks the instruction set";
    }
    return "unknown status";
}

const char *cr_loss_name(int kind)
{
    static const char *const names[CR_N_LOSSES] = {
        [CR_SQUARED_ERROR] = "squared_error",
        [CR_MEAN_SQUARED_ERROR] = "mean_squared_error",
        [CR_ABSOLUTE_ERROR] = "absolute_error",
        [CR_HUBER] = "huber",
        [CR_LOG_COSH] = "log_cosh",
        [CR_QUANTILE] = "quantile",
        [CR_POISSON] = "poisson",
        [CR_CROSS_ENTROPY] = "cross_entropy",
        [CR_SOFTMAX_CROSS_ENTROPY] = "softmax_cross_entropy",
        [CR_SIGMOID_CROSS_ENTROPY] = "sigmoid_cross_entropy",
        [CR_HINGE] = "hinge",
    };
    return kind >= 0 && kind < CR_N_LOSSES ? names[kind] : NULL;
}

int cr_loss_takes_labels(int kind)
{
    return kind == CR_CROSS_ENTROPY || kind == CR_SOFTMAX_CROSS_ENTROPY;
}

void cr_loss_target_range(int kind, double *least, double *greatest, int *of_size)
{
    const int is_share = kind == CR_CROSS_ENTROPY || kind == CR_SOFTMAX_CROSS_ENTROPY
                         || kind == CR_SIGMOID_CROSS_ENTROPY;
    *of_size = kind == CR_HINGE;
    *least = kind == CR_HINGE ? 1 : kind == CR_POISSON || is_share ? 0 : (double)-INFINITY;
    *greatest = kind == CR_HINGE || is_share ? 1 : (double)INFINITY;
}

int cr_optimizer_n_states(const cr_optimizer *optimizer)
{
    switch (optimizer->kind) {
    case CR_SGD:
        return optimizer->momentum != 0;
    case CR_ADAM:
    case CR_ADAMW:
        return 2;
    case CR_RMSPROP:
    case CR_ADAGRAD:
        return 1;
    default:
        return 0;
    }
}

int cr_optimizer_is_complete(const cr_optimizer *optimizer, size_t n, const void *state_0, const void *state_1)
{
    if (optimizer == NULL || (int)optimizer->kind < 0 || optimizer->kind >= CR_N_OPTIMIZERS) {
        return 0;
    }
    const int n_states = n == 0 ? 0 : cr_optimizer_n_states(optimizer);
    return (n_states < 1 || state_0 != NULL) && (n_states < 2 || state_1 != NULL);
}

/* x if `odd` is 1, and 1 if it is 0. Not a branch: the bits of a step counter are hard to foretell. */
static double one_or(double x, uint64_t odd)
{
    const double one = 1;
    uint64_t bits, bits_of_one;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&bits_of_one, &one, sizeof bits_of_one);
    bits = bits_of_one ^ ((bits_of_one ^ bits) & (0 - odd));
    memcpy(&x, &bits, sizeof bits);
    return x;
}

/* a and b to the power `exponent`, side by side: each is a chain of multiplications. */
static void raise_both(double *a, double *b, uint64_t exponent)
{
    double square_a = *a, square_b = *b;
    *a = *b = 1;
    for (; exponent != 0; exponent >>= 1) {
        *a *= one_or(square_a, exponent & 1);
        *b *= one_or(square_b, exponent & 1);
        square_a *= square_a;
        square_b *= square_b;
    }
}

void cr_prepare_update(const cr_optimizer *optimizer, uint64_t step, double learning_rate, cr_update *update)
{
    update->kind = optimizer->kind;
    update->nesterov = optimizer->nesterov;
    update->learning_rate = learning_rate;
    update->momentum = optimizer->momentum;
    update->weight_decay = optimizer->weight_decay;
    update->beta_1 = optimizer->beta_1;
    update->beta_2 = optimizer->beta_2;
    update->epsilon = optimizer->epsilon;
    update->rho = optimizer->rho;
    update->step_size = learning_rate;
    update->root_scale = 1;
    if (optimizer->kind == CR_ADAM || optimizer->kind == CR_ADAMW) {
        /* Steps count from 1: at 0 both corrections would divide by zero. */
        double power_1 = optimizer->beta_1, power_2 = optimizer->beta_2;
        raise_both(&power_1, &power_2, step);
        update->step_size = learning_rate / (1 - power_1);
        update->root_scale = 1 / sqrt(1 - power_2);
    }
}
