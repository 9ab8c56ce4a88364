"""The counter-based random numbers, and dropout, whose mask is made of them."""

from statistics import NormalDist

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, assert_within, bits, same_bits_on_every_isa, trapped

from chainrule import _core, kernels

PURPOSES = _core.PURPOSES


# -- Philox 4x32-10 once more, with Python's integers ----------------------------------------------------


def philox_block(counter, key):
    """Salmon, Moraes, Dror and Shaw (SC 2011), section 3.3: ten rounds."""
    mask = 2**32 - 1
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & mask, (first >> 32) ^ c3 ^ k1, first & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


def philox_word(seed, purpose, stream, epoch, index):
    """The layout of csrc/philox.h."""
    low, block = 2**32 - 1, index // 4
    key = (seed & low, (seed >> 32) ^ (epoch >> 32))
    counter = (block & low, (block >> 32) & 0xFFFF | purpose << 16, epoch & low, stream)
    return philox_block(counter, key)[index % 4]


# The known answers that come with the authors' library.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip


def test_the_reference_generator_gives_the_known_answers():
    for counter, key, expected in KNOWN:
        assert philox_block(counter, key) == expected


def words(n, seed=1, purpose=4, stream=0, epoch=0, first=0):
    out = np.empty(n, np.uint32)
    _core.random_u32(seed, purpose, stream, epoch, first, out)
    return out


def uniform(n, seed=1, purpose=4, stream=0, epoch=0, first=0):
    out = np.empty(n)
    _core.random_uniform(seed, purpose, stream, epoch, first, out)
    return out


def normal(n, seed=1, purpose=4, stream=0, epoch=0, first=0):
    out = np.empty(n)
    _core.random_normal(seed, purpose, stream, epoch, first, out)
    return out


def permutation(n, seed=1, epoch=0):
    out = np.empty(n, np.int64)
    _core.random_permutation(seed, epoch, out)
    return out


KEYS = [
    {"seed": 0, "purpose": 1, "stream": 0, "epoch": 0, "first": 0},
    {"seed": 2**64 - 1, "purpose": 4, "stream": 2**32 - 1, "epoch": 2**32 - 1, "first": 5},
    {"seed": 12345678901234567890, "purpose": 3, "stream": 7, "epoch": 2**40 + 3, "first": 2**34 + 1},
]


@pytest.mark.parametrize("key", KEYS, ids=["zeros", "large", "wide"])
def test_words_are_those_of_philox(key):
    got = words(41, **key)
    first = key["first"]
    named = {name: value for name, value in key.items() if name != "first"}
    assert got.tolist() == [philox_word(**named, index=first + i) for i in range(41)]


def test_uniform_numbers_are_53_bits_of_two_words():
    pairs = words(40, first=6).reshape(20, 2).astype(object)
    expected = [((high << 32 | low) >> 11) / 2**53 for high, low in pairs]
    np.testing.assert_array_equal(uniform(20, first=3), np.array(expected, float))


def test_normal_numbers_are_the_inverse_distribution_of_uniform_ones():
    """Element i takes the same two words as uniform number i: u = (their 52 high bits + 1/2) / 2^52."""
    pairs = words(4000).reshape(2000, 2).astype(object)
    u = [((high << 32 | low) >> 12) / 2**52 + 2**-53 for high, low in pairs]
    expected = [NormalDist().inv_cdf(value) for value in u]
    np.testing.assert_allclose(normal(2000), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("draw", [words, uniform, normal])
def test_an_element_is_a_function_of_its_place(draw):
    """However the stream is cut: no state, nothing used up."""
    whole = draw(600, seed=9, stream=3, epoch=2)
    for first, n in ((0, 1), (1, 1), (3, 7), (255, 4), (256, 300), (599, 1), (17, 0)):
        assert bits(draw(n, seed=9, stream=3, epoch=2, first=first)) == bits(whole[first : first + n])
    assert bits(draw(600, seed=9, stream=3, epoch=2)) == bits(whole)


@pytest.mark.parametrize("draw", [words, uniform, normal])
def test_every_part_of_the_key_counts(draw):
    streams = [draw(50, **key) for key in (
        {}, {"seed": 2}, {"seed": 1 + 2**32}, {"purpose": 1}, {"stream": 1}, {"epoch": 1}, {"epoch": 2**33},
    )]  # fmt: skip
    assert len({bits(stream) for stream in streams}) == len(streams)


def test_moments_of_uniform_and_normal():
    """Within five standard errors of what they should be."""
    n = 200_000
    u, z = uniform(n, seed=3), normal(n, seed=4)
    assert 0 <= u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    counts = np.bincount((u * 64).astype(int), minlength=64)
    chi_square = ((counts - n / 64) ** 2 / (n / 64)).sum()
    assert chi_square < 63 + 5 * np.sqrt(2 * 63)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 65, 1000])
def test_a_permutation_holds_every_number_once(n):
    order = permutation(n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, permutation(n))
    if n > 60:
        assert (order != np.arange(n)).any()
        assert (order != permutation(n, epoch=1)).any() and (order != permutation(n, seed=2)).any()


def test_every_permutation_is_as_likely():
    """All 6 of three, over 3000 epochs: within five standard deviations of 500."""
    _, counts = np.unique([permutation(3, epoch=epoch) for epoch in range(3000)], axis=0, return_counts=True)
    assert counts.size == 6 and np.abs(counts - 500).max() < 5 * np.sqrt(500 * 5 / 6)


def test_random_numbers_do_not_depend_on_the_isa():
    same_bits_on_every_isa(lambda: (words(700), uniform(700), normal(700), permutation(700)))


# -- dropout -----------------------------------------------------------------------------------------------


def drop(x, rate, seed=5, layer=2, forward=3, first_row=0, out=None):
    out = np.full(x.shape, np.nan, x.dtype) if out is None else out
    _core.dropout(rate, seed, layer, forward, first_row, x, out)
    return out


def mask(shape, rate, seed=5, layer=2, forward=3, first_row=0):
    """True where kept: the word of the element's place is at least rate 2^32."""
    n = shape[0] * shape[1]
    of_place = words(n, seed, PURPOSES["dropout"], layer, forward, first_row * shape[1])
    return (of_place >= np.floor(rate * 2**32 + 0.5)).reshape(shape)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_what_is_kept_and_how_it_is_scaled(isa, dtype, rate, rng):
    x = rng.normal(size=(40, 33)).astype(dtype)
    kept = mask(x.shape, rate)
    got = drop(x, rate)
    np.testing.assert_array_equal(got != 0, kept)
    assert not np.signbit(got[~kept]).any()
    expected = reference.dropout(x, kept, rate)
    assert_within(got, expected, bounds.gamma(2, dtype) * np.abs(expected))
    if rate == 0:
        assert bits(got) == bits(x)
    if rate == 0.5:
        np.testing.assert_array_equal(got[kept], 2 * x[kept])


def test_the_share_of_zeros_is_the_rate():
    """Within five standard deviations of a binomial distribution, for rows and columns too."""
    x = np.ones((500, 400), np.float32)
    for rate in (0.1, 0.5, 0.8):
        zero = drop(x, rate) == 0
        for share, n in ((zero.mean(), x.size), (zero.mean(axis=0), 500), (zero.mean(axis=1), 400)):
            assert np.abs(share - rate).max() < 5 * np.sqrt(rate * (1 - rate) / n)
        # neighbours know nothing of each other
        for a, b in ((zero[:, 1:], zero[:, :-1]), (zero[1:], zero[:-1])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_the_backward_pass_is_the_same_mask(isa, dtype, rng):
    x, dy = rng.normal(size=(2, 30, 19)).astype(dtype)
    y, dx = drop(x, 0.4), drop(dy, 0.4)
    np.testing.assert_array_equal(y == 0, dx == 0)
    kept = y != 0
    # the derivative of each output by its own input
    np.testing.assert_array_equal(dx[kept], dy[kept] * dtype.type(1 / 0.6))


def test_layer_forward_and_seed_each_choose_another_mask(rng):
    x = np.ones((30, 20), np.float32)
    masks = [drop(x, 0.5, **key) for key in (
        {}, {"seed": 6}, {"layer": 1}, {"forward": 4}, {"forward": 2**32 + 3}, {"seed": 5 + 2**33},
    )]  # fmt: skip
    assert len({bits(one) for one in masks}) == len(masks)
    assert bits(kernels.dropout(x, 0.5, seed=5, layer=2, forward=3)) == bits(masks[0])


@pytest.mark.parametrize("n_cols", [n for n in LENGTHS if n] + [63, 64, 65, 255, 256, 257])
def test_a_batch_in_parts_has_the_mask_of_the_whole(isa, dtype, n_cols, rng, guarded):
    """first_row says where a part begins: rows split between threads, or one row alone. Any strides."""
    x = rng.normal(size=(23, n_cols)).astype(dtype)
    whole = drop(x, 0.3)
    out = guarded((23, n_cols), dtype, offset=1, ld=n_cols + 3)
    drop(trapped(x, dtype), 0.3, out=out.array)
    assert bits(out.array) == bits(whole)
    out.check()
    for first, end in ((0, 1), (7, 8), (22, 23), (5, 20)):
        assert bits(drop(x[first:end], 0.3, first_row=first)) == bits(whole[first:end])
        part = drop(trapped(x, dtype)[first:end], 0.3, first_row=first)
        assert bits(part) == bits(whole[first:end])


def test_dropout_in_place_and_empty(isa, dtype, rng):
    x = rng.normal(size=(9, 21)).astype(dtype)
    expected = drop(x, 0.3)
    onto = x.copy()
    assert kernels.dropout(onto, 0.3, seed=5, layer=2, forward=3, out=onto) is onto
    assert bits(onto) == bits(expected)
    for shape in ((0, 4), (4, 0)):
        assert kernels.dropout(np.empty(shape, dtype), 0.3, seed=1).shape == shape


def test_what_is_dropped_is_zero_whatever_it_was(isa, dtype):
    """0, not 0 times it: an infinity or NaN in a dropped place is gone."""
    x = np.full((20, 20), np.inf, dtype)
    x[::2] = np.nan
    kept = mask(x.shape, 0.5)
    got = drop(x, 0.5)
    assert (got[~kept] == 0).all()
    assert np.isinf(got[1::2][kept[1::2]]).all() and np.isnan(got[::2][kept[::2]]).all()


def test_a_rate_next_to_one_keeps_next_to_nothing(isa, dtype):
    got = drop(np.ones((40, 40), dtype), np.nextafter(1.0, 0.0))
    assert np.count_nonzero(got) == 0


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_has_the_same_bits_on_every_isa(dtype, rate, rng):
    x = rng.normal(size=(40, 67)).astype(dtype)
    same_bits_on_every_isa(lambda: (drop(x, rate), drop(x[:, :9], rate, first_row=2**33)))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, np.nan])
def test_the_core_refuses_a_rate_outside_0_to_1(rate):
    with pytest.raises(ValueError, match="outside what the function accepts"):
        drop(np.ones((2, 2), np.float32), rate)
