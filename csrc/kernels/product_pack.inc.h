/* product_pack.inc.h - laying out operands for the tiles, and taking turned-round results apart. */

/* to[q][j] = b[q][j]: n_rows rows of n_cols elements, rows of `to` ld_to apart; ld_to is a multiple of
 * V_LANES, and the columns up to the next multiple are filled with zeros. */
static void FN(pack_rows)(size_t n_rows, size_t n_cols, const REAL *b, size_t ld_b, REAL *to, size_t ld_to)
{
    for (size_t q = 0; q < n_rows; q++) {
        size_t j = 0;
        for (; j + V_LANES <= n_cols; j += V_LANES) {
            V(store)(to + j, V(load)(b + j));
        }
        if (j < n_cols) {
            V(store)(to + j, V(load_tail)(b + j, n_cols - j));
        }
        b += ld_b;
        to += ld_to;
    }
}

/* word(r) for every lane r. Written out, not a loop, for the reason given at CR_TILE: a block of V_LANES
 * vectors stays in registers from its loads through the transpose to its stores. */
#ifndef CR_LANES
#define CR_LANE(r, word)                                                                                 \
    if (r < V_LANES) {                                                                                   \
        word(r)                                                                                          \
    }
#define CR_LANES(word)                                                                                   \
    CR_LANE(0, word) CR_LANE(1, word) CR_LANE(2, word) CR_LANE(3, word) CR_LANE(4, word)                 \
    CR_LANE(5, word) CR_LANE(6, word) CR_LANE(7, word) CR_LANE(8, word) CR_LANE(9, word)                 \
    CR_LANE(10, word) CR_LANE(11, word) CR_LANE(12, word) CR_LANE(13, word) CR_LANE(14, word)            \
    CR_LANE(15, word)
#endif

/* One whole block: to[c][r] = w[r][c], V_LANES each way. */
CR_INLINE void FN(transpose_block)(const REAL *w, size_t ld_w, REAL *to, size_t ld_to)
{
    V(t) block[V_LANES];
#define CR_BLOCK_LOAD(r)                                                                                 \
    block[r] = V(load)(w);                                                                               \
    w += ld_w;
#define CR_BLOCK_STORE(r)                                                                                \
    V(store)(to, block[r]);                                                                              \
    to += ld_to;
    CR_LANES(CR_BLOCK_LOAD)
    V(transpose)(block);
    CR_LANES(CR_BLOCK_STORE)
#undef CR_BLOCK_LOAD
#undef CR_BLOCK_STORE
}

/* block[c] lane r = w[r][c] for rows <= V_LANES of cols <= V_LANES elements; the other lanes are 0. */
CR_INLINE void FN(load_corner)(size_t rows, size_t cols, const REAL *w, size_t ld_w, V(t) block[V_LANES])
{
    for (size_t r = 0; r < V_LANES; r++) {
        block[r] = r < rows ? V(load_tail)(w + r * ld_w, cols) : V(zero)();
    }
    V(transpose)(block);
}

/* transpose_block for a corner; the rest of the rows of `to` is zeroed. */
static void FN(transpose_corner)(size_t rows, size_t cols, const REAL *w, size_t ld_w, REAL *to, size_t ld_to)
{
    V(t) block[V_LANES];
    FN(load_corner)(rows, cols, w, ld_w, block);
    for (size_t c = 0; c < cols; c++) {
        V(store)(to + c * ld_to, block[c]);
    }
}

/* to[q][j] = w[j][q] for n_rows rows of w and n_cols columns; `to` as in pack_rows, filled with zeros too. */
static void FN(pack_transposed)(size_t n_rows, size_t n_cols, const REAL *w, size_t ld_w, REAL *to,
                                size_t ld_to)
{
    for (size_t j = 0; j < n_rows; j += V_LANES) {
        size_t q = 0;
        for (; n_rows - j >= V_LANES && q + V_LANES <= n_cols; q += V_LANES) {
            FN(transpose_block)(w + j * ld_w + q, ld_w, to + q * ld_to + j, ld_to);
        }
        for (; q < n_cols; q += V_LANES) {
            FN(transpose_corner)(n_rows - j < V_LANES ? n_rows - j : V_LANES,
                                 n_cols - q < V_LANES ? n_cols - q : V_LANES, w + j * ld_w + q, ld_w,
                                 to + q * ld_to + j, ld_to);
        }
    }
}

/* Prefetch rows `begin` to `end` (of n_cols elements) of an array that will be packed soon: their lines, and the one
 * more that a row ends in if it begins within a line (AVX2, 512 x 2048 x 2048 from NumPy's arrays: 85 % of peak against
 * 82). */
static void FN(prefetch_rows)(size_t begin, size_t end, size_t n_cols, const REAL *b, size_t ld_b)
{
    const size_t line = 64 / sizeof(REAL); /* a cache line of every processor we know, or half of one */
    for (size_t q = begin; q < end; q++) {
        for (size_t j = 0; j < n_cols; j += line) {
            V(prefetch)(b + q * ld_b + j);
        }
        if (n_cols > 1) {
            V(prefetch)(b + q * ld_b + n_cols - 1);
        }
    }
}

/* to[j][i] = end of t[i][j], t of n_rows rows (any number) by n_cols columns, each row whole vectors. It knows
 * the ends of the input gradient, for which saved lies as `to` does, its rows p->ld_saved apart, and plain storing.
 */
static void FN(store_transposed)(const FN(product) *p, size_t n_rows, size_t n_cols, const REAL *t, size_t ld_t,
                                 REAL *to, size_t ld_to, const REAL *saved)
{
    for (size_t i = 0; i < n_rows; i += V_LANES) {
        const size_t rows = n_rows - i < V_LANES ? n_rows - i : V_LANES;
        const V(mask_t) mask = V(mask_first)(rows);
        for (size_t j = 0; j < n_cols; j += V_LANES) {
            const size_t cols = n_cols - j < V_LANES ? n_cols - j : V_LANES;
            REAL block[V_LANES * V_LANES];
            if (rows == V_LANES) {
                FN(transpose_block)(t + i * ld_t + j, ld_t, block, V_LANES);
            } else {
                FN(transpose_corner)(rows, V_LANES, t + i * ld_t + j, ld_t, block, V_LANES);
            }
            for (size_t r = 0; r < cols; r++) {
                V(t) z = V(load)(block + r * V_LANES);
                if (p->end == CR_END_RELU_BACKWARD) {
                    const REAL *const from = saved + (j + r) * p->ld_saved + i;
                    z = FN(relu_slope)(z, V(load_masked)(mask, from), V(zero)());
                }
                V(store_masked)(mask, to + (j + r) * ld_to + i, z);
            }
        }
    }
}
