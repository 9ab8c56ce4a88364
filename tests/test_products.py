"""The three products of a dense layer: forward, input gradient, weight gradient."""

from fractions import Fraction

import bounds
import numpy as np
import pytest
import reference
from tools import LENGTHS, assert_within, bits, same_bits_on_every_isa, trapped

import chainrule as cr
from chainrule import _core, kernels

# (n_rows, n_in, n_out): nothing, one of everything, primes, one off a tile, and every one of the three as the
# sum's length across the blocks of 256.
SHAPES = [
    (0, 3, 2), (1, 3, 2), (2, 0, 3), (3, 2, 0), (1, 1, 1), (1, 17, 1), (5, 1, 7), (7, 5, 1), (2, 3, 5),
    (13, 11, 17), (31, 37, 29), (15, 16, 17), (16, 15, 33), (33, 64, 47), (12, 20, 128), (29, 7, 67),
    (4, 255, 9), (5, 256, 19), (6, 257, 33), (3, 513, 20), (1, 513, 1), (2, 600, 10),
    (255, 5, 9), (256, 19, 4), (257, 6, 35), (513, 3, 20), (600, 10, 2),
    (4, 9, 255), (5, 19, 256), (6, 33, 257), (3, 20, 513), (2, 10, 600),
]  # fmt: skip
ELEMENTWISE = [name for name in cr.activations.NAMES if name not in ("softmax", "log_softmax")]


def shape_id(shape):
    return "x".join(map(str, shape))


each_shape = pytest.mark.parametrize("shape", SHAPES, ids=shape_id)


def numbers(rng, *shape, dtype):
    return rng.normal(size=shape).astype(dtype)


def integers(rng, *shape, dtype):
    """Small enough that every sum of products is exact, in either dtype."""
    return rng.integers(-8, 9, shape).astype(dtype)


# -- against NumPy ---------------------------------------------------------------------------------------


@each_shape
def test_forward(isa, dtype, shape, rng, guarded):
    n_rows, n_in, n_out = shape
    x = trapped(numbers(rng, n_rows, n_in, dtype=dtype), dtype)
    weight = trapped(numbers(rng, n_in, n_out, dtype=dtype), dtype, extra=1)
    bias = numbers(rng, n_out, dtype=dtype)
    y = guarded((n_rows, n_out), dtype, offset=1, ld=n_out + 5)

    returned = kernels.dense_forward(x, weight, bias, out=y.array)

    assert returned is y.array
    size = np.abs(reference.wide(x)) @ np.abs(reference.wide(weight)) + np.abs(bias)
    expected = reference.dense_forward(x, weight, bias)
    assert_within(y.array, expected, bounds.product(dtype, size, n_in, extra=1), "y")
    y.check()


@each_shape
def test_backward_input(isa, dtype, shape, rng, guarded):
    n_rows, n_in, n_out = shape
    dz = trapped(numbers(rng, n_rows, n_out, dtype=dtype), dtype)
    weight = trapped(numbers(rng, n_in, n_out, dtype=dtype), dtype, extra=1)
    dx = guarded((n_rows, n_in), dtype, offset=1, ld=n_in + 5)

    returned = kernels.dense_backward_input(dz, weight, out=dx.array)

    assert returned is dx.array
    size = np.abs(reference.wide(dz)) @ np.abs(reference.wide(weight)).T
    expected = reference.dense_backward_input(dz, weight)
    assert_within(dx.array, expected, bounds.product(dtype, size, n_out, extra=0), "dx")
    dx.check()


@each_shape
def test_backward_weight(isa, dtype, shape, rng, guarded):
    n_rows, n_in, n_out = shape
    x = trapped(numbers(rng, n_rows, n_in, dtype=dtype), dtype)
    dz = trapped(numbers(rng, n_rows, n_out, dtype=dtype), dtype, extra=1)
    dw = guarded((n_in, n_out), dtype, offset=1, ld=n_out + 5)
    db = guarded(n_out, dtype, offset=1)

    returned = kernels.dense_backward_weight(x, dz, out_weight=dw.array, out_bias=db.array)

    assert returned[0] is dw.array and returned[1] is db.array
    size = np.abs(reference.wide(x)).T @ np.abs(reference.wide(dz))
    expected_weight, expected_bias = reference.dense_backward_weight(x, dz)
    assert_within(dw.array, expected_weight, bounds.product(dtype, size, n_rows, extra=0), "dw")
    assert_within(db.array, expected_bias, bounds.column_sum(dtype, np.abs(dz).sum(axis=0), n_rows), "db")
    dw.check()
    db.check()


@pytest.mark.parametrize("n_out", [*LENGTHS, 47, 63, 64, 65, 127, 128, 131])
def test_every_number_of_rows_and_columns_of_a_tile(isa, dtype, n_out, rng):
    """Whole numbers, so that sums are exact and nothing but the right answer will do."""
    for n_rows in range(30):
        x, weight = integers(rng, n_rows, 5, dtype=dtype), integers(rng, 5, n_out, dtype=dtype)
        dz = integers(rng, n_rows, n_out, dtype=dtype)
        np.testing.assert_array_equal(kernels.dense_forward(x, weight), x @ weight)
        np.testing.assert_array_equal(kernels.dense_backward_input(dz, weight), dz @ weight.T)
        dw, db = kernels.dense_backward_weight(x, dz)
        np.testing.assert_array_equal(dw, x.T @ dz)
        np.testing.assert_array_equal(db, dz.sum(axis=0))
        # the tile's rows are n_in here
        x = integers(rng, 5, n_rows, dtype=dtype)
        dz = integers(rng, 5, n_out, dtype=dtype)
        np.testing.assert_array_equal(kernels.dense_backward_weight(x, dz)[0], x.T @ dz)


def test_without_out_the_result_is_a_new_array(dtype, rng):
    x, weight, dz = (numbers(rng, *shape, dtype=dtype) for shape in ((4, 3), (3, 5), (4, 5)))
    results = [
        kernels.dense_forward(x, weight),
        kernels.dense_backward_input(dz, weight),
        *kernels.dense_backward_weight(x, dz),
    ]
    for result in results:
        assert result.dtype == dtype and result.flags.owndata
        assert not any(np.shares_memory(result, given) for given in (x, weight, dz))


def test_no_terms_leave_the_bias(isa, dtype):
    """n_in = 0: the sum is +0."""
    bias = np.array([1.5, -2.0, 0.0], dtype)
    x, weight = np.zeros((2, 0), dtype), np.zeros((0, 3), dtype)
    np.testing.assert_array_equal(kernels.dense_forward(x, weight, bias, "relu"), [[1.5, 0, 0]] * 2)
    assert bits(kernels.dense_forward(x, weight)) == bytes(6 * dtype.itemsize)
    np.testing.assert_array_equal(kernels.dense_backward_weight(np.zeros((0, 2), dtype), np.zeros((0, 3), dtype))[0],
                                  np.zeros((2, 3)))  # fmt: skip


# -- the contract of bits ----------------------------------------------------------------------------------


def fused_chain(a, b):
    """Rule 1 of the contract with exact fractions: chains of fused multiply-adds in blocks of 256."""
    total = None
    for start in range(0, len(a), bounds.KB):
        block = 0.0
        for p in range(start, min(start + bounds.KB, len(a))):
            block = float(Fraction(float(a[p])) * Fraction(float(b[p])) + Fraction(block))
        total = block if total is None else total + block
    return total


@pytest.mark.parametrize("k", [1, 2, 255, 256, 257, 513])
def test_a_sum_is_a_chain_of_fused_multiply_adds_in_blocks(isa, k, rng):
    a, b = rng.normal(size=(2, k))
    expected = fused_chain(a, b)
    assert kernels.dense_forward(a[None], b[:, None])[0, 0] == expected
    assert kernels.dense_backward_input(a[None], b[None])[0, 0] == expected
    dw, db = kernels.dense_backward_weight(a[:, None], b[:, None])
    assert dw[0, 0] == expected
    assert db[0] == sum(sum(b[i : i + bounds.KB]) for i in range(0, k, bounds.KB))
    bias = np.array([0.3])
    assert kernels.dense_forward(a[None], b[:, None], bias)[0, 0] == expected + 0.3


@each_shape
def test_every_isa_gives_the_same_bits(dtype, shape, rng):
    n_rows, n_in, n_out = shape
    x, weight = numbers(rng, n_rows, n_in, dtype=dtype), numbers(rng, n_in, n_out, dtype=dtype)
    bias, dz = numbers(rng, n_out, dtype=dtype), numbers(rng, n_rows, n_out, dtype=dtype)
    same_bits_on_every_isa(
        lambda: (
            kernels.dense_forward(x, weight, bias, "tanh"),
            kernels.dense_backward_input(dz, weight, activation="sigmoid", output=x),
            *kernels.dense_backward_weight(x, dz),
        )
    )


@pytest.mark.parametrize("shape", [(37, 20, 10), (64, 300, 33), (7, 64, 130)], ids=shape_id)
def test_a_row_alone_is_the_row_in_its_batch(isa, dtype, shape, rng):
    n_rows, n_in, n_out = shape
    x, weight = numbers(rng, n_rows, n_in, dtype=dtype), numbers(rng, n_in, n_out, dtype=dtype)
    bias, dz = numbers(rng, n_out, dtype=dtype), numbers(rng, n_rows, n_out, dtype=dtype)
    forward = kernels.dense_forward(x, weight, bias, "gelu")
    backward = kernels.dense_backward_input(dz, weight, activation="tanh", output=x)
    for first, end in [(0, 1), (n_rows // 2, n_rows // 2 + 1), (n_rows - 1, n_rows), (1, n_rows - 2)]:
        rows = slice(first, end)
        assert bits(kernels.dense_forward(x[rows], weight, bias, "gelu")) == bits(forward[rows])
        part = kernels.dense_backward_input(dz[rows], weight, activation="tanh", output=x[rows])
        assert bits(part) == bits(backward[rows])


def test_many_rows_of_a_large_weight_are_those_of_its_batches(rng):
    # 9 MB of weights pass by once for 80 rows, and turned round, for every 32 rows, for 40.
    dz, weight = (numbers(rng, *shape, dtype=np.float32) for shape in ((80, 1500), (1500, 1500)))

    whole = kernels.dense_backward_input(dz, weight)

    assert bits(whole) == bits(*(kernels.dense_backward_input(dz[i : i + 40], weight) for i in (0, 40)))
    size = np.abs(reference.wide(dz)) @ np.abs(reference.wide(weight)).T
    expected = reference.wide(dz) @ reference.wide(weight).T
    assert_within(whole, expected, bounds.product(np.float32, size, 1500), "dx")


def test_a_column_alone_is_the_column_among_others(isa, dtype, rng):
    x, weight = numbers(rng, 9, 40, dtype=dtype), numbers(rng, 40, 70, dtype=dtype)
    whole = kernels.dense_forward(x, weight)
    for columns in (slice(0, 1), slice(69, 70), slice(3, 36), slice(15, 17)):
        assert bits(kernels.dense_forward(x, weight[:, columns])) == bits(whole[:, columns])


def test_alignment_and_strides_do_not_show(isa, dtype, rng):
    x, weight, dz = (numbers(rng, *shape, dtype=dtype) for shape in ((19, 21), (21, 35), (19, 35)))
    expected = bits(kernels.dense_forward(x, weight), *kernels.dense_backward_weight(x, dz))
    for offset in range(4):
        for extra in (0, 1, 2):
            x_, weight_, dz_ = (trapped(a, dtype, extra, offset) for a in (x, weight, dz))
            got = bits(kernels.dense_forward(x_, weight_), *kernels.dense_backward_weight(x_, dz_))
            assert got == expected


# Each is more than the 2e7 multiply-adds from which a product is split between threads.
@pytest.mark.parametrize("shape", [(523, 257, 160), (96, 800, 300), (160, 129, 1031)], ids=shape_id)
def test_the_number_of_threads_does_not_show(dtype, shape, rng):
    n_rows, n_in, n_out = shape
    x, weight = numbers(rng, n_rows, n_in, dtype=dtype), numbers(rng, n_in, n_out, dtype=dtype)
    bias, dz = numbers(rng, n_out, dtype=dtype), numbers(rng, n_rows, n_out, dtype=dtype)
    found = set()
    before = _core.get_num_threads()
    try:
        for n_threads in (1, 2, 3, 4):
            _core.set_num_threads(n_threads)
            found.add(
                bits(
                    kernels.dense_forward(x, weight, bias, "relu"),
                    kernels.dense_backward_input(dz, weight, activation="relu", output=x),
                    *kernels.dense_backward_weight(x, dz),
                )
            )
    finally:
        _core.set_num_threads(before)
    assert len(found) == 1


# -- epilogues -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cr.activations.NAMES)
def test_the_activation_in_the_product_is_the_activation_after_it(isa, dtype, name, rng, guarded):
    """Same bits; the pre-activation that is kept for the backward pass is the plain product."""
    for n_rows, n_in, n_out in [(1, 3, 1), (13, 20, 10), (16, 257, 35), (5, 4, 67)]:
        x, weight = numbers(rng, n_rows, n_in, dtype=dtype), numbers(rng, n_in, n_out, dtype=dtype)
        bias = numbers(rng, n_out, dtype=dtype)
        z = kernels.dense_forward(x, weight, bias)
        expected = kernels.activation(name, z)
        y, pre = (guarded((n_rows, n_out), dtype, offset=1, ld=n_out + 2) for _ in range(2))
        kind = cr.activations.resolve(name)
        _core.dense_forward(x, weight, bias, kind.kind, kind.alpha, pre.array, y.array)
        assert bits(y.array) == bits(expected)
        assert bits(pre.array) == bits(z)
        assert bits(kernels.dense_forward(x, weight, bias, name)) == bits(expected)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_derivative_in_the_product_is_the_derivative_after_it(isa, dtype, name, rng):
    for n_rows, n_in, n_out in [(1, 1, 3), (13, 10, 20), (16, 35, 257), (5, 67, 4)]:
        dz, weight = numbers(rng, n_rows, n_out, dtype=dtype), numbers(rng, n_in, n_out, dtype=dtype)
        z = trapped(numbers(rng, n_rows, n_in, dtype=dtype), dtype)
        y = trapped(kernels.activation(name, z), dtype)
        plain = kernels.dense_backward_input(dz, weight)
        expected = kernels.activation_backward(name, plain, x=z, y=y)
        both = {"output": y, "pre_activation": z}
        assert bits(kernels.dense_backward_input(dz, weight, activation=name, **both)) == bits(expected)
        # from the pre-activation alone; and into the saved array itself
        assert bits(kernels.dense_backward_input(dz, weight, activation=name, pre_activation=z)) == bits(expected)
        saved = (z if _core.activation_saves_input(_core.ACTIVATIONS[name]) else y).copy()
        out = kernels.dense_backward_input(dz, weight, activation=name, output=saved, pre_activation=saved, out=saved)
        assert out is saved and bits(saved) == bits(expected)


# -- what is not a number --------------------------------------------------------------------------------------


def test_a_nan_stays_in_its_row(isa, dtype, rng):
    x, weight = numbers(rng, 20, 9, dtype=dtype), numbers(rng, 9, 21, dtype=dtype)
    clean = kernels.dense_forward(x, weight)
    x[7, 4] = np.nan
    spoilt = kernels.dense_forward(x, weight)
    assert np.isnan(spoilt[7]).all()
    others = np.arange(20) != 7
    assert bits(spoilt[others]) == bits(clean[others])


def test_infinities_and_nan_follow_ieee(isa, dtype):
    inf = np.inf
    x = np.array([[inf, 1], [inf, -inf], [0, inf], [np.nan, 0]], dtype)
    got = kernels.dense_forward(x, np.array([[1, 2], [1, 0]], dtype))
    np.testing.assert_array_equal(got, [[inf, inf], [np.nan, np.nan], [inf, np.nan], [np.nan, np.nan]])


def test_subnormals_count(isa, dtype):
    """No flush to zero: the smallest number times 1 is itself."""
    tiny = np.nextafter(dtype.type(0), dtype.type(1))
    got = kernels.dense_forward(np.full((3, 1), tiny), np.full((1, 20), dtype.type(1)))
    np.testing.assert_array_equal(got, np.full((3, 20), tiny))


# -- other layouts and dtypes -------------------------------------------------------------------------------------


def test_views_are_read_as_what_they_show(dtype, rng):
    big = numbers(rng, 40, 50, dtype=dtype)
    weight = numbers(rng, 12, 7, dtype=dtype)
    views = {
        "columns": big[:9, 5:17], "every second row": big[::2, :12][:9], "every third column": big[:9, ::3][:, :12],
        "transposed": big.T[:9, :12], "upside down": big[8::-1, :12], "mirrored": big[:9, 11::-1],
        "one row, repeated": np.broadcast_to(big[0, :12], (9, 12)),
    }  # fmt: skip
    for what, view in views.items():
        assert view.shape == (9, 12)
        expected = bits(kernels.dense_forward(view.copy(), weight))
        assert bits(kernels.dense_forward(view, weight)) == expected, what
    got = kernels.dense_forward(big[:9, :12], np.asfortranarray(weight))
    assert bits(got) == bits(kernels.dense_forward(big[:9, :12], weight))


@pytest.mark.parametrize("given", ["int8", "uint8", "int64", "bool", "float16", ">f4", ">f8", "longdouble"])
def test_other_real_dtypes_are_converted(given):
    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(given)
    got = kernels.dense_forward(values, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert got.dtype == (np.float64 if given in (">f8", "longdouble") else np.float32)
    np.testing.assert_array_equal(got, [[6, 8], [8, 10]])
