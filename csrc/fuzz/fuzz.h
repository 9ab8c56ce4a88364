/* fuzz.h - what the fuzz targets share: reading the input, failing, numbers, arrays that end where they end.
 *
 * A target turns libFuzzer's bytes into a call of the library and checks what must hold for every such call;
 * REQUIRE ends the process when it does not, and libFuzzer keeps the input.
 */
#ifndef CR_FUZZ_H
#define CR_FUZZ_H

#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chainrule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- the input ----------------------------------------------------------------------------------------- */

static const uint8_t *input;
static size_t input_left;
static uint64_t random_state;

static void input_open(const uint8_t *data, size_t size)
{
    input = data;
    input_left = size;
    random_state = UINT64_C(0x9E3779B97F4A7C15);
}

/* The next byte; zeros after the end. */
static unsigned take_byte(void)
{
    if (input_left == 0) {
        return 0;
    }
    input_left--;
    return *input++;
}

/* One of 0 .. n-1. */
static size_t take(size_t n)
{
    size_t value = take_byte();
    if (n > 256) {
        value = value << 8 | take_byte();
    }
    return value % n;
}

/* Values come in hundreds, so the input holds only the seed of their generator (xorshift64*). */
static void seed_random(void)
{
    for (int i = 0; i < 4; i++) {
        random_state = (random_state ^ take_byte()) * UINT64_C(0x100000001B3);
    }
    random_state |= 1;
}

static uint64_t random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

/* In (-1, 1). */
static double noise(void)
{
    return (double)(int64_t)random_bits() * 0x1p-63;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* How an array is filled. All but the last stay far from overflow, so a bound can be asked of their products. */
enum fill { FILL_UNIT, FILL_INTEGERS, FILL_WIDE, FILL_SPARSE, FILL_BITS, N_FILLS };

static double fill_number(enum fill fill)
{
    const uint64_t bits = random_bits();
    switch (fill) {
    case FILL_INTEGERS:
        return (double)(int64_t)(bits % 17) - 8.0;
    case FILL_WIDE:
        return ldexp(noise(), (int)(bits % 61) - 30);
    case FILL_SPARSE:
        return bits % 4 != 0 ? (bits & 8 ? 0.0 : -0.0) : noise();
    default:
        return noise();
    }
}

/* FNV-1a. */
static uint64_t digest_bytes(uint64_t digest, const void *data, size_t n)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        digest = (digest ^ bytes[i]) * UINT64_C(0x100000001B3);
    }
    return digest;
}

#define DIGEST_START UINT64_C(0xCBF29CE484222325)

/* ---- both dtypes --------------------------------------------------------------------------------------- */

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "fuzz_arrays.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "fuzz_arrays.inc.h"
#include "kernels/dtype_end.h"

#endif
