"""MATLAB files: version 5 to 7.2 through SciPy, version 7.3 (HDF5) through h5py.

Both functions look at numeric arrays only: cells, structs, objects and function handles are listed
by `contents`, so that an error can name them, and never loaded.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError

Contents = dict[str, tuple[tuple[int, ...], str]]
"""Name of an array -> its shape and its type in words ("int16", "double", "cell" ...)."""

HEADER_BYTES = 128
ARRAY_HEAD_BYTES = 4096  # ample for the flags, shape and name of an array
MATRIX, COMPRESSED = 14, 15
NUMERIC_CLASSES = range(6, 16)
VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Type of a data element in a version 5 file -> bytes per value."""
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

# What SciPy raises on broken files: it trusts every length and type number that it reads.
BROKEN = (
    OSError, EOFError, TypeError, ValueError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


def is_version_5(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a MATLAB file of version 5 to 7.2."""
    return head.startswith(b"MATLAB 5.0")


def is_hdf5(head: bytes) -> bool:
    """Whether a file that begins with these bytes is HDF5, with or without MATLAB's header."""
    return head.startswith((HDF5_MAGIC, b"MATLAB 7.3")) or head[512:520] == HDF5_MAGIC


def contents(path: Path, head: bytes) -> Contents:
    """Every variable of the file, nothing loaded.

    Raises:
        DataError: the file is truncated or corrupt.
    """
    if is_hdf5(head):
        return _contents_hdf5(path, head)
    _check_header(path, head)
    from scipy.io import matlab

    try:
        complex_names = _check_elements(path, "<" if head[126:128] == b"IM" else ">")
        found = matlab.whosmat(str(path))
    except (*BROKEN, matlab.MatReadError) as error:
        raise _broken(path, error) from error
    return {
        name: (tuple(shape), "complex" if name in complex_names else kind)
        for name, shape, kind in found
    }


def load(path: Path, key: str, head: bytes) -> np.ndarray:
    """One numeric array, axes as MATLAB shows them, in C order.

    HDF5 holds MATLAB's arrays with their axes reversed; that is silent on a square scene, so they
    are put back whatever their shape. Only HDF5 that MATLAB did not write stays as it is.

    Raises:
        DataError: the file is truncated or corrupt.
    """
    if is_hdf5(head):
        return _load_hdf5(path, key, head)
    from scipy.io import matlab

    try:
        array = matlab.loadmat(str(path), variable_names=[key])[key]
    except (*BROKEN, matlab.MatReadError) as error:
        raise _broken(path, error) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key!r} is a sparse matrix; save it with full({key}).")
    return np.ascontiguousarray(array)


def layout(path: Path, key: str, head: bytes) -> tuple[tuple[int, int, int], np.dtype]:
    """Of a cube in HDF5: the stored axes of its rows, columns and bands, and its type.

    Raises:
        DataError: the file is truncated or corrupt.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            item = file[key]
            return (2, 1, 0) if _is_reversed(path, head, item) else (0, 1, 2), item.dtype
    except BROKEN as error:
        raise _broken(path, error) from error


def _check_header(path: Path, head: bytes) -> None:
    """Bytes 124..127 are version 0x0100 and "MI" in the writer's byte order."""
    if len(head) < HEADER_BYTES:
        raise DataError(
            f"{path}: {len(head)} bytes are too few for a MATLAB file; download it again."
        )
    if head[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        # Seen in public copies: every NUL became a space, the size stayed right.
        raise DataError(
            f"{path}: corrupt, download it again (its MATLAB header is damaged"
            f"{', every NUL became a space' if bytes(1) not in head else ''})."
        )


def _check_elements(path: Path, order: str) -> set[str]:
    """Walk through a version 5 file and return the names of complex arrays.

    SciPy looks up an element's type in a table without asking whether it is in there, so that one
    damaged byte ends the process. Hence this look at every tag before SciPy sees the file.
    """
    complex_names = set()
    with open(path, "rb") as stream:
        size = stream.seek(0, 2)
        position = HEADER_BYTES
        while position < size:
            stream.seek(position)
            kind, length = struct.unpack(order + "2I", stream.read(8))
            position += 8 + length
            if kind not in (MATRIX, COMPRESSED):
                raise ValueError(f"an element of type {kind} at byte {position - 8 - length}")
            if position > size:
                raise ValueError(f"{size} bytes, where its parts need {position}")
            head = stream.read(min(length, ARRAY_HEAD_BYTES))
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, ARRAY_HEAD_BYTES)[8:]
            name, is_complex = _check_array(head, order)
            if is_complex:
                complex_names.add(name)
    return complex_names


def _check_array(head: bytes, order: str) -> tuple[str, bool]:
    """Name of an array and whether it is complex; of numeric ones also the size of the values."""
    _, _, flags, at = _element(head, 0, order)
    flag = struct.unpack(order + "I", flags[:4])[0]
    if flag & 0xFF not in NUMERIC_CLASSES:
        return "", False
    _, length, data, at = _element(head, at, order)
    shape = struct.unpack(f"{order}{length // 4}i", data)
    _, _, name, at = _element(head, at, order)
    count = math.prod(shape)
    if count:
        kind, length, _, _ = _element(head, at, order)
        if VALUE_BYTES.get(kind, 0) * count != length:
            raise ValueError(f"{count} values of type {kind} in {length} bytes")
    return name.decode("latin-1"), bool(flag & 0x800)


def _element(head: bytes, at: int, order: str) -> tuple[int, int, bytes, int]:
    """Type, length and bytes of the data element at `at`, and where the next one begins."""
    word, length = struct.unpack_from(order + "2I", head, at)
    if word >> 16:  # the small form: length, type and up to four bytes in eight
        length = word >> 16
        return word & 0xFFFF, length, head[at + 4 : at + 4 + length], at + 8
    return word, length, head[at + 8 : at + 8 + length], at + 8 + (length + 7) // 8 * 8


def _contents_hdf5(path: Path, head: bytes) -> Contents:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found: Contents = {}
            for name, item in file.items():
                if name.startswith("#"):
                    continue
                if isinstance(item, h5py.Group) and "MATLAB_class" not in item.attrs:
                    found |= _contents_group(name, item) or {name: ((), "group")}
                else:
                    found[name] = _describe(item, _is_reversed(path, head, item))
            return found
    except BROKEN as error:
        raise _broken(path, error) from error


def _contents_group(name: str, group: Any) -> Contents:
    """The arrays in a group that MATLAB did not write, as "group/array"."""
    import h5py

    found: Contents = {}

    def visit(inner: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"{name}/{inner}"] = _describe(item, "MATLAB_class" in item.attrs)

    group.visititems(visit)
    return found


def _is_reversed(path: Path, head: bytes, item: Any) -> bool:
    """Whether MATLAB, or something that writes as MATLAB does, laid out this array."""
    return (
        head.startswith(b"MATLAB 7.3")
        or "MATLAB_class" in item.attrs
        or (path.suffix.lower() == ".mat" and item.parent.name == "/")
    )


def _describe(item: Any, is_reversed: bool) -> tuple[tuple[int, ...], str]:
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if not isinstance(item, h5py.Dataset):
        return (), kind or "group"
    if item.attrs.get("MATLAB_empty", 0):
        return (0, 0), kind  # the data set holds the shape of the empty array, not an array
    shape = item.shape[::-1] if is_reversed else item.shape
    if item.dtype.names:
        return shape, "complex"
    stored = str(item.dtype.newbyteorder("="))  # big-endian numbers are numbers as well
    return shape, kind if kind and item.dtype.kind != "O" else stored


def _load_hdf5(path: Path, key: str, head: bytes) -> np.ndarray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            item = file[key]
            array = np.asarray(item[()])
            return np.ascontiguousarray(array.T if _is_reversed(path, head, item) else array)
    except BROKEN as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: BaseException) -> DataError:
    """One line for whatever the library said."""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{path}: truncated or corrupt, download or save it again ({words}).")
