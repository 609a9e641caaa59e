"""HDF5 as the sensors' formats use it: attributes as plain values, arrays by windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.readers.matlab import BROKEN
from hsi.readers.windowed import Window, first_words

Axes = tuple[int, ...]
"""Where rows, columns and, of cubes, bands stand among the axes of a stored array."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open for reading.

    Raises:
        DataError: it is truncated or corrupt, or what is read in the block is.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except BROKEN as error:
        raise DataError(
            f"{path}: truncated or corrupt, download or save it again ({first_words(error)})."
        ) from error


def attribute(item: Any, *names: str) -> Any:
    """The first of these attributes that is there, as a plain value or an array; else None."""
    found = next((item.attrs[name] for name in names if name in item.attrs), None)
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.ravel()[0]
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    return found.item() if isinstance(found, np.generic) else found


def arrays(file: Any) -> dict[str, Any]:
    """Every array of a file by its path, those in groups as "group/array"."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("#"):
            found[name] = item

    file.visititems(visit)
    return found


def window(
    path: Path, name: str, axes: Axes = (0, 1, 2), bands: np.ndarray | None = None
) -> Window:
    """Windows of a stored array, read by slicing.

    Args:
        path, name: the file and the array in it.
        axes: the stored axis of rows, of columns and, where it has bands, of bands.
        bands: the stored numbers of the bands, from 0, in the order wanted; None for all.
    """

    def read(rows: slice, cols: slice) -> np.ndarray:
        with opened(path) as file:
            place = [slice(None)] * len(axes)
            place[axes[0]], place[axes[1]] = rows, cols
            stored = np.asarray(file[name][tuple(place)]).transpose(axes)
        stored = stored.reshape(*stored.shape[:2], -1)
        return stored if bands is None else stored[:, :, bands]

    return read
