/* dropout.inc.h - inverted dropout with a mask that is a function of its place alone. */
#include "philox_words.h"

/* y[j] = x[j] * factor where kept[j] is 1, +0 where it is 0. What is dropped is +0 by definition, NaN included.
 * y may be x. */
CR_INLINE void FN(drop)(size_t n, REAL factor, const REAL *kept, const REAL *x, REAL *y)
{
    const V(t) zero = V(zero)(), by = V(set1)(factor);
    size_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) {
        const V(mask_t) live = V(gt)(V(load)(kept + j), zero);
        V(t) some = V(load)(x + j);
        CR_PIN(some);
        V(store)(y + j, V(keep)(live, V(mul)(some, by)));
    }
    if (j < n) {
        const V(mask_t) live = V(gt)(V(load_tail)(kept + j, n - j), zero);
        V(store_tail)(y + j, V(keep)(live, V(mul)(V(load_tail)(x + j, n - j), by)), n - j);
    }
}

/* y = x / (1 - rate) where kept, else +0; its backward is the same call on dy. Element (row, col) is kept if
 * word (first_row + row) * n_cols + col of the stream (seed, CR_PURPOSE_DROPOUT, layer, forward) is at least
 * rate * 2^32, rounded. y may be x. */
static void FN(dropout)(double rate, const cr_dropout_key *key, size_t first_row, size_t n_rows, size_t n_cols,
                        const REAL *x, size_t ld_x, REAL *y, size_t ld_y)
{
    const cr_philox philox = cr_philox_stream(key->seed, CR_PURPOSE_DROPOUT, key->layer, key->forward);
    const double scaled = rate * 4294967296.0 + 0.5;
    /* A rate within 2^-33 of 1 would round to 2^32, one more than a word can be. */
    const uint32_t threshold = scaled < 4294967295.0 ? (uint32_t)scaled : 0xFFFFFFFFu;
    const REAL factor = (REAL)(1 / (1 - rate));

    const size_t n = n_rows * n_cols;
    const uint64_t first_word = (uint64_t)first_row * n_cols;
    if (ld_x == n_cols && ld_y == n_cols) {
        n_cols = n; /* one long row: the words run on from row to row anyway */
    }
    size_t next = first_word % 4, column = 0;
    uint64_t block = first_word / 4;
    for (size_t done = 0; done < n;) {
        uint32_t words[CR_PHILOX_WORDS];
        REAL kept[CR_PHILOX_WORDS];
        cr_philox_words(&philox, block, words);
        for (size_t k = 0; k < CR_PHILOX_WORDS; ++k) {
            kept[k] = words[k] >= threshold;
        }
        while (next < CR_PHILOX_WORDS && done < n) {
            const size_t in_row = n_cols - column, in_block = CR_PHILOX_WORDS - next;
            const size_t span = in_row < in_block ? in_row : in_block;
            FN(drop)(span, factor, kept + next, x + column, y + column);
            next += span;
            done += span;
            column += span;
            if (column == n_cols) {
                column = 0;
                x += ld_x;
                y += ld_y;
            }
        }
        next = 0;
        block += CR_PHILOX_BLOCKS;
    }
}
