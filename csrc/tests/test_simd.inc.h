/* test_simd.inc.h - test_simd.c for one dtype.
 *
 * Values are compared as bits.  Only where the IEEE leaves a choice, the payload of a NaN that
 * arithmetic produced, is any NaN as good as any other.
 */
#if CR_DTYPE == 32
#define UINT uint32_t
#define N_MANTISSA 23
#define FMA fmaf
#define SQRT sqrtf
#define T(name) CR_CAT(name, _f32)
#else
#define UINT uint64_t
#define N_MANTISSA 52
#define FMA CR_FMA /* held to the C library's in test_exact_fma.c, where that one is right */
#define SQRT sqrt
#define T(name) CR_CAT(name, _f64)
#endif

#define N_BITS (8 * sizeof(REAL))
#define SIGN ((UINT)1 << (N_BITS - 1))
#define INFINITE (SIGN - ((UINT)1 << N_MANTISSA)) /* the exponent bits: those of +infinity */

_Static_assert(sizeof(V(t)) == V_LANES * sizeof(REAL), "V_LANES fits the type");

static UINT T(to_bits)(REAL a)
{
    UINT u;
    memcpy(&u, &a, sizeof u);
    return u;
}

static REAL T(of_bits)(UINT u)
{
    REAL a;
    memcpy(&a, &u, sizeof a);
    return a;
}

static int T(nan_bits)(UINT u) { return (u & ~SIGN) > INFINITE; }
static int T(same)(UINT want, UINT got) { return want == got; }
static int T(same_or_nan)(UINT want, UINT got)
{
    return want == got || (T(nan_bits)(want) && T(nan_bits)(got));
}

/* ---- the cases ------------------------------------------------------------------------------ */

static UINT T(case_a)[N_CASES], T(case_b)[N_CASES], T(case_c)[N_CASES];

/* Random bits; half the time with an exponent near that of 1, so that sums and products meet. */
static UINT T(random_case)(void)
{
    const uint64_t r = cr_check_bits();
    UINT u = (UINT)cr_check_bits();
    if (r & 1) {
        const UINT exponent = (INFINITE >> (N_MANTISSA + 1)) + (UINT)(r >> 8) % 32 - 16;
        u = (u & ~INFINITE) | (exponent << N_MANTISSA);
    }
    if (r & 2) {
        u &= ~(((UINT)1 << (N_MANTISSA * 2 / 3)) - 1); /* few bits: exact and halfway results */
    }
    return u;
}

static void T(fill_random)(size_t first)
{
    for (size_t k = first; k < N_CASES; k++) {
        T(case_a)[k] = T(random_case)();
        T(case_b)[k] = T(random_case)();
        T(case_c)[k] = T(random_case)();
    }
}

static void T(fill_cases)(void)
{
    const UINT one = (INFINITE >> (N_MANTISSA + 1)) << N_MANTISSA, ulp = 1;
    const UINT half_digits = one + ((UINT)1 << (N_MANTISSA / 2 + 1)); /* squares to a near-tie */
    const UINT positive[] = {
        0,                                   /* zero */
        1, 2, ((UINT)1 << N_MANTISSA) - 1,   /* subnormals: least, next, greatest */
        (UINT)1 << N_MANTISSA,               /* least normal */
        ((UINT)1 << N_MANTISSA) + 1,
        one - ulp, one, one + ulp,           /* about 1 */
        one - ((UINT)1 << N_MANTISSA),       /* 1/2 */
        one + ((UINT)1 << N_MANTISSA),       /* 2 */
        half_digits,
        one - ((UINT)N_MANTISSA << N_MANTISSA),     /* about an ulp of 1 */
        one - ((UINT)(N_MANTISSA + 1) << N_MANTISSA), /* half that: ties */
        one + ((UINT)N_MANTISSA << N_MANTISSA),
        one / 2, one / 2 - 1,                /* products that are subnormal */
        T(to_bits)((REAL)3.14159265358979),
        INFINITE - 1, INFINITE,            /* greatest finite, infinity */
        INFINITE + 1,                      /* a signalling NaN */
        INFINITE + ((UINT)1 << (N_MANTISSA - 1)) + 77, /* a quiet one */
    };
    const size_t n = sizeof positive / sizeof positive[0], n_signed = 2 * n;
    size_t k = 0;
    for (; k < n_signed * n_signed * n_signed; k++) {
        const size_t i[3] = {k % n_signed, k / n_signed % n_signed, k / n_signed / n_signed};
        T(case_a)[k] = positive[i[0] / 2] | (i[0] % 2 ? SIGN : 0);
        T(case_b)[k] = positive[i[1] / 2] | (i[1] % 2 ? SIGN : 0);
        T(case_c)[k] = positive[i[2] / 2] | (i[2] % 2 ? SIGN : 0);
    }
    T(fill_random)(k);
}

/* Vectors of the cases from k on. */
static V(t) T(vector)(const UINT *cases)
{
    REAL lanes[V_LANES];
    memcpy(lanes, cases, sizeof lanes);
    return V(load)(lanes);
}

static void T(lanes_of)(V(t) v, UINT *out)
{
    REAL lanes[V_LANES];
    V(store)(lanes, v);
    memcpy(out, lanes, sizeof lanes);
}

/* Try one word on every case.  In `vector_result` va, vb, vc are the arguments as vectors.  `want`
   is the bits of one lane of the right answer: a, b, c are REAL there, and ua, ub, uc their bits. */
#define TRY(word, compare, vector_result, want)                                                   \
    do {                                                                                          \
        size_t n_wrong = 0, at = 0;                                                               \
        UINT wanted = 0, found = 0;                                                               \
        for (size_t k = 0; k < N_CASES; k += V_LANES) {                                           \
            const V(t) va = T(vector)(T(case_a) + k);                                             \
            const V(t) vb = T(vector)(T(case_b) + k);                                             \
            const V(t) vc = T(vector)(T(case_c) + k);                                             \
            UINT got[V_LANES];                                                                    \
            (void)va, (void)vb, (void)vc;                                                         \
            T(lanes_of)(vector_result, got);                                                      \
            for (size_t j = 0; j < V_LANES; j++) {                                                \
                const UINT ua = T(case_a)[k + j], ub = T(case_b)[k + j], uc = T(case_c)[k + j];   \
                const REAL a = T(of_bits)(ua), b = T(of_bits)(ub), c = T(of_bits)(uc);            \
                (void)ua, (void)ub, (void)uc, (void)a, (void)b, (void)c;                          \
                const UINT right = (want);                                                        \
                if (!compare(right, got[j]) && n_wrong++ == 0) {                                  \
                    at = k + j;                                                                   \
                    wanted = right;                                                               \
                    found = got[j];                                                               \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        CHECK(n_wrong == 0,                                                                       \
              "f%d %s: %lu wrong, first (%llx, %llx, %llx): want %llx, got %llx", CR_DTYPE, word, \
              (unsigned long)n_wrong, (unsigned long long)T(case_a)[at],                          \
              (unsigned long long)T(case_b)[at], (unsigned long long)T(case_c)[at],               \
              (unsigned long long)wanted, (unsigned long long)found);                             \
    } while (0)

#define BITS(x) T(to_bits)(x)

static void T(test_arithmetic)(void)
{
    TRY("add", T(same_or_nan), V(add)(va, vb), BITS(a + b));
    TRY("sub", T(same_or_nan), V(sub)(va, vb), BITS(a - b));
    TRY("mul", T(same_or_nan), V(mul)(va, vb), BITS(a * b));
    TRY("div", T(same_or_nan), V(div)(va, vb), BITS(a / b));
    TRY("sqrt", T(same_or_nan), V(sqrt)(va), BITS(SQRT(a)));
    TRY("fnma", T(same_or_nan), V(fnma)(va, vb, vc), BITS(FMA(-a, b, c)));
    TRY("max", T(same), V(max)(va, vb), a > b ? ua : ub);
    TRY("min", T(same), V(min)(va, vb), a < b ? ua : ub);
    TRY("abs", T(same), V(abs)(va), ua & ~SIGN);
    TRY("neg", T(same), V(neg)(va), ua ^ SIGN);
    TRY("copysign", T(same), V(copysign)(va, vb), (ua & ~SIGN) | (ub & SIGN));
}

/* fma on a million triples: the scalar one for float is our own. */
static void T(test_fma)(void)
{
    for (int round = 0; round < 8; round++) {
        TRY("fma", T(same_or_nan), V(fma)(va, vb, vc), BITS(FMA(a, b, c)));
        T(fill_random)(0);
    }
    T(fill_cases)();
}

static void T(test_truth)(void)
{
    TRY("lt", T(same), V(select)(V(lt)(va, vb), va, vc), a < b ? ua : uc);
    TRY("le", T(same), V(select)(V(le)(va, vb), va, vc), a <= b ? ua : uc);
    TRY("gt", T(same), V(select)(V(gt)(va, vb), va, vc), a > b ? ua : uc);
    TRY("ge", T(same), V(select)(V(ge)(va, vb), va, vc), a >= b ? ua : uc);
    TRY("eq", T(same), V(select)(V(eq)(va, vb), vb, vc), a == b ? ub : uc);
    TRY("is_nan", T(same), V(select)(V(is_nan)(va), vb, vc), T(nan_bits)(ua) ? ub : uc);
    TRY("keep", T(same), V(keep)(V(lt)(va, vb), vc), a < b ? uc : 0);
    TRY("mask_and", T(same), V(keep)(V(mask_and)(V(lt)(va, vb), V(lt)(vb, vc)), va),
        a < b && b < c ? ua : 0);
    TRY("mask_or", T(same), V(keep)(V(mask_or)(V(lt)(va, vb), V(lt)(vb, vc)), va),
        a < b || b < c ? ua : 0);
    TRY("mask_not", T(same), V(keep)(V(mask_not)(V(lt)(va, vb)), vc), a < b ? 0 : uc);
}

/* The word on the bits, back as REAL. */
#define INT2(word) V(from_bits)(V(word)(V(bits)(va), V(bits)(vb)))
#define SHIFT(word, n) V(from_bits)(V(word)(V(bits)(va), n))

/* The reference divides, so that it leans on no shift: floor(a / 2^n). */
static UINT T(arithmetic_right)(UINT u, unsigned n)
{
    return (u & SIGN) ? (UINT) ~((UINT)~u / ((UINT)1 << n)) : u / ((UINT)1 << n);
}

#define TRY_SHIFTS(n)                                                                             \
    do {                                                                                          \
        TRY("ishl by " #n, T(same), SHIFT(ishl, n), (UINT)(ua * ((UINT)1 << (n))));               \
        TRY("ishr by " #n, T(same), SHIFT(ishr, n), ua / ((UINT)1 << (n)));                       \
        TRY("isra by " #n, T(same), SHIFT(isra, n), T(arithmetic_right)(ua, n));                  \
    } while (0)

static void T(test_integers)(void)
{
    TRY("bits", T(same), V(from_bits)(V(bits)(va)), ua);
    TRY("iadd", T(same), INT2(iadd), ua + ub);
    TRY("isub", T(same), INT2(isub), ua - ub);
    TRY("iand", T(same), INT2(iand), ua & ub);
    TRY("ior", T(same), INT2(ior), ua | ub);
    TRY_SHIFTS(0);
    TRY_SHIFTS(1);
    TRY_SHIFTS(13);
#if CR_DTYPE == 32
    TRY_SHIFTS(23);
    TRY_SHIFTS(31);
#else
    TRY_SHIFTS(32);
    TRY_SHIFTS(52);
    TRY_SHIFTS(63);
#endif

    REAL table[17]; /* one too many, so that it can begin anywhere */
    for (size_t k = 0; k < 17; k++) {
        table[k] = (REAL)(100 + 3 * k);
    }
    for (int64_t index = -40; index < 40; index++) {
        UINT got[V_LANES];
        const int64_t slot = (index % 16 + 16) % 16;
        size_t n_right = 0;
        T(lanes_of)(V(lookup16)(table + 1, V(iset1)(index)), got);
        for (size_t j = 0; j < V_LANES; j++) {
            n_right += got[j] == T(to_bits)(table[1 + slot]);
        }
        CHECK(n_right == V_LANES, "f%d lookup16(%lld)", CR_DTYPE, (long long)index);
    }

    const int64_t numbers[] = {0,         1,         -1,         127,       -1023,
                               INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 0x123456789ABCDEF0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        UINT got[V_LANES];
        size_t n_right = 0;
        T(lanes_of)(V(from_bits)(V(iset1)(numbers[i])), got);
        for (size_t j = 0; j < V_LANES; j++) {
            n_right += got[j] == (UINT)(uint64_t)numbers[i];
        }
        CHECK(n_right == V_LANES, "f%d iset1(%lld)", CR_DTYPE, (long long)numbers[i]);
    }
}

/* ---- moving --------------------------------------------------------------------------------- */

static void T(test_set)(void)
{
    size_t n_wrong = 0;
    for (size_t k = 0; k < 4096; k++) {
        UINT got[V_LANES];
        T(lanes_of)(V(set1)(T(of_bits)(T(case_a)[k])), got);
        for (size_t j = 0; j < V_LANES; j++) {
            n_wrong += got[j] != T(case_a)[k];
        }
    }
    CHECK(n_wrong == 0, "f%d set1: %lu wrong", CR_DTYPE, (unsigned long)n_wrong);

    UINT got[V_LANES];
    memset(got, GUARD, sizeof got);
    T(lanes_of)(V(zero)(), got);
    for (size_t j = 0; j < V_LANES; j++) {
        CHECK(got[j] == 0, "f%d zero: lane %lu", CR_DTYPE, (unsigned long)j);
    }
}

/* Whether every byte of the page outside [from, to) is still a guard byte. */
static int T(guards_stand)(const unsigned char *from, const unsigned char *to)
{
    const unsigned char *const begin = from - page > 256 ? from - 256 : page;
    const unsigned char *const end = page + page_size - to > 256 ? to + 256 : page + page_size;
    int stand = 1;
    for (const unsigned char *p = begin; p < end; p++) {
        stand &= (p >= from && p < to) || *p == GUARD;
    }
    return stand;
}

/* load and store at every alignment, and against both ends of the page. */
static void T(test_load_store)(void)
{
    const size_t size = V_LANES * sizeof(REAL);
    for (size_t i = 0; i <= 2 * 64; i++) {
        unsigned char *const at = i <= 64 ? page + i : page + page_size - size - (i - 65);
        const UINT *const want = T(case_a) + i * 100;
        UINT got[V_LANES];
        memset(page, GUARD, page_size);
        V(store)((REAL *)(void *)at, T(vector)(want));
        CHECK(memcmp(at, want, size) == 0, "f%d store at %lu", CR_DTYPE, (unsigned long)i);
        CHECK(T(guards_stand)(at, at + size), "f%d store beyond, at %lu", CR_DTYPE,
              (unsigned long)i);
        T(lanes_of)(V(load)((const REAL *)(const void *)at), got);
        CHECK(memcmp(got, want, size) == 0, "f%d load at %lu", CR_DTYPE, (unsigned long)i);
    }
}

/* The n last elements of the page: element n would fault. */
static void T(test_tails)(void)
{
    for (size_t n = 0; n <= V_LANES; n++) {
        unsigned char *const at = page + page_size - n * sizeof(REAL);
        REAL *const p = (REAL *)(void *)at;
        const UINT *const want = T(case_b) + 1000 * n; /* the awkward ones among them */
        const V(t) v = T(vector)(want);
        UINT got[3][V_LANES];

        for (int masked = 0; masked < 2; masked++) {
            memset(page, GUARD, page_size);
            if (masked) {
                V(store_masked)(V(mask_first)(n), p, v);
            } else {
                V(store_tail)(p, v, n);
            }
            CHECK(memcmp(at, want, n * sizeof(REAL)) == 0 && T(guards_stand)(at, page + page_size),
                  "f%d store of the first %lu, masked %d", CR_DTYPE, (unsigned long)n, masked);
        }
        T(lanes_of)(V(load_tail)(p, n), got[0]);
        T(lanes_of)(V(load_masked)(V(mask_first)(n), p), got[1]);
        T(lanes_of)(V(keep)(V(mask_first)(n), v), got[2]);
        size_t n_wrong = 0;
        for (size_t j = 0; j < V_LANES; j++) {
            const UINT right = j < n ? want[j] : 0;
            n_wrong += (got[0][j] != right) + (got[1][j] != right) + (got[2][j] != right);
        }
        CHECK(n_wrong == 0, "f%d load of the first %lu", CR_DTYPE, (unsigned long)n);
    }
}

/* Every pattern of lanes, placed so that the lanes before its first and after its last fault. */
static void T(test_masks)(void)
{
    const unsigned long n_patterns = 1ul << V_LANES;
    size_t n_bad_load = 0, n_bad_store = 0, n_bad_any = 0, n_bad_select = 0;
    memset(page, GUARD, page_size);
    for (unsigned long pattern = 0; pattern < n_patterns; pattern++) {
        REAL is_in[V_LANES];
        size_t first = V_LANES, last = 0;
        for (size_t j = 0; j < V_LANES; j++) {
            is_in[j] = (REAL)(pattern >> j & 1);
            if (pattern >> j & 1) {
                first = j < first ? j : first;
                last = j;
            }
        }
        const V(mask_t) m = V(eq)(V(load)(is_in), V(set1)(1));
        const UINT *const want = T(case_c) + (pattern & 1023) * V_LANES;
        const V(t) v = T(vector)(want), other = T(vector)(want + V_LANES);
        UINT got[V_LANES], chosen[V_LANES];

        n_bad_any += (V(any)(m) != 0) != (pattern != 0);
        T(lanes_of)(V(select)(m, v, other), chosen);
        for (size_t j = 0; j < V_LANES; j++) {
            n_bad_select += chosen[j] != want[(pattern >> j & 1) ? j : j + V_LANES];
        }

        /* Against the end of the page, then against its beginning. */
        const size_t n_used = pattern ? last + 1 : 0, n_skipped = pattern ? first : V_LANES;
        unsigned char *const places[2] = {page + page_size - n_used * sizeof(REAL),
                                          page - n_skipped * sizeof(REAL)};
        for (int i = 0; i < 2; i++) {
            unsigned char *const at = places[i];
            REAL *const p = (REAL *)(void *)at;
            V(store_masked)(m, p, v);
            T(lanes_of)(V(load_masked)(m, p), got);
            for (size_t j = 0; j < V_LANES; j++) {
                unsigned char *const lane = at + j * sizeof(REAL);
                const int set = pattern >> j & 1;
                n_bad_load += got[j] != (set ? want[j] : 0);
                if (lane < page || lane >= page + page_size) {
                    continue;
                }
                UINT stored, untouched;
                memset(&untouched, GUARD, sizeof untouched);
                memcpy(&stored, lane, sizeof stored);
                n_bad_store += stored != (set ? want[j] : untouched);
                memcpy(lane, &untouched, sizeof untouched);
            }
        }
    }
    CHECK(n_bad_any == 0, "f%d any: %lu wrong", CR_DTYPE, (unsigned long)n_bad_any);
    CHECK(n_bad_select == 0, "f%d select: %lu wrong", CR_DTYPE, (unsigned long)n_bad_select);
    CHECK(n_bad_load == 0, "f%d load_masked: %lu wrong", CR_DTYPE, (unsigned long)n_bad_load);
    CHECK(n_bad_store == 0, "f%d store_masked: %lu wrong", CR_DTYPE, (unsigned long)n_bad_store);
    CHECK(T(guards_stand)(page, page), "f%d store_masked: beyond, first", CR_DTYPE);
    CHECK(T(guards_stand)(page + page_size, page + page_size), "f%d store_masked: beyond, last",
          CR_DTYPE);
}

/* How many lanes of r are not those of the transpose of from, V_LANES rows side by side. */
static size_t T(not_transposed)(const V(t) r[V_LANES], const UINT *from)
{
    size_t n_wrong = 0;
    for (size_t i = 0; i < V_LANES; i++) {
        UINT got[V_LANES];
        T(lanes_of)(r[i], got);
        for (size_t j = 0; j < V_LANES; j++) {
            n_wrong += got[j] != from[j * V_LANES + i];
        }
    }
    return n_wrong;
}

static void T(test_transpose)(void)
{
    const UINT *const from = T(case_c) + N_CASES - V_LANES * V_LANES; /* random, so all different */
    V(t) r[V_LANES];
    for (size_t i = 0; i < V_LANES; i++) {
        r[i] = T(vector)(from + i * V_LANES);
    }
    V(transpose)(r);
    const size_t n_wrong = T(not_transposed)(r, from);
    CHECK(n_wrong == 0, "f%d transpose: %lu wrong", CR_DTYPE, (unsigned long)n_wrong);
}

/* Rows V_LANES elements apart and further, up against the next page: nothing past the last one may be read. */
static void T(test_load_transposed)(void)
{
    const UINT *const from = T(case_c) + N_CASES - V_LANES * V_LANES;
    const size_t page_reals = page_size / sizeof(REAL);
    size_t n_wrong = 0;
    for (size_t ld = V_LANES; ld <= V_LANES + 3; ld++) {
        REAL *const rows = (REAL *)(void *)page + page_reals - (V_LANES - 1) * ld - V_LANES;
        for (size_t i = 0; i < V_LANES; i++) {
            memcpy(rows + i * ld, from + i * V_LANES, V_LANES * sizeof(REAL));
        }
        V(t) r[V_LANES];
        V(load_transposed)(r, rows, ld);
        n_wrong += T(not_transposed)(r, from);
    }
    CHECK(n_wrong == 0, "f%d load_transposed: %lu wrong", CR_DTYPE, (unsigned long)n_wrong);
}

static void T(test_unzip)(void)
{
    const UINT *const from = T(case_c) + N_CASES - 2 * V_LANES;
    V(t) even = T(vector)(from), odd = T(vector)(from + V_LANES);
    V(unzip)(&even, &odd);
    UINT got[2 * V_LANES];
    T(lanes_of)(even, got);
    T(lanes_of)(odd, got + V_LANES);
    size_t n_wrong = 0;
    for (size_t i = 0; i < V_LANES; i++) {
        n_wrong += got[i] != from[2 * i];
        n_wrong += got[V_LANES + i] != from[2 * i + 1];
    }
    CHECK(n_wrong == 0, "f%d unzip: %lu wrong", CR_DTYPE, (unsigned long)n_wrong);
}

static void T(test_fold)(void)
{
    REAL lanes[V_LANES][V_LANES];
    V(t) row[V_LANES];
    for (size_t i = 0; i < V_LANES; i++) {
        for (size_t j = 0; j < V_LANES; j++) {
            lanes[i][j] = (REAL)(cr_check_bits() % 10007) / 7 - 700;
        }
        row[i] = V(load)(lanes[i]);
    }
    REAL got[V_LANES];
    V(store)(got, V(fold)(row));
    size_t n_wrong = 0;
    for (size_t i = 0; i < V_LANES; i++) {
        for (size_t half = V_LANES / 2; half > 0; half /= 2) {
            for (size_t j = 0; j < half; j++) {
                lanes[i][j] += lanes[i][j + half];
            }
        }
        n_wrong += got[i] != lanes[i][0];
    }
    CHECK(n_wrong == 0, "f%d fold: %lu wrong", CR_DTYPE, (unsigned long)n_wrong);
}

static void T(test_widen)(void)
{
    for (const UINT *from = T(case_c); from + V_LANES <= T(case_c) + N_CASES; from += V_LANES) {
        REAL lanes[V_LANES];
        memcpy(lanes, from, sizeof lanes);
        cr_f64_t wide[V_WIDE];
        V(widen)(V(load)(lanes), wide);
        double got[V_LANES];
        for (size_t v = 0; v < V_WIDE; v++) {
            cr_f64_store(got + v * CR_F64_LANES, wide[v]);
        }
        for (size_t i = 0; i < V_LANES; i++) {
            const double want = (double)lanes[i];
            const int same = isnan(want) ? isnan(got[i]) : memcmp(&want, &got[i], sizeof want) == 0;
            CHECK(same, "f%d widen: %.17g of %.17g", CR_DTYPE, got[i], want);
        }
    }
}

/* A fault would end the program. */
static void T(test_prefetch)(void)
{
    V(prefetch)((const REAL *)NULL);
    V(prefetch)((const REAL *)(const void *)(page + page_size));
    V(prefetch)((const REAL *)(const void *)page);
}

static void T(test_stream)(void)
{
    CR_ALIGN(64) REAL to[2 * V_LANES] = {0};
    const UINT *const from = T(case_c) + N_CASES - V_LANES;
    V(stream)(to + V_LANES, T(vector)(from));
    V(fence)();
    CHECK(memcmp(to + V_LANES, from, V_LANES * sizeof(REAL)) == 0 && to[V_LANES - 1] == 0, "f%d stream", CR_DTYPE);
}

static void T(RUN)(void)
{
    T(fill_cases)();
    T(test_arithmetic)();
    T(test_fma)();
    T(test_truth)();
    T(test_integers)();
    T(test_set)();
    T(test_load_store)();
    T(test_tails)();
    T(test_masks)();
    T(test_transpose)();
    T(test_load_transposed)();
    T(test_unzip)();
    T(test_fold)();
    T(test_widen)();
    T(test_prefetch)();
    T(test_stream)();
}

#undef UINT
#undef N_MANTISSA
#undef FMA
#undef SQRT
#undef T
#undef N_BITS
#undef SIGN
#undef INFINITE
#undef TRY
#undef BITS
#undef INT2
#undef SHIFT
#undef TRY_SHIFTS
