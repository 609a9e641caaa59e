"""Cubes (of spectra, or of attributions) in files that other programs open: ENVI, NetCDF, GeoTIFF.

A cube goes into its file piece by piece, so it may be a memory map that is larger than the memory.
All of them are read back by `hsi.readers`, with wavelengths and georeference.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import OutputError, SettingsError, one_of
from hsi.files import atomic_path, write_text
from hsi.georeference import Georeference, to_envi, to_gdal, to_rasterio
from hsi.readers.extras import geo_package
from hsi.readers.windowed import first_words

ENVI_TYPES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
"""Type of an array -> ENVI's number for it."""
INTERLEAVES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}
"""The order in which rows, columns and bands stand in a file."""
PIECE_BYTES = 1 << 24


def write_envi(
    path: str | Path,
    cube: np.ndarray,
    *,
    wavelengths: np.ndarray | None = None,
    georeference: Georeference | None = None,
    band_names: Sequence[str] = (),
    bad_bands: Sequence[int] = (),
    no_data: float | None = None,
    interleave: str = "bsq",
    description: str = "",
) -> list[Path]:
    """Write a cube as an ENVI header and its data beside it (`.img`), each whole or not at all.

    Args:
        path: of the header; another ending than `.hdr` becomes that.
        cube: (rows, cols, bands) real numbers; may be a memory map.
        wavelengths: (bands,) nm.
        georeference: its grid on the Earth.
        band_names: one for each band; commas and braces become blanks.
        bad_bands: 1-based numbers of bands to be marked as bad (`bbl`).
        no_data: the value of pixels without data.
        interleave: "bsq", "bil" or "bip".

    Returns:
        The header and the data file.

    Raises:
        OutputError: the files cannot be written.
        DataError: a grid that ENVI cannot say.
        SettingsError: an unknown interleave, names or wavelengths of another number of bands, or
            values of a type that ENVI has not.
    """
    header = Path(path).with_suffix(".hdr")
    _check(header, cube, wavelengths, band_names)
    order = INTERLEAVES[one_of(interleave, INTERLEAVES, what="interleave")]
    rows, cols, bands = cube.shape
    kind = cube.dtype.newbyteorder("<")
    if kind.str[1:] not in ENVI_TYPES:
        raise SettingsError(f"{header}: ENVI has no {cube.dtype}; expected float32, for example.")
    fields: dict[str, Any] = {
        "description": _listed([description or "Written by hsi"]),
        "samples": cols, "lines": rows, "bands": bands, "header offset": 0,
        "file type": "ENVI Standard", "data type": ENVI_TYPES[kind.str[1:]],
        "interleave": interleave, "byte order": 0,
    }  # fmt: skip
    if no_data is not None:
        fields["data ignore value"] = repr(float(no_data))
    if wavelengths is not None:
        fields["wavelength units"] = "Nanometers"
        fields["wavelength"] = _listed(repr(float(value)) for value in wavelengths)
    if bad_bands:
        fields["bbl"] = _listed(int(band not in bad_bands) for band in range(1, bands + 1))
    if band_names:
        fields["band names"] = _listed(band_names)
    if georeference is not None:
        fields |= to_envi(georeference)
    data = header.with_suffix(".img")
    with atomic_path(data) as temporary, temporary.open("wb") as file:
        for piece in _pieces(cube.transpose(order)):
            file.write(piece.astype(kind, copy=False).tobytes())
    write_text(header, "\n".join(["ENVI", *(f"{n} = {v}" for n, v in fields.items())]) + "\n")
    return [header, data]


def write_netcdf(
    path: str | Path,
    cube: np.ndarray,
    *,
    name: str = "reflectance",
    wavelengths: np.ndarray | None = None,
    georeference: Georeference | None = None,
    band_names: Sequence[str] = (),
    bad_bands: Sequence[int] = (),
    no_data: float | None = None,
    description: str = "",
) -> list[Path]:
    """Write a cube as NetCDF 4 by the CF conventions 1.8, axes (wavelength or band, y, x).

    Wavelengths are the coordinates of the first axis; the grid mapping has the reference system as
    WKT and, for GDAL, the six numbers of the grid. Arguments as of `write_envi`; `name` is that of
    the variable.

    Raises:
        OutputError: the file cannot be written.
        DataError: h5netcdf is not installed.
        SettingsError: names or wavelengths of another number of bands, or a value of no data that
            numbers of the cube's type cannot be.
    """
    path = Path(path)
    h5netcdf = geo_package("h5netcdf", wanted_by=f"{path}: writing NetCDF")
    _check(path, cube, wavelengths, band_names)
    _check_no_data(path, cube.dtype, no_data)
    rows, cols, bands = cube.shape
    axis = "band" if wavelengths is None else "wavelength"
    with atomic_path(path) as temporary, h5netcdf.File(temporary, "w") as file:
        file.attrs["Conventions"] = "CF-1.8"
        file.attrs["title"] = description or "Written by hsi"
        file.dimensions = {axis: bands, "y": rows, "x": cols}
        if wavelengths is not None:
            _coordinate(file, axis, wavelengths, units="nm", long_name="wavelength")
        fill = None if no_data is None else cube.dtype.type(no_data)
        piece = max(1, PIECE_BYTES // max(1, rows * cols * cube.itemsize))
        variable = file.create_variable(
            name, (axis, "y", "x"), cube.dtype.newbyteorder("="), fillvalue=fill,
            compression="gzip", compression_opts=4, shuffle=True,
            chunks=(min(bands, 32), min(rows, 64), min(cols, 64)),
        )  # fmt: skip
        for start in range(0, bands, piece):
            variable[start : start + piece] = np.moveaxis(cube[:, :, start : start + piece], 2, 0)
        if bad_bands:
            good = np.array([band not in bad_bands for band in range(1, bands + 1)], np.uint8)
            file.create_variable("good_bands", (axis,), data=good)
        if band_names:
            variable.attrs["band_names"] = ", ".join(band_names)
        if georeference is not None:
            _map(file, variable, georeference, rows, cols)
    return [path]


def write_geotiff(
    path: str | Path,
    cube: np.ndarray,
    *,
    wavelengths: np.ndarray | None = None,
    georeference: Georeference | None = None,
    band_names: Sequence[str] = (),
    bad_bands: Sequence[int] = (),
    no_data: float | None = None,
    interleave: str = "bsq",
    description: str = "",
) -> list[Path]:
    """Write a cube as GeoTIFF, its wavelengths in the metadata of the bands as GDAL keeps ENVI's.

    Arguments as of `write_envi`; "bil" is no interleave of TIFF.

    Raises:
        OutputError: the file cannot be written.
        DataError: rasterio is not installed, or GDAL cannot read the reference system.
        SettingsError: an unknown interleave, names or wavelengths of another number of bands, a
            type that GeoTIFF has not, or a value of no data that numbers of that type cannot be.
    """
    path = Path(path)
    rasterio = geo_package("rasterio", wanted_by=f"{path}: a GeoTIFF")
    _check(path, cube, wavelengths, band_names)
    _check_no_data(path, cube.dtype, no_data)
    if not rasterio.dtypes.check_dtype(cube.dtype.newbyteorder("=").name):
        raise SettingsError(f"{path}: GeoTIFF has no {cube.dtype}; expected float32, for example.")
    layout = {"bsq": "band", "bip": "pixel"}
    options: dict[str, Any] = {
        "driver": "GTiff", "height": cube.shape[0], "width": cube.shape[1],
        "count": cube.shape[2], "dtype": cube.dtype.newbyteorder("=").name, "nodata": no_data,
        "interleave": layout[one_of(interleave, layout, what="interleave")], "tiled": True,
        "blockxsize": 64, "blockysize": 64, "compress": "deflate", "bigtiff": "IF_SAFER",
    }  # fmt: skip
    if georeference is not None:
        options |= to_rasterio(georeference, where=str(path))
    with atomic_path(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(temporary, "w", **options) as file:
                    _fill_tiff(file, cube)
                    _describe_bands(file, wavelengths, band_names, bad_bands)
                    file.update_tags(TIFFTAG_IMAGEDESCRIPTION=description or "Written by hsi")
        except rasterio.errors.RasterioError as error:
            raise OutputError(f"{path}: cannot be written: {first_words(error)}.") from error
    return [path]


def _fill_tiff(file: Any, cube: np.ndarray) -> None:
    step = max(1, PIECE_BYTES // max(1, cube[:64].nbytes)) * 64
    for top in range(0, len(cube), step):
        piece = np.ascontiguousarray(np.moveaxis(cube[top : top + step], 2, 0))
        file.write(piece, window=((top, top + piece.shape[1]), (0, piece.shape[2])))


def _describe_bands(
    file: Any,
    wavelengths: np.ndarray | None,
    band_names: Sequence[str],
    bad_bands: Sequence[int],
) -> None:
    for band in file.indexes:
        if wavelengths is not None:
            value = repr(float(wavelengths[band - 1]))
            file.update_tags(band, wavelength=value, wavelength_units="Nanometers")
        if bad_bands:
            file.update_tags(band, bbl=str(int(band not in bad_bands)))
        if band_names:
            file.set_band_description(band, band_names[band - 1])


def _check(
    path: Path, cube: np.ndarray, wavelengths: np.ndarray | None, names: Sequence[str]
) -> None:
    if cube.ndim != 3 or not cube.size or cube.dtype.kind not in "uif":
        raise SettingsError(
            f"{path}: expected a cube of real numbers (rows, cols, bands), got {cube.dtype} of "
            f"{cube.shape}."
        )
    for what, given in (("wavelengths", wavelengths), ("band names", names or None)):
        if given is not None and len(given) != cube.shape[2]:
            raise SettingsError(
                f"{path}: expected {cube.shape[2]} {what}, one per band, got {len(given)}."
            )


def _check_no_data(path: Path, dtype: np.dtype, value: float | None) -> None:
    if value is None or (dtype.kind == "f" and not np.isfinite(value)):
        return
    whole = dtype.kind != "f"
    limits = np.iinfo(dtype) if whole else np.finfo(dtype)
    least, most = (int(end) if whole else float(end) for end in (limits.min, limits.max))
    if (whole and not float(value).is_integer()) or not least <= value <= most:
        raise SettingsError(
            f"{path}: no data as {value:g} in values of {dtype}, which cannot be that; expected "
            f"{'a whole number ' if whole else ''}from {least} to {most}."
        )


def _pieces(stored: np.ndarray) -> Iterator[np.ndarray]:
    """An array along its first axis, in pieces of bounded size."""
    step = max(1, PIECE_BYTES // max(1, stored[:1].nbytes))
    for start in range(0, len(stored), step):
        yield np.ascontiguousarray(stored[start : start + step])


def _listed(values: Any) -> str:
    """A list of an ENVI header; the marks that divide and end it become blanks."""
    words = (str(value).translate(str.maketrans(",{}\n", "    ")).strip() for value in values)
    return "{" + ", ".join(words) + "}"


def _coordinate(file: Any, name: str, values: np.ndarray, **attributes: str) -> None:
    variable = file.create_variable(name, (name,), data=np.asarray(values, np.float64))
    variable.attrs.update(attributes)


def _map(file: Any, variable: Any, georeference: Georeference, rows: int, cols: int) -> None:
    """The grid mapping and, of grids that are not turned, the coordinates of the pixels."""
    mapping = file.create_variable("spatial_ref", (), np.int32, data=np.int32(0))
    if georeference.crs:
        mapping.attrs["crs_wkt"] = mapping.attrs["spatial_ref"] = georeference.crs
    mapping.attrs["GeoTransform"] = " ".join(repr(value) for value in to_gdal(georeference))
    variable.attrs["grid_mapping"] = "spatial_ref"
    if georeference.transform[1] or georeference.transform[3]:
        return
    across = np.array([georeference.xy(0.5, col + 0.5)[0] for col in range(cols)])
    down = np.array([georeference.xy(row + 0.5, 0.5)[1] for row in range(rows)])
    geographic = georeference.crs.lstrip().upper().startswith("GEOG")
    plain = ("projection_x_coordinate", "projection_y_coordinate")
    kinds = ("longitude", "latitude") if geographic else plain
    units = ("degrees_east", "degrees_north") if geographic else ("m", "m")
    _coordinate(file, "x", across, units=units[0], standard_name=kinds[0])
    _coordinate(file, "y", down, units=units[1], standard_name=kinds[1])


CUBE_FORMATS: dict[str, Callable[..., list[Path]]] = {
    ".hdr": write_envi, ".nc": write_netcdf, ".tif": write_geotiff,
}  # fmt: skip
"""Ending -> what writes a cube so."""
