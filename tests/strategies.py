"""What Hypothesis draws in the property tests: arrays of any layout, small architectures, optimizers.

Numbers come from a generator whose seed is drawn: what is worth shrinking is shapes, layouts and settings.
"""

import numpy as np
from hypothesis import strategies as st
from tools import ISAS

import chainrule as cr
from chainrule import _core

# The sizes about vectors, tiles and the blocks of 256 terms, and any others.
sizes = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 127, 129, 255, 256, 257, 300]))
small_sizes = st.integers(1, 12)
dtypes = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
# Those that a reference in a wider type can judge to the last place.
judged_dtypes = dtypes.filter(lambda dtype: dtype == np.float32 or np.finfo(np.longdouble).nmant > 52)
isas = st.sampled_from(ISAS)
seeds = st.integers(0, 2**32 - 1)
generators = seeds.map(np.random.default_rng)

LAYOUTS = {
    "c": lambda a: a,
    "fortran": np.asfortranarray,
    "rows apart": lambda a: _spread(a, rows=1, columns=1, gap=3),
    "every second row": lambda a: _spread(a, rows=2, columns=1),
    "every second column": lambda a: _spread(a, rows=1, columns=2),
    "backwards": lambda a: a[::-1].copy()[::-1],
    "columns backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": lambda a: _unaligned(a),
    "read-only": lambda a: _locked(a),
}
layouts = st.sampled_from(sorted(LAYOUTS))


def laid_out(array, layout):
    """The same numbers, lying in memory in another way."""
    result = LAYOUTS[layout](array)
    assert result.shape == array.shape and np.array_equal(result, array, equal_nan=True)
    return result


def _spread(a, rows, columns, gap=0):
    """`a` as a slice of a larger array of NaN: every so many rows and columns, the last `gap` columns left out."""
    steps = (rows, columns) if a.ndim == 2 else (rows * columns,)
    shape = [n * step for n, step in zip(a.shape, steps, strict=True)]
    shape[-1] += gap
    view = np.full(shape, np.nan, a.dtype)[..., : shape[-1] - gap][tuple(slice(None, None, step) for step in steps)]
    view[...] = a
    return view


def _unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype) if a.nbytes else np.zeros(0, a.dtype)
    view = view.reshape(a.shape)
    view[...] = a
    return view


def _locked(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class on_isa:
    """with on_isa(name): the block runs on this instruction set."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = _core.isa()
        _core.set_isa(self.name)

    def __exit__(self, *error):
        _core.set_isa(self.before)


# -- models ------------------------------------------------------------------------------------------------

# Outputs of a row that depend on that row alone; softmax and its kin included.
_activations = st.sampled_from(cr.activations.NAMES)
_row_layers = st.one_of(
    st.builds(
        cr.Dense, small_sizes, _activations, use_bias=st.booleans(), l1=st.sampled_from([0.0, 0.01]),
        l2=st.sampled_from([0.0, 0.02])
    ),
    st.builds(cr.Activation, _activations),
    st.builds(cr.LayerNorm, st.sampled_from([1e-5, 1e-3])),
)  # fmt: skip
_batch_layers = st.one_of(
    _row_layers,
    st.builds(cr.BatchNorm, st.sampled_from([1e-5, 1e-3]), st.sampled_from([0.9, 0.5])),
    st.builds(cr.Dropout, st.sampled_from([0.0, 0.3])),
)
row_architectures = st.lists(_row_layers, min_size=1, max_size=4)
architectures = st.lists(_batch_layers, min_size=1, max_size=4)

learning_rates = st.one_of(
    st.sampled_from([0.01, 0.001]),
    st.builds(cr.schedules.Exponential, st.just(0.01), st.integers(1, 5), st.just(0.5)),
    st.builds(cr.schedules.Cosine, st.just(0.01), st.integers(5, 40)),
)
optimizers = st.one_of(
    st.builds(
        cr.SGD, learning_rates, momentum=st.sampled_from([0.0, 0.9]), weight_decay=st.sampled_from([0.0, 0.01]),
        clip_norm=st.sampled_from([None, 0.5])
    ),
    st.builds(cr.Adam, learning_rates, weight_decay=st.sampled_from([0.0, 0.01])),
    st.builds(cr.AdamW, learning_rates, clip_value=st.sampled_from([None, 0.1])),
    st.builds(cr.RMSprop, learning_rates),
    st.builds(cr.Adagrad, learning_rates),
)  # fmt: skip
