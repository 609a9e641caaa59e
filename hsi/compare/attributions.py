"""How alike two attributions are, sample by sample.

    spearman             correlation of the ranks of the signed values, ties averaged
    spearman_magnitude   the same of their magnitudes: where, without the direction
    pearson              linear correlation of the signed values
    cosine               cosine of the angle between them
    top_k_overlap        share that the largest magnitudes of both have in common

Ranks do not change with the scale of a map, and hardly with single large values, so `spearman` is
the first to look at (Adebayo 2018). A map that is constant (dead, above all) is like no other: its
similarity is NaN, never 0 or 1, and so is that of a map with values that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hsi.errors import SettingsError, one_of

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two attributions (n, rows, cols, channels) -> (n,) similarities."""

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""Values that differ by less than this share of the largest are the same, rounded differently."""


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the signed values, -1..1.

    Args:
        first, second: (n, rows, cols, channels), or (n, ...) of any one shape.

    Returns:
        (n,) float64, NaN where a map is constant or not finite.

    Raises:
        SettingsError: attributions of different shapes.
    """
    first, second, known = _pair(first, second)
    return np.where(known, _correlation(_ranks(first), _ranks(second)), np.nan)


def spearman_magnitude(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the magnitudes; arguments and result as of `spearman`."""
    return spearman(np.abs(first), np.abs(second))


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the signed values; arguments and result as of `spearman`."""
    first, second, known = _pair(first, second)
    return np.where(known, _correlation(first, second), np.nan)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of the angle between two maps; arguments and result as of `spearman`."""
    first, second, known = _pair(first, second)
    return np.where(known, _cosine(first, second), np.nan)


def top_k_overlap(first: np.ndarray, second: np.ndarray, *, percent: float = 10.0) -> np.ndarray:
    """Share of common values among the `percent` % largest magnitudes of each map, 0..1.

    Of values that tie for the last places, each takes an equal part of them. Zeros are never among
    the largest: a map with fewer other values has a smaller selection, and the share is that of
    the larger of the two selections.

    Args:
        first, second: (n, rows, cols, channels), or (n, ...) of any one shape.
        percent: of the values of a map, more than 0 and at most 100; at least one value.

    Returns:
        (n,) float64, NaN where the magnitudes of a map are constant or not finite.

    Raises:
        SettingsError: attributions of different shapes, or a percentage out of range.
    """
    if not 0 < percent <= 100:
        raise SettingsError(f"Expected a percentage above 0 and at most 100, got {percent}.")
    first, second, known = _pair(np.abs(first), np.abs(second))
    count = max(1, round(percent / 100 * first.shape[1]))
    mine, theirs = _largest(first, count), _largest(second, count)
    common = np.minimum(mine, theirs).sum(axis=1)
    whole = np.maximum(mine.sum(axis=1), theirs.sum(axis=1))
    return np.where(known, common / np.where(whole > 0, whole, 1), np.nan)


MEASURES: dict[str, Measure] = {
    "spearman": spearman,
    "spearman_magnitude": spearman_magnitude,
    "pearson": pearson,
    "cosine": cosine,
    "top_k_overlap": top_k_overlap,
}
"""The measures by name; a new one is a function of two attributions and a line here."""


def similarity(
    first: np.ndarray, second: np.ndarray, *, measures: Sequence[str] = tuple(MEASURES)
) -> dict[str, np.ndarray]:
    """Several measures of how alike two attributions are.

    Args:
        first, second: (n, rows, cols, channels) of the same samples.
        measures: names in `MEASURES`.

    Returns:
        name -> (n,) float64, NaN where a map is constant or not finite.

    Raises:
        SettingsError: an unknown measure, or attributions of different shapes.

    Example:
        >>> maps = np.arange(8.0).reshape(1, 2, 2, 2)
        >>> similarity(maps, -maps, measures=["spearman", "spearman_magnitude"])
        {'spearman': array([-1.]), 'spearman_magnitude': array([1.])}
    """
    return {
        name: MEASURES[one_of(name, MEASURES, what="measure")](first, second) for name in measures
    }


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both as (n, values) float64, scaled to a largest magnitude of 1, and which can be compared.

    The scale is of no account to any measure, and squares neither overflow nor vanish.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim < 2:
        raise SettingsError(
            f"Expected two attributions of one shape (samples, ...), got {first.shape} "
            f"and {second.shape}; explain the same samples in the same space."
        )
    first, mine = _scaled(first)
    second, theirs = _scaled(second)
    return first, second, mine & theirs


def _scaled(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat: np.ndarray = maps.reshape(len(maps), -1).astype(np.float64)
    finite = np.isfinite(flat).all(axis=1)
    flat = np.where(finite[:, None], flat, 0)
    largest = np.abs(flat).max(axis=1, initial=0)
    flat = flat / np.where(largest > 0, largest, 1)[:, None]
    spread = flat.max(axis=1, initial=-1) - flat.min(axis=1, initial=1)
    return flat, finite & (spread > ROUNDING)


def _ranks(flat: np.ndarray) -> np.ndarray:
    """(n, values) -> ranks within each row, ties averaged."""
    from scipy.stats import rankdata  # slow to import

    return rankdata(flat, axis=1)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _cosine(
        first - first.mean(axis=1, keepdims=True), second - second.mean(axis=1, keepdims=True)
    )


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, values) twice -> (n,) cosines; 0 where one is all zero."""
    product = np.einsum("nv,nv->n", first, second)
    length = np.sqrt(np.einsum("nv,nv->n", first, first) * np.einsum("nv,nv->n", second, second))
    return np.clip(product / np.where(length > 0, length, 1), -1, 1)


def _largest(magnitudes: np.ndarray, count: int) -> np.ndarray:
    """(n, values) how much of each value is among the `count` largest of its row, 0..1."""
    least = np.partition(magnitudes, -count, axis=1)[:, -count, None]
    above, tied = magnitudes > least, magnitudes == least
    part = (count - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    return np.where(magnitudes > 0, above + tied * part, 0.0)
