/* plan.inc.h - where things lie and how a pass is cut up: the arena, the pass, its chunks of rows. */

/* ---- the arena ----------------------------------------------------------------------------------------- */

/* A slab of the weight gradient, the matching pieces of weight and optimizer state, and some rows of x and dz should
 * stay in the second-level cache. */
#define SLAB_BYTES ((size_t)256 * 1024)
/* But a dz of more than DZ_NEAR_BYTES comes from the third level again for every slab, so a few large slabs are better
 * (Adam, AVX2: 512 x 4096 x 4096 with slabs of 16 rows 1.12 s a step, of 256 rows 0.88; 1024^3 with 64 rows 173 ms,
 * with all 160). */
#define DZ_NEAR_BYTES ((size_t)1024 * 1024)
#define FAR_SLAB_BYTES ((size_t)4096 * 1024)
/* Where a slab begins is chosen within so many elements, a page. */
#define SLAB_SLACK (4096 / sizeof(REAL))
/* No register tile is higher than this; a slab holds at least so many rows. */
#define SLAB_ROWS_MIN ((size_t)16)

static size_t RN(slab_size)(const cr_network *net, size_t n_rows)
{
    size_t size = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        if (r->kind == CR_LAYER_DENSE) {
            const int stays = cr_size_mul(cr_size_mul(n_rows, r->n_out), sizeof(REAL)) <= DZ_NEAR_BYTES;
            const size_t all = r->n_in * r->n_out;
            const size_t least = SLAB_ROWS_MIN * r->n_out;
            size_t slab = (stays ? SLAB_BYTES : FAR_SLAB_BYTES) / sizeof(REAL);
            slab = slab < least ? least : slab;
            slab = slab > all ? all : slab;
            size = size < slab ? slab : size;
        }
    }
    return size;
}

/* Parameters in ranges of this many, for the passes over flat arrays: the unit of work of a thread, and of the fixed
 * order in which the global norm is summed. */
#define RANGE ((size_t)65536)

/* Hand out every array of `arena`; measures when pieces->base is NULL. */
static void RN(place)(const cr_network *net, cr_arena *arena, cr_pieces *pieces)
{
    const size_t n_rows = arena->n_rows;
    arena->layers = cr_piece(pieces, net->n_layers, sizeof(cr_buffers));
    arena->first_task = cr_piece(pieces, net->n_layers + 1, sizeof(size_t));
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        cr_buffers b = {.ld = r->ld};
        const size_t n = cr_size_mul(n_rows, b.ld);
        b.output = cr_piece(pieces, n, sizeof(REAL));
        if (r->kind == CR_LAYER_DENSE && r->saves_input) {
            b.pre = cr_piece(pieces, n, sizeof(REAL));
        }
        if (r->keeper == i) {
            b.delta = cr_piece(pieces, n, sizeof(REAL));
        }
        if (r->kind == CR_LAYER_NORM || r->kind == CR_LAYER_BATCH_NORM) {
            const size_t n_statistics = r->kind == CR_LAYER_NORM ? n_rows : r->n_out;
            b.mean = cr_piece(pieces, n_statistics, sizeof(REAL));
            b.inverse_std = cr_piece(pieces, n_statistics, sizeof(REAL));
        }
        if (pieces->base != NULL) {
            arena->layers[i] = b;
        }
    }
    arena->row_loss = cr_piece(pieces, n_rows, sizeof(double));
    arena->norm_parts = cr_piece(pieces, net->sizes.n_parameters / RANGE + 1, sizeof(double));
    arena->ld_x = cr_padded(net->n_in, sizeof(REAL));
    arena->ld_target = cr_padded(net->sizes.n_out, sizeof(REAL));
    arena->x = cr_piece(pieces, cr_size_mul(n_rows, arena->ld_x), sizeof(REAL));
    arena->target = cr_piece(pieces, cr_size_mul(n_rows, arena->ld_target), sizeof(REAL));
    arena->weight = cr_piece(pieces, n_rows, sizeof(REAL));
    arena->labels = cr_piece(pieces, n_rows, sizeof(int32_t));
    const size_t line = 64 / sizeof(REAL);
    arena->slab_size = (RN(slab_size)(net, n_rows) + line - 1) / line * line; /* so that each begins on a line */
    arena->scratch = cr_piece(pieces, arena->n_workers * CR_SCRATCH_MAX, sizeof(REAL));
    arena->slab = cr_piece(pieces, cr_size_mul(arena->n_workers, arena->slab_size + SLAB_SLACK), sizeof(REAL));
    RN(place_small)(net, arena, pieces);
}

cr_status RN(network_reserve)(cr_network *net, size_t n_rows)
{
    const size_t n_threads = cr_threads_for(net, n_rows, 3).most;
    if (net->arena.block != NULL && n_rows <= net->arena.n_rows && n_threads <= net->arena.n_workers) {
        return CR_OK;
    }
    cr_arena arena = {.n_rows = n_rows, .n_workers = n_threads};
    if (arena.n_rows < net->arena.n_rows) {
        arena.n_rows = net->arena.n_rows;
    }
    if (arena.n_workers < net->arena.n_workers) {
        arena.n_workers = net->arena.n_workers;
    }
    cr_pieces pieces = {NULL, 0};
    RN(place)(net, &arena, &pieces);
    char *base;
    arena.block = cr_block_alloc(pieces.used, &base);
    if (arena.block == NULL) {
        return CR_NO_MEMORY;
    }
    pieces = (cr_pieces){base, 0};
    RN(place)(net, &arena, &pieces);
    free(net->arena.block);
    net->arena = arena;
    net->last.valid = 0;
    return CR_OK;
}

/* ---- a pass -------------------------------------------------------------------------------------------- */

/* What the parameter tasks do with the gradients they make. */
typedef enum RN(mode) {
    RN(GRADIENTS_ONLY), /* leave them in the gradient array */
    RN(FUSED_SGD),      /* update the weights in the epilogue of the product */
    RN(FUSED_SLABS)     /* update each slab of weights while its gradient is in the cache */
} RN(mode);

/* One trip of a batch through the network: all that the tasks of a parallel region are told. */
typedef struct RN(pass) {
    cr_network *net;
    const RN(kernels) *kernels;
    size_t n_rows;
    cr_threads threads;  /* by rule, and at most */
    size_t n_threads;    /* that it is given */
    size_t chunk;        /* rows a task takes */

    /* The batch. With `order` set the rows order[0 .. n_rows-1] of source are gathered into the arena first. */
    const REAL *x;
    size_t ld_x;
    const REAL *target;
    size_t ld_target;
    const int32_t *labels;
    const REAL *weight;
    const int64_t *order;
    const cr_rows *source;
    size_t n_next; /* rows of the next batch, whose places follow in `order` */

    int training;
    uint64_t forward; /* keys the dropout masks */

    /* What a task over rows does, in this order; each part may be empty. */
    int gathers;
    size_t forward_from, forward_to;   /* layers from .. to-1 */
    REAL *y;                           /* receives the output; NULL: not wanted */
    size_t ld_y;
    int has_loss;
    REAL loss_scale;
    const REAL *dy;                    /* the gradient of the output; NULL: the loss has left it in place */
    size_t ld_dy;
    size_t backward_from, backward_to; /* layers from-1 down to `to` */
    REAL *dx;                          /* receives the gradient of x; NULL: not wanted */
    size_t ld_dx;

    size_t backward_edge; /* wide dense layer: only the elementwise part of it is the rows'; CR_NONE: none */

    size_t column_layer; /* for tasks over columns: the layer */

    int is_small; /* the whole step is one kernel: small.inc.h */
    RN(mode) mode;
    cr_update update;
} RN(pass);

/* Rows a task takes when several threads share a batch. There are up to four tasks a thread, so that a helper that
 * wakes late or is pushed aside costs little; a task has at least four register tiles, because it transposes or packs
 * the weights anew; and threads get equally many tasks, because otherwise one of them idles at the end. */
static size_t RN(rows_per_task)(const RN(kernels) *kernels, size_t n_rows, size_t n_threads)
{
    if (n_threads <= 1 || n_rows == 0) {
        return n_rows;
    }
    const size_t tile = kernels->tile_rows;
    const size_t share = (n_rows + n_threads - 1) / n_threads;
    size_t a_thread = share / (4 * tile);
    a_thread = a_thread > 4 ? 4 : a_thread < 1 ? 1 : a_thread;
    return (n_rows + n_threads * a_thread - 1) / (n_threads * a_thread);
}

static void RN(set_threads)(RN(pass) *p, size_t n_threads)
{
    p->n_threads = n_threads;
    p->chunk = RN(rows_per_task)(p->kernels, p->n_rows, n_threads);
}

/* Settle threads and chunks for n_rows; the arena must have room. */
static void RN(pass_for)(RN(pass) *p, cr_network *net, size_t n_rows)
{
    const size_t n_workers = net->arena.n_workers;
    p->net = net;
    p->kernels = CURRENT();
    p->n_rows = n_rows;
    p->threads = cr_threads_for(net, n_rows, 3);
    p->threads.rule = p->threads.rule < n_workers ? p->threads.rule : n_workers;
    p->threads.most = p->threads.most < n_workers ? p->threads.most : n_workers;
    RN(set_threads)(p, p->threads.rule);
}

/* Rows `row` and on of the input of layer i. */
static const REAL *RN(input_rows)(const RN(pass) *p, size_t i, size_t row, size_t *ld)
{
    if (i == 0) {
        *ld = p->ld_x;
        return p->x + row * p->ld_x;
    }
    const cr_buffers *below = &p->net->arena.layers[i - 1];
    *ld = below->ld;
    return (const REAL *)below->output + row * below->ld;
}

static REAL *RN(scratch_of)(const RN(pass) *p, size_t worker)
{
    return (REAL *)p->net->arena.scratch + worker * CR_SCRATCH_MAX;
}

static void RN(copy_rows)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a, REAL *out, size_t ld_out)
{
    for (size_t i = 0; i < n_rows; i++) {
        memcpy(out + i * ld_out, a + i * ld_a, n_cols * sizeof(REAL));
    }
}
