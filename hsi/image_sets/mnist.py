"""MNIST: four idx files (LeCun, Cortes, Burges 1998), gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.image_sets.facts import ImageSet
from hsi.image_sets.listing import Arrays, Listing, digest

UBYTE = 0x08
"""The third byte of an idx file's magic number: unsigned bytes."""
MOST = 1 << 31
"""Bytes that an idx file may claim: its header is believed before its content is read."""


def read(info: ImageSet, folder: Path) -> Listing:
    """The images of a folder with the four files.

    Raises:
        DataError: a file is missing, damaged, or images and labels do not fit.
    """
    paths = [_path(folder, file.name) for file in info.files]
    parts = []
    for part, (images_path, labels_path) in (("train", paths[:2]), ("test", paths[2:])):
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise DataError(
                f"{images_path}: holds {len(images)} images, but {labels_path.name} "
                f"{len(labels)} labels."
            )
        if len(labels) and labels.max() >= len(info.classes):
            raise DataError(f"{labels_path}: expected labels 0..9, got {labels.max()}.")
        parts.append((images, labels, np.full(len(images), part, "<U10")))
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size.")
    images, labels, names = (np.concatenate(x) for x in zip(*parts, strict=True))
    keys = tuple(map(str, info.classes))
    return Listing(
        Arrays(images[..., None]), labels.astype(np.int64), names, info.classes, keys,
        digest(paths, folder),
    )  # fmt: skip


def read_idx(path: Path, axes: int) -> np.ndarray:
    """An idx file of unsigned bytes, gzipped or not.

    Args:
        axes: how many it must have.

    Raises:
        DataError: another magic number, cut off, or longer than it says.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 or header[:2] != b"\0\0" or header[2] != UBYTE:
                raise DataError(f"{path}: expected an idx file of unsigned bytes (magic 00 00 08).")
            if header[3] != axes:
                raise DataError(f"{path}: expected an idx file of {axes} axes, got {header[3]}.")
            if len(header) < 4 + 4 * axes:
                raise DataError(f"{path}: cut off in its header.")
            shape = tuple(int(n) for n in np.frombuffer(header[4:], ">u4"))
            wanted = math.prod(shape)
            content = file.read(min(wanted, MOST) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut off ({error}); fetch it again.") from error
    if len(content) != wanted:
        held = "more" if len(content) > wanted else str(len(content))
        raise DataError(f"{path}: expected {wanted} bytes of data {shape}, it holds {held}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _path(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / name.removesuffix(".gz")):
        if path.is_file():
            return path
    raise DataError(f"{folder}: has no {name}; delete the folder to fetch the set again.")
