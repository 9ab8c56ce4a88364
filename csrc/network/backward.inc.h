/* backward.inc.h - phase 1 of a pass: rows down through the layers, after forward and loss.
 *
 * A pass has two phases. Phase 1 cuts the batch into rows: forward, loss and input gradients of a row need no other
 * row, so a task takes its rows through all of it. What looks at whole columns, or is better cut into columns, splits
 * phase 1 into parts with a column step between (columns.inc.h). Phase 2 cuts the weights into slabs of rows
 * (parameters.inc.h): a slab's gradient needs the whole batch, and updates nothing that another task reads. All dz are
 * made in phase 1, from the old weights. */

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

/* Gradient of the input of dense layer i, columns first .. first+n_cols-1: dz w^T, times f' of the layer below if that
 * is ours to apply. g holds dz, whole rows; below points to whole rows too. */
static void RN(dense_backward)(const RN(pass) *p, size_t i, size_t row, size_t n, size_t first, size_t n_cols,
                               const REAL *g, size_t ld_g, REAL *below, size_t ld_below, REAL *scratch)
{
    const cr_record *r = &p->net->records[i];
    const REAL *weight = (const REAL *)p->net->arrays.parameters + r->weight + first * r->n_out;
    int activation = CR_IDENTITY;
    double alpha = 0.0;
    const REAL *saved = NULL;
    size_t ld_saved = 0;
    if (i > 0 && r[-1].derivative_above && r[-1].activation != CR_IDENTITY) {
        activation = r[-1].activation;
        alpha = r[-1].alpha;
        saved = RN(saved_rows)(p, i - 1, row, &ld_saved) + first;
    }
    p->kernels->dense_backward_input(n, n_cols, r->n_out, g, ld_g, weight, r->n_out, activation, (REAL)alpha, saved,
                                     ld_saved, below + first, ld_below, scratch);
}

/* The elementwise part of layer i: the gradient of its output becomes that of what its product or norm gave. */
static void RN(backward_in_place)(const RN(pass) *p, size_t i, size_t row, size_t n, REAL *g, size_t ld_g)
{
    const cr_network *net = p->net;
    const cr_record *r = &net->records[i];
    if (r->activation != CR_IDENTITY && !r->derivative_above) {
        size_t ld_saved;
        const REAL *saved = RN(saved_rows)(p, i, row, &ld_saved);
        p->kernels->activation_backward(r->activation, (REAL)r->alpha, n, r->n_out, g, ld_g, saved, ld_saved, g, ld_g);
    }
    if (r->kind == CR_LAYER_DROPOUT && p->training && r->rate > 0.0) {
        const cr_dropout_key key = {net->seed, p->forward, (uint32_t)i};
        p->kernels->dropout(r->rate, &key, row, n, r->n_out, g, ld_g, g, ld_g);
    }
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
        RN(backward_in_place)(p, i, row, n, g, ld_g);
        if (below == NULL || below == g) {
            continue;
        }
        if (r->kind == CR_LAYER_DENSE) {
            RN(dense_backward)(p, i, row, n, 0, r->n_in, g, ld_g, below, ld_below, scratch);
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
    if (p->backward_edge != CR_NONE) {
        size_t ld_g;
        REAL *g = RN(gradient_rows)(p, p->backward_edge, row, &ld_g);
        if (g != NULL) {
            RN(backward_in_place)(p, p->backward_edge, row, n, g, ld_g);
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
