/* product_weight_plan.inc.h - which way a weight gradient C = A B goes, A = x^T, B = dz: by shape and addresses alone.
 */

#ifndef CR_GROUP_COLUMNS
/* Columns of B copied together where copying pays: with the slabs of A they fit scratch (AVX2, 1024 columns: 256
 * reach 86 to 90 % of peak, 64 only 70, because A is laid out anew for each group). */
#define CR_GROUP_COLUMNS 256
/* Elements of the slabs of A that are laid out together, a term. */
#define CR_SLABS 64
/* Shorter sums do not pay for the copying of B, or by low tiles of A. */
#define CR_COPY_TERMS 128
#define CR_SLAB_TERMS 33
/* Sums of so few terms take less time than their stores. Low and wide tiles then write to fewer rows at a time
 * (300 x 512: 4 rows 1.17 times as fast as with high ones, 16 rows 1.06, 64 the same). */
#define CR_SHORT_TERMS 24
#endif

/* The rows of C in tiles: n of them, `rows` high, the first `more` one higher. */
typedef struct FN(tiling) {
    size_t n, rows, more;
} FN(tiling);

/* How x^T dz goes: chosen by shape and addresses alone. */
typedef struct FN(weight_plan) {
    FN(tiling) tiling;
    int slabs;      /* rows of A are laid out in slabs */
    int fetched;    /* the next slabs are fetched during the tiles of the present ones */
    int copied;     /* B is copied, panel by panel */
    size_t columns; /* of B that are taken together */
} FN(weight_plan);

/* Whether x lies in a second-level cache, or nearly so. */
CR_INLINE int FN(x_is_near)(const FN(product) *p) { return p->m * p->k * sizeof(REAL) <= CR_IN_PLACE_BYTES; }

/* Whether slabs of A pay for themselves: they lie together, but cost a copy of x. High tiles use lines of x as they lie
 * often enough if it is near, unless rows a multiple of 4 KiB apart share a set of the first-level cache (AVX-512, in
 * place: 16 x 784 x 256 1.04, 256 x 784 x 512 1.01 to 1.02, 1024 x 1024 x 1024 0.94). Low ones only if sums are so
 * short that the lines of a tile stay there, and for few columns (AVX2: 32 x 784 x 128 1.05, 256 terms 0.98 and less,
 * rows 1 KiB apart 0.93, 32 x 1000 x 1000 0.94). */
CR_INLINE int FN(slabs_pay)(const FN(product) *p)
{
    const size_t row = p->a_col * sizeof(REAL);
    if (CR_REGISTERS >= 32) {
        return !FN(x_is_near)(p) || row % 4096 == 0;
    }
    return p->k >= CR_SLAB_TERMS || p->n > 32 * V_LANES || row % 1024 == 0;
}

/* Whether copies of B pay for themselves. Tiles of few rows use a line of B only a few times. They gain by copies that
 * lie together, in few pages and in whole lines (AVX2, 256 x 1000 x 1000: 92 % of peak against 86, or 70 where B begins
 * within a line), and gain more where its rows lie a multiple of 4 KiB apart, in one set of the first-level cache (1024
 * columns: 90 against 64). Higher tiles lose by the copying, unless x and B are large and vectors of B lie across two
 * lines (AVX-512, 1000 x 1000 x 1000: 88 % of peak against 84; 784 x 512 with 1024 rows 87 against 82). */
CR_INLINE int FN(copies_pay)(const FN(product) *p)
{
    const int one_set = p->ld_b * sizeof(REAL) % 4096 == 0;
    if (V_LANES == 1 || (double)p->m * (double)p->n * (double)p->k < CR_SCRATCH_WORK) {
        return 0;
    }
    if (CR_TILE_ROWS < 12) {
        return one_set ? p->m >= 128 : p->m >= 48 && p->k >= CR_COPY_TERMS;
    }
    return p->k >= CR_COPY_TERMS && p->n >= 32 * V_LANES && !FN(x_is_near)(p)
           && FN(bytes_of_b)(p) > CR_SECOND_LEVEL_BYTES && FN(b_is_crooked)(p);
}

CR_INLINE FN(weight_plan) FN(plan_weight)(const FN(product) *p)
{
    const int low = CR_REGISTERS >= 32 && p->k <= CR_SHORT_TERMS && p->n >= 4 * V_LANES;
    const size_t most = p->n <= V_LANES ? CR_TILE_ROWS_NARROW : low ? CR_TILE_ROWS_WIDE : CR_TILE_ROWS;
    const size_t n_tiles = (p->m + most - 1) / most;
    const int wide = p->n >= 16 * V_LANES, copied = wide && FN(copies_pay)(p);
    const int slabs = copied || (wide && FN(slabs_pay)(p));
    return (FN(weight_plan)){
        .tiling = {n_tiles, p->m / n_tiles, p->m % n_tiles},
        .slabs = slabs,
        .fetched = slabs && !FN(x_is_near)(p),
        .copied = copied,
        /* One block of them stays in half a second-level cache. */
        .columns = copied ? CR_GROUP_COLUMNS : CR_ROWS_BYTES / (CR_KB * sizeof(REAL)),
    };
}
