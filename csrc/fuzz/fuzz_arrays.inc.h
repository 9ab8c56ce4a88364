/* fuzz_arrays.inc.h - arrays of one dtype; included twice by fuzz.h. */

/* Rows of n in an allocation that ends with the last element, so that AddressSanitizer sees one too many;
 * `shift` elements stand before the first. What lies between the rows and before them is NaN. */
typedef struct RN(array) {
    size_t rows, n, ld, shift;
    REAL *block, *at;
} RN(array);

/* A number of any bits, the awkward ones often. */
static inline REAL RN(any_bits)(void)
{
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1.0, -1.0, 88.7, -88.7, -103.9,
                                      709.7, -745.1};
    const uint64_t bits = random_bits();
    if (bits % 8 == 0) {
        return (REAL)special[(bits >> 8) % (sizeof special / sizeof special[0])];
    }
    const uint64_t more = random_bits();
    REAL value;
    memcpy(&value, &more, sizeof value);
    return value;
}

static inline RN(array) RN(array_new)(size_t rows, size_t n, size_t extra, size_t shift)
{
    RN(array) a = {rows, n, n + extra, shift, NULL, NULL};
    const size_t total = shift + (rows == 0 ? 0 : (rows - 1) * a.ld + n);
    void *block = NULL;
    REQUIRE(posix_memalign(&block, 64, total * sizeof(REAL)) == 0, "no memory");
    a.block = block;
    a.at = a.block + shift;
    for (size_t i = 0; i < total; i++) {
        a.block[i] = (REAL)NAN;
    }
    return a;
}

/* Row length, padding and alignment as the input says. */
static inline RN(array) RN(array_take)(size_t rows, size_t n)
{
    const unsigned geometry = take_byte();
    return RN(array_new)(rows, n, geometry % 4 == 0 ? 1 + (geometry >> 6) * 5 : 0,
                         (geometry >> 2) % (64 / sizeof(REAL)));
}

static inline void RN(array_fill)(RN(array) *a, enum fill fill)
{
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->n; j++) {
            REAL *const place = &a->at[i * a->ld + j];
            if (fill == FILL_BITS) {
                *place = input_left >= sizeof(REAL) ? (memcpy(place, input, sizeof(REAL)), *place) : RN(any_bits)();
                const size_t used = input_left >= sizeof(REAL) ? sizeof(REAL) : input_left;
                input += used;
                input_left -= used;
            } else {
                *place = (REAL)fill_number(fill);
            }
        }
    }
}

static inline RN(array) RN(array_filled)(size_t rows, size_t n, enum fill fill)
{
    RN(array) a = RN(array_take)(rows, n);
    RN(array_fill)(&a, fill);
    return a;
}

static inline void RN(array_free)(RN(array) *a)
{
    free(a->block);
}

/* Nobody wrote beside the rows. */
static inline void RN(array_check_gaps)(const RN(array) *a, const char *what)
{
    const size_t total = a->shift + (a->rows == 0 ? 0 : (a->rows - 1) * a->ld + a->n);
    for (size_t i = 0; i < total; i++) {
        const int inside = i >= a->shift && (i - a->shift) % a->ld < a->n;
        REQUIRE(inside || a->block[i] != a->block[i], "%s: wrote beside its rows, at element %zu", what, i);
    }
}

/* Of the elements; every NaN counts as the same one, since the standard leaves its sign and payload open. */
static inline uint64_t RN(digest)(uint64_t digest, size_t n, const REAL *at)
{
    for (size_t i = 0; i < n; i++) {
        const REAL value = at[i] != at[i] ? (REAL)NAN : at[i];
        digest = digest_bytes(digest, &value, sizeof value);
    }
    return digest;
}

static inline uint64_t RN(array_digest)(const RN(array) *a)
{
    uint64_t digest = DIGEST_START;
    for (size_t i = 0; i < a->rows; i++) {
        digest = RN(digest)(digest, a->n, a->at + i * a->ld);
    }
    return digest;
}
