/* test_random.c - the random numbers: the paper's known answers, streams, distributions, permutations. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernel_table.h"
#include "check_isas.h"

/* The known answers that Salmon et al. publish with their code (Random123, kat_vectors: philox4x32 10). */
static void test_known_answers(void)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t k = 0; k < sizeof known / sizeof known[0]; ++k) {
        const uint32_t *const c = known[k].counter;
        const cr_philox philox = {{known[k].key[0], known[k].key[1]}, {0, c[1], c[2], c[3]}};
        uint32_t words[CR_PHILOX_WORDS];
        cr_current_target()->random_words(&philox, c[0], words);
        for (size_t w = 0; w < 4; ++w) {
            CHECK(words[w] == known[k].words[w], "known answer %zu, word %zu: %08x", k, w, (unsigned)words[w]);
        }
    }
    /* The same through the layout of philox.h: this stream's block 0 has counter and key all zero. */
    uint32_t words[4];
    cr_random_u32(0, 0, 0, 0, 0, 4, words);
    CHECK(memcmp(words, known[0].words, sizeof words) == 0, "stream (0, 0, 0, 0) is not block 0 of key 0");
}

/* Each part of a stream's name, and every bit of it, makes another stream. */
static void test_names_matter(void)
{
    uint32_t base[8], other[8];
    cr_random_u32(5, 1, 2, 3, 0, 8, base);
    for (int bit = 0; bit < 64; ++bit) {
        const uint64_t one = (uint64_t)1 << bit;
        cr_random_u32(5 ^ one, 1, 2, 3, 0, 8, other);
        CHECK(memcmp(base, other, sizeof base) != 0, "bit %d of the seed does nothing", bit);
        cr_random_u32(5, 1, 2, 3 ^ one, 0, 8, other);
        CHECK(memcmp(base, other, sizeof base) != 0, "bit %d of the epoch does nothing", bit);
        if (bit < 32) {
            cr_random_u32(5, 1, 2 ^ (uint32_t)one, 3, 0, 8, other);
            CHECK(memcmp(base, other, sizeof base) != 0, "bit %d of the stream does nothing", bit);
        }
        if (bit < 16) {
            cr_random_u32(5, 1 ^ (uint32_t)one, 2, 3, 0, 8, other);
            CHECK(memcmp(base, other, sizeof base) != 0, "bit %d of the purpose does nothing", bit);
        }
        if (bit >= 3 && bit < 50) {
            cr_random_u32(5, 1, 2, 3, one, 8, other);
            CHECK(memcmp(base, other, sizeof base) != 0, "bit %d of the index does nothing", bit);
        }
    }
}

/* Any cut of a stream into calls gives the same elements; nothing is written past the end. */
static void test_cuts(void)
{
    enum { N = 1500 };
    static uint32_t words[N], cut_words[N + 1];
    static double uniform[N], normal[N], cut[N + 1];
    const uint64_t starts[] = {0, 1, 1021, ((uint64_t)1 << 34) - 700};
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; ++s) {
        cr_random_u32(9, 4, 1, 7, starts[s], N, words);
        cr_random_uniform(9, 4, 1, 7, starts[s], N, uniform);
        cr_random_normal(9, 4, 1, 7, starts[s], N, normal);
        for (size_t step = 1; step < 400; step = 2 * step + 1) {
            for (size_t i = 0; i < N; i += step) {
                const size_t n = N - i < step ? N - i : step;
                cut_words[i + n] = 0xABCDEF01u;
                cr_random_u32(9, 4, 1, 7, starts[s] + i, n, cut_words + i);
                CHECK(cut_words[i + n] == 0xABCDEF01u, "u32 wrote past its end");
            }
            CHECK(memcmp(words, cut_words, sizeof words) == 0, "u32 in steps of %zu differs", step);
            for (size_t i = 0; i < N; i += step) {
                cr_random_uniform(9, 4, 1, 7, starts[s] + i, N - i < step ? N - i : step, cut + i);
            }
            CHECK(memcmp(uniform, cut, sizeof uniform) == 0, "uniform in steps of %zu differs", step);
            for (size_t i = 0; i < N; i += step) {
                cr_random_normal(9, 4, 1, 7, starts[s] + i, N - i < step ? N - i : step, cut + i);
            }
            CHECK(memcmp(normal, cut, sizeof normal) == 0, "normal in steps of %zu differs", step);
        }
    }
    cr_random_u32(9, 4, 1, 7, 0, 0, NULL);
    cr_random_uniform(9, 4, 1, 7, 0, 0, NULL);
    cr_random_normal(9, 4, 1, 7, 0, 0, NULL);
}

/* Moments of n = 200000 draws, each within 5 standard errors of what the distribution has. */
static void test_moments(void)
{
    enum { N = 200000 };
    static double x[N];
    const double root = sqrt((double)N);
    double mean = 0, square = 0, lag = 0;
    cr_random_uniform(1, CR_PURPOSE_USER, 0, 0, 0, N, x);
    for (size_t i = 0; i < N; ++i) {
        CHECK(x[i] >= 0 && x[i] < 1, "uniform outside [0, 1): %g", x[i]);
        mean += x[i] / N;
        square += (x[i] - 0.5) * (x[i] - 0.5) / N;
        lag += i > 0 ? (x[i] - 0.5) * (x[i - 1] - 0.5) / N : 0;
    }
    CHECK(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12) / root, "uniform mean %g", mean);
    CHECK(fabs(square - 1.0 / 12) < 5 * sqrt(1.0 / 180) / root, "uniform variance %g", square);
    CHECK(fabs(lag) < 5 * (1.0 / 12) / root, "uniform neighbours correlate: %g", lag);

    double third = 0, fourth = 0;
    mean = square = lag = 0;
    cr_random_normal(1, CR_PURPOSE_USER, 1, 0, 0, N, x);
    for (size_t i = 0; i < N; ++i) {
        mean += x[i] / N;
        square += x[i] * x[i] / N;
        third += x[i] * x[i] * x[i] / N;
        fourth += x[i] * x[i] * x[i] * x[i] / N;
        lag += i > 0 ? x[i] * x[i - 1] / N : 0;
    }
    CHECK(fabs(mean) < 5 / root, "normal mean %g", mean);
    CHECK(fabs(square - 1) < 5 * sqrt(2.0) / root, "normal variance %g", square);
    CHECK(fabs(third) < 5 * sqrt(15.0) / root, "normal third moment %g", third);
    CHECK(fabs(fourth - 3) < 5 * sqrt(96.0) / root, "normal fourth moment %g", fourth);
    CHECK(fabs(lag) < 5 / root, "normal neighbours correlate: %g", lag);
}

/* The normal variate of u is the quantile of u: erfc, from libm, takes it back. Its own error of some 1e-16
 * is relative, so the tail of u is what must agree. */
static void test_normal_is_the_quantile(void)
{
    enum { N = 20000 };
    static double normal[N];
    static uint32_t words[2 * N];
    cr_random_u32(3, CR_PURPOSE_INIT, 4, 0, 0, 2 * N, words);
    cr_random_normal(3, CR_PURPOSE_INIT, 4, 0, 0, N, normal);
    for (size_t i = 0; i < N; ++i) {
        const uint64_t bits = (uint64_t)words[2 * i] << 32 | words[2 * i + 1];
        const double u = ((double)(bits >> 12) + 0.5) * 0x1p-52;
        const double tail = u < 0.5 ? u : 1 - u;
        const double back = 0.5 * erfc(fabs(normal[i]) / sqrt(2.0));
        CHECK((normal[i] < 0) == (u < 0.5), "sign of the variate of %g", u);
        CHECK(fabs(back - tail) < 1e-13 * tail, "variate %.17g of u = %.17g", normal[i], u);
    }
}

/* 64-bit FNV-1a: one number that stands for the bits of an array. */
static uint64_t fingerprint(const void *data, size_t n_bytes)
{
    const unsigned char *byte = data;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_bytes; ++i) {
        hash = (hash ^ byte[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The bits of doubles as little-endian bytes, whatever this machine's order. */
static uint64_t fingerprint_doubles(const double *x, size_t n)
{
    static unsigned char bytes[8 * 4096];
    for (size_t i = 0; i < n; ++i) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        for (size_t k = 0; k < 8; ++k) {
            bytes[8 * i + k] = (unsigned char)(bits >> 8 * k);
        }
    }
    return fingerprint(bytes, 8 * n);
}

/* Saved models and seeds rely on these numbers: they must never change, on any platform. */
static void test_bits_for_ever(void)
{
    static double x[4096];
    cr_random_uniform(2026, CR_PURPOSE_INIT, 1, 0, 0, 4096, x);
    CHECK(fingerprint_doubles(x, 4096) == 0x56f1754968283087u, "uniform: 0x%016llx",
          (unsigned long long)fingerprint_doubles(x, 4096));
    cr_random_normal(2026, CR_PURPOSE_INIT, 1, 0, 0, 4096, x);
    CHECK(fingerprint_doubles(x, 4096) == 0x434751d80301e0b4u, "normal: 0x%016llx",
          (unsigned long long)fingerprint_doubles(x, 4096));
}

static int is_permutation(size_t n, const int64_t *order)
{
    char *seen = calloc(n + 1, 1);
    int good = seen != NULL;
    for (size_t i = 0; good && i < n; ++i) {
        good = order[i] >= 0 && (uint64_t)order[i] < n && !seen[order[i]];
        if (good) {
            seen[order[i]] = 1;
        }
    }
    free(seen);
    return good;
}

static void test_permutations(void)
{
    static int64_t order[5001], again[5001];
    const size_t sizes[] = {0, 1, 2, 3, 10, 127, 128, 129, 5000};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; ++s) {
        const size_t n = sizes[s];
        order[n] = -7;
        cr_random_permutation(11, 2, n, order);
        CHECK(is_permutation(n, order), "not a permutation of %zu", n);
        CHECK(order[n] == -7, "permutation of %zu wrote past its end", n);
        cr_random_permutation(11, 2, n, again);
        CHECK(memcmp(order, again, n * sizeof *order) == 0, "permutation of %zu not repeatable", n);
        cr_random_permutation(11, 3, n, again);
        CHECK(n < 10 || memcmp(order, again, n * sizeof *order) != 0, "the epoch does nothing");
    }
    /* All 24 orders of 4 things come equally often: chi-square with 23 degrees of freedom stays below 60
     * (probability 4e-5 otherwise; the seed is fixed, so it passes always or never). */
    enum { ROUNDS = 24000 };
    long counts[256] = {0};
    double chi = 0;
    int n_orders = 0;
    for (uint64_t epoch = 0; epoch < ROUNDS; ++epoch) {
        cr_random_permutation(1, epoch, 4, order);
        counts[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    for (size_t k = 0; k < 256; ++k) {
        const double off = (double)counts[k] - ROUNDS / 24;
        n_orders += counts[k] > 0;
        chi += counts[k] > 0 ? off * off / (ROUNDS / 24) : 0;
    }
    CHECK(n_orders == 24 && chi < 60, "%d orders of 4, chi-square %g", n_orders, chi);
}

int main(void)
{
    for (size_t i = 0; cr_check_isa(i); i++) {
        test_known_answers();
        test_names_matter();
        test_cuts();
        test_moments();
        test_normal_is_the_quantile();
        test_bits_for_ever();
        test_permutations();
    }
    return cr_check_summary();
}
