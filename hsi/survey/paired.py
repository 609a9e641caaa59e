"""Tests of yes or no under several conditions on the same images.

Every image is seen under each variant: the conditions are paired by image. A test for independent
groups, such as chi-squared on the 3 x 2 table, would take what the conditions share for chance.
Cochran's Q asks whether all conditions have the same share (Cochran, "The Comparison of
Percentages in Matched Samples", 1950); McNemar's exact test asks it of two of them; Holm's
correction keeps the chance of one false finding among all pairs at its level (Holm 1979). With two
conditions Q is McNemar's statistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 9999


@dataclass(frozen=True)
class CochranQ:
    """Cochran's Q.

    Attributes:
        q: the statistic.
        degrees: of freedom: conditions less one.
        p: of chi-squared, good for many images.
        p_permuted: of random exchanges of the conditions within each image, good for few as well.
        images: how many.
        informative: of them, how many do not answer the same under all conditions.
    """

    q: float
    degrees: int
    p: float
    p_permuted: float
    images: int
    informative: int


def cochran_q(table: np.ndarray, *, seed: int = 0, draws: int = DRAWS) -> CochranQ:
    """Cochran's Q of a table (images, conditions) of bool, with two conditions or more.

    Args:
        seed: of the permutations.
        draws: how many.
    """
    from scipy.stats import chi2  # slow to import

    table = np.asarray(table, bool)
    rows = table.sum(axis=1)
    conditions = table.shape[1]
    mixed = table[(rows > 0) & (rows < conditions)]
    if not len(mixed):
        return CochranQ(0.0, conditions - 1, 1.0, 1.0, len(table), 0)
    q = float(_statistic(mixed.sum(axis=0), mixed.sum(axis=1)))
    rng = np.random.default_rng(seed)
    reached = 0
    per_turn = max(1, 2**20 // mixed.size)
    for start in range(0, draws, per_turn):
        now = min(per_turn, draws - start)
        shuffled = rng.permuted(np.broadcast_to(mixed, (now, *mixed.shape)), axis=2)
        found = _statistic(shuffled.sum(axis=1), mixed.sum(axis=1))
        reached += int((found >= q - 1e-9).sum())
    p = float(chi2.sf(q, conditions - 1))
    return CochranQ(q, conditions - 1, p, (reached + 1) / (draws + 1), len(table), len(mixed))


def _statistic(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Q from the sums of conditions (..., conditions) and of images (images,)."""
    k = columns.shape[-1]
    spread = k * (columns**2).sum(axis=-1) - columns.sum(axis=-1) ** 2
    return (k - 1) * spread / (k * rows.sum() - (rows**2).sum())
