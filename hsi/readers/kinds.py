"""What kind of file a path names, told by its first bytes, and what is said of other kinds."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

from hsi.errors import DataError
from hsi.readers import envi, matlab, numpy_files

HEAD_BYTES = 1024
HTML = (b"<!doctype", b"<html", b"<head", b"<body")
XML = b"<?xml"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Of TIFF and of BigTIFF, little and big endian."""
FOREIGN = {
    b"\x1f\x8b": "gzip-compressed", b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed", b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive",
    b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image",
    b"CDF": "a NetCDF 3 file (nccopy -k nc4 makes it NetCDF 4)", b"%PDF": "a PDF",
}  # fmt: skip
READABLE = "MATLAB .mat, ENVI .hdr with its data file, GeoTIFF, NetCDF 4, HDF5, .npy or .npz"


def split_spec(spec: str) -> tuple[Path, str | None]:
    """`FILE` or `FILE:KEY` -> the path and the key; an existing file may have a colon in its name.

    Raises:
        DataError: nothing before or after the colon.
    """
    if Path(spec).exists() or ":" not in spec:
        return Path(spec), None
    file, _, key = spec.rpartition(":")
    if not file or not key:
        raise DataError(f"{spec!r}: expected FILE or FILE:KEY.")
    return Path(file), key


def read_head(path: Path) -> bytes:
    """The first bytes, after everything that can be wrong with a path (`DataError`)."""
    if path.is_dir():
        raise DataError(f"{path}: a folder, expected a file ({READABLE}).")
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.{_closest(path)}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if not head:
        raise DataError(f"{path}: the file is empty; download or save it again.")
    return head


def _closest(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" Did you mean {folder / close[0]}?" if close else ""


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF or BigTIFF."""
    return head.startswith(TIFF)


def is_html(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a page of the web."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(HTML) or (
        text.startswith(XML) and any(mark in text for mark in HTML[:2])
    )


def is_xml(head: bytes) -> bool:
    """Whether a file that begins with these bytes is XML, a page of the web or not."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(XML)


def is_envi(path: Path, head: bytes) -> bool:
    """Whether the file is an ENVI header, or the data file beside one."""
    if has_keys(head) or is_tiff(head):
        return False
    is_data = path.suffix.lower() != ".hdr" and not is_html(head) and not is_xml(head)
    return envi.is_header(head) or (is_data and envi.find_header(path) is not None)


def has_keys(head: bytes) -> bool:
    """MATLAB, HDF5 and NumPy by their magic bytes."""
    known = (matlab.is_version_5, matlab.is_hdf5, numpy_files.is_npy, numpy_files.is_zip)
    return any(is_kind(head) for is_kind in known)


def keyed_reader(path: Path, head: bytes) -> ModuleType:
    """The module that reads this file, or an error that says what the file is instead.

    It offers `contents(path, head)` and `load(path, key, head)`.
    """
    if matlab.is_version_5(head) or matlab.is_hdf5(head):
        return matlab
    if numpy_files.is_npy(head) or numpy_files.is_zip(head):
        return numpy_files
    if is_html(head):
        raise DataError(f"{path}: an HTML page instead of data; download the file itself again.")
    if is_xml(head):
        raise DataError(
            f"{path}: XML, which is not read here; of ENVI's regions save a class image, of KML a "
            f"GeoPackage (ogr2ogr labels.gpkg {path})."
        )
    if path.suffix.lower() == ".hdr":
        raise DataError(f"{path}: not an ENVI header; its first line must begin with ENVI.")
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {name}, which is not read here; expected {READABLE}.")
    if path.suffix.lower() == ".mat":
        raise DataError(
            f"{path}: not a MATLAB file of version 5 or 7.3, or truncated; save it again."
        )
    raise DataError(f"{path}: unknown kind of file; expected {READABLE}.")
