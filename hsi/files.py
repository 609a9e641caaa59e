"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hsi.errors import OutputError

_PART = re.compile(r"\..*\.(\d+)\.part(\.[^.]*)?")
"""The names of temporary files, with the process that writes them."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, of the same suffix, that is renamed to it on success.

    Raises:
        OutputError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        said = " ".join(str(error.strerror or error).split())  # HDF5's text has a line end in it
        raise OutputError(f"{path}: cannot be written: {said}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_remains(folder: Path) -> None:
    """Remove temporary files in a folder, and in those below, whose process was killed."""
    for path in folder.rglob(".*.part*"):
        found = _PART.fullmatch(path.name)
        if found and not _runs(int(found[1])):
            with suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        pass
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically; NaN is not JSON and is refused (`ValueError`)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's bytes, as hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
