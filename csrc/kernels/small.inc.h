/* small.inc.h - one whole training step of a small dense network in one call.
 *
 * What costs in a tiny network is not the arithmetic but the way to it: loops over layer records, calls through
 * the table, products set up for blocks and panels that are not there, short rows stored under masks that the
 * next load has to wait for. Here a step is a straight line: one kind of layer, one block of at most CR_KB terms
 * for every sum, one thread, direct calls. The operations on each element and their order are those of the
 * other kernels, so the bits are too.
 *
 * Rows of a work array lie ld apart, which the caller chooses: whole vectors, but 1 for one column, which the
 * losses take as one run. There are V_LANES elements to spare at the end, because whole vectors are stored there.
 * Lanes past a row's end hold values that reach no result.
 */

/* What becomes of the sums of a product. */
enum {
    FN(SMALL_WORK),    /* out = sum (+ bias), a work array */
    FN(SMALL_STORE),   /* out = sum, nothing beyond its columns is touched */
    FN(SMALL_DESCEND)  /* out = fma(factor, sum, out), ditto */
};

/* C = A B: a[i][q] = a[i * a_row + q * a_col], b[q][j] = b[q * ld_b + j]; k <= CR_KB terms. */
typedef struct FN(small_product) {
    size_t m, n, k;
    const REAL *a;
    size_t a_row, a_col;
    const REAL *b;
    size_t ld_b;
    REAL *out;
    size_t ld_out;
    int end;
    REAL factor;
    const REAL *bias; /* NULL: none */
} FN(small_product);

/* MR rows of NV vectors of C from (i, j) on; with MASKED the last vector holds `live` lanes. MR, NV and MASKED
 * are constants where this is called. */
CR_INLINE void FN(small_tile)(const int MR, const int NV, const int MASKED, const FN(small_product) *p, size_t i,
                              size_t j, V(mask_t) live)
{
    const size_t a_row = p->a_row, a_col = p->a_col, ld_b = p->ld_b, ld_out = p->ld_out;
    const REAL *a = p->a + i * a_row, *b = p->b + j;
    V(t) acc[4][2];
    for (int r = 0; r < MR; r++) {
        for (int v = 0; v < NV; v++) {
            acc[r][v] = V(zero)();
        }
    }
    for (size_t q = p->k; q > 0; q--) {
        V(t) row[2];
        for (int v = 0; v < NV; v++) {
            row[v] = FN(tile_load)(MASKED && v == NV - 1, live, b + v * V_LANES);
        }
        for (int r = 0; r < MR; r++) {
            const V(t) element = V(set1)(a[(size_t)r * a_row]);
            for (int v = 0; v < NV; v++) {
                acc[r][v] = V(fma)(element, row[v], acc[r][v]);
            }
        }
        a += a_col;
        b += ld_b;
    }
    REAL *out = p->out + i * ld_out + j;
    if (p->end == FN(SMALL_WORK)) {
        if (p->bias != NULL) {
            for (int v = 0; v < NV; v++) {
                const V(t) bias = FN(tile_load)(MASKED && v == NV - 1, live, p->bias + j + v * V_LANES);
                for (int r = 0; r < MR; r++) {
                    acc[r][v] = V(add)(acc[r][v], bias);
                }
            }
        }
        for (int r = 0; r < MR; r++) { /* upwards: the next row of one column overwrites what this one spills */
            for (int v = 0; v < NV; v++) {
                V(store)(out + v * V_LANES, acc[r][v]);
            }
            out += ld_out;
        }
        return;
    }
    const V(t) factor = V(set1)(p->factor);
    for (int r = 0; r < MR; r++) {
        for (int v = 0; v < NV; v++) {
            const int masked = MASKED && v == NV - 1;
            REAL *const to = out + v * V_LANES;
            V(t) z = acc[r][v];
            if (p->end == FN(SMALL_DESCEND)) {
                z = V(fma)(factor, z, FN(tile_load)(masked, live, to));
            }
            FN(tile_store)(masked, live, to, z);
        }
        out += ld_out;
    }
}

/* The product in tiles of four rows, then single rows, by two vectors of columns. */
CR_INLINE void FN(small_multiply)(const FN(small_product) *p)
{
    for (size_t j = 0; j < p->n; j += 2 * V_LANES) {
        const size_t left = p->n - j;
        const V(mask_t) live = V(mask_first)(left >= 2 * V_LANES || left == V_LANES ? V_LANES : left % V_LANES);
        size_t i = 0;
#define CR_SMALL_ROWS(MR, NV, MASKED)                       \
    for (; i + MR <= p->m; i += MR) {                       \
        FN(small_tile)(MR, NV, MASKED, p, i, j, live);      \
    }
        if (left >= 2 * V_LANES) {
            CR_SMALL_ROWS(4, 2, 0)
            CR_SMALL_ROWS(1, 2, 0)
        } else if (left > V_LANES) {
            CR_SMALL_ROWS(4, 2, 1)
            CR_SMALL_ROWS(1, 2, 1)
        } else {
            CR_SMALL_ROWS(4, 1, 1)
            CR_SMALL_ROWS(1, 1, 1)
        }
#undef CR_SMALL_ROWS
    }
}

/* Elements of a work array of n_rows rows that an elementwise kernel runs over: whole vectors. */
CR_INLINE size_t FN(small_run)(size_t n_rows, size_t ld)
{
    return (n_rows * ld + V_LANES - 1) / V_LANES * V_LANES;
}

/* Whether one output is made with lanes over the rows (4-16-1, 32 rows: a step 1.25 times as fast, AVX2 1.07). With
 * AVX2 few rows or terms lose up to 15 %, but 9 rows of 64 terms gain 70. */
CR_INLINE int FN(is_small_column)(const RN(small_layer) *layer, size_t n_rows)
{
    return (CR_REGISTERS >= 32 || layer->n_in >= (n_rows >= 2 * V_LANES ? V_LANES : 4 * V_LANES))
           && FN(is_one_column)(n_rows, layer->n_out, layer->ld);
}

CR_NOINLINE void FN(small_column)(size_t n_rows, size_t n_in, const REAL *x, size_t ld_x, const REAL *weight,
                                  const REAL *bias, REAL *z)
{
    const FN(product) p = {.m = n_rows, .n = 1, .k = n_in, .a = x, .a_row = ld_x, .b = weight, .ld_b = 1,
                           .out = z, .end = CR_END_STORE, .bias = bias};
    FN(one_column)(&p);
}

/* output = f(x w + b), x w + b kept in pre where f' needs it */
static void FN(small_forward)(const RN(small_layer) *layer, const REAL *parameters, size_t n_rows, const REAL *x,
                              size_t ld_x)
{
    REAL *const z = layer->pre != NULL ? layer->pre : layer->output;
    const REAL *const weight = parameters + layer->weight;
    const REAL *const bias = layer->has_bias ? parameters + layer->bias : NULL;
    if (FN(is_small_column)(layer, n_rows)) {
        FN(small_column)(n_rows, layer->n_in, x, ld_x, weight, bias, z);
    } else {
        const FN(small_product) p = {
            .m = n_rows, .n = layer->n_out, .k = layer->n_in,
            .a = x, .a_row = ld_x, .a_col = 1, .b = weight, .ld_b = layer->n_out,
            .out = z, .ld_out = layer->ld, .end = FN(SMALL_WORK), .bias = bias,
        };
        FN(small_multiply)(&p);
    }
    if (layer->activation != CR_IDENTITY) {
        FN(apply_row)(layer->activation, (REAL)layer->alpha, FN(small_run)(n_rows, layer->ld), z, layer->output);
    }
}

/* delta *= f' */
CR_INLINE void FN(small_derivative)(const RN(small_layer) *layer, size_t n_rows)
{
    if (layer->activation != CR_IDENTITY) {
        FN(apply_row_backward)(layer->activation, (REAL)layer->alpha, FN(small_run)(n_rows, layer->ld), layer->delta,
                               layer->pre != NULL ? layer->pre : layer->output, layer->delta);
    }
}

/* dz of the layer below: (dz w^T) f'. w^T is w itself where one of its sides is 1. */
CR_INLINE void FN(small_input_gradient)(const RN(small_layer) *layer, const REAL *parameters, size_t n_rows,
                                        const RN(small_layer) *below, REAL *scratch)
{
    const REAL *transposed = parameters + layer->weight;
    size_t ld = layer->n_out == 1 ? layer->n_in : 1;
    if (layer->n_out > 1 && layer->n_in > 1) {
        ld = (layer->n_in + V_LANES - 1) / V_LANES * V_LANES;
        FN(pack_transposed)(layer->n_in, layer->n_out, transposed, layer->n_out, scratch, ld);
        transposed = scratch;
    }
    const FN(small_product) p = {
        .m = n_rows, .n = layer->n_in, .k = layer->n_out,
        .a = layer->delta, .a_row = layer->ld, .a_col = 1, .b = transposed, .ld_b = ld,
        .out = below->delta, .ld_out = below->ld, .end = FN(SMALL_WORK),
    };
    FN(small_multiply)(&p);
    FN(small_derivative)(below, n_rows);
}

/* to = x^T dz, or to = fma(factor, x^T dz, to); the same with ones for x for the bias. One output: turned round,
 * lanes over the inputs. */
static inline void FN(small_parameters)(const RN(small_layer) *layer, size_t n_rows, const REAL *x, size_t ld_x,
                                        int end, REAL factor, REAL *to)
{
    const size_t ld_delta = layer->ld;
    const int turned = layer->n_out == 1;
    FN(small_product) p = {
        .m = layer->n_in, .n = layer->n_out, .k = n_rows,
        .a = x, .a_row = 1, .a_col = ld_x, .b = layer->delta, .ld_b = ld_delta,
        .out = to + layer->weight, .ld_out = layer->n_out, .end = end, .factor = factor,
    };
    if (turned) {
        p.m = 1;
        p.n = layer->n_in;
        p.a = layer->delta;
        p.a_col = 1;
        p.b = x;
        p.ld_b = ld_x;
    }
    FN(small_multiply)(&p);
    if (!layer->has_bias) {
        return;
    }
    const V(t) rate = V(set1)(factor);
    REAL *const bias = to + layer->bias;
    for (size_t j = 0; j < layer->n_out; j += V_LANES) {
        const V(mask_t) live = V(mask_first)(FN(smaller)(layer->n_out - j, V_LANES));
        const REAL *delta = layer->delta + j;
        V(t) sum = V(zero)();
        for (size_t i = 0; i < n_rows; i++) {
            sum = V(add)(sum, V(load)(delta + i * ld_delta)); /* of lanes past the end nothing is kept */
        }
        if (end == FN(SMALL_DESCEND)) {
            sum = V(fma)(rate, sum, V(load_masked)(live, bias + j));
        }
        V(store_masked)(live, bias + j, sum);
    }
}

/* Forward, loss, backward and update. A layer is updated as soon as the gradient below it is made. */
static void FN(small_step)(const RN(small_batch) *batch, const RN(small_layer) *layers, size_t n_layers,
                           size_t n_parameters, REAL *parameters, REAL *gradients, REAL *state_0, REAL *state_1,
                           const cr_update *update, REAL *scratch)
{
    const size_t n_rows = batch->n_rows;
    const REAL *x = batch->x;
    size_t ld_x = batch->ld_x;
    for (size_t i = 0; i < n_layers; i++) {
        FN(small_forward)(&layers[i], parameters, n_rows, x, ld_x);
        x = layers[i].output;
        ld_x = layers[i].ld;
    }
    const RN(small_layer) *const top = &layers[n_layers - 1];
    FN(loss)(batch->loss, batch->loss_options, batch->loss_scale, n_rows, top->n_out, x, ld_x, batch->target,
             batch->ld_target, batch->labels, batch->weight, batch->row_loss, top->delta, ld_x);
    FN(small_derivative)(top, n_rows);

    const int plain_sgd = update->kind == CR_SGD && update->momentum == 0 && update->weight_decay == 0;
    for (size_t i = n_layers; i-- > 0;) {
        const RN(small_layer) *const layer = &layers[i];
        if (i > 0) {
            FN(small_input_gradient)(layer, parameters, n_rows, layer - 1, scratch);
        }
        x = i > 0 ? layer[-1].output : batch->x;
        ld_x = i > 0 ? layer[-1].ld : batch->ld_x;
        /* Rows that are not whole vectors are updated in one flat pass: row by row, a masked load would wait for the
         * masked store of the row before, which it overlaps. */
        if (plain_sgd && (layer->n_out == 1 || layer->n_out % V_LANES == 0)) {
            FN(small_parameters)(layer, n_rows, x, ld_x, FN(SMALL_DESCEND), -(REAL)update->learning_rate, parameters);
            continue;
        }
        FN(small_parameters)(layer, n_rows, x, ld_x, FN(SMALL_STORE), 0, gradients);
        if (plain_sgd) {
            const size_t n = layer->n_in * layer->n_out + (layer->has_bias ? layer->n_out : 0);
            FN(update_pass)(FN(SGD), update, n, parameters + layer->weight, gradients + layer->weight, NULL, NULL);
        }
    }
    if (!plain_sgd) {
        FN(update)(update, n_parameters, parameters, gradients, state_0, state_1);
    }
}
