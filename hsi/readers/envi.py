"""ENVI images: a text header and a raw file, opened memory-mapped through Spectral Python.

Spectral Python parses the header and lays the memory map. What it takes silently is checked here
first: interleave spelled in mixed case or unknown (it would read BSQ), and sizes that disagree.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.georeference import from_envi
from hsi.readers.wavelengths import stated_wavelengths
from hsi.readers.wavelengths import to_nanometres as to_nanometres
from hsi.readers.windowed import Raster, of_array, scaled

DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".hyspex", ".cube")
INTERLEAVES = ("bsq", "bil", "bip")
NUMBER_TYPES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 12: 2, 13: 4, 14: 8, 15: 8}
"""ENVI's number of a real data type -> bytes per value."""


def find_header(path: Path) -> Path | None:
    """The header of an ENVI file: itself, or the .hdr beside the data file; else None."""
    if path.suffix.lower() == ".hdr":
        return path
    names = (path.name + ".hdr", path.stem + ".hdr", path.name + ".HDR", path.stem + ".HDR")
    return next((path.with_name(n) for n in names if path.with_name(n).is_file()), None)


def is_header(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an ENVI header."""
    return head.lstrip(b"\xef\xbb\xbf \t").startswith(b"ENVI")


def open_image(path: Path, *, say: Callable[[str], None] = print) -> Raster:
    """Open an ENVI image from its header or its data file.

    Gains, offsets and the reflectance scale factor are applied, where they change anything.

    Raises:
        DataError: header or data missing, unreadable or of an unsupported kind, or their sizes
            disagree.
    """
    header_path = find_header(path)
    if header_path is None:
        raise DataError(f"{path}: no ENVI header beside it; expected {path.stem}.hdr.")
    header = read_header(header_path)
    data_path = path if path != header_path else _find_data(header_path)
    shape = _check(header_path, header, data_path)
    array: np.ndarray | None = _memory_map(header_path, header, data_path, shape)
    assert array is not None
    window, dtype = of_array(array), array.dtype
    no_data = _number(header_path, header, "data ignore value")
    factors = _scale_factors(header_path, header, shape[2])
    if factors is not None:
        window, array = scaled(window, *factors, _stored(no_data, dtype)), None
        dtype, no_data = np.dtype(np.float32), None if no_data is None else np.nan
        say(f"{header_path.name}: the scale factors of its header are applied.")
    return Raster(
        path=path,
        files=(header_path, data_path),
        rows=shape[0],
        cols=shape[1],
        bands=shape[2],
        dtype=dtype,
        window=window,
        wavelengths=header_wavelengths(header_path, header, shape[2], say=say),
        georeference=_georeference(header_path, header),
        no_data=_stored(no_data, dtype),
        bad_bands=bad_bands(header_path, header, shape[2]),
        default_bands=_default_bands(header, shape[2]),
        class_names=class_names(header),
        class_colors=_class_colors(header),
        sensor=str(header.get("sensor type", "")).strip().replace("Unknown", ""),
        array=array,
    )


def read_header(path: Path) -> dict[str, Any]:
    """Fields by lower-case name; what is not UTF-8 (a micro sign, mostly) is read as Latin-1.

    Raises:
        DataError: it cannot be read, or is no ENVI header.
    """
    from spectral.io import envi

    try:
        raw = path.read_bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about capitals in field names: harmless
            # A copy in a known encoding: Spectral Python reads in that of the locale.
            copy = Path(folder, "copy.hdr")
            copy.write_text(text.lstrip())
            header = envi.read_envi_header(str(copy))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except (envi.EnviException, ValueError) as error:
        raise DataError(f"{path}: not an ENVI header, or a brace in it is never closed.") from error
    return {key.lower(): value for key, value in header.items()}


def _find_data(header_path: Path) -> Path:
    stem = header_path.with_suffix("")
    for suffix in (*DATA_SUFFIXES, *(s.upper() for s in DATA_SUFFIXES if s)):
        candidate = stem.with_name(stem.name + suffix)
        if candidate.is_file():
            return candidate
    for suffix in (".tif", ".tiff", ".TIF"):
        if (image := stem.with_name(stem.name + suffix)).is_file():
            raise DataError(f"{header_path}: describes a TIFF; name {image} instead.")
    raise DataError(
        f"{header_path}: no data file beside it; expected {stem.name} with one of "
        f"{', '.join(s for s in DATA_SUFFIXES if s)} or no suffix (or name the data file itself)."
    )


def _whole(path: Path, header: Mapping[str, Any], field: str, default: str | None = None) -> int:
    try:
        return int(header.get(field, default))
    except (TypeError, ValueError):
        raise DataError(
            f"{path}: expected a whole number in the header field {field!r}, "
            f"got {header.get(field, 'nothing')!r}."
        ) from None


def _number(path: Path, header: Mapping[str, Any], field: str) -> float | None:
    """The number in a field, or None where there is no such field."""
    if not str(header.get(field, "")).strip():
        return None
    try:
        return float(header[field])
    except (TypeError, ValueError):
        raise DataError(
            f"{path}: expected a number in the header field {field!r}, got {header[field]!r}."
        ) from None


def _numbers(path: Path, header: Mapping[str, Any], field: str, bands: int) -> np.ndarray | None:
    """(bands,) the list in a field, or None where there is no such field."""
    listed = header.get(field)
    if not listed:
        return None
    try:
        values = np.array(_listed(listed), dtype=np.float64)
    except ValueError:
        raise DataError(f"{path}: expected numbers in the header field {field!r}.") from None
    if len(values) != bands:
        raise DataError(
            f"{path}: expected {bands} numbers in the header field {field!r}, one per band, "
            f"got {len(values)}."
        )
    return values


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else str(value).strip("{} ").split(",")


def _check(path: Path, header: Mapping[str, Any], data_path: Path) -> tuple[int, int, int]:
    """The shape (rows, cols, bands), after everything that could be misread silently."""
    rows, cols, bands = (_whole(path, header, f) for f in ("lines", "samples", "bands"))
    offset = _whole(path, header, "header offset", "0")
    kind = _whole(path, header, "data type")
    interleave = str(header.get("interleave", "")).lower()
    if "spectral library" in str(header.get("file type", "")).lower():
        raise DataError(f"{path}: a spectral library, expected an image.")
    if kind not in NUMBER_TYPES:
        raise DataError(f"{path}: data type {kind} is complex or unknown; expected real numbers.")
    if interleave not in INTERLEAVES:
        raise DataError(
            f"{path}: interleave {interleave!r}; expected one of {', '.join(INTERLEAVES)}."
        )
    if _whole(path, header, "byte order") not in (0, 1):
        raise DataError(f"{path}: byte order {header['byte order']}; expected 0 or 1.")
    if str(header.get("file compression", "0")).strip() not in ("0", ""):
        raise DataError(f"{path}: the data file is compressed; save it uncompressed.")
    if min(rows, cols, bands) < 1:
        raise DataError(f"{path}: the header says {rows} x {cols} x {bands}: an empty image.")
    if not data_path.is_file():
        raise DataError(f"{data_path}: the data file of {path.name} is missing.")
    expected = offset + rows * cols * bands * NUMBER_TYPES[kind]
    size = data_path.stat().st_size
    if size != expected:
        raise DataError(
            f"{data_path}: {path.name} describes {expected} bytes ({rows} rows x {cols} columns x "
            f"{bands} bands x {NUMBER_TYPES[kind]} bytes + {offset}), the file has {size}."
        )
    return rows, cols, bands


def _memory_map(
    path: Path, header: dict[str, Any], data_path: Path, shape: tuple[int, int, int]
) -> np.ndarray:
    from spectral.io import envi
    from spectral.io.bilfile import BilFile
    from spectral.io.bipfile import BipFile
    from spectral.io.bsqfile import BsqFile

    try:
        envi.check_compatibility(header)
        parameters = envi.gen_params(header)
    except envi.EnviException as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    parameters.filename = str(data_path)
    image = {"bsq": BsqFile, "bil": BilFile, "bip": BipFile}[header["interleave"].lower()]
    array = image(parameters, header).open_memmap(interleave="bip", writable=False)
    if array is None or array.shape != shape:
        raise DataError(
            f"{data_path}: cannot be memory-mapped; is it a regular file on this machine?"
        )
    return array


def header_wavelengths(
    path: Path, header: Mapping[str, Any], bands: int, *, say: Callable[[str], None]
) -> np.ndarray | None:
    """Band centres in nm, or None where the header has none.

    Raises:
        DataError: their unit cannot be right.
    """
    listed = header.get("wavelength")
    if not listed:
        return None
    unit = str(header.get("wavelength units", ""))
    return stated_wavelengths(path, _listed(listed), unit, bands, say=say)


def bad_bands(path: Path, header: Mapping[str, Any], bands: int) -> tuple[int, ...]:
    """1-based numbers of the bands that `bbl` calls bad: 0, where good ones are 1.

    Raises:
        DataError: `bbl` is not one number per band.
    """
    good = _numbers(path, header, "bbl", bands)
    return () if good is None else tuple(int(band) + 1 for band in np.flatnonzero(good == 0))


def _scale_factors(
    path: Path, header: Mapping[str, Any], bands: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Gain and offset of each band, (bands,) both; None where they change nothing."""
    gain = _numbers(path, header, "data gain values", bands)
    offset = _numbers(path, header, "data offset values", bands)
    factor = _number(path, header, "reflectance scale factor")
    if factor is not None and not factor > 0:
        raise DataError(
            f"{path}: expected a number above 0 in the header field 'reflectance scale factor', "
            f"got {factor:g}."
        )
    gain = np.ones(bands) if gain is None else gain
    offset = np.zeros(bands) if offset is None else offset
    if factor is not None:
        gain, offset = gain / factor, offset / factor
    return None if (gain == 1).all() and (offset == 0).all() else (gain, offset)


def _stored(no_data: float | None, dtype: np.dtype) -> float | None:
    """The value of no data, or None where numbers of this type cannot hold it."""
    if no_data is None or dtype.kind == "f":
        return no_data
    limits = np.iinfo(dtype)
    holds = no_data == int(no_data) if np.isfinite(no_data) else False
    return no_data if holds and limits.min <= no_data <= limits.max else None


def _georeference(path: Path, header: Mapping[str, Any]) -> Any:
    try:
        return from_envi(header)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _default_bands(header: Mapping[str, Any], bands: int) -> tuple[int, ...]:
    """The bands to draw as red, green, blue, from 1; nothing where the list is none of these."""
    try:
        numbers = tuple(int(word) for word in _listed(header.get("default bands", "")))
    except ValueError:
        return ()
    return numbers if len(numbers) == 3 and all(1 <= n <= bands for n in numbers) else ()


def class_names(header: Mapping[str, Any]) -> dict[int, str]:
    """Names of classes 1, 2 ...; the first entry of the list belongs to 0, "Unclassified"."""
    names = header.get("class names", [])
    return {n: name for n, name in enumerate(names) if n} if isinstance(names, list) else {}


def _class_colors(header: Mapping[str, Any]) -> dict[int, tuple[int, int, int]]:
    """Colours of classes 1, 2 ..., from the list of red, green, blue of each class from 0 on."""
    try:
        flat = [int(word) for word in _listed(header.get("class lookup", ""))]
    except ValueError:
        return {}
    return {n: (flat[3 * n], flat[3 * n + 1], flat[3 * n + 2]) for n in range(1, len(flat) // 3)}
