"""Reading cubes and label maps from files: ENVI, GeoTIFF, NetCDF, HDF5, MATLAB and NumPy.

The kind of a file is told by its first bytes, not by its name. An array is named `FILE:KEY`;
without a key it is chosen by shape and type, and the choice is said. `hsi.readers.raster` opens an
image to be read by windows; here it is read as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers import envi as envi
from hsi.readers.choose import Kind, Say, shape_text
from hsi.readers.kinds import split_spec
from hsi.readers.raster import Raster, open_file, open_raster

__all__ = [
    "Raster", "Reading", "as_labels", "check_fit", "open_raster", "read_array", "read_file",
    "split_spec",
]  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """An array of a file, and what the file says about it.

    Attributes:
        array: cube (rows, cols, bands) as in the file, memory-mapped where the format allows it,
            in float32 where scale factors are applied; or labels (rows, cols) int32.
        path: the file that was named.
        key: the array's name in the file; "" where the format has none.
        files: every file that was read, for hashing.
        wavelengths: (bands,) nm, or None where the file has none.
        class_names: number -> name, where the file has them.
        sensor: "" where the file does not say.
        georeference: its grid on the Earth, or None.
        no_data: the value of pixels without data, or None; see `hsi.readers.windowed.Raster`.
        bad_bands: 1-based numbers of the bands that the file marks as bad.
    """

    array: np.ndarray
    path: Path
    key: str
    files: tuple[Path, ...]
    wavelengths: np.ndarray | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    sensor: str = ""
    georeference: Georeference | None = None
    no_data: float | None = None
    bad_bands: tuple[int, ...] = ()


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
    raster = open_file(path, key, kind=kind, shape=shape, say=say)
    array = raster.whole()
    if kind == "labels":
        where = f"{path}:{raster.key}" if raster.key else str(path)
        without = ~raster.has_data(array) if raster.no_data is not None else None
        array = array[:, :, 0] if without is None else np.where(without, 0, array[:, :, 0])
        array = as_labels(array, where)
        if shape:
            check_fit(shape, array.shape, where)
    return Reading(
        array=array,
        path=path,
        key=raster.key,
        files=raster.files,
        wavelengths=raster.wavelengths,
        class_names=raster.class_names,
        sensor=raster.sensor,
        georeference=raster.georeference,
        no_data=raster.no_data,
        bad_bands=raster.bad_bands,
    )


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
