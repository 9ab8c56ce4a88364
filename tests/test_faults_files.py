"""Files: a writer that is killed, and readers of every kind of damage. Nothing is lost and nothing bad is loaded."""

import errno
import io
import json
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from models import compiled, counts, state

import chainrule as cr

HERE = Path(__file__).resolve().parent

WRITER = """
import sys
import numpy as np
import chainrule as cr
model = cr.Sequential([cr.Dense(2000), cr.Dense(3)])
model.compile("sgd", "squared_error")
model.build(300)
print("ready", flush=True)
number = 0
while True:
    number += 1
    model.parameters[...] = number
    model.save(sys.argv[1])
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@counts(5, 200)
def test_a_writer_that_is_killed(count, tmp_path):
    """kill -9 at random moments: the file is the one that was finished last, or the one after it, and always whole."""
    path = tmp_path / "model.npz"
    rng, torn, found = random.Random(1), 0, set()
    for _ in range(count):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
        time.sleep(rng.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        said, _ = writer.communicate()
        last = int(said.split()[-1]) if said.split() else 0
        if not path.exists():
            assert last == 0
            continue
        parameters = cr.load(path).parameters
        assert (parameters == parameters[0]).all()
        # The one that print told of, or the next; without any, what the writer before left.
        assert parameters[0] in ((last, last + 1) if last else (1, *found))
        found = {parameters[0]}
        left = [name for name in os.listdir(tmp_path) if name != "model.npz"]
        torn += len(left)
        for name in left:  # what was being written is there under another name, and can be thrown away
            assert name.startswith(".chainrule-")
            os.unlink(tmp_path / name)
    print(f"{count} writers killed, {torn} of them within a file")


def test_a_full_disk_leaves_the_older_file(tmp_path):
    """A limit on the size of files stands for the disk."""
    code = """
import resource, signal, sys
import chainrule as cr
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
small, large = cr.Sequential([cr.Dense(3)]), cr.Sequential([cr.Dense(3000)])
small.build(3), large.build(300)
small.save(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    large.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
"""
    pytest.importorskip("resource")
    path = tmp_path / "model.npz"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "OSError\n", done.stderr
    assert cr.load(path).n_out == 3 and os.listdir(tmp_path) == ["model.npz"]


def test_what_is_written_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    """fsync of the file, then the renaming, then fsync of the folder, where the system has that."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def call(*arguments, real=real, name=name):
            kind = name if name == "replace" or not os.path.isdir(f"/proc/self/fd/{arguments[0]}") else "fsync folder"
            calls.append(kind)
            return real(*arguments)

        monkeypatch.setattr(os, name, call)
    model = cr.Sequential([cr.Dense(2)])
    model.save(tmp_path / "model.npz")
    folder = ["fsync folder" if os.path.isdir("/proc/self/fd") else "fsync"] if hasattr(os, "O_DIRECTORY") else []
    assert calls == ["fsync", "replace", *folder]


def test_ctrl_c_right_behind_the_renaming(tmp_path, monkeypatch):
    """It comes up as what it is, and the new file is in its place."""
    real = os.replace

    def replace(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    path = tmp_path / "model.npz"
    with pytest.raises(KeyboardInterrupt):
        cr.Sequential([cr.Dense(2)]).save(path)
    assert os.listdir(tmp_path) == ["model.npz"] and len(cr.load(path).layers) == 1


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be opened here")
@pytest.mark.parametrize("name", ["open", "fsync"])
def test_a_folder_that_cannot_be_flushed(name, tmp_path, monkeypatch):
    """The file has its name by then: nothing is raised that would say that it has not."""
    real, failed = getattr(os, name), []

    def call(what, *arguments):
        if stat.S_ISDIR(os.fstat(what).st_mode) if name == "fsync" else os.path.isdir(what):
            failed.append(what)
            raise OSError(errno.EINVAL, "no such thing here")
        return real(what, *arguments)

    monkeypatch.setattr(os, name, call)
    cr.Sequential([cr.Dense(2)]).save(tmp_path / "model.npz")
    assert failed and len(cr.load(tmp_path / "model.npz").layers) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_permissions(tmp_path, monkeypatch):
    """Those that the process gives new files, without a moment at which others get them; or those of the older file,
    which nobody else can read while it is written."""
    path, model = tmp_path / "model.npz", cr.Sequential([cr.Dense(2)])
    real, during = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda handle: during.append(os.fstat(handle).st_mode) or real(handle))
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        model.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        model.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert [stat.S_IMODE(mode) for mode in during if stat.S_ISREG(mode)] == [0o640, 0o600]


# -- damage ----------------------------------------------------------------------------------------------------


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return exec, ("1 / 0",)


def seeds(tmp_path):
    """Sound files of several kinds, as bytes."""
    path, x, y = tmp_path / "seed.npz", np.sin(np.arange(100.0)).reshape(20, 5), np.arange(20) % 3
    files = []
    for layers, optimizer in (
        (
            [cr.Dense(6, "gelu"), cr.BatchNorm(), cr.Dropout(0.2), cr.Dense(3, l2=0.1)],
            cr.AdamW(cr.schedules.Step(0.1, 3)),
        ),
        ([cr.Dense(3)], "sgd"),
    ):
        model = compiled(layers, optimizer, metrics=["accuracy"], dtype="float32")
        model.fit(x, y, epochs=2, validation_split=0.2, callbacks=[cr.EarlyStopping()])
        model.save(path)
        files.append(path.read_bytes())
    plain = cr.Sequential([cr.Dense(2, "tanh"), cr.LayerNorm()], dtype="float64")
    plain.save(path)
    files.append(path.read_bytes())
    return files


def mutate_bytes(whole, rng):
    """A file with a few bytes or bits changed, cut, doubled or moved."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not data:
            break
        kind, at = rng.randrange(7), rng.randrange(len(data))
        n = min(rng.choice((1, 2, 4, 8, 64)), len(data) - at)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + n] = rng.randbytes(n)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + n]
        elif kind == 4:
            data[at:at] = data[at : at + n]
        elif kind == 5:
            data[at : at + n] = rng.choice((b"\xff", b"\x00", b"\x7f", b"9")) * n
        else:  # near the end, where the directory of a zip file lies
            at = max(0, len(data) - rng.randrange(1, 400))
            data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31, 2**32 - 1, len(data), rng.getrandbits(32))))
    return bytes(data)


def numbers(rng):
    return rng.choice(
        (0, -1, 1, 2, 7, 2**31, 2**40, 2**62, 2**64, 10**30, 1e308, 0.5, -0.0, float("nan"), float("inf"))
    )


def mutate_value(value, rng):
    """One thing somewhere in a JSON value is another."""
    if rng.random() < 0.25 or not isinstance(value, (dict, list)) or not value:
        return rng.choice((
            lambda: numbers(rng), lambda: None, lambda: True, lambda: "", lambda: [], lambda: {}, lambda: "Dense",
            lambda: [value, value], lambda: {"type": "Dense", "units": numbers(rng)}, lambda: {"type": value},
            lambda: {"array": rng.randrange(9)}, lambda: [numbers(rng)] * 3, lambda: "9" * 5000,
            lambda: "__import__('os').system",
        ))()  # fmt: skip
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [mutate_value(item, rng) if i == at else item for i, item in enumerate(value)]
    at = rng.choice(sorted(value))
    kind = rng.randrange(8)
    if kind == 0:
        return {name: item for name, item in value.items() if name != at}
    if kind == 1:
        return {**value, "extra": value[at]}
    return {name: mutate_value(item, rng) if name == at else item for name, item in value.items()}


def mutate_members(whole, rng):
    """A sound zip file whose members are not."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.randrange(6)
    name = rng.choice(sorted(members))
    if kind <= 2:
        description = json.loads(members["model.json"])
        for _ in range(rng.choice((1, 1, 2, 4))):
            description = mutate_value(description, rng)
        members["model.json"] = json.dumps(description).encode()
    elif kind == 3:
        members[name] = mutate_bytes(members[name], rng)
    elif kind == 4:
        values = rng.choice((
            np.array([Evil()]), np.zeros((rng.randrange(4), rng.randrange(40))), np.full(3, "a"), np.zeros(7, "M8[s]"),
            np.zeros(3, [("a", "f4")]), np.zeros(24, ">f4"), np.zeros(24, "f2"), np.zeros((3, 4), order="F"),
        ))  # fmt: skip
        out = io.BytesIO()
        np.lib.format.write_array(out, values, allow_pickle=True)
        members[name] = out.getvalue()
    else:  # a header that promises what is not there
        shape = rng.choice(((10**12,), (2**62, 2**62), (-1,), (2**40, 0), (3.5,), ("a",)))
        header = repr({"descr": rng.choice(("<f4", "|O", "<f8", "<U1000000")), "fortran_order": False, "shape": shape})
        body = header.encode().ljust(117) + b"\n"
        members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body + bytes(96)
    out = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(out, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return out.getvalue()


@counts(500, 40_000)
def test_fuzzed_files(count, tmp_path):
    """Refused with a ValueError, or loaded as a sound model; no other error, no code run, no absurd memory."""
    files, path, rng = seeds(tmp_path), tmp_path / "fuzzed.npz", random.Random(count)
    loaded = highest = 0
    tracemalloc.start()
    try:
        for i in range(count):
            whole = rng.choice(files)
            content = (mutate_bytes if i % 2 else mutate_members)(whole, rng)
            path.write_bytes(content)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                model = cr.load(path)
            except ValueError as error:
                assert str(error).startswith(f"{str(path)!r} is not a sound chainrule model file: ") or (
                    "custom_objects" in str(error)
                )
            else:
                loaded += 1
                assert not model.built or all(np.ndim(w) for w in model.get_weights())
                state(model)
            peak = tracemalloc.get_traced_memory()[1] - before
            highest = max(highest, peak)
            # A description becomes objects, some ten times as large; arrays are held a few times over.
            assert peak < 2_000_000 + 60 * len(content), (i, peak, len(content))
    except BaseException:
        (Path(os.environ.get("CHAINRULE_FUZZ_KEEP", tmp_path)) / "failed.npz").write_bytes(content)
        raise
    finally:
        tracemalloc.stop()
    print(f"{count} damaged files, {loaded} of them loaded, at most {highest} bytes asked for")
    assert 0 < loaded < count / 2


def small_file(tmp_path):
    """A model, its file, and the members of that by name."""
    model = cr.Sequential([cr.Dense(3)])
    model.build(3)
    path = tmp_path / "model.npz"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return model, path, members


def test_a_bomb_is_refused(tmp_path):
    """A gigabyte of zeros in a megabyte, as each of the members; and a member that lies about its size."""
    model, path, members = small_file(tmp_path)
    for name in members:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                with archive.open(member, "w", force_zip64=True) as out:
                    for _ in range(64 if member == name else 0):
                        out.write(bytes(2**20))
                    out.write(content)
        with pytest.raises(ValueError, match="is compressed"):
            cr.load(path)
    # Description, directory and header all say 16 GB; the file has 2 kB.
    model.save(path)
    whole = bytearray(path.read_bytes())
    description = json.loads(members["model.json"])
    description["n_in"] = 2**30
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", json.dumps(description))
        for member in list(members)[1:]:
            archive.writestr(member, members[member])
    whole = bytearray(path.read_bytes())
    at = whole.rindex(b"parameters.npy") - 46
    assert whole[at : at + 4] == b"PK\x01\x02"
    whole[at + 20 : at + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="bytes long and claims to hold more"):
        cr.load(path)


def test_numpy_objects_are_never_unpickled(tmp_path):
    _, path, members = small_file(tmp_path)
    out = io.BytesIO()
    np.lib.format.write_array(out, np.array([Evil()]), allow_pickle=True)
    for name in members:
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, out.getvalue() if member == name else content)
        with pytest.raises(ValueError, match="is not a sound chainrule model file"):
            cr.load(path)
    with pytest.raises(ZeroDivisionError):  # were it unpickled, one would see
        pickle.loads(pickle.dumps(Evil()))


def test_a_signal_while_the_file_is_opened_leaves_nothing(tmp_path, monkeypatch):
    model, opened = small_file(tmp_path)[0], os.open

    def slow(path, *arguments):
        handle = opened(path, *arguments)
        if ".chainrule-" in str(path):
            os.close(handle)
            raise KeyboardInterrupt
        return handle

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "open", slow)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "other.npz")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    model = small_file(tmp_path)[0]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file, and would be replaced by one"):
        model.save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
