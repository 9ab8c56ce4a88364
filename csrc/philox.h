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

#endif
