/* network.c - what does not depend on the dtype: checking a description, life and settings of a network, counters,
 * and the doors to the functions of network_functions.inc.h. */
#include <math.h>
#include <stdlib.h>

#include "../cpu.h"
#include "../team.h"
#include "network.h"

/* ---- memory -------------------------------------------------------------------------------------------- */

void *cr_block_alloc(size_t bytes, char **aligned)
{
    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    char *block = malloc(bytes + 64);
    if (block != NULL) {
        *aligned = block + (64 - ((uintptr_t)block & 63));
    }
    return block;
}

/* Measures with pieces->base NULL, else places the arrays of `workspace`, which stands first in the block. */
static void place_workspace(cr_workspace *workspace, cr_pieces *pieces, const cr_network *network, size_t n_workers)
{
    const size_t element = network->dtype == CR_F32 ? sizeof(float) : sizeof(double);
    const size_t ld = cr_padded(network->widest, element);
    const size_t rows = cr_size_mul(n_workers, CR_BLOCK_ROWS);
    void *buffers = cr_piece(pieces, cr_size_mul(cr_size_mul(2, rows), ld), element);
    void *scratch = cr_piece(pieces, n_workers * CR_SCRATCH_MIN, element);
    void *row_mean = cr_piece(pieces, rows, element);
    void *row_inverse_std = cr_piece(pieces, rows, element);
    void *inverse_std = cr_piece(pieces, network->sizes.n_running, element);
    if (pieces->base != NULL) {
        *workspace = (cr_workspace){.n_workers = n_workers, .ld = ld, .buffers = buffers, .scratch = scratch,
                                    .row_mean = row_mean, .row_inverse_std = row_inverse_std,
                                    .inverse_std = inverse_std};
    }
}

static void workspace_free(cr_workspace *workspace)
{
    if (workspace != NULL) {
        free(workspace->row_loss);
        free(workspace->block);
    }
}

static cr_workspace *workspace_create(const cr_network *network, size_t n_workers)
{
    cr_pieces pieces = {NULL, 0};
    cr_piece(&pieces, 1, sizeof(cr_workspace));
    place_workspace(NULL, &pieces, network, n_workers);
    char *base;
    void *block = cr_block_alloc(pieces.used, &base);
    if (block == NULL) {
        return NULL;
    }
    pieces = (cr_pieces){base, 0};
    cr_workspace *workspace = cr_piece(&pieces, 1, sizeof *workspace);
    place_workspace(workspace, &pieces, network, n_workers);
    workspace->block = block;
    return workspace;
}

cr_workspace *cr_workspace_take(cr_network *network, size_t n_workers)
{
    cr_workspace *spare = atomic_exchange_explicit(&network->spare, NULL, memory_order_acquire);
    if (spare != NULL && spare->n_workers >= n_workers) {
        return spare;
    }
    cr_workspace *workspace = workspace_create(network, n_workers);
    if (workspace == NULL) {
        return spare != NULL || n_workers == 1 ? spare : workspace_create(network, 1);
    }
    workspace_free(spare);
    return workspace;
}

void cr_workspace_give(cr_network *network, cr_workspace *workspace)
{
    /* If another thread gave one back meanwhile, one of the two goes. */
    workspace_free(atomic_exchange_explicit(&network->spare, workspace, memory_order_acq_rel));
}

int cr_workspace_losses(cr_workspace *workspace, size_t n_rows)
{
    if (n_rows > workspace->row_loss_capacity) {
        double *row_loss = n_rows > SIZE_MAX / 2 / sizeof *row_loss ? NULL : malloc(n_rows * sizeof *row_loss);
        if (row_loss == NULL) {
            return 0;
        }
        free(workspace->row_loss);
        workspace->row_loss = row_loss;
        workspace->row_loss_capacity = n_rows;
    }
    return 1;
}

/* ---- threads ------------------------------------------------------------------------------------------- */

/* Seconds of work that a thread gets at least when a pace tries more than the rule says. Less than the pace asks for
 * when it has timed a pass (WORTH_SECONDS): this is an estimate, and tiny networks take up to five times as long. */
#define LEAST_SECONDS 3e-6
/* Passes this long gain by threads wherever there are cores, and trials of them would take too long. */
#define LONG_SECONDS 20e-3

cr_threads cr_threads_for(const cr_network *network, size_t n_rows, int products)
{
    const double seconds = (double)n_rows * products * network->row_seconds;
    if (seconds < 2 * LEAST_SECONDS) {
        return (cr_threads){1, 1};
    }
    const size_t available = cr_get_num_threads();
    const size_t rule = cr_threads_worth(seconds, CR_RULE_SECONDS, available);
    return (cr_threads){rule, seconds > LONG_SECONDS ? rule : cr_threads_worth(seconds, LEAST_SECONDS, available)};
}

/* ---- a description ------------------------------------------------------------------------------------- */

/* Settings are doubles, and networks of float compute with them as floats. What they become there is told by
 * comparisons with the numbers halfway to infinity and to 0, which are exact in every floating-point mode. */

/* Whether x is finite, and stays so. */
static int is_held(cr_dtype dtype, double x)
{
    return dtype == CR_F32 ? fabs(x) < 0x1.ffffffp127 : isfinite(x);
}

/* Whether x is greater than 0 and finite, and stays so. */
static int is_held_above_0(cr_dtype dtype, double x)
{
    return x > (dtype == CR_F32 ? 0x1p-150 : 0.0) && is_held(dtype, x);
}

static int settings_are_sound(const cr_layer *layer, cr_dtype dtype)
{
    switch (layer->kind) {
    case CR_LAYER_DENSE:
    case CR_LAYER_ACTIVATION:
        if (cr_activation_name(layer->activation) == NULL || !is_held(dtype, layer->alpha)
            || ((layer->activation == CR_LEAKY_RELU || layer->activation == CR_ELU) && !(layer->alpha >= 0.0))
            || (layer->activation == CR_CELU && !is_held_above_0(dtype, layer->alpha))) {
            return 0;
        }
        return layer->kind == CR_LAYER_ACTIVATION
               || (layer->l1 >= 0.0 && layer->l2 >= 0.0 && is_held(dtype, layer->l1) && is_held(dtype, layer->l2));
    case CR_LAYER_DROPOUT:
        return layer->rate >= 0.0 && layer->rate < 1.0;
    case CR_LAYER_BATCH_NORM:
        return is_held_above_0(dtype, layer->epsilon) && layer->momentum >= 0.0 && layer->momentum <= 1.0;
    case CR_LAYER_NORM:
        return is_held_above_0(dtype, layer->epsilon);
    default:
        return 0;
    }
}

static int layer_is_sound(const cr_layer *layer, size_t n_in, cr_dtype dtype)
{
    const int has_width = layer->kind == CR_LAYER_DENSE ? layer->n_out != 0
                                                        : layer->n_out == 0 || layer->n_out == n_in;
    return has_width && settings_are_sound(layer, dtype);
}

/* Widths beyond this could overflow a padded leading dimension; no machine holds such a row anyway. */
#define WIDEST (SIZE_MAX / 65536)

static cr_status measure(size_t n_in, size_t n_layers, const cr_layer *layers, cr_dtype dtype, cr_network_sizes *sizes)
{
    if (n_in == 0 || n_in > WIDEST || n_layers == 0 || n_layers > UINT32_MAX || layers == NULL || sizes == NULL) {
        return CR_BAD_ARGUMENT;
    }
    cr_network_sizes total = {0, 0, n_in};
    for (size_t i = 0; i < n_layers; i++) {
        const cr_layer *layer = &layers[i];
        if (!layer_is_sound(layer, total.n_out, dtype)) {
            return CR_BAD_ARGUMENT;
        }
        size_t n_parameters = 0;
        if (layer->kind == CR_LAYER_DENSE) {
            if (layer->n_out > WIDEST) {
                return CR_BAD_ARGUMENT;
            }
            n_parameters = cr_size_mul(total.n_out, layer->n_out);
            n_parameters = cr_size_add(n_parameters, layer->use_bias ? layer->n_out : 0);
            total.n_out = layer->n_out;
        } else if (layer->kind == CR_LAYER_NORM || layer->kind == CR_LAYER_BATCH_NORM) {
            n_parameters = 2 * total.n_out;
            total.n_running += layer->kind == CR_LAYER_BATCH_NORM ? 2 * total.n_out : 0;
        }
        total.n_parameters = cr_size_add(total.n_parameters, n_parameters);
        if (total.n_parameters > SIZE_MAX / 2 / sizeof(double) || total.n_running > SIZE_MAX / 2 / sizeof(double)) {
            return CR_BAD_ARGUMENT;
        }
    }
    *sizes = total;
    return CR_OK;
}

cr_status cr_network_measure(size_t n_in, size_t n_layers, const cr_layer *layers, cr_network_sizes *sizes)
{
    return measure(n_in, n_layers, layers, CR_F64, sizes);
}

/* Rows up to so wide lie side by side where a kernel goes over them element by element: it then meets one long row
 * instead of many, each with a part of a vector at its end (6-24-6 with sigmoid, 1000 rows: 25.6 us padded, 18.1 side
 * by side; 100-50 1.09 times as fast, 200-200 the same). Products do not mind. */
#define SIDE_BY_SIDE ((size_t)256)

/* Leading dimension of the work arrays of the layer that r describes and layer[0] asks for; layer[1] is the next, if
 * not the last. */
static size_t leading_dimension(const cr_record *r, const cr_layer *layer, int is_last, size_t element)
{
    const cr_layer_kind next = is_last ? CR_LAYER_DENSE : layer[1].kind;
    const int in_product = r->activation == CR_IDENTITY || r->activation == CR_RELU;
    const int elementwise = r->kind == CR_LAYER_ACTIVATION || r->kind == CR_LAYER_DROPOUT || !in_product
                            || next == CR_LAYER_ACTIVATION || next == CR_LAYER_DROPOUT;
    const int one_set = r->n_out * element % 2048 == 0; /* see cr_padded */
    return elementwise && !r->by_row && r->n_out <= SIDE_BY_SIDE && !one_set ? r->n_out : cr_padded(r->n_out, element);
}

static void make_records(cr_network *net, const cr_layer *layers)
{
    const size_t element = net->dtype == CR_F32 ? sizeof(float) : sizeof(double);
    size_t n_in = net->n_in, parameter = 0, running = 0, keeper = CR_NONE;
    double work = 0.0; /* multiply-adds, and what is worth as many */
    net->last_active = CR_NONE;
    net->is_small = n_in <= CR_SMALL_WIDTH && net->sizes.n_parameters <= CR_SMALL_PARAMETERS;
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_layer *layer = &layers[i];
        cr_record *r = &net->records[i];
        const int has_activation = layer->kind == CR_LAYER_DENSE || layer->kind == CR_LAYER_ACTIVATION;
        *r = (cr_record){.kind = layer->kind,
                         .n_in = n_in,
                         .n_out = layer->kind == CR_LAYER_DENSE ? layer->n_out : n_in,
                         .weight = CR_NONE,
                         .bias = CR_NONE,
                         .running = CR_NONE,
                         .activation = has_activation ? layer->activation : CR_IDENTITY,
                         .alpha = layer->alpha,
                         .rate = layer->rate,
                         .epsilon = layer->epsilon,
                         .momentum = layer->momentum};
        r->saves_input = r->activation != CR_IDENTITY && cr_activation_saves_input(r->activation);
        r->by_row = cr_activation_by_row(r->activation);
        r->ld = leading_dimension(r, layer, i + 1 == net->n_layers, element);
        r->active = layer->kind != CR_LAYER_DROPOUT
                    && !(layer->kind == CR_LAYER_ACTIVATION && r->activation == CR_IDENTITY);
        r->derivative_above = has_activation && !r->by_row && i + 1 < net->n_layers
                              && layers[i + 1].kind == CR_LAYER_DENSE;
        if (layer->kind == CR_LAYER_DENSE) {
            r->l1 = layer->l1;
            r->l2 = layer->l2;
            net->has_penalty |= r->l1 != 0.0 || r->l2 != 0.0;
            r->weight = parameter;
            parameter += r->n_in * r->n_out;
            if (layer->use_bias) {
                r->bias = parameter;
                parameter += r->n_out;
            }
            keeper = i;
            work += (double)r->n_in * (double)r->n_out;
        } else if (layer->kind == CR_LAYER_NORM || layer->kind == CR_LAYER_BATCH_NORM) {
            r->weight = parameter;
            r->bias = parameter + r->n_out;
            parameter += 2 * r->n_out;
            keeper = i;
            if (layer->kind == CR_LAYER_BATCH_NORM) {
                r->running = running;
                running += 2 * r->n_out;
                net->n_batch_norms++;
            }
        }
        r->keeper = keeper;
        n_in = r->n_out;
        work += 4.0 * (double)r->n_out; /* biases, activations and the like */
        net->widest = r->n_out > net->widest ? r->n_out : net->widest;
        net->last_active = r->active ? i : net->last_active;
        net->is_small &= r->kind == CR_LAYER_DENSE && !r->by_row && r->n_out <= CR_SMALL_WIDTH;
    }
    net->row_seconds = work / CR_CORE_RATE(element);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

cr_status cr_network_create(cr_dtype dtype, size_t n_in, size_t n_layers, const cr_layer *layers,
                            const cr_network_arrays *arrays, uint64_t seed, cr_network **network)
{
    cr_network_sizes sizes;
    if (network == NULL || arrays == NULL || (dtype != CR_F32 && dtype != CR_F64)
        || measure(n_in, n_layers, layers, dtype, &sizes) != CR_OK
        || (sizes.n_parameters > 0 && (arrays->parameters == NULL || arrays->gradients == NULL))
        || (sizes.n_running > 0 && arrays->running == NULL)) {
        return CR_BAD_ARGUMENT;
    }
    cr_network *net = calloc(1, sizeof *net);
    cr_record *records = calloc(n_layers, sizeof *records);
    if (net == NULL || records == NULL) {
        free(net);
        free(records);
        return CR_NO_MEMORY;
    }
    net->dtype = dtype;
    net->n_in = n_in;
    net->n_layers = n_layers;
    net->sizes = sizes;
    net->records = records;
    net->arrays = *arrays;
    net->seed = seed;
    atomic_init(&net->spare, NULL);
    atomic_init(&net->training.taken, 0);
    atomic_init(&net->serving.taken, 0);
    make_records(net, layers);
    *network = net;
    return CR_OK;
}

void cr_network_destroy(cr_network *net)
{
    if (net != NULL) {
        workspace_free(atomic_load(&net->spare));
        free(net->arena.block);
        free(net->records);
        free(net);
    }
}

/* ---- settings ------------------------------------------------------------------------------------------ */

cr_status cr_network_set_loss(cr_network *net, cr_loss loss, const cr_loss_options *options)
{
    if (net == NULL || options == NULL || cr_loss_name((int)loss) == NULL) {
        return CR_BAD_ARGUMENT;
    }
    if ((loss == CR_HUBER && !is_held_above_0(net->dtype, options->delta))
        || (loss == CR_QUANTILE && !(options->quantile > 0.0 && options->quantile < 1.0))
        || (loss == CR_SIGMOID_CROSS_ENTROPY && !is_held_above_0(net->dtype, options->pos_weight))
        || ((loss == CR_CROSS_ENTROPY || loss == CR_SOFTMAX_CROSS_ENTROPY || loss == CR_SIGMOID_CROSS_ENTROPY)
            && !(options->label_smoothing >= 0.0 && options->label_smoothing < 1.0))) {
        return CR_BAD_ARGUMENT;
    }
    net->loss = loss;
    net->loss_options = *options;
    net->has_loss = 1;
    return CR_OK;
}

static int optimizer_is_sound(const cr_optimizer *o, cr_dtype dtype)
{
    const double settings[] = {o->momentum, o->weight_decay, o->beta_1, o->beta_2, o->epsilon, o->rho,
                               o->clip_value};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (!(settings[i] >= 0.0) || !is_held(dtype, settings[i])) {
            return 0;
        }
    }
    if (!(o->clip_norm >= 0.0) || !isfinite(o->clip_norm) /* compared with a norm in double */
        || (o->clip_value > 0.0 && !is_held_above_0(dtype, o->clip_value))) {
        return 0;
    }
    switch (o->kind) {
    case CR_SGD:
        return o->momentum < 1.0;
    case CR_ADAM:
    case CR_ADAMW:
        return o->beta_1 < 1.0 && o->beta_2 < 1.0 && is_held_above_0(dtype, o->epsilon);
    case CR_RMSPROP:
        return o->rho < 1.0 && is_held_above_0(dtype, o->epsilon);
    default:
        return is_held_above_0(dtype, o->epsilon);
    }
}

cr_status cr_network_set_optimizer(cr_network *net, const cr_optimizer *optimizer, void *state_0, void *state_1)
{
    if (net == NULL || !cr_optimizer_is_complete(optimizer, net->sizes.n_parameters, state_0, state_1)
        || !optimizer_is_sound(optimizer, net->dtype)) {
        return CR_BAD_ARGUMENT;
    }
    const int n_states = net->sizes.n_parameters == 0 ? 0 : cr_optimizer_n_states(optimizer);
    net->optimizer = *optimizer;
    net->state[0] = n_states > 0 ? state_0 : NULL;
    net->state[1] = n_states > 1 ? state_1 : NULL;
    net->plain_sgd = optimizer->kind == CR_SGD && optimizer->momentum == 0.0 && optimizer->weight_decay == 0.0;
    net->has_optimizer = 1;
    return CR_OK;
}

uint64_t cr_network_steps(const cr_network *net)
{
    return net == NULL ? 0 : net->steps;
}

uint64_t cr_network_forwards(const cr_network *net)
{
    return net == NULL ? 0 : net->forwards;
}

cr_status cr_network_set_counters(cr_network *net, uint64_t steps, uint64_t forwards)
{
    if (net == NULL || steps > CR_COUNTER_MAX || forwards > CR_COUNTER_MAX) {
        return CR_BAD_ARGUMENT;
    }
    net->steps = steps;
    net->forwards = forwards;
    return CR_OK;
}

/* ---- doors --------------------------------------------------------------------------------------------- */

/* result = cr_network_<op>_<dtype>(net, ...) in the floating-point mode of the C standard. */
#define IN_MODE(result, op, ...)                                                                                       \
    do {                                                                                                               \
        const cr_fp_mode mode_ = cr_fp_enter();                                                                        \
        (result) = net->dtype == CR_F32 ? cr_network_##op##_f32(__VA_ARGS__) : cr_network_##op##_f64(__VA_ARGS__);     \
        cr_fp_leave(mode_);                                                                                            \
    } while (0)

/* Is there an array of n_rows rows of n_cols at `array`? */
static int has_rows(const void *array, size_t ld, size_t n_rows, size_t n_cols)
{
    return n_rows == 0 || (array != NULL && ld >= n_cols);
}

/* Can both counters take n more? */
static int counters_have_room(const cr_network *net, size_t n)
{
    return n <= CR_COUNTER_MAX - net->steps && n <= CR_COUNTER_MAX - net->forwards;
}

/* Are there rows as the loss wants them? */
static int rows_are_sound(const cr_network *net, const cr_rows *rows)
{
    if (net == NULL || rows == NULL || !net->has_loss || !has_rows(rows->x, rows->ld_x, rows->n_rows, net->n_in)
        || (rows->target != NULL && rows->labels != NULL)) {
        return 0;
    }
    if (rows->labels != NULL) {
        return cr_loss_takes_labels((int)net->loss);
    }
    return has_rows(rows->target, rows->ld_target, rows->n_rows, net->sizes.n_out);
}

cr_status cr_network_reserve(cr_network *net, size_t n_rows)
{
    if (net == NULL) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, reserve, net, n_rows);
    return status;
}

cr_status cr_network_predict(cr_network *net, size_t n_rows, const void *x, size_t ld_x, void *y, size_t ld_y)
{
    if (net == NULL || !has_rows(x, ld_x, n_rows, net->n_in) || !has_rows(y, ld_y, n_rows, net->sizes.n_out)) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, predict, net, n_rows, x, ld_x, y, ld_y);
    return status;
}

cr_status cr_network_forward(cr_network *net, size_t n_rows, const void *x, size_t ld_x, int training, void *y,
                             size_t ld_y)
{
    if (net == NULL || !has_rows(x, ld_x, n_rows, net->n_in) || !has_rows(y, ld_y, n_rows, net->sizes.n_out)
        || (training && net->forwards == CR_COUNTER_MAX)) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, forward, net, n_rows, x, ld_x, training, y, ld_y);
    return status;
}

cr_status cr_network_backward(cr_network *net, size_t n_rows, const void *dy, size_t ld_dy, void *dx, size_t ld_dx)
{
    if (net == NULL || !net->last.valid || net->last.n_rows != n_rows
        || !has_rows(dy, ld_dy, n_rows, net->sizes.n_out) || (dx != NULL && !has_rows(dx, ld_dx, n_rows, net->n_in))) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, backward, net, n_rows, dy, ld_dy, dx, ld_dx);
    return status;
}

cr_status cr_network_update(cr_network *net, double learning_rate)
{
    if (net == NULL || !net->has_optimizer || net->steps == CR_COUNTER_MAX) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, update, net, learning_rate);
    return status;
}

double cr_network_penalty(const cr_network *net)
{
    if (net == NULL) {
        return (double)NAN;
    }
    double penalty;
    IN_MODE(penalty, penalty, net);
    return penalty;
}

cr_status cr_network_train_step(cr_network *net, const cr_rows *rows, double learning_rate, double *loss)
{
    if (!rows_are_sound(net, rows) || !net->has_optimizer || loss == NULL || !counters_have_room(net, 1)) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, train_step, net, rows, learning_rate, loss);
    return status;
}

cr_status cr_network_evaluate(cr_network *net, const cr_rows *rows, double *loss, void *prediction,
                              size_t ld_prediction)
{
    if (!rows_are_sound(net, rows) || loss == NULL
        || (prediction != NULL && !has_rows(prediction, ld_prediction, rows->n_rows, net->sizes.n_out))) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, evaluate, net, rows, loss, prediction, ld_prediction);
    return status;
}

cr_status cr_network_fit(cr_network *net, const cr_rows *rows, const int64_t *order, size_t batch_size,
                         const double *learning_rate, size_t n_learning_rates, size_t first_step, double seconds,
                         double *step_loss, size_t *next_step)
{
    if (!rows_are_sound(net, rows) || !net->has_optimizer || batch_size == 0 || learning_rate == NULL
        || step_loss == NULL || next_step == NULL || isnan(seconds)) {
        return CR_BAD_ARGUMENT;
    }
    const size_t n_steps = rows->n_rows / batch_size + (rows->n_rows % batch_size != 0);
    if (first_step > n_steps || (n_learning_rates != 1 && n_learning_rates < n_steps)
        || !counters_have_room(net, n_steps - first_step)) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, fit, net, rows, order, batch_size, learning_rate, n_learning_rates, first_step, seconds, step_loss,
            next_step);
    return status;
}

cr_status cr_network_check_rows(const cr_network *net, const cr_rows *rows, size_t *row)
{
    if (!rows_are_sound(net, rows) || row == NULL) {
        return CR_BAD_ARGUMENT;
    }
    cr_status status;
    IN_MODE(status, check_rows, net, rows, row);
    return status;
}
