"""How alike two attributions are, sample by sample.

    spearman             correlation of the ranks of the signed values, ties averaged
    spearman_magnitude   the same of their magnitudes: where, without the direction
    pearson              linear correlation of the signed values
    cosine               cosine of the angle between them
    top_k_overlap        share that the largest magnitudes of both have in common

and of maps with places (SPATIAL), or with a spectrum (SPECTRAL):

    ssim                 structural similarity of the magnitudes, summed over the channels
    spectral_cosine      cosine of the two spectra, summed over the pixels

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

SSIM_WINDOW = 11
"""Rows and columns that a window of the structural similarity covers."""

LEAST_SPECTRUM = 5
"""Channels from which on they are a spectrum: photographs have three or four."""


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


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of where two maps are strong: magnitudes summed over the channels.

    Each map is brought to a largest value of 1, the window is a Gaussian of 1.5 pixels cut off at
    5, and windows that would leave the map are left out.

    Args:
        first, second: (n, rows, cols, channels), at least 11 rows and columns.

    Returns:
        (n,) float64, at most 1; NaN where a map is constant or not finite.

    Raises:
        SettingsError: attributions of different shapes, or smaller than the window.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", 2004.
    """
    from scipy.ndimage import gaussian_filter  # slow to import

    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 4 or min(first.shape[1:3]) < SSIM_WINDOW:
        raise SettingsError(
            f"Expected maps of (samples, rows, cols, channels) with at least {SSIM_WINDOW} rows "
            f"and columns for the structural similarity, got {first.shape}."
        )
    shape = first.shape[:3]
    first, second, known = _pair(_summed(np.abs(first), -1), _summed(np.abs(second), -1))
    a, b = first.reshape(shape), second.reshape(shape)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, (0, 1.5, 1.5), truncate=3.5, mode="reflect"))

    mean_a, mean_b = local(a), local(b)
    spread = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
    common = local(a * b) - mean_a * mean_b
    light, contrast = 0.01**2, 0.03**2
    whole = (2 * mean_a * mean_b + light) * (2 * common + contrast)
    whole /= (mean_a**2 + mean_b**2 + light) * (spread + contrast)
    edge = SSIM_WINDOW // 2
    return np.where(known, whole[:, edge:-edge, edge:-edge].mean(axis=(1, 2)), np.nan)


def spectral_cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of the angle between two spectra: signed maps summed over the pixels.

    Args:
        first, second: (n, rows, cols, channels).

    Returns:
        (n,) float64, NaN where a spectrum is constant or not finite.

    Raises:
        SettingsError: attributions of different shapes.
    """
    first, second, known = _pair(_summed(first, (1, 2)), _summed(second, (1, 2)))
    return np.where(known, _cosine(first, second), np.nan)


def spectral_centre(maps: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Centre of mass of each map along the spectrum, by the magnitudes of all pixels.

    Args:
        maps: (n, rows, cols, channels).
        positions: (channels,) wavelengths in nm, or the numbers of the bands.

    Returns:
        (n,) float64 in the unit of the positions, NaN where a map is dead or not finite.

    Raises:
        SettingsError: as many positions as there are no channels, or unknown ones.

    Example:
        >>> spectral_centre(np.array([[[[0.0, -3, 1]]]]), np.array([500.0, 600, 700]))
        array([625.])
    """
    positions = np.asarray(positions, np.float64)
    if np.ndim(maps) != 4 or positions.shape != np.shape(maps)[-1:]:
        raise SettingsError(
            f"Expected one position for each channel of maps (samples, rows, cols, channels), got "
            f"{positions.shape} for {np.shape(maps)}."
        )
    if not np.isfinite(positions).all():
        raise SettingsError("Expected known positions of all channels; give the bands' numbers.")
    flat, _ = _scaled(np.abs(maps))
    weights = flat.reshape(np.shape(maps)).sum(axis=(1, 2))
    total = weights.sum(axis=1)
    alive = total > 0
    return np.where(alive, weights @ positions / np.where(alive, total, 1), np.nan)


MEASURES: dict[str, Measure] = {
    "spearman": spearman,
    "spearman_magnitude": spearman_magnitude,
    "pearson": pearson,
    "cosine": cosine,
    "top_k_overlap": top_k_overlap,
}
"""The measures by name; a new one is a function of two attributions and a line here."""


SPATIAL: dict[str, Measure] = {"ssim": ssim}
"""Measures of maps with places, at least `SSIM_WINDOW` rows and columns of them."""

SPECTRAL: dict[str, Measure] = {"spectral_cosine": spectral_cosine}
"""Measures of maps that tell channels apart."""


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


def _summed(maps: np.ndarray, axes: int | tuple[int, ...]) -> np.ndarray:
    """Sums in double precision; NaN where infinities of both signs meet."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sum(maps, axis=axes, dtype=np.float64))


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
