/* product_tile.inc.h - the register tile under the three products of a dense layer.
 *
 * One tile is a few rows times a few vectors of columns of C = A B. It adds one block of at most CR_KB
 * terms: every element is the chain acc = fma(a[i][q], b[q][j], acc), q ascending from +0 (contract of
 * bits, 1), so tile height and width never show in the result. A is read one element at a time with any
 * two strides, so x as it lies (forward) and x^T (weight gradient) are the same code; B is read by
 * whole vectors along its rows.
 */

/* Rows of a tile: as many as leave registers for its two vectors of B and one broadcast element of A.
 * AVX-512 14 x 2 of 32 registers, NEON 12 x 2 (loads fewer lanes, gains nothing from 14), AVX2 6 x 2
 * of 16. Scalar code has 16 registers of one lane. */
#ifndef CR_TILE_ROWS
#if CR_REGISTERS >= 32 && V_LANES >= 8
#define CR_TILE_ROWS 14
#define CR_EACH_TILE_ROWS(X) \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif CR_REGISTERS >= 32
#define CR_TILE_ROWS 12
#define CR_EACH_TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif V_LANES >= 4
#define CR_TILE_ROWS 6
#define CR_EACH_TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define CR_TILE_ROWS 4
#define CR_EACH_TILE_ROWS(X) X(1) X(2) X(3) X(4)
#endif
/* Tiles one vector wide need about 12 rows to hide the latency of an FMA (4 cycles x 2 pipes); more gain
 * nothing, because loads are then the limit. Scalar code has no such lanes to lose. */
#if CR_TILE_ROWS >= 12 || V_LANES == 1
#define CR_TILE_ROWS_NARROW CR_TILE_ROWS
#define CR_EACH_NARROW_ROWS(X) CR_EACH_TILE_ROWS(X)
#else
#define CR_TILE_ROWS_NARROW 12
#define CR_EACH_NARROW_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#endif
/* Tiles whose second vector is partly live stand at the right edge only. Eight rows, 16 sums, hide the latency
 * there; taller ones would be an eighth of this target's code. */
#if V_LANES == 1 /* a vector of one lane is never partly live: one tile, so that there is one */
#define CR_TILE_ROWS_TAIL 1
#define CR_EACH_TAIL_ROWS(X) X(1)
#elif CR_TILE_ROWS > 8
#define CR_TILE_ROWS_TAIL 8
#define CR_EACH_TAIL_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#else
#define CR_TILE_ROWS_TAIL CR_TILE_ROWS
#define CR_EACH_TAIL_ROWS(X) CR_EACH_TILE_ROWS(X)
#endif
/* And products of few rows need tiles four vectors wide: 6 x 4 of 32 registers, 3 x 4 of 16. */
#if CR_REGISTERS >= 32
#define CR_TILE_ROWS_WIDE 6
#define CR_EACH_WIDE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define CR_TILE_ROWS_WIDE 3
#define CR_EACH_WIDE_ROWS(X) X(1) X(2) X(3)
#endif
#define CR_TILE_ROWS_MAX 14
#define CR_TILE_VECTORS_MAX 4

/* word(r, v) for every row r < MR and vector v < NV of a tile, and `step` after each row. Written out, not
 * a loop: of loops gcc 12 makes three times the code, and keeps the sums in memory between the end's steps. */
#define CR_TILE_ROW(r, word, step)                                                                       \
    if (r < MR) {                                                                                        \
        word(r, 0)                                                                                       \
        if (NV > 1) { word(r, 1) }                                                                       \
        if (NV > 2) { word(r, 2) }                                                                       \
        if (NV > 3) { word(r, 3) }                                                                       \
        step                                                                                             \
    }
#define CR_TILE(word, step)                                                                              \
    CR_TILE_ROW(0, word, step) CR_TILE_ROW(1, word, step) CR_TILE_ROW(2, word, step)                     \
    CR_TILE_ROW(3, word, step) CR_TILE_ROW(4, word, step) CR_TILE_ROW(5, word, step)                     \
    CR_TILE_ROW(6, word, step) CR_TILE_ROW(7, word, step) CR_TILE_ROW(8, word, step)                     \
    CR_TILE_ROW(9, word, step) CR_TILE_ROW(10, word, step) CR_TILE_ROW(11, word, step)                   \
    CR_TILE_ROW(12, word, step) CR_TILE_ROW(13, word, step)
#define CR_NO_STEP

/* What the last block of a product does with its sums, in registers. Other activations follow row group by row
 * group, from the cache: each end here is a copy in every tile (leaky ReLU's two would be 80 kB). */
enum {
    CR_END_STORE,         /* out = z, with z = total (+ bias) */
    CR_END_RELU,          /* out = relu(z) */
    CR_END_RELU_BACKWARD, /* out = z relu'(saved) */
    CR_END_DESCEND        /* out = fma(factor, z, out): plain SGD with factor = -learning_rate */
};

/* The shapes of a tile. FULL and WIDE ones store whole vectors; the others `tail` lanes of their last one. */
enum { CR_TILE_NARROW, CR_TILE_TAIL, CR_TILE_FULL, CR_TILE_WIDE };
#endif

/* C = A B, m x k times k x n, and what becomes of C. */
typedef struct FN(product) {
    size_t m, n, k;
    const REAL *a; /* a[i][q] = a[i * a_row + q * a_col] */
    size_t a_row, a_col;
    const REAL *b; /* b[q][j] = b[q * ld_b + j] unless the driver lays out panels of it */
    size_t ld_b;
    REAL *total; /* sums of the blocks so far; used when k > CR_KB, may be out */
    size_t ld_total;
    REAL *out;
    size_t ld_out;
    int end; /* CR_END_* */
    REAL factor;
    const REAL *bias; /* NULL: none */
    REAL *pre;        /* receives z; NULL: not wanted */
    size_t ld_pre;
    const REAL *saved; /* may be out */
    size_t ld_saved;
    size_t most_rows; /* of a tile, whatever its shape allows; set by set_tiles */
    int fetch;        /* C is worth fetching ahead; ditto */
    cr_soon *soon;    /* rows wanted after this product; NULL: none */
    /* the block at hand */
    size_t n_fetch; /* arrays that its tiles fetch ahead: C, other */
    const REAL *other; /* saved, or the totals that an update of C wants */
    size_t ld_other;
    const REAL *run; /* what the next tile fetches instead: n_run times a row of its width, ld_run apart; NULL: none */
    size_t n_run, ld_run;
    size_t terms;
    int first, last;
} FN(product);

CR_INLINE V(t) FN(tile_load)(int masked, V(mask_t) mask, const REAL *p)
{
    return masked ? V(load_masked)(mask, p) : V(load)(p);
}

CR_INLINE void FN(tile_store)(int masked, V(mask_t) mask, REAL *p, V(t) v)
{
    if (masked) {
        V(store_masked)(mask, p, v);
    } else {
        V(store)(p, v);
    }
}

/* One block of one tile. a: its first row at the block's first term; b: the block's first row at the
 * tile's first column; (i, j): the tile's place in C. MR, NV and TAIL are constants in every instance, so
 * the sums live in registers from here to the last store. */
CR_INLINE void FN(tile)(const int MR, const int NV, const int TAIL, const FN(product) *p, const REAL *a,
                        const REAL *b, size_t ld_b, size_t i, size_t j, size_t tail)
{
    const size_t terms = p->terms, a_row = p->a_row, a_col = p->a_col;
    const V(mask_t) mask = V(mask_first)(TAIL ? tail : V_LANES);
    const size_t ld_to = p->last ? p->ld_out : p->ld_total;
    REAL *const to = (p->last ? p->out : p->total) + i * ld_to + j;
    V(t) acc[CR_TILE_ROWS_MAX][CR_TILE_VECTORS_MAX];

#define CR_ZERO(r, v) acc[r][v] = V(zero)();
    CR_TILE(CR_ZERO, CR_NO_STEP)

    /* C, and what it will be compared with, are not needed before the sums are done: fetch them meanwhile, a row
     * a term, because misses all at once would hold up those of A and B. Ask for the last element of each vector: rows
     * may begin within a line, and that line came with the columns before (forward, 512 x 2000 x 2000 from NumPy's
     * arrays: 93 % of peak against 88). */
    size_t n_fetch = p->n_fetch * (size_t)MR;
    size_t at_other = p->n_fetch == 2 ? (size_t)MR : n_fetch; /* where p->other follows C */
    const REAL *line = to;
    size_t ld_line = ld_to;
    if (p->run != NULL) {
        line = p->run;
        ld_line = p->ld_run;
        n_fetch = at_other = p->n_run;
    }
    for (size_t q = 0; q < terms; q++) {
        if (q < n_fetch) {
            if (q == at_other) {
                line = p->other + i * p->ld_other + j;
                ld_line = p->ld_other;
            }
            V(prefetch)(line + V_LANES - 1);
            if (NV > 1) {
                V(prefetch)(line + 2 * V_LANES - 1);
            }
            if (NV > 2) {
                V(prefetch)(line + 3 * V_LANES - 1);
                V(prefetch)(line + 4 * V_LANES - 1);
            }
            line += ld_line;
        }
        const V(t) row_0 = FN(tile_load)(TAIL && NV == 1, mask, b);
        const V(t) row_1 = NV > 1 ? FN(tile_load)(TAIL && NV == 2, mask, b + V_LANES) : row_0;
        const V(t) row_2 = NV > 2 ? V(load)(b + 2 * V_LANES) : row_0;
        const V(t) row_3 = NV > 3 ? V(load)(b + 3 * V_LANES) : row_0;
        const REAL *element = a;
#define CR_MULTIPLY(r, v) acc[r][v] = V(fma)(V(set1)(element[0]), row_##v, acc[r][v]);
#define CR_MULTIPLY_STEP element += a_row;
        CR_TILE(CR_MULTIPLY, CR_MULTIPLY_STEP)
        a += a_col;
        b += ld_b;
    }

    /* The end, step by step; each is skipped or done for the whole tile. `from` walks down the rows of the
     * step's other array: z is the sum, other the element that stands in its place there. */
#define CR_END_ONE(r, v)                                                                                 \
    {                                                                                                    \
        const V(t) z = acc[r][v];                                                                        \
        const V(t) other = FN(tile_load)(TAIL && v == NV - 1, mask, from + v * V_LANES);                 \
        acc[r][v] = CR_END_FORMULA;                                                                      \
    }
#define CR_END_STEP from += ld_from;
    if (!p->first) {
        const REAL *from = p->total + i * p->ld_total + j;
        const size_t ld_from = p->ld_total;
#define CR_END_FORMULA V(add)(other, z)
        CR_TILE(CR_END_ONE, CR_END_STEP)
#undef CR_END_FORMULA
    }
    if (p->last && p->bias != NULL) {
        const REAL *const from = p->bias + j;
#define CR_END_FORMULA V(add)(z, other)
        CR_TILE(CR_END_ONE, CR_NO_STEP)
#undef CR_END_FORMULA
    }
#define CR_STORE(r, v) FN(tile_store)(TAIL && v == NV - 1, mask, line + v * V_LANES, acc[r][v]);
#define CR_STORE_STEP line += ld_line;
    if (p->last && p->pre != NULL) {
        REAL *line = p->pre + i * p->ld_pre + j;
        const size_t ld_line = p->ld_pre;
        CR_TILE(CR_STORE, CR_STORE_STEP)
    }
    if (p->last && p->end != CR_END_STORE) {
        const V(t) factor = V(set1)(p->factor);
        const int backward = p->end == CR_END_RELU_BACKWARD;
        const size_t ld_from = backward ? p->ld_saved : ld_to;
        const REAL *from = backward ? p->saved + i * ld_from + j : to;
        switch (p->end) {
        case CR_END_RELU: {
#define CR_CUT(r, v) acc[r][v] = FN(relu)(acc[r][v], factor);
            CR_TILE(CR_CUT, CR_NO_STEP)
            break;
        }
        case CR_END_RELU_BACKWARD: {
#define CR_END_FORMULA FN(relu_slope)(z, other, factor)
            CR_TILE(CR_END_ONE, CR_END_STEP)
#undef CR_END_FORMULA
            break;
        }
        default: { /* CR_END_DESCEND */
#define CR_END_FORMULA V(fma)(factor, z, other)
            CR_TILE(CR_END_ONE, CR_END_STEP)
#undef CR_END_FORMULA
            break;
        }
        }
    }
    {
        REAL *line = to;
        const size_t ld_line = ld_to;
        CR_TILE(CR_STORE, CR_STORE_STEP)
    }

#undef CR_ZERO
#undef CR_MULTIPLY
#undef CR_MULTIPLY_STEP
#undef CR_END_ONE
#undef CR_END_STEP
#undef CR_STORE
#undef CR_STORE_STEP
#undef CR_CUT
}

typedef void (*FN(tile_function))(const FN(product) *p, const REAL *a, const REAL *b, size_t ld_b, size_t i,
                                  size_t j, size_t tail);

#define CR_TILE_INSTANCE(shape, rows, vectors, masked) \
    static void FN(CR_CAT(tile_##shape##_, rows))(const FN(product) *p, const REAL *a, const REAL *b, \
                                                  size_t ld_b, size_t i, size_t j, size_t tail) \
    { \
        FN(tile)(rows, vectors, masked, p, a, b, ld_b, i, j, tail); \
    }
#define CR_NARROW(rows) CR_TILE_INSTANCE(narrow, rows, 1, 1)
#define CR_TAIL(rows) CR_TILE_INSTANCE(tail, rows, 2, 1)
#define CR_FULL(rows) CR_TILE_INSTANCE(full, rows, 2, 0)
#define CR_WIDE(rows) CR_TILE_INSTANCE(wide, rows, 4, 0)
CR_EACH_NARROW_ROWS(CR_NARROW)
CR_EACH_TAIL_ROWS(CR_TAIL)
CR_EACH_TILE_ROWS(CR_FULL)
CR_EACH_WIDE_ROWS(CR_WIDE)
#undef CR_NARROW
#undef CR_TAIL
#undef CR_FULL
#undef CR_WIDE
#undef CR_TILE_INSTANCE

#define CR_NARROW(rows) FN(CR_CAT(tile_narrow_, rows)),
#define CR_TAIL(rows) FN(CR_CAT(tile_tail_, rows)),
#define CR_FULL(rows) FN(CR_CAT(tile_full_, rows)),
#define CR_WIDE(rows) FN(CR_CAT(tile_wide_, rows)),
/* [shape][rows - 1] */
static const FN(tile_function) FN(tiles)[4][CR_TILE_ROWS_MAX] = {
    {CR_EACH_NARROW_ROWS(CR_NARROW)},
    {CR_EACH_TAIL_ROWS(CR_TAIL)},
    {CR_EACH_TILE_ROWS(CR_FULL)},
    {CR_EACH_WIDE_ROWS(CR_WIDE)},
};
#undef CR_NARROW
#undef CR_TAIL
#undef CR_FULL
#undef CR_WIDE
