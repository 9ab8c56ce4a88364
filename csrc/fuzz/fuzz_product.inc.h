/* fuzz_product.inc.h - the products of one dtype; included twice by fuzz_product.c. */
#include "kernels/dtype.h"

/* got = a b + bias within (roundings u) (|a| |b| + |bias|); a(i, q) = a[i a_row + q a_col], b(q, j) alike. */
static void RN(within_bound)(const char *what, const RN(array) *got, size_t k, const REAL *a, size_t a_row,
                             size_t a_col, const REAL *b, size_t b_row, size_t b_col, const REAL *bias)
{
    const double n = roundings(k);
    const double relative = n * UNIT / (1.0 - n * UNIT) + n * WIDER_UNIT;
    for (size_t i = 0; i < got->rows; i++) {
        for (size_t j = 0; j < got->n; j++) {
            WIDER sum = bias != NULL ? bias[j] : 0, size = bias != NULL ? fabs((double)bias[j]) : 0;
            for (size_t q = 0; q < k; q++) {
                const WIDER term = (WIDER)a[i * a_row + q * a_col] * b[q * b_row + j * b_col];
                sum += term;
                size += term < 0 ? -term : term;
            }
            const WIDER off = got->at[i * got->ld + j] - sum;
            const WIDER limit = (WIDER)relative * size + (WIDER)(n * TINY);
            REQUIRE(off <= limit && -off <= limit,
                    "%s on %s: element (%zu, %zu) of %zu terms is off by %Lg, allowed %Lg", what, cr_isa(), i, j, k,
                    (long double)off, (long double)limit);
        }
    }
}

static void RN(fuzz)(size_t n_rows, size_t n_in, size_t n_out, unsigned way)
{
    const enum fill fill = (enum fill)(way % N_FILLS);
    const int has_bias = (way / N_FILLS) % 2 != 0;
    RN(array) x = RN(array_filled)(n_rows, n_in, fill), w = RN(array_filled)(n_in, n_out, fill);
    RN(array) dz = RN(array_filled)(n_rows, n_out, fill), bias = RN(array_filled)(1, n_out, fill);
    uint64_t first[4] = {0};
    for (size_t t = 0; cr_isa_name(1, t) != NULL; t++) {
        REQUIRE(cr_set_isa(cr_isa_name(1, t)) == CR_OK, "set_isa");
        RN(array) z = RN(array_take)(n_rows, n_out), dx = RN(array_take)(n_rows, n_in);
        RN(array) dw = RN(array_take)(n_in, n_out), db = RN(array_take)(1, n_out);
        REQUIRE(RN(dense_forward)(n_rows, n_in, n_out, x.at, x.ld, w.at, w.ld, has_bias ? bias.at : NULL, CR_IDENTITY,
                                  0, NULL, 0, z.at, z.ld) == CR_OK, "dense_forward");
        REQUIRE(RN(dense_backward_input)(n_rows, n_in, n_out, dz.at, dz.ld, w.at, w.ld, CR_IDENTITY, 0, NULL, 0, dx.at,
                                         dx.ld) == CR_OK, "dense_backward_input");
        REQUIRE(RN(dense_backward_weight)(n_rows, n_in, n_out, x.at, x.ld, dz.at, dz.ld, dw.at, dw.ld,
                                          has_bias ? db.at : NULL) == CR_OK, "dense_backward_weight");
        RN(array_check_gaps)(&z, "dense_forward");
        RN(array_check_gaps)(&dx, "dense_backward_input");
        RN(array_check_gaps)(&dw, "dense_backward_weight");
        RN(array_check_gaps)(&db, "bias gradient");
        if (t == 0 && fill != FILL_BITS) {
            const REAL one = 1;
            RN(within_bound)("dense_forward", &z, n_in, x.at, x.ld, 1, w.at, w.ld, 1, has_bias ? bias.at : NULL);
            RN(within_bound)("dense_backward_input", &dx, n_out, dz.at, dz.ld, 1, w.at, 1, w.ld, NULL);
            RN(within_bound)("dense_backward_weight", &dw, n_rows, x.at, 1, x.ld, dz.at, dz.ld, 1, NULL);
            if (has_bias) {
                RN(within_bound)("bias gradient", &db, n_rows, &one, 0, 0, dz.at, dz.ld, 1, NULL);
            }
        }
        const uint64_t digests[4] = {RN(array_digest)(&z), RN(array_digest)(&dx), RN(array_digest)(&dw),
                                     has_bias ? RN(array_digest)(&db) : 0};
        if (t == 0) {
            memcpy(first, digests, sizeof first);
        }
        for (size_t i = 0; i < 4; i++) {
            REQUIRE(digests[i] == first[i], "%s and %s differ: %zu x %zu x %zu, result %zu", cr_isa(),
                    cr_isa_name(1, 0), n_rows, n_in, n_out, i);
        }
        RN(array_free)(&z);
        RN(array_free)(&dx);
        RN(array_free)(&dw);
        RN(array_free)(&db);
    }
    RN(array_free)(&x);
    RN(array_free)(&w);
    RN(array_free)(&dz);
    RN(array_free)(&bias);
}

#undef WIDER
#undef WIDER_UNIT
#undef UNIT
#undef TINY
#include "kernels/dtype_end.h"
