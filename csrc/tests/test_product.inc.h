/* test_product.inc.h - the products of one dtype; included twice by test_product.c. */
#include "../kernels/dtype.h"

static REAL V(random)(void)
{
    /* One in eight is zero, of either sign: relu and the sign of a sum care. */
    const uint64_t bits = cr_check_bits();
    if ((bits & 7) == 0) {
        return (bits & 8) != 0 ? (REAL)0 : -(REAL)0;
    }
    return (REAL)((double)(int64_t)bits * 0x1p-62);
}

/* rows of n in an array with rows ld apart, `shift` elements off alignment */
typedef struct V(matrix) {
    size_t rows, n, ld;
    REAL *block, *at;
} V(matrix);

static V(matrix) V(matrix_new)(size_t rows, size_t n, size_t extra, size_t shift, REAL gap)
{
    V(matrix) m = {rows, n, n + extra, NULL, NULL};
    /* Exactly as long as the last row needs, so that a sanitizer sees one element too many. */
    const size_t inner = rows == 0 ? 0 : (rows - 1) * m.ld + n;
    m.block = malloc((inner + shift + 2 * GUARD) * sizeof(REAL));
    if (m.block == NULL) {
        abort();
    }
    m.at = m.block + GUARD + shift;
    for (size_t i = 0; i < inner + shift + 2 * GUARD; i++) {
        m.block[i] = gap;
    }
    return m;
}

/* An input: nothing after its last element. */
static V(matrix) V(input)(size_t rows, size_t n, size_t extra, size_t shift)
{
    V(matrix) m = {rows, n, n + extra, NULL, NULL};
    const size_t inner = rows == 0 ? 0 : (rows - 1) * m.ld + n;
    m.block = malloc((inner + shift) * sizeof(REAL) + 1);
    if (m.block == NULL) {
        abort();
    }
    m.at = m.block + shift;
    for (size_t i = 0; i < inner + shift; i++) {
        m.block[i] = (REAL)NAN;
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < n; j++) {
            m.at[i * m.ld + j] = V(random)();
        }
    }
    return m;
}

#define GUARD_VALUE ((REAL)-12345.678)

static V(matrix) V(output)(size_t rows, size_t n)
{
    return V(matrix_new)(rows, n, random_below(3) * 5, random_below(4), GUARD_VALUE);
}

static void V(copy)(const V(matrix) *from, V(matrix) *to)
{
    for (size_t i = 0; i < from->rows; i++) {
        for (size_t j = 0; j < from->n; j++) {
            to->at[i * to->ld + j] = from->at[i * from->ld + j];
        }
    }
}

static int V(same)(REAL a, REAL b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

/* The output holds the wanted bits and nothing beside them was touched. */
static void V(check_output)(const char *what, const char *isa, const size_t *shape, int kind,
                            const V(matrix) *wanted, const V(matrix) *got)
{
    size_t n_wrong = 0, n_touched = 0, at = 0;
    const size_t inner = got->rows == 0 ? 0 : (got->rows - 1) * got->ld + got->n;
    const size_t before = (size_t)(got->at - got->block);
    for (size_t i = 0; i < before + inner + GUARD; i++) {
        const int inside = i >= before && i < before + inner && (i - before) % got->ld < got->n;
        if (!inside) {
            n_touched += !V(same)(got->block[i], GUARD_VALUE);
            continue;
        }
        const size_t row = (i - before) / got->ld, col = (i - before) % got->ld;
        if (!V(same)(got->block[i], wanted->at[row * wanted->ld + col])) {
            n_wrong++;
            at = i - before;
        }
    }
    CHECK(n_wrong == 0, "%s f%d %s %zu x %zu x %zu kind %d: %zu wrong, one at row %zu column %zu", what,
          CR_DTYPE, isa, shape[0], shape[1], shape[2], kind, n_wrong, at / got->ld, at % got->ld);
    CHECK(n_touched == 0, "%s f%d %s %zu x %zu x %zu kind %d: %zu guards touched", what, CR_DTYPE, isa,
          shape[0], shape[1], shape[2], kind, n_touched);
}

/* The contract: out[i][j] = blocks of chains over a(i, q) b(q, j). Strides in elements. */
static void V(reference)(size_t m, size_t n, size_t k, const REAL *a, size_t a_row, size_t a_col, const REAL *b,
                         size_t b_row, size_t b_col, V(matrix) *out)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            REAL total = 0;
            for (size_t q = 0; q < k; q += CR_KB) {
                REAL sum = 0;
                for (size_t t = q; t < k && t < q + CR_KB; t++) {
                    sum = REAL_FMA(a[i * a_row + t * a_col], b[t * b_row + j * b_col], sum);
                }
                total = q == 0 ? sum : total + sum;
            }
            out->at[i * out->ld + j] = total;
        }
    }
}

static void V(check_forward)(const cr_target *target, const size_t *shape, const V(matrix) *x,
                             const V(matrix) *w, const V(matrix) *bias, const V(matrix) *total, REAL *scratch)
{
    static const int kinds[] = {CR_IDENTITY, CR_RELU, CR_LEAKY_RELU, CR_TANH, CR_SOFTMAX};
    const REAL alpha = random_below(4) == 0 ? 0 : (REAL)0.125;
    /* Large shapes are there for the order of the loops, not for the ends. */
    const size_t step = shape[0] * shape[1] * shape[2] > 4000000 ? 3 : 1;
    const RN(kernels) *const table = CR_DTYPE == 32 ? (const void *)target->f32 : (const void *)target->f64;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k += step) {
        const int with_bias = (int)random_below(2), with_pre = (int)random_below(2);
        V(matrix) z = V(output)(shape[0], shape[2]), f = V(output)(shape[0], shape[2]);
        V(matrix) pre = V(output)(shape[0], shape[2]), y = V(output)(shape[0], shape[2]);
        for (size_t i = 0; i < shape[0]; i++) {
            for (size_t j = 0; j < shape[2]; j++) {
                const REAL t = total->at[i * total->ld + j];
                z.at[i * z.ld + j] = with_bias ? t + bias->at[j] : t;
            }
        }
        table->activation(kinds[k], alpha, shape[0], shape[2], z.at, z.ld, f.at, f.ld);
        table->dense_forward(shape[0], shape[1], shape[2], x->at, x->ld, w->at, w->ld, with_bias ? bias->at : NULL,
                             kinds[k], alpha, with_pre ? pre.at : NULL, pre.ld, y.at, y.ld, NULL, scratch);
        V(check_output)("forward", target->name, shape, kinds[k], &f, &y);
        if (with_pre) {
            V(check_output)("forward pre", target->name, shape, kinds[k], &z, &pre);
        }
        free(z.block);
        free(f.block);
        free(pre.block);
        free(y.block);
    }
}

static void V(check_backward_input)(const cr_target *target, const size_t *shape, const V(matrix) *dz,
                                    const V(matrix) *w, const V(matrix) *saved, const V(matrix) *total,
                                    REAL *scratch)
{
    static const int kinds[] = {CR_IDENTITY, CR_RELU, CR_LEAKY_RELU, CR_TANH};
    const REAL alpha = random_below(4) == 0 ? 0 : (REAL)0.125;
    /* Large shapes are there for the order of the loops, not for the ends. */
    const size_t step = shape[0] * shape[1] * shape[2] > 4000000 ? 3 : 1;
    const RN(kernels) *const table = CR_DTYPE == 32 ? (const void *)target->f32 : (const void *)target->f64;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k += step) {
        V(matrix) wanted = V(output)(shape[0], shape[1]);
        V(matrix) apart = V(output)(shape[0], shape[1]), same = V(output)(shape[0], shape[1]);
        const int has_saved = kinds[k] != CR_IDENTITY;
        table->activation_backward(kinds[k], alpha, shape[0], shape[1], total->at, total->ld, saved->at,
                                   saved->ld, wanted.at, wanted.ld);
        table->dense_backward_input(shape[0], shape[1], shape[2], dz->at, dz->ld, w->at, w->ld, kinds[k], alpha,
                                    has_saved ? saved->at : NULL, saved->ld, apart.at, apart.ld,
                                    scratch);
        V(check_output)("backward_input", target->name, shape, kinds[k], &wanted, &apart);
        V(copy)(saved, &same);
        table->dense_backward_input(shape[0], shape[1], shape[2], dz->at, dz->ld, w->at, w->ld, kinds[k], alpha,
                                    has_saved ? same.at : NULL, same.ld, same.at, same.ld, scratch);
        V(check_output)("backward_input in place", target->name, shape, kinds[k], &wanted, &same);
        free(wanted.block);
        free(apart.block);
        free(same.block);
    }
}

static void V(check_backward_weight)(const cr_target *target, const size_t *shape, const V(matrix) *x,
                                     const V(matrix) *dz, const V(matrix) *w, const V(matrix) *total,
                                     REAL *scratch)
{
    const RN(kernels) *const table = CR_DTYPE == 32 ? (const void *)target->f32 : (const void *)target->f64;
    const REAL rate = (REAL)0.0625 + (REAL)0.001;
    V(matrix) dw = V(output)(shape[1], shape[2]), wanted = V(output)(shape[1], shape[2]);
    V(matrix) updated = V(output)(shape[1], shape[2]);
    V(matrix) sums = V(matrix_new)(shape[1], shape[2], updated.ld - updated.n, 1, GUARD_VALUE);
    table->dense_backward_weight(shape[0], shape[1], shape[2], x->at, x->ld, dz->at, dz->ld, dw.at, dw.ld,
                                 scratch);
    V(check_output)("backward_weight", target->name, shape, -1, total, &dw);
    for (size_t i = 0; i < shape[1]; i++) {
        for (size_t j = 0; j < shape[2]; j++) {
            wanted.at[i * wanted.ld + j] = REAL_FMA(-rate, total->at[i * total->ld + j], w->at[i * w->ld + j]);
        }
    }
    V(copy)(w, &updated);
    table->dense_backward_weight_sgd(shape[0], shape[1], shape[2], x->at, x->ld, dz->at, dz->ld, rate, updated.at,
                                     updated.ld, shape[0] > CR_KB ? sums.at : NULL, scratch);
    V(check_output)("backward_weight_sgd", target->name, shape, -1, &wanted, &updated);
    free(dw.block);
    free(wanted.block);
    free(updated.block);
    free(sums.block);
}

/* far: rows of x (1), of w (2) are a multiple of 4 KiB apart, where they are often copied. Those of a wide dz always
 * are. */
static void V(check_shape)(size_t n_rows, size_t n_in, size_t n_out, size_t far)
{
    const size_t shape[3] = {n_rows, n_in, n_out};
    const int far_x = n_out >= 200 && far % 2 == 1, far_w = n_rows >= 40 && far >= 2;
    V(matrix) x = V(input)(n_rows, n_in, far_x ? (0 - n_in) % 1024 : random_below(3) * 3, random_below(4));
    V(matrix) w = V(input)(n_in, n_out, far_w ? (0 - n_out) % 1024 : random_below(3) * 7, random_below(4));
    V(matrix) dz = V(input)(n_rows, n_out, n_out < 1000 ? random_below(3) * 3 : (0 - n_out) % 1024, random_below(4));
    V(matrix) saved = V(input)(n_rows, n_in, random_below(2) * 9, random_below(4));
    V(matrix) bias = V(input)(1, n_out, 0, random_below(4));
    V(matrix) z = V(output)(n_rows, n_out), dx = V(output)(n_rows, n_in), dw = V(output)(n_in, n_out);
    /* 64-byte aligned, as the contract of scratch says. */
    const size_t n_scratch =
        (double)n_rows * (double)n_in * (double)n_out < CR_SCRATCH_WORK ? CR_SCRATCH_MIN : CR_SCRATCH_MAX;
    REAL *const room = malloc(n_scratch * sizeof(REAL) + 64);
    if (room == NULL) {
        abort();
    }
    REAL *const scratch = (REAL *)(((uintptr_t)room + 63) / 64 * 64);
    REAL *const least_scratch = scratch + (n_scratch - CR_SCRATCH_MIN); /* all that rows get */

    /* NaN and infinity somewhere, every third time. */
    if (random_below(3) == 0 && n_rows * n_in * n_out != 0) {
        x.at[random_below(n_rows) * x.ld + random_below(n_in)] = (REAL)NAN;
        w.at[random_below(n_in) * w.ld + random_below(n_out)] = (REAL)INFINITY;
        saved.at[random_below(n_rows) * saved.ld + random_below(n_in)] = (REAL)NAN;
    }
    V(reference)(n_rows, n_out, n_in, x.at, x.ld, 1, w.at, w.ld, 1, &z);
    V(reference)(n_rows, n_in, n_out, dz.at, dz.ld, 1, w.at, 1, w.ld, &dx);
    V(reference)(n_in, n_out, n_rows, x.at, 1, x.ld, dz.at, dz.ld, 1, &dw);
    for (size_t t = 0; t < n_targets; t++) {
        V(check_forward)(targets[t], shape, &x, &w, &bias, &z, least_scratch);
        V(check_backward_input)(targets[t], shape, &dz, &w, &saved, &dx, least_scratch);
        V(check_backward_weight)(targets[t], shape, &x, &dz, &w, &dw, scratch);
    }
    free(room);
    free(x.block);
    free(w.block);
    free(dz.block);
    free(saved.block);
    free(bias.block);
    free(z.block);
    free(dx.block);
    free(dw.block);
}

#undef REAL_FMA
#undef GUARD_VALUE
#include "../kernels/dtype_end.h"
