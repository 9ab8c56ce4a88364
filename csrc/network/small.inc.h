/* small.inc.h - which networks and batches take the short way of kernels/small.inc.h, and the way there.
 *
 * Only dense layers with elementwise activations, no penalties, no clipping. Everything else, and every larger
 * batch, takes the general passes, with the same bits. */

/* Beyond these the general products, which keep more sums in registers, are as fast or faster. Measured on AVX-512
 * and AVX2 with nets from 2-8-1 to 16-64-64-4: 16 rows gain 0 to 100 %, 32 rows still 15 to 60 % up to some 200
 * parameters, and lose up to 10 % from 1300 on. */
#define SMALL_WIDTH ((size_t)64)
#define SMALL_PARAMETERS ((size_t)8192)
#define SMALL_ROWS ((size_t)16)
#define SMALLER_PARAMETERS ((size_t)1024)
#define SMALLER_ROWS ((size_t)32)

/* Rows of the largest batch that takes the short way. */
static size_t RN(small_rows)(const cr_network *net)
{
    return net->sizes.n_parameters <= SMALLER_PARAMETERS ? SMALLER_ROWS : SMALL_ROWS;
}

static int RN(net_is_small)(const cr_network *net)
{
    int small = net->sizes.n_parameters <= SMALL_PARAMETERS && net->n_in <= SMALL_WIDTH && net->widest <= SMALL_WIDTH
                && !net->has_penalty;
    for (size_t i = 0; small && i < net->n_layers; i++) {
        small = net->records[i].kind == CR_LAYER_DENSE && !net->records[i].by_row;
    }
    return small;
}

/* Hand out the work arrays of small steps as place does, and fill in arena->small; none for other networks. */
static void RN(place_small)(const cr_network *net, cr_arena *arena, cr_pieces *pieces)
{
    if (!RN(net_is_small)(net)) {
        return;
    }
    RN(small_layer) *layers = cr_piece(pieces, net->n_layers, sizeof *layers);
    for (size_t i = 0; i < net->n_layers; i++) {
        const cr_record *r = &net->records[i];
        /* Rows of whole vectors, of at most a cache line on every ISA, and a vector to spare. */
        const size_t line = 64 / sizeof(REAL);
        const size_t n = RN(small_rows)(net) * ((r->n_out + line - 1) / line * line) + line;
        RN(small_layer) layer = {.n_in = r->n_in, .n_out = r->n_out, .weight = r->weight, .bias = r->bias,
                                 .has_bias = r->bias != CR_NONE, .activation = r->activation, .alpha = r->alpha};
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
            const size_t n = layers[i].n_out;
            layers[i].ld = n == 1 ? 1 : (n + lanes - 1) / lanes * lanes;
        }
        net->arena.small_lanes = lanes;
    }
    return 1;
}
