/* product_loops.inc.h - the loops over tiles that the three products share.
 *
 * Blocks of CR_KB terms stand outside of tiles, so C holds the running total between blocks. Nothing here
 * changes the order of the sums: every choice is free to be retuned.
 */

#ifndef CR_FIRST_LEVEL_BYTES
/* Weights up to these sizes are found there when they are come back to, beside what else a product touches: in a
 * first-level cache of 32 KiB or more, a second-level one of 1 MiB, a third-level one that others use too. */
#define CR_FIRST_LEVEL_BYTES ((size_t)32 << 10)
#define CR_SECOND_LEVEL_BYTES ((size_t)768 << 10)
#define CR_THIRD_LEVEL_BYTES ((size_t)8 << 20)
/* An operand up to this size is read as it lies: enough of it stays in a second-level cache, so that panels of it would
 * cost more than they save (measured: 512 x 784 floats still gain nothing from panels). */
#define CR_IN_PLACE_BYTES ((size_t)1600 << 10)
/* Rows of A taken together keep one block of A (CR_KB columns) to this: half a second-level cache. */
#define CR_ROWS_BYTES ((size_t)512 << 10)
/* Rows that are fetched ahead of the one that is copied. */
#define CR_COPIED_AHEAD 8
/* Rows whose totals fit scratch beside a panel: CR_KB x 2 V_LANES + rows x 2 V_LANES <= CR_SCRATCH_MIN for
 * up to 16 lanes. */
#define CR_ASIDE_ROWS 256
/* Copies of so many rows of A, CR_KB terms and a line apart, fit scratch. */
#define CR_COPIED_ROWS (4 * (size_t)CR_TILE_ROWS)
/* How panels of B come about; in place, too, while rows of A are copied. */
enum { CR_PANEL_IN_PLACE, CR_PANEL_COPIED, CR_PANEL_TRANSPOSED, CR_ROWS_COPIED };
#endif

CR_INLINE size_t FN(smaller)(size_t a, size_t b)
{
    return a < b ? a : b;
}

CR_INLINE size_t FN(bytes_of_b)(const FN(product) *p)
{
    return p->k * p->n * sizeof(REAL);
}

/* Whether vectors of B, as it lies, stand across two lines of the cache. */
CR_INLINE int FN(b_is_crooked)(const FN(product) *p)
{
    const size_t vector = V_LANES * sizeof(REAL);
    return ((uintptr_t)p->b % vector | p->ld_b * sizeof(REAL) % vector) != 0;
}

/* Set the product to its block of terms that begins at q. */
static void FN(set_block)(FN(product) *p, size_t q)
{
    p->terms = FN(smaller)(p->k - q, CR_KB);
    p->first = q == 0;
    p->last = q + p->terms == p->k;
    p->other = p->saved != NULL ? p->saved : p->total;
    p->ld_other = p->saved != NULL ? p->ld_saved : p->ld_total;
    p->n_fetch = !p->fetch ? 0 : p->last && (p->saved != NULL || (!p->first && p->total != p->out)) ? 2 : 1;
}

/* The two choices that depend on sizes alone. Rows of A a multiple of 4 KiB apart fall on one set of a
 * first-level cache, which has 8 or 12 ways: no more than 8 rows then (measured at 1024 columns: 14 rows
 * reach half of the speed). C is fetched ahead unless it is so small that it is there anyway, or the sums
 * are too short to hide it. */
static void FN(set_tiles)(FN(product) *p)
{
    p->most_rows = p->a_row * sizeof(REAL) % 4096 == 0 ? 8 : CR_TILE_ROWS_MAX;
    p->fetch = p->m * p->n * sizeof(REAL) > CR_FIRST_LEVEL_BYTES && p->k >= 16;
}

/* Columns of the next panel when `left` remain: four vectors for few rows, else two. */
static size_t FN(panel_width)(size_t n_rows, size_t left)
{
    if (n_rows <= CR_TILE_ROWS_WIDE && left >= 4 * V_LANES) {
        return 4 * V_LANES;
    }
    return FN(smaller)(left, 2 * V_LANES);
}

/* The tile shape of a panel and the lanes its last vector uses. */
static int FN(panel_shape)(size_t width, size_t *tail)
{
    *tail = width > V_LANES ? width - V_LANES : width;
    if (width == 4 * V_LANES) {
        return CR_TILE_WIDE;
    }
    return width == 2 * V_LANES ? CR_TILE_FULL : width > V_LANES ? CR_TILE_TAIL : CR_TILE_NARROW;
}

/* An array that will be packed soon. */
typedef struct FN(ahead) {
    const REAL *start;
    size_t rows, cols, ld;
} FN(ahead);

/* How many elements each tile must fetch so that all rows are fetched in the end: the n-th part of a row. */
static size_t FN(run_length)(const FN(product) *p)
{
    const size_t n_tiles = (p->m / CR_TILE_ROWS + 1) * (p->n / (2 * V_LANES) + 1) * (p->k / CR_KB + 1);
    const size_t tiles_a_row = n_tiles / p->soon->n_rows;
    return p->soon->n_cols / (tiles_a_row > 0 ? tiles_a_row : 1) + 1;
}

/* Let the next tile, `width` elements wide, fetch the next run: little by little, because processors drop requests that
 * come faster than memory answers (128 rows of 3 KiB, all at once: gathered as slowly as without). */
static void FN(next_run)(FN(product) *p, size_t width)
{
    cr_soon *const soon = p->soon;
    if (soon->next == soon->n_rows) {
        p->run = NULL;
        return;
    }
    p->run = (const REAL *)soon->base + (size_t)soon->order[soon->next] * soon->ld + soon->at;
    const size_t n = FN(smaller)(FN(smaller)(soon->run, V_LANES * p->terms), soon->n_cols - soon->at);
    p->n_run = (n + width - 1) / width;
    p->ld_run = width;
    soon->at += n;
    if (soon->at == soon->n_cols) {
        soon->next++;
        soon->at = 0;
    }
}

/* The tiles of one panel of columns, j to j + width: rows i to i + n_rows of C, split evenly. a: row i of A at the
 * block's first term. ahead: fetched meanwhile, NULL: nothing. next: a panel that lies in rows as b does and that the
 * first tile fetches, row by row; NULL: none. */
static void FN(panel_tiles)(FN(product) *p, size_t n_rows, const REAL *a, const REAL *b, size_t ld_b,
                            size_t i, size_t j, size_t width, const FN(ahead) *ahead, const REAL *next)
{
    size_t tail;
    const int shape = FN(panel_shape)(width, &tail);
    const size_t tallest = shape == CR_TILE_NARROW ? CR_TILE_ROWS_NARROW
                           : shape == CR_TILE_TAIL ? CR_TILE_ROWS_TAIL
                                                   : CR_TILE_ROWS;
    const size_t most = FN(smaller)(tallest, p->most_rows);
    const size_t n_tiles = n_rows <= most ? 1 : (n_rows + most - 1) / most;
    const size_t rows = n_tiles == 1 ? n_rows : n_rows / n_tiles, more = n_rows - rows * n_tiles;
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t height = rows + (t < more);
        if (ahead != NULL) {
            FN(prefetch_rows)(ahead->rows * t / n_tiles, ahead->rows * (t + 1) / n_tiles, ahead->cols,
                              ahead->start, ahead->ld);
        }
        if (p->soon != NULL) {
            FN(next_run)(p, (width + V_LANES - 1) / V_LANES * V_LANES);
        } else if (next != NULL) {
            p->run = t == 0 ? next : NULL;
            p->n_run = p->terms;
            p->ld_run = ld_b;
        }
        FN(tiles)[shape][height - 1](p, a, b, ld_b, i, j, tail);
        a += height * p->a_row;
        i += height;
    }
    if (next != NULL) {
        p->run = NULL; /* of one tile alone */
    }
}

/* The panel, as it lies in B, that follows the one of `width` columns from j on in the block from q on; NULL: there is
 * none, or B is near enough. The fewer rows use a panel, the harder the fetching is to hide. (784-512-512-10 gains 3 %
 * in a step of 256 rows and 8 in predicting 1024, 2048-2048-2048-10 with 64 rows 9.) */
static const REAL *FN(next_in_place)(const FN(product) *p, size_t q, size_t j, size_t width)
{
    if (FN(bytes_of_b)(p) <= (p->m <= CR_TILE_ROWS ? CR_THIRD_LEVEL_BYTES : CR_SECOND_LEVEL_BYTES)) {
        return NULL;
    }
    if (j + width < p->n) {
        return p->b + q * p->ld_b + j + width;
    }
    return p->last ? NULL : p->b + (q + CR_KB) * p->ld_b;
}

/* One block of terms, from q, of rows i to i + n_rows, over panels of B as they lie. a: row i of A at term q. */
static void FN(block_in_place)(FN(product) *p, size_t q, size_t i, size_t n_rows, const REAL *a)
{
    size_t width;
    for (size_t j = 0; j < p->n; j += width) {
        width = FN(panel_width)(n_rows, p->n - j);
        FN(panel_tiles)(p, n_rows, a, p->b + q * p->ld_b + j, p->ld_b, i, j, width, NULL,
                        FN(next_in_place)(p, q, j, width));
    }
}

/* The same over copies of the rows of A, whose lines lie in different sets of the cache. n_rows <= CR_COPIED_ROWS. */
static void FN(block_of_copies)(const FN(product) *p, size_t q, size_t i, size_t n_rows, REAL *scratch)
{
    const size_t ld = CR_KB + 64 / sizeof(REAL);
    const REAL *const a = p->a + i * p->a_row + q;
    FN(product) part = *p;
    part.a_row = ld;
    part.most_rows = CR_TILE_ROWS_MAX;
    FN(prefetch_rows)(0, FN(smaller)(n_rows, CR_COPIED_AHEAD), p->terms, a, p->a_row);
    for (size_t r = 0; r < n_rows; r++) {
        if (r + CR_COPIED_AHEAD < n_rows) {
            FN(prefetch_rows)(r + CR_COPIED_AHEAD, r + CR_COPIED_AHEAD + 1, p->terms, a, p->a_row);
        }
        FN(pack_rows)(1, p->terms, a + r * p->a_row, p->a_row, scratch + r * ld, ld);
    }
    FN(block_in_place)(&part, q, i, n_rows, scratch);
}

/* One block of terms, from q, of rows i to i + n_rows: panel after panel, each used for all these rows. */
static void FN(rows_block)(FN(product) *p, int way, size_t q, size_t i, size_t n_rows, REAL *scratch)
{
    const REAL *const a = p->a + i * p->a_row + q * p->a_col;
    if (way == CR_ROWS_COPIED) {
        FN(block_of_copies)(p, q, i, n_rows, scratch);
        return;
    }
    if (way == CR_PANEL_IN_PLACE) {
        FN(block_in_place)(p, q, i, n_rows, a);
        return;
    }
    size_t width;
    for (size_t j = 0; j < p->n; j += width) {
        width = FN(panel_width)(n_rows, p->n - j);
        const size_t ld = (width + V_LANES - 1) / V_LANES * V_LANES;
        const size_t next = FN(smaller)(p->n - j - width, width);
        FN(ahead) ahead = {NULL, 0, 0, 0}; /* nothing, after the last panel */
        if (way == CR_PANEL_COPIED) {
            const REAL *const b = p->b + q * p->ld_b + j;
            FN(pack_rows)(p->terms, width, b, p->ld_b, scratch, ld);
            if (next != 0) {
                ahead = (FN(ahead)){b + width, p->terms, next, p->ld_b};
            }
        } else {
            const REAL *const b = p->b + j * p->ld_b + q;
            FN(pack_transposed)(width, p->terms, b, p->ld_b, scratch, ld);
            if (next != 0) {
                ahead = (FN(ahead)){b + width * p->ld_b, next, p->terms, p->ld_b};
            }
        }
        FN(panel_tiles)(p, n_rows, a, scratch, ld, i, j, width, &ahead, NULL);
    }
}

/* All blocks of rows i to i + n_rows. */
static void FN(rows_product)(FN(product) *p, int way, size_t i, size_t n_rows, REAL *scratch)
{
    size_t q = 0;
    do { /* once at least: a sum of no terms is +0 */
        FN(set_block)(p, q);
        FN(rows_block)(p, way, q, i, n_rows, scratch);
        q += CR_KB;
    } while (q < p->k);
}

/* Rows to take together of m: at most `most`, which is a tile or more; evenly, in whole tiles if not all of m. */
static size_t FN(rows_together)(size_t m, size_t most)
{
    if (m <= most) {
        return m;
    }
    most -= most % CR_TILE_ROWS;
    const size_t parts = (m + most - 1) / most, rows = (m + parts - 1) / parts;
    return (rows + CR_TILE_ROWS - 1) / CR_TILE_ROWS * CR_TILE_ROWS;
}
