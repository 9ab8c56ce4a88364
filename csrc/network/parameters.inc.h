/* parameters.inc.h - phase 2 of a pass: gradients of the parameters, slab by slab, and their update; explicit forward
 * and backward. */

/* Penalty and clipping by value of a gradient, then the optimizer: n parameters from `offset` on. `grad` points to
 * their gradients; l1 and l2 are the layer's for a weight, 0 for the rest. */
static void RN(update_piece)(const RN(pass) *p, size_t offset, size_t n, double l1, double l2, REAL *grad)
{
    const cr_network *net = p->net;
    REAL *parameters = (REAL *)net->arrays.parameters + offset;
    REAL *state_0 = net->state[0];
    REAL *state_1 = net->state[1];
    if (l1 != 0.0 || l2 != 0.0) {
        p->kernels->add_penalty(n, (REAL)l1, (REAL)l2, parameters, grad);
    }
    if (net->optimizer.clip_value > 0.0) {
        p->kernels->clip(n, (REAL)net->optimizer.clip_value, grad);
    }
    p->kernels->update(&p->update, n, parameters, grad, state_0 == NULL ? NULL : state_0 + offset,
                       state_1 == NULL ? NULL : state_1 + offset);
}

/* Rows of a dense layer's weight that one task takes. */
static size_t RN(slab_rows)(const RN(pass) *p, const cr_record *r)
{
    size_t rows = r->n_in;
    if (p->n_threads > 1) { /* as many slabs for each thread */
        rows = (r->n_in + 4 * p->n_threads - 1) / (4 * p->n_threads);
    }
    if (p->mode == RN(FUSED_SLABS)) {
        const size_t limit = p->net->arena.slab_size / r->n_out;
        rows = rows < limit ? rows : limit;
    }
    rows = rows < SLAB_ROWS_MIN ? SLAB_ROWS_MIN : rows;
    if (rows >= r->n_in) {
        return r->n_in;
    }
    /* Narrow layers run their lanes along n_in, 16 at a time; tiles of the others are as high as makes them even. */
    return r->n_out < 16 ? rows / 16 * 16 : rows;
}

static size_t RN(tasks_of_layer)(const RN(pass) *p, const cr_record *r)
{
    if (r->weight == CR_NONE) {
        return 0;
    }
    if (r->kind != CR_LAYER_DENSE) {
        return RN(column_tasks)(p, r->n_out);
    }
    const size_t rows = RN(slab_rows)(p, r);
    return (r->n_in + rows - 1) / rows + (r->bias == CR_NONE ? 0 : RN(column_tasks)(p, r->n_out));
}

/* Where a worker's slab of gradients for `parameters` begins: on a line, and half a page after or before them, whole
 * pages not counted. The update reads both, and processors that compare only 12 bits of addresses take a load a little
 * behind a store for a load of what was stored. */
static REAL *RN(slab_for)(const RN(pass) *p, size_t worker, const REAL *parameters)
{
    const cr_arena *arena = &p->net->arena;
    REAL *slab = (REAL *)arena->slab + worker * (arena->slab_size + SLAB_SLACK);
    const size_t ahead = ((uintptr_t)parameters + 2048 - (uintptr_t)slab) % 4096;
    return slab + ahead / 64 * 64 / sizeof(REAL);
}

/* Rows first .. first+n-1 of the weight of layer i. */
static void RN(weight_slab)(const RN(pass) *p, size_t i, size_t first, size_t n, size_t worker)
{
    const cr_network *net = p->net;
    const RN(kernels) *k = p->kernels;
    const cr_record *r = &net->records[i];
    const cr_buffers *b = &net->arena.layers[i];
    const size_t offset = r->weight + first * r->n_out;
    REAL *grad = (REAL *)net->arrays.gradients + offset;
    REAL *scratch = RN(scratch_of)(p, worker);
    size_t ld_x;
    const REAL *x = RN(input_rows)(p, i, 0, &ld_x) + first;
    if (p->mode == RN(FUSED_SGD)) {
        k->dense_backward_weight_sgd(p->n_rows, n, r->n_out, x, ld_x, b->delta, b->ld, (REAL)p->update.learning_rate,
                                     (REAL *)net->arrays.parameters + offset, r->n_out, grad, scratch);
        return;
    }
    if (p->mode == RN(FUSED_SLABS)) {
        grad = RN(slab_for)(p, worker, (const REAL *)net->arrays.parameters + offset);
    }
    k->dense_backward_weight(p->n_rows, n, r->n_out, x, ld_x, b->delta, b->ld, grad, r->n_out, scratch);
    if (p->mode == RN(FUSED_SLABS)) {
        RN(update_piece)(p, offset, n * r->n_out, r->l1, r->l2, grad);
    }
}

static void RN(parameter_task)(const RN(pass) *p, size_t i, size_t part, size_t worker)
{
    const cr_network *net = p->net;
    const cr_record *r = &net->records[i];
    REAL *gradients = net->arrays.gradients;
    if (r->kind == CR_LAYER_DENSE) {
        const size_t rows = RN(slab_rows)(p, r);
        const size_t n_slabs = (r->n_in + rows - 1) / rows;
        if (part < n_slabs) {
            const size_t first = part * rows;
            RN(weight_slab)(p, i, first, r->n_in - first < rows ? r->n_in - first : rows, worker);
            return;
        }
        part -= n_slabs;
    }
    size_t n;
    const size_t first = RN(columns_of)(p, r->n_out, part, &n);
    if (r->kind == CR_LAYER_DENSE) {
        const cr_buffers *b = &net->arena.layers[i];
        p->kernels->column_sums(p->n_rows, n, (const REAL *)b->delta + first, b->ld, gradients + r->bias + first);
    } else if (r->kind == CR_LAYER_NORM) {
        RN(norm_gradients)(p, i, first, n); /* those of a batch norm are there already, from phase 1 */
    }
    if (p->mode != RN(GRADIENTS_ONLY)) {
        RN(update_piece)(p, r->bias + first, n, 0.0, 0.0, gradients + r->bias + first);
        if (r->kind != CR_LAYER_DENSE) {
            RN(update_piece)(p, r->weight + first, n, 0.0, 0.0, gradients + r->weight + first);
        }
    }
}

static void RN(parameters_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    const size_t *first_task = p->net->arena.first_task;
    size_t i = 0;
    while (index >= first_task[i + 1]) {
        i++;
    }
    RN(parameter_task)(p, i, index - first_task[i], worker);
}

/* Gradients of all parameters, and their update if p->mode says so. */
static void RN(run_phase_2)(RN(pass) *p)
{
    const cr_network *net = p->net;
    size_t *first_task = net->arena.first_task;
    if (p->n_threads == 1) {
        for (size_t i = 0; i < net->n_layers; i++) {
            const size_t n_parts = RN(tasks_of_layer)(p, &net->records[i]);
            for (size_t part = 0; part < n_parts; part++) {
                RN(parameter_task)(p, i, part, 0);
            }
        }
        return;
    }
    first_task[0] = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        first_task[i + 1] = first_task[i] + RN(tasks_of_layer)(p, &net->records[i]);
    }
    cr_parallel_for(first_task[net->n_layers], p->n_threads, RN(parameters_task), p);
}

/* ---- explicit forward and backward --------------------------------------------------------------------- */

cr_status RN(network_forward)(cr_network *net, size_t n_rows, const REAL *x, size_t ld_x, int training, REAL *y,
                              size_t ld_y)
{
    const cr_status status = RN(network_reserve)(net, n_rows);
    if (status != CR_OK) {
        return status;
    }
    /* x may be NULL when there are no rows, but it is added to all the same. */
    x = n_rows == 0 ? net->arena.x : x;
    RN(pass) p = {.x = x, .ld_x = ld_x, .training = training != 0, .forward = net->forwards, .y = y, .ld_y = ld_y};
    RN(pass_for)(&p, net, n_rows);
    RN(run_phase_1)(&p, 1, 0);
    net->last.valid = 1;
    net->last.training = p.training;
    net->last.x = x;
    net->last.n_rows = n_rows;
    net->last.ld_x = ld_x;
    net->last.forward = p.forward;
    net->forwards += training != 0;
    return CR_OK;
}

cr_status RN(network_backward)(cr_network *net, size_t n_rows, const REAL *dy, size_t ld_dy, REAL *dx, size_t ld_dx)
{
    RN(pass) p = {.x = net->last.x, .ld_x = net->last.ld_x, .training = net->last.training,
                  .forward = net->last.forward, .dy = dy, .ld_dy = ld_dy, .dx = dx, .ld_dx = ld_dx,
                  .mode = RN(GRADIENTS_ONLY)};
    RN(pass_for)(&p, net, n_rows);
    RN(run_phase_1)(&p, 0, 1);
    RN(run_phase_2)(&p);
    return CR_OK;
}
