"""CIFAR-10 and CIFAR-100 in the official binary layout (Krizhevsky 2009).

A record is one label byte (CIFAR-100: the coarse one, then the fine one) and 3072 bytes: 32 x 32 of
red, then of green, then of blue.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.image_sets.facts import ImageSet
from hsi.image_sets.listing import Arrays, Listing, digest

PIXELS = 3 * 32 * 32
NAMES = "fine_label_names.txt"


def read(info: ImageSet, folder: Path) -> Listing:
    """The images of either set, told apart by `info`.

    Raises:
        DataError: a file is missing, cut off, or holds labels that the set does not have.
    """
    fine = info.name == "cifar100"
    names = _names(folder / NAMES) if fine else info.classes
    training = [folder / "train.bin"] if fine else sorted(folder.glob("data_batch_[1-5].bin"))
    test = folder / ("test.bin" if fine else "test_batch.bin")
    if not training or not all(path.is_file() for path in (*training, test)):
        wanted = "train.bin" if fine else "data_batch_1.bin to data_batch_5.bin"
        raise DataError(
            f"{folder}: expected {wanted} and {test.name}; delete the folder to fetch it again."
        )
    read_files = [_records(path, labels=2 if fine else 1) for path in (*training, test)]
    for path, (_, labels) in zip((*training, test), read_files, strict=True):
        if labels.max(initial=0) >= len(names):
            raise DataError(f"{path}: expected labels 0..{len(names) - 1}, got {labels.max()}.")
    images = np.concatenate([images for images, _ in read_files])
    classes = np.concatenate([labels for _, labels in read_files]).astype(np.int64)
    parts = np.full(len(images), "train", "<U10")
    parts[len(images) - len(read_files[-1][0]) :] = "test"
    keys = tuple(map(str, names))
    sha256 = digest([*training, test], folder)
    return Listing(Arrays(images), classes, parts, names, keys, sha256)


def _records(path: Path, *, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 32, 32, 3) uint8 and the (n,) last label bytes."""
    content = np.fromfile(path, np.uint8)
    record = labels + PIXELS
    if not len(content) or len(content) % record:
        raise DataError(
            f"{path}: expected records of {record} bytes, got {len(content)} bytes, "
            f"{len(content) % record} too many: cut off or something else."
        )
    rows = content.reshape(-1, record)
    images = rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), rows[:, labels - 1]


def _names(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected the names of 100 classes, one a line.") from error
    if len(lines) != 100:
        raise DataError(f"{path}: expected the names of 100 classes, got {len(lines)}.")
    return dict(enumerate(lines))
