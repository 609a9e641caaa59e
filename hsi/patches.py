"""Patches: the odd-sized windows around pixels, gathered from the padded cube when asked for.

All patches of a scene at once would be `patch_size` squared times the cube; nothing here makes
them: they are a view of the padded cube, of which a batch is copied out.
"""

from __future__ import annotations

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
        lines = padded.reshape(rows + 2 * half, -1)
        # A view of every window: each of its lines is one run of memory, whole spectra in a row.
        windows = sliding_window_view(lines, (patch_size, patch_size * channels))
        self._windows = windows[:, ::channels]

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
