"""HDF5 as the sensors' formats use it: attributes as plain values, arrays by windows.

Of an array that is no NetCDF the attributes of CF are understood (`_FillValue`, `missing_value`,
`scale_factor`, `add_offset`) and those of NEON (`Data_Ignore_Value`, and `Scale_Factor`, which
divides).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.readers.matlab import BROKEN
from hsi.readers.windowed import Raster, Window, first_words, scaled
from hsi.scene import holds, without_data

Axes = tuple[int, ...]
"""Where rows, columns and, of cubes, bands stand among the axes of a stored array."""
NO_DATA = ("_FillValue", "missing_value", "Data_Ignore_Value")
GAIN, OFFSET, DIVISOR = "scale_factor", "add_offset", "Scale_Factor"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open for reading.

    Raises:
        DataError: it is truncated or corrupt, or what is read in the block is.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except BROKEN as error:
        raise DataError(
            f"{path}: truncated or corrupt, download or save it again ({first_words(error)})."
        ) from error


def attribute(item: Any, *names: str) -> Any:
    """The first of these attributes that is there, as a plain value or an array; else None."""
    found = next((item.attrs[name] for name in names if name in item.attrs), None)
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.ravel()[0]
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    return found.item() if isinstance(found, np.generic) else found


def arrays(file: Any) -> dict[str, Any]:
    """Every array of a file by its path, those in groups as "group/array"."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("#"):
            found[name] = item

    file.visititems(visit)
    return found


def window(
    path: Path, name: str, axes: Axes = (0, 1, 2), bands: np.ndarray | None = None
) -> Window:
    """Windows of a stored array, read by slicing.

    Args:
        path, name: the file and the array in it.
        axes: the stored axis of rows, of columns and, where it has bands, of bands.
        bands: the stored numbers of the bands, from 0, in the order wanted; None for all.
    """

    def read(rows: slice, cols: slice) -> np.ndarray:
        with opened(path) as file:
            place = [slice(None)] * len(axes)
            place[axes[0]], place[axes[1]] = rows, cols
            stored = np.asarray(file[name][tuple(place)]).transpose(axes)
        stored = stored.reshape(*stored.shape[:2], -1)
        return stored if bands is None else stored[:, :, bands]

    return read


def as_stated(raster: Raster, *, say: Callable[[str], None] = print) -> Raster:
    """The raster with no data and scale factors as the attributes of its array state them.

    Args:
        raster: of a stored array; its key is the array's name in the file.
        say: called with one line that names the attributes, where there are any to use.

    Returns:
        The same raster where nothing is stated; else one whose values are stored x scale_factor +
        add_offset, or stored / Scale_Factor, in float32, where these change anything.

    Raises:
        DataError: an attribute that is no number, or a factor that no value can be scaled by.
    """
    where = f"{raster.path}:{raster.key}"
    with opened(raster.path) as file:
        item = file[raster.key]
        given = {
            name: attribute(item, name)
            for name in (*NO_DATA, GAIN, OFFSET, DIVISOR)
            if name in item.attrs
        }
    if GAIN in given:
        given.pop(DIVISOR, None)  # the convention holds where a file has both
    stated = {name: _numbers(where, name, value, raster.bands) for name, value in given.items()}
    marks = {name: _storable(stated[name], raster.dtype) for name in NO_DATA if name in stated}
    values = list(dict.fromkeys(value for found in marks.values() for value in found))
    gain = np.broadcast_to(stated.get(GAIN, 1 / stated.get(DIVISOR, np.ones(1))), raster.bands)
    offset = np.broadcast_to(stated.get(OFFSET, np.zeros(1)), raster.bands)
    scales = bool((gain != 1).any() or (offset != 0).any())
    used = [name for name, found in marks.items() if found]
    used += [name for name in (GAIN, OFFSET, DIVISOR) if scales and name in stated]
    if not used:
        return raster
    window, dtype = raster.window, raster.dtype
    values.sort(key=lambda value: value == 0)  # a 0 marks whole pixels only, others any band
    no_data = values[0] if values else None
    if len(values) > 1:
        window = _one_mark(window, values)
    if scales:
        window, dtype = scaled(window, gain, offset, no_data), np.dtype(np.float32)
        no_data = None if no_data is None else np.nan
    say(
        f"{raster.path.name}: {', '.join(used)} of {raster.key!r} used"
        f"{'; values are divided by Scale_Factor' if DIVISOR in used else ''}."
    )
    array = raster.array if window is raster.window else None
    return replace(raster, window=window, dtype=dtype, no_data=no_data, array=array)


def _numbers(where: str, name: str, given: Any, bands: int) -> np.ndarray:
    """An attribute as float64: of factors one number or one of each band, not 0."""
    try:
        values = np.ravel(np.asarray(given, np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if name in NO_DATA:
        expected, fits = "a number", values.size > 0
    else:
        expected = f"{'numbers' if name == OFFSET else 'factors other than 0'}, one or {bands}"
        fits = values.size in (1, bands) and bool(np.isfinite(values).all())
        fits = fits and (name == OFFSET or bool((values != 0).all()))
    if not fits:
        got = repr(given) if values.size < 2 else f"{values.size} numbers"
        raise DataError(
            f"{where}: expected {expected}, in the attribute {name!r}, got {got[:40]}; correct it."
        )
    return values


def _storable(values: np.ndarray, dtype: np.dtype) -> list[float]:
    """Those of the values that an array of this type can hold."""
    if dtype.kind == "f":
        return list(values.tolist())
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return [value for value in values.tolist() if value.is_integer() and low <= value <= high]


def _one_mark(window: Window, values: list[float]) -> Window:
    """Windows in which the first of these values stands for the others too."""

    def read(rows: slice, cols: slice) -> np.ndarray:
        found = np.array(window(rows, cols))
        for value in values[1:]:
            found[without_data(found, 0.0) if value == 0 else holds(found, value)] = values[0]
        return found

    return read
