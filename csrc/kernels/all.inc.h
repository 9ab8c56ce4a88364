/* all.inc.h - every kernel of one dtype and the table that lists them. Included by targets/<isa>.c with
 * CR_DTYPE, CR_ISA and one vocabulary in place. */
#include "dtype.h"

#include "turning.inc.h"
#include "reduce.inc.h"
#include "vmath.inc.h"
#include "rows.inc.h"
#include "activations.inc.h"
#include "product_tile.inc.h"
#include "product_pack.inc.h"
#include "product_loops.inc.h"
#include "product_row.inc.h"
#include "product_few.inc.h"
#include "product.inc.h"
#include "product_weight_plan.inc.h"
#include "product_weight.inc.h"
#include "losses.inc.h"
#include "optimizers.inc.h"
#include "norm.inc.h"
#include "dropout.inc.h"
#include "small.inc.h"

static const RN(kernels) FN(table) = {
    .tile_rows = CR_TILE_ROWS,
    .tile_cols = 2 * V_LANES,
    .dense_forward = FN(dense_forward),
    .dense_backward_input = FN(dense_backward_input),
    .dense_backward_weight = FN(dense_backward_weight),
    .dense_backward_weight_sgd = FN(dense_backward_weight_sgd),
    .column_sums = FN(column_sums),
    .sum_squares = FN(sum_squares),
    .sum_abs = FN(sum_abs),
    .count_not_finite = FN(count_not_finite),
    .all_within = FN(all_within),
    .sum_losses = FN(sum_losses),
    .function = FN(function),
    .activation = FN(activation),
    .activation_backward = FN(activation_backward),
    .loss = FN(loss),
    .update = FN(update),
    .add_penalty = FN(add_penalty),
    .scale = FN(scale),
    .clip = FN(clip),
    .dropout = FN(dropout),
    .layer_norm_forward = FN(layer_norm_forward),
    .layer_norm_backward_input = FN(layer_norm_backward_input),
    .norm_backward_parameters = FN(norm_backward_parameters),
    .batch_statistics = FN(batch_statistics),
    .batch_norm_apply = FN(batch_norm_apply),
    .batch_norm_fold = FN(batch_norm_fold),
    .inverse_std = FN(inverse_std),
    .batch_norm_backward_input = FN(batch_norm_backward_input),
    .gather_rows = FN(gather_rows),
    .small_forward = FN(small_forward),
    .small_step = FN(small_step),
};

#include "dtype_end.h"
