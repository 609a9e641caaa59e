"""Opening an image file for reading window by window: ENVI, GeoTIFF, NetCDF 4, HDF5, NumPy, MATLAB.

ENVI and .npy are memory-mapped, GeoTIFF is read by windows, NetCDF and HDF5 by slicing; a MATLAB
file up to version 7.2 and .npz are in memory as a whole once opened.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.readers import envi, geotiff, hdf5, kinds, matlab, netcdf, prisma
from hsi.readers.choose import NUMERIC, Kind, Say, check_key, choose_key, flat_shape, shape_text
from hsi.readers.matlab import Contents
from hsi.readers.wavelengths import OF_LIGHT, stated_wavelengths
from hsi.readers.windowed import Raster, Window, of_array

__all__ = ["Raster", "open_file", "open_raster"]

UNIT_ATTRIBUTES = ("units", "unit", "Units", "Unit")
WAVELENGTHS = re.compile(
    rf"wavelengths?(?:[ _([]+({'|'.join(map(re.escape, OF_LIGHT))})[)\]]?)?", re.IGNORECASE
)


def open_raster(spec: str, *, say: Say = print) -> Raster:
    """Open a cube without reading its pixels, where the format allows that.

    Args:
        spec: `FILE` or `FILE:KEY`.
        say: called with one line for every choice made.

    Raises:
        DataError: the file or the array cannot be used; one line that says what to do.
    """
    path, key = kinds.split_spec(spec)
    return open_file(path, key, say=say)


def open_file(
    path: Path,
    key: str | None,
    *,
    kind: Kind = "cube",
    shape: tuple[int, ...] | None = None,
    say: Say = print,
) -> Raster:
    """`open_raster` with the file and the key apart; also of label maps, as rasters of one band.

    Args:
        shape: (rows, cols) or (rows, cols, bands) of the scene, where known; it narrows the choice.
    """
    head = kinds.read_head(path)
    if kinds.is_envi(path, head) or kinds.is_tiff(head):
        name = "a GeoTIFF" if kinds.is_tiff(head) else "an ENVI image"
        if key is not None:
            raise DataError(f"{path}: {name} is one array without keys; leave out {key!r}.")
        opener = geotiff.open_image if kinds.is_tiff(head) else envi.open_image
        return _checked(opener(path, say=say), kind)
    if matlab.is_hdf5(head) and not head.startswith(b"MATLAB"):
        if prisma.is_prisma(path) and key in (None, prisma.KEY):
            return _checked(prisma.open_image(path, say=say), kind)
        if netcdf.is_netcdf(path):
            return _checked(netcdf.open_image(path, key, kind=kind, shape=shape, say=say), kind)
    return _open_keyed(path, head, key, kind, shape, say)


def _open_keyed(
    path: Path,
    head: bytes,
    key: str | None,
    kind: Kind,
    shape: tuple[int, ...] | None,
    say: Say,
) -> Raster:
    """Files with named arrays that say nothing else of them."""
    reader = kinds.keyed_reader(path, head)
    found: Contents = reader.contents(path, head)
    if key is None:
        key = choose_key(path, found, kind, shape, lambda name: reader.load(path, name, head), say)
    check_key(path, found, key, kind)
    stored = found[key][0]
    array: np.ndarray | None = None
    if matlab.is_hdf5(head) and len(stored) == 3 and kind == "cube":
        axes, dtype = matlab.layout(path, key, head)
        window: Window = hdf5.window(path, key, axes)
    else:
        array = _as_image(reader.load(path, key, head), kind)
        window, dtype, stored = of_array(array), array.dtype, array.shape
    raster = Raster(
        path=path,
        files=(path,),
        rows=stored[0] if stored else 0,
        cols=stored[1] if len(stored) > 1 else 0,
        bands=stored[2] if len(stored) > 2 else 0,
        dtype=dtype,
        window=window,
        key=key,
        array=array,
    )
    checked = _checked(raster, kind, shape=stored)
    if matlab.is_hdf5(head):
        checked = hdf5.as_stated(checked, say=say)
    if kind == "labels":
        return checked
    return replace(checked, wavelengths=_wavelengths_beside(path, head, found, raster.bands, say))


def _as_image(array: np.ndarray, kind: Kind) -> np.ndarray:
    """An array with an axis of bands; of label maps a single one."""
    if kind == "labels":
        array = array.reshape(flat_shape(array.shape))
        return array[:, :, None] if array.ndim == 2 else array
    return array


def _checked(raster: Raster, kind: Kind, *, shape: tuple[int, ...] | None = None) -> Raster:
    """The raster, if it can be a cube or a label map (`DataError`)."""
    shape = raster.shape if shape is None else shape
    where = f"{raster.path}:{raster.key}" if raster.key else str(raster.path)
    if raster.dtype.kind not in ("uif" if kind == "cube" else "uifb"):
        complex_ = raster.dtype.kind == "c"
        type_name = "complex numbers" if complex_ else f"type {raster.dtype}"
        raise DataError(f"{where}: {type_name}; expected real numbers.")
    if 0 in shape or not shape:
        raise DataError(f"{where}: empty, of {shape_text(shape)}.")
    if kind == "labels" and (len(shape) != 3 or shape[2] != 1):
        raise DataError(f"{where}: expected labels of (rows, cols), got {shape_text(shape)}.")
    if len(shape) == 2:
        raise DataError(
            f"{where}: {shape_text(shape)}, expected rows x cols x bands; if it is "
            "bands x pixels, reshape each band to (rows, cols), in MATLAB's column order, and save "
            "it as 3-D."
        )
    if len(shape) != 3:
        raise DataError(f"{where}: expected a cube of (rows, cols, bands), got shape {shape}.")
    return raster


def _wavelengths_beside(
    path: Path, head: bytes, found: Contents, bands: int, say: Say
) -> np.ndarray | None:
    """The vector called wavelength(s), or wavelengths_nm and the like, with a value per band."""
    for name, (shape, type_name) in found.items():
        called = WAVELENGTHS.fullmatch(name.rpartition("/")[2])
        fits = type_name in NUMERIC and math.prod(shape) == bands == max(shape, default=0)
        if called and fits:
            values = np.ravel(kinds.keyed_reader(path, head).load(path, name, head))
            unit = _unit(path, head, name) or called[1] or ""
            centres = stated_wavelengths(path, values.tolist(), unit, bands, say=say)
            if centres is not None:
                say(f"{path.name}: wavelengths taken from {name!r}.")
                return centres
    return None


def _unit(path: Path, head: bytes, name: str) -> str:
    """What an array of HDF5 says of its unit; "" for files that have no attributes."""
    if not matlab.is_hdf5(head):
        return ""
    with hdf5.opened(path) as file:
        return str(hdf5.attribute(file[name], *UNIT_ATTRIBUTES) or "")
