/* chainrule_api.h - the functions of chainrule.h for extension modules outside the package.
 *
 * The compiled module hides its symbols, so there is nothing to link with. It keeps one table of its functions in a
 * capsule instead; after chainrule_import() the names of chainrule.h call through that table:
 *
 *     #include "chainrule_api.h"                           compile with -I$(python -c "import chainrule; print(chainrule.get_include())")
 *     if (chainrule_import() < 0) { return NULL; }         once in each C file, where the module is initialised
 *     cr_network *network = chainrule_network(model);      a chainrule.Sequential; NULL and an exception if it has none
 *     cr_network_predict(network, n_rows, x, ld_x, y, ld_y);       needs no GIL
 *
 * The network is the model's: it lives as long as the model does and is not built again. From several threads at once
 * only cr_network_predict may be called on it.
 */
#ifndef CHAINRULE_API_H
#define CHAINRULE_API_H

#include <Python.h>

#include "chainrule.h"

/* Raised with every change of a function or struct of chainrule.h; modules built against another version are refused. */
#define CR_API_VERSION 4
#define CR_API_CAPSULE "chainrule._core._api"

#define cr_status_message CR_THROUGH(status_message)
#define cr_activation_name CR_THROUGH(activation_name)
#define cr_activation_saves_input CR_THROUGH(activation_saves_input)
#define cr_activation_by_row CR_THROUGH(activation_by_row)
#define cr_activation_default_alpha CR_THROUGH(activation_default_alpha)
#define cr_loss_name CR_THROUGH(loss_name)
#define cr_loss_takes_labels CR_THROUGH(loss_takes_labels)
#define cr_loss_target_range CR_THROUGH(loss_target_range)
#define cr_optimizer_n_states CR_THROUGH(optimizer_n_states)
#define cr_isa CR_THROUGH(isa)
#define cr_isa_name CR_THROUGH(isa_name)
#define cr_set_isa CR_THROUGH(set_isa)
#define cr_compiler CR_THROUGH(compiler)
#define cr_cpu_count_available CR_THROUGH(cpu_count_available)
#define cr_set_num_threads CR_THROUGH(set_num_threads)
#define cr_get_num_threads CR_THROUGH(get_num_threads)
#define cr_random_u32 CR_THROUGH(random_u32)
#define cr_random_uniform CR_THROUGH(random_uniform)
#define cr_random_normal CR_THROUGH(random_normal)
#define cr_random_permutation CR_THROUGH(random_permutation)
#define cr_dense_forward_f32 CR_THROUGH(dense_forward_f32)
#define cr_dense_backward_input_f32 CR_THROUGH(dense_backward_input_f32)
#define cr_dense_backward_weight_f32 CR_THROUGH(dense_backward_weight_f32)
#define cr_activation_f32 CR_THROUGH(activation_f32)
#define cr_activation_backward_f32 CR_THROUGH(activation_backward_f32)
#define cr_function_f32 CR_THROUGH(function_f32)
#define cr_loss_f32 CR_THROUGH(loss_f32)
#define cr_optimizer_update_f32 CR_THROUGH(optimizer_update_f32)
#define cr_dropout_f32 CR_THROUGH(dropout_f32)
#define cr_layer_norm_forward_f32 CR_THROUGH(layer_norm_forward_f32)
#define cr_layer_norm_backward_f32 CR_THROUGH(layer_norm_backward_f32)
#define cr_batch_norm_forward_f32 CR_THROUGH(batch_norm_forward_f32)
#define cr_batch_norm_backward_f32 CR_THROUGH(batch_norm_backward_f32)
#define cr_sum_squares_f32 CR_THROUGH(sum_squares_f32)
#define cr_count_not_finite_f32 CR_THROUGH(count_not_finite_f32)
#define cr_all_within_f32 CR_THROUGH(all_within_f32)
#define cr_dense_forward_f64 CR_THROUGH(dense_forward_f64)
#define cr_dense_backward_input_f64 CR_THROUGH(dense_backward_input_f64)
#define cr_dense_backward_weight_f64 CR_THROUGH(dense_backward_weight_f64)
#define cr_activation_f64 CR_THROUGH(activation_f64)
#define cr_activation_backward_f64 CR_THROUGH(activation_backward_f64)
#define cr_function_f64 CR_THROUGH(function_f64)
#define cr_loss_f64 CR_THROUGH(loss_f64)
#define cr_optimizer_update_f64 CR_THROUGH(optimizer_update_f64)
#define cr_dropout_f64 CR_THROUGH(dropout_f64)
#define cr_layer_norm_forward_f64 CR_THROUGH(layer_norm_forward_f64)
#define cr_layer_norm_backward_f64 CR_THROUGH(layer_norm_backward_f64)
#define cr_batch_norm_forward_f64 CR_THROUGH(batch_norm_forward_f64)
#define cr_batch_norm_backward_f64 CR_THROUGH(batch_norm_backward_f64)
#define cr_sum_squares_f64 CR_THROUGH(sum_squares_f64)
#define cr_count_not_finite_f64 CR_THROUGH(count_not_finite_f64)
#define cr_all_within_f64 CR_THROUGH(all_within_f64)
#define cr_network_measure CR_THROUGH(network_measure)
#define cr_network_create CR_THROUGH(network_create)
#define cr_network_destroy CR_THROUGH(network_destroy)
#define cr_network_set_loss CR_THROUGH(network_set_loss)
#define cr_network_set_optimizer CR_THROUGH(network_set_optimizer)
#define cr_network_steps CR_THROUGH(network_steps)
#define cr_network_forwards CR_THROUGH(network_forwards)
#define cr_network_set_counters CR_THROUGH(network_set_counters)
#define cr_network_reserve CR_THROUGH(network_reserve)
#define cr_network_predict CR_THROUGH(network_predict)
#define cr_network_forward CR_THROUGH(network_forward)
#define cr_network_backward CR_THROUGH(network_backward)
#define cr_network_update CR_THROUGH(network_update)
#define cr_network_penalty CR_THROUGH(network_penalty)
#define cr_network_train_step CR_THROUGH(network_train_step)
#define cr_network_evaluate CR_THROUGH(network_evaluate)
#define cr_network_fit CR_THROUGH(network_fit)
#define cr_network_check_rows CR_THROUGH(network_check_rows)

/* Each prototype of chainrule.h is a member here: its name becomes (*name). */
#define CR_THROUGH(name) (*name)
typedef struct cr_api {
    int version;
    cr_network *(*network_of)(PyObject *model);
#include "chainrule_functions.inc.h"
} cr_api;
#undef CR_THROUGH

#ifdef CR_API_PROVIDER /* chainrule._core itself: the names are the functions */

#define CR_THROUGH(name) cr_##name
#define CR_ENTRY(name) .name = cr_##name
static cr_api cr_provided_api = {
    .version = CR_API_VERSION,
    CR_ENTRY(status_message), CR_ENTRY(activation_name), CR_ENTRY(activation_saves_input),
    CR_ENTRY(activation_by_row), CR_ENTRY(activation_default_alpha), CR_ENTRY(loss_name),
    CR_ENTRY(loss_takes_labels), CR_ENTRY(loss_target_range), CR_ENTRY(optimizer_n_states), CR_ENTRY(isa), CR_ENTRY(isa_name),
    CR_ENTRY(set_isa), CR_ENTRY(compiler), CR_ENTRY(cpu_count_available), CR_ENTRY(set_num_threads),
    CR_ENTRY(get_num_threads), CR_ENTRY(random_u32), CR_ENTRY(random_uniform), CR_ENTRY(random_normal),
    CR_ENTRY(random_permutation), CR_ENTRY(dense_forward_f32), CR_ENTRY(dense_backward_input_f32),
    CR_ENTRY(dense_backward_weight_f32), CR_ENTRY(activation_f32), CR_ENTRY(activation_backward_f32),
    CR_ENTRY(function_f32), CR_ENTRY(loss_f32), CR_ENTRY(optimizer_update_f32), CR_ENTRY(dropout_f32),
    CR_ENTRY(layer_norm_forward_f32), CR_ENTRY(layer_norm_backward_f32), CR_ENTRY(batch_norm_forward_f32),
    CR_ENTRY(batch_norm_backward_f32), CR_ENTRY(sum_squares_f32), CR_ENTRY(count_not_finite_f32),
    CR_ENTRY(all_within_f32),
    CR_ENTRY(dense_forward_f64), CR_ENTRY(dense_backward_input_f64), CR_ENTRY(dense_backward_weight_f64),
    CR_ENTRY(activation_f64), CR_ENTRY(activation_backward_f64), CR_ENTRY(function_f64), CR_ENTRY(loss_f64),
    CR_ENTRY(optimizer_update_f64), CR_ENTRY(dropout_f64), CR_ENTRY(layer_norm_forward_f64),
    CR_ENTRY(layer_norm_backward_f64), CR_ENTRY(batch_norm_forward_f64), CR_ENTRY(batch_norm_backward_f64),
    CR_ENTRY(sum_squares_f64), CR_ENTRY(count_not_finite_f64), CR_ENTRY(all_within_f64), CR_ENTRY(network_measure),
    CR_ENTRY(network_create), CR_ENTRY(network_destroy), CR_ENTRY(network_set_loss),
    CR_ENTRY(network_set_optimizer), CR_ENTRY(network_steps), CR_ENTRY(network_forwards),
    CR_ENTRY(network_set_counters), CR_ENTRY(network_reserve), CR_ENTRY(network_predict),
    CR_ENTRY(network_forward), CR_ENTRY(network_backward), CR_ENTRY(network_update), CR_ENTRY(network_penalty),
    CR_ENTRY(network_train_step), CR_ENTRY(network_evaluate), CR_ENTRY(network_fit),
    CR_ENTRY(network_check_rows),
};
#undef CR_ENTRY

#else

static const cr_api *cr_api_table;
#define CR_THROUGH(name) (*cr_api_table->name)

/* 0, or -1 with an exception set. */
static inline int chainrule_import(void)
{
    const cr_api *table = (const cr_api *)PyCapsule_Import(CR_API_CAPSULE, 0);
    if (table == NULL) {
        return -1;
    }
    if (table->version != CR_API_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "this module was built against version %d of chainrule's C API, and version %d is installed: "
                     "build it again",
                     CR_API_VERSION, table->version);
        return -1;
    }
    cr_api_table = table;
    return 0;
}

/* The network of a built chainrule.Sequential, borrowed; NULL with an exception set if there is none. */
static inline cr_network *chainrule_network(PyObject *model)
{
    return cr_api_table->network_of(model);
}

#endif
#endif
