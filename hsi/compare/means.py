"""Means over samples with intervals that know of blocks of neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsi.errors import SettingsError

DRAWS, DRAWN_AT_ONCE = 2000, 2**20
"""Of a bootstrap: how often samples are drawn, and how many numbers are held for it at once."""


@dataclass(frozen=True)
class Mean:
    """A mean over samples, and how far it can be trusted.

    Attributes:
        value: the mean of what is known; NaN where nothing is.
        low, high: its 95 % interval; NaN of fewer than two samples, or of one block.
        count: samples with a known value.
        missing: samples without.
    """

    value: float
    low: float
    high: float
    count: int
    missing: int = 0

    def record(self) -> dict[str, float | int | None]:
        """As JSON has it; None for what is not known."""
        known = {
            name: value if np.isfinite(value) else None
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {**known, "count": self.count, "missing": self.missing}


def scene_blocks(pixels: np.ndarray, shape: tuple[int, int], *, side: int) -> np.ndarray:
    """(n,) the block of a scene that each pixel lies in, for the intervals of `mean_of`.

    Args:
        pixels: (n,) flat pixel numbers.
        shape: (rows, cols) of the scene.
        side: of a block, in pixels.

    Example:
        >>> scene_blocks(np.array([0, 9, 10, 250]), (20, 25), side=10)
        array([0, 0, 1, 3])
    """
    rows, cols = np.divmod(pixels, shape[1])
    across = -(-shape[1] // side)
    return np.asarray(rows // side * across + cols // side)


def mean_of(values: np.ndarray, *, blocks: np.ndarray | None = None, seed: int = 0) -> Mean:
    """Mean of values with the 95 % interval of a bootstrap (Efron 1979, percentiles).

    Args:
        values: (n,), NaN where unknown.
        blocks: (n,) the block of each sample; whole blocks are then drawn, since neighbouring
            pixels are alike. None draws single samples.
        seed: of the draws.

    Raises:
        SettingsError: another shape, or not one block a sample.
    """
    values = np.asarray(values, np.float64)
    blocks = np.arange(len(values)) if blocks is None else np.asarray(blocks)
    if values.ndim != 1 or blocks.shape != values.shape:
        raise SettingsError(
            f"Expected values (n,) and one block for each, got {values.shape} and {blocks.shape}."
        )
    known = np.isfinite(values)
    missing = int((~known).sum())
    if not known.any():
        return Mean(np.nan, np.nan, np.nan, 0, missing)
    group = np.unique(blocks[known], return_inverse=True)[1].reshape(-1)
    sums, counts = np.bincount(group, values[known]), np.bincount(group)
    low = high = np.nan
    if len(sums) > 1:
        rng = np.random.default_rng(seed)
        at_once = max(1, DRAWN_AT_ONCE // len(sums))
        means = []
        for start in range(0, DRAWS, at_once):
            shape = (min(at_once, DRAWS - start), len(sums))
            drawn = rng.integers(0, len(sums), shape)
            means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
        low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    count = int(known.sum())
    return Mean(float(values[known].mean()), float(low), float(high), count, missing)
