"""The bytes of a model file: numbers lie there in one byte order whatever the machine, and no header of an array, be it
ever so odd, leads to anything but a ValueError.
"""

import io
import zipfile

import numpy as np
import pytest

import chainrule as cr


@pytest.fixture
def saved(tmp_path, dtype):
    """(path, members) of a small model's file."""
    model = cr.Sequential([cr.Dense(3, "tanh"), cr.Dense(2)], seed=1, dtype=dtype)
    model.compile("adam", "mean_squared_error")
    model.build(4)
    path = tmp_path / "model.npz"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return path, {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array):
    member = io.BytesIO()
    np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return member.getvalue()


def test_numbers_are_little_endian(saved, dtype):
    path, members = saved
    model = cr.load(path)
    for name, content in members.items():
        if name.endswith(".npy"):
            assert f"'descr': '<f{dtype.itemsize}'".encode() in content
    # decoded by hand, with the byte order spelled out
    values = np.frombuffer(members["parameters.npy"][128:], f"<f{dtype.itemsize}")
    assert np.array_equal(values, model.parameters)


def test_another_byte_order_is_refused_not_misread(saved, dtype):
    path, members = saved
    values = cr.load(path).parameters.astype(dtype.newbyteorder(">"))
    rewrite(path, {**members, "parameters.npy": npy(values)})
    n = dtype.itemsize
    with pytest.raises(ValueError, match=f"parameters begins with .*'>f{n}'.* expected .*'<f{n}'"):
        cr.load(path)


def test_the_same_model_gives_the_same_bytes(saved, monkeypatch, tmp_path):
    """Whenever it is saved: a date in the archive would differ."""
    path, _ = saved
    monkeypatch.setattr(zipfile.time, "localtime", lambda *_: (2001, 2, 3, 4, 5, 6, 0, 0, 0))
    cr.load(path).save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


HEADERS = {
    "an open bracket": b"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } [",
    "an open string": b"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), '''",
    "bad indentation": b"  {\n    1\n   2}",
    "code": b"__import__('os').abort()",
    "nothing": b"",
    "nested": b"[" * 110,
    "a structure": b"{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (6,)}",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (6,)}",
    "negative": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}",
    "enormous": b"{'descr': '<f4', 'fortran_order': False, 'shape': (6000000000000000000000,)}",
    "not text": bytes(range(128, 228)),
}


@pytest.mark.parametrize("header", HEADERS)
def test_odd_headers(saved, header):
    path, members = saved
    whole = members["parameters.npy"]
    odd = whole[:10] + HEADERS[header].ljust(117)[:117] + b"\n" + whole[128:]
    rewrite(path, {**members, "parameters.npy": odd})
    with pytest.raises(ValueError, match="is not a sound chainrule model file"):
        cr.load(path)
