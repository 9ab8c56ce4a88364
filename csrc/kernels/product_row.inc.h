/* product_row.inc.h - forward products of one or a few rows, which are bound by latency or by reading w. */

/* The end of the product for all rows, whose totals are complete. Forward ends only. */
static void FN(finish_totals)(const FN(product) *p)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j += V_LANES) {
            const V(mask_t) mask = V(mask_first)(FN(smaller)(p->n - j, V_LANES));
            V(t) z = V(load_masked)(mask, p->total + i * p->ld_total + j);
            if (p->bias != NULL) {
                z = V(add)(z, V(load_masked)(mask, p->bias + j));
            }
            if (p->pre != NULL) {
                V(store_masked)(mask, p->pre + i * p->ld_pre + j, z);
            }
            if (p->end == CR_END_RELU) {
                z = FN(relu)(z, V(zero)());
            }
            V(store_masked)(mask, p->out + i * p->ld_out + j, z);
        }
    }
}

/* At most one vector of outputs and many terms: up to four blocks of terms at a time, because one chain of
 * FMAs would wait 4 cycles for each. The block sums are added in their order all the same. */
static void FN(narrow_row)(const FN(product) *p)
{
    const V(mask_t) mask = V(mask_first)(p->n);
    const size_t step = CR_KB * p->ld_b;
    const REAL *a = p->a, *b = p->b;
    V(t) total = V(zero)();
    size_t left = p->k;
    while (left >= CR_KB) {
        const size_t together = FN(smaller)(left / CR_KB, 4);
        /* Chains beyond `together` repeat the last one and are not used. */
        const size_t second = together > 1, third = together > 2 ? 2 : second;
        const size_t fourth = together > 3 ? 3 : third;
        V(t) sum[4] = {V(zero)(), V(zero)(), V(zero)(), V(zero)()};
        for (size_t q = 0; q < CR_KB; q++) {
            const REAL *const row = b + q * p->ld_b;
            sum[0] = V(fma)(V(set1)(a[q]), V(load_masked)(mask, row), sum[0]);
            sum[1] = V(fma)(V(set1)(a[q + second * CR_KB]), V(load_masked)(mask, row + second * step), sum[1]);
            sum[2] = V(fma)(V(set1)(a[q + third * CR_KB]), V(load_masked)(mask, row + third * step), sum[2]);
            sum[3] = V(fma)(V(set1)(a[q + fourth * CR_KB]), V(load_masked)(mask, row + fourth * step), sum[3]);
        }
        for (size_t s = 0; s < together; s++) {
            total = a == p->a && s == 0 ? sum[0] : V(add)(total, sum[s]);
        }
        a += together * CR_KB;
        b += together * step;
        left -= together * CR_KB;
    }
    if (left != 0) {
        V(t) sum = V(zero)();
        for (size_t q = 0; q < left; q++) {
            sum = V(fma)(V(set1)(a[q]), V(load_masked)(mask, b + q * p->ld_b), sum);
        }
        total = a == p->a ? sum : V(add)(total, sum);
    }
    V(store_masked)(mask, p->total, total);
    FN(finish_totals)(p);
}

/* Weights that lie in the second-level cache: panels of eight vectors, whose chains hide the latency of an FMA and
 * whose rows are read as they lie (784-128-10, one row: 2.4 us; with panels of four vectors 3.3). p->n: whole ones. */
static void FN(panel_row)(const FN(product) *p)
{
    for (size_t j = 0; j < p->n; j += 8 * V_LANES) {
        const REAL *row = p->b + j;
        REAL *const total = p->total + j;
        size_t q = 0;
        do {
            const size_t end = q + FN(smaller)(p->k - q, CR_KB);
            const int first = q == 0;
            V(t) sum[8];
            for (int v = 0; v < 8; v++) {
                sum[v] = V(zero)();
            }
            for (; q < end; q++) {
                const V(t) element = V(set1)(p->a[q]);
                for (int v = 0; v < 8; v++) {
                    sum[v] = V(fma)(element, V(load)(row + v * V_LANES), sum[v]);
                }
                row += p->ld_b;
            }
            for (int v = 0; v < 8; v++) {
                V(store)(total + v * V_LANES, first ? sum[v] : V(add)(V(load)(total + v * V_LANES), sum[v]));
            }
        } while (q < p->k);
    }
    FN(finish_totals)(p);
}

/* Whether w (k x n) is read end to end, row after row, for all rows of x. If it comes from far away, strips of columns
 * would jump through memory, at a third of its speed (4096 x 4096, 4 rows: 2.9 ms end to end, 5.3 by strips). If it is
 * near, strips make too few sums to hide the latency of an FMA, but for one row whose strips are all four vectors wide
 * (AVX-512: 300 x 300 1.26 times as fast with one row, 1.47 with two, 1.44 with three; 100 x 100 1.04, 1.23, 1.23).
 * More rows than a few are better off with tiles, whose sums stay in registers. */
CR_INLINE int FN(are_streamed)(size_t n_rows, size_t k, size_t n)
{
    const size_t bytes = k * n * sizeof(REAL);
    if (bytes > CR_FAR_BYTES) {
        return n_rows <= (CR_REGISTERS >= 32 ? 10 : 4);
    }
    if (bytes > CR_SECOND_LEVEL_BYTES) {
        return n_rows <= (CR_REGISTERS >= 32 ? 3 : 2);
    }
    if (n_rows == 1) {
        return k >= (CR_REGISTERS >= 32 ? 32 : 128) && n > 2 * V_LANES && n % (4 * V_LANES) != 0;
    }
    return CR_REGISTERS >= 32 && V_LANES >= 8 && n_rows <= 3 && k >= 32 && n > 2 * V_LANES;
}

#ifndef CR_STREAM_TERMS
#define CR_STREAM_TERMS 8
/* Rows of A whose elements stay in registers while B passes. Those of more rows are loaded for every vector of B, which
 * takes longer than B (816 x 1017, 3 rows: 66 us, this way 56). */
#define CR_STREAM_ROWS (CR_REGISTERS >= 32 ? 3 : 2)
#endif

/* Adds TERMS terms to one vector of sums of each of ROWS rows of A, or begins it. */
CR_INLINE void FN(stream_vector)(const int TERMS, const int ROWS, const int MASKED, V(mask_t) mask, int first,
                                 V(t) element[3][CR_STREAM_TERMS], const REAL *b, size_t ld_b, REAL *sum, size_t ld_sum)
{
    V(t) acc[3];
    for (int i = 0; i < ROWS; i++) {
        acc[i] = first ? V(zero)() : FN(tile_load)(MASKED, mask, sum + (size_t)i * ld_sum);
    }
    for (int r = 0; r < TERMS; r++) {
        V(t) row = FN(tile_load)(MASKED, mask, b);
        if (ROWS > 1) {
            CR_PIN(row); /* or gcc loads it for each */
        }
        for (int i = 0; i < ROWS; i++) {
            acc[i] = V(fma)(element[i][r], row, acc[i]);
        }
        b += ld_b;
    }
    for (int i = 0; i < ROWS; i++) {
        FN(tile_store)(MASKED, mask, sum + (size_t)i * ld_sum, acc[i]);
    }
}

/* The same for any number of rows. */
CR_INLINE void FN(stream_vector_of_rows)(const int TERMS, const int MASKED, V(mask_t) mask, int first, size_t n_rows,
                                         const REAL *a, size_t a_row, const REAL *b, size_t ld_b, REAL *sum,
                                         size_t ld_sum)
{
    V(t) row[CR_STREAM_TERMS];
    for (int r = 0; r < TERMS; r++) {
        row[r] = FN(tile_load)(MASKED, mask, b);
        b += ld_b;
    }
    for (size_t i = 0; i < n_rows; i++) {
        V(t) acc = first ? V(zero)() : FN(tile_load)(MASKED, mask, sum);
        for (int r = 0; r < TERMS; r++) {
            acc = V(fma)(V(set1)(a[r]), row[r], acc);
        }
        FN(tile_store)(MASKED, mask, sum, acc);
        a += a_row;
        sum += ld_sum;
    }
}

/* sum[i][j] = the chain of TERMS more terms, begun afresh if `first`, for n columns. ROWS 0: n_rows of them. */
CR_INLINE void FN(stream_terms)(const int TERMS, const int ROWS, int first, size_t n_rows, size_t n, const REAL *a,
                                size_t a_row, const REAL *b, size_t ld_b, REAL *sum, size_t ld_sum)
{
    V(t) element[3][CR_STREAM_TERMS];
    for (int i = 0; i < ROWS; i++) {
        for (int r = 0; r < TERMS; r++) {
            element[i][r] = V(set1)(a[(size_t)i * a_row + r]);
        }
    }
#define CR_STREAM(MASKED, mask)                                                                                        \
    if (ROWS == 0) {                                                                                                   \
        FN(stream_vector_of_rows)(TERMS, MASKED, mask, first, n_rows, a, a_row, b + j, ld_b, sum + j, ld_sum);         \
    } else {                                                                                                           \
        FN(stream_vector)(TERMS, ROWS, MASKED, mask, first, element, b + j, ld_b, sum + j, ld_sum);                    \
    }
    size_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) {
        CR_STREAM(0, V(mask_first)(V_LANES))
    }
    if (j < n) {
        CR_STREAM(1, V(mask_first)(n - j))
    }
#undef CR_STREAM
}

/* One block of terms of n columns: some rows of B at a time, end to end. a, b: its first row and term. */
CR_INLINE void FN(stream_block)(const int ROWS, size_t n_rows, size_t n, size_t terms, const REAL *a, size_t a_row,
                                const REAL *b, size_t ld_b, REAL *sum, size_t ld_sum)
{
    const int TERMS = CR_REGISTERS < 32 && ROWS == 2 ? 4 : CR_STREAM_TERMS;
    size_t t = 0;
    for (; t + (size_t)TERMS <= terms; t += (size_t)TERMS) {
        FN(stream_terms)(TERMS, ROWS, t == 0, n_rows, n, a + t, a_row, b + t * ld_b, ld_b, sum, ld_sum);
    }
    for (; t < terms; t++) {
        FN(stream_terms)(1, ROWS, t == 0, n_rows, n, a + t, a_row, b + t * ld_b, ld_b, sum, ld_sum);
    }
}

/* Where rows of sums lie apart, in elements: n columns or a few more. A load whose address agrees in its low 12 bits
 * with what was just stored waits for that store, so no two rows agree in them, nor nearly (784 x 512, 3 rows: 24 us,
 * 43 with the library at some addresses; 816 x 1017 into rows of 4068 bytes 69 and 98). */
static size_t FN(sums_apart)(size_t n_rows, size_t n)
{
    const size_t near = 192 / sizeof(REAL), page = 4096 / sizeof(REAL);
    size_t ld = (n + V_LANES - 1) / V_LANES * V_LANES;
    for (size_t i = 1; i < n_rows; i++) {
        const size_t off = i * ld % page;
        if (off < near || off > page - near) {
            ld += V_LANES;
            i = 0; /* once more */
        }
    }
    return ld;
}

/* Large weights: read as they lie, from end to end, into sums that stay near, in scratch: those of one row's first
 * block in its total, which is as good. At most four thousand columns at a time, so that the sums do stay near and fit
 * scratch, with room for the rows to lie apart. */
static void FN(stream_rows)(const FN(product) *p, REAL *scratch)
{
    const size_t room = CR_SCRATCH_MIN / p->m / V_LANES * V_LANES - 1024 / sizeof(REAL);
    const size_t most = FN(smaller)(4096, room);
    for (size_t j = 0; j < p->n; j += most) {
        const size_t n = FN(smaller)(p->n - j, most);
        const size_t ld_sum = FN(sums_apart)(p->m, n);
        REAL *const total = p->total + j;
        for (size_t q = 0; q < p->k; q += CR_KB) {
            const size_t terms = FN(smaller)(p->k - q, CR_KB);
            const REAL *const a = p->a + q, *const b = p->b + q * p->ld_b + j;
            REAL *const sum = p->m == 1 && q == 0 ? total : scratch;
            switch (p->m <= CR_STREAM_ROWS ? p->m : 0) {
#define CR_STREAM(ROWS) FN(stream_block)(ROWS, p->m, n, terms, a, p->a_row, b, p->ld_b, sum, ld_sum);
            case 1: CR_STREAM(1) break;
            case 2: CR_STREAM(2) break;
            case 3: CR_STREAM(3) break;
            default: CR_STREAM(0) break;
#undef CR_STREAM
            }
            for (size_t i = 0; (q != 0 || p->m > 1) && i < p->m; i++) {
                REAL *const to = total + i * p->ld_total;
                const REAL *const from = scratch + i * ld_sum;
                for (size_t c = 0; c < n; c += V_LANES) {
                    const V(mask_t) mask = V(mask_first)(FN(smaller)(n - c, V_LANES));
                    V(t) sum = V(load_masked)(mask, from + c);
                    if (q != 0) {
                        sum = V(add)(V(load_masked)(mask, to + c), sum);
                    }
                    V(store_masked)(mask, to + c, sum);
                }
            }
        }
    }
    FN(finish_totals)(p);
}
