/* philox.h - the counter-based generator Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011), and how its counter is laid out here. Integers only: the same on
 * every machine, in any order, from any starting point.
 *
 * A stream is named by (seed, purpose, stream, epoch); word `index` of it is word index mod 4 of the block
 *     key      k0 = low 32 bits of seed
 *              k1 = high 32 bits of seed, xor high 32 bits of epoch
 *     counter  c0 = low 32 bits of index / 4
 *              c1 = next 16 bits of index / 4, and above them the 16 bits of purpose
 *              c2 = low 32 bits of epoch
 *              c3 = stream
 * Under one seed no two of (purpose, stream, epoch, index) share a block, for purpose < 2^16 and index <
 * 2^50 (higher bits are dropped). Streams of different seeds never share one either while epochs are below
 * 2^32; an epoch beyond that borrows the key of another seed.
 */
#ifndef CR_PHILOX_H
#define CR_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#include "portability.h"

typedef struct cr_philox {
    uint32_t key[2];
    uint32_t counter[4]; /* of block 0 */
} cr_philox;

/* Blocks worked on side by side: enough for the widest vectors, small enough for the first cache. */
#define CR_PHILOX_BLOCKS 64
#define CR_PHILOX_WORDS (4 * CR_PHILOX_BLOCKS)

CR_INLINE cr_philox cr_philox_stream(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch)
{
    cr_philox philox;
    philox.key[0] = (uint32_t)seed;
    philox.key[1] = (uint32_t)(seed >> 32) ^ (uint32_t)(epoch >> 32);
    philox.counter[0] = 0;
    philox.counter[1] = purpose << 16;
    philox.counter[2] = (uint32_t)epoch;
    philox.counter[3] = stream;
    return philox;
}

/* Ten rounds on n <= CR_PHILOX_BLOCKS blocks, c[w][i] being word w of block i. The multipliers and the
 * key's steps are the paper's. */
CR_INLINE void cr_philox_rounds(uint32_t k0, uint32_t k1, size_t n, uint32_t c[4][CR_PHILOX_BLOCKS])
{
    for (int round = 0; round < 10; ++round) {
        for (size_t i = 0; i < n; ++i) {
            const uint64_t product_0 = (uint64_t)0xD2511F53u * c[0][i];
            const uint64_t product_1 = (uint64_t)0xCD9E8D57u * c[2][i];
            c[0][i] = (uint32_t)(product_1 >> 32) ^ c[1][i] ^ k0;
            c[1][i] = (uint32_t)product_1;
            c[2][i] = (uint32_t)(product_0 >> 32) ^ c[3][i] ^ k1;
            c[3][i] = (uint32_t)product_0;
        }
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* the square root of 3, less 1 */
    }
}

/* words[0 .. CR_PHILOX_WORDS-1] = the stream's words from 4 * first_block on. */
CR_INLINE void cr_philox_fill(const cr_philox *philox, uint64_t first_block, uint32_t words[CR_PHILOX_WORDS])
{
    uint32_t c[4][CR_PHILOX_BLOCKS];
    for (size_t i = 0; i < CR_PHILOX_BLOCKS; ++i) {
        const uint64_t block = first_block + i;
        c[0][i] = (uint32_t)block;
        c[1][i] = philox->counter[1] | ((uint32_t)(block >> 32) & 0xFFFFu);
        c[2][i] = philox->counter[2];
        c[3][i] = philox->counter[3];
    }
    cr_philox_rounds(philox->key[0], philox->key[1], CR_PHILOX_BLOCKS, c);
    for (size_t i = 0; i < CR_PHILOX_BLOCKS; ++i) {
        for (size_t w = 0; w < 4; ++w) {
            words[4 * i + w] = c[w][i];
        }
    }
}

#endif
