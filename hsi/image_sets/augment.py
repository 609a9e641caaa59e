"""Augmentation of training images: mirrored and moved at random, on prepared batches."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hsi.parts import Augment


def augmentation(*, flips: str, shift: int) -> Augment:
    """A function of a batch of training images.

    Args:
        flips: "none", "horizontal" (left and right) or "both" (top and bottom as well).
        shift: pixels that an image moves at most, in rows and in columns; what comes in from
            outside is its own border, mirrored (Krizhevsky et al. 2012 cut such windows).
    """

    def augment(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        result = _moved(batch, shift, rng) if shift else batch.copy()
        if flips in ("horizontal", "both"):
            chosen = rng.random(len(batch)) < 0.5
            result[chosen] = result[chosen, :, ::-1]
        if flips == "both":
            chosen = rng.random(len(batch)) < 0.5
            result[chosen] = result[chosen, ::-1]
        return result

    return augment


def _moved(batch: np.ndarray, shift: int, rng: np.random.Generator) -> np.ndarray:
    count, rows, cols, _ = batch.shape
    pad = ((0, 0), (shift, shift), (shift, shift), (0, 0))
    windows = sliding_window_view(np.pad(batch, pad, mode="symmetric"), (rows, cols), axis=(1, 2))
    row, col = rng.integers(0, 2 * shift + 1, (2, count))
    # (n, channels, rows, cols): the view has its windows last.
    return np.ascontiguousarray(windows[np.arange(count), row, col].transpose(0, 2, 3, 1))
