"""Class maps in files that other programs open with their legend.

A map goes into its file strip after strip, so it may be a memory map that is larger than the
memory. Names and colours that its file cannot say stand beside it: see `hsi.writers.legends`.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import OutputError, SettingsError
from hsi.files import atomic_path, write_text
from hsi.georeference import Georeference, to_envi, to_rasterio
from hsi.readers.extras import geo_package
from hsi.writers.legends import Legend, is_own_style, side_file, style_of

STRIP_BYTES = 1 << 22
BLOCK = 256
"""Side of the blocks of a GeoTIFF."""

MOST = 65535
"""The largest class number that formats with a legend take."""


def label_type(legend: Legend) -> np.dtype:
    """The smallest unsigned type that holds every number of a legend."""
    return np.min_scalar_type(legend.largest)


def check_writable(
    path: Path,
    legend: Legend | None = None,
    *,
    georeference: Georeference | None = None,
    keep: Sequence[Path] = (),
) -> None:
    """Refuse an output that cannot be written, before any work.

    Args:
        path: of the map.
        legend, georeference: what it is to hold, where known.
        keep: files that must stay, such as those of the scene.

    Raises:
        SettingsError: an ending that is no known format.
        OutputError: class numbers too large for the format, a folder in its place, or a file that
            must stay.
        DataError: GeoTIFF without rasterio or in a reference system that GDAL cannot read, or a
            grid that an ENVI header cannot say.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        known = ", ".join(FORMATS)
        raise SettingsError(f"{path}: expected a name that ends in one of {known}.")
    if path.is_dir():
        raise OutputError(f"{path}: a folder; name a file.")
    files = [path, path.with_suffix(".img")] if ending == ".hdr" else [path]
    written = {file.resolve() for file in files}
    if any(kept.resolve() in written for kept in keep):
        raise OutputError(f"{path}: would be written over the scene; choose another name.")
    if ending == ".hdr" and georeference is not None:
        to_envi(georeference)
    if ending in (".tif", ".tiff"):
        geo_package("rasterio", wanted_by=f"{path}: a GeoTIFF")
        if georeference is not None:
            to_rasterio(georeference, where=str(path))
    if ending != ".npy" and legend and legend.largest > MOST:
        raise OutputError(
            f"{path}: class numbers up to {MOST} fit this format, the largest is "
            f"{legend.largest}; write .npy."
        )


def write_class_map(
    path: str | Path,
    labels: np.ndarray,
    legend: Legend,
    *,
    georeference: Georeference | None = None,
) -> list[Path]:
    """Write published class numbers in the format that the ending of the name says.

    `.tif` GeoTIFF with colours, names and QGIS's style beside it; `.hdr` ENVI classification (data
    in `.img`); `.npy`; `.png` with a palette, a pixel a pixel, without georeference.

    Args:
        labels: (rows, cols) numbers of the legend, 0 where there is no class; may be a memory map.
        georeference: of the scene, for formats that hold one.

    Returns:
        The files that were written, the named one first.

    Raises:
        OutputError, SettingsError, DataError: as of `check_writable`, or a full disk.
    """
    path = Path(path)
    check_writable(path, legend, georeference=georeference)
    return FORMATS[path.suffix.lower()](path, labels, legend, georeference)


def _strips(labels: np.ndarray, *, block: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """The first row and the rows of each piece: whole blocks of rows, but for the last."""
    step = max(1, STRIP_BYTES // max(1, labels.shape[1] * labels.itemsize * block)) * block
    for top in range(0, len(labels), step):
        yield top, np.ascontiguousarray(labels[top : top + step])


def _write_tif(
    path: Path, labels: np.ndarray, legend: Legend, georeference: Georeference | None
) -> list[Path]:
    rasterio = geo_package("rasterio", wanted_by=f"{path}: a GeoTIFF")
    rows, cols = labels.shape
    kind = label_type(legend)
    options: dict[str, Any] = {
        "driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": kind.name,
        "nodata": 0, "compress": "deflate", "tiled": True, "blockxsize": BLOCK,
        "blockysize": BLOCK, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    if georeference is not None:
        options |= to_rasterio(georeference, where=str(path))
    table = {n: (*legend.color(n), 255) for n in (0, *sorted(legend.names))}
    side = path.with_name(f"{path.name}.aux.xml")
    with atomic_path(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(temporary, "w", **options) as out:
                    out.write_colormap(1, table)
                    for top, strip in _strips(labels, block=BLOCK):
                        place = rasterio.windows.Window(0, top, cols, len(strip))
                        out.write(strip.astype(kind, copy=False), 1, window=place)
        except rasterio.errors.RasterioError as error:
            raise OutputError(f"{path}: cannot be written: {_first_line(error)}") from error
        write_text(side, side_file(legend))
    style = path.with_suffix(".qml")
    if not is_own_style(style):
        return [path, side]
    write_text(style, style_of(legend))
    return [path, side, style]


def _write_envi(
    path: Path, labels: np.ndarray, legend: Legend, georeference: Georeference | None
) -> list[Path]:
    kind = label_type(legend)
    numbers = range(legend.largest + 1)
    rows, cols = labels.shape
    fields = {
        "description": "{Class map}",
        "samples": cols, "lines": rows, "bands": 1, "header offset": 0,
        "file type": "ENVI Classification", "data type": {1: 1, 2: 12}[kind.itemsize],
        "interleave": "bsq", "byte order": 0, "data ignore value": 0,
        "classes": len(numbers),
        "class lookup": _listed(value for n in numbers for value in legend.color(n)),
        "class names": _listed(_plain(legend.name(n)) for n in numbers),
        "band names": "{class}",
        **(to_envi(georeference) if georeference else {}),
    }  # fmt: skip
    data = path.with_suffix(".img")
    with atomic_path(data) as temporary, temporary.open("wb") as file:
        for _, strip in _strips(labels):
            file.write(strip.astype(kind.newbyteorder("<"), copy=False).tobytes())
    lines = [f"{name} = {value}" for name, value in fields.items()]
    write_text(path, "\n".join(["ENVI", *lines]) + "\n")
    return [path, data]


def _listed(values: Any) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"


def _plain(name: str) -> str:
    """A name without the marks that divide a list of an ENVI header."""
    return name.translate(str.maketrans(",{}\n", ";() "))


def _write_npy(
    path: Path, labels: np.ndarray, legend: Legend, georeference: Georeference | None
) -> list[Path]:
    kind = label_type(legend)
    header = {"descr": kind.str, "fortran_order": False, "shape": labels.shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, strip in _strips(labels):
            file.write(strip.astype(kind, copy=False).tobytes())
    return [path]


def _write_png(
    path: Path, labels: np.ndarray, legend: Legend, georeference: Georeference | None
) -> list[Path]:
    """A palette image, written here row by row: Pillow would hold all of it.

    The place in the palette is the number itself, or of numbers above 255 the place of the class.
    """
    known = np.array([0, *sorted(legend.names)])
    own = legend.largest > 255
    if len(known) > 256:
        raise OutputError(
            f"{path}: a palette has 256 places, for {len(known)} numbers; write .tif."
        )
    palette = known if own else np.arange(legend.largest + 1)
    rows, cols = labels.shape
    squeezed = zlib.compressobj(6)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        _chunk(file.write, b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 3, 0, 0, 0))
        _chunk(file.write, b"PLTE", bytes(v for n in palette for v in legend.color(int(n))))
        for _, strip in _strips(labels):
            places = np.searchsorted(known, strip) if own else strip
            lines = np.zeros((len(strip), cols + 1), np.uint8)  # each begins with "no filter"
            lines[:, 1:] = places
            if part := squeezed.compress(lines.tobytes()):
                _chunk(file.write, b"IDAT", part)
        _chunk(file.write, b"IDAT", squeezed.flush())
        _chunk(file.write, b"IEND", b"")
    return [path]


def _chunk(write: Callable[[bytes], Any], kind: bytes, content: bytes) -> None:
    write(struct.pack(">I", len(content)) + kind + content)
    write(struct.pack(">I", zlib.crc32(kind + content)))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_Writer = Callable[[Path, np.ndarray, Legend, Georeference | None], list[Path]]

FORMATS: dict[str, _Writer] = {
    ".tif": _write_tif, ".tiff": _write_tif, ".hdr": _write_envi, ".npy": _write_npy,
    ".png": _write_png,
}  # fmt: skip
"""Ending -> what writes it."""
