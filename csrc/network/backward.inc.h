/* backward.inc.h - gradients down through the layers, whole passes, parameter gradients; explicit forward and
 * backward.
 *
 * A pass has two phases. Phase 1 cuts the batch into rows: forward, loss and input gradients of a row need no other
 * row, so a task takes its rows through all of it. Batch norms alone look at whole columns: they cut phase 1
 * into parts with a column step between. Phase 2 cuts the weights into slabs of rows: a slab's gradient needs the
 * whole batch, and updates nothing that another task reads. All dz are made in phase 1, from the old weights. */

/* ---- phase 1: rows ------------------------------------------------------------------------------------- */

/* Where the gradient of the output of layer i lies, from `row` on; for i = CR_NONE that of x. NULL: nobody
 * below needs it. */
static REAL *RN(gradient_rows)(const RN(pass) *p, size_t i, size_t row, size_t *ld)
{
    const size_t keeper = i == CR_NONE ? CR_NONE : p->net->records[i].keeper;
    if (keeper == CR_NONE) {
        *ld = p->ld_dx;
        return p->dx == NULL ? NULL : p->dx + row * p->ld_dx;
    }
    const cr_buffers *b = &p->net->arena.layers[keeper];
    *ld = b->ld;
    return (REAL *)b->delta + row * b->ld;
}

/* What the derivative of layer i's activation is worked out from. */
static const REAL *RN(saved_rows)(const RN(pass) *p, size_t i, size_t row, size_t *ld)
{
    const cr_record *r = &p->net->records[i];
    const cr_buffers *b = &p->net->arena.layers[i];
    if (r->saves_input && r->kind == CR_LAYER_ACTIVATION) {
        return RN(input_rows)(p, i, row, ld);
    }
    *ld = b->ld;
    return (const REAL *)(r->saves_input ? b->pre : b->output) + row * b->ld;
}

/* g, the gradient of the output of dense layer i before or after f' as derivative_above says, becomes dz; below
 * receives dz w^T, times f' of the layer below if that is ours to apply. */
static void RN(dense_backward_rows)(const RN(pass) *p, size_t i, size_t row, size_t n, REAL *g, size_t ld_g,
                                    REAL *below, size_t ld_below, REAL *scratch)
{
    const cr_record *r = &p->net->records[i];
    const REAL *weight = (const REAL *)p->net->arrays.parameters + r->weight;
    int activation = CR_IDENTITY;
    double alpha = 0.0;
    const REAL *saved = NULL;
    size_t ld_saved = 0;
    if (i > 0 && r[-1].derivative_above && r[-1].activation != CR_IDENTITY) {
        activation = r[-1].activation;
        alpha = r[-1].alpha;
        saved = RN(saved_rows)(p, i - 1, row, &ld_saved);
    }
    p->kernels->dense_backward_input(n, r->n_in, r->n_out, g, ld_g, weight, r->n_out, activation, (REAL)alpha, saved,
                                     ld_saved, below, ld_below, scratch);
}

/* Rows row .. row+n-1 down through the layers of this part of the pass. The layers between two keepers work in
 * place, on the gradient that the lower keeper will find. */
static void RN(backward_rows)(const RN(pass) *p, size_t row, size_t n, REAL *scratch)
{
    const cr_network *net = p->net;
    const RN(kernels) *k = p->kernels;
    const REAL *parameters = net->arrays.parameters;
    const REAL *gradients = net->arrays.gradients;
    for (size_t i = p->backward_from; i-- > p->backward_to;) {
        const cr_record *r = &net->records[i];
        const cr_buffers *b = &net->arena.layers[i];
        size_t ld_g, ld_below, ld_x;
        REAL *g = RN(gradient_rows)(p, i, row, &ld_g);
        REAL *below = RN(gradient_rows)(p, i == 0 ? CR_NONE : i - 1, row, &ld_below);
        if (g == NULL) {
            return;
        }
        if (r->activation != CR_IDENTITY && !r->derivative_above) {
            size_t ld_saved;
            const REAL *saved = RN(saved_rows)(p, i, row, &ld_saved);
            k->activation_backward(r->activation, (REAL)r->alpha, n, r->n_out, g, ld_g, saved, ld_saved, g, ld_g);
        }
        if (r->kind == CR_LAYER_DROPOUT && p->training && r->rate > 0.0) {
            const cr_dropout_key key = {net->seed, p->forward, (uint32_t)i};
            k->dropout(r->rate, &key, row, n, r->n_out, g, ld_g, g, ld_g);
        }
        if (below == NULL || below == g) {
            continue;
        }
        if (r->kind == CR_LAYER_DENSE) {
            RN(dense_backward_rows)(p, i, row, n, g, ld_g, below, ld_below, scratch);
        } else if (r->kind == CR_LAYER_NORM) {
            const REAL *x = RN(input_rows)(p, i, row, &ld_x);
            k->layer_norm_backward_input(n, r->n_out, x, ld_x, parameters + r->weight, (const REAL *)b->mean + row,
                                         (const REAL *)b->inverse_std + row, g, ld_g, below, ld_below);
        } else if (r->kind == CR_LAYER_BATCH_NORM) {
            const REAL *x = RN(input_rows)(p, i, row, &ld_x);
            k->batch_norm_backward_input(p->n_rows, n, r->n_out, x, ld_x, parameters + r->weight, b->mean,
                                         b->inverse_std, p->training ? gradients + r->weight : NULL,
                                         p->training ? gradients + r->bias : NULL, g, ld_g, below, ld_below);
        }
    }
}

/* Rows of the data set into the arena, by p->order. */
static void RN(gather_rows)(const RN(pass) *p, size_t row, size_t n)
{
    const cr_network *net = p->net;
    const cr_arena *a = &net->arena;
    const cr_rows *from = p->source;
    const int64_t *order = p->order + row;
    p->kernels->gather_rows(n, net->n_in, from->x, from->ld_x, order, (REAL *)a->x + row * a->ld_x, a->ld_x);
    if (from->target != NULL) {
        p->kernels->gather_rows(n, net->sizes.n_out, from->target, from->ld_target, order,
                                (REAL *)a->target + row * a->ld_target, a->ld_target);
    }
    for (size_t i = 0; from->labels != NULL && i < n; i++) {
        a->labels[row + i] = from->labels[order[i]];
    }
    for (size_t i = 0; from->weight != NULL && i < n; i++) {
        ((REAL *)a->weight)[row + i] = ((const REAL *)from->weight)[order[i]];
    }
}

/* Loss of each row, and its gradient where the top keeper (or dx) wants it. */
static void RN(loss_rows)(const RN(pass) *p, size_t row, size_t n)
{
    const cr_network *net = p->net;
    size_t ld_output, ld_grad;
    const REAL *output = RN(input_rows)(p, net->n_layers, row, &ld_output);
    REAL *grad = RN(gradient_rows)(p, net->n_layers - 1, row, &ld_grad);
    p->kernels->loss((int)net->loss, &net->loss_options, p->loss_scale, n, net->sizes.n_out, output, ld_output,
                     p->target == NULL ? NULL : p->target + row * p->ld_target, p->ld_target,
                     p->labels == NULL ? NULL : p->labels + row, p->weight == NULL ? NULL : p->weight + row,
                     net->arena.row_loss + row, grad, ld_grad);
}

static void RN(rows_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    const cr_network *net = p->net;
    const size_t row = index * p->chunk;
    const size_t n = p->n_rows - row < p->chunk ? p->n_rows - row : p->chunk;
    REAL *scratch = RN(scratch_of)(p, worker);
    size_t ld;
    if (p->gathers) {
        RN(gather_rows)(p, row, n);
    }
    RN(forward_rows)(p, row, n, scratch);
    if (p->y != NULL) {
        const REAL *output = RN(input_rows)(p, net->n_layers, row, &ld);
        RN(copy_rows)(n, net->sizes.n_out, output, ld, p->y + row * p->ld_y, p->ld_y);
    }
    if (p->has_loss) {
        RN(loss_rows)(p, row, n);
    }
    if (p->dy != NULL) {
        REAL *g = RN(gradient_rows)(p, net->n_layers - 1, row, &ld);
        if (g != NULL) {
            RN(copy_rows)(n, net->sizes.n_out, p->dy + row * p->ld_dy, p->ld_dy, g, ld);
        }
    }
    RN(backward_rows)(p, row, n, scratch);
}

static void RN(run_rows)(RN(pass) *p)
{
    if (p->n_threads == 1) {
        RN(rows_task)(p, 0, 0);
    } else {
        cr_parallel_for((p->n_rows + p->chunk - 1) / p->chunk, p->n_threads, RN(rows_task), p);
    }
}

/* ---- phase 1: the column steps of batch norms ---------------------------------------------------------- */

/* Columns a task takes where columns are split; whole cache lines in both dtypes. */
#define COLUMNS_PER_TASK ((size_t)256)

static size_t RN(column_tasks)(const RN(pass) *p, size_t n_cols)
{
    return p->n_threads == 1 ? 1 : (n_cols + COLUMNS_PER_TASK - 1) / COLUMNS_PER_TASK;
}

/* The columns of task `index`: all when there is one thread. */
static size_t RN(columns_of)(const RN(pass) *p, size_t n_cols, size_t index, size_t *n)
{
    if (p->n_threads == 1) {
        *n = n_cols;
        return 0;
    }
    const size_t first = index * COLUMNS_PER_TASK;
    *n = n_cols - first < COLUMNS_PER_TASK ? n_cols - first : COLUMNS_PER_TASK;
    return first;
}

/* Gradients of gamma and beta of norm i, columns first .. first+n-1. */
static void RN(norm_gradients)(const RN(pass) *p, size_t i, size_t first, size_t n)
{
    const cr_record *r = &p->net->records[i];
    const cr_buffers *b = &p->net->arena.layers[i];
    const int by_column = r->kind == CR_LAYER_BATCH_NORM;
    const size_t skip = by_column ? first : 0;
    REAL *gradients = p->net->arrays.gradients;
    size_t ld_x;
    const REAL *x = RN(input_rows)(p, i, 0, &ld_x);
    p->kernels->norm_backward_parameters(by_column, p->n_rows, n, x + first, ld_x, (const REAL *)b->mean + skip,
                                         (const REAL *)b->inverse_std + skip, (const REAL *)b->delta + first, b->ld,
                                         gradients + r->weight + first, gradients + r->bias + first);
}

static void RN(statistics_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    (void)worker;
    size_t n;
    const size_t first = RN(columns_of)(p, p->net->records[p->column_layer].n_out, index, &n);
    RN(batch_statistics)(p, p->column_layer, first, n);
}

static void RN(norm_gradients_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    (void)worker;
    size_t n;
    const size_t first = RN(columns_of)(p, p->net->records[p->column_layer].n_out, index, &n);
    RN(norm_gradients)(p, p->column_layer, first, n);
}

static void RN(run_columns)(RN(pass) *p, size_t layer, cr_task task)
{
    p->column_layer = layer;
    cr_parallel_for(RN(column_tasks)(p, p->net->records[layer].n_out), p->n_threads, task, p);
}

/* The highest batch norm below layer `end`, or CR_NONE. */
static size_t RN(batch_norm_below)(const cr_network *net, size_t end)
{
    for (size_t i = end; net->n_batch_norms > 0 && i-- > 0;) {
        if (net->records[i].kind == CR_LAYER_BATCH_NORM) {
            return i;
        }
    }
    return CR_NONE;
}

/* ---- phase 1 as a whole -------------------------------------------------------------------------------- */

/* Forward, if asked for, then what p says of y, loss and dy, then backward, if asked for. */
static void RN(run_phase_1)(RN(pass) *p, int forward, int backward)
{
    cr_network *net = p->net;
    const RN(pass) asked = *p;
    size_t from = forward ? 0 : net->n_layers;
    p->gathers = forward && p->order != NULL;
    p->backward_from = p->backward_to = 0;
    if (net->n_batch_norms > 0 && forward) {
        p->y = NULL;
        p->has_loss = 0;
        p->dy = NULL;
        for (size_t i = 0; i < net->n_layers; i++) {
            if (net->records[i].kind == CR_LAYER_BATCH_NORM) {
                p->forward_from = from;
                p->forward_to = from = i;
                RN(run_rows)(p);
                p->gathers = 0;
                RN(run_columns)(p, i, RN(statistics_task));
            }
        }
        p->y = asked.y;
        p->has_loss = asked.has_loss;
        p->dy = asked.dy;
    }
    p->forward_from = from;
    p->forward_to = net->n_layers;
    size_t norm = backward ? RN(batch_norm_below)(net, net->n_layers) : CR_NONE;
    if (backward) {
        p->backward_from = net->n_layers;
        p->backward_to = norm == CR_NONE ? 0 : norm + 1;
    }
    RN(run_rows)(p);
    p->gathers = 0;
    p->y = NULL;
    p->has_loss = 0;
    p->dy = NULL;
    p->forward_from = net->n_layers;
    while (norm != CR_NONE) {
        RN(run_columns)(p, norm, RN(norm_gradients_task));
        p->backward_from = norm + 1;
        norm = RN(batch_norm_below)(net, norm);
        p->backward_to = norm == CR_NONE ? 0 : norm + 1;
        RN(run_rows)(p);
    }
}

/* ---- phase 2: parameters ------------------------------------------------------------------------------- */

/* Penalty and clipping by value of a gradient, then the optimizer: n parameters from `offset` on. `grad` points to
 * their gradients; l1 and l2 are the layer's for a weight, 0 for the rest. */
static void RN(update_piece)(const RN(pass) *p, size_t offset, size_t n, double l1, double l2, REAL *grad)
{
    const cr_network *net = p->net;
    REAL *parameters = (REAL *)net->arrays.parameters + offset;
    REAL *state_0 = net->arrays.state[0];
    REAL *state_1 = net->arrays.state[1];
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
    if (p->n_threads > 1) {
        rows = r->n_in / (4 * p->n_threads);
    }
    if (p->mode == RN(FUSED_SLABS)) {
        const size_t limit = p->net->arena.slab_size / r->n_out;
        rows = rows < limit ? rows : limit;
    }
    rows = rows < SLAB_ROWS_MIN ? SLAB_ROWS_MIN : rows;
    if (rows >= r->n_in) {
        return r->n_in;
    }
    /* Whole register tiles; narrow layers run their lanes along n_in, 16 at a time. */
    const size_t tile = r->n_out < 16 ? 16 : p->kernels->tile_rows;
    return rows < tile ? rows : rows / tile * tile;
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
        grad = (REAL *)net->arena.slab + worker * net->arena.slab_size;
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
