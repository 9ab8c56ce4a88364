/* reduce.inc.h - sums in the fixed orders of the contract of bits.
 *
 * Along a row: element j belongs to partial sum j mod 16; partials are folded 8-4-2-1. Sixteen, because
 * that is one AVX-512 vector of float, the widest in use; every other ISA keeps the same 16 partials in
 * more vectors. Lanes past the end add +0, which changes nothing: a partial that starts at +0 is never -0.
 * Over rows: blocks of CR_KB rows, each from +0 ascending, block sums added left to right.
 */
#include <math.h>
#include <stdint.h>

#include "../portability.h"

/* n elements, n <= V_LANES. A whole vector is the common case and worth a branch: masked stores are slow on
 * some processors. */
CR_INLINE V(t) FN(load_some)(const REAL *p, size_t n) { return n == V_LANES ? V(load)(p) : V(load_tail)(p, n); }
CR_INLINE void FN(store_some)(REAL *p, V(t) v, size_t n)
{
    if (n == V_LANES) {
        V(store)(p, v);
    } else {
        V(store_tail)(p, v, n);
    }
}

/* How many of n elements to do before the first whole vector, so that the vectors stored from p on fill whole
 * lines of the cache: one that lies across two costs twice. Arrays from NumPy begin anywhere. Not worth it for
 * few. */
CR_INLINE size_t FN(before_line)(const REAL *p, size_t n)
{
    const size_t bytes = V_LANES * sizeof(REAL);
    return n < 1024 ? 0 : (bytes - (uintptr_t)p % bytes) % bytes / sizeof(REAL);
}

/* s[0] + ... + s[15], folded 8-4-2-1. s is used up. */
static inline REAL FN(fold16)(REAL s[16])
{
    for (size_t i = 0; i < 8; ++i) {
        s[i] += s[i + 8];
    }
    for (size_t i = 0; i < 4; ++i) {
        s[i] += s[i + 4];
    }
    for (size_t i = 0; i < 2; ++i) {
        s[i] += s[i + 2];
    }
    return s[0] + s[1];
}

CR_INLINE void FN(clear_partials)(V(t) partial[16 / V_LANES])
{
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        partial[v] = V(zero)();
    }
}

/* fold16 of partials held in vectors. */
static inline REAL FN(fold_partials)(const V(t) partial[16 / V_LANES])
{
    REAL s[16];
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        V(store)(s + v * V_LANES, partial[v]);
    }
    return FN(fold16)(s);
}

/* x[0] + ... + x[n-1] by 16 partial sums. */
static inline REAL FN(row_sum)(size_t n, const REAL *x)
{
    V(t) partial[16 / V_LANES];
    FN(clear_partials)(partial);
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            partial[v] = V(add)(partial[v], V(load)(x + j + v * V_LANES));
        }
    }
    for (size_t v = 0; j < n; ++v, j += V_LANES) {
        const size_t left = n - j < V_LANES ? n - j : V_LANES;
        partial[v] = V(add)(partial[v], V(load_tail)(x + j, left));
    }
    return FN(fold_partials)(partial);
}

/* The greatest of x[0 .. n-1], NaNs passed over; -inf if there is none. A maximum is the same in every
 * order but for the sign of a zero, and that too is fixed by using the 16 partials. */
static inline REAL FN(row_max)(size_t n, const REAL *x)
{
    const V(t) lowest = V(set1)((REAL)-INFINITY);
    V(t) partial[16 / V_LANES];
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        partial[v] = lowest;
    }
    /* V(max)(new, old) is old unless new > old: a NaN never gets in. */
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t v = 0; v < 16 / V_LANES; ++v) {
            partial[v] = V(max)(V(load)(x + j + v * V_LANES), partial[v]);
        }
    }
    for (size_t v = 0; j < n; ++v, j += V_LANES) {
        const V(mask_t) live = V(mask_first)(n - j < V_LANES ? n - j : V_LANES);
        const V(t) value = V(select)(live, V(load_masked)(live, x + j), lowest);
        partial[v] = V(max)(value, partial[v]);
    }
    REAL s[16];
    for (size_t v = 0; v < 16 / V_LANES; ++v) {
        V(store)(s + v * V_LANES, partial[v]);
    }
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t i = 0; i < half; ++i) {
            s[i] = s[i + half] > s[i] ? s[i + half] : s[i];
        }
    }
    return s[0];
}

/* ---- sums over rows --------------------------------------------------------------------------- */

/* How many columns a pass takes: 8 vectors are enough independent additions (latency 2 to 4 cycles, two
 * loads a cycle) to run at the speed of the loads. */
#define CR_SUM_VECTORS 8

/* out[j] for n_vectors * V_LANES columns, or, when `left` is less than that, `left` of them: then only the
 * last vector is partly live. */
CR_INLINE void FN(column_sums_pass)(size_t n_vectors, size_t left, size_t n_rows, const REAL *a, size_t ld_a,
                                    REAL *out)
{
    const int whole = left >= n_vectors * V_LANES;
    const V(mask_t) live = V(mask_first)(whole ? V_LANES : left - (n_vectors - 1) * V_LANES);
    V(t) total[CR_SUM_VECTORS], sum[CR_SUM_VECTORS];
    for (size_t v = 0; v < n_vectors; ++v) {
        total[v] = V(zero)();
    }
    for (size_t first = 0; first < n_rows; first += CR_KB) {
        const size_t end = n_rows - first < CR_KB ? n_rows : first + CR_KB;
        for (size_t v = 0; v < n_vectors; ++v) {
            sum[v] = V(zero)();
        }
        for (size_t i = first; i < end; ++i) {
            const REAL *row = a + i * ld_a;
            for (size_t v = 0; v + 1 < n_vectors; ++v) {
                sum[v] = V(add)(sum[v], V(load)(row + v * V_LANES));
            }
            const REAL *last = row + (n_vectors - 1) * V_LANES;
            const V(t) value = whole ? V(load)(last) : V(load_masked)(live, last);
            sum[n_vectors - 1] = V(add)(sum[n_vectors - 1], value);
        }
        for (size_t v = 0; v < n_vectors; ++v) {
            total[v] = V(add)(total[v], sum[v]); /* the first time +0 + sum, which is sum */
        }
    }
    for (size_t v = 0; v + 1 < n_vectors; ++v) {
        V(store)(out + v * V_LANES, total[v]);
    }
    if (whole) {
        V(store)(out + (n_vectors - 1) * V_LANES, total[n_vectors - 1]);
    } else {
        V(store_masked)(live, out + (n_vectors - 1) * V_LANES, total[n_vectors - 1]);
    }
}

/* out[j] = sum over i of a[i][j]; a (n_rows, n_cols). out must not overlap a. */
static void FN(column_sums)(size_t n_rows, size_t n_cols, const REAL *a, size_t ld_a, REAL *out)
{
    const size_t pass = CR_SUM_VECTORS * V_LANES;
    size_t j = 0;
    for (; j + pass <= n_cols; j += pass) {
        FN(column_sums_pass)(CR_SUM_VECTORS, pass, n_rows, a + j, ld_a, out + j);
    }
    for (; j + 2 * V_LANES <= n_cols; j += 2 * V_LANES) {
        FN(column_sums_pass)(2, 2 * V_LANES, n_rows, a + j, ld_a, out + j);
    }
    for (; j < n_cols; j += V_LANES) {
        FN(column_sums_pass)(1, n_cols - j, n_rows, a + j, ld_a, out + j);
    }
}

/* ---- sums over everything, in double ---------------------------------------------------------- */

/* Elements a block; its total joins the sum before the next starts, which keeps rounding errors small. */
#define CR_SUM_BLOCK 4096

static inline double FN(fold16_double)(double s[16])
{
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t i = 0; i < half; ++i) {
            s[i] += s[i + half];
        }
    }
    return s[0];
}

/* One term of 16 partial sums: x^2 or |x|. `square` is a constant where this is called. Plain C: 16 independent
 * double additions are what the compiler makes vectors of, in the same order on every ISA. */
CR_INLINE void FN(add_16_in_double)(const int square, const REAL *x, double s[16])
{
    for (size_t k = 0; k < 16; ++k) {
        const double value = (double)x[k];
        s[k] += square ? value * value : fabs(value);
    }
}

/* Sum of x^2 or |x|: 16 partial sums in double by index mod 16 within a block. */
CR_INLINE double FN(sum_in_double)(const int square, size_t n, const REAL *x)
{
    double total = 0;
    for (size_t first = 0; first < n; first += CR_SUM_BLOCK) {
        const size_t end = n - first < CR_SUM_BLOCK ? n : first + CR_SUM_BLOCK;
        double s[16] = {0};
        size_t i = first;
        for (; i + 16 <= end; i += 16) {
            FN(add_16_in_double)(square, x + i, s);
        }
        if (i < end) {
            REAL last[16] = {0}; /* +0 changes no partial sum: none is ever -0 */
            for (size_t k = 0; i + k < end; k += V_LANES) {
                const size_t left = end - i - k < V_LANES ? end - i - k : V_LANES;
                V(store)(last + k, V(load_tail)(x + i + k, left));
            }
            FN(add_16_in_double)(square, last, s);
        }
        total += FN(fold16_double)(s);
    }
    return total;
}

static double FN(sum_squares)(size_t n, const REAL *x) { return FN(sum_in_double)(1, n, x); }
static double FN(sum_abs)(size_t n, const REAL *x) { return FN(sum_in_double)(0, n, x); }

/* How many of x are infinite or NaN: x - x is 0 for every other value. Counted in REAL, one count a lane,
 * for a block at a time: 4096 is far below 2^24. */
static size_t FN(count_not_finite)(size_t n, const REAL *x)
{
    const V(t) zero = V(zero)(), one = V(set1)(1);
    size_t count = 0;
    for (size_t first = 0; first < n; first += CR_SUM_BLOCK) {
        const size_t end = n - first < CR_SUM_BLOCK ? n : first + CR_SUM_BLOCK;
        V(t) bad = zero;
        size_t i = first;
        for (; i + V_LANES <= end; i += V_LANES) {
            const V(t) value = V(load)(x + i);
            const V(mask_t) finite = V(eq)(V(sub)(value, value), zero);
            bad = V(add)(bad, V(keep)(V(mask_not)(finite), one));
        }
        if (i < end) {
            const V(t) value = V(load_tail)(x + i, end - i);
            const V(mask_t) finite = V(eq)(V(sub)(value, value), zero);
            bad = V(add)(bad, V(keep)(V(mask_not)(finite), one));
        }
        REAL counts[V_LANES];
        V(store)(counts, bad);
        for (size_t k = 0; k < V_LANES; ++k) {
            count += (size_t)counts[k];
        }
    }
    return count;
}

/* Whether least <= x[i] <= greatest for all i, or, `of_size`, the same of |x[i]|. A NaN is never within. */
static int FN(all_within)(size_t n, const REAL *x, int of_size, REAL least, REAL greatest)
{
    const V(t) low = V(set1)(least), high = V(set1)(greatest);
    /* One comparison finds NaN, too; the other is left out where it can be. */
    const int from_below = least > (REAL)-INFINITY, from_above = greatest < (REAL)INFINITY || !from_below;
    V(mask_t) inside = V(mask_first)(V_LANES);
    for (size_t i = 0; i < n; i += V_LANES) {
        const size_t left = n - i < V_LANES ? n - i : V_LANES;
        /* Past the end stands the bound, which is within. */
        V(t) value = left == V_LANES ? V(load)(x + i) : V(select)(V(mask_first)(left), V(load_tail)(x + i, left), low);
        value = of_size ? V(abs)(value) : value;
        if (from_below) {
            inside = V(mask_and)(inside, V(ge)(value, low));
        }
        if (from_above) {
            inside = V(mask_and)(inside, V(le)(value, high));
        }
    }
    return !V(any)(V(mask_not)(inside));
}

/* ---- one sum in order ------------------------------------------------------------------------- */

/* Doubles a turn of add_in_order. */
#define CR_ORDER_BLOCK 64

/* total + x[0] + x[1] + ..., each addition rounded, as written: a chain in which each waits for the one before.
 * The same number comes faster where these hold for a block, low being the power of 2 with low <= total < 2 low
 * and u = 2^-52 low the distance of doubles there:
 *     no x is negative or NaN; the sum stays below 2 low; no x lies half-way between two multiples of u.
 * Then each addition only rounds x to the nearest multiple q of u, whatever has been added before, and sums of
 * such multiples are exact in any order. q = (x + low) - low, as x + low lies between low and 2 low, too. */
static double FN(add_in_order)(double total, size_t n, const double *x)
{
    size_t i = 0;
    while (i + CR_ORDER_BLOCK <= n) {
        int exponent = 0;
        /* 2^-900: the numbers below are normal. NaN and infinity take the chain. */
        if (total >= 0x1p-900 && total < 0x1p1000) {
            (void)frexp(total, &exponent);
            const double low = ldexp(0.5, exponent);
            const cr_f64_t shift = cr_f64_set1(low), half = cr_f64_set1(low * 0x1p-53);
            const cr_f64_t zero = cr_f64_zero();
            for (; i + CR_ORDER_BLOCK <= n; i += CR_ORDER_BLOCK) {
                cr_f64_t sum = zero, other_sum = zero, most = zero;
                cr_f64_mask_t bad = cr_f64_mask_first(0);
                for (size_t k = i; k < i + CR_ORDER_BLOCK; k += 2 * CR_F64_LANES) {
                    const cr_f64_t a = cr_f64_load(x + k), b = cr_f64_load(x + k + CR_F64_LANES);
                    const cr_f64_t p = cr_f64_sub(cr_f64_add(a, shift), shift);
                    const cr_f64_t q = cr_f64_sub(cr_f64_add(b, shift), shift);
                    sum = cr_f64_add(sum, p);
                    other_sum = cr_f64_add(other_sum, q);
                    most = cr_f64_max(cr_f64_abs(cr_f64_sub(a, p)), most);
                    most = cr_f64_max(cr_f64_abs(cr_f64_sub(b, q)), most);
                    bad = cr_f64_mask_or(bad, cr_f64_mask_or(cr_f64_lt(a, zero), cr_f64_lt(b, zero)));
                }
                bad = cr_f64_mask_or(bad, cr_f64_mask_not(cr_f64_lt(most, half)));
                double lanes[CR_F64_LANES], added = total;
                cr_f64_store(lanes, cr_f64_add(sum, other_sum));
                for (size_t k = 0; k < CR_F64_LANES; ++k) {
                    added += lanes[k];
                }
                if (cr_f64_any(bad) || !(added < 2 * low)) {
                    break;
                }
                total = added;
            }
        }
        if (i + CR_ORDER_BLOCK <= n) { /* the block that did not fit */
            for (size_t k = 0; k < CR_ORDER_BLOCK; ++k) {
                total += x[i + k];
            }
            i += CR_ORDER_BLOCK;
        }
    }
    for (; i < n; ++i) {
        total += x[i];
    }
    return total;
}
