"""Patches: the odd-sized windows around pixels, gathered from the padded cube when asked for.

All patches of a scene at once would be `patch_size` squared times the cube; nothing here makes
them: they are a view of the padded cube, of which a batch is copied out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hsi.errors import SettingsError


def check_patch_size(patch_size: int, rows: int, cols: int) -> None:
    """Refuse a patch size that is even, below 1 or larger than the scene (`SettingsError`)."""
    if patch_size < 1 or patch_size % 2 == 0:
        raise SettingsError(
            f"patch_size: expected an odd number (the patch is centred on its pixel), "
            f"got {patch_size}; try {max(1, patch_size - 1)} or {max(1, patch_size + 1)}."
        )
    if patch_size > min(rows, cols):
        raise SettingsError(
            f"patch_size: expected at most {min(rows, cols)}, the smaller side of the scene "
            f"({rows} x {cols} pixels), got {patch_size}."
        )


def windows(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Every window of an image, as a view in which each line of a window is one run of memory.

    Args:
        image: (height, width, channels), contiguous along its lines.
        rows, cols: size of the windows.

    Returns:
        (height - rows + 1, width - cols + 1, rows, cols * channels), indexed by the corner.
    """
    channels = image.shape[2]
    lines = image.reshape(image.shape[0], -1)
    return sliding_window_view(lines, (rows, cols * channels))[:, ::channels]


@dataclass(frozen=True)
class Strip:
    """A rectangle of pixels of a scene.

    Attributes:
        top, left: its first row and column.
        rows, cols: its size.
    """

    top: int
    left: int
    rows: int
    cols: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Where it lies in an array of (rows, cols, ...)."""
        return slice(self.top, self.top + self.rows), slice(self.left, self.left + self.cols)


class Patches:
    """The patches of a prepared cube.

    Borders are padded symmetrically (as Cao et al. 2018 do), so every pixel has a patch.

    Args:
        cube: (rows, cols, channels), copied once as float32 with its padding.
        patch_size: odd side of the window, in pixels.
    """

    def __init__(self, cube: np.ndarray, patch_size: int) -> None:
        rows, cols, channels = cube.shape
        check_patch_size(patch_size, rows, cols)
        half = patch_size // 2
        self.patch_size = patch_size
        self.rows, self.cols, self.channels = rows, cols, channels
        pad = ((half, half), (half, half), (0, 0))
        padded = np.pad(cube.astype(np.float32, copy=False), pad, mode="symmetric")
        self._padded = np.ascontiguousarray(padded)
        self._windows = windows(self._padded, patch_size, patch_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one patch: (patch_size, patch_size, channels)."""
        return self.patch_size, self.patch_size, self.channels

    def gather(self, pixels: np.ndarray) -> np.ndarray:
        """The patches around pixels.

        Args:
            pixels: (n,) flat pixel numbers, row * cols + col.

        Returns:
            (n, patch_size, patch_size, channels) float32, a new array.

        Raises:
            IndexError: a number outside 0 .. rows * cols - 1.
        """
        pixels = np.asarray(pixels, np.int64)
        if len(pixels) and not 0 <= pixels.min() <= pixels.max() < self.rows * self.cols:
            raise IndexError(f"pixel numbers outside 0..{self.rows * self.cols - 1}")
        row, col = np.divmod(np.asarray(pixels, np.int64), self.cols)
        # A window's corner in the padded cube has the row and column of its centre in the cube.
        return self._windows[row, col].reshape(-1, *self.shape)

    def strips(self, most: int) -> Iterator[Strip]:
        """The scene in rectangles of at most `most` pixels: whole rows, where many of these fit.

        Neighbouring strips share the margin that `around` adds, so narrow ones would be wasteful:
        of scenes so wide that few rows fit, the rectangles are squares.
        """
        fit = most // self.cols
        side = max(isqrt(most), 1)
        height, width = (fit, self.cols) if fit >= self.patch_size else (side, side)
        for top in range(0, self.rows, height):
            for left in range(0, self.cols, width):
                size = min(height, self.rows - top), min(width, self.cols - left)
                yield Strip(top, left, *size)

    def around(self, strip: Strip) -> np.ndarray:
        """The pixels that the patches of a strip cover: what lies in it, and half a patch around.

        Returns:
            (strip.rows + patch_size - 1, strip.cols + patch_size - 1, channels) float32, a view:
            not to be written to.
        """
        more = self.patch_size - 1
        rows, cols = strip.place
        return self._padded[rows.start : rows.stop + more, cols.start : cols.stop + more]

    def pixels(self, strip: Strip) -> np.ndarray:
        """(strip.rows * strip.cols,) flat pixel numbers of a strip, row after row."""
        rows, cols = (np.arange(part.start, part.stop) for part in strip.place)
        return (rows[:, None] * self.cols + cols).ravel()


def turned(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each patch (n, side, side, channels) as one of its eight mirrored and turned forms.

    What lies in a patch has no up or down; its centre stays the centre.
    """
    across, up, down = rng.random((3, len(batch))) < 0.5
    result = batch.copy()
    result[across] = result[across].transpose(0, 2, 1, 3)
    result[up] = result[up, ::-1]
    result[down] = result[down, :, ::-1]
    return result
