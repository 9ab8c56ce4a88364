/* small.inc.h - which networks and batches take the short way of kernels/small.inc.h, and the way there.
 *
 * Only dense layers with elementwise activations; to train, no penalties and no clipping. Everything else, and every
 * larger batch, takes the general passes, with the same bits. */

/* Measured on AVX-512 and AVX2 with nets from 2-8-1 to 16-64-64-4: steps of 16 rows gain 0 to 100 %, of 32 rows still
 * 15 to 60 % up to some 200 parameters, and lose up to 10 % from 1300 on. */
#define SMALL_ROWS ((size_t)16)
#define SMALLER_PARAMETERS ((size_t)1024)
#define SMALLER_ROWS ((size_t)32)

/* Rows of the largest batch that takes the short way. */
static size_t RN(small_rows)(const cr_network *net)
{
    return net->sizes.n_parameters <= SMALLER_PARAMETERS ? SMALLER_ROWS : SMALL_ROWS;
}

/* A layer without its work arrays, their rows laid out for vectors of so many lanes. */
static inline RN(small_layer) RN(small_layer_of)(const cr_record *r, size_t lanes)
{
    return (RN(small_layer)){.n_in = r->n_in, .n_out = r->n_out, .weight = r->weight, .bias = r->bias,
                             .ld = r->n_out == 1 ? 1 : (r->n_out + lanes - 1) / lanes * lanes,
                             .has_bias = r->bias != CR_NONE, .activation = r->activation, .alpha = r->alpha};
}

/* ---- steps ------------------------------------------------------------------------------------------------- */

/* Hand out the work arrays of small steps as place does, and fill in arena->small; none for other networks. */
static void RN(place_small)(const cr_network *net, cr_arena *arena, cr_pieces *pieces)
{
    if (!net->is_small || net->has_penalty) {
        return;
    }
    RN(small_layer) *layers = cr_piece(pieces, net->n_layers, sizeof *layers);
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        /* Rows of whole vectors, of at most a cache line on every ISA, and a vector to spare. */
        const size_t line = 64 / sizeof(REAL);
        const size_t n = RN(small_rows)(net) * ((r->n_out + line - 1) / line * line) + line;
        RN(small_layer) layer = RN(small_layer_of)(r, 1);
        layer.output = cr_piece(pieces, n, sizeof(REAL));
        layer.delta = cr_piece(pieces, n, sizeof(REAL));
        if (r->saves_input) {
            layer.pre = cr_piece(pieces, n, sizeof(REAL));
        }
        if (pieces->base != NULL) {
            memset(layer.delta, 0, n * sizeof(REAL)); /* lanes past a row's end are read, though not used */
            layers[i] = layer;
        }
    }
    arena->small = layers;
}

/* Does a batch of n_rows take the short way? If so the work arrays are laid out for `kernels`, which another call
 * may have changed since. */
static int RN(is_small)(cr_network *net, const RN(kernels) *kernels, size_t n_rows)
{
    if (net->arena.small == NULL || net->general_only || n_rows == 0 || n_rows > RN(small_rows)(net)
        || net->optimizer.clip_norm > 0.0 || net->optimizer.clip_value > 0.0) {
        return 0;
    }
    const size_t lanes = kernels->tile_cols / 2;
    if (lanes != net->arena.small_lanes) {
        RN(small_layer) *layers = net->arena.small;
        for (size_t i = 0; i < net->n_layers; i++) {
            layers[i].ld = RN(small_layer_of)(&net->records[i], lanes).ld;
        }
        net->arena.small_lanes = lanes;
    }
    return 1;
}

/* ---- predictions ------------------------------------------------------------------------------------------- */

/* The kernel takes four rows at a time, then one by one, by two vectors, and a single row's sums are chains that wait.
 * (4-16-1, 1 row: 115 -> 56 ns, AVX2 130 -> 57; 16 rows x1.2. 16-64-64-4: 1 row x1.2, AVX2 x1.1, 4 rows x1.1, 1.3.) */
static int RN(is_served_small)(const cr_network *net, const RN(kernels) *kernels, size_t n_rows)
{
    const size_t two_vectors = kernels->tile_cols;
    if (!net->is_small || net->general_only || n_rows == 0 || n_rows > SMALL_ROWS || two_vectors == 2) {
        return 0; /* without vectors, sums of many terms take twice as long */
    }
    return net->widest <= two_vectors
           || (net->widest <= 4 * two_vectors && (n_rows == 1 || (n_rows % 4 == 0 && n_rows < SMALL_ROWS)));
}

/* y = network(x), one thread. The layers take turns with the two buffers of the workspace, which hold CR_BLOCK_ROWS
 * rows of cr_padded(widest) elements each: room for SMALL_ROWS rows of whole vectors, and a vector to spare. */
static void RN(serve_small)(const cr_network *net, const RN(kernels) *kernels, const cr_workspace *workspace,
                            size_t n_rows, const REAL *x, size_t ld_x, REAL *y, size_t ld_y)
{
    const size_t lanes = kernels->tile_cols / 2;
    for (size_t i = 0; i < net->n_layers; i++) {
        RN(small_layer) layer = RN(small_layer_of)(&net->records[i], lanes);
        layer.output = (REAL *)workspace->buffers + (i % 2) * CR_BLOCK_ROWS * workspace->ld;
        kernels->small_forward(&layer, net->arrays.parameters, n_rows, x, ld_x);
        x = layer.output;
        ld_x = layer.ld;
    }
    for (size_t i = 0; i < n_rows; i++) { /* 16 rows by copy_rows: 6 % of 4-16-1 */
        for (size_t j = 0; j < net->sizes.n_out; j++) {
            y[i * ld_y + j] = x[i * ld_x + j];
        }
    }
}
