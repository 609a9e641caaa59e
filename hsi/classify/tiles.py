"""A scene in tiles: how large they may be, and their pixels with the margin that patches need."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isqrt

import numpy as np

from hsi import bands
from hsi.bands import Preparation
from hsi.errors import SettingsError
from hsi.patches import Patches, Strip, windows
from hsi.predict import STRIP_BYTES
from hsi.readers.raster import Raster
from hsi.scene import without_data

PIXELS = 2048
"""Prepared at a time by a thread, in double precision; few enough for its cache."""

THREADS = min(4, os.cpu_count() or 1)
"""That prepare."""

KERAS_BYTES, PLAIN_BYTES = 850 << 20, 250 << 20
"""What a process holds with TensorFlow and a network, and without."""

SHARE = 4
"""Times STRIP_BYTES that a strip takes while it goes through a network."""

READ_BYTES = 32 << 20
"""Read at a time; of a memory-mapped file more pages than were asked for come along."""

WHOLE_LINES = 8
"""Times its margin that a tile is high at least, if it is as wide as the scene."""

LEAST_PIXELS = 4096
"""Of a tile; with less memory than for that nothing is begun."""


@dataclass(frozen=True)
class Grid:
    """The tiles of a scene.

    Attributes:
        rows, cols: of the scene.
        height, width: of a tile; those at the end are smaller.
    """

    rows: int
    cols: int
    height: int
    width: int

    def __len__(self) -> int:
        return -(-self.rows // self.height) * -(-self.cols // self.width)

    def __getitem__(self, number: int) -> Strip:
        across = -(-self.cols // self.width)
        top, left = (number // across) * self.height, (number % across) * self.width
        size = min(self.height, self.rows - top), min(self.width, self.cols - left)
        return Strip(top, left, *size)

    def __iter__(self) -> Iterator[Strip]:
        return (self[number] for number in range(len(self)))


class TilePatches(Patches):
    """The patches of a tile, whose margin is there already.

    Args:
        padded: (rows + patch_size - 1, cols + patch_size - 1, channels) float32, contiguous.
        patch_size: odd side of the window, in pixels.
    """

    def __init__(self, padded: np.ndarray, patch_size: int) -> None:
        self.patch_size = patch_size
        self.rows, self.cols = (size - patch_size + 1 for size in padded.shape[:2])
        self.channels = padded.shape[2]
        self._padded = padded
        self._windows = windows(padded, patch_size, patch_size)

    def strips(self, most: int) -> Iterator[Strip]:
        """Rectangles of at most `most` pixels that have the least margin for their size."""
        height, width = best_size(self.rows, self.cols, most, self.patch_size - 1)
        return iter(Grid(self.rows, self.cols, height, width))


def best_size(rows: int, cols: int, most: int, margin: int) -> tuple[int, int]:
    """The (height, width) of at most `most` pixels in which the fewest pixels are read for a scene.

    Of whole rows, and of squares, either in as many equal parts as are needed.

    Args:
        margin: rows and columns that are read around a rectangle, both sides together.
    """
    side = max(isqrt(most), 1)
    sizes = [(side, side)] + ([(most // cols, cols)] if most >= cols else [])
    found = []
    for height, width in sizes:
        down, across = -(-rows // min(height, rows)), -(-cols // min(width, cols))
        height, width = -(-rows // down), -(-cols // across)
        read = (rows + down * margin) * (cols + across * margin)
        found.append((read, height, width))
    return min(found)[1:]


def grid_for(
    rows: int, cols: int, *, margin: int, pixel_bytes: int, memory: int, base: int, parts: int = 1
) -> Grid:
    """The largest tiles that fit.

    Args:
        margin: rows and columns around a tile, both sides together.
        pixel_bytes: what a pixel of a tile takes, raw and prepared.
        memory: bytes that the process may take.
        base: bytes that it takes whatever the tile.
        parts: tiles at least, so that several workers have some each.

    Raises:
        SettingsError: no tile worth the name would fit; says how much would do.
    """
    room = (memory - base) // pixel_bytes
    if room < LEAST_PIXELS:
        needed = base + LEAST_PIXELS * pixel_bytes
        raise SettingsError(
            f"memory: expected {megabytes(needed)} or more for this model and so many bands, got "
            f"{megabytes(memory)}."
        )
    most = min(room, max(LEAST_PIXELS, rows * cols // parts))
    lines = min(room // (cols + margin) - margin, most // cols)
    if lines >= min(rows, WHOLE_LINES * max(margin, 1)):  # files are quickest to read by lines
        down = -(-rows // lines)
        return Grid(rows, cols, -(-rows // down), cols)
    height, width = best_size(rows, cols, most, margin)
    while (height + margin) * (width + margin) > room and height * width > 1:
        most = most * 9 // 10
        height, width = best_size(rows, cols, most, margin)
    return Grid(rows, cols, height, width)


def megabytes(count: int) -> str:
    """As `--memory` takes it, rounded up: what is advised is enough."""
    return f"{-(-count // 2**20)}M"


def pixel_bytes(raster: Raster, channels: int, *, classes: int = 0) -> int:
    """Of a pixel of a tile: raw, prepared, its scores and labels."""
    return raster.bands * raster.dtype.itemsize + 4 * (channels + classes) + 16


def base_bytes(band_count: int, cols: int, *, keras: bool) -> int:
    """What a process takes whatever the tile: program, a strip, and the pixels being prepared."""
    program = KERAS_BYTES if keras else PLAIN_BYTES
    prepared = 3 * 8 * band_count * max(PIXELS, cols) * THREADS
    return program + SHARE * STRIP_BYTES + 4 * READ_BYTES + prepared


def read_tile(raster: Raster, tile: Strip, patch_size: int) -> np.ndarray:
    """The raw pixels of a tile with their margin as far as the scene goes: (r, c, bands).

    Read in pieces, and the pages of a memory-mapped file are given back after each: they would
    count as memory taken.
    """
    half = patch_size // 2
    rows, cols = (
        slice(max(part.start - half, 0), min(part.stop + half, size))
        for part, size in zip(tile.place, (raster.rows, raster.cols), strict=True)
    )
    width = cols.stop - cols.start
    raw = np.empty((rows.stop - rows.start, width, raster.bands), raster.dtype)
    step = max(1, READ_BYTES // (width * raster.bands * raster.dtype.itemsize))
    for start in range(0, len(raw), step):
        stop = min(start + step, len(raw))
        raw[start:stop] = raster.read(slice(rows.start + start, rows.start + stop), cols)
        _let_go(raster)
    return raw


def _let_go(raster: Raster) -> None:
    base: object = raster.array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class Input:
    """How the pixels of a scene become what a model takes.

    Attributes:
        size: rows and columns of the scene.
        chosen: (k,) bands that are taken, from 0.
        preparation: of these; None leaves them as they are.
        patch_size: of the model, in pixels.
        fill: (k,) raw values that the training put where there is no data.
        no_data: the value of pixels without data, or None.
    """

    size: tuple[int, int]
    chosen: np.ndarray
    preparation: Preparation | None
    patch_size: int
    fill: np.ndarray
    no_data: float | None = None

    def patches(self, raw: np.ndarray, tile: Strip) -> tuple[TilePatches, np.ndarray]:
        """The patches of a tile, and where it has data: (tile.rows, tile.cols) bool.

        Beyond the scene's borders pixels are mirrored, as in `hsi.patches.Patches`; pixels without
        data are filled as for the training: with what is 0 after scaling.

        Args:
            raw: of `read_tile`.
        """
        half, prepared = self.patch_size // 2, self.preparation
        before = [max(half - start, 0) for start in (tile.top, tile.left)]
        stops = (tile.top + tile.rows, tile.left + tile.cols)
        after = [max(stop + half - size, 0) for stop, size in zip(stops, self.size, strict=True)]
        rows, cols = raw.shape[:2]
        channels = prepared.channels if prepared else len(self.chosen)
        size = (rows + before[0] + after[0], cols + before[1] + after[1])
        padded = np.empty((*size, channels), np.float32)
        inner = padded[before[0] : before[0] + rows, before[1] : before[1] + cols]
        valid = np.empty((rows, cols), bool)

        def prepare(part: slice) -> None:
            pixels = raw[part]
            if len(self.chosen) < raw.shape[2]:
                pixels = pixels[:, :, self.chosen]
            valid[part] = here = has_data(pixels, self.no_data)
            if not here.all():
                pixels = np.where(here[..., None], pixels, self.fill)
            inner[part] = bands.apply(prepared, pixels) if prepared else pixels

        with ThreadPoolExecutor(THREADS) as threads:  # NumPy lets go of Python's lock
            for _ in threads.map(prepare, _pieces(rows, cols)):
                pass  # an error in a thread is raised here
        _mirror(padded, before[0], after[0])
        _mirror(padded.swapaxes(0, 1), before[1], after[1])
        top, left = half - before[0], half - before[1]
        centre = valid[top : top + tile.rows, left : left + tile.cols]
        return TilePatches(padded, self.patch_size), centre


def has_data(pixels: np.ndarray, no_data: float | None) -> np.ndarray:
    """Where pixels can be classified: (rows, cols, bands) -> (rows, cols) bool.

    Not where a value is no number, nor where they hold no data (`hsi.scene.without_data`).
    """
    empty = without_data(pixels, no_data)
    if pixels.dtype.kind == "f":
        empty |= ~np.isfinite(pixels).all(axis=-1)
    return ~empty


def _mirror(padded: np.ndarray, before: int, after: int) -> None:
    """Fill the first and last rows with those beside them, mirrored at the border."""
    if before:
        padded[:before] = padded[before : 2 * before][::-1]
    if after:
        padded[-after:] = padded[-2 * after : -after][::-1]


def _pieces(rows: int, cols: int) -> Iterator[slice]:
    step = max(1, PIXELS // max(1, cols))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
