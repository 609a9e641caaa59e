"""Krippendorff's alpha: how far raters agree, beyond chance.

    alpha = 1 - observed disagreement / expected disagreement

1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement. Nominal: two answers
are the same or they are not. Raters may leave questions out; a question with one answer counts not.

Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
"""

from __future__ import annotations

import numpy as np

DRAWS = 1000
LEAST_IMAGES = 10
"""Draws of fewer with replacement are too much alike for an interval."""


def nominal_alpha(values: np.ndarray, units: np.ndarray) -> float:
    """Alpha of answers to several questions.

    Args:
        values: (n,) answers, of any type.
        units: (n,) the question of each.

    Returns:
        At most 1; NaN where no question has two answers, or all answers are the same.
    """
    counts = _counts(values, units)
    return float(_alpha(*(part.sum(axis=0, keepdims=True) for part in _parts(counts)))[0])


def alpha_interval(
    values: np.ndarray, units: np.ndarray, images: np.ndarray, *, seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of alpha over images drawn with replacement (Efron 1979).

    Args:
        values, units: as of `nominal_alpha`.
        images: (n,) the image of each answer; the questions of one are drawn together.
        seed: of the draws.

    Returns:
        Both ends, NaN with fewer than `LEAST_IMAGES` images.
    """
    first = np.unique(units, return_index=True)[1]
    _, image = np.unique(np.asarray(images)[first], return_inverse=True)
    count = int(image.max(initial=-1)) + 1
    if count < LEAST_IMAGES:
        return float("nan"), float("nan")
    observed, totals = _parts(_counts(values, units))
    per_image = np.zeros((count, 1 + totals.shape[1]))
    np.add.at(per_image, image, np.column_stack([observed, totals]))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    drawn = weights @ per_image
    found = _alpha(drawn[:, 0], drawn[:, 1:])
    found = found[np.isfinite(found)]
    if not found.size:
        return float("nan"), float("nan")
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _counts(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(units, different values) how often each was answered."""
    known, value = np.unique(values, return_inverse=True)
    names, unit = np.unique(units, return_inverse=True)
    cells = np.bincount(unit * len(known) + value, minlength=len(names) * len(known))
    return cells.reshape(len(names), len(known)).astype(np.float64)


def _parts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(units,) disagreement within each question; (units, values) its answers that have a pair."""
    raters = counts.sum(axis=1)
    paired = raters >= 2
    within = (raters**2 - (counts**2).sum(axis=1)) / np.maximum(raters - 1, 1)
    return np.where(paired, within, 0.0), np.where(paired[:, None], counts, 0.0)


def _alpha(observed: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """(draws,) from the sums of both parts: (draws,) and (draws, values)."""
    n = totals.sum(axis=1)
    expected = (n**2 - (totals**2).sum(axis=1)) / np.maximum(n - 1, 1)
    known = expected > 0
    return np.where(known, 1 - observed / np.where(known, expected, 1), np.nan)
