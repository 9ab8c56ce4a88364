/* fuzz_elementwise.c - functions, activations and losses over lengths, options and values of any bits: the same bits on
 * every instruction set, in place, and for an element alone; NaN stays NaN; results lie where the formulas lie. */
#include "fuzz.h"

/* Where f can be, whatever x, NaN aside. */
static void range_of(int kind, double *least, double *greatest)
{
    *least = -INFINITY;
    *greatest = INFINITY;
    switch (kind) {
    case CR_SIGMOID:
    case CR_HARD_SIGMOID:
    case CR_SOFTMAX:
        *least = 0.0;
        *greatest = 1.0;
        break;
    case CR_TANH:
    case CR_SOFTSIGN:
    case CR_HARD_TANH:
        *least = -1.0;
        *greatest = 1.0;
        break;
    case CR_RELU6:
        *least = 0.0;
        *greatest = 6.0;
        break;
    case CR_RELU:
    case CR_SOFTPLUS:
    case CR_EXPONENTIAL:
        *least = 0.0;
        break;
    case CR_GELU:
    case CR_GELU_TANH:
    case CR_SILU:
    case CR_MISH:
    case CR_HARD_SWISH:
        *least = -0.375; /* hard_swish; the others stay above -0.31 */
        break;
    case CR_LOG_SOFTMAX:
        *greatest = 0.0;
        break;
    default:
        break;
    }
}

static double take_alpha(int kind)
{
    static const double alphas[] = {0.01, 0.0, 0.3, 1.0, 2.5, 1e-6};
    const double alpha = alphas[take(sizeof alphas / sizeof alphas[0])];
    return kind == CR_CELU && alpha == 0.0 ? 1.0 : alpha;
}

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "fuzz_elementwise.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "fuzz_elementwise.inc.h"
#include "kernels/dtype_end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open(data, size);
    const unsigned way = take_byte();
    const enum fill fill = way & 2 ? FILL_BITS : (enum fill)take(N_FILLS);
    seed_random();
    const size_t n_rows = take(7), n_cols = take_byte() < 200 ? take(70) : take(700);
    if (way & 1) {
        way & 4 ? cr_fuzz_loss_f64(n_rows, n_cols, fill) : cr_fuzz_activation_f64(n_rows, n_cols, fill);
    } else {
        way & 4 ? cr_fuzz_loss_f32(n_rows, n_cols, fill) : cr_fuzz_activation_f32(n_rows, n_cols, fill);
    }
    return 0;
}
