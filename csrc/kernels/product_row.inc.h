/* product_row.inc.h - forward products of a single row, which are bound by latency or by reading w. */

/* The end of the product for row 0, whose totals are complete. Forward ends only. */
static void FN(finish_row)(const FN(product) *p)
{
    for (size_t j = 0; j < p->n; j += V_LANES) {
        const V(mask_t) mask = V(mask_first)(FN(smaller)(p->n - j, V_LANES));
        V(t) z = V(load_masked)(mask, p->total + j);
        if (p->bias != NULL) {
            z = V(add)(z, V(load_masked)(mask, p->bias + j));
        }
        if (p->pre != NULL) {
            V(store_masked)(mask, p->pre + j, z);
        }
        if (p->end == CR_END_RELU) {
            z = FN(relu)(z, V(zero)());
        }
        V(store_masked)(mask, p->out + j, z);
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
    FN(finish_row)(p);
}

/* Weights that lie in the second-level cache: panels of eight vectors, whose chains hide the latency of an FMA and
 * whose rows are read as they lie (784-128-10, one row: 2.4 us; with panels of four vectors 3.3). p->n: whole panels. */
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
    FN(finish_row)(p);
}

/* sum[j] = the chain of ROWS more terms, begun afresh if `first`. */
CR_INLINE void FN(stream_terms)(const int ROWS, int first, size_t n, const REAL *a, const REAL *b, size_t ld_b,
                                REAL *sum)
{
    for (size_t j = 0; j < n; j += V_LANES) {
        const size_t lanes = FN(smaller)(n - j, V_LANES);
        const REAL *row = b + j;
        if (lanes == V_LANES) {
            V(t) acc = first ? V(zero)() : V(load)(sum + j);
            for (int r = 0; r < ROWS; r++) {
                acc = V(fma)(V(set1)(a[r]), V(load)(row), acc);
                row += ld_b;
            }
            V(store)(sum + j, acc);
        } else {
            V(t) acc = first ? V(zero)() : V(load_tail)(sum + j, lanes);
            for (int r = 0; r < ROWS; r++) {
                acc = V(fma)(V(set1)(a[r]), V(load_tail)(row, lanes), acc);
                row += ld_b;
            }
            V(store_tail)(sum + j, acc, lanes);
        }
    }
}

/* Large weights: eight rows of w at a time, end to end, into sums that stay in the first-level cache. Four
 * thousand columns at most, for that and for scratch, which holds the sums of the blocks after the first. */
static void FN(stream_row)(const FN(product) *p, REAL *scratch)
{
    const size_t most = 4096;
    for (size_t j = 0; j < p->n; j += most) {
        const size_t n = FN(smaller)(p->n - j, most);
        REAL *const total = p->total + j;
        for (size_t q = 0; q < p->k; q += CR_KB) {
            const size_t terms = FN(smaller)(p->k - q, CR_KB);
            const REAL *const a = p->a + q, *const b = p->b + q * p->ld_b + j;
            REAL *const sum = q == 0 ? total : scratch;
            size_t t = 0;
            for (; t + 8 <= terms; t += 8) {
                FN(stream_terms)(8, t == 0, n, a + t, b + t * p->ld_b, p->ld_b, sum);
            }
            for (; t < terms; t++) {
                FN(stream_terms)(1, t == 0, n, a + t, b + t * p->ld_b, p->ld_b, sum);
            }
            for (size_t c = 0; q != 0 && c < n; c += V_LANES) {
                const V(mask_t) mask = V(mask_first)(FN(smaller)(n - c, V_LANES));
                V(store_masked)(mask, total + c,
                                V(add)(V(load_masked)(mask, total + c), V(load_masked)(mask, sum + c)));
            }
        }
    }
    FN(finish_row)(p);
}
