/* columns.inc.h - the steps of phase 1 that go by columns, and phase 1 as a whole.
 *
 * Batch norms look at whole columns of the batch. Wide dense layers are cut into strips of columns when several threads
 * share the work: by rows, each task would lay out the whole weight anew for its few rows. Strips of w give strips
 * of y; strips of w^T give strips of dx; both are products of the same rows and terms, so their bits are the same. */

/* ---- batch norms --------------------------------------------------------------------------------------- */

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

/* ---- strips of dense layers ---------------------------------------------------------------------------- */

/* Rows are few for a task that goes through a whole weight of this size or more: it lies in no second-level cache. */
#define WIDE_BYTES ((size_t)1536 * 1024)
/* Narrower strips than so many panels would be mostly overhead. */
#define STRIP_PANELS ((size_t)2)
/* Fewer rows than this a thread fill no register tiles. */
#define FEW_TILES ((size_t)2)

/* Whether dense layer i is taken by strips of columns in this pass. */
static int RN(is_wide)(const RN(pass) *p, size_t i)
{
    const cr_record *r = &p->net->records[i];
    const size_t least = STRIP_PANELS * p->kernels->tile_cols * p->n_threads;
    if (p->n_threads == 1 || r->kind != CR_LAYER_DENSE || r->by_row || r->n_in < least || r->n_out < least) {
        return 0;
    }
    return r->n_in * r->n_out * sizeof(REAL) >= WIDE_BYTES
           || p->n_rows < FEW_TILES * p->kernels->tile_rows * p->n_threads;
}

/* Columns a task takes of n_cols: whole panels, four tasks a thread where they are wide enough. */
static size_t RN(strip_cols)(const RN(pass) *p, size_t n_cols)
{
    const size_t panel = p->kernels->tile_cols;
    const size_t least = STRIP_PANELS * panel;
    size_t cols = (n_cols + 4 * p->n_threads - 1) / (4 * p->n_threads);
    cols = cols < least ? least : cols;
    return (cols + panel - 1) / panel * panel;
}

static void RN(forward_strip_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    const cr_network *net = p->net;
    const cr_record *r = &net->records[p->column_layer];
    const cr_buffers *b = &net->arena.layers[p->column_layer];
    const REAL *parameters = net->arrays.parameters;
    const size_t cols = RN(strip_cols)(p, r->n_out), first = index * cols;
    const size_t n = r->n_out - first < cols ? r->n_out - first : cols;
    size_t ld_x;
    const REAL *x = RN(input_rows)(p, p->column_layer, 0, &ld_x);
    p->kernels->dense_forward(p->n_rows, r->n_in, n, x, ld_x, parameters + r->weight + first, r->n_out,
                              r->bias == CR_NONE ? NULL : parameters + r->bias + first, r->activation, (REAL)r->alpha,
                              b->pre == NULL ? NULL : (REAL *)b->pre + first, b->ld, (REAL *)b->output + first, b->ld,
                              NULL, RN(scratch_of)(p, worker));
}

static void RN(backward_strip_task)(void *argument, size_t index, size_t worker)
{
    const RN(pass) *p = argument;
    const size_t i = p->column_layer;
    const cr_record *r = &p->net->records[i];
    const size_t cols = RN(strip_cols)(p, r->n_in), first = index * cols;
    const size_t n = r->n_in - first < cols ? r->n_in - first : cols;
    size_t ld_g, ld_below;
    const REAL *g = RN(gradient_rows)(p, i, 0, &ld_g);
    REAL *below = RN(gradient_rows)(p, i == 0 ? CR_NONE : i - 1, 0, &ld_below);
    RN(dense_backward)(p, i, 0, p->n_rows, first, n, g, ld_g, below, ld_below, RN(scratch_of)(p, worker));
}

static void RN(run_strips)(RN(pass) *p, size_t layer, size_t n_cols, cr_task task)
{
    const size_t cols = RN(strip_cols)(p, n_cols);
    p->column_layer = layer;
    cr_parallel_for((n_cols + cols - 1) / cols, p->n_threads, task, p);
}

/* ---- phase 1 as a whole -------------------------------------------------------------------------------- */

static int RN(goes_by_columns)(const RN(pass) *p, size_t i)
{
    return p->net->records[i].kind == CR_LAYER_BATCH_NORM || RN(is_wide)(p, i);
}

/* The highest layer below `end` that goes by columns, or CR_NONE. */
static size_t RN(cut_below)(const RN(pass) *p, size_t end)
{
    for (size_t i = end; i-- > 0;) {
        if (RN(goes_by_columns)(p, i)) {
            return i;
        }
    }
    return CR_NONE;
}

/* The next part of backward by rows goes from layer from-1 down to the first cut below layer `end`, which is
 * returned. */
static size_t RN(set_backward)(RN(pass) *p, size_t from, size_t end)
{
    const size_t cut = RN(cut_below)(p, end);
    p->backward_from = from;
    p->backward_to = cut == CR_NONE ? 0 : cut + 1;
    p->backward_edge = cut != CR_NONE && p->net->records[cut].kind == CR_LAYER_DENSE ? cut : CR_NONE;
    return cut;
}

/* The column step of backward at layer `cut`; then the rows down to the next cut, which is returned. */
static size_t RN(backward_from_cut)(RN(pass) *p, size_t cut)
{
    const cr_record *r = &p->net->records[cut];
    if (r->kind == CR_LAYER_BATCH_NORM) {
        RN(run_columns)(p, cut, RN(norm_gradients_task));
        const size_t next = RN(set_backward)(p, cut + 1, cut);
        RN(run_rows)(p);
        return next;
    }
    size_t ld;
    if (RN(gradient_rows)(p, cut == 0 ? CR_NONE : cut - 1, 0, &ld) != NULL) {
        RN(run_strips)(p, cut, r->n_in, RN(backward_strip_task));
    }
    const size_t next = RN(set_backward)(p, cut, cut);
    if (p->backward_from > p->backward_to || (next != CR_NONE && !p->net->records[next].derivative_above)) {
        RN(run_rows)(p);
    }
    return next;
}

/* Layers 0 up to the last that goes by columns, and the parts by rows between. Returns where rows go on. */
static size_t RN(forward_to_last_cut)(RN(pass) *p)
{
    const cr_network *net = p->net;
    size_t from = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        if (!RN(goes_by_columns)(p, i)) {
            continue;
        }
        p->forward_from = from;
        p->forward_to = i;
        if (from < i || p->gathers) {
            RN(run_rows)(p);
        }
        p->gathers = 0;
        if (net->records[i].kind == CR_LAYER_BATCH_NORM) {
            RN(run_columns)(p, i, RN(statistics_task));
            from = i;
        } else {
            RN(run_strips)(p, i, net->records[i].n_out, RN(forward_strip_task));
            from = i + 1;
        }
    }
    return from;
}

/* Forward, if asked for, then what p says of y, loss and dy, then backward, if asked for. */
static void RN(run_phase_1)(RN(pass) *p, int forward, int backward)
{
    const cr_network *net = p->net;
    const RN(pass) asked = *p;
    p->gathers = forward && p->order != NULL;
    p->backward_from = p->backward_to = 0;
    p->backward_edge = CR_NONE;
    p->forward_from = net->n_layers;
    if (forward) {
        p->y = NULL;
        p->has_loss = 0;
        p->dy = NULL;
        p->forward_from = RN(forward_to_last_cut)(p);
        p->y = asked.y;
        p->has_loss = asked.has_loss;
        p->dy = asked.dy;
    }
    p->forward_to = net->n_layers;
    size_t cut = backward ? RN(set_backward)(p, net->n_layers, net->n_layers) : CR_NONE;
    RN(run_rows)(p);
    p->gathers = 0;
    p->y = NULL;
    p->has_loss = 0;
    p->dy = NULL;
    p->forward_from = net->n_layers;
    while (cut != CR_NONE) {
        cut = RN(backward_from_cut)(p, cut);
    }
}
