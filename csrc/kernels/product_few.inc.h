/* product_few.inc.h - C = A B^T for a few rows of A: the input gradient of a few rows, dx = (dz w^T) f', whose time
 * goes into bringing w into registers; turned round, a few columns of this product and of forward; and products of one
 * column.
 *
 * Lanes run over the inputs (contract of bits, 1), so blocks of w are transposed. For a few rows it does not pay to
 * store them as a panel and to read that again: a block of V_LANES rows and columns of w stays in registers and
 * serves all rows, a chain of V_LANES multiply-adds each (256 x 256, 1 row: 4.9 us where a panel took 8.1).
 */

#ifndef CR_FEW_TERMS
/* With 16 registers the block leaves hardly any for sums: so one or two rows only, and only where a panel of four
 * vectors would not stay in the first-level cache either. */
#define CR_FEW_TERMS 192
#endif

/* Whether these rows of a batch count as few, measured. With 32 registers they do if they would leave too many lanes
 * idle when the product is turned round. (NEON's 4 lanes make short chains; not measured, so not used.) */
CR_INLINE int FN(are_few)(size_t n_rows, size_t n_out, size_t ld_w)
{
    if (CR_REGISTERS >= 32) {
        return V_LANES >= 8 && 4 * n_rows < 3 * V_LANES;
    }
    /* Rows a multiple of 4 KiB apart fall on one set of the first-level cache, and few lanes come back to them. */
    return V_LANES > 1 && n_rows <= 2 && n_out >= CR_FEW_TERMS && ld_w * sizeof(REAL) % 4096 != 0;
}

/* Columns of the block that begins at w: up to the place from which each vector lies in one line of the cache, if it is
 * the same in all rows. Without that, and with rows a multiple of 4 KiB apart, half of a line would be gone before its
 * turn (1024 x 1024 from NumPy, which begins 16 bytes into a line: 1 row 110 us, 210 without). */
CR_INLINE size_t FN(few_width)(const REAL *w, size_t ld_w)
{
    return ld_w % V_LANES == 0 ? V_LANES - (uintptr_t)w / sizeof(REAL) % V_LANES : V_LANES;
}

/* Adds n_terms terms to row r of sum, V_LANES inputs: row r of dz times w, whose columns block holds. */
CR_INLINE void FN(few_terms)(size_t n_rows, size_t n_terms, const V(t) block[V_LANES], const REAL *dz, size_t ld_dz,
                             REAL *sum)
{
    for (size_t r = 0; r < n_rows; r++) {
        V(t) acc = V(load)(sum);
        if (n_terms == V_LANES) {
#define CR_TERM(c) acc = V(fma)(V(set1)(dz[c]), block[c], acc);
            CR_LANES(CR_TERM)
#undef CR_TERM
        } else {
            for (size_t c = 0; c < n_terms; c++) {
                acc = V(fma)(V(set1)(dz[c]), block[c], acc);
            }
        }
        V(store)(sum, acc);
        sum += V_LANES;
        dz += ld_dz;
    }
}

/* The same with the block of w still in memory: n_inputs of its rows, n_terms of its columns. */
CR_INLINE void FN(few_block)(size_t n_rows, size_t n_inputs, size_t n_terms, const REAL *w, size_t ld_w,
                             const REAL *dz, size_t ld_dz, REAL *sum)
{
    V(t) block[V_LANES];
    if (n_inputs == V_LANES && n_terms == V_LANES) {
        V(load_transposed)(block, w, ld_w);
        FN(few_terms)(n_rows, V_LANES, block, dz, ld_dz, sum);
        return;
    }
    FN(load_corner)(n_inputs, n_terms, w, ld_w, block);
    FN(few_terms)(n_rows, n_terms, block, dz, ld_dz, sum);
}

/* Inputs j to j + V_LANES, or to the last, of all rows: what becomes of their totals. */
static void FN(finish_few)(const FN(product) *p, int kind, REAL alpha, int in_tile, size_t j, const REAL *total)
{
    const size_t n = FN(smaller)(p->n - j, V_LANES);
    REAL *out = p->out + j;
    const REAL *saved = p->saved == NULL ? NULL : p->saved + j;
    if (!in_tile) {
        FN(activation_backward)(kind, alpha, p->m, n, total, V_LANES, saved, p->ld_saved, out, p->ld_out);
        return;
    }
    const int masked = n < V_LANES;
    const V(mask_t) mask = V(mask_first)(n);
    for (size_t r = 0; r < p->m; r++) {
        V(t) z = V(load)(total + r * V_LANES);
        if (p->end == CR_END_RELU_BACKWARD) {
            z = FN(relu_slope)(z, FN(tile_load)(masked, mask, saved + r * p->ld_saved), V(zero)());
        }
        FN(tile_store)(masked, mask, out + r * p->ld_out, z);
    }
}

/* The totals of inputs j to `end`: vector by vector, and row by row within a vector. block_sum has room for as many. */
CR_NOINLINE void FN(few_totals)(const FN(product) *p, size_t j, size_t end, REAL *total, REAL *block_sum)
{
    const size_t n = (end - j + V_LANES - 1) / V_LANES * V_LANES * p->m;
    for (size_t q = 0; q < p->k || q == 0; q += CR_KB) {
        const size_t last = q + FN(smaller)(p->k - q, CR_KB);
        REAL *const sum = q == 0 ? total : block_sum;
        for (size_t i = 0; i < n; i += V_LANES) {
            V(store)(sum + i, V(zero)());
        }
        size_t width;
        for (size_t t = q; t < last; t += width) {
            width = FN(smaller)(last - t, FN(few_width)(p->b + j * p->ld_b + t, p->ld_b));
            for (size_t i = j; i < end; i += V_LANES) {
                FN(few_block)(p->m, FN(smaller)(end - i, V_LANES), width, p->b + i * p->ld_b + t, p->ld_b, p->a + t,
                              p->a_row, sum + (i - j) * p->m);
            }
        }
        for (size_t i = 0; q != 0 && i < n; i += V_LANES) {
            V(store)(total + i, V(add)(V(load)(total + i), V(load)(block_sum + i)));
        }
    }
}

/* All rows of C = A B^T; dx may be saved. A single row is one chain of multiply-adds, each of which waits for the one
 * before, so the sums for two vectors of inputs take turns, or for four of few lanes. More rows, and a w that is read
 * from far away, gain nothing by that. */
static void FN(few_rows)(const FN(product) *p, int kind, REAL alpha, int in_tile, REAL *scratch)
{
    const int near = p->m == 1 && FN(bytes_of_b)(p) <= CR_SECOND_LEVEL_BYTES;
    const size_t step = (V_LANES < 8 ? 4 : V_LANES < 16 || near ? 2 : 1) * V_LANES; /* inputs at a time */
    for (size_t j = 0; j < p->n; j += step) {
        const size_t end = j + FN(smaller)(p->n - j, step);
        FN(few_totals)(p, j, end, scratch, scratch + step * p->m);
        for (size_t i = j; i < end; i += V_LANES) {
            FN(finish_few)(p, kind, alpha, in_tile, i, scratch + (i - j) * p->m);
        }
    }
}

/* ---- columns at the right edge -------------------------------------------------------------------------------
 * A few columns of C beyond whole vectors are few rows of C^T = B^T A^T, with lanes over the rows of A. */

/* How many of n columns go this way, in a product of m rows and k terms: those beyond whole vectors, if they are few
 * for the lanes that the rows fill and the terms pay for the transposes. (AVX-512: 256 x 256 x 1 3.2 times as
 * fast, 256 x 64 x 4 1.8, 128 x 128 x 10 1.1; input gradient, 200 rows of 100 1.07. With AVX2, whose blocks are
 * smaller, 256 x 256 x 1 1.5, 784 x 33 1.1.) */
CR_INLINE size_t FN(edge_columns)(size_t m, size_t n, size_t k, int forward)
{
    const size_t edge = n % V_LANES, lanes = (m + V_LANES - 1) / V_LANES * V_LANES;
    const int fits = edge * (k + 5 * V_LANES) <= CR_SCRATCH_MIN; /* a copy of B's columns, and the sums */
    if (V_LANES < 8 || !fits || m < (CR_REGISTERS < 32 ? 32 : 12)) {
        return 0;
    }
    if (CR_REGISTERS < 32) {
        return 2 * edge < V_LANES && k >= (n < V_LANES ? 64 : 256) * edge ? edge : 0;
    }
    /* A block costs a transpose, which takes as long as four columns, and its columns. */
    const int pays = (4 + edge) * lanes <= (V_LANES >= 16 ? 14 : 9) * m;
    return pays && k >= (forward || 2 * edge >= V_LANES ? 16 + 3 * edge : 16) ? edge : 0;
}

/* Rows i to i + n_rows, at most V_LANES, of `edge` columns from `first` on, whose totals lie column by column. */
CR_INLINE void FN(finish_edge)(const FN(product) *p, size_t first, size_t edge, const REAL *total, size_t i,
                               size_t n_rows)
{
    const V(mask_t) mask = V(mask_first)(edge);
    V(t) rows[V_LANES];
    for (size_t c = 0; c < V_LANES; c++) {
        rows[c] = c < edge ? V(load)(total + c * V_LANES) : V(zero)();
    }
    V(transpose)(rows);
    for (size_t r = 0; r < n_rows; r++) {
        V(t) z = rows[r];
        if (p->bias != NULL) {
            z = V(add)(z, V(load_masked)(mask, p->bias + first));
        }
        if (p->pre != NULL) {
            V(store_masked)(mask, p->pre + (i + r) * p->ld_pre + first, z);
        }
        if (p->end == CR_END_RELU) {
            z = FN(relu)(z, V(zero)());
        } else if (p->end == CR_END_RELU_BACKWARD) {
            z = FN(relu_slope)(z, V(load_masked)(mask, p->saved + (i + r) * p->ld_saved + first), V(zero)());
        }
        V(store_masked)(mask, p->out + (i + r) * p->ld_out + first, z);
    }
}

/* Rows i to i + n_rows of `edge` columns from `first` on; `turned` has these of B as rows, ld_turned apart. */
CR_NOINLINE void FN(edge_product)(const FN(product) *p, size_t first, size_t edge, const REAL *turned, size_t ld_turned,
                                  size_t i, size_t n_rows, REAL *scratch)
{
    const size_t step = 2 * V_LANES;
    const FN(product) c = {
        .m = edge, .n = n_rows, .k = p->k,
        .a = turned, .a_row = ld_turned, .a_col = 1, .b = p->a + i * p->a_row, .ld_b = p->a_row,
    };
    for (size_t r = 0; r < n_rows; r += step) {
        const size_t end = r + FN(smaller)(n_rows - r, step);
        FN(few_totals)(&c, r, end, scratch, scratch + step * edge);
        for (size_t s = r; s < end; s += V_LANES) {
            FN(finish_edge)(p, first, edge, scratch + (s - r) * edge, i + s, FN(smaller)(end - s, V_LANES));
        }
    }
}

/* ---- one output ------------------------------------------------------------------------------------------------
 * y = x w + b with lanes over the rows: the totals of V_LANES rows lie side by side, as y does. */

/* From so many rows on (16 terms: 8 rows 1.3 times as fast as in a tile, where one lane works, 1000 rows 4.2; AVX2 1.4
 * and 2.7; 784 terms 1.2 to 1.9. Of 4 lanes the chains are too short.) */
CR_INLINE int FN(is_one_column)(size_t n_rows, size_t n_out, size_t ld_y)
{
    return V_LANES >= 8 && n_out == 1 && ld_y == 1 && n_rows >= 8;
}

/* Adds n_terms terms, at most V_LANES, to the sums of n_rows rows, at most as many: rows of x, elements of w. */
CR_INLINE V(t) FN(column_terms)(size_t n_rows, size_t n_terms, const REAL *x, size_t ld_x, const REAL *w, size_t ld_w,
                                V(t) sum)
{
    V(t) block[V_LANES];
    /* Or gcc would keep a pointer to each row and weight, most of them in memory, and move all on by a block (AVX2, 13
     * terms: 1.36 times as fast, 784 terms 1.18). */
    CR_OPAQUE(ld_x);
    CR_OPAQUE(ld_w);
    if (n_rows == V_LANES && n_terms == V_LANES) {
        V(load_transposed)(block, x, ld_x);
#define CR_TERM(c) sum = V(fma)(V(set1)(w[(c) * ld_w]), block[c], sum);
        CR_LANES(CR_TERM)
#undef CR_TERM
        return sum;
    }
    FN(load_corner)(n_rows, n_terms, x, ld_x, block);
    for (size_t c = 0; c < n_terms; c++) {
        sum = V(fma)(V(set1)(w[c * ld_w]), block[c], sum);
    }
    return sum;
}

/* Rows i to i + n_rows, at most two vectors: two chains, because each multiply-add waits for the one before. */
CR_INLINE void FN(column_totals)(const FN(product) *p, size_t i, size_t n_rows, V(t) total[2])
{
    const REAL *const x = p->a + i * p->a_row;
    const size_t first = FN(smaller)(n_rows, V_LANES), second = n_rows - first;
    total[0] = total[1] = V(zero)();
    for (size_t q = 0; q < p->k; q += CR_KB) {
        const size_t last = q + FN(smaller)(p->k - q, CR_KB);
        V(t) sum[2] = {V(zero)(), V(zero)()};
        for (size_t t = q; t < last; t += V_LANES) {
            const size_t n = FN(smaller)(last - t, V_LANES);
            const REAL *const w = p->b + t * p->ld_b;
            sum[0] = FN(column_terms)(first, n, x + t, p->a_row, w, p->ld_b, sum[0]);
            if (second != 0) {
                sum[1] = FN(column_terms)(second, n, x + V_LANES * p->a_row + t, p->a_row, w, p->ld_b, sum[1]);
            }
        }
        total[0] = q == 0 ? sum[0] : V(add)(total[0], sum[0]);
        total[1] = q == 0 ? sum[1] : V(add)(total[1], sum[1]);
    }
}

CR_NOINLINE void FN(one_column)(const FN(product) *p)
{
    for (size_t i = 0; i < p->m;) {
        V(t) total[2];
        FN(column_totals)(p, i, FN(smaller)(p->m - i, 2 * V_LANES), total);
        for (int v = 0; v < 2 && i < p->m; v++) {
            const size_t n = FN(smaller)(p->m - i, V_LANES);
            V(t) z = total[v];
            if (p->bias != NULL) {
                z = V(add)(z, V(set1)(p->bias[0]));
            }
            if (p->pre != NULL) {
                V(store_tail)(p->pre + i, z, n);
            }
            if (p->end == CR_END_RELU) {
                z = FN(relu)(z, V(zero)());
            }
            V(store_tail)(p->out + i, z, n);
            i += n;
        }
    }
}
