"""Fetching the files of public scenes: resumed, checked, whole or not there at all.

Not pooch: it neither resumes a cut download nor knows git blob ids, all that some cubes have.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.errors import DataError, DownloadError, OutputError, UserError
from hsi.files import sha256_of

if TYPE_CHECKING:
    import requests

BASE_URL = "https://www.ehu.eus/ccwintco/uploads"
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
CHUNK = 1 << 13  # what a cut connection loses at most
HTML = (b"<!doctype", b"<html", b"<?xml", b"<head")


@dataclass(frozen=True)
class RemoteFile:
    """A public file: where it lies, and how it is known to be the right one.

    Attributes:
        path: below the base address, for example "/c/c4/Indian_pines_gt.mat".
        sha256: of the bytes; "" where not known.
        git_blob: git's id of the bytes (`git hash-object`); "" where not known.
        page: where a person gets the file, which then is never downloaded; "" of other files.
    """

    path: str
    sha256: str = ""
    git_blob: str = ""
    page: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def has_hash(self) -> bool:
        return bool(self.sha256 or self.git_blob)

    def url(self, base: str | None = None) -> str:
        """The address; `base`, else $HSI_MIRROR, else the publisher's own server.

        Of a file that is placed by hand, the page to get it from.
        """
        if self.page:
            return self.page
        return (base or os.environ.get("HSI_MIRROR") or BASE_URL).rstrip("/") + self.path


def git_blob_id(path: Path) -> str:
    """What `git hash-object FILE` prints: sha1 of "blob <size>", a NUL and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_error(path: Path, file: RemoteFile) -> str:
    """Why the bytes at `path` are not the published file, or "" if no known hash says so."""
    for name, expected, compute in (
        ("sha256", file.sha256, sha256_of),
        ("git blob id", file.git_blob, git_blob_id),
    ):
        if expected and (got := compute(path)) != expected:
            size = path.stat().st_size
            return f"expected {name} {expected[:12]}..., got {got[:12]}... ({size} bytes)"
    return ""


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    base: str | None = None,
    check: Callable[[Path], None] | None = None,
    timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
    say: Callable[[str], None] = print,
) -> Path:
    """Download one file into a folder; a cut download goes on where it stopped at the next call.

    Until it is complete and checked it is called `<name>.part`.

    Args:
        file: what to fetch.
        folder: where to put it; made if needed.
        base: address to use instead of the publisher's ($HSI_MIRROR does the same).
        check: called with the complete file before it gets its name; raises `DataError` if it is
            not what it should be. The only check, beside its size, of a file without a known hash.
        timeout: seconds to wait for a connection, and for the next bytes.
        say: called with one line when the download begins.

    Raises:
        DownloadError: no connection, no such file, cut off, or not the file that it should be.
        OutputError: the folder cannot be written, or the disk is full.
    """
    url, target = file.url(base), folder / file.name
    part = target.with_name(target.name + ".part")
    say(f"Downloading {url} to {target}")
    import requests

    with _part_file(part), _speaking(url, part), requests.Session() as session:
        _receive(session, url, part, timeout)
    try:
        if wrong := hash_error(part, file):
            raise DataError(wrong)
        if check is not None:
            check(part)
    except DataError as error:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{url}: not the published file: {error}; it was removed, try again or another mirror."
        ) from error
    with _writing(target):
        os.replace(part, target)
    return target


@contextmanager
def _part_file(part: Path) -> Iterator[None]:
    """Make the part file, so that an unwritable folder shows before anything is sent.

    A failure leaves behind what has arrived, but no empty file and no folder made for nothing.
    """
    made = not part.parent.exists()
    with _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.open("ab").close()
    try:
        yield
    except UserError:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        if made and not any(part.parent.iterdir()):
            part.parent.rmdir()
        raise


def _receive(session: requests.Session, url: str, part: Path, timeout: tuple[float, float]) -> None:
    """Bring the part file to its full length."""
    have = part.stat().st_size
    # Compression on the way would make byte ranges and sizes those of something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=timeout) as reply:
        if have and (reply.status_code == 416 or not _goes_on_at(reply, have)):
            whole = reply.headers.get("Content-Range", "").rpartition("/")[2]
            if reply.status_code == 416 and whole == str(have):
                return  # cut off between the last byte and the renaming
            with _writing(part):
                os.truncate(part, 0)
            have = 0
            if reply.status_code in (206, 416):
                return _receive(session, url, part, timeout)
        if reply.status_code not in (200, 206):
            raise DownloadError(
                f"{url}: the server answered {reply.status_code} {reply.reason}; "
                f"put the file into {part.parent} by hand, or set HSI_MIRROR to another address."
            )
        length = reply.headers.get("Content-Length", "")
        left = int(length) if length.isdecimal() else -1
        _check_space(part, left)
        _append(reply, part, have, left)


def _goes_on_at(reply: requests.Response, have: int) -> bool:
    """Whether the reply is the rest of the file from byte `have` on."""
    if reply.status_code != 206:
        return reply.status_code != 200  # other answers are errors, handled as such
    return reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _append(reply: requests.Response, part: Path, have: int, left: int) -> None:
    """Write what arrives behind the `have` bytes that are there; `left` is -1 where unknown."""
    chunks = reply.iter_content(CHUNK)
    first = next(chunks, b"")
    if not have and _is_html(reply.headers.get("Content-Type", ""), first):
        raise DownloadError(
            f"{reply.url}: the server sent an HTML page instead of the file; "
            "open the address in a browser, or set HSI_MIRROR to another one."
        )
    total = None if left < 0 else have + left
    with _writing(part), open(part, "ab") as stream, _progress(part, have, total) as advance:
        while first:
            stream.write(first)
            advance(len(first))
            first = _next(chunks, stream)
    size = part.stat().st_size
    if total is not None and size != total:
        raise DownloadError(
            f"{reply.url}: the connection was cut after {size} of {total} bytes; "
            "they are kept, the same command goes on from there."
        )
    if not size:
        raise DownloadError(f"{reply.url}: the server sent an empty file.")


def _next(chunks: Iterator[bytes], stream: Any) -> bytes:
    """The next bytes; whatever stops them, those before are safe in the file first."""
    try:
        return next(chunks, b"")
    finally:
        stream.flush()


def _is_html(content_type: str, first: bytes) -> bool:
    return "text/html" in content_type.lower() or first.lstrip(
        b"\xef\xbb\xbf \t\r\n"
    ).lower().startswith(HTML)


@contextmanager
def _speaking(url: str, part: Path) -> Iterator[None]:
    """Turn what requests raises into one line."""
    import requests

    try:
        yield
    except requests.RequestException as error:
        size = part.stat().st_size
        way_out = (
            f"{size} bytes are kept, the same command goes on from there"
            if size
            else f"without a network, put the file into {part.parent} by hand"
        )
        raise DownloadError(f"{url}: {_reason(error)}; {way_out}.") from error


def _reason(error: Exception) -> str:
    import requests

    text = str(error)
    if isinstance(error, requests.ConnectTimeout):
        return f"no answer within {CONNECT_TIMEOUT:.0f} s"
    if isinstance(error, requests.Timeout):
        return "the server stopped answering"
    if "Read timed out" in text:  # in the middle of a body it is no Timeout for requests
        return "the server stopped sending"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.exceptions.SSLError):
        return "the secure connection failed"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if "NameResolution" in text or "getaddrinfo" in text:
        return "the server's name cannot be resolved (no network?)"
    if "refused" in text:
        return "the connection was refused"
    return f"no connection ({type(error).__name__})"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system raises into one line; what requests raises passes."""
    import requests

    try:
        yield
    except requests.RequestException:
        raise  # also an OSError
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"{path.parent}: the disk is full; "
                "make room, or set HSI_DATASETS to another folder."
            ) from error
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); set HSI_DATASETS to a folder that can."
        ) from error


def _check_space(part: Path, left: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if left > free:
        raise OutputError(
            f"{part.parent}: the disk is full: {left} bytes are needed, {free} are free; "
            "make room, or set HSI_DATASETS to another folder."
        )


@contextmanager
def _progress(part: Path, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to call with each number of bytes."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn(part.name.removesuffix(".part")),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, completed=have)
        yield lambda count: bar.advance(task, count)
