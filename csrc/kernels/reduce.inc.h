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

#ifndef CR_FAR_BYTES
/* Arrays above this lie in no third-level cache, whoever else uses it. */
#define CR_FAR_BYTES ((size_t)24 << 20)
#endif

/* Whether n results to `to`, worked out from a and b, are stored past the caches: they would not stay there, and an
 * ordinary store first reads the line that it fills (10^7 elements, f' of tanh: 4.5 ms, this way 2.7). Not where they
 * replace what they come from. */
CR_INLINE int FN(goes_far)(size_t n, const REAL *a, const REAL *b, const REAL *to)
{
    return n > CR_FAR_BYTES / sizeof(REAL) && to != a && to != b && (uintptr_t)to % sizeof(REAL) == 0;
}

/* Stores v, far if that is so; p then is a multiple of the vector's size, and a fence follows the last. */
CR_INLINE void FN(store_far)(int far, REAL *p, V(t) v)
{
    if (CR_UNLIKELY(far)) {
        V(stream)(p, v);
    } else {
        V(store)(p, v);
    }
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

/* Adds x[0 .. n-1] to the 16 partial sums. */
CR_INLINE void FN(add_to_partials)(size_t n, const REAL *x, V(t) partial[16 / V_LANES])
{
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
}

/* x[0] + ... + x[n-1] by 16 partial sums. */
static inline REAL FN(row_sum)(size_t n, const REAL *x)
{
    V(t) partial[16 / V_LANES];
    FN(clear_partials)(partial);
    FN(add_to_partials)(n, x, partial);
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
    REAL last[16] = {0}; /* the last elements, less than 16; +0 changes no partial sum: none is ever -0 */
    for (size_t k = n / 16 * 16; k < n; k += V_LANES) {
        const size_t left = n - k < V_LANES ? n - k : V_LANES;
        V(store)(last + k % 16, V(load_tail)(x + k, left));
    }
    for (size_t first = 0; first < n; first += CR_SUM_BLOCK) {
        const size_t end = n - first < CR_SUM_BLOCK ? n : first + CR_SUM_BLOCK;
        double s[16] = {0};
        /* One loop for both: of two copies gcc 12 makes ten times the code for doubles, and it is a quarter as fast. */
        for (const REAL *from = x + first;; from = last) {
            const size_t n_terms = from == last ? 16 : (end - first) / 16 * 16;
            for (size_t i = 0; i < n_terms; i += 16) {
                FN(add_16_in_double)(square, from + i, s);
            }
            if (from == last || end % 16 == 0) {
                break;
            }
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

/* all_within, its comparison with `low` made or not by a constant. Four vectors a turn, each with a mask of its own:
 * none waits. */
CR_INLINE int FN(within)(const int of_size, const int from_below, size_t n, const REAL *x, V(t) low, V(t) high)
{
    V(mask_t) inside[4];
    for (size_t v = 0; v < 4; ++v) {
        inside[v] = V(mask_first)(V_LANES);
    }
    for (size_t i = 0; i < n; i += 4 * V_LANES) {
        const int whole = n - i >= 4 * V_LANES;
        for (size_t v = 0; v < 4; ++v) {
            V(t) value;
            if (whole) {
                value = V(load)(x + i + v * V_LANES);
            } else { /* past the end stands the upper bound, which is within */
                const size_t at = i + v * V_LANES, left = at >= n ? 0 : n - at < V_LANES ? n - at : V_LANES;
                const V(mask_t) live = V(mask_first)(left);
                value = V(select)(live, V(load_tail)(x + (left > 0 ? at : 0), left), high);
            }
            value = of_size ? V(abs)(value) : value;
            if (from_below) {
                inside[v] = V(mask_and)(inside[v], V(ge)(value, low));
            }
            inside[v] = V(mask_and)(inside[v], V(le)(value, high));
        }
    }
    const V(mask_t) first = V(mask_and)(inside[0], inside[1]), second = V(mask_and)(inside[2], inside[3]);
    return !V(any)(V(mask_not)(V(mask_and)(first, second)));
}

/* Whether least <= x[i] <= greatest for all i, or, `of_size`, the same of |x[i]|. A NaN is never within: the
 * comparison with `greatest` finds it, and the other is left out where it can be. */
static int FN(all_within)(size_t n, const REAL *x, int of_size, REAL least, REAL greatest)
{
    const V(t) low = V(set1)(least), high = V(set1)(greatest);
    if (of_size) {
        return FN(within)(1, 1, n, x, low, high);
    }
    return least > (REAL)-INFINITY ? FN(within)(0, 1, n, x, low, high) : FN(within)(0, 0, n, x, low, high);
}

/* ---- sums of row losses ----------------------------------------------------------------------- */

/* x[0] + ... + x[n-1] by 16 partial sums: x[i] joins number i mod 16, and they are folded 8-4-2-1. */
static double FN(sum_losses)(size_t n, const double *x)
{
    if (n <= 4) { /* steps of so few rows are short enough for the folding to count */
        double few[4] = {0};
        for (size_t i = 0; i < n; ++i) {
            few[i] += x[i];
        }
        return (few[0] + few[2]) + (few[1] + few[3]);
    }
    cr_f64_t sum[16 / CR_F64_LANES];
    for (size_t v = 0; v < 16 / CR_F64_LANES; ++v) {
        sum[v] = cr_f64_zero();
    }
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t v = 0; v < 16 / CR_F64_LANES; ++v) {
            sum[v] = cr_f64_add(sum[v], cr_f64_load(x + i + v * CR_F64_LANES));
        }
    }
    for (size_t v = 0; i < n; ++v, i += CR_F64_LANES) {
        const size_t left = n - i < CR_F64_LANES ? n - i : CR_F64_LANES;
        sum[v] = cr_f64_add(sum[v], cr_f64_load_tail(x + i, left));
    }
    double partial[16];
    for (size_t v = 0; v < 16 / CR_F64_LANES; ++v) {
        cr_f64_store(partial + v * CR_F64_LANES, sum[v]);
    }
    return FN(fold16_double)(partial);
}
