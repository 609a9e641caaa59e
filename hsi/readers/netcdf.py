"""NetCDF 4, which is HDF5 with names for axes: cubes of EMIT, and those written here.

Understood: axes by their names, `_FillValue` and `missing_value`, `_Unsigned`, `scale_factor` and
`add_offset`, wavelengths and good bands as variables (of the cube's group or one above, or of
EMIT's group `sensor_band_parameters` in it), and the map as a grid mapping (CF conventions 1.8,
with GDAL's `GeoTransform`) or as `spatial_ref` and `geotransform` of the file, as EMIT has them.
Where `GeoTransform` and the coordinates of the pixels disagree the coordinates hold, as in CF: GDAL
writes rows from south to north and a `GeoTransform` from north to south. The map of EMIT holds for
its lookup table, not for the reflectance, which is as sensed: `FILE:ortho` reads through the table
(Green et al. 2020, EMIT).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers import hdf5, netcdf_grid
from hsi.readers.choose import Kind, check_key, choose_key
from hsi.readers.matlab import Contents
from hsi.readers.wavelengths import NANOMETRES, stated_wavelengths
from hsi.readers.windowed import Raster, Window, scaled
from hsi.scene import holds

Say = Callable[[str], None]

BAND_GROUP = "sensor_band_parameters"
WAVELENGTHS = ("wavelengths", "wavelength")
GOOD_BANDS = ("good_wavelengths", "good_bands", "bbl")
ORTHO, REFLECTANCE = "ortho", "reflectance"
"""The key of EMIT's reflectance on its map, and the variable behind it."""
LOOKUP = ("location/glt_y", "location/glt_x")
"""EMIT's lookup table: line and sample, from 1, of each pixel of the map; 0 without data."""
MISSING = ("_FillValue", "missing_value")
BARE = "This is a netCDF dimension but not a netCDF variable"
"""How the NAME of an array begins that only gives an axis its name and length."""
NO_DATA = -9999.0
"""What pixels of EMIT's map hold off the swath, where the file does not say."""
ROWS_AT_ONCE = 64


def is_netcdf(path: Path) -> bool:
    """Whether an HDF5 file names its axes as NetCDF does, or is laid out as EMIT's."""
    with hdf5.opened(path) as file:
        if "_NCProperties" in file.attrs or BAND_GROUP in file:
            return True
        return any("DIMENSION_LIST" in item.attrs for item in hdf5.arrays(file).values())


def open_image(
    path: Path,
    key: str | None,
    *,
    kind: Kind = "cube",
    shape: tuple[int, ...] | None = None,
    say: Say = print,
) -> Raster:
    """Open one variable of a NetCDF 4 file.

    Args:
        path: the file.
        key: the variable, groups before it as "group/variable"; "ortho" is EMIT's reflectance on
            its map; None where it is to be chosen by shape and type.
        kind, shape: of what is wanted, for the choice.
        say: called with one line for each thing worth knowing.

    Raises:
        DataError: the file is corrupt, or holds no such variable.
    """
    with hdf5.opened(path) as file:
        variables = {
            name: item
            for name, item in hdf5.arrays(file).items()
            if hdf5.attribute(item, "CLASS") != "DIMENSION_SCALE" and name not in LOOKUP
        }
        contents: Contents = {
            name: (item.shape, str(item.dtype.newbyteorder("=")))
            for name, item in variables.items()
        }
        if key == ORTHO and ORTHO not in variables and LOOKUP[0] in file:
            check_key(path, contents, REFLECTANCE, kind)
            return _on_the_map(path, file, say)
        if key is None:
            key = choose_key(path, contents, kind, shape, lambda name: _load(variables[name]), say)
        check_key(path, contents, key, kind)
        return _open_variable(path, file, key, say)


def _open_variable(path: Path, file: Any, name: str, say: Say) -> Raster:
    item = file[name]
    if item.ndim not in (2, 3):
        raise DataError(
            f"{path}:{name}: {item.ndim} axes; expected rows and columns, of a cube also bands."
        )
    axes, dtype = _axes(item), _dtype(item)
    if item.ndim == 3 and netcdf_grid.named_axes(item) is None:
        names = ", ".join(netcdf_grid.axis_name(axis) or "without a name" for axis in item.dims)
        rows, cols, bands = item.shape
        say(
            f"{path.name}: axes of {name!r} not known by name ({names}); taken as stored: "
            f"{rows} rows, {cols} columns, {bands} bands."
        )
    rows, cols = item.shape[axes[0]], item.shape[axes[1]]
    sensed = LOOKUP[0] in file
    if sensed and item.ndim == 3:
        say(f"{path.name}: as sensed, not on a map; {path}:{ORTHO} reads it on its map.")
    missing = _missing(item, dtype)
    window = _values(hdf5.window(path, name, axes), dtype, missing)
    georeference = None if sensed else netcdf_grid.of_variable(file, item, axes)
    no_data = missing[0] if missing else None
    return _raster(path, file, name, (rows, cols), window, georeference, no_data, say)


def _on_the_map(path: Path, file: Any, say: Say) -> Raster:
    """EMIT's reflectance in the rows and columns of its lookup table."""
    shape, item = file[LOOKUP[0]].shape, file[REFLECTANCE]
    dtype = _dtype(item)
    default = float(np.iinfo(dtype).max) if dtype.kind == "u" else NO_DATA
    missing = _missing(item, dtype) or [default]
    window = _values(_through_lookup(path, REFLECTANCE, dtype, missing[0]), dtype, missing)
    grid = netcdf_grid.of_the_file(file)
    return _raster(path, file, REFLECTANCE, shape, window, grid, missing[0], say)


def _raster(
    path: Path,
    file: Any,
    name: str,
    shape: tuple[int, int],
    window: Window,
    georeference: Georeference | None,
    no_data: float | None,
    say: Say,
) -> Raster:
    item = file[name]
    axes, dtype = _axes(item), _dtype(item)
    bands = item.shape[axes[2]] if item.ndim == 3 else 1
    gain = _factors(path, item, "scale_factor", 1.0, bands)
    offset = _factors(path, item, "add_offset", 0.0, bands)
    if (gain != 1).any() or (offset != 0).any():
        window = scaled(window, gain, offset, no_data)
        dtype, no_data = np.dtype(np.float32), None if no_data is None else np.nan
        say(f"{path.name}: its scale factors are applied.")
    good = _of_bands(item, GOOD_BANDS, bands)
    return Raster(
        path=path,
        files=(path,),
        rows=shape[0],
        cols=shape[1],
        bands=bands,
        dtype=dtype,
        window=window,
        key=name,
        wavelengths=_wavelengths(path, item, bands, say) if item.ndim == 3 else None,
        georeference=georeference,
        no_data=None if no_data is None else float(no_data),
        bad_bands=() if good is None else tuple(int(b) + 1 for b in np.flatnonzero(good[()] == 0)),
        class_names=_class_names(item),
        sensor=str(hdf5.attribute(file, "instrument", "sensor") or ""),
    )


def _factors(path: Path, item: Any, name: str, neutral: float, bands: int) -> np.ndarray:
    """`scale_factor` or `add_offset` as (bands,), from one number or one of each band."""
    given = hdf5.attribute(item, name)
    try:
        values = np.ravel(np.asarray(neutral if given is None else given, np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if len(values) not in (1, bands):
        got = repr(given) if isinstance(given, str) else f"{np.size(given)} numbers"
        raise DataError(
            f"{path}:{item.name.lstrip('/')}: expected {name} as one number or {bands}, one per "
            f"band, got {got}; correct that attribute."
        )
    return np.broadcast_to(values, bands)


def _axes(item: Any) -> hdf5.Axes:
    """Where rows, columns and bands stand; as stored where the axes have no known names."""
    return netcdf_grid.named_axes(item) or tuple(range(item.ndim))


def _dtype(item: Any) -> np.dtype:
    """The type of the values: unsigned where `_Unsigned` says so of signed whole numbers."""
    stored: np.dtype = item.dtype
    unsigned = str(hdf5.attribute(item, "_Unsigned")).strip().lower() == "true"
    return np.dtype(stored.str.replace("i", "u")) if unsigned and stored.kind == "i" else stored


def _load(item: Any) -> np.ndarray:
    return np.asarray(item[()]).view(_dtype(item))


def _missing(item: Any, dtype: np.dtype) -> list[float]:
    """The values of no data as `dtype` has them, that which is to stand for all of them first."""
    found = [value for name in MISSING for value in _numbers(hdf5.attribute(item, name))]
    if dtype != item.dtype:  # stored as signed, like the pixels
        found = [value % 2 ** (8 * dtype.itemsize) for value in found]
    # A value that no pixel can hold cannot stand for others. A 0 is none in single bands.
    found = [value for value in found if _can_be(value, dtype)] or found[:1]
    return sorted(dict.fromkeys(found), key=lambda value: value == 0)


def _numbers(given: Any) -> list[float]:
    """Whole numbers as such, for a float does not hold every one of 64 bits."""
    values = np.ravel(given).tolist()
    try:
        return [value if isinstance(value, int) else float(value) for value in values]
    except (TypeError, ValueError):
        return []  # no such attribute, or a text, which no pixel holds


def _can_be(value: float, dtype: np.dtype) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _values(window: Window, dtype: np.dtype, missing: list[float]) -> Window:
    """Windows of the values: as `dtype`, and the first of `missing` in place of the others."""

    def read(rows: slice, cols: slice) -> np.ndarray:
        values = window(rows, cols).view(dtype)
        for other in missing[1:]:
            gone = holds(values, other)
            # A 0 may be a dark pixel: it is no data where every band holds it.
            values[gone.all(axis=-1) if other == 0 else gone] = missing[0]
        return values

    return read


def _of_bands(item: Any, names: tuple[str, ...], bands: int) -> Any:
    """The first of these variables with a value for each band, from the group on upwards; or None.

    In each group EMIT's group of bands comes first.
    """
    for group in netcdf_grid.groups(item):
        for place in (*(f"{BAND_GROUP}/{name}" for name in names), *names):
            found = group.get(place)
            if getattr(found, "shape", None) != (bands,):
                continue
            if not str(hdf5.attribute(found, "NAME")).startswith(BARE):
                return found
    return None


def _wavelengths(path: Path, item: Any, bands: int, say: Say) -> np.ndarray | None:
    """Of the variable called so, else of the axis of bands where it is in a unit of length."""
    found = _of_bands(item, WAVELENGTHS, bands)
    axis = item.dims[_axes(item)[2]]
    if found is None and len(axis):
        unit = str(hdf5.attribute(axis[0], "units") or "").strip().lower()
        found = axis[0] if unit in NANOMETRES else None
    if found is None:
        return None
    unit = str(hdf5.attribute(found, "units") or "")
    return stated_wavelengths(path, found[()].tolist(), unit, bands, say=say)


def _class_names(item: Any) -> dict[int, str]:
    """From CF's flag_values and flag_meanings, words with blanks between."""
    values, meanings = (hdf5.attribute(item, name) for name in ("flag_values", "flag_meanings"))
    if values is None or not isinstance(meanings, str):
        return {}
    numbers = [int(value) for value in np.ravel(values)]
    words = [word.replace("_", " ") for word in meanings.split()]
    named = zip(numbers, words, strict=False) if len(numbers) == len(words) else ()
    return {number: word for number, word in named if number}


def _through_lookup(path: Path, name: str, dtype: np.dtype, fill: float) -> Window:
    """Windows of the map: each pixel is that of the sensed line and sample in EMIT's table.

    They are of `dtype`, as which the stored values are viewed; `fill` stands off the swath.
    """

    def read(rows: slice, cols: slice) -> np.ndarray:
        with hdf5.opened(path) as file:
            item = file[name]
            down, across = (np.asarray(file[part][rows, cols], np.int64) - 1 for part in LOOKUP)
            inside = (down >= 0) & (across >= 0)
            found = np.full((*down.shape, item.shape[2]), fill, dtype)
            if not inside.any():
                return found
            left, right = across[inside].min(), across[inside].max() + 1
            # In pieces: the lines that a narrow window needs may be many, for the map is turned.
            for start in range(int(down[inside].min()), int(down[inside].max()) + 1, ROWS_AT_ONCE):
                here = inside & (down >= start) & (down < start + ROWS_AT_ONCE)
                if here.any():
                    block = item[start : start + ROWS_AT_ONCE, left:right].view(dtype)
                    found[here] = block[down[here] - start, across[here] - left]
            return found

    return read
