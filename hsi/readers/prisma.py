"""PRISMA level 2D: HDF-EOS 5 with a cube of each spectrometer, bands in the middle axis.

Reflectance = least + stored x (greatest - least) / 65535 with the file's own limits of each
spectrometer (PRISMA Products Specification Document, ASI, 2020). The bands of both are put in the
order of their wavelengths; those without one (0 in the list) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference, epsg_wkt
from hsi.readers import hdf5
from hsi.readers.windowed import Raster, Window, scaled

Say = Callable[[str], None]

CUBES = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
SPECTROMETERS = ("Vnir", "Swir")
MOST_STORED = 65535
PIXEL = 30.0
"""Metres."""
KEY = "reflectance"


@dataclass(frozen=True)
class _Half:
    """The cube of one spectrometer: name, stored numbers of its bands, centres (nm), limits."""

    name: str
    bands: np.ndarray
    centres: np.ndarray
    least: float
    greatest: float


def is_prisma(path: Path) -> bool:
    """Whether an HDF5 file is a level 2D product of PRISMA."""
    with hdf5.opened(path) as file:
        return f"{CUBES}/VNIR_Cube" in file or f"{CUBES}/SWIR_Cube" in file


def open_image(path: Path, *, say: Say = print) -> Raster:
    """Open both spectrometers as one cube, (rows, cols, bands) reflectance, by wavelength.

    Raises:
        DataError: a part of the product is missing, or sizes disagree.
    """
    with hdf5.opened(path) as file:
        halves = [half for name in SPECTROMETERS if (half := _half(path, file, name)) is not None]
        shapes = {file[half.name].shape[::2] for half in halves}
        if len(shapes) != 1:
            raise DataError(
                f"{path}: expected VNIR and SWIR of one size, got {' and '.join(map(str, shapes))}."
            )
        rows, cols = shapes.pop()
        georeference = _georeference(file, rows, cols)
    centres = np.concatenate([half.centres for half in halves])
    gain = np.concatenate(
        [np.full(len(h.bands), (h.greatest - h.least) / MOST_STORED) for h in halves]
    )
    offset = np.concatenate([np.full(len(h.bands), h.least) for h in halves])
    order = np.argsort(centres, kind="stable")
    window = _joined([hdf5.window(path, h.name, (0, 2, 1), h.bands) for h in halves], order)
    say(f"{path.name}: PRISMA level 2D, {len(centres)} bands of both spectrometers by wavelength.")
    return Raster(
        path=path,
        files=(path,),
        rows=int(rows),
        cols=int(cols),
        bands=len(centres),
        dtype=np.dtype(np.float32),
        window=scaled(window, gain[order], offset[order], 0),
        key=KEY,
        wavelengths=centres[order],
        georeference=georeference,
        no_data=np.nan,
        sensor="PRISMA",
    )


def _half(path: Path, file: Any, spectrometer: str) -> _Half | None:
    name = f"{CUBES}/{spectrometer.upper()}_Cube"
    if name not in file:
        return None
    item = file[name]
    centres = hdf5.attribute(file, f"List_Cw_{spectrometer}")
    flags = hdf5.attribute(file, f"List_Cw_{spectrometer}_Flags")
    limits = [hdf5.attribute(file, f"L2Scale{spectrometer}{end}") for end in ("Min", "Max")]
    if centres is None or None in limits:
        raise DataError(
            f"{path}: expected List_Cw_{spectrometer} and L2Scale{spectrometer}Min and Max among "
            "the attributes of the file; is it a whole PRISMA product?"
        )
    centres = np.ravel(np.asarray(centres, np.float64))
    if item.ndim != 3 or item.shape[1] != len(centres):
        raise DataError(
            f"{path}:{name}: expected (rows, {len(centres)} bands, cols), got {item.shape}."
        )
    used = centres > 0
    if flags is not None and np.size(flags) == len(centres):
        used &= np.ravel(flags) == 1
    bands = np.flatnonzero(used)
    return _Half(name, bands, centres[bands], float(limits[0]), float(limits[1]))


def _joined(windows: list[Window], order: np.ndarray) -> Window:
    def read(rows: slice, cols: slice) -> np.ndarray:
        return np.concatenate([window(rows, cols) for window in windows], axis=2)[:, :, order]

    return read


def _georeference(file: Any, rows: int, cols: int) -> Georeference | None:
    """From the corners of the product: centres of its pixels, or their outer corners.

    The document does not say which. Where one of both gives pixels of 30 m, it is that one.
    """
    epsg, left, top, right, bottom = (
        hdf5.attribute(file, name)
        for name in ("Epsg_Code", "Product_ULcorner_easting", "Product_ULcorner_northing",
                     "Product_LRcorner_easting", "Product_LRcorner_northing")
    )  # fmt: skip
    if left is None or top is None:
        return None
    width = height = PIXEL
    x, y = float(left), float(top)
    if right is not None and bottom is not None:
        width, height = (float(right) - x) / cols, (y - float(bottom)) / rows
        between = (float(right) - x) / max(cols - 1, 1)
        if abs(between - PIXEL) < abs(width - PIXEL):
            width, height = between, (y - float(bottom)) / max(rows - 1, 1)
            x, y = x - width / 2, y + height / 2
    crs = "" if epsg is None else epsg_wkt(int(epsg))
    return Georeference(crs, (width, 0.0, x, 0.0, -height, y))
