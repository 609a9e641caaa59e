"""A listing: the images of a set as its publisher ordered them, before they are decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hsi.errors import DataError
from hsi.images import fitted, read_photograph

SMALL = 64 << 20
"""Bytes of files up to which their contents are hashed; of larger ones, names and sizes."""


class Images(Protocol):
    """Images that can be decoded by number."""

    @property
    def channels(self) -> int:
        """1 or 3."""

    def __len__(self) -> int: ...

    def decode(self, numbers: np.ndarray, size: int) -> np.ndarray:
        """(n,) numbers -> (n, size, size, channels) uint8."""


@dataclass(frozen=True)
class Listing:
    """The images of a set, not decoded, with all that is known of each.

    Attributes:
        images: by number.
        classes: (n,) class indices.
        parts: (n,) "train", "validation" or "test" as published; "" where nobody divided them.
        class_names: published number -> name, in the order of the indices.
        keys: what the files call the classes, in the same order.
        sha256: of the data; see `digest`.
        groups: (n,) numbers; images of one group must not be in two parts. None: each its own.
        notes: what the user should know, a sentence each.
    """

    images: Images
    classes: np.ndarray
    parts: np.ndarray
    class_names: Mapping[int, str]
    keys: tuple[str, ...]
    sha256: str
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()


class Arrays:
    """Images that are small enough to lie in memory: (n, rows, cols, channels) uint8."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def channels(self) -> int:
        return int(self.array.shape[3])

    def __len__(self) -> int:
        return len(self.array)

    def decode(self, numbers: np.ndarray, size: int) -> np.ndarray:
        chosen = self.array[numbers]
        if chosen.shape[1:3] == (size, size):
            return chosen
        # Pillow knows grey images as (rows, cols).
        plain = chosen[..., 0] if self.channels == 1 else chosen
        out = np.empty((len(chosen), size, size, self.channels), np.uint8)
        for image, place in zip(plain, out, strict=True):
            place[...] = fitted(image, size, size).reshape(place.shape)
        return out


class Photographs:
    """Image files, decoded in parallel when they are asked for; grey ones become RGB."""

    channels = 3

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def decode(self, numbers: np.ndarray, size: int) -> np.ndarray:
        out = np.empty((len(numbers), size, size, 3), np.uint8)

        def fill(place: int) -> None:
            out[place] = fitted(read_photograph(self.paths[numbers[place]]), size, size)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
            for _ in pool.map(fill, range(len(numbers))):
                pass
        return out


def check_photographs(paths: Iterable[Path]) -> None:
    """Refuse files that `read_photograph` would refuse (`DataError`), before hours of training.

    Whole JPEG and PNG files are known by their ends; only what looks wrong is decoded, and PNG
    files of 16 bits a pixel of grey, whose depth and colour type stand at bytes 24 and 25.
    """
    for path in paths:
        with path.open("rb") as file:
            head = file.read(26)
            file.seek(-min(12, path.stat().st_size), os.SEEK_END)
            tail = file.read()
        jpeg = head.startswith(b"\xff\xd8") and tail.endswith(b"\xff\xd9")
        png = head.startswith(b"\x89PNG") and head[24:] != b"\x10\x00" and b"IEND" in tail
        if not (jpeg or png):
            read_photograph(path)


def check_folder(folder: Path, what: str) -> Path:
    """The folder, if it is one (`DataError`)."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected {what}, got no folder.")
    return folder


def digest(paths: Sequence[Path], root: Path) -> str:
    """sha256 of a set: relative names and sizes; of small sets (64 MB) the contents as well."""
    sizes = [path.stat().st_size for path in paths]
    whole = sum(sizes) <= SMALL
    result = hashlib.sha256()
    for path, size in sorted(zip(paths, sizes, strict=True)):
        result.update(f"{path.relative_to(root).as_posix()}\0{size}\0".encode())
        if whole:
            result.update(path.read_bytes())
    return result.hexdigest()
