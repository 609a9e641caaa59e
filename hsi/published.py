"""Files that are published for anyone: found in the data folders, or downloaded and checked.

Image sets and trained weights, each with the address of its publisher. Scenes are in
`hsi.catalog`; the folders are the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hsi import catalog
from hsi.download import RemoteFile, fetch
from hsi.errors import DataError, OutputError

Say = Callable[[str], None]


@dataclass(frozen=True)
class PublishedFile:
    """A file at an address of its own.

    Attributes:
        base: the address without the last part.
        path: that part, for example "/cifar-10-binary.tar.gz".
        md5: as published; "" where none is known, and then its content alone is checked.
    """

    base: str
    path: str
    md5: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        return self.name.endswith((".tar.gz", ".tgz"))

    @property
    def url(self) -> str:
        """Where it is fetched from: $HSI_MIRROR, where that is set, else its publisher."""
        return RemoteFile(self.path).url(os.environ.get("HSI_MIRROR") or self.base)


def find(name: str, *, folder: str) -> Path | None:
    """The file or folder of a name in the first data folder that has it, or None.

    It may lie in the data folder itself or in its subfolder `folder`.
    """
    for data in catalog.folders():
        for path in (data / name, data / folder / name):
            if path.exists():
                return path
    return None


def download(file: PublishedFile, *, folder: str, owner: str, say: Say = print) -> Path:
    """Fetch a file into `folder` of the first data folder that can be written.

    Args:
        owner: what the file is of, for the texts.
        say: told when the download begins.

    Raises:
        DataError: HSI_OFFLINE forbids it; file, address and folder are named.
        DownloadError, OutputError: see `hsi.download.fetch`.
    """
    if catalog.is_offline():
        raise DataError(
            f"{owner}: {file.name} is not in {' or '.join(map(str, catalog.folders()))}, and "
            f"HSI_OFFLINE forbids the download of {file.url}; "
            f"put it into {catalog.folders()[0] / folder}."
        )
    base = file.url.removesuffix(file.path)
    return fetch(
        RemoteFile(file.path),
        catalog.writable_folder(owner) / folder,
        base=base,
        check=lambda part: _check(part, file),
        say=say,
    )


def md5_error(path: Path, file: PublishedFile) -> str:
    """Why the bytes are not the published ones, or "" if no known hash says so."""
    if not file.md5:
        return ""
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "md5").hexdigest()
    if got == file.md5:
        return ""
    return f"expected md5 {file.md5[:12]}..., got {got[:12]}... ({path.stat().st_size} bytes)"


def check_on_disk(path: Path, file: PublishedFile) -> Path:
    """The file, if its bytes are the published ones (`DataError`)."""
    if wrong := md5_error(path, file):
        raise DataError(
            f"{path}: damaged or not the published file: {wrong}; delete it, it is at {file.url}."
        )
    return path


def unpack(archive: Path, name: str) -> Path:
    """Unpack a tar archive beside itself: whole, or not at all.

    Only plain files and folders inside its own folder are taken (`tarfile`'s data filter).

    Args:
        name: of the folder that the archive must hold.

    Returns:
        That folder.

    Raises:
        DataError: damaged, hostile, or without that folder.
        OutputError: no room, or not allowed.
    """
    target = archive.parent / name
    try:
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=archive.parent) as temporary:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            made = Path(temporary) / name
            if not made.is_dir():
                raise DataError(f"{archive}: expected a folder {name} in it; delete the archive.")
            shutil.rmtree(target, ignore_errors=True)
            made.replace(target)
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        first = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"{archive}: expected a tar archive, it is damaged ({first[0]}); delete it."
        ) from error
    except OSError as error:
        if error.errno is None:  # gzip's own: a bad header or a wrong checksum
            raise DataError(f"{archive}: a damaged archive ({error}); delete it.") from error
        raise OutputError(
            f"{archive.parent}: cannot be unpacked into: {error.strerror}; "
            "set HSI_DATASETS to a folder that can be written."
        ) from error
    return target


def _check(path: Path, file: PublishedFile) -> None:
    if wrong := md5_error(path, file):
        raise DataError(wrong)
