/* product.inc.h - the forward product and the input gradient of a dense layer, with what follows folded in.
 *
 *   forward            y  = f(x w + b)          C = A B,   A = x,   B = w
 *   input gradient     dx = (dz w^T) * f'(.)    C = A B^T, A = dz,  B = w
 *   weight gradient    dw = x^T dz              C = A^T B, A = x,   B = dz    (product_weight.inc.h)
 *
 * Which way a product goes is one table, "Which way a product goes" in ARCHITECTURE.md. Read product_tile first, then
 * product_pack, product_loops, product_row, product_few, this file, product_weight_plan and product_weight.
 */

/* leaky_relu with slope 0 is relu, as activations.inc.h has it. */
static int FN(plain_kind)(int activation, REAL alpha)
{
    return activation == CR_LEAKY_RELU && alpha == 0 ? CR_RELU : activation;
}

/* ---- forward ------------------------------------------------------------------------------------ */

/* How the tiles of C = A B find A and B. B is read as it lies, or panels of it are laid out, for which the rows of A
 * must pay: sooner where rows of B lie a multiple of 4 KiB apart, in one set of the first-level cache, and later with
 * high tiles, which read B less often.
 *
 * With AVX-512 panels pay only if rows of A share a set, too (1024 x 1024, 256 rows: 1.14 times as fast as without,
 * with rows of A elsewhere 0.95). Fewer rows are then laid out themselves, in place of B (24 to 128 rows: Zen 5 1.12 to
 * 1.2, Zen 4 1.02 to 1.12; near or odd weights 0.97 to 1.0; 256 rows against panels 1.0, of 4096 x 4096 0.96), but not
 * where that makes several groups of rows read B from memory (Zen 4, 2048 x 2048, 128 rows 0.87).
 *
 * Low tiles read B often (AVX2, panels against none: 1024 wide, 32 rows 1.14, 256 rows 1.30; 1000 wide, 32 rows 0.82,
 * from 128 rows on 1.03 to 1.1), so panels of near weights help them too: where rows lie 4 KiB apart (256 x 1024: 48
 * rows 1.0, 96 rows 1.08, 256 rows 1.18) or 2 (512 x 512: 128 rows 1.0, 256 rows 1.04), and where vectors of B lie
 * across two lines (weights that begin 16 bytes into a line, 128 rows: 512 x 512 1.19, 256 x 256 1.06, 784 x 100
 * 0.98). */
static int FN(forward_way)(const FN(product) *p)
{
    const size_t row = p->ld_b * sizeof(REAL);
    const int is_near = FN(bytes_of_b)(p) <= CR_IN_PLACE_BYTES;
    if (CR_REGISTERS >= 32) {
        if (is_near || row % 4096 != 0 || p->a_row * sizeof(REAL) % 4096 != 0) {
            return CR_PANEL_IN_PLACE;
        }
        if (p->m >= 256) {
            return CR_PANEL_COPIED;
        }
        const int pays = p->m <= CR_COPIED_ROWS || FN(bytes_of_b)(p) <= CR_THIRD_LEVEL_BYTES;
        return p->m > CR_TILE_ROWS && pays ? CR_ROWS_COPIED : CR_PANEL_IN_PLACE;
    }
    size_t least = is_near ? SIZE_MAX : 128;
    if (row % 4096 == 0) {
        least = is_near ? 48 : 32;
    } else if (p->n >= 32 * V_LANES && FN(b_is_crooked)(p)) {
        least = 128;
    } else if (is_near && row % 2048 == 0) {
        least = 192;
    }
    return p->m >= least ? CR_PANEL_COPIED : CR_PANEL_IN_PLACE;
}

static void FN(dense_forward)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                              const REAL *w, size_t ld_w, const REAL *bias, int activation, REAL alpha,
                              REAL *pre, size_t ld_pre, REAL *y, size_t ld_y, cr_soon *soon, REAL *scratch)
{
    if (n_rows == 0 || n_out == 0) {
        return;
    }
    const int kind = FN(plain_kind)(activation, alpha);
    const int in_tile = kind == CR_IDENTITY || kind == CR_RELU;
    FN(product) p = {
        .m = n_rows, .n = n_out, .k = n_in,
        .a = x, .a_row = ld_x, .a_col = 1, .b = w, .ld_b = ld_w,
        .total = y, .ld_total = ld_y, .out = y, .ld_out = ld_y,
        .end = kind == CR_RELU ? CR_END_RELU : CR_END_STORE, .bias = bias, .pre = pre, .ld_pre = ld_pre, .soon = soon,
    };
    if (FN(is_one_column)(n_rows, n_out, ld_y) && (pre == NULL || ld_pre == 1)) {
        FN(one_column)(&p);
    } else if (n_rows == 1 && n_in > CR_KB && n_out <= V_LANES) {
        FN(narrow_row)(&p);
    } else if (FN(are_streamed)(n_rows, n_in, n_out)) {
        FN(stream_rows)(&p, scratch);
    } else if (n_rows == 1 && n_out % (8 * V_LANES) == 0 && FN(bytes_of_b)(&p) > CR_FIRST_LEVEL_BYTES) {
        FN(panel_row)(&p);
    } else {
        const int way = FN(forward_way)(&p);
        /* Activations that follow shall find their rows in the cache: take as many as fit half of its second level. */
        FN(set_tiles)(&p);
        if (soon != NULL) {
            soon->run = FN(run_length)(&p);
        }
        const size_t row_bytes = sizeof(REAL) * (in_tile ? FN(smaller)(n_in, CR_KB) : n_in + n_out);
        const size_t most = way == CR_ROWS_COPIED ? CR_COPIED_ROWS : CR_ROWS_BYTES / (row_bytes + 1);
        /* But enough of them to be worth a panel. */
        const size_t least = way == CR_PANEL_COPIED ? 256 : 4 * CR_TILE_ROWS;
        const size_t rows = FN(rows_together)(n_rows, most > least ? most : least);
        const size_t edge = FN(edge_columns)(n_rows, n_out, n_in, 1);
        const size_t ld_turned = (n_in + V_LANES - 1) / V_LANES * V_LANES;
        p.n -= edge;
        for (size_t i = 0; i < n_rows; i += rows) {
            const size_t n = FN(smaller)(n_rows - i, rows);
            if (p.n > 0) {
                FN(rows_product)(&p, way, i, n, scratch);
            }
            if (edge > 0) {
                FN(pack_transposed)(n_in, edge, w + p.n, ld_w, scratch, ld_turned);
                FN(edge_product)(&p, p.n, edge, scratch, ld_turned, i, n, scratch + edge * ld_turned);
            }
            if (!in_tile) {
                FN(activation)(kind, alpha, n, n_out, y + i * ld_y, ld_y, y + i * ld_y, ld_y);
            }
        }
        return;
    }
    if (!in_tile) {
        FN(activation)(kind, alpha, n_rows, n_out, y, ld_y, y, ld_y);
    }
}

/* ---- input gradient ------------------------------------------------------------------------------- */

/* Rows i to i + n_rows with the totals kept aside in scratch until all blocks are added, panel by panel:
 * for dx = saved, whose elements must last until the derivative is taken. n_rows <= CR_ASIDE_ROWS. */
static void FN(rows_aside)(const FN(product) *p, int kind, REAL alpha, int in_tile, size_t i,
                           size_t n_rows, REAL *scratch)
{
    size_t width;
    for (size_t j = 0; j < p->n; j += width) {
        width = FN(panel_width)(n_rows, p->n - j);
        const size_t ld = (width + V_LANES - 1) / V_LANES * V_LANES;
        REAL *const total = scratch + CR_KB * ld;
        REAL *const out = p->out + i * p->ld_out + j;
        const REAL *const saved = p->saved + i * p->ld_saved + j;
        FN(product) part = *p;
        part.total = total;
        part.ld_total = ld;
        part.out = in_tile ? out : total;
        part.ld_out = in_tile ? p->ld_out : ld;
        part.saved = saved;
        size_t q = 0;
        do {
            FN(set_block)(&part, q);
            FN(pack_transposed)(width, part.terms, p->b + j * p->ld_b + q, p->ld_b, scratch, ld);
            FN(panel_tiles)(&part, n_rows, p->a + i * p->a_row + q, scratch, ld, 0, 0, width, NULL, NULL);
            q += CR_KB;
        } while (q < p->k);
        if (!in_tile) {
            FN(activation_backward)(kind, alpha, n_rows, width, total, ld, saved, p->ld_saved, out,
                                    p->ld_out);
        }
    }
}

/* Few rows and wide layers: turned round, C^T = w dz^T with lanes over the rows of the batch. Only dz and dx
 * are transposed then, not the larger w; same chains, same bits. Totals of a group of rows of C^T stay in
 * scratch until all blocks are added, so dx may be saved. */
static void FN(rows_turned)(const FN(product) *p, REAL *scratch)
{
    const size_t ld = 2 * V_LANES;
    /* With one block the panel of dz serves all groups, so these are short and stay in the first-level cache.
     * Otherwise it is laid out again for each group, less often if groups are longer; both fit scratch. */
    const size_t group = p->k <= CR_KB ? 4 * CR_TILE_ROWS : 16 * CR_TILE_ROWS;
    REAL *const total = scratch + CR_KB * ld;
    size_t width;
    for (size_t j = 0; j < p->m; j += width) {
        width = FN(smaller)(p->m - j, 2 * V_LANES);
        FN(product) turned = {
            .m = p->n, .n = width, .k = p->k,
            .a = p->b, .a_row = p->ld_b, .a_col = 1,
            .total = total, .ld_total = ld, .out = total, .ld_out = ld, .end = CR_END_STORE,
        };
        FN(set_tiles)(&turned);
        for (size_t i = 0; i < p->n; i += group) {
            const size_t rows = FN(smaller)(p->n - i, group);
            size_t q = 0;
            do {
                FN(set_block)(&turned, q);
                if (i == 0 || p->k > CR_KB) {
                    FN(pack_transposed)(width, turned.terms, p->a + j * p->a_row + q, p->a_row, scratch, ld);
                }
                FN(panel_tiles)(&turned, rows, p->b + i * p->ld_b + q, scratch, ld, 0, 0, width, NULL, NULL);
                q += CR_KB;
            } while (q < p->k);
            FN(store_transposed)(p, rows, width, total, ld, p->out + j * p->ld_out + i, p->ld_out,
                                 p->saved == NULL ? NULL : p->saved + j * p->ld_saved + i);
        }
    }
}

/* How many of the m rows are computed turned round: all, those that fill whole vectors, or none. They are if that moves
 * a third of the elements or less and wastes at most a quarter of the lanes (measured: 32 x 512 x 512 85 % of peak
 * against 65 %; 128 x 512 x 512 the same), and if w, which is read once for every two vectors of rows, is read at most
 * twice or comes from a cache (512 x 4096 x 4096: 58 % of peak turned round, 80 not; 128 x 1024 x 1024 90 and 83). A
 * few rows beyond whole vectors are left to few_rows (24 x 512 x 512 94 GFLOP/s, 81 with half of a vector idle). */
CR_INLINE size_t FN(rows_to_turn)(const FN(product) *p)
{
    const int splits = CR_REGISTERS >= 32 && FN(are_few)(p->m % V_LANES, p->k, p->ld_b);
    const size_t most = splits ? p->m - p->m % V_LANES : p->m;
    const size_t lanes = (most + V_LANES - 1) / V_LANES * V_LANES;
    const int passes_often = p->m > 4 * V_LANES && FN(bytes_of_b)(p) > CR_THIRD_LEVEL_BYTES;
    const int pays = V_LANES > 1 && 4 * most >= 3 * lanes && p->n * p->k >= 3 * most * (p->n + p->k) && !passes_often;
    return pays ? most : 0;
}

static void FN(dense_backward_input)(size_t n_rows, size_t n_in, size_t n_out, const REAL *dz, size_t ld_dz,
                                     const REAL *w, size_t ld_w, int activation, REAL alpha,
                                     const REAL *saved, size_t ld_saved, REAL *dx, size_t ld_dx, REAL *scratch)
{
    if (n_rows == 0 || n_in == 0) {
        return;
    }
    const int kind = FN(plain_kind)(activation, alpha);
    const int in_tile = kind == CR_IDENTITY || kind == CR_RELU;
    FN(product) p = {
        .m = n_rows, .n = n_in, .k = n_out,
        .a = dz, .a_row = ld_dz, .a_col = 1, .b = w, .ld_b = ld_w,
        .total = dx, .ld_total = ld_dx, .out = dx, .ld_out = ld_dx,
        .end = kind == CR_RELU ? CR_END_RELU_BACKWARD : CR_END_STORE, .saved = saved, .ld_saved = ld_saved,
    };
    if (FN(are_few)(n_rows, n_out, ld_w)) {
        FN(few_rows)(&p, kind, alpha, in_tile, scratch);
        return;
    }
    FN(set_tiles)(&p);
    const size_t turned = in_tile || dx != saved ? FN(rows_to_turn)(&p) : 0;
    if (turned > 0) {
        p.m = turned;
        FN(rows_turned)(&p, scratch);
        if (!in_tile) {
            FN(activation_backward)(kind, alpha, turned, n_in, dx, ld_dx, saved, ld_saved, dx, ld_dx);
        }
        if (turned < n_rows) {
            p.m = n_rows - turned;
            p.a += turned * ld_dz;
            p.out += turned * ld_dx;
            p.saved = saved == NULL ? NULL : saved + turned * ld_saved;
            FN(few_rows)(&p, kind, alpha, in_tile, scratch);
        }
        return;
    }
    const int aside = kind != CR_IDENTITY && dx == saved && (!in_tile || n_out > CR_KB);
    const size_t together = aside ? CR_ASIDE_ROWS : CR_ROWS_BYTES / (sizeof(REAL) * CR_KB);
    const size_t rows = FN(rows_together)(n_rows, together);
    const size_t edge = aside ? 0 : FN(edge_columns)(n_rows, n_in, n_out, 0);
    p.n -= edge;
    for (size_t i = 0; i < n_rows; i += rows) {
        const size_t n = FN(smaller)(n_rows - i, rows);
        if (aside) {
            FN(rows_aside)(&p, kind, alpha, in_tile, i, n, scratch);
            continue;
        }
        if (p.n > 0) {
            FN(rows_product)(&p, CR_PANEL_TRANSPOSED, i, n, scratch);
        }
        if (edge > 0) {
            FN(edge_product)(&p, p.n, edge, w + p.n * ld_w, ld_w, i, n, scratch);
        }
        if (!in_tile) {
            FN(activation_backward)(kind, alpha, n, n_in, dx + i * ld_dx, ld_dx, saved + i * ld_saved,
                                    ld_saved, dx + i * ld_dx, ld_dx);
        }
    }
}
