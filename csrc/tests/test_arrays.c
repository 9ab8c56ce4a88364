/* test_arrays.c - the public functions on arrays as a C program calls them: what they compute on numbers that can be
 * checked by hand, threads, and what they refuse. Accuracy and bits are looked at elsewhere, kernel by kernel. */
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#include "check_isas.h"

static const cr_loss_options options = {.delta = 1.0, .quantile = 0.5, .label_smoothing = 0.0, .pos_weight = 1.0};

/* The floating-point modes that a caller may have: 0 the standard's, 1 rounding up, 2 (x86) subnormals taken for 0. */
enum { N_MODES = 3 };

static void set_mode(int mode)
{
    fesetround(mode == 1 ? FE_UPWARD : FE_TONEAREST);
#if defined(__SSE__) || defined(_M_X64)
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | (mode == 2 ? 0x8040u : 0u));
#endif
}

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "test_arrays.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "test_arrays.inc.h"
#include "kernels/dtype_end.h"

static void test_names(void)
{
    for (int status = CR_OK; status <= CR_NOT_AVAILABLE + 1; status++) {
        const char *text = cr_status_message((cr_status)status);
        CHECK(text != NULL && (strcmp(text, "unknown status") == 0) == (status > CR_NOT_AVAILABLE),
              "status %d", status);
    }
    for (int kind = 0; kind < CR_N_ACTIVATIONS; kind++) {
        for (int other = 0; other < kind; other++) {
            CHECK(strcmp(cr_activation_name(kind), cr_activation_name(other)) != 0, "activations %d, %d", kind, other);
        }
    }
    for (int kind = 0; kind < CR_N_LOSSES; kind++) {
        const int labels = kind == CR_CROSS_ENTROPY || kind == CR_SOFTMAX_CROSS_ENTROPY;
        CHECK(cr_loss_name(kind) != NULL && cr_loss_takes_labels(kind) == labels, "loss %d", kind);
    }
    CHECK(cr_activation_name(-1) == NULL && cr_activation_name(CR_N_ACTIVATIONS) == NULL, "activations end");
    CHECK(cr_loss_name(-1) == NULL && cr_loss_name(CR_N_LOSSES) == NULL, "losses end");
    CHECK(cr_optimizer_n_states(&(cr_optimizer){.kind = CR_N_OPTIMIZERS}) == 0, "no optimizer has no states");
    for (int kind = 0; kind < CR_N_LOSSES; kind++) {
        double least, greatest;
        int of_size;
        cr_loss_target_range(kind, &least, &greatest, &of_size);
        const int is_share = kind == CR_CROSS_ENTROPY || kind == CR_SOFTMAX_CROSS_ENTROPY
                             || kind == CR_SIGMOID_CROSS_ENTROPY;
        CHECK(is_share == (least == 0 && greatest == 1), "targets of %s from %g to %g",
              cr_loss_name(kind), least, greatest);
        CHECK((kind == CR_HINGE) == of_size && (!of_size || (least == 1 && greatest == 1)), "hinge: -1 or +1");
    }
    CHECK(strlen(cr_compiler()) > 0 && cr_cpu_count_available() > 0, "compiler, processors");
    CHECK(cr_set_isa("abacus") == CR_NOT_AVAILABLE && cr_set_isa(NULL) == CR_NOT_AVAILABLE, "no such set");
    for (size_t i = 0; cr_isa_name(1, i) != NULL; i++) {
        CHECK(cr_isa_name(0, i) != NULL, "what is usable is built in");
    }
}

int main(void)
{
    test_names();
    const char *const chosen = cr_isa();
    for (size_t i = 0; cr_check_isa(i); i++) {
        cr_test_arrays_f32();
        cr_test_arrays_f64();
    }
    CHECK(cr_set_isa(chosen) == CR_OK, "set_isa");
    return cr_check_summary();
}
