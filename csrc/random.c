/* random.c - random words, uniform and normal numbers, permutations: chainrule.h says what, philox.h how.
 *
 * Nothing here calls libm but sqrt, which IEEE 754 fixes: the numbers are the same on every platform.
 */
#include <math.h>
#include <string.h>

#include "cpu.h"
#include "kernel_table.h"

/* Words of one stream in ascending order, made CR_PHILOX_WORDS at a time. */
typedef struct word_reader {
    cr_philox philox;
    uint64_t block; /* of words[0] */
    size_t next;    /* words[next] comes next */
    uint32_t words[CR_PHILOX_WORDS];
} word_reader;

static void reader_fill(word_reader *reader)
{
    cr_current_target()->random_words(&reader->philox, reader->block, reader->words);
}

static void reader_start(word_reader *reader, uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch,
                         uint64_t index)
{
    reader->philox = cr_philox_stream(seed, purpose, stream, epoch);
    reader->block = index / 4;
    reader->next = index % 4;
    reader_fill(reader);
}

static inline uint32_t reader_next(word_reader *reader)
{
    if (reader->next == CR_PHILOX_WORDS) {
        reader->block += CR_PHILOX_BLOCKS;
        reader->next = 0;
        reader_fill(reader);
    }
    return reader->words[reader->next++];
}

/* Element i of a stream of 64-bit words: words 2i (high half) and 2i + 1 (low half). */
static inline uint64_t reader_next_pair(word_reader *reader)
{
    const uint64_t high = reader_next(reader);
    return high << 32 | reader->words[reader->next++]; /* an even word is never the last of those at hand */
}

void cr_random_u32(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                   size_t n, uint32_t *out)
{
    word_reader reader;
    if (n == 0) {
        return;
    }
    reader_start(&reader, seed, purpose, stream, epoch, first_index);
    for (size_t i = 0; i < n; ++i) {
        out[i] = reader_next(&reader);
    }
}

void cr_random_uniform(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                       size_t n, double *out)
{
    word_reader reader;
    if (n == 0) {
        return;
    }
    reader_start(&reader, seed, purpose, stream, epoch, 2 * first_index);
    for (size_t i = 0; i < n; ++i) { /* exact, so the same in every floating-point mode */
        out[i] = (double)(reader_next_pair(&reader) >> 11) * 0x1p-53;
    }
}

/* log(x) for finite x > 0 that is not subnormal; relative error below 2^-51.
 * x = 2^k m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172: eleven
 * terms of the series leave out less than 0.172^22 / 23, some 2^-60 of the first. */
static double log_positive(double x)
{
    /* The high part of log 2 has 32 bits, so k times it is exact. */
    const double log2_high = 0x1.62e42feep-1, log2_low = 0x1.a39ef35793c76p-33;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int k = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k += 1;
    }
    const double s = (m - 1) / (m + 1), square = s * s;
    double series = 0;
    for (int term = 21; term >= 3; term -= 2) {
        series = (series + 1.0 / term) * square;
    }
    return k * log2_high + (2 * s + (2 * s * series + k * log2_low));
}

static double polynomial_7(const double c[8], double x)
{
    double value = c[7];
    for (int i = 6; i >= 0; --i) {
        value = value * x + c[i];
    }
    return value;
}

/* The standard normal's inverse distribution function at 1/2 + q, |q| < 1/2, where 1/2 - |q| = tail:
 * Wichura's rational approximations, relative error about 1e-16 (algorithm AS 241, PPND16, Applied
 * Statistics 37, 1988). */
static double normal_quantile(double q, double tail)
{
    static const double center_over[8] = {
        3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
        4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3};
    static const double center_under[8] = {
        1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
        2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3};
    static const double middle_over[8] = {
        1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
        1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double middle_under[8] = {
        1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
        1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
    static const double far_over[8] = {
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
        2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double far_under[8] = {
        1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
        7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15};

    /* The three ranges meet at |q| = 0.425 and at tail = exp(-25); 0.180625 = 0.425^2, 1.6 and 5 are the
     * points about which Wichura expanded. */
    if (q <= 0.425 && q >= -0.425) {
        const double r = 0.180625 - q * q;
        return q * (polynomial_7(center_over, r) / polynomial_7(center_under, r));
    }
    const double root = sqrt(-log_positive(tail));
    double size;
    if (root <= 5) {
        const double r = root - 1.6;
        size = polynomial_7(middle_over, r) / polynomial_7(middle_under, r);
    } else {
        const double r = root - 5;
        size = polynomial_7(far_over, r) / polynomial_7(far_under, r);
    }
    return q < 0 ? -size : size;
}

/* cr_random_normal within the floating-point mode: out of line, as cpu.h asks. */
CR_NOINLINE void make_normals(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                              size_t n, double *out)
{
    word_reader reader;
    if (n == 0) {
        return;
    }
    reader_start(&reader, seed, purpose, stream, epoch, 2 * first_index);
    for (size_t i = 0; i < n; ++i) {
        /* u = (52 bits + 1/2) / 2^52: an odd multiple of 2^-53, so neither 0 nor 1, symmetric about 1/2, and
         * u, 1 - u and u - 1/2 are all exact. */
        const double u = ((double)(reader_next_pair(&reader) >> 12) + 0.5) * 0x1p-52;
        out[i] = normal_quantile(u - 0.5, u < 0.5 ? u : 1 - u);
    }
}

void cr_random_normal(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                      size_t n, double *out)
{
    const cr_fp_mode mode = cr_fp_enter();
    make_normals(seed, purpose, stream, epoch, first_index, n, out);
    cr_fp_leave(mode);
}

/* The high 64 bits of a * b. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    return (uint64_t)((cr_u128)a * b >> 64);
#else
    const uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    const uint64_t low = a_low * b_low;
    const uint64_t middle_1 = a_high * b_low + (low >> 32);
    const uint64_t middle_2 = a_low * b_high + (uint32_t)middle_1;
    return a_high * b_high + (middle_1 >> 32) + (middle_2 >> 32);
#endif
}

/* For i = 0 .. n-2 the place n-1-i takes what stands in a place chosen among 0 .. n-1-i by 64-bit word i: its
 * product with the number of choices, high half. That favours no place by more than n / 2^64. */
void cr_random_permutation(uint64_t seed, uint64_t epoch, size_t n, int64_t *order)
{
    word_reader reader;
    if (n == 0) {
        return;
    }
    for (size_t i = 0; i < n; ++i) {
        order[i] = (int64_t)i;
    }
    reader_start(&reader, seed, CR_PURPOSE_SHUFFLE, 0, epoch, 0);
    for (size_t left = n; left > 1; --left) {
        const size_t chosen = (size_t)multiply_high(reader_next_pair(&reader), left);
        const int64_t moved = order[chosen];
        order[chosen] = order[left - 1];
        order[left - 1] = moved;
    }
}
