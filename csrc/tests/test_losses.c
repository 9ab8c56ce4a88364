/* test_losses.c - the losses of every shape have the bits of the contract: those of plain C loops that add up as it
 * says, on every instruction set. What losses are is looked at by tests/test_losses.py. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_isas.h"

static const cr_loss_options options = {.delta = 1.0, .quantile = 0.5, .label_smoothing = 0.0, .pos_weight = 1.0};
static const char *const places[] = {"gradient apart", "in place", "no gradient"};

static uint32_t next_random(void)
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "test_losses.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "test_losses.inc.h"
#include "kernels/dtype_end.h"

int main(void)
{
    const char *const chosen = cr_isa();
    for (size_t i = 0; cr_check_isa(i); i++) {
        cr_test_losses_f32();
        cr_test_losses_f64();
    }
    CHECK(cr_set_isa(chosen) == CR_OK, "set_isa");
    return cr_check_summary();
}
