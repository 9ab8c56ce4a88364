/* forward.inc.h - rows through the layers: predict, evaluate's forward, the forward of a training pass. */

/* What a layer needs beside its input and output. */
typedef struct RN(layer_extra) {
    REAL *pre;                 /* dense: receives x w + b, rows at distance ld_pre; NULL: not wanted */
    size_t ld_pre;
    const REAL *batch_mean;    /* batch norm, by column */
    REAL *mean, *inverse_std;  /* layer norm: receive one pair a row; batch norm: inverse_std is read */
    cr_soon *soon;             /* dense: rows to fetch meanwhile; NULL: none */
    REAL *scratch;
} RN(layer_extra);

/* y = layer(x) for every kind but dropout, which only training has. */
static inline void RN(layer_forward)(const RN(kernels) *k, const cr_record *r, const REAL *parameters, size_t n_rows,
                                     const REAL *x, size_t ld_x, REAL *y, size_t ld_y, const RN(layer_extra) *extra)
{
    switch (r->kind) {
    case CR_LAYER_DENSE:
        k->dense_forward(n_rows, r->n_in, r->n_out, x, ld_x, parameters + r->weight, r->n_out,
                         r->bias == CR_NONE ? NULL : parameters + r->bias, r->activation, (REAL)r->alpha, extra->pre,
                         extra->ld_pre, y, ld_y, extra->soon, extra->scratch);
        break;
    case CR_LAYER_NORM:
        k->layer_norm_forward(n_rows, r->n_out, (REAL)r->epsilon, x, ld_x, parameters + r->weight,
                              parameters + r->bias, extra->mean, extra->inverse_std, y, ld_y);
        break;
    case CR_LAYER_BATCH_NORM:
        k->batch_norm_apply(n_rows, r->n_out, x, ld_x, parameters + r->weight, parameters + r->bias,
                            extra->batch_mean, extra->inverse_std, y, ld_y);
        break;
    default:
        k->activation(r->activation, (REAL)r->alpha, n_rows, r->n_out, x, ld_x, y, ld_y);
        break;
    }
}

/* ---- inference ----------------------------------------------------------------------------------------- */

/* What the tasks of predict and evaluate are told. */
typedef struct RN(serving) {
    const cr_network *net;
    const RN(kernels) *kernels;
    cr_workspace *workspace;
    size_t n_rows, block;
    const REAL *x;
    size_t ld_x;
    REAL *y; /* NULL: evaluate does not want it */
    size_t ld_y;
    const cr_rows *rows; /* evaluate: where the targets are; NULL: predict */
} RN(serving);

static void RN(serve_block)(void *argument, size_t index, size_t worker)
{
    const RN(serving) *s = argument;
    const cr_network *net = s->net;
    const RN(kernels) *k = s->kernels;
    const cr_workspace *w = s->workspace;
    const size_t first = index * s->block;
    const size_t n = s->n_rows - first < s->block ? s->n_rows - first : s->block;
    REAL *buffer[2];
    buffer[0] = (REAL *)w->buffers + worker * 2 * CR_BLOCK_ROWS * w->ld;
    buffer[1] = buffer[0] + CR_BLOCK_ROWS * w->ld;
    RN(layer_extra) extra = {.mean = (REAL *)w->row_mean + worker * CR_BLOCK_ROWS,
                             .scratch = (REAL *)w->scratch + worker * CR_SCRATCH_MIN};
    REAL *y = s->y == NULL ? NULL : s->y + first * s->ld_y;

    const REAL *at = s->x + first * s->ld_x;
    size_t ld = s->ld_x;
    int turn = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        if (!r->active) {
            continue;
        }
        REAL *out = buffer[turn];
        size_t ld_out = r->ld;
        if (i == net->last_active && y != NULL) {
            out = y;
            ld_out = s->ld_y;
        }
        extra.inverse_std = (REAL *)w->row_inverse_std + worker * CR_BLOCK_ROWS;
        if (r->kind == CR_LAYER_BATCH_NORM) {
            extra.batch_mean = (const REAL *)net->arrays.running + r->running;
            extra.inverse_std = (REAL *)w->inverse_std + r->running;
        }
        RN(layer_forward)(k, r, net->arrays.parameters, n, at, ld, out, ld_out, &extra);
        at = out;
        ld = ld_out;
        turn ^= 1;
    }
    if (y != NULL && at != y) { /* no layer does anything at inference */
        RN(copy_rows)(n, net->sizes.n_out, at, ld, y, s->ld_y);
    }
    if (s->rows != NULL) {
        const cr_rows *rows = s->rows;
        const REAL *target = rows->target;
        const REAL *weight = rows->weight;
        k->loss((int)net->loss, &net->loss_options, (REAL)0, n, net->sizes.n_out, at, ld,
                target == NULL ? NULL : target + first * rows->ld_target, rows->ld_target,
                rows->labels == NULL ? NULL : rows->labels + first, weight == NULL ? NULL : weight + first,
                w->row_loss + first, NULL, 0);
    }
}

/* Threads for serving n_rows: no more than there are rows to share. */
static cr_lap RN(serving_lap)(cr_network *net, size_t n_rows)
{
    cr_threads threads = cr_threads_for(net, n_rows, 1);
    if (threads.most > n_rows && n_rows > 0) {
        threads.most = n_rows;
        threads.rule = threads.rule < n_rows ? threads.rule : n_rows;
    }
    return cr_lap_begin(&net->serving, n_rows, threads);
}

/* Serve all rows with n_threads, or as many as s->workspace has room for. */
static void RN(serve)(RN(serving) *s, size_t n_threads)
{
    const cr_network *net = s->net;
    n_threads = n_threads < s->workspace->n_workers ? n_threads : s->workspace->n_workers;
    for (size_t i = 0; net->n_batch_norms > 0 && i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        if (r->kind == CR_LAYER_BATCH_NORM) {
            s->kernels->inverse_std(r->n_out, (REAL)r->epsilon,
                                    (const REAL *)net->arrays.running + r->running + r->n_out,
                                    (REAL *)s->workspace->inverse_std + r->running);
        }
    }
    if (n_threads == 1) {
        s->block = CR_BLOCK_ROWS;
        for (size_t first = 0, index = 0; first < s->n_rows; first += CR_BLOCK_ROWS, index++) {
            RN(serve_block)(s, index, 0);
        }
        return;
    }
    s->block = RN(rows_per_task)(s->kernels, s->n_rows, n_threads);
    s->block = s->block < CR_BLOCK_ROWS ? s->block : CR_BLOCK_ROWS;
    cr_parallel_for((s->n_rows + s->block - 1) / s->block, n_threads, RN(serve_block), s);
}

cr_status RN(network_predict)(cr_network *net, size_t n_rows, const REAL *x, size_t ld_x, REAL *y, size_t ld_y)
{
    const RN(kernels) *const kernels = CURRENT();
    if (RN(is_served_small)(net, kernels, n_rows)) {
        cr_workspace *workspace = cr_workspace_take(net, 1);
        if (workspace == NULL) {
            return CR_NO_MEMORY;
        }
        RN(serve_small)(net, kernels, workspace, n_rows, x, ld_x, y, ld_y);
        cr_workspace_give(net, workspace);
        return CR_OK;
    }
    const cr_lap lap = RN(serving_lap)(net, n_rows);
    RN(serving) s = {.net = net, .kernels = kernels, .workspace = cr_workspace_take(net, lap.n_threads),
                     .n_rows = n_rows, .x = x, .ld_x = ld_x, .y = y, .ld_y = ld_y};
    if (s.workspace != NULL) {
        RN(serve)(&s, lap.n_threads);
        cr_workspace_give(net, s.workspace);
    }
    cr_lap_end(&lap);
    return s.workspace == NULL ? CR_NO_MEMORY : CR_OK;
}

/* ---- training ------------------------------------------------------------------------------------------ */

/* Fetching the rows of the next batch during the first product pays while its weights fit a second-level cache: in
 * larger ones it takes room from them (784-128-10, Zen 4: with 32 rows it saves 4 of 6 %, with 64 to 512 rows 1 to 2.4
 * of 5 to 8; 784-512-512-10 would lose 1.5). With several threads the rows must fit it too, because the next step may
 * give them to another one. */
#define FETCH_BYTES ((size_t)768 * 1024)

static int RN(fetches)(const RN(pass) *p)
{
    const size_t row = p->net->n_in * sizeof(REAL), weight = p->net->records[0].n_out * row;
    return weight + (p->n_threads == 1 ? 0 : 2 * p->n_rows * row) <= FETCH_BYTES;
}

/* What rows row .. row+n-1 of the arena receive in the next step: the first product has it fetched meanwhile. */
static cr_soon RN(soon)(const RN(pass) *p, size_t row, size_t n)
{
    const cr_rows *from = p->source;
    cr_soon soon = {.base = from->x, .order = p->order + p->n_rows + row, .n_cols = p->net->n_in,
                    .ld = from->ld_x};
    soon.n_rows = p->n_next < row ? 0 : p->n_next - row < n ? p->n_next - row : n;
    return soon;
}

/* Rows row .. row+n-1 through the layers of this part of the pass. */
static void RN(forward_rows)(const RN(pass) *p, size_t row, size_t n, REAL *scratch)
{
    const cr_network *net = p->net;
    cr_soon soon = {.n_rows = 0};
    if (p->gathers && RN(fetches)(p)) {
        soon = RN(soon)(p, row, n);
    }
    for (size_t i = p->forward_from; i < p->forward_to; i++) {
        const cr_record *r = &net->records[i];
        const cr_buffers *b = &net->arena.layers[i];
        size_t ld_x;
        const REAL *x = RN(input_rows)(p, i, row, &ld_x);
        REAL *y = (REAL *)b->output + row * b->ld;
        if (r->kind == CR_LAYER_DROPOUT) {
            if (p->training && r->rate > 0.0) {
                const cr_dropout_key key = {net->seed, p->forward, (uint32_t)i};
                p->kernels->dropout(r->rate, &key, row, n, r->n_out, x, ld_x, y, b->ld);
            } else {
                RN(copy_rows)(n, r->n_out, x, ld_x, y, b->ld);
            }
            continue;
        }
        RN(layer_extra) extra = {.ld_pre = b->ld, .soon = soon.next < soon.n_rows ? &soon : NULL, .scratch = scratch};
        if (b->pre != NULL) {
            extra.pre = (REAL *)b->pre + row * b->ld;
        }
        if (r->kind == CR_LAYER_NORM) {
            extra.mean = (REAL *)b->mean + row;
            extra.inverse_std = (REAL *)b->inverse_std + row;
        } else if (r->kind == CR_LAYER_BATCH_NORM) {
            extra.batch_mean = b->mean;
            extra.inverse_std = b->inverse_std;
        }
        RN(layer_forward)(p->kernels, r, net->arrays.parameters, n, x, ld_x, y, b->ld, &extra);
    }
}

/* Columns first .. first+n-1 of batch norm i: mean and inverse standard deviation for this pass. Training takes
 * them from the batch and folds them into the running ones; otherwise they are the running ones. */
static void RN(batch_statistics)(const RN(pass) *p, size_t i, size_t first, size_t n)
{
    const RN(kernels) *k = p->kernels;
    const cr_record *r = &p->net->records[i];
    const cr_buffers *b = &p->net->arena.layers[i];
    REAL *mean = (REAL *)b->mean + first;
    REAL *inverse_std = (REAL *)b->inverse_std + first;
    REAL *running_mean = (REAL *)p->net->arrays.running + r->running + first;
    REAL *running_variance = running_mean + r->n_out;
    if (p->training && p->n_rows > 0) {
        size_t ld_x;
        const REAL *x = RN(input_rows)(p, i, 0, &ld_x);
        k->batch_statistics(p->n_rows, n, x + first, ld_x, mean, inverse_std); /* the variance, for two lines */
        k->batch_norm_fold(p->n_rows, n, (REAL)r->momentum, mean, inverse_std, running_mean, running_variance);
        k->inverse_std(n, (REAL)r->epsilon, inverse_std, inverse_std);
    } else {
        memcpy(mean, running_mean, n * sizeof(REAL));
        k->inverse_std(n, (REAL)r->epsilon, running_variance, inverse_std);
    }
}
