"""Reading cubes and label maps from files: MATLAB, ENVI, NumPy and HDF5.

The kind of a file is told by its first bytes, not by its name. An array is named `FILE:KEY`;
without a key it is chosen by shape and type, and the choice is said.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from hsi.errors import DataError
from hsi.readers import envi, matlab, numpy_files
from hsi.readers.choose import NUMERIC, Kind, Say, check_key, choose_key, flat_shape, shape_text
from hsi.readers.matlab import Contents

HEAD_BYTES = 1024
HTML = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
FOREIGN = {
    b"II*\0": "a TIFF", b"MM\0*": "a TIFF",
    b"\x1f\x8b": "gzip-compressed", b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed", b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive",
    b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"CDF": "a NetCDF 3 file",
    b"%PDF": "a PDF",
}  # fmt: skip
READABLE = "MATLAB .mat, ENVI .hdr with its data file, .npy, .npz or HDF5"


class Reader(Protocol):
    """What the modules for files with named arrays offer; `head` is the beginning of the file."""

    def contents(self, path: Path, head: bytes) -> Contents: ...

    def load(self, path: Path, key: str, head: bytes) -> np.ndarray: ...


@dataclass(frozen=True)
class Reading:
    """An array of a file, and what the file says about it.

    Attributes:
        array: cube (rows, cols, bands) as in the file, memory-mapped where the format allows it;
            or labels (rows, cols) int32.
        path: the file that was named.
        key: the array's name in the file; "" where the format has none.
        files: every file that was read, for hashing.
        wavelengths: (bands,) nm, or None where the file has none.
        class_names: number -> name, where the file has them.
        sensor: "" where the file does not say.
    """

    array: np.ndarray
    path: Path
    key: str
    files: tuple[Path, ...]
    wavelengths: np.ndarray | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    sensor: str = ""


def read_array(
    spec: str, *, kind: Kind, shape: tuple[int, ...] | None = None, say: Say = print
) -> Reading:
    """Read a cube or a label map.

    Args:
        spec: `FILE` or `FILE:KEY`.
        kind: what is expected.
        shape: (rows, cols) or (rows, cols, bands) of the scene, where known; it narrows the
            choice, and labels that do not fit it are refused.
        say: called with one line for every choice made.

    Raises:
        DataError: the file or the array cannot be used; one line that says what to do.
    """
    path, key = split_spec(spec)
    return read_file(path, key, kind=kind, shape=shape, say=say)


def read_file(
    path: Path,
    key: str | None,
    *,
    kind: Kind,
    shape: tuple[int, ...] | None = None,
    say: Say = print,
) -> Reading:
    """`read_array` with the file and the key apart."""
    head = _head(path)
    if not _has_keys(head) and (envi.is_header(head) or _is_envi_data(path, head)):
        if key is not None:
            raise DataError(f"{path}: an ENVI image is one array without keys; leave out {key!r}.")
        image = envi.open_image(path, say=say)
        array = image.array
        if kind == "labels" and array.shape[2] == 1:
            array = array[:, :, 0]
        checked = _checked(array, path, "", kind, shape)
        return Reading(
            checked, path, "", image.files, image.wavelengths, image.class_names, image.sensor
        )
    reader = _reader(path, head)
    found = reader.contents(path, head)
    if key is None:
        key = choose_key(path, found, kind, shape, lambda name: reader.load(path, name, head), say)
    check_key(path, found, key, kind)
    array = _checked(reader.load(path, key, head), path, key, kind, shape)
    return Reading(
        array, path, key, (path,), _wavelengths_beside(path, head, found, array, kind, say)
    )


def split_spec(spec: str) -> tuple[Path, str | None]:
    """`FILE` or `FILE:KEY` -> the path and the key; an existing file may have a colon in its name.

    Raises:
        DataError: nothing before or after the colon.
    """
    if Path(spec).exists() or ":" not in spec:
        return Path(spec), None
    file, _, key = spec.rpartition(":")
    if not file or not key:
        raise DataError(f"{spec!r}: expected FILE or FILE:KEY.")
    return Path(file), key


def check_fit(cube: tuple[int, ...], labels: tuple[int, ...], where: str) -> None:
    """Raise a `DataError` that names the likely cause if labels do not lie on the cube's pixels."""
    if labels == cube[:2]:
        return
    said = f"{where}: labels of {shape_text(labels)} do not fit a cube of {shape_text(cube)}"
    if labels == cube[1::-1]:
        raise DataError(f"{said}; transposed they would: swap rows and columns of one of them.")
    if labels == cube[1:]:
        raise DataError(f"{said}; its bands come first: save it as (rows, cols, bands).")
    if labels == cube[:0:-1]:
        raise DataError(f"{said}; its axes are reversed: save it as (rows, cols, bands).")
    raise DataError(f"{said}; expected {shape_text(cube[:2])} labels of the same scene.")


def _head(path: Path) -> bytes:
    """The first bytes, after everything that can be wrong with a path."""
    if path.is_dir():
        raise DataError(f"{path}: a folder, expected a file ({READABLE}).")
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.{_closest(path)}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if not head:
        raise DataError(f"{path}: the file is empty; download or save it again.")
    return head


def _closest(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" Did you mean {folder / close[0]}?" if close else ""


def _has_keys(head: bytes) -> bool:
    """MATLAB, HDF5 and NumPy by their magic bytes."""
    known = (matlab.is_version_5, matlab.is_hdf5, numpy_files.is_npy, numpy_files.is_zip)
    return any(is_kind(head) for is_kind in known)


def _is_html(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML)


def _is_envi_data(path: Path, head: bytes) -> bool:
    return (
        path.suffix.lower() != ".hdr" and not _is_html(head) and envi.find_header(path) is not None
    )


def _reader(path: Path, head: bytes) -> Reader:
    """The module that reads this file, or an error that says what the file is instead."""
    if matlab.is_version_5(head) or matlab.is_hdf5(head):
        return matlab
    if numpy_files.is_npy(head) or numpy_files.is_zip(head):
        return numpy_files
    if _is_html(head):
        raise DataError(f"{path}: an HTML page instead of data; download the file itself again.")
    if path.suffix.lower() == ".hdr":
        raise DataError(f"{path}: not an ENVI header; its first line must begin with ENVI.")
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {name}, which is not read here; expected {READABLE}.")
    if path.suffix.lower() == ".mat":
        raise DataError(
            f"{path}: not a MATLAB file of version 5 or 7.3, or truncated; save it again."
        )
    raise DataError(f"{path}: unknown kind of file; expected {READABLE}.")


def _checked(
    array: np.ndarray, path: Path, key: str, kind: Kind, shape: tuple[int, ...] | None
) -> np.ndarray:
    where = f"{path}:{key}" if key else str(path)
    if array.dtype.kind not in ("uif" if kind == "cube" else "uifb"):
        type_name = "complex numbers" if array.dtype.kind == "c" else f"type {array.dtype}"
        raise DataError(f"{where}: {type_name}; expected real numbers.")
    if array.size == 0:
        raise DataError(f"{where}: empty, of {shape_text(array.shape)}.")
    if kind == "labels":
        labels = as_labels(array.reshape(flat_shape(array.shape)), where)
        if shape:
            check_fit(shape, labels.shape, where)
        return labels
    if array.ndim == 2:
        raise DataError(
            f"{where}: {shape_text(array.shape)}, expected rows x cols x bands; if it is "
            "bands x pixels, reshape each band to (rows, cols), in MATLAB's column order, and save "
            "it as 3-D."
        )
    if array.ndim != 3:
        raise DataError(
            f"{where}: expected a cube of (rows, cols, bands), got shape {array.shape}."
        )
    return array


def as_labels(array: np.ndarray, where: str = "labels") -> np.ndarray:
    """A label map as (rows, cols) int32; floats are taken if they are whole numbers.

    Raises:
        DataError: not 2-D, negative, not whole, or too large for a class number.
    """
    if array.ndim != 2:
        raise DataError(f"{where}: expected labels of (rows, cols), got {shape_text(array.shape)}.")
    if array.dtype.kind == "f" and not (
        np.isfinite(array).all() and (array == np.rint(array)).all()
    ):
        raise DataError(
            f"{where}: labels must be whole numbers, 0 for unlabelled; is it a label map?"
        )
    low, high = array.min(), array.max()
    if low < 0:
        raise DataError(
            f"{where}: negative label {int(low)}; expected 0 for unlabelled, classes from 1."
        )
    if high > np.iinfo(np.int32).max:
        raise DataError(f"{where}: label {int(high)} is no class number; is it a label map?")
    return np.ascontiguousarray(array, dtype=np.int32)


def _wavelengths_beside(
    path: Path,
    head: bytes,
    found: Contents,
    array: np.ndarray,
    kind: Kind,
    say: Say,
) -> np.ndarray | None:
    """The vector called wavelength(s) of the same file, if it has one value per band."""
    if kind != "cube":
        return None
    for name, (shape, type_name) in found.items():
        fits = type_name in NUMERIC and math.prod(shape) == array.shape[2] == max(shape, default=0)
        if fits and name.lower().startswith("wavelength"):
            values = np.ravel(_reader(path, head).load(path, name, head)).astype(np.float64)
            if np.isfinite(values).all() and (values > 0).all():
                say(f"{path.name}: wavelengths taken from {name!r}.")
                return envi.to_nanometres(values)
    return None
