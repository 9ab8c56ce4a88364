"""The file format: an uncompressed .npz of "model.json" (what the model is) and flat arrays (little-endian).

NumPy can open it: np.load(path)["parameters"]. It holds no date, so the same model gives the same bytes. Reading
runs no code and never asks for more memory than the file is long: every size follows from the description and is
compared with what the file holds before an array is made.
"""

import io
import json
import os
import struct
import tempfile
import tokenize
import zipfile
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model import Sequential
from .state import describe, expected_sizes, restore

Array = npt.NDArray[Any]

_JSON = "model.json"
_LARGEST_JSON = 2**24  # thousands of layers; a description is a few hundred bytes a layer


def write(model: Sequential, path: str | PathLike[str]) -> None:
    """`chainrule.io.save`."""
    description, arrays, _ = describe(model, code=False)
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=".chainrule-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(zipfile.ZipInfo(_JSON), json.dumps(description, indent=1))  # no date: see above
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                        np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        _keep_permissions(temporary, path)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(folder)


def read(path: str | PathLike[str]) -> Sequential:
    """`chainrule.io.load`."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive)
        except (
            zipfile.BadZipFile, struct.error, AttributeError, EOFError, KeyError, NotImplementedError,
            OSError, OverflowError, RecursionError, RuntimeError, SyntaxError, TypeError, ValueError,
            tokenize.TokenError,
        ) as error:  # fmt: skip
            raise ValueError(f"{os.fspath(path)!r} is not a sound chainrule model file: {error}") from error


def _read(archive: zipfile.ZipFile) -> Sequential:
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise ValueError("a name occurs twice")
    for member in members.values():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{member.filename} is compressed")
    if _JSON not in members or members[_JSON].file_size > _LARGEST_JSON:
        raise ValueError(f"{_JSON} is missing or too long")
    description = json.loads(archive.read(_JSON).decode("utf-8"))
    sizes = expected_sizes(description)
    if set(members) != {_JSON, *(f"{name}.npy" for name in sizes)}:
        raise ValueError(f"it holds {sorted(members)}, expected {_JSON} and {sorted(sizes)}")
    dtype = np.dtype(description["dtype"]).newbyteorder("<")
    arrays = {}
    for name, size in sizes.items():
        member = members[f"{name}.npy"]
        # 128: the header of a version 1.0 .npy file of one dimension.
        if member.file_size != 128 + size * dtype.itemsize:
            raise ValueError(f"{name} takes {member.file_size} bytes, expected {128 + size * dtype.itemsize}")
        array = np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
        if array.shape != (size,) or array.dtype != dtype:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {dtype} of ({size},)")
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
    return restore(description, arrays)


def _keep_permissions(temporary: str, path: str) -> None:
    """Give the new file the mode of the old one, or the one that open() would have given."""
    try:
        mode = os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    os.chmod(temporary, mode)


def _sync_folder(folder: str) -> None:
    """Make the renaming itself durable, where the system lets one open a folder."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
