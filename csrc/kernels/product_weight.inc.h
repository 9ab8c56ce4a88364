/* product_weight.inc.h - the weight gradient dw = x^T dz: C = A B with A = x^T, B = dz.
 *
 * With SGD folded in, w takes the place of dw at the end of the last block.
 */

/* Elements of a slab's row, and slabs that are laid out together. */
#define CR_SLAB_LD ((CR_TILE_ROWS + V_LANES - 1) / V_LANES * V_LANES)
#define CR_N_SLABS (CR_SLABS / CR_SLAB_LD)

/* Where tile t begins. */
CR_INLINE size_t FN(tile_at)(const FN(tiling) *c, size_t t)
{
    return t * c->rows + FN(smaller)(t, c->more);
}

/* `terms` rows of `lanes` <= V_LANES elements, ld_a apart, to rows ld apart. */
CR_INLINE void FN(pack_vectors)(size_t terms, size_t lanes, const REAL *a, size_t ld_a, REAL *to, size_t ld)
{
    for (size_t q = 0; q < terms; q++) {
        V(store)(to + q * ld, lanes == V_LANES ? V(load)(a + q * ld_a) : V(load_tail)(a + q * ld_a, lanes));
    }
}

/* Slabs of A for tiles t to `end`, one after the other, `terms` times ld elements each. a: row 0 of A at the block's
 * first term. Several slabs at a time, because one is narrower than a line of the cache, and by a few terms, because
 * lines a multiple of 4 KiB apart fall on one set of it, which has 8 or 12 ways. */
static void FN(pack_slabs)(const FN(tiling) *c, size_t t, size_t end, size_t terms, const REAL *a, size_t ld_a,
                           REAL *to, size_t ld)
{
    enum { TERMS = 8 };
    const size_t all = FN(tile_at)(c, c->n);
    for (size_t q = 0; q < terms; q += TERMS) {
        const size_t n = FN(smaller)(terms - q, TERMS);
        const REAL *const from = a + q * ld_a;
        REAL *slab = to + q * ld;
        for (size_t i = t; i < end; i++) {
            const size_t stop = FN(tile_at)(c, i + 1);
            for (size_t at = FN(tile_at)(c, i), r = 0; at < stop; at += V_LANES, r += V_LANES) {
                if (n == TERMS && at + V_LANES <= all) {
                    FN(pack_vectors)(TERMS, V_LANES, from + at, ld_a, slab + r, ld);
                } else {
                    FN(pack_vectors)(n, FN(smaller)(all - at, V_LANES), from + at, ld_a, slab + r, ld);
                }
            }
            slab += terms * ld;
        }
    }
}

/* Columns c to `end` of the block that begins with term q, tile by tile: slabs of A are laid out together, and each is
 * then used for all columns. */
static void FN(weight_columns)(FN(product) *p, const FN(weight_plan) *plan, size_t q, size_t c, size_t end,
                               REAL *scratch)
{
    const FN(tiling) *const tiling = &plan->tiling;
    const REAL *const a = p->a + q * p->a_col, *const b = p->b + q * p->ld_b;
    REAL *const panels = scratch + CR_KB * CR_SLABS;
    const size_t terms = p->terms, whole = 2 * V_LANES;
    size_t width;
    for (size_t j = c; plan->copied && j < end; j += width) {
        width = FN(smaller)(end - j, whole);
        FN(pack_rows)(terms, width, b + j, p->ld_b, panels + (j - c) * CR_KB, whole);
    }
    FN(product) part = *p;
    if (plan->slabs) {
        part.a_col = CR_SLAB_LD;
    }
    for (size_t t = 0; t < tiling->n; t++) {
        const size_t i = FN(tile_at)(tiling, t), height = FN(tile_at)(tiling, t + 1) - i;
        const size_t slab = t % CR_N_SLABS, last = FN(smaller)(t - slab + CR_N_SLABS, tiling->n);
        const REAL *const rows = plan->slabs ? scratch + slab * terms * CR_SLAB_LD : a + i;
        if (plan->slabs && slab == 0) {
            FN(pack_slabs)(tiling, t, last, terms, a, p->a_col, scratch, CR_SLAB_LD);
        }
        const size_t next = plan->fetched ? FN(tile_at)(tiling, last) : 0;
        const size_t n_next =
            plan->fetched ? FN(tile_at)(tiling, FN(smaller)(last + CR_N_SLABS, tiling->n)) - next : 0;
        for (size_t j = c; j < end; j += width) {
            width = plan->copied ? FN(smaller)(end - j, whole) : FN(panel_width)(height, end - j);
            if (n_next > 0) {
                const size_t from = terms * slab / CR_N_SLABS, parts = CR_N_SLABS * (end - c);
                FN(prefetch_rows)(from + terms * (j - c) / parts, from + terms * (j - c + width) / parts, n_next,
                                  a + next, p->a_col);
            }
            FN(panel_tiles)(&part, height, rows, plan->copied ? panels + (j - c) * CR_KB : b + j,
                            plan->copied ? whole : p->ld_b, i, j, width, NULL, NULL);
        }
    }
}

/* Block by block, and within a block by groups of columns. */
static void FN(weight_product)(FN(product) *p, REAL *scratch)
{
    const FN(weight_plan) plan = FN(plan_weight)(p);
    FN(set_tiles)(p);
    size_t q = 0;
    do {
        FN(set_block)(p, q);
        for (size_t c = 0; c < p->n; c += plan.columns) {
            FN(weight_columns)(p, &plan, q, c, c + FN(smaller)(p->n - c, plan.columns), scratch);
        }
        q += CR_KB;
    } while (q < p->k);
}

#undef CR_SLAB_LD
#undef CR_N_SLABS

/* Few outputs, which would leave lanes idle: turned round, C^T = dz^T x with lanes over the inputs, and
 * written transposed. The same chains, so the same bits. */
static void FN(weight_turned)(const FN(product) *p, REAL *scratch)
{
    const size_t ld = p->n <= CR_TILE_ROWS_WIDE ? 4 * V_LANES : 2 * V_LANES;
    REAL *const g = scratch + p->n * ld; /* one panel of dw, compact, for SGD */
    size_t width;
    for (size_t j = 0; j < p->m; j += width) {
        width = FN(panel_width)(p->n, p->m - j);
        FN(product) turned = {
            .m = p->n, .n = width, .k = p->k,
            .a = p->b, .a_row = 1, .a_col = p->ld_b, .b = p->a + j, .ld_b = p->a_col,
            .total = scratch, .ld_total = ld, .out = scratch, .ld_out = ld, .end = CR_END_STORE,
        };
        FN(set_tiles)(&turned);
        size_t q = 0;
        do {
            FN(set_block)(&turned, q);
            FN(panel_tiles)(&turned, p->n, turned.a + q * turned.a_col, turned.b + q * turned.ld_b, turned.ld_b,
                            0, 0, width, NULL, NULL);
            q += CR_KB;
        } while (q < p->k);
        REAL *const out = p->out + j * p->ld_out;
        if (p->end == CR_END_STORE) {
            FN(store_transposed)(p, p->n, width, scratch, ld, out, p->ld_out, NULL);
            continue;
        }
        /* Updating short rows one by one would read lines just written in part; one flat pass does not. */
        const V(t) factor = V(set1)(p->factor);
        const size_t flat = p->ld_out == p->n ? width * p->n : p->n;
        FN(store_transposed)(&turned, p->n, width, scratch, ld, g, p->n, NULL);
        for (size_t start = 0; start < width * p->n; start += flat) {
            REAL *const to = out + start / p->n * p->ld_out;
            for (size_t c = 0; c < flat; c += V_LANES) {
                const V(mask_t) mask = V(mask_first)(FN(smaller)(flat - c, V_LANES));
                const V(t) gradient = V(load_masked)(mask, g + start + c);
                V(store_masked)(mask, to + c, V(fma)(factor, gradient, V(load_masked)(mask, to + c)));
            }
        }
    }
}

/* A batch of one row: row after row of dw = x_i dz, as fast as memory takes them. */
static void FN(weight_rank_one)(const FN(product) *p)
{
    const V(t) zero = V(zero)(), factor = V(set1)(p->factor);
    for (size_t i = 0; i < p->m; i++) {
        const V(t) element = V(set1)(p->a[i]);
        REAL *const to = p->out + i * p->ld_out;
        for (size_t j = 0; j < p->n; j += V_LANES) {
            const size_t lanes = FN(smaller)(p->n - j, V_LANES);
            const int whole = lanes == V_LANES;
            const V(mask_t) mask = V(mask_first)(lanes);
            V(t) g = V(fma)(element, FN(tile_load)(!whole, mask, p->b + j), zero);
            if (p->end == CR_END_DESCEND) {
                g = V(fma)(factor, g, FN(tile_load)(!whole, mask, to + j));
            }
            FN(tile_store)(!whole, mask, to + j, g);
        }
    }
}

/* Columns at the right edge that are better turned round: few of a vector, and enough terms to pay for the transposed
 * stores (128 terms: 784 x 100 1.11 times as fast, 784 x 50 1.25, 256 x 33 1.38). */
static size_t FN(columns_apart)(const FN(product) *p)
{
    const size_t rest = p->n % V_LANES;
    return p->n > V_LANES && 2 * rest < V_LANES && p->k >= 32 && p->m >= V_LANES ? rest : 0;
}

static void FN(weight_gradient)(FN(product) *p, REAL *scratch)
{
    if (p->m == 0 || p->n == 0) {
        return;
    }
    /* Lanes used of those computed; below nine tenths the turned product pays for its transposed stores. Inputs that
     * do not fill a vector pay too if they are twice as many (256 rows, 10 x 1 2.1 times as fast, 8 x 4 1.7). */
    const size_t lanes = (p->n + V_LANES - 1) / V_LANES * V_LANES;
    const int fills = p->m >= V_LANES || (p->m > 4 && p->m >= 2 * p->n);
    const int turned = p->n < 2 * V_LANES && 10 * p->n < 9 * lanes && fills;
    if (p->k == 1 && !(turned && p->end == CR_END_DESCEND)) {
        FN(weight_rank_one)(p);
    } else if (turned) {
        FN(weight_turned)(p, scratch);
    } else {
        const size_t apart = FN(columns_apart)(p);
        FN(product) edge = *p;
        p->n -= apart;
        FN(weight_product)(p, scratch);
        if (apart != 0) {
            edge.n = apart;
            edge.b += p->n;
            edge.out += p->n;
            FN(weight_turned)(&edge, scratch);
        }
    }
}

static void FN(dense_backward_weight)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                                      const REAL *dz, size_t ld_dz, REAL *dw, size_t ld_dw, REAL *scratch)
{
    FN(product) p = {
        .m = n_in, .n = n_out, .k = n_rows,
        .a = x, .a_row = 1, .a_col = ld_x, .b = dz, .ld_b = ld_dz,
        .total = dw, .ld_total = ld_dw, .out = dw, .ld_out = ld_dw, .end = CR_END_STORE,
    };
    FN(weight_gradient)(&p, scratch);
}

static void FN(dense_backward_weight_sgd)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                                          const REAL *dz, size_t ld_dz, REAL learning_rate, REAL *w,
                                          size_t ld_w, REAL *dw, REAL *scratch)
{
    FN(product) p = {
        .m = n_in, .n = n_out, .k = n_rows,
        .a = x, .a_row = 1, .a_col = ld_x, .b = dz, .ld_b = ld_dz,
        .total = dw, .ld_total = ld_w, .out = w, .ld_out = ld_w,
        .end = CR_END_DESCEND, .factor = -learning_rate,
    };
    FN(weight_gradient)(&p, scratch);
}
