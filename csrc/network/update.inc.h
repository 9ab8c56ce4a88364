/* update.inc.h - the optimizer over the flat arrays: penalties, clipping, one step.
 *
 * Everything but the global norm is elementwise, so it may be cut anywhere: here into ranges of RANGE parameters.
 * The norm is the sum over the ranges, ascending, of the kernel's sum of squares: the same for any thread count. */

/* Sum of the penalties over the weights as they stand. */
double RN(network_penalty)(const cr_network *net)
{
    const RN(kernels) *k = CURRENT();
    double penalty = 0.0;
    for (size_t i = 0; net->has_penalty && i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        if (r->l1 == 0.0 && r->l2 == 0.0) {
            continue; /* it may have no weight at all */
        }
        const REAL *weight = (const REAL *)net->arrays.parameters + r->weight;
        double of_layer = 0.0; /* layer by layer, as layerwise.py adds them */
        if (r->l1 != 0.0) {
            of_layer += r->l1 * k->sum_abs(r->n_in * r->n_out, weight);
        }
        if (r->l2 != 0.0) {
            of_layer += r->l2 * k->sum_squares(r->n_in * r->n_out, weight);
        }
        penalty += of_layer;
    }
    return penalty;
}

typedef struct RN(flat_update) {
    const cr_network *net;
    const RN(kernels) *kernels;
    const cr_update *update;
    double factor; /* to the norm that clip_norm allows; 1: none */
} RN(flat_update);

static size_t RN(range)(const cr_network *net, size_t index, size_t *n)
{
    const size_t first = index * RANGE;
    const size_t left = net->sizes.n_parameters - first;
    *n = left < RANGE ? left : RANGE;
    return first;
}

/* The gradient of one range as the optimizer shall see it, but for clipping by norm, which needs all ranges. */
static void RN(finish_gradient_task)(void *argument, size_t index, size_t worker)
{
    const RN(flat_update) *u = argument;
    const cr_network *net = u->net;
    (void)worker;
    size_t n;
    const size_t first = RN(range)(net, index, &n);
    const REAL *parameters = net->arrays.parameters;
    REAL *gradients = net->arrays.gradients;
    for (size_t i = 0; net->has_penalty && i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        if (r->l1 != 0.0 || r->l2 != 0.0) {
            const size_t end = r->weight + r->n_in * r->n_out;
            const size_t from = r->weight > first ? r->weight : first;
            const size_t to = end < first + n ? end : first + n;
            if (from < to) {
                u->kernels->add_penalty(to - from, (REAL)r->l1, (REAL)r->l2, parameters + from, gradients + from);
            }
        }
    }
    if (net->optimizer.clip_value > 0.0) {
        u->kernels->clip(n, (REAL)net->optimizer.clip_value, gradients + first);
    }
    if (net->optimizer.clip_norm > 0.0) {
        net->arena.norm_parts[index] = u->kernels->sum_squares(n, gradients + first);
    }
}

static void RN(optimizer_task)(void *argument, size_t index, size_t worker)
{
    const RN(flat_update) *u = argument;
    const cr_network *net = u->net;
    (void)worker;
    size_t n;
    const size_t first = RN(range)(net, index, &n);
    REAL *gradients = (REAL *)net->arrays.gradients + first;
    REAL *state_0 = net->state[0];
    REAL *state_1 = net->state[1];
    if (u->factor != 1.0) {
        u->kernels->scale(n, (REAL)u->factor, gradients);
    }
    u->kernels->update(u->update, n, (REAL *)net->arrays.parameters + first, gradients,
                       state_0 == NULL ? NULL : state_0 + first, state_1 == NULL ? NULL : state_1 + first);
}

/* Parameters a second that an update brings forward on one core. */
#define UPDATE_RATE 2e9

/* One optimizer step from the gradient array, on up to `available` threads. */
static void RN(apply_gradients)(cr_network *net, const RN(kernels) *kernels, const cr_update *update, size_t available)
{
    RN(flat_update) u = {.net = net, .kernels = kernels, .update = update, .factor = 1.0};
    const size_t n_ranges = (net->sizes.n_parameters + RANGE - 1) / RANGE;
    const double seconds = (double)net->sizes.n_parameters / UPDATE_RATE;
    const size_t n_threads = cr_threads_worth(seconds, CR_RULE_SECONDS, available);
    if (net->has_penalty || net->optimizer.clip_value > 0.0 || net->optimizer.clip_norm > 0.0) {
        cr_parallel_for(n_ranges, n_threads, RN(finish_gradient_task), &u);
    }
    if (net->optimizer.clip_norm > 0.0) {
        double sum = 0.0;
        for (size_t i = 0; i < n_ranges; i++) {
            sum += net->arena.norm_parts[i];
        }
        const double norm = sqrt(sum);
        if (norm > net->optimizer.clip_norm) {
            u.factor = net->optimizer.clip_norm / norm;
        }
    }
    cr_parallel_for(n_ranges, n_threads, RN(optimizer_task), &u);
}

cr_status RN(network_update)(cr_network *net, double learning_rate)
{
    if (net->arena.block == NULL) { /* norm_parts lie there; a network that never ran has none */
        const cr_status status = RN(network_reserve)(net, 0);
        if (status != CR_OK) {
            return status;
        }
    }
    cr_update update;
    cr_prepare_update(&net->optimizer, net->steps + 1, learning_rate, &update);
    RN(apply_gradients)(net, CURRENT(), &update, cr_get_num_threads());
    net->steps++;
    net->last.valid = 0; /* its outputs are those of other weights now */
    return CR_OK;
}
