"""The file format: an uncompressed .npz of "model.json" (what the model is) and flat arrays (little-endian).

NumPy can open it: np.load(path)["parameters"]. It holds no date, so the same model gives the same bytes. Reading
runs no code of the file and asks for no more memory than goes with the file's length: every size follows from the
description and is compared with what the file really holds before an array is made.
"""

import contextlib
import errno
import io
import json
import math
import os
import secrets
import stat
import struct
import zipfile
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from .._checks import path_text
from ..model import Sequential
from .state import MissingCode, check_fits, describe, expected_arrays, restore

Array = npt.NDArray[Any]

_BINARY = getattr(os, "O_BINARY", 0)  # Windows' own
_JSON = "model.json"
_ENCRYPTED = 1  # a bit of the flags that a zip file has for each member
_LARGEST_JSON = 2**24  # thousands of layers; a description is a few hundred bytes a layer


def write(model: Sequential, path: str | PathLike[str], include_optimizer: bool) -> None:
    """`chainrule.io.save`."""
    path = path_text(path)
    target = _target(path)
    description, arrays, _ = describe(model, code=False, include_optimizer=include_optimizer)
    folder = os.path.dirname(target)
    mode = _mode(path)
    temporary = os.path.join(folder, f".chainrule-{secrets.token_hex(8)}")
    try:
        # Until it takes the place of an older file it must not be open to more readers than that.
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666 if mode is None else 0o600)
        except OSError as error:
            error.filename = path  # what the caller knows
            raise
        with os.fdopen(handle, "wb") as file:
            archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
            try:
                archive.writestr(zipfile.ZipInfo(_JSON), json.dumps(description, indent=1))  # no date: see above
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                        np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
                archive.close()
            except BaseException:
                archive.fp = None  # or its closing would raise a ValueError over a full disk or a Ctrl-C
                raise
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error  # without the temporary name
    except BaseException:
        # A Ctrl-C can come up right behind the opening or the renaming.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def read(path: str | PathLike[str], code: dict[str, Any]) -> Sequential:
    """`chainrule.io.load`, with the code as `restore` takes it."""
    path = path_text(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive, os.fstat(file.fileno()).st_size, code)
        except MissingCode as error:
            raise ValueError(f"{path!r}: {error}") from None
        except (
            zipfile.BadZipFile, struct.error, AttributeError, EOFError, KeyError, NotImplementedError,
            OSError, OverflowError, RecursionError, TypeError, ValueError,
        ) as error:  # no RuntimeError: that is what a lock is answered with for which there is no memory  # fmt: skip
            raise ValueError(f"{path!r} is not a sound chainrule model file: {error}") from error


def _read(archive: zipfile.ZipFile, length: int, code: dict[str, Any]) -> Sequential:
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise ValueError("a name occurs twice")
    for member in members.values():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{member.filename} is compressed")
        if member.flag_bits & _ENCRYPTED:
            raise ValueError(f"{member.filename} is encrypted")
    if sum(member.file_size for member in members.values()) > length:
        raise ValueError(f"it is {length} bytes long and claims to hold more")
    if _JSON not in members or members[_JSON].file_size > _LARGEST_JSON:
        raise ValueError(f"{_JSON} is missing or too long")
    description = json.loads(archive.read(_JSON).decode("utf-8"))
    expected = expected_arrays(description, code)
    if set(members) != {_JSON, *(f"{name}.npy" for name in expected)}:
        raise ValueError(f"it holds {sorted(members)}, expected {_JSON} and {sorted(expected)}")
    arrays = {}
    for name, (dtype, shape) in expected.items():
        little = dtype.newbyteorder("<")
        array = _array(archive.read(f"{name}.npy"), name, little, shape)
        arrays[name] = array.astype(dtype, copy=False)
    if "parameters" in arrays:
        check_fits(description, code, arrays["parameters"].size)
    return restore(description, arrays, code)


def _array(content: bytes, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The array of a .npy file that must be of this dtype and shape; (-1,) is a vector of any length.

    Its header is compared with the one that it must have: NumPy's parser takes too much from strangers.
    """
    start = 10 + int.from_bytes(content[8:10], "little")
    n_bytes = len(content) - start
    if shape == (-1,):
        shape = (max(n_bytes, 0) // dtype.itemsize,)
    stream = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    expected = stream.getvalue()
    if content[:8] != expected[:8] or content[10:start].strip() != expected[10:].strip():
        raise ValueError(f"{name} begins with {content[10:start][:200]!r}, expected {expected[10:].strip()!r}")
    if n_bytes != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {n_bytes} bytes, expected {math.prod(shape) * dtype.itemsize}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).copy()


def _target(path: str) -> str:
    """The file that a path means: a link stays one, and what it leads to is replaced, there or not."""
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if os.path.isdir(path) or not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a regular file, and would be replaced by one", path)
    return os.path.realpath(path)


def _mode(path: str) -> int | None:
    """The permissions of a file, or None if there is no such file."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def _sync_folder(folder: str) -> None:
    """Make the renaming itself durable where the system can. The file is in its place by now, so no error is raised:
    some folders may be written to but not read, and some file systems know no fsync of a folder."""
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
