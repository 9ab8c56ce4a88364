"""The published bits: every instruction set finds them, and the command notices when one is different."""

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli, selftest


@pytest.mark.parametrize("threads", selftest.THREADS)
def test_the_published_bits(isa, threads):
    with cr.num_threads(threads):
        assert selftest.differences(selftest.compute(), selftest.published()) == []


def test_the_list_covers_every_kind_and_stays_small():
    assert selftest.PUBLISHED.stat().st_size < 20_000
    published = selftest.published()
    for dtype in ("float32", "float64"):
        names = set(published[dtype])
        assert {f"activation {name}" for name in cr.activations.NAMES} <= names
        assert {f"loss {name}" for name in cr.losses.NAMES} <= names
        assert {f"20 steps of {name}" for name in cr.optimizers.NAMES} <= names
        assert {"net 1-1-1", "net 784-512-512-10"} <= names and sum(name[:3] == "net" for name in names) >= 45


def test_the_hash_is_that_of_the_numbers():
    """Not of their byte order or place; one bit, the shape and the dtype count; all NaNs are one."""
    a = np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4)
    same = selftest.hash_of([a])
    assert selftest.hash_of([a.astype(">f4")]) == selftest.hash_of([np.asfortranarray(a)]) == same
    assert len({same, *map(selftest.hash_of, ([np.nextafter(a, 2)], [a.T], [a.astype("f8")], [a.ravel()]))}) == 5
    nans = np.array([np.nan, -np.nan], "f4")
    assert selftest.hash_of([nans]) == selftest.hash_of([nans[::-1]])
    assert selftest.hash_of([[0.0]]) != selftest.hash_of([[-0.0]])


def test_one_wrong_bit_is_found_and_named(monkeypatch):
    right = cr.kernels.expm1

    def wrong(x):
        y = right(x)
        if y.dtype == np.float32:
            y.view(np.uint32)[-9] ^= 1
        return y

    monkeypatch.setattr(cr.kernels, "expm1", wrong)
    assert selftest.differences(selftest.compute(), selftest.published()) == ["float32, function expm1"]


def test_the_command_says_what_ran(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "THREADS", (1,))
    assert cli.main(["selftest"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cr.__version__ in lines[0] and lines[-1] == "all bits are as published"
    for isa in cr.show_config("dict")["isas_supported"]:
        assert any(line.startswith(isa) and line.endswith("cases: the same bits") for line in lines)

    hashes = selftest.published()
    hashes["float64"]["loss huber"] = "0" * 32
    del hashes["float32"]["products 3x5x7"]
    monkeypatch.setattr(selftest, "PUBLISHED", tmp_path / "wrong.json")
    selftest.PUBLISHED.write_text(json.dumps(hashes))
    assert cli.main(["selftest"]) == 1
    out = capsys.readouterr().out
    assert "differs: float64, loss huber" in out and "differs: float32, products 3x5x7" in out
    assert out.count("2 differ") == len(cr.show_config("dict")["isas_supported"])


def test_the_published_file_is_what_the_command_writes(capsys, tmp_path):
    assert cli.main(["selftest", "--write", str(tmp_path / "hashes.json")]) == 0
    assert (tmp_path / "hashes.json").read_text() == selftest.PUBLISHED.read_text()
    missing = tmp_path / "missing" / "hashes.json"
    assert cli.main(["selftest", "--write", str(missing)]) == 2
    assert capsys.readouterr().err.startswith("--write: ") and not missing.parent.exists()
