"""GeoTIFF through rasterio: cubes and class maps, with all that programs of the field write.

Wavelengths are looked for in the metadata of the bands (`wavelength` and `wavelength_units`, as
GDAL copies them from ENVI; `CENTRAL_WAVELENGTH_UM`, as GDAL 3.10 and later name them), in the lists
of the file (`wavelength`, `bbl`), in the descriptions of the bands ("550.1 nm") and in an ENVI
header beside the file. Class names and colours come from the file's metadata, its colour table, or
the categories and the attribute table of the `.aux.xml` beside it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers import envi
from hsi.readers.extras import geo_package
from hsi.readers.wavelengths import in_words, stated_wavelengths
from hsi.readers.windowed import Raster, Window, first_words, scaled

Say = Callable[[str], None]
Color = tuple[int, int, int]

UNITS = ("wavelength_units", "wavelength_unit", "units")
VALUE_COLUMN, NAME_COLUMN, COLOR_COLUMNS = "5", "2", ("6", "7", "8")
"""GDAL's numbers of what a column of an attribute table is for."""


def open_image(path: Path, *, say: Say = print) -> Raster:
    """Open a GeoTIFF: (rows, cols, bands), read by windows.

    Raises:
        DataError: rasterio is not installed, or the file is corrupt or of complex numbers.
    """
    with _opened(path) as file:
        return _described(path, file, say)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open for reading; in each thread and process anew, as GDAL wants it."""
    rasterio = geo_package("rasterio", wanted_by=f"{path}: a GeoTIFF")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, driver="GTiff") as file:
                yield file
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{path}: truncated or corrupt TIFF ({first_words(error)}).") from error


def _described(path: Path, file: Any, say: Say) -> Raster:
    dtype = np.result_type(*(np.dtype(name) for name in file.dtypes))
    if dtype.kind not in "uif":
        raise DataError(f"{path}: {dtype} values; expected real numbers.")
    window, no_data = _window(path), _no_data(path, file, say)
    if _has_mask(file):
        fill, no_data = _of_masked(dtype, no_data)
        window = _masked(path, window, fill)
        say(f"{path.name}: pixels that its mask leaves out are taken as without data.")
    gain, offset = np.array(file.scales), np.array(file.offsets)
    if (gain != 1).any() or (offset != 0).any():
        window = scaled(window, gain, offset, no_data)
        dtype, no_data = np.dtype(np.float32), None if no_data is None else np.nan
        say(f"{path.name}: the scale factors of its bands are applied.")
    beside = _header_beside(path, file, say)
    fields = _fields(file)
    names, colors = _classes(path, file, fields)
    return Raster(
        path=path,
        files=_files(path, file, beside is not None),
        rows=file.height,
        cols=file.width,
        bands=file.count,
        dtype=dtype,
        window=window,
        wavelengths=_wavelengths(path, file, fields, beside, say),
        georeference=_georeference(file),
        no_data=no_data,
        bad_bands=_bad_bands(path, file, fields, beside),
        class_names=names,
        class_colors=colors,
        sensor=str(fields.get("sensor type", "") or ""),
    )


def _window(path: Path) -> Window:
    def read(rows: slice, cols: slice) -> np.ndarray:
        place = ((rows.start, rows.stop), (cols.start, cols.stop))
        with _opened(path) as file:
            return file.read(window=place).transpose(1, 2, 0)

    return read


def _files(path: Path, file: Any, with_header: bool) -> tuple[Path, ...]:
    """All that the raster is read from: GDAL's list, and the header that GDAL does not know."""
    known = [Path(name) for name in file.files if Path(name).is_file()] or [path]
    header = envi.find_header(path) if with_header else None
    return tuple(dict.fromkeys([*known, *([header] if header else [])]))


def _has_mask(file: Any) -> bool:
    """Whether one mask, in the file or beside it (`.msk`), says which pixels hold data.

    A band of transparency is a band, and no mask.
    """
    flags = {flag.name for flag in file.mask_flag_enums[0]}
    return "per_dataset" in flags and "alpha" not in flags


def _of_masked(dtype: np.dtype, no_data: float | None) -> tuple[float, float]:
    """What masked pixels are to hold, and the value of no data that fits it.

    Of floats NaN; of whole numbers the file's value of no data, else 0 in every band, for any
    other value may be one that was measured.
    """
    if dtype.kind == "f":
        return np.nan, np.nan if no_data is None else no_data
    limits = np.iinfo(dtype)
    if no_data is None or not (no_data.is_integer() and limits.min <= no_data <= limits.max):
        return 0.0, 0.0
    return no_data, no_data


def _masked(path: Path, window: Window, fill: float) -> Window:
    """The windows with `fill` in every band where the mask is 0."""

    def read(rows: slice, cols: slice) -> np.ndarray:
        place = ((rows.start, rows.stop), (cols.start, cols.stop))
        found = window(rows, cols)
        with _opened(path) as file:
            found[file.read_masks(1, window=place) == 0] = fill
        return found

    return read


def _no_data(path: Path, file: Any, say: Say) -> float | None:
    """The one value of all bands; said where they have several."""
    values = {None if value is None else float(value) for value in file.nodatavals}
    known = {value for value in values if value is not None and not np.isnan(value)}
    if len(known) > 1:
        say(f"{path.name}: its bands have several values of no data; none is masked.")
        return None
    if known:
        return known.pop()
    return None if values == {None} else np.nan


def _georeference(file: Any) -> Georeference | None:
    if file.crs is None and file.transform.is_identity:
        return None
    crs = file.crs.to_wkt() if file.crs else ""
    a, b, c, d, e, f = tuple(file.transform)[:6]
    return Georeference(crs, (a, b, c, d, e, f))


def _fields(file: Any) -> dict[str, Any]:
    """Metadata of the file under lower-case names, ENVI's own on top; lists in braces as lists."""
    found: dict[str, Any] = {}
    for tags in (file.tags(), file.tags(ns="ENVI")):
        for name, text in tags.items():
            is_list = text.strip().startswith("{") and text.strip().endswith("}")
            value = [word.strip() for word in text.strip(" {}\n").split(",")] if is_list else text
            found[name.lower().replace("_", " ")] = value
    return found


def _wavelengths(
    path: Path, file: Any, fields: Mapping[str, Any], beside: Mapping[str, Any] | None, say: Say
) -> np.ndarray | None:
    tags = [
        {
            name.lower(): text
            for name, text in {**file.tags(i), **file.tags(i, ns="IMAGERY")}.items()
        }
        for i in file.indexes
    ]
    for key, unit in (("wavelength", ""), ("wavelength_nm", "nm"), ("central_wavelength_um", "um")):
        listed = [tag.get(key) for tag in tags]
        if all(listed):
            named = (tags[0].get(name) for name in UNITS)
            given = unit or next(filter(None, named), str(fields.get("wavelength units", "")))
            return stated_wavelengths(path, listed, given, file.count, say=say)
    if isinstance(fields.get("wavelength"), list):
        return envi.header_wavelengths(path, fields, file.count, say=say)
    if described := in_words(file.descriptions):
        return stated_wavelengths(path, *described, file.count, say=say)
    if beside is not None and beside.get("wavelength"):
        say(f"{path.name}: wavelengths taken from the ENVI header beside it.")
        return envi.header_wavelengths(path.with_suffix(".hdr"), beside, file.count, say=say)
    return None


def _bad_bands(
    path: Path, file: Any, fields: Mapping[str, Any], beside: Mapping[str, Any] | None
) -> tuple[int, ...]:
    of_bands = [file.tags(i).get("bbl") for i in file.indexes]
    if all(of_bands):
        return tuple(i for i, text in enumerate(of_bands, start=1) if text.strip() in ("0", "0.0"))
    holder = fields if fields.get("bbl") else beside or {}
    return envi.bad_bands(path, holder, file.count)


def _header_beside(path: Path, file: Any, say: Say) -> dict[str, Any] | None:
    """An ENVI header of the same name, which the data of Houston 2013 come with.

    None where it is of an image of another size: labels may stand beside a cube so called.
    """
    header = envi.find_header(path)
    if header is None or not envi.is_header(header.read_bytes()[:64]):
        return None
    fields = envi.read_header(header)
    size = [str(fields.get(name, "")).strip() for name in ("lines", "samples", "bands")]
    if size == [str(file.height), str(file.width), str(file.count)]:
        return fields
    if file.count > 1:
        say(f"{path.name}: {header.name} beside it is of another image; not used.")
    return None


def _classes(
    path: Path, file: Any, fields: Mapping[str, Any]
) -> tuple[dict[int, str], dict[int, Color]]:
    """Names and colours of a class map; of a cube, none."""
    if file.count > 1 or np.dtype(file.dtypes[0]).kind not in "ui":
        return {}, {}
    names, colors = _from_aux(path)
    names = names or _from_fields(fields)
    try:
        table = {n: color[:3] for n, color in file.colormap(1).items() if n and any(color[:3])}
    except ValueError:  # there is none
        table = {}
    return names, {n: (int(r), int(g), int(b)) for n, (r, g, b) in table.items()} or colors


def _from_fields(fields: Mapping[str, Any]) -> dict[int, str]:
    """ENVI's list of `class names`, or a JSON object of numbers and names under that name."""
    given = fields.get("class names", "")
    if isinstance(given, list):
        joined = "{" + ",".join(given) + "}"
        found = _json(joined)
        return found or envi.class_names(fields)
    return _json(given)


def _json(text: str) -> dict[int, str]:
    try:
        return {int(number): str(name) for number, name in json.loads(text).items()}
    except (ValueError, AttributeError):
        return {}


def _from_aux(path: Path) -> tuple[dict[int, str], dict[int, Color]]:
    """Names and colours from GDAL's file beside the image: attribute table, else categories."""
    beside = path.with_name(path.name + ".aux.xml")
    if not beside.is_file():
        return {}, {}
    try:
        band = ElementTree.fromstring(beside.read_bytes()).find("PAMRasterBand")
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{beside}: cannot be read ({first_words(error)}); delete it.") from error
    table = None if band is None else band.find("GDALRasterAttributeTable")
    if table is not None:
        try:
            return _from_table(table)
        except (ValueError, IndexError, OverflowError) as error:
            raise DataError(
                f"{beside}: expected numbers in its attribute table ({first_words(error)}); "
                "delete it."
            ) from error
    names = [] if band is None else band.findall("CategoryNames/Category")
    return {n: item.text for n, item in enumerate(names) if n and item.text}, {}


def _from_table(table: ElementTree.Element) -> tuple[dict[int, str], dict[int, Color]]:
    usages = {
        field.findtext("Usage", ""): int(field.get("index", 0))
        for field in table.findall("FieldDefn")
    }
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for position, row in enumerate(table.findall("Row")):
        cells = [cell.text or "" for cell in row.findall("F")]
        number = int(float(cells[usages[VALUE_COLUMN]])) if VALUE_COLUMN in usages else position
        if not number:
            continue
        if NAME_COLUMN in usages:
            names[number] = cells[usages[NAME_COLUMN]]
        if all(column in usages for column in COLOR_COLUMNS):
            colors[number] = _color([cells[usages[column]] for column in COLOR_COLUMNS])
    return names, colors


def _color(cells: Sequence[str]) -> Color:
    red, green, blue = (int(float(cell)) for cell in cells)
    return red, green, blue
