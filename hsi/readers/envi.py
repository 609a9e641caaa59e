"""ENVI images: a text header and a raw file, opened memory-mapped through Spectral Python.

Spectral Python parses the header and lays the memory map. What it takes silently is checked here
first: interleave spelled in mixed case or unknown (it would read BSQ), and sizes that disagree.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError

DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".hyspex", ".cube")
INTERLEAVES = ("bsq", "bil", "bip")
NUMBER_TYPES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 12: 2, 13: 4, 14: 8, 15: 8}
"""ENVI's number of a real data type -> bytes per value."""

NANOMETRES = {
    "nm": 1.0, "nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nanometre": 1.0,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "micrometers": 1e3, "micrometer": 1e3, "micrometres": 1e3,
    "micrometre": 1e3, "microns": 1e3, "micron": 1e3, "mm": 1e6, "millimeters": 1e6,
    "cm": 1e7, "centimeters": 1e7, "m": 1e9, "meters": 1e9, "angstroms": 0.1, "angstrom": 0.1,
}  # fmt: skip
UNSTATED = ("", "unknown", "none")


@dataclass(frozen=True)
class EnviImage:
    """An opened image: `array` is (rows, cols, bands), memory-mapped and read-only."""

    array: np.ndarray
    files: tuple[Path, Path]
    wavelengths: np.ndarray | None
    class_names: Mapping[int, str]
    sensor: str


def find_header(path: Path) -> Path | None:
    """The header of an ENVI file: itself, or the .hdr beside the data file; else None."""
    if path.suffix.lower() == ".hdr":
        return path
    names = (path.name + ".hdr", path.stem + ".hdr", path.name + ".HDR", path.stem + ".HDR")
    return next((path.with_name(n) for n in names if path.with_name(n).is_file()), None)


def is_header(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an ENVI header."""
    return head.lstrip(b"\xef\xbb\xbf \t").startswith(b"ENVI")


def to_nanometres(values: np.ndarray, unit: str = "") -> np.ndarray | None:
    """Wavelengths in nm from a stated unit; without one, nm if all are above 100, else micrometres.

    None for units that are no length (an index, a frequency).
    """
    unit = unit.strip().lower()
    if unit in UNSTATED:
        return values if values.min() > 100 else values * 1e3
    return values * NANOMETRES[unit] if unit in NANOMETRES else None


def open_image(path: Path, *, say: Callable[[str], None] = print) -> EnviImage:
    """Open an ENVI image from its header or its data file.

    Raises:
        DataError: header or data missing, unreadable or of an unsupported kind, or their sizes
            disagree.
    """
    header_path = find_header(path)
    if header_path is None:
        raise DataError(f"{path}: no ENVI header beside it; expected {path.stem}.hdr.")
    header = _read_header(header_path)
    data_path = path if path != header_path else _find_data(header_path)
    shape = _check(header_path, header, data_path)
    return EnviImage(
        array=_memory_map(header_path, header, data_path, shape),
        files=(header_path, data_path),
        wavelengths=_wavelengths(header_path, header, shape[2], say),
        class_names=_class_names(header),
        sensor=str(header.get("sensor type", "")).strip().replace("Unknown", ""),
    )


def _read_header(path: Path) -> dict[str, Any]:
    """Fields by lower-case name; what is not UTF-8 (a micro sign, mostly) is read as Latin-1."""
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


def _wavelengths(
    path: Path, header: Mapping[str, Any], bands: int, say: Callable[[str], None]
) -> np.ndarray | None:
    listed = header.get("wavelength")
    if not listed:
        return None
    try:
        values = np.array([listed] if isinstance(listed, str) else listed, dtype=np.float64)
    except ValueError:
        say(f"{path.name}: the wavelengths are not all numbers; taken as unknown.")
        return None
    if len(values) != bands or not np.isfinite(values).all():
        say(f"{path.name}: {len(values)} wavelengths for {bands} bands; taken as unknown.")
        return None
    unit = str(header.get("wavelength units", ""))
    nanometres = to_nanometres(values, unit)
    if nanometres is None:
        say(f"{path.name}: wavelengths in {unit!r} are no lengths; taken as unknown.")
    return nanometres


def _class_names(header: Mapping[str, Any]) -> dict[int, str]:
    """Names of classes 1, 2 ...; the first entry of the list belongs to 0, "Unclassified"."""
    names = header.get("class names", [])
    return {n: name for n, name in enumerate(names) if n} if isinstance(names, list) else {}
