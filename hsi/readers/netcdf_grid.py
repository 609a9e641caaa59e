"""Where the pixels of a NetCDF file lie: its axes, their coordinates, and its grid mapping.

A grid mapping is that of the CF conventions 1.8, with GDAL's `GeoTransform`. Where that and the
coordinates of the pixels disagree the coordinates hold, as in CF: GDAL writes rows from south to
north and a `GeoTransform` from north to south.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hsi.georeference import SAME_PIXEL, Georeference, from_gdal
from hsi.readers import hdf5
from hsi.readers.wavelengths import OF_LIGHT

ROWS = ("y", "row", "rows", "lat", "latitude", "northing", "downtrack", "line", "lines",
        "nrows", "number_of_lines", "height")  # fmt: skip
COLS = ("x", "col", "cols", "lon", "longitude", "easting", "crosstrack", "sample", "samples",
        "columns", "ncols", "pixels_per_line", "width")  # fmt: skip
"""Names of axes. Of several the first of the list holds: `height` beside `lat` is a level."""
BANDS = ("band", "wavelength", "channel", "spectral")
"""The name of an axis of bands has one of these in it."""


def named_axes(item: Any) -> hdf5.Axes | None:
    """Where rows, columns and, of cubes, bands stand, by names; None where these do not tell.

    Of a cube the axis of bands is enough, also known by its coordinates: of the two others, where
    no name says otherwise, the first is rows.
    """
    names = [axis_name(axis).lower() for axis in item.dims]
    rows, cols = (
        next((names.index(name) for name in known if name in names), None) for known in (ROWS, COLS)
    )
    places = range(item.ndim)
    if rows is not None and cols is not None:
        return (rows, cols, *(place for place in places if place not in (rows, cols)))
    others = [place for place in places if place not in (rows, cols)]
    bands = [place for place in others if any(word in names[place] for word in BANDS)]
    bands = bands or [place for place in others if _is_of_light(item.dims[place])]
    if item.ndim != 3 or len(bands) != 1:
        return None
    first, second = (place for place in places if place != bands[0])
    if rows == second or cols == first:
        first, second = second, first
    return (first, second, bands[0])


def _is_of_light(axis: Any) -> bool:
    """Whether the coordinates of an axis are wavelengths."""
    if not len(axis):
        return False
    unit = str(hdf5.attribute(axis[0], "units") or "").strip().lower()
    return unit in OF_LIGHT or "wavelength" in str(hdf5.attribute(axis[0], "standard_name"))


def of_variable(file: Any, item: Any, axes: hdf5.Axes) -> Georeference | None:
    """From the grid mapping or the file's own attributes, and the coordinates of the pixels."""
    holder = _grid_mapping(item, [axis_name(item.dims[axis]) for axis in axes[:2]])
    holder = file if holder is None else holder
    crs = str(hdf5.attribute(holder, "crs_wkt", "spatial_ref") or "")
    given = hdf5.attribute(holder, "GeoTransform", "geotransform")
    if isinstance(given, str):
        given = [float(word) for word in re.split(r"[\s,]+", given.strip(" []{}"))]
    down, across = (_coordinates(item.dims[axis]) for axis in axes[:2])
    if given is not None and len(given) == 6:
        return _as_stored(from_gdal(crs, given), down, across)
    return _of_coordinates(crs, down, across)


def _grid_mapping(item: Any, axes: list[str]) -> Any:
    """The variable with the reference system of these axes, from the group on upwards; or None.

    CF has its name alone or, where there are several, as "name: x y other: lat lon".
    """
    text = str(hdf5.attribute(item, "grid_mapping") or "")
    several = re.findall(r"(\S+):((?:\s+[^\s:]+(?=\s|$))*)", text)
    fitting = [name for name, words in several if set(axes) <= set(words.split())]
    name = (fitting or [name for name, _ in several] or [text.strip()])[0]
    return next((group[name] for group in groups(item) if name and name in group), None)


def groups(item: Any) -> list[Any]:
    """The group that a variable stands in, and those above it up to the root."""
    found = [item.parent]
    while found[-1].name != "/":
        found.append(found[-1].parent)
    return found


def _coordinates(axis: Any) -> np.ndarray:
    """The coordinates of the pixels along an axis, two or more; else an empty array."""
    if not len(axis) or axis[0].ndim != 1 or len(axis[0]) < 2 or axis[0].dtype.kind not in "iuf":
        return np.empty(0)
    gain, offset = (hdf5.attribute(axis[0], name) for name in ("scale_factor", "add_offset"))
    values = axis[0][()].astype(np.float64)
    values = values * (1.0 if gain is None else gain) + (0.0 if offset is None else offset)
    return values if np.isfinite(values).all() else np.empty(0)


def _as_stored(given: Georeference, down: np.ndarray, across: np.ndarray) -> Georeference:
    """The grid of a `GeoTransform`, or that of the coordinates where both disagree.

    Coordinates of another unit, or too coarse to be evenly spaced, say only which way they run.
    """
    a, b, c, d, e, f = given.transform
    if b or d or (_are_numbers(down) and _are_numbers(across)):
        return given
    found = _of_coordinates(given.crs, down, across)
    if found is not None:
        steps = np.abs([found.transform[0] / a, found.transform[4] / e])
        if np.abs(steps - 1).max() < SAME_PIXEL:
            same = given.same_grid(found, rows=len(down), cols=len(across))
            return given if same else found
    if len(across) and (across[-1] - across[0]) * a < 0:
        a, c = -a, c + a * len(across)
    if len(down) and (down[-1] - down[0]) * e < 0:
        e, f = -e, f + e * len(down)
    return Georeference(given.crs, (a, b, c, d, e, f))


def of_the_file(file: Any) -> Georeference | None:
    crs = str(hdf5.attribute(file, "spatial_ref", "crs_wkt") or "")
    given = hdf5.attribute(file, "geotransform", "GeoTransform")
    return None if given is None else from_gdal(crs, given)


def _of_coordinates(crs: str, down: np.ndarray, across: np.ndarray) -> Georeference | None:
    """The grid whose pixel centres are these coordinates; None unless they are evenly spaced."""
    if not crs and _are_numbers(down) and _are_numbers(across):
        return None
    steps, corners = [], []
    for values in (down, across):
        step = (values[-1] - values[0]) / (len(values) - 1) if len(values) else 0.0
        if not step or np.abs(np.diff(values) - step).max() > 1e-3 * abs(step):
            return None
        steps.append(float(step))
        corners.append(float(values[0] - step / 2))
    return Georeference(crs, (steps[1], 0.0, corners[1], 0.0, steps[0], corners[0]))


def _are_numbers(values: np.ndarray) -> bool:
    """Whether coordinates only number rows or columns, from 0 or 1, which is no map."""
    return len(values) > 0 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def axis_name(axis: Any) -> str:
    return axis.label or (axis[0].name.rpartition("/")[2] if len(axis) else "")
