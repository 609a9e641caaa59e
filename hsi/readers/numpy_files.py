"""NumPy files: one array as .npy (memory-mapped), several as .npz. Pickles are never opened."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from hsi.errors import DataError
from hsi.readers.matlab import Contents

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"
BROKEN = (OSError, EOFError, ValueError, KeyError, SyntaxError, MemoryError, zipfile.BadZipFile,
          zlib.error, NotImplementedError, RuntimeError)  # fmt: skip


def is_npy(head: bytes) -> bool:
    """Whether a file that begins with these bytes is one NumPy array."""
    return head.startswith(NPY_MAGIC)


def is_zip(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a zip archive, as .npz files are."""
    return head.startswith((ZIP_MAGIC + b"\x03\x04", ZIP_MAGIC + b"\x05\x06"))


def contents(path: Path, head: bytes) -> Contents:
    """Every array of the file from its headers alone; a lone .npy array has the name "".

    Raises:
        DataError: the file is truncated or corrupt, or a zip archive of something else.
    """
    try:
        if is_npy(head):
            with open(path, "rb") as stream:
                return {"": _header(stream)}
        with zipfile.ZipFile(path) as archive:
            found = {}
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as stream:
                        found[name.removesuffix(".npy")] = _header(stream)
    except BROKEN as error:
        raise _broken(path, error) from error
    if not found:
        raise DataError(
            f"{path}: a zip archive without NumPy arrays; unpack it and name a file in it."
        )
    return found


def load(path: Path, key: str, head: bytes) -> np.ndarray:
    """One array; from .npy memory-mapped and read-only, from .npz in memory.

    Raises:
        DataError: the file is truncated or corrupt.
    """
    try:
        if is_npy(head):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as archive:
            return archive[key]
    except BROKEN as error:
        raise _broken(path, error) from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], str]:
    version = np.lib.format.read_magic(stream)
    # Version 3 differs from 2 only in the names of structured types, which are refused anyway.
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(stream)
    return shape, "object" if dtype.hasobject else str(dtype.newbyteorder("="))


def _broken(path: Path, error: BaseException) -> DataError:
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{path}: truncated or corrupt, save it again ({words}).")
